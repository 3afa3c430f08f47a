using System.Net;
using System.Net.Sockets;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Bgp;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Bgp;

/// <summary>Speakers in this process with TCP over 127.0.0.0/8: each has an address of its own, as loopbacks have.</summary>
public sealed class TwoSpeakersTests
{
    private static readonly IpPrefix Server4 = IpPrefix.Parse("10.1.1.10/32");
    private static readonly IpPrefix Server6 = IpPrefix.Parse("fd00:1:1::10/128");

    [Fact]
    public void Two_speakers_establish_exchange_both_families_and_see_withdrawals()
    {
        int port = FreePort();
        using SpeakerHost a = Make(1, port);
        using SpeakerHost b = Make(2, port);
        BgpPeer toB = Join(a, 2, port);
        BgpPeer toA = Join(b, 1, port);
        a.Do(() =>
        {
            a.Speaker.Advertise(Server4, 100);
            a.Speaker.Advertise(Server6, 100);
        });

        b.Await(() => b.Rib.Best(Server4) is not null && b.Rib.Best(Server6) is not null, "b learns both routes");
        RouteView best = b.Ask(() => b.Rib.Best(Server4)!.Value);
        Assert.Equal(Loopback4(1), best.Hop.Spec.Address);
        Assert.Equal(100u, best.Attributes!.LocalPref);
        Assert.Equal(Loopback6(1), b.Ask(() => b.Rib.Best(Server6)!.Value.Hop.Spec.Address));
        b.Await(() => toA.EndOfRibReceived == BgpFamilies.Both, "End-of-RIB of both families");
        Assert.Equal(90, a.Ask(() => toB.Negotiated!.HoldTimeSeconds));

        a.Do(() => a.Speaker.Withdraw(Server4));
        b.Await(() => b.Rib.Best(Server4) is null, "the withdrawal arrives");
        Assert.NotNull(b.Ask(() => b.Rib.Best(Server6)));
        Assert.Empty(a.Ask(() => toB.Faults.Seen().ToList()));
        Assert.Empty(b.Ask(() => toA.Faults.Seen().ToList()));
    }

    [Fact]
    public void An_ingress_prefers_the_higher_local_preference_and_falls_back_when_it_is_withdrawn()
    {
        int port = FreePort();
        using SpeakerHost a = Make(1, port);
        using SpeakerHost b = Make(2, port);
        using SpeakerHost c = Make(3, port);
        Join(a, 2, port);
        Join(a, 3, port);
        Join(b, 1, port);
        Join(b, 3, port);
        Join(c, 1, port);
        Join(c, 2, port);
        a.Do(() => a.Speaker.Advertise(Server4, 100));
        c.Await(() => c.Rib.Best(Server4)?.Hop.Spec.Address == Loopback4(1), "c learns the way to a");

        b.Do(() => b.Speaker.Advertise(Server4, 200));
        c.Await(() => c.Rib.Best(Server4)?.Hop.Spec.Address == Loopback4(2), "c prefers b");
        Assert.Equal(RejectReason.LocalPref, c.Ask(() => c.Rib.Explain(Server4).Single(r => !r.Best).WhyNot));

        b.Do(() => b.Speaker.Withdraw(Server4));
        c.Await(() => c.Rib.Best(Server4)?.Hop.Spec.Address == Loopback4(1), "c falls back to a");

        // A route learnt by iBGP is not told to another iBGP peer: c has it once from each.
        Assert.Equal(0, c.Ask(() => c.Speaker.Engine.Peers.Sum(p => p.PrefixesSent)));
    }

