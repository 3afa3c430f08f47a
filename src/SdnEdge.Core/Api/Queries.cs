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

/// <summary>What the answer to <c>GET /v1/migrations/{id}</c> waits for; nothing: it comes at once.</summary>
/// <param name="Longest">The answer comes after so long at the latest.</param>
/// <param name="After">It waits until <see cref="MigrationInfo.Change"/> is another number than this.</param>
/// <param name="Until">It waits until the migration is known, and so.</param>
public sealed record MigrationWait(TimeSpan Longest = default, long? After = null, MigrationCondition? Until = null)
{
    /// <summary>True when a migration as it is now (null: it is not known) is what was waited for.</summary>
    public bool IsOver(MigrationInfo? now) => Until is { } until ? now?.Is(until) ?? false : now is null || now.Change != After;
}

/// <summary>Answer to <c>POST /v1/config/reload</c>.</summary>
/// <param name="Changes">What was done, in order: <c>+ static default 10.0.0.0/8</c>. Empty when the file says what is in force.</param>
/// <param name="TookEffectAtNs">CLOCK_MONOTONIC, nanoseconds.</param>
public sealed record ReloadReply(IReadOnlyList<string> Changes, long TookEffectAtNs);
