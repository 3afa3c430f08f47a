using System.Diagnostics;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using SdnEdge.Mms.Tests.Machines;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>The manager's loop and its queues, against a journal that fails and parties that hang.</summary>
#pragma warning disable CA1001 // xunit calls DisposeAsync
public sealed class ManagerServiceTests : IAsyncLifetime
#pragma warning restore CA1001
{
    private ScriptedJournal _journal = new();
    private ScriptedParties _parties = null!;
    private ManagerService _manager = null!;

    public async Task InitializeAsync()
    {
        _parties = new ScriptedParties(_journal);
        _manager = await ManagerService.StartAsync(_journal, _parties);
    }

    public async Task DisposeAsync()
    {
        await _manager.DisposeAsync();
        Assert.Empty(_parties.Violations);
    }

    [Fact]
    public async Task A_whole_move_end_to_end()
    {
        await AskAsync(Plans.Move(["s1", "s2"], paths: 2));
        await EndedAsync("m1", MigrationOutcome.Moved);
        Assert.Equal(_manager.State.Migrations["m1"].Outcome, Story.Fold(_journal.Records).Migrations["m1"].Outcome);
        foreach (string server in new[] { "s1", "s2" })
        {
            Assert.Equal(ServerState.Running, (await _parties.ServerAsync("host-b", server, default)).State);
            Assert.Equal(ServerState.Absent, (await _parties.ServerAsync("host-a", server, default)).State);
        }

        // Each command was given once, nothing failed; but for release, which is asked ahead, to be carried out when the servers answer,
        // and again when they are known to run.
        Assert.All(_parties.Asked.CountBy(a => a),
            a => Assert.InRange(a.Value, 1, a.Key.StartsWith("release", StringComparison.Ordinal) ? 2 : 1));
        Before("done activate s1", "done release m1.1");
        Before("done activate s2", "ask retire s1");
    }

    [Fact]
    public async Task A_service_without_state_whose_instance_is_dead_at_the_target_stays_where_it_is()
    {
        _parties.DeadInstances.Add("pe-b");
        await AskAsync(Plans.Stateless(["sip"], options: Plans.Quick with { MirrorMs = 300 }));
        await EndedAsync("m1", MigrationOutcome.AsBefore);
        Assert.Contains("pe-b: no answer has come from 10.1.1.1 on port eth2", State("m1").Failure!, StringComparison.Ordinal);
        Assert.DoesNotContain(_parties.Asked, a => a.StartsWith("switch", StringComparison.Ordinal));
        _parties.DeadInstances.Clear();
        await _manager.PostAsync(_ => Plans.Request(Cutover.Together, Plans.Move([], migration: "m2") with { Services = ["sip"] }), "ops");
        await EndedAsync("m2", MigrationOutcome.Moved);
        Assert.DoesNotContain(_parties.Asked, a => a.Contains("host-", StringComparison.Ordinal));
    }

    // One that is ready and waits for another has changed too much when the other is ready.
    [Fact]
    public async Task Servers_that_move_together_are_stopped_when_all_of_them_are_ready_in_one_look()
    {
        var ready = new MirrorProgress(true, 90_000_000, 0, 80);
        var copied = new MirrorProgress(false, 50_000_000, 40_000_000, 900, 2, 50e6, 1e6);
        _parties.Copy("s1", ready);
        _parties.Copy("s2", copied);
        await AskAsync(Plans.Move(["s1", "s2"]));
        await UntilAsync(() => Waits("mirrored s1") is { } why && why.Contains("s1 is ready; pass 2 over the memory of s2: 40 MB are left",
            StringComparison.Ordinal));
        _parties.Copy("s1", copied);
        await UntilAsync(() => Waits("mirrored s1") is { } why && why.StartsWith("pass 2 over the memory of s1", StringComparison.Ordinal));
        _parties.Copy("s2", ready);
        await UntilAsync(() => Waits("mirrored s2") is { } why && why.StartsWith("s2 is ready; pass 2", StringComparison.Ordinal));
        Assert.DoesNotContain(_parties.Asked, a => a.StartsWith("switch", StringComparison.Ordinal));
        _parties.Copy("s1", ready);
        await EndedAsync("m1", MigrationOutcome.Moved);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_copy_that_does_not_converge_is_undone_with_its_numbers_or_waited_for_when_that_was_asked_for(bool keepTrying)
    {
        _parties.Copy("s1", new MirrorProgress(false, 900_000_000, 800_000_000, 9_000, 4, 100e6, 200e6, "it changes 200 MB a second"));
        MovePlan plan = Plans.Move(["s1"]);
        await AskAsync(plan with { Options = plan.Options with { KeepTrying = keepTrying } });
        if (keepTrying)
        {
            await UntilAsync(() => Waits("mirrored s1") == "it changes 200 MB a second");
            _parties.Copy("s1", null);
        }

        await EndedAsync("m1", keepTrying ? MigrationOutcome.Moved : MigrationOutcome.AsBefore);
        Assert.Equal(keepTrying ? null : "s1 cannot be moved: it changes 200 MB a second", State("m1").Failure);
        Assert.Equal(keepTrying, _parties.Asked.Any(a => a.StartsWith("switch", StringComparison.Ordinal)));
    }

    private string? Waits(string command) => _manager.WaitingOf("m1")
        .FirstOrDefault(w => w.Command.StartsWith(command, StringComparison.Ordinal))?.Detail;

    // Its copy never comes to an end: the manager waited for it for an hour.
    [Fact]
    public async Task A_server_that_dies_while_it_is_copied_is_waited_for_no_longer_and_started_where_it_was()
    {
        _parties.Die("host-a", "s1");
        await AskAsync(Plans.Move(["s1"]));
        await EndedAsync("m1", MigrationOutcome.AsBefore);
        Assert.Equal("s1 cannot be moved: it has died at host-a: it may run here and is absent", State("m1").Failure);
        Assert.Equal(ServerState.Running, (await _parties.ServerAsync("host-a", "s1", default)).State);
        Assert.False(Was("ask stop s1"));
    }

    [Fact]
    public async Task What_is_kept_as_a_row_is_folded_from_the_journal_as_it_ended()
    {
        using var story = new ManyMigrations();
        MigrationState first = story.Next();
        for (int i = 0; i < ManagerState.EndedKept; i++) story.Next();
        story.Feed(new CommitRequested("m1", "user ops"));
        await using ManagerService manager = await ManagerService.StartAsync(new ScriptedJournal(story.Records), _parties);
        Assert.Equal("m1", Assert.Single(manager.State.Ended).Key);
        MigrationState? found = await manager.FindAsync("m1");
        Assert.Equal((true, first.EndedAt, first.Outcome), (found!.Committed, found.EndedAt, found.Outcome));
        Assert.Equal(first.Current.Timeline, found.Current.Timeline);
        Assert.Equal(first.Current.Done, found.Current.Done);
        Assert.Same(manager.State.Migrations["m2"], await manager.FindAsync("m2"));
        Assert.Null(await manager.FindAsync("m99"));
    }

    // Guards: ManagerService.OpensCommands and MayFlush. The blackout pays one synced append, however many answers there are in it.
    [Fact]
    public async Task One_synced_append_between_the_stop_answers_and_activate()
    {
        _parties.Keep("stop s2");
        await AskAsync(Plans.Move(["s1", "s2", "s3"], paths: 2));
        await UntilAsync(() => State("m1") is { Stage: MoveStage.Stop, Done: var done } && done.Contains("stop s1 host-a 1")
            && done.Contains("stop s3 host-a 1")
            && done.Contains("holding m1.1") && done.Contains("holding m1.2"));
        int before = _journal.Batches.Count;
        _parties.Give("stop s2");
        await EndedAsync("m1", MigrationOutcome.Moved);
        Assert.All(_parties.Log.Where(l => l.What.StartsWith("ask activate", StringComparison.Ordinal)),
            l => Assert.Equal(before + 1, l.Appends));
        Assert.Equal(before, _parties.Log.Single(l => l.What == "done stop s2 host-a 1").Appends);

        // All that came since the stop was given is in the pivot's append, and it is the last.
        IReadOnlyList<JournalEntry> pivot = _journal.Batches[before];
        Assert.Equal(5, pivot.Count);
        Assert.Contains("stop s2", pivot[^1].Body);
    }

    // Guards: the order of FlushAsync and Show: nothing is issued to the target before the pivot is durable.
    [Fact]
    public async Task Activate_is_not_issued_while_the_pivots_record_is_not_durable()
    {
        _parties.Keep("stop s1");
        await AskAsync(Plans.Move(["s1"]));
        await UntilAsync(() => State("m1") is { Stage: MoveStage.Stop, Done: var done } && done.Contains("holding m1.1")
            && Was("ask stop s1"));
        _journal.Block();
        _parties.Give("stop s1");
        await UntilAsync(() => _journal.Waiting);
        Assert.False(State("m1").TargetOwns);
        Assert.False(Was("ask activate"));
        _journal.Unblock();
        await EndedAsync("m1", MigrationOutcome.Moved);
    }

    // Guards: FlushAsync's catch of JournalUnavailableException.
    [Fact]
    public async Task While_the_journal_takes_no_records_nothing_is_issued_and_it_goes_on_when_it_is_back()
    {
        _journal.Failure = new JournalUnavailableException(JournalFault.Full, "no room on the disk");
        Task<ManagerState?> asked = PostAsync(Plans.Move(["s1"]));
        await UntilAsync(() => _journal.Tries >= 2);
        Assert.Contains("no room on the disk", _manager.Fault);
        Assert.Contains("nothing moves", _manager.Fault);
        Assert.False(asked.IsCompleted);
        Assert.Empty(_parties.Log);
        Assert.Empty(_manager.State.Migrations);
        _journal.Failure = null;
        await asked;
        Assert.Null(_manager.Fault);
        await EndedAsync("m1", MigrationOutcome.Moved);
    }

    [Fact]
    public async Task A_journal_that_fails_at_the_pivot_keeps_the_target_from_starting_and_the_pivot_follows_when_it_is_back()
    {
        _parties.Keep("stop s1");
        await AskAsync(Plans.Move(["s1"]));
        await UntilAsync(() => State("m1") is { Stage: MoveStage.Stop, Done: var done } && done.Contains("holding m1.1")
            && Was("ask stop s1"));
        _journal.Failure = new JournalUnavailableException(JournalFault.Io, "the disk is gone");
        _parties.Give("stop s1");
        await UntilAsync(() => _manager.Fault is not null);
        Assert.False(Was("ask activate"));
        _journal.Failure = null;
        await EndedAsync("m1", MigrationOutcome.Moved);
        Assert.Null(_manager.Fault);
    }

    // Guards: AppendAsync's `_expected`, and that a conflict is not retried.
    [Fact]
    public async Task R8_when_another_manager_was_first_at_the_position_it_stops_and_issues_nothing()
    {
        _parties.Keep("stop s1");
        await AskAsync(Plans.Move(["s1"]));
        await UntilAsync(() => State("m1").Stage == MoveStage.Stop && State("m1").Done.Contains("holding m1.1") && Was("ask stop s1"));
        _journal.AppendElsewhere(JournalCodec.Write(new MoveHappened("m1", new AbortRequested("user other", "no")), 1, "t", "user other"));
        _parties.Give("stop s1");
        await Assert.ThrowsAsync<JournalConflictException>(() => _manager.Ended.WaitAsync(Patience.Time));
        Assert.False(Was("ask activate"));
        Assert.NotNull(_manager.Fault);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => PostAsync(Plans.Move(["s9"], migration: "m2")));

        // The other one's decision stands: the next life undoes.
        await RestartAsync();
        await EndedAsync("m1", MigrationOutcome.AsBefore);
    }

    // Guards: StartAsync takes the position up to which it read. Before, it took the journal's length, which may be that of later records.
    [Fact]
    public async Task R8_records_that_another_manager_writes_while_this_one_starts_are_a_conflict()
    {
        Story story = Story.Of("s1").Until(MoveStage.Stop);
        var journal = new LateJournal(story.Records,
            JournalCodec.Write(new MoveHappened("m1", new AbortRequested("user other", "no")), 1, "t", "user other"));
        var parties = new ScriptedParties(journal.Inner);
        await using ManagerService manager = await ManagerService.StartAsync(journal, parties);
        await Assert.ThrowsAsync<JournalConflictException>(() => manager.Ended.WaitAsync(Patience.Time));
        Assert.Empty(parties.Log);
    }

    public static TheoryData<MoveStage> ForwardStages
        => new(Enum.GetValues<MoveStage>().Where(s => s > MoveStage.AwaitWindow && s < MoveStage.Void && s != MoveStage.HandOver));

    public static TheoryData<MoveStage> UndoStages
        => new(Enum.GetValues<MoveStage>().Where(s => s is >= MoveStage.Void and < MoveStage.Ended
            and not (MoveStage.Settle or MoveStage.Fence)));

    // Guards: StartAsync: what is open in the fold is issued again. Each record is where a manager may have ended; what was not durable is
    // gone.
    [Theory]
    [MemberData(nameof(ForwardStages))]
    public async Task A_restart_in_any_stage_issues_what_is_open_again_and_the_move_ends(MoveStage stage)
        => await RestartedAsync(Story.Of("s1", "s2").Until(stage), MigrationOutcome.Moved);

    [Theory]
    [MemberData(nameof(UndoStages))]
    public async Task A_restart_in_any_stage_of_an_undo_ends_as_before(MoveStage stage)
    {
        Story story = Story.Of("s1", "s2").Until(stage == MoveStage.Void ? MoveStage.Activate : MoveStage.Stop).Abort();
        await RestartedAsync(story.Until(stage), MigrationOutcome.AsBefore);
    }

    // A real run is cut after each of its records: the parties are as the whole run left them up to there.
    [Fact]
    public async Task A_manager_that_dies_after_the_stop_was_answered_but_before_it_was_on_record_asks_again()
    {
        _parties.Keep("stop s2");
        await AskAsync(Plans.Move(["s1", "s2"]));
        await UntilAsync(() => State("m1").Stage == MoveStage.Stop && State("m1").Done.Contains("stop s1 host-a 1"));
        Assert.DoesNotContain(_journal.Records, r => r.Body.Contains("\"key\":\"stop s1", StringComparison.Ordinal));
        int asked = _parties.Asked.Count(a => a == "stop s1 host-a 1");
        await _manager.DisposeAsync();
        _parties.Give("stop s2");
        await RestartAsync();
        await EndedAsync("m1", MigrationOutcome.Moved);
        Assert.Equal(asked + 1, _parties.Asked.Count(a => a == "stop s1 host-a 1"));
    }

    // The bug of the first manager: Ctrl-C gave "resume" while "stop" was on its way, the stop came last, and nobody ran. A host carries
    // out one order at a time, and one that comes last is of an older epoch.
    [Fact]
    public async Task Resume_does_not_wait_for_the_answer_to_stop_and_a_stop_that_comes_late_changes_nothing()
    {
        _parties.Keep("stop s1");
        await AskAsync(Plans.Move(["s1", "s2"]));
        await UntilAsync(() => Was("ask stop s1") && State("m1").Done.Contains("stop s2 host-a 1"));
        await AbortAsync("m1");
        await EndedAsync("m1", MigrationOutcome.AsBefore);
        Before("ask stop s1", "ask resume s1");
        Assert.False(Was("done stop s1"));
        _parties.Give("stop s1");
        var late = new SendOrder("host-a", "s1", ServerOrder.Stop, new ServerOrderRequest(1, "m1"));
        ApiProblemException refused = await Assert.ThrowsAsync<ApiProblemException>(() => _parties.OrderAsync(late, default));
        Assert.Equal("/problems/stale-epoch", refused.Problem.Type);
        Assert.Equal(ServerState.Running, (await _parties.ServerAsync("host-a", "s1", default)).State);
    }

    [Fact]
    public async Task Void_is_never_asked_while_activate_of_the_same_server_is_unanswered_and_the_answer_decides()
    {
        _parties.Keep("activate s1");
        await AskAsync(Plans.Move(["s1"]));
        await UntilAsync(() => Was("ask activate s1"));
        await AbortAsync("m1");
        Assert.Equal(MoveStage.Void, State("m1").Stage);
        _parties.Give("activate s1");
        await EndedAsync("m1", MigrationOutcome.Moved);
        Assert.False(Was("ask void s1"));
        Assert.False(Was("ask resume"));
    }

    // Guards: MoveRunner.ForgotAsync. A PE that lost its state after the abort answers 404 for ever; the undo waited as long.
    [Theory]
    [InlineData(MoveStage.PrepareSource)]
    [InlineData(MoveStage.Stop)]
    public async Task An_undo_whose_PE_has_forgotten_the_path_ends_after_the_PE_was_told_the_abort_again(MoveStage stage)
    {
        _parties.Forgetful.Add("pe-b");
        _parties.Keep(stage == MoveStage.Stop ? "stop s1" : "prepare s1 host-a");
        await AskAsync(Plans.Move(["s1"]));
        await UntilAsync(() => State("m1").Stage == stage);
        await AbortAsync("m1");
        _parties.Give(stage == MoveStage.Stop ? "stop s1" : "prepare s1 host-a");
        await EndedAsync("m1", MigrationOutcome.AsBefore);
        Assert.True(_parties.Asked.Count(a => a == "abort m1.1 pe-b") >= 2);
    }

    // A PE that is dead is not one that has forgotten: its answer is waited for, until an operator says that none will come.
    [Fact]
    public async Task An_undo_whose_PE_is_dead_waits_until_an_operator_gives_it_up_and_then_says_what_is_not_proved()
    {
        _parties.Keep("stop s1");
        await AskAsync(Plans.Move(["s1"]));
        await UntilAsync(() => State("m1").Stage == MoveStage.Stop);
        await AbortAsync("m1");
        _parties.Give("stop s1");
        _parties.Silent.UnionWith(["pe-b", "host-b"]);
        await UntilAsync(() => _manager.WaitingOf("m1").Any(w => w is { Reason: WaitReason.PeerUnreachable }
            && w.Command.StartsWith("abort m1.1 pe-b", StringComparison.Ordinal)));
        Assert.Null(_manager.State.Migrations["m1"].Outcome);
        var given = new GiveUpRequested("user ops", "it burnt down", ["pe-b", "host-b"]);
        await _manager.PostAsync(_ => new MoveHappened("m1", given), "user ops");
        await EndedAsync("m1", MigrationOutcome.GivenUp);
        Assert.Equal(
            ["that s1 does not run at host-b, and that nothing of it is left there",
                "that pe-b has no tunnel, group or hold of m1.1, and has seen epoch 2"],
            GiveUp.Unproved(State("m1")));
        Assert.Equal(2, (await _parties.ServerAsync("host-a", "s1", default)).MayRun);
    }

    [Fact]
    public async Task A_source_site_that_died_after_the_pivot_can_be_given_up_and_the_servers_stay_at_the_target()
    {
        _parties.Keep("activate s1");
        await AskAsync(Plans.Move(["s1"]));
        await UntilAsync(() => Was("ask activate s1"));
        _parties.Silent.UnionWith(["pe-a", "host-a"]);
        _parties.Give("activate s1");
        await UntilAsync(() => State("m1").Running.Contains("s1")
            && _manager.WaitingOf("m1").Any(w => w is { Reason: WaitReason.PeerUnreachable, Party: "pe-a" or "host-a" }));
        await _manager.PostAsync(_ => new MoveHappened("m1", new GiveUpRequested("user ops", "it burnt down", ["site-a"])), "user ops");
        await EndedAsync("m1", MigrationOutcome.GivenUp);
        Assert.Equal(new Ownership("site-b", 1), _manager.State.GroupOf("shop").Owners["s1"]);
        Before("done activate s1", "done advertise m1.1 pe-b");
    }

    [Fact]
    public async Task A_target_that_refuses_to_start_voids_the_epoch_and_the_servers_run_at_the_source_again()
    {
        _parties.Failures["activate s1"] = ScriptedParties.Refusal("wrong-state");
        await AskAsync(Plans.Move(["s1"]));
        await EndedAsync("m1", MigrationOutcome.AsBefore);
        Before("done void s1", "ask resume s1");
        Assert.Equal(2, (await _parties.ServerAsync("host-a", "s1", default)).MayRun);
    }

    // Guards: one queue a resource.
    [Fact]
    public async Task A_party_that_hangs_blocks_only_its_own_queue()
    {
        _parties.Keep("prepare s1 host-b");
        await AskAsync(Plans.Move(["s1", "s2"], paths: 2));
        await UntilAsync(() => State("m1").Done.Count == 11);
        Assert.Equal(["prepare s1 host-b 1"], MoveMachine.Open(State("m1")).Select(c => c.Key));
        Waiting waiting = Assert.Single(_manager.WaitingOf("m1"));
        Assert.Equal(("prepare s1 host-b 1", WaitReason.InProgress), (waiting.Command, waiting.Reason));
        _parties.Give("prepare s1 host-b");
        await EndedAsync("m1", MigrationOutcome.Moved);
    }

    [Fact]
    public async Task Two_groups_move_at_once_and_one_that_hangs_does_not_keep_the_other()
    {
        _parties.Keep("stop s1");
        await AskAsync(Plans.Move(["s1"]));
        await AskAsync(Plans.Move(["t1"], migration: "m2"));
        await EndedAsync("m2", MigrationOutcome.Moved);
        Assert.Null(_manager.State.Migrations["m1"].Outcome);
        _parties.Give("stop s1");
        await EndedAsync("m1", MigrationOutcome.Moved);
    }

    [Fact]
    public async Task A_party_that_does_not_answer_is_asked_until_it_does_and_the_reason_is_shown()
    {
        _parties.Failures["release m1.1"] = new ApiUnreachableException("pe-b does not answer");
        await AskAsync(Plans.Move(["s1"]));
        await UntilAsync(() => _manager.WaitingOf("m1").Any(w => w.Reason == WaitReason.PeerUnreachable
            && w.Detail!.Contains("pe-b", StringComparison.Ordinal))
            && _parties.Asked.Count(a => a.StartsWith("release", StringComparison.Ordinal)) > 1);
        _parties.Failures.Clear();
        await EndedAsync("m1", MigrationOutcome.Moved);
    }

    // R8 in one manager: an abort that comes while the pivot is being written is decided on the pivot.
    [Fact]
    public async Task An_abort_while_the_journal_is_slow_is_decided_on_what_is_on_record_by_then()
    {
        _parties.Keep("stop s1");
        _parties.Keep("activate s1");
        await AskAsync(Plans.Move(["s1"]));
        await UntilAsync(() => State("m1").Stage == MoveStage.Stop && State("m1").Done.Contains("holding m1.1") && Was("ask stop s1"));
        _journal.Block();
        _parties.Give("stop s1");
        await UntilAsync(() => _journal.Waiting);
        Task<ManagerState?> abort = AbortAsync("m1");
        Assert.False(abort.IsCompleted);
        _journal.Unblock();
        ManagerState decided = (await abort)!;
        Assert.Equal(MoveStage.Void, decided.Migrations["m1"].Current.Stage);
        Assert.True(decided.Migrations["m1"].Current.TargetOwns);
        _parties.Give("activate s1");
        await EndedAsync("m1", null);
    }

    [Fact]
    public async Task A_stage_that_does_not_end_in_time_is_undone_and_the_record_says_what_was_open()
    {
        _parties.Keep("prepare s1 host-a");
        await AskAsync(Plans.Move(["s1"], options: Plans.Quick with { StepMs = 300 }));
        await UntilAsync(() => State("m1").Failure is not null);
        _parties.Give("prepare s1 host-a");
        await EndedAsync("m1", MigrationOutcome.AsBefore);
        Assert.Contains("prepare-source did not end in time: prepare s1 host-a 1: in-progress", _manager.State.Migrations["m1"].Failure);
    }

    [Fact]
    public async Task A_manager_with_a_stale_epoch_stops_where_it_is()
    {
        _parties.Failures["switch m1.1"] = ScriptedParties.Refusal("stale-epoch");
        await AskAsync(Plans.Move(["s1"]));
        await EndedAsync("m1", MigrationOutcome.Fenced);
        Assert.False(Was("ask stop"));
        Assert.False(Was("ask abort"));
    }

    // Guards: WhyNoAnswer in MoveRunner, and that an answer that is none is not asked again at once for ever.
    [Fact]
    public async Task Disposal_with_commands_under_way_ends_and_answers_everybody()
    {
        _parties.Keep("prepare");
        await AskAsync(Plans.Move(["s1", "s2"], paths: 2));
        await UntilAsync(() => _parties.Log.Count == 8);
        _journal.Block();
        Task<ManagerState?> abort = AbortAsync("m1");
        await UntilAsync(() => _journal.Waiting);
        Task<ManagerState?> later = AbortAsync("m1");
        Task disposed = _manager.DisposeAsync().AsTask();
        _journal.Unblock();
        await disposed.WaitAsync(Patience.Time);
        int asked = _parties.Log.Count;
        await Task.WhenAll(abort, later).ContinueWith(_ => { }, TaskScheduler.Default).WaitAsync(Patience.Time);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => AbortAsync("m1"));
        Assert.Equal(asked, _parties.Log.Count);
        await _manager.DisposeAsync();
    }

    [Fact]
    public async Task What_a_caller_decides_wrong_is_the_callers_and_the_manager_goes_on()
    {
        await Assert.ThrowsAsync<InvalidOperationException>(()
            => _manager.PostAsync(_ => throw new InvalidOperationException("no such group"), "user ops"));
        Assert.Null(await _manager.PostAsync(_ => null, "user ops"));
        Assert.Null(await _manager.PostAsync(_ => new CommitRequested("m9", "user ops"), "user ops"));
        Assert.Empty(_journal.Records);
        await AskAsync(Plans.Move(["s1"]));
        await EndedAsync("m1", MigrationOutcome.Moved);
    }

    private async Task RestartedAsync(Story story, MigrationOutcome outcome)
    {
        await _manager.DisposeAsync();

        // The parties have done what the records say, as the life before asked them to.
        foreach (MoveCommand command in story.Asked.Where(c => story.Migration.Moves.Any(m => m.Done.Contains(c.Key))))
        {
            if (command is SendSignal signal) await _parties.SignalAsync(signal, default);
            if (command is SendOrder order) await _parties.OrderAsync(order, default);
        }

        string[] open = [.. story.Open.Where(c => c is SendSignal or SendOrder).Select(c => c.Key)];
        int before = _parties.Log.Count;
        _journal = new ScriptedJournal(story.Records);
        _parties.Journal = _journal;
        _manager = await ManagerService.StartAsync(_journal, _parties);
        await EndedAsync("m1", outcome);
        Assert.All(open, key => Assert.Contains(_parties.Log.Skip(before), l => l.What == "ask " + key));
        Assert.Equal("taken-up", _journal.Records[story.Records.Count].Input);
    }

    private async Task RestartAsync()
    {
        await _manager.DisposeAsync();
        _journal = _journal.AfterCrash();
        _parties.Journal = _journal;
        _manager = await ManagerService.StartAsync(_journal, _parties);
    }

    private MoveState State(string migration) => _manager.State.Migrations[migration].Current;

    private bool Was(string begin) => _parties.Log.Any(l => l.What.StartsWith(begin, StringComparison.Ordinal));

    private void Before(string first, string second)
    {
        List<string> log = [.. _parties.Log.Select(l => l.What)];
        int a = log.FindIndex(l => l.StartsWith(first, StringComparison.Ordinal)),
            b = log.FindIndex(l => l.StartsWith(second, StringComparison.Ordinal));
        Assert.True(a >= 0 && b > a, $"'{first}' at {a} is not before '{second}' at {b}:\n{string.Join('\n', log)}");
    }

    private async Task AskAsync(MovePlan plan) => Assert.NotNull(await PostAsync(plan).WaitAsync(Patience.Time));

    private Task<ManagerState?> PostAsync(MovePlan plan)
        => _manager.PostAsync(s => Plans.Request(Cutover.Together, plan) with { Id = ManagerMachine.IdOf(s.NextMigration) }, "user ops");

    private Task<ManagerState?> AbortAsync(string migration)
        => _manager.PostAsync(_ => new MoveHappened(migration, new AbortRequested("user ops", "changed my mind")), "user ops");

    // Ended, and its end is on record.
    private async Task EndedAsync(string migration, MigrationOutcome? outcome)
    {
        await UntilAsync(() => _manager.State.Migrations[migration].Outcome is not null);
        if (outcome is { } o) Assert.Equal(o, _manager.State.Migrations[migration].Outcome);
    }

    private Task UntilAsync(Func<bool> condition) => _manager.UntilAsync(condition, _parties);

    // A journal to which another manager appends just after it was read to its end.
    private sealed class LateJournal(IEnumerable<JournalRecord> records, JournalEntry late) : IJournal
    {
        public ScriptedJournal Inner { get; } = new(records);

        public long Length => Inner.Length;

        public string Id => Inner.Id;

        public async Task<IReadOnlyList<JournalRecord>> ReadAsync(long after, int most, CancellationToken cancel)
        {
            IReadOnlyList<JournalRecord> read = await Inner.ReadAsync(after, most, cancel);
            if (read.Count == 0) Inner.AppendElsewhere(late);
            return read;
        }

        public Task AppendAsync(long expected, IReadOnlyList<JournalEntry> entries, CancellationToken cancel)
            => Inner.AppendAsync(expected, entries, cancel);

        public ValueTask DisposeAsync() => Inner.DisposeAsync();
    }
}
