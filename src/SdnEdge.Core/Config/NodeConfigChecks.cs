using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Config;

/// <summary>
/// What can only be seen with the whole file in hand: names that are there twice, names that are used and not defined,
/// addresses that overlap, next hops that no link reaches.
/// </summary>
internal static class NodeConfigChecks
{
    /// <summary>Key of the root mapping among the places.</summary>
    public static readonly object Root = new();

    public static void Run(NodeConfig config, Dictionary<object, MapReader> places, ConfigErrors errors)
    {
        Unique(config.Ports, p => Named(p.Name), "name", "a port", places, errors);
        Unique(config.Ports, p => Named(p.Device), "device", "a port on device", places, errors);
        Unique(config.Vrfs, v => Named(v.Name), "name", "a VRF", places, errors);
        Unique(config.Vrfs, v => v.Key, "key", "a VRF with key", places, errors);
        Unique(config.Vrfs, v => v.Rd, "rd", "a VRF with route distinguisher", places, errors);
        Unique(config.Tunnels, t => Named(t.Name), "name", "a tunnel", places, errors);
        Unique(config.Tunnels, t => t.Remote.IsNone ? null : new TunnelEnd(t.Remote, t.Key), "remote", "a tunnel to", places, errors);
        Unique(config.Bgp.Peers, p => p.Address.IsNone ? null : p.Name, "address", "a peer", places, errors);
        Unique(config.Bgp.Peers, p => p.OnLink ? p.LinkPort : null, "link", "a peer by link", places, errors);
        Unique(config.Static, r => new VrfPrefix(r.Vrf, r.Prefix), "prefix", "a static route for", places, errors);
        foreach (PortConfig port in config.Ports)
        {
            if (port.Device.Length > 0 && port.Device == config.Host?.Device) places[port].Error("device",
                $"'{port.Device}' is the host port's device; give each its own");
            Reference(places[port], "vrf", port.Vrf, config.Vrfs.Select(v => v.Name), "VRF", "vrfs");
        }

        Overlaps(config, places);
        foreach (StaticRouteConfig route in config.Static) CheckStatic(config, route, places[route]);
        foreach (TunnelConfig tunnel in config.Tunnels)
        {
            Reference(places[tunnel], "vrf", tunnel.Vrf, config.Vrfs.Select(v => v.Name), "VRF", "vrfs");
            if (config.Loopbacks.Contains(tunnel.Remote)) places[tunnel].Error("remote",
                $"'{tunnel.Remote}' is this node's own loopback; write the far end's");
        }

        foreach (BgpPeerConfig peer in config.Bgp.Peers)
        {
            Reference(places[peer], "vrf", peer.Vrf, config.Vrfs.Select(v => v.Name), "VRF", "vrfs");
            if (config.Loopbacks.Contains(peer.Address)) places[peer].Error("address",
                $"'{peer.Address}' is this node's own loopback; write the peer's");
            if (peer.OnLink && config.Bgp.Peers.FirstOrDefault(p => p.Key.Zone == peer.LinkPort) is { } named) places[peer].Error("link",
                $"'{peer.LinkPort}' has the peer {named.Key} too, which may be the same router; keep one of them");
        }

        Unique([.. config.BfdSessions], b => b.Key, "address", BfdConfigReader.SessionWith, places, errors);
        if (config.Bfd.Count > 0 && config.Bgp.Peers.Count == 0 && config.Host is null)
        {
            places[Root].Error("host", "is missing: BFD is spoken through the host port; write host: { device: host0 }");
        }

        if (config.Bgp.Peers.Count > 0 && config.Host is null)
        {
            places[Root].Error("host", "is missing: BGP peers are reached through the host port; write host: { device: host0 }");
        }
    }

    // What has no key, because it was not given or could not be read, is like nothing else.
    internal static void Unique<T>(IEnumerable<T> items, Func<T, object?> key, string field, string what, Dictionary<object,
        MapReader> places, ConfigErrors errors)
        where T : class
    {
        var first = new Dictionary<object, MapReader>();
        foreach (T item in items)
        {
            if (key(item) is not { } value || !places.TryGetValue(item, out MapReader? place)) continue;
            if (!first.TryAdd(value, place)) place.Error(field,
                $"{what} '{value}' is already there on line {(first[value].Node[field] ?? first[value].Node).Line}; each must be the only "
                + $"one");
        }
    }

