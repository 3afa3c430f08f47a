using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Service;

internal sealed partial class ReplicatedVolume
{
    /// <summary>Requests that waited for the replica, and how long all of them did, nanoseconds.</summary>
    public (long Count, long Time) Waited => _gate.Waited;

    /// <summary>Something is appended by the owner itself: null = it may be now, and no seal is carried out before <see cref="Leave"/>;
    /// otherwise why not.</summary>
    public string? EnterAsOwner()
    {
        Interlocked.Increment(ref _inside);
        OwnershipState state = Ownership;
        if (state is { IsClosed: false, Record.Role: OwnerRole.Owner }) return null;
        Leave();
        return state.Record.Role == OwnerRole.Replica
            ? $"this store has its replica; mark it at {Peer}, and the mark comes here with its log"
            : $"it is {(state.IsClosed ? "being sealed" : Word(state.Record.Role))}; mark it at the store that owns it";
    }
}
