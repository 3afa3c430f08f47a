using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Bgp;

/// <summary>Real sessions with Debian's FRR, in namespaces of their own.</summary>
public sealed class FrrTests
{
    private const string Configuration = """
        frr defaults datacenter
        router bgp 65000
         bgp router-id 10.255.0.3
         no bgp network import-check
         bgp log-neighbor-changes
         coalesce-time 0
         neighbor pe peer-group
         neighbor pe remote-as 65000
         neighbor pe update-source 10.255.0.3
         neighbor pe timers 3 30
         neighbor pe timers connect 1
         neighbor 10.255.0.1 peer-group pe
         neighbor 10.255.0.2 peer-group pe
         address-family ipv4 unicast
          network 10.2.3.0/24
         exit-address-family
         address-family ipv6 unicast
          neighbor pe activate
          network fd00:2:3::/64
         exit-address-family
        """;

    private static readonly IpPrefix Server4 = IpPrefix.Parse("10.1.1.10/32");
    private static readonly IpPrefix Server6 = IpPrefix.Parse("fd00:1:1::10/128");

    [RootFact]
    public void FRR_learns_prefers_the_higher_local_preference_and_sees_the_withdrawal_in_both_families()
    {
        using var rig = new PeerRig();
        SpeakerHost a = rig.AddSpeaker(1);
        SpeakerHost b = rig.AddSpeaker(2);
        StartFrr(rig);

        Advertise(a, 100);
        Best(rig, Server4, "10.255.0.1", 100);
        Best(rig, Server6, "10.255.0.1", 100);

        Advertise(b, 200);
        Best(rig, Server4, "10.255.0.2", 200);
        Best(rig, Server6, "10.255.0.2", 200);

        // PE_a withdraws, as at the end of a migration: only b's routes are left.
        a.Do(() =>
        {
            a.Speaker.Withdraw(Server4);
            a.Speaker.Withdraw(Server6);
        });
        PeerRig.Await(() => Show(rig, Server4), t => Paths(t).Count == 1, "FRR has only b's IPv4 route");
        PeerRig.Await(() => Show(rig, Server6), t => Paths(t).Count == 1, "FRR has only b's IPv6 route");
        Best(rig, Server4, "10.255.0.2", 200);

        // And the other way: what FRR announces is here, resolved.
        foreach (SpeakerHost host in (SpeakerHost[])[a, b])
        {
            host.Await(() => host.Rib.Best(IpPrefix.Parse("10.2.3.0/24")) is not null, "the IPv4 route of FRR");
            host.Await(() => host.Rib.Best(IpPrefix.Parse("fd00:2:3::/64")) is not null, "the IPv6 route of FRR");
            Assert.Empty(host.Ask(() => host.Speaker.Engine.Peers.Single().Faults.Seen().ToList()));
            Assert.Equal(BgpState.Established, host.Ask(() => host.Speaker.Engine.Peers.Single().State));
        }

        RouteView learnt = a.Ask(() => a.Rib.Best(IpPrefix.Parse("10.2.3.0/24"))!.Value);
        Assert.Equal(PeerRig.Loopback4(3), learnt.Hop.Spec.Address);
        Assert.Contains("four-octet-as", a.Ask(() => a.Speaker.Engine.Peers.Single().ToInfo(SpeakerHost.Now).Capabilities));
    }

    [RootFact]
    public void FRR_gets_everything_again_when_it_asks_for_a_refresh_and_the_session_stays_up()
    {
        using var rig = new PeerRig();
        SpeakerHost a = rig.AddSpeaker(1);
        StartFrr(rig);
        Advertise(a, 100);
        Best(rig, Server4, "10.255.0.1", 100);
        Best(rig, Server6, "10.255.0.1", 100);

        // These come behind all that the session began with: when FRR has them, no UPDATE is on its way any more.
        Advertise(a, 110);
        Best(rig, Server4, "10.255.0.1", 110);
        Best(rig, Server6, "10.255.0.1", 110);
        BgpPeer peer = a.Ask(() => a.Speaker.Engine.Peers.Single());
        long ups = a.Ask(() => peer.Transitions);
        long before = UpdatesIn(PeerRig.Await(() => ShowNeighbor(rig), t => UpdatesIn(t) > 0, "FRR counts UPDATEs"));

        Order(rig, "clear bgp ipv4 unicast 10.255.0.1 soft in");
        PeerRig.Await(() => ShowNeighbor(rig), t => UpdatesIn(t) > before, "FRR gets the routes again");
        Best(rig, Server4, "10.255.0.1", 110);
        Assert.Equal(ups, a.Ask(() => peer.Transitions));
    }

