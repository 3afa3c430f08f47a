using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>Policies, roles (RFC 9234) and what they do to routes on the way in and out.</summary>
public sealed class PolicyTests
{
    private const string One = "20.1.0.0/16", Two = "20.2.0.0/16";

    private readonly SimNetwork _net = new();

    [Fact]
    public void The_first_term_that_matches_decides_and_what_none_matches_is_denied()
    {
        var policy = new RoutePolicy("p",
        [
            new PolicyTerm { Prefixes = List("20.1.0.0/16"), Permit = false },
            new PolicyTerm { Prefixes = List("20.0.0.0/8", 8, 32), LocalPref = 300 },
        ]);
        (SimSpeaker a, SimSpeaker x, BgpPeer toX) = ToExternal(s => s with { Import = policy });
        foreach (string prefix in (string[])[One, Two, "30.0.0.0/8"]) x.Engine.Advertise(IpPrefix.Parse(prefix), 100);
        _net.Settle();
        Assert.Null(a.BestVia(One));
        Assert.Null(a.BestVia("30.0.0.0/8"));
        Assert.Equal(300u, a.Rib.Best(IpPrefix.Parse(Two))!.Value.Attributes!.LocalPref);
        Assert.Equal(2, toX.Denied);
    }

    [Fact]
    public void Communities_of_every_kind_are_matched_added_and_removed()
    {
        BgpCommunity[] all = [.. ((string[])["65000:1", "65000:7:9", "rt:65000:5"]).Select(Community)];
        var export = new RoutePolicy("out", [new PolicyTerm { Add = all, Med = 77 }]);
        var import = new RoutePolicy("in",
        [
            new PolicyTerm { Communities = all, MatchAll = true, Prefixes = List(One), Remove = [Community("65000:7:9")],
                Add = [Community("no-export"), Community("65000:1")] },
            new PolicyTerm { Communities = [Community("65000:99")], Permit = false },
            new PolicyTerm { RemoveAll = true },
        ]);
        (SimSpeaker a, SimSpeaker x, _) = ToExternal(s => s with { Import = import }, s => s with { Export = export });
        x.Engine.Advertise(IpPrefix.Parse(One), 100);
        x.Engine.Advertise(IpPrefix.Parse(Two), 100);
        _net.Settle();
        PathAttributes one = a.Rib.Best(IpPrefix.Parse(One))!.Value.Attributes!;
        Assert.Equal(["65000:1", "no-export", "rt:65000:5"],
            Enum.GetValues<CommunityKind>().SelectMany(k => BgpCommunity.Of(one, k)).Select(c => c.ToString()));
        Assert.Equal(77u, one.Med);
        PathAttributes two = a.Rib.Best(IpPrefix.Parse(Two))!.Value.Attributes!;
        Assert.Empty(Enum.GetValues<CommunityKind>().SelectMany(k => BgpCommunity.Of(two, k)));
    }

    [Fact]
    public void Prepending_makes_a_path_longer_towards_eBGP_peers_only()
    {
        var longer = new RoutePolicy("longer", [new PolicyTerm { Prepend = 2 }]);
        (SimSpeaker a, SimSpeaker x, _) = ToExternal(with: null, s => s with { Export = longer, Import = RoutePolicy.All });
        SimSpeaker y = _net.Add(8, 65009);
        x.Peer(y, 65009, s => s with { Export = longer });
        y.Peer(x, 65009);
        x.Engine.Advertise(IpPrefix.Parse(One), 100);
        _net.Settle();
        Assert.Equal("65009 65009 65009", a.Rib.Best(IpPrefix.Parse(One))!.Value.Attributes!.AsPathText());
        Assert.Equal("", y.Rib.Best(IpPrefix.Parse(One))!.Value.Attributes!.AsPathText());
    }

    [Fact]
    public void A_policy_may_tell_our_own_routes_and_nothing_that_a_peer_told()
    {
        var ours = new RoutePolicy("ours", [new PolicyTerm { Ownership = RouteOwnership.Own }]);
        (SimSpeaker a, SimSpeaker x, _) = ToExternal(with: null, s => s with { Export = ours });
        SimSpeaker y = _net.Add(8, 65009);
        x.Peer(y, 65009);
        y.Peer(x, 65009);
        x.Engine.Advertise(IpPrefix.Parse(One), 100);
        y.Engine.Advertise(IpPrefix.Parse(Two), 100);
        _net.Settle();
        Assert.NotNull(x.BestVia(Two));
        Assert.NotNull(a.BestVia(One));
        Assert.Null(a.BestVia(Two));

        // Taken over, it is our own.
        x.Engine.Advertise(IpPrefix.Parse(Two), 100);
        _net.Settle();
        Assert.NotNull(a.BestVia(Two));
        x.Engine.Withdraw(IpPrefix.Parse(Two));
        _net.Settle();
        Assert.Null(a.BestVia(Two));
    }

