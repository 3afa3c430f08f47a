namespace SdnEdge.Core.Rib;

/// <summary>Why a route is not the best one: the first step of the decision at which it lost (RFC 4271 9.1, RFC 4456 9).</summary>
public enum RejectReason : byte
{
    /// <summary>It is the best route.</summary>
    None,

    /// <summary>Its next hop has no route (RFC 4271 9.1.2).</summary>
    UnresolvedNextHop,

    /// <summary>The PE that it leads to has failed (<see cref="LocRib.SetFailed"/>), and another route leads to one that has not.</summary>
    NextHopFailed,

    /// <summary>Another source has a lower administrative distance.</summary>
    Preference,

    /// <summary>An earlier move of the prefix than another route of our AS tells: fenced (<see cref="Bgp.MobilitySequence"/>).</summary>
    MoveSequence,

    /// <summary>Lower LOCAL_PREF (9.1.2).</summary>
    LocalPref,

    /// <summary>Longer AS_PATH (9.1.2.2 a).</summary>
    AsPathLength,

    /// <summary>Higher ORIGIN (9.1.2.2 b).</summary>
    Origin,

    /// <summary>Higher MULTI_EXIT_DISC among routes of one neighbouring AS (9.1.2.2 c).</summary>
    Med,

    /// <summary>Learnt by iBGP while another is learnt by eBGP (9.1.2.2 d).</summary>
    InternalPeer,

    /// <summary>Higher BGP identifier, or ORIGINATOR_ID (9.1.2.2 f).</summary>
    RouterId,

    /// <summary>Longer CLUSTER_LIST (RFC 4456 9).</summary>
    ClusterListLength,

    /// <summary>Higher peer address (9.1.2.2 g).</summary>
    PeerAddress,

    /// <summary>Sources equal in all else: the name that sorts first wins, so that the choice is always the same.</summary>
    Name,
}
