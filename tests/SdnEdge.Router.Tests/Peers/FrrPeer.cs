using System.Text.Json;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Tests.Bgp;

namespace SdnEdge.Router.Tests.Peers;

/// <summary>FRR: zebra and bgpd, asked through vtysh.</summary>
internal sealed class FrrPeer(PeerRig rig, PeerOptions options) : PeerDaemon(rig, options)
{
    public override void Start()
    {
        Write("zebra.conf", string.Empty);
        Write("vtysh.conf", string.Empty);
        Write("bgpd.conf", Configuration());
        PeerRig.Run("chown", "-R", "frr:frr", Rig.Folder);
        string[] common = ["--vty_socket", Rig.Folder, "-z", At("zserv.api"), "-u", "frr", "-g", "frr"];
        Rig.StartDaemon(["/usr/lib/frr/zebra", "-f", At("zebra.conf"), "-i", At("zebra.pid"), .. common]);
        PeerRig.Await(() => File.Exists(At("zserv.api")) ? "up" : Rig.Said, t => t == "up", "zebra is up");
        StartBgpd();
    }

    // bgpd alone: zebra and the kernel's routes stay as they are.
    private void StartBgpd()
    {
        File.Delete(At("bgpd.vty"));
        Main = Rig.StartDaemon(
            "/usr/lib/frr/bgpd", "-f", At("bgpd.conf"), "-i", At("bgpd.pid"), "-l", "10.255.0.3",
            "--vty_socket", Rig.Folder, "-z", At("zserv.api"), "-u", "frr", "-g", "frr");
        PeerRig.Await(() => File.Exists(At("bgpd.vty")) ? "up" : Rig.Said, t => t == "up", "bgpd is up");
    }

    public override IReadOnlyList<PeerPath> Paths(IpPrefix prefix)
    {
        var paths = new List<PeerPath>();
        if (Json(Vtysh($"show bgp {Nets(prefix)} unicast {prefix} json")) is not { } root
            || !root.TryGetProperty("paths", out JsonElement all)) return paths;
        foreach (JsonElement path in all.EnumerateArray())
        {
            string from = path.GetProperty("peer").GetProperty("peerId").GetString()!;
            bool best = path.TryGetProperty("bestpath", out JsonElement b) && b.TryGetProperty("overall", out JsonElement overall)
                && overall.GetBoolean();
            paths.Add(new PeerPath(
                from == "0.0.0.0" ? "local" : from,
                path.TryGetProperty("locPrf", out JsonElement preference) ? preference.GetUInt32() : null,
                best,
                path.GetProperty("aspath").GetProperty("string").GetString() is { } text && text != "Local" ? text : string.Empty,
                path.GetProperty("nexthops")[0].GetProperty("ip").GetString()!,
                path.TryGetProperty("stale", out JsonElement stale) && stale.GetBoolean()));
        }

        return paths;
    }

    public override void WithdrawOwn() => Order(
        "configure terminal", "router bgp 65000", "address-family ipv4 unicast", $"no network {Own4}", "exit",
        "address-family ipv6 unicast", $"no network {Own6}");

    public override void AskRefresh(int i) => Order($"clear bgp ipv4 unicast 10.255.0.{i} soft in");

    public override void Cease(int i)
        => Order("configure terminal", "router bgp 65000", $"neighbor 10.255.0.{i} shutdown message maintenance");

    public override void StartAgain()
    {
        StartBgpd();
    }

    public override void Reset(int i) => Order($"clear bgp 10.255.0.{i}");

    /// <summary>Asks; it may not be there yet.</summary>
    public string Vtysh(params string[] commands) => PeerRig.TryRun("vtysh", Words(commands)).Text;

    /// <summary>Runs commands one after the other in one vtysh.</summary>
    private void Order(params string[] commands) => PeerRig.Run("vtysh", Words(commands));

    private string[] Words(string[] commands) =>
        ["--vty_socket", Rig.Folder, "--config_dir", Rig.Folder, "-d", "bgpd", .. commands.SelectMany(c => (string[])["-c", c])];

    private string Configuration()
    {
        string first = string.Join('\n', (string?[])[
            Options.Md5 is { } secret ? $" neighbor 10.255.0.1 password {secret}" : null,
            Options.Gtsm ? " neighbor 10.255.0.2 ttl-security hops 1" : null,
            Options.GracefulRestart
                ? " bgp graceful-restart\n bgp graceful-restart preserve-fw-state\n bgp graceful-restart restart-time 20" : null]);
        string both = string.Join('\n', (string?[])[
            Options.Reflect ? "  neighbor pe route-reflector-client" : null,
            Options.MaxPrefix is { } limit ? $"  neighbor 10.255.0.4 maximum-prefix {limit}" : null]);
        return $"""
            frr defaults datacenter
            route-map own permit 10
             set community 65000:100 65000:200
             set large-community 65000:1:2
             set extcommunity rt 65000:7
             set metric 50
            router bgp 65000
             bgp router-id 10.255.0.3
             no bgp ebgp-requires-policy
             no bgp network import-check
             coalesce-time 0
             neighbor pe peer-group
             neighbor pe remote-as 65000
             neighbor pe update-source 10.255.0.3
             neighbor pe timers 3 30
             neighbor pe timers connect 1
             {string.Join("\n ", Internal.Select(i => $"neighbor 10.255.0.{i} peer-group pe"))}
             neighbor 10.255.0.5 remote-as {OtherAs}
             neighbor 10.255.0.5 update-source 10.255.0.3
             neighbor 10.255.0.5 ebgp-multihop 4
             neighbor 10.255.0.5 timers 3 30
             neighbor 10.255.0.5 timers connect 1
            {first}
             address-family ipv4 unicast
            {both}
              network {Own4} route-map own
             exit-address-family
             address-family ipv6 unicast
              neighbor pe activate
              neighbor 10.255.0.5 activate
            {both}
              network {Own6} route-map own
             exit-address-family
            """;
    }
}
