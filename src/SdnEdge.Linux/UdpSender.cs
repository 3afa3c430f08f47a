using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

/// <summary>A UDP socket that only sends, always from one port to one endpoint, with TTL 255 and the precedence of routing protocols (CS6).
/// Allocates nothing to send.</summary>
public sealed unsafe class UdpSender : IDisposable
{
    private const int NetworkControl = 0xC0;

    private int _fd;

    private UdpSender(int fd, UdpEndpoint local, UdpEndpoint remote)
    {
        _fd = fd;
        Local = local;
        Remote = remote;
    }

    /// <summary>Where it sends from.</summary>
    public UdpEndpoint Local { get; }

    /// <summary>Where it sends to.</summary>
    public UdpEndpoint Remote { get; }

    /// <summary>Datagrams the kernel did not take, or that a host answered with an ICMP error.</summary>
    public long Errors { get; private set; }

    /// <summary>errno of the last of them; 0 = none.</summary>
    public int LastError { get; private set; }

    /// <summary>Opens a socket in the calling thread's namespace; null when the port is taken. The address need not be there yet.</summary>
    /// <exception cref="LinuxException">The kernel refused for another reason.</exception>
    public static UdpSender? TryOpen(UdpEndpoint local, UdpEndpoint remote)
    {
        int family = local.Address.IsV4 ? Libc.AF_INET : Libc.AF_INET6;
        int fd = Libc.Socket(family, Libc.SOCK_DGRAM | Libc.SOCK_NONBLOCK | Libc.SOCK_CLOEXEC, 0);
        if (fd < 0) throw LinuxException.Last($"open a UDP socket for {local}");
        Libc.SetFreeBind(fd, family, local);
        if (family == Libc.AF_INET)
        {
            Libc.SetOption(fd, Libc.SOL_IP, Libc.IP_TTL, 255, $"set the TTL of {local}");
            Libc.SetOption(fd, Libc.SOL_IP, Libc.IP_TOS, NetworkControl, $"set the precedence of {local}");
        }
        else
        {
            Libc.SetOption(fd, Libc.SOL_IPV6, Libc.IPV6_V6ONLY, 1, $"keep IPv4 off {local}");
            Libc.SetOption(fd, Libc.SOL_IPV6, Libc.IPV6_UNICAST_HOPS, 255, $"set the hop limit of {local}");
            Libc.SetOption(fd, Libc.SOL_IPV6, Libc.IPV6_TCLASS, NetworkControl, $"set the precedence of {local}");
        }

        SocketAddress address = default;
        uint length = address.Set(local);
        if (Libc.Bind(fd, &address, length) < 0)
        {
            var error = LinuxException.Last($"bind a UDP socket to {local}");
            Libc.Close(fd);
            return error.ErrorNumber == Errno.EADDRINUSE ? null : throw error;
        }

        // Nothing is read here; and the kernel looks for a way at each datagram: there need not be one now.
        Libc.TrySetOption(fd, Libc.SOL_SOCKET, Libc.SO_RCVBUF, 0);
        return new UdpSender(fd, local, remote);
    }

    /// <summary>Sends a datagram. False when the kernel did not take it; counted.</summary>
    public bool Send(ReadOnlySpan<byte> payload)
    {
        SocketAddress to = default;
        uint length = to.Set(Remote);
        nint sent;
        fixed (byte* p = payload) sent = Libc.SendTo(_fd, p, (nuint)payload.Length, Libc.MSG_DONTWAIT, &to, length);
        if (sent >= 0) return true;
        Errors++;
        LastError = Marshal.GetLastPInvokeError();
        return false;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        int fd = Interlocked.Exchange(ref _fd, -1);
        if (fd >= 0) Libc.Close(fd);
    }
}
