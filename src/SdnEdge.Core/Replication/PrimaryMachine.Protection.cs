namespace SdnEdge.Core.Replication;

// What is promised and cannot be kept: the lag's bounds, a replica that is gone, and the way back.
public static partial class PrimaryMachine
{
    /// <summary>True when the replica is not there, was silent for too long, or is heard and has made nothing durable for so long: its
    /// disk is full, or hangs.</summary>
    public static bool IsPeerGone(PrimaryState state, long now)
    {
        ArgumentNullException.ThrowIfNull(state);
        return now - state.HeardAt >= state.Policy.PeerGoneAfter
            || (Lacks(state) && now - state.ProgressAt >= state.Policy.PeerGoneAfter);
    }

    // While a copy is made, what it lacks says nothing.
    private static bool Lacks(PrimaryState state) => state.IsReplicaWhole && state.Durable < state.Last;

    private static PrimaryState WatchRate(PrimaryState state, long now)
    {
        long passed = now - state.RateSince;
        if (passed < RateWindow) return state;
        long rate = (long)((state.Lag.TotalBytes - state.RateBytes) / (passed / 1e9));
        return state with { WriteRate = rate, RateSince = now, RateBytes = state.Lag.TotalBytes };
    }

    private static PrimaryState WatchPeer(PrimaryState state, long now, List<PrimaryCommand> commands)
    {
        if (!IsPeerGone(state, now)) return Clear(state, ReplicationAlarm.PeerGone, commands);
        string what = !Promises(state) ? "the lag grows"
            : state.Policy.PeerGone == PeerGoneAction.Stop ? "writes wait until it is back (policy: stop)"
            : "writes go on without it as soon as the manager has that on disk (policy: go on)";
        string gone = now - state.HeardAt >= state.Policy.PeerGoneAfter
            ? $"the replica was not heard for {(now - state.HeardAt) / 1_000_000} ms"
            : $"the replica is heard, and has made nothing durable for {(now - state.ProgressAt) / 1_000_000} ms"
                + (state.LinkEnd.Length > 0 ? $" (its last link ended: {state.LinkEnd})" : "; look at its disk");
        state = Raise(state, ReplicationAlarm.PeerGone, $"{gone}: {what}", commands);
        return Promises(state) && state.Policy.PeerGone == PeerGoneAction.GoOn ? LoseProtection(state, now) : state;
    }

    private static PrimaryState WatchLag(PrimaryState state, long now, List<PrimaryCommand> commands)
    {
        ReplicationPolicy policy = state.Policy;
        if (policy is { LagBytes: 0, LagTime: 0 }) return state;
        long age = state.Lag.Age(now), bytes = state.Lag.LagBytes;
        bool Reaches(int percent) => (policy.LagBytes > 0 && bytes >= policy.LagBytes / 100.0 * percent)
            || (policy.LagTime > 0 && age >= policy.LagTime / 100.0 * percent);
        string Numbers() => $"{bytes} bytes and {age / 1_000_000} ms behind; the bounds are {Bound(policy.LagBytes, " bytes")} and "
            + Bound(policy.LagTime / 1_000_000, " ms");
        state = Reaches(policy.AlarmPercent) ? Raise(state, ReplicationAlarm.LagNearBound, $"the replica is {Numbers()}", commands)
            : Clear(state, ReplicationAlarm.LagNearBound, commands);
        if (!Reaches(100)) return Clear(state, ReplicationAlarm.LagAtBound, commands);
        state = Raise(state, ReplicationAlarm.LagAtBound, $"the replica is {Numbers()}; "
            + (policy.AtLagBound == LagAction.Slow ? "writes wait for it" : "writes go on as soon as the manager has that on disk"),
            commands);
        
        // In sync mode nothing is answered that the replica lacks: there is nothing to report.
        return policy.AtLagBound == LagAction.GoOn && state.InForce != ReplicationMode.Sync ? LoseProtection(state, now) : state;

        static string Bound(long value, string unit) => value == 0 ? "none" : value + unit;
    }

