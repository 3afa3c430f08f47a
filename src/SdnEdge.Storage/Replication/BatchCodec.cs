using System.Buffers;
using System.Buffers.Binary;
using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Replication;

/// <summary>Records in order, with what follows their headers.</summary>
public sealed class RecordBatch
{
    /// <summary>Most records of a batch.</summary>
    public const int MaxRecords = 16_384;

    private readonly List<LogRecord> _records = [];
    private readonly List<ReadOnlyMemory<byte>> _payloads = [];

    /// <summary>How many.</summary>
    public int Count => _records.Count;

    /// <summary>The records.</summary>
    public IReadOnlyList<LogRecord> Records => _records;

    /// <summary>Bytes of all payloads.</summary>
    public long PayloadBytes { get; private set; }

    /// <summary>What follows a header; empty where nothing does, or where a later write of the batch covers it all.</summary>
    public ReadOnlyMemory<byte> Payload(int index) => _payloads[index];

    /// <summary>True: this record's bytes were left out, because a later one of the batch covers them all. Its header is there, so that the
    /// chain can be checked; the batch must then take effect as a whole.</summary>
    public bool IsElided(int index) => _records[index].PayloadLength > 0 && _payloads[index].IsEmpty;

    /// <summary>Adds a record behind the others.</summary>
    public void Add(in LogRecord record, ReadOnlyMemory<byte> payload)
    {
        _records.Add(record);
        _payloads.Add(payload);
        PayloadBytes += payload.Length;
    }

    /// <summary>Empties it.</summary>
    public void Clear()
    {
        _records.Clear();
        _payloads.Clear();
        PayloadBytes = 0;
    }

    /// <summary>Leaves out the bytes of each write that a later write, zeroing or trim of the batch covers completely.</summary>
    /// <returns>Bytes left out.</returns>
    public long Coalesce()
    {
        // From the newest to the oldest: the ranges that are covered by later records, disjoint, by their start.
        var covered = new SortedList<long, long>();
        long saved = 0;
        for (int i = _records.Count - 1; i >= 0; i--)
        {
            LogRecord record = _records[i];
            if (record.Kind is not (LogRecordKind.Write or LogRecordKind.Zero or LogRecordKind.Trim)) continue;
            long from = record.Offset, to = record.Offset + record.Length;
            int at = FirstEndingFrom(covered, from);
            if (record.Kind == LogRecordKind.Write && at < covered.Count && covered.Keys[at] <= from && covered.Values[at] >= to)
            {
                saved += _payloads[i].Length;
                PayloadBytes -= _payloads[i].Length;
                _payloads[i] = default;
                continue;
            }

            while (at < covered.Count && covered.Keys[at] <= to)
            {
                (from, to) = (Math.Min(from, covered.Keys[at]), Math.Max(to, covered.Values[at]));
                covered.RemoveAt(at);
            }

            covered[from] = to;
        }

        return saved;
    }

    private static int FirstEndingFrom(SortedList<long, long> ranges, long from)
    {
        int low = 0, high = ranges.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (ranges.Values[middle] < from) low = middle + 1;
            else high = middle;
        }

        return low;
    }
}

/// <summary>
/// A batch's body, little endian: count (4), durable at the owner (8), the headers of 48 bytes, then the bytes that follow each, in order.
/// <code>
///  0          8        16     17      18     20         24       32       40      48
///  | sequence | epoch  | kind | flags | 0    | checksum | offset | length | chain |      flags: 1 = the bytes were left out
/// </code>
/// </summary>
public static class BatchCodec
{
    private const int HeaderLength = 48, Head = 12;

    /// <summary>Bytes of a batch's body.</summary>
    public static int LengthOf(RecordBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        return checked((int)(Head + ((long)batch.Count * HeaderLength) + batch.PayloadBytes));
    }

