using System.Text.Json;
using SdnEdge.Core.Api;

namespace SdnEdge.Core.Migration;

/// <summary>
/// One planned move, as the MMS decides it: inputs in, commands out; no clock, no sockets.
/// <list type="number">
/// <item>The target is prepared first (it accepts the tunnel and holds), then the source; the tunnel is up when both ends'
/// full-size probes come back.</item>
/// <item>Switch at the source; from here on the target holds. Then the server is paused, for at least the blackout, and
/// resumed at the target: the pivot.</item>
/// <item>Release; when the hold is empty, or a bound has passed, advertise; every ingress takes the direct path, which its flush
/// marker proves: at the target, or, where the tunnel is long, earlier at the source as it goes by; the source withdraws;
/// teardown at the source, whose last packets in the tunnel are markers, too; when all have come out of it, at the target.
/// Where there are no markers, routes and quiet counters stand in, and a timer for those: <see cref="Proof"/> says which it
/// was.</item>
/// </list>
/// Failure or <see cref="GiveUp"/> before the pivot goes backwards: the server becomes live at the source again, the source
/// switches back, the tunnel becomes empty, the target gives back what it held: in this order, so that nothing is sent to a server
/// that is not there, and nothing comes to a hold that is gone.
/// After the pivot the move only goes forward; where a step cannot be finished it ends <see cref="MoveOutcome.Incomplete"/>, and
/// the tunnel stays, so that the server stays reachable. An outcome that is not known (a lost answer) is asked again, never
/// guessed: signals are idempotent, and the server's driver can say where the server is.
/// </summary>
public sealed class MoveFsm
{
    private const long Ms = 1_000_000;

    private static readonly string[] OnlyNeedsTime = ["tunnel-not-up", "hold-not-drained", "no-other-route", "timeout", "unavailable"];

    private readonly MovePlan _plan;
    private readonly List<StageRecord> _timeline = [];
    private readonly Dictionary<string, long> _directAt = new(StringComparer.Ordinal);
    private readonly HashSet<string> _tunnelUpAt = new(StringComparer.Ordinal);
    private readonly HashSet<string> _due = new(StringComparer.Ordinal);
    private readonly HashSet<string> _byMarker = new(StringComparer.Ordinal);
    private readonly HashSet<string> _looking = new(StringComparer.Ordinal);
    private long _stageStart;
    private long _stageDeadline = long.MaxValue;
    private long _wake = long.MaxValue;
    private bool _switchSent;
    private bool _pauseSent;
    private bool _resumeSent;
    private bool _sourcePrepareSent;
    private bool _locating;
    private bool _drained;
    private bool _counted;
    private bool _passed;
    private bool _quiet;
    private bool _othersSeen;
    private long _quietSince;
    private long _tunnelPackets = -1;
    private string? _residue;
    private string? _lastNote;

    /// <summary>Makes the machine of one move.</summary>
    public MoveFsm(MovePlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        _plan = plan;
    }

    /// <summary>Where the move is.</summary>
    public MoveStage Stage { get; private set; }

    /// <summary>How it ended; null while it runs.</summary>
    public MoveOutcome? Outcome { get; private set; }

    /// <summary>The first thing that went wrong; null when nothing did.</summary>
    public string? Failure { get; private set; }

    /// <summary>Stages that have ended, in order.</summary>
    public IReadOnlyList<StageRecord> Timeline => _timeline;

    /// <summary>What showed that the tunnel could go.</summary>
    public TeardownProof Proof { get; private set; }

    /// <summary>Ingress PEs whose flush markers showed that they are on the direct path.</summary>
    public IReadOnlySet<string> ProvedByMarker => _byMarker;

    /// <summary>When each ingress was first seen on the direct path (CLOCK_MONOTONIC, nanoseconds).</summary>
    public IReadOnlyDictionary<string, long> DirectAt => _directAt;

