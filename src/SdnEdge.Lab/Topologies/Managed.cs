using SdnEdge.Core.Config;

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

    private static IEnumerable<(string Node, YamlMap Root)> Roots(LabTopology lab, NodeKind kind)
        => lab.Nodes.Where(n => n.Kind == kind && n.StartupConfig is not null)
            .Select(n => (n.Name, Parse(File.ReadAllText(n.StartupConfig!))));

    internal static YamlMap Parse(string text) => YamlTree.Parse(text, new ConfigErrors("")) as YamlMap ?? new YamlMap([], 1, 1);

    internal static IEnumerable<YamlMap> Items(YamlMap map, string key) => (map[key] as YamlList)?.Items.OfType<YamlMap>() ?? [];

    internal static string Text(YamlMap map, string key) => (map[key] as YamlText)?.Text ?? "";
}
