using System.Buffers.Binary;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>Into a tunnel and out of it.</summary>
public sealed class TunnelTests : IDisposable
{
    private const uint Key = 0x0000_2A01;

    private readonly ForwarderRig _rig = new();

    public void Dispose() => _rig.Dispose();

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void Encapsulation_is_what_the_emitters_would_write(bool outerV6, bool innerV6)
    {
        Tunnel tunnel = AddTunnel(Options(outerV6) with { Key = Key });
        byte[] inner = Inner(innerV6);
        Redirect(tunnel, innerV6);
        _rig.Receive(_rig.Site, _rig.FromClient(inner));

        TestFrame sent = Assert.Single(_rig.CoreDevice.Sent());
        byte[] expected = Frames.Ip(tunnel.Options.Local, tunnel.Options.Remote, IpProtocol.Gre,
            Frames.Gre(new GreHeader(innerV6 ? EtherType.Ipv6 : EtherType.Ipv4, Key: Key), Routed(inner)), 64, df: true);
        Assert.Equal(ForwarderRig.PeBMac, MacAddress.Read(sent.Bytes));
        Assert.Equal(expected, sent.Bytes[14..]);
        Assert.Equal((1, inner.Length), (tunnel.TxPackets, tunnel.TxBytes));
        Assert.Equal(_rig.Now, tunnel.LastPacketAtNs);
        Assert.Equal(0, _rig.Plane.Ledger.Imbalance);
    }

    [Fact]
    public void Checksum_and_sequence_are_sent_where_asked_and_hold()
    {
        Tunnel tunnel = AddTunnel(Options() with { Key = Key, Checksum = true, Sequence = true });
        Redirect(tunnel);
        for (uint sequence = 0; sequence < 3; sequence++)
        {
            _rig.Receive(_rig.Site, _rig.FromClient(Inner()));
            byte[] frame = Assert.Single(_rig.CoreDevice.Sent()).Bytes;
            Assert.True(GreView.TryParse(frame.AsSpan(34), out GreView gre));
            Assert.True(gre.HasChecksum && gre.ChecksumIsValid);
            Assert.Equal(new GreHeader(EtherType.Ipv4, true, Key, sequence), gre.Header);
        }
    }

    [Theory]
    [InlineData(false, true)]
    [InlineData(true, true)]
    [InlineData(false, false)]
    public void Gre_in_udp_has_port_4754_a_source_port_of_the_flow_and_a_checksum_where_asked(bool outerV6, bool checksum)
    {
        Tunnel tunnel = AddTunnel(Options(outerV6) with { Encapsulation = TunnelEncapsulation.GreInUdp, Key = Key,
            UdpChecksum = checksum });
        Redirect(tunnel);
        _rig.Receive(_rig.Site, _rig.FromClient(Inner()), _rig.FromClient(Inner()), _rig.FromClient(Inner(sourcePort: 4001)));
        IReadOnlyList<TestFrame> sent = _rig.CoreDevice.Sent();
        int at = 14 + (outerV6 ? 40 : 20);
        int[] ports = [.. sent.Select(f => (int)BinaryPrimitives.ReadUInt16BigEndian(f.Bytes.AsSpan(at)))];
        Assert.All(ports, p => Assert.InRange(p, 49152, 65535));
        Assert.Equal(ports[0], ports[1]);
        Assert.NotEqual(ports[0], ports[2]);
        Assert.True(UdpView.TryParse(sent[0].Bytes.AsSpan(at), out UdpView udp));
        Assert.Equal(Tunnel.GreInUdpPort, udp.DestinationPort);
        Assert.Equal(checksum, udp.ChecksumField != 0);
        Assert.True(udp.ChecksumIsValid(tunnel.Options.Local, tunnel.Options.Remote));
        Assert.Equal(sent[0].Bytes.Length - at, udp.Payload.Length + 8);
    }

