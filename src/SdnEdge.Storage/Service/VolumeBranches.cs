using System.Buffers.Binary;
using System.Globalization;
using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Log;

namespace SdnEdge.Storage.Service;

/// <summary>A tail of a volume's log that was put aside.</summary>
/// <param name="Number">Its number at this store.</param>
/// <param name="From">The last point that the owner's history has, too.</param>
/// <param name="Last">Its last point.</param>
/// <param name="Records">How many records.</param>
/// <param name="Bytes">Bytes that they wrote.</param>
public sealed record Branch(int Number, LogPoint From, LogPoint Last, long Records, long Bytes);

/// <summary>
/// The branches of a volume: records that only this site had, and that no owner's history goes on from. Files of mode 0600 beside the
/// volume, branches/1, branches/2, ...; each is there as a whole and durable, or not at all. Little endian:
/// <code>
///   0  u32 CRC-32C of bytes 4 to 127; u32 magic "SVB1"; 16 the volume's identity
///  24  from: u64 sequence, u64 epoch, u64 chain; 48  last: the same
///  72  u64 records; u64 bytes that they wrote
/// 128  each record: 64 bytes of header (LogRecordCodec, without salt), then the bytes that it has
/// </code>
/// </summary>
internal sealed class VolumeBranches(string folder, Guid identity)
{
    private const int Header = BranchFile.Header;

    private readonly string _folder = Path.Combine(folder, "branches");
    private readonly Lock _lock = new();

    /// <summary>Those that are there, by number. One that cannot be read is left out.</summary>
    public IReadOnlyList<Branch> List()
    {
        lock (_lock)
        {
            if (!Directory.Exists(_folder)) return [];
            return [.. Directory.EnumerateFiles(_folder).Select(Read).OfType<Branch>().OrderBy(b => b.Number)];
        }
    }

    /// <summary>Puts the records of a log behind a point aside; they are durable on return. A tail that is there already is not put aside
    /// again.</summary>
    /// <returns>Null: there is no record behind it.</returns>
    /// <exception cref="IOException">It could not be read or written.</exception>
    public Branch? Put(VolumeLog log, LogPoint from)
    {
        ArgumentNullException.ThrowIfNull(log);
        lock (_lock)
        {
            LogPoint last;
            lock (log.Gate) last = new LogPoint(log.LastSequence, log.Epoch, log.Chain);
            if (last.Sequence <= from.Sequence) return null;
            IReadOnlyList<Branch> there = List();
            if (there.FirstOrDefault(b => b.From == from && b.Last == last) is { } same) return same;
            int number = there.Count == 0 ? 1 : there[^1].Number + 1;
            string path = PathOf(number), beside = path + ".new";
            Directory.CreateDirectory(_folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            DurableFile.SyncFolder(folder);
            Branch branch;
            try
            {
                using var file = new FileStream(beside, new FileStreamOptions
                {
                    Mode = FileMode.Create, Access = FileAccess.Write, Share = FileShare.None, BufferSize = 1 << 20,
                    UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
                });
                branch = Write(log, from, last, number, file);
                file.Flush(flushToDisk: true);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                File.Delete(beside);
                throw new IOException($"the tail behind record {from.Sequence} cannot be put aside as {path}: {e.Message}", e);
            }

            File.Move(beside, path, overwrite: true);
            DurableFile.SyncFolder(_folder);
            return branch;
        }
    }

    /// <summary>A branch's file, to be read by <see cref="BranchFile"/>.</summary>
    /// <exception cref="FileNotFoundException">There is no such branch.</exception>
    /// <exception cref="IOException">It is damaged.</exception>
    public Stream Open(int number)
    {
        string path = PathOf(number);
        if (!File.Exists(path)) throw new FileNotFoundException($"there is no branch {number} here; {Those()}");
        if (Read(path) is null) throw new IOException($"{path} is no branch, or is damaged");
        return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, 1 << 20, useAsync: true);
    }

    /// <summary>Deletes a branch.</summary>
    /// <exception cref="FileNotFoundException">There is no such branch.</exception>
    public void Delete(int number)
    {
        lock (_lock)
        {
            string path = PathOf(number);
            if (!File.Exists(path)) throw new FileNotFoundException($"there is no branch {number} here; {Those()}");
            File.Delete(path);
            DurableFile.SyncFolder(_folder);
        }
    }

    private string Those() => List() is { Count: > 0 } there ? "there are " + string.Join(", ", there.Select(b => b.Number))
        : "there is none";

    private string PathOf(int number) => Path.Combine(_folder, number.ToString(CultureInfo.InvariantCulture));

    private Branch Write(VolumeLog log, LogPoint from, LogPoint last, int number, FileStream file)
    {
        byte[] header = new byte[Header], record = new byte[LogRecordCodec.HeaderSize], buffer = new byte[log.BatchSize];
        file.Write(header);
        LogCursor cursor = default;
        List<LogEntry> entries = [];
        long bytes = 0;
        for (ulong next = from.Sequence + 1; next <= last.Sequence; next = entries[^1].Record.Sequence + 1)
        {
            if (log.Read(next, last.Sequence, ref cursor, buffer, entries) != LogReadStatus.Read)
                throw new IOException($"record {next} cannot be read back from the log");
            foreach (LogEntry entry in entries)
            {
                LogRecordCodec.Write(entry.Record, 0, 0, record);
                file.Write(record);
                file.Write(buffer, entry.PayloadAt, (int)entry.Record.PayloadLength);
                if (entry.Record.Kind == LogRecordKind.Write) bytes += entry.Record.Length;
            }
        }

        var branch = new Branch(number, from, last, (long)(last.Sequence - from.Sequence), bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(4), BranchFile.Magic);
        identity.TryWriteBytes(header.AsSpan(8));
        Put(header.AsSpan(24), from);
        Put(header.AsSpan(48), last);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(72), branch.Records);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(80), branch.Bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(header, Crc32C.Of(header.AsSpan(4)));
        file.Position = 0;
        file.Write(header);
        return branch;
    }

    private Branch? Read(string path)
    {
        if (!int.TryParse(Path.GetFileName(path), NumberStyles.None, CultureInfo.InvariantCulture, out int number)) return null;
        byte[] header = new byte[Header];
        try
        {
            using FileStream file = File.OpenRead(path);
            if (file.ReadAtLeast(header, Header, throwOnEndOfStream: false) < Header) return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }

        return BranchFile.Parse(header, number) is var (branch, of) && of == identity ? branch : null;
    }

    private static void Put(Span<byte> into, LogPoint point)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(into, point.Sequence);
        BinaryPrimitives.WriteUInt64LittleEndian(into[8..], point.Epoch);
        BinaryPrimitives.WriteUInt64LittleEndian(into[16..], point.Chain);
    }
}
