using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Tests.Wire;

/// <summary>A golden capture: frames our emitters made, and what an independent dissector must read in each of them.</summary>
/// <param name="Name">File name in pcaps/ without extension: what it proves.</param>
/// <param name="Frames">The frames.</param>
/// <param name="Fields">tshark's field names, each with its text for every frame; several occurrences in one frame joined by
/// commas.</param>
internal sealed record Golden(string Name, byte[][] Frames, params (string Field, string[] Values)[] Fields)
{
    private static readonly IpAddress A4 = Wire.Frames.A4, B4 = Wire.Frames.B4, A6 = Wire.Frames.A6, B6 = Wire.Frames.B6;
    private static readonly MacAddress MacA = Wire.Frames.MacA, MacB = Wire.Frames.MacB;
    private static readonly IpAddress LocalA = Ipv6Addresses.LinkLocal(MacA);

    /// <summary>All of them.</summary>
    public static readonly IReadOnlyList<Golden> All =
        [.. LinkLayer(), .. Network(), .. Transport(), .. Tunnels(), .. Icmp(), .. Discovery(), .. Made(), .. Bfd.BfdGolden.All()];

    private static IEnumerable<Golden> LinkLayer()
    {
        yield return new("arp-request-and-reply",
            [
                Wire.Frames.Ethernet(EtherType.Arp, Wire.Frames.Arp(new ArpPacket(ArpOperation.Request, MacA, A4, default, B4)),
                    to: MacAddress.Broadcast),
                Wire.Frames.Ethernet(EtherType.Arp, Wire.Frames.Arp(new ArpPacket(ArpOperation.Reply, MacB, B4, MacA, A4)),
                    to: MacA, from: MacB),
            ],
            ("eth.dst", ["ff:ff:ff:ff:ff:ff", "02:00:00:00:00:0a"]), ("eth.src", ["02:00:00:00:00:0a", "02:00:00:00:00:0b"]),
            ("eth.type", ["0x0806", "0x0806"]), ("arp.hw.type", ["1", "1"]), ("arp.proto.type", ["0x0800", "0x0800"]),
            ("arp.opcode", ["1", "2"]), ("arp.src.hw_mac", ["02:00:00:00:00:0a", "02:00:00:00:00:0b"]),
            ("arp.src.proto_ipv4", ["192.0.2.1", "198.51.100.2"]), ("arp.dst.hw_mac", ["00:00:00:00:00:00", "02:00:00:00:00:0a"]),
            ("arp.dst.proto_ipv4", ["198.51.100.2", "192.0.2.1"]));
        yield return new("vlan-tag-keeps-priority-and-identifier",
            [Wire.Frames.Ethernet(EtherType.Ipv4, Wire.Frames.Ip(A4, B4, IpProtocol.Udp, Wire.Frames.Udp(A4, B4, 1, 7, [])), vlan: 0xA064)],
            ("vlan.priority", ["5"]), ("vlan.dei", ["0"]), ("vlan.id", ["100"]), ("vlan.etype", ["0x0800"]), ("ip.src", ["192.0.2.1"]));
    }

