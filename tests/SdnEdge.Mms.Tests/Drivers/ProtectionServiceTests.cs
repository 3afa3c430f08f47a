using SdnEdge.Core.Api;
using SdnEdge.Mms.Drivers;
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

    private ProtectionState? Shop => _manager.State.Protections.GetValueOrDefault("shop");

    private async Task RestartAsync()
    {
        await _manager.DisposeAsync();
        _manager = await ManagerService.StartAsync(_journal, _parties);
    }

    private Task ProtectAsync(bool automatic = false) => _manager.PostAsync(_ => new ProtectionRequested(
        new ProtectionRequest("shop", ProtectionPolicy.Cold, automatic,
            [new("site-a", new WatchedPart(Neighbor: "10.1.1.1")), new("site-b", new WatchedPart(Neighbor: "10.1.1.2"))]),
        Plans.Move(["s1"]) with { Ahead = false }, "ops"), "ops");

    private Task StageAsync(ProtectionStage stage) => UntilAsync(() => Shop?.Stage == stage);

    private Task UntilAsync(Func<bool> condition)
        => Patience.UntilAsync(() => Task.FromResult(condition()),
            () => $"{Shop?.Stage}, {string.Join("; ", _manager.ReasonsOf("shop"))}; asked {string.Join(", ", _parties.Asked)}");
}
