using System.Globalization;
using SdnEdge.Linux;

namespace SdnEdge.Storage.Log;

public sealed partial class VolumeLog
{
    private readonly ManualResetEventSlim _prepared = new(initialState: true);

    /// <summary>Makes a new, empty log.</summary>
    /// <param name="folder">The volume's folder.</param>
    /// <param name="options">How.</param>
    /// <param name="identity">The volume's identity.</param>
    /// <param name="epoch">The epoch of the first records.</param>
    /// <param name="error">The error number when the answer is null.</param>
    /// <param name="at">The point that its first record comes behind; null: the volume's history begins with it.</param>
    public static VolumeLog? Create(IStoreFolder folder, VolumeLogOptions options, Guid identity, ulong epoch, out int error,
        Core.Replication.LogPoint? at = null)
    {
        ArgumentNullException.ThrowIfNull(folder);
        ArgumentNullException.ThrowIfNull(options);
        options.Check();
        var log = new VolumeLog(folder, options, identity)
        {
            Epoch = at?.Epoch ?? epoch,
            Chain = at?.Chain ?? Core.Replication.LogRecordCodec.BeginChain(identity),
            LastSequence = at?.Sequence ?? 0,
            DurableSequence = at?.Sequence ?? 0,
        };
        var file = log.MakeFile(out error);
        if (file is null) return null;
        var first = new LogSegment(file, new SegmentHeader(identity, options.NewSalt(), 1, log.LastSequence + 1, log.Chain, log.Epoch,
            file.Length));
        byte[] header = new byte[SegmentHeader.Bytes];
        first.Header.Write(header);
        error = file.Write(0, header);
        if (error == 0) error = file.Sync();
        if (error != 0)
        {
            file.Dispose();
            return null;
        }

        log._segments.Add(first);
        log.Begin();
        return log;
    }

    private void Begin()
    {
        StartCommitter();
        lock (Gate)
        {
            if (_options.Background) StartPreparing();
        }
    }

    /// <summary>Makes one more segment ready, when one is wanted and there may be one: a free one, else a new one full of zeros.</summary>
    /// <returns>True when another may be wanted.</returns>
    public bool PrepareSegment()
    {
        // 1. Under the lock: is one wanted, and from where?
        IStoreFile? file, unfilled = null;
        lock (Gate)
        {
            if (_disposed || _ready.Count >= _options.SegmentsAhead) return false;
            if (!_free.TryDequeue(out file) && !_unfilled.TryPeek(out unfilled) && _files >= _options.MaxSegments) return false;
        }

        // 2. Without it: what takes long.
        int error = 0;
        if (file is null)
        {
            file = unfilled is null ? MakeFile(out error) : Refill(out error);
        }
        else
        {
            file.ReadAhead(0, file.Length);
        }

        // 3. Ready, or failed: both are news to those who found no room.
        bool more;
        lock (Gate)
        {
            LastError = error;
            if (file is not null) _ready.Enqueue(file);
            more = error == 0 && _ready.Count < _options.SegmentsAhead;
        }

        SegmentReady?.Invoke();
        return more;
    }

    /// <summary>Tries again to make a segment, after <see cref="LastError"/>.</summary>
    public void RetryPrepare()
    {
        lock (Gate)
        {
            LastError = 0;
            if (_options.Background) StartPreparing();
        }
    }

    private void StartPreparing()
    {
        if (_preparing || _disposed) return;
        _preparing = true;
        _prepared.Reset();
        ThreadPool.UnsafeQueueUserWorkItem(static log => log.PrepareLoop(), this, preferLocal: false);
    }

    private void PrepareLoop()
    {
        try
        {
            while (PrepareSegment())
            {
                // One after the other, until enough are ready.
            }
        }
        finally
        {
            lock (Gate)
            {
                _preparing = false;
                _prepared.Set();
            }
        }
    }

    // A file full of zeros, durable. One that could not be filled is filled at the next attempt.
    private IStoreFile? MakeFile(out int error)
    {
        string name = $"{Subfolder}/{(_files + 1).ToString("d4", CultureInfo.InvariantCulture)}";
        var file = _folder.Open(name, _options.SegmentSize, out error);
        if (file is null)
        {
            FailedFile = name;
            return null;
        }

        error = Fill(file);
        if (error == 0)
        {
            lock (Gate) _files++;
            return file;
        }

        FailedFile = file.Name;
        file.Dispose();
        return null;
    }

    // One that a crash left half made.
    private IStoreFile? Refill(out int error)
    {
        IStoreFile file;
        lock (Gate) file = _unfilled.Peek();
        error = Fill(file);
        if (error != 0)
        {
            FailedFile = file.Name;
            return null;
        }

        lock (Gate) _unfilled.Dequeue();
        return file;
    }

    private int Fill(IStoreFile file)
    {
        if (file.Length != _options.SegmentSize) return RawFile.IoError;
        byte[] zeros = new byte[(int)Math.Min(1 << 20, _options.SegmentSize)];
        for (long at = 0; at < file.Length; at += zeros.Length)
        {
            int error = file.Write(at, zeros.AsSpan(0, (int)Math.Min(zeros.Length, file.Length - at)));
            if (error != 0) return error;
        }

        return file.Sync();
    }

    /// <summary>Records up to <paramref name="sequence"/> are needed no more: whole segments of them become free. The owner has made
    /// durable that they are not needed.</summary>
    public void Release(ulong sequence)
    {
        lock (Gate)
        {
            while (_segments.Count > 1 && _segments[0].LastSequence <= sequence && _segments[0].LastSequence <= DurableSequence
                && _segments[0].Pins == 0)
            {
                _free.Enqueue(_segments[0].File);
                _segments.RemoveAt(0);
            }

            if (_options.Background && _ready.Count < _options.SegmentsAhead && _free.Count > 0) StartPreparing();
        }
    }
}
