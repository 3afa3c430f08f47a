using SdnEdge.Core.Config;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Router.Control;

/// <summary>
/// Runs <see cref="SlowPath"/>: gives it what workers punt and the time, and does what it says. It knows neighbours; the data
/// plane's <see cref="Adjacency"/> follows it.
/// </summary>
internal sealed class SlowPathDriver : ITimed
{
    private readonly SlowPath _slow;
    private readonly SlowPathActions _actions = new();
    private readonly PeState _state;
    private readonly ControlLoop _loop;
    private readonly FragmentReassembler _fragments = new();
    private readonly ReadOnlySpanAction _probeReply;
    private readonly Action<SlowPathAction, long> _pathMtu;
    private readonly Dictionary<(int Port, IpAddress Address), Action> _proofs = [];

    public SlowPathDriver(PeState state, ControlLoop loop, ReadOnlySpanAction probeReply, Action<SlowPathAction, long> pathMtu)
    {
        (_state, _loop, _probeReply, _pathMtu) = (state, loop, probeReply, pathMtu);
        Stretched = new StretchedSubnets(state, this, loop);
        _slow = new SlowPath { IsElsewhere = Stretched.IsElsewhere };
    }

    /// <summary>Subnets that more than one site has.</summary>
    public StretchedSubnets Stretched { get; }

    public long NextDeadline => _state.IsStandby ? long.MaxValue : Math.Min(_slow.NextDeadline, _fragments.NextDeadline);

    /// <summary>Outer packets of tunnels that came in parts.</summary>
    public FragmentReassembler Fragments => _fragments;

    /// <summary>What the slow path knows about neighbours.</summary>
    public IEnumerable<NeighborSnapshot> Neighbors => _slow.Neighbors;

    /// <summary>Counters for metrics.</summary>
    public long Count(SlowPathVerdict verdict) => _slow.Count(verdict);

    /// <summary>Messages of router discovery by kind, for metrics.</summary>
    public IEnumerable<(string Kind, long Messages)> RouterDiscovery =>
    [
        ("advertisements-sent", _slow.RouterAdvertisementsSent), ("advertisements-received", _slow.RouterAdvertisementsReceived),
        ("solicitations-received", _slow.RouterSolicitationsReceived),
    ];

    /// <summary>A punted packet.</summary>
    public void Punted(in PuntInfo info, ReadOnlySpan<byte> frame, long now)
    {
        if (info.Reason is PuntReason.FlushMarker or PuntReason.FlushMarkerPassing)
        {
            if (info.L3Offset < frame.Length) _state.Steps.MarkerCame(info, frame[info.L3Offset..], now);
            return;
        }

        if (info.Reason == PuntReason.TunnelProbeReply)
        {
            if (info.L3Offset < frame.Length) _probeReply(frame[info.L3Offset..], now);
            return;
        }

        if (info.Reason == PuntReason.TunnelFragment)
        {
            if (info.L3Offset < frame.Length && _fragments.Add(frame[info.L3Offset..], now) is { } whole)
                _state.Workers.Originate(info.Vrf, whole);
            return;
        }

        _slow.Handle(info, frame, now, _actions);
        CarryOut(now);
    }

    /// <summary>A port is there, or its addresses changed.</summary>
    public void SetPort(PortState port)
    {
        PortEntry entry = port.Entry;
        Do(a => _slow.SetPort(
            new SlowPathPort(entry.Index, entry.Vrf.Index, entry.Mac)
            {
                Addresses = [.. entry.Addresses.Select(x => (x.Address, x.PrefixLength))],
                LinkLocal = entry.LinkLocal,
                AnswersForAll = entry.IsHost,
                AdvertiseEveryNs = entry.IsHost ? 0 : AdvertiseEvery(port.Config.Name),
            },
            a));
        _slow.SetLoopbacks(entry.Vrf.Index, _state.Config.Loopbacks);
        if (!entry.IsHost && !_state.IsStandby) Do(a => _slow.Announce(entry.Index, a));
    }

    /// <summary>Asks for a neighbour now, whatever was known before.</summary>
    public void Resolve(Adjacency adjacency)
    {
        if (_state.IsStandby) return;
        if (adjacency.State == NeighborState.Failed) adjacency.Fail(NeighborState.Incomplete);
        Do(a => _slow.Resolve(adjacency.Port.Index, adjacency.Address, _loop.Now, a, force: true));
    }

    /// <summary>Takes over a neighbour that the keeper knew.</summary>
    public void Inherit(PortEntry port, IpAddress address, MacAddress mac)
    {
        if (!_slow.Inherit(port.Index, address, mac, _loop.Now) || port.Neighbors.GetOrAdd(address) is not { } adjacency) return;
        if (adjacency.Resolve(mac, NeighborState.Stale)) _state.Workers.Flush(adjacency);
    }

    /// <summary>
    /// Asks a neighbour; <paramref name="proved"/> is called when it has answered behind all that was sent to it before: an answer that
    /// proves that is proof for whoever began earlier, too. False: it cannot be asked. With <paramref name="every"/> any answer will do,
    /// and it is asked so often.
    /// </summary>
    public bool Prove(PortEntry port, IpAddress address, Action proved, TimeSpan? every = null)
    {
        bool asked = false;
        Do(a => asked = _slow.Prove(port.Index, address, _loop.Now, a, (long?)every?.TotalNanoseconds));
        if (asked) _proofs[(port.Index, address)] = _proofs.GetValueOrDefault((port.Index, address)) + proved;
        return asked;
    }

