using SdnEdge.Core.Fib;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>Stage 2: from a leaf to a decision. The group's active decision is read once for each packet.</summary>
public sealed unsafe partial class Forwarder
{
    private void Route(ref Packet p, ref PacketContext c, FibLeaf leaf)
    {
        RedirectGroup? group = leaf.Group;
        if ((c.Redirect is not null || group is not null) && IsFlushMarker(p, c))
        {
            if (IsForged(p, c))
            {
                Drop(ref c, DropReason.MarkerForged);
                return;
            }

            // Out of a redirect tunnel also where order is not kept: the source sends its last ones in any case.
            if (c.Redirect is not null || group!.Order is not null)
            {
                PuntConsumed(ref p, ref c, PuntReason.FlushMarker);
                return;
            }

            if (group.ShowsMarkers) Tell(ref p, ref c, PuntReason.FlushMarkerPassing);
        }

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

    // By its shape and its first bytes: the control loop looks closer.
    private static bool IsFlushMarker(in Packet p, in PacketContext c)
    {
        byte* ip = p.Data;
        int header = c.IsV6 ? At.V6Header : At.V4Header;
        if (p.Length != header + UdpHeader.Size + FlushMarker.BodyBytes || p.IsSuperpacket) return false;
        bool udp = c.IsV6 ? ip[At.V6Next] == IpProtocol.Udp : (ip[0] & 0xF) == 5 && ip[At.V4Protocol] == IpProtocol.Udp;
        return udp && At.Load16(ip + header + 2) == FlushMarker.Port && At.Load16(ip + header) == FlushMarker.Port
            && At.Load32(ip + header + UdpHeader.Size) == FlushMarker.Magic;
    }

    private static bool IsBetweenEnds(in Packet marker, in PacketContext c)
    {
        int body = (c.IsV6 ? At.V6Header : At.V4Header) + UdpHeader.Size;
        return ((FlushMarkerFlags)marker.Data[body + FlushMarker.FlagsOffset] & FlushMarker.BetweenEnds) != 0;
    }

    // Inside a customer's VRF anybody may have any address: what counts is where the marker came from. Out of a VPN tunnel it is that of
    // the PE at its far end; out of a redirect tunnel the source has looked; from a port it is nobody's.
    private static bool IsForged(in Packet p, in PacketContext c)
    {
        if (c.Vrf.IsDefault || c.Own || c.Redirect is not null) return false;
        if (c.From is not { } from) return true;
        IpAddress sender = c.IsV6 ? At.Address6(p.Data + At.V6Source) : IpAddress.FromV4(At.Load32(p.Data + At.V4Source));
        return sender != MarkerSender.OfEndpoint(from.Options.Remote, sender.Family);
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
