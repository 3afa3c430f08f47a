using System.Runtime.InteropServices;

namespace SdnEdge.Router.Worker;

/// <summary>
/// Where a worker stands, for the grace period. Even: it is in a batch and may hold what it read from the shared tables; the
/// number changes at each batch boundary. Odd: it holds nothing (it sleeps, or has not started, or has ended).
/// On a cache line of its own; written by the worker only.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 192)]
internal struct QuiescentState
{
    [FieldOffset(64)]
    private long _value;

    public QuiescentState() => _value = 1;

    /// <summary>The state now.</summary>
    public readonly long Value => Volatile.Read(in _value);

    /// <summary>True when a worker seen in <paramref name="state"/> held nothing then.</summary>
    public static bool HoldsNothing(long state) => (state & 1) != 0;

    // Each of these is a full fence, not only a release: a read of the next batch that moved up before the store would
    // use a table that a writer, seeing the store, believes abandoned.

    /// <summary>A batch boundary.</summary>
    public void Pass() => Interlocked.Add(ref _value, 2);

    /// <summary>From now on nothing is held.</summary>
    public void Leave() => Interlocked.Increment(ref _value);

    /// <summary>From now on something may be held again.</summary>
    public void Return() => Interlocked.Increment(ref _value);
}
