using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

/// <summary>Who is at the other end of a unix socket (<c>struct ucred</c>, SO_PEERCRED of unix(7)), as of its connect.</summary>
/// <param name="Process">Process id.</param>
/// <param name="User">User id.</param>
/// <param name="Group">Group id.</param>
public readonly partial record struct PeerCredentials(int Process, uint User, uint Group)
{
    private const int SolSocket = 1;
    private const int SoPeerCred = 17;

    /// <summary>Effective user id of this process.</summary>
    public static uint OwnUser => GetEffectiveUser();

    /// <summary>Reads the peer's credentials; false when the socket is no connected unix socket.</summary>
    public static bool TryGet(Socket socket, out PeerCredentials credentials)
    {
        credentials = default;
        Span<byte> bytes = stackalloc byte[12];
        try
        {
            if (socket.GetRawSocketOption(SolSocket, SoPeerCred, bytes) != bytes.Length) return false;
        }
        catch (SocketException)
        {
            return false;
        }

        credentials = new PeerCredentials(MemoryMarshal.Read<int>(bytes), MemoryMarshal.Read<uint>(bytes[4..]),
            MemoryMarshal.Read<uint>(bytes[8..]));

        // An unconnected pair says process 0 and user -1.
        return credentials.User != uint.MaxValue;
    }

    [LibraryImport("libc", EntryPoint = "geteuid")]
    private static partial uint GetEffectiveUser();
}
