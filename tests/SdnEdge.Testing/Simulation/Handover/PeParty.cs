using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;

namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>
/// A PE: its migration machine as it ships (<see cref="PeMigrationFsm"/>), its disk, and its tables as far as migrations change them. The
/// order of keeping, carrying out and answering is that of the PE's MigrationRunner.
/// </summary>
internal sealed partial class PeParty(HandoverWorld world, string name, string site) : Party(world, name)
{
    private readonly Dictionary<string, Work> _underway = new(StringComparer.Ordinal);
    private readonly List<(PeSignal Signal, long Patience, Action<Answer<SignalReply>> Answer)> _waiting = [], _early = [];
    private readonly List<(PeSnapshot Snapshot, long Version)> _writing = [];
    private readonly Dictionary<IpPrefix, bool> _here = [];
    private PeMigrationFsm _machine = new();
    private PeSnapshot? _disk;
    private long _kept, _diskFree;

    /// <summary>The PE at the other site.</summary>
    public PeParty Peer { get; set; } = null!;

    /// <summary>Its tunnels of migrations.</summary>
    public HashSet<string> Tunnels { get; } = new(StringComparer.Ordinal);

    /// <summary>Its redirect groups, and what each does with packets.</summary>
    public Dictionary<string, string> Groups { get; } = new(StringComparer.Ordinal);

    /// <summary>Whether its own route to a prefix is in use and advertised.</summary>
    public bool Has(IpPrefix prefix) => _here.TryGetValue(prefix, out bool here) ? here : site == "a";

    /// <summary>The highest epoch that it has seen for a prefix.</summary>
    public long EpochOf(IpPrefix prefix) => _machine.EpochOf(HandoverWorld.Vrf, prefix);

    /// <summary>The migrations that it knows.</summary>
    public IEnumerable<string> Migrations => _machine.Migrations.Select(m => m.Id);

    /// <summary>What is left of migrations, for people.</summary>
    public IEnumerable<string> LeftOver(string prefix) =>
    [
        .. Tunnels.Where(t => t.StartsWith("mig-" + prefix, StringComparison.Ordinal)),
        .. Groups.Keys.Where(g => g.StartsWith(prefix, StringComparison.Ordinal)),
        .. _machine.Migrations.Where(m => m.Id.StartsWith(prefix, StringComparison.Ordinal) && !m.IsOver).Select(m => $"{m.Id} {m.State}"),
    ];

    /// <summary>What it says of a migration; null: it does not know it.</summary>
    public MigrationInfo? Info(string id)
    {
        if (_machine.Find(id) is not { } m) return null;
        string? group = Groups.GetValueOrDefault(m.Group);
        HoldInfo? hold = group is "hold" or "draining" or "released" ? new HoldInfo(group, 3, group == "draining" ? 3 : 0, 0, 0, 0, 0,
            0, 0, 0) : null;
        return new MigrationInfo(id, m.Role, m.State, m.Epoch, m.Vrf, [], m.Peer.ToString(), m.Tunnel, m.TunnelUp, hold,
            group is null ? null : new RedirectGroupInfo(
                m.Group, m.Vrf, 1, group, 0, _armed.GetValueOrDefault(m.Group)?.TunnelPackets ?? 0, 0, null),
            OrderOf(m.Group));
    }

    /// <summary>A signal comes in.</summary>
    public void Signal(string id, SignalKind kind, SignalRequest request, Action<Answer<SignalReply>> answer)
    {
        PeSignal? signal = PeSignal.TryParse(id, kind, request, out IReadOnlyList<ProblemError> errors);
        if (signal is null) World.Fail($"{Name}: {kind} of {id} is no good: {string.Join("; ", errors)}");
        else Take(signal, World.Sim.Now + (signal.WaitMs * 1_000_000L), answer);
    }

