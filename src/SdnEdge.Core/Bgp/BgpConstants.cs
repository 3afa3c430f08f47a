using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>Sizes and well-known numbers of BGP-4 (RFC 4271).</summary>
public static class BgpLimits
{
    /// <summary>Bytes of the message header (4.1): 16 of marker, 2 of length, 1 of type.</summary>
    public const int HeaderSize = 19;

    /// <summary>Largest message (4.1), where no extended messages are agreed on.</summary>
    public const int MaxMessage = 4096;

    /// <summary>Largest extended message (RFC 8654): UPDATE, NOTIFICATION and ROUTE-REFRESH.</summary>
    public const int MaxExtended = 65535;

    /// <summary>Most bytes of a route's attributes, as we keep them, that are taken: what is added on the way out must still fit.</summary>
    public const int MaxAttributes = 60 * 1024;

    /// <summary>Well-known TCP port.</summary>
    public const int Port = 179;

    /// <summary>AS_TRANS (RFC 6793): stands for a 4-octet AS where only two octets fit.</summary>
    public const ushort AsTrans = 23456;
}

/// <summary>Message types (RFC 4271 4.1, RFC 2918).</summary>
public enum BgpMessageType : byte
{
    /// <summary>OPEN.</summary>
    Open = 1,

    /// <summary>UPDATE.</summary>
    Update = 2,

    /// <summary>NOTIFICATION.</summary>
    Notification = 3,

    /// <summary>KEEPALIVE.</summary>
    Keepalive = 4,

    /// <summary>ROUTE-REFRESH.</summary>
    RouteRefresh = 5,
}

/// <summary>Values of ORIGIN (RFC 4271 5.1.1), best first.</summary>
public enum BgpOrigin : byte
{
    /// <summary>IGP.</summary>
    Igp = 0,

    /// <summary>EGP.</summary>
    Egp = 1,

    /// <summary>INCOMPLETE.</summary>
    Incomplete = 2,
}

/// <summary>Path attribute type codes that this speaker knows.</summary>
public static class AttributeCode
{
    /// <summary>ORIGIN.</summary>
    public const byte Origin = 1;

    /// <summary>AS_PATH.</summary>
    public const byte AsPath = 2;

    /// <summary>NEXT_HOP.</summary>
    public const byte NextHop = 3;

    /// <summary>MULTI_EXIT_DISC.</summary>
    public const byte Med = 4;

    /// <summary>LOCAL_PREF.</summary>
    public const byte LocalPref = 5;

    /// <summary>ATOMIC_AGGREGATE.</summary>
    public const byte AtomicAggregate = 6;

    /// <summary>AGGREGATOR.</summary>
    public const byte Aggregator = 7;

    /// <summary>COMMUNITIES (RFC 1997).</summary>
    public const byte Communities = 8;

    /// <summary>ORIGINATOR_ID (RFC 4456).</summary>
    public const byte OriginatorId = 9;

    /// <summary>CLUSTER_LIST (RFC 4456).</summary>
    public const byte ClusterList = 10;

    /// <summary>MP_REACH_NLRI (RFC 4760).</summary>
    public const byte MpReach = 14;

    /// <summary>MP_UNREACH_NLRI (RFC 4760).</summary>
    public const byte MpUnreach = 15;

    /// <summary>EXTENDED COMMUNITIES (RFC 4360).</summary>
    public const byte ExtendedCommunities = 16;

    /// <summary>AS4_PATH (RFC 6793).</summary>
    public const byte As4Path = 17;

    /// <summary>AS4_AGGREGATOR (RFC 6793).</summary>
    public const byte As4Aggregator = 18;

    /// <summary>Tunnel encapsulation (RFC 9012).</summary>
    public const byte TunnelEncapsulation = 23;

    /// <summary>IPv6 address specific EXTENDED COMMUNITIES (RFC 5701).</summary>
    public const byte Ipv6ExtendedCommunities = 25;

    /// <summary>LARGE_COMMUNITY (RFC 8092).</summary>
    public const byte LargeCommunities = 32;

    /// <summary>Only to customer (RFC 9234).</summary>
    public const byte OnlyToCustomer = 35;
}

