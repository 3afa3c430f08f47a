using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Tests.Log;
using SdnEdge.Storage.Volumes;
using Xunit;

namespace SdnEdge.Storage.Tests.Volumes;

/// <summary>
/// A new volume with a small log on a <see cref="CrashDisk"/>. It does nothing by itself: all of its work is a test's to do.
/// </summary>
internal sealed class CrashVolume
{
    private readonly VolumeMetadata _metadata;
    private readonly VolumeOptions _options;
    private ulong _salt;

    public CrashVolume(int seed, long size, Guid identity)
    {
        _salt = (ulong)seed << 32;
        _metadata = new VolumeMetadata { Name = "v", Identity = identity, Size = size };
        _options = new VolumeOptions
        {
            Background = false,
            MaxPendingBlocks = 64,
            Log = new VolumeLogOptions { SegmentSize = 64 << 10, MaxSegments = 4, Background = false, NewSalt = () => ++_salt },
        };
        Disk = new CrashDisk(seed);
        Volume = Volume.Create(Disk, Image(), _metadata, _options, out _)!;
    }

    public CrashDisk Disk { get; private set; }

    public Volume Volume { get; private set; }

    /// <summary>The power goes, if it has not, and comes back: what is left is opened.</summary>
    public LogRecovery Recover(int nextSeed)
    {
        Disk = Disk.Survivor(nextSeed);
        Volume = Volume.Open(Disk, Image(), _metadata, _options, out LogRecovery? recovery, out int error)!;
        Assert.True(Volume is not null, $"not opened: error {error}, {string.Join("; ", recovery?.Damage ?? [])}");
        return recovery!;
    }

    /// <summary>Does all the work that there is.</summary>
    public static void Pump(Volume volume)
    {
        volume.Log.Commit();
        while (volume.ApplyOnce())
        {
        }

        volume.Checkpoint();
        while (volume.Log.PrepareSegment())
        {
        }
    }

    private Volume.Parts Image() => new(Disk.Open("image", _metadata.Size, out _)!);
}
