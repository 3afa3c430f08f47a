using SdnEdge.Core.Api;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Config;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
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
/// BGP of this PE: the speaker of the default VRF and one for each VRF with CEs, and what of our own routes they tell.
/// A prefix is told while its best route
/// is of a source that the configuration names, or was brought here by a migration; never the way to a peer itself, which
/// belongs to the core. Without peers there is no speaker. Runs on the control loop.
/// </summary>
internal sealed partial class BgpDriver(PeState state, VpnDriver vpn, HostPort host, ControlLoop loop, bool restarting = false,
    bool forwardingKept = false)
    : ITimed, IWorkSource, IDisposable
{
    private readonly Dictionary<IpPrefix, MovedRoute> _moved = [];
    private readonly Dictionary<IpPrefix, long> _moves = [];
    private readonly HashSet<IpPrefix> _told = [];
    private readonly Dictionary<IpPrefix, uint> _backups = [];
    private readonly HashSet<(string Vrf, IpPrefix Prefix)> _leaving = [];
    private readonly Dictionary<string, VrfSessions> _vrfs = [];
    private BgpSpeaker? _speaker;
    private BgpConfig _config = new();
    private int _signalled;

    /// <summary>True after a restart, until all peers have been heard or waited for long enough.</summary>
    public bool IsRestarting => Speakers.Any(s => s.Engine.IsRestarting);

    public long NextDeadline
    {
        get
        {
            long next = _speaker?.NextDeadline ?? long.MaxValue;
            foreach (VrfSessions vrf in _vrfs.Values) next = Math.Min(next, vrf.Speaker.NextDeadline);
            return next;
        }
    }

    public bool HasWork => Volatile.Read(ref _signalled) != 0;

    /// <summary>Starts with the configured peers.</summary>
    /// <exception cref="System.Net.Sockets.SocketException">An address cannot be listened on.</exception>
    public void Start(BgpConfig config)
    {
        _config = config;
        if (Open(state.Config) is { } opened) Use(opened);
        foreach (BgpPeerConfig peer in config.Peers) AddPeer(peer);
        SetExport(config);
    }

    /// <summary>
    /// Opens what the peers of a configuration need, beside what runs: the speaker of the first ones, and listeners at their ends. It is
    /// put to <see cref="Use"/>, or disposed of and nothing has changed. Null: nothing is needed. A VRF's speaker comes with its first
    /// peer: in a namespace of its own nobody else has the port.
    /// </summary>
    /// <exception cref="System.Net.Sockets.SocketException">An address cannot be listened on.</exception>
    /// <exception cref="IOException">The kernel lacks what a peer needs.</exception>
    public Opened? Open(NodeConfig next)
    {
        if (next.Bgp.Peers.Count == 0) return null;
        if (next.Bgp.Peers.FirstOrDefault(p => p.Ao is not null) is { } authenticated && !BgpSocketOptions.HasAo)
            throw new IOException($"peer {authenticated.Key} has tcpAo, and this kernel has no TCP-AO (RFC 5925): it takes Linux 6.7 built "
                + "with CONFIG_TCP_AO; use such a kernel, or password (TCP-MD5) at both ends");
        BgpPeerConfig[] peers = [.. next.Bgp.Peers.Where(p => p.Vrf == NodeConfig.DefaultVrf)];
        if (peers.Length == 0) return null;
        var opened = new Opened(_speaker ?? Make(NodeConfig.DefaultVrf, next), isNew: _speaker is null);
        try
        {
            if (_speaker is null) opened.Speaker.Start();
            foreach (BgpPeerConfig peer in peers)
            {
                if (EndOf(peer) is { } end) opened.Speaker.Listen(end);
            }

            return opened;
        }
        catch
        {
            opened.Dispose();
            throw;
        }
    }

    /// <summary>From now on this PE speaks BGP, or speaks it there too.</summary>
    public void Use(Opened opened)
    {
        if (ReferenceEquals(_speaker, opened.Speaker)) return;
        _speaker = opened.Speaker;
        foreach ((IpPrefix prefix, uint localPref) in _backups) _speaker.Engine.AdvertiseBackup(prefix, localPref);
        vpn.Start(_speaker.Engine);
    }

    /// <summary>Adds a peer; there is a speaker.</summary>
    public void AddPeer(BgpPeerConfig peer)
    {
        if (peer.Vrf != NodeConfig.DefaultVrf && !_vrfs.ContainsKey(peer.Vrf))
            _vrfs.Add(peer.Vrf, new VrfSessions(Make(peer.Vrf, state.Config)));
        if (peer is { OnLink: true, Address.IsNone: true })
        {
            AddLink(peer);
            return;
        }

        SpeakerOf(peer.Vrf)!.AddPeer(
            new BgpPeerSettings(peer.Address, peer.As)
            {
                Local = EndOf(peer)?.Address ?? default,
                Device = EndOf(peer)?.Device,
                LocalOnly = peer.LocalOnly,
                Link = LinkOf(peer),
                NextHopSelf = peer.NextHopSelf,
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
                AsOverride = peer.AsOverride,
                AllowAsIn = peer.AllowAsIn,
                RemovePrivateAs = peer.RemovePrivateAs,
                SiteOfOrigin = peer.SiteOfOrigin,
                LimitV4 = peer.LimitV4,
                LimitV6 = peer.LimitV6,
                Password = peer.Password,
                Ao = peer.Ao,
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
        if (peer.OnLink && _links.TryGetValue(peer.LinkPort!, out LinkPeer? link))
            (link.Config, link.Found) = (peer, link.Found is { } found ? peer with { Address = found.Address, Bfd = found.Bfd } : null);
        if (SpeakerOf(peer.Vrf) is not { } speaker || speaker.Engine.Find(Found(peer).Key) is not { } known) return;
        speaker.Engine.SetPolicy(known, peer.ImportPolicy ?? Policy(peer.Import), peer.ExportPolicy ?? Policy(peer.Export));
        speaker.Flush();
    }

    public void RemovePeer(BgpPeerConfig config)
    {
        if (SpeakerOf(config.Vrf) is not { } speaker) return;

        // A reload that shuts a peer down: its operator is told why before the peer is made anew.
        string? text = state.Config.Bgp.Peers.FirstOrDefault(p => p.Name == config.Name)?.Shutdown;
        BgpPeerKey key = Found(config).Key;
        if (text is not null && speaker.Engine.Find(key) is { } peer) speaker.Engine.Shutdown(peer, text, loop.Now);
        if (speaker.RemovePeer(key, loop.Now) | config.OnLink) state.Events.Add(loop.Now, "bgp", config.Name, "removed");
        if (config.OnLink && _links.Remove(config.LinkPort!, out LinkPeer? link))
        {
            if (link.Found?.Bfd is { } watched) WatchUnwanted?.Invoke(watched);
            if (link.End is { } end) speaker.Release(end);
        }

        if (config.Vrf == NodeConfig.DefaultVrf || speaker.Engine.Peers.Count > 0
            || _links.Values.Any(l => l.Config.Vrf == config.Vrf)) return;

        // Its table may go right after this. What it has still to say to the last peer it says while it is disposed of.
        _vrfs.Remove(config.Vrf);
        speaker.Dispose();
    }

    /// <summary>BFD found the path to a peer down: its session ends now, not when the hold time is over. See
    /// <see cref="Core.Bgp.BgpEngine.PathDown"/>.</summary>
    public void PathDown(string vrf, BgpPeerKey peer, string reason, long now, bool mayBeRestart)
    {
        // One that is no peer is a PE whose routes a reflector tells.
        if (SpeakerOf(vrf) is { } speaker && speaker.Engine.Find(peer) is not null) speaker.PathDown(peer, reason, now, mayBeRestart);
        else state.SetFailed(vrf, peer, failed: true, reason);
    }

    /// <summary>BFD says nothing against the path any more: it is there again, or nobody watches it.</summary>
    public void PathUp(string vrf, BgpPeerKey peer, string reason) => state.SetFailed(vrf, peer, failed: false, reason);

    /// <summary>What is told changes: sources or LOCAL_PREF.</summary>
    public void SetExport(BgpConfig config)
    {
        _config = config;
        foreach ((string vrf, VrfSessions sessions) in _vrfs)
        {
            foreach (RouteView route in state.Vrfs[vrf].Rib.BestRoutes().ToArray()) Tell(vrf, sessions, route.Prefix, route.Origin);
            sessions.Speaker.Flush();
        }

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

    /// <summary>Sets, or with null forgets, the LOCAL_PREF with which a prefix is told as a backup, while it is not told as this PE's
    /// own.</summary>
    public void SetBackup(string vrf, IpPrefix prefix, uint? localPref)
    {
        if (vrf != NodeConfig.DefaultVrf)
        {
            vpn.SetBackup(vrf, prefix, localPref);
        }
        else if (localPref is { } pref)
        {
            _backups[prefix] = pref;
            _speaker?.Engine.AdvertiseBackup(prefix, pref);
        }
        else if (_backups.Remove(prefix))
        {
            _speaker?.Engine.WithdrawBackup(prefix);
        }
    }

    /// <summary>Says whether the servers of a prefix are about to leave for another PE: policies of peers may tell it otherwise
    /// then.</summary>
    public void SetLeaving(string vrf, IpPrefix prefix, bool leaving)
    {
        if (!(leaving ? _leaving.Add((vrf, prefix)) : _leaving.Remove((vrf, prefix)))) return;
        if (vrf == NodeConfig.DefaultVrf)
        {
            if (_told.Contains(prefix)) Advertise(prefix);
        }
        else if (_vrfs.TryGetValue(vrf, out VrfSessions? sessions) && sessions.Told.Contains(prefix))
        {
            sessions.Speaker.Advertise(prefix, _config.LocalPref, leaving: leaving);
        }
    }

    /// <summary>The LOCAL_PREF with which a prefix is told; null when it is not told.</summary>
    public uint? Told(string vrf, IpPrefix prefix)
        => vrf != NodeConfig.DefaultVrf ? vpn.Told(vrf, prefix) : _told.Contains(prefix) ? LocalPrefOf(prefix) : null;

    /// <summary>The lowest LOCAL_PREF with which a prefix is told to iBGP peers as this PE's own; null: not all of them are told
    /// it.</summary>
    public uint? ToldInside(string vrf, IpPrefix prefix)
        => vrf != NodeConfig.DefaultVrf ? vpn.Told(vrf, prefix) : _speaker?.Engine.ToldInside(prefix);

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
        if (_vrfs.TryGetValue(changes[0].Vrf, out VrfSessions? sessions))
        {
            sessions.Speaker.RibChanged(changes);
            foreach (ref readonly RibChange change in changes)
            {
                if (change.ChangedHop is null) Tell(changes[0].Vrf, sessions, change.Prefix, change.Native is null ? null : change.Origin);
            }
        }

        if (_speaker is null || changes[0].Vrf != NodeConfig.DefaultVrf) return;
        _speaker.RibChanged(changes);
        foreach (ref readonly RibChange change in changes)
        {
            if (change.ChangedHop is null) Tell(change.Prefix, change.Native is null ? null : change.Origin);
        }
    }

    /// <summary>At the end of a round: what is to be told goes out.</summary>
    public void Flush()
    {
        _speaker?.Flush();
        foreach (VrfSessions vrf in _vrfs.Values) vrf.Speaker.Flush();
    }

    public IReadOnlyList<BgpPeerInfo> Peers(long now) =>
        [.. Infos(_speaker, NodeConfig.DefaultVrf, now).Concat(_vrfs.SelectMany(v => Infos(v.Value.Speaker, v.Key, now))).Concat(NotFound)];

    /// <summary>Carries out what the operator wants of a session.</summary>
    public BgpPeerReply Act(string text, BgpPeerAction action, BgpPeerRequest request)
    {
        BgpPeerConfig named = state.Config.Bgp.Peers.FirstOrDefault(p => p.Name == text || NameOf(Found(p)) == text)
            ?? state.Config.Bgp.Peers.FirstOrDefault(p => p.Vrf == NodeConfig.DefaultVrf && BgpPeerKey.TryParse(text, out BgpPeerKey key)
                && p.Key == key)
            ?? throw new ProblemException(Problems.NotFound(
                $"there is no BGP peer '{text}'; there are {string.Join(", ", state.Config.Bgp.Peers.Select(p => p.Name))}"));
        BgpSpeaker speaker = SpeakerOf(named.Vrf)!;
        BgpPeer peer = speaker.Engine.Find(Found(named).Key) ?? throw new ProblemException(Problems.WrongState(
            $"no router has been heard on port {named.LinkPort}: there is no session yet"));
        if (request.Text is { } words && System.Text.Encoding.UTF8.GetByteCount(words) is > ShutdownText.MaxBytes and int length)
            throw new ProblemException(Problems.BadRequest($"the text has {length} octets; RFC 9003 carries {ShutdownText.MaxBytes}",
                [new ProblemError("text", "make it shorter")]));
        BgpEngine engine = speaker.Engine;
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

        speaker.Flush();
        state.Events.Add(loop.Now, "bgp", named.Name, Kebab(action), detail);
        return new BgpPeerReply(named.Name, action, Kebab(peer.State), detail);
    }

    public void Poll(long now)
    {
        _speaker?.Poll(now);
        foreach (VrfSessions vrf in _vrfs.Values) vrf.Speaker.Poll(now);
    }

    public void Drain(long now)
    {
        Volatile.Write(ref _signalled, 0);
        Poll(now);
    }

    public void Dispose()
    {
        _speaker?.Dispose();
        foreach (VrfSessions vrf in _vrfs.Values) vrf.Speaker.Dispose();
    }

    private bool IsTold(IpPrefix prefix, RouteOrigin? origin) => origin?.Source switch
    {
        RouteSource.Migration => true,
        RouteSource.Connected or RouteSource.Neighbor => (_config.Advertise & AdvertiseSources.Connected) != 0,
        RouteSource.Local => (_config.Advertise & AdvertiseSources.Loopbacks) != 0 && state.Config.Loopbacks.Contains(prefix.Address),
        RouteSource.Static => (_config.Advertise & AdvertiseSources.Static) != 0,
        _ => false,
    };

    private void Tell(IpPrefix prefix, RouteOrigin? origin)
    {
        if (IsTold(prefix, origin) && !((origin!.Source is RouteSource.Static or RouteSource.Neighbor) && IsPeer(prefix)))
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
        _moved.TryGetValue(prefix, out MovedRoute moved) ? moved.Tag : null, _moves.GetValueOrDefault(prefix),
        _leaving.Contains((NodeConfig.DefaultVrf, prefix)));

    private uint LocalPrefOf(IpPrefix prefix) => _moved.TryGetValue(prefix, out MovedRoute moved) ? moved.LocalPref : _config.LocalPref;

    private bool IsPeer(IpPrefix prefix) => prefix.IsHost && _speaker!.Engine.Find(prefix.Address) is not null;

    // Null leaves the default of RFC 8212.
    private static RoutePolicy? Policy(bool? all) => all is { } yes ? (yes ? RoutePolicy.All : RoutePolicy.None) : null;

    // A link-local end is where the kernel has that of its port.
    private BgpEnd? EndOf(BgpPeerConfig peer) => !peer.Local.IsNone ? new BgpEnd(peer.Local)
        : peer.LinkPort is { } port ? host.EndOf(port) : null;

    private BgpLink? LinkOf(BgpPeerConfig peer) => peer.LinkPort is { } name && state.Port(name) is { } port
        ? new BgpLink(name, port.Addresses, port.LinkLocal) : null;

    private BgpSpeaker Make(string vrf, NodeConfig node)
    {
        // A CE cannot reach our loopbacks: they are of the default VRF.
        bool isDefault = vrf == NodeConfig.DefaultVrf;
        IReadOnlyList<IpAddress> loopbacks = isDefault ? node.Loopbacks : [];
        var settings = new BgpSpeakerSettings(node.As, node.RouterId.V4,
            loopbacks.FirstOrDefault(l => l.IsV4), loopbacks.FirstOrDefault(l => l.IsV6), (int)node.RouterId.V4)
        {
            OfVrf = !isDefault,
            Restarting = restarting,
            ForwardingKept = forwardingKept ? BgpFamilies.All : BgpFamilies.None,
            ClusterId = node.Bgp.ClusterId,
            MoveDamping = node.Bgp.MoveDamping,
            RestartSeconds = node.Bgp.GracefulRestart.RestartTimeSeconds,
            DeferralSeconds = node.Bgp.GracefulRestart.DeferralSeconds,
            StaleSeconds = node.Bgp.GracefulRestart.StaleTimeSeconds,
        };
        Microsoft.Win32.SafeHandles.SafeFileHandle? space = host.SpaceOf(vrf);
        var transport = new BgpTransportOptions(loopbacks, node.Bgp.Port)
        {
            SocketFactory = space is null ? null : family => Namespaces.Run(space,
                () => new System.Net.Sockets.Socket(family, System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Tcp)),
            DeviceIndex = device => Namespaces.Run(space, () => NetDevice.Index(device)),
        };

        var speaker = new BgpSpeaker(settings, state.Vrfs[vrf].Rib, transport, Wake);
        speaker.Engine.SessionChanged += (peer, reason) =>
            state.Events.Add(loop.Now, "bgp", NameIn(vrf, peer), reason is null ? "established" : "down", reason);
        speaker.Engine.PeerFailed += (pe, failed, why) => state.SetFailed(vrf, pe, failed, why);
        speaker.Engine.Warned += (peer, what) => state.Events.Add(loop.Now, "bgp", NameIn(vrf, peer), "warning", what);
        speaker.Engine.MoveDamped += (prefix, why)
            => state.Events.Add(loop.Now, "bgp", prefix.ToString(), why is null ? "moves followed again" : "moves damped", why);
        speaker.Stranger = from => MeetStranger(vrf, from);
        speaker.TransportFault += (peer, what) => state.Events.Add(loop.Now, "bgp", peer.ToString(), "warning", what);
        return speaker;
    }

    private void Wake()
    {
        Volatile.Write(ref _signalled, 1);
        loop.Wake();
    }

    /// <summary>What was opened for peers to come. Disposing of it closes what nobody uses.</summary>
    internal sealed class Opened(BgpSpeaker speaker, bool isNew) : IDisposable
    {
        /// <summary>The speaker, new or the one that there was.</summary>
        public BgpSpeaker Speaker { get; } = speaker;

        public void Dispose()
        {
            if (isNew) Speaker.Dispose();
            else Speaker.CloseUnused();
        }
    }
}
