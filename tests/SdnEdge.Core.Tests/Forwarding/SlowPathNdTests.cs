using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using Xunit;
using static SdnEdge.Core.Tests.Forwarding.SlowPathBench;

namespace SdnEdge.Core.Tests.Forwarding;

public class SlowPathNdTests
{
    private static readonly IpAddress LinkLocal = Ipv6Addresses.LinkLocal(DcMac);
    private readonly SlowPathBench _b = new();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_solicitation_for_our_global_or_link_local_address_is_answered(bool linkLocal)
    {
        IpAddress target = linkLocal ? LinkLocal : Gateway6;
        Assert.Equal(SlowPathVerdict.Answered, _b.Nd(Solicit(target, HostMac), Host6, Ipv6Addresses.SolicitedNode(target)));
        List<(SlowPathAction Action, byte[] Bytes)> actions = _b.Take();
        Assert.Equal((Host6, HostMac, NeighborState.Stale), (actions[0].Action.Address, actions[0].Action.Mac, actions[0].Action.State));
        IpPacketView ip = Parse(actions[1].Bytes, HostMac, out NdpView nd);
        Assert.Equal((target, Host6, (byte)255), (ip.Source, ip.Destination, ip.HopLimit));
        Assert.Equal(new NeighborMessage(Icmpv6Type.NeighborAdvertisement, target, DcMac,
            NeighborFlags.Router | NeighborFlags.Solicited | NeighborFlags.Override), nd.Neighbor);
    }

    // In a host's place: no router flag, and no override, so that what the host itself says counts more (RFC 4861 7.2.8).
    [Fact]
    public void For_a_host_that_is_elsewhere_the_router_answers_but_not_a_probe_for_its_address()
    {
        IpAddress asker = IpAddress.Parse("fd00:1:1::20");
        IpAddress group = Ipv6Addresses.SolicitedNode(Host6);
        var asks = new NeighborMessage(Icmpv6Type.NeighborSolicitation, Host6, OtherMac);
        Assert.Equal(SlowPathVerdict.Ignored, _b.Nd(asks, asker, group, OtherMac));
        _b.Elsewhere.Add(Host6);
        Assert.Equal(SlowPathVerdict.Answered, _b.Nd(asks, asker, group, OtherMac));
        byte[] frame = Assert.Single(_b.TakeFrames(Dc));
        Assert.True(IpPacketView.TryParse(frame.AsSpan(14), out IpPacketView ip) && NdpView.TryParse(ip.Payload, out NdpView nd)
            && nd.Target == Host6 && nd.TargetLinkLayer == DcMac && nd.Flags == NeighborFlags.Solicited && ip.Source.IsLinkLocal);
        Assert.Equal(SlowPathVerdict.Ignored, _b.Nd(new NeighborMessage(Icmpv6Type.NeighborSolicitation, Host6, null),
            IpAddress.Parse("::"), group, OtherMac));

        _b.SlowPath.Announce(Dc, Host6, HostMac, _b.Actions);
        frame = Assert.Single(_b.TakeFrames(Dc));
        Assert.True(IpPacketView.TryParse(frame.AsSpan(14), out ip) && NdpView.TryParse(ip.Payload, out nd)
            && nd.TargetLinkLayer == HostMac && nd.Flags == NeighborFlags.Override);
    }

    [Fact]
    public void Duplicate_address_detection_of_our_address_is_answered_to_all_nodes()
    {
        Assert.Equal(SlowPathVerdict.Answered,
            _b.Nd(Solicit(Gateway6, null), IpAddress.Parse("::"), Ipv6Addresses.SolicitedNode(Gateway6)));
        IpPacketView ip = Parse(Assert.Single(_b.TakeFrames(Dc)), MacAddress.Parse("33:33:00:00:00:01"), out NdpView nd);
        Assert.Equal(Ipv6Addresses.AllNodes, ip.Destination);
        Assert.Equal(NeighborFlags.Router | NeighborFlags.Override, nd.Flags);
        Assert.Empty(_b.SlowPath.Neighbors);
    }

