using SdnEdge.Core.Api;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Control;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Control;

/// <summary>Flush markers of a PE with the VRFs of two customers, who have the same addresses.</summary>
public sealed class VpnMarkerTests
{
    private const string Ingress4 = "10.255.0.3", Ingress6 = "64:ff9b:1::10.255.0.3";
    private const uint Tag = 5;

    private static readonly IpPrefix[] s_prefixes = [IpPrefix.Parse("10.1.1.10/32"), IpPrefix.Parse("fd00:1:1::10/128")];
    private static readonly PrefixSet Set = new(s_prefixes.Select(p => new MovedPrefix(p, "dc")));

    /// <summary>Both have the same prefixes, and even the same tag.</summary>
    [Fact]
    public void Of_two_moves_at_once_a_marker_counts_for_that_of_its_VRF_and_its_tunnel_only()
    {
        using PeTables pe = Make();
        var order = new OrderSpec(Tag, PeTables.Peer, new OrderOptions([new OrderedIngress("pe-c", ["fd00:ff::3", Ingress4])]));
        foreach ((string vrf, uint key) in ((string, uint)[])[("red", 77), ("blue", 78)])
        {
            pe.Do(new CreateTunnel($"mig-{vrf}", vrf, PeTables.Peer, key),
                new ArmHold(vrf, vrf, Set, $"mig-{vrf}", new HoldOptions(), order));
        }

        // A gate for each ingress and family, by the ends of the VPN tunnels: pe-c, the PE itself and the source.
        Assert.Equal([Ingress4, Ingress6, "10.255.0.1", "64:ff9b:1::10.255.0.1", "10.255.0.2", "64:ff9b:1::10.255.0.2"],
            pe.Actions.OrderOf("red")!.Gates.Select(g => IpAddress.Parse(g.Loopback)).Select(a => a.IsV4 ? $"{a}"
                : $"64:ff9b:1::{IpAddress.FromV4((uint)a.Low)}"));
        Marker(pe, "red", "mig-red", Ingress6);
        Assert.Equal(("pe-c 6", 0L), Moved(pe, "red"));
        Assert.Equal(("", 0L), Moved(pe, "blue"));

        // Out of another move's tunnel, or out of none: nothing is proved by it.
        Marker(pe, "red", "mig-blue", Ingress4);
        Marker(pe, "red", null, Ingress4);
        Assert.Equal(("pe-c 6", 2L), Moved(pe, "red"));
        Assert.Equal(("", 0L), Moved(pe, "blue"));
        Marker(pe, "blue", "mig-blue", Ingress4);
        Assert.Equal(("pe-c 4", 0L), Moved(pe, "blue"));
    }

    [Fact]
    public void At_the_source_the_markers_of_a_VRF_go_by_in_it_only()
    {
        using PeTables pe = Make();
        var order = new OrderSpec(Tag, PeTables.Peer,
            new OrderOptions([new OrderedIngress("pe", ["10.255.0.1"]), new OrderedIngress("pe-c", [Ingress4])]));
        foreach ((string vrf, uint key) in ((string, uint)[])[("red", 77), ("blue", 78)])
        {
            pe.Do(new CreateTunnel($"mig-{vrf}", vrf, PeTables.Peer, key), new ArmGroup(vrf, vrf, Set, $"mig-{vrf}", order),
                new SwitchToTunnel(vrf));
        }

        Assert.Equal(2, pe.Actions.OrderOf("red")!.Gates.Count);
        Marker(pe, "red", "vpn", Ingress4);
        Assert.Equal(("pe-c 4", 0L), Moved(pe, "red"));
        Assert.Equal(("", 0L), Moved(pe, "blue"));
    }

