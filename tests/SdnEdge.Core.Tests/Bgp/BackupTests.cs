using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>
/// An ingress PE with two ways to a prefix: PE a has the servers, PE b advertises the prefix as a backup and goes on using a's route. When
/// is a given up, and what is decided then.
/// </summary>
public sealed class BackupTests
{
    private const string Server = "10.1.1.10/32", Six = "fd00:1:1::10/128";
    private static readonly IpPrefix Prefix = IpPrefix.Parse(Server);

    private readonly SimNetwork _net = new();
    private readonly SimSpeaker _ingress, _a, _b;
    private readonly BgpPeer _toA;
    private readonly List<(IpAddress Pe, bool Failed)> _marks = [];
    private readonly List<int> _routesAtMark = [];

    public BackupTests()
        : this(RestartMode.Off)
    {
    }

    private BackupTests(RestartMode restart)
    {
        (_ingress, _a, _b) = (_net.Add(1), _net.Add(2), _net.Add(3));
        _ingress.Engine.PeerFailed += (pe, failed, _) =>
        {
            _marks.Add((pe.Address, failed));
            _routesAtMark.Add(_toA!.Origin.Prefixes);
            _ingress.Rib.SetFailed(HopKind.Via, pe, failed);
        };
        _toA = _ingress.Peer(_a, with: s => s with { Families = BgpFamilies.All, Restart = restart });
        _a.Peer(_ingress, with: s => s with { Families = BgpFamilies.All, Restart = restart, Passive = true });
        foreach ((SimSpeaker one, SimSpeaker other) in ((SimSpeaker, SimSpeaker)[])[(_ingress, _b), (_a, _b)])
        {
            one.Peer(other, with: s => s with { Families = BgpFamilies.All });
            other.Peer(one, with: s => s with { Families = BgpFamilies.All, Passive = true });
        }

        foreach (string prefix in (string[])[Server, Six])
        {
            _a.Engine.Advertise(IpPrefix.Parse(prefix), 200);
            _b.Engine.AdvertiseBackup(IpPrefix.Parse(prefix), 50);
        }

        _net.Advance(5_000 * SimNetwork.Millisecond);
        _marks.Clear();
        _routesAtMark.Clear();
    }

    [Fact]
    public void A_backup_is_told_to_iBGP_peers_and_not_used_by_who_tells_it()
    {
        Assert.Equal(_a.Address, _ingress.BestVia(Server));
        Assert.Equal(_a.Address, _b.BestVia(Server));
        Assert.Equal(2, _ingress.Rib.Explain(Prefix).Count);
        Assert.Equal(50u, Of(_ingress, _b)!.Value.Attributes!.LocalPref);
        Assert.Null(_b.Rib.Explain(Prefix).Where(r => r.Origin.Peer != _a.Address).Select(r => (RouteView?)r).FirstOrDefault());

        _b.Engine.WithdrawBackup(Prefix);
        _net.Settle();
        Assert.Null(Of(_ingress, _b));
        Assert.False(_b.Engine.WithdrawBackup(Prefix));
    }

    [Fact]
    public void A_backup_stays_when_the_best_route_goes_and_whoever_comes_later_hears_it()
    {
        _a.Engine.Withdraw(Prefix);
        _net.Settle();
        Assert.Equal(_b.Address, _ingress.BestVia(Server));
        Assert.Null(_b.BestVia(Server));
        SimSpeaker late = _net.Add(4);
        late.Peer(_b);
        _b.Peer(late);
        _net.Advance(3_000 * SimNetwork.Millisecond);
        Assert.Equal(_b.Address, late.BestVia(Server));
        Assert.Equal(_b.Address, Of(late, _b)!.Value.Origin.Peer);
    }

    [Fact]
    public void What_is_told_inside_is_what_all_iBGP_peers_hear_of_exactly_that_prefix_and_the_lowest_counts()
    {
        Assert.Equal((200u, null, null), (_a.Engine.ToldInside(Prefix), _a.Engine.ToldInside(IpPrefix.Parse("10.1.1.0/24")),
            _b.Engine.ToldInside(Prefix)));
        BgpPeer toB = _a.Engine.Peers.Single(p => p.Settings.Address == _b.Address);
        _a.Engine.SetPolicy(toB, RoutePolicy.All, new RoutePolicy("low", [new PolicyTerm { LocalPref = 90 }]));
        Assert.Equal(90u, _a.Engine.ToldInside(Prefix));
        _a.Engine.SetPolicy(toB, RoutePolicy.All, RoutePolicy.None);
        Assert.Null(_a.Engine.ToldInside(Prefix));
        _a.Engine.Shutdown(toB, "", _net.Now);
        Assert.Equal(200u, _a.Engine.ToldInside(Prefix));
        _a.Engine.Shutdown(_a.Engine.Peers.Single(p => p.Settings.Address == _ingress.Address), "", _net.Now);
        Assert.Null(_a.Engine.ToldInside(Prefix));
    }

