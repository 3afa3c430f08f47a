using SdnEdge.Core.Bgp;
using SdnEdge.Core.Config;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Mirror;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Web;

namespace SdnEdge.Router.Control;

/// <summary>A VRF with its routes and its forwarding table.</summary>
internal sealed record VrfState(VrfConfig Config, Vrf Table, LocRib Rib, FibPublisher Publisher);

/// <summary>A port with its device.</summary>
internal sealed record PortState(PortConfig Config, PortEntry Entry, IFdPort Device, int Worker);

/// <summary>
/// Everything the control loop owns: ports, VRFs, routes, and the workers that use them. All methods run on the loop's thread
/// (or before it starts). A change of routes takes effect in the FIB with <see cref="Publish"/>, at the end of the round.
/// </summary>
internal sealed class PeState : IFibNames, ITimed, IDisposable
{
    private const long ReclaimEveryNs = 50_000_000;
    private const int RouteEventsARound = 16;

    private readonly ControlLoop _loop;
    private readonly PortDevices _devices;
    private readonly Dictionary<string, VrfState> _vrfs = [];
    private readonly Dictionary<string, PortState> _ports = [];
    private readonly HashSet<(string Vrf, IpPrefix Prefix)> _suppressed = [];
    private readonly HashSet<Adjacency> _nextHops = [], _watched = [];
    private readonly HashSet<(string Vrf, BgpPeerKey Pe)> _failedPes = [];
    private long _lastReclaim;
    private bool _graceFailed;

    public PeState(NodeConfig config, ControlLoop loop, EventLog events, PortDevices devices, IPeSteps steps)
    {
        (Config, _loop, Events, _devices, Steps) = (config, loop, events, devices, steps);
        Plane = new DataPlane(config.Workers);
        Workers = new WorkerPool(Plane, loop, steps.Punted, PortLost);
    }

    /// <summary>The configuration in force.</summary>
    public NodeConfig Config { get; set; }

    public EventLog Events { get; }

    public DataPlane Plane { get; }

    public WorkerPool Workers { get; }

    /// <summary>The router's own addresses.</summary>
    public RouteOrigin Local { get; } = new(RouteSource.Local, "local");

    /// <summary>Subnets of ports.</summary>
    public RouteOrigin Connected { get; } = new(RouteSource.Connected, "connected");

    /// <summary>Static routes.</summary>
    public RouteOrigin Static { get; } = new(RouteSource.Static, "static");

    /// <summary>Hosts on the links of subnets that other sites have too.</summary>
    public RouteOrigin Hosts { get; } = new(RouteSource.Neighbor, "neighbor");

    /// <summary>Servers that a migration brought here.</summary>
    public RouteOrigin Migrated { get; } = new(RouteSource.Migration, "migration");

    public IReadOnlyDictionary<string, VrfState> Vrfs => _vrfs;

    public IReadOnlyDictionary<string, PortState> Ports => _ports;

    /// <summary>The host port; null when there is none.</summary>
    public PortState? HostPort { get; private set; }

    /// <summary>Host ports that belong to one port's link, by that port.</summary>
    public Dictionary<string, PortState> LinkHosts { get; } = [];

    /// <summary>Host ports of VRFs other than the default one, by VRF.</summary>
    public Dictionary<string, PortState> VrfHosts { get; } = [];

    public Dictionary<string, Tunnel> Tunnels { get; } = [];

    public Dictionary<string, RedirectGroup> Groups { get; } = [];

    /// <summary>Tells a keeper what changes in the data plane; null: there is none.</summary>
    public MirrorSource? Mirror { get; init; }

    /// <summary>True while the keeper forwards: tables are filled, but no packet is received, and nobody is asked or probed.</summary>
    public bool IsStandby => Workers.IsSuspended;

    /// <summary>Another PE of the core has failed (true), or has not any more; the next hops say so already.</summary>
    public event Action<IpAddress, bool>? PeFailed;

    /// <summary>What other parts do at which moment.</summary>
    public IPeSteps Steps { get; }

    public VrfState Default => _vrfs[NodeConfig.DefaultVrf];

