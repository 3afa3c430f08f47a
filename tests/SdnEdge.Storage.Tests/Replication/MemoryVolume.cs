using SdnEdge.Core.Replication;
using SdnEdge.Storage.Replication;

namespace SdnEdge.Storage.Tests.Replication;

/// <summary>A log and a volume in memory, for both ends of a link.</summary>
internal sealed class MemoryVolume(int size, Guid identity) : ILogReader, ICopySource, IReplicaSink
{
    private readonly Lock _lock = new();
    private readonly List<(LogRecord Record, byte[] Payload)> _log = [];
    private readonly List<(long, long)> _differences = [];
    private byte[] _image = new byte[size];
    private LogPoint _base;
    private TaskCompletionSource _news = New();

    public static readonly Guid Id = new("0a0b0c0d-1111-2222-3333-444455556666");

    public Guid Identity => identity;

    public ReplicaRecord Record { get; private set; } = new(identity, CopyPhase.Empty);

    public int Syncs { get; private set; }

    public int CopySyncs { get; private set; }

    public int CopiedBytes { get; private set; }

    public List<LogPoint> PutAside { get; } = [];

    public bool KeepsBatchesWhole { get; init; } = true;

    public LogPoint Oldest => _base;

    public LogPoint Last
    {
        get
        {
            lock (_lock) return _log.Count == 0 ? _base : LogPoint.Of(_log[^1].Record);
        }
    }

    public LogPoint Durable => Last;

    public ulong Applied { get; private set; }

    public long Size => size;

    public long LastSize => size;

    public ulong ContentRoot
    {
        get
        {
            lock (_lock) return LinkChecksum.Of(_image) + ((ulong)size << 32);
        }
    }

    public byte[] Content
    {
        get
        {
            lock (_lock) return (byte[])_image.Clone();
        }
    }

    public IReadOnlyList<(long Offset, long Length)> Ranges(int number)
        => number == RangesNumber ? _differences : throw new IOException($"ranges {number} were asked for, {RangesNumber} are here");

    public int RangesNumber { get; private set; }

    public void KeepRanges(LogPoint common, int number, ReplicaRecord before, IReadOnlyList<(long Offset, long Length)> more)
    {
        lock (_lock)
        {
            (long, long)[] left = before.Phase == CopyPhase.Copying && before.Copies == StreamStart.Everything && before.CopyEnd is null
                ? [(before.CopiedBytes, size - before.CopiedBytes)] : [];
            (long, long)[] ranges = [.. _log.Where(r => r.Record.Sequence > common.Sequence && r.Record.Length > 0)
                .Select(r => (r.Record.Offset, r.Record.Length)).Concat(left).Concat(more).Distinct().Order()];
            _differences.Clear();
            _differences.AddRange(ranges);
            RangesNumber = number;
        }
    }

    public static ulong Chain(ulong previous, in LogRecord record)
        => (previous * 1099511628211) ^ record.Sequence ^ (record.Epoch << 20) ^ ((ulong)record.Kind << 50) ^ (ulong)record.Offset
            ^ ((ulong)record.Length << 8) ^ ((ulong)record.Checksum << 30);

    public LogPoint Write(long offset, byte[] bytes, ulong epoch = 1, LogRecordKind kind = LogRecordKind.Write)
    {
        lock (_lock)
        {
            LogPoint before = Last;
            bool has = kind == LogRecordKind.Write;
            var record = new LogRecord(before.Sequence + 1, epoch, kind, offset, bytes.Length, has ? LinkChecksum.Of(bytes) : 0, 0);
            record = record with { Chain = Chain(before.Chain, record) };
            Add(record, has ? bytes : []);
            _news.TrySetResult();
            return LogPoint.Of(record);
        }
    }

    // What was written is in the image already, so that nothing of it can be put aside.
    public void Apply() => Applied = Last.Sequence;

    public void Trim()
    {
        lock (_lock)
        {
            _base = Last;
            _log.Clear();
        }
    }

    public LogPoint? PointAt(ulong sequence)
    {
        lock (_lock)
        {
            return sequence < _base.Sequence || sequence > Last.Sequence ? null
                : sequence == _base.Sequence ? _base : LogPoint.Of(_log[(int)(sequence - _base.Sequence - 1)].Record);
        }
    }

