using System.Net;
using System.Net.Sockets;
using SdnEdge.Linux;

namespace SdnEdge.Storage.Nbd;

/// <summary>A connection, for lists.</summary>
/// <param name="Id">Counted from 1.</param>
/// <param name="Client">Who it is.</param>
/// <param name="Export">The export that it has opened; null: it is still in its handshake.</param>
/// <param name="Counters">What it has done; live.</param>
public sealed record NbdConnectionInfo(long Id, NbdClient Client, string? Export, NbdCounters Counters);

/// <summary>
/// Serves block devices by the NBD protocol: fixed newstyle handshake, TLS, structured replies, base:allocation. 1. <see cref="Bind"/>
/// opens the sockets, 2. <see cref="RunAsync"/> accepts connections, each on its own thread, until it is cancelled, 3. it then lets the
/// connections answer what they have received, and ends them.
/// </summary>
public sealed partial class NbdServer : IDisposable
{
    // Deep enough for TLS; thousands of them are only reserved.
    private const int StackBytes = 512 << 10;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, NbdExport> _exports = new(StringComparer.Ordinal);
    private readonly Dictionary<long, NbdConnection> _connections = [];
    private readonly NbdCounters _past = new();
    private readonly List<Bound> _bound = [];
    private TaskCompletionSource _idle = Completed();
    private long _ids, _refused;
    private bool _ending;

