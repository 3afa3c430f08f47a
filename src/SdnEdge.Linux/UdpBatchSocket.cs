using System.Runtime.InteropServices;
using SdnEdge.Core.Wire;

namespace SdnEdge.Linux;

/// <summary>An address and a UDP port.</summary>
/// <param name="Address">The address.</param>
/// <param name="Port">The port.</param>
/// <param name="Device">Index of the device that a link-local IPv6 address is on; 0: none. Not told of what the kernel says.</param>
public readonly record struct UdpEndpoint(IpAddress Address, ushort Port, int Device = 0)
{
    /// <inheritdoc/>
    public override string ToString()
        => !Address.IsV6 ? $"{Address}:{Port}" : Device == 0 ? $"[{Address}]:{Port}" : $"[{Address}%{Device}]:{Port}";
}

/// <summary>A datagram in the buffers of a <see cref="UdpBatchSocket"/>; valid until its next receive.</summary>
public readonly unsafe struct UdpDatagram
{
    private readonly byte* _data;

    internal UdpDatagram(byte* data, int length, UdpEndpoint source, long receivedAt, int timeToLive)
    {
        _data = data;
        Length = length;
        Source = source;
        ReceivedAt = receivedAt;
        TimeToLive = timeToLive;
    }

    /// <summary>Bytes of the payload.</summary>
    public int Length { get; }

    /// <summary>Who sent it.</summary>
    public UdpEndpoint Source { get; }

    /// <summary>When the kernel received it, ns of <see cref="Monotonic"/>.</summary>
    public long ReceivedAt { get; }

    /// <summary>TTL or hop limit it arrived with; -1: not asked for.</summary>
    public int TimeToLive { get; }

    /// <summary>The payload.</summary>
    public Span<byte> Payload => new(_data, Length);
}

/// <summary>How a <see cref="UdpBatchSocket"/> is opened.</summary>
public sealed record UdpBatchOptions
{
    /// <summary>Bytes of receive buffer, counted with the kernel's overhead of about a KiB a datagram.</summary>
    public int ReceiveBufferBytes { get; init; } = 64 << 20;

    /// <summary>Bytes of send buffer.</summary>
    public int SendBufferBytes { get; init; } = 16 << 20;

    /// <summary>Longest payload received whole, 1 to 65535 bytes; longer ones are counted and left out.</summary>
    public int MaxPayloadBytes { get; init; } = 2048;

    /// <summary>Tell the TTL or hop limit of each datagram.</summary>
    public bool ReceiveTimeToLive { get; init; }

    /// <summary>Bind also to an address that the machine does not have yet.</summary>
    public bool FreeBind { get; init; }
}

/// <summary>
/// A UDP socket that receives and sends up to 64 datagrams a system call, with the kernel's time of arrival and its count
/// of what it dropped. For measuring: a datagram is either delivered or counted. One thread receives, one (or the same) sends.
/// </summary>
public sealed unsafe class UdpBatchSocket : IDisposable
{
    /// <summary>Datagrams in a batch.</summary>
    public const int Capacity = 64;

    private const int ControlBytes = 128;

    private readonly int _maxPayload;
    private readonly Libc.MultiMessage* _receive;
    private readonly Libc.MultiMessage* _send;
    private readonly Libc.IoVector* _vectors;
    private readonly SocketAddress* _addresses;
    private readonly byte* _control;
    private readonly byte* _buffers;
    private readonly UdpDatagram[] _datagrams = new UdpDatagram[Capacity];
    private int _fd;
    private int _queued;
    private long _clockOffset;
    private long _clockOffsetAt;
    private uint _lastDropCount;

    private UdpBatchSocket(int fd, UdpEndpoint local, int maxPayload)
    {
        _fd = fd;
        Local = local;
        _maxPayload = maxPayload;
        _receive = (Libc.MultiMessage*)NativeMemory.AllocZeroed(2 * Capacity, (nuint)sizeof(Libc.MultiMessage));
        _send = _receive + Capacity;
        _vectors = (Libc.IoVector*)NativeMemory.AllocZeroed(2 * Capacity, (nuint)sizeof(Libc.IoVector));
        _addresses = (SocketAddress*)NativeMemory.AllocZeroed(2 * Capacity, (nuint)sizeof(SocketAddress));
        _control = (byte*)NativeMemory.AllocZeroed(Capacity, ControlBytes);
        _buffers = (byte*)NativeMemory.AllocZeroed(2 * Capacity, (nuint)maxPayload);
        for (int i = 0; i < 2 * Capacity; i++)
        {
            _vectors[i].Base = _buffers + ((nint)i * maxPayload);
            _receive[i].Header.Vectors = _vectors + i;
            _receive[i].Header.VectorCount = 1;
            _receive[i].Header.Name = _addresses + i;
            if (i < Capacity) _receive[i].Header.Control = _control + (i * ControlBytes);
        }
    }

