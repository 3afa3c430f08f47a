namespace SdnEdge.Core.Bgp;

/// <summary>
/// Each distinct set of path attributes once. Looking up costs no allocation when the set is known. Sets that no route uses
/// any more (<see cref="PathAttributes.Users"/>) are swept out as the table grows; whoever still holds one keeps it, and an
/// equal one may be made beside it then. Weak references would do the same with a handle and a finalizer for each, all of
/// which the garbage collector goes through while everything stands still.
/// Not thread-safe.
/// </summary>
public sealed class AttributeTable
{
    private const int FirstSweep = 4096;

    private int[] _buckets = new int[64];
    private Entry[] _entries = new Entry[64];
    private int _count;
    private int _sweepAt = FirstSweep;

    /// <summary>Where all that share the table, and so a thread, put attributes together: each from Clear or Load to Build at one
    /// go.</summary>
    internal AttributeBuilder Builder { get; } = new();

    /// <summary>Likewise for one AS path.</summary>
    internal byte[] Path => field ??= new byte[2 * BgpLimits.MaxExtended];

    /// <summary>Sets in the table, those no longer used and not swept out yet included.</summary>
    public int Count => _count;

    /// <summary>The set with these canonical bytes (see <see cref="PathAttributes"/>; made with an
    /// <see cref="AttributeBuilder"/>).</summary>
    public PathAttributes Intern(ReadOnlySpan<byte> canonical)
    {
        int hash = PathAttributes.Hash(canonical);
        for (int i = _buckets[hash & (_buckets.Length - 1)] - 1; i >= 0; i = _entries[i].Next)
        {
            if (_entries[i].Hash == hash && _entries[i].Set.Wire.SequenceEqual(canonical)) return _entries[i].Set;
        }

        if (_count == _sweepAt) Sweep();
        if (_count == _entries.Length) Rebuild(_entries.Length * 2);
        var made = new PathAttributes(canonical.ToArray());
        ref int bucket = ref _buckets[hash & (_buckets.Length - 1)];
        _entries[_count] = new Entry { Hash = hash, Next = bucket - 1, Set = made };
        bucket = ++_count;
        return made;
    }

    private void Sweep()
    {
        int kept = 0;
        for (int i = 0; i < _count; i++)
        {
            if (_entries[i].Set.Users > 0) _entries[kept++] = _entries[i];
        }

        Array.Clear(_entries, kept, _count - kept);
        _count = kept;
        Rebuild(_entries.Length);
        _sweepAt = Math.Max(FirstSweep, kept + (kept / 4));
    }

    private void Rebuild(int size)
    {
        Array.Resize(ref _entries, size);
        _buckets = new int[size];
        for (int i = 0; i < _count; i++)
        {
            ref int bucket = ref _buckets[_entries[i].Hash & (size - 1)];
            _entries[i].Next = bucket - 1;
            bucket = i + 1;
        }
    }

    private struct Entry
    {
        public int Hash;
        public int Next;
        public PathAttributes Set;
    }
}
