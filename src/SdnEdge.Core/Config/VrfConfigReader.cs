using SdnEdge.Core.Bgp;

namespace SdnEdge.Core.Config;

/// <summary>Reads <c>vrfs:</c>; the default VRF is always there.</summary>
internal static class VrfConfigReader
{
    public static List<VrfConfig> Read(MapReader node, Dictionary<object, MapReader> places)
    {
        var list = new List<VrfConfig>();
        foreach (MapReader item in node.Maps("vrfs"))
        {
            var vrf = new VrfConfig(NodeConfigLoader.ReadName(item, "name", NodeConfig.DefaultVrf),
                (uint?)item.OptionalNumber("key", 0, uint.MaxValue))
            {
                Rd = ReadRd(item),
                Import = ReadTargets(item, "import"),
                Export = ReadTargets(item, "export"),
            };
            Check(item, vrf);
            item.Finish();
            list.Add(vrf);
            places[vrf] = item;
        }

        if (!list.Any(v => v.Name == NodeConfig.DefaultVrf)) list.Insert(0, new VrfConfig(NodeConfig.DefaultVrf, null));
        return list;
    }

    private static void Check(MapReader item, VrfConfig vrf)
    {
        bool targets = item.Has("import") || item.Has("export");
        if (vrf.Name == NodeConfig.DefaultVrf && (item.Has("rd") || targets))
            item.Error(item.Has("rd") ? "rd" : item.Has("import") ? "import" : "export",
                "is for the VRFs of customers: routes of the default VRF are told as IPv4 and IPv6; take it out, or give the customer a "
                + "VRF of its own");
        else if (targets && !item.Has("rd"))
            item.Error(item.Has("import") ? "import" : "export",
                "needs a route distinguisher beside it; add rd: \"65000:7\", another one for each VRF");
        else if (item.Has("rd") && !item.Has("key"))
            item.Error("rd", "needs a key beside it, by which packets for this VRF come in GRE; add key: 7, another one for each VRF");
    }

    private static RouteDistinguisher? ReadRd(MapReader item)
    {
        if (item.Text("rd", example: "\"65000:7\"") is not { } text) return null;
        if (RouteDistinguisher.TryParse(text, out RouteDistinguisher distinguisher)) return distinguisher;
        item.Error("rd", $"'{text}' is not a route distinguisher; write an AS or an IPv4 address and a number, \"65000:7\" or "
            + $"\"10.255.0.1:7\" (after an address or an AS above 65535 at most 65535)");
        return null;
    }

    private static List<BgpCommunity> ReadTargets(MapReader item, string key)
    {
        var list = new List<BgpCommunity>();
        foreach ((YamlText text, string path) in item.Texts(key))
        {
            if (!BgpCommunity.TryParse($"rt:{text.Text}", out BgpCommunity target))
                item.Errors.Add(text, path, $"'{text.Text}' is not a route target; write an AS or an IPv4 address and a number, "
                    + $"\"65000:7\" or \"10.255.0.1:7\" (after an address or an AS above 65535 at most 65535)");
            else if (list.Contains(target)) item.Errors.Add(text, path, $"'{text.Text}' is there twice; keep one");
            else list.Add(target);
        }

        return list;
    }
}
