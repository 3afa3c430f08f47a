using SdnEdge.Core.Api;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>Plans the protection of a group: what would keep it from being moved keeps it from being protected, too, but for what only time
/// decides.</summary>
public static class ProtectionPlan
{
    // What is so today, and not on the day of the outage; and what is copied or stopped only in a move.
    private static readonly string[] s_ofToday =
        ["limit", "blackout-too-long", "hold-too-small", "volume-copying", "volume-not-converging", "volume-stale", "replica-gone"];

    /// <summary>Asks all parties. Changes nothing.</summary>
    /// <param name="config">The manager's configuration.</param>
    /// <param name="view">Whom to ask.</param>
    /// <param name="state">The fold of the journal.</param>
    /// <param name="request">What is asked for.</param>
    /// <param name="to">The site where the group is to come up.</param>
    /// <param name="cancel">Ends it.</param>
    /// <returns>The plan; null: there are obstacles, all of them.</returns>
    public static async Task<(MovePlan? Plan, IReadOnlyList<Obstacle> Obstacles)> MakeAsync(
        MmsConfig config, IPlanView view, ManagerState state, ProtectionRequest request, string to, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        PlanResult plan = await Planner.PlanAsync(config, view, state, new MigrationCall(request.Group, to), cancel);
        List<Obstacle> obstacles = [.. plan.Info.Obstacles.Where(o => !s_ofToday.Contains(o.Reason))];
        if (plan.Info.From is { } from && ProtectionMachine.WatchOf(request, from).Count == 0)
        {
            obstacles.Add(new Obstacle("watch-missing", from, $"nothing is named by which the PE of {from} would notice that it has "
                + $"failed; name it: --watch {from}:neighbor=ADDRESS, bfd=PEER or carrier=DEVICE, or protect: watch: of the group in the manager's "
                + "configuration"));
        }

        MovePlan? made = plan.Drafted is [{ Paths.Count: > 0 } one] ? one : null;
        if (made is null && obstacles.Count == 0)
            obstacles.Add(new Obstacle("no-path", request.Group, "no path could be planned for it; see 'sdnedge migrate plan'"));
        return obstacles.Count > 0 ? (null, obstacles) : (made! with { Ahead = false }, []);
    }
}
