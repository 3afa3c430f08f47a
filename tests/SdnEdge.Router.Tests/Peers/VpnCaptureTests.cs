using System.Diagnostics;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using SdnEdge.Core.Bgp;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Peers;

/// <summary>
/// A recorded session of a PE with FRR as reflector of VPN routes (pcaps/vpn-frr.pcap: comes up, a VRF stops exporting, a
/// refresh, shut down): our codec and tshark read the same routes, next hops, labels and tunnels.
/// </summary>
public sealed partial class VpnCaptureTests
{
    private static readonly UpdateContext Context = new(FourOctetAs: true, External: false, 65000, BgpFamilies.All);

    private static string File => Path.Combine(CaptureTests.Folder(), "vpn-frr.pcap");

    [TsharkTheory]
    [InlineData("10.255.0.1")]
    [InlineData("10.255.0.10")]
    public void Our_codec_and_tshark_read_VPN_routes_alike(string from)
    {
        List<string> ours = [.. BgpCapture.Messages(File).Where(m => m.Type == 2 && m.Stream.From.Address.ToString() == from).Select(Ours)];
        Assert.Equal(Tshark(from), ours);

        // Both families announced and taken back, and both marked at their end.
        foreach (string part in (string[])["reach 1", "reach 2", "unreach 1 10.255.0.1:2 10.1.1.0/24",
            "unreach 2 10.255.0.1:2 fd00:1:1::/64", "end 1", "end 2", "key 7 to 10.255.0.1"])
            Assert.Contains(ours, m => m.Contains(part, StringComparison.Ordinal));
    }

    [Fact]
    public void The_reflector_has_passed_the_tunnel_on_unchanged()
    {
        HashSet<string> Tunnels(string from)
            => [.. BgpCapture.Messages(File).Where(m => m.Type == 2 && m.Stream.From.Address.ToString() == from)
            .Select(m => Ours(m)).Where(t => t.Contains("to 10.255.0.1", StringComparison.Ordinal))];
        HashSet<string> told = Tunnels("10.255.0.1");
        Assert.NotEmpty(told);
        Assert.Superset(told, Tunnels("10.255.0.10"));
    }

    private static string Ours(CapturedMessage message)
    {
        var faults = new BgpFaultCounters();
        UpdateMessage update = new UpdateDecoder(new AttributeTable(), faults).Decode(message.Bytes.AsSpan(BgpLimits.HeaderSize), Context);
        Assert.Empty(faults.Seen());
        var said = new List<string>();
        if (update.VpnFamily != 0)
        {
            string hop = update.VpnFamily == Core.Wire.IpFamily.V6 && update.VpnNextHop.IsV4 ? $"::ffff:{update.VpnNextHop}"
                : $"{update.VpnNextHop}";
            said.Add($"reach {(int)update.VpnFamily} by {hop}");
            foreach (VpnPrefix route in new VpnNlriReader(update.VpnNlri, update.VpnFamily)) said.Add($"{route}");
            var labels = new VpnNlriReader(update.VpnNlri, update.VpnFamily);
            while (labels.MoveNext()) said.Add($"label {labels.Label}");
            Assert.True(GreTunnelRoute.TryFind(update.Attributes!.Find(AttributeCode.TunnelEncapsulation), out GreTunnelRoute tunnel));
            said.Add($"key {tunnel.Key} to {tunnel.Endpoint}");
        }

        if (update.VpnEndOfRib != 0)
        {
            said.Add($"end {(int)update.VpnEndOfRib}");
        }
        else if (update.VpnWithdrawnFamily != 0)
        {
            said.Add($"unreach {(int)update.VpnWithdrawnFamily}");
            foreach (VpnPrefix route in new VpnNlriReader(update.VpnWithdrawn, update.VpnWithdrawnFamily)) said.Add($"{route}");
        }

        return string.Join(' ', said);
    }