    /// <summary>Writes a batch.</summary>
    public static void Write(RecordBatch batch, ulong ownerDurable, IBufferWriter<byte> to)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentNullException.ThrowIfNull(to);
        Span<byte> head = to.GetSpan(Head);
        BinaryPrimitives.WriteInt32LittleEndian(head, batch.Count);
        BinaryPrimitives.WriteUInt64LittleEndian(head[4..], ownerDurable);
        to.Advance(Head);
        for (int i = 0; i < batch.Count; i++)
        {
            LogRecord record = batch.Records[i];
            Span<byte> header = to.GetSpan(HeaderLength)[..HeaderLength];
            header.Clear();
            BinaryPrimitives.WriteUInt64LittleEndian(header, record.Sequence);
            BinaryPrimitives.WriteUInt64LittleEndian(header[8..], record.Epoch);
            header[16] = (byte)record.Kind;
            header[17] = batch.IsElided(i) ? (byte)1 : (byte)0;
            BinaryPrimitives.WriteUInt32LittleEndian(header[20..], record.Checksum);
            BinaryPrimitives.WriteInt64LittleEndian(header[24..], record.Offset);
            BinaryPrimitives.WriteInt64LittleEndian(header[32..], record.Length);
            BinaryPrimitives.WriteUInt64LittleEndian(header[40..], record.Chain);
            to.Advance(HeaderLength);
        }

        for (int i = 0; i < batch.Count; i++) to.Write(batch.Payload(i).Span);
    }

    /// <summary>Reads a batch. Sequence, epoch, chain and range are the machine's to check; here each part has its length, and each
    /// payload its checksum.</summary>
    /// <exception cref="LinkFormatException">It is no batch.</exception>
    public static (RecordBatch Batch, ulong OwnerDurable) Read(ReadOnlyMemory<byte> body)
    {
        ReadOnlySpan<byte> span = body.Span;
        if (span.Length < Head) throw new LinkFormatException("a batch is shorter than its head");
        int count = BinaryPrimitives.ReadInt32LittleEndian(span);
        if (count is < 1 or > RecordBatch.MaxRecords || span.Length < Head + ((long)count * HeaderLength))
            throw new LinkFormatException($"a batch of {span.Length} bytes claims {count} records");
        var batch = new RecordBatch();
        int payload = Head + (count * HeaderLength);
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> header = span.Slice(Head + (i * HeaderLength), HeaderLength);
            var record = new LogRecord(BinaryPrimitives.ReadUInt64LittleEndian(header),
                BinaryPrimitives.ReadUInt64LittleEndian(header[8..]),
                (LogRecordKind)header[16], BinaryPrimitives.ReadInt64LittleEndian(header[24..]),
                    BinaryPrimitives.ReadInt64LittleEndian(header[32..]),
                BinaryPrimitives.ReadUInt32LittleEndian(header[20..]), BinaryPrimitives.ReadUInt64LittleEndian(header[40..]));
            if (header[17] > 1) throw new LinkFormatException($"record {record.Sequence} has unknown flags");
            bool isElided = header[17] == 1;
            if (isElided && record.Kind != LogRecordKind.Write) throw new LinkFormatException($"record {record.Sequence} "
                + $"({record.Kind}) has nothing to leave out");
            long length = isElided ? 0 : record.PayloadLength;
            if (length < 0 || length > span.Length - payload)
                throw new LinkFormatException($"record {record.Sequence} claims {length} bytes; the batch has "
                    + $"{span.Length - payload} left");
            ReadOnlyMemory<byte> bytes = body.Slice(payload, (int)length);
            if (length > 0 && LinkChecksum.Of(bytes.Span) != record.Checksum)
                throw new LinkFormatException($"record {record.Sequence} has a wrong checksum");
            payload += (int)length;
            batch.Add(record, bytes);
        }

        return payload == span.Length ? (batch, BinaryPrimitives.ReadUInt64LittleEndian(span[4..]))
            : throw new LinkFormatException($"a batch has {span.Length - payload} bytes too many");
    }
}
