using System.Text.RegularExpressions;
using SdnEdge.Core.Wire;
using YamlDotNet.RepresentationModel;

namespace SdnEdge.Lab.Topologies;

/// <summary>
/// Reads a topology in containerlab's schema. What containerlab needs and a lab of namespaces does not (image, binds, ports, mgmt)
/// is accepted and has no effect; what neither knows is an error, so that a slip of the pen does not pass in silence.
/// 1 read the tree; 2 nodes, with defaults and kinds merged in; 3 links; 4 what only the whole can tell.
/// </summary>
public static partial class TopologyLoader
{
    private static readonly (string Word, NodeKind Kind)[] s_kinds =
    [
        ("sdnedge-pe", NodeKind.SdnEdgePe), ("sdnedge-wan", NodeKind.SdnEdgeWan), ("linux", NodeKind.Linux), ("server", NodeKind.Server),
        ("frr", NodeKind.Frr), ("bird", NodeKind.Bird), ("bridge", NodeKind.Bridge),
        ("sdnedge-host", NodeKind.SdnEdgeHost), ("sdnedge-mms", NodeKind.SdnEdgeMms),
    ];

    // The last group: containerlab's own, without effect here.
    private static readonly string[] s_nodeKeys =
    [
        "kind", "startup-config", "exec", "env", "labels",
        "image", "image-pull-policy", "binds", "ports", "type", "group", "cmd", "entrypoint", "user", "license", "mgmt-ipv4", "mgmt-ipv6",
        "network-mode", "runtime", "cpu", "cpu-set", "memory", "sysctls", "enforce-startup-config", "auto-remove", "startup-delay",
        "restart-policy", "stages", "healthcheck", "dns", "extras", "certificate", "position", "suppress-startup-config",
    ];

    /// <summary>Reads and checks a file.</summary>
    /// <param name="path">The file; paths inside it are relative to its folder.</param>
    /// <exception cref="TopologyException">Something in it is wrong: all of it, each with its line.</exception>
    public static LabTopology Load(string path)
    {
        string full = Path.GetFullPath(path);
        string text;
        try
        {
            text = File.ReadAllText(full);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TopologyException([new TopologyError(path, 0, $"cannot be read: {e.Message}")]);
        }

        return Parse(text, full);
    }

    /// <summary>Checks the text of a topology file.</summary>
    /// <param name="text">YAML.</param>
    /// <param name="file">Full path it came from, for messages and relative paths.</param>
    /// <exception cref="TopologyException">Something in it is wrong.</exception>
    public static LabTopology Parse(string text, string file)
    {
        var walk = new YamlWalk(file);
        YamlMappingNode? root = walk.Parse(text);
        if (root is null) throw new TopologyException(walk.Errors);

        walk.OnlyKeys(root, "the file", "name", "prefix", "topology", "mgmt", "settings");
        string? name = walk.Text(root, "name", "the file");
        if (name is null) walk.Error(1, "'name' is missing; the lab's name, e.g. name: figure1.");
        else if (!NamePattern().IsMatch(name)) walk.Error(1, $"name '{name}' cannot name a namespace; use up to 40 letters, digits, '-', '_' and '.'.");

        YamlNode? topology = YamlWalk.Get(root, "topology");
        if (topology is null) walk.Error(1, "'topology' is missing; it holds 'nodes' and 'links'.");
        walk.OnlyKeys(topology, "'topology'", "defaults", "kinds", "groups", "nodes", "links");

        List<LabNode> nodes = ReadNodes(walk, topology, file);
        List<LabLink> links = ReadLinks(walk, topology, nodes);
        CheckWhole(walk, nodes, links);
        return walk.Errors.Count == 0 ? new LabTopology(name!, file, nodes, links) : throw new TopologyException(walk.Errors);
    }

