using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// A BGP speaker without sockets, clock or threads: bytes and connection events come in, bytes go out through an
/// <see cref="IBgpWire"/>, routes go into a <see cref="LocRib"/>.
/// The way of a route: Received -> framer -> decoder -> loops, leaks (BgpEngine.Import) -> import policy -> LocRib.Offer -> (best route
/// changes)
/// RibChanged -> export policy -> Adj-RIB-Out -> Flush -> packed UPDATEs.
/// Single-threaded: the control loop calls it.
/// </summary>
public sealed partial class BgpEngine
{
    // As much may wait in one connection before packing pauses: enough to fill a long path, little enough to stay current.
    private const long SendWindow = 256 * 1024;

    // What a NOTIFICATION about an unexpected message carries (RFC 6608 4).
    private static readonly ReadOnlyMemory<byte>[] Types =
        [default, new byte[] { 1 }, new byte[] { 2 }, new byte[] { 3 }, new byte[] { 4 }, new byte[] { 5 }];

    private readonly BgpSpeakerSettings _settings;
    private readonly LocRib _rib;
    private readonly IBgpWire _wire;
    private readonly Random _jitter;
    private readonly Dictionary<BgpPeerKey, BgpPeer> _peers = [];
    private readonly List<FsmAction> _actions = [];
    private readonly byte[] _message = new byte[BgpLimits.MaxMessage];

    // For attributes that leave no room in an ordinary message; made when there are some.
    private byte[] LargeMessage => field ??= new byte[BgpLimits.MaxExtended];

    /// <summary>Makes a speaker without peers.</summary>
    public BgpEngine(BgpSpeakerSettings settings, LocRib rib, IBgpWire wire)
    {
        _settings = settings;
        _rib = rib;
        _wire = wire;
        _jitter = new Random(settings.Seed);
        _export = new BgpExport(settings, Attributes);
        _editor = new PolicyEditor(Attributes, settings.As);
        _vpn = new VpnTable(rib);
        IsRestarting = settings.Restarting;
        MoveDamping = new MoveDamping(settings.MoveDamping);
    }

    /// <summary>All attribute sets in use.</summary>
    public AttributeTable Attributes { get; } = new();

    /// <summary>The peers.</summary>
    public IReadOnlyCollection<BgpPeer> Peers => _peers.Values;

    /// <summary>A session came up or went down; the text says why it went down. Called inside the engine's methods: do not call
    /// back.</summary>
    public event Action<BgpPeer, string?>? SessionChanged;

    /// <summary>Something the operator should know of a peer, without a change of its session. Called inside the engine's methods: do not
    /// call back.</summary>
    public event Action<BgpPeer, string>? Warned;

    /// <summary>
    /// A next hop of a peer's own routes has failed with the peer (true), or is back (false). Called before the peer's routes go, so that
    /// what has a backup can take that at once. Called inside the engine's methods: do not call back.
    /// </summary>
    public event Action<BgpPeerKey, bool, string>? PeerFailed;

    /// <summary>When <see cref="Tick"/> is due next; <see cref="long.MaxValue"/>: never.</summary>
    public long NextDeadline
    {
        get
        {
            long next = _hopsGone.Count > 0 ? 0 : Math.Min(_deferUntil, MoveDamping.NextDeadline);
            foreach (BgpPeer peer in _peers.Values) next = Math.Min(next, Math.Min(peer.Fsm.NextDeadline, peer.NextTimer));
            return next;
        }
    }

    /// <summary>The peer with an address; null when none is configured.</summary>
    public BgpPeer? Find(BgpPeerKey key) => _peers.GetValueOrDefault(key);

    /// <summary>Adds a peer and starts its session, unless it is configured as shut down.</summary>
    /// <exception cref="ArgumentException">A peer with this address is there already.</exception>
    public BgpPeer AddPeer(BgpPeerSettings settings, long now)
    {
        var peer = new BgpPeer(_settings, settings, Attributes, _jitter);
        if (!_peers.TryAdd(settings.Key, peer)) throw new ArgumentException($"Peer {settings.Key} is configured already.",
            nameof(settings));
        if (IsRestarting && _deferUntil == long.MaxValue) _deferUntil = now + (_settings.DeferralSeconds * Second);
        if (!settings.Shutdown) Step(peer, new FsmEvent(FsmEventKind.Start), now);
        return peer;
    }

