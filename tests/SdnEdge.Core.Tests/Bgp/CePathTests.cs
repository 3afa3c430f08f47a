using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>What a PE does to paths for its CEs: sites of one AS, sites with two links, private numbers. Before, two sites of one AS saw
/// each other's routes as loops, unless the CEs allowed their own AS.</summary>
public sealed class CePathTests
{
    private static readonly IpPrefix Site = IpPrefix.Parse("10.1.1.0/24");
    private static readonly BgpCommunity First = Parse("soo:65000:1");

    private readonly SimNetwork _net = new();
    private readonly SimSpeaker _pe;

    public CePathTests() => _pe = _net.Add(1, with: s => s with { OfVrf = true });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_site_takes_the_routes_of_another_site_of_its_AS_when_the_PE_overrides_that(bool overrides)
    {
        SimSpeaker one = _net.Add(6, 65009), two = _net.Add(7, 65009);
        Join(one, 65009);
        BgpPeer toTwo = Join(two, 65009, s => s with { AsOverride = overrides });
        one.Engine.Advertise(Site, 100);
        _net.Settle();
        Assert.Equal(overrides ? "65000 65000" : null, two.Rib.Best(Site)?.Attributes!.AsPathText());
        Assert.Equal("65009", Assert.NotNull(_pe.Rib.Best(Site)).Attributes!.AsPathText());
        Assert.Equal(1, toTwo.PrefixesSent);
    }

    [Fact]
    public void What_a_site_tells_carries_its_origin_and_never_comes_back_to_that_site()
    {
        SimSpeaker one = _net.Add(6, 65009), again = _net.Add(7, 65009), elsewhere = _net.Add(8, 65009);
        foreach ((SimSpeaker ce, string site) in ((SimSpeaker, string)[])[(one, "soo:65000:1"), (again, "soo:65000:1"),
            (elsewhere, "soo:65000:2")])
            Join(ce, 65009, s => s with { AsOverride = true, SiteOfOrigin = Parse(site) });
        one.Engine.Advertise(Site, 100);
        _net.Settle();
        Assert.True(First.IsOn(Assert.NotNull(_pe.Rib.Best(Site)).Attributes!));
        Assert.Null(again.Rib.Best(Site));
        Assert.Equal("65000 65000", Assert.NotNull(elsewhere.Rib.Best(Site)).Attributes!.AsPathText());

        // It goes when the site says so.
        one.Engine.Withdraw(Site);
        _net.Settle();
        Assert.Null(elsewhere.Rib.Best(Site));
    }

    [Fact]
    public void Which_site_it_is_a_CE_does_not_say()
    {
        var session = new LinkSession(new BgpPeerSettings(IpAddress.Parse("172.16.0.9"), 65009)
        {
            Link = LinkSession.OnCore, Local = IpAddress.Parse("172.16.0.1"), Import = RoutePolicy.All, SiteOfOrigin = First,
        });
        session.Establish();
        session.Say("40010100 400206 0201 0000FDF1 400304 AC100009 C01010 0003FDE800000009 0002FDE800000064", "180A0101");
        PathAttributes taken = Assert.NotNull(session.Rib.Best(Site)).Attributes!;
        Assert.Equal(["soo:65000:1", "rt:65000:100"], BgpCommunity.Of(taken, CommunityKind.Extended).Select(c => c.ToString()));
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(1, false)]
    [InlineData(2, true)]
    public void Our_own_AS_is_taken_so_often_as_the_peer_is_allowed(int allowed, bool taken)
    {
        var session = new LinkSession(new BgpPeerSettings(IpAddress.Parse("172.16.0.9"), 65009)
        {
            Link = LinkSession.OnCore, Local = IpAddress.Parse("172.16.0.1"), Import = RoutePolicy.All, AllowAsIn = allowed,
        });
        session.Establish();
        session.Say("40010100 40020E 0203 0000FDF1 0000FDE8 0000FDE8 400304 AC100009", "180A0101"); // 65009 65000 65000
        Assert.Equal(taken, session.Rib.Best(Site) is not null);
        Assert.Equal(taken ? 0 : 1, session.Peer.Loops);
    }

    [Theory]
    [InlineData(true, "65000 3356")]
    [InlineData(false, "65000 64512 3356 4200000001")]
    public void Private_numbers_are_taken_out_for_who_is_to_see_none(bool removes, string path)
    {
        SimSpeaker customer = _net.Add(6, 64512), provider = _net.Add(7, 65007);
        Join(customer, 64512);
        Join(provider, 65007, s => s with { RemovePrivateAs = removes });
        var told = new AttributeBuilder().Clear().Origin(BgpOrigin.Igp).Path(3356, 4200000001).Build();
        customer.Rib.Offer(new RouteOrigin(IpAddress.Parse("10.255.0.99"), 3356, external: true), Site,
            HopSpec.Via(IpAddress.Parse("10.255.0.1")), customer.Engine.Attributes.Intern(told), 0);
        _net.Settle();
        Assert.Equal(path, Assert.NotNull(provider.Rib.Best(Site)).Attributes!.AsPathText());
    }

    [Theory]
    [InlineData("65009 7 65009", 65009u, 65000u, false, "65000 7 65000")]
    [InlineData("65009 7", 65009u, null, true, "65009 7")]
    [InlineData("64512 65534 7 65535 64511", 1u, null, true, "7 65535 64511")]
    [InlineData("4200000000 4294967294", 1u, null, true, "")]
    [InlineData("64512 9", 9u, 65000u, true, "65000")]
    public void A_path_is_rewritten_number_by_number(string path, uint peerAs, uint? instead, bool withoutPrivate, string expected)
    {
        byte[] from = new byte[64], into = new byte[64];
        int length = AsPath.WriteSequence([.. path.Split(' ').Select(uint.Parse)], from);
        int written = AsPath.Rewrite(from.AsSpan(0, length), peerAs, instead, withoutPrivate, into);
        Assert.Equal(expected, AsPath.ToText(into.AsSpan(0, written)));
    }

    private BgpPeer Join(SimSpeaker ce, uint number, Func<BgpPeerSettings, BgpPeerSettings>? with = null)
    {
        ce.Peer(_pe, 65000, s => s with { Import = RoutePolicy.All, Export = RoutePolicy.All });
        return _pe.Peer(ce, number, s => (with ?? (x => x))(s with { Import = RoutePolicy.All, Export = RoutePolicy.All }));
    }

    private static BgpCommunity Parse(string text)
        => BgpCommunity.TryParse(text, out BgpCommunity read) ? read : throw new FormatException(text);
}
