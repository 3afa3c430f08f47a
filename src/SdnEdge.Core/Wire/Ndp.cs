using System.Buffers.Binary;

namespace SdnEdge.Core.Wire;

/// <summary>Flags of a neighbour advertisement (RFC 4861 4.4), as they stand in the upper bits of the word after the checksum.</summary>
[Flags]
public enum NeighborFlags : uint
{
    /// <summary>No flag.</summary>
    None = 0,
    /// <summary>Override: replaces a cached link-layer address.</summary>
    Override = 0x2000_0000,
    /// <summary>Solicited: an answer to a solicitation, so reachability is confirmed.</summary>
    Solicited = 0x4000_0000,
    /// <summary>The sender is a router.</summary>
    Router = 0x8000_0000,
}

/// <summary>Option types of neighbour discovery (RFC 4861 4.6).</summary>
public static class NdpOption
{
    /// <summary>Option types.</summary>
    public const byte SourceLinkLayer = 1, TargetLinkLayer = 2, PrefixInformation = 3, RedirectedHeader = 4, Mtu = 5;

    /// <summary>Bytes of a link-layer address option for Ethernet, and of an MTU option.</summary>
    public const int LinkLayerSize = 8, MtuSize = 8, PrefixSize = 32;

    /// <summary>Writes a source or target link-layer address option. Returns the bytes written: 8.</summary>
    public static int EmitLinkLayer(Span<byte> to, byte type, MacAddress mac)
    {
        (to[0], to[1]) = (type, 1);
        mac.Write(to[2..]);
        return LinkLayerSize;
    }

    /// <summary>Writes an MTU option. Returns the bytes written: 8.</summary>
    public static int EmitMtu(Span<byte> to, uint mtu)
    {
        (to[0], to[1], to[2], to[3]) = (Mtu, 1, 0, 0);
        BinaryPrimitives.WriteUInt32BigEndian(to[4..], mtu);
        return MtuSize;
    }

    /// <summary>Writes a prefix information option (RFC 4861 4.6.2). Returns the bytes written: 32.</summary>
    /// <param name="to">Where the option goes.</param>
    /// <param name="prefix">The prefix.</param>
    /// <param name="onLink">L flag.</param>
    /// <param name="autonomous">A flag.</param>
    /// <param name="validSeconds">Valid lifetime.</param>
    /// <param name="preferredSeconds">Preferred lifetime.</param>
    public static int EmitPrefix(Span<byte> to, IpPrefix prefix, bool onLink, bool autonomous, uint validSeconds, uint preferredSeconds)
    {
        (to[0], to[1], to[2], to[3]) = (PrefixInformation, 4, prefix.Length, (byte)((onLink ? 0x80 : 0) | (autonomous ? 0x40 : 0)));
        BinaryPrimitives.WriteUInt32BigEndian(to[4..], validSeconds);
        BinaryPrimitives.WriteUInt32BigEndian(to[8..], preferredSeconds);
        BinaryPrimitives.WriteUInt32BigEndian(to[12..], 0);
        prefix.Address.Write(to[16..]);
        return PrefixSize;
    }
}

/// <summary>
/// The legal values of a neighbour solicitation, neighbour advertisement or redirect: the messages about one target.
/// </summary>
/// <param name="Type">One of the <see cref="Icmpv6Type"/> values of the three.</param>
/// <param name="Target">The address asked for, announced, or the better first hop.</param>
/// <param name="LinkLayer">Source (solicitation) or target link-layer address option; null = none.</param>
/// <param name="Flags">Flags of an advertisement; none for the others.</param>
/// <param name="Destination">Destination that is redirected; redirect only.</param>
public readonly record struct NeighborMessage(byte Type, IpAddress Target, MacAddress? LinkLayer = null, NeighborFlags Flags =
    NeighborFlags.None, IpAddress Destination = default)
{
    /// <summary>Bytes of the ICMPv6 message.</summary>
    public int Length => IcmpHeader.Size + 16 + (Type == Icmpv6Type.Redirect ? 16 : 0) + (LinkLayer is null ? 0 : NdpOption.LinkLayerSize);

    /// <summary>Writes the whole ICMPv6 message with checksum. Returns <see cref="Length"/>, which <paramref name="to"/> must
    /// hold.</summary>
    public int Emit(Span<byte> to, IpAddress source, IpAddress destination)
    {
        to = to[..Length];
        int at = IcmpHeader.Size;
        Target.Write(to[at..]);
        at += 16;
        if (Type == Icmpv6Type.Redirect)
        {
            Destination.Write(to[at..]);
            at += 16;
        }

        if (LinkLayer is { } mac)
        {
            byte option = Type == Icmpv6Type.NeighborSolicitation ? NdpOption.SourceLinkLayer : NdpOption.TargetLinkLayer;
            NdpOption.EmitLinkLayer(to[at..], option, mac);
        }

        new IcmpHeader(Type, 0, (uint)Flags).Emit(to, source, destination);
        return to.Length;
    }
}

