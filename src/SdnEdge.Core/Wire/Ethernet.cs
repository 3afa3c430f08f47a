using System.Buffers.Binary;

namespace SdnEdge.Core.Wire;

/// <summary>EtherType values (IANA "IEEE 802 Numbers").</summary>
public static class EtherType
{
    /// <summary>IPv4.</summary>
    public const ushort Ipv4 = 0x0800;

    /// <summary>ARP.</summary>
    public const ushort Arp = 0x0806;

    /// <summary>Transparent Ethernet bridging: the payload type of Ethernet in GRE.</summary>
    public const ushort Bridged = 0x6558;

    /// <summary>IEEE 802.1Q customer tag.</summary>
    public const ushort Vlan = 0x8100;

    /// <summary>IPv6.</summary>
    public const ushort Ipv6 = 0x86DD;

    /// <summary>IEEE 802.1ad service tag.</summary>
    public const ushort ServiceVlan = 0x88A8;

    /// <summary>Smallest value that is a type; below it the field is an IEEE 802.3 length.</summary>
    public const ushort FirstType = 0x0600;
}

/// <summary>The legal values of an Ethernet II header, with an IEEE 802.1Q tag or none.</summary>
/// <param name="Destination">Destination address.</param>
/// <param name="Source">Source address.</param>
/// <param name="Type">EtherType of the payload, not of the tag.</param>
/// <param name="Vlan">Tag control information (PCP 3 bits, DEI 1, VID 12); null = untagged.</param>
public readonly record struct EthernetHeader(MacAddress Destination, MacAddress Source, ushort Type, ushort? Vlan = null)
{
    /// <summary>Bytes of an untagged header.</summary>
    public const int Size = 14;

    /// <summary>Bytes a tag adds.</summary>
    public const int VlanSize = 4;

    /// <summary>Bytes this header takes: 14 or 18.</summary>
    public int Length => Vlan is null ? Size : Size + VlanSize;

    /// <summary>Writes the header; <paramref name="to"/> must hold <see cref="Length"/> bytes. Returns the bytes written.</summary>
    public int Emit(Span<byte> to)
    {
        Destination.Write(to);
        Source.Write(to[6..]);
        int at = 12;
        if (Vlan is { } tag)
        {
            BinaryPrimitives.WriteUInt16BigEndian(to[at..], EtherType.Vlan);
            BinaryPrimitives.WriteUInt16BigEndian(to[(at + 2)..], tag);
            at += VlanSize;
        }

        BinaryPrimitives.WriteUInt16BigEndian(to[at..], Type);
        return at + 2;
    }
}

/// <summary>
/// Checked view of an Ethernet II frame. After <see cref="TryParse"/> returned true no getter throws.
/// <code>
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +---------------------------------------------------------------+
/// |                       Destination (48)                        |
/// +                               +-------------------------------+
/// |                               |          Source (48)          |
/// +-------------------------------+                               +
/// |                                                               |
/// +-------------------------------+-----+-+-----------------------+
/// |       TPID 0x8100 (opt.)      | PCP |D|       VID (opt.)      |
/// +-------------------------------+-----+-+-----------------------+
/// |           EtherType           |  Payload ...
/// +-------------------------------+
/// </code>
/// IEEE 802.3 3.1, IEEE 802.1Q 9.
/// </summary>
public readonly ref struct EthernetView
{
    private readonly ReadOnlySpan<byte> _bytes;

    private EthernetView(ReadOnlySpan<byte> bytes, int headerLength)
    {
        _bytes = bytes;
        HeaderLength = headerLength;
    }

    /// <summary>Bytes before the payload: 14, or 18 with a tag.</summary>
    public int HeaderLength { get; }

    /// <summary>Destination address.</summary>
    public MacAddress Destination => MacAddress.Read(_bytes);

    /// <summary>Source address.</summary>
    public MacAddress Source => MacAddress.Read(_bytes[6..]);

    /// <summary>EtherType of the payload (below <see cref="EtherType.FirstType"/>: a length).</summary>
    public ushort Type => BinaryPrimitives.ReadUInt16BigEndian(_bytes[(HeaderLength - 2)..]);

    /// <summary>Tag control information; null when untagged.</summary>
    public ushort? Vlan => HeaderLength == EthernetHeader.Size ? null : BinaryPrimitives.ReadUInt16BigEndian(_bytes[14..]);

    /// <summary>What follows the header, padding included.</summary>
    public ReadOnlySpan<byte> Payload => _bytes[HeaderLength..];

    /// <summary>The header as values.</summary>
    public EthernetHeader Header => new(Destination, Source, Type, Vlan);

    /// <summary>False when the frame is shorter than its header.</summary>
    public static bool TryParse(ReadOnlySpan<byte> frame, out EthernetView view)
    {
        view = default;
        if (frame.Length < EthernetHeader.Size) return false;
        int length = EthernetHeader.Size;
        if (BinaryPrimitives.ReadUInt16BigEndian(frame[12..]) == EtherType.Vlan) length += EthernetHeader.VlanSize;
        if (frame.Length < length) return false;
        view = new EthernetView(frame, length);
        return true;
    }
}