    public long NextDeadline => !_graceFailed && _vrfs.Values.Any(v => v.Publisher.HasRetired)
        ? _lastReclaim + ReclaimEveryNs : long.MaxValue;

    public PortEntry? Port(string name) => _ports.TryGetValue(name, out PortState? port) ? port.Entry : null;

    public Tunnel? Tunnel(string name) => Tunnels.GetValueOrDefault(name);

    public RedirectGroup? Group(string name) => Groups.GetValueOrDefault(name);

    public PortState? PortByIndex(int index) => _ports.Values.FirstOrDefault(p => p.Entry.Index == index)
        ?? (HostPort?.Entry.Index == index ? HostPort
            : LinkHosts.Values.Concat(VrfHosts.Values).FirstOrDefault(p => p.Entry.Index == index));

    public void AddVrf(VrfConfig config)
    {
        Vrf table = Plane.AddVrf(config.Name, config.Key);
        var state = new VrfState(config, table, new LocRib(config.Name, Config.Bgp.ResolveByDefault),
            new FibPublisher(table, this) { Mirror = Mirror });
        _vrfs.Add(config.Name, state);

        foreach ((string failedIn, BgpPeerKey pe) in _failedPes)
        {
            if (failedIn == NodeConfig.DefaultVrf) state.Rib.SetFailed(HopKind.Remote, pe, failed: true);
        }

        // In every VRF, so that a probe that comes out of a tunnel finds the router.
        foreach (IpAddress loopback in Config.Loopbacks)
            state.Rib.Offer(Local, new IpPrefix(loopback, loopback.BitLength), HopSpec.Local, null, _loop.Now);
    }

    /// <summary>Distinguisher or targets change; table and ports stay.</summary>
    public void ChangeVrf(VrfConfig config) => _vrfs[config.Name] = _vrfs[config.Name] with { Config = config };

    /// <summary>Takes a VRF away with its table.</summary>
    /// <exception cref="TimeoutException">A worker is stuck and may still read the table, which is kept; the VRF is gone all the
    /// same.</exception>
    public void RemoveVrf(string name)
    {
        VrfState state = _vrfs[name];
        _vrfs.Remove(name);
        Plane.RemoveVrf(state.Table);
        Workers.Grace();
        state.Table.Dispose();
    }

    /// <summary>Adds a port with its device, which was opened before: from now on its frames are received.</summary>
    public void AddPort(PortConfig config, IFdPort device)
    {
        _devices.Use(device);
        VrfState vrf = _vrfs[config.Vrf];
        var options = new PortOptions(config.Name, config.Mac ?? OwnMac(config.Name), config.Mtu)
        {
            Addresses = [.. config.Addresses.Select(a => new PortAddress(a.Address, a.Length))],
        };
        PortEntry entry = Plane.AddPort(options, device, vrf.Table);
        int worker = Workers.Attach(entry.Index, device);
        _ports.Add(config.Name, new PortState(config, entry, device, worker));
        OfferAddresses(config);
        RefreshHops();
        Events.Add(_loop.Now, "port", config.Name, "added", $"device {config.Device}, MTU {config.Mtu}");
        Fit(config, device);
    }

    public void AddHostPort(HostConfig config, IFdPort device, MacAddress kernel)
    {
        var options = new PortOptions("host", OwnMac("host"), config.Mtu) { IsHost = true };
        PortEntry entry = Plane.AddPort(options, device, Default.Table);
        int worker = Workers.Attach(entry.Index, device);
        Adjacency host = entry.Neighbors.GetOrAdd(Config.Loopbacks[0])!;
        host.Resolve(kernel, NeighborState.Permanent);
        DataPlane.SetHost(host);
        HostPort = new PortState(new PortConfig("host", config.Device, config.Mtu), entry, device, worker);
    }

    /// <summary>Adds the host port of one port's link.</summary>
    /// <param name="port">Name of that port.</param>
    /// <param name="device">The device.</param>
    /// <param name="kernel">MAC address of the kernel's end.</param>
    public PortState AddLinkHost(string port, TapPort device, MacAddress kernel)
    {
        PortEntry link = _ports[port].Entry;
        return LinkHosts[port] = AddKernel(device, kernel, _ports[port].Config.Mtu, link.Vrf, link.LinkLocal, link);
    }

