namespace SdnEdge.Core.Bgp;

/// <summary>What a fault in a received message leads to, weakest first (RFC 7606 2).</summary>
public enum FaultAction : byte
{
    /// <summary>Nothing wrong.</summary>
    None,

    /// <summary>The attribute is dropped, the rest of the message counts.</summary>
    AttributeDiscard,

    /// <summary>The routes of the message are treated as if they had been withdrawn.</summary>
    TreatAsWithdraw,

    /// <summary>NOTIFICATION, and the session ends.</summary>
    SessionReset,
}

/// <summary>Everything that can be wrong with what a peer sends. Each has one action, one NOTIFICATION and one counter.</summary>
public enum BgpFault : byte
{
    /// <summary>Nothing wrong.</summary>
    None,

    // Header (RFC 4271 6.1).

    /// <summary>The marker is not all ones.</summary>
    HeaderMarker,

    /// <summary>The length is below 19, above 4096 (65535 where that is agreed on, RFC 8654), or wrong for the type.</summary>
    HeaderLength,

    /// <summary>Unknown message type.</summary>
    HeaderType,

    // OPEN (RFC 4271 6.2).

    /// <summary>The message or its parameters do not parse.</summary>
    OpenMalformed,

    /// <summary>Version other than 4.</summary>
    OpenVersion,

    /// <summary>AS is 0 or not the one configured.</summary>
    OpenPeerAs,

    /// <summary>Identifier is 0, or ours over iBGP (RFC 6286).</summary>
    OpenIdentifier,

    /// <summary>Optional parameter other than capabilities.</summary>
    OpenParameter,

    /// <summary>Hold time of 1 or 2 seconds.</summary>
    OpenHoldTime,

    /// <summary>No capability that the session needs: no family in common (RFC 5492 5).</summary>
    OpenCapability,

    // UPDATE framing.

    /// <summary>Withdrawn routes or attributes are longer than the message (RFC 4271 6.3).</summary>
    UpdateLengths,

    /// <summary>Withdrawn routes that do not parse (RFC 7606 5.3).</summary>
    WithdrawnSyntax,

    /// <summary>NLRI that does not parse (RFC 7606 5.3).</summary>
    NlriSyntax,

    /// <summary>MP_REACH_NLRI too short, with wrong flags or a next hop of wrong length, or NLRI that does not parse (RFC 7606 5.3,
    /// 7.11).</summary>
    MpReachSyntax,

    /// <summary>MP_UNREACH_NLRI too short, with wrong flags, or with routes that do not parse (RFC 7606 5.3).</summary>
    MpUnreachSyntax,

    /// <summary>MP_REACH_NLRI or MP_UNREACH_NLRI twice (RFC 7606 3 g).</summary>
    MpDuplicate,

    /// <summary>Routes of a family that was not negotiated; ignored.</summary>
    FamilyNotNegotiated,

    /// <summary>A fault that would withdraw routes in a message that names none (RFC 7606 5.2).</summary>
    FaultWithoutNlri,

    /// <summary>Well-known attribute that we do not know (RFC 4271 6.3).</summary>
    UnknownWellKnown,

    // Attributes.

    /// <summary>The attributes overrun their total length (RFC 7606 4).</summary>
    AttributeLengths,

    /// <summary>Optional or transitive flag wrong for the type (RFC 7606 3 c).</summary>
    AttributeFlagBits,

    /// <summary>ATOMIC_AGGREGATE or AGGREGATOR with a wrong flag: dropped, whatever is wrong with them (RFC 7606 3 f).</summary>
    AggregateFlagBits,

    /// <summary>Attribute twice; the first counts (RFC 7606 3 g).</summary>
    AttributeDuplicate,

    /// <summary>ORIGIN, AS_PATH, NEXT_HOP, or LOCAL_PREF over iBGP, is missing (RFC 7606 3 d).</summary>
    AttributeMissing,

    /// <summary>ORIGIN of wrong length or value (RFC 7606 7.1).</summary>
    OriginMalformed,

    /// <summary>AS_PATH malformed (RFC 7606 7.2), or with AS 0 (RFC 7607).</summary>
    AsPathMalformed,

    /// <summary>Over eBGP the path does not begin with the peer's AS (RFC 4271 6.3).</summary>
    AsPathFirst,

    /// <summary>NEXT_HOP of wrong length (RFC 7606 7.3).</summary>
    NextHopLength,

    /// <summary>Next hop that is no unicast address of a host (RFC 4271 6.3).</summary>
    NextHopValue,

    /// <summary>Next hop that is an address of our own (RFC 4271 5.1.3, 6.3).</summary>
    NextHopOurs,

    /// <summary>Over eBGP with a peer on a link: a next hop that is on none of the link's subnets (RFC 4271 6.3).</summary>
    NextHopOffLink,

    /// <summary>MULTI_EXIT_DISC of wrong length (RFC 7606 7.4).</summary>
    MedLength,

    /// <summary>LOCAL_PREF of wrong length over iBGP (RFC 7606 7.5).</summary>
    LocalPrefLength,

    /// <summary>LOCAL_PREF over eBGP; dropped (RFC 7606 7.5).</summary>
    LocalPrefExternal,

    /// <summary>ATOMIC_AGGREGATE that is not empty (RFC 7606 7.6).</summary>
    AtomicAggregateLength,

    /// <summary>AGGREGATOR or AS4_AGGREGATOR of wrong length or AS 0 (RFC 7606 7.7, RFC 6793 6, RFC 7607).</summary>
    AggregatorMalformed,

