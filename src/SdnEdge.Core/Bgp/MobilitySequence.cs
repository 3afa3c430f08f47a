using System.Buffers.Binary;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// The number of a prefix's last move, as a transitive extended community of the experimental range (RFC 7153): what the MAC
/// mobility community of RFC 7432 15 is for MAC addresses. The PE that a server has moved to tells its prefix with the epoch
/// of the migration; among routes of our own AS the higher number wins before LOCAL_PREF, so that an old owner that comes back
/// late, or never heard of the move, draws no traffic.
/// <code>
/// | 0x8a | 0x4d | number (6 octets) |
/// </code>
/// </summary>
public static class MobilitySequence
{
    /// <summary>Greatest number.</summary>
    public const long Max = (1L << 48) - 1;

    private const ushort TypeCode = 0x8A4D;

    /// <summary>The community of a number from 1 to <see cref="Max"/>.</summary>
    public static BgpCommunity Community(long number)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(number, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(number, Max);
        return new BgpCommunity(CommunityKind.Extended, ((ulong)TypeCode << 48) | (ulong)number);
    }

    /// <summary>The highest number in the value of EXTENDED COMMUNITIES; 0 when there is none.</summary>
    internal static long Read(ReadOnlySpan<byte> communities)
    {
        long highest = 0;
        for (; communities.Length >= 8; communities = communities[8..])
        {
            ulong octets = BinaryPrimitives.ReadUInt64BigEndian(communities);
            if (octets >> 48 == TypeCode) highest = Math.Max(highest, (long)(octets & (ulong)Max));
        }

        return highest;
    }

    /// <summary>Takes all such communities out of a set.</summary>
    internal static void Remove(AttributeBuilder builder)
    {
        ReadOnlySpan<byte> value = builder.Get(AttributeCode.ExtendedCommunities);
        if (Read(value) == 0) return;
        byte[] rest = new byte[value.Length];
        int used = 0;
        for (; value.Length >= 8; value = value[8..])
        {
            if (BinaryPrimitives.ReadUInt16BigEndian(value) == TypeCode) continue;
            value[..8].CopyTo(rest.AsSpan(used));
            used += 8;
        }

        if (used == 0) builder.Remove(AttributeCode.ExtendedCommunities);
        else builder.Set(AttributeFlags.Optional | AttributeFlags.Transitive, AttributeCode.ExtendedCommunities, rest.AsSpan(0, used));
    }
}
