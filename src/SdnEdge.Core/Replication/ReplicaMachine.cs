using System.Collections.Immutable;

namespace SdnEdge.Core.Replication;

/// <summary>A replica. <see cref="Record"/> and the log are what survive the process.</summary>
public sealed record ReplicaState
{
    /// <summary>What is to be on disk.</summary>
    public required ReplicaRecord Record { get; init; }

    /// <summary>What is.</summary>
    public required ReplicaRecord OnDisk { get; init; }

    /// <summary>Size of the volume behind the last record that was received, bytes.</summary>
    public required long Size { get; init; }

    /// <summary>The last record that was received.</summary>
    public LogPoint Received { get; init; }

    /// <summary>The last point that is durable.</summary>
    public LogPoint Durable { get; init; }

    /// <summary>Up to this sequence the log may be applied to the image: whole batches, durable at both sites. What the owner has lost in a
    /// power cut can still be put aside.</summary>
    public ulong ApplyLimit { get; init; }

    /// <summary>The owner that is followed on this connection, by its epoch; 0 = none.</summary>
    public ulong Following { get; init; }

    /// <summary>The stream has begun.</summary>
    public bool IsStreaming { get; init; }

    internal ulong OwnerDurable { get; init; }

    internal ImmutableQueue<LogPoint> Ends { get; init; } = [];

    internal ImmutableQueue<ulong> Unapplied { get; init; } = [];

    internal AskStream? Beginning { get; init; }

    internal ReplicaRecord? Writing { get; init; }

    internal DrainProof? Proof { get; init; }

    /// <summary>What the copy is, for a promotion.</summary>
    public CopyFacts Facts => new(OnDisk.Phase == CopyPhase.Following, Durable,
        OnDisk.Phase == CopyPhase.Following ? Durable : OnDisk.LastConsistent);
}

/// <summary>
/// A volume's replica, as a pure function: it receives the owner's records in order, refuses older owners, and knows at any time whether
/// it is a state that an owner once had.
/// <code>
/// 1. an owner connects: refused when a newer one is known, or when this store is the owner itself
/// 2. the last common point is found (<see cref="CommonPointSearch"/>); this site's records behind it are a branch
///    - none, or not applied to the image yet: they are put aside, the log goes on behind the common point
///    - applied: what they touched is fetched (<see cref="StreamStart.Differences"/>), beside the last consistent point
///    - no common point: everything is fetched
/// 3. data, where they are needed; consistent again when the log is durable up to the end that the owner names
/// 4. batches: checked (sequence, epoch, chain, range), appended all or none, acknowledged when received and when durable
/// </code>
/// </summary>
public static class ReplicaMachine
{
    /// <summary>A replica after a start.</summary>
    /// <param name="record">From disk.</param>
    /// <param name="size">Size of the volume, bytes.</param>
    /// <param name="last">The log's last point, durable.</param>
    public static ReplicaState Start(ReplicaRecord record, long size, LogPoint last)
    {
        ArgumentNullException.ThrowIfNull(record);
        return new() { Record = record, OnDisk = record, Size = size, Received = last, Durable = last };
    }

    /// <summary>What is wrong with a batch, for people; null = nothing.</summary>
    /// <param name="from">The point before its first record.</param>
    /// <param name="records">Its records.</param>
    /// <param name="epoch">The owner's epoch.</param>
    /// <param name="size">Size of the volume at that point, bytes.</param>
    /// <param name="chain">The chain's step.</param>
    public static string? WrongIn(LogPoint from, ReadOnlySpan<LogRecord> records, ulong epoch, long size, ChainStep chain)
    {
        ArgumentNullException.ThrowIfNull(chain);
        foreach (ref readonly LogRecord record in records)
        {
            if (record.Sequence != from.Sequence + 1) return $"record {record.Sequence} came after {from.Sequence}";
            if (record.Epoch < from.Epoch || record.Epoch > epoch)
                return $"record {record.Sequence} is of epoch {record.Epoch}; between {from.Epoch} and {epoch} would be right";
            bool hasRange = record.Kind is LogRecordKind.Write or LogRecordKind.Zero or LogRecordKind.Trim;
            if (record.Kind is < LogRecordKind.Write or > LogRecordKind.Size) return $"record {record.Sequence} has the unknown "
                + $"kind {(int)record.Kind}";
            if (hasRange && (record.Offset < 0 || record.Length <= 0 || record.Offset > size - record.Length))
            {
                return $"record {record.Sequence} ({record.Kind}) has the range {record.Offset}+{record.Length}; the volume has "
                    + $"{size} bytes";
            }

            if (!hasRange && record.Offset != 0) return $"record {record.Sequence} ({record.Kind}) has an offset";
            if (record.Kind == LogRecordKind.Size)
            {
                if (record.Length <= size)
                    return $"record {record.Sequence} gives the volume {record.Length} bytes; it has {size}, and does not get smaller";
                size = record.Length;
            }

            ulong right = chain(from.Chain, record);
            if (record.Chain != right)
                return $"record {record.Sequence} has the chain {record.Chain:x16}, the history here gives {right:x16}: another history";
            from = LogPoint.Of(record);
        }

        return null;
    }

