using System.Collections.Immutable;
using SdnEdge.Core.Api;

namespace SdnEdge.Core.Migration;

/// <summary>What a host asks the driver of a server.</summary>
public enum DriverCall
{
    /// <summary>What is the server doing? No side effects.</summary>
    Look,
    /// <summary>Target: make what it needs to be taken over; discard what an earlier prepare made.</summary>
    PrepareIncoming,
    /// <summary>Source: stop it, and return when it was seen to stand still.</summary>
    Stop,
    /// <summary>Source: hand its state over to the target.</summary>
    HandOver,
    /// <summary>Target: run it, and return when it was seen running. A second time, after it has died: start it anew.</summary>
    Activate,
    /// <summary>Source: let it go on, and return when it was seen running.</summary>
    Resume,
    /// <summary>Target: remove what prepare made.</summary>
    Cancel,
    /// <summary>Source: remove what was kept of it.</summary>
    Kill,
    /// <summary>Source of a fail-over: kill it, whatever it does.</summary>
    Fence,
}

/// <summary>An order as it came in.</summary>
/// <param name="Ticket">Number by which it is answered.</param>
/// <param name="Order">The order.</param>
/// <param name="Request">Its body.</param>
public sealed record HostOrder(long Ticket, ServerOrder Order, ServerOrderRequest Request);

/// <summary>Why an order is not carried out.</summary>
public enum HostRefusalKind
{
    /// <summary>Its epoch is lower than the highest seen (R1).</summary>
    StaleEpoch,
    /// <summary>The state does not allow it.</summary>
    WrongState,
    /// <summary>The epoch was said to be void (R5): it is never run here.</summary>
    VoidEpoch,
    /// <summary>The driver failed. Not done: the same order again tries again.</summary>
    DriverFailed,
    /// <summary>The record could not be made durable. Not done: the same order again tries again.</summary>
    StoreFailed,
    /// <summary>The server's record cannot be read: no order is taken.</summary>
    Unusable,
    /// <summary>Too many orders wait.</summary>
    Busy,
}

/// <summary>A refusal.</summary>
/// <param name="Kind">The kind.</param>
/// <param name="Detail">What was wrong and what would be right.</param>
public sealed record HostRefusal(HostRefusalKind Kind, string Detail);

/// <summary>What happens to a server's machine.</summary>
public abstract record HostInput;

/// <summary>An order came in.</summary>
/// <param name="Order">The order.</param>
public sealed record OrderArrived(HostOrder Order) : HostInput;

/// <summary>The record that was to be written is durable.</summary>
public sealed record RecordSynced : HostInput;

/// <summary>It could not be made durable. Whether it is on disk is not known.</summary>
/// <param name="Reason">Why.</param>
public sealed record RecordFailed(string Reason) : HostInput;

/// <summary>A driver's call is done.</summary>
/// <param name="Seen">What it saw the server do at the end.</param>
public sealed record DriverDone(ServerState Seen) : HostInput;

/// <summary>A driver's call failed.</summary>
/// <param name="Reason">What the driver said.</param>
/// <param name="Final">True: the same order again is of no use; the move has to be undone.</param>
public sealed record DriverFailed(string Reason, bool Final = false) : HostInput;

/// <summary>The server was looked at between orders.</summary>
/// <param name="Seen">What it does.</param>
/// <param name="Reason">Unknown: why the driver could not say. Else why it does not run, where that is known.</param>
public sealed record ServerSeen(ServerState Seen, string? Reason = null) : HostInput;

/// <summary>What a server's machine wants done. At most one write or call is open at a time; the next input but orders is its
/// result.</summary>
public abstract record HostCommand;

/// <summary>Make the record durable.</summary>
/// <param name="Record">The record.</param>
public sealed record WriteRecord(HostRecord Record) : HostCommand;

/// <summary>Ask the driver.</summary>
/// <param name="Call">What.</param>
/// <param name="Order">The order that it is for.</param>
public sealed record CallDriver(DriverCall Call, HostOrder Order) : HostCommand;

/// <summary>Break the open call off: it is a hand-over, and the server is to go on here. Its result follows, whichever it is.</summary>
public sealed record BreakOffCall : HostCommand;

/// <summary>Answer an order.</summary>
/// <param name="Ticket">Its number.</param>
/// <param name="Reply">The answer.</param>
public sealed record AnswerOrder(long Ticket, ServerReply Reply) : HostCommand;

/// <summary>Refuse an order.</summary>
/// <param name="Ticket">Its number.</param>
/// <param name="Refusal">Why.</param>
public sealed record RefuseOrder(long Ticket, HostRefusal Refusal) : HostCommand;

/// <summary>A step of an order that is being carried out.</summary>
internal abstract record HostStep;

/// <summary>Write the record.</summary>
internal sealed record Write(HostRecord Record) : HostStep;

/// <summary>Ask the driver, which must then see this state.</summary>
internal sealed record Call(DriverCall What, ServerState Expects) : HostStep;

/// <summary>Look, and plan with what was seen.</summary>
internal sealed record LookFirst : HostStep;

