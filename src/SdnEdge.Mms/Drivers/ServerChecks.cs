using SdnEdge.Core.Api;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>
/// Where the servers of a group are, by their hosts' word, and whether the hosts can move them. While a migration of the group runs its
/// servers are on their way: what their hosts say of that is no obstacle of its own.
/// </summary>
internal sealed class ServerChecks(
    PlanNotes notes, ManagerState state, GroupConfig group, SiteConfig to, IReadOnlyDictionary<string, HostFacts> hosts)
{
    private readonly GroupState _known = state.GroupOf(group.Name);
    private readonly bool _busy = state.RunningOf(group.Name) is not null;

    /// <summary>The servers that are to move, as far as their places are known. All obstacles are in the notes.</summary>
    public IReadOnlyList<PlacedServer> Place()
    {
        var placed = new List<PlacedServer>();
        var sites = new List<(string Server, string Site)>();
        foreach (ServerConfig server in group.Servers)
        {
            PlaceConfig? target = notes.TargetOf(server, to);
            PlaceConfig[] runs = [.. server.At.Where(p => Known(p, server) is { State: ServerState.Running })];
            foreach (PlaceConfig place in runs) sites.Add((server.Name, place.Site.Name));
            PlaceConfig? from = runs.Length > 0 ? runs.FirstOrDefault(p => p != target) ?? runs[0] : Expected(server, target);
            if (!_busy) CheckRuns(server, runs, target);
            foreach (PlaceConfig place in server.At) CheckEpoch(server, place, runs);
            if (target is not null) CheckHost(server, target, isTarget: true);
            if (from is not null && from != target) CheckHost(server, from, isTarget: false);
            if (from is not null && target is not null && from != target)
                placed.Add(new PlacedServer(server, from, target, Known(from, server), Known(target, server), runs.Length == 1));
        }

        if (!_busy) CheckTogether(sites);
        return placed;
    }

    private Answer<ServerInfo>? Asked(PlaceConfig place, ServerConfig server)
        => hosts[place.Host.Name].Servers.GetValueOrDefault(server.Name);

    private ServerInfo? Known(PlaceConfig place, ServerConfig server) => Asked(place, server)?.Value;

    // Nobody says that it runs: where the journal has it, or else the only place that it can come from.
    private PlaceConfig? Expected(ServerConfig server, PlaceConfig? target)
    {
        if (_known.Owners.TryGetValue(server.Name, out Ownership? owner) && server.PlaceAt(owner.Site) is { } place) return place;
        PlaceConfig[] others = [.. server.At.Where(p => p != target)];
        return others.Length == 1 ? others[0] : null;
    }

    private void CheckRuns(ServerConfig server, PlaceConfig[] runs, PlaceConfig? target)
    {
        if (runs.Length > 1)
        {
            notes.Add("running-twice", server.Name,
                $"{server.Name} runs at {string.Join(" and at ", runs.Select(p => $"{p.Site.Name} ({p.Host.Name})"))}; stop it everywhere "
                    + "but at one of them");
        }

        foreach (PlaceConfig place in server.At)
        {
            bool needed = place == target || runs.Length == 0;
            if (Asked(place, server) is { IsUnknown: true })
            {
                string text = $"{place.Host.Name} does not know {server.Name}; add it to that host's servers";
                if (needed) notes.Add("server-unknown", server.Name, text);
                else notes.Warn(text);
            }
            else if (needed)
            {
                notes.Need(place.Host.Name, hosts[place.Host.Name].Node);
                notes.Need(place.Host.Name, Asked(place, server));
            }
            else if (Known(place, server) is null)
            {
                notes.Warn($"{place.Host.Name} does not say whether {server.Name} runs at {place.Site.Name}, too");
            }
        }

        // All that answered say so: it is nowhere. One that is silent may have it, and is an obstacle already.
        if (runs.Length == 0 && server.At.All(p => Known(p, server) is not null))
        {
            string said = string.Join(", ", server.At.Select(p => $"{p.Host.Name} says {Words.Of(Known(p, server)!.State)}"));
            notes.Add("not-running", server.Name, $"{server.Name} runs nowhere: {said}; start it at the site where it belongs, then move "
                + "it");
        }

        if (target is not null && runs.Length > 0
            && Known(target, server) is { State: ServerState.Paused or ServerState.Incoming or ServerState.Unknown } there)
        {
            notes.Add("server-fault", $"{server.Name} at {target.Host.Name}",
                $"{server.Name} is {Words.Of(there.State)} at {target.Host.Name}{(there.Migration is { } m ? $" (migration {m})" : "")}, "
                    + "where nothing of it should be; "
                + "see what it is left from, and take it away there");
        }
    }

    private void CheckTogether(List<(string Server, string Site)> runs)
    {
        if (runs.Count == 0) return;
        if (runs.Select(r => r.Site).Distinct().Count() > 1)
        {
            if (runs.GroupBy(r => r.Server).All(g => g.Count() == 1))
            {
                notes.Add("group-split", group.Name,
                    $"its servers are at different sites: {string.Join(", ", runs.Select(r => $"{r.Server} at {r.Site}"))}; a group moves "
                        + "as a whole: have all of them at one site first");
            }
        }
        else if (runs[0].Site == to.Name)
        {
            notes.Add("already-there", group.Name,
                $"{string.Join(", ", runs.Select(r => r.Server))} {(runs.Count == 1 ? "runs" : "run")} at "
                + $"{to.Name} already; name another site");
        }
    }

    private void CheckHost(ServerConfig server, PlaceConfig place, bool isTarget)
    {
        HostFacts host = hosts[place.Host.Name];
        if (notes.Need(place.Host.Name, host.Node) is { Ready: false } node)
            notes.Add("host-not-ready", place.Host.Name, $"{place.Host.Name} takes no orders: {node.Fault ?? "it does not say why"}");
        if (isTarget && Asked(place, server) is { IsUnknown: false } answer) notes.Need(place.Host.Name, answer);
        if (Known(place, server) is { Fault: { } fault })
            notes.Add("server-fault", $"{server.Name} at {place.Host.Name}", $"{place.Host.Name} says of {server.Name}: {fault}");
    }

    // A host that has seen more than the journal: the journal was lost, or an old copy of it was put back.
    private void CheckEpoch(ServerConfig server, PlaceConfig place, PlaceConfig[] runs)
    {
        if (Known(place, server) is not { } info) return;
        if (info.Epoch > _known.Epoch)
        {
            notes.Add("journal-old", $"{server.Name} at {place.Host.Name}",
                $"{place.Host.Name} has seen epoch {info.Epoch} of {server.Name}, the journal knows {_known.Epoch} for {group.Name}; run "
                    + "sdnedge mms recover");
        }
        else if (!_busy && runs.Length == 1 && runs[0] == place && _known.Owners.TryGetValue(server.Name, out Ownership? owner)
            && owner.Site != place.Site.Name)
        {
            notes.Add("journal-old", $"{server.Name} at {place.Host.Name}",
                $"{server.Name} runs at {place.Site.Name} under epoch {info.Epoch}, by the journal {owner.Site} owns it under epoch "
                    + $"{owner.Epoch}; run sdnedge mms recover");
        }
    }
}
