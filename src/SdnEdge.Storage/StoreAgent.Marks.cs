using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Api;
using SdnEdge.Storage.Config;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Nbd;
using SdnEdge.Storage.Service;
using SdnEdge.Storage.Volumes;
using SdnEdge.Web;
using OneVolume = SdnEdge.Storage.Volumes.Volume;

namespace SdnEdge.Storage;

// Marks: made, listed, exported as VOLUME@MARK, taken away by hand or by retention.
public sealed partial class StoreAgent
{
    private static readonly TimeSpan s_roomForMark = TimeSpan.FromSeconds(30), s_retainEvery = TimeSpan.FromSeconds(1);

    // One at a time: a name is given once, and nobody drops what another hands over.
    private readonly SemaphoreSlim _marking = new(1);
    private readonly Lock _clonesLock = new();
    private readonly Dictionary<string, Dictionary<string, LogPoint>> _clones = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _retainTold = new(StringComparer.Ordinal);
    private Task _retaining = Task.CompletedTask;

    /// <inheritdoc/>
    public IReadOnlyList<MarkInfo> Marks(string name)
    {
        Volume volume = Known(name);
        return [.. MarksOf(volume).Select(p => Mark(volume, p))];
    }

    /// <inheritdoc/>
    public async Task<IReadOnlyList<MarkInfo>> MarkAsync(string name, MarkRequest request, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(request);
        Volume[] volumes = [.. ((string[])[name, .. request.With ?? []]).Order(StringComparer.Ordinal).Select(Known)];
        string? group = request.Group ?? (volumes.Length > 1 ? request.Name : null);
        await _marking.WaitAsync(cancel);
        try
        {
            foreach (Volume volume in volumes)
            {
                if (volume.Points.Any(p => p.Name == request.Name)) throw new ProblemException(Problems.Conflict(
                    $"volume {volume.Metadata.Name} has a mark {request.Name} already; take another name, or delete that one first"));
            }

            IReadOnlyList<LogRecord> records = await MarkTogetherAsync(volumes, new MarkText(request.Name, group, DateTimeOffset.UtcNow),
                cancel);

            // What is marked is marked, whoever still waits for the answer.
            string?[] failed = await Task.WhenAll(
                volumes.Select((v, i) => Task.Run(() => KeptFault(v, records[i]), CancellationToken.None)));
            if (failed.OfType<string>().ToArray() is { Length: > 0 } faults)
            {
                for (int i = 0; i < volumes.Length; i++) await Task.Run(() => TryUndo(volumes[i], records[i]), CancellationToken.None);
                throw new ProblemException(Problems.NotKept(string.Join("; ", faults)
                    + (volumes.Length > faults.Length ? "; the other volumes have let theirs go" : "")));
            }

            foreach (Volume volume in volumes) ExportMarks(volume);
            return [.. volumes.Select((v, i) => Mark(v, v.Points.First(p => p.At == LogPoint.Of(records[i]))))];
        }
        finally
        {
            _marking.Release();
        }
    }

    /// <inheritdoc/>
    public async Task UnmarkAsync(string name, string mark, CancellationToken cancel)
    {
        await _marking.WaitAsync(cancel);
        try
        {
            Volume volume = Known(name);
            VolumePoint point = KnownMark(volume, mark);
            if (Readers(name, mark) is { Length: > 0 } readers) throw new ProblemException(Problems.Conflict(
                $"mark {mark} of volume {name} is read by {string.Join(", ", readers)}; end "
                + $"{(readers.Length == 1 ? "it" : "them")} first"));
            await Task.Run(() => Drop(volume, point, "unmarked", $"mark {mark} is deleted; it kept {point.Bytes} bytes"), cancel);
        }
        catch (VolumeException e)
        {
            throw new ProblemException(Problems.NotKept(e.Message));
        }
        finally
        {
            _marking.Release();
        }
    }

