using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Log;

namespace SdnEdge.Storage.Volumes;

// A volume whose history or whose contents are replaced by those of its owner.
public sealed partial class Volume
{
    private bool _copied, _copyLost;

    /// <summary>The contents are being replaced: they are no state that the volume ever had, and have no root, before
    /// <see cref="EndCopy"/>. That survives a crash.</summary>
    public bool IsCopying => _super.IsCopying;

    /// <summary>Records up to this sequence may be in the image, by this process or the one before it.</summary>
    public ulong TouchedSequence
    {
        get
        {
            lock (_applyLock) return Math.Max(_applied, Math.Max(_batchThrough, _redoThrough));
        }
    }

    /// <summary>
    /// The log begins anew behind a point; what it has behind that point is forgotten. 1. What is to stay is in the image, durably. 2. A
    /// segment is prepared, 3. the superblock names it: a crash before that leaves everything as it was. 4. The same in memory.
    /// </summary>
    /// <param name="at">The point, one of this log. Without <paramref name="copying"/> none of the records behind it may have touched the
    /// image.</param>
    /// <param name="copying">The contents are replaced from now on, until <see cref="EndCopy"/>.</param>
    /// <returns>0, or the error number of what failed: the log is as it was.</returns>
    internal int BeginAnew(LogPoint at, bool copying) => BeginAnew(at, copying, SizeAt(at.Sequence)
        ?? throw new InvalidOperationException($"the size at record {at.Sequence} is not known any more"));

    /// <summary>As <see cref="BeginAnew(LogPoint, bool)"/>, behind a point of the owner's log that this one may not have, while the
    /// contents are replaced.</summary>
    /// <param name="at">The point.</param>
    /// <param name="size">The volume's size there; image and hash tree have it (<see cref="PrepareSize"/>).</param>
    internal int BeginAnew(LogPoint at, long size) => BeginAnew(at, copying: true, size, foreign: true);

    /// <summary>A copy that was broken off is given up: contents and log are again what they were at a kept point.</summary>
    /// <returns>0, or the error number: it is still being copied, and this may be called again.</returns>
    /// <exception cref="VolumeException">There is no such point, or it could not be restored.</exception>
    internal int GoBack(string name)
    {
        lock (_applyLock)
        {
            VolumePoint point = RestoreImage(name);
            if (_tree.IsRedoing) _tree.EndRedo();
            int error = _tree.Error != 0 ? _tree.Error : _tree.Root == point.Root ? _tree.Checkpoint() : RawFile.IoError;
            if (error == 0) error = BeginAnew(point.At, copying: false, point.Size, restored: true);
            if (error != 0) ShapeAsKept();
            return error;
        }
    }

    private int BeginAnew(LogPoint at, bool copying, long size, bool restored = false, bool foreign = false)
    {
        // Before its first record every history of this volume is the same.
        if (at.Sequence == 0) at = new LogPoint(0, _metadata.Epoch, LogRecordCodec.BeginChain(_metadata.Identity));
        int error = _log.Commit();
        if (error != 0) return error;
        lock (_applyLock)
        {
            // 1. While the contents are replaced nothing that was there need stay, but what the log here has up to the point: it is let go.
            ulong touched = Math.Max(_batchThrough, _redoThrough), keep = !copying ? at.Sequence
                : foreign ? touched : Math.Max(touched, at.Sequence);
            if (!copying && !restored && Math.Max(_applied, Math.Max(_batchThrough, _redoThrough)) > at.Sequence)
                throw new InvalidOperationException($"records behind {at.Sequence} are in the image");
            if (!restored) error = ApplyThrough(keep);
            if (error == 0 && !restored) error = Checkpoint();
            if (error != 0) return error;

            // 2.
            if (_log.PrepareAnew(at, out error) is not { } segment) return error;

            // 3. While the contents are replaced the sums above the blocks are not known anyway: the hash tree has its shape before it is
            // said.
            long sizeBefore = _appliedSize;
            bool begins = copying && !IsCopying;
            if (size != _appliedSize && !begins)
            {
                Reshape(size);
                error = _tree.Checkpoint();
                if (error != 0)
                {
                    _log.ForgetAnew(segment);
                    ApplyAgain();
                    return error;
                }
            }

            SizeHistory sizes;
            lock (_log.Gate) sizes = _sizes.EndingAt(at.Sequence, size);
            Superblock next = _super with
            {
                Number = _super.Number + 1, Applied = at.Sequence, Chain = at.Chain, Epoch = at.Epoch, LogSalt = segment.Header.Salt,
                Size = SizeToKeep(size), Grown = sizes.UpTo(at.Sequence),
                IsCopying = copying || (IsCopying && !restored), Root = copying || (IsCopying && !restored) ? 0 : _tree.Root,
            };
            error = next.Write(_superFile, _metadata.Identity);
            if (error != 0)
            {
                // It may be on the disk: only the old one in the other slot, written again, says that it is not.
                Superblock back = _super with { Number = next.Number + 1 };
                if (back.Write(_superFile, _metadata.Identity) != 0)
                {
                    Fail(VolumeEventKind.MetadataFailed, _superFile.Name, error, $"{_superFile.Name}: {RawFile.Describe(error)}");
                    return error;
                }

                _super = back;
                _log.ForgetAnew(segment);
                if (_appliedSize != sizeBefore) Reshape(sizeBefore);
                return error;
            }

            // 4.
            _super = next;
            _log.TakeAnew(segment, () =>
            {
                _index.ReplaceWith(new PendingIndex(_options.MaxPendingBlocks));
                Volatile.Write(ref _applied, at.Sequence);
                (_appliedChain, _appliedEpoch) = (at.Chain, at.Epoch);
                _lastBarrier = Math.Min(_lastBarrier, at.Sequence);
                _sizes = sizes;
                Volatile.Write(ref _size, size);
            });
            _preparedSize = 0;
            _stopApplied = Math.Min(_stopApplied, at.Sequence);
            _redoThrough = _batchThrough = at.Sequence;
            _cursor = default;
            if (begins) _tree.BeginRedo();
            if (size != _appliedSize) Reshape(size);
            if (restored) _copied = _copyLost = false;
            return 0;
        }
    }

