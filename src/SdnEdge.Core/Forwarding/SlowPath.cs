using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>A port as the slow path sees it. Immutable; a changed port is set anew with <see cref="SlowPath.SetPort"/>.</summary>
/// <param name="Index">Index of the port in the data plane.</param>
/// <param name="Vrf">VRF of the port.</param>
/// <param name="Mac">The router's MAC address on it.</param>
public sealed record SlowPathPort(int Index, int Vrf, MacAddress Mac)
{
    private readonly (IpAddress Address, int PrefixLength)[] _addresses = []; // an array: walking it allocates nothing

    /// <summary>The router's addresses on the port, each with the prefix length of its subnet.</summary>
    public IReadOnlyList<(IpAddress Address, int PrefixLength)> Addresses
    {
        get => _addresses;
        init => _addresses = [.. value];
    }

    /// <summary>IPv6 link-local address of the port; null = derived from the MAC address (RFC 4291 appendix A).</summary>
    public IpAddress? LinkLocal { get; init; }

    /// <summary>802.1Q VLAN identifier, 1 to 4094; 0 = untagged.</summary>
    public int Vlan { get; init; }

    /// <summary>
    /// True: answers ARP requests and solicitations for any address (RFC 1027). For the port to the router's own kernel, whose
    /// default route points at the data plane.
    /// </summary>
    public bool AnswersForAll { get; init; }

    /// <summary>Longest time between router advertisements, ns, 3 s and more; 0: none is sent, and others' are ignored.</summary>
    public long AdvertiseEveryNs { get; init; }

    /// <summary>The slow path's picture of a port of the data plane, as it is now.</summary>
    public static SlowPathPort From(PortEntry port) => new(port.Index, port.Vrf.Index, port.Mac)
    {
        Addresses = [.. port.Addresses.Select(a => (a.Address, a.PrefixLength))],
        LinkLocal = port.LinkLocal,
        Vlan = port.Options.Vlan,
        AnswersForAll = port.IsHost,
    };

    internal IpAddress LinkLocalAddress => LinkLocal ?? Ipv6Addresses.LinkLocal(Mac);

    internal bool Owns(IpAddress address)
    {
        foreach ((IpAddress own, _) in _addresses)
        {
            if (own == address) return true;
        }

        return address.IsV6 && address == LinkLocalAddress;
    }

    /// <summary>True when the address is on one of the port's subnets.</summary>
    internal bool IsOnLink(IpAddress address)
    {
        if (address.IsV6 && address.IsLinkLocal) return true;
        foreach ((IpAddress own, int length) in _addresses)
        {
            if (own.Family == address.Family && new IpPrefix(own, length).Contains(address)) return true;
        }

        return false;
    }

    /// <summary>True for the broadcast addresses of the port's IPv4 subnets, all ones and all zeros (RFC 1812 4.2.3.1).</summary>
    internal bool IsDirectedBroadcast(IpAddress address)
    {
        if (!address.IsV4) return false;
        foreach ((IpAddress own, int length) in _addresses)
        {
            if (!own.IsV4 || length > 30) continue; // /31 and /32 have no broadcast address (RFC 3021)
            uint host = uint.MaxValue >> length;
            if ((address.V4 | host) == (own.V4 | host) && ((address.V4 & host) == host || (address.V4 & host) == 0)) return true;
        }

        return false;
    }

    /// <summary>The router's address to speak with on this link: of the subnet of <paramref name="peer"/> if there is one; none if there is
    /// none of its family.</summary>
    internal IpAddress SourceFor(IpAddress peer)
    {
        IpAddress first = default;
        foreach ((IpAddress own, int length) in _addresses)
        {
            if (own.Family != peer.Family) continue;
            if (own.IsV6 && own.IsLinkLocal) continue;
            if (new IpPrefix(own, length).Contains(peer)) return own;
            if (first.IsNone) first = own;
        }

        return peer.IsV6 && peer.IsLinkLocal ? LinkLocalAddress : first;
    }
}

/// <summary>Times and rates of the slow path. Times in nanoseconds.</summary>
public sealed record SlowPathOptions
{
    /// <summary>How long a confirmed neighbour counts as reachable; spread by 0.5 to 1.5 over neighbours (RFC 4861 6.3.2). 30 s.</summary>
    public long ReachableNs { get; init; } = 30_000_000_000;

    /// <summary>How long a neighbour heard of, but not confirmed, is used before it is probed (RFC 4861 DELAY_FIRST_PROBE_TIME). 5
    /// s.</summary>
    public long DelayNs { get; init; } = 5_000_000_000;

    /// <summary>Wait after the first solicitation. Short, so that a lost first frame costs little. 100 ms.</summary>
    public long FirstRetryNs { get; init; } = 100_000_000;