    private static IEnumerable<Golden> Network()
    {
        yield return new("ipv4-every-header-field-and-options",
            [
                Wire.Frames.Ethernet(EtherType.Ipv4, Wire.Frames.Ip(
                    new Ipv4Header(A4, B4, IpProtocol.Udp, 17, (46 << 2) | 1, 0xBEEF, DontFragment: true),
                    Wire.Frames.Udp(A4, B4, 4000, 7, Wire.Frames.Bytes(11)), [148, 4, 0, 0])),
            ],
            ("ip.version", ["4"]), ("ip.hdr_len", ["24"]), ("ip.dsfield.dscp", ["46"]), ("ip.dsfield.ecn", ["1"]), ("ip.len", ["43"]),
            ("ip.id", ["0xbeef"]), ("ip.flags.df", ["1"]), ("ip.flags.mf", ["0"]), ("ip.ttl", ["17"]), ("ip.proto", ["17"]),
            ("ip.checksum.status", ["1"]), ("ip.src", ["192.0.2.1"]), ("ip.dst", ["198.51.100.2"]), ("ip.opt.type", ["148"]),
            ("udp.checksum.status", ["1"]));
        byte[] datagram = Wire.Frames.Udp(A4, B4, 1, 7, Wire.Frames.Bytes(40));
        yield return new("ipv4-fragments-reassemble",
            [
                Wire.Frames.Ethernet(EtherType.Ipv4,
                    Wire.Frames.Ip(new Ipv4Header(A4, B4, IpProtocol.Udp, Identification: 7, MoreFragments: true), datagram[..24])),
                Wire.Frames.Ethernet(EtherType.Ipv4,
                    Wire.Frames.Ip(new Ipv4Header(A4, B4, IpProtocol.Udp, Identification: 7, FragmentOffset: 3), datagram[24..])),
            ],
            ("ip.flags.mf", ["1", "0"]), ("ip.frag_offset", ["0", "3"]), ("ip.reassembled.length", ["", "48"]),
            ("udp.checksum.status", ["", "1"]));
        byte[] hop = new byte[Ipv6OptionsHeader.LengthWith(4)], fragment = new byte[8];
        Ipv6OptionsHeader.Emit(hop, IpProtocol.Fragment, [5, 2, 0, 0]);
        new Ipv6FragmentHeader(IpProtocol.Udp, 0, false, 0x1234ABCD).Emit(fragment);
        byte[] udp6 = Wire.Frames.Udp(A6, B6, 4000, 7, Wire.Frames.Bytes(5));
        yield return new("ipv6-every-header-field-and-extension-headers",
            [Wire.Frames.Ethernet(EtherType.Ipv6,
                Wire.Frames.Ip(new Ipv6Header(A6, B6, IpProtocol.HopByHop, 9, (10 << 2) | 2, 0xABCDE), [.. hop, .. fragment, .. udp6]))],
            ("ipv6.version", ["6"]), ("ipv6.tclass.dscp", ["10"]), ("ipv6.tclass.ecn", ["2"]), ("ipv6.flow", ["0x0abcde"]),
            ("ipv6.plen", ["29"]),
            ("ipv6.nxt", ["0"]), ("ipv6.hlim", ["9"]), ("ipv6.src", ["2001:db8::1"]), ("ipv6.dst", ["2001:db8:ffff::2"]),
            ("ipv6.opt.type", ["0x05,0x01"]), ("ipv6.fraghdr.ident", ["0x1234abcd"]), ("udp.checksum.status", ["1"]),
            ("udp.dstport", ["7"]));
    }

    private static IEnumerable<Golden> Transport()
    {
        yield return new("udp-checksums-over-both-families",
            [
                Wire.Frames.Ethernet(EtherType.Ipv4,
                    Wire.Frames.Ip(A4, B4, IpProtocol.Udp, Wire.Frames.Udp(A4, B4, 65535, 9, Wire.Frames.Bytes(3)))),
                Wire.Frames.Ethernet(EtherType.Ipv6,
                    Wire.Frames.Ip(A6, B6, IpProtocol.Udp, Wire.Frames.Udp(A6, B6, 65535, 9, Wire.Frames.Bytes(3)))),
            ],
            ("udp.srcport", ["65535", "65535"]), ("udp.dstport", ["9", "9"]), ("udp.length", ["11", "11"]),
            ("udp.checksum.status", ["1", "1"]));
        byte[] clamped = Wire.Frames.Tcp(A6, B6, new TcpHeader(1234, 80, 0xFFFFFFFE, 0, TcpFlags.Syn, 29200), [],
            [2, 4, 0x05, 0xA0, 4, 2, 1, 3, 3, 7]);
        TcpOptions.ClampMss(clamped, 1380);
        yield return new("tcp-every-header-field-and-a-clamped-mss",
            [
                Wire.Frames.Ethernet(EtherType.Ipv4, Wire.Frames.Ip(A4, B4, IpProtocol.Tcp,
                    Wire.Frames.Tcp(A4, B4,
                        new TcpHeader(1234, 80, 0xFFFFFFFE, 0x12345678, TcpFlags.Ack | TcpFlags.Psh | TcpFlags.Urg | TcpFlags.Cwr, 512, 3),
                        Wire.Frames.Bytes(9)))),
                Wire.Frames.Ethernet(EtherType.Ipv6, Wire.Frames.Ip(A6, B6, IpProtocol.Tcp, clamped)),
            ],
            ("tcp.srcport", ["1234", "1234"]), ("tcp.dstport", ["80", "80"]), ("tcp.seq_raw", ["4294967294", "4294967294"]),
            ("tcp.ack_raw", ["305419896", "0"]),
            ("tcp.hdr_len", ["20", "32"]), ("tcp.flags", ["0x00b8", "0x0002"]), ("tcp.window_size_value", ["512", "29200"]),
            ("tcp.urgent_pointer", ["3", "0"]),
            ("tcp.options.mss_val", ["", "1380"]), ("tcp.checksum.status", ["1", "1"]));
    }

