using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;

namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>
/// Where packets go at a PE, as far as order depends on it: the redirect group, the hold, the gates with their <see cref="OrderKeeper"/>,
/// and the markers that go by (<see cref="PassingMarkers"/>), both as they ship. What MigrationActions and OrderedGroup do with them.
/// </summary>
internal sealed partial class PeParty
{
    private const int FinalMarkers = 3;

    private static readonly HoldInfo s_nothing = new("released", 0, 0, 0, 0, 0, 0, 0, 0, 0);

    private readonly Dictionary<string, ArmedGroup> _armed = new(StringComparer.Ordinal);
    private readonly Dictionary<string, OrderInfo> _ended = new(StringComparer.Ordinal);
    private readonly Dictionary<IpPrefix, PeParty> _learned = [];

    /// <summary>Its loopback.</summary>
    public IpAddress Loopback { get; } = IpAddress.Parse($"10.255.{(site == "a" ? 1 : 2)}.{name[4..]}");

    /// <summary>A route of the PE at the other site has come, or is gone.</summary>
    public void Learn(IReadOnlyList<IpPrefix> prefixes)
    {
        if (!Up) return;
        foreach (IpPrefix prefix in prefixes)
        {
            if (World.Offers(Peer, prefix)) _learned[prefix] = Peer;
            else _learned.Remove(prefix);
        }

        Retry();
    }

    /// <summary>A packet comes, but not out of a tunnel.</summary>
    public void FromCore(Packet packet)
    {
        if (!Up)
        {
            World.Lost(packet);
            return;
        }

        ArmedGroup? armed = _armed.Values.FirstOrDefault(a => a.Prefixes.Contains(packet.To));
        switch (armed)
        {
            case { IsSource: true } when Groups.GetValueOrDefault(armed.Id) == "tunnel":
                IntoTunnel(armed, packet);
                break;
            case { IsSource: false, Keeper: { } keeper } when packet.Marker is { } marker:
                keeper.Marker(packet.Loopback, AsTaken(armed, marker), throughTunnel: false, Now);
                PollGates(armed);
                break;
            case { IsSource: false, IsReleased: true }:
                Gate(armed, packet);
                break;
            default:
                Native(packet);
                break;
        }
    }

    /// <summary>A packet comes out of a tunnel.</summary>
    public void FromTunnel(string tunnel, Packet packet)
    {
        if (!Up)
        {
            World.Lost(packet);
            return;
        }

        if (!Tunnels.Contains(tunnel))
        {
            if (packet.Marker is null && !World.MayHaveFlushedTwice(packet.To))
                World.Fail($"a packet of {packet.From.Name} for {packet.To} came by tunnel {tunnel} to {Name}, where the tunnel is gone");
            World.Lost(packet);
            return;
        }

        ArmedGroup? armed = _armed.Values.FirstOrDefault(a => a.Tunnel == tunnel);
        if (packet.Marker is { } marker)
        {
            if (armed is not { IsSource: false, Keeper: { } keeper }) return;
            keeper.Marker(packet.Loopback, AsTaken(armed, marker), throughTunnel: true, Now);
            World.Log(Name, $"marker of {packet.From.Name} out of {tunnel}: {marker.Moved} moved");
            PollGates(armed);
            return;
        }

        if (armed is null) Native(packet);
        else if (Groups.GetValueOrDefault(armed.Id) is "hold" or "draining") armed.Held.Add(packet);
        else if (armed.IsReleased) World.Delivered(packet, this, excused: false);
        else Native(packet);
    }

    // The tag names the move.
    private FlushMarker AsTaken(ArmedGroup armed, FlushMarker marker)
        => World.Mutant == Mutant.MarkerOfAnotherMove && armed.Order is { } order ? marker with { Tag = order.Tag } : marker;

    private void Arm(ArmGroup c)
    {
        var armed = new ArmedGroup(c.Group, c.Tunnel, [.. c.Prefixes.Select(p => p.Prefix)], isSource: true, c.Order);
        if (c.Order is { } order)
        {
            armed.Passing = new PassingMarkers(order.Tag, c.Prefixes.Count, 0, order.Options.Ingress
                .SelectMany(i => i.Loopbacks.Select(l => (i.Name, IpAddress.Parse(l)))).Where(i => i.Item2 != Loopback));
        }

        _armed[c.Group] = armed;
    }