    /// <summary>Ends a peer's session (cease: peer de-configured) and forgets the peer. False when there is none.</summary>
    public bool RemovePeer(BgpPeerKey key, long now)
    {
        if (!_peers.TryGetValue(key, out BgpPeer? peer)) return false;
        Step(peer, new FsmEvent(FsmEventKind.Stop, Notification: BgpNotification.Deconfigured), now);
        DropStale(peer, now);
        TellFailed(peer, failed: false, "the peer is configured no more");
        return _peers.Remove(key);
    }

    /// <summary>Ends all sessions (cease: administrative shutdown).</summary>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    /// <param name="text">Told to the peers' operators (RFC 9003); null: nothing.</param>
    public void Stop(long now, string? text = null)
    {
        foreach (BgpPeer peer in _peers.Values) Shutdown(peer, text, now);
    }

    /// <summary>Ends a peer's session (cease: administrative shutdown) until <see cref="Restart"/>.</summary>
    /// <param name="peer">The peer.</param>
    /// <param name="text">Told to the peer's operator (RFC 9003); null: nothing.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    public void Shutdown(BgpPeer peer, string? text, long now)
    {
        Step(peer, new FsmEvent(FsmEventKind.Stop, Data: ShutdownText.Write(text)), now);
        DropStale(peer, now);
    }

    /// <summary>Starts a peer's session: one that was shut down, or (cease: administrative reset) one that is up, or one held down by a
    /// limit.</summary>
    /// <param name="peer">The peer.</param>
    /// <param name="text">Told to the peer's operator (RFC 9003); null: nothing.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    public void Restart(BgpPeer peer, string? text, long now)
    {
        Step(peer, new FsmEvent(FsmEventKind.Reset, Data: ShutdownText.Write(text)), now);
        Step(peer, new FsmEvent(FsmEventKind.Start), now);
        DropStale(peer, now);
    }

    /// <summary>
    /// Something that watches the path (BFD) says that a peer cannot be reached: its session goes down at once and its routes
    /// with it; connecting begins again after the connect retry time. Cease/10 is sent should TCP still work (RFC 9384).
    /// </summary>
    /// <param name="key">The peer.</param>
    /// <param name="reason">Stands in <see cref="BgpPeer.LastError"/>, e.g. "BFD: path down".</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    /// <param name="mayBeRestart">
    /// What watches may have ended with the control plane of either end. While the peer's graceful restart is waited for, that
    /// is what must be expected: nothing is done then (RFC 5882 4.3.2.2).
    /// </param>
    /// <returns>False when there is no such peer.</returns>
    public bool PathDown(BgpPeerKey key, string reason, long now, bool mayBeRestart = false)
    {
        if (!_peers.TryGetValue(key, out BgpPeer? peer)) return false;
        if (mayBeRestart && peer.StaleFamilies != BgpFamilies.None && peer.State != BgpState.Established) return true;
        TellFailed(peer, failed: true, reason);
        Step(peer, new FsmEvent(FsmEventKind.BfdDown, Reason: reason), now);
        DropStale(peer, now);
        return true;
    }

    /// <summary>Whether a connection from this address would be taken now. If not, close it and do not report it.</summary>
    public bool Accepts(BgpPeerKey from) => _peers.TryGetValue(from, out BgpPeer? peer) && peer.Fsm.AcceptsIncoming;

    /// <summary>A TCP connection is there: the one asked for, or one from the peer (after <see cref="Accepts"/>; it replaces an earlier
    /// incoming one).</summary>
    public void Connected(BgpPeer peer, ConnectionSide side, long now)
    {
        peer.Framers[(int)side].Clear();
        Step(peer, new FsmEvent(FsmEventKind.Connected, side), now);
    }

    /// <summary>The attempt failed, or the peer closed the connection.</summary>
    public void Disconnected(BgpPeer peer, ConnectionSide side, long now) => Step(peer, new FsmEvent(FsmEventKind.Disconnected, side), now);

    /// <summary>The peer has not taken a byte for the send hold time (RFC 9687).</summary>
    public void SendHoldTimerExpired(BgpPeer peer, ConnectionSide side, long now)
        => Step(peer, new FsmEvent(FsmEventKind.SendHoldTimerExpired, side), now);

    /// <summary>Lets time pass: timers of all peers.</summary>
    public void Tick(long now)
    {
        foreach (BgpPeer peer in _peers.Values)
        {
            if (peer.Fsm.NextDeadline <= now) Step(peer, new FsmEvent(FsmEventKind.Tick), now);
            if (peer.RefreshUntil <= now) EndRefreshes(peer, now);
            if (peer.StaleUntil <= now) StaleTimeout(peer, now);
        }

        CheckDeferral(now);
        RecoverMoves(now);
        DropUnreachableStale(now);
    }

