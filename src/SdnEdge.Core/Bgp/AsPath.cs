using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace SdnEdge.Core.Bgp;

/// <summary>One segment of an AS path.</summary>
public readonly ref struct AsPathSegment
{
    /// <summary>One of <see cref="AsSegment"/>.</summary>
    public byte Type { get; init; }

    /// <summary>The AS numbers as bytes, two or four octets each.</summary>
    public ReadOnlySpan<byte> Numbers { get; init; }
}

/// <summary>
/// The value of AS_PATH and AS4_PATH (RFC 4271 4.3, RFC 6793).
/// <code>
/// | segment type (1) | count n (1) | n AS numbers of 2 or 4 octets | ...
/// </code>
/// </summary>
public static class AsPath
{
    /// <summary>Most AS numbers in one segment.</summary>
    public const int MaxSegment = 255;

    /// <summary>Checks the shape as RFC 7606 7.2 asks: known types, no empty segment, nothing left over, no AS 0 (RFC 7607).</summary>
    /// <param name="value">Value of the attribute.</param>
    /// <param name="asSize">2 or 4 octets an AS number.</param>
    /// <param name="confederation">True when confederation segments are allowed (RFC 5065).</param>
    public static bool IsWellFormed(ReadOnlySpan<byte> value, int asSize, bool confederation)
    {
        while (value.Length > 0)
        {
            if (value.Length < 2) return false;
            int count = value[1];
            bool known = value[0] is AsSegment.Set or AsSegment.Sequence
                || (confederation && value[0] is AsSegment.ConfedSequence or AsSegment.ConfedSet);
            if (!known || count == 0 || value.Length < 2 + (count * asSize)) return false;
            ReadOnlySpan<byte> numbers = value.Slice(2, count * asSize);
            for (int i = 0; i < count; i++)
            {
                if (ReadAs(numbers, i, asSize) == 0) return false;
            }

            value = value[(2 + numbers.Length)..];
        }

        return true;
    }

    /// <summary>Length as the decision counts it (RFC 4271 9.1.2.2 a): a set counts one, confederation segments none.</summary>
    public static int Length(ReadOnlySpan<byte> value, int asSize = 4)
    {
        int length = 0;
        while (TryNext(ref value, asSize, out AsPathSegment segment))
        {
            length += segment.Type switch
            {
                AsSegment.Sequence => segment.Numbers.Length / asSize,
                AsSegment.Set => 1,
                _ => 0,
            };
        }

        return length;
    }

    /// <summary>First AS number outside confederations; 0 when the path is empty or begins with a set.</summary>
    public static uint First(ReadOnlySpan<byte> value)
    {
        while (TryNext(ref value, 4, out AsPathSegment segment))
        {
            if (segment.Type == AsSegment.Sequence) return ReadAs(segment.Numbers, 0, 4);
            if (segment.Type == AsSegment.Set) return 0;
        }

        return 0;
    }

    /// <summary>How often the AS is in the path: more than never is a loop (RFC 4271 9.1.2).</summary>
    public static int Count(ReadOnlySpan<byte> value, uint autonomousSystem)
    {
        int count = 0;
        while (TryNext(ref value, 4, out AsPathSegment segment))
        {
            for (int i = 0; i < segment.Numbers.Length / 4; i++)
            {
                if (ReadAs(segment.Numbers, i, 4) == autonomousSystem) count++;
            }
        }

        return count;
    }

    /// <summary>True for the numbers that are nobody's (RFC 6996): 64512 to 65534 and 4200000000 to 4294967294.</summary>
    public static bool IsPrivate(uint autonomousSystem)
        => autonomousSystem is (>= 64512 and <= 65534) or (>= 4_200_000_000 and <= 4_294_967_294);

