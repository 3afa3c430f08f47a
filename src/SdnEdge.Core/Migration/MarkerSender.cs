using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Migration;

/// <summary>
/// The address by which an ingress PE is known to flush markers and gates (docs/decisions/0033).
/// <list type="bullet">
/// <item>In the default VRF its loopback of the packets' family: the next hop of its routes.</item>
/// <item>In another VRF the far end of its VPN tunnel, which carries both families. Where that is IPv4 and the packet IPv6, the IPv6
/// address that has it inside, of 64:ff9b:1::/96 (RFC 8215).</item>
/// </list>
/// </summary>
public static class MarkerSender
{
    private const ulong EmbeddedHigh = 0x0064_FF9B_0001_0000;

    /// <summary>The sender's address of a PE.</summary>
    /// <param name="loopbacks">Its loopbacks, in their order.</param>
    /// <param name="family">Family of the packets.</param>
    /// <param name="vpn">True: in a VRF other than the default one.</param>
    /// <returns>No address: it sends no marker of this family.</returns>
    public static IpAddress Of(IEnumerable<IpAddress> loopbacks, IpFamily family, bool vpn)
    {
        ArgumentNullException.ThrowIfNull(loopbacks);
        IpAddress v4 = default, v6 = default;
        foreach (IpAddress loopback in loopbacks)
        {
            if (loopback.IsV4 && v4.IsNone) v4 = loopback;
            else if (loopback.IsV6 && v6.IsNone) v6 = loopback;
        }

        if (!vpn) return family == IpFamily.V4 ? v4 : v6;
        return OfEndpoint(v4.IsNone ? v6 : v4, family); // as VPN routes choose their endpoint
    }

    /// <summary>The sender's address of the PE at the far end of a VPN tunnel.</summary>
    /// <param name="endpoint">The far end.</param>
    /// <param name="family">Family of the packets inside.</param>
    /// <returns>No address: an IPv4 packet cannot name an IPv6 endpoint.</returns>
    public static IpAddress OfEndpoint(IpAddress endpoint, IpFamily family) => endpoint.Family == family ? endpoint
        : family == IpFamily.V6 && endpoint.IsV4 ? new IpAddress(IpFamily.V6, EmbeddedHigh, endpoint.V4) : default;
}
