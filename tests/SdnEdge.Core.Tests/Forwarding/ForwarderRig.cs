using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>A punted packet, copied.</summary>
internal sealed record Punted(PuntInfo Info, byte[] Frame);

/// <summary>Keeps what is punted; refuses beyond its room.</summary>
internal sealed class PuntList : IPuntSink
{
    private readonly Lock _lock = new();
    private List<Punted> _items = [];

    public int Room { get; set; } = int.MaxValue;

    public bool TryPunt(in PuntInfo info, ReadOnlySpan<byte> frame)
    {
        lock (_lock)
        {
            if (_items.Count >= Room) return false;
            _items.Add(new Punted(info, frame.ToArray()));
            return true;
        }
    }

    public List<Punted> Take()
    {
        lock (_lock)
        {
            List<Punted> items = _items;
            _items = [];
            return items;
        }
    }
}

/// <summary>
/// A router in memory, in the numbers of the Figure 1 lab:
/// <code>
///   client 10.2.3.10 -- site (10.2.3.1/24) [router, loopback 10.255.0.3] core (172.16.0.3/24) -- PEs 172.16.0.1, .2
/// </code>
/// IPv6 beside it. Neighbours .10, .1 and .2 are resolved; default routes lead to 172.16.0.1.
/// </summary>
internal sealed class ForwarderRig : IDisposable
{
    public static readonly MacAddress ClientMac = MacAddress.Parse("02:00:00:00:03:10"), PeAMac = MacAddress.Parse("02:00:00:00:0a:01"),
        PeBMac = MacAddress.Parse("02:00:00:00:0b:01"), HostMac = MacAddress.Parse("02:00:00:00:ff:01");

    public static readonly IpAddress Client4 = IpAddress.Parse("10.2.3.10"), Client6 = IpAddress.Parse("fd00:2:3::10"),
        Server4 = IpAddress.Parse("10.1.1.10"), Server6 = IpAddress.Parse("fd00:1:1::10"),
        Loopback4 = IpAddress.Parse("10.255.0.3"), Loopback6 = IpAddress.Parse("fd00:ff::3"),
        PeALoopback4 = IpAddress.Parse("10.255.0.1"), PeALoopback6 = IpAddress.Parse("fd00:ff::1"),
        PeBLoopback4 = IpAddress.Parse("10.255.0.2"), PeBLoopback6 = IpAddress.Parse("fd00:ff::2"),
        PeA4 = IpAddress.Parse("172.16.0.1"), PeA6 = IpAddress.Parse("fd00:16::1"),
        PeB4 = IpAddress.Parse("172.16.0.2"), PeB6 = IpAddress.Parse("fd00:16::2");

    private readonly PacketBatch _batch = new();

    public ForwarderRig(bool segmentsForUs = true, int coreMtu = 1600, int siteMtu = 1500, int workers = 1, bool host = false)
    {
        SiteDevice = new MemoryPort("site", segmentsForUs);
        CoreDevice = new MemoryPort("core", segmentsForUs);
        HostDevice = new MemoryPort("host0", segmentsForUs);
        Plane = new DataPlane(workers);
        Vrf = Plane.AddVrf("default");
        Site = Plane.AddPort(new PortOptions("site", MacAddress.Parse("02:00:00:00:03:01"), siteMtu)
        {
            Addresses = [Address("10.2.3.1", 24), Address("fd00:2:3::1", 64)],
        }, SiteDevice, Vrf);
        Core = Plane.AddPort(new PortOptions("core", MacAddress.Parse("02:00:00:00:00:03"), coreMtu)
        {
            Addresses = [Address("172.16.0.3", 24), Address("fd00:16::3", 64)],
        }, CoreDevice, Vrf);
        Punts = new PuntList();
        Forwarders = [.. Enumerable.Range(0, workers).Select(w => new Forwarder(w, Plane, Punts))];

        foreach (PortEntry port in new[] { Site, Core })
        {
            foreach (PortAddress address in port.Addresses)
            {
                Vrf.Set(address.Subnet, new FibLeaf(new IndirectNextHop(ForwardingDecision.Connected(port))));
                Vrf.Set(IpPrefix.Host(address.Address), new FibLeaf(new IndirectNextHop(ForwardingDecision.Local)));
            }
        }

        foreach (IpAddress own in new[] { Loopback4, Loopback6 })
            Vrf.Set(IpPrefix.Host(own), new FibLeaf(new IndirectNextHop(ForwardingDecision.Local)));
        Resolve(Site, Client4, ClientMac);
        Resolve(Site, Client6, ClientMac);
        PeA = Resolve(Core, PeA4, PeAMac);
        PeAv6 = Resolve(Core, PeA6, PeAMac);
        PeB = Resolve(Core, PeB4, PeBMac);
        PeBv6 = Resolve(Core, PeB6, PeBMac);
        Route("0.0.0.0/0", ForwardingDecision.Via(PeA));
        Route("::/0", ForwardingDecision.Via(PeAv6));
        Route("10.255.0.2/32", ForwardingDecision.Via(PeB));
        Route("fd00:ff::2/128", ForwardingDecision.Via(PeBv6));
        if (!host) return;
        HostPort = Plane.AddPort(new PortOptions("host0", MacAddress.Parse("02:00:00:00:fe:01"), 9000) { IsHost = true }, HostDevice, Vrf);
        DataPlane.SetHost(Resolve(HostPort, Loopback4, HostMac));
    }

