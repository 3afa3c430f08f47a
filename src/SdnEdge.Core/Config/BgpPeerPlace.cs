using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Config;

/// <summary>
/// Where a BGP peer is, and which address of ours speaks with it.
/// <list type="number">
/// <item>A peer known by its link alone (<c>link: core</c>) is whoever is the router there.</item>
/// <item>A link-local peer names its port (<c>fe80::9%core</c>): our end is the port's link-local address.</item>
/// <item>Said by <c>local</c>: that address, or that port's address.</item>
/// <item>Unsaid, and the peer is in the subnet of a port: our address there.</item>
/// <item>Else the first loopback of its family.</item>
/// </list>
/// In a VRF other than the default one the peer is a CE on a port of that VRF.
/// </summary>
internal static class BgpPeerPlace
{
    private const string Example = "10.255.0.2";

    public static BgpPeerConfig Read(MapReader item, BgpPeerConfig peer, NodeConfig node)
    {
        string? local = item.Text("local", example: "172.16.0.1"), vrf = item.Text("vrf", example: NodeConfig.DefaultVrf);
        if (item.Text("link", example: "core") is { } on) return ByLink(item, peer, on, vrf, node);
        if (item.Has("advertiseEvery")) item.Error("advertiseEvery", "is for peers known by their link alone (link: PORT); take it out");
        if (item.Text("address", required: true, Example) is not { } text) return peer;
        if (!BgpPeerKey.TryParse(text, out BgpPeerKey key))
        {
            item.Error("address", text.Contains('/', StringComparison.Ordinal)
                ? $"'{text}' is a prefix where an address belongs; write it without the length, as {Example}"
                : MapReader.WithoutZeros(text) is { } plain ? $"'{text}' has leading zeros, which are octal to some programs; write {plain}"
                : $"'{text}' is not an IP address; write it as {Example}, or \"fe80::9%PORT\" for a link-local one");
            return peer;
        }

        if (Martians.WhyNot(key.Address) is { } why)
        {
            item.Error("address", $"'{text}' {why}; write the address of a router, as {Example}");
            return peer;
        }

        peer = peer with { Address = key.Address, Vrf = vrf ?? NodeConfig.DefaultVrf };
        if (key.Address is { IsV6: true, IsLinkLocal: true }) return OnLinkLocal(item, peer, key.Zone, local, vrf, node);
        if (key.Zone is not null)
        {
            item.Error("address", $"'{text}': only a link-local address names its port; write {key.Address}");
            return peer;
        }

        CheckVrf(item, peer, node);
        List<PortConfig> ports = [.. node.Ports.Where(p => p.Vrf == peer.Vrf)];
        if (ports.Any(p => p.Addresses.Any(a => a.Address == key.Address)))
        {
            item.Error("address", $"'{key.Address}' is this node's own address; write the peer's");
            return peer;
        }

        PortConfig? link = ports.Find(p => p.Addresses.Any(a => a.Subnet.Contains(key.Address)));
        if (link is null && vrf is null && IsOfAnotherVrf(key.Address, node) is { } elsewhere)
        {
            item.Error("address", $"'{key.Address}' is on port '{elsewhere.Name}' of VRF '{elsewhere.Vrf}'; add vrf: {elsewhere.Vrf} for a "
                + $"session there, or vrf: {NodeConfig.DefaultVrf} for one by routes of that");
            return peer;
        }

        if (local is not null) return From(item, peer, local, link, ports, node);
        if (link is null && peer.Vrf != NodeConfig.DefaultVrf && node.Vrfs.Any(v => v.Name == peer.Vrf))
        {
            item.Error("address", $"'{key.Address}' is in no subnet of a port of VRF '{peer.Vrf}'; write the address of a CE on a link "
                + "there, or local: PORT and multihop for one behind it");
            return peer;
        }

        IpAddress own = link?.Addresses.First(a => a.Subnet.Contains(key.Address)).Address
            ?? node.Loopbacks.FirstOrDefault(l => l.Family == key.Address.Family);
        if (own.IsNone && node.Loopbacks.Count > 0) item.Error("address",
            $"'{key.Address}' is on no link of VRF {NodeConfig.DefaultVrf}, and there is no loopback of its family to speak from; add one "
            + $"to loopbacks");
        return peer with { Local = own, LinkPort = link?.Name };
    }

    // A CE: what is between PEs of one AS has no place there.
    private static void CheckVrf(MapReader item, BgpPeerConfig peer, NodeConfig node)
    {
        if (peer.Vrf == NodeConfig.DefaultVrf) return;
        if (peer.As == node.As) item.Error("vrf", $"is for CEs of another AS, and AS {peer.As} is ours; take it out");
    }

