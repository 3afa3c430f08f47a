using System.Collections.Immutable;
using System.Diagnostics;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Model;
using SdnEdge.Mms.Tests.Machines;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>
/// A manager loses its journal between stop and start, and a new one settles the migration: against parties that fence, with commands of
/// the lost manager that arrive late.
/// </summary>
public sealed class SettlingTests
{
    private readonly ScriptedParties _parties = new(new ScriptedJournal());

    [Fact]
    public async Task Settled_at_the_source_it_runs_there_and_the_network_is_taken_back()
    {
        await StopAsync();
        MigrationState after = await SettleAsync(atTarget: false);
        Assert.Equal((MigrationOutcome.AsBefore, 3), (after.Outcome, after.Current.Epoch));
        Assert.Equal((ServerState.Running, 3), await AtAsync("host-a"));
        Assert.Equal((ServerState.Absent, null), await AtAsync("host-b"));
        string[] asked = [.. _parties.Asked];
        Assert.Contains("abort m1.1 pe-a", asked);
        Assert.Contains("abort m1.1 pe-b", asked);

        // R5: nothing before all hosts have said void.
        Assert.True(Array.LastIndexOf(asked, "void s1 host-b 2") < Array.IndexOf(asked, "resume s1 host-a 3"));
    }

    [Fact]
    public async Task Settled_at_the_target_it_goes_on_there()
    {
        await StopAsync();
        MigrationState after = await SettleAsync(atTarget: true);
        Assert.Equal((MigrationOutcome.Moved, 3), (after.Outcome, after.Current.Epoch));
        Assert.Equal((ServerState.Running, 3), await AtAsync("host-b"));
        Assert.Equal((ServerState.Absent, null), await AtAsync("host-a"));
    }

    // What is granted to it after that is not void of it, though it has not heard of it yet (docs/model, SETTLED_IS_VOIDED).
    [Fact]
    public async Task What_ran_where_it_is_settled_cannot_be_undone_any_more()
    {
        await StopAsync();
        await LateAsync();
        _parties.Keep("activate s1");
        await using ManagerService manager = await RecoverAsync(atTarget: true);
        await UntilAsync(manager, () => manager.State.Migrations["m2"].Current.Stage == MoveStage.Activate);
        Assert.Contains("said for ever that it runs s1",
            SdnEdge.Mms.Machines.ManagerMachine.MayAbort(manager.State.Migrations["m2"]), StringComparison.Ordinal);
        _parties.Give("activate s1");
        await UntilAsync(manager, () => manager.State.Migrations["m2"].Outcome is not null);
        Assert.Equal(MigrationOutcome.Moved, manager.State.Migrations["m2"].Outcome);
        Assert.Equal((ServerState.Running, 3), await AtAsync("host-b"));
        Assert.Empty(_parties.Violations);
    }

