using System.Buffers.Binary;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>
/// Does in software what a device with segmentation and checksum offload would do.
/// <list type="number">
/// <item><see cref="TryBegin(in Packet, out SegmentJob)"/> reads the headers itself and refuses offload metadata that does
/// not fit them; the <c>hdr_len</c> hint is never looked at.</item>
/// <item><see cref="SegmentJob.Fill"/> copies headers and one piece of payload per segment into the caller's batch, with the
/// batch's headroom before each, and writes lengths, IPv4 identification, TCP sequence and flags, and whole checksums.</item>
/// <item><see cref="CompleteChecksum"/> finishes a single frame that came with a pseudo-header sum only.</item>
/// </list>
/// No allocation. Nothing outside the given frames is read or written, whatever they hold.
/// </summary>
public static class Segmenter
{
    /// <summary>
    /// Most segments a superpacket may stand for. 64 KiB at TCP's least sensible segment (88 bytes) is 745; a gso_size of 1
    /// would turn one frame into 65 thousand.
    /// </summary>
    public const int MaxSegments = 1024;

    private const byte TcpFlagFin = 0x01, TcpFlagPsh = 0x08, TcpFlagCwr = 0x80;

    /// <summary>
    /// Starts splitting an Ethernet superpacket (up to two VLAN tags). False when the offload metadata does not fit the frame
    /// (<see cref="DropReason.OffloadInvalid"/>), or the frame is no superpacket. Nothing has been written then.
    /// </summary>
    public static bool TryBegin(in Packet packet, out SegmentJob job)
    {
        job = default;
        return EthernetHeaderLength(packet.Span, out int l3) && TryBegin(packet, l3, out job);
    }

    /// <summary>As the other, for a frame whose IP header starts <paramref name="l3Offset"/> bytes from its start.</summary>
    public static bool TryBegin(in Packet packet, int l3Offset, out SegmentJob job)
    {
        job = default;
        ReadOnlySpan<byte> frame = packet.Span;
        VnetHeader vnet = packet.Vnet;
        if (vnet.GsoSize == 0 || (uint)l3Offset > (uint)frame.Length) return false;

        // 1. Layer 3: version, lengths, and the offset of the transport header.
        ReadOnlySpan<byte> ip = frame[l3Offset..];
        if (ip.Length < 20) return false;
        bool v6 = ip[0] >> 4 == 6;
        int l4, end;
        byte protocol;
        if (v6)
        {
            if (ip.Length < 40) return false;
            int payload = BinaryPrimitives.ReadUInt16BigEndian(ip[4..]);
            end = 40 + payload;
            if (payload == 0 || end > ip.Length) return false;
            if (!Transport6(ip[..end], out l4, out protocol)) return false;
        }
        else
        {
            if (ip[0] >> 4 != 4) return false;
            l4 = (ip[0] & 0xF) * 4;
            end = BinaryPrimitives.ReadUInt16BigEndian(ip[2..]);
            if (l4 < 20 || end < l4 || end > ip.Length) return false;
            if ((BinaryPrimitives.ReadUInt16BigEndian(ip[6..]) & 0x3FFF) != 0) return false; // a fragment has no transport header to copy
            protocol = ip[9];
        }

        // 2. Layer 4: the GSO type must name what is there.
        int type = vnet.GsoType & ~VnetHeader.GsoEcn;
        int l4Header, checksumOffset;
        ReadOnlySpan<byte> transport = ip[l4..end];
        if (type == (v6 ? VnetHeader.GsoTcpV6 : VnetHeader.GsoTcpV4) && protocol == IpProtocol.Tcp)
        {
            if (transport.Length < 20) return false;
            l4Header = (transport[12] >> 4) * 4;
            if (l4Header < 20 || l4Header > transport.Length) return false;
            checksumOffset = 16;
        }
        else if (type == VnetHeader.GsoUdpL4 && protocol == IpProtocol.Udp)
        {
            if (transport.Length < 8 || BinaryPrimitives.ReadUInt16BigEndian(transport[4..]) != transport.Length) return false;
            l4Header = 8;
            checksumOffset = 6;
        }
        else
        {
            return false;
        }

        if ((vnet.Flags & VnetHeader.NeedsCsum) != 0
            && (vnet.CsumStart != l3Offset + l4 || vnet.CsumOffset != checksumOffset)) return false;

        // 3. The count must be sane, and a segment must fit a slot of the destination.
        int bytes = transport.Length - l4Header;
        int segments = Math.Max(1, (bytes + vnet.GsoSize - 1) / vnet.GsoSize);
        if (segments > MaxSegments) return false;

        job = new SegmentJob(packet, l3Offset, l4, l4Header, end, v6, protocol == IpProtocol.Tcp, segments);
        if (l3Offset + job.LargestIpBytes <= PacketBatch.MaxFrameBytes) return true;
        job = default;
        return false;
    }

