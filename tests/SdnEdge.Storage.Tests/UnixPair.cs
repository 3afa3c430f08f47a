using System.Net.Sockets;

namespace SdnEdge.Storage.Tests;

/// <summary>Two sockets that are connected to each other.</summary>
internal static class UnixPair
{
    /// <summary>Connects them.</summary>
    /// <param name="path">A file that is not there, and is not there afterwards.</param>
    /// <param name="cancel">Ends it.</param>
    public static async Task<(Socket Near, Socket Far)> ConnectAsync(string path, CancellationToken cancel = default)
    {
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen(1);
        var near = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await near.ConnectAsync(new UnixDomainSocketEndPoint(path), cancel);
        Socket far = await listener.AcceptAsync(cancel);
        File.Delete(path);
        return (near, far);
    }
}
