using System.Buffers.Binary;
using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Service;

/// <summary>Reads a branch from its bytes, wherever they come from (<see cref="VolumeBranches"/> has the layout).</summary>
public static class BranchFile
{
    internal const int Header = 128;
    internal const uint Magic = 0x3142_5653;

    /// <summary>Reads a branch: what it is, then record by record, each checked.</summary>
    /// <param name="from">Its bytes.</param>
    /// <param name="take">Is given each record and the bytes that it wrote.</param>
    /// <returns>What it is; its number is 0.</returns>
    /// <exception cref="IOException">It is no branch, or is damaged.</exception>
    public static Branch Read(Stream from, Action<LogRecord, ReadOnlyMemory<byte>> take)
    {
        ArgumentNullException.ThrowIfNull(from);
        ArgumentNullException.ThrowIfNull(take);
        byte[] header = new byte[Header], next = new byte[LogRecordCodec.HeaderSize];
        if (from.ReadAtLeast(header, Header, throwOnEndOfStream: false) < Header || Parse(header, 0) is not var (branch, _))
            throw new IOException("this is no branch of a volume, or it is damaged at its beginning");
        ulong chain = branch.From.Chain;
        for (ulong sequence = branch.From.Sequence + 1; sequence <= branch.Last.Sequence; sequence++)
        {
            bool good = from.ReadAtLeast(next, next.Length, throwOnEndOfStream: false) == next.Length
                & LogRecordCodec.TryRead(next, out LogRecord record, out _, out _) && record.Sequence == sequence
                && (branch.From == LogPoint.Start || LogRecordCodec.NextChain(chain, record) == record.Chain);
            byte[] bytes = good ? new byte[record.PayloadLength] : [];
            good &= from.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false) == bytes.Length;
            if (!good || (bytes.Length > 0 && Crc32C.Of(bytes) != record.Checksum))
                throw new IOException($"the branch is damaged at record {sequence}");
            chain = record.Chain;
            take(record, bytes);
        }

        return branch;
    }

    internal static (Branch Branch, Guid Volume)? Parse(ReadOnlySpan<byte> header, int number)
        => BinaryPrimitives.ReadUInt32LittleEndian(header) != Crc32C.Of(header[4..Header])
            || BinaryPrimitives.ReadUInt32LittleEndian(header[4..]) != Magic ? null
            : (new Branch(number, PointAt(header[24..]), PointAt(header[48..]), BinaryPrimitives.ReadInt64LittleEndian(header[72..]),
                BinaryPrimitives.ReadInt64LittleEndian(header[80..])), new Guid(header.Slice(8, 16)));

    private static LogPoint PointAt(ReadOnlySpan<byte> from) => new(BinaryPrimitives.ReadUInt64LittleEndian(from),
        BinaryPrimitives.ReadUInt64LittleEndian(from[8..]), BinaryPrimitives.ReadUInt64LittleEndian(from[16..]));
}
