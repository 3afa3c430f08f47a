using SdnEdge.Core.Api;
using SdnEdge.Mms.Api;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>What is on record of volumes: reports come late, twice and out of order, and a stale copy is never granted.</summary>
public sealed class VolumeMarksTests
{
    private static readonly Guid s_disk = Plans.VolumeId("disk-s1");

    [Fact]
    public void The_first_report_is_on_record_and_the_same_one_again_changes_nothing()
    {
        ManagerState state = Take(ManagerState.Empty, 1, 1, 901);
        Assert.Equal(new VolumeMark(1, 1, 901, "at 1.1", "store-a", "disk-s1"), state.Volumes[s_disk]);
        Assert.Same(state, Take(state, 1, 1, 901));
        Assert.Same(state, Take(state, 1, 1, 950));
        Assert.Equal(850ul, Take(state, 1, 1, 850).Volumes[s_disk].StaleFrom);
    }

    [Fact]
    public void What_is_over_stays_over_and_what_is_of_an_older_number_or_epoch_is_late()
    {
        ManagerState whole = Take(Take(ManagerState.Empty, 5, 2, 901), 5, 2, null);
        Assert.Equal(new VolumeMark(5, 2, null, null, "store-a", "disk-s1"), whole.Volumes[s_disk]);
        Assert.Same(whole, Take(whole, 5, 2, 901));
        Assert.Same(whole, Take(whole, 5, 1, 801));
        Assert.Same(whole, Take(whole, 5, 1, null));
        Assert.Same(whole, Take(whole, 4, 9, 901));
        Assert.Equal("the report is of epoch 4, and epoch 5 of the volume is on record: another store owns it",
            VolumeMarks.WhyNot(whole, Report(4, 9, 901)));

        // That an older one is over says nothing of the newer one.
        ManagerState again = Take(whole, 5, 3, 990);
        Assert.Same(again, Take(again, 5, 2, null));
        Assert.Equal(990ul, again.Volumes[s_disk].StaleFrom);
    }

    [Fact]
    public void An_owner_that_goes_on_under_a_higher_epoch_reports_anew_and_that_counts()
    {
        ManagerState state = Take(Take(ManagerState.Empty, 1, 1, 901), 3, 1, 901);
        VolumeMark mark = state.Volumes[s_disk];
        Assert.Equal((3ul, 901ul, "at 1.1"), (mark.Epoch, mark.StaleFrom!.Value, mark.Since));
        Assert.Null(Take(state, 3, 1, null).Volumes[s_disk].StaleFrom);
    }

    [Theory]
    [InlineData(MoveStage.PrepareTarget)]
    [InlineData(MoveStage.Mirror)]
    [InlineData(MoveStage.Switch)]
    [InlineData(MoveStage.Stop)]
    public void A_report_before_the_pivot_keeps_the_target_from_being_granted_anything(MoveStage stage)
    {
        using Story story = Moving().Until(stage);
        story.Feed(Report(1, 1, 901)).End();
        Assert.Equal(MigrationOutcome.AsBefore, story.Migration.Outcome);
        Assert.Equal("the copy of disk-s1 at site-b is stale from sequence 901 on, on record: it would be lost", story.Migration.Failure);
        Assert.DoesNotContain(story.Asked, c => c is SendOrder { Order: ServerOrder.Activate });
        Assert.Equal(901ul, story.State.Volumes[s_disk].StaleFrom);
    }

    // R8: the report and the pivot compete for the same position of the journal.
    [Fact]
    public void A_report_behind_the_pivot_is_of_an_owner_that_is_none_any_more()
    {
        using Story story = Moving().Until(MoveStage.Activate);
        Assert.NotNull(VolumeMarks.WhyNot(story.State, Report(1, 1, 901)));
        int records = story.Records.Count;
        story.Feed(Report(1, 1, 901));
        Assert.Equal(records, story.Records.Count);
        Assert.Equal(new VolumeMark(2, Name: "disk-s1"), story.State.Volumes[s_disk]);
        story.End();
        Assert.Equal(MigrationOutcome.Moved, story.Migration.Outcome);
    }