    /// <summary>Ends <see cref="Prove"/> for who began it.</summary>
    public void EndProof(PortEntry port, IpAddress address, Action proved)
    {
        if (_proofs.GetValueOrDefault((port.Index, address)) - proved is { } others)
        {
            _proofs[(port.Index, address)] = others;
            return;
        }

        _proofs.Remove((port.Index, address));
        _slow.EndProof(port.Index, address);
    }

    /// <summary>Tells the link of a port where a host of its subnet is reached: at its own MAC address, or null: at the router's.</summary>
    public void Announce(int port, IpAddress host, MacAddress? at)
    {
        if (!_state.IsStandby) Do(a => _slow.Announce(port, host, at, a));
    }

    /// <summary>Keeps asking for a neighbour until it is known. False when its port is not known here yet, or another forwards in our
    /// place.</summary>
    public bool Watch(Adjacency adjacency)
    {
        if (_state.IsStandby) return false;
        SlowPathVerdict verdict = default;
        Do(a => verdict = _slow.Watch(adjacency.Port.Index, adjacency.Address, _loop.Now, a));
        return verdict is not (SlowPathVerdict.UnknownPort or SlowPathVerdict.NoSourceAddress or SlowPathVerdict.TableFull);
    }

    /// <summary>Asks for a neighbour no more than for any other.</summary>
    public void Unwatch(Adjacency adjacency) => _slow.Unwatch(adjacency.Port.Index, adjacency.Address);

    /// <summary>Forgets a port that is about to go, and the neighbours on it.</summary>
    public void Forget(PortEntry port)
    {
        Stretched.Forget(port);
        Do(a => _slow.RemovePort(port.Index, a));
    }

    public void Poll(long now)
    {
        _fragments.Poll(now);
        Do(a => _slow.Poll(now, a));
    }

    // Where a BGP peer is known by its link alone.
    private long AdvertiseEvery(string port) => 1_000_000_000L
        * (_state.Config.Bgp.Peers.FirstOrDefault(p => p.OnLink && p.LinkPort == port)?.AdvertiseSeconds ?? 0);

    private void Do(Action<SlowPathActions> call)
    {
        call(_actions);
        CarryOut(_loop.Now);
    }

    private void CarryOut(long now)
    {
        foreach (ref readonly SlowPathAction action in _actions.Items)
        {
            switch (action.Kind)
            {
                case SlowPathActionKind.SendFrame:
                    _state.Workers.Transmit(action.Port, _actions.Bytes(action).ToArray());
                    break;
                case SlowPathActionKind.Originate:
                    _state.Workers.Originate(action.Vrf, _actions.Bytes(action).ToArray());
                    break;
                case SlowPathActionKind.NeighborChanged:
                    Follow(action, now);
                    break;
                case SlowPathActionKind.Proved:
                    if (_proofs.Remove((action.Port, action.Address), out Action? proved)) _loop.Post(proved);
                    break;
                case SlowPathActionKind.RouterHeard when _state.PortByIndex(action.Port) is { } port:
                    IpAddress router = action.Address;
                    _loop.Post(() => _state.Steps.RouterHeard(port.Config.Name, router, _loop.Now));
                    break;
                case SlowPathActionKind.PathMtu:
                    _pathMtu(action, now);
                    break;
            }
        }

        _actions.Clear();
    }

    private void Follow(in SlowPathAction action, long now)
    {
        if (_state.PortByIndex(action.Port) is not { } port || port.Entry.Neighbors.GetOrAdd(action.Address) is not { } adjacency) return;
        NeighborState before = adjacency.State;
        MacAddress? known = adjacency.Mac;
        if (action.Mac is { } mac)
        {
            if (adjacency.Resolve(mac, action.State)) _state.Workers.Flush(adjacency);
        }
        else if (action.State == NeighborState.Failed)
        {
            if (adjacency.Fail()) _state.Workers.Flush(adjacency);
        }
        else
        {
            adjacency.Fail(action.State);
            if (adjacency.WaitingPackets == 0 && !IsNextHop(port, adjacency)) port.Entry.Neighbors.Remove(adjacency);
        }

        _state.Mirror?.Neighbor(adjacency);
        if ((known is null) != (action.Mac is null)) Stretched.NeighborChanged(port.Entry, action.Address, action.Mac is not null);

        // Reachable, stale and probe come and go with every idle spell; a person wants to know about the rest.
        bool worthTelling = action.Mac != known || (action.State == NeighborState.Failed) != (before == NeighborState.Failed);
        if (worthTelling) _state.Events.Add(now, "neighbor", $"{action.Address}%{port.Config.Name}",
            action.State.ToString().ToLowerInvariant(), action.Mac?.ToString());
    }

    // A next hop's adjacency is named by decisions: it stays the one object for its address.
    private bool IsNextHop(PortState port, Adjacency adjacency)
    {
        if (_state.Groups.Count > 0) return true;
        foreach (VrfState vrf in _state.Vrfs.Values)
        {
            foreach (NextHop hop in vrf.Rib.NextHops)
            {
                if (hop.Resolved.Address == adjacency.Address && hop.Resolved.Port == port.Config.Name) return true;
            }
        }

        return false;
    }
}

/// <summary>Takes a packet that is valid during the call only.</summary>
internal delegate void ReadOnlySpanAction(ReadOnlySpan<byte> packet, long now);
