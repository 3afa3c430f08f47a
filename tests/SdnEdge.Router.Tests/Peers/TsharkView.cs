using System.Diagnostics;
using System.Globalization;
using System.Xml.Linq;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Peers;

/// <summary>What tshark reads in a capture of BGP, under the names of <see cref="MessageView"/>.</summary>
internal static class TsharkView
{
    /// <summary>The messages by direction ("10.255.0.1:179>10.255.0.3:40000"), each in order.</summary>
    public static Dictionary<string, List<SortedDictionary<string, string>>> Dissect(string path)
    {
        var start = new ProcessStartInfo(TsharkTheoryAttribute.Path!)
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };

        // A segment that has overtaken another is read as well, as it is by the receiver.
        foreach (string word in (string[])["-o", "tcp.reassemble_out_of_order:TRUE", "-r", path, "-n", "-Y", "bgp", "-T", "pdml"])
            start.ArgumentList.Add(word);
        using Process tshark = Process.Start(start)!;
        Task<string> errors = tshark.StandardError.ReadToEndAsync();
        XDocument document = XDocument.Load(tshark.StandardOutput);
        tshark.WaitForExit();
        Assert.True(tshark.ExitCode == 0, errors.Result);
        var streams = new Dictionary<string, List<SortedDictionary<string, string>>>();
        foreach (XElement packet in document.Root!.Elements("packet"))
        {
            string from = $"{First(packet, "ip.src")}:{First(packet, "tcp.srcport")}";
            string key = $"{from}>{First(packet, "ip.dst")}:{First(packet, "tcp.dstport")}";
            if (!streams.TryGetValue(key, out List<SortedDictionary<string, string>>? messages)) streams.Add(key, messages = []);
            messages.AddRange(packet.Elements("proto").Where(p => Name(p) == "bgp").Select(View));
        }