    private static List<string> Tshark(string from)
    {
        var start = new ProcessStartInfo(TsharkTheoryAttribute.Path!)
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (string word in (string[])["-r", File, "-n", "-Y", $"bgp && ip.src == {from}", "-T", "pdml"]) start.ArgumentList.Add(word);
        using Process tshark = Process.Start(start)!;
        Task<string> errors = tshark.StandardError.ReadToEndAsync();
        XDocument document = XDocument.Load(tshark.StandardOutput);
        tshark.WaitForExit();
        Assert.True(tshark.ExitCode == 0, errors.Result);
        return [.. document.Descendants("proto").Where(p => Name(p) == "bgp" && First(p, "bgp.type") == "2").Select(Read)];
    }

    private static string Read(XElement message)
    {
        const string reach = "bgp.update.path_attribute.mp_reach_nlri", unreach = "bgp.update.path_attribute.mp_unreach_nlri";
        var said = new List<string>();
        foreach (XElement attribute in message.Descendants("field").Where(f => Name(f) == "bgp.update.path_attribute"))
        {
            if (First(attribute, reach + ".safi") == "128")
            {
                said.Insert(0, $"reach {First(attribute, reach + ".afi")} by "
                    + $"{HopPattern().Match(First(attribute, reach + ".next_hop", "showname")).Groups[1].Value}");
                said.InsertRange(1, [.. Routes(attribute),
                    .. attribute.Descendants().Where(f => Name(f) == "bgp.label_stack")
                    .Select(f => $"label {LabelPattern().Match(f.Attribute("showname")!.Value).Groups[1].Value}")]);
            }
            else if (First(attribute, unreach + ".safi") == "128")
            {
                string[] routes = [.. Routes(attribute)];
                said.Add(routes.Length == 0 ? $"end {First(attribute, unreach + ".afi")}"
                    : $"unreach {First(attribute, unreach + ".afi")}");
                said.AddRange(routes);
            }
            else if (First(attribute, "bgp.update.path_attribute.type_code") == "23")
            {
                // The endpoint is shown as bytes: reserved, family, address.
                string endpoint = attribute.Descendants().Select(f => f.Attribute("value")?.Value ?? "")
                    .First(v => v.StartsWith("060a000000000001", StringComparison.Ordinal))[16..];
                said.Add($"key {First(attribute, "bgp.update.encaps_tunnel_tlv_subtlv_gre_key")} to "
                    + $"{string.Join('.', Convert.FromHexString(endpoint))}");
            }
        }

        return string.Join(' ', said);
    }

    // IPv4 routes are trees of fields, IPv6 ones a line of text.
    private static IEnumerable<string> Routes(XElement attribute)
    {
        foreach (XElement label in attribute.Descendants().Where(f => Name(f) == "bgp.label_stack"))
        {
            Match line = RoutePattern().Match(label.Attribute("showname")!.Value);
            XElement tree = label.Parent!;
            if (line.Success)
            {
                yield return $"{line.Groups[1].Value} {line.Groups[2].Value}";
                continue;
            }

            XElement prefix = tree.Elements().First(f => Name(f).EndsWith("_prefix", StringComparison.Ordinal));
            int length = int.Parse(First(tree, "bgp.prefix_length"), System.Globalization.CultureInfo.InvariantCulture) - 88;
            yield return $"{First(tree, "bgp.rd")} {prefix.Attribute("show")!.Value}/{length}";
        }
    }

    private static string First(XElement tree, string name, string what = "show")
        => tree.Descendants().FirstOrDefault(f => Name(f) == name)?.Attribute(what)?.Value ?? "";

    private static string Name(XElement field) => field.Attribute("name")!.Value;

    [GeneratedRegex("RD=([^,]+), IPv6=(\\S+)")]
    private static partial Regex RoutePattern();

    [GeneratedRegex("IPv[46]=(\\S+)")]
    private static partial Regex HopPattern();

    [GeneratedRegex("Label Stack[:=] ?(\\d+)")]
    private static partial Regex LabelPattern();
}
