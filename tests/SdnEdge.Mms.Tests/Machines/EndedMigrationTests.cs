using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>What is kept of migrations that have ended: the last ones whole, of the others a row.</summary>
public class EndedMigrationTests
{
    private const int Kept = ManagerState.EndedKept;

    [Fact]
    public void The_last_ones_are_kept_whole_and_of_those_before_them_a_row()
    {
        using var story = new ManyMigrations();
        MigrationState[] whole = [.. Enumerable.Range(0, Kept + 2).Select(_ => story.Next())];
        Assert.Equal(whole.Skip(2).Select(m => m.Id), story.State.EndedWhole);
        Assert.Equal(whole.Skip(2).Select(m => m.Id).Order(), story.State.Migrations.Keys.Order());
        Assert.Equal(["m1", "m2"], story.State.Ended.Keys);
        EndedMigration row = story.State.Ended["m1"];
        MigrationState first = whole[0];
        Assert.Equal((first.Id, first.Request, first.By, first.IdempotencyKey, first.At, first.EndedAt),
            (row.Id, row.Request, row.By, row.IdempotencyKey, row.At, row.EndedAt));
        Assert.Equal((MigrationOutcome.Moved, "site-a", MoveStage.Ended, 1L, null, false, null),
            (row.Outcome, row.From, row.Stage, row.Epoch, row.Failure, row.Committed, row.Unproved));
        Assert.Equal(["10.1.1.1/32"], row.Advertised);
    }

    [Fact]
    public void The_records_alone_lead_to_the_same_rows()
    {
        using var story = new ManyMigrations();
        for (int i = 0; i < Kept + 3; i++) story.Next(undo: i % 2 == 1);
        ManagerState folded = Story.Fold(story.Records);
        Assert.Equal(story.State.EndedWhole, folded.EndedWhole);
        Assert.Equal(story.State.Migrations.Keys, folded.Migrations.Keys);
        Assert.Equal(story.State.Ended.Keys, folded.Ended.Keys);
        Assert.All(story.State.Ended.Values, row =>
        {
            EndedMigration same = folded.Ended[row.Id];
            Assert.Equal(row.Advertised, same.Advertised);
            Assert.Equal(row, same with { Advertised = row.Advertised });
        });
        Assert.Equal(MigrationOutcome.AsBefore, folded.Ended["m2"].Outcome);
        Assert.Equal("changed my mind", folded.Ended["m2"].Failure);
        Assert.Empty(folded.Ended["m2"].Advertised);
    }

    // Guards: Finish counts in the order of the ends, not of the ids: what has just ended must be there for those who are to be told.
    [Fact]
    public void One_that_began_first_and_ended_last_is_whole()
    {
        using var story = new ManyMigrations();
        string slow = story.Begin(), group = story.State.Migrations[slow].Request.Group;
        for (int i = 0; i < Kept + 1; i++) story.Next();
        Assert.Equal("m2", Assert.Single(story.State.Ended).Key);
        Assert.Equal(slow, story.State.RunningOf(group)!.Id);
        MigrationState ended = story.End(slow);
        Assert.Same(ended, story.State.Migrations[slow]);
        Assert.Equal(slow, story.State.EndedWhole[^1]);
        Assert.Equal(["m2", "m3"], story.State.Ended.Keys);
    }

    [Fact]
    public void A_row_can_be_committed_once_and_nothing_else_happens_to_it()
    {
        using var story = new ManyMigrations();
        MigrationState first = story.Next();
        MigrationState second = story.Next(undo: true);
        for (int i = 0; i < Kept; i++) story.Next();
        ManagerState before = story.State;
        Assert.Same(before, story.Feed(new MoveHappened(first.Id, new AbortRequested("user ops", "too late"))));
        Assert.Same(before, story.Feed(new MoveHappened(first.Id, new TakenUp())));
        Assert.Same(before, story.Feed(new CommitRequested(second.Id, "user ops")));
        ManagerState after = story.Feed(new CommitRequested(first.Id, "user ops"));
        Assert.Equal(before.Ended[first.Id] with { Committed = true }, after.Ended[first.Id]);
        Assert.Same(before.Migrations, after.Migrations);
        Assert.False(ManagerMachine.OpensCommands(before, after));
        Assert.Same(after, story.Feed(new CommitRequested(first.Id, "user ops")));
    }

    // Guards: Row's `alike`. Prefixes are most of a row of a large group.
    [Fact]
    public void Rows_that_advertised_the_same_share_the_list()
    {
        using var story = new ManyMigrations();
        for (int i = 0; i < Kept + 4; i++) story.Next(undo: i == 1);
        EndedMigration[] rows = [.. story.State.Ended.Values];
        Assert.Equal([1, 0, 1, 1], rows.Select(r => r.Advertised.Count));
        Assert.Same(rows[0].Advertised, rows[2].Advertised);
        Assert.Same(rows[0].Advertised, rows[3].Advertised);
    }

    [Theory]
    [InlineData("m1.1", true)]
    [InlineData("m1-2.1", true)]
    [InlineData("m1", false)]
    [InlineData("m12.1", false)]
    [InlineData("m2.1", false)]
    public void Paths_are_known_by_the_migration_that_their_id_begins_with(string path, bool known)
    {
        using var story = new ManyMigrations();
        for (int i = 0; i < Kept + 1; i++) story.Next();
        Assert.Equal(known, story.State.Ended["m1"].HasPath(path));
    }
}
