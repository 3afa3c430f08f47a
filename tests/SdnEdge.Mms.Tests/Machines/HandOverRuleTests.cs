using SdnEdge.Core.Api;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>
/// The rules of the hand-over (docs/design.md) as far as the manager keeps them. R4 and R6 are the hosts'; R8 is in
/// <see cref="Drivers.ManagerServiceTests"/>. Each test says which line it guards; that line taken out makes it fail.
/// </summary>
public class HandOverRuleTests
{
    private static readonly ServerOrder[] s_forward = [ServerOrder.Prepare, ServerOrder.Stop, ServerOrder.Activate, ServerOrder.Retire];

    // Guards: ManagerMachine.Begin `Epoch + 1`, and `s.Epoch` in StageTable.Orders and Signals.
    [Fact]
    public void R1_every_command_from_prepare_on_carries_the_new_epoch()
    {
        Story story = Story.Of("s1", "s2").End();
        Assert.All(story.Asked.OfType<SendOrder>(), o => Assert.Equal(1, o.Request.Epoch));
        Assert.All(story.Asked.OfType<SendSignal>(), s => Assert.Equal(1, s.Request.Epoch));
        Assert.All(s_forward, order => Assert.Contains(story.Asked.OfType<SendOrder>(), o => o.Order == order));

        // The next migration of the group has a higher one yet, also where the one before was undone.
        ManagerState state = Story.Of("s1").Abort().End().State;
        Assert.Equal(2, state.GroupOf("shop").Epoch);
        state = ManagerMachine.Step(state, Plans.Request(Cutover.Together, Plans.Move(["s1"])) with { Id = "m2" }, 5, "t");
        Assert.Equal(3, state.Migrations["m2"].Current.Epoch);
        Assert.All(MoveMachine.Open(state.Migrations["m2"].Current).OfType<SendOrder>(), o => Assert.Equal(3, o.Request.Epoch));
    }

    // Guards: MoveMachine.Undo `Epoch = state.Epoch + 1`, and ManagerMachine.Own.
    [Theory]
    [InlineData(MoveStage.PrepareTarget)]
    [InlineData(MoveStage.PrepareSource)]
    [InlineData(MoveStage.Mirror)]
    [InlineData(MoveStage.Switch)]
    [InlineData(MoveStage.Stop)]
    public void R2_giving_up_is_one_record_that_grants_the_source_the_next_epoch_and_every_undo_carries_it(MoveStage stage)
    {
        Story story = Story.Of("s1", "s2").Until(stage);
        int records = story.Records.Count, asked = story.Asked.Count;
        story.Abort();
        Assert.Equal(records + 1, story.Records.Count);
        Assert.All(["s1", "s2"], s => Assert.Equal(new Ownership("site-a", 2), story.State.GroupOf("shop").Owners[s]));
        story.End();
        MoveCommand[] undo = [.. story.Asked.Skip(asked)];
        Assert.NotEmpty(undo.OfType<SendOrder>());
        Assert.All(undo.OfType<SendOrder>(), o => Assert.Equal(2, o.Request.Epoch));
        Assert.All(undo.OfType<SendSignal>(), s => Assert.Equal(2, s.Request.Epoch));
        Assert.Equal(2, story.State.GroupOf("shop").Epoch);
    }

    // Guards: MoveMachine.EnterOnly `SourcesAsked = true` (on record before anybody is asked, not when somebody has answered).
    [Fact]
    public void R3_undo_goes_to_everybody_who_may_have_been_asked_answered_or_not()
    {
        // Nobody has answered, all may have been asked.
        Story story = Story.Of("s1", "s2").Until(MoveStage.PrepareSource).Abort();
        story.End();
        string[] undone = [.. story.Asked.OfType<SendOrder>().Where(o => o.Request.Epoch ==
            2).Select(o => $"{o.Order} {o.Server} {o.Host}").Order()];
        Assert.Equal(["Cancel s1 host-b", "Cancel s2 host-b", "Resume s1 host-a", "Resume s2 host-a"], undone);
        Assert.Equal(["pe-a", "pe-b"], story.Asked.OfType<SendSignal>().Where(s => s.Signal == SignalKind.Abort).Select(s => s.Pe).Order());

        // In a plan of the first version the sources were not asked yet: they are left alone.
        story = new Story().Ask(Plans.Request(Cutover.Together, Plans.Move(["s1"]) with { Ahead = false })).Abort().End();
        Assert.DoesNotContain(story.Asked.OfType<SendOrder>(), o => o.Order == ServerOrder.Resume);
        Assert.DoesNotContain(story.Asked.OfType<SendSignal>(), s => s.Pe == "pe-a");
    }

