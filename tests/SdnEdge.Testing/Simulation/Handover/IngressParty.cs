using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;

namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>
/// An ingress PE: it follows routes, each when it comes, and sends flush markers behind its last packet on an old path, as they ship
/// (<see cref="FlushMarkers"/>). What it was about to send is gone when it is killed.
/// </summary>
internal sealed class IngressParty(HandoverWorld world, string name, IpAddress loopback) : Party(world, name)
{
    private readonly Dictionary<IpPrefix, PeParty> _fib = [];
    private readonly List<MarkerToSend> _due = [];
    private FlushMarkers _markers = new();

    /// <summary>Its loopback.</summary>
    public IpAddress Loopback { get; } = loopback;

    /// <summary>Where it sends packets for a prefix; null: nowhere.</summary>
    public PeParty? WayTo(IpPrefix prefix) => _fib.GetValueOrDefault(prefix);

    /// <summary>Routes to these prefixes have changed.</summary>
    public void Follow(IReadOnlyList<IpPrefix> prefixes)
    {
        if (!Up) return;
        var moved = new List<(uint Tag, PeParty? Way, IpPrefix Prefix)>();
        foreach (IpPrefix prefix in prefixes)
        {
            PeParty? old = _fib.GetValueOrDefault(prefix);
            if (World.BestOf(prefix) is not { } best || best.Pe == old) continue;
            Packet? last = old is null ? null : new Packet(this, Loopback, prefix, direct: false);
            _fib[prefix] = best.Pe;

            // Until every worker has passed a batch boundary one may go by the old decision.
            long grace = World.Sim.Between(10_000, 2_000_000);
            if (last is not null && World.Mutant == Mutant.MarkerBeforeGrace)
                In(World.Sim.Between(1_000_000, 60_000_000), () => World.Send(last, Name, old!));
            else if (last is not null) World.Send(last, Name, old!);
            In(grace, () => World.Send(new Packet(this, Loopback, prefix, direct: true) { Before = last }, Name, best.Pe));
            if (best.Tag is { } tag) moved.Add((tag, old, prefix));
        }

        foreach (IGrouping<(uint Tag, PeParty? Way), IpPrefix> group in moved.GroupBy(m => (m.Tag, m.Way), m => m.Prefix))
        {
            World.Log(Name, $"moved {string.Join(", ", group)}: markers by {group.Key.Way?.Name ?? "the direct path"}");
            _markers.Moved("default", group.Key.Tag, [.. group], group.Key.Way, Now);
        }

        SendDue();
    }

    protected override void OnCrash()
    {
    }

    // It knows all routes before it sends the first packet.
    protected override void OnStart()
    {
        _fib.Clear();
        _markers = new FlushMarkers();
        In(World.Sim.Between(10_000_000, 100_000_000), Begin);
    }

    /// <summary>Learns all routes.</summary>
    public void Begin() => Follow(World.Prefixes);

    private void SendDue()
    {
        _due.Clear();
        _markers.Due(Now, _due);
        foreach (MarkerToSend send in _due)
        {
            IpPrefix to = World.Prefixes.First(p => p.Address == send.To);
            if ((send.Way as PeParty ?? _fib.GetValueOrDefault(to)) is { } pe)
                World.Send(new Packet(this, Loopback, to, direct: send.Way is null, send.Marker), Name, pe);
        }

        if (_markers.NextDeadline is var next && next != long.MaxValue) In(((next - Now) * 1002 / 1000) + 1, SendDue);
    }
}
