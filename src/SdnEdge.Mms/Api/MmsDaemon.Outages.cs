using SdnEdge.Core.Api;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using SdnEdge.Web;

namespace SdnEdge.Mms.Api;

// Protection of groups against the failure of their sites.
public sealed partial class MmsDaemon
{
    /// <summary>The protection of a group.</summary>
    /// <exception cref="ProblemException">There is no such group, or it has none.</exception>
    public ProtectionInfo Protection(string group)
    {
        FindGroup(group);
        return ProtectionOf(Known, group) ?? throw new ProblemException(Problems.NotFound(
            $"{group} is not protected; sdnedge group protect {group} --to SITE does it"));
    }

    /// <summary>Protects a group; returns when that is on record.</summary>
    /// <exception cref="ProblemException">It cannot be: all reasons are in it.</exception>
    public async Task<ProtectionInfo> ProtectAsync(string group, ProtectCall call, string by, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(call);
        CheckJournal();
        GroupConfig config = FindGroup(group);
        ProtectionRequest request = RequestOf(config, call);
        if (MayNot(Lead.State) is { } busy) throw new ProblemException(Problems.Conflict(busy));
        while (true)
        {
            (MovePlan? plan, IReadOnlyList<Obstacle> obstacles) = await ProtectionPlan.MakeAsync(
                _config, _view, Lead.State, request, call.To, cancel);
            if (plan is null)
            {
                throw new ProblemException(new Problem(
                    "/problems/obstacles", "The group cannot be protected", 422,
                    $"{group} cannot be protected at {call.To}: {obstacles.Count} obstacle{(obstacles.Count == 1 ? "" : "s")}; nothing was "
                        + "changed", [.. obstacles.Select(o => new ProblemError(o.Where, $"{o.Reason}: {o.Detail}"))]));
            }

            uint key = plan.Paths[0].TunnelKey;
            ManagerState? after = await PostAsync(
                state => MayNot(state) is { } why ? throw new ProblemException(Problems.Conflict(why))
                    : state.KeysInUse().Contains(key) ? null : new ProtectionRequested(request, plan, by), by);
            if (after is not null) return ProtectionOf(after, group)!;
        }

        string? MayNot(ManagerState state)
            => ManagerMachine.MayProtect(state, group) is { } why ? $"{group} cannot be protected now: {why}" : null;
    }

    /// <summary>Takes the protection of a group away; returns when that is on record.</summary>
    /// <exception cref="ProblemException">There is no such group, or it has none.</exception>
    public async Task UnprotectAsync(string group, string by)
    {
        CheckJournal();
        Protection(group);
        await PostAsync(_ => new UnprotectRequested(group, by), by);
    }

    /// <summary>Has a protected group come up at its other site; returns when that is on record. A dry run changes nothing.</summary>
    /// <exception cref="ProblemException">There are obstacles: all of them, and what would be lost, are in it.</exception>
    public async Task<FailoverInfo> FailoverAsync(string group, FailoverCall call, string by, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(call);
        if (!call.DryRun) CheckJournal();
        FindGroup(group);
        if (string.IsNullOrEmpty(call.To))
        {
            throw new ProblemException(Problems.BadRequest("the fail-over is not asked for rightly",
                [new ProblemError("/to", "is missing; name the site where the group is to come up")]));
        }

        while (true)
        {
            (FailoverInfo plan, Failover? failover) = await FailoverPlan.MakeAsync(_view, Lead.State, group, call, cancel);
            if (call.DryRun) return plan;
            if (failover is null)
            {
                throw new ProblemException(new Problem(
                    "/problems/obstacles", "The group cannot fail over", 422,
                    $"{group} cannot come up at {call.To}: {plan.Obstacles.Count} obstacle{(plan.Obstacles.Count == 1 ? "" : "s")}; "
                        + "nothing was changed", [.. plan.Obstacles.Select(o => new ProblemError(o.Where, $"{o.Reason}: {o.Detail}"))]));
            }

            string id = ManagerMachine.IdOf(Lead.State.NextMigration);
            ManagerState? after = await PostAsync(state => ManagerMachine.MayFailOver(state, group, call.To) is { } why
                ? throw new ProblemException(Problems.Conflict($"{group} cannot come up at {call.To} now: {why}"))
                : id == ManagerMachine.IdOf(state.NextMigration) ? new FailoverRequested(id, group, call.To, failover, by) : null, by);
            if (after is not null) return plan with { Migration = Status(after.Migrations[id]) };
        }
    }