    // Guards: StageTable.Signals. Found by the simulation: an abort said how its tunnel was to be made, and each PE refused it for ever.
    [Fact]
    public void Every_signal_says_what_belongs_to_it_and_nothing_else()
    {
        Story[] stories = [Story.Of("s1", "s2").End(), Story.Of("s1").Until(MoveStage.Stop).Abort().End()];
        Assert.All(stories.SelectMany(s => s.Asked).OfType<SendSignal>(),
            s => Assert.Empty(SignalChecks.Check(s.Path, s.Signal, s.Request)));
        Assert.Contains(stories[1].Asked, c => c is SendSignal { Signal: SignalKind.Abort, Request.Prefixes.Count: > 0 });
    }

    // Guards: the commands of StageTable's rows of undo, each of them: as-before needs the answer of all.
    [Fact]
    public void R3_as_before_is_written_when_all_have_answered_and_not_earlier()
    {
        Story all = new Story().Ask(Plans.Request(Cutover.Together,
            Plans.Move(["s1", "s2"], paths: 2))).Until(MoveStage.Stop).Abort().End();
        string[] undo = [.. all.Asked.Where(c => c is SendOrder { Request.Epoch: 2 }
            or SendSignal { Signal: SignalKind.Abort }).Select(c => c.Key)];
        Assert.Equal(8, undo.Length);
        foreach (string silent in undo)
        {
            Story story = new Story().Ask(Plans.Request(Cutover.Together,
                Plans.Move(["s1", "s2"], paths: 2))).Until(MoveStage.Stop).Abort();
            while (story.Open.FirstOrDefault(c => c.Key != silent) is { } next) story.Feed(Plans.Answer(next));
            Assert.Null(story.Migration.Outcome);
            Assert.Equal(silent, Assert.Single(story.Open).Key);
            Assert.Equal(MoveOutcome.AsBefore, story.End().Move.Outcome);
        }
    }

    // Guards: the order of StageTable's rows of undo.
    [Fact]
    public void R3_the_servers_run_at_the_source_before_its_PE_switches_back_and_the_targets_hold_is_last()
    {
        Story story = Story.Of("s1").Until(MoveStage.Stop).Abort();
        Assert.Contains(story.Open, c => c is SendOrder { Order: ServerOrder.Resume });
        Assert.Contains(story.Open, c => c is SendOrder { Order: ServerOrder.Cancel });
        Assert.DoesNotContain(story.Open, c => c is SendSignal);
        story.Done("resume");
        Assert.Contains(story.Open, c => c is SendSignal { Pe: "pe-a", Signal: SignalKind.Abort });
        Assert.DoesNotContain(story.Open, c => c is SendSignal { Pe: "pe-b" });
        story.Done("abort m1.1 pe-a");
        Assert.DoesNotContain(story.Open, c => c is SendSignal);
        story.Done("last-packet");
        Assert.Contains(story.Open, c => c is SendSignal { Pe: "pe-b", Signal: SignalKind.Abort });
    }

    // Guards: MoveMachine.WhyNoAnswer. Stop is answered when paused was seen; release only after RESUME.
    [Theory]
    [InlineData(MoveStage.Stop, "stop s1", ServerState.Running)]
    [InlineData(MoveStage.Stop, "stop s1", ServerState.Unknown)]
    [InlineData(MoveStage.Activate, "activate s1", ServerState.Incoming)]
    [InlineData(MoveStage.Activate, "activate s1", ServerState.Paused)]
    public void An_answer_that_contradicts_what_was_ordered_is_none(MoveStage stage, string order, ServerState says)
    {
        Story story = Story.Of("s1").Until(stage);
        var right = (OrderDone)Plans.Answer(story.Command(order));
        MoveState before = story.Move;
        story.Feed(right with { Reply = right.Reply with { State = says } });
        Assert.Same(before, story.Move);
        story.Feed(right);
        Assert.NotSame(before, story.Move);
    }

