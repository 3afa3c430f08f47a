using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>Stage 3: what is for the router itself. p.Data is the IP header.</summary>
public sealed unsafe partial class Forwarder
{
    private void Deliver(ref Packet p, ref PacketContext c)
    {
        if (c.IsV6 && !WalkExtensions(ref p, ref c))
        {
            Drop(ref c, DropReason.IpHeaderInvalid);
            return;
        }

        switch (c.Protocol)
        {
            case IpProtocol.Gre:
                if (!c.Fragment) Decapsulate(ref p, ref c, udp: false);
                else if (IsOfTunnelPeer(p, c, udp: false)) PuntConsumed(ref p, ref c, PuntReason.TunnelFragment);
                else Drop(ref c, DropReason.TunnelUnknownPeer);
                return;
            case IpProtocol.Udp when c.Fragment:
                // Only the first part says for whom it is: whatever comes in parts from a peer is put together first.
                if (!IsOfTunnelPeer(p, c, udp: true)) break;
                PuntConsumed(ref p, ref c, PuntReason.TunnelFragment);
                return;
            case IpProtocol.Udp when c.L4 + 8 <= p.Length && At.Load16(p.Data + c.L4 + 2) == Tunnel.GreInUdpPort:
                Decapsulate(ref p, ref c, udp: true);
                return;
            case IpProtocol.Icmp when !c.IsV6 && !c.Fragment:
                if (DeliverIcmp(ref p, ref c, echoRequest: 8, echoReply: 0)) return;
                break;
            case IpProtocol.Icmpv6 when c.IsV6 && !c.Fragment:
                if (c.L4 + 4 <= p.Length && p.Data[c.L4] is >= 133 and <= 137)
                {
                    PuntConsumed(ref p, ref c, PuntReason.Nd);
                    return;
                }

                if (DeliverIcmp(ref p, ref c, echoRequest: 128, echoReply: 129)) return;
                break;
        }

        ToHost(ref p, ref c);
    }

    private bool IsOfTunnelPeer(in Packet p, in PacketContext c, bool udp) => c.Depth == 0 && (c.IsV6
        ? _tunnels.HasPeer(At.Address6(p.Data + At.V6Destination), At.Address6(p.Data + At.V6Source), udp)
        : _tunnels.HasPeer(IpAddress.FromV4(At.Load32(p.Data + At.V4Destination)), IpAddress.FromV4(At.Load32(p.Data + At.V4Source)), udp));

    // The kernel has a link-local address on a device that stands for this link alone.
    private static Adjacency? HostOf(in Packet p, in PacketContext c)
        => c.IsV6 && (At.Load16(p.Data + At.V6Destination) & 0xFFC0) == 0xFE80 ? c.In?.Host : c.Vrf.Host;

    // Echo requests are the control loop's to answer; replies to tunnel probes too. Other ICMP belongs to the kernel's own
    // connections where there is a host port. False when it is for the host.
    private bool DeliverIcmp(ref Packet p, ref PacketContext c, byte echoRequest, byte echoReply)
    {
        if (c.L4 + 8 > p.Length)
        {
            Drop(ref c, DropReason.IpTruncated);
            return true;
        }

        byte type = p.Data[c.L4];
        if (type == echoReply && At.Load16(p.Data + c.L4 + 4) == _plane.ProbeIdentifier)
        {
            PuntConsumed(ref p, ref c, PuntReason.TunnelProbeReply);
            return true;
        }

        if (type != echoRequest && HostOf(p, c) is not null && !IsAboutTunnel(p, c)) return false;
        PuntConsumed(ref p, ref c, PuntReason.LocalIcmp);
        return true;
    }

    // An ICMP error that quotes GRE, or GRE in UDP: about a packet of a tunnel, of which the kernel knows nothing.
    private static bool IsAboutTunnel(in Packet p, in PacketContext c)
    {
        byte* icmp = p.Data + c.L4;
        byte* quoted = icmp + 8;
        int bytes = p.Length - c.L4 - 8, header, protocol;
        if (c.IsV6)
        {
            if (icmp[0] >= 128 || bytes < At.V6Header || quoted[0] >> 4 != 6) return false;
            (header, protocol) = (At.V6Header, quoted[At.V6Next]);
        }
        else
        {
            if (icmp[0] is not (3 or 11 or 12) || bytes < At.V4Header || quoted[0] >> 4 != 4) return false;
            (header, protocol) = ((quoted[0] & 0xF) * 4, quoted[At.V4Protocol]);
        }

        return protocol == IpProtocol.Gre
            || (protocol == IpProtocol.Udp && header + 4 <= bytes && At.Load16(quoted + header + 2) == Tunnel.GreInUdpPort);
    }

    private void ToHost(ref Packet p, ref PacketContext c)
    {
        // What the kernel sent must not go back to it: neither of the two would count the hops.
        if (HostOf(p, c) is { } host && !(c.In is { IsHost: true }))
        {
            ToNeighbor(ref p, ref c, host);
            return;
        }

        // TCP is answered by what its header says, if that adds up.
        if (!p.IsSuperpacket) Segmenter.CompleteChecksum(ref p);
        DropAndTell(ref p, ref c, DropReason.NoListener, PuntReason.NoListener);
    }
}
