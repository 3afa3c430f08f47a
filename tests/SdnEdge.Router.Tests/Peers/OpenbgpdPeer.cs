using System.Text.Json;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Tests.Bgp;

namespace SdnEdge.Router.Tests.Peers;

/// <summary>
/// OpenBGPD (its portable version), asked through bgpctl. On Linux it has no FIB of its own, and takes every next hop as reachable.
/// </summary>
internal sealed class OpenbgpdPeer(PeerRig rig, PeerOptions options) : PeerDaemon(rig, options)
{
    public override void Start()
    {
        Write("bgpd.conf", Configuration());
        PeerRig.Run("chmod", "600", At("bgpd.conf"));
        StartBgpd();
    }

    /// <summary>Starts it, also again after <see cref="PeerDaemon.Kill"/>.</summary>
    private void StartBgpd()
    {
        File.Delete(At("bgpd.sock"));

        // It locks itself up in /run/openbgpd, which the package leaves to systemd to make: "ip netns exec" has given us mounts of our own.
        Main = Rig.StartDaemon("sh", "-c",
            $"mount -t tmpfs -o mode=755 none /run && mkdir /run/openbgpd && exec /usr/sbin/bgpd -d -f {At("bgpd.conf")}");
        PeerRig.Await(() => File.Exists(At("bgpd.sock")) ? Bgpctl("show") : Rig.Said,
            t => t.Contains("10.255.0.1", StringComparison.Ordinal), "OpenBGPD is up");
    }

    public override IReadOnlyList<PeerPath> Paths(IpPrefix prefix)
    {
        var paths = new List<PeerPath>();
        if (Json(Bgpctl("-j", "show", "rib", "detail", prefix.ToString())) is not { ValueKind: JsonValueKind.Object } root
            || !root.TryGetProperty("rib", out JsonElement all)) return paths;
        foreach (JsonElement path in all.EnumerateArray())
        {
            if (path.GetProperty("prefix").GetString() != prefix.ToString()) continue;
            string from = path.GetProperty("neighbor").GetProperty("remote_addr").GetString()!;
            paths.Add(new PeerPath(
                path.TryGetProperty("announced", out _) ? "local" : from,
                path.GetProperty("localpref").GetUInt32(),
                path.TryGetProperty("best", out JsonElement best) && best.GetBoolean(),
                path.GetProperty("aspath").GetString()!,
                path.GetProperty("exit_nexthop").GetString()!,
                path.TryGetProperty("stale", out JsonElement stale) && stale.GetBoolean()));
        }

        return paths;
    }

    public override void WithdrawOwn()
    {
        // Networks of the configuration are taken back by a new one.
        File.WriteAllText(At("bgpd.conf"), Configuration(own: false));
        Order("reload");
    }

    public override void AskRefresh(int i) => Order("neighbor", $"10.255.0.{i}", "refresh");

    public override void Cease(int i) => Order("neighbor", $"10.255.0.{i}", "down", "maintenance");

    public override void StartAgain()
    {
        StartBgpd();
    }

    public override void Reset(int i) => Order("neighbor", $"10.255.0.{i}", "clear");

    /// <summary>Asks; it may not be there yet.</summary>
    public string Bgpctl(params string[] command) => PeerRig.TryRun("bgpctl", ["-s", At("bgpd.sock"), .. command]).Text;

    private void Order(params string[] command) => PeerRig.Run("bgpctl", ["-s", At("bgpd.sock"), .. command]);

    private string Configuration(bool own = true)
    {
        const string set = "metric 50 community 65000:100 community 65000:200 large-community 65000:1:2 ext-community rt 65000:7";
        string Neighbor(int i) => $$"""
            neighbor 10.255.0.{{i}} {
              remote-as {{(i == 5 ? OtherAs : 65000)}}
              local-address 10.255.0.3
              announce IPv4 unicast
              announce IPv6 unicast
              {{(i == 5 ? "multihop 8" : Options.Reflect ? "route-reflector" : string.Empty)}}
              {{(i == 1 && Options.Md5 is { } secret ? $"tcp md5sig password {secret}" : string.Empty)}}
              {{(i == 2 && Options.Gtsm ? "ttl-security yes" : string.Empty)}}
              {{(i == 4 && Options.MaxPrefix is { } limit ? $"max-prefix {limit}" : string.Empty)}}
            }
            """;
        return $$"""
            AS 65000
            router-id 10.255.0.3
            holdtime 18
            connect-retry 1
            fib-update no
            listen on 10.255.0.3
            socket "{{At("bgpd.sock")}}"
            nexthop qualify via default
            {{(own ? $"network {Own4} set {{ nexthop 10.255.0.3 {set} }}\nnetwork {Own6} set {{ nexthop fd00:ff::3 {set} }}" : string.Empty)}}
            {{string.Join('\n', Internal.Append(5).Select(Neighbor))}}
            allow from any
            allow to any

            """;
    }
}
