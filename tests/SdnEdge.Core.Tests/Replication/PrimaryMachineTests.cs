using SdnEdge.Core.Replication;
using Xunit;

namespace SdnEdge.Core.Tests.Replication;

/// <summary>When a write is answered, and how a mode is switched.</summary>
public sealed class PrimaryMachineTests
{
    [Fact]
    public void Async_answers_a_write_at_once_and_a_flush_when_it_is_durable_here()
    {
        PrimaryState state = new PrimaryStory().Write(3, synced: false).State;
        Assert.Equal((3ul, 0ul), (state.WriteLimit, state.BarrierLimit));
        (state, _) = PrimaryMachine.Step(state, new LocalSynced(2), 0);
        Assert.Equal((3ul, 2ul), (state.WriteLimit, state.BarrierLimit));
    }

    [Fact]
    public void Semantic_answers_a_write_at_once_and_a_flush_when_both_sites_have_it()
    {
        PrimaryStory story = new PrimaryStory(ReplicationMode.Semantic).Connect().Write(4).Take(new Acked(4, 3));
        Assert.Equal((4ul, 3ul), (story.State.WriteLimit, story.State.BarrierLimit));
    }

    [Fact]
    public void Sync_answers_what_is_durable_at_both_sites()
    {
        PrimaryStory story = new PrimaryStory(ReplicationMode.Sync).Connect().Write(4, synced: false).Ack();
        Assert.Equal((0ul, 0ul), (story.State.WriteLimit, story.State.BarrierLimit));
        story.Take(new LocalSynced(4));
        Assert.Equal((4ul, 4ul), (story.State.WriteLimit, story.State.BarrierLimit));
    }

    [Fact]
    public void A_switch_to_sync_holds_from_its_sequence_on_and_is_reached_when_the_replica_has_proved_it()
    {
        PrimaryStory story = new PrimaryStory().Connect().Write(8).Take(new ModeAsked(77, ReplicationMode.Sync));
        Assert.Equal(ReplicationMode.Sync, story.Only<FlipMode>().Mode);
        story.Take(new ModeFlipped(new LogPoint(9, 1, 9 * 31), 7));

        // The ninth was written before the switch: it is answered as async writes are. The tenth is not.
        story.Write(2);
        Assert.Equal(9ul, story.State.WriteLimit);
        Assert.False(story.Has<ModeReached>());
        story.Take(new Acked(9, 9));
        Assert.False(story.Has<ModeReached>());
        story.Take(new ReplicaProved(new DrainProof(new LogPoint(9, 1, 9 * 31), 1, 7)));
        Assert.Equal(new ModeReached(77, ReplicationMode.Sync, 9), story.Only<ModeReached>());
        Assert.True(story.State.IsInSync);
        Assert.Equal(ReplicationMode.Sync, story.State.OnDisk.Mode);
        story.Ack();
        Assert.Equal(story.State.Last, story.State.WriteLimit);
    }

    [Fact]
    public void Other_bytes_at_the_replica_are_never_in_sync()
    {
        PrimaryStory story = new PrimaryStory().Connect().Write(8).Ack().Take(new ModeAsked(1, ReplicationMode.Sync)).Flip(root: 7,
            replicaRoot: 8);
        Assert.False(story.Has<ModeReached>());
        Assert.Contains("content root", story.Only<RaiseAlarm>().Detail, StringComparison.Ordinal);
        Assert.False(story.State.IsInSync);
    }

    [Fact]
    public void A_switch_waits_until_the_backlog_is_a_quarter_of_what_the_link_has_on_its_way()
    {
        PrimaryStory story = new PrimaryStory().Connect().Take(new LinkMeasured(40 * PrimaryStory.Ms, 100_000_000));
        Assert.Equal(1_000_000, PrimaryMachine.SwitchBacklog(story.State));
        story.Write(1000).Take(new ModeAsked(1, ReplicationMode.Sync));
        Assert.False(story.Has<FlipMode>());
        Assert.Equal(1000ul, story.State.WriteLimit);
        for (ulong i = 100; i <= 700; i += 100) story.Take(new Acked(i, i));

        // Stretches are counted whole, so that a lag is overstated, never understated: nothing is known to be there before the end of one.
        Assert.False(story.Has<FlipMode>());
        story.Take(new Acked(1000, 900));
        Assert.True(story.Has<FlipMode>());
    }

