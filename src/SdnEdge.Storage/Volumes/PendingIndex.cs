using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Volumes;

/// <summary>
/// Which parts of a volume are newer in the log than in the image, and where in the log they are. Entries are per block of 4096 bytes; a
/// later write to a block is put before the earlier ones, which stay reachable for what the later one does not cover. Entries leave in the
/// order in which they came, when the records up to a sequence have been applied. A range of zeros longer than a few blocks is one entry.
/// </summary>
/// <remarks>Guarded by the log's lock. Memory: 64 bytes an entry and 32 for its place in the table.</remarks>
internal sealed class PendingIndex
{
    private const int Block = ContentRoot.BlockSize, FewBlocks = 64;

    private struct Entry
    {
        public long Block, Position, Older;
        public ulong Sequence;
        public ushort From, To;
    }

    private struct Slot
    {
        public long Block, Id;
    }

    private readonly record struct ZeroRange(ulong Sequence, long Offset, long Length)
    {
        public bool Covers(long block) => Offset <= block * Block && Offset + Length >= (block + 1) * Block;
    }

    private readonly int _maxEntries, _maxRanges;
    private readonly List<ZeroRange> _zeros = [];
    private readonly List<long> _chain = [];
    private readonly List<ulong> _stops = [];
    private Entry[] _ring = new Entry[1 << 10];
    private Slot[] _table = new Slot[1 << 11];
    private long _first = 1, _next = 1;

    public PendingIndex(int maxEntries, int maxRanges = 64)
    {
        _maxEntries = maxEntries;
        _maxRanges = maxRanges;
    }

    /// <summary>A part of a range that is in the log.</summary>
    /// <param name="At">Bytes into the range.</param>
    /// <param name="Length">Bytes.</param>
    /// <param name="Position">Where in the log; -1: zeros.</param>
    public readonly record struct Part(int At, int Length, long Position);

    public bool IsEmpty => _first == _next && _zeros.Count == 0;

    public int Count => (int)(_next - _first);

    /// <summary>The first record that is here at which applying stops (a mark, another size); <see cref="ulong.MaxValue"/>: none.</summary>
    public ulong FirstStop => _stops.Count == 0 ? ulong.MaxValue : _stops[0];

    /// <summary>Whether such a record is here.</summary>
    public bool HasStop(ulong sequence) => _stops.Contains(sequence);

    /// <summary>Adds such a record, newer than all that is here.</summary>
    public void AddStop(ulong sequence) => _stops.Add(sequence);

    /// <summary>Whether a record of that range may be added.</summary>
    public bool HasRoom(long offset, long length, bool zeros)
    {
        long blocks = ((offset + length - 1) / Block) - (offset / Block) + 1;
        return zeros && blocks > FewBlocks
            ? _zeros.Count < _maxRanges && Count + 2 <= _maxEntries
            : Count + blocks <= _maxEntries || Count == 0;
    }

    /// <summary>Adds a record of a range, newer than all that are here.</summary>
    /// <param name="sequence">Its sequence.</param>
    /// <param name="offset">Bytes into the volume.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="position">Where its bytes are in the log; -1: it is zeros.</param>
    public void Add(ulong sequence, long offset, long length, long position)
    {
        long end = offset + length;
        if (position < 0 && length > FewBlocks * Block)
        {
            // The whole blocks as one range, what is left at either end as entries.
            long from = (offset + Block - 1) / Block * Block, to = end / Block * Block;
            if (offset < from) AddEntry(sequence, offset, from, -1);
            if (to < end) AddEntry(sequence, to, end, -1);
            _zeros.Add(new ZeroRange(sequence, from, to - from));
            return;
        }

        for (long at = offset; at < end;)
        {
            long stop = Math.Min(end, ((at / Block) + 1) * Block);
            AddEntry(sequence, at, stop, position < 0 ? -1 : position + (at - offset));
            at = stop;
        }
    }

    private void AddEntry(ulong sequence, long from, long to, long position)
    {
        if (Count == _ring.Length) Grow();
        long id = _next++, block = from / Block;
        ref var slot = ref SlotOf(block);
        _ring[id & (_ring.Length - 1)] = new Entry
        {
            Block = block,
            Position = position,
            Older = slot.Id,
            Sequence = sequence,
            From = (ushort)(from - (block * Block)),
            To = (ushort)(to - (block * Block)),
        };
        slot = new Slot { Block = block, Id = id };
    }

    /// <summary>What of a range is in the log: parts in the order in which they have to be laid over one another.</summary>
    /// <param name="offset">Bytes into the volume.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="parts">Emptied, then filled.</param>
    /// <returns>Whether anything has to be read from the image first.</returns>
    public bool Find(long offset, int length, List<Part> parts)
    {
        parts.Clear();
        if (IsEmpty) return true;
        bool image = false;
        for (long at = offset, end = offset + length; at < end;)
        {
            long block = at / Block, stop = Math.Min(end, (block + 1) * Block);
            image |= !FindInBlock(block, (int)(at - (block * Block)), (int)(stop - (block * Block)), (int)(block * Block - offset), parts);
            at = stop;
        }

        return image;
    }

