using System.Collections.Immutable;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Machines;

/// <summary>What the evidence of a path proves about its tunnel.</summary>
public static class PathProofs
{
    private static readonly ImmutableSortedSet<string> s_none = ImmutableSortedSet.Create<string>(StringComparer.Ordinal);
    private static readonly ImmutableSortedDictionary<string, long> s_never
        = ImmutableSortedDictionary.Create<string, long>(StringComparer.Ordinal);

    /// <summary>True when no traffic but that of ingress PEs whose markers have come was ever in the tunnel: nothing else has to be waited
    /// for.</summary>
    public static bool MarkersSuffice(PathMove path, PathEvidence evidence)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(evidence);
        return path is { Order: not null, OtherIngress: false } && !evidence.OthersSeen
            && (evidence.ByMarker ?? []).IsSupersetOf(path.Ingress);
    }

    /// <summary>The evidence with the flush markers that have come out of the tunnel.</summary>
    /// <param name="path">The path.</param>
    /// <param name="evidence">What was known before.</param>
    /// <param name="order">The target PE's word.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    public static PathEvidence WithMarkers(PathMove path, PathEvidence evidence, OrderInfo order, long now)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(evidence);
        ArgumentNullException.ThrowIfNull(order);
        bool others = order.Unordered > 0 || order.Gates.Any(g => !g.SendsMarkers && g.PacketsHeldTotal > 0);
        evidence = evidence with { OthersSeen = evidence.OthersSeen || others };
        foreach (string pe in path.Ingress)
        {
            OrderGateInfo[] gates = [.. order.Gates.Where(g => g.Ingress == pe)];
            if (gates.Length == 0 || !gates.All(g => g.Proved)) continue;
            evidence = WithDirect(evidence, pe, now) with { ByMarker = (evidence.ByMarker ?? s_none).Add(pe) };
        }

        return evidence;
    }

    /// <summary>The evidence with an ingress PE that takes the direct path; when it was seen first stays.</summary>
    public static PathEvidence WithDirect(PathEvidence evidence, string ingress, long now)
    {
        ArgumentNullException.ThrowIfNull(evidence);
        ImmutableSortedDictionary<string, long> at = evidence.DirectAt ?? s_never;
        return at.ContainsKey(ingress) ? evidence : evidence with { DirectAt = at.Add(ingress, now) };
    }

    /// <summary>What showed that the tunnel could go, after its last packet was waited for.</summary>
    public static TeardownProof Of(PathMove path, PathEvidence evidence)
    {
        ArgumentNullException.ThrowIfNull(evidence);
        if (!evidence.Late && path.Order is not null && MarkersSuffice(path, evidence)) return TeardownProof.Markers;
        return evidence.Quiet && !evidence.Late ? TeardownProof.Quiet : TeardownProof.Timer;
    }
}
