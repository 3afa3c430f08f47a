namespace SdnEdge.Storage.Volumes;

/// <summary>A kept point, read-only.</summary>
internal sealed class PointDevice(PointSet points, PointFile file) : IWaitingDevice
{
    /// <inheritdoc/>
    public long Size => file.Point.Size;

    /// <inheritdoc/>
    public int MinimumBlock => 1;

    /// <inheritdoc/>
    public BlockFeatures Features => BlockFeatures.MultiConnection;

    /// <inheritdoc/>
    public ValueTask<BlockResult> ReadAsync(long offset, Memory<byte> into, CancellationToken cancel)
    {
        try
        {
            return new(points.Read(file, offset, into.Span) == 0 ? BlockResult.Ok : BlockResult.IoError);
        }
        catch (ObjectDisposedException)
        {
            return new(BlockResult.ShuttingDown);
        }
    }

    /// <inheritdoc/>
    public ValueTask<BlockResult> WriteAsync(long offset, ReadOnlyMemory<byte> bytes, BlockFlags flags, CancellationToken cancel) =>
        new(BlockResult.NotPermitted);

    /// <inheritdoc/>
    public ValueTask<BlockResult> FlushAsync(CancellationToken cancel) => new(BlockResult.Ok);

    /// <inheritdoc/>
    public ValueTask<BlockResult> TrimAsync(long offset, long length, BlockFlags flags, CancellationToken cancel) =>
        new(BlockResult.NotPermitted);

    /// <inheritdoc/>
    public ValueTask<BlockResult> WriteZeroesAsync(long offset, long length, BlockFlags flags, CancellationToken cancel) =>
        new(BlockResult.NotPermitted);

    /// <inheritdoc/>
    public ValueTask<BlockResult> CacheAsync(long offset, long length, CancellationToken cancel) => new(BlockResult.Ok);

    /// <inheritdoc/>
    public BlockResult Extents(long offset, long length, int limit, List<BlockExtent> into)
    {
        ArgumentNullException.ThrowIfNull(into);
        int first = into.Count;
        for (long at = offset, end = offset + length; at < end && into.Count - first < limit;)
        {
            if (!points.Extent(file, at, end, out long until, out bool hole)) return BlockResult.IoError;
            if (into.Count > first && into[^1].IsHole == hole)
                into[^1] = into[^1] with { Length = into[^1].Length + (until - at) };
            else
                into.Add(new BlockExtent(until - at, hole, hole));
            at = until;
        }

        return BlockResult.Ok;
    }
}
