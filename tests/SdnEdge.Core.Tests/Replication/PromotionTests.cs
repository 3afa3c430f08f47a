using SdnEdge.Core.Replication;
using Xunit;

namespace SdnEdge.Core.Tests.Replication;

/// <summary>What a person is told before a copy is promoted, and when an owner gives way to one that was.</summary>
public sealed class PromotionTests
{
    private static readonly LogPoint s_here = new(100, 1, 7), s_kept = new(60, 1, 5);

    private static PromotionFacts Good => new("vs-disk", "store-a", OwnerRole.Replica, new CopyFacts(true, s_here, s_here), false, 100);

    [Fact]
    public void A_copy_that_has_all_that_was_answered_is_promoted()
    {
        Assert.Null(Promotion.Refusal(Good, null, out _));
        Assert.Null(Promotion.Refusal(Good with { Role = OwnerRole.Released, OwnerAnswered = 0 }, null, out _));
    }

    // Each says what would be lost, and the words that do it nevertheless.
    [Theory]
    [InlineData("connected", "is connected", "goes aside as a branch there")]
    [InlineData("resyncing", "sequence 60", "everything that store-a answered since")]
    [InlineData("stale", "23 records more, up to sequence 123", "they are lost here, and a branch there")]
    public void What_would_lose_something_is_refused_and_forced_by_the_volumes_name(string how, string what, string lost)
    {
        PromotionFacts facts = how switch
        {
            "connected" => Good with { OwnerConnected = true },
            "resyncing" => Good with { Copy = new CopyFacts(false, s_here, s_kept) },
            _ => Good with { OwnerAnswered = 123 },
        };
        string refusal = Promotion.Refusal(facts, null, out bool cannot)!;
        Assert.Contains(what, refusal, StringComparison.Ordinal);
        Assert.Contains(lost, refusal, StringComparison.Ordinal);
        Assert.Contains("--force vs-disk", refusal, StringComparison.Ordinal);
        Assert.False(cannot);
        Assert.Contains("'vs-dusk' was given", Promotion.Refusal(facts, "vs-dusk", out _), StringComparison.Ordinal);
        Assert.Null(Promotion.Refusal(facts, "vs-disk", out _));
    }

    [Fact]
    public void What_no_owner_ever_had_and_what_is_this_stores_own_cannot_be_forced()
    {
        Assert.Contains("was never whole here",
            Promotion.Refusal(Good with { Copy = new CopyFacts(false, s_here, null) }, "vs-disk", out bool cannot),
            StringComparison.Ordinal);
        Assert.True(cannot);
        Assert.Contains("owns vs-disk itself", Promotion.Refusal(Good with { Role = OwnerRole.Owner }, "vs-disk", out cannot),
            StringComparison.Ordinal);
        Assert.True(cannot);
        Assert.Contains("in the middle of a move", Promotion.Refusal(Good with { Role = OwnerRole.Sealed }, "vs-disk", out cannot),
            StringComparison.Ordinal);
        Assert.True(cannot);
    }

    // What a manager has granted it may void: giving way to that would leave nobody with the volume.
    [Fact]
    public void An_owner_gives_way_to_a_promoted_one_of_a_higher_epoch_and_to_no_other()
    {
        OwnershipRecord owner = OwnershipRecord.First(OwnershipStory.Volume, OwnershipStory.Guest);
        Assert.True(OwnershipMachine.GivesWay(owner, 2, isFinal: true));
        Assert.True(OwnershipMachine.GivesWay(owner with { Role = OwnerRole.Sealed }, 2, isFinal: true));
        Assert.False(OwnershipMachine.GivesWay(owner, 2, isFinal: false));
        Assert.False(OwnershipMachine.GivesWay(owner, 1, isFinal: true));
        Assert.True(OwnershipMachine.GivesWay(owner with { Seen = 3 }, 2, isFinal: true));
        Assert.False(OwnershipMachine.GivesWay(owner with { Role = OwnerRole.Released }, 2, isFinal: true));
    }

    // A manager had begun a move under epoch 3; the owner that it follows is that of 2.
    [Fact]
    public void An_owner_that_gives_way_follows_the_promoted_one_also_where_a_higher_epoch_was_seen()
    {
        var a = new OwnershipStory(OwnershipRecord.First(OwnershipStory.Volume, OwnershipStory.Guest));
        a.Order(OwnershipOrderKind.Prepare, 3).Order(OwnershipOrderKind.Seal, 3)
            .Order(OwnershipOrderKind.Release, 3, o => o with { OwnerEpoch = 2 });
        Assert.Equal((OwnerRole.Released, 2ul, 3ul), (a.State.Record.Role, a.State.Record.OwnerEpoch, a.State.Record.Seen));
        Assert.Null(OwnershipMachine.MayFollow(a.State.Record, 2));
    }

    [Fact]
    public void Who_promoted_a_copy_is_on_disk_and_a_grant_of_a_manager_is_not_a_promotion()
    {
        var b = new OwnershipStory(OwnershipRecord.Follower(OwnershipStory.Volume));
        b.Order(OwnershipOrderKind.Grant, 2, o => o with { PromotedBy = "uid 0" });
        Assert.Equal("uid 0", b.Crash().State.Record.PromotedBy);
        var c = new OwnershipStory(OwnershipRecord.Follower(OwnershipStory.Volume)).Grant(2);
        Assert.Null(c.State.Record.PromotedBy);
    }
}
