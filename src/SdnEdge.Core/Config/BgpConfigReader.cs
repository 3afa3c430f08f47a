using System.Text;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Config;

/// <summary>Reads the <c>bgp:</c> part of a PE's configuration; docs/bgp.md lists its keys.</summary>
internal static class BgpConfigReader
{
    private const int MaxLimit = 100_000_000;

    private static readonly OrderedDictionary<string, AdvertiseSources> AdvertiseWords = new()
    {
        ["connected"] = AdvertiseSources.Connected,
        ["static"] = AdvertiseSources.Static,
        ["loopbacks"] = AdvertiseSources.Loopbacks,
    };

    public static BgpConfig Read(MapReader node, NodeConfig soFar, Dictionary<object, MapReader> places)
    {
        if (node.Map("bgp") is not { } bgp) return new BgpConfig();
        Dictionary<string, RoutePolicy> policies = BgpPolicyReader.Read(bgp);
        var peers = new List<BgpPeerConfig>();
        foreach (MapReader item in bgp.Maps("peers"))
        {
            BgpPeerConfig peer = BgpPeerPlace.Read(item, ReadPeer(item, soFar.As, policies), soFar);
            peer = peer with { Bfd = BfdConfigReader.ReadOfPeer(item, peer, soFar, places) };
            item.Finish();
            peers.Add(peer);
            places[peer] = item;
        }

        AdvertiseSources sources = AdvertiseSources.None;
        foreach ((YamlText item, string path) in bgp.Texts("advertise"))
        {
            if (AdvertiseWords.TryGetValue(item.Text, out AdvertiseSources source)) sources |= source;
            else bgp.Errors.Add(item, path, $"'{item.Text}' is not known; write {string.Join(", ", AdvertiseWords.Keys)}"
                + MapReader.DidYouMean(item.Text, AdvertiseWords.Keys));
        }

        var config = new BgpConfig
        {
            Peers = peers,
            Advertise = sources,
            LocalPref = (uint)bgp.Number("localPref", 0, uint.MaxValue, 100),
            Port = (int)bgp.Number("port", 1, 65535, BgpConfig.DefaultPort),
            ClusterId = ReadClusterId(bgp),
            ResolveByDefault = bgp.Flag("resolveByDefault", false),
            GracefulRestart = ReadRestart(bgp),
            MoveDamping = ReadDamping(bgp),
        };
        bgp.Finish();
        return config;
    }

    private static uint ReadClusterId(MapReader bgp)
    {
        if (!bgp.Has("clusterId")) return 0;
        IpAddress id = bgp.Address("clusterId", required: false, "10.255.0.1");
        if (id.IsV4 && id.V4 != 0) return id.V4;
        if (!id.IsNone) bgp.Error("clusterId", $"'{id}' cannot be a cluster id; write a non-zero IPv4 address such as 10.255.0.1");
        return 0;
    }

    private static GracefulRestartConfig ReadRestart(MapReader bgp)
    {
        if (bgp.Map("gracefulRestart") is not { } map) return new GracefulRestartConfig();
        var config = new GracefulRestartConfig(
            map.Choice("mode", RestartMode.Helper, ("off", RestartMode.Off), ("helper", RestartMode.Helper), ("full", RestartMode.Full)),
            (int)map.Number("restartTime", 1, GracefulRestart.MaxTime, 120), (int)map.Number("staleTime", 1, 86_400, 360),
                (int)map.Number("deferral", 1, 3600, 60));
        map.Finish();
        return config;
    }

    private static MoveDampingSettings ReadDamping(MapReader bgp)
    {
        var settings = new MoveDampingSettings();
        if (bgp.Map("moveDamping") is not { } map) return settings;
        settings = new MoveDampingSettings((int)map.Number("moves", 0, 1000, settings.Moves),
            (int)map.Number("within", 1, 86_400, settings.WithinSeconds),
            (int)map.Number("recovery", 1, 86_400, settings.RecoverySeconds));
        map.Finish();
        return settings;
    }

