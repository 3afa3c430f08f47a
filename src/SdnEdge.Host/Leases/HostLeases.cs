using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Leases;
using SdnEdge.Host.Config;
using SdnEdge.Linux;
using SdnEdge.Web;
using ProcessStartInfo = System.Diagnostics.ProcessStartInfo;

namespace SdnEdge.Host.Leases;

/// <summary>
/// Leases as the agent of a host has them: which servers are bound to one, on disk, and what its watchdog does. Its loop:
/// <code>
/// 1. the watchdog is asked how its leases are, and told what has changed; one that is gone is replaced, one that is silent ended first
/// 2. an agent that finds none, after its own start, renews each lease once by itself
/// 3. a server whose lease has run out by all that is known is killed here, too: where both are at work, the watchdog was first
/// </code>
/// An agent that stood still itself asks again before it judges. What it knows of a lease is a time of CLOCK_BOOTTIME, which holds whoever
/// has renewed it.
/// </summary>
internal sealed class HostLeases : IAsyncDisposable
{
    // How often the watchdog is asked; how long for an answer; after which silence it is ended, and after which one that has not said a
    // word yet. A start has its own time.
    private static readonly TimeSpan s_every = TimeSpan.FromMilliseconds(100), s_patience = TimeSpan.FromMilliseconds(250),
        s_silence = TimeSpan.FromSeconds(1), s_warm = TimeSpan.FromSeconds(5), s_start = TimeSpan.FromSeconds(10),
        s_look = TimeSpan.FromMilliseconds(20),
        s_bind = TimeSpan.FromSeconds(6), s_first = TimeSpan.FromSeconds(2);

    private readonly HostAgentConfig _config;
    private readonly RecordStore _store;
    private readonly EventLog _events;
    private readonly WatchdogLink? _link;
    private readonly WitnessClient? _witness;
    private readonly Lock _gate = new(); // the bindings, their order's number, and what waits for an answer
    private readonly SortedDictionary<string, Bound> _bound = new(StringComparer.Ordinal);
    private readonly Dictionary<string, long> _epochs = new(StringComparer.Ordinal);
    private readonly SemaphoreSlim _binding = new(1, 1);
    private readonly SemaphoreSlim _wake = new(0);
    private readonly CancellationTokenSource _stop = new();
    private TaskCompletionSource _told = New();
    private long _order = 1, _toldOrder;
    private Task _loop = Task.CompletedTask;

    /// <summary>Reads what is on disk.</summary>
    /// <param name="config">The agent's configuration.</param>
    /// <param name="store">The state folder.</param>
    /// <param name="events">Where events are told.</param>
    /// <param name="program">How the watchdog of a folder is started; null: no server can be bound.</param>
    /// <exception cref="IOException">A binding cannot be used, or can no more be kept; says why and what would be right.</exception>
    public HostLeases(HostAgentConfig config, RecordStore store, EventLog events, Func<string, ProcessStartInfo>? program)
    {
        (_config, _store, _events) = (config, store, events);
        foreach (ServerConfig server in config.Servers)
        {
            if (store.ReadBinding(server.Name) is not { } binding) continue;
            _epochs[server.Name] = binding.Epoch;
            if (binding.Group is null || binding.Site is null) continue;
            if (config.Witness is null || program is null)
                throw new IOException($"server {server.Name} may run only under a lease of {binding.Group} at {binding.Site}, and the "
                    + "configuration names no witness; write witness: { name: ..., api: ... }");
            _bound.Add(server.Name, Make(server, binding));
        }

        if (config.Witness is null || program is null) return;
        _witness = config.Witness.Connect();
        _link = new WatchdogLink(store.Folder, program);
    }

    /// <summary>The watchdog's process; null = there is none.</summary>
    public int? WatchdogProcess => _link?.ProcessId;

    /// <summary>Begins.</summary>
    public void Start()
    {
        if (_link is not null) _loop = Task.Run(RunAsync);
    }

    /// <summary>The lease of a server; null = it needs none.</summary>
    public ServerLeaseInfo? Of(string server)
    {
        lock (_gate)
        {
            if (!_bound.TryGetValue(server, out Bound? bound)) return null;
            long left = bound.Clock.ValidUntilNs - BootTime.Now;
            return new ServerLeaseInfo(bound.Binding.Group!, bound.Binding.Site!, bound.Binding.Epoch, left > 0 ? left / 1_000_000 : null);
        }
    }