    /// <summary>When <see cref="DeadlineReached"/> is due; long.MaxValue = only an input brings the move on.</summary>
    public long NextDeadline => Outcome is null ? Math.Min(_stageDeadline, _wake) : long.MaxValue;

    /// <summary>Takes an input; returns what to do. Inputs that no longer matter are ignored.</summary>
    public IReadOnlyList<MoveCommand> Step(MoveInput input, long now)
    {
        if (Outcome is not null) return [];
        switch (input)
        {
            case Begin when Stage == MoveStage.NotStarted:
                return Enter(MoveStage.PrepareTarget, now);
            case GiveUp giveUp when BeforePivot:
                return Fail(giveUp.Why, now);
            case DeadlineReached when now >= _stageDeadline:
                return TimedOut(now);
            case DeadlineReached when now >= _wake:
                _wake = long.MaxValue;
                return Stage switch
                {
                    MoveStage.Blackout => Enter(MoveStage.Resume, now),
                    MoveStage.LastPacket when _plan.Order is null => Enter(MoveStage.TeardownTarget, now),
                    MoveStage.EmptyTunnel when _plan.Order is null => Enter(MoveStage.AbortTarget, now),
                    _ => Act(),
                };
            case SignalTaken taken when Expects(taken.Pe, taken.Reply.Signal):
                return Taken(now);
            case SignalRefused refused when Expects(refused.Pe, refused.Signal):
                return Refused(refused, now);
            case SignalLost lost when Expects(lost.Pe, lost.Signal):
                Note($"{lost.Pe} does not answer {Word(lost.Signal)}: {lost.Detail}");
                return Retry(lost.Pe, now);
            case MigrationSeen seen:
                return Seen(seen, now);
            case IngressSeen seen when Stage == MoveStage.DirectPath:
                return IngressLooked(seen, now);
            case ServerPaused when Stage == MoveStage.Pause:
                return Enter(MoveStage.Blackout, now);
            case ServerResumed resumed:
                return LiveAt(resumed.Site, now);
            case ServerLocated located when _locating:
                _locating = false;
                return located.Site is null ? NotLive(now) : LiveAt(located.Site, now);
            case ServerFailed failed when Stage is MoveStage.Pause or MoveStage.Resume or MoveStage.ReturnServer:
                return ServerTrouble(failed, now);
            default:
                return [];
        }
    }

    private bool BeforePivot => Stage is >= MoveStage.NotStarted and <= MoveStage.Blackout;

