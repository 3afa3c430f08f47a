using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Net.Security;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using SdnEdge.Core.Api;

namespace SdnEdge.Mms;

/// <summary>A PE answered with an RFC 9457 problem: the request was understood and refused; nothing happened.</summary>
/// <param name="pe">The PE.</param>
/// <param name="problem">What it said.</param>
public sealed class PeProblemException(string pe, Problem problem) : Exception(Text(pe, problem))
{
    /// <summary>The PE.</summary>
    public string Pe { get; } = pe;

    /// <summary>What it said.</summary>
    public Problem Problem { get; } = problem;

    private static string Text(string pe, Problem problem)
    {
        var text = new StringBuilder($"{pe}: {problem.Detail}");
        foreach (ProblemError error in problem.Errors ?? []) text.Append($"\n  {error.Pointer} {error.Detail}");
        return text.ToString();
    }
}

/// <summary>No usable answer from a PE: whether the request took effect is not known.</summary>
public sealed class PeUnreachableException : Exception
{
    /// <summary>Makes it, with a text for people.</summary>
    public PeUnreachableException(string message, Exception? inner = null) : base(message, inner)
    {
    }
}

/// <summary>
/// The client of a PE's API: HTTP over its unix socket, or HTTPS with a client certificate. Safe for several callers at once.
/// A refusal is a <see cref="PeProblemException"/>; anything without a proper answer is a <see cref="PeUnreachableException"/>.
/// </summary>
public sealed class PeClient : IDisposable
{
    private readonly HttpClient _http;
    private readonly string _where;

    private PeClient(string name, string where, HttpClient http)
    {
        (Name, _where, _http) = (name, where, http);
        _http.DefaultRequestHeaders.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
        _http.Timeout = Timeout.InfiniteTimeSpan;
    }

    /// <summary>The PE's name, for messages.</summary>
    public string Name { get; }

