using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Router.Control;

/// <summary>
/// Subnets that more than one site has: a host route to somewhere else inside the subnet of a port says that one of its hosts is not on
/// this link, because a migration took it away, or has not brought it yet. Its neighbours still look for it there.
/// <list type="number">
/// <item>The PE answers ARP and ND in its place (RFC 1027, RFC 4389), and says once, unasked, that it is reached by this PE.</item>
/// <item>It tells the other PEs of the hosts that it knows on the link by host routes, so that the answers find them.</item>
/// <item>When the host is on the link again, the PE says so in its place with its own MAC address, and tells it of the others that are
/// not.</item>
/// </list>
/// Nothing of that happens on a subnet that is at one site only. (docs/decisions/0026)
/// </summary>
internal sealed class StretchedSubnets(PeState state, SlowPathDriver slowPath, ControlLoop loop)
{
    private const int AddressesARound = 256;

    private readonly Dictionary<int, Link> _links = []; // by index of the port
    private readonly Queue<(string Vrf, IpAddress Address)> _due = new();
    private bool _isPosted;

    /// <summary>Hosts that this PE answers for now.</summary>
    public int Away => _links.Values.Sum(l => l.Away.Count);

    /// <summary>What is asked for on a port, and not there.</summary>
    public bool IsElsewhere(int port, IpAddress address)
        => state.PortByIndex(port) is { Entry.IsHost: false } on && IsElsewhere(on.Entry, address);

    /// <summary>Routes have changed, and the FIB with them.</summary>
    public void RoutesChanged(VrfState vrf, ReadOnlySpan<RibChange> changes)
    {
        foreach (ref readonly RibChange change in changes)
        {
            if (change.ChangedHop is null && change.Prefix.IsHost) Note(vrf.Config.Name, change.Prefix.Address);
        }
    }

    /// <summary>Prefixes of a migration go another way, by a store that no route shows.</summary>
    public void Switched(string vrf, IEnumerable<IpPrefix> prefixes)
    {
        foreach (IpPrefix prefix in prefixes)
        {
            if (prefix.IsHost) Note(vrf, prefix.Address);
        }
    }

    /// <summary>A neighbour is known, or not any more.</summary>
    public void NeighborChanged(PortEntry port, IpAddress address, bool isKnown)
    {
        if (!_links.TryGetValue(port.Index, out Link? link) || link.Away.Count == 0) return;
        if (isKnown) Offer(port, link, address);
        else Withdraw(port, link, address);
    }

    /// <summary>A port goes, or its subnets change.</summary>
    public void Forget(PortEntry port)
    {
        if (!_links.Remove(port.Index, out Link? link)) return;
        foreach (IpAddress address in link.Offered.ToArray()) Withdraw(port, link, address);
    }

    private PortEntry? PortOf(string vrf, IpAddress address)
    {
        foreach (PortState port in state.Ports.Values)
        {
            if (port.Config.Vrf == vrf && IsOn(port.Entry, address)) return port.Entry;
        }

        return null;
    }

    private static bool IsOn(PortEntry port, IpAddress address)
    {
        if (address.IsV6 && address.IsLinkLocal) return false;
        IReadOnlyList<PortAddress> addresses = port.Addresses;
        for (int i = 0; i < addresses.Count; i++)
        {
            if (addresses[i].Subnet.Contains(address)) return true;
        }

        return false;
    }

    // Whom packets of this PE's own clients are sent to: not out of this port.
    private static bool IsElsewhere(PortEntry port, IpAddress address)
    {
        if (port.Vrf.Lookup(address)?.ForOthers is not { } decision) return false;
        return decision.Kind switch
        {
            ForwardingKind.Tunnel or ForwardingKind.Hold => true,
            ForwardingKind.Via => !ReferenceEquals(decision.Adjacency!.Port, port),
            ForwardingKind.Connected => !ReferenceEquals(decision.Port, port),
            _ => false,
        };
    }

    // What follows from it is done a part in each round: the routes of a large move are not kept waiting.
    private void Note(string vrf, IpAddress address)
    {
        if (PortOf(vrf, address) is null) return;
        _due.Enqueue((vrf, address));
        if (_isPosted) return;
        _isPosted = true;
        loop.Post(Work);
    }

    private void Work()
    {
        for (int i = 0; i < AddressesARound && _due.TryDequeue(out (string Vrf, IpAddress Address) next); i++)
        {
            if (PortOf(next.Vrf, next.Address) is { } port) Look(port, next.Address);
        }

        _isPosted = _due.Count > 0;
        if (_isPosted) loop.Post(Work);
    }

    private void Look(PortEntry port, IpAddress address)
    {
        bool isElsewhere = IsElsewhere(port, address);
        if (!_links.TryGetValue(port.Index, out Link? link))
        {
            if (!isElsewhere) return;
            _links.Add(port.Index, link = new Link());
        }

        if (isElsewhere)
        {
            Withdraw(port, link, address);
            if (link.Away.Add(address) && link.Away.Count == 1)
            {
                foreach (NeighborSnapshot known in slowPath.Neighbors.Where(n => n.Port == port.Index && n.Mac is not null).ToArray())
                    Offer(port, link, known.Address);
            }

            slowPath.Announce(port.Index, address, null); // again with each change of its route: one frame may be lost
            return;
        }

        if (link.Away.Remove(address) && port.Neighbors.Find(address)?.Mac is { } mac) slowPath.Announce(port.Index, address, mac);

        // A server that has come knows its neighbours from the other site's link, and asks them there for as long as it hears from them.
        foreach (IpAddress other in link.Away.Take(AddressesARound)) slowPath.Announce(port.Index, other, null);
        if (link.Away.Count > 0) return;
        foreach (IpAddress offered in link.Offered.ToArray()) Withdraw(port, link, offered);
    }

    private void Offer(PortEntry port, Link link, IpAddress address)
    {
        // What a migration has to do with goes by its own routes.
        IpPrefix prefix = IpPrefix.Host(address);
        if (!IsOn(port, address) || link.Away.Contains(address) || state.IsSuppressed(port.Vrf.Name, prefix)
            || port.Vrf.Lookup(address)?.Group is not null || !link.Offered.Add(address)) return;
        state.Vrfs[port.Vrf.Name].Rib.Offer(state.Hosts, prefix, HopSpec.Connected(port.Name), null, loop.Now);
    }

    private void Withdraw(PortEntry port, Link link, IpAddress address)
    {
        if (link.Offered.Remove(address) && state.Vrfs.TryGetValue(port.Vrf.Name, out VrfState? vrf))
            vrf.Rib.Withdraw(state.Hosts, IpPrefix.Host(address), loop.Now);
    }

    private sealed class Link
    {
        /// <summary>Hosts of its subnets that are elsewhere.</summary>
        public HashSet<IpAddress> Away { get; } = [];

        /// <summary>Hosts on it that have a host route.</summary>
        public HashSet<IpAddress> Offered { get; } = [];
    }
}
