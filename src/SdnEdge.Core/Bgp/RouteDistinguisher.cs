using System.Buffers.Binary;
using System.Globalization;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// What makes equal prefixes of different customers different in BGP (RFC 4364 4.2): eight octets, compared as a whole.
/// <code>
/// type 0: | 0 0 | AS (2) | number (4) |    type 1: | 0 1 | IPv4 address (4) | number (2) |    type 2: | 0 2 | AS (4) | number (2) |
/// </code>
/// As text <c>65000:7</c>, <c>10.255.0.1:7</c>, <c>4200000000:7</c>. Types that are not known are no fault: a distinguisher
/// says nothing but that it is another one.
/// </summary>
/// <param name="Value">The octets as a number, the first one highest.</param>
public readonly record struct RouteDistinguisher(ulong Value) : IComparable<RouteDistinguisher>
{
    /// <summary>Octets on the wire.</summary>
    public const int Size = 8;

    /// <summary>Type: 0, 1 or 2; others are not known.</summary>
    public int Type => (int)(Value >> 48);

    /// <summary>Reads the text form.</summary>
    public static bool TryParse(string? text, out RouteDistinguisher distinguisher)
    {
        // The same two halves as those of a route target, whose sub-type lies in the second octet.
        distinguisher = default;
        if (text is null || !BgpCommunity.TryParse($"rt:{text}", out BgpCommunity target)) return false;
        distinguisher = new RouteDistinguisher(((ulong)target.Value >> 56 << 48) | ((ulong)target.Value & 0xFFFF_FFFF_FFFF));
        return true;
    }

    /// <summary>Reads the text form.</summary>
    /// <exception cref="FormatException">The text is no route distinguisher.</exception>
    public static RouteDistinguisher Parse(string text) => TryParse(text, out RouteDistinguisher distinguisher) ? distinguisher
        : throw new FormatException($"'{text}' is not a route distinguisher; write it as 65000:7 or 10.255.0.1:7.");

    /// <summary>Reads eight octets.</summary>
    public static RouteDistinguisher Read(ReadOnlySpan<byte> bytes) => new(BinaryPrimitives.ReadUInt64BigEndian(bytes));

    /// <summary>Writes eight octets.</summary>
    public void Write(Span<byte> into) => BinaryPrimitives.WriteUInt64BigEndian(into, Value);

    /// <summary>Orders by value.</summary>
    public int CompareTo(RouteDistinguisher other) => Value.CompareTo(other.Value);

    /// <summary>The text form; of an unknown type the octets.</summary>
    public override string ToString() => Type switch
    {
        0 => string.Create(CultureInfo.InvariantCulture, $"{(ushort)(Value >> 32)}:{(uint)Value}"),
        1 => string.Create(CultureInfo.InvariantCulture, $"{IpAddress.FromV4((uint)(Value >> 16))}:{(ushort)Value}"),
        2 => string.Create(CultureInfo.InvariantCulture, $"{(uint)(Value >> 16)}:{(ushort)Value}"),
        _ => $"0x{Value:x16}",
    };
}