/// <summary>The legal values of a router advertisement's fixed part (RFC 4861 4.2); options stand behind it.</summary>
/// <param name="HopLimit">Hop limit hosts should use; 0 = unspecified.</param>
/// <param name="Managed">M: addresses by DHCPv6.</param>
/// <param name="OtherConfig">O: other configuration by DHCPv6.</param>
/// <param name="LifetimeSeconds">Lifetime as a default router; 0 = is none.</param>
/// <param name="ReachableMs">Reachable time, ms; 0 = unspecified.</param>
/// <param name="RetransMs">Retransmission timer, ms; 0 = unspecified.</param>
public readonly record struct RouterAdvertisement(byte HopLimit, bool Managed, bool OtherConfig, ushort LifetimeSeconds, uint ReachableMs,
    uint RetransMs)
{
    /// <summary>Bytes before the options, ICMPv6 header included.</summary>
    public const int Size = 16;

    /// <summary>Writes the fixed part before options that already stand at <c>message[16..]</c>. Returns <see cref="Size"/>.</summary>
    public int Emit(Span<byte> message, IpAddress source, IpAddress destination)
    {
        BinaryPrimitives.WriteUInt32BigEndian(message[8..], ReachableMs);
        BinaryPrimitives.WriteUInt32BigEndian(message[12..], RetransMs);
        uint rest = ((uint)HopLimit << 24) | (Managed ? 0x80_0000u : 0) | (OtherConfig ? 0x40_0000u : 0) | LifetimeSeconds;
        new IcmpHeader(Icmpv6Type.RouterAdvertisement, 0, rest).Emit(message, source, destination);
        return Size;
    }
}

