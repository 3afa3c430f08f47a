using System.Text;
using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Log;

namespace SdnEdge.Storage.Volumes;

// Kept points. Everything that writes the image goes through Preserve or PreserveRange first, under the apply lock.
public sealed partial class Volume
{
    /// <summary>The kept points, oldest first.</summary>
    public IReadOnlyList<VolumePoint> Points => _points.Points;

    /// <summary>Keeps the volume's content at a position of its log, until <see cref="DropPoint"/>: 1. the log is applied up to there; 2.
    /// the image is made durable; 3. the point begins. It is durable on return. Writes go on meanwhile, into the log.</summary>
    /// <param name="name">1 to 255 bytes of UTF-8; no other point of this volume has it.</param>
    /// <param name="through">A sequence that was given out: the point is there, or where the image is already, if that is later.</param>
    /// <param name="isMark">See <see cref="VolumePoint.IsMark"/>.</param>
    /// <param name="created">When, for people.</param>
    /// <param name="group">For people, too.</param>
    /// <returns>Where it stands.</returns>
    /// <exception cref="VolumeException">It could not be kept; nothing is left of it.</exception>
    public LogPoint KeepPoint(string name, ulong through = ulong.MaxValue, bool isMark = false, DateTimeOffset created = default,
        string? group = null)
    {
        CheckPointName(name);
        lock (_applyLock)
        {
            if (_points.Find(name) is not null) throw new VolumeException($"volume {Metadata.Name} has a point {name} already");
            if (Drain(Math.Max(through, _batchThrough), out int error) is not { } proof)
                throw PointFailed(name, "kept: its log cannot be applied", error);
            error = Checkpoint();
            if (error != 0) throw PointFailed(name, $"kept: {_image.Name} cannot be made durable", error);
            var at = proof.Sequence == 0 ? LogPoint.Start : new LogPoint(proof.Sequence, proof.Epoch, proof.Chain);
            error = _points.Begin(new VolumePoint(name, at, proof.Root, created, group, isMark, 0, _appliedSize));
            if (error != 0) throw PointFailed(name, "kept: its file cannot be made", error);
            PointsChanged?.Invoke();
            return at;
        }
    }

    private static void CheckPointName(string name)
    {
        int length = Encoding.UTF8.GetByteCount(name ?? "");
        if (length is 0 or > PointFile.MaxName)
            throw new VolumeException($"a point's name has 1 to {PointFile.MaxName} bytes, this one {length}");
    }

    private VolumeException PointFailed(string name, string what, int error) =>
        new($"point {name} of volume {Metadata.Name} cannot be {what}: {RawFile.Describe(error)}");

    /// <summary>Drops a point. What the one before it needs is handed to it first, while the volume goes on.</summary>
    /// <exception cref="VolumeException">There is none, or the disk failed: it is there still.</exception>
    public void DropPoint(string name)
    {
        PointFile? file = null;
        for (long from = 0; ;)
        {
            lock (_applyLock)
            {
                file ??= _points.Find(name) ?? throw new VolumeException($"volume {Metadata.Name} has no point {name}");
                if (_points.Find(name) != file) return;
                bool all = _points.HandOver(file, ref from, out int error);
                if (all && error == 0)
                {
                    // What came to it meanwhile.
                    from = 0;
                    while (!_points.HandOver(file, ref from, out error))
                    {
                    }

                    // A mark that recovery would find again is made again: the superblock says first that it is applied. One that it has
                    // found is applied first.
                    if (error == 0 && IsAhead(file.Point)) error = ApplyThrough(file.Point.At.Sequence);
                    if (error == 0 && !StopIsDurable()) error = _imageError != 0 ? _imageError : RawFile.IoError;
                    if (error == 0)
                    {
                        error = _points.Remove(file);
                        PointsChanged?.Invoke();
                        if (error == 0) return;
                    }
                }

                if (error != 0) throw PointFailed(name, "dropped", error);
            }
        }
    }

    // The point of a mark is there, and its record is not applied: a crash came between the two.
    private bool IsAhead(VolumePoint point)
    {
        if (!point.IsMark || point.At.Sequence > ApplyLimit) return false;
        lock (_log.Gate) return _index.HasStop(point.At.Sequence);
    }

    /// <summary>A point's content, to be read while the volume goes on. After <see cref="DropPoint"/> its reads fail.</summary>
    /// <returns>Null: there is no such point.</returns>
    public IBlockDevice? OpenPoint(string name) => _points.Find(name) is { } file ? new PointDevice(_points, file) : null;

