using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Migration;

/// <summary>
/// All migrations of one PE: signals and results in, commands out. It decides; the control loop carries out. One caller at a time.
/// <list type="number">
/// <item>The request is complete, or <see cref="PeRefusalReason.BadRequest"/>.</item>
/// <item>What is over and asked to be over (abort of what was aborted, teardown of what was torn down) is
/// <see cref="PeStep.Repeated"/>, whatever the epoch; a higher epoch counts from then on.</item>
/// <item>The epoch is not older than the highest seen: for this migration, and for any of its prefixes. Epochs of prefixes are
/// kept for ever.</item>
/// <item>A signal that was executed before is <see cref="PeStep.Repeated"/>, in any later state but Aborted; one that is being
/// carried out is <see cref="PeStep.Underway"/>.</item>
/// <item>The state and role allow it (<see cref="PeTransitions"/>), and what it needs is there (tunnel up, hold empty, another
/// route to the prefixes).</item>
/// <item>It is accepted: the commands say what to do. The state changes when they have been executed (<see cref="Executed"/>);
/// after <see cref="ExecutionFailed"/> the same signal gives the same commands again.</item>
/// </list>
/// Guarantees: no command twice for an executed signal; no command for a refused one; after an executed teardown or abort every
/// tunnel, group and hold that was made has been told to go. The cost of a signal does not depend on the number of prefixes, but
/// for prepare, advertise, withdraw, the last signal, and one with a higher epoch. What outlives a restart is in <see cref="Save"/>.
/// </summary>
public sealed partial class PeMigrationFsm
{
    /// <summary>LOCAL_PREF when advertise names none.</summary>
    public const uint DefaultLocalPref = 200;

    /// <summary>Finished migrations that are remembered. Of older ones the PE knows by their prefixes that they are over.</summary>
    public const int MaxFinished = 256;

