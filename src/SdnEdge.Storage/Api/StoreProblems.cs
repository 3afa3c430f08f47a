using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Web;

namespace SdnEdge.Storage.Api;

/// <summary>Refusals as RFC 9457 problems.</summary>
internal static class StoreProblems
{
    /// <summary>The problem of a refused order.</summary>
    public static Problem Of(OwnershipRefusal refusal) => refusal.Kind switch
    {
        OwnershipRefusalKind.StaleEpoch => Problems.StaleEpoch(refusal.Detail),
        OwnershipRefusalKind.VoidEpoch => Of(StoreProblem.VoidEpoch, refusal.Detail),
        OwnershipRefusalKind.WrongRole => Problems.WrongState(refusal.Detail),
        OwnershipRefusalKind.NotPromotable => Of(StoreProblem.NotPromotable, refusal.Detail),
        OwnershipRefusalKind.StoreFailed => new("/problems/state-not-durable", "The store cannot keep what it would promise", 503,
            refusal.Detail + " (not done: the same order again tries again)"),
        _ => Problems.Unavailable(refusal.Detail),
    };

    /// <summary>A problem of the store's own.</summary>
    public static Problem Of(StoreProblem problem, string detail)
        => new("/problems/" + System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(problem.ToString()),
            "The volume's state does not allow this", 409, detail);
}