    private static IEnumerable<Golden> Tunnels()
    {
        byte[] inner4 = Wire.Frames.Ip(A4, B4, IpProtocol.Udp, Wire.Frames.Udp(A4, B4, 1000, 7, Wire.Frames.Bytes(6)));
        byte[] inner6 = Wire.Frames.Ip(A6, B6, IpProtocol.Udp, Wire.Frames.Udp(A6, B6, 1000, 7, Wire.Frames.Bytes(6)));
        IpAddress pe1 = IpAddress.Parse("10.255.0.1"), pe2 = IpAddress.Parse("10.255.0.2");
        IpAddress pe1v6 = IpAddress.Parse("fd00:ff::1"), pe2v6 = IpAddress.Parse("fd00:ff::2");
        byte[] Over4(GreHeader gre, byte[] inner)
            => Wire.Frames.Ethernet(EtherType.Ipv4, Wire.Frames.Ip(pe1, pe2, IpProtocol.Gre, Wire.Frames.Gre(gre, inner), df: true));
        yield return new("gre-checksum-key-and-sequence-in-all-combinations",
            [
                Over4(new GreHeader(EtherType.Ipv4), inner4), Over4(new GreHeader(EtherType.Ipv4, Key: 0xDEADBEEF), inner4),
                Over4(new GreHeader(EtherType.Ipv4, Sequence: 5), inner4), Over4(new GreHeader(EtherType.Ipv4, Checksum: true), inner4),
                Over4(new GreHeader(EtherType.Ipv4, Checksum: true, Key: 42, Sequence: 0xFFFFFFFF), inner4),
                Over4(new GreHeader(EtherType.Ipv4, Key: 1, Sequence: 2), inner4),
            ],
            ("ip.proto", ["47,17", "47,17", "47,17", "47,17", "47,17", "47,17"]), ("gre.flags.version", ["0", "0", "0", "0", "0", "0"]),
            ("gre.proto", ["0x0800", "0x0800", "0x0800", "0x0800", "0x0800", "0x0800"]),
            ("gre.flags.checksum", ["0", "0", "0", "1", "1", "0"]),
            ("gre.flags.key", ["0", "1", "0", "0", "1", "1"]), ("gre.flags.sequence_number", ["0", "0", "1", "0", "1", "1"]),
            ("gre.key", ["", "0xdeadbeef", "", "", "0x0000002a", "0x00000001"]),
            ("gre.sequence_number", ["", "", "5", "", "4294967295", "2"]),
            ("gre.checksum.status", ["", "", "", "1", "1", ""]), ("ip.src", [.. Enumerable.Repeat("10.255.0.1,192.0.2.1", 6)]),
            ("udp.checksum.status", [.. Enumerable.Repeat("1", 6)]));
        yield return new("gre-carries-ipv6-and-is-carried-by-ipv6",
            [
                Over4(new GreHeader(EtherType.Ipv6, Key: 7), inner6),
                Wire.Frames.Ethernet(EtherType.Ipv6,
                    Wire.Frames.Ip(pe1v6, pe2v6, IpProtocol.Gre, Wire.Frames.Gre(new GreHeader(EtherType.Ipv4, Key: 7), inner4))),
                Wire.Frames.Ethernet(EtherType.Ipv6,
                    Wire.Frames.Ip(pe1v6, pe2v6, IpProtocol.Gre, Wire.Frames.Gre(new GreHeader(EtherType.Ipv6, Key: 7), inner6))),
            ],
            ("gre.proto", ["0x86dd", "0x0800", "0x86dd"]), ("gre.key", ["0x00000007", "0x00000007", "0x00000007"]),
            ("ip.src", ["10.255.0.1", "192.0.2.1", ""]), ("ipv6.src", ["2001:db8::1", "fd00:ff::1", "fd00:ff::1,2001:db8::1"]),
            ("udp.checksum.status", ["1", "1", "1"]));
        yield return new("gre-in-udp-with-and-without-checksum",
            [
                Wire.Frames.Ethernet(EtherType.Ipv4,
                    Wire.Frames.Ip(pe1, pe2, IpProtocol.Udp,
                        Wire.Frames.GreInUdpDatagram(new GreHeader(EtherType.Ipv4, Key: 42), pe1, pe2, inner4))),
                Wire.Frames.Ethernet(EtherType.Ipv4,
                    Wire.Frames.Ip(pe1, pe2, IpProtocol.Udp,
                        Wire.Frames.GreInUdpDatagram(new GreHeader(EtherType.Ipv4, Key: 42), pe1, pe2, inner4, checksum: false))),
                Wire.Frames.Ethernet(EtherType.Ipv6,
                    Wire.Frames.Ip(pe1v6, pe2v6, IpProtocol.Udp,
                        Wire.Frames.GreInUdpDatagram(new GreHeader(EtherType.Ipv6, true, 42, 1), pe1v6, pe2v6, inner6))),
            ],
            ("udp.dstport", ["4754,7", "4754,7", "4754,7"]), ("gre.proto", ["0x0800", "0x0800", "0x86dd"]),
            ("gre.key", ["0x0000002a", "0x0000002a", "0x0000002a"]),
            ("udp.checksum.status", ["1,1", "3,1", "1,1"]), ("gre.checksum.status", ["", "", "1"]), ("gre.sequence_number", ["", "", "1"]));
    }

