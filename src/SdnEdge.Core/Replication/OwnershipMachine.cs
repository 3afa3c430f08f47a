using System.Collections.Immutable;

namespace SdnEdge.Core.Replication;

/// <summary>A volume's ownership at one store. Only the record survives the process.</summary>
public sealed record OwnershipState
{
    /// <summary>What is on disk.</summary>
    public required OwnershipRecord Record { get; init; }

    /// <summary>True from the moment at which a seal was begun: no write is admitted, whatever the record says.</summary>
    public bool IsClosed { get; init; }

    /// <summary>True: a lease is needed to admit a write.</summary>
    public bool NeedsLease { get; init; }

    /// <summary>Until when the lease runs, this store's clock, nanoseconds. A new process has none.</summary>
    public long LeaseUntil { get; init; } = long.MinValue;

    /// <summary>Requests that wait.</summary>
    public int Parked { get; init; }

    /// <summary>Their bytes.</summary>
    public long ParkedBytes { get; init; }

    /// <summary>Requests that ever waited.</summary>
    public long ParkedEver { get; init; }

    /// <summary>The order being carried out; null = none.</summary>
    public OwnershipOrder? Current { get; init; }

    /// <summary>The orders that wait behind it, with what the copy was when they came.</summary>
    public ImmutableQueue<OwnershipOrderArrived> Waiting { get; init; } = [];

    /// <summary>How many wait.</summary>
    public int WaitingCount { get; init; }

    // The record that is being written; null = none is.
    internal OwnershipRecord? Writing { get; init; }

    // A forced grant: where the copy is put back to.
    internal LogPoint? RewindTo { get; init; }
}

/// <summary>
/// Who may write a volume, as a pure function. The order of every effect is: the record is on disk, then the effect, then the answer.
/// <code>
/// Replica  --Grant-->   Owner                       (the copy is consistent and is what the sealed owner had, or forced by name)
/// Owner    --Seal-->    Sealed                      (writes wait from the first moment; then the last sequence; then the record)
/// Sealed   --Unpark-->  Owner under the new epoch   (a move that is undone)
/// any      --Release--> Released                    (after the pivot)
/// Released --Prepare--> Replica                     (the way back: writes wait again)
/// </code>
/// R1: an order with a lower epoch than the highest seen is refused, and what was seen is on disk before any answer. R2: an undo carries a
/// higher epoch, so that a late seal of the undone one is refused. R3: undo may reach a store that was never asked: each has an answer
/// in every role. R5: <see cref="OwnershipOrderKind.Void"/> is answered from disk, for ever.
/// </summary>
public static partial class OwnershipMachine
{
    /// <summary>Most orders that wait.</summary>
    public const int MaxWaiting = 64;

    /// <summary>Most requests that wait, all clients together.</summary>
    public const int MaxParked = 1024;

    /// <summary>Most bytes of requests that wait.</summary>
    public const long MaxParkedBytes = 64L << 20;

    // Enough for the life of a volume; the oldest are forgotten, and are below every epoch that is still asked about.
    private const int MaxEpochs = 1024;

    /// <summary>A volume as it is after a start, from its record alone. A lease is needed anew.</summary>
    public static OwnershipState Start(OwnershipRecord record, bool needsLease = false)
    {
        ArgumentNullException.ThrowIfNull(record);
        return new() { Record = record, NeedsLease = needsLease };
    }

    /// <summary>What becomes of a write, trim or zeroing of a client. Reads are answered in every role but <see cref="OwnerRole.Sealed"/>,
    /// a flush always.</summary>
    /// <param name="state">The state.</param>
    /// <param name="client">Who asks.</param>
    /// <param name="now">This store's clock, nanoseconds.</param>
    public static Admission Admit(OwnershipState state, ClientIdentity? client, long now)
    {
        ArgumentNullException.ThrowIfNull(state);
        if (state.Record.Role == OwnerRole.Released) return Admission.NotPermitted;
        if (MayAnswer(state, client, now) && state.Record.Role == OwnerRole.Owner && !state.IsClosed) return Admission.Admit;
        return state.Parked >= MaxParked || state.ParkedBytes >= MaxParkedBytes ? Admission.HoldConnection : Admission.Park;
    }

    /// <summary>True while a write that was admitted may be answered to its client: its grant and its lease are still in force. A write
    /// that got its sequence before a seal is answered after it.</summary>
    /// <param name="state">The state.</param>
    /// <param name="client">Who asked.</param>
    /// <param name="now">This store's clock, nanoseconds.</param>
    public static bool MayAnswer(OwnershipState state, ClientIdentity? client, long now)
    {
        ArgumentNullException.ThrowIfNull(state);
        return state.Record.Role is OwnerRole.Owner or OwnerRole.Sealed && client is not null && client == state.Record.Client
            && (!state.NeedsLease || now < state.LeaseUntil);
    }

    /// <summary>True when the stream of an owner may be followed here.</summary>
    /// <param name="record">What is on disk.</param>
    /// <param name="epoch">The owner's epoch.</param>
    public static OwnershipRefusal? MayFollow(OwnershipRecord record, ulong epoch)
    {
        ArgumentNullException.ThrowIfNull(record);
        ulong newest = Math.Max(record.OwnerEpoch, record.GrantedEpoch);
        if (epoch < newest)
        {
            return new(OwnershipRefusalKind.StaleEpoch,
                $"the owner's epoch is {epoch}, but {newest} was granted since; it is not the owner any "
                + "more, and its later records are kept at its site");
        }

        return record.Role is OwnerRole.Replica or OwnerRole.Released ? null
            : new(OwnershipRefusalKind.WrongRole,
            $"this store is {record.Role} of the volume itself, under epoch {record.GrantedEpoch}; the manager "
                + "must release it before it follows another");
    }