    private IReadOnlyList<MoveCommand> Enter(MoveStage stage, long now)
    {
        EndStage(now, null);
        Stage = stage;
        _stageStart = now;
        _wake = long.MaxValue;
        _locating = false;
        MoveTimeouts t = _plan.Timeouts;
        int limit = stage switch
        {
            MoveStage.TunnelUp => t.TunnelUp,
            MoveStage.Pause or MoveStage.Resume or MoveStage.ReturnServer => t.Server,
            MoveStage.HoldDrain => t.HoldDrain,
            MoveStage.DirectPath => t.DirectPath,
            MoveStage.Drain or MoveStage.GiveBack => t.Drain,
            MoveStage.LastPacket or MoveStage.EmptyTunnel => t.LastPacket,
            > MoveStage.Resume and < MoveStage.ReturnServer => t.Forward,
            _ => t.Signal,
        };
        _stageDeadline = now + (limit * Ms);
        _due.Clear();
        switch (stage)
        {
            case MoveStage.TunnelUp:
                _due.UnionWith([_plan.Source.Pe, _plan.Target.Pe]);
                break;
            case MoveStage.HoldDrain:
                if (_plan.Hold.Disabled) return Enter(MoveStage.Advertise, now);
                _due.Add(_plan.Target.Pe);
                break;
            case MoveStage.GiveBack:
                _due.Add(_plan.Target.Pe);
                break;
            case MoveStage.Withdraw when _passed || MarkersSuffice:
                // Its counters are read meanwhile: with the markers there, nothing else has to be waited for.
                return [.. Act(), new LookAtMigration(_plan.Source.Pe)];
            case MoveStage.Drain:
                if (MayTearDownSource) return Enter(MoveStage.TeardownSource, now);
                _due.UnionWith([_plan.Source.Pe, _plan.Target.Pe]);
                _quietSince = now;
                break;
            case MoveStage.DirectPath:
                if (_plan.Ingress.Count == 0) return Enter(MoveStage.Withdraw, now);
                if (_plan.Order is null) _due.UnionWith(_plan.Ingress);
                else _due.Add(_plan.Target.Pe);
                if (_plan is { Order: not null, OtherIngress: false }) _due.Add(_plan.Source.Pe);
                break;
            case MoveStage.EmptyTunnel when !_switchSent || _residue is not null:
                return Enter(MoveStage.AbortTarget, now);
            case MoveStage.LastPacket:
            case MoveStage.EmptyTunnel:
                if (_plan.Order is null)
                {
                    // The last packets may be on their way still, and no marker says when they are through: the quiet time is
                    // longer than the way.
                    _stageDeadline = long.MaxValue;
                    _wake = now + (_plan.Timeouts.Quiet * Ms);
                    return [];
                }

                _due.Add(_plan.Target.Pe);
                break;
            case MoveStage.Blackout:
                if (_plan.BlackoutMs <= 0) return Enter(MoveStage.Resume, now);
                _stageDeadline = long.MaxValue;
                _wake = now + (_plan.BlackoutMs * Ms);
                return [];
        }

        return Act();
    }

    /// <summary>The commands of the current stage; again after a wait, for what is still due.</summary>
    private IReadOnlyList<MoveCommand> Act()
    {
        if (SignalOf(Stage) is { } signal)
        {
            _sourcePrepareSent |= Stage == MoveStage.PrepareSource;
            _switchSent |= Stage == MoveStage.Switch;
            return [new SendSignal(signal.Pe, signal.Kind, Request(signal.Kind))];
        }

        switch (Stage)
        {
            case MoveStage.TunnelUp:
            case MoveStage.HoldDrain:
            case MoveStage.Drain:
            case MoveStage.LastPacket:
            case MoveStage.EmptyTunnel:
            case MoveStage.GiveBack:
                return TakeDue(pe => new LookAtMigration(pe));
            case MoveStage.DirectPath:
                return TakeDue(pe => pe == _plan.Target.Pe || pe == _plan.Source.Pe ? new LookAtMigration(pe) : new LookAtIngress(pe));
            case MoveStage.Pause:
                _pauseSent = true;
                return [new PauseServer()];
            case MoveStage.Resume:
                if (_locating) return [new LocateServer()];
                _resumeSent = true;
                return [new ResumeServer(_plan.Target.Site)];
            case MoveStage.ReturnServer:
                return _locating ? [new LocateServer()] : [new ResumeServer(_plan.Source.Site)];
            default:
                return [];
        }
    }

    private IReadOnlyList<MoveCommand> TakeDue(Func<string, MoveCommand> command)
    {
        MoveCommand[] commands = [.. _due.Order(StringComparer.Ordinal).Select(command)];
        _due.Clear();
        return commands;
    }

    private (string Pe, SignalKind Kind)? SignalOf(MoveStage stage) => stage switch
    {
        MoveStage.PrepareTarget => (_plan.Target.Pe, SignalKind.Prepare),
        MoveStage.PrepareSource => (_plan.Source.Pe, SignalKind.Prepare),
        MoveStage.Switch => (_plan.Source.Pe, SignalKind.Switch),
        MoveStage.Release => (_plan.Target.Pe, SignalKind.Release),
        MoveStage.Advertise => (_plan.Target.Pe, SignalKind.Advertise),
        MoveStage.Withdraw => (_plan.Source.Pe, SignalKind.Withdraw),
        MoveStage.TeardownSource => (_plan.Source.Pe, SignalKind.Teardown),
        MoveStage.TeardownTarget => (_plan.Target.Pe, SignalKind.Teardown),
        MoveStage.AbortSource => (_plan.Source.Pe, SignalKind.Abort),
        MoveStage.AbortTarget => (_plan.Target.Pe, SignalKind.Abort),
        _ => null,
    };