    /// <summary>Takes one input.</summary>
    /// <param name="state">The state before.</param>
    /// <param name="input">What happened.</param>
    /// <returns>The state after, and what is to be done, in this order.</returns>
    public static (ReplicaState State, IReadOnlyList<ReplicaCommand> Commands) Step(ReplicaState state, ReplicaInput input)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(input);
        var commands = new List<ReplicaCommand>();
        switch (input)
        {
            case OwnerConnected(var ownership, var epoch, var durable):
                state = Quiet(state);
                if (OwnershipMachine.MayFollow(ownership, epoch) is { } refusal)
                {
                    commands.Add(new RefuseOwner(refusal.Detail, refusal.Kind == OwnershipRefusalKind.StaleEpoch));
                    break;
                }

                state = state with { Following = epoch, OwnerDurable = durable };
                commands.Add(new AnswerOwner(state.Received, state.Record.Phase, state.Record.CopyBase, state.Record.CopiedBytes));
                break;
            case CommonFound found when state is { Following: > 0, IsStreaming: false, Beginning: null }:
                state = Begin(state, found, commands);
                if (state is { Beginning: { Start: not StreamStart.Log } again, Writing: null } && state.Record == state.OnDisk)
                    commands.Add(new BeginResync(again.Start == StreamStart.Differences ? state.Record.CopyBase : null));
                break;
            case StreamReady(var size) when state.Beginning is { } beginning && state.Writing is null:
                state = Ready(state with { Size = size }, beginning, commands);
                break;
            case BatchArrived batch when state.IsStreaming:
                state = Append(state, batch, commands);
                break;
            case BatchArrived:
                commands.Add(new RefuseOwner("records came before the stream was agreed"));
                break;
            case OwnerDurableTo(var through):
                state = Applicable(state with { OwnerDurable = Math.Max(state.OwnerDurable, through) });
                break;
            case ReplicaSynced(var through):
                state = Synced(state, through, commands);
                break;
            case CopySynced(var bytes) when state.Record.Phase is CopyPhase.Copying or CopyPhase.Resyncing:
                state = state with { Record = state.Record with { CopiedBytes = Math.Max(state.Record.CopiedBytes, bytes) } };
                break;
            case CopySent(var end) when state.IsStreaming && state.Record.Phase is CopyPhase.Copying or CopyPhase.Resyncing:
                state = Whole(state with { Record = state.Record with { CopyEnd = end } });
                break;
            case ProofAsked(var sequence, var root) when state.IsStreaming:
                if (state.Received.Sequence != sequence)
                {
                    commands.Add(new RefuseOwner($"a proof of sequence {sequence} was asked for at {state.Received.Sequence}"));
                    break;
                }

                state = Prove(state with { Proof = new DrainProof(state.Received, state.Following, root) }, commands);
                break;
            case ReplicaRecordSynced when state.Writing is { } written:
                bool wasWhole = state.OnDisk.Phase == CopyPhase.Following;
                state = state with { OnDisk = written, Writing = null };
                if (!wasWhole && written.Phase == CopyPhase.Following)
                {
                    commands.Add(new EndResync(state.Durable.Sequence));
                    if (state.IsStreaming)
                    {
                        commands.Add(new SendWhole());
                        commands.Add(new SendAck(state.Received.Sequence, state.Durable.Sequence));
                    }
                }

                if (state is { Beginning.Start: not StreamStart.Log } && written.Phase != CopyPhase.Following)
                    commands.Add(new BeginResync(state.Beginning.Start == StreamStart.Differences ? written.CopyBase : null));
                break;
            case ReplicaRecordFailed(var reason) when state.Writing is not null:
                state = Quiet(state with { Writing = null, Record = state.OnDisk });
                commands.Add(new RefuseOwner($"the replica's record cannot be written: {reason}"));
                break;
            case OwnerGone:
                state = Quiet(state);
                break;
            case CopyAnew:
                state = Quiet(state) with { Record = state.Record with { CopyAsked = true } };
                break;
        }

