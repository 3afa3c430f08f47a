using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Rib;

public sealed class LocRibTests
{
    private readonly LocRib _rib = new("default");
    private readonly AttributeTable _table = new();
    private readonly AttributeBuilder _builder = new();
    private readonly RouteOrigin _connected = new(RouteSource.Connected, "connected");
    private readonly RouteOrigin _static = new(RouteSource.Static, "static");
    private readonly RouteOrigin _redirect = new(RouteSource.Redirect, "migration m1");
    private readonly RouteOrigin _peerA = new(IpAddress.Parse("10.255.0.1"), 65000, external: false) { PeerRouterId = 1 };
    private readonly RouteOrigin _peerB = new(IpAddress.Parse("10.255.0.2"), 65000, external: false) { PeerRouterId = 2 };
    private readonly IpPrefix _server = IpPrefix.Parse("10.1.1.10/32");

    [Fact]
    public void A_BGP_next_hop_on_a_loopback_resolves_through_a_static_route_to_a_connected_neighbour()
    {
        OfferCore();
        _rib.Offer(_peerA, _server, HopSpec.Via(IpAddress.Parse("10.255.0.1")), Attributes(100), now: 5);

        RouteView best = _rib.Best(_server)!.Value;
        Assert.Equal(new ResolvedHop(HopKind.Via, "core", IpAddress.Parse("172.16.0.1")), best.Hop.Resolved);
        Assert.Equal(IpPrefix.Parse("10.255.0.1/32"), best.Hop.ResolvedThrough);
        Assert.Equal(5, best.InstalledAtNs);
    }

    [Fact]
    public void The_best_covering_route_is_that_of_the_longest_prefix_redirects_aside()
    {
        OfferCore();
        Assert.Null(_rib.BestCovering(_server));
        foreach (string prefix in (string[])["0.0.0.0/0", "10.1.1.0/24", "10.1.1.8/29", "10.1.1.10/32"])
        {
            _rib.Offer(_static, IpPrefix.Parse(prefix), HopSpec.Connected("dc"), null, 1);
            Assert.Equal(prefix, _rib.BestCovering(_server)!.Value.Prefix.ToString());
        }

        _rib.Offer(_redirect, _server, HopSpec.Group("m1"), null, 2);
        Assert.Same(_static, _rib.BestCovering(_server)!.Value.Origin);
        _rib.Withdraw(_static, _server, 3);
        Assert.Equal("10.1.1.8/29", _rib.BestCovering(_server)!.Value.Prefix.ToString());
    }

    /// <summary>Before, the route of the next AS stayed the best one: who was struck out by its MED was not looked at again.</summary>
    [Fact]
    public void A_route_that_goes_may_have_struck_out_the_best_one_by_its_MED()
    {
        OfferCore();
        (uint Id, uint NeighborAs, uint Med)[] routes = [(1, 65001, 10), (9, 65001, 0), (5, 65002, 0)];
        RouteOrigin[] peers = [.. routes.Select(r =>
            new RouteOrigin(IpAddress.FromV4(r.Id), 65000, external: false) { PeerRouterId = r.Id })];
        for (int i = 0; i < routes.Length; i++)
            _rib.Offer(peers[i], _server, HopSpec.Via(_peerA.Peer), External(routes[i].NeighborAs, routes[i].Med), 1);

        Assert.Same(peers[2], _rib.Best(_server)!.Value.Origin);
        _rib.Withdraw(peers[1], _server, 2);
        Assert.Same(peers[0], _rib.Best(_server)!.Value.Origin);
    }

    [Fact]
    public void The_higher_local_preference_wins_and_the_loser_knows_why()
    {
        OfferCore();
        _rib.Offer(_peerA, _server, HopSpec.Via(_peerA.Peer), Attributes(100), 1);
        _rib.Offer(_peerB, _server, HopSpec.Via(_peerB.Peer), Attributes(200), 2);

        Assert.Same(_peerB, _rib.Best(_server)!.Value.Origin);
        RouteView loser = Assert.Single(_rib.Explain(_server), r => !r.Best);
        Assert.Equal(RejectReason.LocalPref, loser.WhyNot);

        _rib.Withdraw(_peerB, _server, 3);
        Assert.Same(_peerA, _rib.Best(_server)!.Value.Origin);
    }

