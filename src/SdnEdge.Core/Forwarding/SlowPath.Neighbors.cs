using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>A neighbour as the slow path knows it.</summary>
/// <param name="Port">Port it is on.</param>
/// <param name="Address">Its IP address.</param>
/// <param name="Mac">Its MAC address; null while unknown.</param>
/// <param name="State">Its state.</param>
/// <param name="ConfirmedAtNs">When it was last heard of; 0 = never.</param>
public readonly record struct NeighborSnapshot(int Port, IpAddress Address, MacAddress? Mac, NeighborState State, long ConfirmedAtNs);

/// <content>
/// The neighbours of all ports, by ARP and ND alike.
/// <code>
///             Resolve                          answer, or a frame that names it
///   (none) ------------> Incomplete ----------------------------------------------+
///                            | no answer: 1 + Retries solicitations               v
///                            v                      not confirmed          Reachable / Stale
///   (none) &lt;---- Failed &lt;---------+                                         | ReachableNs / DelayNs
///       FailedHoldNs              | no answer: unicast, the last one to all      v
///                                 +---------------------------------------- Probe --- answer --> Reachable
/// </code>
/// Every neighbour is probed when its time is up, used or not: a router has thousands, not millions, and so learns that one
/// has gone before packets are lost on it.
/// </content>
public sealed partial class SlowPath
{
    private readonly Dictionary<(int Port, IpAddress Address), Neighbor> _neighbors = [];
    private readonly PriorityQueue<Neighbor, long> _deadlines = new();
    private readonly Dictionary<int, (int All, int Incomplete)> _counts = [];

    /// <summary>When <see cref="Poll"/> wants to be called next, nanoseconds; long.MaxValue = never.</summary>
    public long NextDeadline
    {
        get
        {
            DropOutdatedDeadlines();
            long next = Math.Min(NextProofAt, NextAdvertisementAt);
            return Math.Min(_deadlines.TryPeek(out _, out long deadline) ? deadline : long.MaxValue, next);
        }
    }

    /// <summary>All neighbours now, in no order.</summary>
    public IEnumerable<NeighborSnapshot> Neighbors
        => _neighbors.Values.Select(n => new NeighborSnapshot(n.Port, n.Address, n.Mac, n.State, n.ConfirmedAt));

    /// <summary>Solicitations sent: ARP requests and neighbour solicitations.</summary>
    public long SolicitationsSent { get; private set; }

    /// <summary>Replies sent: ARP replies and neighbour advertisements.</summary>
    public long AdvertisementsSent { get; private set; }

    /// <summary>
    /// A packet waits for a neighbour: starts to solicit it, unless that goes on already, or failed less than
    /// <see cref="SlowPathOptions.FailedHoldNs"/> ago.
    /// </summary>
    /// <param name="port">Port of the neighbour.</param>
    /// <param name="address">Its address.</param>
    /// <param name="now">Nanoseconds.</param>
    /// <param name="actions">Where what is to be done is appended.</param>
    /// <param name="force">True: also a failed neighbour is tried at once, one being solicited anew, and a known one probed (a server may
    /// have just come to this port).</param>
    public SlowPathVerdict Resolve(int port, IpAddress address, long now, SlowPathActions actions, bool force = false)
    {
        if (!_ports.TryGetValue(port, out SlowPathPort? on)) return Tally(SlowPathVerdict.UnknownPort);
        if (on.SourceFor(address).IsNone && address.IsV4) return Tally(SlowPathVerdict.NoSourceAddress);
        if (!_neighbors.TryGetValue((port, address), out Neighbor? neighbor))
        {
            neighbor = Add(port, address);
            if (neighbor is null) return Tally(SlowPathVerdict.TableFull);
        }
        else if (neighbor.Mac is { } mac)
        {
            if (!force)
            {
                // The data plane asks for one that is known: it missed the news.
                actions.NeighborChanged(port, address, mac, neighbor.State);
                return Tally(SlowPathVerdict.Noted);
            }

            BeginProbe(neighbor, now, actions);
            return Tally(SlowPathVerdict.Answered);
        }
        else if (!force && (neighbor.State == NeighborState.Incomplete || neighbor.Deadline > now))
        {
            return Tally(SlowPathVerdict.Ignored);
        }

        SetState(neighbor, NeighborState.Incomplete);
        neighbor.Attempts = 1;
        Solicit(on, neighbor, unicast: false, now, actions);
        Schedule(neighbor, now + _options.FirstRetryNs);
        return Tally(SlowPathVerdict.Answered);
    }