    public static TheoryData<TunnelOptions> Kinds() =>
    [
        Options(), Options(true), Options() with { Key = Key }, Options() with { Key = Key, Checksum = true, Sequence = true },
        Options() with { Encapsulation = TunnelEncapsulation.GreInUdp },
        Options(true) with { Encapsulation = TunnelEncapsulation.GreInUdp, Key = Key },
        Options() with { Encapsulation = TunnelEncapsulation.GreInUdp, UdpChecksum = false, Checksum = true },
    ];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void What_went_in_comes_out_at_the_other_end(TunnelOptions options)
    {
        using ForwarderRig far = new();
        Tunnel near = AddTunnel(options);
        Tunnel there = far.Plane.AddTunnel(Mirror(options), far.Vrf, far.Vrf);
        far.Vrf.Set(IpPrefix.Host(options.Remote), new FibLeaf(new IndirectNextHop(ForwardingDecision.Local)));
        Redirect(near);
        Redirect(near, v6: true);

        foreach (byte[] inner in new[] { Inner(), Inner(true) })
        {
            _rig.Receive(_rig.Site, _rig.FromClient(inner));
            byte[] wire = Assert.Single(_rig.CoreDevice.Sent()).Bytes[14..];
            far.Receive(far.Core, ForwarderRig.Ethernet(far.Core.Mac, ForwarderRig.PeAMac, wire));
            Assert.Equal(Routed(Routed(inner)), Assert.Single(far.CoreDevice.Sent()).Bytes[14..]);
        }

        Assert.Equal((2, near.TxBytes), (there.RxPackets, there.RxBytes));
        Assert.Equal(0, far.Plane.Ledger.Imbalance);
    }

    [Fact]
    public void The_key_names_the_vrf()
    {
        Vrf red = _rig.Plane.AddVrf("red", 7);
        red.Set(IpPrefix.Parse("10.1.1.10/32"),
            new FibLeaf(new IndirectNextHop(
                ForwardingDecision.Via(_rig.Resolve(_rig.Site, IpAddress.Parse("10.2.3.77"), ForwarderRig.HostMac)))));
        _rig.Plane.AddTunnel(Options() with { Name = "blue" }, _rig.Vrf, _rig.Vrf);
        _rig.Plane.AddTunnel(Options() with { Name = "red", Key = 7 }, red, _rig.Vrf);

        _rig.Receive(_rig.Core, Wrapped(Inner(), new GreHeader(EtherType.Ipv4)), Wrapped(Inner(), new GreHeader(EtherType.Ipv4, Key: 7)));
        Assert.Equal(ForwarderRig.HostMac, MacAddress.Read(Assert.Single(_rig.SiteDevice.Sent()).Bytes));
        Assert.Equal(ForwarderRig.PeAMac, MacAddress.Read(Assert.Single(_rig.CoreDevice.Sent()).Bytes));
    }

