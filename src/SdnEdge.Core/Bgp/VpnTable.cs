using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>A VPN route as a peer told it. The routes of one prefix form a list.</summary>
internal sealed class VpnPath(VpnPrefix prefix, RouteOrigin session)
{
    public VpnPrefix Prefix { get; } = prefix;

    /// <summary>The peer that told it.</summary>
    public RouteOrigin Session { get; } = session;

    /// <summary>Who offers it in VRFs.</summary>
    public RouteOrigin Origin { get; set; } = session;

    /// <summary>The BGP next hop, resolved in the core.</summary>
    public NextHop Hop { get; set; } = null!;

    /// <summary>The far end of its tunnel, resolved in the core; null: it has no tunnel that we can use.</summary>
    public NextHop? Endpoint { get; set; }

    public uint TunnelKey { get; set; }

    public PathAttributes Attributes { get; set; } = null!;

    public uint Label { get; set; }

    public bool Stale { get; set; }

    public bool Best { get; set; }

    public VpnPath? Next { get; set; }
}

/// <summary>
/// The VPN routes of all peers that are kept: those some VRF takes, or all of them on a route reflector. The best of each
/// prefix is what a reflector tells. Next hops are tracked in the core's table. Not made for a million routes: an object each.
/// </summary>
internal sealed class VpnTable(LocRib core)
{
    private readonly Dictionary<VpnPrefix, VpnPath> _heads = [];
    private readonly Dictionary<(RouteOrigin, RouteDistinguisher), (RouteOrigin Origin, int Routes)> _origins = [];
    private Candidate[] _candidates = new Candidate[4];

    /// <summary>All routes. Take a copy before changing the table.</summary>
    public IEnumerable<VpnPath> All
    {
        get
        {
            foreach (VpnPath head in _heads.Values)
            {
                for (VpnPath? path = head; path is not null; path = path.Next) yield return path;
            }
        }
    }

    /// <summary>Prefixes with a route.</summary>
    public int Prefixes => _heads.Count;

    /// <summary>The best route to a prefix; null: none, or none whose next hop resolves.</summary>
    public VpnPath? Best(VpnPrefix prefix)
    {
        VpnPath? path = _heads.GetValueOrDefault(prefix);
        while (path is { Best: false }) path = path.Next;
        return path;
    }

    public VpnPath? Find(VpnPrefix prefix, RouteOrigin session)
    {
        VpnPath? path = _heads.GetValueOrDefault(prefix);
        while (path is not null && !ReferenceEquals(path.Session, session)) path = path.Next;
        return path;
    }

    /// <summary>Takes a route in, in place of the peer's earlier one. Decide again afterwards (<see cref="Reselect"/>).</summary>
    public VpnPath Offer(VpnPrefix prefix, RouteOrigin session, out bool added)
    {
        VpnPath? path = Find(prefix, session);
        added = path is null;
        if (path is not null) return path;
        _heads.TryGetValue(prefix, out VpnPath? head);
        path = new VpnPath(prefix, session) { Next = head, Origin = TakeOrigin(session, prefix.Rd) };
        _heads[prefix] = path;
        return path;
    }

    /// <summary>Tells of a route's next hops; the core tracks them from now on.</summary>
    public void SetHops(VpnPath path, IpAddress nextHop, IpAddress endpoint)
    {
        NextHop? before = path.Hop, endpointBefore = path.Endpoint;
        path.Hop = Track(nextHop);
        path.Endpoint = endpoint.IsNone ? null : Track(endpoint);
        if (before is not null) core.Hops.Release(before);
        if (endpointBefore is not null) core.Hops.Release(endpointBefore);
    }

    /// <summary>Takes a route out. Decide again afterwards.</summary>
    public void Remove(VpnPath gone)
    {
        if (_heads[gone.Prefix] == gone)
        {
            if (gone.Next is { } next) _heads[gone.Prefix] = next;
            else _heads.Remove(gone.Prefix);
        }
        else
        {
            VpnPath before = _heads[gone.Prefix];
            while (before.Next != gone) before = before.Next!;
            before.Next = gone.Next;
        }

        core.Hops.Release(gone.Hop);
        if (gone.Endpoint is { } endpoint) core.Hops.Release(endpoint);
        (RouteOrigin origin, int routes) = _origins[(gone.Session, gone.Prefix.Rd)];
        if (routes == 1) _origins.Remove((gone.Session, gone.Prefix.Rd));
        else _origins[(gone.Session, gone.Prefix.Rd)] = (origin, routes - 1);
    }

    /// <summary>Decides again. True when another route is best, or none any more.</summary>
    public bool Reselect(VpnPrefix prefix)
    {
        int count = 0;
        VpnPath? before = null;
        for (VpnPath? path = _heads.GetValueOrDefault(prefix); path is not null; path = path.Next)
        {
            if (path.Best) before = path;
            if (count == _candidates.Length) Array.Resize(ref _candidates, count * 2);
            _candidates[count] = new Candidate { Origin = path.Session, Hop = path.Hop, Attributes = path.Attributes, Index = count };
            count++;
        }

        int best = BestPath.Select(_candidates.AsSpan(0, count));
        VpnPath? after = null;
        int i = 0;
        for (VpnPath? path = _heads.GetValueOrDefault(prefix); path is not null; path = path.Next)
        {
            path.Best = i++ == best;
            if (path.Best) after = path;
        }

        return !ReferenceEquals(before, after);
    }

    private NextHop Track(IpAddress address)
    {
        NextHop hop = core.Hops.Intern(HopSpec.Via(address));
        hop.Users++;
        return hop;
    }

    private RouteOrigin TakeOrigin(RouteOrigin session, RouteDistinguisher rd)
    {
        (RouteOrigin Origin, int Routes) known = _origins.GetValueOrDefault((session, rd));
        RouteOrigin origin = known.Origin ?? new RouteOrigin(session, rd);
        origin.PeerRouterId = session.PeerRouterId;
        _origins[(session, rd)] = (origin, known.Routes + 1);
        return origin;
    }
}