    [Fact]
    public void Back_to_async_is_at_once_also_for_what_waits()
    {
        PrimaryStory story = new PrimaryStory(ReplicationMode.Sync).Connect().Write(5);
        Assert.Equal(0ul, story.State.WriteLimit);
        story.Take(new ModeAsked(3, ReplicationMode.Async));
        Assert.Equal(5ul, story.State.WriteLimit);
        Assert.Equal(3, story.Only<ModeReached>().Ticket);
        Assert.Equal(ReplicationMode.Async, story.State.OnDisk.Mode);
    }

    [Fact]
    public void A_switch_that_does_not_converge_says_so_with_its_numbers_within_a_second()
    {
        PrimaryStory story = new PrimaryStory().Connect().Take(new LinkMeasured(20 * PrimaryStory.Ms, 1_000_000)).Write(2000);
        story.Take(new ModeAsked(1, ReplicationMode.Sync));
        long asked = story.Now;
        while (!story.Has<RaiseAlarm>() && story.Now < asked + (5000 * PrimaryStory.Ms))
        {
            story.Now += 10 * PrimaryStory.Ms;
            story.Write(20);
        }

        Assert.True(story.Now - asked <= 1000 * PrimaryStory.Ms, $"{(story.Now - asked) / PrimaryStory.Ms} ms");
        RaiseAlarm alarm = story.Only<RaiseAlarm>();
        Assert.Equal(ReplicationAlarm.NotConverging, alarm.Alarm);
        Assert.Contains("the link carries 1000000", alarm.Detail, StringComparison.Ordinal);

        // When it does after all, it goes on by itself.
        story.Ack();
        Assert.True(story.Has<FlipMode>());
        Assert.Contains(story.Commands, c => c is ClearAlarm { Alarm: ReplicationAlarm.NotConverging });
    }

    [Fact]
    public void A_drain_is_proved_when_the_replica_has_everything_and_says_the_same()
    {
        PrimaryStory story = new PrimaryStory().Connect().Write(6);
        var proof = new DrainProof(new LogPoint(6, 1, 5), 1, 99);
        story.Take(new DrainAsked(4, proof.Point, 99)).Take(new Acked(6, 5));
        Assert.False(story.Has<AskProof>());
        story.Ack();
        Assert.Equal(proof, story.Only<AskProof>().Proof);
        story.Take(new ReplicaProved(proof));
        Assert.Equal(new DrainProved(4, proof), story.Only<DrainProved>());

        story.Take(new DrainAsked(5, proof.Point, 99)).Take(new ReplicaProved(proof with { ContentRoot = 98 }));
        Assert.Contains("other bytes", story.Only<DrainRefused>().Reason, StringComparison.Ordinal);
        story.Take(new DrainAsked(6, proof.Point, 99)).Write();
        Assert.Contains(story.Commands.OfType<DrainRefused>(), r => r.Ticket == 6);
    }

    [Fact]
    public void Stop_lets_writes_wait_while_the_replica_is_gone()
    {
        PrimaryStory story = new PrimaryStory(ReplicationMode.Sync, new() { PeerGone = PeerGoneAction.Stop }).Connect().Write(2)
            .Take(new LinkClosed("cut")).Wait(60_000);
        Assert.Equal(0ul, story.State.WriteLimit);
        Assert.Equal(ReplicationAlarm.PeerGone, story.Only<RaiseAlarm>().Alarm);
        Assert.False(story.Has<ReportStale>());
        story.Take(new LinkOpened(0, 0)).Ack();
        Assert.Equal(2ul, story.State.WriteLimit);
        Assert.Contains(story.Commands, c => c is ClearAlarm { Alarm: ReplicationAlarm.PeerGone });
    }

