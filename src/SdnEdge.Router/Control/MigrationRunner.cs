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
/// Carries out what <see cref="PeMigrationFsm"/> decides. A signal: 1. the machine takes it and gives commands, 2. each command
/// is carried out in order (<see cref="MigrationActions"/>), 3. every worker has passed a batch boundary, 4. the reply; that of
/// prepare at the source waits besides until a full-size probe has come back through the tunnel. Runs on the control loop.
/// </summary>
internal sealed class MigrationRunner : ITimed
{
    /// <summary>How long prepare waits for the tunnel.</summary>
    public static readonly TimeSpan PrepareTimeout = TimeSpan.FromSeconds(8);

    private const long DrainCheckNs = 2_000_000;

    private readonly PeMigrationFsm _fsm;
    private readonly PeState _state;
    private readonly TunnelKeeper _tunnels;
    private readonly MigrationActions _actions;
    private readonly ControlLoop _loop;
    private readonly Dictionary<string, Pending> _pending = [];
    private readonly Dictionary<string, Hold?> _draining = [];
    private long _nextDrainCheck;

    public MigrationRunner(PeState state, TunnelKeeper tunnels, MigrationActions actions, ControlLoop loop)
    {
        (_state, _tunnels, _actions, _loop) = (state, tunnels, actions, loop);
        _fsm = new PeMigrationFsm(actions.Unrouted);
        tunnels.HealthChanged += OnTunnelHealth;
        actions.FullyArmed = OnFullyArmed;
    }

    public long NextDeadline
    {
        get
        {
            long next = _draining.Count > 0 || _actions.HasGates ? _nextDrainCheck : long.MaxValue;
            foreach (Pending pending in _pending.Values) next = Math.Min(next, pending.Deadline);
            return next;
        }
    }

    /// <summary>The epoch of the migration that a prefix belongs to; 0 when there is none.</summary>
    public long EpochOf(string vrf, IpPrefix prefix) => _fsm.EpochOf(vrf, prefix);

    /// <summary>Takes a signal. The task completes with the reply, or with a <see cref="ProblemException"/>.</summary>
    public Task<SignalReply> Signal(string id, SignalKind kind, SignalRequest request)
    {
        long now = _loop.Now;

        // What the API shows of a hold is the workers' word, and may be newer than what the machine has been told.
        TellDrained(now);
        if (kind == SignalKind.Prepare && _fsm.Find(id) is null) CheckNames(request);
        PeStep step = _fsm.Signal(id, kind, request, now);
        if (step.Refusal is { } refusal) throw new ProblemException(Problem(refusal));
        if (step.Repeated)
        {
            // The first prepare may still be waiting for its tunnel: both get the same answer.
            if (kind == SignalKind.Prepare && _pending.TryGetValue(id, out Pending? waiting)) return Repeat(waiting.Done.Task);
            return Task.FromResult(step.Earlier! with { Repeated = true, State = step.Migration!.State, Epoch = step.Migration.Epoch });
        }

        PeMigration migration = step.Migration!;
        if (kind == SignalKind.Abort) Cancel(id);
        Effect effect;
        try
        {
            effect = Execute(id, step.Commands);
        }
        catch (Exception e) when (kind == SignalKind.Prepare)
        {
            Undo(id);
            throw e is ProblemException ? e : new ProblemException(Problems.Internal($"prepare failed and was undone: {e.Message}"));
        }

        _state.Events.Add(effect.At, "migration", id, kind.ToString().ToLowerInvariant(), $"{migration.Role.ToString().ToLowerInvariant()}, epoch {migration.Epoch}");
        bool arming = kind == SignalKind.Prepare && _actions.IsArming(migration.Group);
        if (arming || (kind == SignalKind.Prepare && migration.Role == MigrationRole.Source && !migration.TunnelUp))
        {
            var pending = new Pending(arming ? long.MaxValue : _loop.Now + (long)PrepareTimeout.TotalNanoseconds, effect);
            _pending.Add(id, pending);
            return pending.Done.Task;
        }

        return Task.FromResult(Reply(id, kind, effect));
    }

    /// <summary>All migrations known here.</summary>
    public IReadOnlyList<MigrationInfo> Infos() => [.. _fsm.Migrations.Select(Info)];

    public void Poll(long now)
    {
        foreach ((string id, Pending pending) in _pending.ToArray())
        {
            if (pending.Deadline > now) continue;
            _pending.Remove(id);
            PeMigration? migration = _fsm.Find(id);
            string why = migration is null ? "it is gone" : _tunnels.WhyDown(migration.Tunnel);
            Undo(id);
            pending.Done.SetException(new ProblemException(Problems.Timeout(
                $"prepare was undone: no full-size probe came back through the tunnel in {PrepareTimeout.TotalSeconds} s: {why}")));
        }

        if ((_draining.Count == 0 && !_actions.HasGates) || now < _nextDrainCheck) return;
        _nextDrainCheck = now + DrainCheckNs;
        _actions.PollGates(now);
        TellDrained(now);
    }

    private void TellDrained(long now)
    {
        foreach ((string id, Hold? hold) in _draining.ToArray())
        {
            if (hold is { State: not HoldState.Released }) continue;
            _draining.Remove(id);
            _state.Events.Add(now, "migration", id, "hold-drained", hold is null ? null : $"{hold.Info.Released} packets");
            PeStep step = _fsm.Result(id, new HoldDrained(), now);
            Execute(id, step.Commands);
        }
    }

