using System.Globalization;
using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Log;

namespace SdnEdge.Storage.Volumes;

/// <summary>
/// The kept points of a volume, oldest first. A block that is about to be overwritten goes to the newest point; an older one reads on
/// through the newer ones to the image. A point that is dropped hands its blocks to the one before it.
/// </summary>
/// <remarks>The caller's apply lock guards every change; <c>_gate</c> lets readers see a list and its files as a whole. A reader that finds
/// a block in no point reads the image and looks again: it was not overwritten meanwhile if it still is in no point.</remarks>
internal sealed class PointSet(IStoreFolder folder, IStoreFile image, Guid identity) : IDisposable
{
    private const int Block = ContentRoot.BlockSize;

    private readonly ReaderWriterLockSlim _gate = new();
    private readonly SortedSet<long> _wanted = [];
    private PointFile[] _files = [];
    private ulong _next = 1;
    private byte[] _bytes = [];

    /// <summary>There is none: nothing need be kept.</summary>
    public bool IsEmpty => Volatile.Read(ref _files).Length == 0;

    /// <summary>The point's file that failed last; null: it was the image.</summary>
    public PointFile? Failed { get; private set; }

    /// <summary>What is here, oldest first.</summary>
    public IReadOnlyList<VolumePoint> Points => [.. Volatile.Read(ref _files).Select(f => f.Point with { Bytes = f.Count * Block })];

    /// <summary>Finds a point by its name.</summary>
    public PointFile? Find(string name) => Array.Find(Volatile.Read(ref _files), f => f.Point.Name == name);

    /// <summary>Opens the points that are there.</summary>
    /// <param name="size">The size that the volume was made with: that of points which do not say theirs.</param>
    /// <param name="tell">Is told of each that is lost, by its file.</param>
    /// <returns>0, or the error number of a disk that failed.</returns>
    public int Open(long size, Action<string, string> tell)
    {
        List<PointFile> files = [];
        foreach (string name in folder.List("points"))
        {
            if (!ulong.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out ulong number)) continue;
            _next = Math.Max(_next, number + 1);
            PointFile? file = PointFile.Open(folder, number, identity, size, out bool unfinished, out int error);
            if (file is not null)
            {
                files.Add(file);
            }
            else if (error != 0)
            {
                foreach (PointFile open in files) open.Dispose();
                return error;
            }
            else if (unfinished)
            {
                _ = folder.Delete(PointFile.NameOf(number));
            }
            else
            {
                // The older ones read through it.
                string lost = string.Join(", ", files.Select(f => f.Point.Name).Append($"that of {PointFile.NameOf(number)}"));
                foreach (PointFile older in files) older.Dispose();
                files.Clear();
                tell(PointFile.NameOf(number),
                    $"{PointFile.NameOf(number)} is damaged: the kept points up to it are lost ({lost}); delete it");
            }
        }

