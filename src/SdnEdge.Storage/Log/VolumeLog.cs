using System.Security.Cryptography;
using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Log;

/// <summary>How a log is laid out and driven.</summary>
public sealed record VolumeLogOptions
{
    /// <summary>Bytes of a segment: a multiple of 4096, 64 KiB to 1 GiB.</summary>
    public long SegmentSize { get; init; } = 64L << 20;

    /// <summary>The most segments, used and free together: the bound of the log's room on the disk. At least 3.</summary>
    public int MaxSegments { get; init; } = 16;

    /// <summary>Segments that are kept ready beside the one in use. At least 1.</summary>
    public int SegmentsAhead { get; init; } = 2;

    /// <summary>True: a thread commits and another prepares segments. False: the owner calls <see cref="VolumeLog.Commit"/> and
    /// <see cref="VolumeLog.PrepareSegment"/>, so that a test decides the order of everything.</summary>
    public bool Background { get; init; } = true;

    /// <summary>A number that is never the same twice.</summary>
    public Func<ulong> NewSalt { get; init; } = static () => BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(8));

    /// <summary>The most bytes behind one record's header: two records fit into each segment.</summary>
    public int MaxPayload => (int)Math.Min(1 << 20, ((SegmentSize - SegmentHeader.Bytes) / 2) - LogRecordCodec.HeaderSize & ~4095L);

    internal void Check()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(SegmentSize, 64 << 10);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(SegmentSize, 1L << 30);
        ArgumentOutOfRangeException.ThrowIfNotEqual(SegmentSize % 4096, 0, nameof(SegmentSize));
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxSegments, 3);
        ArgumentOutOfRangeException.ThrowIfLessThan(SegmentsAhead, 1);
    }
}

/// <summary>How an append ended.</summary>
public enum AppendStatus
{
    /// <summary>The record is in the log: with the kernel, not yet durable.</summary>
    Appended,

    /// <summary>No segment is ready. It may be tried again when <see cref="VolumeLog.SegmentReady"/> says so.</summary>
    NoRoom,

    /// <summary>The disk failed; <see cref="VolumeLog.Failure"/> or <see cref="VolumeLog.LastError"/> says how.</summary>
    Failed,

    /// <summary>A replicated record does not continue this log.</summary>
    OutOfOrder,
}

/// <summary>A volume's log: journal and replication stream in one.</summary>
/// <remarks>
/// <para><b>Files.</b> log/0001, log/0002, ...: segments of one size, made full of zeros, so that a commit changes no metadata of the
/// filesystem. A segment whose records nobody needs any more is used again, under a new salt; none is ever removed.</para>
/// <code>
/// segment  0     header, 4096 bytes (SegmentHeader)
///          4096  record, record, ...  each 64 bytes of header (LogRecordCodec), its bytes, zeros up to a multiple of 64
/// </code>
/// <para><b>A record is valid if and only if</b> (1) its header's checksum fits and all its fields are in range, (2) its salt is that of
/// the segment's header, (3) its sequence is one more than that of the record before, (4) its epoch is not less, (5) its chain follows from
/// the chain before, (6) it ends inside the segment, (7) the checksum of the bytes behind the header fits. <b>The log is</b> the longest
/// run of valid records: from the first one of the segment that has the first sequence not applied (and, where they are there, of the
/// segments directly before it), through the segments by ascending ordinal.</para>
/// <para><b>Append.</b> Under the lock: sequence, chain, one write. The caller may answer a write that need not be durable: it is with the
/// kernel, and a kill of this process does not lose it. <b>Commit.</b> One committer: it takes the newest sequence, syncs the segments that
/// were written since the last time, oldest first, then everybody who waits for a sequence up to that one is answered. A sync that failed
/// ends the log until it is opened again, because the kernel may have forgotten what it could not write.</para>
/// <para><b>Recovery.</b> Each header says how many records before it were not known to be durable. Where the run of valid records ends,
/// what stands there and what stands behind decide (<see cref="LogRecoveryTable"/>): a record behind that vouches for the missing one
/// makes it damage, which is reported and nothing is written; else the tail is cut, by zeros, before anything is appended: records of the
/// same salt behind the end could otherwise be taken for the continuation of another history.</para>
/// <para><b>Anew.</b> A copy whose history is not the owner's leaves it: a segment that says so is written and synced, the superblock names
/// its salt (that is the moment), the older segments are free. A crash before the superblock leaves the log as it was.</para>
/// <para><b>Locks.</b> <see cref="Gate"/> guards all fields; it is never held during a sync. The commit lock is taken before it.</para>
/// </remarks>
public sealed partial class VolumeLog : IDisposable
{
    private const string Subfolder = "log";

