using SdnEdge.Core.Api;
using SdnEdge.Lab.Disks;

namespace SdnEdge.Demo.Report;

/// <summary>What a run yielded of the server's disk. Times are CLOCK_MONOTONIC nanoseconds.</summary>
/// <param name="Volume">The volume.</param>
/// <param name="Sides">It at each site's store, as the stores say at the end; the first is where the server was at first.</param>
/// <param name="Last">The guest's last word of its writing; null = it never answered.</param>
/// <param name="Writes">The records that it told of, in order.</param>
/// <param name="Disks">What was read from each site's disk at the end, the guest having stopped to write.</param>
internal sealed record StorageFacts(
    string Volume, IReadOnlyList<StorageSide> Sides, DiskWord? Last, IReadOnlyList<DiskWrite> Writes, IReadOnlyList<DiskRead> Disks);

/// <summary>A volume at a store.</summary>
/// <param name="Store">The store.</param>
/// <param name="Site">Its site.</param>
/// <param name="Volume">What it says of the volume; null = it did not answer.</param>
internal sealed record StorageSide(string Store, string Site, VolumeInfo? Volume);

/// <summary>The direction of replication has turned round with a move.</summary>
/// <param name="LinkedNs">When the target's store was first seen to own the volume and to have the source's as its replica; null = it was
/// not.</param>
/// <param name="LagBytes">What the replica lacked at the end of the run; null = that was not seen.</param>
internal sealed record DirectionFacts(long? LinkedNs, long? LagBytes);