    /// <summary>
    /// Keeps asking for a neighbour, once a second, until it is there; it never counts as failed. For a server that is about to
    /// arrive on the port: the moment it speaks up (a gratuitous ARP or unsolicited advertisement is enough) it is known.
    /// </summary>
    /// <param name="port">Port on which it will appear.</param>
    /// <param name="address">Its address.</param>
    /// <param name="now">Nanoseconds.</param>
    /// <param name="actions">Where what is to be done is appended.</param>
    public SlowPathVerdict Watch(int port, IpAddress address, long now, SlowPathActions actions)
    {
        SlowPathVerdict verdict = Resolve(port, address, now, actions);
        if (_neighbors.TryGetValue((port, address), out Neighbor? neighbor))
        {
            neighbor.IsWatched = true;
            if (neighbor.State == NeighborState.Failed) verdict = Resolve(port, address, now, actions, force: true);
        }

        return verdict;
    }

    /// <summary>
    /// Takes a neighbour over from whoever forwarded before: usable at once, and asked before long, as one only heard of.
    /// False: there is no such port or no room, or it is known already.
    /// </summary>
    /// <param name="port">Port of the neighbour.</param>
    /// <param name="address">Its address.</param>
    /// <param name="mac">Its MAC address.</param>
    /// <param name="now">Nanoseconds.</param>
    public bool Inherit(int port, IpAddress address, MacAddress mac, long now)
    {
        if (!_ports.ContainsKey(port) || _neighbors.ContainsKey((port, address)) || Add(port, address) is not { } neighbor) return false;
        neighbor.Mac = mac;
        neighbor.ConfirmedAt = now;
        SetState(neighbor, NeighborState.Stale);
        Schedule(neighbor, now + _options.DelayNs);
        return true;
    }

    /// <summary>Ends <see cref="Watch"/>: from now on the neighbour ages and fails as any other.</summary>
    public void Unwatch(int port, IpAddress address)
    {
        if (_neighbors.TryGetValue((port, address), out Neighbor? neighbor)) neighbor.IsWatched = false;
    }

    /// <summary>Does what is due: repeats solicitations, probes what has aged, gives up on who does not answer.</summary>
    public void Poll(long now, SlowPathActions actions)
    {
        PollProofs(now, actions);
        PollAdvertisers(now, actions);
        while (true)
        {
            DropOutdatedDeadlines();
            if (!_deadlines.TryPeek(out Neighbor? neighbor, out long deadline) || deadline > now) return;
            _deadlines.Dequeue();
            neighbor.Deadline = neighbor.QueuedAt = long.MaxValue;
            if (_ports.TryGetValue(neighbor.Port, out SlowPathPort? port)) Advance(port, neighbor, now, actions);
        }
    }

    /// <summary>
    /// Tells the link that the router's addresses are here: an ARP announcement (RFC 5227 3) and an unsolicited advertisement
    /// (RFC 4861 7.2.6) each. For a port that came up, or got addresses.
    /// </summary>
    public void Announce(int port, SlowPathActions actions)
    {
        if (!_ports.TryGetValue(port, out SlowPathPort? on)) return;
        foreach ((IpAddress address, _) in on.Addresses)
        {
            if (address.IsV4) SendArp(on, new ArpPacket(ArpOperation.Request, on.Mac, address, default, address), MacAddress.Broadcast,
                actions);
            else Advertise(on, address, address, Ipv6Addresses.AllNodes, Ipv6Addresses.MulticastMac(Ipv6Addresses.AllNodes),
                NeighborFlags.Router | NeighborFlags.Override, actions);
            AdvertisementsSent++;
        }
    }

    /// <summary>Tells the link where a host of its subnet is reached, in its place, as <see cref="Announce(int, SlowPathActions)"/> does
    /// for the router's own addresses.</summary>
    /// <param name="port">The port.</param>
    /// <param name="host">The host's address.</param>
    /// <param name="at">Its own MAC address, when it is on the link; null: the router's, when it is not.</param>
    /// <param name="actions">Where what is to be done is appended.</param>
    public void Announce(int port, IpAddress host, MacAddress? at, SlowPathActions actions)
    {
        if (!_ports.TryGetValue(port, out SlowPathPort? on)) return;
        MacAddress mac = at ?? on.Mac;
        if (host.IsV4) SendArp(on, new ArpPacket(ArpOperation.Request, mac, host, default, host), MacAddress.Broadcast, actions);
        else SendNeighbor(on, new NeighborMessage(Icmpv6Type.NeighborAdvertisement, host, mac, NeighborFlags.Override), on.LinkLocalAddress,
            Ipv6Addresses.AllNodes, Ipv6Addresses.MulticastMac(Ipv6Addresses.AllNodes), actions);
        AdvertisementsSent++;
    }

