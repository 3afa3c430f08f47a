using SdnEdge.Core.Api;

namespace SdnEdge.Client;

/// <summary>The client of a block store.</summary>
public sealed class StoreClient(ApiEndpoint endpoint) : ApiClient(endpoint, ApiJson.Options)
{
    /// <summary>The store.</summary>
    public Task<StoreNodeInfo> NodeAsync(CancellationToken cancel = default) => GetAsync<StoreNodeInfo>("v1/node", cancel);

    /// <summary>All volumes.</summary>
    public Task<IReadOnlyList<VolumeInfo>> VolumesAsync(CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<VolumeInfo>>("v1/volumes", cancel);

    /// <summary>One volume.</summary>
    public Task<VolumeInfo> VolumeAsync(string name, CancellationToken cancel = default) => GetAsync<VolumeInfo>(Of(name), cancel);

    /// <summary>Makes a volume.</summary>
    public Task<VolumeInfo> CreateAsync(VolumeRequest request, CancellationToken cancel = default)
        => PostAsync<VolumeRequest, VolumeInfo>("v1/volumes", request, cancel);

    /// <summary>Deletes a volume.</summary>
    public Task DeleteVolumeAsync(string name, CancellationToken cancel = default) => DeleteAsync(Of(name), cancel);

    /// <summary>Compares a volume with its own records; takes as long as it takes to read it.</summary>
    public Task<VolumeCheckInfo> CheckAsync(string name, CancellationToken cancel = default)
        => PostAsync<object?, VolumeCheckInfo>(Of(name) + "/check", null, cancel);

    private static string Of(string name) => "v1/volumes/" + Uri.EscapeDataString(name);
}