    private SignalRequest Request(SignalKind kind)
    {
        if (kind == SignalKind.Advertise) return new SignalRequest(_plan.Epoch, LocalPref: _plan.LocalPref);
        if (kind == SignalKind.Switch) return new SignalRequest(_plan.Epoch, LocalPref: _plan.SourceLocalPref);
        if (kind != SignalKind.Prepare) return new SignalRequest(_plan.Epoch);
        bool source = Stage == MoveStage.PrepareSource;
        (MoveEnd here, MoveEnd there) = source ? (_plan.Source, _plan.Target) : (_plan.Target, _plan.Source);
        return new SignalRequest(_plan.Epoch, source ? MigrationRole.Source : MigrationRole.Target, _plan.Vrf, here.Prefixes,
            there.Loopback, _plan.TunnelKey, source ? null : _plan.Hold, Order: _plan.Order);
    }

    private bool Expects(string pe, SignalKind kind) => SignalOf(Stage) is { } signal && signal.Pe == pe && signal.Kind == kind;

    private IReadOnlyList<MoveCommand> Taken(long now) => Stage switch
    {
        MoveStage.TeardownTarget => Finish(now),
        MoveStage.AbortSource => Enter(MoveStage.EmptyTunnel, now),
        MoveStage.AbortTarget => Enter(MoveStage.GiveBack, now),
        _ => Enter(Stage + 1, now),
    };

    private IReadOnlyList<MoveCommand> Refused(SignalRefused refused, long now)
    {
        string what = $"{refused.Pe} refuses {Word(refused.Signal)}: {refused.Detail}";
        if (refused.Problem.EndsWith("stale-epoch", StringComparison.Ordinal))
        {
            Failure = what;
            return End(MoveOutcome.Fenced, now, what);
        }

        // What only needs time is asked again until the stage's time is up.
        if (OnlyNeedsTime.Any(kind => refused.Problem.EndsWith(kind, StringComparison.Ordinal)))
        {
            Note(what);
            return Retry(refused.Pe, now);
        }

        return Fail(what, now);
    }

    private IReadOnlyList<MoveCommand> Retry(string pe, long now) => Retry(pe, now, _plan.Timeouts.Poll);

    private IReadOnlyList<MoveCommand> Retry(string pe, long now, int afterMs)
    {
        _due.Add(pe);
        _wake = Math.Min(_wake, now + (afterMs * Ms));
        return [];
    }

    // No traffic but that of ingress PEs whose markers have come was ever in the tunnel.
    private bool MarkersSuffice => _plan.Order is not null && !_plan.OtherIngress && !_othersSeen && _byMarker.IsSupersetOf(_plan.Ingress);

    // The source's own markers are the last packets in the tunnel: it may close when nothing comes to it any more, whatever is
    // inside, or when the tunnel is seen to be empty.
    private bool MayTearDownSource => _counted && (_passed || (_drained && (_quiet || MarkersSuffice)));

    private IReadOnlyList<MoveCommand> Finish(long now)
    {
        if (Proof == TeardownProof.None) Proof = _quiet ? TeardownProof.Quiet : TeardownProof.Timer;
        return End(MoveOutcome.Moved, now);
    }

    private IReadOnlyList<MoveCommand> RolledBack(long now) => End(_residue is null ? MoveOutcome.RolledBack : MoveOutcome.RollbackIncomplete, now);

