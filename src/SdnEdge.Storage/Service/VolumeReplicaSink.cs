using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Replication;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Service;

/// <summary>
/// A replica's volume, as the link writes it. What is replaced goes aside first: records that the owner's history does not go on from
/// become a branch (<see cref="VolumeBranches"/>), contents that were consistent a kept point.
/// </summary>
/// <param name="volume">The volume.</param>
/// <param name="files">Its records.</param>
/// <param name="log">Its log.</param>
/// <param name="ownership">This store's ownership of it.</param>
/// <param name="tell">Tells the operator: one word, and a sentence.</param>
internal sealed class VolumeReplicaSink(Volume volume, VolumeFiles files, VolumeLogReader log, Func<OwnershipRecord> ownership,
    Action<string, string> tell) : IReplicaSink
{
    /// <summary>Name of the point that is kept while a copy overwrites the volume.</summary>
    public const string KeptPoint = "last consistent";

    // Longest wait for room in the log, in which nothing of it became free.
    private static readonly TimeSpan s_room = TimeSpan.FromSeconds(30);

    /// <inheritdoc/>
    public LogPoint Oldest => log.Oldest;

    /// <inheritdoc/>
    public ulong Applied => volume.TouchedSequence;

    /// <inheritdoc/>
    public ulong ContentRoot => volume.Drain(ulong.MaxValue, out int error)?.Root ?? throw Failed("be applied", error);

    /// <inheritdoc/>
    public bool KeepsBatchesWhole => false;

    /// <inheritdoc/>
    public long LastSize => volume.LastSize;

    /// <inheritdoc/>
    public long? SizeAt(ulong sequence) => volume.SizeAt(sequence);

    /// <inheritdoc/>
    public string? PrepareSize(long size)
    {
        try
        {
            volume.PrepareSize(size);
            return null;
        }
        catch (VolumeException e)
        {
            return e.Message;
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<(long Offset, long Length)> Ranges(int number) => TouchedRanges.Load(files.Folder, number);

    /// <inheritdoc/>
    public void KeepRanges(LogPoint common, int number, ReplicaRecord before, IReadOnlyList<(long Offset, long Length)> more)
    {
        ArgumentNullException.ThrowIfNull(before);
        IEnumerable<(long, long)> left = before switch
        {
            { Phase: not (CopyPhase.Copying or CopyPhase.Resyncing) } or { CopyEnd: not null } => [],
            { Copies: StreamStart.Everything } when before.CopiedBytes >= volume.LastSize => [],
            { Copies: StreamStart.Everything } => [(before.CopiedBytes, volume.LastSize - before.CopiedBytes)],
            _ => TouchedRanges.Behind(TouchedRanges.Load(files.Folder, before.Ranges), before.CopiedBytes),
        };

        // What is behind the volume's size there comes with the log; where that begins later, the owner's ranges say how far.
        long size = more.Select(r => r.Offset + r.Length).Append(volume.SizeAt(common.Sequence) ?? volume.LastSize).Max();
        IReadOnlyList<(long, long)> ranges = TouchedRanges.Of(log.Behind(common.Sequence), left.Concat(more), size);
        TouchedRanges.Save(files.Folder, number, ranges);
    }

    /// <inheritdoc/>
    public void Resume()
    {
        // A copy that became whole, and whose root could not be summed up then.
        if (volume.IsCopying && files.Replica is { Phase: CopyPhase.Following }) EndResync(volume.Log.LastSequence);
        volume.ResumeCopy();
    }

    /// <inheritdoc/>
    public LogPoint? PointAt(ulong sequence) => log.PointAt(sequence);

    /// <inheritdoc/>
    public byte[]? Vouched(long block, ulong hash) => volume.Vouched(block, hash);

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
        TouchedRanges.DeleteBut(files.Folder, record.Ranges);
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task SyncCopyAsync(CancellationToken cancel)
    {
        Check(volume.SyncCopy(), "be made durable");
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task PutTailAsideAsync(LogPoint to, CancellationToken cancel)
    {
        if (to.Sequence == volume.Log.LastSequence) return Task.CompletedTask;
        PutAside(to);
        Check(volume.BeginAnew(to, volume.IsCopying), $"be cut to record {to.Sequence}");
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task BeginResyncAsync(LogPoint? common, CancellationToken cancel)
    {
        // Begun before, and the connection was lost before the owner was told.
        if (common is { } there && volume.IsCopying && log.Last == there) return Task.CompletedTask;
        KeepConsistent();
        if (common is not { } point)
        {
            // Records of this site's own, or of nobody else that is known: a replica that fell behind has none.
            if (!volume.IsCopying && ownership().Granted is { IsDefaultOrEmpty: false } granted && granted.Contains(volume.Log.Epoch))
                PutAside(log.Oldest);
            return Task.CompletedTask;
        }

        PutAside(point);
        Check(volume.BeginAnew(point, copying: true), $"be put back to record {point.Sequence}");
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task BeginLogAsync(LogPoint at, long size, CancellationToken cancel)
    {
        volume.PrepareSize(size);
        Check(volume.BeginAnew(at, size), $"begin its log anew at record {at.Sequence}");
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public void WriteCopy(long offset, ReadOnlySpan<byte> bytes) => Check(volume.WriteCopy(offset, bytes), "be written");

    /// <inheritdoc/>
    public void ZeroCopy(long offset, long length) => Check(volume.ZeroCopy(offset, length), "be written");

    /// <inheritdoc/>
    public void EndResync(ulong through)
    {
        Check(volume.EndCopy(through), "be summed up");
        if (volume.Points.Any(p => p.Name == KeptPoint)) volume.DropPoint(KeptPoint);
        TouchedRanges.DeleteBut(files.Folder, -1);
    }

    // What is there now can be gone back to, until the copy is whole. A volume that nothing was ever written to is nothing to go back to.
    private void KeepConsistent()
    {
        if (volume.IsCopying || files.Replica?.LastConsistent is null) return;
        if (volume.Points.Any(p => p.Name == KeptPoint)) volume.DropPoint(KeptPoint);
        LogPoint at = volume.KeepPoint(KeptPoint);
        tell("point-kept", $"what it is at sequence {at.Sequence} is kept, until the copy of what differs is whole");
    }

    private Branch? PutAside(LogPoint from)
    {
        Check(volume.Log.Commit(), "be made durable");
        Branch? branch = files.Branches.Put(volume.Log, from);
        if (branch is not null)
        {
            tell("branch", $"{branch.Records} records behind {from.Sequence} ({branch.Bytes} bytes) are not the owner's: put aside as "
                + $"branch {branch.Number}");
        }

        return branch;
    }

    private void Check(int error, string what)
    {
        if (error != 0) throw Failed(what, error);
    }

    private IOException Failed(string what, int error)
        => new($"volume {volume.Metadata.Name} cannot {what}: {(error == 0 ? "unknown" : RawFile.Describe(error))}");
}