    /// <summary>What an ingress forwards by, at the moment of the failure and behind it: three PEs, real sessions.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(10_000)]
    public void An_ingress_sends_every_prefix_to_the_backup_before_the_first_route_of_a_failed_pe_is_gone(int prefixes)
    {
        int port = FreePort();
        using SpeakerHost a = Make(1, port);
        using SpeakerHost b = Make(2, port);
        using SpeakerHost c = Make(3, port);
        using var ingress = new IngressFib(c);
        Join(a, 2, port);
        Join(a, 3, port);
        Join(b, 1, port);
        BgpPeer toC = Join(b, 3, port);
        BgpPeer toA = Join(c, 1, port);
        Join(c, 2, port);
        IpPrefix[] servers = [.. Enumerable.Range(0, prefixes).Select(i => new IpPrefix(IpAddress.FromV4(0x64400000u + (uint)i), 32))];
        a.Do(() => Array.ForEach(servers, p => a.Speaker.Advertise(p, 200)));
        b.Do(() => Array.ForEach(servers, p => b.Speaker.Engine.AdvertiseBackup(p, 50)));
        c.Await(() => servers.All(p => c.Rib.Explain(p).Count == 2), "c has both ways to each prefix");
        c.Await(() => servers.All(p => ingress.Goes(p) == Loopback4(1)), "c forwards to a");

        (int flipped, int kept) seen = default;
        c.Do(() =>
        {
            c.Speaker.Engine.PeerFailed += (pe, failed, _) =>
            {
                ingress.Fail(pe, failed);
                if (failed) seen = (servers.Count(p => ingress.Goes(p) == Loopback4(2)), toA.Origin.Prefixes);
            };
            c.Speaker.PathDown(Address(1), "BFD", SpeakerHost.Now, mayBeRestart: false);
        });
        Assert.Equal((prefixes, prefixes), seen);
        c.Await(() => servers.All(p => c.Rib.Best(p)?.Hop.Spec.Address == Loopback4(2)), "BGP has converged");
        Assert.True(c.Ask(() => servers.All(p => ingress.Goes(p) == Loopback4(2))));

        // It was a false alarm, and a's session comes back: as before.
        c.Await(() => servers.All(p => ingress.Goes(p) == Loopback4(1)), "c forwards to a again");
        Assert.True(c.Ask(() => c.Rib.NextHops.All(h => !h.Failed)));
        Assert.Equal(prefixes, toC.PrefixesSent);
    }

    [Fact]
    public void A_session_that_ends_takes_its_routes_along_and_comes_back_by_itself()
    {
        int port = FreePort();
        using SpeakerHost a = Make(1, port);
        SpeakerHost b = Make(2, port);
        Join(a, 2, port);
        Join(b, 1, port);
        b.Do(() => b.Speaker.Advertise(Server4, 100));
        a.Await(() => a.Rib.Best(Server4) is not null, "a learns the route");
        BgpPeer toB = a.Ask(() => a.Speaker.Engine.Find(Address(2))!);
        long ups = a.Ask(() => toB.Transitions);

        b.Dispose();
        a.Await(() => a.Rib.Best(Server4) is null, "the route goes with the session");
        a.AwaitEnd(toB, "cease: administrative shutdown", "b said why");

        using SpeakerHost again = Make(2, port);
        Join(again, 1, port);
        again.Do(() => again.Speaker.Advertise(Server4, 100));
        a.Await(() => a.Rib.Best(Server4) is not null, "the session and the route are back");
        Assert.True(a.Ask(() => toB.Transitions) > ups);
    }

    [Fact]
    public void A_connection_from_an_address_that_is_no_peer_is_closed_at_once()
    {
        int port = FreePort();
        using SpeakerHost a = Make(1, port);
        using var stranger = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        stranger.Bind(new IPEndPoint(Address(9).ToIPAddress(), 0));
        stranger.ReceiveTimeout = Patience.Seconds * 1000;
        stranger.Connect(new IPEndPoint(Address(1).ToIPAddress(), port));
        Assert.Equal(0, stranger.Receive(new byte[10]));
        a.Await(() => a.Speaker.Refused == 1, "the refusal is counted");
    }

