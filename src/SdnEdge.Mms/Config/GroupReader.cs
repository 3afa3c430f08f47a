using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Config;

/// <summary>Reads the groups, and what may be in one group only: a server's name, and its prefixes within a VRF.</summary>
internal sealed class GroupReader(Defined<DaemonConfig> pes, Defined<DaemonConfig> hosts, Defined<SiteConfig> sites)
{
    private readonly Dictionary<string, (string Group, int Line)> _servers = [];
    private readonly List<Claim> _claims = [];

    /// <summary>A prefix that a server claims, and where the file says so.</summary>
    private sealed record Claim(string Vrf, IpPrefix Prefix, string Server, YamlText Text, string Path)
    {
        public (int, int) Place => (Text.Line, Text.Column);
    }

    public IReadOnlyList<GroupConfig> Read(MapReader root)
    {
        var groups = new Defined<GroupConfig>("group", "groups");
        foreach (MapReader item in root.Maps("groups"))
        {
            string name = item.Name("name", "web");
            bool stateless = item.Flag("stateless", false);
            var group = new GroupConfig(name, ReadServers(item, name, stateless))
            {
                Stateless = stateless,
                Ingress = ReadIngress(item),
                OtherIngress = item.Flag("otherIngress", false),
                Hold = ReadHold(item),
                MaxBlackoutMs = (int)item.Number("maxBlackoutMs", 1, 600_000, 2_000),
                AtOnce = (int)item.Number("atOnce", 1, 1000, 1),
                Bandwidth = (int?)item.OptionalNumber("bandwidth", 1, 1_000_000),
                Protect = ReadProtect(item),
            };
            item.Finish();
            groups.Add(item, name, group);
            if (group.Servers.Count > 0 && group.Servers.All(s => s.At.Count > 1) && group.Sites.Count < 2)
            {
                item.Error("servers",
                    $"the servers of group '{name}' have fewer than two sites in common; they move together, "
                    + "so give each a place at the same two sites");
            }
        }

        CheckOverlaps(root.Errors);
        return groups.All;
    }

    // Sorted, a prefix is followed by all that lie inside it: one that overlaps any other is inside the last outermost one.
    private void CheckOverlaps(ConfigErrors errors)
    {
        Claim? outer = null;
        foreach (Claim inner in _claims.OrderBy(c => c.Vrf, StringComparer.Ordinal).ThenBy(c => c.Prefix).ThenBy(c => c.Place))
        {
            if (outer is null || outer.Vrf != inner.Vrf || !outer.Prefix.Contains(inner.Prefix))
            {
                outer = inner;
                continue;
            }

            (Claim first, Claim second) = inner.Place.CompareTo(outer.Place) < 0 ? (inner, outer) : (outer, inner);
            errors.Add(second.Text, second.Path, first.Prefix == second.Prefix
                ? $"{second.Prefix} belongs to server '{first.Server}' already, on line {first.Text.Line}; in a VRF a prefix has one server"
                : $"{second.Prefix} overlaps {first.Prefix} of server '{first.Server}' on line {first.Text.Line}; "
                    + $"in VRF '{first.Vrf}' moving prefixes must lie apart");
        }
    }

    private List<DaemonConfig> ReadIngress(MapReader group)
    {
        var list = new List<DaemonConfig>();
        foreach ((YamlText text, string path) in group.Texts("ingress"))
        {
            if (pes.Find(text, path, group.Errors) is not { } pe) continue;
            if (list.Contains(pe)) group.Errors.Add(text, path, $"PE '{pe.Name}' is there twice; keep one");
            else list.Add(pe);
        }

        return list;
    }

    // The bounds are those of a PE's prepare: what a PE would refuse is refused here, with its line.
    private static HoldOptions? ReadHold(MapReader group)
    {
        if (group.Map("hold") is not { } hold) return null;
        var usual = new HoldOptions();
        var options = new HoldOptions(
            hold.Number("maxBytes", 65_536, 16L << 30, usual.MaxBytes),
            (int)hold.Number("maxPackets", 1, 100_000_000, usual.MaxPackets),
            (int)hold.Number("maxMilliseconds", 1, 600_000, usual.MaxMilliseconds),
            hold.Choice("overflow", usual.Overflow,
                ("drop-newest", HoldOverflowPolicy.DropNewest), ("drop-oldest", HoldOverflowPolicy.DropOldest)),
            (int?)hold.OptionalNumber("releasePacketsPerSecond", 0, 100_000_000),
            hold.Flag("disabled", usual.Disabled));
        hold.Finish();
        return options;
    }

    private ProtectConfig? ReadProtect(MapReader group)
    {
        if (group.Map("protect") is not { } protect) return null;
        ProtectionPolicy policy = protect.Choice("policy", ProtectionPolicy.Cold, ("cold", ProtectionPolicy.Cold));
        bool automatic = protect.Flag("automatic", false);
        var watch = new List<SiteWatch>();
        foreach (MapReader item in protect.Maps("watch"))
        {
            SiteConfig? site = sites.Find(item, "site", "dc-a");
            var part = new WatchedPart(
                item.Text("bfd", example: "10.1.1.1"), item.Text("carrier", example: "eth1"), item.Text("neighbor", example: "10.1.1.10"));
            item.Finish();
            if (SignalChecks.WhyNotWatched(part) is { } wrong) item.Error("watch", wrong.Why);
            else if (site is not null) watch.Add(new SiteWatch(site.Name, part));
        }

        protect.Finish();
        return new ProtectConfig(policy, automatic, watch);
    }

