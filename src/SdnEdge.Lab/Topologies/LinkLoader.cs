using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;

namespace SdnEdge.Lab.Topologies;

/// <summary>The links of a topology, and what only the whole can tell.</summary>
public static partial class TopologyLoader
{
    private const int MaxInterfaceName = 15;     // IFNAMSIZ less its zero

    private delegate bool TryRead<T>(string text, out T value);

    // Ends of containerlab's links that lead out of the lab.
    private static readonly string[] s_outside = ["host", "mgmt-net", "macvlan", "vxlan", "vxlan-stitch", "dummy"];

    private static List<LabLink> ReadLinks(MapReader topology, List<LabNode> nodes, Unused unused)
    {
        var links = new List<LabLink>();
        var taken = new Dictionary<LinkEnd, int>();
        foreach (MapReader item in topology.Maps("links"))
        {
            if (item.Text("type", example: "veth") is { } type && type is not ("veth" or "veth-stitch"))
            {
                item.Error("type", $"'{type}' is not there; a lab of namespaces has veth links only");
                continue;
            }

            foreach (string key in (string[])["ipv4", "ipv6"])
            {
                if (item.Has(key)) unused.Add(key, item.Path);
            }

            int mtu = (int)item.Number("mtu", 1280, 65535, 1500);
            var labels = item.Words("labels").ToDictionary(l => l.Name, l => l.Value.Text, StringComparer.Ordinal);
            if (ReadEnds(item, unused) is var ((a, placeOfA), (b, placeOfB)))
            {
                bool known = CheckEnd(a, placeOfA, nodes, taken) & CheckEnd(b, placeOfB, nodes, taken);
                (Impairment? to, Impairment? from) = known ? ReadWan(item, nodes, a, b) : default;
                links.Add(new LabLink(a, b, mtu, to, from, labels));
            }

            item.Known("vars");
            item.Finish();
        }

        return links;
    }

    // Brief form: endpoints: [a:eth1, b:eth1]. Extended form: a list of { node, interface }.
    private static ((LinkEnd End, Place Place) A, (LinkEnd End, Place Place) B)? ReadEnds(MapReader link, Unused unused)
    {
        link.Known("endpoints");
        if (link.Node["endpoints"] is not YamlList { Items: [{ } first, { } second] })
        {
            link.Error("endpoints", "a link has two ends; write endpoints: [a:eth1, b:eth1]");
            return null;
        }

        Place a = new(link.Errors, first, link.At("endpoints[0]")), b = new(link.Errors, second, link.At("endpoints[1]"));
        LinkEnd? endA = ReadEnd(a, unused), endB = ReadEnd(b, unused);
        return endA is null || endB is null ? null : ((endA, a), (endB, b));
    }

    private static LinkEnd? ReadEnd(Place at, Unused unused)
    {
        if (at.At is YamlMap map)
        {
            var reader = new MapReader(map, at.Path, at.Errors);
            string? node = reader.Text("node", required: true, "pe-a"), name = reader.Text("interface", required: true, "eth1");
            MacAddress? mac = null;
            if (reader.Text("mac", example: "02:00:00:00:01:10") is { } given)
            {
                if (MacAddress.TryParse(given, null, out MacAddress one) && !one.IsMulticast && one.Value != 0) mac = one;
                else reader.Error("mac", $"'{given}' is no unicast MAC address; write it as 02:00:00:00:01:10");
            }

            foreach (string key in (string[])["ipv4", "ipv6", "vars"])
            {
                if (reader.Has(key)) unused.Add(key, reader.Path);
            }

            reader.Finish();
            return node is null || name is null ? null : new LinkEnd(node, name) { Mac = mac };
        }

        string? text = (at.At as YamlText)?.Text;
        if (text?.Split(':') is [{ Length: > 0 } ofNode, { Length: > 0 } @interface]) return new LinkEnd(ofNode, @interface);
        at.Error($"{(text is null ? at.At.Kind : $"'{text}'")} is no end of a link; write node:interface, such as pe-a:eth1");
        return null;
    }

    // False: there is no such node.
    private static bool CheckEnd(LinkEnd end, Place place, List<LabNode> nodes, Dictionary<LinkEnd, int> taken)
    {
        LabNode? node = nodes.Find(n => n.Name == end.Node);
        if (node is null && s_outside.Contains(end.Node))
            place.Error($"'{end}' leads out of the lab; a lab of namespaces has links between its own nodes only");
        else if (node is null) place.Error($"there is no node '{end.Node}'; nodes are {string.Join(", ", nodes.Select(n => n.Name))}");
        else CheckInterface(place, node, end.Interface);
        LinkEnd bare = end with { Mac = null };
        if (!taken.TryAdd(bare, place.At.Line)) place.Error($"'{end}' is taken by the link in line {taken[bare]}; use another interface");
        return node is not null;
    }

