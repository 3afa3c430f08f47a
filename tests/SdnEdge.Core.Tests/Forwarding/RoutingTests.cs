using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>A packet from port to port: what changes, what does not, and what is not forwarded.</summary>
public sealed class RoutingTests : IDisposable
{
    private readonly ForwarderRig _rig = new();

    public void Dispose() => _rig.Dispose();

    // Cloud providers number the ends of GRE tunnels so; --check took such addresses, and their packets were martians.
    [Fact]
    public void Link_local_addresses_of_ipv4_are_forwarded_where_the_vrf_has_a_route_to_some_and_only_there()
    {
        IpAddress near = IpAddress.Parse("169.254.10.1"), far = IpAddress.Parse("169.254.20.1");
        byte[] packet = Frames.Ip(near, far, IpProtocol.Udp, Frames.Bytes(20));
        _rig.Receive(_rig.Site, _rig.FromClient(packet));
        Assert.Equal(1, _rig.Plane.Drops(DropReason.Martian));
        var prefix = IpPrefix.Parse("169.254.20.0/30");
        _rig.Vrf.Set(prefix, new FibLeaf(new IndirectNextHop(ForwardingDecision.Via(_rig.PeB))));
        _rig.Receive(_rig.Site, _rig.FromClient(packet));
        Assert.Single(_rig.CoreDevice.Sent());
        _rig.Vrf.Remove(prefix);
        _rig.Receive(_rig.Site, _rig.FromClient(packet));
        Assert.Equal(2, _rig.Plane.Drops(DropReason.Martian));
    }

    [Fact]
    public void An_ipv4_packet_leaves_with_its_ttl_decremented_its_checksum_right_and_the_next_hops_mac()
    {
        byte[] ip = Udp4();
        _rig.Receive(_rig.Site, _rig.FromClient(ip));

        TestFrame sent = Assert.Single(_rig.CoreDevice.Sent());
        Assert.True(EthernetView.TryParse(sent.Bytes, out EthernetView ethernet));
        Assert.Equal(ForwarderRig.PeAMac, ethernet.Destination);
        Assert.Equal(_rig.Core.Mac, ethernet.Source);
        Assert.Equal(EtherType.Ipv4, ethernet.Type);
        Assert.Equal(Decremented(ip), sent.Bytes[14..]);
        Assert.Equal(0, _rig.Plane.Ledger.Imbalance);
        Assert.Equal(1, _rig.Core.TxPackets);
        Assert.Equal(1, _rig.Site.RxPackets);
    }

    [Fact]
    public void An_ipv6_packet_leaves_with_its_hop_limit_decremented()
    {
        byte[] ip = Frames.Ip(ForwarderRig.Client6, ForwarderRig.Server6, IpProtocol.Udp,
            Frames.Udp(ForwarderRig.Client6, ForwarderRig.Server6, 1000, 7, Frames.Bytes(30)));
        _rig.Receive(_rig.Site, _rig.FromClient(ip));

        TestFrame sent = Assert.Single(_rig.CoreDevice.Sent());
        ip[7]--;
        Assert.Equal(ip, sent.Bytes[14..]);
        Assert.Equal(EtherType.Ipv6, (sent.Bytes[12] << 8) | sent.Bytes[13]);
    }

    [Fact]
    public void Ethernet_padding_is_not_forwarded()
    {
        byte[] ip = Frames.Ip(ForwarderRig.Client4, ForwarderRig.Server4, IpProtocol.Udp,
            Frames.Udp(ForwarderRig.Client4, ForwarderRig.Server4, 1, 2, []));
        _rig.Receive(_rig.Site, _rig.FromClient([.. ip, .. new byte[18]]));
        Assert.Equal(14 + ip.Length, Assert.Single(_rig.CoreDevice.Sent()).Bytes.Length);
    }

