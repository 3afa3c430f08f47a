using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Linux;
using SdnEdge.Router.Worker;

namespace SdnEdge.Router.Control;

/// <summary>
/// The workers of a PE, each with its forwarder and its way to the control loop. Used by the control loop only.
/// </summary>
internal sealed class WorkerPool : IDisposable
{
    private readonly DataPlane _plane;
    private readonly List<Member> _members = [];
    private readonly PortWorker[] _workers;
    private readonly List<(int Worker, int Id, IFdPort Port)> _waiting = [];
    private int _next;

    public WorkerPool(DataPlane plane, ControlLoop loop, PuntRing.PuntHandler punted, Action<int> portLost)
    {
        _plane = plane;
        for (int i = 0; i < plane.Workers; i++)
        {
            var ring = new PuntRing(loop.Wake, punted);
            var forwarder = new Forwarder(i, plane, ring);
            var worker = new PortWorker(i, new Processor(forwarder),
                new PortWorkerOptions { PortLost = id => loop.Post(() => portLost(id)) });
            loop.Add(ring);
            _members.Add(new Member(worker, forwarder, ring));
        }

        _workers = [.. _members.Select(m => m.Worker)];
    }

    public IReadOnlyList<PortWorker> Workers => _workers;

    public void Start()
    {
        foreach (PortWorker worker in _workers) worker.Start();
    }

    /// <summary>True: ports are not received from before <see cref="Resume"/>; somebody else does.</summary>
    public bool IsSuspended { get; private set; }

    /// <summary>Gives a port to the next worker in turn. Returns the worker's number.</summary>
    public int Attach(int id, IFdPort port)
    {
        int worker = _next++ % _workers.Length;
        if (IsSuspended) _waiting.Add((worker, id, port));
        else _workers[worker].Attach(id, port);
        return worker;
    }

    public void Detach(int worker, int id)
    {
        _waiting.RemoveAll(w => w.Id == id);
        _workers[worker].Detach(id);
    }

    /// <summary>Receives from no port that is attached from now on.</summary>
    public void Suspend() => IsSuspended = true;

    /// <summary>Receives from all ports.</summary>
    public void Resume()
    {
        IsSuspended = false;
        foreach ((int worker, int id, IFdPort port) in _waiting) _workers[worker].Attach(id, port);
        _waiting.Clear();
    }

    /// <summary>Sends a frame as it is. The bytes must not change afterwards.</summary>
    public void Transmit(int port, ReadOnlyMemory<byte> frame) => Post(0, (f, _) => f.Transmit(port, frame.Span));

    /// <summary>Routes an IP packet of the router's own. The bytes must not change afterwards.</summary>
    public void Originate(int vrf, ReadOnlyMemory<byte> packet) => Post(0, (f, now) => f.Originate(vrf, packet.Span, now));

    /// <summary>Sends a probe through a tunnel. The bytes must not change afterwards.</summary>
    public void Probe(Tunnel tunnel, ReadOnlyMemory<byte> packet) => Post(0, (f, now) => f.SendThroughTunnel(tunnel, packet.Span, now));

    /// <summary>
    /// Sends an IP packet of the router's own to a next hop, whatever the FIB says. The bytes must not change afterwards.
    /// </summary>
    public void SendVia(Adjacency adjacency, ReadOnlyMemory<byte> packet) => Post(0, (f, now) => f.SendVia(adjacency, packet.Span, now));

    /// <summary>Sends (or, when the neighbour failed, drops) what waits for a neighbour, on the worker that may send in order.</summary>
    public void Flush(Adjacency adjacency)
    {
        for (int i = 0; i < _members.Count; i++) Post(i, (f, now) => f.FlushNeighbor(adjacency, now));
    }

    /// <summary>Has every worker look after its holds and queues now.</summary>
    public void PollAll()
    {
        for (int i = 0; i < _members.Count; i++) Post(i, (f, now) => f.Poll(now));
    }

    /// <summary>Waits until every worker, idle ones too, has passed a batch boundary since the call.</summary>
    /// <exception cref="TimeoutException">A worker is stuck: what was taken out must not be freed.</exception>
    public void Grace() => GracePeriod.Wait(_workers, TimeSpan.FromSeconds(5));

    public void Dispose()
    {
        foreach (Member member in _members)
        {
            member.Worker.Dispose();
            member.Forwarder.Dispose();
            member.Ring.Dispose();
        }
    }

    // A full mailbox means that the worker is far behind: what is posted here is as lossy as the network is, and counted there.
    private void Post(int worker, Action<Forwarder, long> action)
    {
        Forwarder forwarder = _members[worker].Forwarder;
        _members[worker].Worker.TryPost(() => action(forwarder, Monotonic.Now));
    }

    private sealed record Member(PortWorker Worker, Forwarder Forwarder, PuntRing Ring);

    private sealed class Processor(Forwarder forwarder) : IBatchProcessor
    {
        public long NextDeadline => forwarder.NextDeadline;

        public void Process(PacketBatch batch, int port, long now) => forwarder.Process(batch, port, now);

        public void Poll(long now) => forwarder.Poll(now);
    }
}
