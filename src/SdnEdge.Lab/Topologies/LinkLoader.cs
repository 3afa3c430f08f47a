using System.Globalization;
using SdnEdge.Core.Wire;
using YamlDotNet.RepresentationModel;

namespace SdnEdge.Lab.Topologies;

/// <summary>The links of a topology, and what only the whole can tell.</summary>
public static partial class TopologyLoader
{
    private const int MaxInterfaceName = 15;     // IFNAMSIZ less its zero
    private const string VarKeys = "delay, jitter, loss, rate, queue, order, to-wan, from-wan";

    private static List<LabLink> ReadLinks(YamlWalk walk, YamlNode? topology, List<LabNode> nodes)
    {
        var links = new List<LabLink>();
        YamlNode? all = YamlWalk.Get(topology, "links");
        if (all is null) return links;
        if (all is not YamlSequenceNode list)
        {
            walk.Error(all, "'links' must be a list, e.g. - endpoints: [a:eth1, b:eth1].");
            return links;
        }

        var taken = new Dictionary<(string, string), int>();
        foreach (YamlNode item in list)
        {
            walk.OnlyKeys(item, "a link", "endpoints", "type", "mtu", "labels", "vars");
            if (walk.Text(item, "type", "a link") is { } type && type != "veth")
                walk.Error(item, $"link type '{type}' is not there; a lab of namespaces has veth links only.");
            if (ReadEnds(walk, item) is not var (a, b)) continue;

            bool known = true;
            foreach (LinkEnd end in (ReadOnlySpan<LinkEnd>)[a, b])
            {
                LabNode? node = nodes.Find(n => n.Name == end.Node);
                if (node is null) walk.Error(item, $"link end '{end}': there is no node '{end.Node}'; nodes are {string.Join(", ", nodes.Select(n => n.Name))}.");
                else CheckInterface(walk, item, node, end);
                known &= node is not null;
                if (!taken.TryAdd((end.Node, end.Interface), YamlWalk.LineOf(item)))
                    walk.Error(item, $"link end '{end}' is taken by the link in line {taken[(end.Node, end.Interface)]}; use another interface.");
            }

            int mtu = 1500;
            if (walk.Text(item, "mtu", "a link") is { } text && (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out mtu) || mtu is < 1280 or > 65535))
                walk.Error(item, $"mtu '{text}' must be a number of bytes from 1280 (the least of IPv6, RFC 8200 section 5) to 65535.");

            bool wan = known && (IsWan(nodes, a) || IsWan(nodes, b));
            Impairment? to = null, from = null;
            YamlNode? vars = YamlWalk.Get(item, "vars");
            if (wan)
            {
                var plain = new Impairment();
                to = from = ReadVars(walk, vars, plain, nested: true);
                if (YamlWalk.Get(vars, "to-wan") is { } more) to = ReadVars(walk, more, to, nested: false);
                if (YamlWalk.Get(vars, "from-wan") is { } other) from = ReadVars(walk, other, from, nested: false);
            }
            else if (known && vars is not null)
            {
                walk.Error(vars, $"vars of the link {a} - {b}: nothing on this link can delay or lose frames; put a node of kind sdnedge-wan at one end.");
            }

            links.Add(new LabLink(a, b, mtu, to, from,
                walk.TextMap(item, "labels", "a link").ToDictionary(l => l.Key, l => l.Value.Value, StringComparer.Ordinal), YamlWalk.LineOf(item)));
        }