/// <summary>
/// Checked view of a neighbour discovery message, options included: an option of length zero, or beyond the message, makes
/// <see cref="TryParse"/> false, as RFC 4861 6.1, 7.1 and 8.1 want. After it returned true no getter throws. The caller has
/// checked hop limit 255 and the checksum.
/// <code>
/// NS 135, NA 136                     Redirect 137                  RA 134
/// +------+------+-----------+        +------+------+-----------+   +------+------+-----------+
/// | Type | Code | Checksum  |        | Type | Code | Checksum  |   | Type | Code | Checksum  |
/// +-+-+-+-------------------+        +-------------------------+   +------+-+-+--+-----------+
/// |R|S|O|     reserved      |        |        reserved         |   |HopLim|M|O|  | Lifetime  |
/// +-+-+-+-------------------+        +-------------------------+   +------+-+-+--+-----------+
/// |      Target (128)       |        |      Target (128)       |   |    Reachable time ms    |
/// +-------------------------+        +-------------------------+   +-------------------------+
/// | Options ...             |        |    Destination (128)    |   |  Retransmission timer   |
/// +-------------------------+        +-------------------------+   +-------------------------+
/// Option: | Type (8) | Length in 8 bytes (8) | value ... |         RS 133: reserved (32), options
/// </code>
/// RFC 4861 4.
/// </summary>
public readonly ref struct NdpView
{
    private readonly ReadOnlySpan<byte> _bytes;

    private NdpView(ReadOnlySpan<byte> bytes) => _bytes = bytes;

    /// <summary>One of 133 to 137.</summary>
    public byte Type => _bytes[0];

    /// <summary>Target of NS, NA and redirect; none for the others.</summary>
    public IpAddress Target => Type >= Icmpv6Type.NeighborSolicitation ? IpAddress.Read(IpFamily.V6, _bytes[8..]) : default;

    /// <summary>Redirected destination; none for the others.</summary>
    public IpAddress Destination => Type == Icmpv6Type.Redirect ? IpAddress.Read(IpFamily.V6, _bytes[24..]) : default;

    /// <summary>Flags of an advertisement; none for the others.</summary>
    public NeighborFlags Flags => Type == Icmpv6Type.NeighborAdvertisement
        ? (NeighborFlags)(BinaryPrimitives.ReadUInt32BigEndian(_bytes[4..]) & 0xE000_0000) : NeighborFlags.None;

    /// <summary>Options as on the wire.</summary>
    public ReadOnlySpan<byte> Options => _bytes[FixedLength(Type)..];

    /// <summary>Source link-layer address option (NS, RS, RA); null when there is none for Ethernet.</summary>
    public MacAddress? SourceLinkLayer => LinkLayer(NdpOption.SourceLinkLayer);

    /// <summary>Target link-layer address option (NA, redirect); null when there is none for Ethernet.</summary>
    public MacAddress? TargetLinkLayer => LinkLayer(NdpOption.TargetLinkLayer);

    /// <summary>NS, NA or redirect as values.</summary>
    public NeighborMessage Neighbor
        => new(Type, Target, Type == Icmpv6Type.NeighborSolicitation ? SourceLinkLayer : TargetLinkLayer, Flags, Destination);

    /// <summary>A router advertisement as values; <c>default</c> for the others.</summary>
    public RouterAdvertisement Router => Type == Icmpv6Type.RouterAdvertisement
        ? new(_bytes[4], (_bytes[5] & 0x80) != 0, (_bytes[5] & 0x40) != 0, BinaryPrimitives.ReadUInt16BigEndian(_bytes[6..]),
            BinaryPrimitives.ReadUInt32BigEndian(_bytes[8..]), BinaryPrimitives.ReadUInt32BigEndian(_bytes[12..]))
        : default;

    /// <summary>False when the ICMPv6 message is none of ND, truncated, has a code, a multicast target, or options that do not
    /// fit.</summary>
    public static bool TryParse(ReadOnlySpan<byte> icmp, out NdpView view)
    {
        view = default;
        if (icmp.Length < IcmpHeader.Size || icmp[0] is < Icmpv6Type.RouterSolicitation or > Icmpv6Type.Redirect
            || icmp[1] != 0) return false;
        int at = FixedLength(icmp[0]);
        if (icmp.Length < at) return false;
        if (icmp[0] >= Icmpv6Type.NeighborSolicitation && icmp[8] == 0xFF) return false;
        while (at < icmp.Length)
        {
            if (at + 2 > icmp.Length) return false;
            int length = icmp[at + 1] * 8;
            if (length == 0 || at + length > icmp.Length) return false;
            at += length;
        }

        view = new NdpView(icmp);
        return true;
    }

    /// <summary>The first option of a type, type and length octets included; false when there is none.</summary>
    public bool TryFindOption(byte type, out ReadOnlySpan<byte> option)
    {
        ReadOnlySpan<byte> options = Options;
        while (!options.IsEmpty)
        {
            int length = options[1] * 8;
            if (options[0] == type)
            {
                option = options[..length];
                return true;
            }

            options = options[length..];
        }

        option = default;
        return false;
    }

    private MacAddress? LinkLayer(byte type)
        => TryFindOption(type, out ReadOnlySpan<byte> option) && option.Length == NdpOption.LinkLayerSize ? MacAddress.Read(option[2..])
            : null;

    private static int FixedLength(byte type) => type switch
    {
        Icmpv6Type.RouterSolicitation => 8,
        Icmpv6Type.RouterAdvertisement => RouterAdvertisement.Size,
        Icmpv6Type.Redirect => 40,
        _ => 24,
    };
}

/// <summary>Addresses that IPv6 on Ethernet derives from others.</summary>
public static class Ipv6Addresses
{
    /// <summary>ff02::1.</summary>
    public static readonly IpAddress AllNodes = new IpAddress(IpFamily.V6, 0xFF02_0000_0000_0000, 1);

    /// <summary>ff02::2.</summary>
    public static readonly IpAddress AllRouters = new IpAddress(IpFamily.V6, 0xFF02_0000_0000_0000, 2);

    /// <summary>ff02::1:ffXX:XXXX, to which a solicitation for the address goes (RFC 4291 2.7.1).</summary>
    public static IpAddress SolicitedNode(IpAddress address)
        => new IpAddress(IpFamily.V6, 0xFF02_0000_0000_0000, 0x0000_0001_FF00_0000 | (address.Low & 0xFF_FFFF));

    /// <summary>fe80::/64 with the modified EUI-64 of a MAC address (RFC 4291 2.5.1 and appendix A).</summary>
    public static IpAddress LinkLocal(MacAddress mac)
    {
        ulong value = mac.Value;
        ulong id = ((value >> 24) << 40) | 0xFF_FE00_0000 | (value & 0xFF_FFFF);
        return new IpAddress(IpFamily.V6, 0xFE80_0000_0000_0000, id ^ 0x0200_0000_0000_0000);
    }

    /// <summary>33:33 and the low 32 bits: the Ethernet address of an IPv6 multicast group (RFC 2464 7).</summary>
    public static MacAddress MulticastMac(IpAddress group) => new(0x3333_0000_0000 | ((ulong)group.Bits & 0xFFFF_FFFF));
}
