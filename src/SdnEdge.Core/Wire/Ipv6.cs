using System.Buffers.Binary;

namespace SdnEdge.Core.Wire;

/// <summary>The legal values of an IPv6 fixed header; the payload length follows from what is sent.</summary>
/// <param name="Source">Source address.</param>
/// <param name="Destination">Destination address.</param>
/// <param name="NextHeader">Protocol or extension header that follows.</param>
/// <param name="HopLimit">Hop limit.</param>
/// <param name="TrafficClass">DSCP in the upper six bits, ECN in the lower two.</param>
/// <param name="FlowLabel">Flow label, 20 bits (RFC 6437).</param>
public readonly record struct Ipv6Header(
    IpAddress Source, IpAddress Destination, byte NextHeader, byte HopLimit = 64, byte TrafficClass = 0, uint FlowLabel = 0)
{
    /// <summary>Bytes of the fixed header.</summary>
    public const int Size = 40;

    /// <summary>Least MTU of any link that carries IPv6 (RFC 8200 5).</summary>
    public const int MinimumMtu = 1280;

    /// <summary>Writes the header; <paramref name="to"/> must hold <see cref="Size"/> bytes. Returns the bytes written.</summary>
    /// <param name="to">Where the header goes.</param>
    /// <param name="payloadLength">Bytes after the fixed header, extension headers included; at most 65535.</param>
    public int Emit(Span<byte> to, int payloadLength)
    {
        BinaryPrimitives.WriteUInt32BigEndian(to, (6u << 28) | ((uint)TrafficClass << 20) | (FlowLabel & 0xFFFFF));
        BinaryPrimitives.WriteUInt16BigEndian(to[4..], (ushort)payloadLength);
        to[6] = NextHeader;
        to[7] = HopLimit;
        Source.Write(to[8..]);
        Destination.Write(to[24..]);
        return Size;
    }
}

/// <summary>
/// Checked view of an IPv6 packet. After <see cref="TryParse"/> returned true no getter throws.
/// <code>
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-------+-----------+---+---------------------------------------+
/// |Version|   DSCP    |ECN|              Flow label               |
/// +-------+-----------+---+-------+---------------+---------------+
/// |        Payload length         |  Next header  |   Hop limit   |
/// +-------------------------------+---------------+---------------+
/// |                     Source address (128)                      |
/// +---------------------------------------------------------------+
/// |                   Destination address (128)                   |
/// +---------------------------------------------------------------+
/// </code>
/// RFC 8200 3. Jumbograms (RFC 2675) are not carried.
/// </summary>
public readonly ref struct Ipv6View
{
    private readonly ReadOnlySpan<byte> _bytes;

    private Ipv6View(ReadOnlySpan<byte> bytes) => _bytes = bytes;

    /// <summary>DSCP and ECN.</summary>
    public byte TrafficClass => (byte)(BinaryPrimitives.ReadUInt16BigEndian(_bytes) >> 4);

    /// <summary>Flow label, 20 bits.</summary>
    public uint FlowLabel => BinaryPrimitives.ReadUInt32BigEndian(_bytes) & 0xFFFFF;

    /// <summary>What follows the fixed header; see <see cref="Ipv6ExtensionWalk"/> for the upper layer.</summary>
    public byte NextHeader => _bytes[6];

    /// <summary>Hop limit.</summary>
    public byte HopLimit => _bytes[7];

    /// <summary>Source address.</summary>
    public IpAddress Source => IpAddress.Read(IpFamily.V6, _bytes[8..]);

    /// <summary>Destination address.</summary>
    public IpAddress Destination => IpAddress.Read(IpFamily.V6, _bytes[24..]);

    /// <summary>Source then destination as on the wire, 32 bytes: what the pseudo header wants.</summary>
    public ReadOnlySpan<byte> Addresses => _bytes[8..40];

    /// <summary>Extension headers and upper layer, up to the payload length (link-layer padding is cut off).</summary>
    public ReadOnlySpan<byte> Payload => _bytes[Ipv6Header.Size..];

    /// <summary>The whole packet without link-layer padding.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes;

    /// <summary>The fixed header as values.</summary>
    public Ipv6Header Header => new(Source, Destination, NextHeader, HopLimit, TrafficClass, FlowLabel);

    /// <summary>False when the version is not 6 or the payload length goes beyond the bytes that are there.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out Ipv6View view)
    {
        view = default;
        if (bytes.Length < Ipv6Header.Size || bytes[0] >> 4 != 6) return false;
        int total = Ipv6Header.Size + BinaryPrimitives.ReadUInt16BigEndian(bytes[4..]);
        if (total > bytes.Length) return false;
        view = new Ipv6View(bytes[..total]);
        return true;
    }

    /// <summary>As <see cref="TryParse"/> for a packet that may be cut short behind its fixed header, as quoted in an ICMP error.</summary>
    public static bool TryParseQuoted(ReadOnlySpan<byte> bytes, out Ipv6View view)
    {
        view = default;
        if (bytes.Length < Ipv6Header.Size || bytes[0] >> 4 != 6) return false;
        int total = Ipv6Header.Size + BinaryPrimitives.ReadUInt16BigEndian(bytes[4..]);
        view = new Ipv6View(bytes[..Math.Min(total, bytes.Length)]);
        return true;
    }
}

