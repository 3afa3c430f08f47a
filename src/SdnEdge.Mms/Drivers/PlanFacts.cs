using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Config;

namespace SdnEdge.Mms.Drivers;

/// <summary>What a server host's agent says.</summary>
/// <param name="Node">The agent.</param>
/// <param name="RoundTripMs">From the manager to it and back, on a connection that stands; 0 = not known.</param>
/// <param name="Servers">What it says of the group's servers that have a place there; empty when it does not answer.</param>
internal sealed record HostFacts(Answer<HostNodeInfo> Node, double RoundTripMs, IReadOnlyDictionary<string, Answer<ServerInfo>> Servers);

/// <summary>What a PE says. All but <paramref name="Node"/> is null when it does not answer, or was not to be asked.</summary>
/// <param name="Node">The PE.</param>
/// <param name="RoundTripMs">From the manager to it and back, on a connection that stands; 0 = not known.</param>
internal sealed record PeFacts(Answer<NodeInfo> Node, double RoundTripMs)
{
    /// <summary>Ports, first look.</summary>
    public Answer<IReadOnlyList<PortInfo>>? Ports { get; init; }

    /// <summary>Ports again, a moment later: the rate of packets.</summary>
    public Answer<IReadOnlyList<PortInfo>>? PortsLater { get; init; }

    public Answer<IReadOnlyList<VrfInfo>>? Vrfs { get; init; }

    public Answer<IReadOnlyList<TunnelInfo>>? Tunnels { get; init; }

    public Answer<IReadOnlyList<MigrationInfo>>? Migrations { get; init; }

    public Answer<IReadOnlyList<NeighborInfo>>? Neighbors { get; init; }

    public Answer<IReadOnlyList<DampedInfo>>? Damped { get; init; }

    public Answer<IReadOnlyList<BgpPeerInfo>>? Peers { get; init; }

    /// <summary>The round trip to another PE with which there is a BGP session, milliseconds; null: not known.</summary>
    public double? RoundTripTo(PeFacts other) => Peers?.Value?.Where(p => other.Loopbacks.Contains(p.Address)).Min(p => p.RoundTripMs);

    /// <summary>A port by its name; null: there is none.</summary>
    public PortInfo? Port(string? name) => Ports?.Value?.FirstOrDefault(p => p.Name == name);

    /// <summary>All loopbacks.</summary>
    public IReadOnlyList<string> Loopbacks
        => Node.Value is not { } node ? [] : node.Loopbacks is { Count: > 0 } all ? all : [node.RouterId];

    /// <summary>The loopback that is the end of its tunnels and the next hop of its routes.</summary>
    public string Loopback
        => Node.Value is { } node && Loopbacks.Contains(node.RouterId) ? node.RouterId : Loopbacks is [string first, ..] ? first : "";
}

/// <summary>What the two PEs say of one of the prefixes.</summary>
/// <param name="Attached">What the source's FIB does with it.</param>
/// <param name="AtSource">Routes at the source.</param>
/// <param name="AtTarget">Routes at the target.</param>
internal sealed record PrefixFacts(
    Answer<FibInfo> Attached, Answer<IReadOnlyList<RouteInfo>> AtSource, Answer<IReadOnlyList<RouteInfo>> AtTarget);

/// <summary>What two PEs say of each other and of the prefixes.</summary>
/// <param name="There">How the source forwards to the target's loopback.</param>
/// <param name="Back">How the target forwards to the source's.</param>
/// <param name="Prefixes">The prefixes.</param>
internal sealed record PathFacts(Answer<FibInfo> There, Answer<FibInfo> Back, IReadOnlyDictionary<IpPrefix, PrefixFacts> Prefixes);

/// <summary>Asks the parties, all at once, and waits for no party longer than the view does.</summary>
internal sealed class PlanInquiry(IPlanView view, CancellationToken cancel) : IDisposable
{
    // Two looks at counters this far apart tell a rate.
    private static readonly TimeSpan s_between = TimeSpan.FromMilliseconds(300);

    // Questions to one PE at once.
    private const int AtOnce = 16;

    private readonly SemaphoreSlim _asking = new(AtOnce);

    public void Dispose() => _asking.Dispose();

    public async Task<IReadOnlyDictionary<string, HostFacts>> HostsAsync(GroupConfig group)
    {
        if (group.Stateless) return new Dictionary<string, HostFacts>();
        ILookup<string, string> places = group.Servers
            .SelectMany(s => s.At, (server, place) => (Server: server.Name, Host: place.Host.Name)).ToLookup(p => p.Host, p => p.Server);
        return await AllAsync(places.Select(p => p.Key), host => HostAsync(host, [.. places[host]]));
    }

    public Task<IReadOnlyDictionary<string, PeFacts>> EndsAsync(IEnumerable<string> pes) => AllAsync(pes, EndAsync);

    public Task<IReadOnlyDictionary<string, PeFacts>> IngressAsync(IEnumerable<string> pes) => AllAsync(pes, async pe =>
    {
        Answer<NodeInfo> node = await view.NodeAsync(pe, cancel);
        if (node.Value is null) return new PeFacts(node, 0);
        Task<Answer<IReadOnlyList<DampedInfo>>> damped = view.DampedAsync(pe, cancel);
        Task<Answer<IReadOnlyList<BgpPeerInfo>>> peers = view.BgpPeersAsync(pe, cancel);
        Task<Answer<IReadOnlyList<VrfInfo>>> vrfs = view.VrfsAsync(pe, cancel);
        return new PeFacts(node, 0) { Damped = await damped, Peers = await peers, Vrfs = await vrfs };
    });

