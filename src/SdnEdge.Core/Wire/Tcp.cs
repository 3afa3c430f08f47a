using System.Buffers.Binary;

namespace SdnEdge.Core.Wire;

/// <summary>TCP control bits (RFC 9293 3.1, RFC 3168 6.1).</summary>
[Flags]
public enum TcpFlags : byte
{
    /// <summary>No bit set.</summary>
    None = 0,
    /// <summary>No more data from the sender.</summary>
    Fin = 0x01,
    /// <summary>Synchronise sequence numbers.</summary>
    Syn = 0x02,
    /// <summary>Reset.</summary>
    Rst = 0x04,
    /// <summary>Push.</summary>
    Psh = 0x08,
    /// <summary>The acknowledgement field is significant.</summary>
    Ack = 0x10,
    /// <summary>The urgent pointer is significant.</summary>
    Urg = 0x20,
    /// <summary>ECN echo.</summary>
    Ece = 0x40,
    /// <summary>Congestion window reduced.</summary>
    Cwr = 0x80,
}

/// <summary>The legal values of a TCP header; data offset and checksum follow from what is sent.</summary>
/// <param name="SourcePort">Source port.</param>
/// <param name="DestinationPort">Destination port.</param>
/// <param name="Sequence">Sequence number.</param>
/// <param name="Acknowledgement">Acknowledgement number.</param>
/// <param name="Flags">Control bits.</param>
/// <param name="Window">Window, unscaled.</param>
/// <param name="Urgent">Urgent pointer.</param>
public readonly record struct TcpHeader(
    ushort SourcePort, ushort DestinationPort, uint Sequence, uint Acknowledgement, TcpFlags Flags, ushort Window, ushort Urgent = 0)
{
    /// <summary>Bytes of a header without options.</summary>
    public const int Size = 20;

    /// <summary>Most bytes of options.</summary>
    public const int MaxOptions = 40;

    /// <summary>Bytes a header with so many bytes of options takes (rounded up to four).</summary>
    public static int LengthWith(int optionBytes) => Size + ((optionBytes + 3) & ~3);

    /// <summary>
    /// Writes the header before a payload that already stands behind it, with the checksum over both and the pseudo header.
    /// Returns the bytes of the header: <see cref="LengthWith"/>.
    /// </summary>
    /// <param name="segment">Header and payload.</param>
    /// <param name="source">Source of the IP packet.</param>
    /// <param name="destination">Destination of the IP packet.</param>
    /// <param name="options">Options as on the wire, at most <see cref="MaxOptions"/> bytes; padded with end-of-list.</param>
    public int Emit(Span<byte> segment, IpAddress source, IpAddress destination, ReadOnlySpan<byte> options = default)
    {
        int length = LengthWith(options.Length);
        BinaryPrimitives.WriteUInt16BigEndian(segment, SourcePort);
        BinaryPrimitives.WriteUInt16BigEndian(segment[2..], DestinationPort);
        BinaryPrimitives.WriteUInt32BigEndian(segment[4..], Sequence);
        BinaryPrimitives.WriteUInt32BigEndian(segment[8..], Acknowledgement);
        segment[12] = (byte)(length / 4 << 4);
        segment[13] = (byte)Flags;
        BinaryPrimitives.WriteUInt16BigEndian(segment[14..], Window);
        BinaryPrimitives.WriteUInt16BigEndian(segment[16..], 0);
        BinaryPrimitives.WriteUInt16BigEndian(segment[18..], Urgent);
        options.CopyTo(segment[Size..]);
        segment[(Size + options.Length)..length].Clear();
        uint pseudo = Checksum.Pseudo(source, destination, IpProtocol.Tcp, segment.Length);
        BinaryPrimitives.WriteUInt16BigEndian(segment[16..], Checksum.Finish(Checksum.Sum(segment, pseudo)));
        return length;
    }
}