    /// <summary>COMMUNITIES of wrong length (RFC 7606 7.8).</summary>
    CommunitiesLength,

    /// <summary>EXTENDED COMMUNITIES of wrong length (RFC 7606 7.14).</summary>
    ExtendedCommunitiesLength,

    /// <summary>IPv6 address specific EXTENDED COMMUNITIES of wrong length (RFC 7606 7.15).</summary>
    Ipv6ExtendedCommunitiesLength,

    /// <summary>LARGE_COMMUNITY of wrong length (RFC 8092 5).</summary>
    LargeCommunitiesLength,

    /// <summary>ORIGINATOR_ID of wrong length over iBGP (RFC 7606 7.9).</summary>
    OriginatorIdLength,

    /// <summary>Attributes of an extended message so large that they could not be sent on (RFC 8654; see
    /// <see cref="BgpLimits.MaxAttributes"/>).</summary>
    AttributesTooLarge,

    /// <summary>Tunnel encapsulation attribute whose TLVs do not parse, or that is not flagged transitive (RFC 9012 13).</summary>
    TunnelEncapsulationMalformed,

    /// <summary>CLUSTER_LIST of wrong length over iBGP (RFC 7606 7.10).</summary>
    ClusterListLength,

    /// <summary>ORIGINATOR_ID or CLUSTER_LIST over eBGP; dropped (RFC 7606 7.9, 7.10).</summary>
    ReflectionExternal,

    /// <summary>Tunnel encapsulation attribute over eBGP: it is for inside its own network; dropped (RFC 9012 11).</summary>
    TunnelEncapsulationExternal,

    /// <summary>AS4_PATH malformed, or from a peer that speaks 4-octet AS numbers; dropped (RFC 6793 6).</summary>
    As4PathMalformed,

    /// <summary>Confederation segments in AS4_PATH: they are left out of it (RFC 6793 6).</summary>
    As4PathConfederation,

    // Other messages.

    /// <summary>NOTIFICATION too short to hold a code.</summary>
    NotificationLength,

    /// <summary>ROUTE-REFRESH of wrong length (RFC 7313 5).</summary>
    RouteRefreshLength,

    /// <summary>ROUTE-REFRESH for a family or with a subtype not negotiated; ignored.</summary>
    RouteRefreshFamily,

    /// <summary>A message that the state does not allow (RFC 4271 6.6, RFC 6608).</summary>
    UnexpectedMessage,
}

/// <summary>Actions, NOTIFICATION codes and names of faults: one table for iBGP and eBGP.</summary>
public static class BgpFaults
{
    /// <summary>Number of faults, <see cref="BgpFault.None"/> included.</summary>
    public static readonly int Count = Enum.GetValues<BgpFault>().Length;

    /// <summary>What the fault leads to.</summary>
    public static FaultAction ActionOf(BgpFault fault) => fault switch
    {
        BgpFault.None => FaultAction.None,
        BgpFault.AggregateFlagBits or BgpFault.AttributeDuplicate or BgpFault.LocalPrefExternal or BgpFault.AtomicAggregateLength
            or BgpFault.AggregatorMalformed or BgpFault.ReflectionExternal or BgpFault.TunnelEncapsulationExternal
            or BgpFault.As4PathMalformed or BgpFault.As4PathConfederation or BgpFault.FamilyNotNegotiated
            or BgpFault.RouteRefreshFamily => FaultAction.AttributeDiscard,
        >= BgpFault.AttributeLengths and <= BgpFault.ClusterListLength => FaultAction.TreatAsWithdraw,
        _ => FaultAction.SessionReset,
    };

    /// <summary>Error code and subcode of the NOTIFICATION for a fault that resets the session (RFC 4271 4.5).</summary>
    public static (byte Code, byte Subcode) NotificationOf(BgpFault fault) => fault switch
    {
        BgpFault.HeaderMarker => (1, 1),
        BgpFault.HeaderLength or BgpFault.NotificationLength => (1, 2),
        BgpFault.HeaderType => (1, 3),
        BgpFault.OpenMalformed => (2, 0),
        BgpFault.OpenVersion => (2, 1),
        BgpFault.OpenPeerAs => (2, 2),
        BgpFault.OpenIdentifier => (2, 3),
        BgpFault.OpenParameter => (2, 4),
        BgpFault.OpenHoldTime => (2, 6),
        BgpFault.OpenCapability => (2, 7),
        BgpFault.UnknownWellKnown => (3, 2),
        BgpFault.MpReachSyntax or BgpFault.MpUnreachSyntax => (3, 9),
        BgpFault.NlriSyntax or BgpFault.WithdrawnSyntax => (3, 10),
        BgpFault.RouteRefreshLength => (7, 1),
        BgpFault.UnexpectedMessage => (5, 0),
        _ => (3, 1),
    };
}

/// <summary>A counter for each fault.</summary>
public sealed class BgpFaultCounters
{
    private readonly long[] _counts = new long[BgpFaults.Count];

    /// <summary>How often the fault was seen.</summary>
    public long this[BgpFault fault] => _counts[(int)fault];

    /// <summary>Counts one fault.</summary>
    public void Add(BgpFault fault) => _counts[(int)fault]++;

    /// <summary>All faults seen at least once.</summary>
    public IEnumerable<KeyValuePair<BgpFault, long>> Seen()
    {
        for (int i = 1; i < _counts.Length; i++)
        {
            if (_counts[i] > 0) yield return new((BgpFault)i, _counts[i]);
        }
    }
}