    private static IEnumerable<Golden> Icmp()
    {
        byte[] about4 = Wire.Frames.Ip(A4, B4, IpProtocol.Udp, Wire.Frames.Udp(A4, B4, 1000, 7, Wire.Frames.Bytes(6)));
        byte[] about6 = Wire.Frames.Ip(A6, B6, IpProtocol.Udp, Wire.Frames.Udp(A6, B6, 1000, 7, Wire.Frames.Bytes(6)));
        byte[] V4(IcmpHeader header, byte[] body)
            => Wire.Frames.Ethernet(EtherType.Ipv4, Wire.Frames.Ip(B4, A4, IpProtocol.Icmp, Wire.Frames.Icmp(header, B4, A4, body)));
        byte[] V6(IcmpHeader header, byte[] body)
            => Wire.Frames.Ethernet(EtherType.Ipv6, Wire.Frames.Ip(B6, A6, IpProtocol.Icmpv6, Wire.Frames.Icmp(header, B6, A6, body)));
        yield return new("icmp-echo",
            [V4(IcmpHeader.Echo(IpFamily.V4, false, 0x1234, 5), Wire.Frames.Bytes(9)),
                V4(IcmpHeader.Echo(IpFamily.V4, true, 0x1234, 5), Wire.Frames.Bytes(9))],
            ("icmp.type", ["8", "0"]), ("icmp.code", ["0", "0"]), ("icmp.ident", ["4660", "4660"]), ("icmp.seq", ["5", "5"]),
            ("icmp.checksum.status", ["1", "1"]),
            ("data.len", ["9", "9"]));
        yield return new("icmpv6-echo",
            [V6(IcmpHeader.Echo(IpFamily.V6, false, 0x1234, 5), Wire.Frames.Bytes(9)),
                V6(IcmpHeader.Echo(IpFamily.V6, true, 0x1234, 5), Wire.Frames.Bytes(9))],
            ("icmpv6.type", ["128", "129"]), ("icmpv6.code", ["0", "0"]), ("icmpv6.echo.identifier", ["0x1234", "0x1234"]),
            ("icmpv6.echo.sequence_number", ["5", "5"]),
            ("icmpv6.checksum.status", ["1", "1"]));
        yield return new("icmp-errors-quote-the-packet",
            [
                V4(IcmpHeader.TooBig(IpFamily.V4, 1476), about4), V4(IcmpHeader.TimeExceeded(IpFamily.V4), about4),
                V4(new IcmpHeader(Icmpv4Type.Unreachable, Icmpv4Type.Network), about4),
                V4(new IcmpHeader(Icmpv4Type.Unreachable, Icmpv4Type.Port), about4),
            ],
            ("icmp.type", ["3", "11", "3", "3"]), ("icmp.code", ["4", "0", "0", "3"]), ("icmp.mtu", ["1476", "", "", ""]),
            ("icmp.checksum.status", ["1", "1", "1", "1"]),
            ("ip.dst", [.. Enumerable.Repeat("192.0.2.1,198.51.100.2", 4)]), ("udp.dstport", ["7", "7", "7", "7"]));
        yield return new("icmpv6-errors-quote-the-packet",
            [
                V6(IcmpHeader.TooBig(IpFamily.V6, 1476), about6), V6(IcmpHeader.TimeExceeded(IpFamily.V6), about6),
                V6(new IcmpHeader(Icmpv6Type.Unreachable, Icmpv6Type.Address), about6),
                V6(new IcmpHeader(Icmpv6Type.ParameterProblem, 1, 40), about6),
            ],
            ("icmpv6.type", ["2", "3", "1", "4"]), ("icmpv6.code", ["0", "0", "3", "1"]), ("icmpv6.mtu", ["1476", "", "", ""]),
            ("icmpv6.pointer", ["", "", "", "40"]),
            ("icmpv6.checksum.status", ["1", "1", "1", "1"]), ("ipv6.dst", [.. Enumerable.Repeat("2001:db8::1,2001:db8:ffff::2", 4)]),
            ("udp.dstport", ["7", "7", "7", "7"]));
    }

