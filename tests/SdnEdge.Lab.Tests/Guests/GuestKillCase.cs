using SdnEdge.Lab.Tests.Kills;

namespace SdnEdge.Lab.Tests.Guests;

/// <summary>A party of a guest's move, by its part in it.</summary>
internal enum GuestParty
{
    /// <summary>The manager.</summary>
    Manager,
    /// <summary>The agent of the host where the guest runs before the move; the relay is in it.</summary>
    SourceHost,
    /// <summary>The agent of the host where it runs after it.</summary>
    TargetHost,
    /// <summary>The QEMU where it runs before the move.</summary>
    SourceQemu,
    /// <summary>The QEMU where it runs after it.</summary>
    TargetQemu,
    /// <summary>The way between the hosts.</summary>
    Wan,
    /// <summary>The store that has the guest's disk before the move.</summary>
    SourceStore,
    /// <summary>The store that has it after it.</summary>
    TargetStore,
    /// <summary>The way between the stores.</summary>
    StoreWan,
}

/// <summary>What happens to a party.</summary>
internal enum GuestFault
{
    /// <summary>SIGKILL. A daemon is started again at once; a QEMU is not.</summary>
    Kill,
    /// <summary>SIGSTOP, until the migration has ended or a bound is over.</summary>
    Freeze,
    /// <summary>Nothing comes from the manager to it, and none of its answers to the manager, until that has noticed.</summary>
    CutOff,
    /// <summary>No packet between the hosts, or the stores, either way, until the migration has ended or a bound is over.</summary>
    Cut,
    /// <summary>The same, of packets from the target's to the source's only.</summary>
    HalfOpen,
    /// <summary>20 Mbit/s from the source host, until the migration has ended or a bound is over.</summary>
    Slow,
    /// <summary>Its QEMU gets less memory than the guest has.</summary>
    NoMemory,
    /// <summary>What a store writes to its files fails with EFBIG, until the migration has ended or a bound is over.</summary>
    DiskFails,
}

/// <summary>One move of a guest with one fault.</summary>
/// <param name="Party">Who it happens to.</param>
/// <param name="Fault">What.</param>
/// <param name="Stage">When: at this stage of the move, or at the first one after it.</param>
internal sealed record GuestKillCase(GuestParty Party, GuestFault Fault, string Stage)
{
    /// <summary>Stages of the matrix, in order.</summary>
    public static readonly string[] Stages =
        ["prepare-target", "prepare-source", "mirror", "switch", "stop", "activate", "release", "direct-path", "teardown-source"];

    /// <summary>All cases of a guest without a disk.</summary>
    public static IEnumerable<GuestKillCase> All =>
    [
        .. from party in (GuestParty[])
               [GuestParty.Manager, GuestParty.SourceHost, GuestParty.TargetHost, GuestParty.SourceQemu, GuestParty.TargetQemu]
           from fault in (GuestFault[])[GuestFault.Kill, GuestFault.Freeze]
           from stage in Stages
           select new GuestKillCase(party, fault, stage),
        .. from party in (GuestParty[])[GuestParty.SourceHost, GuestParty.TargetHost]
           from stage in Stages
           select new GuestKillCase(party, GuestFault.CutOff, stage),
        .. from fault in (GuestFault[])[GuestFault.Cut, GuestFault.HalfOpen, GuestFault.Slow]
           from stage in (string[])["prepare-source", "mirror", "switch", "stop", "activate"]
           select new GuestKillCase(GuestParty.Wan, fault, stage),
        new GuestKillCase(GuestParty.TargetQemu, GuestFault.NoMemory, "planned"),
    ];

    /// <summary>What a guest with a disk has more: its stores.</summary>
    public static IEnumerable<GuestKillCase> OfStores =>
    [
        .. from party in (GuestParty[])[GuestParty.SourceStore, GuestParty.TargetStore]
           from fault in (GuestFault[])[GuestFault.Kill, GuestFault.Freeze, GuestFault.CutOff, GuestFault.DiskFails]
           from stage in Stages.Append("hand-over")
           select new GuestKillCase(party, fault, stage),
        .. from fault in (GuestFault[])[GuestFault.Cut, GuestFault.HalfOpen]
           from stage in (string[])["prepare-source", "mirror", "switch", "stop", "hand-over", "activate", "release"]
           select new GuestKillCase(GuestParty.StoreWan, fault, stage),
    ];

    /// <summary>True when the guest cannot go on where it was: it was killed itself.</summary>
    public bool KillsGuest => Fault == GuestFault.Kill && Party is GuestParty.SourceQemu or GuestParty.TargetQemu;

    /// <summary>True when a stage, or an outcome, is the case's or comes after it.</summary>
    public bool IsDue(string stage) => new KillCase(Kills.Party.Manager, Stage).IsDue(stage);

    /// <inheritdoc/>
    public override string ToString() => $"{Fault} {Party} at {Stage}";
}

/// <summary>What came of a case.</summary>
/// <param name="Case">The case.</param>
/// <param name="Hit">The stage in which it happened; an outcome when the migration had ended by then.</param>
/// <param name="State">How the migration ended.</param>
/// <param name="Ms">From the request to the end, milliseconds.</param>
/// <param name="SilentMs">Longest time in which nothing was heard of the guest, milliseconds.</param>
/// <param name="Anew">True: the guest had been killed, and was started anew by an order at the end.</param>
/// <param name="Pings">Pings of a client over the whole case: sent, and not answered.</param>
/// <param name="Failure">Why it was undone, as the manager says; null = it was not.</param>
/// <param name="Wrong">What must not be; empty = all is well.</param>
internal sealed record GuestKillResult(
    GuestKillCase Case, string Hit, string State, double Ms, double SilentMs, bool Anew, (int Sent, int Lost) Pings, string? Failure,
    IReadOnlyList<string> Wrong);