    /// <summary>Wait after each further solicitation (RFC 4861 RETRANS_TIMER; RFC 1122 2.3.2.1: at most one a second). 1 s.</summary>
    public long RetryNs { get; init; } = 1_000_000_000;

    /// <summary>Repetitions of the first solicitation before the neighbour has failed, also of the probe of a stale one. 3.</summary>
    public int Retries { get; init; } = 3;

    /// <summary>How long a failed neighbour is left alone, unless it speaks up or is resolved by force. 1 s.</summary>
    public long FailedHoldNs { get; init; } = 1_000_000_000;

    /// <summary>Most neighbours on a port.</summary>
    public int MaxNeighborsPerPort { get; init; } = 8192;

    /// <summary>Most unresolved neighbours on a port, so that a scan cannot crowd out those that exist (RFC 6583).</summary>
    public int MaxIncompletePerPort { get; init; } = 2048;

    /// <summary>Rate of each class of ICMP errors (unreachable, too big, time exceeded), messages a second. 1000.</summary>
    public int ErrorsPerSecond { get; init; } = 1000;

    /// <summary>Burst of each class of ICMP errors. 100.</summary>
    public int ErrorBurst { get; init; } = 100;

    /// <summary>Rate of echo replies a second. 10000.</summary>
    public int EchoesPerSecond { get; init; } = 10_000;

    /// <summary>Burst of echo replies. 1000.</summary>
    public int EchoBurst { get; init; } = 1000;
}

/// <summary>What became of what the slow path was given. Each has a counter.</summary>
public enum SlowPathVerdict : byte
{
    /// <summary>A reply or an error is to be sent.</summary>
    Answered,
    /// <summary>Taken note of; nothing to send.</summary>
    Noted,
    /// <summary>Sound, but nothing for a router to do.</summary>
    Ignored,
    /// <summary>Truncated or contradicts its RFC.</summary>
    Malformed,
    /// <summary>Neighbour discovery with a hop limit other than 255, or out of a tunnel: it came over a router (RFC 4861 7.1).</summary>
    BadHopLimit,
    /// <summary>ICMP checksum wrong.</summary>
    BadChecksum,
    /// <summary>Somebody else uses an address of ours (RFC 5227 2.4).</summary>
    AddressConflict,
    /// <summary>No room for another neighbour.</summary>
    TableFull,
    /// <summary>The token bucket of its class is empty.</summary>
    RateLimited,
    /// <summary>No error about an ICMP error or redirect.</summary>
    AboutIcmpError,
    /// <summary>No error about a packet to a multicast or broadcast address, of layer 3 or 2.</summary>
    AboutMulticast,
    /// <summary>No error about a fragment other than the first (IPv4).</summary>
    AboutLaterFragment,
    /// <summary>No error to a source that is no single host.</summary>
    AboutBadSource,
    /// <summary>The router has no address to speak with.</summary>
    NoSourceAddress,
    /// <summary>A fragment for the router itself: it does not reassemble.</summary>
    Fragment,
    /// <summary>The port is not known.</summary>
    UnknownPort,
}

/// <summary>
/// The part of the router that speaks for itself: ARP, neighbour discovery, ICMP echo and ICMP errors. Pure: it is given what
/// the forwarder punted and the time, and returns what to send and whom to learn.
/// <list type="number">
/// <item><see cref="SetPort"/> says which ports there are.</item>
/// <item>A punted packet goes to <see cref="Arp"/>, <see cref="NeighborDiscovery"/>, <see cref="LocalIcmp"/>,
/// <see cref="Error"/> or <see cref="Resolve"/>; <see cref="Handle"/> picks the one for a <see cref="PuntInfo"/>.</item>
/// <item><see cref="Poll"/> at or after <see cref="NextDeadline"/> sends what is due: retries, probes, failures, router
/// advertisements.</item>
/// </list>
/// Not thread safe: the control loop owns it. Nothing it is given makes it throw.
/// <para>It does not reassemble fragments sent to the router, does not send ICMP redirects, and ignores those of others (RFC 4861
/// 8.2: a router never obeys a redirect).</para>
/// </summary>
public sealed partial class SlowPath
{
    private readonly SlowPathOptions _options;
    private readonly Dictionary<int, SlowPathPort> _ports = [];
    private readonly Dictionary<int, List<IpAddress>> _fallback = [];
    private readonly long[] _verdicts = new long[Enum.GetValues<SlowPathVerdict>().Length];

    /// <summary>Makes a slow path without ports.</summary>
    public SlowPath(SlowPathOptions? options = null)
    {
        _options = options ?? new SlowPathOptions();
        _unreachables = _tooBigs = _timeExceededs = _pathMtus = new TokenBucket(_options.ErrorsPerSecond, _options.ErrorBurst);
        _echoes = new TokenBucket(_options.EchoesPerSecond, _options.EchoBurst);
    }

