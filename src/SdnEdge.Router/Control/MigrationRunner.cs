using SdnEdge.Web;
using System.Diagnostics;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Api;

namespace SdnEdge.Router.Control;

/// <summary>
/// Carries out what <see cref="PeMigrationFsm"/> decides. Runs on the control loop. A signal:
/// <list type="number">
/// <item>waits until the one before it, of the same migration, is answered, and until no keeper forwards in this PE's place;</item>
/// <item>the machine takes it and gives commands;</item>
/// <item>it is on disk (<see cref="MigrationStore"/>), as executed: a PE that is killed from here on carries it out when it starts;</item>
/// <item>each command is carried out in order (<see cref="MigrationActions"/>), what costs as much as there are prefixes a part in each
/// round of the loop, which goes on with all else between them; other signals of the migration wait, but that an abort ends a
/// prepare;</item>
/// <item>every worker has passed a batch boundary;</item>
/// <item>a switch: each server has answered a request that was sent behind the last packet for it, or has not for
/// <see cref="ServerProof.Timeout"/>;</item>
/// <item>the machine is told, and the reply goes out.</item>
/// </list>
/// A signal that may wait (<see cref="SignalRequest.WaitMs"/>) is taken again and again while only time is missing.
/// Prepare is on disk after its commands, not before: it waits besides until all prefixes are armed and, at the source, a
/// full-size probe has come back through the tunnel, and is undone when that takes too long. A refusal, too, is answered when the
/// epoch that it raised is on disk.
/// </summary>
internal sealed partial class MigrationRunner : ITimed
{
    /// <summary>How long prepare waits for the tunnel once all prefixes are armed.</summary>
    public static readonly TimeSpan PrepareTimeout = TimeSpan.FromSeconds(8);

    /// <summary>How long prepare waits until all prefixes are armed: a million takes some seconds on a machine that has nothing else to
    /// do.</summary>
    public static readonly TimeSpan ArmTimeout = TimeSpan.FromSeconds(120);

    private const long DrainCheckNs = 2_000_000;
    private const long SoonNs = 2_000_000;
    private const long LeftEveryNs = 1_000_000_000;

    private readonly PeState _state;
    private readonly TunnelKeeper _tunnels;
    private readonly MigrationActions _actions;
    private readonly MigrationChanges _changes;
    private readonly ServerProof _proof;
    private readonly WatchDriver _watch;
    private readonly MigrationStore _store;
    private readonly ControlLoop _loop;
    private readonly Dictionary<string, Underway> _underway = [];
    private readonly Dictionary<string, Hold?> _draining = [];
    private readonly Dictionary<string, string> _broken = [];
    private readonly List<(string Id, IReadOnlyList<PeCommand> Commands)> _left = [];
    private readonly TaskCompletionSource _forwards = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private PeMigrationFsm _fsm = new();
    private TaskCompletionSource _taken = new();
    private TaskCompletionSource? _soon;
    private int _takingAway;
    private long _nextDrainCheck, _kept, _nextLeft, _nextSoon;

    public MigrationRunner(
        PeState state, TunnelKeeper tunnels, MigrationActions actions, MigrationChanges changes, ServerProof proof, WatchDriver watch,
        MigrationStore store, ControlLoop loop)
        => (_state, _tunnels, _actions, _changes, _proof, _watch, _store, _loop)
            = (state, tunnels, actions, changes, proof, watch, store, loop);

    public long NextDeadline
    {
        get
        {
            long next = _draining.Count > 0 || _actions.HasGates ? _nextDrainCheck : long.MaxValue;
            if (_left.Count > 0) next = Math.Min(next, _nextLeft);
            if (_soon is not null) next = Math.Min(next, _nextSoon);
            foreach (Underway underway in _underway.Values) next = Math.Min(next, underway.Deadline);
            return Math.Min(next, NextLookAtWatches);
        }
    }

    /// <summary>
    /// Puts the migrations that were kept into the tables. Before the workers start and the loop runs, and with a keeper before
    /// forwarding is taken back from it: no packet sees a PE that does not know them.
    /// </summary>
    public void Restore()
    {
        if (_store.Fault is { } fault) _state.Events.Add(_loop.Now, "migration", _state.Config.Name, "state-file-unusable", fault);
        if (_store.Loaded is not { } snapshot) return;
        _fsm = PeMigrationFsm.Restore(snapshot, out IReadOnlyList<Restoration> toDo);
        _actions.AtOnce = true;
        foreach (Restoration part in toDo)
        {
            foreach (PeCommand command in part.Commands)
            {
                try
                {
                    foreach (CommandPart _ in _actions.Carry(command))
                    {
                    }
                }
                catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException)
                {
                    // The configuration has lost what it names. The rest comes back; of this one nothing but its end is taken.
                    string why = $"it was not put back after the restart: {command.GetType().Name} of VRF '{VrfOf(command)}' names what "
                        + $"the configuration has no more ({e.Message}); put that back and restart the PE, or abort or tear down the "
                        + "migration";
                    if (part.Id is { } id) _broken[id] = why;
                    _state.Events.Add(_loop.Now, "migration", part.Id ?? _state.Config.Name, "not-restored", why);
                }
            }

            if (part is { Id: { } restored, Commands.Count: > 0 } && _fsm.Find(restored) is { } migration)
            {
                _state.Events.Add(_loop.Now, "migration", restored, "restored",
                    $"{Word(migration.Role)}, {Word(migration.State)}, epoch {migration.Epoch}");
                BeginWatch(migration, restored: true);
            }
        }

