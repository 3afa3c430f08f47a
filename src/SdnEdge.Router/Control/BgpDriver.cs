using SdnEdge.Core.Api;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Config;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Api;
using SdnEdge.Router.Bgp;
using SdnEdge.Web;

namespace SdnEdge.Router.Control;

/// <summary>How a prefix that a migration brought here is told.</summary>
/// <param name="LocalPref">LOCAL_PREF.</param>
/// <param name="Tag">Tag of the move while flush markers are wanted; null: none.</param>
/// <param name="Move">Number of the move, which fences the routes of earlier owners (<see cref="MoveSequence"/>); null: as told
/// before.</param>
internal readonly record struct MovedRoute(uint LocalPref, uint? Tag = null, long? Move = null);

/// <summary>
/// BGP of this PE: the speaker of the default VRF, and what of our own routes it tells. A prefix is told while its best route
/// is of a source that the configuration names, or was brought here by a migration; never the way to a peer itself, which
/// belongs to the core. Without peers there is no speaker. Runs on the control loop.
/// </summary>
internal sealed class BgpDriver(PeState state, VpnDriver vpn, ControlLoop loop, bool restarting = false, bool forwardingKept = false)
    : ITimed, IWorkSource, IDisposable
{
    private readonly Dictionary<IpPrefix, MovedRoute> _moved = [];
    private readonly Dictionary<IpPrefix, long> _moves = [];
    private readonly HashSet<IpPrefix> _told = [];
    private BgpSpeaker? _speaker;
    private BgpConfig _config = new();
    private int _signalled;

    /// <summary>True after a restart, until all peers have been heard or waited for long enough.</summary>
    public bool IsRestarting => _speaker?.Engine.IsRestarting == true;

    public long NextDeadline => _speaker?.NextDeadline ?? long.MaxValue;

    public bool HasWork => Volatile.Read(ref _signalled) != 0;

    /// <summary>Starts with the configured peers.</summary>
    /// <exception cref="System.Net.Sockets.SocketException">An address cannot be listened on.</exception>
    public void Start(BgpConfig config)
    {
        _config = config;
        if (Open(config) is { } speaker) Use(speaker);
        foreach (BgpPeerConfig peer in config.Peers) AddPeer(peer);
        SetExport(config);
    }

    /// <summary>
    /// Opens what the first peer needs, beside what runs: a speaker that listens. It is put to <see cref="Use"/>, or disposed of
    /// and nothing has changed. Null: nothing is needed.
    /// </summary>
    /// <exception cref="System.Net.Sockets.SocketException">An address cannot be listened on.</exception>
    public BgpSpeaker? Open(BgpConfig config) => _speaker is null && config.Peers.Count > 0 ? Listen() : null;

    /// <summary>From now on this PE speaks BGP.</summary>
    public void Use(BgpSpeaker speaker)
    {
        _speaker = speaker;
        vpn.Start(speaker.Engine);
    }

    /// <summary>Adds a peer; there is a speaker.</summary>
    public void AddPeer(BgpPeerConfig peer)
    {
        _speaker!.AddPeer(
            new BgpPeerSettings(peer.Address, peer.As)
            {
                HoldTimeSeconds = (ushort)peer.HoldTimeSeconds,
                Passive = peer.Passive,
                Port = peer.Port,
                Import = peer.ImportPolicy ?? Policy(peer.Import),
                Export = peer.ExportPolicy ?? Policy(peer.Export),
                ReflectorClient = peer.ReflectorClient,
                AddPath = peer.AddPath,
                ExtendedMessages = peer.ExtendedMessages,
                Families = peer.Vpn ? BgpFamilies.All : BgpFamilies.Both,
                Role = peer.Role,
                StrictRole = peer.StrictRole,
                LimitV4 = peer.LimitV4,
                LimitV6 = peer.LimitV6,
                Password = peer.Password,
                TtlSecurityHops = peer.TtlSecurity,
                Ttl = peer.Multihop,
                Shutdown = peer.Shutdown is not null,
                Restart = state.Config.Bgp.GracefulRestart.Mode,
            },
            loop.Now);
        SetExport(_config);
    }

    /// <summary>A peer's policies change; its session stays.</summary>
    public void SetPolicy(BgpPeerConfig peer)
    {
        if (_speaker?.Engine.Find(peer.Address) is not { } known) return;
        _speaker.Engine.SetPolicy(known, peer.ImportPolicy ?? Policy(peer.Import), peer.ExportPolicy ?? Policy(peer.Export));
        _speaker.Flush();
    }

    public void RemovePeer(IpAddress address)
    {
        // A reload that shuts a peer down: its operator is told why before the peer is made anew.
        string? text = state.Config.Bgp.Peers.FirstOrDefault(p => p.Address == address)?.Shutdown;
        if (text is not null && _speaker?.Engine.Find(address) is { } peer) _speaker.Engine.Shutdown(peer, text, loop.Now);
        if (_speaker?.RemovePeer(address, loop.Now) == true) state.Events.Add(loop.Now, "bgp", address.ToString(), "removed");
    }

    /// <summary>BFD found the path to a peer down: its session ends now, not when the hold time is over. See
    /// <see cref="Core.Bgp.BgpEngine.PathDown"/>.</summary>
    public void PathDown(IpAddress peer, string reason, long now, bool mayBeRestart) => _speaker?.PathDown(peer, reason, now, mayBeRestart);

    /// <summary>What is told changes: sources or LOCAL_PREF.</summary>
    public void SetExport(BgpConfig config)
    {
        _config = config;
        if (_speaker is null) return;
        vpn.SetLocalPref(config.LocalPref);
        foreach (RouteView route in state.Default.Rib.BestRoutes().ToArray()) Tell(route.Prefix, route.Origin);
        _speaker.Flush();
    }

    /// <summary>Sets, or with null forgets, how a moved prefix is told.</summary>
    public void SetMoved(string vrf, IpPrefix prefix, MovedRoute? moved)
    {
        if (vrf != NodeConfig.DefaultVrf)
        {
            vpn.SetMoved(vrf, prefix, moved);
            return;
        }

        if (moved is { } value)
        {
            if (value.Move is { } move) _moves[prefix] = Math.Clamp(move, 0, MobilitySequence.Max);
            _moved[prefix] = value;
        }
        else
        {
            _moved.Remove(prefix);
            _moves.Remove(prefix);
        }

        if (_told.Contains(prefix)) Advertise(prefix);
    }

    /// <summary>The LOCAL_PREF with which a prefix is told; null when it is not told.</summary>
    public uint? Told(string vrf, IpPrefix prefix)
        => vrf != NodeConfig.DefaultVrf ? vpn.Told(vrf, prefix) : _told.Contains(prefix) ? LocalPrefOf(prefix) : null;

    /// <summary>What is damped of moves that come too fast; null without a speaker.</summary>
    public MoveDamping? Damping => _speaker?.Engine.MoveDamping;

    /// <summary>The prefixes of which moves are damped, for the API.</summary>
    public IReadOnlyList<DampedInfo> Damped(long now) =>
        [.. Damping?.Held.Select(d => new DampedInfo(d.Prefix.ToString(), d.Number, (now - d.SinceNs) / 1e9,
            Math.Max(0, (d.UntilNs - now) / 1e9), d.HeldBack)) ?? []];

    /// <summary>Best routes have changed, and the FIB has followed.</summary>
    public void RoutesChanged(ReadOnlySpan<RibChange> changes, long now)
    {
        vpn.RoutesChanged(changes, now);
        if (_speaker is null || changes[0].Vrf != NodeConfig.DefaultVrf) return;
        _speaker.RibChanged(changes);
        foreach (ref readonly RibChange change in changes)
        {
            if (change.ChangedHop is null) Tell(change.Prefix, change.Native is null ? null : change.Origin);
        }
    }

    /// <summary>At the end of a round: what is to be told goes out.</summary>
    public void Flush() => _speaker?.Flush();

    public IReadOnlyList<BgpPeerInfo> Peers(long now) => [.. _speaker?.Engine.Peers
        .Select(p => p.ToInfo(now) with { RoundTripMs = _speaker.RoundTripMs(p) })
        .Select(i => i with { State = KebabWord(i.State) }) ?? []];

    /// <summary>Carries out what the operator wants of a session.</summary>
    public BgpPeerReply Act(string text, BgpPeerAction action, BgpPeerRequest request)
    {
        BgpPeer peer = IpAddress.TryParse(text, out IpAddress address) && _speaker?.Engine.Find(address) is { } known ? known
            : throw new ProblemException(Problems.NotFound(
                $"there is no BGP peer '{text}'; there are {string.Join(", ", state.Config.Bgp.Peers.Select(p => p.Address))}"));
        if (request.Text is { } words && System.Text.Encoding.UTF8.GetByteCount(words) is > ShutdownText.MaxBytes and int length)
            throw new ProblemException(Problems.BadRequest($"the text has {length} octets; RFC 9003 carries {ShutdownText.MaxBytes}",
                [new ProblemError("text", "make it shorter")]));
        BgpEngine engine = _speaker!.Engine;
        string detail;
        switch (action)
        {
            case BgpPeerAction.Refresh:
                BgpFamilies families = engine.RequestRefresh(peer);
                if (families == BgpFamilies.None)
                    throw new ProblemException(Problems.WrongState(peer.State == BgpState.Established
                        ? "the peer does not know route refresh (RFC 2918); reset the session instead"
                        : $"the session is {Kebab(peer.State)}; it sends everything when it comes up"));
                string asked = families switch
                {
                    BgpFamilies.Both => "IPv4 and IPv6", BgpFamilies.V4 => "IPv4", BgpFamilies.V6 => "IPv6", _ => "all families",
                };
                detail = $"asked for {asked}";
                break;
            case BgpPeerAction.Reset:
                engine.Restart(peer, request.Text, loop.Now);
                detail = "the session starts anew";
                break;
            default:
                engine.Shutdown(peer, request.Text, loop.Now);
                detail = "the session stays down until it is reset";
                break;
        }

        _speaker.Flush();
        state.Events.Add(loop.Now, "bgp", peer.ToString(), Kebab(action), detail);
        return new BgpPeerReply(peer.ToString(), action, Kebab(peer.State), detail);
    }

    public void Poll(long now) => _speaker?.Poll(now);

    public void Drain(long now)
    {
        Volatile.Write(ref _signalled, 0);
        _speaker?.Poll(now);
    }

    public void Dispose() => _speaker?.Dispose();

    private void Tell(IpPrefix prefix, RouteOrigin? origin)
    {
        bool tell = origin?.Source switch
        {
            RouteSource.Migration => true,
            RouteSource.Connected => (_config.Advertise & AdvertiseSources.Connected) != 0,
            RouteSource.Neighbor => (_config.Advertise & AdvertiseSources.Connected) != 0 && !IsPeer(prefix),
            RouteSource.Static => (_config.Advertise & AdvertiseSources.Static) != 0 && !IsPeer(prefix),
            _ => false,
        };
        if (tell)
        {
            _told.Add(prefix);
            Advertise(prefix);
        }
        else if (_told.Remove(prefix))
        {
            _speaker!.Withdraw(prefix);
        }
    }

    private static string Kebab<T>(T value)
        where T : struct, Enum => KebabWord(value.ToString());

    private static string KebabWord(string word) => System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(word);

    private void Advertise(IpPrefix prefix) => _speaker!.Advertise(prefix, LocalPrefOf(prefix),
        _moved.TryGetValue(prefix, out MovedRoute moved) ? moved.Tag : null, _moves.GetValueOrDefault(prefix));

    private uint LocalPrefOf(IpPrefix prefix) => _moved.TryGetValue(prefix, out MovedRoute moved) ? moved.LocalPref : _config.LocalPref;

    private bool IsPeer(IpPrefix prefix) => prefix.IsHost && _speaker!.Engine.Find(prefix.Address) is not null;

    // Null leaves the default of RFC 8212.
    private static RoutePolicy? Policy(bool? all) => all is { } yes ? (yes ? RoutePolicy.All : RoutePolicy.None) : null;

    private BgpSpeaker Listen()
    {
        NodeConfig node = state.Config;
        var settings = new BgpSpeakerSettings(node.As, node.RouterId.V4,
            node.Loopbacks.FirstOrDefault(l => l.IsV4), node.Loopbacks.FirstOrDefault(l => l.IsV6), (int)node.RouterId.V4)
        {
            Restarting = restarting,
            ForwardingKept = forwardingKept ? BgpFamilies.All : BgpFamilies.None,
            ClusterId = node.Bgp.ClusterId,
            MoveDamping = node.Bgp.MoveDamping,
            RestartSeconds = node.Bgp.GracefulRestart.RestartTimeSeconds,
            DeferralSeconds = node.Bgp.GracefulRestart.DeferralSeconds,
            StaleSeconds = node.Bgp.GracefulRestart.StaleTimeSeconds,
        };
        var speaker = new BgpSpeaker(settings, state.Default.Rib, new BgpTransportOptions(node.Loopbacks, node.Bgp.Port), Wake);
        speaker.Engine.SessionChanged += (peer, reason) =>
            state.Events.Add(loop.Now, "bgp", peer.Settings.Address.ToString(), reason is null ? "established" : "down", reason);
        speaker.Engine.Warned += (peer, what) => state.Events.Add(loop.Now, "bgp", peer.Settings.Address.ToString(), "warning", what);
        speaker.Engine.MoveDamped += (prefix, why)
            => state.Events.Add(loop.Now, "bgp", prefix.ToString(), why is null ? "moves followed again" : "moves damped", why);
        speaker.TransportFault += (peer, what) => state.Events.Add(loop.Now, "bgp", peer.ToString(), "warning", what);
        try
        {
            speaker.Start();
            return speaker;
        }
        catch
        {
            speaker.Dispose();
            throw;
        }
    }

    private void Wake()
    {
        Volatile.Write(ref _signalled, 1);
        loop.Wake();
    }
}
