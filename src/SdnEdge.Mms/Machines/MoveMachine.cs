using System.Collections.Immutable;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Machines;

/// <summary>
/// One atomic move, as the manager decides it: state and input in, state out; no clock, no sockets. What is to be done in a state is
/// <see cref="Open"/>: after a crash the state is the fold of the journal, and what is open in it is issued again.
/// <list type="number">
/// <item>A stage ends when all its commands are done (<see cref="StageTable"/>); the next one begins in the same step.</item>
/// <item>Before the pivot a refusal, a deadline or an operator's abort undoes the move: the source is granted the next epoch (R2) and
/// everybody who may have been asked is told so (R3).</item>
/// <item>The step that ends <see cref="MoveStage.Stop"/> is the pivot: its record grants the target its epoch.</item>
/// <item>After the pivot the move goes forward, however long that takes. While no target is known to run, it can be asked to void the epoch
/// (R5): if all say that they never ran it, the source is granted the next one and the move is undone.</item>
/// <item>It ends when all parties have been inspected and nothing is left over; or when an operator has given up those that do not answer
/// (<see cref="GiveUp"/>).</item>
/// </list>
/// Invariants: <see cref="MoveState.Epoch"/> never goes down; the target is told to activate only while <see cref="MoveState.TargetOwns"/>;
/// the source is told to resume only while not.
/// </summary>
public static class MoveMachine
{
    private const string StaleEpoch = "/problems/stale-epoch";

    /// <summary>A move that has not begun.</summary>
    public static MoveState Start(MovePlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        return new MoveState { Plan = plan, Epoch = plan.Epoch };
    }

    /// <summary>
    /// A move that is settled (<see cref="MovePlan.Settle"/>): how far it had got is not known, so everybody may have been asked anything
    /// (R3).
    /// </summary>
    /// <param name="plan">The move, as PEs and hosts tell it.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    public static MoveState StartSettling(MovePlan plan, long now)
    {
        ArgumentNullException.ThrowIfNull(plan);
        if (plan.Settle is null) throw new ArgumentException("the plan has nothing to settle", nameof(plan));
        return Start(plan) with { Stage = MoveStage.Settle, StageSinceNs = now, SourcesAsked = true, SwitchAsked = true };
    }

    /// <summary>
    /// A fail-over (<see cref="MovePlan.Failover"/>): its paths are armed, and the source PE may have switched, so everybody may have been
    /// asked anything (R3). It begins with the fence.
    /// </summary>
    /// <param name="plan">The move, with the paths as they are armed.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    public static MoveState StartFailover(MovePlan plan, long now)
    {
        ArgumentNullException.ThrowIfNull(plan);
        if (plan.Failover is null) throw new ArgumentException("the plan is no fail-over", nameof(plan));
        return Start(plan) with { Stage = MoveStage.Fence, StageSinceNs = now, SourcesAsked = true, SwitchAsked = true };
    }

