using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;

namespace SdnEdge.Lab.Topologies;

/// <summary>A group of servers that the lab's manager may move, as its startup-config says.</summary>
/// <param name="Name">The group.</param>
/// <param name="Servers">Its servers.</param>
public sealed record LabGroup(string Name, IReadOnlyList<string> Servers);

/// <summary>A server host, as its startup-config says.</summary>
/// <param name="Node">The node with its agent.</param>
/// <param name="Site">The site it is at.</param>
/// <param name="Servers">The servers that it may run.</param>
public sealed record LabHost(string Node, string Site, IReadOnlyList<string> Servers);

/// <summary>A block store, as its startup-config says.</summary>
/// <param name="Node">The node with the store.</param>
/// <param name="Site">The site it is at.</param>
/// <param name="Volumes">The volumes that have a replica at another store, or are one.</param>
public sealed record LabStore(string Node, string Site, IReadOnlyList<string> Volumes);

/// <summary>A virtual machine of QEMU that the lab's manager may move, as startup-configs say.</summary>
/// <param name="Name">The server.</param>
/// <param name="Addresses">Its addresses: the host prefixes that move with it, IPv4 first.</param>
/// <param name="Sites">Where it can live, in the order of the manager's file.</param>
/// <param name="Volumes">Its disks that are volumes of its sites' stores.</param>
public sealed record LabGuest(
    string Name, IReadOnlyList<IpAddress> Addresses, IReadOnlyList<LabGuestSite> Sites, IReadOnlyList<string> Volumes);

/// <summary>A place where a guest can live.</summary>
/// <param name="Site">The site.</param>
/// <param name="Host">The node of the agent there.</param>
/// <param name="HostInterface">The host's interface by which the guest's packets come; null when no link leads to the PE.</param>
/// <param name="Pe">The site's PE.</param>
/// <param name="Starts">True: it begins its life here.</param>
public sealed record LabGuestSite(string Site, string Host, string? HostInterface, string Pe, bool Starts);

/// <summary>What startup-configs say. The daemons check them; here what is not understood is left out.</summary>
internal static class Managed
{
    public static IReadOnlyList<LabGroup> Groups(LabTopology lab) =>
    [
        .. Roots(lab, NodeKind.SdnEdgeMms).SelectMany(r => Items(r.Root, "groups"))
            .Select(g => new LabGroup(Text(g, "name"), [.. Items(g, "servers").Select(s => Text(s, "name"))])),
    ];

    public static IReadOnlyList<LabHost> Hosts(LabTopology lab) =>
    [
        .. Roots(lab, NodeKind.SdnEdgeHost)
            .Select(r => new LabHost(r.Node, Text(r.Root, "site"), [.. Items(r.Root, "servers").Select(s => Text(s, "name"))])),
    ];

    public static IReadOnlyList<LabStore> Stores(LabTopology lab) =>
    [
        .. Roots(lab, NodeKind.SdnEdgeStore).Select(r => new LabStore(r.Node, Text(r.Root, "site"),
            [.. Items(r.Root, "volumes").Where(v => v["replica"] is not null).Select(v => Text(v, "name"))])),
    ];

    public static IReadOnlyList<LabGuest> Guests(LabTopology lab)
    {
        (string Node, YamlMap Root)[] hosts = [.. Roots(lab, NodeKind.SdnEdgeHost)], pes = [.. Roots(lab, NodeKind.SdnEdgePe)];
        var guests = new List<LabGuest>();
        foreach (YamlMap server in Roots(lab, NodeKind.SdnEdgeMms).SelectMany(r => Items(r.Root, "groups"))
            .SelectMany(g => Items(g, "servers")))
        {
            string name = Text(server, "name");
            var sites = new List<LabGuestSite>();
            var volumes = new List<string>();
            foreach (YamlMap at in Items(server, "at"))
            {
                (string Node, YamlMap Root) host = hosts.FirstOrDefault(h => Text(h.Root, "name") == Text(at, "host"));
                YamlMap? there = host.Root is null ? null
                    : Items(host.Root, "servers").FirstOrDefault(s => Text(s, "name") == name && s["qemu"] is not null);
                if (there is null) continue;
                volumes.AddRange(VolumesOf(there).Except(volumes));
                (string Node, YamlMap Root) pe = pes.FirstOrDefault(p => Text(p.Root, "name") == Text(at, "pe"));
                sites.Add(new LabGuestSite(Text(at, "site"), host.Node, InterfaceTo(host.Node, pe, Text(at, "port")), Text(at, "pe"),
                    Text(there, "runs") == "true"));
            }

            if (sites.Count > 0) guests.Add(new LabGuest(name, [.. Addresses(server).OrderBy(a => a.IsV4 ? 0 : 1)], sites,
                volumes));
        }

        return guests;

        // The port's device is tap-INTERFACE; the link at that interface leads to the host.
        string? InterfaceTo(string host, (string Node, YamlMap Root) pe, string port)
        {
            if (pe.Root is null) return null;
            string device = Text(Items(pe.Root, "ports").FirstOrDefault(p => Text(p, "name") == port) ?? new YamlMap([], 1, 1), "device");
            return lab.LinksOf(pe.Node).Where(l => "tap-" + l.EndAt(pe.Node)!.Interface == device && l.FarEnd(pe.Node).Node == host)
                .Select(l => l.FarEnd(pe.Node).Interface).FirstOrDefault();
        }

        static IEnumerable<string> VolumesOf(YamlMap server)
            => ((server["volumes"] as YamlList)?.Items.OfType<YamlText>().Select(t => t.Text) ?? [])
                .Concat(server["qemu"] is YamlMap qemu ? Items(qemu, "disks").Select(d => Text(d, "volume")).Where(v => v.Length > 0) : []);

        static IEnumerable<IpAddress> Addresses(YamlMap server)
            => ((server["prefixes"] as YamlList)?.Items.OfType<YamlText>() ?? [])
                .Select(t => IpPrefix.TryParse(t.Text, out IpPrefix prefix) && prefix.IsHost
                    ? prefix.Address : (IpAddress?)null).OfType<IpAddress>();
    }

    private static IEnumerable<(string Node, YamlMap Root)> Roots(LabTopology lab, NodeKind kind)
        => lab.Nodes.Where(n => n.Kind == kind && n.HasConfig).Select(n => (n.Name, Parse(n.ReadConfig())));

    internal static YamlMap Parse(string text) => YamlTree.Parse(text, new ConfigErrors("")) as YamlMap ?? new YamlMap([], 1, 1);

    internal static IEnumerable<YamlMap> Items(YamlMap map, string key) => (map[key] as YamlList)?.Items.OfType<YamlMap>() ?? [];

    internal static string Text(YamlMap map, string key) => (map[key] as YamlText)?.Text ?? "";
}
