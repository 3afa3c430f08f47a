using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Net.ServerSentEvents;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Security.Authentication;
using System.Text;
using System.Text.Json;
using SdnEdge.Core.Api;

namespace SdnEdge.Client;

/// <summary>A daemon answered with an RFC 9457 problem: the request was understood and refused; nothing happened.</summary>
/// <param name="peer">The daemon, by name.</param>
/// <param name="problem">What it said.</param>
public sealed class ApiProblemException(string peer, Problem problem) : Exception(Text(peer, problem))
{
    /// <summary>The daemon, by name.</summary>
    public string Peer { get; } = peer;

    /// <summary>What it said.</summary>
    public Problem Problem { get; } = problem;

    private static string Text(string peer, Problem problem)
    {
        var text = new StringBuilder($"{peer}: {problem.Detail}");
        foreach (ProblemError error in problem.Errors ?? []) text.Append($"\n  {error.Pointer} {error.Detail}");
        return text.ToString();
    }
}

/// <summary>No usable answer from a daemon: whether the request took effect is not known.</summary>
public sealed class ApiUnreachableException : Exception
{
    /// <summary>Makes it, with a text for people.</summary>
    /// <param name="message">What went wrong.</param>
    /// <param name="inner">What the runtime said; null = nothing.</param>
    /// <param name="peer">The daemon, by name; null = not known.</param>
    public ApiUnreachableException(string message, Exception? inner = null, string? peer = null) : base(message, inner) => Peer = peer;

    /// <summary>True when there was no connection: the request has not gone out, and nothing happened.</summary>
    public bool IsUnconnected { get; init; }

    /// <summary>The daemon that did not answer, by name; null = not known.</summary>
    public string? Peer { get; }
}

/// <summary>Where a daemon's API is, and how a client proves who it is there.</summary>
/// <param name="Name">The daemon's name, for messages.</param>
/// <param name="Address"><c>unix:PATH</c>, a path, or <c>https://HOST:PORT/</c>; several managers, of which one leads: one after the other,
/// with commas between.</param>
/// <param name="Identity">For HTTPS: the client's certificate and the authority of the servers'. Null on a unix socket.</param>
public sealed record ApiEndpoint(string Name, string Address, ClientIdentity? Identity = null);

/// <summary>
/// The client of a daemon's API: HTTP over its unix socket, or HTTPS with a client certificate. Safe for several callers at once.
/// A refusal is an <see cref="ApiProblemException"/>; anything without a proper answer is an <see cref="ApiUnreachableException"/>.
/// <para>
/// Where several managers are named, one that is not there, is silent for 2 s or does not lead is left for the next, until
/// <see cref="RequestTimeout"/> is over. A change is asked for once more only when it certainly has not happened.
/// </para>
/// </summary>
public abstract class ApiClient : IDisposable
{
    // With several managers: the limit of a connection, how long to wait for the answer to a GET before trying the next one, and the pause
    // after a round in which none of them leads.
    private static readonly TimeSpan s_connect = TimeSpan.FromSeconds(1), s_silent = TimeSpan.FromSeconds(2),
        s_pause = TimeSpan.FromMilliseconds(100);

    private readonly Door[] _doors;
    private readonly JsonSerializerOptions _json;
    private int _door;