    /// <summary>Why a server must not be started now; null = it may, as far as leases go.</summary>
    public string? WhyNot(string server)
    {
        lock (_gate)
        {
            if (!_bound.TryGetValue(server, out Bound? bound) || bound.Clock.IsValidAt(BootTime.Now)) return null;
            LeaseBinding b = bound.Binding;
            return $"server {server} may run here only under a lease of {b.Group} at {b.Site}, epoch {b.Epoch}, and has none that is valid"
                + (bound.Fault is { } fault ? $": {fault}" : "");
        }
    }

    /// <summary>Binds a server to a lease, or to none any more: 1. the first lease is granted; 2. the watchdog has it; 3. it is on disk.
    /// To none: the other way round.</summary>
    /// <param name="server">The server.</param>
    /// <param name="call">The lease.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="ProblemException">It is not bound; says why. What it was bound to before it is bound to still.</exception>
    public async Task BindAsync(ServerConfig server, ServerLeaseCall call, CancellationToken cancel)
    {
        await _binding.WaitAsync(cancel);
        try
        {
            long last = _epochs.GetValueOrDefault(server.Name);
            if (call.Epoch < last) throw new ProblemException(Problems.StaleEpoch(
                $"epoch {call.Epoch} is older than {last}, with which server {server.Name} was bound last"));
            var binding = new LeaseBinding { Server = server.Name, Group = call.Group, Site = call.Site, Epoch = call.Epoch };
            if (call.Group is null) await LetGoAsync(binding, cancel);
            else await BindAsync(server, binding, cancel);
        }
        finally
        {
            _binding.Release();
        }
    }

    /// <summary>A server is told to run here under a higher epoch than that of its lease: where the group is was decided anew since it was
    /// bound, and it is bound no more.</summary>
    /// <param name="server">The server.</param>
    /// <param name="epoch">The epoch of the order.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="ProblemException">That cannot be kept, or the watchdog does not answer.</exception>
    public async Task DecidedAnewAsync(string server, long epoch, CancellationToken cancel)
    {
        await _binding.WaitAsync(cancel);
        try
        {
            long bound;
            lock (_gate)
            {
                if (!_bound.TryGetValue(server, out Bound? known) || known.Binding.Epoch >= epoch) return;
                bound = known.Binding.Epoch;
            }

            await LetGoAsync(new LeaseBinding { Server = server, Epoch = bound }, cancel);
        }
        finally
        {
            _binding.Release();
        }
    }

