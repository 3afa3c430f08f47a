using System.Collections.Immutable;
using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Model;
using SdnEdge.Web;

namespace SdnEdge.Mms.Drivers;

/// <summary>
/// Rebuilds what a lost or old journal does not know from what PEs and hosts say: epochs at least as high as any that they have seen, and
/// where each server may run. All of it or nothing:
/// <list type="number">
/// <item>every PE and host must answer: one that is silent may know more;</item>
/// <item>of each server that was ever moved exactly one host has the right to run it. Two, or none (a migration is half way), is for an
/// operator to settle: the problem says what each host says, and with which command (<see cref="Settling"/>);</item>
/// <item>a service without state has no host: its epoch is the PEs' word, and where clients are led to it they are asked when it is moved;
/// a migration of it that is half way is ended by hand, as the plan of the next one says;</item>
/// <item>a host that runs a server without the right to, or whose record cannot be used, is not believed;</item>
/// <item>a journal that knows more than the hosts is not overwritten; neither is a migration that runs and of which nobody knows
/// more.</item>
/// </list>
/// </summary>
internal static class Recovery
{
    /// <summary>Asks all parties. Changes nothing.</summary>
    /// <param name="config">The manager's configuration.</param>
    /// <param name="view">Whom to ask.</param>
    /// <param name="state">The fold of the journal as it is.</param>
    /// <param name="by">Who ordered it.</param>
    /// <param name="settle">Where each server in doubt is to run: the site, by server.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="ProblemException">Who owns what is not known: every reason is in the problem's errors.</exception>
    public static async Task<Recovered> AskAsync(
        MmsConfig config, IPlanView view, ManagerState state, string by, IReadOnlyDictionary<string, string> settle,
        CancellationToken cancel)
    {
        var errors = new List<ProblemError>();
        Said said = await AskAllAsync(config, view, errors, cancel);
        uint key = state.NextKey;
        foreach (uint used in said.Keys) key = GreKeys.Behind(key, used);
        ImmutableSortedDictionary<string, GroupState> groups = ImmutableSortedDictionary<string, GroupState>.Empty;
        var stale = new List<string>();
        var settled = new List<SettledMove>();
        HashSet<string> unused = [.. settle.Keys];
        foreach (GroupConfig group in config.Groups)
        {
            long epoch = EpochOf(group, said);
            if (epoch > ManagerState.LastEpoch)
            {
                errors.Add(new ProblemError(group.Name, $"epoch {epoch} was seen of it, and the last that can be used is "
                    + $"{ManagerState.LastEpoch}; nobody counts that far: see who sent it, and take it from the party's state folder"));
                continue;
            }

            if (state.RunningOf(group.Name) is { } running)
            {
                // What the journal knows of it is as new as what the parties know: it goes on.
                if ((said.Servers.Count > 0 || group.Stateless) && TakeUp.WhyOld(running, said.Servers, said.Paths) is null
                    && epoch <= state.GroupOf(group.Name).Epoch)
                {
                    errors.AddRange(group.Servers.Where(s => unused.Remove(s.Name)).Select(s => new ProblemError(s.Name,
                        $"it is not in doubt: migration {running.Id} of it runs by the journal and goes on")));
                    continue;
                }

                stale.Add(running.Id);
            }

            var owners = new Dictionary<string, Ownership>(StringComparer.Ordinal);
            var doubts = new List<Doubt>();
            foreach (ServerConfig server in group.Stateless ? [] : group.Servers)
            {
                if (Owner(group, server, said, state, epoch, errors, doubts) is not { } owner) continue;
                owners[server.Name] = owner;
                if (unused.Remove(server.Name))
                {
                    errors.Add(new ProblemError(server.Name, $"it is not in doubt: {owner.Site} owns it under epoch {owner.Epoch}; to have "
                        + "it elsewhere, move it"));
                }
            }

            groups = groups.Add(group.Name, new GroupState(epoch, owners.ToImmutableSortedDictionary(StringComparer.Ordinal)));
            if (doubts.Count == 0) continue;
            foreach (Doubt doubt in doubts) unused.Remove(doubt.Server.Name);
            long highest = Math.Max(epoch, state.GroupOf(group.Name).Epoch);
            if (await SettleAsync(group, view, state, said, settle, doubts, owners, highest, errors, cancel) is { } move)
                settled.Add(new SettledMove(group.Name, move));
        }

        errors.AddRange(unused.Where(s => !config.Groups.SelectMany(g => g.Servers).Any(x => x.Name == s)).Select(s => new ProblemError(s,
            $"there is no server '{s}'; --settle takes SERVER=SITE")));
        errors.AddRange(unused.Where(s => config.Groups.SelectMany(g => g.Servers).Any(x => x.Name == s)
            && errors.All(e => e.Pointer != s && !e.Pointer.StartsWith(s + " at ", StringComparison.Ordinal))).Select(s =>
            new ProblemError(s, config.Groups.Any(g => g.Stateless && g.Servers.Any(x => x.Name == s))
                ? "it has no state: it runs at all of its sites, and there is nothing to settle"
                : "it is not in doubt: it was never moved, or its hosts did not all answer")));

        // A migration of a group that the configuration does not have any more: nobody can say whether it is still so.
        errors.AddRange(state.Migrations.Values.Where(m => m.Outcome is null && config.Group(m.Request.Group) is null).Select(m =>
            new ProblemError(m.Request.Group, $"migration {m.Id} of it runs, and the configuration does not have it any more; put it "
                + "back")));
        if (errors.Count > 0)
        {
            Problem problem = Problems.Conflict("nothing was recovered, and nothing moves: who owns what is not known");
            throw new ProblemException(problem with { Errors = errors });
        }

        long next = said.Paths.Select(p => NumberOf(p.Info.Id) + 1).DefaultIfEmpty(1).Max();
        return new Recovered(groups, next, key, by, stale.Count > 0 ? stale : null, settled.Count > 0 ? settled : null);
    }

