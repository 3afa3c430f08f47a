using System.Security.Cryptography;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Host.Api;
using SdnEdge.Host.Config;
using SdnEdge.Host.Drivers;
using SdnEdge.Host.Leases;
using SdnEdge.Host.Qemu;
using SdnEdge.Linux;
using SdnEdge.Web;
using IServerDriver = SdnEdge.Host.Drivers.IServerDriver;
using ProcessStartInfo = System.Diagnostics.ProcessStartInfo;

namespace SdnEdge.Host;

/// <summary>
/// The agent of one server host: the only one that starts a server here. Its start, in order: 1. the state folder, for itself alone;
/// 2. the link by which guests come, each server's record and driver; 3. a look at each server, and the watchdog of those that are bound to
/// a lease; 4. the API; 5. BFD, which says to the PEs that it is there. No server is started or resumed by its start, and none stopped by
/// its end.
/// </summary>
public sealed class HostAgent : IHostControl, IAsyncDisposable
{
    private readonly HostAgentConfig _config;
    private readonly RecordStore _store;
    private readonly SortedDictionary<string, ServerAgent> _servers = new(StringComparer.Ordinal);
    private readonly long _startedAt = Monotonic.Now;
    private readonly string _incarnation = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8));
    private ApiServer? _api;
    private readonly CopyBandwidth _bandwidth;
    private MigrationLink? _link;
    private readonly HostBfd _bfd;
    private readonly HostLeases _leases;
    private StoreClient? _volumes;

    private HostAgent(HostAgentConfig config, RecordStore store, Func<int, ProcessStartInfo>? bfdProcess,
        Func<string, ProcessStartInfo>? watchdog)
    {
        (_config, _store, _bandwidth) = (config, store, new CopyBandwidth(config.Migration?.BytesPerSecond ?? 0));
        _bfd = new HostBfd(config, Events, bfdProcess);
        _leases = new HostLeases(config, store, Events, watchdog);
    }

    /// <summary>Its API; null where its configuration gives it none.</summary>
    public ApiServer? Api => _api;

    /// <inheritdoc/>
    public EventLog Events { get; } = new();

    /// <summary>Starts it. When this returns it takes orders.</summary>
    /// <param name="config">Its configuration.</param>
    /// <param name="drivers">Other drivers than those that the configuration names; null = those.</param>
    /// <param name="bfdProcess">How a process is started that does the work of <see cref="Bfd.BfdLink.Serve"/> with the descriptor that it
    /// inherits; null = a thread of this process does it.</param>
    /// <param name="watchdog">How the watchdog of a state folder is started (<see cref="Watchdog.RunAsync"/>); null: no server can be bound
    /// to a lease.</param>
    /// <exception cref="IOException">The state folder or the API's socket cannot be had, or a binding to a lease not be kept; the message
    /// says why and what to do.</exception>
    public static async Task<HostAgent> StartAsync(HostAgentConfig config, Func<ServerConfig, IServerDriver>? drivers = null,
        Func<int, ProcessStartInfo>? bfdProcess = null, Func<string, ProcessStartInfo>? watchdog = null)
    {
        RecordStore store = RecordStore.Open(config.StateFolder);
        HostAgent agent;
        try
        {
            agent = new HostAgent(config, store, bfdProcess, watchdog);
        }
        catch
        {
            store.Dispose();
            throw;
        }

        try
        {
            if (config.Migration is { } migration) agent._link = new MigrationLink(migration);
            foreach (ServerConfig server in config.Servers)
            {
                agent._servers.Add(server.Name,
                    new ServerAgent(server.Name, server.Runs, agent.WithVolumes(server, (drivers ?? agent.DriverOf)(server)), agent._store,
                        agent.Events, () => agent._leases.WhyNot(server.Name)));
            }

            agent._leases.Start();

            foreach (ServerAgent server in agent._servers.Values) server.Start();
            agent._api = await ApiServer.StartAsync(HostApi.Options(config, agent));
            agent._bfd.Start();
            return agent;
        }
        catch
        {
            await agent.DisposeAsync();
            throw;
        }
    }

    /// <inheritdoc/>
    public HostNodeInfo Node()
    {
        int unusable = _servers.Values.Count(s => s.Unusable);
        string version = typeof(HostAgent).Assembly.GetName().Version?.ToString(3) ?? "";
        return new HostNodeInfo(_config.Name, _config.Site, version, _incarnation, _startedAt, unusable < _servers.Count || unusable == 0,
            unusable == 0 ? null : $"{unusable} of {_servers.Count} servers take no orders; GET /v1/servers says why");
    }

    /// <inheritdoc/>
    public IReadOnlyList<ServerInfo> Servers() => [.. _servers.Values.Select(Shown)];

    /// <inheritdoc/>
    public ServerInfo Server(string name) => Shown(Known(name));

    /// <inheritdoc/>
    public CopyInfo Copy(string name) => Known(name).Copy
        ?? throw new ProblemException(Problems.NotFound(
            $"no copy of {name} to another host was made since this agent started"));

    /// <inheritdoc/>
    public BfdInfo Bfd() => _bfd.Info();

    /// <inheritdoc/>
    public async Task<ServerReply> OrderAsync(string name, ServerOrder order, ServerOrderRequest request, CancellationToken cancel)
    {
        ServerAgent server = Known(name);

        // Before anything is promised. What needs a lease is what may end with a server that runs here.
        bool runs = order is ServerOrder.Activate or ServerOrder.Resume or ServerOrder.Start
            || (order == ServerOrder.Prepare && request.Role == MigrationRole.Target);
        if (runs && order != ServerOrder.Start && request.Epoch >= server.Published.Epoch)
            await _leases.DecidedAnewAsync(name, request.Epoch, cancel);
        return runs && _leases.WhyNot(name) is { } why ? throw new ProblemException(new Problem(ApiProblems.NoLease,
            "There is no lease for the server", 409, why)) : await server.OrderAsync(order, request, cancel);
    }

    /// <inheritdoc/>
    public async Task<ServerInfo> BindAsync(string name, ServerLeaseCall call, CancellationToken cancel)
    {
        ServerAgent server = Known(name);
        await _leases.BindAsync(_config.Servers.First(s => s.Name == name), call, cancel);
        return Shown(server);
    }

    /// <inheritdoc/>
    public IReadOnlyList<MetricFamily> Metrics()
    {
        ServerAgent[] all = [.. _servers.Values];
        return
        [
            new("sdnedge_host_orders_total", "Orders by server, order and result; refused ones by their reason.", MetricKind.Counter,
                [.. all.SelectMany(s => s.Counts.All.Select(c
                    => new MetricSample(c.Count, ("server", s.Name), ("order", c.Order), ("result", c.Result))))]),
            new("sdnedge_host_orders_open", "Orders that are not answered yet.", MetricKind.Gauge, Each(s => s.Open)),
            new("sdnedge_host_server_running", "1 while the server was seen running here.", MetricKind.Gauge,
                Each(s => s.Published.State == ServerState.Running ? 1 : 0)),
            new("sdnedge_host_server_may_run", "1 while the server has the right to run here.", MetricKind.Gauge,
                Each(s => s.Published.MayRun is null ? 0 : 1)),
            new("sdnedge_host_server_epoch", "Highest epoch seen for the server.", MetricKind.Gauge, Each(s => s.Published.Epoch)),
            new("sdnedge_host_server_faults", "1 while something is wrong with the server here.", MetricKind.Gauge,
                Each(s => s.Published.Fault is null ? 0 : 1)),
            new("sdnedge_host_copy_bytes", "Bytes of a server's memory that its last copy to another host has sent.", MetricKind.Gauge,
                Copies(c => c.CopiedBytes)),
            new("sdnedge_host_copy_wire_bytes", "Bytes that went over the network for them.", MetricKind.Gauge, Copies(c => c.WireBytes)),
            new("sdnedge_host_copy_passes", "Passes over its memory.", MetricKind.Gauge, Copies(c => c.Pass)),
            new("sdnedge_host_copies", "Copies that go on.", MetricKind.Gauge, [new MetricSample(_bandwidth.Count)]),
            new("sdnedge_host_copies_refused_total",
                "Connections of other hosts that were refused: a stranger's certificate, or a server that nobody expects.",
                MetricKind.Counter, [new MetricSample(_link?.Refused ?? 0)]),
            new("sdnedge_host_lease_seconds", "How long the lease of a server is good for still, if it is not renewed; 0 = it has run "
                + "out.", MetricKind.Gauge, [.. all.Select(s => (s.Name, Lease: _leases.Of(s.Name))).Where(s => s.Lease is not null)
                    .Select(s => new MetricSample((s.Lease!.ValidForMs ?? 0) / 1e3, ("server", s.Name)))]),
            .. BfdMetrics.Of(Bfd()),
        ];

        MetricSample[] Copies(Func<CopyInfo, double> value)
            => [.. all.Where(s => s.Copy is not null).Select(s => new MetricSample(value(s.Copy!), ("server", s.Name)))];

        MetricSample[] Each(Func<ServerAgent, double> value) => [.. all.Select(s => new MetricSample(value(s), ("server", s.Name)))];
    }

    /// <summary>Stops the agent. What runs goes on, what is paused stays paused.</summary>
    public async ValueTask DisposeAsync()
    {
        // First: should the rest take too long and the agent be killed, the PEs know already that this is wanted.
        await _bfd.DisposeAsync();
        if (_api is not null) await _api.DisposeAsync();
        await _leases.DisposeAsync();
        foreach (ServerAgent server in _servers.Values) await server.DisposeAsync();
        if (_link is not null) await _link.DisposeAsync();
        _volumes?.Dispose();
        _store.Dispose();
    }

    private ServerInfo Shown(ServerAgent server)
    {
        ServerInfo info = server.Published;
        return info with { Lease = _leases.Of(server.Name), Fault = info.MayRun is null ? info.Fault : _leases.WhyNot(server.Name)
            ?? info.Fault };
    }

    private ServerAgent Known(string name) => _servers.TryGetValue(name, out ServerAgent? server) ? server
        : throw new ProblemException(Problems.NotFound(
            $"there is no server '{name}' at {_config.Name}; it has {(_servers.Count == 0 ? "none"
                : string.Join(", ", _servers.Keys))}, by its configuration"));

    private IServerDriver WithVolumes(ServerConfig server, IServerDriver driver)
    {
        if (server.Volumes is not { Count: > 0 } names) return driver;
        StoreClient store = _volumes ??= new StoreClient(new ApiEndpoint("the site's store", _config.Store!.Api));
        return new VolumesDriver(driver, [.. names.Select(n => new StoreVolume(store, n))]);
    }

    private IServerDriver DriverOf(ServerConfig server) => server.Driver switch
    {
        StandInConfig standIn => new StandInDriver(server.Name, standIn),
        QemuConfig qemu => new QemuDriver(server.Name, qemu, _store.FolderOf(server.Name), _link!, _bandwidth),
        ExecConfig exec => new ExecDriver(server.Name, exec, _store.LockOf(server.Name)),
        _ => throw new InvalidOperationException($"server {server.Name} has no driver"),
    };
}
