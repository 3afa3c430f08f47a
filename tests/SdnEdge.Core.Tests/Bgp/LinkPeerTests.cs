using SdnEdge.Core.Bgp;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;
using static SdnEdge.Core.Tests.Bgp.LinkSession;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>Next hops to and from a peer on a link of ours. Before, a peer was told our loopback, which it cannot reach, whatever link it
/// was on; a link-local next hop was never usable, and IPv4 by an IPv6 next hop cost the session.</summary>
public sealed class LinkPeerTests
{
    private static readonly IpPrefix Server4 = IpPrefix.Parse("10.1.1.0/24"), Server6 = IpPrefix.Parse("fd00:1:1::/64");

    [Theory]
    [InlineData("172.16.0.9", 65009u, "172.16.0.1", "fd00:16::1 fe80::1")]
    [InlineData("fd00:16::9", 65009u, "172.16.0.1", "fd00:16::1 fe80::1")]
    [InlineData("172.16.0.9", 65000u, "172.16.0.1", "fd00:16::1 fe80::1")]
    [InlineData("fe80::9", 65009u, "172.16.0.1", "fd00:16::1 fe80::1")]
    public void The_next_hop_told_is_ours_on_the_peers_link_with_the_link_local_one_beside_a_global_one(string peer, uint peerAs, string v4,
        string v6)
    {
        var session = new LinkSession(Settings(peer, peerAs));
        session.Engine.Advertise(Server4, 100);
        session.Engine.Advertise(Server6, 100);
        session.Establish();
        Assert.Equal([$"{Server4} {v4}", $"{Server6} {v6}"], session.Told().Order());
    }

    [Fact]
    public void A_peer_of_any_AS_but_ours_has_the_one_of_its_OPEN_and_its_routes_begin_with_that()
    {
        var session = new LinkSession(Settings("fe80::9", 0) with { Import = RoutePolicy.All });
        Assert.Equal(0u, session.Peer.As);
        session.Establish(o => o with { As = 65009 });
        Assert.Equal((65009u, true), (session.Peer.As, session.Peer.External));
        Assert.Equal(65009u, session.Peer.ToInfo(0).PeerAs);
        session.Say("40010100 400206 0201 0000FDF1 400304 AC100009", "180A0900");
        Assert.NotNull(session.Rib.Best(IpPrefix.Parse("10.9.0.0/24")));
        session.Say("40010100 400206 0201 0000FDF2 400304 AC100009", "180A0901"); // 65010 in front
        Assert.Null(session.Rib.Best(IpPrefix.Parse("10.9.1.0/24")));

        // Ours is none: iBGP is another thing.
        var ours = new LinkSession(Settings("fe80::9", 0));
        OpenMessage open = ours.Offered() with { As = 65000, RouterId = 0x0AFF_0009 };
        byte[] message = new byte[BgpLimits.MaxMessage];
        ours.Hear(message.AsSpan(0, open.Write(message)));
        Assert.StartsWith("0202", Assert.Single(ours.Notifications), StringComparison.Ordinal);
    }

    [Fact]
    public void A_peer_that_is_reached_by_routes_is_told_the_loopback()
    {
        var session = new LinkSession(Settings("172.16.0.9", 65009) with { Link = null, Local = IpAddress.Parse("10.255.0.1") });
        session.Engine.Advertise(Server4, 100);
        session.Engine.Advertise(Server6, 100);
        session.Establish();
        Assert.Equal([$"{Server4} 10.255.0.1", $"{Server6} fd00:ff::1"], session.Told().Order());
    }

    [Fact]
    public void A_link_without_addresses_of_its_own_is_told_its_link_local_one_and_IPv4_by_it_where_both_can()
    {
        BgpPeerSettings bare = Settings("fe80::9", 65009) with { Link = new BgpLink("core", [], LinkLocal) };
        foreach (bool extended in (bool[])[true, false])
        {
            var session = new LinkSession(bare);
            session.Engine.Advertise(Server4, 100);
            session.Engine.Advertise(Server6, 100);
            session.Establish(o => o with { ExtendedNextHop = extended });
            Assert.Equal(extended ? [$"{Server4} fe80::1", $"{Server6} fe80::1"] : [$"{Server6} fe80::1"], session.Told().Order());
            Assert.Equal(extended, session.Peer.Negotiated!.ExtendedNextHop);
        }
    }

