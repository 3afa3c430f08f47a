using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Replication;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Service;

// What this store does as the owner: its machine, and the link to the replica's store.
internal sealed partial class ReplicatedVolume
{
    private void BeginOwning()
    {
        // An owner that goes on under a higher epoch, of a move that was undone: what its replica lacks it lacks as before.
        PrimaryRecord? former = _primary?.Record ?? _files.Primary;
        EndOwning();
        _followed.Cancel();
        _followed.Dispose();
        _followed = new CancellationTokenSource();
        Guid id = Volume.Metadata.Identity;
        ulong epoch = _ownership.Record.GrantedEpoch;
        PrimaryRecord record = _files.Primary is { } kept && kept.Epoch == epoch ? kept : new PrimaryRecord(id, epoch, _mode)
        {
            Stale = former?.Stale, StaleGeneration = former?.StaleGeneration ?? 0,
        };
        Volume.ApplyLimit = ulong.MaxValue;
        Volume.SetReplica(Peer, Volume.Replicas.TryGetValue(Peer, out ulong had) ? had : _reader.Oldest.Sequence);
        LoadGap();
        VolumeLog log = Volume.Log;
        PrimaryState begun;
        lock (log.Gate)
        {
            _gate.Mode = record.Mode;
            begun = PrimaryMachine.Start(record, _policy, log.LastSequence, log.EndPosition, Monotonic.Now);
            if (record.Stale is not null && former!.Epoch != epoch) begun = begun with { OnDisk = former };
        }

        lock (_lock) _primary = begun;
        Modes.Owns(epoch, record.Mode, Monotonic.Now);
        _gate.Open(begun.WriteLimit, begun.BarrierLimit);
        _owning = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        Task before = _linking;
        CancellationToken owning = _owning.Token;
        _linking = Task.Run(() => LinkAsync(before, epoch, owning));
    }

    private void EndOwning()
    {
        lock (_lock) _primary = null;
        if (_owning is null) return;
        _owning.Cancel();
        _owning.Dispose();
        _owning = null;
        Volume.RemoveReplica(Peer);
        DeleteGap();
        _replica = NewSession(new ReplicaRecord(Volume.Metadata.Identity, CopyPhase.Following));
        try
        {
            _files.Write(_replica.State.Record);
        }
        catch (IOException e)
        {
            // What is there, or that there is nothing, says the same: a copy that follows.
            _around.Tell("fault", $"that it follows now could not be written: {e.Message}");
        }
    }

    // Keeps the link to the replica's store, one connection after the other.
    private async Task LinkAsync(Task before, ulong epoch, CancellationToken cancel)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        string said = "";
        while (!cancel.IsCancellationRequested)
        {
            string why;
            try
            {
                Stream connected = await _around.Connect(cancel).ConfigureAwait(false);
                await using var stream = new HeardStream(connected, Silence);
                var session = new OwnerSession(_reader, _reader, Volume.Metadata.Identity, () => epoch, Post, _link)
                {
                    Gap = Volatile.Read(ref _gap), IsFinal = Ownership.Record.PromotedBy is not null,
                    Answered = () => Primary?.BarrierLimit ?? 0,
                };
                _session = session;
                why = await session.RunAsync(stream, cancel).ConfigureAwait(false);
                Interlocked.Add(ref _sentBefore, session.SentBytes);
            }
            catch (Exception e) when (e is IOException or OperationCanceledException or System.Net.Sockets.SocketException)
            {
                why = e.Message;
            }

            _session = null;
            if (cancel.IsCancellationRequested) return;
            if (why != said) _around.Tell("link", $"the replica at {Peer} is not reached: {why}");
            said = why;
            await Task.Delay(_link.RetryAfter, cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
