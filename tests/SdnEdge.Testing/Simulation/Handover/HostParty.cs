using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;

namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>What a party answers: one of the two.</summary>
internal sealed record Answer<T>(T? Value, Problem? Problem = null)
    where T : class;

/// <summary>
/// One server at one site: the host agent's machine (<see cref="HostFsm"/>, as it ships), its disk, its driver and the guest. The guest is
/// another process than the agent: when the agent is killed it goes on as it was.
/// </summary>
internal sealed class ServerCell(string server, string site, bool runs, bool undoable)
{
    public string Server { get; } = server;

    public string Site { get; } = site;

    public ServerState Guest { get; set; } = runs ? ServerState.Running : ServerState.Absent;

    /// <summary>What is on disk.</summary>
    public HostRecord Disk { get; set; } = HostRecord.First(server, runs);

    /// <summary>What is being written.</summary>
    public HostRecord? Writing { get; set; }

    public CallDriver? Calling { get; set; }

    public HostServer Machine { get; set; } = HostFsm.Start(HostRecord.First(server, runs), undoable);

    public bool Undoable { get; } = undoable;
}

/// <summary>The host agent of a site.</summary>
internal sealed class HostParty(HandoverWorld world, string site, IEnumerable<string> servers, bool runs, bool undoable) : Party(world,
    "host-" + site)
{
    private readonly Dictionary<long, Action<Answer<ServerReply>>> _answers = [];
    private long _ticket;

    public Dictionary<string, ServerCell> Cells { get; } = servers.ToDictionary(s => s, s => new ServerCell(s, site, runs, undoable),
        StringComparer.Ordinal);

    /// <summary>An order comes in.</summary>
    public void Order(string server, ServerOrder order, ServerOrderRequest request, Action<Answer<ServerReply>> answer)
    {
        ServerCell cell = Cells[server];
        if (World.Mutant == Mutant.HostTakesLowerEpoch && request.Epoch < cell.Machine.Record.Epoch && order != ServerOrder.Void)
            request = request with { Epoch = cell.Machine.Record.Epoch + 1 };
        if (World.Mutant == Mutant.VoidThoughItRan && order == ServerOrder.Void)
        {
            answer(new(new ServerReply(server, order, request.Epoch, ServerState.Incoming, false, Now, EpochVerdict.Void)));
            return;
        }

        _answers[++_ticket] = answer;
        Input(cell, new OrderArrived(new HostOrder(_ticket, order, request)));
    }

    /// <summary>What it says of a server: it is looked at first, unless an order is being carried out.</summary>
    public ServerInfo Info(string server)
    {
        ServerCell cell = Cells[server];
        Input(cell, new ServerSeen(cell.Guest));
        HostRecord r = cell.Machine.Record;
        return new ServerInfo(server, "simulated", cell.Machine.Seen, r.Epoch, r.MayRun, r.RanEpoch, r.VoidEpoch, r.Migration,
            cell.Undoable, null, cell.Machine.Fault);
    }

    /// <summary>True when an order of an older epoch changes nothing here.</summary>
    public bool RefusesOlder(string server, ServerOrder order)
    {
        HostServer machine = Cells[server].Machine;
        var old = new HostOrder(0, order, new ServerOrderRequest(machine.Record.Epoch - 1, "old"));
        return HostFsm.Step(machine, new OrderArrived(old), Now).Commands is [RefuseOrder { Refusal.Kind: HostRefusalKind.StaleEpoch }];
    }

    protected override void OnCrash()
    {
        _answers.Clear();
        foreach (ServerCell cell in Cells.Values)
        {
            if (cell.Writing is { } record && World.Sim.Chance(500)) Wrote(cell, record);
            if (cell.Calling is { } call && World.Sim.Chance(500)) Act(cell, call);
            (cell.Writing, cell.Calling) = (null, null);
        }
    }

    protected override void OnStart()
    {
        foreach (ServerCell cell in Cells.Values)
        {
            cell.Machine = HostFsm.Start(cell.Disk, cell.Undoable);
            if (World.Mutant == Mutant.RestartResumesGuest && cell.Guest == ServerState.Paused) Become(cell, ServerState.Running);
            Input(cell, new ServerSeen(cell.Guest));
        }
    }

    private void Input(ServerCell cell, HostInput first)
    {
        var inputs = new Queue<HostInput>([first]);
        while (inputs.TryDequeue(out HostInput? input))
        {
            IReadOnlyList<HostCommand> commands;
            (cell.Machine, commands) = HostFsm.Step(cell.Machine, input, Now);
            foreach (HostCommand command in commands)
            {
                switch (command)
                {
                    case WriteRecord write:
                        Write(cell, write.Record, inputs);
                        break;
                    case CallDriver call:
                        Call(cell, call, inputs);
                        break;
                    case BreakOffCall when World.Sim.Chance(500) && cell.Calling is not null:
                        cell.Calling = null;
                        inputs.Enqueue(new DriverFailed("broken off"));
                        break;
                    case AnswerOrder done:
                        World.Log(Name, $"answers {done.Reply.Order} {done.Reply.Server}: "
                            + $"epoch {done.Reply.Epoch}, {done.Reply.State} {done.Reply.Verdict}");
                        if (World.Mutant == Mutant.VoidIsForgotten && done.Reply.Verdict == EpochVerdict.Void)
                        {
                            cell.Machine = cell.Machine with { Record = cell.Machine.Record with { VoidEpoch = 0 } };
                            cell.Disk = cell.Machine.Record;
                        }

                        if (_answers.Remove(done.Ticket, out Action<Answer<ServerReply>>? answer)) answer(new(done.Reply));
                        break;
                    case RefuseOrder no:
                        World.Log(Name, $"refuses ({no.Refusal.Kind}): {no.Refusal.Detail}");
                        if (_answers.Remove(no.Ticket, out Action<Answer<ServerReply>>? refused)) refused(new(null, ProblemOf(no.Refusal)));
                        break;
                }
            }
        }
    }

    private static Problem ProblemOf(HostRefusal refusal) => refusal.Kind switch
    {
        HostRefusalKind.StaleEpoch => new("/problems/stale-epoch", "", 409, refusal.Detail),
        HostRefusalKind.WrongState => new("/problems/wrong-state", "", 409, refusal.Detail),
        HostRefusalKind.VoidEpoch => new("/problems/void-epoch", "", 409, refusal.Detail),
        HostRefusalKind.DriverFailed => new("/problems/driver-failed", "", 502, refusal.Detail),
        _ => new("/problems/state-not-durable", "", 503, refusal.Detail),
    };

    private void Write(ServerCell cell, HostRecord record, Queue<HostInput> inputs)
    {
        cell.Writing = record;
        bool lies = (World.Mutant == Mutant.StopNotDurable && record.Phase == HostPhase.Stopping)
            || (World.Mutant == Mutant.WillRunNotDurable && record.Phase == HostPhase.Starting);
        if (lies)
        {
            In(World.Sim.Between(5_000_000, 5_000_000_000), () =>
            {
                if (cell.Writing == record) Wrote(cell, record);
            });
            inputs.Enqueue(new RecordSynced());
            return;
        }

        In(SyncTime(), () =>
        {
            cell.Writing = null;
            bool fails = World.Fails(10);
            if (!fails || World.Sim.Chance(500)) Wrote(cell, record);
            Input(cell, fails && World.Mutant != Mutant.FailedWriteIsDone ? new RecordFailed("the disk") : new RecordSynced());
        });
    }

    private void Wrote(ServerCell cell, HostRecord record)
    {
        cell.Disk = record;
        World.RightChanged(cell.Server);
    }

    private void Call(ServerCell cell, CallDriver call, Queue<HostInput> inputs)
    {
        cell.Calling = call;
        if (World.Mutant == Mutant.StopBeforePaused && call.Call == DriverCall.Stop)
        {
            World.Sim.In(World.Sim.Between(1_000_000, 2_000_000_000), () => Act(cell, call));
            inputs.Enqueue(new DriverDone(ServerState.Paused));
            return;
        }

        bool fails = call.Call != DriverCall.Look && World.Fails(call.Call is DriverCall.Stop or DriverCall.Activate ? 60 : 20);
        bool hangs = fails && World.Sim.Chance(300);
        In(hangs ? World.Sim.Between(1_000_000_000, 30_000_000_000) : World.Sim.Between(500_000, 15_000_000), () =>
        {
            if (cell.Calling != call) return; // broken off
            cell.Calling = null;
            if (!fails || World.Sim.Chance(400)) fails |= !Act(cell, call);
            Input(cell, !fails ? new DriverDone(cell.Guest)
                : World.Mutant == Mutant.FailedCallIsDone ? new DriverDone(Expected(call.Call)) : new DriverFailed($"{call.Call} failed"));
        });
    }

    private static ServerState Expected(DriverCall call) => call switch
    {
        DriverCall.PrepareIncoming => ServerState.Incoming,
        DriverCall.Stop or DriverCall.HandOver => ServerState.Paused,
        DriverCall.Activate or DriverCall.Resume => ServerState.Running,
        _ => ServerState.Absent,
    };

    // What the driver's call does to the guest. False: it cannot be done.
    private bool Act(ServerCell cell, CallDriver call)
    {
        switch (call.Call)
        {
            case DriverCall.Look:
                return true;
            case DriverCall.PrepareIncoming:
                return cell.Guest != ServerState.Running && Become(cell, ServerState.Incoming);
            case DriverCall.Stop:
                return cell.Guest is ServerState.Running or ServerState.Paused && Become(cell, ServerState.Paused);
            case DriverCall.HandOver:
                return cell.Guest == ServerState.Paused;
            case DriverCall.Activate or DriverCall.Resume:
                World.Log(Name, $"{call.Call} {cell.Server} of epoch {call.Order.Request.Epoch}: the guest was {cell.Guest}");
                if (call.Call == DriverCall.Resume
                    && cell.Guest == ServerState.Absent) World.Fail($"{cell.Server}: what {Name} kept is gone, and is to go on");
                World.MustBeGranted(cell.Server, cell.Site, call.Order.Request.Epoch);
                return Become(cell, ServerState.Running);
            default:
                return Become(cell, ServerState.Absent);
        }
    }

    private bool Become(ServerCell cell, ServerState state)
    {
        if (cell.Guest == state) return true;
        World.Log(Name, $"guest {cell.Server}: {cell.Guest} -> {state}");
        cell.Guest = state;
        World.GuestChanged(cell.Server);
        return true;
    }
}
