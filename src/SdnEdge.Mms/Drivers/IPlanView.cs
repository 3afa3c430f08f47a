using SdnEdge.Core.Api;

namespace SdnEdge.Mms.Drivers;

/// <summary>What a party answered: a value, or a refusal, or nothing. Exactly one of the three is set.</summary>
/// <param name="Value">The value.</param>
/// <param name="Refusal">What it said instead.</param>
/// <param name="Silence">Why there was no usable answer, for people.</param>
/// <param name="AtNs">When the answer was here (CLOCK_MONOTONIC of the manager, nanoseconds).</param>
/// <param name="Milliseconds">How long it took, from the question on.</param>
public sealed record Answer<T>(T? Value, Problem? Refusal, string? Silence, long AtNs, double Milliseconds)
    where T : class
{
    /// <summary>True when the party said that there is no such thing.</summary>
    public bool IsUnknown => Refusal is { Status: 404 };
}

/// <summary>
/// What a planner may ask. There is nothing in it that changes anything, so that a plan has no side effect. No question throws because of
/// what its party does: that is in the answer.
/// </summary>
public interface IPlanView
{
    /// <summary>Wall clock, to set beside the times in the journal.</summary>
    DateTimeOffset Now { get; }

    /// <summary>Waits between two looks at the same counters.</summary>
    Task WaitAsync(TimeSpan time, CancellationToken cancel);

    /// <summary>A PE.</summary>
    Task<Answer<NodeInfo>> NodeAsync(string pe, CancellationToken cancel);

    /// <summary>Its ports and their counters.</summary>
    Task<Answer<IReadOnlyList<PortInfo>>> PortsAsync(string pe, CancellationToken cancel);

    /// <summary>Its VRFs.</summary>
    Task<Answer<IReadOnlyList<VrfInfo>>> VrfsAsync(string pe, CancellationToken cancel);

    /// <summary>Its routes to a prefix and to what lies inside.</summary>
    Task<Answer<IReadOnlyList<RouteInfo>>> RoutesAsync(string pe, string vrf, string prefix, CancellationToken cancel);

    /// <summary>What its FIB does with an address.</summary>
    Task<Answer<FibInfo>> ForwardsAsync(string pe, string vrf, string address, CancellationToken cancel);

    /// <summary>Its tunnels.</summary>
    Task<Answer<IReadOnlyList<TunnelInfo>>> TunnelsAsync(string pe, CancellationToken cancel);

    /// <summary>The migrations that it knows.</summary>
    Task<Answer<IReadOnlyList<MigrationInfo>>> MigrationsAsync(string pe, CancellationToken cancel);

    /// <summary>Whom it knows by ARP and ND.</summary>
    Task<Answer<IReadOnlyList<NeighborInfo>>> NeighborsAsync(string pe, CancellationToken cancel);

    /// <summary>Its BGP peers.</summary>
    Task<Answer<IReadOnlyList<BgpPeerInfo>>> BgpPeersAsync(string pe, CancellationToken cancel);

    /// <summary>Prefixes whose moves it does not follow now. A PE of an older version does not know the question (404).</summary>
    Task<Answer<IReadOnlyList<DampedInfo>>> DampedAsync(string pe, CancellationToken cancel);

    /// <summary>A server host's agent.</summary>
    Task<Answer<HostNodeInfo>> HostAsync(string host, CancellationToken cancel);

    /// <summary>A server at a host.</summary>
    Task<Answer<ServerInfo>> ServerAsync(string host, string server, CancellationToken cancel);
}
