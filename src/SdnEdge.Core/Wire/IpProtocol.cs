namespace SdnEdge.Core.Wire;

/// <summary>IPv4 protocol and IPv6 next header numbers (IANA "Assigned Internet Protocol Numbers").</summary>
public static class IpProtocol
{
    /// <summary>IPv6 hop-by-hop options.</summary>
    public const byte HopByHop = 0;

    /// <summary>ICMP for IPv4 (RFC 792).</summary>
    public const byte Icmp = 1;

    /// <summary>IPv4 in IP (RFC 2003).</summary>
    public const byte Ipv4 = 4;

    /// <summary>TCP (RFC 9293).</summary>
    public const byte Tcp = 6;

    /// <summary>UDP (RFC 768).</summary>
    public const byte Udp = 17;

    /// <summary>IPv6 in IP (RFC 2473).</summary>
    public const byte Ipv6 = 41;

    /// <summary>IPv6 routing header.</summary>
    public const byte Routing = 43;

    /// <summary>IPv6 fragment header.</summary>
    public const byte Fragment = 44;

    /// <summary>GRE (RFC 2784).</summary>
    public const byte Gre = 47;

    /// <summary>Encapsulating security payload: what follows is opaque.</summary>
    public const byte Esp = 50;

    /// <summary>Authentication header.</summary>
    public const byte Ah = 51;

    /// <summary>ICMPv6 (RFC 4443).</summary>
    public const byte Icmpv6 = 58;

    /// <summary>IPv6: nothing follows.</summary>
    public const byte NoNext = 59;

    /// <summary>IPv6 destination options.</summary>
    public const byte DestinationOptions = 60;
}
