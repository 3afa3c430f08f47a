using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>Stage 2: from a leaf to a decision. The group's active decision is read once for each packet.</summary>
public sealed unsafe partial class Forwarder
{
    private void Route(ref Packet p, ref PacketContext c, FibLeaf leaf)
    {
        RedirectGroup? group = leaf.Group;
        if ((c.Redirect is not null || group?.Order is not null) && IsFlushMarker(p, c))
        {
            // Out of a redirect tunnel also where order is not kept: the source sends its last ones in any case.
            PuntConsumed(ref p, ref c, PuntReason.FlushMarker);
            return;
        }

        if (group is { ShowsMarkers: true } && IsFlushMarker(p, c)) Tell(ref p, ref c, PuntReason.FlushMarkerPassing);
        ForwardingDecision? decision = group?.Active.Choose(c.Redirect is not null, _worker, _now);
        Execute(ref p, ref c, leaf, decision ?? leaf.Hop.Current);
    }

    private void Execute(ref Packet p, ref PacketContext c, FibLeaf leaf, ForwardingDecision decision)
    {
        if (decision.Kind == ForwardingKind.Attached) decision = leaf.AttachedHop ?? leaf.Hop.Current;
        if (c.LocalOnly && decision.Kind != ForwardingKind.Local)
        {
            Drop(ref c, DropReason.Martian); // RFC 4291 2.5.6
            return;
        }

        switch (decision.Kind)
        {
            case ForwardingKind.Via:
                if (c.Redirect is not null && GoesBack(c.Redirect, decision.RemotePe, decision.Adjacency!.Address))
                {
                    Drop(ref c, DropReason.TunnelLoop);
                    return;
                }

                ToNeighbor(ref p, ref c, decision.Adjacency!);
                break;
            case ForwardingKind.Connected:
                ToConnected(ref p, ref c, decision.Port!);
                break;
            case ForwardingKind.Tunnel:
                Encapsulate(ref p, ref c, decision.Tunnel!);
                break;
            case ForwardingKind.Hold:
                IntoHold(ref p, ref c, leaf, decision.Hold!);
                break;
            case ForwardingKind.Ordered:
                InOrder(ref p, ref c, leaf, decision.Gates!);
                break;
            case ForwardingKind.Local:
                Deliver(ref p, ref c);
                break;
            case ForwardingKind.Drop:
                Drop(ref c, decision.Reason);
                break;
            default:
                DropAndTell(ref p, ref c, DropReason.NoRoute, PuntReason.Unreachable);
                break;
        }
    }

    // By its shape alone: the control loop looks closer. A packet that only looks like one is lost there, which harms nobody
    // else; its port is not one that a server uses.
    private static bool IsFlushMarker(in Packet p, in PacketContext c)
    {
        byte* ip = p.Data;
        int header = c.IsV6 ? At.V6Header : At.V4Header;
        if (p.Length != header + UdpHeader.Size + FlushMarker.BodyBytes || p.IsSuperpacket) return false;
        bool udp = c.IsV6 ? ip[At.V6Next] == IpProtocol.Udp : (ip[0] & 0xF) == 5 && ip[At.V4Protocol] == IpProtocol.Udp;
        return udp && At.Load16(ip + header + 2) == FlushMarker.Port && At.Load16(ip + header) == FlushMarker.Port;
    }

    // A -> B -> A: what came out of a redirect tunnel must not go to the PE it came from.
    private static bool GoesBack(Tunnel redirect, IpAddress remotePe, IpAddress nextHop)
    {
        IpAddress from = redirect.Options.Remote;
        return remotePe == from || nextHop == from;
    }

    private void ToConnected(ref Packet p, ref PacketContext c, PortEntry port)
    {
        IpAddress destination = c.IsV6
            ? At.Address6(p.Data + At.V6Destination)
            : IpAddress.FromV4(At.Load32(p.Data + At.V4Destination));
        Adjacency? adjacency = port.Neighbors.Find(destination);
        if (adjacency is null)
        {
            if (IsSubnetBroadcast(port, destination))
            {
                Drop(ref c, DropReason.NotForwardedMulticast); // RFC 2644
                return;
            }

            adjacency = port.Neighbors.GetOrAdd(destination);
            if (adjacency is null)
            {
                Drop(ref c, DropReason.NeighborQueueFull);
                return;
            }
        }

        if (c.Redirect is not null && adjacency.Address == c.Redirect.Options.Remote)
        {
            Drop(ref c, DropReason.TunnelLoop);
            return;
        }

        ToNeighbor(ref p, ref c, adjacency);
    }

    private static bool IsSubnetBroadcast(PortEntry port, IpAddress destination)
    {
        if (destination.IsV6) return false;
        IReadOnlyList<PortAddress> addresses = port.Addresses;
        for (int i = 0; i < addresses.Count; i++)
        {
            PortAddress own = addresses[i];
            if (!own.Address.IsV4 || own.PrefixLength > 30) continue;
            uint host = uint.MaxValue >> own.PrefixLength;
            if (((own.Address.V4 ^ destination.V4) & ~host) == 0
                && ((destination.V4 & host) == host || (destination.V4 & host) == 0)) return true;
        }

        return false;
    }
}
