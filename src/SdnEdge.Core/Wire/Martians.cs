namespace SdnEdge.Core.Wire;

/// <summary>
/// Addresses that are never a host's on a wire (RFC 1812 5.3.7, RFC 6890, RFC 4291 2.5): what a router drops, and what a configuration
/// must not name, by the same rule. Link-local addresses are not among them.
/// </summary>
public static class Martians
{
    /// <summary>Why no packet to or from an address is forwarded, for people; null: it is an ordinary unicast address.</summary>
    public static string? WhyNot(IpAddress address)
    {
        if (address.IsMulticast) return "is a multicast address";
        if (address.IsV4) return WhyNot(address.V4);
        if (address.High != 0) return null;
        return address.Low switch
        {
            0 => "is the unspecified address",
            1 => "is the loopback address",
            _ => address.Low >> 32 == 0xFFFF ? "is an IPv4-mapped address, which is not for the wire" : null,
        };
    }

    /// <summary>True for an IPv4 address that is none, multicast not among them.</summary>
    public static bool IsMartian(uint v4) => v4 >> 24 is 0 or 127 or >= 240;

    /// <summary>True for 169.254.0.0/16 (RFC 3927).</summary>
    public static bool IsLinkLocal(uint v4) => v4 >> 16 == 0xA9FE;

    private static string? WhyNot(uint v4) => (v4 >> 24) switch
    {
        0 => "is of 0.0.0.0/8, which means this network (RFC 1122)",
        127 => "is of 127.0.0.0/8, the loopback of each host",
        >= 240 => "is of 240.0.0.0/4, which is reserved (RFC 1112)",
        _ => null,
    };
}
