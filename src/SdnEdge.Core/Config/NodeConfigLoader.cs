using System.Globalization;
using System.Text;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Config;

/// <summary>A configuration, or everything that is wrong with it.</summary>
/// <param name="Config">The configuration; null when there is any error.</param>
/// <param name="Errors">All errors by place in the file.</param>
public sealed record ConfigResult(NodeConfig? Config, IReadOnlyList<ConfigError> Errors);

/// <summary>
/// Reads a PE's configuration: 1. YAML to a tree with places, 2. each field by itself, 3. fields against one another
/// (<see cref="NodeConfigChecks"/>). All errors are collected; a configuration comes out only when there is none.
/// </summary>
public static class NodeConfigLoader
{
    /// <summary>Longest name of a kernel device (IFNAMSIZ less the zero).</summary>
    public const int MaxDeviceName = 15;

    /// <summary>Smallest and largest MTU of a port: the IPv6 minimum (RFC 8200 5), and jumbo frames.</summary>
    public const int MinMtu = 1280, MaxMtu = 9216;

    /// <summary>Reads <paramref name="text"/>; <paramref name="file"/> is only named in errors.</summary>
    public static ConfigResult Load(string text, string file)
    {
        var errors = new ConfigErrors(file);
        YamlValue? tree = YamlTree.Parse(text, errors);
        if (tree is null) return new ConfigResult(null, errors.List);
        if (tree is not YamlMap map)
        {
            errors.Add(tree, "", $"the file holds {tree.Kind} where a mapping belongs; start with name: pe-a");
            return new ConfigResult(null, errors.List);
        }

        var places = new Dictionary<object, MapReader>(ReferenceEqualityComparer.Instance);
        NodeConfig config = ReadNode(new MapReader(map, "", errors), places);
        NodeConfigChecks.Run(config, places, errors);
        return new ConfigResult(errors.Count == 0 ? config : null, errors.List);
    }

    private static NodeConfig ReadNode(MapReader node, Dictionary<object, MapReader> places)
    {
        string name = ReadName(node, "name", "pe-a");
        IpAddress routerId = node.Address("routerId", required: true, "10.255.0.1");
        if (!routerId.IsNone && (!routerId.IsV4 || routerId.Bits == 0)) node.Error("routerId",
            $"'{routerId}' cannot be a BGP identifier; write a non-zero IPv4 address such as 10.255.0.1");
        var config = new NodeConfig
        {
            Name = name,
            RouterId = routerId,
            As = (uint)node.Number("as", 1, uint.MaxValue, 0, required: true),
            Loopbacks = ReadLoopbacks(node),
            Workers = (int)node.Number("workers", 1, 64, 1),
            Host = ReadHost(node),
            Forwarding = ReadForwarding(node),
            State = ReadState(node, name),
            Ports = ReadPorts(node, places),
            Vrfs = VrfConfigReader.Read(node, places),
            Static = ReadStatic(node, places),
            Tunnels = [],
            Api = ApiConfigReader.Read(node),
            Telemetry = ReadTelemetry(node),
        };
        config = config with { Tunnels = ReadTunnels(node, config.Loopbacks, places), Bgp =
            BgpConfigReader.Read(node, config, places), Bfd = BfdConfigReader.ReadSessions(node, config, places) };
        node.Finish();
        places[NodeConfigChecks.Root] = node;
        return config;
    }

    private static List<IpAddress> ReadLoopbacks(MapReader node)
    {
        var list = new List<IpAddress>();
        foreach ((YamlText item, string path) in node.Texts("loopbacks"))
        {
            if (!IpPrefix.TryParseInterface(item.Text, out IpAddress address, out int length) || length != address.BitLength)
                node.Errors.Add(item, path, MapReader.WithoutZeros(item.Text) is { } plain
                    ? $"'{item.Text}' has leading zeros, which are octal to some programs; write {plain}"
                    : $"'{item.Text}' is not an address; write it as 10.255.0.1 or \"fd00:ff::1\"");
            else if (Martians.WhyNot(address) is { } why && !(address.IsV4 && address.V4 >> 24 == 127)) node.Errors.Add(item, path,
                $"'{item.Text}' {why} and cannot be a router's own; write a unicast address that other PEs can reach");
            else if (address.IsLinkLocal || (address.IsV4 && Martians.IsLinkLocal(address.V4)))
                node.Errors.Add(item, path, $"'{item.Text}' cannot be a router's own address; write a unicast address that other PEs can "
                    + $"reach");
            else if (list.Contains(address)) node.Errors.Add(item, path, $"'{address}' is there twice; keep one");
            else list.Add(address);
        }

        if (list.Count == 0 && !node.Has("loopbacks")) node.Error("loopbacks",
            "is missing; write loopbacks: [10.255.0.1], the ends of tunnels and BGP sessions");
        return list;
    }

    private static HostConfig? ReadHost(MapReader node)
    {
        if (node.Map("host") is not { } host) return null;
        var config = new HostConfig(ReadDevice(host, "host0"), (int)host.Number("mtu", MinMtu, MaxMtu, 1500));
        host.Finish();
        return config;
    }

