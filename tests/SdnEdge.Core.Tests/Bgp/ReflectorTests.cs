using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>Route reflection (RFC 4456), and the number of a move that fences old owners.</summary>
public sealed class ReflectorTests
{
    private const string Server = "10.1.1.10/32", Six = "fd00:1:1::10/128";

    private readonly SimNetwork _net = new();

    [Fact]
    public void From_a_client_to_all_from_others_to_clients_with_originator_cluster_and_the_next_hop_kept()
    {
        SimSpeaker r = _net.Add(1), c1 = _net.Add(2), c2 = _net.Add(3), n1 = _net.Add(4), n2 = _net.Add(5);
        foreach (SimSpeaker client in (SimSpeaker[])[c1, c2]) Join(r, client, client: true);
        foreach (SimSpeaker other in (SimSpeaker[])[n1, n2]) Join(r, other, client: false);
        c1.Engine.Advertise(IpPrefix.Parse(Server), 150);
        n1.Engine.Advertise(IpPrefix.Parse(Six), 100);
        _net.Settle();

        foreach (SimSpeaker each in (SimSpeaker[])[r, c2, n1, n2]) Assert.Equal(c1.Address, each.BestVia(Server));
        foreach (SimSpeaker each in (SimSpeaker[])[r, c1, c2]) Assert.Equal(SimNetwork.Address6(4), each.BestVia(Six));
        Assert.Null(n2.BestVia(Six));
        PathAttributes at = c2.Rib.Best(IpPrefix.Parse(Server))!.Value.Attributes!;
        Assert.Equal(2u, at.OriginatorId);
        Assert.Equal(1u, AsPath.ReadAs(at.Find(AttributeCode.ClusterList), 0, 4));
        Assert.Equal(150u, at.LocalPref);

        c1.Engine.Withdraw(IpPrefix.Parse(Server));
        _net.Settle();
        foreach (SimSpeaker each in (SimSpeaker[])[r, c2, n1, n2]) Assert.Null(each.BestVia(Server));
    }

    [Fact]
    public void Two_reflectors_of_one_cluster_and_a_ring_of_clusters_make_no_loop()
    {
        SimSpeaker r1 = _net.Add(1, with: s => s with { ClusterId = 99 }),
        r2 = _net.Add(2, with: s => s with { ClusterId = 99 }), r3 = _net.Add(3);
        SimSpeaker client = _net.Add(4);
        Join(r1, client, client: true);
        Join(r2, client, client: true);
        Join(r1, r2, client: true);
        Join(r2, r3, client: true);
        Join(r3, r1, client: true);
        client.Engine.Advertise(IpPrefix.Parse(Server), 100);
        _net.Settle();
        Assert.Equal(client.Address, r3.BestVia(Server));
        Assert.True(r1.Engine.Find(r2.Address)!.Loops + r2.Engine.Find(r1.Address)!.Loops > 0);
        client.Engine.Withdraw(IpPrefix.Parse(Server));
        _net.Settle();
        foreach (SimSpeaker each in (SimSpeaker[])[r1, r2, r3]) Assert.Empty(each.Rib.Explain(IpPrefix.Parse(Server)));
    }

    // Why the manager's planner refuses such a source: it withdraws when all ingress PEs are on the target's route.
    [Fact]
    public void A_reflector_with_a_route_of_its_own_hides_a_clients_better_one_until_it_withdraws()
    {
        SimSpeaker r = _net.Add(1), target = _net.Add(2), ingress = _net.Add(3), other = _net.Add(4);
        foreach (SimSpeaker client in (SimSpeaker[])[target, ingress, other]) Join(r, client, client: true);
        Join(other, target, client: false);
        var own = new RouteOrigin(RouteSource.Static, "static");
        r.Rib.Offer(own, IpPrefix.Parse(Server), HopSpec.Connected("dc"), null, 0);
        r.Engine.Advertise(IpPrefix.Parse(Server), 100);
        target.Engine.Advertise(IpPrefix.Parse(Server), 900, move: 7);
        _net.Settle();
        Assert.Equal(r.Address, ingress.BestVia(Server));
        Assert.Equal(target.Address, other.BestVia(Server));   // a session with the target is enough
        r.Engine.Withdraw(IpPrefix.Parse(Server));
        r.Rib.Withdraw(own, IpPrefix.Parse(Server), 0);
        _net.Settle();
        Assert.Equal(target.Address, ingress.BestVia(Server));
    }

    [Fact]
    public void A_change_of_next_hop_alone_is_reflected()
    {
        SimSpeaker r = _net.Add(1), c = _net.Add(3);
        Join(r, c, client: true);
        BgpPeer raw = r.Engine.AddPeer(new BgpPeerSettings(SimNetwork.Address(2), 65000) { Passive = true }, _net.Now);
        r.Engine.Connected(raw, ConnectionSide.Incoming, _net.Now);
        var bytes = new byte[128];
        int open = new OpenMessage(65000, 0, 2, BgpFamilies.Both, true, true).Write(bytes);
        r.Engine.Received(raw, ConnectionSide.Incoming, bytes.AsSpan(0, open), _net.Now);
        r.Engine.Received(raw, ConnectionSide.Incoming, bytes.AsSpan(0, MessageWriter.Keepalive(bytes)), _net.Now);
        foreach (string last in (string[])["07", "08"])
        {
            string attributes = $"40 01 01 00 40 02 00 40 03 04 0AFF00{last} 40 05 04 00000064";
            r.Engine.Received(raw, ConnectionSide.Incoming,
                UpdateBytes.Message(BgpMessageType.Update, UpdateBytes.Body(attributes, "20 0A01010A")), _net.Now);
            _net.Settle();
            Assert.Equal($"10.255.0.{int.Parse(last, System.Globalization.CultureInfo.InvariantCulture)}", c.BestVia(Server).ToString());
        }
    }

