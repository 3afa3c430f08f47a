using System.Globalization;
using FsCheck.Xunit;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using Xunit;

namespace SdnEdge.Host.Tests.Fsm;

/// <summary>
/// Two hosts with the machine that ships, a manager that keeps the order of a move and gives up at any point, and a network that loses,
/// delays, doubles and reorders its orders for ever. A host may crash before and after each disk write and each driver call. Never do both
/// run the server, and in the end the manager brings it to run at exactly one.
/// </summary>
public sealed class NeverBothRunTests
{
    [Property(MaxTest = 3000)]
    public void Never_do_both_hosts_run_the_server(int seed) => new World(seed).Run(250);

    [Fact]
    public void The_rare_paths_are_taken()
    {
        var seen = new SortedDictionary<string, int>(StringComparer.Ordinal);
        for (int seed = 0; seed < 2000; seed++)
        {
            var world = new World(seed);
            world.Run(250);
            foreach ((string what, int count) in world.Happened) seen[what] = seen.GetValueOrDefault(what) + count;
        }

        foreach (string what in (string[])["moved", "undone", "void", "ran", "crash before a write", "crash after a write",
            "crash before a call", "crash after a call", "stale", "driver failed", "failed over",
            "fence undone"])
            Assert.True(seen.GetValueOrDefault(what) > 0, $"never happened: {what} ({string.Join(", ", seen)})");
    }

    private sealed class World(int seed)
    {
        private readonly Random _random = new(seed);
        private readonly Node[] _nodes = [new Node(true), new Node(false)];
        private readonly List<(int Node, ServerOrder Order, long Epoch, MigrationRole? Role, bool Cold)> _wire = [];
        private readonly List<string> _log = [];
        private int _owner;
        private long _epoch;   // the last one that is on the manager's record
        private Stage _stage = Stage.Idle;
        private long _move;
        private bool _cold;    // the move is a fail-over

        private enum Stage
        {
            Idle, Preparing, Stopping, Fencing, Pivoted, Undoing, Voiding, Retiring,
        }

        public SortedDictionary<string, int> Happened { get; } = new(StringComparer.Ordinal);

        private int Other => 1 - _owner;

        public void Run(int steps)
        {
            for (int i = 0; i < steps; i++)
            {
                switch (_random.Next(10))
                {
                    case < 5:
                        Manage();
                        break;
                    case < 8 when _wire.Count > 0:
                        // A message of any age, which may come again.
                        (int node, ServerOrder order, long epoch, MigrationRole? role, bool cold) = _wire[_random.Next(_wire.Count)];
                        Deliver(node, order, epoch, role, true, cold);
                        break;
                    default:
                        if (_random.Next(4) == 0) Crash(_nodes[_random.Next(2)]);
                        break;
                }
            }

            // No more faults: the manager finishes what is open, and the server runs at one host.
            for (int i = 0; i < 40 && _stage != Stage.Idle; i++) Manage(calm: true);
            if (_nodes[_owner].Does != ServerState.Running) Deliver(_owner, ServerOrder.Resume, ++_epoch, null, false);
            Check();
            if (_stage != Stage.Idle || _nodes[_owner].Does != ServerState.Running)
                Fail($"it ends in {_stage} and the owner's server is {_nodes[_owner].Does}");
        }

        // The manager: one order, its answer perhaps lost, and what it then decides. What it knows is its stage, which is its journal.
        private void Manage(bool calm = false)
        {
            bool giveUp = !calm && _random.Next(6) == 0;
            switch (_stage)
            {
                case Stage.Idle when !calm:
                    _move = _epoch + 1;   // e+1: burnt when it is given up, the owner's when it is pivoted
                    _epoch = _move;
                    _cold = _random.Next(3) == 0;
                    _stage = _cold ? Stage.Fencing : Stage.Preparing;
                    break;
                case Stage.Fencing:
                    if (giveUp || calm) Undo();
                    else if (Ask(_owner, ServerOrder.Fence, _move) is ServerReply { Verdict: EpochVerdict.Void }) _stage = Stage.Pivoted;
                    break;
                case Stage.Preparing:
                    if (giveUp || calm) Undo();
                    else if (Ask(Other, ServerOrder.Prepare, _move, MigrationRole.Target) is ServerReply
                        && Ask(_owner, ServerOrder.Prepare, _move, MigrationRole.Source) is ServerReply) _stage = Stage.Stopping;
                    break;
                case Stage.Stopping:
                    if (giveUp || calm) Undo();
                    else if (Ask(_owner, ServerOrder.Stop, _move) is ServerReply) _stage = Stage.Pivoted;   // the pivot
                    break;
                case Stage.Pivoted:
                    if (giveUp) _stage = Stage.Voiding;
                    else if (Ask(Other, ServerOrder.Activate, _move, calm: calm) is ServerReply)
                    {
                        Note(_cold ? "failed over" : "moved");
                        _owner = Other;
                        _stage = Stage.Retiring;
                    }

                    break;
                case Stage.Voiding:
                    switch ((Ask(Other, ServerOrder.Void, _move, calm: calm) as ServerReply)?.Verdict)
                    {
                        case EpochVerdict.Void:
                            Note("void");
                            Undo();
                            break;
                        case EpochVerdict.Ran:
                            Note("ran");
                            _stage = Stage.Pivoted;
                            break;
                    }

                    break;
                case Stage.Undoing:
                    if (Ask(Other, ServerOrder.Cancel, _epoch, calm: calm) is ServerReply
                        && Ask(_owner, ServerOrder.Resume, _epoch, calm: calm) is ServerReply)
                    {
                        Note(_cold ? "fence undone" : "undone");
                        _stage = Stage.Idle;
                    }

                    break;
                case Stage.Retiring:
                    if (Ask(Other, ServerOrder.Retire, _move, calm: calm) is ServerReply) _stage = Stage.Idle;
                    break;
            }
        }