    [Fact]
    public void Routes_whose_servers_are_about_to_leave_are_told_otherwise_until_they_stay_after_all()
    {
        var export = new RoutePolicy("out",
            [new PolicyTerm { Ownership = RouteOwnership.Leaving, Med = 200, Prepend = 1 }, new PolicyTerm { Med = 100 }]);
        (SimSpeaker a, SimSpeaker x, _) = ToExternal(with: null, s => s with { Export = export });
        IpPrefix one = IpPrefix.Parse(One), two = IpPrefix.Parse(Two);
        x.Engine.Advertise(one, 100);
        x.Engine.Advertise(two, 100);
        _net.Settle();
        Assert.Equal((100u, "65009"), Of(one));
        Assert.True(Assert.Single(x.Engine.Peers).ToInfo(0).TellsLeaving);

        x.Engine.Advertise(one, 100, leaving: true);
        _net.Settle();
        Assert.Equal((200u, "65009 65009"), Of(one));
        Assert.Equal((100u, "65009"), Of(two));

        // A peer that comes now hears it so, too.
        SimSpeaker late = _net.Add(8, 65008);
        x.Peer(late, 65008, s => s with { Export = export });
        late.Peer(x, 65009, s => s with { Import = RoutePolicy.All });
        _net.Settle();
        Assert.Equal(200u, late.Rib.Best(one)!.Value.Attributes!.Med);

        x.Engine.Advertise(one, 100);
        _net.Settle();
        Assert.Equal((100u, "65009"), Of(one));

        // What was withdrawn while it left, and comes back, does not leave.
        x.Engine.Advertise(two, 100, leaving: true);
        x.Engine.Withdraw(two);
        x.Engine.Advertise(two, 100);
        _net.Settle();
        Assert.Equal((100u, "65009"), Of(two));

        (uint? Med, string Path) Of(IpPrefix prefix)
            => a.Rib.Best(prefix)!.Value.Attributes is { } attributes ? (attributes.Med, attributes.AsPathText()) : default;
    }

    [Fact]
    public void A_new_policy_takes_effect_in_both_directions_without_a_reset()
    {
        (SimSpeaker a, SimSpeaker x, BgpPeer toX) = ToExternal();
        x.Engine.Advertise(IpPrefix.Parse(One), 100);
        x.Engine.Advertise(IpPrefix.Parse(Two), 100);
        a.Engine.Advertise(IpPrefix.Parse("30.0.0.0/8"), 100);
        _net.Settle();
        Assert.Equal(2, toX.Origin.Prefixes);
        Assert.NotNull(x.BestVia("30.0.0.0/8"));

        a.Engine.SetPolicy(toX, List(One), PrefixList.None);
        _net.Settle();
        Assert.NotNull(a.BestVia(One));
        Assert.Null(a.BestVia(Two));
        Assert.Null(x.BestVia("30.0.0.0/8"));
        a.Engine.SetPolicy(toX, PrefixList.All, PrefixList.All);
        _net.Settle();
        Assert.NotNull(a.BestVia(Two));
        Assert.NotNull(x.BestVia("30.0.0.0/8"));
        Assert.Equal(1, toX.Transitions);
    }

    [Theory]
    [InlineData("65000:1")]
    [InlineData("no-export")]
    [InlineData("65000:1:4294967295")]
    [InlineData("rt:65000:100")]
    [InlineData("rt:70000:100")]
    [InlineData("soo:10.0.0.1:5")]
    [InlineData("ext:0x8a4d000000000001")]
    public void A_community_is_read_as_it_is_written(string text) => Assert.Equal(text, Community(text).ToString());

    [Theory]
    [InlineData("")]
    [InlineData("65536:1")]
    [InlineData("1:2:3:4")]
    [InlineData("-1:2")]
    [InlineData("rt:70000:70000")]
    [InlineData("ext:0x12")]
    [InlineData("ext:8a4d000000000001")]
    [InlineData("gold")]
    public void What_is_no_community_is_refused(string text) => Assert.False(BgpCommunity.TryParse(text, out _));

    [Theory]
    [InlineData(BgpRole.Provider, BgpRole.Customer, true)]
    [InlineData(BgpRole.Peer, BgpRole.Peer, true)]
    [InlineData(BgpRole.RouteServer, BgpRole.RouteServerClient, true)]
    [InlineData(BgpRole.Provider, BgpRole.Provider, false)]
    [InlineData(BgpRole.Customer, BgpRole.Peer, false)]
    [InlineData(BgpRole.Provider, BgpRole.None, true)]
    public void Roles_must_pair_and_none_at_the_other_end_is_let_in_unless_we_insist(BgpRole ours, BgpRole theirs, bool up)
    {
        (_, _, BgpPeer toX) = ToExternal(s => s with { Role = ours }, s => s with { Role = theirs });
        Assert.Equal(up, toX.State == BgpState.Established);
        if (!up) Assert.Contains("role mismatch (2/11)", toX.LastError, StringComparison.Ordinal);
        if (theirs != BgpRole.None) return;
        var strict = new PolicyTests();
        (_, _, BgpPeer peer) = strict.ToExternal(s => s with { Role = ours, StrictRole = true });
        Assert.Contains("role mismatch", peer.LastError, StringComparison.Ordinal);
    }

