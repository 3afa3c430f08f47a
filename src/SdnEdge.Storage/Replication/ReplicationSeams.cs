using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Replication;

/// <summary>The owner's log, as the link reads it. Calls come from one task at a time.</summary>
public interface ILogReader
{
    /// <summary>The point before the oldest record that is kept.</summary>
    LogPoint Oldest { get; }

    /// <summary>The last point, durable or not.</summary>
    LogPoint Last { get; }

    /// <summary>The last durable point.</summary>
    LogPoint Durable { get; }

    /// <summary>The point of a sequence; null = it is not kept, or does not exist.</summary>
    LogPoint? PointAt(ulong sequence);

    /// <summary>Adds the records behind a sequence, up to <paramref name="through"/>, to a batch until it has so many bytes of payload; at
    /// least one where there is one.</summary>
    /// <returns>False: the log does not reach back to it any more.</returns>
    bool Read(ulong after, ulong through, int maxBytes, RecordBatch into);

    /// <summary>Completes when there is a record behind this sequence, or something is newly durable beyond <paramref
    /// name="durable"/>.</summary>
    ValueTask WaitAsync(ulong after, ulong durable, CancellationToken cancel);
}

/// <summary>What the owner's log has let go although the replica lacks it: the points of the history at its beginning, and what all of it
/// touched. Calls come from one task at a time.</summary>
public interface IHistoryGap
{
    /// <summary>The point before it.</summary>
    LogPoint Before { get; }

    /// <summary>The last point that is known of it.</summary>
    LogPoint LastKnown { get; }

    /// <summary>Its last point: the log goes on behind it.</summary>
    LogPoint Through { get; }

    /// <summary>The point of a sequence; null = it is not known.</summary>
    LogPoint? PointAt(ulong sequence);

    /// <summary>What its records touched: ranges in order, not overlapping.</summary>
    IReadOnlyList<(long Offset, long Length)> Ranges { get; }
}

/// <summary>The owner's volume, as a copy reads it.</summary>
public interface ICopySource
{
    /// <summary>Size, bytes.</summary>
    long Size { get; }

    /// <summary>Its size behind a record; null = that is not known any more.</summary>
    long? SizeAt(ulong sequence);

    /// <summary>The first part at or behind an offset that does not read as zeros; null = there is none.</summary>
    (long Offset, long Length)? NextData(long from);

    /// <summary>A block, when it has this hash; null = it has not.</summary>
    byte[]? Vouched(long block, ulong hash);

    /// <summary>Reads bytes none of which is newer than what is durable at the return: a power cut takes nothing back that was
    /// copied.</summary>
    ValueTask ReadDurableAsync(long offset, Memory<byte> into, CancellationToken cancel);
}

/// <summary>The replica's log and volume. Calls come from one task, one at a time.</summary>
public interface IReplicaSink
{
    /// <summary>The point before the oldest record that is kept.</summary>
    LogPoint Oldest { get; }

    /// <summary>Up to this sequence the log was applied to the image.</summary>
    ulong Applied { get; }

    /// <summary>The content root with everything received.</summary>
    ulong ContentRoot { get; }

    /// <summary>Size of the volume behind the last record that was received, bytes.</summary>
    long LastSize { get; }

    /// <summary>Its size behind a record; null = that is not known any more.</summary>
    long? SizeAt(ulong sequence);

    /// <summary>Gets ready for a larger volume. Any thread.</summary>
    /// <returns>Why it cannot have that size, for people; null = it can.</returns>
    string? PrepareSize(long size);

    /// <summary>A batch is in the log as a whole after a crash, or not at all: bytes may be left out of it.</summary>
    bool KeepsBatchesWhole { get; }

    /// <summary>The point of a sequence; null = it is not kept, or does not exist.</summary>
    LogPoint? PointAt(ulong sequence);

    /// <summary>A block, when it has this hash; null = it has not.</summary>
    byte[]? Vouched(long block, ulong hash);

    /// <summary>Appends records as they are, from the one at <paramref name="skip"/> on. Not durable yet.</summary>
    /// <exception cref="IOException">One cannot be appended; the message says why.</exception>
    void Append(RecordBatch batch, int skip);

    /// <summary>A connection begins: what was copied and not made durable comes again.</summary>
    void Resume();

    /// <summary>Makes durable what was appended before the call.</summary>
    /// <returns>The last durable sequence.</returns>
    Task<ulong> SyncAsync(CancellationToken cancel);

    /// <summary>Makes durable what was copied before the call.</summary>
    Task SyncCopyAsync(CancellationToken cancel);

    /// <summary>The log may be applied up to this sequence.</summary>
    void ApplyUpTo(ulong sequence);

    /// <summary>Makes the record durable.</summary>
    Task WriteAsync(ReplicaRecord record, CancellationToken cancel);

    /// <summary>Puts the records behind a point aside, durably.</summary>
    Task PutTailAsideAsync(LogPoint to, CancellationToken cancel);

    /// <summary>Makes durable, under a number, what is to be fetched: what the records behind the common point touched, what a copy that
    /// was under way has not fetched, and more.</summary>
    /// <param name="common">The last common point.</param>
    /// <param name="number">The number of the ranges.</param>
    /// <param name="before">What the copy was.</param>
    /// <param name="more">More ranges.</param>
    void KeepRanges(LogPoint common, int number, ReplicaRecord before, IReadOnlyList<(long Offset, long Length)> more);

    /// <summary>Keeps the present content as the last consistent point (unless one is kept), puts the records behind the common point
    /// aside, and remembers what they touched, durably.</summary>
    Task BeginResyncAsync(LogPoint? common, CancellationToken cancel);

    /// <summary>What is to be fetched: ranges in order, not overlapping.</summary>
    /// <param name="number">Their number.</param>
    IReadOnlyList<(long Offset, long Length)> Ranges(int number);

    /// <summary>The log begins anew behind this point, at which the volume has this size, durably.</summary>
    Task BeginLogAsync(LogPoint at, long size, CancellationToken cancel);

    /// <summary>Writes copied bytes to the image.</summary>
    void WriteCopy(long offset, ReadOnlySpan<byte> bytes);

    /// <summary>Zeros a part of the image.</summary>
    void ZeroCopy(long offset, long length);

    /// <summary>With the records up to a sequence, which are durable, the copy is whole. The last consistent point that was kept is not
    /// needed any more.</summary>
    void EndResync(ulong through);
}