    // Guards: StageTable's row Stop: each of its commands, and MoveMachine.EnterOnly `TargetOwns = true`.
    [Fact]
    public void The_pivot_is_one_record_and_no_target_is_told_to_activate_before_it()
    {
        foreach (string last in new[] { "stop s1", "stop s2", "holding" })
        {
            Story story = Story.Of("s1", "s2").Until(MoveStage.Stop);
            foreach (string other in new[] { "stop s1", "stop s2", "holding" }.Where(o => o != last)) story.Done(other);
            Assert.Equal(MoveStage.Stop, story.Move.Stage);
            Assert.False(story.Move.TargetOwns);
            Assert.DoesNotContain(story.State.GroupOf("shop").Owners, o => o.Value.Site == "site-b");
            Assert.DoesNotContain(story.Asked.OfType<SendOrder>(), o => o.Order == ServerOrder.Activate);
            int records = story.Records.Count;
            story.Done(last);
            Assert.Equal(records + 1, story.Records.Count);
            Assert.True(story.Move.TargetOwns);
            Assert.All(["s1", "s2"], s => Assert.Equal(new Ownership("site-b", 1), story.State.GroupOf("shop").Owners[s]));
            Assert.Equal(2, story.Open.OfType<SendOrder>().Count(o => o.Order == ServerOrder.Activate));
        }
    }

    // Guards: MoveMachine.Judge `allVoid`. The source is resumed when all targets have said void, and when one has not, never.
    [Fact]
    public void R5_the_source_runs_again_only_when_all_targets_said_for_ever_that_they_never_ran_it()
    {
        Story story = Story.Of("s1", "s2").Until(MoveStage.Activate).Abort();
        Assert.True(story.Move.TargetOwns);
        story.Done("void s1");
        Assert.Equal(MoveStage.Void, story.Move.Stage);
        Assert.DoesNotContain(story.Asked.OfType<SendOrder>(), o => o.Order == ServerOrder.Resume);

        int records = story.Records.Count;
        story.Done("void s2");
        Assert.Equal(records + 1, story.Records.Count);
        Assert.False(story.Move.TargetOwns);
        Assert.All(["s1", "s2"], s => Assert.Equal(new Ownership("site-a", 2), story.State.GroupOf("shop").Owners[s]));
        Assert.All(story.Open.OfType<SendOrder>(), o => Assert.Equal(2, o.Request.Epoch));
        Assert.Equal(MoveOutcome.AsBefore, story.End().Move.Outcome);
    }

    // Guards: the Void row has no deadline; Refuse, Abort and StageExpired do nothing there.
    [Fact]
    public void R5_a_target_that_does_not_answer_is_waited_for_for_ever()
    {
        Story story = Story.Of("s1").Until(MoveStage.Activate).Abort();
        MoveState waiting = story.Move;
        Assert.Equal(long.MaxValue, MoveMachine.Deadline(waiting));
        Assert.Equal(long.MaxValue, ManagerMachine.Deadline(story.Migration));
        story.Expire().Abort("really").Refuse("void s1", "busy").Feed(new Begin());
        Assert.Same(waiting, story.Move);
        story.Feed(new TakenUp());
        Assert.Equal("void s1 host-b 1", Assert.Single(story.Open).Key);
    }

    // Guards: MoveMachine.Judge `Verdicts = state.Verdicts.RemoveRange(voided)`, and MayAbort's look at the verdicts. Before, the verdicts
    // were
    // forgotten: the second refusal found void answered already, and the machine threw.
    [Fact]
    public void R5_a_target_that_said_that_it_ran_is_not_asked_again_and_nothing_goes_round_in_circles()
    {
        Story story = Story.Of("s1").Until(MoveStage.Activate).Refuse("activate s1", "no memory").Done("void s1", EpochVerdict.Ran);
        Assert.Equal(MoveStage.Activate, story.Move.Stage);
        Assert.Equal(1, story.Move.Epoch);
        MoveState waiting = story.Move;
        story.Refuse("activate s1", "no memory").Abort();
        Assert.Same(waiting, story.Move);
        Assert.Contains("for ever", MoveMachine.MayAbort(waiting));
        Assert.Equal(MoveOutcome.Moved, story.End().Move.Outcome);
    }

    // Guards: MoveMachine.Judge `voided.Length > 0 ? state.Epoch + 1`. What a host has voided it never runs: it needs a new grant.
    [Fact]
    public void R5_when_some_ran_and_some_did_not_all_go_on_under_a_new_epoch_at_the_target()
    {
        Story story = Story.Of("s1", "s2").Until(MoveStage.Activate).Abort().Done("void s1").Done("void s2", EpochVerdict.Ran);
        Assert.Equal(MoveStage.Activate, story.Move.Stage);
        Assert.True(story.Move.TargetOwns);
        Assert.All(["s1", "s2"], s => Assert.Equal(new Ownership("site-b", 2), story.State.GroupOf("shop").Owners[s]));
        Assert.Equal(["activate s1 host-b 2", "activate s2 host-b 2"], story.Open.OfType<SendOrder>().Select(c => c.Key));
        story.End();
        Assert.Equal(MigrationOutcome.Moved, story.Migration.Outcome);
        Assert.DoesNotContain(story.Asked.OfType<SendOrder>(), o => o.Order == ServerOrder.Resume);
    }