    /// <summary>Takes an input. The same state comes back when it changes nothing: such an input is not journalled.</summary>
    public static MoveState Step(MoveState state, MoveInput input, long now)
    {
        ArgumentNullException.ThrowIfNull(state);
        if (state.Outcome is not null) return state;
        return input switch
        {
            Begin when state.Stage == MoveStage.Planned => state.AwaitsDisarm ? state : Advance(state, now),
            AbortRequested abort when state is { Stage: MoveStage.Planned, AwaitsDisarm: true }
                => End(state with { Failure = abort.Why.Length > 0 ? abort.Why : "aborted", AbortedBy = abort.By }, MoveOutcome.AsBefore,
                    now),
            TakenUp { Undo: { } why } when StageTable.Of(state.Stage).BeforePivot
                => Undo(state with { StopUnconfirmed = !AllStopped(state) }, why, null, now),
            TakenUp => state with { StageSinceNs = now },
            GiveUpRequested given when state.Stage == MoveStage.Planned && GiveUp.MayGiveUp(state, given.Parties) is null
                => End(GiveUp.Take(state, given), MoveOutcome.GivenUp, now),
            _ when state.Stage == MoveStage.Planned => state,
            WindowReached reached => Reach(state, reached.At, now),
            SignalDone done when Opens(state, done.Key) is SendSignal command => Complete(
                LastWord(state, command, done.Reply, now) with
                {
                    Signals = state.Signals.Add(new SignalAnswer(command.Pe, done.SentNs, now, done.Reply)),
                }, done.Key, now),
            OrderDone done when Opens(state, done.Key) is SendOrder command => WhyNoAnswer(command, done.Reply) is null
                ? Ordered(Noted(state, command, done, now), command, done, now) : state,
            OrderDone late when state.Stage == MoveStage.Void => RanAfterAll(state, late, now),
            Seen seen when Opens(state, seen.Key) is { } command => Complete(Take(state, command, seen), seen.Key, now),
            Refused refused when Opens(state, refused.Key) is { } command => Refuse(state, command, refused, now),
            StageExpired expired when expired.Stage == state.Stage && StageTable.Of(state.Stage).BeforePivot
                => Undo(state with { StopUnconfirmed = !AllStopped(state) }, WhyExpired(state, expired), null, now),
            GiveUpRequested given when GiveUp.MayGiveUp(state, given.Parties) is null => TakeGiveUp(state, given, now),
            AbortRequested abort when MayAbort(state) is null => Abort(state, abort, now),
            _ => state,
        };
    }

    /// <summary>The commands that are open, in the order in which they are to be issued.</summary>
    public static IReadOnlyList<MoveCommand> Open(MoveState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        if (state.Outcome is not null) return [];
        StageRow row = StageTable.Of(state.Stage);
        IEnumerable<MoveCommand> all = row.Commands(state);
        if (row.Meanwhile is { } meanwhile) all = all.Concat(meanwhile(state));
        return [.. all.Where(c => !state.Done.Contains(c.Key) && !GiveUp.Skips(state, c)).DistinctBy(c => c.Key)];
    }

    /// <summary>
    /// The resource that a command is for: a path at a PE, a server at a host, a watch. Commands of one resource are issued one after the
    /// other: the next one begins when the one before was answered or given up. A signal that waits at the PE, for the one before it or for
    /// flush markers, has a queue of its own.
    /// </summary>
    public static string ResourceOf(MoveCommand command)
    {
        ArgumentNullException.ThrowIfNull(command);
        return command switch
        {
            SendSignal { Request.AfterMarkers: true } s => s.Key + " after-markers",
            SendSignal { Request.WaitMs: > 0 } s => s.Key,
            SendSignal s => $"pe {s.Pe} {s.Path}",
            SendOrder o => $"host {o.Host} {o.Server}",
            _ => command.Key,
        };
    }

    /// <summary>
    /// True: the command takes back what may have been asked of its resource before, and is issued without waiting for the answer to that.
    /// The party carries out one thing at a time, and refuses what comes late: it is of an older epoch (R1, R2).
    /// </summary>
    public static bool IsUndo(MoveCommand command) => command is SendSignal { Signal: SignalKind.Abort }
        or SendOrder { Order: ServerOrder.Resume or ServerOrder.Cancel };

    /// <summary>True when the source PE of a path sends nothing into the tunnel any more: it has answered its teardown or its abort, or was
    /// given up.</summary>
    public static bool SourceIsGone(MoveState state, string path)
    {
        ArgumentNullException.ThrowIfNull(state);
        return state.Stage == MoveStage.EmptyTunnel || StageTable.Of(MoveStage.TeardownSource).Commands(state).OfType<SendSignal>()
            .Where(s => s.Path == path).All(s => state.Done.Contains(s.Key) || GiveUp.Skips(state, s));
    }

