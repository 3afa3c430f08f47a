using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Replication;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Service;

/// <summary>A volume's log and contents, as the link reads them. Calls come from one task at a time.</summary>
internal sealed class VolumeLogReader : ILogReader, ICopySource, IDisposable
{
    private readonly Volume _volume;
    private readonly VolumeLog _log;
    private readonly List<LogEntry> _entries = [];
    private readonly List<BlockExtent> _extents = [];
    private readonly Lock _lock = new(), _reading = new();
    private byte[] _buffer = [];
    private ulong _ceiling = ulong.MaxValue;
    private LogCursor _cursor;
    private LogPoint _durable;
    private int _renewals = -1;
    private TaskCompletionSource _committed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public VolumeLogReader(Volume volume)
    {
        (_volume, _log) = (volume, volume.Log);
        _log.Committed += OnCommitted;
    }

    /// <inheritdoc/>
    public LogPoint Oldest => _log.BeforeFirst;

    /// <inheritdoc/>
    public LogPoint Last
    {
        get
        {
            LogPoint last;
            lock (_log.Gate) last = _log.LastSequence == 0 ? LogPoint.Start : new LogPoint(_log.LastSequence, _log.Epoch, _log.Chain);
            ulong ceiling = Ceiling;
            return last.Sequence <= ceiling ? last : PointAt(ceiling) ?? last;
        }
    }

    /// <summary>Records behind this sequence are not told of yet. Any thread.</summary>
    public ulong Ceiling
    {
        get => Volatile.Read(ref _ceiling);
        set
        {
            // A read that has begun ends first: at the return nothing behind the newest record of this moment is on its way.
            lock (_reading) Volatile.Write(ref _ceiling, value);
            OnCommitted(0);
        }
    }

    /// <inheritdoc/>
    public LogPoint Durable
    {
        get
        {
            // What was committed is at hand; only behind what was there at the start the log has to be read.
            if (_log.DurablePoint is { } point) return point;
            ulong sequence = _log.DurableSequence;
            int renewals = _log.Renewals;
            if (sequence != _durable.Sequence || renewals != _renewals) _durable = Find(sequence, out _) ?? _durable;
            _renewals = renewals;
            return _durable;
        }
    }

    /// <inheritdoc/>
    public long Size => _volume.Size;

    /// <inheritdoc/>
    public long? SizeAt(ulong sequence) => _volume.SizeAt(sequence);

    /// <inheritdoc/>
    /// <exception cref="IOException">It cannot be read back: that is no word on whether it is there.</exception>
    public LogPoint? PointAt(ulong sequence)
    {
        LogPoint? point = Find(sequence, out LogReadStatus status);
        return status != LogReadStatus.Damaged ? point
            : throw new IOException($"record {sequence} of volume {_volume.Metadata.Name} cannot be read back from its log; check the "
                + $"volume");
    }

    /// <summary>As <see cref="PointAt"/>; null also where it cannot be read back.</summary>
    public LogPoint? Find(ulong sequence, out LogReadStatus status)
    {
        status = LogReadStatus.Read;
        LogPoint oldest = Oldest;
        if (sequence == oldest.Sequence) return oldest;
        status = LogReadStatus.TooOld;
        if (sequence < oldest.Sequence) return null;
        var cursor = default(LogCursor);
        byte[] buffer = new byte[_log.ReadBufferSize];
        var entries = new List<LogEntry>();
        status = _log.Read(sequence, sequence, ref cursor, buffer, entries);
        return status == LogReadStatus.Read ? LogPoint.Of(entries[0].Record) : null;
    }

    /// <summary>The records behind a sequence, to the end.</summary>
    /// <exception cref="IOException">One cannot be read back.</exception>
    public IEnumerable<LogRecord> Behind(ulong sequence)
    {
        var cursor = default(LogCursor);
        byte[] buffer = new byte[_log.BatchSize];
        var entries = new List<LogEntry>();
        for (ulong last = _log.LastSequence, next = sequence + 1; next <= last; next = entries[^1].Record.Sequence + 1)
        {
            if (_log.Read(next, last, ref cursor, buffer, entries) != LogReadStatus.Read)
                throw new IOException($"record {next} of volume {_volume.Metadata.Name} cannot be read back from its log");
            foreach (LogEntry entry in entries) yield return entry.Record;
        }
    }

