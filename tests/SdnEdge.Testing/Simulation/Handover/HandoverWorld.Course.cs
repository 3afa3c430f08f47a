using System.Collections.Immutable;
using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>What happens to the parties, and what operators ask: faults, other managers, a lost journal, moves and their aborts.</summary>
internal sealed partial class HandoverWorld
{
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
            return new MigrationRequested(
                id, new MigrationRequest(Group, to, _oneByOne ? Cutover.OneByOne : Cutover.Together, AtOnce: _atOnce > 1 ? _atOnce : null),
                moves, "operator");
        });
        Sim.In(Second, AskForMove);
    }

    private MovePlan Plan(string id, string from, string to, string[] servers, int number, ManagerState state)
    {
        uint key = state.NextKey + ((uint)number * 8);
        IGrouping<int, string>[] byPair = [.. servers.GroupBy(s => Array.IndexOf(_servers, s) % _pairs)];
        return new MovePlan(id, 0, from, to,
            [.. servers.Select(s => new ServerMove(s, "host-" + from, "host-" + to, _undoable, VolumesOf(s)))],
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
}