    // One step of one neighbour whose time is up.
    private void Advance(SlowPathPort port, Neighbor neighbor, long now, SlowPathActions actions)
    {
        switch (neighbor.State)
        {
            case NeighborState.Incomplete when neighbor.Attempts <= _options.Retries || neighbor.IsWatched:
                neighbor.Attempts = Math.Min(neighbor.Attempts, _options.Retries) + 1;
                Solicit(port, neighbor, unicast: false, now, actions);
                Schedule(neighbor, now + _options.RetryNs);
                break;
            case NeighborState.Reachable or NeighborState.Stale:
                BeginProbe(neighbor, now, actions);
                break;
            case NeighborState.Probe when neighbor.Attempts < _options.Retries:
                neighbor.Attempts++;
                // The last one goes to all: whoever has the address now may be at another MAC address.
                Solicit(port, neighbor, unicast: neighbor.Attempts < _options.Retries, now, actions);
                Schedule(neighbor, now + _options.RetryNs);
                break;
            case NeighborState.Probe when neighbor.IsWatched:
                SetState(neighbor, NeighborState.Incomplete);
                neighbor.Mac = null;
                actions.NeighborChanged(neighbor.Port, neighbor.Address, null, NeighborState.Incomplete);
                Schedule(neighbor, now + _options.FirstRetryNs);
                break;
            case NeighborState.Incomplete or NeighborState.Probe:
                SetState(neighbor, NeighborState.Failed);
                neighbor.Mac = null;
                actions.NeighborChanged(neighbor.Port, neighbor.Address, null, NeighborState.Failed);
                Schedule(neighbor, now + _options.FailedHoldNs);
                break;
            default:
                Remove(neighbor);
                actions.NeighborChanged(neighbor.Port, neighbor.Address, null, NeighborState.Incomplete);
                break;
        }
    }

    private void BeginProbe(Neighbor neighbor, long now, SlowPathActions actions)
    {
        SetState(neighbor, NeighborState.Probe);
        neighbor.Attempts = 1;
        actions.NeighborChanged(neighbor.Port, neighbor.Address, neighbor.Mac, NeighborState.Probe);
        Solicit(_ports[neighbor.Port], neighbor, unicast: true, now, actions);
        Schedule(neighbor, now + _options.RetryNs);
    }

    // Somebody was heard at a MAC address. confirmed: it answered us, so the way there and back works.
    private void Learn(Neighbor neighbor, MacAddress mac, bool confirmed, long now, SlowPathActions actions)
    {
        if (confirmed) Answered(neighbor, actions);
        bool moved = neighbor.Mac != mac;
        if (!moved && !confirmed) return; // says nothing new
        NeighborState before = neighbor.State;
        neighbor.Mac = mac;
        neighbor.ConfirmedAt = now;
        SetState(neighbor, confirmed ? NeighborState.Reachable : NeighborState.Stale);
        Schedule(neighbor, now + (confirmed ? Spread(neighbor.Address) : _options.DelayNs));
        if (moved || before != neighbor.State) actions.NeighborChanged(neighbor.Port, neighbor.Address, mac, neighbor.State);
    }

    // 0.5 to 1.5 of the reachable time, the same for the same neighbour: so that all are not probed at once (RFC 4861 6.3.2).
    private long Spread(IpAddress address)
        => (_options.ReachableNs / 2) + (long)(_options.ReachableNs * (FlowHash.Of(address, default, 0, 0) / 4294967296.0));

    private void Solicit(SlowPathPort port, Neighbor neighbor, bool unicast, long now, SlowPathActions actions)
    {
        IpAddress target = neighbor.Address;
        if (now - neighbor.AskedAt > UnansweredForNs) neighbor.Unanswered = 0;
        neighbor.Unanswered++;
        neighbor.AskedAt = now;
        MacAddress? mac = unicast ? neighbor.Mac : null;
        IpAddress source = port.SourceFor(target);
        SolicitationsSent++;
        if (target.IsV4)
        {
            SendArp(port, new ArpPacket(ArpOperation.Request, port.Mac, source, default, target), mac ?? MacAddress.Broadcast, actions);
            return;
        }

        if (source.IsNone) source = port.LinkLocalAddress;
        IpAddress to = mac is null ? Ipv6Addresses.SolicitedNode(target) : target;
        SendNeighbor(port, new NeighborMessage(Icmpv6Type.NeighborSolicitation, target, port.Mac), source, to, mac
            ?? Ipv6Addresses.MulticastMac(to), actions);
    }

