using System.Globalization;

namespace SdnEdge.Core.Wire;

/// <summary>A 48-bit IEEE 802 MAC address, held in the low 48 bits (first octet on the wire is the most significant).</summary>
public readonly record struct MacAddress(ulong Value) : ISpanParsable<MacAddress>
{
    /// <summary>Octets of a MAC address on the wire.</summary>
    public const int Size = 6;

    /// <summary>ff:ff:ff:ff:ff:ff.</summary>
    public static readonly MacAddress Broadcast = new(0xFFFF_FFFF_FFFF);

    /// <summary>True for group addresses (I/G bit set), broadcast included.</summary>
    public bool IsMulticast => (Value & 0x0100_0000_0000) != 0;

    /// <summary>Reads six octets. <paramref name="bytes"/> must hold at least six.</summary>
    public static MacAddress Read(ReadOnlySpan<byte> bytes)
    {
        ulong value = 0;
        for (int i = 0; i < Size; i++) value = (value << 8) | bytes[i];
        return new MacAddress(value);
    }

    /// <summary>Writes six octets. <paramref name="bytes"/> must hold at least six.</summary>
    public void Write(Span<byte> bytes)
    {
        ulong value = Value;
        for (int i = Size - 1; i >= 0; i--)
        {
            bytes[i] = (byte)value;
            value >>= 8;
        }
    }

    /// <summary>Parses <c>aa:bb:cc:dd:ee:ff</c>.</summary>
    /// <exception cref="FormatException">The text is no MAC address.</exception>
    public static MacAddress Parse(string text) => Parse(text, null);

    /// <inheritdoc/>
    public static MacAddress Parse(string s, IFormatProvider? provider) => Parse(s.AsSpan(), provider);

    /// <inheritdoc/>
    public static MacAddress Parse(ReadOnlySpan<char> s, IFormatProvider? provider)
        => TryParse(s, provider, out MacAddress mac) ? mac
            : throw new FormatException($"'{s}' is not a MAC address; write it as six hex octets, e.g. 02:00:00:00:00:01.");

    /// <inheritdoc/>
    public static bool TryParse(string? s, IFormatProvider? provider, out MacAddress result) => TryParse(s.AsSpan(), provider, out result);

    /// <inheritdoc/>
    public static bool TryParse(ReadOnlySpan<char> s, IFormatProvider? provider, out MacAddress result)
    {
        result = default;
        if (s.Length != 17) return false;
        ulong value = 0;
        for (int i = 0; i < Size; i++)
        {
            if (i > 0 && s[(i * 3) - 1] is not (':' or '-')) return false;
            if (!byte.TryParse(s.Slice(i * 3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture,
                out byte octet)) return false;
            value = (value << 8) | octet;
        }

        result = new MacAddress(value);
        return true;
    }

    /// <summary>The address as six lower-case hex octets joined by colons.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{(byte)(Value >> 40):x2}:{(byte)(Value >> 32):x2}:{(byte)(Value >> 24):x2}:"
        + $"{(byte)(Value >> 16):x2}:{(byte)(Value >> 8):x2}:{(byte)Value:x2}");
}