/// <summary>Answer.</summary>
internal sealed record Reply(bool Repeated = false, EpochVerdict? Verdict = null) : HostStep;

/// <summary>Refuse.</summary>
internal sealed record Refuse(HostRefusal Refusal) : HostStep;

/// <summary>One server of a host: its record, what it was last seen doing, and the orders. Only the record survives the process.</summary>
public sealed record HostServer
{
    /// <summary>What is on disk.</summary>
    public required HostRecord Record { get; init; }

    /// <summary>False: once handed over it cannot be resumed at the source.</summary>
    public bool Undoable { get; init; } = true;

    /// <summary>Why no orders are taken: its record cannot be read. Null = they are.</summary>
    public string? Unusable { get; init; }

    /// <summary>What it was last seen doing.</summary>
    public ServerState Seen { get; init; } = ServerState.Unknown;

    /// <summary>Unknown: why the driver could not say. Else why it does not run, where that is known; null = not.</summary>
    public string? LookFault { get; init; }

    /// <summary>Why the last write failed; null = it did not.</summary>
    public string? StoreFault { get; init; }

    /// <summary>When the last stop, activate or resume took effect, CLOCK_MONOTONIC in ns; 0 = not in this life.</summary>
    public long EffectAtNs { get; init; }

    /// <summary>The order being carried out; null = none.</summary>
    public HostOrder? Current { get; init; }

    /// <summary>The orders that wait behind it.</summary>
    public ImmutableQueue<HostOrder> Waiting { get; init; } = [];

    /// <summary>How many wait.</summary>
    public int WaitingCount { get; init; }

    internal ImmutableQueue<HostStep> Rest { get; init; } = [];

    // A write or a call whose result has not come.
    internal bool Open { get; init; }

    internal bool Answered { get; init; }

    /// <summary>What is wrong with it, for people; null = nothing. While an order is carried out nothing is said of the state
    /// between.</summary>
    public string? Fault
        => Unusable ?? StoreFault ?? (Current is not null || (Seen == ServerState.Unknown && LookFault is null) ? null
            : HostDiagnosis.Of(Record, Seen, LookFault));
}

/// <summary>
/// One server of a host, as a pure function. An order goes:
/// <code>
/// 1. wait until the one before it is answered and its record written (one queue a server)
/// 2. a plan is made of record and order: steps out of write, call, look, reply, refuse (<see cref="HostPlans"/>)
/// 3. the steps are taken one by one; a write or call ends the step with a command, its result takes the next
/// 4. a failed write or call refuses the order (not done: the same order again tries again)
/// </code>
/// A resume does not wait for the hand-over that it undoes: that is broken off.
/// The rules R1 to R8 are those of the hand-over, docs/design.md; where a rule is kept, it is named.
/// </summary>
public static class HostFsm
{
    /// <summary>Most orders that wait for one server.</summary>
    public const int MaxWaiting = 64;

    /// <summary>A server as it is after a start, from its record alone. R4: nothing is started or resumed by a start.</summary>
    /// <param name="record">From disk, or <see cref="HostRecord.First"/>.</param>
    /// <param name="undoable">Whether its driver's hand-over can be undone.</param>
    /// <param name="unusable">Why the record cannot be used; null = it can.</param>
    public static HostServer Start(HostRecord record, bool undoable, string? unusable = null)
        => new() { Record = record, Undoable = undoable, Unusable = unusable };

    /// <summary>Takes one input.</summary>
    /// <param name="server">The server before.</param>
    /// <param name="input">What happened.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    /// <returns>The server after, and what is to be done, in this order.</returns>
    public static (HostServer Server, IReadOnlyList<HostCommand> Commands) Step(HostServer server, HostInput input, long now)
    {
        var commands = new List<HostCommand>();
        switch (input)
        {
            case OrderArrived(var order) when server.Unusable is { } reason:
                commands.Add(new RefuseOrder(order.Ticket, new HostRefusal(HostRefusalKind.Unusable, reason)));
                break;
            case OrderArrived(var order) when server.WaitingCount >= MaxWaiting:
                commands.Add(new RefuseOrder(order.Ticket, new HostRefusal(HostRefusalKind.Busy,
                    $"{MaxWaiting} orders wait for server {server.Record.Name} already; wait for their answers")));
                break;
            case OrderArrived(var order):
                server = server with { Waiting = server.Waiting.Enqueue(order), WaitingCount = server.WaitingCount + 1 };
                if (Undoes(server, order)) commands.Add(new BreakOffCall());
                break;
            case ServerSeen seen when server.Current is null:
                server = server with { Seen = seen.Seen, LookFault = seen.Seen == ServerState.Unknown
                    ? seen.Reason ?? "the driver cannot say what it does" : seen.Reason };
                break;
            case ServerSeen:
                break;   // It was looked at before the order began.
            case RecordSynced:
                server = Next(server, out HostStep written) with { Record = ((Write)written).Record, StoreFault = null };
                break;
            case RecordFailed failed:
                server = Fail(server with { StoreFault = failed.Reason }, new HostRefusal(HostRefusalKind.StoreFailed, failed.Reason),
                    commands);
                break;
            case DriverDone done:
                server = Done(server, done.Seen, now, commands);
                break;
            case DriverFailed failed:
                server = Fail(server, new HostRefusal(failed.Final ? HostRefusalKind.WrongState : HostRefusalKind.DriverFailed,
                    failed.Reason), commands);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(input), input, "an unknown input");
        }

