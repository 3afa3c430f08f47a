using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Mirror;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Router.Control;

/// <summary>What the publisher needs to know about the rest of the PE.</summary>
internal interface IFibNames
{
    /// <summary>A port by name; null when it is not there.</summary>
    PortEntry? Port(string name);

    /// <summary>A tunnel by name; null when it is not there.</summary>
    Tunnel? Tunnel(string name);

    /// <summary>A redirect group by name; null when it is not there.</summary>
    RedirectGroup? Group(string name);
}

/// <summary>The next hop that some prefixes of a group have, the group aside.</summary>
/// <param name="Decision">As it is now.</param>
/// <param name="V4">How many IPv4 prefixes have it.</param>
/// <param name="V6">How many IPv6 prefixes.</param>
internal readonly record struct GroupNative(ForwardingDecision Decision, int V4, int V6)
{
    /// <summary>How many prefixes of a family have it.</summary>
    public int Prefixes(IpFamily family) => family == IpFamily.V4 ? V4 : V6;
}

/// <summary>
/// Carries the changes of a VRF's RIB into its FIB.
/// <list type="number">
/// <item>A next hop that resolves otherwise: one store into its slot; every prefix that uses it follows.</item>
/// <item>Prefixes with a backup have a slot for the pair, which does what the first next hop does, or, while that has failed or is
/// unresolved, what the backup does: one store for each pair.</item>
/// <item>A prefix with another best route: its leaf is looked up by (next hop or pair, group, attached hop) or made, and the prefix is
/// set to it. Prefixes with the same three share a leaf.</item>
/// <item>What no prefix names any more is kept until <see cref="Reclaim"/>, after a grace period.</item>
/// </list>
/// </summary>
internal sealed class FibPublisher(Vrf vrf, IFibNames names)
{
    /// <summary>Prefix of the port name by which a static route names a tunnel; no port can be called so.</summary>
    public const string TunnelPort = "tunnel:";

    private static readonly IndirectNextHop NoHop = new(ForwardingDecision.Unreachable);

    private readonly Dictionary<LeafKey, Entry> _leaves = [];
    private readonly Dictionary<uint, Entry> _byIndex = [];
    private readonly Dictionary<(NextHop First, NextHop Backup), Pair> _pairs = [];
    private readonly Dictionary<IpPrefix, ForwardingDecision> _attached = [];
    private readonly Dictionary<PortEntry, ForwardingDecision> _connected = [];
    private readonly List<uint> _retired = [];
    private readonly HashSet<IpPrefix> _grouped = [];

    /// <summary>Is told what changes; null: nobody.</summary>
    public MirrorSource? Mirror { get; init; }

    /// <summary>True when something waits for <see cref="Reclaim"/>.</summary>
    public bool HasRetired { get; private set; }

    /// <summary>Says where a moving prefix is, or will be, attached. Takes effect with the prefix's next change.</summary>
    public void Attach(IpPrefix prefix, ForwardingDecision hop) => _attached[prefix] = hop;

    /// <summary>Forgets where a prefix was attached.</summary>
    public void Detach(IpPrefix prefix) => _attached.Remove(prefix);

    /// <summary>The shared decision "on this port's own subnet".</summary>
    public ForwardingDecision Connected(PortEntry port)
    {
        if (!_connected.TryGetValue(port, out ForwardingDecision? decision))
            _connected[port] = decision = ForwardingDecision.Connected(port);
        return decision;
    }

    /// <summary>Applies changes in order.</summary>
    public void Apply(ReadOnlySpan<RibChange> changes)
    {
        while (changes.Length > 0)
        {
            ReadOnlySpan<RibChange> next = changes[..Math.Min(CacheLine.Ahead, changes.Length)];
            changes = changes[next.Length..];
            foreach (ref readonly RibChange change in next)
            {
                if (change.ChangedHop is null) vrf.PrefetchRoot(change.Prefix);
            }

            foreach (ref readonly RibChange change in next)
            {
                if (change.ChangedHop is null) vrf.PrefetchNodes(change.Prefix);
            }

            foreach (ref readonly RibChange change in next) Apply(change);
        }
    }