    // From so many bytes on a write of two parts costs less than a copy.
    private const int LeastApart = 16 << 10;

    private readonly IStoreFolder _folder;
    private readonly VolumeLogOptions _options;
    private readonly Guid _identity;
    private readonly List<LogSegment> _segments = [];
    private readonly Queue<IStoreFile> _ready = new(), _free = new(), _unfilled = new();
    private readonly byte[] _staging;
    private int _files;
    private bool _preparing, _disposed, _closed;

    private VolumeLog(IStoreFolder folder, VolumeLogOptions options, Guid identity)
    {
        _folder = folder;
        _options = options;
        _identity = identity;
        _staging = new byte[LogRecordCodec.HeaderSize + options.MaxPayload + LogRecordCodec.HeaderSize];
    }

    /// <summary>Guards the log's fields. An owner may hold it over several calls, to append and note in one step.</summary>
    internal Lock Gate { get; } = new();

    /// <summary>The newest record's sequence; 0 when there is none.</summary>
    public ulong LastSequence { get; private set; }

    /// <summary>Every record up to this sequence is durable.</summary>
    public ulong DurableSequence { get; private set; }

    /// <summary>The chain after the newest record.</summary>
    public ulong Chain { get; private set; }

    /// <summary>The epoch of the newest record.</summary>
    public ulong Epoch { get; private set; }

    /// <summary>The oldest record that can be read.</summary>
    public ulong FirstSequence
    {
        get
        {
            lock (Gate) return _segments[0].Header.FirstSequence;
        }
    }

    /// <summary>Bytes in segments that are in use.</summary>
    public long BytesInUse
    {
        get
        {
            lock (Gate) return _segments.Count * _options.SegmentSize;
        }
    }

    /// <summary>Commits since it was opened.</summary>
    public long Commits { get; private set; }

    /// <summary>The error number of the sync that ended this log; 0 while it works.</summary>
    public int Failure { get; private set; }

    /// <summary>The error number of the newest append or new segment that failed; 0 when a segment has been made since.</summary>
    public int LastError { get; private set; }

    /// <summary>The file that failed last.</summary>
    public string FailedFile { get; private set; } = "";

    /// <summary>A segment became ready, or could not be made: appends that found no room may be tried again. Raised without the
    /// lock.</summary>
    public event Action? SegmentReady;

    /// <summary>Every segment is in use: room comes only by <see cref="Release"/>.</summary>
    public bool IsFull
    {
        get
        {
            lock (Gate) return _ready.Count == 0 && _free.Count == 0 && _files >= _options.MaxSegments;
        }
    }

    /// <summary>Appends a record of this volume's owner.</summary>
    /// <param name="kind">What it says. <see cref="LogRecordKind.Epoch"/> is <see cref="AppendEpoch"/>'s.</param>
    /// <param name="offset">Bytes into the volume; 0 where the kind has no range.</param>
    /// <param name="length">Bytes of the range.</param>
    /// <param name="payload">The bytes behind the header: <paramref name="length"/> of them for a write or a mark, none else. They must not
    /// change before this returns: their checksum would be another one's.</param>
    /// <param name="record">The record as it was written.</param>
    /// <param name="position">Where its bytes are, for <see cref="ReadPayload"/>.</param>
    public AppendStatus Append(
        LogRecordKind kind, long offset, long length, ReadOnlySpan<byte> payload, out LogRecord record, out long position)
    {
        lock (Gate) return Put(kind, Epoch, offset, length, payload, out record, out position);
    }

    /// <summary>From here on the records are of this epoch.</summary>
    /// <param name="epoch">More than <see cref="Epoch"/>.</param>
    /// <param name="record">The record as it was written.</param>
    public AppendStatus AppendEpoch(ulong epoch, out LogRecord record)
    {
        lock (Gate)
        {
            ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(epoch, Epoch);
            return Put(LogRecordKind.Epoch, epoch, 0, 0, [], out record, out _);
        }
    }

    /// <summary>Appends a record that another log had, unchanged.</summary>
    /// <returns><see cref="AppendStatus.OutOfOrder"/> when it is not the next one, or its chain or checksum does not fit.</returns>
    public AppendStatus AppendReplicated(in LogRecord record, ReadOnlySpan<byte> payload, out long position)
    {
        lock (Gate)
        {
            position = 0;
            if (record.Sequence != LastSequence + 1 || record.Epoch < Epoch || payload.Length != record.PayloadLength
                || LogRecordCodec.NextChain(Chain, record) != record.Chain
                || (payload.Length > 0 && Crc32C.Of(payload) != record.Checksum))
            {
                return AppendStatus.OutOfOrder;
            }

            return Put(record.Kind, record.Epoch, record.Offset, record.Length, payload, out _, out position, record.Checksum);
        }
    }

