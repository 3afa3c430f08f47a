using SdnEdge.Core.Api;
using SdnEdge.Core.Config;

namespace SdnEdge.Mms.Model;

/// <summary>
/// What a manager keeps in memory of a migration that ended a while ago: enough to list it, to decide about it, and to plan the next one.
/// The rest of it is in the journal, and is folded from there when it is asked for.
/// </summary>
/// <param name="Id">Its id.</param>
/// <param name="Request">What was asked for.</param>
/// <param name="By">Who asked for it.</param>
/// <param name="IdempotencyKey">The caller's name for the request; null = none.</param>
/// <param name="At">When it was asked for (ISO 8601, UTC).</param>
/// <param name="EndedAt">When it ended (ISO 8601, UTC).</param>
/// <param name="Outcome">How it ended.</param>
/// <param name="From">The site that it left.</param>
/// <param name="Stage">Where its last move was.</param>
/// <param name="Epoch">The epoch in force at its end.</param>
/// <param name="Failure">The first thing that went wrong; null: nothing did.</param>
/// <param name="Committed">True from commit on.</param>
/// <param name="Unproved">What is not proved because an operator gave parties up; null: nobody was given up.</param>
/// <param name="Advertised">Prefixes of the default VRF that targets advertised: once for each move that did.</param>
public sealed record EndedMigration(
    string Id, MigrationRequest Request, string By, string? IdempotencyKey, string At, string EndedAt, MigrationOutcome Outcome,
    string From, MoveStage Stage, long Epoch, string? Failure, bool Committed, IReadOnlyList<string>? Unproved,
    IReadOnlyList<string> Advertised)
{
    /// <summary>True when a path of this id is the migration's: the ids of its paths begin with its own.</summary>
    public bool HasPath(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        return path.Length > Id.Length && path.StartsWith(Id, StringComparison.Ordinal) && path[Id.Length] is '.' or '-';
    }

    /// <summary>Prefixes of the default VRF that the target of a move advertised.</summary>
    public static IEnumerable<string> AdvertisedBy(MoveState move)
    {
        ArgumentNullException.ThrowIfNull(move);
        return move.Plan.Paths
            .Where(path => path.Vrf == NodeConfig.DefaultVrf
                && move.Signals.Any(s => s.Reply.Signal == SignalKind.Advertise && s.Reply.Migration == path.Id))
            .SelectMany(path => path.Target.Prefixes).Select(p => p.Prefix);
    }
}