        return (Advance(server, now, commands), commands);
    }

    // A hand-over that cannot be undone is never the one to be resumed (HostPlans refuses that).
    private static bool Undoes(HostServer server, HostOrder order) => server is { Open: true, Undoable: true, Current: { } current }
        && server.Rest.Peek() is Call { What: DriverCall.HandOver }
        && order.Order == ServerOrder.Resume && order.Request.Epoch > current.Request.Epoch;

    private static HostServer Next(HostServer server, out HostStep done)
    {
        if (!server.Open) throw new InvalidOperationException($"server {server.Record.Name}: a result came and nothing was open");
        return server with { Rest = server.Rest.Dequeue(out done), Open = false };
    }

    private static HostServer Done(HostServer server, ServerState seen, long now, List<HostCommand> commands)
    {
        server = Next(server, out HostStep step) with { Seen = seen, LookFault = null };
        HostOrder order = server.Current!;
        if (step is LookFirst)
        {
            return seen == ServerState.Unknown
                ? Fail(server, new HostRefusal(HostRefusalKind.DriverFailed, "the driver cannot say what the server does"), commands)
                : server with { Rest = [.. HostPlans.Of(server.Record, order, server.Undoable, seen)] };
        }

        var call = (Call)step;
        if (seen != call.Expects)
        {
            return Fail(server, new HostRefusal(HostRefusalKind.DriverFailed,
                $"the driver says that it has done {Word(call.What)}, and the server was seen {Word(seen)} where it should be "
                    + $"{Word(call.Expects)}"), commands);
        }

        return call.What is DriverCall.Stop or DriverCall.Activate or DriverCall.Resume ? server with { EffectAtNs = now } : server;
    }

    // What is on disk stays, and with it what was promised; the same order again begins at the step that failed.
    private static HostServer Fail(HostServer server, HostRefusal refusal, List<HostCommand> commands)
    {
        if (!server.Answered) commands.Add(new RefuseOrder(server.Current!.Ticket, refusal));
        return server with { Rest = [], Current = null, Open = false };
    }

    private static HostServer Advance(HostServer server, long now, List<HostCommand> commands)
    {
        if (server.Open) return server;
        while (true)
        {
            if (server.Rest.IsEmpty)
            {
                if (server.Waiting.IsEmpty) return server with { Current = null };
                server = server with { Waiting = server.Waiting.Dequeue(out HostOrder order), WaitingCount = server.WaitingCount - 1 };
                server = server with { Current = order, Answered = false,
                    Rest = [.. HostPlans.Of(server.Record, order, server.Undoable, null)] };
                continue;
            }

            HostOrder current = server.Current!;
            switch (server.Rest.Peek())
            {
                case Write write:
                    commands.Add(new WriteRecord(server.Record.Follow(write.Record)));
                    return server with { Open = true };
                case Call call:
                    // R4, R6: nothing runs without the right of its epoch on disk, and nothing is stopped while it has it.
                    if (call.What is DriverCall.Activate or DriverCall.Resume && server.Record.MayRun != current.Request.Epoch)
                        throw new InvalidOperationException($"server {server.Record.Name} would run without the right of epoch "
                            + $"{current.Request.Epoch}");
                    if (call.What is DriverCall.Stop or DriverCall.HandOver or DriverCall.Kill or DriverCall.Fence
                        && server.Record.MayRun is not null)
                        throw new InvalidOperationException($"server {server.Record.Name} would be stopped with its right to run on disk");
                    commands.Add(new CallDriver(call.What, current));
                    return server with { Open = true };
                case LookFirst:
                    commands.Add(new CallDriver(DriverCall.Look, current));
                    return server with { Open = true };
                case Reply reply:
                    commands.Add(new AnswerOrder(current.Ticket, Answer(server, current, reply, now)));
                    server = server with { Answered = true, Rest = server.Rest.Dequeue() };
                    break;
                case Refuse refuse:
                    commands.Add(new RefuseOrder(current.Ticket, refuse.Refusal));
                    server = server with { Answered = true, Rest = server.Rest.Dequeue() };
                    break;
            }
        }
    }

    private static ServerReply Answer(HostServer server, HostOrder order, Reply reply, long now) => new(
        server.Record.Name, order.Order, server.Record.Epoch,
        server.Seen == ServerState.Unknown ? HostDiagnosis.Expected(server.Record.Phase) : server.Seen, reply.Repeated,
        order.Order is ServerOrder.Stop or ServerOrder.Activate or ServerOrder.Resume or ServerOrder.Start && server.EffectAtNs != 0
            ? server.EffectAtNs : now, reply.Verdict);

    /// <summary>A value as the API writes it: <c>hand-over</c>.</summary>
    public static string Word<T>(T value) where T : struct, Enum
        => System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());
}
