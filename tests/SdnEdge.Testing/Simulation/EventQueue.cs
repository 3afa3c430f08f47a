namespace SdnEdge.Testing.Simulation;

/// <summary>What is to happen, by time, and in the order given at one time: a binary heap of times over slots that are used again.</summary>
internal sealed class EventQueue
{
    private Key[] _heap = new Key[64];
    private Event[] _slots = new Event[64];
    private int _count;
    private long _order;

    /// <summary>Time of the next event; <see cref="long.MaxValue"/>: there is none.</summary>
    public long NextAt => _count == 0 ? long.MaxValue : _heap[0].At;

    /// <summary>Adds an event, to be written where this points.</summary>
    public ref Event Add(long at)
    {
        if (_count == _heap.Length)
        {
            Array.Resize(ref _heap, 2 * _count);
            Array.Resize(ref _slots, 2 * _count);
        }

        // The key behind the last one names a slot that is free, unless it was never used.
        int slot = _heap[_count].Used ? _heap[_count].Slot : _count;
        var key = new Key { At = at, Order = _order++, Slot = slot, Used = true };
        int i = _count++;
        while (i > 0)
        {
            int above = (i - 1) >> 1;
            if (!key.IsBefore(_heap[above])) break;
            _heap[i] = _heap[above];
            i = above;
        }

        _heap[i] = key;
        return ref _slots[slot];
    }

    /// <summary>Takes the next event off.</summary>
    public Event Take()
    {
        Key first = _heap[0], last = _heap[--_count];
        int i = 0;
        for (int below = 1; below < _count; below = (2 * i) + 1)
        {
            if (below + 1 < _count && _heap[below + 1].IsBefore(_heap[below])) below++;
            if (!_heap[below].IsBefore(last)) break;
            _heap[i] = _heap[below];
            i = below;
        }

        _heap[i] = last;
        _heap[_count] = first;
        Event taken = _slots[first.Slot];
        _slots[first.Slot] = default;
        return taken;
    }

    /// <summary>Something to do, or a packet that comes to a PE.</summary>
    internal struct Event
    {
        public Action? What;
        public SimPe? Pe;
        public SimProbe Probe;
    }

    private struct Key
    {
        public long At;
        public long Order;
        public int Slot;
        public bool Used;

        public readonly bool IsBefore(in Key other) => At != other.At ? At < other.At : Order < other.Order;
    }
}
