using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Service;

// Its clients: who is let in, who waits, who is answered.
internal sealed partial class ReplicatedVolume
{
    /// <summary>True: a request of this client may be carried out now; <see cref="Leave"/> follows when it has its sequence.</summary>
    public bool Enter(ClientIdentity? client)
    {
        // A seal first takes the client away, then waits until nobody is inside.
        Interlocked.Increment(ref _inside);
        if (client is not null && Volatile.Read(ref _admitted) is { } admitted && admitted == client) return true;
        Interlocked.Decrement(ref _inside);
        return false;
    }

    /// <summary>It has its sequence, or failed.</summary>
    public void Leave() => Interlocked.Decrement(ref _inside);

    /// <summary>A request that was carried out is answered while its client still holds the grant.</summary>
    public ValueTask<BlockResult> Guard(ValueTask<BlockResult> task, ClientIdentity? client)
    {
        return task.IsCompletedSuccessfully ? task : LaterAsync(task);

        async ValueTask<BlockResult> LaterAsync(ValueTask<BlockResult> open)
        {
            BlockResult result = await open.ConfigureAwait(false);
            return result != BlockResult.Ok || OwnershipMachine.MayAnswer(Ownership, client, Monotonic.Now) ? result
                : BlockResult.NotPermitted;
        }
    }

    /// <summary>Waits until a request may be tried again; or says how it ends.</summary>
    public async Task<BlockResult?> ParkAsync(ClientIdentity? client, long bytes, CancellationToken cancel)
    {
        Post(new ParkedChanged(1, bytes));
        try
        {
            while (true)
            {
                Task changed;
                lock (_lock) changed = _changed.Task;
                if (_stop.IsCancellationRequested) return BlockResult.ShuttingDown;
                OwnershipState state = Ownership;
                if (OwnershipMachine.Admit(state, client, Monotonic.Now) == Admission.NotPermitted) return BlockResult.NotPermitted;
                if (client is not null && Volatile.Read(ref _admitted) is { } admitted && admitted == client) return null;
                await changed.WaitAsync(cancel).ConfigureAwait(false);
            }
        }
        finally
        {
            Post(new ParkedChanged(-1, -bytes));
        }
    }

    /// <summary>Completes when the volume is not sealed.</summary>
    public async Task WhileSealedAsync(CancellationToken cancel)
    {
        while (IsSealed && !_stop.IsCancellationRequested)
        {
            Task changed;
            lock (_lock) changed = _changed.Task;
            if (!IsSealed) return;
            await changed.WaitAsync(cancel).ConfigureAwait(false);
        }
    }
}