    [Fact]
    public void Go_on_answers_nothing_unprotected_before_the_manager_has_it_on_disk()
    {
        PrimaryStory story = new PrimaryStory(ReplicationMode.Sync,
            new() { PeerGone = PeerGoneAction.GoOn }).Connect().Write(2).Take(new Acked(1, 1));
        story.Take(new LinkClosed("cut")).Wait(4_999);
        Assert.False(story.Has<ReportStale>());
        story.Wait(2_000);
        Assert.Equal(new StaleMark(1, 2), story.Commands.OfType<ReportStale>().First().Mark);
        Assert.Equal(1ul, story.State.WriteLimit);

        // On disk here before it was reported, and sent again until it is confirmed.
        Assert.True(story.Commands.FindIndex(c => c is WritePrimary) < story.Commands.FindIndex(c => c is ReportStale));
        Assert.True(story.Commands.OfType<ReportStale>().Count() >= 3);
        story.Take(new StaleConfirmed(7));
        Assert.Equal(1ul, story.State.WriteLimit);
        story.Take(new StaleConfirmed(1));
        Assert.Equal((2ul, Protection.Unprotected), (story.State.WriteLimit, story.State.Protection));
        Assert.Contains(story.Commands, c => c is RaiseAlarm { Alarm: ReplicationAlarm.Unprotected });

        // Back: armed, flipped, proved, and only then reported; protected when the manager has that.
        story.Write(3).Take(new LinkOpened(1, 1)).Ack();
        Assert.True(story.Has<FlipMode>());
        story.Flip();
        Assert.Equal(1ul, story.Only<ReportInSync>().Generation);
        Assert.Equal(Protection.Unprotected, story.State.Protection);
        Assert.Equal(ReplicationMode.Sync, story.State.InForce);
        story.Take(new InSyncConfirmed(1));
        Assert.Equal(Protection.Protected, story.State.Protection);
        Assert.Null(story.State.OnDisk.Stale);
        Assert.True(story.State.IsInSync);
    }

    [Fact]
    public void A_report_whose_end_is_under_way_is_made_anew_under_a_higher_number()
    {
        PrimaryStory story = new PrimaryStory(ReplicationMode.Sync, new() { PeerGone = PeerGoneAction.GoOn }).Connect().Write(2);
        story.Take(new LinkClosed("cut")).Wait(6_000).Take(new StaleConfirmed(1)).Take(new LinkOpened(0, 0)).Ack().Flip();
        Assert.True(story.Has<ReportInSync>());
        story.Take(new LinkClosed("cut")).Write(2).Wait(6_000);
        Assert.Equal(Protection.Reporting, story.State.Protection);
        Assert.Equal(2ul, story.State.WriteLimit);
        Assert.Equal(2ul, story.Commands.OfType<ReportStale>().Last().Mark.Generation);
        story.Take(new InSyncConfirmed(1));
        Assert.Equal((2ul, Protection.Reporting), (story.State.WriteLimit, story.State.Protection));
        story.Take(new StaleConfirmed(2));
        Assert.Equal(4ul, story.State.WriteLimit);
    }

    [Fact]
    public void After_a_crash_a_report_that_was_begun_is_finished_before_anything_is_answered()
    {
        var record = new PrimaryRecord(Guid.Empty, 1, ReplicationMode.Sync) { StaleGeneration = 3, Stale = new(3, 5) };
        PrimaryStory story = new PrimaryStory(policy: new() { PeerGone = PeerGoneAction.GoOn }, last: 9, record: record).Write();
        Assert.Equal(9ul, story.State.WriteLimit);
        story.Wait(10);
        Assert.Equal(new StaleMark(3, 5), story.Commands.OfType<ReportStale>().First().Mark);
        story.Take(new StaleConfirmed(3));

        // The replica has its time to come back; then the report that is in force lets the writes go on.
        Assert.Equal(9ul, story.State.WriteLimit);
        story.Wait(6_000);
        Assert.Equal(10ul, story.State.WriteLimit);
    }

