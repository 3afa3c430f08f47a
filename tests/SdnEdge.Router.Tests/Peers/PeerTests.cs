using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Router.Tests.Bgp;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Router.Tests.Peers.PeerSession;

namespace SdnEdge.Router.Tests.Peers;

/// <summary>Real sessions with each of the five peers. Everything is also recorded and read again by our codec and by tshark.</summary>
public sealed class PeerTests
{
    [RootTheory]
    [InlineData("frr")]
    [InlineData("bird")]
    [InlineData("gobgp")]
    [InlineData("exabgp")]
    [InlineData("openbgpd")]
    public void The_peer_learns_moves_withdraws_refreshes_and_ends_a_session(string make)
    {
        using var s = new PeerSession(make);
        SpeakerHost b = s.Rig.AddSpeaker(2);
        SpeakerHost other = s.Rig.AddSpeaker(5, p => p with { Import = PrefixList.All, Export = PrefixList.All, Ttl = 64 }, PeerDaemon.OtherAs);
        bool selects = make != "exabgp";

        Advertise(s.A, 100, Server4, Server6);
        s.Await(Server4, p => p.Any(x => x.From == "10.255.0.1" && x.LocalPref == 100 && x.Best == selects), "a's IPv4 route");
        s.Await(Server6, p => p.Any(x => x.From == "10.255.0.1" && x.LocalPref == 100 && x.Best == selects && x.NextHop == "fd00:ff::1"), "a's IPv6 route");
        s.A.Await(() => s.A.Rib.Best(PeerDaemon.Own4) is not null, "the peer's IPv4 route");
        s.A.Await(() => s.A.Rib.Best(PeerDaemon.Own6) is not null, "the peer's IPv6 route");

        Advertise(other, 100, Foreign4);
        s.Await(Foreign4, p => p.Any(x => x.From == "10.255.0.5" && x.AsPath == "4200000005"), "4-octet path");

        Advertise(b, 200, Server4, Server6);
        s.Await(Server4, p => p.Any(x => x.From == "10.255.0.2" && x.LocalPref == 200 && x.Best == selects), "b preferred");
        s.Await(Server6, p => p.Any(x => x.From == "10.255.0.2" && x.LocalPref == 200 && x.Best == selects), "b preferred");
        s.A.Do(() => { s.A.Speaker.Withdraw(Server4); s.A.Speaker.Withdraw(Server6); });
        s.Await(Server4, p => p.Count == 1 && p[0].From == "10.255.0.2", "a withdrawn");
        s.Await(Server6, p => p.Count == 1 && p[0].From == "10.255.0.2", "a withdrawn");

        if (make != "gobgp")
        {
            s.Peer.AskRefresh(2);
            s.AwaitOnWire(all => AnswersRefresh(all, "10.255.0.2"), "b's routes are sent again after the peer's ROUTE-REFRESH");
            Assert.Equal(1, b.Ask(() => b.Speaker.Engine.Peers.Single().Transitions));
        }

        s.Peer.WithdrawOwn();
        s.A.Await(() => s.A.Rib.Best(PeerDaemon.Own4) is null, "the peer's IPv4 route is withdrawn");
        s.A.Await(() => s.A.Rib.Best(PeerDaemon.Own6) is null, "the peer's IPv6 route is withdrawn");

        s.Peer.Cease(1);
        BgpPeer toPeer = SessionOf(s.A);
        s.A.Await(() => toPeer.LastError is { } e && e.Contains("cease", StringComparison.Ordinal), "cease");
        foreach (SpeakerHost host in (SpeakerHost[])[s.A, b, other]) Assert.Empty(host.Ask(() => host.Speaker.Engine.Peers.Single().Faults.Seen().ToList()));
        s.AwaitOnWire(all => all.Any(m => m.Type == 3), "NOTIFICATION");
        s.StopCapture();
        if (TsharkTheoryAttribute.Path is not null) CaptureTests.ReadAlike(s.Capture);
        if (Environment.GetEnvironmentVariable("SDNEDGE_UPDATE_CAPTURES") == "1") File.Copy(s.Capture, Path.Combine(CaptureTests.Folder(), $"bgp-{make}.pcap"), overwrite: true);
    }

    /// <summary>Whether an UPDATE with routes went to the peer after it had asked for them.</summary>
    private static bool AnswersRefresh(IReadOnlyList<CapturedMessage> all, string ours)
    {
        if (!all.Any(m => m.Type == 5 && m.Stream.To.Address.ToString() == ours)) return false;

        // b announced each of its two prefixes once before: what is more has been asked for.
        return all.Count(m => m.Type == 2 && m.Bytes.Length > 40 && m.Stream.From.Address.ToString() == ours) >= 3;
    }
}
