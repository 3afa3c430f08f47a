using System.Buffers.Binary;
using FsCheck.Xunit;
using SdnEdge.Core.Api;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>
/// Flush markers inside VRFs of two customers with the same addresses, who move at once: the data plane of the target, of the source and of
/// an ingress PE, and what a customer's host may send.
/// </summary>
public sealed class VpnOrderTests
{
    private const long Ms = 1_000_000;

    // The source is PE B of the rig; PE C and PE D are ingresses.
    private static readonly IpAddress PeC = IpAddress.Parse("10.255.0.5"), PeD = IpAddress.Parse("10.255.0.6"),
        Server4 = ForwarderRig.Server4, Server6 = ForwarderRig.Server6;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_marker_opens_the_gate_of_its_ingress_its_family_and_its_customer_only(bool v6)
    {
        using var world = new World();
        foreach (Customer customer in world.Customers) customer.Release();
        foreach (Customer customer in world.Customers)
        {
            foreach (bool family in (bool[])[false, true])
            {
                customer.Direct(PeC, family, 1);
                customer.Direct(PeD, family, 1);
            }
        }

        world.PollUntilIdle();
        Assert.All(world.Customers, c => Assert.Empty(c.Delivered()));
        world.Red.Marker(PeC, v6);
        world.PollUntilIdle();
        Assert.Equal([$"C{(v6 ? 6 : 4)}:1"], world.Red.Delivered());
        Assert.Empty(world.Blue.Delivered());
        Assert.Equal(0, world.Rig.Plane.Ledger.Imbalance);
    }

    [Fact]
    public void A_customers_own_router_behind_the_target_has_the_targets_own_gate()
    {
        using var world = new World();
        world.Red.Release();

        // By a router of the customer: no PE is behind it.
        world.Red.Route("10.9.0.0/16", ForwardingDecision.Via(world.Red.ClientAdjacency, IpAddress.Parse("10.9.9.9")));
        world.Red.FromSite(Frames.Ip(IpAddress.Parse("10.9.44.1"), Server4, 253, new byte[40]));
        world.PollUntilIdle();
        Assert.Empty(world.Red.SiteDevice.Sent());
        Assert.Equal(0, world.Red.Gates.Unordered);
        world.Red.Marker(ForwarderRig.Loopback4, v6: false);
        world.PollUntilIdle();
        Assert.Single(world.Red.SiteDevice.Sent());
    }

