using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>A plan.</summary>
/// <param name="Info">What it would do and everything that keeps it from being started.</param>
/// <param name="Request">What the journal will say was asked for; null when there is an obstacle.</param>
/// <param name="Moves">The moves, in order; none when there is an obstacle.</param>
public sealed record PlanResult(PlanInfo Info, MigrationRequest? Request, IReadOnlyList<MovePlan> Moves)
{
    /// <summary>The moves, also where there are obstacles: as far as they could be made.</summary>
    public IReadOnlyList<MovePlan> Drafted { get; init; } = [];
}

/// <summary>
/// Plans the migration of a group. It asks and changes nothing, and it does not stop at the first obstacle:
/// <list type="number">
/// <item>the configuration: group, site, places; the journal: what runs already;</item>
/// <item>the hosts: where each server is, and whether it can be moved (of a service without state the PEs say where it is); a virtual
/// machine: whether both hosts agree on it; its volumes: whether the stores of both sites have them, and how far the replica is;</item>
/// <item>the PEs at both ends and the ingress PEs, all at once;</item>
/// <item>for each pair of PEs the way between them, and for each prefix how it is routed;</item>
/// <item>what the hold will keep, what is damped;</item>
/// <item>with no obstacle, the moves.</item>
/// </list>
/// What it found may be different a moment later: each step of a migration is checked again by the party that carries it out.
/// </summary>
public static class Planner
{
    /// <summary>Plans.</summary>
    /// <param name="config">The manager's configuration.</param>
    /// <param name="view">Whom to ask.</param>
    /// <param name="state">The fold of the journal.</param>
    /// <param name="call">What is asked for.</param>
    /// <param name="cancel">Ends it.</param>
    public static async Task<PlanResult> PlanAsync(
        MmsConfig config, IPlanView view, ManagerState state, MigrationCall call, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(view);
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(call);
        var notes = new PlanNotes();
        Cutover? cutover = CutoverOf(call, notes);
        GroupConfig? group = config.Group(call.Group);
        SiteConfig? to = config.Sites.FirstOrDefault(s => s.Name == call.To);
        if (group is null) notes.Add("group-unknown", call.Group, $"there is no group '{call.Group}'; there is "
            + $"{List(config.Groups.Select(g => g.Name))}");
        if (to is null) notes.Add("site-unknown", call.To, $"there is no site '{call.To}'; there is "
            + $"{List((group?.Sites ?? config.Sites).Select(s => s.Name))}");
        int atOnce = cutover == Cutover.OneByOne ? call.AtOnce ?? group?.AtOnce ?? 1 : 1;
        if (group is not null) CheckRunning(config, state, group, cutover, atOnce, notes);
        if (group is not null && state.GroupOf(group.Name).Epoch is >= ManagerState.LastEpoch and var last)
        {
            notes.Add("epochs-exhausted", group.Name, $"epoch {last} was used for {group.Name}, and {ManagerState.LastEpoch} is the last "
                + "with which a migration begins; nobody counts that far: rename the group and its servers, in the manager's and in the "
                + "hosts' configuration");
        }

        if (group is null || to is null)
        {
            string how = Words.Of(cutover ?? Cutover.Together);
            return new PlanResult(new PlanInfo(call.Group, null, call.To, how, notes.Obstacles, 0, [], [], 0, notes.Warnings), null, []);
        }

        // Servers and hosts.
        using var inquiry = new PlanInquiry(view, cancel);
        IReadOnlyDictionary<string, HostFacts> hosts = await inquiry.HostsAsync(group);
        IReadOnlyList<PlacedServer> placed = group.Stateless ? await new ServiceChecks(notes, state, group, to, inquiry).PlaceAsync()
            : new ServerChecks(notes, state, group, to, hosts).Place();
        int? bandwidth = call.Bandwidth ?? group.Bandwidth;
        int copying = cutover == Cutover.OneByOne ? atOnce : placed.Count;
        IReadOnlyDictionary<string, long> shares = CopyShares.Of(notes, placed, bandwidth, copying);
        if (state.RunningOf(group.Name) is null && !group.Stateless)
        {
            new GuestChecks(notes, shares).Check(placed);
            new VolumeChecks(notes, state, call.Window is not null).Check(placed);
        }

        MoveDraft[] drafts = cutover == Cutover.OneByOne ? [.. placed.Select(s => MoveDraft.Of([s]))]
            : placed.Count > 0 ? [MoveDraft.Of(placed)] : [];
        MoveOptions options = OptionsOf(call, group);
        if (call.Window is { } wanted && wanted.To <= view.Now)
            notes.Add("window-over", group.Name, $"the window ended at {wanted.To:u}, and it is {view.Now:u}; name one that is to come");
        WarnOf(group, options, cutover, placed, notes);

        // PEs. Where servers go is known also when it is not known where they are.
        (ServerConfig Server, PlaceConfig Place)[] sources = [.. placed.Select(p => (p.Server, p.From))];
        (ServerConfig Server, PlaceConfig Place)[] targets =
            [.. group.Servers.Where(s => s.PlaceAt(to.Name) is not null).Select(s => (s, s.PlaceAt(to.Name)!))];
        Task<IReadOnlyDictionary<string, PeFacts>> askIngress = inquiry.IngressAsync(group.Ingress.Select(i => i.Name));
        IReadOnlyDictionary<string, PeFacts> ends = await inquiry.EndsAsync(sources.Concat(targets).Select(s => s.Place.Pe.Name));
        IReadOnlyDictionary<string, PeFacts> ingress = await askIngress;
        var network = new NetworkChecks(notes, state, group, ends, placed);
        foreach (var at in sources.GroupBy(s => s.Place.Pe.Name)) network.CheckEnd(at.Key, isTarget: false, at);
        foreach (var at in targets.GroupBy(s => s.Place.Pe.Name)) network.CheckEnd(at.Key, isTarget: true, at);

        // Pairs of PEs, and what comes while nobody runs.
        var holds = new HoldChecks(notes, hosts, ends);
        var damping = new DampingChecks(notes, state, view.Now);
        var paths = new PathPlanner(
            notes, ManagerMachine.IdOf(state.NextMigration), state.NextKey, state.KeysInUse(), group, options, ends, ingress);
        var predictions = new List<HoldPrediction>();
        var moves = new List<MovePlan>();
        double longest = 0;

        // All paths at once: a hundred, one after the other, would each wait for its round trips.
        Dictionary<PathDraft, Task<PathFacts>> asks = drafts.SelectMany(d => d.Paths)
            .Where(p => ends[p.Source].Node.Value is not null && ends[p.Target].Node.Value is not null)
            .ToDictionary(p => p, p => inquiry.PathAsync(p, ends[p.Source], ends[p.Target]),
                (IEqualityComparer<PathDraft>)ReferenceEqualityComparer.Instance);
        await Task.WhenAll(asks.Values);
        foreach (MoveDraft draft in drafts)
        {
            double blackout = holds.Blackout(draft.Servers, call.CopyMs);
            longest = Math.Max(longest, blackout);
            int stopMs = options.StopMs, maxBlackoutMs = options.MaxBlackoutMs ?? group.MaxBlackoutMs;
            var made = new List<PathMove>();
            foreach (PathDraft path in draft.Paths)
            {
                foreach ((string name, PeFacts facts) in ingress.Where(i => i.Key != path.Source && i.Key != path.Target))
                    CheckIngress(name, facts, path);
                if (path.Vrf == NodeConfig.DefaultVrf && group.OtherIngress) WarnOfFlaps(path);
                if (holds.Predict(path, options.Hold ?? new HoldOptions(), blackout) is { } prediction) predictions.Add(prediction);
                stopMs = Math.Min(stopMs, holds.StopMs(path, options.Hold ?? new HoldOptions(), blackout) ?? stopMs);
                maxBlackoutMs = Math.Min(maxBlackoutMs, holds.LongestBlackoutMs(path, options.Hold ?? new HoldOptions()) ?? maxBlackoutMs);
                if (!asks.TryGetValue(path, out Task<PathFacts>? asked)) continue;
                PathFacts known = await asked;
                network.CheckPath(path, known);
                network.WarnOfProviders(path);
                made.Add(paths.Make(path, known));
            }

            moves.Add(new MovePlan(
                ManagerMachine.IdOf(state.NextMigration), state.GroupOf(group.Name).Epoch + 1, draft.Servers[0].From.Site.Name, to.Name,
                group.Stateless ? [] : [.. draft.Servers.Select(s => new ServerMove(
                    s.Server.Name, s.From.Host.Name, s.To.Host.Name, s.Undoable, VolumeChecks.Of(s),
                    CopyShares.Copies(s) && shares.TryGetValue(s.From.Host.Name, out long most) ? most : null))],
                made, options with { StopMs = stopMs, StopByHold = stopMs < options.StopMs,
                    MaxBlackoutMs = Math.Max(1, maxBlackoutMs - (int)Math.Ceiling(holds.OrdersMs(draft.Servers))) }, Ahead: true,
                Services: group.Stateless ? [.. draft.Servers.Select(s => s.Server.Name)] : null));
        }

        if (call.MaxBlackoutMs < longest)
            notes.Add("blackout-too-long", group.Name,
                $"nobody would run for {longest:0} ms, {call.MaxBlackoutMs} are allowed; allow more");
        bool may = notes.Obstacles.Count == 0;
        var info = new PlanInfo(
            group.Name, placed.Select(p => p.From.Site.Name).Distinct().ToArray() is [string site] ? site : null, to.Name,
            Words.Of(cutover ?? Cutover.Together), notes.Obstacles, Math.Round(longest, 1),

            // Of many moves by one path, which have a hold each, the fullest.
            [.. predictions.GroupBy(p => p.Path).Select(p => p.MaxBy(x => x.PredictedPackets)!)],
            [.. group.Servers.Select(s => s.Name)],
            group.Servers.Sum(s => s.Prefixes.Count), notes.Warnings, MachinesOf(placed));
        return new PlanResult(info, may ? new MigrationRequest(group.Name, to.Name, cutover!.Value, options,
                atOnce > 1 ? atOnce : null, bandwidth) : null, may ? moves : []) { Drafted = moves };

        // Routers of other makes do not say what they damp, nor what they would.
        void WarnOfFlaps(PathDraft path)
        {
            foreach (string prefix in path.Prefixes.Select(p => p.Prefix).Where(
                p => MoveHistory.Recent(state, p, view.Now) >= MoveHistory.FlapsAt).Select(p => p.ToString()))
                notes.Warn(Remedies.Flaps(state, prefix, view.Now));
        }

        void CheckIngress(string name, PeFacts facts, PathDraft path)
        {
            if (facts.Node.Value is null)
            {
                string why = facts.Node.Silence ?? facts.Node.Refusal?.Detail ?? "";
                notes.Warn($"ingress PE {name} does not answer ({why}): it is not waited for, and the tunnel goes when no packet has come "
                    + $"for {options.QuietMs} ms");
            }

            damping.Check(name, facts, path);
            network.CheckIngress(path, name, ingress);
        }
    }