    /// <summary>Bytes came from a peer.</summary>
    public void Received(BgpPeer peer, ConnectionSide side, ReadOnlySpan<byte> bytes, long now)
    {
        MessageFramer framer = peer.Framers[(int)side];
        while (peer.Fsm.StateOf(side) > BgpState.Connect)
        {
            if (framer.TryNext(ref bytes, out ReadOnlySpan<byte> message, out BgpFault fault))
            {
                peer.MessagesIn++;
                Handle(peer, side, message, now);
                continue;
            }

            if (fault != BgpFault.None) Fail(peer, side, fault, framer.FaultData, now);
            return;
        }
    }

    private void Handle(BgpPeer peer, ConnectionSide side, ReadOnlySpan<byte> message, long now)
    {
        ReadOnlySpan<byte> body = message[BgpLimits.HeaderSize..];
        bool established = peer.Fsm.StateOf(side) == BgpState.Established;
        switch ((BgpMessageType)message[18])
        {
            case BgpMessageType.Open:
                BgpFault fault = OpenMessage.Parse(body, out OpenMessage? open);
                if (fault == BgpFault.None) peer.Framers[(int)side].Extended = open!.ExtendedMessages && peer.Settings.ExtendedMessages;
                if (fault == BgpFault.None) Step(peer, new FsmEvent(FsmEventKind.Open, side, open, Data: Types[1]), now);
                else Fail(peer, side, fault, fault == BgpFault.OpenVersion ? new byte[] { 0, 4 } : default, now);
                break;
            case BgpMessageType.Keepalive:
                Step(peer, new FsmEvent(FsmEventKind.Keepalive, side, Data: Types[4]), now);
                break;
            case BgpMessageType.Notification:
                Step(peer, new FsmEvent(FsmEventKind.Notification, side, Notification: new BgpNotification(body[0], body[1]),
                    Data: body[2..].ToArray()), now);
                break;
            default:
                if (message[18] == (byte)BgpMessageType.RouteRefresh && body.Length != 4 && established)
                {
                    // RFC 7313 5 wants the whole message back.
                    Fail(peer, side, BgpFault.RouteRefreshLength, message.ToArray(), now);
                    break;
                }

                // In any other state the machine answers it with an error of its own.
                Step(peer, new FsmEvent(FsmEventKind.Update, side, Data: Types[message[18]]), now);
                if (peer.Fsm.StateOf(side) != BgpState.Established) break;
                if (message[18] == (byte)BgpMessageType.Update) HandleUpdate(peer, side, body, now);
                else HandleRefresh(peer, side, body, now);
                break;
        }
    }

    private void HandleUpdate(BgpPeer peer, ConnectionSide side, ReadOnlySpan<byte> body, long now)
    {
        Negotiated agreed = peer.Fsm.Negotiated!;
        var context = new UpdateContext(agreed.FourOctetAs, peer.External, peer.As, agreed.Families, _settings.NextHopV4,
            _settings.NextHopV6)
        {
            AddPathFamilies = agreed.AddPathFamilies,
            ExtendedNextHop = agreed.ExtendedNextHop,
            RouteServer = peer.Role == BgpRole.RouteServerClient,
            Link = peer.Settings.Link,
            OneHop = peer.Settings.Ttl is null or 1,
        };
        UpdateMessage update = peer.Decoder.Decode(body, context);
        if (update.Action == FaultAction.SessionReset)
        {
            // The decoder has counted it.
            Step(peer, new FsmEvent(FsmEventKind.Fault, side, Fault: update.Fault, Data: update.FaultData.ToArray()), now);
            return;
        }

        Withdraw(peer, update.Withdrawn, IpFamily.V4, now);
        if (update.MpWithdrawnFamily != 0) Withdraw(peer, update.MpWithdrawn, update.MpWithdrawnFamily, now);
        if (update.EndOfRib != 0) TakeEndOfRib(peer, update.EndOfRib.Flag(), now);
        PathAttributes? attributes = update.Attributes is { } told ? Accept(peer, told) : null;
        if (update.VpnFamily != 0 || update.VpnWithdrawnFamily != 0) HandleVpn(peer, update, attributes, now);
        if (attributes is null)
        {
            Withdraw(peer, update.Nlri, IpFamily.V4, now);
            if (update.MpFamily != 0) Withdraw(peer, update.MpNlri, update.MpFamily, now);
            return;
        }

        Offer(peer, update.Nlri, IpFamily.V4, update.NextHop, attributes, now);
        if (update.MpFamily != 0 && peer.State == BgpState.Established) Offer(peer, update.MpNlri, update.MpFamily, update.MpNextHop,
            attributes, now);
    }

