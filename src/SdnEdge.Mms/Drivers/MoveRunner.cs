using System.Collections.Concurrent;
using System.Diagnostics;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>An open command, and why it is not done yet.</summary>
/// <param name="Command">Its key.</param>
/// <param name="Reason">One word.</param>
/// <param name="Detail">For people.</param>
/// <param name="SinceNs">Since when it is open (CLOCK_MONOTONIC, nanoseconds).</param>
public sealed record Waiting(string Command, WaitReason Reason, string? Detail, long SinceNs, string? Party = null);

/// <summary>
/// Carries out the open commands of one migration. Each resource (a path at a PE, a server at a host, a watch) has a queue of its own: a
/// command never begins before the one ahead of it at the same resource has been answered or given up. An undo gives up what is ahead of
/// it: the party itself carries out one thing at a time, and refuses the older epoch should that come late (R1, R2). A command is asked
/// again until the state says that it is done, or is not open any more.
/// </summary>
internal sealed class MoveRunner : IDisposable
{
    private static readonly TimeSpan s_retry = TimeSpan.FromMilliseconds(50), s_longRetry = TimeSpan.FromSeconds(1),
        s_silent = TimeSpan.FromMilliseconds(20);

    // A party that is asked to wait answers after so long at the latest: bounds of the manager's own are over, too.
    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(250);

    private readonly IParties _parties;
    private readonly Func<MoveInput, Task<bool>> _post;
    private readonly Lock _lock = new();
    private readonly Dictionary<string, Queue> _queues = new(StringComparer.Ordinal);
    private readonly Dictionary<string, long> _firstSent = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, IReadOnlyList<ServerVolumeInfo>> _volumes = new(StringComparer.Ordinal);
    private readonly CancellationTokenSource _stop = new();
    private MoveState _state;

    // Looks at all servers that wait for their copies: the one that goes on, and the one behind it, which who asks now joins.
    private Task<Dictionary<string, Task<ServerInfo>>>? _look, _nextLook;

    /// <summary>Makes a runner; nothing is sent before <see cref="Update"/>.</summary>
    /// <param name="parties">Whom to speak to.</param>
    /// <param name="state">The move.</param>
    /// <param name="post">Takes an input; true when it changed the state.</param>
    public MoveRunner(IParties parties, MoveState state, Func<MoveInput, Task<bool>> post)
        => (_parties, _state, _post) = (parties, state, post);

    private static long Now => Stopwatch.GetTimestamp() * (1_000_000_000 / Stopwatch.Frequency);

    /// <summary>What is open, and why it is not done.</summary>
    public IReadOnlyList<Waiting> Waiting
    {
        get
        {
            lock (_lock) return [.. _queues.Values.SelectMany(q => q.Open.Select(c => q.Why.GetValueOrDefault(c.Key)
                ?? new Waiting(c.Key, WaitReason.InProgress, null, q.Since[c.Key])))];
        }
    }

    /// <summary>The volumes of its servers as they were seen last, by server.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<ServerVolumeInfo>> Volumes => _volumes;

    /// <summary>Brings the queues in line with a state that is on record: new commands are issued, watches that are no longer open
    /// end.</summary>
    public void Update(MoveState state)
    {
        ILookup<string, MoveCommand> open = MoveMachine.Open(state).ToLookup(MoveMachine.ResourceOf, StringComparer.Ordinal);
        lock (_lock)
        {
            if (_stop.IsCancellationRequested) return;
            _state = state;
            foreach (Queue queue in _queues.Values) queue.Set([.. open[queue.Name]], Now);
            foreach (IGrouping<string, MoveCommand> group in open)
            {
                if (!_queues.TryGetValue(group.Key, out Queue? queue))
                {
                    _queues[group.Key] = queue = new Queue(group.Key);
                    queue.Set([.. group], Now);
                }

                if (queue.Running) continue;
                queue.Running = true;
                _ = Task.Run(() => RunAsync(queue));
            }
        }
    }

