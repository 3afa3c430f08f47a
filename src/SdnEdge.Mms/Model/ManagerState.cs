using System.Collections.Immutable;
using System.Text.Json.Serialization;

namespace SdnEdge.Mms.Model;

/// <summary>How a migration ended.</summary>
public enum MigrationOutcome
{
    /// <summary>All servers of the group run at the site they were to go to.</summary>
    Moved,
    /// <summary>All servers of the group run where they ran before.</summary>
    AsBefore,
    /// <summary>Another manager is in charge of the group.</summary>
    Fenced,
    /// <summary>An operator ended it without the word of parties that did not answer. Its moves say what is not proved.</summary>
    GivenUp,
}

/// <summary>
/// A migration of a group: one move (<see cref="Cutover.Together"/>), or one a member and, should one fail, one back for each that had
/// moved. Of those at most <see cref="MigrationRequest.AtOnce"/> run at once, there and back.
/// </summary>
public sealed record MigrationState
{
    /// <summary>Its id, from the journal: m1, m2, ...</summary>
    public required string Id { get; init; }

    /// <summary>What was asked for.</summary>
    public required MigrationRequest Request { get; init; }

    /// <summary>Who asked for it.</summary>
    public required string By { get; init; }

    /// <summary>The caller's name for the request; null = none.</summary>
    public string? IdempotencyKey { get; init; }

    /// <summary>When it was asked for (ISO 8601, UTC).</summary>
    public required string At { get; init; }

    /// <summary>Moves that have begun, in order; a move's number is its place, from 1.</summary>
    public ImmutableList<MoveState> Moves { get; init; } = [];

    /// <summary>Moves that are still to come, in order. Their epochs are given when they begin.</summary>
    public ImmutableList<MovePlan> ToCome { get; init; } = [];

    /// <summary>Moves that are to be taken back, last one first; only after a failure.</summary>
    public ImmutableStack<MovePlan> ToTakeBack { get; init; } = [];

    /// <summary>True when members go back to where they were.</summary>
    public bool GoingBack { get; init; }

    /// <summary>The first thing that went wrong; null: nothing did.</summary>
    public string? Failure { get; init; }

    /// <summary>How it ended; null while it runs.</summary>
    public MigrationOutcome? Outcome { get; init; }

    /// <summary>When it ended (ISO 8601, UTC).</summary>
    public string? EndedAt { get; init; }

    /// <summary>True from commit on: no rollback is offered any more.</summary>
    public bool Committed { get; init; }

    /// <summary>Numbers of the moves that run, in order.</summary>
    [JsonIgnore]
    public IEnumerable<int> Running => Enumerable.Range(1, Moves.Count).Where(n => MoveOf(n).Outcome is null);

    /// <summary>The move that runs, of several the one that began last; none runs: the one that began last.</summary>
    [JsonIgnore]
    public MoveState Current => Moves.FindLast(m => m.Outcome is null) ?? Moves[^1];

    /// <summary>The number by which an input names a move; null: only one is ever on the way, and needs no number.</summary>
    public int? NumberFor(int move) => AtOnce > 1 ? move : null;

    /// <summary>Most moves that run at once.</summary>
    [JsonIgnore]
    public int AtOnce => Request is { Cutover: Cutover.OneByOne, AtOnce: > 1 and var most } ? most : 1;

    /// <summary>The move of a number.</summary>
    public MoveState MoveOf(int number) => Moves[number - 1];
}

/// <summary>Who owns a server.</summary>
/// <param name="Site">The site.</param>
/// <param name="Epoch">The epoch under which it may run there.</param>
public sealed record Ownership(string Site, long Epoch);

/// <summary>What the journal knows of a group.</summary>
/// <param name="Epoch">Highest epoch that was ever used for it.</param>
/// <param name="Owners">Where each of its servers may run.</param>
public sealed record GroupState(long Epoch, ImmutableSortedDictionary<string, Ownership> Owners)
{
    /// <summary>A group that was never moved.</summary>
    public static readonly GroupState Fresh = new(0, ImmutableSortedDictionary<string, Ownership>.Empty);
}

