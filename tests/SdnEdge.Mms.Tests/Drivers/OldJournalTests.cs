using System.Diagnostics;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Model;
using SdnEdge.Mms.Tests.Machines;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>
/// A manager is started with a copy of its journal that is older than what PEs and hosts know, in the middle of a migration. It must say so
/// and move nothing.
/// </summary>
public sealed class OldJournalTests
{
    private readonly ScriptedParties _parties = new(new ScriptedJournal());

    // What was asked of the parties, and what was on record, before the manager was started.
    private (int Asked, int Records) _before;

    public static TheoryData<MoveStage> BeforeThePivot => [MoveStage.PrepareTarget, MoveStage.PrepareSource, MoveStage.Mirror,
        MoveStage.Switch, MoveStage.Stop];

    public static TheoryData<MoveStage> Stages => new(Enum.GetValues<MoveStage>().Where(s => s is not (MoveStage.Planned
        or MoveStage.AwaitWindow or MoveStage.HandOver or MoveStage.Settle or MoveStage.Fence or MoveStage.Ended)));

    // The migration went on to its end by the true journal, under the very epoch that the copy knows. Without the check the manager would
    // go on before the pivot, be refused, undo, and start the servers at the source beside those at the target.
    [Theory]
    [MemberData(nameof(BeforeThePivot))]
    public async Task A_copy_from_before_the_pivot_of_a_move_that_was_made_moves_nothing(MoveStage stage)
    {
        await LiveAsync(MigrationOutcome.Moved);
        await OldAsync(Story.Of("s1").Until(stage), "host-b has run s1 under epoch 1");
        Assert.Equal(ServerState.Running, (await _parties.ServerAsync("host-b", "s1", default)).State);
        Assert.Equal(ServerState.Absent, (await _parties.ServerAsync("host-a", "s1", default)).State);
    }

    [Theory]
    [MemberData(nameof(Stages))]
    public async Task A_copy_whose_epoch_is_lower_than_what_a_host_has_seen_moves_nothing(MoveStage stage)
    {
        Story story = stage < MoveStage.Void ? Story.Of("s1").Until(stage)
            : Story.Of("s1").Until(stage == MoveStage.Void ? MoveStage.Activate : MoveStage.Stop).Abort().Until(stage);
        await _parties.OrderAsync(new SendOrder("host-a", "s1", ServerOrder.Resume, new ServerOrderRequest(7, "m9")), default);
        await OldAsync(story, "host-a has seen epoch 7 of s1");
    }

    [Fact]
    public async Task A_copy_whose_epoch_is_lower_than_what_a_PE_has_seen_moves_nothing()
    {
        await _parties.SignalAsync(new SendSignal("pe-a", "m1.1", SignalKind.Abort, new SignalRequest(5)), default);
        await OldAsync(Story.Of("s1").Until(MoveStage.Mirror), "pe-a has seen epoch 5 of m1.1");
    }

    // A service without state: no host has the grant on its disk, so what only comes behind the pivot says that there was one.
    [Theory]
    [InlineData(MoveStage.PrepareTarget)]
    [InlineData(MoveStage.Mirror)]
    [InlineData(MoveStage.Stop)]
    public async Task A_copy_from_before_the_pivot_of_a_service_that_was_moved_moves_nothing(MoveStage stage)
    {
        await LiveAsync(MigrationOutcome.Moved, Plans.Stateless(["sip"]));
        await OldAsync(Service().Until(stage), "m1.1 is torn-down at pe-a, and by the journal it was never decided to go on to that");
    }

    [Fact]
    public async Task Before_the_pivot_of_a_service_a_silent_PE_is_waited_for()
    {
        Story story = Service().Until(MoveStage.Mirror);
        await ReplayAsync(story);
        _parties.Silent.Add("pe-b");
        await using ManagerService manager = await StartAsync(story);
        await UntilAsync(manager, () => manager.WaitingOf("m1") is [{ Reason: WaitReason.PeerUnreachable }]);
        Assert.Contains("pe-b must say first that epoch 1 never ran there", manager.WhyHeld("m1"));
        _parties.Silent.Clear();
        await UntilAsync(manager, () => manager.State.Migrations["m1"].Outcome == MigrationOutcome.Moved);
    }

    private static Story Service() => new Story().Ask(Plans.Request(Cutover.Together, Plans.Stateless(["sip"])));