    /// <summary>
    /// An ingress: a VRF's routes to the moving prefixes go over from one VPN tunnel to another. A customer's router that says the same tag
    /// of its own route has no marker sent.
    /// </summary>
    [Fact]
    public async Task The_marker_goes_by_the_old_VPN_tunnel_with_the_key_of_its_VRF_and_none_goes_for_a_customers_word()
    {
        using PeTables pe = Make();
        IpAddress router = IpAddress.Parse("172.16.0.2");
        pe.State.Ports["core"].Entry.Neighbors.GetOrAdd(router)!.Resolve(MacAddress.Parse("02:00:00:00:0b:01"));
        foreach ((string vrf, uint old, uint next) in ((string, uint, uint)[])[("red", 7, 8), ("blue", 17, 18)])
        {
            pe.Tunnels.AddForVpn($"vpn-{old}", vrf, PeTables.Peer, old, sendOnly: false);
            pe.Tunnels.AddForVpn($"vpn-{next}", vrf, IpAddress.Parse("10.255.0.9"), next, sendOnly: false);
            pe.State.Vrfs[vrf].Rib.Reaches = _ => true;
        }

        using var sent = new Arrivals();
        var markers = new List<(uint Key, FlushMarker Marker, IpAddress From, IpAddress To)>();
        pe.Wires["core"].Tap = frame =>
        {
            ReadOnlySpan<byte> ip = frame.Bytes.AsSpan(14);
            if (ip.Length < 28 || ip[9] != IpProtocol.Gre) return;
            if (!FlushMarker.TryParse(ip[28..], out FlushMarker marker, out IpAddress from, out IpAddress to)) return;
            lock (markers) markers.Add((System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(ip[24..]), marker, from, to));
            sent.Tell();
        };
        var driver = new MarkerDriver(pe.State, pe.Loop);
        var session = new RouteOrigin(RouteSource.Bgp, "pe-b");
        var ce = new RouteOrigin(new BgpPeerKey(IpAddress.Parse("10.7.0.2")), 65009, external: true);
        Offer("red", session, PeTables.Peer, 7, null);
        Offer("blue", session, PeTables.Peer, 17, null);
        Offer("blue", ce, IpAddress.Parse("10.255.0.9"), 18, Tag);
        Offer("red", session, IpAddress.Parse("10.255.0.9"), 8, Tag);
        driver.Poll(Monotonic.Now + FlushMarkers.LastCopyNs);
        Assert.True(await sent.UntilAsync(() =>
        {
            lock (markers) return markers.Count >= 6;
        }, Patience.Time));
        Assert.Equal(long.MaxValue, driver.NextDeadline);
        lock (markers)
        {
            Assert.All(markers, m => Assert.Equal((7u, Tag, 1u, FlushMarkerFlags.None),
                (m.Key, m.Marker.Tag, m.Marker.Moved, m.Marker.Flags)));
            Assert.Equal([("10.255.0.1", "10.1.1.10"), (IpAddress.Parse("64:ff9b:1::10.255.0.1").ToString(), "fd00:1:1::10")],
                markers.Select(m => ($"{m.From}", $"{m.To}")).Distinct());
        }

        void Offer(string name, RouteOrigin origin, IpAddress endpoint, uint key, uint? tag)
        {
            VrfState vrf = pe.State.Vrfs[name];
            PathAttributes attributes = Attributes(tag);
            foreach (IpPrefix prefix in s_prefixes)
                vrf.Rib.Offer(origin, prefix, HopSpec.Remote($"tunnel:vpn-{key}", endpoint, key), attributes, Monotonic.Now);
            ReadOnlySpan<RibChange> changes = vrf.Rib.TakeChanges();
            driver.Note(vrf, changes);
            vrf.Publisher.Apply(changes);
            driver.Send(Monotonic.Now);
        }
    }

    private static PathAttributes Attributes(uint? tag)
    {
        AttributeBuilder builder = new AttributeBuilder().Clear().Origin(BgpOrigin.Igp).Path().LocalPref(100);
        if (tag is { } value) builder.Set(AttributeFlags.Optional | AttributeFlags.Transitive, AttributeCode.ExtendedCommunities,
            MoveTag.ToCommunity(value));
        return new AttributeTable().Intern(builder.Build());
    }

    private static PeTables Make() => new("""
        vrfs:
          - { name: red, key: 70 }
          - { name: blue, key: 71 }

        """);

    private static void Marker(PeTables pe, string vrf, string? tunnel, string from)
    {
        IpAddress sender = IpAddress.Parse(from);
        byte[] packet = new FlushMarker(Tag, 1, 0).ToPacket(sender, s_prefixes.First(p => p.Family == sender.Family).Address);
        var info = new PuntInfo
        {
            Reason = PuntReason.FlushMarker, Vrf = pe.State.Vrfs[vrf].Table.Index,
            Tunnel = tunnel is null ? null : pe.State.Tunnels.GetValueOrDefault(tunnel),
        };
        pe.Actions.Marker(info, packet, 1);
    }

    private static (string Moved, long Strange) Moved(PeTables pe, string group)
    {
        OrderInfo order = pe.Actions.OrderOf(group)!;
        IEnumerable<string> moved = order.Gates.Where(g => g.Moved > 0)
            .Select(g => $"{g.Ingress} {(IpAddress.Parse(g.Loopback).IsV4 ? 4 : 6)}");
        return (string.Join(", ", moved), order.StrangeMarkers);
    }
}