    private static BgpPeerConfig ByLink(MapReader item, BgpPeerConfig peer, string on, string? vrf, NodeConfig node)
    {
        string[] names = [.. node.Ports.Select(p => p.Name).Where(n => n.Length > 0)];
        if (node.Ports.FirstOrDefault(p => p.Name == on) is not { } port)
        {
            item.Error("link", $"there is no port '{on}'; write one of {string.Join(", ", names)}{MapReader.DidYouMean(on, names)}");
            return peer;
        }

        foreach (string other in (ReadOnlySpan<string>)["address", "local", "multihop"])
        {
            if (item.Has(other)) item.Error(other, other == "address"
                ? "cannot stand beside link: the peer is whoever is the router there; keep one of them"
                : "cannot stand beside link: the session is of link-local addresses, one hop; take it out");
        }

        if (vrf is not null && port.Vrf != vrf) item.Error("vrf", $"port '{on}' is in VRF '{port.Vrf}', which is the peer's; take it out");
        peer = peer with { OnLink = true, LinkPort = on, Vrf = port.Vrf, Multihop = null,
            AdvertiseSeconds = (int)item.Number("advertiseEvery", 3, 1800, peer.AdvertiseSeconds) };
        CheckVrf(item, peer, node);
        return peer;
    }

    private static BgpPeerConfig OnLinkLocal(MapReader item, BgpPeerConfig peer, string? zone, string? local, string? vrf, NodeConfig node)
    {
        string[] names = [.. node.Ports.Select(p => p.Name).Where(n => n.Length > 0)];
        string write = $"write \"{peer.Address}%{(names.Length > 0 ? names[0] : "PORT")}\"";
        if (zone is null) item.Error("address", $"'{peer.Address}' is link-local, so the port must be named; {write}");
        else if (node.Ports.FirstOrDefault(p => p.Name == zone) is not { } port) item.Error("address",
            $"there is no port '{zone}'; {write}{MapReader.DidYouMean(zone, names)}");
        else if (vrf is not null && port.Vrf != vrf) item.Error("vrf",
            $"port '{zone}' is in VRF '{port.Vrf}', which is the peer's; take it out");
        else if (local is not null && local != zone) item.Error("local",
            $"'{local}' cannot speak with a link-local peer, only the port's own link-local address can; take it out");
        else peer = peer with { Vrf = port.Vrf };
        peer = peer with { LinkPort = zone };
        CheckVrf(item, peer, node);
        return peer;
    }

    private static BgpPeerConfig From(
        MapReader item, BgpPeerConfig peer, string local, PortConfig? link, List<PortConfig> ports, NodeConfig node)
    {
        IpFamily family = peer.Address.Family;
        IpAddress address;
        if (ports.Find(p => p.Name == local) is { } port)
        {
            List<InterfaceAddress> own = [.. port.Addresses.Where(a => a.Address.Family == family)];
            if (own.Count == 0)
            {
                item.Error("local",
                    $"port '{local}' has no {NodeConfigLoader.Family(peer.Address)} address; give it one, or write another");
                return peer;
            }

            address = own.Find(a => a.Subnet.Contains(peer.Address)) is { Address.IsNone: false } inside ? inside.Address : own[0].Address;
        }
        else if (!IpAddress.TryParse(local, out address))
        {
            string[] names = [.. ports.Select(p => p.Name)];
            item.Error("local", $"'{local}' is neither an address nor a port of VRF {peer.Vrf}; write one of "
                + $"{string.Join(", ", OwnOf(family, peer, ports, node).Select(a => a.ToString()).Concat(names))}"
                + MapReader.DidYouMean(local, names));
            return peer;
        }
        else if (address.Family != family)
        {
            item.Error("local", $"'{local}' is {NodeConfigLoader.Family(address)} and the peer {NodeConfigLoader.Family(peer.Address)}; "
                + $"both must be of one family");
            return peer;
        }
        else if (!OwnOf(family, peer, ports, node).Contains(address))
        {
            item.Error("local", $"'{local}' is no address of this node in VRF {peer.Vrf}; write one of "
                + $"{string.Join(", ", OwnOf(family, peer, ports, node))}");
            return peer;
        }

        // From elsewhere the peer is reached by routes, also when it is on a link.
        bool onLink = link?.Addresses.Any(a => a.Address == address) == true;
        return peer with { Local = address, LocalOnly = true, LinkPort = onLink ? link!.Name : null };
    }

    // Addresses of VRFs may overlap: one that a route of the default VRF leads to is meant there.
    private static PortConfig? IsOfAnotherVrf(IpAddress address, NodeConfig node)
        => node.Static.Any(r => r.Vrf == NodeConfig.DefaultVrf && r.Prefix.Contains(address)) ? null
            : node.Ports.FirstOrDefault(p => p.Vrf != NodeConfig.DefaultVrf && p.Addresses.Any(a => a.Subnet.Contains(address)));

    private static IEnumerable<IpAddress> OwnOf(IpFamily family, BgpPeerConfig peer, List<PortConfig> ports, NodeConfig node)
        => (peer.Vrf == NodeConfig.DefaultVrf ? node.Loopbacks : []).Concat(ports.SelectMany(p => p.Addresses).Select(a => a.Address))
            .Where(a => a.Family == family);
}
