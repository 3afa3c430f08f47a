using System.Runtime.InteropServices;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Rib;

/// <summary>
/// The routes of one VRF from all sources, the best of each prefix, and the changes the FIB has to follow.
/// It is Adj-RIB-In and Loc-RIB in one: the routes of a BGP peer are those its <see cref="RouteOrigin"/> offers.
/// Not thread-safe: the control loop is its single writer and reader.
/// </summary>
public sealed class LocRib
{
    private readonly IFamilyRib _v4;
    private readonly IFamilyRib _v6;
    private List<RibChange> _changes = [];
    private List<RibChange> _taken = [];

    /// <summary>Makes an empty table.</summary>
    /// <param name="vrf">Name of the VRF.</param>
    /// <param name="resolveByDefault">True: a default route may resolve a next hop. False (usual): a next hop that only the default route
    /// covers counts as unreachable.</param>
    public LocRib(string vrf, bool resolveByDefault = false)
    {
        Vrf = vrf;
        ResolveByDefault = resolveByDefault;
        Hops = new NextHopTable(this);
        _v4 = new FamilyRib<Key4>(this);
        _v6 = new FamilyRib<Key6>(this);
    }

    /// <summary>Name of the VRF.</summary>
    public string Vrf { get; }

    /// <summary>Whether a default route may resolve a next hop.</summary>
    public bool ResolveByDefault { get; }

    /// <summary>Number of prefixes with at least one route, IPv4.</summary>
    public int PrefixesV4 => _v4.Prefixes;

    /// <summary>Number of prefixes with at least one route, IPv6.</summary>
    public int PrefixesV6 => _v6.Prefixes;

    /// <summary>The next hops of all routes, also of those that are not the best.</summary>
    public IReadOnlyCollection<NextHop> NextHops => Hops.All;

    /// <summary>A number that changes when a next hop comes or goes, for whoever goes through all of them.</summary>
    public long NextHopsVersion => Hops.Version;

    /// <summary>Next hops left unresolved because their resolution went in circles.</summary>
    public long UnsettledNextHops => Hops.Unsettled;

    /// <summary>Whether the underlay has a route to the far end of a tunnel; null: no route through a tunnel (<see cref="HopKind.Remote"/>)
    /// is usable.</summary>
    public Func<IpAddress, bool>? Reaches { get; set; }

    internal NextHopTable Hops { get; }

    /// <summary>
    /// An origin offers a prefix; an earlier offer of the same origin is replaced.
    /// </summary>
    /// <param name="origin">Who offers.</param>
    /// <param name="prefix">What.</param>
    /// <param name="hop">Where to.</param>
    /// <param name="attributes">BGP attributes (BGP only).</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    /// <returns>False when exactly this was offered already.</returns>
    public bool Offer(RouteOrigin origin, IpPrefix prefix, HopSpec hop, PathAttributes? attributes, long now)
    {
        bool changed = Of(prefix.Family).Offer(prefix, origin, Hops.Intern(hop), attributes, now);
        Hops.Drain(now);
        return changed;
    }

    /// <summary>An origin takes its offer back. False when there was none.</summary>
    public bool Withdraw(RouteOrigin origin, IpPrefix prefix, long now)
    {
        bool changed = Of(prefix.Family).Withdraw(prefix, origin, now);
        Hops.Drain(now);
        return changed;
    }

    /// <summary>Asks for what offering or withdrawing these prefixes of one family will read. A hint: some
    /// <see cref="Fib.CacheLine.Ahead"/> of them, just before.</summary>
    internal void Prefetch(IpFamily family, ReadOnlySpan<IpPrefix> prefixes) => Of(family).Prefetch(prefixes);

    /// <summary>Takes back all an origin offers. Returns how many routes that were.</summary>
    public int WithdrawAll(RouteOrigin origin, long now) => Sweep(origin, staleOnly: false, now);

    /// <summary>Marks all routes of an origin as stale (its peer restarts, RFC 4724). They stay in use; a new offer clears the
    /// mark.</summary>
    public int MarkStale(RouteOrigin origin) => _v4.MarkStale(origin) + _v6.MarkStale(origin);

    /// <summary>The same for the routes of one family.</summary>
    public int MarkStale(RouteOrigin origin, IpFamily family) => Of(family).MarkStale(origin);

    /// <summary>Takes away the routes of an origin that are still marked stale. Returns how many.</summary>
    public int WithdrawStale(RouteOrigin origin, long now) => Sweep(origin, staleOnly: true, now);

    /// <summary>The same for the routes of one family.</summary>
    public int WithdrawStale(RouteOrigin origin, IpFamily family, long now) => Sweep(origin, family, staleOnly: true, now);

    /// <summary>Takes away the routes of an origin that are still marked stale and have this next hop. Returns how many.</summary>
    public int WithdrawStale(RouteOrigin origin, NextHop hop, long now)
    {
        int removed = _v4.WithdrawAll(origin, staleOnly: true, now, hop) + _v6.WithdrawAll(origin, staleOnly: true, now, hop);
        Hops.Drain(now);
        return removed;
    }

