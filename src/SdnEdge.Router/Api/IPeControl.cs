using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Web;

namespace SdnEdge.Router.Api;

/// <summary>
/// What the HTTP API asks of the PE. Each call is answered by the control loop between two of its steps, so what it
/// returns is one consistent picture.
/// </summary>
public interface IPeControl
{
    /// <summary>Events, newest last, bounded.</summary>
    EventLog Events { get; }

    /// <summary>The node.</summary>
    Task<NodeInfo> NodeAsync();

    /// <summary>Ports and their counters.</summary>
    Task<IReadOnlyList<PortInfo>> PortsAsync();

    /// <summary>VRFs.</summary>
    Task<IReadOnlyList<VrfInfo>> VrfsAsync();

    /// <summary>Routes of the RIB, one line a source.</summary>
    Task<IReadOnlyList<RouteInfo>> RoutesAsync(RouteQuery query);

    /// <summary>What the FIB does with each prefix.</summary>
    Task<IReadOnlyList<FibInfo>> FibAsync(RouteQuery query);

    /// <summary>What the FIB does with one address. The prefix is empty when no route covers it.</summary>
    /// <exception cref="ProblemException">No such VRF.</exception>
    Task<FibInfo> LookupAsync(string vrf, IpAddress address);

    /// <summary>Neighbours.</summary>
    Task<IReadOnlyList<NeighborInfo>> NeighborsAsync();

    /// <summary>Tunnels.</summary>
    Task<IReadOnlyList<TunnelInfo>> TunnelsAsync();

    /// <summary>BGP peers.</summary>
    Task<IReadOnlyList<BgpPeerInfo>> BgpPeersAsync();

    /// <summary>Refreshes, resets or shuts down a BGP session.</summary>
    /// <exception cref="ProblemException">No such peer, or the session's state does not allow it.</exception>
    Task<BgpPeerReply> BgpPeerAsync(string peer, BgpPeerAction action, BgpPeerRequest request);

    /// <summary>Prefixes whose moves are damped now.</summary>
    Task<IReadOnlyList<DampedInfo>> DampedAsync();

    /// <summary>BFD sessions.</summary>
    Task<BfdInfo> BfdAsync();

    /// <summary>The keeper.</summary>
    Task<KeeperInfo> KeeperAsync();

    /// <summary>Redirect groups.</summary>
    Task<IReadOnlyList<RedirectGroupInfo>> GroupsAsync();

    /// <summary>Drops by reason, reasons without drops left out.</summary>
    Task<IReadOnlyList<DropInfo>> DropsAsync();

    /// <summary>Migrations.</summary>
    Task<IReadOnlyList<MigrationInfo>> MigrationsAsync();

    /// <summary>
    /// One migration; null when it is not known. The answer comes as soon as what it is to wait for is so, or its time is over.
    /// </summary>
    Task<MigrationInfo?> MigrationAsync(string id, MigrationWait wait, CancellationToken cancel);

    /// <summary>Carries a signal out; returns when it took effect on every worker.</summary>
    /// <exception cref="ProblemException">The signal was refused; says why and what would be right.</exception>
    Task<SignalReply> SignalAsync(string id, SignalKind kind, SignalRequest request, CancellationToken cancel);

    /// <summary>Reads the configuration file again and applies the difference, or nothing.</summary>
    /// <exception cref="ProblemException">The file is wrong, a change needs a restart, or names what cannot be opened.</exception>
    Task<ReloadReply> ReloadAsync();

    /// <summary>All metrics.</summary>
    Task<IReadOnlyList<MetricFamily>> MetricsAsync();
}