    /// <summary>
    /// Completes the checksum of an ordinary frame with <see cref="VnetHeader.NeedsCsum"/> and clears the offload state; true at
    /// once when there is nothing to do. False, frame untouched, when the frame is a superpacket or the offsets lie outside it
    /// (<see cref="DropReason.OffloadInvalid"/>).
    /// </summary>
    public static bool CompleteChecksum(ref Packet packet)
    {
        VnetHeader vnet = packet.Vnet;
        if (packet.IsSuperpacket) return false;
        if ((vnet.Flags & VnetHeader.NeedsCsum) == 0) return true;
        Span<byte> frame = packet.Span;
        int start = vnet.CsumStart;
        int field = start + vnet.CsumOffset;
        if (field + 2 > frame.Length) return false;

        // The field holds the folded pseudo-header sum, so summing across it includes that. Zero is written as 0xFFFF, which is
        // the same number for TCP and the only right one for UDP.
        ushort checksum = Checksum.FinishUdp(Checksum.Sum(frame[start..]));
        BinaryPrimitives.WriteUInt16BigEndian(frame[field..], checksum);
        packet.Vnet = default;
        return true;
    }

    /// <summary>Bytes before layer 3 in an IP-carrying Ethernet frame with zero, one or two VLAN tags.</summary>
    internal static bool EthernetHeaderLength(ReadOnlySpan<byte> frame, out int length)
    {
        length = 14;
        if (frame.Length < 14) return false;
        int type = BinaryPrimitives.ReadUInt16BigEndian(frame[12..]);
        for (int tags = 0; tags < 2 && type is EtherType.Vlan or EtherType.ServiceVlan; tags++)
        {
            length += 4;
            if (frame.Length < length) return false;
            type = BinaryPrimitives.ReadUInt16BigEndian(frame[(length - 2)..]);
        }

        return type is EtherType.Ipv4 or EtherType.Ipv6;
    }

    // Walks hop-by-hop, routing and destination options; anything else that is not TCP or UDP ends the walk (RFC 8200 4).
    private static bool Transport6(ReadOnlySpan<byte> ip, out int offset, out byte protocol)
    {
        protocol = ip[6];
        offset = 40;
        while (protocol is IpProtocol.HopByHop or IpProtocol.Routing or IpProtocol.DestinationOptions)
        {
            if (offset + 8 > ip.Length) return false;
            // With segments left the checksum covers the final destination, which is not the one in the header (RFC 8200 8.1).
            if (protocol == IpProtocol.Routing && ip[offset + 3] != 0) return false;
            protocol = ip[offset];
            offset += 8 + (ip[offset + 1] * 8);
            if (offset > ip.Length) return false;
        }

        return true;
    }

    internal static void PatchTcpFlags(ref byte flags, bool first, bool last)
    {
        if (!first) flags &= unchecked((byte)~TcpFlagCwr);
        if (!last) flags &= unchecked((byte)~(TcpFlagFin | TcpFlagPsh));
    }
}

/// <summary>
/// A superpacket on its way into segments. Holds a pointer into the superpacket's buffer, which must stay as it is, and
/// outside the destination batch, until <see cref="IsDone"/>. Made by <see cref="Segmenter"/>.
/// </summary>
public struct SegmentJob
{
    private readonly Packet _packet;
    private readonly int _l3, _l4, _l4Header, _ipLength;
    private readonly bool _v6, _tcp;
    private int _next;

