using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Mirror;
using SdnEdge.Core.Wire;

namespace SdnEdge.Router.Keeper;

/// <summary>Takes ports and neighbours out of a mirror's frames; the rest is of no use to a PE that has its own tables.</summary>
internal sealed class NeighborList : IMirrorSink
{
    private readonly Dictionary<int, string> _ports = [];
    private readonly List<KnownNeighbor> _neighbors = [];

    public IReadOnlyList<KnownNeighbor> Take()
    {
        KnownNeighbor[] all = [.. _neighbors];
        _neighbors.Clear();
        _ports.Clear();
        return all;
    }

    public void Port(MirrorPort port) => _ports[port.Index] = port.Name;

    public void Neighbor(int port, IpAddress address, MacAddress mac, NeighborState state)
    {
        if (_ports.TryGetValue(port, out string? name)) _neighbors.Add(new KnownNeighbor(name, address, mac));
    }

    public void Begin()
    {
    }

    public void End()
    {
    }

    public void Loopbacks(IReadOnlyList<IpAddress> addresses)
    {
    }

    public void Vrf(int index, string name, uint? key)
    {
    }

    public void VrfGone(int index)
    {
    }

    public void PortGone(int index)
    {
    }

    public void NeighborGone(int port, IpAddress address)
    {
    }

    public void Host(int port, IpAddress address)
    {
    }

    public void Tunnel(int id, TunnelOptions options, int vrf, int underlay, bool up)
    {
    }

    public void TunnelState(int id, bool up, int pathMtu)
    {
    }

    public void TunnelGone(int id)
    {
    }

    public void Group(MirrorGroup group)
    {
    }

    public void GroupGone(int id)
    {
    }

    public void Hop(int id, MirrorHop decision)
    {
    }

    public void HopGone(int id)
    {
    }

    public void Leaf(int vrf, uint index, int hop, int group, MirrorHop? attached)
    {
    }

    public void LeafGone(int vrf, uint index)
    {
    }

    public void Prefix(int vrf, IpPrefix prefix, uint leaf)
    {
    }

    public void PrefixGone(int vrf, IpPrefix prefix)
    {
    }
}
