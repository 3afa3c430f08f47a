using System.Numerics;
using System.Runtime.CompilerServices;
using SdnEdge.Core.Fib;

namespace SdnEdge.Core.Rib;

/// <summary>
/// A hash table by prefix whose entries keep their number: what else speaks of a prefix holds four bytes, and finds it again
/// without a lookup. Entries lie in <see cref="PagedArray{T}"/>; only the buckets (four bytes an entry) are made anew when the
/// table doubles.
/// A number stays valid until <see cref="Remove"/>, and may then be given to another prefix. Not thread-safe.
/// </summary>
/// <typeparam name="TKey">The prefix.</typeparam>
/// <typeparam name="TValue">What is kept for it; <c>default</c> when it is new, and again when it was removed.</typeparam>
internal sealed class PrefixTable<TKey, TValue>
    where TKey : struct, IPrefixKey<TKey>
    where TValue : struct
{
    // Entry number + 1, by the highest bits of the hash: those depend on all bits of the prefix.
    private int[] _buckets = new int[PagedArray<Entry>.FirstSize];
    private int _shift = 32 - BitOperations.Log2(PagedArray<Entry>.FirstSize);
    private PagedArray<Entry> _entries = new();
    private int _free = -1;

    /// <summary>Number of prefixes.</summary>
    public int Count { get; private set; }

    /// <summary>All entry numbers are below this; those not in use have a default value and a mark of 0.</summary>
    public int End => _entries.End;

    /// <summary>The value of an entry.</summary>
    public ref TValue this[int index]
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => ref At(index).Value;
    }

    /// <summary>Four bytes more for the user, which fill what would be a gap in the entry.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref int Mark(int index) => ref At(index).Mark;

    /// <summary>The prefix of an entry.</summary>
    public TKey KeyOf(int index) => At(index).Key;

    /// <summary>The entry of a prefix, or -1.</summary>
    public int Find(TKey key)
    {
        int index = _buckets[Bucket(key)] - 1;
        while (index >= 0)
        {
            ref Entry entry = ref At(index);
            if (entry.Key.Equals(key)) break;
            index = entry.Next;
        }

        return index;
    }

    /// <summary>Asks for what finding a prefix reads first (<see cref="CacheLine"/>).</summary>
    public void PrefetchBucket(TKey key) => CacheLine.Prefetch(ref _buckets[Bucket(key)]);

    /// <summary>Asks for the first entry in a prefix's bucket, which is there by now.</summary>
    public void PrefetchEntry(TKey key)
    {
        if (First(key) is >= 0 and int index) CacheLine.Prefetch(ref At(index));
    }

    /// <summary>The first entry in a prefix's bucket, or -1.</summary>
    public int First(TKey key) => _buckets[Bucket(key)] - 1;

    /// <summary>The entry of a prefix, made when there is none.</summary>
    public int FindOrAdd(TKey key, out bool added)
    {
        int bucket = Bucket(key);
        for (int i = _buckets[bucket] - 1; i >= 0;)
        {
            ref Entry entry = ref At(i);
            if (entry.Key.Equals(key))
            {
                added = false;
                return i;
            }

            i = entry.Next;
        }

        int index = _free;
        if (index >= 0)
        {
            _free = At(index).Next;
        }
        else
        {
            if (End == _buckets.Length)
            {
                Grow();
                bucket = Bucket(key);
            }

            index = _entries.Add();
        }

        ref Entry made = ref At(index);
        made.Key = key;
        made.Next = _buckets[bucket] - 1;
        _buckets[bucket] = index + 1;
        Count++;
        added = true;
        return index;
    }

    /// <summary>Takes an entry that is in use away.</summary>
    public void Remove(int index)
    {
        ref Entry gone = ref At(index);
        ref int head = ref _buckets[Bucket(gone.Key)];
        if (head == index + 1)
        {
            head = gone.Next + 1;
        }
        else
        {
            int before = head - 1;
            while (At(before).Next != index) before = At(before).Next;
            At(before).Next = gone.Next;
        }

        gone = new Entry { Next = _free };
        _free = index;
        Count--;
    }

    /// <summary>Takes all entries away and gives their memory back.</summary>
    public void Clear()
    {
        _buckets = new int[PagedArray<Entry>.FirstSize];
        _shift = 32 - BitOperations.Log2(PagedArray<Entry>.FirstSize);
        _entries = new PagedArray<Entry>();
        _free = -1;
        Count = 0;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ref Entry At(int index) => ref _entries[index];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private int Bucket(TKey key) => (int)((uint)key.GetHashCode() >> _shift);

    /// <summary>Twice as many buckets. Called when no entry is free, so that all of them belong in one.</summary>
    private void Grow()
    {
        _buckets = new int[2 * _buckets.Length];
        _shift--;
        for (int i = 0; i < End; i++)
        {
            ref Entry entry = ref At(i);
            ref int head = ref _buckets[Bucket(entry.Key)];
            entry.Next = head - 1;
            head = i + 1;
        }
    }

    private struct Entry
    {
        public TKey Key;
        public int Next;
        public int Mark;
        public TValue Value;
    }
}
