using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Migration;

/// <summary>
/// All migrations of one PE: signals and results in, commands out. It decides; the control loop carries out. One caller at a time.
/// <list type="number">
/// <item>The request is complete, or <see cref="PeRefusalReason.BadRequest"/>.</item>
/// <item>The epoch is not older than the highest seen: for this migration, and for any of its prefixes (a later migration of
/// the same prefixes fences this one).</item>
/// <item>A signal that had taken effect before is <see cref="PeStep.Repeated"/>, in any later state but Aborted.</item>
/// <item>The state and role allow it (<see cref="PeTransitions"/>), and what it needs is there (tunnel up, hold empty, another
/// route to the prefixes).</item>
/// <item>The state changes and the commands say what to do.</item>
/// </list>
/// Guarantees: no command twice for a repeated signal; no command for a refused one; after teardown or abort every tunnel,
/// group and hold that was made has been told to go. The cost of a signal but prepare does not depend on the number of prefixes.
/// </summary>
public sealed class PeMigrationFsm
{
    /// <summary>LOCAL_PREF when advertise names none.</summary>
    public const uint DefaultLocalPref = 200;

    /// <summary>Finished migrations that are remembered.</summary>
    public const int MaxFinished = 256;

    private readonly Func<PeMigration, IpPrefix?> _unrouted;
    private readonly Dictionary<string, Entry> _entries = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Vrf, IpPrefix Prefix), Entry> _lastOwner = [];
    private readonly Queue<Entry> _finished = new();

    /// <summary>Makes the machine of a PE.</summary>
    /// <param name="unrouted">Asked before a source takes its tunnel away: the first of the migration's prefixes to which the
    /// PE would have no route then; null when it has one to each.</param>
    public PeMigrationFsm(Func<PeMigration, IpPrefix?> unrouted)
    {
        ArgumentNullException.ThrowIfNull(unrouted);
        _unrouted = unrouted;
    }

    /// <summary>All migrations known, oldest first.</summary>
    public IEnumerable<PeMigration> Migrations => _entries.Values.Select(e => e.Migration);

    /// <summary>A migration; null when it is not known.</summary>
    public PeMigration? Find(string id) => _entries.TryGetValue(id, out Entry? entry) ? entry.Migration : null;

    /// <summary>The epoch of the migration that a prefix belongs to now, or belonged to last; 0 when there is none.</summary>
    public long EpochOf(string vrf, IpPrefix prefix) => _lastOwner.TryGetValue((vrf, prefix), out Entry? owner) ? owner.Epoch : 0;

    /// <summary>The highest epoch seen that counts for a migration: its own, and those of later migrations of its prefixes. 0 when not known.</summary>
    public long HighestEpoch(string id) => _entries.TryGetValue(id, out Entry? entry) ? entry.Fence : 0;

    /// <summary>Takes a signal of the MMS.</summary>
    public PeStep Signal(string id, SignalKind signal, SignalRequest request, long now)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (request.Epoch < 1)
            return Refuse(Find(id), PeRefusalReason.BadRequest, $"epoch {request.Epoch} is no epoch; send a number from 1, higher for each new attempt");
        if (_entries.TryGetValue(id, out Entry? entry)) return Known(entry, signal, request, now);
        return signal switch
        {
            SignalKind.Prepare => Prepare(id, request, now),
            SignalKind.Abort => AbortUnknown(id, request, now),
            _ => Refuse(null, PeRefusalReason.Unknown, $"{Word(signal)} is refused: migration '{id}' is not known here; prepare makes one"),
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
                entry.Migration = migration with { TunnelUp = health.Up };
                return new PeStep(entry.Migration, []);

            case HoldDrained when migration.Role == MigrationRole.Target && !migration.Drained
                && migration.State is not (PeMigrationState.Idle or PeMigrationState.Prepared):
                entry.Migration = migration with { Drained = true };
                if (migration.State != PeMigrationState.Aborted) return new PeStep(entry.Migration, []);
                Bury(entry);
                return new PeStep(entry.Migration, Remove(migration));

            case PrepareFailed when migration.State == PeMigrationState.Prepared:
                Forget(entry);
                return new PeStep(null, Remove(migration));

            default:
                return new PeStep(migration, []);
        }
    }

    /// <summary>Keeps the reply of a signal that was carried out, so that a repetition can say when it took effect.</summary>
    public void Remember(SignalReply reply)
    {
        if (_entries.TryGetValue(reply.Migration, out Entry? entry)) entry.Done[reply.Signal] = reply;
    }

    private PeStep Known(Entry entry, SignalKind signal, SignalRequest request, long now)
    {
        PeMigration migration = entry.Migration;
        if (request.Epoch < entry.Fence)
        {
            string by = entry.Epoch >= entry.Fence ? "for it" : $"for a later migration of its prefixes ('{entry.FencedBy}')";
            return Refuse(migration, PeRefusalReason.StaleEpoch,
                $"{Word(signal)} is refused: epoch {request.Epoch} is older than {entry.Fence}, the highest seen {by}; whoever sent that one is in charge of '{migration.Id}' now");
        }

        bool repeated = entry.Done.ContainsKey(signal) && (migration.State != PeMigrationState.Aborted || signal == SignalKind.Abort);
        if (repeated && Contradiction(migration, signal, request) is { } contradiction)
            return Refuse(migration, PeRefusalReason.Conflict, contradiction);

        // A higher epoch counts from the moment it is seen, also when the state refuses the signal: the older sender is fenced off.
        if (!migration.Finished && request.Epoch > entry.Epoch) Raise(entry, request.Epoch);
        migration = entry.Migration;
        if (repeated) return new PeStep(migration, [], Repeated: true, entry.Done[signal]);
        if (PeTransitions.Next(migration.Role, migration.State, signal) is not { } next)
            return Refuse(migration, PeRefusalReason.WrongState, WhyNot(migration, signal));

        switch (signal)
        {
            case SignalKind.Switch when !migration.TunnelUp:
                return Refuse(migration, PeRefusalReason.TunnelNotUp,
                    $"switch is refused: no full-size probe has come back through tunnel {migration.Tunnel} to {migration.Peer}; wait until tunnelUp is true in GET /v1/migrations/{migration.Id}");
            case SignalKind.Teardown when !migration.Drained:
                return Refuse(migration, PeRefusalReason.HoldNotDrained,
                    $"teardown is refused: the hold of '{migration.Id}' still has packets; wait until hold.state is released in GET /v1/migrations/{migration.Id}");
            case SignalKind.Teardown when migration.Role == MigrationRole.Source && !request.Force && _unrouted(migration) is { } prefix:
                return Refuse(migration, PeRefusalReason.NoOtherRoute,
                    $"teardown is refused: without the tunnel this PE has no route to {prefix} but to the port it left; wait until the advertisement of {migration.Peer} has come, or send force to give up what its clients send");
        }

        PeMigration before = migration;
        migration = migration with
        {
            State = next,
            ChangedAtNs = now,
            TunnelUp = migration.TunnelUp && next is not (PeMigrationState.TornDown or PeMigrationState.Aborted),
            LocalPref = signal switch
            {
                SignalKind.Advertise => request.LocalPref ?? DefaultLocalPref,
                SignalKind.Switch => request.LocalPref,
                _ => migration.LocalPref,
            },
        };
        Accept(entry, migration, signal, now);
        return new PeStep(migration, Commands(before, signal, migration));
    }

    private PeStep Prepare(string id, SignalRequest request, long now)
    {
        IReadOnlyList<ProblemError> errors = Missing(request, out List<IpPrefix> prefixes);
        if (errors.Count > 0)
            return Refuse(null, PeRefusalReason.BadRequest, $"prepare of '{id}' lacks what the list says", errors);
        string vrf = request.Vrf ?? "default";
        var owners = new HashSet<Entry>();
        foreach (IpPrefix prefix in prefixes)
        {
            if (!_lastOwner.TryGetValue((vrf, prefix), out Entry? owner) || !owners.Add(owner)) continue;
            if (request.Epoch < owner.Fence)
                return Refuse(null, PeRefusalReason.StaleEpoch,
                    $"prepare of '{id}' is refused: epoch {request.Epoch} is older than {owner.Fence}, the highest seen for {prefix} (migration '{owner.Migration.Id}'); send a higher one");
            if (!owner.Migration.Finished || !owner.Migration.Drained)
                return Refuse(null, PeRefusalReason.Conflict,
                    $"prepare of '{id}' is refused: {prefix} belongs to migration '{owner.Migration.Id}', which is {Word(owner.Migration.State)} at its {Word(owner.Migration.Role)}; {HowToFinish(owner.Migration)}");
        }

        if (_entries.Values.FirstOrDefault(e => !e.Migration.Finished && e.Migration.TunnelKey == request.TunnelKey
            && string.Equals(e.Migration.Peer, request.Peer, StringComparison.Ordinal)) is { } sameKey)
        {
            return Refuse(null, PeRefusalReason.Conflict,
                $"prepare of '{id}' is refused: tunnel key {request.TunnelKey} to {request.Peer} is in use by migration '{sameKey.Migration.Id}'; choose another key");
        }

        MigrationRole role = request.Role!.Value;
        HoldOptions hold = request.Hold ?? new HoldOptions();
        var migration = new PeMigration(id, role, PeMigrationState.Prepared, request.Epoch, vrf, request.Prefixes!, request.Peer!,
            request.TunnelKey!.Value, hold, null, TunnelUp: false, Drained: role == MigrationRole.Source, now, request.Order);
        OrderSpec? order = migration.Order is { } options ? new OrderSpec(migration.Tag, migration.Peer, options) : null;
        var entry = new Entry(migration);
        foreach (Entry owner in owners) owner.Successors.Add(entry);
        foreach (IpPrefix prefix in prefixes) _lastOwner[(vrf, prefix)] = entry;
        _entries[id] = entry;
        Accept(entry, migration, SignalKind.Prepare, now);
        return new PeStep(migration,
        [
            new CreateTunnel(migration.Tunnel, vrf, migration.Peer, migration.TunnelKey),
            role == MigrationRole.Source
                ? new ArmGroup(migration.Group, vrf, migration.Prefixes, migration.Tunnel, order)
                : new ArmHold(migration.Group, vrf, migration.Prefixes, migration.Tunnel, hold, order),
        ]);
    }

    // An abort that overtakes its prepare must win: the id is remembered, so that the late prepare is refused.
    private PeStep AbortUnknown(string id, SignalRequest request, long now)
    {
        var migration = new PeMigration(id, request.Role ?? MigrationRole.Source, PeMigrationState.Aborted, request.Epoch, request.Vrf ?? "default", [],
            request.Peer ?? "", request.TunnelKey ?? 0, new HoldOptions(), null, TunnelUp: false, Drained: true, now);
        var entry = new Entry(migration);
        _entries[id] = entry;
        Accept(entry, migration, SignalKind.Abort, now);
        return new PeStep(migration, []);
    }

    private static IReadOnlyList<PeCommand> Commands(PeMigration before, SignalKind signal, PeMigration after) => signal switch
    {
        SignalKind.Switch when after.LocalPref is { } pref => [new TellWith(after.Vrf, after.Prefixes, pref), new SwitchToTunnel(after.Group)],
        SignalKind.Switch => [new SwitchToTunnel(after.Group)],
        SignalKind.Withdraw => [new WithdrawPrefixes(after.Vrf, after.Prefixes)],
        SignalKind.Release => [new ReleaseHold(after.Group)],
        SignalKind.Advertise => [new AdvertisePrefixes(after.Group, after.Vrf, after.Prefixes, after.LocalPref ?? DefaultLocalPref, after.Order is null ? null : after.Tag)],
        SignalKind.Teardown when after.Role == MigrationRole.Source => [new SwitchBack(after.Group), new FlushTunnel(after.Group, after.Tunnel, after.Tag), .. Remove(after)],
        SignalKind.Abort when after.Role == MigrationRole.Target => [new ReturnHold(after.Group)],
        SignalKind.Abort when before.State == PeMigrationState.Switched => [new SwitchBack(after.Group), new FlushTunnel(after.Group, after.Tunnel, after.Tag), .. Remove(after)],
        _ => Remove(after),
    };

    private static IReadOnlyList<PeCommand> Remove(PeMigration migration)
        => [new RemoveGroup(migration.Group, migration.Vrf, migration.Prefixes), new RemoveTunnel(migration.Tunnel)];

    // Records with lists compare by reference.
    private static bool Same(OrderOptions asked, OrderOptions? known) => known is not null
        && asked.BoundMs == known.BoundMs && asked.OthersHoldMs == known.OthersHoldMs && asked.Ingress.Count == known.Ingress.Count
        && asked.Ingress.Zip(known.Ingress).All(p => p.First.Name == p.Second.Name && p.First.Loopbacks.SequenceEqual(p.Second.Loopbacks));

    private static IReadOnlyList<ProblemError> Missing(SignalRequest request, out List<IpPrefix> prefixes)
    {
        var errors = new List<ProblemError>();
        prefixes = [];
        if (request.Role is not (MigrationRole.Source or MigrationRole.Target)) errors.Add(new ProblemError("/role", "is missing; send source or target"));
        if (request.TunnelKey is null) errors.Add(new ProblemError("/tunnelKey", "is missing; send the same unused GRE key to both PEs"));
        if (!IpAddress.TryParse(request.Peer, out _)) errors.Add(new ProblemError("/peer", "is missing or no address; send the other PE's loopback"));
        if (request.Order is { } order) CheckOrder(order, errors);
        if (request.Prefixes is not { Count: > 0 } list)
        {
            errors.Add(new ProblemError("/prefixes", "is missing or empty; send the moving prefixes with their ports"));
            return errors;
        }

        var seen = new HashSet<IpPrefix>(list.Count);
        for (int i = 0; i < list.Count && errors.Count < 100; i++)
        {
            if (!IpPrefix.TryParse(list[i].Prefix, out IpPrefix prefix))
                errors.Add(new ProblemError($"/prefixes/{i}/prefix", $"'{list[i].Prefix}' is not a prefix; write it as 10.1.1.10/32, with no host bits set"));
            else if (!seen.Add(prefix))
                errors.Add(new ProblemError($"/prefixes/{i}/prefix", $"{prefix} is there twice"));
            if (string.IsNullOrEmpty(list[i].Port)) errors.Add(new ProblemError($"/prefixes/{i}/port", "is missing; name the port on this PE"));
            prefixes.Add(prefix);
        }

        return errors;
    }

    private static void CheckOrder(OrderOptions order, List<ProblemError> errors)
    {
        if (order.BoundMs is < 1 or > 60_000) errors.Add(new ProblemError("/order/boundMs", $"is {order.BoundMs}; send 1 to 60000 ms"));
        if (order.OthersHoldMs is < 0 or > 60_000) errors.Add(new ProblemError("/order/othersHoldMs", $"is {order.OthersHoldMs}; send 0 (deliver as they come) to 60000 ms"));
        if (order.Ingress is null)
        {
            errors.Add(new ProblemError("/order/ingress", "is missing; send the ingress PEs that send flush markers, or an empty list"));
            return;
        }

        var seen = new HashSet<IpAddress>();
        for (int i = 0; i < order.Ingress.Count && errors.Count < 100; i++)
        {
            foreach (string text in order.Ingress[i].Loopbacks ?? [])
            {
                if (!IpAddress.TryParse(text, out IpAddress loopback)) errors.Add(new ProblemError($"/order/ingress/{i}/loopbacks", $"'{text}' is no address"));
                else if (!seen.Add(loopback)) errors.Add(new ProblemError($"/order/ingress/{i}/loopbacks", $"{loopback} is there twice"));
            }
        }
    }

    // Repeating a signal with other parameters is not a repetition.
    private static string? Contradiction(PeMigration migration, SignalKind signal, SignalRequest request)
    {
        string? what = signal switch
        {
            SignalKind.Prepare when request.Role is { } role && role != migration.Role => $"role {Word(role)}",
            SignalKind.Prepare when request.Vrf is { } vrf && vrf != migration.Vrf => $"VRF {vrf}",
            SignalKind.Prepare when request.Peer is { } peer && peer != migration.Peer => $"peer {peer}",
            SignalKind.Prepare when request.TunnelKey is { } key && key != migration.TunnelKey => $"tunnel key {key}",
            SignalKind.Prepare when request.Prefixes is { } prefixes && !prefixes.SequenceEqual(migration.Prefixes) => "other prefixes",
            SignalKind.Prepare when request.Hold is { } hold && hold != migration.Hold => "another hold",
            SignalKind.Prepare when request.Order is { } order && !Same(order, migration.Order) => "another order",
            SignalKind.Advertise or SignalKind.Switch when request.LocalPref is { } pref && pref != migration.LocalPref => $"LOCAL_PREF {pref} (it was {migration.LocalPref})",
            _ => null,
        };
        return what is null ? null
            : $"{Word(signal)} of '{migration.Id}' took effect before, with other values than {what}; repeat it as it was, or use a new migration id";
    }

    private static string WhyNot(PeMigration migration, SignalKind signal)
    {
        IReadOnlyList<PeMigrationState> states = PeTransitions.AllowedIn(migration.Role, signal);
        string here = $"migration '{migration.Id}' is {Word(migration.State)} at its {Word(migration.Role)}";
        string would = migration.Finished ? "it is finished; start a new migration, with a new id"
            : $"now it takes {Or(PeTransitions.AllowedSignals(migration.Role, migration.State).Select(s => Word(s)))}";
        if (states.Count == 0) return $"{Word(signal)} is refused: it is for the {Word(Other(migration.Role))}, and this PE is the {Word(migration.Role)} of '{migration.Id}'; {would}";
        string needs = signal == SignalKind.Abort && !migration.Finished
            ? "the server is live at the target, so the move only goes forward; to go back, move it back with a new migration"
            : $"{Word(signal)} needs it to be {Or(states.Select(s => Word(s)))}; {would}";
        return $"{Word(signal)} is refused: {here}; {needs}";
    }

    private static string HowToFinish(PeMigration migration) => migration.Finished
        ? "its hold is still giving packets back; try again when it is empty"
        : PeTransitions.Next(migration.Role, migration.State, SignalKind.Abort) is not null ? "abort it first"
        : $"bring it to its end first ({Or(PeTransitions.AllowedSignals(migration.Role, migration.State).Select(s => Word(s)))})";

    private static PeStep Refuse(PeMigration? migration, PeRefusalReason reason, string detail, IReadOnlyList<ProblemError>? errors = null)
        => new(migration, [], Refusal: new PeRefusal(reason, detail, errors));

    private static MigrationRole Other(MigrationRole role) => role == MigrationRole.Source ? MigrationRole.Target : MigrationRole.Source;

    private static string Or(IEnumerable<string> words) => string.Join(" or ", words);

    private static string Word(Enum value) => value is PeMigrationState.TornDown ? "torn down"
        : System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());

    private static void Raise(Entry entry, long epoch)
    {
        entry.Epoch = epoch;
        entry.Migration = entry.Migration with { Epoch = epoch };
    }

    private void Accept(Entry entry, PeMigration migration, SignalKind signal, long now)
    {
        entry.Migration = migration;
        entry.Done[signal] = new SignalReply(migration.Id, signal, migration.State, migration.Epoch, Repeated: false, now, now);
        if (migration.Finished && migration.Drained) Bury(entry);
    }

    private void Bury(Entry entry)
    {
        _finished.Enqueue(entry);
        if (_finished.Count > MaxFinished) Drop(_finished.Dequeue());
    }

    private void Forget(Entry entry)
    {
        Drop(entry);
        entry.Migration = entry.Migration with { State = PeMigrationState.Aborted, Drained = true };
    }

    // The prefixes keep the entry as their last owner, and so its epoch as their fence; the rest of it can go.
    private void Drop(Entry entry)
    {
        if (_entries.TryGetValue(entry.Migration.Id, out Entry? current) && current == entry) _entries.Remove(entry.Migration.Id);
        entry.Migration = entry.Migration with { Prefixes = [] };
    }

    private sealed class Entry(PeMigration migration)
    {
        public PeMigration Migration { get; set; } = migration;

        public long Epoch { get; set; } = migration.Epoch;

        public Dictionary<SignalKind, SignalReply> Done { get; } = [];

        public List<Entry> Successors { get; } = [];

        // Epochs of successors are not lower than this one's when they are made; only a living successor's can rise.
        public long Fence
        {
            get
            {
                long highest = Epoch;
                foreach (Entry successor in Successors) highest = Math.Max(highest, successor.Epoch);
                return highest;
            }
        }

        public string? FencedBy => Successors.MaxBy(s => s.Epoch)?.Migration.Id;
    }
}
