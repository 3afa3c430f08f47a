using System.Runtime.InteropServices;
using SdnEdge.Core.Forwarding;

namespace SdnEdge.Linux;

/// <summary>The packet path of a TAP: see the steps at <see cref="TapPort"/>.</summary>
public sealed unsafe partial class TapPort
{
    // From so many packets on one call for all is cheaper than one for each.
    private const int RingFrom = 8;

    private const int ReadLimit = VnetHeader.Size + PacketBatch.MaxFrameBytes;

    // False once this kernel has shown that it cannot do what the ring asks of a TAP.
    private volatile bool _batched;

    // The number by which rings know the port; -1 when there are more ports than numbers.
    private readonly int _number = Numbers.Take();

    // What the last Receive brought: where many came, many more wait.
    private int _lastBurst;

    /// <inheritdoc/>
    public int Receive(PacketBatch batch)
    {
        batch.Count = 0;
        long bytes = 0;
        BatchRing? ring = Ring();
        int single = ring is null ? PacketBatch.Capacity : _lastBurst >= PacketBatch.Capacity / 2 ? 0 : RingFrom;
        int slot = 0;
        bool more = true;
        for (; more && slot < single; slot++)
        {
            nint got = Libc.ReadPacket(_fd, batch.FrameBuffer(slot) - VnetHeader.Size, ReadLimit);
            more = Received(batch, slot, got >= 0 ? (int)got : -Marshal.GetLastPInvokeError(), ref bytes);
        }

        if (more && slot < PacketBatch.Capacity) ReceiveByRing(ring!, batch, slot, ref bytes);
        _lastBurst = batch.Count;
        if (batch.Count > 0) Counters.Received(batch.Count, bytes);
        return batch.Count;
    }

    /// <inheritdoc/>
    public int Transmit(ReadOnlySpan<Packet> packets)
    {
        BatchRing? ring = packets.Length >= RingFrom ? Ring() : null;
        int taken = 0;
        long bytes = 0;
        if (ring is null) TransmitSingly(packets, ref taken, ref bytes);
        else TransmitByRing(ring, packets, ref taken, ref bytes);
        if (taken > 0) Counters.Transmitted(taken, bytes);
        return taken;
    }

    private BatchRing? Ring() =>
        _batched && _number >= 0 && !_gone && BatchRing.OfThisThread is { } ring && ring.Know(_number, _fd) ? ring : null;

    private void ReceiveByRing(BatchRing ring, PacketBatch batch, int from, ref long bytes)
    {
        for (int slot = from; slot < PacketBatch.Capacity; slot++) ring.Read(_number, batch.FrameBuffer(slot) - VnetHeader.Size, ReadLimit);
        if (!ring.Run())
        {
            _batched = false;
            return;
        }

        // A packet may have come between two reads, so one that found nothing does not end the batch.
        for (int slot = from; slot < PacketBatch.Capacity; slot++)
        {
            int result = ring.Result(slot - from);
            if (result is -Errno.EOPNOTSUPP or -Errno.EINVAL)
            {
                _batched = false;
                return;
            }

            Received(batch, slot, result, ref bytes);
            if (_gone) return;
        }
    }

    /// <summary>Takes in what a read into a slot gave. Returns whether to go on reading.</summary>
    private bool Received(PacketBatch batch, int slot, int result, ref long bytes)
    {
        if (result < 0)
        {
            if (result is -Errno.EAGAIN) return false;
            if (result is -Errno.EINTR) return true;
            Counters.ReceiveFailed();
            if (result is -Errno.EBADFD or -Errno.EBADF) _gone = true;
            return false;
        }

        // A frame that fills the buffer to the last byte was cut: the kernel does not say so otherwise.
        if (result is <= VnetHeader.Size or ReadLimit)
        {
            Counters.ReceiveTruncated();
            return true;
        }

        byte* frame = batch.FrameBuffer(slot);
        ref Packet packet = ref batch.Reset(batch.Count, result - VnetHeader.Size);
        packet.Data = frame;
        packet.Vnet = *(VnetHeader*)(frame - VnetHeader.Size);
        batch.Count++;
        bytes += packet.Length;
        return true;
    }

