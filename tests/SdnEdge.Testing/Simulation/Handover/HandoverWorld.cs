using System.Collections.Immutable;
using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>A route of a PE to a moving prefix.</summary>
/// <param name="Pe">Whose.</param>
/// <param name="LocalPref">LOCAL_PREF; the highest is the best.</param>
/// <param name="Move">Number of the move: among equal ones the highest is the best.</param>
/// <param name="Tag">Tag of the move; null: no marker is wanted.</param>
internal sealed record Route(PeParty Pe, uint LocalPref, long Move, uint? Tag);

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

    /// <summary>So long the hold of a target is waited for before it advertises; a little less than the plans say: clocks differ.</summary>
    public const long DrainBoundNs = 450 * Ms;


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
    private readonly bool _ordered, _slowDrain;
    private readonly int _markerLoss;

    // The longest way of a packet of a client from one PE to the next, and through the tunnel.
    private readonly long _way, _tunnelWay;
    private readonly Dictionary<string, long> _legs = new(StringComparer.Ordinal);
    private readonly Dictionary<(PeParty Pe, IpPrefix Prefix), Route> _routes = [];
    private readonly HashSet<Packet> _underWay = [];

    // Prefixes whose target has died after its release: its gates are gone, and an advertisement that it had not on disk, too. Ingress PEs
    // may go back to the old path; nothing is lost, and nobody promises order.
    private readonly HashSet<IpPrefix> _unordered = [], _flushedTwice = [];
    private readonly bool _loses;
    private readonly List<int> _copies = [0];
    private bool _lost;
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
        foreach (string site in new[] { "a", "b" })
        {
            Hosts["host-" + site] = new HostParty(this, site, _servers, site == "a", _undoable);
            for (int pair = 1; pair <= _pairs; pair++) Pes[$"pe-{site}{pair}"] = new PeParty(this, $"pe-{site}{pair}", site);
        }

        _ordered = !Sim.Chance(280);
        _markerLoss = Sim.Next(3) switch { 0 => 0, 1 => 100, _ => 500 };
        _slowDrain = Sim.Chance(250);
        _loses = Sim.Chance(300);

        // Where nothing but the quiet time proves that the tunnel is empty, the way through it is shorter than that.
        int quiet = Sim.Chance(500) ? 50 : 200;
        _way = quiet * Ms * 4 / 5;
        _tunnelWay = _ordered && Sim.Chance(500) ? 700 * Ms : _way;
        _options = new MoveOptions(QuietMs: quiet, StepMs: Sim.Chance(500) ? 2_000 : 15_000, StopMs: Sim.Chance(500) ? 3_000 : 30_000,
            MirrorMs: 30_000, HoldDrainMs: 500);
        Prefixes = [.. _servers.Select(PrefixOf)];
        int ingress = 1 + Sim.Next(3);
        for (int i = 1; i <= ingress; i++)
            Ingress[$"pe-i{i}"] = new IngressParty(this, $"pe-i{i}", IpAddress.Parse($"10.255.3.{i}"));
        for (int pair = 1; pair <= _pairs; pair++)
            (Pes[$"pe-a{pair}"].Peer, Pes[$"pe-b{pair}"].Peer) = (Pes[$"pe-b{pair}"], Pes[$"pe-a{pair}"]);
        foreach (PeParty pe in Pes.Values)
        {
            foreach (string server in _servers.Where(s => PairOf(s) == pe.Name[4..]))
                _routes[(pe, PrefixOf(server))] = new Route(pe, 100, 0, null);
        }

        foreach (IngressParty pe in Ingress.Values) pe.Begin();
        foreach (PeParty pe in Pes.Values) pe.Learn(Prefixes);
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

    /// <summary>Ingress PEs.</summary>
    public Dictionary<string, IngressParty> Ingress { get; } = new(StringComparer.Ordinal);

    /// <summary>The moving prefixes.</summary>
    public IReadOnlyList<IpPrefix> Prefixes { get; }

    /// <summary>True when no more faults happen.</summary>
    public bool Calm { get; private set; }

    /// <summary>What was wrong, first thing first; null: nothing.</summary>
    public string? Wrong { get; private set; }

    public List<string> Trace { get; } = [];

    public List<MigrationOutcome> Outcomes { get; } = [];

    private Party[] All => [.. Hosts.Values, .. Pes.Values, .. Ingress.Values];

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

    /// <summary>The best route to a prefix; null: nobody offers it. A PE that is down is gone on with for that time (graceful
    /// restart).</summary>
    public Route? BestOf(IpPrefix prefix) => _routes.Where(r => r.Key.Prefix == prefix && r.Key.Pe.Has(prefix)).Select(r => r.Value)
        .OrderByDescending(r => (r.LocalPref, r.Move)).FirstOrDefault();

    /// <summary>True when a PE offers a prefix.</summary>
    public bool Offers(PeParty pe, IpPrefix prefix) => pe.Has(prefix);

    /// <summary>A PE has a route of its own to advertise.</summary>
    public void Advertised(PeParty pe, IpPrefix prefix, Route route) => _routes[(pe, prefix)] = route;

    /// <summary>A PE's own routes have changed: the others come to know it, each at its time, and of each prefix at its time or of all
    /// together.</summary>
    public void Told(PeParty pe, IReadOnlyList<IpPrefix> prefixes)
    {
        long Late() => Sim.Between(1 * Ms, !Calm && Sim.Chance(_late) ? 3 * Second : 20 * Ms);
        IReadOnlyList<IpPrefix>[] told = Sim.Chance(500) ? [prefixes] : [.. prefixes.Select(p => (IpPrefix[])[p])];
        foreach (IReadOnlyList<IpPrefix> some in told)
        {
            foreach (IngressParty ingress in Ingress.Values) Sim.In(Late(), () => ingress.Follow(some));
            Sim.In(Late(), () => pe.Peer.Learn(some));
        }
    }

    /// <summary>How long a hold takes to send what it has.</summary>
    public long DrainTime() => Sim.Between(1 * Ms, !Calm && _slowDrain && Sim.Chance(300) ? 4 * Second : 40 * Ms);

    /// <summary>
    /// Sends a packet to a PE. On one way nothing overtakes; a packet of a client arrives, a marker may be lost, doubled, or late: never
    /// early, that is what it is for.
    /// </summary>
    public void Send(Packet packet, string from, PeParty to, string? tunnel = null)
    {
        string leg = $"{from}>{to.Name} {tunnel}";
        long at = Math.Max(Sim.Now + Sim.Between(1 * Ms, tunnel is null ? _way : _tunnelWay), _legs.GetValueOrDefault(leg) + 1);
        void Arrive()
        {
            _underWay.Remove(packet);
            if (tunnel is null) to.FromCore(packet);
            else to.FromTunnel(tunnel, packet);
        }

        if (packet.Marker is not null && !Calm)
        {
            if (Sim.Chance(_markerLoss)) return;
            if (Sim.Chance(_double)) Sim.At(at + Sim.Between(1 * Ms, Sim.Chance(500) ? 1 * Second : 40 * Second), Arrive);
            if (Sim.Chance(_late))
            {
                Sim.At(at + Sim.Between(1 * Ms, 2 * Second), Arrive);
                return;
            }
        }

        _legs[leg] = at;
        if (packet.Marker is null)
        {
            packet.Towards = to;
            _underWay.Add(packet);
        }

        Sim.At(at, Arrive);
    }

    /// <summary>A target has died after its release.</summary>
    public void LostGates(IEnumerable<IpPrefix> prefixes) => _unordered.UnionWith(prefixes);

    /// <summary>A target has armed its hold for a new move.</summary>
    public void HasGates(IReadOnlyList<IpPrefix> prefixes)
    {
        _unordered.ExceptWith(prefixes);
        _flushedTwice.ExceptWith(prefixes);
    }

    /// <summary>A source's teardown failed behind its last marker. Should it start again now, it sends into the tunnel again, and another
    /// last marker at its next teardown; the first one may have been taken for the last (docs/plan.md).</summary>
    public void FlushedTwice(IReadOnlyList<IpPrefix> prefixes)
    {
        _unordered.UnionWith(prefixes);
        _flushedTwice.UnionWith(prefixes);
    }

    /// <summary>True when that may have happened to a prefix.</summary>
    public bool MayHaveFlushedTwice(IpPrefix prefix) => _flushedTwice.Contains(prefix);

    /// <summary>A packet is lost: with a process, or where nobody has a route.</summary>
    public void Lost(Packet packet)
    {
        packet.IsOver = true;
        _underWay.Remove(packet);
    }

    /// <summary>A packet goes to the server: behind the one that was sent before it, unless what would keep it back is known to be
    /// gone.</summary>
    public void Delivered(Packet packet, PeParty at, bool excused)
    {
        packet.IsOver = true;
        if (packet is { Marker: null, Before: { IsOver: false, IsOrphan: false } } && !excused && !_unordered.Contains(packet.To))
            Fail($"order: a packet of {packet.From.Name} for {packet.To} is delivered by {at.Name} before one that was sent before it");
    }

    /// <summary>A PE withdraws its routes: every ingress that runs has another way.</summary>
    public void Withdraws(PeParty pe, IReadOnlyList<IpPrefix> prefixes, string id)
    {
        foreach (IngressParty ingress in Ingress.Values.Where(i => i.Up))
        {
            foreach (IpPrefix prefix in prefixes.Where(p => ingress.WayTo(p) == pe && !_unordered.Contains(p)))
                Fail($"{pe.Name} withdraws {prefix} for {id}, and {ingress.Name} still sends there");
        }
    }

    /// <summary>A source takes its redirect away for good: nothing of an ingress PE is on its way to it.</summary>
    public void Leaves(PeParty pe, IReadOnlyList<IpPrefix> prefixes)
    {
        foreach (Packet packet in _underWay.Where(p => p.From is IngressParty && !p.IsOrphan && p.Towards == pe
            && prefixes.Contains(p.To) && !_unordered.Contains(p.To)))
            Fail($"{pe.Name} is torn down, and a packet of {packet.From.Name} for {packet.To} is on its way to it");
    }

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
        if (item.Input is Recovered) _lost = false;
        foreach ((string server, Ownership owner) in after.GroupOf(Group).Owners)
        {
            // An epoch is one site's for ever: what is late, and of that epoch, then says whose order it is. Where epochs are used again
            // that is left to do its harm.
            string other = owner.Site == "a" ? "b" : "a";
            if (Mutant is not (Mutant.MoveReusesEpoch or Mutant.RecoverReusesEpoch) && _granted.Contains((server, other, owner.Epoch)))
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
            if (_ended < _wanted)
            {
                if (_loses && !Calm && Sim.Chance(600)) Sim.In(Sim.Between(0, Second), LoseJournal);
                else _copies.Add(Journal.Records.Count);
                Sim.In(Sim.Between(1 * Ms, 2 * Second), AskForMove);
            }
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

    // Between two migrations the journal is lost, or an old copy of it is put back. Its manager is killed, or stands still and wakes up
    // later; the next one has it recovered.
    private void LoseJournal()
    {
        if (Calm || _lost || Journal.Records[^1].After.RunningOf(Group) is not null) return;
        foreach (ManagerParty manager in _managers.Where(m => m is { Up: true, Paused: false }).ToArray())
        {
            if (Sim.Chance(500)) manager.Crash();
            else
            {
                manager.Pause();
                Sim.In(Sim.Between(50 * Ms, 10 * Second), manager.Wake);
            }
        }

        Journal.PutBack(_copies[Sim.Next(_copies.Count)]);
        _copies.RemoveAll(c => c > Journal.Records.Count);
        _asked = Journal.Records.Count == 0 ? 0 : Journal.Records[^1].After.Migrations.Count;
        _lost = true;
        StartManager();
        Recover();
    }

    // What `sdnedge mms recover` finds when all answer (Recovery has the asking; RecoveryTests).
    private void Recover()
    {
        if (!_lost) return;
        Sim.In(500 * Ms, Recover);
        if (Manager() is not { } manager || Hosts.Values.Any(h => !h.Up) || Pes.Values.Any(p => !p.Up)) return;
        manager.Post(state =>
        {
            ImmutableSortedDictionary<string, Ownership> owners = ImmutableSortedDictionary<string, Ownership>.Empty;
            long epoch = Pes.Values.SelectMany(p => Prefixes.Select(p.EpochOf)).Max();
            foreach (string server in _servers)
            {
                ServerCell[] cells = [.. Hosts.Values.Select(h => h.Cells[server])];
                epoch = Math.Max(epoch, cells.Max(c => c.Disk.Epoch));
                if (cells.Where(c => c.Disk.MayRun is not null).ToArray() is not [{ } here]) return null;
                owners = owners.Add(server, new Ownership(here.Site, here.Disk.MayRun!.Value));
            }

            if (Mutant == Mutant.RecoverReusesEpoch) epoch = state.GroupOf(Group).Epoch;
            long next = Pes.Values.SelectMany(p => p.Migrations).Select(m =>
                long.Parse(m[1..m.IndexOfAny(['.', '-'])], CultureInfo.InvariantCulture) + 1).DefaultIfEmpty(1).Max();
            return new Recovered(ImmutableSortedDictionary<string, GroupState>.Empty.Add(Group, new GroupState(epoch, owners)),
                Math.Max(next, state.NextMigration), state.NextKey, "operator");
        });
    }

    // Asks for the next migration until it is on record.
    private void AskForMove()
    {
        if (_lost)
        {
            Sim.In(Second, AskForMove);
            return;
        }

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
                    number == 0 ? $"{id}.{i + 1}" : $"{id}.{number + 1}{i + 1}", Vrf, End(from, pair), End(to, pair), [.. Ingress.Keys],
                    key + (uint)i, 200 * (1 + (uint)state.NextMigration), Order: _ordered ? OrderFrom(End(from, pair)) : null)),
            ], _options, Ahead: true);
    }

    private OrderOptions OrderFrom(PathEnd source) => new(
        [new OrderedIngress(source.Pe, source.Loopbacks),
            .. Ingress.Values.Select(i => new OrderedIngress(i.Name, [i.Loopback.ToString()]))]);

    private string PairOf(string server) => ((Array.IndexOf(_servers, server) % _pairs) + 1).ToString(CultureInfo.InvariantCulture);

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
            if (move.Proofs.GetValueOrDefault(path.Id) == TeardownProof.Markers && _underWay.FirstOrDefault(p => !p.Direct && !p.IsOrphan
                && path.Source.Prefixes.Any(m => m.Prefix == p.To.ToString()) && p.From is not PeParty
                && !_unordered.Contains(p.To)) is { } late)
                Fail($"{path.Id} was proved by markers, and a packet of {late.From.Name} for {late.To} is on the old path");
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
            foreach (PeParty pe in Pes.Values.Where(p => p.Name[4..] == PairOf(server)))
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
