using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Rib;

/// <summary>The routes of one family in one VRF, and their best ones. <see cref="LocRib"/> holds one for each family.</summary>
internal interface IFamilyRib
{
    int Prefixes { get; }

    bool Offer(IpPrefix prefix, RouteOrigin origin, NextHop hop, PathAttributes? attributes, long now);

    bool Withdraw(IpPrefix prefix, RouteOrigin origin, long now);

    int WithdrawAll(RouteOrigin origin, bool staleOnly, long now, NextHop? hop = null);

    int MarkStale(RouteOrigin origin);

    void ReselectUsersOf(NextHop hop, long now);

    (NextHop? Hop, IpPrefix Prefix) Cover(IpAddress address, NextHop asking, bool byDefault);

    RouteView? Best(IpPrefix prefix);

    void Explain(IpPrefix prefix, List<RouteView> into);

    void Prefetch(ReadOnlySpan<IpPrefix> prefixes);

    void CopyPrefixes(List<IpPrefix> into);

    IEnumerable<RouteView> BestRoutes();
}

/// <inheritdoc cref="IFamilyRib"/>
internal sealed class FamilyRib<TKey>(LocRib owner) : IFamilyRib
    where TKey : struct, IPrefixKey<TKey>
{
    private readonly PathTable<TKey> _paths = new();
    private Candidate[] _candidates = new Candidate[4];
    private int _redirects;

    public int Prefixes => _paths.Prefixes;

    public bool Offer(IpPrefix prefix, RouteOrigin origin, NextHop hop, PathAttributes? attributes, long now)
    {
        int entry = _paths.EntryFor(TKey.From(prefix));
        int index = _paths.Find(entry, origin);
        if (index < 0)
        {
            index = _paths.Add(entry, new RouteContent(origin, hop, attributes));
            hop.Users++;
            if (origin.Source == RouteSource.Redirect) _redirects++;
            origin.Count(TKey.Family, 1);
            Reselect(prefix, entry, index, now);
            return true;
        }

        _paths[index].Flags &= ~PathFlags.Stale;
        var content = new RouteContent(origin, hop, attributes);
        if (_paths.ContentOf(index).Equals(content)) return false;
        NextHop before = _paths.ContentOf(index).Hop;
        hop.Users++;
        _paths.Replace(index, content);
        Reselect(prefix, entry, index, now);
        owner.Hops.Release(before);
        return true;
    }

    public bool Withdraw(IpPrefix prefix, RouteOrigin origin, long now)
    {
        int entry = _paths.EntryOf(TKey.From(prefix));
        int index = _paths.Find(entry, origin);
        if (index < 0) return false;
        RemoveAt(entry, index, now);
        return true;
    }

    public int WithdrawAll(RouteOrigin origin, bool staleOnly, long now, NextHop? hop = null)
    {
        int removed = 0;
        for (int i = 0; i < _paths.Slots; i++)
        {
            ref RoutePath<TKey> path = ref _paths[i];
            if (path.Content == 0 || !ReferenceEquals(_paths.ContentOf(i).Origin.Session, origin)
                || (staleOnly && (path.Flags & PathFlags.Stale) == 0)
                || (hop is not null && !ReferenceEquals(_paths.ContentOf(i).Hop, hop))) continue;
            RemoveAt(_paths.EntryOf(path.Key), i, now);
            removed++;
        }

        return removed;
    }

    public int MarkStale(RouteOrigin origin)
    {
        int marked = 0;
        for (int i = 0; i < _paths.Slots; i++)
        {
            ref RoutePath<TKey> path = ref _paths[i];
            if (path.Content == 0 || !ReferenceEquals(_paths.ContentOf(i).Origin.Session, origin)) continue;
            path.Flags |= PathFlags.Stale;
            marked++;
        }

        return marked;
    }

    /// <summary>A next hop became usable or unusable: decide again for each prefix that has a route with it. A walk over all routes, no
    /// list a next hop.</summary>
    public void ReselectUsersOf(NextHop hop, long now)
    {
        for (int i = 0; i < _paths.Slots; i++)
        {
            ref RoutePath<TKey> path = ref _paths[i];
            if (path.Content != 0 && ReferenceEquals(_paths.ContentOf(i).Hop, hop)) Reselect(path.Key.ToPrefix(), _paths.EntryOf(path.Key),
                -1, now);
        }
    }

    /// <summary>
    /// The longest route that tells where an address is. Routes of BGP do not count (a BGP next hop is found by connected and
    /// static routes), and neither does one whose own next hop rests on the asking one: that would be a circle.
    /// </summary>
    public (NextHop? Hop, IpPrefix Prefix) Cover(IpAddress address, NextHop asking, bool byDefault)
    {
        for (int length = address.BitLength; length >= (byDefault ? 0 : 1); length--)
        {
            if (!_paths.HasLength(length)) continue;
            TKey key = TKey.Covering(address, length);
            int index = BestIndex(_paths.EntryOf(key), PathFlags.Best);
            if (index < 0) continue;
            ref readonly RouteContent route = ref _paths.ContentOf(index);
            if (route.Origin.Source == RouteSource.Bgp || route.Hop.RestsOn(asking)) continue;
            return (route.Hop, key.ToPrefix());
        }

        return default;
    }

    public RouteView? Best(IpPrefix prefix)
    {
        int index = BestIndex(_paths.EntryOf(TKey.From(prefix)), PathFlags.Best);
        return index < 0 ? null : View(index, RejectReason.None);
    }

    public void Explain(IpPrefix prefix, List<RouteView> into)
    {
        int entry = _paths.EntryOf(TKey.From(prefix));
        Span<Candidate> natives = Gather(entry, redirects: false);
        BestPath.Select(natives);
        foreach (ref readonly Candidate route in natives) into.Add(View(route.Index, route.Lost));
        Span<Candidate> redirects = Gather(entry, redirects: true);
        BestPath.Select(redirects);
        foreach (ref readonly Candidate route in redirects) into.Add(View(route.Index, route.Lost));
    }

    public void Prefetch(ReadOnlySpan<IpPrefix> prefixes) => _paths.Prefetch(prefixes);

    public void CopyPrefixes(List<IpPrefix> into)
    {
        foreach (TKey key in _paths.Keys) into.Add(key.ToPrefix());
    }

    public IEnumerable<RouteView> BestRoutes()
    {
        for (int i = 0; i < _paths.Slots; i++)
        {
            if ((_paths[i].Flags & PathFlags.Best) != 0) yield return View(i, RejectReason.None);
        }
    }

    private void RemoveAt(int entry, int index, long now)
    {
        RoutePath<TKey> gone = _paths[index];
        RouteContent said = _paths.ContentOf(index);
        bool others = _paths.Remove(entry, index);
        if (!others) entry = -1;
        if (said.Origin.Source == RouteSource.Redirect) _redirects--;
        said.Origin.Count(TKey.Family, -1);

        // One that was neither may have struck out others by its MED.
        bool used = (gone.Flags & (PathFlags.Best | PathFlags.Redirect | PathFlags.Backup)) != 0;
        if (used || others) Reselect(gone.Key.ToPrefix(), entry, -1, now, said.Origin, removed: used);
        owner.Hops.Release(said.Hop);
    }

    /// <summary>
    /// Decides again for one prefix and records what changed. <paramref name="entry"/> is the prefix's, -1 when it has no route
    /// any more; <paramref name="touched"/> is the route whose content changed, or -1.
    /// </summary>
    private void Reselect(IpPrefix prefix, int entry, int touched, long now, RouteOrigin? goneOrigin = null, bool removed = false)
    {
        bool native = Choose(entry, PathFlags.Best, redirects: false, touched, now, out int best, out RouteOrigin? before);
        int over = -1;
        bool redirect = _redirects > 0 && Choose(entry, PathFlags.Redirect, redirects: true, touched, now, out over, out _);
        bool second = ChooseBackup(entry, best, touched, out int backup);
        if (!native && !redirect && !second && !removed) return;

        RouteContent chosen = best < 0 ? default : _paths.ContentOf(best);
        RouteOrigin? after = chosen.Origin;
        owner.Changed(new RibChange(
            owner.Vrf, prefix, chosen.Hop, over < 0 ? null : _paths.ContentOf(over).Hop, after, chosen.Attributes, ChangedHop: null)
        {
            Backup = backup < 0 ? null : _paths.ContentOf(backup).Hop,
        });

        // Next hops are resolved by routes other than BGP's: only these can change a resolution.
        before ??= goneOrigin;
        if (Resolves(before) || Resolves(after)) owner.Hops.CoverChanged(prefix);
    }

    private static bool Resolves(RouteOrigin? origin)
        => origin is not null && origin.Source is not (RouteSource.Bgp or RouteSource.Redirect);

    /// <summary>Moves the flag to the best route. True when another one is best now, or the best one's content changed.</summary>
    private bool Choose(int entry, PathFlags flag, bool redirects, int touched, long now, out int best, out RouteOrigin? beforeOrigin)
    {
        int before = BestIndex(entry, flag);
        beforeOrigin = before < 0 ? null : _paths.ContentOf(before).Origin;
        int only = _paths.Head(entry);
        if (only >= 0 && _paths[only].Next < 0)
        {
            // Most prefixes have one route: nothing is to be compared.
            ref readonly RouteContent route = ref _paths.ContentOf(only);
            best = route.Origin.Source == RouteSource.Redirect == redirects && route.Hop.Resolved.IsUsable ? only : -1;
        }
        else
        {
            Span<Candidate> routes = Gather(entry, redirects);
            int position = BestPath.Select(routes);
            best = position < 0 ? -1 : routes[position].Index;
        }

        if (best == before && (best < 0 || best != touched)) return false;
        if (before >= 0)
        {
            _paths[before].Flags &= ~flag;
            _paths[before].SinceNs = 0;
        }

        if (best >= 0)
        {
            _paths[best].Flags |= flag;
            _paths[best].SinceNs = now;
        }

        return true;
    }

    /// <summary>
    /// Moves the flag to the route that would be the best one had the PE of the best one failed. -1: it would still be one to that PE, or
    /// one to another PE that has failed. True when it is another one now, or its content changed.
    /// </summary>
    private bool ChooseBackup(int entry, int best, int touched, out int backup)
    {
        int before = -1, routes = 0;
        for (int i = _paths.Head(entry); i >= 0; i = _paths[i].Next, routes++)
        {
            if ((_paths[i].Flags & PathFlags.Backup) != 0) before = i;
        }

        backup = -1;
        if (routes > 1 && best >= 0 && _paths.ContentOf(best) is { Origin.Source: RouteSource.Bgp, Hop: { CanFail: true } hop })
        {
            Span<Candidate> candidates = Gather(entry, redirects: false);
            foreach (ref Candidate route in candidates) route.Failed |= route.Origin.Source == RouteSource.Bgp && SamePe(route.Hop, hop);
            int position = BestPath.Select(candidates);
            if (position >= 0 && !candidates[position].Failed && !SamePe(candidates[position].Hop, hop))
                backup = candidates[position].Index;
        }

        if (backup == before && (backup < 0 || backup != touched)) return false;
        if (before >= 0) _paths[before].Flags &= ~PathFlags.Backup;
        if (backup >= 0) _paths[backup].Flags |= PathFlags.Backup;
        return true;
    }

    private static bool SamePe(NextHop one, NextHop other) => one.CanFail && one.Spec.Address == other.Spec.Address;

    private Span<Candidate> Gather(int entry, bool redirects)
    {
        int count = 0;
        for (int i = _paths.Head(entry); i >= 0; i = _paths[i].Next)
        {
            ref readonly RouteContent route = ref _paths.ContentOf(i);
            if (route.Origin.Source == RouteSource.Redirect != redirects) continue;
            if (count == _candidates.Length) Array.Resize(ref _candidates, count * 2);
            _candidates[count++] = new Candidate
            {
                Origin = route.Origin, Hop = route.Hop, Attributes = route.Attributes, Index = i,
                Failed = route.Hop.Failed && route.Origin.Source == RouteSource.Bgp,
            };
        }

        return _candidates.AsSpan(0, count);
    }

    private int BestIndex(int entry, PathFlags flag)
    {
        for (int i = _paths.Head(entry); i >= 0; i = _paths[i].Next)
        {
            if ((_paths[i].Flags & flag) != 0) return i;
        }

        return -1;
    }

    private RouteView View(int index, RejectReason why)
    {
        ref RoutePath<TKey> path = ref _paths[index];
        bool best = (path.Flags & (PathFlags.Best | PathFlags.Redirect)) != 0;
        ref readonly RouteContent route = ref _paths.ContentOf(index);
        return new RouteView(path.Key.ToPrefix(), route.Origin, route.Hop, route.Attributes, best, why, best ? path.SinceNs : 0) { Stale =
            (path.Flags & PathFlags.Stale) != 0 };
    }
}
