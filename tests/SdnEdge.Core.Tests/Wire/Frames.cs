using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Tests.Wire;

/// <summary>Frames for tests, built with the emitters from the inside out.</summary>
internal static class Frames
{
    public static readonly MacAddress MacA = MacAddress.Parse("02:00:00:00:00:0a"), MacB = MacAddress.Parse("02:00:00:00:00:0b");
    public static readonly IpAddress A4 = IpAddress.Parse("192.0.2.1"), B4 = IpAddress.Parse("198.51.100.2");
    public static readonly IpAddress A6 = IpAddress.Parse("2001:db8::1"), B6 = IpAddress.Parse("2001:db8:ffff::2");

    public static byte[] Bytes(int count) => [.. Enumerable.Range(0, count).Select(i => (byte)i)];

    public static byte[] Ethernet(ushort type, byte[] payload, ushort? vlan = null, MacAddress? to = null, MacAddress? from = null)
    {
        EthernetHeader header = new(to ?? MacB, from ?? MacA, type, vlan);
        byte[] frame = new byte[header.Length + payload.Length];
        header.Emit(frame);
        payload.CopyTo(frame, header.Length);
        return frame;
    }

    public static byte[] Ip(Ipv4Header header, byte[] payload, byte[]? options = null)
    {
        byte[] packet = new byte[Ipv4Header.LengthWith(options?.Length ?? 0) + payload.Length];
        int at = header.Emit(packet, payload.Length, options);
        payload.CopyTo(packet, at);
        return packet;
    }

    public static byte[] Ip(Ipv6Header header, byte[] payload)
    {
        byte[] packet = new byte[Ipv6Header.Size + payload.Length];
        header.Emit(packet, payload.Length);
        payload.CopyTo(packet, Ipv6Header.Size);
        return packet;
    }

    /// <summary>An IP packet of the family of the addresses.</summary>
    public static byte[] Ip(IpAddress source, IpAddress destination, byte protocol, byte[] payload, byte ttl = 64, bool df = false)
        => source.IsV4 ? Ip(new Ipv4Header(source, destination, protocol, ttl, DontFragment: df), payload)
            : Ip(new Ipv6Header(source, destination, protocol, ttl), payload);

    public static byte[] Udp(IpAddress source, IpAddress destination, ushort sourcePort, ushort destinationPort, byte[] payload)
    {
        byte[] datagram = new byte[UdpHeader.Size + payload.Length];
        payload.CopyTo(datagram, UdpHeader.Size);
        new UdpHeader(sourcePort, destinationPort).Emit(datagram, source, destination);
        return datagram;
    }

    public static byte[] Tcp(IpAddress source, IpAddress destination, TcpHeader header, byte[] payload, byte[]? options = null)
    {
        int length = TcpHeader.LengthWith(options?.Length ?? 0);
        byte[] segment = new byte[length + payload.Length];
        payload.CopyTo(segment, length);
        header.Emit(segment, source, destination, options);
        return segment;
    }

    public static byte[] Icmp(IcmpHeader header, IpAddress source, IpAddress destination, byte[] body)
    {
        byte[] message = new byte[IcmpHeader.Size + body.Length];
        body.CopyTo(message, IcmpHeader.Size);
        header.Emit(message, source, destination);
        return message;
    }

    public static byte[] Gre(GreHeader header, byte[] payload)
    {
        byte[] packet = new byte[header.Length + payload.Length];
        payload.CopyTo(packet, header.Length);
        header.Emit(packet);
        return packet;
    }

    public static byte[] GreInUdpDatagram(GreHeader header, IpAddress source, IpAddress destination, byte[] inner, bool checksum = true)
    {
        byte[] datagram = new byte[UdpHeader.Size + header.Length + inner.Length];
        inner.CopyTo(datagram, UdpHeader.Size + header.Length);
        GreInUdp.Emit(datagram, header, FlowHash.Of(inner), source, destination, checksum);
        return datagram;
    }

