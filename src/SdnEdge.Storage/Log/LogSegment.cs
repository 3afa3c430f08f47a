using System.Buffers.Binary;
using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Log;

/// <summary>
/// The first 4096 bytes of a segment; what is used fits into one sector, so a crash leaves the old header or the new one.
/// <code>
///  0  u32  CRC-32C of bytes 4 to 127
///  4  u32  magic "SLG1"
///  8  16   the volume's identity
/// 24  u64  salt of this use
/// 32  u64  ordinal: uses of segments are numbered 1, 2, ... in the order of the records
/// 40  u64  sequence of the first record
/// 48  u64  chain before the first record
/// 56  u64  epoch of the record before the first
/// 64  i64  bytes of the file
/// 72  u64  1: a log that began anew, behind another history, begins with this segment; it counts when the superblock names its salt
/// 80       zeros
/// </code>
/// </summary>
/// <param name="Identity">Whose log it is.</param>
/// <param name="Salt">Random; records of another use of the same file have another.</param>
/// <param name="Ordinal">The number of this use, from 1.</param>
/// <param name="FirstSequence">The sequence of the first record in it.</param>
/// <param name="PreviousChain">The chain before that record.</param>
/// <param name="PreviousEpoch">The epoch of the record before it; the volume's first epoch before sequence 1.</param>
/// <param name="Size">Bytes of the file.</param>
public readonly record struct SegmentHeader(
    Guid Identity, ulong Salt, ulong Ordinal, ulong FirstSequence, ulong PreviousChain, ulong PreviousEpoch, long Size)
{
    /// <summary>Where the records begin.</summary>
    public const int Bytes = 4096;

    /// <summary>A log that was begun anew begins here: what is in older segments is another history.</summary>
    public bool BeginsAnew { get; init; }

    private const int Used = 128;
    private const uint Magic = 0x3147_4C53;

    /// <summary>Writes the header into at least <see cref="Bytes"/> bytes.</summary>
    public void Write(Span<byte> into)
    {
        into = into[..Bytes];
        into.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(into[4..], Magic);
        Identity.TryWriteBytes(into[8..]);
        BinaryPrimitives.WriteUInt64LittleEndian(into[24..], Salt);
        BinaryPrimitives.WriteUInt64LittleEndian(into[32..], Ordinal);
        BinaryPrimitives.WriteUInt64LittleEndian(into[40..], FirstSequence);
        BinaryPrimitives.WriteUInt64LittleEndian(into[48..], PreviousChain);
        BinaryPrimitives.WriteUInt64LittleEndian(into[56..], PreviousEpoch);
        BinaryPrimitives.WriteInt64LittleEndian(into[64..], Size);
        into[72] = BeginsAnew ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteUInt32LittleEndian(into, Crc32C.Of(into[4..Used]));
    }

    /// <summary>Reads a header. False when these bytes are none: a segment that was never used, or damage.</summary>
    public static bool TryRead(ReadOnlySpan<byte> from, out SegmentHeader header)
    {
        header = new SegmentHeader(new Guid(from[8..24]),
            BinaryPrimitives.ReadUInt64LittleEndian(from[24..]),
            BinaryPrimitives.ReadUInt64LittleEndian(from[32..]),
            BinaryPrimitives.ReadUInt64LittleEndian(from[40..]),
            BinaryPrimitives.ReadUInt64LittleEndian(from[48..]),
            BinaryPrimitives.ReadUInt64LittleEndian(from[56..]),
            BinaryPrimitives.ReadInt64LittleEndian(from[64..])) { BeginsAnew = from[72] == 1 };
        return BinaryPrimitives.ReadUInt32LittleEndian(from) == Crc32C.Of(from[4..Used])
            && BinaryPrimitives.ReadUInt32LittleEndian(from[4..]) == Magic
            && header.Ordinal > 0 && header.FirstSequence > 0;
    }
}

/// <summary>A segment in use. Its fields are guarded by the log's lock.</summary>
internal sealed class LogSegment(IStoreFile file, SegmentHeader header)
{
    // A position every so many bytes is remembered, so that a reader need not walk a segment from its start.
    private const long Stride = 1 << 20;

    private readonly List<(ulong Sequence, long Position)> _marks = [];

    public IStoreFile File { get; } = file;

    public SegmentHeader Header { get; } = header;

    /// <summary>Where the next record goes; in a segment that is full, where its records end.</summary>
    public long End { get; set; } = SegmentHeader.Bytes;

    /// <summary>The sequence of the newest record in it; one less than the first when there is none.</summary>
    public ulong LastSequence { get; set; } = header.FirstSequence - 1;

    /// <summary>Not synced since something was written.</summary>
    public bool Dirty { get; set; }

    /// <summary>Reads in progress; the file is not used anew while there are any.</summary>
    public int Pins { get; set; }

    public void Note(ulong sequence, long position)
    {
        if (_marks.Count == 0 || position - _marks[^1].Position >= Stride) _marks.Add((sequence, position));
    }

    /// <summary>The newest remembered position at or before a sequence that is in this segment.</summary>
    public (ulong Sequence, long Position) Find(ulong sequence)
    {
        int low = 0, high = _marks.Count - 1, found = -1;
        while (low <= high)
        {
            int middle = (low + high) / 2;
            if (_marks[middle].Sequence <= sequence)
            {
                found = middle;
                low = middle + 1;
            }
            else
            {
                high = middle - 1;
            }
        }

        return found >= 0 ? _marks[found] : (Header.FirstSequence, SegmentHeader.Bytes);
    }
}
