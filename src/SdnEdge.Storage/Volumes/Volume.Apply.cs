using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Log;

namespace SdnEdge.Storage.Volumes;

public sealed partial class Volume
{
    private readonly Lock _applyLock = new();
    private readonly SemaphoreSlim _kick = new(0);
    private readonly List<LogEntry> _entries = [];
    private readonly byte[] _applyBuffer;
    private readonly byte[] _blockBuffer = new byte[Block];
    private readonly Thread? _applier;
    private LogCursor _cursor;
    private ulong _applied, _appliedChain, _appliedEpoch, _redoThrough, _batchThrough;
    private long _appliedSinceCheckpoint;
    private int _imageError, _kicked;
    private ulong _applyLimit = ulong.MaxValue;
    private bool _replicasChanged;

    /// <summary>The error number of the image or its metadata, while they cannot be written; 0 when they can.</summary>
    public int ImageError => _imageError;

    /// <summary>None after this sequence is brought into the image by itself: a replica's records that its owner may still lose stay in
    /// the log.</summary>
    public ulong ApplyLimit
    {
        get => Volatile.Read(ref _applyLimit);
        set => Volatile.Write(ref _applyLimit, value);
    }

    private void Kick()
    {
        if (Interlocked.Exchange(ref _kicked, 1) == 0) _kick.Release();
    }

    private void ApplyLoop()
    {
        while (!_disposed)
        {
            // 1. Asked for, or time: then all that is appended becomes durable, because only that may go to the image.
            bool asked = _kick.Wait(_options.ApplyEvery);
            Interlocked.Exchange(ref _kicked, 0);
            if (_disposed) return;
            lock (_log.Gate) _appendedSinceKick = 0;
            _ = _log.Commit();

            // 2. Everything durable goes to the image, with a checkpoint wherever there is much of it.
            while (!_disposed && ApplyOnce(ApplyLimit))
            {
                if (_appliedSinceCheckpoint >= _options.CheckpointBytes || _log.IsFull) _ = Checkpoint();
            }

            // 3. Nothing to do: all that is applied becomes durable, and a log that is full says what it is full of.
            if (!asked || _log.IsFull) _ = Checkpoint();
            if (_log.LastError != 0) _log.RetryPrepare();
            Unpark();
        }
    }

    /// <summary>Brings one batch of durable records into the image.</summary>
    /// <param name="through">None after this sequence.</param>
    /// <returns>True when there was one, and it is in the image.</returns>
    public bool ApplyOnce(ulong through = ulong.MaxValue)
    {
        lock (_applyLock)
        {
            if (!StopIsDurable()) return false;
            ulong limit = Math.Min(through, _log.DurableSequence), before = BeforeStop;
            if (before == _applied && limit > before) return ApplyStop(before + 1);
            var status = _log.Read(_applied + 1, Math.Min(limit, before), ref _cursor, _applyBuffer, _entries);
            if (status == LogReadStatus.AtEnd) return false;
            if (status != LogReadStatus.Read)
            {
                Fail(VolumeEventKind.LogDamaged, "log", RawFile.IoError,
                    $"record {_applied + 1} cannot be read back from the log: run check");
                return false;
            }

            // A block is left out when a later record of this batch replaces it, so there is no checkpoint inside the batch.
            ulong last = _entries[^1].Record.Sequence;
            _batchThrough = Math.Max(_batchThrough, last);
            int done = 0, error = _points.IsEmpty ? 0 : Preserve();
            for (; error == 0 && done < _entries.Count; done++)
            {
                error = Apply(_entries[done], last);
                if (error != 0) break;
                var record = _entries[done].Record;
                _appliedSinceCheckpoint += LogRecordCodec.SizeOnDisk(record);
                (_appliedChain, _appliedEpoch) = (record.Chain, record.Epoch);
            }

            if (done > 0)
            {
                lock (_log.Gate)
                {
                    Volatile.Write(ref _applied, _entries[done - 1].Record.Sequence);
                    _index.RemoveThrough(_applied);
                }

                if (_tree.IsRedoing && _applied >= _redoThrough && !IsCopying) _tree.EndRedo();
                Unpark();
            }

            if (error != 0)
            {
                _cursor = default;
                string file = done == 0 && _points.Failed is { } point ? point.FileName : _image.Name;
                Fail(VolumeEventKind.ImageFailed, file, error,
                    $"{file}: {RawFile.Describe(error)}; the log keeps what is written until it can be applied");
                return false;
            }

            return true;
        }
    }

