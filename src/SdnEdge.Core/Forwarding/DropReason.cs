namespace SdnEdge.Core.Forwarding;

/// <summary>Why a packet was dropped. Every drop has exactly one reason and one counter; the API shows them in kebab case.</summary>
public enum DropReason : byte
{
    /// <summary>Not dropped.</summary>
    None,
    /// <summary>Shorter than its Ethernet header.</summary>
    FrameTruncated,
    /// <summary>Unicast to a MAC address that is not the port's.</summary>
    NotForUs,
    /// <summary>EtherType or VLAN we do not forward.</summary>
    UnknownEtherType,
    /// <summary>IP header truncated or a total/payload length beyond the frame.</summary>
    IpTruncated,
    /// <summary>IP version or IHL wrong.</summary>
    IpHeaderInvalid,
    /// <summary>IPv4 header checksum wrong.</summary>
    IpChecksum,
    /// <summary>TTL or hop limit ran out here.</summary>
    TtlExpired,
    /// <summary>Source or destination that must not be forwarded (RFC 1812 5.3.7, RFC 4291).</summary>
    Martian,
    /// <summary>No route to the destination.</summary>
    NoRoute,
    /// <summary>A route that says discard.</summary>
    Blackhole,
    /// <summary>Larger than the egress MTU with DF set, or IPv6.</summary>
    TooBig,
    /// <summary>Next hop not resolved and its waiting queue full.</summary>
    NeighborQueueFull,
    /// <summary>Next hop did not answer ARP or ND in time.</summary>
    NeighborUnresolved,
    /// <summary>GRE from an address that is no configured tunnel peer, or with an unknown key.</summary>
    TunnelUnknownPeer,
    /// <summary>GRE version, reserved bits, checksum or truncation.</summary>
    GreInvalid,
    /// <summary>A payload protocol we do not carry in GRE.</summary>
    GrePayload,
    /// <summary>Encapsulated too deep, or a packet from a redirect tunnel that would go back into one.</summary>
    TunnelLoop,
    /// <summary>Tunnel administratively or operationally down.</summary>
    TunnelDown,
    /// <summary>ECN combination that RFC 6040 says to drop.</summary>
    EcnInvalid,
    /// <summary>Hold buffer full.</summary>
    HoldOverflow,
    /// <summary>Hold longer than its time cap.</summary>
    HoldExpired,
    /// <summary>Offload metadata that does not fit the frame.</summary>
    OffloadInvalid,
    /// <summary>The egress device refused the frame.</summary>
    TransmitFailed,
    /// <summary>The control loop's punt queue was full or rate limited.</summary>
    PuntQueueFull,
    /// <summary>Multicast or broadcast that no local protocol wants.</summary>
    NotForwardedMulticast,
    /// <summary>A local protocol or port nobody listens on.</summary>
    NoListener,
    /// <summary>The egress port is gone or down.</summary>
    PortDown,
    /// <summary>A flush marker inside a VRF that no PE sent, or another than the tunnel says that it came out of.</summary>
    MarkerForged,
}
