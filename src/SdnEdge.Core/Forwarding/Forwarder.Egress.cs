using System.Runtime.CompilerServices;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>Stage 6: TTL, neighbour, Ethernet header, and the vector of the port.</summary>
public sealed unsafe partial class Forwarder
{
    private void ToNeighbor(ref Packet p, ref PacketContext c, Adjacency adjacency)
    {
        PortEntry port = adjacency.Port;
        bool routed = !c.Own && !port.IsHost; // to and from its own kernel the router is one node
        if (routed && TtlOf(p, c) <= 1)
        {
            DropAndTell(ref p, ref c, DropReason.TtlExpired, PuntReason.TtlExpired);
            return;
        }

        if (p.Length > port.Mtu && !FitsWhole(ref p, ref c, port.Mtu, adjacency, null)) return;
        if (routed) DecrementTtl(ref p, ref c);
        if (adjacency.Rewrite is { } rewrite) Append(ref p, ref c, rewrite, port);
        else WaitFor(ref p, ref c, adjacency);
    }

    private static int TtlOf(in Packet p, in PacketContext c) => p.Data[c.IsV6 ? At.V6Hops : At.V4Ttl];

    // IPv4: the checksum is adapted, not computed anew: HC' = ~(~HC + ~m + m'), where m' = m - 0x0100 (RFC 1624 equation 3).
    private static void DecrementTtl(ref Packet p, ref PacketContext c)
    {
        byte* ip = p.Data;
        if (c.IsV6)
        {
            ip[At.V6Hops]--;
            return;
        }

        ip[At.V4Ttl]--;
        uint sum = (ushort)~At.Load16(ip + At.V4Checksum) + 0xFEFFu;
        At.Store16(ip + At.V4Checksum, (int)~(sum + (sum >> 16)));
    }

    // p.Data is the IP header. Puts the Ethernet header before it and the frame into the port's vector.
    private void Append(ref Packet p, ref PacketContext c, L2Rewrite rewrite, PortEntry port)
    {
        if ((p.Vnet.Flags | p.Vnet.GsoType) != 0)
        {
            if (!port.SegmentsForUs)
            {
                AppendInSoftware(ref p, ref c, rewrite, port);
                return;
            }

            p.Vnet.CsumStart += (ushort)rewrite.HeaderBytes;
            p.Vnet.HdrLen = 0;
        }

        int header = rewrite.HeaderBytes;
        if (p.Headroom < header)
        {
            Drop(ref c, DropReason.TunnelLoop);
            return;
        }

        p.Prepend(header);
        byte* frame = p.Data;
        Unsafe.WriteUnaligned(frame, rewrite.First);
        Unsafe.WriteUnaligned(frame + 8, rewrite.Second);
        int type = c.IsV6 ? EtherType.Ipv6 : EtherType.Ipv4;
        if (rewrite.Vlan != 0)
        {
            At.Store16(frame + 12, EtherType.Vlan);
            At.Store16(frame + 14, rewrite.Vlan);
        }

        At.Store16(frame + header - 2, type);
        Enqueue(ref c, ref p, port);
    }

    // The device cannot segment nor complete checksums.
    private void AppendInSoftware(ref Packet p, ref PacketContext c, L2Rewrite rewrite, PortEntry port)
    {
        if (!p.IsSuperpacket)
        {
            if (Segmenter.CompleteChecksum(ref p)) Append(ref p, ref c, rewrite, port);
            else Drop(ref c, DropReason.OffloadInvalid);
            return;
        }

        if (!Segmenter.TryBegin(p, 0, out SegmentJob job))
        {
            Drop(ref c, DropReason.OffloadInvalid);
            return;
        }

        _flow[(int)FlowField.Split] += job.SegmentCount - 1;
        while (!job.IsDone)
        {
            int first = MakeSegments(ref job);
            for (int i = first; i < _segments.Count; i++) Append(ref _segments[i], ref c, rewrite, port);
        }
    }

    private void Enqueue(ref PacketContext c, ref Packet p, PortEntry port)
    {
        PortEntry wire = port.Options.Parent ?? port;
        int index = wire.Index;
        if ((uint)index >= (uint)_tx.Length || !ReferenceEquals(_tx[index].Port, wire))
        {
            // Added in the middle of this batch, or gone.
            FlushTx();
            TakePorts(_plane.PortArray);
            if ((uint)index >= (uint)_tx.Length || !ReferenceEquals(_tx[index].Port, wire))
            {
                Drop(ref c, DropReason.PortDown);
                return;
            }
        }

        if (!port.Up)
        {
            Drop(ref c, DropReason.PortDown);
            return;
        }

        TxVector vector = _tx[index];
        if (vector.IsFull) Flush(vector);
        if (!vector.IsDirty)
        {
            vector.IsDirty = true;
            _dirty[_dirtyCount++] = index;
        }

        vector.Add(p);
    }

    private void FlushTx()
    {
        for (int i = 0; i < _dirtyCount; i++)
        {
            TxVector vector = _tx[_dirty[i]];
            vector.IsDirty = false;
            if (vector.Count > 0) Flush(vector);
        }

        _dirtyCount = 0;
    }

    private void Flush(TxVector vector)
    {
        ReadOnlySpan<Packet> packets = vector.Packets;
        PortEntry port = vector.Port!;
        int sent = Math.Clamp(port.Device.Transmit(packets), 0, packets.Length);
        long bytes = 0;
        for (int i = 0; i < sent; i++) bytes += packets[i].Length;
        port.Counters.Add(_worker, PortEntry.TxPacketsField, sent);
        port.Counters.Add(_worker, PortEntry.TxBytesField, bytes);
        _flow[(int)FlowField.Transmitted] += sent;
        _drops[(int)DropReason.TransmitFailed] += packets.Length - sent;
        vector.Clear();
    }
}
