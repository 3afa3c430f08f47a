namespace SdnEdge.Core.Bgp;

/// <summary>States of RFC 4271 8.2.2, as the peer as a whole shows them.</summary>
public enum BgpState : byte
{
    /// <summary>Stopped, or waiting after a fault; connections are refused.</summary>
    Idle,

    /// <summary>A connection attempt is under way.</summary>
    Connect,

    /// <summary>Waiting for the peer to connect, or for the next attempt.</summary>
    Active,

    /// <summary>OPEN sent.</summary>
    OpenSent,

    /// <summary>OPEN received and accepted; waiting for KEEPALIVE.</summary>
    OpenConfirm,

    /// <summary>Routes flow.</summary>
    Established,
}

/// <summary>Who opened a TCP connection. A peer has at most one of each kind.</summary>
public enum ConnectionSide : byte
{
    /// <summary>We did.</summary>
    Outgoing,

    /// <summary>The peer did.</summary>
    Incoming,
}

/// <summary>What happens to a session.</summary>
public enum FsmEventKind : byte
{
    /// <summary>The operator wants the session.</summary>
    Start,

    /// <summary>The operator does not want it any more.</summary>
    Stop,

    /// <summary>A TCP connection of <see cref="FsmEvent.Side"/> is there.</summary>
    Connected,

    /// <summary>The attempt failed, or the connection is gone.</summary>
    Disconnected,

    /// <summary>OPEN came.</summary>
    Open,

    /// <summary>KEEPALIVE came.</summary>
    Keepalive,

    /// <summary>UPDATE or ROUTE-REFRESH came, and was not so wrong as to reset the session.</summary>
    Update,

    /// <summary>NOTIFICATION came.</summary>
    Notification,

    /// <summary>What came is wrong: <see cref="FsmEvent.Fault"/>.</summary>
    Fault,

    /// <summary>The peer has not read for the send hold time (RFC 9687).</summary>
    SendHoldTimerExpired,

    /// <summary>Something else (BFD) says that the peer cannot be reached: the session goes at once (RFC 9384).</summary>
    BfdDown,

    /// <summary>The peer told more prefixes than it may: the session goes, and stays down for <see cref="FsmEvent.WaitNs"/>.</summary>
    PrefixLimit,

    /// <summary>The operator wants the session to start anew (cease: administrative reset).</summary>
    Reset,

    /// <summary>Time has passed.</summary>
    Tick,
}

/// <summary>An input of the state machine.</summary>
/// <param name="Kind">What happened.</param>
/// <param name="Side">The connection it happened on, where there is one.</param>
/// <param name="Open">The peer's OPEN.</param>
/// <param name="Fault">What was wrong.</param>
/// <param name="Notification">The one received; for Stop the one to send (none: administrative shutdown).</param>
/// <param name="Data">Data of the notification received or to be sent.</param>
/// <param name="Reason">Why, for people (BfdDown, PrefixLimit).</param>
/// <param name="WaitNs">PrefixLimit: nanoseconds until the session may start again; 0: until the operator resets it.</param>
public readonly record struct FsmEvent(
    FsmEventKind Kind, ConnectionSide Side = default, OpenMessage? Open = null, BgpFault Fault = default,
    BgpNotification Notification = default, ReadOnlyMemory<byte> Data = default, string? Reason = null, long WaitNs = 0);

/// <summary>What the driver has to do.</summary>
public enum FsmActionKind : byte
{
    /// <summary>Open a TCP connection to the peer.</summary>
    Connect,

    /// <summary>Send OPEN.</summary>
    SendOpen,

    /// <summary>Send KEEPALIVE.</summary>
    SendKeepalive,

    /// <summary>Send NOTIFICATION; a Close follows.</summary>
    SendNotification,

    /// <summary>Close the connection, or give up the attempt. No <see cref="FsmEventKind.Disconnected"/> is expected for it.</summary>
    Close,

    /// <summary>The session is up on this connection: see <see cref="SessionFsm.Negotiated"/>.</summary>
    Up,

    /// <summary>The session is down: its routes are gone. <see cref="FsmAction.Reason"/> says why.</summary>
    Down,
}

/// <summary>An output of the state machine, to be carried out in order.</summary>
public readonly record struct FsmAction(
    FsmActionKind Kind, ConnectionSide Side = default, BgpNotification Notification = default, ReadOnlyMemory<byte> Data =
        default, string? Reason = null)
{
    /// <summary>With Down: the peer is expected back with its forwarding unharmed; its routes may stay (RFC 4724 4.2, RFC 8538
    /// 3).</summary>
    public bool Graceful { get; init; }

    /// <summary>With Down: the peer fell silent, or TCP ended without a word. It is taken to have failed, unless its routes may
    /// stay.</summary>
    public bool Lost { get; init; }

    /// <summary>With a NOTIFICATION: what the machine itself found wrong, to be counted. None when the caller has counted it.</summary>
    public BgpFault Fault { get; init; }
}

/// <summary>What both ends have agreed on.</summary>
/// <param name="HoldTimeSeconds">Hold time; 0: none.</param>
/// <param name="Families">Families in use.</param>
/// <param name="FourOctetAs">AS numbers have four octets.</param>
/// <param name="RouteRefresh">The peer answers ROUTE-REFRESH.</param>
/// <param name="PeerRouterId">The peer's identifier.</param>
public sealed record Negotiated(int HoldTimeSeconds, BgpFamilies Families, bool FourOctetAs, bool RouteRefresh, uint PeerRouterId)
{
    /// <summary>The peer's AS.</summary>
    public uint PeerAs { get; init; }

    /// <summary>Both mark where a refresh begins and ends (RFC 7313).</summary>
    public bool EnhancedRefresh { get; init; }

    /// <summary>Both take messages of up to 65535 octets (RFC 8654).</summary>
    public bool ExtendedMessages { get; init; }

    /// <summary>Both take IPv4 routes with IPv6 next hops (RFC 8950).</summary>
    public bool ExtendedNextHop { get; init; }

    /// <summary>What the peer says of its restarts (RFC 4724); null: nothing, or we do not help.</summary>
    public GracefulRestart? PeerRestart { get; init; }

    /// <summary>Both let a NOTIFICATION end a session gracefully (RFC 8538); what must not be graceful is a hard reset.</summary>
    public bool GracefulNotification { get; init; }

    /// <summary>Families of which the peer tells several paths to a prefix, each with an identifier (RFC 7911).</summary>
    public BgpFamilies AddPathFamilies { get; init; }

    /// <summary>Families whose routes stay for a while when the session ends.</summary>
    public BgpFamilies GracefulRestartFamilies => PeerRestart?.Families ?? BgpFamilies.None;
}