    // Guards: MoveMachine.RanAfterAll, its comparison of the key.
    [Fact]
    public void R5_the_answer_to_activate_that_comes_while_void_is_asked_says_that_it_runs()
    {
        Story story = Story.Of("s1", "s2").Until(MoveStage.Activate);
        var late = (OrderDone)Plans.Answer(story.Command("activate s1"));
        story.Abort();
        MoveState before = story.Move;
        story.Feed(late with { Key = "activate s1 host-b 0" }).Feed(late with { Reply = late.Reply with { State = ServerState.Incoming } });
        Assert.Same(before, story.Move);
        story.Feed(late);
        Assert.Contains("s1", story.Move.Running);
        Assert.Equal("void s2 host-b 1", Assert.Single(story.Open).Key);
        story.Done("void s2");
        Assert.True(story.Move.TargetOwns);
        Assert.Equal(2, story.Move.Epoch);
    }

    // Guards: MoveMachine.MayAbort `state.Running.Count > 0`.
    [Fact]
    public void When_some_run_at_the_target_an_abort_or_a_refusal_undoes_nothing()
    {
        Story story = Story.Of("s1", "s2").Until(MoveStage.Activate).Done("activate s2");
        MoveState before = story.Move;
        Assert.Contains("s2 runs at the target", MoveMachine.MayAbort(before));
        story.Abort().Refuse("activate s1");
        Assert.Same(before, story.Move);
        Assert.Equal(MoveOutcome.Moved, story.End().Move.Outcome);
    }

    // Guards: StageTable: Retire is asked meanwhile from Release on, and Activate's commands are what Release waits for.
    [Fact]
    public void R7_what_the_source_kept_goes_and_the_hold_is_released_only_when_all_run_at_the_target()
    {
        Story story = Story.Of("s1", "s2").Until(MoveStage.Activate).Done("activate s1");

        // A release may be asked before, to be carried out when the servers answer at the target.
        Assert.DoesNotContain(story.Asked, c => c is SendOrder { Order: ServerOrder.Retire }
            or SendSignal { Signal: SignalKind.Release, Request.AfterServers: false });
        story.Done("activate s2");
        Assert.Equal(2, story.Open.Count(c => c is SendOrder { Order: ServerOrder.Retire }));
        Assert.Contains(story.Open, c => c is SendSignal { Signal: SignalKind.Release, Request.AfterServers: false });

        // A source that is slow to retire keeps nothing back but the end.
        while (story.Open.FirstOrDefault(c => c is not SendOrder { Order: ServerOrder.Retire }) is { } next) story.Feed(Plans.Answer(next));
        Assert.Equal(MoveStage.Inspect, story.Move.Stage);
        Assert.Equal(MoveOutcome.Moved, story.End().Move.Outcome);
    }

    // Guards: MoveMachine.Refuse: after the pivot a refusal is not the end, and not an undo.
    [Fact]
    public void A_refusal_after_the_pivot_ends_nothing()
    {
        foreach (MoveState state in Story.Of("s1").End().States.Where(s => s.TargetOwns && s.Stage != MoveStage.Activate
            && s.Outcome is null))
        {
            Assert.All(MoveMachine.Open(state),
                c => Assert.Same(state, MoveMachine.Step(state, new Refused(c.Key, "/problems/wrong-state", "no"), 9)));
        }
    }

    // Guards: ManagerMachine.Ended `delayed: true`, Deadline's TryAgainNs, and TakenUp in Planned.
    [Fact]
    public void A_move_back_that_fails_is_tried_again_after_a_while_under_a_new_epoch_on_paths_of_its_own()
    {
        Story story = new Story().Ask(Plans.Request(Cutover.OneByOne, Plans.Move(["s1"]), Plans.Move(["s2"], firstPath: 2)))
            .EndMove().Refuse("prepare m1.2").EndMove();
        Assert.True(story.Migration.GoingBack);
        long epoch = story.Move.Epoch;
        story.Refuse("prepare m1-3.1").EndMove();
        Assert.Equal(MoveStage.Planned, story.Move.Stage);
        Assert.Empty(story.Open);
        Assert.Equal(epoch + 2, story.Move.Epoch);
        Assert.Equal("m1-4.1", story.Move.Plan.Paths[0].Id);
        Assert.Equal(story.Records[^1].NowNs + ManagerMachine.TryAgainNs, ManagerMachine.Deadline(story.Migration));
        story.Feed(new TakenUp());
        Assert.Equal(story.Records[^1].NowNs + ManagerMachine.TryAgainNs, ManagerMachine.Deadline(story.Migration));

        // An operator's abort would only have it tried again: it is none.
        MigrationState before = story.Migration;
        story.Abort();
        Assert.Same(before, story.Migration);
        Assert.Contains("going back already", ManagerMachine.MayAbort(before));
        story.Feed(new Begin()).End();
        Assert.Equal(MigrationOutcome.AsBefore, story.Migration.Outcome);
        Assert.All(story.State.GroupOf("shop").Owners.Values, o => Assert.Equal("site-a", o.Site));
    }