    /// <summary>Longest wait for an answer. Default 10 s. The event stream has no limit.</summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>A client over a unix socket.</summary>
    /// <param name="path">The socket, e.g. <c>/run/sdnedge/figure1/pe-a.sock</c>.</param>
    /// <param name="name">The PE's name; null = the socket's file name.</param>
    public static PeClient ForUnixSocket(string path, string? name = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        var handler = new SocketsHttpHandler
        {
            UseProxy = false,
            ConnectCallback = async (_, cancel) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancel);
                    return new NetworkStream(socket, ownsSocket: true);
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            },
        };
        return new PeClient(name ?? Path.GetFileNameWithoutExtension(path), path, new HttpClient(handler) { BaseAddress = new Uri("http://localhost/") });
    }

    /// <summary>A client over HTTPS, both sides proving themselves.</summary>
    /// <param name="address">e.g. <c>https://pe-a.example:8443/</c>.</param>
    /// <param name="certificate">This client's certificate with its key.</param>
    /// <param name="authority">The only authority whose server certificates are accepted; null = the system's.</param>
    /// <param name="name">The PE's name; null = the host.</param>
    public static PeClient ForHttps(Uri address, X509Certificate2 certificate, X509Certificate2? authority = null, string? name = null)
    {
        ArgumentNullException.ThrowIfNull(address);
        var handler = new SocketsHttpHandler { UseProxy = false };
        handler.SslOptions.ClientCertificates = [certificate];
        if (authority is not null)
        {
            handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                RevocationMode = X509RevocationMode.NoCheck,
                CustomTrustStore = { authority },
            };
        }

        return new PeClient(name ?? address.Host, address.ToString(), new HttpClient(handler) { BaseAddress = address });
    }

    /// <summary>A client for what a user wrote: <c>unix:PATH</c> or a path. HTTPS needs certificates, see <see cref="ForHttps"/>.</summary>
    public static PeClient For(string api) => ForUnixSocket(api.StartsWith("unix:", StringComparison.Ordinal) ? api[5..] : api);

    /// <summary>The node.</summary>
    public Task<NodeInfo> NodeAsync(CancellationToken cancel = default) => GetAsync<NodeInfo>("v1/node", cancel);

    /// <summary>Ports.</summary>
    public Task<IReadOnlyList<PortInfo>> PortsAsync(CancellationToken cancel = default) => GetAsync<IReadOnlyList<PortInfo>>("v1/ports", cancel);

    /// <summary>VRFs.</summary>
    public Task<IReadOnlyList<VrfInfo>> VrfsAsync(CancellationToken cancel = default) => GetAsync<IReadOnlyList<VrfInfo>>("v1/vrfs", cancel);

    /// <summary>The RIB: one line for each source that offers a prefix. <paramref name="prefix"/>: that one and what lies inside it.</summary>
    public Task<IReadOnlyList<RouteInfo>> RoutesAsync(string? vrf = null, string? prefix = null, CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<RouteInfo>>("v1/routes" + Query(("vrf", vrf), ("prefix", prefix)), cancel);

    /// <summary>The FIB.</summary>
    public Task<IReadOnlyList<FibInfo>> FibAsync(string? vrf = null, string? prefix = null, CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<FibInfo>>("v1/fib" + Query(("vrf", vrf), ("prefix", prefix)), cancel);

    /// <summary>What the FIB does with one address. The prefix in the answer is empty when no route covers it.</summary>
    public Task<FibInfo> FibLookupAsync(string? vrf, string address, CancellationToken cancel = default)
        => GetAsync<FibInfo>("v1/fib/lookup" + Query(("vrf", vrf), ("address", address)), cancel);

    /// <summary>Neighbours.</summary>
    public Task<IReadOnlyList<NeighborInfo>> NeighborsAsync(CancellationToken cancel = default) => GetAsync<IReadOnlyList<NeighborInfo>>("v1/neighbors", cancel);

    /// <summary>Tunnels.</summary>
    public Task<IReadOnlyList<TunnelInfo>> TunnelsAsync(CancellationToken cancel = default) => GetAsync<IReadOnlyList<TunnelInfo>>("v1/tunnels", cancel);

    /// <summary>BGP peers.</summary>
    public Task<IReadOnlyList<BgpPeerInfo>> BgpPeersAsync(CancellationToken cancel = default) => GetAsync<IReadOnlyList<BgpPeerInfo>>("v1/bgp/peers", cancel);

    /// <summary>Refreshes, resets or shuts down a BGP session.</summary>
    public Task<BgpPeerReply> BgpPeerAsync(string peer, BgpPeerAction action, string? text = null, CancellationToken cancel = default)
        => SendAsync(HttpMethod.Post, $"v1/bgp/peers/{Uri.EscapeDataString(peer)}/{JsonNamingPolicy.KebabCaseLower.ConvertName(action.ToString())}",
            JsonContent.Create(new BgpPeerRequest(text), ApiJson.Options.For<BgpPeerRequest>()), ReadAsync<BgpPeerReply>, cancel);

    /// <summary>Redirect groups.</summary>
    public Task<IReadOnlyList<RedirectGroupInfo>> GroupsAsync(CancellationToken cancel = default) => GetAsync<IReadOnlyList<RedirectGroupInfo>>("v1/groups", cancel);

    /// <summary>The process that forwards while the PE is restarted.</summary>
    public Task<KeeperInfo> KeeperAsync(CancellationToken cancel = default) => GetAsync<KeeperInfo>("v1/keeper", cancel);

    /// <summary>BFD sessions.</summary>
    public Task<BfdInfo> BfdAsync(CancellationToken cancel = default) => GetAsync<BfdInfo>("v1/bfd", cancel);

    /// <summary>Drops by reason.</summary>
    public Task<IReadOnlyList<DropInfo>> DropsAsync(CancellationToken cancel = default) => GetAsync<IReadOnlyList<DropInfo>>("v1/drops", cancel);

    /// <summary>Migrations.</summary>
    public Task<IReadOnlyList<MigrationInfo>> MigrationsAsync(CancellationToken cancel = default) => GetAsync<IReadOnlyList<MigrationInfo>>("v1/migrations", cancel);

    /// <summary>One migration.</summary>
    public Task<MigrationInfo> MigrationAsync(string id, CancellationToken cancel = default)
        => GetAsync<MigrationInfo>("v1/migrations/" + Uri.EscapeDataString(id), cancel);

    /// <summary>Any resource, as its bare JSON or text.</summary>
    public Task<string> TextAsync(string path, CancellationToken cancel = default)
        => SendAsync(HttpMethod.Get, path.TrimStart('/'), null, (content, c) => content.ReadAsStringAsync(c), cancel);

    /// <summary>Sends a signal; returns when it is in force on every worker of the PE.</summary>
    public Task<SignalReply> SignalAsync(string id, SignalKind signal, SignalRequest request, CancellationToken cancel = default)
        => SendAsync(HttpMethod.Post, $"v1/migrations/{Uri.EscapeDataString(id)}/{JsonNamingPolicy.KebabCaseLower.ConvertName(signal.ToString())}",
            JsonContent.Create(request, ApiJson.Options.For<SignalRequest>()), ReadAsync<SignalReply>, cancel);

    /// <summary>Events as they happen, until cancelled or the PE ends the stream.</summary>
    /// <param name="after">Events after this sequence number; null = from now on.</param>
    /// <param name="cancel">Ends the stream.</param>
    public async IAsyncEnumerable<EventRecord> EventsAsync(long? after = null, [EnumeratorCancellation] CancellationToken cancel = default)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "v1/events");
        request.Headers.Accept.Clear();
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("text/event-stream"));
        if (after is { } sequence) request.Headers.Add("Last-Event-ID", sequence.ToString());
        using HttpResponseMessage response = await RawAsync(request, HttpCompletionOption.ResponseHeadersRead, cancel);
        await CheckAsync(response, cancel);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(cancel), Encoding.UTF8);
        var data = new StringBuilder();
        while (await reader.ReadLineAsync(cancel) is { } line)
        {
            // Lines of one event until an empty one; only "data" carries the record. A note about missed events has no sequence.
            if (line.StartsWith("data:", StringComparison.Ordinal)) data.Append(line.AsSpan(5).TrimStart());
            if (line.Length > 0 || data.Length == 0) continue;
            string json = data.ToString();
            data.Clear();
            if (json.Contains("\"sequence\"", StringComparison.Ordinal)) yield return JsonSerializer.Deserialize(json, ApiJson.Options.For<EventRecord>())!;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _http.Dispose();

    private static string Query(params ReadOnlySpan<(string Name, string? Value)> parts)
    {
        var query = new StringBuilder();
        foreach ((string name, string? value) in parts)
        {
            if (value is not null) query.Append(query.Length == 0 ? '?' : '&').Append(name).Append('=').Append(Uri.EscapeDataString(value));
        }

        return query.ToString();
    }

    private Task<T> GetAsync<T>(string path, CancellationToken cancel) => SendAsync(HttpMethod.Get, path, null, ReadAsync<T>, cancel);

    private async Task<T> ReadAsync<T>(HttpContent content, CancellationToken cancel)
    {
        try
        {
            return await content.ReadFromJsonAsync(ApiJson.Options.For<T>(), cancel) ?? throw new PeUnreachableException($"{Name} answered with an empty body");
        }
        catch (JsonException e)
        {
            throw new PeUnreachableException($"{Name} answered with something that is no {typeof(T).Name}: {e.Message}", e);
        }
    }

    private async Task<T> SendAsync<T>(
        HttpMethod method, string path, HttpContent? body, Func<HttpContent, CancellationToken, Task<T>> read, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(RequestTimeout);
        using var request = new HttpRequestMessage(method, path) { Content = body };
        try
        {
            using HttpResponseMessage response = await RawAsync(request, HttpCompletionOption.ResponseContentRead, limit.Token);
            await CheckAsync(response, limit.Token);
            return await read(response.Content, limit.Token);
        }
        catch (OperationCanceledException e) when (!cancel.IsCancellationRequested)
        {
            throw new PeUnreachableException($"{Name} did not answer {method} /{path} within {RequestTimeout.TotalSeconds:0.#} s", e);
        }
    }

    private async Task<HttpResponseMessage> RawAsync(HttpRequestMessage request, HttpCompletionOption completion, CancellationToken cancel)
    {
        try
        {
            return await _http.SendAsync(request, completion, cancel);
        }
        catch (HttpRequestException e)
        {
            Exception cause = e.InnerException ?? e;
            string hint = cause is SocketException { SocketErrorCode: SocketError.AddressNotAvailable or SocketError.ConnectionRefused } or FileNotFoundException
                || cause.Message.Contains("No such file", StringComparison.Ordinal)
                ? "is the PE running, and is that its socket?"
                : cause.Message.Contains("Permission denied", StringComparison.Ordinal) ? "the socket belongs to another user"
                : cause is IOException ? "it closed the connection" : "no connection";
            throw new PeUnreachableException($"cannot reach {Name} at {_where}: {cause.Message} ({hint})", e);
        }
        catch (IOException e)
        {
            throw new PeUnreachableException($"{Name} at {_where} closed the connection: {e.Message}", e);
        }
    }

    private async Task CheckAsync(HttpResponseMessage response, CancellationToken cancel)
    {
        if (response.IsSuccessStatusCode) return;
        string body = await response.Content.ReadAsStringAsync(cancel);
        Problem? problem = null;
        try
        {
            problem = JsonSerializer.Deserialize(body, ApiJson.Options.For<Problem>());
        }
        catch (JsonException)
        {
            // Not ours: a proxy, or something that is no PE.
        }

        int status = (int)response.StatusCode;
        if (problem is { Detail: not null, Type: not null }) throw new PeProblemException(Name, problem with { Status = problem.Status == 0 ? status : problem.Status });
        if (status >= 500) throw new PeUnreachableException($"{Name} failed with HTTP status {status}");
        throw new PeProblemException(Name, new Problem("about:blank", response.ReasonPhrase ?? "refused", status,
            $"answered with HTTP status {status} and no reason; is {_where} the API of a PE?"));
    }
}
