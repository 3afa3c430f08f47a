using SdnEdge.Core.Bgp;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>Routes of VRFs between speakers: who gets which, by which tunnel, and what a reflector leaves as it is.</summary>
public sealed class VpnEngineTests
{
    private static readonly IpPrefix Site = IpPrefix.Parse("10.1.1.0/24");

    private readonly SimNetwork _net = new();
    private readonly SimSpeaker _a;
    private readonly SimSpeaker _b;
    private readonly LocRib _redA = new("red"), _redB = new("red"), _blueB = new("blue");
    private BgpPeer _toA = null!, _toB = null!;

    public VpnEngineTests()
    {
        _a = _net.Add(1);
        _b = _net.Add(2);
        SetVrf(_a, _redA, "65000:1", 7, "65000:100", "65000:100");
        SetVrf(_b, _redB, "65000:2", 8, "65000:100", "65000:100");
        SetVrf(_b, _blueB, "65000:3", 9, "65000:200", "65000:200");
    }

    [Fact]
    public void A_route_goes_into_the_VRFs_that_import_its_target_by_the_tunnel_it_names()
    {
        Peers();
        _a.Engine.AdvertiseVpn("red", Site, 150);
        _a.Engine.AdvertiseVpn("red", IpPrefix.Parse("fd00:1:1::/64"), 100);
        _net.Settle();
        RouteView route = Assert.NotNull(_redB.Best(Site));
        Assert.Equal(HopSpec.Remote("tunnel:vpn-10.255.0.1-7", _a.Address, 7), route.Hop.Spec);
        Assert.Equal(150u, route.Attributes!.LocalPref);
        Assert.Equal(_a.Address, route.Origin.Peer);
        Assert.Equal(_a.Address, Assert.NotNull(_redB.Best(IpPrefix.Parse("fd00:1:1::/64"))).Hop.Spec.Address);
        Assert.Null(_blueB.Best(Site));
        Assert.Null(_b.Rib.Best(Site));
        Assert.Equal((2, 2), (_toA.VpnReceived, _toB.PrefixesSent));

        _a.Engine.WithdrawVpn("red", Site);
        _net.Settle();
        Assert.Null(_redB.Best(Site));
        Assert.Equal(1, _b.Engine.VpnPrefixes);
    }

    /// <summary>Before, a VRF told nothing that it had learnt by BGP.</summary>
    [Fact]
    public void What_a_CE_told_goes_on_with_its_path_and_the_targets_of_the_VRF_in_place_of_its_own()
    {
        Peers();
        PathAttributes learned = _a.Engine.Attributes.Intern(new AttributeBuilder().Clear().Origin(BgpOrigin.Egp).Path(65009, 65010).Med(7)
            .Set(AttributeFlags.Optional | AttributeFlags.Transitive, AttributeCode.ExtendedCommunities,
                UpdateBytes.Hex("0002FDE8000000C8 0003FDE800000005")).Build()); // rt:65000:200, soo:65000:5
        _a.Engine.AdvertiseVpn("red", Site, 120, learned: learned);
        _net.Settle();
        PathAttributes told = Assert.NotNull(_redB.Best(Site)).Attributes!;
        Assert.Equal(("65009 65010", BgpOrigin.Egp, 7u, 120u), (told.AsPathText(), told.Origin, told.Med, told.LocalPref));
        Assert.Equal(["soo:65000:5", "rt:65000:100"], BgpCommunity.Of(told, CommunityKind.Extended).Select(c => c.ToString()));
        Assert.Null(_blueB.Best(Site));
    }

    [Fact]
    public void A_moves_tag_goes_to_other_PEs_while_markers_are_wanted_and_a_CE_cannot_set_one()
    {
        Peers();
        _a.Engine.AdvertiseVpn("red", Site, 100, move: 3, moveTag: 0xABCD);
        _net.Settle();
        PathAttributes told = Assert.NotNull(_redB.Best(Site)).Attributes!;
        Assert.Equal((0xABCDu, 3L), (told.MoveTag!.Value, told.MobilitySequence));
        _a.Engine.AdvertiseVpn("red", Site, 100, move: 3);
        _net.Settle();
        Assert.Null(Assert.NotNull(_redB.Best(Site)).Attributes!.MoveTag);

        PathAttributes learned = _a.Engine.Attributes.Intern(new AttributeBuilder().Clear().Origin(BgpOrigin.Igp).Path(65009)
            .Set(AttributeFlags.Optional | AttributeFlags.Transitive, AttributeCode.ExtendedCommunities,
                MoveTag.ToCommunity(0xABCD)).Build());
        _a.Engine.AdvertiseVpn("red", Site, 100, learned: learned);
        _net.Settle();
        Assert.Null(Assert.NotNull(_redB.Best(Site)).Attributes!.MoveTag);
    }

