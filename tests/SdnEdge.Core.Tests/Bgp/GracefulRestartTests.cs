using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>Graceful restart (RFC 4724) and NOTIFICATIONs under it (RFC 8538): we help, and we restart.</summary>
public sealed class GracefulRestartTests
{
    private const string One = "20.1.0.0/16", Two = "20.2.0.0/16", Six = "fd00:2::/32";

    private readonly SimNetwork _net = new();
    private SimSpeaker _a, _b;
    private BgpPeer _toB;
    private BgpPeer _toA = null!;

    public GracefulRestartTests()
    {
        _a = _net.Add(1);
        _b = _net.Add(2);
        _toB = _a.Peer(_b, with: Full);
        Restarter(_b);
        foreach (string prefix in (string[])[One, Two, Six]) _b.Engine.Advertise(IpPrefix.Parse(prefix), 100);
        _net.Settle();
        Assert.Equal(3, _toB.Origin.Prefixes);
    }

    [Fact]
    public void Routes_stay_while_the_peer_restarts_and_what_it_does_not_tell_again_goes_at_End_of_RIB()
    {
        _net.Kill(_b);
        Assert.NotEqual(BgpState.Established, _toB.State);
        Assert.Equal(3, _toB.Origin.Prefixes);
        Assert.Equal(_b.Address, _a.BestVia(One));
        Assert.Equal(BgpFamilies.Both, _toB.StaleFamilies);
        _net.Advance(10_000 * SimNetwork.Millisecond);
        Assert.Equal(3, _toB.Origin.Prefixes);

        // It is back, and tells one of two IPv4 routes: nothing is withdrawn in between.
        Back(kept: BgpFamilies.Both, One, Six);
        Assert.Equal(BgpState.Established, _toB.State);
        Assert.Equal(_b.Address, _a.BestVia(One));
        Assert.Equal(SimNetwork.Address6(2), _a.BestVia(Six));
        Assert.Null(_a.BestVia(Two));
        Assert.Equal(BgpFamilies.None, _toB.StaleFamilies);
        Assert.Equal(1, _toB.GracefulEnds);
    }

    [Fact]
    public void A_route_told_again_unchanged_makes_no_change_in_the_FIB()
    {
        _net.Kill(_b);
        RouteView before = _a.Rib.Best(IpPrefix.Parse(One))!.Value;
        Back(kept: BgpFamilies.Both, One, Two, Six);
        Assert.Equal(before.InstalledAtNs, _a.Rib.Best(IpPrefix.Parse(One))!.Value.InstalledAtNs);
    }

    [Fact]
    public void A_peer_that_does_not_come_back_in_its_restart_time_loses_its_routes()
    {
        _net.Kill(_b);
        _net.Advance(119_000 * SimNetwork.Millisecond);
        Assert.Equal(3, _toB.Origin.Prefixes);
        _net.Advance(2_000 * SimNetwork.Millisecond);
        Assert.Equal(0, _toB.Origin.Prefixes);
        Assert.Null(_a.BestVia(One));
    }

    /// <summary>Before, they came back as best when the next hop did, while nobody had heard of the peer.</summary>
    [Fact]
    public void Stale_routes_whose_next_hop_is_lost_go_for_good_and_those_with_another_stay()
    {
        IpPrefix core = IpPrefix.Parse("10.255.0.0/16");
        _net.Kill(_b);
        _a.Rib.Withdraw(_a.Connected, core, _net.Now);
        _net.Settle();
        Assert.Equal(0, _a.Engine.NextDeadline);
        _net.Advance(100 * SimNetwork.Millisecond);
        _a.Rib.Offer(_a.Connected, core, HopSpec.Connected("core"), null, _net.Now);
        _net.Settle();
        Assert.Null(_a.Rib.Best(IpPrefix.Parse(One)));
        Assert.Equal(SimNetwork.Address6(2), _a.BestVia(Six));
        Assert.Equal(1, _toB.Origin.Prefixes);

        // A next hop that is back before anybody has looked was never lost, and the peer's return brings all.
        _a.Rib.Withdraw(_a.Connected, IpPrefix.Parse("fd00:ff::/64"), _net.Now);
        _a.Rib.Offer(_a.Connected, IpPrefix.Parse("fd00:ff::/64"), HopSpec.Connected("core"), null, _net.Now);
        _net.Advance(100 * SimNetwork.Millisecond);
        Assert.Equal(1, _toB.Origin.Prefixes);
        Back(kept: BgpFamilies.Both, One, Two, Six);
        Assert.Equal(3, _toB.Origin.Prefixes);
    }

