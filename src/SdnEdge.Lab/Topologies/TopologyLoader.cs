using System.Text.RegularExpressions;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;

namespace SdnEdge.Lab.Topologies;

/// <summary>
/// Reads a topology in containerlab's schema. What containerlab needs and a lab of namespaces does not (image, ports, mgmt) is accepted
/// without effect, and a warning names it; what neither knows is an error, so that a slip of the pen does not pass in silence.
/// 0 the caller's environment is filled in; 1 read the tree; 2 nodes, with defaults, kinds and groups merged in; 3 links; 4 what only the
/// whole can tell.
/// </summary>
public static partial class TopologyLoader
{
    private static readonly (string Word, NodeKind Kind)[] s_kinds =
    [
        ("sdnedge-pe", NodeKind.SdnEdgePe), ("sdnedge-wan", NodeKind.SdnEdgeWan), ("linux", NodeKind.Linux), ("server", NodeKind.Server),
        ("frr", NodeKind.Frr), ("bird", NodeKind.Bird), ("bridge", NodeKind.Bridge),
        ("sdnedge-host", NodeKind.SdnEdgeHost), ("sdnedge-mms", NodeKind.SdnEdgeMms), ("sdnedge-store", NodeKind.SdnEdgeStore),
    ];

    // Containerlab's own, without effect here.
    private static readonly string[] s_otherKeys =
    [
        "image-pull-policy", "ports", "type", "cmd", "entrypoint", "user", "license", "mgmt-ipv4", "mgmt-ipv6",
        "network-mode", "runtime", "cpu", "cpu-set", "memory", "enforce-startup-config", "auto-remove", "startup-delay",
        "restart-policy", "stages", "healthcheck", "dns", "extras", "certificate", "position", "suppress-startup-config", "aliases",
        "cap-add", "cgroup-parent", "cgroupns-mode", "components", "config", "credentials", "devices", "env-files", "hostname",
        "link-apply-mode", "pid-mode", "privileged", "security-opts", "shm-size", "tmpfs", "volumes",
    ];

    // Containerlab's own, which need an image, a virtual machine or this machine's own network.
    private static readonly string[] s_foreignKinds =
    [
        "6wind_vsr", "arista_ceos", "arista_veos", "arrcus_arcos", "aruba_aoscx", "border0", "ceos", "checkpoint_cloudguard", "ciena_saos",
        "cisco_asav", "cisco_c8000", "cisco_c8000v", "cisco_cat9kv", "cisco_csr1000v", "cisco_ftdv", "cisco_iol", "cisco_n9kv",
        "cisco_sdwan", "cisco_vios", "cisco_xrd", "cisco_xrd_vrouter", "cisco_xrv", "cisco_xrv9k", "crpd", "cumulus_cvx", "cvx",
        "dell_ftosv", "dell_sonic", "ext-container", "f5_bigip-ve", "fdio_vpp", "fortinet_fortigate", "freebsd", "generic_vm", "host",
        "huawei_vrp", "ipinfusion_ocnos", "juniper_cjunosevolved", "juniper_crpd", "juniper_csrx", "juniper_vjunosevolved",
        "juniper_vjunosrouter", "juniper_vjunosswitch", "juniper_vmx", "juniper_vqfx", "juniper_vsrx", "k8s-kind", "keysight_ixia-c-one",
        "mikrotik_ros", "nokia_srlinux", "nokia_sros", "nokia_srsim", "nvidia_cumulusvx", "openbsd", "openwrt", "ostinato", "ovs-bridge",
        "paloalto_panos", "plvision_sonic", "rare", "sonic-vm", "sonic-vs", "spirent_stc", "srl", "veesix_osvbng", "vr-sros", "vr-veos",
        "vr-vmx", "vr-xrv", "vr-xrv9k", "vyosnetworks_vyos",
    ];

    /// <summary>Reads and checks a file.</summary>
    /// <param name="path">The file; paths inside it are relative to its folder.</param>
    /// <exception cref="TopologyException">Something in it is wrong: all of it, each with its place.</exception>
    public static LabTopology Load(string path)
    {
        string full = Path.GetFullPath(path);
        string text;
        try
        {
            if (Directory.Exists(full)) throw new TopologyException($"{path} is a folder; write the topology file in it");
            if (!File.Exists(full)) throw new TopologyException($"there is no file {path}");
            text = File.ReadAllText(full);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TopologyException($"{path} cannot be read: {e.Message}");
        }

        return Parse(text, full);
    }

