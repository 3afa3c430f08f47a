using System.Collections.Concurrent;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>The parties of migrations by their APIs. Each answer is waited for so long; then it is not known whether it was done.</summary>
public sealed class HttpParties(PartyClients clients) : IParties
{
    // Prepare waits at the PE for its tunnel, 10 s at most; a host carries out an order before it answers.
    private static readonly TimeSpan s_prepare = TimeSpan.FromSeconds(12), s_signal = TimeSpan.FromSeconds(6),
        s_order = TimeSpan.FromSeconds(15), s_read = TimeSpan.FromSeconds(5);

    // Questions to one ingress PE at once.
    private const int AtOnce = 16;

    private readonly ConcurrentDictionary<(string Pe, string Path), ConcurrentDictionary<string, bool>> _direct = [];

    /// <inheritdoc/>
    public Task<SignalReply> SignalAsync(SendSignal command, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(command);
        return PartyClients.WithinAsync(
            command.Signal == SignalKind.Prepare ? s_prepare : s_signal, command.Pe, command.Key,
            end => clients.Pe(command.Pe).SignalAsync(command.Path, command.Signal, command.Request, end), cancel);
    }

    /// <inheritdoc/>
    public Task<ServerReply> OrderAsync(SendOrder command, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(command);
        return PartyClients.WithinAsync(
            s_order + TimeSpan.FromMilliseconds(command.Request.CopyMs), command.Host, command.Key,
            end => clients.Host(command.Host).OrderAsync(command.Server, command.Order, command.Request, end), cancel);
    }

    /// <inheritdoc/>
    public Task<MigrationInfo> MigrationAsync(string pe, string path, MigrationWait wait, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(wait);
        return PartyClients.WithinAsync(
            s_read + wait.Longest, pe, $"what {pe} knows of {path}", end => clients.Pe(pe).MigrationAsync(path, wait, end), cancel);
    }

    /// <inheritdoc/>
    public Task<ServerInfo> ServerAsync(string host, string server, CancellationToken cancel)
        => PartyClients.WithinAsync(
            s_read, host, $"what {host} knows of {server}", end => clients.Host(host).ServerAsync(server, end), cancel);

    /// <inheritdoc/>
    public Task<LeaseInfo?> LeaseAsync(LeaseCommand command, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(command);
        (_, string group, string site, long epoch) = command.Lease;
        return PartyClients.WithinAsync(s_signal, command.Party, command.Key, async end =>
        {
            if (command is not BindLease bind)
            {
                WitnessClient witness = clients.Witness(command.Party);
                return command is OpenLease ? await witness.OpenAsync(group, site, new LeaseOpenCall(epoch), end)
                    : await witness.RevokeAsync(group, site, new LeaseRevokeCall(epoch), end);
            }

            ServerLeaseCall call = bind.Bound ? new(group, site, epoch) : new(null, null, epoch);
            await clients.Host(bind.Host).LeaseAsync(bind.Server, call, end);
            return (LeaseInfo?)null;
        }, cancel);
    }

    /// <inheritdoc/>
    /// <remarks>
    /// For each prefix: the best route is the target's, and the FIB forwards it the way it forwards that route's next hop. A prefix once
    /// seen so is not looked at again for that path.
    /// </remarks>
    public async Task<string?> WhyNotDirectAsync(string pe, PathMove path, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(path);
        PeClient client = clients.Pe(pe);
        ConcurrentDictionary<string, bool> seen = _direct.GetOrAdd((pe, path.Id), _ => new(StringComparer.Ordinal));
        foreach (MovingPrefix[] some in path.Target.Prefixes.Where(m => !seen.ContainsKey(m.Prefix)).Chunk(AtOnce))
        {
            string?[] why = await Task.WhenAll(some.Select(async moving =>
            {
                string? not = await PartyClients.WithinAsync(
                    s_read, pe, $"{pe}'s route to {moving.Prefix}", end => WhyNotAsync(client, path, moving.Prefix, end), cancel);
                if (not is null) seen[moving.Prefix] = true;
                return not;
            }));
            if (why.FirstOrDefault(w => w is not null) is { } first) return first;
        }

        _direct.TryRemove((pe, path.Id), out _);
        return null;
    }

