using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace SdnEdge.Core.Replication;

/// <summary>
/// CRC-32C (Castagnoli, RFC 3720 appendix B.4), by the processor's instruction where it has one. The instruction takes three cycles and one
/// can begin every cycle, so long inputs are three lanes at once, joined by a table: the CRC of A, B is that of A moved over the length of
/// B, exclusive-or that of B.
/// </summary>
public static class Crc32C
{
    // Bytes of a lane; three lanes a round.
    private const int Lane = 336;

    private static readonly uint[] s_overOneLane = Shift(Lane), s_overTwoLanes = Shift(2 * Lane);

    /// <summary>The checksum of <paramref name="bytes"/>.</summary>
    public static uint Of(ReadOnlySpan<byte> bytes) => ~Continue(uint.MaxValue, bytes);

    private static uint Continue(uint crc, ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length >= 3 * Lane)
        {
            uint a = crc, b = 0, c = 0;
            ref byte start = ref MemoryMarshal.GetReference(bytes);
            for (nuint at = 0; at < Lane; at += 8)
            {
                a = BitOperations.Crc32C(a, Word(ref start, at));
                b = BitOperations.Crc32C(b, Word(ref start, at + Lane));
                c = BitOperations.Crc32C(c, Word(ref start, at + (2 * Lane)));
            }

            crc = Move(s_overTwoLanes, a) ^ Move(s_overOneLane, b) ^ c;
            bytes = bytes[(3 * Lane)..];
        }

        while (bytes.Length >= 8)
        {
            crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
            bytes = bytes[8..];
        }

        foreach (byte one in bytes) crc = BitOperations.Crc32C(crc, one);
        return crc;
    }

    // In the loop above the length has been checked for a whole round.
    private static ulong Word(ref byte start, nuint at)
    {
        ulong word = Unsafe.ReadUnaligned<ulong>(ref Unsafe.AddByteOffset(ref start, at));
        return BitConverter.IsLittleEndian ? word : BinaryPrimitives.ReverseEndianness(word);
    }

    private static uint Move(uint[] table, uint crc) =>
        table[crc & 0xFF] ^ table[256 + ((crc >> 8) & 0xFF)] ^ table[512 + ((crc >> 16) & 0xFF)] ^ table[768 + (crc >> 24)];

    // Where a CRC register goes over that many zero bytes: linear, so a table for each of its four bytes.
    private static uint[] Shift(int zeros)
    {
        uint[] table = new uint[1024];
        for (int bit = 0; bit < 32; bit++)
        {
            uint crc = 1u << bit;
            for (int i = 0; i < zeros; i++) crc = BitOperations.Crc32C(crc, (byte)0);
            int first = bit / 8 * 256, step = 1 << (bit % 8);
            for (int value = step; value < 256; value++)
            {
                if ((value & step) != 0) table[first + value] ^= crc;
            }
        }

        return table;
    }
}
