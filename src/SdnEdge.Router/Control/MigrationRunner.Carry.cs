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

/// <content>A signal that was taken, from its first command to its answer.</content>
internal sealed partial class MigrationRunner
{
    // It is on disk, or not.
    private void Carry(Underway underway, string? notKept)
    {
        (string id, SignalKind kind) = (underway.Id, underway.Signal);
        if (notKept is not null)
        {
            _fsm.Result(id, new ExecutionFailed(kind, Begun: false), _loop.Now);
            End(underway, NotKept(kind, notKept));
            return;
        }

        Execute(id, underway.Step.Commands, null, effect =>
        {
            Tell(effect.At, underway);
            _broken.Remove(id);
            if (kind == SignalKind.Switch) _proof.Begin(id, proved => End(underway, Done(underway, effect with { Empty = proved })));
            else End(underway, Done(underway, effect));
        }, e =>
        {
            _fsm.Result(id, new ExecutionFailed(kind), _loop.Now);
            _state.Events.Add(_loop.Now, "migration", id, "failed", $"{Word(kind)}: {e.Message}");

            // The file has it as executed, and must not.
            Keep(_ => End(underway, new ProblemException(Problems.Internal($"{Word(kind)} of '{id}' was not carried out to its end, and "
                + $"counts as not done: {e.Message}; send it again, or abort where that is still possible"))));
        });
    }

    private void BeginPrepare(Underway underway)
    {
        _left.RemoveAll(l => l.Id == underway.Id);
        Execute(underway.Id, underway.Step.Commands, underway, effect =>
        {
            underway.Effect = effect;
            Tell(effect.At, underway);
            underway.Deadline = _loop.Now
                + (long)(_actions.IsArming(underway.Id) ? ArmTimeout : PrepareTimeout).TotalNanoseconds;
            TryFinish(underway.Id);
        }, e => Undo(underway,
            e as ProblemException ?? new ProblemException(Problems.Internal($"prepare failed and was undone: {e.Message}"))));
    }

    // A target answers when it is armed; a source waits for its tunnel, which is only probed from then on.
    private void TryFinish(string id)
    {
        if (!_underway.TryGetValue(id, out Underway? underway) || underway.Signal != SignalKind.Prepare || underway.IsReady
            || underway.IsEnding || _actions.IsArming(id)) return;
        PeMigration migration = _fsm.Find(id)!;
        if (migration.Role == MigrationRole.Source && !migration.TunnelUp) return;
        underway.IsReady = true;
        underway.Deadline = long.MaxValue;
        long at = _loop.Now;
        try
        {
            _state.Workers.Grace();
        }
        catch (TimeoutException e)
        {
            Undo(underway, new ProblemException(Problems.Internal($"prepare failed and was undone: {e.Message}")));
            return;
        }

        underway.Effect = underway.Effect with { At = at, AcknowledgedAt = _loop.Now };
        _fsm.Result(id, new PartsReady(), _loop.Now);
        Keep(why =>
        {
            // Aborted meanwhile.
            if (_underway.GetValueOrDefault(id) != underway) return;
            if (why is null) End(underway, Done(underway, underway.Effect));
            else Undo(underway, NotKept(SignalKind.Prepare, why));
        });
    }

    private SignalReply Done(Underway underway, Effect effect)
    {
        PeMigration after = underway.Step.Migration!;
        long epoch = Math.Max(after.Epoch, _fsm.Find(underway.Id)?.Epoch ?? 0);
        var reply = new SignalReply(underway.Id, underway.Signal, after.State, epoch, Repeated: false, effect.At, effect.AcknowledgedAt,
            effect.StoreNs, effect.Empty);
        if (underway.Signal == SignalKind.Teardown) reply = reply with { Group = effect.Group, Order = effect.Order };
        _fsm.Result(underway.Id, new Executed(underway.Signal, reply), _loop.Now);
        foreach ((string vrf, IpPrefix prefix) in underway.Reconfigured) _fsm.Reconfigured(vrf, prefix);
        if (underway.Reconfigured.Count > 0) KeepLater();
        Follow(underway.Id, underway.Signal);
        return reply;
    }

    private void End(Underway underway, SignalReply reply)
    {
        _changes.Note();
        Leave(underway);
        underway.Done.TrySetResult(reply);
    }

    private void End(Underway underway, ProblemException why)
    {
        _changes.Note();
        Leave(underway);
        underway.Done.TrySetException(why);
    }

    private void Leave(Underway underway)
    {
        if (_underway.GetValueOrDefault(underway.Id) == underway) _underway.Remove(underway.Id);

        // What it watches may have failed meanwhile, or be back.
        if (_backups.ContainsKey(underway.Id)) _loop.Post(OnWatchChanged);
    }

    // Prepare could not be finished: everything it made goes again.
    private void Undo(Underway underway, ProblemException why)
    {
        underway.IsEnding = true;
        underway.Deadline = long.MaxValue;
        TakeAway(underway.Id, _fsm.Result(underway.Id, new ExecutionFailed(SignalKind.Prepare), _loop.Now).Commands,
            () => Keep(_ => End(underway, why)));
    }

