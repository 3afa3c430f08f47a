using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Log;

namespace SdnEdge.Storage.Volumes;

// The volume gets larger: by a record of its log, here and at every replica. The order:
//
//   1. image and hash tree get their lengths, what the image has behind the volume is zeroed; durable. Until here nothing has changed
//   2. the record; what is written to the new part comes behind it
//   3. clients that connect see the new size when the record is durable
//   4. applying stops at the record, as at a mark: the superblock says "everything before it"; the hash tree gets its new shape; the
//      superblock says "the record, too", and only then what is behind it is applied
//
// A crash between the two superblocks leaves the hashes of the blocks, which are where they were, and sums of either shape: they are summed
// anew.
public sealed partial class Volume
{
    // So much of a device is zeroed between two looks of the applier.
    private const long ZeroedAtOnce = 64L << 20;

    private volatile SizeHistory _sizes;

    // What clients see; what the image is at the last record that was applied; up to where image and hash tree are prepared.
    private long _size, _appliedSize, _preparedSize;

    /// <summary>Bytes. It grows when the record that says so is durable; a connection keeps what it was told.</summary>
    public long Size => Volatile.Read(ref _size);

    /// <summary>Bytes behind the newest record.</summary>
    internal long LastSize
    {
        get
        {
            lock (_log.Gate) return _sizes.Last;
        }
    }

    /// <summary>The size behind a record; null = it is not known any more.</summary>
    internal long? SizeAt(ulong sequence)
    {
        lock (_log.Gate) return _sizes.At(sequence);
    }

    // 0 in the superblock is the size that the volume was made with.
    private long SizeToKeep(long size) => size == _metadata.Size ? 0 : size;

    /// <summary>Gives image and hash tree the length of a larger volume, durably; what the image has behind the volume's end are zeros
    /// then. The volume is as it was.</summary>
    /// <param name="size">Bytes.</param>
    /// <exception cref="VolumeException">They cannot have it: the message says why, and what to do.</exception>
    internal void PrepareSize(long size)
    {
        while (true)
        {
            lock (_applyLock)
            {
                ObjectDisposedException.ThrowIf(_disposed, this);
                long from = LastSize;
                if (size <= from || size <= _preparedSize) return;

                // 1. What was there already: a device that was made larger, a file that had another size.
                Check(_image.SetLength(size), _image, size);
                long at = Math.Max(from, _preparedSize);
                if (_image.NextData(at) is var data && data < size)
                {
                    at = Math.Max(at, data);
                    long until = Math.Min(size, (at / ZeroedAtOnce * ZeroedAtOnce) + ZeroedAtOnce);
                    int error = PreserveRange(at, until - at, zeros: true);
                    if (error == 0) error = _image.PunchHole(at, until - at);
                    Check(error, _image, size);
                    _preparedSize = until;
                    if (until < size) continue;
                }

                // 2. The lengths are durable before a record needs them.
                Check(_treeFile.SetLength(new ContentTreeShape(size).Pages * ContentTreeShape.PageSize), _treeFile, size);
                Check(_image.Sync(), _image, size);
                Check(_treeFile.Sync(), _treeFile, size);
                _preparedSize = size;
                return;
            }
        }
    }

    private void Check(int error, IStoreFile file, long size)
    {
        const int EINVAL = 22;
        if (error == 0) return;
        throw new VolumeException($"volume {Metadata.Name} cannot have {size} bytes: " + (error == EINVAL
            ? $"{file.Name} has {file.Length}, and is no file that grows by itself; make the device larger first"
            : $"{file.Name}: {RawFile.Describe(error)}")) { IsRequest = true };
    }

    /// <summary>Makes the volume larger. <see cref="PrepareSize"/> has been called. The record is appended in its turn among the requests
    /// of clients: at the return, or when there is room in the log.</summary>
    /// <param name="size">Bytes, a multiple of 512.</param>
    /// <param name="cancel">Ends the waiting for the replica.</param>
    /// <returns>When it is durable, here and where the gate asks for it at the replica; <see cref="BlockResult.Invalid"/>: the volume has
    /// that size already, or more.</returns>
    internal ValueTask<BlockResult> GrowAsync(long size, CancellationToken cancel)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(size % 512, 0, nameof(size));
        return Submit(new Request { Work = Work.Size, Length = size, Durable = true, Cancel = cancel });
    }

    // Under the log's lock. As TryAppend.
    private bool TryAppendSize(Request request, out BlockResult? failed)
    {
        failed = null;
        if (request.Length <= _sizes.Last)
        {
            failed = BlockResult.Invalid;
            return false;
        }

        AppendStatus status = _log.Append(LogRecordKind.Size, 0, request.Length, [], out request.Last, out _);
        if (status != AppendStatus.Appended)
        {
            failed = Refusal(status);
            return false;
        }

        _sizes.Note(request.Last);
        _index.AddStop(request.Last.Sequence);
        request.Length = 0;
        Kick();
        return true;
    }

    // Clients that connect see it when the record is durable.
    private void PublishSize()
    {
        if (_size == _sizes.Last) return;
        lock (_log.Gate) Volatile.Write(ref _size, _sizes.At(_log.DurableSequence) ?? _size);
    }

    private bool ApplySize(in LogRecord record)
    {
        if (Checkpoint() != 0 || _super.Applied != _applied) return false;
        long before = _appliedSize;
        Reshape(record.Length);
        StopApplied(record);
        Tell(VolumeEventKind.Grown, Metadata.Name, 0, $"it has {record.Length} bytes from sequence {record.Sequence} on, {before} before");
        return true;
    }

    // What was done since the last checkpoint does not count: the blocks have their hashes, and nothing is known above them.
    private void ShapeAsKept()
    {
        _appliedSize = _super.SizeOf(_metadata);
        _tree.BeginRedo(all: true, new ContentTreeShape(_appliedSize));
    }

    private void Reshape(long size)
    {
        _appliedSize = size;
        _tree.Reshape(new ContentTreeShape(size));
    }
}
