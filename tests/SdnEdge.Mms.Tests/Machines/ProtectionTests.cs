using SdnEdge.Core.Api;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>The protection of a group, as the manager's machine decides it. Each input goes by way of its record.</summary>
public sealed class ProtectionTests : IDisposable
{
    private readonly Story _story = new();

    public void Dispose() => _story.Dispose();

    private ProtectionState Shop => _story.State.Protections["shop"];

    private (uint? LocalPref, string? Why) BackupOf(int path) => ProtectionMachine.BackupOf(Shop, Shop.Plan.Paths[path]);

    private string[] Leases => [.. ProtectionMachine.OpenLeases(Shop).Select(c => c.Key)];

    private string[] Open => [.. ProtectionMachine.Open(Shop).Select(s => s.Key)];

    [Fact]
    public void The_target_is_armed_before_the_source_and_only_the_source_watches()
    {
        Protect();
        Assert.Equal((1, 1, ProtectionStage.ArmTarget), (Shop.Epoch, _story.State.Groups["shop"].Epoch, Shop.Stage));
        Assert.Equal(["prepare protect-shop-1.1 pe-b", "prepare protect-shop-1.2 pe-d"], Open);
        Assert.All(ProtectionMachine.Open(Shop), s => Assert.Null(s.Request.Watch));
        DoneAll();
        Assert.Equal(ProtectionStage.ArmSource, Shop.Stage);
        Assert.Equal(["prepare protect-shop-1.1 pe-a", "prepare protect-shop-1.2 pe-c"], Open);
        Assert.All(ProtectionMachine.Open(Shop), s => Assert.Equal("10.1.1.1", Assert.Single(s.Request.Watch!).Neighbor));
        Assert.All(ProtectionMachine.Open(Shop), s => Assert.Equal((1, MigrationRole.Source), (s.Request.Epoch, s.Request.Role)));
        DoneAll();
        Assert.Equal((ProtectionStage.Armed, 0), (Shop.Stage, Open.Length));
        Assert.Empty(_story.State.Groups["shop"].Owners);
    }

    [Fact]
    public void Servers_are_bound_to_a_lease_that_is_granted_and_freed_before_it_is_revoked()
    {
        _story.Armed(Plans.Move(["s1", "s2"]), "third", leave: 2);
        Assert.Equal(["bind-lease s1 host-a 1", "bind-lease s2 host-a 1"], Leases);
        Assert.Null(ProtectionMachine.LeaseOf(Shop));
        Happen(new PartDone("bind-lease s1 host-a 1"));
        Assert.Null(ProtectionMachine.LeaseOf(Shop));
        Happen(new PartDone("bind-lease s2 host-a 1"));
        Assert.Equal(new SiteLease("third", "shop", "site-a", 1), ProtectionMachine.LeaseOf(Shop));

        // A path that is armed again, by a manager that was started again too, has nothing to do with that.
        Happen(new ProtectionTakenUp());
        Assert.Equal((ProtectionStage.ArmTarget, 0), (Shop.Stage, Leases.Length));
        Assert.NotNull(ProtectionMachine.LeaseOf(Shop));
        DoneAll();
        DoneAll();
        _story.Feed(new UnprotectRequested("shop", "user ops"));
        Assert.Null(ProtectionMachine.LeaseOf(Shop));
        Assert.Empty(Leases);
        DoneAll();
        DoneAll();
        Assert.Equal(["free-lease s1 host-a 1", "free-lease s2 host-a 1"], Leases);
        Happen(new PartDone("free-lease s2 host-a 1"));
        Happen(new PartDone("free-lease s1 host-a 1"));
        Assert.Equal(["revoke-lease site-a 1"], Leases);
        Happen(new PartDone("revoke-lease site-a 1"));
        Assert.Empty(_story.State.Protections);
    }

    [Fact]
    public void A_flip_is_on_record_once_and_so_is_its_end()
    {
        Armed();
        int records = _story.Records.Count;
        Happen(new FlipSeen("protect-shop-1.1", true));
        Happen(new FlipSeen("protect-shop-1.1", true));
        Assert.Equal("protect-shop-1.1", Assert.Single(Shop.FlippedSince).Key);
        Happen(new FlipSeen("protect-shop-1.1", false));
        Happen(new FlipSeen("protect-shop-9.1", true));
        Assert.Empty(Shop.FlippedSince);
        Assert.Equal(records + 2, _story.Records.Count);
    }

