using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>What is for the router itself.</summary>
public sealed class LocalDeliveryTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Echo_requests_go_to_the_control_loop_with_or_without_a_host_port(bool host)
    {
        using ForwarderRig rig = new(host: host);
        byte[] v4 = Icmp(false, reply: false, 1), v6 = Icmp(true, reply: false, 1);
        rig.Receive(rig.Site, rig.FromClient(v4), rig.FromClient(v6));
        List<Punted> punts = rig.Punts.Take();
        Assert.All(punts, p => Assert.Equal((PuntReason.LocalIcmp, true), (p.Info.Reason, p.Info.IsConsumed)));
        Assert.Equal([v4, v6], punts.Select(p => p.Frame[p.Info.L3Offset..]));
        Assert.Equal((2L, 0L), (rig.Plane.Ledger.Punted, rig.Plane.Ledger.Imbalance));
    }

    [Fact]
    public void Echo_replies_belong_to_the_probe_by_their_identifier_else_to_the_host()
    {
        using ForwarderRig rig = new(host: true);
        rig.Receive(rig.Core, rig.FromPeA(Icmp(false, true, rig.Plane.ProbeIdentifier)), rig.FromPeA(Icmp(false, true, 77)));
        Assert.Equal(PuntReason.TunnelProbeReply, Assert.Single(rig.Punts.Take()).Info.Reason);
        Assert.Equal(1, rig.HostDevice.SentCount);
    }

    // With a host port an error about a tunnel's packet went to the kernel, which knows of no tunnel.
    [Theory]
    [InlineData(IpProtocol.Gre, false, true)]
    [InlineData(IpProtocol.Gre, true, true)]
    [InlineData(IpProtocol.Tcp, false, false)]
    [InlineData(IpProtocol.Tcp, true, false)]
    public void Errors_about_a_tunnels_packets_go_to_the_control_loop_and_others_to_the_host(byte protocol, bool v6, bool punted)
    {
        using ForwarderRig rig = new(host: true);
        (IpAddress router, IpAddress ours, IpAddress peer) = v6 ? (ForwarderRig.Client6, ForwarderRig.Loopback6, ForwarderRig.Server6)
            : (ForwarderRig.PeALoopback4, ForwarderRig.Loopback4, ForwarderRig.PeBLoopback4);
        byte[] sent = Frames.Ip(ours, peer, protocol, Frames.Bytes(1500));
        rig.Receive(rig.Core, rig.FromPeA(Frames.Ip(router, ours, v6 ? IpProtocol.Icmpv6 : IpProtocol.Icmp,
            Frames.Icmp(IcmpHeader.TooBig(v6 ? IpFamily.V6 : IpFamily.V4, 1400), router, ours, sent[..60]))));
        Assert.Equal(punted ? (1, 0) : (0, 1),
            (rig.Punts.Take().Count(p => p.Info.Reason == PuntReason.LocalIcmp), rig.HostDevice.SentCount));
    }

    [Fact]
    public void A_probe_that_came_through_a_tunnel_names_the_tunnel()
    {
        using ForwarderRig rig = new();
        Tunnel tunnel = rig.Plane.AddTunnel(TunnelTests.Options() with { Key = 3 }, rig.Vrf, rig.Vrf);
        byte[] inner = Icmp(false, reply: false, 9);
        byte[] frame = rig.FromPeA(Frames.Ip(ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, IpProtocol.Gre,
            Frames.Gre(new GreHeader(EtherType.Ipv4, Key: 3), inner)));
        rig.Receive(rig.Core, frame);
        Punted punt = Assert.Single(rig.Punts.Take());
        Assert.Equal((PuntReason.LocalIcmp, tunnel), (punt.Info.Reason, punt.Info.Tunnel));
        Assert.Equal(inner, punt.Frame[punt.Info.L3Offset..]);
        Assert.Equal(frame, punt.Frame);
    }

    [Fact]
    public void Everything_else_goes_to_the_kernel_as_it_came_and_the_kernels_own_goes_out_as_it_is()
    {
        using ForwarderRig rig = new(host: true);
        byte[] bgp = Frames.Ip(ForwarderRig.PeALoopback4, ForwarderRig.Loopback4, IpProtocol.Tcp, Frames.Bytes(40), ttl: 1);
        rig.Receive(rig.Core, rig.FromPeA(bgp));
        byte[] sent = Assert.Single(rig.HostDevice.Sent()).Bytes;
        Assert.Equal((ForwarderRig.HostMac, rig.HostPort!.Mac), (MacAddress.Read(sent), MacAddress.Read(sent.AsSpan(6))));
        Assert.Equal(bgp, sent[14..]);

        byte[] answer = Frames.Ip(ForwarderRig.Loopback4, ForwarderRig.PeALoopback4, IpProtocol.Tcp, Frames.Bytes(40), ttl: 1);
        rig.Receive(rig.HostPort, ForwarderRig.Ethernet(rig.HostPort.Mac, ForwarderRig.HostMac, answer));
        Assert.Equal(answer, Assert.Single(rig.CoreDevice.Sent()).Bytes[14..]);
    }

    [Fact]
    public void Without_a_host_port_nobody_listens()
    {
        using ForwarderRig rig = new();
        rig.Receive(rig.Site,
            rig.FromClient(Frames.Ip(ForwarderRig.Client4, ForwarderRig.Loopback4, IpProtocol.Udp,
                Frames.Udp(ForwarderRig.Client4, ForwarderRig.Loopback4, 1, 2, []))));
        Assert.Equal(1, rig.Plane.Drops(DropReason.NoListener));
        Assert.Equal(PuntReason.NoListener, Assert.Single(rig.Punts.Take()).Info.Reason);
    }

    [Fact]
    public void What_the_kernel_sends_to_the_router_itself_does_not_come_back_to_it()
    {
        using ForwarderRig rig = new(host: true);
        rig.Receive(rig.HostPort!, ForwarderRig.Ethernet(rig.HostPort!.Mac, ForwarderRig.HostMac,
            Frames.Ip(ForwarderRig.Loopback4, IpAddress.Parse("10.2.3.1"), IpProtocol.Udp, Frames.Bytes(20))));
        Assert.Equal((0, 1L), (rig.HostDevice.SentCount, rig.Plane.Drops(DropReason.NoListener)));
    }

    [Theory]
    [InlineData("ff02::1:ff00:1", true)]
    [InlineData("fd00:2:3::1", false)]
    [InlineData("link-local", false)]
    public void Neighbour_discovery_goes_to_the_control_loop(string to, bool multicast)
    {
        using ForwarderRig rig = new();
        IpAddress destination = to == "link-local" ? rig.Site.LinkLocal : IpAddress.Parse(to);
        IpAddress source = IpAddress.Parse("fe80::10");
        byte[] packet = Frames.Ip(source, destination, IpProtocol.Icmpv6,
            Frames.Icmp(new IcmpHeader(135, 0), source, destination, Frames.Bytes(24)), 255);
        MacAddress mac = multicast ? MacAddress.Parse("33:33:ff:00:00:01") : rig.Site.Mac;
        rig.Receive(rig.Site, ForwarderRig.Ethernet(mac, ForwarderRig.ClientMac, packet));
        Assert.Equal(PuntReason.Nd, Assert.Single(rig.Punts.Take()).Info.Reason);
        Assert.Equal(0, rig.Plane.Ledger.Imbalance);
    }

    [Fact]
    public void The_link_local_address_is_that_of_rfc_4291()
        => Assert.Equal(IpAddress.Parse("fe80::ff:fe00:301"), new ForwarderRig().Site.LinkLocal);

    [Fact]
    public void A_full_punt_queue_is_a_drop()
    {
        using ForwarderRig rig = new();
        rig.Punts.Room = 0;
        rig.Receive(rig.Site, rig.FromClient(Icmp(false, false, 1)));
        Assert.Equal((1L, 0L), (rig.Plane.Drops(DropReason.PuntQueueFull), rig.Plane.Ledger.Imbalance));
    }

    [Fact]
    public void The_control_loops_own_packets_are_routed_without_taking_ttl_and_frames_go_out_as_they_are()
    {
        using ForwarderRig rig = new();
        byte[] ip = Frames.Ip(ForwarderRig.Loopback4, ForwarderRig.Client4, IpProtocol.Icmp, Frames.Bytes(20), ttl: 1);
        rig.Forwarder.Originate(rig.Vrf.Index, ip, rig.Now);
        Assert.Equal(ip, Assert.Single(rig.SiteDevice.Sent()).Bytes[14..]);
        byte[] frame = Frames.Ethernet(EtherType.Arp, Frames.Bytes(28));
        rig.Forwarder.Transmit(rig.Site.Index, frame);
        Assert.Equal(frame, Assert.Single(rig.SiteDevice.Sent()).Bytes);
        rig.Forwarder.Transmit(99, frame);
        rig.Forwarder.Originate(99, ip, rig.Now);
        rig.Forwarder.Originate(0, [], rig.Now);
        Assert.Equal((1L, 1L, 1L),
            (rig.Plane.Drops(DropReason.PortDown), rig.Plane.Drops(DropReason.NoRoute), rig.Plane.Drops(DropReason.IpTruncated)));
        Assert.Equal((5L, 0L), (rig.Plane.Ledger.Originated, rig.Plane.Ledger.Imbalance));
    }

    [Fact]
    public void A_port_that_is_down_or_gone_drops()
    {
        using ForwarderRig rig = new();
        rig.Core.Up = false;
        rig.Receive(rig.Site, rig.FromClient(RoutingTests.Udp4()));
        rig.Core.Up = true;
        rig.Plane.RemovePort(rig.Core);
        rig.Receive(rig.Site, rig.FromClient(RoutingTests.Udp4()));
        rig.Receive(rig.Core, rig.FromPeA(RoutingTests.Udp4()));
        Assert.Equal((3L, 0L), (rig.Plane.Drops(DropReason.PortDown), rig.Plane.Ledger.Imbalance));

        // Its index is used again, by another port: an old decision must not send there.
        PortEntry next = rig.Plane.AddPort(new PortOptions("new", rig.Core.Mac, 1500), rig.HostDevice, rig.Vrf);
        Assert.Equal(rig.Core.Index, next.Index);
        rig.Core.Up = true;
        rig.Receive(rig.Site, rig.FromClient(RoutingTests.Udp4()));
        Assert.Equal((4L, 0), (rig.Plane.Drops(DropReason.PortDown), rig.HostDevice.SentCount));
    }

    private static byte[] Icmp(bool v6, bool reply, ushort id)
    {
        IpAddress from = v6 ? ForwarderRig.Client6 : ForwarderRig.Client4, to = v6 ? ForwarderRig.Loopback6 : ForwarderRig.Loopback4;
        return Frames.Ip(from, to, v6 ? IpProtocol.Icmpv6 : IpProtocol.Icmp,
            Frames.Icmp(IcmpHeader.Echo(from.Family, reply, id, 1), from, to, Frames.Bytes(32)));
    }
}
