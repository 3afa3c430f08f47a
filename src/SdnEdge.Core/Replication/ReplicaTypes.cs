namespace SdnEdge.Core.Replication;

/// <summary>What a copy is.</summary>
public enum CopyPhase
{
    /// <summary>Nothing was ever copied.</summary>
    Empty,

    /// <summary>The first copy is under way: there is nothing here that an owner once had.</summary>
    Copying,

    /// <summary>It is consistent and follows the owner's log.</summary>
    Following,

    /// <summary>What differs is being moved, beside the last consistent point: only that one may be promoted.</summary>
    Resyncing,
}

/// <summary>What is on disk of a replica.</summary>
/// <param name="Volume">The volume's identity.</param>
/// <param name="Phase">The phase.</param>
public sealed record ReplicaRecord(Guid Volume, CopyPhase Phase)
{
    /// <summary>Resyncing: the consistent point that is kept.</summary>
    public LogPoint? LastConsistent { get; init; }

    /// <summary>Copying, resyncing: what is fetched.</summary>
    public StreamStart Copies { get; init; }

    /// <summary>Copying, resyncing: the log is applied from the record behind this point on.</summary>
    public LogPoint CopyBase { get; init; }

    /// <summary>Copying, resyncing: consistent as soon as the log is durable up to here; null = data are missing.</summary>
    public LogPoint? CopyEnd { get; init; }

    /// <summary>Copying, resyncing: up to here, counted along the ranges to be copied, the data are durable; bytes.</summary>
    public long CopiedBytes { get; init; }

    /// <summary>Number of the ranges that are fetched, where they are not the whole volume; one more each time that they are
    /// others.</summary>
    public int Ranges { get; init; }

    /// <summary>An operator has asked for a copy of everything, whatever the histories say.</summary>
    public bool CopyAsked { get; init; }
}

/// <summary>What a stream begins with.</summary>
public enum StreamStart
{
    /// <summary>The log, from the record behind the common point.</summary>
    Log,

    /// <summary>The content of what differs, then the log.</summary>
    Differences,

    /// <summary>The content of the whole volume, then the log.</summary>
    Everything,
}

/// <summary>What happens to a replica.</summary>
public abstract record ReplicaInput;

/// <summary>An owner has connected.</summary>
/// <param name="Ownership">This store's ownership.</param>
/// <param name="Epoch">The owner's epoch.</param>
/// <param name="OwnerDurable">What is durable at the owner.</param>
public sealed record OwnerConnected(OwnershipRecord Ownership, ulong Epoch, ulong OwnerDurable) : ReplicaInput;

/// <summary>The last point that both have was found.</summary>
/// <param name="Common">It; null = there is none, or one of the two logs does not reach back to it.</param>
/// <param name="Applied">Up to this sequence the log here was applied to the image, which cannot be taken back.</param>
/// <param name="HasGap">The owner's log does not reach back to it any more; what the records in between touched is known, and
/// fetched.</param>
public sealed record CommonFound(LogPoint? Common, ulong Applied, bool HasGap = false) : ReplicaInput;

/// <summary>The tail was put aside, or the resynchronization was begun, durably.</summary>
/// <param name="Size">Size of the volume where its log ends now, bytes.</param>
public sealed record StreamReady(long Size) : ReplicaInput;

/// <summary>A batch has come, whole and with a right checksum.</summary>
/// <param name="Records">Its records, ascending.</param>
/// <param name="OwnerDurable">What is durable at the owner.</param>
/// <param name="Chain">The chain's step.</param>
public sealed record BatchArrived(ReadOnlyMemory<LogRecord> Records, ulong OwnerDurable, ChainStep Chain) : ReplicaInput;

/// <summary>The owner said what is durable there.</summary>
/// <param name="Through">Up to this sequence.</param>
public sealed record OwnerDurableTo(ulong Through) : ReplicaInput;

/// <summary>The log is durable here.</summary>
/// <param name="Through">Up to this sequence.</param>
public sealed record ReplicaSynced(ulong Through) : ReplicaInput;

/// <summary>Copied data are durable.</summary>
/// <param name="Bytes">Up to here along the ranges.</param>
public sealed record CopySynced(long Bytes) : ReplicaInput;

