using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Fib;

/// <summary>
/// One routing instance: a longest prefix match table for each family, and the leaves they name. One writer (the control
/// loop); workers read without waiting.
/// </summary>
public sealed class Vrf : IDisposable
{
    private readonly Stack<uint> _free = new();
    private readonly HashSet<IpPrefix> _linkLocals = [];
    private volatile FibLeaf?[] _leaves = new FibLeaf?[64];
    private volatile bool _routesLinkLocal;
    private volatile Adjacency? _host;
    private uint _next = 1; // index 0 means "no route"

    /// <summary>Makes an empty VRF. <paramref name="key"/> is the GRE key that stands for it in tunnels, null for none.</summary>
    public Vrf(int index, string name, uint? key = null)
    {
        (Index, Name, Key, IsDefault) = (index, name, key, name == Config.NodeConfig.DefaultVrf);
        V4 = new LpmTable4();
        V6 = new LpmTable6();
    }

    /// <summary>Position in <see cref="Forwarding.DataPlane"/>.</summary>
    public int Index { get; }

    /// <summary>Name in configuration.</summary>
    public string Name { get; }

    /// <summary>True for the VRF of the core; all others are customers'.</summary>
    public bool IsDefault { get; }

    /// <summary>GRE key, or null.</summary>
    public uint? Key { get; }

    /// <summary>IPv4 table.</summary>
    public LpmTable4 V4 { get; }

    /// <summary>IPv6 table.</summary>
    public LpmTable6 V6 { get; }

    /// <summary>
    /// True when it has a route inside 169.254.0.0/16 that is not to a link of its own: somebody numbers the ends of tunnels so, as cloud
    /// providers do, and they are forwarded. Otherwise they stay on their link (RFC 3927 7).
    /// </summary>
    public bool RoutesLinkLocal => _routesLinkLocal;

    /// <summary>The router's own kernel, where it has the VRF's local addresses; null: nobody listens at them (<see
    /// cref="Forwarding.DataPlane.SetHost"/>).</summary>
    public Adjacency? Host
    {
        get => _host;
        internal set => _host = value;
    }

    /// <summary>Leaves in use.</summary>
    public int LeafCount => (int)_next - 1 - _free.Count;

    /// <summary>Gives a leaf an index, for use with <see cref="Set"/>. The leaf is visible to workers before any prefix can name
    /// it.</summary>
    public uint AddLeaf(FibLeaf leaf)
    {
        uint index = _free.Count > 0 ? _free.Pop() : _next++;
        FibLeaf?[] leaves = _leaves;
        if (index >= leaves.Length)
        {
            FibLeaf?[] grown = new FibLeaf?[leaves.Length * 2];
            leaves.CopyTo(grown, 0);
            Volatile.Write(ref grown[index], leaf);
            _leaves = grown;
        }
        else
        {
            Volatile.Write(ref leaves[index], leaf);
        }

        return index;
    }

    /// <summary>
    /// Gives a leaf's index back. Call it only after a grace period since the last prefix that named it was changed, or a
    /// worker in mid-batch could see the index with its next owner.
    /// </summary>
    public void FreeLeaf(uint index)
    {
        Volatile.Write(ref _leaves[index], null);
        _free.Push(index);
    }

    /// <summary>The leaf with that index; null for 0 and for indexes not in use.</summary>
    public FibLeaf? Leaf(uint index)
    {
        FibLeaf?[] leaves = _leaves;
        return index < (uint)leaves.Length ? Volatile.Read(ref leaves[index]) : null;
    }

    /// <summary>Installs or changes a prefix. Returns the leaf it had, 0 when it is new.</summary>
    public uint Set(IpPrefix prefix, uint leaf)
    {
        if (IsLinkLocal(prefix)) NoteLinkLocal(prefix, leads: Leaf(leaf)?.Hop.Current.Kind is not (ForwardingKind.Local
            or ForwardingKind.Connected or null));
        return prefix.Family == IpFamily.V4
            ? V4.Set(prefix.Address.V4, prefix.Length, leaf)
            : V6.Set(prefix.Address.Bits, prefix.Length, leaf);
    }

    /// <summary>Installs a prefix with a leaf of its own; returns the leaf's index.</summary>
    public uint Set(IpPrefix prefix, FibLeaf leaf)
    {
        uint index = AddLeaf(leaf);
        Set(prefix, index);
        return index;
    }

    /// <summary>Takes a prefix out. Returns the leaf it had, 0 when it was not there.</summary>
    public uint Remove(IpPrefix prefix)
    {
        if (IsLinkLocal(prefix)) NoteLinkLocal(prefix, leads: false);
        return prefix.Family == IpFamily.V4
            ? V4.Remove(prefix.Address.V4, prefix.Length)
            : V6.Remove(prefix.Address.Bits, prefix.Length);
    }

    private void NoteLinkLocal(IpPrefix prefix, bool leads)
    {
        if (leads) _linkLocals.Add(prefix);
        else _linkLocals.Remove(prefix);
        _routesLinkLocal = _linkLocals.Count > 0;
    }

    private static bool IsLinkLocal(IpPrefix prefix)
        => prefix.Family == IpFamily.V4 && prefix.Length >= 16 && Martians.IsLinkLocal(prefix.Address.V4);

    /// <summary>
    /// Asks for what <see cref="Set(IpPrefix, uint)"/> or <see cref="Remove"/> will read first; <see cref="PrefetchNodes"/> for what they
    /// read then. A hint, for some <see cref="CacheLine.Ahead"/> prefixes just before they change. The writer's thread.
    /// </summary>
    public void PrefetchRoot(IpPrefix prefix)
    {
        if (prefix.Family == IpFamily.V4) V4.PrefetchRoot(prefix.Address.V4, prefix.Length);
        else V6.PrefetchRoot(prefix.Address.Bits, prefix.Length);
    }

    /// <summary>Behind <see cref="PrefetchRoot"/>, for the same prefixes.</summary>
    public void PrefetchNodes(IpPrefix prefix)
    {
        if (prefix.Family == IpFamily.V4) V4.PrefetchNodes(prefix.Address.V4, prefix.Length);
        else V6.PrefetchNodes(prefix.Address.Bits, prefix.Length);
    }

    /// <summary>Longest match for an address; null when there is no route.</summary>
    public FibLeaf? Lookup(IpAddress address) => Leaf(address.IsV4 ? V4.Lookup(address.V4) : V6.Lookup(address.High, address.Low));

    /// <summary>Gives native memory back. No worker may be in a batch.</summary>
    public void Dispose()
    {
        V4.Dispose();
        V6.Dispose();
    }
}