    private static BgpPeerConfig ReadPeer(MapReader item, uint ownAs, Dictionary<string, RoutePolicy> policies)
    {
        uint peerAs = (item.Has("as") ? item.Text("as") : null) switch
        {
            "external" => 0,
            "internal" => ownAs,
            _ => (uint)item.Number("as", 1, uint.MaxValue, 0, required: true),
        };
        long holdTime = item.Number("holdTime", 0, 65535, 90);
        if (holdTime is 1 or 2) item.Error("holdTime", $"{holdTime} s is not allowed (RFC 4271 4.2); write 0 for never, or 3 and more");
        var peer = new BgpPeerConfig(default, peerAs, (int)holdTime, item.Flag("passive", false),
            (int)item.Number("port", 1, 65535, BgpConfig.DefaultPort),
            ReadPolicy(item, "import", policies, out RoutePolicy? import), ReadPolicy(item, "export", policies, out RoutePolicy? export))
        {
            ImportPolicy = import,
            ExportPolicy = export,
            AddPath = item.Flag("addPath", false),
            Vpn = item.Flag("vpn", false),
            NextHopSelf = item.Flag("nextHopSelf", false),
            ExtendedMessages = item.Flag("extendedMessages", true),
            ReflectorClient = item.Flag("routeReflectorClient", false),
            Role = item.Choice("role", BgpRole.None, ("provider", BgpRole.Provider), ("route-server", BgpRole.RouteServer),
                ("route-server-client", BgpRole.RouteServerClient), ("customer", BgpRole.Customer), ("peer", BgpRole.Peer)),
            StrictRole = item.Flag("strictRole", false),
            AsOverride = item.Flag("asOverride", false),
            AllowAsIn = (int)item.Number("allowAsIn", 0, 10, 0),
            RemovePrivateAs = item.Flag("removePrivateAs", false),
            SiteOfOrigin = ReadSite(item),
            Password = ReadPassword(item, "password"),
            Ao = ReadAo(item),
            TtlSecurity = (int?)item.OptionalNumber("ttlSecurity", 1, 254),
            Multihop = (int?)item.OptionalNumber("multihop", 2, 255),
            Shutdown = ReadShutdown(item),
        };
        foreach ((string key, bool set) in (ReadOnlySpan<(string, bool)>)[("asOverride", peer.AsOverride),
            ("removePrivateAs", peer.RemovePrivateAs), ("siteOfOrigin", peer.SiteOfOrigin is not null)])
        {
            if (set && peerAs == ownAs) item.Error(key, "is for eBGP, and the peer is of our AS; take it out");
        }

        if (peer.Ao is not null && peer.Password is not null) item.Error("tcpAo",
            "cannot stand beside password, which is for TCP-MD5; keep one of them");
        if (peer.TtlSecurity is not null && peer.Multihop is not null)
            item.Error("multihop", "cannot stand beside ttlSecurity, which sends with TTL 255; keep ttlSecurity and write the number of "
                + "hops there");
        if (peer.Multihop is not null && peerAs == ownAs) item.Error("multihop",
            "is for eBGP; an iBGP peer may be any number of hops away, so take it out");
        if (peer.NextHopSelf && peerAs == ownAs) item.Error("nextHopSelf",
            "is for eBGP; over iBGP the next hop is this PE in any case, so take it out");
        if (peer.ReflectorClient && peerAs != ownAs) item.Error("routeReflectorClient",
            $"is for iBGP, and AS {peerAs} is not ours; take it out");
        if (peer.Vpn && peerAs != ownAs) item.Error("vpn",
            $"is for iBGP, and AS {peerAs} is not ours: tunnels are not told across networks (RFC 9012 11); take it out");
        if (peer.Role != BgpRole.None && peerAs == ownAs) item.Error("role",
            "is for eBGP (RFC 9234), and the peer is of our AS; take it out");
        if (peer.StrictRole && peer.Role == BgpRole.None && !item.Has("role")) item.Error("strictRole",
            "insists on a role and none is written; add role: provider, customer, peer, route-server or route-server-client");
        return ReadLimits(item, peer);
    }

