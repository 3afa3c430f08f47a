using System.Collections.Immutable;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Machines;

// Protections of groups. Each arming, and each disarming, has an epoch of its own: what a PE was told under an older one it refuses.
public static partial class ManagerMachine
{
    /// <summary>Null: the group can be protected now. Else why not, and what would be right.</summary>
    public static string? MayProtect(ManagerState state, string group)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(group);
        if (group.Length > ProtectionMachine.LongestName)
            return $"its name has {group.Length} characters, and those of its paths at the PEs begin with it; give it one of at most "
                + $"{ProtectionMachine.LongestName}";
        if (state.RunningOf(group) is { } running)
            return $"migration {running.Id} of it runs ({Words.Of(running.Current.Stage)}); wait for its end";
        if (state.Protections.GetValueOrDefault(group) is { } known)
            return known.Ends ? "its earlier protection is still being taken away; wait until its PEs have answered"
                : $"it is protected already, asked for by {known.By}; 'sdnedge group unprotect {group}' takes that away";
        return state.GroupOf(group).Epoch >= ManagerState.LastEpoch ? "its epochs are used up" : null;
    }

    /// <summary>Null: the group can come up at the site now, as far as the journal knows. Else why not, and what would be right.</summary>
    /// <param name="state">The fold of the journal.</param>
    /// <param name="group">The group.</param>
    /// <param name="to">The site.</param>
    public static string? MayFailOver(ManagerState state, string group, string to)
    {
        ArgumentNullException.ThrowIfNull(state);
        if (state.RunningOf(group) is { } running)
        {
            return running.Current.Plan.Failover is null
                ? $"migration {running.Id} of it runs ({Words.Of(running.Current.Stage)}); abort it, or wait for its end"
                : $"fail-over {running.Id} of it runs already ({Words.Of(running.Current.Stage)})";
        }

        if (!state.Protections.TryGetValue(group, out ProtectionState? known))
            return $"it is not protected, so no PE is prepared for it; 'sdnedge group protect {group} --to {to}' does that while its site "
                + "works";
        if (known.Plan.To != to) return $"it is protected at {known.Plan.To}, not at {to}";
        return known.Stage switch
        {
            ProtectionStage.Armed or ProtectionStage.ArmSource => state.GroupOf(group).Epoch >= ManagerState.LastEpoch
                ? "its epochs are used up" : null,
            ProtectionStage.ArmTarget => $"the PEs of {to} have not been prepared for it yet",
            ProtectionStage.Disarm => "its protection is being taken away",
            _ => $"nothing is armed for it: {known.Why ?? "its protection is off"}",
        };
    }

    /// <summary>How long a flip lasts before the manager begins the fail-over by itself, nanoseconds: one that is over sooner was a false
    /// alarm.</summary>
    public const long FlipLastsNs = 5_000_000_000;

    /// <summary>When the manager begins the fail-over of a group by itself (CLOCK_MONOTONIC, nanoseconds); long.MaxValue = it does not. A
    /// copy that is stale is never started from without an operator.</summary>
    public static long AutomaticAt(ManagerState state, string group)
    {
        ArgumentNullException.ThrowIfNull(state);
        return state.Protections.GetValueOrDefault(group) is { Stage: ProtectionStage.Armed, Request.Automatic: true } known
            && !known.FlippedSince.IsEmpty && VolumeMarks.Of(state, known.Plan).IsEmpty && MayFailOver(state, group, known.Plan.To) is null
            ? known.FlippedSince.Values.Min() + FlipLastsNs : long.MaxValue;
    }

    private static ManagerState FailOver(ManagerState state, FailoverRequested requested, long now, string at)
    {
        string group = requested.Group;
        if (requested.Id != IdOf(state.NextMigration) || MayFailOver(state, group, requested.To) is not null) return state;
        ProtectionState armed = state.Protections[group];
        SiteLease? lease = ProtectionMachine.LeaseOf(armed);
        MovePlan plan = armed.Plan with
        {
            Migration = requested.Id, Epoch = state.GroupOf(group).Epoch + 1,
            Failover = requested.Failover with { Fence = lease is null ? FenceKind.Kill : FenceKind.Lease, Lease = lease },
        };
        MoveState move = MoveMachine.StartFailover(plan, now) with { StaleVolumes = VolumeMarks.Of(state, plan) };
        var migration = new MigrationState
        {
            Id = requested.Id, By = requested.By, At = at, Moves = [move],
            Request = new MigrationRequest(group, requested.To, Cutover.Together, plan.Options),
        };
        state = With(With(state with { NextMigration = state.NextMigration + 1 }, migration), armed with
        {
            Stage = ProtectionStage.Off, Migration = requested.Id, FlippedSince = armed.FlippedSince.Clear(),
        });
        return Own(state, group, move);
    }

    private static ManagerState Protect(ManagerState state, ProtectionRequested requested, string at)
    {
        string group = requested.Request.Group;
        if (MayProtect(state, group) is not null || requested.Plan.Paths.Count == 0) return state;
        uint next = requested.Plan.Paths.Aggregate(state.NextKey, (key, path) => GreKeys.Behind(key, path.TunnelKey));
        var protection = new ProtectionState { Request = requested.Request, By = requested.By, At = at, Plan = requested.Plan };
        return Arm(state with { NextKey = next }, protection, requested.Plan);
    }

    private static ManagerState Unprotect(ManagerState state, UnprotectRequested unprotect)
    {
        if (!state.Protections.TryGetValue(unprotect.Group, out ProtectionState? known) || known.Ends) return state;
        return known.Stage switch
        {
            ProtectionStage.Off => state with { Protections = state.Protections.Remove(unprotect.Group) },
            ProtectionStage.Disarm => With(state, known with { Ends = true }),
            _ => Disarm(state, known with { Ends = true }),
        };
    }

    private static ManagerState Happened(ManagerState state, ProtectionHappened happened, long now, string at)
    {
        if (!state.Protections.TryGetValue(happened.Group, out ProtectionState? before) || before.Epoch != happened.Epoch) return state;

        // A PE takes one and the same prepare only: with another backup path it is armed under another epoch.
        if (happened.Input is SourceTells told && ProtectionMachine.TellsOther(before, told))
            return state.GroupOf(happened.Group).Epoch + 1 >= ManagerState.LastEpoch ? state : Disarm(state, before);
        ProtectionState after = ProtectionMachine.Step(before, happened.Input, now);
        if (ReferenceEquals(before, after)) return state;
        state = With(state, after);
        return before.Stage == ProtectionStage.Disarm && after.Stage == ProtectionStage.Off ? Disarmed(state, after, now, at) : state;
    }

    // All PEs have answered. Then it is gone, or the migration that has waited begins, or it is armed again: that one was called off.
    private static ManagerState Disarmed(ManagerState state, ProtectionState off, long now, string at)
    {
        string group = off.Request.Group;
        if (off.Ends) state = state with { Protections = state.Protections.Remove(group) };
        if (state.RunningOf(group) is not { } running) return off.Ends ? state : ArmWhereItIs(state, off);
        foreach (int number in running.Running)
        {
            MoveState move = state.Migrations[running.Id].MoveOf(number);
            state = Put(state, running.Id, number, move, MoveMachine.Disarmed(move, now));
        }

        return GoOn(state, running.Id, now, at);
    }

    private static bool IsDisarming(ManagerState state, string group)
        => state.Protections.GetValueOrDefault(group) is { Stage: ProtectionStage.Disarm };

    // A migration of the group begins when its PEs have nothing armed any more.
    private static ManagerState DisarmFor(ManagerState state, MigrationState migration)
    {
        if (!state.Protections.TryGetValue(migration.Request.Group, out ProtectionState? known)) return state;
        known = known with { Migration = migration.Id };
        return known.Stage is ProtectionStage.Disarm or ProtectionStage.Off ? With(state, known) : Disarm(state, known);
    }

    // What is still being disarmed is armed again when that has been answered.
    private static ManagerState ProtectAgain(ManagerState state, MigrationState migration, MigrationOutcome outcome)
    {
        if (!state.Protections.TryGetValue(migration.Request.Group, out ProtectionState? known)) return state;
        if (outcome is MigrationOutcome.Fenced or MigrationOutcome.GivenUp)
        {
            string why = $"migration {migration.Id} of it has ended as {Words.Of(outcome)}; when that is cleared up, take its protection "
                + "away and protect it again";
            return With(state, known with { Migration = null, Why = why, Stage = ProtectionStage.Off });
        }

        return known.Stage == ProtectionStage.Disarm ? With(state, known with { Migration = null }) : ArmWhereItIs(state, known);
    }

    // To where it came from, if it has moved.
    private static ManagerState ArmWhereItIs(ManagerState state, ProtectionState off)
    {
        GroupState group = state.GroupOf(off.Request.Group);
        string[] sites = [.. off.Plan.Names.Select(n => group.Owners.GetValueOrDefault(n)?.Site ?? off.Plan.From).Distinct()];
        string? why = sites is not [string site]
            ? $"its servers are at different sites ({string.Join(", ", sites)}); have all of them at one, then protect it again"
            : site != off.Plan.From && site != off.Plan.To
                ? $"it is at {site}, and was protected between {off.Plan.From} and {off.Plan.To}; take its protection away and protect it "
                    + "again"
            : ProtectionMachine.WatchOf(off.Request, site).Count == 0
                ? $"nothing is named to be watched at {site}, where it is now; protect it again, and name it"
            : group.Epoch >= ManagerState.LastEpoch ? "its epochs are used up" : null;
        if (why is not null) return With(state, off with { Stage = ProtectionStage.Off, Why = why, Migration = null });

        // Paths of their own, and keys: the PEs know those of before.
        MovePlan plan = sites[0] == off.Plan.From ? off.Plan : Reverse(off.Plan);
        IReadOnlySet<uint> used = state.KeysInUse();
        uint key = state.NextKey;
        var paths = new List<PathMove>();
        foreach (PathMove path in plan.Paths)
        {
            uint free = GreKeys.Free(key, used);
            key = GreKeys.After(free);
            paths.Add(path with { TunnelKey = free });
        }

        return Arm(state with { NextKey = key }, off, plan with { Paths = paths });
    }

    private static ManagerState Arm(ManagerState state, ProtectionState protection, MovePlan plan)
    {
        long epoch = state.GroupOf(protection.Request.Group).Epoch + 1;
        return With(Used(state, protection.Request.Group, epoch), ProtectionMachine.Arm(protection, plan, epoch));
    }

    private static ManagerState Disarm(ManagerState state, ProtectionState protection)
    {
        long epoch = state.GroupOf(protection.Request.Group).Epoch + 1;
        return With(Used(state, protection.Request.Group, epoch), ProtectionMachine.Disarm(protection, epoch));
    }

    private static ManagerState Used(ManagerState state, string group, long epoch)
        => state with { Groups = state.Groups.SetItem(group, Raise(state.GroupOf(group), epoch)) };

    private static ManagerState With(ManagerState state, ProtectionState protection)
        => state with { Protections = state.Protections.SetItem(protection.Request.Group, protection) };
}