    // True when the parts cover [from, to) of the block whole.
    private bool FindInBlock(long block, int from, int to, int base0, List<Part> parts)
    {
        ulong zeros = ZerosOf(block);
        bool covered = false;
        _chain.Clear();
        for (long id = SlotOf(block).Id; id >= _first; id = _ring[id & (_ring.Length - 1)].Older)
        {
            ref var entry = ref _ring[id & (_ring.Length - 1)];
            if (entry.Sequence < zeros) break;
            if (entry.From >= to || entry.To <= from) continue;
            _chain.Add(id);
            covered = entry.From <= from && entry.To >= to;
            if (covered) break;
        }

        if (!covered && zeros > 0)
        {
            parts.Add(new Part(base0 + from, to - from, -1));
            covered = true;
        }

        for (int i = _chain.Count - 1; i >= 0; i--)
        {
            ref var entry = ref _ring[_chain[i] & (_ring.Length - 1)];
            int a = Math.Max(from, entry.From), b = Math.Min(to, entry.To);
            long position = entry.Position < 0 ? -1 : entry.Position + (a - entry.From);
            var part = new Part(base0 + a, b - a, position);
            if (parts.Count > 0 && parts[^1] is var last && last.At + last.Length == part.At
                && (position < 0 ? last.Position < 0 : last.Position >= 0 && last.Position + last.Length == position))
                parts[^1] = last with { Length = last.Length + part.Length };
            else
                parts.Add(part);
        }

        return covered;
    }

    private ulong ZerosOf(long block)
    {
        ulong newest = 0;
        foreach (var range in _zeros)
        {
            if (range.Covers(block)) newest = range.Sequence;
        }

        return newest;
    }

    /// <summary>Whether a record later than <paramref name="sequence"/>, up to <paramref name="through"/>, replaces the whole
    /// block.</summary>
    public bool IsReplaced(long block, ulong sequence, ulong through)
    {
        if (_zeros.Count > 0 && ZerosOf(block) is var zeros && zeros > sequence && zeros <= through) return true;
        long id = SlotOf(block).Id;
        if (id < _first) return false;
        ref var newest = ref _ring[id & (_ring.Length - 1)];
        return newest.Sequence > sequence && newest.Sequence <= through && newest.From == 0 && newest.To == Block;
    }

    /// <summary>The blocks of a range that have bytes in the log, in order.</summary>
    public List<long> Blocks(long offset, long length)
    {
        long first = offset / Block, last = (offset + length - 1) / Block;
        List<long> blocks = [];
        if (last - first < Count)
        {
            for (long block = first; block <= last; block++)
            {
                if (SlotOf(block).Id >= _first) blocks.Add(block);
            }

            return blocks;
        }

        for (long id = _first; id < _next; id++)
        {
            long block = _ring[id & (_ring.Length - 1)].Block;
            if (block >= first && block <= last) blocks.Add(block);
        }

        blocks.Sort();
        return [.. blocks.Distinct()];
    }

    /// <summary>The records up to a sequence are in the image: their entries leave.</summary>
    public void RemoveThrough(ulong sequence)
    {
        while (_first < _next)
        {
            ref var entry = ref _ring[_first & (_ring.Length - 1)];
            if (entry.Sequence > sequence) break;
            ref var slot = ref SlotOf(entry.Block);
            if (slot.Id == _first) Remove(ref slot);
            _first++;
        }

        _zeros.RemoveAll(range => range.Sequence <= sequence);
        if (_stops.Count > 0) _stops.RemoveAll(stop => stop <= sequence);
    }

    /// <summary>Has what another has; its own bound stays.</summary>
    public void ReplaceWith(PendingIndex other)
    {
        (_ring, _table, _first, _next) = (other._ring, other._table, other._first, other._next);
        _zeros.Clear();
        _zeros.AddRange(other._zeros);
        _stops.Clear();
        _stops.AddRange(other._stops);
    }

    // The slot of a block, or the empty one where it would be.
    private ref Slot SlotOf(long block)
    {
        int mask = _table.Length - 1, at = Home(block);
        while (_table[at].Id != 0 && _table[at].Block != block) at = (at + 1) & mask;
        return ref _table[at];
    }

    private int Home(long block) => (int)((ulong)(block * unchecked((long)0x9E37_79B9_7F4A_7C15)) >> 20) & (_table.Length - 1);

    // Linear probing without tombstones: what stands behind and may stand here moves up.
    private void Remove(ref Slot slot)
    {
        int mask = _table.Length - 1;
        int hole = (int)(System.Runtime.CompilerServices.Unsafe.ByteOffset(ref _table[0], ref slot)
            / System.Runtime.CompilerServices.Unsafe.SizeOf<Slot>());
        for (int at = (hole + 1) & mask; _table[at].Id != 0; at = (at + 1) & mask)
        {
            int home = Home(_table[at].Block);
            if (((at - home) & mask) < ((at - hole) & mask)) continue;
            _table[hole] = _table[at];
            hole = at;
        }

        _table[hole] = default;
    }

    private void Grow()
    {
        var ring = new Entry[_ring.Length * 2];
        for (long id = _first; id < _next; id++) ring[id & (ring.Length - 1)] = _ring[id & (_ring.Length - 1)];
        var old = _table;
        _ring = ring;
        _table = new Slot[old.Length * 2];
        foreach (var slot in old)
        {
            if (slot.Id != 0) SlotOf(slot.Block) = slot;
        }
    }
}
