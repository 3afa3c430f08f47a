using System.Buffers.Binary;
using System.Runtime.InteropServices;
using SdnEdge.Core.Forwarding;

namespace SdnEdge.Linux;

/// <summary>How a packet socket is opened.</summary>
public sealed record PacketSocketOptions
{
    /// <summary>Bytes of receive buffer (counted with the kernel's overhead of about a KiB a packet).</summary>
    public int ReceiveBufferBytes { get; init; } = 64 << 20;

    /// <summary>Bytes of send buffer.</summary>
    public int SendBufferBytes { get; init; } = 16 << 20;

    /// <summary>Does not receive what this machine itself sends out of the device.</summary>
    public bool IgnoreOutgoing { get; init; } = true;

    /// <summary>Stamps each frame with the time the kernel received it.</summary>
    public bool Timestamps { get; init; }

    /// <summary>Sends past the device's queueing discipline.</summary>
    public bool BypassQueueing { get; init; }

    /// <summary>Receives frames to any MAC address.</summary>
    public bool Promiscuous { get; init; } = true;
}

/// <summary>
/// A device's frames through AF_PACKET, as a port, up to 64 a call. Superpackets and partial checksums pass as they are
/// (PACKET_VNET_HDR); a VLAN tag that the kernel took off is put back.
/// </summary>
public sealed unsafe class PacketSocket : IFdPort
{
    private const int ControlBytes = 96;
    private const int VlanTagBytes = 4;

    private readonly Libc.MultiMessage* _receive;
    private readonly Libc.MultiMessage* _send;
    private readonly Libc.IoVector* _vectors;
    private readonly byte* _control;
    private readonly long[] _timestamps = new long[PacketBatch.Capacity];
    private readonly Lock _sendLock = new();
    private int _fd;
    private volatile bool _gone;
    private long _clockOffset;
    private long _clockOffsetAt;
    private long _kernelDrops;

