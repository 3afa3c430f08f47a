using SdnEdge.Core.Api;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Machines;

/// <summary>Which refusals only need time, and how the waiting is called.</summary>
public static class Refusals
{
    /// <summary>The reason to wait and ask again; null: the party means it.</summary>
    public static WaitReason? WaitFor(Problem problem)
    {
        ArgumentNullException.ThrowIfNull(problem);
        return problem.Type switch
        {
            "/problems/tunnel-not-up" => WaitReason.TunnelDown,
            "/problems/hold-not-drained" => WaitReason.Draining,
            "/problems/no-other-route" => WaitReason.NoOtherRoute,
            "/problems/markers-missing" => WaitReason.NoDirectPath,
            "/problems/servers-silent" => WaitReason.PeerUnreachable,
            "/problems/timeout" => WaitReason.TunnelDown,
            "/problems/unavailable" => WaitReason.PeerUnreachable,
            "/problems/damped" => WaitReason.Damped,
            _ => problem.Status >= 500 ? WaitReason.Refused : null,
        };
    }
}
