namespace SdnEdge.Core.Api;

/// <summary>
/// Leases of a group at a site, as the witness has them: <c>GET /v1/leases/{group}/{site}</c>. Times are those of the witness's clock.
/// </summary>
/// <param name="Group">The group.</param>
/// <param name="Site">The site.</param>
/// <param name="Epoch">The highest epoch for which leases were opened or revoked.</param>
/// <param name="Revoked">True: no lease is granted under this epoch or a lower one, ever again.</param>
/// <param name="TtlMs">How long a lease is good for from when its renewal was sent, milliseconds.</param>
/// <param name="RunsOutInMs">How long until the last lease that was granted has surely run out, and what it allowed has ended,
/// milliseconds; 0 = it has.</param>
/// <param name="Parties">Who has had leases of this epoch since the witness was started, by name.</param>
public sealed record LeaseInfo(
    string Group, string Site, long Epoch, bool Revoked, int TtlMs, long RunsOutInMs, IReadOnlyList<LeaseParty> Parties);

/// <summary>Who has leases: a host's watchdog.</summary>
/// <param name="Name">Its name.</param>
/// <param name="LastRenewedMsAgo">How long ago a lease was granted to it, milliseconds.</param>
public sealed record LeaseParty(string Name, long LastRenewedMsAgo);

/// <summary>Body of <c>PUT /v1/leases/{group}/{site}</c>: the group may have leases at this site.</summary>
/// <param name="Epoch">Under this epoch, from 1. A higher one than that which was revoked opens them again.</param>
public sealed record LeaseOpenCall(long Epoch);

/// <summary>Body of <c>POST /v1/leases/{group}/{site}/renew</c>.</summary>
/// <param name="Party">Who asks.</param>
/// <param name="Epoch">The epoch that it is bound to. Refused (409 lease-revoked) unless leases are open under just this one.</param>
public sealed record LeaseRenewCall(string Party, long Epoch);

/// <summary>A lease.</summary>
/// <param name="TtlMs">How long it is good for, milliseconds, from when the renewal was <em>sent</em>.</param>
public sealed record LeaseRenewReply(int TtlMs);

/// <summary>Body of <c>POST /v1/leases/{group}/{site}/revoke</c>.</summary>
/// <param name="Epoch">Epochs up to this one, from 1, never get a lease again.</param>
public sealed record LeaseRevokeCall(long Epoch);

/// <summary><c>GET /v1/node</c> of a witness.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Version">Program version.</param>
/// <param name="Incarnation">Random; another one after each start.</param>
/// <param name="StartedAtNs">CLOCK_BOOTTIME, nanoseconds.</param>
/// <param name="Ready">True when it grants leases.</param>
/// <param name="TtlMs">How long a lease is good for, milliseconds.</param>
/// <param name="DriftPpm">How much clocks may drift, parts per million.</param>
/// <param name="StandstillMs">The longest time between a party's check of its lease and the effect, milliseconds.</param>
/// <param name="Fault">Why it grants none; null = it does.</param>
public sealed record WitnessNodeInfo(
    string Name, string Version, string Incarnation, long StartedAtNs, bool Ready, int TtlMs, int DriftPpm, int StandstillMs,
    string? Fault = null);

/// <summary>
/// Body of <c>PUT /v1/servers/{name}/lease</c> of a host's agent: the server may run here only under a lease of the witness. Answered when
/// the first one has been granted.
/// </summary>
/// <param name="Group">The group whose lease it is; null = the server is not bound any more.</param>
/// <param name="Site">The site whose lease it is; null with no group.</param>
/// <param name="Epoch">The epoch. One that is lower than the one bound last is refused.</param>
public sealed record ServerLeaseCall(string? Group, string? Site, long Epoch);

/// <summary>The lease under which alone a server may run.</summary>
/// <param name="Group">The group.</param>
/// <param name="Site">The site.</param>
/// <param name="Epoch">The epoch.</param>
/// <param name="ValidForMs">How long it is good for still, milliseconds, if it is not renewed; null = there is none that is
/// valid.</param>
public sealed record ServerLeaseInfo(string Group, string Site, long Epoch, long? ValidForMs);
