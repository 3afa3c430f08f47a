using SdnEdge.Core.Bfd;
using Xunit;
using static SdnEdge.Core.Tests.Bfd.BfdBytes;

namespace SdnEdge.Core.Tests.Bfd;

/// <summary>The session machine by the clauses of RFC 5880 6.</summary>
public sealed class BfdSessionTests
{
    [Fact]
    public void Two_ends_come_up_by_the_three_way_handshake()
    {
        BfdSession session = Session();
        BfdControl first = Assert.Single(session.Take(0));
        Assert.Equal((BfdState.Down, 7u, 0u), (first.State, first.MyDiscriminator, first.YourDiscriminator));
        session.Hear(Says(BfdState.Down, yours: 0), Ms);
        Assert.Equal(BfdState.Init, session.State);
        BfdControl second = Assert.Single(session.Take(Ms)); // at once, not with the next period
        Assert.Equal((BfdState.Init, 9u), (second.State, second.YourDiscriminator));
        session.Hear(Says(BfdState.Init), 2 * Ms);
        Assert.Equal(BfdState.Up, session.State);
        Assert.Equal(BfdState.Up, Assert.Single(session.Take(2 * Ms)).State);
        Assert.Equal(1, session.Ups);
    }

    [Theory] // the table of RFC 5880 6.8.6 and the figure of 6.2
    [InlineData(BfdState.Down, BfdState.AdminDown, BfdState.Down)]
    [InlineData(BfdState.Down, BfdState.Down, BfdState.Init)]
    [InlineData(BfdState.Down, BfdState.Init, BfdState.Up)]
    [InlineData(BfdState.Down, BfdState.Up, BfdState.Down)]
    [InlineData(BfdState.Init, BfdState.AdminDown, BfdState.Down)]
    [InlineData(BfdState.Init, BfdState.Down, BfdState.Init)]
    [InlineData(BfdState.Init, BfdState.Init, BfdState.Up)]
    [InlineData(BfdState.Init, BfdState.Up, BfdState.Up)]
    [InlineData(BfdState.Up, BfdState.AdminDown, BfdState.Down)]
    [InlineData(BfdState.Up, BfdState.Down, BfdState.Down)]
    [InlineData(BfdState.Up, BfdState.Init, BfdState.Up)]
    [InlineData(BfdState.Up, BfdState.Up, BfdState.Up)]
    [InlineData(BfdState.AdminDown, BfdState.Up, BfdState.AdminDown)]
    public void A_packet_moves_the_state_as_the_table_says(BfdState from, BfdState heard, BfdState to)
    {
        BfdSession session = Session();
        if (from == BfdState.AdminDown) session.SetAdminDown(true, 0);
        if (from is BfdState.Init or BfdState.Up) session.Hear(Says(BfdState.Down, yours: 0), 0);
        if (from == BfdState.Up) session.Hear(Says(BfdState.Init), 0);
        Assert.Equal(from, session.State);
        Assert.Equal(from == BfdState.AdminDown ? BfdDiscard.AdminDown : BfdDiscard.None, session.Hear(Says(heard), 1));
        Assert.Equal(to, session.State);
        if (from is BfdState.Init or BfdState.Up && to == BfdState.Down)
            Assert.Equal(BfdDiagnostic.NeighborSignaledDown, session.Diagnostic);
    }

    [Fact]
    public void Silence_for_the_detection_time_takes_it_down_and_not_a_nanosecond_earlier()
    {
        BfdSession session = Up(interval: 50, multiplier: 3, now: 5);
        session.Hear(Says(BfdState.Up, tx: 60, multiplier: 4), 100 * Ms); // theirs is the slower: 4 x 60 ms
        Assert.Equal(240 * Ms, session.DetectionTime);
        long end = 340 * Ms;
        Assert.False(session.Expire(end - 1));
        Assert.Equal(BfdState.Up, session.State);
        Assert.True(session.Expire(end));
        Assert.Equal((BfdState.Down, BfdDiagnostic.DetectionTimeExpired, 0u),
            (session.State, session.Diagnostic, session.RemoteDiscriminator));
        BfdControl said = Assert.Single(session.Take(end));
        Assert.Equal((BfdState.Down, BfdDiagnostic.DetectionTimeExpired), (said.State, said.Diagnostic));
        Assert.Equal(BfdLimits.SlowTxMicroseconds, said.DesiredMinTx);
        Assert.Equal(1, session.Downs);
        Assert.False(session.Expire(end + Second));
    }

    [Theory]
    [InlineData(BfdState.AdminDown, 1)]
    [InlineData(BfdState.Down, 0)]
    public void A_peer_that_says_why_once_and_is_silent_then_is_not_misunderstood_later(BfdState said, int byOperators)
    {
        BfdSession session = Up();
        session.Hear(Says(said), Ms);
        session.Expire(Ms + session.DetectionTime);
        Assert.Equal((1L, (long)byOperators), (session.Downs, session.AdministrativeDowns));
        Assert.Equal((0u, said), (session.RemoteDiscriminator, session.RemoteState));
        Assert.Equal((BfdState.Down, BfdDiagnostic.NeighborSignaledDown), (session.State, session.Diagnostic));
    }

