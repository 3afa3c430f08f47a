using System.Buffers.Binary;

namespace SdnEdge.Core.Wire;

/// <summary>The legal values of a GRE header.</summary>
/// <param name="Protocol">EtherType of the payload: 0x0800, 0x86DD, ...</param>
/// <param name="Checksum">True: checksum over header and payload (C, RFC 2784 2.3.1).</param>
/// <param name="Key">Key (K, RFC 2890 2.1); null = none.</param>
/// <param name="Sequence">Sequence number (S, RFC 2890 2.2); null = none.</param>
public readonly record struct GreHeader(ushort Protocol, bool Checksum = false, uint? Key = null, uint? Sequence = null)
{
    /// <summary>Bytes of a header without optional fields.</summary>
    public const int Size = 4;

    /// <summary>Bytes this header takes: 4, 8, 12 or 16.</summary>
    public int Length => Size + (Checksum ? 4 : 0) + (Key is null ? 0 : 4) + (Sequence is null ? 0 : 4);

    /// <summary>
    /// Writes the header before a payload that already stands at <c>packet[Length..]</c>; the checksum, if any, covers both.
    /// Returns <see cref="Length"/>.
    /// </summary>
    /// <param name="packet">Header and payload.</param>
    public int Emit(Span<byte> packet)
    {
        int flags = (Checksum ? GreView.C : 0) | (Key is null ? 0 : GreView.K) | (Sequence is null ? 0 : GreView.S);
        BinaryPrimitives.WriteUInt16BigEndian(packet, (ushort)flags);
        BinaryPrimitives.WriteUInt16BigEndian(packet[2..], Protocol);
        int at = Size;
        if (Checksum)
        {
            BinaryPrimitives.WriteUInt32BigEndian(packet[at..], 0);
            at += 4;
        }

        if (Key is { } key)
        {
            BinaryPrimitives.WriteUInt32BigEndian(packet[at..], key);
            at += 4;
        }

        if (Sequence is { } sequence)
        {
            BinaryPrimitives.WriteUInt32BigEndian(packet[at..], sequence);
            at += 4;
        }

        if (Checksum) BinaryPrimitives.WriteUInt16BigEndian(packet[Size..], Wire.Checksum.Compute(packet));
        return at;
    }
}