/// <summary>
/// Checked view of a TCP segment. After <see cref="TryParse"/> returned true no getter throws.
/// <code>
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-------------------------------+-------------------------------+
/// |          Source port          |       Destination port        |
/// +-------------------------------+-------------------------------+
/// |                        Sequence number                        |
/// +---------------------------------------------------------------+
/// |                     Acknowledgement number                    |
/// +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
/// | Offset| Rsrvd |C|E|U|A|P|R|S|F|            Window             |
/// +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
/// |           Checksum            |        Urgent pointer         |
/// +-------------------------------+-------------------------------+
/// |                  Options (0 to 40 bytes) ...                  |
/// +---------------------------------------------------------------+
/// </code>
/// RFC 9293 3.1.
/// </summary>
public readonly ref struct TcpView
{
    private readonly ReadOnlySpan<byte> _bytes;

    private TcpView(ReadOnlySpan<byte> bytes) => _bytes = bytes;

    /// <summary>Source port.</summary>
    public ushort SourcePort => BinaryPrimitives.ReadUInt16BigEndian(_bytes);

    /// <summary>Destination port.</summary>
    public ushort DestinationPort => BinaryPrimitives.ReadUInt16BigEndian(_bytes[2..]);

    /// <summary>Sequence number.</summary>
    public uint Sequence => BinaryPrimitives.ReadUInt32BigEndian(_bytes[4..]);

    /// <summary>Acknowledgement number.</summary>
    public uint Acknowledgement => BinaryPrimitives.ReadUInt32BigEndian(_bytes[8..]);

    /// <summary>Bytes of header and options, 20 to 60.</summary>
    public int HeaderLength => (_bytes[12] >> 4) * 4;

    /// <summary>Control bits.</summary>
    public TcpFlags Flags => (TcpFlags)_bytes[13];

    /// <summary>Window, unscaled.</summary>
    public ushort Window => BinaryPrimitives.ReadUInt16BigEndian(_bytes[14..]);

    /// <summary>Urgent pointer.</summary>
    public ushort Urgent => BinaryPrimitives.ReadUInt16BigEndian(_bytes[18..]);

    /// <summary>Options as on the wire, padding included.</summary>
    public ReadOnlySpan<byte> Options => _bytes[TcpHeader.Size..HeaderLength];

    /// <summary>What follows the header.</summary>
    public ReadOnlySpan<byte> Payload => _bytes[HeaderLength..];

    /// <summary>The header as values.</summary>
    public TcpHeader Header => new(SourcePort, DestinationPort, Sequence, Acknowledgement, Flags, Window, Urgent);

    /// <summary>Value of the maximum segment size option; null when there is none (RFC 9293 3.2).</summary>
    public ushort? MaximumSegmentSize
        => TcpOptions.FindMss(Options, out int at) ? BinaryPrimitives.ReadUInt16BigEndian(Options[at..]) : null;

    /// <summary>True when the segment adds up.</summary>
    public bool ChecksumIsValid(IpAddress source, IpAddress destination)
        => Checksum.IsValid(_bytes, Checksum.Pseudo(source, destination, IpProtocol.Tcp, _bytes.Length));

    /// <summary>False when the data offset does not fit the bytes that are there.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out TcpView view)
    {
        view = default;
        if (bytes.Length < TcpHeader.Size) return false;
        int header = (bytes[12] >> 4) * 4;
        if (header < TcpHeader.Size || header > bytes.Length) return false;
        view = new TcpView(bytes);
        return true;
    }
}

/// <summary>TCP options, as far as a router touches them: the maximum segment size.</summary>
public static class TcpOptions
{
    /// <summary>Kind and length of the maximum segment size option.</summary>
    public const byte Mss = 2, MssLength = 4;

    /// <summary>
    /// Lowers the MSS option of a SYN to at most <paramref name="mss"/> and corrects the checksum incrementally (RFC 1624), so
    /// that a checksum that was wrong, or only a pseudo-header sum, stays what it was. True when something was changed.
    /// Never throws, whatever the bytes.
    /// </summary>
    /// <param name="segment">TCP header with its options; payload may follow.</param>
    /// <param name="mss">Largest payload of a segment that fits the path.</param>
    /// <param name="checksumIsPartial">True when the field holds only the pseudo-header sum (offload): it must stay as it is.</param>
    public static bool ClampMss(Span<byte> segment, ushort mss, bool checksumIsPartial = false)
    {
        if (!TcpView.TryParse(segment, out TcpView view) || (view.Flags & TcpFlags.Syn) == 0) return false;
        if (!FindMss(view.Options, out int at)) return false;
        int offset = TcpHeader.Size + at;
        Span<byte> field = segment.Slice(offset, 2);
        ushort old = BinaryPrimitives.ReadUInt16BigEndian(field);
        if (old <= mss) return false;
        BinaryPrimitives.WriteUInt16BigEndian(field, mss);
        if (checksumIsPartial) return true;

        ushort checksum = BinaryPrimitives.ReadUInt16BigEndian(segment[16..]);
        // On an odd offset the value straddles two words; the sum of both bytes swapped is the same (RFC 1071 2B).
        checksum = (offset & 1) == 0
            ? Checksum.Update(checksum, old, mss)
            : Checksum.Update(checksum, BinaryPrimitives.ReverseEndianness(old), BinaryPrimitives.ReverseEndianness(mss));
        BinaryPrimitives.WriteUInt16BigEndian(segment[16..], checksum);
        return true;
    }

    /// <summary>Finds the value of the MSS option; <paramref name="at"/> is its offset from the start of the options.</summary>
    internal static bool FindMss(ReadOnlySpan<byte> options, out int at)
    {
        at = 0;
        while (at < options.Length && options[at] != 0)
        {
            if (options[at] == 1)
            {
                at++;
                continue;
            }

            if (at + 1 >= options.Length || options[at + 1] < 2 || at + options[at + 1] > options.Length) return false;
            if (options[at] == Mss && options[at + 1] == MssLength)
            {
                at += 2;
                return true;
            }

            at += options[at + 1];
        }

        return false;
    }
}