    /// <summary>Checks the text of a topology file.</summary>
    /// <param name="text">YAML.</param>
    /// <param name="file">Full path it came from, for messages and relative paths.</param>
    /// <exception cref="TopologyException">Something in it is wrong.</exception>
    public static LabTopology Parse(string text, string file)
    {
        var errors = new ConfigErrors(file);
        YamlValue? tree = YamlTree.Parse(WithEnvironment(text, Environment.GetEnvironmentVariable), errors);
        var unused = new Unused();
        LabTopology? lab = tree is YamlMap map ? Read(new MapReader(map, "", errors), file, unused) : null;
        if (unused.Foreign is { } foreign) throw new TopologyException([foreign]);   // nothing else would help
        if (tree is not (null or YamlMap))
            errors.Add(tree, "", $"the file holds {tree.Kind} where a mapping belongs; start with name: figure1");
        if (errors.Count > 0 && Template().Match(text) is { Success: true } template)
        {
            int line = text.AsSpan(0, template.Index).Count('\n') + 1, column = template.Index - text.LastIndexOf('\n', template.Index);
            throw new TopologyException([new ConfigError(file, line, column, "",
                "this is a template of Go's, which a lab does not fill in; deploy the YAML that is made of it")]);
        }

        return errors.Count == 0 ? lab! : throw new TopologyException(errors.List);
    }

    private static LabTopology Read(MapReader root, string file, Unused unused)
    {
        string? name = root.Text("name", required: true, "figure1");
        if (name is not null && !NamePattern().IsMatch(name)) root.Error("name", NoName(name));
        root.Known("prefix", "mgmt", "settings", "debug");
        foreach (string key in (string[])["prefix", "mgmt", "settings", "debug"])
        {
            if (root.Has(key)) unused.Add(key, "");
        }

        List<LabNode> nodes = [];
        List<LabLink> links = [];
        if (root.Map("topology") is { } topology)
        {
            var places = new Dictionary<string, Place>(StringComparer.Ordinal);
            nodes = ReadNodes(topology, file, places, unused);
            links = ReadLinks(topology, nodes, unused);
            topology.Finish();
            CheckServers(nodes, links, places);
            CheckManagement(nodes, links, places);
        }
        else if (!root.Has("topology"))
        {
            root.Error("topology", "is missing; it holds 'nodes' and 'links'");
        }

        root.Finish();
        return new LabTopology(name ?? "", file, nodes, links) { Warnings = unused.Tell() };
    }

    /// <summary>
    /// Fills in variables of the caller's environment, as containerlab does: <c>${NAME:=default}</c> and <c>${NAME:-default}</c> (without
    /// the colon, an empty one counts), <c>${NAME}</c> where there is one. Everything else with a dollar is a shell's.
    /// </summary>
    internal static string WithEnvironment(string text, Func<string, string?> variable) => EnvironmentVariable().Replace(text, match =>
    {
        string? value = variable(match.Groups["name"].Value);
        Group how = match.Groups["how"];
        if (!how.Success) return value ?? match.Value;
        bool isThere = how.ValueSpan[0] == ':' ? !string.IsNullOrEmpty(value) : value is not null;
        return isThere ? value! : match.Groups["default"].Value;
    });

