using System.Runtime.InteropServices;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;

namespace SdnEdge.Storage.Volumes;

/// <summary>
/// The tree of sums of a volume in its file, and the content root. Pages are kept in memory up to a bound; the least recently used one is
/// written out for another. It is used by one thread at a time.
/// </summary>
/// <remarks>
/// After a crash the file may be ahead of the last checkpoint, entry by entry, for blocks that were written since, and for nothing else.
/// So recovery sets the entries of exactly those blocks anew from what the image has, then the entries above them from the pages below
/// (<see cref="BeginRedo"/>, <see cref="EndRedo"/>): nothing of the state in between matters.
/// </remarks>
internal sealed class HashTree(IStoreFile file, ContentTreeShape shape, int maxPages = 4096)
{
    private sealed class Page(long number)
    {
        public long Number { get; } = number;

        public ulong[] Entries { get; } = new ulong[ContentTreeShape.Fanout];

        public bool Dirty { get; set; }

        public LinkedListNode<Page>? Node { get; set; }
    }

    private readonly Dictionary<long, Page> _pages = [];
    private readonly LinkedList<Page> _byUse = new();
    private SortedSet<long>[]? _redo;
    private bool _redoAll;
    private ContentTreeShape _shape = shape;

    /// <summary>The sum over all blocks; meaningless during a redo.</summary>
    public ulong Root { get; private set; }

    /// <summary>The error number of a read or write that failed; 0 while none did. What was done since may be wrong: redo it.</summary>
    public int Error { get; private set; }

    public ContentTreeShape Shape => _shape;

    public bool IsRedoing => _redo is not null;

    /// <summary>Begins with a root that is known.</summary>
    public void Begin(ulong root) => Root = root;

    /// <summary>Sets the hash of a block.</summary>
    public void Set(long block, ulong hash) => SetEntry(0, block, hash);

    /// <summary>The hash of a block.</summary>
    public ulong Get(long block) => Fetch(_shape.PageOf(0, block)).Entries[block % ContentTreeShape.Fanout];

    private void SetEntry(int level, long entry, ulong value)
    {
        var page = Fetch(_shape.PageOf(level, entry));
        ref ulong at = ref page.Entries[entry % ContentTreeShape.Fanout];
        ulong delta = unchecked(value - at);
        if (_redo is not null)
        {
            if (level + 1 < _shape.Levels) _redo[level + 1].Add(entry / ContentTreeShape.Fanout);
        }
        else if (delta == 0)
        {
            return;
        }

        at = value;
        page.Dirty = true;
        if (_redo is not null) return;
        for (int above = level + 1; above < _shape.Levels; above++)
        {
            entry /= ContentTreeShape.Fanout;
            page = Fetch(_shape.PageOf(above, entry));
            page.Entries[entry % ContentTreeShape.Fanout] += delta;
            page.Dirty = true;
        }

        Root += delta;
    }

    /// <summary>The blocks from <paramref name="first"/> on are zeros: whole pages of them become holes.</summary>
    public void SetZeros(long first, long count)
    {
        long from = first, to = first + count;
        for (int level = 0; level < _shape.Levels && from < to; level++)
        {
            // Whole pages inside [from, to): their sums are entries of the level above, which the next round takes away.
            const int Fanout = ContentTreeShape.Fanout;
            long inner = (from + Fanout - 1) / Fanout, outer = to / Fanout;
            if (to == _shape.Entries(level)) outer = (to + Fanout - 1) / Fanout;
            if (level == _shape.Levels - 1 || inner >= outer)
            {
                for (long entry = from; entry < to; entry++) SetEntry(level, entry, 0);
                return;
            }

            for (long entry = from; entry < inner * Fanout; entry++) SetEntry(level, entry, 0);
            for (long entry = outer * Fanout; entry < to; entry++) SetEntry(level, entry, 0);
            Drop(_shape.PageOf(level, inner * Fanout), outer - inner);
            (from, to) = (inner, outer);
        }
    }

    // These pages are zeros from now on.
    private void Drop(long page, long count)
    {
        if (count < _pages.Count)
        {
            for (long i = page; i < page + count; i++)
            {
                if (_pages.Remove(i, out var gone)) _byUse.Remove(gone.Node!);
            }
        }
        else
        {
            foreach (var gone in _pages.Values.Where(p => p.Number >= page && p.Number < page + count).ToList())
            {
                _pages.Remove(gone.Number);
                _byUse.Remove(gone.Node!);
            }
        }

        int error = file.PunchHole(page * ContentTreeShape.PageSize, count * ContentTreeShape.PageSize);
        if (error != 0) Error = error;
    }