    /// <summary>Applies one change.</summary>
    public void Apply(in RibChange change)
    {
        if (change.ChangedHop is { } hop)
        {
            Refresh(hop);
            return;
        }

        RedirectGroup? group = change.Redirect?.Spec.GroupName is { } name ? names.Group(name) : null;
        if (change.Native is null && group is null)
        {
            uint gone = vrf.Remove(change.Prefix);
            if (gone == 0) return;
            _grouped.Remove(change.Prefix);
            Mirror?.PrefixGone(vrf, change.Prefix);
            HasRetired = true;
            Drop(gone, change.Prefix.Family);
            return;
        }

        Pair? pair = change is { Native: { } first, Backup: { } backup } ? PairOf(first, backup) : null;
        IndirectNextHop hops = pair?.Hop ?? (change.Native is { } native ? SlotOf(native).Hop : NoHop);
        var key = new LeafKey(hops, group, group is null ? null : _attached.GetValueOrDefault(change.Prefix));
        if (!_leaves.TryGetValue(key, out Entry? entry))
        {
            var leaf = new FibLeaf(key.Hop, group) { AttachedHop = key.Attached };
            entry = new Entry(key, vrf.AddLeaf(leaf), pair);
            if (pair is not null) pair.Leaves++;
            _leaves.Add(key, entry);
            _byIndex.Add(entry.Index, entry);
            Mirror?.Leaf(vrf, entry.Index, leaf);
        }

        uint before = vrf.Set(change.Prefix, entry.Index);
        if (entry.Index == before) return;
        entry.Count(change.Prefix.Family, 1);
        if (group is not null) _grouped.Add(change.Prefix);
        else if (_grouped.Count > 0) _grouped.Remove(change.Prefix);
        Mirror?.Prefix(vrf, change.Prefix, entry.Index);
        HasRetired = true;
        if (before != 0) Drop(before, change.Prefix.Family);
    }

    /// <summary>PEs have failed, or have not any more: one store for each pair of next hops. The changes that say the same come
    /// later.</summary>
    public void Flip(IReadOnlyList<NextHop> hops)
    {
        foreach (NextHop hop in hops)
        {
            if (hop.Tag is Slot slot) Update(slot.Pairs);
        }
    }

    /// <summary>Pairs of a next hop and its backup that leaves name now.</summary>
    public int Pairs => _pairs.Count;

    /// <summary>Computes every next hop again: a port or tunnel that it names has come or gone.</summary>
    public void RefreshHops(IEnumerable<NextHop> hops)
    {
        _connected.Clear();
        foreach (NextHop hop in hops) Refresh(hop);
    }

    /// <summary>Tells the mirror all leaves and prefixes.</summary>
    /// <param name="best">The best routes; prefixes of groups are known here.</param>
    public void MirrorAll(IEnumerable<RouteView> best)
    {
        if (Mirror is not { } mirror) return;
        foreach (Entry entry in _byIndex.Values) mirror.Leaf(vrf, entry.Index, vrf.Leaf(entry.Index)!);
        foreach (IpPrefix prefix in _grouped) mirror.Prefix(vrf, prefix, IndexOf(prefix));
        foreach (RouteView route in best)
        {
            if (IndexOf(route.Prefix) is > 0 and uint leaf && _byIndex.ContainsKey(leaf)) mirror.Prefix(vrf, route.Prefix, leaf);
        }
    }

    /// <summary>Frees what was taken out before the last grace period. Call it with no change since that began.</summary>
    public void Reclaim()
    {
        foreach (uint index in _retired)
        {
            vrf.FreeLeaf(index);
            Mirror?.LeafGone(vrf, index);
        }

        _retired.Clear();
        vrf.V4.Reclaim();
        vrf.V6.Reclaim();
        HasRetired = false;
    }

    /// <summary>What the prefixes of a group have for a next hop, the group aside: one for each leaf.</summary>
    public IEnumerable<GroupNative> NativesOf(RedirectGroup group) => _leaves.Values.Where(e => e.Key.Group == group)
        .Select(e => new GroupNative(e.Key.Hop.Current, e.V4, e.V6));

    /// <summary>The leaf of exactly this prefix; null when the FIB does not have it.</summary>
    public FibLeaf? LeafOf(IpPrefix prefix) => vrf.Leaf(IndexOf(prefix));

    private uint IndexOf(IpPrefix prefix)
    {
        uint index;
        bool there = prefix.Family == IpFamily.V4
            ? vrf.V4.TryGetExact(prefix.Address.V4, prefix.Length, out index)
            : vrf.V6.TryGetExact(prefix.Address.Bits, prefix.Length, out index);
        return there ? index : 0;
    }

    private void Drop(uint index, IpFamily family)
    {
        if (!_byIndex.TryGetValue(index, out Entry? entry)) return;
        entry.Count(family, -1);
        if (entry.V4 + entry.V6 > 0) return;
        _leaves.Remove(entry.Key);
        _byIndex.Remove(index);
        _retired.Add(index);
        if (entry.Pair is not { } pair || --pair.Leaves > 0) return;
        _pairs.Remove((pair.First, pair.Backup));
        SlotOf(pair.First).Pairs.Remove(pair);
        SlotOf(pair.Backup).Pairs.Remove(pair);
    }