    private static List<LabNode> ReadNodes(MapReader topology, string file, Dictionary<string, Place> places, Unused unused)
    {
        var nodes = new List<LabNode>();
        Layer? defaults = topology.Map("defaults") is { } all ? ReadLayer(all, unused, "defaults") : null;
        var kinds = new Dictionary<string, Layer>(StringComparer.Ordinal);
        foreach ((YamlText word, MapReader body) in topology.Named("kinds"))
        {
            if (KindOf(word.Text) is null && !s_foreignKinds.Contains(word.Text)) body.Errors.Add(word, body.Path, NoSuchKind(word.Text));
            kinds[word.Text] = ReadLayer(body, unused, $"kind {word.Text}");
        }

        var groups = new Dictionary<string, Layer>(StringComparer.Ordinal);
        foreach ((YamlText word, MapReader body) in topology.Named("groups"))
            groups[word.Text] = ReadLayer(body, unused, $"group {word.Text}");

        if (!topology.Has("nodes")) topology.Error("nodes", "is missing; name each node and its kind: nodes: { a: { kind: linux } }");
        foreach ((YamlText key, MapReader body) in topology.Named("nodes"))
        {
            string name = key.Text;
            Place place = places[name] = new Place(body.Errors, key, body.Path);
            if (!NamePattern().IsMatch(name)) place.Error(NoName(name));
            Layer own = ReadLayer(body, unused, name);
            Layer? group = null;
            if ((own.Group ?? defaults?.Group) is { } inGroup && !groups.TryGetValue(inGroup, out group) && own.Group is not null
                && groups.Count > 0)
                body.Error("group", $"there is no group '{inGroup}'; groups are {string.Join(", ", groups.Keys)}");
            string? word = own.Kind ?? group?.Kind ?? defaults?.Kind;
            NodeKind? kind = word is null ? null : KindOf(word);
            if (word is null) place.Error($"has no kind; write kind: and one of {Kinds}");
            else if (s_foreignKinds.Contains(word)) unused.AddForeign(place with { At = body.Node["kind"] ?? key }, word, name);
            else if (kind is null) body.Error("kind", NoSuchKind(word));

            Layer?[] layers = [defaults, word is null ? null : kinds.GetValueOrDefault(word), group, own];
            FrrBinds? frr = ReadFrrBinds(body, name, ref kind, layers, file, unused);
            var labels = new Dictionary<string, (string Text, Place Place)>(StringComparer.Ordinal);
            var env = new Dictionary<string, string>(StringComparer.Ordinal);
            var exec = new List<string>();
            var sysctls = new Dictionary<string, string>(StringComparer.Ordinal);
            string? config = null;
            foreach (Layer? layer in layers)
            {
                if (layer is null) continue;
                foreach ((string label, YamlText value, string path) in layer.Labels)
                    labels[label] = (value.Text, new Place(body.Errors, value, path));
                foreach ((string variable, YamlText value, _) in layer.Env) env[variable] = value.Text;
                foreach ((string setting, YamlText value, string path) in layer.Sysctls)
                {
                    if (SysctlPattern().IsMatch(setting)) sysctls[setting["net.".Length..]] = value.Text;
                    else body.Errors.Add(value, path,
                        $"'{setting}' is no setting of a network namespace; write net.ipv4.ip_forward, or the like");
                }

                exec.AddRange(layer.Exec.Select(e => e.Replace("__clabNodeName__", name, StringComparison.Ordinal)));
                config = layer.Config ?? config;
            }

            (config, InlineConfig? inline) = WhereConfigIs(body, name, kind, config, file, unused);
            if (config is null && inline is null && !body.Has("startup-config") && TakesConfig(kind) && frr is null)
                place.Error($"is of kind '{word}' and needs 'startup-config': the path of its configuration");
            nodes.Add(new LabNode(name, kind ?? NodeKind.Linux, config, exec, env,
                labels.ToDictionary(l => l.Key, l => l.Value.Text, StringComparer.Ordinal))
            {
                Inline = inline,
                Frr = frr,
                Sysctls = sysctls,
                Server = kind == NodeKind.Server ? ReadServer(place, labels) : null,
                Seed = ReadSeed(labels),
                Management = ReadManagement(kind, labels),
                HasEtcd = ReadEtcd(labels),
            });
        }

        return nodes;
    }

    private static bool TakesConfig(NodeKind? kind) => kind is NodeKind.SdnEdgePe or NodeKind.Frr or NodeKind.Bird or NodeKind.SdnEdgeHost
        or NodeKind.SdnEdgeMms or NodeKind.SdnEdgeStore;

