using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>The session state machine by itself, with a clock that ticks at an odd rate.</summary>
public sealed class SessionFsmTests
{
    private const long Second = 1_000_000_000;
    private static readonly OpenMessage PeerOpen = new(65000, 9, RouterId: 20, BgpFamilies.Both, true, true);
    private static readonly BgpSpeakerSettings Local = new(65000, 10, IpAddress.Parse("10.255.0.1"), default);

    private readonly List<FsmAction> _actions = [];
    private long _now = 7_777_777_777;

    [Fact]
    public void The_way_to_Established_over_our_own_connection()
    {
        SessionFsm fsm = Make();
        Assert.Equal(BgpState.Idle, fsm.State);
        Assert.Equal("Connect", Step(fsm, FsmEventKind.Start));
        Assert.Equal(BgpState.Connect, fsm.State);
        Assert.Equal("SendOpen", Step(fsm, FsmEventKind.Connected));
        Assert.Equal(BgpState.OpenSent, fsm.State);
        Assert.Equal("SendKeepalive", Open(fsm, PeerOpen));
        Assert.Equal(BgpState.OpenConfirm, fsm.State);
        Assert.Equal("Up", Step(fsm, FsmEventKind.Keepalive));
        Assert.Equal(BgpState.Established, fsm.State);
        Assert.Equal(new Negotiated(9, BgpFamilies.Both, true, true, 20) { PeerAs = PeerOpen.As }, fsm.Negotiated);
    }

    [Theory]
    [InlineData(3, 90, 3)]
    [InlineData(90, 3, 3)]
    [InlineData(0, 90, 0)]
    [InlineData(90, 0, 0)]
    public void The_lower_hold_time_holds_and_zero_means_none(int theirs, int ours, int agreed)
    {
        SessionFsm fsm = Established(Make(s => s with { HoldTimeSeconds = (ushort)ours }),
            PeerOpen with { HoldTimeSeconds = (ushort)theirs });
        Assert.Equal(agreed, fsm.Negotiated!.HoldTimeSeconds);
        if (agreed == 0) Assert.Equal(long.MaxValue, fsm.NextDeadline);
        else Assert.InRange(fsm.NextDeadline - _now, agreed * Second / 4, agreed * Second / 3);
    }

    [Fact]
    public void Without_a_word_from_the_peer_the_hold_timer_ends_the_session()
    {
        SessionFsm fsm = Established(Make());
        long heard = _now;
        for (_now += Second; _now < heard + (9 * Second); _now += 1_130_000_001)
            Assert.DoesNotContain("SendNotification", Step(fsm, FsmEventKind.Tick), StringComparison.Ordinal);
        _now = heard + (9 * Second);
        Assert.Equal("SendNotification hold timer expired (4/0), Close, Down", Step(fsm, FsmEventKind.Tick));
        Assert.Equal(BgpState.Active, fsm.State);
        Assert.Null(fsm.Negotiated);
    }

    [Fact]
    public void Any_message_of_the_peer_feeds_the_hold_timer()
    {
        SessionFsm fsm = Established(Make());
        for (int i = 0; i < 50; i++)
        {
            _now += 4 * Second;
            Assert.DoesNotContain("Down", Step(fsm, FsmEventKind.Tick), StringComparison.Ordinal);
            Step(fsm, i % 2 == 0 ? FsmEventKind.Update : FsmEventKind.Keepalive);
        }

        Assert.Equal(BgpState.Established, fsm.State);
    }

    [Theory]
    [InlineData(FsmEventKind.Keepalive, "unexpected message in OpenSent (5/1)")]
    [InlineData(FsmEventKind.Update, "unexpected message in OpenSent (5/1)")]
    public void In_OpenSent_only_OPEN_is_expected(FsmEventKind kind, string error)
    {
        SessionFsm fsm = Make();
        Step(fsm, FsmEventKind.Start);
        Step(fsm, FsmEventKind.Connected);
        Assert.Equal($"SendNotification {error}, Close", Step(fsm, kind));
        Assert.Equal(BgpState.Idle, fsm.State);
    }

    [Fact]
    public void In_OpenConfirm_an_UPDATE_is_an_error_and_in_Established_an_OPEN_is()
    {
        SessionFsm fsm = Make();
        Step(fsm, FsmEventKind.Start);
        Step(fsm, FsmEventKind.Connected);
        Open(fsm, PeerOpen);
        Assert.Equal("SendNotification unexpected message in OpenConfirm (5/2), Close", Step(fsm, FsmEventKind.Update));

        fsm = Established(Make());
        Assert.Equal("SendNotification unexpected message in Established (5/3), Close, Down", Open(fsm, PeerOpen));
    }