/// <summary>Attribute flags (RFC 4271 4.3).</summary>
public static class AttributeFlags
{
    /// <summary>Optional (else well-known).</summary>
    public const byte Optional = 0x80;

    /// <summary>Transitive.</summary>
    public const byte Transitive = 0x40;

    /// <summary>Partial: some router on the way did not know it.</summary>
    public const byte Partial = 0x20;

    /// <summary>The length has two octets.</summary>
    public const byte ExtendedLength = 0x10;
}

/// <summary>AS_PATH segment types (RFC 4271 4.3, RFC 5065).</summary>
public static class AsSegment
{
    /// <summary>AS_SET.</summary>
    public const byte Set = 1;

    /// <summary>AS_SEQUENCE.</summary>
    public const byte Sequence = 2;

    /// <summary>AS_CONFED_SEQUENCE.</summary>
    public const byte ConfedSequence = 3;

    /// <summary>AS_CONFED_SET.</summary>
    public const byte ConfedSet = 4;
}

/// <summary>Address families that sessions carry.</summary>
[Flags]
public enum BgpFamilies : byte
{
    /// <summary>None.</summary>
    None = 0,

    /// <summary>IPv4 unicast.</summary>
    V4 = 1,

    /// <summary>IPv6 unicast.</summary>
    V6 = 2,

    /// <summary>Both.</summary>
    Both = V4 | V6,

    /// <summary>IPv4 of VPNs, SAFI 128 (RFC 4364).</summary>
    Vpn4 = 4,

    /// <summary>IPv6 of VPNs, SAFI 128 (RFC 4659).</summary>
    Vpn6 = 8,

    /// <summary>Both families of VPNs.</summary>
    Vpn = Vpn4 | Vpn6,

    /// <summary>All.</summary>
    All = Both | Vpn,
}

/// <summary>Conversions between a family, its flag and its codes.</summary>
internal static class BgpFamiliesExtensions
{
    /// <summary>SAFI of unicast (RFC 4760 6).</summary>
    public const byte Unicast = 1;

    /// <summary>SAFI of labelled VPN routes (RFC 4364 4.3.4).</summary>
    public const byte MplsVpn = 128;

    private static readonly BgpFamilies[] Each = [BgpFamilies.V4, BgpFamilies.V6, BgpFamilies.Vpn4, BgpFamilies.Vpn6];

    /// <summary>The flag of a unicast family.</summary>
    public static BgpFamilies Flag(this IpFamily family) => family == IpFamily.V4 ? BgpFamilies.V4 : BgpFamilies.V6;

    /// <summary>The flag of a family of VPNs.</summary>
    public static BgpFamilies VpnFlag(this IpFamily family) => family == IpFamily.V4 ? BgpFamilies.Vpn4 : BgpFamilies.Vpn6;

    /// <summary>True for a family of VPNs.</summary>
    public static bool IsVpn(this BgpFamilies one) => (one & BgpFamilies.Vpn) != 0;

    /// <summary>AFI of one family.</summary>
    public static IpFamily Ip(this BgpFamilies one) => (one & (BgpFamilies.V4 | BgpFamilies.Vpn4)) != 0 ? IpFamily.V4 : IpFamily.V6;

    /// <summary>SAFI of one family.</summary>
    public static byte Safi(this BgpFamilies one) => one.IsVpn() ? MplsVpn : Unicast;

    /// <summary>The flag for AFI (two octets) and SAFI; none when we do not know the family.</summary>
    public static BgpFamilies FromCodes(byte afiHigh, byte afiLow, byte safi) => (afiHigh, afiLow, safi) switch
    {
        (0, 1, Unicast) => BgpFamilies.V4,
        (0, 2, Unicast) => BgpFamilies.V6,
        (0, 1, MplsVpn) => BgpFamilies.Vpn4,
        (0, 2, MplsVpn) => BgpFamilies.Vpn6,
        _ => BgpFamilies.None,
    };

    /// <summary>The families in a set, one by one.</summary>
    public static IEnumerable<BgpFamilies> List(this BgpFamilies families) => Each.Where(f => (families & f) != 0);
}
