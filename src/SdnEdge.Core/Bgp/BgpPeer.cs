using SdnEdge.Core.Api;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// Carries bytes for a <see cref="BgpEngine"/>. Calls never block and never call back into the engine before they return.
/// </summary>
public interface IBgpWire
{
    /// <summary>Opens a TCP connection to the peer; the result comes as Connected or Disconnected.</summary>
    void Connect(BgpPeer peer);

    /// <summary>Queues bytes; they are copied.</summary>
    void Send(BgpPeer peer, ConnectionSide side, ReadOnlySpan<byte> bytes);

    /// <summary>Sends what is queued, as far as the peer takes it within a short bound, then closes. No Disconnected follows.</summary>
    void Close(BgpPeer peer, ConnectionSide side);

    /// <summary>Bytes queued and not yet taken by TCP.</summary>
    long Unsent(BgpPeer peer, ConnectionSide side);
}

/// <summary>One configured peer and all that is known of it. Owned by a <see cref="BgpEngine"/>; read its properties from the control loop
/// only.</summary>
public sealed class BgpPeer
{
    /// <summary>A PE has a loopback or two. One that tells its customers' addresses as next hops has any number.</summary>
    internal const int MaxOtherHops = 8;

    internal BgpPeer(BgpSpeakerSettings local, BgpPeerSettings settings, AttributeTable table, Random jitter)
    {
        Settings = settings;
        External = settings.PeerAs != local.As;
        Fsm = new SessionFsm(local, settings, jitter);
        Origin = new RouteOrigin(settings.Key, settings.PeerAs, External);
        Decoder = new UpdateDecoder(table, Faults);
        Origin.ReflectorClient = settings.ReflectorClient && !External;
        SetPolicy(settings.Import, settings.Export);
        NextHopV4 = new BgpNextHop(settings.NextHopV4 ?? OnLink(IpFamily.V4) ?? Loopback(local.NextHopV4));
        NextHopV6 = settings.NextHopV6 is { } fixedHop ? new BgpNextHop(fixedHop)
            : OnLink(IpFamily.V6) is { } own ? new BgpNextHop(own, settings.Link!.LinkLocal)
            : settings.Link is { LinkLocal.IsNone: false } link && settings.Address.IsV6 ? new BgpNextHop(link.LinkLocal)
            : new BgpNextHop(Loopback(local.NextHopV6));
    }

    /// <summary>Configuration.</summary>
    public BgpPeerSettings Settings { get; }

    /// <summary>The peer's AS: the configured one, or as its OPEN said; 0: any but ours, and there is no session.</summary>
    public uint As => Settings.PeerAs != 0 ? Settings.PeerAs : Negotiated?.PeerAs ?? 0;

    /// <summary>True for eBGP.</summary>
    public bool External { get; }

    /// <summary>State of the session.</summary>
    public BgpState State => Fsm.State;

    /// <summary>What was negotiated; null unless established.</summary>
    public Negotiated? Negotiated => Fsm.Negotiated;

    /// <summary>Who opened the connection of the session; null unless established.</summary>
    public ConnectionSide? OpenedBy => State == BgpState.Established ? Fsm.EstablishedSide : null;

    /// <summary>Why the session or the last attempt ended.</summary>
    public string? LastError => Fsm.LastError;

    /// <summary>How often the session came up.</summary>
    public long Transitions => Fsm.Transitions;

    /// <summary>Faults seen in what the peer sent.</summary>
    public BgpFaultCounters Faults { get; } = new();

    /// <summary>Who the peer's routes are offered by.</summary>
    public RouteOrigin Origin { get; }

    /// <summary>Messages received.</summary>
    public long MessagesIn { get; internal set; }

    /// <summary>Messages sent.</summary>
    public long MessagesOut { get; internal set; }

    /// <summary>Routes received that policy denied.</summary>
    public long Denied { get; internal set; }

    /// <summary>Routes received that had passed this AS or this router before, and were left aside.</summary>
    public long Loops { get; internal set; }

    /// <summary>Routes received that break the peer's role (RFC 9234), and were left aside.</summary>
    public long Leaks { get; internal set; }

