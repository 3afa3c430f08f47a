using System.Buffers.Binary;
using System.Text;

namespace SdnEdge.Core.Migration;

/// <summary>
/// The tag of a move: in the routes that the target advertises, so that an ingress PE of ours knows that a flush marker is
/// wanted, and in the marker. In routes it is a transitive extended community of an experimental type (RFC 4360, RFC 7153):
/// <code>
/// | type 0x8E | sub-type 0x01 |          zero (2)             |            tag (4)            |
/// </code>
/// Speakers that do not know it pass it on; it changes no decision.
/// </summary>
public static class MoveTag
{
    /// <summary>Bytes of the extended community.</summary>
    public const int CommunityBytes = 8;

    private const ushort Type = 0x8E01;

    /// <summary>The tag of a migration. Never 0. Found by both ends alone; not a secret.</summary>
    public static uint Of(string migration, uint tunnelKey)
    {
        // FNV-1a: short, and the same everywhere.
        uint hash = 2166136261;
        foreach (byte b in Encoding.UTF8.GetBytes(migration)) hash = (hash ^ b) * 16777619;
        for (int shift = 0; shift < 32; shift += 8) hash = (hash ^ (byte)(tunnelKey >> shift)) * 16777619;
        return hash == 0 ? 1 : hash;
    }

    /// <summary>The extended community of a tag.</summary>
    public static byte[] ToCommunity(uint tag)
    {
        byte[] community = new byte[CommunityBytes];
        BinaryPrimitives.WriteUInt16BigEndian(community, Type);
        BinaryPrimitives.WriteUInt32BigEndian(community.AsSpan(4), tag);
        return community;
    }

    /// <summary>The tag among extended communities; null when there is none.</summary>
    public static uint? Find(ReadOnlySpan<byte> extendedCommunities)
    {
        for (; extendedCommunities.Length >= CommunityBytes; extendedCommunities = extendedCommunities[CommunityBytes..])
        {
            if (BinaryPrimitives.ReadUInt16BigEndian(extendedCommunities) == Type) return BinaryPrimitives.ReadUInt32BigEndian(
                extendedCommunities[4..]);
        }

        return null;
    }
}
