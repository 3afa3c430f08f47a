using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>
/// All parties of one run, the wires between them, the faults, and who watches:
/// <list type="number">
/// <item>a message is carried by <see cref="Ask"/>: lost, delayed, doubled, out of order, until <see cref="Calm"/>;</item>
/// <item>with a message somebody may be killed, or a manager stand still while another one takes over;</item>
/// <item>each change of a guest, of a right to run on disk and of the journal is checked when it happens;</item>
/// <item>when all faults are over, everything must come to its end, and then <see cref="CheckEnd"/> finds all as it should be.</item>
/// </list>
/// </summary>
internal sealed class HandoverWorld
{
    public const string Vrf = "blue", Group = "shop";

    private const long Ms = 1_000_000, Second = 1_000 * Ms;

    /// <summary>When faults end, and the longest time after that for all to come to its end: every bound of every stage, several
    /// times.</summary>
    private const long CalmAt = 40 * Second, EndBy = CalmAt + (600 * Second);

    private readonly HashSet<(string Server, string Site, long Epoch)> _granted = [];
    private readonly List<ManagerParty> _managers = [];
    private readonly bool _tracing;
    private readonly int _loss, _double, _late, _fault, _failing, _pairs, _wanted;
    private readonly bool _oneByOne, _undoable;
    private readonly MoveOptions _options;
    private readonly string[] _servers;
    private int _asked, _ended, _aborts;
    private long _doneAt = long.MaxValue;

    public HandoverWorld(ulong seed, Mutant mutant, bool tracing)
    {
        Sim = new SimWorld(seed);
        (Mutant, _tracing) = (mutant, tracing);
        (_loss, _double, _late) = Sim.Next(5) switch { 0 => (0, 0, 0), 1 => (20, 20, 20), 2 => (60, 60, 60), 3 => (0, 100, 150), _
            => (20, 150, 300) };
        _fault = Sim.Next(3) switch { 0 => 2, 1 => 10, _ => 30 };
        _failing = Sim.Next(3) switch { 0 => 0, 1 => 1, _ => 4 };
        _servers = [.. Enumerable.Range(1, 1 + Sim.Next(3)).Select(i => "s" + i.ToString(CultureInfo.InvariantCulture))];
        _pairs = Math.Min(_servers.Length, 1 + Sim.Next(2));
        _oneByOne = Sim.Chance(300);
        _undoable = !Sim.Chance(200);
        _wanted = 1 + Sim.Next(3);
        _options = new MoveOptions(QuietMs: 50, StepMs: Sim.Chance(500) ? 2_000 : 15_000, StopMs: Sim.Chance(500) ? 3_000 : 30_000,
            MirrorMs: 30_000, HoldDrainMs: 500);
        foreach (string site in new[] { "a", "b" })
        {
            Hosts["host-" + site] = new HostParty(this, site, _servers, site == "a", _undoable);
            for (int pair = 1; pair <= _pairs; pair++) Pes[$"pe-{site}{pair}"] = new PeParty(this, $"pe-{site}{pair}", site);
        }

        for (int pair = 1; pair <= _pairs; pair++)
            (Pes[$"pe-a{pair}"].Peer, Pes[$"pe-b{pair}"].Peer) = (Pes[$"pe-b{pair}"], Pes[$"pe-a{pair}"]);
        Journal = new JournalStore(this);
        StartManager();
        Sim.In(10 * Ms, AskForMove);
        Sim.At(CalmAt, CalmDown);
    }

    public SimWorld Sim { get; }

    public Mutant Mutant { get; }

    public JournalStore Journal { get; }

    public Dictionary<string, HostParty> Hosts { get; } = new(StringComparer.Ordinal);

    public Dictionary<string, PeParty> Pes { get; } = new(StringComparer.Ordinal);

    /// <summary>True when no more faults happen.</summary>
    public bool Calm { get; private set; }

    /// <summary>What was wrong, first thing first; null: nothing.</summary>
    public string? Wrong { get; private set; }

    public List<string> Trace { get; } = [];

    public List<MigrationOutcome> Outcomes { get; } = [];

    private Party[] All => [.. Hosts.Values, .. Pes.Values];

    /// <summary>Lets the run go to its end.</summary>
    public void Run()
    {
        try
        {
            while (Wrong is null && Sim.Step(Math.Min(EndBy, _doneAt)))
            {
                if (Sim.Events > 300_000) Fail("it goes round in circles");
            }

            if (Wrong is not null) return;
            if (_doneAt == long.MaxValue) Fail($"it does not end: {Stuck()}");
            else CheckEnd();
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException or KeyNotFoundException)
        {
            Fail($"a party made a mistake: {e.GetType().Name}: {e.Message} {(_tracing ? e.StackTrace : "")}");
        }
    }

