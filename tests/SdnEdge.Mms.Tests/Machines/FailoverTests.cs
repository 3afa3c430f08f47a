using SdnEdge.Core.Api;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>Fail-overs, as the manager's machine decides them. Each input goes by way of its record, and
/// <see cref="Invariants"/> are checked with each.</summary>
public sealed class FailoverTests : IDisposable
{
    private readonly Story _story = new();

    public void Dispose() => _story.Dispose();

    private ProtectionState Shop => _story.State.Protections["shop"];

    [Fact]
    public void It_fences_then_pivots_then_starts_and_confirms_the_switch_beside_that()
    {
        FailOver();
        Assert.Equal((MoveStage.Fence, 2, false), (_story.Move.Stage, _story.Move.Epoch, _story.Move.TargetOwns));
        Assert.Equal(["fence s1 host-a 2", "fence s2 host-a 2"], _story.Open.Select(c => c.Key));
        Assert.Equal((ProtectionStage.Off, "m1"), (Shop.Stage, Shop.Migration));
        Assert.Equal(long.MaxValue, ManagerMachine.Deadline(_story.Migration));
        _story.Done("fence s1");
        Assert.False(_story.Move.TargetOwns);
        _story.Done("fence s2");
        Assert.Equal((MoveStage.Activate, true), (_story.Move.Stage, _story.Move.TargetOwns));
        Assert.All(_story.State.Groups["shop"].Owners.Values, o => Assert.Equal(new Ownership("site-b", 2), o));
        Assert.Equal(["activate s1 host-b 2", "activate s2 host-b 2", "switch protect-shop-1.1 pe-a"], _story.Open.Select(c => c.Key));

        // The source PE may be dead: nobody waits for it before the servers run and what is held is let go.
        _story.Done("activate s1").Done("activate s2").Done("release").Done("hold-empty").Done("advertise");
        Assert.Equal(MoveStage.DirectPath, _story.Move.Stage);
        _story.Done("direct-path");
        Assert.Equal(MoveStage.DirectPath, _story.Move.Stage);
        _story.Done("switch");
        Assert.Equal(MoveStage.Withdraw, _story.Move.Stage);
        _story.End();
        Assert.Equal(MigrationOutcome.Moved, _story.Migration.Outcome);
        Assert.Equal((ProtectionStage.ArmTarget, "site-b", "site-a"), (Shop.Stage, Shop.Plan.From, Shop.Plan.To));
        Assert.Null(Shop.Plan.Failover);
    }

    [Fact]
    public void Without_the_word_of_a_source_host_nothing_is_activated_whoever_else_gives_up()
    {
        FailOver();
        _story.Done("fence s1");
        Assert.NotNull(ManagerMachine.MayGiveUp(_story.Migration, ["host-a"]));
        Assert.Contains("only the hosts' own words", GiveUp.MayGiveUp(_story.Move, ["site-a"]), StringComparison.Ordinal);
        int records = _story.Records.Count;
        _story.Feed(new GiveUpRequested("user ops", "it burns", ["host-a"]));
        _story.Feed(new StageExpired(MoveStage.Stop, "late"));
        Assert.Equal((records, MoveStage.Fence), (_story.Records.Count, _story.Move.Stage));
    }