    /// <summary>Where the socket is bound; the port is the real one when 0 was asked for.</summary>
    public UdpEndpoint Local { get; }

    /// <summary>The descriptor, for <see cref="Epoll"/>.</summary>
    public int Fd => _fd;

    /// <summary>Datagrams the kernel dropped because the receive buffer was full, as last told (with a later datagram).</summary>
    public long KernelDrops { get; private set; }

    /// <summary>Datagrams longer than the buffers.</summary>
    public long Truncated { get; private set; }

    /// <summary>Datagrams the kernel did not take for sending.</summary>
    public long SendErrors { get; private set; }

    /// <summary>errno of the last datagram the kernel did not take; 0 = none yet.</summary>
    public int LastSendError { get; private set; }

    /// <summary>ICMP errors that came back for what was sent (port unreachable and the like).</summary>
    public long IcmpErrors { get; private set; }

    /// <summary>Binds a socket in the calling thread's namespace.</summary>
    /// <param name="local">Address and port; port 0 lets the kernel choose.</param>
    /// <param name="options">Sizes; null for the defaults.</param>
    /// <exception cref="LinuxException">The kernel refused.</exception>
    public static UdpBatchSocket Open(UdpEndpoint local, UdpBatchOptions? options = null)
    {
        options ??= new UdpBatchOptions();
        int family = local.Address.IsV4 ? Libc.AF_INET : Libc.AF_INET6;
        int fd = Libc.Socket(family, Libc.SOCK_DGRAM | Libc.SOCK_NONBLOCK | Libc.SOCK_CLOEXEC, 0);
        if (fd < 0) throw LinuxException.Last($"open a UDP socket for {local}");
        Libc.SetOption(fd, Libc.SOL_SOCKET, Libc.SO_TIMESTAMPNS, 1, $"ask for time stamps on {local}");
        Libc.SetOption(fd, Libc.SOL_SOCKET, Libc.SO_RXQ_OVFL, 1, $"ask for the drop count on {local}");
        if (family == Libc.AF_INET6) Libc.SetOption(fd, Libc.SOL_IPV6, Libc.IPV6_V6ONLY, 1, $"keep IPv4 off {local}");
        if (options.FreeBind) Libc.SetFreeBind(fd, family, local);
        if (options.ReceiveTimeToLive)
        {
            (int level, int name) = family == Libc.AF_INET ? (Libc.SOL_IP, Libc.IP_RECVTTL) : (Libc.SOL_IPV6, Libc.IPV6_RECVHOPLIMIT);
            Libc.SetOption(fd, level, name, 1, $"ask for the TTL on {local}");
        }

        Libc.SetBuffer(fd, Libc.SO_RCVBUFFORCE, Libc.SO_RCVBUF, options.ReceiveBufferBytes);
        Libc.SetBuffer(fd, Libc.SO_SNDBUFFORCE, Libc.SO_SNDBUF, options.SendBufferBytes);

        SocketAddress address = default;
        uint length = address.Set(local);
        if (Libc.Bind(fd, &address, length) < 0 || Libc.GetSocketName(fd, &address, &length) < 0)
        {
            var error = LinuxException.Last($"bind a UDP socket to {local}");
            Libc.Close(fd);
            throw error;
        }

        return new UdpBatchSocket(fd, address.Get(), options.MaxPayloadBytes);
    }

    /// <summary>Waits until a datagram is there, at most <paramref name="timeout"/> ns (negative: for ever). Returns whether one
    /// is.</summary>
    public bool Wait(long timeout) => Libc.WaitReadable(_fd, timeout);

