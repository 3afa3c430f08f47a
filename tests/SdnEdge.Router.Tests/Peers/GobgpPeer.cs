using System.Text.Json;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Tests.Bgp;

namespace SdnEdge.Router.Tests.Peers;

/// <summary>GoBGP, asked through its gRPC client on the namespace's own loopback.</summary>
internal sealed class GobgpPeer(PeerRig rig, PeerOptions options) : PeerDaemon(rig, options)
{
    public override void Start()
    {
        Write("gobgpd.toml", Configuration());
        StartGobgpd();
        AnnounceOwn();
    }

    /// <summary>Starts the daemon, without routes of its own.</summary>
    /// <param name="restarting">It tells its neighbours that it has restarted (RFC 4724, -r).</param>
    private void StartGobgpd(bool restarting = false)
    {
        Main = Rig.StartDaemon([
            "gobgpd", "-f", At("gobgpd.toml"), "-t", "toml", "--api-hosts", "127.0.0.1:50051", "-p", "--pprof-disable",
            .. (string[])(restarting ? ["-r"] : [])]);
        PeerRig.Await(() => Gobgp("neighbor"), t => t.Contains("10.255.0.1", StringComparison.Ordinal), "GoBGP is up");
    }

    private void AnnounceOwn()
    {
        string[] attributes = ["med", "50", "community", "65000:100,65000:200", "large-community", "65000:1:2", "rt", "65000:7"];
        Order(["global", "rib", "add", "-a", "ipv4", Own4.ToString(), "nexthop", "10.255.0.3", "origin", "igp", .. attributes]);
        Order(["global", "rib", "add", "-a", "ipv6", Own6.ToString(), "nexthop", "fd00:ff::3", "origin", "igp", .. attributes]);
    }

    public override IReadOnlyList<PeerPath> Paths(IpPrefix prefix)
    {
        var paths = new List<PeerPath>();
        if (Json(Gobgp("-j", "global", "rib", "-a", Nets(prefix), prefix.ToString())) is not { ValueKind: JsonValueKind.Object } root
            || !root.TryGetProperty(prefix.ToString(), out JsonElement all)) return paths;
        foreach (JsonElement path in all.EnumerateArray())
        {
            uint? localPref = null;
            string asPath = string.Empty, nextHop = string.Empty;
            foreach (JsonElement attribute in path.GetProperty("attrs").EnumerateArray())
            {
                switch (attribute.GetProperty("type").GetInt32())
                {
                    case AttributeCode.AsPath:
                        asPath = string.Join(' ', attribute.GetProperty("as_paths").EnumerateArray()
                            .SelectMany(s => s.GetProperty("asns").EnumerateArray()).Select(a => a.GetUInt32()));
                        break;
                    case AttributeCode.LocalPref:
                        localPref = attribute.GetProperty("value").GetUInt32();
                        break;
                    case AttributeCode.NextHop or AttributeCode.MpReach:
                        nextHop = attribute.GetProperty("nexthop").GetString()!;
                        break;
                    default:
                        break;
                }
            }

            string from = path.TryGetProperty("neighbor-ip", out JsonElement neighbor) ? neighbor.GetString()! : "local";
            paths.Add(new PeerPath(
                from is "<nil>" or "" ? "local" : from, localPref, path.TryGetProperty("best", out JsonElement best) && best.GetBoolean(),
                asPath, nextHop, path.TryGetProperty("stale", out JsonElement stale) && stale.GetBoolean()));
        }

        return paths;
    }

    public override void WithdrawOwn()
    {
        Order("global", "rib", "del", "-a", "ipv4", Own4.ToString());
        Order("global", "rib", "del", "-a", "ipv6", Own6.ToString());
    }

    public override void AskRefresh(int i) => Order("neighbor", $"10.255.0.{i}", "softresetin", "-a", "ipv4");

    public override void Cease(int i) => Order("neighbor", $"10.255.0.{i}", "shutdown", "--reason", "maintenance");

    public override void StartAgain()
    {
        StartGobgpd(restarting: true);
        AnnounceOwn();
    }

    public override void Reset(int i) => Order("neighbor", $"10.255.0.{i}", "enable");

    /// <summary>Asks by its client; it may not be there yet.</summary>
    public string Gobgp(params string[] command) => InPeer(["gobgp", .. command]);

    private void Order(params string[] command) => PeerRig.Run("ip", ["netns", "exec", Rig.Theirs, "gobgp", .. command]);

    private string Configuration()
    {
        string Neighbor(int i)
        {
            bool external = i == 5;
            string family(string name) => $"""
                  [[neighbors.afi-safis]]
                    [neighbors.afi-safis.config]
                      afi-safi-name = "{name}"
                {(Options.GracefulRestart ? "    [neighbors.afi-safis.mp-graceful-restart.config]\n      enabled = true" : string.Empty)}
                {(i == 4 && Options.MaxPrefix is { } limit ? $"    [neighbors.afi-safis.prefix-limit.config]\n      max-prefixes = {limit}" : string.Empty)}
                """;
            return $"""
                [[neighbors]]
                  [neighbors.config]
                    peer-as = {(external ? OtherAs : 65000)}
                    neighbor-address = "10.255.0.{i}"
                {(i == 1 && Options.Md5 is { } secret ? $"    auth-password = \"{secret}\"" : string.Empty)}
                  [neighbors.transport.config]
                    local-address = "10.255.0.3"
                  [neighbors.timers.config]
                    hold-time = 30
                    connect-retry = 1
                    idle-hold-time-after-reset = 1
                {(external ? "  [neighbors.ebgp-multihop.config]\n    enabled = true\n    multihop-ttl = 8" : string.Empty)}
                {(i == 2 && Options.Gtsm ? "  [neighbors.ttl-security.config]\n    enabled = true\n    ttl-min = 255" : string.Empty)}
                {(!external && Options.Reflect ? "  [neighbors.route-reflector.config]\n    route-reflector-client = true\n    route-reflector-cluster-id = \"10.255.0.3\"" : string.Empty)}
                {(Options.GracefulRestart ? "  [neighbors.graceful-restart.config]\n    enabled = true\n    restart-time = 20\n    deferral-time = 3" : string.Empty)}
                {family("ipv4-unicast")}
                {family("ipv6-unicast")}
                """;
        }

        return $"""
            [global.config]
              as = 65000
              router-id = "10.255.0.3"
              local-address-list = ["10.255.0.3"]
            {string.Join('\n', Internal.Append(5).Select(Neighbor))}
            """;
    }
}
