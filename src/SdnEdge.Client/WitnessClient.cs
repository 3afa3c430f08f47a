using SdnEdge.Core.Api;

namespace SdnEdge.Client;

/// <summary>The client of a witness.</summary>
public sealed class WitnessClient(ApiEndpoint endpoint) : ApiClient(endpoint, ApiJson.Options)
{
    /// <summary>The witness.</summary>
    public Task<WitnessNodeInfo> NodeAsync(CancellationToken cancel = default) => GetAsync<WitnessNodeInfo>("v1/node", cancel);

    /// <summary>All leases that it knows, by group and site.</summary>
    public Task<IReadOnlyList<LeaseInfo>> LeasesAsync(CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<LeaseInfo>>("v1/leases", cancel);

    /// <summary>Those of a group at a site.</summary>
    public Task<LeaseInfo> LeaseAsync(string group, string site, CancellationToken cancel = default)
        => GetAsync<LeaseInfo>(Of(group, site), cancel);

    /// <summary>Opens leases; returns when that is on disk.</summary>
    public Task<LeaseInfo> OpenAsync(string group, string site, LeaseOpenCall call, CancellationToken cancel = default)
        => PutAsync<LeaseOpenCall, LeaseInfo>(Of(group, site), call, cancel);

    /// <summary>Has a lease granted. It is good from when this is called, not from when it returns.</summary>
    public Task<LeaseRenewReply> RenewAsync(string group, string site, LeaseRenewCall call, CancellationToken cancel = default)
        => PostAsync<LeaseRenewCall, LeaseRenewReply>(Of(group, site) + "/renew", call, cancel);

    /// <summary>Revokes leases; returns when that is on disk.</summary>
    public Task<LeaseInfo> RevokeAsync(string group, string site, LeaseRevokeCall call, CancellationToken cancel = default)
        => PostAsync<LeaseRevokeCall, LeaseInfo>(Of(group, site) + "/revoke", call, cancel);

    private static string Of(string group, string site) => $"v1/leases/{Uri.EscapeDataString(group)}/{Uri.EscapeDataString(site)}";
}
