using System.Buffers.Binary;

namespace SdnEdge.Core.Wire;

/// <summary>
/// Checked view of an IP packet of either version, down to the upper layer. After <see cref="TryParse"/> returned true no
/// getter throws.
/// </summary>
public readonly ref struct IpPacketView
{
    /// <summary>IPv4 or IPv6.</summary>
    public IpFamily Family { get; private init; }

    /// <summary>Source address.</summary>
    public IpAddress Source { get; private init; }

    /// <summary>Destination address.</summary>
    public IpAddress Destination { get; private init; }

    /// <summary>Upper-layer protocol, after IPv6 extension headers.</summary>
    public byte Protocol { get; private init; }

    /// <summary>TTL or hop limit.</summary>
    public byte HopLimit { get; private init; }

    /// <summary>DSCP and ECN.</summary>
    public byte TrafficClass { get; private init; }

    /// <summary>True for a part of a larger datagram.</summary>
    public bool IsFragment { get; private init; }

    /// <summary>True for a part that is not the first, so that <see cref="Payload"/> has no upper-layer header.</summary>
    public bool IsLaterFragment { get; private init; }

    /// <summary>Upper-layer header and data.</summary>
    public ReadOnlySpan<byte> Payload { get; private init; }

    /// <summary>The whole packet without link-layer padding.</summary>
    public ReadOnlySpan<byte> Bytes { get; private init; }

    /// <summary>Bytes of the whole packet by its header; more than <see cref="Bytes"/> where it was cut short.</summary>
    public int WireLength { get; private init; }

    /// <summary>ICMP for IPv4, ICMPv6 for IPv6.</summary>
    public bool IsIcmp => Protocol == (Family == IpFamily.V4 ? IpProtocol.Icmp : IpProtocol.Icmpv6);

    /// <summary>Sum of the pseudo header for <see cref="Payload"/>.</summary>
    public uint PseudoSum => Checksum.Pseudo(Source, Destination, Protocol, Payload.Length);

    /// <summary>False when the header of IPv4 or IPv6, or an extension header, does not fit. The IPv4 checksum is not looked at.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out IpPacketView view)
    {
        view = default;
        if (Ipv4View.TryParse(bytes, out Ipv4View v4)) view = Of(v4);
        else if (!Ipv6View.TryParse(bytes, out Ipv6View v6) || !TryOf(v6, out view)) return false;
        return true;
    }

    /// <summary>
    /// As <see cref="TryParse"/> for a packet that may be cut short, as quoted in an ICMP error. The payload is what is there;
    /// with a cut IPv6 extension header <see cref="Protocol"/> is that header's number.
    /// </summary>
    public static bool TryParseQuoted(ReadOnlySpan<byte> bytes, out IpPacketView view)
    {
        view = default;
        if (Ipv4View.TryParseQuoted(bytes, out Ipv4View v4)) view = Of(v4);
        else if (Ipv6View.TryParseQuoted(bytes, out Ipv6View v6)) TryOf(v6, out view);
        else return false;
        return true;
    }

    private static IpPacketView Of(Ipv4View v4) => new()
    {
        Family = IpFamily.V4, Source = v4.Source, Destination = v4.Destination, Protocol = v4.Protocol, HopLimit = v4.Ttl,
        TrafficClass = v4.TrafficClass, IsFragment = v4.IsFragment, IsLaterFragment = v4.FragmentOffset != 0,
        Payload = v4.Payload, Bytes = v4.Bytes, WireLength = BinaryPrimitives.ReadUInt16BigEndian(v4.Bytes[2..]),
    };

    private static bool TryOf(Ipv6View v6, out IpPacketView view)
    {
        Ipv6ExtensionWalk walk = new(v6);
        bool sound = walk.ToUpperLayer();
        view = new IpPacketView
        {
            Family = IpFamily.V6, Source = v6.Source, Destination = v6.Destination, Protocol = walk.Protocol, HopLimit = v6.HopLimit,
            TrafficClass = v6.TrafficClass, IsFragment = walk.IsFragment, IsLaterFragment = walk.FragmentOffset != 0,
            Payload = walk.Rest, Bytes = v6.Bytes,
            WireLength = Ipv6Header.Size + BinaryPrimitives.ReadUInt16BigEndian(v6.Bytes[4..]),
        };
        return sound;
    }
}
