using System.Buffers.Binary;

namespace SdnEdge.Core.Wire;

/// <summary>ICMP types and codes for IPv4 (RFC 792, RFC 1122 3.2.2, RFC 1191).</summary>
public static class Icmpv4Type
{
    /// <summary>Types.</summary>
    public const byte EchoReply = 0, Unreachable = 3, SourceQuench = 4, Redirect = 5, EchoRequest = 8, TimeExceeded = 11, ParameterProblem =
        12;

    /// <summary>Codes of <see cref="Unreachable"/>.</summary>
    public const byte Network = 0, Host = 1, Protocol = 2, Port = 3, FragmentationNeeded = 4, Prohibited = 13;

    /// <summary>True for types that report a problem with a packet, so that no error may be sent about them (RFC 1812 4.3.2.7).</summary>
    public static bool IsError(byte type) => type is Unreachable or SourceQuench or Redirect or TimeExceeded or ParameterProblem;
}

/// <summary>ICMPv6 types and codes (RFC 4443, RFC 4861).</summary>
public static class Icmpv6Type
{
    /// <summary>Errors.</summary>
    public const byte Unreachable = 1, PacketTooBig = 2, TimeExceeded = 3, ParameterProblem = 4;

    /// <summary>Echo.</summary>
    public const byte EchoRequest = 128, EchoReply = 129;

    /// <summary>Neighbour discovery.</summary>
    public const byte RouterSolicitation = 133, RouterAdvertisement = 134, NeighborSolicitation = 135, NeighborAdvertisement =
        136, Redirect = 137;

    /// <summary>Codes of <see cref="Unreachable"/>.</summary>
    public const byte NoRoute = 0, Prohibited = 1, BeyondScope = 2, Address = 3, Port = 4;

    /// <summary>True for error messages: the types below 128 (RFC 4443 2.1).</summary>
    public static bool IsError(byte type) => type < 128;
}

/// <summary>The legal values of the fixed part of an ICMP message of either version; the body stands behind it.</summary>
/// <param name="Type">Type.</param>
/// <param name="Code">Code.</param>
/// <param name="Rest">The four bytes after the checksum: identifier and sequence, MTU, or unused.</param>
public readonly record struct IcmpHeader(byte Type, byte Code, uint Rest = 0)
{
    /// <summary>Bytes of the fixed part.</summary>
    public const int Size = 8;

    /// <summary>Identifier of an echo.</summary>
    public ushort Identifier => (ushort)(Rest >> 16);

    /// <summary>Sequence number of an echo.</summary>
    public ushort SequenceNumber => (ushort)Rest;

    /// <summary>Echo request or reply (RFC 792, RFC 4443 4).</summary>
    public static IcmpHeader Echo(IpFamily family, bool reply, ushort identifier, ushort sequence) => new(
        family == IpFamily.V4 ? (reply ? Icmpv4Type.EchoReply : Icmpv4Type.EchoRequest)
            : (reply ? Icmpv6Type.EchoReply : Icmpv6Type.EchoRequest),
        0, ((uint)identifier << 16) | sequence);

    /// <summary>Fragmentation needed with the next hop's MTU (RFC 1191 4), or packet too big (RFC 4443 3.2).</summary>
    /// <param name="family">Which.</param>
    /// <param name="mtu">Largest IP packet that fits, bytes.</param>
    public static IcmpHeader TooBig(IpFamily family, int mtu) => family == IpFamily.V4
        ? new(Icmpv4Type.Unreachable, Icmpv4Type.FragmentationNeeded, (ushort)Math.Min(mtu, ushort.MaxValue))
        : new(Icmpv6Type.PacketTooBig, 0, (uint)mtu);

    /// <summary>TTL or hop limit ran out in transit.</summary>
    public static IcmpHeader TimeExceeded(IpFamily family)
        => new(family == IpFamily.V4 ? Icmpv4Type.TimeExceeded : Icmpv6Type.TimeExceeded, 0);

    /// <summary>
    /// Writes the fixed part before a body that already stands at <c>message[8..]</c>, with the checksum over both; for IPv6
    /// also over the pseudo header. Returns <see cref="Size"/>.
    /// </summary>
    /// <param name="message">The whole message.</param>
    /// <param name="source">Source of the IP packet; its family says which ICMP this is.</param>
    /// <param name="destination">Destination of the IP packet.</param>
    public int Emit(Span<byte> message, IpAddress source, IpAddress destination)
    {
        (message[0], message[1], message[2], message[3]) = (Type, Code, 0, 0);
        BinaryPrimitives.WriteUInt32BigEndian(message[4..], Rest);
        uint seed = source.IsV4 ? 0 : Checksum.Pseudo(source, destination, IpProtocol.Icmpv6, message.Length);
        BinaryPrimitives.WriteUInt16BigEndian(message[2..], Checksum.Finish(Checksum.Sum(message, seed)));
        return Size;
    }
}

/// <summary>
/// Checked view of an ICMP message of either version. After <see cref="TryParse"/> returned true no getter throws; the
/// checksum is not part of that.
/// <code>
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +---------------+---------------+-------------------------------+
/// |     Type      |     Code      |           Checksum            |
/// +---------------+---------------+-------------------------------+
/// | echo: Identifier | Sequence   v4 frag-needed: 0 | Next-hop MTU |
/// | v6 too big: MTU (32)          other errors: unused             |
/// +---------------------------------------------------------------+
/// |  echo: data.   errors: the original packet, as much as fits   |
/// +---------------------------------------------------------------+
/// </code>
/// RFC 792, RFC 1191 4, RFC 4443 2.1, 3, 4.
/// </summary>
public readonly ref struct IcmpView
{
    private readonly ReadOnlySpan<byte> _bytes;

    private IcmpView(ReadOnlySpan<byte> bytes) => _bytes = bytes;

    /// <summary>Type.</summary>
    public byte Type => _bytes[0];

    /// <summary>Code.</summary>
    public byte Code => _bytes[1];

    /// <summary>The four bytes after the checksum.</summary>
    public uint Rest => BinaryPrimitives.ReadUInt32BigEndian(_bytes[4..]);

    /// <summary>Identifier of an echo.</summary>
    public ushort Identifier => Header.Identifier;

    /// <summary>Sequence number of an echo.</summary>
    public ushort SequenceNumber => Header.SequenceNumber;

    /// <summary>What follows the fixed part: echo data, or the original packet in an error.</summary>
    public ReadOnlySpan<byte> Body => _bytes[IcmpHeader.Size..];

    /// <summary>The whole message.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes;

    /// <summary>The fixed part as values.</summary>
    public IcmpHeader Header => new(Type, Code, Rest);

    /// <summary>True when the message adds up, for IPv6 with its pseudo header.</summary>
    public bool ChecksumIsValid(IpAddress source, IpAddress destination) => Checksum.IsValid(_bytes,
        source.IsV4 ? 0 : Checksum.Pseudo(source, destination, IpProtocol.Icmpv6, _bytes.Length));

    /// <summary>The MTU that a fragmentation-needed or packet-too-big message reports; 0 when it is another message.</summary>
    public int ReportedMtu(IpFamily family) => family == IpFamily.V4
        ? (Type == Icmpv4Type.Unreachable && Code == Icmpv4Type.FragmentationNeeded ? (ushort)Rest : 0)
        : (Type == Icmpv6Type.PacketTooBig ? (int)Math.Min(Rest, int.MaxValue) : 0);

    /// <summary>False when fewer than eight bytes are there.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out IcmpView view)
    {
        view = default;
        if (bytes.Length < IcmpHeader.Size) return false;
        view = new IcmpView(bytes);
        return true;
    }
}