    [Theory]
    [InlineData("another source", DropReason.TunnelUnknownPeer)]
    [InlineData("another key", DropReason.TunnelUnknownPeer)]
    [InlineData("no key", DropReason.TunnelUnknownPeer)]
    [InlineData("udp instead of plain", DropReason.TunnelUnknownPeer)]
    [InlineData("version 1", DropReason.GreInvalid)]
    [InlineData("a reserved bit", DropReason.GreInvalid)]
    [InlineData("the routing bit", DropReason.GreInvalid)]
    [InlineData("a bad gre checksum", DropReason.GreInvalid)]
    [InlineData("no room for the key", DropReason.GreInvalid)]
    [InlineData("two bytes of gre", DropReason.GreInvalid)]
    [InlineData("an ethernet payload", DropReason.GrePayload)]
    [InlineData("no inner packet", DropReason.IpTruncated)]
    [InlineData("a broken inner checksum", DropReason.IpChecksum)]
    [InlineData("inner ttl 1", DropReason.TtlExpired)]
    [InlineData("congestion on a flow without ecn", DropReason.EcnInvalid)]
    public void Is_not_accepted_with(string what, DropReason reason)
    {
        AddTunnel(Options() with { Key = Key });
        GreHeader gre = new(EtherType.Ipv4, Key: Key);
        byte[] good = Wrapped(Inner(), gre);
        byte[] frame = what switch
        {
            "another source" => _rig.FromPeA(Frames.Ip(ForwarderRig.PeALoopback4, ForwarderRig.Loopback4, IpProtocol.Gre,
                Frames.Gre(gre, Inner()))),
            "another key" => Wrapped(Inner(), gre with { Key = Key + 1 }),
            "no key" => Wrapped(Inner(), new GreHeader(EtherType.Ipv4)),
            "udp instead of plain" => _rig.FromPeA(Frames.Ip(ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, IpProtocol.Udp,
                Frames.GreInUdpDatagram(gre, ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, Inner()))),
            "version 1" => Patch(good, 35, good[35] | 1),
            "a reserved bit" => Patch(good, 34, good[34] | 0x08),
            "the routing bit" => Patch(good, 34, good[34] | 0x40),
            "a bad gre checksum" => Patch(Wrapped(Inner(), gre with { Checksum = true }), 60, 0xEE),
            "no room for the key" => Wrapped([], gre)[..(14 + 20 + 6)],
            "two bytes of gre" => Wrapped([], gre)[..(14 + 20 + 2)],
            "an ethernet payload" => Wrapped(Inner(), gre with { Protocol = EtherType.Bridged }),
            "no inner packet" => Wrapped([], gre),
            "a broken inner checksum" => Wrapped(Patch(Inner(), 10, 0x55), gre),
            "inner ttl 1" => Wrapped(Inner(ttl: 1), gre),
            _ => _rig.FromPeA(Frames.Ip(new Ipv4Header(ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, IpProtocol.Gre, TrafficClass: 3),
                Frames.Gre(gre, Inner()))),
        };
        if (what is "no room for the key" or "two bytes of gre")
        {
            byte[] ip = frame[14..];
            new Ipv4Header(ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, IpProtocol.Gre).Emit(ip, ip.Length - 20);
            frame = _rig.FromPeA(ip);
        }

        _rig.Receive(_rig.Core, frame);
        Assert.Equal(1, _rig.Plane.Drops(reason));
        Assert.Equal(1, _rig.Plane.DropsTotal);
        Assert.Equal(0, _rig.CoreDevice.SentCount);
        Assert.Equal(0, _rig.Plane.Ledger.Imbalance);
    }

    [Fact]
    public void Gre_in_gre_is_accepted_and_gre_in_gre_in_gre_is_a_loop()
    {
        AddTunnel(Options());
        byte[] once = Frames.Ip(ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, IpProtocol.Gre,
            Frames.Gre(new GreHeader(EtherType.Ipv4), Inner()));
        byte[] twice = Frames.Ip(ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, IpProtocol.Gre,
            Frames.Gre(new GreHeader(EtherType.Ipv4), once));
        byte[] thrice = Frames.Ip(ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, IpProtocol.Gre,
            Frames.Gre(new GreHeader(EtherType.Ipv4), twice));
        _rig.Receive(_rig.Core, _rig.FromPeA(once), _rig.FromPeA(twice));
        Assert.Equal(2, _rig.CoreDevice.SentCount);
        _rig.Receive(_rig.Core, _rig.FromPeA(thrice));
        Assert.Equal(1, _rig.Plane.Drops(DropReason.TunnelLoop));
        Assert.Equal(1, _rig.Plane.DropsTotal);
    }

    // RFC 6040 figure 4: rows inner Not-ECT, ECT(0), ECT(1), CE; columns outer in the same order. -1 = dropped.
    [Theory]
    [InlineData(0, new[] { 0, 0, 0, -1 })]
    [InlineData(2, new[] { 2, 2, 1, 3 })]
    [InlineData(1, new[] { 1, 1, 1, 3 })]
    [InlineData(3, new[] { 3, 3, 3, 3 })]
    public void Ecn_comes_out_as_rfc_6040_says(int inner, int[] expected)
    {
        AddTunnel(Options());
        int[] outers = [0, 2, 1, 3];
        for (int i = 0; i < 4; i++)
        {
            foreach (bool v6 in new[] { false, true })
            {
                byte[] packet = v6
                    ? Frames.Ip(new Ipv6Header(ForwarderRig.Client6, ForwarderRig.Server6, IpProtocol.Udp, TrafficClass: (byte)inner),
                        Frames.Bytes(20))
                    : Frames.Ip(new Ipv4Header(ForwarderRig.Client4, ForwarderRig.Server4, IpProtocol.Udp, TrafficClass: (byte)inner),
                        Frames.Bytes(20));
                _rig.Receive(_rig.Core, _rig.FromPeA(Frames.Ip(
                    new Ipv4Header(ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, IpProtocol.Gre, TrafficClass: (byte)outers[i]),
                    Frames.Gre(new GreHeader(v6 ? EtherType.Ipv6 : EtherType.Ipv4), packet))));
                byte[]? sent = _rig.CoreDevice.TakeSent()?.Bytes[14..];
                Assert.Equal(expected[i], sent is null ? -1 : TrafficClass(sent) & 3);
                if (sent is not null && !v6) Assert.True(Ipv4View.TryParse(sent, out Ipv4View view) && view.ChecksumIsValid);
            }
        }
    }