    /// <inheritdoc/>
    public bool Read(ulong after, ulong through, int maxBytes, RecordBatch into)
    {
        if (_buffer.Length == 0) _buffer = new byte[Math.Max(_log.ReadBufferSize, maxBytes)];
        LogReadStatus status;
        lock (_reading) status = _log.Read(after + 1, Math.Min(through, Ceiling), ref _cursor, _buffer, _entries);
        switch (status)
        {
            case LogReadStatus.Read:
                long bytes = 0;
                foreach (LogEntry entry in _entries)
                {
                    if (into.Count > 0 && (bytes >= maxBytes || into.Count >= RecordBatch.MaxRecords)) break;
                    into.Add(entry.Record, _buffer.AsMemory(entry.PayloadAt, (int)entry.Record.PayloadLength));
                    bytes += entry.Record.PayloadLength;
                }

                // What did not fit is looked up by its sequence.
                if (into.Count < _entries.Count) _cursor = default;
                return true;
            case LogReadStatus.AtEnd:
                return true;
            case LogReadStatus.TooOld:
                return false;
            default:
                throw new IOException($"record {after + 1} of volume {_volume.Metadata.Name} cannot be read back from its log; check the "
                    + $"volume");
        }
    }

    /// <inheritdoc/>
    public async ValueTask WaitAsync(ulong after, ulong durable, CancellationToken cancel)
    {
        Task committed;
        lock (_lock) committed = _committed.Task;
        if (_log.DurableSequence > durable || Math.Min(_log.LastSequence, Ceiling) > after) return;
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task appended = after >= Ceiling ? Task.Delay(Timeout.Infinite, end.Token) : _log.WaitForAsync(after + 1, end.Token);
        await Task.WhenAny(appended, committed.WaitAsync(end.Token)).ConfigureAwait(false);
        await end.CancelAsync().ConfigureAwait(false);
        cancel.ThrowIfCancellationRequested();
    }

    /// <inheritdoc/>
    public (long Offset, long Length)? NextData(long from)
    {
        const long Range = 1L << 30;
        while (from < Size)
        {
            _extents.Clear();
            BlockResult result = _volume.Extents(from, Math.Min(Range, Size - from), 256, _extents);
            if (result != BlockResult.Ok) throw new IOException($"volume {_volume.Metadata.Name} cannot be read at {from}: {result}");
            foreach (BlockExtent extent in _extents)
            {
                if (!extent.ReadsAsZeros) return (from, Math.Min(extent.Length, Size - from));
                from += extent.Length;
                if (from >= Size) return null;
            }
        }

        return null;
    }

    /// <inheritdoc/>
    public byte[]? Vouched(long block, ulong hash) => _volume.Vouched(block, hash);

    /// <inheritdoc/>
    public async ValueTask ReadDurableAsync(long offset, Memory<byte> into, CancellationToken cancel)
    {
        BlockResult result = await _volume.ReadAsync(offset, into, cancel).ConfigureAwait(false);
        if (result != BlockResult.Ok) throw new IOException($"volume {_volume.Metadata.Name} cannot be read at {offset}: {result}");
        if (await _log.CommitAsync(_log.LastSequence).ConfigureAwait(false) is var error and not 0)
            throw new IOException($"the log of volume {_volume.Metadata.Name} cannot be made durable: {Linux.RawFile.Describe(error)}");
    }

    /// <summary>Ends a wait: there is something else to send. Any thread.</summary>
    public void Wake() => OnCommitted(0);

    public void Dispose() => _log.Committed -= OnCommitted;

    private void OnCommitted(int error)
    {
        TaskCompletionSource done;
        lock (_lock) (done, _committed) = (_committed, new(TaskCreationOptions.RunContinuationsAsynchronously));
        done.TrySetResult();
    }
}
