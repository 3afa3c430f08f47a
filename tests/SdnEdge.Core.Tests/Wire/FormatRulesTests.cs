using FsCheck.Xunit;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Wire;

/// <summary>What the RFCs say a receiver refuses or ignores.</summary>
public class FormatRulesTests
{
    [Theory]
    [InlineData(0x4000, false)] // RFC 1701 routing
    [InlineData(0x0800, false)] // strict source route
    [InlineData(0x0400, false)] // recursion control
    [InlineData(0x0001, false)] // version 1: PPTP
    [InlineData(0x0004, false)]
    [InlineData(0x0200, true)] // reserved, to be ignored
    [InlineData(0x0008, true)]
    [InlineData(0x0000, true)]
    public void GRE_bits_one_to_five_and_versions_are_refused_and_the_other_reserved_bits_ignored(int bits, bool accepted)
    {
        byte[] packet = Frames.Gre(new GreHeader(EtherType.Ipv4), Frames.Bytes(20));
        packet[0] |= (byte)(bits >> 8);
        packet[1] |= (byte)bits;
        Assert.Equal(accepted, GreView.TryParse(packet, out _));
    }

    [Fact]
    public void GRE_with_optional_fields_cut_off_is_refused()
    {
        byte[] packet = Frames.Gre(new GreHeader(EtherType.Ipv4, true, 1, 2), []);
        for (int length = 0; length < packet.Length; length++) Assert.False(GreView.TryParse(packet.AsSpan(0, length), out _));
        Assert.True(GreView.TryParse(packet, out _));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(5)]
    [InlineData(7)]
    public void ARP_for_other_hardware_or_protocols_is_refused(int at)
    {
        byte[] packet = Frames.Arp(new ArpPacket(ArpOperation.Request, Frames.MacA, Frames.A4, default, Frames.B4));
        Assert.True(ArpView.TryParse(packet, out _));
        packet[at - 1] ^= 1;
        Assert.Equal(at == 7, ArpView.TryParse(packet, out _)); // an unknown operation is the reader's to ignore
    }

    [Fact]
    public void An_ND_option_of_length_zero_makes_the_message_invalid()
    {
        byte[] icmp = Frames.Neighbor(new NeighborMessage(Icmpv6Type.NeighborSolicitation, Frames.A6, Frames.MacA), Frames.A6, Frames.B6);
        Assert.True(NdpView.TryParse(icmp, out _));
        icmp[25] = 0;
        Assert.False(NdpView.TryParse(icmp, out _));
        icmp[25] = 2;
        Assert.False(NdpView.TryParse(icmp, out _));
    }

    [Fact]
    public void An_ND_message_about_a_multicast_target_or_with_a_code_is_invalid()
    {
        byte[] multicast = Frames.Neighbor(new NeighborMessage(Icmpv6Type.NeighborAdvertisement, Ipv6Addresses.AllNodes),
            Frames.A6, Frames.B6);
        Assert.False(NdpView.TryParse(multicast, out _));
        byte[] code = Frames.Neighbor(new NeighborMessage(Icmpv6Type.NeighborAdvertisement, Frames.A6), Frames.A6, Frames.B6);
        code[1] = 1;
        Assert.False(NdpView.TryParse(code, out _));
    }

    [Fact]
    public void IPv4_options_are_walked_past_no_operation_to_end_of_list_and_a_bad_length_is_seen()
    {
        Ipv4OptionWalk walk = new([1, 1, 131, 7, 4, 1, 2, 3, 4, 148, 4, 0, 0, 0, 7, 7]);
        Assert.True(walk.MoveNext());
        Assert.Equal((Ipv4OptionWalk.LooseSourceRoute, 5), (walk.Type, walk.Data.Length));
        Assert.True(walk.MoveNext());
        Assert.Equal(Ipv4OptionWalk.RouterAlert, walk.Type);
        Assert.False(walk.MoveNext());
        Assert.False(walk.IsMalformed);

        walk = new([7, 1]);
        Assert.False(walk.MoveNext());
        Assert.True(walk.IsMalformed);
    }

    [Fact]
    public void The_IPv6_walk_passes_an_authentication_header_and_stops_at_ESP()
    {
        byte[] ah = new byte[24];
        (ah[0], ah[1]) = (IpProtocol.Udp, 4);
        Assert.True(IpPacketView.TryParse(Frames.Ip(Frames.A6, Frames.B6, IpProtocol.Ah, [.. ah, 1, 2, 3]), out IpPacketView view));
        Assert.Equal((IpProtocol.Udp, 3), (view.Protocol, view.Payload.Length));
        Assert.True(IpPacketView.TryParse(Frames.Ip(Frames.A6, Frames.B6, IpProtocol.Esp, Frames.Bytes(40)), out view));
        Assert.Equal(IpProtocol.Esp, view.Protocol);
    }

