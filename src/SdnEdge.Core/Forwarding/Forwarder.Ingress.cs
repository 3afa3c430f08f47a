using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>Stage 1: from the wire to a checked IP packet whose Data is its IP header.</summary>
public sealed unsafe partial class Forwarder
{
    // First octets of IPv4 addresses that need a second look: 0/8, 127/8, 169.254/16, 224/3.
    private static ReadOnlySpan<byte> Special4 =>
    [
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    ];

    private void FromWire(ref Packet p, PortEntry port)
    {
        PacketContext c = new() { In = port, Own = port.IsHost };
        byte* frame = p.Data;
        if (p.Length < At.EthHeader)
        {
            Drop(ref c, DropReason.FrameTruncated);
            return;
        }

        // Destination: our MAC address, or a group.
        if ((System.Runtime.CompilerServices.Unsafe.ReadUnaligned<ulong>(frame) & 0xFFFF_FFFF_FFFF) != port.MacOnWire)
        {
            if ((frame[0] & 1) == 0)
            {
                Drop(ref c, DropReason.NotForUs);
                return;
            }

            c.LinkBroadcast = true;
        }

        int header = At.EthHeader;
        int type = At.Load16(frame + At.EthType);
        if (type == EtherType.Vlan)
        {
            if (!TakeVlan(ref p, ref c, out type)) return;
            header = At.VlanHeader;
        }

        c.Vrf = c.In!.Vrf;
        c.Stripped = header;
        p.Prepend(-header);
        if ((p.Vnet.Flags | p.Vnet.GsoType) == 0)
        {
            p.Vnet = default; // nothing a device could misread on the way out
        }
        else if (!TakeOffload(ref p, header))
        {
            Drop(ref c, DropReason.OffloadInvalid);
            return;
        }

        switch (type)
        {
            case EtherType.Ipv4:
                Input4(ref p, ref c);
                break;
            case EtherType.Ipv6:
                Input6(ref p, ref c);
                break;
            case EtherType.Arp:
                PuntConsumed(ref p, ref c, PuntReason.Arp);
                break;
            default:
                Drop(ref c, DropReason.UnknownEtherType);
                break;
        }
    }

    private bool TakeVlan(ref Packet p, ref PacketContext c, out int type)
    {
        type = 0;
        if (p.Length < At.VlanHeader)
        {
            Drop(ref c, DropReason.FrameTruncated);
            return false;
        }

        int vlan = At.Load16(p.Data + 14) & 0xFFF;
        type = At.Load16(p.Data + 16);
        if (vlan == 0) return true; // priority tag only (IEEE 802.1Q 9.6)
        if (c.In!.SubInterfaces?[vlan] is not { } sub)
        {
            Drop(ref c, DropReason.UnknownEtherType);
            return false;
        }

        c.In = sub;
        sub.Counters.Add(_worker, PortEntry.RxPacketsField);
        sub.Counters.Add(_worker, PortEntry.RxBytesField, p.Length);
        return true;
    }

    // Keeps what matters of the offload metadata, with offsets from the IP header.
    private static bool TakeOffload(ref Packet p, int stripped)
    {
        ref VnetHeader v = ref p.Vnet;
        v.Flags &= VnetHeader.NeedsCsum;
        if ((v.GsoType & ~VnetHeader.GsoEcn) == 0) v.GsoType = 0;
        if (v.Flags == 0)
        {
            // The virtio specification lets a superpacket come only with NEEDS_CSUM.
            if (v.GsoType != 0) return false;
            v = default;
            return true;
        }

        if (v.CsumStart < stripped) return false;
        v.CsumStart -= (ushort)stripped;
        return true;
    }

    private void Input(ref Packet p, ref PacketContext c)
    {
        if (p.Length == 0) Drop(ref c, DropReason.IpTruncated);
        else if (p.Data[0] >> 4 == 6) Input6(ref p, ref c);
        else Input4(ref p, ref c);
    }

