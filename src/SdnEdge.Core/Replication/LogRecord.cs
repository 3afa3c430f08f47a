namespace SdnEdge.Core.Replication;

/// <summary>What a record of a volume's log says.</summary>
public enum LogRecordKind : byte
{
    /// <summary>Bytes at an offset; they follow the header.</summary>
    Write = 1,

    /// <summary>A range reads as zeros. No bytes follow.</summary>
    Zero = 2,

    /// <summary>A range is no longer wanted; it reads as zeros from then on, so that both sites read the same. No bytes follow.</summary>
    Trim = 3,

    /// <summary>The guest asked for durability here (FLUSH, or the end of a FUA write): what is before it is durable when it is
    /// answered.</summary>
    Barrier = 4,

    /// <summary>A named point in time; its name follows as UTF-8.</summary>
    Mark = 5,

    /// <summary>From here on the records are of the epoch of this one's header: a grant was taken up.</summary>
    Epoch = 6,

    /// <summary>The volume has so many bytes from here on, more than before; the new ones are zeros. No bytes follow.</summary>
    Size = 7,
}

/// <summary>
/// The header of one record of a volume's log, the same on disk, on the wire and in the machines. A volume's history is the records by
/// ascending <see cref="Sequence"/>, without gaps.
/// </summary>
/// <param name="Sequence">1 for a volume's first record, then one more each.</param>
/// <param name="Epoch">The owner's epoch. It never falls along the history.</param>
/// <param name="Kind">What the record says.</param>
/// <param name="Offset">Bytes into the volume; 0 where the kind has no range.</param>
/// <param name="Length">Bytes of the range; for <see cref="LogRecordKind.Mark"/> of the name; for <see cref="LogRecordKind.Size"/> of the
/// volume; otherwise 0.</param>
/// <param name="Checksum">CRC-32C of the bytes that follow the header; 0 where none do.</param>
/// <param name="Chain">64 bits over the previous record's chain and all fields of this header before it: two logs with the same chain at
/// the same sequence have the same history (XXH3 keyed by the volume's identity; against accidents, not against an attacker, whom mutual
/// TLS keeps out).</param>
public readonly record struct LogRecord(ulong Sequence, ulong Epoch, LogRecordKind Kind, long Offset, long Length, uint Checksum,
    ulong Chain)
{
    /// <summary>How many bytes follow the header on disk and on the wire.</summary>
    public long PayloadLength => Kind is LogRecordKind.Write or LogRecordKind.Mark ? Length : 0;
}
