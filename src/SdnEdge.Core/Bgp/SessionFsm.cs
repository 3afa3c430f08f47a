namespace SdnEdge.Core.Bgp;

/// <summary>
/// The session state machine of RFC 4271 8, for one peer with its two possible connections. Pure: it gets events and the
/// time, and returns actions.
/// 1. Start: connect (or wait, when passive). 2. A connection: send OPEN. 3. OPEN: check it, resolve a collision (6.8),
/// send KEEPALIVE. 4. KEEPALIVE: established; the other connection goes. 5. Anything wrong: NOTIFICATION, close, wait.
/// </summary>
public sealed class SessionFsm
{
    private const long Millisecond = 1_000_000;
    private const long Second = 1000 * Millisecond;

    // "A hold timer of 4 minutes is suggested" until the hold time is negotiated (8.2.2).
    private const long OpenHold = 240 * Second;

    // A session that has lasted so long has not flapped.
    private const long StableAfter = 60 * Second;
    private const int MaxDoublings = 6;
    private const string Collision = "collision";
    private const string Restarted = "the peer has restarted";

    // A connection beside an established session may be the late half of a collision, which the peer closes by itself.
    private const long SilentFor = Second;

    // The end that decides between two connections does so when it has both OPENs: a round trip, unless it is held up.
    private const long VerdictWithin = 5 * Second;

    private readonly BgpSpeakerSettings _local;
    private readonly BgpPeerSettings _peer;
    private readonly Random _jitter;
    private readonly Connection[] _connections = [new(), new()];
    private bool _started;
    private long _connectAt = long.MaxValue;
    private long _idleUntil = long.MaxValue;
    private long _establishedAt;
    private int _faults;
    private bool _held;

    /// <summary>Makes a stopped machine.</summary>
    /// <param name="local">Our side.</param>
    /// <param name="peer">The peer.</param>
    /// <param name="jitter">Source of jitter, seeded by the caller.</param>
    public SessionFsm(BgpSpeakerSettings local, BgpPeerSettings peer, Random jitter)
    {
        _local = local;
        _peer = peer;
        _jitter = jitter;
    }

    /// <summary>State of the peer: that of the connection which has come furthest.</summary>
    public BgpState State
    {
        get
        {
            BgpState furthest = (BgpState)Math.Max((int)_connections[0].State, (int)_connections[1].State);
            if (furthest != BgpState.Idle) return furthest;
            return _started && !_held && _idleUntil == long.MaxValue ? BgpState.Active : BgpState.Idle;
        }
    }

    /// <summary>What was agreed on; null unless established.</summary>
    public Negotiated? Negotiated { get; private set; }

    /// <summary>The peer's OPEN; null unless established.</summary>
    public OpenMessage? PeerOpen { get; private set; }

    /// <summary>The connection of the established session.</summary>
    public ConnectionSide EstablishedSide { get; private set; }

    /// <summary>When the session came up; meaningful while established.</summary>
    public long EstablishedAt => _establishedAt;

    /// <summary>Number of times the session came up.</summary>
    public long Transitions { get; private set; }

    /// <summary>When <see cref="FsmEventKind.Tick"/> is due next; <see cref="long.MaxValue"/>: never.</summary>
    public long NextDeadline
    {
        get
        {
            long next = Math.Min(_connectAt, _idleUntil);
            foreach (Connection c in _connections) next = Math.Min(next, Math.Min(Math.Min(c.HoldAt, c.KeepaliveAt), c.CollisionDeadline));
            return next;
        }
    }

    /// <summary>
    /// Whether a connection the peer opens now is taken; if not, close it and do not tell the machine. A newer one replaces
    /// one that has not come past OPEN, for the peer may have restarted; one beside an established session loses (6.8).
    /// </summary>
    public bool AcceptsIncoming => State switch
    {
        BgpState.Idle => false,

        // A peer that has restarted without its old connection being seen to close comes this way (RFC 4724 4.2).
        BgpState.Established => Negotiated!.GracefulRestartFamilies != BgpFamilies.None
            && (EstablishedSide == ConnectionSide.Incoming || _connections[(int)ConnectionSide.Incoming].State == BgpState.Idle),
        _ => _connections[(int)ConnectionSide.Incoming].State is BgpState.Idle or BgpState.OpenSent,
    };

