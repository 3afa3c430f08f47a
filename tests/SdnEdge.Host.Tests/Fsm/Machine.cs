using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;

namespace SdnEdge.Host.Tests.Fsm;

/// <summary>One server's machine with a disk and a driver that do at once what they are asked, and a log of it all in order.</summary>
internal sealed class Machine
{
    private readonly Dictionary<long, object> _results = [];
    private readonly bool _undoable;
    private long _ticket;
    private long _now = 1000;

    public Machine(bool runs, bool undoable = true)
    {
        _undoable = undoable;
        Disk = HostRecord.First("vs", runs);
        Does = runs ? ServerState.Running : ServerState.Absent;
        Server = HostFsm.Start(Disk, undoable);
    }

    public HostServer Server { get; private set; }

    public HostRecord Disk { get; set; }

    /// <summary>What the server does.</summary>
    public ServerState Does { get; set; }

    /// <summary>This call of the driver fails; null = none.</summary>
    public DriverCall? Broken { get; set; }

    /// <summary>The disk is full.</summary>
    public bool DiskFull { get; set; }

    /// <summary>Takes everything that happens, in order: "disk Stopping 5", "driver Stop", "answer stop".</summary>
    public List<string> Log { get; } = [];

    /// <summary>Starts again with what is on disk.</summary>
    public void Restart() => Server = HostFsm.Start(Disk, _undoable);

    /// <summary>Looks between orders.</summary>
    public string? Look()
    {
        Feed(new ServerSeen(Does));
        return Server.Fault;
    }

    /// <summary>The answer or the refusal of an order.</summary>
    public object Order(ServerOrder order, long epoch, MigrationRole? role = null, string migration = "m", bool cold = false)
    {
        long ticket = ++_ticket;
        Feed(new OrderArrived(new HostOrder(ticket, order, new ServerOrderRequest(epoch, migration, role, Cold: cold))));
        return _results[ticket];
    }

    /// <summary>The same, of a fail-over.</summary>
    public ServerReply Cold(ServerOrder order, long epoch)
        => Order(order, epoch, cold: true) as ServerReply
            ?? throw new InvalidOperationException($"cold {order} of {epoch} was refused: {_results[_ticket]}");

    public ServerReply Done(ServerOrder order, long epoch, MigrationRole? role = null, string migration = "m")
        => Order(order, epoch, role, migration) as ServerReply
            ?? throw new InvalidOperationException($"{order} of {epoch} was refused: {_results[_ticket]}");

    public HostRefusal Refused(ServerOrder order, long epoch, MigrationRole? role = null, string migration = "m")
        => Order(order, epoch, role, migration) as HostRefusal
            ?? throw new InvalidOperationException($"{order} of {epoch} was not refused: {_results[_ticket]}");

    private void Feed(HostInput first)
    {
        var inputs = new Queue<HostInput>([first]);
        while (inputs.TryDequeue(out HostInput? input))
        {
            (Server, IReadOnlyList<HostCommand> commands) = HostFsm.Step(Server, input, _now++);
            foreach (HostCommand command in commands)
            {
                switch (command)
                {
                    case WriteRecord when DiskFull:
                        inputs.Enqueue(new RecordFailed("no space left"));
                        break;
                    case WriteRecord write:
                        Log.Add($"disk {write.Record.Phase} {write.Record.Epoch}");
                        Disk = write.Record;
                        inputs.Enqueue(new RecordSynced());
                        break;
                    case CallDriver call when call.Call == Broken:
                        Log.Add($"driver {call.Call} fails");
                        inputs.Enqueue(new DriverFailed("it broke"));
                        break;
                    case CallDriver call:
                        if (call.Call != DriverCall.Look) Log.Add($"driver {call.Call}");
                        inputs.Enqueue(new DriverDone(Does = After(call.Call, Does)));
                        break;
                    case AnswerOrder answer:
                        Log.Add($"answer {HostFsm.Word(answer.Reply.Order)}{(answer.Reply.Repeated ? " repeated" : "")}");
                        _results.Add(answer.Ticket, answer.Reply);
                        break;
                    case RefuseOrder refuse:
                        Log.Add($"refuse {refuse.Refusal.Kind}");
                        _results.Add(refuse.Ticket, refuse.Refusal);
                        break;
                }
            }
        }
    }

    public static ServerState After(DriverCall call, ServerState before) => call switch
    {
        DriverCall.PrepareIncoming => ServerState.Incoming,
        DriverCall.Stop or DriverCall.HandOver => ServerState.Paused,
        DriverCall.Activate or DriverCall.Resume => ServerState.Running,
        DriverCall.Cancel or DriverCall.Kill or DriverCall.Fence => ServerState.Absent,
        _ => before,
    };
}
