using System.Diagnostics;
using SdnEdge.Benchmarks.Bgp;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Testing;

namespace SdnEdge.Benchmarks.Store;

/// <summary>Two stores, each a process, with one volume; between them a link of a chosen length (bench/store/delay.c). The first owns the
/// volume, and this process may write it.</summary>
internal sealed class StorePair : IDisposable
{
    public const string Volume = "v";

    private readonly string _folder, _program;
    private readonly TestAuthority _authority = new("bench");
    private readonly List<Process> _stores = [];
    private readonly int _portA, _portB, _portLink;
    private DelayLink? _link;

    private StorePair(string folder)
    {
        _folder = folder;
        _program = DelayLink.Compile(folder);
        _portA = TestAuthority.FreePort();
        _portB = TestAuthority.FreePort(_portA);
        _portLink = TestAuthority.FreePort(_portB);
        (A, B) = (Client("store-a"), Client("store-b"));
    }

    public StoreClient A { get; }

    public StoreClient B { get; }

    /// <summary>The owner's exports.</summary>
    public string Socket => Path.Combine(_folder, "store-a.nbd");

    /// <summary>Starts both; there is no link yet.</summary>
    /// <param name="folder">Where everything is.</param>
    /// <param name="mib">Size of the volume.</param>
    /// <param name="image">What the owner makes it of, of that size; null = both make it, of zeros.</param>
    public static async Task<StorePair> StartAsync(string folder, int mib, string? image = null)
    {
        var pair = new StorePair(folder);
        try
        {
            string authority = pair._authority.WriteAuthority(folder);
            await pair.StartStoreAsync("store-a", pair._portA, "store-b", pair._portLink, owner: true, mib, authority, image);
            await pair.StartStoreAsync("store-b", pair._portB, "store-a", pair._portA, owner: false, mib, authority, image: null);
            var us = Core.Replication.ClientIdentity.Process(Environment.ProcessId, 0);
            await pair.A.OrderAsync(Volume, OwnershipOrderKind.Grant, new VolumeOrderRequest(1, "bench", us));
            return pair;
        }
        catch
        {
            pair.Dispose();
            throw;
        }
    }

    /// <summary>The link is so long from now on; returns when the replica is connected and has everything.</summary>
    public async Task LinkAsync(double roundTripMs, long bytesPerSecond = 0)
    {
        await OpenLinkAsync(roundTripMs, bytesPerSecond);
        await InStepAsync();
    }

    /// <summary>The link is so long from now on.</summary>
    public async Task OpenLinkAsync(double roundTripMs, long bytesPerSecond = 0)
    {
        _link?.Dispose();
        _link = await DelayLink.StartAsync(_program, _portLink, _portB, roundTripMs, bytesPerSecond);
    }

    /// <summary>The replica's first copy is whole and durable. It is asked for at long intervals, to take nothing from the copy.</summary>
    /// <returns>When that was seen, a timestamp of <see cref="Stopwatch"/>.</returns>
    public async Task<long> WholeAsync()
    {
        using var end = new CancellationTokenSource(TimeSpan.FromMinutes(10));
        while ((await A.VolumeAsync(Volume, end.Token)).Replication is not { ReplicaWhole: true })
        {
            foreach (Process store in _stores) Programs.ThrowIfEnded(store);
            await Task.Delay(TimeSpan.FromMilliseconds(10), end.Token);
        }

        return Stopwatch.GetTimestamp();
    }

    /// <summary>The replica's image.</summary>
    public string ReplicaImage => Directory.EnumerateFiles(Path.Combine(_folder, "store-b"), "image", SearchOption.AllDirectories).Single();

    /// <summary>The replica has everything that was written.</summary>
    public async Task InStepAsync()
    {
        VolumeReplicationInfo? at = null;
        await Patience.UntilAsync(
            async () =>
            {
                at = (await A.VolumeAsync(Volume)).Replication;
                return at is { Connected: true } && at.ReplicaDurable == at.Last && at.Durable == at.Last;
            },
            () => $"the replica is at {at?.ReplicaDurable} of {at?.Last}, connected: {at?.Connected}");
    }

    public Task<VolumeInfo> ModeAsync(ReplicationMode mode) => A.ModeAsync(Volume, new VolumeModeRequest(1, mode));

    /// <summary>Bytes that the link has carried to the replica since it has this length, and when the first connection came, as a
    /// timestamp of <see cref="Stopwatch"/>.</summary>
    public Task<(long Bytes, long ConnectedAt)> CarriedAsync() => _link!.CarriedAsync();

    /// <summary>Processor time of both stores so far, seconds.</summary>
    public (double Owner, double Replica) CpuSeconds() => (Programs.CpuSeconds(_stores[0]), Programs.CpuSeconds(_stores[1]));

    public void Dispose()
    {
        A.Dispose();
        B.Dispose();
        _link?.Dispose();
        foreach (Process store in _stores) Programs.End(store);
        _authority.Dispose();
    }

    private StoreClient Client(string store) => new(new ApiEndpoint(store, Path.Combine(_folder, store + ".sock")))
    {
        RequestTimeout = Timeout.InfiniteTimeSpan,
    };

    private async Task StartStoreAsync(string name, int port, string peer, int peerPort, bool owner, int mib, string authority,
        string? image)
    {
        string from = image is null ? "" : $", image: {image}";
        (string certificate, string key) = _authority.Write(_folder, name, forServer: null);
        string path = Path.Combine(_folder, name), config = path + ".yaml";
        await File.WriteAllTextAsync(config, $$"""
            name: {{name}}
            site: dc
            api: { unix: {{path}}.sock }
            state: { folder: {{path}} }
            nbd: { unix: {{path}}.nbd }
            replication:
              listen: "127.0.0.1:{{port}}"
              certificate: {{certificate}}
              key: {{key}}
              clientCa: {{authority}}
              peers: [{ name: {{peer}}, address: "127.0.0.1:{{peerPort}}" }]
            volumes:
              - { name: {{Volume}}, size: {{mib}}MiB, owner: {{(owner ? "true" : "false")}}, replica: {{peer}}, mode: async{{from}} }

            """);
        Process process = Programs.Start(Daemon.Executable(), ["store", "--config", config]);
        _stores.Add(process);
        await Programs.HasMadeAsync(process, path + ".sock");
        var store = owner ? A : B;
        await Patience.UntilAsync(async () => (await store.NodeAsync()).Ready, () => $"{name} is not ready");
    }
}