    /// <summary>The volume has another size from now on. The blocks that it had and has keep their hashes, all others are zeros; what is
    /// above them is summed anew: at once, or at the end of a redo. After a crash before the next checkpoint only the hashes of the blocks
    /// are known.</summary>
    /// <param name="next">The shape of that size.</param>
    public void Reshape(ContentTreeShape next)
    {
        long keep = Math.Min(_shape.Entries(0), next.Entries(0)), pages = (_shape.Entries(0) - 1) / ContentTreeShape.Fanout + 1;
        foreach (var page in _pages.Values)
        {
            if (page.Dirty && page.Number < pages) WriteOut(page);
        }

        _pages.Clear();
        _byUse.Clear();
        _shape = next;
        int error = file.SetLength(_shape.Pages * ContentTreeShape.PageSize);
        if (error == 0 && file.Length > keep * 8) error = file.PunchHole(keep * 8, file.Length - (keep * 8));
        if (error != 0) Error = error;
        if (_redo is null) SumAll();
        else NewRedo(all: true);
    }

    /// <summary>From here on entries are set without regard to what they were.</summary>
    /// <param name="all">Nothing above the blocks is known: all of it is summed anew at the end.</param>
    /// <param name="back">The shape that it had at the last checkpoint; null = the present one.</param>
    public void BeginRedo(bool all = false, ContentTreeShape? back = null)
    {
        Error = 0;
        _shape = back ?? _shape;
        NewRedo(all);
    }

    private void NewRedo(bool all)
    {
        _redoAll = all;
        _redo = [.. Enumerable.Range(0, _shape.Levels).Select(_ => new SortedSet<long>())];
        _pages.Clear();
        _byUse.Clear();
    }

    /// <summary>Every block written since the last checkpoint has been set: sums what is above them.</summary>
    public void EndRedo()
    {
        if (_redoAll)
        {
            SumAll();
            return;
        }

        for (int level = 1; level < _shape.Levels; level++)
        {
            foreach (long entry in _redo![level])
            {
                ulong sum = 0;
                foreach (ulong value in Fetch(_shape.PageOf(level - 1, entry * ContentTreeShape.Fanout)).Entries) sum += value;
                var page = Fetch(_shape.PageOf(level, entry));
                page.Entries[entry % ContentTreeShape.Fanout] = sum;
                page.Dirty = true;
                if (level + 1 < _shape.Levels) _redo[level + 1].Add(entry / ContentTreeShape.Fanout);
            }
        }

        _redo = null;
        Root = 0;
        foreach (ulong value in Fetch(_shape.Pages - 1).Entries) Root += value;
    }

    // Every block is as it is set: all levels above from the pages that are no holes.
    private void SumAll()
    {
        foreach (var page in _pages.Values)
        {
            if (page.Dirty) WriteOut(page);
        }

        // Behind the last block is nothing: not what an older shape had there either.
        _pages.Clear();
        _byUse.Clear();
        _redo = null;
        Root = 0;
        long blocks = _shape.Entries(0) * 8;
        int error = file.Length > blocks ? file.PunchHole(blocks, file.Length - blocks) : 0;
        if (error != 0) Error = error;
        long end = _shape.Levels > 1 ? _shape.PageOf(1, 0) : _shape.Pages;
        for (long number = NextPage(0, end); number < end; number = NextPage(number + 1, end))
        {
            ulong sum = 0;
            foreach (ulong value in Fetch(number).Entries) sum += value;
            if (_shape.Levels > 1) SetEntry(1, number, sum);
            else Root = sum;
        }
    }

    private long NextPage(long from, long end)
        => from >= end ? end : Math.Min(end, file.NextData(from * ContentTreeShape.PageSize) / ContentTreeShape.PageSize);

    /// <summary>Writes out what is only in memory, and makes it durable.</summary>
    /// <returns>0, or the error number.</returns>
    public int Checkpoint()
    {
        foreach (var page in _pages.Values)
        {
            if (page.Dirty) WriteOut(page);
        }

        if (Error != 0) return Error;
        int error = file.Sync();
        if (error != 0) Error = error;
        return error;
    }

    /// <summary>Copies a page's entries, for a comparison with another copy's.</summary>
    public void CopyPage(int level, long firstEntry, Span<ulong> into) => Fetch(_shape.PageOf(level, firstEntry)).Entries.CopyTo(into);

    private Page Fetch(long number)
    {
        if (_pages.TryGetValue(number, out var page))
        {
            if (_byUse.First != page.Node)
            {
                _byUse.Remove(page.Node!);
                _byUse.AddFirst(page.Node!);
            }

            return page;
        }

        if (_pages.Count >= maxPages)
        {
            var oldest = _byUse.Last!.Value;
            if (oldest.Dirty) WriteOut(oldest);
            _byUse.RemoveLast();
            _pages.Remove(oldest.Number);
        }

        page = new Page(number);
        int error = file.Read(number * ContentTreeShape.PageSize, MemoryMarshal.AsBytes(page.Entries.AsSpan()));
        if (error != 0) Error = error;
        page.Node = _byUse.AddFirst(page);
        _pages.Add(number, page);
        return page;
    }

    private void WriteOut(Page page)
    {
        // After a failure a page may not be what the file has: nothing is written before a redo.
        if (Error != 0) return;
        int error = file.Write(page.Number * ContentTreeShape.PageSize, MemoryMarshal.AsBytes(page.Entries.AsSpan()));
        if (error != 0) Error = error;
        else page.Dirty = false;
    }
}