    /// <summary>Routes received that an earlier move of their prefix than the one known tells (<see cref="MobilitySequence"/>).</summary>
    public long Fenced { get; internal set; }

    /// <summary>VPN routes of the peer that are kept.</summary>
    public int VpnReceived { get; internal set; }

    /// <summary>VPN routes received whose route targets no VRF imports; they are not kept.</summary>
    public long VpnFiltered { get; internal set; }

    /// <summary>VPN routes received that a VRF imports and no tunnel of ours leads to: no GRE with a key, or a label to be
    /// pushed.</summary>
    public long VpnUnusable { get; internal set; }

    /// <summary>Routes not sent because their attributes leave no room in a message.</summary>
    public long TooLarge { get; internal set; }

    /// <summary>Prefixes the peer has been told.</summary>
    public int PrefixesSent => OutV4.Sent + OutV6.Sent + OutVpn.Sent;

    /// <summary>Prefixes that still wait to be told.</summary>
    public int PrefixesWaiting => OutV4.Waiting + OutV6.Waiting + OutVpn.Waiting;

    /// <summary>Families whose End-of-RIB has come since the session is up.</summary>
    public BgpFamilies EndOfRibReceived { get; internal set; }

    /// <summary>Families of which all is being sent to us again (RFC 7313), and which end is awaited.</summary>
    public BgpFamilies RefreshUnderWay { get; internal set; }

    /// <summary>Families of which routes from before the peer's restart are still kept (RFC 4724).</summary>
    public BgpFamilies StaleFamilies { get; internal set; }

    /// <summary>Times the peer's routes were kept over the end of its session.</summary>
    public long GracefulEnds { get; internal set; }

    /// <summary>Next hops of the peer's own routes other than its address, up to <see cref="MaxOtherHops"/>.</summary>
    internal HashSet<IpAddress> OtherHops { get; } = [];

    internal SessionFsm Fsm { get; }

    internal UpdateDecoder Decoder { get; }

    internal RoutePolicy Import { get; private set; } = RoutePolicy.None;

    internal RoutePolicy Export { get; private set; } = RoutePolicy.None;

    /// <summary>What we tell as next hop of IPv4 routes: where nothing else is agreed on, and the link has an address for it.</summary>
    internal BgpNextHop NextHopV4 { get; }

    internal BgpNextHop NextHopV6 { get; }

    /// <summary>What we tell as next hop of a family in this session. IPv4 routes have ours of IPv6 where the link has no IPv4 address and
    /// the peer takes that (RFC 8950).</summary>
    internal BgpNextHop NextHop(IpFamily family) => family == IpFamily.V6 ? NextHopV6
        : Negotiated is { ExtendedNextHop: true } && OnLink(IpFamily.V4) is null ? NextHopV6 : NextHopV4;

    internal IAdjRibOut OutV4 { get; } = new AdjRibOut<Key4>();

    internal IAdjRibOut OutV6 { get; } = new AdjRibOut<Key6>();

    internal VpnAdjRibOut OutVpn { get; } = new();

    internal MessageFramer[] Framers { get; } = [new(), new()];

    internal BgpFamilies EndOfRibDue { get; set; }

    internal bool Dirty { get; set; }

    /// <summary>Families whose end of a refresh is to be sent once all is told again.</summary>
    internal BgpFamilies EndOfRefreshDue { get; set; }

    /// <summary>Families asked for again while the first sending still went on.</summary>
    internal BgpFamilies RefreshLater { get; set; }

    /// <summary>When a refresh that never ends is given up.</summary>
    internal long RefreshUntil { get; set; } = long.MaxValue;

    /// <summary>What the peer said of its restarts in its last OPEN.</summary>
    internal GracefulRestart LastRestart { get; set; }

    /// <summary>When stale routes go: while the peer is away, or while its End-of-RIB is awaited.</summary>
    internal long StaleUntil { get; set; } = long.MaxValue;

    /// <summary>When a timer of the engine is due for this peer.</summary>
    internal long NextTimer => Math.Min(RefreshUntil, StaleUntil);

    /// <summary>Families over the warning threshold of their limit.</summary>
    internal BgpFamilies Warned { get; set; }