    /// <inheritdoc/>
    public Task<MarkCheckInfo> CheckMarkAsync(string name, string mark, CancellationToken cancel)
    {
        Volume volume = Known(name);
        VolumePoint point = KnownMark(volume, mark);
        return Task.Run(
            () =>
            {
                bool good;
                try
                {
                    good = volume.VerifyPoint(mark, cancel) ?? throw new ProblemException(Problems.NotFound(
                        $"mark {mark} of volume {name} was taken away meanwhile"));
                }
                catch (IOException e)
                {
                    throw new ProblemException(Problems.Unavailable(e.Message));
                }

                Events.Add(Monotonic.Now, "volume", name, "mark-checked", $"mark {mark}: {(good ? "good" : "NOT what the volume was")}");
                return new MarkCheckInfo(name, mark, good, Hex(point.Root));
            }, cancel);
    }

    // All at one barrier, each by its owner. A log without room gets some time to find it.
    private async Task<IReadOnlyList<LogRecord>> MarkTogetherAsync(Volume[] volumes, MarkText mark, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel, _stop.Token);
        limit.CancelAfter(s_roomForMark);
        while (true)
        {
            var room = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            void Ready() => room.TrySetResult();
            foreach (Volume volume in volumes) volume.Log.SegmentReady += Ready;
            try
            {
                MarkBarrier barrier = AsOwner(volumes, () => OneVolume.MarkAll(volumes, mark));
                if (barrier.Failed is not { } failed) return barrier.Records;
                string why = $"volume {failed.Metadata.Name} cannot be marked: {barrier.Why}";
                if (!barrier.NoRoom)
                {
                    // Those before it are marked already.
                    for (int i = 0; i < barrier.Records.Count; i++) TryUndo(volumes[i], barrier.Records[i]);
                    throw new ProblemException(Problems.Unavailable(why));
                }

                await room.Task.WaitAsync(limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                cancel.ThrowIfCancellationRequested();
                if (limit.IsCancellationRequested) throw new ProblemException(Problems.Unavailable(
                    $"{why}, and had no room within {s_roomForMark.TotalSeconds:0} s; nothing was marked"));
            }
            finally
            {
                foreach (Volume volume in volumes) volume.Log.SegmentReady -= Ready;
            }
        }
    }

    // No seal and no drain comes between: they wait until the volumes are left.
    private MarkBarrier AsOwner(Volume[] volumes, Func<MarkBarrier> mark)
    {
        var entered = new List<ReplicatedVolume>();
        try
        {
            foreach (Volume volume in volumes)
            {
                if (!_replicated.TryGetValue(volume.Metadata.Name, out ReplicatedVolume? replicated)) continue;
                if (replicated.EnterAsOwner("mark") is { } why)
                    throw new ProblemException(Problems.WrongState($"volume {volume.Metadata.Name} cannot be marked here: {why}"));
                entered.Add(replicated);
            }

            return mark();
        }
        finally
        {
            foreach (ReplicatedVolume replicated in entered) replicated.LeaveAsOwner();
        }
    }

    // The log is applied up to the mark; then its point is there. Null: it is.
    private static string? KeptFault(Volume volume, LogRecord record)
    {
        string name = volume.Metadata.Name;
        if (volume.Drain(record.Sequence, out int error) is null)
            return $"volume {name} has the mark in its log at sequence {record.Sequence}, but its log cannot be applied up to there: "
                + $"{RawFile.Describe(error)}; its content there is kept when it can";
        return volume.Points.Any(p => p.At == LogPoint.Of(record)) ? null
            : $"volume {name} could not keep its content at sequence {record.Sequence}: its events say why";
    }

    private static void TryUndo(Volume volume, LogRecord record)
    {
        try
        {
            if (volume.Drain(record.Sequence, out _) is not null && volume.Points.FirstOrDefault(p => p.At == LogPoint.Of(record)) is { } p)
                volume.DropPoint(p.Name);
        }
        catch (VolumeException)
        {
            // It stays, and is listed.
        }
    }

    private void Drop(Volume volume, VolumePoint point, string change, string detail)
    {
        string name = volume.Metadata.Name;
        volume.DropPoint(point.Name);
        ExportMarks(volume);
        Events.Add(Monotonic.Now, "volume", name, change, detail);
    }

    private static VolumePoint[] MarksOf(Volume volume) => [.. volume.Points.Where(p => p.IsMark)];

    private static string ExportOf(string volume, string mark) => $"{volume}@{mark}";

    private static MarkInfo Mark(Volume volume, VolumePoint p) => new(volume.Metadata.Name, p.Name, LogPointInfo.Of(p.At), p.Created,
        p.Group, Hex(p.Root), p.Bytes, ExportOf(volume.Metadata.Name, p.Name));

