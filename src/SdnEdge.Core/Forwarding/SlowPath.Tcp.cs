using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <content>TCP to an address of the router where no kernel listens: every port is closed there.</content>
public sealed partial class SlowPath
{
    /// <summary>Answers a segment of no connection as RFC 9293 3.10.7.1 says: with a reset, and a reset with nothing.</summary>
    private SlowPathVerdict Refuse(in IpPacketView ip, int vrf, SlowPathPort? ingress, ReadOnlySpan<byte> frame, long now,
        SlowPathActions actions)
    {
        if (!TcpView.TryParse(ip.Payload, out TcpView tcp)) return SlowPathVerdict.Malformed;
        if ((tcp.Flags & TcpFlags.Rst) != 0) return SlowPathVerdict.Ignored;

        // A long one may have been cut: its length counts all the same, its checksum cannot be seen.
        int length = ip.WireLength - (ip.Bytes.Length - ip.Payload.Length);
        if (length == ip.Payload.Length && !tcp.ChecksumIsValid(ip.Source, ip.Destination)) return SlowPathVerdict.BadChecksum;
        if (!_unreachables.TryTake(now)) return SlowPathVerdict.RateLimited;

        bool acknowledges = (tcp.Flags & TcpFlags.Ack) != 0;
        uint used = (uint)(length - tcp.HeaderLength) + ((tcp.Flags & TcpFlags.Syn) != 0 ? 1u : 0)
            + ((tcp.Flags & TcpFlags.Fin) != 0 ? 1u : 0);
        TcpHeader reset = acknowledges
            ? new(tcp.DestinationPort, tcp.SourcePort, tcp.Acknowledgement, 0, TcpFlags.Rst, 0)
            : new(tcp.DestinationPort, tcp.SourcePort, 0, tcp.Sequence + used, TcpFlags.Rst | TcpFlags.Ack, 0);
        Span<byte> message = OwnPacket(
            ip.Destination, ip.Source, IpProtocol.Tcp, InternetworkControl, TcpHeader.Size, vrf, ingress, frame, actions);
        if (message.IsEmpty) return SlowPathVerdict.NoSourceAddress;
        reset.Emit(message, ip.Destination, ip.Source);
        return SlowPathVerdict.Answered;
    }
}