    // Several lines are the configuration itself, as in containerlab; one is its path.
    private static (string? Path, InlineConfig? Inline) WhereConfigIs(
        MapReader node, string name, NodeKind? kind, string? config, string file, Unused unused)
    {
        if (config is null) return default;
        if (kind is not null && !TakesConfig(kind))
        {
            unused.Add("startup-config", name);
            return default;
        }

        if (config.Contains('\n', StringComparison.Ordinal))
            return (null, new InlineConfig(config, $"{file}: startup-config of node {name}"));
        string path = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(file) ?? "",
            config.Replace("__clabNodeName__", name, StringComparison.Ordinal)));
        if (config.Contains("://", StringComparison.Ordinal))
            node.Error("startup-config", $"'{config}' is an address on the net; fetch it to a file beside the topology and name that");
        else if (!File.Exists(path)) node.Error("startup-config", $"there is no file {path}");
        return (path, null);
    }

    private static Layer ReadLayer(MapReader map, Unused unused, string of)
    {
        map.Known(s_otherKeys);
        foreach (string key in s_otherKeys)
        {
            if (map.Has(key)) unused.Add(key, of);
        }

        var layer = new Layer(map.Text("kind", example: "linux"), map.Text("group"), map.Text("startup-config", example: "pe-a.yaml"),
            [.. map.Texts("exec").Select(e => e.Item.Text)], [.. map.Words("env")], [.. map.Words("labels")], [.. map.Words("sysctls")],
            map.Text("image", example: "frrouting/frr"), [.. map.Texts("binds")]);
        if (layer.Image is { } image && !IsFrrImage(image)) unused.Add("image", of);
        if (layer.Binds.Any(b => FrrFileOf(b.Item.Text) is null)) unused.Add("binds", of);
        map.Finish();
        return layer;
    }

    private static ServerSpec? ReadServer(Place node, Dictionary<string, (string Text, Place Place)> labels)
    {
        MacAddress mac = default;
        if (!labels.TryGetValue("sdnedge.mac", out (string Text, Place Place) label))
            node.Error("is a server and needs the label sdnedge.mac, such as 02:00:00:00:01:10");
        else if (!MacAddress.TryParse(label.Text, null, out mac) || mac.IsMulticast || mac.Value == 0)
            label.Place.Error($"'{label.Text}' is no unicast MAC address; write it as 02:00:00:00:01:10");

        var addresses = new List<InterfaceAddress>();
        if (!labels.TryGetValue("sdnedge.addresses", out label))
            node.Error("is a server and needs the label sdnedge.addresses, such as \"10.1.1.10/24, fd00:1:1::10/64\"");
        else
        {
            foreach (string item in label.Text.Split(',', StringSplitOptions.TrimEntries))
            {
                if (IpPrefix.TryParseInterface(item, out IpAddress address, out int length))
                    addresses.Add(new InterfaceAddress(address, length));
                else label.Place.Error($"'{item}' is no address; write it as 10.1.1.10/24 or fd00:1:1::10/64");
            }
        }

        var gateways = new List<IpAddress>();
        if (labels.TryGetValue("sdnedge.gateways", out label))
        {
            foreach (string item in label.Text.Split(',', StringSplitOptions.TrimEntries))
            {
                if (!IpAddress.TryParse(item, out IpAddress gateway))
                    label.Place.Error($"'{item}' is no IP address; write it as 10.1.1.1 or fd00:1:1::1");
                else if (gateways.Any(g => g.Family == gateway.Family))
                    label.Place.Error("has two of one family; keep one gateway for each");
                else gateways.Add(gateway);
            }
        }

        return new ServerSpec(mac, addresses, gateways, labels.TryGetValue("sdnedge.site", out label) ? label.Text : null);
    }

    private static ulong ReadSeed(Dictionary<string, (string Text, Place Place)> labels)
    {
        if (!labels.TryGetValue("sdnedge.seed", out (string Text, Place Place) label)) return 1;
        if (!ulong.TryParse(label.Text, out ulong seed)) label.Place.Error($"'{label.Text}' is no seed; write a whole number from 0 up");
        return seed;
    }

    private static InterfaceAddress? ReadManagement(NodeKind? kind, Dictionary<string, (string Text, Place Place)> labels)
    {
        if (!labels.TryGetValue("sdnedge.management", out (string Text, Place Place) label)) return null;
        if (kind is NodeKind.SdnEdgeWan or NodeKind.Server or NodeKind.Bridge)
            label.Place.Error($"a node of kind {WordOf(kind.Value)} has no API; take the label away");
        else if (IpPrefix.TryParseInterface(label.Text, out IpAddress address, out int length)
            && label.Text.Contains('/', StringComparison.Ordinal)
            && address.Bits != 0 && !address.IsMulticast)
            return new InterfaceAddress(address, length);
        else label.Place.Error($"'{label.Text}' is no address with a length; write it as 10.254.0.1/24");
        return null;
    }

    private static bool ReadEtcd(Dictionary<string, (string Text, Place Place)> labels)
    {
        if (!labels.TryGetValue("sdnedge.etcd", out (string Text, Place Place) label)) return false;
        if (label.Text != "member") label.Place.Error($"'{label.Text}' is not known; write member");
        else if (!labels.ContainsKey("sdnedge.management"))
            label.Place.Error("needs a management network, where the members reach each other; add the label sdnedge.management");
        return true;
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

    private static string NoSuchKind(string word) => $"there is no kind '{word}'; write one of {Kinds}";

    /// <summary>Null: a lab or a node may have this name. Else why not.</summary>
    public static string? WhyNoName(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return NamePattern().IsMatch(name) ? null : NoName(name);
    }

    private static string NoName(string name) => $"'{name}' cannot name a namespace; use up to 40 letters, digits, '-', '_' and '.'";

    [GeneratedRegex(@"\$\{(?<name>[A-Za-z_][A-Za-z0-9_]*)((?<how>:?[=-])(?<default>[^}]*))?\}", RegexOptions.ExplicitCapture)]
    private static partial Regex EnvironmentVariable();

    // {{ if .x }}, {{- range ... }}, {{ .x }}: what containerlab fills in from a file of variables.
    [GeneratedRegex(@"\{\{-?\s*((if|else|end|range|with|define|template|block)\b|[.$])", RegexOptions.ExplicitCapture)]
    private static partial Regex Template();

    [GeneratedRegex(@"^net(\.[A-Za-z0-9_-]+)+$", RegexOptions.ExplicitCapture)]
    private static partial Regex SysctlPattern();

    [GeneratedRegex("^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]
    private static partial Regex NamePattern();

    /// <summary>A place in the file, and its path there.</summary>
    private readonly record struct Place(ConfigErrors Errors, YamlValue At, string Path)
    {
        public void Error(string message) => Errors.Add(At, Path, message);
    }

    /// <summary>What the defaults, a kind or a node says; what is said later of these wins.</summary>
    private sealed record Layer(
        string? Kind, string? Group, string? Config, IReadOnlyList<string> Exec,
        IReadOnlyList<(string Name, YamlText Value, string Path)> Env, IReadOnlyList<(string Name, YamlText Value, string Path)> Labels,
        IReadOnlyList<(string Name, YamlText Value, string Path)> Sysctls, string? Image,
        IReadOnlyList<(YamlText Item, string Path)> Binds);

    /// <summary>Keys without effect here, and where they are.</summary>
    private sealed class Unused
    {
        private readonly Dictionary<string, List<string>> _places = [];
        private readonly List<(string Image, string Node)> _frr = [];

        private readonly List<(string Kind, string Node)> _foreign = [];
        private Place _firstForeign;

        public void AddFrr(string image, string node) => _frr.Add((image, node));

        public void AddForeign(Place at, string kind, string node)
        {
            if (_foreign.Count == 0) _firstForeign = at;
            _foreign.Add((kind, node));
        }

        /// <summary>The kinds that a lab of namespaces has not, all of them in one sentence; null when there are none.</summary>
        public ConfigError? Foreign
        {
            get
            {
                if (_foreign.Count == 0) return null;
                string[] kinds = [.. _foreign.GroupBy(f => f.Kind).Select(k => $"'{k.Key}' ("
                    + $"{string.Join(", ", k.Take(4).Select(f => f.Node))}{(k.Count() > 4 ? ", ..." : "")})")];
                return new ConfigError(_firstForeign.Errors.File, _firstForeign.At.Line, _firstForeign.At.Column, _firstForeign.Path,
                    $"{(kinds.Length == 1 ? "kind" : "kinds")} {string.Join(", ", kinds)} cannot be deployed: a lab of namespaces runs no "
                    + "images and no virtual machines of containerlab's, and takes no part in this machine's own network; kinds here are "
                    + Kinds);
            }
        }

        public void Add(string key, string of)
        {
            if (!_places.TryGetValue(key, out List<string>? places)) _places[key] = places = [];
            if (of.Length > 0) places.Add(of);
        }

        public IReadOnlyList<string> Tell() =>
        [
            .. _places.Select(p => $"'{p.Key}' has no effect in a lab of namespaces"
                + $"{(p.Value.Count == 0 ? "" : $" ({string.Join(", ", p.Value.Take(4))}{(p.Value.Count > 4 ? ", ..." : "")})")}"),
            .. _frr.GroupBy(f => f.Image).Select(i => $"this machine's FRR runs in place of the image {i.Key} ("
                + $"{string.Join(", ", i.Select(f => f.Node))})"),
        ];
    }
}
