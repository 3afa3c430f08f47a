using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// What one peer has been told (Adj-RIB-Out) and what it is still to be told, for one family. Changes wait grouped by their
/// attributes, so that one UPDATE carries as many prefixes as fit; a later change of a prefix replaces an earlier one that
/// still waits. There is no advertisement interval: what waits goes out as fast as the peer reads.
/// </summary>
internal interface IAdjRibOut
{
    int Sent { get; }

    int Waiting { get; }

    /// <summary>States what the peer is to know about a prefix; null: nothing.</summary>
    void Set(IpPrefix prefix, PathAttributes? attributes);

    /// <summary>Has everything sent again (ROUTE-REFRESH).</summary>
    void Resend();

    void Clear();

    /// <summary>
    /// Takes up to <paramref name="into"/>.Length waiting prefixes that share attributes, and counts them as told.
    /// Returns how many; 0 when nothing waits. Null attributes: withdraw.
    /// </summary>
    int Take(Span<IpPrefix> into, out PathAttributes? attributes);

    /// <summary>Takes a prefix back that could not be sent.</summary>
    void Forget(IpPrefix prefix);
}

/// <inheritdoc cref="IAdjRibOut"/>
internal sealed class AdjRibOut<TKey> : IAdjRibOut
    where TKey : struct, IPrefixKey<TKey>
{
    private readonly Dictionary<TKey, PathAttributes> _sent = [];
    private readonly Dictionary<TKey, PathAttributes?> _waiting = [];
    private readonly Dictionary<PathAttributes, Group> _groups = [];
    private readonly Queue<Group> _order = new();

    // What the peer has asked to be told again and has not been told yet: it goes out although it is what was told.
    private readonly HashSet<TKey> _again = [];
    private Group? _withdrawals;

    public int Sent => _sent.Count;

    public int Waiting => _waiting.Count;

    public void Set(IpPrefix prefix, PathAttributes? attributes)
    {
        TKey key = TKey.From(prefix);
        PathAttributes? told = _sent.GetValueOrDefault(key);
        if (ReferenceEquals(told, attributes) && !_again.Contains(key))
        {
            _waiting.Remove(key);
            return;
        }

        ref PathAttributes? waiting = ref System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(_waiting, key, out bool exists);
        if (exists && ReferenceEquals(waiting, attributes)) return;
        waiting = attributes;
        GroupOf(attributes).Keys.Enqueue(key);
    }

    public void Resend()
    {
        foreach ((TKey key, PathAttributes attributes) in _sent)
        {
            _again.Add(key);
            if (_waiting.TryAdd(key, attributes)) GroupOf(attributes).Keys.Enqueue(key);
        }
    }

    public void Clear()
    {
        _sent.Clear();
        _waiting.Clear();
        _again.Clear();
        _groups.Clear();
        _order.Clear();
        _withdrawals = null;
    }

    public int Take(Span<IpPrefix> into, out PathAttributes? attributes)
    {
        attributes = null;
        while (_order.TryPeek(out Group? group))
        {
            int count = 0;
            while (count < into.Length && group.Keys.TryDequeue(out TKey key))
            {
                // A key whose wish has changed since stands in another group too, or waits no more.
                if (!_waiting.TryGetValue(key, out PathAttributes? wish) || !ReferenceEquals(wish, group.Attributes)) continue;
                _waiting.Remove(key);
                _again.Remove(key);
                if (wish is null) _sent.Remove(key);
                else _sent[key] = wish;
                into[count++] = key.ToPrefix();
            }

            if (group.Keys.Count == 0)
            {
                _order.Dequeue();
                if (group.Attributes is null) _withdrawals = null;
                else _groups.Remove(group.Attributes);
            }

            attributes = group.Attributes;
            if (count > 0) return count;
        }

        return 0;
    }

    public void Forget(IpPrefix prefix) => _sent.Remove(TKey.From(prefix));

    private Group GroupOf(PathAttributes? attributes)
    {
        if (attributes is null)
        {
            if (_withdrawals is null) _order.Enqueue(_withdrawals = new Group(null));
            return _withdrawals;
        }

        if (_groups.TryGetValue(attributes, out Group? group)) return group;
        group = new Group(attributes);
        _groups.Add(attributes, group);
        _order.Enqueue(group);
        return group;
    }

    private sealed class Group(PathAttributes? attributes)
    {
        public PathAttributes? Attributes { get; } = attributes;

        public Queue<TKey> Keys { get; } = new();
    }
}
