using SdnEdge.Core.Api;

namespace SdnEdge.Client;

/// <summary>The client of a manager.</summary>
public sealed class MmsClient(ApiEndpoint endpoint) : ApiClient(endpoint, ApiJson.Options)
{
    /// <summary>The manager.</summary>
    public Task<MmsNodeInfo> NodeAsync(CancellationToken cancel = default) => GetAsync<MmsNodeInfo>("v1/node", cancel);

    /// <summary>Groups, and where their servers may run.</summary>
    public Task<IReadOnlyList<GroupInfo>> GroupsAsync(CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<GroupInfo>>("v1/groups", cancel);

    /// <summary>The protection of a group.</summary>
    public Task<ProtectionInfo> ProtectionAsync(string group, CancellationToken cancel = default)
        => GetAsync<ProtectionInfo>($"v1/groups/{Uri.EscapeDataString(group)}/protection", cancel);

    /// <summary>Protects a group against the failure of its site; returns when that is on record.</summary>
    public Task<ProtectionInfo> ProtectAsync(string group, ProtectCall call, CancellationToken cancel = default)
        => PostAsync<ProtectCall, ProtectionInfo>($"v1/groups/{Uri.EscapeDataString(group)}/protection", call, cancel);

    /// <summary>Takes the protection of a group away; returns when that is on record.</summary>
    public Task UnprotectAsync(string group, CancellationToken cancel = default)
        => DeleteAsync($"v1/groups/{Uri.EscapeDataString(group)}/protection", cancel);

    /// <summary>Has a protected group come up at its other site; returns when that is on record. A dry run changes nothing.</summary>
    public Task<FailoverInfo> FailoverAsync(string group, FailoverCall call, CancellationToken cancel = default)
        => PostAsync<FailoverCall, FailoverInfo>($"v1/groups/{Uri.EscapeDataString(group)}/failover", call, cancel);

    /// <summary>A dry run: every obstacle at once. Nothing is changed anywhere.</summary>
    public Task<PlanInfo> PlanAsync(MigrationCall call, CancellationToken cancel = default)
        => PostAsync<MigrationCall, PlanInfo>("v1/plans", call, cancel);

    /// <summary>Starts a migration; returns when it is on record.</summary>
    public Task<MigrationStatus> StartAsync(MigrationCall call, CancellationToken cancel = default)
        => PostAsync<MigrationCall, MigrationStatus>("v1/migrations", call, cancel);

    /// <summary>Starts a migration; the same call again with the same key gets the same migration.</summary>
    public Task<MigrationStatus> StartAsync(MigrationCall call, string? idempotencyKey, CancellationToken cancel = default)
        => PostAsync<MigrationCall, MigrationStatus>("v1/migrations", call, cancel, idempotencyKey);

    /// <summary>All migrations, oldest first.</summary>
    public Task<IReadOnlyList<MigrationStatus>> MigrationsAsync(CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<MigrationStatus>>("v1/migrations", cancel);

    /// <summary>One migration.</summary>
    public Task<MigrationStatus> MigrationAsync(string id, CancellationToken cancel = default)
        => GetAsync<MigrationStatus>("v1/migrations/" + Uri.EscapeDataString(id), cancel);

    /// <summary>Has a migration undone; returns when that is on record.</summary>
    public Task<MigrationStatus> AbortAsync(string id, string? why = null, CancellationToken cancel = default)
        => AbortAsync(id, new AbortCall(why), cancel);

    /// <summary>Has a migration undone, or ended without the word of parties that are given up; returns when that is on record.</summary>
    public Task<MigrationStatus> AbortAsync(string id, AbortCall call, CancellationToken cancel = default)
        => PostAsync<AbortCall, MigrationStatus>($"v1/migrations/{Uri.EscapeDataString(id)}/abort", call, cancel);

    /// <summary>Ends the trial of a migration.</summary>
    public Task<MigrationStatus> CommitAsync(string id, CancellationToken cancel = default)
        => PostAsync<AbortCall, MigrationStatus>($"v1/migrations/{Uri.EscapeDataString(id)}/commit", new AbortCall(), cancel);

    /// <summary>Moves the group of a migration back to where it was: a migration of its own.</summary>
    public Task<MigrationStatus> RollbackAsync(string id, CancellationToken cancel = default)
        => PostAsync<AbortCall, MigrationStatus>($"v1/migrations/{Uri.EscapeDataString(id)}/rollback", new AbortCall(), cancel);

    /// <summary>Volumes of which something is on record.</summary>
    public Task<IReadOnlyList<VolumeMarkInfo>> VolumesAsync(CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<VolumeMarkInfo>>("v1/volumes", cancel);

    /// <summary>A store's report; returns when it is on record.</summary>
    public Task<VolumeMarkInfo> ReportAsync(StaleReport report, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(report);
        return PostAsync<StaleReport, VolumeMarkInfo>($"v1/volumes/{report.Volume:D}/stale", report, cancel);
    }

    /// <summary>Rebuilds owners and epochs from what PEs and hosts say.</summary>
    public Task<IReadOnlyList<GroupInfo>> RecoverAsync(CancellationToken cancel = default) => RecoverAsync(new RecoverCall(), cancel);

    /// <summary>The same, and settles servers that are in doubt, each group by a migration of its own.</summary>
    public Task<IReadOnlyList<GroupInfo>> RecoverAsync(RecoverCall call, CancellationToken cancel = default)
        => PostAsync<RecoverCall, IReadOnlyList<GroupInfo>>("v1/recover", call, cancel);
}
