using System.Buffers.Binary;

namespace SdnEdge.Core.Wire;

/// <summary>The legal values of an IPv4 header; lengths and checksum follow from them.</summary>
/// <param name="Source">Source address.</param>
/// <param name="Destination">Destination address.</param>
/// <param name="Protocol">Protocol of the payload.</param>
/// <param name="Ttl">Time to live, 1 to 255 when sent.</param>
/// <param name="TrafficClass">DSCP in the upper six bits, ECN in the lower two (RFC 2474, 3168).</param>
/// <param name="Identification">Names the datagram among fragments (RFC 6864).</param>
/// <param name="DontFragment">DF.</param>
/// <param name="MoreFragments">MF.</param>
/// <param name="FragmentOffset">Offset of this fragment in units of 8 bytes, 0 to 8191.</param>
public readonly record struct Ipv4Header(
    IpAddress Source, IpAddress Destination, byte Protocol, byte Ttl = 64, byte TrafficClass = 0,
    ushort Identification = 0, bool DontFragment = false, bool MoreFragments = false, ushort FragmentOffset = 0)
{
    /// <summary>Bytes of a header without options.</summary>
    public const int Size = 20;

    /// <summary>Most bytes of options.</summary>
    public const int MaxOptions = 40;

    /// <summary>Bytes a header with so many bytes of options takes (rounded up to four).</summary>
    public static int LengthWith(int optionBytes) => Size + ((optionBytes + 3) & ~3);

    /// <summary>
    /// Writes the header with lengths and checksum; options are padded with end-of-list. Returns the bytes written:
    /// <see cref="LengthWith"/>, which <paramref name="to"/> must hold.
    /// </summary>
    /// <param name="to">Where the header goes.</param>
    /// <param name="payloadLength">Bytes after the header; header and payload at most 65535.</param>
    /// <param name="options">Options as on the wire, at most <see cref="MaxOptions"/> bytes.</param>
    public int Emit(Span<byte> to, int payloadLength, ReadOnlySpan<byte> options = default)
    {
        int length = LengthWith(options.Length);
        to = to[..length];
        to[0] = (byte)(0x40 | (length / 4));
        to[1] = TrafficClass;
        BinaryPrimitives.WriteUInt16BigEndian(to[2..], (ushort)(length + payloadLength));
        BinaryPrimitives.WriteUInt16BigEndian(to[4..], Identification);
        int fragment = (DontFragment ? 0x4000 : 0) | (MoreFragments ? 0x2000 : 0) | (FragmentOffset & 0x1FFF);
        BinaryPrimitives.WriteUInt16BigEndian(to[6..], (ushort)fragment);
        to[8] = Ttl;
        to[9] = Protocol;
        to[10] = to[11] = 0;
        BinaryPrimitives.WriteUInt32BigEndian(to[12..], Source.V4);
        BinaryPrimitives.WriteUInt32BigEndian(to[16..], Destination.V4);
        options.CopyTo(to[Size..]);
        to[(Size + options.Length)..].Clear();
        BinaryPrimitives.WriteUInt16BigEndian(to[10..], Checksum.Compute(to));
        return length;
    }
}

