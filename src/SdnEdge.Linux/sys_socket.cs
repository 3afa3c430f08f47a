using System.Buffers.Binary;
using System.Runtime.InteropServices;
using SdnEdge.Core.Wire;

namespace SdnEdge.Linux;

internal static unsafe partial class Libc
{
    public const int AF_INET = 2, AF_INET6 = 10, AF_PACKET = 17;
    public const int SOCK_DGRAM = 2, SOCK_RAW = 3, SOCK_NONBLOCK = 0x800, SOCK_CLOEXEC = 0x80000;
    public const int SOL_SOCKET = 1, SOL_IP = 0, SOL_IPV6 = 41, SOL_PACKET = 263;
    public const int SO_REUSEADDR = 2, SO_SNDBUF = 7, SO_RCVBUF = 8, SO_SNDBUFFORCE = 32, SO_RCVBUFFORCE = 33,
        SO_TIMESTAMPNS = 35, SO_RXQ_OVFL = 40, SO_BUSY_POLL = 46;
    public const int IP_TOS = 1, IP_TTL = 2, IP_RECVTTL = 12, IP_FREEBIND = 15;
    public const int IPV6_UNICAST_HOPS = 16, IPV6_V6ONLY = 26, IPV6_RECVHOPLIMIT = 51, IPV6_HOPLIMIT = 52, IPV6_TCLASS = 67, IPV6_FREEBIND =
        78;
    public const int MSG_DONTWAIT = 0x40, MSG_TRUNC = 0x20;
    public const short POLLIN = 1;

    [LibraryImport(Library, EntryPoint = "socket", SetLastError = true)]
    public static partial int Socket(int family, int type, int protocol);

    [LibraryImport(Library, EntryPoint = "bind", SetLastError = true)]
    public static partial int Bind(int fd, void* address, uint length);

    [LibraryImport(Library, EntryPoint = "sendto", SetLastError = true)]
    public static partial nint SendTo(int fd, void* buffer, nuint length, int flags, void* address, uint addressLength);

    [LibraryImport(Library, EntryPoint = "getsockname", SetLastError = true)]
    public static partial int GetSocketName(int fd, void* address, uint* length);

    [LibraryImport(Library, EntryPoint = "setsockopt", SetLastError = true)]
    public static partial int SetSocketOption(int fd, int level, int name, void* value, uint length);

    [LibraryImport(Library, EntryPoint = "getsockopt", SetLastError = true)]
    public static partial int GetSocketOption(int fd, int level, int name, void* value, uint* length);

    [LibraryImport(Library, EntryPoint = "recvmmsg", SetLastError = true)]
    public static partial int ReceiveMessages(int fd, MultiMessage* messages, uint count, int flags, TimeSpec* timeout);

    [LibraryImport(Library, EntryPoint = "sendmmsg", SetLastError = true)]
    public static partial int SendMessages(int fd, MultiMessage* messages, uint count, int flags);

    [LibraryImport(Library, EntryPoint = "ppoll", SetLastError = true)]
    public static partial int Poll(PollFd* fds, nuint count, TimeSpec* timeout, void* signalMask);

    public static bool TrySetOption(int fd, int level, int name, int value) => SetSocketOption(fd, level, name, &value, sizeof(int)) == 0;

    /// <summary>Sets a socket option or throws; on a throw the socket is closed.</summary>
    public static void SetOption(int fd, int level, int name, int value, string what)
    {
        if (TrySetOption(fd, level, name, value)) return;
        var error = LinuxException.Last(what);
        Close(fd);
        throw error;
    }

    /// <summary>Lets a socket be bound to an address that the machine does not have yet; on a throw the socket is closed.</summary>
    public static void SetFreeBind(int fd, int family, UdpEndpoint local) => SetOption(
        fd, family == AF_INET ? SOL_IP : SOL_IPV6, family == AF_INET ? IP_FREEBIND : IPV6_FREEBIND, 1,
            $"bind before the address {local} is there");