    private int ApplyThrough(ulong through)
    {
        while (_applied < through)
        {
            if (!ApplyOnce(through)) return _imageError != 0 ? _imageError : RawFile.IoError;
        }

        return 0;
    }

    /// <summary>A connection begins on which data come: what was copied and not made durable comes again on it.</summary>
    internal void ResumeCopy()
    {
        lock (_applyLock) _copyLost = false;
    }

    // What is behind a record that makes the volume larger comes with the records behind it.
    private long Within(long offset, long length) => Math.Min(length, _appliedSize - offset);

    /// <summary>Writes copied bytes to the image. Records of the log that touch the same bytes are applied again over them, in
    /// order.</summary>
    /// <returns>0, or the error number.</returns>
    internal int WriteCopy(long offset, ReadOnlySpan<byte> bytes)
    {
        lock (_applyLock)
        {
            if (!IsCopying) throw new InvalidOperationException("the contents are not being replaced");
            if (_copyLost) return RawFile.IoError;
            if (Within(offset, bytes.Length) is not (> 0 and var length)) return 0;
            bytes = bytes[..(int)length];
            int error = PreserveRange(offset, bytes.Length, zeros: false);
            if (error != 0) return error;
            _copied = true;
            ChangeStamps(offset, bytes.Length);
            error = _image.Write(offset, bytes);
            ChangeStamps(offset, bytes.Length);
            if (error != 0) return error;
            _image.WriteBehind(offset, bytes.Length);
            return HashRun(offset, bytes);
        }
    }

    /// <summary>Makes a part of the image zeros; see <see cref="WriteCopy"/>.</summary>
    internal int ZeroCopy(long offset, long length)
    {
        lock (_applyLock)
        {
            if (!IsCopying) throw new InvalidOperationException("the contents are not being replaced");
            if (_copyLost) return RawFile.IoError;
            length = Within(offset, length);
            if (length <= 0) return 0;
            int error = PreserveRange(offset, length, zeros: true);
            if (error != 0) return error;
            _copied = true;
            ChangeStamps(offset, length);
            error = _image.PunchHole(offset, length);
            ChangeStamps(offset, length);
            return error != 0 ? error : HashZeros(offset, length);
        }
    }

    /// <summary>Makes durable what was copied.</summary>
    /// <returns>0, or the error number; what was copied since the last success is then copied again.</returns>
    internal int SyncCopy()
    {
        lock (_applyLock)
        {
            int error = _copyLost ? RawFile.IoError : ApplyThrough(Math.Max(_batchThrough, _redoThrough));
            if (error == 0) error = Checkpoint();
            return error != 0 ? error : _copied || _copyLost ? RawFile.IoError : 0;
        }
    }

    /// <summary>The contents were replaced: with the records up to a sequence they are a state that the owner had. They get their
    /// root.</summary>
    /// <returns>0, or the error number: they are still being replaced, and this may be called again.</returns>
    internal int EndCopy(ulong through)
    {
        int error = _log.Commit();
        if (error != 0) return error;
        lock (_applyLock)
        {
            if (!IsCopying) return 0;
            error = ApplyThrough(Math.Max(through, Math.Max(_batchThrough, _redoThrough)));
            if (error != 0) return error;
            if (_tree.IsRedoing) _tree.EndRedo();
            error = _image.Sync();
            if (error == 0) error = _tree.Checkpoint();
            if (error != 0)
            {
                ApplyAgain();
                return error;
            }

            Superblock next = _super with
            {
                Number = _super.Number + 1, Applied = _applied, Chain = _appliedChain, Epoch = _appliedEpoch, Root = _tree.Root,
                Size = SizeToKeep(_appliedSize), IsCopying = false,
            };
            lock (_log.Gate) next = next with { Grown = _sizes.UpTo(_applied) };
            error = next.Write(_superFile, _metadata.Identity);
            if (error != 0) return error;
            _super = next;
            _copied = false;
            _appliedSinceCheckpoint = 0;
            return 0;
        }
    }
}