    /// <summary>Route targets are the provider's.</summary>
    [Theory]
    [InlineData(true, "soo:65000:5")]
    [InlineData(false, "rt:65000:100 soo:65000:5")]
    public void A_speaker_of_a_VRF_tells_no_route_targets_and_no_tags_of_moves_to_a_CE(bool ofVrf, string told)
    {
        SimSpeaker pe = _net.Add(5, with: s => s with { OfVrf = ofVrf }), ce = _net.Add(6, 65009), other = _net.Add(7, 65007);
        foreach ((SimSpeaker to, uint number) in ((SimSpeaker, uint)[])[(ce, 65009), (other, 65007)])
        {
            pe.Peer(to, number, s => s with { Import = PrefixList.All, Export = PrefixList.All });
            to.Peer(pe, 65000, s => s with { Import = PrefixList.All, Export = PrefixList.All });
        }

        other.Engine.Advertise(Site, 100);
        _net.Settle();
        RouteView route = Assert.NotNull(pe.Rib.Best(Site));
        PathAttributes marked = pe.Engine.Attributes.Intern(new AttributeBuilder().Load(route.Attributes!)
            .Set(AttributeFlags.Optional | AttributeFlags.Transitive, AttributeCode.ExtendedCommunities,
                UpdateBytes.Hex("0002FDE800000064 0003FDE800000005 8E01000000000007")).Build());
        pe.Rib.Offer(route.Origin, Site, route.Hop.Spec, marked, _net.Now);
        _net.Settle();
        PathAttributes heard = Assert.NotNull(ce.Rib.Best(Site)).Attributes!;
        Assert.Equal(ofVrf ? null : 7u, heard.MoveTag);
        Assert.Equal(told, string.Join(' ', BgpCommunity.Of(heard, CommunityKind.Extended)
            .Where(c => !c.ToString().Contains("8e01", StringComparison.OrdinalIgnoreCase))));
    }

    [Fact]
    public void Equal_prefixes_of_two_customers_do_not_meet()
    {
        var blueA = new LocRib("blue");
        SetVrf(_a, blueA, "65000:4", 70, "65000:200", "65000:200");
        Peers();
        _a.Engine.AdvertiseVpn("red", Site, 100);
        _a.Engine.AdvertiseVpn("blue", Site, 100);
        _net.Settle();
        Assert.Equal("tunnel:vpn-10.255.0.1-7", Assert.NotNull(_redB.Best(Site)).Hop.Spec.Port);
        Assert.Equal("tunnel:vpn-10.255.0.1-70", Assert.NotNull(_blueB.Best(Site)).Hop.Spec.Port);
        _a.Engine.WithdrawVpn("red", Site);
        _net.Settle();
        Assert.Null(_redB.Best(Site));
        Assert.NotNull(_blueB.Best(Site));
    }

    [Fact]
    public void What_no_VRF_imports_is_not_kept_and_is_asked_for_when_one_does()
    {
        Peers();
        _a.Engine.SetVrf(new VpnVrfSettings("red", RouteDistinguisher.Parse("65000:1"), 7) { Export = [Target("65000:300")] }, _redA,
            _net.Now);
        _a.Engine.AdvertiseVpn("red", Site, 100);
        _net.Settle();
        Assert.Equal((0, 1L), (_b.Engine.VpnPrefixes, _toA.VpnFiltered));

        SetVrf(_b, _blueB, "65000:3", 9, "65000:300", "65000:200");
        _net.Settle();
        Assert.NotNull(_blueB.Best(Site));
        Assert.Equal(1, _b.Engine.VpnPrefixes);

        // And the other way: what is imported no more goes at once.
        SetVrf(_b, _blueB, "65000:3", 9, "65000:200", "65000:200");
        _net.Settle();
        Assert.Null(_blueB.Best(Site));
        Assert.Equal(0, _b.Engine.VpnPrefixes);
    }

