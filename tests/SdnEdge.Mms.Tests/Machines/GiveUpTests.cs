using SdnEdge.Core.Api;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>
/// An operator gives up parties that will not answer any more: what is allowed when, and that it never looks like a clean end.
/// </summary>
public class GiveUpTests
{
    private static readonly string[] s_parties = ["host-a", "host-b", "pe-a", "pe-b", "site-a", "site-b"];

    public static TheoryData<MoveStage, string> All
    {
        get
        {
            var data = new TheoryData<MoveStage, string>();
            MoveStage[] others =
                [MoveStage.Planned, MoveStage.AwaitWindow, MoveStage.HandOver, MoveStage.Settle, MoveStage.Fence, MoveStage.Ended];
            foreach (MoveStage stage in Enum.GetValues<MoveStage>().Except(others))
            {
                foreach (string party in s_parties) data.Add(stage, party);
            }

            return data;
        }
    }

    // In every stage, for every party: refused or allowed as the rules say; when allowed, the move ends without a word of that party.
    [Theory]
    [MemberData(nameof(All))]
    public void In_every_stage_every_party_is_refused_or_given_up_as_the_rules_say(MoveStage stage, string party)
    {
        using Story story = At(stage);
        bool afterPivot = stage is > MoveStage.Stop and <= MoveStage.Void, target = party is "host-b" or "pe-b" or "site-b";
        string? why = GiveUp.MayGiveUp(story.Move, [party]);
        int records = story.Records.Count;
        story.Feed(new GiveUpRequested("user ops", "it burnt down", [party]), "user ops");
        if (afterPivot && target)
        {
            Assert.NotNull(why);
            Assert.Equal(records, story.Records.Count);
            return;
        }

        Assert.Null(why);
        Assert.Equal(records + 1, story.Records.Count);
        string[] gone = [.. story.Move.GivenUp];
        Assert.Equal(party switch { "site-a" => ["host-a", "pe-a"], "site-b" => ["host-b", "pe-b"], _ => [party] }, gone);
        while (story.Migration.Outcome is null)
        {
            Assert.DoesNotContain(story.Open, c => c is SendSignal s && gone.Contains(s.Pe));
            Assert.DoesNotContain(story.Open, c => c is SendOrder o && gone.Contains(o.Host));
            story.Feed(Plans.Answer(story.Open[0]));
        }

        Assert.Equal((MigrationOutcome.GivenUp, MoveOutcome.GivenUp), (story.Migration.Outcome, story.Move.Outcome));
        Assert.Contains("user ops gave up " + party, story.Migration.Failure + story.Move.GivenUpWhy, StringComparison.Ordinal);
        Assert.NotEmpty(GiveUp.Unproved(story.Move));
        Assert.All(gone, p => Assert.Contains(GiveUp.Unproved(story.Move), u => u.Contains(p, StringComparison.Ordinal)));

        // Who owns it is as it was: before the pivot and in an undo the source, under an epoch of its own, else the target.
        bool moved = stage is > MoveStage.Stop and < MoveStage.Void;
        Assert.Equal(moved ? new Ownership("site-b", 1) : new Ownership("site-a", 2), story.State.GroupOf("shop").Owners["s1"]);
        Assert.Equivalent(story.State, Story.Fold(story.Records), strict: true);
    }

    // R5: an operator's word is neither the target's nor a fence.
    [Theory]
    [InlineData(MoveStage.Activate)]
    [InlineData(MoveStage.Void)]
    public void After_the_pivot_a_target_that_may_run_is_not_given_up_and_the_reason_says_what_decides(MoveStage stage)
    {
        using Story story = At(stage);
        string why = GiveUp.MayGiveUp(story.Move, ["host-b"])!;
        Assert.Contains("host-b may run what was granted under epoch 1", why, StringComparison.Ordinal);
        Assert.Contains("void", why, StringComparison.Ordinal);
        Assert.Contains("fence", why, StringComparison.Ordinal);
    }

    [Fact]
    public void A_source_that_still_hands_over_what_cannot_be_undone_is_not_given_up()
    {
        MovePlan plan = Plans.Move(["s1"]);
        using Story story = new Story().Ask(Plans.Request(
            Cutover.Together, plan with { Servers = [plan.Servers[0] with { Undoable = false }] })).Until(MoveStage.HandOver);
        Assert.Contains("hands over", GiveUp.MayGiveUp(story.Move, ["host-a"]), StringComparison.Ordinal);
    }

    [Fact]
    public void A_stranger_and_nobody_are_refused_and_so_is_what_has_ended()
    {
        using Story story = At(MoveStage.Mirror);
        Assert.Contains("'host-z' is no party of it; it has host-a, pe-a, host-b, pe-b, at site-a and site-b",
            GiveUp.MayGiveUp(story.Move, ["host-a", "host-z"]), StringComparison.Ordinal);
        Assert.Contains("no party is named", GiveUp.MayGiveUp(story.Move, []), StringComparison.Ordinal);
        Assert.Contains("it has ended", ManagerMachine.MayGiveUp(At(MoveStage.Inspect).End().Migration, ["host-a"]));
    }

    // A member has moved, the next one failed, and the site where all were before died meanwhile. Before, the way back was tried for ever.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_way_back_to_a_dead_site_is_ended_by_an_operator_and_each_member_stays_where_it_is(bool between)
    {
        using Story story = new Story().Ask(Plans.Request(Cutover.OneByOne, Plans.Move(["s1"]), Plans.Move(["s2"], firstPath: 2)));
        story.EndMove().Until(MoveStage.Mirror).Abort().EndMove();
        Assert.True(story.Migration.GoingBack);
        Assert.Equal(("site-b", "site-a"), (story.Move.Plan.From, story.Move.Plan.To));
        Assert.NotNull(ManagerMachine.MayAbort(story.Migration));
        if (between) story.Expire().EndMove();
        Assert.Equal(between ? MoveStage.Planned : MoveStage.PrepareTarget, story.Move.Stage);
        long epoch = story.State.GroupOf("shop").Owners["s1"].Epoch;
        story.Feed(new GiveUpRequested("user ops", "dc-a burnt down", ["site-a"]), "user ops");
        for (int i = 0; i < 100 && story.Migration.Outcome is null; i++) story.Feed(Plans.Answer(story.Open[0]));
        Assert.Equal(MigrationOutcome.GivenUp, story.Migration.Outcome);
        Assert.Contains(GiveUp.Unproved(story.Move), u => u.Contains("s1 does not run at host-a", StringComparison.Ordinal));
        Assert.Equal("site-b", story.State.GroupOf("shop").Owners["s1"].Site);
        Assert.Equal("site-a", story.State.GroupOf("shop").Owners["s2"].Site);
        Assert.True(story.State.GroupOf("shop").Owners["s1"].Epoch >= epoch);
        Assert.Equal(long.MaxValue, ManagerMachine.Deadline(story.Migration));
    }

    private static Story At(MoveStage stage) => stage < MoveStage.Void ? Story.Of("s1").Until(stage)
        : Story.Of("s1").Until(stage == MoveStage.Void ? MoveStage.Activate : MoveStage.Stop).Abort().Until(stage);
}