    [RootFact]
    public void A_session_that_FRR_clears_comes_back_with_all_routes()
    {
        using var rig = new PeerRig();
        SpeakerHost a = rig.AddSpeaker(1);
        StartFrr(rig);
        Advertise(a, 100);
        Best(rig, Server4, "10.255.0.1", 100);
        BgpPeer peer = a.Ask(() => a.Speaker.Engine.Peers.Single());
        long ups = a.Ask(() => peer.Transitions);

        Order(rig, "clear bgp 10.255.0.1");
        a.Await(() => peer.Transitions > ups && peer.State == BgpState.Established, "the session is up again");
        Best(rig, Server4, "10.255.0.1", 100);
        a.Await(() => a.Rib.Best(IpPrefix.Parse("10.2.3.0/24")) is not null, "FRR's route is back");
        a.AwaitEnd(peer, "cease", "FRR said why");
    }

    [RootFact]
    public void FRR_with_a_password_a_shutdown_text_and_a_refresh_of_ours()
    {
        using var rig = new PeerRig();
        SpeakerHost a = rig.AddSpeaker(1, s => s with { Password = new BgpPassword("s3cret") });
        StartFrr(rig, "\n neighbor pe password s3cret");
        Advertise(a, 100);
        Best(rig, Server4, "10.255.0.1", 100);
        BgpPeer peer = a.Ask(() => a.Speaker.Engine.Peers.Single());
        a.Await(() => a.Rib.Best(IpPrefix.Parse("10.2.3.0/24")) is not null, "FRR's route");

        // Behind FRR's back its route is lost; our refresh brings it again, and the session stays.
        long ups = a.Ask(() => peer.Transitions);
        a.Do(() => a.Rib.Withdraw(peer.Origin, IpPrefix.Parse("10.2.3.0/24"), SpeakerHost.Now));
        Assert.Equal(BgpFamilies.Both, a.Ask(() => a.Speaker.Engine.RequestRefresh(peer)));
        a.Await(() => a.Rib.Best(IpPrefix.Parse("10.2.3.0/24")) is not null, "FRR's route again");
        Assert.Equal(ups, a.Ask(() => peer.Transitions));

        a.Do(() => a.Speaker.Engine.Shutdown(peer, "maintenance until 6:00", SpeakerHost.Now));
        PeerRig.Await(() => Vtysh(rig, "show bgp neighbors 10.255.0.1"),
            t => t.Contains("Cease/Administrative Shutdown", StringComparison.Ordinal), "FRR knows that it is a shutdown");
        a.Do(() => a.Speaker.Engine.Restart(peer, null, SpeakerHost.Now));
        a.Await(() => peer.Transitions > ups && peer.State == BgpState.Established, "the session is back");
        Order(rig, "configure terminal", "router bgp 65000", "neighbor 10.255.0.1 shutdown message back at noon");
        a.AwaitEnd(peer, "\"back at noon\"", "we show FRR's text");
    }