    /// <summary>Why the last connection ended or failed; null when none has.</summary>
    public string? LastError { get; private set; }

    /// <summary>State of one connection, <see cref="BgpState.Idle"/> when there is none.</summary>
    public BgpState StateOf(ConnectionSide side) => _connections[(int)side].State;

    /// <summary>Takes one event and appends what is to be done.</summary>
    public void Step(in FsmEvent input, long now, List<FsmAction> actions)
    {
        switch (input.Kind)
        {
            case FsmEventKind.Start when !_started:
                _started = true;
                Begin(now, actions);
                break;
            case FsmEventKind.Stop when _started:
                StopAll(input, now, actions);
                break;
            case FsmEventKind.Reset when _started:
                ResetAll(input, now, actions);
                break;
            case FsmEventKind.BfdDown when _started:
                EndAll(BgpNotification.BfdDown, default, input.Reason ?? "path down", now, actions);
                break;
            case FsmEventKind.Connected:
                OnConnected(input.Side, now, actions);
                break;
            case FsmEventKind.Tick:
                OnTick(now, actions);
                break;
            case FsmEventKind.Start or FsmEventKind.Stop or FsmEventKind.Reset or FsmEventKind.BfdDown:
                break;
            default:
                if (_connections[(int)input.Side].State == BgpState.Idle) break;
                OnConnectionEvent(input, now, actions);
                break;
        }
    }

    private void OnConnectionEvent(in FsmEvent input, long now, List<FsmAction> actions)
    {
        ConnectionSide side = input.Side;
        Connection connection = _connections[(int)side];
        switch (input.Kind)
        {
            case FsmEventKind.Disconnected:
                bool wasOpen = connection.State > BgpState.Connect;
                Drop(side, wasOpen ? "connection closed" : "connection refused", close: false, After.Retry, now, actions, Ending.Silent);
                break;
            case FsmEventKind.Open when connection.State == BgpState.OpenSent:
                if (connection.DelayOpen) OnDelayedOpen(side, input.Open!, now, actions);
                else OnOpen(side, input.Open!, now, actions);
                break;
            case FsmEventKind.Keepalive when connection.State == BgpState.OpenConfirm:
                if (AwaitsVerdict(side)) Confirm(connection, now);
                else Establish(side, now, actions);
                break;
            case FsmEventKind.Update when connection is { State: BgpState.OpenConfirm, IsConfirmed: true }:
                // The other end is established here: that was its verdict.
                Establish(side, now, actions);
                break;
            case FsmEventKind.Keepalive or FsmEventKind.Update when connection.State == BgpState.Established:
                RestartHoldTimer(connection, now);
                break;
            case FsmEventKind.Notification:
                Drop(side, $"received {input.Notification.Describe(input.Data.Span)}", close: true, Damps(input.Notification) ? After.Damp
                    : After.Retry, now, actions,
                    input.Notification == BgpNotification.HardReset ? Ending.Hard : Ending.Soft);
                break;
            case FsmEventKind.PrefixLimit:
                if (connection.State != BgpState.Established) break;
                SendHard(side, BgpNotification.PrefixLimit, input.Data, actions);
                Drop(side, input.Reason ?? "too many prefixes", close: true, After.Hold, now, actions);
                if (input.WaitNs > 0) _idleUntil = now + input.WaitNs;
                break;
            case FsmEventKind.Fault:
                (byte code, byte subcode) = BgpFaults.NotificationOf(input.Fault);
                Fail(side, new BgpNotification(code, subcode), input.Data, now, actions);
                break;
            case FsmEventKind.SendHoldTimerExpired:
                Fail(side, BgpNotification.SendHoldTimerExpired, default, now, actions);
                break;
            default:
                // RFC 6608: the subcode names the state, the data the message.
                Fail(side, new BgpNotification(5, (byte)(connection.State - BgpState.OpenSent + 1)), input.Data, now, actions,
                    BgpFault.UnexpectedMessage);
                break;
        }
    }

