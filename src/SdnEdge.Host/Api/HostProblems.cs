using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Web;

namespace SdnEdge.Host.Api;

/// <summary>Refusals as RFC 9457 problems.</summary>
internal static class HostProblems
{
    /// <summary>The problem of a refusal.</summary>
    public static Problem Of(HostRefusal refusal) => refusal.Kind switch
    {
        HostRefusalKind.StaleEpoch => Problems.StaleEpoch(refusal.Detail),
        HostRefusalKind.WrongState => Problems.WrongState(refusal.Detail),
        HostRefusalKind.VoidEpoch => new("/problems/void-epoch", "The epoch is never run here", 409, refusal.Detail),
        HostRefusalKind.DriverFailed => new("/problems/driver-failed", "The server's driver failed", 502,
            refusal.Detail + " (not done: the same order again tries again)"),
        HostRefusalKind.StoreFailed => new("/problems/state-not-durable", "The agent cannot keep what it would promise", 503,
            refusal.Detail + " (not done: the same order again tries again)"),
        HostRefusalKind.Unusable => new("/problems/state-unusable", "The agent's record of the server cannot be used", 503, refusal.Detail),
        _ => Problems.Unavailable(refusal.Detail),
    };
}