    /// <summary>True when a signal of an older epoch changes nothing here.</summary>
    public bool RefusesOlder(string id, IpPrefix prefix, SignalKind kind)
    {
        long epoch = EpochOf(prefix) - 1;
        if (epoch < 1) return true;
        var moving = new[] { new MovingPrefix(prefix.ToString(), "eth1") };
        PeSignal signal = PeSignal.TryParse(id, kind, kind == SignalKind.Prepare
            ? new SignalRequest(epoch, MigrationRole.Source, HandoverWorld.Vrf, moving, "10.255.0.9", 77) : new SignalRequest(epoch),
                out _)!;
        PeStep step = _machine.Signal(AsTaken(signal), PeFacts.None, Now);
        return step.Commands.Count == 0 && (step.Refusal is not null || step.Repeated);
    }

    protected override void OnCrash()
    {
        int written = _writing.Count == 0 ? 0 : World.Sim.Next(_writing.Count + 1);
        if (written > 0) _disk = _writing[written - 1].Snapshot;
        _writing.Clear();
        _underway.Clear();
        _waiting.Clear();
        _early.Clear();
        LosePackets();
        Tunnels.Clear();
        Groups.Clear();
    }

    protected override void OnStart()
    {
        _here.Clear();
        _diskFree = 0;
        In(World.Sim.Between(10_000_000, 100_000_000), () => Learn(World.Prefixes));
        _machine = _disk is null ? new PeMigrationFsm() : PeMigrationFsm.Restore(_disk, out _);
        _kept = _machine.Version;
        if (_disk is null) return;
        _machine = PeMigrationFsm.Restore(_disk, out IReadOnlyList<Restoration> toDo);
        foreach (Restoration part in toDo)
        {
            foreach (PeCommand command in part.Commands) Carry(command, part.Id, restored: true);
        }

        World.Told(this, World.Prefixes);
    }

    private void Take(PeSignal signal, long patience, Action<Answer<SignalReply>> answer)
    {
        (string id, SignalKind kind) = (signal.Id, signal.Kind);
        signal = AsTaken(signal);
        if (_underway.TryGetValue(id, out Work? before)
            && !(before is { Kind: SignalKind.Prepare, IsEnding: false } && kind is SignalKind.Prepare or SignalKind.Abort))
        {
            _waiting.Add((signal, patience, answer));
            return;
        }

        if (World.Mutant == Mutant.TeardownThoughHolding && kind == SignalKind.Teardown) _machine.Result(id, new HoldDrained(), Now);
        PeStep step = _machine.Signal(signal, Facts(signal), Now);
        if (step.Refusal is { } early && World.Sim.Now < patience && IsOnlyEarly(signal, early))
        {
            // Taken again when something changes, and in a while in any case.
            if (_early.Count == 0) In(signal.AfterServers ? 5_000_000 : 100_000_000, Retry);
            _early.Add((signal, patience, answer));
            return;
        }

        if (step.Refusal is { } no)
        {
            World.Log(Name, $"refuses {kind} {id} of epoch {signal.Epoch}: {no.Reason}");
            Kept(answer, new(null, new Problem(no.Type, "", 409, no.Detail)));
            return;
        }

        if (step is { Repeated: true, Earlier: { } earlier })
        {
            (PeMigrationState state, long epoch) = step.Migration is { } m ? (m.State, m.Epoch) : (earlier.State, earlier.Epoch);
            Kept(answer, new(earlier with { Repeated = true, State = state, Epoch = epoch }));
            return;
        }

        if (step.Underway)
        {
            before!.Answers.Add(answer);
            return;
        }

        if (_underway.Remove(id, out Work? prepare)) prepare.Answer(new(null, new Problem("/problems/conflict", "", 409,
            "given up by an abort")));
        var work = new Work(id, kind, step);
        work.Answers.Add(answer);
        _underway.Add(id, work);
        World.Log(Name, $"takes {kind} {id} of epoch {signal.Epoch}");
        if (World.Mutant == Mutant.AcceptedIsDone && kind != SignalKind.Prepare)
        {
            // The answer goes out, and what was accepted is carried out unless something comes between.
            SignalReply accepted = Done(work);
            if (!World.Fails(100)) foreach (PeCommand command in step.Commands) Carry(command, id);
            Keep(_ => End(work, new(accepted)));
        }
        else if (kind == SignalKind.Prepare) BeginPrepare(work);
        else Keep(why => Execute(work, why));
    }

