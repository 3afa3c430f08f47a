using System.Collections.Concurrent;
using SdnEdge.Core.Api;
using SdnEdge.Host.Drivers;
using SdnEdge.Host.Tests.Api;
using Xunit;

namespace SdnEdge.Host.Tests.Drivers;

/// <summary>A server's volumes move with it: what is asked of the store, and in which order.</summary>
public class VolumesDriverTests
{
    private static readonly DriverContext s_move = new("vs", 7, "m7", "host-b");

    [Fact]
    public async Task At_the_source_the_replica_has_everything_before_the_hand_over_and_the_store_is_sealed_behind_it()
    {
        var lab = new Lab(runs: true);
        Assert.Equal(new MirrorProgress(false, 10, 20, 30), await lab.Driver.MirrorAsync(s_move, default));
        lab.Volumes[0].At = lab.Volumes[1].At = new VolumeProgress(true, 0);
        Assert.True((await lab.Driver.MirrorAsync(s_move, default))!.Ready);
        await lab.Driver.StopAsync(s_move, default);
        await lab.Driver.HandOverAsync(s_move, default);
        await lab.Driver.KillAsync(s_move, default);
        Assert.Equal(["prepare 7", "sync", "sync", "Stop", "drain 7", "HandOver", "seal 7", "Kill", "release 7"], lab.Log);
    }

    // Until one volume is in sync there is no convenient point, and one that never will be says so.
    [Fact]
    public async Task A_volume_that_is_not_in_sync_keeps_its_server_from_being_ready()
    {
        var lab = new Lab(runs: true);
        lab.Volumes[0].At = new VolumeProgress(true, 0);
        Assert.False((await lab.Driver.MirrorAsync(s_move, default))!.Ready);
        lab.Volumes[1].At = new VolumeProgress(false, 1 << 30, "it writes 20 MB/s and 10 MB/s are carried");
        MirrorProgress at = (await lab.Driver.MirrorAsync(s_move, default))!;
        Assert.Equal((false, "it writes 20 MB/s and 10 MB/s are carried"), (at.Ready, at.NotConverging));
    }

    [Fact]
    public async Task At_the_target_the_store_owns_the_volumes_before_the_server_runs_and_for_its_process_alone()
    {
        var lab = new Lab(runs: false);
        await lab.Driver.PrepareIncomingAsync(s_move, default);
        lab.Server.Process = 41;
        await lab.Driver.ActivateAsync(s_move, default);
        Assert.Equal(["prepare 7", "PrepareIncoming", "grant 7 to 41", "Activate"], lab.Log);

        // It has died and is started anew: nobody writes until the new process is named.
        lab.Log.Clear();
        (lab.Server.Process, lab.Server.ProcessAfterStart) = (null, 42);
        await lab.Driver.ActivateAsync(s_move, default);
        Assert.Equal(["grant 7 to nobody", "Activate", "grant 7 to 42"], lab.Log);
    }

    [Fact]
    public async Task An_undo_gives_the_volumes_back_before_the_server_goes_on()
    {
        var lab = new Lab(runs: true);
        await lab.Driver.MirrorAsync(s_move, default);
        await lab.Driver.StopAsync(s_move, default);
        lab.Log.Clear();
        await lab.Driver.ResumeAsync(s_move with { Epoch = 8 }, default);
        Assert.Equal(["unpark 8", "mode as before", "Resume"], lab.Log);

        // The next move is one of its own.
        lab.Log.Clear();
        await lab.Driver.MirrorAsync(s_move with { Epoch = 9 }, default);
        Assert.Equal("prepare 9", lab.Log.First());

        var target = new Lab(runs: false);
        await target.Driver.CancelAsync(s_move with { Epoch = 8 }, default);
        Assert.Equal(["Cancel", "cancel 8"], target.Log);
    }