    // RFC 1812 5.2.2, in its order; p.Data is the IP header.
    private void Input4(ref Packet p, ref PacketContext c)
    {
        byte* ip = p.Data;
        int header = At.V4Header;
        if (p.Length < header)
        {
            Drop(ref c, DropReason.IpTruncated);
            return;
        }

        if (ip[0] != 0x45)
        {
            header = (ip[0] & 0xF) * 4;
            if (ip[0] >> 4 != 4 || header < At.V4Header)
            {
                Drop(ref c, DropReason.IpHeaderInvalid);
                return;
            }

            if (header > p.Length)
            {
                Drop(ref c, DropReason.IpTruncated);
                return;
            }
        }

        int total = At.Load16(ip + At.V4Total);
        if (total < header)
        {
            Drop(ref c, DropReason.IpHeaderInvalid);
            return;
        }

        if (total > p.Length)
        {
            Drop(ref c, DropReason.IpTruncated);
            return;
        }

        if (At.HeaderSum(ip, header) != 0xFFFF)
        {
            Drop(ref c, DropReason.IpChecksum);
            return;
        }

        p.Length = total; // Ethernet padding goes
        c.IsV6 = false;
        c.L4 = header;
        c.Protocol = ip[At.V4Protocol];
        c.Fragment = (At.Load16(ip + At.V4Fragment) & (At.V4Mf | At.V4OffsetMask)) != 0;
        if (p.Vnet.Flags != 0 && !OffloadFits(ref p, ref c))
        {
            Drop(ref c, DropReason.OffloadInvalid);
            return;
        }

        uint source = At.Load32(ip + At.V4Source), destination = At.Load32(ip + At.V4Destination);
        if ((Special4[(int)(source >> 24)] | Special4[(int)(destination >> 24)]) != 0)
        {
            DropReason reason = Special(source, destination);
            if (reason != DropReason.None)
            {
                Drop(ref c, reason);
                return;
            }

            // Not forwarded (RFC 3927 7), to and from this router itself only, unless the VRF has routes to such addresses.
            c.LocalOnly = !c.Own && !c.Vrf.RoutesLinkLocal && (Martians.IsLinkLocal(source) || Martians.IsLinkLocal(destination));
        }

        if (c.LinkBroadcast)
        {
            Drop(ref c, DropReason.NotForwardedMulticast); // RFC 1812 5.3.4
            return;
        }

        FibLeaf? leaf = c.Vrf.Leaf(c.Vrf.V4.Lookup(destination));
        if (leaf is null && c.LocalOnly) Drop(ref c, DropReason.Martian);
        else if (leaf is null) DropAndTell(ref p, ref c, DropReason.NoRoute, PuntReason.NoRoute);
        else if (c.In?.KeptBackArray is not { } kept || !KeepBack(ref p, ref c, leaf, kept)) Route(ref p, ref c, leaf);
    }

    // Martians (RFC 1812 5.3.7, RFC 6890): never a source or destination on a wire.
    private static DropReason Special(uint source, uint destination)
    {
        if (Martians.IsMartian(source) || source >> 28 == 0xE) return DropReason.Martian;
        if (destination >> 28 == 0xE || destination == uint.MaxValue) return DropReason.NotForwardedMulticast;
        return Martians.IsMartian(destination) ? DropReason.Martian : DropReason.None;
    }

    // RFC 8200 3; p.Data is the IP header.
    private void Input6(ref Packet p, ref PacketContext c)
    {
        byte* ip = p.Data;
        if (p.Length < At.V6Header)
        {
            Drop(ref c, DropReason.IpTruncated);
            return;
        }

        if (ip[0] >> 4 != 6)
        {
            Drop(ref c, DropReason.IpHeaderInvalid);
            return;
        }

        int total = At.V6Header + At.Load16(ip + At.V6Payload);
        if (total > p.Length)
        {
            Drop(ref c, DropReason.IpTruncated);
            return;
        }

        p.Length = total;
        c.IsV6 = true;
        c.L4 = At.V6Header;
        c.Protocol = ip[At.V6Next];
        c.Fragment = false;
        if (p.Vnet.Flags != 0 && (!WalkExtensions(ref p, ref c) || !OffloadFits(ref p, ref c)))
        {
            Drop(ref c, DropReason.OffloadInvalid);
            return;
        }

        if ((byte)(ip[At.V6Source] + 2) < 3 || (byte)(ip[At.V6Destination] + 2) < 3)
        {
            if (!Admit6(ref p, ref c)) return; // first octet 00, fe or ff
        }

        if (c.LinkBroadcast)
        {
            Drop(ref c, DropReason.NotForwardedMulticast);
            return;
        }

        FibLeaf? leaf = c.Vrf.Leaf(c.Vrf.V6.Lookup(At.Load64(ip + At.V6Destination), At.Load64(ip + At.V6Destination + 8)));
        if (leaf is null) DropAndTell(ref p, ref c, DropReason.NoRoute, PuntReason.NoRoute);
        else if (c.In?.KeptBackArray is not { } kept || !KeepBack(ref p, ref c, leaf, kept)) Route(ref p, ref c, leaf);
    }