/// <summary>The owner has sent all data.</summary>
/// <param name="End">The newest point that they may show.</param>
public sealed record CopySent(LogPoint End) : ReplicaInput;

/// <summary>The owner asks for a proof, in the order of the stream.</summary>
/// <param name="Sequence">Of this sequence.</param>
/// <param name="ContentRoot">The content root here, with everything received so far.</param>
public sealed record ProofAsked(ulong Sequence, ulong ContentRoot) : ReplicaInput;

/// <summary>The record is durable.</summary>
public sealed record ReplicaRecordSynced : ReplicaInput;

/// <summary>It could not be made durable.</summary>
/// <param name="Reason">Why.</param>
public sealed record ReplicaRecordFailed(string Reason) : ReplicaInput;

/// <summary>The owner's connection is gone, or this store is the owner now.</summary>
public sealed record OwnerGone : ReplicaInput;

/// <summary>An operator asks for a copy of everything, from the next connection on.</summary>
public sealed record CopyAnew : ReplicaInput;

/// <summary>What a replica's machine wants done.</summary>
public abstract record ReplicaCommand;

/// <summary>Make the record durable.</summary>
/// <param name="Record">It.</param>
public sealed record WriteReplica(ReplicaRecord Record) : ReplicaCommand;

/// <summary>Say how far this copy is.</summary>
/// <param name="Last">The last record here, durable.</param>
/// <param name="Phase">The phase.</param>
/// <param name="Base">Copying, resyncing: the log's point from which the copy was begun.</param>
/// <param name="CopiedBytes">Copying, resyncing: bytes that are there.</param>
public sealed record AnswerOwner(LogPoint Last, CopyPhase Phase, LogPoint Base, long CopiedBytes) : ReplicaCommand;

/// <summary>Refuse the owner, and close the connection.</summary>
/// <param name="Reason">Why, and what would be right.</param>
/// <param name="IsStale">Its epoch is not the newest.</param>
public sealed record RefuseOwner(string Reason, bool IsStale = false) : ReplicaCommand;

/// <summary>Put the records behind this point aside as a branch; <see cref="StreamReady"/> when that is durable.</summary>
/// <param name="To">The last point that stays.</param>
public sealed record PutTailAside(LogPoint To) : ReplicaCommand;

/// <summary>Make durable, under the next number, what is to be fetched: what the records here behind the common point touched, what a copy
/// that was under way has not fetched, and what the owner's log has let go. It comes before the record that names that number.</summary>
/// <param name="Common">The last common point.</param>
/// <param name="Number">The number.</param>
/// <param name="Before">What the copy was.</param>
public sealed record KeepRanges(LogPoint Common, int Number, ReplicaRecord Before) : ReplicaCommand;

/// <summary>Keep what the copy is now as the last consistent point, and begin to overwrite beside it; put the records behind the common
/// point aside; <see cref="StreamReady"/> when that is durable.</summary>
/// <param name="Common">The last common point; null = none.</param>
public sealed record BeginResync(LogPoint? Common) : ReplicaCommand;

/// <summary>The stream may begin.</summary>
/// <param name="Start">With what.</param>
/// <param name="From">The log: from the record behind this point. Everything: the start of history where the copy begins, so that the owner
/// names the point; else it goes on behind the bytes that are there.</param>
public sealed record AskStream(StreamStart Start, LogPoint From) : ReplicaCommand;

/// <summary>Append a batch's records to the log as they are, all or none.</summary>
/// <param name="Skip">So many at its beginning are here already.</param>
public sealed record AppendBatch(int Skip) : ReplicaCommand;

/// <summary>The copy is whole; the last consistent point that was kept is not needed any more.</summary>
/// <param name="Through">With the records up to this sequence, which are durable.</param>
public sealed record EndResync(ulong Through) : ReplicaCommand;

/// <summary>Tell the owner that the copy is whole.</summary>
public sealed record SendWhole : ReplicaCommand;

/// <summary>Tell the owner how far this copy is.</summary>
/// <param name="Received">Up to this sequence it has received.</param>
/// <param name="Durable">Up to this one it is durable.</param>
public sealed record SendAck(ulong Received, ulong Durable) : ReplicaCommand;

/// <summary>Send a proof.</summary>
/// <param name="Proof">It.</param>
public sealed record SendProof(DrainProof Proof) : ReplicaCommand;
