using SdnEdge.Core.Bgp;

namespace SdnEdge.Core.Rib;

/// <summary>One route: 48 bytes for IPv4. The routes of one prefix form a list through <see cref="Next"/>.</summary>
internal struct RoutePath<TKey>
{
    public TKey Key;
    public RouteOrigin? Origin;
    public NextHop Hop;
    public PathAttributes? Attributes;
    public long SinceNs;
    public int Next;
    public PathFlags Flags;
}

[Flags]
internal enum PathFlags : byte
{
    None = 0,

    /// <summary>Best of the routes other than redirects.</summary>
    Best = 1,

    /// <summary>The redirect in force.</summary>
    Redirect = 2,

    /// <summary>Kept from before a restart of its peer, not yet seen again.</summary>
    Stale = 4,
}

/// <summary>
/// All routes of one family, in pages of structs: no object a route, so a million routes cost the collector nothing.
/// Indexes stay valid until <see cref="Remove"/>. The slot of a removed route is used again.
/// </summary>
internal sealed class PathTable<TKey>
    where TKey : struct, IPrefixKey<TKey>
{
    private const int PageBits = 10;
    private const int PageSize = 1 << PageBits;

    private readonly Dictionary<TKey, int> _heads = [];
    private readonly List<RoutePath<TKey>[]> _pages = [];
    private readonly int[] _prefixesOfLength = new int[129];
    private int _used;
    private int _free = -1;

    /// <summary>Number of prefixes with at least one route.</summary>
    public int Prefixes => _heads.Count;

    /// <summary>Number of slots ever used: the bound for a walk over all routes. A slot with no origin is free.</summary>
    public int Slots => _used;

    public Dictionary<TKey, int>.KeyCollection Keys => _heads.Keys;

    public ref RoutePath<TKey> this[int index] => ref _pages[index >> PageBits][index & (PageSize - 1)];

    /// <summary>First route of a prefix, or -1.</summary>
    public int Head(TKey key) => _heads.TryGetValue(key, out int head) ? head : -1;

    /// <summary>True when some prefix has this length.</summary>
    public bool HasLength(int length) => _prefixesOfLength[length] > 0;

    /// <summary>The route an origin offers to a prefix, or -1.</summary>
    public int Find(TKey key, RouteOrigin origin)
    {
        for (int i = Head(key); i >= 0; i = this[i].Next)
        {
            if (ReferenceEquals(this[i].Origin, origin)) return i;
        }

        return -1;
    }

    /// <summary>Adds a route; the origin must have none for this prefix. Returns its index.</summary>
    public int Add(TKey key, RouteOrigin origin, NextHop hop, PathAttributes? attributes)
    {
        int index = _free;
        if (index >= 0)
        {
            _free = this[index].Next;
        }
        else
        {
            index = _used++;
            if (index >> PageBits == _pages.Count) _pages.Add(new RoutePath<TKey>[PageSize]);
        }

        ref int head = ref System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(_heads, key, out bool exists);
        if (!exists) _prefixesOfLength[key.Length]++;
        this[index] = new RoutePath<TKey>
        {
            Key = key, Origin = origin, Hop = hop, Attributes = attributes, Next = exists ? head : -1,
        };
        head = index;
        return index;
    }

    /// <summary>Takes a route away and frees its slot.</summary>
    public void Remove(int index)
    {
        ref RoutePath<TKey> path = ref this[index];
        int head = _heads[path.Key];
        if (head == index)
        {
            if (path.Next >= 0)
            {
                _heads[path.Key] = path.Next;
            }
            else
            {
                _heads.Remove(path.Key);
                _prefixesOfLength[path.Key.Length]--;
            }
        }
        else
        {
            int before = head;
            while (this[before].Next != index) before = this[before].Next;
            this[before].Next = path.Next;
        }

        path = new RoutePath<TKey> { Next = _free };
        _free = index;
    }
}
