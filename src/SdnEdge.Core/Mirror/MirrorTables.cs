using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Mirror;

/// <summary>
/// A data plane made from a mirror's records, ready for workers. Records that name what is not there are counted and left
/// out. Changes while no worker runs only: what is taken out is freed at once.
/// </summary>
public sealed class MirrorTables : IMirrorSink, IDisposable
{
    private readonly Func<string, IPort?> _device;
    private readonly Dictionary<int, Vrf> _vrfs = [];
    private readonly Dictionary<int, PortEntry> _ports = [];
    private readonly Dictionary<int, Tunnel> _tunnels = [];
    private readonly Dictionary<int, IndirectNextHop> _hops = [];
    private readonly Dictionary<int, RedirectGroup> _groups = [];
    private readonly Dictionary<(int Vrf, uint Leaf), uint> _leaves = [];

    /// <summary>Makes empty tables.</summary>
    /// <param name="workers">Workers that will use them.</param>
    /// <param name="device">The device of a port, by the port's name; null: there is none, what goes to the port is lost and
    /// counted.</param>
    public MirrorTables(int workers, Func<string, IPort?> device)
    {
        _device = device;
        Plane = new DataPlane(workers);
    }

    /// <summary>The data plane.</summary>
    public DataPlane Plane { get; }

    /// <summary>The router's own addresses.</summary>
    public IReadOnlyList<IpAddress> OwnAddresses { get; private set; } = [];

    /// <summary>Prefixes, all VRFs and both families.</summary>
    public long Prefixes
    {
        get
        {
            long sum = 0;
            foreach (Vrf vrf in _vrfs.Values) sum += vrf.V4.Count + vrf.V6.Count;
            return sum;
        }
    }

    /// <summary>Neighbours whose MAC address is known.</summary>
    public int Neighbors { get; private set; }

    /// <summary>Records that could not be carried out. Always 0 unless the stream is damaged.</summary>
    public long Refused { get; private set; }

    /// <inheritdoc/>
    public void Begin()
    {
    }

    /// <inheritdoc/>
    public void End()
    {
    }

    /// <inheritdoc/>
    public void Loopbacks(IReadOnlyList<IpAddress> addresses) => OwnAddresses = addresses;

    /// <inheritdoc/>
    public void Vrf(int index, string name, uint? key)
    {
        VrfGone(index);
        _vrfs[index] = Plane.AddVrf(name, key);
    }

    /// <inheritdoc/>
    public void VrfGone(int index)
    {
        if (!_vrfs.Remove(index, out Vrf? vrf)) return;
        foreach ((int Vrf, uint Leaf) leaf in _leaves.Keys.Where(k => k.Vrf == index).ToArray()) _leaves.Remove(leaf);
        Plane.RemoveVrf(vrf);
        vrf.Dispose();
    }

    /// <inheritdoc/>
    public void Port(MirrorPort port)
    {
        if (_ports.TryGetValue(port.Index, out PortEntry? known))
        {
            known.Mtu = port.Mtu;
            known.Up = port.Up;
            known.Addresses = port.Addresses;
            return;
        }

        if (!_vrfs.TryGetValue(port.Vrf, out Vrf? vrf))
        {
            Refused++;
            return;
        }

        var options = new PortOptions(port.Name, port.Mac, port.Mtu)
        {
            Addresses = port.Addresses,
            IsHost = port.IsHost,
            Link = port.Link is { } link ? _ports.GetValueOrDefault(link) : null,
        };
        PortEntry entry = Plane.AddPort(options, _device(port.Name) ?? new NoDevice(port.Name), vrf);
        entry.Up = port.Up;
        _ports[port.Index] = entry;
    }

    /// <inheritdoc/>
    public void PortGone(int index)
    {
        if (!_ports.Remove(index, out PortEntry? port)) return;
        foreach (Adjacency neighbor in port.Neighbors.Snapshot()) Neighbors -= neighbor.Mac is null ? 0 : 1;
        Plane.RemovePort(port);
    }

    /// <inheritdoc/>
    public void Neighbor(int port, IpAddress address, MacAddress mac, NeighborState state)
    {
        if (AdjacencyOf(port, address) is not { } neighbor) return;
        if (neighbor.Mac is null) Neighbors++;
        neighbor.Resolve(mac, state);
    }

    /// <inheritdoc/>
    public void NeighborGone(int port, IpAddress address)
    {
        if (!_ports.TryGetValue(port, out PortEntry? entry) || entry.Neighbors.Find(address) is not { Mac: not null } neighbor) return;
        Neighbors--;
        neighbor.Fail(NeighborState.Incomplete);
    }

    /// <inheritdoc/>
    public void Host(int port, IpAddress address)
    {
        if (AdjacencyOf(port, address) is { } kernel) DataPlane.SetHost(kernel);
    }

    /// <inheritdoc/>
    public void Tunnel(int id, TunnelOptions options, int vrf, int underlay, bool up)
    {
        TunnelGone(id);
        if (!_vrfs.TryGetValue(vrf, out Vrf? inner) || !_vrfs.TryGetValue(underlay, out Vrf? outer))
        {
            Refused++;
            return;
        }

        // One that is to go may be told after the one that takes its place: the old one goes first here.
        foreach ((int other, Tunnel there) in _tunnels)
        {
            if (there.Options.Local != options.Local || there.Options.Remote != options.Remote || there.Options.Key != options.Key
                || there.Options.Encapsulation != options.Encapsulation) continue;
            TunnelGone(other);
            break;
        }

        Tunnel tunnel = Plane.AddTunnel(options, inner, outer);
        tunnel.Up = up;
        _tunnels[id] = tunnel;
    }

