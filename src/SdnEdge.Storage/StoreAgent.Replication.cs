using System.Collections.Concurrent;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Api;
using SdnEdge.Storage.Service;
using SdnEdge.Storage.Volumes;
using SdnEdge.Web;

namespace SdnEdge.Storage;

// Replicated volumes, as the API shows them and as a person decides about them.
public sealed partial class StoreAgent
{
    /// <inheritdoc/>
    public async Task<VolumeInfo> PromoteAsync(string name, VolumePromoteRequest request, string who, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(request);
        ReplicatedVolume volume = Replicated(name);
        try
        {
            OwnershipReply reply = await volume.PromoteAsync(request.Force, request.Epoch, Whole(request.Client), who, cancel);
            Events.Add(Monotonic.Now, "volume", name, "promoted", $"by {who}, under epoch {reply.Epoch}"
                + (request.Force is null ? "" : ", forced"));
            return Volume(name);
        }
        catch (OwnershipRefusedException e)
        {
            throw new ProblemException(StoreProblems.Of(e.Refusal));
        }
    }

    /// <inheritdoc/>
    public async Task<VolumeInfo> ResyncAsync(string name, VolumeResyncRequest request, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(request);
        try
        {
            await Replicated(name).ResyncAsync(request.Force, cancel);
            return Volume(name);
        }
        catch (OwnershipRefusedException e)
        {
            throw new ProblemException(StoreProblems.Of(e.Refusal));
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<BranchInfo> Branches(string name)
        => Known(name) is var volume && _replicated.TryGetValue(name, out ReplicatedVolume? replicated) ? Infos(replicated) : [];

    /// <inheritdoc/>
    public Stream OpenBranch(string name, int number)
    {
        try
        {
            return Replicated(name).Branches.Open(number);
        }
        catch (FileNotFoundException e)
        {
            throw new ProblemException(Problems.NotFound(e.Message));
        }
        catch (IOException e)
        {
            throw new ProblemException(Problems.Unavailable(e.Message));
        }
    }

    /// <inheritdoc/>
    public void DeleteBranch(string name, int number)
    {
        try
        {
            Replicated(name).Branches.Delete(number);
            Events.Add(Monotonic.Now, "volume", name, "branch-deleted", $"branch {number}");
        }
        catch (FileNotFoundException e)
        {
            throw new ProblemException(Problems.NotFound(e.Message));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ProblemException(Problems.Unavailable(e.Message));
        }
    }

    private readonly ConcurrentDictionary<string, (VolumeScrubber Scrubber, CancellationTokenSource Stop, Task Runs)> _scrubbers
        = new(StringComparer.Ordinal);

    private void Scrub(Volume volume, ReplicatedVolume? replicated)
    {
        if (Options.VerifyEvery == Timeout.InfiniteTimeSpan) return;
        string name = volume.Metadata.Name;
        var scrubber = new VolumeScrubber(volume, replicated, Options.VerifyEvery,
            (change, detail) => Events.Add(Monotonic.Now, "volume", name, change, detail));
        var stop = new CancellationTokenSource();
        _scrubbers[name] = (scrubber, stop, Task.Run(() => scrubber.RunAsync(stop.Token)));
    }

    private void EndScrub(string name)
    {
        if (!_scrubbers.TryRemove(name, out (VolumeScrubber Scrubber, CancellationTokenSource Stop, Task Runs) scrub)) return;
        scrub.Stop.Cancel();
        scrub.Runs.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing).GetAwaiter().GetResult();
        scrub.Stop.Dispose();
    }

    private MetricFamily[] ScrubMetrics()
    {
        return
        [
            new("sdnedge_store_verified_blocks_total", "Blocks that the background check has read.", MetricKind.Counter, Each(s => s.Read)),
            new("sdnedge_store_repaired_blocks_total",
                "Blocks that were not as they were written, and were put right from the other store.",
                MetricKind.Counter, Each(s => s.Repaired)),
            new("sdnedge_store_bad_blocks", "Blocks that are not as they were written, and could not be put right.", MetricKind.Gauge,
                Each(s => s.Open)),
        ];

        MetricSample[] Each(Func<VolumeScrubber, double> value) => [.. _scrubbers.OrderBy(s => s.Key, StringComparer.Ordinal)
            .Select(s => new MetricSample(value(s.Value.Scrubber), ("volume", s.Key)))];
    }

    private static VolumeInfo Info(Volume volume, ReplicatedVolume replicated)
    {
        OwnershipState state = replicated.Ownership;
        OwnershipRecord record = state.Record;
        ReplicaRecord copy = replicated.Replica.Record;
        LogPointInfo last = LogPointInfo.Of(replicated.Durable);
        VolumeReplicationInfo? replication = null;
        VolumeReplicaInfo? replica = null;
        if (replicated.Primary is { } primary)
        {
            replication = VolumeReplicationInfo.Of(primary, Monotonic.Now) with
            {
                Copy = replicated.Sending is { } sending ? new VolumeCopyInfo(sending.Copied, sending.Total) : null,
                SentBytes = replicated.SentBytes, LetGoThrough = replicated.LetGoThrough,
            };
        }
        else
        {
            (long copied, long total) = replicated.Receiving;
            LogPointInfo? consistent = copy.Phase == CopyPhase.Following ? last
                : copy.LastConsistent is { } kept ? LogPointInfo.Of(kept) : null;
            replica = new VolumeReplicaInfo(copy.Phase, last, consistent, copied, total);
        }

        return new VolumeInfo(volume.Metadata.Name, volume.Metadata.Identity, volume.Size, record.Role, record.Seen, record.GrantedEpoch,
            record.Client?.ToString(), state.Parked, state.ParkedBytes, record.ForcedBy, replication, replica, Infos(replicated),
            replicated.Modes.Changes, replicated.Modes.Drain);
    }

    private static BranchInfo[] Infos(ReplicatedVolume volume) => [.. volume.Branches.List().Select(b
        => new BranchInfo(b.Number, LogPointInfo.Of(b.From), LogPointInfo.Of(b.Last), b.Records, b.Bytes))];
}