    [Fact]
    public void A_change_of_the_covering_route_is_one_change_whatever_the_number_of_prefixes()
    {
        OfferCore();
        for (int i = 0; i < 500; i++) _rib.Offer(_peerA, Nth(i), HopSpec.Via(_peerA.Peer), Attributes(100), 1);
        Changes();

        _rib.Offer(_static, IpPrefix.Host(_peerA.Peer), HopSpec.Via(IpAddress.Parse("172.16.0.9")), null, 2);

        RibChange[] changes = Changes().Where(c => c.Prefix.Family != IpFamily.V4 || c.Prefix.Address.V4 >> 24 == 20).ToArray();
        RibChange only = Assert.Single(changes);
        Assert.Equal("172.16.0.9", only.ChangedHop!.Resolved.Address.ToString());
        Assert.Equal(500, only.ChangedHop.Users);
    }

    [Fact]
    public void When_the_next_hop_loses_its_route_the_hop_changes_first_and_then_each_prefix_falls_back()
    {
        OfferCore();
        for (int i = 0; i < 10; i++)
        {
            _rib.Offer(_peerA, Nth(i), HopSpec.Via(_peerA.Peer), Attributes(200), 1);
            _rib.Offer(_peerB, Nth(i), HopSpec.Via(_peerB.Peer), Attributes(100), 1);
        }

        Changes();
        _rib.Withdraw(_static, IpPrefix.Host(_peerA.Peer), 2);

        RibChange[] changes = Changes();
        Assert.Equal(IpPrefix.Host(_peerA.Peer), changes[0].Prefix);
        Assert.False(changes[1].ChangedHop!.Resolved.IsUsable);
        Assert.Equal(12, changes.Length);
        Assert.All(changes.Skip(2), c => Assert.Same(_peerB, c.Origin));
        Assert.Equal(RejectReason.UnresolvedNextHop, _rib.Explain(Nth(0)).Single(r => r.Origin == _peerA).WhyNot);

        _rib.Offer(_static, IpPrefix.Host(_peerA.Peer), HopSpec.Via(IpAddress.Parse("172.16.0.1")), null, 3);
        Assert.Same(_peerA, _rib.Best(Nth(0))!.Value.Origin);
    }

    [Fact]
    public void A_redirect_lies_over_the_native_route_and_taking_it_away_restores_what_BGP_says_by_then()
    {
        OfferCore();
        _rib.Offer(_peerA, _server, HopSpec.Via(_peerA.Peer), Attributes(100), 1);
        _rib.Offer(_redirect, _server, HopSpec.Group("m1"), null, 2);
        RibChange over = Changes()[^1];
        Assert.Equal("m1", over.Redirect!.Spec.GroupName);
        Assert.Equal(_peerA.Peer, over.Native!.Spec.Address);

        _rib.Withdraw(_peerA, _server, 3);
        _rib.Offer(_peerB, _server, HopSpec.Via(_peerB.Peer), Attributes(200), 4);
        Assert.NotNull(Changes()[^1].Redirect);

        _rib.Withdraw(_redirect, _server, 5);
        RibChange restored = Assert.Single(Changes());
        Assert.Null(restored.Redirect);
        Assert.Equal(_peerB.Peer, restored.Native!.Spec.Address);
    }

    [Fact]
    public void Connected_beats_static_beats_BGP()
    {
        OfferCore();
        _rib.Offer(_peerA, _server, HopSpec.Via(_peerA.Peer), Attributes(900), 1);
        _rib.Offer(_static, _server, HopSpec.Via(IpAddress.Parse("172.16.0.7")), null, 1);
        _rib.Offer(_connected, _server, HopSpec.Connected("dc"), null, 1);
        Assert.Equal([RouteSource.Connected], _rib.Explain(_server).Where(r => r.Best).Select(r => r.Origin.Source));
        _rib.Withdraw(_connected, _server, 2);
        Assert.Equal(RouteSource.Static, _rib.Best(_server)!.Value.Origin.Source);
        _rib.Withdraw(_static, _server, 2);
        Assert.Equal(RouteSource.Bgp, _rib.Best(_server)!.Value.Origin.Source);
    }