    private static ForwardingConfig ReadForwarding(MapReader node)
    {
        if (node.Map("forwarding") is not { } forwarding) return new ForwardingConfig();
        var config = new ForwardingConfig(forwarding.Flag("keeper", false));
        forwarding.Finish();
        return config;
    }

    private static StateConfig ReadState(MapReader node, string name)
    {
        string unsaid = "/var/lib/sdnedge/" + name;
        if (node.Map("state") is not { } state) return new StateConfig(unsaid);
        string? folder = state.Text("folder", required: true, example: unsaid);
        if (folder is not null && (!folder.StartsWith('/') || folder.Contains('\0', StringComparison.Ordinal)))
            state.Error("folder",
                $"'{folder}' is not an absolute path; write it as {(name.Length > 0 ? unsaid : "/var/lib/sdnedge/pe-a")}");
        state.Finish();
        return new StateConfig(folder ?? unsaid);
    }

    private static List<PortConfig> ReadPorts(MapReader node, Dictionary<object, MapReader> places)
    {
        var list = new List<PortConfig>();
        foreach (MapReader item in node.Maps("ports"))
        {
            var port = new PortConfig(ReadName(item, "name", "core"), ReadDevice(item, "tap-eth1"),
                (int)item.Number("mtu", MinMtu, MaxMtu, 1500),
                item.Text("vrf", example: NodeConfig.DefaultVrf) ?? NodeConfig.DefaultVrf, ReadMac(item))
            {
                Addresses = ReadInterfaceAddresses(item),
            };
            item.Finish();
            list.Add(port);
            places[port] = item;
        }

        return list;
    }

    private static MacAddress? ReadMac(MapReader item)
    {
        if (item.Text("mac", example: "\"02:00:00:00:00:01\"") is not { } text) return null;
        if (!MacAddress.TryParse(text, null, out MacAddress mac)) item.Error("mac",
            $"'{text}' is not a MAC address; write six hex octets in quotes, \"02:00:00:00:00:01\"");
        else if (mac.IsMulticast || mac.Value == 0) item.Error("mac",
            $"'{text}' is no unicast address; the lowest bit of the first octet must be 0");
        else return mac;
        return null;
    }

    private static List<InterfaceAddress> ReadInterfaceAddresses(MapReader item)
    {
        var list = new List<InterfaceAddress>();
        foreach ((YamlText text, string path) in item.Texts("addresses"))
        {
            if (!IpPrefix.TryParseInterface(text.Text, out IpAddress address, out int length))
            {
                item.Errors.Add(text, path, MapReader.WithoutZeros(text.Text) is { } plain
                    ? $"'{text.Text}' has leading zeros, which are octal to some programs; write {plain}"
                    : $"'{text.Text}' is not an address with a length; write it as 10.1.1.1/24 or \"fd00:1:1::1/64\"");
                continue;
            }

            var entry = new InterfaceAddress(address, length);
            bool v4Subnet = address.IsV4 && length is > 0 and < 31;
            uint hostBits = v4Subnet ? uint.MaxValue >> length : 0;
            if (!text.Text.Contains('/', StringComparison.Ordinal)) item.Errors.Add(text, path,
                $"'{text.Text}' has no length; write {text.Text}/{(address.IsV4 ? 24 : 64)} for a subnet of that size");
            else if (length == 0) item.Errors.Add(text, path,
                $"'{text.Text}' has length 0, which is everything; write the length of the link's subnet");
            else if (Martians.WhyNot(address) is { } why)
                item.Errors.Add(text, path, $"'{text.Text}' {why} and cannot be an interface address; write a unicast address");
            else if (v4Subnet && (address.V4 & hostBits) == 0) item.Errors.Add(text, path,
                $"'{text.Text}' is the subnet itself; write a host in it, such as {IpAddress.FromV4(address.V4 + 1)}/{length}");
            else if (v4Subnet && (address.V4 & hostBits) == hostBits) item.Errors.Add(text, path,
                $"'{text.Text}' is the subnet's broadcast address; write a host in it");
            else list.Add(entry);
        }

        return list;
    }