    [Fact]
    public void Our_own_operator_counts_as_one_too()
    {
        BfdSession session = Up();
        session.SetAdminDown(true, Ms);
        Assert.Equal((1L, 1L), (session.Downs, session.AdministrativeDowns));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Whether_it_outlives_the_control_plane_is_told_and_heard(bool independent)
    {
        var session = new BfdSession(Session().Key, 7, BfdParameters.Every(50, 3), 1, 0, controlPlaneIndependent: independent);
        Assert.Equal(independent, Assert.Single(session.Take(0)).ControlPlaneIndependent);
        session.Hear(Says(BfdState.Down, yours: 0) with { ControlPlaneIndependent = independent }, 0);
        Assert.Equal(independent, session.RemoteControlPlaneIndependent);
    }

    [Fact]
    public void Until_it_is_up_it_asks_for_a_second_between_packets_and_keeps_to_it()
    {
        BfdSession session = Session(interval: 10);
        Assert.Equal(1_000_000u, Assert.Single(session.Take(0)).DesiredMinTx);
        for (int i = 0; i < 20; i++)
        {
            long before = session.NextDeadline;
            Assert.Empty(session.Take(before - 1));
            Assert.Single(session.Take(before));
            Assert.InRange(session.NextDeadline - before, 750 * Ms, 1000 * Ms);
        }
    }

    [Theory]
    [InlineData(3, 75, 100)]
    [InlineData(1, 75, 90)]
    public void Periods_are_jittered_over_the_whole_range_that_the_RFC_gives(int multiplier, int least, int most)
    {
        BfdSession session = Up(interval: 100, multiplier: multiplier);
        long low = long.MaxValue, high = 0, now = session.NextDeadline;
        for (int i = 0; i < 2000; i++)
        {
            session.Hear(Says(BfdState.Up, tx: 100, rx: 100), now);
            Assert.Single(session.Take(now));
            long period = session.NextDeadline - now;
            (low, high) = (Math.Min(low, period), Math.Max(high, period));
            now += period;
        }

        Assert.InRange(low, least * Ms, (least + 1) * Ms);
        Assert.InRange(high, (most - 1) * Ms, most * Ms);
    }

    [Fact]
    public void The_slower_of_our_wish_and_the_peers_need_is_the_interval_and_zero_means_silence()
    {
        BfdSession session = Up();
        session.Hear(Says(BfdState.Up, rx: 400), Ms);
        Assert.Equal(400_000u, session.TransmitInterval);
        session.Hear(Says(BfdState.Up, rx: 20), 2 * Ms);
        Assert.Equal(50_000u, session.TransmitInterval);
        Assert.True(session.NextDeadline <= 52 * Ms, "a shorter interval counts from the last packet");
        session.Hear(Says(BfdState.Up, rx: 0), 3 * Ms);
        Assert.Empty(session.Take(140 * Ms));
        session.Hear(Says(BfdState.Up, rx: 0, poll: true), 141 * Ms);
        Assert.True(Assert.Single(session.Take(141 * Ms)).Final); // an answer is no periodic packet
    }

    [Fact]
    public void Coming_up_polls_for_the_fast_interval_until_the_final_comes()
    {
        BfdSession session = Session(interval: 50);
        session.Hear(Says(BfdState.Down, yours: 0), 0);
        session.Take(0);
        session.Hear(Says(BfdState.Init), Ms);
        BfdControl poll = Assert.Single(session.Take(Ms));
        Assert.Equal((true, false, 50_000u), (poll.Poll, poll.Final, poll.DesiredMinTx));
        session.Hear(Says(BfdState.Up), 2 * Ms);
        Assert.True(Assert.Single(session.Take(60 * Ms)).Poll); // lost, perhaps: again
        session.Hear(Says(BfdState.Up, final: true), 61 * Ms);
        Assert.False(session.Polling);
        Assert.False(Assert.Single(session.Take(150 * Ms)).Poll);
    }

    [Fact]
    public void A_poll_is_answered_at_once_also_during_our_own_and_no_packet_carries_both_bits()
    {
        BfdSession session = Up();
        session.Configure(BfdParameters.Every(100, 3));
        session.Hear(Says(BfdState.Up, poll: true), Ms);
        List<BfdControl> packets = session.Take(Ms);
        Assert.Equal([(false, true), (true, false)], packets.Select(p => (p.Poll, p.Final)));
    }

    [Fact]
    public void A_longer_transmit_interval_and_a_shorter_receive_interval_wait_for_the_final()
    {
        BfdSession session = Up(interval: 50);
        session.Configure(new BfdParameters(200_000, 20_000, 3));
        Assert.Equal(50_000u, session.TransmitInterval);
        Assert.Equal(150 * Ms, session.DetectionTime);
        BfdControl poll = Assert.Single(session.Take(Ms));
        Assert.Equal((true, 200_000u, 20_000u), (poll.Poll, poll.DesiredMinTx, poll.RequiredMinRx));
        session.Hear(Says(BfdState.Up, tx: 20, final: true), 2 * Ms);
        Assert.Equal(200_000u, session.TransmitInterval);
        Assert.Equal(60 * Ms, session.DetectionTime);
    }

    [Fact]
    public void A_shorter_transmit_interval_and_a_longer_receive_interval_hold_at_once()
    {
        BfdSession session = Up(interval: 50);
        session.Configure(new BfdParameters(20_000, 200_000, 3));
        session.Hear(Says(BfdState.Up, rx: 10), Ms);
        Assert.Equal(20_000u, session.TransmitInterval);
        Assert.Equal(600 * Ms, session.DetectionTime);
    }

    [Fact]
    public void A_change_during_a_poll_waits_for_its_end_and_polls_again()
    {
        BfdSession session = Up();
        session.Configure(BfdParameters.Every(100, 3));
        session.Configure(BfdParameters.Every(200, 4));
        Assert.Equal(BfdParameters.Every(200, 4), session.Parameters);
        Assert.Equal(100_000u, Assert.Single(session.Take(Ms)).DesiredMinTx);
        session.Hear(Says(BfdState.Up, final: true), 2 * Ms);
        BfdControl second = Assert.Single(session.Take(2 * Ms));
        Assert.Equal((true, 200_000u, (byte)4), (second.Poll, second.DesiredMinTx, second.DetectMultiplier));
        session.Hear(Says(BfdState.Up, final: true), 3 * Ms);
        Assert.False(session.Polling);
    }

    [Fact]
    public void A_peer_in_demand_mode_gets_no_periodic_packets_but_answers_polls_and_news()
    {
        BfdSession session = Up();
        session.Hear(Says(BfdState.Up, demand: true), Ms);
        Assert.Empty(session.Take(140 * Ms));
        Assert.Equal(151 * Ms, session.NextDeadline); // only the detection timer is left
        session.Configure(BfdParameters.Every(100, 3));
        Assert.True(Assert.Single(session.Take(141 * Ms)).Poll);
        session.Hear(Says(BfdState.Up, demand: true, final: true, poll: true), 142 * Ms);
        Assert.True(Assert.Single(session.Take(142 * Ms)).Final);
        session.SetAdminDown(true, 143 * Ms);
        Assert.Equal(BfdState.AdminDown, Assert.Single(session.Take(143 * Ms)).State);
    }

    [Fact]
    public void Admin_down_is_told_at_once_keeps_it_down_and_ends_without_a_trace()
    {
        BfdSession session = Up();
        Assert.True(session.SetAdminDown(true, Ms));
        Assert.False(session.SetAdminDown(true, Ms));
        BfdControl said = Assert.Single(session.Take(Ms));
        Assert.Equal((BfdState.AdminDown, BfdDiagnostic.AdministrativelyDown, 9u), (said.State, said.Diagnostic, said.YourDiscriminator));
        Assert.Equal(BfdDiscard.AdminDown, session.Hear(Says(BfdState.Down), 2 * Ms));
        Assert.Equal(BfdState.AdminDown, session.State);
        session.Expire(Second);
        Assert.True(session.SetAdminDown(false, Second));
        Assert.Equal((BfdState.Down, BfdDiagnostic.None), (session.State, session.Diagnostic));
        session.Hear(Says(BfdState.Down, yours: 0), Second);
        session.Hear(Says(BfdState.Init), Second);
        Assert.Equal(BfdState.Up, session.State);
    }

    [Fact]
    public void A_peer_that_restarted_with_another_discriminator_is_taken_up_again()
    {
        BfdSession session = Up();
        session.Hear(Says(BfdState.Down, yours: 0, mine: 77), Ms);
        Assert.Equal((BfdState.Down, 77u), (session.State, session.RemoteDiscriminator));
        session.Hear(Says(BfdState.Down, mine: 77), 2 * Ms);
        session.Hear(Says(BfdState.Init, mine: 77), 3 * Ms);
        Assert.Equal(BfdState.Up, session.State);
    }

    [Fact]
    public void Credit_for_our_own_stall_is_bounded_by_the_detection_time_and_used_up_by_silence_only()
    {
        BfdSession session = Up(); // heard at 0, expires at 150 ms
        Assert.Equal(0, session.Credit(20 * Ms, 100 * Ms)); // far from expiring
        Assert.Equal(70 * Ms, session.Credit(70 * Ms, 150 * Ms));
        Assert.False(session.Expire(219 * Ms));
        Assert.Equal(80 * Ms, session.Credit(500 * Ms, 220 * Ms)); // what was left of 150
        Assert.Equal(0, session.Credit(500 * Ms, 299 * Ms));
        Assert.True(session.Expire(300 * Ms));
        Assert.Equal(150 * Ms, session.CreditGiven);
        Assert.Equal(0, session.Credit(500 * Ms, 301 * Ms)); // down is down
    }
}
