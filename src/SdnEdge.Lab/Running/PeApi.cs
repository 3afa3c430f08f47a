using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json;
using SdnEdge.Core.Api;

namespace SdnEdge.Lab.Running;

/// <summary>Asks a PE's API over its unix socket. Only what readiness needs.</summary>
internal sealed class PeApi(string socket)
{
    /// <summary>The answer to a GET; null when the PE does not answer (yet), or with no success.</summary>
    public async Task<T?> TryGetAsync<T>(string path, CancellationToken cancel) where T : class
    {
        if (!File.Exists(socket)) return null;
        using var handler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, stop) =>
            {
                var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await client.ConnectAsync(new UnixDomainSocketEndPoint(socket), stop);
                    return new NetworkStream(client, ownsSocket: true);
                }
                catch
                {
                    client.Dispose();
                    throw;
                }
            },
        };
        using var http = new HttpClient(handler) { BaseAddress = new Uri("http://pe"), Timeout = TimeSpan.FromSeconds(2) };
        try
        {
            return await http.GetFromJsonAsync(path, ApiJson.Options.For<T>(), cancel);
        }
        catch (Exception e) when (e is HttpRequestException or JsonException or IOException || (e is OperationCanceledException && !cancel.IsCancellationRequested))
        {
            return null;
        }
    }
}
