namespace SdnEdge.Demo.Report;

/// <summary>
/// An outage: a part that failed without a farewell, and how the group came up at the other site. Milliseconds from the failure; null: it
/// did not come so far, or the policy has no such figure.
/// </summary>
internal sealed record OutageReport
{
    /// <summary>What failed: guest, host.</summary>
    public required string Failed { get; init; }

    /// <summary>How the group comes up: cold, from its volumes.</summary>
    public required string Policy { get; init; }

    /// <summary>True: the manager began the fail-over by itself. False: the demo did, as an operator does.</summary>
    public required bool Automatic { get; init; }

    /// <summary>When the source PE noticed, by what it watches.</summary>
    public required double? DetectedMs { get; init; }

    /// <summary>When all of its workers sent into the tunnel.</summary>
    public required double? FlippedMs { get; init; }

    /// <summary>When the fail-over was on record.</summary>
    public required double? BegunMs { get; init; }

    /// <summary>When it was first seen to wait for the word of a host; null = it was not.</summary>
    public required double? SuspectedMs { get; init; }

    /// <summary>When the demo had started the agent that it had killed; null = it had not killed it.</summary>
    public required double? AgentStartedMs { get; init; }

    /// <summary>What made sure that nothing runs twice; null = nothing did.</summary>
    public required string? Fence { get; init; }

    /// <summary>When that was on record at the source's host.</summary>
    public required double? FencedMs { get; init; }

    /// <summary>When the server was seen running at the other site: its virtual machine has begun to boot.</summary>
    public required double? ActivatedMs { get; init; }

    /// <summary>When a client had the first answer of it.</summary>
    public required double? FirstReplyMs { get; init; }

    /// <summary>Age, at the failure, of the oldest record that was acknowledged and is lost; 0 = none is; null = not known.</summary>
    public required double? RpoMs { get; init; }

    /// <summary>Age, at the failure, of the point in time from which it was started; null = the policy has none.</summary>
    public required double? PointAgeMs { get; init; }

    /// <summary>Packets of the probes that were lost before the way home began; each was to be sent back.</summary>
    public required long PacketsLost { get; init; }

    /// <summary>Packets that the hold at the other site's PE kept.</summary>
    public required long PacketsHeld { get; init; }

    /// <summary>Records acknowledged to a client outside both sites that are not on the disk from which it was started; null = nobody can
    /// tell.</summary>
    public required long? RecordsLostAcknowledged { get; init; }

    /// <summary>Of these: flushed, and the flush acknowledged to the guest. The lab's guest tells of no record before its flush, so it is
    /// all of them.</summary>
    public required long? RecordsLostFlushed { get; init; }

    /// <summary>True: the guest sent something where it had been after it had sent something where it came up; null = it was not heard at
    /// both.</summary>
    public required bool? DualActive { get; init; }

    /// <summary>The TCP connection that was open at the failure went on; null = there was none.</summary>
    public required bool? TcpSurvived { get; init; }

    /// <summary>When writes to the disk were answered at the failure: async, semantic, sync; null = its store did not say.</summary>
    public required string? DiskMode { get; init; }

    /// <summary>What the replica lacked when its owner was last asked before the failure.</summary>
    public required long? LagBytes { get; init; }

    /// <summary>Age of the oldest write that it lacked then.</summary>
    public required double? LagMs { get; init; }

    /// <summary>Records that were acknowledged to the client before the failure.</summary>
    public required long? RecordsAcknowledged { get; init; }

    /// <summary>The last one that is on the disk from which it was started.</summary>
    public required long? RecordsThrough { get; init; }

    /// <summary>Records of which a later one is there and they are not: the disk is of no moment that there was.</summary>
    public required long? RecordGaps { get; init; }

    /// <summary>What the failed site was found to have lost, a line each.</summary>
    public required IReadOnlyList<string> OldSite { get; init; }

    /// <summary>When the group was protected again, at home; null = it was not.</summary>
    public required double? ProtectedAgainMs { get; init; }

    /// <summary>How often the source PE had switched by itself before the failure, and taken it back.</summary>
    public required int FalseAlarms { get; init; }

    /// <summary>What is worth knowing about this run, a line each.</summary>
    public required IReadOnlyList<string> Notes { get; init; }
}