    [Fact]
    public void Another_distinguisher_or_other_targets_of_a_VRF_replace_what_was_told()
    {
        Peers();
        _a.Engine.AdvertiseVpn("red", Site, 100);
        _net.Settle();
        SetVrf(_a, _redA, "65000:77", 7, "65000:100", "65000:100");
        _net.Settle();
        Assert.Equal("bgp 10.255.0.1 rd 65000:77", Assert.Single(_redB.Explain(Site)).Origin.Name);
        SetVrf(_a, _redA, "65000:77", 7, "65000:100", "65000:200");
        _net.Settle();
        Assert.Null(_redB.Best(Site));
        Assert.NotNull(_blueB.Best(Site));
        _a.Engine.RemoveVrf("red", _net.Now);
        _net.Settle();
        Assert.Null(_blueB.Best(Site));
    }

    [Fact]
    public void Two_distinguishers_for_one_prefix_are_two_routes_and_the_decision_is_the_usual_one()
    {
        SimSpeaker c = _net.Add(3);
        var redC = new LocRib("red");
        SetVrf(c, redC, "65000:5", 17, "65000:100", "65000:100");
        Peers();
        _b.Peer(c, with: Vpn);
        c.Peer(_b, with: Vpn);
        _net.Settle();
        _a.Engine.AdvertiseVpn("red", Site, 100);
        c.Engine.AdvertiseVpn("red", Site, 200);
        _net.Settle();
        IReadOnlyList<RouteView> routes = _redB.Explain(Site);
        Assert.Equal(2, routes.Count);
        Assert.Equal(c.Address, Assert.NotNull(_redB.Best(Site)).Hop.Spec.Address);
        Assert.Equal("LOCAL_PREF 100 < 200 (10.255.0.3)", BestPathReason.Text(routes.Single(r => !r.Best), routes));

        // A later move of the prefix goes before LOCAL_PREF, in a VRF as elsewhere.
        _a.Engine.AdvertiseVpn("red", Site, 100, move: 4);
        _net.Settle();
        Assert.Equal(_a.Address, Assert.NotNull(_redB.Best(Site)).Hop.Spec.Address);
    }

    [Fact]
    public void A_route_is_usable_while_the_core_reaches_its_PE()
    {
        Peers();
        _a.Engine.AdvertiseVpn("red", Site, 100);
        _net.Settle();
        _redB.TakeChanges();
        var core = new RouteOrigin(RouteSource.Connected, "core");
        _b.Rib.Offer(core, IpPrefix.Parse("10.255.0.1/32"), HopSpec.Local, null, _net.Now);
        Carry();
        Assert.Null(_redB.Best(Site));
        RouteView lost = Assert.Single(_redB.Explain(Site));
        Assert.Equal("next hop 10.255.0.1 has no route (RFC 4271 9.1.2)", BestPathReason.Text(lost, [lost]));
        _b.Rib.Withdraw(core, IpPrefix.Parse("10.255.0.1/32"), _net.Now);
        Carry();
        Assert.NotNull(_redB.Best(Site));

        void Carry() => _b.Engine.CoreChanged(_b.Rib.TakeChanges(), _net.Now);
    }

    [Fact]
    public void A_reflector_passes_routes_on_as_they_came_with_next_hop_label_and_tunnel()
    {
        SimSpeaker rr = _net.Add(9);
        foreach (SimSpeaker pe in (SimSpeaker[])[_a, _b])
        {
            pe.Peer(rr, with: Vpn);
            rr.Peer(pe, with: s => Vpn(s) with { ReflectorClient = true });
        }

        _net.Settle();
        _a.Engine.AdvertiseVpn("red", Site, 100);
        _net.Settle();
        RouteView route = Assert.NotNull(_redB.Best(Site));
        Assert.Equal(HopSpec.Remote("tunnel:vpn-10.255.0.1-7", _a.Address, 7), route.Hop.Spec);
        Assert.Equal((1u, 1), (route.Attributes!.OriginatorId!.Value, route.Attributes.ClusterListLength));
        Assert.True(GreTunnelRoute.TryFind(route.Attributes.Find(AttributeCode.TunnelEncapsulation), out GreTunnelRoute tunnel));
        Assert.Equal(new GreTunnelRoute(7, _a.Address), tunnel);
        Assert.Equal(1, rr.Engine.VpnPrefixes);

        // The PE goes: so do its routes, everywhere.
        _net.Kill(_a);
        _net.Advance(10_000 * SimNetwork.Millisecond);
        Assert.Null(_redB.Best(Site));
        Assert.Equal((0, 0), (rr.Engine.VpnPrefixes, _b.Engine.VpnPrefixes));
    }

