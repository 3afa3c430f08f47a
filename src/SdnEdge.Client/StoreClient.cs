using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;

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

    /// <summary>Gives an order of a migration; returns when its effect is on disk.</summary>
    public Task<VolumeOrderReply> OrderAsync(
        string name, OwnershipOrderKind order, VolumeOrderRequest request, CancellationToken cancel = default)
        => PostAsync<VolumeOrderRequest, VolumeOrderReply>(
            $"{Of(name)}/{System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(order.ToString())}", request, cancel);

    /// <summary>Switches when writes are answered; returns when that is reached.</summary>
    public Task<VolumeInfo> ModeAsync(string name, VolumeModeRequest request, CancellationToken cancel = default)
        => PostAsync<VolumeModeRequest, VolumeInfo>(Of(name) + "/mode", request, cancel);

    /// <summary>The proof that the replica has everything that was written.</summary>
    public Task<DrainProofInfo> DrainAsync(string name, CancellationToken cancel = default)
        => PostAsync<object?, DrainProofInfo>(Of(name) + "/drain", null, cancel);

    /// <summary>The marks of a volume, oldest first.</summary>
    public Task<IReadOnlyList<MarkInfo>> MarksAsync(string name, CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<MarkInfo>>(Of(name) + "/marks", cancel);

    /// <summary>Marks a volume, and others with it; returns when their contents are kept.</summary>
    public Task<IReadOnlyList<MarkInfo>> MarkAsync(string name, MarkRequest request, CancellationToken cancel = default)
        => PostAsync<MarkRequest, IReadOnlyList<MarkInfo>>(Of(name) + "/marks", request, cancel);

    /// <summary>Lets a mark go.</summary>
    public Task UnmarkAsync(string name, string mark, CancellationToken cancel = default)
        => DeleteAsync($"{Of(name)}/marks/{Uri.EscapeDataString(mark)}", cancel);

    /// <summary>Compares what a mark keeps with the content root that it had; takes as long as it takes to read it.</summary>
    public Task<MarkCheckInfo> CheckMarkAsync(string name, string mark, CancellationToken cancel = default)
        => PostAsync<object?, MarkCheckInfo>($"{Of(name)}/marks/{Uri.EscapeDataString(mark)}/check", null, cancel);

    /// <summary>Makes the copy at this store the owner, because that of the other site is lost.</summary>
    public Task<VolumeInfo> PromoteAsync(string name, VolumePromoteRequest request, CancellationToken cancel = default)
        => PostAsync<VolumePromoteRequest, VolumeInfo>(Of(name) + "/promote", request, cancel);

    /// <summary>Has the copy made anew, or gives an ownership up to the other store.</summary>
    public Task<VolumeInfo> ResyncAsync(string name, VolumeResyncRequest request, CancellationToken cancel = default)
        => PostAsync<VolumeResyncRequest, VolumeInfo>(Of(name) + "/resync", request, cancel);

    /// <summary>Makes a volume larger, here and at its replica.</summary>
    public Task<VolumeInfo> ResizeAsync(string name, VolumeResizeRequest request, CancellationToken cancel = default)
        => PostAsync<VolumeResizeRequest, VolumeInfo>(Of(name) + "/resize", request, cancel);

    /// <summary>What was put aside of a volume.</summary>
    public Task<IReadOnlyList<BranchInfo>> BranchesAsync(string name, CancellationToken cancel = default)
        => GetAsync<IReadOnlyList<BranchInfo>>(Of(name) + "/branches", cancel);

    /// <summary>Copies a branch's records to a stream.</summary>
    public Task CopyBranchAsync(string name, int number, Stream into, CancellationToken cancel = default)
        => CopyAsync(Branch(name, number), into, cancel);

    /// <summary>Deletes a branch.</summary>
    public Task DeleteBranchAsync(string name, int number, CancellationToken cancel = default) => DeleteAsync(Branch(name, number), cancel);

    private static string Branch(string name, int number)
        => $"{Of(name)}/branches/{number.ToString(System.Globalization.CultureInfo.InvariantCulture)}";

    private static string Of(string name) => "v1/volumes/" + Uri.EscapeDataString(name);
}