    // As in MigrationRunner: what only time is missing for.
    private bool IsOnlyEarly(PeSignal signal, PeRefusal refusal) => refusal.Reason switch
    {
        PeRefusalReason.TunnelNotUp or PeRefusalReason.HoldNotDrained or PeRefusalReason.NoOtherRoute or PeRefusalReason.MarkersMissing
            or PeRefusalReason.ServersSilent => true,
        PeRefusalReason.WrongState => _machine.Find(signal.Id) is { } m && PeTransitions.MayCome(m.Role, m.State, signal.Kind),
        _ => false,
    };

    private void Retry()
    {
        (PeSignal Signal, long Patience, Action<Answer<SignalReply>> Answer)[] again = [.. _early];
        _early.Clear();
        foreach ((PeSignal signal, long patience, Action<Answer<SignalReply>> answer) in again) Take(signal, patience, answer);
    }

    private PeSignal AsTaken(PeSignal signal)
    {
        if (World.Mutant != Mutant.PeTakesLowerEpoch) return signal;
        IEnumerable<MovedPrefix> prefixes = signal.Prefixes ?? _machine.Find(signal.Id)?.Prefixes ?? PrefixSet.Empty;
        return signal with { Epoch = prefixes.Select(p => EpochOf(p.Prefix)).Append(signal.Epoch).Max() };
    }

    private PeFacts Facts(PeSignal signal)
    {
        if (signal.AfterMarkers && World.Mutant != Mutant.MarkersUnseen && _machine.Find(signal.Id) is { } known
            && UnderWay(known, signal.Kind) is { } underWay) return new PeFacts(UnderWay: underWay);
        if (signal.AfterServers && World.Mutant != Mutant.ServersUnseen && _machine.Find(signal.Id) is { } held
            && World.SilentAt(site, held.Prefixes.Select(p => p.Prefix)) is { } silent) return new PeFacts(Silent: silent);
        if (signal.Kind != SignalKind.Teardown || _machine.Find(signal.Id) is not { Role: MigrationRole.Source,
            Finished: false } migration || World.Mutant == Mutant.TeardownWithoutRoute) return PeFacts.None;
        foreach (MovedPrefix moved in migration.Prefixes)
        {
            if (!_learned.ContainsKey(moved.Prefix)) return new PeFacts(Unrouted: moved.Prefix);
        }

        return PeFacts.None;
    }

    private string? UnderWay(PeMigration migration, SignalKind kind) => kind == SignalKind.Withdraw
        ? MigrationConditions.WhyNotPassed(OrderOf(migration.Group)) : Info(migration.Id)!.WhyNotSettled();

    private void Execute(Work work, string? notKept)
    {
        if (notKept is not null)
        {
            _machine.Result(work.Id, new ExecutionFailed(work.Kind, Begun: false), Now);
            End(work, new(null, new Problem("/problems/state-not-durable", "", 503, notKept)));
            return;
        }

        bool fails = World.Fails(20);
        IReadOnlyList<PeCommand> commands = work.Step.Commands;
        int until = fails ? World.Sim.Next(commands.Count + 1) : commands.Count;
        for (int i = 0; i < until; i++) Carry(commands[i], work.Id);
        if (!fails)
        {
            End(work, new(Done(work)));
            return;
        }

        World.Log(Name, $"{work.Kind} {work.Id} fails after {until} of {commands.Count} commands");
        if (until > 1 && work is { Kind: SignalKind.Teardown, Step.Migration: { Role: MigrationRole.Source } torn })
            World.FlushedTwice([.. torn.Prefixes.Select(p => p.Prefix)]);
        _machine.Result(work.Id, new ExecutionFailed(work.Kind), Now);
        Keep(_ => End(work, new(null, new Problem("/problems/internal", "", 500, "not carried out to its end"))));
    }

