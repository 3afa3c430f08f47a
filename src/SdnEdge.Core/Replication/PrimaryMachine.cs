namespace SdnEdge.Core.Replication;

/// <summary>A switch to a stronger mode that waits for the backlog to be small.</summary>
/// <param name="Ticket">Who asked; 0 = nobody: the promise is to be kept again.</param>
/// <param name="Mode">The mode.</param>
/// <param name="WindowSince">Since when the backlog is watched, nanoseconds.</param>
/// <param name="WindowBacklog">What it was then, bytes.</param>
public sealed record ArmedSwitch(long Ticket, ReplicationMode Mode, long WindowSince, long WindowBacklog)
{
    /// <summary>The switch is being made under the sequence lock.</summary>
    public bool IsFlipping { get; init; }

    /// <summary>It was made: this site's proof at the last record before it. The mode is reached when the replica has that.</summary>
    public DrainProof? Flipped { get; init; }

    /// <summary>The replica gave the same proof.</summary>
    public bool IsProved { get; init; }
}

/// <summary>A proof that was asked for.</summary>
/// <param name="Ticket">Who asked.</param>
/// <param name="Proof">This site's.</param>
/// <param name="IsAsked">The replica was asked.</param>
public sealed record OpenDrain(long Ticket, DrainProof Proof, bool IsAsked = false);

/// <summary>An owner's replication. <see cref="Record"/> is what survives the process.</summary>
public sealed record PrimaryState
{
    /// <summary>What is to be on disk.</summary>
    public required PrimaryRecord Record { get; init; }

    /// <summary>What is.</summary>
    public required PrimaryRecord OnDisk { get; init; }

    /// <summary>The policy.</summary>
    public required ReplicationPolicy Policy { get; init; }

    /// <summary>Last sequence of the log.</summary>
    public ulong Last { get; init; }

    /// <summary>Up to this sequence it is durable here.</summary>
    public ulong LocalDurable { get; init; }

    /// <summary>Up to this sequence the replica has received.</summary>
    public ulong Received { get; init; }

    /// <summary>Up to this sequence it is durable there, in a consistent copy.</summary>
    public ulong Durable { get; init; }

    /// <summary>A write up to here may be answered.</summary>
    public ulong WriteLimit { get; init; }

    /// <summary>A flush, or a write with FUA, whose record is up to here may be answered.</summary>
    public ulong BarrierLimit { get; init; }

    /// <summary>What the replica lacks, by bytes and time.</summary>
    public LagMarks Lag { get; init; } = new();

    /// <summary>The mode in force.</summary>
    public ReplicationMode InForce { get; init; }

    /// <summary>From this sequence on. What is older is answered by <see cref="Before"/>.</summary>
    public ulong InForceFrom { get; init; }

    /// <summary>The mode before.</summary>
    public ReplicationMode Before { get; init; }

    /// <summary>The protection.</summary>
    public Protection Protection { get; init; }

    /// <summary>The switch that is armed; null = none.</summary>
    public ArmedSwitch? Armed { get; init; }

    /// <summary>The proof that was asked for; null = none.</summary>
    public OpenDrain? Drain { get; init; }

    /// <summary>The link is there.</summary>
    public bool IsConnected { get; init; }

    /// <summary>The replica's copy is whole.</summary>
    public bool IsReplicaWhole { get; init; }

    /// <summary>When the replica was last heard; before the first time, when this began.</summary>
    public long HeardAt { get; init; }

    /// <summary>When more became durable at the replica, or it lacked nothing. One that is heard and gets no further cannot
    /// write.</summary>
    public long ProgressAt { get; init; }

    /// <summary>Why its last link ended, for people.</summary>
    public string LinkEnd { get; init; } = "";

    /// <summary>Round trip, nanoseconds; 0 = not known.</summary>
    public long RoundTrip { get; init; }

    /// <summary>What the link carries, bytes/s; 0 = not known.</summary>
    public long Bandwidth { get; init; }

    /// <summary>What the guest writes, bytes/s, over the last 100 ms or more.</summary>
    public long WriteRate { get; init; }

    /// <summary>Alarms that are on.</summary>
    public ReplicationAlarm Alarms { get; init; }

