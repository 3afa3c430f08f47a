using SdnEdge.Core.Api;

namespace SdnEdge.Demo.Report;

/// <summary>What a run with an outage yielded beside its probes. Times are CLOCK_MONOTONIC nanoseconds; null = it did not come so
/// far.</summary>
internal sealed class OutageFacts
{
    /// <summary>What fails.</summary>
    public required string Failed { get; init; }

    /// <summary>The policy.</summary>
    public required string Policy { get; init; }

    /// <summary>The site that fails, and the other one.</summary>
    public required string From { get; init; }

    /// <inheritdoc cref="From"/>
    public required string To { get; init; }

    /// <summary>The manager begins the fail-over.</summary>
    public bool Automatic { get; set; }

    /// <summary>When it failed; 0 = it has not.</summary>
    public long FailedNs { get; set; }

    /// <summary>When the fail-over was on record.</summary>
    public long? BegunNs { get; set; }

    /// <summary>When it was first seen suspected.</summary>
    public long? SuspectedNs { get; set; }

    /// <summary>When the agent took orders again.</summary>
    public long? AgentStartedNs { get; set; }

    /// <summary>The source PE's word while flipped.</summary>
    public BackupInfo? Backup { get; set; }

    /// <summary>False alarms before the failure.</summary>
    public int FalseAlarms { get; set; }

    /// <summary>The fail-over as its manager tells it.</summary>
    public MigrationStatus? Failover { get; set; }

    /// <summary>The volume at its owner, asked last before the failure.</summary>
    public VolumeInfo? Owner { get; set; }

    /// <summary>What the client was told of the boot that died.</summary>
    public BootLog? First { get; set; }

    /// <summary>What the client was told of the boot at the other site when it had first answered.</summary>
    public BootLog? Second { get; set; }

    /// <summary>What is on the disk from which it came up.</summary>
    public RecoveredRecords? Recovered { get; set; }

    /// <summary>Frames of the guest at the old site after its first one at the new one; null = not heard at both.</summary>
    public long? Twice { get; set; }

    /// <summary>When the way home began.</summary>
    public long? HomeNs { get; set; }

    /// <summary>When the group was protected again.</summary>
    public long? ProtectedAgainNs { get; set; }

    /// <summary>The TCP connection that was open at the failure went on.</summary>
    public bool? TcpSurvived { get; set; }

    /// <summary>What the failed site was found to have lost.</summary>
    public List<string> OldSite { get; } = [];

    /// <summary>What is worth knowing.</summary>
    public List<string> Notes { get; } = [];

    /// <summary>What was to be and is not.</summary>
    public List<string> Wrong { get; } = [];
}

/// <summary>The records of the boot that died, as they are on the disk from which the next one was started (BootRecords).</summary>
internal sealed record RecoveredRecords(
    string Store, long Expected, long Last, long Lost, long? FirstLost, long Damaged, long Gaps, long Overwritten, long Hidden);