    // Names that only this PE knows are checked before the machine commits to anything.
    private void CheckNames(SignalRequest request)
    {
        var errors = new List<ProblemError>();
        string vrf = request.Vrf ?? NodeConfig.DefaultVrf;
        if (!_state.Vrfs.ContainsKey(vrf)) errors.Add(new ProblemError("/vrf", $"there is no VRF '{vrf}' here; there are {string.Join(", ", _state.Vrfs.Keys)}"));
        if (IpAddress.TryParse(request.Peer, out IpAddress peer))
        {
            if (_state.Config.Loopbacks.Contains(peer)) errors.Add(new ProblemError("/peer", $"'{peer}' is this PE itself; send the other PE's loopback"));
            else if (!_state.Config.Loopbacks.Any(l => l.Family == peer.Family)) errors.Add(new ProblemError("/peer", $"this PE has no loopback of the family of '{peer}'"));
        }

        for (int i = 0; i < (request.Prefixes?.Count ?? 0) && errors.Count < 100; i++)
        {
            MovingPrefix moving = request.Prefixes![i];
            if (!_state.Ports.TryGetValue(moving.Port, out PortState? port)) errors.Add(new ProblemError($"/prefixes/{i}/port", $"there is no port '{moving.Port}' here; there are {string.Join(", ", _state.Ports.Keys)}"));
            else if (port.Config.Vrf != vrf) errors.Add(new ProblemError($"/prefixes/{i}/port", $"port '{moving.Port}' is in VRF '{port.Config.Vrf}', the migration in '{vrf}'"));
        }

        if (errors.Count > 0) throw new ProblemException(Problems.BadRequest("prepare names what this PE does not have", errors));
    }

    private Effect Execute(string id, IReadOnlyList<PeCommand> commands)
    {
        long? storeNs = null;
        bool drains = false;
        foreach (PeCommand command in commands)
        {
            long took = _actions.Carry(command);
            if (command is SwitchToTunnel or SwitchBack or ReleaseHold) storeNs = took;
            drains |= command is ReleaseHold or ReturnHold;
        }

        long at = _loop.Now;
        if (commands.Count > 0) _state.Workers.Grace();
        _actions.MarkAcknowledged(id);
        long acknowledged = _loop.Now;
        if (drains)
        {
            _draining[id] = _actions.HoldOf(id);
            _nextDrainCheck = acknowledged;
        }

        return new Effect(at, acknowledged, storeNs);
    }

    private SignalReply Reply(string id, SignalKind kind, Effect effect)
    {
        PeMigration migration = _fsm.Find(id)!;
        var reply = new SignalReply(id, kind, migration.State, migration.Epoch, Repeated: false, effect.At, effect.AcknowledgedAt, effect.StoreNs);
        _fsm.Remember(reply);
        return reply;
    }

    private void OnTunnelHealth(string tunnel, bool up)
    {
        foreach (PeMigration migration in _fsm.Migrations.Where(m => m.Tunnel == tunnel && !m.Finished).ToArray())
        {
            _fsm.Result(migration.Id, new TunnelHealth(up), _loop.Now);
            if (up) Complete(migration.Id);
        }
    }

    // A target answers now; a source waits for its tunnel, which is only probed from now on.
    private void OnFullyArmed(string id)
    {
        if (!_pending.TryGetValue(id, out Pending? pending)) return;
        pending.Deadline = _loop.Now + (long)PrepareTimeout.TotalNanoseconds;
        if (_fsm.Find(id) is { Role: MigrationRole.Target } || _fsm.Find(id) is { TunnelUp: true }) Complete(id);
    }

    private void Complete(string id)
    {
        if (_actions.IsArming(id) || !_pending.Remove(id, out Pending? pending)) return;
        long at = _loop.Now;
        _state.Workers.Grace();
        pending.Done.SetResult(Reply(id, SignalKind.Prepare, pending.Effect with { At = at, AcknowledgedAt = _loop.Now }));
    }

    // Prepare could not be finished: everything it made goes again.
    private void Undo(string id) => Execute(id, _fsm.Result(id, new PrepareFailed(), _loop.Now).Commands);

    private void Cancel(string id)
    {
        if (_pending.Remove(id, out Pending? pending))
            pending.Done.SetException(new ProblemException(Problems.Conflict($"prepare of '{id}' was given up by an abort that came while it waited for its tunnel")));
    }

    private static async Task<SignalReply> Repeat(Task<SignalReply> first) => await first with { Repeated = true };

    private MigrationInfo Info(PeMigration migration) => new(
        migration.Id, migration.Role, migration.State, migration.Epoch, migration.Vrf, migration.Prefixes, migration.Peer, migration.Tunnel,
        migration.TunnelUp && _state.Tunnels.ContainsKey(migration.Tunnel), _actions.HoldOf(migration.Id)?.Info, _actions.GroupInfo(migration.Group),
        _actions.OrderOf(migration.Group));

    private static Problem Problem(PeRefusal refusal) => refusal.Reason switch
    {
        PeRefusalReason.BadRequest => Problems.BadRequest(refusal.Detail, refusal.Errors),
        PeRefusalReason.Unknown => Problems.NotFound(refusal.Detail),
        PeRefusalReason.StaleEpoch => Problems.StaleEpoch(refusal.Detail),
        PeRefusalReason.WrongState => Problems.WrongState(refusal.Detail),
        // Types of their own: a manager that sees them only has to wait.
        PeRefusalReason.TunnelNotUp or PeRefusalReason.HoldNotDrained or PeRefusalReason.NoOtherRoute => Problems.WrongState(refusal.Detail) with { Type = refusal.Type },
        _ => Problems.Conflict(refusal.Detail),
    };

    private readonly record struct Effect(long At, long AcknowledgedAt, long? StoreNs);

    private sealed class Pending(long deadline, Effect effect)
    {
        public long Deadline { get; set; } = deadline;

        public Effect Effect { get; } = effect;

        public TaskCompletionSource<SignalReply> Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
