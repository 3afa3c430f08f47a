namespace SdnEdge.Core.Bgp;

/// <summary>
/// What one peer has been told of VPN routes and is still to be told, both families. The same idea as
/// <see cref="AdjRibOut{TKey}"/>, with labels, and made for thousands of routes rather than a million.
/// </summary>
internal sealed class VpnAdjRibOut
{
    private readonly Dictionary<VpnPrefix, Entry> _entries = [];
    private readonly Dictionary<(PathAttributes? Attributes, bool V6), List<VpnPrefix>> _groups = [];
    private readonly Queue<(PathAttributes? Attributes, bool V6)> _order = new();

    public int Sent { get; private set; }

    public int Waiting { get; private set; }

    /// <summary>States what the peer is to know about a prefix; null: nothing.</summary>
    public void Set(VpnPrefix prefix, PathAttributes? attributes, uint label)
    {
        bool known = _entries.TryGetValue(prefix, out Entry entry);
        if (!known && attributes is null) return;
        bool same = Equals(entry.Told, attributes) && (attributes is null || entry.ToldLabel == label);
        if (same && !entry.Again)
        {
            if (entry.Waits) Waiting--;
            entry.Waits = false;
            if (attributes is null) _entries.Remove(prefix);
            else _entries[prefix] = entry;
            return;
        }

        Wait(prefix, entry, attributes, label);
    }

    /// <summary>Has everything of one family sent again (ROUTE-REFRESH).</summary>
    public void Resend(Wire.IpFamily family)
    {
        foreach ((VpnPrefix prefix, Entry entry) in _entries.ToArray())
        {
            if (entry.Told is null || prefix.Prefix.Family != family) continue;
            Entry again = entry with { Again = true };
            if (again.Waits) _entries[prefix] = again;
            else Wait(prefix, again, again.Told, again.ToldLabel);
        }
    }

    public void Clear()
    {
        _entries.Clear();
        _groups.Clear();
        _order.Clear();
        Sent = Waiting = 0;
    }

    /// <summary>Takes all waiting prefixes of one family that share attributes, and counts them as told. False when nothing waits. Null
    /// attributes: withdraw.</summary>
    public bool Take(List<(VpnPrefix Prefix, uint Label)> into, out PathAttributes? attributes)
    {
        into.Clear();
        attributes = null;
        while (into.Count == 0 && _order.TryDequeue(out (PathAttributes? Attributes, bool V6) key))
        {
            attributes = key.Attributes;
            _groups.Remove(key, out List<VpnPrefix>? group);
            foreach (VpnPrefix prefix in group!)
            {
                // A name whose entry waits for something else by now, or no more, is passed over.
                if (!_entries.TryGetValue(prefix, out Entry entry) || !entry.Waits || !Equals(entry.Next, attributes)) continue;
                Waiting--;
                Sent += (attributes is null ? 0 : 1) - (entry.Told is null ? 0 : 1);
                into.Add((prefix, entry.NextLabel));
                if (attributes is null) _entries.Remove(prefix);
                else _entries[prefix] = new Entry { Told = attributes, ToldLabel = entry.NextLabel };
            }
        }

        return into.Count > 0;
    }

    /// <summary>Takes a prefix back that could not be sent.</summary>
    public void Forget(VpnPrefix prefix)
    {
        if (!_entries.Remove(prefix, out Entry entry)) return;
        if (entry.Told is not null) Sent--;
        if (entry.Waits) Waiting--;
    }

    private void Wait(VpnPrefix prefix, Entry entry, PathAttributes? attributes, uint label)
    {
        if (!entry.Waits) Waiting++;
        bool queued = entry.Waits && Equals(entry.Next, attributes);
        _entries[prefix] = entry with { Waits = true, Next = attributes, NextLabel = label };
        if (queued) return;
        (PathAttributes?, bool) key = (attributes, prefix.Prefix.Family == Wire.IpFamily.V6);
        if (!_groups.TryGetValue(key, out List<VpnPrefix>? group))
        {
            _groups.Add(key, group = []);
            _order.Enqueue(key);
        }

        group.Add(prefix);
    }

    private record struct Entry
    {
        public PathAttributes? Told;
        public uint ToldLabel;
        public bool Waits;
        public bool Again;
        public PathAttributes? Next;
        public uint NextLabel;
    }
}
