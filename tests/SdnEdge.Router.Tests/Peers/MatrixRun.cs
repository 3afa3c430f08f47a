using System.Net.Sockets;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Tests.Bgp;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Router.Tests.Peers.PeerSession;

namespace SdnEdge.Router.Tests.Peers;

/// <summary>Asks one peer in one role everything that the matrix asks; each method fills cells by what it sees.</summary>
internal sealed class MatrixRun(string make, bool reflect, bool whole)
{
    private static readonly IpPrefix Other4 = IpPrefix.Parse("10.5.5.0/24");

    private readonly Dictionary<string, Answer> _answers = [];
    private readonly List<string> _failures = [];

    // Where the session at hand is captured: kept when a cell fails.
    private string _capture = "";

    /// <summary>What went wrong, by feature.</summary>
    public IReadOnlyList<string> Failures => _failures;

    /// <summary>ExaBGP has no Loc-RIB: no path of its table is the best one.</summary>
    private bool Selects => make != "exabgp";

    /// <summary>The cells of the row; without <c>whole</c> those that are quick to try.</summary>
    public IReadOnlyDictionary<string, Answer> Run()
    {
        if (reflect && make == "exabgp")
        {
            foreach (string feature in PeerMatrix.Features) _answers[feature] = Answer.Cannot("e1");
            return _answers;
        }

        using (var session = new PeerSession(make, new PeerOptions { Reflect = reflect }))
        {
            _capture = session.Capture;
            Common(session);
        }

        if (!whole) return _answers;
        using (var session = new PeerSession(make,
            new PeerOptions { Reflect = reflect, Md5 = "swordfish", Gtsm = true, MaxPrefix = 3 }, WrongPassword))
        {
            _capture = session.Capture;
            Guarded(session);
        }

        var sockets = new List<Socket>();
        using (var session = new PeerSession(make, new PeerOptions { Reflect = reflect, GracefulRestart = true },
            s => s with { Restart = RestartMode.Full }, sockets))
        {
            _capture = session.Capture;
            Restarts(session, sockets);
        }

        return _answers;
    }

