using System.Globalization;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Replication;
using SdnEdge.Core.Wire;
using SdnEdge.Storage.Config;
using SdnEdge.Testing;
using ClientIdentity = SdnEdge.Core.Replication.ClientIdentity;

namespace SdnEdge.Storage.Tests.Service;

/// <summary>Two stores with one volume, which replicate it by mutual TLS. The test is the manager, and the volume's client.</summary>
internal sealed partial class TwoStores : IAsyncDisposable
{
    public const string Volume = "vs-disk";
    public const long Size = 64 << 20;

    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-stores-").FullName;
    private readonly TestAuthority _authority = new("stores");
    private readonly List<IAsyncDisposable> _more = [];
    // Where store-a connects to store-b: a relay's port, where there is one.
    private readonly int _portA, _portB, _portToB;
    private readonly ReplicationMode _mode;
    private readonly ReplicationPolicy? _policy;
    private readonly bool _hasManager;

    private TwoStores(ReplicationMode mode, ReplicationPolicy? policy, Func<int, int>? between = null, bool hasManager = false)
    {
        (_portA, _mode, _policy, _hasManager) = (TestAuthority.FreePort(), mode, policy, hasManager);
        _portB = TestAuthority.FreePort(_portA);
        _portToB = between?.Invoke(_portB) ?? _portB;
        (ApiA, ApiB) = (Client("store-a"), Client("store-b"));
    }

    /// <summary>The volume's identity; null = one of the names.</summary>
    public Guid? Identity { get; set; }

    private Func<StoreConfig, Task<StoreAgent>> Start { get; set; } = StoreAgent.StartAsync;

    private StoreConfig ConfigA => Config("store-a", _portA, "store-b", _portToB, owner: true);

    private StoreConfig ConfigB => Config("store-b", _portB, "store-a", _portA, owner: false);

    public StoreAgent? A { get; private set; }

    public StoreAgent? B { get; private set; }

    public StoreClient ApiA { get; }

    public StoreClient ApiB { get; }

    /// <summary>Starts both.</summary>
    /// <param name="mode">The volume's mode.</param>
    /// <param name="policy">Its policy.</param>
    /// <param name="hasManager">Whether both report to the test's manager.</param>
    public static async Task<TwoStores> StartAsync(ReplicationMode mode = ReplicationMode.Async, ReplicationPolicy? policy = null,
        bool hasManager = false)
    {
        var two = new TwoStores(mode, policy, hasManager: hasManager);
        await two.StartAAsync();
        await two.StartBAsync();
        return two;
    }

    public async Task StartAAsync() => A = await Start(ConfigA);

    public async Task StartBAsync() => B = await Start(ConfigB);

    public async Task StopAAsync()
    {
        await A!.DisposeAsync();
        A = null;
    }

    public async Task StopBAsync()
    {
        await B!.DisposeAsync();
        B = null;
    }

    /// <summary>Socket of the manager's API, where the stores have one.</summary>
    public string ManagerSocket => Path.Combine(_folder, "mms.sock");

    /// <summary>Its journal.</summary>
    public string Journal => Path.Combine(_folder, "mms.db");

    public Task<NbdTestClient> ConnectAsync(string store) => NbdTestClient.ConnectAsync(Path.Combine(_folder, store + ".nbd"), Volume);

    /// <summary>Where the API of the store at a host is, and where its exports are.</summary>
    public string ApiOf(string host) => Path.Combine(_folder, StoreAt(host) + ".sock");

    /// <inheritdoc cref="ApiOf"/>
    public string NbdOf(string host) => Path.Combine(_folder, StoreAt(host) + ".nbd");

    private static string StoreAt(string host) => host.Replace("host-", "store-", StringComparison.Ordinal);

    /// <summary>The configuration file of store-a, for a process of its own in place of <see cref="A"/>.</summary>
    public Task<string> WriteConfigAsync() => WriteConfigAsync(ConfigA);

    /// <summary>Gives an order of a migration.</summary>
    public static Task<VolumeOrderReply> OrderAsync(StoreClient store, OwnershipOrderKind order, ulong epoch, ClientIdentity? client = null)
        => store.OrderAsync(Volume, order, new VolumeOrderRequest(epoch, $"m{epoch}", client));

