using System.Collections.Concurrent;
using System.Diagnostics;
using SdnEdge.Bfd;
using SdnEdge.Core.Bfd;
using SdnEdge.Core.Config;
using SdnEdge.Linux;
using SdnEdge.Router.Control;
using SdnEdge.Router.Tests.Bgp;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Bfd;

/// <summary>What a PE learns from its BFD process, and what becomes of the sessions when the PE goes.</summary>
public sealed class BfdLinkTests
{
    [RootFact]
    public void Each_change_is_told_and_an_operators_word_is_not_a_failed_path_however_late_it_is_read()
    {
        using var net = new PeerRig();
        using var told = new Told();
        using BfdServer server = Server(net.Ours, out ProcessChannel ours);
        using var link = BfdLink.Over(ours, told.Hear, told.End);
        using var theirs = new BfdSpeaker(() => { }, new BfdSpeakerOptions { Namespace = net.Theirs });
        theirs.Add(BfdRig.Turned(BfdRig.Single4), BfdParameters.Every(1000, 6));
        link.Watch(new BfdOrder(1, BfdRig.Single4, BfdParameters.Every(1000, 6), AdminDown: false, ControlPlaneIndependent: false));
        BfdStatus up = told.Next(s => s is { State: BfdState.Up, RemoteState: BfdState.Up });

        // The peer's operator; then the peer is silent for much longer than the detection time, and only then is the PE's turn.
        theirs.SetAdminDown(BfdRig.Turned(BfdRig.Single4), true);
        BfdStatus down = told.Next(s => s.State == BfdState.Down);
        PeerRig.Run("ip", "-n", net.Theirs, "link", "set", "veth0", "down");
        BfdStatus late = told.Next(s => s.RemoteDiscriminator == 0);
        foreach (BfdStatus status in (BfdStatus[])[down, late])
        {
            Assert.True(status.WentDownSince(up));
            Assert.False(status.PathFailedSince(up));
            Assert.Equal((BfdState.AdminDown, BfdDiagnostic.NeighborSignaledDown), (status.RemoteState, status.Diagnostic));
        }

        PeerRig.Run("ip", "-n", net.Theirs, "link", "set", "veth0", "up");
        theirs.SetAdminDown(BfdRig.Turned(BfdRig.Single4), false);
        BfdStatus again = told.Next(s => s.State == BfdState.Up);
        Assert.True(again.CameUpSince(down));

        // And one that failed is told as failed, also by who looks at both at once.
        PeerRig.Run("ip", "-n", net.Theirs, "link", "set", "veth0", "down");
        BfdStatus cut = told.Next(s => s.State == BfdState.Down && s.Downs > down.Downs);
        Assert.True(cut.PathFailedSince(again) && cut.PathFailedSince(up));
        Assert.Equal(BfdDiagnostic.DetectionTimeExpired, cut.Diagnostic);
    }

    [RootFact]
    public void The_PEs_successor_finds_the_sessions_as_they_are_and_takes_nothing_that_was_said_to_the_one_before()
    {
        using var net = new PeerRig();
        using var theirs = new BfdSpeaker(() => { }, new BfdSpeakerOptions { Namespace = net.Theirs });
        BfdWatch peer = theirs.Add(BfdRig.Turned(BfdRig.Multi4), BfdParameters.Every(100, 100));
        theirs.Add(BfdRig.Turned(BfdRig.Single4), BfdParameters.Every(100, 100));
        using BfdServer server = Server(net.Ours, out ProcessChannel first);
        first.Send(BfdMessage.Of(BfdMessageKind.Watch,
            new BfdOrder(1, BfdRig.Multi4, BfdParameters.Every(100, 100), false, ControlPlaneIndependent: true)));
        first.Send(BfdMessage.Of(BfdMessageKind.Watch,
            new BfdOrder(2, BfdRig.Single4, BfdParameters.Every(100, 100), false, ControlPlaneIndependent: true)));
        BfdRig.AwaitUp(theirs, peer);
        Assert.True(peer.Session.RemoteControlPlaneIndependent);
        uint discriminator = peer.Session.RemoteDiscriminator;

        // That PE reads no more; somebody else has kept its end.
        using var told = new Told();
        using BfdLink link = BfdLink.Attach(first.Duplicate(), told.Hear, told.End);
        link.Watch(new BfdOrder(7, BfdRig.Multi4, BfdParameters.Every(100, 100), false, ControlPlaneIndependent: true));
        BfdStatus mine = told.Next(s => s.Order == 7 && s.State == BfdState.Up);
        Assert.Equal((discriminator, 0L, 1L), (mine.LocalDiscriminator, mine.Downs, mine.Ups));

        // What the one before had ordered as well still says so by its number, until it is given up.
        Assert.Equal(2u, told.Next(s => s.Key == BfdRig.Single4).Order);
        link.Forget(BfdRig.Single4);
        BfdRig.Await(theirs, peer, _ => theirs.Find(BfdRig.Turned(BfdRig.Single4))!.Session.RemoteState == BfdState.AdminDown,
            "the peer hears that the other one is given up");
        Assert.Equal((BfdState.Up, 0L), (peer.Session.State, peer.Session.Downs));
    }