    [Fact]
    public void An_OPEN_that_does_not_fit_the_configuration_is_refused_with_its_own_error()
    {
        foreach ((OpenMessage open, string error) in ((OpenMessage, string)[])[
            (PeerOpen with { As = 65001 }, "OPEN error: bad peer AS (2/2)"),
            (PeerOpen with { RouterId = 10 }, "OPEN error: bad BGP identifier (2/3)"),
            (PeerOpen with { Families = BgpFamilies.None }, "OPEN error: unsupported capability (2/7)")])
        {
            SessionFsm fsm = Make();
            Step(fsm, FsmEventKind.Start);
            Step(fsm, FsmEventKind.Connected);
            Assert.Equal($"SendNotification {error}, Close", Open(fsm, open));
            Assert.Equal($"sent {error}", fsm.LastError);
        }
    }

    [Fact]
    public void Faults_in_a_row_wait_longer_each_time_and_a_refused_connection_does_not()
    {
        SessionFsm fsm = Make();
        Step(fsm, FsmEventKind.Start);
        long last = 0;
        for (int i = 0; i < 5; i++)
        {
            Step(fsm, FsmEventKind.Connected);
            Assert.Equal("SendNotification header error: connection not synchronized (1/1), Close",
                Step(fsm, FsmEventKind.Fault, fault: BgpFault.HeaderMarker));
            Assert.Equal(BgpState.Idle, fsm.State);
            Assert.False(fsm.AcceptsIncoming);
            long wait = fsm.NextDeadline - _now;
            Assert.True(wait > last);
            last = wait;
            _now = fsm.NextDeadline;
            Assert.Equal("Connect", Step(fsm, FsmEventKind.Tick));
        }

        Assert.Equal(string.Empty, Step(fsm, FsmEventKind.Disconnected));
        Assert.Equal(BgpState.Active, fsm.State);
        Assert.InRange(fsm.NextDeadline - _now, 0, 2 * Second);
        _now = fsm.NextDeadline;
        Assert.Equal("Connect", Step(fsm, FsmEventKind.Tick));
    }

    [Fact]
    public void An_attempt_that_hangs_is_given_up_and_repeated()
    {
        SessionFsm fsm = Make();
        Step(fsm, FsmEventKind.Start);
        _now = fsm.NextDeadline;
        Assert.Equal("Close, Connect", Step(fsm, FsmEventKind.Tick));
        Assert.Equal(BgpState.Connect, fsm.State);
    }

    [Fact]
    public void A_passive_peer_never_connects_and_takes_what_comes()
    {
        SessionFsm fsm = Make(s => s with { Passive = true });
        Assert.False(fsm.AcceptsIncoming);
        Assert.Equal(string.Empty, Step(fsm, FsmEventKind.Start));
        Assert.Equal(BgpState.Active, fsm.State);
        Assert.Equal(long.MaxValue, fsm.NextDeadline);
        Assert.True(fsm.AcceptsIncoming);
        Assert.Equal("SendOpen incoming", Step(fsm, FsmEventKind.Connected, ConnectionSide.Incoming));
        Step(fsm, FsmEventKind.Disconnected, ConnectionSide.Incoming);
        Assert.Equal(long.MaxValue, fsm.NextDeadline);
    }

    [Theory]
    [InlineData(20u, "SendKeepalive", "SendKeepalive incoming",
        "SendNotification cease: connection collision resolution (6/7), Close, Up incoming", ConnectionSide.Incoming)]
    [InlineData(5u, "SendNotification incoming cease: connection collision resolution (6/7), Close incoming, SendKeepalive", "", "Up",
        ConnectionSide.Outgoing)]
    public void Of_two_connections_the_one_opened_by_the_higher_identifier_stays(uint peerId, string first, string second, string up,
        ConnectionSide survivor)
    {
        SessionFsm fsm = Make();
        OpenMessage open = PeerOpen with { RouterId = peerId };
        Step(fsm, FsmEventKind.Start);
        Step(fsm, FsmEventKind.Connected);
        Step(fsm, FsmEventKind.Connected, ConnectionSide.Incoming);
        Assert.Equal(first, Open(fsm, open));
        Assert.Equal(second, Open(fsm, open, ConnectionSide.Incoming));
        Assert.Equal(up, Step(fsm, FsmEventKind.Keepalive, survivor));
        Assert.Equal(survivor, fsm.EstablishedSide);
    }

