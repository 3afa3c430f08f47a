using SdnEdge.Core.Replication;
using SdnEdge.Linux;

namespace SdnEdge.Storage.Log;

public sealed partial class VolumeLog
{
    private readonly Lock _commitLock = new();
    private readonly SemaphoreSlim _commitWanted = new(0);
    private readonly List<LogSegment> _toSync = [];
    private readonly PriorityQueue<TaskCompletionSource<int>, ulong> _waiting = new();
    private Thread? _committer;
    private bool _commitRequested;
    private LogPoint _durablePoint;

    /// <summary>The last durable point, as of the newest commit since the log was opened; null when there was none yet.</summary>
    internal LogPoint? DurablePoint
    {
        get
        {
            lock (Gate) return _durablePoint.Sequence == DurableSequence && DurableSequence > 0 ? _durablePoint : null;
        }
    }

    /// <summary>A commit ended: with the error number, 0 when <see cref="DurableSequence"/> has grown. Raised without the lock.</summary>
    public event Action<int>? Committed;

    /// <summary>Makes durable what is appended, now and on this thread.</summary>
    /// <returns>0, or the error number; the log is then ended.</returns>
    public int Commit() => Commit(ulong.MaxValue);

    // Whoever asked for less than what another thread has made durable meanwhile needs no sync of its own.
    private int Commit(ulong asked)
    {
        lock (_commitLock)
        {
            // 1. What is to be durable: everything appended until now.
            ulong target;
            LogPoint point;
            int error;
            lock (Gate)
            {
                _commitRequested = false;
                if (Failure != 0) return Failure;
                if (asked <= DurableSequence) return 0;
                if (_closed) return RawFile.IoError;
                target = LastSequence;
                point = new LogPoint(target, Epoch, Chain);
                if (target == DurableSequence) return 0;
                _toSync.Clear();
                foreach (var segment in _segments)
                {
                    if (!segment.Dirty) continue;
                    segment.Dirty = false;
                    segment.Pins++;
                    _toSync.Add(segment);
                }
            }

            // 2. Oldest first: a later segment vouches for nothing that an earlier one does not have.
            error = 0;
            string failed = "";
            foreach (var segment in _toSync)
            {
                error = segment.File.Sync();
                if (error == 0) continue;
                failed = segment.File.Name;
                break;
            }

            // 3. Everybody who waits for one of these.
            List<TaskCompletionSource<int>>? done = null;
            lock (Gate)
            {
                foreach (var segment in _toSync) segment.Pins--;
                Commits++;
                if (error == 0)
                {
                    DurableSequence = target;
                    _durablePoint = point;
                }
                else
                {
                    Failure = error;
                    FailedFile = failed;
                }

                while (_waiting.TryPeek(out _, out ulong sequence) && (error != 0 || sequence <= DurableSequence))
                    (done ??= []).Add(_waiting.Dequeue());
            }

            if (done is not null)
            {
                foreach (var waiter in done) waiter.SetResult(error);
            }

            Committed?.Invoke(error);
            return error;
        }
    }

    /// <summary>Completes when every record up to <paramref name="sequence"/> is durable.</summary>
    /// <returns>0, or the error number of the sync that failed.</returns>
    public ValueTask<int> CommitAsync(ulong sequence)
    {
        TaskCompletionSource<int> waiter;
        lock (Gate)
        {
            if (Failure != 0) return new(Failure);
            if (sequence <= DurableSequence) return new(0);
            if (_disposed) return new(RawFile.IoError);
            if (_options.Background)
            {
                waiter = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);
                _waiting.Enqueue(waiter, sequence);
                RequestLocked();
                return new(waiter.Task);
            }
        }

        return new(Commit());
    }

    /// <summary>Makes durable every record up to <paramref name="sequence"/> in this thread, unless another thread does it
    /// meanwhile.</summary>
    /// <returns>0, or the error number of the sync that failed.</returns>
    public int CommitHere(ulong sequence)
    {
        lock (Gate)
        {
            if (Failure != 0) return Failure;
            if (sequence <= DurableSequence) return 0;
        }

        return Commit(sequence);
    }

    /// <summary>Asks for a commit without waiting for it. Without a background nothing happens.</summary>
    public void RequestCommit()
    {
        lock (Gate)
        {
            if (_options.Background && !_disposed && LastSequence > DurableSequence) RequestLocked();
        }
    }

    private void RequestLocked()
    {
        if (_commitRequested) return;
        _commitRequested = true;
        _commitWanted.Release();
    }

    private void StartCommitter()
    {
        if (!_options.Background) return;
        _committer = new Thread(CommitLoop) { IsBackground = true, Name = "log commit" };
        _committer.Start();
    }

    private void CommitLoop()
    {
        while (true)
        {
            _commitWanted.Wait();
            if (_disposed) return;
            _ = Commit();
        }
    }

    private void StopCommitter()
    {
        _commitWanted.Release();
        _committer?.Join();
        List<TaskCompletionSource<int>> left = [];
        lock (Gate)
        {
            while (_waiting.Count > 0) left.Add(_waiting.Dequeue());
        }

        // Whoever still waits is not told that it is durable.
        foreach (var waiter in left) waiter.SetResult(RawFile.IoError);
        _commitWanted.Dispose();
    }
}