    /// <summary>
    /// Whether a host of a port's own subnet is not on that link, by its index and the host's address: the router answers ARP and ND in its
    /// place. Null: all are where they belong.
    /// </summary>
    public Func<int, IpAddress, bool>? IsElsewhere { get; init; }

    /// <summary>How often a verdict was given.</summary>
    public long Count(SlowPathVerdict verdict) => _verdicts[(int)verdict];

    /// <summary>Adds a port, or replaces the one with its index. Neighbours that are on no subnet of it any more are forgotten.</summary>
    public void SetPort(SlowPathPort port, SlowPathActions actions)
    {
        _ports[port.Index] = port;
        SetAdvertiser(port);
        ForgetNeighbors(port.Index, address => port.IsOnLink(address), actions);
    }

    /// <summary>Takes a port out, and its neighbours with it.</summary>
    public void RemovePort(int index, SlowPathActions actions)
    {
        _advertisers.Remove(index);
        if (_ports.Remove(index)) ForgetNeighbors(index, _ => false, actions);
    }

    /// <summary>
    /// Addresses the router speaks with in a VRF where the ingress port has none of the right family: its loopbacks.
    /// </summary>
    public void SetLoopbacks(int vrf, IEnumerable<IpAddress> addresses) => _fallback[vrf] = [.. addresses];

    /// <summary>Gives a punted packet to the part that answers it. Tunnel probe replies are not for the slow path: they are
    /// ignored.</summary>
    /// <param name="info">What the forwarder says about it.</param>
    /// <param name="frame">The frame, from its first stripped header on.</param>
    /// <param name="now">Nanoseconds.</param>
    /// <param name="actions">Where what is to be done is appended.</param>
    public SlowPathVerdict Handle(in PuntInfo info, ReadOnlySpan<byte> frame, long now, SlowPathActions actions)
    {
        int l3 = info.L3Offset;
        // What is true on one link only must have come over that link: hop limit 255 inside a tunnel proves nothing.
        if (info.Tunnel is not null && info.Reason is (PuntReason.Arp or PuntReason.Nd)) return Tally(SlowPathVerdict.BadHopLimit);
        return info.Reason switch
        {
            PuntReason.Arp => Arp(info.Port, frame, l3, now, actions),
            PuntReason.Nd => NeighborDiscovery(info.Port, frame, l3, now, actions),
            PuntReason.LocalIcmp => LocalIcmp(info.Port, AnswerVrfOf(info, frame), frame, l3, now, actions),
            PuntReason.TtlExpired => Error(IcmpErrorKind.TimeExceeded, info.Port, info.Vrf, frame, l3, 0, now, actions),
            PuntReason.TooBig => Error(IcmpErrorKind.TooBig, info.Port, info.Vrf, frame, l3, info.Mtu, now, actions),
            PuntReason.NoRoute => Error(IcmpErrorKind.NoRoute, info.Port, info.Vrf, frame, l3, 0, now, actions),
            PuntReason.Unreachable => Error(IcmpErrorKind.HostUnreachable, info.Port, info.Vrf, frame, l3, 0, now, actions),
            PuntReason.NoListener => Error(IcmpErrorKind.NoListener, info.Port, info.Vrf, frame, l3, 0, now, actions),
            PuntReason.NeighborNeeded when info.Adjacency is { } adjacency => Resolve(info.Port, adjacency.Address, now, actions),
            _ => Tally(SlowPathVerdict.Ignored),
        };
    }

    // What the far end of a tunnel sends to this end through it, such as a probe, is answered where both ends are: among a customer's
    // routes there is none to it.
    private static int AnswerVrfOf(in PuntInfo info, ReadOnlySpan<byte> frame)
        => info.Tunnel is { } tunnel && (uint)info.L3Offset <= (uint)frame.Length
            && IpPacketView.TryParse(frame[info.L3Offset..], out IpPacketView ip)
            && ip.Source == tunnel.Options.Remote && ip.Destination == tunnel.Options.Local ? tunnel.Underlay.Index : info.Vrf;

    private SlowPathVerdict Tally(SlowPathVerdict verdict)
    {
        _verdicts[(int)verdict]++;
        return verdict;
    }

    // Writes the Ethernet header of a frame to be sent on the port; returns where its payload goes.
    private static Span<byte> Frame(SlowPathPort port, MacAddress to, ushort type, int payload, SlowPathActions actions)
    {
        EthernetHeader header = new(to, port.Mac, type, port.Vlan == 0 ? null : (ushort)port.Vlan);
        Span<byte> frame = actions.SendFrame(port.Index, header.Length + payload);
        return frame[header.Emit(frame)..];
    }
}