    /// <summary>Makes a client. Nothing is connected before the first request.</summary>
    /// <exception cref="ArgumentException">The address is HTTPS and no identity is given, or it is no address.</exception>
    protected ApiClient(ApiEndpoint endpoint, JsonSerializerOptions json)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        (Name, _json) = (endpoint.Name, json);
        string[] addresses = endpoint.Address.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        _doors = [.. addresses.DefaultIfEmpty("").Select(a => Open(endpoint with { Address = a }, alone: addresses.Length < 2))];
    }

    private static Door Open(ApiEndpoint endpoint, bool alone)
    {
        string where;
        HttpClient http;
        if (endpoint.Address.StartsWith("https://", StringComparison.OrdinalIgnoreCase))
        {
            ClientIdentity identity = endpoint.Identity ?? throw new ArgumentException(
                $"{endpoint.Name}: {endpoint.Address} needs a client certificate, its key and the authority; give them, or use its unix "
                + $"socket", nameof(endpoint));
            (where, http) = (endpoint.Address, Https(new Uri(endpoint.Address), identity, alone));
        }
        else
        {
            where = endpoint.Address.StartsWith("unix:", StringComparison.Ordinal) ? endpoint.Address[5..] : endpoint.Address;
            if (where.Contains("://", StringComparison.Ordinal) || where.Length == 0)
                throw new ArgumentException(
                    $"{(endpoint.Name.Length > 0 ? endpoint.Name + ": " : "")}'{endpoint.Address}' is no address of an API; write a "
                    + "socket's path or https://HOST:PORT/");
            http = Unix(where);
        }

        http.DefaultRequestHeaders.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
        http.Timeout = Timeout.InfiniteTimeSpan;
        return new Door(where, http);
    }

    /// <summary>The daemon's name, for messages.</summary>
    public string Name { get; }

    /// <summary>Longest wait for an answer. Default 10 s. The event stream has no limit.</summary>
    public TimeSpan RequestTimeout { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>The endpoint that a user's text means; the name is that of the socket's file, or the host.</summary>
    public static ApiEndpoint EndpointFor(string api, ClientIdentity? identity = null)
    {
        ArgumentNullException.ThrowIfNull(api);
        if (api.Length == 0) throw new ArgumentException("'' is no address of an API; write a socket's path or https://HOST:PORT/");
        string name = api.Contains(',', StringComparison.Ordinal) ? "the manager that leads"
            : Uri.TryCreate(api, UriKind.Absolute, out Uri? uri) && uri.Scheme == Uri.UriSchemeHttps ? uri.Host
            : Path.GetFileNameWithoutExtension(api);
        return new ApiEndpoint(name, api, identity);
    }

    /// <summary>Any resource, as its bare JSON or text.</summary>
    public Task<string> TextAsync(string path, CancellationToken cancel = default)
        => SendAsync(HttpMethod.Get, path.TrimStart('/'), null, (content, c) => content.ReadAsStringAsync(c), cancel);

    /// <summary>Events as they happen, until cancelled or the daemon ends the stream. Notes about missed events are left out.</summary>
    /// <param name="after">Events after this sequence number; null = from now on.</param>
    /// <param name="cancel">Ends the stream.</param>
    public async IAsyncEnumerable<EventRecord> EventsAsync(long? after = null, [EnumeratorCancellation] CancellationToken cancel = default)
    {
        using HttpResponseMessage response = await AskAsync(Request, HttpCompletionOption.ResponseHeadersRead, cancel);
        Stream stream = await response.Content.ReadAsStreamAsync(cancel);
        await foreach (SseItem<string> item in SseParser.Create(stream).EnumerateAsync(cancel))
        {
            if (item.EventId is { Length: > 0 }) yield return JsonSerializer.Deserialize(item.Data, ApiJson.Options.For<EventRecord>())!;
        }

        HttpRequestMessage Request()
        {
            var request = new HttpRequestMessage(HttpMethod.Get, "v1/events");
            request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("text/event-stream"));
            if (after is { } sequence)
                request.Headers.Add("Last-Event-ID", sequence.ToString(System.Globalization.CultureInfo.InvariantCulture));
            return request;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Door door in _doors) door.Http.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>A query of those parts that have a value.</summary>
    protected static string Query(params ReadOnlySpan<(string Name, string? Value)> parts)
    {
        var query = new StringBuilder();
        foreach ((string name, string? value) in parts)
        {
            if (value is not null) query.Append(query.Length == 0 ? '?' : '&').Append(name).Append('=').Append(Uri.EscapeDataString(value));
        }

        return query.ToString();
    }

    /// <summary>Reads a resource.</summary>
    protected Task<T> GetAsync<T>(string path, CancellationToken cancel) => SendAsync(HttpMethod.Get, path, null, ReadAsync<T>, cancel);

    /// <summary>Posts a body; returns the answer.</summary>
    /// <param name="path">The resource.</param>
    /// <param name="body">The body.</param>
    /// <param name="cancel">Ends it.</param>
    /// <param name="idempotencyKey">Header Idempotency-Key: the same call again with the same key is carried out once; null = none.</param>
    protected Task<TReply> PostAsync<TBody, TReply>(string path, TBody body, CancellationToken cancel, string? idempotencyKey = null)
        => SendAsync(HttpMethod.Post, path, () => JsonContent.Create(body, _json.For<TBody>()), ReadAsync<TReply>, cancel, idempotencyKey);

    /// <summary>Puts a resource; returns the answer.</summary>
    protected Task<TReply> PutAsync<TBody, TReply>(string path, TBody body, CancellationToken cancel)
        => SendAsync(HttpMethod.Put, path, () => JsonContent.Create(body, _json.For<TBody>()), ReadAsync<TReply>, cancel);

    /// <summary>Copies a resource's bytes to a stream, as they come; there is no limit of time.</summary>
    protected async Task CopyAsync(string path, Stream into, CancellationToken cancel)
    {
        using HttpResponseMessage response = await AskAsync(Request, HttpCompletionOption.ResponseHeadersRead, cancel);
        try
        {
            await response.Content.CopyToAsync(into, cancel);
        }
        catch (HttpRequestException e)
        {
            throw new ApiUnreachableException($"{Name} has broken off: {e.Message}", e);
        }

        HttpRequestMessage Request()
        {
            var request = new HttpRequestMessage(HttpMethod.Get, path);
            request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("*/*"));
            return request;
        }
    }

    /// <summary>Deletes a resource.</summary>
    protected Task DeleteAsync(string path, CancellationToken cancel)
        => SendAsync(HttpMethod.Delete, path, null, (_, _) => Task.FromResult(true), cancel);

    private async Task<T> ReadAsync<T>(HttpContent content, CancellationToken cancel)
    {
        try
        {
            return await content.ReadFromJsonAsync(_json.For<T>(), cancel)
                ?? throw new ApiUnreachableException($"{Name} answered with an empty body");
        }
        catch (JsonException e)
        {
            throw new ApiUnreachableException($"{Name} answered with something that is no {typeof(T).Name}: {e.Message}", e);
        }
    }

    private async Task<T> SendAsync<T>(
        HttpMethod method, string path, Func<HttpContent>? body, Func<HttpContent, CancellationToken, Task<T>> read,
        CancellationToken cancel, string? idempotencyKey = null)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(RequestTimeout);
        try
        {
            using HttpResponseMessage response = await AskAsync(Request, HttpCompletionOption.ResponseContentRead, limit.Token);
            return await read(response.Content, limit.Token);
        }
        catch (OperationCanceledException e) when (!cancel.IsCancellationRequested)
        {
            throw new ApiUnreachableException($"{Name} did not answer {method} /{path} within {RequestTimeout.TotalSeconds:0.#} s", e,
                Name);
        }

        HttpRequestMessage Request()
        {
            var request = new HttpRequestMessage(method, path)
            {
                Content = body?.Invoke(),
                // Over TLS one connection carries all requests at once; a unix socket stays with HTTP/1.1.
                Version = HttpVersion.Version20,
                VersionPolicy = HttpVersionPolicy.RequestVersionOrLower,
            };
            if (idempotencyKey is not null) request.Headers.Add("Idempotency-Key", idempotencyKey);
            return request;
        }
    }

    // An answer with success. Of several managers the next one is asked where this one certainly did nothing; all of them for as long as
    // the request has time, since a new one leads in a moment.
    private async Task<HttpResponseMessage> AskAsync(
        Func<HttpRequestMessage> make, HttpCompletionOption completion, CancellationToken cancel)
    {
        long start = Stopwatch.GetTimestamp();
        for (int tried = 1; ; tried++)
        {
            int door = Volatile.Read(ref _door);
            using HttpRequestMessage request = make();

            // A frozen manager accepts the connection and never answers: on the first round the next one is tried soon.
            bool first = tried <= _doors.Length && _doors.Length > 1 && request.Method == HttpMethod.Get;
            try
            {
                HttpResponseMessage response =
                    await RawAsync(_doors[door], request, completion, first ? s_silent : Timeout.InfiniteTimeSpan, cancel);
                try
                {
                    await CheckAsync(_doors[door], response, cancel);
                    return response;
                }
                catch
                {
                    response.Dispose();
                    throw;
                }
            }
            catch (Exception e) when (_doors.Length > 1 && Stopwatch.GetElapsedTime(start) < RequestTimeout && MayAskNext(request, e))
            {
                Interlocked.CompareExchange(ref _door, (door + 1) % _doors.Length, door);
            }

            if (tried % _doors.Length == 0) await Task.Delay(s_pause, cancel);
        }
    }

    private static bool MayAskNext(HttpRequestMessage request, Exception e) => e switch
    {
        ApiProblemException { Problem.Type: ApiProblems.Standby } => true,
        ApiUnreachableException unreachable => unreachable.IsUnconnected || request.Method == HttpMethod.Get,
        _ => false,
    };

    private async Task<HttpResponseMessage> RawAsync(
        Door door, HttpRequestMessage request, HttpCompletionOption completion, TimeSpan within, CancellationToken cancel)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        patience.CancelAfter(within);
        try
        {
            return await door.Http.SendAsync(request, completion, patience.Token);
        }
        catch (OperationCanceledException e) when (!cancel.IsCancellationRequested)
        {
            throw new ApiUnreachableException($"{Name} at {door.Where} did not answer within {within.TotalSeconds:0.#} s", e, Name);
        }
        catch (HttpRequestException e)
        {
            Exception cause = e.InnerException ?? e;
            bool unconnected = e.HttpRequestError is HttpRequestError.ConnectionError or HttpRequestError.SecureConnectionError
                or HttpRequestError.NameResolutionError;
            if (door.WhyRefused(cause) is { } refused)
                throw new ApiUnreachableException($"cannot reach {Name} at {door.Where}: {refused}", e, Name)
            {
                IsUnconnected = unconnected,
            };
            string hint = cause is SocketException { SocketErrorCode: SocketError.AddressNotAvailable or SocketError.ConnectionRefused }
                or FileNotFoundException
                || cause.Message.Contains("No such file", StringComparison.Ordinal)
                ? "is it running, and is that its address?"
                : cause.Message.Contains("Permission denied", StringComparison.Ordinal) ? "the socket belongs to another user: sudo, or "
                    + "'api: { access: ... }' in the daemon's file"
                : cause is IOException ? "it closed the connection" : "no connection";
            throw new ApiUnreachableException($"cannot reach {Name} at {door.Where}: {cause.Message} ({hint})", e, Name)
            {
                IsUnconnected = unconnected,
            };
        }
        catch (IOException e)
        {
            throw new ApiUnreachableException($"{Name} at {door.Where} closed the connection: {e.Message}", e, Name);
        }
    }

    private async Task CheckAsync(Door door, HttpResponseMessage response, CancellationToken cancel)
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
            // Not ours: a proxy, say.
        }

        int status = (int)response.StatusCode;
        if (problem is { Detail: not null, Type: not null }) throw new ApiProblemException(Name,
            problem with { Status = problem.Status == 0 ? status : problem.Status });
        if (status >= 500) throw new ApiUnreachableException($"{Name} failed with HTTP status {status}", null, Name);
        throw new ApiProblemException(Name, new Problem("about:blank", response.ReasonPhrase ?? "refused", status,
            $"answered with HTTP status {status} and no reason; is {door.Where} the API of a daemon of ours?"));
    }

    private static HttpClient Unix(string path)
    {
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
        return new HttpClient(handler) { BaseAddress = new Uri("http://localhost/") };
    }

    // A connection is kept, and looked after, so that no order of a move has to wait for a handshake, or for one that died unseen.
    private static HttpClient Https(Uri address, ClientIdentity identity, bool alone)
    {
        var handler = new SocketsHttpHandler
        {
            UseProxy = false,
            ConnectTimeout = alone ? Timeout.InfiniteTimeSpan : s_connect,
            PooledConnectionIdleTimeout = TimeSpan.FromMinutes(10),
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.Always,
            KeepAlivePingDelay = TimeSpan.FromSeconds(5),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(5),
        };
        identity.ApplyTo(handler.SslOptions);
        return new HttpClient(handler) { BaseAddress = address };
    }

    // One of the daemon's addresses.
    private sealed record Door(string Where, HttpClient Http)
    {
        // What the runtime says of these does not tell what to put right.
        public string? WhyRefused(Exception cause) => cause switch
        {
            AuthenticationException => "its certificate is not one of the authority that was given, or is not for that address",
            IOException when cause.Message.Contains("did not complete the HTTP/2 handshake", StringComparison.Ordinal)
                => "it closed the connection before it answered anything: it may not know the authority of this certificate",
            SocketException { SocketErrorCode: SocketError.AddressNotAvailable } when Http.BaseAddress?.Scheme == Uri.UriSchemeHttp
                && !File.Exists(Where) => "there is no such socket; is it running, and is that its address?",
            _ => null,
        };
    }
}
