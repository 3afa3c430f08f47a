using SdnEdge.Core.Fib;

namespace SdnEdge.Core.Forwarding;

/// <summary>Why a packet is shown to the control loop.</summary>
public enum PuntReason : byte
{
    /// <summary>An ARP frame.</summary>
    Arp,
    /// <summary>Neighbour discovery (ICMPv6 133 to 137).</summary>
    Nd,
    /// <summary>ICMP for one of the router's own addresses, but for what the host port takes.</summary>
    LocalIcmp,
    /// <summary>An echo reply with <see cref="DataPlane.ProbeIdentifier"/>.</summary>
    TunnelProbeReply,
    /// <summary>A part of a tunnel's outer packet: put together with the others it goes on (<see cref="FragmentReassembler"/>).</summary>
    TunnelFragment,
    /// <summary>A <see cref="Wire.FlushMarker"/> for a prefix whose group keeps order.</summary>
    FlushMarker,
    /// <summary>A <see cref="Wire.FlushMarker"/> went by, for a prefix whose group is to see them
    /// (<see cref="RedirectGroup.ShowsMarkers"/>).</summary>
    FlushMarkerPassing,
    /// <summary>TTL or hop limit ran out: answer time exceeded.</summary>
    TtlExpired,
    /// <summary>Larger than <see cref="PuntInfo.Mtu"/>: answer fragmentation needed or packet too big.</summary>
    TooBig,
    /// <summary>No route: answer destination unreachable.</summary>
    NoRoute,
    /// <summary>The route says unreachable, or the next hop does not answer.</summary>
    Unreachable,
    /// <summary>For a local address where nobody listens: answer port or protocol unreachable.</summary>
    NoListener,
    /// <summary>A packet waits for <see cref="PuntInfo.Adjacency"/>: resolve it.</summary>
    NeighborNeeded,
}

/// <summary>What comes with a punted packet.</summary>
public readonly struct PuntInfo
{
    /// <summary>Why.</summary>
    public PuntReason Reason { get; init; }

    /// <summary>Index of the port it came in on (NeighborNeeded: the port of the neighbour); -1 when the router made it.</summary>
    public int Port { get; init; }

    /// <summary>Index of the VRF of the packet at <see cref="L3Offset"/>.</summary>
    public int Vrf { get; init; }

    /// <summary>Where the IP packet (or ARP) starts in the frame. Bytes before are what was stripped: Ethernet, and outer
    /// headers.</summary>
    public int L3Offset { get; init; }

    /// <summary>TooBig: the largest IP packet that would fit.</summary>
    public int Mtu { get; init; }

    /// <summary>NeighborNeeded: whom to resolve.</summary>
    public Adjacency? Adjacency { get; init; }

    /// <summary>The tunnel it came out of; null for none.</summary>
    public Tunnel? Tunnel { get; init; }

    /// <summary>The batch's time, nanoseconds.</summary>
    public long AtNs { get; init; }

    /// <summary>True when the packet itself is handed over (ARP, ND, ICMP for us); false when it was dropped, waits or goes on, and this is
    /// a notice about it.</summary>
    public bool IsConsumed => Reason <= PuntReason.FlushMarker;
}

/// <summary>Where a worker hands packets to the control loop.</summary>
public interface IPuntSink
{
    /// <summary>
    /// Takes a copy of the frame; false when there is no room. Called on worker threads: it must not wait nor allocate. For
    /// notices (<see cref="PuntInfo.IsConsumed"/> false) the frame is cut to what an ICMP error may quote.
    /// </summary>
    bool TryPunt(in PuntInfo info, ReadOnlySpan<byte> frame);
}