    /// <summary>Adds the host port of a VRF.</summary>
    /// <param name="vrf">Its name.</param>
    /// <param name="device">The device.</param>
    /// <param name="kernel">MAC address of the kernel's end.</param>
    /// <param name="mtu">MTU of the device.</param>
    public PortState AddVrfHost(string vrf, TapPort device, MacAddress kernel, int mtu)
        => VrfHosts[vrf] = AddKernel(device, kernel, mtu, _vrfs[vrf].Table, Config.Loopbacks[0], null);

    /// <summary>Takes the host port of a link away; its device stays open.</summary>
    /// <exception cref="TimeoutException">A worker is stuck and may still use it.</exception>
    public void RemoveLinkHost(string port)
    {
        if (LinkHosts.Remove(port, out PortState? host)) RemoveKernel(host);
    }

    /// <summary>Takes the host port of a VRF away; its device stays open.</summary>
    /// <exception cref="TimeoutException">A worker is stuck and may still use it.</exception>
    public void RemoveVrfHost(string vrf)
    {
        if (VrfHosts.Remove(vrf, out PortState? host)) RemoveKernel(host);
    }

    /// <summary>Takes a port away and closes its device, unless another port goes on with that.</summary>
    /// <exception cref="TimeoutException">A worker is stuck and may still use the device, which stays open; the port is gone all the
    /// same.</exception>
    public void RemovePort(string name, bool keepDevice = false)
    {
        PortState port = _ports[name];
        Workers.Detach(port.Worker, port.Entry.Index);
        WithdrawAddresses(port.Config);
        _ports.Remove(name);
        RefreshHops();
        Publish(_loop.Now);
        Steps.PortGoes(port.Entry);
        Plane.RemovePort(port.Entry);
        Workers.Grace();
        if (!keepDevice) _devices.Close(port.Device);
        Events.Add(_loop.Now, "port", name, "removed");
    }

    /// <summary>Addresses or MTU change under traffic.</summary>
    public void ChangePort(PortConfig old, PortConfig next)
    {
        PortState port = _ports[old.Name];
        WithdrawAddresses(old);
        port.Entry.Mtu = next.Mtu;
        port.Entry.Addresses = [.. next.Addresses.Select(a => new PortAddress(a.Address, a.Length))];
        _ports[old.Name] = port with { Config = next };
        OfferAddresses(next);
        Events.Add(_loop.Now, "port", next.Name, "changed");
        Fit(next, port.Device);
    }

    private void Fit(PortConfig port, IFdPort device)
    {
        if (PortDevices.Fit(device, port.Mtu) is { } why) Events.Add(_loop.Now, "port", port.Name, "mtu-differs", why);
    }

    public void OfferStatic(StaticRouteConfig route)
    {
        if (_suppressed.Contains((route.Vrf, route.Prefix))) return;
        HopSpec hop = route.Discard ? HopSpec.Blackhole
            : route.Tunnel is { } tunnel ? HopSpec.Connected(FibPublisher.TunnelPort + tunnel)
            : route.Via is { } via ? (route.Port is { } through ? HopSpec.Via(via, through) : HopSpec.Via(via))
            : HopSpec.Connected(route.Port!);
        _vrfs[route.Vrf].Rib.Offer(Static, route.Prefix, hop, null, _loop.Now);
    }

    public void WithdrawStatic(StaticRouteConfig route)
    {
        if (_suppressed.Remove((route.Vrf, route.Prefix))) Steps.Reconfigured(route.Vrf, route.Prefix);
        _vrfs[route.Vrf].Rib.Withdraw(Static, route.Prefix, _loop.Now);
    }

    /// <summary>Takes this PE's own routes to a prefix out of use, whoever offered them, until <see cref="Restore"/>.</summary>
    public void Suppress(string vrf, IpPrefix prefix)
    {
        _suppressed.Add((vrf, prefix));
        LocRib rib = _vrfs[vrf].Rib;
        foreach (RouteOrigin origin in (ReadOnlySpan<RouteOrigin>)[Static, Migrated, Connected, Hosts])
            rib.Withdraw(origin, prefix, _loop.Now);
    }

