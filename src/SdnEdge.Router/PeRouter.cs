using System.Reflection;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Api;
using SdnEdge.Router.Control;
using SdnEdge.Router.Keeper;
using SdnEdge.Web;
using ProcessStartInfo = System.Diagnostics.ProcessStartInfo;

namespace SdnEdge.Router;

/// <summary>The host port's device, and the kernel's MAC address on it.</summary>
/// <param name="Device">The device.</param>
/// <param name="Kernel">MAC address of the kernel's end.</param>
public sealed record HostDevice(IFdPort Device, MacAddress Kernel);

/// <summary>What a PE is made with. The defaults are the real machine; tests put in their own.</summary>
public sealed record PeRouterOptions
{
    /// <summary>Opens the device of a port; null: a TAP.</summary>
    public Func<PortConfig, IFdPort>? OpenPort { get; init; }

    /// <summary>Opens the host port and configures the kernel behind it; null: a TAP, configured with <c>ip</c>.</summary>
    public Func<NodeConfig, MacAddress, HostDevice>? OpenHost { get; init; }

    /// <summary>Reads the configuration again for a reload; null: reload is refused.</summary>
    public Func<ConfigResult>? ReadConfig { get; init; }

    /// <summary>The PE comes back after a crash: its BGP peers are told so (RFC 4724), and told nothing else before they have been
    /// heard.</summary>
    public bool Restarting { get; init; }

    /// <summary>The way to the keeper that started this process; null: there is none. The PE disposes of it.</summary>
    public KeeperLink? Keeper { get; init; }

    /// <summary>
    /// How a process is started that does the work of <see cref="Bfd.BfdLink.Serve"/> with the descriptor that it inherits;
    /// null: a thread of this process does it, and a collection of all generations holds it up.
    /// </summary>
    public Func<int, ProcessStartInfo>? BfdProcess { get; init; }

    /// <summary>The clock.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;
}

/// <summary>
/// A PE. Start: 1. VRFs, ports, tunnels and routes, 2. the migrations that were kept, 3. host port, 4. workers and control loop,
/// 5. BGP, 6. the API. Stop is the same backwards.
/// </summary>
public sealed partial class PeRouter : IPeControl, IAsyncDisposable
{
    private readonly ControlLoop _loop;
    private readonly PeState _state;
    private readonly SlowPathDriver _slowPath;
    private readonly TunnelKeeper _tunnels;
    private readonly BgpDriver _bgp;
    private readonly VpnDriver _vpn;
    private readonly MarkerDriver _markers;
    private readonly BfdDriver _bfd;
    private readonly MigrationActions _actions;
    private readonly MigrationRunner _migrations;
    private readonly MigrationChanges _migrationChanges = new();
    private readonly MigrationStore _store;
    private readonly HostPort _host;
    private readonly ConfigApplier _config;
    private readonly KeeperDriver _keeper;
    private readonly DeviceWatch _devices;
    private readonly WatchDriver _watches;
    private readonly PeView _view;
    private readonly PeMetrics _metrics;
    private readonly PeRouterOptions _options;
    private readonly long _startedAt;
    private readonly string _incarnation = Guid.NewGuid().ToString("N");
    private MeterBridge? _meters;
    private ApiServer? _api;
    private volatile bool _ready;

