using SdnEdge.Core.Api;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Api;
using SdnEdge.Web;

namespace SdnEdge.Router.Control;

/// <summary>What the API shows of the PE, as its records. Reads only; runs on the control loop.</summary>
internal sealed class PeView(PeState state, TunnelKeeper tunnels, SlowPathDriver slowPath, BgpDriver bgp, DeviceWatch devices,
    ControlLoop loop)
{
    private static readonly CommunityKind[] CommunityKinds = Enum.GetValues<CommunityKind>();

    public IReadOnlyList<PortInfo> Ports()
    {
        IEnumerable<PortState> all = state.Ports.Values.OrderBy(p => p.Entry.Index);
        return [.. (state.HostPort is { } host ? all.Append(host) : all).Concat(state.VrfHosts.Values)
            .Concat(state.LinkHosts.Values).Select(Port)];
    }

    public IReadOnlyList<VrfInfo> Vrfs()
        => [.. state.Vrfs.Values.Select(v => new VrfInfo(v.Config.Name, v.Config.Key, v.Table.V4.Count, v.Table.V6.Count)
    {
        Rd = v.Config.Rd?.ToString(),
        Import = [.. v.Config.Import.Select(t => t.ToString())],
        Export = [.. v.Config.Export.Select(t => t.ToString())],
    })];

    public IReadOnlyList<RouteInfo> Routes(RouteQuery query)
    {
        var list = new List<RouteInfo>();
        var ofOne = new List<RouteView>();
        foreach ((VrfState vrf, IpPrefix? inside) in Selected(query))
        {
            foreach (RouteView route in vrf.Rib.All())
            {
                if (inside is { } within && !within.Contains(route.Prefix)) continue;
                if (ofOne.Count > 0 && ofOne[0].Prefix != route.Prefix) Show(vrf, ofOne, list);
                if (list.Count >= query.Limit) break;
                ofOne.Add(route);
            }

            Show(vrf, ofOne, list);
        }

        return list.Count > query.Limit ? list.GetRange(0, query.Limit) : list;
    }

    private void Show(VrfState vrf, List<RouteView> ofOnePrefix, List<RouteInfo> into)
    {
        foreach (RouteView route in ofOnePrefix) into.Add(Route(vrf, route, ofOnePrefix));
        ofOnePrefix.Clear();
    }

    private RouteInfo Route(VrfState vrf, RouteView route, IReadOnlyList<RouteView> all) => new(
        vrf.Config.Name, route.Prefix.ToString(), route.Origin.Source.ToString().ToLowerInvariant(), route.Best,
        route.Hop.Spec.Kind is HopKind.Via or HopKind.Remote ? route.Hop.Spec.Address.ToString() : route.Hop.Spec.GroupName is { } group
            ? $"group {group}" : null,
        route.Hop.Resolved.Port, route.Attributes?.LocalPref ?? (route.Best ? bgp.Told(vrf.Config.Name, route.Prefix) : null),
        route.Origin.Source == RouteSource.Bgp ? route.Origin.PeerKey.ToString() : null,
        route.Attributes?.AsPathText(), route.WhyNot == RejectReason.None ? null : Kebab(route.WhyNot), route.InstalledAtNs)
    {
        Why = Damped(vrf, route) ?? BestPathReason.Text(route, all),
        Stale = route.Stale,
        Med = route.Attributes?.Med,
        ToldInside = route.Best && route.Origin.Source != RouteSource.Bgp ? bgp.ToldInside(vrf.Config.Name, route.Prefix) : null,
        Communities = route.Attributes is { } attributes
            ? [.. CommunityKinds.SelectMany(k => BgpCommunity.Of(attributes, k)).Select(c => c.ToString())] : null,
    };

    // A route without a number beside one with the number that is held on to, and the prefix is damped: that is why.
    private string? Damped(VrfState vrf, in RouteView route)
        => route.WhyNot == RejectReason.MoveSequence && vrf.Config.Name == Core.Config.NodeConfig.DefaultVrf
        && route.Attributes?.MobilitySequence == 0 && bgp.Damping?.Find(route.Prefix) is { } damped
        ? $"damped: moves too often, {damped.HeldBack} not followed; move {damped.Number} is held on to" : null;

    public IReadOnlyList<FibInfo> Fib(RouteQuery query)
    {
        var list = new List<FibInfo>();
        foreach ((VrfState vrf, IpPrefix? inside) in Selected(query))
        {
            IpPrefix? last = null;
            foreach (RouteView route in vrf.Rib.All())
            {
                if (route.Prefix == last || (inside is { } within && !within.Contains(route.Prefix))) continue;
                last = route.Prefix;
                if (vrf.Publisher.LeafOf(route.Prefix) is not { } leaf) continue;
                if (list.Count == query.Limit) return list;
                (string action, string? hop, string? port, string? mac) = Describe(leaf.ForOthers, null);
                list.Add(new FibInfo(vrf.Config.Name, route.Prefix.ToString(), action, hop, port, mac, leaf.Group?.Name));
            }
        }

        return list;
    }

    public FibInfo Lookup(string vrfName, IpAddress address)
    {
        if (!state.Vrfs.TryGetValue(vrfName, out VrfState? vrf)) throw NoVrf(vrfName);
        int length;
        uint index;
        bool there = address.IsV4 ? vrf.Table.V4.TryMatch(address.V4, out length, out index)
            : vrf.Table.V6.TryMatch(address.Bits, out length, out index);
        if (!there || vrf.Table.Leaf(index) is not { } leaf) return new FibInfo(vrfName, "", "no-route", null, null, null, null);
        (string action, string? hop, string? port, string? mac) = Describe(leaf.ForOthers, address);
        return new FibInfo(vrfName, new IpPrefix(address, length).ToString(), action, hop, port, mac, leaf.Group?.Name);
    }

    public IReadOnlyList<NeighborInfo> Neighbors() =>
    [
        .. from n in slowPath.Neighbors
           let port = state.PortByIndex(n.Port)
           where port is not null
           orderby port.Entry.Index, n.Address
           select new NeighborInfo(port.Config.Name, n.Address.ToString(), n.Mac?.ToString(), Kebab(n.State),
               n.ConfirmedAtNs == 0 ? 0 : Math.Max(0, (loop.Now - n.ConfirmedAtNs) / 1_000_000_000)),
    ];

    public IReadOnlyList<TunnelInfo> Tunnels() =>
    [
        .. from t in tunnels.All
           let o = t.Tunnel.Options
           select new TunnelInfo(o.Name, o.Encapsulation == TunnelEncapsulation.Gre ? "gre" : "gre-in-udp", o.Local.ToString(),
               o.Remote.ToString(), o.Key,
               t.Tunnel.Vrf.Name, TunnelKeeper.MtuOf(t.Tunnel) ?? t.Tunnel.Options.Mtu, t.Up,
               t.Tunnel.TxPackets, t.Tunnel.TxBytes, t.Tunnel.RxPackets, t.Tunnel.RxBytes,
               t.Probe?.Sent ?? 0, t.Probe?.Received ?? 0, t.Probe is { LastRttNs: > 0 } probe ? probe.LastRttNs / 1e6 : null,
               t.Tunnel.LastPacketAtNs)
           {
               State = t.Up ? "up" : t.Tunnel.Up ? "unanswered" : "down",
               PathMtu = t.Tunnel.PathMtu is > 0 and int path ? path : null,
           },
    ];

    public IReadOnlyList<DropInfo> Drops() =>
    [
        .. from reason in Enum.GetValues<DropReason>()
           where reason != DropReason.None
           let packets = state.Plane.Drops(reason)
           where packets > 0
           select new DropInfo(Kebab(reason), packets),
    ];

    public static string Kebab<T>(T value)
        where T : struct, Enum => System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());

    private PortInfo Port(PortState port)
    {
        PortEntry e = port.Entry;
        string kind = e.IsHost ? "host" : port.Device is Linux.TapPort ? "tap"
            : port.Device.GetType().Name.Replace("Port", "", StringComparison.Ordinal).ToLowerInvariant();
        return new PortInfo(port.Config.Name, kind, port.Config.Device, e.Vrf.Name, e.Mac.ToString(), e.Mtu, e.Up && !port.Device.IsGone,
            [.. e.Addresses.Select(a => $"{a.Address}/{a.PrefixLength}")], e.RxPackets, e.RxBytes, e.TxPackets, e.TxBytes, e.Drops)
        {
            DeviceMtu = devices.DeviceMtu(port.Config.Name),
            MtuChanges = devices.Changes(port.Config.Name),
        };
    }

    private static (string Action, string? Hop, string? Port, string? Mac) Describe(ForwardingDecision decision, IpAddress? destination)
        => decision.Kind switch
    {
        ForwardingKind.Via => ("via", decision.Adjacency!.Address.ToString(), decision.Port!.Name, decision.Adjacency.Mac?.ToString()),
        ForwardingKind.Connected => ("connected", destination?.ToString(), decision.Port!.Name,
            destination is { } to ? decision.Port.Neighbors.Find(to)?.Mac?.ToString() : null),
        ForwardingKind.Tunnel => ("tunnel", decision.Tunnel!.Options.Remote.ToString(), decision.Tunnel.Name, null),
        ForwardingKind.Hold => ("hold", null, null, null),
        ForwardingKind.Drop => ($"drop-{Kebab(decision.Reason)}", null, null, null),
        _ => (Kebab(decision.Kind), null, null, null),
    };

    private IEnumerable<(VrfState Vrf, IpPrefix? Inside)> Selected(RouteQuery query)
    {
        if (query.Vrf is { } name) return state.Vrfs.TryGetValue(name, out VrfState? vrf) ? [(vrf, query.Prefix)] : throw NoVrf(name);
        return state.Vrfs.Values.Select(v => (v, query.Prefix));
    }

    private ProblemException NoVrf(string name)
        => new(Problems.NotFound($"there is no VRF '{name}'; there are {string.Join(", ", state.Vrfs.Keys)}"));
}