    // An answer that does not say it is none: the server may still run.
    [Fact]
    public void Only_a_host_that_says_that_it_is_dead_and_void_has_fenced_it()
    {
        FailOver();
        var fence = (SendOrder)_story.Command("fence s1");
        foreach (ServerReply reply in (ServerReply[])[
            new("s1", ServerOrder.Fence, 2, ServerState.Running, false, 1, EpochVerdict.Void),
            new("s1", ServerOrder.Fence, 2, ServerState.Absent, false, 1, EpochVerdict.Ran),
            new("s1", ServerOrder.Fence, 2, ServerState.Absent, false, 1)])
        {
            Assert.NotNull(MoveMachine.WhyNoAnswer(fence, reply));
            int records = _story.Records.Count;
            _story.Feed(new OrderDone(fence.Key, reply, 1));
            Assert.Equal(records, _story.Records.Count);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Called_off_before_the_pivot_the_source_is_granted_the_next_epoch_and_starts_anew(bool answered)
    {
        FailOver();
        if (answered) _story.Done("fence s1");
        _story.Abort("it is back");
        Assert.Equal((3, true), (_story.Move.Epoch, _story.Move.IsUndone));

        // Whoever cut the host off has the PEs go back without it.
        Assert.Equal(MoveStage.AbortSource, _story.Move.Stage);
        SendOrder[] resumes = [.. _story.Open.OfType<SendOrder>().Where(o => o.Order == ServerOrder.Resume)];
        Assert.Equal(2, resumes.Length);
        Assert.All(resumes, r => Assert.Equal((3, true), (r.Request.Epoch, r.Request.Cold)));
        _story.End();
        Assert.Equal(MigrationOutcome.AsBefore, _story.Migration.Outcome);
        Assert.All(_story.State.Groups["shop"].Owners.Values, o => Assert.Equal(new Ownership("site-a", 3), o));
        Assert.Equal((ProtectionStage.ArmTarget, "site-a", 4), (Shop.Stage, Shop.Plan.From, Shop.Epoch));
    }

    [Fact]
    public void A_target_that_cannot_start_it_says_void_and_it_is_started_where_it_was()
    {
        FailOver();
        _story.Done("fence s1").Done("fence s2");
        _story.Refuse("activate s1", "its disk is not there");
        Assert.Equal(MoveStage.Void, _story.Move.Stage);
        _story.Done("void s1").Done("void s2");
        Assert.Equal((MoveStage.ResumeSource, 3), (_story.Move.Stage, _story.Move.Epoch));
        _story.End();
        Assert.Equal(MigrationOutcome.AsBefore, _story.Migration.Outcome);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_copy_that_is_stale_is_not_granted_unless_an_operator_has_named_it(bool accepted)
    {
        Guid disk = Plans.VolumeId("disk-s1");
        Armed(Plans.WithVolumes(Plans.Move(["s1"])));
        _story.Feed(new StaleReported(disk, 1, 1, 77, "store-a"));
        var failover = new Failover(FenceKind.Kill, "test", accepted ? [disk] : null);
        _story.Feed(new FailoverRequested("m1", "shop", "site-b", failover, "user ops"));
        _story.Done("fence s1");
        Assert.Equal(accepted, _story.Move.TargetOwns);
        if (accepted)
        {
            Assert.Null(((SendOrder)_story.Command("activate s1")).Request.StaleVolumes);
            Assert.Null(_story.State.Volumes[disk].StaleFrom);
        }
        else
        {
            Assert.Contains("stale from sequence 77 on", _story.Move.Failure, StringComparison.Ordinal);
        }

        _story.End();
        Assert.Equal(accepted ? MigrationOutcome.Moved : MigrationOutcome.AsBefore, _story.Migration.Outcome);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Bound_to_a_lease_its_end_or_the_word_of_all_hosts_is_the_fence_whichever_comes_first(bool lease)
    {
        Armed(Plans.Move(["s1", "s2"]), "third");
        Ask();
        Assert.Equal((FenceKind.Lease, new SiteLease("third", "shop", "site-a", 1)),
            (_story.Move.Plan.Failover!.Fence, _story.Move.Plan.Failover.Lease));
        Assert.Equal(["fence s1 host-a 2", "fence s2 host-a 2", "revoke-lease site-a 1"], _story.Open.Select(c => c.Key));
        _story.Done("fence s1");
        Assert.False(_story.Move.TargetOwns);
        _story.Done(lease ? "revoke-lease" : "fence s2");
        Assert.Equal((MoveStage.Activate, true), (_story.Move.Stage, _story.Move.TargetOwns));
        _story.Done("activate s1").Done("activate s2");

        // A host that was fenced by its lease alone is told so, and only then what else there is.
        string[] toSource = [.. _story.Open.OfType<SendOrder>().Where(o => o.Host == "host-a").Select(o => o.Key)];
        string[] late = lease ? ["fence s2 host-a 2"] : [];
        Assert.Equal([.. late, "retire s1 host-a 2", "retire s2 host-a 2"], toSource);
        _story.End();
        Assert.Equal(MigrationOutcome.Moved, _story.Migration.Outcome);
    }

    [Fact]
    public void Where_one_server_is_not_bound_to_the_lease_only_the_hosts_word_fences()
    {
        Armed(Plans.Move(["s1", "s2"]), "third", leave: 1);
        Ask();
        Assert.Equal((FenceKind.Kill, null), (_story.Move.Plan.Failover!.Fence, _story.Move.Plan.Failover.Lease));
        Assert.Equal(["fence s1 host-a 2", "fence s2 host-a 2"], _story.Open.Select(c => c.Key));
    }

    [Fact]
    public void A_source_host_that_is_dead_for_good_is_given_up_behind_the_lease()
    {
        Armed(Plans.Move(["s1", "s2"]), "third");
        Ask();
        Assert.NotNull(ManagerMachine.MayGiveUp(_story.Migration, ["host-a"]));
        _story.Done("revoke-lease").Done("activate s1").Done("activate s2");
        _story.Feed(new GiveUpRequested("user ops", "it burns", ["host-a"]));
        Assert.DoesNotContain(_story.Open.OfType<SendOrder>(), o => o.Host == "host-a");
        _story.End();
        Assert.Equal(MigrationOutcome.GivenUp, _story.Migration.Outcome);
    }

    [Fact]
    public void What_is_not_armed_cannot_fail_over()
    {
        Assert.Contains("not protected", ManagerMachine.MayFailOver(_story.State, "shop", "site-b"), StringComparison.Ordinal);
        Armed(Plans.Move(["s1", "s2"]));
        Assert.Contains("not at site-c", ManagerMachine.MayFailOver(_story.State, "shop", "site-c"), StringComparison.Ordinal);
        Ask();
        Assert.Contains("fail-over m1 of it runs already", ManagerMachine.MayFailOver(_story.State, "shop", "site-b"),
            StringComparison.Ordinal);
        int records = _story.Records.Count;
        _story.Feed(new FailoverRequested("m2", "shop", "site-b", new Failover(FenceKind.Kill, "test"), "user ops"));
        Assert.Equal(records, _story.Records.Count);
        _story.End();
        _story.Feed(new UnprotectRequested("shop", "user ops"));
        Assert.Contains("being taken away", ManagerMachine.MayFailOver(_story.State, "shop", "site-a"), StringComparison.Ordinal);
    }

    // Guards: a manager that is killed behind any record goes on with the same commands.
    [Fact]
    public void After_a_crash_behind_any_record_the_same_commands_are_open()
    {
        FailOver();
        var open = new List<string>();
        int first = _story.Records.Count;
        while (_story.Migration.Outcome is null)
        {
            string[] now = [.. _story.Open.Select(c => c.Key)];
            ManagerState folded = Story.Fold(_story.Records);
            Assert.Equal(now, MoveMachine.Open(folded.Migrations["m1"].Current).Select(c => c.Key));
            Assert.Equal(_story.Move.TargetOwns, folded.Migrations["m1"].Current.TargetOwns);
            open.AddRange(now);
            _story.Feed(Plans.Answer(_story.Open[0]));
        }

        Assert.True(_story.Records.Count > first + 10);
        Assert.Contains("fence s1 host-a 2", open);
        Assert.Contains("retire s1 host-a 2", open);
    }

    // Guards: whatever happens in whatever order, the target is told to run it only behind the word of the source's hosts.
    [Fact]
    public void In_any_order_of_answers_refusals_and_aborts_the_rules_hold_and_it_ends()
    {
        var outcomes = new Dictionary<MigrationOutcome, int>();
        for (int seed = 0; seed < 400; seed++)
        {
            using var test = new FailoverTests();
            Story story = test._story;
            test.FailOver();
            var random = new Random(seed);
            for (int i = 0; i < 3_000 && story.Migration.Outcome is null; i++)
            {
                MoveCommand command = story.Open[random.Next(story.Open.Count)];
                bool refusable = command is SendOrder { Order: ServerOrder.Fence or ServerOrder.Activate };
                story.Feed(random.Next(14) switch
                {
                    0 => new AbortRequested("user ops", "no"),
                    1 => new TakenUp(),
                    2 when refusable => new Refused(command.Key, "/problems/wrong-state", "it cannot"),
                    _ => Plans.Answer(command, random.Next(2) == 0 ? EpochVerdict.Void : EpochVerdict.Ran),
                });
            }

            Assert.True(story.Migration.Outcome is MigrationOutcome.Moved or MigrationOutcome.AsBefore, $"seed {seed}: {story.Text}");
            outcomes[story.Migration.Outcome!.Value] = outcomes.GetValueOrDefault(story.Migration.Outcome.Value) + 1;
        }

        Assert.True(outcomes.Values.Min() > 40 && outcomes.Count == 2, string.Join(", ", outcomes));
    }

    private void FailOver()
    {
        Armed(Plans.Move(["s1", "s2"]));
        Ask();
    }

    private void Ask() => _story.Feed(
        new FailoverRequested("m1", "shop", "site-b", new Failover(FenceKind.Kill, "host-a is gone"), "user ops"), "user ops");

    private void Armed(MovePlan plan, string? witness = null, int leave = 0) => _story.Armed(plan, witness, leave);
}
