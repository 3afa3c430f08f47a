namespace SdnEdge.Storage.Log;

/// <summary>What stands where recovery expects the next record.</summary>
public enum FoundHeader
{
    /// <summary>64 zeros: nothing was written here since the segment was prepared.</summary>
    Zeros,

    /// <summary>No header: its checksum does not fit, or a field is out of range.</summary>
    Broken,

    /// <summary>A whole header of an earlier use of this file, by its salt.</summary>
    OtherUse,

    /// <summary>A whole header of this use with another sequence than the expected one.</summary>
    OtherSequence,

    /// <summary>A whole header of this use with the expected sequence, and the chain or the epoch does not continue the record
    /// before.</summary>
    OtherHistory,

    /// <summary>A whole header of this use that continues the record before; the bytes behind it do not fit its checksum or its
    /// segment.</summary>
    BadPayload,

    /// <summary>A whole record that continues the one before.</summary>
    Whole,
}

/// <summary>What is found behind that place, up to the end of the log.</summary>
public enum FoundBehind
{
    /// <summary>No record of the log's present use.</summary>
    Nothing,

    /// <summary>Records, none of which says that the missing one was durable: what a power cut leaves of writes in any order.</summary>
    Loose,

    /// <summary>A record, or the superblock, that says that the missing one was durable.</summary>
    Witness,
}

/// <summary>What recovery does at that place.</summary>
public enum RecoveryAction
{
    /// <summary>Take the record and go on behind it.</summary>
    Accept,

    /// <summary>The log ends here, and nothing has to be done.</summary>
    EndClean,

    /// <summary>The log ends here; what is behind was never durable: it is overwritten with zeros and counted.</summary>
    CutTail,

    /// <summary>A durable record is damaged or gone: reported by name. Nothing is cut, nothing is written.</summary>
    Damaged,
}

/// <summary>
/// The decision of recovery, as a table. Each row has a label; for every pair of inputs exactly one row matches (a test tries them all).
/// Fault model: a crash keeps or loses each sector that was not synced on its own; synced sectors may be damaged at any time, and that is
/// not the crash's doing. So what a witness says was durable must be there, and everything else may be missing.
/// </summary>
public static class LogRecoveryTable
{
    /// <summary>A row: its label, what it applies to, what is done.</summary>
    public sealed record Row(string Label, Func<FoundHeader, bool> Header, Func<FoundBehind, bool> Behind, RecoveryAction Action);

    /// <summary>All rows.</summary>
    public static IReadOnlyList<Row> Rows { get; } =
    [
        new("@whole", at => at is FoundHeader.Whole, _ => true, RecoveryAction.Accept),
        new("@end", at => at is FoundHeader.Zeros or FoundHeader.OtherUse, behind => behind is FoundBehind.Nothing,
            RecoveryAction.EndClean),
        new("@torn", at => at is FoundHeader.Broken or FoundHeader.BadPayload or FoundHeader.OtherSequence or FoundHeader.OtherHistory,
            behind => behind is FoundBehind.Nothing, RecoveryAction.CutTail),
        new("@loose", at => at is not FoundHeader.Whole, behind => behind is FoundBehind.Loose, RecoveryAction.CutTail),
        new("@gone", at => at is FoundHeader.Zeros or FoundHeader.OtherUse, behind => behind is FoundBehind.Witness,
            RecoveryAction.Damaged),
        new("@bad", at => at is FoundHeader.Broken or FoundHeader.BadPayload or FoundHeader.OtherSequence or FoundHeader.OtherHistory,
            behind => behind is FoundBehind.Witness, RecoveryAction.Damaged),
    ];

    /// <summary>The row that applies.</summary>
    public static Row Decide(FoundHeader at, FoundBehind behind)
    {
        foreach (var row in Rows)
        {
            if (row.Header(at) && row.Behind(behind)) return row;
        }

        throw new InvalidOperationException($"no row for {at}, {behind}");
    }
}

/// <summary>A place in the log that is not as it must be.</summary>
/// <param name="Segment">The file.</param>
/// <param name="Position">Bytes into it.</param>
/// <param name="Sequence">The sequence that is missing or damaged; 0 when it is a segment's header.</param>
/// <param name="Row">The label of the table's row.</param>
/// <param name="What">In words.</param>
public sealed record LogDamage(string Segment, long Position, ulong Sequence, string Row, string What)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Segment} at byte {Position}, record {Sequence}: {What}";
}

/// <summary>What recovery found.</summary>
/// <param name="LastSequence">The sequence that the log ends with.</param>
/// <param name="Chain">The chain there.</param>
/// <param name="Epoch">The epoch there.</param>
/// <param name="Records">Whole records that were read.</param>
/// <param name="CutBytes">Bytes of a torn tail that were overwritten with zeros.</param>
/// <param name="CutRecords">Whole records among them, which were never durable.</param>
/// <param name="Damage">What is damaged before the durable end; empty for a log that may be used.</param>
public sealed record LogRecovery(
    ulong LastSequence, ulong Chain, ulong Epoch, long Records, long CutBytes, long CutRecords, IReadOnlyList<LogDamage> Damage);
