using SdnEdge.Core.Bfd;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Config;

/// <summary>One step from an old configuration to a new one.</summary>
public abstract record ConfigAction
{
    /// <summary>A line for people: <c>+ static 10.0.0.0/8</c>.</summary>
    public sealed override string ToString() => this switch
    {
        AddVrf a => $"+ vrf {a.Vrf.Name}",
        RemoveVrf a => $"- vrf {a.Vrf.Name}",
        ChangeVrf a => $"~ vrf {a.Vrf.Name}",
        AddPort a => $"+ port {a.Port.Name}",
        RemovePort a => $"- port {a.Port.Name}",
        ChangePort a => $"~ port {a.New.Name}",
        AddTunnel a => $"+ tunnel {a.Tunnel.Name}",
        RemoveTunnel a => $"- tunnel {a.Tunnel.Name}",
        AddStatic a => $"+ static {a.Route.Vrf} {a.Route.Prefix}",
        RemoveStatic a => $"- static {a.Route.Vrf} {a.Route.Prefix}",
        AddPeer a => $"+ bgp peer {a.Peer.Name}",
        RemovePeer a => $"- bgp peer {a.Peer.Name}",
        AddBfd a => $"+ bfd {a.Session.Title}",
        RemoveBfd a => $"- bfd {a.Session.Title}",
        ChangeBfd a => $"~ bfd {a.Session.Title}",
        ChangePeerPolicy a => $"~ bgp peer {a.Peer.Name} policy",
        ChangeAdvertise => "~ bgp advertise",
        NeedsRestart a => $"! {a.Field}",
        _ => GetType().Name,
    };
}

/// <summary>A new VRF.</summary>
public sealed record AddVrf(VrfConfig Vrf) : ConfigAction;

/// <summary>A VRF is gone.</summary>
public sealed record RemoveVrf(VrfConfig Vrf) : ConfigAction;

/// <summary>A VRF's distinguisher or route targets changed; its ports and routes stay.</summary>
public sealed record ChangeVrf(VrfConfig Vrf) : ConfigAction;

/// <summary>A new port, or one that must be opened anew.</summary>
public sealed record AddPort(PortConfig Port) : ConfigAction;

/// <summary>A port is gone, or must be closed before it is opened anew.</summary>
public sealed record RemovePort(PortConfig Port) : ConfigAction;

/// <summary>Addresses or MTU changed; the device stays open.</summary>
public sealed record ChangePort(PortConfig Old, PortConfig New) : ConfigAction;

/// <summary>A new or changed tunnel.</summary>
public sealed record AddTunnel(TunnelConfig Tunnel) : ConfigAction;

/// <summary>A tunnel is gone or changed.</summary>
public sealed record RemoveTunnel(TunnelConfig Tunnel) : ConfigAction;

/// <summary>A new static route. One for a prefix that had another replaces it in one step.</summary>
public sealed record AddStatic(StaticRouteConfig Route) : ConfigAction;

/// <summary>A static route is gone.</summary>
public sealed record RemoveStatic(StaticRouteConfig Route) : ConfigAction;

/// <summary>A new or changed BGP peer.</summary>
public sealed record AddPeer(BgpPeerConfig Peer) : ConfigAction;

/// <summary>A BGP peer is gone or changed.</summary>
public sealed record RemovePeer(BgpPeerConfig Peer) : ConfigAction;

/// <summary>A new BFD session.</summary>
public sealed record AddBfd(BfdConfig Session) : ConfigAction;

/// <summary>A BFD session is gone.</summary>
public sealed record RemoveBfd(BfdConfig Session) : ConfigAction;

/// <summary>A BFD session's interval, multiplier or shutdown changed; it stays up if it was.</summary>
public sealed record ChangeBfd(BfdConfig Session) : ConfigAction;

/// <summary>Only the policies of a BGP peer changed: its session stays.</summary>
public sealed record ChangePeerPolicy(BgpPeerConfig Peer) : ConfigAction;

/// <summary>What BGP originates changed: sources or LOCAL_PREF.</summary>
public sealed record ChangeAdvertise(BgpConfig Bgp) : ConfigAction;

/// <summary>A field that only takes effect when the PE starts; a reload with one of these is refused as a whole.</summary>
public sealed record NeedsRestart(string Field) : ConfigAction;