        _files = [.. files.OrderBy(f => f.Number)];
        return 0;
    }

    /// <summary>Begins a point. The image is durable, and what the point says, at this moment.</summary>
    public int Begin(VolumePoint point)
    {
        PointFile? file = PointFile.Create(folder, _next, identity, point, Math.Max(point.Size, Covered), out int error);
        if (file is null) return error;
        _next++;
        Replace([.. _files, file], []);
        return 0;
    }

    // Up to here a point has content: what the image has behind it is nobody's.
    private long Covered => _files.Length == 0 ? 0 : _files.Max(f => f.Point.Size);

    /// <summary>A range of the image will be overwritten. With more than a round of blocks some are kept at once.</summary>
    public int Want(long offset, long length)
    {
        PointFile newest = _files[^1];
        long end = Math.Min(offset + length, Covered);
        for (long block = offset / Block; block * Block < end; block++)
        {
            if (newest.Has(block) || !_wanted.Add(block) || _wanted.Count < PointFile.MaxRound) continue;
            int error = Keep();
            if (error != 0) return error;
        }

        return 0;
    }

    /// <summary>A range of the image will be zeroed: what is a hole in it is not changed.</summary>
    public int WantData(long offset, long length)
    {
        long end = offset + length;
        for (long at = image.NextData(offset); at < end; at = image.NextData(at))
        {
            long hole = Math.Min(end, Math.Max(at + 1, image.NextHole(at)));
            int error = Want(at, hole - at);
            if (error != 0) return error;
            at = hole;
            if (at >= end) break;
        }

        return 0;
    }

    /// <summary>What was wanted is forgotten: it is begun again.</summary>
    public void Forget() => _wanted.Clear();

    /// <summary>Keeps the blocks that are wanted, durably, in the newest point. Then the image may be overwritten.</summary>
    /// <returns>0, or the error number; <see cref="Failed"/> says whose.</returns>
    public int Keep()
    {
        Failed = null;
        if (_wanted.Count == 0) return 0;
        long[] blocks = [.. _wanted];
        Span<byte> bytes = Buffer(blocks.Length);
        for (int i = 0; i < blocks.Length;)
        {
            int first = i++;
            while (i < blocks.Length && blocks[i] == blocks[i - 1] + 1) i++;
            int error = image.Read(blocks[first] * Block, bytes[(first * Block)..(i * Block)]);
            if (error != 0) return error;
        }

        return Put(_files[^1], blocks, bytes);
    }

    private int Put(PointFile file, ReadOnlySpan<long> blocks, ReadOnlySpan<byte> bytes)
    {
        int error = file.Add(blocks, bytes);
        if (error == 0) _wanted.Clear();
        else Failed = file;
        return error;
    }

    private Span<byte> Buffer(int blocks)
    {
        if (_bytes.Length == 0) _bytes = new byte[PointFile.MaxRound * Block];
        return _bytes.AsSpan(0, blocks * Block);
    }

    /// <summary>Gives up the oldest point, if it is an operator's: there is no room, or no disk, for what it needs.</summary>
    public VolumePoint? GiveUp()
    {
        if (IsEmpty || !_files[0].Point.IsMark) return null;
        VolumePoint point = _files[0].Point;
        Remove(_files[0]);
        return point;
    }

    /// <summary>One round of handing the blocks of a point to the one before it.</summary>
    /// <param name="file">The point that is to be dropped.</param>
    /// <param name="from">The block to go on at.</param>
    /// <param name="error">0, or the error number of what failed.</param>
    /// <returns>True when it has none left.</returns>
    public bool HandOver(PointFile file, ref long from, out int error)
    {
        error = 0;
        int at = Array.IndexOf(_files, file);
        if (at <= 0) return true;
        PointFile older = _files[at - 1];
        List<long> blocks = [];
        for (from = file.Next(from, file.Blocks); from < file.Blocks && blocks.Count < PointFile.MaxRound;
            from = file.Next(from + 1, file.Blocks))
        {
            if (from < older.Blocks && !older.Has(from)) blocks.Add(from);
        }

        Span<byte> bytes = Buffer(blocks.Count);
        for (int i = 0; i < blocks.Count && error == 0; i++) error = file.Read(blocks[i], bytes.Slice(i * Block, Block));
        if (error == 0 && blocks.Count > 0) error = older.Add(blocks.ToArray(), bytes);
        return error != 0 || from >= file.Blocks;
    }

    /// <summary>A point that nobody reads through any more goes, with its file.</summary>
    public int Remove(PointFile file)
    {
        Replace([.. _files.Where(f => f != file)], [file]);
        return folder.Delete(file.FileName);
    }

    private void Replace(PointFile[] with, PointFile[] gone)
    {
        // Who reads sees the list before or after.
        _gate.EnterWriteLock();
        Volatile.Write(ref _files, with);
        foreach (PointFile file in gone) file.Dispose();
        _gate.ExitWriteLock();
    }

    /// <summary>Reads of a point's content.</summary>
    /// <returns>0, or the error number; <see cref="RawFile.IoError"/> when the point is there no longer.</returns>
    public int Read(PointFile file, long offset, Span<byte> into)
    {
        _gate.EnterReadLock();
        try
        {
            PointFile[] files = _files;
            int at = Array.IndexOf(files, file);
            if (at < 0) return RawFile.IoError;
            long end = offset + into.Length;
            for (long from = offset; from < end;)
            {
                PointFile? owner = OwnerOf(files, at, from / Block);
                long stop = RunEnd(files, at, from / Block, owner, (end + Block - 1) / Block);
                long to = Math.Min(end, stop * Block);
                Span<byte> part = into.Slice((int)(from - offset), (int)(to - from));
                int error = owner is null ? image.Read(from, part) : owner.Read(from / Block, part, (int)(from % Block));
                if (error != 0) return error;

                // What was overwritten meanwhile is in the newest point by now.
                if (owner is null && RunEnd(files, at, from / Block, null, stop) != stop) continue;
                from = to;
            }

            return 0;
        }
        finally
        {
            _gate.ExitReadLock();
        }
    }

    /// <summary>The extent of a point's content that begins at a place: how far it goes, and whether it is a hole.</summary>
    /// <returns>False when the point is there no longer.</returns>
    public bool Extent(PointFile file, long offset, long end, out long until, out bool hole)
    {
        _gate.EnterReadLock();
        try
        {
            PointFile[] files = _files;
            int at = Array.IndexOf(files, file);
            (until, hole) = (end, false);
            if (at < 0) return false;
            while (true)
            {
                PointFile? owner = OwnerOf(files, at, offset / Block);
                long stop = RunEnd(files, at, offset / Block, owner, (end + Block - 1) / Block);
                until = Math.Min(end, stop * Block);
                long data = owner is null ? image.NextData(offset) : owner.NextData(offset);
                hole = data > offset;
                long next = hole ? data : owner is null ? image.NextHole(offset) : owner.NextHole(offset);
                if (next < until) until = Math.Max(offset + 1, next);
                if (owner is not null || RunEnd(files, at, offset / Block, null, stop) == stop) return true;
            }
        }
        finally
        {
            _gate.ExitReadLock();
        }
    }

    /// <summary>The first block at or behind one that differs from the image, or may do so.</summary>
    /// <returns>The number of the point's blocks when there is none.</returns>
    public long NextKept(PointFile file, long from)
    {
        long next = (file.Point.Size - 1) / Block + 1;
        for (int i = Array.IndexOf(_files, file); i < _files.Length; i++) next = _files[i].Next(from, next);
        return next;
    }

    private static PointFile? OwnerOf(PointFile[] files, int at, long block)
    {
        for (int i = at; i < files.Length; i++)
        {
            if (files[i].Has(block)) return files[i];
        }

        return null;
    }

    // The first block behind one that is somewhere else.
    private static long RunEnd(PointFile[] files, int at, long block, PointFile? owner, long limit)
    {
        if (owner is null)
        {
            for (int i = at; i < files.Length; i++) limit = files[i].Next(block, limit);
            return limit;
        }

        for (block++; block < limit && OwnerOf(files, at, block) == owner;) block++;
        return block;
    }

    public void Dispose()
    {
        foreach (PointFile file in _files) file.Dispose();
        _gate.Dispose();
    }
}
