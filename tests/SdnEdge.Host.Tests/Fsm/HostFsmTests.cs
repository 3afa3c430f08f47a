using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using Xunit;

namespace SdnEdge.Host.Tests.Fsm;

/// <summary>The orders, one by one: what is on disk before what.</summary>
public sealed class HostFsmTests
{
    private const MigrationRole Source = MigrationRole.Source, Target = MigrationRole.Target;

    [Fact]
    public void A_move_reads_like_this_at_the_source()
    {
        var m = new Machine(runs: true);
        m.Done(ServerOrder.Prepare, 1, Source);
        ServerReply stop = m.Done(ServerOrder.Stop, 1);
        Assert.Equal(ServerState.Paused, stop.State);
        m.Done(ServerOrder.Retire, 1);
        Assert.Equal(
        [
            "disk Running 1", "disk Offered 1", "answer prepare",
            "disk Stopping 1", "driver Stop", "driver HandOver", "answer stop", "disk Stopped 1",      // R4: the right goes first
            "disk Retiring 1", "driver Kill", "disk Away 1", "answer retire",                          // R7
        ], m.Log);
        Assert.Null(m.Disk.MayRun);
    }

    [Fact]
    public void A_move_reads_like_this_at_the_target()
    {
        var m = new Machine(runs: false);
        m.Done(ServerOrder.Prepare, 1, Target);
        ServerReply activate = m.Done(ServerOrder.Activate, 1);
        Assert.Equal(ServerState.Running, activate.State);
        Assert.Equal(
        [
            "disk Away 1", "disk Preparing 1", "driver PrepareIncoming", "disk Incoming 1", "answer prepare",
            "disk Starting 1", "driver Activate", "answer activate", "disk Running 1",                 // R6: the promise goes first
        ], m.Log);
        Assert.Equal((1, 1), (m.Disk.MayRun, m.Disk.RanEpoch));
    }

    [Fact]
    public void A_fail_over_reads_like_this_at_both_ends()
    {
        var source = new Machine(runs: true);
        Assert.Equal((EpochVerdict.Void, ServerState.Absent, false), Of(source.Done(ServerOrder.Fence, 1)));
        Assert.Equal(["disk Fencing 1", "driver Fence", "disk Fenced 1", "answer fence"], source.Log);   // R4, R5: the right goes first
        Assert.Equal((null, 1), (source.Disk.MayRun, source.Disk.VoidEpoch));
        Assert.Equal((EpochVerdict.Void, ServerState.Absent, true), Of(source.Done(ServerOrder.Fence, 1)));
        Assert.Equal("driver Fence", source.Log[^2]);                                                      // whatever came back meanwhile
        Assert.Equal(EpochVerdict.Void, source.Done(ServerOrder.Void, 1).Verdict);
        source.Done(ServerOrder.Retire, 1);
        Assert.Equal(HostPhase.Away, source.Disk.Phase);

        var target = new Machine(runs: false);
        Assert.Contains("prepare it", target.Refused(ServerOrder.Activate, 1).Detail, StringComparison.Ordinal);
        Assert.Equal(ServerState.Running, target.Cold(ServerOrder.Activate, 1).State);
        Assert.Equal(["disk Starting 1", "driver Activate", "answer activate", "disk Running 1"], target.Log[^4..]);   // R6
        Assert.True(target.Cold(ServerOrder.Activate, 1).Repeated);
        Assert.Equal(EpochVerdict.Ran, target.Done(ServerOrder.Void, 1).Verdict);

        static (EpochVerdict?, ServerState, bool) Of(ServerReply reply) => (reply.Verdict, reply.State, reply.Repeated);
    }