/// <summary>What is on record of a volume: its owner's epoch, and whether the replica is stale.</summary>
/// <param name="Epoch">The owner's epoch, as stores count: reports of an older one are refused.</param>
/// <param name="Generation">Highest number of a report within the epoch; 0 = there was none.</param>
/// <param name="StaleFrom">First sequence that may be missing at the replica; null = it is not stale.</param>
/// <param name="Since">Since when (ISO 8601, UTC); null = it is not stale.</param>
/// <param name="By">Who reported last; null = nobody in this epoch.</param>
/// <param name="Name">The volume's name, for people; null = not known.</param>
public sealed record VolumeMark(
    ulong Epoch, ulong Generation = 0, ulong? StaleFrom = null, string? Since = null, string? By = null, string? Name = null);

/// <summary>All that a manager knows: the fold of its journal.</summary>
public sealed record ManagerState
{
    /// <summary>First GRE key of migrations: those below are the configuration's.</summary>
    public const uint FirstKey = 0x4000_0000;

    /// <summary>Last epoch with which a migration begins: what is above is for its undo and its way back.</summary>
    public const long LastEpoch = long.MaxValue - 1_000_000;

    /// <summary>A manager with an empty journal.</summary>
    public static readonly ManagerState Empty = new();

    /// <summary>Number of the next migration.</summary>
    public long NextMigration { get; init; } = 1;

    /// <summary>Next unused GRE key.</summary>
    public uint NextKey { get; init; } = FirstKey;

    /// <summary>Groups, by name.</summary>
    public ImmutableSortedDictionary<string, GroupState> Groups { get; init; } = ImmutableSortedDictionary<string, GroupState>.Empty;

    /// <summary>
    /// How many migrations that have ended are kept whole. No decision rests on it: a journal leads to the same owners, epochs and commands
    /// with any number.
    /// </summary>
    public const int EndedKept = 16;

    /// <summary>Migrations by id, whole: those that run, and of those that have ended the last <see cref="EndedKept"/>.</summary>
    public ImmutableSortedDictionary<string, MigrationState> Migrations { get; init; } = ImmutableSortedDictionary<string,
        MigrationState>.Empty;

    /// <summary>Ids of the migrations that have ended and are kept whole, in the order in which they ended.</summary>
    public ImmutableList<string> EndedWhole { get; init; } = [];

    /// <summary>Migrations that ended before those, by id.</summary>
    public ImmutableSortedDictionary<string, EndedMigration> Ended { get; init; }
        = ImmutableSortedDictionary.Create<string, EndedMigration>(StringComparer.Ordinal);

    /// <summary>Volumes of which something is on record, by identity.</summary>
    public ImmutableSortedDictionary<Guid, VolumeMark> Volumes { get; init; } = ImmutableSortedDictionary<Guid, VolumeMark>.Empty;

    /// <summary>Protections of groups, by group.</summary>
    public ImmutableSortedDictionary<string, ProtectionState> Protections { get; init; }
        = ImmutableSortedDictionary.Create<string, ProtectionState>(StringComparer.Ordinal);

    /// <summary>A group; a fresh one where the journal has none.</summary>
    public GroupState GroupOf(string name) => Groups.GetValueOrDefault(name) ?? GroupState.Fresh;

    /// <summary>GRE keys of the migrations that run, of their moves so far and of those to come, and of protected groups.</summary>
    public IReadOnlySet<uint> KeysInUse() => Migrations.Values.Where(m => m.Outcome is null)
        .SelectMany(m => m.Moves.Select(x => x.Plan).Concat(m.ToCome)).Concat(Protections.Values.Select(p => p.Plan))
        .SelectMany(p => p.Paths).Select(p => p.TunnelKey).ToHashSet();

    /// <summary>The migration of a group that runs; null: none does.</summary>
    public MigrationState? RunningOf(string group) => Migrations.Values.FirstOrDefault(m => m.Request.Group == group && m.Outcome is null);
}