    private int Apply(in LogEntry entry, ulong last)
    {
        var record = entry.Record;
        switch (record.Kind)
        {
            case LogRecordKind.Write:
                return ApplyWrite(record, _applyBuffer.AsSpan(entry.PayloadAt, (int)record.Length), last);
            case LogRecordKind.Zero:
            case LogRecordKind.Trim:
                ChangeStamps(record.Offset, record.Length);
                int error = _image.PunchHole(record.Offset, record.Length);
                if (error == 0 && record.Kind == LogRecordKind.Zero) error = _image.Allocate(record.Offset, record.Length);
                ChangeStamps(record.Offset, record.Length);
                return error != 0 ? error : HashZeros(record.Offset, record.Length);
            default:
                return 0;
        }
    }

    private int ApplyWrite(in LogRecord record, ReadOnlySpan<byte> bytes, ulong last)
    {
        long end = record.Offset + record.Length;
        for (long at = record.Offset; at < end;)
        {
            // The longest run of blocks that no later record of the batch replaces.
            long stop = at;
            lock (_log.Gate)
            {
                while (stop < end && !_index.IsReplaced(stop / Block, record.Sequence, last)) stop = Math.Min(end,
                    ((stop / Block) + 1) * Block);
            }

            if (stop == at)
            {
                CoalescedBlocks++;
                at = Math.Min(end, ((at / Block) + 1) * Block);
                continue;
            }

            var run = bytes.Slice((int)(at - record.Offset), (int)(stop - at));
            ChangeStamps(at, run.Length);
            int error = _image.Write(at, run);
            ChangeStamps(at, run.Length);
            if (error == 0) error = HashRun(at, run);
            if (error != 0) return error;
            at = stop;
        }

        return 0;
    }

    // The hashes of the blocks of a run that was just written; what it covers only in part is read back.
    private int HashRun(long offset, ReadOnlySpan<byte> run)
    {
        for (long at = offset, end = offset + run.Length; at < end;)
        {
            long block = at / Block, stop = Math.Min(end, (block + 1) * Block);
            if (at == block * Block && (stop == at + Block || stop == _appliedSize))
            {
                _tree.Set(block, ContentRoot.HashOf(_key, block, run.Slice((int)(at - offset), (int)(stop - at))));
            }
            else
            {
                int error = HashBlock(block);
                if (error != 0) return error;
            }

            at = stop;
        }

        return 0;
    }

    private int HashBlock(long block)
    {
        var bytes = _blockBuffer.AsSpan(0, (int)Math.Min(Block, _appliedSize - (block * Block)));
        int error = _image.Read(block * Block, bytes);
        if (error == 0) _tree.Set(block, ContentRoot.HashOf(_key, block, bytes));
        return error;
    }

    private int HashZeros(long offset, long length)
    {
        long end = offset + length, first = (offset + Block - 1) / Block;
        long last = end == _appliedSize ? (end + Block - 1) / Block : end / Block;
        int error = 0;
        if (first < last) _tree.SetZeros(first, last - first);
        if (offset % Block != 0) error = HashBlock(offset / Block);
        bool other = offset % Block == 0 || end / Block != offset / Block;
        if (error == 0 && end % Block != 0 && end != _appliedSize && other) error = HashBlock(end / Block);
        return error;
    }