    [Fact]
    public void Routes_that_resolve_each_other_in_a_circle_stay_unresolved()
    {
        _rib.Offer(_static, IpPrefix.Parse("10.1.0.0/16"), HopSpec.Via(IpAddress.Parse("10.2.0.1")), null, 1);
        _rib.Offer(_static, IpPrefix.Parse("10.2.0.0/16"), HopSpec.Via(IpAddress.Parse("10.1.0.1")), null, 1);
        _rib.Offer(_static, IpPrefix.Parse("10.3.0.0/16"), HopSpec.Via(IpAddress.Parse("10.3.0.1")), null, 1);
        Assert.All(_rib.All(), r => Assert.Equal(RejectReason.UnresolvedNextHop, r.WhyNot));

        // A connected route into the circle resolves the rest of it.
        _rib.Offer(_connected, IpPrefix.Parse("10.2.0.0/24"), HopSpec.Connected("core"), null, 2);
        Assert.NotNull(_rib.Best(IpPrefix.Parse("10.1.0.0/16")));
        Assert.NotNull(_rib.Best(IpPrefix.Parse("10.2.0.0/16")));
        Assert.Null(_rib.Best(IpPrefix.Parse("10.3.0.0/16")));
        Assert.Equal(0, _rib.UnsettledNextHops);
    }

    [Fact]
    public void A_next_hop_that_never_settles_is_left_unresolved_until_the_cause_is_gone_and_others_are_not_touched()
    {
        // The link's route resolves the next hop, so that the migrated one is better; that one covers its own next hop, so it resolves
        // nothing.
        var migrated = new RouteOrigin(RouteSource.Migration, "migration");
        IpPrefix link = IpPrefix.Parse("10.4.0.0/24"), behind = IpPrefix.Parse("20.0.0.0/8"), beside = IpPrefix.Parse("30.0.0.0/8");
        HopSpec flapping = HopSpec.Via(IpAddress.Parse("10.4.0.4")), steady = HopSpec.Via(IpAddress.Parse("10.4.0.5"));
        for (int round = 1; round <= 3; round++)
        {
            _rib.Offer(_static, behind, flapping, null, 1);
            _rib.Offer(_static, beside, steady, null, 1);
            _rib.Offer(migrated, link, flapping, null, 1);
            _rib.Offer(_connected, link, HopSpec.Connected("core"), null, 1);
            Assert.Equal(round, _rib.UnsettledNextHops);
            Assert.DoesNotContain(_rib.NextHops, h => h.Queued);
            Assert.Equal(RejectReason.UnresolvedNextHop, Assert.Single(_rib.Explain(behind)).WhyNot);
            Assert.Equal(HopKind.Via, _rib.Best(beside)!.Value.Hop.Resolved.Kind);
            Assert.Equal(RouteSource.Connected, _rib.Best(link)!.Value.Origin.Source);

            _rib.Withdraw(migrated, link, 2);
            _rib.Withdraw(_connected, link, 2);
            Assert.Null(_rib.Best(beside));
            _rib.Offer(_connected, link, HopSpec.Connected("core"), null, 3);
            Assert.Equal(HopKind.Via, _rib.Best(behind)!.Value.Hop.Resolved.Kind);
            Assert.Equal(HopKind.Via, _rib.Best(beside)!.Value.Hop.Resolved.Kind);
            _rib.Withdraw(_connected, link, 4);
        }
    }

    [Fact]
    public void A_default_route_resolves_a_next_hop_only_where_that_is_asked_for()
    {
        foreach (bool allowed in new[] { false, true })
        {
            var rib = new LocRib("default", resolveByDefault: allowed);
            rib.Offer(_static, IpPrefix.Parse("0.0.0.0/0"), HopSpec.Via(IpAddress.Parse("172.16.0.1"), "core"), null, 1);
            rib.Offer(_peerA, _server, HopSpec.Via(_peerA.Peer), Attributes(100), 1);
            Assert.Equal(allowed, rib.Best(_server) is not null);
        }
    }

