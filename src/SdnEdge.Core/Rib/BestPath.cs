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

    /// <summary>The PE that it leads to has failed.</summary>
    public bool Failed;
}

/// <summary>
/// The decision process of RFC 4271 9.1.2 as elimination: each step strikes out the routes worse than the best that is
/// left, and writes down why. Always deterministic: MED is compared inside a neighbouring AS only, and age plays no part.
/// 1. next hop resolved  2. its PE has not failed  3. administrative distance  4. number of the move, inside our AS  5. LOCAL_PREF
/// 6. AS_PATH length  7. ORIGIN  8. MED  9. eBGP before iBGP  10. identifier or ORIGINATOR_ID  11. CLUSTER_LIST length  12. peer address
/// 13. name.
/// The step "interior cost" (9.1.2.2 e) is absent: a PE has no IGP, all next hops cost the same.
/// </summary>
internal static class BestPath
{
    /// <summary>LOCAL_PREF of a route that carries none.</summary>
    public const uint DefaultLocalPref = 100;

    private const int Steps = 12;
    private const int MedStep = 6;

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
            left -= step == MedStep ? EliminateByMed(routes) : EliminateByKey(routes, step);
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
        0 => a.Failed.CompareTo(b.Failed),
        1 => a.Origin.Preference.CompareTo(b.Origin.Preference),
        2 => Move(b).CompareTo(Move(a)),
        3 => LocalPref(b).CompareTo(LocalPref(a)),
        4 => (a.Attributes?.AsPathLength ?? 0).CompareTo(b.Attributes?.AsPathLength ?? 0),
        5 => ((byte)(a.Attributes?.Origin ?? 0)).CompareTo((byte)(b.Attributes?.Origin ?? 0)),
        7 => b.Origin.External.CompareTo(a.Origin.External),
        8 => RouterId(a).CompareTo(RouterId(b)),
        9 => (a.Attributes?.ClusterListLength ?? 0).CompareTo(b.Attributes?.ClusterListLength ?? 0),
        10 => a.Origin.Peer.CompareTo(b.Origin.Peer),
        _ => string.CompareOrdinal(a.Origin.Name, b.Origin.Name),
    };

    private static RejectReason ReasonOf(int step) => step switch
    {
        0 => RejectReason.NextHopFailed,
        1 => RejectReason.Preference,
        2 => RejectReason.MoveSequence,
        3 => RejectReason.LocalPref,
        4 => RejectReason.AsPathLength,
        5 => RejectReason.Origin,
        7 => RejectReason.InternalPeer,
        8 => RejectReason.RouterId,
        9 => RejectReason.ClusterListLength,
        10 => RejectReason.PeerAddress,
        _ => RejectReason.Name,
    };

    // A route of another AS says nothing of moves inside ours.
    private static long Move(in Candidate route) => route.Origin.External ? 0 : route.Attributes?.MobilitySequence ?? 0;

    private static uint LocalPref(in Candidate route) => route.Attributes?.LocalPref ?? DefaultLocalPref;

    private static uint RouterId(in Candidate route) => route.Attributes?.OriginatorId ?? route.Origin.PeerRouterId;
}
