using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>Stage 7: packets that cannot go on yet: holds, and next hops that are not resolved.</summary>
public sealed unsafe partial class Forwarder
{
    private const long AskAgainNs = 1_000_000_000, AskForHoldNs = 100_000_000, BlockedNs = 1_000_000;

    // At most this many packets leave a hold in one go. In between each port gives one batch: with much more than a batch here,
    // the ports' queues overflow while a full hold is released.
    private const int MaxDrain = 2 * PacketBatch.Capacity;

    // Neighbours for which this worker queued a packet.
    private readonly Adjacency?[] _waitingFor = new Adjacency?[1024];
    private int _waitingCount;

    /// <summary>Sends what waits for a neighbour that was resolved, in order, before anything newer; or drops it when the neighbour
    /// failed.</summary>
    public void FlushNeighbor(Adjacency adjacency, long now)
    {
        Begin(now);
        DrainNeighbor(adjacency);
        ExpireNeighbor(adjacency, out _, out _);
        FlushTx();
    }

    /// <summary>Does what is due: drains and expires holds, flushes and expires what waits for neighbours.</summary>
    public void Poll(long now)
    {
        Begin(now);
        foreach (Hold hold in _plane.HoldArray)
        {
            if (hold.DrainWorker == _worker) DrainHold(hold);
        }

        for (int i = 0; i < _waitingCount; i++)
        {
            Adjacency adjacency = _waitingFor[i]!;
            DrainNeighbor(adjacency);
            ExpireNeighbor(adjacency, out int left, out _);
            if (left > 0) continue;
            _waitingFor[i--] = _waitingFor[--_waitingCount];
            _waitingFor[_waitingCount] = null;
        }

        FlushTx();
    }

    /// <summary>When <see cref="Poll"/> wants to be called next, nanoseconds: in the past = at once, long.MaxValue = never.</summary>
    public long NextDeadline
    {
        get
        {
            long next = long.MaxValue;
            foreach (Hold hold in _plane.HoldArray)
            {
                if (hold.DrainWorker == _worker) next = Math.Min(next, hold.NextDeadline);
            }

            for (int i = 0; i < _waitingCount; i++) next = Math.Min(next, _waitingFor[i]!.NextDeadline);
            return next;
        }
    }

    // p.Data is the IP header, TTL already taken.
    private void WaitFor(ref Packet p, ref PacketContext c, Adjacency adjacency)
    {
        if (adjacency.State == NeighborState.Failed)
        {
            DropAndTell(ref p, ref c, DropReason.NeighborUnresolved, PuntReason.Unreachable);
            Ask(adjacency, ref p, ref c, AskAgainNs);
            return;
        }

        switch (adjacency.Wait(p, _now, out L2Rewrite? rewrite))
        {
            case Adjacency.WaitResult.Resolved:
                Append(ref p, ref c, rewrite!, adjacency.Port);
                return;
            case Adjacency.WaitResult.Full:
                Drop(ref c, DropReason.NeighborQueueFull);
                return;
            case Adjacency.WaitResult.First when _waitingCount < _waitingFor.Length:
                _waitingFor[_waitingCount++] = adjacency;
                break;
        }

        _flow[(int)FlowField.IntoWait]++;
        Ask(adjacency, ref p, ref c, AskAgainNs);
    }

    private void Ask(Adjacency adjacency, ref Packet p, ref PacketContext c, long interval)
    {
        if (!adjacency.ShouldAsk(_now, interval)) return;
        if (!AskFor(adjacency, new ReadOnlySpan<byte>(p.Data, Math.Min(p.Length, 1280)), c.Vrf?.Index ?? 0)) adjacency.ForgetAsking();
    }

    private void DrainNeighbor(Adjacency adjacency)
    {
        if (!adjacency.TryBeginFlush()) return;
        while (true)
        {
            FlushTx(); // before the arena is used again, and before the header is published
            _source.Count = 0;
            int taken = adjacency.TakeWaiting(_source, out L2Rewrite? rewrite);
            if (taken == 0) return;
            _flow[(int)FlowField.OutOfWait] += taken;
            for (int i = 0; i < taken; i++)
            {
                ref Packet p = ref _source[i];
                PacketContext c = new() { Quiet = true, IsV6 = p.Data[0] >> 4 == 6 };
                Append(ref p, ref c, rewrite!, adjacency.Port);
            }
        }
    }

    private void ExpireNeighbor(Adjacency adjacency, out int left, out long deadline)
    {
        int dropped = adjacency.Expire(_now, out left, out deadline);
        _flow[(int)FlowField.OutOfWait] += dropped;
        _drops[(int)DropReason.NeighborUnresolved] += dropped;
    }