    [Fact]
    public void What_a_link_has_no_address_for_is_told_with_the_loopback_over_iBGP_and_multihop_and_not_to_a_CE()
    {
        var link = new BgpLink("core", [new PortAddress(IpAddress.Parse("172.16.0.1"), 24)], LinkLocal);
        foreach ((BgpPeerSettings settings, bool told) in ((BgpPeerSettings, bool)[])[(Settings("172.16.0.9", 65000), true),
            (Settings("172.16.0.9", 65009) with { Ttl = 3 }, true), (Settings("172.16.0.9", 65009), false)])
        {
            var session = new LinkSession(settings with { Link = link });
            session.Engine.Advertise(Server6, 100);
            session.Establish();
            Assert.Equal(told ? [$"{Server6} fd00:ff::1"] : [], session.Told());
        }
    }

    [Fact]
    public void IPv4_by_an_IPv6_next_hop_is_offered_to_peers_on_IPv6_links_only()
    {
        Assert.True(new LinkSession(Settings("fe80::9", 65009)).Offered().ExtendedNextHop);
        Assert.True(new LinkSession(Settings("fd00:16::9", 65009)).Offered().ExtendedNextHop);
        Assert.False(new LinkSession(Settings("172.16.0.9", 65009)).Offered().ExtendedNextHop);
        Assert.False(new LinkSession(Settings("fd00:16::9", 65009) with { Link = null }).Offered().ExtendedNextHop);
    }

    // MP_REACH_NLRI of IPv4 unicast: next hop length and next hop.
    [Theory]
    [InlineData("10 FE800000000000000000000000000009", "via fe80::9 port core")]
    [InlineData("10 FD000016000000000000000000000009", "via fd00:16::9")]
    [InlineData("20 FD000016000000000000000000000009 FE800000000000000000000000000009", "via fd00:16::9")]
    [InlineData("20 00000000000000000000000000000000 FE800000000000000000000000000009", "via fe80::9 port core")]
    [InlineData("20 FE800000000000000000000000000009 FE800000000000000000000000000009", "via fe80::9 port core")]
    public void An_IPv6_next_hop_of_an_IPv4_route_is_used_on_the_peers_link(string hop, string used)
    {
        var session = new LinkSession(Settings("fe80::9", 65009));
        session.Establish(o => o with { ExtendedNextHop = true });
        int length = 5 + Convert.FromHexString(hop.Replace(" ", "", StringComparison.Ordinal)).Length - 1 + 4;
        session.Say($"{UpdateBytes.Origin} 40 02 06 02 01 0000FDF1 80 0E {length:X2} 0001 01 {hop} 00 18 0A0101", "");
        RouteView route = session.Rib.Best(Server4)!.Value;
        Assert.Equal(used, route.Hop.Spec.ToString());
        Assert.True(route.Best);
        Assert.Empty(session.Peer.Faults.Seen());
    }

    [Fact]
    public void The_same_over_a_session_that_has_not_agreed_on_it_ends_the_session()
    {
        var session = new LinkSession(Settings("fe80::9", 65009));
        session.Establish(o => o with { ExtendedNextHop = false });
        session.Say($"{UpdateBytes.Origin} 40 02 06 02 01 0000FDF1 80 0E 19 0001 01 10 FE800000000000000000000000000009 00 18 0A0101", "");
        Assert.Equal(1, session.Peer.Faults[BgpFault.MpReachSyntax]);
        Assert.NotEqual(BgpState.Established, session.Peer.State);
    }

    [Theory]
    [InlineData("AC100009", BgpFault.None)]
    [InlineData("AC100007", BgpFault.None)] // a third party on the link
    [InlineData("AC100001", BgpFault.NextHopOurs)]
    [InlineData("0AFF0001", BgpFault.NextHopOurs)]
    [InlineData("0A070707", BgpFault.NextHopOffLink)]
    public void Over_eBGP_a_next_hop_is_on_the_link_and_not_ours_or_the_route_is_withdrawn_and_the_session_stays(string hop, BgpFault fault)
    {
        var session = new LinkSession(Settings("172.16.0.9", 65009));
        session.Establish();
        session.Say($"{UpdateBytes.Origin} 40 02 06 02 01 0000FDF1 40 03 04 {hop}", UpdateBytes.Nlri);
        Assert.Equal(fault == BgpFault.None, session.Rib.Best(Server4) is not null);
        if (fault != BgpFault.None) Assert.Equal(1, session.Peer.Faults[fault]);
        Assert.Equal(BgpState.Established, session.Peer.State);
    }

    [Fact]
    public void With_multihop_or_over_iBGP_a_next_hop_may_be_anywhere()
    {
        foreach (BgpPeerSettings settings in (BgpPeerSettings[])[Settings("172.16.0.9", 65009) with { Ttl = 4 },
            Settings("172.16.0.9", 65000)])
        {
            var session = new LinkSession(settings);
            session.Establish();
            string path = settings.PeerAs == 65000 ? UpdateBytes.EmptyPath + UpdateBytes.LocalPref : "40 02 06 02 01 0000FDF1";
            session.Say($"{UpdateBytes.Origin} {path} 40 03 04 0A070707", UpdateBytes.Nlri);
            Assert.Empty(session.Peer.Faults.Seen());
            Assert.Equal(1, session.Peer.Origin.Prefixes);
        }
    }

