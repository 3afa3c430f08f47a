using SdnEdge.Core.Bgp;

namespace SdnEdge.Core.Rib;

/// <summary>Why a route lost, in one line for a network engineer: the step of the decision, and what both routes had there.</summary>
public static class BestPathReason
{
    /// <summary>The line for one route among all that <see cref="LocRib.Explain"/> gave for its prefix; "best" for the best one.</summary>
    public static string Text(in RouteView route, IReadOnlyList<RouteView> all)
    {
        if (route.WhyNot == RejectReason.None) return route.Origin.Source == RouteSource.Redirect ? "redirect in force, over the best route"
            : "best";
        if (route.WhyNot == RejectReason.UnresolvedNextHop) return $"next hop {route.Hop.Spec.Address} has no route (RFC 4271 9.1.2)";
        RouteView? over = Winner(route, all);
        if (over is not { } best) return route.WhyNot.ToString();
        string to = best.Origin.Source == RouteSource.Bgp ? $"{best.Origin.PeerKey}" : best.Origin.Name;
        PathAttributes? mine = route.Attributes, theirs = best.Attributes;
        return route.WhyNot switch
        {
            RejectReason.Preference => $"distance {route.Origin.Preference} of {Source(route)} > {best.Origin.Preference} of "
                + $"{Source(best)} ({to})",
            RejectReason.MoveSequence => $"fenced: move {mine?.MobilitySequence ?? 0} < {theirs?.MobilitySequence ?? 0} ({to})",
            RejectReason.LocalPref => $"LOCAL_PREF {mine?.LocalPref ?? BestPath.DefaultLocalPref} < "
                + $"{theirs?.LocalPref ?? BestPath.DefaultLocalPref} ({to})",
            RejectReason.AsPathLength => $"AS_PATH length {mine?.AsPathLength ?? 0} > {theirs?.AsPathLength ?? 0} ({to}: {Path(theirs)})",
            RejectReason.Origin => $"ORIGIN {mine?.Origin} > {theirs?.Origin} ({to})",
            RejectReason.Med => $"MED {mine?.Med ?? 0} > {theirs?.Med ?? 0} from AS {mine?.NeighborAs} ({to})",
            RejectReason.InternalPeer => $"iBGP < eBGP ({to})",
            RejectReason.RouterId => $"identifier {Id(route)} > {Id(best)} ({to})",
            RejectReason.ClusterListLength => $"CLUSTER_LIST length {mine?.ClusterListLength ?? 0} > {theirs?.ClusterListLength ?? 0} "
                + $"({to})",
            RejectReason.PeerAddress => $"peer address {route.Origin.Peer} > {best.Origin.Peer}",
            _ => $"name '{route.Origin.Name}' sorts behind '{best.Origin.Name}'",
        };
    }

    /// <summary>The route it lost to: the best one, but at MED the one of the same neighbouring AS that struck it out.</summary>
    private static RouteView? Winner(in RouteView route, IReadOnlyList<RouteView> all)
    {
        bool redirect = route.Origin.Source == RouteSource.Redirect;
        RouteView? winner = null;
        foreach (RouteView other in all)
        {
            if ((other.Origin.Source == RouteSource.Redirect) != redirect) continue;
            if (route.WhyNot == RejectReason.Med)
            {
                bool same = other.Attributes?.NeighborAs == route.Attributes?.NeighborAs
                    && (other.Attributes?.Med ?? 0) < (route.Attributes?.Med ?? 0)
                    && (other.WhyNot == RejectReason.None || other.WhyNot >= RejectReason.Med);
                if (same && (other.Best || winner is not { } so || (other.Attributes?.Med ?? 0) < (so.Attributes?.Med ?? 0))) winner =
                    other;
            }
            else if (other.Best)
            {
                return other;
            }
        }

        return winner;
    }

    private static string Source(in RouteView route) => route.Origin.Source == RouteSource.Bgp ? (route.Origin.External ? "eBGP" : "iBGP")
        : route.Origin.Source.ToString().ToLowerInvariant();

    private static string Path(PathAttributes? attributes) => attributes?.AsPathText() is { Length: > 0 } path ? path : "empty path";

    private static Wire.IpAddress Id(in RouteView route)
        => Wire.IpAddress.FromV4(route.Attributes?.OriginatorId ?? route.Origin.PeerRouterId);
}
