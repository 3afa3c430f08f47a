using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Demo.Report;
using SdnEdge.Lab.Disks;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;

namespace SdnEdge.Demo.Run;

/// <summary>
/// Looks at the server's disk over a run:
///   1. the guest's writes, while it writes them (<see cref="DiskWatch"/>),
///   2. when the direction of replication has turned round with a move,
///   3. at the end, the guest having stopped to write and the replica having caught up: all of both sites' disks, by NBD.
/// </summary>
internal sealed class StorageWatch : IDisposable
{
    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(20), s_caughtUp = TimeSpan.FromSeconds(60);

    private readonly RunningLab _lab;
    private readonly string _volume;
    private readonly (LabStore Store, StoreClient Client)[] _sides;
    private readonly DiskWatch _disk;

    /// <summary>Starts to look.</summary>
    public StorageWatch(RunningLab lab, MovedServer server)
    {
        (_lab, _volume) = (lab, server.Volume!);

        // Where the server is at first comes first.
        _sides = [.. server.Sites.SelectMany(site => lab.Stores.Where(s => s.Site == site.Name && s.Volumes.Contains(_volume)))
            .Select(s => (s, new StoreClient(new ApiEndpoint(s.Node, lab.ApiSocket(s.Node)))))];
        if (_sides.Length < 2)
            throw new LabException($"volume {_volume} of server {server.Name} has no replica: give each of its sites a store that has it.");
        _disk = new DiskWatch(lab, lab.Ingresses[0].Name, server.Addresses[0]);
    }

    /// <summary>Returns when the store at a site owns the volume and has the other one as its replica; when that was.</summary>
    public async Task<long?> LinkedAsync(string site, CancellationToken cancel)
    {
        StoreClient store = _sides.First(s => s.Store.Site == site).Client;
        try
        {
            while (true)
            {
                if (await InfoAsync(store, cancel) is { Role: OwnerRole.Owner, Replication.Connected: true }) return Monotonic.Now;
                await Task.Delay(s_look, cancel);
            }
        }
        catch (OperationCanceledException)
        {
            return null;
        }
    }

    /// <summary>What the replica of the store at a site lacks; null = that store does not own the volume.</summary>
    public async Task<long?> LagAsync(string site, CancellationToken cancel)
        => (await InfoAsync(_sides.First(s => s.Store.Site == site).Client, cancel))?.Replication?.Lag.Bytes;

    /// <summary>Ends the guest's writing, waits until the replica has everything, and reads both disks.</summary>
    public async Task<StorageFacts> EndAsync(CancellationToken cancel)
    {
        (DiskWord? last, IReadOnlyList<DiskWrite> writes) = await Task.Run(_disk.Stop, cancel);
        long until = Monotonic.Now + (long)s_caughtUp.TotalNanoseconds;
        VolumeInfo?[] volumes;
        while (true)
        {
            volumes = await Task.WhenAll(_sides.Select(s => InfoAsync(s.Client, cancel)));
            bool caughtUp = volumes.Any(v => v?.Replication is { Connected: true } r && r.ReplicaDurable >= r.Last);

            // One that does not catch up is read as it is: the disks then differ, and that is told.
            if (caughtUp || Monotonic.Now >= until) break;
            await Task.Delay(s_look, cancel);
        }

        var disks = new List<DiskRead>();
        foreach ((LabStore store, _) in _sides)
        {
            disks.Add(await DiskRead.OfAsync(
                store.Node, _lab.NbdSocket(store.Node), _volume, last?.Boot ?? 0, last?.Acknowledged ?? 0, cancel));
        }

        return new StorageFacts(_volume, [.. _sides.Select((s, i) => new StorageSide(s.Store.Node, s.Store.Site, volumes[i]))], last,
            writes,
            disks);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _disk.Dispose();
        foreach ((_, StoreClient client) in _sides) client.Dispose();
    }

    private Task<VolumeInfo?> InfoAsync(StoreClient store, CancellationToken cancel) => InfoAsync(store, _volume, cancel);

    /// <summary>What a store says of a volume; null = it did not answer.</summary>
    public static async Task<VolumeInfo?> InfoAsync(StoreClient store, string volume, CancellationToken cancel)
    {
        try
        {
            return await store.VolumeAsync(volume, cancel);
        }
        catch (Exception e) when (e is ApiProblemException or ApiUnreachableException)
        {
            return null;   // it is asked again
        }
    }
}
