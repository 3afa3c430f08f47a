using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;

namespace SdnEdge.Mms.Drivers;

/// <summary>Small questions to what PEs answer.</summary>
internal static class Answers
{
    /// <summary>True when nothing of the migration is in force at the PE any more.</summary>
    public static bool IsOver(this MigrationInfo migration) => migration.State is PeMigrationState.TornDown or PeMigrationState.Aborted;

    /// <summary>True when this is a route to that very prefix.</summary>
    public static bool Is(this RouteInfo route, IpPrefix prefix)
        => IpPrefix.TryParse(route.Prefix, out IpPrefix parsed) && parsed == prefix;
}
