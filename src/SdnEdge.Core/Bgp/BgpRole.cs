using System.Buffers.Binary;

namespace SdnEdge.Core.Bgp;

/// <summary>What we are to a peer of another AS (RFC 9234 4.1), by the numbers of the capability.</summary>
public enum BgpRole : byte
{
    /// <summary>Its provider.</summary>
    Provider = 0,

    /// <summary>The route server it is a client of.</summary>
    RouteServer = 1,

    /// <summary>A client of its route server.</summary>
    RouteServerClient = 2,

    /// <summary>Its customer.</summary>
    Customer = 3,

    /// <summary>Its peer.</summary>
    Peer = 4,

    /// <summary>Nothing agreed on.</summary>
    None = 255,
}

/// <summary>
/// Roles and the Only-to-Customer attribute (RFC 9234): a route that once went down to a customer, or across to a peer, goes
/// to customers only from there on.
/// </summary>
internal static class RoleRules
{
    /// <summary>Whether two roles belong together (4.2, table 2).</summary>
    public static bool Pair(BgpRole ours, BgpRole theirs) => (ours, theirs) is
        (BgpRole.Provider, BgpRole.Customer) or (BgpRole.Customer, BgpRole.Provider) or (BgpRole.Peer, BgpRole.Peer)
        or (BgpRole.RouteServer, BgpRole.RouteServerClient) or (BgpRole.RouteServerClient, BgpRole.RouteServer);

    /// <summary>Whether a received route is a leak, or its attribute malformed (5, ingress 1 and 2).</summary>
    public static bool IsLeak(BgpRole ours, uint peerAs, PathAttributes attributes)
    {
        if (!attributes.Has(AttributeCode.OnlyToCustomer)) return false;
        ReadOnlySpan<byte> value = attributes.Find(AttributeCode.OnlyToCustomer);
        if (value.Length != 4) return true;
        return ours is BgpRole.Provider or BgpRole.RouteServer
            || (ours == BgpRole.Peer && BinaryPrimitives.ReadUInt32BigEndian(value) != peerAs);
    }

    /// <summary>Whether the mark is put on a received route that has none (ingress 3).</summary>
    public static bool AddsOtcOnIngress(BgpRole ours) => ours is BgpRole.Customer or BgpRole.Peer or BgpRole.RouteServerClient;

    /// <summary>Whether a route may be told (egress 2).</summary>
    public static bool MayAdvertise(BgpRole ours, PathAttributes attributes) =>
        ours is BgpRole.None or BgpRole.Provider or BgpRole.RouteServer || !attributes.Has(AttributeCode.OnlyToCustomer);

    /// <summary>Whether the mark is put on a route told that has none (egress 1).</summary>
    public static bool AddsOtcOnEgress(BgpRole ours) => ours is BgpRole.Provider or BgpRole.Peer or BgpRole.RouteServer;
}
