using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Migration;

/// <summary>
/// What outlives a restart. A snapshot is taken before a signal's commands are carried out, and has the signal as executed: a PE
/// that is killed in between carries them out when it starts. Prepare is the exception: until its parts are there
/// (<see cref="PartsReady"/>), nothing but its epoch is kept.
/// </summary>
public sealed partial class PeMigrationFsm
{
    /// <summary>Takes what must outlive a restart. Costs one reference for each migration and prefix.</summary>
    public PeSnapshot Save()
    {
        var migrations = new List<KeptMigration>(_entries.Count);
        foreach (Entry entry in _entries.Values)
        {
            if (entry.Underway is { IsKept: true, After: { } after } underway)
            {
                var reply = new SignalReply(after.Id, underway.Signal, after.State, after.Epoch, Repeated: false, after.ChangedAtNs,
                    after.ChangedAtNs);
                migrations.Add(new KeptMigration(after, [.. entry.Done.Values.Where(r => r.Signal != underway.Signal), reply]));
            }
            else if (entry.Migration.State != PeMigrationState.Idle)
            {
                migrations.Add(new KeptMigration(entry.Migration, [.. entry.Done.Values]));
            }
        }

        return new PeSnapshot(migrations, [.. _prefixes.Values.Select(k => k.Record)]);
    }

    /// <summary>
    /// Makes the machine anew from a snapshot. Packets that a hold had are gone, so each hold is empty; no tunnel has been
    /// probed yet.
    /// </summary>
    /// <param name="snapshot">The snapshot.</param>
    /// <param name="toDo">What has to be carried out before the PE forwards, in order.</param>
    public static PeMigrationFsm Restore(PeSnapshot snapshot, out IReadOnlyList<Restoration> toDo)
    {
        ArgumentNullException.ThrowIfNull(snapshot);
        var fsm = new PeMigrationFsm();
        foreach (PrefixRecord record in snapshot.Prefixes) fsm._prefixes[(record.Vrf, record.Prefix)] = new Known(record);
        foreach ((PeMigration kept, IReadOnlyList<SignalReply> replies) in snapshot.Migrations)
        {
            PeMigration migration = kept with
            {
                TunnelUp = false,
                Drained = kept.Drained || kept.State is not (PeMigrationState.Idle or PeMigrationState.Prepared),
            };
            var entry = new Entry(migration);
            foreach (SignalReply reply in replies) entry.Done[reply.Signal] = reply;
            fsm._entries[migration.Id] = entry;
            foreach (MovedPrefix moved in migration.Prefixes)
            {
                Known known = fsm.KnownOf(migration.Vrf, moved.Prefix);
                if (!migration.IsOver) known.Owner = entry;
                fsm.Raise(known, migration.Epoch, migration.Id);
                if (!migration.Finished && known.Record.Epoch > entry.Fence.Epoch) entry.Fence = (known.Record.Epoch, known.Record.By);
            }

            if (migration.State == PeMigrationState.Advertised)
                fsm.Place(migration, m => new PrefixPlace(true, m.Port, m.NextHop?.ToString(), migration.LocalPref ?? DefaultLocalPref,
                    migration.Move ?? migration.Epoch));
            else if (migration.State == PeMigrationState.Withdrawn) fsm.Place(migration, _ => PrefixPlace.Away);
            else if (migration.IsOver) fsm.Bury(entry);
        }

        fsm.Version = 0;
        toDo =
        [
            new Restoration(null, [.. fsm.Places(fsm._prefixes.Values.Select(k => k.Record))]),
            .. fsm.Migrations.Where(m => !m.IsOver).Select(m => new Restoration(m.Id, Again(m))),
        ];
        return fsm;
    }

    // The commands of all signals that were executed. What kept order is left out once packets went to the server here: the
    // markers have come, or what they would have come behind was lost with the process.
    private static List<PeCommand> Again(PeMigration m)
    {
        bool released = m.State is PeMigrationState.Released or PeMigrationState.Advertised;
        bool switched = m.State is PeMigrationState.Switched or PeMigrationState.Withdrawn;
        List<PeCommand> commands = Parts(m, released ? null : m.Order, released ? m.Hold with { Disabled = true } : m.Hold,
            proven: switched);
        if (switched) commands.AddRange(Switch(m));
        if (m.State == PeMigrationState.Withdrawn) commands.Add(new WithdrawPrefixes(m.Vrf, m.Prefixes));
        if (m.State == PeMigrationState.Advertised) commands.Add(Advertisement(m));
        return commands;
    }

    // The source, as it was before a withdraw that failed half way.
    private IEnumerable<PeCommand> BackAsBefore(PeMigration m)
    {
        PrefixRecord[] records = [.. m.Prefixes.Select(p => KnownOf(m.Vrf, p.Prefix).Record)];
        HashSet<IpPrefix> configured = [.. records.Where(r => r.Place is not { IsHere: true }).Select(r => r.Prefix)];
        if (configured.Count > 0) yield return new RestorePrefixes(m.Vrf,
            new PrefixSet(m.Prefixes.Where(p => configured.Contains(p.Prefix))));
        foreach (PeCommand command in Places(records)) yield return command;
    }

    private IEnumerable<PeCommand> Places(IEnumerable<PrefixRecord> records)
    {
        foreach (IGrouping<(string Vrf, bool Here, uint LocalPref, long Move), PrefixRecord> group in records
            .Where(r => r.Place is not null)
            .GroupBy(r => (r.Vrf, r.Place!.IsHere, r.Place.LocalPref, r.Place.Move)))
        {
            var prefixes = new PrefixSet(group.Select(r =>
                new MovedPrefix(r.Prefix, r.Place!.Port ?? "", r.Place.NextHop is { } hop ? IpAddress.Parse(hop) : null)));
            yield return group.Key.Here
                ? new AdvertisePrefixes("", group.Key.Vrf, prefixes, group.Key.LocalPref, group.Key.Move)
                : new WithdrawPrefixes(group.Key.Vrf, prefixes);
        }
    }
}
