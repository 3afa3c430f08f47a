using SdnEdge.Core.Api;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>The move of services without state: no host is asked anything, and the network moves alone, or not at all.</summary>
public class StatelessTests
{
    private static readonly MoveStage[] s_beforePivot =
        [MoveStage.PrepareTarget, MoveStage.PrepareSource, MoveStage.Mirror, MoveStage.Switch, MoveStage.Stop];

    public static TheoryData<MoveStage> BeforePivot => new(s_beforePivot);

    [Fact]
    public void The_network_moves_alone_and_the_journal_knows_where_the_service_is()
    {
        using Story story = Begin().End();
        Assert.Equal(MigrationOutcome.Moved, story.Migration.Outcome);
        Assert.Empty(story.Asked.OfType<SendOrder>());
        Assert.Empty(story.Asked.OfType<WatchServer>());
        string[] signals = [.. story.Move.Signals.Select(s => $"{Words.Of(s.Reply.Signal)} {s.Pe}")];
        Assert.Equal(
        [
            "prepare pe-b", "prepare pe-a", "switch pe-a", "release pe-b", "advertise pe-b", "withdraw pe-a", "teardown pe-a",
            "teardown pe-b",
        ], signals);
        Assert.Equal(new Ownership("site-b", 1), story.State.GroupOf("shop").Owners["sip"]);
    }

    // Nobody is led to a dead instance: the switch waits for the answer of the one at the target.
    [Fact]
    public void The_switch_comes_only_when_the_targets_instance_has_answered()
    {
        using Story story = Begin().Until(MoveStage.Mirror).Done("tunnel-up m1.1");
        Assert.Equal(["answering m1.1"], story.Open.Select(c => c.Key));
        Assert.DoesNotContain(story.Asked.OfType<SendSignal>(), s => s.Signal == SignalKind.Switch);
        story.Expire("pe-b: no answer has come from 10.1.1.10 on port dc").End();
        Assert.Equal(MigrationOutcome.AsBefore, story.Migration.Outcome);
        Assert.Contains("10.1.1.10", story.Migration.Failure, StringComparison.Ordinal);
        Assert.DoesNotContain(story.Asked.OfType<SendSignal>(), s => s.Signal == SignalKind.Switch);
    }

    // What was true an hour ago does not count: it is asked when the window is open.
    [Fact]
    public void In_a_window_the_instance_is_asked_when_it_is_open()
    {
        using Story story = new Story().Ask(Plans.Request(Cutover.Together, Plans.InWindow(Plans.Stateless(["sip"]))));
        story.Feed(new WindowReached(Plans.Window.Near)).Until(MoveStage.Mirror).Done("tunnel-up m1.1");
        Assert.Equal(["window open"], story.Open.Select(c => c.Key));
        story.Feed(new WindowReached(Plans.Window.From));
        Assert.Equal(["answering m1.1"], story.Open.Select(c => c.Key));
    }

    [Theory]
    [MemberData(nameof(BeforePivot))]
    public void An_abort_before_the_release_takes_all_of_it_back(MoveStage stage)
    {
        using Story story = Begin().Until(stage).Abort().End();
        Assert.Equal((MigrationOutcome.AsBefore, 2L), (story.Migration.Outcome!.Value, story.Move.Epoch));
        Assert.Equal(["abort pe-a", "abort pe-b"],
            story.Move.Signals.Where(s => s.Reply.Signal == SignalKind.Abort).Select(s => $"{Words.Of(s.Reply.Signal)} {s.Pe}"));
        Assert.Equal(new Ownership("site-a", 2), story.State.GroupOf("shop").Owners["sip"]);
        Assert.Empty(story.Asked.OfType<SendOrder>());
    }

    [Theory]
    [MemberData(nameof(BeforePivot))]
    public void A_stage_that_does_not_end_in_time_takes_all_of_it_back(MoveStage stage)
    {
        using Story story = Begin().Until(stage).Expire().End();
        Assert.Equal(MigrationOutcome.AsBefore, story.Migration.Outcome);
        Assert.Equal(MoveOutcome.AsBefore, story.Move.Outcome);
    }

    // From the pivot on there is nothing that only a target could deny: it goes on.
    [Fact]
    public void An_abort_after_the_pivot_is_refused_with_the_way_back()
    {
        using Story story = Begin().Until(MoveStage.Release);
        Assert.Contains("a move the other way", MoveMachine.MayAbort(story.Move), StringComparison.Ordinal);
        story.Abort().End();
        Assert.Equal(MigrationOutcome.Moved, story.Migration.Outcome);
    }

    [Fact]
    public void One_that_fails_behind_others_takes_them_back()
    {
        MovePlan first = Plans.Stateless(["sip"]), second = Plans.Move([], firstPath: 2) with { Services = ["dns"] };
        using Story story = new Story().Ask(Plans.Request(Cutover.OneByOne, first, second));
        story.EndMove().Abort().End();
        Assert.Equal(MigrationOutcome.AsBefore, story.Migration.Outcome);
        Assert.Equal(3, story.Migration.Moves.Count);
        Assert.All(["sip", "dns"], s => Assert.Equal("site-a", story.State.GroupOf("shop").Owners[s].Site));
    }

    [Fact]
    public void The_watch_ends_with_the_answer_of_every_instance_and_says_until_then_who_is_silent()
    {
        PathMove path = Plans.Path(1);
        var watcher = new PathWatcher(PathWatch.Answering, path, Plans.Quick, new PathEvidence(), 0);
        Assert.Equal((MigrationCondition.ServersAnswer, false, true),
            (watcher.TargetUntil, watcher.First.Source, watcher.First.Target));
        var target = new MigrationInfo("m1.1", MigrationRole.Target, PeMigrationState.Prepared, 1, "blue", [], "peer", "t", true, null,
            null);
        Assert.Null(Take(target));
        Assert.Null(Take(target with { Silent = "no answer has come from 10.1.1.1 on port eth2" }));
        Assert.Equal((WaitReason.InstanceSilent, "pe-b: no answer has come from 10.1.1.1 on port eth2"), (watcher.Reason, watcher.Detail));
        Assert.NotNull(Take(target with { Silent = "" }));

        PathEvidence? Take(MigrationInfo seen) => watcher.Take(new PathLook(null, seen, new Dictionary<string, string?>()), 1, out _);
    }

    private static Story Begin() => new Story().Ask(Plans.Request(Cutover.Together, Plans.Stateless(["sip"])));
}