    [Fact]
    public void An_advertisement_takes_the_place_of_the_backup_while_there_is_one()
    {
        _b.Engine.Advertise(Prefix, 300, move: 7);
        _net.Settle();
        Assert.Equal(_b.Address, _ingress.BestVia(Server));
        Assert.Equal(300u, Of(_ingress, _b)!.Value.Attributes!.LocalPref);
        _b.Engine.Withdraw(Prefix);
        _net.Settle();
        Assert.Equal(50u, Of(_ingress, _b)!.Value.Attributes!.LocalPref);
        _b.Engine.Advertise(Prefix, 300, move: 7);
        _b.Engine.WithdrawBackup(Prefix);
        _net.Settle();
        Assert.Equal(300u, Of(_ingress, _b)!.Value.Attributes!.LocalPref);
    }

    [Fact]
    public void Peers_of_another_AS_are_told_the_route_in_use_and_no_backup()
    {
        SimSpeaker outside = _net.Add(4, 65009);
        BgpPeer toB = outside.Peer(_b, with: s => s with { Import = PrefixList.All, Export = PrefixList.All });
        _b.Peer(outside, 65009, s => s with { Import = PrefixList.All, Export = PrefixList.All });
        _net.Advance(3_000 * SimNetwork.Millisecond);
        Assert.Equal(2, toB.Origin.Prefixes);
        _a.Engine.Withdraw(Prefix);
        _net.Settle();
        Assert.Equal(1, toB.Origin.Prefixes);
    }

    [Fact]
    public void A_reflector_goes_on_reflecting_what_it_is_a_backup_for()
    {
        SimSpeaker client = _net.Add(4);
        client.Peer(_b);
        _b.Peer(client, with: s => s with { ReflectorClient = true });
        _net.Advance(3_000 * SimNetwork.Millisecond);
        Assert.Equal(_a.Address, client.BestVia(Server));
    }

    [Fact]
    public void A_peer_that_falls_silent_has_failed_before_its_routes_go()
    {
        _net.Kill(_a, silently: true);
        _net.Advance(30_000 * SimNetwork.Millisecond);
        Assert.Equal([(_a.Address, true), (SimNetwork.Address6(2), true)], _marks);
        Assert.Equal([2, 2], _routesAtMark);
        Assert.Equal((0, _b.Address), (_toA.Origin.Prefixes, _ingress.BestVia(Server)));
        Assert.Equal(SimNetwork.Address6(3), _ingress.BestVia(Six));
    }

    [Fact]
    public void A_connection_that_ends_without_a_word_is_a_failure_and_the_next_session_ends_it()
    {
        _net.Cut(_ingress, _a);
        Assert.Equal([(_a.Address, true), (SimNetwork.Address6(2), true)], _marks);
        _net.Advance(20_000 * SimNetwork.Millisecond);
        Assert.Equal([(_a.Address, false), (SimNetwork.Address6(2), false)], _marks.Skip(2));
        Assert.Equal(_a.Address, _ingress.BestVia(Server));
        Assert.All(_ingress.Rib.NextHops, hop => Assert.False(hop.Failed));
    }

    [Fact]
    public void A_session_that_an_operator_ends_is_no_failure()
    {
        _ingress.Engine.Shutdown(_toA, null, _net.Now);
        _net.Settle();
        Assert.DoesNotContain(_marks, m => m.Failed);
        Assert.Equal(_b.Address, _ingress.BestVia(Server));

        var test = new BackupTests();
        test._a.Engine.Stop(test._net.Now);
        test._net.Settle();
        Assert.DoesNotContain(test._marks, m => m.Failed);
    }

