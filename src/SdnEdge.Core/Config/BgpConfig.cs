using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Config;

/// <summary>What BGP offers to its peers.</summary>
[Flags]
public enum AdvertiseSources
{
    /// <summary>Nothing.</summary>
    None = 0,
    /// <summary>Subnets of ports.</summary>
    Connected = 1,
    /// <summary>Static routes.</summary>
    Static = 2,
    /// <summary>Loopbacks.</summary>
    Loopbacks = 4,
}

/// <summary>BGP.</summary>
public sealed record BgpConfig
{
    /// <summary>TCP port to listen on and to connect to.</summary>
    public const int DefaultPort = 179;

    /// <summary>Peers.</summary>
    public IReadOnlyList<BgpPeerConfig> Peers { get; init; } = [];

    /// <summary>Sources that are advertised.</summary>
    public AdvertiseSources Advertise { get; init; } = AdvertiseSources.None;

    /// <summary>LOCAL_PREF of what this PE originates.</summary>
    public uint LocalPref { get; init; } = 100;

    /// <summary>TCP port to listen on, 1 to 65535.</summary>
    public int Port { get; init; } = DefaultPort;

    /// <summary>Cluster id as a route reflector (RFC 4456); 0: the router id.</summary>
    public uint ClusterId { get; init; }

    /// <summary>True: a next hop that only a default route covers counts as reachable by it.</summary>
    public bool ResolveByDefault { get; init; }

    /// <summary>When moves of a prefix come too fast to be followed.</summary>
    public MoveDampingSettings MoveDamping { get; init; } = new();

    /// <summary>Graceful restart (RFC 4724).</summary>
    public GracefulRestartConfig GracefulRestart { get; init; } = new();
}