    [Fact]
    public void A_family_whose_forwarding_was_not_kept_goes_as_soon_as_the_peer_is_back()
    {
        _net.Kill(_b);

        // Deferred: the new speaker waits for End-of-RIB of another peer, so that nothing is told yet.
        Back(kept: BgpFamilies.V6, waits: true);
        Assert.Equal(BgpState.Established, _toB.State);
        Assert.Null(_a.BestVia(One));
        Assert.Equal(SimNetwork.Address6(2), _a.BestVia(Six));
    }

    [Fact]
    public void A_peer_that_is_back_and_never_ends_its_telling_is_waited_for_only_so_long()
    {
        _net.Kill(_b);
        Back(kept: BgpFamilies.Both, waits: true, deferral: 4000);
        _net.Advance(300_000 * SimNetwork.Millisecond);
        Assert.Equal(3, _toB.Origin.Prefixes);
        _net.Advance(70_000 * SimNetwork.Millisecond);
        Assert.Equal(0, _toB.Origin.Prefixes);
        Assert.Equal(BgpState.Established, _toB.State);
    }

    [Fact]
    public void A_second_restart_takes_what_the_first_left_and_keeps_the_rest()
    {
        _net.Kill(_b);
        SimSpeaker again = _net.Add(2, with: s => s with { Restarting = true, ForwardingKept = BgpFamilies.Both });
        again.Peer(_net.Add(9), with: Full);
        Restarter(again);
        _net.Advance(3_000 * SimNetwork.Millisecond);
        Assert.Equal(BgpState.Established, _toB.State);

        // It has told one route again (as raw bytes: it still defers) when it dies the second time.
        _a.Rib.Offer(_toB.Origin, IpPrefix.Parse(One), HopSpec.Via(again.Address),
            _a.Rib.Best(IpPrefix.Parse(One))!.Value.Attributes, _net.Now);
        _net.Kill(again);
        Assert.Equal(_b.Address, _a.BestVia(One));
        Assert.Null(_a.BestVia(Two));
        Assert.Null(_a.BestVia(Six));
    }

    [Fact]
    public void A_peer_that_returns_while_its_old_connection_still_seems_alive_takes_its_place()
    {
        foreach (bool incoming in (bool[])[false, true])
        {
            var test = new GracefulRestartTests();
            test._net.Kill(test._b, silently: true);
            Assert.Equal(BgpState.Established, test._toB.State);
            SimSpeaker again = test._net.Add(2, with: s => s with { Restarting = true, ForwardingKept = BgpFamilies.Both });
            test.Restarter(again);
            again.Engine.Advertise(IpPrefix.Parse(One), 100);
            test._net.Advance((incoming ? 500 : 5_000) * SimNetwork.Millisecond);
            Assert.Equal(BgpState.Established, test._toB.State);
            Assert.Equal(2, test._toB.Transitions);
            Assert.Equal(again.Address, test._a.BestVia(One));
            Assert.Null(test._a.BestVia(Two));
        }
    }