    // Guards: TakeUp.NeedsAll. Giving up would grant the source an epoch that nobody could refuse.
    [Fact]
    public async Task Before_the_pivot_a_silent_target_host_is_waited_for_and_the_reason_is_shown()
    {
        await using ManagerService manager = await HeldInMirrorAsync("host-b", "must say first that epoch 1 never ran there");
        MigrationHeldException e = await Assert.ThrowsAsync<MigrationHeldException>(() => AbortAsync(manager));
        Assert.Contains("host-b", e.Message);
        Assert.Equal(_before, (_parties.Log.Count, _parties.Journal.Records.Count));
        _parties.Silent.Clear();
        await UntilAsync(manager, () => manager.State.Migrations["m1"].Outcome == MigrationOutcome.Moved);
        Assert.Null(manager.Fault);
    }

    // Guards: TakeUp, SilentPes. The PE may have been told to go back: then the servers would run where no packets come.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Before_the_switch_a_silent_PE_is_waited_for_and_the_move_can_be_aborted(bool abort)
    {
        await using ManagerService manager = await HeldInMirrorAsync("pe-a", "must say first that epoch 1 was not taken back");
        Assert.Equal(_before, (_parties.Log.Count, _parties.Journal.Records.Count));
        if (abort)
        {
            await AbortAsync(manager);
            await UntilAsync(manager, () => AtAsync("host-a").Result is { State: ServerState.Running, MayRun: 2 });
            Assert.Null(manager.State.Migrations["m1"].Outcome);
        }

        _parties.Silent.Clear();
        await UntilAsync(manager, () => manager.State.Migrations["m1"].Outcome is not null);
        Assert.Equal(abort ? MigrationOutcome.AsBefore : MigrationOutcome.Moved, manager.State.Migrations["m1"].Outcome);
    }

    // The server may stand still: it goes on at the source, whether the PE has gone back already (docs/model, TAKE_UP_WITHOUT_PES) or not.
    [Theory]
    [InlineData(MoveStage.Switch, false)]
    [InlineData(MoveStage.Stop, false)]
    [InlineData(MoveStage.Stop, true)]
    public async Task From_the_switch_on_a_silent_PE_is_not_waited_for_and_the_move_is_undone(MoveStage stage, bool isBack)
    {
        Story story = Story.Of("s1").Until(stage);
        await ReplayAsync(story);
        if (isBack) await _parties.SignalAsync(new SendSignal("pe-a", "m1.1", SignalKind.Abort, new SignalRequest(2)), default);
        _parties.Silent.Add("pe-a");
        await using ManagerService manager = await StartAsync(story);
        await UntilAsync(manager, () => AtAsync("host-a").Result is { State: ServerState.Running, MayRun: 2 });
        Assert.Equal("taken-up", _parties.Journal.Records[story.Records.Count].Input);
        Assert.Contains("pe-a did not say whether the network has gone back already", manager.State.Migrations["m1"].Failure,
            StringComparison.Ordinal);
        Assert.DoesNotContain(_parties.Asked, k => k.StartsWith("activate", StringComparison.Ordinal));
        _parties.Silent.Clear();
        await UntilAsync(manager, () => manager.State.Migrations["m1"].Outcome is not null);
        Assert.Equal(MigrationOutcome.AsBefore, manager.State.Migrations["m1"].Outcome);
        Assert.Empty(_parties.Violations);
    }

    [Fact]
    public async Task After_the_pivot_nobody_who_is_silent_keeps_the_servers_from_starting()
    {
        Story story = Story.Of("s1").Until(MoveStage.Activate);
        await ReplayAsync(story);
        _parties.Silent.UnionWith(["host-a", "pe-a"]);
        await using ManagerService manager = await StartAsync(story);
        await UntilAsync(manager, () => manager.State.Migrations["m1"].Current.Running.Contains("s1"));
        _parties.Silent.Clear();
        await UntilAsync(manager, () => manager.State.Migrations["m1"].Outcome == MigrationOutcome.Moved);
    }

    // The operator's word instead of the host's: on record, and what is not proved is said.
    [Fact]
    public async Task A_silent_target_host_can_be_given_up_and_the_move_ends_at_the_source()
    {
        Story story = Story.Of("s1").Until(MoveStage.Mirror);
        await ReplayAsync(story);
        _parties.Silent.UnionWith(["host-b", "pe-b"]);
        await using ManagerService manager = await StartAsync(story);
        await UntilAsync(manager, () => manager.WhyHeld("m1") is not null);
        await manager.PostAsync(_ => new MoveHappened("m1", new GiveUpRequested("user ops", "it burnt down", ["site-b"])), "user ops");
        await UntilAsync(manager, () => manager.State.Migrations["m1"].Outcome is not null);
        Assert.Equal(MigrationOutcome.GivenUp, manager.State.Migrations["m1"].Outcome);
        Assert.Equal(ServerState.Running, (await _parties.ServerAsync("host-a", "s1", default)).State);
        Assert.Contains(_parties.Journal.Records, r => r.Input == "give-up-requested" && r.Actor == "user ops");
    }

