using System.Diagnostics;
using SdnEdge.Bfd;
using SdnEdge.Core.Bfd;
using SdnEdge.Router.Tests.Bgp;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Bfd;

/// <summary>Real sessions with Debian's FRR (bfdd), in namespaces of their own.</summary>
public sealed class FrrBfdTests
{
    private const string Configuration = """
        bfd
         profile p
          detect-multiplier MULTIPLIER
          transmit-interval INTERVAL
          receive-interval INTERVAL
         !
         peer 172.16.0.1 local-address 172.16.0.3 interface veth0
          profile p
         !
         peer fd00:16::1 local-address fd00:16::3 interface veth0
          profile p
         !
         peer 10.255.0.1 multihop local-address 10.255.0.3
          profile p
         !
         peer fd00:ff::1 multihop local-address fd00:ff::3
          profile p
         !
        """;

    [RootFact]
    public void FRR_and_we_come_up_over_one_hop_and_many_in_both_families_and_see_each_other_go()
    {
        using var rig = new BfdRig();
        BfdWatch[] watches =
            [.. new[] { BfdRig.Single4, BfdRig.Single6, BfdRig.Multi4,
                BfdRig.Multi6 }.Select(k => rig.Ours.Add(k, BfdParameters.Every(BfdRig.IntervalMs, BfdRig.Multiplier)))];
        Process bfdd = Start(rig);
        foreach (BfdWatch watch in watches) BfdRig.AwaitAgreed(rig.Ours, watch);
        PeerRig.Await(() => Show(rig), t => Count(t, "\"status\":\"up\"") == 4, "FRR sees four sessions up");
        BfdRig.StopAndSeeThemDown(bfdd, rig.Ours, watches);

        rig.Ours.SetAdminDown(BfdRig.Multi6, true);
        PeerRig.Await(() => Show(rig), t => Count(t, "\"status\":\"up\"") == 3, "FRR sees our AdminDown");
        rig.Ours.SetAdminDown(BfdRig.Multi6, false);
        BfdRig.AwaitUp(rig.Ours, watches[3]);

        // And FRR's, which it says once and then is silent: it is not the path that failed, then or later.
        (long downsBefore, long byOperators) = (watches[0].Session.Downs, watches[0].Session.AdministrativeDowns);
        Order(rig, "configure", "bfd", "peer 172.16.0.1 local-address 172.16.0.3 interface veth0", "shutdown");
        BfdRig.Await(rig.Ours, watches[0], s => s.State == BfdState.Down && s.RemoteState == BfdState.AdminDown, "FRR's AdminDown");
        Assert.Equal((downsBefore + 1, byOperators + 1), (watches[0].Session.Downs, watches[0].Session.AdministrativeDowns));
        Order(rig, "configure", "bfd", "peer 172.16.0.1 local-address 172.16.0.3 interface veth0", "no shutdown");
        BfdRig.AwaitUp(rig.Ours, watches[0]);

        long downs = watches[2].Session.Downs;
        rig.Ours.Configure(BfdRig.Multi4, BfdParameters.Every(200, 50));
        BfdRig.Await(rig.Ours, watches[2], s => s.TransmitInterval == 200_000 && s.DetectionTime == BfdRig.Multiplier * 200_000_000L
            && !s.Polling, "the slower interval, both ways");
        PeerRig.Await(() => Show(rig), t => Count(t, "\"remote-transmit-interval\":200") == 1
            && Count(t, "\"remote-detect-multiplier\":50") == 1, "FRR knows our new parameters");
        Assert.Equal(downs, watches[2].Session.Downs);
        rig.Ours.Remove(BfdRig.Multi4);
        PeerRig.Await(() => Show(rig), t => Count(t, "\"status\":\"up\"") == 3, "a session that was removed is gone at FRR too");
    }

    private static Process Start(BfdRig rig)
    {
        string folder = rig.Net.Folder;
        File.WriteAllText(Path.Combine(folder, "bfdd.conf"),
            Configuration.Replace("INTERVAL", $"{BfdRig.IntervalMs}", StringComparison.Ordinal)
            .Replace("MULTIPLIER", $"{BfdRig.Multiplier}", StringComparison.Ordinal));
        File.WriteAllText(Path.Combine(folder, "zebra.conf"), string.Empty);
        File.WriteAllText(Path.Combine(folder, "vtysh.conf"), string.Empty);
        PeerRig.Run("chown", "-R", "frr:frr", folder);
        string[] common = ["--vty_socket", folder, "-z", Path.Combine(folder, "zserv.api"), "-u", "frr", "-g", "frr"];
        rig.Net.StartDaemon(["/usr/lib/frr/zebra", "-f", Path.Combine(folder, "zebra.conf"), "-i",
            Path.Combine(folder, "zebra.pid"), .. common]);
        PeerRig.Await(() => string.Join(' ', Directory.GetFiles(folder)),
            t => t.Contains("zserv.api", StringComparison.Ordinal), "zebra is up");
        Process bfdd = rig.Net.StartDaemon(["/usr/lib/frr/bfdd", "-f", Path.Combine(folder, "bfdd.conf"), "-i",
            Path.Combine(folder, "bfdd.pid"), "--bfdctl", Path.Combine(folder, "bfdd.sock"), .. common]);
        PeerRig.Await(() => string.Join(' ', Directory.GetFiles(folder)),
            t => t.Contains("bfdd.vty", StringComparison.Ordinal), "bfdd is up");
        return bfdd;
    }

    private static string Show(BfdRig rig) => Vtysh(rig, "show bfd peers json").Replace(" ", "", StringComparison.Ordinal);

    /// <summary>Asks; FRR may not be there yet.</summary>
    private static string Vtysh(BfdRig rig, params string[] commands) => PeerRig.TryRun("vtysh", Words(rig, commands)).Text;

    /// <summary>Has FRR do something.</summary>
    private static void Order(BfdRig rig, params string[] commands) => PeerRig.Run("vtysh", Words(rig, commands));

    private static string[] Words(BfdRig rig, string[] commands) =>
        ["--vty_socket", rig.Net.Folder, "--config_dir", rig.Net.Folder, "-d", "bfdd", .. commands.SelectMany(c => (string[])["-c", c])];

    private static int Count(string text, string what)
        => (text.Length - text.Replace(what, "", StringComparison.Ordinal).Length) / what.Length;
}