    private static List<LabNode> ReadNodes(YamlWalk walk, YamlNode? topology, string file)
    {
        var nodes = new List<LabNode>();
        YamlNode? defaults = YamlWalk.Get(topology, "defaults");
        walk.OnlyKeys(defaults, "'defaults'", s_nodeKeys);
        var kinds = new Dictionary<string, YamlNode>(StringComparer.Ordinal);
        foreach ((string word, YamlNode at, YamlNode value) in walk.Entries(YamlWalk.Get(topology, "kinds"), "'kinds'"))
        {
            if (KindOf(word) is null) walk.Error(at, NoSuchKind(word));
            walk.OnlyKeys(value, $"kind '{word}'", s_nodeKeys);
            kinds[word] = value;
        }

        YamlNode? all = YamlWalk.Get(topology, "nodes");
        if (topology is not null && all is null) walk.Error(topology, "'nodes' is missing; name each node and its kind, e.g. nodes: { a: { kind: linux } }.");
        foreach ((string name, YamlNode at, YamlNode body) in walk.Entries(all, "'nodes'"))
        {
            string what = $"node '{name}'";
            if (!NamePattern().IsMatch(name)) walk.Error(at, $"{what} cannot name a namespace; use up to 40 letters, digits, '-', '_' and '.'.");
            walk.OnlyKeys(body, what, s_nodeKeys);
            string? word = walk.Text(body, "kind", what) ?? walk.Text(defaults, "kind", "'defaults'");
            NodeKind? kind = word is null ? null : KindOf(word);
            if (word is null) walk.Error(at, $"{what} has no 'kind'; one of {Kinds}.");
            else if (kind is null) walk.Error(YamlWalk.Get(body, "kind") ?? at, NoSuchKind(word));

            YamlNode? ofKind = word is null ? null : kinds.GetValueOrDefault(word);
            YamlNode?[] layers = [defaults, ofKind, body];
            var labels = new Dictionary<string, (string Value, int Line)>(StringComparer.Ordinal);
            var env = new Dictionary<string, string>(StringComparer.Ordinal);
            var exec = new List<string>();
            string? config = null;
            foreach (YamlNode? layer in layers)
            {
                foreach ((string key, (string, int) value) in walk.TextMap(layer, "labels", what)) labels[key] = value;
                foreach ((string key, (string value, _)) in walk.TextMap(layer, "env", what)) env[key] = value;
                exec.AddRange(walk.Texts(layer, "exec", what));
                config = walk.Text(layer, "startup-config", what) ?? config;
            }

            config = config?.Replace("__clabNodeName__", name, StringComparison.Ordinal);
            config = config is null ? null : Path.GetFullPath(Path.Combine(Path.GetDirectoryName(file) ?? "", config));
            if (config is null && kind is NodeKind.SdnEdgePe or NodeKind.Frr or NodeKind.Bird or NodeKind.SdnEdgeHost
                or NodeKind.SdnEdgeMms)
                walk.Error(at, $"{what} is of kind '{word}' and needs 'startup-config': the path of its configuration.");
            if (config is not null && !File.Exists(config))
                walk.Error(YamlWalk.Get(body, "startup-config") ?? at, $"startup-config of {what}: there is no file {config}.");
            nodes.Add(new LabNode(name, kind ?? NodeKind.Linux, config,
                [.. exec.Select(e => e.Replace("__clabNodeName__", name, StringComparison.Ordinal))], env,
                labels.ToDictionary(l => l.Key, l => l.Value.Value, StringComparer.Ordinal), YamlWalk.LineOf(at))
            {
                Server = kind == NodeKind.Server ? ReadServer(walk, what, YamlWalk.LineOf(at), labels) : null,
                Seed = ReadSeed(walk, what, labels),
                Management = ReadManagement(walk, what, kind, labels),
            });
        }

        return nodes;
    }