    /// <summary>When <see cref="StageExpired"/> is due (CLOCK_MONOTONIC, nanoseconds); long.MaxValue = never.</summary>
    public static long Deadline(MoveState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        return state.Outcome is null && StageTable.Of(state.Stage).DeadlineMs is { } bound
            ? state.StageSinceNs + (bound(state.Plan.Options) * 1_000_000L) : long.MaxValue;
    }

    /// <summary>Null: the move can be aborted now. Else why not, and what would be right.</summary>
    public static string? MayAbort(MoveState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        if (state.Outcome is { } outcome) return $"it has ended ({Words.Of(outcome)}); a move the other way brings the servers back";
        if (state.Stage == MoveStage.Settle) return null;
        if (state.Failure is not null) return $"it is being undone already: {state.Failure}";
        if (StageTable.Of(state.Stage).BeforePivot) return null;
        if (state.Stage == MoveStage.Planned) return state.AwaitsDisarm ? null : "it has not begun";
        if (state.Stage is not (MoveStage.HandOver or MoveStage.Activate))
            return "it cannot be undone any more, the servers run at the target; a move the other way brings them back";
        if (state.Running.Count > 0)
        {
            return $"it cannot be undone any more, {string.Join(", ", state.Running)} runs at the target; a move the other way brings it "
                + "back";
        }

        if (state.Verdicts.Where(v => v.Value == EpochVerdict.Ran).Select(v => v.Key).ToArray() is { Length: > 0 } promised)
        {
            return $"the target has said for ever that it runs {string.Join(", ", promised)}; when it does, a move the other way brings it "
                + "back";
        }

        return state.Plan.Failover is null
            && state.Plan.Servers.Where(s => !s.Undoable).Select(s => s.Name).ToArray() is { Length: > 0 } handed
            ? $"the hand-over of {string.Join(", ", handed)} cannot be undone; wait until it runs, then move it back" : null;
    }

    /// <summary>
    /// Null: the answer says that the order's effect is there. Else what it says instead; such an answer is none, and the order is given
    /// again.
    /// </summary>
    public static string? WhyNoAnswer(SendOrder command, ServerReply reply)
    {
        ArgumentNullException.ThrowIfNull(command);
        ArgumentNullException.ThrowIfNull(reply);
        string instead = $"{command.Host} answers {Words.Of(command.Order)}, and {command.Server} is {Words.Of(reply.State)} there";
        return command.Order switch
        {
            // The pivot rests on this: a guest that was not seen to stand still may write behind it.
            ServerOrder.Stop when reply.State is ServerState.Running or ServerState.Unknown => instead,
            ServerOrder.Activate or ServerOrder.Resume when reply.State != ServerState.Running => instead,
            // The pivot of a fail-over rests on this.
            ServerOrder.Fence when reply is not { State: ServerState.Absent, Verdict: EpochVerdict.Void } => instead,
            ServerOrder.Void when reply.Verdict is null => $"{command.Host} answers void without a verdict",
            _ => null,
        };
    }

    /// <summary>Undoes a move because one beside it was undone: the group goes as a whole. The same state comes back from the pivot on: it
    /// then goes to its end, and back from there.</summary>
    /// <param name="state">The move.</param>
    /// <param name="why">Why the other one was undone.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    public static MoveState GiveWay(MoveState state, string why, long now)
    {
        ArgumentNullException.ThrowIfNull(state);
        return state is { Outcome: null, Failure: null } && StageTable.Of(state.Stage).BeforePivot ? Undo(state, why, null, now) : state;
    }

    /// <summary>Ends a move where it is: another manager is in charge of the group. Nobody is told anything.</summary>
    /// <param name="state">The move; one that has ended stays as it is.</param>
    /// <param name="why">How that is known.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    public static MoveState Fence(MoveState state, string why, long now)
    {
        ArgumentNullException.ThrowIfNull(state);
        return state.Outcome is not null ? state : End(state with { Failure = state.Failure ?? why }, MoveOutcome.Fenced, now, why);
    }