    private SignalReply Done(Work work)
    {
        PeMigration after = work.Step.Migration!;
        long epoch = Math.Max(after.Epoch, _machine.Find(work.Id)?.Epoch ?? 0);
        var reply = new SignalReply(
            work.Id, work.Kind, after.State, epoch, Repeated: false, Now, Now,
            Order: work.Kind == SignalKind.Teardown ? OrderOf(after.Group) : null);
        _machine.Result(work.Id, new Executed(work.Kind, reply), Now);
        return reply;
    }

    private void BeginPrepare(Work work)
    {
        foreach (PeCommand command in work.Step.Commands) Carry(command, work.Id);
        In(8_000_000_000, () =>
        {
            if (_underway.GetValueOrDefault(work.Id) == work && !work.IsReady) Undo(work, new Problem("/problems/timeout", "", 504,
                "prepare was undone"));
        });
        if (World.Fails(20)) Undo(work, new Problem("/problems/internal", "", 500, "prepare failed and was undone"));
        else TryFinish(work.Id);
    }

    private void TryFinish(string id)
    {
        if (!_underway.TryGetValue(id, out Work? work) || work.Kind != SignalKind.Prepare || work.IsReady || work.IsEnding) return;
        PeMigration migration = _machine.Find(id)!;
        if (migration.Role == MigrationRole.Source && !migration.TunnelUp) return;
        work.IsReady = true;
        _machine.Result(id, new PartsReady(), Now);
        Keep(why =>
        {
            if (_underway.GetValueOrDefault(id) != work) return;
            if (why is null) End(work, new(Done(work)));
            else Undo(work, new Problem("/problems/state-not-durable", "", 503, why));
        });
    }

    private void Undo(Work work, Problem why)
    {
        work.IsEnding = true;
        foreach (PeCommand command in _machine.Result(work.Id, new ExecutionFailed(SignalKind.Prepare), Now).Commands) Carry(command,
            work.Id);
        Keep(_ => End(work, new(null, why)));
    }

    private void End(Work work, Answer<SignalReply> answer)
    {
        if (_underway.GetValueOrDefault(work.Id) == work) _underway.Remove(work.Id);
        World.Log(Name, $"answers {work.Kind} {work.Id}: {answer.Value?.State.ToString() ?? answer.Problem!.Type}");
        work.Answer(answer);
        (PeSignal Signal, long Patience, Action<Answer<SignalReply>> Answer)[] next = [.. _waiting.Where(w => w.Signal.Id == work.Id)];
        _waiting.RemoveAll(w => w.Signal.Id == work.Id);
        foreach ((PeSignal signal, long patience, Action<Answer<SignalReply>> reply) in next) Take(signal, patience, reply);
        Retry();
    }

    // The machine as it is now goes to disk, in order.
    private void Keep(Action<string?> then)
    {
        (PeSnapshot Snapshot, long Version) entry = (_machine.Save(), _machine.Version);
        _writing.Add(entry);
        if (World.Mutant == Mutant.PeNotDurable)
        {
            In(World.Sim.Between(5_000_000, 5_000_000_000), () => Wrote(entry));
            _kept = entry.Version;
            then(null);
            return;
        }

        _diskFree = Math.Max(_diskFree, World.Sim.Now) + SyncTime();
        In(_diskFree - World.Sim.Now, () =>
        {
            if (World.Fails(10))
            {
                _writing.Remove(entry);
                then("the disk");
                return;
            }

            Wrote(entry);
            _kept = Math.Max(_kept, entry.Version);
            then(null);
        });
    }

    private void Wrote((PeSnapshot Snapshot, long Version) entry)
    {
        int at = _writing.IndexOf(entry);
        if (at < 0) return;
        _writing.RemoveRange(0, at + 1);
        _disk = entry.Snapshot;
    }

    private void Kept(Action<Answer<SignalReply>> answer, Answer<SignalReply> what)
    {
        if (_kept == _machine.Version) answer(what);
        else Keep(why => answer(why is null ? what : new(null, new Problem("/problems/state-not-durable", "", 503, why))));
    }