    // Whatever it was in the middle of: a fence is the end of it. Called off, it is started anew under the higher epoch, and not before.
    [Fact]
    public void A_fence_is_taken_in_any_phase_and_only_a_cold_resume_of_a_higher_epoch_runs_it_again()
    {
        foreach (ServerOrder[] before in (ServerOrder[][])[[], [ServerOrder.Prepare], [ServerOrder.Prepare, ServerOrder.Stop]])
        {
            var m = new Machine(runs: true);
            foreach (ServerOrder order in before) m.Done(order, 1, order == ServerOrder.Prepare ? Source : null);
            m.Broken = DriverCall.Fence;
            Assert.Equal(HostRefusalKind.DriverFailed, m.Refused(ServerOrder.Fence, 2).Kind);
            Assert.Equal((HostPhase.Fencing, null), (m.Disk.Phase, m.Disk.MayRun));
            m.Broken = null;
            m.Restart();
            m.Done(ServerOrder.Fence, 2);
            Assert.Equal(HostRefusalKind.StaleEpoch, m.Refused(ServerOrder.Resume, 1).Kind);
            Assert.NotEqual(HostRefusalKind.StaleEpoch, m.Refused(ServerOrder.Resume, 3).Kind);
            Assert.Null(m.Look());
            Assert.Equal(ServerState.Running, m.Cold(ServerOrder.Resume, 4).State);
            Assert.Equal((4, 4, 2), (m.Disk.MayRun, m.Disk.RanEpoch, m.Disk.VoidEpoch));
            Assert.Equal(HostRefusalKind.WrongState, m.Refused(ServerOrder.Fence, 4).Kind);
        }

        var target = new Machine(runs: false) { Does = ServerState.Paused };
        Assert.Contains("where nothing should be", ((HostRefusal)target.Order(ServerOrder.Activate, 1, cold: true)).Detail,
            StringComparison.Ordinal);
        target.Does = ServerState.Absent;
        target.Done(ServerOrder.Void, 2);
        Assert.Equal(HostRefusalKind.VoidEpoch, ((HostRefusal)target.Order(ServerOrder.Activate, 2, cold: true)).Kind);
    }

