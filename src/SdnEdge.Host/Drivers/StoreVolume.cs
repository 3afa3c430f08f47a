using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using ClientIdentity = SdnEdge.Core.Replication.ClientIdentity;

namespace SdnEdge.Host.Drivers;

/// <summary>A volume of the site's store, by the store's API. A store's epochs begin at 1, for who owns a volume when it is made, and a
/// server's at
/// 0, for who may run it before any order: a store gets the server's epoch and one.</summary>
/// <param name="store">The store.</param>
/// <param name="name">The volume.</param>
public sealed class StoreVolume(StoreClient store, string name) : IServerVolume
{
    // Longest time for a switch to sync in one look; the next look goes on with it.
    private const int SyncMs = 50;

    // Refusals with which asking again is of no use in this move.
    private static readonly string[] s_final =
        ["/problems/stale-epoch", "/problems/void-epoch", "/problems/not-promotable", "/problems/copies-differ", "/problems/wrong-state"];

    /// <inheritdoc/>
    public string Name => name;

    /// <inheritdoc/>
    public Task PrepareAsync(long epoch, CancellationToken cancel) => OrderAsync(OwnershipOrderKind.Prepare, epoch, cancel);

    /// <inheritdoc/>
    public async Task<VolumeProgress> GetInSyncAsync(CancellationToken cancel)
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
    public Task SealAsync(long epoch, CancellationToken cancel) => OrderAsync(OwnershipOrderKind.Seal, epoch, cancel);

    /// <inheritdoc/>
    public Task UnparkAsync(long epoch, CancellationToken cancel) => OrderAsync(OwnershipOrderKind.Unpark, epoch, cancel);

    /// <inheritdoc/>
    public Task ReleaseAsync(long epoch, CancellationToken cancel) => OrderAsync(OwnershipOrderKind.Release, epoch, cancel);

    /// <inheritdoc/>
    public Task GrantAsync(long epoch, int? process, CancellationToken cancel)
        => OrderAsync(OwnershipOrderKind.Grant, epoch, cancel, process is { } id ? ClientIdentity.Process(id, 0) : null);

    /// <inheritdoc/>
    public Task CancelAsync(long epoch, CancellationToken cancel) => OrderAsync(OwnershipOrderKind.Cancel, epoch, cancel);

    private async Task OrderAsync(OwnershipOrderKind order, long epoch, CancellationToken cancel, ClientIdentity? client = null)
        => await AskAsync(() => store.OrderAsync(name, order, new VolumeOrderRequest((ulong)epoch + 1, "", client), cancel));

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