    /// <summary>What one set of sessions can show: both families, 4-octet AS numbers, a move, a withdrawal, refreshes.</summary>
    private void Common(PeerSession s)
    {
        SpeakerHost b = s.Rig.AddSpeaker(2);
        SpeakerHost far = s.Rig.AddSpeaker(4);
        SpeakerHost other = s.Rig.AddSpeaker(5, p => p with { Import = PrefixList.All, Export = PrefixList.All, Ttl = 64 },
            PeerDaemon.OtherAs);
        foreach (int i in (int[])[1, 2, 5])
        {
            far.Reach(PeerRig.Loopback4(i));
            far.Reach(TwoSpeakersTests.Loopback6(i));
        }

        foreach ((string feature, IpPrefix server, IpPrefix own) in ((string, IpPrefix, IpPrefix)[])[("IPv4", Server4, PeerDaemon.Own4),
            ("IPv6", Server6, PeerDaemon.Own6)])
        {
            Ask(feature, () =>
            {
                Advertise(s.A, 100, server);
                s.Await(server, p => p.Any(x => x.From == "10.255.0.1" && x.LocalPref == 100 && x.Best == Selects
                    && x.NextHop == Loopback(server, 1)), "a's route is in the table");
                s.A.Await(() => s.A.Rib.Best(own) is not null, $"the peer's own {own} is here");
                if (reflect) Reflected(far, server, 1, 100);
                return Answer.Yes;
            });
        }

        Ask("4-octet AS", () =>
        {
            Advertise(other, 100, Other4);
            s.Await(Other4, p => p.Any(x => x.From == "10.255.0.5" && x.AsPath == "4200000005" && x.Best == Selects),
                "the path of another AS is in the table");
            if (Selects)
                far.Await(() => far.Rib.Best(Other4) is { Attributes: { } a } && a.AsPathText() == "4200000005",
                    "the peer passes the path on");
            return Answer.Yes;
        });

        Ask("LOCAL_PREF move", () =>
        {
            Advertise(b, 200, Server4, Server6);
            foreach (IpPrefix server in (IpPrefix[])[Server4, Server6])
            {
                s.Await(server, p => p.Any(x => x.From == "10.255.0.2" && x.LocalPref == 200 && x.Best == Selects)
                    && p.All(x => x.From != "10.255.0.1" || !x.Best), "b's route is the best");
                if (reflect) Reflected(far, server, 2, 200);
            }

            return Selects ? Answer.Yes : Answer.Cannot("e2");
        });

        Ask("withdraw", () =>
        {
            s.A.Do(() =>
            {
                s.A.Speaker.Withdraw(Server4);
                s.A.Speaker.Withdraw(Server6);
            });
            foreach (IpPrefix server in (IpPrefix[])[Server4, Server6])
                s.Await(server, p => p is [{ From: "10.255.0.2" }] && p[0].Best == Selects, "only b's route is left");
            b.Do(() => b.Speaker.Withdraw(Server6));
            s.Await(Server6, p => p.Count == 0, "no route is left");
            if (reflect) far.Await(() => far.Rib.Best(Server6) is null, "the withdrawal is reflected");
            return Answer.Yes;
        });

        Ask("route refresh", () =>
        {
            // The peer asks: b tells its route once more.
            BgpPeer session = SessionOf(b);
            long came = b.Ask(() => session.Transitions);
            if (make != "gobgp")
            {
                int again = Told(Seen(s, b, "10.255.0.2"), "10.255.0.2", "10.255.0.3");
                s.Peer.AskRefresh(2);
                s.AwaitOnWire(all => all.Any(m => m.Type == 5 && From(m) == "10.255.0.3" && To(m) == "10.255.0.2" && m.Bytes[21] == 0)
                    && Told(all, "10.255.0.2", "10.255.0.3") > again, "b tells its routes again");
                Assert.Equal(came, b.Ask(() => session.Transitions));
            }

            // We ask: the peer tells its own route to b once more.
            IReadOnlyList<CapturedMessage> before = Seen(s, b, "10.255.0.2");
            int told = Told(before, "10.255.0.3", "10.255.0.2");
            int alive = before.Count(m => m.Type == 4 && From(m) == "10.255.0.3" && To(m) == "10.255.0.2");
            Assert.Equal(BgpFamilies.V4, b.Ask(() => b.Speaker.Engine.RequestRefresh(session, BgpFamilies.V4)));
            if (make == "exabgp")
            {
                b.Await(() => session.Transitions > came && session.State == BgpState.Established,
                    "ExaBGP ends the session and opens it again");
                return Answer.Cannot("e5");
            }

            if (make == "openbgpd")
            {
                s.AwaitOnWire(all => SaysMoreAfterAsked(all), "a KEEPALIVE after our ROUTE-REFRESH");
                Assert.Equal(told, Told(Seen(s, b, "10.255.0.2"), "10.255.0.3", "10.255.0.2"));
                return Answer.Cannot("o3");
            }

            s.AwaitOnWire(all => all.Any(m => m.Type == 5 && From(m) == "10.255.0.2") && Told(all, "10.255.0.3", "10.255.0.2") > told,
                "the peer tells its routes again");
            Assert.Equal(came, b.Ask(() => session.Transitions));
            return make == "gobgp" ? new Answer(Verdict.Yes, "g1") : Answer.Yes;

            // Two more KEEPALIVEs than at the time of the question: it was read long ago.
            bool SaysMoreAfterAsked(IReadOnlyList<CapturedMessage> all) =>
                all.Count(m => m.Type == 4 && From(m) == "10.255.0.3" && To(m) == "10.255.0.2") >= alive + 2;
        });

        if (GivesUp) return;
        NoFaults(s.A, b, far, other);
        s.Peer.WithdrawOwn();
        s.A.Await(() => s.A.Rib.Best(PeerDaemon.Own4) is null && s.A.Rib.Best(PeerDaemon.Own6) is null,
            "the peer's own routes are withdrawn");
        s.Peer.Cease(1);
        BgpPeer ended = SessionOf(s.A);
        s.A.AwaitEnd(ended, "cease: administrative shutdown", "the peer ends the session with cease");
        s.AwaitOnWire(all => all.Any(m => m.Type == 3), "NOTIFICATION");
        s.StopCapture();
        if (TsharkTheoryAttribute.Path is not null) CaptureTests.ReadAlike(s.Capture);
        if (!reflect && Environment.GetEnvironmentVariable("SDNEDGE_UPDATE_CAPTURES") == "1")
            File.Copy(s.Capture, Path.Combine(CaptureTests.Folder(), $"bgp-{make}.pcap"), overwrite: true);
    }

