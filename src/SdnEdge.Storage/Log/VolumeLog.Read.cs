using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Log;

/// <summary>A record that was read, and where its bytes are in the buffer.</summary>
/// <param name="Record">Its header.</param>
/// <param name="PayloadAt">Where its bytes begin in the buffer.</param>
/// <param name="Position">Where they are in the log.</param>
public readonly record struct LogEntry(LogRecord Record, int PayloadAt, long Position);

/// <summary>How a reading of the log ended.</summary>
public enum LogReadStatus
{
    /// <summary>Records were read.</summary>
    Read,

    /// <summary>There is none of that sequence yet.</summary>
    AtEnd,

    /// <summary>That sequence is older than what is kept.</summary>
    TooOld,

    /// <summary>The disk failed, or what it gave is not what was written.</summary>
    Damaged,
}

/// <summary>Where a reader is. The default value is a reader that looks its place up.</summary>
public struct LogCursor
{
    internal ulong Sequence, Ordinal;
    internal long Place;
}

public sealed partial class VolumeLog
{
    private readonly PriorityQueue<TaskCompletionSource, ulong> _readers = new();

    /// <summary>The least buffer for <see cref="Read"/>: the largest record.</summary>
    public int ReadBufferSize => _staging.Length;

    /// <summary>A good buffer for <see cref="Read"/>: 4 MiB, or a segment where that is less.</summary>
    public int BatchSize => (int)Math.Max(_staging.Length, Math.Min(4 << 20, _options.SegmentSize));

    /// <summary>
    /// Reads records in order, as many as the buffer holds of one segment, while appends go on. What was written a short while ago comes
    /// from the kernel's memory.
    /// </summary>
    /// <param name="from">The first sequence.</param>
    /// <param name="through">The last sequence that is wanted.</param>
    /// <param name="cursor">The reader's place, kept from call to call.</param>
    /// <param name="buffer">At least <see cref="ReadBufferSize"/> bytes.</param>
    /// <param name="entries">Emptied, then filled.</param>
    public LogReadStatus Read(ulong from, ulong through, ref LogCursor cursor, byte[] buffer, List<LogEntry> entries)
    {
        ArgumentNullException.ThrowIfNull(buffer);
        ArgumentNullException.ThrowIfNull(entries);
        ArgumentOutOfRangeException.ThrowIfLessThan(buffer.Length, ReadBufferSize);
        entries.Clear();

        // 1. Under the lock: the segment, held against being used anew, and how far its records go.
        LogSegment segment;
        long place, end;
        ulong sequence, last;
        lock (Gate)
        {
            if (from > LastSequence || from > through) return LogReadStatus.AtEnd;
            if (from < _segments[0].Header.FirstSequence) return LogReadStatus.TooOld;
            segment = SegmentWith(from);
            end = segment.End;
            last = Math.Min(through, segment.LastSequence);
            segment.Pins++;
            (sequence, place) = cursor.Sequence == from && cursor.Ordinal == segment.Header.Ordinal ? (from,
                cursor.Place) : segment.Find(from);
        }

        try
        {
            // 2. Past what stands between the remembered place and the record that is wanted.
            Span<byte> header = stackalloc byte[LogRecordCodec.HeaderSize];
            for (; sequence < from; sequence++)
            {
                if (segment.File.Read(place, header) != 0 || !Fits(header, segment, sequence, out var passed)) return LogReadStatus.Damaged;
                place += LogRecordCodec.SizeOnDisk(passed);
            }

            // 3. One read, then record by record.
            int got = (int)Math.Min(buffer.Length, end - place);
            if (segment.File.Read(place, buffer.AsSpan(0, got)) != 0) return LogReadStatus.Damaged;
            int at = 0;
            while (got - at >= LogRecordCodec.HeaderSize && sequence <= last)
            {
                if (!Fits(buffer.AsSpan(at), segment, sequence, out var record)) return Partly(entries);
                long size = LogRecordCodec.SizeOnDisk(record);
                if (size > got - at) break;
                int payload = (int)record.PayloadLength;
                if (payload > 0 && Crc32C.Of(buffer.AsSpan(at + LogRecordCodec.HeaderSize,
                    payload)) != record.Checksum) return Partly(entries);
                int bytes = at + LogRecordCodec.HeaderSize;
                entries.Add(new LogEntry(record, bytes, PositionOf(segment, place + bytes)));
                at += (int)size;
                sequence++;
            }

            cursor.Sequence = sequence;
            (cursor.Ordinal, cursor.Place) = (segment.Header.Ordinal, place + at);
            return entries.Count > 0 ? LogReadStatus.Read : LogReadStatus.Damaged;
        }
        finally
        {
            Unpin(segment);
        }
    }

