using System.Text.RegularExpressions;
using SdnEdge.Testing;

namespace SdnEdge.Lab.Tests.LinkPeers;

/// <summary>A router of another make as CE in an <see cref="EdgeLab"/>: AS 65009, with 10.99.0.0/16 and fd00:99::/48.</summary>
internal abstract class EdgeRouter
{
    /// <summary>Name and version, as the program says it.</summary>
    public abstract string Name { get; }

    /// <summary>Kind of its node, with what belongs to that.</summary>
    public abstract string Kind { get; }

    /// <summary>What its node runs before it counts as ready; ROOT is the folder of its configuration.</summary>
    public virtual IReadOnlyList<string> Exec => [];

    /// <summary>Its configuration.</summary>
    public abstract string Configuration { get; }

    /// <summary>Features that it has not, with the footnote that says so.</summary>
    public IReadOnlyDictionary<string, string> Cannot { get; protected init; } = new Dictionary<string, string>();

    /// <summary>What is to be started beside the node's own daemons.</summary>
    public virtual Task StartAsync(EdgeLab lab) => Task.CompletedTask;

    /// <summary>Next hops of the paths to a prefix in its table.</summary>
    public abstract Task<IReadOnlyCollection<string>> NextHopsAsync(EdgeLab lab, string prefix);

    protected static string Version(string name, string program, params string[] arguments)
    {
        using var process = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo(program, arguments)
        {
            UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true,
        })!;
        string said = process.StandardOutput.ReadToEnd() + process.StandardError.ReadToEnd();
        process.WaitForExit();
        return $"{name} {Regex.Match(said, "[0-9]+\\.[0-9.]*[0-9]").Value}";
    }

    protected static IReadOnlyCollection<string> Found(string text, string pattern)
        => [.. Regex.Matches(text, pattern, RegexOptions.Multiline).Select(m => m.Groups["hop"].Value)];
}

/// <summary>FRR. It takes its file line by line, and a session that comes up before its families are there may stay without
/// them.</summary>
internal sealed class FrrEdge : EdgeRouter
{
    public override string Name { get; } = Version("FRR", "/usr/lib/frr/bgpd", "--version");

    public override string Kind => "kind: frr\n      startup-config: ce.conf";

    public override string Configuration => $"""
        router bgp 65009
         bgp router-id 10.255.0.9
         no bgp ebgp-requires-policy
         no bgp network import-check
         coalesce-time 0
         neighbor 172.16.1.1 remote-as 65000
         neighbor fd00:16:2::1 remote-as 65000
         neighbor fd00:16:2::1 shutdown
         neighbor fe80::ff:fe00:a003 remote-as 65000
         neighbor fe80::ff:fe00:a003 shutdown
         neighbor fe80::ff:fe00:a003 interface eth3
         neighbor fe80::ff:fe00:a003 capability extended-nexthop
         neighbor 172.16.4.1 remote-as 65000
         neighbor 172.16.4.1 password {EdgeLab.Secret}
         neighbor 172.16.4.1 ttl-security hops 1
         neighbor 172.16.5.1 remote-as 65000
         neighbor 172.16.5.1 bfd 60 500 500
         neighbor eth7 interface remote-as external
         address-family ipv4 unicast
          network 10.99.0.0/16
          no neighbor fd00:16:2::1 activate
         exit-address-family
         address-family ipv6 unicast
          network fd00:99::/48
          neighbor fd00:16:2::1 activate
          neighbor fe80::ff:fe00:a003 activate
         exit-address-family
         no neighbor fd00:16:2::1 shutdown
         no neighbor fe80::ff:fe00:a003 shutdown
        """;

    public override async Task StartAsync(EdgeLab lab)
    {
        string own = Path.Combine(lab.Folder, "ce.frr");
        lab.Start("ce", "/usr/lib/frr/bfdd", "-f", "/dev/null", "-z", $"{own}/zserv.api", "-i", $"{own}/bfdd.pid", "--bfdctl",
            $"{own}/bfdd.sock", "--vty_socket", own, "-u", "frr", "-g", "frr");
        await lab.UntilAsync("bfdd is up", () => Task.FromResult(File.Exists($"{own}/bfdd.vty")));

        // Whether a peer is on its link bgpd decides when the session comes up, by what zebra has told it until then, and refuses the
        // peer's next hops for as long as the session lasts where it was too early.
        foreach (string peer in (string[])["172.16.1.1", "fd00:16:2::1", "fe80::ff:fe00:a003", "172.16.4.1", "172.16.5.1",
            "eth7"])
        {
            await lab.UntilAsync($"FRR takes {peer} for a neighbour on its link", async () =>
            {
                string said = await VtyshAsync(lab, $"show bgp neighbors {peer}");
                if (!said.Contains("BGP state = Established", StringComparison.Ordinal)) return false;
                if (said.Contains("BGP connection: shared network", StringComparison.Ordinal)) return true;
                await VtyshAsync(lab, $"clear bgp {peer}");
                return false;
            });
        }
    }

    public override async Task<IReadOnlyCollection<string>> NextHopsAsync(EdgeLab lab, string prefix)
    {
        string family = prefix.Contains(':', StringComparison.Ordinal) ? "ipv6" : "ipv4";
        return Found(await VtyshAsync(lab, $"show bgp {family} unicast {prefix} json"), "\"ip\":\"(?<hop>[0-9a-f.:]+)\"");
    }