    [Fact]
    public void A_hand_over_that_cannot_be_undone_is_an_order_of_its_own_and_forbids_resume()
    {
        var m = new Machine(runs: true, undoable: false);
        m.Done(ServerOrder.Prepare, 1, Source);
        Assert.Equal(HostRefusalKind.WrongState, m.Refused(ServerOrder.HandOver, 1).Kind);
        m.Done(ServerOrder.Stop, 1);
        m.Log.Clear();
        m.Done(ServerOrder.HandOver, 1);
        Assert.True(m.Done(ServerOrder.HandOver, 1).Repeated);
        Assert.Equal(["disk HandingOver 1", "driver HandOver", "answer hand-over", "disk HandedOver 1", "answer hand-over repeated"],
            m.Log);
        Assert.Contains("cannot be undone", m.Refused(ServerOrder.Resume, 2).Detail, StringComparison.Ordinal);
        var undoable = new Machine(runs: true);
        undoable.Done(ServerOrder.Prepare, 1, Source);
        undoable.Done(ServerOrder.Stop, 1);
        Assert.Contains("part of stop", undoable.Refused(ServerOrder.HandOver, 1).Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void R1_an_older_epoch_is_refused_and_a_higher_one_is_on_disk_before_any_answer_also_a_refusal()
    {
        var m = new Machine(runs: true);
        m.Done(ServerOrder.Prepare, 5, Source);
        foreach (ServerOrder order in Enum.GetValues<ServerOrder>())
        {
            if (order != ServerOrder.Void) Assert.Equal(HostRefusalKind.StaleEpoch,
                m.Refused(order, 4, order == ServerOrder.Prepare ? Source : null).Kind);
        }

        m.Log.Clear();
        Assert.Equal(HostRefusalKind.WrongState, m.Refused(ServerOrder.Activate, 9).Kind);
        Assert.Equal(["disk Offered 9", "refuse WrongState"], m.Log);
        Assert.Equal(HostRefusalKind.StaleEpoch, m.Refused(ServerOrder.Stop, 5).Kind);
        m.Broken = DriverCall.Look;
        Assert.Equal(HostRefusalKind.DriverFailed, m.Refused(ServerOrder.Prepare, 11, Source).Kind);
        Assert.Equal(11, m.Disk.Epoch);
    }

    // No right changes by it, and no epoch: what may run here runs, and nothing else.
    [Fact]
    public void Start_runs_what_may_run_here_and_changes_no_right()
    {
        var m = new Machine(runs: true) { Does = ServerState.Absent };
        Assert.Contains("send 0", m.Refused(ServerOrder.Start, 1).Detail, StringComparison.Ordinal);
        Assert.Equal(ServerState.Running, m.Done(ServerOrder.Start, 0).State);
        Assert.Equal(["refuse WrongState", "driver Resume", "answer start"], m.Log);
        Assert.True(m.Done(ServerOrder.Start, 0).Repeated);
        Assert.Equal(HostRecord.First("vs", runs: true), m.Disk);

        // It has died, and a manager has been refused meanwhile: the epoch that gave the right still does.
        m.Refused(ServerOrder.Activate, 7);
        m.Does = ServerState.Absent;
        m.Done(ServerOrder.Start, 0);
        Assert.Equal((7, 0), (m.Disk.Epoch, m.Disk.MayRun));

        m.Done(ServerOrder.Prepare, 8, Source);
        Assert.Contains("a migration has it in its hands", m.Refused(ServerOrder.Start, 8).Detail, StringComparison.Ordinal);
        Assert.Contains("may not run here", new Machine(runs: false).Refused(ServerOrder.Start, 0).Detail, StringComparison.Ordinal);
    }

    // The agent was killed, or the driver failed, between the promise and the run; and no manager knows of it any more.
    [Theory]
    [InlineData(MigrationRole.Target, DriverCall.Activate)]
    [InlineData(MigrationRole.Source, DriverCall.Resume)]
    public void Start_finishes_what_was_promised_and_not_done(MigrationRole role, DriverCall call)
    {
        var m = new Machine(runs: role == MigrationRole.Source);
        ServerOrder order = role == MigrationRole.Target ? ServerOrder.Activate : ServerOrder.Resume;
        m.Done(ServerOrder.Prepare, 1, role);
        if (role == MigrationRole.Source) m.Done(ServerOrder.Stop, 1);
        long epoch = role == MigrationRole.Target ? 1 : 2;
        m.Broken = call;
        m.Refused(order, epoch);
        Assert.Contains("and so does start", HostDiagnosis.Of(m.Disk, m.Does, null), StringComparison.Ordinal);
        HostPhase unfinished = m.Disk.Phase;
        Assert.Equal(role == MigrationRole.Target ? HostPhase.Starting : HostPhase.Resuming, unfinished);
        (m.Broken, HostRecord promised) = (null, m.Disk);
        Assert.Contains($"send {epoch}", m.Refused(ServerOrder.Start, epoch + 1).Detail, StringComparison.Ordinal);
        Assert.Equal(promised, m.Disk);
        m.Log.Clear();
        Assert.Equal(ServerState.Running, m.Done(ServerOrder.Start, epoch).State);
        Assert.Equal([$"driver {call}", "answer start", $"disk Running {epoch}"], m.Log);
        Assert.Equal(promised with { Phase = HostPhase.Running }, m.Disk);
        Assert.True(m.Done(ServerOrder.Start, epoch).Repeated);
        Assert.True(m.Done(order, epoch).Repeated);
    }

    [Fact]
    public void R2_an_undo_carries_a_higher_epoch_than_what_it_undoes()
    {
        var source = new Machine(runs: true);
        source.Done(ServerOrder.Prepare, 1, Source);
        source.Done(ServerOrder.Stop, 1);
        Assert.Contains("R2", source.Refused(ServerOrder.Resume, 1).Detail, StringComparison.Ordinal);
        source.Log.Clear();
        source.Done(ServerOrder.Resume, 2);
        Assert.Equal(["disk Resuming 2", "driver Resume", "answer resume", "disk Running 2"], source.Log);
        Assert.True(source.Done(ServerOrder.Resume, 2).Repeated);
        Assert.Equal(HostRefusalKind.StaleEpoch, source.Refused(ServerOrder.Stop, 1).Kind);
        var target = new Machine(runs: false);
        target.Done(ServerOrder.Prepare, 1, Target);
        Assert.Contains("R2", target.Refused(ServerOrder.Cancel, 1).Detail, StringComparison.Ordinal);
        target.Done(ServerOrder.Cancel, 2);
        Assert.True(target.Done(ServerOrder.Cancel, 2).Repeated);
        Assert.Equal((HostPhase.Away, ServerState.Absent), (target.Disk.Phase, target.Does));
        Assert.Equal(HostRefusalKind.StaleEpoch, target.Refused(ServerOrder.Activate, 1).Kind);
    }

    [Fact]
    public void R3_an_undo_may_come_to_a_host_that_was_never_asked()
    {
        var source = new Machine(runs: true);
        source.Log.Clear();
        source.Done(ServerOrder.Resume, 2);
        Assert.DoesNotContain("driver Resume", source.Log);
        Assert.Equal((2, 2), (source.Disk.MayRun, source.Disk.Epoch));
        Assert.Equal(HostRefusalKind.StaleEpoch, source.Refused(ServerOrder.Prepare, 1, Source).Kind);
        var target = new Machine(runs: false);
        target.Done(ServerOrder.Cancel, 2);
        Assert.Equal(HostRefusalKind.StaleEpoch, target.Refused(ServerOrder.Prepare, 1, Target).Kind);
    }

    [Fact]
    public void R4_without_its_record_nothing_is_stopped_started_or_resumed()
    {
        var source = new Machine(runs: true);
        source.Done(ServerOrder.Prepare, 1, Source);
        source.DiskFull = true;
        source.Log.Clear();
        HostRefusal refused = source.Refused(ServerOrder.Stop, 1);
        Assert.Equal((HostRefusalKind.StoreFailed, "no space left"), (refused.Kind, refused.Detail));
        Assert.Equal(["refuse StoreFailed"], source.Log);
        Assert.Equal((ServerState.Running, "no space left"), (source.Does, source.Server.Fault));
        source.DiskFull = false;
        source.Done(ServerOrder.Stop, 1);
        Assert.Null(source.Server.Fault);
        var target = new Machine(runs: false);
        target.Done(ServerOrder.Prepare, 1, Target);
        target.DiskFull = true;
        Assert.Equal(HostRefusalKind.StoreFailed, target.Refused(ServerOrder.Activate, 1).Kind);
        Assert.Equal(ServerState.Incoming, target.Does);
    }

    [Fact]
    public void R5_void_is_answered_for_ever_and_so_is_ran()
    {
        var m = new Machine(runs: false);
        m.Done(ServerOrder.Prepare, 1, Target);
        Assert.Equal(EpochVerdict.Void, m.Done(ServerOrder.Void, 1).Verdict);
        Assert.Equal(HostRefusalKind.VoidEpoch, m.Refused(ServerOrder.Activate, 1).Kind);
        Assert.Equal(HostRefusalKind.VoidEpoch, m.Refused(ServerOrder.Prepare, 1, Target).Kind);
        m.Restart();
        ServerReply again = m.Done(ServerOrder.Void, 1);
        Assert.Equal((EpochVerdict.Void, true), (again.Verdict!.Value, again.Repeated));
        m.Done(ServerOrder.Cancel, 2);
        m.Done(ServerOrder.Prepare, 3, Target);
        m.Done(ServerOrder.Activate, 3);
        Assert.Equal(EpochVerdict.Ran, m.Done(ServerOrder.Void, 3).Verdict);
        Assert.Equal(EpochVerdict.Void, m.Done(ServerOrder.Void, 1).Verdict);
        m.Restart();
        Assert.Equal(EpochVerdict.Ran, m.Done(ServerOrder.Void, 3).Verdict);
        Assert.Equal(EpochVerdict.Void, m.Done(ServerOrder.Void, 1).Verdict);
        Assert.Equal(ServerState.Running, m.Does);
    }

    // Of two servers one was void and the other ran: both are granted the target anew, with a higher epoch. Found by the simulation of the
    // hand-over: both refused, for ever.
    [Fact]
    public void R5_a_target_that_is_granted_a_higher_epoch_in_the_same_migration_activates_whether_it_ran_or_said_void()
    {
        var voided = new Machine(runs: false);
        voided.Done(ServerOrder.Prepare, 1, Target);
        voided.Done(ServerOrder.Void, 1);
        voided.Log.Clear();
        Assert.Equal(ServerState.Running, voided.Done(ServerOrder.Activate, 2).State);
        Assert.Equal(["disk Incoming 2", "disk Starting 2", "driver Activate", "answer activate", "disk Running 2"], voided.Log);
        Assert.Equal(EpochVerdict.Void, voided.Done(ServerOrder.Void, 1).Verdict);

        var ran = new Machine(runs: false);
        ran.Done(ServerOrder.Prepare, 1, Target);
        ran.Done(ServerOrder.Activate, 1);
        ran.Log.Clear();
        Assert.False(ran.Done(ServerOrder.Activate, 2).Repeated);
        Assert.DoesNotContain("driver Activate", ran.Log);
        Assert.Equal((2, 2, HostPhase.Running), (ran.Disk.MayRun, ran.Disk.RanEpoch, ran.Disk.Phase));
        Assert.True(ran.Done(ServerOrder.Activate, 2).Repeated);
        Assert.Equal(HostRefusalKind.WrongState, ran.Refused(ServerOrder.Activate, 3, migration: "another").Kind);
    }

    [Fact]
    public void R5_what_was_void_is_run_under_a_new_grant_of_the_same_migration_without_another_prepare()
    {
        var m = new Machine(runs: false);
        m.Done(ServerOrder.Prepare, 1, MigrationRole.Target);
        Assert.Equal(HostRefusalKind.WrongState, m.Refused(ServerOrder.Activate, 2).Kind);
        Assert.Equal(EpochVerdict.Void, m.Done(ServerOrder.Void, 1).Verdict);
        Assert.Equal(ServerState.Running, m.Done(ServerOrder.Activate, 2).State);
        Assert.Equal((2, 2L), (m.Disk.RanEpoch, m.Disk.MayRun));

        // One that ran the epoch goes on under the new one.
        Assert.Equal(ServerState.Running, m.Done(ServerOrder.Activate, 3).State);
        Assert.Equal((3, 3L), (m.Disk.RanEpoch, m.Disk.MayRun));
        Assert.Equal("driver Activate", Assert.Single(m.Log, l => l.StartsWith("driver A", StringComparison.Ordinal)));
    }

    [Fact]
    public void R6_a_promise_that_was_not_kept_is_ran_and_activate_again_is_a_cold_start()
    {
        var m = new Machine(runs: false);
        m.Done(ServerOrder.Prepare, 1, Target);
        m.Broken = DriverCall.Activate;
        Assert.Equal((HostRefusalKind.DriverFailed, "it broke"),
            (m.Refused(ServerOrder.Activate, 1).Kind, m.Refused(ServerOrder.Activate, 1).Detail));
        Assert.Equal(EpochVerdict.Ran, m.Done(ServerOrder.Void, 1).Verdict);
        Assert.Contains("says ran", m.Refused(ServerOrder.Cancel, 2).Detail, StringComparison.Ordinal);
        m.Broken = null;
        Assert.Equal(HostRefusalKind.StaleEpoch, m.Refused(ServerOrder.Activate, 1).Kind);   // the cancel of 2 was seen: 1 is burnt

        m = new Machine(runs: false);
        m.Done(ServerOrder.Prepare, 1, Target);
        m.Done(ServerOrder.Activate, 1);
        Assert.True(m.Done(ServerOrder.Activate, 1).Repeated);
        m.Does = ServerState.Absent;
        m.Log.Clear();
        Assert.False(m.Done(ServerOrder.Activate, 1).Repeated);
        Assert.Equal(["driver Activate", "answer activate"], m.Log);
    }

    // Found by the model of the hand-over: a prepare that came late made an empty guest wait, and activate promised to run that.
    [Fact]
    public void R6_a_late_prepare_puts_nothing_in_the_place_of_what_died_at_the_target()
    {
        var m = new Machine(runs: false);
        m.Done(ServerOrder.Prepare, 1, Target);
        Assert.True(m.Done(ServerOrder.Prepare, 1, Target).Repeated);
        m.Does = ServerState.Absent;
        m.Log.Clear();
        Assert.Contains("not expected a second time", m.Refused(ServerOrder.Prepare, 1, Target).Detail, StringComparison.Ordinal);
        Assert.DoesNotContain("driver PrepareIncoming", m.Log);
        Assert.Equal(HostRefusalKind.WrongState, m.Refused(ServerOrder.Activate, 1).Kind);
        Assert.Equal(EpochVerdict.Void, m.Done(ServerOrder.Void, 1).Verdict);

        // The next migration expects it again; so does one that was interrupted before it was there.
        m.Done(ServerOrder.Cancel, 2);
        m.Done(ServerOrder.Prepare, 3, Target);
        Assert.Equal(ServerState.Incoming, m.Does);
    }

    [Fact]
    public void R6_nothing_is_promised_for_a_server_that_died_at_the_target_before_it_ran()
    {
        var m = new Machine(runs: false);
        m.Done(ServerOrder.Prepare, 1, Target);
        m.Does = ServerState.Absent;
        Assert.Equal(HostRefusalKind.WrongState, m.Refused(ServerOrder.Activate, 1).Kind);
        Assert.Equal((null, HostPhase.Incoming), (m.Disk.MayRun, m.Disk.Phase));
        Assert.Equal(EpochVerdict.Void, m.Done(ServerOrder.Void, 1).Verdict);

        // Where the source has nothing any more, there is nothing to go back to: it is started anew.
        m = new Machine(runs: false, undoable: false);
        m.Done(ServerOrder.Prepare, 1, Target);
        m.Does = ServerState.Absent;
        Assert.Equal(ServerState.Running, m.Done(ServerOrder.Activate, 1).State);
    }

    [Fact]
    public void R7_what_may_run_is_not_retired_and_what_was_stopped_is()
    {
        var m = new Machine(runs: true);
        Assert.Contains("may run here", m.Refused(ServerOrder.Retire, 1).Detail, StringComparison.Ordinal);
        m.Done(ServerOrder.Prepare, 2, Source);
        m.Done(ServerOrder.Stop, 2);
        m.Broken = DriverCall.Kill;
        m.Refused(ServerOrder.Retire, 2);
        m.Broken = null;
        Assert.Equal(ServerState.Absent, m.Done(ServerOrder.Retire, 2).State);
        Assert.True(m.Done(ServerOrder.Retire, 2).Repeated);
        m.Done(ServerOrder.Prepare, 3, Target);   // the way back
        m.Done(ServerOrder.Activate, 3);
        Assert.Equal(ServerState.Running, m.Does);
    }

    // Guards: the second line of Retire. Two hosts may run it, and the operator has said which one is right.
    [Theory]
    [InlineData(ServerState.Absent)]
    [InlineData(ServerState.Paused)]
    public void R7_a_right_to_run_that_is_not_used_is_taken_away_by_a_higher_epoch(ServerState does)
    {
        var m = new Machine(runs: false);
        m.Done(ServerOrder.Prepare, 5, Target);
        m.Done(ServerOrder.Activate, 5);
        Assert.Contains("only what was stopped", m.Refused(ServerOrder.Retire, 5).Detail, StringComparison.Ordinal);
        Assert.Contains("and it runs", m.Refused(ServerOrder.Retire, 6).Detail, StringComparison.Ordinal);
        m.Does = does;
        m.Log.Clear();
        Assert.Equal(ServerState.Absent, m.Done(ServerOrder.Retire, 6).State);
        Assert.Equal(["disk Retiring 6", "driver Kill", "disk Away 6", "answer retire"], m.Log);
        Assert.Null(m.Disk.MayRun);
        m.Refused(ServerOrder.Activate, 6);
        m.Restart();
        Assert.True(m.Done(ServerOrder.Retire, 6).Repeated);
        m.Done(ServerOrder.Cancel, 7);
    }

    // A migration whose journal was lost is settled: every host says void of the epoch that was seen and of the next one, and the one after
    // that is granted. Whatever the lost manager may have on its way is refused from then on.
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void R5_after_a_void_of_the_next_epoch_only_a_higher_one_runs_and_it_runs_at_either_end(bool atTarget)
    {
        var source = new Machine(runs: true);
        var target = new Machine(runs: false);
        source.Done(ServerOrder.Prepare, 5, Source);
        target.Done(ServerOrder.Prepare, 5, Target);
        source.Done(ServerOrder.Stop, 5);
        foreach (Machine m in (Machine[])[source, target])
        {
            Assert.Equal(EpochVerdict.Void, m.Done(ServerOrder.Void, 5).Verdict);
            Assert.Equal(EpochVerdict.Void, m.Done(ServerOrder.Void, 6).Verdict);
            Assert.Equal(EpochVerdict.Void, m.Done(ServerOrder.Void, 5).Verdict);
            foreach (long late in (long[])[5, 6])
            {
                m.Refused(ServerOrder.Activate, late);
                m.Refused(ServerOrder.Resume, late);
            }
        }

        (Machine to, ServerOrder order) = atTarget ? (target, ServerOrder.Activate) : (source, ServerOrder.Resume);
        Assert.Equal(ServerState.Running, to.Done(order, 7).State);
        Assert.Equal(7, to.Disk.MayRun);
        if (atTarget) source.Done(ServerOrder.Retire, 7);
        else target.Done(ServerOrder.Cancel, 7);
        Assert.Null((atTarget ? source : target).Disk.MayRun);
        Assert.Equal(ServerState.Absent, (atTarget ? source : target).Does);
    }

    [Fact]
    public void A_driver_that_fails_leaves_the_order_undone_and_the_same_order_goes_on_where_it_failed()
    {
        var m = new Machine(runs: true);
        m.Done(ServerOrder.Prepare, 1, Source);
        m.Broken = DriverCall.HandOver;
        Assert.Equal(HostRefusalKind.DriverFailed, m.Refused(ServerOrder.Stop, 1).Kind);
        Assert.Equal(HostPhase.Stopping, m.Disk.Phase);
        Assert.Contains("unfinished", m.Look(), StringComparison.Ordinal);
        m.Broken = null;
        m.Log.Clear();
        Assert.False(m.Done(ServerOrder.Stop, 1).Repeated);
        Assert.Equal(["driver Stop", "driver HandOver", "answer stop", "disk Stopped 1"], m.Log);
        Assert.True(m.Done(ServerOrder.Stop, 1).Repeated);
        Assert.Null(m.Look());
    }

    [Fact]
    public void A_driver_that_claims_what_is_not_so_is_not_believed()
    {
        HostServer server = HostFsm.Start(HostRecord.First("vs", true) with { Epoch = 1, PhaseEpoch = 1, Phase = HostPhase.Stopping,
            MayRun = null }, true);
        (server, _) = HostFsm.Step(server, new OrderArrived(new HostOrder(1, ServerOrder.Stop, new ServerOrderRequest(1, "m"))), 0);
        (server, IReadOnlyList<HostCommand> commands) = HostFsm.Step(server, new DriverDone(ServerState.Running), 0);
        HostRefusal refusal = Assert.IsType<RefuseOrder>(Assert.Single(commands)).Refusal;
        Assert.Equal(HostRefusalKind.DriverFailed, refusal.Kind);
        Assert.Contains("seen running where it should be paused", refusal.Detail, StringComparison.Ordinal);
        Assert.Null(server.Current);
    }

    [Fact]
    public void The_next_order_waits_and_never_are_two_calls_open()
    {
        HostServer server = HostFsm.Start(HostRecord.First("vs", true), true);
        (server, IReadOnlyList<HostCommand> first) = HostFsm.Step(server, Prepare(1), 0);
        (server, IReadOnlyList<HostCommand> second) = HostFsm.Step(server, Prepare(2), 0);
        Assert.IsType<WriteRecord>(Assert.Single(first));
        Assert.Empty(second);
        for (int ticket = 3; ticket < 2 + HostFsm.MaxWaiting; ticket++) (server, _) = HostFsm.Step(server, Prepare(ticket), 0);
        (server, IReadOnlyList<HostCommand> full) = HostFsm.Step(server, Prepare(1000), 0);
        Assert.Equal(HostRefusalKind.Busy, Assert.IsType<RefuseOrder>(Assert.Single(full)).Refusal.Kind);

        (server, _) = HostFsm.Step(server, new RecordSynced(), 0);
        (server, _) = HostFsm.Step(server, new DriverDone(ServerState.Running), 0);
        (server, IReadOnlyList<HostCommand> done) = HostFsm.Step(server, new RecordSynced(), 0);
        Assert.Equal([1], done.OfType<AnswerOrder>().Select(a => a.Ticket));
        Assert.Equal(DriverCall.Look, Assert.Single(done.OfType<CallDriver>()).Call);   // the second has begun

        static OrderArrived Prepare(long ticket) => new(new HostOrder(ticket, ServerOrder.Prepare, new ServerOrderRequest(1, "m", Source)));
    }

    /// <summary>An undo in the middle of a long copy: the server goes on at once, not when the copy has ended.</summary>
    [Fact]
    public void A_resume_breaks_off_the_hand_over_that_it_undoes_and_no_other_call()
    {
        HostServer server = HostFsm.Start(HostRecord.First("vs", true) with { Epoch = 1, PhaseEpoch = 1, Phase = HostPhase.Stopping,
            MayRun = null }, true);
        (server, _) = Step(new OrderArrived(new HostOrder(1, ServerOrder.Stop, new ServerOrderRequest(1, "m"))));

        // The driver stops it: that is waited for. An order of the same epoch, or another one, undoes nothing.
        Assert.Empty(Step(Resume(2, 2)).Commands);
        Assert.Equal(DriverCall.HandOver, Assert.IsType<CallDriver>(Assert.Single(Step(new DriverDone(ServerState.Paused)).Commands)).Call);
        Assert.Empty(Step(Resume(3, 1)).Commands);
        Assert.Empty(Step(new OrderArrived(new HostOrder(4, ServerOrder.Retire, new ServerOrderRequest(2, "m")))).Commands);
        Assert.IsType<BreakOffCall>(Assert.Single(Step(Resume(5, 2)).Commands));

        // The stop is not done; the resume that came first is carried out.
        IReadOnlyList<HostCommand> after = Step(new DriverFailed("it was broken off")).Commands;
        Assert.Equal(1, Assert.IsType<RefuseOrder>(after[0]).Ticket);
        Assert.Equal(2, Assert.IsType<WriteRecord>(after[1]).Record.MayRun);
        Assert.Equal(DriverCall.Resume, Assert.IsType<CallDriver>(Assert.Single(Step(new RecordSynced()).Commands)).Call);

        (HostServer Server, IReadOnlyList<HostCommand> Commands) Step(HostInput input)
        {
            (server, IReadOnlyList<HostCommand> commands) = HostFsm.Step(server, input, 0);
            return (server, commands);
        }

        static OrderArrived Resume(long ticket, long epoch)
            => new(new HostOrder(ticket, ServerOrder.Resume, new ServerOrderRequest(epoch, "m")));
    }

    [Fact]
    public void A_record_that_cannot_be_used_takes_no_order_and_says_why()
    {
        HostServer server = HostFsm.Start(HostRecord.First("vs", false), true, "no order is taken: /x is damaged");
        foreach (ServerOrder order in Enum.GetValues<ServerOrder>())
        {
            (server, IReadOnlyList<HostCommand> commands) = HostFsm.Step(server,
                new OrderArrived(new HostOrder(1, order, new ServerOrderRequest(1, "m", Target))), 0);
            Assert.Equal(new HostRefusal(HostRefusalKind.Unusable, "no order is taken: /x is damaged"),
                Assert.IsType<RefuseOrder>(Assert.Single(commands)).Refusal);
        }

        Assert.Equal("no order is taken: /x is damaged", server.Fault);
    }

    [Fact]
    public void Prepare_looks_and_refuses_what_is_not_so()
    {
        var m = new Machine(runs: true);
        Assert.Contains("not the target", m.Refused(ServerOrder.Prepare, 1, Target).Detail, StringComparison.Ordinal);
        m.Does = ServerState.Paused;
        Assert.Contains("seen paused", m.Refused(ServerOrder.Prepare, 1, Source).Detail, StringComparison.Ordinal);
        var other = new Machine(runs: false);
        Assert.Contains("not the source", other.Refused(ServerOrder.Prepare, 1, Source).Detail, StringComparison.Ordinal);
        other.Does = ServerState.Running;
        Assert.Contains("without the right", other.Refused(ServerOrder.Prepare, 1, Target).Detail, StringComparison.Ordinal);
        other.Does = ServerState.Paused;
        Assert.Contains("retire it first", other.Refused(ServerOrder.Prepare, 1, Target).Detail, StringComparison.Ordinal);
        other.Done(ServerOrder.Retire, 1);
        other.Done(ServerOrder.Prepare, 1, Target);
        Assert.True(other.Done(ServerOrder.Prepare, 1, Target).Repeated);
        other.Done(ServerOrder.Prepare, 2, Target);
        Assert.Equal(HostRefusalKind.StaleEpoch, other.Refused(ServerOrder.Activate, 1).Kind);
        Assert.Contains("prepared with this epoch", other.Refused(ServerOrder.Activate, 3, migration: "another").Detail,
            StringComparison.Ordinal);
    }

    [Fact]
    public void After_a_start_every_phase_with_every_state_matches_one_row_and_nothing_is_done()
    {
        foreach (HostPhase phase in Enum.GetValues<HostPhase>())
        {
            foreach (ServerState seen in Enum.GetValues<ServerState>())
            {
                Assert.Single(HostDiagnosis.Rows(phase, seen));
                bool right = HostRecord.GivesRight(phase);
                HostRecord record = HostRecord.First("vs", false) with { Epoch = 3, RanEpoch = 3, PhaseEpoch = 3, Phase = phase,
                    MayRun = right ? 3 : null };
                Assert.Null(record.Contradiction());
                (HostServer server, IReadOnlyList<HostCommand> commands) = HostFsm.Step(HostFsm.Start(record, true), new ServerSeen(seen),
                    0);
                Assert.Empty(commands);   // R4: no start or look resumes anything
                HostFinding finding = HostDiagnosis.Find(phase, seen);
                Assert.Equal(finding == HostFinding.AsRecorded, server.Fault is null);
                if (seen == ServerState.Running && !right) Assert.True(finding is HostFinding.RunsWithoutRight or HostFinding.Unfinished);
                if (seen == ServerState.Running && phase is HostPhase.Running) Assert.Equal(HostFinding.AsRecorded, finding);
            }
        }
    }
}
