using System.Diagnostics;
using SdnEdge.Core.Bfd;
using SdnEdge.Router.Bfd;
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
          detect-multiplier 3
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

    [RootTheory]
    [InlineData(50)]
    public void FRR_and_we_come_up_over_one_hop_and_many_in_both_families_and_see_each_other_go(int interval)
    {
        using var rig = new BfdRig();
        BfdWatch[] watches = [.. new[] { BfdRig.Single4, BfdRig.Single6, BfdRig.Multi4, BfdRig.Multi6 }.Select(k => rig.Ours.Add(k, BfdParameters.Every(interval, 3)))];
        Process bfdd = Start(rig, interval);
        foreach (BfdWatch watch in watches)
        {
            BfdRig.AwaitUp(watch);
            Assert.Equal((uint)interval * 1000, watch.Session.TransmitInterval);
            Assert.Equal(3_000_000L * interval, watch.Session.DetectionTime);
        }

        PeerRig.Await(() => Show(rig), t => Count(t, "\"status\":\"up\"") == 4, "FRR sees four sessions up");
        BfdRig.StopAndSeeItDown(bfdd, watches[2]);
        foreach (BfdWatch watch in watches) BfdRig.AwaitUp(watch);

        rig.Ours.SetAdminDown(BfdRig.Multi6, true);
        PeerRig.Await(() => Show(rig), t => Count(t, "\"status\":\"up\"") == 3, "FRR sees our AdminDown");
        rig.Ours.SetAdminDown(BfdRig.Multi6, false);
        BfdRig.AwaitUp(watches[3]);

        // And FRR's: it is not the path that failed.
        Vtysh(rig, "configure", "bfd", "peer 172.16.0.1 local-address 172.16.0.3 interface veth0", "shutdown");
        BfdRig.Await(watches[0], s => s.State == BfdState.Down && s.RemoteState == BfdState.AdminDown, "FRR's AdminDown");
        List<BfdChange> changes = [];
        rig.Ours.TakeChanges(changes);
        Assert.True(changes.Single(c => c.Watch == watches[0]).ByAdministrator);
        Vtysh(rig, "configure", "bfd", "peer 172.16.0.1 local-address 172.16.0.3 interface veth0", "no shutdown");
        BfdRig.AwaitUp(watches[0]);

        long downs = watches[2].Session.Downs;
        rig.Ours.Configure(BfdRig.Multi4, BfdParameters.Every(200, 5));
        BfdRig.Await(watches[2], s => s.TransmitInterval == 200_000 && s.DetectionTime == 600_000_000 && !s.Polling, "the slower interval, both ways");
        PeerRig.Await(() => Show(rig), t => Count(t, "\"remote-transmit-interval\":200") == 1 && Count(t, "\"remote-detect-multiplier\":5") == 1, "FRR knows our new parameters");
        Assert.Equal(downs, watches[2].Session.Downs);
        rig.Ours.Remove(BfdRig.Multi4);
        PeerRig.Await(() => Show(rig), t => Count(t, "\"status\":\"up\"") == 3, "a session that was removed is gone at FRR too");
    }

    private static Process Start(BfdRig rig, int interval)
    {
        string folder = rig.Net.Folder;
        File.WriteAllText(Path.Combine(folder, "bfdd.conf"), Configuration.Replace("INTERVAL", $"{interval}", StringComparison.Ordinal));
        File.WriteAllText(Path.Combine(folder, "zebra.conf"), string.Empty);
        File.WriteAllText(Path.Combine(folder, "vtysh.conf"), string.Empty);
        PeerRig.Run("chown", "-R", "frr:frr", folder);
        string[] common = ["--vty_socket", folder, "-z", Path.Combine(folder, "zserv.api"), "-u", "frr", "-g", "frr"];
        rig.Net.StartDaemon(["/usr/lib/frr/zebra", "-f", Path.Combine(folder, "zebra.conf"), "-i", Path.Combine(folder, "zebra.pid"), .. common]);
        PeerRig.Await(() => string.Join(' ', Directory.GetFiles(folder)), t => t.Contains("zserv.api", StringComparison.Ordinal), "zebra is up");
        Process bfdd = rig.Net.StartDaemon(["/usr/lib/frr/bfdd", "-f", Path.Combine(folder, "bfdd.conf"), "-i", Path.Combine(folder, "bfdd.pid"), "--bfdctl", Path.Combine(folder, "bfdd.sock"), .. common]);
        PeerRig.Await(() => string.Join(' ', Directory.GetFiles(folder)), t => t.Contains("bfdd.vty", StringComparison.Ordinal), "bfdd is up");
        return bfdd;
    }

    private static string Show(BfdRig rig) => Vtysh(rig, "show bfd peers json").Replace(" ", "", StringComparison.Ordinal);

    private static string Vtysh(BfdRig rig, params string[] commands) =>
        PeerRig.TryRun("vtysh", ["--vty_socket", rig.Net.Folder, "--config_dir", rig.Net.Folder, "-d", "bfdd", .. commands.SelectMany(c => new[] { "-c", c })]).Text;

    private static int Count(string text, string what) => (text.Length - text.Replace(what, "", StringComparison.Ordinal).Length) / what.Length;
}