    [Fact]
    public void The_longest_prefix_wins_and_a_change_of_a_hop_slot_moves_all_its_prefixes_at_once()
    {
        FibLeaf leaf = _rig.Route("10.1.0.0/16", ForwardingDecision.Via(_rig.PeB));
        _rig.Receive(_rig.Site, _rig.FromClient(Udp4()));
        Assert.Equal(ForwarderRig.PeBMac, MacAddress.Read(Assert.Single(_rig.CoreDevice.Sent()).Bytes));

        leaf.Hop.Current = ForwardingDecision.Via(_rig.PeA);
        _rig.Receive(_rig.Site, _rig.FromClient(Udp4()));
        Assert.Equal(ForwarderRig.PeAMac, MacAddress.Read(Assert.Single(_rig.CoreDevice.Sent()).Bytes));
    }

    [Fact]
    public void Arp_goes_to_the_control_loop_whole()
    {
        byte[] frame = Frames.Ethernet(EtherType.Arp, Frames.Bytes(28), to: MacAddress.Broadcast);
        _rig.Receive(_rig.Site, frame);
        Punted punt = Assert.Single(_rig.Punts.Take());
        Assert.Equal((PuntReason.Arp, _rig.Site.Index, 14), (punt.Info.Reason, punt.Info.Port, punt.Info.L3Offset));
        Assert.Equal(frame, punt.Frame);
        Assert.Equal(0, _rig.Plane.Ledger.Imbalance);
    }

    [Theory]
    [InlineData(0, true)]
    [InlineData(1, true)]
    [InlineData(2, false)]
    public void A_ttl_that_runs_out_here_is_dropped_and_told(byte ttl, bool dropped)
    {
        byte[] ip = Frames.Ip(ForwarderRig.Client4, ForwarderRig.Server4, IpProtocol.Udp, Frames.Bytes(8), ttl);
        _rig.Receive(_rig.Site, _rig.FromClient(ip));
        Assert.Equal(dropped ? 1 : 0, _rig.Plane.Drops(DropReason.TtlExpired));
        Assert.Equal(dropped ? 0 : 1, _rig.CoreDevice.SentCount);
        if (!dropped) return;
        Punted punt = Assert.Single(_rig.Punts.Take());
        Assert.Equal(PuntReason.TtlExpired, punt.Info.Reason);
        Assert.Equal(ip, punt.Frame[punt.Info.L3Offset..]); // as it came: what the error quotes
    }

    [Fact]
    public void Without_a_route_the_sender_is_told()
    {
        _rig.Vrf.Remove(IpPrefix.Parse("0.0.0.0/0"));
        _rig.Receive(_rig.Site, _rig.FromClient(Udp4()));
        Assert.Equal(1, _rig.Plane.Drops(DropReason.NoRoute));
        Assert.Equal(PuntReason.NoRoute, Assert.Single(_rig.Punts.Take()).Info.Reason);
    }

    [Fact]
    public void Frames_keep_their_order_on_each_port()
    {
        for (int i = 0; i < 300; i++) _rig.SiteDevice.Inject(_rig.FromClient(Udp4((ushort)i)));
        using PacketBatch batch = new();
        while (_rig.Site.Device.Receive(batch) > 0) _rig.Forwarder.Process(batch, _rig.Site.Index, _rig.Now);
        Assert.Equal(Enumerable.Range(0, 300), _rig.CoreDevice.Sent().Select(f => (f.Bytes[18] << 8) | f.Bytes[19]));
    }

    [Fact]
    public void What_the_device_refuses_is_counted()
    {
        _rig.CoreDevice.Accepts = 0;
        _rig.Receive(_rig.Site, _rig.FromClient(Udp4()));
        Assert.Equal(1, _rig.Plane.Drops(DropReason.TransmitFailed));
        Assert.Equal(0, _rig.Plane.Ledger.Imbalance);
    }

    internal static byte[] Udp4(ushort id = 1) => Frames.Ip(
        new Ipv4Header(ForwarderRig.Client4, ForwarderRig.Server4, IpProtocol.Udp, Identification: id),
        Frames.Udp(ForwarderRig.Client4, ForwarderRig.Server4, 4000, 7, Frames.Bytes(40)));

    // The slow way: parse, change, emit.
    internal static byte[] Decremented(byte[] ip, byte[]? options = null)
    {
        Assert.True(Ipv4View.TryParse(ip, out Ipv4View view));
        byte[] next = [.. ip];
        (view.Header with { Ttl = (byte)(view.Header.Ttl - 1) }).Emit(next, ip.Length - view.HeaderLength, options);
        return next;
    }
}