    /// <summary>Notes something for the trace.</summary>
    public void Log(string who, string what)
    {
        if (_tracing) Trace.Add($"{Sim.Now / 1e9,10:0.0000} {who,-8} {what}");
    }

    /// <summary>Something is wrong. The first such thing counts.</summary>
    public void Fail(string what)
    {
        Log("WRONG", what);
        Wrong ??= what;
    }

    /// <summary>True in so many of a thousand cases of a run in which disks and drivers fail at times; never when it is calm.</summary>
    public bool Fails(int perMille) => !Calm && _failing > 0 && Sim.Chance(perMille * _failing / 2);

    /// <summary>True when a connection breaks while an answer is waited for: the question may come all the same, late.</summary>
    public bool BreaksOff() => !Calm && Sim.Chance(_late);

    /// <summary>
    /// Asks a party. It may get the question twice, late, or never; so may the asker the answer. To a process that is down nothing comes.
    /// </summary>
    public void Ask<T>(Party party, string? who, string what, Action<Action<T>> handle, Action<T> answer)
    {
        if (who is not null) Log(who, $"asks {party.Name}: {what}");
        MaybeFault();
        Carry(() =>
        {
            if (party.Up) handle(reply => Carry(() => answer(reply)));
        });
    }

    /// <summary>True when an ingress PE takes the direct path to what a PE advertises.</summary>
    public bool IsDirect(PeParty target, string prefix) => target.Up && target.Has(IpPrefix.Parse(prefix));

    /// <summary>A guest was started, paused or killed.</summary>
    public void GuestChanged(string server)
    {
        string[] runs = [.. Hosts.Values.Where(h => h.Cells[server].Guest == ServerState.Running).Select(h => h.Name)];
        if (runs.Length > 1) Fail($"dual-active: {server} runs at {string.Join(" and ", runs)}");
    }

    /// <summary>A host's record was written.</summary>
    public void RightChanged(string server)
    {
        string[] may = [.. Hosts.Values.Where(h => h.Cells[server].Disk.MayRun is not null).Select(h => h.Name)];
        if (may.Length > 1) Fail($"two rights: {server} may run at {string.Join(" and ", may)}");
    }

    /// <summary>A guest is started or goes on: the journal must have the grant, on disk.</summary>
    public void MustBeGranted(string server, string site, long epoch)
    {
        if (!_granted.Contains((server, site,
            epoch))) Fail($"{server} is to run at site {site} under epoch {epoch}, which was not granted on record");
    }

    /// <summary>A PE lets packets go to its port: the servers behind it must run there.</summary>
    public void Released(string path, string site)
    {
        MoveState? move = Journal.Records.Count == 0 ? null
            : Journal.Records[^1].After.Migrations.Values.SelectMany(m => m.Moves).FirstOrDefault(m => m.Plan.Paths.Any(p => p.Id == path));
        if (move is null) return;
        foreach (ServerMove server in move.Plan.Servers)
        {
            if (Hosts["host-" + site].Cells[server.Name].Guest != ServerState.Running)
                Fail($"packets go to {server.Name} at site {site}, where it does not run");
        }
    }