    [Fact]
    public void At_the_target_a_marker_of_a_customers_host_is_refused_and_so_is_one_out_of_anothers_tunnel()
    {
        using var world = new World();
        world.Red.Release();
        byte[] forged = new FlushMarker(7, 1, 0, FlushMarkerFlags.NoOldPath).ToPacket(PeC, Server4);
        world.Red.FromSite(forged);
        world.Red.FromVpn(PeD, forged);
        Assert.Equal(2, world.Forged);
        Assert.Empty(world.Rig.Punts.Take());

        // An ingress without an old path says so by its own tunnel.
        world.Red.FromVpn(PeC, forged);
        Punted taken = Assert.Single(world.Rig.Punts.Take());
        Assert.Equal((PuntReason.FlushMarker, world.Red.Vrf.Index), (taken.Info.Reason, taken.Info.Vrf));
        Assert.Equal(PeC, taken.Info.Tunnel!.Options.Remote);
        Assert.Equal(0, world.Rig.Plane.Ledger.Imbalance);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void The_source_shows_and_passes_on_what_the_ingress_itself_sent_and_refuses_the_rest(bool v6)
    {
        using var world = new World();
        Customer red = world.Red;
        Tunnel redirect = world.Rig.Plane.AddTunnel(
            new TunnelOptions("out", ForwarderRig.Loopback4, ForwarderRig.PeBLoopback4, 99) { IsRedirect = true }, red.Vrf, world.Rig.Vrf);
        redirect.Up = true;
        var group = new RedirectGroup("m2", "red", 1) { ShowsMarkers = true };
        IpAddress server = v6 ? Server6 : Server4;
        red.Route(v6 ? "fd00:1:1::10/128" : "10.1.1.10/32", ForwardingDecision.Connected(red.Site), group);
        group.Arm(ForwardingDecision.Through(redirect));
        group.Switch();
        byte[] marker = new FlushMarker(7, 1, 0).ToPacket(MarkerSender.OfEndpoint(PeC, server.Family), server);
        red.FromVpn(PeC, marker);
        Punted shown = Assert.Single(world.Rig.Punts.Take());
        Assert.Equal((PuntReason.FlushMarkerPassing, red.Vrf.Index), (shown.Info.Reason, shown.Info.Vrf));
        Assert.Equal(1, redirect.TxPackets);
        red.FromVpn(PeD, marker);
        red.FromSite(marker);
        Assert.Empty(world.Rig.Punts.Take());
        Assert.Equal((1L, 2L), (redirect.TxPackets, world.Forged));

        // Data to the same port, and as long, is the customer's.
        byte[] data = (byte[])marker.Clone();
        data[(v6 ? Ipv6Header.Size : Ipv4Header.Size) + UdpHeader.Size] ^= 1;
        red.FromSite(data);
        red.FromVpn(PeD, data);
        Assert.Equal((3L, 2L), (redirect.TxPackets, world.Forged));
        Assert.Equal(0, world.Rig.Plane.Ledger.Imbalance);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_ingress_lets_no_marker_of_a_customers_host_into_a_tunnel_also_not_in_a_superpacket(bool super)
    {
        using var world = new World();
        Customer red = world.Red;
        red.Route("10.7.0.0/16", ForwardingDecision.Through(red.Vpn(PeC)));
        byte[] marker = new FlushMarker(7, 1, 0).ToPacket(ForwarderRig.Loopback4, IpAddress.Parse("10.7.0.1"));
        if (!super)
        {
            red.FromSite(marker);
            Assert.Equal((0L, 1L), (red.Vpn(PeC).TxPackets, world.Forged));
            return;
        }

        // Two bodies behind one header, which the router cuts: the first is data, the second would be a marker.
        ReadOnlySpan<byte> body = marker.AsSpan(Ipv4Header.Size + UdpHeader.Size);
        byte[] both = [.. new byte[FlushMarker.BodyBytes], .. body];
        IpAddress from = ForwarderRig.Loopback4, to = IpAddress.Parse("10.7.0.1");
        byte[] packet = Frames.Ip(from, to, IpProtocol.Udp, Frames.Udp(from, to, FlushMarker.Port, FlushMarker.Port, both));
        world.Rig.ReceiveOne(red.Site, ForwarderRig.Ethernet(red.Site.Mac, ForwarderRig.ClientMac, packet), new VnetHeader
        {
            Flags = VnetHeader.NeedsCsum, GsoType = VnetHeader.GsoUdpL4, GsoSize = FlushMarker.BodyBytes,
            HdrLen = 14 + Ipv4Header.Size + UdpHeader.Size, CsumStart = 14 + Ipv4Header.Size, CsumOffset = 6,
        });
        Assert.Equal((1L, 1L), (red.Vpn(PeC).TxPackets, world.Forged));
    }

    [Fact]
    public void In_the_default_VRF_a_marker_comes_by_whatever_port_the_core_is_on()
    {
        using var world = new World();
        var group = new RedirectGroup("m3", "default", 1) { ShowsMarkers = true };
        world.Rig.Route("10.1.1.10/32", ForwardingDecision.Connected(world.Rig.Site), group);
        world.Rig.Receive(world.Rig.Core, world.Rig.FromPeA(new FlushMarker(7, 1, 0).ToPacket(PeC, Server4)));
        Assert.Single(world.Rig.Punts.Take(), p => p.Info.Reason == PuntReason.FlushMarkerPassing);
        Assert.Equal(0, world.Forged);
    }

    /// <summary>
    /// Each ingress sends 1, 2, 3 ... in each VRF and family: up to some number into the old path, then its marker, then the rest by the
    /// direct one. Whatever overtakes whatever, all of it arrives once, in its VRF, in order.
    /// </summary>
    [Property(MaxTest = 150)]
    public void Whatever_overtakes_whatever_each_ingress_of_each_customer_is_delivered_in_order(int seed)
    {
        var random = new Random(seed);
        using var world = new World();
        Flow[] flows = [.. world.Customers.SelectMany(c => ((IpAddress[])[PeC, PeD, ForwarderRig.Loopback4]).SelectMany(i
            => ((bool[])[false, true]).Select(v6 => new Flow(c, i, v6, random.Next(20)))))];
        for (int step = 0; step < 900 || world.Customers.Any(c => !c.IsReleased) || flows.Any(f => f.IsUnderWay); step++)
        {
            Flow flow = flows[random.Next(flows.Length)];
            switch (random.Next(5))
            {
                case 0 when step < 900:
                    flow.Send();
                    break;
                case 1:
                    flow.ArriveByOldPath();
                    break;
                case 2:
                    flow.ArriveDirectly();
                    break;
                case 3 when !flow.Customer.IsReleased && (random.Next(20) == 0 || step > 800):
                    flow.Customer.Release();
                    break;
                case 4:
                    world.Poll();
                    break;
            }
        }

        world.PollUntilIdle();
        foreach (Customer customer in world.Customers)
        {
            string[] delivered = customer.Delivered();
            foreach (Flow flow in flows.Where(f => f.Customer == customer))
            {
                Assert.Equal(Enumerable.Range(1, flow.Sent).Select(n => $"{flow.Name}:{n}"),
                    delivered.Where(d => d.StartsWith(flow.Name + ":", StringComparison.Ordinal)));
            }

            Assert.Equal(flows.Where(f => f.Customer == customer).Sum(f => f.Sent), delivered.Length);
        }

        Assert.Equal((0L, 0L), (world.Rig.Plane.Ledger.Imbalance, world.Rig.Plane.DropsTotal));
    }

    private static string NameOf(IpAddress ingress, bool v6) => (ingress == PeC ? "C" : ingress == PeD ? "D" : "O") + (v6 ? "6" : "4");

    /// <summary>What an ingress sends in a family; -1 stands for its marker.</summary>
    private sealed class Flow(Customer customer, IpAddress ingress, bool v6, int switchAfter)
    {
        private readonly Queue<int> _old = new(), _direct = new();
        private bool _moved;

        public Customer Customer { get; } = customer;

        public string Name { get; } = NameOf(ingress, v6);

        public int Sent { get; private set; }

        public bool IsUnderWay => _old.Count + _direct.Count > 0;

        public void Send()
        {
            bool over = Customer.IsReleased && Sent >= switchAfter;
            if (over && !_moved) _old.Enqueue(-1);
            _moved |= over;
            (over ? _direct : _old).Enqueue(++Sent);
        }

        public void ArriveByOldPath()
        {
            if (!_old.TryDequeue(out int number)) return;
            if (number < 0) Customer.Marker(ingress, v6);
            else Customer.FromRedirect(Customer.Packet(ingress, v6, number));
        }

        public void ArriveDirectly()
        {
            if (_direct.TryDequeue(out int number)) Customer.Direct(ingress, v6, number);
        }
    }

    /// <summary>A PE with the VRFs of both customers, the target of a move in each.</summary>
    private sealed class World : IDisposable
    {
        public World()
        {
            Rig = new ForwarderRig();
            Customers = [new Customer(this, "red", 1), new Customer(this, "blue", 2)];
        }

        public ForwarderRig Rig { get; }

        public Customer[] Customers { get; }

        public Customer Red => Customers[0];

        public Customer Blue => Customers[1];

        public long Forged => Rig.Plane.Drops(DropReason.MarkerForged);

        public void Poll()
        {
            Rig.Forwarder.Poll(Rig.Now += Ms / 2);
            foreach (Customer customer in Customers) customer.OpenGates();
        }

        public void PollUntilIdle()
        {
            for (int i = 0; i < 100; i++) Poll();
        }

        public void Dispose()
        {
            foreach (Customer customer in Customers) customer.Dispose();
            Rig.Dispose();
        }
    }

    /// <summary>A customer's VRF at the target, with a hold, gates, and the keeper that opens them as the control loop does.</summary>
    private sealed class Customer : IDisposable
    {
        private readonly World _world;
        private readonly uint _key;
        private readonly Tunnel _redirect;
        private readonly Dictionary<IpAddress, Tunnel> _vpn = [];
        private readonly OrderKeeper _keeper;
        private readonly RedirectGroup _group;
        private readonly Hold _hold;

        public Customer(World world, string name, uint number)
        {
            (_world, _key) = (world, 70 + number);
            ForwarderRig rig = world.Rig;
            Vrf = rig.Plane.AddVrf(name, _key);
            SiteDevice = new MemoryPort(name, true);
            Site = rig.Plane.AddPort(new PortOptions(name, MacAddress.Parse($"02:00:00:00:04:0{number}"), 1500)
            {
                Addresses = [ForwarderRig.Address("10.2.3.1", 24), ForwarderRig.Address("fd00:2:3::1", 64)],
            }, SiteDevice, Vrf);
            foreach (IpAddress server in (IpAddress[])[Server4, Server6]) rig.Resolve(Site, server, ForwarderRig.HostMac);
            ClientAdjacency = rig.Resolve(Site, ForwarderRig.Client4, ForwarderRig.ClientMac);
            Route("10.2.3.0/24", ForwardingDecision.Connected(Site));
            Route("fd00:2:3::/64", ForwardingDecision.Connected(Site));
            _redirect = rig.Plane.AddTunnel(new TunnelOptions($"mig-{name}", ForwarderRig.Loopback4, ForwarderRig.PeBLoopback4, 5 + number)
            {
                IsRedirect = true,
            }, Vrf, rig.Vrf);
            foreach ((IpAddress pe, int net) in ((IpAddress, int)[])[(PeC, 1), (PeD, 2), (ForwarderRig.PeBLoopback4, 3)])
            {
                _vpn[pe] = rig.Plane.AddTunnel(new TunnelOptions($"vpn-{pe}-{_key}", ForwarderRig.Loopback4, pe, _key), Vrf, rig.Vrf);
                _vpn[pe].Up = true;
                Route($"10.9.{net}.0/24", ForwardingDecision.Through(_vpn[pe]));
                Route($"fd00:9:{net}::/64", ForwardingDecision.Through(_vpn[pe]));
            }

            _group = new RedirectGroup(name, name, 1);
            _hold = new Hold(name, Vrf, new HoldOptions());
            rig.Plane.AddHold(_hold);
            foreach (string prefix in (string[])["10.1.1.10/32", "fd00:1:1::10/128"])
                Route(prefix, ForwardingDecision.Through(_vpn[ForwarderRig.PeBLoopback4]), _group).AttachedHop =
                    ForwardingDecision.Connected(Site);
            IpAddress[] senders = [.. ((IpAddress[])[PeC, PeD, ForwarderRig.Loopback4]).SelectMany(p
                => ((IpFamily[])[IpFamily.V4, IpFamily.V6]).Select(f => MarkerSender.OfEndpoint(p, f)))];
            _keeper = new OrderKeeper(7, 1, 1, senders.Select(s => ($"{s}", s, true, 1000 * Ms)));
            Gates = new OrderGates(Vrf, [.. senders.Select(s => new OrderGate(s, new Hold($"{name}/{s}", Vrf, new HoldOptions())))],
                senders[^2..], 1);
            foreach (OrderGate gate in Gates.All) rig.Plane.AddHold(gate.Hold);
            _group.Order = Gates;
            _group.ArmHold(_hold);
        }

        public Vrf Vrf { get; }

        public PortEntry Site { get; }

        public MemoryPort SiteDevice { get; }

        public Adjacency ClientAdjacency { get; }

        public OrderGates Gates { get; }

        public bool IsReleased { get; private set; }

        public Tunnel Vpn(IpAddress pe) => _vpn[pe];

        public FibLeaf Route(string prefix, ForwardingDecision decision, RedirectGroup? group = null)
        {
            FibLeaf leaf = new(new IndirectNextHop(decision), group);
            Vrf.Set(IpPrefix.Parse(prefix), leaf);
            return leaf;
        }

        public void Release()
        {
            IsReleased = true;
            _group.Release(_hold);
        }

        public void FromSite(byte[] ip) => _world.Rig.Receive(Site, ForwarderRig.Ethernet(Site.Mac, ForwarderRig.ClientMac, ip));

        public void FromRedirect(byte[] ip) => Outer(ForwarderRig.PeBLoopback4, _redirect.Options.Key!.Value, ip);

        public void FromVpn(IpAddress pe, byte[] ip) => Outer(pe, _key, ip);

        public void Direct(IpAddress ingress, bool v6, int number)
        {
            byte[] packet = Packet(ingress, v6, number);
            if (ingress == ForwarderRig.Loopback4) FromSite(packet);
            else FromVpn(ingress, packet);
        }

        public void Marker(IpAddress ingress, bool v6)
        {
            IpAddress sender = MarkerSender.OfEndpoint(ingress, v6 ? IpFamily.V6 : IpFamily.V4);
            FromRedirect(new FlushMarker(7, 1, 0).ToPacket(sender, v6 ? Server6 : Server4));
            Punted punted = Assert.Single(_world.Rig.Punts.Take(), p => p.Info.Reason == PuntReason.FlushMarker);
            Assert.Equal((Vrf.Index, _redirect), (punted.Info.Vrf, punted.Info.Tunnel));
            Assert.True(FlushMarker.TryParse(punted.Frame.AsSpan(punted.Info.L3Offset), out FlushMarker marker, out IpAddress from, out _));
            _keeper.Marker(from, marker, throughTunnel: true, _world.Rig.Now);
        }

        public void OpenGates()
        {
            for (int i = 0; i < _keeper.Count; i++)
            {
                if (_keeper.Open(i, _hold.State == HoldState.Released, Gates.All[i].Hold.OldestNs, 0))
                    Gates.All[i].Hold.BeginRelease(DrainPath.Attached);
            }
        }

        /// <summary>What came out to the server, in order. Each packet says whose it is: this customer's.</summary>
        public string[] Delivered() => [.. SiteDevice.Sent().Select(f =>
        {
            bool v6 = f.Bytes[14] >> 4 == 6;
            int header = 14 + (v6 ? Ipv6Header.Size : Ipv4Header.Size);
            Assert.Equal(_key, BinaryPrimitives.ReadUInt32BigEndian(f.Bytes.AsSpan(header + 4)));
            IpAddress source = IpAddress.Read(v6 ? IpFamily.V6 : IpFamily.V4, f.Bytes.AsSpan(v6 ? 14 + 8 : 14 + 12));
            IpAddress ingress = ((IpAddress[])[PeC, PeD, ForwarderRig.Loopback4]).First(i => ClientOf(i, v6) == source);
            return $"{NameOf(ingress, v6)}:{BinaryPrimitives.ReadInt32BigEndian(f.Bytes.AsSpan(header))}";
        })];

        public byte[] Packet(IpAddress ingress, bool v6, int number)
        {
            byte[] payload = new byte[20];
            BinaryPrimitives.WriteInt32BigEndian(payload, number);
            BinaryPrimitives.WriteUInt32BigEndian(payload.AsSpan(4), _key);
            return Frames.Ip(ClientOf(ingress, v6), v6 ? Server6 : Server4, 253, payload);
        }

        public void Dispose()
        {
            _hold.Dispose();
            foreach (OrderGate gate in Gates.All) gate.Hold.Dispose();
            Vrf.Dispose();
        }

        private static IpAddress ClientOf(IpAddress ingress, bool v6) => (ingress == PeC, ingress == PeD, v6) switch
        {
            (true, _, false) => IpAddress.Parse("10.9.1.1"),
            (true, _, true) => IpAddress.Parse("fd00:9:1::1"),
            (_, true, false) => IpAddress.Parse("10.9.2.1"),
            (_, true, true) => IpAddress.Parse("fd00:9:2::1"),
            (_, _, true) => ForwarderRig.Client6,
            _ => ForwarderRig.Client4,
        };

        private void Outer(IpAddress from, uint key, byte[] inner)
        {
            ushort type = inner[0] >> 4 == 6 ? EtherType.Ipv6 : EtherType.Ipv4;
            _world.Rig.Receive(_world.Rig.Core, _world.Rig.FromPeA(Frames.Ip(from, ForwarderRig.Loopback4, IpProtocol.Gre,
                Frames.Gre(new GreHeader(type, Key: key), inner))));
        }
    }
}