    private IReadOnlyList<MoveCommand> Seen(MigrationSeen seen, long now)
    {
        if (Stage == MoveStage.TunnelUp)
        {
            // The tunnel works when both directions do; each end probes its own.
            if (seen.Info is not { TunnelUp: true }) return Retry(seen.Pe, now);
            _tunnelUpAt.Add(seen.Pe);
            return _tunnelUpAt.IsSupersetOf([_plan.Source.Pe, _plan.Target.Pe]) ? Enter(MoveStage.Switch, now) : [];
        }

        if (Stage == MoveStage.HoldDrain && seen.Pe == _plan.Target.Pe)
            return seen.Info is { Hold: null or { PacketsHeldNow: 0 } } ? Enter(MoveStage.Advertise, now) : Retry(seen.Pe, now, _plan.Timeouts.PollMarkers);

        // Without markers only a look at the hold can come back here, late: it says nothing about paths.
        if (Stage == MoveStage.DirectPath && seen.Pe == _plan.Target.Pe) return _plan.Order is null ? [] : MarkersSeen(seen.Info, now);
        if (Stage == MoveStage.DirectPath && seen.Pe == _plan.Source.Pe) return _plan.Order is null ? [] : MarkersPassed(seen.Info, now);
        if (Stage == MoveStage.LastPacket && _plan.Order is not null && seen.Pe == _plan.Target.Pe)
        {
            TakeMarkers(seen.Info, now);
            if (!LastPacketIsOut(seen.Info) || (_passed && !(_drained && _byMarker.IsSupersetOf(_plan.Ingress)))) return Retry(seen.Pe, now, _plan.Timeouts.PollMarkers);
            if (MarkersSuffice) Proof = TeardownProof.Markers;
            return Enter(MoveStage.TeardownTarget, now);
        }

        if (Stage == MoveStage.EmptyTunnel && _plan.Order is not null && seen.Pe == _plan.Target.Pe)
            return LastPacketIsOut(seen.Info) ? Enter(MoveStage.AbortTarget, now) : Retry(seen.Pe, now, _plan.Timeouts.PollMarkers);

        if (Stage == MoveStage.GiveBack && seen.Pe == _plan.Target.Pe)
            return seen.Info is { State: PeMigrationState.Aborted, Group: null } ? RolledBack(now) : Retry(seen.Pe, now, _plan.Timeouts.PollMarkers);

        _counted |= Stage == MoveStage.Withdraw && seen.Info is not null && seen.Pe == _plan.Source.Pe;
        if (Stage != MoveStage.Drain) return [];
        if (seen.Info is null) return Retry(seen.Pe, now);
        if (seen.Pe == _plan.Target.Pe)
        {
            _drained = IsDrained(seen.Info);
        }
        else
        {
            // The counter proves it: the same number twice means that nothing came between, also when looks in between were lost.
            long packets = seen.Info.Group?.TunnelPackets ?? 0;
            if (packets != _tunnelPackets) (_tunnelPackets, _quietSince) = (packets, now);
            _counted = true;
            _quiet = now - _quietSince >= _plan.Timeouts.Quiet * Ms;
        }

        // Both are needed at once: whoever is through is looked at until the other is.
        return MayTearDownSource ? Enter(MoveStage.TeardownSource, now) : Retry(seen.Pe, now);
    }

    // The source's own markers are the last packets of the tunnel.
    private bool LastPacketIsOut(MigrationInfo? target) => target?.Order is { } order && order.Gates.All(g => g.Ingress != _plan.Source.Pe || g.Proved);

    // The hold, and the gates of all ingress PEs that have moved; the source's own opens at teardown.
    private bool IsDrained(MigrationInfo target) => target.Hold is null or { PacketsHeldNow: 0 }
        && (target.Order?.Gates.All(g => g.PacketsHeldNow == 0 || !_plan.Ingress.Contains(g.Ingress)) ?? true);