    /// <summary>A record is on disk.</summary>
    public void OnRecord(ManagerParty manager, JournalItem item, ManagerState before)
    {
        ManagerState after = item.After;
        foreach ((string server, Ownership owner) in after.GroupOf(Group).Owners)
        {
            // An epoch is one site's for ever: what is late, and of that epoch, then says whose order it is.
            if (_granted.Contains((server, owner.Site == "a" ? "b" : "a", owner.Epoch)))
                Fail($"two grants: epoch {owner.Epoch} of {server} was granted to site {owner.Site}, and to the other one before");
            _granted.Add((server, owner.Site, owner.Epoch));
        }

        foreach (MigrationState migration in after.Migrations.Values)
        {
            MigrationState? was = before.Migrations.GetValueOrDefault(migration.Id);
            if (ReferenceEquals(was, migration)) continue;
            MoveState move = migration.Current;
            if (_tracing) Log("journal",
                $"{manager.Name} {Describe(item.Input)}: {migration.Id} move {migration.Moves.Count} {move.Stage} epoch "
                    + $"{move.Epoch}{(move.TargetOwns ? " (target's)" : "")} {migration.Outcome}");
            if (was is null || was.Moves.Count != migration.Moves.Count || was.Current.Stage != move.Stage) MaybeAbort(migration.Id,
                move.Stage);
            for (int i = 0; i < migration.Moves.Count; i++)
            {
                if (migration.Moves[i].Outcome is { } ended && (was is null || i >= was.Moves.Count
                    || was.Moves[i].Outcome is null)) CheckMove(migration.Moves[i], ended);
            }

            if (migration.Outcome is not { } outcome || was is { Outcome: not null }) continue;
            Outcomes.Add(outcome);
            if (outcome == MigrationOutcome.Fenced) Fail($"{migration.Id} ended fenced off, and there is one journal");
            CheckAllOrNone(migration.Id);
            _ended++;
            if (_ended < _wanted) Sim.In(Sim.Between(1 * Ms, 2 * Second), AskForMove);
            else _doneAt = Math.Max(Sim.Now + (50 * Second), CalmAt + Second);
        }
    }

    private static string Describe(ManagerInput input) => input switch
    {
        MoveHappened { Input: StageExpired e } => $"stage-expired {e.Stage}",
        MoveHappened { Input: SignalDone d } => $"done {d.Key}",
        MoveHappened { Input: OrderDone d } => $"done {d.Key} {d.Reply.Verdict}",
        MoveHappened { Input: Seen s } => $"seen {s.Key}",
        MoveHappened { Input: Refused r } => $"refused {r.Key}: {r.Detail}",
        MoveHappened m => m.Input.GetType().Name,
        _ => input.GetType().Name,
    };

    private void Carry(Action arrive)
    {
        if (Calm)
        {
            Sim.In(Sim.Between(1 * Ms, 10 * Ms), arrive);
            return;
        }

        int copies = Sim.Chance(_loss) ? 0 : Sim.Chance(_double) ? 2 : 1;
        for (int i = 0; i < copies; i++) Sim.In(Sim.Chance(_late) ? Sim.Between(50 * Ms, Sim.Chance(500) ? 2 * Second : 40 * Second)
            : Sim.Between(1 * Ms, 25 * Ms), arrive);
    }

    private void MaybeFault()
    {
        if (Calm || !Sim.Chance(_fault)) return;
        Party[] all = All;
        switch (Sim.Next(5))
        {
            case 0:
                Kill(Hosts.Values.ElementAt(Sim.Next(Hosts.Count)));
                break;
            case 1:
                Kill(Pes.Values.ElementAt(Sim.Next(Pes.Count)));
                break;
            case 2:
                Kill(all[Sim.Next(all.Length)]);
                break;
            case 3:
                // Not in the middle of what it does: what was decided is carried on with, or is lost.
                if (Manager() is { } killed) Sim.In(Sim.Between(0, 20 * Ms), killed.Crash);
                Sim.In(Sim.Between(30 * Ms, 3 * Second), StartManager);
                break;
            default:
                if (Manager() is { } paused)
                {
                    Sim.In(Sim.Between(0, 20 * Ms), paused.Pause);
                    Sim.In(Sim.Between(50 * Ms, 10 * Second), paused.Wake);
                }

                Sim.In(Sim.Between(30 * Ms, 3 * Second), StartManager);
                break;
        }
    }

    private void Kill(Party party)
    {
        Sim.In(Sim.Between(0, 20 * Ms), party.Crash);
        Sim.In(Sim.Between(30 * Ms, Sim.Chance(800) ? 1 * Second : 10 * Second), party.Start);
    }

    private void MaybeAbort(string migration, MoveStage stage)
    {
        if (Calm || _aborts > 2 || !Sim.Chance(stage is MoveStage.Activate or MoveStage.Stop ? 200 : 15)) return;
        Sim.In(Sim.Between(0, 60 * Ms), () =>
        {
            if (Manager() is not { } manager) return;
            _aborts++;
            Log("operator", $"aborts {migration}");
            manager.Post(_ => new MoveHappened(migration, new AbortRequested("operator", "aborted")));
        });
    }

    private ManagerParty? Manager() => _managers.LastOrDefault(m => m is { Up: true, Paused: false });

    private void StartManager()
    {
        if (Manager() is null) StartAnother();
    }

    private void StartAnother()
    {
        var manager = new ManagerParty(this, $"mms-{_managers.Count + 1}");
        Log(manager.Name, $"takes the journal up at {Journal.Records.Count}");
        _managers.Add(manager);
    }

    private void CalmDown()
    {
        Calm = true;
        Log("world", "all faults are over");
        foreach (ManagerParty manager in _managers.ToArray()) manager.Wake();
        foreach (Party party in All) party.Start();
        Watchdog();
    }

    // Whoever was still to be killed was; a manager that gave way to one that was killed later is replaced. The newest one counts: an older
    // one that stood still while others wrote may know of nothing that is open, append nothing, and so never find out that it is behind.
    private void Watchdog()
    {
        if (_managers[^1] is not { Up: true, Paused: false }) StartAnother();
        foreach (ManagerParty manager in _managers.ToArray()) manager.Wake();
        foreach (Party party in All) party.Start();
        if (Sim.Now < CalmAt + (20 * Second)) Sim.In(Second, Watchdog);
    }

    // Asks for the next migration until it is on record.
    private void AskForMove()
    {
        ManagerState known = Journal.Records.Count == 0 ? ManagerState.Empty : Journal.Records[^1].After;
        if (known.Migrations.Count > _asked)
        {
            _asked = known.Migrations.Count;
            return;
        }

        Manager()?.Post(state =>
        {
            if (state.Migrations.Count > _asked || state.RunningOf(Group) is not null) return null;
            string from = state.GroupOf(Group).Owners.GetValueOrDefault(_servers[0])?.Site ?? "a", to = from == "a" ? "b" : "a";
            string id = ManagerMachine.IdOf(state.NextMigration);
            MovePlan[] moves = _oneByOne ? [.. _servers.Select((s, i) => Plan(id, from, to, [s], i, state))] : [Plan(id, from, to,
                _servers, 0, state)];
            return new MigrationRequested(id, new MigrationRequest(Group, to, _oneByOne ? Cutover.OneByOne : Cutover.Together), moves,
                "operator");
        });
        Sim.In(Second, AskForMove);
    }

    private MovePlan Plan(string id, string from, string to, string[] servers, int number, ManagerState state)
    {
        uint key = state.NextKey + ((uint)number * 8);
        IGrouping<int, string>[] byPair = [.. servers.GroupBy(s => Array.IndexOf(_servers, s) % _pairs)];
        return new MovePlan(id, 0, from, to, [.. servers.Select(s => new ServerMove(s, "host-" + from, "host-" + to, _undoable))],
            [
                .. byPair.Select((pair, i) => new PathMove(
                    number == 0 ? $"{id}.{i + 1}" : $"{id}.{number + 1}{i + 1}", Vrf, End(from, pair), End(to, pair), ["pe-i"],
                    key + (uint)i, 200 + (100 * (uint)state.NextMigration))),
            ], _options, Ahead: true);
    }

    private PathEnd End(string site, IGrouping<int, string> pair)
    {
        string loopback = $"10.255.{(site == "a" ? 1 : 2)}.{pair.Key + 1}";
        return new PathEnd($"pe-{site}{pair.Key + 1}", loopback, [loopback],
            [.. pair.Select(s => new MovingPrefix(PrefixOf(s).ToString(), "eth1"))]);
    }

    private IpPrefix PrefixOf(string server) => IpPrefix.Parse($"10.1.1.{Array.IndexOf(_servers, server) + 1}/32");

    // Status is never greener than its evidence.
    private void CheckMove(MoveState move, MoveOutcome outcome)
    {
        if (outcome == MoveOutcome.Fenced) return;
        string site = outcome == MoveOutcome.Moved ? move.Plan.To : move.Plan.From, other = outcome == MoveOutcome.Moved
            ? move.Plan.From : move.Plan.To;
        foreach (ServerMove server in move.Plan.Servers)
        {
            ServerCell here = Hosts["host-" + site].Cells[server.Name], there = Hosts["host-" + other].Cells[server.Name];
            string what = $"{move.Plan.Migration} ended {outcome}, and";
            if (here.Guest != ServerState.Running) Fail($"{what} {server.Name} is {here.Guest} at site {site}");
            if (there.Guest != ServerState.Absent) Fail($"{what} {server.Name} is {there.Guest} at site {other}");
            bool everybody = outcome == MoveOutcome.Moved || move.SourcesAsked;
            if (everybody && here.Machine.Record.MayRun != move.Epoch)
                Fail($"{what} {server.Name} may run at site {site} under {here.Machine.Record.MayRun}, not {move.Epoch}");
            if (there.Disk.MayRun is { } two) Fail($"{what} {server.Name} may run at site {other}, too, under {two}");
            if (there.Machine.Record.Epoch < move.Epoch)
                Fail($"{what} the host of site {other} never heard of epoch {move.Epoch} of {server.Name}");
            if (everybody && here.Machine.Record.Epoch < move.Epoch)
                Fail($"{what} the host of site {site} never heard of epoch {move.Epoch} of {server.Name}");
        }

        foreach (PathMove path in move.Plan.Paths)
        {
            PathEnd[] ends = outcome == MoveOutcome.AsBefore && !move.SourcesAsked ? [path.Target] : [path.Source, path.Target];
            foreach (PathEnd end in ends)
            {
                foreach (MovingPrefix moving in end.Prefixes.Where(p => Pes[end.Pe].EpochOf(IpPrefix.Parse(p.Prefix)) < move.Epoch
                    && outcome == MoveOutcome.AsBefore))
                    Fail($"{move.Plan.Migration} ended {outcome}, and {end.Pe} never heard of epoch {move.Epoch} of {moving.Prefix}");
                foreach (string left in Pes[end.Pe].LeftOver(path.Id))
                    Fail($"{move.Plan.Migration} ended {outcome}, and {end.Pe} still has {left}");
            }
        }
    }

    private void CheckAllOrNone(string migration)
    {
        string[] sites = [.. Hosts.Values.Where(h => _servers.Any(s => h.Cells[s].Guest == ServerState.Running)).Select(h => h.Name)];
        if (sites.Length != 1)
            Fail($"{migration} has ended, and the group runs at {(sites.Length == 0 ? "no site" : string.Join(" and ", sites))}");
    }

    private string Stuck()
    {
        ManagerState state = Journal.Records.Count == 0 ? ManagerState.Empty : Journal.Records[^1].After;
        MigrationState? open = state.RunningOf(Group);
        return open is null ? "nothing runs"
            : $"{open.Id} is in {open.Current.Stage} of move {open.Moves.Count}; {Manager()?.Name} has open: {Manager()?.Open}";
    }

    // Everything is over, and so is every message.
    private void CheckEnd()
    {
        foreach (string server in _servers)
        {
            ServerCell[] runs = [.. Hosts.Values.Select(h => h.Cells[server]).Where(c => c.Guest == ServerState.Running)];
            if (runs.Length != 1)
            {
                Fail($"{server} runs at {runs.Length} sites");
                continue;
            }

            ServerCell here = runs[0];
            ServerCell there = Hosts["host-" + (here.Site == "a" ? "b" : "a")].Cells[server];
            if (there.Guest != ServerState.Absent
                || there.Disk.MayRun is not null) Fail($"{server} is {there.Guest} at site {there.Site}, may run {there.Disk.MayRun}");
            if (Journal.Records[^1].After.GroupOf(Group).Owners.TryGetValue(server, out Ownership? owner) && (owner.Site != here.Site
                || (here.Disk.MayRun != owner.Epoch && here.Disk.Epoch >= owner.Epoch)))
                Fail($"{server} runs at site {here.Site} under {here.Disk.MayRun}, and the journal says site {owner.Site} under "
                    + $"{owner.Epoch}");
            foreach (PeParty pe in Pes.Values.Where(p => p.Name.EndsWith(((Array.IndexOf(_servers,
                server) % _pairs) + 1).ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal)))
            {
                bool right = pe.Name[3] == here.Site[0];
                if (pe.Has(PrefixOf(server)) != right)
                    Fail($"{pe.Name} {(right ? "does not offer" : "offers")} {server}, which runs at site {here.Site}");
                if (!pe.RefusesOlder("m1.1", PrefixOf(server), SignalKind.Prepare) || !pe.RefusesOlder("m99", PrefixOf(server),
                    SignalKind.Prepare))
                    Fail($"{pe.Name} takes a signal of an older epoch of {server}");
            }

            foreach (HostParty host in Hosts.Values)
            {
                if (host.Cells[server].Disk.Epoch < 2) continue;
                foreach (ServerOrder order in new[] { ServerOrder.Stop, ServerOrder.Activate, ServerOrder.Resume, ServerOrder.Retire })
                {
                    if (!host.RefusesOlder(server, order)) Fail($"{host.Name} takes {order} of an older epoch of {server}");
                }
            }
        }

        foreach (PeParty pe in Pes.Values)
        {
            foreach (string left in pe.LeftOver("m"))
                Fail($"{pe.Name} still has {left}");
        }
    }
}