    public async Task<PathFacts> PathAsync(PathDraft path, PeFacts sourceFacts, PeFacts targetFacts)
    {
        (string source, string target, string vrf) = (path.Source, path.Target, path.Vrf);
        Task<Answer<FibInfo>> there = view.ForwardsAsync(source, NodeConfig.DefaultVrf, targetFacts.Loopback, cancel);
        Task<Answer<FibInfo>> back = view.ForwardsAsync(target, NodeConfig.DefaultVrf, sourceFacts.Loopback, cancel);
        IpPrefix[] prefixes = [.. path.Prefixes.Select(p => p.Prefix).Distinct()];
        PrefixFacts[] known = await Task.WhenAll(prefixes.Select(PrefixAsync));
        return new PathFacts(await there, await back, prefixes.Zip(known).ToDictionary(p => p.First, p => p.Second));

        // As many at once, of all paths together: the next one is asked when one has been answered.
        async Task<PrefixFacts> PrefixAsync(IpPrefix prefix)
        {
            await _asking.WaitAsync(cancel);
            try
            {
                Task<Answer<FibInfo>> attached = view.ForwardsAsync(source, vrf, prefix.Address.ToString(), cancel);
                Task<Answer<IReadOnlyList<RouteInfo>>> atSource = view.RoutesAsync(source, vrf, prefix.ToString(), cancel);
                Task<Answer<IReadOnlyList<RouteInfo>>> atTarget = view.RoutesAsync(target, vrf, prefix.ToString(), cancel);
                return new PrefixFacts(await attached, await atSource, await atTarget);
            }
            finally
            {
                _asking.Release();
            }
        }
    }

    /// <summary>What the FIBs of several PEs do with prefixes, by PE, VRF and prefix.</summary>
    public async Task<IReadOnlyDictionary<(string Pe, string Vrf, IpPrefix Prefix), Answer<FibInfo>>> ForwardsAsync(
        IEnumerable<(string Pe, string Vrf, IpPrefix Prefix)> all)
    {
        var known = new Dictionary<(string Pe, string Vrf, IpPrefix Prefix), Answer<FibInfo>>();
        foreach (var some in all.Distinct().GroupBy(a => a.Pe).SelectMany(g => g.Chunk(AtOnce)))
        {
            var asked = some.Select(a => (a, Answer: view.ForwardsAsync(a.Pe, a.Vrf, a.Prefix.Address.ToString(), cancel))).ToArray();
            foreach (var one in asked) known[one.a] = await one.Answer;
        }

        return known;
    }

    private async Task<HostFacts> HostAsync(string host, IReadOnlyList<string> servers)
    {
        // The first question pays for the connection; the second tells the round trip.
        Answer<HostNodeInfo> first = await view.HostAsync(host, cancel);
        if (first.Silence is not null) return new HostFacts(first, 0, new Dictionary<string, Answer<ServerInfo>>());
        Answer<HostNodeInfo> second = await view.HostAsync(host, cancel);
        var known = new Dictionary<string, Answer<ServerInfo>>(StringComparer.Ordinal);
        foreach (string[] some in servers.Distinct().Chunk(AtOnce))
        {
            var asked = some.Select(s => (Server: s, Answer: view.ServerAsync(host, s, cancel))).ToArray();
            foreach (var one in asked) known[one.Server] = await one.Answer;
        }

        return new HostFacts(first, Math.Min(first.Milliseconds, second.Milliseconds), known);
    }

    private async Task<PeFacts> EndAsync(string pe)
    {
        Answer<NodeInfo> first = await view.NodeAsync(pe, cancel);
        if (first.Value is null) return new PeFacts(first, 0);
        Answer<NodeInfo> second = await view.NodeAsync(pe, cancel);
        Task<Answer<IReadOnlyList<VrfInfo>>> vrfs = view.VrfsAsync(pe, cancel);
        Task<Answer<IReadOnlyList<TunnelInfo>>> tunnels = view.TunnelsAsync(pe, cancel);
        Task<Answer<IReadOnlyList<MigrationInfo>>> migrations = view.MigrationsAsync(pe, cancel);
        Task<Answer<IReadOnlyList<NeighborInfo>>> neighbors = view.NeighborsAsync(pe, cancel);
        Task<Answer<IReadOnlyList<BgpPeerInfo>>> peers = view.BgpPeersAsync(pe, cancel);
        Answer<IReadOnlyList<PortInfo>> ports = await view.PortsAsync(pe, cancel), later = ports;
        if (ports.Value is not null)
        {
            await view.WaitAsync(s_between, cancel);
            later = await view.PortsAsync(pe, cancel);
        }

        return new PeFacts(first, Math.Min(first.Milliseconds, second.Milliseconds))
        {
            Ports = ports, PortsLater = later, Vrfs = await vrfs, Tunnels = await tunnels, Migrations = await migrations,
            Neighbors = await neighbors, Peers = await peers,
        };
    }

    private static async Task<IReadOnlyDictionary<string, T>> AllAsync<T>(IEnumerable<string> names, Func<string, Task<T>> ask)
    {
        (string Name, Task<T> Answer)[] asked = [.. names.Distinct(StringComparer.Ordinal).Select(n => (n, ask(n)))];
        var known = new Dictionary<string, T>(StringComparer.Ordinal);
        foreach ((string name, Task<T> answer) in asked) known[name] = await answer;
        return known;
    }
}