    private void Carry(PeCommand command, string? id, bool restored = false)
    {
        switch (command)
        {
            case CreateTunnel tunnel:
                Tunnels.Add(tunnel.Tunnel);
                In(World.Sim.Between(2_000_000, 30_000_000), () => Probe(tunnel.Tunnel, id!));
                break;
            case RemoveTunnel tunnel:
                Tunnels.Remove(tunnel.Tunnel);
                break;
            case ArmGroup group:
                Groups[group.Group] = "native";
                Arm(group);
                break;
            case ArmHold hold:
                Groups[hold.Group] = hold.Hold.Disabled ? "released" : "hold";
                Arm(hold, restored);
                break;
            case SwitchToTunnel group:
                Groups[group.Group] = "tunnel";
                break;
            case SwitchBack group:
                if (Groups.GetValueOrDefault(group.Group) == "tunnel" && _armed.TryGetValue(group.Group, out ArmedGroup? switched))
                    SwitchedBack(switched, _underway.GetValueOrDefault(group.Group)?.Kind == SignalKind.Teardown);
                Groups[group.Group] = "native";
                break;
            case FlushTunnel flush:
                Flush(flush);
                break;
            case RemoveGroup group:
                Removed(group.Group);
                Groups.Remove(group.Group);
                break;
            case ReleaseHold hold:
                if (!restored) World.Released(id!, site);
                Drain(hold.Group, id!);
                if (_armed.TryGetValue(hold.Group, out ArmedGroup? released) && !released.IsReleased) Released(released);
                break;
            case ReturnHold hold:
                Drain(hold.Group, id!);
                break;
            case AdvertisePrefixes routes:
                foreach (MovedPrefix moved in routes.Prefixes)
                {
                    _here[moved.Prefix] = true;
                    World.Advertised(this, moved.Prefix, new Route(this, routes.LocalPref, routes.Move, routes.Tag));
                }

                World.Told(this, [.. routes.Prefixes.Select(p => p.Prefix)]);
                break;
            case WithdrawPrefixes routes:
                if (!restored) World.Withdraws(this, [.. routes.Prefixes.Select(p => p.Prefix)], id!);
                foreach (MovedPrefix moved in routes.Prefixes) _here[moved.Prefix] = false;
                World.Told(this, [.. routes.Prefixes.Select(p => p.Prefix)]);
                break;
            case RestorePrefixes routes:
                foreach (MovedPrefix moved in routes.Prefixes) _here.Remove(moved.Prefix);
                World.Told(this, [.. routes.Prefixes.Select(p => p.Prefix)]);
                break;
        }
    }

    private void Drain(string group, string id)
    {
        if (Groups.ContainsKey(group)) Groups[group] = "draining";
        In(World.DrainTime(), () => Drained(group, id));
    }

    private void Drained(string group, string id)
    {
        if (_underway.ContainsKey(id))
        {
            In(2_000_000, () => Drained(group, id));
            return;
        }

        if (Groups.ContainsKey(group)) Groups[group] = "released";
        Emptied(group);
        foreach (PeCommand command in _machine.Result(id, new HoldDrained(), Now).Commands) Carry(command, id);
        if (_kept != _machine.Version) Keep(_ => { });
        Retry();
    }

    private void Probe(string tunnel, string id)
    {
        if (!Tunnels.Contains(tunnel)) return;
        if (Peer.Up && Peer.Tunnels.Contains(tunnel))
        {
            _machine.Result(id, new TunnelHealth(true), Now);
            TryFinish(id);
        }
        else In(200_000_000, () => Probe(tunnel, id));
    }

    private sealed class Work(string id, SignalKind kind, PeStep step)
    {
        public string Id { get; } = id;

        public SignalKind Kind { get; } = kind;

        public PeStep Step { get; } = step;

        public List<Action<Answer<SignalReply>>> Answers { get; } = [];

        public bool IsReady { get; set; }

        public bool IsEnding { get; set; }

        public void Answer(Answer<SignalReply> answer)
        {
            foreach (Action<Answer<SignalReply>> one in Answers) one(answer);
            Answers.Clear();
        }
    }
}
