using System.Collections.Immutable;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Machines;

/// <summary>
/// The protection of a group: its source PEs are prepared as for a move, and watch whether their site works. When it fails they switch
/// into the tunnel by themselves, with no manager in the loop, and the target PEs hold.
/// <list type="number">
/// <item>The target is armed before the source: a source that switches must find somebody who holds.</item>
/// <item>It is disarmed by an abort with a higher epoch, the source first. Whatever of the older one comes late is refused (R1, R2).</item>
/// <item>What is to be done in a state is <see cref="Open"/>, as with moves: after a restart it is issued again.</item>
/// </list>
/// </summary>
public static class ProtectionMachine
{
    /// <summary>Longest name of a group that can be protected: its epochs have room behind it in the paths' ids.</summary>
    public const int LongestName = 30;

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
            Migration = null,
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
                return Signals(MoveStage.PrepareTarget);
            case ProtectionStage.ArmSource:
                IReadOnlyList<WatchedPart> watch = WatchOf(state.Request, state.Plan.From);
                return [.. Signals(MoveStage.PrepareSource).Select(s => s with { Request = s.Request with { Watch = watch } })];
            case ProtectionStage.Disarm:
                return Signals(MoveStage.AbortSource) is { Length: > 0 } sources ? sources : Signals(MoveStage.AbortTarget);
            default:
                return [];
        }
    }

    /// <summary>Takes an input. The same state comes back when it changes nothing.</summary>
    public static ProtectionState Step(ProtectionState state, ProtectionInput input, long now)
    {
        ArgumentNullException.ThrowIfNull(state);
        bool arms = state.Stage is ProtectionStage.ArmTarget or ProtectionStage.ArmSource or ProtectionStage.Armed;
        return input switch
        {
            PartDone done when Open(state).Any(s => s.Key == done.Key) => Advance(state with { Done = state.Done.Add(done.Key) }),
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

    // Under the same epoch: to those that have it this is a repetition.
    private static ProtectionState Again(ProtectionState state)
        => state is { Stage: ProtectionStage.ArmTarget, Done.IsEmpty: true } ? state : state with
        {
            Stage = ProtectionStage.ArmTarget, Done = [], FlippedSince = state.FlippedSince.Clear(),
        };

    private static ProtectionState Advance(ProtectionState state)
    {
        while (state.Stage is not (ProtectionStage.Armed or ProtectionStage.Off) && Open(state).Count == 0)
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
