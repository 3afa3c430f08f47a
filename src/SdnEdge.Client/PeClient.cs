using System.Globalization;
using System.Text.Json;
using SdnEdge.Core.Api;

namespace SdnEdge.Client;

/// <summary>The client of a PE's API.</summary>
public sealed class PeClient(ApiEndpoint endpoint) : ApiClient(endpoint, ApiJson.Options)
{
    /// <summary>A client over a unix socket.</summary>
    /// <param name="path">The socket, e.g. <c>/run/sdnedge/figure1/pe-a.sock</c>.</param>
    /// <param name="name">The PE's name; null = the socket's file name.</param>
    public static PeClient ForUnixSocket(string path, string? name = null)
    {
        ApiEndpoint endpoint = EndpointFor(path);
        return new PeClient(name is null ? endpoint : endpoint with { Name = name });
    }

    /// <summary>A client for what a user wrote: <c>unix:PATH</c> or a path.</summary>
    public static PeClient For(string api) => new(EndpointFor(api));

    /// <summary>The node.</summary>
    public Task<NodeInfo> NodeAsync(CancellationToken cancel = default) => GetAsync<NodeInfo>("v1/node", cancel);

    /// <summary>Ports.</summary>
    public Task<IReadOnlyList<PortInfo>> PortsAsync(CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<PortInfo>>("v1/ports", cancel);

    /// <summary>VRFs.</summary>
    public Task<IReadOnlyList<VrfInfo>> VrfsAsync(CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<VrfInfo>>("v1/vrfs", cancel);

    /// <summary>The RIB: one line for each source that offers a prefix. <paramref name="prefix"/>: that one and what lies inside
    /// it.</summary>
    public Task<IReadOnlyList<RouteInfo>> RoutesAsync(string? vrf = null, string? prefix = null, CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<RouteInfo>>("v1/routes" + Query(("vrf", vrf), ("prefix", prefix)), cancel);

    /// <summary>The FIB.</summary>
    public Task<IReadOnlyList<FibInfo>> FibAsync(string? vrf = null, string? prefix = null, CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<FibInfo>>("v1/fib" + Query(("vrf", vrf), ("prefix", prefix)), cancel);

    /// <summary>What the FIB does with one address. The prefix in the answer is empty when no route covers it.</summary>
    public Task<FibInfo> FibLookupAsync(string? vrf, string address, CancellationToken cancel = default)
        => GetAsync<FibInfo>("v1/fib/lookup" + Query(("vrf", vrf), ("address", address)), cancel);

    /// <summary>Neighbours.</summary>
    public Task<IReadOnlyList<NeighborInfo>> NeighborsAsync(CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<NeighborInfo>>("v1/neighbors", cancel);

    /// <summary>Tunnels.</summary>
    public Task<IReadOnlyList<TunnelInfo>> TunnelsAsync(CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<TunnelInfo>>("v1/tunnels", cancel);

    /// <summary>BGP peers.</summary>
    public Task<IReadOnlyList<BgpPeerInfo>> BgpPeersAsync(CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<BgpPeerInfo>>("v1/bgp/peers", cancel);

    /// <summary>Prefixes whose moves come too fast and are not followed for a while.</summary>
    public Task<IReadOnlyList<DampedInfo>> DampedAsync(CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<DampedInfo>>("v1/bgp/damped", cancel);

    /// <summary>Refreshes, resets or shuts down a BGP session.</summary>
    public Task<BgpPeerReply> BgpPeerAsync(string peer, BgpPeerAction action, string? text = null, CancellationToken cancel = default)
        => PostAsync<BgpPeerRequest, BgpPeerReply>(
            $"v1/bgp/peers/{Uri.EscapeDataString(peer)}/{JsonNamingPolicy.KebabCaseLower.ConvertName(action.ToString())}",
                new BgpPeerRequest(text), cancel);

    /// <summary>Redirect groups.</summary>
    public Task<IReadOnlyList<RedirectGroupInfo>> GroupsAsync(CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<RedirectGroupInfo>>("v1/groups", cancel);

    /// <summary>The process that forwards while the PE is restarted.</summary>
    public Task<KeeperInfo> KeeperAsync(CancellationToken cancel = default) => GetAsync<KeeperInfo>("v1/keeper", cancel);

    /// <summary>BFD sessions.</summary>
    public Task<BfdInfo> BfdAsync(CancellationToken cancel = default) => GetAsync<BfdInfo>("v1/bfd", cancel);

    /// <summary>Drops by reason.</summary>
    public Task<IReadOnlyList<DropInfo>> DropsAsync(CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<DropInfo>>("v1/drops", cancel);

    /// <summary>Migrations.</summary>
    public Task<IReadOnlyList<MigrationInfo>> MigrationsAsync(CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<MigrationInfo>>("v1/migrations", cancel);

    /// <summary>One migration.</summary>
    public Task<MigrationInfo> MigrationAsync(string id, CancellationToken cancel = default)
        => GetAsync<MigrationInfo>("v1/migrations/" + Uri.EscapeDataString(id), cancel);

    /// <summary>One migration as soon as what <paramref name="wait"/> waits for is so, or its time (1 to 10000 ms) is over.</summary>
    public Task<MigrationInfo> MigrationAsync(string id, MigrationWait wait, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(wait);
        string what = wait.Until is { } until ? "until=" + JsonNamingPolicy.KebabCaseLower.ConvertName(until.ToString())
            : wait.After is { } after ? string.Create(CultureInfo.InvariantCulture, $"after={after}") : "";
        if (what.Length > 0) what = string.Create(CultureInfo.InvariantCulture, $"?{what}&waitMs={(int)wait.Longest.TotalMilliseconds}");
        return GetAsync<MigrationInfo>("v1/migrations/" + Uri.EscapeDataString(id) + what, cancel);
    }

    /// <summary>Sends a signal; returns when it is in force on every worker of the PE.</summary>
    public Task<SignalReply> SignalAsync(string id, SignalKind signal, SignalRequest request, CancellationToken cancel = default)
        => PostAsync<SignalRequest, SignalReply>(
            $"v1/migrations/{Uri.EscapeDataString(id)}/{JsonNamingPolicy.KebabCaseLower.ConvertName(signal.ToString())}", request, cancel);
}