    /// <summary>True between <see cref="Suppress"/> and <see cref="Restore"/>.</summary>
    public bool IsSuppressed(string vrf, IpPrefix prefix) => _suppressed.Contains((vrf, prefix));

    /// <summary>Lets configured routes to a prefix be used again.</summary>
    public void Restore(string vrf, IpPrefix prefix)
    {
        if (!_suppressed.Remove((vrf, prefix))) return;
        foreach (StaticRouteConfig route in Config.Static)
        {
            if (route.Vrf == vrf && route.Prefix == prefix) OfferStatic(route);
        }

        foreach (PortConfig port in Config.Ports)
        {
            if (port.Vrf == vrf && port.Addresses.Any(a => a.Subnet == prefix)) OfferAddresses(port);
        }
    }

    /// <summary>Computes every next hop again: a port, tunnel or group that one names has come or gone.</summary>
    public void RefreshHops()
    {
        foreach (VrfState vrf in _vrfs.Values) vrf.Publisher.RefreshHops(vrf.Rib.NextHops);
    }

    /// <summary>
    /// Another PE, or a CE, has failed, or has not any more: what has a backup goes by it at once, by one store for each pair of next hops
    /// and not at the end of the round (<see cref="LocRib.SetFailed"/>). A PE of the core is the far end of customers' tunnels, too.
    /// </summary>
    /// <param name="vrf">The VRF in which its address is.</param>
    /// <param name="pe">Its address, as next hops have it.</param>
    /// <param name="failed">Whether it has failed.</param>
    /// <param name="why">For people.</param>
    public void SetFailed(string vrf, BgpPeerKey pe, bool failed, string why)
    {
        if (!(failed ? _failedPes.Add((vrf, pe)) : _failedPes.Remove((vrf, pe)))) return;
        bool core = vrf == NodeConfig.DefaultVrf;
        int hops = 0;
        foreach (VrfState state in _vrfs.Values)
        {
            bool here = state.Config.Name == vrf;
            if (!here && !core) continue;
            IReadOnlyList<NextHop> changed = state.Rib.SetFailed(here ? HopKind.Via : HopKind.Remote, pe, failed);
            state.Publisher.Flip(changed);
            hops += changed.Count;
        }

        if (core) PeFailed?.Invoke(pe.Address, failed);

        Events.Add(_loop.Now, "route", pe.ToString(), failed ? "pe-failed" : "pe-back", $"vrf {vrf}: {hops} next hops: {why}");
    }

    /// <summary>True while a PE is marked as failed.</summary>
    public bool IsFailed(string vrf, BgpPeerKey pe) => _failedPes.Contains((vrf, pe));

    /// <summary>Carries what has changed in the RIBs into the FIBs, now and not at the end of the round.</summary>
    public void Publish(long now) => Steps.Publish(now);

    // Next hops are solicited when a route names them, not when the first packet comes: over a WAN an answer takes a round
    // trip, and traffic that moves here all at once fills more than the neighbour's queue in that time.
    public void WatchNextHops()
    {
        _nextHops.Clear();
        foreach (VrfState vrf in _vrfs.Values)
        {
            foreach (NextHop hop in vrf.Rib.NextHops)
            {
                if (hop.Resolved is { Kind: HopKind.Via, Port: { } name } to && Port(name) is { } port
                    && port.Neighbors.GetOrAdd(to.Address) is { } adjacency)
                    _nextHops.Add(adjacency);
            }
        }

        _watched.RemoveWhere(adjacency =>
        {
            if (_nextHops.Contains(adjacency)) return false;
            Steps.NextHopUnwanted(adjacency);
            return true;
        });
        foreach (Adjacency adjacency in _nextHops)
        {
            if (!_watched.Contains(adjacency) && Steps.NextHopWanted(adjacency)) _watched.Add(adjacency);
        }
    }

    /// <summary>Tells the keeper all leaves and prefixes.</summary>
    public void MirrorPrefixes()
    {
        foreach (VrfState vrf in _vrfs.Values) vrf.Publisher.MirrorAll(vrf.Rib.BestRoutes());
    }

