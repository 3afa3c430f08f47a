using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using SdnEdge.Client;
using SdnEdge.Mms.Config;

namespace SdnEdge.Mms.Journal.Etcd;

/// <summary>Why etcd did not do what it was asked.</summary>
internal enum EtcdFault
{
    /// <summary>No member answered, or the members have no majority: whether it was done is not known.</summary>
    Silent,

    /// <summary>Its database is full (alarm NOSPACE).</summary>
    Full,

    /// <summary>There is no such lease: it ran out.</summary>
    NoLease,

    /// <summary>The request is larger than it takes.</summary>
    TooLarge,

    /// <summary>It refuses the request: no permission, say.</summary>
    Refused,
}

/// <summary>etcd did not do what it was asked. The message says which members were asked, and what they said.</summary>
internal sealed class EtcdException(EtcdFault fault, string message, Exception? inner = null) : Exception(message, inner)
{
    public EtcdFault Fault { get; } = fault;
}

/// <summary>
/// Speaks to the members of an etcd cluster by their JSON gateways. A member that does not answer in time is left for the next one:
/// requests are such that it does no harm when one is done twice. Nothing is watched: what changes is asked for.
/// </summary>
internal sealed class EtcdClient : IDisposable
{
    private readonly HttpClient _http;
    private readonly Uri[] _members;
    private int _member;

    /// <summary>Makes it. Nothing is connected before the first request.</summary>
    /// <param name="config">Where the members are.</param>
    /// <param name="identity">The manager's certificate, for members that are reached by https; null: none is.</param>
    public EtcdClient(EtcdConfig config, ClientIdentity? identity)
    {
        _members = [.. config.Endpoints.Select(e => new Uri(e))];
        Patience = TimeSpan.FromSeconds(config.LeaseSeconds) / 4;
        var handler = new SocketsHttpHandler
        {
            UseProxy = false,
            ConnectTimeout = Patience,
            PooledConnectionIdleTimeout = TimeSpan.FromMinutes(10),
        };
        identity?.ApplyTo(handler.SslOptions);
        _http = new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
    }

    /// <summary>How long one member has for an answer: a quarter of a lease.</summary>
    public TimeSpan Patience { get; }

    public Task<RangeReply> RangeAsync(RangeRequest request, CancellationToken cancel)
        => AskAsync("kv/range", request, GatewayTypes.Default.RangeRequest, GatewayTypes.Default.RangeReply, cancel);

    public Task<TxnReply> TxnAsync(TxnRequest request, CancellationToken cancel)
        => AskAsync("kv/txn", request, GatewayTypes.Default.TxnRequest, GatewayTypes.Default.TxnReply, cancel);

    /// <summary>Takes a lease; its time is what etcd grants, which may be more than was asked for.</summary>
    public Task<LeaseReply> GrantAsync(int seconds, CancellationToken cancel) => AskAsync(
        "lease/grant", new LeaseGrantRequest(seconds), GatewayTypes.Default.LeaseGrantRequest, GatewayTypes.Default.LeaseReply, cancel);

    /// <summary>Keeps a lease for another of its times.</summary>
    /// <exception cref="EtcdException">With <see cref="EtcdFault.NoLease"/>: it has run out.</exception>
    public async Task KeepAliveAsync(long lease, CancellationToken cancel)
    {
        KeepAliveReply reply = await AskAsync("lease/keepalive", new LeaseRequest(lease), GatewayTypes.Default.LeaseRequest,
            GatewayTypes.Default.KeepAliveReply, cancel);

        // A lease that has run out is answered, without a time.
        if (reply.Result is not { Seconds: > 0 }) throw new EtcdException(EtcdFault.NoLease, "etcd: the lease has run out");
    }

    public Task RevokeAsync(long lease, CancellationToken cancel) => AskAsync("lease/revoke", new LeaseRequest(lease),
        GatewayTypes.Default.LeaseRequest, GatewayTypes.Default.NoReply, cancel);

    public void Dispose() => _http.Dispose();

    // Each member once, beginning with the one that answered last.
    private async Task<TReply> AskAsync<TRequest, TReply>(
        string path, TRequest request, JsonTypeInfo<TRequest> requestType, JsonTypeInfo<TReply> replyType, CancellationToken cancel)
    {
        var said = new List<string>();
        Exception? last = null;
        int first = Volatile.Read(ref _member);
        for (int k = 0; k < _members.Length; k++)
        {
            int member = (first + k) % _members.Length;
            try
            {
                TReply reply = await AskAsync(_members[member], path, request, requestType, replyType, cancel);
                Volatile.Write(ref _member, member);
                return reply;
            }
            catch (Exception e) when (!cancel.IsCancellationRequested
                && e is HttpRequestException or IOException or JsonException or OperationCanceledException or EtcdException
                { Fault: EtcdFault.Silent })
            {
                last = e;
                said.Add($"{_members[member].Authority}: {Words(e)}");
            }
        }

        throw new EtcdException(EtcdFault.Silent, $"etcd does not answer: {string.Join("; ", said)}", last);
    }

    private async Task<TReply> AskAsync<TRequest, TReply>(
        Uri member, string path, TRequest request, JsonTypeInfo<TRequest> requestType, JsonTypeInfo<TReply> replyType,
        CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(Patience);
        using var message = new HttpRequestMessage(HttpMethod.Post, new Uri(member, "/v3/" + path))
        {
            // With its length: a member's gateway reads to the end of it.
            Content = new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(request, requestType)),
        };
        using HttpResponseMessage response = await _http.SendAsync(message, HttpCompletionOption.ResponseContentRead, limit.Token);
        if (response.IsSuccessStatusCode)
            return await response.Content.ReadFromJsonAsync(replyType, limit.Token) ?? throw new JsonException("the answer is empty");
        throw await RefusalAsync(member, response, limit.Token);
    }

    // The numbers are gRPC's: https://grpc.io/docs/guides/status-codes/
    private static async Task<EtcdException> RefusalAsync(Uri member, HttpResponseMessage response, CancellationToken cancel)
    {
        EtcdError error;
        try
        {
            error = await response.Content.ReadFromJsonAsync(GatewayTypes.Default.EtcdError, cancel) ?? new EtcdError();
        }
        catch (JsonException)
        {
            error = new EtcdError();
        }

        string text = error.Message ?? $"HTTP status {(int)response.StatusCode}; is that the client address of an etcd, 3.4 or later?";
        return error switch
        {
            { Code: 8 } when text.Contains("space", StringComparison.Ordinal) => new(EtcdFault.Full, "etcd has no room: " + text),
            { Code: 5 } when text.Contains("lease", StringComparison.Ordinal) => new(EtcdFault.NoLease, text),
            { Code: 3 or 8 } when text.Contains("too large", StringComparison.Ordinal)
                || text.Contains("larger than max", StringComparison.Ordinal)
                => new(EtcdFault.TooLarge, $"etcd at {member.Authority} does not take a record of that size: {text}"),
            { Code: 3 or 7 or 16 } => new(EtcdFault.Refused, $"etcd at {member.Authority} refuses: {text}"),
            _ => new(EtcdFault.Silent, text),
        };
    }

    private string Words(Exception e) => e switch
    {
        OperationCanceledException => $"no answer within {Patience.TotalMilliseconds:0} ms",
        HttpRequestException { InnerException: { } inner } => inner.Message,
        _ => e.Message,
    };
}
