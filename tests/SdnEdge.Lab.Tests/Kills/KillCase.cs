using System.Globalization;

namespace SdnEdge.Lab.Tests.Kills;

/// <summary>A party of a migration, by its part in it.</summary>
internal enum Party
{
    /// <summary>The manager.</summary>
    Manager,
    /// <summary>The PE that serves the prefixes before the move.</summary>
    SourcePe,
    /// <summary>The PE that serves them after it.</summary>
    TargetPe,
    /// <summary>The agent of the host where the server runs before the move.</summary>
    SourceHost,
    /// <summary>The agent of the host where it runs after it.</summary>
    TargetHost,
}

/// <summary>What happens to a party.</summary>
internal enum Fault
{
    /// <summary>SIGKILL; the process is started again when it is dead.</summary>
    Kill,
    /// <summary>Its device on the management network goes down, and up again when the manager has said that it does not reach it; of
    /// several managers the one that leads, until another one does.</summary>
    CutOff,
    /// <summary>Of several managers the one that leads stands still (SIGSTOP), and goes on when another one leads.</summary>
    Freeze,
}

/// <summary>One migration with one fault.</summary>
/// <param name="Party">Who it happens to.</param>
/// <param name="Stage">When: at this stage, or at the first one after it when the migration never waits in this one.</param>
/// <param name="AbortAt">The stage in which the migration is asked to be undone, or the first one after it; null = it is not.</param>
/// <param name="Fault">What happens.</param>
/// <param name="AfterMs">
/// So long after the stage was seen, milliseconds. The manager is 10 ms away from every party: at 0 its command is on the way, at 12 the
/// party has it, at 25 the answer is there.
/// </param>
/// <param name="Until">A cut-off lasts until the migration is in this stage; null = until the manager has said that it misses the
/// party.</param>
internal sealed record KillCase(
    Party Party, string Stage, string? AbortAt = null, Fault Fault = Fault.Kill, int AfterMs = 0, string? Until = null)
{
    /// <summary>Stages in which a move waits for somebody, in order; stand-in servers pass hand-over at once.</summary>
    public static readonly string[] Forward =
    [
        "planned", "prepare-target", "prepare-source", "mirror", "switch", "stop", "activate", "release", "hold-drain", "advertise",
        "direct-path", "withdraw", "drain", "teardown-source", "last-packet", "teardown-target", "inspect",
    ];

    /// <summary>Stages of a move that is undone before the pivot, in order.</summary>
    public static readonly string[] Undo = ["resume-source", "abort-source", "empty-tunnel", "abort-target", "give-back", "inspect-undo"];

    /// <summary>Stages after the pivot: from here on a move ends moved, or is undone by a void (R5).</summary>
    public static readonly string[] AfterPivot = ["hand-over", .. Forward[Array.IndexOf(Forward, "activate")..]];

    private static readonly string[] s_order =
    [
        .. Forward[..Array.IndexOf(Forward, "activate")], "hand-over", .. Forward[Array.IndexOf(Forward, "activate")..], "void", .. Undo,
    ];

    /// <summary>How long the last copy of the server takes, milliseconds: long enough for what is to happen meanwhile.</summary>
    public int CopyMs => Until is not null ? 4000 : AbortAt is not null ? 1000 : 300;

    /// <summary>True when a stage (or an outcome) is the case's or comes after it.</summary>
    public bool IsDue(string stage) => IsOrFollows(stage, Stage);

    /// <summary>True when the migration is to be asked to be undone in this stage: in the case's, or in the first one after it when the
    /// migration never waits in that.</summary>
    public bool IsAbortDue(string stage) => AbortAt is { } at && IsOrFollows(stage, at);

    private static bool IsOrFollows(string stage, string wanted)
        => stage is "moved" or "as-before" or "fenced" || Array.IndexOf(s_order, stage) >= Array.IndexOf(s_order, wanted);

    /// <inheritdoc/>
    public override string ToString()
    {
        string after = AfterMs > 0 ? string.Create(CultureInfo.InvariantCulture, $" + {AfterMs} ms") : "";
        string aborted = AbortAt is null ? "" : $", aborted at {AbortAt}";
        string until = Until is null ? "" : $" until {Until}";
        return $"{(Fault == Fault.CutOff ? "cut off" : $"{Fault}".ToLowerInvariant())} {Party} at {Stage}{after}{until}{aborted}";
    }
}

/// <summary>What came of a case.</summary>
/// <param name="Case">The case.</param>
/// <param name="Node">The node that it happened to.</param>
/// <param name="Hit">The stage in which it happened; an outcome when the migration had ended by then.</param>
/// <param name="Aborted">Whether the manager took the abort; null = none was asked for, or its answer was lost.</param>
/// <param name="State">How the migration ended.</param>
/// <param name="Ms">From the request to the end, milliseconds.</param>
/// <param name="DarkMs">Longest time in which the server was live nowhere, milliseconds.</param>
/// <param name="AnsweredMs">From the end of the migration to a client's first answered ping, milliseconds.</param>
/// <param name="Pings">Pings of a client over the whole case: sent, and not answered.</param>
/// <param name="Wrong">What must not be; empty = all is well.</param>
internal sealed record KillResult(
    KillCase Case, string Node, string Hit, bool? Aborted, string State, double Ms, double DarkMs, double AnsweredMs,
    (int Sent, int Lost) Pings, IReadOnlyList<string> Wrong);