    /// <summary>Sets a buffer's size past the system's limit where we may, else as near as it lets us.</summary>
    public static void SetBuffer(int fd, int forceName, int name, int bytes)
    {
        if (!TrySetOption(fd, SOL_SOCKET, forceName, bytes)) TrySetOption(fd, SOL_SOCKET, name, bytes);
    }

    /// <summary>Waits until <paramref name="fd"/> is readable, at most <paramref name="timeout"/> ns (negative: for ever).</summary>
    public static bool WaitReadable(int fd, long timeout)
    {
        var poll = new PollFd { Fd = fd, Events = POLLIN };
        TimeSpec span = new() { Seconds = timeout / 1_000_000_000, Nanoseconds = timeout % 1_000_000_000 };
        return Poll(&poll, 1, timeout < 0 ? null : &span, null) > 0;
    }

    /// <summary><c>struct pollfd</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct PollFd
    {
        public int Fd;
        public short Events;
        public short Returned;
    }

    /// <summary><c>struct msghdr</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Message
    {
        public void* Name;
        public uint NameLength;
        public IoVector* Vectors;
        public nuint VectorCount;
        public byte* Control;
        public nuint ControlLength;
        public int Flags;
    }

    /// <summary><c>struct mmsghdr</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct MultiMessage
    {
        public Message Header;
        public uint Length;
    }

    /// <summary><c>struct cmsghdr</c>; the data follow it.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct ControlHeader
    {
        public nuint Length;
        public int Level;
        public int Type;
    }

    /// <summary>The first control message of <paramref name="message"/>, or null.</summary>
    public static ControlHeader* FirstControl(ref Message message) =>
        message.ControlLength >= (nuint)sizeof(ControlHeader) ? (ControlHeader*)message.Control : null;

    /// <summary>The control message after <paramref name="current"/>, or null.</summary>
    public static ControlHeader* NextControl(ref Message message, ControlHeader* current)
    {
        if (current->Length < (nuint)sizeof(ControlHeader)) return null;
        byte* next = (byte*)current + ((current->Length + 7) & ~(nuint)7);
        return next + sizeof(ControlHeader) <= message.Control + message.ControlLength ? (ControlHeader*)next : null;
    }
}

/// <summary><c>struct sockaddr_in</c> and <c>sockaddr_in6</c> in one, as bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SocketAddress
{
    public const int MaxSize = 28;

    private fixed byte _bytes[MaxSize];

    /// <summary>Writes <paramref name="endpoint"/> and returns the length of the address.</summary>
    public uint Set(UdpEndpoint endpoint)
    {
        fixed (byte* p = _bytes)
        {
            var bytes = new Span<byte>(p, MaxSize);
            bytes.Clear();
            *(ushort*)p = (ushort)(endpoint.Address.IsV4 ? Libc.AF_INET : Libc.AF_INET6);
            BinaryPrimitives.WriteUInt16BigEndian(bytes[2..], endpoint.Port);
            endpoint.Address.Write(bytes[(endpoint.Address.IsV4 ? 4 : 8)..]);
            if (endpoint.Address.IsV4) return 16u;
            *(uint*)(p + 24) = (uint)endpoint.Device; // sin6_scope_id
            return MaxSize;
        }
    }

    /// <summary>What the kernel wrote; none when it is no IP address.</summary>
    public readonly UdpEndpoint Get()
    {
        fixed (byte* p = _bytes)
        {
            var bytes = new ReadOnlySpan<byte>(p, MaxSize);
            ushort port = BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]);
            return *(ushort*)p switch
            {
                Libc.AF_INET => new UdpEndpoint(IpAddress.Read(IpFamily.V4, bytes[4..8]), port),
                Libc.AF_INET6 => new UdpEndpoint(IpAddress.Read(IpFamily.V6, bytes[8..24]), port),
                _ => default,
            };
        }
    }
}
