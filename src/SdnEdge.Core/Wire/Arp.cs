using System.Buffers.Binary;

namespace SdnEdge.Core.Wire;

/// <summary>ARP operations (RFC 826).</summary>
public enum ArpOperation : ushort
{
    /// <summary>Who has the target protocol address?</summary>
    Request = 1,

    /// <summary>The sender has it.</summary>
    Reply = 2,
}

/// <summary>The legal values of an ARP packet for IPv4 over Ethernet.</summary>
/// <param name="Operation">Request or reply; other values are parsed and left to the reader.</param>
/// <param name="SenderMac">Hardware address of the sender.</param>
/// <param name="Sender">IPv4 address of the sender; 0.0.0.0 in a probe (RFC 5227).</param>
/// <param name="TargetMac">Hardware address of the target; zero in a request.</param>
/// <param name="Target">IPv4 address of the target.</param>
public readonly record struct ArpPacket(ArpOperation Operation, MacAddress SenderMac, IpAddress Sender, MacAddress TargetMac,
    IpAddress Target)
{
    /// <summary>Bytes of an IPv4-over-Ethernet ARP packet.</summary>
    public const int Size = 28;

    /// <summary>Writes the packet; <paramref name="to"/> must hold <see cref="Size"/> bytes. Returns the bytes written.</summary>
    public int Emit(Span<byte> to)
    {
        BinaryPrimitives.WriteUInt16BigEndian(to, 1);
        BinaryPrimitives.WriteUInt16BigEndian(to[2..], EtherType.Ipv4);
        (to[4], to[5]) = (MacAddress.Size, 4);
        BinaryPrimitives.WriteUInt16BigEndian(to[6..], (ushort)Operation);
        SenderMac.Write(to[8..]);
        BinaryPrimitives.WriteUInt32BigEndian(to[14..], Sender.V4);
        TargetMac.Write(to[18..]);
        BinaryPrimitives.WriteUInt32BigEndian(to[24..], Target.V4);
        return Size;
    }
}

/// <summary>
/// Checked view of an ARP packet for IPv4 over Ethernet. After <see cref="TryParse"/> returned true no getter throws.
/// <code>
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-------------------------------+-------------------------------+
/// |      Hardware type = 1        |    Protocol type = 0x0800     |
/// +---------------+---------------+-------------------------------+
/// |    HLEN = 6   |    PLEN = 4   |           Operation           |
/// +---------------+---------------+-------------------------------+
/// |                  Sender hardware address (48)                 |
/// +                               +-------------------------------+
/// |                               |   Sender protocol address ... |
/// +-------------------------------+-------------------------------+
/// | ... sender protocol address   |   Target hardware address ... |
/// +-------------------------------+                               +
/// |                ... target hardware address (48)               |
/// +---------------------------------------------------------------+
/// |                    Target protocol address                    |
/// +---------------------------------------------------------------+
/// </code>
/// RFC 826.
/// </summary>
public readonly ref struct ArpView
{
    private readonly ReadOnlySpan<byte> _bytes;

    private ArpView(ReadOnlySpan<byte> bytes) => _bytes = bytes;

    /// <summary>Request, reply or another number.</summary>
    public ArpOperation Operation => (ArpOperation)BinaryPrimitives.ReadUInt16BigEndian(_bytes[6..]);

    /// <summary>Hardware address of the sender.</summary>
    public MacAddress SenderMac => MacAddress.Read(_bytes[8..]);

    /// <summary>IPv4 address of the sender.</summary>
    public IpAddress Sender => IpAddress.Read(IpFamily.V4, _bytes[14..]);

    /// <summary>Hardware address of the target.</summary>
    public MacAddress TargetMac => MacAddress.Read(_bytes[18..]);

    /// <summary>IPv4 address of the target.</summary>
    public IpAddress Target => IpAddress.Read(IpFamily.V4, _bytes[24..]);

    /// <summary>The packet as values.</summary>
    public ArpPacket Packet => new(Operation, SenderMac, Sender, TargetMac, Target);

    /// <summary>False when truncated, or not IPv4 over Ethernet.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out ArpView view)
    {
        view = default;
        if (bytes.Length < ArpPacket.Size) return false;
        if (BinaryPrimitives.ReadUInt64BigEndian(bytes) >> 16 != 0x0001_0800_0604) return false;
        view = new ArpView(bytes[..ArpPacket.Size]);
        return true;
    }
}