/// <summary>
/// Checked view of a GRE packet. After <see cref="TryParse"/> returned true no getter throws; the checksum is not part of
/// that, see <see cref="ChecksumIsValid"/>.
/// <code>
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+---+-------------+-----+-------------------------------+
/// |C|0|K|S|0 0|  reserved   | Ver |         Protocol type         |
/// +-+-+-+-+---+-------------+-----+-------------------------------+
/// |      Checksum (C)             |        Reserved1 (C)          |
/// +-------------------------------+-------------------------------+
/// |                            Key (K)                            |
/// +---------------------------------------------------------------+
/// |                      Sequence number (S)                      |
/// +---------------------------------------------------------------+
/// </code>
/// RFC 2784 2, RFC 2890 2, RFC 7676 (IPv6 as payload and as delivery protocol). Bits 1, 4 and 5 and any version but 0 are
/// refused, bits 6 to 12 are ignored (RFC 2784 2.3).
/// </summary>
public readonly ref struct GreView
{
    /// <summary>Checksum, key and sequence present; bits and version that must be zero.</summary>
    internal const int C = 0x8000, K = 0x2000, S = 0x1000, MustBeZero = 0x4C07;

    private readonly ReadOnlySpan<byte> _bytes;

    private GreView(ReadOnlySpan<byte> bytes, int headerLength)
    {
        _bytes = bytes;
        HeaderLength = headerLength;
    }

    /// <summary>Bytes of header: 4, 8, 12 or 16.</summary>
    public int HeaderLength { get; }

    /// <summary>EtherType of the payload.</summary>
    public ushort Protocol => BinaryPrimitives.ReadUInt16BigEndian(_bytes[2..]);

    /// <summary>True when a checksum is there.</summary>
    public bool HasChecksum => (Flags & C) != 0;

    /// <summary>The key; null when there is none.</summary>
    public uint? Key => (Flags & K) == 0 ? null : BinaryPrimitives.ReadUInt32BigEndian(_bytes[(HasChecksum ? 8 : 4)..]);

    /// <summary>The sequence number; null when there is none.</summary>
    public uint? Sequence => (Flags & S) == 0 ? null : BinaryPrimitives.ReadUInt32BigEndian(_bytes[(HeaderLength - 4)..]);

    /// <summary>What follows the header.</summary>
    public ReadOnlySpan<byte> Payload => _bytes[HeaderLength..];

    /// <summary>True when there is no checksum, or it adds up over header and payload.</summary>
    public bool ChecksumIsValid => !HasChecksum || Checksum.IsValid(_bytes);

    /// <summary>The header as values.</summary>
    public GreHeader Header => new(Protocol, HasChecksum, Key, Sequence);

    private int Flags => BinaryPrimitives.ReadUInt16BigEndian(_bytes);

    /// <summary>False when truncated, of another version, or with bits set that a receiver must refuse.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out GreView view)
    {
        view = default;
        if (bytes.Length < GreHeader.Size) return false;
        int flags = BinaryPrimitives.ReadUInt16BigEndian(bytes);
        if ((flags & MustBeZero) != 0) return false;
        int length = GreHeader.Size + ((flags & C) != 0 ? 4 : 0) + ((flags & K) != 0 ? 4 : 0) + ((flags & S) != 0 ? 4 : 0);
        if (bytes.Length < length) return false;
        view = new GreView(bytes, length);
        return true;
    }
}

/// <summary>
/// GRE in UDP (RFC 8086): the GRE header stands in a UDP datagram to port 4754, whose source port carries the entropy of the
/// inner flow so that multipath routers keep flows apart and in order.
/// </summary>
public static class GreInUdp
{
    /// <summary>Destination port (RFC 8086 3.2).</summary>
    public const ushort Port = 4754;

    /// <summary>Least source port: the range is 49152 to 65535 (RFC 8086 3.2.1, RFC 6335).</summary>
    public const ushort FirstSourcePort = 0xC000;

    /// <summary>The source port for an inner flow: the same flow always gets the same port.</summary>
    public static ushort SourcePort(uint flowHash) => (ushort)(FirstSourcePort | ((flowHash ^ (flowHash >> 14)) & 0x3FFF));

    /// <summary>
    /// Writes UDP and GRE headers before a payload that already stands behind them. Returns the bytes of both headers.
    /// </summary>
    /// <param name="datagram">Both headers and the payload.</param>
    /// <param name="gre">The GRE header.</param>
    /// <param name="flowHash">Hash of the inner flow.</param>
    /// <param name="source">Outer source.</param>
    /// <param name="destination">Outer destination.</param>
    /// <param name="udpChecksum">False: checksum zero, allowed over IPv4 (RFC 8086 6.1) and under conditions over IPv6 (6.2).</param>
    public static int Emit(Span<byte> datagram, in GreHeader gre, uint flowHash, IpAddress source, IpAddress destination, bool udpChecksum =
        true)
    {
        UdpHeader udp = new(SourcePort(flowHash), Port);
        int length = gre.Emit(datagram[UdpHeader.Size..]);
        if (udpChecksum) udp.Emit(datagram, source, destination);
        else udp.EmitWithoutChecksum(datagram, datagram.Length - UdpHeader.Size);
        return UdpHeader.Size + length;
    }

    /// <summary>True, with a view of the GRE packet, when the datagram is to the GRE-in-UDP port and its GRE header is sound.</summary>
    public static bool TryParse(UdpView udp, out GreView gre)
    {
        gre = default;
        return udp.DestinationPort == Port && GreView.TryParse(udp.Payload, out gre);
    }
}
