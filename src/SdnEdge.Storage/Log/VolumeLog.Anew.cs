using SdnEdge.Core.Replication;
using SdnEdge.Linux;

namespace SdnEdge.Storage.Log;

public sealed partial class VolumeLog
{
    /// <summary>How often the log was begun anew since it was opened: what was read of it before is of another history.</summary>
    public int Renewals { get; private set; }

    /// <summary>Prepares a segment with which the log can begin anew behind a point. The log is as it was until <see cref="TakeAnew"/>, and
    /// after a crash until the superblock names the segment's salt.</summary>
    /// <param name="at">The point before its first record.</param>
    /// <param name="error">The error number when the answer is null.</param>
    internal LogSegment? PrepareAnew(LogPoint at, out int error)
    {
        // 1. A file: one that is there, else a new one, whatever the bound says: those in use are free only after it.
        while (true)
        {
            lock (Gate)
            {
                if (!_preparing)
                {
                    _preparing = true;
                    _prepared.Reset();
                    break;
                }
            }

            _prepared.Wait();
        }

        IStoreFile? file;
        ulong ordinal;
        try
        {
            error = 0;
            lock (Gate)
            {
                if (!_free.TryDequeue(out file)) _ready.TryDequeue(out file);
                ordinal = _segments[^1].Header.Ordinal + 1;
            }

            file ??= MakeFile(out error);
        }
        finally
        {
            lock (Gate)
            {
                _preparing = false;
                _prepared.Set();
            }
        }

        if (file is null) return null;

        // 2. Its header, durable.
        var segment = new LogSegment(file,
            new SegmentHeader(_identity, _options.NewSalt(), ordinal, at.Sequence + 1, at.Chain, at.Epoch, file.Length)
            {
                BeginsAnew = true,
            });
        byte[] header = new byte[SegmentHeader.Bytes];
        segment.Header.Write(header);
        error = file.Write(0, header);
        if (error == 0) error = file.Sync();
        if (error == 0) return segment;
        FailedFile = file.Name;
        ForgetAnew(segment);
        return null;
    }

    /// <summary>The log does not begin anew: what was prepared is free again.</summary>
    internal void ForgetAnew(LogSegment segment)
    {
        // Should this fail, recovery does it: no superblock names the segment.
        if (segment.File.Write(0, new byte[SegmentHeader.Bytes]) == 0) _ = segment.File.Sync();
        lock (Gate) _free.Enqueue(segment.File);
    }

    /// <summary>The log begins anew with a segment that the superblock names. Whoever waits for a record of the history before to be
    /// durable is told that it is not.</summary>
    /// <param name="segment">As it was prepared.</param>
    /// <param name="within">Done under the lock, in the moment of the change.</param>
    internal void TakeAnew(LogSegment segment, Action within)
    {
        List<TaskCompletionSource<int>> left = [];
        lock (_commitLock)
        {
            while (!TryTakeAnew(segment, within, left)) Thread.Yield();
        }

        foreach (var waiter in left) waiter.SetResult(RawFile.IoError);
        Committed?.Invoke(0);
    }

    // False: somebody reads from a segment of the history before.
    private bool TryTakeAnew(LogSegment segment, Action within, List<TaskCompletionSource<int>> left)
    {
        lock (Gate)
        {
            foreach (var old in _segments)
            {
                if (old.Pins > 0) return false;
            }

            foreach (var old in _segments) _free.Enqueue(old.File);
            _segments.Clear();
            _segments.Add(segment);
            LastSequence = DurableSequence = segment.Header.FirstSequence - 1;
            (Chain, Epoch) = (segment.Header.PreviousChain, segment.Header.PreviousEpoch);
            _durablePoint = default;
            Renewals++;
            while (_waiting.Count > 0) left.Add(_waiting.Dequeue());
            within();
            if (_options.Background) StartPreparing();
            return true;
        }
    }
}
