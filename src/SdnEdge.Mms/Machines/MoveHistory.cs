using System.Globalization;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Machines;

/// <summary>When prefixes were moved, by the journal.</summary>
public static class MoveHistory
{
    /// <summary>
    /// How far back moves count for what damps flapping routes (RFC 2439): the half-life and the reuse time that routers come with are of
    /// this size.
    /// </summary>
    public static readonly TimeSpan Flapping = TimeSpan.FromMinutes(15);

    /// <summary>From how many moves within <see cref="Flapping"/> on a router that damps may hold a prefix back: each is a withdrawal
    /// and another path.</summary>
    public const int FlapsAt = 3;

    /// <summary>When moves of a prefix of the default VRF were told to others, at the latest: a migration's end. In no order.</summary>
    public static IEnumerable<DateTimeOffset> Of(ManagerState state, IpPrefix prefix)
    {
        ArgumentNullException.ThrowIfNull(state);
        IEnumerable<(string At, IEnumerable<string> Prefixes)> whole = state.Migrations.Values
            .Select(m => (m.EndedAt ?? m.At, m.Moves.SelectMany(EndedMigration.AdvertisedBy)));
        IEnumerable<(string At, IEnumerable<string> Prefixes)> rows = state.Ended.Values
            .Select(e => (e.EndedAt, e.Advertised.AsEnumerable()));
        return
            from migration in whole.Concat(rows)
            from told in migration.Prefixes
            where IpPrefix.TryParse(told, out IpPrefix parsed) && parsed == prefix
            select DateTimeOffset.Parse(migration.At, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);
    }

    /// <summary>How often it moved within <see cref="Flapping"/>.</summary>
    public static int Recent(ManagerState state, IpPrefix prefix, DateTimeOffset now) => Of(state, prefix).Count(at => at > now - Flapping);
}
