using System.Buffers.Binary;

namespace SdnEdge.Core.Wire;

/// <summary>The legal values of a UDP header; length and checksum follow from what is sent.</summary>
/// <param name="SourcePort">Source port.</param>
/// <param name="DestinationPort">Destination port.</param>
public readonly record struct UdpHeader(ushort SourcePort, ushort DestinationPort)
{
    /// <summary>Bytes of a UDP header.</summary>
    public const int Size = 8;

    /// <summary>
    /// Writes the header before a payload that already stands at <c>datagram[8..]</c>, with the checksum over both and the
    /// pseudo header. Returns <see cref="Size"/>.
    /// </summary>
    /// <param name="datagram">Header and payload, 8 to 65535 bytes.</param>
    /// <param name="source">Source of the IP packet.</param>
    /// <param name="destination">Destination of the IP packet.</param>
    public int Emit(Span<byte> datagram, IpAddress source, IpAddress destination)
    {
        EmitWithoutChecksum(datagram, datagram.Length - Size);
        uint pseudo = Checksum.Pseudo(source, destination, IpProtocol.Udp, datagram.Length);
        BinaryPrimitives.WriteUInt16BigEndian(datagram[6..], Checksum.FinishUdp(Checksum.Sum(datagram, pseudo)));
        return Size;
    }

    /// <summary>Writes the header with checksum zero: "none" (RFC 768; over IPv6 only where RFC 6936 allows it). Returns
    /// <see cref="Size"/>.</summary>
    public int EmitWithoutChecksum(Span<byte> to, int payloadLength)
    {
        BinaryPrimitives.WriteUInt16BigEndian(to, SourcePort);
        BinaryPrimitives.WriteUInt16BigEndian(to[2..], DestinationPort);
        BinaryPrimitives.WriteUInt16BigEndian(to[4..], (ushort)(Size + payloadLength));
        BinaryPrimitives.WriteUInt16BigEndian(to[6..], 0);
        return Size;
    }
}

/// <summary>
/// Checked view of a UDP datagram. After <see cref="TryParse"/> returned true no getter throws.
/// <code>
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-------------------------------+-------------------------------+
/// |          Source port          |       Destination port        |
/// +-------------------------------+-------------------------------+
/// |            Length             |           Checksum            |
/// +-------------------------------+-------------------------------+
/// </code>
/// RFC 768.
/// </summary>
public readonly ref struct UdpView
{
    private readonly ReadOnlySpan<byte> _bytes;

    private UdpView(ReadOnlySpan<byte> bytes) => _bytes = bytes;

    /// <summary>Source port.</summary>
    public ushort SourcePort => BinaryPrimitives.ReadUInt16BigEndian(_bytes);

    /// <summary>Destination port.</summary>
    public ushort DestinationPort => BinaryPrimitives.ReadUInt16BigEndian(_bytes[2..]);

    /// <summary>Bytes of header and payload.</summary>
    public int Length => _bytes.Length;

    /// <summary>The checksum field; zero = none was computed.</summary>
    public ushort ChecksumField => BinaryPrimitives.ReadUInt16BigEndian(_bytes[6..]);

    /// <summary>What follows the header, up to the length field.</summary>
    public ReadOnlySpan<byte> Payload => _bytes[UdpHeader.Size..];

    /// <summary>The header as values.</summary>
    public UdpHeader Header => new(SourcePort, DestinationPort);

    /// <summary>
    /// True when the datagram adds up. A zero field counts as valid over IPv4 and as wrong over IPv6 (RFC 8200 8.1).
    /// </summary>
    public bool ChecksumIsValid(IpAddress source, IpAddress destination) => ChecksumField == 0
        ? source.IsV4
        : Checksum.IsValid(_bytes, Checksum.Pseudo(source, destination, IpProtocol.Udp, Length));

    /// <summary>False when the length field is below 8 or beyond the bytes that are there.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out UdpView view)
    {
        view = default;
        if (bytes.Length < UdpHeader.Size) return false;
        int length = BinaryPrimitives.ReadUInt16BigEndian(bytes[4..]);
        if (length < UdpHeader.Size || length > bytes.Length) return false;
        view = new UdpView(bytes[..length]);
        return true;
    }
}