    public DataPlane Plane { get; }

    public Vrf Vrf { get; }

    public PortEntry Site { get; }

    public PortEntry Core { get; }

    public PortEntry? HostPort { get; }

    public MemoryPort SiteDevice { get; }

    public MemoryPort CoreDevice { get; }

    public MemoryPort HostDevice { get; }

    public Adjacency PeA { get; }

    public Adjacency PeAv6 { get; }

    public Adjacency PeB { get; }

    public Adjacency PeBv6 { get; }

    public PuntList Punts { get; }

    public Forwarder[] Forwarders { get; }

    public Forwarder Forwarder => Forwarders[0];

    public long Now { get; set; } = 1_000_000_000;

    public static PortAddress Address(string text, int length) => new(IpAddress.Parse(text), length);

    public Adjacency Resolve(PortEntry port, IpAddress address, MacAddress mac)
    {
        Adjacency adjacency = port.Neighbors.GetOrAdd(address)!;
        adjacency.Resolve(mac);
        return adjacency;
    }

    public FibLeaf Route(string prefix, ForwardingDecision decision, RedirectGroup? group = null)
    {
        FibLeaf leaf = new(new IndirectNextHop(decision), group);
        Vrf.Set(IpPrefix.Parse(prefix), leaf);
        return leaf;
    }

    /// <summary>Lets frames come in on a port and runs the forwarder over them.</summary>
    public void Receive(PortEntry port, params byte[][] frames)
    {
        foreach (byte[] frame in frames) ReceiveOne(port, frame, default);
    }

    public void ReceiveOne(PortEntry port, byte[] frame, VnetHeader vnet)
    {
        ((MemoryPort)port.Device).Inject(frame, vnet);
        port.Device.Receive(_batch);
        Forwarder.Process(_batch, port.Index, Now);
    }

    /// <summary>A frame from the client towards the router.</summary>
    public byte[] FromClient(byte[] ip) => Ethernet(Site.Mac, ClientMac, ip);

    /// <summary>A frame from PE A towards the router.</summary>
    public byte[] FromPeA(byte[] ip) => Ethernet(Core.Mac, PeAMac, ip);

    public static byte[] Ethernet(MacAddress to, MacAddress from, byte[] ip)
    {
        byte[] frame = new byte[14 + ip.Length];
        new EthernetHeader(to, from, ip.Length > 0 && ip[0] >> 4 == 6 ? EtherType.Ipv6 : EtherType.Ipv4).Emit(frame);
        ip.CopyTo(frame, 14);
        return frame;
    }

    public void Dispose()
    {
        foreach (Forwarder forwarder in Forwarders) forwarder.Dispose();
        _batch.Dispose();
        Vrf.Dispose();
    }
}
