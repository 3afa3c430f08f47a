namespace SdnEdge.Storage.Volumes;

/// <summary>
/// What an export serves: a range of bytes that can be read, written and made durable. The NBD server is in front of it; a raw file
/// (<c>FileDevice</c>), a replicated volume or a clone is behind it.
/// </summary>
/// <remarks>
/// <para>The contract, asserted at the server's side of it: offset and length are inside <see cref="Size"/>, the length is not 0, and
/// both are multiples of <see cref="MinimumBlock"/>. A call may be made from any thread while others are in progress; two that overlap take
/// effect in either order, but each whole in itself for each 4096 bytes that are aligned.</para>
/// <para>Failures are results, not exceptions: what failed is told to the client as the NBD error of that name and to the operator by the
/// device itself. An exception that leaves a call is a bug; the server answers EIO and reports it.</para>
/// <para>A call that can be answered at once returns a completed task and allocates nothing. One that must wait (a synchronous write for
/// its replica, a parked write for its grant) returns a task that completes later; the caller goes on with other requests meanwhile.</para>
/// </remarks>
public interface IBlockDevice
{
    /// <summary>Bytes. It may become more while an export of the device has connections: those keep what they were told.</summary>
    long Size { get; }

    /// <summary>The smallest unit of offset and length, in bytes: a power of two, 1 to 65536.</summary>
    int MinimumBlock { get; }

    /// <summary>What the device can do beside reading.</summary>
    BlockFeatures Features { get; }

    /// <summary>Reads <paramref name="into"/>'s length from <paramref name="offset"/>.</summary>
    ValueTask<BlockResult> ReadAsync(long offset, Memory<byte> into, CancellationToken cancel);

    /// <summary>Writes. The bytes may be reused by the caller as soon as the task has completed, not before. With
    /// <see cref="BlockFlags.ForceUnitAccess"/> they are durable when it has.</summary>
    ValueTask<BlockResult> WriteAsync(long offset, ReadOnlyMemory<byte> bytes, BlockFlags flags, CancellationToken cancel);

    /// <summary>Makes durable every write, by whatever connection, whose task had completed before this was called.</summary>
    ValueTask<BlockResult> FlushAsync(CancellationToken cancel);

    /// <summary>The range's contents are no longer wanted: it reads as zeros or as before, as the device likes.</summary>
    ValueTask<BlockResult> TrimAsync(long offset, long length, BlockFlags flags, CancellationToken cancel);

    /// <summary>The range reads as zeros from now on. With <see cref="BlockFlags.NoHole"/> its room stays allocated; with
    /// <see cref="BlockFlags.FastZero"/> the answer is <see cref="BlockResult.NotSupported"/> where that is no faster than
    /// writing.</summary>
    ValueTask<BlockResult> WriteZeroesAsync(long offset, long length, BlockFlags flags, CancellationToken cancel);

    /// <summary>Brings the range into memory, so that reading it is fast. A device may do nothing.</summary>
    ValueTask<BlockResult> CacheAsync(long offset, long length, CancellationToken cancel);

    /// <summary>Which parts of a range are allocated: extents in order, without gaps, beginning at <paramref name="offset"/>. At least
    /// one, at most <paramref name="limit"/>; they may end before the range does, and the last one may go beyond it.</summary>
    BlockResult Extents(long offset, long length, int limit, List<BlockExtent> into);
}

/// <summary>A device that can make durable in its caller's thread, for a caller that has nothing else to do: two changes of threads less
/// than by waiting for another one that does it for all.</summary>
internal interface ICommittingDevice : IBlockDevice
{
    /// <summary>As <see cref="IBlockDevice.FlushAsync"/>.</summary>
    ValueTask<BlockResult> FlushHereAsync(CancellationToken cancel);

    /// <summary>As <see cref="IBlockDevice.WriteAsync"/> with <see cref="BlockFlags.ForceUnitAccess"/>.</summary>
    ValueTask<BlockResult> WriteDurableHereAsync(long offset, ReadOnlyMemory<byte> bytes, CancellationToken cancel);
}

/// <summary>What a device can do beside reading; the NBD transmission flags follow from it.</summary>
[Flags]
public enum BlockFeatures
{
    /// <summary>It can be read.</summary>
    None = 0,

    /// <summary>It can be written. A device without it refuses with <see cref="BlockResult.NotPermitted"/>.</summary>
    Write = 1,

    /// <summary><see cref="IBlockDevice.FlushAsync"/> and <see cref="BlockFlags.ForceUnitAccess"/> have an effect.</summary>
    Flush = 2,

    /// <summary><see cref="IBlockDevice.TrimAsync"/> has an effect.</summary>
    Trim = 4,

    /// <summary><see cref="IBlockDevice.WriteZeroesAsync"/> is there.</summary>
    WriteZeroes = 8,

    /// <summary><see cref="BlockFlags.FastZero"/> is answered as its rule says.</summary>
    FastZero = 16,

    /// <summary>A flush covers the completed writes of every connection, and what one wrote the others read: several connections at once
    /// are safe (NBD_FLAG_CAN_MULTI_CONN).</summary>
    MultiConnection = 32,

    /// <summary><see cref="IBlockDevice.CacheAsync"/> has an effect.</summary>
    Cache = 64,

    /// <summary>Seeking costs time (a spinning disk).</summary>
    Rotational = 128,
}

/// <summary>How a write, a trim or a zeroing is to be done.</summary>
[Flags]
public enum BlockFlags
{
    /// <summary>Nothing special.</summary>
    None = 0,

    /// <summary>Durable before it is answered (FUA).</summary>
    ForceUnitAccess = 1,

    /// <summary>Zeros keep their room on the disk.</summary>
    NoHole = 2,

    /// <summary>Zeros only where that is faster than writing them.</summary>
    FastZero = 4,
}

/// <summary>How a call ended. The words are those of NBD's error values (protocol document, section "Error values").</summary>
public enum BlockResult
{
    /// <summary>Done.</summary>
    Ok,

    /// <summary>This client may not write, or no longer (EPERM).</summary>
    NotPermitted,

    /// <summary>The disk or the network below failed (EIO).</summary>
    IoError,

    /// <summary>No room (ENOSPC).</summary>
    NoSpace,

    /// <summary>The request makes no sense to the device (EINVAL).</summary>
    Invalid,

    /// <summary>Not this way (ENOTSUP): a fast zero that would be slow.</summary>
    NotSupported,

    /// <summary>No memory for it now (ENOMEM).</summary>
    NoMemory,

    /// <summary>The server ends (ESHUTDOWN); the client has to disconnect.</summary>
    ShuttingDown,
}

/// <summary>A part of a device, and what is known of it (context base:allocation).</summary>
/// <param name="Length">Bytes, more than 0.</param>
/// <param name="IsHole">No room is allocated for it.</param>
/// <param name="ReadsAsZeros">It reads as zeros.</param>
public readonly record struct BlockExtent(long Length, bool IsHole, bool ReadsAsZeros);