    [Theory]
    [InlineData(DscpModel.Uniform, true, 0xB9, 0xB9)]
    [InlineData(DscpModel.Pipe, true, 0xB9, 0x21)]
    [InlineData(DscpModel.Inherit, true, 0xB9, 0xB9)]
    [InlineData(DscpModel.Uniform, false, 0xBA, 0xB8)]
    public void Class_and_ecn_go_outwards_as_configured(DscpModel model, bool ecn, byte inner, byte outer)
    {
        Tunnel tunnel = AddTunnel(Options() with { Dscp = model, PipeDscp = 8, Ecn = ecn });
        Redirect(tunnel);
        _rig.Receive(_rig.Site, _rig.FromClient(Frames.Ip(
            new Ipv4Header(ForwarderRig.Client4, ForwarderRig.Server4, IpProtocol.Udp, TrafficClass: inner), Frames.Bytes(8))));
        byte[] sent = Assert.Single(_rig.CoreDevice.Sent()).Bytes;
        Assert.Equal((outer, inner), (sent[15], sent[14 + tunnel.HeaderBytes + 1]));
    }

    [Theory]
    [InlineData(DscpModel.Uniform, 0xB8)]
    [InlineData(DscpModel.Pipe, 0x20)]
    [InlineData(null, 0x20)] // the default: what the core remarks is not the customer's
    public void Class_comes_inwards_in_the_uniform_model_only(DscpModel? model, byte expected)
    {
        AddTunnel(model is { } asked ? Options() with { Dscp = asked } : Options());
        byte[] inner = Frames.Ip(new Ipv4Header(ForwarderRig.Client4, ForwarderRig.Server4, IpProtocol.Udp, TrafficClass: 0x20),
            Frames.Bytes(8));
        _rig.Receive(_rig.Core,
            _rig.FromPeA(Frames.Ip(new Ipv4Header(ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, IpProtocol.Gre, TrafficClass: 0xB8),
            Frames.Gre(new GreHeader(EtherType.Ipv4), inner))));
        Assert.Equal(expected, Assert.Single(_rig.CoreDevice.Sent()).Bytes[15]);
    }

    [Fact]
    public void Ttl_is_64_outside_or_the_inner_one_and_the_smaller_one_comes_out_in_the_uniform_model()
    {
        Tunnel tunnel = AddTunnel(Options() with { TtlUniform = true });
        Redirect(tunnel);
        _rig.Receive(_rig.Site, _rig.FromClient(Inner(ttl: 17)));
        Assert.Equal(16, Assert.Single(_rig.CoreDevice.Sent()).Bytes[22]);

        _rig.Vrf.Remove(IpPrefix.Host(ForwarderRig.Server4));
        _rig.Receive(_rig.Core, _rig.FromPeA(Frames.Ip(ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, IpProtocol.Gre,
            Frames.Gre(new GreHeader(EtherType.Ipv4), Inner(ttl: 60)), ttl: 9)));
        Assert.Equal(8, Assert.Single(_rig.CoreDevice.Sent()).Bytes[22]);
    }

    [Theory]
    [InlineData(false, 1576)]
    [InlineData(true, 1556)]
    public void Too_big_for_the_tunnel_is_told_with_the_tunnels_mtu(bool outerV6, int mtu)
    {
        Tunnel tunnel = AddTunnel(Options(outerV6));
        Redirect(tunnel);
        _rig.Site.Mtu = 9000;
        _rig.Receive(_rig.Site, _rig.FromClient(Sized(mtu, df: true)), _rig.FromClient(Sized(mtu + 1, df: true)));
        Assert.Equal(1600, Assert.Single(_rig.CoreDevice.Sent()).Bytes.Length - 14);
        Punted punt = Assert.Single(_rig.Punts.Take());
        Assert.Equal((PuntReason.TooBig, mtu, 14), (punt.Info.Reason, punt.Info.Mtu, punt.Info.L3Offset));
        Assert.Equal(1, _rig.Plane.Drops(DropReason.TooBig));
    }