/// <summary>The legal values of a fragment header (RFC 8200 4.5).</summary>
/// <param name="NextHeader">First header of the fragmentable part.</param>
/// <param name="Offset">Offset in units of 8 bytes, 13 bits.</param>
/// <param name="MoreFragments">M flag.</param>
/// <param name="Identification">Names the datagram.</param>
public readonly record struct Ipv6FragmentHeader(byte NextHeader, ushort Offset, bool MoreFragments, uint Identification)
{
    /// <summary>Bytes of a fragment header.</summary>
    public const int Size = 8;

    /// <summary>Writes the header; <paramref name="to"/> must hold <see cref="Size"/> bytes. Returns the bytes written.</summary>
    public int Emit(Span<byte> to)
    {
        (to[0], to[1]) = (NextHeader, 0);
        BinaryPrimitives.WriteUInt16BigEndian(to[2..], (ushort)((Offset << 3) | (MoreFragments ? 1 : 0)));
        BinaryPrimitives.WriteUInt32BigEndian(to[4..], Identification);
        return Size;
    }

    /// <summary>Reads a fragment header; false when fewer than <see cref="Size"/> bytes are there.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out Ipv6FragmentHeader header)
    {
        header = default;
        if (bytes.Length < Size) return false;
        ushort field = BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]);
        header = new Ipv6FragmentHeader(bytes[0], (ushort)(field >> 3), (field & 1) != 0, BinaryPrimitives.ReadUInt32BigEndian(bytes[4..]));
        return true;
    }
}

/// <summary>Emits extension headers made of type-length-value options: hop-by-hop and destination options (RFC 8200 4.2).</summary>
public static class Ipv6OptionsHeader
{
    /// <summary>Bytes a header with so many bytes of options takes (padded to eight).</summary>
    public static int LengthWith(int optionBytes) => (2 + optionBytes + 7) & ~7;

    /// <summary>Writes the header, padded with Pad1 or PadN. Returns the bytes written: <see cref="LengthWith"/>.</summary>
    /// <param name="to">Where the header goes.</param>
    /// <param name="nextHeader">What follows it.</param>
    /// <param name="options">Options as on the wire, at most 2038 bytes.</param>
    public static int Emit(Span<byte> to, byte nextHeader, ReadOnlySpan<byte> options)
    {
        int length = LengthWith(options.Length);
        to = to[..length];
        (to[0], to[1]) = (nextHeader, (byte)((length / 8) - 1));
        options.CopyTo(to[2..]);
        Span<byte> pad = to[(2 + options.Length)..];
        pad.Clear();
        if (pad.Length >= 2) (pad[0], pad[1]) = (1, (byte)(pad.Length - 2));
        return length;
    }
}

/// <summary>
/// Walks the extension headers of an IPv6 packet (RFC 8200 4). Never throws and never loops: every step moves on by at least
/// eight bytes, and a header that does not fit ends the walk with <see cref="IsMalformed"/>.
/// </summary>
public ref struct Ipv6ExtensionWalk
{
    private ReadOnlySpan<byte> _rest;

    /// <summary>Starts at the first header after the fixed one.</summary>
    public Ipv6ExtensionWalk(Ipv6View packet)
    {
        _rest = packet.Payload;
        Protocol = packet.NextHeader;
        IsMalformed = false;
        FragmentOffset = 0;
        IsFragment = false;
        SegmentsLeft = 0;
    }

    /// <summary>The header that stands at <see cref="Rest"/>: after <see cref="ToUpperLayer"/> the upper-layer protocol.</summary>
    public byte Protocol { get; private set; }

    /// <summary>Bytes from the current header on.</summary>
    public readonly ReadOnlySpan<byte> Rest => _rest;

    /// <summary>True when a header was truncated.</summary>
    public bool IsMalformed { get; private set; }

    /// <summary>True when a fragment header was passed that says this is a part (an atomic fragment, RFC 6946, is none).</summary>
    public bool IsFragment { get; private set; }

    /// <summary>Offset of the fragment in units of 8 bytes; above zero no upper-layer header follows.</summary>
    public ushort FragmentOffset { get; private set; }

    /// <summary>Segments left in the last routing header passed.</summary>
    public byte SegmentsLeft { get; private set; }

    /// <summary>
    /// Steps over one extension header. False when <see cref="Protocol"/> is none (the upper layer is reached), when a later
    /// fragment's data begins, or when the header does not fit.
    /// </summary>
    public bool MoveNext()
    {
        if (FragmentOffset != 0 || IsMalformed) return false;
        int length;
        switch (Protocol)
        {
            case IpProtocol.HopByHop or IpProtocol.Routing or IpProtocol.DestinationOptions:
                if (_rest.Length < 8) return End();
                length = 8 + (_rest[1] * 8);
                if (length > _rest.Length) return End();
                if (Protocol == IpProtocol.Routing) SegmentsLeft = _rest[3];
                break;
            case IpProtocol.Fragment:
                if (!Ipv6FragmentHeader.TryParse(_rest, out Ipv6FragmentHeader fragment)) return End();
                length = Ipv6FragmentHeader.Size;
                FragmentOffset = fragment.Offset;
                IsFragment |= fragment.Offset != 0 || fragment.MoreFragments;
                break;
            case IpProtocol.Ah:
                if (_rest.Length < 8) return End();
                length = 8 + (_rest[1] * 4); // counted in four bytes, less two (RFC 4302 2.2)
                if (length > _rest.Length) return End();
                break;
            default:
                return false;
        }

        Protocol = _rest[0];
        _rest = _rest[length..];
        return true;
    }

    /// <summary>Walks to the upper layer; false when a header on the way is truncated.</summary>
    public bool ToUpperLayer()
    {
        while (MoveNext())
        {
        }

        return !IsMalformed;
    }

    private bool End()
    {
        IsMalformed = true;
        return false;
    }
}
