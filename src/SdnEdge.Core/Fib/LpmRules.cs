using System.Numerics;
using System.Runtime.InteropServices;

namespace SdnEdge.Core.Fib;

/// <summary>
/// The exact prefixes of an LPM table, for its writer only: what was set, so that it can be taken away again, and what
/// lies under it. A tree bitmap with the same strides as the lookup trie, so that both have a node at the same places.
/// <code>
/// lengths 0..18  : Short[(1 &lt;&lt; length) | bits], a complete binary tree; 0 = no rule
/// node at depth d: rules of relative length 1..6, that is prefix lengths d+1 .. d+6
///   +0  ulong Low       a bit for each rule of relative length 1..5, number (1 &lt;&lt; length | bits) - 2
///   +8  ulong High      a bit for each rule of relative length 6
///   +16 ulong Children  a bit for each of the 64 nodes below
///   +24 uint[]          leaves of Low, of High, then the children's blocks, each in the order of its bits
/// </code>
/// </summary>
internal sealed unsafe class LpmRules : IDisposable
{
    /// <summary>Bits of the root.</summary>
    public const int RootBits = 18;

    /// <summary>Bits of each node.</summary>
    public const int Stride = 6;

    private const int HeaderUnits = 3;
    private const int MaxUnits = HeaderUnits + ((126 + 64 + 1) / 2);
    private const int LowRules = 62;

    private readonly LpmArena _arena = new(MaxUnits, shared: false);
    private readonly uint* _short = (uint*)NativeMemory.AllocZeroed(1 << (RootBits + 1), sizeof(uint));
    private readonly uint* _rootChild = (uint*)NativeMemory.AllocZeroed(1 << RootBits, sizeof(uint));

    /// <summary>Bytes of the nodes; the root's arrays (3 MiB, touched only where used) come on top.</summary>
    public long UsedBytes => _arena.UsedBytes;

    /// <summary>The leaf of a rule of up to <see cref="RootBits"/> bits by its place in the binary tree; 0 = none.</summary>
    public ref uint Short(int place) => ref _short[place];

    /// <summary>The node below a root entry; 0 = none.</summary>
    public ref uint RootChild(int entry) => ref _rootChild[entry];

    /// <summary>The leaf of the longest rule at or above a place of the binary tree; 0 = none.</summary>
    public uint ShortBest(int place)
    {
        for (; place != 0; place >>= 1)
        {
            if (_short[place] != 0) return _short[place];
        }

        return 0;
    }

    /// <summary>Number of a rule inside its node.</summary>
    /// <param name="relative">1 to 6.</param>
    /// <param name="bits">Its leading bits, right-aligned.</param>
    public static int RuleNumber(int relative, int bits) => (1 << relative) + bits - 2;

    /// <summary>The entries, of 64, that a rule covers.</summary>
    public static ulong RuleRange(int rule)
    {
        int place = rule + 2;
        int relative = BitOperations.Log2((uint)place);
        int size = 1 << (Stride - relative);
        int start = (place - (1 << relative)) * size;
        return ((1UL << size) - 1) << start;
    }

    /// <summary>Asks for what a change of a rule reads of the root: its place in the binary tree and the rules that may cover it
    /// (<see cref="CacheLine"/>).</summary>
    public void PrefetchShort(int place)
    {
        // Further up, the rules are few and in the cache.
        for (int i = 0; i < 4; i++, place >>= 1) CacheLine.Prefetch(_short + place);
    }

    /// <summary>Asks for what a change below a root entry reads first.</summary>
    public void PrefetchRootChild(int entry) => CacheLine.Prefetch(_rootChild + entry);

    /// <summary>Asks for the node below a root entry, where there is one.</summary>
    public void PrefetchNode(int entry)
    {
        if (_rootChild[entry] is > 0 and uint node) CacheLine.Prefetch(At(node));
    }

    /// <summary>A new, empty node.</summary>
    public uint NewNode()
    {
        uint node = _arena.Allocate(HeaderUnits);
        new Span<ulong>(At(node), HeaderUnits).Clear();
        return node;
    }

    /// <summary>True when nothing is left in the node.</summary>
    public bool IsEmpty(uint node)
    {
        ulong* header = At(node);
        return (header[0] | header[1] | header[2]) == 0;
    }

    /// <summary>Gives an empty node back.</summary>
    public void FreeNode(uint node) => _arena.Release(node, HeaderUnits);

    /// <summary>The bits of the nodes below.</summary>
    public ulong Children(uint node) => At(node)[2];

    /// <summary>The node below entry <paramref name="entry"/>; 0 = none.</summary>
    public uint Child(uint node, int entry)
    {
        ulong* header = At(node);
        return (header[2] >> entry & 1) == 0 ? 0 : Values(header)[ChildSlot(header, entry)];
    }

    /// <summary>Puts another node in the place of one below.</summary>
    public void ReplaceChild(uint node, int entry, uint child)
    {
        ulong* header = At(node);
        Values(header)[ChildSlot(header, entry)] = child;
    }

    /// <summary>Adds a node below; returns this node, which may have moved.</summary>
    public uint AddChild(uint node, int entry, uint child)
    {
        node = Insert(node, ChildSlot(At(node), entry), child);
        At(node)[2] |= 1UL << entry;
        return node;
    }

    /// <summary>Takes a node below away; returns this node, which may have moved.</summary>
    public uint RemoveChild(uint node, int entry)
    {
        int slot = ChildSlot(At(node), entry);
        node = Delete(node, slot, clearWord: 2, clearBit: entry);
        return node;
    }

    /// <summary>The leaf of a rule in a node; 0 = no such rule.</summary>
    public uint Rule(uint node, int rule)
    {
        ulong* header = At(node);
        return Has(header, rule) ? Values(header)[RuleSlot(header, rule)] : 0;
    }