    // It is dead, whatever its store still does: what the replica lacks is brought there where that goes quickly.
    [Fact]
    public async Task A_fence_kills_the_server_first_and_waits_for_no_store()
    {
        var lab = new Lab(runs: true);
        Assert.Equal(ServerState.Absent, await lab.Driver.FenceAsync(s_move, default));
        Assert.Equal(["Kill", "drain 7", "seal 7"], lab.Log);
        lab.Log.Clear();
        lab.Volumes[0].Drained = new DriverException("its store does not answer");
        lab.Volumes[1].DrainHangs = true;
        Assert.Equal(ServerState.Absent, await lab.Driver.FenceAsync(s_move with { MaxStopMs = 5 }, default));
        Assert.DoesNotContain("seal 7", lab.Log);
    }

    [Fact]
    public async Task A_replica_that_says_nothing_costs_the_server_a_bounded_time()
    {
        var lab = new Lab(runs: true);
        lab.Volumes[1].DrainHangs = true;
        var e = await Assert.ThrowsAsync<DriverException>(() => lab.Driver.HandOverAsync(s_move with { MaxStopMs = 5 }, default));
        Assert.True(e.Final);
        Assert.Contains("were not drained within 10 ms", e.Message, StringComparison.Ordinal);

        // QEMU does not stop before the disk's requests are answered.
        lab.Log.Clear();
        lab.Server.Gate = new TaskCompletionSource();
        lab.Volumes[0].Restored = lab.Server.Gate.SetResult;
        e = await Assert.ThrowsAsync<DriverException>(() => lab.Driver.StopAsync(s_move with { MaxStopMs = 5 }, default));
        Assert.True(e.Final);
        Assert.Contains("did not stop within 10 ms", e.Message, StringComparison.Ordinal);
        Assert.Equal(["Stop", "mode as before"], lab.Log);
        lab.Server.Gate = null;
        Assert.DoesNotContain("HandOver", lab.Log);

        // One that is to be broken off is no failure of the replica.
        using var broken = new CancellationTokenSource();
        Task<ServerState> open = lab.Driver.HandOverAsync(s_move, broken.Token);
        await broken.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => open);
    }

    [Fact]
    public async Task What_the_replica_has_not_proved_is_not_handed_over()
    {
        var lab = new Lab(runs: true);
        lab.Volumes[1].Drained = new DriverException("the replica of v1 has other bytes", final: true);
        var e = await Assert.ThrowsAsync<DriverException>(() => lab.Driver.HandOverAsync(s_move, default));
        Assert.True(e.Final);
        Assert.Equal(["drain 7"], lab.Log);
    }

    // What the report's syncExposureMs is made of: the events in their order, by one clock.
    [Fact]
    public async Task What_was_done_with_each_volume_is_noted_in_the_order_in_which_it_was_done()
    {
        var lab = new Lab(runs: true);
        await lab.Driver.MirrorAsync(s_move, default);
        Assert.All(lab.Driver.VolumeSteps, v => Assert.True(v is { SyncAskedAtNs: not null, InSyncAtNs: null, DrainMs: null }));
        lab.Volumes[0].At = lab.Volumes[1].At = new VolumeProgress(true, 0);
        await lab.Driver.MirrorAsync(s_move, default);
        await lab.Driver.StopAsync(s_move, default);
        await lab.Driver.HandOverAsync(s_move, default);
        await lab.Driver.KillAsync(s_move, default);
        Assert.Equal(["v0", "v1"], lab.Driver.VolumeSteps.Select(v => v.Volume));
        Assert.All(lab.Driver.VolumeSteps, v =>
        {
            Assert.True(v.SyncAskedAtNs <= v.InSyncAtNs && v.InSyncAtNs <= v.SealedAtNs && v.SealedAtNs <= v.ReleasedAtNs);
            Assert.True(v is { DrainMs: >= 0, SealedAt: 4711, GrantedAtNs: null, RestoredAtNs: null });
        });

        // The next move begins with nothing; a volume that is in sync mode by its configuration was not asked for it.
        lab.Volumes[0].At = new VolumeProgress(true, 0, WasSync: true);
        await lab.Driver.MirrorAsync(s_move with { Epoch = 9 }, default);
        Assert.True(lab.Driver.VolumeSteps[0] is { SyncAskedAtNs: null, InSyncAtNs: not null, SealedAt: null, ReleasedAtNs: null });
    }

    [Fact]
    public async Task Before_the_window_is_open_no_write_waits_for_the_other_site()
    {
        var lab = new Lab(runs: true);
        lab.Volumes[0].At = lab.Volumes[1].At = new VolumeProgress(true, 0);
        DriverContext before = s_move with { SyncNotBefore = DateTimeOffset.UtcNow.AddDays(1) };
        Assert.False((await lab.Driver.MirrorAsync(before, default))!.Ready);
        Assert.Equal(["prepare 7"], lab.Log);
        Assert.True((await lab.Driver.MirrorAsync(s_move with { SyncNotBefore = DateTimeOffset.UtcNow.AddDays(-1) }, default))!.Ready);
        Assert.Equal(["prepare 7", "sync"], lab.Log);
    }

    [Fact]
    public async Task A_target_is_told_which_volumes_its_store_must_not_grant()
    {
        var lab = new Lab(runs: false);
        lab.Server.Process = 41;
        await lab.Driver.ActivateAsync(s_move with { StaleVolumes = [Guid.NewGuid()] }, default);
        Assert.Equal(["grant 7 to 41 but 1", "Activate"], lab.Log);
    }

    // A server with two volumes; the log has what is asked of both as one line.
    private sealed class Lab
    {
        public Lab(bool runs)
        {
            Server = new LoggedServer(runs, Log);
            Volumes = [new Volume("v0", Log), new Volume("v1", [])];
            Driver = new VolumesDriver(Server, Volumes);
        }

        public ConcurrentQueue<string> Log { get; } = [];

        public LoggedServer Server { get; }

        public Volume[] Volumes { get; }

        public VolumesDriver Driver { get; }
    }

    private sealed class LoggedServer(bool runs, ConcurrentQueue<string> log) : FakeDriver(runs)
    {
        public int? ProcessAfterStart { get; set; }

        public override int? Process { get; set; }

        protected override void Called(string call)
        {
            log.Enqueue(call);
            Process ??= ProcessAfterStart;
        }
    }

    private sealed class Volume(string name, ConcurrentQueue<string> log) : IServerVolume
    {
        public string Name => name;

        public VolumeProgress At { get; set; } = new(false, 4096);

        public Exception? Drained { get; set; }

        public bool DrainHangs { get; set; }

        public Task PrepareAsync(long epoch, CancellationToken cancel) => Did($"prepare {epoch}");

        public Task<VolumeProgress> GetInSyncAsync(CancellationToken cancel)
        {
            log.Enqueue("sync");
            return Task.FromResult(At);
        }

        public Action? Restored { get; set; }

        public Task RestoreModeAsync(CancellationToken cancel)
        {
            Restored?.Invoke();
            return Did("mode as before");
        }

        public Task DrainAsync(long epoch, CancellationToken cancel) => DrainHangs ? Task.Delay(Timeout.Infinite, cancel)
            : Drained is { } e ? Task.FromException(e) : Did($"drain {epoch}");

        public async Task<ulong?> SealAsync(long epoch, CancellationToken cancel)
        {
            await Did($"seal {epoch}");
            return 4711;
        }

        public Task<ServerVolumeInfo> InfoAsync(CancellationToken cancel)
            => Task.FromResult(new ServerVolumeInfo(name, LagBytes: At.LagBytes));

        public Task UnparkAsync(long epoch, CancellationToken cancel) => Did($"unpark {epoch}");

        public Task ReleaseAsync(long epoch, CancellationToken cancel) => Did($"release {epoch}");

        public Task GrantAsync(long epoch, int? process, IReadOnlyList<Guid> stale, CancellationToken cancel)
            => Did($"grant {epoch} to {(process is { } p ? $"{p}" : "nobody")}{(stale.Count > 0 ? $" but {stale.Count}" : "")}");

        public Task CancelAsync(long epoch, CancellationToken cancel) => Did($"cancel {epoch}");

        private Task Did(string what)
        {
            log.Enqueue(what);
            return Task.CompletedTask;
        }
    }
}