    [RootFact]
    public void FRR_killed_and_started_again_keeps_its_routes_here_and_what_it_lost_goes()
    {
        using var rig = new PeerRig();
        SpeakerHost a = rig.AddSpeaker(1, s => s with { Restart = RestartMode.Full });

        // FRR waits for us: two connections that collide would be a second restart to us, which takes what the first one left.
        const string Restart =
            "\n bgp graceful-restart\n bgp graceful-restart preserve-fw-state\n neighbor pe passive\n network 10.2.4.0/24";
        StartFrr(rig, Restart);
        IpPrefix kept = IpPrefix.Parse("10.2.3.0/24"), lost = IpPrefix.Parse("10.2.4.0/24");
        a.Await(() => a.Rib.Best(kept) is not null && a.Rib.Best(lost) is not null, "FRR's routes");
        BgpPeer peer = a.Ask(() => a.Speaker.Engine.Peers.Single());
        (long since, long ends) = a.Ask(() => (a.Rib.Best(kept)!.Value.InstalledAtNs, peer.GracefulEnds));

        rig.Kill("/usr/lib/frr/bgpd");
        a.Await(() => peer.State != BgpState.Established, "the session ends");
        Assert.Equal(BgpFamilies.V4, a.Ask(() => peer.StaleFamilies & BgpFamilies.V4));
        Assert.NotNull(a.Ask(() => a.Rib.Best(kept)));

        StartBgpd(rig, Restart.Replace("\n network 10.2.4.0/24", "", StringComparison.Ordinal));
        a.Await(() => peer.State == BgpState.Established && peer.StaleFamilies == BgpFamilies.None, "FRR is back and has told all");
        Assert.Null(a.Ask(() => a.Rib.Best(lost)));
        string seen = a.Ask((
            ) => $"best {a.Rib.Best(kept)?.InstalledAtNs.ToString() ?? "none"} (was {since}), graceful ends {peer.GracefulEnds}, times up "
            + $"{peer.Transitions}, {peer.MessagesIn} messages, last error {peer.LastError}");
        Assert.True(a.Ask(() => a.Rib.Best(kept)?.InstalledAtNs == since && peer.GracefulEnds == ends + 1), seen);
    }

    [RootFact]
    public void FRR_keeps_our_routes_while_we_are_killed_and_start_again()
    {
        using var rig = new PeerRig();
        var sockets = new List<System.Net.Sockets.Socket>();
        SpeakerHost a = rig.AddSpeaker(1, s => s with { Restart = RestartMode.Full }, sockets: sockets);
        StartFrr(rig, "\n bgp graceful-restart\n neighbor pe passive");
        Advertise(a, 100);
        Best(rig, Server4, "10.255.0.1", 100);
        a.Await(() => a.Speaker.Engine.Peers.Single().EndOfRibReceived == BgpFamilies.Both, "FRR's End-of-RIB");

        a.Crash();
        foreach (System.Net.Sockets.Socket socket in sockets) socket.Close(0);
        PeerRig.Await(() => Show(rig, Server4), t => t.Contains("\"stale\":true", StringComparison.Ordinal),
            "FRR marks our route as stale and keeps it");

        SpeakerHost again = rig.AddSpeaker(1, s => s with { Restart = RestartMode.Full },
            speaker: s => s with { Restarting = true, ForwardingKept = BgpFamilies.Both });
        Advertise(again, 100);
        again.Await(() => !again.Speaker.Engine.IsRestarting, "all peers have been heard");
        PeerRig.Await(() => Show(rig, Server4), t => !t.Contains("stale", StringComparison.Ordinal) && Paths(t).Count == 1,
            "the route is fresh again");
    }

    private static void StartFrr(PeerRig rig, string more = "")
    {
        File.WriteAllText(Path.Combine(rig.Folder, "zebra.conf"), string.Empty);
        File.WriteAllText(Path.Combine(rig.Folder, "vtysh.conf"), string.Empty);
        PeerRig.Run("chown", "-R", "frr:frr", rig.Folder);
        rig.StartDaemon(["/usr/lib/frr/zebra", "-f", Path.Combine(rig.Folder, "zebra.conf"), "-i",
            Path.Combine(rig.Folder, "zebra.pid"), .. Common(rig)]);
        PeerRig.Await(() => string.Join(' ', Directory.GetFiles(rig.Folder)),
            t => t.Contains("zserv.api", StringComparison.Ordinal), "zebra is up");
        StartBgpd(rig, more);
    }

