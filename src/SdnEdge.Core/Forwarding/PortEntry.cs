using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>An address of the router on a port, with the length of its subnet.</summary>
public readonly record struct PortAddress(IpAddress Address, int PrefixLength)
{
    /// <summary>The subnet.</summary>
    public IpPrefix Subnet => new(Address, PrefixLength);
}

/// <summary>How a port is set up.</summary>
/// <param name="Name">Name in configuration.</param>
/// <param name="Mac">The router's MAC address on it.</param>
/// <param name="Mtu">Largest IP packet in bytes: 1280 to 65535 where IPv6 is used (RFC 8200 5), 68 at least.</param>
public sealed record PortOptions(string Name, MacAddress Mac, int Mtu)
{
    /// <summary>Addresses of the router on it.</summary>
    public IReadOnlyList<PortAddress> Addresses { get; init; } = [];

    /// <summary>
    /// True for the port that leads to this router's own kernel: what comes from there is the router's own (no TTL
    /// decrement, its own addresses as source), and what is for the router itself goes there.
    /// </summary>
    public bool IsHost { get; init; }

    /// <summary>Of a host port: the one port to whose link it belongs. To and from link-local addresses the kernel is on that link. Null:
    /// none.</summary>
    public PortEntry? Link { get; init; }

    /// <summary>802.1Q VLAN identifier of a sub-interface, 1 to 4094; 0 for the port itself.</summary>
    public int Vlan { get; init; }

    /// <summary>The port whose VLAN this is; null for the port itself.</summary>
    public PortEntry? Parent { get; init; }
}

/// <summary>
/// A port as the data plane sees it: the device, its addresses, its neighbours and its counters. Made by
/// <see cref="DataPlane.AddPort"/>.
/// </summary>
public sealed class PortEntry
{
    internal const int RxPacketsField = 0, RxBytesField = 1, TxPacketsField = 2, TxBytesField = 3, DropsField = 4;

    private volatile PortAddress[] _addresses;
    private volatile bool _up = true;
    private volatile int _mtu;
    private volatile Adjacency? _host;

    internal PortEntry(int index, PortOptions options, IPort device, Vrf vrf, int workers)
    {
        (Index, Options, Device, Vrf) = (index, options, device, vrf);
        SegmentsForUs = device.SegmentsForUs;
        _mtu = options.Mtu;
        _addresses = [.. options.Addresses];
        Neighbors = new NeighborTable(this);
        Counters = new PerWorkerCounters(workers, 5);
        Span<byte> mac = stackalloc byte[8];
        mac.Clear();
        options.Mac.Write(mac);
        MacOnWire = System.Runtime.InteropServices.MemoryMarshal.Read<ulong>(mac);
        LinkLocal = LinkLocalOf(options.Mac);
        if (options.Parent is { } parent) Volatile.Write(ref (parent.SubInterfaces ??= new PortEntry?[4096])[options.Vlan], this);
    }

    /// <summary>Position in <see cref="DataPlane.Ports"/>: what workers call the port.</summary>
    public int Index { get; }

    /// <summary>How it was set up.</summary>
    public PortOptions Options { get; }

    /// <summary>Name.</summary>
    public string Name => Options.Name;

    /// <summary>The device.</summary>
    public IPort Device { get; }

    /// <summary>VRF of what comes in.</summary>
    public Vrf Vrf { get; }

    /// <summary>The router's MAC address on it.</summary>
    public MacAddress Mac => Options.Mac;

    /// <summary>True for the way to the router's own kernel.</summary>
    public bool IsHost => Options.IsHost;

    /// <summary>Largest IP packet in bytes.</summary>
    public int Mtu
    {
        get => _mtu;
        set => _mtu = value;
    }

    /// <summary>The router's own kernel, where it has this port's link-local address; null: nobody listens there (<see
    /// cref="DataPlane.SetHost"/>).</summary>
    public Adjacency? Host
    {
        get => _host;
        internal set => _host = value;
    }

    /// <summary>False: nothing is sent on it (<see cref="DropReason.PortDown"/>).</summary>
    public bool Up
    {
        get => _up;
        set => _up = value;
    }

    /// <summary>The router's IPv6 link-local address on it, from the MAC address (RFC 4291 appendix A).</summary>
    public IpAddress LinkLocal { get; }

    /// <summary>The router's addresses on it. Replaced as a whole.</summary>
    public IReadOnlyList<PortAddress> Addresses
    {
        get => _addresses;
        set => _addresses = [.. value];
    }

    /// <summary>Who is on the link.</summary>
    public NeighborTable Neighbors { get; }

    /// <summary>Servers of which what they send is kept back, a list for each of their moves. Replaced as a whole.</summary>
    public IReadOnlyList<KeptBack> KeptBack
    {
        get => KeptBackArray ?? [];
        set => Volatile.Write(ref KeptBackArray, value.Count == 0 ? null : [.. value]);
    }

    /// <summary>Frames received.</summary>
    public long RxPackets => Counters.Total(RxPacketsField);

    /// <summary>Bytes received.</summary>
    public long RxBytes => Counters.Total(RxBytesField);

    /// <summary>Frames that the device took.</summary>
    public long TxPackets => Counters.Total(TxPacketsField);

    /// <summary>Bytes that the device took.</summary>
    public long TxBytes => Counters.Total(TxBytesField);

    /// <summary>Dropped packets that had come in on it.</summary>
    public long Drops => Counters.Total(DropsField);

    internal PerWorkerCounters Counters { get; }

    internal readonly bool SegmentsForUs;
    internal readonly ulong MacOnWire; // first six bytes as they lie in memory
    internal KeptBack[]? KeptBackArray; // null when there are none
    internal PortEntry?[]? SubInterfaces; // by VLAN; null when there are none

    internal L2Rewrite RewriteTo(MacAddress mac) => new(mac, Mac, Options.Vlan);

    /// <summary>True when the address is one of the router's on this port.</summary>
    public bool Owns(IpAddress address)
    {
        if (address == LinkLocal) return true;
        foreach (PortAddress own in _addresses)
        {
            if (own.Address == address) return true;
        }

        return false;
    }

    /// <summary>The link-local address of a port with this MAC address (RFC 4291 appendix A).</summary>
    public static IpAddress LinkLocalOf(MacAddress mac)
    {
        ulong high = (mac.Value >> 24) ^ 0x02_0000;
        ulong low = mac.Value & 0xFF_FFFF;
        return new IpAddress(IpFamily.V6, 0xFE80_0000_0000_0000, (high << 40) | 0xFF_FE00_0000 | low);
    }
}
