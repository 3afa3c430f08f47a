using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

public sealed class EngineTests
{
    private const string Server = "10.1.1.10/32";
    private readonly SimNetwork _net = new();

    [Theory]
    [InlineData(65536)]
    [InlineData(1)]
    [InlineData(7)]
    public void Two_speakers_that_connect_at_once_end_with_one_session(int chunk)
    {
        _net.Chunk = chunk;
        SimSpeaker a = _net.Add(1), b = _net.Add(2);
        BgpPeer toB = a.Peer(b), toA = b.Peer(a);
        a.Engine.Advertise(IpPrefix.Parse(Server), 100);
        _net.Settle();
        _net.Advance(20_000 * SimNetwork.Millisecond);

        Assert.Equal(BgpState.Established, toA.State);
        Assert.Equal(BgpState.Established, toB.State);
        Assert.Equal(1, toA.Transitions);
        Assert.Equal(a.Address, b.BestVia(Server));

        // RFC 4271 6.8: the connection opened by the higher identifier stays.
        Assert.Equal(ConnectionSide.Outgoing, toA.OpenedBy);
        Assert.Equal(ConnectionSide.Incoming, toB.OpenedBy);
        Assert.Empty(toA.Faults.Seen());
        Assert.Empty(toB.Faults.Seen());
    }

    [Fact]
    public void A_route_learnt_by_iBGP_is_told_to_eBGP_peers_with_our_AS_in_front_and_not_to_iBGP_peers()
    {
        SimSpeaker a = _net.Add(1), b = _net.Add(2), c = _net.Add(3), x = _net.Add(9, 65009);
        Pair(a, b);
        Pair(b, c);
        Pair(b, x, 65000, 65009, s => s with { Import = PrefixList.All, Export = PrefixList.All });
        a.Engine.Advertise(IpPrefix.Parse(Server), 300);
        _net.Settle();

        Assert.Equal(a.Address, b.BestVia(Server));
        Assert.Null(c.BestVia(Server));
        RouteView atX = x.Rib.Best(IpPrefix.Parse(Server))!.Value;
        Assert.Equal("65000", atX.Attributes!.AsPathText());
        Assert.Null(atX.Attributes.LocalPref);
        Assert.Equal(b.Address, atX.Hop.Spec.Address);

        // And what eBGP says goes on to all iBGP peers, with next hop self and a LOCAL_PREF.
        x.Engine.Advertise(IpPrefix.Parse("20.0.0.0/8"), 100);
        _net.Settle();
        foreach (SimSpeaker inner in (SimSpeaker[])[a, c])
        {
            RouteView route = inner.Rib.Best(IpPrefix.Parse("20.0.0.0/8"))!.Value;
            Assert.Equal(b.Address, route.Hop.Spec.Address);
            Assert.Equal("65009", route.Attributes!.AsPathText());
            Assert.Equal(100u, route.Attributes.LocalPref);
        }

        a.Engine.Withdraw(IpPrefix.Parse(Server));
        x.Engine.Withdraw(IpPrefix.Parse("20.0.0.0/8"));
        _net.Settle();
        Assert.Null(x.BestVia(Server));
        Assert.Null(a.BestVia("20.0.0.0/8"));
    }

    [Fact]
    public void Over_eBGP_nothing_is_taken_and_nothing_told_unless_policy_says_so()
    {
        SimSpeaker a = _net.Add(1), x = _net.Add(9, 65009);
        var only = new PrefixList([new PrefixRule(IpPrefix.Parse("10.1.0.0/16"), 24, 32)]);
        BgpPeer toX = a.Peer(x, 65009, s => s with { Export = only });
        BgpPeer toA = x.Peer(a, 65000, s => s with { Import = PrefixList.All, Export = PrefixList.All });
        a.Engine.Advertise(IpPrefix.Parse(Server), 100);
        a.Engine.Advertise(IpPrefix.Parse("10.1.0.0/16"), 100);
        a.Engine.Advertise(IpPrefix.Parse("10.2.0.0/24"), 100);
        x.Engine.Advertise(IpPrefix.Parse("20.0.0.0/8"), 100);
        _net.Settle();

        Assert.Equal(1, toA.Origin.Prefixes);
        Assert.NotNull(x.BestVia(Server));
        Assert.Null(a.BestVia("20.0.0.0/8"));
        Assert.Equal(1, toX.Denied);
    }