    /// <summary>Frees what was taken out of the tables, after a grace period.</summary>
    public void Poll(long now)
    {
        _lastReclaim = now;
        try
        {
            Workers.Grace();
        }
        catch (TimeoutException)
        {
            // A stuck worker may still read what we would free: keep it all from now on, and say so.
            _graceFailed = true;
            throw;
        }

        foreach (VrfState vrf in _vrfs.Values) vrf.Publisher.Reclaim();
    }

    public void Dispose()
    {
        Workers.Dispose();
        foreach (PortState port in _ports.Values) port.Device.Dispose();
        HostPort?.Device.Dispose();
        foreach (PortState host in LinkHosts.Values.Concat(VrfHosts.Values)) host.Device.Dispose();
        foreach (Hold hold in Plane.Holds) hold.Dispose();
        foreach (VrfState vrf in _vrfs.Values) vrf.Table.Dispose();
    }

    private PortState AddKernel(TapPort device, MacAddress kernel, int mtu, Vrf vrf, IpAddress address, PortEntry? link)
    {
        var options = new PortOptions(device.Name, OwnMac(device.Name), mtu) { IsHost = true, Link = link };
        PortEntry entry = Plane.AddPort(options, device, vrf);
        int worker = Workers.Attach(entry.Index, device);
        Adjacency host = entry.Neighbors.GetOrAdd(address)!;
        host.Resolve(kernel, NeighborState.Permanent);
        DataPlane.SetHost(host);
        return new PortState(new PortConfig(device.Name, device.Device, mtu), entry, device, worker);
    }

    private void RemoveKernel(PortState host)
    {
        Workers.Detach(host.Worker, host.Entry.Index);
        Steps.PortGoes(host.Entry);
        Plane.RemovePort(host.Entry);
        Workers.Grace();
    }

    private void OfferAddresses(PortConfig port)
    {
        LocRib rib = _vrfs[port.Vrf].Rib;
        foreach (InterfaceAddress address in port.Addresses)
        {
            rib.Offer(Local, new IpPrefix(address.Address, address.Address.BitLength), HopSpec.Local, null, _loop.Now);
            if (address.Length < address.Address.BitLength && !_suppressed.Contains((port.Vrf, address.Subnet)))
                rib.Offer(Connected, address.Subnet, HopSpec.Connected(port.Name), null, _loop.Now);
        }
    }

    private void WithdrawAddresses(PortConfig port)
    {
        LocRib rib = _vrfs[port.Vrf].Rib;
        foreach (InterfaceAddress address in port.Addresses)
        {
            rib.Withdraw(Local, new IpPrefix(address.Address, address.Address.BitLength), _loop.Now);
            rib.Withdraw(Connected, address.Subnet, _loop.Now);
        }
    }

    /// <inheritdoc cref="NodeConfig.OwnMac"/>
    public MacAddress OwnMac(string port) => Config.OwnMac(port);

    private void PortLost(int index)
    {
        if (PortByIndex(index) is not { } port) return;
        port.Entry.Up = false;
        Events.Add(_loop.Now, "port", port.Config.Name, "down", $"device {port.Config.Device} is gone");
    }

    /// <summary>Events of changed routes: all next hops, and some of the prefixes.</summary>
    public void Report(VrfState vrf, ReadOnlySpan<RibChange> changes, long now)
    {
        int told = 0;
        foreach (ref readonly RibChange change in changes)
        {
            if (change.ChangedHop is { } hop)
            {
                Events.Add(now, "route", hop.Spec.ToString(), "next-hop", $"{hop.Resolved}{(hop.Failed ? ", failed" : "")}");
                continue;
            }

            if (++told > RouteEventsARound) continue;
            string group = change.Redirect is { } redirect ? $", under group {redirect.Spec.GroupName}" : "";
            Events.Add(now, "route", change.Prefix.ToString(), change.Native is null && change.Redirect is null ? "removed" : "installed",
                $"vrf {vrf.Config.Name}: {change.Native?.Resolved.ToString() ?? "no route"}{group} ({change.Origin?.Name ?? "none"})");
        }

        if (told > RouteEventsARound)
            Events.Add(now, "route", vrf.Config.Name, "more", $"{told - RouteEventsARound} more prefixes changed");
    }
}