    [Theory]
    [InlineData("AC100007", false, "172.16.0.7")] // RFC 4271 5.1.3: a third party on the link of both
    [InlineData("AC100008", false, "172.16.0.1")] // the peer itself: never its own address
    [InlineData("AC100007", true, "172.16.0.1")] // nextHopSelf
    public void A_third_partys_next_hop_is_kept_towards_a_peer_on_the_same_link(string hop, bool self, string told)
    {
        var session = new LinkSession(Settings("172.16.0.9", 65009));
        session.Establish();
        session.Say($"{UpdateBytes.Origin} 40 02 06 02 01 0000FDF1 40 03 04 {hop}", UpdateBytes.Nlri);
        var other = new LinkSession(Settings("172.16.0.8", 65008) with { NextHopSelf = self }, session);
        other.Establish();
        Assert.Equal([$"{Server4} {told}"], other.Told());
    }

    [Fact]
    public void A_route_of_another_link_is_told_with_our_own_next_hop()
    {
        var session = new LinkSession(Settings("172.16.0.9", 65009));
        session.Establish();
        session.Say($"{UpdateBytes.Origin} 40 02 06 02 01 0000FDF1 40 03 04 AC100009", UpdateBytes.Nlri);
        var other = new LinkSession(new BgpPeerSettings(IpAddress.Parse("10.1.0.9"), 65010)
        {
            Passive = true,
            Import = PrefixList.All,
            Export = PrefixList.All,
            Local = IpAddress.Parse("10.1.0.1"),
            Link = new BgpLink("dc", [new PortAddress(IpAddress.Parse("10.1.0.1"), 24)], LinkLocal),
        }, session);
        other.Establish();
        Assert.Equal([$"{Server4} 10.1.0.1"], other.Told());
    }

    [Fact]
    public void Two_peers_with_the_same_link_local_address_on_two_links_are_two_sessions()
    {
        var session = new LinkSession(Settings("fe80::9", 65009));
        BgpPeer other = session.Engine.AddPeer(Settings("fe80::9", 65010) with { Link = new BgpLink("dc", [], LinkLocal) }, 0);
        Assert.Same(session.Peer, session.Engine.Find(new BgpPeerKey(IpAddress.Parse("fe80::9"), "core")));
        Assert.Same(other, session.Engine.Find(new BgpPeerKey(IpAddress.Parse("fe80::9"), "dc")));
        Assert.Null(session.Engine.Find(IpAddress.Parse("fe80::9")));
        Assert.True(session.Engine.RemovePeer(new BgpPeerKey(IpAddress.Parse("fe80::9"), "dc"), 0));
        Assert.Equal("fe80::9%core", Assert.Single(session.Engine.Peers).ToString());
        Assert.Equal("bgp fe80::9%core", session.Peer.Origin.Name);
    }

    /// <summary>Before, a route server's routes were withdrawn for as-path-first, the very thing that its role says.</summary>
    [Theory]
    [InlineData(BgpRole.RouteServerClient, BgpFault.None)]
    [InlineData(BgpRole.None, BgpFault.AsPathFirst)]
    public void A_route_servers_path_begins_with_the_AS_behind_it(BgpRole role, BgpFault fault)
    {
        var session = new LinkSession(Settings("172.16.0.9", 65009) with { Role = role });
        session.Establish(o => o with { Role = role == BgpRole.None ? BgpRole.None : BgpRole.RouteServer });
        session.Say($"{UpdateBytes.Origin} 40 02 06 02 01 0000FDF7 40 03 04 AC100007", UpdateBytes.Nlri);
        Assert.Equal(fault == BgpFault.None ? [] : [fault], session.Peer.Faults.Seen().Select(f => f.Key));
        Assert.Equal(fault == BgpFault.None, session.Rib.Best(Server4) is not null);
    }

    private static BgpPeerSettings Settings(string peer, uint peerAs)
    {
        IpAddress address = IpAddress.Parse(peer);
        return new BgpPeerSettings(address, peerAs)
        {
            Passive = true,
            Import = PrefixList.All,
            Export = PrefixList.All,
            Link = OnCore,
            Local = address.IsLinkLocal && address.IsV6 ? LinkLocal : IpAddress.Parse(address.IsV4 ? "172.16.0.1" : "fd00:16::1"),
        };
    }
}