    private static bool? ReadPolicy(MapReader item, string key, Dictionary<string, RoutePolicy> policies, out RoutePolicy? policy)
    {
        policy = null;
        switch (item.Text(key, example: "all"))
        {
            case null: return null;
            case "all": return true;
            case "none": return false;
            case { } name when policies.TryGetValue(name, out policy):
                if (key == "import" && policy.AsksForOwn) item.Error(key, $"policy '{name}' asks for our own routes (own or leaving), and "
                    + "a peer tells none of these; write a policy of its own for import");
                return null;
            case { } name:
                string[] known = ["all", "none", .. policies.Keys];
                item.Error(key, $"'{name}' is no policy; write one of {string.Join(", ", known)}{MapReader.DidYouMean(name, known)}");
                return null;
        }
    }

    private static BgpCommunity? ReadSite(MapReader item)
    {
        if (item.Text("siteOfOrigin", example: "\"65000:7\"") is not { } text) return null;
        if (BgpCommunity.TryParse($"soo:{text}", out BgpCommunity site)) return site;
        item.Error("siteOfOrigin", $"'{text}' is no site of origin; write it as \"65000:7\" or \"10.255.0.1:7\"");
        return null;
    }

    private static BgpAoKey? ReadAo(MapReader item)
    {
        if (item.Map("tcpAo") is not { } map) return null;
        byte send = (byte)map.Number("id", 0, 255, 0, required: true);
        var receive = (byte)map.Number("receiveId", 0, 255, send);
        BgpAoAlgorithm algorithm = map.Choice("algorithm", BgpAoAlgorithm.HmacSha1,
            ("hmac-sha-1-96", BgpAoAlgorithm.HmacSha1), ("aes-128-cmac-96", BgpAoAlgorithm.AesCmac));
        BgpPassword? secret = ReadPassword(map, "secret");
        if (!map.Has("secret")) map.Errors.Add(map.Node, map.At("secret"), "is missing; write secret: \"a shared secret\"");
        map.Finish();
        return secret is null ? null : new BgpAoKey(send, receive, algorithm, secret);
    }

    private static BgpPassword? ReadPassword(MapReader item, string key)
    {
        if (!item.Has(key)) return null;
        string? text = item.Text(key, example: "\"a shared secret\"");
        int length = text is null ? 0 : Encoding.UTF8.GetByteCount(text);
        if (length is > 0 and <= BgpPassword.MaxBytes) return new BgpPassword(text!);

        // Never the text itself: errors are printed and logged.
        if (text is not null) item.Error(key, $"has {length} octets; write 1 to {BgpPassword.MaxBytes}, the same as at the peer");
        return null;
    }

    private static string? ReadShutdown(MapReader item)
    {
        if (!item.Has("shutdown")) return null;
        string? text = item.Text("shutdown", example: "\"maintenance until 6:00\"");
        if (text is "false" or "no" or "off") return null;
        if (text is "true" or "yes" or "on") return "";
        int length = text is null ? 0 : Encoding.UTF8.GetByteCount(text);
        if (length > ShutdownText.MaxBytes) item.Error("shutdown",
            $"the text has {length} octets; RFC 9003 carries {ShutdownText.MaxBytes}");
        return text;
    }

    private static BgpPeerConfig ReadLimits(MapReader item, BgpPeerConfig peer)
    {
        if (item.Map("maxPrefixes") is not { } map) return peer;
        int warn = (int)map.Number("warning", 1, 100, 75), restart = (int)map.Number("restart", 0, 86_400, 0);
        int? v4 = (int?)map.OptionalNumber("ipv4", 1, MaxLimit), v6 = (int?)map.OptionalNumber("ipv6", 1, MaxLimit);
        if (v4 is null && v6 is null && !map.Has("ipv4") && !map.Has("ipv6")) map.Errors.Add(map.Node, map.Path,
            "limits no family; write ipv4: NUMBER, ipv6: NUMBER or both");
        map.Finish();
        return peer with
        {
            LimitV4 = v4 is { } most4 ? new BgpPrefixLimit(most4, warn, restart) : null,
            LimitV6 = v6 is { } most6 ? new BgpPrefixLimit(most6, warn, restart) : null,
        };
    }
}