    /// <summary>The group's protection is disarmed: a move that has waited for that begins.</summary>
    public static MoveState Disarmed(MoveState state, long now)
    {
        ArgumentNullException.ThrowIfNull(state);
        return state.AwaitsDisarm ? Step(state with { AwaitsDisarm = false }, new Begin(), now) : state;
    }

    private static MoveCommand? Opens(MoveState state, string key) => Open(state).FirstOrDefault(c => c.Key == key);

    private static MoveState Complete(MoveState state, string key, long now) => Advance(state with { Done = state.Done.Add(key) }, now);

    // Enters stages until one has something to wait for.
    private static MoveState Advance(MoveState state, long now)
    {
        while (state.Outcome is null)
        {
            StageRow row = StageTable.Of(state.Stage);
            if (row.Commands(state).Any(c => !state.Done.Contains(c.Key) && !GiveUp.Skips(state, c))) return state;
            state = state.Stage switch
            {
                MoveStage.Void => Judge(state, now),
                MoveStage.Settle => JudgeSettlement(state, now),
                MoveStage.Inspect or MoveStage.InspectUndo when !state.GivenUp.IsEmpty => End(state, MoveOutcome.GivenUp, now),
                MoveStage.Inspect => End(state, MoveOutcome.Moved, now),
                MoveStage.InspectUndo => End(state, MoveOutcome.AsBefore, now),
                MoveStage.Planned when state.Plan.Options.Window is not null => EnterOnly(state, MoveStage.AwaitWindow, now),

                // R2: the source goes on with what it alone has.
                MoveStage.Stop when !state.StaleVolumes.IsEmpty => Undo(state, WhyStale(state), null, now),
                MoveStage.Fence when state.StaleVolumes.Keys.Any(v => !state.Accepts(v)) => Undo(state, WhyStale(state), null, now),
                MoveStage.Fence => EnterOnly(state with { TargetOwns = true }, row.Next, now),
                _ => EnterOnly(state, row.Next, now),
            };
        }

        return state;
    }

    // The times of a window: to prepare, to switch, and to have done so.
    private static MoveState Reach(MoveState state, DateTimeOffset at, long now)
    {
        if (state is not { Failure: null, Stage: <= MoveStage.Mirror, Plan.Options.Window: { } window }) return state;
        if (at >= window.To)
        {
            string open = string.Join(", ", StageTable.Of(state.Stage).Commands(state).Where(c => !state.Done.Contains(c.Key))
                .Select(c => c.Key));
            return Undo(state, $"its window was over at {window.To:u}, before the switch: {open} was still open", null, now);
        }

        if (at >= window.From && !state.WindowIsOpen)
            state = state with
            {
                WindowIsOpen = true, Done = state.Done.Add(new WaitForWindow("near").Key).Add(new WaitForWindow("open").Key),
            };
        else if (at >= window.Near && state.Stage == MoveStage.AwaitWindow)
            state = state with { Done = state.Done.Add(new WaitForWindow("near").Key) };
        else
            return state;
        return Advance(state, now);
    }

    private static string WhyStale(MoveState state)
    {
        IEnumerable<string> stale = state.Plan.Servers.SelectMany(s => s.Volumes ?? []).Where(v => state.StaleVolumes.ContainsKey(v.Id))
            .Select(v => $"the copy of {v.Name} at {state.Plan.To} is stale from sequence {state.StaleVolumes[v.Id]} on");
        return $"{string.Join("; ", stale)}, on record: it would be lost";
    }

    /// <summary>When <see cref="WindowReached"/> is due next, wall clock; null = never.</summary>
    public static DateTimeOffset? WindowDue(MoveState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        return state is not
        {
            Outcome: null, Failure: null, Stage: > MoveStage.Planned and <= MoveStage.Mirror, Plan.Options.Window: { } window,
        } ? null : state.WindowIsOpen ? window.To : state.Stage == MoveStage.AwaitWindow ? window.Near : window.From;
    }