    [Fact]
    public void A_move_that_is_voided_gives_the_source_an_epoch_with_nothing_reported()
    {
        using Story story = Moving().Until(MoveStage.Activate).Abort();
        story.End();
        Assert.Equal(MigrationOutcome.AsBefore, story.Migration.Outcome);
        Assert.Equal(new VolumeMark((ulong)story.Move.Epoch + 1, Name: "disk-s1"), story.State.Volumes[s_disk]);
    }

    [Fact]
    public void What_is_whole_again_before_the_pivot_keeps_nothing_from_moving()
    {
        using Story story = Moving().Until(MoveStage.Stop).Feed(Report(1, 1, 901));
        Assert.Equal(901ul, story.Move.StaleVolumes[s_disk]);
        story.Feed(Report(1, 1, null));
        Assert.Empty(story.Move.StaleVolumes);
        story.End();
        Assert.Equal(MigrationOutcome.Moved, story.Migration.Outcome);
    }

    // The planner refuses it before; one that was planned a moment earlier is undone.
    [Fact]
    public void A_move_that_begins_with_a_stale_copy_knows_it()
    {
        using Story story = new Story().Feed(Report(1, 1, 901))
            .Ask(Plans.Request(Cutover.Together, Plans.WithVolumes(Plans.Move(["s1"]))));
        Assert.Equal(901ul, story.Move.StaleVolumes[s_disk]);
        story.End();
        Assert.Equal(MigrationOutcome.AsBefore, story.Migration.Outcome);
    }

    [Fact]
    public void A_report_of_another_volume_keeps_nobody_from_moving()
    {
        using Story story = Moving().Until(MoveStage.Mirror)
            .Feed(Report(1, 1, 901) with { Volume = Plans.VolumeId("disk-s9"), Name = "disk-s9" });
        Assert.Empty(story.Move.StaleVolumes);
        story.End();
        Assert.Equal(MigrationOutcome.Moved, story.Migration.Outcome);
    }

    [Fact]
    public void The_fold_of_the_records_has_the_same_marks()
    {
        using Story story = Moving().Until(MoveStage.Mirror).Feed(Report(1, 1, 901)).End();
        Assert.Equal(story.State.Volumes, Story.Fold(story.Records).Volumes);
    }

    // What the hosts answered, and how long the guest's writes waited for the other site: from the question for sync mode to the stop.
    [Fact]
    public void The_report_of_a_move_has_what_was_done_with_each_volume_in_order()
    {
        using Story story = new Story().Ask(Plans.Request(Cutover.Together, Plans.WithVolumes(Plans.Move(["s1", "s2"]))))
            .Until(MoveStage.Stop);
        AnswerStop("s1", new VolumeStepInfo("disk-s1", 1_000_000_000, 1_200_000_000, 3.5, 4711, 2_504_000_000), 2_500_000_000);
        AnswerStop("s2", new VolumeStepInfo("disk-s2", null, 1_100_000_000, 1.5, 7, 2_504_000_000), 2_500_000_000);
        story.Until(MoveStage.Activate);
        story.Feed(new OrderDone(story.Command("activate s1").Key, new ServerReply("s1", ServerOrder.Activate, 1, ServerState.Running,
            false, 2_600_000_000, Volumes: [new VolumeStepInfo("disk-s1", GrantedAtNs: 2_550_000_000)]), 1));
        story.Until(MoveStage.Release);
        story.Feed(new OrderDone(story.Command("retire s1").Key, new ServerReply("s1", ServerOrder.Retire, 1, ServerState.Absent, false,
            2_900_000_000, Volumes: [new VolumeStepInfo("disk-s1", SealedAt: 4711, ReleasedAtNs: 2_800_000_000)]), 1));
        VolumeMoveStatus[] volumes = [.. VolumesOf.Move(story.Move, null)];
        Assert.Equal(["disk-s1", "disk-s2"], volumes.Select(v => v.Volume));
        Assert.Equal(new VolumeMoveStatus("s1", "disk-s1", 1_000_000_000, 1_200_000_000, 3.5, 4711, 2_504_000_000, 2_550_000_000,
            2_800_000_000, null, 1500), volumes[0]);
        Assert.True(volumes[0].SyncAskedAtNs < volumes[0].InSyncAtNs && volumes[0].InSyncAtNs < volumes[0].SealedAtNs
            && volumes[0].SealedAtNs < volumes[0].GrantedAtNs && volumes[0].GrantedAtNs < volumes[0].ReleasedAtNs);

        // In sync mode by its configuration: the move has cost it nothing.
        Assert.Equal((0.0, 7ul), (volumes[1].SyncExposureMs!.Value, volumes[1].SealedAt!.Value));
        story.End();

        void AnswerStop(string server, VolumeStepInfo steps, long at) => story.Feed(new OrderDone(
            story.Command("stop " + server).Key,
            new ServerReply(server, ServerOrder.Stop, 1, ServerState.Paused, false, at, Volumes: [steps]), 1));
    }

