using SdnEdge.Core.Bgp;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Config;

/// <summary>The whole configuration of a PE, valid as a whole: <see cref="NodeConfigLoader"/> gives nothing else.</summary>
public sealed record NodeConfig
{
    /// <summary>Name of the VRF that always exists.</summary>
    public const string DefaultVrf = "default";

    /// <summary>Node name: letters, digits, dash, dot.</summary>
    public required string Name { get; init; }

    /// <summary>BGP identifier (RFC 6286): a non-zero IPv4 address.</summary>
    public required IpAddress RouterId { get; init; }

    /// <summary>Autonomous system, 1 to 4294967295.</summary>
    public required uint As { get; init; }

    /// <summary>The PE's own addresses, the ends of tunnels and BGP sessions; at least one.</summary>
    public IReadOnlyList<IpAddress> Loopbacks { get; init; } = [];

    /// <summary>Worker threads, 1 to 64.</summary>
    public int Workers { get; init; } = 1;

    /// <summary>The TAP through which the kernel's own TCP reaches the data plane; null = none (no BGP then).</summary>
    public HostConfig? Host { get; init; }

    /// <summary>Ports.</summary>
    public IReadOnlyList<PortConfig> Ports { get; init; } = [];

    /// <summary>VRFs; <see cref="DefaultVrf"/> is always among them.</summary>
    public IReadOnlyList<VrfConfig> Vrfs { get; init; } = [new VrfConfig(DefaultVrf, null)];

    /// <summary>Static routes.</summary>
    public IReadOnlyList<StaticRouteConfig> Static { get; init; } = [];

    /// <summary>Tunnels that stand for good; a migration makes its own.</summary>
    public IReadOnlyList<TunnelConfig> Tunnels { get; init; } = [];

    /// <summary>BGP.</summary>
    public BgpConfig Bgp { get; init; } = new();

    /// <summary>BFD sessions that belong to no BGP peer.</summary>
    public IReadOnlyList<BfdConfig> Bfd { get; init; } = [];

    /// <summary>All BFD sessions: those of <see cref="Bfd"/> and of BGP peers, but for peers whose address is not known yet.</summary>
    public IEnumerable<BfdConfig> BfdSessions => Bfd.Concat(Bgp.Peers.Where(p => !p.OnLink).Select(p => p.Bfd).OfType<BfdConfig>());

    /// <summary>The MAC address of a port whose configuration names none: the same at each start, and never that of the kernel's end of the
    /// device.</summary>
    public MacAddress OwnMac(string port)
    {
        ulong hash = 14695981039346656037;
        foreach (char c in $"{Name}/{port}") hash = (hash ^ c) * 1099511628211;
        return new MacAddress(0x0200_0000_0000 | (hash >> 24 & 0xFF_FFFF_FFFF));
    }

    /// <summary>The link-local address of a port.</summary>
    public IpAddress LinkLocalOf(PortConfig port)
    {
        ArgumentNullException.ThrowIfNull(port);
        return PortEntry.LinkLocalOf(port.Mac ?? OwnMac(port.Name));
    }

    /// <summary>Where the control API listens.</summary>
    public ApiConfig Api { get; init; } = new();

    /// <summary>Who forwards while the PE restarts.</summary>
    public ForwardingConfig Forwarding { get; init; } = new();

    /// <summary>Where the PE keeps its migrations over a restart.</summary>
    public StateConfig State { get; init; } = new("/var/lib/sdnedge/pe");

    /// <summary>Telemetry export.</summary>
    public TelemetryConfig Telemetry { get; init; } = new();
}

/// <summary>The host port.</summary>
/// <param name="Device">TAP device made in the PE's own namespace; at most 15 characters.</param>
/// <param name="Mtu">MTU of the host port, 1280 to 9216.</param>
public sealed record HostConfig(string Device, int Mtu = 1500);

/// <summary>A port.</summary>
/// <param name="Name">Name in routes, counters and the API; unique.</param>
/// <param name="Device">Kernel device; at most 15 characters, unique.</param>
/// <param name="Mtu">Largest IP packet, 1280 to 9216.</param>
/// <param name="Vrf">VRF of the port.</param>
/// <param name="Mac">The router's MAC address; null = one derived from node and port name, the same at each start.</param>
public sealed record PortConfig(string Name, string Device, int Mtu = 1500, string Vrf = NodeConfig.DefaultVrf, MacAddress? Mac = null)
{
    /// <summary>The PE's addresses on this port with their lengths.</summary>
    public IReadOnlyList<InterfaceAddress> Addresses { get; init; } = [];
}

