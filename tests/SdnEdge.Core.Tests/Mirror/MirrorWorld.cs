using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Mirror;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;

namespace SdnEdge.Core.Tests.Mirror;

/// <summary>
/// A data plane that changes at random, as a control loop would change it, told to a source; and what a mirror must answer:
/// for an address, in words, what happens to a packet to it.
/// </summary>
internal sealed class MirrorWorld : IDisposable
{
    private readonly Random _random;
    private readonly List<(Vrf Vrf, uint Index, FibLeaf Leaf)> _leaves = [];
    private readonly Dictionary<(Vrf Vrf, IpPrefix Prefix), uint> _prefixes = [];
    private readonly List<Tunnel> _tunnels = [];
    private readonly List<RedirectGroup> _groups = [];
    private readonly List<PortEntry> _ports = [];
    private readonly List<Vrf> _vrfs = [];
    private int _names;

    public MirrorWorld(int seed, IMirrorSink sink)
    {
        _random = new Random(seed);
        Source = new MirrorSource(sink);
        _vrfs.Add(Plane.AddVrf("default"));
        AddPort();
        AddPort();
        Adjacency host = _ports[0].Neighbors.GetOrAdd(IpAddress.Parse("10.255.0.1"))!;
        host.Resolve(new MacAddress(0x02_0000_0000_01), NeighborState.Permanent);
        DataPlane.SetHost(host);
    }

    public DataPlane Plane { get; } = new(1);

    public MirrorSource Source { get; }

    public void Full() => Source.Full(Plane, [IpAddress.Parse("10.255.0.1"), IpAddress.Parse("fd00:ff::1")], () =>
    {
        foreach ((Vrf vrf, uint index, FibLeaf leaf) in _leaves) Source.Leaf(vrf, index, leaf);
        foreach (((Vrf vrf, IpPrefix prefix), uint leaf) in _prefixes) Source.Prefix(vrf, prefix, leaf);
    });

    /// <summary>One change, and what the control loop does after a round.</summary>
    public void Step()
    {
        switch (_random.Next(16))
        {
            case 0 when _vrfs.Count < 4:
                _vrfs.Add(Plane.AddVrf($"vrf{++_names}", (uint)_random.Next(100)));
                break;
            case 1 when _ports.Count < 8:
                AddPort();
                break;
            case 2:
                PortEntry port = Any(_ports);
                port.Mtu = _random.Next(1280, 9217);
                port.Up = _random.Next(4) != 0;
                port.Addresses = [new PortAddress(Address(), 24)];
                break;
            case 3 when _tunnels.Count < 6:
                string name = $"t{++_names}";
                _tunnels.Add(Plane.AddTunnel(new TunnelOptions(name, IpAddress.Parse("10.255.0.1"),
                    IpAddress.FromV4(0x0AFF0000u + (uint)_names), (uint)_names) { IsRedirect = _random.Next(2) == 0, Mtu = 1400 },
                    Any(_vrfs), _vrfs[0]));
                break;
            case 4 when _tunnels.Count > 0:
                Tunnel changed = Any(_tunnels);
                (changed.Up, changed.PathMtu) = (_random.Next(2) == 0, 1400 * _random.Next(2));
                break;
            case 5:
                var group = new RedirectGroup($"g{++_names}", "default", 1);
                if (_groups.Count < 4) _groups.Add(group);
                break;
            case 6 when _groups.Count > 0 && _tunnels.Count > 0:
                RedirectGroup moving = Any(_groups);
                switch (_random.Next(3))
                {
                    case 0:
                        moving.Arm(ForwardingDecision.Through(Any(_tunnels)));
                        moving.Switch();
                        break;
                    case 1:
                        moving.Release(null);
                        break;
                    default:
                        moving.SwitchBack();
                        break;
                }

                break;
            case 7 or 8:
                Adjacency neighbor = Neighbor();
                if (_random.Next(4) == 0) neighbor.Fail();
                else neighbor.Resolve(new MacAddress(0x02_0000_0001_00 + (ulong)_random.Next(100)));
                Source.Neighbor(neighbor);
                break;
            case 9 when _leaves.Count > 0:
                IndirectNextHop slot = Any(_leaves).Leaf.Hop;
                slot.Current = Decision();
                Source.HopChanged(slot);
                break;
            case 10 when _prefixes.Count > 0:
                (Vrf Vrf, IpPrefix Prefix) gone = _prefixes.Keys.ElementAt(_random.Next(_prefixes.Count));
                _prefixes.Remove(gone);
                gone.Vrf.Remove(gone.Prefix);
                Source.PrefixGone(gone.Vrf, gone.Prefix);
                break;
            case 11:
                FreeUnused();
                break;
            case 12 when _vrfs.Count > 1:
                RemoveVrf(_vrfs[_random.Next(1, _vrfs.Count)]);
                break;
            default:
                if (_leaves.Count < 40) AddLeaf();
                for (int i = 0; i < 5; i++) SetPrefix();
                break;
        }

        Source.Scan(Plane);
    }

    /// <summary>An address that some prefix covers, mostly.</summary>
    public IpAddress Address() => _random.Next(3) == 0
        ? IpAddress.FromV6(((UInt128)0xFD00 << 112) | ((UInt128)_random.Next(8) << 64) | (UInt128)_random.Next(64))
        : IpAddress.FromV4(0x0A000000u | (uint)_random.Next(1 << 12));

