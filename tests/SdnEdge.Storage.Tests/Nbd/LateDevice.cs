using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Tests.Nbd;

/// <summary>A device in memory that answers every call from a thread of the pool.</summary>
internal sealed class LateDevice(int size) : IBlockDevice
{
    private readonly Lock _lock = new();
    private readonly byte[] _bytes = new byte[size];

    public long Size => size;

    public int MinimumBlock => 1;

    public BlockFeatures Features => BlockFeatures.Write | BlockFeatures.Flush | BlockFeatures.MultiConnection;

    public ValueTask<BlockResult> ReadAsync(long offset, Memory<byte> into, CancellationToken cancel)
        => Later(() => _bytes.AsMemory((int)offset, into.Length).CopyTo(into));

    public ValueTask<BlockResult> WriteAsync(long offset, ReadOnlyMemory<byte> bytes, BlockFlags flags, CancellationToken cancel)
        => Later(() => bytes.CopyTo(_bytes.AsMemory((int)offset)));

    public ValueTask<BlockResult> FlushAsync(CancellationToken cancel) => Later(() => { });

    public ValueTask<BlockResult> TrimAsync(long offset, long length, BlockFlags flags, CancellationToken cancel)
        => new(BlockResult.NotSupported);

    public ValueTask<BlockResult> WriteZeroesAsync(long offset, long length, BlockFlags flags, CancellationToken cancel)
        => new(BlockResult.NotSupported);

    public ValueTask<BlockResult> CacheAsync(long offset, long length, CancellationToken cancel) => new(BlockResult.NotSupported);

    public BlockResult Extents(long offset, long length, int limit, List<BlockExtent> into)
    {
        into.Add(new BlockExtent(length, false, false));
        return BlockResult.Ok;
    }

    private ValueTask<BlockResult> Later(Action act) => new(Task.Run(() =>
    {
        lock (_lock) act();
        return BlockResult.Ok;
    }));
}
