using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>One rule of a prefix list: prefixes inside <paramref name="Prefix"/> whose length lies between two bounds.</summary>
/// <param name="Prefix">Covering prefix.</param>
/// <param name="MinLength">Least length; null: that of the prefix.</param>
/// <param name="MaxLength">Greatest length; null: the minimum, so that only one length matches.</param>
/// <param name="Permit">False denies what matches.</param>
public sealed record PrefixRule(IpPrefix Prefix, int? MinLength = null, int? MaxLength = null, bool Permit = true)
{
    /// <summary>Whether a prefix matches.</summary>
    public bool Matches(IpPrefix prefix) => Prefix.Contains(prefix)
        && prefix.Length >= (MinLength ?? Prefix.Length) && prefix.Length <= (MaxLength ?? MinLength ?? Prefix.Length);
}

/// <summary>A prefix list: the first rule that matches decides; what no rule matches is denied.</summary>
public sealed record PrefixList(IReadOnlyList<PrefixRule> Rules)
{
    /// <summary>Permits every prefix.</summary>
    public static readonly PrefixList All = new([
        new PrefixRule(new IpPrefix(IpAddress.FromV4(0), 0), 0, 32), new PrefixRule(new IpPrefix(IpAddress.FromV6(0), 0), 0, 128)]);

    /// <summary>Permits no prefix.</summary>
    public static readonly PrefixList None = new([]);

    /// <summary>Whether the list permits a prefix.</summary>
    public bool Permits(IpPrefix prefix)
    {
        if (ReferenceEquals(this, All)) return true;
        foreach (PrefixRule rule in Rules)
        {
            if (rule.Matches(prefix)) return rule.Permit;
        }

        return false;
    }
}

/// <summary>What all sessions of a speaker share.</summary>
/// <param name="As">Our AS, not 0.</param>
/// <param name="RouterId">Our BGP identifier, not 0.</param>
/// <param name="NextHopV4">Our address for IPv4 routes sent to iBGP peers: the loopback. None: no IPv4 routes are sent.</param>
/// <param name="NextHopV6">Our address for IPv6 routes sent to iBGP peers. None: no IPv6 routes are sent.</param>
/// <param name="Seed">Seed of the jitter.</param>
public sealed record BgpSpeakerSettings(uint As, uint RouterId, IpAddress NextHopV4, IpAddress NextHopV6, int Seed = 0)
{
    /// <summary>The speaker was down and comes back (R in its OPENs): it tells nothing before it has heard all peers, or
    /// <see cref="DeferralSeconds"/> have passed (RFC 4724 4.1).</summary>
    public bool Restarting { get; init; }

    /// <summary>With <see cref="Restarting"/>: families whose forwarding went on meanwhile.</summary>
    public BgpFamilies ForwardingKept { get; init; }

    /// <summary>Cluster id as a route reflector (RFC 4456); 0: the identifier.</summary>
    public uint ClusterId { get; init; }

    /// <summary>The speaker is of a VRF: route targets are the provider's, and neither told to its peers nor taken from them (RFC 4364
    /// 4.3).</summary>
    public bool OfVrf { get; init; }

    /// <summary>When moves of a prefix come too fast to be followed.</summary>
    public MoveDampingSettings MoveDamping { get; init; } = new();

    /// <summary>How long peers may keep our routes while we restart, 1 to 4095 s.</summary>
    public int RestartSeconds { get; init; } = 120;

    /// <summary>Longest wait for the End-of-RIB of all peers after a restart, seconds.</summary>
    public int DeferralSeconds { get; init; } = 60;

    /// <summary>Longest time that stale routes of a peer which is back are kept while its End-of-RIB is awaited, seconds.</summary>
    public int StaleSeconds { get; init; } = 360;
}

/// <summary>Graceful restart (RFC 4724) with one peer.</summary>
public enum RestartMode : byte
{
    /// <summary>None: the capability is not sent.</summary>
    Off,

    /// <summary>The peer's routes stay while it restarts; it is told not to keep ours.</summary>
    Helper,

    /// <summary>In both directions: our forwarding goes on while this process restarts.</summary>
    Full,
}

/// <summary>How many prefixes of one family a peer may tell (counted after import policy).</summary>
/// <param name="Maximum">One more than this ends the session with cease/1.</param>
/// <param name="WarnPercent">Percentage of it from which on the operator is warned, 1 to 100.</param>
/// <param name="RestartSeconds">Seconds after which the session starts again; 0: when the operator resets it.</param>
public sealed record BgpPrefixLimit(int Maximum, int WarnPercent = 75, int RestartSeconds = 0);

/// <summary>A configured peer.</summary>
/// <param name="Address">The peer's address.</param>
/// <param name="PeerAs">The peer's AS; equal to ours means iBGP. 0: any but ours, as its OPEN says.</param>
public sealed record BgpPeerSettings(IpAddress Address, uint PeerAs)
{
    /// <summary>Hold time offered, seconds: 0 (none) or 3 to 65535. Keepalives are sent at a third of what is negotiated.</summary>
    public ushort HoldTimeSeconds { get; init; } = 9;

    /// <summary>True: wait for the peer to connect.</summary>
    public bool Passive { get; init; }