    /// <summary>
    /// 1. An ingress is on the direct path when its markers have come out of the tunnel, for each address family that moves.
    /// 2. Where none come in time, or it sends none, it is asked for its routes.
    /// </summary>
    private IReadOnlyList<MoveCommand> MarkersSeen(MigrationInfo? target, long now)
    {
        TakeMarkers(target, now);
        if (_plan.Ingress.All(_directAt.ContainsKey)) return Enter(MoveStage.Withdraw, now);
        Retry(_plan.Target.Pe, now, _plan.Timeouts.PollMarkers);
        bool late = now - _stageStart >= _plan.Order!.BoundMs * Ms;
        string[] ask = [.. _plan.Ingress.Where(pe => !_directAt.ContainsKey(pe) && (late || _plan.Order.Ingress.All(i => i.Name != pe)) && _looking.Add(pe))];
        return [.. ask.Select(pe => new LookAtIngress(pe))];
    }

    private void TakeMarkers(MigrationInfo? target, long now)
    {
        if (target?.Order is not { } order) return;
        _drained = IsDrained(target);
        _othersSeen |= order.Unordered > 0 || order.Gates.Any(g => !g.SendsMarkers && g.PacketsHeldTotal > 0);
        foreach (string pe in _plan.Ingress)
        {
            OrderGateInfo[] gates = [.. order.Gates.Where(g => g.Ingress == pe)];
            if (gates.Length == 0 || !gates.All(g => g.Proved)) continue;
            _byMarker.Add(pe);
            _directAt.TryAdd(pe, now);
        }
    }

    // A source that is told of no order, or an ingress that it is not told of, leaves it to the target to see the markers.
    private IReadOnlyList<MoveCommand> MarkersPassed(MigrationInfo? source, long now)
    {
        if (_othersSeen || (source is not null && !_plan.Ingress.All(pe => source.Order?.Gates.Any(g => g.Ingress == pe) ?? false))) return [];
        if (source?.Order is not { Proved: true }) return Retry(_plan.Source.Pe, now, _plan.Timeouts.PollMarkers);
        _passed = true;
        foreach (string pe in _plan.Ingress) _directAt.TryAdd(pe, now);
        return Enter(MoveStage.Withdraw, now);
    }

    private IReadOnlyList<MoveCommand> IngressLooked(IngressSeen seen, long now)
    {
        if (!seen.Direct)
        {
            if (seen.Detail is not null) Note($"{seen.Pe}: {seen.Detail}");
            return Retry(seen.Pe, now);
        }

        _looking.Remove(seen.Pe);

        _directAt.TryAdd(seen.Pe, now);
        return _plan.Ingress.All(_directAt.ContainsKey) ? Enter(MoveStage.Withdraw, now) : [];
    }

    private IReadOnlyList<MoveCommand> LiveAt(string site, long now)
    {
        if (Stage == MoveStage.Resume && site == _plan.Target.Site) return Enter(MoveStage.Release, now);
        if (Stage == MoveStage.ReturnServer && site == _plan.Source.Site) return Enter(MoveStage.AbortSource, now);

        // Pause failed and the server never stopped, or resume failed and it is back where it was: give up.
        return Stage is MoveStage.Pause or MoveStage.Resume ? Backwards(now) : NotLive(now);
    }

    private IReadOnlyList<MoveCommand> NotLive(long now) => Stage switch
    {
        MoveStage.Pause or MoveStage.Resume => Backwards(now),
        MoveStage.ReturnServer => Retry(_plan.Source.Pe, now),
        _ => [],
    };

    private IReadOnlyList<MoveCommand> ServerTrouble(ServerFailed failed, long now)
    {
        string what = $"server {_plan.Server}: {failed.Detail}";
        Failure ??= what;
        Note(what);
        if (Stage == MoveStage.ReturnServer)
        {
            _locating = false;
            return Retry(_plan.Source.Pe, now);
        }

        // Whether it took effect is not known. Ask; when even that fails, ask again until the time is up.
        bool again = _locating;
        _locating = true;
        return again ? Retry(_plan.Source.Pe, now) : Act();
    }

