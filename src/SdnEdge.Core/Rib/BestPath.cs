using SdnEdge.Core.Bgp;

namespace SdnEdge.Core.Rib;

/// <summary>One of several routes to one prefix, for the decision.</summary>
internal struct Candidate
{
    public RouteOrigin Origin;
    public NextHop Hop;
    public PathAttributes? Attributes;
    public int Index;
    public RejectReason Lost;
}

/// <summary>
/// The decision process of RFC 4271 9.1.2 as elimination: each step strikes out the routes worse than the best that is
/// left, and writes down why. Always deterministic: MED is compared inside a neighbouring AS only, and age plays no part.
/// 1. next hop resolved  2. administrative distance  3. LOCAL_PREF  4. AS_PATH length  5. ORIGIN  6. MED
/// 7. eBGP before iBGP  8. identifier or ORIGINATOR_ID  9. CLUSTER_LIST length  10. peer address  11. name.
/// The step "interior cost" (9.1.2.2 e) is absent: a PE has no IGP, all next hops cost the same.
/// </summary>
internal static class BestPath
{
    /// <summary>LOCAL_PREF of a route that carries none.</summary>
    public const uint DefaultLocalPref = 100;

    private const int Steps = 10;

    /// <summary>Fills in <see cref="Candidate.Lost"/> everywhere. Returns the position of the best route, or -1.</summary>
    public static int Select(Span<Candidate> routes)
    {
        int left = 0, last = -1;
        for (int i = 0; i < routes.Length; i++)
        {
            ref Candidate route = ref routes[i];
            route.Lost = route.Hop.Resolved.IsUsable ? RejectReason.None : RejectReason.UnresolvedNextHop;
            if (route.Lost != RejectReason.None) continue;
            left++;
            last = i;
        }

        for (int step = 0; step < Steps && left > 1; step++)
        {
            left -= step == 4 ? EliminateByMed(routes) : EliminateByKey(routes, step);
        }

        if (left <= 1 && last >= 0 && routes[last].Lost == RejectReason.None) return last;
        for (int i = 0; i < routes.Length; i++)
        {
            if (routes[i].Lost == RejectReason.None) return i;
        }

        return -1;
    }

    private static int EliminateByKey(Span<Candidate> routes, int step)
    {
        int best = -1;
        for (int i = 0; i < routes.Length; i++)
        {
            if (routes[i].Lost != RejectReason.None) continue;
            if (best < 0 || Compare(in routes[i], in routes[best], step) < 0) best = i;
        }

        int struck = 0;
        for (int i = 0; i < routes.Length; i++)
        {
            if (routes[i].Lost != RejectReason.None || i == best || Compare(in routes[i], in routes[best], step) == 0) continue;
            routes[i].Lost = ReasonOf(step);
            struck++;
        }

        return struck;
    }

    private static int EliminateByMed(Span<Candidate> routes)
    {
        int struck = 0;
        for (int i = 0; i < routes.Length; i++)
        {
            if (routes[i].Lost != RejectReason.None || routes[i].Attributes is not { } mine) continue;
            for (int j = 0; j < routes.Length; j++)
            {
                // A route already struck at this step still counts: something better struck it, and that is left.
                if (routes[j].Lost is not (RejectReason.None or RejectReason.Med) || routes[j].Attributes is not { } other) continue;
                if (other.NeighborAs != mine.NeighborAs || (other.Med ?? 0) >= (mine.Med ?? 0)) continue;
                routes[i].Lost = RejectReason.Med;
                struck++;
                break;
            }
        }

        return struck;
    }

    private static int Compare(in Candidate a, in Candidate b, int step) => step switch
    {
        0 => a.Origin.Preference.CompareTo(b.Origin.Preference),
        1 => LocalPref(b).CompareTo(LocalPref(a)),
        2 => (a.Attributes?.AsPathLength ?? 0).CompareTo(b.Attributes?.AsPathLength ?? 0),
        3 => ((byte)(a.Attributes?.Origin ?? 0)).CompareTo((byte)(b.Attributes?.Origin ?? 0)),
        5 => b.Origin.External.CompareTo(a.Origin.External),
        6 => RouterId(a).CompareTo(RouterId(b)),
        7 => (a.Attributes?.ClusterListLength ?? 0).CompareTo(b.Attributes?.ClusterListLength ?? 0),
        8 => a.Origin.Peer.CompareTo(b.Origin.Peer),
        _ => string.CompareOrdinal(a.Origin.Name, b.Origin.Name),
    };

    private static RejectReason ReasonOf(int step) => step switch
    {
        0 => RejectReason.Preference,
        1 => RejectReason.LocalPref,
        2 => RejectReason.AsPathLength,
        3 => RejectReason.Origin,
        5 => RejectReason.InternalPeer,
        6 => RejectReason.RouterId,
        7 => RejectReason.ClusterListLength,
        8 => RejectReason.PeerAddress,
        _ => RejectReason.Name,
    };

    private static uint LocalPref(in Candidate route) => route.Attributes?.LocalPref ?? DefaultLocalPref;

    private static uint RouterId(in Candidate route) => route.Attributes?.OriginatorId ?? route.Origin.PeerRouterId;
}
