using System.Globalization;
using System.Text.RegularExpressions;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Tests.Bgp;
using Xunit;

namespace SdnEdge.Router.Tests.Peers;

/// <summary>BIRD 2, asked through birdc.</summary>
internal sealed partial class BirdPeer(PeerRig rig, PeerOptions options) : PeerDaemon(rig, options)
{
    public override void Start()
    {
        Write("bird.conf", Configuration());
        StartBird();
    }

    /// <summary>Starts it, also again after <see cref="PeerDaemon.Kill"/>.</summary>
    /// <param name="recover">As after a crash: it claims to have kept forwarding (-R).</param>
    private void StartBird(bool recover = false)
    {
        File.Delete(At("bird.ctl"));
        Main = Rig.StartDaemon(["/usr/sbin/bird", "-f", .. (string[])(recover ? ["-R"] : []), "-c", At("bird.conf"), "-s", At("bird.ctl"),
            "-P", At("bird.pid")]);
        PeerRig.Await(() => File.Exists(At("bird.ctl")) ? Birdc("show status") : Rig.Said,
            t => t.Contains("Daemon is up", StringComparison.Ordinal), "BIRD is up");
    }

    public override IReadOnlyList<PeerPath> Paths(IpPrefix prefix)
    {
        var paths = new List<PeerPath>();
        foreach (string line in Birdc($"show route for {prefix} all").Split('\n'))
        {
            // 10.1.1.10/32  unicast [pe1 15:00:00.000 from 10.255.0.1] * (100) [i]
            Match head = Head().Match(line);
            if (head.Success)
            {
                string protocol = head.Groups["protocol"].Value;
                string from = protocol.StartsWith("pe", StringComparison.Ordinal) ? $"10.255.0.{protocol[2..]}" : "local";
                paths.Add(new PeerPath(from, null, head.Groups["best"].Success, string.Empty, string.Empty, IsKept(protocol)));
                continue;
            }

            Match attribute = Attribute().Match(line);
            if (!attribute.Success || paths.Count == 0) continue;
            string value = attribute.Groups["value"].Value.Trim();
            paths[^1] = attribute.Groups["name"].Value switch
            {
                "local_pref" => paths[^1] with { LocalPref = uint.Parse(value, CultureInfo.InvariantCulture) },
                "as_path" => paths[^1] with { AsPath = value },
                "next_hop" => paths[^1] with { NextHop = value.Split(' ')[0] },
                _ => paths[^1],
            };
        }

        return paths;
    }

    // Of routes it keeps for a restarting neighbour BIRD says so where it shows the protocol.
    private bool IsKept(string protocol) => Options.GracefulRestart && Birdc($"show protocols all {protocol}")
        .Contains("Neighbor graceful restart active", StringComparison.Ordinal);

    public override void WithdrawOwn()
    {
        Order("disable own4", "own4: disabled");
        Order("disable own6", "own6: disabled");
    }

    public override void AskRefresh(int i) => Order($"reload in pe{i}", $"pe{i}: reloading");

    public override void Cease(int i) => Order($"disable pe{i} \"maintenance\"", $"pe{i}: disabled");

    public override void StartAgain()
    {
        StartBird(recover: true);
    }

    public override void Reset(int i) => Order($"enable pe{i}", $"pe{i}: enabled");

    // birdc ends well whatever BIRD answers.
    private void Order(string command, string answer)
        => Assert.Contains(answer, PeerRig.Run("birdc", "-s", At("bird.ctl"), command), StringComparison.Ordinal);

    /// <summary>Asks; it may not be there yet.</summary>
    public string Birdc(string command) => PeerRig.TryRun("birdc", "-s", At("bird.ctl"), command).Text;

    private string Configuration()
    {
        string rr = Options.Reflect ? "rr client; " : string.Empty;
        string graceful = Options.GracefulRestart ? "graceful restart on; graceful restart time 20;" : string.Empty;
        string Guard(int i) => i switch
        {
            1 when Options.Md5 is { } secret => $"password \"{secret}\"; ",
            2 when Options.Gtsm => "ttl security on; ",
            _ => string.Empty,
        };
        string Limit(int i) => i == 4 && Options.MaxPrefix is { } most ? $"import limit {most} action disable; " : string.Empty;
        const string attributes =
            "{ bgp_med = 50; bgp_community.add((65000,100)); bgp_community.add((65000,200)); "
            + "bgp_large_community.add((65000,1,2)); bgp_ext_community.add((rt,65000,7)); }";
        string[] peers = [.. Internal.Select(i => $$"""
            protocol bgp pe{{i}} from edge {
              neighbor 10.255.0.{{i}} as 65000; {{rr}}{{Guard(i)}}
              ipv4 { {{Limit(i)}}import all; export all; next hop address 10.255.0.3; next hop keep ibgp; };
              ipv6 { {{Limit(i)}}import all; export all; next hop address fd00:ff::3; next hop keep ibgp; };
            }
            """)];
        return $$"""
            router id 10.255.0.3;
            graceful restart wait 5;
            protocol device { scan time 1; }
            protocol kernel { ipv4 { import all; export none; }; learn; scan time 1; }
            protocol kernel { ipv6 { import all; export none; }; learn; scan time 1; }
            protocol static own4 { ipv4; route {{Own4}} blackhole {{attributes}}; }
            protocol static own6 { ipv6; route {{Own6}} blackhole {{attributes}}; }
            filter edges { if source = RTS_BGP || source = RTS_STATIC then accept; reject; }
            template bgp edge {
              local 10.255.0.3 as 65000;
              multihop;
              hold time 30;
              connect delay time 1;
              connect retry time 1;
              error wait time 1, 2;
              {{graceful}}
            }
            {{string.Join('\n', peers).Replace("export all", "export filter edges", StringComparison.Ordinal)}}
            protocol bgp pe5 from edge {
              neighbor 10.255.0.5 as {{OtherAs}};
              ipv4 { import all; export filter edges; next hop address 10.255.0.3; };
              ipv6 { import all; export filter edges; next hop address fd00:ff::3; };
            }
            """;
    }

    [GeneratedRegex(@"\[(?<protocol>[a-z0-9]+) [^\]]*\](?<best> \*)? \(")]
    private static partial Regex Head();

    [GeneratedRegex(@"^\s+BGP\.(?<name>[a-z_]+):(?<value>.*)$")]
    private static partial Regex Attribute();
}
