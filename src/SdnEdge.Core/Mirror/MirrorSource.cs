using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Mirror;

/// <summary>
/// Tells a sink what a data plane has and how it changes. The single writer calls it where it changes tables; what is few
/// (VRFs, ports, tunnels, groups) is compared with what was told last by <see cref="Scan"/>, at the end of a round. Says
/// nothing before the first <see cref="Full"/>.
/// <para>Next hops and groups are told with the first leaf that names them and forgotten with the last. A hold becomes what it
/// would release to: packets of the mirror go straight there, unordered.</para>
/// </summary>
public sealed class MirrorSource(IMirrorSink sink)
{
    private readonly Dictionary<IndirectNextHop, Named> _hops = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<RedirectGroup, NamedGroup> _groups = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<Tunnel, NamedTunnel> _tunnels = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<int, (PortEntry Entry, object Addresses, int Mtu, bool Up)> _ports = [];
    private readonly Dictionary<int, Vrf> _vrfs = [];
    private readonly Dictionary<(int Vrf, uint Leaf), (IndirectNextHop Hop, RedirectGroup? Group)> _leaves = [];
    private readonly List<int> _gone = [];
    private readonly List<Tunnel> _goneTunnels = [];
    private readonly HashSet<Adjacency> _hosts = [];
    private int _nextId;

    /// <summary>True between <see cref="Full"/> and <see cref="Stop"/>.</summary>
    public bool IsActive { get; private set; }

    /// <summary>Tells everything.</summary>
    /// <param name="plane">The data plane.</param>
    /// <param name="loopbacks">The router's own addresses.</param>
    /// <param name="prefixes">Calls <see cref="Leaf"/> and <see cref="Prefix"/> for all there is.</param>
    public void Full(DataPlane plane, IReadOnlyList<IpAddress> loopbacks, Action prefixes)
    {
        Stop();
        IsActive = true;
        sink.Begin();
        sink.Loopbacks(loopbacks);
        Scan(plane);
        foreach (PortEntry? port in plane.Ports)
        {
            if (port is null) continue;
            foreach (Adjacency neighbor in port.Neighbors.Snapshot()) Neighbor(neighbor);
        }

        prefixes();
        sink.End();
    }

    /// <summary>Forgets what was told; says nothing until the next <see cref="Full"/>.</summary>
    public void Stop()
    {
        IsActive = false;
        _hops.Clear();
        _groups.Clear();
        _tunnels.Clear();
        _ports.Clear();
        _vrfs.Clear();
        _leaves.Clear();
        _hosts.Clear();
        _nextId = 0;
    }

    /// <summary>Tells what has changed of VRFs, ports, tunnels, groups and the host. Costs a look at each when nothing has.</summary>
    public void Scan(DataPlane plane)
    {
        if (!IsActive) return;
        ScanVrfs(plane);
        ScanPorts(plane);
        ScanTunnels(plane);
        foreach ((RedirectGroup group, NamedGroup told) in _groups)
        {
            bool goesHome = GoesHome(group.Active);
            if (ReferenceEquals(told.Active, group.Active) && told.GoesHome == goesHome) continue;
            (told.Active, told.GoesHome) = (group.Active, goesHome);
            Tell(group, told);
        }

        foreach (Vrf? vrf in plane.Vrfs) Host(vrf?.Host);
        foreach (PortEntry? port in plane.Ports) Host(port?.Host);
    }

    private void Host(Adjacency? kernel)
    {
        if (kernel is null || !_hosts.Add(kernel)) return;
        See(kernel.Port);
        sink.Host(kernel.Port.Index, kernel.Address);
    }

    /// <summary>A leaf is there.</summary>
    public void Leaf(Vrf vrf, uint index, FibLeaf leaf)
    {
        if (!IsActive) return;
        See(vrf);
        if (!_hops.TryGetValue(leaf.Hop, out Named? hop))
        {
            hop = new Named(++_nextId);
            _hops.Add(leaf.Hop, hop);
            sink.Hop(hop.Id, Of(leaf.Hop.Current));
        }

        NamedGroup? group = null;
        if (leaf.Group is { } redirect && !_groups.TryGetValue(redirect, out group))
        {
            group = new NamedGroup(++_nextId, redirect.Active);
            _groups.Add(redirect, group);
            Tell(redirect, group);
        }

        hop.Users++;
        if (group is not null) group.Users++;
        _leaves[(vrf.Index, index)] = (leaf.Hop, leaf.Group);
        sink.Leaf(vrf.Index, index, hop.Id, group?.Id ?? 0, leaf.AttachedHop is { } attached ? Of(attached) : null);
    }