    [RootFact]
    public void It_ends_when_nobody_has_the_other_end_and_says_good_bye_when_it_is_told_to_stop()
    {
        using var net = new PeerRig();
        using var theirs = new BfdSpeaker(() => { }, new BfdSpeakerOptions { Namespace = net.Theirs });
        BfdWatch peer = theirs.Add(BfdRig.Turned(BfdRig.Multi4), BfdParameters.Every(BfdRig.IntervalMs, BfdRig.Multiplier));
        foreach (bool told in (bool[])[false, true])
        {
            using BfdServer server = Server(net.Ours, out ProcessChannel ours, out Thread runs);
            using var heard = new Told();
            using BfdLink link = BfdLink.Over(ours, heard.Hear, heard.End);

            // Silence is found soon; a session that a word is to end must not end by itself before.
            link.Watch(new BfdOrder(1, BfdRig.Multi4, BfdParameters.Every(BfdRig.IntervalMs, told ? BfdRig.Multiplier : 3), false, false));
            BfdRig.AwaitUp(theirs, peer);
            long byOperators = peer.Session.AdministrativeDowns;
            if (!told) ours.Dispose();
            link.Dispose();
            Assert.True(runs.Join(Patience.Time), "the server goes on");
            BfdRig.Await(theirs, peer, s => s.State == BfdState.Down, "the peer sees it go");
            Assert.Equal(told, peer.Session.AdministrativeDowns > byOperators);
        }
    }

    [RootFact]
    public void A_session_that_the_kernel_refuses_is_told_with_why()
    {
        using var net = new PeerRig();
        using UdpBatchSocket taken =
            Namespaces.Run(net.Ours, () => UdpBatchSocket.Open(new UdpEndpoint(BfdRig.Single4.Local, BfdLimits.SingleHopPort)));
        using BfdServer server = Server(net.Ours, out ProcessChannel ours);
        using var told = new Told();
        using var link = BfdLink.Over(ours, told.Hear, told.End);
        link.Watch(new BfdOrder(5, BfdRig.Single4, BfdParameters.Every(50, 3), false, false));
        BfdReport failed = told.NextReport(r => r.Kind == BfdMessageKind.Failed);
        Assert.Equal((5u, BfdRig.Single4), (failed.Order.Number, failed.Order.Key));
        Assert.Contains("172.16.0.1:3784", failed.Why, StringComparison.Ordinal);
    }

    [Fact]
    public void A_message_of_another_version_ends_the_channel_and_not_the_process()
    {
        (ProcessChannel ours, int other) = ProcessChannel.Pair();
        using ProcessChannel channel = ProcessChannel.Inherited(other);
        using var told = new Told();
        using var link = BfdLink.Over(ours, told.Hear, told.End);
        byte[] message = BfdMessage.Of(BfdMessageKind.Health, default(BfdHealth));
        message[1]++;
        Assert.True(channel.Send(message));
        Assert.True(told.Ended.Wait(Patience.Time), "it reads on");
    }

    [Fact]
    public void The_orders_of_each_PE_begin_at_a_number_of_their_own() => Assert.NotEqual(FirstOrder(), FirstOrder());

    /// <summary>The number under which a PE orders its first session.</summary>
    private static uint FirstOrder()
    {
        var config = new NodeConfig
        {
            Name = "pe-a",
            RouterId = BfdRig.Multi4.Local,
            As = 65000,
            Bfd = [new BfdConfig(BfdRig.Multi4.Peer, BfdRig.Multi4.Local, Multihop: true)],
        };
        int kept = -1;
        using var loop = new ControlLoop(TimeProvider.System);
        using var driver = new BfdDriver(null!, new HostPort(null!, null!, loop, null, null), loop, keeper: null, end =>
        {
            // The end that the BFD process would have is read here.
            kept = ProcessChannel.Duplicate(end);
            return new ProcessStartInfo("true");
        });
        _ = driver.Start(config);
        using ProcessChannel theirs = ProcessChannel.Inherited(kept);
        byte[] message = new byte[ProcessChannel.MaxMessage];
        int length = theirs.Receive(message, out _);
        Assert.Equal(BfdMessageKind.Watch, BfdMessage.KindOf(message.AsSpan(0, length)));
        return BfdMessage.Read<BfdOrder>(message.AsSpan(0, length)).Number;
    }

    private static BfdServer Server(string space, out ProcessChannel ours) => Server(space, out ours, out _);

    private static BfdServer Server(string space, out ProcessChannel ours, out Thread runs)
    {
        (ours, int other) = ProcessChannel.Pair();
        var server = new BfdServer(ProcessChannel.Inherited(other), new BfdSpeakerOptions { Namespace = space });
        runs = new Thread(() =>
        {
            server.Run();
            server.Dispose();
        }) { IsBackground = true };
        runs.Start();
        return server;
    }

    /// <summary>What a link was told, in order.</summary>
    private sealed class Told : IDisposable
    {
        private readonly BlockingCollection<BfdReport> _reports = [];

        public ManualResetEventSlim Ended { get; } = new();

        public void Hear(BfdReport report) => _reports.Add(report);

        public void End() => Ended.Set();

        public BfdStatus Next(Func<BfdStatus, bool> which) => NextReport(r => r.Kind == BfdMessageKind.Status && which(r.Status)).Status;

        public BfdReport NextReport(Func<BfdReport, bool> which)
        {
            using var patience = new CancellationTokenSource(Patience.Time);
            while (true)
            {
                BfdReport report = _reports.Take(patience.Token);
                if (which(report)) return report;
            }
        }

        public void Dispose()
        {
            _reports.Dispose();
            Ended.Dispose();
        }
    }
}