    private void Refresh(NextHop hop)
    {
        if (hop.Tag is not Slot slot) return;
        ForwardingDecision next = Decide(hop);
        if (!Same(next, slot.Hop.Current))
        {
            slot.Hop.Current = next;
            Mirror?.HopChanged(slot.Hop);
        }

        Update(slot.Pairs);
    }

    private void Update(List<Pair> pairs)
    {
        foreach (Pair pair in pairs)
        {
            ForwardingDecision next = InForce(pair.First, pair.Backup);
            if (ReferenceEquals(next, pair.Hop.Current)) continue;
            pair.Hop.Current = next;
            Mirror?.HopChanged(pair.Hop);
        }
    }

    private Slot SlotOf(NextHop hop)
    {
        if (hop.Tag is Slot slot) return slot;
        hop.Tag = slot = new Slot(Decide(hop));
        return slot;
    }

    private Pair PairOf(NextHop first, NextHop backup)
    {
        if (_pairs.TryGetValue((first, backup), out Pair? pair)) return pair;
        pair = new Pair(first, backup, InForce(first, backup));
        _pairs.Add((first, backup), pair);
        SlotOf(first).Pairs.Add(pair);
        SlotOf(backup).Pairs.Add(pair);
        return pair;
    }

    // The very decision of one of the two, so that whoever compares decisions sees no other path where there is none.
    private ForwardingDecision InForce(NextHop first, NextHop backup)
    {
        bool other = !first.Resolved.IsUsable || (first.Failed && !backup.Failed);
        return SlotOf(other && backup.Resolved.IsUsable ? backup : first).Hop.Current;
    }

    private static bool Same(ForwardingDecision one, ForwardingDecision other) => one.Kind == other.Kind && one.Reason == other.Reason
        && ReferenceEquals(one.Port, other.Port) && ReferenceEquals(one.Adjacency, other.Adjacency)
        && ReferenceEquals(one.Tunnel, other.Tunnel) && one.RemotePe == other.RemotePe;

    private ForwardingDecision Decide(NextHop hop)
    {
        ResolvedHop to = hop.Resolved;
        switch (to.Kind)
        {
            case HopKind.Local: return ForwardingDecision.Local;
            case HopKind.Blackhole: return ForwardingDecision.Blackhole;
            case HopKind.Connected or HopKind.Via or HopKind.Remote when to.Port is { } name:
                if (name.StartsWith(TunnelPort, StringComparison.Ordinal))
                    return names.Tunnel(name[TunnelPort.Length..]) is { } tunnel ? ForwardingDecision.Through(tunnel)
                        : ForwardingDecision.Drop(DropReason.TunnelDown);
                if (names.Port(name) is not { } port) return ForwardingDecision.Drop(DropReason.PortDown);
                if (to.Kind == HopKind.Connected) return Connected(port);
                IpAddress remote = hop.Spec.IsRecursive && hop.Spec.Address != to.Address ? hop.Spec.Address : default;
                return port.Neighbors.GetOrAdd(to.Address) is { } adjacency
                    ? ForwardingDecision.Via(adjacency, remote)
                    : ForwardingDecision.Drop(DropReason.NeighborQueueFull);
            default: return ForwardingDecision.Unreachable;
        }
    }

    private readonly record struct LeafKey(IndirectNextHop Hop, RedirectGroup? Group, ForwardingDecision? Attached);

    /// <summary>What the FIB has for a next hop: what it does, and the pairs that it is in.</summary>
    private sealed class Slot(ForwardingDecision decision)
    {
        public IndirectNextHop Hop { get; } = new(decision);

        public List<Pair> Pairs { get; } = [];
    }

    /// <summary>A next hop with its backup, for all prefixes that have these two.</summary>
    private sealed class Pair(NextHop first, NextHop backup, ForwardingDecision decision)
    {
        public NextHop First { get; } = first;

        public NextHop Backup { get; } = backup;

        public IndirectNextHop Hop { get; } = new(decision);

        /// <summary>Leaves that name it.</summary>
        public int Leaves { get; set; }
    }

    private sealed class Entry(LeafKey key, uint index, Pair? pair)
    {
        public LeafKey Key { get; } = key;

        /// <summary>The pair of next hops; null: there is one.</summary>
        public Pair? Pair { get; } = pair;

        public uint Index { get; } = index;

        public int V4 { get; private set; }

        public int V6 { get; private set; }

        /// <summary>One prefix more, or one less.</summary>
        public void Count(IpFamily family, int by)
        {
            if (family == IpFamily.V4) V4 += by;
            else V6 += by;
        }
    }
}
