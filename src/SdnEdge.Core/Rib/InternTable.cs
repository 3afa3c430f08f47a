using System.Diagnostics.CodeAnalysis;
using System.Numerics;
using System.Runtime.CompilerServices;

namespace SdnEdge.Core.Rib;

/// <summary>
/// Values that many routes share, each once, by number. A million routes then hold a number each instead of references: the
/// collector marks what is in this table, not what is in theirs. A number is in use as often as it was taken, and free when
/// it was released as often. 0 is no value's number. Not thread-safe.
/// </summary>
/// <typeparam name="T">The value; equal values are one.</typeparam>
internal sealed class InternTable<T>
    where T : IEquatable<T>
{
    private int[] _buckets = new int[PagedArray<Entry>.FirstSize];
    private PagedArray<Entry> _entries = NoEntries();
    private int _free;
    private int _last;

    /// <summary>Number of values.</summary>
    public int Count { get; private set; }

    /// <summary>The value of a number in use.</summary>
    public ref readonly T this[int number]
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => ref At(number).Value!;
    }

    /// <summary>The number of a value, taken once more.</summary>
    /// <param name="value">The value.</param>
    /// <param name="added">True when it is new here.</param>
    public int Take(in T value, out bool added)
    {
        added = false;

        // The prefixes of an UPDATE come one after the other, with one value.
        if (_last != 0 && At(_last).Value!.Equals(value))
        {
            At(_last).Users++;
            return _last;
        }

        int hash = value.GetHashCode();
        for (int i = _buckets[hash & (_buckets.Length - 1)]; i != 0; i = At(i).Next)
        {
            ref Entry entry = ref At(i);
            if (entry.Hash != hash || !entry.Value!.Equals(value)) continue;
            entry.Users++;
            return _last = i;
        }

        if (Count == _buckets.Length) Grow();
        int number = _free;
        if (number != 0) _free = At(number).Next;
        else number = _entries.Add();
        ref int bucket = ref _buckets[hash & (_buckets.Length - 1)];
        At(number) = new Entry { Value = value, Users = 1, Hash = hash, Next = bucket };
        bucket = number;
        Count++;
        added = true;
        return _last = number;
    }

    /// <summary>A number is used once less. True when it was the last time: the value is given back, and the number is free.</summary>
    public bool Release(int number, [MaybeNullWhen(false)] out T value)
    {
        ref Entry entry = ref At(number);
        value = default;
        if (--entry.Users > 0) return false;
        value = entry.Value!;
        ref int bucket = ref _buckets[entry.Hash & (_buckets.Length - 1)];
        if (bucket == number)
        {
            bucket = entry.Next;
        }
        else
        {
            int before = bucket;
            while (At(before).Next != number) before = At(before).Next;
            At(before).Next = entry.Next;
        }

        entry = new Entry { Next = _free };
        _free = number;
        if (_last == number) _last = 0;
        Count--;
        return true;
    }

    /// <summary>The values in use.</summary>
    public IEnumerable<T> Values
    {
        get
        {
            for (int i = 1; i < _entries.End; i++)
            {
                if (At(i).Users > 0) yield return At(i).Value!;
            }
        }
    }

    /// <summary>Takes all values away and gives the memory back.</summary>
    public void Clear()
    {
        _buckets = new int[PagedArray<Entry>.FirstSize];
        _entries = NoEntries();
        _free = _last = Count = 0;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ref Entry At(int number) => ref _entries[number];

    // 0 is no value's number.
    private static PagedArray<Entry> NoEntries()
    {
        var entries = new PagedArray<Entry>();
        entries.Add();
        return entries;
    }

    private void Grow()
    {
        _buckets = new int[BitOperations.RoundUpToPowerOf2((uint)(2 * Count))];
        for (int i = 1; i < _entries.End; i++)
        {
            ref Entry entry = ref At(i);
            if (entry.Users == 0) continue;
            ref int bucket = ref _buckets[entry.Hash & (_buckets.Length - 1)];
            entry.Next = bucket;
            bucket = i;
        }
    }

    private struct Entry
    {
        public T? Value;
        public int Users;
        public int Hash;
        public int Next;
    }
}
