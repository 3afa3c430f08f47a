using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Router.Control;

/// <summary>
/// The gates of a migration at its target: <see cref="OrderKeeper"/> with the holds that it opens. Runs on the control loop.
/// </summary>
internal sealed class OrderedGroup : IDisposable
{
    // A gate keeps packets for a few tens of milliseconds, at most for its bound; they are dropped by size only.
    private const long MaxBytesOfGate = 64L << 20;
    private const int MaxPacketsOfGate = 131_072;

    private static readonly IpFamily[] s_families = [IpFamily.V4, IpFamily.V6];

    private readonly OrderKeeper _keeper;
    private readonly OrderGates _gates;
    private readonly PeState _state;
    private readonly OrderSpec _spec;
    private Hold? _hold;

    /// <summary>Makes closed gates for a group; from now on its flush markers are taken out.</summary>
    /// <param name="state">The tables.</param>
    /// <param name="spec">What was asked for.</param>
    /// <param name="group">The group.</param>
    /// <param name="vrf">Its VRF.</param>
    /// <param name="prefixes">The moving prefixes.</param>
    /// <param name="hold">The migration's hold: gates open behind it.</param>
    /// <param name="pace">Pace of a gate that opens.</param>
    public OrderedGroup(PeState state, OrderSpec spec, RedirectGroup group, VrfState vrf, IReadOnlyList<IpPrefix> prefixes, Hold? hold,
        HoldOptions pace)
    {
        (_state, _spec, _hold) = (state, spec, hold);
        List<(string Ingress, IpAddress Loopback, bool SendsMarkers, long BoundNs)> gates = Gates(vrf);
        _keeper = new OrderKeeper(spec.Tag, prefixes.Count(p => p.Family == IpFamily.V4), prefixes.Count(p => p.Family == IpFamily.V6),
            gates);
        var options = pace with { MaxBytes = MaxBytesOfGate, MaxPackets = MaxPacketsOfGate, MaxMilliseconds = int.MaxValue / 2, Overflow =
            HoldOverflowPolicy.DropNewest, Disabled = false };
        _gates = new OrderGates(vrf.Table,
            [.. gates.Select(g => new OrderGate(g.Loopback, new Hold($"{group.Name}/{g.Loopback}", vrf.Table, options)))],
            Own(vrf), state.Plane.Workers);
        foreach (OrderGate gate in _gates.All) state.Plane.AddHold(gate.Hold);
        group.Order = _gates;
    }

    /// <summary>Tag of the move.</summary>
    public uint Tag => _spec.Tag;

    /// <summary>As the API shows it.</summary>
    public OrderInfo Info => new(_spec.Tag, _keeper.Proved, [.. _gates.All.Select((g, i) => _keeper.Info(i, g.Hold.Info))],
        _gates.Unordered, _keeper.StrangeMarkers);

    /// <summary>True while a gate is closed or still has packets.</summary>
    public bool IsBusy => _gates.All.Any(g => g.Hold.State != HoldState.Released);

    /// <summary>True while a gate has packets: what came later would overtake them if the gates were taken away.</summary>
    public bool HasPackets => _gates.All.Any(g => g.Hold.State == HoldState.Draining || g.Hold.OldestNs is not null);

    /// <summary>The migration has another hold: gates open behind that.</summary>
    public void Behind(Hold hold) => _hold = hold;

    /// <summary>A marker came.</summary>
    public void Marker(IpAddress from, in FlushMarker marker, bool throughTunnel, long now)
        => _keeper.Marker(from, marker, throughTunnel, now);

    /// <summary>Opens what may be opened; true when it opened one.</summary>
    public bool Poll(long now)
    {
        bool holdSent = _hold is null or { State: HoldState.Released };
        bool opened = false;
        for (int i = 0; i < _keeper.Count; i++)
        {
            if (_keeper.IsOpen(i) || !_keeper.Open(i, holdSent, _gates.All[i].Hold.OldestNs, now)) continue;
            _gates.All[i].Hold.BeginRelease(DrainPath.Attached);
            opened = true;
            OrderGateInfo info = _keeper.Info(i, _gates.All[i].Hold.Info);
            _state.Events.Add(now, "migration", _gates.All[i].Hold.Name, "gate-open",
                $"{info.Ingress}: {info.OpenedBy.ToString().ToLowerInvariant()}, {info.PacketsHeldTotal} packets kept");
        }

        if (opened) _state.Workers.PollAll();
        return opened;
    }

    /// <summary>The group is settled or gone: no packet comes any more. Sends what is still kept, to the attached hop.</summary>
    public void Drain()
    {
        foreach (OrderGate gate in _gates.All) gate.Hold.BeginRelease(DrainPath.Attached);
        _state.Workers.PollAll();
    }

    /// <summary>Takes the gates out of the data plane. No decision may name them any more.</summary>
    public void Dispose()
    {
        foreach (OrderGate gate in _gates.All) _state.Plane.RemoveHold(gate.Hold);
        _state.Workers.Grace();
        foreach (OrderGate gate in _gates.All) gate.Hold.Dispose();
    }

    // Those asked for, this PE itself and the source, which are ingresses too; and, where they are to wait, all other PEs that
    // routes name.
    private List<(string Ingress, IpAddress Loopback, bool SendsMarkers, long BoundNs)> Gates(VrfState vrf)
    {
        long bound = _spec.Options.BoundMs * 1_000_000L;
        var gates = new List<(string Ingress, IpAddress Loopback, bool SendsMarkers, long BoundNs)>();
        var seen = new HashSet<IpAddress>();
        bool vpn = !vrf.Table.IsDefault;
        foreach (OrderedIngress ingress in _spec.Options.Ingress)
            Add(ingress.Name, Senders(ingress.Loopbacks.Select(IpAddress.Parse), vpn), true, bound);
        Add(_state.Config.Name, vpn ? Own(vrf) : _state.Config.Loopbacks, true, bound);

        // One that is named among the ingress PEs is known by its first loopback in a VRF.
        bool named = vpn && _spec.Options.Ingress.Any(i => i.Loopbacks.Select(IpAddress.Parse).Contains(_spec.SourceLoopback));
        if (!named) Add("source", Senders([_spec.SourceLoopback], vpn), true, bound);
        if (_spec.Options.OthersHoldMs == 0) return gates;
        foreach (NextHop hop in vrf.Rib.NextHops)
        {
            if (vpn ? hop.Spec.Kind == HopKind.Remote : hop.Spec.IsRecursive)
                Add(hop.Spec.Address.ToString(), Senders([hop.Spec.Address], vpn), false, _spec.Options.OthersHoldMs * 1_000_000L);
        }

        return gates;

        void Add(string name, IEnumerable<IpAddress> senders, bool sendsMarkers, long boundNs)
        {
            foreach (IpAddress sender in senders)
            {
                if (seen.Add(sender)) gates.Add((name, sender, sendsMarkers, boundNs));
            }
        }
    }

    /// <summary>The addresses by which a PE is known as an ingress (<see cref="MarkerSender"/>).</summary>
    /// <param name="loopbacks">Its loopbacks.</param>
    /// <param name="vpn">True: in a customer's VRF. In the default one it is known by each of them.</param>
    internal static IEnumerable<IpAddress> Senders(IEnumerable<IpAddress> loopbacks, bool vpn) => !vpn ? loopbacks
        : s_families.Select(f => MarkerSender.Of(loopbacks, f, vpn: true)).Where(a => !a.IsNone);

    private IpAddress[] Own(VrfState vrf) => [.. Senders(_state.Config.Loopbacks, !vrf.Table.IsDefault)];
}