    private static MoveState EnterOnly(MoveState state, MoveStage stage, long now, string? error = null)
    {
        state = EndStage(state, now, error) with { Stage = stage, StageSinceNs = now };
        return stage switch
        {
            MoveStage.PrepareTarget => state with { SourcesAsked = state.Plan.Ahead },
            MoveStage.PrepareSource => state with { SourcesAsked = true },
            MoveStage.Switch => state with { SwitchAsked = true },
            MoveStage.HandOver => state with { TargetOwns = true },
            _ => state,
        };
    }

    private static MoveState EndStage(MoveState state, long now, string? error) => state.Stage == MoveStage.Planned ? state
        : state with { Timeline = state.Timeline.Add(new StageRecord(state.Stage, state.StageSinceNs, now, error)) };

    // A server that was not seen to stand still may run: what comes for it is worth more there than in a hold that is full.
    private static bool AllStopped(MoveState state) => state.Stage is not (MoveStage.Stop or MoveStage.Fence)
        || StageTable.Of(state.Stage).Commands(state).OfType<SendOrder>().All(o => state.Done.Contains(o.Key));

    private static string WhyExpired(MoveState state, StageExpired expired)
    {
        string hold = state.Stage == MoveStage.Stop && state.Plan.Options.StopByHold
            ? $" ({Words.Of(WaitReason.HoldTooSmall)}: it takes what comes for {state.Plan.Options.StopMs} ms)" : "";
        return $"{Words.Of(state.Stage)} did not end in time{hold}: {expired.Detail}";
    }

    private static MoveState Ordered(MoveState state, SendOrder command, OrderDone done, long now) => command.Order switch
    {
        ServerOrder.Activate => Complete(state with { Running = state.Running.Add(command.Server) }, done.Key, now),
        ServerOrder.Void when state.Stage != MoveStage.Settle => Complete(
            state with { Verdicts = state.Verdicts.SetItem(command.Server, done.Reply.Verdict!.Value) }, done.Key, now),
        _ => Complete(state, done.Key, now),
    };

    private static MoveState Noted(MoveState state, SendOrder command, OrderDone done, long now)
        => state with { Orders = state.Orders.Add(new OrderAnswer(command.Host, done.SentNs, now, done.Reply)) };

    // The answer to activate came while the target was being asked to void: it runs. It counts if it answers what was asked, at this epoch.
    private static MoveState RanAfterAll(MoveState state, OrderDone done, long now)
    {
        SendOrder? command = StageTable.Of(MoveStage.Activate).Commands(state).OfType<SendOrder>().FirstOrDefault(c => c.Key == done.Key);
        if (command is null || state.Done.Contains(command.Key) || WhyNoAnswer(command, done.Reply) is not null) return state;
        return Complete(Noted(state, command, done, now) with
        {
            Running = state.Running.Add(command.Server),
            Verdicts = state.Verdicts.SetItem(command.Server, EpochVerdict.Ran),
        }, command.Key, now);
    }

    private static MoveState Take(MoveState state, MoveCommand command, Seen seen)
    {
        if (command is not WatchPath watch || seen.Evidence is not { } evidence) return state;
        PathEvidence before = state.EvidenceOf(watch.Path);
        PathEvidence after = before with
        {
            // Who waited for the last packet began before the source's last word.
            Source = watch.Kind == PathWatch.LastPacket ? before.Source ?? evidence.Source : evidence.Source ?? before.Source,
            Target = evidence.Target ?? before.Target,
            DirectAt = before.DirectAt is { } at ? (evidence.DirectAt ?? at).SetItems(at) : evidence.DirectAt,
            ByMarker = before.ByMarker is { } by ? by.Union(evidence.ByMarker ?? []) : evidence.ByMarker,
            Passed = before.Passed || evidence.Passed,
            OthersSeen = before.OthersSeen || evidence.OthersSeen,
            Quiet = before.Quiet || evidence.Quiet,
            Settled = before.Settled,
            Late = evidence.Late,
        };
        state = state with { Evidence = state.Evidence.SetItem(watch.Path, after) };
        return watch.Kind == PathWatch.LastPacket && state.Failure is null
            ? state with { Proofs = state.Proofs.SetItem(watch.Path, PathProofs.Of(PathOf(state, watch.Path), after)) } : state;
    }