    [Fact]
    public void The_end_that_does_not_decide_waits_for_the_verdict_on_its_own_connection_but_not_for_long()
    {
        OpenMessage open = PeerOpen with { RouterId = 20 };
        foreach (string verdict in (string[])["closed", "routes", "none"])
        {
            SessionFsm fsm = Make();
            Step(fsm, FsmEventKind.Start);
            Step(fsm, FsmEventKind.Connected);
            Step(fsm, FsmEventKind.Connected, ConnectionSide.Incoming);
            Open(fsm, open);
            Assert.Equal(string.Empty, Step(fsm, FsmEventKind.Keepalive));
            Assert.Equal(BgpState.OpenConfirm, fsm.State);
            if (verdict == "none") _now += 5 * Second;
            string done = verdict switch
            {
                "closed" => Step(fsm, FsmEventKind.Disconnected, ConnectionSide.Incoming),
                "routes" => Step(fsm, FsmEventKind.Update),
                _ => Step(fsm, FsmEventKind.Tick),
            };
            Assert.EndsWith("Up", done, StringComparison.Ordinal);
            Assert.Equal(BgpState.Established, fsm.State);
        }
    }

    [Fact]
    public void An_established_session_refuses_connections_and_Stop_ends_it_with_a_cease()
    {
        SessionFsm fsm = Established(Make());
        Assert.False(fsm.AcceptsIncoming);
        Assert.Equal(string.Empty, Step(fsm, FsmEventKind.Connected, ConnectionSide.Incoming));
        Assert.Equal(BgpState.Established, fsm.State);
        Assert.Equal("SendNotification cease: administrative shutdown (6/2), Close, Down", Step(fsm, FsmEventKind.Stop));
        Assert.Equal(BgpState.Idle, fsm.State);
        Assert.Equal(long.MaxValue, fsm.NextDeadline);
    }

    [Fact]
    public void A_peer_that_does_not_read_is_reset_with_its_own_error()
    {
        SessionFsm fsm = Established(Make());
        Assert.Equal("SendNotification send hold timer expired (8/0), Close, Down", Step(fsm, FsmEventKind.SendHoldTimerExpired));
    }

    [Fact]
    public void Random_events_never_break_the_machine()
    {
        var random = new Random(42);
        for (int run = 0; run < 300; run++)
        {
            SessionFsm fsm = Make(s => s with { Passive = run % 3 == 0 });
            bool up = false;
            for (int i = 0; i < 300; i++)
            {
                _now += random.NextInt64(3 * Second);
                var side = (ConnectionSide)random.Next(2);
                var kind = (FsmEventKind)random.Next(Enum.GetValues<FsmEventKind>().Length);
                if (kind == FsmEventKind.Connected && side == ConnectionSide.Incoming && !fsm.AcceptsIncoming) continue;
                _actions.Clear();
                fsm.Step(new FsmEvent(kind, side, PeerOpen with { RouterId = (uint)random.Next(1, 30) }, BgpFault.HeaderType), _now,
                    _actions);
                foreach (FsmAction action in _actions)
                {
                    // Up and Down alternate, and nothing is said on a connection that is not there.
                    if (action.Kind == FsmActionKind.Up) Assert.False(up);
                    if (action.Kind == FsmActionKind.Down) Assert.True(up);
                    up = action.Kind == FsmActionKind.Up || (up && action.Kind != FsmActionKind.Down);
                }

                Assert.Equal(up, fsm.State == BgpState.Established);
                Assert.Equal(up, fsm.Negotiated is not null);
                Assert.True(fsm.NextDeadline > _now || kind != FsmEventKind.Tick);
            }
        }
    }

    private static SessionFsm Make(Func<BgpPeerSettings, BgpPeerSettings>? with = null)
    {
        var settings = new BgpPeerSettings(IpAddress.Parse("10.255.0.2"), 65000);
        return new SessionFsm(Local, with is null ? settings : with(settings), new Random(1));
    }

    private SessionFsm Established(SessionFsm fsm, OpenMessage? open = null)
    {
        Step(fsm, FsmEventKind.Start);
        Step(fsm, FsmEventKind.Connected);
        Open(fsm, open ?? PeerOpen);
        Step(fsm, FsmEventKind.Keepalive);
        Assert.Equal(BgpState.Established, fsm.State);
        return fsm;
    }

    private string Open(SessionFsm fsm, OpenMessage open, ConnectionSide side = ConnectionSide.Outgoing)
        => Step(fsm, new FsmEvent(FsmEventKind.Open, side, open));

    private string Step(SessionFsm fsm, FsmEventKind kind, ConnectionSide side = ConnectionSide.Outgoing, BgpFault fault = default) =>
        Step(fsm, new FsmEvent(kind, side, Fault: fault));

    /// <summary>The actions as text; a connection is named when it is the incoming one.</summary>
    private string Step(SessionFsm fsm, FsmEvent input)
    {
        _actions.Clear();
        fsm.Step(input, _now, _actions);
        return string.Join(", ", _actions.Select(a => a.Kind + (a.Side == ConnectionSide.Incoming ? " incoming" : "")
            + (a.Kind == FsmActionKind.SendNotification ? $" {a.Notification}" : "")));
    }
}