    private static PlannedMachine[]? MachinesOf(IReadOnlyList<PlacedServer> placed)
    {
        PlannedMachine[] machines = [.. placed.Where(s => s.AtFrom?.Machine is not null || s.AtTo?.Machine is not null)
            .Select(s => new PlannedMachine(s.Server.Name, s.From.Host.Name, s.AtFrom?.Machine, s.To.Host.Name, s.AtTo?.Machine))];
        return machines.Length > 0 ? machines : null;
    }

    private static string List(IEnumerable<string> names) => string.Join(", ", names) is { Length: > 0 } list ? list : "none";

    private static Cutover? CutoverOf(MigrationCall call, PlanNotes notes)
    {
        foreach (Cutover cutover in Enum.GetValues<Cutover>())
        {
            if ((call.Cutover ?? Words.Of(Cutover.Together)) == Words.Of(cutover)) return cutover;
        }

        notes.Add("cutover-unknown", call.Cutover!, $"'{call.Cutover}' is no cutover; say "
            + $"{List(Enum.GetValues<Cutover>().Select(c => Words.Of(c)))}");
        return null;
    }

    private static MoveOptions OptionsOf(MigrationCall call, GroupConfig group)
    {
        var usual = new MoveOptions();
        return usual with
        {
            Hold = call.Hold ?? group.Hold, CopyMs = call.CopyMs, QuietMs = call.QuietMs ?? usual.QuietMs, KeepOrder = call.KeepOrder,
            OrderBoundMs = call.OrderBoundMs ?? usual.OrderBoundMs, OthersHoldMs = call.OthersHoldMs,
            MaxBlackoutMs = call.MaxBlackoutMs, KeepTrying = call.KeepTrying,
            Window = call.Window is { } window ? new MoveWindow(window.From, window.To, window.LeadMs ?? WindowCall.UsualLeadMs) : null,

            // The window itself ends what does not come to its point.
            MirrorMs = call.Window is { } open
                ? Math.Max(usual.MirrorMs,
                    (int)(open.To - open.From).TotalMilliseconds + (open.LeadMs ?? WindowCall.UsualLeadMs) + usual.StepMs)
                : group.Stateless ? usual.StepMs : usual.MirrorMs,   // nothing is copied: the tunnel, and the instances' answers
        };
    }

