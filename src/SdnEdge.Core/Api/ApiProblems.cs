namespace SdnEdge.Core.Api;

/// <summary>Types of problems that clients act on.</summary>
public static class ApiProblems
{
    /// <summary>Of several managers another one leads, or none does yet: nothing was done; ask the others.</summary>
    public const string Standby = "/problems/standby";

    /// <summary>The witness grants no lease: it was revoked, was never opened, or is open under another epoch.</summary>
    public const string LeaseRevoked = "/problems/lease-revoked";

    /// <summary>A server cannot be bound to a lease, or not be started under one: none was granted, or the host knows no witness.</summary>
    public const string NoLease = "/problems/no-lease";
}