/// <summary>A BGP peer.</summary>
/// <param name="Address">Peer address.</param>
/// <param name="As">Peer AS; the same as ours = iBGP. 0: <c>external</c>, any but ours.</param>
/// <param name="HoldTimeSeconds">Hold time offered, 0 or 3 to 65535 (RFC 4271 4.2).</param>
/// <param name="Passive">True: wait for the peer to connect.</param>
/// <param name="Port">TCP port of the peer.</param>
/// <param name="Import">True: its routes are taken. Null: from iBGP all, from eBGP none (RFC 8212).</param>
/// <param name="Export">True: routes are told to it. Null: to iBGP all, to eBGP none (RFC 8212).</param>
public sealed record BgpPeerConfig(
    IpAddress Address, uint As, int HoldTimeSeconds = 90, bool Passive = false, int Port = BgpConfig.DefaultPort, bool? Import =
        null, bool? Export = null)
{
    /// <summary>Our end of the session: an address of a port, or a loopback. None for a link-local peer: the port's link-local
    /// address.</summary>
    public IpAddress Local { get; init; }

    /// <summary>True: the file names our end, and the peer may connect to no other.</summary>
    public bool LocalOnly { get; init; }

    /// <summary>The port that the peer is on, when our end of the session is there too; null: it is reached by routes.</summary>
    public string? LinkPort { get; init; }

    /// <summary>True: the peer is whoever is the router on the link of <see cref="LinkPort"/>. <see cref="Address"/> is none until it
    /// has been heard.</summary>
    public bool OnLink { get; init; }

    /// <summary>Seconds from one router advertisement to the next on that link, 3 to 1800.</summary>
    public int AdvertiseSeconds { get; init; } = 10;

    /// <summary>eBGP: the next hop told is ourselves even where the route's own is on the peer's link (RFC 4271 5.1.3).</summary>
    public bool NextHopSelf { get; init; }

    /// <summary>VRF of the session: a CE of that VRF.</summary>
    public string Vrf { get; init; } = NodeConfig.DefaultVrf;

    /// <summary>What names the peer in its VRF.</summary>
    public BgpPeerKey Key => BgpPeerKey.Of(Address, LinkPort);

    /// <summary>What names the peer among all: <c>10.255.0.2</c>, <c>fe80::9%core</c>, <c>10.7.0.2@red</c>, and <c>%core</c> for whoever is
    /// on that link.</summary>
    public string Name => (OnLink ? $"%{LinkPort}" : Key.ToString()) + (Vrf == NodeConfig.DefaultVrf ? "" : $"@{Vrf}");

    /// <summary>Most IPv4 prefixes taken; null: no limit.</summary>
    public BgpPrefixLimit? LimitV4 { get; init; }

    /// <summary>Most IPv6 prefixes taken; null: no limit.</summary>
    public BgpPrefixLimit? LimitV6 { get; init; }

    /// <summary>TCP-MD5 (RFC 2385); null: none.</summary>
    public BgpPassword? Password { get; init; }

    /// <summary>TCP-AO (RFC 5925), in place of TCP-MD5; null: none.</summary>
    public BgpAoKey? Ao { get; init; }

    /// <summary>GTSM (RFC 5082): the peer is at most so many hops away, 1 to 254; null: not used.</summary>
    public int? TtlSecurity { get; init; }

    /// <summary>TTL of what is sent, 2 to 255, for an eBGP peer that is not on the link; null: 1 over eBGP.</summary>
    public int? Multihop { get; init; }

    /// <summary>BFD with this peer: when it finds the path down, so is the session. Null: none.</summary>
    public BfdConfig? Bfd { get; init; }

    /// <summary>A policy by name for what is taken; null: <see cref="Import"/>.</summary>
    public RoutePolicy? ImportPolicy { get; init; }

    /// <summary>A policy by name for what is told; null: <see cref="Export"/>.</summary>
    public RoutePolicy? ExportPolicy { get; init; }

    /// <summary>iBGP: a client of ours as route reflector (RFC 4456).</summary>
    public bool ReflectorClient { get; init; }

    /// <summary>Several paths to a prefix are taken from the peer (RFC 7911).</summary>
    public bool AddPath { get; init; }

    /// <summary>Messages of up to 65535 octets are offered (RFC 8654).</summary>
    public bool ExtendedMessages { get; init; } = true;

    /// <summary>iBGP: routes of VRFs are exchanged with the peer, VPNv4 and VPNv6 (RFC 4364, RFC 4659).</summary>
    public bool Vpn { get; init; }

    /// <summary>eBGP: the peer's AS in what it is told is replaced by ours.</summary>
    public bool AsOverride { get; init; }

    /// <summary>Routes with our AS so often in their path are taken, 0 to 10.</summary>
    public int AllowAsIn { get; init; }

    /// <summary>eBGP: private AS numbers are taken out of what the peer is told.</summary>
    public bool RemovePrivateAs { get; init; }

    /// <summary>eBGP: the site that the peer is of (RFC 4364 7); null: none.</summary>
    public BgpCommunity? SiteOfOrigin { get; init; }

    /// <summary>eBGP: what we are to the peer (RFC 9234).</summary>
    public BgpRole Role { get; init; } = BgpRole.None;

    /// <summary>A peer that names no role is refused.</summary>
    public bool StrictRole { get; init; }

    /// <summary>Not null: the session is shut down, and the text is told to the peer's operator (RFC 9003).</summary>
    public string? Shutdown { get; init; }
}

/// <summary>Graceful restart (RFC 4724).</summary>
/// <param name="Mode">With all peers.</param>
/// <param name="RestartTimeSeconds">How long peers may keep our routes while we restart, 1 to 4095 s.</param>
/// <param name="StaleTimeSeconds">Longest wait for the End-of-RIB of a peer that is back, 1 to 86400 s.</param>
/// <param name="DeferralSeconds">Longest wait for the End-of-RIB of all peers after a restart of ours, 1 to 3600 s.</param>
public sealed record GracefulRestartConfig(RestartMode Mode = RestartMode.Helper, int RestartTimeSeconds = 120, int StaleTimeSeconds =
    360, int DeferralSeconds = 60);
