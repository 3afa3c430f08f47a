using System.Buffers.Binary;
using FsCheck.Xunit;
using SdnEdge.Core.Api;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>The target's data plane while ingress PEs go over to the direct path: gates, markers, and the order of each flow.</summary>
public sealed class OrderForwardingTests
{
    private const long Ms = 1_000_000;

    [Fact]
    public void Direct_packets_wait_behind_the_hold_and_for_the_marker_of_their_own_ingress()
    {
        using Target t = new();
        t.FromTunnel(Ingress.C, 1);
        t.FromTunnel(Ingress.D, 1);
        t.Group.Release(t.Hold);
        t.Direct(Ingress.C, 2);
        t.PollUntilIdle();
        Assert.Equal(["C1", "D1"], t.Delivered()); // C2 waits for C's marker
        t.Direct(Ingress.D, 2);
        t.FromTunnel(Ingress.D, 3); // the tunnel goes on meanwhile
        Assert.Equal(["D3"], t.Delivered());
        t.Marker(Ingress.C);
        t.PollUntilIdle();
        Assert.Equal(["C2"], t.Delivered());
        t.Direct(Ingress.C, 3); // through the open gate
        Assert.Equal(["C3"], t.Delivered());
        t.Marker(Ingress.D);
        t.PollUntilIdle();
        Assert.Equal(["D2"], t.Delivered());
        Assert.Equal((0L, 0L), (t.Rig.Plane.Ledger.Imbalance, t.Rig.Plane.DropsTotal));
    }

    [Fact]
    public void Packets_of_an_ingress_without_a_gate_are_delivered_as_they_come_and_counted()
    {
        using Target t = new();
        t.Group.Release(t.Hold);
        t.Direct(Ingress.Foreign, 1);
        Assert.Equal(["F1"], t.Delivered());
        Assert.Equal(1, t.Gates.Unordered);
    }

    [Fact]
    public void Clients_attached_to_the_router_itself_have_a_gate_too()
    {
        using Target t = new();
        t.Group.Release(t.Hold);
        t.Direct(Ingress.Own, 1);
        Assert.Empty(t.Delivered());
        t.Marker(Ingress.Own);
        t.PollUntilIdle();
        Assert.Equal(["O1"], t.Delivered());
    }

    [Fact]
    public void A_marker_is_taken_out_and_never_delivered_and_data_to_its_port_is_not_taken()
    {
        using Target t = new();
        t.Group.Release(t.Hold);
        t.Marker(Ingress.C);
        t.PollUntilIdle();
        Assert.Empty(t.Rig.SiteDevice.Sent());
        byte[] data = Frames.Ip(t.ClientOf(Ingress.C), ForwarderRig.Server4, IpProtocol.Udp,
            Frames.Udp(t.ClientOf(Ingress.C), ForwarderRig.Server4, FlushMarker.Port, FlushMarker.Port, new byte[30]));
        t.Rig.Receive(t.Rig.Core, t.Rig.FromPeA(data));
        Assert.Single(t.Rig.SiteDevice.Sent());
    }

    [Fact]
    public void A_marker_out_of_the_tunnel_is_taken_out_also_where_order_is_not_kept()
    {
        using Target t = new();
        t.Group.Order = null;
        t.Group.Release(t.Hold);
        t.PollUntilIdle();
        t.Marker(Ingress.C);
        Assert.Empty(t.Rig.SiteDevice.Sent());
    }

    [Fact]
    public void A_marker_that_goes_by_the_source_is_shown_and_goes_on_into_the_tunnel()
    {
        using var rig = new ForwarderRig();
        Tunnel tunnel = rig.Plane.AddTunnel(TunnelTests.Options() with { Key = 5, IsRedirect = true }, rig.Vrf, rig.Vrf);
        tunnel.Up = true;
        var group = new RedirectGroup("m1", "default", 1);
        rig.Route("10.1.1.10/32", ForwardingDecision.Connected(rig.Site), group);
        group.Arm(ForwardingDecision.Through(tunnel));
        group.Switch();
        byte[] marker = new FlushMarker(7, 1, 0).ToPacket(ForwarderRig.PeALoopback4, ForwarderRig.Server4);
        rig.Receive(rig.Core, rig.FromPeA(marker));
        Assert.Empty(rig.Punts.Take());
        group.ShowsMarkers = true;
        rig.Receive(rig.Core, rig.FromPeA(marker), rig.FromPeA(Frames.Ip(ForwarderRig.Client4, ForwarderRig.Server4, 253, new byte[40])));
        Punted punted = Assert.Single(rig.Punts.Take());
        Assert.Equal((PuntReason.FlushMarkerPassing, false), (punted.Info.Reason, punted.Info.IsConsumed));
        Assert.True(FlushMarker.TryParse(punted.Frame.AsSpan(punted.Info.L3Offset), out FlushMarker shown, out IpAddress from, out _));
        Assert.Equal((7u, ForwarderRig.PeALoopback4), (shown.Tag, from));
        Assert.Equal(3, rig.CoreDevice.Sent().Count);
        Assert.Equal((0L, 0L), (rig.Plane.Ledger.Imbalance, rig.Plane.DropsTotal));
    }