    /// <summary>Why no other migration of the group begins now, and what to do: nothing, for the one that runs is at work.</summary>
    internal static string Busy(MigrationState running)
        => $"migration {running.Id} of {running.Request.Group} to {running.Request.To} runs ({Words.Of(running.Current.Stage)}), asked for "
            + $"by {running.By}; wait for its end: 'sdnedge migrate watch {running.Id}' shows it, and what it waits for";

    private static void CheckRunning(
        MmsConfig config, ManagerState state, GroupConfig group, Cutover? cutover, int atOnce, PlanNotes notes)
    {
        if (state.RunningOf(group.Name) is { } running)
            notes.Add("busy", group.Name, Busy(running));
        MigrationState[] others = [.. state.Migrations.Values.Where(m => m.Outcome is null && m.Request.Group != group.Name)];
        if (others.Length >= config.Limits.Migrations)
        {
            notes.Add("limit", "migrations", $"{others.Length} migrations run ({List(others.Select(m => m.Id))}), and limits.migrations "
                + $"is {config.Limits.Migrations}; wait until one has ended");
        }

        int moving = others.Sum(OnTheWay), most = group.Servers.Count, limit = config.Limits.Servers;
        int more = cutover == Cutover.OneByOne ? Math.Min(atOnce, most) : most;
        if (moving + more > limit)
        {
            string fewer = (cutover, limit - moving) switch
            {
                (_, < 1) => "",
                (Cutover.OneByOne, var room) => $", or have at most {room} on the way at once (atOnce: {room})",
                (_, 1) => ", or move one-by-one",
                (_, var room) => $", or move one-by-one, at most {room} at once (atOnce: {room})",
            };
            notes.Add("limit", "servers",
                $"{more} servers would move at once beside {moving} that are on their way, and limits.servers is {limit}; "
                + (moving > 0 ? "wait until those have arrived, or " : "")
                + $"raise it to {moving + more} or more in the manager's file{fewer}");
        }
    }