    /// <summary>
    /// Writes the path as a peer is to see it: its own AS replaced, private numbers but the peer's taken out. A segment without numbers
    /// goes. Returns the bytes written, at most as many as the path has.
    /// </summary>
    /// <param name="value">The path, 4-octet form.</param>
    /// <param name="peerAs">The peer's AS.</param>
    /// <param name="instead">What it is replaced by; null: it stays.</param>
    /// <param name="withoutPrivate">Private numbers are taken out.</param>
    /// <param name="into">Where it goes.</param>
    public static int Rewrite(ReadOnlySpan<byte> value, uint peerAs, uint? instead, bool withoutPrivate, Span<byte> into)
    {
        int written = 0;
        while (TryNext(ref value, 4, out AsPathSegment segment))
        {
            int count = 0, at = written + 2;
            for (int i = 0; i < segment.Numbers.Length / 4; i++)
            {
                uint number = ReadAs(segment.Numbers, i, 4);
                if (number == peerAs) number = instead ?? number;
                else if (withoutPrivate && IsPrivate(number)) continue;
                BinaryPrimitives.WriteUInt32BigEndian(into[at..], number);
                at += 4;
                count++;
            }

            if (count == 0) continue;
            (into[written], into[written + 1]) = (segment.Type, (byte)count);
            written = at;
        }

        return written;
    }

    /// <summary>Takes the next segment off the front; false at the end or at a malformed rest.</summary>
    public static bool TryNext(ref ReadOnlySpan<byte> value, int asSize, out AsPathSegment segment)
    {
        segment = default;
        if (value.Length < 2 || value.Length < 2 + (value[1] * asSize)) return false;
        segment = new AsPathSegment { Type = value[0], Numbers = value.Slice(2, value[1] * asSize) };
        value = value[(2 + segment.Numbers.Length)..];
        return true;
    }

    /// <summary>AS number at a position.</summary>
    public static uint ReadAs(ReadOnlySpan<byte> numbers, int index, int asSize) => asSize == 4
        ? BinaryPrimitives.ReadUInt32BigEndian(numbers[(index * 4)..])
        : BinaryPrimitives.ReadUInt16BigEndian(numbers[(index * 2)..]);

    /// <summary>Writes the path with one AS in front (RFC 4271 5.1.2 b). Returns the bytes written; room for 6 more than the path is
    /// enough.</summary>
    public static int Prepend(ReadOnlySpan<byte> value, uint autonomousSystem, Span<byte> into)
    {
        if (value.Length >= 2 && value[0] == AsSegment.Sequence && value[1] < MaxSegment)
        {
            into[0] = AsSegment.Sequence;
            into[1] = (byte)(value[1] + 1);
            BinaryPrimitives.WriteUInt32BigEndian(into[2..], autonomousSystem);
            value[2..].CopyTo(into[6..]);
            return value.Length + 4;
        }

        into[0] = AsSegment.Sequence;
        into[1] = 1;
        BinaryPrimitives.WriteUInt32BigEndian(into[2..], autonomousSystem);
        value.CopyTo(into[6..]);
        return value.Length + 6;
    }

    /// <summary>Writes the path without its confederation segments (RFC 5065 4.1). Returns the bytes written.</summary>
    public static int WithoutConfederations(ReadOnlySpan<byte> value, Span<byte> into)
    {
        int written = 0;
        ReadOnlySpan<byte> rest = value;
        while (TryNext(ref rest, 4, out AsPathSegment segment))
        {
            if (segment.Type is not (AsSegment.Set or AsSegment.Sequence)) continue;
            written += WriteSegment(into[written..], segment.Type, segment.Numbers, 4, 4);
        }

        return written;
    }

    /// <summary>Writes the path with AS numbers of another size; numbers above 65535 become AS_TRANS (RFC 6793 4.2.2). Returns the bytes
    /// written.</summary>
    public static int Convert(ReadOnlySpan<byte> value, int fromSize, int toSize, Span<byte> into)
    {
        int written = 0;
        while (TryNext(ref value, fromSize, out AsPathSegment segment))
        {
            written += WriteSegment(into[written..], segment.Type, segment.Numbers, fromSize, toSize);
        }

        return written;
    }

    /// <summary>True when some AS number does not fit two octets.</summary>
    public static bool NeedsFourOctets(ReadOnlySpan<byte> value)
    {
        while (TryNext(ref value, 4, out AsPathSegment segment))
        {
            for (int i = 0; i < segment.Numbers.Length / 4; i++)
            {
                if (ReadAs(segment.Numbers, i, 4) > ushort.MaxValue) return true;
            }
        }

        return false;
    }