        return streams;
    }

    private static SortedDictionary<string, string> View(XElement message)
    {
        var view = new SortedDictionary<string, string>(StringComparer.Ordinal);
        Assert.DoesNotContain(message.Descendants(), f => Name(f) == "_ws.malformed");
        view["length"] = First(message, "bgp.length");
        view["type"] = First(message, "bgp.type");
        switch (view["type"])
        {
            case "1":
                string wide = All(message, "bgp.cap.4as").FirstOrDefault() ?? First(message, "bgp.open.myas");
                view["open.hold"] = First(message, "bgp.open.holdtime");
                view["open.as"] = wide;
                view["open.id"] = First(message, "bgp.open.identifier");
                view["open.capabilities"] = string.Join(' ', All(message, "bgp.cap.type"));
                view["open.families"] =
                    string.Join(' ', All(message, "bgp.cap.mp.afi").Zip(All(message, "bgp.cap.mp.safi"), (a, s) => $"{a}/{s}").Order());
                break;
            case "2":
                AddUpdate(view, message);
                break;
            case "3":
                view["notify"] = First(message, "bgp.notify.major_error") + "/" + message.Descendants()
                    .First(f => Name(f).StartsWith("bgp.notify.minor_error", StringComparison.Ordinal)).Attribute("show")!.Value;
                break;
            case "5":
                string[] fields = ["bgp.route_refresh.afi", "bgp.route_refresh.subtype", "bgp.route_refresh.safi"];
                view["refresh"] = string.Join('/', fields.Select(f => First(message, f)));
                break;
            default:
                break;
        }

        return view;
    }

    private static void AddUpdate(SortedDictionary<string, string> view, XElement message)
    {
        Set(view, "withdrawn", Prefixes(message.Elements("field").Where(f => Name(f) == "bgp.update.withdrawn_routes")));
        Set(view, "nlri", Prefixes(message.Elements("field").Where(f => Name(f) == "bgp.update.nlri")));
        var codes = new SortedSet<int>();
        foreach (XElement attribute in message.Descendants("field").Where(f => Name(f) == "bgp.update.path_attribute"))
        {
            int code = int.Parse(First(attribute, "bgp.update.path_attribute.type_code"), CultureInfo.InvariantCulture);
            codes.Add(code);
            if (code == 14)
            {
                Set(view, "reach", Prefixes([attribute]));
                view["reach.hop"] = attribute.Descendants()
                    .First(f => Name(f).StartsWith("bgp.update.path_attribute.mp_reach_nlri.next_hop.ip", StringComparison.Ordinal))
                    .Attribute("show")!.Value;
            }
            else if (code == 15)
            {
                Set(view, "unreach", Prefixes([attribute]));
            }
            else
            {
                Set(view, code.ToString(CultureInfo.InvariantCulture), Value(code, attribute));
            }
        }

        if (!view.ContainsKey("nlri") && !view.ContainsKey("reach"))
        {
            // Attributes of a message that announces nothing mean nothing (RFC 4271 4.3); our codec does not keep them.
            foreach (int code in codes) view.Remove(code.ToString(CultureInfo.InvariantCulture));
            codes.IntersectWith([15]);
        }

        Set(view, "codes", string.Join(' ', codes));
        bool nothing = !view.ContainsKey("withdrawn") && !view.ContainsKey("nlri") && !view.ContainsKey("unreach")
            && !view.ContainsKey("reach");
        if (view["length"] == "23") view["end"] = "ipv4"; // a header and two lengths of zero, no more (RFC 4724 2)
        if (nothing && codes.SetEquals([15]))
            view["end"] = First(message, "bgp.update.path_attribute.mp_unreach_nlri.afi") == "1" ? "ipv4" : "ipv6";
    }

    private static string Value(int code, XElement attribute)
    {
        const string p = "bgp.update.path_attribute.";
        string Pairs(string separator, params string[] names) =>
            string.Join(' ', names.Select(n => All(attribute, n)).Aggregate((a, b) => a.Zip(b, (x, y) => x + separator + y)));
        switch (code)
        {
            case 1:
                return First(attribute, p + "origin");
            case 2:
                return string.Join(' ', attribute.Descendants().Where(f => Name(f) == p + "as_path_segment")
                    .Select(s => $"{First(s, p + "as_path_segment.type")}:"
                        + string.Join(',', All(s, p + "as_path_segment.as4").Concat(All(s, p + "as_path_segment.as2")))));
            case 3:
                return First(attribute, p + "next_hop");
            case 4:
                return First(attribute, p + "multi_exit_disc");
            case 5:
                return First(attribute, p + "local_pref");
            case 6:
                return string.Empty;
            case 7:
                return Pairs(" ", p + "aggregator_as", p + "aggregator_origin");
            case 8:
                return Pairs(":", p + "community_as", p + "community_value");
            case 9:
                return First(attribute, p + "originator_id");
            case 10:
                return string.Join(' ', All(attribute, "bgp.path_attribute.cluster_id"));
            case 32:
                return Pairs(":", "bgp.large_communities.ga", "bgp.large_communities.ldp1", "bgp.large_communities.ldp2");
            case 16:
                return Joined(attribute);
            default:
                return First(attribute, p + "length") + " bytes";
        }
    }

    // Extended communities: the bytes of the leaves after the length, bits of an octet left out.
    private static string Joined(XElement attribute) => string.Concat(attribute.Descendants()
        .SkipWhile(f => Name(f) != "bgp.update.path_attribute.length").Skip(1)
        .Where(f => !Name(f).StartsWith("bgp.ext_com.type.", StringComparison.Ordinal))
        .Select(f => f.Attribute("value")?.Value ?? string.Empty));

    private static string Prefixes(IEnumerable<XElement> trees) => string.Join(' ', trees.SelectMany(t => t.Descendants())
        .Where(f => f.Elements().Any(c => Name(c) == "bgp.prefix_length")).Select(f => f.Attribute("show")!.Value));

    private static string First(XElement tree, string name) => All(tree, name).First();

    private static IEnumerable<string> All(XElement tree, string name)
        => tree.Descendants().Where(f => Name(f) == name).Select(f => f.Attribute("show")!.Value);

    private static string Name(XElement field) => field.Attribute("name")!.Value;

    private static void Set(SortedDictionary<string, string> view, string name, string value)
    {
        if (value.Length > 0) view[name] = value;
    }
}
