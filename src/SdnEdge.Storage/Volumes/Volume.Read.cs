using SdnEdge.Storage.Log;

namespace SdnEdge.Storage.Volumes;

public sealed partial class Volume
{
    // For each stripe of blocks a count that is odd while the applier writes one of them: a read of the image during which it changed is
    // done again, so that no read sees half of a block.
    private const int Stripes = 1024;

    private readonly int[] _stamps = new int[Stripes];

    [ThreadStatic]
    private static List<PendingIndex.Part>? t_parts;

    [ThreadStatic]
    private static List<LogSegment?>? t_pins;

    /// <inheritdoc/>
    public ValueTask<BlockResult> ReadAsync(long offset, Memory<byte> into, CancellationToken cancel)
    {
        try
        {
            return new(Read(offset, into.Span));
        }
        catch (ObjectDisposedException)
        {
            return new(BlockResult.ShuttingDown);
        }
    }

    private BlockResult Read(long offset, Span<byte> bytes)
    {
        while (true)
        {
            long before = Stamp(offset, bytes.Length);
            int error = (before & 1) == 0 ? TryRead(offset, bytes) : 0;
            if (error != 0) return BlockResult.IoError;
            if ((before & 1) == 0 && Stamp(offset, bytes.Length) == before) return BlockResult.Ok;
            Thread.Yield();
        }
    }

    private int TryRead(long offset, Span<byte> into)
    {
        var parts = t_parts ??= [];
        var pins = t_pins ??= [];
        bool image;
        lock (_log.Gate)
        {
            // The segments of what is in the log are held, so that they are not used anew while they are read.
            image = _index.Find(offset, into.Length, parts);
            foreach (var part in parts) pins.Add(part.Position < 0 ? null : _log.PinLocked(part.Position));
        }

        int error = image ? _image.Read(offset, into) : 0;
        for (int i = 0; i < parts.Count; i++)
        {
            var part = parts[i];
            var target = into.Slice(part.At, part.Length);
            if (pins[i] is not { } segment)
            {
                target.Clear();
                continue;
            }

            if (error == 0) error = _log.ReadPayload(segment, part.Position, target);
            _log.Unpin(segment);
        }

        pins.Clear();
        return error;
    }

    // Odd while one of the range's blocks is being written to the image; else the sum of the counts.
    private long Stamp(long offset, int length)
    {
        long first = offset / Block, last = (offset + length - 1) / Block, sum = 0;
        if (last - first >= Stripes) last = first + Stripes - 1;
        for (long block = first; block <= last; block++)
        {
            int stamp = Volatile.Read(ref _stamps[block & (Stripes - 1)]);
            if ((stamp & 1) != 0) return 1;
            sum += (uint)stamp;
        }

        Interlocked.MemoryBarrier();
        return sum & ~1L;
    }

    private void ChangeStamps(long offset, long length)
    {
        long first = offset / Block, last = (offset + length - 1) / Block;
        if (last - first >= Stripes) last = first + Stripes - 1;
        for (long block = first; block <= last; block++) Interlocked.Increment(ref _stamps[block & (Stripes - 1)]);
    }

    /// <inheritdoc/>
    public ValueTask<BlockResult> CacheAsync(long offset, long length, CancellationToken cancel)
    {
        _image.ReadAhead(offset, length);
        return new(BlockResult.Ok);
    }

    /// <inheritdoc/>
    public BlockResult Extents(long offset, long length, int limit, List<BlockExtent> into)
    {
        ArgumentNullException.ThrowIfNull(into);
        List<long> pending;
        lock (_log.Gate) pending = _index.IsEmpty ? [] : _index.Blocks(offset, length);
        int next = 0, first = into.Count;
        for (long at = offset, end = offset + length; at < end && into.Count - first < limit;)
        {
            // What the log has counts as allocated; zeros there do not make a hole before they are applied.
            while (next < pending.Count && (pending[next] + 1) * Block <= at) next++;
            long stop = next < pending.Count ? Math.Min(end, Math.Max(at, pending[next] * Block)) : end;
            bool hole = false;
            if (stop == at)
            {
                stop = Math.Min(end, (pending[next] + 1) * Block);
            }
            else
            {
                long data = _image.NextData(at);
                hole = data > at;
                stop = Math.Min(stop, hole ? data : Math.Max(at + 1, _image.NextHole(at)));
                stop = stop == end ? end : Math.Max(at + MinimumBlock, stop / MinimumBlock * MinimumBlock);
            }

            if (into.Count > first && into[^1].IsHole == hole)
                into[^1] = into[^1] with { Length = into[^1].Length + (stop - at) };
            else
                into.Add(new BlockExtent(stop - at, hole, hole));
            at = stop;
        }

        return BlockResult.Ok;
    }
}