    /// <summary>What a plane does with a packet to an address, in words that name no object.</summary>
    public static string Answer(Vrf vrf, IpAddress address) => vrf.Lookup(address) is not { } leaf ? "no route"
        : $"{Words(leaf.Hop.Current)}, group {leaf.Group?.Name}: "
            + $"{Words(leaf.Group?.Active.ForTunnelArrivals)}/{Words(leaf.Group?.Active.ForOthers)}, attached {Words(leaf.AttachedHop)}";

    /// <summary>All that is not a prefix, in words.</summary>
    public static string Rest(DataPlane plane) => string.Join('\n', plane.Ports.Where(p => p is not null)
            .Select(p => $"{p!.Name} {p.Vrf.Name} {p.Mac} {p.Mtu} {p.Up} {string.Join(' ', p.Addresses)}: "
                + string.Join(' ', p.Neighbors.Snapshot().Where(n => n.Mac is not null).OrderBy(n => n.Address)
                .Select(n => $"{n.Address}={n.Mac}")))
            .Concat(plane.Tunnels.Select(t => $"{t.Options} {t.Vrf.Name} {t.Underlay.Name} {t.Up} {t.PathMtu}")
                .Order(StringComparer.Ordinal))
            .Concat(plane.Vrfs.Where(v => v?.Host is not null).Select(v => $"host of {v!.Name} {v.Host!.Address} {v.Host.Mac}"))
            .Concat(plane.Ports.Where(p => p?.Host is not null).Select(p => $"host of {p!.Name} {p.Host!.Address} {p.Host.Mac}")));

    public void Dispose()
    {
        foreach (Vrf vrf in _vrfs) vrf.Dispose();
    }

    private static string Words(ForwardingDecision? decision) => decision is null ? "native"
        : decision.Kind == ForwardingKind.Via ? $"{decision} {decision.Adjacency!.Mac} {decision.RemotePe}" : decision.ToString();

    private void AddPort()
    {
        string name = $"p{++_names}";
        PortEntry? link = _ports.Count > 2 && _random.Next(2) == 0 ? Any(_ports) : null;
        PortEntry port = Plane.AddPort(
            new PortOptions(name, new MacAddress(0x02_0000_0002_00 + (ulong)_names), 1500) { IsHost = link is not null, Link = link },
            new MemoryPort(name), link?.Vrf ?? Any(_vrfs));
        _ports.Add(port);
        if (link is null) return;
        Adjacency kernel = port.Neighbors.GetOrAdd(link.LinkLocal)!;
        kernel.Resolve(new MacAddress(0x02_0000_0003_00 + (ulong)_names), NeighborState.Permanent);
        DataPlane.SetHost(kernel);
        Source.Neighbor(kernel);
    }

    private void AddLeaf()
    {
        Vrf vrf = Any(_vrfs);
        var leaf = new FibLeaf(_random.Next(3) > 0 && _leaves.Count > 0 ? Any(_leaves).Leaf.Hop : new IndirectNextHop(Decision()),
            _groups.Count > 0 && _random.Next(3) == 0 ? Any(_groups) : null)
        {
            AttachedHop = _random.Next(3) == 0 ? ForwardingDecision.Connected(Any(_ports)) : null,
        };
        uint index = vrf.AddLeaf(leaf);
        _leaves.Add((vrf, index, leaf));
        Source.Leaf(vrf, index, leaf);
    }

    private void SetPrefix()
    {
        if (_leaves.Count == 0) return;
        (Vrf vrf, uint index, _) = Any(_leaves);
        IpAddress address = Address();
        var prefix = new IpPrefix(address, address.IsV4 ? _random.Next(20, 33) : _random.Next(48, 129));
        vrf.Set(prefix, index);
        _prefixes[(vrf, prefix)] = index;
        Source.Prefix(vrf, prefix, index);
    }

    private void FreeUnused()
    {
        foreach ((Vrf Vrf, uint Index, FibLeaf Leaf) leaf in _leaves.ToArray())
        {
            if (_prefixes.Any(p => p.Key.Vrf == leaf.Vrf && p.Value == leaf.Index)) continue;
            _leaves.Remove(leaf);
            leaf.Vrf.FreeLeaf(leaf.Index);
            Source.LeafGone(leaf.Vrf, leaf.Index);
        }
    }

    private void RemoveVrf(Vrf vrf)
    {
        if (_ports.Any(p => p.Vrf == vrf) || _tunnels.Any(t => t.Vrf == vrf)) return;
        _leaves.RemoveAll(l => l.Vrf == vrf);
        foreach ((Vrf Vrf, IpPrefix Prefix) key in _prefixes.Keys.Where(k => k.Vrf == vrf).ToArray()) _prefixes.Remove(key);
        _vrfs.Remove(vrf);
        Plane.RemoveVrf(vrf);
        vrf.Dispose();
    }

    private Adjacency Neighbor() => Any(_ports).Neighbors.GetOrAdd(Address())!;

    private ForwardingDecision Decision() => _random.Next(7) switch
    {
        0 => ForwardingDecision.Local,
        1 => ForwardingDecision.Blackhole,
        2 => ForwardingDecision.Unreachable,
        3 => ForwardingDecision.Connected(Any(_ports)),
        4 when _tunnels.Count > 0 => ForwardingDecision.Through(Any(_tunnels)),
        5 => ForwardingDecision.Via(Neighbor(), IpAddress.FromV4(0x0AFF0002)),
        _ => ForwardingDecision.Via(Neighbor()),
    };

    private T Any<T>(List<T> list) => list[_random.Next(list.Count)];
}