    // At the bound nothing beyond it is answered, until the policy's other way is on record.
    private static ulong LagCap(PrimaryState state, long now)
    {
        ReplicationPolicy policy = state.Policy;
        if (policy.LagTime > 0 && state.Lag.Age(now) >= policy.LagTime) return state.Durable;
        return policy.LagBytes > 0 && state.Lag.LagBytes > policy.LagBytes ? state.Lag.Within(policy.LagBytes) : state.Last;
    }

    private static PrimaryState LoseProtection(PrimaryState state, long now)
    {
        // On record already, and nothing is under way that would take it from there.
        if (state.Protection == Protection.Reporting) return state;
        if (state.Protection == Protection.Unprotected && !state.IsClearing)
            return Promises(state) && IsPeerGone(state, now) ? Weaken(state, now) : state;
        ulong generation = state.Record.StaleGeneration + 1;
        return state with
        {
            Protection = Protection.Reporting,
            IsClearing = false,
            Record = state.Record with { StaleGeneration = generation, Stale = new(generation, state.Durable + 1) },
            ReportAt = now,
        };
    }

    // A report is sent when what it says is on disk here, and again until it is confirmed.
    private static PrimaryState Report(PrimaryState state, long now, List<PrimaryCommand> commands)
    {
        if (now < state.ReportAt) return state;
        if (state.Protection == Protection.Reporting && state.Record.Stale is { } stale && state.OnDisk.Stale == stale
            && state.OnDisk.Epoch == state.Record.Epoch)
            commands.Add(new ReportStale(state.Record.Epoch, stale));
        else if (state.IsClearing)
            commands.Add(new ReportInSync(state.Record.Epoch, state.Record.Stale!.Generation, state.Durable));
        else
            return state;
        return state with { ReportAt = now + Retry };
    }

    private static PrimaryState GoUnprotected(PrimaryState state, long now, List<PrimaryCommand> commands)
    {
        state = Raise(state, ReplicationAlarm.Unprotected,
            $"the replica is stale from sequence {state.Record.Stale!.From} on; writes are answered "
            + "without it", commands);
        state = state with { Protection = Protection.Unprotected };

        // A lag beyond its bound changes no mode: flushes of semantic mode wait for the replica as before.
        return Promises(state) && IsPeerGone(state, now) && state.Policy.PeerGone == PeerGoneAction.GoOn ? Weaken(state, now) : state;
    }

    // Writes are answered as in async mode; the promised mode is armed, for when the replica is back.
    private static PrimaryState Weaken(PrimaryState state, long now)
    {
        ReplicationMode promised = state.Armed?.Mode ?? state.Record.Mode;
        return state with
        {
            InForce = ReplicationMode.Async, Before = ReplicationMode.Async, IsSyncProved = false,
            Armed = promised == ReplicationMode.Async ? null : Arm(state, state.Armed?.Ticket ?? 0, promised, now),
        };
    }

    // The replica has everything that the promise asks for: the manager may forget that it was stale.
    private static PrimaryState Recover(PrimaryState state, long now, List<PrimaryCommand> commands)
    {
        if (state.Protection != Protection.Unprotected || state.IsClearing || !state.IsConnected || !state.IsReplicaWhole) return state;
        bool back = state.Record.Mode == ReplicationMode.Async
            ? state.Durable >= state.CaughtUpAt
            : state.IsSyncProved && state.Armed is null;
        back &= (state.Alarms & ReplicationAlarm.LagNearBound) == 0 || state.InForce == ReplicationMode.Sync;
        if (!back) return state;
        commands.Add(new ReportInSync(state.Record.Epoch, state.Record.Stale!.Generation, state.Durable));
        return state with { IsClearing = true, ReportAt = now + Retry };
    }
}