    // A PE's last word on a path. What went through the source's group is known when it is gone; and a target that was to wait for the
    // flush markers says that they have come.
    private static MoveState LastWord(MoveState state, SendSignal command, SignalReply reply, long now)
    {
        if (command.Signal != SignalKind.Teardown) return state;
        PathMove path = PathOf(state, command.Path);
        PathEvidence known = state.EvidenceOf(path.Id);
        if (command.Pe == path.Source.Pe)
        {
            return known.Source is { } source && reply.Group is { } group
                ? state with { Evidence = state.Evidence.SetItem(path.Id, known with { Source = source with { Group = group } }) } : state;
        }

        if (!command.Request.AfterMarkers || reply.Order is not { Proved: true } order) return state;
        known = PathProofs.WithMarkers(path, known, order, now) with
        {
            Target = known.Target is { } target ? target with { Order = order } : null, Passed = true, Settled = true,
        };
        return state with
        {
            Evidence = state.Evidence.SetItem(path.Id, known), Proofs = state.Proofs.SetItem(path.Id, PathProofs.Of(path, known)),
        };
    }

    private static PathMove PathOf(MoveState state, string path) => state.Plan.Paths.First(p => p.Id == path);

    private static MoveState Refuse(MoveState state, MoveCommand command, Refused refused, long now)
    {
        string what = command is WatchServer copy ? $"{copy.Server} cannot be moved: {refused.Detail}"
            : $"{Party(command)} refuses {command.Key}: {refused.Detail}";
        if (refused.Problem == StaleEpoch) return End(state with { Failure = state.Failure ?? what }, MoveOutcome.Fenced, now, what);
        if (StageTable.Of(state.Stage).BeforePivot) return Undo(state, what, null, now);
        if (state.Stage == MoveStage.Settle)
            return End(state with { Failure = $"nothing was settled: {what}" }, MoveOutcome.Fenced, now, what);

        // A target that cannot start what it was granted: it says for ever that it will not, and the servers go back (R5).
        return command is SendOrder { Order: ServerOrder.Activate } && MayAbort(state) is null ? AskToVoid(state, what, null, now) : state;
    }

    private static string Party(MoveCommand command) => command switch
    {
        SendSignal signal => signal.Pe,
        SendOrder order => order.Host,
        _ => "a watch",
    };

    private static MoveState Abort(MoveState state, AbortRequested abort, long now)
    {
        string why = abort.Why.Length > 0 ? abort.Why : "aborted";
        if (state.Stage == MoveStage.Settle)
        {
            return End(state with { Failure = $"nothing was settled: {why}", AbortedBy = abort.By }, MoveOutcome.Fenced, now, why);
        }

        // A fence that was not answered: whoever cut the source off has its host not answering, too.
        if (state.Stage == MoveStage.Fence) return Undo(state with { StopUnconfirmed = !AllStopped(state) }, why, abort.By, now);
        return StageTable.Of(state.Stage).BeforePivot ? Undo(state, why, abort.By, now) : AskToVoid(state, why, abort.By, now);
    }

    // Before the pivot the move is undone, without the word of those who were given up.
    private static MoveState TakeGiveUp(MoveState state, GiveUpRequested given, long now)
    {
        MoveState after = GiveUp.Take(state, given);
        return StageTable.Of(state.Stage).BeforePivot ? Undo(after, after.GivenUpWhy!, given.By, now) : Advance(after, now);
    }