    private static LogReadStatus Partly(List<LogEntry> entries) => entries.Count > 0 ? LogReadStatus.Read : LogReadStatus.Damaged;

    private static bool Fits(ReadOnlySpan<byte> header, LogSegment segment, ulong sequence, out LogRecord record) =>
        LogRecordCodec.TryRead(header, out record, out ulong salt, out _) && salt == segment.Header.Salt && record.Sequence == sequence;

    /// <summary>The point before the first record that can be read.</summary>
    internal LogPoint BeforeFirst
    {
        get
        {
            lock (Gate)
            {
                SegmentHeader first = _segments[0].Header;
                return first.FirstSequence == 1 ? LogPoint.Start : new LogPoint(first.FirstSequence - 1, first.PreviousEpoch,
                    first.PreviousChain);
            }
        }
    }

    /// <summary>Where the newest record ends, in bytes that only grow: the bytes of all records, and what is left at the ends of
    /// segments.</summary>
    internal long EndPosition
    {
        get
        {
            lock (Gate) return PositionOf(_segments[^1], _segments[^1].End);
        }
    }

    /// <summary>The first record that can be read, and the chain before it.</summary>
    public (ulong Sequence, ulong PreviousChain) Begins()
    {
        lock (Gate) return (_segments[0].Header.FirstSequence, _segments[0].Header.PreviousChain);
    }

    private LogSegment SegmentWith(ulong sequence)
    {
        int low = 0, high = _segments.Count - 1;
        while (low < high)
        {
            int middle = (low + high + 1) / 2;
            if (_segments[middle].Header.FirstSequence <= sequence) low = middle;
            else high = middle - 1;
        }

        return _segments[low];
    }

    /// <summary>Holds the segment of a position, so that <see cref="ReadPayload"/> may be called without the lock. The lock is
    /// held.</summary>
    internal LogSegment PinLocked(long position)
    {
        var segment = SegmentOf(position);
        segment.Pins++;
        return segment;
    }

    /// <summary>Reads bytes of a record from a segment that is held.</summary>
    internal int ReadPayload(LogSegment segment, long position, Span<byte> into) =>
        segment.File.Read(position % _options.SegmentSize, into);

    /// <summary>Ends a holding.</summary>
    internal void Unpin(LogSegment segment)
    {
        lock (Gate) segment.Pins--;
    }

    /// <summary>Completes when there is a record of <paramref name="sequence"/>.</summary>
    /// <exception cref="OperationCanceledException">It was cancelled, or the log was closed.</exception>
    public Task WaitForAsync(ulong sequence, CancellationToken cancel)
    {
        TaskCompletionSource waiter;
        lock (Gate)
        {
            if (sequence <= LastSequence) return Task.CompletedTask;
            if (_disposed) return Task.FromCanceled(new CancellationToken(canceled: true));
            waiter = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            _readers.Enqueue(waiter, sequence);
        }

        return waiter.Task.WaitAsync(cancel);
    }

    private void WakeReaders()
    {
        while (_readers.TryPeek(out _, out ulong sequence) && sequence <= LastSequence) _readers.Dequeue().TrySetResult();
    }

    private void EndReaders()
    {
        while (_readers.Count > 0) _readers.Dequeue().TrySetCanceled();
    }
}
