using FsCheck.Xunit;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>
/// One by one with several members on the way at once: never more than were asked for, each with its own pivot and its own epoch, and all
/// or none at the end.
/// </summary>
public class AtOnceTests
{
    // Guards: ManagerMachine.GoOn, Next.
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(9)]
    public void As_many_run_as_were_asked_for_and_the_next_begins_when_one_has_ended(int atOnce)
    {
        using Story story = Begin(6, atOnce);
        Assert.Equal(Enumerable.Range(1, Math.Min(6, atOnce)), story.Migration.Running);
        if (atOnce == 2)
        {
            EndMove(story, 2);
            Assert.Equal([1, 3], story.Migration.Running);
        }

        if (atOnce > 1) story.EndAll(seed: 7);
        else story.End();
        Assert.Equal(MigrationOutcome.Moved, story.Migration.Outcome);
        Assert.Equal(Enumerable.Range(1, 6).Select(n => (long)n), story.Migration.Moves.Select(m => m.Epoch));
        Assert.All(story.Migration.Moves, m => Assert.Equal(MoveOutcome.Moved, m.Outcome));
        Assert.All(story.State.GroupOf("shop").Owners, o => Assert.Equal("site-b", o.Value.Site));
    }

    // Guards: ManagerMachine.GoOn, GiveWay: all or none.
    [Fact]
    public void When_one_is_refused_those_before_their_pivot_are_undone_and_those_behind_it_go_to_the_end_and_back()
    {
        using Story story = Begin(6, 3);
        EndMove(story, 1);
        Until(story, 2, MoveStage.Activate);
        Until(story, 3, MoveStage.Mirror);
        Refuse(story, 4, "prepare m1.4");
        Assert.Equal([2, 3, 4], story.Migration.Running);
        Assert.Equal([MoveStage.Activate, MoveStage.ResumeSource, MoveStage.ResumeSource],
            story.Migration.Running.Select(n => story.Migration.MoveOf(n).Stage));
        Assert.Contains("s4 is undone", story.Migration.MoveOf(3).Failure);

        // The epochs that burn those of the undone are used by nobody else.
        Assert.Equal([1, 2, 6, 5], story.Migration.Moves.Select(m => m.Epoch));
        story.EndAll(seed: 3);
        Assert.Equal(MigrationOutcome.AsBefore, story.Migration.Outcome);
        Assert.Equal(["s1", "s2", "s3", "s4", "s2", "s1"], story.Migration.Moves.Select(m => m.Plan.Servers[0].Name));
        Assert.All(story.State.GroupOf("shop").Owners, o => Assert.Equal("site-a", o.Value.Site));
    }

    // Guards: ManagerMachine.MayAbort, WhoseInput. An abort is of the migration: of every move that can be undone.
    [Fact]
    public void An_abort_undoes_all_that_can_be_undone_and_brings_the_others_back()
    {
        using Story story = Begin(5, 3);
        Until(story, 1, MoveStage.Release);
        Until(story, 2, MoveStage.Activate);
        Until(story, 3, MoveStage.Stop);
        story.Abort();
        Assert.Equal([MoveStage.Release, MoveStage.Void, MoveStage.ResumeSource],
            story.Migration.Running.Select(n => story.Migration.MoveOf(n).Stage));
        story.EndAll(seed: 1);
        Assert.Equal(MigrationOutcome.AsBefore, story.Migration.Outcome);
        Assert.Equal(["s1", "s2", "s3", "s1"], story.Migration.Moves.Select(m => m.Plan.Servers[0].Name));
    }

    // Guards: MoveHappened.Move. A deadline is of one move: one in the same stage beside it goes on.
    [Fact]
    public void What_expires_is_the_move_that_it_is_said_of()
    {
        using Story story = Begin(4, 2);
        Until(story, 1, MoveStage.Stop);
        Until(story, 2, MoveStage.Stop);
        Answer(story, 1);
        story.Feed(2, new StageExpired(MoveStage.Stop, "host-a is silent"));
        Assert.NotNull(story.Migration.MoveOf(2).Failure);
        Assert.StartsWith("stop did not end in time", story.Migration.MoveOf(2).Failure, StringComparison.Ordinal);
        Assert.StartsWith("s2 is undone", story.Migration.MoveOf(1).Failure, StringComparison.Ordinal);

        // What is said of a move that has ended, or that there is none of, changes nothing.
        ManagerState state = story.State;
        story.Feed(9, new StageExpired(MoveStage.Stop, "late")).Feed(0, new Begin());
        Assert.Same(state, story.State);
    }

    // Guards: ManagerMachine.AgainAndBack.
    [Fact]
    public void Those_that_go_back_do_so_as_many_at_once_and_one_that_cannot_is_tried_again()
    {
        using Story story = Begin(6, 3);
        for (int move = 1; move <= 5; move++) EndMove(story, move);
        Refuse(story, 6, "prepare m1.6");
        EndMove(story, 6);
        Assert.True(story.Migration.GoingBack);
        Assert.Equal([7, 8, 9], story.Migration.Running);
        Refuse(story, 8, "prepare m1-8.1");
        EndMove(story, 8);
        Assert.Equal(MoveStage.Planned, story.Migration.MoveOf(10).Stage);
        Assert.Equal([7, 9, 10], story.Migration.Running);
        Assert.Equal((10, story.Records[^1].NowNs + ManagerMachine.TryAgainNs), ManagerMachine.Due(story.Migration));
        Assert.NotNull(ManagerMachine.MayAbort(story.Migration));
        story.EndAll(seed: 5);
        Assert.Equal(MigrationOutcome.AsBefore, story.Migration.Outcome);
        Assert.All(story.State.GroupOf("shop").Owners, o => Assert.Equal("site-a", o.Value.Site));
        PathMove[] paths = [.. story.Migration.Moves.SelectMany(m => m.Plan.Paths)];
        Assert.Equal(paths.Length, paths.DistinctBy(p => p.Id).Count());
        Assert.Equal(paths.Length, paths.DistinctBy(p => p.TunnelKey).Count());
    }

    // Guards: ManagerMachine.EndFenced. Who is not in charge tells nobody anything.
    [Fact]
    public void One_that_is_fenced_off_ends_all_where_they_are()
    {
        using Story story = Begin(4, 2);
        Until(story, 1, MoveStage.Mirror);
        story.Feed(2, new Refused(MoveMachine.Open(story.Migration.MoveOf(2))[0].Key, "/problems/stale-epoch", "epoch 9 was seen"));
        Assert.Equal(MigrationOutcome.Fenced, story.Migration.Outcome);
        Assert.All(story.Migration.Moves, m => Assert.Equal(MoveOutcome.Fenced, m.Outcome));
    }

    // Guards: ManagerMachine.Noted: nothing is begun with parties that do not answer, and what had moved stays.
    [Fact]
    public void Parties_that_are_given_up_end_the_migration_when_the_moves_on_the_way_have_ended()
    {
        using Story story = Begin(6, 2);
        Until(story, 1, MoveStage.TeardownSource);
        Until(story, 2, MoveStage.Mirror);
        story.Feed(new GiveUpRequested("user ops", "it burnt down", ["site-a"]), "user ops");
        story.EndAll(seed: 2);
        Assert.Equal(MigrationOutcome.GivenUp, story.Migration.Outcome);
        Assert.Equal(2, story.Migration.Moves.Count);
        Assert.Equal("site-b", story.State.GroupOf("shop").Owners["s1"].Site);
        Assert.Equal("site-a", story.State.GroupOf("shop").Owners["s2"].Site);
    }

    // Guards: MigrationState.NumberFor. A journal of an earlier version has no numbers, and says the same as before.
    [Fact]
    public void One_at_a_time_a_record_has_no_number_and_several_at_once_each_has_one()
    {
        using Story one = Begin(2, 1), two = Begin(2, 2);
        Assert.Null(one.Migration.NumberFor(1));
        Assert.DoesNotContain("atOnce", one.Records[0].Body, StringComparison.Ordinal);
        one.Done("prepare m1.1");
        Assert.DoesNotContain("\"move\":", one.Records[1].Body, StringComparison.Ordinal);
        Answer(two, 2);
        Assert.Equal(2, two.Migration.NumberFor(2));
        Assert.Contains("\"move\":2", two.Records[1].Body, StringComparison.Ordinal);
        Assert.Contains("at most 2 at once", two.Text, StringComparison.Ordinal);
        Assert.Contains("move 2: pe-d has done prepare m1.2", two.Text, StringComparison.Ordinal);
        Assert.Contains("beside  begins: move 2 of m1", two.Text, StringComparison.Ordinal);
    }

    [Property(MaxTest = 300)]
    public void Whatever_comes_it_ends_with_everybody_at_one_place_and_the_records_alone_lead_there(byte[] choices, byte atOnce)
    {
        using Story story = Begin(5, 2 + (atOnce % 4));
        foreach (byte choice in choices)
        {
            if (story.Migration.Outcome is not null) break;
            int[] running = [.. story.Migration.Running];
            int move = running[choice / 16 % running.Length];
            MoveState state = story.Migration.MoveOf(move);
            IReadOnlyList<MoveCommand> open = MoveMachine.Open(state);
            switch (choice % 16)
            {
                case 0:
                    story.Abort();
                    break;
                case 1:
                    story.Feed(move, new StageExpired(state.Stage, "late"));
                    break;
                case 2:
                    story.Feed(new TakenUp());
                    break;
                case 3 when open.Count > 0:
                    story.Feed(move, new Refused(open[^1].Key, "/problems/invalid", "no"));
                    break;
                case 4 when story.Asked.Count > 0:
                    // Late, and at times of another move.
                    story.Feed(move, Plans.Answer(story.Asked[choice * 31 % story.Asked.Count], EpochVerdict.Ran));
                    break;
                case 5 when open.Count > 0:
                    story.Feed(move, Plans.Answer(open[0], EpochVerdict.Ran));
                    break;
                default:
                    for (int i = 0; i < 12 && story.Migration.Outcome is null && story.Migration.MoveOf(move).Outcome is null; i++)
                        Answer(story, move);
                    break;
            }
        }

        if (story.Migration.Outcome is null) story.EndAll(atOnce);
        Assert.Contains(story.Migration.Outcome!.Value, (MigrationOutcome[])[MigrationOutcome.Moved, MigrationOutcome.AsBefore]);
        string site = story.Migration.Outcome == MigrationOutcome.Moved ? "site-b" : "site-a";
        Assert.All(story.State.GroupOf("shop").Owners.Values, o => Assert.Equal(site, o.Site));
        Assert.Equivalent(story.State, Story.Fold(story.Records), strict: true);
    }

    private static Story Begin(int servers, int atOnce)
    {
        MigrationRequested request = Plans.Request(Cutover.OneByOne,
            [.. Enumerable.Range(1, servers).Select(n => Plans.Move([$"s{n}"], firstPath: n))]);
        return new Story().Ask(request with { Request = request.Request with { AtOnce = atOnce > 1 ? atOnce : null } });
    }

    private static void Answer(Story story, int move) => story.Feed(move,
        story.Migration.MoveOf(move).Stage == MoveStage.Planned ? new Begin()
            : Plans.Answer(MoveMachine.Open(story.Migration.MoveOf(move))[0]));

    private static void Refuse(Story story, int move, string begin) => story.Feed(move, new Refused(
        MoveMachine.Open(story.Migration.MoveOf(move)).First(c => c.Key.StartsWith(begin, StringComparison.Ordinal)).Key,
        "/problems/wrong-state", "it cannot"));

    private static void Until(Story story, int move, MoveStage stage)
    {
        for (int i = 0; i < 1000 && story.Migration.MoveOf(move).Stage != stage; i++) Answer(story, move);
        Assert.Equal(stage, story.Migration.MoveOf(move).Stage);
    }

    private static void EndMove(Story story, int move)
    {
        for (int i = 0; i < 1000 && story.Migration.MoveOf(move).Outcome is null; i++) Answer(story, move);
        Assert.NotNull(story.Migration.MoveOf(move).Outcome);
    }
}