    private void Arm(ArmHold c, bool restored)
    {
        var armed = new ArmedGroup(c.Group, c.Tunnel, [.. c.Prefixes.Select(p => p.Prefix)], isSource: false, c.Order)
        {
            IsReleased = c.Hold.Disabled, IsRestored = c.Hold.Disabled,
        };
        if (!restored) World.HasGates(armed.Prefixes);
        if (c.Order is { } order && !c.Hold.Disabled)
        {
            // Those asked for, this PE itself, and the source.
            (string Name, IpAddress Loopback)[] ingress = [.. order.Options.Ingress.SelectMany(i => i.Loopbacks.Select(l
                => (i.Name, IpAddress.Parse(l)))), (Name, Loopback), (Peer.Name, order.SourceLoopback)];
            armed.Gates = [.. ingress.DistinctBy(i => i.Loopback).Select(i => i.Loopback)];
            armed.Keeper = new OrderKeeper(order.Tag, World.Mutant == Mutant.GateOpensAtFirstMarker ? 1 : c.Prefixes.Count, 0,
                ingress.DistinctBy(i => i.Loopback).Select(i => (i.Name, i.Loopback, true, order.Options.BoundMs * 1_000_000L)));
        }

        _armed[c.Group] = armed;
    }

    // Clients of this PE took the old path, too, to the source and back.
    private void Released(ArmedGroup armed)
    {
        armed.IsReleased = true;
        armed.DrainsSince = World.Sim.Now;
        if (armed.Order is not { } order) return;
        foreach (IpPrefix prefix in armed.Prefixes)
        {
            var last = new Packet(this, Loopback, prefix, direct: false);
            World.Send(last, Name, Peer);
            Gate(armed, new Packet(this, Loopback, prefix, direct: true) { Before = last });
        }

        var marker = new FlushMarker(order.Tag, (uint)armed.Prefixes.Count, Now);
        foreach (int after in (int[])[0, 5, 20])
            In(after * 1_000_000L, () => World.Send(new Packet(this, Loopback, armed.Prefixes[0], false, marker), Name, Peer));
    }

    // The group is native again. What this PE sent into the tunnel for its own clients until now is the last of it.
    private void SwitchedBack(ArmedGroup armed, bool teardown)
    {
        if (teardown) World.Leaves(this, armed.Prefixes);
        foreach (IpPrefix prefix in armed.Prefixes)
        {
            var last = new Packet(this, Loopback, prefix, direct: false);
            if (World.Mutant == Mutant.MarkerBeforeGrace)
                World.Sim.In(World.Sim.Between(1_000_000, 60_000_000), () => IntoTunnel(armed, last));
            else IntoTunnel(armed, last);
            if (!teardown) continue;
            if (_learned.GetValueOrDefault(prefix) is { } way)
            {
                In(World.Sim.Between(10_000, 2_000_000), ()
                    => World.Send(new Packet(this, Loopback, prefix, direct: true) { Before = last }, Name, way));
            }
            else World.Fail($"{Name} has torn {armed.Id} down, and its own clients have no route to {prefix}");
        }
    }

    private void Flush(FlushTunnel c)
    {
        if (!_armed.TryGetValue(c.Group, out ArmedGroup? armed) || !Tunnels.Contains(c.Tunnel)) return;
        var marker = new FlushMarker(c.Tag, (uint)armed.Prefixes.Count, Now);
        for (int i = 0; i < FinalMarkers; i++)
            World.Send(new Packet(this, Loopback, armed.Prefixes[0], false, marker), Name, Peer, c.Tunnel);
    }

    private void Removed(string group)
    {
        if (!_armed.Remove(group, out ArmedGroup? armed)) return;
        if (armed is { IsSource: false, IsReleased: true } && Groups.GetValueOrDefault(group) == "draining")
            World.Fail($"{Name} has taken {group} away, and its hold still had packets");
        if (InfoOf(armed) is { } info) _ended[group] = info;

        // Clients of the target itself are in no proof: nobody waits until their last packet has come back by the source.
        foreach (Packet kept in armed.Kept) World.Delivered(kept, this, excused: kept.From == this);
        foreach (Packet held in armed.Held) World.Lost(held);
    }

    private void LosePackets()
    {
        foreach (ArmedGroup armed in _armed.Values.Where(a => a is { IsSource: false, IsReleased: true })) World.LostGates(armed.Prefixes);
        foreach (Packet packet in _armed.Values.SelectMany(a => a.Kept.Concat(a.Held))) World.Lost(packet);
        _armed.Clear();
        _ended.Clear();
        _learned.Clear();
    }

    // The hold has sent what it had.
    private void Emptied(string group)
    {
        if (!_armed.TryGetValue(group, out ArmedGroup? armed)) return;
        Packet[] held = [.. armed.Held];
        armed.Held.Clear();
        foreach (Packet packet in held)
        {
            if (armed.IsReleased) World.Delivered(packet, this, excused: false);
            else Native(packet);
        }

        PollGates(armed);
    }