    /// <summary>In the mode that is promised, proved: the replica has all that it must have.</summary>
    public bool IsInSync => IsConnected && Protection == Protection.Protected && Armed is null && InForce != ReplicationMode.Async
        && IsSyncProved;

    internal bool IsSyncProved { get; init; }

    internal PrimaryRecord? Writing { get; init; }

    // When the open report is sent next, and when a record that failed is written again.
    internal long ReportAt { get; init; }

    internal long SaveAt { get; init; } = long.MinValue;

    // The report that the replica is in sync again was sent: it may take effect at any time.
    internal bool IsClearing { get; init; }

    internal ulong CaughtUpAt { get; init; }

    internal long RateSince { get; init; }

    internal long RateBytes { get; init; }
}

/// <summary>
/// A volume's owner, as its replication goes: which writes may be answered, how a mode is switched, what is done when the replica lags or
/// is gone. A pure function; its inputs come from one queue.
/// <code>
///            may be answered up to       write                            flush, FUA
///            async                       the last record                  durable here
///            semantic                    the last record                  durable here and there
///            sync                        durable here and there           durable here and there
/// </code>
/// Durable here is asked for in sync mode too: what the replica has and this site lost in a power cut was then never answered, so that the
/// replica may be cut back to what its owner has. A stronger mode holds from a sequence on, a weaker one at once. A limit never falls.
/// <para>No write is answered against the promise before "the replica is stale" is on disk here and at the manager, and then an alarm is on
/// until the replica has everything again and the manager has that on disk.</para>
/// </summary>
public static partial class PrimaryMachine
{
    /// <summary>How long a switch's backlog is watched before it is said not to converge, nanoseconds.</summary>
    public const long ConvergenceWindow = 800_000_000;

    /// <summary>After this time a report, or a record that failed, is sent again, nanoseconds.</summary>
    public const long Retry = 500_000_000;

    /// <summary>A backlog that is always small enough to switch, bytes: what waits less than some milliseconds on any link.</summary>
    public const long SmallBacklog = 64 << 10;

    private const long RateWindow = 100_000_000;

    /// <summary>An owner after a start or a grant. What the record promises is in force from the first write on.</summary>
    /// <param name="record">From disk.</param>
    /// <param name="policy">The policy.</param>
    /// <param name="last">The log's last sequence.</param>
    /// <param name="totalBytes">Its bytes.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    public static PrimaryState Start(PrimaryRecord record, ReplicationPolicy policy, ulong last, long totalBytes, long now)
    {
        ArgumentNullException.ThrowIfNull(record);
        ArgumentNullException.ThrowIfNull(policy);
        return new()
        {
            Record = record,
            OnDisk = record,
            Policy = policy,
            Last = last,
            LocalDurable = last,
            WriteLimit = last,
            BarrierLimit = last,
            InForce = record.Mode,
            InForceFrom = last + 1,
            Before = ReplicationMode.Async,
            Lag = LagMarks.Start(last, totalBytes, now),
            Protection = record.Stale is null ? Protection.Protected : Protection.Reporting,
            ReportAt = now,
            HeardAt = now,
            ProgressAt = now,
            RateSince = now,
            RateBytes = totalBytes,
        };
    }