    private static ServerSpec? ReadServer(YamlWalk walk, string what, int line, Dictionary<string, (string Value, int Line)> labels)
    {
        MacAddress mac = default;
        if (!labels.TryGetValue("sdnedge.mac", out (string Value, int Line) text))
            walk.Error(line, $"{what} is a server and needs the label sdnedge.mac, e.g. 02:00:00:00:01:10.");
        else if (!MacAddress.TryParse(text.Value, null, out mac) || mac.IsMulticast || mac.Value == 0)
            walk.Error(text.Line, $"sdnedge.mac '{text.Value}' of {what} is no unicast MAC address; write it as 02:00:00:00:01:10.");

        var addresses = new List<InterfaceAddress>();
        if (!labels.TryGetValue("sdnedge.addresses", out text))
            walk.Error(line, $"{what} is a server and needs the label sdnedge.addresses, e.g. \"10.1.1.10/24, fd00:1:1::10/64\".");
        else
        {
            foreach (string item in text.Value.Split(',', StringSplitOptions.TrimEntries))
            {
                if (IpPrefix.TryParseInterface(item, out IpAddress address, out int length)) addresses.Add(new InterfaceAddress(address, length));
                else walk.Error(text.Line, $"sdnedge.addresses of {what}: '{item}' is no address; write it as 10.1.1.10/24 or fd00:1:1::10/64.");
            }
        }

        var gateways = new List<IpAddress>();
        if (labels.TryGetValue("sdnedge.gateways", out text))
        {
            foreach (string item in text.Value.Split(',', StringSplitOptions.TrimEntries))
            {
                if (!IpAddress.TryParse(item, out IpAddress gateway)) walk.Error(text.Line, $"sdnedge.gateways of {what}: '{item}' is no IP address.");
                else if (gateways.Any(g => g.Family == gateway.Family)) walk.Error(text.Line, $"sdnedge.gateways of {what}: one gateway for each family.");
                else gateways.Add(gateway);
            }
        }

        return new ServerSpec(mac, addresses, gateways, labels.TryGetValue("sdnedge.site", out text) ? text.Value : null);
    }

    private static ulong ReadSeed(YamlWalk walk, string what, Dictionary<string, (string Value, int Line)> labels)
    {
        if (!labels.TryGetValue("sdnedge.seed", out (string Value, int Line) text)) return 1;
        if (!ulong.TryParse(text.Value, out ulong seed)) walk.Error(text.Line, $"sdnedge.seed '{text.Value}' of {what} must be a whole number.");
        return seed;
    }

    private static InterfaceAddress? ReadManagement(
        YamlWalk walk, string what, NodeKind? kind, Dictionary<string, (string Value, int Line)> labels)
    {
        if (!labels.TryGetValue("sdnedge.management", out (string Value, int Line) text)) return null;
        if (kind is NodeKind.SdnEdgeWan or NodeKind.Server or NodeKind.Bridge)
            walk.Error(text.Line, $"sdnedge.management: {what} is of kind {WordOf(kind.Value)}, which has no API; take the label away.");
        else if (IpPrefix.TryParseInterface(text.Value, out IpAddress address, out int length)
            && text.Value.Contains('/', StringComparison.Ordinal)
            && address.Bits != 0 && !address.IsMulticast)
            return new InterfaceAddress(address, length);
        else walk.Error(text.Line, $"sdnedge.management '{text.Value}' of {what} is no address with a length; write it as 10.254.0.1/24.");
        return null;
    }

    private static NodeKind? KindOf(string word)
    {
        foreach ((string known, NodeKind kind) in s_kinds)
        {
            if (known == word) return kind;
        }

        return null;
    }

    /// <summary>The word of a kind in the file.</summary>
    public static string WordOf(NodeKind kind) => s_kinds.First(k => k.Kind == kind).Word;

    private static string Kinds => string.Join(", ", s_kinds.Select(k => k.Word));

    private static string NoSuchKind(string word) => $"there is no kind '{word}'; one of {Kinds}.";

    [GeneratedRegex("^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]
    private static partial Regex NamePattern();
}