    [Fact]
    public void A_path_with_our_AS_is_left_aside_and_counted()
    {
        SimSpeaker a = _net.Add(1), x = _net.Add(9, 65009), y = _net.Add(8, 65008);
        Func<BgpPeerSettings, BgpPeerSettings> open = s => s with { Import = PrefixList.All, Export = PrefixList.All };
        Pair(a, x, 65000, 65009, open);
        Pair(x, y, 65009, 65008, open);
        BgpPeer fromY = a.Peer(y, 65008, s => s with { Import = PrefixList.All });
        y.Peer(a, 65000, open);
        a.Engine.Advertise(IpPrefix.Parse(Server), 100);
        _net.Settle();
        Assert.Equal("65009 65000", y.Rib.Best(IpPrefix.Parse(Server))!.Value.Attributes!.AsPathText());
        Assert.Equal(1, fromY.Loops);
        Assert.Null(a.BestVia(Server));
    }

    [Fact]
    public void Communities_no_advertise_and_no_export_are_obeyed()
    {
        SimSpeaker a = _net.Add(1), x = _net.Add(9, 65009), y = _net.Add(8, 65008);
        Func<BgpPeerSettings, BgpPeerSettings> open = s => s with { Import = PrefixList.All, Export = PrefixList.All };
        Pair(a, y, 65000, 65008, open);
        BgpPeer fromX = a.Peer(x, 65009, s => open(s) with { Passive = true });
        _net.Settle();
        PathAttributes With(params uint[] communities) => a.Engine.Attributes.Intern(
            new AttributeBuilder().Clear().Origin(BgpOrigin.Igp).Path(65009).Communities(communities).Build());
        a.Rib.Offer(fromX.Origin, IpPrefix.Parse("20.1.0.0/16"), HopSpec.Via(x.Address), With(1), _net.Now);
        a.Rib.Offer(fromX.Origin, IpPrefix.Parse("20.2.0.0/16"), HopSpec.Via(x.Address), With(0xFFFFFF01), _net.Now);
        a.Rib.Offer(fromX.Origin, IpPrefix.Parse("20.3.0.0/16"), HopSpec.Via(x.Address), With(7, 0xFFFFFF02), _net.Now);
        _net.Settle();
        Assert.NotNull(y.BestVia("20.1.0.0/16"));
        Assert.Null(y.BestVia("20.2.0.0/16"));
        Assert.Null(y.BestVia("20.3.0.0/16"));
    }

    [Fact]
    public void A_silent_peer_is_dropped_after_the_hold_time_and_keepalives_hold_a_session_for_good()
    {
        SimSpeaker a = _net.Add(1), b = _net.Add(2);
        (BgpPeer toB, BgpPeer toA) = Pair(a, b);
        b.Engine.Advertise(IpPrefix.Parse(Server), 100);
        _net.Settle();
        _net.Advance(120_000 * SimNetwork.Millisecond);
        Assert.Equal(1, toB.Transitions);
        Assert.InRange(toB.MessagesIn, 40, 70);

        var frozen = new SimNetwork();
        SimSpeaker c = frozen.Add(1), d = frozen.Add(2);
        (BgpPeer toD, _) = Pair(c, d);
        d.Engine.Advertise(IpPrefix.Parse(Server), 100);
        frozen.Settle();
        Assert.NotNull(c.BestVia(Server));
        long silentSince = frozen.Now;
        c.Engine.Tick(silentSince + (9_000 * SimNetwork.Millisecond) - 1);
        Assert.Equal(BgpState.Established, toD.State);
        c.Engine.Tick(silentSince + (9_000 * SimNetwork.Millisecond));
        Assert.NotEqual(BgpState.Established, toD.State);
        Assert.Equal("hold timer expired", toD.LastError);
        Assert.Null(c.BestVia(Server));
    }