    private static Task<string> VtyshAsync(EdgeLab lab, string command)
        => lab.RunAsync("ce", "vtysh", "--vty_socket", Path.Combine(lab.Folder, "ce.frr"), "-c", command);
}

/// <summary>BIRD.</summary>
internal sealed class BirdEdge : EdgeRouter
{
    public override string Name { get; } = Version("BIRD", "/usr/sbin/bird", "--version");

    public override string Kind => "kind: bird\n      startup-config: ce.conf";

    public override string Configuration => $$"""
        log stderr all;
        router id 10.255.0.9;
        protocol device { scan time 1; }
        protocol direct { ipv4; ipv6; interface "eth*"; }
        protocol kernel { ipv4 { export where source = RTS_BGP; }; }
        protocol kernel { ipv6 { export where source = RTS_BGP; }; }
        protocol static own4 { ipv4; route 10.99.0.0/16 unreachable; }
        protocol static own6 { ipv6; route fd00:99::/48 unreachable; }
        protocol bfd { interface "eth5" { interval 500 ms; multiplier 60; }; }
        protocol radv { interface "eth7" { max ra interval 10; default lifetime 0; }; }
        filter own { if source = RTS_STATIC then accept; reject; }
        template bgp edge { local as 65009; connect delay time 1; }
        protocol bgp v4 from edge { neighbor 172.16.1.1 as 65000; ipv4 { import all; export filter own; }; }
        protocol bgp v6 from edge { neighbor fd00:16:2::1 as 65000; ipv6 { import all; export filter own; }; }
        protocol bgp ll from edge {
          neighbor fe80::ff:fe00:a003%eth3 as 65000;
          ipv4 { import all; export filter own; extended next hop on; };
          ipv6 { import all; export filter own; };
        }
        protocol bgp guarded from edge {
          neighbor 172.16.4.1 as 65000; password "{{EdgeLab.Secret}}"; ttl security on; ipv4 { import all; export filter own; };
        }
        protocol bgp bare from edge {
          neighbor range fe80::/10 external; interface "eth7";
          ipv4 { import all; export filter own; extended next hop on; };
          ipv6 { import all; export filter own; };
        }
        protocol bgp watched from edge { neighbor 172.16.5.1 as 65000; bfd on; ipv4 { import all; export filter own; }; }
        """;

    public override async Task<IReadOnlyCollection<string>> NextHopsAsync(EdgeLab lab, string prefix) => Found(
        await lab.RunAsync("ce", "birdc", "-s", Path.Combine(lab.Folder, "ce.ctl"), $"show route {prefix} all"),
        @"^\s+via (?<hop>[0-9a-f.:]+) on ");
}

/// <summary>GoBGP.</summary>
internal sealed class GobgpEdge : EdgeRouter
{
    public GobgpEdge() => Cannot = new Dictionary<string, string> { ["BFD"] = "l1", ["forwards"] = "l2", ["by the port alone"] = "l3" };

    public override string Name { get; } = Version("GoBGP", "gobgpd", "--version");

    public override string Kind => "kind: linux";

    public override string Configuration => $"""
        [global.config]
          as = 65009
          router-id = "10.255.0.9"
        {Neighbor("172.16.1.1", "ipv4-unicast")}
        {Neighbor("fd00:16:2::1", "ipv6-unicast")}
        {Neighbor("fe80::ff:fe00:a003%eth3", "ipv4-unicast", "ipv6-unicast")}
        {Neighbor("172.16.4.1", "ipv4-unicast")
            .Replace("peer-as", $"auth-password = \"{EdgeLab.Secret}\"\n    peer-as", StringComparison.Ordinal)}
          [neighbors.ttl-security.config]
            enabled = true
            ttl-min = 255
        {Neighbor("172.16.5.1", "ipv4-unicast")}
        """;

    public override IReadOnlyList<string> Exec =>
        ["gobgpd -f ROOT/ce.conf -t toml --api-hosts 127.0.0.1:50051 -p --pprof-disable >ROOT/gobgpd.log 2>&1 &"];

    public override async Task StartAsync(EdgeLab lab)
    {
        await Patience.ReadAsync(() => lab.RunAsync("ce", "sh", "-c", "gobgp neighbor 2>&1 || true"),
            t => t.Contains("172.16.5.1", StringComparison.Ordinal), "GoBGP is up", Patience.Long);
        await lab.RunAsync("ce", "gobgp", "global", "rib", "add", "-a", "ipv4", "10.99.0.0/16");
        await lab.RunAsync("ce", "gobgp", "global", "rib", "add", "-a", "ipv6", "fd00:99::/48");
    }

    public override async Task<IReadOnlyCollection<string>> NextHopsAsync(EdgeLab lab, string prefix) => Found(
        await lab.RunAsync("ce", "sh", "-c",
            $"gobgp -j global rib -a {(prefix.Contains(':', StringComparison.Ordinal) ? "ipv6" : "ipv4")} {prefix} || true"),
        "\"nexthop\":\"(?<hop>[0-9a-f.:]+)");

    private static string Neighbor(string address, params string[] families) => $"""
        [[neighbors]]
          [neighbors.config]
            neighbor-address = "{address}"
            peer-as = 65000
          [neighbors.timers.config]
            connect-retry = 1
        {string.Join('\n', families.Select(f => "  [[neighbors.afi-safis]]\n    [neighbors.afi-safis.config]\n"
            + $"      afi-safi-name = \"{f}\""))}
        """;
}