    [Fact]
    public void Under_RFC_8538_a_NOTIFICATION_and_an_expired_hold_timer_keep_the_routes_too()
    {
        // The hold timer: b is silent, a notices.
        _net.Kill(_b, silently: true);
        _net.Advance(9_500 * SimNetwork.Millisecond);
        Assert.NotEqual(BgpState.Established, _toB.State);
        Assert.Equal("hold timer expired", _toB.LastError);
        Assert.Equal(3, _toB.Origin.Prefixes);

        var test = new GracefulRestartTests();
        test._a.Engine.Received(test._toB, test._toB.OpenedBy!.Value, UpdateBytes.Message(BgpMessageType.Update, [0, 9]), test._net.Now);
        Assert.Contains("sent ", test._toB.LastError, StringComparison.Ordinal);
        Assert.Equal(3, test._toB.Origin.Prefixes);
    }

    [Fact]
    public void A_hard_reset_takes_the_routes_at_once_and_says_what_it_stands_for()
    {
        _b.Engine.Shutdown(_toA, "gone for good", _net.Now);
        _net.Settle();
        Assert.Equal("received cease: hard reset (6/9): cease: administrative shutdown (6/2): \"gone for good\"", _toB.LastError);
        Assert.Equal(0, _toB.Origin.Prefixes);
        Assert.Equal(0, _toB.GracefulEnds);
    }

    [Fact]
    public void The_operator_BFD_and_removal_take_stale_routes_too()
    {
        foreach (Action<GracefulRestartTests> end in (Action<GracefulRestartTests>[])[
            t => t._a.Engine.Shutdown(t._toB, null, t._net.Now),
            t => t._a.Engine.Restart(t._toB, null, t._net.Now),
            t => t._a.Engine.PathDown(t._b.Address, "BFD", t._net.Now),
            t => t._a.Engine.RemovePeer(t._b.Address, t._net.Now)])
        {
            var test = new GracefulRestartTests();
            test._net.Kill(test._b);
            Assert.Equal(3, test._toB.Origin.Prefixes);
            end(test);
            Assert.Equal(0, test._toB.Origin.Prefixes);
        }
    }

    [Fact]
    public void BFD_that_may_have_ended_with_the_peers_control_plane_leaves_a_restart_alone_but_not_a_session()
    {
        _net.Kill(_b);
        Assert.True(_a.Engine.PathDown(_b.Address, "BFD", _net.Now, mayBeRestart: true));
        Assert.Equal(3, _toB.Origin.Prefixes);

        var test = new GracefulRestartTests();
        Assert.True(test._a.Engine.PathDown(test._b.Address, "BFD", test._net.Now, mayBeRestart: true));
        Assert.Equal(0, test._toB.Origin.Prefixes);
    }

    [Fact]
    public void We_restart_and_tell_nothing_before_all_peers_have_been_heard()
    {
        // a learns from b and tells x; x keeps a's routes while a restarts.
        SimSpeaker x = _net.Add(9, 65009);
        BgpPeer aAtX = x.Peer(_a, 65000, s => Full(s) with { Import = PrefixList.All, Export = PrefixList.All });
        _a.Peer(x, 65009, s => Full(s) with { Import = PrefixList.All, Export = PrefixList.All });
        _net.Advance(3_000 * SimNetwork.Millisecond);
        Assert.Equal(_a.Address, x.BestVia(One));
        _net.Kill(_a);
        Assert.Equal(_a.Address, x.BestVia(One));

        _a = _net.Add(1, with: s => s with { Restarting = true, ForwardingKept = BgpFamilies.Both });
        _toB = _a.Peer(_b, with: s => Full(s) with { Passive = true });
        BgpPeer toX = _a.Peer(x, 65009, s => Full(s) with { Import = PrefixList.All, Export = PrefixList.All });
        _net.Settle();
        Assert.True(_a.Engine.IsRestarting);

        // x is there before b: it hears nothing, and keeps what it had.
        if (toX.State == BgpState.Established) Assert.Equal(0, toX.PrefixesSent);
        Assert.Equal(_a.Address, x.BestVia(One));
        _net.Advance(10_000 * SimNetwork.Millisecond);
        Assert.False(_a.Engine.IsRestarting);
        Assert.Equal(_a.Address, x.BestVia(One));
        Assert.Equal(BgpFamilies.None, aAtX.StaleFamilies);
        Assert.Equal(3, aAtX.Origin.Prefixes);
    }

