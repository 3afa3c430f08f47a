using System.Diagnostics;
using SdnEdge.Bfd;
using SdnEdge.Core.Bfd;
using SdnEdge.Router.Tests.Bgp;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Bfd;

/// <summary>Real sessions with Debian's BIRD, in namespaces of their own.</summary>
public sealed class BirdBfdTests
{
    private const string Configuration = """
        router id 10.255.0.3;
        protocol device { scan time 1; }
        protocol bfd watch {
          interface "veth0" { interval INTERVAL ms; multiplier MULTIPLIER; };
          multihop { interval INTERVAL ms; multiplier MULTIPLIER; };
          neighbor 172.16.0.1 dev "veth0" local 172.16.0.3;
          neighbor fd00:16::1 dev "veth0" local fd00:16::3;
          neighbor 10.255.0.1 local 10.255.0.3 multihop;
          neighbor fd00:ff::1 local fd00:ff::3 multihop;
        }
        """;

    [RootFact]
    public void BIRD_and_we_come_up_over_one_hop_and_many_in_both_families_and_see_each_other_go()
    {
        using var rig = new BfdRig();
        BfdWatch[] watches =
            [.. new[] { BfdRig.Single4, BfdRig.Single6, BfdRig.Multi4,
                BfdRig.Multi6 }.Select(k => rig.Ours.Add(k, BfdParameters.Every(BfdRig.IntervalMs, BfdRig.Multiplier)))];
        Process bird = Start(rig);
        foreach (BfdWatch watch in watches) BfdRig.AwaitAgreed(rig.Ours, watch);
        PeerRig.Await(() => Show(rig), t => t.Split('\n').Count(l => l.Contains(" Up ", StringComparison.Ordinal)) == 4,
            "BIRD sees four sessions up");
        foreach (BfdWatch watch in watches) Assert.Equal(1, watch.Session.Ups);
        BfdRig.StopAndSeeThemDown(bird, rig.Ours, watches);

        // We go, with a word, and come back.
        rig.Ours.SetAdminDown(BfdRig.Single4, true);
        PeerRig.Await(() => Show(rig), t => Line(t, "172.16.0.1").Contains(" Down ", StringComparison.Ordinal), "BIRD sees our AdminDown");
        rig.Ours.SetAdminDown(BfdRig.Single4, false);
        BfdRig.AwaitUp(rig.Ours, watches[0]);

        // Parameters change under way, by a poll sequence, and nothing goes down for it.
        long downs = watches[2].Session.Downs;
        rig.Ours.Configure(BfdRig.Multi4, BfdParameters.Every(200, 50));
        BfdRig.Await(rig.Ours, watches[2], s => s.TransmitInterval == 200_000 && s.DetectionTime == BfdRig.Multiplier * 200_000_000L
            && !s.Polling, "the slower interval, both ways");
        PeerRig.Await(() => Show(rig), t => Line(t, "10.255.0.1").Contains("0.200", StringComparison.Ordinal)
            && Line(t, "10.255.0.1").Contains("10.000", StringComparison.Ordinal), "BIRD's interval and time-out have followed");
        Assert.Equal(downs, watches[2].Session.Downs);
    }

    [RootFact]
    public void A_link_that_goes_down_is_seen_by_both_ends_and_comes_back()
    {
        using var rig = new BfdRig();
        BfdWatch watch = rig.Ours.Add(BfdRig.Single4, BfdParameters.Every(BfdRig.IntervalMs, BfdRig.Multiplier));
        Start(rig);
        BfdRig.AwaitUp(rig.Ours, watch);
        PeerRig.Run("ip", "-n", rig.Net.Ours, "link", "set", "veth0", "down");
        BfdRig.Await(rig.Ours, watch, s => s.State != BfdState.Up, "down");
        BfdRig.Await(watch, _ => watch.SendErrors > 0, "the kernel has no way for our packets, and we count that");
        PeerRig.Run("ip", "-n", rig.Net.Ours, "link", "set", "veth0", "up");
        BfdRig.AwaitUp(rig.Ours, watch);
    }

    private static Process Start(BfdRig rig)
    {
        string configuration = Path.Combine(rig.Net.Folder, "bird.conf");
        File.WriteAllText(configuration,
            Configuration.Replace("INTERVAL", $"{BfdRig.IntervalMs}", StringComparison.Ordinal)
            .Replace("MULTIPLIER", $"{BfdRig.Multiplier}", StringComparison.Ordinal));
        return rig.Net.StartDaemon("/usr/sbin/bird", "-f", "-c", configuration, "-s", Path.Combine(rig.Net.Folder, "bird.ctl"), "-P",
            Path.Combine(rig.Net.Folder, "bird.pid"));
    }

    private static string Show(BfdRig rig)
        => PeerRig.TryRun("birdc", "-s", Path.Combine(rig.Net.Folder, "bird.ctl"), "show bfd sessions").Text;

    private static string Line(string text, string peer)
        => text.Split('\n').FirstOrDefault(l => l.StartsWith(peer + " ", StringComparison.Ordinal)) ?? "";
}