    /// <summary>Verifies a point's content against the root that it had.</summary>
    /// <returns>Whether it is as it was; null = there is no such point.</returns>
    /// <exception cref="IOException">A disk failed.</exception>
    public bool? VerifyPoint(string name, CancellationToken cancel)
    {
        if (_points.Find(name) is not { } file) return null;
        byte[] bytes = new byte[1 << 20];
        ulong root = 0;
        for (long at = 0, size = file.Point.Size; at < size;)
        {
            cancel.ThrowIfCancellationRequested();
            if (!_points.Extent(file, at, Math.Min(size, at + (1L << 30)), out long until, out bool hole)) return null;
            if (hole && until / Block * Block > at)
            {
                at = until == size ? until : until / Block * Block;
                continue;
            }

            int length = (int)Math.Min(bytes.Length, size - at);
            int error = _points.Read(file, at, bytes.AsSpan(0, length));
            if (error != 0) throw new IOException($"point {name} of volume {Metadata.Name} cannot be read: {RawFile.Describe(error)}");
            for (int i = 0; i < length; i += Block)
                root += ContentRoot.HashOf(_key, (at + i) / Block, bytes.AsSpan(i, Math.Min(Block, length - i)));
            at += length;
        }

        return root == file.Point.Root;
    }

    // Before a batch goes to the image. Marks are given up where their disk does not take what they need; nothing else is.
    private int Preserve()
    {
        while (true)
        {
            int error = 0;
            for (int i = 0; i < _entries.Count && error == 0; i++)
            {
                LogRecord record = _entries[i].Record;
                if (record.Kind == LogRecordKind.Write) error = _points.Want(record.Offset, record.Length);
                else if (record.Kind is LogRecordKind.Zero or LogRecordKind.Trim) error = _points.WantData(record.Offset, record.Length);
            }

            if (error == 0) error = _points.Keep();
            if (error == 0 || !GiveUpPoint(error)) return error;
            if (_points.IsEmpty) return 0;
        }
    }

    /// <summary>Keeps what a range of the image is, for the points, before something that is no record of the log overwrites it. It is
    /// durable on return. The apply lock is held over this and the write.</summary>
    /// <param name="offset">Bytes into the volume.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="zeros">It will be zeroed: what is a hole is not changed.</param>
    /// <returns>0, or the error number: then the range must not be overwritten.</returns>
    internal int PreserveRange(long offset, long length, bool zeros)
    {
        while (!_points.IsEmpty)
        {
            int error = zeros ? _points.WantData(offset, length) : _points.Want(offset, length);
            if (error == 0) error = _points.Keep();
            if (error == 0 || !GiveUpPoint(error)) return error;
        }

        return 0;
    }

    private bool GiveUpPoint(int error)
    {
        _points.Forget();
        if (_points.Failed is not { } failed || _points.GiveUp() is not { } gone) return false;
        PointsChanged?.Invoke();
        Tell(VolumeEventKind.PointLost, gone.Name, error,
            $"mark {gone.Name} is given up: {failed.FileName}: {RawFile.Describe(error)}; make room, or let fewer marks be kept");
        return true;
    }

    /// <summary>Makes the image what it was at a point. The points, this one too, stay as they are. <b>The log is not touched</b>: whoever
    /// calls this lets it begin anew behind the point, and repeats this after a crash before that.</summary>
    /// <returns>The point, whose root the hash tree then has.</returns>
    /// <exception cref="VolumeException">There is none, or a disk failed: the image is part the one and part the other.</exception>
    internal VolumePoint RestoreImage(string name)
    {
        lock (_applyLock)
        {
            PointFile file = _points.Find(name) ?? throw new VolumeException($"volume {Metadata.Name} has no point {name}");
            // 1. What newer points need of the image as it is; 2. the size, with what was behind a smaller one; 3. the image.
            int error = 0;
            long size = file.Point.Size, blocks = (size - 1) / Block + 1, had = _appliedSize;
            for (long block = _points.NextKept(file, 0); block < blocks && error == 0; block = _points.NextKept(file, block + 1))
                error = _points.Want(block * Block, Block);
            if (error == 0) error = _points.Keep();
            if (error == 0 && size != had)
            {
                Reshape(size);
                if (size > had) error = HashImage(_image, _tree, _key, had / Block * Block, size);
            }

            byte[] bytes = new byte[Block];
            for (long block = _points.NextKept(file, 0); block < blocks && error == 0; block = _points.NextKept(file, block + 1))
            {
                long at = block * Block;
                Span<byte> old = bytes.AsSpan(0, (int)Math.Min(Block, size - at)), now = _blockBuffer.AsSpan(0, old.Length);
                error = _points.Read(file, at, old);
                if (error == 0) error = _image.Read(at, now);
                if (error == 0 && !old.SequenceEqual(now))
                {
                    ChangeStamps(at, old.Length);
                    error = old.ContainsAnyExcept((byte)0) ? _image.Write(at, old) : _image.PunchHole(at, old.Length);
                    ChangeStamps(at, old.Length);
                }

                if (error == 0) _tree.Set(block, ContentRoot.HashOf(_key, block, old));
            }

            _points.Forget();
            if (error == 0) error = _image.Sync();
            if (error == 0) error = _tree.Checkpoint();
            if (error == 0) return file.Point;
            if (size != had) ShapeAsKept();
            throw PointFailed(name, "restored", error);
        }
    }
}
