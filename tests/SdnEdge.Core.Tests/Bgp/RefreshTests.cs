using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>Route refresh (RFC 2918) and its marks (RFC 7313), in both directions.</summary>
public sealed class RefreshTests
{
    private readonly SimNetwork _net = new();
    private readonly SimSpeaker _a, _b;
    private readonly BgpPeer _toB, _toA;

    public RefreshTests()
    {
        _a = _net.Add(1);
        _b = _net.Add(2);
        _toB = _a.Peer(_b);
        _toA = _b.Peer(_a);
        for (int i = 1; i <= 3; i++)
        {
            _a.Engine.Advertise(IpPrefix.Parse($"10.1.{i}.0/24"), 100);
            _a.Engine.Advertise(IpPrefix.Parse($"fd00:{i}::/32"), 100);
        }

        _net.Settle();
    }

    [Fact]
    public void A_refresh_brings_all_routes_again_between_its_marks_and_changes_nothing()
    {
        Assert.True(_toA.Negotiated!.EnhancedRefresh);
        long before = _toA.MessagesIn;
        Assert.Equal(BgpFamilies.Both, _b.Engine.RequestRefresh(_toA));
        _net.Settle();

        // For each family: BoRR, one UPDATE, EoRR.
        Assert.Equal(before + 6, _toA.MessagesIn);
        Assert.Equal(6, _toA.Origin.Prefixes);
        Assert.Equal(BgpFamilies.None, _toA.RefreshUnderWay);
        Assert.Equal(1, _toA.Transitions);
    }

    [Fact]
    public void What_the_peer_lost_comes_back_and_what_it_should_not_have_goes()
    {
        // Behind the speakers' backs: a route the peer dropped, and one it was never told.
        _b.Rib.Withdraw(_toA.Origin, IpPrefix.Parse("10.1.1.0/24"), _net.Now);
        _b.Rib.Offer(_toA.Origin, IpPrefix.Parse("10.9.0.0/16"), HopSpec.Via(_a.Address), null, _net.Now);
        _b.Engine.RequestRefresh(_toA, BgpFamilies.V4);
        _net.Settle();
        Assert.Equal(_a.Address, _b.BestVia("10.1.1.0/24"));
        Assert.Null(_b.BestVia("10.9.0.0/16"));
        Assert.Equal(6, _toA.Origin.Prefixes);
    }

    [Fact]
    public void A_route_that_is_advertised_again_while_the_refresh_waits_is_not_left_out()
    {
        // Between the request's arrival and the sending, the route is published once more with the attributes already told.
        var refresh = new byte[23];
        MessageWriter.RouteRefresh(refresh, BgpFamilies.V4);
        _a.Engine.Received(_toB, _toB.OpenedBy!.Value, refresh, _net.Now);
        _a.Engine.Advertise(IpPrefix.Parse("10.1.2.0/24"), 100);
        _a.Engine.Withdraw(IpPrefix.Parse("10.1.3.0/24"));
        _net.Settle();
        Assert.Equal(_a.Address, _b.BestVia("10.1.1.0/24"));
        Assert.Equal(_a.Address, _b.BestVia("10.1.2.0/24"));
        Assert.Null(_b.BestVia("10.1.3.0/24"));
        Assert.Equal(2, _toA.Origin.PrefixesV4);
    }

    [Fact]
    public void A_refresh_that_never_ends_is_given_up_and_its_old_routes_go()
    {
        var warned = new List<string>();
        _b.Engine.Warned += (_, what) => warned.Add(what);
        var begin = new byte[23];
        MessageWriter.RouteRefresh(begin, BgpFamilies.V4, RefreshKind.Begin);
        _b.Engine.Received(_toA, _toA.OpenedBy!.Value, begin, _net.Now);
        _net.Advance(350_000 * SimNetwork.Millisecond);
        Assert.Equal(6, _toA.Origin.Prefixes);
        _net.Advance(20_000 * SimNetwork.Millisecond);
        Assert.Equal(3, _toA.Origin.Prefixes);
        Assert.Single(warned);
        Assert.Equal(BgpState.Established, _toA.State);
    }

    [Fact]
    public void An_end_without_a_begin_and_a_family_nobody_negotiated_do_nothing()
    {
        var message = new byte[23];
        MessageWriter.RouteRefresh(message, BgpFamilies.V4, RefreshKind.End);
        _b.Engine.Received(_toA, _toA.OpenedBy!.Value, message, _net.Now);
        MessageWriter.RouteRefresh(message, BgpFamilies.V4, (RefreshKind)77);
        _b.Engine.Received(_toA, _toA.OpenedBy!.Value, message, _net.Now);
        message[20] = 99;
        _b.Engine.Received(_toA, _toA.OpenedBy!.Value, message, _net.Now);
        _net.Settle();
        Assert.Equal(6, _toA.Origin.Prefixes);
        Assert.Equal(2, _toA.Faults[BgpFault.RouteRefreshFamily]);
        Assert.Equal(BgpState.Established, _toA.State);
    }

    [Fact]
    public void A_request_during_the_first_sending_is_answered_after_End_of_RIB()
    {
        SimSpeaker c = _net.Add(3);
        BgpPeer toC = _a.Peer(c, with: s => s with { Passive = true });
        _a.Engine.Connected(toC, ConnectionSide.Incoming, _net.Now);
        var sent = new List<byte>();
        var bytes = new byte[256];
        int open = new OpenMessage(65000, 9, 3, BgpFamilies.V4, true, true) { EnhancedRefresh = true }.Write(bytes);
        _a.Engine.Received(toC, ConnectionSide.Incoming, bytes.AsSpan(0, open), _net.Now);
        _a.Engine.Received(toC, ConnectionSide.Incoming, bytes.AsSpan(0, MessageWriter.Keepalive(bytes)), _net.Now);
        long before = toC.MessagesOut;
        _a.Engine.Received(toC, ConnectionSide.Incoming, bytes.AsSpan(0, MessageWriter.RouteRefresh(bytes, BgpFamilies.V4)), _net.Now);
        _a.Engine.Flush();

        // UPDATE, End-of-RIB, BoRR, UPDATE, EoRR.
        Assert.Equal(before + 5, toC.MessagesOut);
        Assert.False(_a.Engine.Flush());
    }

    [Fact]
    public void Without_the_capability_or_a_session_nothing_is_asked_for()
    {
        SimSpeaker c = _net.Add(3);
        BgpPeer toC = _a.Peer(c);
        Assert.Equal(BgpFamilies.None, _a.Engine.RequestRefresh(toC));
    }
}