    /// <summary>A leaf's index is given back.</summary>
    public void LeafGone(Vrf vrf, uint index)
    {
        if (!IsActive || !_leaves.Remove((vrf.Index, index), out (IndirectNextHop Hop, RedirectGroup? Group) leaf)) return;
        sink.LeafGone(vrf.Index, index);
        if (_hops.TryGetValue(leaf.Hop, out Named? hop) && --hop.Users == 0)
        {
            _hops.Remove(leaf.Hop);
            sink.HopGone(hop.Id);
        }

        if (leaf.Group is not { } redirect || !_groups.TryGetValue(redirect, out NamedGroup? group) || --group.Users > 0) return;
        _groups.Remove(redirect);
        sink.GroupGone(group.Id);
    }

    /// <summary>A prefix names a leaf.</summary>
    public void Prefix(Vrf vrf, IpPrefix prefix, uint leaf)
    {
        if (IsActive) sink.Prefix(vrf.Index, prefix, leaf);
    }

    /// <summary>A prefix is gone.</summary>
    public void PrefixGone(Vrf vrf, IpPrefix prefix)
    {
        if (IsActive) sink.PrefixGone(vrf.Index, prefix);
    }

    /// <summary>A next hop decides otherwise.</summary>
    public void HopChanged(IndirectNextHop slot)
    {
        if (IsActive && _hops.TryGetValue(slot, out Named? hop)) sink.Hop(hop.Id, Of(slot.Current));
    }

    /// <summary>What is known about a neighbour has changed.</summary>
    public void Neighbor(Adjacency neighbor)
    {
        if (!IsActive) return;
        See(neighbor.Port);
        if (neighbor.Mac is { } mac) sink.Neighbor(neighbor.Port.Index, neighbor.Address, mac, neighbor.State);
        else sink.NeighborGone(neighbor.Port.Index, neighbor.Address);
    }

    private void ScanVrfs(DataPlane plane)
    {
        foreach (Vrf? vrf in plane.Vrfs)
        {
            if (vrf is not null) See(vrf);
        }

        if (_vrfs.Count == Count(plane.Vrfs)) return;
        _gone.Clear();
        foreach ((int index, Vrf known) in _vrfs)
        {
            if (index >= plane.Vrfs.Count || !ReferenceEquals(plane.Vrfs[index], known)) _gone.Add(index);
        }

        foreach (int index in _gone) Forget(index);
    }

    private void Forget(int vrf)
    {
        Vrf gone = _vrfs[vrf];
        foreach ((int of, uint leaf) in _leaves.Keys.Where(k => k.Vrf == vrf).ToArray()) LeafGone(gone, leaf);
        _vrfs.Remove(vrf);
        sink.VrfGone(vrf);
    }

    private void See(Vrf vrf)
    {
        if (_vrfs.TryGetValue(vrf.Index, out Vrf? known))
        {
            if (ReferenceEquals(known, vrf)) return;
            Forget(vrf.Index);
        }

        _vrfs[vrf.Index] = vrf;
        sink.Vrf(vrf.Index, vrf.Name, vrf.Key);
    }

    private void ScanPorts(DataPlane plane)
    {
        int there = 0;
        foreach (PortEntry? port in plane.Ports)
        {
            if (port is null) continue;
            there++;
            See(port);
        }

        if (_ports.Count == there) return;
        _gone.Clear();
        foreach ((int index, (PortEntry entry, _, _, _)) in _ports)
        {
            if (index >= plane.Ports.Count || !ReferenceEquals(plane.Ports[index], entry)) _gone.Add(index);
        }

        foreach (int index in _gone)
        {
            _ports.Remove(index);
            _hosts.RemoveWhere(h => h.Port.Index == index);
            sink.PortGone(index);
        }
    }

    private void See(PortEntry port)
    {
        if (_ports.TryGetValue(port.Index, out (PortEntry Entry, object Addresses, int Mtu, bool Up) told))
        {
            bool same = ReferenceEquals(told.Entry, port);
            if (same && ReferenceEquals(told.Addresses, port.Addresses) && told.Mtu == port.Mtu && told.Up == port.Up) return;
            if (!same)
            {
                _hosts.RemoveWhere(h => h.Port.Index == port.Index);
                sink.PortGone(port.Index);
            }
        }

        See(port.Vrf);
        if (port.Options.Link is { } link) See(link);
        _ports[port.Index] = (port, port.Addresses, port.Mtu, port.Up);
        sink.Port(new MirrorPort(port.Index, port.Name, port.Vrf.Index, port.Mac, port.Mtu, port.IsHost, port.Up, port.Addresses,
            port.Options.Link?.Index));
    }