    // Addresses with a scope (RFC 4291 2.5, RFC 6890). False when the packet has been dealt with.
    private bool Admit6(ref Packet p, ref PacketContext c)
    {
        IpAddress source = At.Address6(p.Data + At.V6Source), to = At.Address6(p.Data + At.V6Destination);
        if (to.IsMulticast)
        {
            // Neighbour discovery never crosses a router, so its source may be anything a link allows, unspecified too.
            if (IsNeighborDiscovery(p, c) && c.In is not null && c.From is null && !source.IsMulticast) PuntConsumed(ref p, ref c,
                PuntReason.Nd);
            else Drop(ref c, DropReason.NotForwardedMulticast);
            return false;
        }

        if (IsMartian(source) || source.IsMulticast || IsMartian(to))
        {
            Drop(ref c, DropReason.Martian);
            return false;
        }

        if (to.IsLinkLocal)
        {
            if (c.In is { } port && port.Owns(to) && c.From is null) Deliver(ref p, ref c);
            else if (c.In is { IsHost: true, Options.Link: { } link } && !c.LinkBroadcast) ToConnected(ref p, ref c, link);
            else Drop(ref c, DropReason.Martian);
            return false;
        }

        c.LocalOnly = source.IsLinkLocal;
        return true;

        // ::, ::1, and IPv4-mapped addresses.
        static bool IsMartian(IpAddress address) => address.High == 0 && (address.Low <= 1 || address.Low >> 32 == 0xFFFF);
    }

    private static bool IsNeighborDiscovery(in Packet p, in PacketContext c)
        => c.Protocol == IpProtocol.Icmpv6 && p.Length >= At.V6Header + 4 && p.Data[At.V6Header] is >= 133 and <= 137;

    // Finds the transport header behind IPv6 extension headers (RFC 8200 4). Bounded: each header is at least 8 bytes, and more
    // than eight of them is no honest packet. False when they are broken.
    private static bool WalkExtensions(ref Packet p, ref PacketContext c)
    {
        int at = At.V6Header;
        byte next = p.Data[At.V6Next];
        for (int headers = 0; next is IpProtocol.HopByHop or IpProtocol.Routing or IpProtocol.DestinationOptions
            or IpProtocol.Fragment; headers++)
        {
            if (headers == 8 || at + 8 > p.Length) return false;
            if (next == IpProtocol.Fragment)
            {
                c.Fragment |= (At.Load16(p.Data + at + 2) & 0xFFF9) != 0;
                next = p.Data[at];
                at += 8;
                if ((At.Load16(p.Data + at - 6) & 0xFFF8) != 0) break; // not the first: no transport header follows
            }
            else
            {
                next = p.Data[at];
                at += 8 + (p.Data[at + 1] * 8);
            }

            if (at > p.Length) return false;
        }

        c.L4 = at;
        c.Protocol = next;
        return true;
    }

    // Offload metadata is a claim by whoever sent the frame: it must name the transport header that is there. A superpacket
    // that is one segment becomes an ordinary frame.
    private static bool OffloadFits(ref Packet p, ref PacketContext c)
    {
        ref VnetHeader v = ref p.Vnet;
        int start = v.CsumStart, offset = v.CsumOffset;
        if (c.Fragment || start < c.L4 || start + offset + 2 > p.Length || offset is not (6 or 16)) return false;
        bool wrapped; // the transport header is inside a tunnel's packet
        switch (c.Protocol)
        {
            case IpProtocol.Tcp:
                if (start != c.L4 || offset != 16) return false;
                wrapped = false;
                break;
            case IpProtocol.Udp:
                wrapped = start != c.L4;
                if (!wrapped && offset != 6) return false;
                break;
            case IpProtocol.Gre:
                wrapped = true;
                if (start < c.L4 + 4 + At.V4Header) return false;
                break;
            default:
                return false;
        }

        if (v.GsoType == 0)
        {
            v.GsoSize = 0;
            return true;
        }

        int type = v.GsoType & ~VnetHeader.GsoEcn;
        int header;
        switch (type)
        {
            case VnetHeader.GsoTcpV4 or VnetHeader.GsoTcpV6:
                if (offset != 16 || start + 20 > p.Length) return false;
                if (!wrapped && (c.Protocol != IpProtocol.Tcp || (type == VnetHeader.GsoTcpV6) != c.IsV6)) return false;
                header = (p.Data[start + 12] >> 4) * 4;
                if (header < 20) return false;
                break;
            case VnetHeader.GsoUdpL4:
                if (offset != 6) return false;
                header = 8;
                break;
            default:
                return false;
        }

        int payload = p.Length - start - header;
        if (payload < 0 || v.GsoSize == 0 || (payload + v.GsoSize - 1) / v.GsoSize > Segmenter.MaxSegments) return false;
        if (payload <= v.GsoSize) (v.GsoType, v.GsoSize) = (VnetHeader.GsoNone, 0);
        return true;
    }
}