    private static IEnumerable<Golden> Discovery()
    {
        byte[] Nd(IpAddress from, IpAddress to, byte[] icmp) => Wire.Frames.Ethernet(EtherType.Ipv6,
            Wire.Frames.Ip(from, to, IpProtocol.Icmpv6, icmp, 255),
            to: to.IsMulticast ? Ipv6Addresses.MulticastMac(to) : MacB);
        IpAddress solicited = Ipv6Addresses.SolicitedNode(B6);
        yield return new("nd-solicitation-and-advertisement",
            [
                Nd(A6, solicited, Wire.Frames.Neighbor(new NeighborMessage(Icmpv6Type.NeighborSolicitation, B6, MacA), A6, solicited)),
                Nd(B6, A6, Wire.Frames.Neighbor(new NeighborMessage(Icmpv6Type.NeighborAdvertisement, B6, MacB,
                    NeighborFlags.Solicited | NeighborFlags.Override), B6, A6)),
                Nd(B6, Ipv6Addresses.AllNodes,
                    Wire.Frames.Neighbor(new NeighborMessage(Icmpv6Type.NeighborAdvertisement, B6, MacB, NeighborFlags.Router), B6,
                        Ipv6Addresses.AllNodes)),
            ],
            ("eth.dst", ["33:33:ff:00:00:02", "02:00:00:00:00:0b", "33:33:00:00:00:01"]), ("ipv6.hlim", ["255", "255", "255"]),
            ("ipv6.dst", ["ff02::1:ff00:2", "2001:db8::1", "ff02::1"]), ("icmpv6.type", ["135", "136", "136"]),
            ("icmpv6.nd.ns.target_address", ["2001:db8:ffff::2", "", ""]),
            ("icmpv6.nd.na.target_address", ["", "2001:db8:ffff::2", "2001:db8:ffff::2"]),
            ("icmpv6.nd.na.flag.r", ["", "0", "1"]), ("icmpv6.nd.na.flag.s", ["", "1", "0"]), ("icmpv6.nd.na.flag.o", ["", "1", "0"]),
            ("icmpv6.opt.type", ["1", "2", "2"]), ("icmpv6.opt.linkaddr", ["02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0b"]),
            ("icmpv6.checksum.status", ["1", "1", "1"]));

        byte[] advertisement = new byte[RouterAdvertisement.Size + NdpOption.LinkLayerSize + NdpOption.MtuSize + NdpOption.PrefixSize];
        int at = RouterAdvertisement.Size;
        at += NdpOption.EmitLinkLayer(advertisement.AsSpan(at), NdpOption.SourceLinkLayer, MacA);
        at += NdpOption.EmitMtu(advertisement.AsSpan(at), 1500);
        NdpOption.EmitPrefix(advertisement.AsSpan(at), IpPrefix.Parse("2001:db8::/64"), true, false, 1800, 900);
        new RouterAdvertisement(64, true, false, 1800, 30000, 1000).Emit(advertisement, LocalA, Ipv6Addresses.AllNodes);
        yield return new("nd-router-advertisement-with-options",
            [Nd(LocalA, Ipv6Addresses.AllNodes, advertisement)],
            ("icmpv6.type", ["134"]), ("icmpv6.nd.ra.cur_hop_limit", ["64"]), ("icmpv6.nd.ra.flag.m", ["1"]),
            ("icmpv6.nd.ra.flag.o", ["0"]),
            ("icmpv6.nd.ra.router_lifetime", ["1800"]), ("icmpv6.nd.ra.reachable_time", ["30000"]),
            ("icmpv6.nd.ra.retrans_timer", ["1000"]),
            ("icmpv6.opt.type", ["1,5,3"]), ("icmpv6.opt.mtu", ["1500"]), ("icmpv6.opt.prefix", ["2001:db8::"]),
            ("icmpv6.opt.prefix.length", ["64"]),
            ("icmpv6.opt.prefix.flag.l", ["1"]), ("icmpv6.opt.prefix.flag.a", ["0"]), ("icmpv6.opt.prefix.valid_lifetime", ["1800"]),
            ("icmpv6.opt.prefix.preferred_lifetime", ["900"]), ("ipv6.src", ["fe80::ff:fe00:a"]), ("icmpv6.checksum.status", ["1"]));
        yield return new("nd-redirect",
            [Nd(LocalA, A6, Wire.Frames.Neighbor(new NeighborMessage(Icmpv6Type.Redirect, A6, MacA, Destination: B6), LocalA, A6))],
            ("icmpv6.type", ["137"]), ("icmpv6.nd.rd.target_address", ["2001:db8::1"]),
            ("icmpv6.rd.na.destination_address", ["2001:db8:ffff::2"]), ("icmpv6.checksum.status", ["1"]));
    }