    /// <summary>Takes back all an origin offers of one family. Returns how many routes that were.</summary>
    public int WithdrawAll(RouteOrigin origin, IpFamily family, long now) => Sweep(origin, family, staleOnly: false, now);

    /// <summary>The changes since the last call, in order; good until the next one.</summary>
    public ReadOnlySpan<RibChange> TakeChanges()
    {
        (_taken, _changes) = (_changes, _taken);
        _changes.Clear();
        if (_changes.Capacity > 65536) _changes.Capacity = 1024;
        return CollectionsMarshal.AsSpan(_taken);
    }

    /// <summary>What <see cref="Reaches"/> says of an address may have changed: next hops there are looked at again.</summary>
    public void RemoteChanged(IpAddress address, long now)
    {
        Hops.RemoteChanged(address);
        Hops.Drain(now);
    }

    /// <summary>
    /// Says that the PE at an address has failed, or has not any more. The next hops there say so at once, by one <see cref="RibChange"/>
    /// each, whatever the number of prefixes: a prefix with a backup (<see cref="RibChange.Backup"/>) goes by that from then on. Which
    /// routes are the best is decided again by <see cref="Converge"/>, prefix by prefix. BGP routes to a failed PE lose to all others, and
    /// are used where there are none: a PE that was given up wrongly loses nothing. Routes that come later are judged by the mark, too.
    /// </summary>
    /// <param name="kind"><see cref="HopKind.Via"/>: next hops at this address; <see cref="HopKind.Remote"/>: tunnels to it.</param>
    /// <param name="pe">The address.</param>
    /// <param name="failed">Whether it has failed.</param>
    /// <returns>The next hops for which this is news.</returns>
    public IReadOnlyList<NextHop> SetFailed(HopKind kind, BgpPeerKey pe, bool failed) => Hops.SetFailed(kind, pe, failed);

    /// <summary>Decides again for every prefix with a route to a PE of which <see cref="SetFailed"/> has said something new.</summary>
    public void Converge(long now) => Hops.Converge(now);

    /// <summary>The best route to exactly this prefix, redirects aside; null when there is none.</summary>
    public RouteView? Best(IpPrefix prefix) => Of(prefix.Family).Best(prefix);

    /// <summary>The best route to this prefix or else to the longest one that covers it, redirects aside; null when there is
    /// none.</summary>
    public RouteView? BestCovering(IpPrefix prefix)
    {
        RouteView? best = null;
        for (int length = prefix.Length; length >= 0 && best is null; length--) best = Best(new IpPrefix(prefix.Address, length));
        return best;
    }

    /// <summary>All routes to exactly this prefix, each with the reason why it is not the best one.</summary>
    public IReadOnlyList<RouteView> Explain(IpPrefix prefix)
    {
        var routes = new List<RouteView>();
        Of(prefix.Family).Explain(prefix, routes);
        return routes;
    }

    /// <summary>All routes of all prefixes, sorted by prefix, best first.</summary>
    public IReadOnlyList<RouteView> All()
    {
        var prefixes = new List<IpPrefix>(PrefixesV4 + PrefixesV6);
        _v4.CopyPrefixes(prefixes);
        _v6.CopyPrefixes(prefixes);
        prefixes.Sort();
        var routes = new List<RouteView>(prefixes.Count);
        foreach (IpPrefix prefix in prefixes)
        {
            int first = routes.Count;
            Of(prefix.Family).Explain(prefix, routes);
            routes.Sort(first, routes.Count - first, ByBest.Instance);
        }

        return routes;
    }

    /// <summary>The best route of every prefix, in no order. Do not change the table while walking.</summary>
    public IEnumerable<RouteView> BestRoutes() => _v4.BestRoutes().Concat(_v6.BestRoutes());

    internal void Changed(in RibChange change) => _changes.Add(change);

    internal void ReselectUsersOf(NextHop hop, long now)
    {
        // An IPv6 prefix may have an IPv4 next hop (RFC 8950 the other way round): both families are walked.
        _v4.ReselectUsersOf(hop, now);
        _v6.ReselectUsersOf(hop, now);
    }

    internal (NextHop? Hop, IpPrefix Prefix) Cover(IpAddress address, NextHop asking)
        => Of(address.Family).Cover(address, asking, ResolveByDefault);

    private int Sweep(RouteOrigin origin, bool staleOnly, long now)
    {
        int removed = _v4.WithdrawAll(origin, staleOnly, now) + _v6.WithdrawAll(origin, staleOnly, now);
        Hops.Drain(now);
        return removed;
    }

    private int Sweep(RouteOrigin origin, IpFamily family, bool staleOnly, long now)
    {
        int removed = Of(family).WithdrawAll(origin, staleOnly, now);
        Hops.Drain(now);
        return removed;
    }

    private IFamilyRib Of(IpFamily family) => family == IpFamily.V4 ? _v4 : _v6;

    private sealed class ByBest : IComparer<RouteView>
    {
        public static readonly ByBest Instance = new();

        public int Compare(RouteView a, RouteView b)
        {
            int byBest = b.Best.CompareTo(a.Best);
            return byBest != 0 ? byBest : a.WhyNot.CompareTo(b.WhyNot);
        }
    }
}