    private AppendStatus Put(LogRecordKind kind, ulong epoch, long offset, long length, ReadOnlySpan<byte> payload,
        out LogRecord record, out long position, uint? known = null)
    {
        // 1. A record that fits into a segment, and a segment that has room for it.
        position = 0;
        record = new LogRecord(LastSequence + 1, epoch, kind, offset, length, 0, 0);
        if (payload.Length != record.PayloadLength || payload.Length > _options.MaxPayload)
            throw new ArgumentException($"{payload.Length} bytes behind a {kind} of {length}; at most {_options.MaxPayload}",
                nameof(payload));
        if (Failure != 0) return AppendStatus.Failed;
        int size = (int)LogRecordCodec.SizeOnDisk(record);
        var segment = _segments[^1];
        if (segment.End + size > segment.Header.Size)
        {
            var status = Roll();
            if (status != AppendStatus.Appended) return status;
            segment = _segments[^1];
        }

        // 2. The header; a short payload is put behind it, a long one is not copied.
        bool apart = payload.Length >= LeastApart && payload.Length % LogRecordCodec.HeaderSize == 0;
        var bytes = _staging.AsSpan(0, apart ? LogRecordCodec.HeaderSize : size);
        if (!apart)
        {
            payload.CopyTo(bytes[LogRecordCodec.HeaderSize..]);
            bytes[(LogRecordCodec.HeaderSize + payload.Length)..].Clear();
        }

        uint checksum = payload.Length == 0 ? 0 : known ?? Crc32C.Of(payload);
        record = record with { Checksum = checksum };
        record = record with { Chain = LogRecordCodec.NextChain(Chain, record) };
        ulong notDurable = record.Sequence - 1 - DurableSequence;
        LogRecordCodec.Write(record, segment.Header.Salt, (uint)Math.Min(notDurable, uint.MaxValue), bytes);

        // 3. One write. If it fails nothing has changed: the next record goes to the same place.
        int error = apart ? segment.File.Write(segment.End, bytes, payload) : segment.File.Write(segment.End, bytes);
        if (error != 0)
        {
            FailedFile = segment.File.Name;
            LastError = error;
            return AppendStatus.Failed;
        }

        position = PositionOf(segment, segment.End + LogRecordCodec.HeaderSize);
        segment.Note(record.Sequence, segment.End);
        segment.End += size;
        segment.LastSequence = record.Sequence;
        segment.Dirty = true;
        LastSequence = record.Sequence;
        Chain = record.Chain;
        Epoch = epoch;
        WakeReaders();
        return AppendStatus.Appended;
    }

    // The next segment: its header is not synced on its own. Should it be lost, the records behind it were not durable either.
    private AppendStatus Roll()
    {
        if (_ready.Count == 0)
        {
            if (_options.Background) StartPreparing();
            return LastError != 0 ? AppendStatus.Failed : AppendStatus.NoRoom;
        }

        var file = _ready.Peek();
        var segment = new LogSegment(file,
            new SegmentHeader(_identity, _options.NewSalt(), _segments[^1].Header.Ordinal + 1, LastSequence + 1, Chain, Epoch,
                file.Length));
        Span<byte> header = stackalloc byte[SegmentHeader.Bytes];
        segment.Header.Write(header);
        int error = file.Write(0, header);
        if (error != 0)
        {
            FailedFile = file.Name;
            LastError = error;
            return AppendStatus.Failed;
        }

        _ready.Dequeue();
        segment.Dirty = true;
        _segments.Add(segment);
        if (_options.Background) StartPreparing();
        return AppendStatus.Appended;
    }

    // One number for segment and place: ordinal * size + place.
    private long PositionOf(LogSegment segment, long place) => checked(((long)segment.Header.Ordinal * _options.SegmentSize) + place);

    private LogSegment SegmentOf(long position) =>
        _segments[(int)((position / _options.SegmentSize) - (long)_segments[0].Header.Ordinal)];

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (Gate)
        {
            if (_disposed) return;
            _disposed = true;
        }

        StopCommitter();
        _prepared.Wait();

        // Not in the middle of a commit of another thread's.
        lock (_commitLock)
        lock (Gate)
        {
            _closed = true;
            foreach (var segment in _segments) segment.File.Dispose();
            foreach (var file in (IEnumerable<IStoreFile>)[.. _ready, .. _free, .. _unfilled]) file.Dispose();
            EndReaders();
        }
    }
}
