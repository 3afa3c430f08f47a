using System.Globalization;

namespace SdnEdge.Core.Wire;

/// <summary>An IPv4 or IPv6 prefix. Host bits are always zero: the constructor clears them.</summary>
public readonly record struct IpPrefix : IComparable<IpPrefix>
{
    /// <summary>Makes a prefix; bits beyond <paramref name="length"/> are cleared.</summary>
    /// <param name="address">Any address inside the prefix.</param>
    /// <param name="length">0 to 32 for IPv4, 0 to 128 for IPv6.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length does not fit the family.</exception>
    public IpPrefix(IpAddress address, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, address.BitLength);
        Length = (byte)length;
        Address = address.Masked(length);
    }

    /// <summary>The network address.</summary>
    public IpAddress Address { get; }

    /// <summary>Most characters of a prefix's text.</summary>
    public const int MaxTextLength = 49;

    /// <summary>Number of significant bits.</summary>
    public byte Length { get; }

    /// <summary>Address family.</summary>
    public IpFamily Family => Address.Family;

    /// <summary>True when the prefix is one address (/32 or /128).</summary>
    public bool IsHost => Length == Address.BitLength;

    /// <summary>The /32 or /128 of an address.</summary>
    public static IpPrefix Host(IpAddress address) => new(address, address.BitLength);

    /// <summary>True when the address lies in this prefix (same family).</summary>
    public bool Contains(IpAddress address) => address.Family == Family && address.Masked(Length) == Address;

    /// <summary>True when the other prefix is this one or lies inside it.</summary>
    public bool Contains(IpPrefix other) => other.Length >= Length && Contains(other.Address);

    /// <summary>Parses <c>10.0.0.0/8</c> or <c>2001:db8::/32</c>; a bare address is a host prefix.</summary>
    /// <exception cref="FormatException">The text is no prefix, or has host bits set.</exception>
    public static IpPrefix Parse(string text) => TryParse(text, out IpPrefix prefix) ? prefix
        : throw new FormatException($"'{text}' is not a prefix; write it as 10.0.0.0/8 or 2001:db8::/32, with no host bits set.");

    /// <summary>Parses a prefix; false when it is none, or when host bits are set.</summary>
    public static bool TryParse(string? text, out IpPrefix prefix)
    {
        prefix = default;
        if (!TryParseInterface(text, out IpAddress address, out int length)) return false;
        prefix = new IpPrefix(address, length);
        return prefix.Address == address;
    }

    /// <summary>Parses an interface address such as <c>10.1.1.1/24</c>, host bits kept; a bare address has the full length.</summary>
    public static bool TryParseInterface(string? text, out IpAddress address, out int length)
    {
        address = default;
        length = 0;
        if (text is null) return false;
        int slash = text.IndexOf('/', StringComparison.Ordinal);
        if (!IpAddress.TryParse(slash < 0 ? text : text[..slash], out address)) return false;
        length = address.BitLength;
        return slash < 0
            || (int.TryParse(text.AsSpan(slash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out length)
                && length <= address.BitLength);
    }

    /// <summary>Orders by family, address, then length.</summary>
    public int CompareTo(IpPrefix other)
    {
        int byAddress = Address.CompareTo(other.Address);
        return byAddress != 0 ? byAddress : Length.CompareTo(other.Length);
    }

    /// <summary>Text as <c>address/length</c>.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Address}/{Length}");

    /// <summary>Writes what <see cref="ToString"/> gives, and returns how many characters it is.</summary>
    /// <param name="into">Room for <see cref="MaxTextLength"/> characters.</param>
    /// <exception cref="ArgumentException">There is no room.</exception>
    public int Format(Span<char> into)
    {
        uint v4 = Address.V4;
        int written;
        bool done = Address.IsV4
            ? into.TryWrite(CultureInfo.InvariantCulture,
                $"{v4 >> 24}.{(byte)(v4 >> 16)}.{(byte)(v4 >> 8)}.{(byte)v4}/{Length}", out written)
            : into.TryWrite(CultureInfo.InvariantCulture, $"{Address}/{Length}", out written);
        return done ? written : throw new ArgumentException($"{MaxTextLength} characters are needed", nameof(into));
    }
}