    [Fact]
    public void Settling_the_group_delivers_as_it_comes()
    {
        using Target t = new();
        t.Group.Release(t.Hold);
        t.PollUntilIdle();
        t.Direct(Ingress.C, 1);
        t.Group.Settle();
        t.Direct(Ingress.C, 2);
        Assert.Equal(["C2"], t.Delivered());
        t.OpenAll();
        t.PollUntilIdle();
        Assert.Equal(["C1"], t.Delivered());
    }

    /// <summary>
    /// Each ingress sends 1, 2, 3 ...: up to some number into the old path, then its marker, then the rest by the direct one.
    /// The old path is a queue for each ingress, the direct one another; both are drained in any interleaving, and the hold is
    /// released at any time. Every packet arrives once, and each ingress's in order.
    /// </summary>
    [Property(MaxTest = 300)]
    public void Whatever_overtakes_whatever_each_ingress_is_delivered_in_order(int seed)
    {
        var random = new Random(seed);
        using Target t = new();
        Ingress[] all = [Ingress.C, Ingress.D, Ingress.Own];
        int[] sent = new int[4], switchAfter = [.. Enumerable.Range(0, 4).Select(_ => random.Next(30))];
        Queue<int>[] old = [new(), new(), new(), new()], direct = [new(), new(), new(), new()];
        bool[] moved = new bool[4];
        var delivered = new List<string>();
        bool released = false;
        for (int step = 0; step < 600 || !released || old.Any(q => q.Count > 0) || direct.Any(q => q.Count > 0); step++)
        {
            int i = (int)all[random.Next(all.Length)];
            switch (random.Next(5))
            {
                case 0 when step < 600:
                    // No direct packet comes before the target has advertised, which it does once it has released.
                    bool over = released && sent[i] >= switchAfter[i];
                    if (over && !moved[i])
                    {
                        moved[i] = true;
                        old[i].Enqueue(-1);
                    }

                    (over ? direct : old)[i].Enqueue(++sent[i]);
                    break;
                case 1 when old[i].TryDequeue(out int number):
                    if (number < 0) t.Marker((Ingress)i);
                    else t.FromTunnel((Ingress)i, number);
                    break;
                case 2 when direct[i].TryDequeue(out int number):
                    t.Direct((Ingress)i, number);
                    break;
                case 3 when random.Next(10) == 0 && !released || step > 500 && !released:
                    released = true;
                    t.Group.Release(t.Hold);
                    break;
                case 4:
                    t.Poll();
                    break;
            }

            delivered.AddRange(t.Delivered());
        }

        t.PollUntilIdle();
        delivered.AddRange(t.Delivered());
        foreach (Ingress ingress in all)
        {
            // Those of an ingress that never moved came through the tunnel to the last.
            Assert.Equal(Enumerable.Range(1, sent[(int)ingress]).Select(n => $"{ingress.ToString()[0]}{n}"),
                delivered.Where(d => d[0] == ingress.ToString()[0]));
        }

        Assert.Equal((0L, 0L), (t.Rig.Plane.Ledger.Imbalance, t.Rig.Plane.DropsTotal));
    }

    /// <summary>Where a packet's client is.</summary>
    private enum Ingress
    {
        C,
        D,
        Own,
        Foreign,
    }

    /// <summary>The target with a gate for PE C, PE D and itself, and the keeper that opens them, as the control loop does.</summary>
    private sealed class Target : IDisposable
    {
        private static readonly IpAddress[] Loopbacks = [ForwarderRig.PeALoopback4, ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4];
        private static readonly string[] Clients = ["10.9.1.1", "10.9.2.1", "10.2.3.10", "10.9.4.1"];
        private readonly OrderKeeper _keeper;

