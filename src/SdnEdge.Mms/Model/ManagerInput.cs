using System.Collections.Immutable;
using System.Text.Json.Serialization;

namespace SdnEdge.Mms.Model;

/// <summary>What happened to the manager. The journal holds these, in order; their words there never change.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "record")]
[JsonDerivedType(typeof(MigrationRequested), "migration-requested")]
[JsonDerivedType(typeof(MoveHappened), "move-happened")]
[JsonDerivedType(typeof(CommitRequested), "commit-requested")]
[JsonDerivedType(typeof(Recovered), "recovered")]
[JsonDerivedType(typeof(StaleReported), "stale-reported")]
[JsonDerivedType(typeof(ProtectionRequested), "protection-requested")]
[JsonDerivedType(typeof(ProtectionHappened), "protection-happened")]
[JsonDerivedType(typeof(UnprotectRequested), "unprotect-requested")]
[JsonDerivedType(typeof(FailoverRequested), "failover-requested")]
public abstract record ManagerInput;

/// <summary>A migration was asked for and planned.</summary>
/// <param name="Id">Its id: <see cref="ManagerState.NextMigration"/> as it was.</param>
/// <param name="Request">What was asked for.</param>
/// <param name="Moves">The moves, in order. Epochs are given by the machine.</param>
/// <param name="By">Who asked.</param>
/// <param name="IdempotencyKey">The caller's name for this request: the same one again means the same migration; null = none.</param>
public sealed record MigrationRequested(
    string Id, MigrationRequest Request, IReadOnlyList<MovePlan> Moves, string By, string? IdempotencyKey = null) : ManagerInput;

/// <summary>Something happened to a move of a migration, or to the migration as a whole: to all of its moves that run.</summary>
/// <param name="Migration">The migration.</param>
/// <param name="Input">What.</param>
/// <param name="Move">Number of the move, from 1, where several may be on the way at once. Null: the one that runs; and of what is said of
/// the migration as a whole (an abort, a time of its window) all that run.</param>
public sealed record MoveHappened(string Migration, MoveInput Input, int? Move = null) : ManagerInput;

/// <summary>A store reports that acknowledged writes are missing at a volume's replica, or that none is any more.</summary>
/// <param name="Volume">The volume's identity.</param>
/// <param name="Epoch">The owner's epoch.</param>
/// <param name="Generation">Number of the report within the epoch.</param>
/// <param name="StaleFrom">First sequence that may be missing; null = the report of this number is over.</param>
/// <param name="By">The store, as its certificate or user names it.</param>
/// <param name="Name">The volume's name, for people; null = not said.</param>
public sealed record StaleReported(Guid Volume, ulong Epoch, ulong Generation, ulong? StaleFrom, string By, string? Name = null)
    : ManagerInput;

/// <summary>A group is to be protected against the failure of its site.</summary>
/// <param name="Request">How.</param>
/// <param name="Plan">From where to where it would go. Epoch and ids of its paths are given by the machine.</param>
/// <param name="By">Who asked.</param>
public sealed record ProtectionRequested(ProtectionRequest Request, MovePlan Plan, string By) : ManagerInput;

/// <summary>Something happened to the protection of a group.</summary>
/// <param name="Group">The group.</param>
/// <param name="Epoch">The epoch that its commands carried; of another one it is late, and changes nothing.</param>
/// <param name="Input">What.</param>
public sealed record ProtectionHappened(string Group, long Epoch, ProtectionInput Input) : ManagerInput;

/// <summary>A group is to be protected no more.</summary>
/// <param name="Group">The group.</param>
/// <param name="By">Who asked.</param>
public sealed record UnprotectRequested(string Group, string By) : ManagerInput;

/// <summary>A protected group is to come up at its other site. Its paths are those that are armed.</summary>
/// <param name="Id">Id of the migration: <see cref="ManagerState.NextMigration"/> as it was.</param>
/// <param name="Group">The group.</param>
/// <param name="To">The site.</param>
/// <param name="Failover">What it rests on.</param>
/// <param name="By">Who asked.</param>
public sealed record FailoverRequested(string Id, string Group, string To, Failover Failover, string By) : ManagerInput;

/// <summary>The way back is given up: the trial is over.</summary>
/// <param name="Migration">The migration.</param>
/// <param name="By">Who said so.</param>
public sealed record CommitRequested(string Migration, string By) : ManagerInput;

/// <summary>
/// An operator had the journal rebuilt from what PEs and hosts say, after it was lost or an old copy was put back: epochs at least as high
/// as any that a resource has seen, and where each server runs. While a migration runs that is not <paramref name="Stale"/> its group is
/// not touched.
/// </summary>
/// <param name="Groups">The groups.</param>
/// <param name="NextMigration">A number higher than that of any migration that a resource knows.</param>
/// <param name="NextKey">A key higher than any in use.</param>
/// <param name="By">Who ordered it.</param>
/// <param name="Stale">Migrations that run by the journal only: the parties know of later things. They end as fenced; null = none.</param>
/// <param name="Settled">Moves that were half way and are settled: each becomes a migration. Null = none.</param>
public sealed record Recovered(
    ImmutableSortedDictionary<string, GroupState> Groups, long NextMigration, uint NextKey, string By, IReadOnlyList<string>? Stale = null,
    IReadOnlyList<SettledMove>? Settled = null)
    : ManagerInput;

/// <summary>A move of a group that is settled (<see cref="MovePlan.Settle"/>).</summary>
/// <param name="Group">The group.</param>
/// <param name="Move">The move, as PEs and hosts tell it.</param>
public sealed record SettledMove(string Group, MovePlan Move);
