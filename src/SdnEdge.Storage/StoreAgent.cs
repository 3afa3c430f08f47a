using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Api;
using SdnEdge.Storage.Config;
using SdnEdge.Storage.Nbd;
using SdnEdge.Storage.Service;
using SdnEdge.Storage.Volumes;
using SdnEdge.Web;

namespace SdnEdge.Storage;

/// <summary>
/// The block store of a site: its volumes, served by NBD. Its start, in order: 1. the state folder; 2. each volume that is there, brought
/// up from its log, and each that the configuration names and is not there yet; 3. the exports; 4. the API. A volume that cannot be opened
/// is said so, and the others are served. Its end: requests that have come are answered, logs are made durable.
/// </summary>
public sealed partial class StoreAgent : IStoreControl, IAsyncDisposable
{
    private readonly StoreConfig _config;
    private readonly VolumeStore _store;
    private readonly ConcurrentDictionary<string, Volume> _volumes = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, ReplicatedVolume> _replicated = new(StringComparer.Ordinal);
    private readonly HashSet<string> _making = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, string> _faults = new(StringComparer.Ordinal);
    private readonly Lock _lock = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly long _startedAt = Monotonic.Now;
    private readonly string _incarnation = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8));
    private readonly NbdServer _server;
    private readonly StoreLink? _link;
    private readonly StaleReporter? _reporter;
    private Task _serving = Task.CompletedTask;
    private ApiServer? _api;
    private IDisposable? _folder;

    private StoreAgent(StoreConfig config)
    {
        (_config, _store) = (config, new VolumeStore(config.StateFolder, TimeProvider.System));
        _server = new NbdServer(ServerOptions(config, what => Events.Add(Monotonic.Now, "nbd", config.Name, "report", what)));
        if (config.Replication is { } replication) _link = new StoreLink(replication, FollowerOf);
        if (config.Manager is { } manager) _reporter = new StaleReporter(manager);
    }

    /// <summary>Its API; null where its configuration gives it none.</summary>
    public ApiServer? Api => _api;

    /// <inheritdoc/>
    public EventLog Events { get; } = new();

    /// <summary>Starts it. When this returns its volumes are served.</summary>
    /// <exception cref="IOException">The state folder, a socket or a certificate cannot be had; the message says why and what to
    /// do.</exception>
    public static Task<StoreAgent> StartAsync(StoreConfig config) => StartAsync(config, new VolumeOptions());

    /// <summary>As <see cref="StartAsync(StoreConfig)"/>, with volumes that work in another way.</summary>
    internal static async Task<StoreAgent> StartAsync(StoreConfig config, VolumeOptions volumes)
    {
        ArgumentNullException.ThrowIfNull(config);
        var agent = new StoreAgent(config) { Options = volumes };
        try
        {
            agent._folder = agent._store.Hold();
            agent.OpenVolumes();
            agent._link?.Start();
            agent._server.Bind();
            agent._serving = agent._server.RunAsync(agent._stop.Token);
            agent._retaining = Task.Run(agent.RetainAsync);
            agent._api = await ApiServer.StartAsync(StoreApi.Options(config, agent));
            return agent;
        }
        catch
        {
            await agent.DisposeAsync();
            throw;
        }
    }

    /// <inheritdoc/>
    public StoreNodeInfo Node()
    {
        string? fault;
        lock (_lock)
            fault = _faults.Count == 0 ? null : string.Join("; ", _faults.Values);
        string version = typeof(StoreAgent).Assembly.GetName().Version?.ToString(3) ?? "";
        return new StoreNodeInfo(_config.Name, _config.Site, version, _incarnation, _startedAt, [.. Uris()], _server.Connections.Count,
            fault is null, fault);
    }

    /// <inheritdoc/>
    public IReadOnlyList<VolumeInfo> Volumes() => [.. _volumes.Values.OrderBy(v => v.Metadata.Name, StringComparer.Ordinal).Select(Info)];

    /// <inheritdoc/>
    public VolumeInfo Volume(string name) => Info(Known(name));

    /// <inheritdoc/>
    public VolumeInfo Create(VolumeRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        lock (_lock)
        {
            if (_volumes.ContainsKey(request.Name) || !_making.Add(request.Name))
                throw new ProblemException(Problems.Conflict($"volume {request.Name} is there already, or is being made"));
        }

        // An image is read to its end meanwhile: nobody else waits for that.
        try
        {
            Volume volume = request.Image is { } image ? _store.Import(request.Name, image, Options, request.Id)
                : _store.Create(request.Name, request.SizeBytes, Options, request.Id);
            Serve(volume);
            return Info(volume);
        }
        catch (VolumeException e)
        {
            throw new ProblemException(e.IsRequest ? Problems.BadRequest(e.Message) : Problems.Conflict(e.Message));
        }
        finally
        {
            lock (_lock) _making.Remove(request.Name);
        }
    }

    /// <inheritdoc/>
    public void Delete(string name)
    {
        lock (_lock)
        {
            Volume volume = Known(name);
            if (_replicated.ContainsKey(name)) throw new ProblemException(Problems.Conflict(
                $"volume {name} is replicated by the configuration; take it out there, and start the store again, then delete it"));
            NbdConnectionInfo[] users = [.. _server.Connections.Where(c => IsOf(c.Export, name))];
            if (users.Length == 0) users = [.. _server.RemoveUnused(name)];
            string[] clients = [.. users.Select(c => c.Client.ToString())];
            if (clients.Length > 0)
            {
                throw new ProblemException(Problems.Conflict($"volume {name} is in use by {string.Join(", ", clients)}; end "
                    + $"{(clients.Length == 1 ? "it" : "them")} first"));
            }

            _volumes.TryRemove(name, out _);
            EndScrub(name);
            ExportMarks(volume);
            volume.Dispose();
            try
            {
                _store.Delete(name);
            }
            catch (VolumeException e)
            {
                throw new ProblemException(Problems.Conflict(e.Message));
            }

            Events.Add(Monotonic.Now, "volume", name, "deleted");
        }
    }

    /// <inheritdoc/>
    public async Task<VolumeOrderReply> OrderAsync(string name, OwnershipOrderKind order, VolumeOrderRequest request,
        CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(request);
        ReplicatedVolume volume = Replicated(name);
        OwnershipRecord now = volume.Ownership.Record;
        ClientIdentity? client = Whole(request.Client);

        // Another client under the same grant: the one before it writes nothing any more.
        bool other = order == OwnershipOrderKind.Grant && now.Role == OwnerRole.Owner && request.Epoch == now.GrantedEpoch
            && client != now.Client;
        uint generation = other && request.Generation <= now.Generation ? now.Generation + 1 : Math.Max(request.Generation, now.Generation);
        try
        {
            OwnershipReply reply = await volume.OrderAsync(order, request.Epoch, client, generation, request.Expected?.ToPoint(), cancel,
                request.IsStale);
            return new VolumeOrderReply(name, reply.Kind, reply.Epoch, reply.Role, reply.Repeated,
                reply.SealedAt is { } at ? LogPointInfo.Of(at) : null, reply.Verdict);
        }
        catch (OwnershipRefusedException e)
        {
            throw new ProblemException(StoreProblems.Of(e.Refusal));
        }
    }

    /// <inheritdoc/>
    public async Task<VolumeInfo> ModeAsync(string name, VolumeModeRequest request, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(request);
        ReplicatedVolume volume = Replicated(name);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(request.TimeoutMs);
        try
        {
            await (request.Mode is { } mode ? volume.ModeAsync(mode, limit.Token) : volume.RestoreModeAsync(limit.Token));
            return Volume(name);
        }
        catch (IOException e)
        {
            throw new ProblemException(StoreProblems.Of(StoreProblem.CannotConverge, e.Message));
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new ProblemException(Problems.Timeout($"{name} was not in that mode within {request.TimeoutMs} ms; it goes on trying"));
        }
    }

    /// <inheritdoc/>
    public async Task<DrainProofInfo> DrainAsync(string name, CancellationToken cancel)
    {
        try
        {
            return DrainProofInfo.Of(name, await Replicated(name).DrainAsync(cancel));
        }
        catch (IOException e)
        {
            throw new ProblemException(StoreProblems.Of(StoreProblem.CopiesDiffer, e.Message));
        }
    }

    /// <inheritdoc/>
    public Task<VolumeCheckInfo> CheckAsync(string name, CancellationToken cancel)
    {
        Volume volume = Known(name);
        return Task.Run(
            () =>
            {
                VolumeCheckInfo info = CheckInfo(name, volume.Check(cancel));
                Events.Add(Monotonic.Now, "volume", name, "checked", info.Good ? "good" : "NOT as it was written");
                return info;
            }, cancel);
    }

    /// <inheritdoc/>
    public IReadOnlyList<MetricFamily> Metrics()
    {
        Volume[] all = [.. _volumes.Values.OrderBy(v => v.Metadata.Name, StringComparer.Ordinal)];
        NbdCounters counters = _server.Counters();
        return
        [
            new("sdnedge_store_volume_bytes", "Size of a volume.", MetricKind.Gauge, Each(v => v.Size)),
            new("sdnedge_store_log_bytes", "Bytes of a volume's log segments in use.", MetricKind.Gauge, Each(v => v.Log.BytesInUse)),
            new("sdnedge_store_log_last_sequence", "Newest record of a volume's log.", MetricKind.Gauge, Each(v => v.Log.LastSequence)),
            new("sdnedge_store_log_durable_sequence", "Newest durable record.", MetricKind.Gauge, Each(v => v.Log.DurableSequence)),
            new("sdnedge_store_applied_sequence", "Newest record that is in the image.", MetricKind.Gauge, Each(v => v.AppliedSequence)),
            new("sdnedge_store_commits_total", "Times that a volume's log was made durable.", MetricKind.Counter, Each(v => v.Log.Commits)),
            new("sdnedge_store_parked_total", "Requests that had to wait for room in the log.", MetricKind.Counter, Each(v
                => v.ParkedRequests)),
            new("sdnedge_store_faults", "1 while a volume's disk does not take what it should.", MetricKind.Gauge,
                Each(v => v.ImageError != 0 || v.Log.LastError != 0 || v.Log.Failure != 0 ? 1 : 0)),
            new("sdnedge_nbd_connections", "Clients that are connected.", MetricKind.Gauge, [new MetricSample(_server.Connections.Count)]),
            new("sdnedge_nbd_connections_total", "Connections that were accepted.", MetricKind.Counter,
                [new MetricSample(_server.Accepted)]),
            new("sdnedge_nbd_connections_refused_total", "Connections that were one too many.", MetricKind.Counter,
                [new MetricSample(_server.Refused)]),
            .. VolumeMetrics.Of(all.Select(v => (Info(v), v.Points, RetentionOf(v.Metadata.Name)))),
            .. ScrubMetrics(),
            .. VolumeMetrics.Waits(_replicated.OrderBy(v => v.Key, StringComparer.Ordinal).Select(v => (v.Key, v.Value.Waited))),
            .. StoreMetrics.Of(counters),
        ];

        MetricSample[] Each(Func<Volume, double> value) => [.. all.Select(v => new MetricSample(value(v), ("volume", v.Metadata.Name)))];
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_api is not null) await _api.DisposeAsync();
        await _stop.CancelAsync();
        await _serving.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _retaining.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _server.Dispose();
        foreach (string name in _scrubbers.Keys) EndScrub(name);
        if (_link is not null) await _link.DisposeAsync();
        foreach (ReplicatedVolume volume in _replicated.Values) await volume.DisposeAsync();
        foreach (Volume volume in _volumes.Values) volume.Dispose();
        _folder?.Dispose();
        _reporter?.Dispose();
        _stop.Dispose();
    }

    private VolumeOptions Options { get; init; } = new();

    private static NbdServerOptions ServerOptions(StoreConfig config, Action<string> report)
    {
        var listen = new List<NbdListen>();
        if (config.Exports.Unix is { } path) listen.Add(new NbdUnixListen(path));
        if (config.Exports.Tcp is { } tcp)
            listen.Add(new NbdTcpListen(new IPEndPoint(IPAddress.Parse(tcp.Address.ToString()),
                tcp.Port)) { IsInsecure = tcp.Tls is null });
        return new NbdServerOptions
        {
            Listen = listen, Tls = config.Exports.Tcp?.Tls is { } files ? new TlsFiles(files, "nbd.tcp") : null, Report = report,
        };
    }

    private static ClientIdentity? IdentityOf(NbdClient client) => client.Certificate is { } name ? ClientIdentity.Certificate(name)
        : client.Process > 0 ? Whole(ClientIdentity.Process(client.Process, 0)) : null;

    // A process is known by when it started, too; null = it has ended.
    private static ClientIdentity? Whole(ClientIdentity? client) => client is not { Kind: ClientKind.Process, StartTime: 0 } ? client
        : ProcessStat.Read(client.ProcessId) is { } stat ? ClientIdentity.Process(client.ProcessId, (ulong)stat.StartTicks) : null;

    // Who takes a connection of another store.
    private Func<Stream, CancellationToken, Task>? FollowerOf(string store, string volume)
        => _replicated.TryGetValue(volume, out ReplicatedVolume? known) && known.Peer == store ? known.FollowAsync : null;

    private ReplicatedVolume Replicated(string name)
    {
        _ = Known(name);
        return _replicated.TryGetValue(name, out ReplicatedVolume? volume) ? volume
            : throw new ProblemException(Problems.Conflict($"volume {name} has no replica; name one in the configuration: replica: STORE"));
    }

    private void Serve(Volume volume, Func<NbdClient, IBlockDevice>? view = null)
    {
        string name = volume.Metadata.Name;
        Scrub(volume, _replicated.GetValueOrDefault(name));
        volume.Happened += e => Events.Add(Monotonic.Now, "volume", name, JsonWord(e.Kind), e.Message);
        _volumes[name] = volume;
        _server.Add(new NbdExport(name, volume) { Open = view });
        ServeMarks(volume);
        Events.Add(Monotonic.Now, "volume", name, "served",
            $"{volume.Size} bytes, log from {volume.Log.FirstSequence} to {volume.Log.LastSequence}");
    }

    private void Fault(string name, string why)
    {
        lock (_lock) _faults[name] = why;
        Events.Add(Monotonic.Now, "volume", name, "fault", why);
    }

    private static string JsonWord<T>(T value) where T : struct, Enum
        => System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());

    private Volume Known(string name)
    {
        if (_volumes.TryGetValue(name, out Volume? volume)) return volume;
        lock (_lock)
        {
            if (_faults.TryGetValue(name, out string? why))
                throw new ProblemException(Problems.Unavailable($"volume {name} is not served: {why}"));
        }

        throw new ProblemException(Problems.NotFound($"there is no volume '{name}' at {_config.Name}; it has "
            + $"{(_volumes.IsEmpty ? "none" : string.Join(", ", _volumes.Keys.Order(StringComparer.Ordinal)))}"));
    }

    private IEnumerable<string> Uris()
    {
        if (_config.Exports.Unix is { } path) yield return $"nbd+unix:///?socket={path}";
        if (_config.Exports.Tcp is not { } tcp) yield break;
        foreach (IPEndPoint at in _server.EndPoints.OfType<IPEndPoint>()) yield return $"{(tcp.Tls is null ? "nbd" : "nbds")}://{at}/";
    }

    private VolumeInfo Info(Volume volume)
    {
        if (!_replicated.TryGetValue(volume.Metadata.Name, out ReplicatedVolume? replicated)) return Alone(volume);
        return Info(volume, replicated);
    }

    private static VolumeInfo Alone(Volume volume) => new(volume.Metadata.Name, volume.Metadata.Identity, volume.Size, OwnerRole.Owner,
        volume.Log.Epoch, volume.Log.Epoch, null, 0, 0, null, null, null, []);

    private static VolumeCheckInfo CheckInfo(string name, VolumeCheck check) => new(
        name, check.IsGood, LogPointInfo.Of(new LogPoint(check.Proof.Sequence, check.Proof.Epoch, check.Proof.Chain)),
            Hex(check.Proof.Root),
        Hex(check.Root), check.BlocksRead, check.BadCount, check.BadBlocks, check.RecordsRead, check.LogDamage,
        check.Error == 0 ? null : RawFile.Describe(check.Error));

    private static string Hex(ulong value) => value.ToString("x16", null);
}