    /// <summary>10.255.0.1 must use MD5, .2 GTSM, .4 may tell three prefixes: on one daemon. What must be refused is tried first.</summary>
    private void Guarded(PeerSession s)
    {
        Ask("MD5", () =>
        {
            Advertise(s.A, 100, Server4);
            Refused(s, Server4, 1);
            Again(s.A, p => p with { Password = new BgpPassword("swordfish") });
            s.Await(Server4, p => p.Any(x => x.From == "10.255.0.1"), "a's route is in the table");
            return Answer.Yes;
        });

        // ExaBGP sends TTL 255 only on connections that it opens itself, and checks nothing there.
        bool passive = make == "exabgp";
        SpeakerHost b = s.Rig.AddSpeaker(2, p => p with { TtlSecurityHops = 1, Passive = passive });
        Ask("GTSM", () =>
        {
            Advertise(b, 200, Server6);
            s.Await(Server6, p => p.Any(x => x.From == "10.255.0.2"), "b's route is in the table");

            if (passive) return new Answer(Verdict.Yes, "e3");

            if (make == "openbgpd")
            {
                // It checks nothing either: the session comes about with a TTL of 64.
                Again(b, p => p with { Ttl = 64 });
                s.Peer.Reset(2);
                BgpPeer unprotected = SessionOf(b);
                b.Await(() => unprotected.State == BgpState.Established, "a session with TTL 64");
                return new Answer(Verdict.Yes, "o2");
            }

            // Last: a peer that has let a connection of the wrong TTL come about does not see it end either.
            Again(b, p => p with { Ttl = 64 });
            Refused(s, Server6, 2);
            return Answer.Yes;
        });

        Ask("max-prefix", () =>
        {
            // Ours: the peer has two IPv4 prefixes to tell, and one is allowed.
            SpeakerHost other = s.Rig.AddSpeaker(5, p => p with { Import = PrefixList.All, Export = PrefixList.All, Ttl = 64 },
                PeerDaemon.OtherAs);
            Advertise(other, 100, Other4);
            s.Await(Other4, p => p.Count == 1, "the second prefix");
            Again(s.A, p => p with { Password = new BgpPassword("swordfish"), LimitV4 = new BgpPrefixLimit(1) });
            if (make == "openbgpd") s.Peer.Reset(1); // it rests for 30 s and more after each end of a session
            BgpPeer limited = SessionOf(s.A);
            s.A.AwaitEnd(limited, "more than 1 IPv4 prefixes", "our limit ends the session");
            s.Await(Server4, p => p.Count == 0, "a's route has left the table with the session");

            // Theirs: three are allowed, we tell more; told two, the session comes back when their operator resets it.
            if (make == "exabgp") return new Answer(Verdict.Yes, "e4");
            SpeakerHost far = s.Rig.AddSpeaker(4);
            BgpPeer session = SessionOf(far);
            IpPrefix[] many = [.. Enumerable.Range(1, 8).Select(i => IpPrefix.Parse($"10.7.{i}.0/24"))];
            Advertise(far, 100, many[..3]);
            s.Await(many[2], p => p.Count == 1, "three prefixes are taken");
            Advertise(far, 100, many[3..]);
            far.AwaitEnd(session, "(6/1)", "the peer's limit ends the session");
            s.Await(many[0], p => p.Count == 0, "the routes have left the table");
            far.Do(() =>
            {
                foreach (IpPrefix prefix in many[2..]) far.Speaker.Withdraw(prefix);
            });
            s.Peer.Reset(4);
            s.Await(many[0], p => p.Count == 1, "the session is back");
            return Answer.Yes;
        });
        NoFaults(s.A, b);
    }