    private readonly Dictionary<uint, RouteOrigin> _paths = [];

    /// <summary>Who offers the routes of one path identifier (RFC 7911); 0 is the peer itself.</summary>
    internal RouteOrigin OriginOf(uint pathId)
    {
        if (pathId == 0) return Origin;
        if (!_paths.TryGetValue(pathId, out RouteOrigin? path)) _paths.Add(pathId, path = new RouteOrigin(Origin, pathId));
        return path;
    }

    /// <summary>The same, if it offers anything; null if not.</summary>
    internal RouteOrigin? FindOrigin(uint pathId) => pathId == 0 ? Origin : _paths.GetValueOrDefault(pathId);

    /// <summary>A path identifier offers nothing any more: a peer that goes through all of them costs no memory.</summary>
    internal void ForgetPath(uint pathId) => _paths.Remove(pathId);

    /// <summary>Forgets all path identifiers; no route of theirs is left.</summary>
    internal void ClearPaths()
    {
        if (Origin.Prefixes == 0) _paths.Clear();
    }

    internal IAdjRibOut Out(IpFamily family) => family == IpFamily.V4 ? OutV4 : OutV6;

    // Not to an eBGP peer that is one hop away: it takes no next hop off the link (RFC 4271 6.3).
    private IpAddress Loopback(IpAddress loopback) => External && Settings is { Link: not null, Ttl: null or 1 } ? default : loopback;

    private IpAddress? OnLink(IpFamily family)
        => Settings.Link?.AddressFor(family, Settings.Local) is { IsNone: false } own ? own : null;

    /// <summary>Role in force; none over iBGP.</summary>
    internal BgpRole Role => External ? Settings.Role : BgpRole.None;

    internal void SetPolicy(RoutePolicy? import, RoutePolicy? export)
    {
        Import = import ?? (External ? RoutePolicy.None : RoutePolicy.All);
        Export = export ?? (External ? RoutePolicy.None : RoutePolicy.All);
    }

    /// <summary>As the API shows it.</summary>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    public BgpPeerInfo ToInfo(long now) => new(
        Settings.Key.ToString(), As, State.ToString(),
        State == BgpState.Established ? (now - Fsm.EstablishedAt) / 1_000_000_000 : 0,
        Origin.Prefixes + VpnReceived, PrefixesSent, MessagesIn, MessagesOut, LastError, Capabilities())
    {
        ReflectorClient = Settings.ReflectorClient,
        TellsLeaving = Export.TellsLeaving,
        Denied = Denied,
        Loops = Loops,
        Leaks = Leaks,
        Fenced = Fenced,
        TooLarge = TooLarge,
        Families = [.. (Negotiated?.Families ?? BgpFamilies.None).List().Select(f
            => $"{(f.IsVpn() ? "vpn" : "ip")}{(f.Ip() == IpFamily.V4 ? "v4" : "v6")}")],
        VpnFiltered = VpnFiltered,
        Loaded = State == BgpState.Established && Negotiated is { PeerRestart: not null } agreed
            ? (agreed.Families & ~EndOfRibReceived) == 0 : null,
        VpnUnusable = VpnUnusable,
        Stale = StaleFamilies != BgpFamilies.None,
        GracefulEnds = GracefulEnds,
        Faults = [.. Faults.Seen().Select(f
            => new BgpFaultInfo(System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(f.Key.ToString()), f.Value))],
    };

    private List<string> Capabilities()
    {
        var names = new List<string>();
        foreach (byte code in Fsm.PeerOpen?.CapabilityCodes ?? [])
        {
            string name = code switch
            {
                1 => "multiprotocol",
                2 => "route-refresh",
                5 => "extended-next-hop",
                6 => "extended-message",
                9 => "role",
                64 => "graceful-restart",
                65 => "four-octet-as",
                69 => "add-path",
                70 => "enhanced-route-refresh",
                71 => "long-lived-graceful-restart",
                73 => "fqdn",
                _ => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"capability-{code}"),
            };
            if (!names.Contains(name)) names.Add(name);
        }

        return names;
    }

    /// <summary>The peer's address, and the port that a link-local one is on.</summary>
    public override string ToString() => Settings.Key.ToString();
}
