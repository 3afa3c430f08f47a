using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Migration;

/// <summary>
/// What outlives a restart. A snapshot is taken before a signal's commands are carried out, and has the signal as executed, the
/// records of its prefixes included: a PE that is killed in between carries them out when it starts. Prepare is the exception: until
/// its parts are there (<see cref="PartsReady"/>), nothing but its epoch is kept. What is remembered of migrations that are over is
/// the same with a restart as without: the last <see cref="MaxFinished"/> in the order of their ends, and of older ones what their
/// prefixes know.
/// </summary>
public sealed partial class PeMigrationFsm
{
    /// <summary>Takes what must outlive a restart. Costs one reference for each migration and prefix.</summary>
    public PeSnapshot Save()
    {
        var migrations = new List<KeptMigration>(_entries.Count);
        var ended = new List<string>(_finished.Select(e => e.Migration.Id));
        var records = new PrefixRecord[_known.Count];
        for (int i = 0; i < records.Length; i++) records[i] = _known[i].Record;
        foreach (Entry entry in _entries.Values)
        {
            if (entry.Underway is { IsKept: true, After: { } then } underway)
            {
                var reply = new SignalReply(then.Id, underway.Signal, then.State, then.Epoch, Repeated: false, then.ChangedAtNs,
                    then.ChangedAtNs);
                migrations.Add(new KeptMigration(then, [.. entry.Done.Values.Where(r => r.Signal != underway.Signal), reply]));
                if (then.IsOver) ended.Add(then.Id);
                foreach ((Known known, PrefixRecord record) in RecordsAfter(entry, then)) records[known.Index] = record;
            }
            else if (entry.Migration.State != PeMigrationState.Idle)
            {
                migrations.Add(new KeptMigration(entry.Migration, [.. entry.Done.Values]));
            }
        }

        return new PeSnapshot(migrations, records, ended);
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
        foreach (PrefixRecord record in snapshot.Prefixes)
        {
            // Of two the later one counts.
            if (fsm._prefixes.TryGetValue((record.Vrf, record.Prefix), out Known? twice)) twice.Record = record;
            else fsm.Add(record);
        }

        HashSet<string> ended = [.. snapshot.Ended ?? []];
        foreach ((PeMigration kept, IReadOnlyList<SignalReply> replies) in snapshot.Migrations)
        {
            PeMigration migration = kept with
            {
                // What waited here for the end of a false alarm is gone; whether it was one is looked at anew.
                State = kept.State == PeMigrationState.Returning ? PeMigrationState.Flipped : kept.State,
                TunnelUp = false,
                Drained = kept.Drained || kept.State is not (PeMigrationState.Idle or PeMigrationState.Prepared),
            };
            var entry = new Entry(migration, fsm.KnownOf(migration.Vrf, migration.Prefixes));
            foreach (SignalReply reply in replies) entry.Done[reply.Signal] = reply;
            fsm._entries[migration.Id] = entry;
            foreach (Known known in entry.Known)
            {
                if (!migration.IsOver) known.Owner = entry;
                fsm.Raise(known, migration.Epoch, migration.Id);
                if (!migration.Finished && known.Record.Epoch > entry.Fence.Epoch) entry.Fence = (known.Record.Epoch, known.Record.By);
            }

            // The records are as the snapshot has them, but for the end that a restart brings: a hold is empty, so what gave its
            // packets back is over. A snapshot without the order of the ends has records from before the last signal.
            if (snapshot.Ended is null && !migration.Finished) Place(entry);
            if (migration.IsOver && !ended.Contains(migration.Id)) fsm.Bury(entry);
        }

        foreach (string id in (snapshot.Ended ?? []).Reverse())
        {
            if (fsm._entries.TryGetValue(id, out Entry? entry)) fsm._finished.AddFirst(entry);
        }

        fsm.ForgetOldest();
        fsm.Version = 0;
        toDo =
        [
            new Restoration(null, [.. fsm.Places(fsm._known.Select(k => k.Record))]),
            .. fsm.Migrations.Where(m => !m.IsOver).Select(m => new Restoration(m.Id, fsm.Again(m))),
        ];
        return fsm;
    }

    // The commands of all signals that were executed. What kept order is left out once packets went to the server here: the
    // markers have come, or what they would have come behind was lost with the process.
    private List<PeCommand> Again(PeMigration m)
    {
        bool released = m.State is PeMigrationState.Released or PeMigrationState.Advertised;
        bool switched = m.State is PeMigrationState.Switched or PeMigrationState.Withdrawn or PeMigrationState.Flipped;
        List<PeCommand> commands = Parts(m, released ? null : m.Order, released ? m.Hold with { Disabled = true } : m.Hold,
            proven: switched);
        if (switched) commands.AddRange(Switch(m));
        if (m.State == PeMigrationState.Withdrawn)
        {
            // What the configuration has anew since is not out of use.
            var away = new PrefixSet(m.Prefixes.Where(p => KnownOf(m.Vrf, p.Prefix).Record.Place is { IsHere: false }));
            if (away.Count > 0) commands.Add(new WithdrawPrefixes(m.Vrf, away));
        }

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