    [Fact]
    public void The_same_offer_again_changes_nothing()
    {
        OfferCore();
        Assert.True(_rib.Offer(_peerA, _server, HopSpec.Via(_peerA.Peer), Attributes(100), 1));
        Changes();
        Assert.False(_rib.Offer(_peerA, _server, HopSpec.Via(_peerA.Peer), Attributes(100), 2));
        Assert.Empty(Changes());
        Assert.Equal(1, _rib.Best(_server)!.Value.InstalledAtNs);
    }

    [Fact]
    public void Withdrawing_all_of_a_peer_leaves_the_others_and_frees_the_next_hop()
    {
        OfferCore();
        for (int i = 0; i < 100; i++)
        {
            _rib.Offer(_peerA, Nth(i), HopSpec.Via(_peerA.Peer), Attributes(100), 1);
            if (i % 2 == 0) _rib.Offer(_peerB, Nth(i), HopSpec.Via(_peerB.Peer), Attributes(100), 1);
        }

        Assert.Equal(100, _peerA.Prefixes);
        Assert.Equal(100, _rib.WithdrawAll(_peerA, 2));
        Assert.Equal(0, _peerA.Prefixes);
        Assert.Equal(50, _rib.BestRoutes().Count(r => r.Origin == _peerB));
        Assert.DoesNotContain(_rib.NextHops, h => h.Spec.Address == _peerA.Peer);
    }

    [Fact]
    public void Stale_routes_stay_until_swept_and_an_offer_makes_them_fresh()
    {
        OfferCore();
        for (int i = 0; i < 10; i++) _rib.Offer(_peerA, Nth(i), HopSpec.Via(_peerA.Peer), Attributes(100), 1);
        Assert.Equal(10, _rib.MarkStale(_peerA));
        Assert.NotNull(_rib.Best(Nth(9)));
        _rib.Offer(_peerA, Nth(3), HopSpec.Via(_peerA.Peer), Attributes(100), 2);
        Assert.Equal(9, _rib.WithdrawStale(_peerA, 3));
        Assert.NotNull(_rib.Best(Nth(3)));
        Assert.Null(_rib.Best(Nth(4)));
    }

    [Fact]
    public void MED_is_compared_inside_one_neighbouring_AS_only()
    {
        OfferCore();
        var x = new RouteOrigin(IpAddress.Parse("192.0.2.1"), 65001, external: true) { PeerRouterId = 3 };
        var y = new RouteOrigin(IpAddress.Parse("192.0.2.2"), 65001, external: true) { PeerRouterId = 1 };
        var z = new RouteOrigin(IpAddress.Parse("192.0.2.3"), 65002, external: true) { PeerRouterId = 2 };
        HopSpec hop = HopSpec.Via(IpAddress.Parse("172.16.0.1"));
        _rib.Offer(x, _server, hop, External(65001, med: 10), 1);
        _rib.Offer(y, _server, hop, External(65001, med: 20), 1);
        _rib.Offer(z, _server, hop, External(65002, med: 90), 1);

        IReadOnlyList<RouteView> routes = _rib.Explain(_server);
        Assert.Equal(RejectReason.Med, routes.Single(r => r.Origin == y).WhyNot);
        Assert.Equal(RejectReason.RouterId, routes.Single(r => r.Origin == x).WhyNot);
        Assert.Same(z, _rib.Best(_server)!.Value.Origin);
    }

    private static IpPrefix Nth(int i) => new(IpAddress.FromV4((20u << 24) | ((uint)i << 8)), 24);

    private void OfferCore()
    {
        _rib.Offer(_connected, IpPrefix.Parse("172.16.0.0/24"), HopSpec.Connected("core"), null, 1);
        _rib.Offer(_static, IpPrefix.Host(_peerA.Peer), HopSpec.Via(IpAddress.Parse("172.16.0.1")), null, 1);
        _rib.Offer(_static, IpPrefix.Host(_peerB.Peer), HopSpec.Via(IpAddress.Parse("172.16.0.2")), null, 1);
    }

    private PathAttributes Attributes(uint localPref)
        => _table.Intern(_builder.Clear().Origin(BgpOrigin.Igp).Path().LocalPref(localPref).Build());

    private PathAttributes External(uint from, uint med)
        => _table.Intern(_builder.Clear().Origin(BgpOrigin.Igp).Path(from).Med(med).Build());

    private RibChange[] Changes() => _rib.TakeChanges().ToArray();
}
