using System.Buffers.Binary;

namespace SdnEdge.Lab.Disks;

/// <summary>
/// What is on a disk of the records of the lab's guest (guest/disk.c). A record is 4096 bytes at (number % records of the disk) * 4096, 512
/// words of 64 bits, little-endian:
/// <code>
/// 0  "SDNEDGE1"     1  the boot     2  the number, from 1     3  the sum of all others, each times its place + 1
/// 4 ..  what follows from boot, number and place
/// </code>
/// All of one boot up to the last that was acknowledged are to be there, but for those whose place a later one has. One record after it may
/// be there, too: written, and not acknowledged. Given in order, as it is read. Pure.
/// </summary>
/// <param name="places">Records that the disk has room for.</param>
/// <param name="boot">The boot that wrote them.</param>
/// <param name="acknowledged">The last number that was acknowledged.</param>
public sealed class DiskRecords(long places, ulong boot, long acknowledged)
{
    /// <summary>Bytes of a record.</summary>
    public const int Size = 4096;

    private const int Words = Size / 8;
    private long _place;

    /// <summary>Records that are to be there, of what was given.</summary>
    public long Expected { get; private set; }

    /// <summary>Of these: not there, or not as written.</summary>
    public long Lost { get; private set; }

    /// <summary>Of the lost: something is there that is no whole record.</summary>
    public long Damaged { get; private set; }

    /// <summary>The lowest number that is lost; null = none is.</summary>
    public long? FirstLost { get; private set; }

    /// <summary>The next part of the disk, a multiple of a record long.</summary>
    public void Add(ReadOnlySpan<byte> part)
    {
        for (; part.Length >= Size; part = part[Size..]) AddOne(part[..Size]);
    }

    private void AddOne(ReadOnlySpan<byte> bytes)
    {
        long place = _place++;
        if (Due(place) is not { } number) return;
        Expected++;
        bool whole = IsWhole(bytes, boot);
        long there = whole ? BinaryPrimitives.ReadInt64LittleEndian(bytes[16..]) : 0;
        if (there == number || (there == acknowledged + 1 && there % places == place)) return;
        Lost++;
        if (!whole && bytes.ContainsAnyExcept((byte)0)) Damaged++;
        if (FirstLost is not { } first || number < first) FirstLost = number;
    }

    // The last number that was acknowledged and has this place; null = none had it so far.
    private long? Due(long place)
    {
        if (place >= places) return null;
        long number = acknowledged - ((acknowledged - place) % places + places) % places;
        return number >= 1 ? number : null;
    }

    /// <summary>True: a record of this boot, as it was written.</summary>
    public static bool IsWhole(ReadOnlySpan<byte> bytes, ulong boot)
    {
        if (!bytes[..8].SequenceEqual("SDNEDGE1"u8) || BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]) != boot) return false;
        ulong sum = 0;
        for (int i = 0; i < Words; i++)
        {
            if (i != 3) sum += BinaryPrimitives.ReadUInt64LittleEndian(bytes[(i * 8)..]) * (ulong)(i + 1);
        }

        if (sum != BinaryPrimitives.ReadUInt64LittleEndian(bytes[24..])) return false;
        ulong seed = (boot * 0x9E3779B97F4A7C15) + (BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]) * 0xC2B2AE3D27D4EB4F);
        for (int i = 4; i < Words; i++)
        {
            if (BinaryPrimitives.ReadUInt64LittleEndian(bytes[(i * 8)..]) != Mixed(seed + (ulong)i)) return false;
        }

        return true;
    }

    /// <summary>Makes the record of a number, as the guest does.</summary>
    public static byte[] Make(ulong boot, long number)
    {
        byte[] bytes = new byte[Size];
        "SDNEDGE1"u8.CopyTo(bytes);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(8), boot);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(16), number);
        ulong seed = (boot * 0x9E3779B97F4A7C15) + ((ulong)number * 0xC2B2AE3D27D4EB4F), sum = 0;
        for (int i = 4; i < Words; i++) BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(i * 8), Mixed(seed + (ulong)i));
        for (int i = 0; i < Words; i++) sum += BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(i * 8)) * (ulong)(i + 1);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(24), sum);
        return bytes;
    }

    private static ulong Mixed(ulong x)
    {
        x ^= x >> 29;
        x *= 0xBF58476D1CE4E5B9;
        return x ^ (x >> 32);
    }
}