    private static List<StaticRouteConfig> ReadStatic(MapReader node, Dictionary<object, MapReader> places)
    {
        var list = new List<StaticRouteConfig>();
        foreach (MapReader item in node.Maps("static"))
        {
            string? text = item.Text("prefix", required: true, "10.0.0.0/8");
            bool good = IpPrefix.TryParse(text, out IpPrefix prefix);
            if (text is not null && !good)
            {
                item.Error("prefix", IpPrefix.TryParseInterface(text, out IpAddress address, out int length)
                    ? $"'{text}' has host bits set; write {new IpPrefix(address, length)}"
                    : MapReader.WithoutZeros(text) is { } plain
                    ? $"'{text}' has leading zeros, which are octal to some programs; write {plain}"
                    : $"'{text}' is not a prefix; write it as 10.0.0.0/8 or \"2001:db8::/32\"");
            }
            else if (good && prefix.Length >= (prefix.Address is { IsV4: true, V4: >= 0xE000_0000 } ? 4 : 8)
                && !item.Flag("discard", false) && Martians.WhyNot(prefix.Address) is { } why)
            {
                item.Error("prefix", $"'{text}' {why}: no packet to it is forwarded; leave it out, or write discard: true");
            }

            IpAddress via = item.RoutedAddress("via", required: false, "172.16.0.2");
            var route = new StaticRouteConfig(item.Text("vrf", example: NodeConfig.DefaultVrf) ?? NodeConfig.DefaultVrf, prefix,
                via.IsNone ? null : via, item.Text("port", example: "core"), item.Text("tunnel"), item.Flag("discard", false));
            int ways = (item.Has("via") || item.Has("port") ? 1 : 0) + (item.Has("tunnel") ? 1 : 0) + (route.Discard ? 1 : 0);
            if (ways == 0) item.Errors.Add(item.Node, item.Path,
                "goes nowhere; add one of via: ADDRESS, port: NAME (a host on that link), tunnel: NAME or discard: true");
            if (ways > 1) item.Errors.Add(item.Node, item.Path, "goes more than one way; keep one of via/port, tunnel and discard");
            item.Finish();
            places[route] = item;
            if (good) list.Add(route);
        }

        return list;
    }

    private static List<TunnelConfig> ReadTunnels(MapReader node, IReadOnlyList<IpAddress> loopbacks, Dictionary<object, MapReader> places)
    {
        var list = new List<TunnelConfig>();
        foreach (MapReader item in node.Maps("tunnels"))
        {
            string name = ReadName(item, "name", "to-pe-b");
            IpAddress remote = item.RoutedAddress("remote", required: true, "10.255.0.2");
            IpAddress local = item.Address("local", required: false, "10.255.0.1");
            if (local.IsNone) local = loopbacks.FirstOrDefault(l => l.Family == remote.Family);
            else if (!loopbacks.Contains(local)) item.Error("local",
                $"'{local}' is not one of the loopbacks; write one of {string.Join(", ", loopbacks)}");
            if (!remote.IsNone && local.IsNone) item.Error("remote",
                $"'{remote}' is {Family(remote)}, and there is no loopback of that family; add one to loopbacks");
            var tunnel = new TunnelConfig(name, local, remote)
            {
                Key = (uint?)item.OptionalNumber("key", 0, uint.MaxValue),
                Vrf = item.Text("vrf", example: NodeConfig.DefaultVrf) ?? NodeConfig.DefaultVrf,
                Encapsulation = item.Choice("encapsulation", TunnelEncapsulation.Gre, ("gre", TunnelEncapsulation.Gre),
                    ("gre-in-udp", TunnelEncapsulation.GreInUdp)),
                Ttl = (int)item.Number("ttl", 1, 255, 255),
                Dscp = item.Choice("dscp", DscpMode.Inherit, ("inherit", DscpMode.Inherit), ("uniform", DscpMode.Uniform),
                    ("pipe", DscpMode.Pipe)),
                Ecn = item.Choice("ecn", EcnMode.Normal, ("normal", EcnMode.Normal), ("compatibility", EcnMode.Compatibility)),
                Mtu = (int?)item.OptionalNumber("mtu", MinMtu, MaxMtu),
                MssClamp = item.Flag("mssClamp", false),
                Checksum = item.Flag("checksum", false),
                Sequence = item.Flag("sequence", false),
            };
            item.Finish();
            list.Add(tunnel);
            places[tunnel] = item;
        }

        return list;
    }

    private static TelemetryConfig ReadTelemetry(MapReader node)
    {
        if (node.Map("telemetry") is not { } telemetry) return new TelemetryConfig();
        string? text = telemetry.Text("otlp", example: "http://192.0.2.9:4317");
        telemetry.Finish();
        if (text is null) return new TelemetryConfig();
        if (Uri.TryCreate(text, UriKind.Absolute, out Uri? uri) && uri.Scheme is "http" or "https") return new TelemetryConfig(uri);
        telemetry.Error("otlp", $"'{text}' is not an OTLP endpoint; write http://192.0.2.9:4317");
        return new TelemetryConfig();
    }

    internal static string ReadName(MapReader item, string key, string example) => item.Name(key, example);

    private static string ReadDevice(MapReader item, string example)
    {
        string? text = item.Text("device", required: true, example);
        if (text is null) return "";
        if (text.Length is > 0 and <= MaxDeviceName && text is not ("." or "..")
            && !text.Any(c => c is '/' or ':' || char.IsWhiteSpace(c))) return text;
        item.Error("device", $"'{text}' is not a device name; write 1 to {MaxDeviceName} characters without '/', ':' or spaces, such as "
            + $"{example}");
        return "";
    }

    internal static string Family(IpAddress address) => address.IsV4 ? "IPv4" : "IPv6";
}