    public static byte[] Neighbor(NeighborMessage message, IpAddress source, IpAddress destination)
    {
        byte[] icmp = new byte[message.Length];
        message.Emit(icmp, source, destination);
        return icmp;
    }

    public static byte[] Arp(ArpPacket packet)
    {
        byte[] bytes = new byte[ArpPacket.Size];
        packet.Emit(bytes);
        return bytes;
    }

    /// <summary>One sound frame of every format, for mutation.</summary>
    public static IReadOnlyList<byte[]> OneOfEach()
    {
        byte[] inner4 = Ip(A4, B4, IpProtocol.Udp, Udp(A4, B4, 1000, 7, Bytes(20)));
        byte[] inner6 = Ip(A6, B6, IpProtocol.Tcp, Tcp(A6, B6, new TcpHeader(1, 2, 3, 4, TcpFlags.Syn, 5), Bytes(3), [2, 4, 5, 0xB4]));
        byte[] hop = new byte[Ipv6OptionsHeader.LengthWith(4)];
        Ipv6OptionsHeader.Emit(hop, IpProtocol.Fragment, [5, 2, 0, 0]);
        byte[] fragment = new byte[8];
        new Ipv6FragmentHeader(IpProtocol.Udp, 0, true, 77).Emit(fragment);
        byte[] advertisement = new byte[RouterAdvertisement.Size + NdpOption.LinkLayerSize + NdpOption.MtuSize + NdpOption.PrefixSize];
        int at = RouterAdvertisement.Size;
        at += NdpOption.EmitLinkLayer(advertisement.AsSpan(at), NdpOption.SourceLinkLayer, MacA);
        at += NdpOption.EmitMtu(advertisement.AsSpan(at), 1500);
        NdpOption.EmitPrefix(advertisement.AsSpan(at), IpPrefix.Parse("2001:db8::/64"), true, true, 1800, 900);
        new RouterAdvertisement(64, true, false, 1800, 30000, 1000).Emit(advertisement, A6, Ipv6Addresses.AllNodes);
        return
        [
            Ethernet(EtherType.Arp, Arp(new ArpPacket(ArpOperation.Request, MacA, A4, default, B4)), vlan: 0x2064),
            Ethernet(EtherType.Ipv4,
                Ip(new Ipv4Header(A4, B4, IpProtocol.Icmp), Icmp(IcmpHeader.TooBig(IpFamily.V4, 1400), A4, B4, inner4),
                    [148, 4, 0, 0, 1, 7, 7, 4, 1, 2, 3, 4])),
            Ethernet(EtherType.Ipv6, Ip(A6, B6, IpProtocol.HopByHop, [.. hop, .. fragment, .. Bytes(16)])),
            Ethernet(EtherType.Ipv6, inner6),
            Ethernet(EtherType.Ipv4, Ip(A4, B4, IpProtocol.Gre, Gre(new GreHeader(EtherType.Ipv6, true, 42, 7), inner6))),
            Ethernet(EtherType.Ipv6, Ip(A6, B6, IpProtocol.Udp, GreInUdpDatagram(new GreHeader(EtherType.Ipv4, Key: 1), A6, B6, inner4))),
            Ethernet(EtherType.Ipv6,
                Ip(A6, B6, IpProtocol.Icmpv6,
                    Neighbor(new NeighborMessage(Icmpv6Type.NeighborAdvertisement, A6, MacA, NeighborFlags.Override | NeighborFlags.Router),
                        A6, B6), 255)),
            Ethernet(EtherType.Ipv6, Ip(A6, Ipv6Addresses.AllNodes, IpProtocol.Icmpv6, advertisement, 255)),
            Ethernet(EtherType.Ipv6,
                Ip(A6, B6, IpProtocol.Icmpv6, Neighbor(new NeighborMessage(Icmpv6Type.Redirect, A6, MacA, Destination: B6), A6, B6), 255)),
        ];
    }
}