    private void Begin(long now, List<FsmAction> actions)
    {
        _idleUntil = long.MaxValue;
        _held = false;
        if (_peer.Passive) return;
        _connectAt = now + Jittered(_peer.ConnectRetryMilliseconds * Millisecond);
        if (_connections[(int)ConnectionSide.Outgoing].State != BgpState.Idle) return;
        _connections[(int)ConnectionSide.Outgoing].State = BgpState.Connect;
        actions.Add(new FsmAction(FsmActionKind.Connect));
    }

    private void StopAll(in FsmEvent input, long now, List<FsmAction> actions)
    {
        _started = false;
        EndAll(input.Notification.Code == 0 ? BgpNotification.Shutdown : input.Notification, input.Data, "stopped", now, actions);
        _connectAt = long.MaxValue;
        _idleUntil = long.MaxValue;
        _held = false;
        _faults = 0;
    }

    private void ResetAll(in FsmEvent input, long now, List<FsmAction> actions)
    {
        EndAll(BgpNotification.Reset, input.Data, "reset by the operator", now, actions);
        _faults = 0;
        if (_held || _idleUntil != long.MaxValue) Begin(now, actions);
    }

    private void EndAll(BgpNotification notification, ReadOnlyMemory<byte> data, string reason, long now, List<FsmAction> actions)
    {
        foreach (ConnectionSide side in (ReadOnlySpan<ConnectionSide>)[ConnectionSide.Outgoing, ConnectionSide.Incoming])
        {
            BgpState state = _connections[(int)side].State;
            if (state == BgpState.Idle) continue;
            if (state > BgpState.Connect) SendHard(side, notification, data, actions);
            Drop(side, reason, close: true, After.Retry, now, actions);
        }
    }

    /// <summary>A NOTIFICATION after which the peer keeps none of our routes: in a hard reset where it else would (RFC 8538 3.1).</summary>
    private void SendHard(ConnectionSide side, BgpNotification notification, ReadOnlyMemory<byte> data, List<FsmAction> actions)
    {
        if (_connections[(int)side].State == BgpState.Established && _peer.Restart == RestartMode.Full
            && Negotiated is { GracefulNotification: true })
        {
            data = (byte[])[notification.Code, notification.Subcode, .. data.Span];
            notification = BgpNotification.HardReset;
        }

        actions.Add(new FsmAction(FsmActionKind.SendNotification, side, notification, data));
    }

    /// <summary>
    /// What the peer says will be so again at the next attempt: an OPEN error (the configurations do not match), too many
    /// prefixes, no resources. Do not hammer it.
    /// </summary>
    private static bool Damps(BgpNotification received) => received.Code == 2 || received is { Code: 6, Subcode: 1 or 8 };

    private void OnConnected(ConnectionSide side, long now, List<FsmAction> actions)
    {
        Connection connection = _connections[(int)side];
        if (side == ConnectionSide.Outgoing && connection.State != BgpState.Connect)
        {
            actions.Add(new FsmAction(FsmActionKind.Close, side));
            return;
        }

        if (side == ConnectionSide.Incoming && !AcceptsIncoming) return;
        if (side == ConnectionSide.Outgoing) _connectAt = long.MaxValue;

        // The peer opened the established connection as well: it cannot want both, so the old one is dead.
        if (connection.State == BgpState.Established) Drop(side, Restarted, close: false, After.Retry, now, actions, Ending.Silent);
        connection.Reset();
        connection.State = BgpState.OpenSent;
        if (_connections[(int)Other(side)].State == BgpState.Established)
        {
            connection.DelayOpen = true;
            connection.HoldAt = now + SilentFor;
            return;
        }

        SendOpen(side, now, actions);
    }

    private void SendOpen(ConnectionSide side, long now, List<FsmAction> actions)
    {
        Connection connection = _connections[(int)side];
        connection.DelayOpen = false;
        connection.HoldAt = now + OpenHold;
        actions.Add(new FsmAction(FsmActionKind.SendOpen, side));
    }

    /// <summary>
    /// OPEN on a connection beside the established one. With the restart bit the peer has lost that one. Without, it may be the
    /// late half of a collision: nothing is said for a while. A peer that then still is there, and answers our OPEN with
    /// KEEPALIVE, means it.
    /// </summary>
    private void OnDelayedOpen(ConnectionSide side, OpenMessage open, long now, List<FsmAction> actions)
    {
        if (open.GracefulRestart is not { Restarted: true })
        {
            _connections[(int)side].Open = open;
            return;
        }

        Drop(Other(side), Restarted, close: true, After.Retry, now, actions, Ending.Silent);
        SendOpen(side, now, actions);
        OnOpen(side, open, now, actions);
    }

