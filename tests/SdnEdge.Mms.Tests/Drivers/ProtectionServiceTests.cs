using SdnEdge.Core.Api;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using SdnEdge.Mms.Tests.Machines;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>Protected groups, with PEs that hang, forget and switch by themselves.</summary>
#pragma warning disable CA1001 // xunit calls DisposeAsync
public sealed class ProtectionServiceTests : IAsyncLifetime
#pragma warning restore CA1001
{
    private readonly ScriptedJournal _journal = new();
    private ScriptedParties _parties = null!;
    private ManagerService _manager = null!;

    public async Task InitializeAsync()
    {
        _parties = new ScriptedParties(_journal);
        _manager = await ManagerService.StartAsync(_journal, _parties);
    }

    public async Task DisposeAsync()
    {
        await _manager.DisposeAsync();
        Assert.Empty(_parties.Violations);
    }

    [Fact]
    public async Task It_is_armed_and_a_flip_and_its_end_are_seen()
    {
        await ProtectAsync();
        await StageAsync(ProtectionStage.Armed);
        Assert.Equal(["prepare protect-shop-1.1 pe-b", "prepare protect-shop-1.1 pe-a"], _parties.Asked);
        _parties.Flip("pe-a", "protect-shop-1.1");
        await UntilAsync(() => Shop is { FlippedSince.Count: 1 });
        Assert.Single(Story.Fold(_journal.Records).Protections["shop"].FlippedSince);
        _parties.Flip("pe-a", "protect-shop-1.1", flipped: false);
        await UntilAsync(() => Shop is { FlippedSince.Count: 0 });
    }

    [Fact]
    public async Task A_site_that_is_gone_with_all_its_parties_is_fenced_by_its_lease_when_that_has_run_out_and_not_before()
    {
        await ProtectAsync(witness: "third");
        await UntilAsync(() => Shop is { Stage: ProtectionStage.Armed } shop && ProtectionMachine.LeaseOf(shop) is not null);
        Assert.Equal(1, Assert.Single(_parties.Bound).Value);
        _parties.RunsOutInMs = 40;
        _parties.Silent.UnionWith(["host-a", "pe-a"]);
        await _manager.PostAsync(_ => new FailoverRequested("m1", "shop", "site-b", new Failover(FenceKind.Kill, "it is gone"), "user ops"),
            "user ops");
        await UntilAsync(() => _parties.Asked.Count(k => k == "revoke-lease site-a 1") > 2);
        Assert.Equal(MoveStage.Fence, _manager.State.Migrations["m1"].Current.Stage);
        Assert.DoesNotContain(_parties.Asked, k => k.StartsWith("activate", StringComparison.Ordinal));
        _parties.RunsOutInMs = 0;
        await UntilAsync(() => _parties.Asked.Contains("activate s1 host-b 2"));

        // Back again, the site is told that it has lost.
        _parties.Silent.Clear();
        await UntilAsync(() => _manager.State.Migrations["m1"].Outcome == MigrationOutcome.Moved);
        Assert.Contains(_parties.Log, l => l.What == "done fence s1 host-a 2");
    }

    // No lease may be out just then; the next one is granted as soon as it is asked for.
    [Fact]
    public async Task Leases_that_somebody_else_has_opened_are_no_fence()
    {
        await ProtectAsync(witness: "third");
        await UntilAsync(() => Shop is { Stage: ProtectionStage.Armed } shop && ProtectionMachine.LeaseOf(shop) is not null);
        _parties.Witness = (9, 0);
        _parties.Silent.UnionWith(["host-a", "pe-a"]);
        await _manager.PostAsync(_ => new FailoverRequested("m1", "shop", "site-b", new Failover(FenceKind.Kill, "it is gone"), "user ops"),
            "user ops");
        await UntilAsync(() => _parties.Asked.Count(k => k == "revoke-lease site-a 1") > 2);
        Assert.Equal(MoveStage.Fence, _manager.State.Migrations["m1"].Current.Stage);
        _parties.Silent.Remove("host-a");
        await UntilAsync(() => _parties.Asked.Contains("activate s1 host-b 2"));
    }

    [Fact]
    public async Task A_host_that_takes_no_lease_is_named_and_only_its_own_word_fences_it()
    {
        _parties.Failures["bind-lease"] = ScriptedParties.Refusal("no-witness");
        await ProtectAsync(witness: "third");
        await UntilAsync(() => _manager.ReasonsOf("shop").Any(r
            => r.StartsWith("host-a refuses bind-lease s1", StringComparison.Ordinal)));
        await StageAsync(ProtectionStage.Armed);
        Assert.Null(ProtectionMachine.LeaseOf(Shop!));
    }

    [Fact]
    public async Task The_target_is_told_a_backup_path_of_what_the_source_advertises_and_another_one_when_that_changes()
    {
        _parties.Silent.Add("pe-a");
        await ProtectAsync();
        await UntilAsync(() => _manager.ReasonsOf("shop").Any(r
            => r.StartsWith("pe-a does not say what it advertises", StringComparison.Ordinal)));
        Assert.Empty(_parties.Asked);
        _parties.Silent.Clear();
        await StageAsync(ProtectionStage.Armed);
        Assert.Equal(["prepare protect-shop-1.1 pe-b", "prepare protect-shop-1.1 pe-a"], _parties.Asked);
        Assert.Equal((50u, null), ProtectionMachine.BackupOf(Shop!, Shop!.Plan.Paths[0]));
        await UntilAsync(() => _manager.AdvertisedOf("shop", "protect-shop-1.1") is { LocalPref: 50 });
        _parties.Tells["pe-a"] = (null, null);
        await UntilAsync(() => Shop is { Stage: ProtectionStage.Armed, Epoch: 3 });
        Assert.Equal(["abort protect-shop-1.1 pe-a", "abort protect-shop-1.1 pe-b", "prepare protect-shop-3.1 pe-b",
            "prepare protect-shop-3.1 pe-a"], _parties.Asked.Skip(2));
        Assert.Null(ProtectionMachine.BackupOf(Shop!, Shop!.Plan.Paths[0]).LocalPref);
        await UntilAsync(() => _manager.AdvertisedOf("shop", "protect-shop-3.1") is { LocalPref: null });
    }

    [Fact]
    public async Task A_pe_that_is_silent_is_named_and_one_that_has_forgotten_is_armed_again()
    {
        await ProtectAsync();
        await StageAsync(ProtectionStage.Armed);
        _parties.Silent.Add("pe-b");
        await UntilAsync(() => _manager.ReasonsOf("shop").Any(r => r.StartsWith("pe-b does not answer", StringComparison.Ordinal)));
        _parties.Silent.Clear();
        await UntilAsync(() => _manager.ReasonsOf("shop").Count == 0);
        int records = _journal.Records.Count;
        _parties.Forget("pe-a", "protect-shop-1.1");
        await UntilAsync(() => _journal.Records.Count > records && Shop is { Stage: ProtectionStage.Armed });
        Assert.Contains("protect-shop-1.1", _parties.PathsAt("pe-a"));
        Assert.Equal(1, Shop!.Epoch);
    }

    [Fact]
    public async Task What_a_pe_refuses_is_shown_and_a_later_epoch_ends_it()
    {
        _parties.Failures["prepare protect-shop-1.1 pe-a"] = ScriptedParties.Refusal("wrong-state");
        await ProtectAsync();
        await UntilAsync(() => _manager.ReasonsOf("shop").Any(r => r == "pe-a refuses prepare: it says wrong-state"));
        _parties.Failures["prepare protect-shop-1.1 pe-a"] = ScriptedParties.Refusal("stale-epoch");
        await StageAsync(ProtectionStage.Off);
        Assert.Contains("another manager is in charge of shop", Shop!.Why, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_move_of_a_protected_group_disarms_it_first_and_it_is_protected_the_other_way_after_it()
    {
        await ProtectAsync();
        await StageAsync(ProtectionStage.Armed);
        await _manager.PostAsync(_ => Plans.Request(Cutover.Together, Plans.Move(["s1"])), "ops");
        await UntilAsync(() => _manager.State.Migrations["m1"].Outcome == MigrationOutcome.Moved);
        await UntilAsync(() => Shop is { Stage: ProtectionStage.Armed, Plan.From: "site-b" });
        string[] asked = [.. _parties.Asked];
        Assert.True(Array.IndexOf(asked, "abort protect-shop-1.1 pe-b") < Array.IndexOf(asked, "prepare m1.1 pe-b"));
        Assert.Equal(["protect-shop-4.1"], _parties.PathsAt("pe-a"));
        Assert.Equal(["protect-shop-4.1"], _parties.PathsAt("pe-b"));
    }

    [Fact]
    public async Task A_manager_that_is_started_again_arms_again_and_goes_on_with_what_it_was_taking_away()
    {
        await ProtectAsync();
        await StageAsync(ProtectionStage.Armed);
        await RestartAsync();
        await UntilAsync(() => _journal.Records.Count(r => r.Input == "protection-happened") > 3
            && Shop is { Stage: ProtectionStage.Armed });
        _parties.Silent.Add("pe-a");
        await _manager.PostAsync(_ => new UnprotectRequested("shop", "ops"), "ops");
        await UntilAsync(() => _manager.ReasonsOf("shop").Any(r => r.StartsWith("pe-a does not answer", StringComparison.Ordinal)));
        await RestartAsync();
        Assert.Equal(ProtectionStage.Disarm, Shop!.Stage);
        _parties.Silent.Clear();
        await UntilAsync(() => Shop is null);
        Assert.Empty(_parties.PathsAt("pe-a"));
        Assert.Empty(_parties.PathsAt("pe-b"));
    }

    // A flip that happens while no manager is there is found by the next one.
    [Fact]
    public async Task A_flip_is_found_by_a_manager_that_was_started_after_it()
    {
        await ProtectAsync();
        await StageAsync(ProtectionStage.Armed);
        await _manager.DisposeAsync();
        _parties.Flip("pe-a", "protect-shop-1.1");
        await RestartAsync();
        await UntilAsync(() => Shop is { Stage: ProtectionStage.Armed, FlippedSince.Count: 1 });
    }

    [Fact]
    public async Task A_flip_that_lasts_begins_the_fail_over_by_itself_where_that_was_asked_for()
    {
        await ProtectAsync(automatic: true);
        await StageAsync(ProtectionStage.Armed);
        _parties.Flip("pe-a", "protect-shop-1.1");
        await UntilAsync(() => Of("m1") is { Outcome: MigrationOutcome.Moved });
        Assert.Equal(("manager", "site-b"), (Of("m1")!.By, Of("m1")!.Request.To));
        Assert.Equal(ServerState.Running, (await _parties.ServerAsync("host-b", "s1", default)).State);
        Assert.Equal(ServerState.Absent, (await _parties.ServerAsync("host-a", "s1", default)).State);
        string[] done = [.. _parties.Log.Select(l => l.What)];
        Assert.True(Array.IndexOf(done, "done fence s1 host-a 2") < Array.IndexOf(done, "ask activate s1 host-b 2"));
        await UntilAsync(() => Shop is { Stage: ProtectionStage.Armed, Plan.From: "site-b" });
    }

    // Guards: what is asked of host-b before host-a has spoken. A manager that is killed meanwhile changes nothing.
    [Fact]
    public async Task Without_the_source_hosts_word_nothing_is_started_and_with_it_the_next_manager_goes_on()
    {
        await ProtectAsync();
        await StageAsync(ProtectionStage.Armed);
        _parties.Flip("pe-a", "protect-shop-1.1");
        _parties.Silent.Add("host-a");
        await _manager.PostAsync(_ => new FailoverRequested("m1", "shop", "site-b", new Failover(FenceKind.Kill, "test"), "ops"), "ops");
        await UntilAsync(() => _manager.WaitingOf("m1").Any(w => w is { Reason: WaitReason.PeerUnreachable, Party: "host-a" }));
        Assert.DoesNotContain(_parties.Asked, a => a.StartsWith("activate", StringComparison.Ordinal));
        await RestartAsync();
        await UntilAsync(() => _manager.WhyHeld("m1") is { } why && why.Contains("host-a", StringComparison.Ordinal));
        _parties.Silent.Clear();
        await UntilAsync(() => Of("m1") is { Outcome: MigrationOutcome.Moved });
        Assert.Equal(1, _parties.Log.Count(l => l.What == "done activate s1 host-b 2"));
    }

    [Fact]
    public async Task Called_off_while_it_is_only_suspected_the_server_is_started_where_it_was()
    {
        await ProtectAsync();
        await StageAsync(ProtectionStage.Armed);
        _parties.Keep("fence s1");
        await _manager.PostAsync(_ => new FailoverRequested("m1", "shop", "site-b", new Failover(FenceKind.Kill, "test"), "ops"), "ops");
        await UntilAsync(() => _parties.Asked.Contains("fence s1 host-a 2"));
        await _manager.PostAsync(_ => new MoveHappened("m1", new AbortRequested("ops", "no")), "ops");
        await UntilAsync(() => Of("m1") is { Outcome: MigrationOutcome.AsBefore });
        _parties.Give("fence s1");
        Assert.Equal(ServerState.Running, (await _parties.ServerAsync("host-a", "s1", default)).State);
        Assert.DoesNotContain(_parties.Asked, a => a.StartsWith("activate", StringComparison.Ordinal));
        await UntilAsync(() => Shop is { Stage: ProtectionStage.Armed, Plan.From: "site-a" });
    }

    private MigrationState? Of(string id) => _manager.State.Migrations.GetValueOrDefault(id);

    private ProtectionState? Shop => _manager.State.Protections.GetValueOrDefault("shop");

    private async Task RestartAsync()
    {
        await _manager.DisposeAsync();
        _manager = await ManagerService.StartAsync(_journal, _parties);
    }

    private Task ProtectAsync(bool automatic = false, string? witness = null) => _manager.PostAsync(_ => new ProtectionRequested(
        new ProtectionRequest("shop", ProtectionPolicy.Cold, automatic,
            [new("site-a", new WatchedPart(Neighbor: "10.1.1.1")), new("site-b", new WatchedPart(Neighbor: "10.1.1.2"))], witness),
        Plans.Move(["s1"]) with { Ahead = false }, "ops"), "ops");

    private Task StageAsync(ProtectionStage stage) => UntilAsync(() => Shop?.Stage == stage);

    private Task UntilAsync(Func<bool> condition)
        => Patience.UntilAsync(() => Task.FromResult(condition()),
            () => $"{Shop?.Stage}, {string.Join("; ", _manager.ReasonsOf("shop"))}; asked {string.Join(", ", _parties.Asked)}");
}
