using SdnEdge.Core.Api;

namespace SdnEdge.Core.Migration;

/// <summary>
/// The allowed transitions of a migration on a PE, as data.
/// <code>
/// source:  Idle --prepare--> Prepared --switch--> Switched --withdraw--> Withdrawn --teardown--> TornDown
///                               |abort               |abort: switch back
///                               +----> Aborted &lt;-----+
/// armed:   Prepared --what it watches fails--> Flipped --switch--> Switched
///              ^                                  |what it watches is back, nobody has confirmed it
///              +-----nothing is held any more----Returning              (abort leads from both to Aborted)
/// target:  Idle --prepare--> Prepared --release--> Released --advertise--> Advertised --teardown--> TornDown
///                               |abort: what is held goes back
///                               +----> Aborted
/// </code>
/// The pivot is "the server is live at the target". Before it a move is given up by abort; the target learns of it by release,
/// the source by withdraw, and from there on each refuses abort: the way back is a new migration in the other direction.
/// </summary>
public static class PeTransitions
{
    private static readonly (MigrationRole Role, PeMigrationState From, SignalKind Signal, PeMigrationState To)[] Table =
    [
        (MigrationRole.Source, PeMigrationState.Idle, SignalKind.Prepare, PeMigrationState.Prepared),
        (MigrationRole.Source, PeMigrationState.Idle, SignalKind.Abort, PeMigrationState.Aborted),
        (MigrationRole.Source, PeMigrationState.Prepared, SignalKind.Switch, PeMigrationState.Switched),
        (MigrationRole.Source, PeMigrationState.Prepared, SignalKind.Abort, PeMigrationState.Aborted),
        (MigrationRole.Source, PeMigrationState.Flipped, SignalKind.Switch, PeMigrationState.Switched),
        (MigrationRole.Source, PeMigrationState.Flipped, SignalKind.Abort, PeMigrationState.Aborted),
        (MigrationRole.Source, PeMigrationState.Returning, SignalKind.Abort, PeMigrationState.Aborted),
        (MigrationRole.Source, PeMigrationState.Switched, SignalKind.Withdraw, PeMigrationState.Withdrawn),
        (MigrationRole.Source, PeMigrationState.Switched, SignalKind.Abort, PeMigrationState.Aborted),
        (MigrationRole.Source, PeMigrationState.Withdrawn, SignalKind.Teardown, PeMigrationState.TornDown),

        (MigrationRole.Target, PeMigrationState.Idle, SignalKind.Prepare, PeMigrationState.Prepared),
        (MigrationRole.Target, PeMigrationState.Idle, SignalKind.Abort, PeMigrationState.Aborted),
        (MigrationRole.Target, PeMigrationState.Prepared, SignalKind.Release, PeMigrationState.Released),
        (MigrationRole.Target, PeMigrationState.Prepared, SignalKind.Abort, PeMigrationState.Aborted),
        (MigrationRole.Target, PeMigrationState.Released, SignalKind.Advertise, PeMigrationState.Advertised),
        (MigrationRole.Target, PeMigrationState.Advertised, SignalKind.Teardown, PeMigrationState.TornDown),
    ];

    /// <summary>The state after a signal; null when the state does not allow it.</summary>
    public static PeMigrationState? Next(MigrationRole role, PeMigrationState state, SignalKind signal)
    {
        foreach ((MigrationRole r, PeMigrationState from, SignalKind s, PeMigrationState to) in Table)
        {
            if (r == role && from == state && s == signal) return to;
        }

        return null;
    }

    /// <summary>True when a state does not allow a signal, and one that it leads to without an abort does.</summary>
    public static bool MayCome(MigrationRole role, PeMigrationState state, SignalKind signal)
    {
        if (Next(role, state, signal) is not null) return false;
        foreach ((MigrationRole r, PeMigrationState from, SignalKind s, PeMigrationState to) in Table)
        {
            // The table is in the order of the states.
            if (r != role || from != state || s == SignalKind.Abort) continue;
            if (Next(role, to, signal) is not null) return true;
            state = to;
        }

        return false;
    }

    /// <summary>The states in which a signal is allowed for a role; empty when it is not for this role at all.</summary>
    public static IReadOnlyList<PeMigrationState> AllowedIn(MigrationRole role, SignalKind signal)
        => [.. Table.Where(t => t.Role == role && t.Signal == signal).Select(t => t.From)];

    /// <summary>The signals that a state allows.</summary>
    public static IReadOnlyList<SignalKind> AllowedSignals(MigrationRole role, PeMigrationState state)
        => [.. Table.Where(t => t.Role == role && t.From == state).Select(t => t.Signal)];
}
