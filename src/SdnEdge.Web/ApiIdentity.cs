using SdnEdge.Core.Config;

namespace SdnEdge.Web;

/// <summary>Who is at the other end of a connection, and what they may do.</summary>
/// <param name="Name">For people, journals and logs: <c>user 0</c>, <c>certificate mms</c>.</param>
/// <param name="Role">The most they may do.</param>
public sealed record ApiIdentity(string Name, ApiRole Role);
