using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Log;

namespace SdnEdge.Storage.Volumes;

/// <summary>How marking several volumes at one barrier ended.</summary>
/// <param name="Records">The marks' records, in the order of the volumes; empty when it failed.</param>
/// <param name="Failed">The volume that could not; null = all could.</param>
/// <param name="Why">Why not.</param>
/// <param name="NoRoom">Its log has no room now: it may be tried again when <see cref="VolumeLog.SegmentReady"/> says so.</param>
internal sealed record MarkBarrier(IReadOnlyList<LogRecord> Records, Volume? Failed = null, string? Why = null, bool NoRoom = false);

// Marks: records of the log at which the volume's content is kept, here and at every replica. The order:
//
//   1. nothing behind a mark is applied before the mark is
//   2. the image is made durable, the superblock says "everything before the mark"
//   3. the point is made
//   4. the superblock says "the mark, too"; before that nothing behind it is applied
//
// So a mark that recovery finds in front of it, and that has no point, stands where the image is: nothing behind it was ever applied.
public sealed partial class Volume
{
    private ulong _stopApplied;

    /// <summary>Kept points have come or gone. By the thread that did it; the volume must not be called.</summary>
    public event Action? PointsChanged;

    /// <summary>Names this point in time: the volume's content here is kept, here and at every replica, as soon as the log is applied up to
    /// it.</summary>
    /// <param name="mark">What it says.</param>
    /// <param name="record">The record that says so.</param>
    /// <exception cref="ArgumentException">The name is empty or too long.</exception>
    public AppendStatus Mark(MarkText mark, out LogRecord record)
    {
        ArgumentNullException.ThrowIfNull(mark);
        byte[] bytes = mark.ToBytes();
        lock (_log.Gate) return AppendMark(bytes, out record);
    }

    /// <summary>Marks several volumes at one barrier: while the marks are appended no write of any of them gets a sequence, so that their
    /// points are crash-consistent over all of them. They hold each other up for as long as it takes to append a few records.</summary>
    /// <param name="volumes">Always in the same order, by name: each one's lock is taken.</param>
    /// <param name="mark">What the marks say.</param>
    internal static MarkBarrier MarkAll(IReadOnlyList<Volume> volumes, MarkText mark)
    {
        byte[] bytes = mark.ToBytes();
        return Hold(0);

        MarkBarrier Hold(int next)
        {
            if (next == volumes.Count) return MarkHeld(volumes, bytes);
            lock (volumes[next]._log.Gate) return Hold(next + 1);
        }
    }

    // 1. All can; 2. all do.
    private static MarkBarrier MarkHeld(IReadOnlyList<Volume> volumes, byte[] bytes)
    {
        foreach (Volume volume in volumes)
        {
            if (volume._disposed) return new MarkBarrier([], volume, "it is being closed");
            if (volume._log.Failure != 0)
                return new MarkBarrier([], volume, $"its log has failed ({RawFile.Describe(volume._log.Failure)}); start the store again");
            if (!volume._log.HasRoom(bytes.Length))
            {
                volume.Kick();
                return new MarkBarrier([], volume, "its log is full", NoRoom: true);
            }
        }

        List<LogRecord> records = [];
        foreach (Volume volume in volumes)
        {
            if (volume.AppendMark(bytes, out LogRecord record) != AppendStatus.Appended)
            {
                return new MarkBarrier(records, volume, $"its log could not be written: {RawFile.Describe(volume._log.LastError)}");
            }

            records.Add(record);
        }

        return new MarkBarrier(records);
    }

    private AppendStatus AppendMark(byte[] bytes, out LogRecord record)
    {
        AppendStatus status = _log.Append(LogRecordKind.Mark, 0, bytes.Length, bytes, out record, out _);
        if (status == AppendStatus.Appended) _index.AddStop(record.Sequence);
        return status;
    }

    // The last sequence before the first record that is not applied and at which applying stops.
    private ulong BeforeStop
    {
        get
        {
            lock (_log.Gate) return _index.FirstStop - 1;
        }
    }

    // Under the apply lock. False: nothing more may be applied now.
    private bool StopIsDurable() =>
        _applied < _stopApplied || _super.Applied >= _stopApplied || (Checkpoint() == 0 && _super.Applied >= _stopApplied);

    // Under the apply lock: the next record is a mark, or another size.
    private bool ApplyStop(ulong sequence)
    {
        if (_log.Read(sequence, sequence, ref _cursor, _applyBuffer, _entries) != LogReadStatus.Read)
        {
            Fail(VolumeEventKind.LogDamaged, "log", RawFile.IoError, $"record {sequence} cannot be read back from the log: run check");
            return false;
        }

        LogRecord record = _entries[0].Record;
        return record.Kind == LogRecordKind.Size ? ApplySize(record) : ApplyMark(record);
    }

    private void StopApplied(in LogRecord record)
    {
        _stopApplied = record.Sequence;
        lock (_log.Gate)
        {
            Volatile.Write(ref _applied, record.Sequence);
            _index.RemoveThrough(record.Sequence);
        }

        (_appliedChain, _appliedEpoch) = (record.Chain, record.Epoch);
        _appliedSinceCheckpoint += LogRecordCodec.SizeOnDisk(record);
    }

    private bool ApplyMark(in LogRecord record)
    {
        ulong sequence = record.Sequence;
        MarkText mark = MarkText.Parse(_applyBuffer.AsSpan(_entries[0].PayloadAt, (int)record.Length));
        LogPoint at = LogPoint.Of(record);
        string? lost = null;
        int error = 0;
        if (_tree.IsRedoing)
        {
            lost = "the contents are being replaced by those of the owner, and are no state that the volume had";
        }
        else if (!_points.Points.Any(p => p.IsMark && p.At == at))
        {
            error = Checkpoint();
            if (error != 0) return false;
            string name = _points.Find(mark.Name) is null ? mark.Name : $"{mark.Name}~{sequence}";
            error = _points.Begin(new VolumePoint(name, at, _tree.Root, mark.Created, mark.Group, true, 0, _appliedSize));
            if (error != 0)
                lost = $"its file cannot be made: {RawFile.Describe(error)}; make room, then mark again";
            else
                Tell(VolumeEventKind.PointKept, name, 0, $"mark {name} at sequence {sequence}{(mark.Group is { } g ? $", group {g}" : "")}"
                    + (name == mark.Name ? "" : $"; there is a mark {mark.Name} already"));
        }

        StopApplied(record);
        if (lost is null) PointsChanged?.Invoke();
        else Tell(VolumeEventKind.PointLost, mark.Name, error, $"mark {mark.Name} at sequence {sequence} is not kept: {lost}");
        return true;
    }
}