    private static string? Named(string name) => name.Length > 0 ? name : null;

    private readonly record struct TunnelEnd(IpAddress Remote, uint? Key)
    {
        public override string ToString() => $"{Remote} key {Key?.ToString() ?? "none"}";
    }

    private readonly record struct VrfPrefix(string Vrf, IpPrefix Prefix)
    {
        public override string ToString() => $"{Vrf} {Prefix}";
    }

    private static bool Reference(MapReader place, string field, string name, IEnumerable<string> known, string what, string where)
    {
        var names = known.Where(n => n.Length > 0).Distinct().ToList();
        if (names.Contains(name)) return true;
        string use = names.Count > 0 ? $" or use one of {string.Join(", ", names)}" : "";
        place.Error(field, $"there is no {what} '{name}'; define it under {where}{use}{MapReader.DidYouMean(name, names)}");
        return false;
    }

    private static void Overlaps(NodeConfig config, Dictionary<object, MapReader> places)
    {
        var seen = new List<(PortConfig Port, InterfaceAddress Address)>();
        foreach (PortConfig port in config.Ports)
        {
            foreach (InterfaceAddress address in port.Addresses)
            {
                if (config.Loopbacks.Contains(address.Address)) places[port].Error("addresses",
                    $"{address.Address} is a loopback too; give the port its own address");
                foreach ((PortConfig other, InterfaceAddress taken) in seen)
                {
                    if (other.Vrf != port.Vrf) continue;
                    if (taken.Address == address.Address) places[port].Error("addresses",
                        $"{address} is already on port '{other.Name}'; an address belongs to one port");
                    else if (!ReferenceEquals(other, port)
                        && (taken.Subnet.Contains(address.Subnet) || address.Subnet.Contains(taken.Subnet)))
                        places[port].Error("addresses",
                            $"{address} overlaps {taken} of port '{other.Name}' in VRF '{port.Vrf}'; give each link its own subnet, or put "
                            + $"one port in another VRF");
                }

                seen.Add((port, address));
            }
        }
    }

    private static void CheckStatic(NodeConfig config, StaticRouteConfig route, MapReader place)
    {
        Reference(place, "vrf", route.Vrf, config.Vrfs.Select(v => v.Name), "VRF", "vrfs");
        if (route.Tunnel is { } tunnel) Reference(place, "tunnel", tunnel, config.Tunnels.Select(t => t.Name), "tunnel", "tunnels");
        PortConfig? port = null;
        if (route.Port is { } name && Reference(place, "port", name, config.Ports.Select(p => p.Name), "port", "ports"))
        {
            port = config.Ports.First(p => p.Name == name);
            if (port.Vrf != route.Vrf) place.Error("port",
                $"port '{name}' is in VRF '{port.Vrf}', the route in '{route.Vrf}'; both must be in the same");
            else if (!port.Addresses.Any(a => a.Address.Family == route.Prefix.Address.Family))
                place.Error("port", $"port '{name}' has no {NodeConfigLoader.Family(route.Prefix.Address)} address; give it one, or choose "
                    + $"another port");
        }

        if (route.Via is not { } via) return;
        if (via.Family != route.Prefix.Address.Family)
        {
            place.Error("via", $"'{via}' is {NodeConfigLoader.Family(via)} and the prefix {NodeConfigLoader.Family(route.Prefix.Address)}; "
                + $"both must be of one family");
            return;
        }

        var links = config.Ports.Where(p => p.Vrf == route.Vrf && (port is null || p == port)).ToList();
        if (links.Any(p => p.Addresses.Any(a => a.Address == via))) place.Error("via",
            $"'{via}' is this node's own address; write the neighbour's");
        else if (!via.IsLinkLocal && !links.Any(p => p.Addresses.Any(a => a.Subnet.Contains(via))))
            place.Error("via", $"'{via}' is on no link of VRF '{route.Vrf}'; write a neighbour in the subnet of a "
                + $"port{(port is null ? "" : $" ('{port.Name}')")}");
        else if (via.IsLinkLocal && via.IsV6 && route.Port is null) place.Error("via",
            $"'{via}' is link-local, so the port must be named; add port: NAME");
    }
}