    private void OnOpen(ConnectionSide side, OpenMessage open, long now, List<FsmAction> actions)
    {
        if (_peer.PeerAs == 0 ? open.As == _local.As : open.As != _peer.PeerAs)
        {
            Fail(side, new BgpNotification(2, 2), default, now, actions, BgpFault.OpenPeerAs);
            return;
        }

        // RFC 6286: identifiers must differ inside an AS only.
        if (open.RouterId == _local.RouterId && open.As == _local.As)
        {
            Fail(side, new BgpNotification(2, 3), default, now, actions, BgpFault.OpenIdentifier);
            return;
        }

        if ((open.Families & _peer.Families) == 0)
        {
            // With the capabilities that are missed (RFC 5492 5).
            Fail(side, new BgpNotification(2, 7), OpenMessage.CapabilitiesOf(_peer.Families), now, actions, BgpFault.OpenCapability);
            return;
        }

        // RFC 9234 4.2: roles that do not pair, and none where we insist.
        if (_peer.Role != BgpRole.None && open.As != _local.As
            && (open.RoleConflict || (open.Role == BgpRole.None ? _peer.StrictRole : !RoleRules.Pair(_peer.Role, open.Role))))
        {
            Fail(side, new BgpNotification(2, 11), default, now, actions, BgpFault.OpenCapability);
            return;
        }

        if (LosesCollision(side, open))
        {
            actions.Add(new FsmAction(FsmActionKind.SendNotification, side, BgpNotification.Collision));
            Drop(side, Collision, close: true, After.Retry, now, actions);
            return;
        }

        ConnectionSide other = Other(side);
        if (_connections[(int)other].State is > BgpState.Connect and < BgpState.Established && side == ConnectionSide.Outgoing
            && IsHigher(open))
        {
            actions.Add(new FsmAction(FsmActionKind.SendNotification, other, BgpNotification.Collision));
            Drop(other, Collision, close: true, After.Retry, now, actions);
        }

        Connection connection = _connections[(int)side];
        connection.Open = open;
        connection.State = BgpState.OpenConfirm;
        connection.HoldSeconds = Math.Min(open.HoldTimeSeconds, _peer.HoldTimeSeconds);
        RestartHoldTimer(connection, now);
        connection.KeepaliveAt = NextKeepalive(connection, now);
        actions.Add(new FsmAction(FsmActionKind.SendKeepalive, side));
    }

    /// <summary>
    /// RFC 4271 6.8: the connection opened by the side with the higher identifier stays (the AS decides between equal ones,
    /// RFC 6286). Both ends would apply this at different moments, and could each close the connection that the other has just
    /// established. So one end alone decides, the one whose connection stays; the other closes none, and is established on its
    /// own connection only when the verdict is known (<see cref="AwaitsVerdict"/>).
    /// </summary>
    private bool LosesCollision(ConnectionSide side, OpenMessage open)
    {
        BgpState other = _connections[(int)Other(side)].State;
        if (other == BgpState.Established) return Negotiated!.GracefulRestartFamilies == BgpFamilies.None;
        return other > BgpState.Connect && side == ConnectionSide.Incoming && IsHigher(open);
    }

    private bool IsHigher(OpenMessage open) => _local.RouterId != open.RouterId ? _local.RouterId > open.RouterId : _local.As > open.As;

    /// <summary>Our own connection is ready, but the peer's, which is to stay if it lives, is there too.</summary>
    private bool AwaitsVerdict(ConnectionSide side) => side == ConnectionSide.Outgoing
        && _connections[(int)ConnectionSide.Incoming].State is BgpState.OpenSent or BgpState.OpenConfirm
        && !IsHigher(_connections[(int)side].Open!);

    private static void Confirm(Connection connection, long now)
    {
        RestartHoldTimer(connection, now);
        if (connection.IsConfirmed) return;
        connection.IsConfirmed = true;
        connection.CollisionDeadline = now + VerdictWithin;
    }