    // Lives the migration m1 by a journal that is lost afterwards.
    private async Task LiveAsync(MigrationOutcome outcome, MovePlan? plan = null)
    {
        var journal = new ScriptedJournal();
        _parties.Journal = journal;
        await using ManagerService manager = await ManagerService.StartAsync(journal, _parties);
        await manager.PostAsync(_ => Plans.Request(Cutover.Together, plan ?? Plans.Move(["s1"])), "user ops");
        await UntilAsync(manager, () => manager.State.Migrations["m1"].Outcome is not null);
        Assert.Equal(outcome, manager.State.Migrations["m1"].Outcome);
    }

    private Task<ServerInfo> AtAsync(string host) => _parties.ServerAsync(host, "s1", default);

    // A manager with the records up to the copy of the memory, which waits for a party that is silent.
    private async Task<ManagerService> HeldInMirrorAsync(string silent, string why)
    {
        Story story = Story.Of("s1").Until(MoveStage.Mirror);
        await ReplayAsync(story);
        _parties.Silent.Add(silent);
        _before = (_parties.Log.Count, story.Records.Count);
        ManagerService manager = await StartAsync(story);
        await UntilAsync(manager, () => manager.WaitingOf("m1") is [{ Reason: WaitReason.PeerUnreachable }]);
        Assert.Contains($"{silent} {why}", manager.WhyHeld("m1"));
        return manager;
    }

    // A manager with what a story has put on record.
    private Task<ManagerService> StartAsync(Story story)
    {
        _parties.Journal = new ScriptedJournal(story.Records);
        return ManagerService.StartAsync(_parties.Journal, _parties);
    }

    // The parties have done what the records say.
    private async Task ReplayAsync(Story story)
    {
        foreach (MoveCommand command in story.Asked.Where(c => story.Move.Done.Contains(c.Key)))
        {
            if (command is SendSignal signal) await _parties.SignalAsync(signal, default);
            if (command is SendOrder order) await _parties.OrderAsync(order, default);
        }
    }

    private async Task OldAsync(Story copy, string why)
    {
        int asked = _parties.Log.Count;
        await using ManagerService manager = await StartAsync(copy);
        string said = await manager.FoundOld.WaitAsync(Patience.Time);
        Assert.Contains("nothing moves: the journal is older than what PEs and hosts know: " + why, said);
        Assert.Contains("sdnedge mms recover", said);
        Assert.Equal(said, manager.Fault);
        Assert.Null(manager.JournalFault);
        Waiting waiting = Assert.Single(manager.WaitingOf("m1"));
        Assert.Equal((WaitReason.JournalOld, said), (waiting.Reason, waiting.Detail));

        // Nobody was told anything, nothing was written; an operator is told why; nothing begins.
        await Assert.ThrowsAsync<MigrationHeldException>(() => AbortAsync(manager));
        await Assert.ThrowsAsync<MigrationHeldException>(() => manager.PostAsync(
            _ => Plans.Request(Cutover.Together, Plans.Move(["t1"], migration: "m2")), "user ops"));
        await Assert.ThrowsAsync<MigrationHeldException>(() => manager.PostAsync(
            _ => new MoveHappened("m1", new GiveUpRequested("user ops", "no", ["site-b"])), "user ops"));
        Assert.Equal(asked, _parties.Log.Count);
        Assert.Equal(copy.Records.Count, _parties.Journal.Records.Count);

        // Recovered: what ran by the copy ends as fenced, and others can begin.
        ManagerState? after = await manager.PostAsync(state => new Recovered(
            state.Groups.SetItem("shop", state.GroupOf("shop") with { Epoch = 9 }), 5, state.NextKey, "user ops", ["m1"]), "user ops");
        Assert.Equal((MigrationOutcome.Fenced, 9), (after!.Migrations["m1"].Outcome, after.GroupOf("shop").Epoch));
        Assert.Null(manager.Fault);
        Assert.Empty(manager.WaitingOf("m1"));
        Assert.Equal(asked, _parties.Log.Count);
        Assert.NotNull(await manager.PostAsync(
            _ => Plans.Request(Cutover.Together, Plans.Move(["t1"], migration: "m5")), "user ops").WaitAsync(Patience.Time));
        await UntilAsync(manager, () => manager.State.Migrations["m5"].Outcome == MigrationOutcome.Moved);
    }

    private static Task<ManagerState?> AbortAsync(ManagerService manager)
        => manager.PostAsync(_ => new MoveHappened("m1", new AbortRequested("user ops", "changed my mind")), "user ops");

    private Task UntilAsync(ManagerService manager, Func<bool> condition) => manager.UntilAsync(condition, _parties);
}
