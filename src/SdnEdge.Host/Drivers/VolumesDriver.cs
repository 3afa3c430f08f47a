using System.Threading.Channels;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Linux;

namespace SdnEdge.Host.Drivers;

/// <summary>
/// A server with volumes: what its own driver does, and beside it what the site's store has to do. The order in which a volume moves with
/// its server:
/// <code>
/// target  prepare at the store; the server is expected, its volumes are read
/// source  prepare at the store; near the end of the memory's copy: writes are answered when the replica has them
/// source  the server stops; the replica proves that it has everything
/// source  the server is handed over; only then the store is sealed: a hypervisor flushes once more at the end of its hand-over
/// target  the store owns the volumes under the new epoch, for the server's process alone; the server runs (R6 is on disk)
/// source  the server is removed; what its store has parked is refused for good
/// </code>
/// An undo: the store owns the volumes again, under the higher epoch, before the server goes on (R3). Between seal and grant nobody writes.
/// </summary>
public sealed class VolumesDriver : IServerDriver
{
    private readonly IServerDriver _server;
    private readonly IReadOnlyList<IServerVolume> _volumes;
    private readonly SortedDictionary<string, VolumeStepInfo> _steps = new(StringComparer.Ordinal);
    private readonly Lock _stepsLock = new();
    private long? _prepared;

    /// <summary>Drives a server and its volumes.</summary>
    public VolumesDriver(IServerDriver server, IReadOnlyList<IServerVolume> volumes)
    {
        ArgumentNullException.ThrowIfNull(server);
        if (!server.Undoable)
            throw new ArgumentException("a server whose hand-over cannot be undone has no volumes of a store: nobody could seal them in "
                + "time",
                nameof(server));
        (_server, _volumes) = (server, volumes);
    }

    /// <inheritdoc/>
    public string Kind => _server.Kind;

    /// <inheritdoc/>
    public bool Undoable => true;

    /// <inheritdoc/>
    public TimeSpan LookInterval => _server.LookInterval;

    /// <inheritdoc/>
    public bool Mirrors => true;

    /// <inheritdoc/>
    public TimeSpan MirrorInterval => _server.MirrorInterval;

    /// <inheritdoc/>
    public ChannelReader<DriverNews>? News => _server.News;

    /// <inheritdoc/>
    public string? Why => _server.Why;

    /// <inheritdoc/>
    public bool WaitsForDisk => _server.WaitsForDisk;

    /// <inheritdoc/>
    public Task RetryDiskAsync(CancellationToken cancel) => _server.RetryDiskAsync(cancel);

    /// <inheritdoc/>
    public CopyInfo? Copy => _server.Copy;

    /// <inheritdoc/>
    public int? Process => _server.Process;

    /// <inheritdoc/>
    public IReadOnlyList<string> VolumeNames => [.. _volumes.Select(v => v.Name)];

    /// <inheritdoc/>
    public IReadOnlyList<VolumeStepInfo> VolumeSteps
    {
        get
        {
            lock (_stepsLock) return [.. _steps.Values];
        }
    }

    /// <inheritdoc/>
    public async Task<IReadOnlyList<ServerVolumeInfo>> VolumesAsync(CancellationToken cancel)
        => await Task.WhenAll(_volumes.Select(v => v.InfoAsync(cancel)));

    /// <inheritdoc/>
    public Task<ServerState> LookAsync(DriverContext context, CancellationToken cancel) => _server.LookAsync(context, cancel);

    /// <inheritdoc/>
    public Task<MachineInfo?> MachineAsync(CancellationToken cancel) => _server.MachineAsync(cancel);

    /// <inheritdoc/>
    public async Task<ServerState> PrepareIncomingAsync(DriverContext context, CancellationToken cancel)
    {
        BeginSteps();
        await EachAsync(v => v.PrepareAsync(context.Epoch, cancel));
        return await _server.PrepareIncomingAsync(context, cancel);
    }

