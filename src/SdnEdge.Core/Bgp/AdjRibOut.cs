using SdnEdge.Core.Fib;
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

    /// <summary>Asks for what <see cref="Set"/> will read for these changes (<see cref="CacheLine"/>); those of the other family are passed
    /// over.</summary>
    void Prefetch(ReadOnlySpan<RibChange> changes);

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

/// <summary>
/// One entry a prefix: the number of the attributes it was told with, and in its mark what it waits for. A group's queue names entries by
/// number; a name whose entry waits for something else by now is passed over.
/// </summary>
internal sealed class AdjRibOut<TKey> : IAdjRibOut
    where TKey : struct, IPrefixKey<TKey>
{
    // A mark is the number of the group waited in, 0: none. The peer has asked to be told again and has not been told yet:
    // it goes out although it is what was told.
    private const int Again = 1 << 30;
    private const int SpareGroups = 64;
    private const int SpareKeys = 1024;

    private readonly PrefixTable<TKey, int> _table = new();
    private readonly InternTable<PathAttributes> _advertised = new();
    private readonly Dictionary<PathAttributes, Group> _groups = [];
    private readonly Queue<Group> _order = new();
    private readonly List<Group?> _byNumber = [null];
    private readonly Stack<Group> _spare = new();
    private Group? _withdrawals;
    private Group? _last;

    public int Sent { get; private set; }

    public int Waiting { get; private set; }

    public void Set(IpPrefix prefix, PathAttributes? attributes)
    {
        TKey key = TKey.From(prefix);
        int index = attributes is null ? _table.Find(key) : _table.FindOrAdd(key, out _);
        if (index < 0) return;
        int told = _table[index];
        ref int mark = ref _table.Mark(index);
        int number = mark & ~Again;
        if ((mark & Again) == 0 && (told == 0 ? attributes is null : _advertised[told].Equals(attributes)))
        {
            if (number != 0) Waiting--;
            mark = 0;
            if (told == 0) _table.Remove(index);
            return;
        }

        if (number != 0 && Equals(_byNumber[number]!.Attributes, attributes)) return;
        if (number == 0) Waiting++;
        mark = (mark & Again) | Enqueue(attributes, index);
    }

    public void Prefetch(ReadOnlySpan<RibChange> changes)
    {
        foreach (ref readonly RibChange change in changes)
        {
            if (IsOurs(change)) _table.PrefetchBucket(TKey.From(change.Prefix));
        }

        foreach (ref readonly RibChange change in changes)
        {
            if (IsOurs(change)) _table.PrefetchEntry(TKey.From(change.Prefix));
        }

        static bool IsOurs(in RibChange change) => change.ChangedHop is null && change.Prefix.Family == TKey.Family;
    }

    public void Resend()
    {
        for (int i = 0; i < _table.End; i++)
        {
            if (_table[i] == 0) continue;
            PathAttributes attributes = _advertised[_table[i]];
            ref int mark = ref _table.Mark(i);
            if ((mark & ~Again) == 0)
            {
                Waiting++;
                mark = Enqueue(attributes, i);
            }

            mark |= Again;
        }
    }

    public void Clear()
    {
        foreach (PathAttributes attributes in _advertised.Values) attributes.Users--;
        _advertised.Clear();
        _table.Clear();
        _groups.Clear();
        _order.Clear();
        _byNumber.Clear();
        _byNumber.Add(null);
        _spare.Clear();
        _withdrawals = _last = null;
        Sent = Waiting = 0;
    }

    public int Take(Span<IpPrefix> into, out PathAttributes? attributes)
    {
        attributes = null;
        while (_order.TryPeek(out Group? group))
        {
            int count = 0;
            attributes = group.Attributes;
            while (count < into.Length && group.Entries.TryDequeue(out int index))
            {
                ref int mark = ref _table.Mark(index);
                if ((mark & ~Again) != group.Number) continue;
                mark = 0;
                Waiting--;
                into[count++] = _table.KeyOf(index).ToPrefix();
                Tell(index, attributes);
                if (attributes is null) _table.Remove(index);
            }

            if (group.Entries.Count == 0) Retire(_order.Dequeue());
            if (count > 0) return count;
        }

        return 0;
    }

    public void Forget(IpPrefix prefix)
    {
        int index = _table.Find(TKey.From(prefix));
        if (index < 0) return;
        Tell(index, null);
        if (_table.Mark(index) == 0) _table.Remove(index);
    }

    /// <summary>The peer knows a prefix with these attributes now; null: it does not know it.</summary>
    private void Tell(int index, PathAttributes? attributes)
    {
        int before = _table[index], after = 0;
        if (attributes is not null)
        {
            after = _advertised.Take(attributes, out bool added);
            if (added) attributes.Users++;
        }

        if (before != 0 && _advertised.Release(before, out PathAttributes? gone)) gone.Users--;
        _table[index] = after;
        Sent += (after == 0 ? 0 : 1) - (before == 0 ? 0 : 1);
    }

    private int Enqueue(PathAttributes? attributes, int index)
    {
        Group group = GroupOf(attributes);
        group.Entries.Enqueue(index);
        return group.Number;
    }

    private Group GroupOf(PathAttributes? attributes)
    {
        if (attributes is null) return _withdrawals ??= NewGroup(null);

        // An UPDATE's prefixes come one after the other.
        if (_last is not null && attributes.Equals(_last.Attributes)) return _last!;
        if (!_groups.TryGetValue(attributes, out Group? group)) _groups.Add(attributes, group = NewGroup(attributes));
        return _last = group;
    }

    private Group NewGroup(PathAttributes? attributes)
    {
        if (!_spare.TryPop(out Group? group))
        {
            group = new Group(_byNumber.Count);
            _byNumber.Add(group);
        }

        group.Attributes = attributes;
        _order.Enqueue(group);
        return group;
    }

    /// <summary>A group is told. Its number may be given again: no entry waits for it, and only its own queue named entries under
    /// it.</summary>
    private void Retire(Group group)
    {
        if (group.Attributes is null) _withdrawals = null;
        else _groups.Remove(group.Attributes);
        if (ReferenceEquals(_last, group)) _last = null;
        group.Attributes = null;
        if (_spare.Count >= SpareGroups || group.Entries.Capacity > SpareKeys) group.Entries.TrimExcess();
        _spare.Push(group);
    }

    private sealed class Group(int number)
    {
        public int Number { get; } = number;

        public PathAttributes? Attributes { get; set; }

        /// <summary>Numbers of entries.</summary>
        public Queue<int> Entries { get; } = new();
    }
}