    /// <summary>Takes one input.</summary>
    /// <param name="state">The state before.</param>
    /// <param name="input">What happened.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    /// <returns>The state after, and what is to be done, in this order.</returns>
    public static (PrimaryState State, IReadOnlyList<PrimaryCommand> Commands) Step(PrimaryState state, PrimaryInput input, long now)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(input);
        var commands = new List<PrimaryCommand>();
        state = Take(state, input, now, commands);
        state = WatchRate(state, now);
        state = WatchPeer(state, now, commands);
        state = WatchLag(state, now, commands);
        state = Report(state, now, commands);
        state = Switch(state, now, commands);
        state = Prove(state, commands);
        state = Recover(state, now, commands);
        state = Save(state, now, commands);
        return (Limit(state, now), commands);
    }

    /// <summary>When the machine wants a <see cref="Tick"/> at the latest; <see cref="long.MaxValue"/> = never.</summary>
    public static long NextDeadline(PrimaryState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        long at = state.IsClearing || (state.Protection == Protection.Reporting && state.OnDisk.Stale == state.Record.Stale)
            ? state.ReportAt : long.MaxValue;
        if (state.Writing is null && state.Record != state.OnDisk) at = Math.Min(at, state.SaveAt);
        if ((state.Alarms & ReplicationAlarm.PeerGone) == 0)
        {
            at = Math.Min(at, state.HeardAt + state.Policy.PeerGoneAfter);
            if (Lacks(state)) at = Math.Min(at, state.ProgressAt + state.Policy.PeerGoneAfter);
        }

        if (state.Armed is { Flipped: null }) at = Math.Min(at, state.Armed.WindowSince + ConvergenceWindow);
        if (state.Policy.LagTime > 0 && state.Lag.OldestSince is { } since)
        {
            long share = (state.Alarms & ReplicationAlarm.LagNearBound) == 0 ? state.Policy.AlarmPercent : 100;
            if ((state.Alarms & ReplicationAlarm.LagAtBound) == 0) at = Math.Min(at, since + (state.Policy.LagTime / 100 * share));
        }

        return at;
    }

    private static PrimaryState Take(PrimaryState state, PrimaryInput input, long now, List<PrimaryCommand> commands)
    {
        switch (input)
        {
            case Appended(var last, var total) when last > state.Last:
                return state with
                {
                    Last = last, Lag = state.Lag.Append(last, total, now),
                    ProgressAt = state.Durable >= state.Last ? now : state.ProgressAt,
                };
            case LocalSynced(var through):
                return state with { LocalDurable = Math.Max(state.LocalDurable, Math.Min(through, state.Last)) };
            case LinkOpened(var common, var durable, var whole):
                if (whole && durable < state.Durable)
                {
                    state = Raise(state, ReplicationAlarm.ReplicaWentBack,
                        $"the replica had said that {state.Durable} is durable, and now has "
                        + $"{durable}: it has lost what it had acknowledged; check its disk", commands);
                }

                state = state with
                {
                    IsConnected = true, IsReplicaWhole = whole, HeardAt = now, Received = common, CaughtUpAt = state.Last,
                    Durable = whole ? Math.Min(durable, state.Last) : state.Durable, IsSyncProved = false,
                };

                // While data are copied the lag is what the link lacks beside them: the writer goes at its speed, and does not stand still.
                state = state with { Lag = state.Lag.Confirm(whole ? state.Durable : Math.Min(common, state.Last)) };
                return Rearm(state, now);
            case ReplicaConsistent:
                // A copy that has become whole is proved in async mode too, once; in the others it is before they are in sync.
                return state with
                {
                    IsReplicaWhole = true,
                    ProgressAt = state.IsReplicaWhole ? state.ProgressAt : now,
                    Armed = state.Armed ?? (state is { Policy.ComparesRoots: true, InForce: ReplicationMode.Async, IsReplicaWhole: false }
                        ? Arm(state, 0, ReplicationMode.Async, now) : null),
                };
            case LinkClosed(var reason):
                return state with
                {
                    LinkEnd = reason, IsConnected = false, IsSyncProved = false,
                    Drain = state.Drain is { } d ? d with { IsAsked = false } : null,
                };
            case Acked(var received, var durable) when state.IsConnected:
                // More than was ever written is nothing that this owner's replica can have.
                if (received > state.Last || durable > received) return state;
                state = state with { HeardAt = now, Received = Math.Max(state.Received, received) };
                if (!state.IsReplicaWhole) return state with { Lag = state.Lag.Confirm(durable) };
                return durable > state.Durable
                    ? state with { Durable = durable, Lag = state.Lag.Confirm(durable), ProgressAt = now } : state;
            case PeerHeard when state.IsConnected:
                return state with { HeardAt = now };
            case LinkMeasured(var trip, var bandwidth):
                return state with { RoundTrip = Math.Max(0, trip), Bandwidth = Math.Max(0, bandwidth) };
            case ModeAsked(var ticket, var mode):
                return AskMode(state, ticket, mode, now, commands);
            case ModeFlipped(var last, var root) when state.Armed is { IsFlipping: true } armed:
                return Flip(state, armed, new DrainProof(last, state.Record.Epoch, root), commands);
            case DrainAsked(var ticket, var last, var root):
                if (state.Drain is { } older) commands.Add(new DrainRefused(older.Ticket, "it was asked for anew"));
                return state with { Drain = new(ticket, new(last, state.Record.Epoch, root)) };
            case ReplicaProved(var proof):
                return Proved(state, proof, commands);
            case StaleConfirmed(var generation) when state.Protection == Protection.Reporting
                && state.Record.Stale?.Generation == generation:
                return GoUnprotected(state, now, commands);
            case InSyncConfirmed(var generation) when state.IsClearing && state.Record.Stale?.Generation == generation:
                state = Clear(Clear(state, ReplicationAlarm.Unprotected, commands), ReplicationAlarm.ReplicaWentBack, commands);
                return state with
                {
                    Protection = Protection.Protected, IsClearing = false, Record = state.Record with { Stale = null },
                };
            case PrimarySynced when state.Writing is { } written:
                return Clear(state with { OnDisk = written, Writing = null }, ReplicationAlarm.RecordNotWritten, commands);
            case PrimarySyncFailed(var reason) when state.Writing is not null:
                return Raise(state with { Writing = null, SaveAt = now + Retry }, ReplicationAlarm.RecordNotWritten,
                    $"the record of the replication cannot be written: {reason}", commands);
            case EpochRaised(var epoch) when epoch > state.Record.Epoch:
                if (state.Drain is { } open) commands.Add(new DrainRefused(open.Ticket,
                    $"the owner's epoch is {epoch} now: the move was undone"));
                return state with
                {
                    Record = state.Record with { Epoch = epoch },
                    Protection = state.Record.Stale is null ? Protection.Protected : Protection.Reporting,
                    IsClearing = false, ReportAt = now, IsConnected = false, IsSyncProved = false, Drain = null,
                    InForce = state.Record.Stale is null ? state.InForce : state.Record.Mode,
                    InForceFrom = state.Record.Stale is null ? state.InForceFrom : state.Last + 1,
                };
            case PolicyChanged(var policy):
                return state with { Policy = policy };
            default:
                return state;
        }
    }

    // One write is open at a time; the newest record follows it. After a failure it waits for the retry.
    private static PrimaryState Save(PrimaryState state, long now, List<PrimaryCommand> commands)
    {
        if (state.Writing is not null || state.Record == state.OnDisk || now < state.SaveAt) return state;
        commands.Add(new WritePrimary(state.Record));
        return state with { Writing = state.Record };
    }

    private static PrimaryState Limit(PrimaryState state, long now)
    {
        bool free = state.Protection == Protection.Unprotected || state.InForce == ReplicationMode.Sync;
        ulong capped = free ? state.Last : LagCap(state, now);
        ulong both = Math.Min(state.LocalDurable, state.Durable);
        ulong write = Limits(state.InForce, true), barrier = Limits(state.InForce, false);

        // What is older than the switch is answered by the mode before it.
        ulong old = Math.Min(state.InForceFrom - 1, state.Last);
        write = Math.Max(write, Math.Min(old, Limits(state.Before, true)));
        barrier = Math.Max(barrier, Math.Min(old, Limits(state.Before, false)));
        return state with
        {
            WriteLimit = Math.Max(state.WriteLimit, Math.Min(write, capped)),
            BarrierLimit = Math.Max(state.BarrierLimit, Math.Min(barrier, capped)),
        };

        ulong Limits(ReplicationMode mode, bool isWrite) => mode switch
        {
            ReplicationMode.Async => isWrite ? state.Last : state.LocalDurable,
            ReplicationMode.Semantic => isWrite ? state.Last : both,
            _ => both,
        };
    }

    // Sync and semantic promise something of each write or flush; while a switch to them is armed nothing is promised yet.
    private static bool Promises(PrimaryState state) => state.InForce != ReplicationMode.Async;

    private static PrimaryState Raise(PrimaryState state, ReplicationAlarm alarm, string detail, List<PrimaryCommand> commands)
    {
        if ((state.Alarms & alarm) != 0) return state;
        commands.Add(new RaiseAlarm(alarm, detail));
        return state with { Alarms = state.Alarms | alarm };
    }

    private static PrimaryState Clear(PrimaryState state, ReplicationAlarm alarm, List<PrimaryCommand> commands)
    {
        if ((state.Alarms & alarm) == 0) return state;
        commands.Add(new ClearAlarm(alarm));
        return state with { Alarms = state.Alarms & ~alarm };
    }
}