    /// <inheritdoc/>
    public async Task<MirrorProgress?> MirrorAsync(DriverContext context, CancellationToken cancel)
    {
        MirrorProgress? server = await _server.MirrorAsync(context, cancel);

        // A target has nothing to copy. A source that copies no memory has its volumes to get in sync.
        if (server is null && _server.Mirrors) return null;
        MirrorProgress at = server ?? new MirrorProgress(true, 0, 0, 0);
        if (_prepared != context.Epoch)
        {
            BeginSteps();
            await EachAsync(v => v.PrepareAsync(context.Epoch, cancel));
            _prepared = context.Epoch;
        }

        // Writes take a round trip longer from here on: not before the first pass over the memory is done, nor before the window.
        if (at is { Ready: false, Pass: < 2 }) return at;
        if (context.SyncNotBefore is { } begins && DateTimeOffset.UtcNow < begins) return at with { Ready = false };
        VolumeProgress[] volumes = await Task.WhenAll(_volumes.Select(v => GetInSyncAsync(v, cancel)));
        return at with
        {
            Ready = at.Ready && volumes.All(v => v.InSync),
            NotConverging = at.NotConverging ?? volumes.FirstOrDefault(v => v.NotConverging is not null)?.NotConverging,
        };
    }

    /// <inheritdoc/>
    public async Task<ServerState> StopAsync(DriverContext context, CancellationToken cancel)
    {
        // A machine stops when its open requests are answered. Where the other store hangs they are not, in sync mode; without it they are,
        // and the server goes on here soon.
        Task<ServerState> stopping = _server.StopAsync(context, cancel);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        if (await Task.WhenAny(stopping, Task.Delay(Longest(context), end.Token)) != stopping && !cancel.IsCancellationRequested)
        {
            await EachAsync(v => v.RestoreModeAsync(cancel));
            await stopping;
            throw new DriverException($"{context.Server} did not stop within {Longest(context)} ms: its disk's requests waited for the other "
                + "store; the move has to be undone", final: true);
        }

        await end.CancelAsync();
        return await stopping;
    }

    /// <inheritdoc/>
    public async Task<ServerState> HandOverAsync(DriverContext context, CancellationToken cancel)
    {
        await DrainAsync(context, cancel);
        ServerState state = await _server.HandOverAsync(context, cancel);
        await EachAsync(async v =>
        {
            ulong? last = await v.SealAsync(context.Epoch, cancel);
            long at = Monotonic.Now;
            Note(v, s => s with { SealedAt = last, SealedAtNs = at });
        });
        return state;
    }

    // The server stands still. Where the other store hangs, or is not reached, it goes on here again soon: a drain takes a round trip.
    private async Task DrainAsync(DriverContext context, CancellationToken cancel)
    {
        long began = Monotonic.Now;
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        end.CancelAfter(Longest(context));
        try
        {
            await EachAsync(async v =>
            {
                await v.DrainAsync(context.Epoch, end.Token);
                double took = (Monotonic.Now - began) / 1e6;
                Note(v, s => s with { DrainMs = took });
            });
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new DriverException(
                $"the volumes of {context.Server} were not drained within {Longest(context)} ms: the other store has not said that it "
                + "has everything; the move has to be undone", final: true);
        }
    }

    /// <inheritdoc/>
    public async Task<ServerState> ActivateAsync(DriverContext context, CancellationToken cancel)
    {
        // One that is started anew has no process before; its writes wait until it is named.
        int? before = _server.Process;
        await EachAsync(async v =>
        {
            await v.GrantAsync(context.Epoch, before, context.StaleVolumes ?? [], cancel);
            long at = Monotonic.Now;
            Note(v, s => s with { GrantedAtNs = at });
        });
        ServerState state = await _server.ActivateAsync(context, cancel);
        await NameAsync(before, context, cancel);
        return state;
    }