        public Target()
        {
            Rig = new ForwarderRig();
            Rig.Plane.AddTunnel(TunnelTests.Options() with { Key = 5, IsRedirect = true }, Rig.Vrf, Rig.Vrf);
            Group = new RedirectGroup("m1", "default", 1);
            Hold = new Hold("m1", Rig.Vrf, new HoldOptions());
            Rig.Plane.AddHold(Hold);
            Rig.Site.Neighbors.GetOrAdd(ForwarderRig.Server4)!.Resolve(ForwarderRig.HostMac);
            Rig.Route("10.9.1.0/24", ForwardingDecision.Via(Rig.PeA, Loopbacks[0]));
            Rig.Route("10.9.2.0/24", ForwardingDecision.Via(Rig.PeB, Loopbacks[1]));
            Rig.Route("10.9.4.0/24", ForwardingDecision.Via(Rig.PeB, IpAddress.Parse("10.255.0.77")));
            FibLeaf leaf = Rig.Route("10.1.1.10/32", ForwardingDecision.Via(Rig.PeB, ForwarderRig.PeBLoopback4), Group);
            leaf.AttachedHop = ForwardingDecision.Connected(Rig.Site);
            _keeper = new OrderKeeper(7, 1, 0,
                [("c", Loopbacks[0], true, 1000 * Ms), ("d", Loopbacks[1], true, 1000 * Ms), ("own", Loopbacks[2], true, 1000 * Ms)]);
            Gates = new OrderGates(Rig.Vrf,
                [.. Loopbacks.Select(l => new OrderGate(l, new Hold(l.ToString(), Rig.Vrf, new HoldOptions())))],
                [ForwarderRig.Loopback4], 1);
            foreach (OrderGate gate in Gates.All) Rig.Plane.AddHold(gate.Hold);
            Group.Order = Gates;
            Group.ArmHold(Hold);
        }

        public ForwarderRig Rig { get; }

        public RedirectGroup Group { get; }

        public Hold Hold { get; }

        public OrderGates Gates { get; }

        public IpAddress ClientOf(Ingress ingress) => IpAddress.Parse(Clients[(int)ingress]);

        public void FromTunnel(Ingress ingress, int number) => ThroughTunnel(Packet(ingress, number));

        public void Direct(Ingress ingress, int number)
        {
            if (ingress == Ingress.Own) Rig.Receive(Rig.Site, Rig.FromClient(Packet(ingress, number)));
            else Rig.Receive(Rig.Core, Rig.FromPeA(Packet(ingress, number)));
        }

        public void Marker(Ingress ingress)
        {
            ThroughTunnel(new FlushMarker(7, 1, 0).ToPacket(Loopbacks[(int)ingress], ForwarderRig.Server4));
            Punted punted = Assert.Single(Rig.Punts.Take(), p => p.Info.Reason == PuntReason.FlushMarker);
            Assert.True(FlushMarker.TryParse(punted.Frame.AsSpan(punted.Info.L3Offset), out FlushMarker marker, out IpAddress from, out _));
            _keeper.Marker(from, marker, punted.Info.Tunnel is not null, Rig.Now);
        }

        public void Poll()
        {
            Rig.Forwarder.Poll(Rig.Now += Ms / 2);
            for (int i = 0; i < _keeper.Count; i++)
            {
                if (_keeper.Open(i, Hold.State == HoldState.Released, Gates.All[i].Hold.OldestNs, 0))
                    Gates.All[i].Hold.BeginRelease(DrainPath.Attached);
            }
        }

        public void OpenAll()
        {
            foreach (OrderGate gate in Gates.All) gate.Hold.BeginRelease(DrainPath.Attached);
        }

        public void PollUntilIdle()
        {
            for (int i = 0; i < 100; i++) Poll();
        }

        public string[] Delivered() => [.. Rig.SiteDevice.Sent().Select(f =>
        {
            IpAddress source = IpAddress.Read(IpFamily.V4, f.Bytes.AsSpan(26));
            var ingress = (Ingress)Array.IndexOf(Clients, source.ToString());
            return $"{ingress.ToString()[0]}{BinaryPrimitives.ReadInt32BigEndian(f.Bytes.AsSpan(34))}";
        })];

        public void Dispose()
        {
            Rig.Dispose();
            Hold.Dispose();
            foreach (OrderGate gate in Gates.All) gate.Hold.Dispose();
        }

        private void ThroughTunnel(byte[] inner) => Rig.Receive(Rig.Core, Rig.FromPeA(Frames.Ip(
            ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, IpProtocol.Gre, Frames.Gre(new GreHeader(EtherType.Ipv4, Key: 5), inner))));

        private byte[] Packet(Ingress ingress, int number)
        {
            byte[] payload = new byte[20 + (number % 50)];
            BinaryPrimitives.WriteInt32BigEndian(payload, number);
            return Frames.Ip(ClientOf(ingress), ForwarderRig.Server4, 253, payload);
        }
    }
}
