using System.Net.Sockets;
using System.Text.Json;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Leases;
using SdnEdge.Host.Config;
using SdnEdge.Linux;

namespace SdnEdge.Host.Leases;

/// <summary>
/// The watchdog of a host: a process of its own, which outlives its agent. It renews the leases of all servers that are bound to one, and
/// kills a server whose lease has run out: from a thread that does nothing else and waits for nobody.
/// <code>
/// agent --orders, one connection after another--> watchdog --renewals, every TTL / 3--> witness
///                                                 watchdog --SIGKILL--> the server's processes, while there is no valid lease
/// </code>
/// It keeps nothing on disk: an agent that finds none starts one, and says what is to be done.
/// </summary>
public sealed class Watchdog : IDisposable
{
    /// <summary>Longest time between two looks at the leases, milliseconds.</summary>
    public const int LookMs = 50;

    private readonly FileStream _lock;
    private readonly Socket _listener;
    private readonly Action<string> _say;
    private readonly Lock _gate = new(); // the two dictionaries, and what is ordered
    private readonly Dictionary<(string Group, string Site, long Epoch), RenewedLease> _leases = [];
    private readonly Dictionary<string, Watched> _servers = new(StringComparer.Ordinal);
    private readonly AutoResetEvent _changed = new(false);
    private readonly CancellationTokenSource _end = new();
    private volatile Watched[] _all = [];
    private WitnessLinkConfig? _at;
    private WitnessClient? _witness;

    private Watchdog(FileStream held, Socket listener, Action<string> say) => (_lock, _listener, _say) = (held, listener, say);

    /// <summary>The socket of the watchdog whose folder this is.</summary>
    internal static string SocketIn(string folder) => Path.Combine(folder, "watchdog.sock");

    /// <summary>Does its work, until it has no server to watch.</summary>
    /// <param name="folder">The state folder of the agent.</param>
    /// <param name="say">Where it tells what it does.</param>
    /// <exception cref="IOException">Another watchdog has the folder, or the socket cannot be had.</exception>
    public static async Task RunAsync(string folder, Action<string> say)
    {
        using Watchdog watchdog = Open(folder, say);
        NamedLast();
        var killer = new Thread(watchdog.Kill) { IsBackground = true, Name = "lease-killer" };
        killer.Start();
        await watchdog.AcceptAsync();
        killer.Join();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _end.Cancel();
        _listener.Dispose();
        _lock.Dispose();
        _witness?.Dispose();
        _changed.Dispose();
        _end.Dispose();
    }

    // Where memory is short it is not this process that the kernel ends (proc_pid_oom_score_adj(5)).
    private static void NamedLast()
    {
        try
        {
            File.WriteAllText("/proc/self/oom_score_adj", "-1000");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Not permitted: then as any other.
        }
    }

    private static Watchdog Open(string folder, Action<string> say)
    {
        FileStream held;
        try
        {
            held = new FileStream(Path.Combine(folder, "watchdog.lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e)
        {
            throw new IOException($"another watchdog has {folder} ({e.Message})", e);
        }

        var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            // Beside its place, and put there when it answers: who connects finds one that was ended, or this one.
            string path = SocketIn(folder), beside = path + ".new";
            File.Delete(beside);
            listener.Bind(new UnixDomainSocketEndPoint(beside));
            File.SetUnixFileMode(beside, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            listener.Listen(16);
            File.Move(beside, path, overwrite: true);
            return new Watchdog(held, listener, say);
        }
        catch (Exception e) when (e is SocketException or IOException or UnauthorizedAccessException)
        {
            listener.Dispose();
            held.Dispose();
            throw new IOException($"the watchdog's socket in {folder} cannot be had: {e.Message}", e);
        }
    }

    // 1. Who runs without a lease is killed, and killed again: what an agent was about to start comes up later.
    private void Kill()
    {
        _ = Urgency.Raise();
        while (!_end.IsCancellationRequested)
        {
            foreach (Watched server in _all)
            {
                if (server.Lease.IsValidAt(BootTime.Now))
                {
                    server.Killer.Rest();
                    continue;
                }

                if (server.Killer.Kill() is not (var killed and > 0)) continue;
                if (Interlocked.Add(ref server.Kills, killed) == killed)
                    _ = Task.Run(() => _say($"server {server.Order.Server}: its lease of epoch {server.Order.Epoch} has run out, and it "
                        + $"was killed ({server.Lease.Fault ?? "its renewals were granted too late"})"));
            }

            _changed.WaitOne(LookMs);
        }
    }

    // 2. Agents: one that stands still does not keep the next one waiting.
    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                Socket agent = await _listener.AcceptAsync(_end.Token);
                _ = ServeAsync(agent);
            }
        }
        catch (OperationCanceledException)
        {
            // Nothing is watched any more.
        }
    }

