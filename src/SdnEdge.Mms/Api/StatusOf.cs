using SdnEdge.Core.Api;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Api;

/// <summary>The manager's state as the API shows it.</summary>
internal static class StatusOf
{
    /// <summary>A migration. It is never greener than its evidence: moved and as-before are what the machine ends with when all was
    /// inspected.</summary>
    /// <param name="migration">The migration.</param>
    /// <param name="waiting">What is open.</param>
    /// <param name="seen">Volumes as they were seen last, by server.</param>
    /// <param name="remedy">What can be done about what is open.</param>
    public static MigrationStatus Migration(
        MigrationState migration, IReadOnlyList<Waiting> waiting, IReadOnlyDictionary<string, IReadOnlyList<ServerVolumeInfo>> seen,
        Func<Waiting, string?> remedy)
    {
        MoveState current = migration.Current;
        string state = migration.Outcome is { } outcome ? Words.Of(outcome) : migration.GoingBack
            || migration.Running.Any(n => migration.MoveOf(n).Failure is not null) || migration.Moves.Any(m => m.IsUndone) ? "undoing"
            : current.Stage == MoveStage.Fence ? "suspected"
            : "running";
        return new MigrationStatus(
            migration.Id, migration.Request.Group, migration.Moves[0].Plan.From, migration.Request.To, Words.Of(migration.Request.Cutover),
                state,
            Words.Of(current.Stage), current.Epoch, migration.By, migration.At, migration.EndedAt, migration.Failure,
            [.. waiting.Select(w => new WaitingInfo(w.Command, Words.Of(w.Reason), w.Detail, w.SinceNs, remedy(w)))], migration.Committed,
            [.. migration.Moves.Select(m => Move(m, m.Outcome is null ? seen : null))], GiveUp.Unproved(migration));
    }

    /// <summary>A migration that ended a while ago, without its moves.</summary>
    public static MigrationStatus Migration(EndedMigration ended) => new(
        ended.Id, ended.Request.Group, ended.From, ended.Request.To, Words.Of(ended.Request.Cutover), Words.Of(ended.Outcome),
        Words.Of(ended.Stage), ended.Epoch, ended.By, ended.At, ended.EndedAt, ended.Failure, [], ended.Committed, [], ended.Unproved);

    /// <summary>What is on record of a volume.</summary>
    public static VolumeMarkInfo Volume(Guid id, VolumeMark mark)
        => new(id, mark.Name, mark.Epoch, mark.Generation, mark.StaleFrom, mark.Since, mark.By);

    /// <summary>A group: as the journal knows it.</summary>
    public static GroupInfo Group(GroupConfig group, ManagerState state)
    {
        GroupState known = state.GroupOf(group.Name);
        return new GroupInfo(
            group.Name, known.Epoch,
            [
                .. group.Servers.Select(s => known.Owners.TryGetValue(s.Name, out Ownership? owner)
                    ? new GroupServerInfo(s.Name, owner.Site, owner.Epoch, [.. s.At.Select(p => p.Site.Name)])
                    : new GroupServerInfo(s.Name, null, 0, [.. s.At.Select(p => p.Site.Name)])),
            ],
            state.RunningOf(group.Name)?.Id);
    }

