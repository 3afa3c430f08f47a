using System.Buffers.Binary;
using System.IO.Hashing;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace SdnEdge.Core.Replication;

/// <summary>
/// The 64 bytes of a <see cref="LogRecord"/>, little endian, the same on disk and on the wire.
/// <code>
///  0  u32  header checksum: CRC-32C of bytes 4 to 63
///  4  u8   version, 1
///  5  u8   kind
///  6  u16  0
///  8  u64  sequence
/// 16  u64  epoch
/// 24  i64  offset
/// 32  i64  length
/// 40  u32  checksum of the bytes that follow (CRC-32C; 0 where none do)
/// 44  u32  not durable: how many records before this one were not known to be durable when it was written, 2^32-1 at most
/// 48  u64  chain
/// 56  u64  salt: on disk that of the segment's present use; 0 on the wire
/// </code>
/// The bytes that follow fill up to the next multiple of 64 on disk, so that no header is in two sectors.
/// </summary>
public static class LogRecordCodec
{
    /// <summary>Bytes of a header, and what records on disk are aligned to.</summary>
    public const int HeaderSize = 64;

    /// <summary>The most bytes that may follow a header: 32 MiB, as NBD's largest write.</summary>
    public const int MaxPayload = 32 << 20;

    private const byte Version = 1;

    /// <summary>Bytes a record takes on disk.</summary>
    public static long SizeOnDisk(in LogRecord record) =>
        HeaderSize + ((record.PayloadLength + (HeaderSize - 1)) & ~(long)(HeaderSize - 1));

    /// <summary>Writes a header.</summary>
    /// <param name="record">What it says.</param>
    /// <param name="salt">That of the segment's use; 0 on the wire.</param>
    /// <param name="notDurable">Records before this one not known to be durable; 0 on the wire.</param>
    /// <param name="into">At least 64 bytes.</param>
    public static void Write(in LogRecord record, ulong salt, uint notDurable, Span<byte> into)
    {
        into = into[..HeaderSize];
        into[4] = Version;
        into[5] = (byte)record.Kind;
        BinaryPrimitives.WriteUInt16LittleEndian(into[6..], 0);
        BinaryPrimitives.WriteUInt64LittleEndian(into[8..], record.Sequence);
        BinaryPrimitives.WriteUInt64LittleEndian(into[16..], record.Epoch);
        BinaryPrimitives.WriteInt64LittleEndian(into[24..], record.Offset);
        BinaryPrimitives.WriteInt64LittleEndian(into[32..], record.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(into[40..], record.Checksum);
        BinaryPrimitives.WriteUInt32LittleEndian(into[44..], notDurable);
        BinaryPrimitives.WriteUInt64LittleEndian(into[48..], record.Chain);
        BinaryPrimitives.WriteUInt64LittleEndian(into[56..], salt);
        BinaryPrimitives.WriteUInt32LittleEndian(into, Crc32C.Of(into[4..]));
    }

    /// <summary>Reads a header.</summary>
    /// <param name="from">At least 64 bytes.</param>
    /// <param name="record">What it says; meaningless unless the answer is true.</param>
    /// <param name="salt">The salt that it was written with.</param>
    /// <param name="notDurable">Records before it not known to be durable when it was written.</param>
    /// <returns>True if and only if the header's checksum fits, its version is known and every field is in its range: a record of these
    /// values may have been written. Whether it belongs here is for sequence, salt and chain to say.</returns>
    public static bool TryRead(ReadOnlySpan<byte> from, out LogRecord record, out ulong salt, out uint notDurable)
    {
        from = from[..HeaderSize];
        record = new LogRecord(
            BinaryPrimitives.ReadUInt64LittleEndian(from[8..]),
            BinaryPrimitives.ReadUInt64LittleEndian(from[16..]),
            (LogRecordKind)from[5],
            BinaryPrimitives.ReadInt64LittleEndian(from[24..]),
            BinaryPrimitives.ReadInt64LittleEndian(from[32..]),
            BinaryPrimitives.ReadUInt32LittleEndian(from[40..]),
            BinaryPrimitives.ReadUInt64LittleEndian(from[48..]));
        notDurable = BinaryPrimitives.ReadUInt32LittleEndian(from[44..]);
        salt = BinaryPrimitives.ReadUInt64LittleEndian(from[56..]);
        return BinaryPrimitives.ReadUInt32LittleEndian(from) == Crc32C.Of(from[4..])
            && from[4] == Version
            && BinaryPrimitives.ReadUInt16LittleEndian(from[6..]) == 0
            && IsSane(record);
    }

    private static bool IsSane(in LogRecord record)
    {
        if (record.Sequence == 0 || record.Offset < 0 || record.Length < 0 || record.Offset > long.MaxValue - record.Length) return false;
        return record.Kind switch
        {
            LogRecordKind.Write => record.Length is > 0 and <= MaxPayload,
            LogRecordKind.Mark => record is { Length: > 0 and <= MaxMarkName, Offset: 0 },
            LogRecordKind.Zero or LogRecordKind.Trim => record is { Length: > 0, Checksum: 0 },
            LogRecordKind.Size => record is { Offset: 0, Length: > 0, Checksum: 0 },
            LogRecordKind.Barrier or LogRecordKind.Epoch => record is { Offset: 0, Length: 0, Checksum: 0 },
            _ => false,
        };
    }

    /// <summary>The longest name of a mark, in bytes of UTF-8.</summary>
    public const int MaxMarkName = 255;

    /// <summary>The chain's value before a volume's first record.</summary>
    /// <param name="identity">The volume's identity.</param>
    public static ulong BeginChain(Guid identity)
    {
        Span<byte> bytes = stackalloc byte[16];
        identity.TryWriteBytes(bytes);
        return XxHash3.HashToUInt64(bytes, unchecked((long)0x5344_4E45_4447_4531));
    }

    /// <summary>The chain after a record.</summary>
    /// <param name="previous">The chain before it.</param>
    /// <param name="record">The record; its own <see cref="LogRecord.Chain"/> does not matter.</param>
    [SkipLocalsInit]
    public static ulong NextChain(ulong previous, in LogRecord record)
    {
        Span<ulong> fields = stackalloc ulong[7];
        fields[0] = Order(previous);
        fields[1] = Order(record.Sequence);
        fields[2] = Order(record.Epoch);
        fields[3] = Order((ulong)record.Kind);
        fields[4] = Order(unchecked((ulong)record.Offset));
        fields[5] = Order(unchecked((ulong)record.Length));
        fields[6] = Order(record.Checksum);
        return XxHash3.HashToUInt64(MemoryMarshal.AsBytes(fields));
    }

    private static ulong Order(ulong value) => BitConverter.IsLittleEndian ? value : BinaryPrimitives.ReverseEndianness(value);
}
