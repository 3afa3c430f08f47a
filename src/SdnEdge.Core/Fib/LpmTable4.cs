using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace SdnEdge.Core.Fib;

/// <summary>
/// Longest prefix match for IPv4: address to leaf index, 0 = no route. A million routes; a prefix of up to 24 bits costs the
/// root and one node. Guarantees, and what voids them: <see cref="LpmTable"/>.
/// </summary>
public sealed unsafe class LpmTable4 : LpmTable
{
    /// <summary>An empty table.</summary>
    public LpmTable4() : base(32)
    {
    }

    /// <summary>The leaf of the longest prefix that covers the address (host order); 0 when there is none. Any thread.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public uint Lookup(uint address)
    {
        uint entry = Volatile.Read(ref _root[address >> (32 - RootBits)]);
        return (entry & NodeFlag) == 0 ? entry : Descend(entry, address, _base);
    }

    /// <summary>Looks up several addresses (host order), which hides the memory's latency. Any thread.</summary>
    /// <param name="addresses">The addresses.</param>
    /// <param name="leaves">Room for as many leaves.</param>
    public void Lookup(ReadOnlySpan<uint> addresses, Span<uint> leaves)
    {
        // 1. all root entries: independent loads; 2. fetch the nodes they name; 3. finish.
        leaves = leaves[..addresses.Length];
        for (int i = 0; i < addresses.Length; i++) leaves[i] = Volatile.Read(ref _root[addresses[i] >> (32 - RootBits)]);
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
            if ((entry & NodeFlag) != 0) leaves[i] = Descend(entry, addresses[i], arena);
        }
    }

    /// <summary>
    /// Brings into the cache what looking up these addresses (host order) will read, all at once instead of one miss after
    /// the other. Any thread, where a lookup might be.
    /// </summary>
    public void Prefetch(ReadOnlySpan<uint> addresses)
    {
        if (!Sse.IsSupported) return;
        foreach (uint address in addresses) Sse.Prefetch0(_root + (address >> (32 - RootBits)));
        foreach (uint address in addresses)
        {
            uint entry = Volatile.Read(ref _root[address >> (32 - RootBits)]);
            if ((entry & NodeFlag) != 0) Sse.Prefetch0(NodeAt(_base, entry));
        }

        foreach (uint address in addresses)
        {
            uint entry = Volatile.Read(ref _root[address >> (32 - RootBits)]);
            if ((entry & NodeFlag) != 0) Sse.Prefetch0(SlotAt(NodeAt(_base, entry), (int)((address << RootBits) >> 26)));
        }
    }

    /// <summary>Adds a prefix or gives it another leaf. Returns the leaf it had, 0 when it is new. The writer's thread.</summary>
    /// <param name="address">Any address of the prefix, host order; bits beyond the length are ignored.</param>
    /// <param name="length">0 to 32.</param>
    /// <param name="leaf">1 to <see cref="LpmTable.MaxLeaf"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">Length or leaf out of range.</exception>
    public uint Set(uint address, int length, uint leaf) => Set(Key(address), length, leaf);

    /// <summary>Takes a prefix away. Returns the leaf it had, 0 when it was not there. The writer's thread.</summary>
    public uint Remove(uint address, int length) => Remove(Key(address), length);

    /// <summary>The leaf set for exactly this prefix. The writer's thread.</summary>
    public bool TryGetExact(uint address, int length, out uint leaf) => TryGetExact(Key(address), length, out leaf);

    /// <summary>The longest prefix that covers an address, with its length: for displays. The writer's thread.</summary>
    public bool TryMatch(uint address, out int length, out uint leaf) => TryMatch(Key(address), out length, out leaf);

    internal void PrefetchRoot(uint address, int length) => PrefetchRoot(Key(address), length);

    internal void PrefetchNodes(uint address, int length) => PrefetchNodes(Key(address), length);

    private static UInt128 Key(uint address) => new((ulong)address << 32, 0);

    private static uint Descend(uint entry, uint address, byte* arena)
    {
        uint rest = address << RootBits;
        do
        {
            entry = Volatile.Read(ref *SlotAt(NodeAt(arena, entry), (int)(rest >> 26)));
            rest <<= 6;
        }
        while ((entry & NodeFlag) != 0);
        return entry;
    }
}
