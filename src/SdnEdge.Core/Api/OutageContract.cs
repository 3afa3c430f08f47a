namespace SdnEdge.Core.Api;

/// <summary>A way by which the PE of a site notices that the site has failed.</summary>
/// <param name="Site">The site. What is watched at the other one counts when the group is there.</param>
/// <param name="Part">What that site's PE watches.</param>
public sealed record SiteWatch(string Site, WatchedPart Part);

/// <summary>Body of <c>POST /v1/groups/{name}/protection</c>. What it does not say is as the manager's configuration has it.</summary>
/// <param name="To">The site where the group is to come up when its own fails.</param>
/// <param name="Policy">How it comes up: cold, from its volumes there. Null = the configuration's, or cold.</param>
/// <param name="Automatic">True: the manager begins the fail-over by itself. Null = the configuration's, or false.</param>
/// <param name="Watch">What is watched at each site; null = the configuration's.</param>
public sealed record ProtectCall(
    string To, string? Policy = null, bool? Automatic = null, IReadOnlyList<SiteWatch>? Watch = null);

/// <summary>The protection of a group: <c>GET /v1/groups/{name}/protection</c>.</summary>
/// <param name="Group">The group.</param>
/// <param name="State">
/// arming: its PEs are being prepared. armed: its source PE switches by itself when its site fails. flipped: it has done so, and the other
/// site holds the traffic. unprotected: it would not, or nothing could come up at the other site; see <paramref name="Reasons"/>.
/// disarming: its PEs are told to forget it.
/// </param>
/// <param name="Policy">How it comes up at the other site.</param>
/// <param name="Automatic">True: the manager begins the fail-over by itself.</param>
/// <param name="From">The site where the group is.</param>
/// <param name="To">The site where it is to come up.</param>
/// <param name="Epoch">The epoch that its commands carry.</param>
/// <param name="Reasons">Why it does not protect now, or what is waited for; empty = it does.</param>
/// <param name="Paths">Its paths.</param>
/// <param name="Watch">What is watched, by site.</param>
/// <param name="By">Who asked for it.</param>
/// <param name="At">When (ISO 8601, UTC).</param>
/// <param name="Migration">The migration for which it was taken away; it is protected again when that has ended. Null = none.</param>
public sealed record ProtectionInfo(
    string Group, string State, string Policy, bool Automatic, string From, string To, long Epoch, IReadOnlyList<string> Reasons,
    IReadOnlyList<ProtectionPathInfo> Paths, IReadOnlyList<SiteWatch> Watch, string By, string At, string? Migration)
{
    /// <summary>Name of the witness under whose leases alone all its servers run where they are; null: they are bound to none, and only
    /// their hosts' word fences them.</summary>
    public string? Witness { get; init; }
}

/// <summary>A path of a protected group.</summary>
/// <param name="Id">Id of the migration at its two PEs.</param>
/// <param name="SourcePe">The PE that switches when its site fails.</param>
/// <param name="TargetPe">The PE that then holds the traffic.</param>
/// <param name="Flipped">True: it has switched by itself.</param>
/// <param name="Backup">The source PE's word, as it was seen last; null = it was not seen.</param>
public sealed record ProtectionPathInfo(string Id, string SourcePe, string TargetPe, bool Flipped, BackupInfo? Backup)
{
    /// <summary>LOCAL_PREF with which the target PE is told to advertise a backup path of the prefixes to ingress PEs; null: it advertises
    /// none.</summary>
    public uint? BackupLocalPref { get; init; }

    /// <summary>Why ingress PEs have no backup path, or none for some of the prefixes; null: they have one for all.</summary>
    public string? NoBackup { get; init; }
}

/// <summary>Body of <c>POST /v1/groups/{name}/failover</c>.</summary>
/// <param name="To">The site where the group is to come up: the one at which it is protected.</param>
/// <param name="DryRun">True: it is only said what would be in the way, and what would be lost.</param>
/// <param name="AcceptLoss">Volumes, by name, from whose stale copies its servers are started all the same. Null = none.</param>
/// <param name="Why">Why, for the journal and the report; null = not said.</param>
public sealed record FailoverCall(string To, bool DryRun = false, IReadOnlyList<string>? AcceptLoss = null, string? Why = null);

/// <summary>Answer to <c>POST /v1/groups/{name}/failover</c>.</summary>
/// <param name="Group">The group.</param>
/// <param name="From">The site that has failed.</param>
/// <param name="To">The site where it is to come up.</param>
/// <param name="Fence">What has to be so before anything is started there, for people.</param>
/// <param name="Obstacles">What keeps it from being started; empty = nothing.</param>
/// <param name="Loss">What is lost, as far as it is on record, a line each.</param>
/// <param name="Warnings">What is worth knowing, a line each.</param>
/// <param name="Migration">The migration that does it; null = a dry run, or there are obstacles.</param>
public sealed record FailoverInfo(
    string Group, string From, string To, IReadOnlyList<string> Fence, IReadOnlyList<Obstacle> Obstacles, IReadOnlyList<string> Loss,
    IReadOnlyList<string> Warnings, MigrationStatus? Migration = null);
