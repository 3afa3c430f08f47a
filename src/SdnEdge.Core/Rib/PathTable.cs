using SdnEdge.Core.Bgp;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Rib;

/// <summary>One route: 48 bytes for IPv4. The routes of one prefix form a list through <see cref="Next"/>.</summary>
internal struct RoutePath<TKey>
{
    public TKey Key;

    /// <summary>Number of what the route says (<see cref="PathTable{TKey}.ContentOf"/>); 0: the slot is free.</summary>
    public int Content;
    public int Next;
    public long SinceNs;
    public PathFlags Flags;
}

/// <summary>What a route says, without its prefix. Many routes say the same.</summary>
internal readonly struct RouteContent(RouteOrigin origin, NextHop hop, PathAttributes? attributes) : IEquatable<RouteContent>
{
    public readonly RouteOrigin Origin = origin;
    public readonly NextHop Hop = hop;
    public readonly PathAttributes? Attributes = attributes;

    public bool Equals(RouteContent other) => ReferenceEquals(Origin, other.Origin) && ReferenceEquals(Hop, other.Hop)
        && (ReferenceEquals(Attributes, other.Attributes) || (Attributes is not null && Attributes.Equals(other.Attributes)));

    public override bool Equals(object? obj) => obj is RouteContent other && Equals(other);

    public override int GetHashCode() => HashCode.Combine(
        System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(Origin), System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(Hop),
            Attributes?.GetHashCode() ?? 0);
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

    /// <summary>Best of the routes other than redirects, those to the PE of the best one aside.</summary>
    Backup = 8,
}

/// <summary>
/// All routes of one family, in pages of structs without references: a million routes cost the collector nothing but what
/// they say, and of that there is one each.
/// Indexes stay valid until <see cref="Remove"/>, references until <see cref="Add"/>. The slot of a removed route is used again.
/// </summary>
internal sealed class PathTable<TKey>
    where TKey : struct, IPrefixKey<TKey>
{
    // An entry's mark is the number of its first route + 1.
    private readonly PrefixTable<TKey, Nothing> _heads = new();
    private readonly InternTable<RouteContent> _contents = new();
    private readonly int[] _prefixesOfLength = new int[129];
    private PagedArray<RoutePath<TKey>> _paths = new();
    private int _free = -1;

    /// <summary>Number of prefixes with at least one route.</summary>
    public int Prefixes => _heads.Count;

    /// <summary>Number of slots ever used: the bound for a walk over all routes. A slot with content 0 is free.</summary>
    public int Slots => _paths.End;

    /// <summary>All prefixes with a route.</summary>
    public IEnumerable<TKey> Keys
    {
        get
        {
            for (int i = 0; i < _heads.End; i++)
            {
                if (_heads.Mark(i) != 0) yield return _heads.KeyOf(i);
            }
        }
    }

    public ref RoutePath<TKey> this[int index] => ref _paths[index];

    /// <summary>What the route in a slot that is not free says.</summary>
    public ref readonly RouteContent ContentOf(int index) => ref _contents[this[index].Content];

    /// <summary>The entry of a prefix, or -1. It stays valid until the prefix's last route is removed.</summary>
    public int EntryOf(TKey key) => _heads.Find(key);

    /// <summary>The entry of a prefix, made when there is none: a route must be added to it then.</summary>
    public int EntryFor(TKey key)
    {
        int entry = _heads.FindOrAdd(key, out bool added);
        if (added) _prefixesOfLength[key.Length]++;
        return entry;
    }

    /// <summary>First route of an entry's prefix, or -1. Entry -1: no such prefix.</summary>
    public int Head(int entry) => entry < 0 ? -1 : _heads.Mark(entry) - 1;

    /// <summary>True when some prefix has this length.</summary>
    public bool HasLength(int length) => _prefixesOfLength[length] > 0;

    /// <summary>The route an origin offers to an entry's prefix, or -1.</summary>
    public int Find(int entry, RouteOrigin origin)
    {
        for (int i = Head(entry); i >= 0; i = this[i].Next)
        {
            if (ReferenceEquals(ContentOf(i).Origin, origin)) return i;
        }

        return -1;
    }

    /// <summary>Asks for what deciding about these prefixes will read (<see cref="CacheLine"/>).</summary>
    public void Prefetch(ReadOnlySpan<IpPrefix> prefixes)
    {
        foreach (IpPrefix prefix in prefixes) _heads.PrefetchBucket(TKey.From(prefix));
        foreach (IpPrefix prefix in prefixes) _heads.PrefetchEntry(TKey.From(prefix));
        foreach (IpPrefix prefix in prefixes)
        {
            int head = Head(_heads.First(TKey.From(prefix)));
            if (head >= 0) CacheLine.Prefetch(ref this[head]);
        }
    }

    /// <summary>Adds a route; the origin must have none for this prefix. Returns its index.</summary>
    public int Add(int entry, in RouteContent content)
    {
        int index = _free;
        if (index >= 0)
        {
            _free = this[index].Next;
        }
        else
        {
            index = _paths.Add();
        }

        ref int head = ref _heads.Mark(entry);
        this[index] = new RoutePath<TKey>
        {
            Key = _heads.KeyOf(entry), Content = Take(content), Next = head - 1,
        };
        head = index + 1;
        return index;
    }

    /// <summary>A route says something else now.</summary>
    public void Replace(int index, in RouteContent content)
    {
        int before = this[index].Content;
        this[index].Content = Take(content);
        Release(before);
    }

    /// <summary>Takes a route of an entry's prefix away and frees its slot. True when the prefix has others; false: the entry is gone
    /// too.</summary>
    public bool Remove(int entry, int index)
    {
        ref RoutePath<TKey> path = ref this[index];
        ref int head = ref _heads.Mark(entry);
        if (head == index + 1)
        {
            head = path.Next + 1;
        }
        else
        {
            int before = head - 1;
            while (this[before].Next != index) before = this[before].Next;
            this[before].Next = path.Next;
        }

        bool others = head != 0;
        if (!others)
        {
            _prefixesOfLength[path.Key.Length]--;
            _heads.Remove(entry);
        }

        int content = path.Content;
        path = new RoutePath<TKey> { Next = _free };
        _free = index;
        Release(content);
        return others;
    }

    private int Take(in RouteContent content)
    {
        int number = _contents.Take(content, out bool added);
        if (added && content.Attributes is { } attributes) attributes.Users++;
        return number;
    }

    private void Release(int number)
    {
        if (_contents.Release(number, out RouteContent gone) && gone.Attributes is { } attributes) attributes.Users--;
    }

    private readonly struct Nothing;
}
