using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Rib;

/// <summary>Where a route comes from.</summary>
public enum RouteSource : byte
{
    /// <summary>A redirect group of a migration. It lies over the best of all other sources and never replaces it: taking it away restores
    /// what they say.</summary>
    Redirect = 1,

    /// <summary>An address of this router itself.</summary>
    Local,

    /// <summary>A host that a migration has brought to (or armed on) a port of this PE.</summary>
    Migration,

    /// <summary>The subnet of a port.</summary>
    Connected,

    /// <summary>Configured.</summary>
    Static,

    /// <summary>A host known on a port's link, of a subnet that other sites have too.</summary>
    Neighbor,

    /// <summary>Learnt from a BGP peer.</summary>
    Bgp,
}

/// <summary>
/// Who offers routes: one static configuration, one BGP peer, one migration. Its identity is the source key: one origin
/// offers a prefix at most once, a second offer replaces the first.
/// </summary>
public sealed class RouteOrigin
{
    private readonly RouteOrigin? _session;
    private uint _peerRouterId;
    private bool _reflectorClient;

    /// <summary>Makes an origin.</summary>
    /// <param name="source">Kind of source.</param>
    /// <param name="name">Name for people: "static", "bgp 10.255.0.2", "migration m1".</param>
    /// <param name="preference">Administrative distance, 1 to 255, lower wins; null takes <see cref="DefaultPreference"/>.</param>
    public RouteOrigin(RouteSource source, string name, byte? preference = null)
    {
        Source = source;
        Name = name;
        Preference = preference ?? DefaultPreference(source, external: false);
    }

    /// <summary>Makes the origin of a BGP peer.</summary>
    /// <param name="peer">The peer; its address is the last tie-break (RFC 4271 9.1.2.2 g).</param>
    /// <param name="peerAs">AS of the peer.</param>
    /// <param name="external">True for eBGP.</param>
    /// <param name="preference">Administrative distance; null is 20 for eBGP and 200 for iBGP.</param>
    public RouteOrigin(Bgp.BgpPeerKey peer, uint peerAs, bool external, byte? preference = null)
        : this(RouteSource.Bgp, $"bgp {peer}", preference ?? DefaultPreference(RouteSource.Bgp, external))
    {
        PeerKey = peer;
        PeerAs = peerAs;
        External = external;
    }

    /// <summary>Makes the origin of one path identifier of a BGP peer (RFC 7911).</summary>
    internal RouteOrigin(RouteOrigin session, uint pathId)
        : this(RouteSource.Bgp, $"{session.Name} path {pathId}", session.Preference)
    {
        (PeerKey, PeerAs, External, _session) = (session.PeerKey, session.PeerAs, session.External, session);
    }

    /// <summary>Makes the origin of a BGP peer's VPN routes with one route distinguisher: those with another one are routes of their
    /// own.</summary>
    internal RouteOrigin(RouteOrigin session, Bgp.RouteDistinguisher distinguisher)
        : this(RouteSource.Bgp, $"{session.Name} rd {distinguisher}", session.Preference)
    {
        // Not counted for the session: one VPN route may be in several VRFs, and is in the session's own table once.
        (PeerKey, PeerAs, External, _peerRouterId) = (session.PeerKey, session.PeerAs, session.External, session.PeerRouterId);
    }

    /// <summary>BGP: the origin of the peer itself; of a path identifier the peer's, else this one.</summary>
    public RouteOrigin Session => _session ?? this;

    /// <summary>Kind of source.</summary>
    public RouteSource Source { get; }

    /// <summary>Name for people.</summary>
    public string Name { get; }

    /// <summary>Administrative distance, lower wins.</summary>
    public byte Preference { get; }

    /// <summary>BGP: the peer.</summary>
    public Bgp.BgpPeerKey PeerKey { get; }

    /// <summary>BGP: the peer's address.</summary>
    public IpAddress Peer => PeerKey.Address;

    /// <summary>BGP: the peer's AS.</summary>
    public uint PeerAs { get; }

    /// <summary>BGP: true for eBGP.</summary>
    public bool External { get; }

    /// <summary>BGP: the peer's identifier from its OPEN; set when the session comes up, before routes are offered.</summary>
    public uint PeerRouterId
    {
        get => Session._peerRouterId;
        set => Session._peerRouterId = value;
    }

    /// <summary>BGP: the peer is a client of ours as route reflector (RFC 4456).</summary>
    public bool ReflectorClient
    {
        get => Session._reflectorClient;
        set => Session._reflectorClient = value;
    }

    /// <summary>Number of prefixes this origin offers now, in all VRFs.</summary>
    public int Prefixes => PrefixesV4 + PrefixesV6;

    /// <summary>The IPv4 ones of <see cref="Prefixes"/>.</summary>
    public int PrefixesV4 { get; internal set; }

    /// <summary>The IPv6 ones of <see cref="Prefixes"/>.</summary>
    public int PrefixesV6 { get; internal set; }

    /// <summary>The usual administrative distances: local 2, migration 3, connected 4, static 5, eBGP 20, iBGP 200.</summary>
    public static byte DefaultPreference(RouteSource source, bool external) => source switch
    {
        RouteSource.Redirect => 1,
        RouteSource.Local => 2,
        RouteSource.Migration => 3,
        RouteSource.Connected => 4,
        RouteSource.Static => 5,
        _ => external ? (byte)20 : (byte)200,
    };

    internal void Count(IpFamily family, int change)
    {
        if (family == IpFamily.V4) PrefixesV4 += change;
        else PrefixesV6 += change;
        _session?.Count(family, change);
    }

    /// <summary>The name.</summary>
    public override string ToString() => Name;
}