    public bool Read(ulong after, ulong through, int maxBytes, RecordBatch into)
    {
        lock (_lock)
        {
            if (after < _base.Sequence) return false;
            for (int i = (int)(after - _base.Sequence); i < _log.Count && into.PayloadBytes < maxBytes
                && _log[i].Record.Sequence <= through; i++)
                into.Add(_log[i].Record, _log[i].Payload);
            return true;
        }
    }

    public async ValueTask WaitAsync(ulong after, ulong durable, CancellationToken cancel)
    {
        Task news;
        lock (_lock)
        {
            if (Last.Sequence > after) return;
            _news = New();
            news = _news.Task;
        }

        await news.WaitAsync(cancel);
    }

    public (long Offset, long Length)? NextData(long from)
    {
        lock (_lock)
        {
            int at = (int)from;
            while (at < size && _image[at] == 0) at++;
            if (at == size) return null;
            int start = at / 4096 * 4096;
            return (Math.Max(start, from), Math.Min(size, start + 4096) - Math.Max(start, from));
        }
    }

    public ValueTask ReadDurableAsync(long offset, Memory<byte> into, CancellationToken cancel)
    {
        lock (_lock) _image.AsMemory((int)offset, into.Length).CopyTo(into);
        return default;
    }

    public void Append(RecordBatch batch, int skip)
    {
        lock (_lock)
        {
            for (int i = skip; i < batch.Count; i++) Add(batch.Records[i], batch.IsElided(i) ? null : batch.Payload(i).ToArray());
        }
    }

    public Task<ulong> SyncAsync(CancellationToken cancel)
    {
        Syncs++;
        return Task.FromResult(Last.Sequence);
    }

    public void ApplyUpTo(ulong sequence) => Applied = Math.Max(Applied, sequence);

    public Task WriteAsync(ReplicaRecord record, CancellationToken cancel)
    {
        Record = record;
        return Task.CompletedTask;
    }

    public Task PutTailAsideAsync(LogPoint to, CancellationToken cancel)
    {
        PutAside.Add(to);
        lock (_lock)
        {
            _log.RemoveAll(r => r.Record.Sequence > to.Sequence);
            _image = new byte[size];
            foreach ((LogRecord record, byte[] payload) in _log) Show(record, payload);
        }

        return Task.CompletedTask;
    }

    public Task BeginResyncAsync(LogPoint? common, CancellationToken cancel)
    {
        lock (_lock)
        {
            if (common is not { } point) return Task.CompletedTask;
            _log.Clear();
            (_base, Applied) = (point, point.Sequence);
        }

        return Task.CompletedTask;
    }

    public long? SizeAt(ulong sequence) => size;

    public string? PrepareSize(long larger) => larger <= LargestSize ? null : $"{larger} bytes are more than {LargestSize}";

    public long LargestSize { get; set; } = long.MaxValue;

    public Task BeginLogAsync(LogPoint at, long sizeThere, CancellationToken cancel)
    {
        lock (_lock)
        {
            _log.Clear();
            (_base, Applied) = (at, at.Sequence);
        }

        return Task.CompletedTask;
    }

    public void WriteCopy(long offset, ReadOnlySpan<byte> bytes)
    {
        CopiedBytes += bytes.Length;
        lock (_lock) bytes.CopyTo(_image.AsSpan((int)offset));
    }

    public void ZeroCopy(long offset, long length)
    {
        lock (_lock) _image.AsSpan((int)offset, (int)length).Clear();
    }

    public byte[]? Vouched(long block, ulong hash) => null;

    public void Resume()
    {
    }

    public Task SyncCopyAsync(CancellationToken cancel)
    {
        CopySyncs++;
        return Task.CompletedTask;
    }

    public void EndResync(ulong through)
    {
    }

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private void Add(LogRecord record, byte[]? payload)
    {
        _log.Add((record, payload ?? []));
        Show(record, payload);
    }

    private void Show(LogRecord record, byte[]? payload)
    {
        Span<byte> range = _image.AsSpan((int)record.Offset, record.Kind is LogRecordKind.Write or LogRecordKind.Zero or LogRecordKind.Trim
            ? (int)record.Length : 0);
        if (record.Kind == LogRecordKind.Write) payload?.CopyTo(range);
        else range.Clear();
    }
}
