using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
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

    /// <summary>Carries out an order of a migration; returns when its effect is on disk.</summary>
    /// <exception cref="ProblemException">It was refused; says why and what would be right.</exception>
    Task<VolumeOrderReply> OrderAsync(string name, OwnershipOrderKind order, VolumeOrderRequest request, CancellationToken cancel);

    /// <summary>Switches when writes are answered; returns when that is reached.</summary>
    /// <exception cref="ProblemException">It cannot be reached, or was not in time.</exception>
    Task<VolumeInfo> ModeAsync(string name, VolumeModeRequest request, CancellationToken cancel);

    /// <summary>The proof that the replica has everything that was written. Nobody writes meanwhile.</summary>
    /// <exception cref="ProblemException">It has not; says what is different.</exception>
    Task<DrainProofInfo> DrainAsync(string name, CancellationToken cancel);

    /// <summary>A person makes the copy here the owner, because the owner's site is lost; returns when it is.</summary>
    /// <exception cref="ProblemException">It is refused; says what would be lost and how it is forced.</exception>
    Task<VolumeInfo> PromoteAsync(string name, VolumePromoteRequest request, string who, CancellationToken cancel);

    /// <summary>A person has the copy made anew, or gives an ownership up to the other store.</summary>
    /// <exception cref="ProblemException">It is refused; says why, and how it is forced.</exception>
    Task<VolumeInfo> ResyncAsync(string name, VolumeResyncRequest request, CancellationToken cancel);

    /// <summary>What was put aside of a volume.</summary>
    /// <exception cref="ProblemException">There is no such volume.</exception>
    IReadOnlyList<BranchInfo> Branches(string name);

    /// <summary>A branch's records, as VolumeBranches writes them.</summary>
    /// <exception cref="ProblemException">There is no such branch, or it is damaged.</exception>
    Stream OpenBranch(string name, int number);

    /// <summary>Deletes a branch.</summary>
    /// <exception cref="ProblemException">There is no such branch.</exception>
    void DeleteBranch(string name, int number);

    /// <summary>Makes a volume larger, here and at its replica, while it is served; returns when that is durable.</summary>
    /// <exception cref="ProblemException">It cannot be; says why and what would be right. Nothing has changed.</exception>
    Task<VolumeInfo> ResizeAsync(string name, VolumeResizeRequest request, CancellationToken cancel);

    /// <summary>Compares a volume with its own records. It is served meanwhile.</summary>
    /// <exception cref="ProblemException">There is no such volume.</exception>
    Task<VolumeCheckInfo> CheckAsync(string name, CancellationToken cancel);

    /// <summary>The marks of a volume, oldest first.</summary>
    /// <exception cref="ProblemException">There is no such volume.</exception>
    IReadOnlyList<MarkInfo> Marks(string name);

    /// <summary>Marks a volume, and others with it at one barrier; returns when their contents there are kept.</summary>
    /// <exception cref="ProblemException">One of them cannot be marked: none is, and it says why.</exception>
    Task<IReadOnlyList<MarkInfo>> MarkAsync(string name, MarkRequest request, CancellationToken cancel);

    /// <summary>Lets a mark go.</summary>
    /// <exception cref="ProblemException">There is none, or a client reads it.</exception>
    Task UnmarkAsync(string name, string mark, CancellationToken cancel);

    /// <summary>Compares what a mark keeps with the content root that the volume had.</summary>
    /// <exception cref="ProblemException">There is none, or it cannot be read.</exception>
    Task<MarkCheckInfo> CheckMarkAsync(string name, string mark, CancellationToken cancel);

    /// <summary>All metrics.</summary>
    IReadOnlyList<MetricFamily> Metrics();
}
