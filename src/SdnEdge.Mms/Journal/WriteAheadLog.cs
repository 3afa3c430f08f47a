using System.Buffers.Binary;

namespace SdnEdge.Mms.Journal;

/// <summary>
/// Looks for damage in the middle of SQLite's write-ahead log. SQLite reads a log up to the first frame whose checksum is wrong and
/// takes that for the tail that a crash tore off. Bytes that rot in the middle would so take every later append away, without a word.
/// A crash tears only what was not synced, which is one transaction; so where behind the first bad frame two or more commits of the
/// same generation follow, it was no crash.
/// <code>
/// header  32 bytes: magic 0x377f0682|3 (bit 0: checksums big endian), version, page size, checkpoint, salt 1, salt 2, checksum 1, 2
/// frame   24 bytes: page number, size after commit (0 = no commit), salt 1, salt 2, checksum 1, 2;  then the page
/// A frame is valid if and only if its salts are the header's and its checksum, over all before it (its first 8 bytes and its page
/// included), is right.   Integers are big endian.   https://www.sqlite.org/fileformat2.html#the_write_ahead_log
/// </code>
/// </summary>
internal static class WriteAheadLog
{
    private const int HeaderSize = 32, FrameHeaderSize = 24;

    /// <summary>Offset of the first bad frame where that is damage, else null. The log may be in use: it is only read.</summary>
    public static long? FindDamage(string log)
    {
        if (!File.Exists(log)) return null;
        using var file = new FileStream(log, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 1 << 16);
        Span<byte> header = stackalloc byte[HeaderSize];
        if (file.ReadAtLeast(header, HeaderSize, throwOnEndOfStream: false) < HeaderSize) return null;
        uint magic = Read(header, 0);
        var sum = new Sum(bigEndian: (magic & 1) != 0);
        sum.Add(header[..24]);
        // A header that a crash tore off begins a log in which nothing was committed.
        if ((magic & ~1u) != 0x377f0682 || !sum.Is(header[24..])) return null;
        uint size = Read(header, 8);
        int page = size == 1 ? 65536 : (int)size;
        if (page is < 512 or > 65536) return null;

        byte[] frame = new byte[FrameHeaderSize + page];
        long? bad = null;
        int commits = 0;
        for (long at = HeaderSize; file.ReadAtLeast(frame, frame.Length, throwOnEndOfStream: false) == frame.Length; at += frame.Length)
        {
            bool ours = frame.AsSpan(8, 8).SequenceEqual(header.Slice(16, 8));
            if (bad is null)
            {
                sum.Add(frame.AsSpan(0, 8));
                sum.Add(frame.AsSpan(FrameHeaderSize));
                if (!ours || !sum.Is(frame.AsSpan(16, 8))) bad = at;
            }

            // The bad frame itself counts too, where it can be told that it was a commit.
            if (bad is not null && ours && Read(frame, 4) != 0 && ++commits == 2) break;
        }

        if (commits < 2) return null;
        // A manager at work may have begun the log anew under our eyes; then nothing has been learnt.
        Span<byte> again = stackalloc byte[HeaderSize];
        file.Position = 0;
        file.ReadExactly(again);
        return again.SequenceEqual(header) ? bad : null;
    }

    private static uint Read(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32BigEndian(bytes[at..]);

    /// <summary>SQLite's checksum: two running sums over pairs of words.</summary>
    private struct Sum(bool bigEndian)
    {
        private uint _first, _second;

        public void Add(ReadOnlySpan<byte> bytes)
        {
            for (int i = 0; i < bytes.Length; i += 8)
            {
                _first += Word(bytes[i..]) + _second;
                _second += Word(bytes[(i + 4)..]) + _first;
            }
        }

        public readonly bool Is(ReadOnlySpan<byte> stored) => Read(stored, 0) == _first && Read(stored, 4) == _second;

        private readonly uint Word(ReadOnlySpan<byte> bytes) =>
            bigEndian ? BinaryPrimitives.ReadUInt32BigEndian(bytes) : BinaryPrimitives.ReadUInt32LittleEndian(bytes);
    }
}
