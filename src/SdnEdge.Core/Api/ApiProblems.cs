namespace SdnEdge.Core.Api;

/// <summary>Types of problems that clients act on.</summary>
public static class ApiProblems
{
    /// <summary>Of several managers another one leads, or none does yet: nothing was done; ask the others.</summary>
    public const string Standby = "/problems/standby";
}