    [Fact]
    public void The_later_move_wins_whatever_the_LOCAL_PREF_and_why_says_so()
    {
        SimSpeaker a = _net.Add(1), b = _net.Add(2), c = _net.Add(3);
        Join(c, a, client: false);
        Join(c, b, client: false);
        a.Engine.Advertise(IpPrefix.Parse(Server), 500, move: 6);
        b.Engine.Advertise(IpPrefix.Parse(Server), 200, move: 7);
        _net.Settle();
        Assert.Equal(b.Address, c.BestVia(Server));
        IReadOnlyList<RouteView> all = c.Rib.Explain(IpPrefix.Parse(Server));
        RouteView loser = all.Single(r => !r.Best);
        Assert.Equal(RejectReason.MoveSequence, loser.WhyNot);
        Assert.Equal($"fenced: move 6 < 7 ({b.Address})", BestPathReason.Text(loser, all));

        // The old owner comes back without a number: it draws nothing, and is counted.
        a.Engine.Advertise(IpPrefix.Parse(Server), 900);
        _net.Settle();
        Assert.Equal(b.Address, c.BestVia(Server));
        Assert.Equal(1, c.Engine.Find(a.Address)!.Fenced);

        // When the owner withdraws, what is left is used.
        b.Engine.Withdraw(IpPrefix.Parse(Server));
        _net.Settle();
        Assert.Equal(a.Address, c.BestVia(Server));
    }

    [Fact]
    public void A_move_number_neither_comes_from_another_AS_nor_goes_there()
    {
        SimSpeaker a = _net.Add(1), x = _net.Add(9, 65009), i = _net.Add(2);
        Func<BgpPeerSettings, BgpPeerSettings> open = s => s with { Import = PrefixList.All, Export = PrefixList.All };
        a.Peer(x, 65009, open);
        x.Peer(a, 65000, open);
        Join(a, i, client: false);
        a.Engine.Advertise(IpPrefix.Parse(Server), 100, move: MobilitySequence.Max);
        x.Engine.Advertise(IpPrefix.Parse("20.0.0.0/8"), 100, move: 9);
        _net.Settle();
        Assert.Equal(MobilitySequence.Max, i.Rib.Best(IpPrefix.Parse(Server))!.Value.Attributes!.MobilitySequence);
        Assert.Equal(0, x.Rib.Best(IpPrefix.Parse(Server))!.Value.Attributes!.MobilitySequence);
        Assert.Equal(0, a.Rib.Best(IpPrefix.Parse("20.0.0.0/8"))!.Value.Attributes!.MobilitySequence);
    }

    [Fact]
    public void Why_names_the_step_and_both_values()
    {
        var rib = new LocRib("default");
        rib.Offer(new RouteOrigin(RouteSource.Connected, "connected"), IpPrefix.Parse("10.255.0.0/16"), HopSpec.Connected("core"), null, 0);
        var table = new AttributeTable();
        var prefix = IpPrefix.Parse(Server);
        RouteOrigin best = Origin(1), pref = Origin(2), path = Origin(3), med = Origin(4), far = Origin(5), id = Origin(6);
        Offer(best, Attributes().Path(7).Med(5));
        Offer(pref, Attributes().Path(7).LocalPref(90));
        Offer(path, Attributes().Path(7, 8));
        Offer(med, Attributes().Path(7).Med(6));
        Offer(id, Attributes().Path(7).Med(5));
        rib.Offer(far, prefix, HopSpec.Via(IpAddress.Parse("192.0.2.1")), table.Intern(Attributes().Path(7).Build()), 0);
        IReadOnlyList<RouteView> all = rib.Explain(prefix);
        Assert.Equal("best", Why(best));
        Assert.Equal("LOCAL_PREF 90 < 100 (10.255.0.1)", Why(pref));
        Assert.Equal("AS_PATH length 2 > 1 (10.255.0.1: 7)", Why(path));
        Assert.Equal("MED 6 > 5 from AS 7 (10.255.0.1)", Why(med));
        Assert.Equal("next hop 192.0.2.1 has no route (RFC 4271 9.1.2)", Why(far));
        Assert.Equal("identifier 0.0.0.6 > 0.0.0.1 (10.255.0.1)", Why(id));

        rib.Offer(new RouteOrigin(RouteSource.Static, "static"), prefix, HopSpec.Connected("dc"), null, 0);
        all = rib.Explain(prefix);
        Assert.Equal("distance 200 of iBGP > 5 of static (static)", Why(best));

        string Why(RouteOrigin origin) => BestPathReason.Text(all.Single(r => r.Origin == origin), all);
        AttributeBuilder Attributes() => new AttributeBuilder().Clear().Origin(BgpOrigin.Igp).LocalPref(100);
        RouteOrigin Origin(int i) => new(SimNetwork.Address(i), 65000, external: false) { PeerRouterId = (uint)i };
        void Offer(RouteOrigin origin, AttributeBuilder builder)
            => rib.Offer(origin, prefix, HopSpec.Via(origin.Peer), table.Intern(builder.Build()), 0);
    }

    private static void Join(SimSpeaker a, SimSpeaker b, bool client)
    {
        a.Peer(b, with: s => s with { ReflectorClient = client });
        b.Peer(a);
    }
}
