using System.Collections.Concurrent;

namespace SdnEdge.Storage.Nbd;

/// <summary>
/// A piece of memory that requests are received into or replies are built in. It is counted: the connection holds it, and so does each
/// request that the device has not finished with. All counting is done by the connection's own thread.
/// </summary>
internal sealed class NbdBuffer(NbdBufferPool pool, byte[] bytes)
{
    private int _holders = 1;

    /// <summary>The bytes.</summary>
    public byte[] Bytes { get; } = bytes;

    /// <summary>True: nobody but the connection holds it.</summary>
    public bool IsExclusive => _holders == 1;

    /// <summary>One more holder.</summary>
    public void Hold() => _holders++;

    /// <summary>One holder less; without any it goes back to the pool.</summary>
    /// <returns>True: that was the last one.</returns>
    public bool Release()
    {
        if (_holders <= 0) throw new InvalidOperationException("an NBD buffer was released more often than it was held");
        if (--_holders > 0) return false;
        pool.Return(this);
        return true;
    }

    /// <summary>It was taken out of the pool.</summary>
    public void Taken() => _holders = 1;
}

/// <summary>
/// Buffers of two sizes for all connections of a server: small ones, which an idle connection keeps, and large ones for those with much to
/// move. Memory is pinned, so that the kernel's calls need not.
/// </summary>
internal sealed class NbdBufferPool
{
    /// <summary>Bytes of a small buffer.</summary>
    public const int Small = 32 << 10;

    /// <summary>Longest piece in which data are handed to a device, bytes. A multiple of 4096.</summary>
    public const int Piece = 1 << 20;

    /// <summary>Bytes of a large buffer: a piece and the headers around it.</summary>
    public const int Large = Piece + (64 << 10);

    private const int KeptSmall = 256, KeptLarge = 16;

    private readonly ConcurrentBag<NbdBuffer> _small = [], _large = [];
    private int _keptSmall, _keptLarge, _taken;

    /// <summary>Buffers that connections hold now.</summary>
    public int Taken => Volatile.Read(ref _taken);

    /// <summary>Takes one of at least so many bytes, at most <see cref="Large"/>.</summary>
    public NbdBuffer Take(int bytes)
    {
        bool large = bytes > Small;
        Interlocked.Increment(ref _taken);
        if ((large ? _large : _small).TryTake(out NbdBuffer? kept))
        {
            Interlocked.Decrement(ref large ? ref _keptLarge : ref _keptSmall);
            kept.Taken();
            return kept;
        }

        return new NbdBuffer(this, GC.AllocateUninitializedArray<byte>(large ? Large : Small, pinned: true));
    }

    /// <summary>Gives one back. Beyond a number that is kept the collector has it.</summary>
    public void Return(NbdBuffer buffer)
    {
        Interlocked.Decrement(ref _taken);
        bool large = buffer.Bytes.Length > Small;
        if (Interlocked.Increment(ref large ? ref _keptLarge : ref _keptSmall) > (large ? KeptLarge : KeptSmall))
        {
            Interlocked.Decrement(ref large ? ref _keptLarge : ref _keptSmall);
            return;
        }

        (large ? _large : _small).Add(buffer);
    }
}
