using System.Collections.Immutable;
using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>Who watches: what must be true of each change when it happens, of each move when it has ended, and of all at the end.</summary>
internal sealed partial class HandoverWorld
{
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
        MustBeWhole(server, site);
        if (!_granted.Contains((server, site,
            epoch))) Fail($"{server} is to run at site {site} under epoch {epoch}, which was not granted on record");
    }

    /// <summary>A PE lets packets go to its port: the servers behind it must run there.</summary>
    public void Released(string path, string site)
    {
        MoveState? move = Journal.Records.Count == 0 ? null
            : Journal.Records[^1].After.Migrations.Values.SelectMany(m => m.Moves).FirstOrDefault(m => m.Plan.Paths.Any(p => p.Id == path));
        if (move is null) return;
        string[] behind = [.. move.Plan.Paths.First(p => p.Id == path).Target.Prefixes.Select(p => p.Prefix)];
        foreach (ServerMove server in move.Plan.Servers.Where(s => behind.Contains(PrefixOf(s.Name).ToString())))
        {
            if (Hosts["host-" + site].Cells[server.Name].Guest != ServerState.Running)
                Fail($"packets go to {server.Name} at site {site}, where it does not run");
        }
    }

    /// <summary>Who of the servers behind a site's PE does not answer; null: all of them do, they run there.</summary>
    public string? SilentAt(string site, IEnumerable<IpPrefix> prefixes)
        => _servers.FirstOrDefault(s => prefixes.Contains(PrefixOf(s)) && Hosts["host-" + site].Cells[s].Guest != ServerState.Running);

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
            if (migration.Running.Count() is var running && running > migration.AtOnce)
                Fail($"{running} moves of {migration.Id} run at once, and {migration.AtOnce} were asked for");
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