    [Fact]
    public void Routes_that_say_no_way_in_GRE_are_kept_out_of_the_VRF_and_counted()
    {
        Peers();
        var encoder = new UpdateEncoder();
        var message = new byte[4096];
        var route = (new VpnPrefix(RouteDistinguisher.Parse("65000:1"), Site), VpnLabel.ImplicitNull);
        PathAttributes Attributes(GreTunnelRoute? tunnel)
        {
            AttributeBuilder builder = new AttributeBuilder().Clear().Origin(BgpOrigin.Igp).Path().LocalPref(100);
            var targets = new byte[8];
            Target("65000:100").Write(targets);
            builder.Set(0xC0, AttributeCode.ExtendedCommunities, targets);
            if (tunnel is { } to)
            {
                var value = new byte[GreTunnelRoute.MaxSize];
                builder.Set(0xC0, AttributeCode.TunnelEncapsulation, value.AsSpan(0, to.Write(value)));
            }

            return new AttributeTable().Intern(builder.Build());
        }

        void Tell(GreTunnelRoute? tunnel, uint label)
        {
            ReadOnlySpan<(VpnPrefix, uint)> routes = [(route.Item1, label)];
            int length = encoder.AnnounceVpn(message, Attributes(tunnel), true, _a.Address, ref routes);
            _b.Engine.Received(_toA, _toA.OpenedBy!.Value, message.AsSpan(0, length), _net.Now);
        }

        Tell(new GreTunnelRoute(7, default), VpnLabel.ImplicitNull);
        Assert.Equal("tunnel:vpn-10.255.0.1-7", Assert.NotNull(_redB.Best(Site)).Hop.Spec.Port);
        Tell(null, VpnLabel.ImplicitNull);
        Assert.Null(_redB.Best(Site));
        Tell(new GreTunnelRoute(7, _a.Address), 1000);
        Assert.Null(_redB.Best(Site));
        Tell(new GreTunnelRoute(7, _b.Address), VpnLabel.ImplicitNull);
        Assert.Null(_redB.Best(Site));
        Assert.Equal((3L, 1), (_toA.VpnUnusable, _toA.VpnReceived));
        Tell(new GreTunnelRoute(8, IpAddress.Parse("10.255.0.77")), VpnLabel.ImplicitNull);
        Assert.Equal("tunnel:vpn-10.255.0.77-8", Assert.NotNull(_redB.Best(Site)).Hop.Spec.Port);
    }

    [Fact]
    public void A_refresh_brings_all_again_and_takes_what_is_told_no_more()
    {
        Peers();
        for (int i = 0; i < 500; i++) _a.Engine.AdvertiseVpn("red", IpPrefix.Host(IpAddress.FromV4(0x0B000000u + (uint)i)), 100);
        _net.Settle();
        Assert.Equal(500, _redB.PrefixesV4);
        long before = _toA.MessagesIn;
        Assert.Equal(BgpFamilies.Vpn, _b.Engine.RequestRefresh(_toA, BgpFamilies.Vpn));
        _net.Settle();
        Assert.True(_toA.MessagesIn > before);
        Assert.Equal((500, 500), (_redB.PrefixesV4, _toA.VpnReceived));
        Assert.Equal(BgpFamilies.None, _toA.RefreshUnderWay);
        Assert.Empty(_toA.Faults.Seen());
    }

    [Fact]
    public void Over_a_session_without_the_family_nothing_of_VPNs_is_told()
    {
        _toA = _b.Peer(_a);
        _toB = _a.Peer(_b, with: Vpn);
        _net.Settle();
        _a.Engine.AdvertiseVpn("red", Site, 100);
        _net.Settle();
        Assert.Equal(BgpFamilies.Both, _toB.Negotiated!.Families);
        Assert.Equal((0, 0), (_toB.PrefixesSent, _b.Engine.VpnPrefixes));
        Assert.Equal(["ipv4", "ipv6"], _toB.ToInfo(0).Families);
    }

    private static BgpCommunity Target(string text)
    {
        Assert.True(BgpCommunity.TryParse($"rt:{text}", out BgpCommunity target));
        return target;
    }

    private static BgpPeerSettings Vpn(BgpPeerSettings settings) => settings with { Families = BgpFamilies.All };

    private void SetVrf(SimSpeaker speaker, LocRib rib, string rd, uint key, string import, string export) => speaker.Engine.SetVrf(
        new VpnVrfSettings(rib.Vrf, RouteDistinguisher.Parse(rd), key) { Import = [Target(import)], Export = [Target(export)] }, rib,
        _net.Now);

    private void Peers()
    {
        _toA = _b.Peer(_a, with: Vpn);
        _toB = _a.Peer(_b, with: Vpn);
        _net.Settle();
        Assert.Equal(BgpFamilies.All, _toA.Negotiated!.Families);
    }
}