    [Fact]
    public void A_route_of_a_provider_goes_to_customers_only()
    {
        // p is our provider, c our customer, q our peer.
        SimSpeaker a = _net.Add(1), p = _net.Add(7, 65007), c = _net.Add(8, 65008), q = _net.Add(9, 65009);
        Join(a, p, BgpRole.Customer, BgpRole.Provider, 65007);
        Join(a, c, BgpRole.Provider, BgpRole.Customer, 65008);
        Join(a, q, BgpRole.Peer, BgpRole.Peer, 65009);
        _net.Settle();
        p.Engine.Advertise(IpPrefix.Parse(One), 100);
        c.Engine.Advertise(IpPrefix.Parse(Two), 100);
        _net.Settle();
        Assert.NotNull(a.BestVia(One));
        Assert.NotNull(c.BestVia(One));
        Assert.Null(q.BestVia(One));

        // And the customer's route goes everywhere, marked where it leaves the way up.
        Assert.NotNull(p.BestVia(Two));
        Assert.Equal(65000u, AsPath.ReadAs(q.Rib.Best(IpPrefix.Parse(Two))!.Value.Attributes!.Find(AttributeCode.OnlyToCustomer), 0, 4));
        Assert.False(p.Rib.Best(IpPrefix.Parse(Two))!.Value.Attributes!.Has(AttributeCode.OnlyToCustomer));
    }

    [Theory]
    [InlineData("C0 23 04 0000FDF1", 1)]
    [InlineData("C0 23 03 000000", 1)]
    [InlineData("C0 23 04 0000FDE9", 0)]
    public void A_marked_route_of_another_AS_from_a_peer_and_a_malformed_mark_are_leaks(string mark, int leaks)
    {
        SimSpeaker a = _net.Add(1);
        BgpPeer peer = a.Engine.AddPeer(new BgpPeerSettings(SimNetwork.Address(2), 65001) { Passive = true, Import = PrefixList.All,
            Role = BgpRole.Peer }, _net.Now);
        a.Engine.Connected(peer, ConnectionSide.Incoming, _net.Now);
        var bytes = new byte[128];
        int open = new OpenMessage(65001, 9, 2, BgpFamilies.Both, true, true) { Role = BgpRole.Peer }.Write(bytes);
        a.Engine.Received(peer, ConnectionSide.Incoming, bytes.AsSpan(0, open), _net.Now);
        a.Engine.Received(peer, ConnectionSide.Incoming, bytes.AsSpan(0, MessageWriter.Keepalive(bytes)), _net.Now);
        string attributes = "40 01 01 00 40 02 06 02 01 0000FDE9 40 03 04 0AFF0002 " + mark;
        a.Engine.Received(peer, ConnectionSide.Incoming,
            UpdateBytes.Message(BgpMessageType.Update, UpdateBytes.Body(attributes, "10 1401")), _net.Now);
        Assert.Equal(leaks, peer.Leaks);
        Assert.Equal(1 - leaks, peer.Origin.Prefixes);
        Assert.Equal(BgpState.Established, peer.State);
    }

    private static BgpCommunity Community(string text)
    {
        Assert.True(BgpCommunity.TryParse(text, out BgpCommunity community));
        return community;
    }

    private static PrefixList List(string prefix, int? min = null, int? max = null)
        => new([new PrefixRule(IpPrefix.Parse(prefix), min, max)]);

    private static void Join(SimSpeaker a, SimSpeaker other, BgpRole ours, BgpRole theirs, uint theirAs)
    {
        a.Peer(other, theirAs, s => s with { Import = PrefixList.All, Export = PrefixList.All, Role = ours });
        other.Peer(a, 65000, s => s with { Import = PrefixList.All, Export = PrefixList.All, Role = theirs });
    }

    private (SimSpeaker A, SimSpeaker X, BgpPeer ToX) ToExternal(Func<BgpPeerSettings, BgpPeerSettings>? with = null,
        Func<BgpPeerSettings, BgpPeerSettings>? atX = null)
    {
        SimSpeaker a = _net.Add(1), x = _net.Add(9, 65009);
        BgpPeer toX = a.Peer(x, 65009, s => Apply(with, s with { Import = RoutePolicy.All, Export = RoutePolicy.All }));
        x.Peer(a, 65000, s => Apply(atX, s with { Import = RoutePolicy.All, Export = RoutePolicy.All }));
        _net.Settle();
        return (a, x, toX);
    }

    private static BgpPeerSettings Apply(Func<BgpPeerSettings, BgpPeerSettings>? with, BgpPeerSettings settings) => with is null
        ? settings : with(settings);
}