    /// <summary>Sets a rule; returns the node, which may have moved.</summary>
    public uint SetRule(uint node, int rule, uint leaf, out uint was)
    {
        ulong* header = At(node);
        int slot = RuleSlot(header, rule);
        was = 0;
        if (Has(header, rule))
        {
            was = Values(header)[slot];
            Values(header)[slot] = leaf;
            return node;
        }

        node = Insert(node, slot, leaf);
        At(node)[rule < LowRules ? 0 : 1] |= 1UL << (rule < LowRules ? rule : rule - LowRules);
        return node;
    }

    /// <summary>Takes a rule that exists away; returns the node, which may have moved.</summary>
    public uint RemoveRule(uint node, int rule)
        => Delete(node, RuleSlot(At(node), rule), rule < LowRules ? 0 : 1, rule < LowRules ? rule : rule - LowRules);

    /// <summary>The leaf of the longest rule of the node that covers an entry, and its relative length; else 0 and 0.</summary>
    public uint Best(uint node, int entry, out int relative)
    {
        for (relative = Stride; relative > 0; relative--)
        {
            uint leaf = Rule(node, RuleNumber(relative, entry >> (Stride - relative)));
            if (leaf != 0) return leaf;
        }

        return 0;
    }

    /// <summary>
    /// The leaf of each of the node's 64 entries: that of its longest rule, or <paramref name="inherited"/>.
    /// </summary>
    /// <param name="node">The node.</param>
    /// <param name="inherited">Leaf of the longest rule above the node; 0 = none.</param>
    /// <param name="leaves">Room for 64.</param>
    /// <param name="after">Only rules numbered above it count for the result.</param>
    /// <returns>The entries covered by rules numbered above <paramref name="after"/>.</returns>
    public ulong Expand(uint node, uint inherited, uint* leaves, int after)
    {
        new Span<uint>(leaves, 1 << Stride).Fill(inherited);
        ulong* header = At(node);
        uint* value = Values(header);
        ulong covered = 0;

        // Shorter rules have lower numbers, so that painting in order leaves the longest on top.
        for (ulong bits = header[0]; bits != 0; bits &= bits - 1)
        {
            int rule = BitOperations.TrailingZeroCount(bits);
            int place = rule + 2;
            int relative = BitOperations.Log2((uint)place);
            int size = 1 << (Stride - relative);
            new Span<uint>(leaves + ((place - (1 << relative)) * size), size).Fill(*value++);
            if (rule > after) covered |= RuleRange(rule);
        }

        for (ulong bits = header[1]; bits != 0; bits &= bits - 1)
        {
            int entry = BitOperations.TrailingZeroCount(bits);
            leaves[entry] = *value++;
            if (entry + LowRules > after) covered |= 1UL << entry;
        }

        return covered;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _arena.Dispose();
        NativeMemory.Free(_short);
        NativeMemory.Free(_rootChild);
    }

    private static uint* Values(ulong* header) => (uint*)(header + HeaderUnits);

    private static int Units(int values) => HeaderUnits + ((values + 1) / 2);

    private static int Count(ulong* header)
        => BitOperations.PopCount(header[0]) + BitOperations.PopCount(header[1]) + BitOperations.PopCount(header[2]);

    private static bool Has(ulong* header, int rule)
        => rule < LowRules ? (header[0] >> rule & 1) != 0 : (header[1] >> (rule - LowRules) & 1) != 0;

    private static int RuleSlot(ulong* header, int rule) => rule < LowRules
        ? BitOperations.PopCount(header[0] & ((1UL << rule) - 1))
        : BitOperations.PopCount(header[0]) + BitOperations.PopCount(header[1] & ((1UL << (rule - LowRules)) - 1));

    private static int ChildSlot(ulong* header, int entry)
        => BitOperations.PopCount(header[0]) + BitOperations.PopCount(header[1]) + BitOperations.PopCount(header[2] & ((1UL << entry) - 1));

    private ulong* At(uint node) => (ulong*)(_arena.Base + ((nint)node * LpmArena.Unit));

    private uint Insert(uint node, int slot, uint value)
    {
        int count = Count(At(node));
        uint target = Units(count) == Units(count + 1) ? node : _arena.Allocate(Units(count + 1));
        ulong* from = At(node);
        ulong* to = At(target);
        uint* source = Values(from);
        uint* values = Values(to);
        if (target != node)
        {
            for (int i = 0; i < HeaderUnits; i++) to[i] = from[i];
            new Span<uint>(source, slot).CopyTo(new Span<uint>(values, slot));
        }

        new Span<uint>(source + slot, count - slot).CopyTo(new Span<uint>(values + slot + 1, count - slot));
        values[slot] = value;
        if (target != node) _arena.Release(node, Units(count));
        return target;
    }

    private uint Delete(uint node, int slot, int clearWord, int clearBit)
    {
        int count = Count(At(node));
        uint target = Units(count) == Units(count - 1) ? node : _arena.Allocate(Units(count - 1));
        ulong* from = At(node);
        ulong* to = At(target);
        uint* source = Values(from);
        uint* values = Values(to);
        if (target != node)
        {
            for (int i = 0; i < HeaderUnits; i++) to[i] = from[i];
            new Span<uint>(source, slot).CopyTo(new Span<uint>(values, slot));
        }

        new Span<uint>(source + slot + 1, count - slot - 1).CopyTo(new Span<uint>(values + slot, count - slot - 1));
        to[clearWord] &= ~(1UL << clearBit);
        if (target != node) _arena.Release(node, Units(count));
        return target;
    }
}