/// <summary>An address on a port with the length of its subnet.</summary>
public readonly record struct InterfaceAddress(IpAddress Address, int Length)
{
    /// <summary>The subnet.</summary>
    public IpPrefix Subnet => new(Address, Length);

    /// <summary>Text as <c>10.1.1.1/24</c>.</summary>
    public override string ToString() => $"{Address}/{Length}";
}

/// <summary>A VRF.</summary>
/// <param name="Name">Name; unique.</param>
/// <param name="Key">GRE key by which tunnels name this VRF; null = none.</param>
public sealed record VrfConfig(string Name, uint? Key)
{
    /// <summary>Route distinguisher (RFC 4364 4.2); null: its routes are in no VPN.</summary>
    public RouteDistinguisher? Rd { get; init; }

    /// <summary>Route targets whose routes come in (RFC 4364 4.3.1).</summary>
    public IReadOnlyList<BgpCommunity> Import { get; init; } = [];

    /// <summary>Route targets of the routes it tells.</summary>
    public IReadOnlyList<BgpCommunity> Export { get; init; } = [];

    /// <summary>True when both say the same.</summary>
    public bool Equals(VrfConfig? other) => other is not null && Name == other.Name && Key == other.Key && Rd == other.Rd
        && Import.SequenceEqual(other.Import) && Export.SequenceEqual(other.Export);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Name, Key, Rd);
}

/// <summary>A static route: exactly one of next hop, port (a host on the port's own link), tunnel or discard.</summary>
public sealed record StaticRouteConfig(string Vrf, IpPrefix Prefix, IpAddress? Via, string? Port, string? Tunnel, bool Discard);

/// <summary>How a tunnel wraps packets.</summary>
public enum TunnelEncapsulation
{
    /// <summary>IP protocol 47 (RFC 2784, 2890, 7676).</summary>
    Gre,
    /// <summary>UDP port 4754 (RFC 8086).</summary>
    GreInUdp,
}

/// <summary>What a tunnel does with DSCP (RFC 2983).</summary>
public enum DscpMode
{
    /// <summary>Copied out and back in.</summary>
    Uniform,
    /// <summary>The inner value is left alone; the outer one is 0.</summary>
    Pipe,
    /// <summary>Copied out; the inner value is left alone.</summary>
    Inherit,
}

/// <summary>What a tunnel's ingress does with ECN (RFC 6040 4.1).</summary>
public enum EcnMode
{
    /// <summary>Normal mode: the inner field is copied out.</summary>
    Normal,
    /// <summary>Compatibility mode: the outer field is Not-ECT.</summary>
    Compatibility,
}

/// <summary>A tunnel that stands for good.</summary>
public sealed record TunnelConfig(string Name, IpAddress Local, IpAddress Remote)
{
    /// <summary>GRE key (RFC 2890); null = no key field.</summary>
    public uint? Key { get; init; }

    /// <summary>VRF of what comes out.</summary>
    public string Vrf { get; init; } = NodeConfig.DefaultVrf;

    /// <summary>GRE or GRE-in-UDP.</summary>
    public TunnelEncapsulation Encapsulation { get; init; } = TunnelEncapsulation.Gre;

    /// <summary>TTL or hop limit of the outer header, 1 to 255.</summary>
    public int Ttl { get; init; } = 255;

    /// <summary>DSCP handling.</summary>
    public DscpMode Dscp { get; init; } = DscpMode.Inherit;

    /// <summary>ECN handling.</summary>
    public EcnMode Ecn { get; init; } = EcnMode.Normal;

    /// <summary>Largest inner IP packet; null = what the path to the far end allows.</summary>
    public int? Mtu { get; init; }

    /// <summary>Clamp the MSS of TCP SYNs to the tunnel's MTU.</summary>
    public bool MssClamp { get; init; }

    /// <summary>GRE checksum.</summary>
    public bool Checksum { get; init; }

    /// <summary>GRE sequence numbers.</summary>
    public bool Sequence { get; init; }
}

/// <summary>Telemetry export.</summary>
/// <param name="Otlp">OTLP endpoint; null = none. Metrics are at /metrics in any case.</param>
public sealed record TelemetryConfig(Uri? Otlp = null);

/// <summary>Forwarding of the PE.</summary>
/// <param name="Keeper">True: a second process keeps devices and tables, and forwards while the PE itself is restarted after a
/// crash.</param>
public sealed record ForwardingConfig(bool Keeper = false);

/// <summary>Where the PE keeps what must outlive it.</summary>
/// <param name="Folder">Absolute path of a folder that is this PE's alone; made when it is first needed. Unsaid:
/// <c>/var/lib/sdnedge/NAME</c>.</param>
public sealed record StateConfig(string Folder);