        _actions.AtOnce = false;
        _kept = _fsm.Version;
    }

    /// <summary>The configuration has a route anew that was out of use for a migration.</summary>
    public void Reconfigured(string vrf, IpPrefix prefix)
    {
        // A withdraw that is being carried out says where it is only when it is done.
        foreach (Underway underway in _underway.Values)
        {
            if (underway.Signal == SignalKind.Withdraw) underway.Reconfigured.Add((vrf, prefix));
        }

        _fsm.Reconfigured(vrf, prefix);
        KeepLater();
    }

    /// <summary>This process forwards: signals that waited for that are taken.</summary>
    public void Forwards() => _forwards.TrySetResult();

    /// <summary>Takes a signal. The task completes with the reply, or with a <see cref="ProblemException"/>.</summary>
    public async Task<SignalReply> SignalAsync(PeSignal signal)
    {
        if (_store.Fault is { } fault) throw new ProblemException(Problems.Unavailable($"{Word(signal.Kind)} is refused: {fault}"));
        long patience = _loop.Now + (signal.WaitMs * 1_000_000L);
        while (true)
        {
            (Task? before, Task<SignalReply>? answer) =
                await _loop.RunAsync(() => MustWait(signal, out Task wait) ? (wait, null) : Take(signal, patience));
            if (answer is not null) return await answer;
            await Task.WhenAny(before!);
        }
    }

    /// <summary>
    /// A migration; null when it is not known here. What <paramref name="wait"/> waits for it is given for at most its time.
    /// </summary>
    public async Task<MigrationInfo?> FindAsync(string id, MigrationWait wait, CancellationToken cancel)
    {
        long end = _loop.Now + (long)wait.Longest.TotalNanoseconds;
        while (true)
        {
            (MigrationInfo? info, Task? changed) = await _loop.RunAsync(() =>
            {
                MigrationInfo? now = _fsm.Find(id) is { } migration ? Info(migration) : null;
                if (wait.Until is MigrationCondition.ServersAnswer
                    && now is { Role: MigrationRole.Target, State: PeMigrationState.Prepared })
                {
                    now = now with { Silent = _proof.WhoIsSilent(id) ?? "" };
                }

                return (now, wait.IsOver(now) || _loop.Now >= end ? null : wait.Until is null ? _changes.NextAsync() : Soon());
            });
            if (changed is null) return info;
            try
            {
                await changed.WaitAsync(TimeSpan.FromMilliseconds(Math.Max(0, (end - _loop.Now) / 1e6)), cancel);
            }
            catch (TimeoutException)
            {
                return info;
            }
        }
    }

    /// <summary>Why the migrations of this PE are not known; null when they are.</summary>
    public string? Fault => _store.Fault;

    /// <summary>All migrations known here.</summary>
    public IReadOnlyList<MigrationInfo> Infos() => [.. _fsm.Migrations.Select(Info)];

    public void Poll(long now)
    {
        foreach (Underway underway in _underway.Values.ToArray())
        {
            if (underway.Deadline > now) continue;
            string id = underway.Id;
            (int armed, int all) = _actions.Progress(id);
            string why = _fsm.Find(id) is not { } migration ? "it is gone"
                : _actions.IsArming(id) ? $"{armed} of {all} prefixes were armed in {ArmTimeout.TotalSeconds} s"
                : $"no full-size probe came back through the tunnel in {PrepareTimeout.TotalSeconds} s: "
                + $"{_tunnels.WhyDown(migration.Tunnel)}";
            Undo(underway, new ProblemException(Problems.Timeout($"prepare was undone: {why}")));
        }

        if (now >= NextLookAtWatches) OnWatchChanged();
        if (_soon is { } soon && now >= _nextSoon)
        {
            _soon = null;
            soon.SetResult();
        }

        if (_left.Count > 0 && now >= _nextLeft)
        {
            (string id, IReadOnlyList<PeCommand> commands) = _left[0];
            _left.RemoveAt(0);
            TakeAway(id, commands, () => { });
        }

        if ((_draining.Count == 0 && !_actions.HasGates) || now < _nextDrainCheck) return;
        _nextDrainCheck = now + DrainCheckNs;
        _actions.PollGates(now);
        TellDrained(now);
    }

    // What a signal has to wait for: that this process forwards (an answer that it took effect would be wrong while the keeper does,
    // by the tables that it has); then the signal before it, but that a repeated prepare gets the answer of the first, and an abort
    // ends it.
    private bool MustWait(PeSignal signal, out Task before)
    {
        before = _forwards.Task;
        if (_state.IsStandby) return true;
        if (!_underway.TryGetValue(signal.Id, out Underway? underway)) return false;
        before = underway.Done.Task;
        bool joins = underway is { Signal: SignalKind.Prepare, IsEnding: false } && signal.Kind is SignalKind.Prepare or SignalKind.Abort;
        return !joins;
    }

    // The answer; or, when it can only come later, what to wait for before it is taken again.
    private (Task? Before, Task<SignalReply>? Answer) Take(PeSignal signal, long patience)
    {
        (string id, SignalKind kind) = (signal.Id, signal.Kind);
        long now = _loop.Now;

        // What the API shows of a hold is the workers' word, and may be newer than what the machine has been told.
        TellDrained(now);

        // Its prefixes may be those of a group that is on its way out of the tables.
        if (kind == SignalKind.Prepare && _takingAway > 0) return (_taken.Task, null);
        if (_broken.TryGetValue(id, out string? broken) && kind is not (SignalKind.Abort or SignalKind.Teardown))
            throw new ProblemException(Problems.Conflict($"{Word(kind)} is refused: {broken}"));
        PeStep step = _fsm.Signal(signal, Facts(signal), now);
        if (step.Refusal is { } early && now < patience && IsOnlyEarly(signal, early)) return (Soon(), null);
        return (null, Answer(signal, step));
    }

    private Task<SignalReply> Answer(PeSignal signal, PeStep step)
    {
        (string id, SignalKind kind) = (signal.Id, signal.Kind);
        if (step.Refusal is { } refusal) return KeptAsync<SignalReply>(() => throw new ProblemException(SignalNames.Problem(refusal)));
        if (step is { Repeated: true, Earlier: { } earlier })
        {
            (PeMigrationState state, long epoch) = step.Migration is { } m ? (m.State, m.Epoch) : (earlier.State, earlier.Epoch);
            return KeptAsync(() => earlier with { Repeated = true, State = state, Epoch = epoch });
        }

        // The first prepare may still be waiting for its tunnel: both get the same answer.
        if (step.Underway) return RepeatAsync(_underway[id].Done.Task);

        if (_underway.Remove(id, out Underway? prepare))
        {
            prepare.IsEnding = true;
            prepare.Done.SetException(new ProblemException(Problems.Conflict($"prepare of '{id}' was given up by an abort that came "
                + "while it was carried out")));
        }

        var underway = new Underway(id, kind, step);
        _underway.Add(id, underway);
        if (kind == SignalKind.Prepare) BeginPrepare(underway);
        else Keep(why => Carry(underway, why));
        return underway.Done.Task;
    }

    private bool IsOnlyEarly(PeSignal signal, PeRefusal refusal) => refusal.Reason switch
    {
        PeRefusalReason.TunnelNotUp or PeRefusalReason.HoldNotDrained or PeRefusalReason.NoOtherRoute or PeRefusalReason.MarkersMissing
            or PeRefusalReason.ServersSilent => true,
        PeRefusalReason.WrongState => _fsm.Find(signal.Id) is { } m && PeTransitions.MayCome(m.Role, m.State, signal.Kind),
        _ => false,
    };

    // In a moment: routes and holds do not tell when they change.
    private Task Soon()
    {
        if (_soon is null) (_soon, _nextSoon) = (new(TaskCreationOptions.RunContinuationsAsynchronously), _loop.Now + SoonNs);
        return _soon.Task;
    }

    private string? Api => _state.Config.Api switch
    {
        { Unix: { } socket } => socket,
        { Tcp: { } tcp } when tcp.Address.Bits != 0 => $"https://{(tcp.Address.IsV4 ? $"{tcp.Address}" : $"[{tcp.Address}]")}:{tcp.Port}/",
        _ => null,
    };

    // One that waits is taken again and again: what costs as much as it has prefixes is looked for last.
    private PeFacts Facts(PeSignal signal)
    {
        if (_fsm.Find(signal.Id) is not { } migration)
            return signal.Kind == SignalKind.Prepare ? new PeFacts(UnknownNames: SignalNames.Unknown(signal, _state), Api: Api)
                : PeFacts.None;
        if (PeTransitions.Next(migration.Role, migration.State, signal.Kind) is null) return PeFacts.None;
        if (signal.AfterMarkers && UnderWay(migration, signal.Kind) is { } underWay) return new PeFacts(UnderWay: underWay);
        if (signal.AfterServers && _proof.WhoIsSilent(signal.Id) is { } silent) return new PeFacts(Silent: silent);
        return signal is { Kind: SignalKind.Teardown, Force: false } && migration.Role == MigrationRole.Source
            ? new PeFacts(Unrouted: _actions.Unrouted(migration)) : PeFacts.None;
    }

    // Packets go into the tunnel after withdraw as before it: that does not wait for copies of the markers.
    private string? UnderWay(PeMigration migration, SignalKind kind) => kind == SignalKind.Withdraw
        ? MigrationConditions.WhyNotPassed(_actions.OrderOf(migration.Group)) : Info(migration).WhyNotSettled();

    // The machine as it is now goes to disk; then, on the loop, what is to be done with that.
    private void Keep(Action<string?> then)
    {
        long version = _fsm.Version;
        _store.Write(_fsm.Save(), why => _loop.Post(() =>
        {
            if (why is null) _kept = Math.Max(_kept, version);
            else _state.Events.Add(_loop.Now, "migration", _state.Config.Name, "state-file-unwritable", why);
            then(why);
        }));
    }

    private void KeepLater()
    {
        if (_kept != _fsm.Version && _store.Fault is null) Keep(_ => { });
    }

    // Nothing is answered before what the machine knows is on disk.
    private Task<T> KeptAsync<T>(Func<T> answer)
    {
        if (_kept == _fsm.Version) return Task.FromResult(answer());
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        Keep(why =>
        {
            try
            {
                if (why is not null) throw NotKept(null, why);
                done.SetResult(answer());
            }
            catch (ProblemException e)
            {
                done.SetException(e);
            }
        });
        return done.Task;
    }

    private static ProblemException NotKept(SignalKind? kind, string why) => new(Problems.NotKept(
        $"{(kind is { } word ? Word(word) : "the signal")} is refused, and nothing was done: it would be forgotten at a restart, since "
            + $"{why}; make room there, or let this PE write there, and send it again"));

    private void TellDrained(long now)
    {
        foreach ((string id, Hold? hold) in _draining.ToArray())
        {
            if (hold is { State: not HoldState.Released } || _underway.ContainsKey(id)) continue;

            // Gates open behind the hold. A server that answers late finds direct packets there already: a teardown that has waited for
            // the hold would take the gates away before they have let those go.
            if (_actions.KeepsOrder(id) && _fsm.Find(id) is not { State: PeMigrationState.Aborted }) continue;
            _draining.Remove(id);
            _changes.Note();
            _state.Events.Add(now, "migration", id, "hold-drained", hold is null ? null : $"{hold.Info.Released} packets");
            TakeAway(id, _fsm.Result(id, new HoldDrained(), now).Commands, () => { });
            KeepLater();
        }
    }

    private static async Task<SignalReply> RepeatAsync(Task<SignalReply> first) => await first with { Repeated = true };

    private static string Word<T>(T value) where T : struct, Enum => PeView.Kebab(value);

    private static string VrfOf(PeCommand command) => command switch
    {
        CreateTunnel c => c.Vrf,
        ArmGroup c => c.Vrf,
        ArmHold c => c.Vrf,
        TellWith c => c.Vrf,
        AdvertiseBackup c => c.Vrf,
        AdvertisePrefixes c => c.Vrf,
        WithdrawPrefixes c => c.Vrf,
        _ => "",
    };

    private MigrationInfo Info(PeMigration migration) => new(
        migration.Id, migration.Role, migration.State, migration.Epoch, migration.Vrf, migration.Prefixes.Texts,
        migration.Peer.IsNone ? "" : migration.Peer.ToString(), migration.Tunnel,
        migration.TunnelUp && _state.Tunnels.ContainsKey(migration.Tunnel), _actions.HoldOf(migration.Id)?.Info,
        _actions.GroupInfo(migration.Group),
        _actions.OrderOf(migration.Group), _changes.Number, migration.Finished ? [.. LeftOver(migration)] : null)
    {
        Backup = BackupOf(migration),
        BackupLocalPref = migration.BackupLocalPref,
    };

    // The tables' word, not the machine's.
    private IEnumerable<string> LeftOver(PeMigration migration)
    {
        if (_state.Tunnels.ContainsKey(migration.Tunnel)) yield return $"tunnel {migration.Tunnel}";
        if (_actions.GroupInfo(migration.Group) is { } group) yield return $"group {group.Name} ({group.Active})";
    }
}
