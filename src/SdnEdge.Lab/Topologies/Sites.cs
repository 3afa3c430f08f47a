using System.Text.RegularExpressions;
using SdnEdge.Core.Wire;

namespace SdnEdge.Lab.Topologies;

/// <summary>A place a server can live at.</summary>
/// <param name="Name">The site's name: the node at the far end of the server's leg, or the link's label <c>site</c>.</param>
/// <param name="Leg">Interface of the server there.</param>
/// <param name="Pe">The PE router of the site; null when the leg leads to none.</param>
/// <param name="PeInterface">The interface at that PE, e.g. <c>eth2</c>.</param>
/// <param name="PePort">The port's name in that PE's configuration, e.g. <c>dc</c>.</param>
public sealed record LabSite(string Name, string Leg, string? Pe, string? PeInterface, string? PePort);

/// <summary>A place whence traffic comes in: a client behind a PE that is no site of the server.</summary>
/// <param name="Name">The client's node.</param>
/// <param name="Pe">Its PE router.</param>
/// <param name="Addresses">The client's addresses, from its exec lines.</param>
public sealed record LabIngress(string Name, string Pe, IReadOnlyList<InterfaceAddress> Addresses);

/// <summary>What a topology says about sites and ingresses.</summary>
public static partial class Sites
{
    /// <summary>The sites of a server, in the order of its links.</summary>
    public static IReadOnlyList<LabSite> Of(LabTopology topology, string server)
    {
        var sites = new List<LabSite>();
        foreach (LabLink leg in topology.LinksOf(server))
        {
            LinkEnd? pe = FindPe(topology, leg, server, []);
            LabNode? router = pe is null ? null : topology.Find(pe.Node);
            sites.Add(new LabSite(NameOf(leg, server), leg.EndAt(server)!.Interface, pe?.Node, pe?.Interface,
                pe is null || router?.HasConfig != true ? null : PortName(router.ReadConfig(), pe.Interface)));
        }

        return sites;
    }

    /// <summary>
    /// The ingresses of a topology: nodes of kind linux next to a PE, of ours or of FRR or BIRD, where no server has a leg.
    /// </summary>
    public static IReadOnlyList<LabIngress> Ingresses(LabTopology topology)
    {
        var homes = topology.Nodes.Where(n => n.Kind == NodeKind.Server)
            .SelectMany(n => Of(topology, n.Name)).Select(s => s.Pe).ToHashSet();
        var ingresses = new List<LabIngress>();
        foreach (LabNode node in topology.Nodes.Where(n => n.Kind == NodeKind.Linux))
        {
            LinkEnd? pe = topology.LinksOf(node.Name).Select(l => FindPe(topology, l, node.Name, [], foreign: true))
                .FirstOrDefault(p => p is not null);
            if (pe is not null && !homes.Contains(pe.Node)) ingresses.Add(new LabIngress(node.Name, pe.Node, AddressesOf(node)));
        }

        return ingresses;
    }

    /// <summary>The addresses a node's exec lines give it.</summary>
    public static IReadOnlyList<InterfaceAddress> AddressesOf(LabNode node)
    {
        var addresses = new List<InterfaceAddress>();
        foreach (string line in node.Exec)
        {
            Match match = AddressLine().Match(line);
            if (match.Success && IpPrefix.TryParseInterface(match.Groups["address"].Value, out IpAddress address, out int length))
                addresses.Add(new InterfaceAddress(address, length));
        }

        return addresses;
    }

    internal static string NameOf(LabLink leg, string server) => leg.Labels.GetValueOrDefault("site") ?? leg.FarEnd(server).Node;

    /// <summary>The name of the port on <c>tap-INTERFACE</c> in the text of a PE's configuration; null when there is none.</summary>
    internal static string? PortName(string config, string @interface)
        => Managed.Items(Managed.Parse(config), "ports").Where(p => Managed.Text(p, "device") == $"tap-{@interface}")
            .Select(p => Managed.Text(p, "name")).FirstOrDefault(name => name.Length > 0);

    // Follows the link, through bridges, to the first PE.
    private static LinkEnd? FindPe(LabTopology topology, LabLink link, string from, HashSet<string> seen, bool foreign = false)
    {
        LinkEnd far = link.FarEnd(from);
        NodeKind? kind = topology.Find(far.Node)?.Kind;
        if (kind == NodeKind.SdnEdgePe || (foreign && kind is NodeKind.Frr or NodeKind.Bird)) return far;
        if (kind != NodeKind.Bridge || !seen.Add(far.Node)) return null;
        return topology.LinksOf(far.Node).Where(l => l != link).Select(l => FindPe(topology, l, far.Node, seen, foreign))
            .FirstOrDefault(p => p is not null);
    }

    [GeneratedRegex(@"^\s*ip\s+(-[46]\s+)?a(ddr|ddress)?\s+(add|replace)\s+(?<address>\S+)\s")]
    private static partial Regex AddressLine();
}