    /// <summary>The peer is killed and comes back, then PE a: neither's routes leave the other's table meanwhile.</summary>
    private void Restarts(PeerSession s, List<Socket> sockets) => Ask("graceful restart", () =>
    {
        SpeakerHost far = s.Rig.AddSpeaker(4, p => p with { Restart = RestartMode.Full });
        far.Reach(PeerRig.Loopback4(1));
        BgpPeer session = SessionOf(s.A);
        Advertise(s.A, 100, Server4);
        s.A.Await(() => s.A.Rib.Best(PeerDaemon.Own4) is not null && session.EndOfRibReceived == BgpFamilies.Both,
            "the peer's route and End-of-RIB");
        s.Await(Server4, p => p.Count == 1, "a's route");
        long since = s.A.Ask(() => s.A.Rib.Best(PeerDaemon.Own4)!.Value.InstalledAtNs);

        if (make == "openbgpd") return Answer.Cannot("o1");
        s.Peer.Kill();
        s.A.Await(() => session.State != BgpState.Established, "the session ends with the peer");
        Assert.Equal(BgpFamilies.Both, s.A.Ask(() => session.StaleFamilies));
        s.Peer.StartAgain();
        s.A.Await(() => session.State == BgpState.Established && session.StaleFamilies == BgpFamilies.None
            && s.A.Rib.Best(PeerDaemon.Own4) is not null, "the peer is back");
        Assert.Equal(since, s.A.Ask(() => s.A.Rib.Best(PeerDaemon.Own4)!.Value.InstalledAtNs));
        if (!Selects) return new Answer(Verdict.Yes, "e6");

        s.Await(Server4, p => p.Count == 1 && !p[0].Stale, "a's route again");
        s.A.Await(() => session.EndOfRibReceived == BgpFamilies.Both, "End-of-RIB again");
        if (reflect) far.Await(() => far.Rib.Best(Server4) is not null, "the route is reflected");
        long reflected = reflect ? far.Ask(() => far.Rib.Best(Server4)!.Value.InstalledAtNs) : 0;
        s.A.Crash();
        foreach (Socket socket in sockets) socket.Close(0);
        s.Await(Server4, p => p is [{ Stale: true }], "a's route is kept and marked as stale");
        SpeakerHost again = s.Rig.AddSpeaker(1, p => p with { Restart = RestartMode.Full },
            speaker: p => p with { Restarting = true, ForwardingKept = BgpFamilies.Both });
        Advertise(again, 100, Server4);
        s.Await(Server4, p => p is [{ Stale: false }], "a's route is fresh again");
        if (reflect) Assert.Equal(reflected, far.Ask(() => far.Rib.Best(Server4)!.Value.InstalledAtNs));
        return Answer.Yes;
    });

    private static BgpPeerSettings WrongPassword(BgpPeerSettings settings) => settings with { Password = new BgpPassword("sawfish") };