    /// <summary>Takes what is there now, up to 64 datagrams, without waiting. The result is valid until the next call.</summary>
    public ReadOnlySpan<UdpDatagram> Receive()
    {
        for (int i = 0; i < Capacity; i++)
        {
            _vectors[i].Length = _maxPayload;
            _receive[i].Header.NameLength = SocketAddress.MaxSize;
            _receive[i].Header.ControlLength = ControlBytes;
        }

        int got = Libc.ReceiveMessages(_fd, _receive, Capacity, Libc.MSG_DONTWAIT, null);
        if (got <= 0)
        {
            if (got < 0 && Marshal.GetLastPInvokeError() is not (Errno.EAGAIN or Errno.EINTR)) IcmpErrors++;
            return default;
        }

        RefreshClockOffset();
        int count = 0;
        for (int i = 0; i < got; i++)
        {
            ref Libc.MultiMessage message = ref _receive[i];
            long receivedAt = ReadControl(ref message.Header, out int timeToLive);
            if ((message.Header.Flags & Libc.MSG_TRUNC) != 0)
            {
                Truncated++;
                continue;
            }

            _datagrams[count++] = new UdpDatagram((byte*)_vectors[i].Base, (int)message.Length, _addresses[i].Get(), receivedAt,
                timeToLive);
        }

        return _datagrams.AsSpan(0, count);
    }

    /// <summary>Adds a datagram to the batch that <see cref="Flush"/> sends; a full batch is sent first. False when it is longer than the
    /// buffers.</summary>
    public bool Queue(ReadOnlySpan<byte> payload, UdpEndpoint to)
    {
        if (payload.Length > _maxPayload) return false;
        if (_queued == Capacity) Flush();
        int slot = Capacity + _queued;
        payload.CopyTo(new Span<byte>(_vectors[slot].Base, _maxPayload));
        _vectors[slot].Length = payload.Length;
        _send[_queued].Header.NameLength = _addresses[slot].Set(to);
        _queued++;
        return true;
    }

    /// <summary>Sends the batch. Returns how many datagrams the kernel took; the rest are in <see cref="SendErrors"/>.</summary>
    public int Flush()
    {
        int next = 0, taken = 0, retries = 0;
        while (next < _queued)
        {
            int sent = Libc.SendMessages(_fd, _send + next, (uint)(_queued - next), Libc.MSG_DONTWAIT);
            if (sent > 0)
            {
                next += sent;
                taken += sent;
                retries = 0;
                continue;
            }

            int error = Marshal.GetLastPInvokeError();
            if (error is Errno.EINTR) continue;
            // An ICMP error that came back for an earlier datagram is told here once; this one was not tried yet.
            if (error is not (Errno.EAGAIN or Errno.ENOBUFS) && retries++ == 0)
            {
                IcmpErrors++;
                continue;
            }

            SendErrors++;
            LastSendError = error;
            next++;
            retries = 0;
        }

        _queued = 0;
        return taken;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        int fd = Interlocked.Exchange(ref _fd, -1);
        if (fd < 0) return;
        Libc.Close(fd);
        NativeMemory.Free(_receive);
        NativeMemory.Free(_vectors);
        NativeMemory.Free(_addresses);
        NativeMemory.Free(_control);
        NativeMemory.Free(_buffers);
    }

    private long ReadControl(ref Libc.Message message, out int timeToLive)
    {
        long receivedAt = 0;
        timeToLive = -1;
        for (Libc.ControlHeader* header = Libc.FirstControl(ref message); header != null; header = Libc.NextControl(ref message, header))
        {
            byte* data = (byte*)(header + 1);
            if ((header->Level, header->Type) is (Libc.SOL_IP, Libc.IP_TTL) or (Libc.SOL_IPV6, Libc.IPV6_HOPLIMIT)) timeToLive =
                *(int*)data;
            if (header->Level != Libc.SOL_SOCKET) continue;
            if (header->Type == Libc.SO_TIMESTAMPNS)
            {
                var time = (Libc.TimeSpec*)data;
                receivedAt = Monotonic.FromRealtime((time->Seconds * 1_000_000_000) + time->Nanoseconds, _clockOffset);
            }
            else if (header->Type == Libc.SO_RXQ_OVFL)
            {
                // The kernel's count is 32 bits wide and wraps.
                uint drops = *(uint*)data;
                KernelDrops += drops - _lastDropCount;
                _lastDropCount = drops;
            }
        }

        return receivedAt;
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
