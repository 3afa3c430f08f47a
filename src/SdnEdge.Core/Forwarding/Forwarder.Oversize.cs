using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>Stage 5: what is larger than its way allows, and superpackets that must be taken apart.</summary>
public sealed unsafe partial class Forwarder
{
    // p is longer than mtu. True: it is a superpacket whose segments fit, so it may go on whole. False: it has been dealt with
    // (fragmented, split, or dropped and told).
    private bool FitsWhole(ref Packet p, ref PacketContext c, int mtu, Adjacency? adjacency, Tunnel? tunnel)
    {
        if (p.IsSuperpacket && SegmentBytes(p) <= mtu) return true;
        bool mayFragment = !c.IsV6 && (At.Load16(p.Data + At.V4Fragment) & At.V4Df) == 0 && mtu >= 68;
        if (!mayFragment)
        {
            DropAndTell(ref p, ref c, DropReason.TooBig, PuntReason.TooBig, Math.Max(mtu, 0));
            return false;
        }

        if (p.IsSuperpacket) Split(ref p, ref c, adjacency, tunnel);
        else Fragment(ref p, ref c, mtu, adjacency, tunnel);
        return false;
    }

    // IP bytes of the largest segment. OffloadFits has checked that the headers are there.
    private static int SegmentBytes(in Packet p)
    {
        int start = p.Vnet.CsumStart;
        int header = p.Vnet.CsumOffset == 16 ? (p.Data[start + 12] >> 4) * 4 : 8;
        return Math.Min(p.Length, start + header + p.Vnet.GsoSize);
    }

    // Takes a superpacket apart and sends each segment on: to the neighbour, into the tunnel, or (neither) out of its outer header.
    private void Split(ref Packet p, ref PacketContext c, Adjacency? adjacency, Tunnel? tunnel)
    {
        if (!Segmenter.TryBegin(p, 0, out SegmentJob job))
        {
            Drop(ref c, DropReason.OffloadInvalid);
            return;
        }

        _flow[(int)FlowField.Split] += job.SegmentCount - 1;
        while (!job.IsDone)
        {
            int first = MakeSegments(ref job);
            for (int i = first; i < _segments.Count; i++)
            {
                PacketContext each = c;
                each.Stripped = 0;
                Onwards(ref _segments[i], ref each, adjacency, tunnel);
            }
        }
    }

    private void Onwards(ref Packet p, ref PacketContext c, Adjacency? adjacency, Tunnel? tunnel, FibLeaf? leaf = null)
    {
        if (leaf is not null) Route(ref p, ref c, leaf);
        else if (adjacency is not null) ToNeighbor(ref p, ref c, adjacency);
        else if (tunnel is not null) Encapsulate(ref p, ref c, tunnel);
        else Decapsulate(ref p, ref c, udp: true);
    }

    // Fills the segment arena on; what stands in it may still be in a vector, so it is sent before the arena is used again.
    private int MakeSegments(ref SegmentJob job)
    {
        if (_segments.Count == PacketBatch.Capacity)
        {
            FlushTx();
            _segments.Count = 0;
        }

        int first = _segments.Count;
        job.Fill(_segments);
        return first;
    }

    // RFC 791 3.2. Each fragment carries the header; later ones only the options that say so (RFC 791 3.1).
    private void Fragment(ref Packet p, ref PacketContext c, int mtu, Adjacency? adjacency, Tunnel? tunnel, FibLeaf? leaf = null)
    {
        if (!Segmenter.CompleteChecksum(ref p))
        {
            Drop(ref c, DropReason.OffloadInvalid);
            return;
        }

        byte* ip = p.Data;
        int header = (ip[0] & 0xF) * 4;
        int word = At.Load16(ip + At.V4Fragment);
        int offset = (word & At.V4OffsetMask) * 8;
        int payload = p.Length - header;
        if (offset + payload > ushort.MaxValue)
        {
            Drop(ref c, DropReason.IpHeaderInvalid); // no datagram ends there
            return;
        }

        byte* later = stackalloc byte[60];
        int laterHeader = HeaderForLater(ip, header, later);
        int sent = 0;
        while (sent < payload)
        {
            int own = sent == 0 ? header : laterHeader;
            int room = (mtu - own) & ~7;
            bool last = payload - sent <= mtu - own;
            int bytes = last ? payload - sent : room;
            ref Packet fragment = ref NextFragment(own + bytes);
            byte* to = fragment.Data;
            Buffer.MemoryCopy(sent == 0 ? ip : later, to, own, own);
            Buffer.MemoryCopy(ip + header + sent, to + own, bytes, bytes);
            At.Store16(to + At.V4Total, own + bytes);
            At.Store16(to + At.V4Fragment, ((offset + sent) / 8) | (last ? word & At.V4Mf : At.V4Mf));
            At.FillChecksum(to, own);
            if (sent > 0) _flow[(int)FlowField.Split]++;
            sent += bytes;
            PacketContext each = c;
            each.L4 = own;
            each.Fragment = true;
            each.Stripped = 0;
            Onwards(ref fragment, ref each, adjacency, tunnel, leaf);
        }
    }