    [Fact]
    public void BFD_is_a_failure_and_a_peer_that_is_configured_no_more_is_none()
    {
        _ingress.Engine.PathDown(_a.Address, "BFD", _net.Now);
        Assert.Equal([(_a.Address, true), (SimNetwork.Address6(2), true)], _marks);
        Assert.Equal([2, 2], _routesAtMark);
        _ingress.Engine.RemovePeer(_a.Address, _net.Now);
        Assert.Equal([(_a.Address, false), (SimNetwork.Address6(2), false)], _marks.Skip(2));
    }

    [Fact]
    public void A_graceful_restart_keeps_the_way_unless_BFD_says_that_forwarding_has_failed()
    {
        var test = new BackupTests(RestartMode.Full);
        test._net.Kill(test._a);
        test._net.Advance(2_000 * SimNetwork.Millisecond);
        Assert.Equal((2, test._a.Address), (test._toA.Origin.Prefixes, test._ingress.BestVia(Server)));
        test._ingress.Engine.PathDown(test._a.Address, "BFD", test._net.Now, mayBeRestart: true);
        Assert.Empty(test._marks);
        test._ingress.Engine.PathDown(test._a.Address, "BFD", test._net.Now);
        Assert.Equal((test._a.Address, true), test._marks[0]);
        Assert.Equal(test._b.Address, test._ingress.BestVia(Server));
    }

    [Fact]
    public void A_peer_that_does_not_come_back_from_its_restart_has_failed()
    {
        var test = new BackupTests(RestartMode.Full);
        test._net.Kill(test._a);
        test._net.Advance(121_000 * SimNetwork.Millisecond);
        Assert.Equal((test._a.Address, true), test._marks[0]);
        Assert.Equal(2, test._routesAtMark[0]);
        Assert.Equal(test._b.Address, test._ingress.BestVia(Server));
    }

    [Fact]
    public void A_PE_behind_a_reflector_is_given_up_by_its_address()
    {
        // Whoever tells the routes is well: what BFD says of the next hop counts.
        _ingress.Rib.TakeChanges();
        Assert.Single(_ingress.Rib.SetFailed(HopKind.Via, _a.Address, failed: true));
        Assert.Equal(1, _ingress.Rib.TakeChanges().Length);
        _ingress.Rib.Converge(_net.Now);
        Assert.Equal(_b.Address, _ingress.BestVia(Server));
        Assert.Equal(BgpState.Established, _toA.State);
        Assert.Single(_ingress.Rib.SetFailed(HopKind.Via, _a.Address, failed: false));
        _ingress.Rib.Converge(_net.Now);
        Assert.Equal(_a.Address, _ingress.BestVia(Server));
    }

    [Fact]
    public void Routes_of_a_VRF_have_backups_and_are_given_up_by_the_far_end_of_their_tunnels()
    {
        LocRib red = new("red"), redA = new("red"), redB = new("red");
        Set(_ingress, red, "65000:1", 7);
        Set(_a, redA, "65000:2", 8);
        Set(_b, redB, "65000:3", 9);
        _a.Engine.AdvertiseVpn("red", Prefix, 200);
        _b.Engine.AdvertiseVpn("red", Prefix, 50);

        // The tunnels' far ends are next hops of the core.
        _net.Settle();
        RibChange chosen = red.TakeChanges().ToArray().Last(c => c.ChangedHop is null);
        Assert.Equal((_a.Address, _b.Address), (chosen.Native!.Spec.Address, chosen.Backup!.Spec.Address));
        Assert.Single(red.SetFailed(HopKind.Remote, _a.Address, failed: true));
        Assert.True(chosen.Native.Failed);
        red.Converge(_net.Now);
        Assert.Equal(_b.Address, red.Best(Prefix)!.Value.Hop.Spec.Address);

        void Set(SimSpeaker speaker, LocRib rib, string distinguisher, uint key)
        {
            Assert.True(BgpCommunity.TryParse("rt:65000:100", out BgpCommunity target));
            var settings = new VpnVrfSettings("red", RouteDistinguisher.Parse(distinguisher), key) { Import = [target], Export = [target] };
            speaker.Engine.SetVrf(settings, rib, _net.Now);
        }
    }

    private static RouteView? Of(SimSpeaker speaker, SimSpeaker from) => speaker.Rib.Explain(Prefix)
        .Where(r => r.Origin.Peer == from.Address).Select(r => (RouteView?)r).FirstOrDefault();
}