    [Fact]
    public void UDP_without_checksum_is_good_over_IPv4_and_bad_over_IPv6()
    {
        byte[] datagram = new byte[8];
        new UdpHeader(1, 2).EmitWithoutChecksum(datagram, 0);
        Assert.True(UdpView.TryParse(datagram, out UdpView view));
        Assert.True(view.ChecksumIsValid(Frames.A4, Frames.B4));
        Assert.False(view.ChecksumIsValid(Frames.A6, Frames.B6));
    }

    [Property]
    public void MSS_is_clamped_on_any_offset_and_the_checksum_stays_right(byte pad, ushort mss, ushort limit, bool v6)
    {
        (IpAddress a, IpAddress b) = v6 ? (Frames.A6, Frames.B6) : (Frames.A4, Frames.B4);
        byte[] options = [.. Enumerable.Repeat((byte)1, pad % 9), 2, 4, (byte)(mss >> 8), (byte)mss];
        byte[] segment = Frames.Tcp(a, b, new TcpHeader(1, 2, 3, 4, TcpFlags.Syn | TcpFlags.Ack, 5), Frames.Bytes(5), options);
        Assert.Equal(mss > limit, TcpOptions.ClampMss(segment, limit));
        Assert.True(TcpView.TryParse(segment, out TcpView view));
        Assert.Equal(Math.Min(mss, limit), view.MaximumSegmentSize);
        Assert.True(view.ChecksumIsValid(a, b));
    }

    [Fact]
    public void MSS_is_left_alone_without_SYN_and_a_partial_checksum_is_left_alone()
    {
        byte[] ack = Frames.Tcp(Frames.A4, Frames.B4, new TcpHeader(1, 2, 3, 4, TcpFlags.Ack, 5), [], [2, 4, 5, 0xB4]);
        byte[] before = [.. ack];
        Assert.False(TcpOptions.ClampMss(ack, 100));
        Assert.Equal(before, ack);

        byte[] syn = Frames.Tcp(Frames.A4, Frames.B4, new TcpHeader(1, 2, 3, 4, TcpFlags.Syn, 5), [], [2, 4, 5, 0xB4]);
        (byte high, byte low) = (syn[16], syn[17]);
        Assert.True(TcpOptions.ClampMss(syn, 100, checksumIsPartial: true));
        Assert.Equal((high, low), (syn[16], syn[17]));
    }

    [Fact]
    public void All_packets_of_a_flow_hash_alike_and_flows_spread_over_the_source_ports()
    {
        byte[] Packet(ushort port, int payload)
            => Frames.Ip(Frames.A4, Frames.B4, IpProtocol.Udp, Frames.Udp(Frames.A4, Frames.B4, port, 7, Frames.Bytes(payload)));
        Assert.Equal(FlowHash.Of(Packet(1000, 1)), FlowHash.Of(Packet(1000, 900)));
        HashSet<ushort> ports = [.. Enumerable.Range(0, 1000).Select(p => GreInUdp.SourcePort(FlowHash.Of(Packet((ushort)p, 1))))];
        Assert.InRange(ports.Count, 900, 1000); // 16384 ports for 1000 flows: about 30 meet by chance
        Assert.All(ports, p => Assert.True(p >= GreInUdp.FirstSourcePort));
    }

    [Fact]
    public void Fragments_of_a_datagram_hash_alike_whatever_stands_where_ports_would()
    {
        byte[] first = Frames.Ip(new Ipv4Header(Frames.A4, Frames.B4, IpProtocol.Udp, MoreFragments: true),
            Frames.Udp(Frames.A4, Frames.B4, 9, 7, Frames.Bytes(24)));
        byte[] second = Frames.Ip(new Ipv4Header(Frames.A4, Frames.B4, IpProtocol.Udp, FragmentOffset: 4), Frames.Bytes(99));
        Assert.Equal(FlowHash.Of(first), FlowHash.Of(second));
        Assert.NotEqual(0u, FlowHash.Of(first));
    }

    [Fact]
    public void Derived_IPv6_addresses_are_those_of_the_RFCs()
    {
        Assert.Equal("ff02::1:ff28:9c5a", Ipv6Addresses.SolicitedNode(IpAddress.Parse("fe80::2aa:ff:fe28:9c5a")).ToString());
        Assert.Equal("fe80::2aa:ff:fe28:9c5a", Ipv6Addresses.LinkLocal(MacAddress.Parse("00:aa:00:28:9c:5a")).ToString());
        Assert.Equal("33:33:ff:28:9c:5a", Ipv6Addresses.MulticastMac(IpAddress.Parse("ff02::1:ff28:9c5a")).ToString());
    }
}
