using SdnEdge.Core.Api;

namespace SdnEdge.Core.Migration;

/// <summary>
/// How far a server host has got with a server, as it is on disk. A word in -ing says that the driver was asked and had not confirmed
/// when the record was written: the same order again asks it again.
/// </summary>
public enum HostPhase
{
    /// <summary>The server is not to be here.</summary>
    Away,
    /// <summary>It may run here, and was seen running.</summary>
    Running,
    /// <summary>Source: prepared. It may run here until it is stopped.</summary>
    Offered,
    /// <summary>Source: the right to run is gone (R4); not seen to stand still yet.</summary>
    Stopping,
    /// <summary>Source: seen to stand still; its state is handed over where that can be undone.</summary>
    Stopped,
    /// <summary>Source whose hand-over cannot be undone: it has begun.</summary>
    HandingOver,
    /// <summary>Source whose hand-over cannot be undone: it is done.</summary>
    HandedOver,
    /// <summary>Target: what the server needs is being made.</summary>
    Preparing,
    /// <summary>Target: the server is expected.</summary>
    Incoming,
    /// <summary>Target: "will run" is promised (R6); not seen running yet.</summary>
    Starting,
    /// <summary>Source: the right to run of a higher epoch is there; not seen running again yet.</summary>
    Resuming,
    /// <summary>Target: what prepare made is being removed.</summary>
    Cancelling,
    /// <summary>Source: what was kept is being removed.</summary>
    Retiring,
    /// <summary>Source of a fail-over: the right to run is gone and the epoch void; not seen to be dead yet.</summary>
    Fencing,
    /// <summary>Source of a fail-over: seen to be dead.</summary>
    Fenced,
}

/// <summary>
/// What a host has on disk for one server: all that it promises. It is synced before anything is answered that follows from it.
/// Invariants, checked by <see cref="Follow"/>: epochs never fall; MayRun is set in the phases Running, Offered, Starting and Resuming and
/// in no other; what may run was promised (MayRun &lt;= RanEpoch); no epoch is both promised and void.
/// </summary>
public sealed record HostRecord
{
    /// <summary>The server.</summary>
    public required string Name { get; init; }

    /// <summary>Highest epoch seen (R1). 0: none.</summary>
    public long Epoch { get; init; }

    /// <summary>The epoch under which the server may run here; null: it may not.</summary>
    public long? MayRun { get; init; }

    /// <summary>Highest epoch that this host has promised to run (R6). 0: none, or the state it started with.</summary>
    public long RanEpoch { get; init; }

    /// <summary>Highest epoch that this host has said it will never run (R5). 0: none.</summary>
    public long VoidEpoch { get; init; }

    /// <summary>How far it has got.</summary>
    public HostPhase Phase { get; init; }

    /// <summary>The epoch of the order that led to the phase.</summary>
    public long PhaseEpoch { get; init; }

    /// <summary>The migration that the phase belongs to; null = none.</summary>
    public string? Migration { get; init; }

    /// <summary>Which end of it this host is; null = none.</summary>
    public MigrationRole? Role { get; init; }

    /// <summary>The host at the other end, for the driver; null = not said.</summary>
    public string? PeerHost { get; init; }

    /// <summary>Longest time for which nobody may run in its migration, milliseconds, as prepare has said; null = not said.</summary>
    public int? MaxStopMs { get; init; }

    /// <summary>What the copies of its migration that go on here at once may take together, bytes/s, as prepare has said; null = as much as
    /// there is.</summary>
    public long? CopyBytesPerSecond { get; init; }

    /// <summary>Its volumes are not put into sync mode before this time, as prepare has said; null = as soon as that helps.</summary>
    public DateTimeOffset? SyncNotBefore { get; init; }

    /// <summary>The record of a server that no order was ever given for.</summary>
    /// <param name="name">The server.</param>
    /// <param name="runs">True: this host has the right to run it, by its configuration.</param>
    public static HostRecord First(string name, bool runs)
        => new() { Name = name, MayRun = runs ? 0 : null, Phase = runs ? HostPhase.Running : HostPhase.Away };

    /// <summary>True when the phase gives the right to run.</summary>
    public static bool GivesRight(HostPhase phase)
        => phase is HostPhase.Running or HostPhase.Offered or HostPhase.Starting or HostPhase.Resuming;

    /// <summary>What is wrong with a record by itself; null when it can be one.</summary>
    public string? Contradiction()
        => Epoch < 0 || RanEpoch < 0 || VoidEpoch < 0 || PhaseEpoch < 0 ? "an epoch is below zero"
        : MayRun is not null != GivesRight(Phase) ? $"phase {Phase} {(MayRun is null ? "needs" : "excludes")} the right to run"
        : MayRun > RanEpoch ? $"it may run epoch {MayRun}, which was never promised"
        : RanEpoch > Epoch || VoidEpoch > Epoch || PhaseEpoch > Epoch ? $"an epoch is higher than the highest seen, {Epoch}"
        : VoidEpoch > 0 && VoidEpoch == RanEpoch ? $"epoch {VoidEpoch} is both promised and void"
        : null;

    /// <summary>Returns <paramref name="next"/>.</summary>
    /// <exception cref="InvalidOperationException">It breaks an invariant: a mistake of ours.</exception>
    public HostRecord Follow(HostRecord next)
    {
        string? wrong = next.Epoch < Epoch || next.RanEpoch < RanEpoch || next.VoidEpoch < VoidEpoch ? "an epoch falls"
            : next.Contradiction();
        return wrong is null ? next : throw new InvalidOperationException($"server {Name}: record {this} must not become {next}: {wrong}");
    }
}