    private void Establish(ConnectionSide side, long now, List<FsmAction> actions)
    {
        Connection connection = _connections[(int)side];
        ConnectionSide other = Other(side);
        BgpState otherState = _connections[(int)other].State;
        if (otherState == BgpState.Established)
        {
            Drop(other, Restarted, close: true, After.Retry, now, actions, Ending.Silent);
            otherState = BgpState.Idle;
        }

        if (otherState > BgpState.Connect) actions.Add(new FsmAction(FsmActionKind.SendNotification, other, BgpNotification.Collision));
        if (otherState != BgpState.Idle)
        {
            actions.Add(new FsmAction(FsmActionKind.Close, other));
            _connections[(int)other].Reset();
        }

        OpenMessage open = connection.Open!;
        connection.State = BgpState.Established;
        connection.IsConfirmed = false;
        connection.CollisionDeadline = long.MaxValue;
        RestartHoldTimer(connection, now);
        _connectAt = long.MaxValue;
        _establishedAt = now;
        Transitions++;
        EstablishedSide = side;
        PeerOpen = open;
        Negotiated = new Negotiated(connection.HoldSeconds, open.Families & _peer.Families, open.FourOctetAs, open.RouteRefresh,
            open.RouterId)
        {
            PeerAs = open.As,
            EnhancedRefresh = open.EnhancedRefresh,
            ExtendedNextHop = open.ExtendedNextHop && _peer.ExtendedNextHop,
            ExtendedMessages = open.ExtendedMessages && _peer.ExtendedMessages,
            AddPathFamilies = _peer.AddPath ? open.AddPathSendFamilies & open.Families & _peer.Families : BgpFamilies.None,
            PeerRestart = _peer.Restart == RestartMode.Off ? null : open.GracefulRestart,
            GracefulNotification = _peer.Restart != RestartMode.Off && open.GracefulRestart is { Notification: true },
        };
        actions.Add(new FsmAction(FsmActionKind.Up, side));
    }

    private void OnTick(long now, List<FsmAction> actions)
    {
        if (now >= _idleUntil) Begin(now, actions);
        if (now >= _connectAt && _started)
        {
            Connection outgoing = _connections[(int)ConnectionSide.Outgoing];
            if (outgoing.State == BgpState.Connect)
            {
                actions.Add(new FsmAction(FsmActionKind.Close));
                outgoing.Reset();
            }

            _connectAt = long.MaxValue;
            if (outgoing.State == BgpState.Idle) Begin(now, actions);
        }

        foreach (ConnectionSide side in (ReadOnlySpan<ConnectionSide>)[ConnectionSide.Outgoing, ConnectionSide.Incoming])
        {
            Connection connection = _connections[(int)side];
            if (now >= connection.HoldAt && connection.DelayOpen)
            {
                OpenMessage? open = connection.Open;
                SendOpen(side, now, actions);
                if (open is not null) OnOpen(side, open, now, actions);
            }
            else if (now >= connection.HoldAt)
            {
                actions.Add(new FsmAction(FsmActionKind.SendNotification, side, BgpNotification.HoldTimerExpired));
                Drop(side, "hold timer expired", close: true, After.Retry, now, actions, Ending.Soft, lost: true);
            }
            else if (now >= connection.CollisionDeadline)
            {
                Establish(side, now, actions);
            }
            else if (now >= connection.KeepaliveAt)
            {
                connection.KeepaliveAt = NextKeepalive(connection, now);
                actions.Add(new FsmAction(FsmActionKind.SendKeepalive, side));
            }
        }
    }

    private void Fail(ConnectionSide side, BgpNotification notification, ReadOnlyMemory<byte> data, long now, List<FsmAction> actions,
        BgpFault fault = BgpFault.None)
    {
        if (_connections[(int)side].State > BgpState.Connect) actions.Add(new FsmAction(FsmActionKind.SendNotification, side, notification,
            data) { Fault = fault });
        Drop(side, $"sent {notification}", close: true, After.Damp, now, actions, Ending.Soft,
            lost: notification == BgpNotification.SendHoldTimerExpired);
    }

