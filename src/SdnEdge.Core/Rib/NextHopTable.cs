using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Rib;

/// <summary>
/// The next hops of one VRF, each once, and their resolution.
/// When the route that covers a next hop changes:
/// 1. every next hop inside the changed prefix is queued;
/// 2. each queued one is resolved again; where the answer differs, one <see cref="RibChange"/> says so,
///    and next hops that rest on it are queued too;
/// 3. where usable turned unusable or back, the best routes that use it are chosen again.
/// A route can be the better one only as long as it is not used, for instance when its next hop lies in its own prefix: then the
/// answer never settles. Such a next hop is left unresolved, and counted, until a route that covers it changes again; others
/// are not touched by that.
/// </summary>
internal sealed class NextHopTable(LocRib owner)
{
    // A next hop that has not settled after so many rounds of one change will not.
    private const int MaxRounds = 16;

    private readonly Dictionary<HopSpec, NextHop> _hops = [];
    private readonly HashSet<NextHop> _recursive = [];
    private readonly Queue<NextHop> _queue = new();
    private readonly HashSet<FailedPe> _failed = [];
    private readonly HashSet<NextHop> _toConverge = [];
    private NextHop? _last;
    private bool _draining;
    private long _drains;

    /// <summary>Next hops left unresolved because resolving them never settled.</summary>
    public long Unsettled { get; private set; }

    public IReadOnlyCollection<NextHop> All => _hops.Values;

    /// <summary>Changes when one comes or goes.</summary>
    public long Version { get; private set; }

    public NextHop Intern(HopSpec spec)
    {
        // The prefixes of an UPDATE share their next hop.
        if (_last is { } last && last.Spec == spec) return last;
        if (_hops.TryGetValue(spec, out NextHop? hop)) return _last = hop;
        _last = hop = new NextHop(spec);
        _hops.Add(spec, hop);
        Version++;
        if (spec.IsRecursive) _recursive.Add(hop);
        hop.Failed = _failed.Count > 0 && IsFailed(hop);
        Resolve(hop);
        return hop;
    }

    public void Release(NextHop hop)
    {
        if (--hop.Users > 0) return;
        if (ReferenceEquals(_last, hop)) _last = null;
        _hops.Remove(hop.Spec);
        Version++;
        _recursive.Remove(hop);
        _toConverge.Remove(hop);
    }

    /// <summary>See <see cref="LocRib.SetFailed"/>.</summary>
    public IReadOnlyList<NextHop> SetFailed(HopKind kind, BgpPeerKey pe, bool failed)
    {
        if (!(failed ? _failed.Add(new FailedPe(kind, pe)) : _failed.Remove(new FailedPe(kind, pe)))) return [];
        var changed = new List<NextHop>();
        foreach (NextHop hop in _hops.Values)
        {
            if (!new FailedPe(kind, pe).Is(hop.Spec) || hop.Failed == IsFailed(hop)) continue;
            hop.Failed = !hop.Failed;
            changed.Add(hop);
            _toConverge.Add(hop);
            owner.Changed(new RibChange(owner.Vrf, default, null, null, null, null, hop));
        }

        return changed;
    }

    /// <summary>See <see cref="LocRib.Converge"/>.</summary>
    public void Converge(long now)
    {
        if (_toConverge.Count == 0) return;
        NextHop[] hops = [.. _toConverge];
        _toConverge.Clear();
        foreach (NextHop hop in hops) owner.ReselectUsersOf(hop, now);
        Drain(now);
    }

    public void CoverChanged(IpPrefix prefix)
    {
        foreach (NextHop hop in _recursive)
        {
            if (prefix.Contains(hop.Spec.Address)) Queue(hop);
        }
    }

    /// <summary>The next hop at an address, as BGP names it; null when no route uses it.</summary>
    public NextHop? FindVia(IpAddress address) => _hops.GetValueOrDefault(HopSpec.Via(address));

    /// <summary>What <see cref="LocRib.Reaches"/> says of an address may have changed.</summary>
    public void RemoteChanged(IpAddress address)
    {
        foreach (NextHop hop in _hops.Values)
        {
            if (hop.Spec.Kind == HopKind.Remote && hop.Spec.Address == address) Queue(hop);
        }
    }

    /// <summary>Settles all queued next hops.</summary>
    public void Drain(long now)
    {
        if (_draining || _queue.Count == 0) return;
        _draining = true;
        _drains++;
        while (_queue.TryDequeue(out NextHop? hop))
        {
            hop.Queued = false;
            ResolvedHop before = hop.Resolved;
            if (hop.Drain != _drains) (hop.Drain, hop.Rounds) = (_drains, 0);
            if (++hop.Rounds <= MaxRounds)
            {
                Resolve(hop);
            }
            else
            {
                if (hop.Rounds == MaxRounds + 1) Unsettled++;
                (hop.Resolved, hop.ResolvedThrough, hop.Parent) = (default, null, null);
            }

            if (hop.Resolved == before) continue;
            owner.Changed(new RibChange(owner.Vrf, default, null, null, null, null, hop));
            foreach (NextHop other in _recursive)
            {
                if (ReferenceEquals(other.Parent, hop)) Queue(other);
            }

            if (hop.Resolved.IsUsable != before.IsUsable) owner.ReselectUsersOf(hop, now);
        }

        _draining = false;
    }

    private bool IsFailed(NextHop hop)
    {
        foreach (FailedPe pe in _failed)
        {
            if (pe.Is(hop.Spec)) return true;
        }

        return false;
    }

    private void Queue(NextHop hop)
    {
        if (hop.Queued) return;
        hop.Queued = true;
        _queue.Enqueue(hop);
    }

    private void Resolve(NextHop hop)
    {
        HopSpec spec = hop.Spec;
        if (!spec.IsRecursive)
        {
            bool usable = spec.Kind != HopKind.Remote || owner.Reaches?.Invoke(spec.Address) == true;
            hop.Resolved = usable ? new ResolvedHop(spec.Kind, spec.Port, spec.Address) : default;
            return;
        }

        hop.Parent = null;
        (NextHop? cover, IpPrefix prefix) = owner.Cover(spec.Address, hop);
        hop.Parent = cover;
        hop.ResolvedThrough = cover is null ? null : prefix;
        hop.Resolved = cover?.Resolved switch
        {
            { Kind: HopKind.Connected } on => new ResolvedHop(HopKind.Via, on.Port, spec.Address),
            { Kind: HopKind.Via or HopKind.Blackhole } same => same,

            // A next hop that is this router itself cannot carry traffic anywhere.
            _ => default,
        };
    }

    /// <summary>A PE that has failed, and how routes lead to it.</summary>
    private readonly record struct FailedPe(HopKind Kind, BgpPeerKey Pe)
    {
        public bool Is(HopSpec spec) => spec.Kind == Kind && spec.Address == Pe.Address && (Pe.Zone is null || spec.Port == Pe.Zone);
    }
}