    /// <summary>Lets the watchdog alone, which goes on.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        _link?.Dispose();
        _witness?.Dispose();
        _binding.Dispose();
        _wake.Dispose();
        _stop.Dispose();
    }

    private async Task BindAsync(ServerConfig server, LeaseBinding binding, CancellationToken cancel)
    {
        if (_link is null || _witness is null || _config.Witness is not { } at) throw NoLease(
            $"host {_config.Name} knows no witness; write witness: {{ name: ..., api: ... }} in its agent's file");
        Bound? before;
        lock (_gate) before = _bound.GetValueOrDefault(server.Name);
        if (before?.Binding != binding || !before.Clock.IsValidAt(BootTime.Now))
        {
            (LeaseClock clock, string? fault, _) = await RenewedLease.AskAsync(_witness, binding.Group!, binding.Site!,
                new LeaseRenewCall(_config.Name, binding.Epoch), default, s_first, cancel);
            if (!clock.IsValidAt(BootTime.Now)) throw NoLease($"server {server.Name} is not bound: {at.Name} grants no lease of "
                + $"{binding.Group} at {binding.Site}, epoch {binding.Epoch}: {fault ?? "its answer came too late"}");
            Bound bound = Make(server, binding);
            bound.Clock = clock;
            lock (_gate) _bound[server.Name] = bound;
        }

        try
        {
            await ToldAsync(cancel);
            Write(binding);
        }
        catch
        {
            lock (_gate)
            {
                if (before is null) _bound.Remove(server.Name);
                else _bound[server.Name] = before;
                _order++;
            }

            Wake();
            throw;
        }

        if (before?.Binding != binding)
            _events.Add(Monotonic.Now, "server", server.Name, "lease", $"it may run only under leases of {binding.Group} at "
                + $"{binding.Site}, epoch {binding.Epoch}");
    }

    private async Task LetGoAsync(LeaseBinding binding, CancellationToken cancel)
    {
        Write(binding);
        bool was;
        lock (_gate) was = _bound.Remove(binding.Server);
        if (!was) return;
        _events.Add(Monotonic.Now, "server", binding.Server, "lease", "it needs none any more");
        await ToldAsync(cancel);
    }

    private void Write(LeaseBinding binding)
    {
        try
        {
            _store.Write(binding);
            _epochs[binding.Server] = binding.Epoch;
        }
        catch (IOException e)
        {
            throw new ProblemException(new Problem("/problems/state-not-durable", "The agent cannot keep what it would promise", 503,
                e.Message + " (not done: the same call again tries again)"));
        }
    }

    // The watchdog has answered to all that is wanted now.
    private async Task ToldAsync(CancellationToken cancel)
    {
        long order;
        lock (_gate) order = ++_order;
        Wake();
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel, _stop.Token);
        limit.CancelAfter(s_bind);
        try
        {
            while (true)
            {
                Task told;
                lock (_gate)
                {
                    if (_toldOrder >= order) return;
                    told = _told.Task;
                }

                await told.WaitAsync(limit.Token);
            }
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new ProblemException(Problems.Unavailable($"the watchdog of host {_config.Name} does not answer; watchdog.log in the "
                + "agent's state folder may say why"));
        }
    }

    private async Task RunAsync()
    {
        long told = 0, startedAt = 0;
        long? silentSince = null;
        int? spoke = null;
        bool found = false;
        try
        {
            while (true)
            {
                WatchdogOrders orders = Orders(out long order);
                long began = BootTime.Now;
                bool answered = false;
                if (!_link!.IsConnected)
                {
                    told = 0;
                    if (_link.TryConnect())
                    {
                        // It is there.
                    }
                    else if (orders.Servers.Count == 0)
                    {
                        // Nothing is watched, and nobody is there who does.
                        Told(order);
                        found = true;
                        await _wake.WaitAsync(_stop.Token);
                        continue;
                    }
                    else if (!_link.IsStarting || BootTime.Now - startedAt > s_start.TotalNanoseconds)
                    {
                        startedAt = BootTime.Now;
                        StartOne();
                    }
                }

                if (_link.IsConnected)
                {
                    using var limit = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
                    limit.CancelAfter(s_patience);
                    try
                    {
                        // Before its own first word to a watchdog, an agent hears what that one has.
                        WatchdogReply reply = await _link.AskAsync(new WatchdogCall(found && told != order ? orders : null), limit.Token);
                        Learn(reply);
                        if (found)
                        {
                            told = order;
                            Told(order);
                            if (orders.Servers.Count == 0) _link.Close();
                        }

                        (answered, silentSince, spoke, found) = (true, null, _link.ProcessId ?? spoke, true);
                        if (told != order) continue;
                    }
                    catch (OperationCanceledException) when (!_stop.IsCancellationRequested)
                    {
                        silentSince = IsLate(began) ? null : silentSince ?? began;
                        if (BootTime.Now - silentSince > (_link.ProcessId == spoke ? s_silence : s_warm).TotalNanoseconds)
                        {
                            _events.Add(Monotonic.Now, "host", _config.Name, "watchdog", "it does not answer and is ended; another one is "
                                + "started");
                            _link.Kill();
                            silentSince = null;
                        }
                        else
                        {
                            _link.Close();
                        }
                    }
                    catch (IOException e)
                    {
                        _link.Close();
                        if (orders.Servers.Count > 0)
                            _events.Add(Monotonic.Now, "host", _config.Name, "watchdog", $"{e.Message}; another one is started");
                    }
                }

                if (!found && !_link.IsConnected)
                {
                    await RenewAllAsync();
                    found = true;
                }

                // Who was not scheduled for so long has missed an answer, perhaps.
                if (!answered && IsLate(began)) continue;
                KillWhatHasNone();
                await _wake.WaitAsync(_link.IsConnected ? s_every : s_look, _stop.Token);
            }
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    private static bool IsLate(long began) => BootTime.Now - began > 4 * s_patience.TotalNanoseconds;

    private void StartOne()
    {
        try
        {
            _link!.Start();
        }
        catch (IOException e)
        {
            _events.Add(Monotonic.Now, "host", _config.Name, "watchdog", e.Message);
        }
    }

    // There was no watchdog when the agent was started: nobody knows of a lease.
    private async Task RenewAllAsync()
    {
        Bound[] all;
        lock (_gate) all = [.. _bound.Values.Where(b => b.Clock.ValidUntilNs == 0)];
        await Task.WhenAll(all.Select(async bound =>
        {
            (LeaseClock clock, string? fault, _) = await RenewedLease.AskAsync(_witness!, bound.Binding.Group!, bound.Binding.Site!,
                new LeaseRenewCall(_config.Name, bound.Binding.Epoch), default, s_first, _stop.Token);
            lock (_gate) (bound.Clock, bound.Fault) = (clock, fault);
        }));
        lock (_gate) _order++;
    }

    private void Learn(WatchdogReply reply)
    {
        lock (_gate)
        {
            foreach (WatchedState state in reply.Servers)
            {
                if (!_bound.TryGetValue(state.Server, out Bound? bound) || bound.Binding.Epoch != state.Epoch) continue;
                if (state is { ValidUntilNs: > 0, TtlMs: > 0 })
                    bound.Clock = bound.Clock.Granted(state.ValidUntilNs - (state.TtlMs * 1_000_000L), state.TtlMs);
                if (state.Fault != bound.Fault)
                {
                    bound.Fault = state.Fault;
                    _events.Add(Monotonic.Now, "server", state.Server, "lease", state.Fault is null ? "it is renewed"
                        : "it is not renewed: " + state.Fault);
                }

                if (state.Kills > bound.Kills) Killed(bound);
                bound.Kills = state.Kills;
            }
        }
    }

    private void KillWhatHasNone()
    {
        lock (_gate)
        {
            foreach (Bound bound in _bound.Values)
            {
                if (bound.Clock.IsValidAt(BootTime.Now))
                {
                    bound.IsKilled = false;
                    bound.Killer.Rest();
                }
                else if (bound.Killer.Kill() > 0)
                {
                    Killed(bound);
                }
            }
        }
    }

    private void Killed(Bound bound)
    {
        if (bound.IsKilled) return;
        bound.IsKilled = true;
        _events.Add(Monotonic.Now, "server", bound.Binding.Server, "killed", $"its lease of epoch {bound.Binding.Epoch} has run out: "
            + (bound.Fault ?? "it was not renewed in time"));
    }

    private WatchdogOrders Orders(out long order)
    {
        lock (_gate)
        {
            order = _order;
            return new WatchdogOrders(_config.Name, _config.Witness!, [.. _bound.Values.Select(b => new WatchedServer(b.Binding.Server,
                b.Binding.Group!, b.Binding.Site!, b.Binding.Epoch, b.Clock.ValidUntilNs, (int)(b.Clock.TtlNs / 1_000_000), b.Kill))]);
        }
    }

    private void Told(long order)
    {
        TaskCompletionSource told;
        lock (_gate)
        {
            (_toldOrder, told, _told) = (order, _told, New());
        }

        told.SetResult();
    }

    private Bound Make(ServerConfig server, LeaseBinding binding)
    {
        KillWay kill = ServerKiller.WayOf(server.Driver, _store.FolderOf(server.Name));
        return new Bound(binding, kill, new ServerKiller(server.Name, kill));
    }

    private void Wake()
    {
        if (_wake.CurrentCount == 0) _wake.Release();
    }

    private static ProblemException NoLease(string detail)
        => new(new Problem(ApiProblems.NoLease, "There is no lease for the server", 409, detail));

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private sealed class Bound(LeaseBinding binding, KillWay kill, ServerKiller killer)
    {
        public LeaseBinding Binding => binding;

        public KillWay Kill => kill;

        public ServerKiller Killer => killer;

        public LeaseClock Clock { get; set; }

        public string? Fault { get; set; }

        public long Kills { get; set; }

        public bool IsKilled { get; set; }
    }
}