    [Fact]
    public void A_peer_that_is_gone_is_waited_for_no_longer_than_the_deferral_time()
    {
        _net.Kill(_a);
        _a = _net.Add(1, with: s => s with { Restarting = true, DeferralSeconds = 20 });
        _toB = _a.Peer(_b, with: Full);
        _a.Engine.AddPeer(new BgpPeerSettings(SimNetwork.Address(77), 65000), _net.Now);
        _a.Engine.Advertise(IpPrefix.Parse("20.9.0.0/16"), 100);
        _net.Advance(19_000 * SimNetwork.Millisecond);
        Assert.Equal(BgpState.Established, _toB.State);
        Assert.Null(_b.BestVia("20.9.0.0/16"));
        _net.Advance(1_500 * SimNetwork.Millisecond);
        Assert.Equal(_a.Address, _b.BestVia("20.9.0.0/16"));
    }

    [Fact]
    public void A_helper_only_keeps_routes_of_others_and_asks_nobody_to_keep_its_own()
    {
        SimSpeaker c = _net.Add(3);
        BgpPeer toC = _a.Peer(c);
        BgpPeer cToA = c.Peer(_a);
        c.Engine.Advertise(IpPrefix.Parse("20.3.0.0/16"), 100);
        _net.Advance(3_000 * SimNetwork.Millisecond);
        Assert.Equal(BgpFamilies.Both, toC.EndOfRibReceived);
        Assert.Equal(BgpFamilies.None, cToA.Negotiated!.GracefulRestartFamilies);
        _net.Kill(c);
        Assert.Null(_a.BestVia("20.3.0.0/16"));
    }

    [Theory]
    [InlineData(0, BgpFamilies.None, BgpFamilies.None, false, false)]
    [InlineData(4095, BgpFamilies.Both, BgpFamilies.V6, true, true)]
    [InlineData(120, BgpFamilies.V4, BgpFamilies.V4, false, true)]
    public void The_capability_survives_the_wire(int time, BgpFamilies families, BgpFamilies kept, bool restarted, bool notification)
    {
        var capability = new GracefulRestart(time, families, kept, restarted, notification);
        var bytes = new byte[128];
        int size = new OpenMessage(65000, 9, 1, BgpFamilies.Both, true, true) { GracefulRestart = capability,
            EnhancedRefresh = true }.Write(bytes);
        Assert.Equal(BgpFault.None,
            OpenMessage.Parse(bytes.AsSpan(BgpLimits.HeaderSize, size - BgpLimits.HeaderSize), out OpenMessage? open));
        Assert.Equal(capability, open!.GracefulRestart);
        Assert.True(open.EnhancedRefresh);
    }

    private static BgpPeerSettings Full(BgpPeerSettings settings) => settings with { Restart = RestartMode.Full };

    private void Restarter(SimSpeaker speaker)
    {
        _b = speaker;
        _toA = speaker.Peer(_a, with: Full);
    }

    /// <summary>b comes back and tells prefixes; <paramref name="waits"/>: it has another peer it never hears.</summary>
    private void Back(BgpFamilies kept, params string[] prefixes) => Back(kept, waits: false, 60, prefixes);

    private void Back(BgpFamilies kept, bool waits, int deferral = 60, params string[] prefixes)
    {
        SimSpeaker again = _net.Add(2, with: s => s with { Restarting = true, ForwardingKept = kept, DeferralSeconds = deferral });
        if (waits) again.Engine.AddPeer(new BgpPeerSettings(SimNetwork.Address(77), 65000), _net.Now);
        Restarter(again);
        foreach (string prefix in prefixes) again.Engine.Advertise(IpPrefix.Parse(prefix), 100);
        _net.Advance(3_000 * SimNetwork.Millisecond);
    }
}
