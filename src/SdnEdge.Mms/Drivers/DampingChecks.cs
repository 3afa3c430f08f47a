using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>
/// Whether an ingress PE would follow one more move of a prefix. It says which ones it follows no more; those that it would stop to
/// follow with this move are counted from the journal.
/// </summary>
internal sealed class DampingChecks(PlanNotes notes, ManagerState state, DateTimeOffset now)
{
    /// <summary>Checks one ingress PE of a path.</summary>
    public void Check(string ingress, PeFacts facts, PathDraft path)
    {
        // Moves are numbered, and damped, in the default VRF.
        if (path.Vrf != NodeConfig.DefaultVrf || facts.Node.Value is not { } node) return;
        foreach (IpPrefix prefix in path.Prefixes.Select(p => p.Prefix))
        {
            if (facts.Damped?.Value?.FirstOrDefault(d => IpPrefix.TryParse(d.Prefix, out IpPrefix parsed)
                && parsed == prefix) is { } damped)
            {
                notes.Add("damped", prefix.ToString(),
                    $"{ingress} does not follow moves of {prefix}: it moved too often, and is held at its last owner for "
                        + $"{Math.Ceiling(damped.SecondsLeft):0} s more; try again then");
            }
            else if (node.MoveDamping is { Moves: > 0 } limits && TooMany(prefix, limits) is { } wait)
            {
                notes.Add("damped", prefix.ToString(),
                    $"{ingress} follows {limits.Moves} moves of a prefix within {limits.WithinSeconds} s, and {prefix} has had them; try "
                        + $"again in {Math.Ceiling(wait.TotalSeconds):0} s");
            }
        }
    }

    // How long until one more move is not one too many; null: it is not now. The first move that a PE hears of is none to it.
    private TimeSpan? TooMany(IpPrefix prefix, MoveDampingInfo limits)
    {
        DateTimeOffset[] recent =
        [
            .. MoveHistory.Of(state, prefix).Order().Skip(1).Where(at => at > now - TimeSpan.FromSeconds(limits.WithinSeconds)),
        ];
        return recent.Length < limits.Moves ? null : recent[^limits.Moves] + TimeSpan.FromSeconds(limits.WithinSeconds) - now;
    }
}