    [Fact]
    public void After_a_cut_the_routes_go_and_the_session_comes_back()
    {
        SimSpeaker a = _net.Add(1), b = _net.Add(2);
        (BgpPeer toB, _) = Pair(a, b);
        b.Engine.Advertise(IpPrefix.Parse(Server), 100);
        _net.Settle();
        _net.Cut(a, b);
        Assert.Null(a.BestVia(Server));
        _net.Advance(3_000 * SimNetwork.Millisecond);
        Assert.Equal(b.Address, a.BestVia(Server));
        Assert.Equal(2, toB.Transitions);
    }

    [Fact]
    public void A_malformed_update_takes_its_own_routes_away_and_leaves_the_session_and_the_others()
    {
        (SimSpeaker a, BgpPeer fromB) = WithRawPeer();
        a.Engine.Received(fromB, ConnectionSide.Incoming,
            Update(UpdateBytes.Body(UpdateBytes.Mandatory(false), "18 0A0101 18 0A0102")), _net.Now);
        a.Engine.Received(fromB, ConnectionSide.Incoming, Update(UpdateBytes.Body(UpdateBytes.Mandatory(false), "18 0A0103")), _net.Now);
        Assert.Equal(3, fromB.Origin.Prefixes);

        a.Engine.Received(fromB, ConnectionSide.Incoming,
            Update(UpdateBytes.Body(UpdateBytes.Mandatory(false) + "80 04 01 00", "18 0A0101 18 0A0102")), _net.Now);
        Assert.Equal(1, fromB.Origin.Prefixes);
        Assert.Equal(BgpState.Established, fromB.State);
        Assert.Equal(1, fromB.Faults[BgpFault.MedLength]);
    }

    [Fact]
    public void Sixty_four_ingress_PEs_all_move_to_the_more_preferred_route()
    {
        const int Ingress = 64;
        SimSpeaker a = _net.Add(1), b = _net.Add(2);
        var ingress = Enumerable.Range(10, Ingress).Select(i => _net.Add(i)).ToList();
        Pair(a, b);
        foreach (SimSpeaker pe in ingress)
        {
            Pair(a, pe);
            Pair(b, pe);
        }

        a.Engine.Advertise(IpPrefix.Parse(Server), 100);
        _net.Settle();
        Assert.All(ingress, pe => Assert.Equal(a.Address, pe.BestVia(Server)));
        b.Engine.Advertise(IpPrefix.Parse(Server), 200);
        _net.Settle();
        Assert.All(ingress, pe => Assert.Equal(b.Address, pe.BestVia(Server)));
        a.Engine.Withdraw(IpPrefix.Parse(Server));
        _net.Settle();
        Assert.All(ingress, pe => Assert.Single(pe.Rib.Explain(IpPrefix.Parse(Server))));
    }

    /// <summary>A speaker with an established session to a peer whose bytes the test makes itself.</summary>
    private (SimSpeaker Speaker, BgpPeer Peer) WithRawPeer()
    {
        SimSpeaker a = _net.Add(1);
        BgpPeer peer = a.Engine.AddPeer(new BgpPeerSettings(SimNetwork.Address(2), 65000) { Passive = true }, _net.Now);
        a.Engine.Connected(peer, ConnectionSide.Incoming, _net.Now);
        var bytes = new byte[128];
        int open = new OpenMessage(65000, 9, 2, BgpFamilies.Both, true, true).Write(bytes);
        a.Engine.Received(peer, ConnectionSide.Incoming, bytes.AsSpan(0, open), _net.Now);
        a.Engine.Received(peer, ConnectionSide.Incoming, bytes.AsSpan(0, MessageWriter.Keepalive(bytes)), _net.Now);
        Assert.Equal(BgpState.Established, peer.State);
        return (a, peer);
    }

    private static byte[] Update(byte[] body) => UpdateBytes.Message(BgpMessageType.Update, body);

    private static (BgpPeer, BgpPeer) Pair(SimSpeaker a, SimSpeaker b, uint asOfA = 65000, uint asOfB = 65000,
        Func<BgpPeerSettings, BgpPeerSettings>? with = null) =>
        (a.Peer(b, asOfB, with), b.Peer(a, asOfA, with));
}