    /// <summary>Makes durable what is applied, and frees the segments that nobody needs any more.</summary>
    /// <returns>0, or the error number of what failed; the next one tries again.</returns>
    public int Checkpoint()
    {
        lock (_applyLock)
        {
            // 1. Only at a state that the volume once had, with a root that is known.
            if ((_tree.IsRedoing && !IsCopying) || _applied < _batchThrough) return 0;
            Dictionary<string, ulong> replicas;
            IReadOnlyList<(ulong, long)> grown;
            bool changed;
            lock (_log.Gate)
            {
                grown = _sizes.UpTo(_applied);
                replicas = new Dictionary<string, ulong>(_replicas, StringComparer.Ordinal);
                changed = _replicasChanged;
                _replicasChanged = false;
            }

            if (_applied != _super.Applied || changed || _copied)
            {
                // 2. Image, tree, superblock, in this order. What could not be synced may be lost: it is applied once more from the log.
                int error = _image.Sync();
                string file = _image.Name;
                var kind = VolumeEventKind.ImageFailed;
                if (error == 0)
                {
                    error = _tree.Checkpoint();
                    (file, kind) = (_treeFile.Name, VolumeEventKind.MetadataFailed);
                }

                if (error != 0)
                {
                    Fail(kind, file, error,
                        $"{file}: {RawFile.Describe(error)}; records {_super.Applied + 1} to {_applied} are applied again");
                    ApplyAgain();
                    return error;
                }

                var next = new Superblock(_super.Number + 1, _applied, _tree.Root, _appliedChain, _appliedEpoch, replicas)
                {
                    LogSalt = _super.LogSalt, IsCopying = _super.IsCopying, Size = SizeToKeep(_appliedSize), Grown = grown,
                };
                error = next.Write(_superFile, _metadata.Identity);
                if (error != 0)
                {
                    lock (_log.Gate) _replicasChanged = true;
                    Fail(VolumeEventKind.MetadataFailed, _superFile.Name, error, $"{_superFile.Name}: {RawFile.Describe(error)}");
                    return error;
                }

                _super = next;
                _copied = false;
                _appliedSinceCheckpoint = 0;
            }

            // 3. Segments that are in the image and with every replica.
            if (_imageError != 0)
            {
                _imageError = 0;
                Tell(VolumeEventKind.Recovered, _image.Name, 0, $"{_image.Name} can be written again");
            }

            Release(replicas);
            return 0;
        }
    }

    private void Fail(VolumeEventKind kind, string subject, int error, string message)
    {
        bool first = _imageError == 0;
        _imageError = error;
        if (first) Tell(kind, subject, error, message);
        Unpark();
    }

    // The image may not have what was applied since the last checkpoint: the log has, and reads have to be told so first.
    private void ApplyAgain()
    {
        lock (_log.Gate)
        {
            LogCursor cursor = default;
            var index = new PendingIndex(int.MaxValue);
            List<LogEntry> entries = [];
            byte[] buffer = new byte[_applyBuffer.Length];
            for (ulong next = _super.Applied + 1; next <= _log.LastSequence;)
            {
                if (_log.Read(next, ulong.MaxValue, ref cursor, buffer, entries) != LogReadStatus.Read) break;
                foreach (var entry in entries) Note(index, entry.Record, entry.Position);
                next = entries[^1].Record.Sequence + 1;
            }

            _index.ReplaceWith(index);
            Volatile.Write(ref _applied, _super.Applied);
            (_appliedChain, _appliedEpoch) = (_super.Chain, _super.Epoch);
        }

        // What was copied since may be lost, too: it is copied again.
        _copyLost |= IsCopying;
        _cursor = default;
        BeginRedo();
    }

    private void BeginRedo()
    {
        // Where another size comes next, the sums may be those of its shape already.
        bool mayBeShaped;
        lock (_log.Gate) mayBeShaped = _sizes.GrowsAt(_super.Applied + 1);
        _appliedSize = _super.SizeOf(_metadata);
        _tree.BeginRedo(IsCopying || mayBeShaped, new ContentTreeShape(_appliedSize));
        _redoThrough = Math.Min(_log.LastSequence, BeforeStop);
        _batchThrough = _redoThrough;
        if (_applied >= _redoThrough && !IsCopying) _tree.EndRedo();
    }

    /// <summary>Makes durable and applies every record up to <paramref name="through"/>, and says what the volume is there.</summary>
    /// <param name="through">A sequence that was given out; <see cref="ulong.MaxValue"/>: all of them.</param>
    /// <param name="error">The error number when the answer is null.</param>
    public VolumeProof? Drain(ulong through, out int error)
    {
        through = Math.Min(through, _log.LastSequence);
        error = _log.Commit();
        if (error != 0) return null;
        lock (_applyLock)
        {
            if (IsCopying)
            {
                error = RawFile.InUse;
                return null;
            }

            while (_applied < through || _tree.IsRedoing)
            {
                if (ApplyOnce(Math.Max(through, _redoThrough))) continue;
                error = _imageError != 0 ? _imageError : RawFile.IoError;
                return null;
            }

            return new VolumeProof(_appliedEpoch, _applied, _appliedChain, _tree.Root);
        }
    }
}