    private void TransmitByRing(BatchRing ring, ReadOnlySpan<Packet> packets, ref int taken, ref long bytes)
    {
        int first = 0;
        for (int i = 0; i <= packets.Length; i++)
        {
            if (i < packets.Length && packets[i].Headroom >= VnetHeader.Size && ring.Count < BatchRing.Capacity)
            {
                byte* start = PutHeader(in packets[i]);
                ring.Write(_number, start, VnetHeader.Size + packets[i].Length);
                continue;
            }

            // The end, a full ring, or a packet that needs another way: all before it must go first.
            int count = ring.Count;
            if (count > 0 && !ring.Run())
            {
                _batched = false;
                TransmitSingly(packets[first..], ref taken, ref bytes);
                return;
            }

            for (int k = 0; k < count; k++)
            {
                int result = ring.Result(k);
                if (k == 0 && result is -Errno.EOPNOTSUPP)
                {
                    _batched = false;
                    TransmitSingly(packets[first..], ref taken, ref bytes);
                    return;
                }

                Transmitted(result, packets[first + k].Length, ref taken, ref bytes);
            }

            first = i;
            if (i == packets.Length) return;
            if (packets[i].Headroom >= VnetHeader.Size)
            {
                i--;
                continue;
            }

            TransmitSingly(packets.Slice(i, 1), ref taken, ref bytes);
            first = i + 1;
        }
    }

    private void TransmitSingly(ReadOnlySpan<Packet> packets, ref int taken, ref long bytes)
    {
        for (int i = 0; i < packets.Length; i++)
        {
            ref readonly Packet packet = ref packets[i];
            int result;
            do
            {
                nint sent = packet.Headroom >= VnetHeader.Size
                    ? Libc.WritePacket(_fd, PutHeader(in packet), VnetHeader.Size + packet.Length)
                    : WriteInTwo(in packet);
                result = sent >= 0 ? (int)sent : -Marshal.GetLastPInvokeError();
            }
            while (result == -Errno.EINTR);

            Transmitted(result, packet.Length, ref taken, ref bytes);

            // A device that is down or gone takes none of the rest either; a frame the kernel finds bad says nothing about the next.
            if (result is not (-Errno.EIO or -Errno.EBADFD or -Errno.EBADF)) continue;
            Counters.TransmitFailed(packets.Length - i - 1);
            return;
        }
    }

    /// <summary>Accounts for what a write gave.</summary>
    private void Transmitted(int result, int length, ref int taken, ref long bytes)
    {
        if (result >= 0)
        {
            taken++;
            bytes += length;
        }
        else if (result is -Errno.EAGAIN or -Errno.ENOBUFS)
        {
            Counters.TransmitBusy(1);
        }
        else
        {
            Counters.TransmitFailed(1);
            if (result is -Errno.EBADFD or -Errno.EBADF) _gone = true;
        }
    }

    /// <summary>Writes the virtio header before the frame, and returns where it starts.</summary>
    private static byte* PutHeader(ref readonly Packet packet)
    {
        byte* start = packet.Data - VnetHeader.Size;
        *(VnetHeader*)start = packet.Vnet;
        return start;
    }

    private nint WriteInTwo(ref readonly Packet packet)
    {
        VnetHeader header = packet.Vnet;
        Libc.IoVector* vectors = stackalloc Libc.IoVector[2];
        vectors[0] = new Libc.IoVector { Base = &header, Length = VnetHeader.Size };
        vectors[1] = new Libc.IoVector { Base = packet.Data, Length = packet.Length };
        return Libc.WriteV(_fd, vectors, 2);
    }

    /// <summary>Numbers of ports, each given out once at a time.</summary>
    private static class Numbers
    {
        private static readonly Lock Guard = new();
        private static ulong _taken;

        public static int Take()
        {
            lock (Guard)
            {
                int number = System.Numerics.BitOperations.TrailingZeroCount(~_taken);
                if (number >= BatchRing.MaxFiles) return -1;
                _taken |= 1UL << number;
                return number;
            }
        }

        public static void Return(int number)
        {
            lock (Guard) _taken &= ~(1UL << number);
        }
    }
}