    private List<ServerConfig> ReadServers(MapReader group, string groupName, bool stateless)
    {
        var list = new List<ServerConfig>();
        foreach (MapReader item in group.Maps("servers"))
        {
            string name = item.Name("name", "web-1");
            string vrf = item.Text("vrf", example: NodeConfig.DefaultVrf) ?? NodeConfig.DefaultVrf;
            List<IpPrefix> prefixes = ReadPrefixes(item, vrf, name);
            var server = new ServerConfig(name, vrf, prefixes, ReadPlaces(item, prefixes, stateless));
            item.Finish();
            list.Add(server);
            if (name.Length > 0 && !_servers.TryAdd(name, (groupName, (item.Node["name"] ?? item.Node).Line)))
            {
                (string other, int line) = _servers[name];
                item.Error("name", $"server '{name}' is already there on line {line}, in group '{other}'; a server is in one group, once");
            }
        }

        if (list.Count == 0 && group.Node["servers"] is not YamlMap and not YamlText { IsNull: false })
        {
            group.Error("servers",
                "is missing; a group has at least one server: write servers: [ { name: web-1, prefixes: [...], at: [...] } ]");
        }

        return list;
    }

    private List<IpPrefix> ReadPrefixes(MapReader server, string vrf, string name)
    {
        var list = new List<IpPrefix>();
        bool any = false;
        foreach ((YamlText text, string path) in server.Texts("prefixes"))
        {
            any = true;
            if (!IpPrefix.TryParse(text.Text, out IpPrefix prefix))
            {
                server.Errors.Add(text, path, IpPrefix.TryParseInterface(text.Text, out IpAddress address, out int length)
                    ? $"'{text.Text}' has host bits set; write {new IpPrefix(address, length)}"
                    : $"'{text.Text}' is not a prefix; write it as 10.1.1.10/32 or \"fd00:1:1::10/128\"");
                continue;
            }

            list.Add(prefix);
            _claims.Add(new Claim(vrf, prefix, name, text, path));
        }

        if (!any && server.Node["prefixes"] is null or YamlList { Items.Count: 0 })
        {
            server.Error("prefixes",
                "is missing; write prefixes: [10.1.1.10/32, \"fd00:1:1::10/128\"], the addresses that move with the server");
        }

        return list;
    }

    private List<PlaceConfig> ReadPlaces(MapReader server, List<IpPrefix> prefixes, bool stateless)
    {
        var list = new List<PlaceConfig>();
        var sitesSeen = new HashSet<SiteConfig>();
        var pesSeen = new HashSet<DaemonConfig>();
        int count = 0;
        foreach (MapReader item in server.Maps("at"))
        {
            count++;
            SiteConfig? site = sites.Find(item, "site", "dc-a");
            DaemonConfig? host = stateless ? NoHost(item) : hosts.Find(item, "host", "host-a"), pe = pes.Find(item, "pe", "pe-a");
            string port = item.Name("port", "dc");
            List<IpAddress> hops = ReadNextHops(item, prefixes);
            item.Finish();
            if (site is not null && !sitesSeen.Add(site))
                item.Error("site", $"the server has a place at site '{site.Name}' already; one place for each site");
            if (pe is not null && !pesSeen.Add(pe))
                item.Error("pe", $"the server has a place behind PE '{pe.Name}' already; a server moves from one PE to another");
            if (site is not null && host is not null && !site.Hosts.Contains(host))
            {
                string there = site.Hosts.Count == 0 ? "there is none" : $"use one of {string.Join(", ", site.Hosts.Select(h => h.Name))}";
                item.Error("host", $"host '{host.Name}' is not at site '{site.Name}'; {there}, or add it to the site's hosts");
            }

            if (site is not null && (host is not null || stateless) && pe is not null)
                list.Add(new PlaceConfig(site, host, pe, port, hops));
        }

        if (count < 2 && server.Node["at"] is null or YamlList)
        {
            server.Error("at", $"the server has {(count == 0 ? "no place" : "one place")} to live at; to be moved it needs two or more: "
                + $"write at: [ {{ site: dc-a, {(stateless ? "" : "host: host-a, ")}pe: pe-a, port: dc }}, {{ site: dc-b, ... }} ]");
        }

        return list;
    }

    // Both instances run, whoever started them: no host has a say in it.
    private static DaemonConfig? NoHost(MapReader place)
    {
        if (place.Has("host"))
            place.Error("host", "has no place in a group with stateless: true: its instances run at all sites, and the network alone "
                + "moves; leave it out, or leave stateless out and the host's agent moves the server");
        place.Known("host");
        return null;
    }

    // One address, or a list with one for each family.
    private static List<IpAddress> ReadNextHops(MapReader place, List<IpPrefix> prefixes)
    {
        var list = new List<IpAddress>();
        (YamlText Item, string Path)[] texts = [];
        if (place.Node["nextHop"] is YamlText { IsNull: false } one) texts = [(one, place.At("nextHop"))];
        if (texts.Length == 0) texts = [.. place.Texts("nextHop")];
        else place.Known("nextHop");
        foreach ((YamlText text, string path) in texts)
        {
            if (!IpAddress.TryParse(text.Text, out IpAddress hop))
                place.Errors.Add(text, path,
                    $"'{text.Text}' is not an IP address; write the server's or its router's on that port, such as 10.1.1.2");
            else if (list.Exists(h => h.Family == hop.Family))
                place.Errors.Add(text, path, $"'{hop}' is the second {Word(hop.Family)} next hop; at most one for each family");
            else if (prefixes.Count > 0 && !prefixes.Exists(p => p.Family == hop.Family))
                place.Errors.Add(text, path, $"'{hop}' is {Word(hop.Family)}, and the server has no {Word(hop.Family)} prefix");
            else list.Add(hop);
        }

        return list;
    }

    private static string Word(IpFamily family) => family == IpFamily.V4 ? "IPv4" : "IPv6";
}
