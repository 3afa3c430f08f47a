using System.Buffers.Binary;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// Cuts the byte stream of a session into messages (RFC 4271 4.1).
/// <code>
/// | marker: 16 x 0xff | length (2), header included | type (1) | body |
/// </code>
/// A message that lies whole in one read is handed out in place; only a torn one is copied. After a fault the stream has
/// no meaning any more: close the connection. Never holds more than one message.
/// </summary>
public sealed class MessageFramer
{
    private byte[] _torn = [];
    private int _have;

    /// <summary>Extended messages may come (RFC 8654): the peer's OPEN on this connection has named them, and so has ours.</summary>
    public bool Extended { get; set; }

    /// <summary>True while the first part of a message waits for its rest.</summary>
    public bool HasTorn => _have > 0;

    /// <summary>What the NOTIFICATION for the last fault carries (RFC 4271 6.1): the length or the type that is wrong.</summary>
    public ReadOnlyMemory<byte> FaultData { get; private set; }

    /// <summary>Takes the next whole message off the front of what was read.</summary>
    /// <param name="input">Bytes read; what was used is taken off.</param>
    /// <param name="message">The message with its header; valid until the next call.</param>
    /// <param name="fault">Set when the header is wrong; the result is false then.</param>
    /// <returns>False when more bytes are needed or a fault was found.</returns>
    public bool TryNext(ref ReadOnlySpan<byte> input, out ReadOnlySpan<byte> message, out BgpFault fault)
    {
        message = default;
        fault = BgpFault.None;
        if (_have == 0 && input.Length >= BgpLimits.HeaderSize)
        {
            fault = CheckHeader(input, out int whole, Extended);
            if (fault != BgpFault.None) return Fault(fault, input);
            if (input.Length >= whole)
            {
                message = input[..whole];
                input = input[whole..];
                return true;
            }
        }

        if (!Fill(ref input, BgpLimits.HeaderSize)) return false;
        fault = CheckHeader(_torn, out int length, Extended);
        if (fault != BgpFault.None) return Fault(fault, _torn);
        if (!Fill(ref input, length)) return false;
        message = _torn.AsSpan(0, length);
        _have = 0;
        return true;
    }

    /// <summary>Another connection begins: forgets a torn message, and what was agreed on.</summary>
    public void Clear()
    {
        _have = 0;
        Extended = false;
        if (_torn.Length > BgpLimits.MaxMessage) _torn = [];
    }

    /// <summary>Checks marker, length and type. At least 19 bytes must be there.</summary>
    /// <param name="header">The header.</param>
    /// <param name="length">Length of the message.</param>
    /// <param name="extended">Messages other than OPEN and KEEPALIVE may be up to 65535 bytes long (RFC 8654 4).</param>
    public static BgpFault CheckHeader(ReadOnlySpan<byte> header, out int length, bool extended = false)
    {
        length = BinaryPrimitives.ReadUInt16BigEndian(header[16..]);
        if (header[..16].ContainsAnyExcept((byte)0xFF)) return BgpFault.HeaderMarker;
        if (length < BgpLimits.HeaderSize || length > (extended && header[18] != (byte)BgpMessageType.Open ? BgpLimits.MaxExtended
            : BgpLimits.MaxMessage)) return BgpFault.HeaderLength;
        return (BgpMessageType)header[18] switch
        {
            BgpMessageType.Open when length < 29 => BgpFault.HeaderLength,
            BgpMessageType.Update when length < 23 => BgpFault.HeaderLength,
            BgpMessageType.Notification when length < 21 => BgpFault.NotificationLength,
            BgpMessageType.Keepalive when length != 19 => BgpFault.HeaderLength,
            < BgpMessageType.Open or > BgpMessageType.RouteRefresh => BgpFault.HeaderType,
            _ => BgpFault.None,
        };
    }

    private bool Fault(BgpFault fault, ReadOnlySpan<byte> header)
    {
        FaultData = fault switch
        {
            BgpFault.HeaderLength or BgpFault.NotificationLength => header.Slice(16, 2).ToArray(),
            BgpFault.HeaderType => header.Slice(18, 1).ToArray(),
            _ => default,
        };
        return false;
    }

    private bool Fill(ref ReadOnlySpan<byte> input, int until)
    {
        int take = Math.Min(until - _have, input.Length);
        if (take > 0)
        {
            if (_torn.Length < until) Array.Resize(ref _torn, until <= BgpLimits.MaxMessage ? BgpLimits.MaxMessage : BgpLimits.MaxExtended);
            input[..take].CopyTo(_torn.AsSpan(_have));
            input = input[take..];
            _have += take;
        }

        return _have >= until;
    }
}
