using SdnEdge.Core.Api;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>Plans a fail-over: what is in its way, and what would be lost. It changes nothing.</summary>
public static class FailoverPlan
{
    /// <summary>Asks the hosts of both sites.</summary>
    /// <param name="view">Whom to ask.</param>
    /// <param name="state">The fold of the journal.</param>
    /// <param name="group">The group.</param>
    /// <param name="call">What is asked for.</param>
    /// <param name="cancel">Ends it.</param>
    /// <returns>What was found; and what the fail-over rests on, null: there are obstacles.</returns>
    public static async Task<(FailoverInfo Info, Failover? Failover)> MakeAsync(
        IPlanView view, ManagerState state, string group, FailoverCall call, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(view);
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(call);
        var notes = new PlanNotes();
        var loss = new List<string>();
        if (ManagerMachine.MayFailOver(state, group, call.To) is { } not)
        {
            notes.Add(state.RunningOf(group) is null ? "not-armed" : "busy", group, not);
            return (Info(state.Protections.GetValueOrDefault(group)?.Plan.From ?? "", []), null);
        }

        MovePlan plan = state.Protections[group].Plan;
        SiteLease? lease = ProtectionMachine.LeaseOf(state.Protections[group]);
        Guid[] accepted = [.. CheckVolumes(state, plan, call, notes, loss)];
        var fence = new List<string>();
        foreach (ServerMove server in plan.Servers)
        {
            Task<Answer<ServerInfo>> source = view.ServerAsync(server.SourceHost, server.Name, cancel);
            Answer<ServerInfo> target = await view.ServerAsync(server.TargetHost, server.Name, cancel);
            CheckTarget(server, target, notes);
            fence.Add(await source is { Value: { } there }
                ? $"{server.SourceHost} answers: it kills {server.Name}, which is {Words.Of(there.State)} there, and says that it is dead"
                : lease is null ? $"{server.SourceHost} does not answer: nothing of {server.Name} is started at {call.To} before it does"
                : $"{server.SourceHost} does not answer: {server.Name} is started at {call.To} when its last lease there, which "
                    + $"{lease.Witness} grants no more, has run out");
        }

        loss.Add("what was in the servers' memory: they are started from their volumes");
        return notes.Obstacles.Count > 0 ? (Info(plan.From, fence), null)
            : (Info(plan.From, fence), new Failover(
                lease is null ? FenceKind.Kill : FenceKind.Lease, call.Why ?? "asked for", accepted.Length > 0 ? accepted : null));

        FailoverInfo Info(string from, IReadOnlyList<string> fence)
            => new(group, from, call.To, fence, notes.Obstacles, loss, notes.Warnings);
    }

    private static IEnumerable<Guid> CheckVolumes(
        ManagerState state, MovePlan plan, FailoverCall call, PlanNotes notes, List<string> loss)
    {
        MovedVolume[] volumes = [.. plan.Servers.SelectMany(s => s.Volumes ?? [])];
        foreach (string name in (call.AcceptLoss ?? []).Where(n => volumes.All(v => v.Name != n)))
            notes.Add("volume-unknown", name, $"no server of the group has a volume '{name}'; they have "
                + $"{(volumes.Length == 0 ? "none" : string.Join(", ", volumes.Select(v => v.Name)))}");
        foreach (MovedVolume volume in volumes)
        {
            if (state.Volumes.GetValueOrDefault(volume.Id) is not { StaleFrom: { } from } mark) continue;
            loss.Add($"what was acknowledged of {volume.Name} from sequence {from} on, since {mark.Since}: it is not at {plan.To}");
            if (call.AcceptLoss?.Contains(volume.Name) ?? false) yield return volume.Id;
            else notes.Add("volume-stale", volume.Name, $"its copy at {plan.To} is stale from sequence {from} on, on record since "
                + $"{mark.Since} (by {mark.By}): what was acknowledged since would be lost; have {plan.From} back, or accept that by its "
                + $"name: --accept-loss {volume.Name}");
        }
    }

    private static void CheckTarget(ServerMove server, Answer<ServerInfo> answer, PlanNotes notes)
    {
        if (notes.Need(server.TargetHost, answer) is not { } there) return;
        if (there.State != ServerState.Absent || there.MayRun is not null)
            notes.Add("server-fault", $"{server.Name} at {server.TargetHost}", $"it is {Words.Of(there.State)} there, where nothing of it "
                + "should be; see what it is left from, and retire it there");
        foreach (ServerVolumeInfo volume in there.Volumes ?? [])
        {
            if (volume.Fault is { } fault) notes.Add("volume-fault", $"{volume.Name} at {server.TargetHost}", fault);
        }
    }
}
