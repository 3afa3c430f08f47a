using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;

namespace SdnEdge.Mms.Drivers;

/// <summary>Small questions to what PEs answer.</summary>
internal static class Answers
{
    /// <summary>True when this is a route to that very prefix.</summary>
    public static bool Is(this RouteInfo route, IpPrefix prefix)
        => IpPrefix.TryParse(route.Prefix, out IpPrefix parsed) && parsed == prefix;
}