    /// <summary>True when this store gives its ownership up by itself, because the other one says that it is the owner under a higher
    /// epoch: a person has promoted it, and nobody will undo that. What a manager has granted it may still void (R5): then nothing is given
    /// up before the manager says so.</summary>
    /// <param name="record">What is on disk.</param>
    /// <param name="epoch">The other owner's epoch.</param>
    /// <param name="isFinal">It was promoted by a person.</param>
    public static bool GivesWay(OwnershipRecord record, ulong epoch, bool isFinal)
    {
        ArgumentNullException.ThrowIfNull(record);
        return isFinal && record.Role is (OwnerRole.Owner or OwnerRole.Sealed) && epoch > record.GrantedEpoch;
    }

    /// <summary>Takes one input.</summary>
    /// <param name="state">The state before.</param>
    /// <param name="input">What happened.</param>
    /// <returns>The state after, and what is to be done, in this order.</returns>
    public static (OwnershipState State, IReadOnlyList<OwnershipCommand> Commands) Step(OwnershipState state, OwnershipInput input)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(input);
        var commands = new List<OwnershipCommand>();
        switch (input)
        {
            case OwnershipOrderArrived(var order, _) when state.WaitingCount >= MaxWaiting:
                commands.Add(new RefuseOwnership(order.Ticket, new(OwnershipRefusalKind.Busy,
                    $"{MaxWaiting} orders wait for this volume already; wait for their answers")));
                break;
            case OwnershipOrderArrived arrived:
                state = state with { Waiting = state.Waiting.Enqueue(arrived), WaitingCount = state.WaitingCount + 1 };
                break;
            case AdmissionStopped(var last) when state.Current?.Kind == OwnershipOrderKind.Seal && state.Writing is null:
                state = Write(state, state.Record with { Role = OwnerRole.Sealed, SealedAt = last, Seen = state.Current.Epoch }, commands);
                break;
            case AdmissionStopFailed(var reason) when state.Current?.Kind == OwnershipOrderKind.Seal && state.Writing is null:
                state = Refused(state, OwnershipRefusalKind.StoreFailed,
                    $"the log could not be made durable: {reason}; nothing is admitted, order it "
                    + "again or undo it", commands);
                break;
            case OwnershipSynced when state.Writing is { } written:
                state = Written(state with { Record = written, Writing = null }, commands);
                break;
            case OwnershipSyncFailed(var reason) when state.Writing is not null:
                state = Refused(state with { Writing = null }, OwnershipRefusalKind.StoreFailed,
                    $"the ownership's record could not be written: {reason}; the same order again tries again", commands);
                break;
            case ParkedChanged(var requests, var bytes):
                state = state with
                {
                    Parked = state.Parked + requests,
                    ParkedBytes = state.ParkedBytes + bytes,
                    ParkedEver = state.ParkedEver + Math.Max(0, requests),
                };
                break;
            case LeaseRenewed(var sentAt, var length):
                state = state with { LeaseUntil = Math.Max(state.LeaseUntil, sentAt + length) };
                break;
            case OwnerSeen(var epoch) when state.Current is null && epoch > state.Record.OwnerEpoch
                && state.Record.Role is OwnerRole.Replica or OwnerRole.Released:
                state = Write(state, state.Record with { OwnerEpoch = epoch }, commands);
                break;
        }

        while (state is { Current: null, Writing: null, WaitingCount: > 0 })
        {
            state = state with { Waiting = state.Waiting.Dequeue(out OwnershipOrderArrived next), WaitingCount = state.WaitingCount - 1 };
            state = Begin(state with { Current = next.Order }, next.Copy, commands);
        }

        return (state, commands);
    }

    private static OwnershipState Write(OwnershipState state, OwnershipRecord record, List<OwnershipCommand> commands)
    {
        commands.Add(new WriteOwnership(record));
        return state with { Writing = record };
    }

    private static OwnershipState Refused(OwnershipState state, OwnershipRefusalKind kind, string detail, List<OwnershipCommand> commands)
    {
        if (state.Current is { } order) commands.Add(new RefuseOwnership(order.Ticket, new(kind, detail)));
        return state with { Current = null };
    }

    private static OwnershipState Answered(
        OwnershipState state, bool repeated, List<OwnershipCommand> commands, GrantVerdict? verdict = null)
    {
        OwnershipOrder order = state.Current!;
        commands.Add(new AnswerOwnership(order.Ticket, new(order.Kind, state.Record.Seen, state.Record.Role, repeated)
        {
            SealedAt = order.Kind is OwnershipOrderKind.Seal or OwnershipOrderKind.Release ? state.Record.SealedAt : null,
            Verdict = verdict,
        }));
        return state with { Current = null };
    }

    private static ImmutableArray<ulong> With(ImmutableArray<ulong> epochs, ulong epoch)
    {
        if (epochs.Contains(epoch)) return epochs;
        epochs = epochs.Add(epoch).Sort();
        return epochs.Length > MaxEpochs ? epochs.RemoveAt(0) : epochs;
    }
}