    /// <summary>Makes a server that does not listen yet.</summary>
    /// <exception cref="ArgumentException">The options are wrong; the message has every reason.</exception>
    public NbdServer(NbdServerOptions options, params IEnumerable<NbdExport> exports)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(exports);
        IReadOnlyList<string> wrong = options.Validate();
        if (wrong.Count > 0) throw new ArgumentException(string.Join(" ", wrong), nameof(options));
        Options = options;
        foreach (NbdExport export in exports) Add(export);
    }

    /// <summary>How it is set up.</summary>
    public NbdServerOptions Options { get; }

    /// <summary>Where it listens, once bound, in the order of the options: a port that was left open is known here.</summary>
    public IReadOnlyList<EndPoint> EndPoints => [.. _bound.Where(bound => bound.EndPoint is not null).Select(bound => bound.EndPoint!)];

    /// <summary>Connections now.</summary>
    public IReadOnlyList<NbdConnectionInfo> Connections
    {
        get
        {
            lock (_lock)
            {
                return [.. _connections.Select(c => new NbdConnectionInfo(c.Key, c.Value.Client, c.Value.Export?.Name, c.Value.Counters))];
            }
        }
    }

    /// <summary>Connections that were accepted so far.</summary>
    public long Accepted => Interlocked.Read(ref _ids);

    /// <summary>Connections that were closed at once, because there were too many.</summary>
    public long Refused => Interlocked.Read(ref _refused);

    /// <summary>Buffers that connections hold now: without a connection 0.</summary>
    public int BuffersTaken => Buffers.Taken;

    internal NbdBufferPool Buffers { get; } = new();

    /// <summary>The sum over all connections, past ones too.</summary>
    public NbdCounters Counters()
    {
        var sum = new NbdCounters();
        lock (_lock)
        {
            sum.Add(_past);
            foreach (NbdConnection connection in _connections.Values) sum.Add(connection.Counters);
        }

        return sum;
    }

    /// <summary>Adds an export; connections see it from their next handshake on.</summary>
    /// <exception cref="ArgumentException">Its name or its device cannot be served, or the name is taken.</exception>
    public void Add(NbdExport export)
    {
        ArgumentNullException.ThrowIfNull(export);
        int bytes = System.Text.Encoding.UTF8.GetByteCount(export.Name);
        if (bytes > NbdProtocol.MaximumString) throw new ArgumentException(
            $"export name of {bytes} bytes: it must have at most {NbdProtocol.MaximumString}.", nameof(export));
        if (export.Description is { } text && System.Text.Encoding.UTF8.GetByteCount(text) > NbdProtocol.MaximumString)
        {
            throw new ArgumentException($"export '{export.Name}': its description has more than {NbdProtocol.MaximumString} bytes.",
                nameof(export));
        }

        int block = export.Device.MinimumBlock;
        if (block is < 1 or > 65536 || !System.Numerics.BitOperations.IsPow2(block)) throw new ArgumentException(
            $"export '{export.Name}': a block of {block} bytes: it must be a power of two, 1 to 65536.", nameof(export));
        if (export.Device.Size < block) throw new ArgumentException(
            $"export '{export.Name}': a size of {export.Device.Size} bytes: it must be at least a block, {block}.", nameof(export));
        lock (_lock)
        {
            if (_exports.TryAdd(export.Name, export)) return;
            throw new ArgumentException($"export '{export.Name}' is there already.", nameof(export));
        }
    }

    /// <summary>Takes an export away and ends its connections. False: there is none of the name.</summary>
    public bool Remove(string name)
    {
        lock (_lock)
        {
            if (!_exports.Remove(name)) return false;
        }

        Disconnect(connection => connection.Export == name);
        return true;
    }

    /// <summary>Takes an export away that nobody uses; a client that comes meanwhile either keeps it, or is told that there is
    /// none.</summary>
    /// <returns>Those who use it; empty: it is gone.</returns>
    public IReadOnlyList<NbdConnectionInfo> RemoveUnused(string name)
    {
        NbdExport? export;
        lock (_lock)
        {
            if (!_exports.Remove(name, out export)) return [];
        }

        // Who has chosen it looks whether it is there still, behind having chosen it.
        NbdConnectionInfo[] users = [.. Connections.Where(connection => connection.Export == name)];
        if (users.Length > 0)
        {
            lock (_lock) _exports[name] = export;
        }

        return users;
    }

    /// <summary>Ends connections: nothing that they still send is taken, and what waits for a device is cancelled.</summary>
    /// <returns>How many.</returns>
    public int Disconnect(Func<NbdConnectionInfo, bool> which)
    {
        ArgumentNullException.ThrowIfNull(which);
        HashSet<long> ids = [.. Connections.Where(which).Select(connection => connection.Id)];
        NbdConnection[] chosen;
        lock (_lock) chosen = [.. _connections.Where(c => ids.Contains(c.Key)).Select(c => c.Value)];
        foreach (NbdConnection connection in chosen) connection.Disconnect();
        return chosen.Length;
    }

    /// <summary>Serves until cancelled, or until the one connection that it was started with has ended.</summary>
    /// <exception cref="IOException">A socket cannot be opened; see <see cref="Bind"/>.</exception>
    public async Task RunAsync(CancellationToken stop)
    {
        Bind();
        using var all = CancellationTokenSource.CreateLinkedTokenSource(stop);
        List<Task> loops = [];
        foreach (Bound bound in _bound)
        {
            if (bound.Listener is not null) loops.Add(AcceptAsync(bound, all.Token));
        }

        if (loops.Count > 0) await Task.WhenAll(loops);
        else await Connected(stop);
        await EndAsync();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Bound bound in _bound) Close(bound);
        foreach (NbdConnection connection in Snapshot()) connection.Disconnect();
    }

    /// <summary>The exports that a client may see.</summary>
    internal IReadOnlyList<NbdExport> VisibleTo(NbdClient client)
    {
        NbdExport[] all;
        lock (_lock) all = [.. _exports.Values];
        return [.. all.Where(export => export.Admits is null || export.Admits(client))
            .OrderBy(export => export.Name, StringComparer.Ordinal)];
    }

    /// <summary>Whether an export is still there.</summary>
    internal bool Serves(NbdExport export)
    {
        lock (_lock) return _exports.TryGetValue(export.Name, out NbdExport? there) && ReferenceEquals(there, export);
    }

    internal void Report(string sentence) => Options.Report?.Invoke(sentence);

    /// <summary>Serves one connection in the caller's thread.</summary>
    internal void Serve(NbdTransport transport, NbdClient client, NbdHandshakePolicy policy)
    {
        NbdConnection connection;
        long id;
        lock (_lock)
        {
            if (_ending || _connections.Count >= Options.MaximumConnections)
            {
                _refused++;
                transport.Dispose();
                return;
            }

            id = ++_ids;
            connection = new NbdConnection(this, policy, transport, client);
            _connections.Add(id, connection);
            if (_connections.Count == 1) _idle = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        connection.Run();
        lock (_lock)
        {
            _connections.Remove(id);
            _past.Add(connection.Counters);
            if (_connections.Count == 0) _idle.TrySetResult();
        }

        connection.Dispose();
    }

    internal NbdHandshakePolicy Policy(bool tlsRequired)
    {
        string? only = null;
        lock (_lock)
        {
            NbdExport[] named = [.. _exports.Values.Where(export => !export.OnlyByName).Take(2)];
            if (named.Length == 1) only = named[0].Name;
        }

        return new NbdHandshakePolicy(Options.Tls is not null, tlsRequired, Options.AllowList, Options.DefaultExport ?? only,
            Options.MaximumPayload);
    }

    private static TaskCompletionSource Completed()
    {
        var done = new TaskCompletionSource();
        done.SetResult();
        return done;
    }

    private NbdConnection[] Snapshot()
    {
        lock (_lock) return [.. _connections.Values];
    }

    private async Task Connected(CancellationToken stop)
    {
        Task[] served = [.. _bound.Select(bound => Start(new NbdSocketTransport(bound.Descriptor, null, Options.Spins),
            new NbdClient(NbdTransportKind.Inherited), bound.TlsRequired))];
        try
        {
            await Task.WhenAll(served).WaitAsync(stop);
        }
        catch (OperationCanceledException)
        {
            // The connection is ended with the others.
        }
    }

    private async Task EndAsync()
    {
        lock (_lock) _ending = true;
        foreach (Bound bound in _bound) Close(bound);
        foreach (NbdConnection connection in Snapshot()) connection.Disconnect(receiveOnly: true);
        Task idle;
        lock (_lock) idle = _idle.Task;
        try
        {
            await idle.WaitAsync(Options.DrainTimeout);
            return;
        }
        catch (TimeoutException)
        {
            // Somebody does not read its replies, or a device does not finish.
        }

        foreach (NbdConnection connection in Snapshot()) connection.Disconnect();
        await idle;
    }
}
