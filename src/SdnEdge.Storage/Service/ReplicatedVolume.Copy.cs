using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;

namespace SdnEdge.Storage.Service;

// How far back the owner's log reaches for its replica, and how a copy goes on.
internal sealed partial class ReplicatedVolume
{
    private VolumeGap? _gap;
    private Task _taking = Task.CompletedTask;
    private LogPoint? _begins;
    private bool _isOpen;
    private long _sentBefore;

    /// <summary>Bytes that were sent to the replica's store since this one was started.</summary>
    public long SentBytes => Interlocked.Read(ref _sentBefore) + (_session?.SentBytes ?? 0);

    /// <summary>Owner: bytes of the copy that were sent, and in all; null = none is under way.</summary>
    public (long Copied, long Total)? Sending
        => Primary is { IsConnected: true, IsReplicaWhole: false } && _session?.Progress is { Total: > 0 } progress ? progress : null;

    /// <summary>Replica: bytes of the copy that have come, and in all; zeros when none is under way.</summary>
    public (long Copied, long Total) Receiving => (_replica.CopiedBytes, _replica.CopyBytes);

    /// <summary>Owner: the log has let go what the replica lacks, up to this sequence; null = it has not.</summary>
    public ulong? LetGoThrough => Volatile.Read(ref _gap)?.Through.Sequence;

    /// <summary>Asks the other store for a block that has a hash.</summary>
    /// <returns>Its bytes; null = it has another one, or is not connected.</returns>
    public Task<byte[]?> AskBlockAsync(long block, ulong hash, CancellationToken cancel)
        => Primary is null ? _replica.AskBlockAsync(block, hash).WaitAsync(cancel)
            : (_session?.AskBlockAsync(block, hash) ?? Task.FromResult<byte[]?>(null)).WaitAsync(cancel);

    // The log is kept from what the replica has acknowledged on. A gap ends when the log that begins anew behind it is there.
    private void Retain(PrimaryInput input, PrimaryState now)
    {
        switch (input)
        {
            case LinkOpened opened:
                (_isOpen, _begins) = (true, opened.Begins);
                Keep(now.IsReplicaWhole ? now.Durable : opened.Common);
                break;
            case LinkClosed:
                _isOpen = false;
                break;
            case ReplicaConsistent when _isOpen:
                DeleteGap();
                break;
            case Acked acked when _isOpen && now.IsConnected && acked.Durable <= now.Last:
                if (_begins is not { } begins || acked.Durable >= begins.Sequence) DeleteGap();
                Keep(now.IsReplicaWhole ? now.Durable : acked.Durable);
                break;
        }
    }

    private void Keep(ulong acknowledged)
        => Volume.SetReplica(Peer, _gap is { } gap ? Math.Min(acknowledged, gap.Through.Sequence) : acknowledged);

    // A replica that is away must not stop a guest to which nothing is promised of it: when the log is full, what was touched is remembered
    // instead, a quarter of the log at a time, so that one that is back soon still finds its records.
    private void LookAtRoom()
    {
        if (_primary is not { IsConnected: false, InForce: ReplicationMode.Async } || !_taking.IsCompleted || !Volume.Log.IsFull) return;
        ulong applied = Volume.CheckpointedSequence, held = Volume.Replicas.GetValueOrDefault(Peer, ulong.MaxValue);
        if (held >= applied) return;
        VolumeGap? gap = _gap;
        if (gap is not null && gap.Through.Sequence > held)
        {
            Volume.SetReplica(Peer, gap.Through.Sequence);
            return;
        }

        if ((gap?.Through ?? _reader.PointAt(held)) is not { } before) return;
        ulong through = before.Sequence + Math.Max(1, (applied - before.Sequence) / 4);
        if (through > applied) return;
        _taking = Task.Run(() =>
        {
            try
            {
                Post(VolumeGap.Take(gap, before, through, Volume.Log, Volume.Size, _files.Folder));
            }
            catch (IOException e)
            {
                _around.Tell("fault", $"the log is full of what {Peer} lacks, and cannot let it go: {e.Message}; writes wait");
            }
        });
    }

    private void LetGo(VolumeGap taken)
    {
        // Not the owner any more: the file goes with the ownership.
        if (_primary is null)
        {
            DeleteGap();
            return;
        }

        bool first = _gap is null;
        Volatile.Write(ref _gap, taken);
        if (_isOpen) return;
        Volume.SetReplica(Peer, taken.Through.Sequence);
        if (first)
        {
            _around.Tell("log-let-go", $"the log is full of what {Peer} lacks, from record {taken.Before.Sequence + 1} on: it goes on "
                + "without them, and what they touched is copied when that store is back");
        }
    }

    private void LoadGap()
    {
        _isOpen = false;
        try
        {
            Volatile.Write(ref _gap, VolumeGap.Load(_files.Folder, _reader));
        }
        catch (IOException e)
        {
            _around.Tell("fault", $"{e.Message}: a replica to which the log does not reach back is copied as a whole");
        }

        if (_gap is null) DeleteGap();
    }

    private void DeleteGap()
    {
        Volatile.Write(ref _gap, null);
        try
        {
            VolumeGap.Delete(_files.Folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It is of no more use, and is not taken for that of a later history.
            _around.Tell("fault", $"a file that is over cannot be deleted: {e.Message}");
        }
    }
}