    private GroupConfig FindGroup(string name) => _config.Group(name)
        ?? throw new ProblemException(Problems.NotFound($"there is no group '{name}'; sdnedge group list (GET /v1/groups) shows them"));

    private ProtectionRequest RequestOf(GroupConfig group, ProtectCall call)
    {
        var errors = new List<ProblemError>();
        if (string.IsNullOrEmpty(call.To))
            errors.Add(new ProblemError("/to", "is missing; name the site where the group is to come up when its own fails"));
        ProtectionPolicy policy = group.Protect?.Policy ?? ProtectionPolicy.Cold;
        if (call.Policy is not null && call.Policy != Words.Of(ProtectionPolicy.Cold))
            errors.Add(new ProblemError("/policy", $"'{call.Policy}' is not known; it is cold"));
        IReadOnlyList<SiteWatch> watch = call.Watch ?? group.Protect?.Watch ?? [];
        for (int i = 0; i < watch.Count; i++)
        {
            if (SignalChecks.WhyNotWatched(watch[i].Part) is { } wrong)
                errors.Add(new ProblemError($"/watch/{i}/part{wrong.Field}", wrong.Why));
            if (_config.Sites.All(s => s.Name != watch[i].Site))
                errors.Add(new ProblemError($"/watch/{i}/site", $"there is no site '{watch[i].Site}'"));
        }

        if (group.Stateless)
            errors.Add(new ProblemError("/policy",
                $"{group.Name} has stateless: true, and cold starts servers; it cannot be protected yet"));
        if (errors.Count > 0) throw new ProblemException(Problems.BadRequest("the protection is not asked for rightly", errors));
        return new ProtectionRequest(group.Name, policy, call.Automatic ?? group.Protect?.Automatic ?? false, watch,
            _config.Witness?.Name);
    }

    private ProtectionInfo? ProtectionOf(ManagerState state, string group)
    {
        if (state.Protections.GetValueOrDefault(group) is not { } protection) return null;
        ManagerService? service = Current?.Service;
        return StatusOf.Protection(
            protection, state, service?.ReasonsOf(group) ?? [], path => service?.BackupOf(group, path),
            path => service?.AdvertisedOf(group, path));
    }

    private void TellProtections(ManagerState before, ManagerState after)
    {
        if (ReferenceEquals(before.Protections, after.Protections)) return;
        foreach (string group in before.Protections.Keys.Union(after.Protections.Keys))
        {
            ProtectionState? was = before.Protections.GetValueOrDefault(group), now = after.Protections.GetValueOrDefault(group);
            if (now is null)
            {
                Events.Add(Now, "group", group, "protection-removed");
                continue;
            }

            (string from, string to) = (now.Plan.From, now.Plan.To);
            if (was?.FlippedSince.IsEmpty == false && now is { Stage: ProtectionStage.Armed, FlippedSince.IsEmpty: true })
                Events.Add(Now, "group", group, "false-alarm", $"{from} works again, and its traffic goes there");
            if (was is null or { FlippedSince.IsEmpty: true } && !now.FlippedSince.IsEmpty)
            {
                Events.Add(Now, "group", group, "flipped", $"{from} has failed by what its PE watches; {to} holds the traffic of "
                    + $"{string.Join(", ", now.FlippedSince.Keys)}");
            }

            if (was?.Stage == now.Stage) continue;
            Events.Add(Now, "group", group, now.Stage switch
            {
                ProtectionStage.ArmTarget or ProtectionStage.ArmSource => "arming",
                ProtectionStage.Armed => "armed",
                ProtectionStage.Disarm => "disarming",
                _ => "unprotected",
            }, now.Why ?? $"epoch {now.Epoch}, {from} to {to}");
        }
    }
}