    private static string[] Common(PeerRig rig)
        => ["--vty_socket", rig.Folder, "-z", Path.Combine(rig.Folder, "zserv.api"), "-u", "frr", "-g", "frr"];

    private static void StartBgpd(PeerRig rig, string more)
    {
        string configuration = Path.Combine(rig.Folder, "bgpd.conf");
        File.WriteAllText(configuration,
            Configuration.Replace("\n neighbor pe timers connect 1", "\n neighbor pe timers connect 1" + more, StringComparison.Ordinal));
        PeerRig.Run("chown", "frr:frr", configuration);
        File.Delete(Path.Combine(rig.Folder, "bgpd.vty"));
        rig.StartDaemon(["/usr/lib/frr/bgpd", "-f", configuration, "-i", Path.Combine(rig.Folder, "bgpd.pid"), "-l",
            "10.255.0.3", .. Common(rig)]);
        PeerRig.Await(() => string.Join(' ', Directory.GetFiles(rig.Folder)),
            t => t.Contains("bgpd.vty", StringComparison.Ordinal), "bgpd is up");
    }

    private static void Advertise(SpeakerHost host, uint localPref) => host.Do(() =>
    {
        host.Speaker.Advertise(Server4, localPref);
        host.Speaker.Advertise(Server6, localPref);
    });

    private static void Best(PeerRig rig, IpPrefix prefix, string peer, int localPref) => PeerRig.Await(
        () => Show(rig, prefix),
        text => Paths(text).Any(p => p.Best && p.Peer == peer && p.LocalPref == localPref),
        $"FRR's best route to {prefix} is that of {peer} with LOCAL_PREF {localPref}");

    private static string ShowNeighbor(PeerRig rig) => Vtysh(rig, "show bgp neighbors 10.255.0.1 json");

    /// <summary>UPDATEs that FRR has received from a neighbour it shows; 0 when it does not say.</summary>
    private static long UpdatesIn(string neighbor) =>
        Regex.Match(neighbor, "\"updatesRecv\": *([0-9]+)") is { Success: true } said
            ? long.Parse(said.Groups[1].Value, CultureInfo.InvariantCulture) : 0;

    private static string Show(PeerRig rig, IpPrefix prefix)
        => Vtysh(rig, $"show bgp {(prefix.Address.IsV4 ? "ipv4" : "ipv6")} unicast {prefix} json");

    private static List<(string Peer, int LocalPref, bool Best)> Paths(string json)
    {
        var paths = new List<(string, int, bool)>();
        int start = json.IndexOf('{', StringComparison.Ordinal);
        if (start < 0) return paths;
        try
        {
            using JsonDocument document = JsonDocument.Parse(json[start..]);
            if (!document.RootElement.TryGetProperty("paths", out JsonElement all)) return paths;
            foreach (JsonElement path in all.EnumerateArray())
            {
                bool best = path.TryGetProperty("bestpath", out JsonElement b) && b.TryGetProperty("overall", out JsonElement overall)
                    && overall.GetBoolean();
                paths.Add((path.GetProperty("peer").GetProperty("peerId").GetString()!, path.GetProperty("locPrf").GetInt32(), best));
            }
        }
        catch (JsonException)
        {
            // vtysh was cut short while the daemon starts: ask again.
        }

        return paths;
    }

    /// <summary>Asks; FRR may not be there yet.</summary>
    private static string Vtysh(PeerRig rig, params string[] commands) => PeerRig.TryRun("vtysh", Words(rig, commands)).Text;

    /// <summary>Has FRR do something.</summary>
    private static void Order(PeerRig rig, params string[] commands) => PeerRig.Run("vtysh", Words(rig, commands));

    private static string[] Words(PeerRig rig, string[] commands) =>
        ["--vty_socket", rig.Folder, "--config_dir", rig.Folder, "-d", "bgpd", .. commands.SelectMany(c => (string[])["-c", c])];
}
