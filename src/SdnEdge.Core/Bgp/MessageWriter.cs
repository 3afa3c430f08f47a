using System.Buffers.Binary;

namespace SdnEdge.Core.Bgp;

/// <summary>Writes the short messages. Each method writes a whole message and returns its size.</summary>
public static class MessageWriter
{
    /// <summary>Header (RFC 4271 4.1); returns the length given.</summary>
    public static int Header(Span<byte> into, BgpMessageType type, int length)
    {
        into[..16].Fill(0xFF);
        BinaryPrimitives.WriteUInt16BigEndian(into[16..], (ushort)length);
        into[18] = (byte)type;
        return length;
    }

    /// <summary>KEEPALIVE (4.4): 19 bytes.</summary>
    public static int Keepalive(Span<byte> into) => Header(into, BgpMessageType.Keepalive, BgpLimits.HeaderSize);

    /// <summary>NOTIFICATION (4.5); data that does not fit is cut off.</summary>
    public static int Notification(Span<byte> into, byte code, byte subcode, ReadOnlySpan<byte> data)
    {
        if (data.Length > BgpLimits.MaxMessage - 21) data = data[..(BgpLimits.MaxMessage - 21)];
        into[19] = code;
        into[20] = subcode;
        data.CopyTo(into[21..]);
        return Header(into, BgpMessageType.Notification, 21 + data.Length);
    }

    /// <summary>ROUTE-REFRESH (RFC 2918) for one family: 23 bytes.</summary>
    /// <param name="into">Where to.</param>
    /// <param name="family">One family.</param>
    /// <param name="kind">A request, or the mark of the begin or end of one (RFC 7313).</param>
    public static int RouteRefresh(Span<byte> into, BgpFamilies family, RefreshKind kind = RefreshKind.Request)
    {
        BinaryPrimitives.WriteUInt16BigEndian(into[19..], (ushort)family.Ip());
        into[21] = (byte)kind;
        into[22] = family.Safi();
        return Header(into, BgpMessageType.RouteRefresh, 23);
    }
}

/// <summary>Message subtypes of ROUTE-REFRESH (RFC 7313 3.2).</summary>
public enum RefreshKind : byte
{
    /// <summary>Send all of a family again (RFC 2918).</summary>
    Request = 0,

    /// <summary>What follows is the whole family again (BoRR).</summary>
    Begin = 1,

    /// <summary>That was the whole family (EoRR).</summary>
    End = 2,
}

/// <summary>A NOTIFICATION, in words for people.</summary>
/// <param name="Code">Error code.</param>
/// <param name="Subcode">Error subcode.</param>
public readonly record struct BgpNotification(byte Code, byte Subcode)
{
    /// <summary>Hold timer expired (RFC 4271 6.5).</summary>
    public static readonly BgpNotification HoldTimerExpired = new(4, 0);

    /// <summary>Cease: maximum number of prefixes reached (RFC 4486).</summary>
    public static readonly BgpNotification PrefixLimit = new(6, 1);

    /// <summary>Cease: administrative reset (RFC 4486).</summary>
    public static readonly BgpNotification Reset = new(6, 4);

    /// <summary>Cease: hard reset; its data are the NOTIFICATION it stands for (RFC 8538).</summary>
    public static readonly BgpNotification HardReset = new(6, 9);

    /// <summary>Cease: BFD down (RFC 9384).</summary>
    public static readonly BgpNotification BfdDown = new(6, 10);

    /// <summary>Cease: administrative shutdown (RFC 4486).</summary>
    public static readonly BgpNotification Shutdown = new(6, 2);

    /// <summary>Cease: peer de-configured (RFC 4486).</summary>
    public static readonly BgpNotification Deconfigured = new(6, 3);

    /// <summary>Cease: connection rejected (RFC 4486).</summary>
    public static readonly BgpNotification Rejected = new(6, 5);

    /// <summary>Cease: connection collision resolution (RFC 4486).</summary>
    public static readonly BgpNotification Collision = new(6, 7);

    /// <summary>Send hold timer expired: the peer does not read (RFC 9687).</summary>
    public static readonly BgpNotification SendHoldTimerExpired = new(8, 0);

    /// <summary>Code, subcode and their meaning, e.g. "OPEN error: bad peer AS (2/2)".</summary>
    public override string ToString() => $"{Words} ({Code}/{Subcode})";

    /// <summary>The same with what the peer's operator wrote, where there is such a text (RFC 9003).</summary>
    /// <param name="data">Data of the NOTIFICATION.</param>
    public string Describe(ReadOnlySpan<byte> data) =>
        this == HardReset && data.Length >= 2 && data[0] != 6 | data[1] != 9
            ? $"{this}: {new BgpNotification(data[0], data[1]).Describe(data[2..])}"
        : this is { Code: 6, Subcode: 2 or 4 } && ShutdownText.Read(data) is { Length: > 0 } text ? $"{this}: \"{text}\"" : ToString();

    private string Words => (Code, Subcode) switch
    {
        (1, 1) => "header error: connection not synchronized",
        (1, 2) => "header error: bad message length",
        (1, 3) => "header error: bad message type",
        (1, _) => "header error",
        (2, 1) => "OPEN error: unsupported version",
        (2, 2) => "OPEN error: bad peer AS",
        (2, 3) => "OPEN error: bad BGP identifier",
        (2, 4) => "OPEN error: unsupported optional parameter",
        (2, 6) => "OPEN error: unacceptable hold time",
        (2, 7) => "OPEN error: unsupported capability",
        (2, 11) => "OPEN error: role mismatch",
        (2, _) => "OPEN error",
        (3, 1) => "UPDATE error: malformed attribute list",
        (3, 2) => "UPDATE error: unrecognized well-known attribute",
        (3, 3) => "UPDATE error: missing well-known attribute",
        (3, 4) => "UPDATE error: attribute flags",
        (3, 5) => "UPDATE error: attribute length",
        (3, 6) => "UPDATE error: invalid ORIGIN",
        (3, 8) => "UPDATE error: invalid NEXT_HOP",
        (3, 9) => "UPDATE error: optional attribute",
        (3, 10) => "UPDATE error: invalid network field",
        (3, 11) => "UPDATE error: malformed AS_PATH",
        (3, _) => "UPDATE error",
        (4, _) => "hold timer expired",
        (5, 1) => "unexpected message in OpenSent",
        (5, 2) => "unexpected message in OpenConfirm",
        (5, 3) => "unexpected message in Established",
        (5, _) => "state machine error",
        (6, 1) => "cease: maximum number of prefixes reached",
        (6, 2) => "cease: administrative shutdown",
        (6, 3) => "cease: peer de-configured",
        (6, 4) => "cease: administrative reset",
        (6, 5) => "cease: connection rejected",
        (6, 6) => "cease: other configuration change",
        (6, 7) => "cease: connection collision resolution",
        (6, 8) => "cease: out of resources",
        (6, 9) => "cease: hard reset",
        (6, 10) => "cease: BFD down",
        (6, _) => "cease",
        (7, _) => "ROUTE-REFRESH error",
        (8, _) => "send hold timer expired",
        _ => "unknown error",
    };
}