    /// <summary>Three connections are tried, and nothing that is told over them comes into the peer's table.</summary>
    private static void Refused(PeerSession s, IpPrefix prefix, int i)
    {
        // Counted from both sides: a connection that only half of the peers takes may hang for long.
        s.Await(prefix, p => p.All(x => x.From != $"10.255.0.{i}"), "nothing of an earlier session is left");
        int before = 0;
        s.AwaitStreams(all => (before = Attempts(all)) >= 0, "a capture");
        s.AwaitStreams(all => Attempts(all) >= before + 3, "three attempts to connect");
        Assert.DoesNotContain(s.Peer.Paths(prefix), x => x.From == $"10.255.0.{i}");
        int Attempts(IReadOnlyList<TcpStream> all)
            => all.Count(t => (t.From.Address.ToString() == $"10.255.0.{i}" || t.To.Address.ToString() == $"10.255.0.{i}")
                && t.To.Port == 179);
    }

    /// <summary>The session anew, with other settings.</summary>
    private static void Again(SpeakerHost host, Func<BgpPeerSettings, BgpPeerSettings> with)
    {
        host.Do(() => host.Speaker.RemovePeer(PeerRig.Loopback4(3), SpeakerHost.Now));
        host.AddPeer(with(PeerRig.Settings));
    }

    /// <summary>The ingress PE has the route of PE i, as a reflector passes it on (RFC 4456 8).</summary>
    private static void Reflected(SpeakerHost far, IpPrefix server, int i, uint localPref) => far.Await(
        () => far.Rib.Best(server) is { Attributes: { } a } best && best.Hop.Spec.Address.ToString() == Loopback(server, i)
            && a.LocalPref == localPref && a.OriginatorId == (0x0AFF_0000u | (uint)i) && a.ClusterListLength == 1,
        $"{server} by way of PE {i} is reflected");

    private static string Loopback(IpPrefix of, int i) => of.Address.IsV4 ? $"10.255.0.{i}" : $"fd00:ff::{i}";

    private static string From(CapturedMessage m) => m.Stream.From.Address.ToString();

    private static string To(CapturedMessage m) => m.Stream.To.Address.ToString();

    /// <summary>The capture, once it holds all that has come to our speaker: it is written by another process.</summary>
    private static IReadOnlyList<CapturedMessage> Seen(PeerSession s, SpeakerHost host, string at)
    {
        long came = host.Ask(() => host.Speaker.Engine.Peers.Single().MessagesIn);
        IReadOnlyList<CapturedMessage> seen = [];
        s.AwaitOnWire(all => (seen = all).Count(m => To(m) == at) >= came, "what has come to us is in the capture");
        return seen;
    }

    /// <summary>UPDATEs that announce IPv4 routes.</summary>
    private static int Told(IReadOnlyList<CapturedMessage> all, string from, string to)
        => all.Count(m => m.Type == 2 && From(m) == from && To(m) == to
        && MessageView.Ours(m, MessageView.ContextOf(m.Stream, all)).ContainsKey("nlri"));

    private static void NoFaults(params SpeakerHost[] hosts)
    {
        // A reflector may pass a route on to the client that it has it from (RFC 4456 6 lets it); its next hop is that client.
        foreach (SpeakerHost host in hosts)
            Assert.Empty(host.Ask(() => host.Speaker.Engine.Peers.Single().Faults.Seen()
                .Where(f => f.Key != BgpFault.NextHopOurs).ToList()));
    }

    // A row that is not to be written fails by one cell, and what this one waited for in vain the others would mostly wait for too.
    private bool GivesUp => !whole && _failures.Count > 0;

    private void Ask(string feature, Func<Answer> question)
    {
        if (GivesUp) return;
        try
        {
            _answers[feature] = question();
        }
        catch (Exception e) when (e is Xunit.Sdk.XunitException or InvalidOperationException or InvalidDataException)
        {
            _answers[feature] = new Answer(Verdict.No);
            string kept = Path.Combine(CaptureTests.Root(), "artifacts", "peers",
                $"{make}-{(reflect ? "reflector" : "ingress")}-{feature}.pcap");
            Directory.CreateDirectory(Path.GetDirectoryName(kept)!);
            File.Copy(_capture, kept, overwrite: true);
            _failures.Add($"{feature}: {e.Message} (the session is recorded in {kept})");
        }
    }
}
