using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Machines;

/// <summary>What an operator can do about what a migration waits for; most of it needs nothing but time.</summary>
public static class Remedies
{
    /// <summary>The remedy, for people; null: time alone.</summary>
    /// <param name="state">The fold of the journal.</param>
    /// <param name="migration">The migration.</param>
    /// <param name="waiting">What it waits for.</param>
    /// <param name="now">Wall clock, as in the journal.</param>
    public static string? Of(ManagerState state, MigrationState migration, Waiting waiting, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(migration);
        ArgumentNullException.ThrowIfNull(waiting);
        if (migration.Outcome is not null) return null;
        return waiting switch
        {
            { Reason: WaitReason.PeerUnreachable, Party: { } party } => OfSilent(migration, MoveOf(migration, waiting), party),
            { Reason: WaitReason.NoDirectPath, Party: not null } => OfOldPath(state, MoveOf(migration, waiting), now),
            _ => null,
        };
    }

    // Of several on the way the one whose command it is: a key names one command of a migration.
    private static MoveState MoveOf(MigrationState migration, Waiting waiting) => migration.Running.Select(migration.MoveOf)
        .FirstOrDefault(m => MoveMachine.Open(m).Any(c => c.Key == waiting.Command)) ?? migration.Current;

    // A stage with a deadline undoes the move by itself.
    private static string? OfSilent(MigrationState migration, MoveState move, string party)
    {
        if (move.Stage is MoveStage.Planned or MoveStage.AwaitWindow || StageTable.Of(move.Stage).DeadlineMs is not null) return null;
        if (move.Stage == MoveStage.Fence)
        {
            if (move.Plan.Failover?.Lease is { } lease)
            {
                return $"nothing is started at {move.Plan.To} before either all its hosts at {move.Plan.From} have said that the servers "
                    + $"are dead there, or {lease.Witness} has said that their last lease has run out: have {party} answer, or call it "
                    + $"off: 'sdnedge failover abort {migration.Id}'";
            }

            return $"nothing is started at {move.Plan.To} before {party} has said, from its disk, that the servers are dead there: have "
                + $"its agent answer (started again it is enough), or call it off: 'sdnedge failover abort {migration.Id}'";
        }

        string back = $"bring {party} back, and the migration goes on by itself";
        return GiveUp.MayGiveUp(move, [party]) is { } why ? $"{back}; {why}"
            : $"{back}; if it will never answer again: 'sdnedge migrate abort {migration.Id} --give-up {party} --why WHY' ends it without "
                + $"{party}'s word{(move.TargetOwns ? $", the servers at {move.Plan.To}" : "")}";
    }

    private static string? OfOldPath(ManagerState state, MoveState move, DateTimeOffset now)
    {
        string[] flaps = [.. move.Plan.Paths.SelectMany(p => p.Target.Prefixes).Select(p => p.Prefix).Distinct()
            .Where(p => IpPrefix.TryParse(p, out IpPrefix prefix) && MoveHistory.Recent(state, prefix, now) >= MoveHistory.FlapsAt)];
        return flaps.Length == 0 ? null
            : $"{Flaps(state, flaps[0], now)} It ends when that router takes the route: wait, or clear its damping there";
    }

    /// <summary>That a prefix has moved so often that a router that damps may hold it back.</summary>
    public static string Flaps(ManagerState state, string prefix, DateTimeOffset now)
        => $"{prefix} moved {MoveHistory.Recent(state, IpPrefix.Parse(prefix), now)} times within {MoveHistory.Flapping.TotalMinutes:0} "
            + "minutes: a router on the way that damps flapping routes (RFC 2439, 'bgp dampening') may keep the old path until its penalty "
            + "has decayed.";
}
