using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;

namespace SdnEdge.Mms.Journal;

/// <summary>
/// Checksums of the journal's records. Each covers its record and the checksum before it, and the first one the journal's id: a record
/// that was changed, exchanged, or taken from another journal does not fit. It finds damage, not forgery.
/// <code>
/// checksum(0) = XxHash64(text(id))
/// checksum(n) = XxHash64(checksum(n-1) position nowNs text(at) text(life) text(actor) text(migration) text(input) text(body))
/// text(s)     = length in bytes (8; -1 for null), UTF-8 bytes          all integers 8 bytes, little endian
/// </code>
/// </summary>
internal static class RecordChain
{
    /// <summary>What the first record's checksum follows.</summary>
    public static ulong Begin(string id)
    {
        var hash = new XxHash64();
        Append(hash, id);
        return hash.GetCurrentHashAsUInt64();
    }

    /// <summary>The checksum of <paramref name="record"/>, which follows <paramref name="previous"/>.</summary>
    public static ulong Next(ulong previous, JournalRecord record)
    {
        var hash = new XxHash64();
        Append(hash, unchecked((long)previous));
        Append(hash, record.Position);
        Append(hash, record.NowNs);
        Append(hash, record.At);
        Append(hash, record.Life);
        Append(hash, record.Actor);
        Append(hash, record.Migration);
        Append(hash, record.Input);
        Append(hash, record.Body);
        return hash.GetCurrentHashAsUInt64();
    }

    private static void Append(XxHash64 hash, long value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, value);
        hash.Append(bytes);
    }

    private static void Append(XxHash64 hash, string? text)
    {
        byte[] bytes = text is null ? [] : Encoding.UTF8.GetBytes(text);
        Append(hash, text is null ? -1 : bytes.Length);
        hash.Append(bytes);
    }
}