    private void Withdraw(BgpPeer peer, ReadOnlySpan<byte> nlri, IpFamily family, long now)
    {
        var reader = new NlriReader(nlri, family, HasPathIds(peer, family));
        for (int count; (count = ReadNext(ref reader, family)) > 0;)
        {
            for (int i = 0; i < count; i++) Withdraw(peer, _nextPathIds[i], _nextPrefixes[i], now);
        }
    }

    private void Fail(BgpPeer peer, ConnectionSide side, BgpFault fault, ReadOnlyMemory<byte> data, long now)
    {
        peer.Faults.Add(fault);
        Step(peer, new FsmEvent(FsmEventKind.Fault, side, Fault: fault, Data: data), now);
    }

    private void Step(BgpPeer peer, in FsmEvent input, long now)
    {
        int first = _actions.Count;
        peer.Fsm.Step(input, now, _actions);
        for (int i = first; i < _actions.Count; i++) Carry(peer, _actions[i], now);
        _actions.RemoveRange(first, _actions.Count - first);
    }

    private void Carry(BgpPeer peer, in FsmAction action, long now)
    {
        switch (action.Kind)
        {
            case FsmActionKind.Connect:
                _wire.Connect(peer);
                break;
            case FsmActionKind.SendOpen:
                var open = new OpenMessage(_settings.As, peer.Settings.HoldTimeSeconds, _settings.RouterId, peer.Settings.Families,
                    FourOctetAs: true, RouteRefresh: true) { EnhancedRefresh = true, ExtendedMessages = peer.Settings.ExtendedMessages,
                    ExtendedNextHop = peer.Settings.ExtendedNextHop, GracefulRestart = RestartCapability(peer), Role = peer.Role,
                    AddPathReceiveFamilies = peer.Settings.AddPath
                    ? peer.Settings.Families & BgpFamilies.Both : BgpFamilies.None };
                Send(peer, action.Side, open.Write(_message));
                break;
            case FsmActionKind.SendKeepalive:
                Send(peer, action.Side, MessageWriter.Keepalive(_message));
                break;
            case FsmActionKind.SendNotification:
                if (action.Fault != BgpFault.None) peer.Faults.Add(action.Fault);
                Send(peer, action.Side, MessageWriter.Notification(_message, action.Notification.Code, action.Notification.Subcode,
                    action.Data.Span));
                break;
            case FsmActionKind.Close:
                _wire.Close(peer, action.Side);
                peer.Framers[(int)action.Side].Clear();
                break;
            case FsmActionKind.Up:
                peer.Origin.PeerRouterId = peer.Fsm.Negotiated!.PeerRouterId;
                peer.EndOfRibReceived = BgpFamilies.None;
                peer.Warned = BgpFamilies.None;
                TellFailed(peer, failed: false, "the session is up");
                peer.OtherHops.Clear();
                ReturnFromRestart(peer, now);
                FillOut(peer);
                SessionChanged?.Invoke(peer, null);
                break;
            default:
                peer.OutV4.Clear();
                peer.OutV6.Clear();
                peer.OutVpn.Clear();
                peer.EndOfRibDue = BgpFamilies.None;
                ClearRefreshes(peer);
                if (action is { Lost: true, Graceful: false }) TellFailed(peer, failed: true, action.Reason!);
                if (action.Graceful) KeepStale(peer, now);
                else DropStale(peer, now, all: true);
                SessionChanged?.Invoke(peer, action.Reason);
                break;
        }
    }

    // Its other addresses, too: one session may carry both families, or be from another loopback than its routes name.
    private void TellFailed(BgpPeer peer, bool failed, string why)
    {
        PeerFailed?.Invoke(peer.Settings.Key, failed, why);
        foreach (IpAddress hop in peer.OtherHops) PeerFailed?.Invoke(hop, failed, why);
    }

    private void Send(BgpPeer peer, ConnectionSide side, int length) => Send(peer, side, _message.AsSpan(0, length));

    private void Send(BgpPeer peer, ConnectionSide side, ReadOnlySpan<byte> message)
    {
        peer.MessagesOut++;
        _wire.Send(peer, side, message);
    }
}
