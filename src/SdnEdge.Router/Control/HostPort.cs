using Microsoft.Win32.SafeHandles;
using SdnEdge.Core.Config;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Bgp;
using SdnEdge.Router.Keeper;

namespace SdnEdge.Router.Control;

/// <summary>
/// The PE's own kernel behind the data plane: the host ports, and the addresses that the kernel has there (decision 0024). In the default
/// VRF these are the loopbacks and the addresses of all its ports, so that TCP, UDP and what else the data plane does not answer itself
/// find the same stack at each: a listener, a reset, an ICMP error.
/// <list type="number">
/// <item>At start the device is opened and configured; one that the process before us had is left as it is, but for its
/// addresses.</item>
/// <item>A reload adds what the new configuration needs before anything is committed, and takes away the rest when sessions that ended have
/// had time to say so.</item>
/// <item>A port with a link-local BGP or BFD peer has a device of its own there, since every link may have the same link-local
/// addresses.</item>
/// <item>A VRF with BGP or BFD peers has a device with the addresses of its ports in a network namespace of its own, which has no name and
/// goes with the device: addresses of VRFs may be the same, and nothing that a kernel says in one may leave by another.</item>
/// </list>
/// </summary>
/// <param name="state">Has the ports.</param>
/// <param name="slowPath">Answers on them.</param>
/// <param name="keeper">Keeps the devices over a crash; null: there is none.</param>
/// <param name="open">Opens the device in place of a TAP that is configured with <c>ip</c>; null: such a one.</param>
internal sealed class HostPort(
    PeState state, SlowPathDriver slowPath, ControlLoop loop, KeeperLink? keeper, Func<NodeConfig, MacAddress, HostDevice>? open)
    : ITimed, IDisposable
{
    private const long LingerNs = 2_000_000_000;

    private readonly Dictionary<string, Link> _links = []; // by port
    private readonly Dictionary<string, Space> _spaces = []; // by VRF
    private List<IpAddress>? _held; // null: the kernel is not ours to configure

    private long _closeAt = long.MaxValue;

    private MacAddress Gateway => state.OwnMac("host");

    /// <inheritdoc/>
    public long NextDeadline => _closeAt;

    /// <summary>Opens the host port where the configuration has one.</summary>
    /// <exception cref="IOException">The device cannot be opened or configured.</exception>
    public void Start(NodeConfig config)
    {
        if (config.Host is not { } host) return;
        HostDevice device = open is not null ? open(config, Gateway) : OpenTap(config, host);
        state.AddHostPort(host, device.Device, device.Kernel);
        slowPath.SetPort(state.HostPort!);
        Prepare(config);
        foreach (string vrf in _spaces.Keys) AttachVrf(vrf);
        foreach (string port in _links.Keys) Attach(port);
    }

    /// <summary>Where the kernel speaks link-local on a port; null: nowhere.</summary>
    public BgpEnd? EndOf(string port) => _links.TryGetValue(port, out Link? link) ? new BgpEnd(link.Address, link.Tap.Device, port) : null;

    /// <summary>The network namespace of a VRF's sessions; null: the process's own.</summary>
    public SafeFileHandle? SpaceOf(string vrf) => _spaces.GetValueOrDefault(vrf)?.Handle;

    /// <summary>A port is there, or a peer on its link is: its kernel device, if it has one, is in use from now on.</summary>
    public void Attach(string port)
    {
        if (state.LinkHosts.ContainsKey(port) || !state.Ports.TryGetValue(port, out PortState? there)
            || !_links.TryGetValue(port, out Link? link)) return;
        slowPath.SetPort(state.AddLinkHost(port, link.Tap, link.Kernel));
    }

    /// <summary>A peer in a VRF is there: the VRF's kernel device, if it has one, is in use from now on.</summary>
    public void AttachVrf(string vrf)
    {
        if (state.VrfHosts.ContainsKey(vrf) || !_spaces.TryGetValue(vrf, out Space? space)) return;
        slowPath.SetPort(state.AddVrfHost(vrf, space.Tap, space.Kernel, space.Mtu));
    }

    /// <summary>A port is about to go, or to be made anew.</summary>
    public void Detach(string port) => state.RemoveLinkHost(port);

    /// <summary>A VRF is about to go.</summary>
    public void DetachVrf(string vrf) => state.RemoveVrfHost(vrf);

    /// <summary>Gives the kernel what a new configuration needs, beside what the one in force does.</summary>
    /// <exception cref="IOException">The kernel refused; it has what it had.</exception>
    public void Prepare(NodeConfig next)
    {
        if (_held is not { } before) return;
        try
        {
            Set([.. before.Union(AddressesOf(next, NodeConfig.DefaultVrf))]);
            foreach (string vrf in VrfsOf(next)) OpenSpace(next, vrf);
            foreach (PortConfig port in LinksOf(next)) OpenLink(next, port);
        }
        catch (IOException)
        {
            Settle();
            throw;
        }
    }

    /// <summary>Has what the configuration in force does not need taken away, soon.</summary>
    public void Settle()
    {
        if (_held is not null) _closeAt = loop.Now + LingerNs;
    }

    /// <summary>Takes away what nothing needs any more.</summary>
    public void Poll(long now)
    {
        if (now < _closeAt) return;
        _closeAt = long.MaxValue;
        try
        {
            Set(AddressesOf(state.Config, NodeConfig.DefaultVrf));
            foreach (string vrf in VrfsOf(state.Config)) _spaces[vrf].Set(AddressesOf(state.Config, vrf));
        }
        catch (IOException e)
        {
            // Too many addresses at the kernel harm nobody.
            state.Events.Add(now, "config", state.Config.Name, "host", e.Message);
        }

        foreach (Action close in Unneeded().ToArray()) close();
    }

    private IEnumerable<Action> Unneeded()
    {
        HashSet<string> links = [.. LinksOf(state.Config).Select(p => p.Name)], vrfs = [.. VrfsOf(state.Config)];
        foreach ((string port, Link link) in _links)
        {
            if (!links.Contains(port)) yield return () =>
            {
                Detach(port);
                _links.Remove(port);
                Close(link.Tap);
            };
        }

        foreach ((string vrf, Space space) in _spaces)
        {
            if (!vrfs.Contains(vrf)) yield return () =>
            {
                DetachVrf(vrf);
                _spaces.Remove(vrf);
                space.Handle.Dispose();
                Close(space.Tap);
            };
        }
    }

    public void Dispose()
    {
        foreach (Space space in _spaces.Values) space.Handle.Dispose();
        if (_held is not null) HostNetwork.Undo();
    }

    // Loopbacks first: what the kernel sends on its own account comes from them.
    private static List<IpAddress> AddressesOf(NodeConfig config, string vrf) =>
        [.. (vrf == NodeConfig.DefaultVrf ? config.Loopbacks : [])
            .Concat(config.Ports.Where(p => p.Vrf == vrf).SelectMany(p => p.Addresses).Select(a => a.Address)
            .Where(a => !(a.IsV6 && a.IsLinkLocal))).Distinct()];

    // Ports with link-local peers.
    private static IEnumerable<PortConfig> LinksOf(NodeConfig config) => config.Ports.Where(p
        => config.Bgp.Peers.Any(peer => peer.LinkPort == p.Name && (peer.OnLink || peer.Address is { IsV6: true, IsLinkLocal: true }))
            || config.Bfd.Any(session => session.Port == p.Name));

    private static IEnumerable<string> VrfsOf(NodeConfig config) => config.Bgp.Peers.Select(p => p.Vrf)
        .Concat(config.Bfd.Select(s => s.Vrf)).Where(v => v != NodeConfig.DefaultVrf).Distinct();

    private static string DeviceOf(HostConfig host, string port)
    {
        string name = $"{host.Device}.{port}";
        if (name.Length <= NodeConfigLoader.MaxDeviceName) return name;
        uint hash = 2166136261;
        foreach (char c in port) hash = (hash ^ c) * 16777619;
        string digits = $".{hash:x8}";
        return host.Device[..Math.Min(host.Device.Length, NodeConfigLoader.MaxDeviceName - digits.Length)] + digits;
    }

    private void Set(List<IpAddress> addresses)
    {
        if (_held is not { } held || addresses.ToHashSet().SetEquals(held)) return;
        HostNetwork.SetAddresses(state.Config.Host!.Device, Gateway, addresses);
        _held = addresses;
    }

    private HostDevice OpenTap(NodeConfig config, HostConfig host)
    {
        TapPort tap = OpenTap("host", host.Device, host.Mtu, null, out bool adopted);

        // What the process before us made is in use: BGP's packets pass through it while the keeper forwards.
        _held = [];
        if (!adopted) HostNetwork.Configure(host.Device, host.Mtu, Gateway, config.Loopbacks);
        Set(AddressesOf(config, NodeConfig.DefaultVrf));
        return new HostDevice(tap, adopted ? NetDevice.Mac(host.Device) : HostNetwork.MacOf(host.Device));
    }

    private void OpenLink(NodeConfig next, PortConfig port)
    {
        IpAddress address = next.LinkLocalOf(port);
        if (_links.TryGetValue(port.Name, out Link? there) && there.Address == address && there.Vrf == port.Vrf) return;
        string device = DeviceOf(next.Host!, port.Name);
        SafeFileHandle? space = SpaceOf(port.Vrf);
        if (there is not null && there.Vrf != port.Vrf)
        {
            Detach(port.Name);
            _links.Remove(port.Name);
            Close(there.Tap);
            there = null;
        }

        TapPort tap = there?.Tap ?? OpenTap($"host%{port.Name}", device, port.Mtu, space, out _);
        MacAddress kernel = Namespaces.Run(space, () =>
        {
            HostNetwork.ConfigureLink(device, port.Mtu, address);
            return NetDevice.Mac(device);
        });
        _links[port.Name] = new Link(tap, kernel, address, port.Vrf);
    }

    private void OpenSpace(NodeConfig next, string vrf)
    {
        List<IpAddress> addresses = AddressesOf(next, vrf);
        if (_spaces.TryGetValue(vrf, out Space? there))
        {
            there.Set([.. there.Held.Union(addresses)]);
            return;
        }

        HostConfig host = next.Host!;
        string name = $"host@{vrf}";
        TapPort? tap = keeper?.Adopt(name);
        bool adopted = tap is not null;
        if (tap is null)
        {
            tap = Namespaces.RunInNew(() => TapPort.Open(name, host.Device, new TapOptions { Mtu = host.Mtu }));
            keeper?.Keep(tap);
        }

        MacAddress gateway = state.OwnMac(name);
        SafeFileHandle handle = tap.OpenNamespace();
        var space = new Space(tap, handle, Namespaces.Run(handle, () =>
        {
            if (!adopted) HostNetwork.Configure(host.Device, host.Mtu, gateway, []);
            return NetDevice.Mac(host.Device);
        }), host.Device, host.Mtu, gateway);
        _spaces[vrf] = space;
        space.Set(addresses);
    }

    private TapPort OpenTap(string name, string device, int mtu, SafeFileHandle? space, out bool adopted)
    {
        var options = new TapOptions { Mtu = mtu };
        adopted = false;
        if (space is not null && keeper?.Adopt(name) is { } kept)
        {
            adopted = true;
            return kept;
        }

        bool had = false;
        TapPort tap = Namespaces.Run(space, () => space is null && keeper is not null ? keeper.Open(name, device, options, out had)
            : TapPort.Open(name, device, options));
        adopted = had;
        keeper?.Keep(tap);
        return tap;
    }

    private void Close(TapPort tap)
    {
        if (keeper is not null) keeper.Forget(tap);
        else tap.Dispose();
    }

    private sealed record Link(TapPort Tap, MacAddress Kernel, IpAddress Address, string Vrf);

    /// <summary>The kernel's side of a VRF.</summary>
    private sealed class Space(TapPort tap, SafeFileHandle handle, MacAddress kernel, string device, int mtu, MacAddress gateway)
    {
        public TapPort Tap { get; } = tap;

        public SafeFileHandle Handle { get; } = handle;

        public MacAddress Kernel { get; } = kernel;

        public int Mtu { get; } = mtu;

        public IReadOnlyList<IpAddress> Held { get; private set; } = [];

        public void Set(IReadOnlyList<IpAddress> addresses)
        {
            if (addresses.ToHashSet().SetEquals(Held)) return;
            Namespaces.Run(Handle, () =>
            {
                HostNetwork.SetAddresses(device, gateway, addresses);
                return true;
            });
            Held = addresses;
        }
    }
}