    [Fact]
    public void Fifty_thousand_routes_cross_a_session_in_few_messages()
    {
        // One end connects: of two connections that collide the wrong one may be given up, and all is told twice.
        const int Routes = 50_000;
        int port = FreePort();
        using SpeakerHost a = Make(1, port);
        using SpeakerHost b = Make(2, port);
        BgpPeer toB = Join(a, 2, port);
        Join(b, 1, port, passive: true);
        a.Do(() =>
        {
            for (int i = 0; i < Routes; i++) a.Speaker.Advertise(new IpPrefix(IpAddress.FromV4((20u << 24) + ((uint)i << 8)), 24), 100);
        });
        b.Await(() => b.Rib.PrefixesV4 == Routes + 2, "all routes arrive");

        // 1000 /24 fit one message; opens, keepalives and the odd short message come on top.
        Assert.InRange(a.Ask(() => toB.MessagesOut), Routes / 1024, (Routes / 900) + 30);

        a.Do(() =>
        {
            for (int i = 0; i < Routes; i++) a.Speaker.Withdraw(new IpPrefix(IpAddress.FromV4((20u << 24) + ((uint)i << 8)), 24));
        });
        b.Await(() => b.Rib.PrefixesV4 == 2, "all routes go");
    }

    [Fact]
    public void A_session_that_was_idle_for_longer_than_the_send_hold_time_survives_its_next_update()
    {
        // Keepalives only every third of 90 s: the loop has nothing to look at meanwhile.
        int port = FreePort();
        var sendHold = TimeSpan.FromMilliseconds(300);
        using SpeakerHost a = Make(1, port, new BgpTransportOptions([Address(1)], port) { SendHold = sendHold });
        using SpeakerHost b = Make(2, port);
        BgpPeer toB = Join(a, 2, port);
        Join(b, 1, port);
        var prefix = IpPrefix.Parse("192.0.2.0/24");
        for (int round = 0; round < 3; round++)
        {
            uint pref = 100 + (uint)round;
            a.Await(() => toB.State == BgpState.Established, "the session is up");
            SpinWait.SpinUntil(static () => false, 3 * sendHold); // idle: nothing wakes the loop
            a.Do(() => a.Speaker.Advertise(prefix, pref));
            b.Await(() => b.Rib.PrefixesV4 == 3, "the route arrives");
            a.Do(() => a.Speaker.Withdraw(prefix));
            b.Await(() => b.Rib.PrefixesV4 == 2, "the route goes");
        }

        Assert.DoesNotContain("send hold", a.Ask(() => toB.LastError) ?? "", StringComparison.Ordinal);
    }

    [Fact]
    public void A_peer_that_stops_reading_is_reset_and_what_waits_for_it_stays_bounded()
    {
        int port = FreePort();
        using SpeakerHost a = Make(1, port, new BgpTransportOptions([Address(1)], port) { SendHold = TimeSpan.FromMilliseconds(500) });
        BgpPeer toB = a.AddPeer(new BgpPeerSettings(Address(2), 65000) { Passive = true, HoldTimeSeconds = 0 });
        using Socket deaf = Deaf(port);
        a.Await(() => toB.State == BgpState.Established, "the session is up");

        // Far more than both socket buffers hold.
        a.Do(() =>
        {
            for (uint i = 0; i < 1_500_000; i++) a.Speaker.Advertise(IpPrefix.Host(IpAddress.FromV4((20u << 24) + i)), 100);
        });
        a.Await(() => toB.LastError is not null, "the peer is reset");
        Assert.Contains("send hold timer expired", a.Ask(() => toB.LastError), StringComparison.Ordinal);
        Assert.Equal(0, a.Ask(() => toB.PrefixesWaiting));
    }

