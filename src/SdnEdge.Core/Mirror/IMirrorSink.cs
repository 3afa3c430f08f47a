using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Mirror;

/// <summary>A port, as a mirror needs it.</summary>
/// <param name="Index">Its index in the original's data plane, 0 and up.</param>
/// <param name="Name">Its name: by it the mirror finds the device.</param>
/// <param name="Vrf">Index of its VRF.</param>
/// <param name="Mac">The router's MAC address on it.</param>
/// <param name="Mtu">Largest IP packet, bytes.</param>
/// <param name="IsHost">True for the way to the router's own kernel.</param>
/// <param name="Up">False: nothing is sent on it.</param>
/// <param name="Addresses">The router's addresses on it.</param>
/// <param name="Link">Of a host port: index of the port to whose link it belongs, which has come before; null: none.</param>
public sealed record MirrorPort(int Index, string Name, int Vrf, MacAddress Mac, int Mtu, bool IsHost, bool Up,
    IReadOnlyList<PortAddress> Addresses, int? Link = null);

/// <summary>A <see cref="ForwardingDecision"/> in numbers. Holds and gates have none: they live only as long as the process that made
/// them.</summary>
/// <param name="Kind">What to do: Drop, Unreachable, Local, Connected, Via or Tunnel.</param>
/// <param name="Reason">Drop: the counter.</param>
/// <param name="Port">Connected and Via: index of the port.</param>
/// <param name="Tunnel">Tunnel: its number.</param>
/// <param name="Address">Via: the next hop.</param>
/// <param name="RemotePe">Via: the PE behind it, or none.</param>
public readonly record struct MirrorHop(
    ForwardingKind Kind, DropReason Reason = DropReason.None, int Port = 0, int Tunnel = 0, IpAddress Address =
        default, IpAddress RemotePe = default);

/// <summary>What a redirect group does with one kind of packets.</summary>
public enum MirrorGroupAction : byte
{
    /// <summary>The leaf's own hop.</summary>
    Native,

    /// <summary>To where the server is attached on this router.</summary>
    Attached,

    /// <summary>Into a tunnel.</summary>
    Tunnel,
}

/// <summary>A redirect group and what it does now.</summary>
/// <param name="Id">Its number, from 1.</param>
/// <param name="Name">Its name.</param>
/// <param name="Vrf">Name of the VRF of its prefixes.</param>
/// <param name="Arrivals">What happens to packets out of a redirect tunnel.</param>
/// <param name="Others">What happens to all others.</param>
/// <param name="Tunnel">Number of the tunnel where one of the two is Tunnel.</param>
public sealed record MirrorGroup(int Id, string Name, string Vrf, MirrorGroupAction Arrivals, MirrorGroupAction Others, int Tunnel);

/// <summary>
/// Takes the state of a data plane, change by change. <see cref="MirrorSource"/> calls it, <see cref="MirrorWriter"/> puts the
/// calls into bytes, <see cref="MirrorReader"/> makes the calls again, <see cref="MirrorTables"/> carries them out.
/// <para>Between <see cref="Begin"/> and <see cref="End"/> comes a whole state, from nothing; after that what changes. What is
/// named has come before: VRFs, ports, neighbours, tunnels, groups, hops, leaves, prefixes.</para>
/// </summary>
public interface IMirrorSink
{
    /// <summary>A whole state begins; what was known before is replaced at <see cref="End"/>.</summary>
    void Begin();

    /// <summary>The state is whole.</summary>
    void End();

    /// <summary>Addresses with which the router speaks where a port has none.</summary>
    void Loopbacks(IReadOnlyList<IpAddress> addresses);

    /// <summary>A VRF, new.</summary>
    void Vrf(int index, string name, uint? key);

    /// <summary>A VRF is gone.</summary>
    void VrfGone(int index);

    /// <summary>A port, new or changed (MTU, addresses, up or down).</summary>
    void Port(MirrorPort port);

    /// <summary>A port is gone.</summary>
    void PortGone(int index);

    /// <summary>A neighbour's MAC address, new or changed.</summary>
    void Neighbor(int port, IpAddress address, MacAddress mac, NeighborState state);

    /// <summary>A neighbour's MAC address is not known any more.</summary>
    void NeighborGone(int port, IpAddress address);

    /// <summary>The neighbour that is the router's own kernel.</summary>
    void Host(int port, IpAddress address);

    /// <summary>A tunnel, new.</summary>
    void Tunnel(int id, TunnelOptions options, int vrf, int underlay, bool up);

    /// <summary>A tunnel is up or down; largest outer packet that its path carries, bytes, 0 = not known.</summary>
    void TunnelState(int id, bool up, int pathMtu);

    /// <summary>A tunnel is gone.</summary>
    void TunnelGone(int id);

    /// <summary>A redirect group, new or changed.</summary>
    void Group(MirrorGroup group);

    /// <summary>No leaf names the group any more.</summary>
    void GroupGone(int id);

    /// <summary>A next hop's decision, new or changed.</summary>
    void Hop(int id, MirrorHop decision);

    /// <summary>No leaf names the next hop any more.</summary>
    void HopGone(int id);

    /// <summary>A leaf, new: its next hop, its group (0: none) and where its server is attached.</summary>
    void Leaf(int vrf, uint index, int hop, int group, MirrorHop? attached);

    /// <summary>No prefix names the leaf any more; its index may come again.</summary>
    void LeafGone(int vrf, uint index);

    /// <summary>A prefix names a leaf.</summary>
    void Prefix(int vrf, IpPrefix prefix, uint leaf);

    /// <summary>A prefix is gone.</summary>
    void PrefixGone(int vrf, IpPrefix prefix);
}

/// <summary>
/// Kinds of records. A record is its kind (1 byte) and its fields: numbers as LEB128 of their unsigned value, texts as length
/// and UTF-8, addresses as family (0 none, 1, 2) and 0, 4 or 16 bytes, MAC addresses as 6 bytes. A prefix takes only as many
/// bytes of its address as its length needs:
/// <code>
/// | PrefixV4 | vrf | leaf | length | 0 to 4 bytes |
/// </code>
/// </summary>
internal enum MirrorRecord : byte
{
    Begin = 1,
    End,
    Loopbacks,
    Vrf,
    VrfGone,
    Port,
    PortGone,
    Neighbor,
    NeighborGone,
    Host,
    Tunnel,
    TunnelState,
    TunnelGone,
    Group,
    GroupGone,
    Hop,
    HopGone,
    Leaf,
    LeafGone,
    PrefixV4,
    PrefixV6,
    PrefixGoneV4,
    PrefixGoneV6,
}
