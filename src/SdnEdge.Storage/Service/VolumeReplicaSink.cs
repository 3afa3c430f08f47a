using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Replication;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Service;

/// <summary>
/// A replica's volume, as the link writes it. What would overwrite it (a copy of a volume that was not made with it, what differs after a
/// split)
/// is refused: there is no last consistent point kept beside yet.
/// </summary>
internal sealed class VolumeReplicaSink(Volume volume, VolumeFiles files, VolumeLogReader log) : IReplicaSink
{
    // Longest wait for room in the log, in which nothing of it became free.
    private static readonly TimeSpan s_room = TimeSpan.FromSeconds(30);

    /// <inheritdoc/>
    public LogPoint Oldest => log.Oldest;

    /// <inheritdoc/>
    public ulong Applied => volume.AppliedSequence;

    /// <inheritdoc/>
    public ulong ContentRoot => volume.Drain(ulong.MaxValue, out int error)?.Root ?? throw Failed("be applied", error);

    /// <inheritdoc/>
    public bool KeepsBatchesWhole => false;

    /// <inheritdoc/>
    public IReadOnlyList<(long Offset, long Length)> Differences => [];

    /// <inheritdoc/>
    public LogPoint? PointAt(ulong sequence) => log.PointAt(sequence);

    /// <inheritdoc/>
    public void Append(RecordBatch batch, int skip)
    {
        ArgumentNullException.ThrowIfNull(batch);
        long until = Environment.TickCount64 + (long)s_room.TotalMilliseconds;
        for (int i = skip; i < batch.Count;)
        {
            switch (volume.AppendReplicated(batch.Records[i], batch.Payload(i).Span))
            {
                case AppendStatus.Appended:
                    i++;
                    break;
                case AppendStatus.NoRoom when Environment.TickCount64 < until:
                    // It comes by applying, which a full log has begun.
                    Thread.Sleep(1);
                    break;
                case AppendStatus.NoRoom:
                    throw new IOException($"the log of volume {volume.Metadata.Name} has no room for record {batch.Records[i].Sequence}");
                case AppendStatus.Failed:
                    throw Failed("be written", volume.Log.Failure != 0 ? volume.Log.Failure : volume.Log.LastError);
                default:
                    throw new LinkFormatException($"record {batch.Records[i].Sequence} does not continue the log of volume "
                        + $"{volume.Metadata.Name}");
            }
        }
    }

    /// <inheritdoc/>
    public async Task<ulong> SyncAsync(CancellationToken cancel)
    {
        if (await volume.Log.CommitAsync(volume.Log.LastSequence).ConfigureAwait(false) is var error and not 0)
            throw Failed("be made durable", error);
        return volume.Log.DurableSequence;
    }

    /// <inheritdoc/>
    public void ApplyUpTo(ulong sequence) => volume.ApplyLimit = sequence;

    /// <inheritdoc/>
    public Task WriteAsync(ReplicaRecord record, CancellationToken cancel)
    {
        files.Write(record);
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task PutTailAsideAsync(LogPoint to, CancellationToken cancel)
        => to.Sequence == volume.Log.LastSequence ? Task.CompletedTask
            : throw Unknown($"its records behind sequence {to.Sequence} (it has {volume.Log.LastSequence}) are not the owner's");

    /// <inheritdoc/>
    public Task BeginResyncAsync(LogPoint? common, CancellationToken cancel)
        => throw Unknown(common is { } point ? $"it differs from the owner's behind sequence {point.Sequence}"
            : "it has no record in common with the owner's, or one of the two logs does not reach back to it");

    /// <inheritdoc/>
    public Task BeginLogAsync(LogPoint at, CancellationToken cancel) => throw Unknown("it would have to be copied");

    /// <inheritdoc/>
    public void WriteCopy(long offset, ReadOnlySpan<byte> bytes) => throw Unknown("it would have to be copied");

    /// <inheritdoc/>
    public void ZeroCopy(long offset, long length) => throw Unknown("it would have to be copied");

    /// <inheritdoc/>
    public void EndResync()
    {
        // Nothing is kept beside.
    }

    private IOException Failed(string what, int error)
        => new($"volume {volume.Metadata.Name} cannot {what}: {(error == 0 ? "unknown" : RawFile.Describe(error))}");

    private IOException Unknown(string why)
        => new($"the copy of {volume.Metadata.Name} cannot follow: {why}; delete it here, so that it is made anew, or keep it for "
            + $"inspection");
}