    private PeRouter(NodeConfig config, PeRouterOptions options)
    {
        _options = options;
        _loop = new ControlLoop(options.Time, AfterRound,
            e => Events.Add(_loop!.Now, "fault", config.Name, e.GetType().Name, e.ToString()));
        _startedAt = _loop.Now;
        var devices = new PortDevices(options.OpenPort, options.Keeper);
        _state = new PeState(config, _loop, Events, devices, this) { Mirror = options.Keeper?.Source };
        bool standby = options.Keeper?.IsStandby == true;
        if (standby) _state.Workers.Suspend();
        _tunnels = new TunnelKeeper(_state, _loop);
        _slowPath = new SlowPathDriver(_state, _loop, _tunnels.OnReply, _tunnels.OnPathMtu);
        _vpn = new VpnDriver(_state, _tunnels, _loop);
        _host = new HostPort(_state, _slowPath, _loop, options.Keeper, options.OpenHost);
        _bgp = new BgpDriver(_state, _vpn, _host, _loop, options.Restarting || standby, forwardingKept: standby);
        _bfd = new BfdDriver(_state, _host, _loop, options.Keeper, options.BfdProcess);
        _bgp.WatchWanted += _bfd.Add;
        _bgp.WatchUnwanted += _bfd.Remove;
        _markers = new MarkerDriver(_state, _loop);
        _actions = new MigrationActions(_state, _tunnels, _slowPath.Resolve, _bgp.SetMoved, _bgp.SetLeaving, _bgp.SetBackup, _markers,
            _slowPath.Stretched, _migrationChanges, _loop).Watch();
        _store = MigrationStore.Open(config.State.Folder, config.Name);
        var serverProof = new ServerProof(_state, _slowPath, _actions, _loop);
        _watches = new WatchDriver(_state, _bfd, _slowPath, _loop);
        _migrations = new MigrationRunner(_state, _tunnels, _actions, _migrationChanges, serverProof, _watches, _store, _loop);
        _config = new ConfigApplier(_state, devices, _tunnels, _slowPath, _host, _bgp, _vpn, _bfd, _loop);
        _keeper = new KeeperDriver(options.Keeper, _state, _slowPath, _bgp, _loop);
        _devices = new DeviceWatch(_state, _loop);
        _view = new PeView(_state, _tunnels, _slowPath, _bgp, _devices, _loop);
        _metrics = new PeMetrics(_state, _view, _actions, _bgp, _bfd, _keeper, _migrations, _slowPath, _config, _loop);
        _loop.Add(_state);
        _loop.Add(_slowPath);
        _loop.Add(_tunnels);
        _loop.Add(_markers);
        _loop.Add(_watches);
        _loop.Add(_migrations);
        _loop.Add(serverProof);
        _loop.Add(_host);
        _loop.Add((ITimed)_bgp);
        _loop.Add((IWorkSource)_bgp);
        _loop.Add((IWorkSource)_bfd);
        _loop.Add((ITimed)_bfd);
        _loop.Add(_keeper);
        _loop.Add((IWorkSource)_devices);
        _loop.Add((ITimed)_devices);
    }

    /// <summary>Its API; null where its configuration gives it none.</summary>
    public ApiServer? Api => _api;

    /// <inheritdoc/>
    public EventLog Events { get; } = new();

    /// <summary>Starts a PE. When this returns it forwards, and its API answers.</summary>
    /// <exception cref="IOException">A device or socket could not be made; the message says which and why.</exception>
    /// <exception cref="LinuxException">The kernel refused.</exception>
    public static async Task<PeRouter> StartAsync(NodeConfig config, PeRouterOptions options)
    {
        var pe = new PeRouter(config, options);
        try
        {
            // The loop does not run yet: this thread is the single writer.
            pe._config.ApplyAll(config);
            pe._migrations.Restore();
            pe._host.Start(config);
            pe._devices.Start();
            pe._state.Workers.Start();
            pe._loop.Start();
            await pe._loop.RunAsync(() => pe._bgp.Start(config.Bgp));
            await pe._loop.RunAsync(pe._keeper.Start);
            await await pe._loop.RunAsync(() => pe._bfd.Start(config));
            if (config.Telemetry.Otlp is not null) pe._meters = new MeterBridge(() => pe.MetricsAsync().GetAwaiter().GetResult());
            pe._ready = true;
            if (config.Api.Unix is not null || config.Api.Tcp is not null) pe._api = await ApiServer.StartAsync(PeApi.Options(config, pe));
            return pe;
        }
        catch
        {
            await pe.DisposeAsync();
            throw;
        }
    }

    /// <inheritdoc/>
    public Task<NodeInfo> NodeAsync() => _loop.RunAsync(() => new NodeInfo(
        _state.Config.Name, _state.Config.RouterId.ToString(), _state.Config.As,
        typeof(PeRouter).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "0",
        Environment.ProcessId, _startedAt, _ready && !_state.IsStandby, [.. _state.Config.Loopbacks.Select(l => l.ToString())])
    {
        LocalPref = _state.Config.Bgp.LocalPref,
        Incarnation = _incarnation,
        StateFile = _store.Info,
        MoveDamping = new MoveDampingInfo(_state.Config.Bgp.MoveDamping.Moves, _state.Config.Bgp.MoveDamping.WithinSeconds),
    });

    /// <inheritdoc/>
    public Task<IReadOnlyList<PortInfo>> PortsAsync() => _loop.RunAsync(_view.Ports);

