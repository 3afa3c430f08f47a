using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>Byte offsets that the fast path reads directly, after it has checked the length once. The checked views are in Wire.</summary>
internal static unsafe class At
{
    public const int EthType = 12, EthHeader = 14, VlanHeader = 18;

    public const int V4Tos = 1, V4Total = 2, V4Fragment = 6, V4Ttl = 8, V4Protocol = 9, V4Checksum = 10, V4Source = 12,
        V4Destination = 16, V4Header = 20;

    public const int V6Payload = 4, V6Next = 6, V6Hops = 7, V6Source = 8, V6Destination = 24, V6Header = 40;

    /// <summary>Don't fragment, more fragments and the fragment offset in the IPv4 flags word.</summary>
    public const int V4Df = 0x4000, V4Mf = 0x2000, V4OffsetMask = 0x1FFF;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort Load16(byte* at) => BinaryPrimitives.ReverseEndianness(Unsafe.ReadUnaligned<ushort>(at));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Load32(byte* at) => BinaryPrimitives.ReverseEndianness(Unsafe.ReadUnaligned<uint>(at));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Load64(byte* at) => BinaryPrimitives.ReverseEndianness(Unsafe.ReadUnaligned<ulong>(at));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static IpAddress Address6(byte* at) => new(IpFamily.V6, Load64(at), Load64(at + 8));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store16(byte* at, int value) => Unsafe.WriteUnaligned(at, BinaryPrimitives.ReverseEndianness((ushort)value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store32(byte* at, uint value) => Unsafe.WriteUnaligned(at, BinaryPrimitives.ReverseEndianness(value));

    /// <summary>Ones' complement sum of an IPv4 header, folded to 16 bits, in the machine's byte order: 0xFFFF when its checksum is right
    /// (RFC 1071).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint HeaderSum(byte* ip, int bytes)
    {
        ulong sum = (ulong)Unsafe.ReadUnaligned<uint>(ip) + Unsafe.ReadUnaligned<uint>(ip + 4) + Unsafe.ReadUnaligned<uint>(ip + 8)
            + Unsafe.ReadUnaligned<uint>(ip + 12) + Unsafe.ReadUnaligned<uint>(ip + 16);
        for (int i = V4Header; i < bytes; i += 4) sum += Unsafe.ReadUnaligned<uint>(ip + i);
        sum = (uint)sum + (sum >> 32);
        uint folded = (uint)((ushort)sum + (sum >> 16));
        folded = (ushort)folded + (folded >> 16);
        return (ushort)((ushort)folded + (folded >> 16));
    }

    /// <summary>Fills the checksum of a 20-byte IPv4 header.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void FillChecksum(byte* ip, int bytes)
    {
        Unsafe.WriteUnaligned<ushort>(ip + V4Checksum, 0);
        Unsafe.WriteUnaligned(ip + V4Checksum, (ushort)~HeaderSum(ip, bytes));
    }
}
