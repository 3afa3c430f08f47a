using System.Diagnostics;
using SdnEdge.Client;
using SdnEdge.Core.Api;

namespace SdnEdge.Mms.Drivers;

/// <summary>What a planner may ask, by the parties' APIs. Each answer is waited for up to 3 s.</summary>
public sealed class HttpPlanView(PartyClients clients) : IPlanView
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(3);

    /// <inheritdoc/>
    public DateTimeOffset Now => DateTimeOffset.UtcNow;

    /// <inheritdoc/>
    public Task WaitAsync(TimeSpan time, CancellationToken cancel) => Task.Delay(time, cancel);

    /// <inheritdoc/>
    public Task<Answer<NodeInfo>> NodeAsync(string pe, CancellationToken cancel)
        => AskAsync(pe, "node", end => clients.Pe(pe).NodeAsync(end), cancel);

    /// <inheritdoc/>
    public Task<Answer<IReadOnlyList<PortInfo>>> PortsAsync(string pe, CancellationToken cancel)
        => AskAsync(pe, "ports", end => clients.Pe(pe).PortsAsync(end), cancel);

    /// <inheritdoc/>
    public Task<Answer<IReadOnlyList<VrfInfo>>> VrfsAsync(string pe, CancellationToken cancel)
        => AskAsync(pe, "VRFs", end => clients.Pe(pe).VrfsAsync(end), cancel);

    /// <inheritdoc/>
    public Task<Answer<IReadOnlyList<RouteInfo>>> RoutesAsync(string pe, string vrf, string prefix, CancellationToken cancel)
        => AskAsync(pe, $"routes to {prefix}", end => clients.Pe(pe).RoutesAsync(vrf, prefix, end), cancel);

    /// <inheritdoc/>
    public Task<Answer<FibInfo>> ForwardsAsync(string pe, string vrf, string address, CancellationToken cancel)
        => AskAsync(pe, $"way to {address}", end => clients.Pe(pe).FibLookupAsync(vrf, address, end), cancel);

    /// <inheritdoc/>
    public Task<Answer<IReadOnlyList<TunnelInfo>>> TunnelsAsync(string pe, CancellationToken cancel)
        => AskAsync(pe, "tunnels", end => clients.Pe(pe).TunnelsAsync(end), cancel);

    /// <inheritdoc/>
    public Task<Answer<IReadOnlyList<MigrationInfo>>> MigrationsAsync(string pe, CancellationToken cancel)
        => AskAsync(pe, "migrations", end => clients.Pe(pe).MigrationsAsync(end), cancel);

    /// <inheritdoc/>
    public Task<Answer<IReadOnlyList<NeighborInfo>>> NeighborsAsync(string pe, CancellationToken cancel)
        => AskAsync(pe, "neighbours", end => clients.Pe(pe).NeighborsAsync(end), cancel);

    /// <inheritdoc/>
    public Task<Answer<IReadOnlyList<BgpPeerInfo>>> BgpPeersAsync(string pe, CancellationToken cancel)
        => AskAsync(pe, "BGP peers", end => clients.Pe(pe).BgpPeersAsync(end), cancel);

    /// <inheritdoc/>
    public Task<Answer<IReadOnlyList<DampedInfo>>> DampedAsync(string pe, CancellationToken cancel)
        => AskAsync(pe, "damped prefixes", end => clients.Pe(pe).DampedAsync(end), cancel);

    /// <inheritdoc/>
    public Task<Answer<HostNodeInfo>> HostAsync(string host, CancellationToken cancel)
        => AskAsync(host, "node", end => clients.Host(host).NodeAsync(end), cancel);

    /// <inheritdoc/>
    public Task<Answer<ServerInfo>> ServerAsync(string host, string server, CancellationToken cancel)
        => AskAsync(host, $"server {server}", end => clients.Host(host).ServerAsync(server, end), cancel);

    private static async Task<Answer<T>> AskAsync<T>(string party, string what, Func<CancellationToken, Task<T>> ask,
        CancellationToken cancel)
        where T : class
    {
        long asked = Stopwatch.GetTimestamp();
        try
        {
            T value = await PartyClients.WithinAsync(s_limit, party, $"the question to {party} for its {what}", ask, cancel);
            return Make<T>(value, null, null, asked);
        }
        catch (ApiProblemException e)
        {
            return Make<T>(null, e.Problem, null, asked);
        }
        catch (ApiUnreachableException e)
        {
            return Make<T>(null, null, e.Message, asked);
        }
    }

    private static Answer<T> Make<T>(T? value, Problem? refusal, string? silence, long asked)
        where T : class
    {
        long now = Stopwatch.GetTimestamp();
        double tookMs = Stopwatch.GetElapsedTime(asked, now).TotalMilliseconds;
        return new Answer<T>(value, refusal, silence, now * (1_000_000_000 / Stopwatch.Frequency), tookMs);
    }
}
