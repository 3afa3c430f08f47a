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
                if (c.Fragment) Drop(ref c, DropReason.GreInvalid); // not reassembled: the peer keeps the path MTU
                else Decapsulate(ref p, ref c, udp: false);
                return;
            case IpProtocol.Udp:
                if (c.L4 + 8 <= p.Length && At.Load16(p.Data + c.L4 + 2) == Tunnel.GreInUdpPort && !IsLaterFragment(p, c))
                {
                    if (c.Fragment) Drop(ref c, DropReason.GreInvalid);
                    else Decapsulate(ref p, ref c, udp: true);
                    return;
                }

                break;
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

    // The kernel has a link-local address on a device that stands for this link alone.
    private static Adjacency? HostOf(in Packet p, in PacketContext c)
        => c.IsV6 && (At.Load16(p.Data + At.V6Destination) & 0xFFC0) == 0xFE80 ? c.In?.Host : c.Vrf.Host;

    private static bool IsLaterFragment(in Packet p, in PacketContext c)
        => !c.IsV6 && (At.Load16(p.Data + At.V4Fragment) & At.V4OffsetMask) != 0;

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

        if (type != echoRequest && HostOf(p, c) is not null) return false;
        PuntConsumed(ref p, ref c, PuntReason.LocalIcmp);
        return true;
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
