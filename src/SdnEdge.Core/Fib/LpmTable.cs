using System.Diagnostics;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace SdnEdge.Core.Fib;

/// <summary>
/// Longest prefix match over keys of up to 128 bits, left-aligned: what <see cref="LpmTable4"/> and <see cref="LpmTable6"/>
/// share, which is all but the way a reader takes.
/// <code>
/// root  : uint[2^18], by the first 18 bits of the key
/// node  : +0 ulong Runs, +8 uint[popcount(Runs)]; 64 entries, by the next 6 bits of the key; equal neighbours share one slot,
///         and a set bit in Runs starts a new one, so that entry i is slot popcount(Runs &amp; bits 0..i) - 1
/// entry : bit 31 clear: a leaf (0 = no route). bit 31 set: a node, by its offset in the arena
/// </code>
/// A node and its entries lie together: a lookup touches the root and one or two cache lines for each six bits more.
/// <para>
/// One writer, any number of readers, who never wait. A node is never edited in a way that a reader could misread: either one
/// entry is overwritten (one store), or a new node is built and its parent's entry overwritten (one store). So each key is
/// seen with its value before or after a change, never another. A node that was replaced, and the arena when it had to
/// grow, is retired; <see cref="Reclaim()"/> frees it, and must be called only when every reader has left the lookups
/// that were running. What voids this: two writers, <see cref="Reclaim()"/> too early, and <see cref="Dispose"/> with readers.
/// </para>
/// </summary>
public abstract unsafe class LpmTable : IDisposable
{
    /// <summary>Largest leaf: 2^31 - 1.</summary>
    public const uint MaxLeaf = NodeFlag - 1;

    private protected const uint NodeFlag = 0x8000_0000;
    private protected const int RootBits = LpmRules.RootBits;
    private const int Stride = LpmRules.Stride;
    private const int Entries = 1 << Stride;
    private const int MaxUnits = 1 + (Entries / 2);

    private readonly LpmRules _rules = new();
    private readonly LpmArena _arena = new(MaxUnits, shared: true);
    private readonly int _keyBits;

    // Readers load an entry first and the arena's base after it: the base is then at least as new as the entry.
    private protected readonly uint* _root = (uint*)NativeMemory.AllocZeroed(1 << RootBits, sizeof(uint));
    private protected volatile byte* _base;
    private bool _disposed;

    private protected LpmTable(int keyBits)
    {
        _keyBits = keyBits;
        _base = _arena.Base;
    }

    /// <summary>Number of prefixes.</summary>
    public int Count { get; private set; }

    /// <summary>Bytes the readers' side takes: root and nodes, retired ones included.</summary>
    public long LookupBytes => ((long)sizeof(uint) << RootBits) + _arena.UsedBytes;

    /// <summary>Bytes of the writer's side: the exact prefixes.</summary>
    public long RuleBytes => _rules.UsedBytes + (3L * sizeof(uint) << RootBits);

    /// <summary>Bytes that wait for <see cref="Reclaim()"/>. Reclaim before it grows out of hand: a bulk load retires some 150 bytes a
    /// route.</summary>
    public long RetiredBytes => _arena.RetiredBytes;

    /// <summary>Names all that is retired until now: take it, wait for a grace period, then call <see cref="Reclaim(long)"/> with
    /// it.</summary>
    public long RetireMark => _arena.RetireMark;

    /// <summary>Frees all retired memory. Only when no lookup is running that began before the last change.</summary>
    public void Reclaim() => _arena.Reclaim(long.MaxValue);

