using SdnEdge.Core.Api;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>What an operator is told to do about a migration that waits.</summary>
public class RemedyTests
{
    // A party of the source may be lost for good: the servers run at the target, and the move ends without its word.
    [Theory]
    [InlineData(MoveStage.Withdraw, "pe-a", true)]
    [InlineData(MoveStage.TeardownSource, "pe-a", true)]
    [InlineData(MoveStage.AbortSource, "pe-a", true)]
    [InlineData(MoveStage.Withdraw, "pe-b", false)]
    [InlineData(MoveStage.Activate, "host-b", false)]
    public void A_PE_that_has_gone_is_brought_back_or_given_up_where_that_may_be(MoveStage stage, string party, bool mayGiveUp)
    {
        using Story story = At(stage);
        string remedy = Of(story, WaitReason.PeerUnreachable, party)!;
        Assert.StartsWith($"bring {party} back, and the migration goes on by itself", remedy, StringComparison.Ordinal);
        Assert.Equal(mayGiveUp, remedy.Contains($"'sdnedge migrate abort m1 --give-up {party} --why WHY'", StringComparison.Ordinal));
        Assert.Equal(mayGiveUp, GiveUp.MayGiveUp(story.Move, [party]) is null);
    }

    // A deadline undoes it, or nobody is asked anything yet.
    [Theory]
    [InlineData(MoveStage.PrepareTarget)]
    [InlineData(MoveStage.Mirror)]
    [InlineData(MoveStage.Stop)]
    public void Before_the_pivot_time_alone_is_the_remedy(MoveStage stage)
    {
        using Story story = At(stage);
        Assert.Null(Of(story, WaitReason.PeerUnreachable, "pe-a"));
    }

    [Fact]
    public void A_prefix_that_moved_often_may_be_damped_and_one_that_did_not_is_not()
    {
        ManagerState state = ManagerState.Empty;
        for (int i = 0; i < 3; i++)
        {
            using Story story = At(MoveStage.DirectPath);
            string prefix = story.Move.Plan.Paths[0].Target.Prefixes[0].Prefix;
            var waits = new Waiting("direct-path m1.1", WaitReason.NoDirectPath, "", 1, "pe-i");
            Assert.Null(Remedies.Of(state, story.Migration, waits, s_now));
            var row = new EndedMigration($"x{i}", story.Migration.Request, "me", null, "", $"{s_now.AddMinutes(-2 - i):O}",
                MigrationOutcome.Moved, "site-a", MoveStage.Ended, i, null, false, null, [prefix]);
            state = state with { Ended = state.Ended.Add(row.Id, row) };
        }

        using Story late = At(MoveStage.DirectPath);
        string remedy = Remedies.Of(state, late.Migration, new Waiting("direct-path m1.1", WaitReason.NoDirectPath, "", 1, "pe-i"), s_now)!;
        Assert.Contains("moved 3 times within 15 minutes", remedy, StringComparison.Ordinal);
        Assert.Contains("damps flapping routes", remedy, StringComparison.Ordinal);
        Assert.Null(Remedies.Of(state, late.Migration, new Waiting("direct-path m1.1", WaitReason.NoDirectPath, "", 1, "pe-i"),
            s_now.AddMinutes(15)));
    }

    private static readonly DateTimeOffset s_now = new(2026, 11, 28, 12, 0, 0, TimeSpan.Zero);

    private static string? Of(Story story, WaitReason reason, string party)
        => Remedies.Of(story.State, story.Migration, new Waiting("step", reason, "it is silent", 1, party), s_now);

    private static Story At(MoveStage stage) => stage is MoveStage.AbortSource
        ? Story.Of("s1").Until(MoveStage.Switch).Abort().Until(stage) : Story.Of("s1").Until(stage);
}