    [Fact]
    public void What_the_path_carries_counts_when_it_is_less_than_the_first_link_but_not_for_a_probe()
    {
        Tunnel tunnel = AddTunnel(Options());
        Redirect(tunnel);
        tunnel.PathMtu = 1500;
        _rig.Receive(_rig.Site, _rig.FromClient(Sized(1476, df: true)), _rig.FromClient(Sized(1477, df: true)));
        Assert.Equal(1500, Assert.Single(_rig.CoreDevice.Sent()).Bytes.Length - 14);
        Assert.Equal(1476, Assert.Single(_rig.Punts.Take()).Info.Mtu);

        _rig.Forwarder.SendThroughTunnel(tunnel, Sized(1576, df: true), _rig.Now);
        Assert.Equal(1600, Assert.Single(_rig.CoreDevice.Sent()).Bytes.Length - 14);
    }

    // IPv6 inside a tunnel that leaves less than 1280 was told "too big, 1280" for ever.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Ipv6_of_1280_bytes_passes_a_tunnel_that_leaves_less_in_fragments_of_the_outer_packet(bool outerV6)
    {
        using ForwarderRig far = new();
        Tunnel tunnel = AddTunnel(Options(outerV6) with { Key = Key });
        far.Plane.AddTunnel(Mirror(tunnel.Options), far.Vrf, far.Vrf);
        far.Vrf.Set(IpPrefix.Host(tunnel.Options.Remote), new FibLeaf(new IndirectNextHop(ForwardingDecision.Local)));
        Redirect(tunnel, v6: true);
        tunnel.PathMtu = 1280;
        byte[] full = Frames.Ip(ForwarderRig.Client6, ForwarderRig.Server6, IpProtocol.Udp, Frames.Bytes(1240));
        byte[] more = Frames.Ip(ForwarderRig.Client6, ForwarderRig.Server6, IpProtocol.Udp, Frames.Bytes(1241));
        _rig.Receive(_rig.Site, _rig.FromClient(full), _rig.FromClient(more));
        Assert.Equal(PuntReason.TooBig, Assert.Single(_rig.Punts.Take()).Info.Reason);
        byte[][] parts = [.. _rig.CoreDevice.Sent().Select(f => f.Bytes[14..])];
        Assert.Equal(2, parts.Length);
        Assert.All(parts, p => Assert.InRange(p.Length, 1, 1280));
        Assert.Equal(0, _rig.Plane.Ledger.Imbalance);

        // At the other end the control loop puts them together.
        FragmentReassembler reassembler = new();
        foreach (byte[] part in parts)
        {
            far.Receive(far.Core, ForwarderRig.Ethernet(far.Core.Mac, ForwarderRig.PeAMac, part));
            Punted punt = Assert.Single(far.Punts.Take());
            Assert.Equal((PuntReason.TunnelFragment, true), (punt.Info.Reason, punt.Info.IsConsumed));
            if (reassembler.Add(punt.Frame.AsSpan(punt.Info.L3Offset), 0) is { } whole)
                far.Forwarder.Originate(punt.Info.Vrf, whole, far.Now);
        }

        Assert.Equal(Routed(Routed(full)), Assert.Single(far.CoreDevice.Sent()).Bytes[14..]);
        Assert.Equal(0, far.Plane.Ledger.Imbalance);
    }

    // RFC 2784 2.3: bits 1, 4 and 5 and a version other than 0 are refused, bits 6 to 12 ignored. The codec had it right, the fast path
    // refused all.
    [Fact]
    public void Reserved_bits_are_judged_as_the_codec_judges_them()
    {
        AddTunnel(Options());
        for (int bit = 0; bit < 16; bit++)
        {
            int flags = 1 << bit;
            if ((flags & (GreView.C | GreView.K | GreView.S)) != 0) continue;
            byte[] gre = Frames.Gre(new GreHeader(EtherType.Ipv4), Inner());
            BinaryPrimitives.WriteUInt16BigEndian(gre, (ushort)flags);
            _rig.Receive(_rig.Core, _rig.FromPeA(Frames.Ip(ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, IpProtocol.Gre, gre)));
            Assert.Equal(GreView.TryParse(gre, out _), _rig.CoreDevice.Sent().Count == 1);
            Assert.Equal(flags is >= 0x0008 and <= 0x0200, GreView.TryParse(gre, out _));
        }
    }