/// <summary>
/// A change of configuration as data. Applied in order it never uses what is not there yet: what depends goes first,
/// what is depended upon comes first. What did not change has no action.
/// </summary>
public static class ConfigDiff
{
    /// <summary>The steps from <paramref name="old"/> to <paramref name="next"/>; none when both say the same.</summary>
    public static IReadOnlyList<ConfigAction> Between(NodeConfig old, NodeConfig next)
    {
        var actions = new List<ConfigAction>();
        if (old.Name != next.Name) actions.Add(new NeedsRestart("name"));
        if (old.RouterId != next.RouterId) actions.Add(new NeedsRestart("routerId"));
        if (old.As != next.As) actions.Add(new NeedsRestart("as"));
        if (!old.Loopbacks.SequenceEqual(next.Loopbacks)) actions.Add(new NeedsRestart("loopbacks"));
        if (old.Workers != next.Workers) actions.Add(new NeedsRestart("workers"));
        if (old.Host != next.Host) actions.Add(new NeedsRestart("host"));
        if (old.State != next.State) actions.Add(new NeedsRestart("state"));
        if (old.Forwarding != next.Forwarding) actions.Add(new NeedsRestart("forwarding"));
        if (old.Api != next.Api) actions.Add(new NeedsRestart("api"));
        if (old.Telemetry != next.Telemetry) actions.Add(new NeedsRestart("telemetry"));
        if (old.Bgp.Port != next.Bgp.Port) actions.Add(new NeedsRestart("bgp.port"));
        if (old.Bgp.ClusterId != next.Bgp.ClusterId) actions.Add(new NeedsRestart("bgp.clusterId"));
        if (old.Bgp.ResolveByDefault != next.Bgp.ResolveByDefault) actions.Add(new NeedsRestart("bgp.resolveByDefault"));
        if (old.Bgp.MoveDamping != next.Bgp.MoveDamping) actions.Add(new NeedsRestart("bgp.moveDamping"));
        if (old.Bgp.GracefulRestart != next.Bgp.GracefulRestart) actions.Add(new NeedsRestart("bgp.gracefulRestart"));

        Changes<BgpPeerConfig, string> peers = Compare(old.Bgp.Peers, next.Bgp.Peers, p => p.Name,
            (a, b) => WithoutBfd(a) == WithoutBfd(b) && SameLink(a, old, next));
        Changes<BfdConfig, BfdKey> bfd = Compare([.. old.BfdSessions], [.. next.BfdSessions], b => b.Key, (a, b) => a == b);
        Changes<StaticRouteConfig,
            (string Vrf, IpPrefix Prefix)> routes = Compare(old.Static, next.Static, r => (r.Vrf, r.Prefix), (a, b) => a == b);
        Changes<TunnelConfig, string> tunnels = Compare(old.Tunnels, next.Tunnels, t => t.Name, (a, b) => a == b);
        Changes<PortConfig, string> ports = Compare(old.Ports, next.Ports, p => p.Name, Same);
        Changes<VrfConfig, string> vrfs = Compare(old.Vrfs, next.Vrfs, v => v.Name, (a, b) => a == b);

        // Ports and tunnels hold the table that a VRF was made with, and its key.
        actions.AddRange(vrfs.Changed.Where(c => c.Old.Key != c.New.Key).Select(c => new NeedsRestart($"vrfs.{c.New.Name}.key")));

        // A route through a port or tunnel that is made anew is made anew with it.
        var remade = ports.Changed.Where(c => !InPlace(c.Old, c.New)).Select(c => c.New.Name).ToHashSet();
        var rewrapped = tunnels.Changed.Select(c => c.New.Name).ToHashSet();
        IReadOnlyList<StaticRouteConfig> carried = [.. next.Static.Where(r => old.Static.Contains(r)
            && ((r.Port is not null && remade.Contains(r.Port)) || (r.Tunnel is not null && rewrapped.Contains(r.Tunnel))))];
        actions.AddRange(bfd.Gone.Select(b => new RemoveBfd(b)));
        actions.AddRange(peers.Gone.Concat(peers.Changed.Where(c => !PolicyOnly(c.Old, c.New, old, next)).Select(c => c.Old)).Select(p
            => new RemovePeer(p)));
        actions.AddRange(routes.Gone.Concat(carried).Select(r => new RemoveStatic(r)));
        actions.AddRange(tunnels.Gone.Concat(tunnels.Changed.Select(c => c.Old)).Select(t => new RemoveTunnel(t)));
        actions.AddRange(ports.Gone.Concat(ports.Changed.Where(c => !InPlace(c.Old, c.New)).Select(c => c.Old)).Select(p
            => new RemovePort(p)));
        actions.AddRange(vrfs.Gone.Select(v => new RemoveVrf(v)));

        actions.AddRange(vrfs.New.Select(v => new AddVrf(v)));
        actions.AddRange(vrfs.Changed.Where(c => c.Old.Key == c.New.Key).Select(c => new ChangeVrf(c.New)));
        actions.AddRange(ports.New.Concat(ports.Changed.Where(c => !InPlace(c.Old, c.New)).Select(c => c.New)).Select(p => new AddPort(p)));
        actions.AddRange(ports.Changed.Where(c => InPlace(c.Old, c.New)).Select(c => new ChangePort(c.Old, c.New)));
        actions.AddRange(tunnels.New.Concat(tunnels.Changed.Select(c => c.New)).Select(t => new AddTunnel(t)));
        actions.AddRange(routes.New.Concat(routes.Changed.Select(c => c.New)).Concat(carried).Select(r => new AddStatic(r)));
        actions.AddRange(peers.New.Concat(peers.Changed.Where(c => !PolicyOnly(c.Old, c.New, old, next)).Select(c => c.New)).Select(p
            => new AddPeer(p)));
        actions.AddRange(peers.Changed.Where(c => PolicyOnly(c.Old, c.New, old, next)).Select(c => new ChangePeerPolicy(c.New)));
        actions.AddRange(bfd.New.Select(b => new AddBfd(b)));
        actions.AddRange(bfd.Changed.Select(c => new ChangeBfd(c.New)));
        if (old.Bgp.Advertise != next.Bgp.Advertise || old.Bgp.LocalPref != next.Bgp.LocalPref) actions.Add(new ChangeAdvertise(next.Bgp));
        return actions;
    }