    private readonly OrderedDictionary<string, Entry> _entries = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Vrf, IpPrefix Prefix), Known> _prefixes = [];

    // Each prefix once, in the order in which they were named first.
    private readonly List<Known> _known = [];
    private readonly LinkedList<Entry> _finished = new();

    /// <summary>All migrations known, oldest first. One whose prepare is being carried out is idle.</summary>
    public IEnumerable<PeMigration> Migrations => _entries.Values.Select(e => e.Migration);

    /// <summary>Rises with each change of what <see cref="Save"/> gives.</summary>
    public long Version { get; private set; }

    /// <summary>A migration; null when it is not known.</summary>
    public PeMigration? Find(string id) => _entries.TryGetValue(id, out Entry? entry) ? entry.Migration : null;

    /// <summary>The highest epoch seen for a prefix; 0 when there is none.</summary>
    public long EpochOf(string vrf, IpPrefix prefix) => _prefixes.TryGetValue((vrf, prefix), out Known? known) ? known.Record.Epoch : 0;

    /// <summary>Takes a signal as it was sent: checks and reads it, then as <see cref="Signal(PeSignal, PeFacts, long)"/>.</summary>
    public PeStep Signal(string id, SignalKind signal, SignalRequest request, long now, PeFacts? facts = null)
        => PeSignal.TryParse(id, signal, request, out IReadOnlyList<ProblemError> errors) is { } read
            ? Signal(read, facts ?? PeFacts.None, now)
        : Refuse(Find(id), PeRefusalReason.BadRequest, $"{Word(signal)} of '{id}' lacks what the list says", errors);

    /// <summary>Takes a signal of the MMS.</summary>
    public PeStep Signal(PeSignal signal, PeFacts facts, long now)
    {
        ArgumentNullException.ThrowIfNull(signal);
        ArgumentNullException.ThrowIfNull(facts);
        if (_entries.TryGetValue(signal.Id, out Entry? entry)) return OfKnown(entry, signal, facts, now);
        return signal.Kind switch
        {
            SignalKind.Prepare => Prepare(signal, facts, now),
            SignalKind.Abort => AbortUnknown(signal, now),
            SignalKind.Teardown when WasOver(signal) is { } ended => ended.State == PeMigrationState.Aborted && ended.Id == signal.Id
                ? Refuse(null, PeRefusalReason.WrongState,
                $"teardown is refused: migration '{signal.Id}' was aborted here, and nothing of it is left")
                : Over(signal, PeMigrationState.TornDown),
            _ => Refuse(null, PeRefusalReason.Unknown,
                $"{Word(signal.Kind)} is refused: migration '{signal.Id}' is not known here; prepare makes one"),
        };
    }

    /// <summary>Takes a result of the control loop. What concerns no living migration is ignored.</summary>
    public PeStep Result(string id, PeResult result, long now)
    {
        if (!_entries.TryGetValue(id, out Entry? entry)) return new PeStep(null, []);
        PeMigration migration = entry.Migration;
        switch (result)
        {
            case TunnelHealth health when !migration.Finished:
                entry.Change(m => m with { TunnelUp = health.Up && !m.Finished });
                return new PeStep(entry.Migration, []);

            case HoldDrained when migration.Role == MigrationRole.Target && !migration.Drained
                && migration.State is not (PeMigrationState.Idle or PeMigrationState.Prepared):
                entry.Change(m => m with { Drained = true });
                Version++;
                if (migration.State != PeMigrationState.Aborted) return new PeStep(entry.Migration, []);
                Bury(entry);
                return new PeStep(entry.Migration, Remove(migration));

            case PartsReady when entry.Underway is { Signal: SignalKind.Prepare } parts:
                entry.Underway = parts with { IsKept = true };
                Version++;
                return new PeStep(parts.After, []);

            case Executed done when entry.Underway is { } underway && underway.Signal == done.Signal:
                Execute(entry, underway, done.Reply);
                return new PeStep(entry.Migration, []);

            case ExecutionFailed failed when entry.Underway is { } underway && underway.Signal == failed.Signal:
                Version++;
                entry.Underway = null;
                if (failed.Signal == SignalKind.Prepare)
                {
                    Forget(entry);
                    return new PeStep(null, Remove(migration));
                }

                if (failed.Begun) entry.Attempted.Add(failed.Signal);
                return new PeStep(migration, []);

            // The group's decision is ready: one store. A signal that is being carried out has the say.
            case WatchFailed when migration is { State: PeMigrationState.Prepared, Watch: not null } && WouldFlip(id) is null:
                return Becomes(entry, PeMigrationState.Flipped, now, new SwitchToTunnel(migration.Group));

            case WatchIsBack when migration.State == PeMigrationState.Flipped && entry.Underway is null:
                return Becomes(entry, PeMigrationState.Returning, now,
                    new GiveBack(migration.Group, migration.Tunnel, migration.Tag));

            case Returned when migration.State == PeMigrationState.Returning && entry.Underway is null:
                return Becomes(entry, PeMigrationState.Prepared, now, new ArmAgain(migration.Group, migration.Tunnel));

            default:
                return new PeStep(migration, []);
        }
    }

    /// <summary>Why a migration that is armed would not switch by itself now, for people; null: it would.</summary>
    public string? WouldFlip(string id)
    {
        if (!_entries.TryGetValue(id, out Entry? entry)) return "there is none";
        PeMigration m = entry.Migration;
        return m.Watch is null ? "nothing is watched"
            : m.State != PeMigrationState.Prepared ? $"it is {Word(m.State)}"
            : entry.Underway is { } underway ? $"{Word(underway.Signal)} is being carried out"
            : entry.Attempted.Count > 0 ? $"{Word(entry.Attempted.First())} was begun and not carried out to its end"
            : !m.TunnelUp ? $"no full-size probe has come back through tunnel {m.Tunnel} to {m.Peer}"
            : null;
    }

    private PeStep Becomes(Entry entry, PeMigrationState state, long now, PeCommand command)
    {
        entry.Change(m => m with { State = state, ChangedAtNs = now });
        Version++;
        return new PeStep(entry.Migration, [command]);
    }

    /// <summary>
    /// The configuration has a route of its own to a prefix anew: that it was withdrawn for a migration is forgotten.
    /// </summary>
    public void Reconfigured(string vrf, IpPrefix prefix)
    {
        if (!_prefixes.TryGetValue((vrf, prefix), out Known? known) || known.Record.Place is not { IsHere: false }) return;
        known.Record = known.Record with { Place = null };
        Version++;
    }

    private PeStep OfKnown(Entry entry, PeSignal signal, PeFacts facts, long now)
    {
        PeMigration migration = entry.Migration;
        SignalKind kind = signal.Kind;
        if (migration.Finished && kind == (migration.State == PeMigrationState.Aborted ? SignalKind.Abort : SignalKind.Teardown))
        {
            Raise(entry, signal.Epoch);
            return new PeStep(entry.Migration, [], Repeated: true, entry.Done.GetValueOrDefault(kind) ?? NoTime(signal, migration.State));
        }

        (long fence, string by) = FenceOf(entry);
        if (signal.Epoch < fence)
        {
            string whose = by == migration.Id ? "for it" : $"for its prefixes (by '{by}')";
            return Refuse(migration, PeRefusalReason.StaleEpoch,
                $"{Word(kind)} is refused: epoch {signal.Epoch} is older than {fence}, the highest seen {whose}; whoever sent that one "
                    + $"is in charge of '{migration.Id}' now");
        }

        Underway? underway = entry.Underway;
        bool repeated = entry.Done.ContainsKey(kind) && migration.State != PeMigrationState.Aborted;
        bool same = underway?.Signal == kind;
        if ((repeated || same) && Contradiction(same ? underway!.After : migration, signal) is { } contradiction)
            return Refuse(migration, PeRefusalReason.Conflict, contradiction);

        // A higher epoch counts from the moment it is seen, also when the state refuses the signal: the older sender is fenced off.
        if (!migration.Finished) Raise(entry, signal.Epoch);
        migration = entry.Migration;
        if (repeated) return new PeStep(migration, [], Repeated: true, entry.Done[kind]);
        if (same) return new PeStep(entry.Underway!.After, [], Underway: true);
        if (underway is not null && !(underway.Signal == SignalKind.Prepare && kind == SignalKind.Abort))
            return Refuse(migration, PeRefusalReason.Conflict,
                $"{Word(kind)} is refused: {Word(underway.Signal)} of '{migration.Id}' is being carried out; wait for its answer");
        if (entry.Attempted.Contains(SignalKind.Abort) && kind != SignalKind.Abort)
            return Refuse(migration, PeRefusalReason.WrongState,
                $"{Word(kind)} is refused: an abort of '{migration.Id}' was begun and not carried out to its end; send the abort again");
        if (PeTransitions.Next(migration.Role, migration.State, kind) is not { } next)
            return Refuse(migration, PeRefusalReason.WrongState, WhyNot(migration, kind));

        switch (kind)
        {
            case SignalKind.Withdraw or SignalKind.Teardown when signal.AfterMarkers && facts.UnderWay is { } underWay:
                return Refuse(migration, PeRefusalReason.MarkersMissing,
                    $"{Word(kind)} of '{migration.Id}' is refused: it is to wait for the flush markers, and {underWay}; send it "
                        + "later, with waitMs, or without afterMarkers");
            case SignalKind.Release when signal.AfterServers && facts.Silent is { } silent:
                return Refuse(migration, PeRefusalReason.ServersSilent,
                    $"release of '{migration.Id}' is refused: it is to wait for the servers, and {silent}; send it later, with waitMs, or "
                        + "without afterServers");
            case SignalKind.Switch when !migration.TunnelUp && migration.State != PeMigrationState.Flipped:
                return Refuse(migration, PeRefusalReason.TunnelNotUp,
                    $"switch is refused: no full-size probe has come back through tunnel {migration.Tunnel} to {migration.Peer}; wait "
                        + $"until tunnelUp is true in GET /v1/migrations/{migration.Id}");
            case SignalKind.Teardown when !migration.Drained:
                return Refuse(migration, PeRefusalReason.HoldNotDrained,
                    $"teardown is refused: the hold of '{migration.Id}', or a gate behind it, still has packets; wait until "
                        + $"hold.state is released, and packetsHeldNow of all gates is 0, in GET /v1/migrations/{migration.Id}");
            case SignalKind.Teardown when migration.Role == MigrationRole.Source && !signal.Force && facts.Unrouted is { } prefix:
                return Refuse(migration, PeRefusalReason.NoOtherRoute,
                    $"teardown is refused: without the tunnel this PE has no route to {prefix} but to the port it left; wait until the "
                        + $"advertisement of {migration.Peer} has come, or send force to give up what its clients send");
        }

        PeMigration after = migration with
        {
            State = next,
            ChangedAtNs = now,
            TunnelUp = migration.TunnelUp && next is not (PeMigrationState.TornDown or PeMigrationState.Aborted),
            LocalPref = kind switch
            {
                SignalKind.Advertise => signal.LocalPref ?? DefaultLocalPref,
                SignalKind.Switch => signal.LocalPref,
                _ => migration.LocalPref,
            },
            Move = kind == SignalKind.Advertise ? migration.Epoch : migration.Move,
            KeepBackMs = kind == SignalKind.Release ? signal.KeepBackMs : migration.KeepBackMs,
        };
        entry.Underway = new Underway(kind, after, IsKept: true);
        Version++;
        return new PeStep(after, Commands(entry, migration, kind, after));
    }

    private PeStep Prepare(PeSignal signal, PeFacts facts, long now)
    {
        string id = signal.Id;
        if (facts.UnknownNames is { Count: > 0 } unknown)
            return Refuse(null, PeRefusalReason.BadRequest, $"prepare of '{id}' names what this PE does not have", unknown);
        string vrf = signal.Vrf ?? DefaultVrf;
        PrefixSet prefixes = signal.Prefixes!;
        var all = new Known?[prefixes.Count];
        for (int i = 0; i < all.Length; i++)
        {
            MovedPrefix moved = prefixes[i];
            if (!_prefixes.TryGetValue((vrf, moved.Prefix), out Known? known)) continue;
            all[i] = known;
            if (signal.Epoch < known.Record.Epoch)
                return Refuse(null, PeRefusalReason.StaleEpoch,
                    $"prepare of '{id}' is refused: epoch {signal.Epoch} is older than {known.Record.Epoch}, the highest seen for "
                        + $"{moved.Prefix} (migration '{known.Record.By}'); send a higher one");
            if (known.Owner is { } owner)
                return Refuse(null, PeRefusalReason.Conflict,
                    $"prepare of '{id}' is refused: {moved.Prefix} belongs to migration '{owner.Migration.Id}', which is "
                        + $"{Word(owner.Migration.State)} at its {Word(owner.Migration.Role)}; {HowToFinish(owner.Migration, facts.Api)}");
        }

        if (_entries.Values.FirstOrDefault(e => !e.Migration.IsOver && e.Migration.TunnelKey == signal.TunnelKey
            && e.Migration.Peer == signal.Peer) is { } sameKey)
        {
            return Refuse(null, PeRefusalReason.Conflict,
                $"prepare of '{id}' is refused: tunnel key {signal.TunnelKey} to {signal.Peer} is in use by migration "
                    + $"'{sameKey.Migration.Id}'; choose another key");
        }

        MigrationRole role = signal.Role!.Value;
        var migration = new PeMigration(id, role, PeMigrationState.Idle, signal.Epoch, vrf, prefixes, signal.Peer!.Value,
            signal.TunnelKey!.Value, signal.Hold ?? new HoldOptions(), null, TunnelUp: false, Drained: role == MigrationRole.Source, now,
                signal.Order, KeepBackMs: signal.KeepBackMs, Watch: signal.Watch, BackupLocalPref: signal.BackupLocalPref,
                BackupExcept: signal.BackupExcept);
        PeMigration after = migration with { State = PeMigrationState.Prepared };
        _prefixes.EnsureCapacity(_prefixes.Count + all.Count(k => k is null));
        for (int i = 0; i < all.Length; i++) all[i] ??= KnownOf(vrf, prefixes[i].Prefix);
        var entry = new Entry(migration, all!) { Underway = new Underway(SignalKind.Prepare, after, IsKept: false) };
        _entries[id] = entry;
        foreach (Known known in entry.Known)
        {
            known.Owner = entry;
            Raise(known, signal.Epoch, id);
        }

        Version++;
        return new PeStep(after, Commands(entry, migration, SignalKind.Prepare, after));
    }

    // An abort that overtakes its prepare must win: the id is remembered, so that the late prepare is refused; and so do the epochs of
    // the prefixes, where the abort says them, for ever.
    private PeStep AbortUnknown(PeSignal signal, long now)
    {
        (string Id, PeMigrationState State)? ended = WasOver(signal);
        string vrf = signal.Vrf ?? DefaultVrf;
        if (ended is { State: PeMigrationState.TornDown } moved && moved.Id == signal.Id)
            return Refuse(null, PeRefusalReason.WrongState,
                $"abort is refused: migration '{signal.Id}' came to its end here, and the servers are where it brought them; to go back, "
                    + "move them back with a new migration");
        foreach (Known known in _prefixes.Values)
        {
            if (known.Record.Last == signal.Id) Raise(known, signal.Epoch, signal.Id);
        }

        foreach (MovedPrefix prefix in signal.Prefixes ?? PrefixSet.Empty) Raise(KnownOf(vrf, prefix.Prefix), signal.Epoch, signal.Id);
        if (ended is not null) return Over(signal, PeMigrationState.Aborted);
        var migration = new PeMigration(signal.Id, signal.Role ?? MigrationRole.Source, PeMigrationState.Aborted, signal.Epoch, vrf,
            signal.Prefixes ?? PrefixSet.Empty,
            default, 0, new HoldOptions(), null, TunnelUp: false, Drained: true, now);
        var entry = new Entry(migration with { State = PeMigrationState.Idle }, KnownOf(vrf, migration.Prefixes))
        {
            Underway = new Underway(SignalKind.Abort, migration, IsKept: true),
        };
        _entries[signal.Id] = entry;
        Version++;
        return new PeStep(migration, []);
    }

    // How a migration that is not remembered ended: by its prefixes, which know their last one; or, where the signal says the
    // prefixes, because a later epoch has been seen for all of them.
    private (string Id, PeMigrationState State)? WasOver(PeSignal signal)
    {
        foreach (Known known in _prefixes.Values)
        {
            if (known.Record is { Last: { } last, Ended: { } state } && last == signal.Id) return (last, state);
        }

        if (signal.Prefixes is not { Count: > 0 } prefixes) return null;
        string by = "";
        foreach (MovedPrefix moved in prefixes)
        {
            Known? known = _prefixes.GetValueOrDefault((signal.Vrf ?? DefaultVrf, moved.Prefix));
            if (known is null || known.Record.Epoch <= signal.Epoch) return null;
            by = known.Record.By;
        }

        return (by, PeMigrationState.TornDown);
    }

    private static PeStep Over(PeSignal signal, PeMigrationState state) => new(null, [], Repeated: true, NoTime(signal, state));

    private static SignalReply NoTime(PeSignal signal, PeMigrationState state) => new(signal.Id, signal.Kind, state, signal.Epoch,
        Repeated: true, 0, 0);

    // Whatever was accepted and then failed may have had its effect: what undoes it undoes that, too.
    private List<PeCommand> Commands(Entry entry, PeMigration before, SignalKind signal, PeMigration after)
    {
        switch (signal)
        {
            case SignalKind.Prepare:
                return Parts(after, after.Order, after.Hold, proven: false);
            case SignalKind.Switch:
                return Switch(after);
            case SignalKind.Withdraw:
                return [new WithdrawPrefixes(after.Vrf, after.Prefixes)];
            case SignalKind.Release:
                return [new ReleaseHold(after.Group, after.KeepBackMs)];
            case SignalKind.Advertise:
                return [Advertisement(after), .. NoBackup(after)];
            case SignalKind.Teardown when after.Role == MigrationRole.Source:
                return [new SwitchBack(after.Group), new FlushTunnel(after.Group, after.Tunnel, after.Tag), .. Remove(after)];
            case SignalKind.Abort when after.Role == MigrationRole.Target:
                return [.. NoBackup(after), new ReturnHold(after.Group)];
            case SignalKind.Abort:
                var undo = new List<PeCommand>();
                if (entry.Attempted.Contains(SignalKind.Withdraw)) undo.AddRange(BackAsBefore(after));
                if (before.State is PeMigrationState.Switched or PeMigrationState.Flipped or PeMigrationState.Returning
                    || entry.Attempted.Contains(SignalKind.Switch))
                    undo.AddRange([new SwitchBack(after.Group), new FlushTunnel(after.Group, after.Tunnel, after.Tag)]);
                undo.AddRange(Remove(after));
                return undo;
            default:
                return Remove(after);
        }
    }

    private static List<PeCommand> Parts(PeMigration m, OrderOptions? options, HoldOptions hold, bool proven)
    {
        OrderSpec? order = options is null ? null : new OrderSpec(m.Tag, m.Peer, options);
        return
        [
            new CreateTunnel(m.Tunnel, m.Vrf, m.Peer, m.TunnelKey, proven),
            m.Role == MigrationRole.Source
                ? new ArmGroup(m.Group, m.Vrf, m.Prefixes, m.Tunnel, order)
                : new ArmHold(m.Group, m.Vrf, m.Prefixes, m.Tunnel, hold, order,
                    m.State is PeMigrationState.Idle or PeMigrationState.Prepared ? m.KeepBackMs : 0),
            .. Backup(m),
        ];
    }

    // From prepare until the advertisement that takes its place.
    private static IEnumerable<PeCommand> Backup(PeMigration m) => m is { Role: MigrationRole.Target, BackupLocalPref: { } pref,
        State: PeMigrationState.Idle or PeMigrationState.Prepared or PeMigrationState.Released }
        ? [new AdvertiseBackup(m.Vrf, m.Prefixes, pref, m.BackupExcept)] : [];

    private static IEnumerable<PeCommand> NoBackup(PeMigration m)
        => m.BackupLocalPref is null ? [] : [new AdvertiseBackup(m.Vrf, m.Prefixes, null)];

    // The store does not wait until all prefixes are told otherwise.
    private static List<PeCommand> Switch(PeMigration m)
        => m.LocalPref is { } pref ? [new SwitchToTunnel(m.Group), new TellWith(m.Vrf, m.Prefixes, pref)] : [new SwitchToTunnel(m.Group)];

    private static AdvertisePrefixes Advertisement(PeMigration m)
        => new(m.Group, m.Vrf, m.Prefixes, m.LocalPref ?? DefaultLocalPref, m.Move ?? m.Epoch, m.Order is null ? null : m.Tag);

    private static List<PeCommand> Remove(PeMigration migration)
        => [.. NoBackup(migration), new RemoveGroup(migration.Group, migration.Vrf, migration.Prefixes),
            new RemoveTunnel(migration.Tunnel)];

    private const string DefaultVrf = Config.NodeConfig.DefaultVrf;

    private void Execute(Entry entry, Underway underway, SignalReply reply)
    {
        entry.Underway = null;
        entry.Attempted.Clear();
        entry.Migration = underway.After;
        entry.Done[underway.Signal] = reply;
        if (entry.Migration.IsOver) Bury(entry);
        else Place(entry);
    }

    // Whether a migration that gets there changes what is known of its prefixes.
    private static bool ChangesRecords(PeMigration after) => after.State is PeMigrationState.Advertised or PeMigrationState.Withdrawn
        || after.IsOver;

    // The record of a prefix once a migration of it is as given: where the servers are, or how it ended.
    private static PrefixRecord RecordAfter(Entry entry, PeMigration after, Known known, PrefixPlace? here) => after.State switch
    {
        PeMigrationState.Advertised => known.Record with { Place = here },
        PeMigrationState.Withdrawn => known.Record with { Place = PrefixPlace.Away },
        _ when after.IsOver && (known.Owner is null || known.Owner == entry) && known.Record.Epoch <= after.Epoch
            => known.Record with { Last = after.Id, Ended = after.State },
        _ => known.Record,
    };

    // The same, for all its prefixes; where nothing changes, none.
    private static IEnumerable<(Known Known, PrefixRecord Record)> RecordsAfter(Entry entry, PeMigration after)
    {
        if (!ChangesRecords(after)) yield break;
        PrefixPlace? here = null;
        MovedPrefix of = default;
        for (int i = 0; i < entry.Known.Length; i++)
        {
            // Prefixes beside one another mostly share a port, and then a place.
            MovedPrefix moved = after.Prefixes[i];
            if (after.State == PeMigrationState.Advertised && (here is null || moved.Port != of.Port || moved.NextHop != of.NextHop))
            {
                here = new PrefixPlace(true, moved.Port, moved.NextHop?.ToString(), after.LocalPref ?? DefaultLocalPref,
                    after.Move ?? after.Epoch);
                of = moved;
            }

            yield return (entry.Known[i], RecordAfter(entry, after, entry.Known[i], here));
        }
    }

    private static void Place(Entry entry)
    {
        foreach ((Known known, PrefixRecord record) in RecordsAfter(entry, entry.Migration)) known.Record = record;
    }

    // The prefixes belong to nobody now, and know how their last migration ended.
    private void Bury(Entry entry)
    {
        Place(entry);
        foreach (Known known in entry.Known)
        {
            if (known.Owner == entry) known.Owner = null;
        }

        _finished.AddLast(entry);
        ForgetOldest();
    }

    private void ForgetOldest()
    {
        while (_finished.Count > MaxFinished)
        {
            Entry oldest = _finished.First!.Value;
            _finished.RemoveFirst();
            if (_entries.TryGetValue(oldest.Migration.Id, out Entry? current) && current == oldest) _entries.Remove(oldest.Migration.Id);
        }
    }

    private void Forget(Entry entry)
    {
        _entries.Remove(entry.Migration.Id);
        foreach (Known known in entry.Known)
        {
            if (known.Owner == entry) known.Owner = null;
        }
    }

    // Of a living migration it is kept up with each change; of a finished one its prefixes may have other owners.
    private (long Epoch, string By) FenceOf(Entry entry)
    {
        if (!entry.Migration.Finished) return entry.Fence;
        (long Epoch, string By) fence = (entry.Migration.Epoch, entry.Migration.Id);
        foreach (Known known in entry.Known)
        {
            PrefixRecord record = known.Record;
            if (record.Epoch > fence.Epoch) fence = (record.Epoch, record.By);
        }

        return fence;
    }

    private void Raise(Entry entry, long epoch)
    {
        if (epoch <= entry.Migration.Epoch) return;
        entry.Change(m => m with { Epoch = epoch });
        if (epoch > entry.Fence.Epoch) entry.Fence = (epoch, entry.Migration.Id);
        foreach (Known known in entry.Known) Raise(known, epoch, entry.Migration.Id);
        Version++;
    }

    private void Raise(Known known, long epoch, string by)
    {
        if (epoch <= known.Record.Epoch) return;
        known.Record = known.Record with { Epoch = epoch, By = by };
        if (known.Owner is { } owner && epoch > owner.Fence.Epoch) owner.Fence = (epoch, by);
        Version++;
    }

    private Known KnownOf(string vrf, IpPrefix prefix)
    {
        if (_prefixes.TryGetValue((vrf, prefix), out Known? known)) return known;
        return Add(new PrefixRecord(vrf, prefix));
    }

    private Known[] KnownOf(string vrf, PrefixSet prefixes)
    {
        var known = new Known[prefixes.Count];
        for (int i = 0; i < known.Length; i++) known[i] = KnownOf(vrf, prefixes[i].Prefix);
        return known;
    }

    private Known Add(PrefixRecord record)
    {
        var known = new Known(record, _known.Count);
        _known.Add(known);
        _prefixes.Add((record.Vrf, record.Prefix), known);
        return known;
    }

    /// <summary>A signal that was accepted and is neither executed nor failed.</summary>
    /// <param name="Signal">The signal.</param>
    /// <param name="After">The migration when it is executed.</param>
    /// <param name="IsKept">A snapshot has it as executed: after a restart it is, since the restart carries it out.</param>
    private sealed record Underway(SignalKind Signal, PeMigration After, bool IsKept);

    private sealed class Known(PrefixRecord record, int index)
    {
        /// <summary>Its place in the list of all.</summary>
        public int Index { get; } = index;

        public PrefixRecord Record { get; set; } = record;

        /// <summary>The migration of which something is, or may be, in the tables; null: there is none.</summary>
        public Entry? Owner { get; set; }
    }

    private sealed class Entry(PeMigration migration, Known[] known)
    {
        public PeMigration Migration { get; set; } = migration;

        /// <summary>What is known of its prefixes, in their order.</summary>
        public Known[] Known { get; } = known;

        public (long Epoch, string By) Fence { get; set; } = (migration.Epoch, migration.Id);

        public Dictionary<SignalKind, SignalReply> Done { get; } = [];

        public Underway? Underway { get; set; }

        /// <summary>Signals that were begun in this state and failed.</summary>
        public HashSet<SignalKind> Attempted { get; } = [];

        public void Change(Func<PeMigration, PeMigration> change)
        {
            Migration = change(Migration);
            if (Underway is { } underway) Underway = underway with { After = change(underway.After) };
        }
    }
}