    private IReadOnlyList<MoveCommand> TimedOut(long now)
    {
        string what = Stage switch
        {
            MoveStage.TunnelUp => $"no full-size probe came through the tunnel within {_plan.Timeouts.TunnelUp} ms (up at: {(_tunnelUpAt.Count == 0 ? "neither end" : string.Join(", ", _tunnelUpAt))})",
            MoveStage.DirectPath => $"without the direct path after {_plan.Timeouts.DirectPath} ms: {string.Join(", ", _plan.Ingress.Where(p => !_directAt.ContainsKey(p)))}; the tunnel stays, the server is reachable through it",
            _ => $"{Word(Stage)} did not end in time{(_lastNote is null ? "" : ": " + _lastNote)}",
        };
        switch (Stage)
        {
            case MoveStage.HoldDrain:
                // More comes than can leave: the direct paths relieve the tunnel, so go on.
                return Enter(MoveStage.Advertise, now);
            case MoveStage.Drain:
                // Traffic that starts at the source PE itself goes on; after teardown its route is BGP's, by the direct path.
                if (!_drained) return Fail("the hold of the target did not become empty in time", now);
                Proof = TeardownProof.Timer;
                return Enter(MoveStage.TeardownSource, now);
            case MoveStage.LastPacket:
                // Lost, all copies of it. The source sends into the tunnel no more, and it has had time to become empty.
                Proof = TeardownProof.Timer;
                return Enter(MoveStage.TeardownTarget, now);
            case MoveStage.EmptyTunnel:
                return Enter(MoveStage.AbortTarget, now);
            case MoveStage.Resume when _resumeSent:
                // It may be live at the target: neither way is safe until somebody looks.
                Failure ??= what;
                return End(MoveOutcome.Incomplete, now, what);
            default:
                return Fail(what, now);
        }
    }

    private IReadOnlyList<MoveCommand> Fail(string why, long now)
    {
        Failure ??= why;
        switch (Stage)
        {
            case <= MoveStage.Resume:
                EndStage(now, why);
                return Backwards(now);
            case < MoveStage.ReturnServer:
                return End(MoveOutcome.Incomplete, now, why);
            case MoveStage.ReturnServer:
                // Traffic must stay with the hold: there is no server to switch back to.
                return End(MoveOutcome.RollbackIncomplete, now, why);
            case MoveStage.AbortSource:
                _residue = why;
                EndStage(now, why);
                return Enter(MoveStage.EmptyTunnel, now);
            default:
                return End(MoveOutcome.RollbackIncomplete, now, why);
        }
    }

    // Undo only what may have been done, newest first.
    private IReadOnlyList<MoveCommand> Backwards(long now)
    {
        Failure ??= $"{Word(Stage)} failed";
        if (Stage == MoveStage.NotStarted) return End(MoveOutcome.RolledBack, now);
        if (_pauseSent) return Enter(MoveStage.ReturnServer, now);
        if (_sourcePrepareSent || _switchSent) return Enter(MoveStage.AbortSource, now);
        return Enter(MoveStage.AbortTarget, now);
    }

    private IReadOnlyList<MoveCommand> End(MoveOutcome outcome, long now, string? error = null)
    {
        EndStage(now, error);
        Stage = MoveStage.Ended;
        Outcome = outcome;
        return [];
    }

    private void EndStage(long now, string? error)
    {
        if (Stage is not (MoveStage.NotStarted or MoveStage.Ended) && (_timeline.Count == 0 || _timeline[^1].StartNs != _stageStart || _timeline[^1].Name != Word(Stage)))
            _timeline.Add(new StageRecord(Word(Stage), _stageStart, now, error));
        _lastNote = null;
    }

    private void Note(string what) => _lastNote = what;

    private static string Word(Enum value) => JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());
}