    [Fact]
    public void A_record_that_cannot_be_written_is_an_alarm_and_nothing_is_answered_on_its_strength()
    {
        PrimaryStory story = new PrimaryStory(ReplicationMode.Sync, new() { PeerGone = PeerGoneAction.GoOn }).Connect().Write(2);
        story.DiskWorks = false;
        story.Take(new LinkClosed("cut")).Wait(8_000);
        Assert.False(story.Has<ReportStale>());
        Assert.Contains(story.Commands, c => c is RaiseAlarm { Alarm: ReplicationAlarm.RecordNotWritten });
        story.DiskWorks = true;
        story.Wait(2_000);
        Assert.True(story.Has<ReportStale>());
    }

    [Theory]
    [InlineData(LagAction.Slow)]
    [InlineData(LagAction.GoOn)]
    public void The_lag_has_an_alarm_first_and_then_its_policy(LagAction action)
    {
        var policy = new ReplicationPolicy { LagBytes = 100 * 4096, AtLagBound = action };
        PrimaryStory story = new PrimaryStory(policy: policy).Connect();
        for (int i = 0; i < 79; i++) Write(story);
        Assert.Empty(story.Commands.OfType<RaiseAlarm>());
        for (int i = 79; i < 90; i++) Write(story);
        Assert.Equal(ReplicationAlarm.LagNearBound, story.Only<RaiseAlarm>().Alarm);
        for (int i = 90; i < 120; i++) Write(story);
        Assert.Contains(story.Commands, c => c is RaiseAlarm { Alarm: ReplicationAlarm.LagAtBound });
        Assert.Equal(100ul, story.State.WriteLimit);
        Assert.Equal(100ul, story.State.BarrierLimit);
        if (action == LagAction.GoOn)
        {
            Assert.True(story.Has<ReportStale>());
            story.Take(new StaleConfirmed(1));
            Assert.Equal(120ul, story.State.WriteLimit);
            story.Ack();
            Assert.True(story.Has<ReportInSync>());
            story.Take(new InSyncConfirmed(1));
            Assert.Equal(Protection.Protected, story.State.Protection);
        }
        else
        {
            Assert.False(story.Has<ReportStale>());
            story.Take(new Acked(50, 50));
            Assert.Equal(120ul, story.State.WriteLimit);
        }

        static void Write(PrimaryStory story)
        {
            story.Now += 3 * PrimaryStory.Ms;
            story.Write();
        }
    }

    [Fact]
    public void A_lag_in_time_stops_the_answers_at_its_bound_and_not_before()
    {
        PrimaryStory story = new PrimaryStory(policy: new() { LagTime = 1_000_000_000, PeerGoneAfter = 1L << 60 }).Connect().Write();
        story.Wait(990).Write();
        Assert.Equal(2ul, story.State.WriteLimit);
        story.Wait(10).Write();
        Assert.Equal(2ul, story.State.WriteLimit);
        Assert.Equal([ReplicationAlarm.LagNearBound, ReplicationAlarm.LagAtBound], story.Commands.OfType<RaiseAlarm>().Select(r
            => r.Alarm));
        story.Take(new Acked(2, 2));
        Assert.Equal(3ul, story.State.WriteLimit);
    }

    [Fact]
    public void An_acknowledgement_of_what_was_never_written_is_ignored()
    {
        PrimaryStory story = new PrimaryStory(ReplicationMode.Sync).Connect().Write(2).Take(new Acked(9, 9)).Take(new Acked(1, 2));
        Assert.Equal(0ul, story.State.WriteLimit);
    }

    [Fact]
    public void The_lags_marks_stay_few_and_never_understate()
    {
        var marks = new LagMarks();
        for (ulong i = 1; i <= 100_000; i++) marks = marks.Append(i, (long)i * 5000, (long)i * 3_000_000);
        Assert.InRange(marks.Count, 1, 2048);
        for (ulong confirmed = 0; confirmed <= 100_000; confirmed += 777)
        {
            LagMarks at = marks.Confirm(confirmed);
            Assert.True(at.LagBytes >= (long)(100_000 - confirmed) * 5000);
            Assert.True(at.Within(1_000_000) <= confirmed + 200);
            Assert.True(at.Age(300_000_000_000) >= (long)(100_000 - confirmed - 1) * 3_000_000);
        }

        Assert.Equal(0, marks.Confirm(100_000).LagBytes);
    }
}