    internal SegmentJob(in Packet packet, int l3, int l4, int l4Header, int ipLength, bool v6, bool tcp, int segments)
    {
        (_packet, _l3, _l4, _l4Header, _ipLength, _v6, _tcp) = (packet, l3, l4, l4Header, ipLength, v6, tcp);
        SegmentCount = segments;
    }

    /// <summary>Segments the superpacket stands for, 1 to <see cref="Segmenter.MaxSegments"/>.</summary>
    public int SegmentCount { get; }

    /// <summary>True when every segment has been written (also for <c>default</c>).</summary>
    public readonly bool IsDone => _next >= SegmentCount;

    /// <summary>Bytes of IP packet in the largest segment: what must fit the egress MTU.</summary>
    public readonly int LargestIpBytes => Math.Min(_ipLength, _l4 + _l4Header + _packet.Vnet.GsoSize);

    /// <summary>
    /// Appends segments to <paramref name="destination"/> until it is full or all are written; returns how many were appended.
    /// Each is an ordinary frame with whole checksums. Call again with an emptied batch until <see cref="IsDone"/>.
    /// </summary>
    public int Fill(PacketBatch destination)
    {
        int appended = 0;
        while (!IsDone && destination.Count < PacketBatch.Capacity)
        {
            int index = destination.Count;
            int payload = PayloadOf(_next);
            ref Packet segment = ref destination.Reset(index, _l3 + _l4 + _l4Header + payload);
            Write(segment.Span, _next, payload);
            destination.Count = index + 1;
            _next++;
            appended++;
        }

        return appended;
    }

    private readonly int PayloadOf(int segment)
    {
        int size = _packet.Vnet.GsoSize;
        return Math.Min(size, _ipLength - _l4 - _l4Header - (segment * size));
    }

    private readonly void Write(Span<byte> to, int segment, int payload)
    {
        ReadOnlySpan<byte> from = _packet.Span;
        int headers = _l3 + _l4 + _l4Header;
        int sent = segment * _packet.Vnet.GsoSize;
        from[..headers].CopyTo(to);
        from.Slice(headers + sent, payload).CopyTo(to[headers..]);

        Span<byte> ip = to[_l3..];
        Span<byte> l4 = ip[_l4..];
        uint pseudo;
        if (_v6)
        {
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)(ip.Length - 40));
            pseudo = Checksum.PseudoV6(ip.Slice(8, 32), _tcp ? IpProtocol.Tcp : IpProtocol.Udp, l4.Length);
        }
        else
        {
            BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)ip.Length);
            ushort id = BinaryPrimitives.ReadUInt16BigEndian(ip[4..]);
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)(id + segment));
            BinaryPrimitives.WriteUInt16BigEndian(ip[10..], 0);
            BinaryPrimitives.WriteUInt16BigEndian(ip[10..], Checksum.Compute(ip[.._l4]));
            pseudo = Checksum.PseudoV4(BinaryPrimitives.ReadUInt32BigEndian(ip[12..]), BinaryPrimitives.ReadUInt32BigEndian(ip[16..]),
                _tcp ? IpProtocol.Tcp : IpProtocol.Udp, l4.Length);
        }

        if (_tcp)
        {
            uint sequence = BinaryPrimitives.ReadUInt32BigEndian(l4[4..]);
            BinaryPrimitives.WriteUInt32BigEndian(l4[4..], sequence + (uint)sent);
            Segmenter.PatchTcpFlags(ref l4[13], segment == 0, segment == SegmentCount - 1);
            BinaryPrimitives.WriteUInt16BigEndian(l4[16..], 0);
            BinaryPrimitives.WriteUInt16BigEndian(l4[16..], Checksum.Finish(Checksum.Sum(l4, pseudo)));
        }
        else
        {
            BinaryPrimitives.WriteUInt16BigEndian(l4[4..], (ushort)l4.Length);
            BinaryPrimitives.WriteUInt16BigEndian(l4[6..], 0);
            BinaryPrimitives.WriteUInt16BigEndian(l4[6..], Checksum.FinishUdp(Checksum.Sum(l4, pseudo)));
        }
    }
}