    // Null: not all that are in doubt were named, or cannot be settled so.
    private static async Task<MovePlan?> SettleAsync(
        GroupConfig group, IPlanView view, ManagerState state, Said said, IReadOnlyDictionary<string, string> settle, List<Doubt> doubts,
        Dictionary<string, Ownership> owners, long epoch, List<ProblemError> errors, CancellationToken cancel)
    {
        var settling = new Settling(group, view, state, said.Paths, errors);
        foreach (Doubt doubt in doubts.Where(d => !settle.ContainsKey(d.Server.Name)))
            errors.Add(new ProblemError(doubt.Server.Name, $"{doubt.Why}; {settling.Help(doubt)}"));

        // Where a host has not answered, or is not believed, nothing is settled: it may know more than all others.
        if (errors.Count > 0) return null;
        var known = owners.Select(o => (Server: new Doubt(group.Servers.First(s => s.Name == o.Key), [], ""), Owner: o.Value))
            .Select(o => (o.Server with { At = AtOf(o.Server.Server, said) }, o.Owner)).ToArray();
        return await settling.PlanAsync(doubts, known, settle, epoch, cancel);
    }

    private static (PlaceConfig Place, ServerInfo Info)[] AtOf(ServerConfig server, Said said)
        => [.. server.At.Where(p => said.Servers.ContainsKey((p.Host.Name, server.Name)))
            .Select(p => (p, said.Servers[(p.Host.Name, server.Name)]))];

    private static async Task<Said> AskAllAsync(MmsConfig config, IPlanView view, List<ProblemError> errors, CancellationToken cancel)
    {
        // All at once: a silent one costs its time once.
        var pes = config.Pes.Select(pe => (pe.Name, Migrations: view.MigrationsAsync(pe.Name, cancel), Tunnels: view.TunnelsAsync(pe.Name,
            cancel))).ToArray();
        var places = config.Groups.Where(g => !g.Stateless).SelectMany(g => g.Servers).SelectMany(s => s.At, (server, place) =>
            (Server: server.Name, Host: place.Host.Name, Answer: view.ServerAsync(place.Host.Name, server.Name, cancel))).ToArray();
        var paths = new List<(string Pe, MigrationInfo Info)>();
        var keys = new List<uint>();
        var servers = new Dictionary<(string Host, string Server), ServerInfo>();
        foreach (var pe in pes)
        {
            Answer<IReadOnlyList<MigrationInfo>> migrations = await pe.Migrations;
            Answer<IReadOnlyList<TunnelInfo>> tunnels = await pe.Tunnels;
            if (Silent(pe.Name, migrations, errors) || Silent(pe.Name, tunnels, errors)) continue;
            paths.AddRange(migrations.Value!.Select(m => (pe.Name, m)));
            keys.AddRange(tunnels.Value!.Select(t => t.Key).OfType<uint>());
        }

        foreach (var place in places)
        {
            Answer<ServerInfo> answer = await place.Answer;
            if (!Silent(place.Host, answer, errors)) servers[(place.Host, place.Server)] = answer.Value!;
        }

        return new Said(paths, keys, servers);
    }

    private static bool Silent<T>(string party, Answer<T> answer, List<ProblemError> errors)
        where T : class
    {
        if (answer.Value is not null) return false;
        errors.Add(new ProblemError(party, $"{answer.Silence ?? answer.Refusal?.Detail ?? "does not answer"}; it may know more than all "
            + "others: recover when it answers"));
        return true;
    }

    private static long EpochOf(GroupConfig group, Said said)
    {
        IEnumerable<long> seen = said.Servers.Where(s => group.Servers.Any(x => x.Name == s.Key.Server)).Select(s =>
            Settling.SeenOf(s.Value));
        return seen.Concat(said.Paths.Where(p => Concerns(group, p.Info)).Select(p => p.Info.Epoch)).DefaultIfEmpty(0).Max();
    }