    private async Task ServeAsync(Socket agent)
    {
        try
        {
            await using var stream = new NetworkStream(agent, ownsSocket: true);
            using var reader = new StreamReader(stream);
            await using var writer = new StreamWriter(stream) { AutoFlush = true };
            while (await reader.ReadLineAsync(_end.Token) is { } line)
            {
                WatchdogCall call = JsonSerializer.Deserialize(line, WatchdogTypes.Default.WatchdogCall) ?? new WatchdogCall();
                if (call.Orders is { } orders) Take(orders);
                await writer.WriteLineAsync(JsonSerializer.Serialize(new WatchdogReply([.. _all.Select(s => s.State)]),
                    WatchdogTypes.Default.WatchdogReply));
                if (call.Orders is { Servers.Count: 0 }) await _end.CancelAsync();
            }
        }
        catch (Exception e) when (e is IOException or JsonException or OperationCanceledException or ObjectDisposedException)
        {
            // That agent is gone, or of another version; the next one says again what is to be done.
        }
    }

    // 3. Leases of one key are renewed once, however many servers run under them. What is ordered no more is let alone.
    private void Take(WatchdogOrders orders)
    {
        lock (_gate)
        {
            if (_at != orders.Witness)
            {
                // The one before may be in use still.
                _witness = orders.Witness.Connect();
                _at = orders.Witness;
                foreach (RenewedLease lease in _leases.Values) lease.Witness = _witness;
            }

            var kept = new HashSet<RenewedLease>();
            var names = new HashSet<string>(StringComparer.Ordinal);
            foreach (WatchedServer order in orders.Servers)
            {
                (string, string, long) key = (order.Group, order.Site, order.Epoch);
                if (!_leases.TryGetValue(key, out RenewedLease? lease))
                {
                    lease = new RenewedLease(order.Group, order.Site, order.Epoch, orders.Party, _witness!, _end.Token);
                    _leases.Add(key, lease);
                }

                lease.IsKnownToBeValid(order.ValidUntilNs, order.TtlMs);
                lease.Begin();
                kept.Add(lease);
                names.Add(order.Server);
                if (_servers.TryGetValue(order.Server, out Watched? known) && known.Order.Kill == order.Kill)
                    _servers[order.Server] = new Watched(order, lease, known.Killer) { Kills = Interlocked.Read(ref known.Kills) };
                else _servers[order.Server] = new Watched(order, lease, new ServerKiller(order.Server, order.Kill));
            }

            foreach (string gone in _servers.Keys.Except(names).ToArray()) _servers.Remove(gone);
            foreach (((string, string, long) key, RenewedLease lease) in _leases.Where(l => !kept.Contains(l.Value)).ToArray())
            {
                _leases.Remove(key);
                lease.End();
            }

            _all = [.. _servers.Values];
        }

        _changed.Set();
    }

    private sealed class Watched(WatchedServer order, RenewedLease lease, ServerKiller killer)
    {
        public long Kills;

        public WatchedServer Order => order;

        public RenewedLease Lease => lease;

        public ServerKiller Killer => killer;

        public WatchedState State => new(order.Server, order.Epoch, lease.Clock.ValidUntilNs, (int)(lease.Clock.TtlNs / 1_000_000),
            Interlocked.Read(ref Kills), lease.Fault);
    }
}
