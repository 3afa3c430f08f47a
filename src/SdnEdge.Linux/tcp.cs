using System.Net.Sockets;
using System.Runtime.InteropServices;
using SdnEdge.Core.Wire;

namespace SdnEdge.Linux;

/// <summary>
/// Options of linux/in.h, in6.h and tcp.h that a BGP session needs and .NET does not name. Each throws
/// <see cref="SocketException"/> when the kernel refuses.
/// </summary>
public static class BgpSocketOptions
{
    private const int SolIp = 0, SolTcp = 6, SolIpv6 = 41;
    private const int IpTtl = 2, IpFreebind = 15, IpMinTtl = 21;
    private const int Ipv6UnicastHops = 16, Ipv6MinHopCount = 73, Ipv6Freebind = 78;
    private const int TcpMd5Sig = 14;

    // struct tcp_md5sig: sockaddr_storage, flags (1), prefix length (1), key length (2), ifindex (4), key (80).
    private const int AddressSize = 128, KeyLengthAt = AddressSize + 2, KeyAt = AddressSize + 8, MaxKey = 80;

    /// <summary>Lets a socket bind to an address the machine does not have yet.</summary>
    public static void SetFreebind(Socket socket, IpFamily family) => Set(socket, family, IpFreebind, Ipv6Freebind, 1);

    /// <summary>TTL or hop limit of what is sent, 1 to 255; -1: the system's default.</summary>
    public static void SetTtl(Socket socket, IpFamily family, int ttl) => Set(socket, family, IpTtl, Ipv6UnicastHops, ttl);

    /// <summary>Received segments with a lower TTL or hop limit are dropped by the kernel (GTSM, RFC 5082); 1 to 255, 0: none. Connections
    /// that a listener takes begin with its own.</summary>
    public static void SetMinimumTtl(Socket socket, IpFamily family, int ttl) => Set(socket, family, IpMinTtl, Ipv6MinHopCount, ttl);

    /// <summary>
    /// Signs segments to a peer and drops those from it that are not signed with the same key (RFC 2385). On a listener it holds
    /// for connections from that peer.
    /// </summary>
    /// <param name="socket">Socket of the peer's family.</param>
    /// <param name="peer">The peer.</param>
    /// <param name="key">1 to 80 octets; empty takes the key away.</param>
    public static void SetMd5Key(Socket socket, IpAddress peer, ReadOnlySpan<byte> key)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(key.Length, MaxKey);
        Span<byte> option = stackalloc byte[KeyAt + MaxKey];
        option.Clear();
        ushort family = peer.IsV4 ? (ushort)Libc.AF_INET : (ushort)Libc.AF_INET6;
        MemoryMarshal.Write(option, in family);
        peer.Write(option[(peer.IsV4 ? 4 : 8)..]);
        ushort length = (ushort)key.Length;
        MemoryMarshal.Write(option[KeyLengthAt..], in length);
        key.CopyTo(option[KeyAt..]);
        try
        {
            socket.SetRawSocketOption(SolTcp, TcpMd5Sig, option);
        }
        catch (SocketException) when (key.IsEmpty)
        {
            // There was none: what was asked for is so.
        }
        finally
        {
            option.Clear();
        }
    }

    private static void Set(Socket socket, IpFamily family, int optionV4, int optionV6, int value) =>
        socket.SetRawSocketOption(family == IpFamily.V4 ? SolIp : SolIpv6, family == IpFamily.V4 ? optionV4 : optionV6,
            MemoryMarshal.AsBytes(new Span<int>(ref value)));
}
