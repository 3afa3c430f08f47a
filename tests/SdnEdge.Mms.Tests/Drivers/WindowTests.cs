using SdnEdge.Core.Api;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Model;
using SdnEdge.Mms.Tests.Machines;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>A move in a window, by a manager whose wall clock is the test's.</summary>
#pragma warning disable CA1001 // xunit calls DisposeAsync
public sealed class WindowTests : IAsyncLifetime
#pragma warning restore CA1001
{
    private readonly ScriptedJournal _journal = new();
    private readonly WallClock _clock = new() { Now = Plans.Window.Near.AddHours(-5) };
    private ScriptedParties _parties = null!;
    private ManagerService _manager = null!;

    public async Task InitializeAsync()
    {
        _parties = new ScriptedParties(_journal);
        _manager = await ManagerService.StartAsync(_journal, _parties, _clock);
    }

    public async Task DisposeAsync()
    {
        await _manager.DisposeAsync();
        Assert.Empty(_parties.Violations);
    }

    [Fact]
    public async Task Nobody_is_asked_anything_before_the_window_is_near_and_nothing_switches_before_it_is_open()
    {
        await AskAsync();
        await UntilAsync(() => Waits() is { Reason: WaitReason.WindowClosed });
        Assert.Equal("it is prepared from 2026-12-01 01:59:00Z on, to switch between 2026-12-01 02:00:00Z and 2026-12-01 04:00:00Z",
            Waits()!.Detail);
        await AtAsync(Plans.Window.Near.AddSeconds(-1));
        Assert.Equal(MoveStage.AwaitWindow, Move.Stage);
        Assert.Empty(_parties.Asked);

        await AtAsync(Plans.Window.Near);
        await UntilAsync(() => Move.Stage == MoveStage.Mirror && Waits() is { Command: "window open", Reason: WaitReason.WindowClosed });
        await AtAsync(Plans.Window.From.AddSeconds(-1));
        Assert.Equal(MoveStage.Mirror, Move.Stage);
        Assert.DoesNotContain(_parties.Asked, a => a.StartsWith("switch", StringComparison.Ordinal));

        await AtAsync(Plans.Window.From);
        await UntilAsync(() => Outcome == MigrationOutcome.Moved);
        Assert.Equal([MoveStage.AwaitWindow, MoveStage.PrepareTarget], Move.Timeline.Take(2).Select(t => t.Stage));
    }

    [Fact]
    public async Task What_has_not_switched_when_the_window_is_over_is_as_before()
    {
        _parties.Copy("s1", new MirrorProgress(false, 90_000_000, 80_000_000, 9_000, 2, 100e6, 90e6));
        await AskAsync();
        await AtAsync(Plans.Window.From);
        await UntilAsync(() => Move.Stage == MoveStage.Mirror);
        await AtAsync(Plans.Window.To.AddSeconds(-1));
        Assert.Equal(MoveStage.Mirror, Move.Stage);
        await AtAsync(Plans.Window.To);
        await UntilAsync(() => Outcome == MigrationOutcome.AsBefore);
        Assert.StartsWith("its window was over at 2026-12-01 04:00:00Z, before the switch: ", Move.Failure, StringComparison.Ordinal);
        Assert.Contains("mirrored s1 1", Move.Failure, StringComparison.Ordinal);
        Assert.DoesNotContain(_parties.Asked, a => a.StartsWith("stop", StringComparison.Ordinal));
        Assert.Equal(ServerState.Running, (await _parties.ServerAsync("host-a", "s1", default)).State);
    }

    [Fact]
    public async Task A_move_that_waits_for_its_window_can_be_called_off_and_outlives_its_manager()
    {
        await AskAsync();
        await _manager.DisposeAsync();
        _manager = await ManagerService.StartAsync(_journal, _parties, _clock);
        await UntilAsync(() => Waits() is { Reason: WaitReason.WindowClosed });
        Assert.Equal(MoveStage.AwaitWindow, Move.Stage);
        await _manager.PostAsync(_ => new MoveHappened("m1", new AbortRequested("user ops", "not tonight")), "user ops");
        await UntilAsync(() => Outcome == MigrationOutcome.AsBefore);
        Assert.Empty(_parties.Asked);

        // Its epoch is burnt all the same.
        Assert.Equal(1, _manager.State.GroupOf("shop").Epoch);
    }

    [Fact]
    public async Task Until_then_it_says_how_far_the_volumes_are()
    {
        MovePlan plan = Plans.InWindow(Plans.WithVolumes(Plans.Move(["s1"])));
        await _manager.PostAsync(_ => Plans.Request(Cutover.Together, plan), "user ops");
        _parties.Silent.Add("host-a");
        await UntilAsync(
            () => Waits()?.Detail?.Contains("; volume disk-s1: host-a does not say how far", StringComparison.Ordinal) == true);
        _parties.Volumes["s1"] = [new ServerVolumeInfo("disk-s1", LagBytes: 8192, LagSeconds: 0.5, Connected: true,
            Role: SdnEdge.Core.Replication.OwnerRole.Owner, InForce: SdnEdge.Core.Replication.ReplicationMode.Async)];
        _parties.Silent.Remove("host-a");
        const string Behind = "; volume disk-s1: async, 8192 bytes and 0.5 s behind";
        await UntilAsync(() => Waits()?.Detail?.EndsWith(Behind, StringComparison.Ordinal) == true);
        Assert.Equal("disk-s1", Assert.Single(_manager.VolumesOf("m1")["s1"]).Name);
        Assert.Empty(_parties.Asked);
        await _manager.PostAsync(_ => new MoveHappened("m1", new AbortRequested("user ops", "enough")), "user ops");
    }

    private MoveState Move => _manager.State.Migrations["m1"].Current;

    private MigrationOutcome? Outcome => _manager.State.Migrations["m1"].Outcome;

    private Waiting? Waits() => _manager.WaitingOf("m1").FirstOrDefault(w => w.Command.StartsWith("window", StringComparison.Ordinal));

    private Task AskAsync()
        => _manager.PostAsync(_ => Plans.Request(Cutover.Together, Plans.InWindow(Plans.Move(["s1"]))), "user ops");

    // The manager looks at its clock before it waits for what comes next: when it has taken two things that change nothing, it has looked.
    private async Task AtAsync(DateTimeOffset now)
    {
        _clock.Now = now;
        for (int i = 0; i < 3; i++) await _manager.PostAsync(_ => null, "the test");
    }

    private Task UntilAsync(Func<bool> so) => Patience.UntilAsync(() => Task.FromResult(so()),
        () => $"{Move.Stage}, {Outcome}: {string.Join("; ", _manager.WaitingOf("m1").Select(w => $"{w.Command} {w.Reason} {w.Detail}"))}");

    private sealed class WallClock : TimeProvider
    {
        private long _ticks;

        public DateTimeOffset Now
        {
            get => new(Interlocked.Read(ref _ticks), TimeSpan.Zero);
            set => Interlocked.Exchange(ref _ticks, value.UtcTicks);
        }

        public override DateTimeOffset GetUtcNow() => Now;
    }
}