    /// <summary>The protection of a group. It is armed only where nothing speaks against it.</summary>
    /// <param name="protection">The protection.</param>
    /// <param name="state">The fold of the journal.</param>
    /// <param name="seen">What its PEs say against it, or what is waited for.</param>
    /// <param name="backup">The source PE's word of a path.</param>
    /// <param name="advertised">The target PE's word of the backup path that it was told to advertise; null = there is none.</param>
    public static ProtectionInfo Protection(
        ProtectionState protection, ManagerState state, IReadOnlyList<string> seen, Func<string, BackupInfo?> backup,
        Func<string, Advertised?> advertised)
    {
        IEnumerable<string> stale = protection.Plan.Servers.SelectMany(s => s.Volumes ?? [])
            .Where(v => state.Volumes.GetValueOrDefault(v.Id) is { StaleFrom: not null })
            .Select(v => $"the copy of {v.Name} at {protection.Plan.To} is stale from sequence {state.Volumes[v.Id].StaleFrom} on: what "
                + "was acknowledged since is not there");
        string[] off = protection.Why is { } why ? [why]
            : protection is { Stage: ProtectionStage.Off, Migration: { } migration }
                ? [$"migration {migration} of it runs; it is protected again when that has ended"] : [];
        string[] flip = protection is { FlippedSince.IsEmpty: false, Request.Automatic: false }
            ? [$"{protection.Plan.From} has failed by what its PE watches; 'sdnedge failover start {protection.Request.Group} --to "
                + $"{protection.Plan.To}' has it come up there"] : [];
        string[] reasons = [.. off, .. flip, .. seen, .. stale];
        string word = protection.Stage switch
        {
            ProtectionStage.Off => "unprotected",
            ProtectionStage.Disarm => "disarming",
            ProtectionStage.ArmTarget or ProtectionStage.ArmSource => "arming",
            _ => !protection.FlippedSince.IsEmpty ? "flipped" : reasons.Length > 0 ? "unprotected" : "armed",
        };
        return new ProtectionInfo(
            protection.Request.Group, word, Words.Of(protection.Request.Policy), protection.Request.Automatic, protection.Plan.From,
            protection.Plan.To, protection.Epoch, reasons,
            [
                .. protection.Plan.Paths.Select(p => Path(protection, p, backup(p.Id), advertised(p.Id))),
            ],
            protection.Request.Watch, protection.By, protection.At, protection.Migration)
        {
            Witness = ProtectionMachine.LeaseOf(protection)?.Witness,
        };
    }

    private static ProtectionPathInfo Path(ProtectionState protection, PathMove path, BackupInfo? backup, Advertised? seen)
    {
        (uint? pref, string? why) = protection.Stage is ProtectionStage.Disarm or ProtectionStage.Off ? (null, null)
            : ProtectionMachine.BackupOf(protection, path);
        if (pref is not null && seen is not null && seen.LocalPref != pref)
        {
            (pref, why) = (seen.LocalPref,
                $"{path.Target.Pe} does not say that it advertises one with LOCAL_PREF {pref}; protect the group again");
        }

        return new ProtectionPathInfo(path.Id, path.Source.Pe, path.Target.Pe, protection.FlippedSince.ContainsKey(path.Id), backup)
        {
            BackupLocalPref = pref, NoBackup = why,
        };
    }

    private static MoveStatus Move(MoveState move, IReadOnlyDictionary<string, IReadOnlyList<ServerVolumeInfo>>? seen) => new(
        move.Plan.From, move.Plan.To, move.Epoch, Words.Of(move.Stage), move.Outcome is { } o ? Words.Of(o) : null, move.Failure,
        [.. move.Plan.Servers.Select(s => Server(move, s))], [.. move.Plan.Paths.Select(p => Path(move, p))],
        [.. move.Timeline.Select(t => new StageTime(Words.Of(t.Stage), t.StartNs, t.EndNs, t.Error))],
        [.. move.Signals.Select(s => new SignalTime(s.Pe, s.SentNs, s.AnsweredNs, s.Reply))],
        [.. move.Orders.Select(s => new OrderTime(s.Host, s.SentNs, s.AnsweredNs, s.Reply))],
        VolumesOf.Move(move, seen) is { Count: > 0 } volumes ? volumes : null, move.Plan.Services);

    private static ServerMoveStatus Server(MoveState move, ServerMove server)
    {
        long? At(params ReadOnlySpan<ServerOrder> orders)
        {
            foreach (OrderAnswer answer in move.Orders)
            {
                if (answer.Reply.Server == server.Name && orders.Contains(answer.Reply.Order)) return answer.Reply.TookEffectAtNs;
            }

            return null;
        }

        long? stopped = At(ServerOrder.Stop);
        return new ServerMoveStatus(server.Name, server.SourceHost, server.TargetHost, stopped, stopped is null ? null
            : At(ServerOrder.Activate, ServerOrder.Resume));
    }

    private static PathStatus Path(MoveState move, PathMove path)
    {
        PathEvidence seen = move.EvidenceOf(path.Id);
        return new PathStatus(
            path.Id, path.Vrf, path.Source.Pe, path.Target.Pe, path.Target.Loopback, [.. path.Target.Prefixes.Select(p => p.Prefix)],
                path.Ingress,
            path.LocalPref, path.Order is not null, seen.Source, seen.Target, seen.DirectAt
                ?? (IReadOnlyDictionary<string, long>)new Dictionary<string, long>(),
            [.. seen.ByMarker ?? []], move.Proofs.GetValueOrDefault(path.Id), path.Hold);
    }
}