    // What belongs to no migration any more goes; if not now, then later: nobody sends a signal for it again.
    private void TakeAway(string id, IReadOnlyList<PeCommand> commands, Action then)
    {
        if (_takingAway++ == 0) _taken = new(TaskCreationOptions.RunContinuationsAsynchronously);
        Execute(id, commands, null, _ => over(), e =>
        {
            _state.Events.Add(_loop.Now, "migration", id, "failed",
                $"what is left of it was not taken away, and is tried again: {e.Message}");
            _left.Add((id, commands));
            _nextLeft = _loop.Now + LeftEveryNs;
            over();
        });

        void over()
        {
            if (--_takingAway == 0) _taken.SetResult();
            then();
        }
    }

    private void Tell(long at, Underway underway)
        => _state.Events.Add(at, "migration", underway.Id, Word(underway.Signal),
        $"{Word(underway.Step.Migration!.Role)}, epoch {underway.Step.Migration.Epoch}");

    // The first part now, and, where there are more, each in a later round of the loop; a prepare that is being undone goes no further.
    private void Execute(string id, IReadOnlyList<PeCommand> commands, Underway? prepare, Action<Effect> done, Action<Exception> failed)
    {
        var effect = new Effect();
        IEnumerator<CommandPart> parts = Parts().GetEnumerator();
        Go();

        void Go()
        {
            try
            {
                while (parts.MoveNext())
                {
                    if (!parts.Current.More) continue;
                    _loop.PostPart(Go);
                    return;
                }
            }
            catch (Exception e)
            {
                failed(e);
                return;
            }

            if (prepare is not { IsEnding: true }) done(effect);
        }

        IEnumerable<CommandPart> Parts()
        {
            bool drains = false;
            foreach (PeCommand command in commands)
            {
                if (command is RemoveGroup) effect = effect with { Group = _actions.GroupInfo(id), Order = _actions.OrderOf(id) };
                foreach (CommandPart part in _actions.Carry(command))
                {
                    if (prepare is { IsEnding: true }) yield break;
                    if (command is SwitchToTunnel or SwitchBack or ReleaseHold) effect = effect with { StoreNs = part.StoreNs };
                    yield return part;
                }

                drains |= command is ReleaseHold or ReturnHold;
                if (command is SwitchToTunnel && commands.Count > 1) Acknowledge();
            }

            if (effect.At == 0) Acknowledge();
            else _state.Workers.Grace();
            if (!drains) yield break;
            _draining[id] = _actions.HoldOf(id);
            _nextDrainCheck = _loop.Now;
        }

        void Acknowledge()
        {
            long at = _loop.Now;
            if (commands.Count > 0) _state.Workers.Grace();
            _actions.MarkAcknowledged(id);
            effect = effect with { At = at, AcknowledgedAt = _loop.Now };
        }
    }

    /// <summary>A tunnel went up or down.</summary>
    public void OnTunnelHealth(string tunnel, bool up)
    {
        foreach (PeMigration migration in _fsm.Migrations.Where(m => m.Tunnel == tunnel && !m.Finished).ToArray())
        {
            _fsm.Result(migration.Id, new TunnelHealth(up), _loop.Now);
            _changes.Note();
            if (up) TryFinish(migration.Id);
        }

        if (up) OnWatchChanged();
    }

    /// <summary>The last prefix of a group has been armed.</summary>
    public void OnFullyArmed(string id)
    {
        if (!_underway.TryGetValue(id, out Underway? underway) || underway.IsEnding) return;
        underway.Deadline = _loop.Now + (long)PrepareTimeout.TotalNanoseconds;
        if (underway.Effect.At != 0) TryFinish(id);
    }

    private readonly record struct Effect(
        long At, long AcknowledgedAt, long? StoreNs = null, bool? Empty = null, RedirectGroupInfo? Group = null, OrderInfo? Order = null);

    /// <summary>A signal between its acceptance and its answer.</summary>
    private sealed class Underway(string id, SignalKind signal, PeStep step)
    {
        public string Id { get; } = id;

        public SignalKind Signal { get; } = signal;

        public PeStep Step { get; } = step;

        /// <summary>Prepare: when it is given up.</summary>
        public long Deadline { get; set; } = long.MaxValue;

        /// <summary>Prepare: what its commands did.</summary>
        public Effect Effect { get; set; }

        /// <summary>Prepare: all parts are there, and it only has to get to disk.</summary>
        public bool IsReady { get; set; }

        /// <summary>Prepare: it is being undone or aborted, or was, and that has to get to disk.</summary>
        public bool IsEnding { get; set; }

        /// <summary>Withdraw: prefixes that the configuration has had anew since.</summary>
        public List<(string Vrf, IpPrefix Prefix)> Reconfigured { get; } = [];

        public TaskCompletionSource<SignalReply> Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
