using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Model;
using SdnEdge.Testing;

namespace SdnEdge.Mms.Tests;

/// <summary>
/// PEs and hosts of a move, as strict as the real ones: they fence by epoch and remember what they promised. A test can keep an answer
/// back,
/// or have a command refused or unanswered. They outlive managers.
/// </summary>
internal sealed class ScriptedParties(ScriptedJournal journal) : IParties
{
    private readonly Dictionary<string, MirrorProgress?> _copies = new(StringComparer.Ordinal);
    private readonly Lock _lock = new();
    private readonly List<string> _log = [];
    private readonly Dictionary<(string Pe, string Path), (PeMigrationState State, long Epoch)> _paths = [];
    private readonly Dictionary<(string Host, string Server), ServerInfo> _servers = [];
    private readonly HashSet<(string Pe, string Path)> _watching = [];
    private readonly Dictionary<(string Pe, string Path), uint?> _backups = [];
    private readonly Dictionary<string, TaskCompletionSource> _kept = new(StringComparer.Ordinal);

    /// <summary>The journal of the manager that is asked of now: the log says how many appends it had acknowledged.</summary>
    public ScriptedJournal Journal { get; set; } = journal;

    /// <summary>Commands whose key begins so are answered with this.</summary>
    public Dictionary<string, Exception> Failures { get; } = new(StringComparer.Ordinal);

    /// <summary>Hosts and PEs that answer nothing.</summary>
    public HashSet<string> Silent { get; } = new(StringComparer.Ordinal);

    /// <summary>PEs at which the instance of a service without state does not answer.</summary>
    public HashSet<string> DeadInstances { get; } = new(StringComparer.Ordinal);

    /// <summary>Volumes of servers at host-a.</summary>
    public System.Collections.Concurrent.ConcurrentDictionary<string, IReadOnlyList<ServerVolumeInfo>> Volumes { get; }
        = new(StringComparer.Ordinal);

    /// <summary>PEs that forget a path as soon as they have aborted it.</summary>
    public HashSet<string> Forgetful { get; } = new(StringComparer.Ordinal);

    /// <summary>"ask KEY" and "done KEY", in order, with the number of acknowledged appends.</summary>
    public IReadOnlyList<(string What, int Appends)> Log
    {
        get
        {
            lock (_lock) return [.. _log.Select(l => (l[..l.IndexOf('|')], int.Parse(l[(l.IndexOf('|') + 1)..])))];
        }
    }

    /// <summary>Where something promised to be alone was not.</summary>
    public List<string> Violations { get; } = [];

    /// <summary>Keys of what was asked, in order.</summary>
    public IEnumerable<string> Asked => Log.Where(l => l.What.StartsWith("ask ", StringComparison.Ordinal)).Select(l => l.What[4..]);