    // What the segmenter, the slow path and the tunnel probe make, not only the emitters under them.
    private static IEnumerable<Golden> Made()
    {
        byte[] stream = Wire.Frames.Bytes(250);
        byte[] super = Wire.Frames.Ethernet(EtherType.Ipv4,
            Wire.Frames.Ip(new Ipv4Header(A4, B4, IpProtocol.Tcp, Identification: 65535, DontFragment: true),
            Wire.Frames.Tcp(A4, B4,
                new TcpHeader(5, 80, 1000, 2, TcpFlags.Ack | TcpFlags.Psh | TcpFlags.Fin | TcpFlags.Cwr, 100), stream)));
        yield return new("segmenter-tcp-superpacket-becomes-a-valid-stream",
            Split(super, new VnetHeader { GsoType = VnetHeader.GsoTcpV4, GsoSize = 100, HdrLen = 1 }),
            ("ip.len", ["140", "140", "90"]), ("ip.id", ["0xffff", "0x0000", "0x0001"]), ("ip.checksum.status", ["1", "1", "1"]),
            ("tcp.seq_raw", ["1000", "1100", "1200"]), ("tcp.len", ["100", "100", "50"]), ("tcp.flags", ["0x0090", "0x0010", "0x0019"]),
            ("tcp.checksum.status", ["1", "1", "1"]));
        byte[] superUdp = Wire.Frames.Ethernet(EtherType.Ipv6,
            Wire.Frames.Ip(A6, B6, IpProtocol.Udp, Wire.Frames.Udp(A6, B6, 5, 7, stream)));
        yield return new("segmenter-udp-superpacket-becomes-datagrams",
            Split(superUdp, new VnetHeader { GsoType = VnetHeader.GsoUdpL4, GsoSize = 120 }),
            ("ipv6.plen", ["128", "128", "18"]), ("udp.length", ["128", "128", "18"]), ("udp.checksum.status", ["1", "1", "1"]));

        SlowPath slow = new();
        SlowPathActions actions = new();
        slow.SetPort(new SlowPathPort(0, 0,
            MacB) { Addresses = [(IpAddress.Parse("192.0.2.254"), 24), (IpAddress.Parse("2001:db8::fe"), 64)], Vlan = 5 }, actions);
        slow.SetLoopbacks(0, []);
        byte[] ask = Wire.Frames.Ethernet(EtherType.Arp,
            Wire.Frames.Arp(new ArpPacket(ArpOperation.Request, MacA, A4, default, IpAddress.Parse("192.0.2.254"))));
        slow.Arp(0, ask, 14, 0, actions);
        slow.Resolve(0, A6, 0, actions);
        byte[] big = Wire.Frames.Ethernet(EtherType.Ipv4,
            Wire.Frames.Ip(A4, B4, IpProtocol.Udp, Wire.Frames.Udp(A4, B4, 1, 2, new byte[1400]), df: true));
        byte[] big6 = Wire.Frames.Ethernet(EtherType.Ipv6,
            Wire.Frames.Ip(A6, B6, IpProtocol.Udp, Wire.Frames.Udp(A6, B6, 1, 2, new byte[1400])));
        slow.Error(IcmpErrorKind.TooBig, 0, 0, big, 14, 1376, 0, actions);
        slow.Error(IcmpErrorKind.TooBig, 0, 0, big6, 14, 1376, 0, actions);
        List<byte[]> made = [];
        foreach (SlowPathAction action in actions.Items)
        {
            if (action.Kind == SlowPathActionKind.SendFrame) made.Add(actions.Bytes(action).ToArray());
            else if (action.Kind == SlowPathActionKind.Originate)
                made.Add(Wire.Frames.Ethernet(actions.Bytes(action)[0] >> 4 == 4 ? EtherType.Ipv4 : EtherType.Ipv6,
                    actions.Bytes(action).ToArray()));
        }

        yield return new("slowpath-answers-arp-solicits-and-reports-too-big", [.. made],
            ("vlan.id", ["5", "5", "", ""]), ("arp.opcode", ["2", "", "", ""]), ("arp.src.proto_ipv4", ["192.0.2.254", "", "", ""]),
            ("icmpv6.type", ["", "135", "", "2"]), ("ipv6.src", ["", "2001:db8::fe", "", "2001:db8::fe,2001:db8::1"]),
            ("icmp.type", ["", "", "3", ""]), ("icmp.mtu", ["", "", "1376", ""]),
            ("icmpv6.mtu", ["", "", "", "1376"]), ("ip.src", ["", "", "192.0.2.254,192.0.2.1", ""]), ("ip.len", ["", "", "576,1428", ""]),
            ("ipv6.plen", ["", "32", "", "1240,1408"]),
            ("icmp.checksum.status", ["", "", "1", ""]), ("icmpv6.checksum.status", ["", "1", "", "1"]),
            ("ip.dsfield.dscp", ["", "", "48,0", ""]));

        TunnelProbe probe = new(new TunnelProbeOptions(A4, B4, 300, 0x5DE6, 1)),
        probe6 = new(new TunnelProbeOptions(A6, B6, 1280, 0x5DE6, 2));
        probe.Poll(0);
        probe6.Poll(0);
        yield return new("tunnel-probe-is-a-full-size-echo",
            [Wire.Frames.Ethernet(EtherType.Ipv4, probe.Packet.ToArray()), Wire.Frames.Ethernet(EtherType.Ipv6, probe6.Packet.ToArray())],
            ("icmp.type", ["8", ""]), ("icmpv6.type", ["", "128"]), ("ip.len", ["300", ""]), ("ip.flags.df", ["1", ""]),
            ("ipv6.plen", ["", "1240"]),
            ("icmp.checksum.status", ["1", ""]), ("icmpv6.checksum.status", ["", "1"]), ("icmpv6.echo.identifier", ["", "0x5de6"]));
    }

    private static byte[][] Split(byte[] super, VnetHeader vnet)
    {
        using PacketBatch source = new(), destination = new();
        source.TryAdd(super, vnet);
        if (!Segmenter.TryBegin(source[0], out SegmentJob job)) throw new InvalidOperationException("the golden superpacket is not sound");
        job.Fill(destination);
        List<byte[]> segments = [];
        foreach (Packet segment in destination.Packets) segments.Add(segment.Span.ToArray());
        return [.. segments];
    }
}