    /// <inheritdoc/>
    public async Task<ServerState> ResumeAsync(DriverContext context, CancellationToken cancel)
    {
        _prepared = null;
        int? before = _server.Process;
        await EachAsync(v => v.UnparkAsync(context.Epoch, cancel));
        await EachAsync(async v =>
        {
            await v.RestoreModeAsync(cancel);
            long at = Monotonic.Now;
            Note(v, s => s with { RestoredAtNs = at });
        });
        ServerState state = await _server.ResumeAsync(context, cancel);
        await NameAsync(before, context, cancel);
        return state;
    }

    /// <inheritdoc/>
    public async Task<ServerState> CancelAsync(DriverContext context, CancellationToken cancel)
    {
        ServerState state = await _server.CancelAsync(context, cancel);
        await EachAsync(v => v.CancelAsync(context.Epoch, cancel));
        return state;
    }

    /// <inheritdoc/>
    public async Task<ServerState> KillAsync(DriverContext context, CancellationToken cancel)
    {
        ServerState state = await _server.KillAsync(context, cancel);
        await EachAsync(async v =>
        {
            await v.ReleaseAsync(context.Epoch, cancel);
            long at = Monotonic.Now;
            Note(v, s => s with { ReleasedAtNs = at });
        });
        return state;
    }

    /// <inheritdoc/>
    /// <remarks>That the server is dead is what is asked for: nobody writes its volumes then. What the replica still lacks is brought
    /// there if the store can do it soon; if not, it is lost, as far as nobody waits for it.</remarks>
    public async Task<ServerState> FenceAsync(DriverContext context, CancellationToken cancel)
    {
        ServerState state = await _server.FenceAsync(context, cancel);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        end.CancelAfter(Longest(context));
        await EachAsync(async v =>
        {
            try
            {
                await v.DrainAsync(context.Epoch, end.Token);
                ulong? last = await v.SealAsync(context.Epoch, end.Token);
                long at = Monotonic.Now;
                Note(v, s => s with { SealedAt = last, SealedAtNs = at });
            }
            catch (Exception e) when (e is DriverException or IOException or TimeoutException
                || (e is OperationCanceledException && !cancel.IsCancellationRequested))
            {
                // Its store, or the way to the other one, is part of what has failed.
            }
        });
        return state;
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _server.DisposeAsync();

    // Milliseconds for what takes a round trip. The copy of the memory was to take half of it in all.
    private static int Longest(DriverContext context) => 2 * (context.MaxStopMs ?? DriverContext.UnsaidMaxStopMs);

    // Another process than the one that the store knows: its predecessor writes nothing any more.
    private Task NameAsync(int? before, DriverContext context, CancellationToken cancel)
        => _server.Process is { } now && now != before
            ? EachAsync(v => v.GrantAsync(context.Epoch, now, context.StaleVolumes ?? [], cancel)) : Task.CompletedTask;

    private async Task<VolumeProgress> GetInSyncAsync(IServerVolume volume, CancellationToken cancel)
    {
        long asked = Monotonic.Now;
        VolumeProgress at = await volume.GetInSyncAsync(cancel);
        long seen = Monotonic.Now;
        Note(volume, s => s with
        {
            SyncAskedAtNs = s.SyncAskedAtNs ?? (at.WasSync ? null : asked), InSyncAtNs = at.InSync ? s.InSyncAtNs ?? seen : null,
        });
        return at;
    }

    private void BeginSteps()
    {
        lock (_stepsLock)
        {
            foreach (IServerVolume volume in _volumes) _steps[volume.Name] = new VolumeStepInfo(volume.Name);
        }
    }

    private void Note(IServerVolume volume, Func<VolumeStepInfo, VolumeStepInfo> what)
    {
        lock (_stepsLock) _steps[volume.Name] = what(_steps.GetValueOrDefault(volume.Name) ?? new VolumeStepInfo(volume.Name));
    }

    private Task EachAsync(Func<IServerVolume, Task> call) => Task.WhenAll(_volumes.Select(call));
}
