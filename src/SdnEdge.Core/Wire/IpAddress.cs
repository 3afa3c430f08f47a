using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace SdnEdge.Core.Wire;

/// <summary>Address family, with the AFI values of RFC 4760.</summary>
public enum IpFamily : byte
{
    /// <summary>IPv4 (AFI 1).</summary>
    V4 = 1,

    /// <summary>IPv6 (AFI 2).</summary>
    V6 = 2,
}

/// <summary>
/// An IPv4 or IPv6 address as a value, without allocation. IPv4 sits in the low 32 bits; <c>default</c> is "no address".
/// </summary>
public readonly record struct IpAddress : IComparable<IpAddress>
{
    // Not a UInt128: ahead-of-time compilation leaves out every method in whose arguments or locals there is one, and that would
    // be most of the router.
    private readonly ulong _high, _low;

    /// <summary>Makes an address from its value in host order; an IPv4 address sits in the low 32 bits.</summary>
    public IpAddress(IpFamily family, UInt128 bits) : this(family, (ulong)(bits >> 64), (ulong)bits)
    {
    }

    /// <summary>Makes an address from the two halves of its value in host order; an IPv4 address sits in the low 32 bits.</summary>
    public IpAddress(IpFamily family, ulong high, ulong low) => (Family, _high, _low) = (family, high, low);

    /// <summary>The family; 0 for <c>default</c>.</summary>
    public IpFamily Family { get; }

    /// <summary>The value in host order.</summary>
    public UInt128 Bits => new(_high, _low);

    /// <summary>The upper 64 bits of the value.</summary>
    public ulong High => _high;

    /// <summary>The lower 64 bits of the value.</summary>
    public ulong Low => _low;

    /// <summary>True for an IPv4 address.</summary>
    public bool IsV4 => Family == IpFamily.V4;

    /// <summary>True for an IPv6 address.</summary>
    public bool IsV6 => Family == IpFamily.V6;

    /// <summary>True for <c>default</c>: no address at all.</summary>
    public bool IsNone => Family == 0;

    /// <summary>The IPv4 address in host order; meaningful for IPv4 only.</summary>
    public uint V4 => (uint)_low;

    /// <summary>Address size in bytes: 4 or 16.</summary>
    public int Size => IsV4 ? 4 : 16;

    /// <summary>Address size in bits: 32 or 128.</summary>
    public int BitLength => IsV4 ? 32 : 128;

    /// <summary>True for fe80::/10.</summary>
    public bool IsLinkLocal => IsV6 ? _high >> 54 == 0x3FA : (V4 >> 16) == 0xA9FE;

    /// <summary>True for 224.0.0.0/4 or ff00::/8.</summary>
    public bool IsMulticast => IsV6 ? _high >> 56 == 0xFF : (V4 >> 28) == 0xE;

    /// <summary>An IPv4 address from its value in host order.</summary>
    public static IpAddress FromV4(uint value) => new(IpFamily.V4, 0, value);

    /// <summary>An IPv6 address from its value in host order.</summary>
    public static IpAddress FromV6(UInt128 value) => new(IpFamily.V6, value);

    /// <summary>Reads an address of the given family from network order. Four or sixteen bytes must be there.</summary>
    public static IpAddress Read(IpFamily family, ReadOnlySpan<byte> bytes) => family == IpFamily.V4
        ? FromV4(BinaryPrimitives.ReadUInt32BigEndian(bytes))
        : new IpAddress(IpFamily.V6, BinaryPrimitives.ReadUInt64BigEndian(bytes), BinaryPrimitives.ReadUInt64BigEndian(bytes[8..]));

    /// <summary>Writes the address in network order: four or sixteen bytes.</summary>
    public void Write(Span<byte> bytes)
    {
        if (IsV4)
        {
            BinaryPrimitives.WriteUInt32BigEndian(bytes, V4);
            return;
        }

        BinaryPrimitives.WriteUInt64BigEndian(bytes[8..], _low);
        BinaryPrimitives.WriteUInt64BigEndian(bytes, _high);
    }

    /// <summary>Parses dotted quad or RFC 4291 text, without zone.</summary>
    /// <exception cref="FormatException">The text is no IP address.</exception>
    public static IpAddress Parse(string text) => TryParse(text, out IpAddress address) ? address
        : throw new FormatException($"'{text}' is not an IP address; write it as 192.0.2.1 or 2001:db8::1.");

    /// <summary>
    /// Parses dotted quad or RFC 4291 text, without zone; false when it is neither, or has octets that are octal to some and decimal to
    /// others (010.0.0.1), or hexadecimal.
    /// </summary>
    public static bool TryParse(string? text, out IpAddress address)
    {
        address = default;
        if (text is null || text.Contains('%', StringComparison.Ordinal) || !IPAddress.TryParse(text, out IPAddress? ip)) return false;
        if (ip.AddressFamily == AddressFamily.InterNetwork && text.Count(c => c == '.') != 3) return false;
        if (!HasPlainOctets(text)) return false;
        address = From(ip);
        return true;
    }

    private static bool HasPlainOctets(ReadOnlySpan<char> text)
    {
        if (!text.Contains('.')) return true;
        ReadOnlySpan<char> quad = text[(text.LastIndexOf(':') + 1)..];
        foreach (Range range in quad.Split('.'))
        {
            ReadOnlySpan<char> octet = quad[range];
            if (octet.ContainsAnyExceptInRange('0', '9') || (octet.Length > 1 && octet[0] == '0')) return false;
        }

        return true;
    }

    /// <summary>Converts from the framework's type.</summary>
    public static IpAddress From(IPAddress ip)
    {
        Span<byte> bytes = stackalloc byte[16];
        ip.TryWriteBytes(bytes, out int n);
        return Read(n == 4 ? IpFamily.V4 : IpFamily.V6, bytes[..n]);
    }

    /// <summary>Converts to the framework's type.</summary>
    public IPAddress ToIPAddress()
    {
        Span<byte> bytes = stackalloc byte[16];
        Write(bytes);
        return new IPAddress(bytes[..Size]);
    }

    /// <summary>Orders by family, then numerically.</summary>
    public int CompareTo(IpAddress other)
    {
        if (Family != other.Family) return ((byte)Family).CompareTo((byte)other.Family);
        return _high != other._high ? _high.CompareTo(other._high) : _low.CompareTo(other._low);
    }

    /// <summary>The address with all but its first <paramref name="length"/> bits cleared.</summary>
    internal IpAddress Masked(int length)
    {
        if (IsV4) return new IpAddress(Family, 0, length == 0 ? 0 : _low & (uint.MaxValue << (32 - length)));
        return length > 64
            ? new IpAddress(Family, _high, _low & (ulong.MaxValue << (128 - length)))
            : new IpAddress(Family, length == 0 ? 0 : _high & (ulong.MaxValue << (64 - length)), 0);
    }

    /// <summary>Canonical text (RFC 5952 for IPv6); "none" for <c>default</c>.</summary>
    public override string ToString() => IsNone ? "none" : ToIPAddress().ToString();
}