    private PacketSocket(string name, int fd)
    {
        Name = name;
        _fd = fd;
        _receive = (Libc.MultiMessage*)NativeMemory.AllocZeroed(2 * PacketBatch.Capacity, (nuint)sizeof(Libc.MultiMessage));
        _send = _receive + PacketBatch.Capacity;
        // One vector a frame received, two a frame sent (header, frame) of which the header is in _headers.
        _vectors = (Libc.IoVector*)NativeMemory.AllocZeroed(3 * PacketBatch.Capacity, (nuint)sizeof(Libc.IoVector));
        _control = (byte*)NativeMemory.AllocZeroed(PacketBatch.Capacity, ControlBytes);
        for (int i = 0; i < PacketBatch.Capacity; i++)
        {
            _receive[i].Header.Vectors = _vectors + i;
            _receive[i].Header.VectorCount = 1;
            _receive[i].Header.Control = _control + (i * ControlBytes);
            _send[i].Header.Vectors = _vectors + PacketBatch.Capacity + (2 * i);
        }
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public bool SegmentsForUs => true;

    /// <inheritdoc/>
    public int Fd => _fd;

    /// <inheritdoc/>
    public bool IsGone => _gone;

    /// <inheritdoc/>
    public PortCounters Counters { get; } = new();

    /// <summary>
    /// When the kernel received each frame of the last <see cref="Receive"/>, in ns of <see cref="Monotonic"/>; 0 without
    /// <see cref="PacketSocketOptions.Timestamps"/>.
    /// </summary>
    public ReadOnlySpan<long> Timestamps => _timestamps;

    /// <summary>Frames the kernel dropped so far because the receive buffer was full.</summary>
    public long KernelDrops
    {
        get
        {
            // Reading takes the kernel's count away, so it is summed here.
            IfPacket.Statistics statistics = default;
            uint length = (uint)sizeof(IfPacket.Statistics);
            return Libc.GetSocketOption(_fd, Libc.SOL_PACKET, IfPacket.PACKET_STATISTICS, &statistics, &length) == 0
                ? Interlocked.Add(ref _kernelDrops, statistics.Drops)
                : Interlocked.Read(ref _kernelDrops);
        }
    }

    /// <summary>Opens <paramref name="device"/> of the calling thread's namespace.</summary>
    /// <param name="name">The port's name.</param>
    /// <param name="device">The device.</param>
    /// <param name="options">How; null for the defaults.</param>
    /// <exception cref="LinuxException">The kernel refused, or there is no such device.</exception>
    public static PacketSocket Open(string name, string device, PacketSocketOptions? options = null)
    {
        options ??= new PacketSocketOptions();
        int index = NetDevice.Index(device);

        // Protocol 0 until bound: else frames of every other device would come first.
        int fd = Libc.Socket(Libc.AF_PACKET, Libc.SOCK_RAW | Libc.SOCK_NONBLOCK | Libc.SOCK_CLOEXEC, 0);
        if (fd < 0) throw LinuxException.Last($"open a packet socket for device {device}");
        Libc.SetOption(fd, Libc.SOL_PACKET, IfPacket.PACKET_VNET_HDR, 1, $"ask for virtio headers on device {device}");
        Libc.SetOption(fd, Libc.SOL_PACKET, IfPacket.PACKET_AUXDATA, 1, $"ask for VLAN tags on device {device}");
        if (options.IgnoreOutgoing) Libc.SetOption(fd, Libc.SOL_PACKET, IfPacket.PACKET_IGNORE_OUTGOING, 1,
            $"ignore outgoing frames on device {device}");
        if (options.BypassQueueing) Libc.SetOption(fd, Libc.SOL_PACKET, IfPacket.PACKET_QDISC_BYPASS, 1,
            $"bypass queueing on device {device}");
        if (options.Timestamps) Libc.SetOption(fd, Libc.SOL_SOCKET, Libc.SO_TIMESTAMPNS, 1, $"ask for time stamps on device {device}");
        Libc.SetBuffer(fd, Libc.SO_RCVBUFFORCE, Libc.SO_RCVBUF, options.ReceiveBufferBytes);
        Libc.SetBuffer(fd, Libc.SO_SNDBUFFORCE, Libc.SO_SNDBUF, options.SendBufferBytes);

        if (options.Promiscuous)
        {
            var membership = new IfPacket.Membership { Index = index, Type = IfPacket.PACKET_MR_PROMISC };
            if (Libc.SetSocketOption(fd, Libc.SOL_PACKET, IfPacket.PACKET_ADD_MEMBERSHIP, &membership,
                (uint)sizeof(IfPacket.Membership)) < 0)
            {
                throw CloseAndReport(fd, $"receive frames to any address on device {device}");
            }
        }

        var address = new IfPacket.LinkAddress { Family = Libc.AF_PACKET, Protocol = IfPacket.ETH_P_ALL_BIG_ENDIAN, Index = index };
        if (Libc.Bind(fd, &address, (uint)sizeof(IfPacket.LinkAddress)) < 0) throw CloseAndReport(fd,
            $"bind a packet socket to device {device}");
        return new PacketSocket(name, fd);
    }

    /// <inheritdoc/>
    public int Receive(PacketBatch batch)
    {
        for (int i = 0; i < PacketBatch.Capacity; i++)
        {
            _vectors[i].Base = batch.FrameBuffer(i) - VnetHeader.Size;
            _vectors[i].Length = VnetHeader.Size + PacketBatch.MaxFrameBytes;
            _receive[i].Header.ControlLength = ControlBytes;
        }

        batch.Count = 0;
        int got = Libc.ReceiveMessages(_fd, _receive, PacketBatch.Capacity, Libc.MSG_DONTWAIT, null);
        if (got <= 0)
        {
            int error = Marshal.GetLastPInvokeError();
            if (got < 0 && error is not (Errno.EAGAIN or Errno.EINTR))
            {
                // ENETDOWN is told once when the device goes down; it may come up again.
                Counters.ReceiveFailed();
                if (error is Errno.EBADF or Errno.ENODEV) _gone = true;
            }

            return 0;
        }

        RefreshClockOffset();
        int count = 0;
        long bytes = 0;
        for (int i = 0; i < got; i++)
        {
            ref Libc.MultiMessage message = ref _receive[i];
            if (message.Length <= VnetHeader.Size || (message.Header.Flags & Libc.MSG_TRUNC) != 0)
            {
                Counters.ReceiveTruncated();
                continue;
            }

            // A cut frame leaves a hole; later frames keep their place in memory and move up in the batch only.
            ref Packet packet = ref batch.Reset(count, (int)message.Length - VnetHeader.Size);
            packet.Data = batch.FrameBuffer(i);
            packet.Vnet = *(VnetHeader*)(packet.Data - VnetHeader.Size);
            _timestamps[count] = 0;
            ReadControl(ref message.Header, ref packet, ref _timestamps[count]);
            bytes += packet.Length;
            count++;
        }

        batch.Count = count;
        if (count > 0) Counters.Received(count, bytes);
        return count;
    }

    /// <inheritdoc/>
    public int Transmit(ReadOnlySpan<Packet> packets)
    {
        lock (_sendLock)
        {
            int taken = 0;
            while (packets.Length > PacketBatch.Capacity)
            {
                taken += TransmitSome(packets[..PacketBatch.Capacity]);
                packets = packets[PacketBatch.Capacity..];
            }

            return taken + TransmitSome(packets);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        int fd = Interlocked.Exchange(ref _fd, -1);
        if (fd < 0) return;
        _gone = true;
        Libc.Close(fd);
        NativeMemory.Free(_receive);
        NativeMemory.Free(_vectors);
        NativeMemory.Free(_control);
    }

    private static LinuxException CloseAndReport(int fd, string what)
    {
        var error = LinuxException.Last(what);
        Libc.Close(fd);
        return error;
    }

    private int TransmitSome(ReadOnlySpan<Packet> packets)
    {
        VnetHeader* headers = stackalloc VnetHeader[PacketBatch.Capacity];
        for (int i = 0; i < packets.Length; i++)
        {
            ref readonly Packet packet = ref packets[i];
            headers[i] = packet.Vnet;
            Libc.IoVector* vectors = _send[i].Header.Vectors;
            vectors[0] = new Libc.IoVector { Base = headers + i, Length = VnetHeader.Size };
            vectors[1] = new Libc.IoVector { Base = packet.Data, Length = packet.Length };
            _send[i].Header.VectorCount = 2;
        }

        int next = 0, taken = 0;
        long bytes = 0;
        while (next < packets.Length)
        {
            int sent = Libc.SendMessages(_fd, _send + next, (uint)(packets.Length - next), Libc.MSG_DONTWAIT);
            for (int i = 0; i < sent; i++) bytes += packets[next + i].Length;
            if (sent > 0)
            {
                next += sent;
                taken += sent;
                continue;
            }

            int error = Marshal.GetLastPInvokeError();
            if (error is Errno.EINTR) continue;
            if (error is Errno.EAGAIN or Errno.ENOBUFS) Counters.TransmitBusy(1);
            else Counters.TransmitFailed(1);
            if (error is Errno.EBADF) _gone = true;
            next++;
        }

        if (taken > 0) Counters.Transmitted(taken, bytes);
        return taken;
    }

    private void ReadControl(ref Libc.Message message, ref Packet packet, ref long timestamp)
    {
        for (Libc.ControlHeader* header = Libc.FirstControl(ref message); header != null; header = Libc.NextControl(ref message, header))
        {
            byte* data = (byte*)(header + 1);
            if (header->Level == Libc.SOL_PACKET && header->Type == IfPacket.PACKET_AUXDATA)
            {
                var aux = (IfPacket.AuxData*)data;
                if ((aux->Status & IfPacket.TP_STATUS_VLAN_VALID) != 0) PutVlanTagBack(ref packet, aux);
            }
            else if (header->Level == Libc.SOL_SOCKET && header->Type == Libc.SO_TIMESTAMPNS)
            {
                var time = (Libc.TimeSpec*)data;
                timestamp = Monotonic.FromRealtime((time->Seconds * 1_000_000_000) + time->Nanoseconds, _clockOffset);
            }
        }
    }

    private static void PutVlanTagBack(ref Packet packet, IfPacket.AuxData* aux)
    {
        if (packet.Length < 12) return;
        packet.Prepend(VlanTagBytes);
        new Span<byte>(packet.Data + VlanTagBytes, 12).CopyTo(new Span<byte>(packet.Data, 12));
        ushort protocol = (aux->Status & IfPacket.TP_STATUS_VLAN_TPID_VALID) != 0 ? aux->VlanProtocol : (ushort)0x8100;
        BinaryPrimitives.WriteUInt16BigEndian(new Span<byte>(packet.Data + 12, 2), protocol);
        BinaryPrimitives.WriteUInt16BigEndian(new Span<byte>(packet.Data + 14, 2), aux->VlanTag);
        if ((packet.Vnet.Flags & VnetHeader.NeedsCsum) != 0) packet.Vnet.CsumStart += VlanTagBytes;
    }

    private void RefreshClockOffset()
    {
        // The wall clock may be slewed or set; once in 100 ms is often enough and costs nothing.
        long now = Monotonic.Now;
        if (_clockOffsetAt != 0 && now - _clockOffsetAt < 100_000_000) return;
        _clockOffset = Monotonic.RealtimeOffset();
        _clockOffsetAt = now;
    }
}
