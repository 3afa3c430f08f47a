using System.Text.Json;
using SdnEdge.Core.Api;

namespace SdnEdge.Client;

/// <summary>The client of a server host's agent.</summary>
public sealed class HostClient(ApiEndpoint endpoint) : ApiClient(endpoint, ApiJson.Options)
{
    /// <summary>The agent.</summary>
    public Task<HostNodeInfo> NodeAsync(CancellationToken cancel = default) => GetAsync<HostNodeInfo>("v1/node", cancel);

    /// <summary>All servers that it knows.</summary>
    public Task<IReadOnlyList<ServerInfo>> ServersAsync(CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<ServerInfo>>("v1/servers", cancel);

    /// <summary>One server.</summary>
    public Task<ServerInfo> ServerAsync(string server, CancellationToken cancel = default)
        => GetAsync<ServerInfo>("v1/servers/" + Uri.EscapeDataString(server), cancel);

    /// <summary>The last copy of a server's memory from this host to another.</summary>
    public Task<CopyInfo> CopyAsync(string server, CancellationToken cancel = default)
        => GetAsync<CopyInfo>($"v1/servers/{Uri.EscapeDataString(server)}/copy", cancel);

    /// <summary>BFD sessions.</summary>
    public Task<BfdInfo> BfdAsync(CancellationToken cancel = default) => GetAsync<BfdInfo>("v1/bfd", cancel);

    /// <summary>Gives an order; returns when its effect is there.</summary>
    public Task<ServerReply> OrderAsync(string server, ServerOrder order, ServerOrderRequest request, CancellationToken cancel = default)
        => PostAsync<ServerOrderRequest, ServerReply>(
            $"v1/servers/{Uri.EscapeDataString(server)}/{JsonNamingPolicy.KebabCaseLower.ConvertName(order.ToString())}", request, cancel);

    /// <summary>Binds a server to a lease of the witness, or to none any more; returns when the first one was granted.</summary>
    public Task<ServerInfo> LeaseAsync(string server, ServerLeaseCall call, CancellationToken cancel = default)
        => PutAsync<ServerLeaseCall, ServerInfo>($"v1/servers/{Uri.EscapeDataString(server)}/lease", call, cancel);
}