        // R2: the owner is granted e+2.
        private void Undo()
        {
            _epoch = _move + 1;
            _stage = Stage.Undoing;
        }

        private object? Ask(int node, ServerOrder order, long epoch, MigrationRole? role = null, bool calm = false)
        {
            bool cold = _cold && order is (ServerOrder.Activate or ServerOrder.Resume);
            _wire.Add((node, order, epoch, role, cold));
            if (!calm && _random.Next(5) == 0) return null;   // lost, or late
            object? answer = Deliver(node, order, epoch, role, !calm, cold);
            return !calm && _random.Next(5) == 0 ? null : answer;
        }

        private object? Deliver(int to, ServerOrder order, long epoch, MigrationRole? role, bool faults, bool cold = false)
        {
            Node node = _nodes[to];
            object? result = null;
            _log.Add($"host {to}: {order} {epoch} {role}");
            var request = new ServerOrderRequest(epoch, "m", role, Cold: cold);
            var inputs = new Queue<HostInput>([new OrderArrived(new HostOrder(1, order, request))]);
            while (inputs.TryDequeue(out HostInput? input))
            {
                (node.Server, IReadOnlyList<HostCommand> commands) = HostFsm.Step(node.Server, input, 0);
                foreach (HostCommand command in commands)
                {
                    string what = command is WriteRecord ? "write" : "call";
                    if (command is WriteRecord or CallDriver && faults && _random.Next(12) == 0)
                    {
                        Note($"crash before a {what}");
                        Crash(node);
                        return result;
                    }

                    switch (command)
                    {
                        case WriteRecord write:
                            node.Disk = write.Record;
                            inputs.Enqueue(new RecordSynced());
                            break;
                        case CallDriver call when faults && _random.Next(15) == 0:
                            Note("driver failed");
                            if (_random.Next(2) == 0) Do(node, call.Call);   // it did it, and failed to say so
                            inputs.Enqueue(new DriverFailed("no"));
                            break;
                        case CallDriver call:
                            Do(node, call.Call);
                            inputs.Enqueue(new DriverDone(node.Does));
                            break;
                        case AnswerOrder answer:
                            result = answer.Reply;
                            _log.Add($"host {to}: answers {answer.Reply.State} {answer.Reply.Verdict}");
                            break;
                        case RefuseOrder refuse:
                            if (refuse.Refusal.Kind == HostRefusalKind.StaleEpoch) Note("stale");
                            _log.Add($"host {to}: refuses: {refuse.Refusal.Kind} {refuse.Refusal.Detail}");
                            result = refuse.Refusal;
                            break;
                    }

                    if (command is WriteRecord or CallDriver && faults && _random.Next(12) == 0)
                    {
                        Note($"crash after a {what}");
                        Crash(node);
                        return result;
                    }
                }
            }

            return result;
        }

        private void Do(Node node, DriverCall call)
        {
            node.Does = Machine.After(call, node.Does);
            Check();
        }

        // The agent ends; what its server does goes on.
        private void Crash(Node node)
        {
            _log.Add($"host {Array.IndexOf(_nodes, node)}: crash");
            node.Server = HostFsm.Start(node.Disk, true);
            (node.Server, IReadOnlyList<HostCommand> commands) = HostFsm.Step(node.Server, new ServerSeen(node.Does), 0);
            if (commands.Count > 0) Fail("a start did something");
        }

        private void Check()
        {
            if (_nodes.All(n => n.Does == ServerState.Running)) Fail("both run");
        }

        private void Note(string what) => Happened[what] = Happened.GetValueOrDefault(what) + 1;

        private void Fail(string why) => throw new InvalidOperationException(string.Create(CultureInfo.InvariantCulture,
            $"seed {seed}: {why}\n{string.Join('\n', _log)}"));

        private sealed class Node(bool runs)
        {
            public HostRecord Disk { get; set; } = HostRecord.First("vs", runs);

            public HostServer Server { get; set; } = HostFsm.Start(HostRecord.First("vs", runs), true);

            public ServerState Does { get; set; } = runs ? ServerState.Running : ServerState.Absent;
        }
    }
}