    // R5. Nothing is decided yet: what the targets answer decides.
    private static MoveState AskToVoid(MoveState state, string why, string? by, long now)
        => Advance(EnterOnly(state with { Failure = why, AbortedBy = by }, MoveStage.Void, now, why), now);

    private static MoveState Judge(MoveState state, long now)
    {
        // What was not said to be void may have run.
        bool allVoid = state.Plan.Servers.All(
            s => !state.Running.Contains(s.Name) && state.Verdicts.TryGetValue(s.Name, out EpochVerdict v) && v == EpochVerdict.Void);
        if (allVoid)
        {
            // The second pivot: no target ran the epoch or ever will; the source owns the next one.
            return EnterOnly(state with { Epoch = state.Epoch + 1, TargetOwns = false }, MoveStage.ResumeSource, now);
        }

        // One runs at the target already, or may at any time, so all go there. What was voided there needs a new grant. That one ran is
        // true for ever and stays known: nobody is asked again.
        string[] voided = [.. state.Verdicts.Where(v => v.Value == EpochVerdict.Void).Select(v => v.Key)];
        return EnterOnly(
            state with
            {
                Epoch = voided.Length > 0 ? state.Epoch + 1 : state.Epoch, Failure = null, AbortedBy = null,
                Verdicts = state.Verdicts.RemoveRange(voided),
            },
            MoveStage.Activate, now);
    }

    // R5. No host but those at the site that was named ran it, and what may still be on its way to them is void: that site owns the next
    // epoch. The plan's own was never granted to anybody (R2).
    private static MoveState JudgeSettlement(MoveState state, long now)
    {
        Settlement settle = state.Plan.Settle!;
        string? elsewhere = state.Orders
            .Where(o => o.Reply.Verdict == EpochVerdict.Ran && state.Plan.Servers.Any(s => s.Name == o.Reply.Server
                && o.Host != (settle.AtTarget ? s.TargetHost : s.SourceHost)))
            .Select(o => $"{o.Host} answers that it ran {o.Reply.Server}").FirstOrDefault();
        if (elsewhere is not null)
        {
            string why = $"nothing was settled: {elsewhere}, so it is there; run sdnedge mms recover again";
            return End(state with { Failure = why }, MoveOutcome.Fenced, now, elsewhere);
        }

        MoveState granted = state with { Epoch = state.Epoch + 1, TargetOwns = settle.AtTarget };
        if (settle.AtTarget)
        {
            // A server that already ran at the target, under an earlier epoch, can never be voided (R5).
            IEnumerable<KeyValuePair<string, EpochVerdict>> ran = state.Orders.Where(o => o.Reply.Verdict == EpochVerdict.Ran)
                .Select(o => KeyValuePair.Create(o.Reply.Server, EpochVerdict.Ran));
            return EnterOnly(granted with { Verdicts = state.Verdicts.SetItems(ran) }, MoveStage.Activate, now);
        }

        string undone = $"settled at {state.Plan.From}, after the journal was lost";
        return EnterOnly(granted with { Failure = undone }, MoveStage.ResumeSource, now);
    }

    // R2: the record of this step grants the source the next epoch; the one that the target was promised is burnt.
    private static MoveState Undo(MoveState state, string why, string? by, long now)
        => state.Stage == MoveStage.AwaitWindow

            // Nobody was asked anything.
            ? End(state with { Failure = why, AbortedBy = by }, MoveOutcome.AsBefore, now, why)
            : Advance(EnterOnly(
                state with { Failure = why, AbortedBy = by, Epoch = state.Epoch + 1 }, MoveStage.ResumeSource, now, why), now);

    private static MoveState End(MoveState state, MoveOutcome outcome, long now, string? error = null)
        => EndStage(state, now, error) with { Stage = MoveStage.Ended, StageSinceNs = now, Outcome = outcome };
}
