using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>A server of which no host, or more than one, has the right to run it.</summary>
/// <param name="Server">The server.</param>
/// <param name="At">What each of its hosts says.</param>
/// <param name="Why">What is so, for people.</param>
internal sealed record Doubt(ServerConfig Server, IReadOnlyList<(PlaceConfig Place, ServerInfo Info)> At, string Why)
{
    /// <summary>Hosts that have the right.</summary>
    public IEnumerable<(PlaceConfig Place, ServerInfo Info)> Holders => At.Where(x => x.Info.MayRun is not null);
}

/// <summary>
/// Makes the move by which servers in doubt are settled at the site that an operator named, from what PEs and hosts say of it:
/// <list type="number">
/// <item>the host there must be able to run the server: it kept it (the move is undone), or got all of it (the move goes on);</item>
/// <item>what shares a path with it goes the same way: a path is switched back, or goes on, as one;</item>
/// <item>the paths are those that the configuration has between the two places and that a PE still knows;</item>
/// <item>every host of the servers is asked whether it ran them, and to refuse whatever is still on its way.</item>
/// </list>
/// Nothing is granted here: <see cref="Machines.MoveMachine"/> does that when all hosts have answered.
/// </summary>
/// <param name="group">The group.</param>
/// <param name="view">Whom to ask.</param>
/// <param name="state">The fold of the journal as it is.</param>
/// <param name="paths">What PEs said of migrations.</param>
/// <param name="errors">Where what is in the way goes.</param>
internal sealed class Settling(
    GroupConfig group, IPlanView view, ManagerState state, IReadOnlyList<(string Pe, MigrationInfo Info)> paths, List<ProblemError> errors)
{
    private static readonly string[] s_kept = ["stopping", "stopped"], s_handed = ["handing-over", "handed-over"];

    /// <summary>What an operator can say about a server in doubt, for the message that it is.</summary>
    public string Help(Doubt doubt)
    {
        var can = new List<string>();
        var cannot = new List<string>();
        foreach (PlaceConfig place in doubt.Server.At)
        {
            if (WhyNotAt(doubt, place) is { } why) cannot.Add($"not at {place.Site.Name}: {why}");
            else can.Add($"sdnedge mms recover --settle {doubt.Server.Name}={place.Site.Name}");
        }

        string no = string.Join("; ", cannot);
        return can.Count == 0 ? $"it can be settled at none of its sites: {no}"
            : $"say where it is to run: {string.Join(", or ", can)}{(no.Length > 0 ? $" ({no})" : "")}. All its hosts are asked first; if "
                + "another one answers that it ran the server, nothing is settled";
    }

    /// <summary>Makes the move. Null: it cannot be, and the errors say why.</summary>
    /// <param name="doubts">The servers of the group that are in doubt.</param>
    /// <param name="owners">Who owns the others, and what each of their hosts says.</param>
    /// <param name="sites">The site that was named for each server in doubt.</param>
    /// <param name="epoch">Highest epoch that was ever seen of the group.</param>
    /// <param name="cancel">Ends it.</param>
    public async Task<MovePlan?> PlanAsync(
        IReadOnlyList<Doubt> doubts, IReadOnlyList<(Doubt Server, Ownership Owner)> owners, IReadOnlyDictionary<string, string> sites,
        long epoch, CancellationToken cancel)
    {
        int wrong = errors.Count;
        string site = sites[doubts[0].Server.Name];
        foreach (Doubt doubt in doubts)
        {
            string named = sites[doubt.Server.Name];
            if (doubt.Server.PlaceAt(named) is not { } place)
                Wrong(doubt, $"it cannot live at '{named}'; its sites are {string.Join(", ", doubt.Server.At.Select(p => p.Site.Name))}");
            else if (WhyNotAt(doubt, place) is { } why) Wrong(doubt, $"it cannot be settled at {named}: {why}");
            else if (named != site)
            {
                Wrong(doubt, $"it was half way in the same migration as {doubts[0].Server.Name}, which goes to {site}: name one site for "
                    + "both");
            }
        }

        if (errors.Count > wrong) return null;

        // Those that share a path, or a host's word of the migration, with one in doubt.
        HashSet<string> migrations = [.. doubts.SelectMany(d => d.At).Select(x => x.Info.Migration).OfType<string>()];
        string[] shared = [.. Live.Where(p => doubts.Any(d => Recovery.Concerns(d.Server, p.Info))).Select(p => p.Info.Id)];
        var beside = owners.Where(o => o.Server.At.Any(x => x.Info.Migration is { } m && migrations.Contains(m))
            || Live.Any(p => shared.Contains(p.Info.Id) && Recovery.Concerns(o.Server.Server, p.Info))).ToArray();
        foreach ((Doubt other, Ownership owner) in beside.Where(o => o.Owner.Site != site))
        {
            Wrong(doubts[0], $"it shares a migration with {other.Server.Name}, which {owner.Site} owns under epoch {owner.Epoch}: "
                + $"settle it at {owner.Site}, too");
        }

        if (errors.Count > wrong) return null;
        Doubt[] all = [.. doubts, .. beside.Select(o => o.Server)];
        bool atTarget = IsTarget(doubts[0], site);
        var placed = new List<PlacedServer>();
        foreach (Doubt server in all)
        {
            PlaceConfig here = server.Server.PlaceAt(site)!;
            if (Other(server, here) is not { } other)
                Wrong(server, $"it has no place but {site}, so there is no other end of the migration");
            else if (IsTarget(server, site) != atTarget)
                Wrong(server, $"{site} is not the same end of the migration for all of {group.Name}");
            else placed.Add(Placed(server, atTarget ? other : here, atTarget ? here : other));
        }

        if (errors.Count == wrong && placed.Select(p => (p.From.Site.Name, p.To.Site.Name)).Distinct().Count() > 1)
            Wrong(doubts[0], $"the servers of {group.Name} that are half way go between different sites; move one of them by hand first");
        if (errors.Count > wrong) return null;
        PathMove[] made = await PathsAsync(placed, atTarget, cancel);
        if (errors.Count > wrong) return null;
        var asks = new List<SettleAsk>();
        foreach (Doubt server in all)
        {
            long seen = server.At.Max(x => SeenOf(x.Info));
            bool two = server.Holders.Count() > 1;
            foreach ((PlaceConfig place, ServerInfo info) in server.At)
            {
                if (two && info.MayRun is not null && place.Site.Name != site)
                {
                    asks.Add(new SettleAsk(place.Host.Name, server.Server.Name, ServerOrder.Retire, epoch + 1));
                    continue;
                }

                // Every epoch from the hosts' highest on: an order with one that only PEs have seen may still be in flight, and a host
                // would carry it out between two voids.
                for (long e = Math.Max(1, seen); e <= epoch + 1; e++)
                    asks.Add(new SettleAsk(place.Host.Name, server.Server.Name, ServerOrder.Void, e));
            }
        }

        string migration = migrations.FirstOrDefault() ?? Machines.ManagerMachine.IdOf(state.NextMigration);
        return new MovePlan(
            migration, epoch + 1, placed[0].From.Site.Name, placed[0].To.Site.Name,
            [.. placed.Select(p => new ServerMove(p.Server.Name, p.From.Host.Name, p.To.Host.Name, p.Undoable,
                VolumeChecks.Of(p)))], made,
            new MoveOptions(Hold: group.Hold), Settle: new Settlement(atTarget, asks));
    }

    /// <summary>The highest epoch that a host has seen of a server.</summary>
    public static long SeenOf(ServerInfo info)
        => Math.Max(Math.Max(info.Epoch, info.MayRun ?? 0), Math.Max(info.RanEpoch, info.VoidEpoch));

    private IEnumerable<(string Pe, MigrationInfo Info)> Live => paths.Where(p => !p.Info.IsOver());

    private void Wrong(Doubt doubt, string why) => errors.Add(new ProblemError(doubt.Server.Name, why));

    // The site is where the server was to go: by what its PE says, else by what its host does.
    private bool IsTarget(Doubt doubt, string site)
    {
        (PlaceConfig place, ServerInfo info) = doubt.At.First(x => x.Place.Site.Name == site);
        MigrationRole? role = Live.Where(p => p.Pe == place.Pe.Name && Recovery.Concerns(doubt.Server, p.Info))
            .Select(p => (MigrationRole?)p.Info.Role).FirstOrDefault();
        return info.Phase == "incoming" || (info.MayRun is not null && role == MigrationRole.Target);
    }

    // Null: the server can be run there again, or at last.
    private string? WhyNotAt(Doubt doubt, PlaceConfig place)
    {
        ServerInfo info = doubt.At.First(x => x.Place == place).Info;
        string host = place.Host.Name;
        (PlaceConfig Place, ServerInfo Info)[] losers = [.. doubt.Holders.Where(x => x.Place != place)];
        if (doubt.Holders.Count() > 1)
        {
            if (info.MayRun is null) return $"{host} has no right to run it, and {List(losers)} have";
            if (losers.FirstOrDefault(x => x.Info.State == ServerState.Running) is { Place: { } running })
                return $"it runs at {running.Site.Name} ({running.Host.Name}): stop it there first, by its own means";
            return IsTarget(doubt, place.Site.Name) ? WhyNotOn(doubt, losers[0].Place, place) : null;
        }

        if (s_handed.Contains(info.Phase)) return $"{host} has handed it over, which cannot be undone";
        if (s_kept.Contains(info.Phase)) return null;
        if (info.Phase != "incoming")
            return $"{host} has nothing of it that could run ({info.Phase ?? Words.Of(info.State)}); put its state folder back";

        // All of it must have come, and the network must be ready to go on.
        (PlaceConfig source, ServerInfo from) = doubt.At.FirstOrDefault(x => x.Place != place && x.Info.State == ServerState.Paused);
        if (source is null) return $"{host} expects it, and no other host says that it has handed it over";
        if (from.Phase != (info.Undoable && from.Undoable ? "stopped" : "handed-over"))
            return $"{host} expects it, and {source.Host.Name} has not handed it over ({from.Phase})";
        if (info.Migration is null) return $"{host} does not say by which migration it expects it";
        return WhyNotOn(doubt, source, place);
    }

    // Null: the network can go on to where the server is to be. Where no PE has an unfinished path it is at the source, or has come back to
    // it; a server that cannot go back there is better off without it than nowhere.
    private string? WhyNotOn(Doubt doubt, PlaceConfig source, PlaceConfig place)
    {
        (string Pe, MigrationInfo Info)[] live = [.. Live.Where(p => Recovery.Concerns(doubt.Server, p.Info))];
        if (live.Length == 0 && s_handed.Contains(doubt.At.First(x => x.Place == source).Info.Phase)) return null;
        foreach ((string pe, PeMigrationState wanted) in new[]
            { (source.Pe.Name, PeMigrationState.Switched), (place.Pe.Name, PeMigrationState.Prepared) })
        {
            if (!live.Any(p => p.Pe == pe && p.Info.State == wanted))
                return $"{pe} is not {Words.Of(wanted)} for it, so the network cannot go on to {place.Site.Name}";
        }

        return null;
    }

    private static string List(IEnumerable<(PlaceConfig Place, ServerInfo Info)> at)
        => string.Join(" and ", at.Select(x => x.Place.Host.Name));

    // The other end: the PE's word, else that of the host that has something of it, else the first other place.
    private PlaceConfig? Other(Doubt server, PlaceConfig here) => server.At.Where(x => x.Place != here)
        .OrderByDescending(x => Live.Any(p => p.Pe == x.Place.Pe.Name && Recovery.Concerns(server.Server, p.Info)))
        .ThenByDescending(x => x.Info.State is not ServerState.Absent).ThenByDescending(x => SeenOf(x.Info)).FirstOrDefault().Place;

    private static PlacedServer Placed(Doubt server, PlaceConfig from, PlaceConfig to) => new(
        server.Server, from, to, server.At.First(x => x.Place == from).Info, server.At.First(x => x.Place == to).Info, IsSeen: true);

    // As the plan of a new move would have them, with the ids and keys of those that the PEs know.
    private async Task<PathMove[]> PathsAsync(IReadOnlyList<PlacedServer> placed, bool atTarget, CancellationToken cancel)
    {
        PathDraft[] drafts = [.. MoveDraft.Of(placed).Paths.Where(d => KnownOf(d).Length > 0)];
        if (drafts.Length == 0) return [];
        var inquiry = new PlanInquiry(view, cancel);
        IReadOnlyDictionary<string, PeFacts> ends = await inquiry.EndsAsync(drafts.SelectMany(d => new[] { d.Source, d.Target }));
        IReadOnlyDictionary<string, PeFacts> ingress = await inquiry.IngressAsync(group.Ingress.Select(i => i.Name));
        var notes = new PlanNotes();
        var planner = new PathPlanner(
            notes, "settled", state.NextKey, state.KeysInUse(), group, new MoveOptions(Hold: group.Hold), ends, ingress);
        var made = new List<PathMove>();
        foreach (PathDraft draft in drafts)
        {
            if (new[] { draft.Source, draft.Target }.FirstOrDefault(pe => ends[pe].Node.Value is null) is { } silent)
            {
                errors.Add(new ProblemError(silent, $"{ends[silent].Node.Silence ?? "does not answer"}; settle when it answers"));
                continue;
            }

            PathMove path = planner.Make(draft, await inquiry.PathAsync(draft, ends[draft.Source], ends[draft.Target]));
            foreach (IGrouping<string, (string Pe, MigrationInfo Info)> known in KnownOf(draft).GroupBy(p => p.Info.Id))
            {
                MigrationInfo info = known.OrderByDescending(p => p.Info.Role == MigrationRole.Target).First().Info;
                uint? key = ends.Values.SelectMany(e => e.Tunnels?.Value ?? []).FirstOrDefault(t => t.Name == info.Tunnel)?.Key;
                made.Add(path with
                {
                    Id = known.Key, TunnelKey = key ?? path.TunnelKey, Order = info.Order is null ? null : path.Order, KeepBackMs = 0,
                });
            }
        }

        if (atTarget) errors.AddRange(notes.Obstacles.Select(o => new ProblemError(o.Where, $"{o.Reason}: {o.Detail}")));
        return [.. made];
    }

    private (string Pe, MigrationInfo Info)[] KnownOf(PathDraft draft) => [.. Live.Where(p =>
        (p.Pe == draft.Source || p.Pe == draft.Target) && draft.Servers.Any(s => Recovery.Concerns(s.Server, p.Info)))];
}
