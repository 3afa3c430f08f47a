using System.Buffers.Binary;

namespace SdnEdge.Core.Wire;

/// <summary>What a <see cref="FlushMarker"/> says besides who sends it.</summary>
[Flags]
public enum FlushMarkerFlags : byte
{
    /// <summary>Sent down the old path, behind the last packet that took it.</summary>
    None = 0,

    /// <summary>The sender had no old path: nothing of its own can still be under way. Sent by the new path.</summary>
    NoOldPath = 1,

    /// <summary>From the source of an armed backup to its target, behind the last packet in the tunnel: it was a false alarm, give back
    /// what you hold. <see cref="FlushMarker.MovedAtNs"/> tells one request from another.</summary>
    GiveBack = 2,

    /// <summary>The answer, behind the last packet that was held; with the number of the request.</summary>
    NothingHeld = 4,
}

/// <summary>
/// The last packet of an ingress PE on the old path of a moving prefix (docs/decisions/0006). It is addressed to the prefix
/// itself, so that it takes exactly the way of the data: over the core to the source PE, through the migration tunnel, to
/// the target PE, which takes it out and knows that nothing of this ingress is still behind it. A UDP datagram; its body:
/// <code>
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// |                            magic                              |
/// |    version    |     flags     |            zero               |
/// |                             tag                               |
/// |                            moved                              |
/// |                                                               |
/// |                          moved at                             |
/// </code>
/// The sender is the packet's source address: a loopback of the ingress PE, or what stands for it in a VRF
/// (<see cref="Migration.MarkerSender"/>).
/// </summary>
/// <param name="Tag">Tag of the move, as the route to the prefix carried it.</param>
/// <param name="Moved">Prefixes of the move and of the packet's address family that the sender has moved to the new path so far.</param>
/// <param name="MovedAtNs">When the last of them was moved: CLOCK_MONOTONIC of the sender, nanoseconds.</param>
/// <param name="Flags">Flags.</param>
public readonly record struct FlushMarker(uint Tag, uint Moved, long MovedAtNs, FlushMarkerFlags Flags = FlushMarkerFlags.None)
{
    /// <summary>UDP port, source and destination; of the range for private use (RFC 6335 6).</summary>
    public const ushort Port = 49355;

    /// <summary>Bytes of the body.</summary>
    public const int BodyBytes = 24;

    /// <summary>The first four bytes of the body.</summary>
    internal const uint Magic = 0x5DE6_F1A5;

    /// <summary>Where in the body its flags stand.</summary>
    internal const int FlagsOffset = 5;

    /// <summary>Flags that are between the two ends of a tunnel: nobody else's marker may have them.</summary>
    public const FlushMarkerFlags BetweenEnds = FlushMarkerFlags.GiveBack | FlushMarkerFlags.NothingHeld;

    private const byte Version = 1;

    /// <summary>The whole IP packet: TTL 255, best effort class, as the data that it follows is.</summary>
    /// <param name="from">Loopback of the sender.</param>
    /// <param name="to">An address of the prefix, of the same family.</param>
    public byte[] ToPacket(IpAddress from, IpAddress to)
    {
        int ip = from.IsV4 ? Ipv4Header.Size : Ipv6Header.Size;
        byte[] packet = new byte[ip + UdpHeader.Size + BodyBytes];
        Span<byte> body = packet.AsSpan(ip + UdpHeader.Size);
        BinaryPrimitives.WriteUInt32BigEndian(body, Magic);
        body[4] = Version;
        body[FlagsOffset] = (byte)Flags;
        BinaryPrimitives.WriteUInt32BigEndian(body[8..], Tag);
        BinaryPrimitives.WriteUInt32BigEndian(body[12..], Moved);
        BinaryPrimitives.WriteInt64BigEndian(body[16..], MovedAtNs);
        new UdpHeader(Port, Port).Emit(packet.AsSpan(ip), from, to);
        if (from.IsV4) new Ipv4Header(from, to, IpProtocol.Udp, 255).Emit(packet, UdpHeader.Size + BodyBytes);
        else new Ipv6Header(from, to, IpProtocol.Udp, 255).Emit(packet, UdpHeader.Size + BodyBytes);
        return packet;
    }

    /// <summary>Reads an IP packet; false when it is no sound marker.</summary>
    public static bool TryParse(ReadOnlySpan<byte> packet, out FlushMarker marker, out IpAddress from, out IpAddress to)
    {
        marker = default;
        from = to = default;
        if (!IpPacketView.TryParse(packet, out IpPacketView ip) || ip.Protocol != IpProtocol.Udp || ip.IsFragment) return false;
        if (!UdpView.TryParse(ip.Payload, out UdpView udp) || udp.DestinationPort != Port
            || !udp.ChecksumIsValid(ip.Source, ip.Destination)) return false;
        ReadOnlySpan<byte> body = udp.Payload;
        if (body.Length < BodyBytes || BinaryPrimitives.ReadUInt32BigEndian(body) != Magic || body[4] != Version) return false;
        marker = new FlushMarker(BinaryPrimitives.ReadUInt32BigEndian(body[8..]), BinaryPrimitives.ReadUInt32BigEndian(body[12..]),
            BinaryPrimitives.ReadInt64BigEndian(body[16..]), (FlushMarkerFlags)body[FlagsOffset]);
        (from, to) = (ip.Source, ip.Destination);
        return true;
    }
}