    /// <inheritdoc/>
    /// <remarks>A PE of an earlier version does not say what it tells: as if it told nothing.</remarks>
    public async Task<SourceTells> TellsAsync(PathMove path, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(path);
        PeClient client = clients.Pe(path.Source.Pe);
        uint? lowest = null;
        var not = new List<string>();
        foreach (MovingPrefix[] some in path.Source.Prefixes.Chunk(AtOnce))
        {
            uint?[] told = await Task.WhenAll(some.Select(moving => PartyClients.WithinAsync(
                s_read, path.Source.Pe, $"what {path.Source.Pe} advertises of {moving.Prefix}", async end =>
                {
                    IpPrefix wanted = IpPrefix.Parse(moving.Prefix);
                    return (await client.RoutesAsync(path.Vrf, moving.Prefix, end)).FirstOrDefault(r => r.Best && r.Is(wanted))?.ToldInside;
                }, cancel)));
            for (int i = 0; i < some.Length; i++)
            {
                if (told[i] is not { } pref) not.Add(some[i].Prefix);
                else lowest = Math.Min(lowest ?? pref, pref);
            }
        }

        return new SourceTells(path.Id, lowest, lowest is null || not.Count == 0 ? null : not);
    }

    /// <inheritdoc/>
    public async Task<IReadOnlyList<string>> LeftOverAsync(string pe, string path, CancellationToken cancel)
    {
        // The path is at its end: what was remembered of it is, too.
        foreach ((string, string Path) key in _direct.Keys.Where(k => k.Path == path)) _direct.TryRemove(key, out _);
        PeClient client = clients.Pe(pe);
        return await PartyClients.WithinAsync<IReadOnlyList<string>>(s_read, pe, $"what {pe} has of {path}", async end =>
        {
            Task<IReadOnlyList<TunnelInfo>> tunnels = client.TunnelsAsync(end);
            Task<IReadOnlyList<RedirectGroupInfo>> groups = client.GroupsAsync(end);
            Task<IReadOnlyList<MigrationInfo>> migrations = client.MigrationsAsync(end);
            await Task.WhenAll(tunnels, groups, migrations);
            return
            [
                .. (await tunnels).Where(t => t.Name == "mig-" + path).Select(t => $"{pe} tunnel {t.Name}"),
                .. (await groups).Where(g => g.Name == path).Select(g => $"{pe} group {g.Name} ({g.Active})"),
                .. (await migrations).Where(m => m.Id == path && !m.IsOver()).Select(m => $"{pe} migration {m.Id} ({Words.Of(m.State)})"),
            ];
        }, cancel);
    }

    private static async Task<string?> WhyNotAsync(PeClient pe, PathMove path, string prefix, CancellationToken cancel)
    {
        IpPrefix wanted = IpPrefix.Parse(prefix);
        IpAddress target = IpAddress.Parse(path.Target.Loopback);
        RouteInfo[] routes = [.. (await pe.RoutesAsync(path.Vrf, prefix, cancel)).Where(r => r.Is(wanted))];
        RouteInfo? best = routes.FirstOrDefault(r => r.Best);
        if (best is null || !IsBy(best))
        {
            // What it has, and why the target's is not what it uses: an operator there would ask for nothing else.
            string has = best is null ? $"no route to {prefix}"
                : $"the best route to {prefix} is {best.Peer ?? best.NextHop ?? best.Source}'s, not {path.Target.Loopback}'s";
            return has + (routes.FirstOrDefault(IsBy) is { } its ? $", which is there and not used: {its.Why ?? "no reason is given"}"
                : ", of which nothing has come") + $" ('sdnedge show route {prefix} --why' at {pe.Name})";
        }

        bool IsBy(RouteInfo route) => Is(route.Peer, target) || Is(route.NextHop, target);

        // Another family's next hop (RFC 8950) resolves on a port of its own choice: the RIB's word then has to do.
        if (!IpAddress.TryParse(best.NextHop, out IpAddress hop) || hop.Family != wanted.Family) return null;
        Task<FibInfo> forwards = pe.FibLookupAsync(path.Vrf, wanted.Address.ToString(), cancel);
        Task<FibInfo> towards = pe.FibLookupAsync(path.Vrf, hop.ToString(), cancel);
        await Task.WhenAll(forwards, towards);

        // In a customer's VRF the FIB names the far end of a tunnel, to which there is no route among the customer's own.
        if (Is((await forwards).NextHop, hop)) return null;
        return (await forwards).NextHop == (await towards).NextHop && (await forwards).Port == (await towards).Port ? null
            : $"the FIB sends {prefix} to {(await forwards).NextHop}, not to {(await towards).NextHop}";
    }

    private static bool Is(string? text, IpAddress address) => IpAddress.TryParse(text, out IpAddress parsed) && parsed == address;
}
