using System.Buffers.Binary;
using System.Globalization;
using SdnEdge.Core.Replication;
using SdnEdge.Linux;

namespace SdnEdge.Storage.Service;

/// <summary>
/// Ranges of a volume that are fetched from its owner: in whole blocks, in order, not overlapping. A file "differences-N" beside the volume
/// has them as long as they are fetched, with the number that the replica's record names: u32 CRC-32C of what follows, then u64 offset, u64
/// length of each, little endian.
/// </summary>
internal static class TouchedRanges
{
    // The link's frame has room for a million of them.
    private const int Most = 1 << 18;
    private const string Prefix = "differences-";

    /// <summary>What records touch.</summary>
    /// <param name="records">The records.</param>
    /// <param name="more">Ranges that are added.</param>
    /// <param name="size">Bytes of the volume: what is behind them is left out.</param>
    public static IReadOnlyList<(long Offset, long Length)> Of(
        IEnumerable<LogRecord> records, IEnumerable<(long Offset, long Length)> more, long size)
    {
        ArgumentNullException.ThrowIfNull(records);
        ArgumentNullException.ThrowIfNull(more);
        List<(long From, long To)> touched = [];
        long unit = ContentRoot.BlockSize;
        foreach ((long offset, long length) in records.Where(HasRange).Select(r => (r.Offset, r.Length)).Concat(more))
        {
            touched.Add((offset, offset + length));
            if (touched.Count >= 2 * Most) touched = Merge(touched, size, ref unit);
        }

        return [.. Merge(touched, size, ref unit).Select(r => (r.From, r.To - r.From))];
    }

    /// <summary>What is left of ranges behind so many bytes along them.</summary>
    public static IEnumerable<(long Offset, long Length)> Behind(IEnumerable<(long Offset, long Length)> ranges, long bytes)
    {
        ArgumentNullException.ThrowIfNull(ranges);
        foreach ((long offset, long length) in ranges)
        {
            if (bytes < length) yield return (offset + bytes, length - bytes);
            bytes = Math.Max(0, bytes - length);
        }
    }

    private static bool HasRange(LogRecord record) => record.Kind is LogRecordKind.Write or LogRecordKind.Zero or LogRecordKind.Trim;

    // Too many: what lies near one another is taken as one.
    private static List<(long From, long To)> Merge(List<(long From, long To)> touched, long size, ref long unit)
    {
        touched.Sort();
        while (true)
        {
            List<(long From, long To)> merged = [];
            foreach ((long from, long to) in touched)
            {
                (long first, long end) = (from / unit * unit, Math.Min(size, (to + unit - 1) / unit * unit));
                if (first >= end) continue;
                if (merged.Count > 0 && merged[^1].To >= first) merged[^1] = (merged[^1].From, Math.Max(merged[^1].To, end));
                else merged.Add((first, end));
            }

            if (merged.Count <= Most) return merged;
            unit *= 2;
        }
    }

    /// <summary>As bytes.</summary>
    public static byte[] Write(IReadOnlyList<(long Offset, long Length)> ranges)
    {
        byte[] bytes = new byte[ranges.Count * 16];
        for (int i = 0; i < ranges.Count; i++)
        {
            BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(i * 16), ranges[i].Offset);
            BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan((i * 16) + 8), ranges[i].Length);
        }

        return bytes;
    }

    /// <summary>From bytes.</summary>
    public static IReadOnlyList<(long Offset, long Length)> Read(ReadOnlySpan<byte> bytes)
    {
        var ranges = new (long, long)[bytes.Length / 16];
        for (int i = 0; i < ranges.Length; i++)
        {
            ranges[i] = (BinaryPrimitives.ReadInt64LittleEndian(bytes[(i * 16)..]),
                BinaryPrimitives.ReadInt64LittleEndian(bytes[((i * 16) + 8)..]));
        }

        return ranges;
    }

    /// <summary>Makes them durable under a number.</summary>
    /// <exception cref="IOException">They could not be written.</exception>
    public static void Save(string folder, int number, IReadOnlyList<(long Offset, long Length)> ranges)
        => CheckedFile.Write(PathOf(folder, number), Write(ranges));

    /// <summary>Those of a number.</summary>
    /// <exception cref="IOException">They are not there, or damaged.</exception>
    public static IReadOnlyList<(long Offset, long Length)> Load(string folder, int number)
        => CheckedFile.Read(PathOf(folder, number)) is { } bytes ? Read(bytes)
            : throw new IOException($"{PathOf(folder, number)} is missing: what differs from the owner is not known; "
                + "ask for a copy of everything with resync");

    /// <summary>They are there, or are others now: deletes all but those of a number.</summary>
    public static void DeleteBut(string folder, int number)
    {
        foreach (string file in Directory.EnumerateFiles(folder, Prefix + "*").ToList())
        {
            if (file != PathOf(folder, number)) File.Delete(file);
        }
    }

    private static string PathOf(string folder, int number)
        => Path.Combine(folder, Prefix + number.ToString(CultureInfo.InvariantCulture));
}

/// <summary>A small file with a checksum in front; it is replaced as a whole, and durable when that returns.</summary>
internal static class CheckedFile
{
    /// <summary>Writes it.</summary>
    /// <exception cref="IOException">It could not be written.</exception>
    public static void Write(string path, ReadOnlySpan<byte> content)
    {
        byte[] bytes = new byte[4 + content.Length];
        content.CopyTo(bytes.AsSpan(4));
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Crc32C.Of(content));
        try
        {
            DurableFile.Replace(path, bytes);
        }
        catch (Exception e) when (e is UnauthorizedAccessException or LinuxException)
        {
            throw new IOException(e.Message, e);
        }
    }

    /// <summary>Reads it; null when there is none.</summary>
    /// <exception cref="IOException">It is damaged.</exception>
    public static byte[]? Read(string path)
    {
        if (!File.Exists(path)) return null;
        byte[] bytes = File.ReadAllBytes(path);
        return bytes.Length >= 4 && BinaryPrimitives.ReadUInt32LittleEndian(bytes) == Crc32C.Of(bytes.AsSpan(4)) ? bytes[4..]
            : throw new IOException($"{path} is damaged");
    }
}
