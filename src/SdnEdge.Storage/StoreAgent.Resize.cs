using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Service;
using SdnEdge.Storage.Volumes;
using SdnEdge.Web;

namespace SdnEdge.Storage;

// A volume gets larger: 1. the replica's store can have it, 2. the disk here can; 3. the record; 4. it is durable, where the mode asks for
// it also at the replica. Before 3. nothing has changed.
public sealed partial class StoreAgent
{
    // For an answer of the replica's store; for room in the log, and for the replica to have the record.
    private static readonly TimeSpan s_sizeWait = TimeSpan.FromSeconds(30);

    // One at a time.
    private readonly SemaphoreSlim _resizing = new(1);

    /// <inheritdoc/>
    public async Task<VolumeInfo> ResizeAsync(string name, VolumeResizeRequest request, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(request);
        await _resizing.WaitAsync(cancel);
        try
        {
            VolumeInfo info = await ResizeAloneAsync(name, request.SizeBytes, cancel);
            if (request.Reconnect) _server.Disconnect(c => c.Export == name);
            return info;
        }
        finally
        {
            _resizing.Release();
        }
    }

    private async Task<VolumeInfo> ResizeAloneAsync(string name, long size, CancellationToken cancel)
    {
        Volume volume = Known(name);
        long before = volume.LastSize;
        _replicated.TryGetValue(name, out ReplicatedVolume? replicated);
        if (size == before) return Volume(name);
        if (size < before) throw new ProblemException(Problems.Conflict(
            $"volume {name} has {before} bytes, and is not made smaller: make a volume of {size} bytes, copy what you need into it, and "
            + "delete this one"));

        await PrepareSizeAsync(volume, replicated, size, cancel);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel, _stop.Token);
        limit.CancelAfter(s_sizeWait);
        BlockResult result;
        try
        {
            result = await Append(volume, replicated, size, limit.Token).WaitAsync(limit.Token);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new ProblemException(Problems.Timeout(volume.LastSize < size
                ? $"volume {name}: its log has no room; it gets larger when it has some"
                : $"volume {name} has {size} bytes here; {replicated?.Peer ?? "its replica"} has not said within "
                    + $"{s_sizeWait.TotalSeconds:0} s that it has them, too: it gets them when it is back, in the order of the log"));
        }

        if (result == BlockResult.Invalid) throw new ProblemException(Problems.Conflict(
            $"volume {name} has got {volume.LastSize} bytes meanwhile; ask again if that is not what it should have"));
        if (result != BlockResult.Ok) throw new ProblemException(Problems.NotKept(
            $"volume {name}: its log cannot be written, or not be made durable ({result}); it has {volume.Size} bytes"));
        Events.Add(Monotonic.Now, "volume", name, "resized", $"{before} bytes before, {size} now");
        lock (_lock)
        {
            // That it has another size than its configuration says.
            if (_config.Volumes.Any(v => v.Name == name && v.Size == size)) _faults.Remove(name);
        }

        return Volume(name);
    }

    // No seal and no drain comes between.
    private static Task<BlockResult> Append(Volume volume, ReplicatedVolume? replicated, long size, CancellationToken cancel)
    {
        if (replicated is null) return volume.GrowAsync(size, cancel).AsTask();
        Enter(replicated);
        try
        {
            return volume.GrowAsync(size, cancel).AsTask();
        }
        finally
        {
            replicated.LeaveAsOwner();
        }
    }

    private static void Enter(ReplicatedVolume replicated)
    {
        if (replicated.EnterAsOwner("resize") is { } why)
            throw new ProblemException(Problems.WrongState($"volume {replicated.Volume.Metadata.Name} cannot be resized here: {why}"));
    }

    private static async Task PrepareSizeAsync(Volume volume, ReplicatedVolume? replicated, long size, CancellationToken cancel)
    {
        string name = volume.Metadata.Name;
        try
        {
            if (replicated is not null)
            {
                // What would be refused is, before anything is prepared for it.
                Enter(replicated);
                replicated.LeaveAsOwner();
                if (await replicated.AskSizeAsync(size, s_sizeWait, cancel) is { } why)
                    throw new ProblemException(Problems.NotKept($"{replicated.Peer}, which has the replica: {why}; nothing has changed"));
            }

            await Task.Run(() => volume.PrepareSize(size), CancellationToken.None);
        }
        catch (VolumeException e)
        {
            throw new ProblemException(Problems.NotKept($"{e.Message}; nothing has changed"));
        }
        catch (IOException e)
        {
            throw new ProblemException(Problems.Unavailable($"{replicated!.Peer}, which has the replica, could not be asked whether it can "
                + $"have {size} bytes for {name}: {e.Message}; nothing has changed: ask again"));
        }
        catch (TimeoutException)
        {
            throw new ProblemException(Problems.Timeout($"{replicated!.Peer}, which has the replica, has not said within "
                + $"{s_sizeWait.TotalSeconds:0} s whether it can have {size} bytes for {name}; nothing has changed: ask again"));
        }
    }
}