    [Fact]
    public void Of_a_move_that_was_undone_the_writes_waited_until_the_mode_was_as_before()
    {
        using Story story = Moving().Until(MoveStage.Stop).Abort();
        story.Feed(new OrderDone(story.Command("resume s1").Key, new ServerReply("s1", ServerOrder.Resume, 2, ServerState.Running, false,
            4_000_000_000, Volumes: [new VolumeStepInfo("disk-s1", 1_000_000_000, 1_200_000_000, RestoredAtNs: 3_500_000_000)]), 1));
        Assert.Equal(2500, Assert.Single(VolumesOf.Move(story.Move, null)).SyncExposureMs);
        story.End();
    }

    // Two servers with a volume each, one of them with a second one: one epoch for all, and one barrier. All are sealed when their servers
    // have answered stop; the pivot is one record behind the last of them; nothing is granted before it.
    [Fact]
    public void All_volumes_of_a_group_have_one_epoch_and_one_barrier()
    {
        MovePlan plan = Plans.WithVolumes(Plans.Move(["s1", "s2"]));
        plan = plan with
        {
            Servers = [plan.Servers[0], plan.Servers[1] with
            {
                Volumes = [.. plan.Servers[1].Volumes!, new MovedVolume("logs", Plans.VolumeId("logs"))],
            }],
        };
        using Story story = new Story().Ask(Plans.Request(Cutover.Together, plan)).Until(MoveStage.Stop);
        story.Done("stop s1").Done("holding");
        Assert.Equal(MoveStage.Stop, story.Move.Stage);
        Assert.Empty(story.State.Volumes);
        Assert.DoesNotContain(story.Asked, c => c is SendOrder { Order: ServerOrder.Activate });
        int records = story.Records.Count;
        story.Done("stop s2");
        Assert.Equal((records + 1, MoveStage.Activate), (story.Records.Count, story.Move.Stage));
        Assert.Equal([2ul, 2ul, 2ul], story.State.Volumes.Values.Select(v => v.Epoch));
        Assert.Equal([("s1", 1L), ("s2", 1L)], story.Open.OfType<SendOrder>().Where(o => o.Order == ServerOrder.Activate)
            .Select(o => (o.Server, o.Request.Epoch)));
        story.End();
        Assert.Equal(MigrationOutcome.Moved, story.Migration.Outcome);
    }

    [Fact]
    public void A_stale_copy_of_one_server_keeps_all_servers_of_its_move_where_they_are()
    {
        using Story story = new Story().Ask(Plans.Request(Cutover.Together, Plans.WithVolumes(Plans.Move(["s1", "s2"]))))
            .Until(MoveStage.Stop).Done("stop s2").Feed(Report(1, 1, 901)).End();
        Assert.Equal(MigrationOutcome.AsBefore, story.Migration.Outcome);
        Assert.Equal(["s1", "s2"], story.Asked.OfType<SendOrder>().Where(o => o.Order == ServerOrder.Resume).Select(o => o.Server).Order());
    }

    private static Story Moving() => new Story().Ask(Plans.Request(Cutover.Together, Plans.WithVolumes(Plans.Move(["s1"]))));

    private static StaleReported Report(ulong epoch, ulong generation, ulong? from)
        => new(s_disk, epoch, generation, from, "store-a", "disk-s1");

    private static ManagerState Take(ManagerState state, ulong epoch, ulong generation, ulong? from)
        => VolumeMarks.Take(state, Report(epoch, generation, from), $"at {epoch}.{generation}");
}