    /// <summary>This process may write at a store.</summary>
    public static Task<VolumeOrderReply> GrantAsync(StoreClient store, ulong epoch)
        => OrderAsync(store, OwnershipOrderKind.Grant, epoch, ClientIdentity.Process(Environment.ProcessId, 0));

    public async Task<VolumeInfo> UntilAsync(StoreClient store, Predicate<VolumeInfo> so)
    {
        VolumeInfo info = null!;
        await Patience.UntilAsync(async () => so(info = await store.VolumeAsync(Volume)), () => $"the volume is {info}; {Told()}");
        return info;
    }

    /// <summary>What both stores have told.</summary>
    public string Told() => string.Join("\n", ((StoreAgent?[])[A, B]).OfType<StoreAgent>().SelectMany(
        s => s.Events.After(0, out _).Select(e => $"{s.Node().Name} {e.Subject} {e.Change}: {e.Detail}")));

    public async ValueTask DisposeAsync()
    {
        ApiA.Dispose();
        ApiB.Dispose();
        if (A is not null) await A.DisposeAsync();
        if (B is not null) await B.DisposeAsync();
        foreach (IAsyncDisposable more in _more) await more.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
        _authority.Dispose();
    }

    // The sockets are where those of a store in this process would be.
    private async Task<string> WriteConfigAsync(StoreConfig config)
    {
        VolumeConfig volume = config.Volumes[0];
        ApiTcpConfig tls = config.Replication!.Listen;
        StorePeer peer = config.Replication.Peers[0];
        string file = Path.Combine(_folder, config.Name + ".yaml"), image = volume.Image is { } exists ? $"\n    image: {exists}" : "";
        await File.WriteAllTextAsync(file, string.Create(CultureInfo.InvariantCulture, $$"""
            name: {{config.Name}}
            site: {{config.Site}}
            api: { unix: {{config.Api.Unix}} }
            state: { folder: {{config.StateFolder}} }
            nbd: { unix: {{config.Exports.Unix}} }
            replication:
              listen: "{{tls.Address}}:{{tls.Port}}"
              certificate: {{tls.Certificate}}
              key: {{tls.Key}}
              clientCa: {{tls.ClientCa}}
              peers: [{ name: {{peer.Name}}, address: "{{peer.Address}}:{{peer.Port}}" }]
            volumes:
              - name: {{volume.Name}}
                size: {{volume.Size}}
                owner: {{(volume.Owner ? "true" : "false")}}
                replica: {{volume.Replica}}{{image}}

            """));
        return file;
    }

    /// <summary>Image of the replica, a file or a device that is there; null = a file that is made.</summary>
    public string? ReplicaImage { get; set; }

    /// <summary>Size by the replica's configuration; 0 = the owner's.</summary>
    public long ReplicaSize { get; set; }

    // Contents that the owner's volume has from the beginning, where there are any.
    private string Imported => Path.Combine(_folder, "imported");

    private StoreClient Client(string store) => new(new ApiEndpoint(store, Path.Combine(_folder, store + ".sock")));

    private StoreConfig Config(string name, int port, string peer, int peerPort, bool owner)
    {
        (string certificate, string key) = _authority.Write(_folder, name, forServer: null);
        var loopback = IpAddress.Parse("127.0.0.1");
        var tls = new ApiTcpConfig(loopback, port, certificate, key, _authority.WriteAuthority(_folder));
        return new StoreConfig(name, "dc", new ApiConfig(Path.Combine(_folder, name + ".sock")), Path.Combine(_folder, name),
            new ExportConfig(Path.Combine(_folder, name + ".nbd"), null),
            new ReplicationLinkConfig(tls, [new StorePeer(peer, loopback, peerPort)]),
            [
                new VolumeConfig(Volume, !owner && ReplicaSize > 0 ? ReplicaSize : Size,
                    !owner ? ReplicaImage : File.Exists(Imported) ? Imported : null, owner, peer, _mode,
                    _policy ?? new ReplicationPolicy()) { Identity = Identity },
            ])
        {
            Manager = _hasManager ? new StoreManagerConfig("unix:" + ManagerSocket) : null,
        };
    }
}