    [Fact]
    public void What_waits_for_our_own_writer_is_not_held_against_the_peer()
    {
        // The writer tells each time that TCP has taken something, on a thread that is not the loop's: there it is held.
        int port = FreePort();
        Thread loop = Thread.CurrentThread;
        var rib = new LocRib("default");
        using var goesOn = new ManualResetEventSlim(true);
        using var woken = new AutoResetEvent(false);
        using var a = new BgpSpeaker(new BgpSpeakerSettings(65000, 1, Loopback4(1), Loopback6(1), Seed: 1), rib,
            new BgpTransportOptions([Address(1)], port), () =>
        {
            woken.Set();
            if (Thread.CurrentThread != loop) goesOn.Wait();
        });
        a.Start();
        BgpPeer toB = a.AddPeer(new BgpPeerSettings(Address(2), 65000) { Passive = true, HoldTimeSeconds = 0 }, SpeakerHost.Now);
        using Socket deaf = Deaf(port);
        try
        {
            Until(() => toB.State == BgpState.Established && Unsent() == 0, "the session is up");
            goesOn.Reset();
            uint told = 0;
            long now = SpeakerHost.Now;
            Until(
                () =>
                {
                    a.Advertise(IpPrefix.Host(IpAddress.FromV4((20u << 24) + told++)), 100);
                    Turn(now);

                    // Three looks, each longer after the one before than the send hold time.
                    for (int i = 0; i < 3; i++) a.Poll(now += 60_000_000_000);
                    Assert.Equal(BgpState.Established, toB.State);
                    return Unsent() > 0;
                },
                "the writer is held");
            Assert.Null(toB.LastError);
        }
        finally
        {
            goesOn.Set();
        }

        Until(() => Unsent() == 0, "the writer has sent all");

        long Unsent() => ((IBgpWire)a).Unsent(toB, ConnectionSide.Incoming);

        void Turn(long at)
        {
            a.Poll(at);
            a.RibChanged(rib.TakeChanges());
            a.Flush();
        }

        void Until(Func<bool> condition, string what)
        {
            long start = SpeakerHost.Now;
            while (!condition())
            {
                Assert.True(SpeakerHost.Now - start < Patience.Nanoseconds, what);
                woken.WaitOne(5);
                Turn(SpeakerHost.Now);
            }
        }
    }

    internal static IpAddress Address(int i) => IpAddress.FromV4((127u << 24) | 0x00FE_0000u | (uint)i);

    /// <summary>The next hop a speaker names; addresses of 127.0.0.0/8 are refused as such.</summary>
    internal static IpAddress Loopback4(int i) => IpAddress.FromV4(0x0AFF_0000u | (uint)i);

    internal static IpAddress Loopback6(int i) => IpAddress.FromV6(((UInt128)0xfd00_00ff_0000_0000 << 64) | (uint)i);

    internal static int FreePort()
    {
        using var probe = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        probe.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)probe.LocalEndPoint!).Port;
    }

    internal static SpeakerHost Make(int i, int port, BgpTransportOptions? options = null)
    {
        var host = new SpeakerHost(
            new BgpSpeakerSettings(65000, (uint)i, Loopback4(i), Loopback6(i), Seed: i),
            options ?? new BgpTransportOptions([Address(i)], port));
        for (int other = 1; other <= 3; other++)
        {
            if (other == i) continue;
            host.Reach(Loopback4(other));
            host.Reach(Loopback6(other));
        }

        return host;
    }

    private static BgpPeer Join(SpeakerHost host, int other, int port, bool passive = false) =>
        host.AddPeer(new BgpPeerSettings(Address(other), 65000) { Port = port, ConnectRetryMilliseconds = 300, HoldTimeSeconds = 90,
            Passive = passive });

    /// <summary>A peer at address 2 that opens a session with address 1, and does not read.</summary>
    private static Socket Deaf(int port)
    {
        var deaf = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ReceiveBufferSize = 4096 };
        deaf.Bind(new IPEndPoint(Address(2).ToIPAddress(), 0));
        deaf.Connect(new IPEndPoint(Address(1).ToIPAddress(), port));
        var open = new byte[128];
        int length = new OpenMessage(65000, 0, 2, BgpFamilies.Both, true, true).Write(open);
        deaf.Send(open, length, SocketFlags.None);
        deaf.Send(open, MessageWriter.Keepalive(open), SocketFlags.None);
        return deaf;
    }
}