    /// <inheritdoc/>
    public Task<IReadOnlyList<VrfInfo>> VrfsAsync() => _loop.RunAsync(_view.Vrfs);

    /// <inheritdoc/>
    public Task<IReadOnlyList<RouteInfo>> RoutesAsync(RouteQuery query) => _loop.RunAsync(() => _view.Routes(query));

    /// <inheritdoc/>
    public Task<IReadOnlyList<FibInfo>> FibAsync(RouteQuery query) => _loop.RunAsync(() => _view.Fib(query));

    /// <inheritdoc/>
    public Task<FibInfo> LookupAsync(string vrf, IpAddress address) => _loop.RunAsync(() => _view.Lookup(vrf, address));

    /// <inheritdoc/>
    public Task<IReadOnlyList<NeighborInfo>> NeighborsAsync() => _loop.RunAsync(_view.Neighbors);

    /// <inheritdoc/>
    public Task<IReadOnlyList<TunnelInfo>> TunnelsAsync() => _loop.RunAsync(_view.Tunnels);

    /// <inheritdoc/>
    public Task<IReadOnlyList<BgpPeerInfo>> BgpPeersAsync() => _loop.RunAsync(() => _bgp.Peers(_loop.Now));

    /// <inheritdoc/>
    public Task<BgpPeerReply> BgpPeerAsync(string peer, BgpPeerAction action, BgpPeerRequest request)
        => _loop.RunAsync(() => _bgp.Act(peer, action, request));

    /// <inheritdoc/>
    public Task<IReadOnlyList<DampedInfo>> DampedAsync() => _loop.RunAsync(() => _bgp.Damped(_loop.Now));

    /// <inheritdoc/>
    public Task<BfdInfo> BfdAsync() => _loop.RunAsync(() => _bfd.Info(_loop.Now));

    /// <inheritdoc/>
    public Task<KeeperInfo> KeeperAsync() => _loop.RunAsync(_keeper.Info);

    /// <inheritdoc/>
    public Task<IReadOnlyList<RedirectGroupInfo>> GroupsAsync() => _loop.RunAsync(_actions.GroupInfos);

    /// <inheritdoc/>
    public Task<IReadOnlyList<DropInfo>> DropsAsync() => _loop.RunAsync(_view.Drops);

    /// <inheritdoc/>
    public Task<IReadOnlyList<MigrationInfo>> MigrationsAsync() => _migrations.Fault is { } fault
        ? throw new ProblemException(Problems.Unavailable($"the migrations of this PE are not known: {fault}"))
            : _loop.RunAsync(_migrations.Infos);

    /// <inheritdoc/>
    public Task<MigrationInfo?> MigrationAsync(string id, MigrationWait wait, CancellationToken cancel)
        => _migrations.Fault is { } fault
            ? throw new ProblemException(Problems.Unavailable($"the migrations of this PE are not known: {fault}"))
            : _migrations.FindAsync(id, wait, cancel);

    /// <inheritdoc/>
    public async Task<SignalReply> SignalAsync(string id, SignalKind kind, SignalRequest request, CancellationToken cancel)
    {
        // Read on the caller's thread: the loop has other things to do than a million prefixes.
        if (PeSignal.TryParse(id, kind, request, out IReadOnlyList<ProblemError> errors) is not { } signal)
            throw new ProblemException(Problems.BadRequest(
                $"{kind.ToString().ToLowerInvariant()} needs {errors.Count} thing{(errors.Count == 1 ? "" : "s")} put right", errors));
        return await _migrations.SignalAsync(signal).WaitAsync(cancel);
    }

    /// <inheritdoc/>
    public async Task<ReloadReply> ReloadAsync()
    {
        if (_options.ReadConfig is not { } read) throw new ProblemException(Problems.Conflict("this PE was not started from a file"));
        ConfigResult result = read();
        return await _loop.RunAsync(() => _config.Reload(result));
    }

    /// <inheritdoc/>
    public Task<IReadOnlyList<MetricFamily>> MetricsAsync() => _loop.RunAsync(_metrics.Collect);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _ready = false;
        _options.Keeper?.Bye();
        if (_api is not null) await _api.DisposeAsync();
        _meters?.Dispose();
        _store.Dispose();
        _devices.Dispose();
        _loop.Dispose();
        _bfd.Dispose();
        _bgp.Dispose();
        _options.Keeper?.Dispose();
        _state.Dispose();
        _host.Dispose();
    }
}