    // p.Data is the IP header as it came, TTL not yet taken.
    private void IntoHold(ref Packet p, ref PacketContext c, FibLeaf leaf, Hold hold)
    {
        Hold.Result result = hold.Enqueue(p, _now, out int evicted, out int expired);
        if ((evicted | expired) != 0)
        {
            _flow[(int)FlowField.OutOfHold] += evicted + expired;
            _drops[(int)DropReason.HoldOverflow] += evicted;
            _drops[(int)DropReason.HoldExpired] += expired;
        }

        switch (result)
        {
            case Hold.Result.Held:
                _flow[(int)FlowField.IntoHold]++;
                break;
            case Hold.Result.Overflow:
                Drop(ref c, DropReason.HoldOverflow);
                break;
            default:
                // The move was given up and the source has switched back, or it was a false alarm: what is still on its way here goes home.
                if (hold.Path != DrainPath.Attached) c.Redirect = null;
                Execute(ref p, ref c, leaf, ExitOf(hold, leaf));
                break;
        }
    }

    // From a server that has come here: true when it is dealt with. What it says to the router itself (neighbour discovery, BGP) overtakes
    // nothing.
    private bool KeepBack(ref Packet p, ref PacketContext c, FibLeaf leaf, KeptBack[] all)
    {
        if (c.From is not null || leaf.Hop.Current.Kind == ForwardingKind.Local) return false;
        IpAddress source = c.IsV6
            ? At.Address6(p.Data + At.V6Source)
            : IpAddress.FromV4(At.Load32(p.Data + At.V4Source));
        foreach (KeptBack kept in all)
        {
            if (!kept.Takes(source)) continue;
            switch (kept.Hold.Enqueue(p, _now, out _, out _))
            {
                case Hold.Result.Held:
                    _flow[(int)FlowField.IntoHold]++;
                    return true;
                case Hold.Result.Overflow:
                    Drop(ref c, DropReason.HoldOverflow);
                    return true;
                default:
                    return false;
            }
        }

        return false;
    }

    // By the direct path, to a server that has moved here. The gate of its ingress PE keeps it while older packets of the same
    // ingress may still come through the tunnel.
    private void InOrder(ref Packet p, ref PacketContext c, FibLeaf leaf, OrderGates gates)
    {
        IpAddress source = c.IsV6
            ? At.Address6(p.Data + At.V6Source)
            : IpAddress.FromV4(At.Load32(p.Data + At.V4Source));
        if (gates.Of(source, _worker) is { } gate) IntoHold(ref p, ref c, leaf, gate.Hold);
        else Execute(ref p, ref c, leaf, ForwardingDecision.Attached);
    }

    private static ForwardingDecision ExitOf(Hold hold, FibLeaf leaf) => hold.Path switch
    {
        DrainPath.Attached => leaf.AttachedHop ?? leaf.Hop.Current,
        DrainPath.Back => hold.WayBack!,
        _ => leaf.Hop.Current,
    };

    private void DrainHold(Hold hold)
    {
        int expired = hold.Expire(_now);
        _flow[(int)FlowField.OutOfHold] += expired;
        _drops[(int)DropReason.HoldExpired] += expired;
        if (hold.State != HoldState.Draining) return;

        HeldPacket? oldest = hold.TryPeek(out HeldPacket first) ? first : null;
        for (int left = Math.Min(hold.Budget(_now), MaxDrain); left > 0 && oldest is { } looked; left--)
        {
            // 1. Where it goes, and whether that is ready.
            FibLeaf? leaf = hold.Vrf.Lookup(looked.Destination);
            if (leaf is not null && NextHopOf(ExitOf(hold, leaf), looked.Destination) is { Rewrite: null } unresolved)
            {
                DrainNeighbor(unresolved);
                if (unresolved.Rewrite is null)
                {
                    if (unresolved.ShouldAsk(_now, AskForHoldNs) && !AskFor(unresolved, default, hold.Vrf.Index)) unresolved.ForgetAsking();
                    hold.Block(_now + BlockedNs);
                    break;
                }
            }

            // 2. Out it comes.
            if (_source.Count == PacketBatch.Capacity)
            {
                FlushTx();
                _source.Count = 0;
            }

            if (!hold.TryTake(looked, _source, out oldest)) continue;
            _flow[(int)FlowField.OutOfHold]++;
            ref Packet p = ref _source[_source.Count - 1];
            PacketContext c = new() { Vrf = hold.Vrf, IsV6 = p.Data[0] >> 4 == 6 };
            c.L4 = c.IsV6 ? At.V6Header : (p.Data[0] & 0xF) * 4;
            c.Protocol = p.Data[c.IsV6 ? At.V6Next : At.V4Protocol];
            if (leaf is null) DropAndTell(ref p, ref c, DropReason.NoRoute, PuntReason.NoRoute);
            else Execute(ref p, ref c, leaf, ExitOf(hold, leaf));
        }

        // 3. All that was taken is on the wire before the hold can be called empty.
        FlushTx();
        _source.Count = 0;
        hold.TryFinish();
    }

    private static Adjacency? NextHopOf(ForwardingDecision decision, IpAddress destination) => decision.Kind switch
    {
        ForwardingKind.Via => decision.Adjacency,
        ForwardingKind.Connected => decision.Port!.Neighbors.GetOrAdd(destination),
        _ => null,
    };
}