    /// <summary>True: the session is not started until <see cref="BgpEngine.Restart"/>.</summary>
    public bool Shutdown { get; init; }

    /// <summary>TCP port of the peer.</summary>
    public int Port { get; init; } = BgpLimits.Port;

    /// <summary>Families offered.</summary>
    public BgpFamilies Families { get; init; } = BgpFamilies.Both;

    /// <summary>ConnectRetryTime, milliseconds, before jitter.</summary>
    public int ConnectRetryMilliseconds { get; init; } = 2000;

    /// <summary>First wait after a session that ended by a fault, milliseconds; doubles with each fault up to 64 times
    /// (DampPeerOscillations).</summary>
    public int IdleHoldMilliseconds { get; init; } = 1000;

    /// <summary>Our end of the session: it is connected from, and where <see cref="LocalOnly"/> says so no other is taken. None: the
    /// transport's address of the peer's family.</summary>
    public IpAddress Local { get; init; }

    /// <summary>True: a connection of the peer to another address of ours is refused.</summary>
    public bool LocalOnly { get; init; }

    /// <summary>The link that the peer is on; null: it is reached by routes. Next hops told to it are ours on the link.</summary>
    public BgpLink? Link { get; init; }

    /// <summary>Kernel device that the session is bound to; null: routes decide.</summary>
    public string? Device { get; init; }

    /// <summary>True: the next hop told over eBGP is ourselves even where the route's own is on the peer's link (RFC 4271 5.1.3).</summary>
    public bool NextHopSelf { get; init; }

    /// <summary>IPv4 routes with IPv6 next hops are offered (RFC 8950): to a peer that is on a link and spoken to over IPv6.</summary>
    public bool ExtendedNextHop => Link is not null && Address.IsV6 && (Families & BgpFamilies.V4) != 0;

    /// <summary>What names the peer.</summary>
    public BgpPeerKey Key => BgpPeerKey.Of(Address, Link?.Port);

    /// <summary>Next hop for IPv4 routes sent to this peer; null: ours on the link, or that of the speaker.</summary>
    public IpAddress? NextHopV4 { get; init; }

    /// <summary>Next hop for IPv6 routes sent to this peer; null: ours on the link, or that of the speaker.</summary>
    public IpAddress? NextHopV6 { get; init; }

    /// <summary>What is accepted, and how it is changed; null: all from iBGP, nothing from eBGP (RFC 8212).</summary>
    public RoutePolicy? Import { get; init; }

    /// <summary>What is sent, and how it is changed; null: all to iBGP, nothing to eBGP (RFC 8212).</summary>
    public RoutePolicy? Export { get; init; }

    /// <summary>iBGP: the peer is a client of ours, and routes are reflected to and from it (RFC 4456).</summary>
    public bool ReflectorClient { get; init; }

    /// <summary>Several paths to a prefix are taken from the peer (RFC 7911).</summary>
    public bool AddPath { get; init; }

    /// <summary>Messages of up to 65535 octets are offered, and sent where attributes need them (RFC 8654).</summary>
    public bool ExtendedMessages { get; init; } = true;

    /// <summary>eBGP: the peer's AS in the paths of routes told to it is replaced by ours, so that sites of one AS take each other's
    /// routes.</summary>
    public bool AsOverride { get; init; }

    /// <summary>Routes whose path has our AS so often are taken, 0 to 10 (RFC 4271 9.1.2: none).</summary>
    public int AllowAsIn { get; init; }

    /// <summary>eBGP: private AS numbers (RFC 6996) other than the peer's are taken out of the paths of routes told to it.</summary>
    public bool RemovePrivateAs { get; init; }

    /// <summary>eBGP: the site that the peer is of (RFC 4364 7). What it tells carries this community, and what carries it is not told to
    /// it. Null: none.</summary>
    public BgpCommunity? SiteOfOrigin { get; init; }

    /// <summary>eBGP: what we are to the peer (RFC 9234).</summary>
    public BgpRole Role { get; init; } = BgpRole.None;

    /// <summary>A peer that names no role is refused.</summary>
    public bool StrictRole { get; init; }

    /// <summary>Most IPv4 prefixes; null: no limit.</summary>
    public BgpPrefixLimit? LimitV4 { get; init; }

    /// <summary>Most IPv6 prefixes; null: no limit.</summary>
    public BgpPrefixLimit? LimitV6 { get; init; }

    /// <summary>Graceful restart.</summary>
    public RestartMode Restart { get; init; } = RestartMode.Helper;

    /// <summary>TCP-MD5 (RFC 2385); null: none.</summary>
    public BgpPassword? Password { get; init; }

    /// <summary>TCP-AO (RFC 5925), in place of TCP-MD5; null: none.</summary>
    public BgpAoKey? Ao { get; init; }

    /// <summary>GTSM (RFC 5082): the peer is at most so many hops away (1: on the link), 1 to 254; packets from farther are dropped. Null:
    /// not used.</summary>
    public int? TtlSecurityHops { get; init; }

    /// <summary>TTL or hop limit of what is sent, 1 to 255; null: 1 over eBGP, the system's default over iBGP. Without effect with
    /// <see cref="TtlSecurityHops"/>.</summary>
    public int? Ttl { get; init; }
}
