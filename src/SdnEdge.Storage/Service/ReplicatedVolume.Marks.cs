using SdnEdge.Core.Replication;
using SdnEdge.Linux;

namespace SdnEdge.Storage.Service;

// Marks, and another size, are appended by the owner itself, whoever its client is: not from a drain to the seal behind it, whose proof
// they would outdate.
internal sealed partial class ReplicatedVolume
{
    /// <summary>Asks the replica's store whether the volume can have so many bytes there, and has it get ready for them.</summary>
    /// <returns>Null: it can, or it is not connected, and is told when it is; otherwise why not.</returns>
    /// <exception cref="TimeoutException">It has not answered.</exception>
    /// <exception cref="IOException">The connection has ended before the answer.</exception>
    public async Task<string?> AskSizeAsync(long size, TimeSpan limit, CancellationToken cancel)
    {
        if (Primary is not { IsConnected: true } || _session is not { } session) return null;
        _reader.Wake();
        return await session.AskSizeAsync(size).WaitAsync(limit, cancel).ConfigureAwait(false);
    }

    // A hand-over that is given up without a word of it to this store is over by then.
    private static readonly TimeSpan s_handOver = TimeSpan.FromMinutes(5);

    private int _marking, _draining;
    private ulong _drained;
    private long _drainedUntil;

    /// <summary>Requests that were answered when the replica had them, and how long they waited for it, nanoseconds.</summary>
    public (long Count, long Time) Waited => _gate.Waited;

    /// <summary>Returns what both sites are when the replica has proved that it has everything. The guest stands still, and nothing is
    /// marked until it writes again.</summary>
    /// <exception cref="IOException">It has not: the message says what is different.</exception>
    public async Task<DrainProof> DrainAsync(CancellationToken cancel)
    {
        lock (_lock) _draining++;
        var spin = default(SpinWait);
        while (Volatile.Read(ref _marking) > 0) spin.SpinOnce();
        try
        {
            DrainProof proof = await ProveAsync(cancel).ConfigureAwait(false);
            lock (_lock) (_drained, _drainedUntil) = (proof.Point.Sequence, Monotonic.Now + (s_handOver.Ticks * 100));
            return proof;
        }
        finally
        {
            lock (_lock) _draining--;
        }
    }

    /// <summary>A record is to be appended that no client asks for: null = it may be now, and no seal and no drain is carried out before
    /// <see cref="LeaveAsOwner"/>; otherwise why not.</summary>
    /// <param name="verb">What is to be done with the volume, in a word.</param>
    public string? EnterAsOwner(string verb)
    {
        Interlocked.Increment(ref _inside);
        Interlocked.Increment(ref _marking);
        string? why = WhyNotAppended(verb);
        if (why is not null) LeaveAsOwner();
        return why;
    }

    /// <summary>It is appended, or not.</summary>
    public void LeaveAsOwner()
    {
        Interlocked.Decrement(ref _marking);
        Leave();
    }

    private string? WhyNotAppended(string verb)
    {
        OwnershipState state;
        bool handsOver;
        lock (_lock)
        {
            state = _ownership;
            handsOver = _draining > 0 || (Volume.Log.LastSequence == _drained && Monotonic.Now < _drainedUntil);
        }

        return state switch
        {
            { Record.Role: OwnerRole.Replica } => $"this store has its replica; {verb} it at {Peer}, and that comes here with its log",
            { IsClosed: false, Record.Role: OwnerRole.Owner } when handsOver
                => $"it is being handed over: nothing was written since it was drained; {verb} it afterwards, at the store that owns it "
                    + "then",
            { IsClosed: false, Record.Role: OwnerRole.Owner } => null,
            _ => $"it is {(state.IsClosed ? "being sealed" : Word(state.Record.Role))}; {verb} it at the store that owns it",
        };
    }
}
