namespace SdnEdge.Core.Replication;

// Modes: armed, flipped under the sequence lock, reached; and the proof that both sites are equal.
public static partial class PrimaryMachine
{
    /// <summary>Bytes in front of the next record that are not just on their way: what a switch would have to wait for beyond a round
    /// trip.</summary>
    public static long Backlog(PrimaryState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        long unreceived = Math.Max(0, state.Lag.TotalBytes - state.Lag.BytesUpTo(state.Received));
        long rate = state.Bandwidth > 0 ? Math.Min(state.WriteRate, state.Bandwidth) : state.WriteRate;
        return Math.Max(0, unreceived - (long)(rate * (state.RoundTrip / 1e9)));
    }

    /// <summary>The backlog at which a switch is made: a quarter of what the link has on its way.</summary>
    public static long SwitchBacklog(PrimaryState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        return Math.Max(SmallBacklog, (long)(state.Bandwidth * (state.RoundTrip / 1e9) / 4));
    }

    private static PrimaryState AskMode(PrimaryState state, long ticket, ReplicationMode mode, long now, List<PrimaryCommand> commands)
    {
        if (state.Armed is { Ticket: not 0 } older && older.Ticket != ticket)
            commands.Add(new ModeGivenUp(older.Ticket, $"{mode} was asked for after it"));
        if (mode > state.InForce) return Clear(state, ReplicationAlarm.NotConverging, commands) with { Armed = Arm(state, ticket, mode,
            now) };

        // The same or a weaker mode: at once, also for what waits.
        bool same = mode == state.InForce && mode != ReplicationMode.Async;
        if (same && state.Armed is { Flipped: not null } flipped && flipped.Mode == mode)
            return state with { Armed = flipped with { Ticket = ticket } };
        state = Clear(state, ReplicationAlarm.NotConverging, commands) with
        {
            InForce = mode,
            Before = mode < state.Before ? mode : state.Before,
            Record = state.Record with { Mode = mode },
            Armed = null,
        };
        if (same && !state.IsSyncProved)
        {
            // Never said to be in sync on the strength of an older proof: it is proved anew.
            return state with { Armed = Arm(state, ticket, mode, now) };
        }

        commands.Add(new ModeReached(ticket, mode, mode == ReplicationMode.Async ? 0 : state.Durable));
        return state with { IsSyncProved = state.IsSyncProved && mode != ReplicationMode.Async };
    }

    private static ArmedSwitch Arm(PrimaryState state, long ticket, ReplicationMode mode, long now) => new(ticket, mode, now,
        Backlog(state));

    // A link that is new: what is promised has to be proved again, and a proof that was under way is asked for again.
    private static PrimaryState Rearm(PrimaryState state, long now)
    {
        ReplicationMode wanted = state.Armed?.Mode ?? state.Record.Mode;
        if (wanted == ReplicationMode.Async) return state with { Armed = state.Armed is null ? null : Arm(state, 0, wanted, now) };
        return state with { Armed = Arm(state, state.Armed?.Ticket ?? 0, wanted, now) };
    }

    // A switch that is armed is made when the backlog is small; one that was made is reached when the replica has proved it.
    private static PrimaryState Switch(PrimaryState state, long now, List<PrimaryCommand> commands)
    {
        if (state.Armed is not { } armed || !state.IsConnected || !state.IsReplicaWhole
            || state.Protection == Protection.Reporting) return state;
        if (armed.Flipped is { } proof)
        {
            if (state.Durable < proof.Point.Sequence || (state.Policy.ComparesRoots && !armed.IsProved) || state.OnDisk.Mode != armed.Mode)
                return state;
            state = Clear(state, ReplicationAlarm.CopiesDiffer, commands);
            commands.Add(new ModeReached(armed.Ticket, armed.Mode, proof.Point.Sequence));
            return state with { Armed = null, IsSyncProved = true };
        }

        // While the replica is silent a switch would be lost again at once.
        if (armed.IsFlipping || IsPeerGone(state, now)) return state;
        long backlog = Backlog(state);
        if (backlog <= SwitchBacklog(state))
        {
            commands.Add(new FlipMode(armed.Mode));
            return Clear(state, ReplicationAlarm.NotConverging, commands) with { Armed = armed with { IsFlipping = true } };
        }

        if (now - armed.WindowSince < ConvergenceWindow) return state;
        if (armed.Mode == ReplicationMode.Async) return state with { Armed = armed with { WindowSince = now, WindowBacklog = backlog } };
        if (backlog >= armed.WindowBacklog)
        {
            state = Raise(state, ReplicationAlarm.NotConverging,
                $"{armed.Mode} cannot be reached: {backlog} bytes wait, {armed.WindowBacklog} waited "
                + $"{(now - armed.WindowSince) / 1_000_000} ms ago; the guest writes {state.WriteRate} bytes/s, the link carries "
                + $"{state.Bandwidth}; slow the guest down, or widen the link", commands);
        }
        else
        {
            state = Clear(state, ReplicationAlarm.NotConverging, commands);
        }

        return state with { Armed = armed with { WindowSince = now, WindowBacklog = backlog } };
    }

    private static PrimaryState Flip(PrimaryState state, ArmedSwitch armed, DrainProof proof, List<PrimaryCommand> commands)
    {
        if (state.Policy.ComparesRoots && state.IsConnected) commands.Add(new AskProof(proof));
        bool stronger = armed.Mode > state.InForce;
        return state with
        {
            Last = Math.Max(state.Last, proof.Point.Sequence),
            Before = stronger ? state.InForce : state.Before,
            InForce = armed.Mode,
            InForceFrom = stronger ? proof.Point.Sequence + 1 : state.InForceFrom,
            Record = state.Record with { Mode = armed.Mode },
            Armed = armed with { IsFlipping = false, Flipped = proof },
        };
    }

    private static PrimaryState Proved(PrimaryState state, DrainProof proof, List<PrimaryCommand> commands)
    {
        if (state.Armed is { Flipped: { } mine } armed && mine.Point.Sequence == proof.Point.Sequence)
        {
            state = mine.DiffersFrom(proof) is { } differs
                ? Raise(state, ReplicationAlarm.CopiesDiffer, differs, commands) : state with { Armed = armed with { IsProved = true } };
        }

        if (state.Drain is { IsAsked: true } drain && drain.Proof.Point.Sequence == proof.Point.Sequence)
        {
            if (drain.Proof.DiffersFrom(proof) is { } differs)
            {
                state = Raise(state, ReplicationAlarm.CopiesDiffer, differs, commands);
                commands.Add(new DrainRefused(drain.Ticket, differs));
            }
            else
            {
                commands.Add(new DrainProved(drain.Ticket, proof));
            }

            state = state with { Drain = null };
        }

        return state;
    }

    // The proof is asked for when the replica has everything durable.
    private static PrimaryState Prove(PrimaryState state, List<PrimaryCommand> commands)
    {
        if (state.Drain is not { } drain) return state;
        if (state.Last > drain.Proof.Point.Sequence)
        {
            commands.Add(new DrainRefused(drain.Ticket,
                $"sequence {state.Last} was written after {drain.Proof.Point.Sequence}, for which the proof "
                + "was asked: the guest does not stand still"));
            return state with { Drain = null };
        }

        if (drain.IsAsked || !state.IsConnected || !state.IsReplicaWhole || state.Durable < drain.Proof.Point.Sequence) return state;
        commands.Add(new AskProof(drain.Proof));
        return state with { Drain = drain with { IsAsked = true } };
    }
}
