using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using ClientIdentity = SdnEdge.Core.Replication.ClientIdentity;

namespace SdnEdge.Host.Drivers;

/// <summary>A volume of the site's store, by the store's API. A store's epochs begin at 1, for who owns a volume when it is made, and a
/// server's at 0, for who may run it before any order: a store gets the server's epoch and one.</summary>
/// <param name="store">The store.</param>
/// <param name="name">The volume.</param>
public sealed class StoreVolume(StoreClient store, string name) : IServerVolume
{
    // Longest time for a switch to sync in one look; the next look goes on with it.
    private const int SyncMs = 50;

    // Longest wait for what the store says of a volume when nothing is asked of it.
    private static readonly TimeSpan s_info = TimeSpan.FromSeconds(2);

    // Refusals with which asking again is of no use in this move.
    private static readonly string[] s_final =
        ["/problems/stale-epoch", "/problems/void-epoch", "/problems/not-promotable", "/problems/copies-differ", "/problems/wrong-state"];

    private volatile string? _store;
    private Guid? _id;

    /// <inheritdoc/>
    public string Name => name;

    /// <inheritdoc/>
    public async Task<ServerVolumeInfo> InfoAsync(CancellationToken cancel)
    {
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        end.CancelAfter(s_info);
        try
        {
            _store ??= (await store.NodeAsync(end.Token)).Name;
            return ServerVolumeInfo.Of(_store, await store.VolumeAsync(name, end.Token));
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            return Silent($"the store has not answered within {s_info.TotalSeconds:0} s");
        }
        catch (ApiUnreachableException e)
        {
            return Silent($"the store does not answer: {e.Message}");
        }
        catch (ApiProblemException e)
        {
            return Silent(e.Problem.Detail) with { IsMissing = e.Problem.Status == 404 };
        }

        ServerVolumeInfo Silent(string why) => new(name, Store: _store, Fault: why);
    }

    /// <inheritdoc/>
    public Task PrepareAsync(long epoch, CancellationToken cancel) => OrderAsync(OwnershipOrderKind.Prepare, epoch, cancel);

    /// <inheritdoc/>
    public async Task<VolumeProgress> GetInSyncAsync(CancellationToken cancel)
    {
        bool was = (await AskAsync(() => store.VolumeAsync(name, cancel))).Replication?.InForce == ReplicationMode.Sync;
        return await AskSyncAsync(cancel) with { WasSync = was };
    }

    private async Task<VolumeProgress> AskSyncAsync(CancellationToken cancel)
    {
        try
        {
            VolumeInfo at = await store.ModeAsync(name, new VolumeModeRequest(0, ReplicationMode.Sync, SyncMs), cancel);
            return Progress(at);
        }
        catch (ApiProblemException e) when (e.Problem.Type == "/problems/timeout")
        {
            return Progress(await AskAsync(() => store.VolumeAsync(name, cancel)));
        }
        catch (ApiProblemException e) when (e.Problem.Type == "/problems/cannot-converge")
        {
            return Progress(await AskAsync(() => store.VolumeAsync(name, cancel))) with { NotConverging = e.Problem.Detail };
        }
        catch (Exception e) when (e is ApiProblemException or ApiUnreachableException)
        {
            throw Failed("get in sync", e);
        }
    }

    /// <inheritdoc/>
    public async Task RestoreModeAsync(CancellationToken cancel)
        => await AskAsync(() => store.ModeAsync(name, new VolumeModeRequest(0), cancel));

    /// <inheritdoc/>
    public async Task DrainAsync(long epoch, CancellationToken cancel) => await AskAsync(() => store.DrainAsync(name, cancel));

    /// <inheritdoc/>
    public async Task<ulong?> SealAsync(long epoch, CancellationToken cancel)
        => (await OrderAsync(OwnershipOrderKind.Seal, epoch, cancel)).SealedAt?.Sequence;

    /// <inheritdoc/>
    public Task UnparkAsync(long epoch, CancellationToken cancel) => OrderAsync(OwnershipOrderKind.Unpark, epoch, cancel);

    /// <inheritdoc/>
    public Task ReleaseAsync(long epoch, CancellationToken cancel) => OrderAsync(OwnershipOrderKind.Release, epoch, cancel);

    /// <inheritdoc/>
    public async Task GrantAsync(long epoch, int? process, IReadOnlyList<Guid> stale, CancellationToken cancel)
    {
        // Its identity never changes; it is asked for only where there is something to compare it with.
        if (stale.Count > 0) _id ??= (await AskAsync(() => store.VolumeAsync(name, cancel))).Id;
        await OrderAsync(OwnershipOrderKind.Grant, epoch, cancel, process is { } client ? ClientIdentity.Process(client, 0) : null,
            stale.Count > 0 && stale.Contains(_id!.Value));
    }

    /// <inheritdoc/>
    public Task CancelAsync(long epoch, CancellationToken cancel) => OrderAsync(OwnershipOrderKind.Cancel, epoch, cancel);

    private Task<VolumeOrderReply> OrderAsync(
        OwnershipOrderKind order, long epoch, CancellationToken cancel, ClientIdentity? client = null, bool isStale = false)
        => AskAsync(() => store.OrderAsync(
            name, order, new VolumeOrderRequest((ulong)epoch + 1, "", client, IsStale: isStale), cancel));

    private static VolumeProgress Progress(VolumeInfo volume) => volume.Replication is not { } at ? new VolumeProgress(false, 0)
        : new VolumeProgress(at.InSync && at.InForce == ReplicationMode.Sync, at.Lag.Bytes,
            at.Alarms.Contains(ReplicationAlarm.NotConverging)
                ? $"volume {volume.Name}: the guest writes {at.WriteBytesPerSecond} bytes/s, the link carries {at.BytesPerSecond}" : null);

    private async Task<T> AskAsync<T>(Func<Task<T>> ask)
    {
        try
        {
            return await ask();
        }
        catch (Exception e) when (e is ApiProblemException or ApiUnreachableException)
        {
            throw Failed("do it", e);
        }
    }

    private DriverException Failed(string what, Exception e) => e is ApiProblemException problem
        ? new DriverException($"the store does not {what} with volume {name}: {problem.Problem.Detail}",
            s_final.Contains(problem.Problem.Type))
        : new DriverException($"the store of volume {name} does not answer: {e.Message}");
}