    private void IntoTunnel(ArmedGroup armed, Packet packet)
    {
        armed.TunnelPackets++;
        if (packet.Marker is { } marker) armed.Passing?.Marker(packet.Loopback, AsTaken(armed, marker), Now);
        World.Send(packet, Name, Peer, armed.Tunnel);
    }

    // By the route: to the port, or to whoever offers it.
    private void Native(Packet packet)
    {
        if (Has(packet.To)) World.Delivered(packet, this, excused: false);
        else if (++packet.Hops < 5 && World.BestOf(packet.To) is { } best && best.Pe != this) World.Send(packet, Name, best.Pe);
        else World.Lost(packet);
    }

    private void Gate(ArmedGroup armed, Packet packet)
    {
        bool drains = Groups.GetValueOrDefault(armed.Id) == "draining";
        if (armed.Order is null && !armed.IsRestored && drains && World.Sim.Now - armed.DrainsSince < HandoverWorld.DrainBoundNs)
            World.Fail($"a packet of {packet.From.Name} for {packet.To} came to {Name} by the direct path, and overtook what was held");
        int gate = armed.Gates.IndexOf(packet.Loopback);
        if (armed.Keeper is not { } keeper || gate < 0) World.Delivered(packet, this, excused: armed.Order is null);
        else if (keeper.IsOpen(gate)) World.Delivered(packet, this, keeper.Info(gate, s_nothing).OpenedBy == GateOpening.Bound);
        else
        {
            armed.Kept.Add(packet);
            armed.KeptSince.TryAdd(gate, Now);
            In((armed.Order!.Options.BoundMs * 1_002_000L) + 1, () => PollGates(armed));
            PollGates(armed);
        }
    }

    private void PollGates(ArmedGroup armed)
    {
        if (armed.Keeper is not { } keeper || _armed.GetValueOrDefault(armed.Id) != armed) return;
        bool sent = armed.IsReleased && (Groups.GetValueOrDefault(armed.Id) == "released" || World.Mutant == Mutant.GateBeforeHold);
        for (int i = 0; i < keeper.Count; i++)
        {
            if (!keeper.Open(i, sent, armed.KeptSince.TryGetValue(i, out long since) ? since : null, Now)) continue;
            GateOpening by = keeper.Info(i, s_nothing).OpenedBy;
            World.Log(Name, $"{armed.Id}: the gate of {keeper.LoopbackOf(i)} opens by {by}");
            Packet[] kept = [.. armed.Kept.Where(p => p.Loopback == keeper.LoopbackOf(i))];
            armed.Kept.RemoveAll(kept.Contains);
            foreach (Packet packet in kept) World.Delivered(packet, this, by == GateOpening.Bound);
        }
    }

    private OrderInfo? OrderOf(string group) => _armed.GetValueOrDefault(group) is { } armed && InfoOf(armed) is { } info ? info
        : _ended.GetValueOrDefault(group);

    private OrderInfo? InfoOf(ArmedGroup armed)
    {
        if (armed.Passing is { } passing)
        {
            OrderInfo info = passing.Info(Now);
            return World.Mutant == Mutant.PassedAtFirstMarker && info.Gates.Any(g => g.Proved) ? info with { Proved = true } : info;
        }

        return armed.Keeper is not { } keeper ? null : new OrderInfo(armed.Order!.Tag, keeper.Proved,
            [.. Enumerable.Range(0, keeper.Count).Select(i => keeper.Info(i, s_nothing with
            {
                PacketsHeldNow = armed.Kept.Count(p => p.Loopback == keeper.LoopbackOf(i)),
            }))], 0, keeper.StrangeMarkers);
    }

    // A redirect group with its hold and gates.
    private sealed class ArmedGroup(string id, string tunnel, IReadOnlyList<IpPrefix> prefixes, bool isSource, OrderSpec? order)
    {
        public string Id { get; } = id;

        public string Tunnel { get; } = tunnel;

        public IReadOnlyList<IpPrefix> Prefixes { get; } = prefixes;

        public bool IsSource { get; } = isSource;

        public OrderSpec? Order { get; } = order;

        public PassingMarkers? Passing { get; set; }

        public OrderKeeper? Keeper { get; set; }

        public List<IpAddress> Gates { get; set; } = [];

        // Packets in the gates, and when the oldest of each came.
        public List<Packet> Kept { get; } = [];

        public Dictionary<int, long> KeptSince { get; } = [];

        public List<Packet> Held { get; } = [];

        public bool IsReleased { get; set; }

        // Its gates were lost with an earlier life.
        public bool IsRestored { get; init; }

        public long DrainsSince { get; set; }

        public long TunnelPackets { get; set; }
    }
}
