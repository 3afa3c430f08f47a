namespace SdnEdge.Core.Replication;

/// <summary>What is promised of a volume's replication, and what is done when the promise cannot be kept.</summary>
public sealed record ReplicationPolicy
{
    /// <summary>What is done in sync and semantic mode when the replica is gone.</summary>
    public PeerGoneAction PeerGone { get; init; } = PeerGoneAction.Stop;

    /// <summary>How long the replica may be silent, or away, until it is gone; nanoseconds, more than 0.</summary>
    public long PeerGoneAfter { get; init; } = 5_000_000_000;

    /// <summary>Most bytes that the replica may lack in async and semantic mode; 0 = no bound.</summary>
    public long LagBytes { get; init; }

    /// <summary>Greatest age of what the replica lacks, nanoseconds; 0 = no bound.</summary>
    public long LagTime { get; init; }

    /// <summary>What is done at either bound.</summary>
    public LagAction AtLagBound { get; init; } = LagAction.Slow;

    /// <summary>The alarm comes at this share of a bound, percent, 1 to 100.</summary>
    public int AlarmPercent { get; init; } = 80;

    /// <summary>True: content roots are compared before the replica counts as in sync.</summary>
    public bool ComparesRoots { get; init; } = true;
}

/// <summary>"The replica is stale": acknowledged writes are missing there.</summary>
/// <param name="Generation">Number of the report within the owner's epoch, ascending.</param>
/// <param name="From">First sequence that may be missing.</param>
public sealed record StaleMark(ulong Generation, ulong From);

/// <summary>What is on disk of an owner's replication.</summary>
/// <param name="Volume">The volume's identity.</param>
/// <param name="Epoch">The owner's epoch.</param>
/// <param name="Mode">The mode that was reached, or that was asked for where it is weaker.</param>
public sealed record PrimaryRecord(Guid Volume, ulong Epoch, ReplicationMode Mode)
{
    /// <summary>Highest generation of a report that the replica is stale.</summary>
    public ulong StaleGeneration { get; init; }

    /// <summary>The report in force; null = the replica is not stale.</summary>
    public StaleMark? Stale { get; init; }
}

/// <summary>What protection there is.</summary>
public enum Protection
{
    /// <summary>What the mode and the bounds promise.</summary>
    Protected,

    /// <summary>The promise cannot be kept; the record "the replica is stale" is being made, and no write is answered beyond the
    /// promise.</summary>
    Reporting,

    /// <summary>The replica is stale, on record at the manager; writes are answered.</summary>
    Unprotected,
}

/// <summary>What an operator is told of.</summary>
[Flags]
public enum ReplicationAlarm
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>The lag is near its bound.</summary>
    LagNearBound = 1,

    /// <summary>The lag is at its bound, and the policy's action is being done.</summary>
    LagAtBound = 2,

    /// <summary>The replica is gone.</summary>
    PeerGone = 4,

    /// <summary>Writes are answered that the replica does not have, against the promise.</summary>
    Unprotected = 8,

    /// <summary>The switch to a stronger mode does not come to an end.</summary>
    NotConverging = 16,

    /// <summary>The replica has less than it had said was durable.</summary>
    ReplicaWentBack = 32,

    /// <summary>The replica has the same history but other bytes, or another history.</summary>
    CopiesDiffer = 64,

    /// <summary>The record of the replication cannot be written.</summary>
    RecordNotWritten = 128,
}

/// <summary>What happens to an owner's replication.</summary>
public abstract record PrimaryInput;

/// <summary>Records were appended to the log.</summary>
/// <param name="Last">The last one.</param>
/// <param name="TotalBytes">Bytes of all records ever, headers too, as they go over the link.</param>
public sealed record Appended(ulong Last, long TotalBytes) : PrimaryInput;

/// <summary>The log is durable here.</summary>
/// <param name="Through">Up to this sequence.</param>
public sealed record LocalSynced(ulong Through) : PrimaryInput;

/// <summary>The link is there, and the stream begins behind a point that both sites have.</summary>
/// <param name="Common">That point's sequence.</param>
/// <param name="Durable">What is durable at the replica.</param>
/// <param name="IsConsistent">False: the replica is being copied; it counts from <see cref="ReplicaConsistent"/> on.</param>
public sealed record LinkOpened(ulong Common, ulong Durable, bool IsConsistent = true) : PrimaryInput
{
    /// <summary>Where the replica's log begins anew by this connection; null = it goes on.</summary>
    public LogPoint? Begins { get; init; }
}

/// <summary>The replica's copy is whole from now on.</summary>
public sealed record ReplicaConsistent : PrimaryInput;

/// <summary>The link is gone.</summary>
/// <param name="Reason">Why, for people.</param>
public sealed record LinkClosed(string Reason) : PrimaryInput;

/// <summary>The replica said how far it is.</summary>
/// <param name="Received">Up to this sequence it has received.</param>
/// <param name="Durable">Up to this one it is durable there.</param>
public sealed record Acked(ulong Received, ulong Durable) : PrimaryInput;

/// <summary>The replica was heard.</summary>
public sealed record PeerHeard : PrimaryInput;

/// <summary>The link was measured.</summary>
/// <param name="RoundTrip">Smallest recent round trip, nanoseconds.</param>
/// <param name="BytesPerSecond">What it carries; 0 = not known yet.</param>
public sealed record LinkMeasured(long RoundTrip, long BytesPerSecond) : PrimaryInput;