    [Fact]
    public void A_solicitation_without_link_layer_address_is_answered_to_where_it_came_from()
    {
        Assert.Equal(SlowPathVerdict.Answered, _b.Nd(Solicit(Gateway6, null), Host6, Gateway6, from: OtherMac));
        Parse(Assert.Single(_b.TakeFrames(Dc)), OtherMac, out _);
    }

    [Theory]
    [InlineData(254)]
    [InlineData(64)]
    [InlineData(0)]
    public void What_came_over_a_router_is_refused(byte hopLimit)
        => Assert.Equal(SlowPathVerdict.BadHopLimit, _b.Nd(Solicit(Gateway6, HostMac), Host6, Gateway6, hopLimit: hopLimit));

    [Fact]
    public void A_wrong_checksum_is_refused()
    {
        byte[] icmp = Frames.Neighbor(Solicit(Gateway6, HostMac), Host6, Gateway6);
        icmp[2] ^= 1;
        byte[] frame = Frames.Ethernet(EtherType.Ipv6, Frames.Ip(Host6, Gateway6, IpProtocol.Icmpv6, icmp, 255));
        Assert.Equal(SlowPathVerdict.BadChecksum, _b.SlowPath.NeighborDiscovery(Dc, frame, 14, _b.Now, _b.Actions));
        Assert.Empty(_b.Take());
    }

    [Fact]
    public void Solicitations_for_others_and_malformed_probes_are_not_answered()
    {
        Assert.Equal(SlowPathVerdict.Ignored,
            _b.Nd(Solicit(Host6, OtherMac), IpAddress.Parse("fd00:1:1::99"), Ipv6Addresses.SolicitedNode(Host6)));
        Assert.Equal(SlowPathVerdict.Malformed,
            _b.Nd(Solicit(Gateway6, HostMac), IpAddress.Parse("::"), Ipv6Addresses.SolicitedNode(Gateway6)));
        Assert.Equal(SlowPathVerdict.Malformed, _b.Nd(Solicit(Gateway6, null), IpAddress.Parse("::"), Gateway6));
        Assert.Equal(SlowPathVerdict.AddressConflict, _b.Nd(Solicit(Gateway6, HostMac), Gateway6, Ipv6Addresses.SolicitedNode(Gateway6)));
        Assert.Empty(_b.Take());
    }

    [Fact]
    public void Redirects_and_router_advertisements_are_ignored()
    {
        Assert.Equal(SlowPathVerdict.Ignored,
            _b.Nd(new NeighborMessage(Icmpv6Type.Redirect, Host6, HostMac, Destination: Client6), Host6, Gateway6));
        Assert.Empty(_b.Take());
    }

    [Fact]
    public void An_unresolved_neighbour_is_solicited_at_its_multicast_group_and_a_solicited_answer_makes_it_reachable()
    {
        _b.SlowPath.Resolve(Dc, Host6, _b.Now, _b.Actions);
        IpPacketView ip = Parse(Assert.Single(_b.TakeFrames(Dc)), MacAddress.Parse("33:33:ff:00:00:10"), out NdpView nd);
        Assert.Equal((Gateway6, Ipv6Addresses.SolicitedNode(Host6), (byte)255), (ip.Source, ip.Destination, ip.HopLimit));
        Assert.Equal(Solicit(Host6, DcMac), nd.Neighbor);

        Assert.Equal(SlowPathVerdict.Noted,
            _b.Nd(Advertise(Host6, HostMac, NeighborFlags.Solicited | NeighborFlags.Override), Host6, Gateway6));
        Assert.Equal((HostMac, NeighborState.Reachable), (_b.Find(Host6)!.Value.Mac, _b.StateOf(Host6)));
    }

    [Fact]
    public void A_link_local_neighbour_is_solicited_from_our_link_local_address()
    {
        _b.SlowPath.Resolve(Dc, IpAddress.Parse("fe80::9"), _b.Now, _b.Actions);
        IpPacketView ip = Parse(Assert.Single(_b.TakeFrames(Dc)), MacAddress.Parse("33:33:ff:00:00:09"), out _);
        Assert.Equal(LinkLocal, ip.Source);
    }