        if (state.Writing is null && state.Record != state.OnDisk)
        {
            commands.Add(new WriteReplica(state.Record));
            state = state with { Writing = state.Record };
        }

        return (state, commands);
    }

    private static ReplicaState Quiet(ReplicaState state) => state with { Following = 0, IsStreaming = false, Beginning = null,
        Proof = null };

    private static ReplicaState Begin(ReplicaState state, CommonFound found, List<ReplicaCommand> commands)
    {
        bool copying = state.Record.Phase is CopyPhase.Copying or CopyPhase.Resyncing;
        if (state.Record.CopyAsked) return BeginEverything(state);
        if (found is { HasGap: true, Common: { } before }) return BeginDifferences(state, before, default, commands);

        // A copy that was broken off goes on where it was, when its log does.
        if (copying && found.Common is { } here && here.Sequence >= state.Record.CopyBase.Sequence && here.Sequence >= found.Applied)
        {
            var again = new AskStream(StreamStart.Log, here);
            if (state.Record.CopyEnd is null) again = again with { Start = state.Record.Copies };
            if (here == state.Received) return Stream(state, again, commands);
            commands.Add(new PutTailAside(here));
            return state with { Beginning = again };
        }

        // One that was broken off before its log was cut.
        if (copying && found.Common == state.Record.CopyBase
            && state.Record is { Copies: StreamStart.Differences, CopyEnd: null, CopiedBytes: 0 })
        {
            return state with { Beginning = new(StreamStart.Differences, state.Record.CopyBase) };
        }

        if (found.Common is { } common && !copying
            && (state.Record.Phase == CopyPhase.Following || common.Sequence == 0 || common == state.Received))
        {
            if (common == state.Received)
                return Stream(Follow(state), new(StreamStart.Log, common), commands);
            if (common.Sequence >= found.Applied)
            {
                commands.Add(new PutTailAside(common));
                return Follow(state) with { Beginning = new(StreamStart.Log, common) };
            }

            return BeginDifferences(state, common, common, commands);
        }

        return BeginEverything(state);
    }

    // The log goes on behind the common point, or, where the owner's does not reach back to it, behind a point that the owner names.
    private static ReplicaState BeginDifferences(ReplicaState state, LogPoint common, LogPoint from, List<ReplicaCommand> commands)
    {
        commands.Add(new KeepRanges(common, state.Record.Ranges + 1, state.Record));
        return state with
        {
            Beginning = new(StreamStart.Differences, from),
            Record = Beside(state) with { Copies = StreamStart.Differences, CopyBase = common, Ranges = state.Record.Ranges + 1 },
        };
    }

    private static ReplicaState BeginEverything(ReplicaState state) => state with
    {
        Beginning = new(StreamStart.Everything, default),
        Record = Beside(state) with { Copies = StreamStart.Everything, CopyBase = default },
    };

    // What is here is overwritten from now on. A volume that nothing was ever written to is nothing to go back to.
    private static ReplicaRecord Beside(ReplicaState state)
    {
        LogPoint? consistent = state.Record.Phase != CopyPhase.Following ? state.Record.LastConsistent
            : state.Durable.Sequence > 0 ? state.Durable : null;
        return state.Record with
        {
            Phase = consistent is null ? CopyPhase.Copying : CopyPhase.Resyncing, LastConsistent = consistent, CopyEnd = null,
            CopiedBytes = 0, CopyAsked = false,
        };
    }

    // An empty copy of a volume whose log reaches back to its first record, or that had the same contents from the beginning, needs no
    // data: it follows.
    private static ReplicaState Follow(ReplicaState state)
        => state.Record.Phase == CopyPhase.Empty ? state with { Record = state.Record with { Phase = CopyPhase.Following } } : state;

    private static ReplicaState Ready(ReplicaState state, AskStream beginning, List<ReplicaCommand> commands)
    {
        if (beginning.Start != StreamStart.Everything || beginning.From != default)
        {
            // Where the owner names the point, the log ends at the common one until then.
            LogPoint at = beginning is { Start: StreamStart.Differences, From.Sequence: 0 } ? state.Record.CopyBase : beginning.From;
            state = state with
            {
                Received = at, Durable = at, Ends = [], Unapplied = [], ApplyLimit = Math.Min(state.ApplyLimit, at.Sequence),
            };
        }

        return Stream(state, beginning, commands);
    }

    private static ReplicaState Stream(ReplicaState state, AskStream beginning, List<ReplicaCommand> commands)
    {
        commands.Add(beginning);
        return state with { IsStreaming = true, Beginning = null };
    }

    /// <summary>The log of a copy that begins anew: its data were asked for, and the log goes on behind this point.</summary>
    /// <param name="state">The state.</param>
    /// <param name="at">The point that the owner named.</param>
    /// <param name="size">Size of the volume there, bytes.</param>
    public static ReplicaState LogBeginsAt(ReplicaState state, LogPoint at, long size)
    {
        ArgumentNullException.ThrowIfNull(state);
        return state with
        {
            Size = size, Received = at, Durable = at, Ends = [], Unapplied = [], ApplyLimit = at.Sequence,
            Record = state.Record with { CopyBase = at },
        };
    }

    private static ReplicaState Append(ReplicaState state, BatchArrived batch, List<ReplicaCommand> commands)
    {
        ReadOnlySpan<LogRecord> records = batch.Records.Span;
        int skip = 0;
        while (skip < records.Length && records[skip].Sequence <= state.Received.Sequence) skip++;
        if (skip == records.Length) return Acknowledge(state, commands);
        if (WrongIn(state.Received, records[skip..], state.Following, state.Size, batch.Chain) is { } wrong)
        {
            commands.Add(new RefuseOwner(wrong));
            return Quiet(state);
        }

        LogPoint last = LogPoint.Of(records[^1]);
        long size = state.Size;
        foreach (ref readonly LogRecord record in records[skip..])
        {
            if (record.Kind == LogRecordKind.Size) size = record.Length;
        }

        commands.Add(new AppendBatch(skip));
        state = state with
        {
            Size = size, Received = last, Ends = state.Ends.Enqueue(last), Unapplied = state.Unapplied.Enqueue(last.Sequence),
            OwnerDurable = Math.Max(state.OwnerDurable, batch.OwnerDurable),
        };
        return Acknowledge(Applicable(state), commands);
    }

    private static ReplicaState Acknowledge(ReplicaState state, List<ReplicaCommand> commands)
    {
        commands.Add(new SendAck(state.Received.Sequence, state.Durable.Sequence));
        return state;
    }

    private static ReplicaState Synced(ReplicaState state, ulong through, List<ReplicaCommand> commands)
    {
        LogPoint before = state.Durable;
        while (!state.Ends.IsEmpty && state.Ends.Peek().Sequence <= through)
            state = state with { Durable = state.Ends.Peek(), Ends = state.Ends.Dequeue() };
        if (state.Durable == before) return state;
        state = Whole(Applicable(state));
        if (state.IsStreaming) Acknowledge(state, commands);
        return Prove(state, commands);
    }

    private static ReplicaState Applicable(ReplicaState state)
    {
        ulong both = Math.Min(state.Durable.Sequence, state.OwnerDurable);
        while (!state.Unapplied.IsEmpty && state.Unapplied.Peek() <= both)
            state = state with { ApplyLimit = state.Unapplied.Peek(), Unapplied = state.Unapplied.Dequeue() };
        return state;
    }

    private static ReplicaState Whole(ReplicaState state)
    {
        if (state.Record.Phase is not (CopyPhase.Copying or CopyPhase.Resyncing) || state.Record.CopyEnd is not { } end
            || state.Durable.Sequence < end.Sequence)
        {
            return state;
        }

        return state with
        {
            Record = state.Record with { Phase = CopyPhase.Following, LastConsistent = null, CopyEnd = null, CopiedBytes = 0,
                CopyBase = default },
        };
    }

    private static ReplicaState Prove(ReplicaState state, List<ReplicaCommand> commands)
    {
        if (state.Proof is not { } proof || state.Durable.Sequence < proof.Point.Sequence) return state;
        commands.Add(new SendProof(proof));
        return state with { Proof = null };
    }
}