    private static void SendArp(SlowPathPort port, ArpPacket packet, MacAddress to, SlowPathActions actions)
        => packet.Emit(Frame(port, to, EtherType.Arp, ArpPacket.Size, actions));

    private static void Advertise(SlowPathPort port, IpAddress target, IpAddress source, IpAddress to, MacAddress mac, NeighborFlags flags,
        SlowPathActions actions)
        => SendNeighbor(port, new NeighborMessage(Icmpv6Type.NeighborAdvertisement, target, port.Mac, flags), source, to, mac, actions);

    private static void SendNeighbor(SlowPathPort port, NeighborMessage message, IpAddress source, IpAddress to, MacAddress mac,
        SlowPathActions actions)
    {
        Span<byte> packet = Frame(port, mac, EtherType.Ipv6, Ipv6Header.Size + message.Length, actions);
        new Ipv6Header(source, to, IpProtocol.Icmpv6, HopLimit: 255, TrafficClass: InternetworkControl).Emit(packet, message.Length);
        message.Emit(packet[Ipv6Header.Size..], source, to);
    }

    private Neighbor? Add(int port, IpAddress address)
    {
        (int all, int incomplete) = _counts.GetValueOrDefault(port);
        if (all >= _options.MaxNeighborsPerPort || incomplete >= _options.MaxIncompletePerPort) return null;
        Neighbor neighbor = new(port, address);
        _neighbors.Add((port, address), neighbor);
        _counts[port] = (all + 1, incomplete + 1);
        return neighbor;
    }

    private void Remove(Neighbor neighbor)
    {
        _neighbors.Remove((neighbor.Port, neighbor.Address));
        (int all, int incomplete) = _counts[neighbor.Port];
        _counts[neighbor.Port] = (all - 1, incomplete - (IsUnresolved(neighbor.State) ? 1 : 0));
        neighbor.Deadline = long.MaxValue;
        _proofs.Remove((neighbor.Port, neighbor.Address));
    }

    private void SetState(Neighbor neighbor, NeighborState state)
    {
        int change = (IsUnresolved(state) ? 1 : 0) - (IsUnresolved(neighbor.State) ? 1 : 0);
        if (change != 0)
        {
            (int all, int incomplete) = _counts[neighbor.Port];
            _counts[neighbor.Port] = (all, incomplete + change);
        }

        neighbor.State = state;
    }

    private static bool IsUnresolved(NeighborState state) => state is NeighborState.Incomplete or NeighborState.Failed;

    private void ForgetNeighbors(int port, Predicate<IpAddress> keep, SlowPathActions actions)
    {
        foreach (Neighbor neighbor in _neighbors.Values.Where(n => n.Port == port && !keep(n.Address)).ToArray())
        {
            Remove(neighbor);
            actions.NeighborChanged(port, neighbor.Address, null, NeighborState.Incomplete);
        }
    }

    // A neighbour takes a new place in the queue only when it is due earlier than where it stands; when it is due later it moves
    // as it comes to the front. So confirming it again and again, however often, does not make the queue grow.
    private void Schedule(Neighbor neighbor, long deadline)
    {
        neighbor.Deadline = deadline;
        if (deadline >= neighbor.QueuedAt) return;
        neighbor.QueuedAt = deadline;
        _deadlines.Enqueue(neighbor, deadline);
    }

    // Afterwards the front of the queue, if any, is a neighbour at its deadline.
    private void DropOutdatedDeadlines()
    {
        while (_deadlines.TryPeek(out Neighbor? neighbor, out long place))
        {
            if (place == neighbor.Deadline && place == neighbor.QueuedAt) return;
            _deadlines.Dequeue();
            if (place != neighbor.QueuedAt) continue; // has moved forward since
            neighbor.QueuedAt = long.MaxValue;
            if (neighbor.Deadline != long.MaxValue) Schedule(neighbor, neighbor.Deadline);
        }
    }

    private sealed class Neighbor(int port, IpAddress address)
    {
        public int Port { get; } = port;

        public IpAddress Address { get; } = address;

        public MacAddress? Mac { get; set; }

        public NeighborState State { get; set; } = NeighborState.Incomplete;

        public int Attempts { get; set; }

        public long Deadline { get; set; } = long.MaxValue;

        public long QueuedAt { get; set; } = long.MaxValue;

        public bool IsWatched { get; set; }

        public long ConfirmedAt { get; set; }

        /// <summary>Solicitations that may still be answered.</summary>
        public int Unanswered { get; set; }

        /// <summary>When the last one was sent.</summary>
        public long AskedAt { get; set; }
    }
}