/// <summary>
/// Checked view of an IPv4 packet. After <see cref="TryParse"/> returned true no getter throws; the header checksum is
/// <em>not</em> part of that, see <see cref="ChecksumIsValid"/>.
/// <code>
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-------+-------+-----------+---+-------------------------------+
/// |Version|  IHL  |   DSCP    |ECN|         Total length          |
/// +-------+-------+-----------+---+-----+-------------------------+
/// |         Identification        |0|D|M|     Fragment offset     |
/// +---------------+---------------+-----+-------------------------+
/// |      TTL      |   Protocol    |        Header checksum        |
/// +---------------+---------------+-------------------------------+
/// |                        Source address                         |
/// +---------------------------------------------------------------+
/// |                      Destination address                      |
/// +---------------------------------------------------------------+
/// |                  Options (0 to 40 bytes) ...                  |
/// +---------------------------------------------------------------+
/// </code>
/// RFC 791 3.1, RFC 2474 3, RFC 3168 23.1.
/// </summary>
public readonly ref struct Ipv4View
{
    private readonly ReadOnlySpan<byte> _bytes;

    private Ipv4View(ReadOnlySpan<byte> bytes) => _bytes = bytes;

    /// <summary>Bytes of header and options, 20 to 60.</summary>
    public int HeaderLength => (_bytes[0] & 0xF) * 4;

    /// <summary>Bytes of header and payload that are there.</summary>
    public int TotalLength => _bytes.Length;

    /// <summary>DSCP and ECN.</summary>
    public byte TrafficClass => _bytes[1];

    /// <summary>Identification.</summary>
    public ushort Identification => BinaryPrimitives.ReadUInt16BigEndian(_bytes[4..]);

    /// <summary>DF.</summary>
    public bool DontFragment => (_bytes[6] & 0x40) != 0;

    /// <summary>MF.</summary>
    public bool MoreFragments => (_bytes[6] & 0x20) != 0;

    /// <summary>Fragment offset in units of 8 bytes.</summary>
    public ushort FragmentOffset => (ushort)(BinaryPrimitives.ReadUInt16BigEndian(_bytes[6..]) & 0x1FFF);

    /// <summary>True for any fragment of a larger datagram, the first too.</summary>
    public bool IsFragment => (BinaryPrimitives.ReadUInt16BigEndian(_bytes[6..]) & 0x3FFF) != 0;

    /// <summary>Time to live.</summary>
    public byte Ttl => _bytes[8];

    /// <summary>Protocol of the payload.</summary>
    public byte Protocol => _bytes[9];

    /// <summary>Source address.</summary>
    public IpAddress Source => IpAddress.Read(IpFamily.V4, _bytes[12..]);

    /// <summary>Destination address.</summary>
    public IpAddress Destination => IpAddress.Read(IpFamily.V4, _bytes[16..]);

    /// <summary>Options as on the wire, padding included; walk them with <see cref="Ipv4OptionWalk"/>.</summary>
    public ReadOnlySpan<byte> Options => _bytes[Ipv4Header.Size..HeaderLength];

    /// <summary>The header with its options.</summary>
    public ReadOnlySpan<byte> HeaderBytes => _bytes[..HeaderLength];

    /// <summary>What follows the header, up to the total length (link-layer padding is cut off).</summary>
    public ReadOnlySpan<byte> Payload => _bytes[HeaderLength..];

    /// <summary>The whole packet without link-layer padding.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes;

    /// <summary>True when the header adds up.</summary>
    public bool ChecksumIsValid => Checksum.IsValid(HeaderBytes);

    /// <summary>The header as values; options stand apart in <see cref="Options"/>.</summary>
    public Ipv4Header Header => new(Source, Destination, Protocol, Ttl, TrafficClass, Identification, DontFragment, MoreFragments,
        FragmentOffset);

    /// <summary>False when version, IHL or total length do not fit each other and the bytes that are there.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out Ipv4View view)
    {
        view = default;
        if (bytes.Length < Ipv4Header.Size || bytes[0] >> 4 != 4) return false;
        int header = (bytes[0] & 0xF) * 4;
        int total = BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]);
        if (header < Ipv4Header.Size || total < header || total > bytes.Length) return false;
        view = new Ipv4View(bytes[..total]);
        return true;
    }

    /// <summary>
    /// As <see cref="TryParse"/> for a packet that may be cut short behind its header, as quoted in an ICMP error:
    /// <see cref="TotalLength"/> and <see cref="Payload"/> are then what is there.
    /// </summary>
    public static bool TryParseQuoted(ReadOnlySpan<byte> bytes, out Ipv4View view)
    {
        view = default;
        if (bytes.Length < Ipv4Header.Size || bytes[0] >> 4 != 4) return false;
        int header = (bytes[0] & 0xF) * 4;
        int total = BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]);
        if (header < Ipv4Header.Size || total < header || header > bytes.Length) return false;
        view = new Ipv4View(bytes[..Math.Min(total, bytes.Length)]);
        return true;
    }
}

/// <summary>
/// Walks IPv4 options one by one (RFC 791 3.1). Never throws and never loops, whatever the bytes: a length that does not fit
/// ends the walk and sets <see cref="IsMalformed"/>.
/// </summary>
public ref struct Ipv4OptionWalk
{
    /// <summary>Loose source route, strict source route, record route, router alert.</summary>
    public const byte LooseSourceRoute = 131, StrictSourceRoute = 137, RecordRoute = 7, RouterAlert = 148;

    private ReadOnlySpan<byte> _rest;

    /// <summary>Starts at the first option.</summary>
    public Ipv4OptionWalk(ReadOnlySpan<byte> options)
    {
        _rest = options;
        Type = 0;
        Data = default;
        IsMalformed = false;
    }

    /// <summary>Type octet of the option just read: copied flag, class and number.</summary>
    public byte Type { get; private set; }

    /// <summary>Bytes after type and length.</summary>
    public ReadOnlySpan<byte> Data { get; private set; }

    /// <summary>True when the walk ended at a length that does not fit.</summary>
    public bool IsMalformed { get; private set; }

    /// <summary>Reads the next option; no-operation is skipped. False at the end of the list.</summary>
    public bool MoveNext()
    {
        while (!_rest.IsEmpty && _rest[0] == 1) _rest = _rest[1..];
        if (_rest.IsEmpty || _rest[0] == 0) return false;
        if (_rest.Length < 2 || _rest[1] < 2 || _rest[1] > _rest.Length)
        {
            IsMalformed = true;
            _rest = default;
            return false;
        }

        Type = _rest[0];
        Data = _rest[2.._rest[1]];
        _rest = _rest[_rest[1]..];
        return true;
    }
}
