using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Mirror;
using SdnEdge.Linux;
using SdnEdge.Router.Control;

namespace SdnEdge.Router.Keeper;

/// <summary>
/// The time in which the keeper forwards: workers on the mirrored tables, and the slow path, so that ARP, ND, echo and ICMP
/// errors are answered and neighbours stay known. Routes stay as they were. Ended, it has passed the last batch boundary:
/// packets that come later wait in the devices.
/// </summary>
internal sealed class Reign : ITimed, IDisposable
{
    private readonly MirrorTables _tables;
    private readonly ControlLoop _loop = new(TimeProvider.System);
    private readonly SlowPath _slow = new();
    private readonly SlowPathActions _actions = new();
    private readonly WorkerPool _workers;
    private readonly List<(int Worker, int Port)> _attached = [];
    private readonly long _transmittedBefore, _droppedBefore;

    /// <summary>Begins: when this returns, the workers receive.</summary>
    public Reign(MirrorTables tables, Func<string, IFdPort?> device)
    {
        _tables = tables;
        DataPlane plane = tables.Plane;
        (_transmittedBefore, _droppedBefore) = (plane.Ledger.Transmitted, plane.DropsTotal);
        _workers = new WorkerPool(plane, _loop, Punted, _ => { });
        _loop.Add(this);
        _workers.Start();
        foreach (PortEntry? port in plane.Ports)
        {
            if (port is not null && device(port.Name) is { } opened) _attached.Add((_workers.Attach(port.Index, opened), port.Index));
        }

        // Packets flow; the rest may take its time.
        foreach (Vrf? vrf in plane.Vrfs)
        {
            if (vrf is not null) _slow.SetLoopbacks(vrf.Index, tables.OwnAddresses);
        }

        long now = _loop.Now;
        foreach (PortEntry? port in plane.Ports)
        {
            if (port is null) continue;
            _slow.SetPort(SlowPathPort.From(port), _actions);
            foreach (Adjacency neighbor in port.Neighbors.Snapshot())
            {
                if (neighbor.Mac is { } mac && neighbor.State != NeighborState.Permanent)
                    _slow.Inherit(port.Index, neighbor.Address, mac, now);
            }
        }

        CarryOut();
        _loop.Start();
    }

    /// <summary>Packets forwarded so far.</summary>
    public long Packets => _tables.Plane.Ledger.Transmitted - _transmittedBefore;

    /// <summary>Packets dropped so far.</summary>
    public long Dropped => _tables.Plane.DropsTotal - _droppedBefore;

    public long NextDeadline => _slow.NextDeadline;

    public void Poll(long now)
    {
        _slow.Poll(now, _actions);
        CarryOut();
    }

    /// <summary>Lets go of the devices, then ends workers and loop.</summary>
    public void Dispose()
    {
        foreach ((int worker, int port) in _attached) _workers.Detach(worker, port);
        _loop.Dispose();
        _workers.Dispose();
    }

    private void Punted(in PuntInfo info, ReadOnlySpan<byte> frame, long now)
    {
        _slow.Handle(info, frame, now, _actions);
        CarryOut();
    }

    private void CarryOut()
    {
        foreach (ref readonly SlowPathAction action in _actions.Items)
        {
            switch (action.Kind)
            {
                case SlowPathActionKind.SendFrame:
                    _workers.Transmit(action.Port, _actions.Bytes(action).ToArray());
                    break;
                case SlowPathActionKind.Originate:
                    _workers.Originate(action.Vrf, _actions.Bytes(action).ToArray());
                    break;
                case SlowPathActionKind.NeighborChanged:
                    Follow(action);
                    break;
            }
        }

        _actions.Clear();
    }

    // A neighbour that does not answer keeps its MAC address: who has just lost the control plane should not lose more.
    private void Follow(in SlowPathAction action)
    {
        if (_tables.Plane.Ports[action.Port] is not { } port || port.Neighbors.GetOrAdd(action.Address) is not { } neighbor) return;
        if (action.Mac is { } mac)
        {
            if (neighbor.Resolve(mac, action.State)) _workers.Flush(neighbor);
        }
        else if (neighbor.Mac is null && neighbor.Fail(action.State))
        {
            _workers.Flush(neighbor);
        }
    }
}