    /// <inheritdoc/>
    public void TunnelState(int id, bool up, int pathMtu)
    {
        if (_tunnels.TryGetValue(id, out Tunnel? tunnel)) (tunnel.Up, tunnel.PathMtu) = (up, pathMtu);
    }

    /// <inheritdoc/>
    public void TunnelGone(int id)
    {
        if (_tunnels.Remove(id, out Tunnel? tunnel)) Plane.RemoveTunnel(tunnel);
    }

    /// <inheritdoc/>
    public void Group(MirrorGroup group)
    {
        if (!_groups.TryGetValue(group.Id, out RedirectGroup? redirect)) _groups[group.Id] = redirect =
            new RedirectGroup(group.Name, group.Vrf, Plane.Workers);
        redirect.Set(DecisionOf(group.Arrivals, group.Tunnel), DecisionOf(group.Others, group.Tunnel));
    }

    /// <inheritdoc/>
    public void GroupGone(int id) => _groups.Remove(id);

    /// <inheritdoc/>
    public void Hop(int id, MirrorHop decision)
    {
        if (_hops.TryGetValue(id, out IndirectNextHop? slot)) slot.Current = Of(decision);
        else _hops[id] = new IndirectNextHop(Of(decision));
    }

    /// <inheritdoc/>
    public void HopGone(int id) => _hops.Remove(id);

    /// <inheritdoc/>
    public void Leaf(int vrf, uint index, int hop, int group, MirrorHop? attached)
    {
        LeafGone(vrf, index);
        RedirectGroup? redirect = null;
        if (!_vrfs.TryGetValue(vrf, out Vrf? table) || !_hops.TryGetValue(hop, out IndirectNextHop? slot)
            || (group != 0 && !_groups.TryGetValue(group, out redirect)))
        {
            Refused++;
            return;
        }

        _leaves[(vrf, index)] = table.AddLeaf(new FibLeaf(slot, redirect) { AttachedHop = attached is { } server ? Of(server) : null });
    }

    /// <inheritdoc/>
    public void LeafGone(int vrf, uint index)
    {
        if (_leaves.Remove((vrf, index), out uint own) && _vrfs.TryGetValue(vrf, out Vrf? table)) table.FreeLeaf(own);
    }

    /// <inheritdoc/>
    public void Prefix(int vrf, IpPrefix prefix, uint leaf)
    {
        if (_vrfs.TryGetValue(vrf, out Vrf? table) && _leaves.TryGetValue((vrf, leaf), out uint own)) table.Set(prefix, own);
        else Refused++;
    }

    /// <inheritdoc/>
    public void PrefixGone(int vrf, IpPrefix prefix)
    {
        if (!_vrfs.TryGetValue(vrf, out Vrf? table) || table.Remove(prefix) == 0) Refused++;
    }

    /// <summary>Gives memory back that replaced parts of the tables held. No worker may be in a batch.</summary>
    public void Reclaim()
    {
        foreach (Vrf vrf in _vrfs.Values)
        {
            vrf.V4.Reclaim();
            vrf.V6.Reclaim();
        }
    }

    /// <summary>Frees the tables. No worker may be in a batch.</summary>
    public void Dispose()
    {
        foreach (Vrf vrf in _vrfs.Values) vrf.Dispose();
        _vrfs.Clear();
    }

    private Adjacency? AdjacencyOf(int port, IpAddress address)
    {
        Adjacency? neighbor = address.IsNone ? null : _ports.GetValueOrDefault(port)?.Neighbors.GetOrAdd(address);
        if (neighbor is null) Refused++;
        return neighbor;
    }

    private ForwardingDecision? DecisionOf(MirrorGroupAction action, int tunnel) => action switch
    {
        MirrorGroupAction.Attached => ForwardingDecision.Attached,
        MirrorGroupAction.Tunnel when _tunnels.TryGetValue(tunnel, out Tunnel? through) => ForwardingDecision.Through(through),
        _ => null,
    };

    private ForwardingDecision Of(in MirrorHop hop)
    {
        switch (hop.Kind)
        {
            case ForwardingKind.Drop: return ForwardingDecision.Drop(hop.Reason);
            case ForwardingKind.Local: return ForwardingDecision.Local;
            case ForwardingKind.Connected when _ports.TryGetValue(hop.Port, out PortEntry? port): return ForwardingDecision.Connected(port);
            case ForwardingKind.Via when AdjacencyOf(hop.Port, hop.Address) is { } neighbor: return ForwardingDecision.Via(neighbor,
                hop.RemotePe);
            case ForwardingKind.Tunnel when _tunnels.TryGetValue(hop.Tunnel, out Tunnel? tunnel): return ForwardingDecision.Through(tunnel);
            case ForwardingKind.Unreachable: return ForwardingDecision.Unreachable;
            default:
                Refused++;
                return ForwardingDecision.Unreachable;
        }
    }

    private sealed class NoDevice(string name) : IPort
    {
        public string Name => name;

        public bool SegmentsForUs => false;

        public int Receive(PacketBatch batch) => batch.Count = 0;

        public int Transmit(ReadOnlySpan<Packet> packets) => 0;
    }
}