/// <summary>Another mode is asked for.</summary>
/// <param name="Ticket">Number by which it is answered.</param>
/// <param name="Mode">The mode.</param>
public sealed record ModeAsked(long Ticket, ReplicationMode Mode) : PrimaryInput;

/// <summary>The switch was made under the sequence lock.</summary>
/// <param name="Last">The last record before it, durable or not.</param>
/// <param name="ContentRoot">The content root at that point.</param>
public sealed record ModeFlipped(LogPoint Last, ulong ContentRoot) : PrimaryInput;

/// <summary>The proof that the replica has everything is asked for. The guest stands still.</summary>
/// <param name="Ticket">Number by which it is answered.</param>
/// <param name="Last">The last point.</param>
/// <param name="ContentRoot">The content root there.</param>
public sealed record DrainAsked(long Ticket, LogPoint Last, ulong ContentRoot) : PrimaryInput;

/// <summary>The replica's proof of a point.</summary>
/// <param name="Proof">It.</param>
public sealed record ReplicaProved(DrainProof Proof) : PrimaryInput;

/// <summary>The manager has "the replica is stale" on disk.</summary>
/// <param name="Generation">The report's generation.</param>
public sealed record StaleConfirmed(ulong Generation) : PrimaryInput;

/// <summary>The manager has "the replica is in sync again" on disk.</summary>
/// <param name="Generation">The report's generation.</param>
public sealed record InSyncConfirmed(ulong Generation) : PrimaryInput;

/// <summary>The record is durable.</summary>
public sealed record PrimarySynced : PrimaryInput;

/// <summary>It could not be made durable.</summary>
/// <param name="Reason">Why.</param>
public sealed record PrimarySyncFailed(string Reason) : PrimaryInput;

/// <summary>The owner goes on under a higher epoch: a move was undone. What waits goes on waiting; a report that is in force is made anew
/// under the new epoch.</summary>
/// <param name="Epoch">The epoch.</param>
public sealed record EpochRaised(ulong Epoch) : PrimaryInput;

/// <summary>The policy was changed.</summary>
/// <param name="Policy">The new one.</param>
public sealed record PolicyChanged(ReplicationPolicy Policy) : PrimaryInput;

/// <summary>Time has passed.</summary>
public sealed record Tick : PrimaryInput;

/// <summary>What an owner's machine wants done.</summary>
public abstract record PrimaryCommand;

/// <summary>Make the record durable; the result is an input.</summary>
/// <param name="Record">The record.</param>
public sealed record WritePrimary(PrimaryRecord Record) : PrimaryCommand;

/// <summary>Hold the sequence lock, and say what the last record and the content root are: <see cref="ModeFlipped"/>.</summary>
/// <param name="Mode">The mode that holds for all later records.</param>
public sealed record FlipMode(ReplicationMode Mode) : PrimaryCommand;

/// <summary>Ask the replica for its proof of a point, in the order of the stream.</summary>
/// <param name="Proof">This site's.</param>
public sealed record AskProof(DrainProof Proof) : PrimaryCommand;

/// <summary>Report to the manager, until it is confirmed.</summary>
/// <param name="Epoch">The owner's epoch.</param>
/// <param name="Mark">What.</param>
public sealed record ReportStale(ulong Epoch, StaleMark Mark) : PrimaryCommand;

/// <summary>Report to the manager, until it is confirmed: the report of that generation is over.</summary>
/// <param name="Epoch">The owner's epoch.</param>
/// <param name="Generation">Which.</param>
/// <param name="Through">Up to this sequence the replica has everything.</param>
public sealed record ReportInSync(ulong Epoch, ulong Generation, ulong Through) : PrimaryCommand;

/// <summary>A mode was reached.</summary>
/// <param name="Ticket">Who asked; 0 = nobody: the promised mode is in force again.</param>
/// <param name="Mode">The mode.</param>
/// <param name="Through">Everything up to here is durable at the replica, where the mode promises that.</param>
public sealed record ModeReached(long Ticket, ReplicationMode Mode, ulong Through) : PrimaryCommand;

/// <summary>A mode will not be reached by this request.</summary>
/// <param name="Ticket">Who asked.</param>
/// <param name="Reason">Why.</param>
public sealed record ModeGivenUp(long Ticket, string Reason) : PrimaryCommand;

/// <summary>Both sites are equal at that point.</summary>
/// <param name="Ticket">Who asked.</param>
/// <param name="Proof">What both say.</param>
public sealed record DrainProved(long Ticket, DrainProof Proof) : PrimaryCommand;

/// <summary>They are not.</summary>
/// <param name="Ticket">Who asked.</param>
/// <param name="Reason">What is different.</param>
public sealed record DrainRefused(long Ticket, string Reason) : PrimaryCommand;

/// <summary>An alarm begins.</summary>
/// <param name="Alarm">Which.</param>
/// <param name="Detail">With its numbers.</param>
public sealed record RaiseAlarm(ReplicationAlarm Alarm, string Detail) : PrimaryCommand;

/// <summary>An alarm is over.</summary>
/// <param name="Alarm">Which.</param>
public sealed record ClearAlarm(ReplicationAlarm Alarm) : PrimaryCommand;
