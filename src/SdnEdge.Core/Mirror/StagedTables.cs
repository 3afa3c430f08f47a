using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Mirror;

/// <summary>
/// Keeps the last whole state while the next one comes in: between Begin and End records go to new tables, which take the
/// place of the old ones at End. A state that breaks off is thrown away with the next Begin.
/// </summary>
/// <param name="make">Makes empty tables.</param>
public sealed class StagedTables(Func<MirrorTables> make) : IMirrorSink, IDisposable
{
    private MirrorTables? _next;

    /// <summary>The last whole state and what has changed since; null before the first.</summary>
    public MirrorTables? Whole { get; private set; }

    /// <summary>True while a whole state is coming in.</summary>
    public bool IsFilling => _next is not null;

    /// <summary>Whole states taken in.</summary>
    public long Wholes { get; private set; }

    private MirrorTables? Now => _next ?? Whole;

    /// <inheritdoc/>
    public void Begin()
    {
        _next?.Dispose();
        _next = make();
    }

    /// <inheritdoc/>
    public void End()
    {
        if (_next is null) return;
        Whole?.Dispose();
        (Whole, _next) = (_next, null);
        Wholes++;
    }

    /// <summary>Throws a state away that has broken off.</summary>
    public void Abandon()
    {
        _next?.Dispose();
        _next = null;
    }

    /// <inheritdoc/>
    public void Loopbacks(IReadOnlyList<IpAddress> addresses) => Now?.Loopbacks(addresses);

    /// <inheritdoc/>
    public void Vrf(int index, string name, uint? key) => Now?.Vrf(index, name, key);

    /// <inheritdoc/>
    public void VrfGone(int index) => Now?.VrfGone(index);

    /// <inheritdoc/>
    public void Port(MirrorPort port) => Now?.Port(port);

    /// <inheritdoc/>
    public void PortGone(int index) => Now?.PortGone(index);

    /// <inheritdoc/>
    public void Neighbor(int port, IpAddress address, MacAddress mac, NeighborState state) => Now?.Neighbor(port, address, mac, state);

    /// <inheritdoc/>
    public void NeighborGone(int port, IpAddress address) => Now?.NeighborGone(port, address);

    /// <inheritdoc/>
    public void Host(int port, IpAddress address) => Now?.Host(port, address);

    /// <inheritdoc/>
    public void Tunnel(int id, TunnelOptions options, int vrf, int underlay, bool up) => Now?.Tunnel(id, options, vrf, underlay, up);

    /// <inheritdoc/>
    public void TunnelState(int id, bool up, int pathMtu) => Now?.TunnelState(id, up, pathMtu);

    /// <inheritdoc/>
    public void TunnelGone(int id) => Now?.TunnelGone(id);

    /// <inheritdoc/>
    public void Group(MirrorGroup group) => Now?.Group(group);

    /// <inheritdoc/>
    public void GroupGone(int id) => Now?.GroupGone(id);

    /// <inheritdoc/>
    public void Hop(int id, MirrorHop decision) => Now?.Hop(id, decision);

    /// <inheritdoc/>
    public void HopGone(int id) => Now?.HopGone(id);

    /// <inheritdoc/>
    public void Leaf(int vrf, uint index, int hop, int group, MirrorHop? attached) => Now?.Leaf(vrf, index, hop, group, attached);

    /// <inheritdoc/>
    public void LeafGone(int vrf, uint index) => Now?.LeafGone(vrf, index);

    /// <inheritdoc/>
    public void Prefix(int vrf, IpPrefix prefix, uint leaf) => Now?.Prefix(vrf, prefix, leaf);

    /// <inheritdoc/>
    public void PrefixGone(int vrf, IpPrefix prefix) => Now?.PrefixGone(vrf, prefix);

    /// <summary>Frees the tables. No worker may be in a batch.</summary>
    public void Dispose()
    {
        Abandon();
        Whole?.Dispose();
        Whole = null;
    }
}
