using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace SdnEdge.Core.Fib;

/// <summary>
/// Asks for memory ahead of its use. Who works through many prefixes of a full table misses the cache at each step of each of them;
/// asked for together, the misses overlap. Earned by <c>bench bgp</c>. Nothing happens where the processor has no such instruction.
/// </summary>
public static unsafe class CacheLine
{
    /// <summary>Prefixes asked for together: enough to hide the memory's latency, few enough to stay in the cache until they are
    /// used.</summary>
    public const int Ahead = 16;

    /// <summary>Asks for the line that a place is in. The collector may move it meanwhile: then it was in vain.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch<T>(ref readonly T place) => Prefetch(Unsafe.AsPointer(ref Unsafe.AsRef(in place)));

    /// <summary>Asks for the line that an address is in; it need not be readable.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch(void* address)
    {
        if (Sse.IsSupported) Sse.Prefetch0(address);
    }
}
