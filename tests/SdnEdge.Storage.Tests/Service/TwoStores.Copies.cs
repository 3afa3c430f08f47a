using SdnEdge.Core.Replication;
using SdnEdge.Storage.Config;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Tests.Service;

// Stores of which the volume exists already, whose link is held and cut, and which are killed.
internal sealed partial class TwoStores
{
    /// <summary>What store-a sends to store-b goes through it.</summary>
    public LinkRelay Relay { get; private init; } = null!;

    /// <summary>The file with a store's copy.</summary>
    public string ImageOf(string store) => Path.Combine(_folder, store, Volume, "image");

    /// <summary>A file of this test.</summary>
    public string FileOf(string name) => Path.Combine(_folder, name);

    /// <summary>Two stores that are not started yet, with a relay between them.</summary>
    /// <param name="image">Contents of the owner's volume; null = zeros.</param>
    /// <param name="options">How the volumes work.</param>
    /// <param name="mode">The volume's mode.</param>
    /// <param name="policy">Its policy.</param>
    public static TwoStores Make(byte[]? image = null, VolumeOptions? options = null, ReplicationMode mode = ReplicationMode.Async,
        ReplicationPolicy? policy = null)
    {
        var relay = new LinkRelay();
        var two = new TwoStores(mode, policy, relay.To) { Relay = relay };
        two._more.Add(relay);
        if (options is not null) two.Start = config => StoreAgent.StartAsync(config, options);
        if (image is not null) WriteSparse(two.Imported, image);
        return two;
    }

    /// <inheritdoc cref="Make"/>
    public static async Task<TwoStores> StartWithRelayAsync(byte[]? image = null, VolumeOptions? options = null,
        ReplicationMode mode = ReplicationMode.Async, ReplicationPolicy? policy = null)
    {
        TwoStores two = Make(image, options, mode, policy);
        await two.StartAAsync();
        await two.StartBAsync();
        return two;
    }

    /// <summary>Makes the volume at a store that is not started, as one that has no replica, and writes a block.</summary>
    public async Task MakeAloneAsync(string store, Guid identity, long offset, byte[] bytes)
    {
        using Volume volume = new VolumeStore(Path.Combine(_folder, store), TimeProvider.System)
            .Create(Volume, Size, new VolumeOptions(), identity);
        if (await volume.WriteAsync(offset, bytes, BlockFlags.ForceUnitAccess, default) != BlockResult.Ok)
            throw new IOException("the block could not be written");
    }

    /// <summary>A store as a process, which can be killed.</summary>
    public async Task<StoreProcess> RunAAsync() => await RunAsync(ConfigA);

    /// <inheritdoc cref="RunAAsync"/>
    public async Task<StoreProcess> RunBAsync() => await RunAsync(ConfigB);

    private async Task<StoreProcess> RunAsync(StoreConfig config)
    {
        StoreProcess process = await StoreProcess.StartAsync(await WriteConfigAsync(config));
        _more.Insert(0, process);
        return process;
    }

    private static void WriteSparse(string path, byte[] image)
    {
        using var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write);
        file.SetLength(image.Length);
        for (int at = 0; at < image.Length; at += 4096)
        {
            if (!image.AsSpan(at, 4096).ContainsAnyExcept((byte)0)) continue;
            file.Position = at;
            file.Write(image.AsSpan(at, 4096));
        }
    }
}
