using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Fib;

/// <summary>
/// The neighbours on one port. Reads never wait and never fail; writes (a new neighbour, a removal) take a lock. Bounded, so
/// that a scan of a subnet cannot fill memory.
/// </summary>
public sealed class NeighborTable
{
    /// <summary>Most neighbours on a port.</summary>
    public const int MaxEntries = 8192;

    private readonly Lock _lock = new();
    private readonly PortEntry _port;
    private volatile Adjacency?[] _slots = new Adjacency?[16]; // open addressing, at most half full; replaced, never shrunk in place
    private int _count;

    internal NeighborTable(PortEntry port) => _port = port;

    /// <summary>Neighbours in the table.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>The neighbour with that address; null when it is not in the table. Lock free.</summary>
    public Adjacency? Find(IpAddress address)
    {
        Adjacency?[] slots = _slots;
        int mask = slots.Length - 1;
        for (int i = Hash(address) & mask; ; i = (i + 1) & mask)
        {
            Adjacency? entry = Volatile.Read(ref slots[i]);
            if (entry is null || entry.Address == address) return entry;
        }
    }

    /// <summary>The neighbour with that address, made (unresolved) when it was not there; null when the table is full.</summary>
    public Adjacency? GetOrAdd(IpAddress address)
    {
        if (Find(address) is { } known) return known;
        lock (_lock)
        {
            if (Find(address) is { } raced) return raced;
            if (_count == MaxEntries) return null;
            if ((_count + 1) * 2 > _slots.Length) Rebuild(_slots.Length * 2, null);
            Adjacency entry = new(_port, address);
            Insert(_slots, entry);
            _count++;
            return entry;
        }
    }

    /// <summary>Takes a neighbour out. Decisions that still name it keep working with it as it is.</summary>
    public void Remove(Adjacency adjacency)
    {
        lock (_lock)
        {
            if (!ReferenceEquals(Find(adjacency.Address), adjacency)) return;
            _count--;
            Rebuild(_slots.Length, adjacency);
        }
    }

    /// <summary>All neighbours now.</summary>
    public IReadOnlyList<Adjacency> Snapshot()
    {
        lock (_lock) return [.. _slots.OfType<Adjacency>()];
    }

    private static int Hash(IpAddress address)
    {
        ulong mixed = ((ulong)address.Bits ^ (ulong)(address.Bits >> 64) ^ (ulong)address.Family) * 0x9E37_79B9_7F4A_7C15;
        return (int)(mixed >> 33);
    }

    private static void Insert(Adjacency?[] slots, Adjacency entry)
    {
        int mask = slots.Length - 1;
        int i = Hash(entry.Address) & mask;
        while (slots[i] is not null) i = (i + 1) & mask;
        Volatile.Write(ref slots[i], entry);
    }

    private void Rebuild(int size, Adjacency? without)
    {
        Adjacency?[] next = new Adjacency?[size];
        foreach (Adjacency? entry in _slots)
        {
            if (entry is not null && !ReferenceEquals(entry, without)) Insert(next, entry);
        }

        _slots = next;
    }
}