    // The lost manager had granted it: its order came after the parties were asked, and before the settlement.
    [Fact]
    public async Task A_start_that_was_on_its_way_is_found_and_nothing_is_granted()
    {
        await StopAsync();
        await LateAsync();
        MigrationState after = await SettleAsync(atTarget: false);
        Assert.Equal(MigrationOutcome.Fenced, after.Outcome);
        Assert.Equal("nothing was settled: host-b answers that it ran s1, so it is there; run sdnedge mms recover again", after.Failure);
        Assert.Equal((ServerState.Running, 1), await AtAsync("host-b"));
        Assert.DoesNotContain(_parties.Asked, k => k.StartsWith("resume", StringComparison.Ordinal));
        Assert.DoesNotContain(_parties.Asked, k => k.StartsWith("abort", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_start_that_comes_after_the_hosts_were_asked_is_refused()
    {
        await StopAsync();
        _parties.Keep("resume s1");
        Task<MigrationState> settling = SettleAsync(atTarget: false, asked: async () =>
        {
            await Assert.ThrowsAsync<ApiProblemException>(LateAsync);
            _parties.Give("resume s1");
        });
        Assert.Equal(MigrationOutcome.AsBefore, (await settling).Outcome);
        Assert.Equal((ServerState.Running, 3), await AtAsync("host-a"));
    }

    // R5: never started at one place on a time-out of another.
    [Fact]
    public async Task While_a_host_is_silent_nobody_is_granted_anything_and_it_can_be_called_off()
    {
        await StopAsync();
        _parties.Silent.Add("host-b");
        await using ManagerService manager = await RecoverAsync(atTarget: false);
        await UntilAsync(manager, () => manager.WaitingOf("m2").Any(w => w.Reason == WaitReason.PeerUnreachable)
            && manager.State.Migrations["m2"].Current.Done.Count == 2);
        Assert.Equal(MoveStage.Settle, manager.State.Migrations["m2"].Current.Stage);
        Assert.NotNull(SdnEdge.Mms.Machines.ManagerMachine.MayGiveUp(manager.State.Migrations["m2"], ["host-b"]));
        Assert.Empty(manager.State.GroupOf("shop").Owners);
        await manager.PostAsync(_ => new MoveHappened("m2", new AbortRequested("user ops", "host-b burnt down")), "user ops");
        Assert.Equal(MigrationOutcome.Fenced, manager.State.Migrations["m2"].Outcome);
        Assert.Equal((ServerState.Paused, null), await AtAsync("host-a"));
    }

    private async Task<(ServerState State, long? MayRun)> AtAsync(string host)
    {
        ServerInfo info = await _parties.ServerAsync(host, "s1", default);
        return (info.State, info.MayRun);
    }

    private Task LateAsync() => _parties.OrderAsync(
        new SendOrder("host-b", "s1", ServerOrder.Activate, new ServerOrderRequest(1, "m1")), default);

    // The parties have done what a manager told them up to the stop; its journal is lost.
    private async Task StopAsync()
    {
        Story story = Story.Of("s1").Until(MoveStage.Activate);
        foreach (MoveCommand command in story.Asked.Where(c => story.Move.Done.Contains(c.Key)))
        {
            if (command is SendSignal signal) await _parties.SignalAsync(signal, default);
            if (command is SendOrder order) await _parties.OrderAsync(order, default);
        }
    }

    private async Task<ManagerService> RecoverAsync(bool atTarget)
    {
        var journal = new ScriptedJournal();
        _parties.Journal = journal;
        ManagerService manager = await ManagerService.StartAsync(journal, _parties);
        SettleAsk[] asks = [.. from host in (string[])["host-a", "host-b"] from epoch in (long[])[1, 2]
            select new SettleAsk(host, "s1", ServerOrder.Void, epoch)];
        MovePlan plan = Plans.Move(["s1"]) with { Epoch = 2, Ahead = false, Settle = new Settlement(atTarget, asks) };
        var groups = ImmutableSortedDictionary<string, GroupState>.Empty.Add("shop", GroupState.Fresh with { Epoch = 1 });
        await manager.PostAsync(
            _ => new Recovered(groups, 2, ManagerState.FirstKey + 9, "user ops", Settled: [new SettledMove("shop", plan)]), "user ops");
        return manager;
    }

    private async Task<MigrationState> SettleAsync(bool atTarget, Func<Task>? asked = null)
    {
        await using ManagerService manager = await RecoverAsync(atTarget);
        if (asked is not null)
        {
            await UntilAsync(manager, () => manager.State.Migrations["m2"].Current.Stage == MoveStage.ResumeSource);
            await asked();
        }

        await UntilAsync(manager, () => manager.State.Migrations["m2"].Outcome is not null);
        Assert.Empty(_parties.Violations);
        return manager.State.Migrations["m2"];
    }

    private Task UntilAsync(ManagerService manager, Func<bool> condition) => manager.UntilAsync(condition, _parties);
}
