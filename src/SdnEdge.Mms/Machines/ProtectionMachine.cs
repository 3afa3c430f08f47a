using System.Collections.Immutable;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Machines;

/// <summary>
/// The protection of a group: its source PEs are prepared as for a move, and watch whether their site works. When it fails they switch
/// into the tunnel by themselves, with no manager in the loop, and the target PEs hold.
/// <list type="number">
/// <item>The target is armed before the source: a source that switches must find somebody who holds.</item>
/// <item>Before a target is armed its source PE is asked what it advertises (<see cref="Asks"/>): of exactly these prefixes the target is
/// told to advertise a backup path, less preferred, by which ingress PEs leave a source PE that fails.</item>
/// <item>It is disarmed by an abort with a higher epoch, the source first. Whatever of the older one comes late is refused (R1, R2).</item>
/// <item>What is to be done in a state is <see cref="Open"/>, as with moves: after a restart it is issued again.</item>
/// </list>
/// </summary>
public static class ProtectionMachine
{
    /// <summary>Longest name of a group that can be protected: its epochs have room behind it in the paths' ids.</summary>
    public const int LongestName = 30;

    // Half of what a PE says unless told otherwise; where the source says less, half of that. It is to lose to every other route.
    private const uint HighestBackup = 50;

    /// <summary>The protection, to be armed.</summary>
    /// <param name="state">What was there before; its plan is not used.</param>
    /// <param name="plan">From where to where, with keys that are free.</param>
    /// <param name="epoch">An epoch that was never used for the group.</param>
    public static ProtectionState Arm(ProtectionState state, MovePlan plan, long epoch)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(plan);
        string id = $"protect-{state.Request.Group}-{epoch}";
        return state with
        {
            Plan = plan with
            {
                Migration = id, Epoch = epoch, Paths = [.. plan.Paths.Select((p, i) => p with { Id = $"{id}.{i + 1}" })],
                Options = plan.Options with { Window = null },
            },
            Epoch = epoch, Stage = ProtectionStage.ArmTarget, Done = [], FlippedSince = state.FlippedSince.Clear(), Why = null,
            Migration = null, Told = state.Told.Clear(), LeasesDone = [],
        };
    }

    /// <summary>The protection, to be disarmed.</summary>
    public static ProtectionState Disarm(ProtectionState state, long epoch)
    {
        ArgumentNullException.ThrowIfNull(state);
        return state with { Epoch = epoch, Stage = ProtectionStage.Disarm, Done = [], FlippedSince = state.FlippedSince.Clear() };
    }

    /// <summary>What is watched at the site where the group is.</summary>
    public static IReadOnlyList<WatchedPart> WatchOf(ProtectionRequest request, string site)
    {
        ArgumentNullException.ThrowIfNull(request);
        return [.. request.Watch.Where(w => w.Site == site).Select(w => w.Part)];
    }

    /// <summary>The paths whose source PE is to be asked what it advertises, before any of <see cref="Open"/> is sent.</summary>
    public static IReadOnlyList<PathMove> Asks(ProtectionState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        return state is { Stage: ProtectionStage.ArmTarget, Done.IsEmpty: true }
            ? [.. state.Plan.Paths.Where(p => !state.Told.ContainsKey(p.Id))] : [];
    }

    /// <summary>True when an armed path would have another backup path by what its source PE advertises now. Of a source PE that has
    /// switched nothing follows.</summary>
    public static bool TellsOther(ProtectionState state, SourceTells told)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(told);
        if (state is not { Stage: ProtectionStage.Armed, FlippedSince.IsEmpty: true } || !Has(state, told.Path)) return false;
        return !state.Told.TryGetValue(told.Path, out SourceTells? known) || PrefBelow(known.LocalPref) != PrefBelow(told.LocalPref)
            || !(known.NotTold ?? []).SequenceEqual(told.NotTold ?? []);
    }

    /// <summary>The backup path that the target of a path advertises: its LOCAL_PREF, or why there is none. Both where some of the prefixes
    /// have none.</summary>
    public static (uint? LocalPref, string? Why) BackupOf(ProtectionState state, PathMove path)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(path);
        string pe = path.Source.Pe, again = "have it do so";
        if (!state.Told.TryGetValue(path.Id, out SourceTells? told))
        {
            return (null, state.Stage == ProtectionStage.ArmTarget && state.Done.IsEmpty ? $"{pe} has not said yet what it advertises"
                : $"{pe} was not asked what it advertises, by an earlier version of the manager");
        }

        if (told.LocalPref is not { } theirs)
        {
            string prefixes = Some([.. path.Source.Prefixes.Select(p => p.Prefix)]);
            return (null, $"{pe} does not advertise {prefixes} to all its iBGP peers; {again}");
        }

        return PrefBelow(theirs) is not { } pref
            ? (null, $"{pe} advertises with LOCAL_PREF {theirs}, and there is none below; {again} with a higher one")
            : (pref, told.NotTold is not { Count: > 0 } not ? null
                : $"none for {Some(not)}: {pe} does not advertise that to all its iBGP peers; {again}");
    }

    /// <summary>The signals that are open, in the order in which they are to be sent.</summary>
    public static IReadOnlyList<SendSignal> Open(ProtectionState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        MoveState move = MoveMachine.Start(state.Plan) with { Epoch = state.Epoch, SourcesAsked = true };
        SendSignal[] Signals(MoveStage stage)
            => [.. StageTable.Of(stage).Commands(move).OfType<SendSignal>().Where(s => !state.Done.Contains(s.Key))];
        switch (state.Stage)
        {
            case ProtectionStage.ArmTarget:
                return [.. Signals(MoveStage.PrepareTarget).Select(s => WithBackup(state, s))];
            case ProtectionStage.ArmSource:
                IReadOnlyList<WatchedPart> watch = WatchOf(state.Request, state.Plan.From);
                return [.. Signals(MoveStage.PrepareSource).Select(s => s with { Request = s.Request with { Watch = watch } })];
            case ProtectionStage.Disarm:
                return Signals(MoveStage.AbortSource) is { Length: > 0 } sources ? sources : Signals(MoveStage.AbortTarget);
            default:
                return [];
        }
    }

    /// <summary>The commands about leases that are open, in their order: the witness grants them, then each server is bound to them. To
    /// disarm, each is freed when the PEs have answered, and only then is the witness told: no server loses its lease meanwhile.</summary>
    public static IReadOnlyList<LeaseCommand> OpenLeases(ProtectionState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        if (state.Lease is not { } lease) return [];
        LeaseCommand[] Servers(bool bound) => [.. state.Plan.Servers.Select(s => new BindLease(s.SourceHost, s.Name, lease, bound))];
        LeaseCommand[] Of(LeaseCommand[] first, LeaseCommand[] then)
            => first.Where(c => !state.LeasesDone.Contains(c.Key)).ToArray() is { Length: > 0 } open ? open
                : [.. then.Where(c => !state.LeasesDone.Contains(c.Key))];
        return state.Stage switch
        {
            ProtectionStage.Off => [],
            ProtectionStage.Disarm => Open(state).Count > 0 ? [] : Of(Servers(bound: false), [new RevokeLease(lease)]),
            _ => Of([new OpenLease(lease)], Servers(bound: true)),
        };
    }

    /// <summary>The leases to which all servers of the group are bound where they are; null: there are none, or not all are
    /// bound.</summary>
    public static SiteLease? LeaseOf(ProtectionState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        return state is { Lease: { } lease, Stage: ProtectionStage.ArmTarget or ProtectionStage.ArmSource or ProtectionStage.Armed }
            && OpenLeases(state).Count == 0 ? lease : null;
    }

    /// <summary>Takes an input. The same state comes back when it changes nothing.</summary>
    public static ProtectionState Step(ProtectionState state, ProtectionInput input, long now)
    {
        ArgumentNullException.ThrowIfNull(state);
        bool arms = state.Stage is ProtectionStage.ArmTarget or ProtectionStage.ArmSource or ProtectionStage.Armed;
        return input switch
        {
            PartDone done when Open(state).Any(s => s.Key == done.Key) => Advance(state with { Done = state.Done.Add(done.Key) }),
            PartDone done when OpenLeases(state).Any(c => c.Key == done.Key)
                => Advance(state with { LeasesDone = state.LeasesDone.Add(done.Key) }),
            SourceTells told when Asks(state).Any(p => p.Id == told.Path) => state with { Told = state.Told.Add(told.Path, told) },
            PartLost lost when arms && Has(state, lost.Path) => Again(state),
            FlipSeen { Flipped: true } flip when state.Stage == ProtectionStage.Armed && Has(state, flip.Path)
                && !state.FlippedSince.ContainsKey(flip.Path)
                => state with { FlippedSince = state.FlippedSince.Add(flip.Path, now) },
            FlipSeen { Flipped: false } flip when state.FlippedSince.ContainsKey(flip.Path)
                => state with { FlippedSince = state.FlippedSince.Remove(flip.Path) },
            ProtectionFenced fenced when arms => state with
            {
                Stage = ProtectionStage.Off, Why = $"another manager is in charge of {state.Request.Group}: {fenced.Why}",
                FlippedSince = state.FlippedSince.Clear(),
            },
            ProtectionTakenUp when arms => Again(state),
            ProtectionTakenUp when state.Stage == ProtectionStage.Disarm && !state.Done.IsEmpty => state with { Done = [] },
            _ => state,
        };
    }

    private static bool Has(ProtectionState state, string path) => state.Plan.Paths.Any(p => p.Id == path);

    private static SendSignal WithBackup(ProtectionState state, SendSignal prepare)
    {
        if (BackupOf(state, state.Plan.Paths.Single(p => p.Id == prepare.Path)).LocalPref is not { } pref) return prepare;
        return prepare with
        {
            Request = prepare.Request with { BackupLocalPref = pref, BackupExcept = state.Told[prepare.Path].NotTold },
        };
    }

    private static uint? PrefBelow(uint? theirs) => theirs is >= 2 and { } pref ? Math.Min(pref / 2, HighestBackup) : null;

    private static string Some(IReadOnlyList<string> prefixes)
        => prefixes.Count == 1 ? $"exactly {prefixes[0]}" : $"exactly {prefixes[0]} and {prefixes.Count - 1} more";

    // Under the same epoch: to those that have it this is a repetition.
    private static ProtectionState Again(ProtectionState state)
        => state is { Stage: ProtectionStage.ArmTarget, Done.IsEmpty: true } ? state : state with
        {
            Stage = ProtectionStage.ArmTarget, Done = [], FlippedSince = state.FlippedSince.Clear(),
        };

    private static ProtectionState Advance(ProtectionState state)
    {
        while (state.Stage is not (ProtectionStage.Armed or ProtectionStage.Off) && Open(state).Count == 0
            && (state.Stage != ProtectionStage.Disarm || OpenLeases(state).Count == 0))
        {
            state = state with
            {
                Stage = state.Stage switch
                {
                    ProtectionStage.ArmTarget => ProtectionStage.ArmSource,
                    ProtectionStage.ArmSource => ProtectionStage.Armed,
                    _ => ProtectionStage.Off,
                },
            };
        }

        return state;
    }
}
