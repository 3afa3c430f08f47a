using System.Buffers.Binary;
using System.Globalization;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>Kinds of community, each an attribute of its own.</summary>
public enum CommunityKind : byte
{
    /// <summary>Four octets (RFC 1997).</summary>
    Standard,

    /// <summary>Eight octets (RFC 4360).</summary>
    Extended,

    /// <summary>Twelve octets (RFC 8092).</summary>
    Large,
}

/// <summary>
/// One community of any kind. As text: <c>65000:100</c>, <c>no-export</c>; <c>65000:1:2</c> (large); <c>rt:65000:100</c>,
/// <c>soo:10.0.0.1:5</c>, <c>ext:0x0002fde800000064</c> (extended).
/// </summary>
/// <param name="Kind">Kind.</param>
/// <param name="Value">Its octets as a number, the first one highest; of a large community the last eight.</param>
/// <param name="Administrator">The first four octets of a large community (Global Administrator); else 0.</param>
public readonly record struct BgpCommunity(CommunityKind Kind, ulong Value, uint Administrator = 0)
{
    private static readonly (string Name, uint Value)[] Known =
    [
        ("no-export", 0xFFFFFF01), ("no-advertise", 0xFFFFFF02), ("no-export-subconfed", 0xFFFFFF03),
        ("graceful-shutdown", 0xFFFF0000), ("blackhole", 0xFFFF029A),
    ];

    /// <summary>Octets.</summary>
    public int Size => SizeOf(Kind);

    /// <summary>Reads the text form.</summary>
    public static bool TryParse(string? text, out BgpCommunity community)
    {
        community = default;
        if (string.IsNullOrEmpty(text)) return false;
        foreach ((string name, uint value) in Known)
        {
            if (name != text) continue;
            community = new BgpCommunity(CommunityKind.Standard, value);
            return true;
        }

        string[] parts = text.Split(':');
        if (parts[0] is "rt" or "soo") return TryRouteTarget(parts, parts[0] == "rt" ? (byte)2 : (byte)3, out community);
        if (parts[0] == "ext")
        {
            ulong octets = 0;
            bool hex = parts.Length == 2 && parts[1].Length == 18 && parts[1].StartsWith("0x", StringComparison.Ordinal)
                && ulong.TryParse(parts[1].AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out octets);
            community = new BgpCommunity(CommunityKind.Extended, octets);
            return hex;
        }

        uint c = 0;
        if (parts.Length is not (2 or 3) || !Number(parts[0], out uint a) || !Number(parts[1], out uint b)
            || (parts.Length == 3 && !Number(parts[2], out c))) return false;
        if (parts.Length == 3)
        {
            community = new BgpCommunity(CommunityKind.Large, ((ulong)b << 32) | c, a);
            return true;
        }

        if (a > ushort.MaxValue || b > ushort.MaxValue) return false;
        community = new BgpCommunity(CommunityKind.Standard, (a << 16) | b);
        return true;
    }

    /// <summary>Writes the octets; returns how many.</summary>
    public int Write(Span<byte> into)
    {
        Span<byte> octets = stackalloc byte[12];
        BinaryPrimitives.WriteUInt32BigEndian(octets, Administrator);
        BinaryPrimitives.WriteUInt64BigEndian(octets[4..], Value);
        octets[(12 - Size)..].CopyTo(into);
        return Size;
    }

    /// <summary>The text form.</summary>
    public override string ToString()
    {
        ulong v = Value;
        switch (Kind)
        {
            case CommunityKind.Standard:
                foreach ((string name, uint value) in Known)
                {
                    if (value == v) return name;
                }

                return $"{v >> 16}:{v & 0xFFFF}";
            case CommunityKind.Large:
                return $"{Administrator}:{(uint)(v >> 32)}:{(uint)v}";
            default:
                string? role = (byte)(v >> 48) switch { 2 => "rt", 3 => "soo", _ => null };
                return (role, (byte)(v >> 56)) switch
                {
                    (not null, 0) => $"{role}:{(ushort)(v >> 32)}:{(uint)v}",
                    (not null, 1) => $"{role}:{IpAddress.FromV4((uint)(v >> 16))}:{(ushort)v}",
                    (not null, 2) => $"{role}:{(uint)(v >> 16)}:{(ushort)v}",
                    _ => $"ext:0x{v:x16}",
                };
        }
    }

    /// <summary>The communities of one kind that a route carries.</summary>
    public static IEnumerable<BgpCommunity> Of(PathAttributes attributes, CommunityKind kind)
    {
        byte[] value = attributes.Find(CodeOf(kind)).ToArray();
        for (int at = 0; at + SizeOf(kind) <= value.Length; at += SizeOf(kind)) yield return Read(value.AsSpan(at), kind);
    }

    /// <summary>True when a route carries this community.</summary>
    public bool IsOn(PathAttributes attributes)
    {
        ReadOnlySpan<byte> value = attributes.Find(CodeOf(Kind));
        for (; value.Length >= Size; value = value[Size..])
        {
            if (Read(value, Kind) == this) return true;
        }

        return false;
    }

    internal static byte CodeOf(CommunityKind kind) => kind switch
    {
        CommunityKind.Standard => AttributeCode.Communities,
        CommunityKind.Extended => AttributeCode.ExtendedCommunities,
        _ => AttributeCode.LargeCommunities,
    };

    internal static int SizeOf(CommunityKind kind) => kind switch { CommunityKind.Standard => 4, CommunityKind.Extended => 8, _ => 12 };

    internal static BgpCommunity Read(ReadOnlySpan<byte> value, CommunityKind kind)
    {
        ulong number = 0;
        uint administrator = 0;
        for (int i = 0; i < SizeOf(kind); i++)
        {
            if (i < SizeOf(kind) - 8) administrator = (administrator << 8) | value[i];
            else number = (number << 8) | value[i];
        }

        return new BgpCommunity(kind, number, administrator);
    }

    private static bool TryRouteTarget(string[] parts, byte subtype, out BgpCommunity community)
    {
        community = default;
        if (parts.Length != 3 || !Number(parts[2], out uint value)) return false;
        ulong octets;
        if (IpAddress.TryParse(parts[1], out IpAddress address) && address.IsV4 && value <= ushort.MaxValue) octets =
            (1UL << 56) | ((ulong)address.V4 << 16) | value;
        else if (!Number(parts[1], out uint number)) return false;
        else if (number <= ushort.MaxValue) octets = ((ulong)number << 32) | value;
        else if (value <= ushort.MaxValue) octets = (2UL << 56) | ((ulong)number << 16) | value;
        else return false;
        community = new BgpCommunity(CommunityKind.Extended, octets | ((ulong)subtype << 48));
        return true;
    }

    private static bool Number(string text, out uint number)
        => uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);
}