    /// <summary>Answers to commands whose key begins so are kept back until <see cref="Give"/>.</summary>
    public void Keep(string begin)
    {
        lock (_lock) _kept[begin] = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    public void Give(string begin)
    {
        lock (_lock)
        {
            _kept.Remove(begin, out TaskCompletionSource? kept);
            kept?.SetResult();
        }
    }

    /// <summary>What a source PE watches fails, or works again: it switches by itself.</summary>
    public void Flip(string pe, string path, bool flipped = true)
    {
        lock (_lock)
        {
            if (!_watching.Contains((pe, path))) throw new InvalidOperationException($"{pe} watches nothing for {path}");
            _paths[(pe, path)] = (flipped ? PeMigrationState.Flipped : PeMigrationState.Prepared, _paths[(pe, path)].Epoch);
        }
    }

    /// <summary>Paths of which a PE has something.</summary>
    public IReadOnlyList<string> PathsAt(string pe)
    {
        lock (_lock)
        {
            return [.. _paths.Where(p => p.Key.Pe == pe && p.Value.State is not (PeMigrationState.Aborted or PeMigrationState.TornDown))
                .Select(p => p.Key.Path)];
        }
    }

    /// <summary>A PE has lost its memory of a path.</summary>
    public void Forget(string pe, string path)
    {
        lock (_lock)
        {
            _paths.Remove((pe, path));
            _watching.Remove((pe, path));
        }
    }

    /// <summary>The server that may run at a host has died there.</summary>
    public void Die(string host, string server)
    {
        const string fault = "it may run here and is absent";
        lock (_lock) _servers[(host, server)] = Of(host, server) with { State = ServerState.Absent, Fault = fault };
    }

    public static ApiProblemException Refusal(string type, int status = 409)
        => new("party", new Problem("/problems/" + type, type, status, "it says " + type));

    public async Task<SignalReply> SignalAsync(SendSignal command, CancellationToken cancel)
    {
        await BeginAsync(command.Pe, command.Key, cancel);
        if (command.Request.AfterServers) await ServersAnswerAsync(command.Request.WaitMs, cancel);
        lock (_lock)
        {
            (string, string) key = (command.Pe, command.Path);
            (PeMigrationState before, long seen) = _paths.GetValueOrDefault(key);
            if (command.Request.Epoch < seen) throw Refusal("stale-epoch");
            PeMigrationState state = command.Signal switch
            {
                SignalKind.Prepare => PeMigrationState.Prepared,
                SignalKind.Switch => PeMigrationState.Switched,
                SignalKind.Release => PeMigrationState.Released,
                SignalKind.Advertise => PeMigrationState.Advertised,
                SignalKind.Withdraw => PeMigrationState.Withdrawn,
                SignalKind.Teardown => PeMigrationState.TornDown,
                _ => PeMigrationState.Aborted,
            };
            if (state == PeMigrationState.Prepared && _paths.Any(p => p.Key.Pe == command.Pe && p.Key.Path != command.Path
                    && p.Value.State is not (PeMigrationState.Aborted or PeMigrationState.TornDown)
                    && (command.Path.StartsWith("protect-", StringComparison.Ordinal) || p.Key.Path.StartsWith("protect-",
                        StringComparison.Ordinal))))
            {
                Violations.Add($"{command.Pe} is asked for {command.Path} and has another path of its prefixes");
            }

            if (command.Request.Watch is not null) _watching.Add(key);
            if (command.Signal == SignalKind.Prepare) _backups.TryAdd(key, command.Request.BackupLocalPref);
            if (state == PeMigrationState.Prepared && before == PeMigrationState.Flipped) state = before;
            _paths[key] = (state, command.Request.Epoch);
            if (state == PeMigrationState.Aborted && Forgetful.Contains(command.Pe)) _paths.Remove(key);
            Note("done " + command.Key);
            return new SignalReply(command.Path, command.Signal, state, command.Request.Epoch, before == state, 1, 2);
        }
    }

    public async Task<ServerReply> OrderAsync(SendOrder command, CancellationToken cancel)
    {
        await BeginAsync(command.Host, command.Key, cancel);
        lock (_lock)
        {
            ServerInfo before = Of(command.Host, command.Server), after = before;
            long epoch = command.Request.Epoch;
            if (epoch < before.Epoch) throw Refusal("stale-epoch");
            EpochVerdict? verdict = null;
            switch (command.Order)
            {
                case ServerOrder.Prepare:
                    if (command.Request.Role == MigrationRole.Target) after = before with { State = ServerState.Incoming };
                    break;
                case ServerOrder.Stop:
                    after = before with { State = ServerState.Paused, MayRun = null };
                    break;
                case ServerOrder.Fence:
                    if (before.RanEpoch >= epoch) throw Refusal("wrong-state");
                    verdict = EpochVerdict.Void;
                    after = before with { State = ServerState.Absent, MayRun = null, VoidEpoch = epoch };
                    break;
                case ServerOrder.Activate:
                    if (before.VoidEpoch >= epoch) throw Refusal("wrong-state");
                    if (before is { State: ServerState.Absent, MayRun: null } && !command.Request.Cold) throw Refusal("wrong-state");
                    after = before with { State = ServerState.Running, MayRun = epoch, RanEpoch = epoch };
                    break;
                case ServerOrder.Resume:
                    if (before is { State: ServerState.Absent, MayRun: null } && !command.Request.Cold) throw Refusal("wrong-state");
                    after = before with { State = ServerState.Running, MayRun = epoch };
                    break;
                case ServerOrder.Void:
                    verdict = before.RanEpoch >= epoch ? EpochVerdict.Ran : EpochVerdict.Void;
                    if (verdict == EpochVerdict.Void) after = before with { VoidEpoch = epoch };
                    break;
                case ServerOrder.Cancel or ServerOrder.Retire:
                    after = before with { State = ServerState.Absent, MayRun = null };
                    break;
            }

            _servers[(command.Host, command.Server)] = after = after with { Epoch = epoch };
            if (_servers.Count(s => s.Key.Server == command.Server && s.Value.State == ServerState.Running) > 1)
                Violations.Add($"{command.Server} runs at two places after {command.Key}");
            if (_servers.Count(s => s.Key.Server == command.Server && s.Value.MayRun is not null) > 1)
                Violations.Add($"{command.Server} may run at two places after {command.Key}");
            Note("done " + command.Key);
            return new ServerReply(command.Server, command.Order, epoch, after.State, before == after, 1, verdict);
        }
    }

    public Task<MigrationInfo> MigrationAsync(string pe, string path, MigrationWait wait, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        Speak(pe);
        lock (_lock)
        {
            if (!_paths.TryGetValue((pe, path), out (PeMigrationState State, long Epoch) at)) throw Refusal("not-found", 404);
            bool over = at.State is PeMigrationState.Aborted or PeMigrationState.TornDown;
            return Task.FromResult(new MigrationInfo(
                path, MigrationRole.Target, at.State, at.Epoch, "blue", [], "peer", "tunnel", !over, over ? null
                    : new HoldInfo("armed", 0, 0, 0, 0, 0, 0, 0, 0, 0),
                over ? null : new RedirectGroupInfo("g", "blue", 1, "tunnel", 0, 0, 0, null))
            {
                Change = (long)at.State,
                BackupLocalPref = _backups.GetValueOrDefault((pe, path)),
                Backup = !_watching.Contains((pe, path)) ? null : new BackupInfo(
                    [new WatchInfo(new WatchedPart(Neighbor: "10.1.1.1"), WatchState.Up, 1, "it answers")], 0, 0, 0, null, null, null, null,
                    null),
                Silent = wait.Until != MigrationCondition.ServersAnswer || at.State != PeMigrationState.Prepared ? null
                    : DeadInstances.Contains(pe) ? "no answer has come from 10.1.1.1 on port eth2" : "",
            });
        }
    }

    public Task<string?> WhyNotDirectAsync(string pe, PathMove path, CancellationToken cancel) => Task.FromResult<string?>(null);

    /// <summary>What source PEs advertise; of one that is not there, its prefixes with LOCAL_PREF 100.</summary>
    public System.Collections.Concurrent.ConcurrentDictionary<string, (uint? LocalPref, string[]? NotTold)> Tells { get; }
        = new(StringComparer.Ordinal);

    public Task<SourceTells> TellsAsync(PathMove path, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        Speak(path.Source.Pe);
        (uint? pref, string[]? not) = Tells.TryGetValue(path.Source.Pe, out (uint?, string[]?) said) ? said : (100u, null);
        return Task.FromResult(new SourceTells(path.Id, pref, not));
    }

    public Task<IReadOnlyList<string>> LeftOverAsync(string pe, string path, CancellationToken cancel)
    {
        Speak(pe);
        lock (_lock)
        {
            return Task.FromResult<IReadOnlyList<string>>(
                _paths.TryGetValue((pe, path), out var at) && at.State is not (PeMigrationState.Aborted or PeMigrationState.TornDown)
                    ? [$"tunnel at {pe}"] : []);
        }
    }

    public Task<ServerInfo> ServerAsync(string host, string server, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        Speak(host);
        lock (_lock)
        {
            MirrorProgress? copy = host == "host-a" ? _copies.GetValueOrDefault(server) : null;
            return Task.FromResult(Of(host, server) with
            {
                Mirror = copy, Volumes = host == "host-a" ? Volumes.GetValueOrDefault(server) : null,
            });
        }
    }

    /// <summary>How the memory of a server at host-a is copied; null = nothing is.</summary>
    public void Copy(string server, MirrorProgress? copy)
    {
        lock (_lock) _copies[server] = copy;
    }

    private ServerInfo Of(string host, string server) => _servers.GetValueOrDefault((host, server))
        ?? new ServerInfo(server, "stand-in", host == "host-a" ? ServerState.Running : ServerState.Absent, 0, host == "host-a" ? 0 : null,
            0, 0, null, true);

    /// <summary>How long the last lease of a revoked epoch still runs, milliseconds.</summary>
    public long RunsOutInMs { get; set; }

    /// <summary>The lease that a server at a host is bound to, by epoch; none = it is bound to none.</summary>
    public System.Collections.Concurrent.ConcurrentDictionary<(string Host, string Server), long> Bound { get; } = [];

    /// <summary>The highest epoch that the witness was told to grant, and the highest that it was told not to.</summary>
    public (long Opened, long Revoked) Witness { get; set; }

    public async Task<LeaseInfo?> LeaseAsync(LeaseCommand command, CancellationToken cancel)
    {
        await BeginAsync(command.Party, command.Key, cancel);
        lock (_lock)
        {
            (string _, string group, string site, long epoch) = command.Lease;
            switch (command)
            {
                case OpenLease when epoch <= Witness.Revoked:
                    throw Refusal("lease-revoked");
                case OpenLease:
                    Witness = Witness with { Opened = epoch };
                    break;
                case RevokeLease when epoch < Witness.Opened:
                    break;
                case RevokeLease:
                    Witness = Witness with { Revoked = epoch };
                    break;
                case BindLease { Bound: true } bind:
                    if (Witness.Opened != epoch || Witness.Revoked >= epoch) throw Refusal("lease-revoked");
                    Bound[(bind.Host, bind.Server)] = epoch;
                    break;
                case BindLease free:
                    Bound.TryRemove((free.Host, free.Server), out long _);
                    break;
            }

            Note("done " + command.Key);
            return command is BindLease ? null : new LeaseInfo(
                group, site, Math.Max(Witness.Opened, Witness.Revoked), Witness.Revoked >= Witness.Opened, 3_000, RunsOutInMs, []);
        }
    }

    /// <summary>A server answers where it runs.</summary>
    private async Task ServersAnswerAsync(int waitMs, CancellationToken cancel)
    {
        if (!await Patience.BecomesAsync(() => Task.FromResult(AllRun()), TimeSpan.FromMilliseconds(waitMs), cancel))
            throw Refusal("servers-silent");

        bool AllRun()
        {
            lock (_lock) return _servers.GroupBy(s => s.Key.Server).All(s => s.Any(p => p.Value.State == ServerState.Running));
        }
    }

    private void Note(string what) => _log.Add($"{what}|{Journal.Batches.Count}");

    private void Speak(string party)
    {
        lock (_lock)
        {
            if (Silent.Contains(party)) throw new ApiUnreachableException($"{party} does not answer");
        }
    }

    private async Task BeginAsync(string party, string key, CancellationToken cancel)
    {
        Task? kept;
        lock (_lock)
        {
            Note("ask " + key);
            Speak(party);
            kept = _kept.FirstOrDefault(k => key.StartsWith(k.Key, StringComparison.Ordinal)).Value?.Task;
            if (Failures.FirstOrDefault(f => key.StartsWith(f.Key, StringComparison.Ordinal)).Value is { } failure) throw failure;
        }

        if (kept is not null) await kept.WaitAsync(cancel);
    }
}