    /// <summary>
    /// Puts an AS_PATH of 2-octet numbers and its AS4_PATH together (RFC 6793 4.2.3). When the AS4_PATH is longer than the
    /// AS_PATH it is ignored; else the front of the AS_PATH that it does not cover is put before it.
    /// Returns the bytes written, 4-octet form; room for twice the AS_PATH plus the AS4_PATH is enough.
    /// </summary>
    public static int Merge(ReadOnlySpan<byte> path2, ReadOnlySpan<byte> path4, Span<byte> into)
    {
        int front = Length(path2, 2) - Length(path4, 4);
        if (path4.IsEmpty || front < 0) return Convert(path2, 2, 4, into);
        int written = 0;
        while (front > 0 && TryNext(ref path2, 2, out AsPathSegment segment))
        {
            int numbers = segment.Numbers.Length / 2;
            int take = segment.Type == AsSegment.Sequence ? Math.Min(numbers, front) : numbers;
            front -= segment.Type switch { AsSegment.Sequence => take, AsSegment.Set => 1, _ => 0 };
            written += WriteSegment(into[written..], segment.Type, segment.Numbers[..(take * 2)], 2, 4);
        }

        path4.CopyTo(into[written..]);
        return Join(into[..(written + path4.Length)], written);
    }

    /// <summary>Text of a 4-octet path: sets in braces, confederation segments in parentheses.</summary>
    public static string ToText(ReadOnlySpan<byte> value)
    {
        var text = new StringBuilder();
        while (TryNext(ref value, 4, out AsPathSegment segment))
        {
            (string open, string separator, string close) = segment.Type switch
            {
                AsSegment.Set => ("{", ",", "}"),
                AsSegment.ConfedSequence => ("(", " ", ")"),
                AsSegment.ConfedSet => ("[", ",", "]"),
                _ => (string.Empty, " ", string.Empty),
            };
            if (text.Length > 0) text.Append(' ');
            text.Append(open);
            for (int i = 0; i < segment.Numbers.Length / 4; i++)
            {
                if (i > 0) text.Append(separator);
                text.Append(CultureInfo.InvariantCulture, $"{ReadAs(segment.Numbers, i, 4)}");
            }

            text.Append(close);
        }

        return text.ToString();
    }

    /// <summary>Writes a sequence of 4-octet numbers. Returns the bytes written.</summary>
    public static int WriteSequence(ReadOnlySpan<uint> numbers, Span<byte> into)
    {
        int written = 0;
        while (numbers.Length > 0)
        {
            int take = Math.Min(numbers.Length, MaxSegment);
            into[written] = AsSegment.Sequence;
            into[written + 1] = (byte)take;
            written += 2;
            for (int i = 0; i < take; i++, written += 4) BinaryPrimitives.WriteUInt32BigEndian(into[written..], numbers[i]);
            numbers = numbers[take..];
        }

        return written;
    }

    private static int WriteSegment(Span<byte> into, byte type, ReadOnlySpan<byte> numbers, int fromSize, int toSize)
    {
        int count = numbers.Length / fromSize;
        into[0] = type;
        into[1] = (byte)count;
        for (int i = 0; i < count; i++)
        {
            uint number = ReadAs(numbers, i, fromSize);
            if (toSize == 4) BinaryPrimitives.WriteUInt32BigEndian(into[(2 + (i * 4))..], number);
            else BinaryPrimitives.WriteUInt16BigEndian(into[(2 + (i * 2))..], number > ushort.MaxValue ? BgpLimits.AsTrans
                : (ushort)number);
        }

        return 2 + (count * toSize);
    }

    /// <summary>Joins the sequence that ends at <paramref name="seam"/> with one that starts there, so that a merged path has its canonical
    /// shape.</summary>
    private static int Join(Span<byte> path, int seam)
    {
        if (seam == 0 || seam == path.Length || path[seam] != AsSegment.Sequence) return path.Length;
        int last = 0;
        for (int at = 0; at < seam; at += 2 + (path[at + 1] * 4)) last = at;
        int total = path[last + 1] + path[seam + 1];
        if (path[last] != AsSegment.Sequence || total > MaxSegment) return path.Length;
        path[last + 1] = (byte)total;
        path[(seam + 2)..].CopyTo(path[seam..]);
        return path.Length - 2;
    }
}