    // With those that begin as soon as there is room: it may have as many at once.
    private static int OnTheWay(MigrationState migration)
    {
        MovePlan[] running = [.. migration.Running.Select(n => migration.MoveOf(n).Plan)];
        IEnumerable<MovePlan> next = migration.ToCome.Concat(migration.ToTakeBack).Take(migration.AtOnce - running.Length);
        return running.Concat(next).Sum(p => p.Names.Count());
    }

    private static void WarnOf(GroupConfig group, MoveOptions options, Cutover? cutover, IReadOnlyList<PlacedServer> placed,
        PlanNotes notes)
    {
        if (options.Hold is { Disabled: true }) notes.Warn("there is no hold: what comes while nobody runs is lost, and order is not kept");
        else if (!options.KeepOrder) notes.Warn("order is not kept when ingress PEs take the direct path: keepOrder is false");
        if (group.OtherIngress)
            notes.Warn($"clients of {group.Name} also come by PEs that send no flush markers: the tunnel goes when no packet has come for "
                + $"{options.QuietMs} ms");

        // Sound, as the pivot comes before the hand-over; but from there on there is only forward, for all.
        string[] handed = [.. placed.Where(p => !p.Undoable).Select(p => p.Server.Name)];
        if (handed.Length > 0 && placed.Count > 1 && cutover != Cutover.OneByOne)
            notes.Warn($"the hand-over of {List(handed)} cannot be undone: once it has begun, all of {group.Name} goes to the end; "
                + "one-by-one, the others could go back");
        else if (handed.Length > 0)
            notes.Warn($"the hand-over of {List(handed)} cannot be undone: once it has begun, the move goes to the end");
    }
}