    private static void CheckInterface(Place place, LabNode node, string name)
    {
        // A PE's link ethN comes with tap-ethN and br-ethN.
        int most = node.Kind == NodeKind.SdnEdgePe && name != LabTopology.ManagementInterface ? MaxInterfaceName - "tap-".Length
            : MaxInterfaceName;
        if (name.Length > most) place.Error($"the interface name '{name}' is too long; at most {most} characters here");
        if (name.Any(c => !char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_' or '.')))
            place.Error($"'{name}' cannot name an interface; use letters, digits, '-', '_' and '.'");
        if (name is "lo" || (node.Kind == NodeKind.Server && name is "eth0" or "stub0" or "stub1")
            || (node.Kind == NodeKind.Bridge && name == "br0"))
            place.Error($"{name} is there already in a node of kind {WordOf(node.Kind)}; use another name");
    }

    // What frames meet on the way into the WAN node and out of it.
    private static (Impairment? To, Impairment? From) ReadWan(MapReader link, List<LabNode> nodes, LinkEnd a, LinkEnd b)
    {
        bool ofA = IsWan(nodes, a), ofB = IsWan(nodes, b);
        if (ofA && ofB) link.Error("endpoints", "two WAN nodes face each other; one provider core is enough");
        if (!ofA && !ofB)
        {
            if (link.Has("vars"))
                link.Error("vars", "nothing on this link can delay or lose frames; put a node of kind sdnedge-wan at one end");
            return default;
        }

        var none = new Impairment();
        if (link.Map("vars") is not { } vars) return (none, none);
        Impairment both = ReadVars(vars, none), to = OneWay(vars, "to-wan", both), from = OneWay(vars, "from-wan", both);
        vars.Finish();
        return (to, from);
    }

    private static Impairment OneWay(MapReader vars, string key, Impairment both)
    {
        if (vars.Map(key) is not { } way) return both;
        Impairment result = ReadVars(way, both);
        way.Finish();
        return result;
    }

    private static Impairment ReadVars(MapReader vars, Impairment start)
    {
        const string Time = "a time from 0 to 60s with its unit, such as 10ms or 250us";
        return start with
        {
            DelayNs = Read<long>(vars, "delay", start.DelayNs, Quantity.TryTime, Time),
            JitterNs = Read<long>(vars, "jitter", start.JitterNs, Quantity.TryTime, Time),
            Loss = Read<double>(vars, "loss", start.Loss, Quantity.TryShare, "a share with its sign from 0% to 100%, such as 0.1%"),
            RateBitsPerSecond = Read<long>(vars, "rate", start.RateBitsPerSecond, Quantity.TryRate,
                "a rate with its unit, such as 100mbit or 1gbit; 0bit for no limit"),
            QueueBytes = (int)Read<long>(vars, "queue", start.QueueBytes, Quantity.TryQueue,
                "a size from 128KiB (two superpackets) to 1024MiB with its unit, such as 16MiB"),
            KeepOrder = vars.Choice("order", start.KeepOrder, ("keep", true), ("free", false)),   // keep: jitter reorders nothing
        };
    }

    private static T Read<T>(MapReader vars, string key, T fallback, TryRead<T> tryRead, string right)
    {
        if (vars.Text(key, example: right) is not { } text) return fallback;
        if (tryRead(text, out T value)) return value;
        vars.Error(key, $"'{text}' is wrong; write {right}");
        return fallback;
    }

    private static void CheckServers(List<LabNode> nodes, List<LabLink> links, Dictionary<string, Place> places)
    {
        foreach (LabNode node in nodes)
        {
            if (node.Kind != NodeKind.Server || node.Server is null) continue;
            Place place = places[node.Name];
            string[] sites = [.. links.Where(l => l.EndAt(node.Name) is not null).Select(l => Sites.NameOf(l, node.Name))];
            if (sites.Length == 0) place.Error($"has no link; give it one leg for each site: endpoints: [{node.Name}:leg-a, dc-a:eth2]");
            foreach (IGrouping<string, string> twice in sites.GroupBy(s => s).Where(g => g.Count() > 1))
                place.Error($"has {twice.Count()} legs at site '{twice.Key}'; keep one for each site");
            if (node.Server.HomeSite is { } home && !sites.Contains(home))
                place.Error($"starts at '{home}', where it has no leg; it has legs at {string.Join(", ", sites)}");
        }
    }

    // A management address needs its interface, and the other way round where a daemon is to be reached by it.
    private static void CheckManagement(List<LabNode> nodes, List<LabLink> links, Dictionary<string, Place> places)
    {
        const string Interface = LabTopology.ManagementInterface;
        var owners = new Dictionary<IpAddress, string>();
        foreach (LabNode node in nodes)
        {
            Place place = places[node.Name];
            bool linked = links.Exists(l => l.EndAt(node.Name)?.Interface == Interface);
            if (node.Management is { } management)
            {
                if (!linked)
                {
                    place.Error($"has the label sdnedge.management and no interface {Interface}; "
                        + $"give it a link: endpoints: [{node.Name}:{Interface}, mgmt:eth1]");
                }

                if (!owners.TryAdd(management.Address, node.Name))
                    place.Error($"has the management address of node '{owners[management.Address]}'; give each its own");
            }
            else if (linked && node.Kind is NodeKind.SdnEdgePe or NodeKind.SdnEdgeHost or NodeKind.SdnEdgeMms or NodeKind.SdnEdgeStore
                && !node.Labels.ContainsKey("sdnedge.management"))
            {
                place.Error($"has an interface {Interface} and no address for it; add the label sdnedge.management, such as 10.254.0.1/24");
            }
        }
    }

    private static bool IsWan(List<LabNode> nodes, LinkEnd end) => nodes.Find(n => n.Name == end.Node)?.Kind == NodeKind.SdnEdgeWan;
}