    /// <summary>Ends one connection; when it was the last one, sees to the next attempt.</summary>
    private void Drop(ConnectionSide side, string reason, bool close, After after, long now, List<FsmAction> actions, Ending ending =
        Ending.Hard, bool lost = false)
    {
        Connection connection = _connections[(int)side];
        bool established = connection.State == BgpState.Established;
        bool graceful = established && Negotiated!.GracefulRestartFamilies != BgpFamilies.None
            && (ending == Ending.Silent || (ending == Ending.Soft && Negotiated.GracefulNotification));
        connection.Reset();
        if (close) actions.Add(new FsmAction(FsmActionKind.Close, side, Reason: reason));
        if (established)
        {
            if (now - _establishedAt >= StableAfter) _faults = 0;
            Negotiated = null;
            PeerOpen = null;
        }

        if (reason != Collision) LastError = reason;
        if (established) actions.Add(new FsmAction(FsmActionKind.Down, side, Reason: reason)
        {
            Graceful = graceful,
            Lost = lost || (ending == Ending.Silent && reason != Restarted),
        });
        if (_started && _connections[(int)Other(side)].IsConfirmed)
        {
            Establish(Other(side), now, actions);
            return;
        }

        if (!_started || _connections[(int)Other(side)].State != BgpState.Idle) return;
        if (after == After.Hold)
        {
            _held = true;
            _connectAt = long.MaxValue;
            return;
        }

        if (after == After.Damp)
        {
            _idleUntil = now + (Jittered(_peer.IdleHoldMilliseconds * Millisecond) << Math.Min(_faults, MaxDoublings));
            _faults++;
            _connectAt = long.MaxValue;
            return;
        }

        if (!_peer.Passive && _connectAt == long.MaxValue) _connectAt = now + Jittered(_peer.ConnectRetryMilliseconds * Millisecond);
    }

    private static void RestartHoldTimer(Connection connection, long now) =>
        connection.HoldAt = connection.HoldSeconds == 0 ? long.MaxValue : now + (connection.HoldSeconds * Second);

    private long NextKeepalive(Connection connection, long now) =>
        connection.HoldSeconds == 0 ? long.MaxValue : now + Jittered(connection.HoldSeconds * Second / 3);

    /// <summary>RFC 4271 10: a factor of 0.75 to 1.0, evenly spread.</summary>
    private long Jittered(long nanoseconds) => (long)(nanoseconds * (0.75 + (_jitter.NextDouble() * 0.25)));

    private static ConnectionSide Other(ConnectionSide side)
        => side == ConnectionSide.Outgoing ? ConnectionSide.Incoming : ConnectionSide.Outgoing;

    /// <summary>What follows when the last connection is gone.</summary>
    private enum After : byte
    {
        /// <summary>Connect again after the connect retry time.</summary>
        Retry,

        /// <summary>Idle for a while, longer with each fault in a row (DampPeerOscillations).</summary>
        Damp,

        /// <summary>Idle until a set time or the operator.</summary>
        Hold,
    }

    /// <summary>How a session ends, as far as graceful restart depends on it.</summary>
    private enum Ending : byte
    {
        /// <summary>Its routes go.</summary>
        Hard,

        /// <summary>With a NOTIFICATION, or because the hold timer expired: graceful where both have agreed so (RFC 8538).</summary>
        Soft,

        /// <summary>TCP closed without a word: graceful (RFC 4724).</summary>
        Silent,
    }

    private sealed class Connection
    {
        public BgpState State;

        /// <summary>We have not sent OPEN: an established session is beside it.</summary>
        public bool DelayOpen;

        /// <summary>KEEPALIVE has come, and the verdict on a collision is awaited until <see cref="CollisionDeadline"/>.</summary>
        public bool IsConfirmed;
        public long CollisionDeadline = long.MaxValue;
        public OpenMessage? Open;
        public int HoldSeconds;
        public long HoldAt = long.MaxValue;
        public long KeepaliveAt = long.MaxValue;

        public void Reset()
        {
            State = BgpState.Idle;
            DelayOpen = false;
            IsConfirmed = false;
            CollisionDeadline = long.MaxValue;
            Open = null;
            HoldSeconds = 0;
            HoldAt = long.MaxValue;
            KeepaliveAt = long.MaxValue;
        }
    }
}