    [Fact]
    public void The_rules_for_advertisements_about_a_known_neighbour()
    {
        Reachable();
        // Override clear, another address: not believed, but doubted.
        _b.Nd(Advertise(Host6, OtherMac, NeighborFlags.None), Host6, Gateway6);
        Assert.Equal((HostMac, NeighborState.Stale), (_b.Find(Host6)!.Value.Mac, _b.StateOf(Host6)));
        // Again, not reachable any more: no effect.
        _b.Take();
        _b.Nd(Advertise(Host6, OtherMac, NeighborFlags.Solicited), Host6, Gateway6);
        Assert.Empty(_b.Take());
        // Solicited with the known address: confirmed.
        _b.Nd(Advertise(Host6, null, NeighborFlags.Solicited), Host6, Gateway6);
        Assert.Equal(NeighborState.Reachable, _b.StateOf(Host6));
        // Override, unsolicited, another address: moved, to be confirmed. This is what a moved server sends.
        _b.Nd(Advertise(Host6, OtherMac, NeighborFlags.Override), Host6, Ipv6Addresses.AllNodes);
        Assert.Equal((OtherMac, NeighborState.Stale), (_b.Find(Host6)!.Value.Mac, _b.StateOf(Host6)));
        // Solicited to a multicast group contradicts itself.
        Assert.Equal(SlowPathVerdict.Malformed, _b.Nd(Advertise(Host6, HostMac, NeighborFlags.Solicited), Host6, Ipv6Addresses.AllNodes));
    }

    [Fact]
    public void An_advertisement_creates_no_neighbour_and_without_address_resolves_none()
    {
        Assert.Equal(SlowPathVerdict.Ignored, _b.Nd(Advertise(Host6, HostMac, NeighborFlags.Override), Host6, Ipv6Addresses.AllNodes));
        Assert.Empty(_b.SlowPath.Neighbors);
        _b.SlowPath.Resolve(Dc, Host6, _b.Now, _b.Actions);
        Assert.Equal(SlowPathVerdict.Ignored, _b.Nd(Advertise(Host6, null, NeighborFlags.Solicited), Host6, Gateway6));
        Assert.Equal(NeighborState.Incomplete, _b.StateOf(Host6));
    }

    [Fact]
    public void Ageing_probes_by_unicast()
    {
        Reachable();
        _b.Take();
        _b.SlowPath.Poll(_b.Now = _b.SlowPath.NextDeadline, _b.Actions);
        IpPacketView ip = Parse(Assert.Single(_b.TakeFrames(Dc)), HostMac, out NdpView nd);
        Assert.Equal((Host6, Icmpv6Type.NeighborSolicitation), (ip.Destination, nd.Type));
    }

    private void Reachable()
    {
        _b.SlowPath.Resolve(Dc, Host6, _b.Now, _b.Actions);
        _b.Nd(Advertise(Host6, HostMac, NeighborFlags.Solicited | NeighborFlags.Override), Host6, Gateway6);
        Assert.Equal(NeighborState.Reachable, _b.StateOf(Host6));
    }

    private static NeighborMessage Solicit(IpAddress target, MacAddress? mac) => new(Icmpv6Type.NeighborSolicitation, target, mac);

    private static NeighborMessage Advertise(IpAddress target, MacAddress? mac, NeighborFlags flags)
        => new(Icmpv6Type.NeighborAdvertisement, target, mac, flags);

    private static IpPacketView Parse(byte[] bytes, MacAddress to, out NdpView nd)
    {
        Assert.True(EthernetView.TryParse(bytes, out EthernetView frame));
        Assert.Equal((to, DcMac), (frame.Destination, frame.Source));
        Assert.True(IpPacketView.TryParse(frame.Payload, out IpPacketView ip));
        Assert.True(IcmpView.TryParse(ip.Payload, out IcmpView icmp) && icmp.ChecksumIsValid(ip.Source, ip.Destination));
        Assert.True(NdpView.TryParse(ip.Payload, out nd));
        return ip;
    }
}