    // A tunnel's outer packet that is larger than its path: the router is its source, so it may fragment it in both families.
    private void FragmentOuter(ref Packet p, ref PacketContext c, int mtu, Tunnel tunnel, FibLeaf leaf)
    {
        uint identification = tunnel.NextIdentification();
        if (c.IsV6)
        {
            Fragment6(ref p, ref c, mtu, identification, leaf);
            return;
        }

        At.Store16(p.Data + 4, (ushort)identification);
        At.Store16(p.Data + At.V4Fragment, 0);
        At.FillChecksum(p.Data, At.V4Header);
        Fragment(ref p, ref c, mtu, null, null, leaf);
    }

    // RFC 8200 4.5, of a packet without extension headers.
    private void Fragment6(ref Packet p, ref PacketContext c, int mtu, uint identification, FibLeaf leaf)
    {
        const int header = At.V6Header, fragmentHeader = 8;
        byte* ip = p.Data;
        int payload = p.Length - header, room = (mtu - header - fragmentHeader) & ~7;
        for (int sent = 0; sent < payload; sent += room)
        {
            bool last = payload - sent <= room;
            int bytes = last ? payload - sent : room;
            ref Packet fragment = ref NextFragment(header + fragmentHeader + bytes);
            byte* to = fragment.Data;
            Buffer.MemoryCopy(ip, to, header, header);
            At.Store16(to + At.V6Payload, fragmentHeader + bytes);
            to[At.V6Next] = IpProtocol.Fragment;
            to[header] = ip[At.V6Next];
            to[header + 1] = 0;
            At.Store16(to + header + 2, sent | (last ? 0 : 1));
            At.Store32(to + header + 4, identification);
            Buffer.MemoryCopy(ip + header + sent, to + header + fragmentHeader, bytes, bytes);
            if (sent > 0) _flow[(int)FlowField.Split]++;
            PacketContext each = c;
            (each.L4, each.Fragment, each.Stripped) = (header + fragmentHeader, true, 0);
            Route(ref fragment, ref each, leaf);
        }
    }

    // The header without the options that are not copied. Returns its length.
    private static int HeaderForLater(byte* ip, int header, byte* to)
    {
        Buffer.MemoryCopy(ip, to, 60, At.V4Header);
        int length = At.V4Header;
        for (int at = At.V4Header; at < header;)
        {
            byte option = ip[at];
            if (option == 0) break;
            int bytes = option == 1 ? 1 : at + 1 < header ? ip[at + 1] : 0;
            if (bytes == 0 || at + bytes > header || (option != 1 && bytes < 2)) break; // broken: leave the rest out
            if (option != 1 && (option & 0x80) != 0)
            {
                Buffer.MemoryCopy(ip + at, to + length, 60 - length, bytes);
                length += bytes;
            }

            at += bytes;
        }

        while ((length & 3) != 0) to[length++] = 0;
        to[0] = (byte)(0x40 | (length / 4));
        return length;
    }

    private ref Packet NextFragment(int length)
    {
        if (_fragments.Count == PacketBatch.Capacity)
        {
            FlushTx();
            _fragments.Count = 0;
        }

        return ref _fragments.Reset(_fragments.Count++, length);
    }

    // Lowers the MSS option of a SYN so that its segments fit the tunnel (RFC 9293 3.7.1).
    private static void ClampMss(ref Packet p, ref PacketContext c, int mtu)
    {
        byte* ip = p.Data;
        int tcp, ipHeader;
        if (c.IsV6)
        {
            if (p.Length < At.V6Header || ip[At.V6Next] != IpProtocol.Tcp) return;
            tcp = ipHeader = At.V6Header;
        }
        else
        {
            if (p.Length < At.V4Header || ip[At.V4Protocol] != IpProtocol.Tcp
                || (At.Load16(ip + At.V4Fragment) & At.V4OffsetMask) != 0) return;
            tcp = (ip[0] & 0xF) * 4;
            ipHeader = At.V4Header;
            if (tcp < At.V4Header) return;
        }

        if (tcp + 20 > p.Length || (ip[tcp + 13] & (byte)TcpFlags.Syn) == 0) return;
        int limit = Math.Clamp(mtu - ipHeader - 20, 64, ushort.MaxValue);
        TcpOptions.ClampMss(new Span<byte>(ip + tcp, p.Length - tcp), (ushort)limit, checksumIsPartial: p.Vnet.Flags != 0);
    }
}
