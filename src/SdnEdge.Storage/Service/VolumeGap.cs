using System.Buffers.Binary;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Replication;

namespace SdnEdge.Storage.Service;

/// <summary>
/// What an owner's log has let go although the replica lacks it: a replica that was away for long does not stop the guest. It is in the
/// file "gap" beside the volume before a record is let go, and gone when the replica has what it tells of. Little endian, behind the
/// checksum:
/// <code>
///  0  before: u64 sequence, u64 epoch, u64 chain; 24  through: the same; 48  u32 points
/// 52  each of the first records: u64 epoch, u64 chain
///     ranges (TouchedRanges)
/// </code>
/// </summary>
internal sealed class VolumeGap : IHistoryGap
{
    // The replica ends at one of the first records: it had acknowledged the one before them, and no more were on their way.
    private const int MostPoints = 1 << 16, Fixed = 52;

    private readonly List<(ulong Epoch, ulong Chain)> _points = [];

    private VolumeGap(LogPoint before) => (Before, Through) = (before, before);

    /// <inheritdoc/>
    public LogPoint Before { get; }

    /// <inheritdoc/>
    public LogPoint Through { get; private set; }

    /// <inheritdoc/>
    public LogPoint LastKnown => PointAt(Before.Sequence + (ulong)_points.Count)!.Value;

    /// <inheritdoc/>
    public IReadOnlyList<(long Offset, long Length)> Ranges { get; private set; } = [];

    /// <inheritdoc/>
    public LogPoint? PointAt(ulong sequence)
    {
        if (sequence == Before.Sequence) return Before;
        if (sequence == Through.Sequence) return Through;
        if (sequence < Before.Sequence) return null;
        ulong at = sequence - Before.Sequence - 1;
        return at < (ulong)_points.Count ? new LogPoint(sequence, _points[(int)at].Epoch, _points[(int)at].Chain) : null;
    }

    /// <summary>That of a volume, when it goes on with its log; null = there is none.</summary>
    /// <exception cref="IOException">The file is damaged.</exception>
    public static VolumeGap? Load(string folder, VolumeLogReader log)
    {
        if (CheckedFile.Read(PathOf(folder)) is not { Length: >= Fixed } bytes) return null;
        var gap = new VolumeGap(PointIn(bytes)) { Through = PointIn(bytes.AsSpan(24)) };
        int points = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(48));
        for (int i = 0; i < points; i++)
        {
            gap._points.Add((BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(Fixed + (i * 16))),
                BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(Fixed + (i * 16) + 8))));
        }

        gap.Ranges = TouchedRanges.Read(bytes.AsSpan(Fixed + (points * 16)));
        return log.PointAt(gap.Through.Sequence) == gap.Through ? gap : null;
    }

    /// <summary>It is over, or was of another history.</summary>
    public static void Delete(string folder) => File.Delete(PathOf(folder));

    /// <summary>Takes the log's records behind a point, up to a sequence, into the gap of a volume; durable on return.</summary>
    /// <param name="gap">The gap before; null = there is none.</param>
    /// <param name="before">The last point that the replica has, where there is none.</param>
    /// <param name="through">Up to here.</param>
    /// <param name="log">The volume's log.</param>
    /// <param name="size">Bytes of the volume.</param>
    /// <param name="folder">The volume's folder.</param>
    /// <exception cref="IOException">The log cannot be read, or the file not written.</exception>
    public static VolumeGap Take(VolumeGap? gap, LogPoint before, ulong through, VolumeLog log, long size, string folder)
    {
        ArgumentNullException.ThrowIfNull(log);
        var next = new VolumeGap(gap?.Before ?? before) { Through = gap?.Through ?? before };
        if (gap is not null) next._points.AddRange(gap._points);
        List<LogRecord> records = [];
        LogCursor cursor = default;
        List<LogEntry> entries = [];
        byte[] buffer = new byte[log.BatchSize];
        for (ulong at = next.Through.Sequence + 1; at <= through;)
        {
            if (log.Read(at, through, ref cursor, buffer, entries) != LogReadStatus.Read)
                throw new IOException($"record {at} cannot be read back from the log");
            foreach (LogEntry entry in entries) records.Add(entry.Record);
            at = records[^1].Sequence + 1;
        }

        foreach (LogRecord record in records)
        {
            if (record.Sequence == next.Before.Sequence + (ulong)next._points.Count + 1 && next._points.Count < MostPoints)
                next._points.Add((record.Epoch, record.Chain));
            next.Through = LogPoint.Of(record);
        }

        next.Ranges = TouchedRanges.Of(records, gap?.Ranges ?? [], size);
        CheckedFile.Write(PathOf(folder), next.Bytes());
        return next;
    }

    private byte[] Bytes()
    {
        byte[] ranges = TouchedRanges.Write(Ranges), bytes = new byte[Fixed + (_points.Count * 16) + ranges.Length];
        Put(bytes, Before);
        Put(bytes.AsSpan(24), Through);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(48), _points.Count);
        for (int i = 0; i < _points.Count; i++)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(Fixed + (i * 16)), _points[i].Epoch);
            BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(Fixed + (i * 16) + 8), _points[i].Chain);
        }

        ranges.CopyTo(bytes, bytes.Length - ranges.Length);
        return bytes;
    }

    private static string PathOf(string folder) => Path.Combine(folder, "gap");

    private static void Put(Span<byte> into, LogPoint point)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(into, point.Sequence);
        BinaryPrimitives.WriteUInt64LittleEndian(into[8..], point.Epoch);
        BinaryPrimitives.WriteUInt64LittleEndian(into[16..], point.Chain);
    }

    private static LogPoint PointIn(ReadOnlySpan<byte> from) => new(BinaryPrimitives.ReadUInt64LittleEndian(from),
        BinaryPrimitives.ReadUInt64LittleEndian(from[8..]), BinaryPrimitives.ReadUInt64LittleEndian(from[16..]));
}