    // Guards: ManagerMachine.Begin: paths of a move back have keys that no other has.
    [Fact]
    public void No_two_paths_of_a_manager_share_an_id_or_a_tunnel_key()
    {
        Story story = new Story().Ask(Plans.Request(Cutover.OneByOne, Plans.Move(["s1"]), Plans.Move(["s2"], firstPath: 2),
            Plans.Move(["s3"], firstPath: 3)))
            .EndMove().EndMove().Refuse("prepare m1.3").End();
        PathMove[] paths = [.. story.Migration.Moves.SelectMany(m => m.Plan.Paths)];
        Assert.Equal(5, paths.Length);
        Assert.Equal(paths.Length, paths.DistinctBy(p => p.Id).Count());
        Assert.Equal(paths.Length, paths.DistinctBy(p => p.TunnelKey).Count());
        Assert.True(story.State.NextKey > paths.Max(p => p.TunnelKey));
        Assert.Equal(["s1", "s2", "s3", "s2", "s1"], story.Migration.Moves.Select(m => m.Plan.Servers[0].Name));
    }

    // Guards: MoveMachine.Take, what is merged and what is not.
    // Guards: StageTable.LeftToKeepBack. What they stood still for needs not be waited for again.
    [Theory]
    [InlineData(0, 0, 0)]
    [InlineData(50, 10, 40)]
    [InlineData(50, 49, 1)]
    [InlineData(50, 80, 0)]
    public void Release_keeps_back_what_is_left_of_the_difference(int keepBackMs, int stoodStillMs, int left)
    {
        MovePlan plan = Plans.Move(["s1"]);
        plan = plan with { Paths = [plan.Paths[0] with { KeepBackMs = keepBackMs }] };
        Story story = new Story().Ask(Plans.Request(Cutover.Together, plan)).Until(MoveStage.Release);
        SendSignal prepare = story.Asked.OfType<SendSignal>().Single(s => s is { Pe: "pe-b", Signal: SignalKind.Prepare });
        Assert.Equal(keepBackMs, prepare.Request.KeepBackMs);
        MoveState move = story.Move with
        {
            Orders =
            [
                .. story.Move.Orders.Select(
                    o => o with { AnsweredNs = o.Reply.Order == ServerOrder.Activate ? 1_000_000L * stoodStillMs : 0 }),
            ],
        };
        Assert.Equal(left, MoveMachine.Open(move).OfType<SendSignal>().Single(s => s.Signal == SignalKind.Release).Request.KeepBackMs);
    }

    [Fact]
    public void What_was_seen_of_a_path_once_stays_seen()
    {
        Story story = Story.Of("s1").Until(MoveStage.DirectPath);
        var direct = new PathEvidence(
            DirectAt: System.Collections.Immutable.ImmutableSortedDictionary<string, long>.Empty.Add("pe-i", 5), ByMarker: ["pe-i"],
                Passed: true,
            OthersSeen: true, Late: true);
        story.Feed(new Seen("direct-path m1.1", direct)).Done("withdraw").Done("teardown");
        story.Feed(new Seen("last-packet m1.1", new PathEvidence(
            DirectAt: System.Collections.Immutable.ImmutableSortedDictionary<string, long>.Empty.Add("pe-i", 9).Add("pe-j", 9),
                Quiet: true)));
        PathEvidence seen = story.Move.EvidenceOf("m1.1");
        Assert.Equal(5, seen.DirectAt!["pe-i"]);
        Assert.Equal(9, seen.DirectAt["pe-j"]);
        Assert.Equal(["pe-i"], seen.ByMarker!);
        Assert.True(seen is { Passed: true, OthersSeen: true, Quiet: true, Late: false });
    }
}