    [Fact]
    public void Parts_from_an_address_that_is_no_tunnel_peer_are_not_kept()
    {
        AddTunnel(Options());
        byte[] part = Frames.Ip(new Ipv4Header(ForwarderRig.PeALoopback4, ForwarderRig.Loopback4, IpProtocol.Gre, MoreFragments: true),
            Frames.Bytes(800));
        _rig.Receive(_rig.Core, _rig.FromPeA(part));
        Assert.Empty(_rig.Punts.Take());
        Assert.Equal(1, _rig.Plane.Drops(DropReason.TunnelUnknownPeer));
    }

    [Fact]
    public void A_configured_tunnel_mtu_counts_when_it_is_smaller()
    {
        Tunnel tunnel = AddTunnel(Options() with { Mtu = 1400 });
        Redirect(tunnel);
        _rig.Receive(_rig.Site, _rig.FromClient(Sized(1400, df: true)), _rig.FromClient(Sized(1401, df: true)));
        Assert.Equal(1, _rig.CoreDevice.SentCount);
        Assert.Equal(1400, Assert.Single(_rig.Punts.Take()).Info.Mtu);
    }

    [Fact]
    public void Without_df_the_inner_packet_is_fragmented_before_it_goes_in()
    {
        Tunnel tunnel = AddTunnel(Options() with { Mtu = 1000 });
        Redirect(tunnel);
        byte[] ip = Sized(1400, df: false);
        _rig.Receive(_rig.Site, _rig.FromClient(ip));
        byte[][] pieces = [.. _rig.CoreDevice.Sent().Select(f => f.Bytes[(14 + 24)..])];
        Assert.Equal(2, pieces.Length);
        Assert.All(pieces, p => Assert.True(p.Length <= 1000));
        Assert.Equal(Routed(ip), FragmentTests.Reassemble(pieces));
        Assert.Equal(0, _rig.Plane.Ledger.Imbalance);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void The_mss_of_a_syn_is_lowered_to_what_fits(bool v6)
    {
        Tunnel tunnel = AddTunnel(Options() with { MssClamp = true });
        Redirect(tunnel, v6);
        _rig.Core.Mtu = 1500;
        IpAddress from = v6 ? ForwarderRig.Client6 : ForwarderRig.Client4, to = v6 ? ForwarderRig.Server6 : ForwarderRig.Server4;
        byte[] syn = Frames.Ip(from, to, IpProtocol.Tcp,
            Frames.Tcp(from, to, new TcpHeader(1, 2, 3, 4, TcpFlags.Syn, 1000), [], [1, 2, 4, 1460 >> 8, 1460 & 255]));
        _rig.Receive(_rig.Site, _rig.FromClient(syn));
        byte[] inner = Assert.Single(_rig.CoreDevice.Sent()).Bytes[(14 + tunnel.HeaderBytes)..];
        Assert.True(TcpView.TryParse(inner.AsSpan(v6 ? 40 : 20), out TcpView tcp));
        Assert.Equal(1500 - 24 - (v6 ? 60 : 40), (int)tcp.MaximumSegmentSize!);
        Assert.True(tcp.ChecksumIsValid(from, to));
    }

    [Fact]
    public void A_tunnel_that_is_down_drops_but_lets_probes_through()
    {
        Tunnel tunnel = AddTunnel(Options());
        tunnel.Up = false;
        Redirect(tunnel);
        _rig.Receive(_rig.Site, _rig.FromClient(Inner()));
        Assert.Equal(1, _rig.Plane.Drops(DropReason.TunnelDown));
        _rig.Forwarder.SendThroughTunnel(tunnel, Inner(), _rig.Now);
        byte[] sent = Assert.Single(_rig.CoreDevice.Sent()).Bytes[(14 + tunnel.HeaderBytes)..];
        Assert.Equal(Inner(), sent); // the router's own: no TTL taken
        Assert.Equal(0, _rig.Plane.Ledger.Imbalance);
    }

    [Theory]
    [InlineData("a second redirect tunnel")]
    [InlineData("the native way back to the source pe")]
    [InlineData("the source pe as next hop")]
    [InlineData("an ordinary tunnel to the source pe")]
    public void Out_of_a_redirect_tunnel_nothing_goes_into(string way)
    {
        AddTunnel(Options() with { Key = Key, IsRedirect = true });
        ForwardingDecision decision = way switch
        {
            "a second redirect tunnel" => ForwardingDecision.Through(
                AddTunnel(new TunnelOptions("next", ForwarderRig.Loopback4, ForwarderRig.PeALoopback4, 9) { IsRedirect = true })),
            "the native way back to the source pe" => ForwardingDecision.Via(_rig.PeA, ForwarderRig.PeBLoopback4),
            "the source pe as next hop" => ForwardingDecision.Via(_rig.Resolve(_rig.Core, ForwarderRig.PeBLoopback4, ForwarderRig.PeBMac)),
            _ => ForwardingDecision.Through(AddTunnel(new TunnelOptions("back", ForwarderRig.Loopback4, ForwarderRig.PeBLoopback4, 9))),
        };
        _rig.Route("10.1.1.10/32", decision);
        _rig.Receive(_rig.Core, Wrapped(Inner(), new GreHeader(EtherType.Ipv4, Key: Key)));
        Assert.Equal(1, _rig.Plane.Drops(DropReason.TunnelLoop));
        Assert.Equal(0, _rig.CoreDevice.SentCount);

        // The same packet from elsewhere takes that way.
        _rig.Receive(_rig.Site, _rig.FromClient(Inner()));
        Assert.Equal(1, _rig.CoreDevice.SentCount);
    }

    internal static TunnelOptions Options(bool v6 = false) => v6
        ? new TunnelOptions("t6", ForwarderRig.Loopback6, ForwarderRig.PeBLoopback6)
        : new TunnelOptions("t4", ForwarderRig.Loopback4, ForwarderRig.PeBLoopback4);

    private static TunnelOptions Mirror(TunnelOptions o) => o with { Local = o.Remote, Remote = o.Local };

    private Tunnel AddTunnel(TunnelOptions options)
    {
        Tunnel tunnel = _rig.Plane.AddTunnel(options, _rig.Vrf, _rig.Vrf);
        tunnel.Up = true;
        return tunnel;
    }

    private void Redirect(Tunnel tunnel, bool v6 = false)
        => _rig.Route(v6 ? "fd00:1:1::10/128" : "10.1.1.10/32", ForwardingDecision.Through(tunnel));

    private static byte[] Inner(bool v6 = false, byte ttl = 64, ushort sourcePort = 4000)
    {
        IpAddress from = v6 ? ForwarderRig.Client6 : ForwarderRig.Client4, to = v6 ? ForwarderRig.Server6 : ForwarderRig.Server4;
        return Frames.Ip(from, to, IpProtocol.Udp, Frames.Udp(from, to, sourcePort, 7, Frames.Bytes(50)), ttl);
    }

    private static byte[] Sized(int bytes, bool df) => Frames.Ip(
        new Ipv4Header(ForwarderRig.Client4, ForwarderRig.Server4, IpProtocol.Udp, Identification: 77, DontFragment: df),
        Frames.Bytes(bytes - 20));

    private byte[] Wrapped(byte[] inner, GreHeader gre)
        => _rig.FromPeA(Frames.Ip(ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, IpProtocol.Gre, Frames.Gre(gre, inner)));

    private static byte[] Patch(byte[] frame, int at, int value)
    {
        byte[] next = [.. frame];
        next[at] = (byte)value;
        return next;
    }

    private static byte TrafficClass(byte[] ip) => ip[0] >> 4 == 6 ? (byte)(BinaryPrimitives.ReadUInt16BigEndian(ip) >> 4) : ip[1];

    internal static byte[] Routed(byte[] ip)
    {
        if (ip[0] >> 4 == 4) return RoutingTests.Decremented(ip);
        byte[] next = [.. ip];
        next[7]--;
        return next;
    }
}