    private static bool PolicyOnly(BgpPeerConfig a, BgpPeerConfig b, NodeConfig old, NodeConfig next) => SameLink(a, old, next)
        && WithoutBfd(a) with { Import = b.Import, Export = b.Export, ImportPolicy = b.ImportPolicy, ExportPolicy = b.ExportPolicy }
            == WithoutBfd(b);

    // BFD has steps of its own, but for a peer whose address no file names.
    private static BgpPeerConfig WithoutBfd(BgpPeerConfig peer) => peer.OnLink ? peer : peer with { Bfd = null };

    // A peer on a link is told our addresses there as next hops.
    private static bool SameLink(BgpPeerConfig peer, NodeConfig old, NodeConfig next)
    {
        if (peer.LinkPort is not { } name) return true;
        PortConfig? before = old.Ports.FirstOrDefault(p => p.Name == name), after = next.Ports.FirstOrDefault(p => p.Name == name);
        return before is not null && after is not null && before.Mac == after.Mac && before.Addresses.SequenceEqual(after.Addresses);
    }

    private static bool Same(PortConfig a, PortConfig b)
        => a with { Addresses = b.Addresses } == b && a.Addresses.SequenceEqual(b.Addresses);

    // Device, MAC address and VRF belong to the open port; MTU and addresses can change under traffic.
    private static bool InPlace(PortConfig a, PortConfig b) => a with { Addresses = b.Addresses, Mtu = b.Mtu } == b;

    private static Changes<T, TKey> Compare<T, TKey>(IReadOnlyList<T> old, IReadOnlyList<T> next, Func<T, TKey> key, Func<T, T, bool> same)
        where TKey : notnull
    {
        var before = old.ToDictionary(key);
        var after = next.ToDictionary(key);
        return new Changes<T, TKey>(
            [.. old.Where(o => !after.ContainsKey(key(o)))],
            [.. next.Where(n => !before.ContainsKey(key(n)))],
            [.. next.Where(n => before.TryGetValue(key(n), out T? o) && !same(o, n)).Select(n => (before[key(n)], n))]);
    }

    private readonly record struct Changes<T, TKey>(IReadOnlyList<T> Gone, IReadOnlyList<T> New, IReadOnlyList<(T Old, T New)> Changed);
}