        return links;
    }

    // Brief form: endpoints: [a:eth1, b:eth1]. Extended form: a list of { node, interface }.
    private static (LinkEnd A, LinkEnd B)? ReadEnds(YamlWalk walk, YamlNode link)
    {
        if (YamlWalk.Get(link, "endpoints") is not YamlSequenceNode { Children: [{ } first, { } second] })
        {
            walk.Error(link, "a link needs 'endpoints' with two ends, e.g. endpoints: [a:eth1, b:eth1].");
            return null;
        }

        LinkEnd? a = ReadEnd(first), b = ReadEnd(second);
        if (a is null || b is null) return null;
        return (a, b);

        LinkEnd? ReadEnd(YamlNode end)
        {
            if (end is YamlMappingNode)
            {
                walk.OnlyKeys(end, "a link end", "node", "interface", "mac");
                if (walk.Text(end, "node", "a link end") is { } node && walk.Text(end, "interface", "a link end") is { } name) return new LinkEnd(node, name);
            }
            else if (end is YamlScalarNode { Value: { } text } && text.Split(':') is [{ Length: > 0 } node, { Length: > 0 } name])
            {
                return new LinkEnd(node, name);
            }

            walk.Error(end, $"link end '{end}' must be node:interface, e.g. pe-a:eth1.");
            return null;
        }
    }

    private static void CheckInterface(YamlWalk walk, YamlNode at, LabNode node, LinkEnd end)
    {
        // A PE's link ethN comes with tap-ethN and br-ethN.
        int most = node.Kind == NodeKind.SdnEdgePe && end.Interface != LabTopology.ManagementInterface ? MaxInterfaceName - "tap-".Length
            : MaxInterfaceName;
        if (end.Interface.Length > most)
            walk.Error(at, $"link end '{end}': the interface name is too long; at most {most} characters here.");
        if (end.Interface.Any(c => !char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_' or '.')))
            walk.Error(at, $"link end '{end}': an interface name has letters, digits, '-', '_' and '.' only.");
        if (end.Interface is "lo" || (node.Kind == NodeKind.Server && end.Interface is "eth0" or "stub0" or "stub1") || (node.Kind == NodeKind.Bridge && end.Interface == "br0"))
            walk.Error(at, $"link end '{end}': {end.Interface} is there already in a node of kind {WordOf(node.Kind)}; use another name.");
    }

    private static Impairment ReadVars(YamlWalk walk, YamlNode? vars, Impairment start, bool nested)
    {
        Impairment result = start;
        foreach ((string key, YamlNode at, YamlNode value) in walk.Entries(vars, "'vars' of a link"))
        {
            if (nested && key is "to-wan" or "from-wan") continue;
            string text = (value as YamlScalarNode)?.Value ?? "";
            switch (key)
            {
                case "delay" when Quantity.TryTime(text, out long ns): result = result with { DelayNs = ns }; break;
                case "jitter" when Quantity.TryTime(text, out long ns): result = result with { JitterNs = ns }; break;
                case "loss" when Quantity.TryShare(text, out double share): result = result with { Loss = share }; break;
                case "rate" when Quantity.TryRate(text, out long rate): result = result with { RateBitsPerSecond = rate }; break;
                case "queue" when Quantity.TrySize(text, out long bytes) && bytes >= 1 << 17: result = result with { QueueBytes = (int)bytes }; break;
                case "order" when text is "keep" or "free": result = result with { KeepOrder = text == "keep" }; break;
                case "delay" or "jitter": walk.Error(value, $"{key} '{text}' must be a time from 0 to 60s, with its unit: 10ms, 250us."); break;
                case "loss": walk.Error(value, $"loss '{text}' must be a share with its sign, from 0% to 100%: 0.1%."); break;
                case "rate": walk.Error(value, $"rate '{text}' must be a rate with its unit, 0bit for no limit: 100mbit, 1gbit."); break;
                case "queue": walk.Error(value, $"queue '{text}' must be a size from 128KiB (two superpackets) to 1024MiB, with its unit: 16MiB."); break;
                case "order": walk.Error(value, $"order '{text}' must be 'keep' (jitter reorders nothing) or 'free'."); break;
                default: walk.Error(at, $"a link has no var '{key}'; known: {VarKeys}."); break;
            }
        }

        return result;
    }

    private static void CheckWhole(YamlWalk walk, List<LabNode> nodes, List<LabLink> links)
    {
        foreach (LabNode node in nodes)
        {
            if (node.Kind != NodeKind.Server || node.Server is null) continue;
            List<LabLink> legs = links.FindAll(l => l.EndAt(node.Name) is not null);
            if (legs.Count == 0) walk.Error(node.Line, $"server '{node.Name}' has no link; give it one leg for each site, e.g. endpoints: [{node.Name}:leg-a, dc-a:eth2].");
            string[] sites = [.. legs.Select(l => Sites.NameOf(l, node.Name))];
            foreach (IGrouping<string, string> twice in sites.GroupBy(s => s).Where(g => g.Count() > 1))
                walk.Error(node.Line, $"server '{node.Name}' has {twice.Count()} legs at site '{twice.Key}'; one leg for each site.");
            if (node.Server.HomeSite is { } home && !sites.Contains(home))
                walk.Error(node.Line, $"server '{node.Name}' starts at '{home}', where it has no leg; it has legs at {string.Join(", ", sites)}.");
        }

        CheckManagement(walk, nodes, links);
        foreach (LabLink link in links)
        {
            if (IsWan(nodes, link.A) && IsWan(nodes, link.B))
                walk.Error(link.Line, $"link {link.A} - {link.B}: two WAN nodes face each other; one provider core is enough.");
        }
    }

    // A management address needs its interface, and the other way round where a daemon is to be reached by it.
    private static void CheckManagement(YamlWalk walk, List<LabNode> nodes, List<LabLink> links)
    {
        var owners = new Dictionary<IpAddress, string>();
        foreach (LabNode node in nodes)
        {
            bool linked = links.Exists(l => l.EndAt(node.Name)?.Interface == LabTopology.ManagementInterface);
            if (node.Management is { } management)
            {
                if (!linked)
                    walk.Error(node.Line,
                        $"node '{node.Name}' has the label sdnedge.management and no interface {LabTopology.ManagementInterface}; " +
                        $"give it a link, e.g. endpoints: [{node.Name}:{LabTopology.ManagementInterface}, mgmt:eth1].");
                if (!owners.TryAdd(management.Address, node.Name))
                    walk.Error(node.Line,
                        $"node '{node.Name}' has the management address of node '{owners[management.Address]}'; give each its own.");
            }
            else if (linked && node.Kind is NodeKind.SdnEdgePe or NodeKind.SdnEdgeHost or NodeKind.SdnEdgeMms
                && !node.Labels.ContainsKey("sdnedge.management"))
            {
                walk.Error(node.Line, $"node '{node.Name}' has an interface {LabTopology.ManagementInterface} and no address for it; " +
                    "add the label sdnedge.management, e.g. 10.254.0.1/24.");
            }
        }
    }

    private static bool IsWan(List<LabNode> nodes, LinkEnd end) => nodes.Find(n => n.Name == end.Node)?.Kind == NodeKind.SdnEdgeWan;
}