    /// <summary>Frees what was retired before <paramref name="mark"/> was taken; later changes may have been made since.</summary>
    public void Reclaim(long mark) => _arena.Reclaim(mark);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        _rules.Dispose();
        _arena.Dispose();
        NativeMemory.Free(_root);
        GC.SuppressFinalize(this);
    }

    /// <summary>The node an entry names. The entry must have been read before the call.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private protected static byte* NodeAt(byte* arena, uint entry) => arena + ((nint)(entry & MaxLeaf) * LpmArena.Unit);

    /// <summary>The slot of one of a node's 64 entries.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private protected static uint* SlotAt(byte* node, int entry)
        => (uint*)(node + sizeof(ulong)) + BitOperations.PopCount(*(ulong*)node & ((2UL << entry) - 1)) - 1;

    /// <summary>Returns the leaf the prefix had; 0: it is new.</summary>
    private protected uint Set(UInt128 key, int length, uint leaf)
    {
        CheckLength(length);
        if (leaf is 0 or > MaxLeaf)
            throw new ArgumentOutOfRangeException(nameof(leaf), leaf, $"a leaf is 1 to {MaxLeaf}; take a prefix away with Remove");
        uint was;
        if (length <= RootBits)
        {
            int place = Place(key, length);
            ref uint rule = ref _rules.Short(place);
            was = rule;
            rule = leaf;
            PaintRoot(place, length, leaf);
        }
        else
        {
            int index = Place(key, RootBits) - (1 << RootBits);
            ref uint rules = ref _rules.RootChild(index);
            uint before = _root[index];
            uint inherited = _rules.ShortBest((1 << RootBits) | index);
            uint after = Insert(ref rules, rules == 0 ? 0 : before, RootBits, inherited, key, length, leaf, out was);
            if (after != before) Volatile.Write(ref _root[index], after);
        }

        if (was == 0) Count++;
        return was;
    }

    /// <summary>Returns the leaf the prefix had; 0: it was not there.</summary>
    private protected uint Remove(UInt128 key, int length)
    {
        if (!TryGetExact(key, length, out uint was)) return 0;
        Count--;
        if (length <= RootBits)
        {
            int place = Place(key, length);
            _rules.Short(place) = 0;
            PaintRoot(place, length, _rules.ShortBest(place));
            return was;
        }

        int index = Place(key, RootBits) - (1 << RootBits);
        ref uint rules = ref _rules.RootChild(index);
        uint before = _root[index];
        uint after = Delete(ref rules, before, RootBits, _rules.ShortBest((1 << RootBits) | index), key, length);
        if (after != before) Volatile.Write(ref _root[index], after);
        return was;
    }

    private protected bool TryGetExact(UInt128 key, int length, out uint leaf)
    {
        CheckLength(length);
        if (length <= RootBits)
        {
            leaf = _rules.Short(Place(key, length));
            return leaf != 0;
        }

        leaf = 0;
        uint node = _rules.RootChild(Place(key, RootBits) - (1 << RootBits));
        int depth = RootBits;
        for (; node != 0 && length - depth > Stride; depth += Stride) node = _rules.Child(node, Bits(key, depth, Stride));
        if (node != 0) leaf = _rules.Rule(node, LpmRules.RuleNumber(length - depth, Bits(key, depth, length - depth)));
        return leaf != 0;
    }

    /// <summary>The longest prefix that covers a key, with its length. For the writer's thread only.</summary>
    private protected bool TryMatch(UInt128 key, out int length, out uint leaf)
    {
        leaf = 0;
        length = 0;
        for (int place = Place(key, RootBits), at = RootBits; place != 0; place >>= 1, at--)
        {
            if (_rules.Short(place) == 0) continue;
            leaf = _rules.Short(place);
            length = at;
            break;
        }

        uint node = _rules.RootChild(Place(key, RootBits) - (1 << RootBits));
        for (int depth = RootBits; node != 0; depth += Stride)
        {
            int entry = Bits(key, depth, Stride);
            uint best = _rules.Best(node, entry, out int relative);
            if (best != 0) (leaf, length) = (best, depth + relative);
            node = _rules.Child(node, entry);
        }

        return leaf != 0;
    }

    /// <summary>Asks for what a change of a prefix reads of the root (<see cref="CacheLine"/>). The writer's thread.</summary>
    private protected void PrefetchRoot(UInt128 key, int length)
    {
        _rules.PrefetchShort(Place(key, Math.Min(length, RootBits)));
        if (length < RootBits) return;
        int index = Place(key, RootBits) - (1 << RootBits);
        CacheLine.Prefetch(_root + index);
        _rules.PrefetchRootChild(index);
    }

    /// <summary>Asks for the first nodes that a change of a prefix reads; what <see cref="PrefetchRoot"/> asked for is there by
    /// now.</summary>
    private protected void PrefetchNodes(UInt128 key, int length)
    {
        if (length <= RootBits) return;
        int index = Place(key, RootBits) - (1 << RootBits);
        if ((_root[index] & NodeFlag) != 0) CacheLine.Prefetch(NodeAt(_base, _root[index]));
        _rules.PrefetchNode(index);
    }

    private static int Place(UInt128 key, int length) => (1 << length) | (length == 0 ? 0 : (int)(uint)(key >> (128 - length)));

    /// <summary>Bits depth .. depth+count-1 of the key, zeros beyond its end.</summary>
    private static int Bits(UInt128 key, int depth, int count)
    {
        // Shifts of 128 bits are slow, and all of IPv4 and most of IPv6 lies in the upper half.
        if (depth + count <= 64) return (int)((ulong)(key >> 64) << depth >> 1 >> (63 - count));
        return (int)(uint)((key << depth) >> (128 - count));
    }

    private void CheckLength(int length)
    {
        if ((uint)length > (uint)_keyBits)
            throw new ArgumentOutOfRangeException(nameof(length), length, $"a prefix length is 0 to {_keyBits}");
    }

    /// <summary>Gives a place of the root's binary tree, and all under it that has no rule of its own, another leaf.</summary>
    private void PaintRoot(int place, int length, uint leaf)
    {
        if (length == RootBits)
        {
            int index = place - (1 << RootBits);
            uint before = _root[index];
            uint rules = _rules.RootChild(index);
            uint after = rules == 0 ? leaf : Inherit(rules, before, leaf);
            if (after != before) Volatile.Write(ref _root[index], after);
            return;
        }

        if (_rules.Short(2 * place) == 0) PaintRoot(2 * place, length + 1, leaf);
        if (_rules.Short((2 * place) + 1) == 0) PaintRoot((2 * place) + 1, length + 1, leaf);
    }

    /// <summary>Sets a rule in or below a node; returns the entry that names the lookup node now.</summary>
    private uint Insert(ref uint rules, uint node, int depth, uint inherited, UInt128 key, int length, uint leaf, out uint was)
    {
        if (rules == 0) rules = _rules.NewNode();
        int relative = length - depth;
        if (relative <= Stride)
        {
            int rule = LpmRules.RuleNumber(relative, Bits(key, depth, relative));
            rules = _rules.SetRule(rules, rule, leaf, out was);
            return Rebuild(rules, node, inherited, rule);
        }

        int entry = Bits(key, depth, Stride);
        uint covering = _rules.Best(rules, entry, out _);
        if (covering == 0) covering = inherited;
        uint child = _rules.Child(rules, entry);
        if (child == 0)
        {
            uint made = Insert(ref child, 0, depth + Stride, covering, key, length, leaf, out was);
            rules = _rules.AddChild(rules, entry, child);
            return Rebuild(rules, node, inherited, int.MaxValue, entry, made);
        }

        uint childBefore = child;
        uint before = *SlotAt(NodeAt(_base, node), entry);
        uint after = Insert(ref child, before, depth + Stride, covering, key, length, leaf, out was);
        if (child != childBefore) _rules.ReplaceChild(rules, entry, child);
        if (after != before) Volatile.Write(ref *SlotAt(NodeAt(_base, node), entry), after);
        return node;
    }

    /// <summary>Takes a rule that exists away, in or below a node; returns the entry that takes the node's place.</summary>
    private uint Delete(ref uint rules, uint node, int depth, uint inherited, UInt128 key, int length)
    {
        int relative = length - depth;
        int changed = int.MaxValue;
        if (relative <= Stride)
        {
            changed = LpmRules.RuleNumber(relative, Bits(key, depth, relative));
            rules = _rules.RemoveRule(rules, changed);
        }
        else
        {
            int entry = Bits(key, depth, Stride);
            uint covering = _rules.Best(rules, entry, out _);
            if (covering == 0) covering = inherited;
            uint child = _rules.Child(rules, entry);
            uint childBefore = child;
            uint before = *SlotAt(NodeAt(_base, node), entry);
            uint after = Delete(ref child, before, depth + Stride, covering, key, length);
            if (child != 0)
            {
                if (child != childBefore) _rules.ReplaceChild(rules, entry, child);
                if (after != before) Volatile.Write(ref *SlotAt(NodeAt(_base, node), entry), after);
                return node;
            }

            rules = _rules.RemoveChild(rules, entry);
        }

        if (!_rules.IsEmpty(rules)) return Rebuild(rules, node, inherited, changed);
        _rules.FreeNode(rules);
        rules = 0;
        Retire(node);
        return inherited;
    }

    /// <summary>The rule above a node changed: its entries without a rule of their own take the new leaf.</summary>
    private uint Inherit(uint rules, uint node, uint inherited)
    {
        uint* entries = stackalloc uint[Entries];
        ulong covered = _rules.Expand(rules, inherited, entries, after: -1);
        return covered == ulong.MaxValue ? node : Rebuild(rules, node, entries, ~covered, -1, 0);
    }

    /// <summary>A rule of the node changed (or none, int.MaxValue), or a child is new: builds the lookup node anew.</summary>
    private uint Rebuild(uint rules, uint node, uint inherited, int changedRule, int newEntry = -1, uint newChild = 0)
    {
        uint* entries = stackalloc uint[Entries];
        ulong covered = _rules.Expand(rules, inherited, entries, changedRule);
        ulong changed = changedRule == int.MaxValue ? 0 : LpmRules.RuleRange(changedRule) & ~covered;
        return Rebuild(rules, node, entries, changed, newEntry, newChild);
    }

    private uint Rebuild(uint rules, uint node, uint* entries, ulong changed, int newEntry, uint newChild)
    {
        for (ulong children = _rules.Children(rules); children != 0; children &= children - 1)
        {
            int entry = BitOperations.TrailingZeroCount(children);
            if (entry == newEntry)
            {
                entries[entry] = newChild;
                continue;
            }

            uint child = *SlotAt(NodeAt(_base, node), entry);
            entries[entry] = (changed >> entry & 1) == 0 ? child : Inherit(_rules.Child(rules, entry), child, entries[entry]);
        }

        return Store(node, entries);
    }

    /// <summary>Makes a node's entries these 64: in place where the runs are the same, else in a new node.</summary>
    private uint Store(uint node, uint* entries)
    {
        ulong runs = Runs(entries);
        if (node != 0 && *(ulong*)NodeAt(_base, node) == runs)
        {
            uint* slot = (uint*)(NodeAt(_base, node) + sizeof(ulong));
            for (ulong bits = runs; bits != 0; bits &= bits - 1, slot++)
            {
                uint value = entries[BitOperations.TrailingZeroCount(bits)];
                if (*slot != value) Volatile.Write(ref *slot, value);
            }

            return node;
        }

        uint block = _arena.Allocate(Units(runs));
        if (_arena.Base != _base) _base = _arena.Base;
        byte* made = NodeAt(_base, block);
        *(ulong*)made = runs;
        uint* to = (uint*)(made + sizeof(ulong));
        for (ulong bits = runs; bits != 0; bits &= bits - 1) *to++ = entries[BitOperations.TrailingZeroCount(bits)];
        if (node != 0) Retire(node);
        return block | NodeFlag;
    }

    // A bit for each entry that is another than the one before it, and for the first.
    private static ulong Runs(uint* entries)
    {
        ulong same = 0;
        for (int i = Vector128<uint>.Count; i < Entries; i += Vector128<uint>.Count)
            same |= (ulong)Vector128.Equals(Vector128.Load(entries + i), Vector128.Load(entries + i - 1)).ExtractMostSignificantBits() << i;
        for (int i = 1; i < Vector128<uint>.Count; i++) same |= (entries[i] == entries[i - 1] ? 1UL : 0UL) << i;
        return ~same;
    }

    private void Retire(uint node)
    {
        Debug.Assert((node & NodeFlag) != 0);
        _arena.Release(node & MaxLeaf, Units(*(ulong*)NodeAt(_base, node)));
    }

    private static int Units(ulong runs) => 1 + ((BitOperations.PopCount(runs) + 1) / 2);
}
