using SdnEdge.Core.Api;
using SdnEdge.Router.Telemetry;

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
    /// <exception cref="ProblemException">No such VRF, or no address.</exception>
    Task<FibInfo> LookupAsync(string vrf, string address);

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

    /// <summary>Carries a signal out; returns when it took effect on every worker.</summary>
    /// <exception cref="ProblemException">The signal was refused; says why and what would be right.</exception>
    Task<SignalReply> SignalAsync(string id, SignalKind kind, SignalRequest request, CancellationToken cancel);

    /// <summary>Reads the configuration file again and applies the difference, or nothing.</summary>
    /// <exception cref="ProblemException">The file is wrong, or a change needs a restart.</exception>
    Task<ReloadReply> ReloadAsync();

    /// <summary>All metrics.</summary>
    Task<IReadOnlyList<MetricFamily>> MetricsAsync();
}

/// <summary>A refusal that becomes an RFC 9457 answer.</summary>
/// <param name="problem">The answer's body.</param>
public sealed class ProblemException(Problem problem) : Exception(problem.Detail)
{
    /// <summary>The answer's body.</summary>
    public Problem Problem { get; } = problem;
}

/// <summary>The kinds of problem this API answers with. The type is a stable name; clients may switch on it.</summary>
public static class Problems
{
    /// <summary>400: the request itself is wrong.</summary>
    public static Problem BadRequest(string detail, IReadOnlyList<ProblemError>? errors = null)
        => new("/problems/bad-request", "The request is wrong", 400, detail, errors);

    /// <summary>404: no such thing.</summary>
    public static Problem NotFound(string detail) => new("/problems/not-found", "There is no such thing", 404, detail);

    /// <summary>409: the migration's state does not allow the signal.</summary>
    public static Problem WrongState(string detail) => new("/problems/wrong-state", "The state does not allow this signal", 409, detail);

    /// <summary>409: a signal with a higher epoch was seen.</summary>
    public static Problem StaleEpoch(string detail) => new("/problems/stale-epoch", "The epoch is older than the highest seen", 409, detail);

    /// <summary>409: the request contradicts what is there.</summary>
    public static Problem Conflict(string detail) => new("/problems/conflict", "The request contradicts what is there", 409, detail);

    /// <summary>422: the new configuration is wrong or cannot be applied.</summary>
    public static Problem BadConfig(string detail, IReadOnlyList<ProblemError> errors)
        => new("/problems/bad-config", "The configuration was not applied", 422, detail, errors);

    /// <summary>504: what the signal waits for did not happen in time.</summary>
    public static Problem Timeout(string detail) => new("/problems/timeout", "It did not take effect in time", 504, detail);

    /// <summary>500: a mistake of ours.</summary>
    public static Problem Internal(string detail) => new("/problems/internal", "The PE made a mistake", 500, detail);

    /// <summary>507: what must outlive a restart cannot be written.</summary>
    public static Problem NotKept(string detail) => new("/problems/not-kept", "It cannot be kept over a restart", 507, detail);

    /// <summary>503: the PE is stopping or not ready.</summary>
    public static Problem Unavailable(string detail) => new("/problems/unavailable", "The PE cannot answer now", 503, detail);

    /// <summary>For a bare HTTP status without a body of its own.</summary>
    public static Problem OfStatus(int status, string method, string path, string query = "") => status switch
    {
        400 => BadRequest($"a value in '{query}' is not of the type it should have; GET /openapi/v1.json says which"),
        404 => NotFound($"there is no {path}; GET /openapi/v1.json lists what there is"),
        405 => new("/problems/method-not-allowed", "The method is not allowed here", 405, $"{path} does not take {method}; reading is GET, signals are POST"),
        415 => new("/problems/unsupported-media-type", "The body is not JSON", 415, "send the body with Content-Type: application/json"),
        _ => new($"/problems/http-{status}", "The request failed", status, $"{method} {path} failed with status {status}"),
    };
}
