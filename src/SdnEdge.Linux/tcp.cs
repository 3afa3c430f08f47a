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
    private const int SolIp = 0, SolSocket = 1, SolTcp = 6, SolIpv6 = 41;
    private const int SoBindToDevice = 25;
    private const int IpTtl = 2, IpFreebind = 15, IpMinTtl = 21;
    private const int Ipv6UnicastHops = 16, Ipv6MinHopCount = 73, Ipv6Freebind = 78;
    private const int TcpMd5Sig = 14, TcpAoAddKey = 38, TcpAoDelKey = 39;

    // struct tcp_md5sig: sockaddr_storage, flags (1), prefix length (1), key length (2), ifindex (4), key (80).
    private const int AddressSize = 128, KeyLengthAt = AddressSize + 2, KeyAt = AddressSize + 8, MaxKey = 80;

    /// <summary>Lets a socket bind to an address the machine does not have yet.</summary>
    public static void SetFreebind(Socket socket, IpFamily family) => Set(socket, family, IpFreebind, Ipv6Freebind, 1);

    /// <summary>Binds a socket to a device: it sends through that one alone, and takes only what came by it.</summary>
    public static void BindToDevice(Socket socket, string device)
        => socket.SetRawSocketOption(SolSocket, SoBindToDevice, System.Text.Encoding.UTF8.GetBytes(device + "\0"));

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

    // struct tcp_ao_add: sockaddr_storage, algorithm (64), ifindex (4), current and next (4), padding (2), prefix length (1), send id (1),
    // receive id (1), length of the code (1), flags (1), key length (1), key (80). struct tcp_ao_del has no algorithm, and ends with the
    // ids and three bytes more.
    private const int AoNameSize = 64, AoFlagsAt = AddressSize + AoNameSize + 4, AoPrefixAt = AoFlagsAt + 6;
    private const int AoSize = AoPrefixAt + 6 + MaxKey;
    private const int AoDelPrefixAt = AddressSize + 10, AoDelSize = AoDelPrefixAt + 6;
    private const byte AoCodeBytes = 12;

    /// <summary>
    /// Authenticates segments to a peer and drops those from it that are not (RFC 5925). On a listener it holds for connections from that
    /// peer. Linux has it from 6.7 on, where it was built with CONFIG_TCP_AO.
    /// </summary>
    /// <param name="socket">Socket of the peer's family.</param>
    /// <param name="peer">The peer.</param>
    /// <param name="sendId">Number of the key in what is sent.</param>
    /// <param name="receiveId">Number of the key in what is received.</param>
    /// <param name="algorithm">The kernel's name: <c>hmac(sha1)</c> or <c>cmac(aes128)</c>.</param>
    /// <param name="key">1 to 80 octets; empty takes the key away.</param>
    public static void SetAoKey(Socket socket, IpAddress peer, byte sendId, byte receiveId, string algorithm, ReadOnlySpan<byte> key)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(key.Length, MaxKey);
        bool add = !key.IsEmpty;
        Span<byte> option = stackalloc byte[add ? AoSize : AoDelSize];
        option.Clear();
        ushort family = peer.IsV4 ? (ushort)Libc.AF_INET : (ushort)Libc.AF_INET6;
        MemoryMarshal.Write(option, in family);
        peer.Write(option[(peer.IsV4 ? 4 : 8)..]);
        Span<byte> rest = option[(add ? AoPrefixAt : AoDelPrefixAt)..];
        (rest[0], rest[1], rest[2]) = ((byte)peer.BitLength, sendId, receiveId);
        if (add)
        {
            System.Text.Encoding.ASCII.GetBytes(algorithm, option[AddressSize..]);
            option[AoFlagsAt] = 3; // current, and asked for next
            (rest[3], rest[5]) = (AoCodeBytes, (byte)key.Length);
            key.CopyTo(rest[6..]);
        }

        try
        {
            socket.SetRawSocketOption(SolTcp, add ? TcpAoAddKey : TcpAoDelKey, option);
        }
        catch (SocketException) when (!add)
        {
            // There was none: what was asked for is so.
        }
        finally
        {
            option.Clear();
        }
    }

    /// <summary>Whether this kernel has TCP-AO.</summary>
    public static bool HasAo { get; } = TryAo();

    private static bool TryAo()
    {
        try
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            SetAoKey(socket, IpAddress.FromV4(0x7F00_0001), 1, 1, "hmac(sha1)", "key"u8);
            return true;
        }
        catch (SocketException e)
        {
            return e.SocketErrorCode != SocketError.ProtocolOption;
        }
    }

    private static void Set(Socket socket, IpFamily family, int optionV4, int optionV6, int value) =>
        socket.SetRawSocketOption(family == IpFamily.V4 ? SolIp : SolIpv6, family == IpFamily.V4 ? optionV4 : optionV6,
            MemoryMarshal.AsBytes(new Span<int>(ref value)));
}