    /// <summary>Stops: what is under way is not waited for.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _ = _stop.CancelAsync();
            foreach (Queue queue in _queues.Values) queue.Dispose();
        }
    }

    private async Task RunAsync(Queue queue)
    {
        int failures = 0;
        while (true)
        {
            MoveCommand command;
            MoveState state;
            CancellationTokenSource end, undo;
            lock (_lock)
            {
                if (queue.Open.Count == 0 || _stop.IsCancellationRequested)
                {
                    queue.Running = false;
                    return;
                }

                (command, state) = (queue.Open[0], _state);
                end = CancellationTokenSource.CreateLinkedTokenSource(queue.Closed, _stop.Token);
                undo = CancellationTokenSource.CreateLinkedTokenSource(MoveMachine.IsUndo(command) ? default : queue.Undone, _stop.Token);
            }

            using CancellationTokenSource ended = end, undone = undo;
            CancellationToken closed = end.Token;

            try
            {
                MoveInput? input = command switch
                {
                    SendSignal signal => await SignalAsync(queue, signal, undone.Token),
                    SendOrder order => await OrderAsync(queue, order, undone.Token),
                    WatchPath { Kind: PathWatch.Clean } clean => await CleanAsync(queue, clean, state, closed),
                    WatchPath watch => await WatchAsync(queue, watch, state, closed),
                    WatchServer watch => await WatchAsync(queue, watch, state, closed),
                    LeaseCommand lease => await LeaseAsync(queue, lease, closed),
                    WaitForWindow wait => await WaitAsync(queue, wait, state, closed),
                    _ => throw new UnreachableException(),
                };
                if (input is not null && await _post(input))
                {
                    failures = 0;
                    continue;
                }

                failures++;
            }
            catch (OperationCanceledException) when (closed.IsCancellationRequested)
            {
                continue;
            }
            catch (ApiUnreachableException e)
            {
                failures++;
                Note(queue, command, WaitReason.PeerUnreachable, e.Message, e.Peer ?? PartyOf(command));
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                // Whatever it was: it is not done, and somebody must be able to read why.
                failures++;
                Note(queue, command, WaitReason.Refused, $"{e.GetType().Name}: {e.Message}");
            }

            await PauseAsync(command is WatchPath or WatchServer || failures < 10 ? s_retry : s_longRetry, closed);
        }
    }

    private static async Task PauseAsync(TimeSpan time, CancellationToken closed)
        => await Task.Delay(time, closed).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

    private static string? PartyOf(MoveCommand command) => command switch
    {
        SendSignal signal => signal.Pe,
        SendOrder order => order.Host,
        LeaseCommand lease => lease.Party,
        _ => null,
    };

    private void Note(Queue queue, MoveCommand command, WaitReason reason, string? detail, string? party = null)
    {
        lock (_lock)
        {
            if (queue.Since.TryGetValue(command.Key, out long since)) queue.Why[command.Key] =
                new Waiting(command.Key, reason, detail, since, party);
        }
    }

    private long FirstSent(string key)
    {
        lock (_lock)
        {
            if (!_firstSent.TryGetValue(key, out long at)) _firstSent[key] = at = Now;
            return at;
        }
    }

    // A refusal that only needs time is asked again; every other one is the machine's to judge.
    private MoveInput? Judge(Queue queue, MoveCommand command, ApiProblemException e)
    {
        string detail = e.Problem.Detail + string.Concat((e.Problem.Errors ?? []).Select(x => $"; {x.Pointer} {x.Detail}"));
        WaitReason? wait = Refusals.WaitFor(e.Problem);
        Note(queue, command, wait ?? WaitReason.Refused, $"{e.Peer}: {detail}", wait == WaitReason.PeerUnreachable ? e.Peer : null);
        return wait is null ? new Refused(command.Key, e.Problem.Type, detail) : null;
    }

    private async Task<MoveInput?> SignalAsync(Queue queue, SendSignal signal, CancellationToken undone)
    {
        long sent = FirstSent(signal.Key);
        try
        {
            return new SignalDone(signal.Key, await _parties.SignalAsync(signal, undone), sent);
        }
        catch (ApiProblemException e)
        {
            return Judge(queue, signal, e);
        }
    }

    private async Task<MoveInput?> OrderAsync(Queue queue, SendOrder order, CancellationToken undone)
    {
        long sent = FirstSent(order.Key);
        try
        {
            ServerReply reply = await _parties.OrderAsync(order, undone);
            if (MoveMachine.WhyNoAnswer(order, reply) is not { } why) return new OrderDone(order.Key, reply, sent);
            Note(queue, order, WaitReason.Refused, why);
            return null;
        }
        catch (ApiProblemException e)
        {
            return Judge(queue, order, e);
        }
    }

    // Told again and again: what it has said last is what counts, should the witness have been started anew.
    private async Task<MoveInput?> LeaseAsync(Queue queue, LeaseCommand command, CancellationToken closed)
    {
        while (true)
        {
            try
            {
                LeaseInfo? said = await _parties.LeaseAsync(command, closed);
                if (said is { Revoked: true, RunsOutInMs: 0 }) return new Seen(command.Key, null);
                long left = said?.RunsOutInMs ?? 0;
                Note(queue, command, WaitReason.InProgress, said is { Revoked: false, Epoch: var open }
                    ? $"{command.Party} grants leases under epoch {open}: another manager is in charge"
                    : $"the last lease of {command.Lease.Group} at {command.Lease.Site} runs out in {left} ms");
                await PauseAsync(TimeSpan.FromMilliseconds(Math.Clamp(left, 1, s_look.TotalMilliseconds)), closed);
                closed.ThrowIfCancellationRequested();
            }
            catch (ApiProblemException e)
            {
                // A higher epoch has been opened: another manager is in charge, and the hosts' word decides.
                Note(queue, command, WaitReason.Refused, $"{command.Party}: {e.Problem.Detail}");
                return null;
            }
        }
    }

    private async Task<MoveInput?> WatchAsync(Queue queue, WatchPath watch, MoveState state, CancellationToken closed)
    {
        PathMove path = state.Plan.Paths.First(p => p.Id == watch.Path);
        var watcher = new PathWatcher(watch.Kind, path, state.Plan.Options, state.EvidenceOf(watch.Path), Now,
            MoveMachine.SourceIsGone(state, watch.Path));
        PathQuestion question = watcher.First;
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(closed);
        (MigrationInfo? Known, Task<MigrationInfo?>? Look) source = default, target = default;
        Task<Dictionary<string, string?>>? ingress = null;
        try
        {
            while (true)
            {
                if (question.Source) source.Look ??=
                    LookAsync(path.Source.Pe, path.Id, source.Known, watcher.SourceUntil, question.AfterMs, ended.Token);
                if (question.Target) target.Look ??=
                    LookAsync(path.Target.Pe, path.Id, target.Known, watcher.TargetUntil, question.AfterMs, ended.Token);
                if (question.Ingress.Count > 0) ingress ??= DirectAsync(question, path, ended.Token);
                await Task.WhenAny(((Task?[])[source.Look, target.Look, ingress]).OfType<Task>());

                // What one of them says is judged at once: the others may have nothing new for long.
                string? silent = null;
                MigrationInfo? fromSource = Taken(ref source, path.Source.Pe), fromTarget = Taken(ref target, path.Target.Pe);
                Dictionary<string, string?> fromIngress = ingress is { IsCompleted: true } ? await ingress : [];
                if (ingress is { IsCompleted: true }) ingress = null;
                bool forgot = watch.Kind == PathWatch.GivenBack && silent is not null && await ForgotAsync(state, path, closed);
                bool gone;
                lock (_lock) gone = MoveMachine.SourceIsGone(_state, watch.Path);
                var seen = new PathLook(fromSource, fromTarget, fromIngress, silent, forgot, gone);
                if (watcher.Take(seen, Now, out question) is { } evidence)
                    return new Seen(watch.Key, evidence);
                Note(queue, watch, watcher.Reason, watcher.Detail, watcher.Party);

                MigrationInfo? Taken(ref (MigrationInfo? Known, Task<MigrationInfo?>? Look) end, string pe)
                {
                    if (end.Look is not { IsCompleted: true } look) return null;
                    closed.ThrowIfCancellationRequested();
                    end = (look.Result, null);
                    if (look.Result is null) silent = pe;
                    return look.Result;
                }
            }
        }
        finally
        {
            await ended.CancelAsync();
        }
    }

    // One that does not answer, or has nothing new and says so at once, is not asked again at once.
    private async Task<MigrationInfo?> LookAsync(
        string pe, string path, MigrationInfo? known, MigrationCondition? until, int afterMs, CancellationToken cancel)
    {
        try
        {
            MigrationWait wait = until is null && known is null ? new() : new(s_look, until is null ? known?.Change : null, until);
            MigrationInfo seen = await _parties.MigrationAsync(pe, path, wait, cancel);
            if (seen.Change == known?.Change) await PauseAsync(TimeSpan.FromMilliseconds(afterMs), cancel);
            return seen;
        }
        catch (Exception e) when (e is ApiProblemException or ApiUnreachableException)
        {
            await PauseAsync(s_silent, cancel);
            return null;
        }
        catch (OperationCanceledException)
        {
            return null;
        }
    }

    private async Task<Dictionary<string, string?>> DirectAsync(PathQuestion question, PathMove path, CancellationToken cancel)
    {
        var ingress = new Dictionary<string, string?>(StringComparer.Ordinal);
        foreach ((string pe, Task<string?> why) in question.Ingress.Select(pe => (pe,
            _parties.WhyNotDirectAsync(pe, path, cancel))).ToArray())
        {
            try
            {
                ingress[pe] = await why;
            }
            catch (Exception e) when (e is ApiProblemException or ApiUnreachableException)
            {
                ingress[pe] = e.Message;
            }
        }

        if (ingress.Values.Any(why => why is not null)) await PauseAsync(TimeSpan.FromMilliseconds(question.AfterMs), cancel);
        return ingress;
    }

    // A PE that has forgotten the path says so. It is told the abort once more first: what it forgot it would carry out again, were a late
    // command of the old epoch to come; the abort of a path that it does not know raises the epoch of its prefixes.
    private async Task<bool> ForgotAsync(MoveState state, PathMove path, CancellationToken cancel)
    {
        try
        {
            await _parties.MigrationAsync(path.Target.Pe, path.Id, new MigrationWait(), cancel);
            return false;
        }
        catch (ApiProblemException e) when (e.Problem.Status == 404)
        {
            await _parties.SignalAsync(
                StageTable.Of(MoveStage.AbortTarget).Commands(state).OfType<SendSignal>().First(s => s.Path == path.Id), cancel);
            return true;
        }
        catch (Exception e) when (e is ApiProblemException or ApiUnreachableException)
        {
            return false;
        }
    }

    private async Task<MoveInput?> CleanAsync(Queue queue, WatchPath watch, MoveState state, CancellationToken closed)
    {
        PathMove path = state.Plan.Paths.First(p => p.Id == watch.Path);
        string[] asked = state.SourcesAsked ? [path.Source.Pe, path.Target.Pe] : [path.Target.Pe];
        IEnumerable<string> pes = asked.Where(pe => !state.GivenUp.Contains(pe));
        string[] left = [.. (await Task.WhenAll(pes.Select(pe => LeftOverAsync(pe, path.Id, closed)))).SelectMany(l => l)];
        if (left.Length == 0) return new Seen(watch.Key, null);
        Note(queue, watch, WaitReason.LeftOver, $"still there: {string.Join(", ", left)}");
        return null;
    }

    // The PE's own word about its tables, as soon as nothing is left; a PE that does not know the path is asked for all that it has.
    private async Task<IReadOnlyList<string>> LeftOverAsync(string pe, string path, CancellationToken cancel)
    {
        try
        {
            MigrationInfo seen = await _parties.MigrationAsync(pe, path, new MigrationWait(s_look, Until: MigrationCondition.Gone), cancel);
            if (seen.Is(MigrationCondition.Gone)) return [];
        }
        catch (ApiProblemException e) when (e.Problem.Status == 404)
        {
        }

        return await _parties.LeftOverAsync(pe, path, cancel);
    }

    private async Task<MoveInput?> WatchAsync(Queue queue, WatchServer watch, MoveState state, CancellationToken closed)
    {
        ServerMove server = state.Plan.Servers.First(s => s.Name == watch.Server);
        if (watch.Kind == ServerWatch.Mirrored) return await MirroredAsync(queue, watch, server, state, closed);

        (string here, string there) = watch.Kind == ServerWatch.RunsAtTarget
            ? (server.TargetHost, server.SourceHost) : (server.SourceHost, server.TargetHost);
        Task<ServerInfo> at = LookAsync(here, server.Name, closed);
        ServerInfo? other = state.GivenUp.Contains(there) ? null : await _parties.ServerAsync(there, server.Name, closed);
        if (ServerProofs.WhyNot(here, await at, there, other, watch.Epoch) is not { } why) return new Seen(watch.Key, null);
        Note(queue, watch, WaitReason.LeftOver, why);
        return null;
    }

    // The manager's loop sees the time come.
    private async Task<MoveInput?> WaitAsync(Queue queue, WaitForWindow wait, MoveState state, CancellationToken closed)
    {
        MoveWindow window = state.Plan.Options.Window!;
        string what = wait.Until == "near"
            ? $"it is prepared from {window.Near:u} on, to switch between {window.From:u} and {window.To:u}"
            : $"it switches between {window.From:u} and {window.To:u}";
        while (true)
        {
            Note(queue, wait, WaitReason.WindowClosed, what + string.Concat(_volumes.Values.Select(VolumesOf)));

            // How far the volumes are meanwhile; nobody has been asked for anything, so a host that is silent keeps nothing waiting.
            foreach (ServerMove server in state.Plan.Servers.Where(s => s.Volumes is { Count: > 0 }))
            {
                try
                {
                    await LookAsync(server.SourceHost, server.Name, closed);
                }
                catch (Exception e) when (e is ApiUnreachableException or ApiProblemException)
                {
                    string why = $"{server.SourceHost} does not say how far it is: {e.Message}";
                    _volumes[server.Name] = [.. server.Volumes!.Select(v => new ServerVolumeInfo(v.Name, v.Id, Fault: why))];
                }
            }

            await Task.Delay(s_longRetry, closed);
        }
    }

    private async Task<ServerInfo> LookAsync(string host, string server, CancellationToken cancel)
    {
        ServerInfo info = await _parties.ServerAsync(host, server, cancel);
        if (info.Volumes is { } volumes) _volumes[server] = volumes;
        return info;
    }

    // A point that suits all: servers that move together are all ready in the same look, for one that is ready and waits for another may
    // have changed too much meanwhile.
    private async Task<MoveInput?> MirroredAsync(
        Queue queue, WatchServer watch, ServerMove server, MoveState state, CancellationToken closed)
    {
        Dictionary<string, Task<ServerInfo>> look = await LookAtAllAsync(state).WaitAsync(closed);
        ServerInfo info = await look[server.Name];

        // It has died in the middle of the copy: nobody can wait for the rest of it.
        if (info is { State: ServerState.Absent, MayRun: not null })
            return new Refused(watch.Key, "/problems/wrong-state", $"it has died at {server.SourceHost}: {info.Fault}");
        if (info.Mirror is { NotConverging: { } why } && !state.Plan.Options.KeepTrying)
            return new Refused(watch.Key, "/problems/not-converging", why);
        if (info.Mirror is { Ready: false } copy)
        {
            Note(queue, watch, WaitReason.NotConverging, copy.NotConverging ?? Course(server.Name, copy) + VolumesOf(info.Volumes));
            return null;
        }

        foreach (ServerMove other in state.Plan.Servers.Where(s => s.Name != server.Name))
        {
            ServerInfo there = await look[other.Name];
            if (there.Mirror is not { Ready: false } late) continue;
            Note(queue, watch, WaitReason.NotConverging, $"{server.Name} is ready; {Course(other.Name, late)}{VolumesOf(there.Volumes)}");
            return null;
        }

        return new Seen(watch.Key, null);
    }

    // One look for all who ask meanwhile: else a hundred servers, each of which is to see all others ready, would ask ten thousand times.
    // It begins after it was asked for: an earlier one may not know yet that the copy has begun.
    private Task<Dictionary<string, Task<ServerInfo>>> LookAtAllAsync(MoveState state)
    {
        lock (_lock)
        {
            Task before = _look ?? Task.CompletedTask;
            return _nextLook ??= Task.Run(LookAsync);

            async Task<Dictionary<string, Task<ServerInfo>>> LookAsync()
            {
                await before.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                lock (_lock) (_look, _nextLook) = (_nextLook, null);
                var servers = state.Plan.Servers.ToDictionary(
                    s => s.Name, s => this.LookAsync(s.SourceHost, s.Name, _stop.Token), StringComparer.Ordinal);
                await ((Task)Task.WhenAll(servers.Values)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                return servers;
            }
        }
    }

    // How far the volumes are that are not in sync.
    private static string VolumesOf(IReadOnlyList<ServerVolumeInfo>? volumes)
        => string.Concat((volumes ?? []).Where(v => !v.InSync).Select(v => $"; volume {v.Name}: {v.InWords()}"));

    private static string Course(string server, MirrorProgress copy) => copy.BytesPerSecond <= 0
        ? $"{copy.RemainingBytes / 1_000_000} MB of {server} are still to be copied"
        : $"pass {copy.Pass} over the memory of {server}: {copy.RemainingBytes / 1_000_000} MB are left, "
            + $"{copy.BytesPerSecond / 1e6:0.0} MB/s are carried, {copy.DirtyBytesPerSecond / 1e6:0.0} MB/s change; stopped now, nobody "
            + $"would run for "
            + $"{copy.PredictedBlackoutMs:0} ms";

    // Open commands of one resource, in order.
    private sealed class Queue(string name) : IDisposable
    {
        private CancellationTokenSource _closed = new(), _undone = new();

        public string Name { get; } = name;

        public List<MoveCommand> Open { get; private set; } = [];

        public Dictionary<string, Waiting> Why { get; } = new(StringComparer.Ordinal);

        public Dictionary<string, long> Since { get; } = new(StringComparer.Ordinal);

        public bool Running { get; set; }

        public void Set(List<MoveCommand> commands, long now)
        {
            bool same = Open.Count > 0 && commands.Count > 0 && Open[0].Key == commands[0].Key;
            Open = commands;
            foreach (string gone in Since.Keys.Where(k => !commands.Exists(c => c.Key == k)).ToArray())
            {
                Since.Remove(gone);
                Why.Remove(gone);
            }

            foreach (MoveCommand command in commands) Since.TryAdd(command.Key, now);
            if (same) return;

            // Not here and now: what goes on when it is cancelled takes the runner's lock, too, and must find the new token.
            CancellationTokenSource old = _closed;
            _closed = new CancellationTokenSource();
            _ = old.CancelAsync();
            if (commands.Count == 0 || !MoveMachine.IsUndo(commands[0])) return;
            old = _undone;
            _undone = new CancellationTokenSource();
            _ = old.CancelAsync();
        }

        public void Dispose()
        {
            _closed.Dispose();
            _undone.Dispose();
        }

        // Ends what waits or only looks when the command at the head is another one. An order that is under way is answered first...
        public CancellationToken Closed => _closed.Token;

        // ... unless the one at the head undoes it.
        public CancellationToken Undone => _undone.Token;
    }
}
