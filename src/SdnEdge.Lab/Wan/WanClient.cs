using System.Net.Sockets;
using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;

namespace SdnEdge.Lab.Wan;

/// <summary>Reads a WAN node's counters.</summary>
public static class WanClient
{
    /// <summary>The counters now; null when no WAN node answers at that socket.</summary>
    public static async Task<WanStats?> TryReadAsync(string socket, CancellationToken cancel)
    {
        if (!File.Exists(socket)) return null;
        using var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await client.ConnectAsync(new UnixDomainSocketEndPoint(socket), cancel);
            await using var stream = new NetworkStream(client);
            return await JsonSerializer.DeserializeAsync(stream, LabJson.Options.For<WanStats>(), cancel);
        }
        catch (Exception e) when (e is SocketException or IOException or JsonException)
        {
            return null;
        }
    }
}
