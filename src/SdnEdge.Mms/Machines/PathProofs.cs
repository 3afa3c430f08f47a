using System.Collections.Immutable;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Machines;

/// <summary>What the evidence of a path proves about its tunnel.</summary>
public static class PathProofs
{
    /// <summary>True when no traffic but that of ingress PEs whose markers have come was ever in the tunnel: nothing else has to be waited
    /// for.</summary>
    public static bool MarkersSuffice(PathMove path, PathEvidence evidence)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(evidence);
        return path is { Order: not null, OtherIngress: false } && !evidence.OthersSeen
            && (evidence.ByMarker ?? []).IsSupersetOf(path.Ingress);
    }

    /// <summary>What showed that the tunnel could go, after its last packet was waited for.</summary>
    public static TeardownProof Of(PathMove path, PathEvidence evidence)
    {
        ArgumentNullException.ThrowIfNull(evidence);
        if (!evidence.Late && path.Order is not null && MarkersSuffice(path, evidence)) return TeardownProof.Markers;
        return evidence.Quiet && !evidence.Late ? TeardownProof.Quiet : TeardownProof.Timer;
    }
}
