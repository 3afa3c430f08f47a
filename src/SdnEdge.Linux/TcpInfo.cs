using System.Buffers.Binary;
using System.Net.Sockets;

namespace SdnEdge.Linux;

/// <summary>What the kernel knows of a TCP connection (TCP_INFO, linux/tcp.h).</summary>
public static class TcpInfo
{
    private const int IpProtoTcp = 6, TcpInfoOption = 11, MinRttAt = 148;

    /// <summary>
    /// The shortest round trip of the last minutes, milliseconds: the way itself, without waiting anywhere. Null: nothing has been answered
    /// yet, or the connection is gone.
    /// </summary>
    public static double? ShortestRoundTripMs(Socket socket)
    {
        ArgumentNullException.ThrowIfNull(socket);
        Span<byte> info = stackalloc byte[256];
        try
        {
            if (socket.GetRawSocketOption(IpProtoTcp, TcpInfoOption, info) < MinRttAt + 4) return null;
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            return null;
        }

        uint microseconds = BinaryPrimitives.ReadUInt32LittleEndian(info[MinRttAt..]);
        return microseconds is 0 or uint.MaxValue ? null : microseconds / 1000.0;
    }
}
