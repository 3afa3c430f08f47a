using SdnEdge.Core.Replication;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Service;

/// <summary>
/// A replicated volume as one client sees it: its writes are carried out while it holds the grant, wait while who may write is open, and
/// are refused when it is another site for good. Reads are answered, but while the volume is sealed.
/// </summary>
internal sealed class ClientView(ReplicatedVolume owner, ClientIdentity? client) : ICommittingDevice
{
    private Volume Volume => owner.Volume;

    /// <inheritdoc/>
    public long Size => Volume.Size;

    /// <inheritdoc/>
    public int MinimumBlock => Volume.MinimumBlock;

    /// <inheritdoc/>
    public BlockFeatures Features => Volume.Features;

    /// <inheritdoc/>
    public ValueTask<BlockResult> ReadAsync(long offset, Memory<byte> into, CancellationToken cancel)
        => owner.IsSealed ? ReadLaterAsync(offset, into, cancel) : Volume.ReadAsync(offset, into, cancel);

    /// <inheritdoc/>
    public ValueTask<BlockResult> WriteAsync(long offset, ReadOnlyMemory<byte> bytes, BlockFlags flags, CancellationToken cancel)
        => Admit(new Request(v => v.WriteAsync(offset, bytes, flags, cancel), bytes.Length, cancel));

    /// <inheritdoc/>
    public ValueTask<BlockResult> WriteDurableHereAsync(long offset, ReadOnlyMemory<byte> bytes, CancellationToken cancel)
        => Admit(new Request(v => v.WriteDurableHereAsync(offset, bytes, cancel), bytes.Length, cancel));

    /// <inheritdoc/>
    public ValueTask<BlockResult> TrimAsync(long offset, long length, BlockFlags flags, CancellationToken cancel)
        => Admit(new Request(v => v.TrimAsync(offset, length, flags, cancel), 0, cancel));

    /// <inheritdoc/>
    public ValueTask<BlockResult> WriteZeroesAsync(long offset, long length, BlockFlags flags, CancellationToken cancel)
        => Admit(new Request(v => v.WriteZeroesAsync(offset, length, flags, cancel), 0, cancel));

    /// <inheritdoc/>
    public ValueTask<BlockResult> CacheAsync(long offset, long length, CancellationToken cancel) => Volume.CacheAsync(offset, length,
        cancel);

    /// <inheritdoc/>
    public BlockResult Extents(long offset, long length, int limit, List<BlockExtent> into) => Volume.Extents(offset, length, limit, into);

    /// <summary>Always answered: a hypervisor flushes at the end of its hand-over, when nothing is left to be made durable.</summary>
    public ValueTask<BlockResult> FlushAsync(CancellationToken cancel) => Flush(here: false, cancel);

    /// <inheritdoc cref="FlushAsync"/>
    public ValueTask<BlockResult> FlushHereAsync(CancellationToken cancel) => Flush(here: true, cancel);

    private ValueTask<BlockResult> Flush(bool here, CancellationToken cancel)
    {
        if (!owner.Enter(client)) return SyncAsync();
        try
        {
            return owner.Guard(here ? Volume.FlushHereAsync(cancel) : Volume.FlushAsync(cancel), client);
        }
        finally
        {
            owner.Leave();
        }
    }

    private ValueTask<BlockResult> Admit(Request request)
    {
        if (!owner.Enter(client)) return WaitAsync(request);
        try
        {
            return owner.Guard(request.Carry(Volume), client);
        }
        finally
        {
            owner.Leave();
        }
    }

    private async ValueTask<BlockResult> WaitAsync(Request request)
    {
        while (true)
        {
            BlockResult? refused = await owner.ParkAsync(client, request.Bytes, request.Cancel).ConfigureAwait(false);
            if (refused is { } result) return result;
            if (!owner.Enter(client)) continue;
            ValueTask<BlockResult> task;
            try
            {
                task = request.Carry(Volume);
            }
            finally
            {
                owner.Leave();
            }

            return await owner.Guard(task, client).ConfigureAwait(false);
        }
    }

    private async ValueTask<BlockResult> ReadLaterAsync(long offset, Memory<byte> into, CancellationToken cancel)
    {
        await owner.WhileSealedAsync(cancel).ConfigureAwait(false);
        return await Volume.ReadAsync(offset, into, cancel).ConfigureAwait(false);
    }

    private async ValueTask<BlockResult> SyncAsync()
        => await Volume.Log.CommitAsync(Volume.Log.LastSequence).ConfigureAwait(false) == 0 ? BlockResult.Ok : BlockResult.IoError;

    private sealed record Request(Func<Volume, ValueTask<BlockResult>> Carry, long Bytes, CancellationToken Cancel);
}