    private void ScanTunnels(DataPlane plane)
    {
        IReadOnlyList<Tunnel> there = plane.Tunnels;
        for (int i = 0; i < there.Count; i++)
        {
            NamedTunnel told = See(there[i]);
            (bool up, int pathMtu) = (there[i].Up, there[i].PathMtu);
            if (told.Up == up && told.PathMtu == pathMtu) continue;
            (told.Up, told.PathMtu) = (up, pathMtu);
            sink.TunnelState(told.Id, up, pathMtu);
        }

        if (_tunnels.Count == there.Count) return;
        _goneTunnels.Clear();
        foreach (Tunnel tunnel in _tunnels.Keys)
        {
            if (!there.Contains(tunnel)) _goneTunnels.Add(tunnel);
        }

        foreach (Tunnel tunnel in _goneTunnels)
        {
            _tunnels.Remove(tunnel, out NamedTunnel? told);
            sink.TunnelGone(told!.Id);
        }
    }

    private NamedTunnel See(Tunnel tunnel)
    {
        if (_tunnels.TryGetValue(tunnel, out NamedTunnel? told)) return told;
        See(tunnel.Vrf);
        See(tunnel.Underlay);
        told = new NamedTunnel(++_nextId, tunnel.Up);
        _tunnels.Add(tunnel, told);
        sink.Tunnel(told.Id, tunnel.Options, tunnel.Vrf.Index, tunnel.Underlay.Index, tunnel.Up);
        return told;
    }

    private void Tell(RedirectGroup group, NamedGroup told)
    {
        GroupDecision active = told.Active;
        int tunnel = 0;
        MirrorGroupAction arrivals = ActionOf(active.ForTunnelArrivals, ref tunnel);
        MirrorGroupAction others = ActionOf(active.ForOthers, ref tunnel);
        sink.Group(new MirrorGroup(told.Id, group.Name, group.Vrf, arrivals, others, tunnel));
    }

    // The move was given up: the hold sends by the native way, while the group's decision stays what it was.
    private static bool GoesHome(GroupDecision active) => active.ForTunnelArrivals?.Hold is { } hold && GoesHome(hold);

    private static bool GoesHome(Hold hold) => hold.Path != DrainPath.Attached;

    private MirrorGroupAction ActionOf(ForwardingDecision? decision, ref int tunnel)
    {
        switch (decision?.Kind)
        {
            case ForwardingKind.Tunnel:
                tunnel = See(decision.Tunnel!).Id;
                return MirrorGroupAction.Tunnel;
            case ForwardingKind.Attached or ForwardingKind.Ordered: return MirrorGroupAction.Attached;

            // A hold whose move was given up sends by the native way; every other one ends at the server.
            case ForwardingKind.Hold: return GoesHome(decision.Hold!) ? MirrorGroupAction.Native : MirrorGroupAction.Attached;
            default: return MirrorGroupAction.Native;
        }
    }

    private MirrorHop Of(ForwardingDecision decision)
    {
        switch (decision.Kind)
        {
            case ForwardingKind.Drop: return new MirrorHop(ForwardingKind.Drop, Reason: decision.Reason);
            case ForwardingKind.Local: return new MirrorHop(ForwardingKind.Local);
            case ForwardingKind.Connected:
                See(decision.Port!);
                return new MirrorHop(ForwardingKind.Connected, Port: decision.Port!.Index);
            case ForwardingKind.Via:
                See(decision.Port!);
                return new MirrorHop(ForwardingKind.Via, Port: decision.Port!.Index, Address: decision.Adjacency!.Address,
                    RemotePe: decision.RemotePe);
            case ForwardingKind.Tunnel: return new MirrorHop(ForwardingKind.Tunnel, Tunnel: See(decision.Tunnel!).Id);
            default: return new MirrorHop(ForwardingKind.Unreachable);
        }
    }

    private static int Count(IReadOnlyList<Vrf?> vrfs)
    {
        int count = 0;
        for (int i = 0; i < vrfs.Count; i++) count += vrfs[i] is null ? 0 : 1;
        return count;
    }

    private class Named(int id)
    {
        public int Id { get; } = id;

        public int Users { get; set; }
    }

    private sealed class NamedGroup(int id, GroupDecision active) : Named(id)
    {
        public GroupDecision Active { get; set; } = active;

        public bool GoesHome { get; set; } = MirrorSource.GoesHome(active);
    }

    private sealed class NamedTunnel(int id, bool up)
    {
        public int Id { get; } = id;

        public bool Up { get; set; } = up;

        public int PathMtu { get; set; }
    }
}