    private static VolumePoint KnownMark(Volume volume, string mark) => MarksOf(volume).FirstOrDefault(p => p.Name == mark)
        ?? throw new ProblemException(Problems.NotFound($"volume {volume.Metadata.Name} has no mark '{mark}'; it has "
            + string.Join(", ", MarksOf(volume).Select(p => p.Name).DefaultIfEmpty("none"))));

    private static bool IsOf(string? export, string volume)
        => export is not null && (export == volume || export.StartsWith(volume + "@", StringComparison.Ordinal));

    private string[] Readers(string volume, string mark)
        => [.. _server.Connections.Where(c => c.Export == ExportOf(volume, mark)).Select(c => c.Client.ToString())];

    private void ServeMarks(Volume volume)
    {
        foreach (VolumeEvent found in volume.Found)
            Events.Add(Monotonic.Now, "volume", volume.Metadata.Name, JsonWord(found.Kind), found.Message);

        // Not by the thread that tells it: it holds the volume.
        volume.PointsChanged += () => _ = Task.Run(() => ExportMarks(volume));
        ExportMarks(volume);
    }

    // Every mark is an export that may only be read, by those who find the volume.
    private void ExportMarks(Volume volume)
    {
        string name = volume.Metadata.Name;
        lock (_clonesLock)
        {
            bool served = _volumes.TryGetValue(name, out Volume? known) && known == volume;
            if (!_clones.TryGetValue(name, out Dictionary<string, LogPoint>? there))
                _clones[name] = there = new Dictionary<string, LogPoint>(StringComparer.Ordinal);
            VolumePoint[] wanted = served ? MarksOf(volume) : [];
            foreach ((string mark, LogPoint at) in there.ToArray())
            {
                if (wanted.Any(p => p.Name == mark && p.At == at)) continue;
                _server.Remove(ExportOf(name, mark));
                there.Remove(mark);
            }

            foreach (VolumePoint point in wanted)
            {
                if (there.ContainsKey(point.Name) || volume.OpenPoint(point.Name) is not { } device) continue;
                _server.Add(new NbdExport(ExportOf(name, point.Name), device)
                {
                    IsReadOnly = true, OnlyByName = true, Description = $"{name} at sequence {point.At.Sequence}",
                });
                there[point.Name] = point.At;
            }

            if (!served) _clones.Remove(name);
        }
    }

    private MarkRetention? RetentionOf(string volume)
        => _config.Volumes.FirstOrDefault(v => v.Name == volume)?.Marks ?? _config.Marks;

    private async Task RetainAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            foreach (Volume volume in _volumes.Values)
            {
                if (RetentionOf(volume.Metadata.Name) is { } keep && MarksOf(volume).Length > 0) await RetainAsync(volume, keep);
            }

            await Task.Delay(s_retainEvery, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    // Oldest first. Who reads an old one is waited for; who reads one for which there is no room is not.
    private async Task RetainAsync(Volume volume, MarkRetention keep)
    {
        string name = volume.Metadata.Name;
        await _marking.WaitAsync(_stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (_stop.IsCancellationRequested) return;
        try
        {
            while (MarksOf(volume) is { Length: > 0 } marks)
            {
                VolumePoint oldest = marks[0];
                long bytes = marks.Sum(p => p.Bytes);
                bool large = keep.Bytes > 0 && bytes > keep.Bytes;
                bool old = keep.Time > TimeSpan.Zero && DateTimeOffset.UtcNow - oldest.Created > keep.Time;
                if (!large && (!old || Readers(name, oldest.Name).Length > 0)) return;
                Drop(volume, oldest, "mark-expired", $"mark {oldest.Name} of {oldest.Created:u} is dropped: "
                    + (large ? $"the marks keep {bytes} bytes, keepBytes allows {keep.Bytes}" : $"it is older than keepFor, {keep.Time}"));
            }

            _retainTold.Remove(name);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            if (_retainTold.TryGetValue(name, out string? said) && said == e.Message) return;
            _retainTold[name] = e.Message;
            Events.Add(Monotonic.Now, "volume", name, "fault", $"a mark that is over its retention stays: {e.Message}");
        }
        finally
        {
            _marking.Release();
        }
    }
}
