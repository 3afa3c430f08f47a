using System.Collections.Immutable;
using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Model;
using SdnEdge.Web;

namespace SdnEdge.Mms.Drivers;

/// <summary>
/// Rebuilds what a lost journal knew from what PEs and hosts say: epochs at least as high as any that they have seen, and where each server
/// may
/// run. Every party must answer: one that is silent may know more.
/// </summary>
internal static class Recovery
{
    /// <summary>Asks all parties.</summary>
    /// <exception cref="ProblemException">A party is silent, or a server may run at two places: all of it is in the problem's
    /// errors.</exception>
    public static async Task<Recovered> AskAsync(MmsConfig config, IPlanView view, string by, CancellationToken cancel)
    {
        var errors = new List<ProblemError>();
        var paths = new List<MigrationInfo>();
        uint key = ManagerState.FirstKey;
        foreach (DaemonConfig pe in config.Pes)
        {
            Answer<IReadOnlyList<MigrationInfo>> migrations = await view.MigrationsAsync(pe.Name, cancel);
            Answer<IReadOnlyList<TunnelInfo>> tunnels = await view.TunnelsAsync(pe.Name, cancel);
            if (migrations.Value is null || tunnels.Value is null)
            {
                errors.Add(new ProblemError(pe.Name, migrations.Silence ?? tunnels.Silence ?? migrations.Refusal?.Detail
                    ?? "does not answer"));
                continue;
            }

            paths.AddRange(migrations.Value);
            key = Math.Max(key, tunnels.Value.Select(t => (t.Key ?? 0) + 1).DefaultIfEmpty(key).Max());
        }

        ImmutableSortedDictionary<string, GroupState> groups = ImmutableSortedDictionary<string, GroupState>.Empty;
        foreach (GroupConfig group in config.Groups)
        {
            HashSet<string> prefixes = [.. group.Servers.SelectMany(s => s.Prefixes).Select(p => p.ToString())];
            long epoch = paths.Where(m => m.Prefixes.Any(p => prefixes.Contains(p.Prefix))).Select(m => m.Epoch).DefaultIfEmpty(0).Max();
            var owners = new Dictionary<string, Ownership>(StringComparer.Ordinal);
            foreach (ServerConfig server in group.Servers)
            {
                var may = new List<Ownership>();
                foreach (PlaceConfig place in server.At)
                {
                    Answer<ServerInfo> answer = await view.ServerAsync(place.Host.Name, server.Name, cancel);
                    if (answer.Value is not { } info)
                    {
                        errors.Add(new ProblemError(place.Host.Name, answer.Silence ?? answer.Refusal?.Detail ?? "does not answer"));
                        continue;
                    }

                    epoch = Math.Max(epoch, info.Epoch);
                    if (info.MayRun is { } right) may.Add(new Ownership(place.Site.Name, right));
                }

                if (may.Count > 1)
                    errors.Add(new ProblemError(server.Name, $"may run at {string.Join(" and ", may.Select(o => $"{o.Site} (epoch {o.Epoch})"))}; stop it at one of them first"));
                else if (may.Count == 1) owners[server.Name] = may[0];
            }

            groups = groups.Add(group.Name, new GroupState(epoch, owners.ToImmutableSortedDictionary(StringComparer.Ordinal)));
        }

        if (errors.Count > 0)
            throw new ProblemException(Problems.Conflict("nothing was recovered: each party must answer, and each server may run at one place at most") with { Errors = errors });
        return new Recovered(groups, paths.Select(p => NumberOf(p.Id) + 1).DefaultIfEmpty(1).Max(), key, by);
    }

    // m12.1, m12-2.1: 12. Ids of another form are no manager's.
    private static long NumberOf(string path)
    {
        int end = path.IndexOfAny(['.', '-']);
        return path.StartsWith('m')
            && long.TryParse(path.AsSpan(1, (end < 0 ? path.Length : end) - 1), NumberStyles.None, CultureInfo.InvariantCulture,
            out long number) ? number : 0;
    }
}