    [Fact]
    public void It_is_taken_away_by_an_abort_with_a_higher_epoch_the_source_first()
    {
        Armed();
        _story.Feed(new UnprotectRequested("shop", "user ops"));
        Assert.Equal((2, ProtectionStage.Disarm), (Shop.Epoch, Shop.Stage));
        Assert.Equal(["abort protect-shop-1.1 pe-a", "abort protect-shop-1.2 pe-c"], Open);
        Assert.NotNull(ManagerMachine.MayProtect(_story.State, "shop"));

        // What comes late is of the older epoch.
        int records = _story.Records.Count;
        _story.Feed(new ProtectionHappened("shop", 1, new FlipSeen("protect-shop-1.1", true)));
        Assert.Equal(records, _story.Records.Count);
        DoneAll();
        Assert.Equal(["abort protect-shop-1.1 pe-b", "abort protect-shop-1.2 pe-d"], Open);
        Assert.All(ProtectionMachine.Open(Shop), s => Assert.Equal(2, s.Request.Epoch));
        DoneAll();
        Assert.Empty(_story.State.Protections);
        Protect();
        Assert.Equal((3, "protect-shop-3.1"), (Shop.Epoch, Shop.Plan.Paths[0].Id));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_move_begins_when_it_is_disarmed_and_it_is_armed_again_where_the_group_is_then(bool undone)
    {
        Armed();
        _story.Ask(Plans.Request(Cutover.Together, Plans.Move(["s1"], paths: 2)));
        Assert.Equal((MoveStage.Planned, 3, true), (_story.Move.Stage, _story.Move.Epoch, _story.Move.AwaitsDisarm));
        Assert.Empty(_story.Open);
        Assert.Equal(long.MaxValue, ManagerMachine.Deadline(_story.Migration));
        Assert.Equal((ProtectionStage.Disarm, 2, "m1"), (Shop.Stage, Shop.Epoch, Shop.Migration));
        _story.Feed(new Begin());
        Assert.Equal(MoveStage.Planned, _story.Move.Stage);
        DoneAll();
        DoneAll();
        Assert.Equal((MoveStage.PrepareTarget, ProtectionStage.Off, "m1"), (_story.Move.Stage, Shop.Stage, Shop.Migration));
        if (undone) _story.Until(MoveStage.Mirror).Abort();
        _story.End();
        Assert.Equal(undone ? MigrationOutcome.AsBefore : MigrationOutcome.Moved, _story.Migration.Outcome);
        Assert.Equal((undone ? 5 : 4, ProtectionStage.ArmTarget, (string?)null), (Shop.Epoch, Shop.Stage, Shop.Migration));
        Assert.Equal(undone ? ("site-a", "site-b") : ("site-b", "site-a"), (Shop.Plan.From, Shop.Plan.To));
        Assert.Equal($"prepare protect-shop-{Shop.Epoch}.1 pe-{(undone ? 'b' : 'a')}", Open[0]);
        DoneAll();
        Assert.Equal(undone ? "10.1.1.1" : "10.1.1.2", ProtectionMachine.Open(Shop)[0].Request.Watch![0].Neighbor);

        // A key is used once.
        uint[] keys = [.. Shop.Plan.Paths.Select(p => p.TunnelKey)];
        Assert.Empty(keys.Intersect(_story.Migration.Moves[0].Plan.Paths.Select(p => p.TunnelKey)));
        Assert.Superset(keys.ToHashSet(), _story.State.KeysInUse().ToHashSet());
    }

    [Fact]
    public void A_move_that_is_called_off_while_it_waits_asks_nobody_anything_and_the_group_is_armed_again_when_the_pes_have_answered()
    {
        Armed();
        _story.Ask(Plans.Request(Cutover.Together, Plans.Move(["s1"], paths: 2)));
        Assert.Null(ManagerMachine.MayAbort(_story.Migration));
        _story.Abort();
        Assert.Equal(MigrationOutcome.AsBefore, _story.Migration.Outcome);
        Assert.Empty(_story.Asked);
        Assert.Equal((ProtectionStage.Disarm, (string?)null), (Shop.Stage, Shop.Migration));
        DoneAll();
        DoneAll();
        Assert.Equal((ProtectionStage.ArmTarget, "site-a", 4), (Shop.Stage, Shop.Plan.From, Shop.Epoch));
    }

    [Fact]
    public void One_that_is_taken_away_during_a_move_is_not_armed_again()
    {
        Armed();
        _story.Ask(Plans.Request(Cutover.Together, Plans.Move(["s1"], paths: 2)));
        _story.Feed(new UnprotectRequested("shop", "user ops"));
        DoneAll();
        DoneAll();
        Assert.Empty(_story.State.Protections);
        Assert.Equal(MoveStage.PrepareTarget, _story.Move.Stage);
        _story.End();
        Assert.Empty(_story.State.Protections);
    }

    [Fact]
    public void Where_nothing_is_named_to_be_watched_it_is_unprotected_and_says_why()
    {
        Protect(new SiteWatch("site-a", new WatchedPart(Carrier: "eth1")));
        DoneAll();
        DoneAll();
        _story.Ask(Plans.Request(Cutover.Together, Plans.Move(["s1"], paths: 2)));
        DoneAll();
        DoneAll();
        _story.End();
        Assert.Equal(ProtectionStage.Off, Shop.Stage);
        Assert.Contains("nothing is named to be watched at site-b", Shop.Why, StringComparison.Ordinal);
        _story.Feed(new UnprotectRequested("shop", "user ops"));
        Assert.Empty(_story.State.Protections);
    }

    [Fact]
    public void A_migration_that_was_given_up_leaves_it_unprotected()
    {
        Armed();
        _story.Ask(Plans.Request(Cutover.Together, Plans.Move(["s1"], paths: 2)));
        _story.Feed(new GiveUpRequested("user ops", "it burnt down", ["site-a"]), "user ops");
        Assert.Equal(MigrationOutcome.GivenUp, _story.Migration.Outcome);
        Assert.Equal(ProtectionStage.Off, Shop.Stage);
        Assert.Contains("m1 of it has ended as given-up", Shop.Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Another_manager_that_is_in_charge_ends_it()
    {
        Armed();
        Happen(new ProtectionFenced("pe-a has seen epoch 9"));
        Assert.Equal((ProtectionStage.Off, "another manager is in charge of shop: pe-a has seen epoch 9"), (Shop.Stage, Shop.Why));
    }

    [Fact]
    public void A_group_is_protected_once_and_not_while_it_moves()
    {
        Armed();
        int records = _story.Records.Count;
        Protect();
        Assert.Equal(records, _story.Records.Count);
        Assert.Contains("protected already", ManagerMachine.MayProtect(_story.State, "shop"), StringComparison.Ordinal);
        _story.Feed(new UnprotectRequested("shop", "user ops"));
        DoneAll();
        DoneAll();
        _story.Ask(Plans.Request(Cutover.Together, Plans.Move(["s1"], paths: 2)));
        Assert.Contains("m1 of it runs", ManagerMachine.MayProtect(_story.State, "shop"), StringComparison.Ordinal);
        Assert.Contains("at most 30", ManagerMachine.MayProtect(_story.State, new string('g', 31)), StringComparison.Ordinal);
    }

    [Fact]
    public void The_target_is_told_a_backup_path_below_what_the_source_advertises_and_for_these_prefixes_only()
    {
        Protect();
        Assert.Equal(["protect-shop-1.1", "protect-shop-1.2"], ProtectionMachine.Asks(Shop).Select(p => p.Id));
        Assert.Equal("pe-a has not said yet what it advertises", BackupOf(0).Why);
        string[] second = [.. Shop.Plan.Paths[1].Source.Prefixes.Select(p => p.Prefix)];
        Happen(new SourceTells("protect-shop-1.1", 300));
        Assert.Equal("protect-shop-1.2", Assert.Single(ProtectionMachine.Asks(Shop)).Id);
        Happen(new SourceTells("protect-shop-1.2", 31, [second[0]]));
        Assert.Empty(ProtectionMachine.Asks(Shop));
        Assert.Equal([(50u, null), (15u, second[0])], ProtectionMachine.Open(Shop).Select(s
            => (s.Request.BackupLocalPref!.Value, s.Request.BackupExcept?[0])));
        Assert.Equal((50u, null), BackupOf(0));
        Assert.Equal((15u, $"none for exactly {second[0]}: pe-c does not advertise that to all its iBGP peers; "
            + "have it do so"), BackupOf(1));
        DoneAll();
        Assert.All(ProtectionMachine.Open(Shop), s => Assert.Null(s.Request.BackupLocalPref));
        DoneAll();

        // The same prepare again: another one the PE would refuse.
        Happen(new PartLost("protect-shop-1.1", "pe-b"));
        Assert.Empty(ProtectionMachine.Asks(Shop));
        Assert.Equal([50u, 15u], ProtectionMachine.Open(Shop).Select(s => s.Request.BackupLocalPref!.Value));
        Assert.Equal(15u, ProtectionMachine.Open(Story.Fold(_story.Records).Protections["shop"])[1].Request.BackupLocalPref);
    }

    [Theory]
    [InlineData(null, "pe-a does not advertise exactly 10.1.1.1/32 to all")]
    [InlineData(1u, "pe-a advertises with LOCAL_PREF 1, and there is none below")]
    public void Where_the_source_does_not_advertise_the_prefixes_the_target_is_told_none_and_why_is_said(uint? theirs, string why)
    {
        Protect();
        Happen(new SourceTells("protect-shop-1.1", theirs));
        Assert.Null(ProtectionMachine.Open(Shop)[0].Request.BackupLocalPref);
        Assert.Null(BackupOf(0).LocalPref);
        Assert.StartsWith(why, BackupOf(0).Why, StringComparison.Ordinal);
    }

    // Journals of earlier versions have no word of what sources advertise.
    [Fact]
    public void Records_without_what_the_source_advertises_arm_it_without_a_backup_path_and_what_it_says_later_arms_it_again()
    {
        Armed();
        Assert.Empty(Shop.Told);
        Assert.Empty(ProtectionMachine.Asks(Shop));
        Assert.Equal((null, "pe-a was not asked what it advertises, by an earlier version of the manager"), BackupOf(0));
        Happen(new SourceTells("protect-shop-1.1", 100));
        Assert.Equal((ProtectionStage.Disarm, 2), (Shop.Stage, Shop.Epoch));
    }

    [Fact]
    public void When_the_source_advertises_other_prefixes_it_is_armed_again_under_another_epoch_but_not_while_it_has_switched()
    {
        Protect();
        Happen(new SourceTells("protect-shop-1.1", 100));
        Happen(new SourceTells("protect-shop-1.2", 100));
        DoneAll();
        DoneAll();
        int records = _story.Records.Count;
        Happen(new SourceTells("protect-shop-1.1", 200));
        Assert.Equal(records, _story.Records.Count);
        Happen(new FlipSeen("protect-shop-1.1", true));
        Happen(new SourceTells("protect-shop-1.1", null));
        Assert.Equal(ProtectionStage.Armed, Shop.Stage);
        Happen(new FlipSeen("protect-shop-1.1", false));
        Happen(new SourceTells("protect-shop-1.1", null));
        Assert.Equal((ProtectionStage.Disarm, 2), (Shop.Stage, Shop.Epoch));
        DoneAll();
        DoneAll();
        Assert.Equal((ProtectionStage.ArmTarget, 3, 2), (Shop.Stage, Shop.Epoch, ProtectionMachine.Asks(Shop).Count));
    }

    // Guards: whatever was cut off, the records alone lead to the same state and to the same open commands, and arming goes on.
    [Fact]
    public void After_a_crash_behind_any_record_it_is_armed_again_under_the_same_epoch()
    {
        Armed();
        _story.Ask(Plans.Request(Cutover.Together, Plans.Move(["s1"], paths: 2)));
        DoneAll();
        DoneAll();
        _story.End();
        DoneAll();
        DoneAll();
        for (int count = 0; count <= _story.Records.Count; count++)
        {
            ManagerState state = Story.Fold(_story.Records.Take(count));
            if (!state.Protections.TryGetValue("shop", out ProtectionState? known)) continue;
            ManagerState after = ManagerMachine.Step(
                state, new ProtectionHappened("shop", known.Epoch, new ProtectionTakenUp()), 1, "2026-12-01T00:00:00.000Z");
            ProtectionState now = after.Protections["shop"];
            Assert.Equal(known.Epoch, now.Epoch);
            if (known.Stage is ProtectionStage.ArmTarget or ProtectionStage.ArmSource or ProtectionStage.Armed)
                Assert.Equal((ProtectionStage.ArmTarget, 2), (now.Stage, ProtectionMachine.Open(now).Count));
            else Assert.Equal(known.Stage, now.Stage);
        }

        Assert.Equal(_story.State.Protections["shop"].Stage, Story.Fold(_story.Records).Protections["shop"].Stage);
    }

    // Guards: an epoch is used once, for an arming, a disarming, a move or an undo, in whatever order they come.
    [Fact]
    public void No_epoch_and_no_path_is_used_twice()
    {
        var used = new List<(string What, long Epoch)>();
        var random = new Random(7);
        Protect();
        for (int i = 0; i < 4_000; i++)
        {
            ProtectionState? before = _story.State.Protections.GetValueOrDefault("shop");
            MigrationState? running = _story.State.RunningOf("shop");
            switch (random.Next(40))
            {
                case 0:
                    _story.Feed(new UnprotectRequested("shop", "user ops"));
                    break;
                case 1 or 2:
                    Protect();
                    break;
                case 3:
                    string id = ManagerMachine.IdOf(_story.State.NextMigration);
                    bool back = _story.State.GroupOf("shop").Owners.GetValueOrDefault("s1")?.Site == "site-b";
                    MovePlan plan = Plans.Move(["s1"], migration: id);
                    _story.Feed(new MigrationRequested(id, new MigrationRequest("shop", back ? "site-a" : "site-b"),
                        [back ? ManagerMachine.Reverse(plan) : plan], "user ops"));
                    break;
                case 4 when running is not null:
                    _story.Feed(new MoveHappened(running.Id, new AbortRequested("user ops", "no")));
                    break;
                case < 25 when before is not null && ProtectionMachine.Open(before) is { Count: > 0 } open:
                    Happen(new PartDone(open[random.Next(open.Count)].Key));
                    break;
                default:
                    if (running is not null && MoveMachine.Open(running.Current) is { Count: > 0 } asked)
                        _story.Feed(new MoveHappened(running.Id, Plans.Answer(asked[0])));
                    break;
            }

            ProtectionState? after = _story.State.Protections.GetValueOrDefault("shop");
            if (after is not null && after.Epoch != before?.Epoch) used.Add(($"{after.Stage}", after.Epoch));
            MigrationState? moves = _story.State.RunningOf("shop");
            if (moves is not null && moves.Id != running?.Id) used.Add((moves.Id, moves.Current.Epoch));

            // Never both: a PE has one path of a prefix.
            if (moves is { Current.Stage: not MoveStage.Planned })
                Assert.True(after is null or { Stage: ProtectionStage.Off }, $"{moves.Current.Stage} while {after?.Stage}");
        }

        Assert.True(used.Count > 100, $"{used.Count}");
        Assert.Equal(used.Count, used.Select(u => u.Epoch).Distinct().Count());
        Assert.Contains(used, u => u.What == nameof(ProtectionStage.Disarm));
        Assert.Equal(_story.State.Protections.Keys, Story.Fold(_story.Records).Protections.Keys);
    }

    private void Protect(params SiteWatch[] watch)
    {
        SiteWatch[] usual = [new("site-a", new WatchedPart(Neighbor: "10.1.1.1")), new("site-b", new WatchedPart(Neighbor: "10.1.1.2"))];
        _story.Feed(new ProtectionRequested(
            new ProtectionRequest("shop", ProtectionPolicy.Cold, false, watch.Length > 0 ? watch : usual),
            Plans.Move(["s1"], paths: 2) with { Ahead = false }, "user ops"), "user ops");
    }

    private void Armed()
    {
        Protect();
        DoneAll();
        DoneAll();
        Assert.Equal(ProtectionStage.Armed, Shop.Stage);
    }

    private void Happen(ProtectionInput input) => _story.Feed(new ProtectionHappened("shop", Shop.Epoch, input));

    private void DoneAll()
    {
        foreach (string key in Open) Happen(new PartDone(key));
    }
}
