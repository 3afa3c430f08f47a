using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Api;

/// <summary>Which routes to show: <c>GET /v1/routes</c> and <c>/v1/fib</c>.</summary>
/// <param name="Vrf">Only this VRF; null = all.</param>
/// <param name="Prefix">Only this prefix and what lies inside it; null = all.</param>
/// <param name="Limit">Most lines.</param>
public sealed record RouteQuery(string? Vrf = null, IpPrefix? Prefix = null, int Limit = RouteQuery.DefaultLimit)
{
    /// <summary>Lines when the client names no limit.</summary>
    public const int DefaultLimit = 10_000;

    /// <summary>Most lines a client may ask for.</summary>
    public const int MaxLimit = 1_000_000;
}

/// <summary>Answer to <c>POST /v1/config/reload</c>.</summary>
/// <param name="Changes">What was done, in order: <c>+ static default 10.0.0.0/8</c>. Empty when the file says what is in force.</param>
/// <param name="TookEffectAtNs">CLOCK_MONOTONIC, nanoseconds.</param>
public sealed record ReloadReply(IReadOnlyList<string> Changes, long TookEffectAtNs);