    private static bool Concerns(GroupConfig group, MigrationInfo path) => group.Servers.Any(s => Concerns(s, path));

    /// <summary>True when a PE's migration has prefixes of a server.</summary>
    public static bool Concerns(ServerConfig server, MigrationInfo path) => server.Vrf == path.Vrf
        && server.Prefixes.Any(p => path.Prefixes.Any(m => IpPrefix.TryParse(m.Prefix, out IpPrefix other)
            && (p.Contains(other) || other.Contains(p))));

    // Null: it was never moved and nobody may run it, or it is not known, and the errors say why.
    private static Ownership? Owner(
        GroupConfig group, ServerConfig server, Said said, ManagerState state, long epoch, List<ProblemError> errors, List<Doubt> doubts)
    {
        (PlaceConfig Place, ServerInfo Info)[] at = AtOf(server, said);
        if (at.Length < server.At.Count) return null;
        int wrong = errors.Count;
        foreach ((PlaceConfig place, ServerInfo info) in at.Where(x => x.Info.MayRun is null))
        {
            string where = $"{server.Name} at {place.Host.Name}";
            if (info.State == ServerState.Running)
                errors.Add(new ProblemError(where, "runs there without the right to; stop it there, or restore the host's state folder"));
            else if (info.State == ServerState.Unknown)
                errors.Add(new ProblemError(where, $"{place.Host.Name} cannot say what it does there"
                    + $"{(info.Fault is { } reason ? ": " + reason : "")}; put that right first"));
            else if (info is { Epoch: 0, Fault: { } fault })
                errors.Add(new ProblemError(where, $"{fault}; what {place.Host.Name} has promised of it is not known before that is put "
                    + "right"));
        }

        if (errors.Count > wrong) return null;
        var may = at.Where(x => x.Info.MayRun is not null).ToArray();
        if (may.Length > 1)
        {
            doubts.Add(new Doubt(server, at, $"two hosts may run it: {string.Join(" and ", may.Select(x =>
                $"{x.Place.Site.Name} ({x.Place.Host.Name}: epoch {x.Info.MayRun}, {Words.Of(x.Info.State)})"))}"));
            return null;
        }

        if (may.Length == 0)
        {
            bool moved = state.GroupOf(group.Name).Owners.ContainsKey(server.Name);
            if (moved || at.Any(x => x.Info.Epoch > 0) || said.Paths.Any(p => Concerns(server, p.Info)))
                doubts.Add(new Doubt(server, at, HalfWay(group, at, said)));
            return null;
        }

        (PlaceConfig here, ServerInfo owner) = may[0];
        if (state.GroupOf(group.Name).Owners.GetValueOrDefault(server.Name) is { } known && known.Epoch > epoch
            && known.Site != here.Site.Name)
        {
            errors.Add(new ProblemError(server.Name, $"by the journal {known.Site} owns it under epoch {known.Epoch}, and no PE or host "
                + $"has seen more than {epoch}: the journal knows more than they do. {here.Host.Name} may run it under epoch "
                + $"{owner.MayRun}: was an old copy of its state folder put back?"));
            return null;
        }

        return new Ownership(here.Site.Name, owner.MayRun!.Value);
    }

    // Nobody may run it: it was stopped, and not started at the other end, or not yet.
    private static string HalfWay(GroupConfig group, (PlaceConfig Place, ServerInfo Info)[] at, Said said)
    {
        string each = string.Join(", ", at.Select(x => $"{x.Place.Host.Name} has seen epoch {x.Info.Epoch}, ran {x.Info.RanEpoch}, and it "
            + $"is {Words.Of(x.Info.State)} there"));
        string[] paths = [.. said.Paths.Where(p => Concerns(group, p.Info) && !p.Info.IsOver()).Select(p =>
            $"{p.Info.Id} at {p.Pe} ({Words.Of(p.Info.Role)}, {Words.Of(p.Info.State)})")];
        string migration = at.Select(x => x.Info.Migration).FirstOrDefault(m => m is not null) ?? "it";
        return $"no host may run it: migration {migration} is half way ({string.Join(", ", [each, .. paths])})";
    }

    // m12.1, m12-2.1: 12. Ids of another form are no manager's.
    private static long NumberOf(string path)
    {
        int end = path.IndexOfAny(['.', '-']);
        return path.StartsWith('m')
            && long.TryParse(path.AsSpan(1, (end < 0 ? path.Length : end) - 1), NumberStyles.None, CultureInfo.InvariantCulture,
            out long number) && number < ManagerState.LastEpoch ? number : 0;
    }

    // What all parties said.
    private sealed record Said(
        IReadOnlyList<(string Pe, MigrationInfo Info)> Paths, IReadOnlyList<uint> Keys,
        IReadOnlyDictionary<(string Host, string Server), ServerInfo> Servers);
}
