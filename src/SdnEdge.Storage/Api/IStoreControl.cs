using SdnEdge.Core.Api;
using SdnEdge.Web;

namespace SdnEdge.Storage.Api;

/// <summary>What the HTTP API asks of the store.</summary>
public interface IStoreControl
{
    /// <summary>Events, newest last, bounded.</summary>
    EventLog Events { get; }

    /// <summary>The store.</summary>
    StoreNodeInfo Node();

    /// <summary>All volumes that are served, by name.</summary>
    IReadOnlyList<VolumeInfo> Volumes();

    /// <summary>One of them.</summary>
    /// <exception cref="ProblemException">There is no such volume, or it cannot be served.</exception>
    VolumeInfo Volume(string name);

    /// <summary>Makes a volume and serves it.</summary>
    /// <exception cref="ProblemException">It cannot be made; says why and what would be right. Nothing is left of it.</exception>
    VolumeInfo Create(VolumeRequest request);

    /// <summary>Deletes a volume that no client uses. An image that was there before it stays.</summary>
    /// <exception cref="ProblemException">There is no such volume, or it is in use.</exception>
    void Delete(string name);

    /// <summary>Compares a volume with its own records. It is served meanwhile.</summary>
    /// <exception cref="ProblemException">There is no such volume.</exception>
    Task<VolumeCheckInfo> CheckAsync(string name, CancellationToken cancel);

    /// <summary>All metrics.</summary>
    IReadOnlyList<MetricFamily> Metrics();
}
