using SdnEdge.Linux;

namespace SdnEdge.Storage.Volumes;

/// <summary>A device whose calls wait for the disk in the caller's thread: a caller with more to do calls it from another.</summary>
internal interface IWaitingDevice : IBlockDevice;

/// <summary>
/// A raw file or a block device, through the page cache. Reads of what is in memory, writes and zeroing are done in the caller's thread; a
/// read that must wait for the disk is done by one of <see cref="FileDeviceOptions.Readers"/> threads of the device; a flush (fdatasync)
/// waits.
/// </summary>
/// <remarks>
/// <para>Each call is one system call or a loop of them, and any number may be in progress. The kernel makes an aligned page's write
/// whole.</para>
/// <para>The image is locked against another server of it, and against QEMU. All calls must have ended when it is disposed.</para>
/// </remarks>
public sealed partial class FileDevice : IWaitingDevice, IDisposable
{
    private const int ZerosBytes = 1 << 20;
    private static readonly byte[] s_zeros = new byte[ZerosBytes];

    private readonly BlockFile _file;
    private readonly FileDeviceOptions _options;
    private readonly string _path;
    private bool _slowZeroes;

    private FileDevice(string path, BlockFile file, FileDeviceOptions options)
    {
        (_path, _file, _options) = (path, file, options);
        Features = BlockFeatures.Flush | BlockFeatures.MultiConnection | BlockFeatures.Cache;
        if (!options.ReadOnly) Features |= BlockFeatures.Write | BlockFeatures.Trim | BlockFeatures.WriteZeroes | BlockFeatures.FastZero;
        if (file.IsRotational) Features |= BlockFeatures.Rotational;
    }

    /// <inheritdoc/>
    public long Size => _file.Length;

    /// <inheritdoc/>
    public int MinimumBlock => 1;

    /// <inheritdoc/>
    public BlockFeatures Features { get; }

    /// <summary>Opens a file or a block device that exists.</summary>
    /// <param name="path">Its path.</param>
    /// <param name="options">How; null: as the defaults are.</param>
    /// <exception cref="IOException">It cannot be opened or is in use; the message names it.</exception>
    public static FileDevice Open(string path, FileDeviceOptions? options = null)
    {
        options ??= new FileDeviceOptions();
        return new FileDevice(path, BlockFile.Open(path, !options.ReadOnly), options);
    }

    /// <inheritdoc/>
    public ValueTask<BlockResult> ReadAsync(long offset, Memory<byte> into, CancellationToken cancel)
    {
        int cached = _file.ReadCached(offset, into.Span);
        return cached == into.Length ? new(BlockResult.Ok) : ReadFromDisk(offset + cached, into[cached..]);
    }

    /// <inheritdoc/>
    public ValueTask<BlockResult> WriteAsync(long offset, ReadOnlyMemory<byte> bytes, BlockFlags flags, CancellationToken cancel)
    {
        int error = _file.Write(offset, bytes.Span);
        return new(error == 0 ? Finish(flags, "write") : Failed("write", offset, error));
    }

    /// <inheritdoc/>
    public ValueTask<BlockResult> FlushAsync(CancellationToken cancel) => new(Finish(BlockFlags.ForceUnitAccess, "flush"));

    /// <inheritdoc/>
    public ValueTask<BlockResult> TrimAsync(long offset, long length, BlockFlags flags, CancellationToken cancel)
    {
        // A hint: where the file system or the disk cannot, nothing is lost.
        if (Sectors(offset, length, out long start, out long end))
        {
            int error = _file.IsBlockDevice ? _file.Discard(start, end - start) : _file.PunchHole(offset, length);
            if (error != 0 && !IsUnsupported(error)) return new(Failed("trim", offset, error));
        }

        return new(Finish(flags, "trim"));
    }

    /// <inheritdoc/>
    public ValueTask<BlockResult> WriteZeroesAsync(long offset, long length, BlockFlags flags, CancellationToken cancel)
        => new(WriteZeroes(offset, length, flags));

    /// <inheritdoc/>
    public ValueTask<BlockResult> CacheAsync(long offset, long length, CancellationToken cancel)
    {
        // A hint too.
        _file.WillNeed(offset, length);
        return new(BlockResult.Ok);
    }

    /// <inheritdoc/>
    public BlockResult Extents(long offset, long length, int limit, List<BlockExtent> into)
    {
        ArgumentNullException.ThrowIfNull(into);
        long end = offset + length;
        for (long at = offset; at < end && into.Count < limit;)
        {
            // Where the file system knows no holes, all is data. A block device knows none at all.
            long data = at, hole = end;
            if (!_file.IsBlockDevice)
            {
                int error = _file.NextData(at, out data);
                if (error == 0 && data == at) error = _file.NextHole(at, out hole);
                if (error != 0) return Failed("find the holes", at, error);
            }

            bool isHole = data > at;
            long next = isHole ? data : Math.Max(hole, at + 1);
            into.Add(new BlockExtent(next - at, isHole, isHole));
            at = next;
        }

        return BlockResult.Ok;
    }

    // 1. without room: punched, which no disk writes; 2. with room: unwritten extents; 3. neither can be done: written, unless that is too
    // slow.
    private BlockResult WriteZeroes(long offset, long length, BlockFlags flags)
    {
        bool noHole = (flags & BlockFlags.NoHole) != 0, fast = (flags & BlockFlags.FastZero) != 0;
        if (fast && (Volatile.Read(ref _slowZeroes) || (noHole && _file.IsBlockDevice))) return BlockResult.NotSupported;
        if (!Sectors(offset, length, out long start, out long end))
        {
            return fast ? BlockResult.NotSupported : Write(offset, length, flags);
        }

        int error = noHole ? _file.ZeroRange(start, end - start) : _file.PunchHole(start, end - start);
        if (IsUnsupported(error) && !noHole && !fast) error = _file.ZeroRange(start, end - start);
        if (IsUnsupported(error))
        {
            Volatile.Write(ref _slowZeroes, true);
            return fast ? BlockResult.NotSupported : Write(offset, length, flags);
        }

        if (error != 0) return Failed("write zeros", offset, error);
        BlockResult result = Zeros(offset, start - offset);
        if (result == BlockResult.Ok) result = Zeros(end, offset + length - end);
        return result == BlockResult.Ok ? Finish(flags, "write zeros") : result;
    }

    private BlockResult Write(long offset, long length, BlockFlags flags)
    {
        BlockResult result = Zeros(offset, length);
        return result == BlockResult.Ok ? Finish(flags, "write zeros") : result;
    }

    private BlockResult Zeros(long offset, long length)
    {
        while (length > 0)
        {
            int piece = (int)Math.Min(length, ZerosBytes);
            int error = _file.Write(offset, s_zeros.AsSpan(0, piece));
            if (error != 0) return Failed("write zeros", offset, error);
            (offset, length) = (offset + piece, length - piece);
        }

        return BlockResult.Ok;
    }

    private BlockResult Finish(BlockFlags flags, string what)
    {
        if ((flags & BlockFlags.ForceUnitAccess) == 0 || _options.ReadOnly) return BlockResult.Ok;
        int error = _file.Sync();
        return error == 0 ? BlockResult.Ok : Failed($"fdatasync after {what}", 0, error);
    }

    // A file takes any range; a block device whole sectors. False: there is none inside.
    private bool Sectors(long offset, long length, out long start, out long end)
    {
        (start, end) = (offset, offset + length);
        if (!_file.IsBlockDevice) return true;
        start = (offset + BlockFile.Sector - 1) & -BlockFile.Sector;
        end = end == Size ? end : end & -BlockFile.Sector;
        return start < end;
    }
}
