using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace SdnEdge.Core.Fib;

/// <summary>
/// Longest prefix match for IPv6: address to leaf index, 0 = no route. A million routes; a /48 costs the root and five nodes.
/// Guarantees, and what voids them: <see cref="LpmTable"/>.
/// </summary>
public sealed unsafe class LpmTable6 : LpmTable
{
    /// <summary>An empty table.</summary>
    public LpmTable6() : base(128)
    {
    }

    /// <summary>The leaf of the longest prefix that covers the address; 0 when there is none. Any thread.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public uint Lookup(UInt128 address) => Lookup((ulong)(address >> 64), (ulong)address);

    /// <summary>The leaf of the longest prefix that covers the address, given in halves; 0 when there is none. Any thread.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public uint Lookup(ulong high, ulong low)
    {
        uint entry = Volatile.Read(ref _root[high >> (64 - RootBits)]);
        return (entry & NodeFlag) == 0 ? entry : Descend(entry, high, low, _base);
    }

    /// <summary>Looks up several addresses, which hides the memory's latency. Any thread.</summary>
    /// <param name="addresses">The addresses.</param>
    /// <param name="leaves">Room for as many leaves.</param>
    public void Lookup(ReadOnlySpan<UInt128> addresses, Span<uint> leaves)
    {
        leaves = leaves[..addresses.Length];
        for (int i = 0; i < addresses.Length; i++) leaves[i] = Volatile.Read(ref _root[(ulong)(addresses[i] >> 64) >> (64 - RootBits)]);
        byte* arena = _base;
        if (Sse.IsSupported)
        {
            foreach (uint entry in leaves)
            {
                if ((entry & NodeFlag) != 0) Sse.Prefetch0(NodeAt(arena, entry));
            }
        }

        for (int i = 0; i < addresses.Length; i++)
        {
            uint entry = leaves[i];
            if ((entry & NodeFlag) != 0) leaves[i] = Descend(entry, (ulong)(addresses[i] >> 64), (ulong)addresses[i], arena);
        }
    }

    /// <summary>Adds a prefix or gives it another leaf. Returns the leaf it had, 0 when it is new. The writer's thread.</summary>
    /// <param name="address">Any address of the prefix; bits beyond the length are ignored.</param>
    /// <param name="length">0 to 128.</param>
    /// <param name="leaf">1 to <see cref="LpmTable.MaxLeaf"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">Length or leaf out of range.</exception>
    public new uint Set(UInt128 address, int length, uint leaf) => base.Set(address, length, leaf);

    /// <summary>Takes a prefix away. Returns the leaf it had, 0 when it was not there. The writer's thread.</summary>
    public new uint Remove(UInt128 address, int length) => base.Remove(address, length);

    internal new void PrefetchRoot(UInt128 address, int length) => base.PrefetchRoot(address, length);

    internal new void PrefetchNodes(UInt128 address, int length) => base.PrefetchNodes(address, length);

    /// <summary>The leaf set for exactly this prefix. The writer's thread.</summary>
    public new bool TryGetExact(UInt128 address, int length, out uint leaf) => base.TryGetExact(address, length, out leaf);

    /// <summary>The longest prefix that covers an address, with its length: for displays. The writer's thread.</summary>
    public new bool TryMatch(UInt128 address, out int length, out uint leaf) => base.TryMatch(address, out length, out leaf);

    private static uint Descend(uint entry, ulong high, ulong low, byte* arena)
    {
        // A window of the next 64 bits; six leave it at its top and six come in at its end with each node.
        ulong window = (high << RootBits) | (low >> (64 - RootBits));
        low <<= RootBits;
        do
        {
            entry = Volatile.Read(ref *SlotAt(NodeAt(arena, entry), (int)(window >> 58)));
            window = (window << 6) | (low >> 58);
            low <<= 6;
        }
        while ((entry & NodeFlag) != 0);
        return entry;
    }
}
