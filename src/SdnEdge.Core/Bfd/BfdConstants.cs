namespace SdnEdge.Core.Bfd;

/// <summary>State of a session, the Sta field (RFC 5880 4.1).</summary>
public enum BfdState : byte
{
    /// <summary>Held down by the operator.</summary>
    AdminDown = 0,
    /// <summary>Not up; nothing is heard, or the other end is not ready.</summary>
    Down = 1,
    /// <summary>The other end is heard, and it is Down.</summary>
    Init = 2,
    /// <summary>Both ends hear each other.</summary>
    Up = 3,
}

/// <summary>Why a session last left Up, the Diag field (RFC 5880 4.1).</summary>
public enum BfdDiagnostic : byte
{
    /// <summary>No diagnostic.</summary>
    None = 0,
    /// <summary>Nothing was heard for the detection time.</summary>
    DetectionTimeExpired = 1,
    /// <summary>Echo function failed.</summary>
    EchoFailed = 2,
    /// <summary>The other end said that it is down.</summary>
    NeighborSignaledDown = 3,
    /// <summary>Forwarding plane reset.</summary>
    ForwardingPlaneReset = 4,
    /// <summary>Path down.</summary>
    PathDown = 5,
    /// <summary>Concatenated path down.</summary>
    ConcatenatedPathDown = 6,
    /// <summary>The operator took it down.</summary>
    AdministrativelyDown = 7,
    /// <summary>Reverse concatenated path down.</summary>
    ReverseConcatenatedPathDown = 8,
}

/// <summary>Why a control packet was discarded: the clauses of RFC 5880 6.8.6 in their order, then those of RFC 5881 5 and 5883.</summary>
public enum BfdDiscard : byte
{
    /// <summary>It was not.</summary>
    None,
    /// <summary>The version is not 1.</summary>
    Version,
    /// <summary>The length field is below 24, or below 26 with the A bit.</summary>
    LengthTooSmall,
    /// <summary>The length field is beyond the payload, or the payload is below 24 bytes.</summary>
    LengthBeyondPayload,
    /// <summary>The detect multiplier is zero.</summary>
    DetectMultiplierZero,
    /// <summary>The multipoint bit is set.</summary>
    Multipoint,
    /// <summary>My discriminator is zero.</summary>
    MyDiscriminatorZero,
    /// <summary>Your discriminator names no session.</summary>
    UnknownDiscriminator,
    /// <summary>Your discriminator is zero and the state is neither Down nor AdminDown.</summary>
    NoDiscriminatorWhileUp,
    /// <summary>Your discriminator is zero and there is no session with this sender.</summary>
    UnknownPeer,
    /// <summary>The A bit is set and no authentication is in use.</summary>
    Authentication,
    /// <summary>We are AdminDown.</summary>
    AdminDown,
    /// <summary>Single hop: the TTL or hop limit did not arrive as 255 (RFC 5881 5).</summary>
    TimeToLive,
    /// <summary>The discriminator is that of a session with another sender, another address of ours or another kind of hop.</summary>
    WrongSender,
}

/// <summary>Numbers of the protocol.</summary>
public static class BfdLimits
{
    /// <summary>UDP port of single-hop control packets (RFC 5881 4).</summary>
    public const int SingleHopPort = 3784;

    /// <summary>UDP port of multihop control packets (RFC 5883 5).</summary>
    public const int MultihopPort = 4784;

    /// <summary>Lowest source port (RFC 5881 4).</summary>
    public const int FirstSourcePort = 49152;

    /// <summary>Highest source port.</summary>
    public const int LastSourcePort = 65535;

    /// <summary>TTL or hop limit sent, and required where there is one hop (RFC 5881 5).</summary>
    public const int TimeToLive = 255;

    /// <summary>While a session is not Up, at least so many microseconds are asked for between packets sent (RFC 5880 6.8.3).</summary>
    public const uint SlowTxMicroseconds = 1_000_000;

    /// <summary>Reasons in <see cref="BfdDiscard"/>.</summary>
    public const int DiscardReasons = (int)BfdDiscard.WrongSender + 1;
}
