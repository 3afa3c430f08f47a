namespace SdnEdge.Demo.Report;

/// <summary>
/// The server's disk. What is lost and whether the disks are equal is read from both sites' disks after the run, by NBD. Of the guest's own
/// word: how many records it has had acknowledged as durable, what it read back meanwhile, and how long its writes took.
/// </summary>
internal sealed record StorageReport
{
    public required string Volume { get; init; }
    public required long SizeBytes { get; init; }

    /// <summary>When writes were answered how, by which store, in order.</summary>
    public required IReadOnlyList<ModeReport> ModeChanges { get; init; }

    /// <summary>Records that were acknowledged as durable; null = the guest did not say.</summary>
    public required long? WritesAcknowledged { get; init; }

    /// <summary>Of these: begun after the server ran at its new site.</summary>
    public required long WritesAfterMove { get; init; }

    /// <summary>Records of all that the guest read back while it wrote, those that were not as written, and requests that failed.</summary>
    public required long? ReadBack { get; init; }
    public required long? ReadBackWrong { get; init; }
    public required long? WriteErrors { get; init; }

    /// <summary>Acknowledged records that are not on a site's disk, or not as written: the worse of the two; null = one was not
    /// read.</summary>
    public required long? Lost { get; init; }

    /// <summary>Both disks have the same bytes, all of them; null = one was not read.</summary>
    public required bool? RootEqual { get; init; }

    public required IReadOnlyList<DiskReport> Disks { get; init; }

    /// <summary>Bytes that the replica lacked when the source's store was told to answer writes synchronously; null = it was not.</summary>
    public required long? LagBytesAtSignal { get; init; }

    /// <summary>How long the proof took that the replica had everything, the server standing still; null = there was none.</summary>
    public required double? DrainMs { get; init; }

    /// <summary>How long writes took, each until it was durable as its mode promises; by the guest's clock, which stands still while it
    /// does. Sync: from the switch to the server's stop.</summary>
    public required LatencyReport? SyncLatencyMs { get; init; }

    /// <summary>The same of the writes that were answered before the replica had them, before the switch.</summary>
    public required LatencyReport? AsyncLatencyMs { get; init; }

    /// <summary>The other direction, after the move; null = the target's store never owned the volume.</summary>
    public required ReverseReport? Reverse { get; init; }
}

/// <summary>Writes are answered by a mode from AtMs on; asked for at AskedMs, proved at ReachedMs. LagBytes: what the replica lacked when
/// it was asked for.</summary>
internal sealed record ModeReport(double AtMs, string Store, string Mode, double AskedMs, double? ReachedMs, long LagBytes);

/// <summary>What was read from a site's disk: all of its bytes, and of the guest's records those that are to be there.</summary>
internal sealed record DiskReport(
    string Store, string Site, long SizeBytes, string Sha256, long RecordsExpected, long Lost, long Damaged, long? FirstLost,
    string? Fault);

/// <summary>Latencies of writes, milliseconds.</summary>
internal sealed record LatencyReport(long Writes, double P50, double P99, double Max);

/// <summary>Replication from the target back to the source. LinkedAfterMs: from the server's start at the target until its store had the
/// source's as its replica. LagBytes: what that lacked at the end.</summary>
internal sealed record ReverseReport(string From, string To, bool Connected, double? LinkedAfterMs, long? LagBytes);

/// <summary>The way back: the same server, its memory and its disk moved to where it came from, in the same run. Report: the file with all
/// of it, beside this one.</summary>
internal sealed record BackReport(
    bool Passed, long Sent, long Lost, long Duplicated, long Reordered, double? GapMs, double? StopToRunMs, double? DrainMs,
    long? LagBytesAtSignal, string Report);
