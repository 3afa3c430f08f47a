using System.Buffers.Binary;
using FsCheck.Xunit;
using SdnEdge.Core.Api;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>
/// Whatever comes in, and whatever the control loop does meanwhile: nothing throws, and every packet is accounted for.
/// Frames are random bytes, valid frames, and valid frames with a few bytes, lengths or offload fields changed.
/// </summary>
public sealed class ConservationTests
{
    [Property(MaxTest = 40)]
    public void Every_packet_is_accounted_for(int seed)
    {
        Random random = new(seed);
        using World world = new(random);
        for (int step = 0; step < 400; step++)
        {
            world.Act(random);
            Assert.Equal(0, world.Rig.Plane.Ledger.Imbalance);
            foreach (MemoryPort device in world.Devices) foreach (TestFrame frame in device.Sent()) AssertSane(frame, device, world.Rig);
        }

        world.Drain();
        PacketLedger ledger = world.Rig.Plane.Ledger;
        Assert.Equal(0, ledger.Imbalance);
        Assert.Equal((ledger.IntoHold, ledger.IntoWait), (ledger.OutOfHold, ledger.OutOfWait));
        Assert.Equal(ledger.Received + ledger.Originated + ledger.Split, ledger.Transmitted + ledger.Dropped + ledger.Punted);
    }

    [Property(MaxTest = 40)]
    public void What_lies_behind_a_frame_in_memory_does_not_matter(int seed)
    {
        Random one = new(seed), two = new(seed);
        using World a = new(one), b = new(two);
        using PacketBatch left = new(), right = new();
        Random frames = new(seed), garbage = new(~seed);
        for (int step = 0; step < 150; step++)
        {
            (byte[] frame, VnetHeader vnet) = a.Frame(frames);
            Fill(left, frame, vnet, garbage);
            Fill(right, frame, vnet, garbage);
            int port = frames.Next(2);
            a.Rig.Forwarder.Process(left, port, a.Rig.Now);
            b.Rig.Forwarder.Process(right, port, b.Rig.Now);
            Assert.Equal(a.Rig.Plane.Ledger, b.Rig.Plane.Ledger);
            for (int d = 0; d < a.Devices.Length; d++)
            {
                IReadOnlyList<TestFrame> x = a.Devices[d].Sent(), y = b.Devices[d].Sent();
                Assert.Equal(x.Count, y.Count);
                for (int i = 0; i < x.Count; i++)
                {
                    Assert.Equal(x[i].Bytes, y[i].Bytes);
                    Assert.Equal(x[i].Vnet, y[i].Vnet);
                }
            }

            Assert.Equal(a.Rig.Punts.Take().Select(p => p.Frame), b.Rig.Punts.Take().Select(p => p.Frame));
        }
    }

    private static unsafe void Fill(PacketBatch batch, byte[] frame, VnetHeader vnet, Random garbage)
    {
        garbage.NextBytes(new Span<byte>(batch.FrameBuffer(0) - PacketBatch.HeadroomBytes, PacketBatch.HeadroomBytes + 4096));
        batch.Count = 0;
        batch.TryAdd(frame, vnet);
    }

    private static void AssertSane(TestFrame frame, MemoryPort device, ForwarderRig rig)
    {
        Assert.True(frame.Bytes.Length >= 14);
        VnetHeader v = frame.Vnet;
        if (!device.SegmentsForUs) Assert.Equal(default, v);
        if (v.Flags != 0) Assert.True(v.CsumStart + v.CsumOffset + 2 <= frame.Bytes.Length);
        int type = BinaryPrimitives.ReadUInt16BigEndian(frame.Bytes.AsSpan(12));
        if (type is not (EtherType.Ipv4 or EtherType.Ipv6)) return;
        ReadOnlySpan<byte> ip = frame.Bytes.AsSpan(14);
        if (type == EtherType.Ipv4)
            Assert.True(Ipv4View.TryParse(ip, out Ipv4View four) && four.ChecksumIsValid && four.TotalLength == ip.Length);
        else Assert.True(Ipv6View.TryParse(ip, out _));
        int mtu = ReferenceEquals(device, rig.SiteDevice) ? rig.Site.Mtu : ReferenceEquals(device, rig.CoreDevice) ? rig.Core.Mtu : 9000;
        if (v.GsoType == 0) Assert.True(ip.Length <= mtu);
    }

    /// <summary>A rig with all there is: tunnels of each kind, a redirect group, a hold, a host port, unresolved neighbours.</summary>
    private sealed class World : IDisposable
    {
        private readonly Tunnel[] _tunnels;
        private readonly RedirectGroup _group;
        private readonly FibLeaf _leaf;
        private Hold? _hold;

        public World(Random random)
        {
            Rig = new ForwarderRig(segmentsForUs: random.Next(2) == 0, coreMtu: random.Next(600, 1700), siteMtu: random.Next(600, 1700),
                host: random.Next(2) == 0);
            _group = new RedirectGroup("g", "default", 1);
            _tunnels =
            [
                .. new[]
                {
                    TunnelTests.Options() with { Key = 1, IsRedirect = true, MssClamp = true },
                    TunnelTests.Options() with { Key = 2, Checksum = true, Sequence = true, TtlUniform = true },
                    TunnelTests.Options() with { Encapsulation = TunnelEncapsulation.GreInUdp, Key = 1 },
                    TunnelTests.Options(true) with { Dscp = DscpModel.Pipe },
                    new TunnelOptions("nested", ForwarderRig.Loopback4, IpAddress.Parse("10.77.0.1"), 4) { Mtu = 900 },
                }.Select(o => Rig.Plane.AddTunnel(o, Rig.Vrf, Rig.Vrf)),
            ];
            foreach (Tunnel tunnel in _tunnels)
            {
                tunnel.Up = random.Next(5) > 0;
                if (random.Next(4) == 0) tunnel.PathMtu = random.Next(600, 1400);
            }

            _leaf = Rig.Route("10.1.1.10/32", ForwardingDecision.Via(Rig.PeB, ForwarderRig.PeBLoopback4), _group);
            _leaf.AttachedHop = ForwardingDecision.Connected(Rig.Site);
            Rig.Route("10.77.0.0/16", ForwardingDecision.Through(_tunnels[1]));
            Rig.Route("10.78.0.0/16", ForwardingDecision.Through(_tunnels[4]));
            Rig.Route("10.79.0.0/16", ForwardingDecision.Unreachable);
            Rig.Route("fd00:1:1::/64", ForwardingDecision.Through(_tunnels[random.Next(4)]));
            if (random.Next(3) == 0) Rig.Punts.Room = random.Next(20);
            Devices = [Rig.SiteDevice, Rig.CoreDevice, Rig.HostDevice];
        }

        public ForwarderRig Rig { get; }

        public MemoryPort[] Devices { get; }

        public void Act(Random random)
        {
            Rig.Now += random.Next(5_000_000);
            switch (random.Next(40))
            {
                case 0:
                    _group.Arm(ForwardingDecision.Through(_tunnels[0]));
                    _group.Switch();
                    break;
                case 1:
                    _group.SwitchBack();
                    break;
                case 2 when _hold is null:
                    _hold = new Hold("h", Rig.Vrf, new HoldOptions(random.Next(1, 20_000), random.Next(1, 30), random.Next(1, 40),
                        (HoldOverflowPolicy)random.Next(2), random.Next(2) * 5000));
                    Rig.Plane.AddHold(_hold);
                    _group.ArmHold(_hold);
                    break;
                case 3 when _hold is not null:
                    _group.Release(_hold);
                    break;
                case 4 when _hold is not null:
                    _hold.BeginRelease(DrainPath.Native);
                    break;
                case 5 or 6:
                    foreach (Adjacency adjacency in Rig.Site.Neighbors.Snapshot().Concat(Rig.Core.Neighbors.Snapshot())
                        .Where(_ => random.Next(3) == 0))
                    {
                        if (random.Next(3) > 0 ? adjacency.Resolve(ForwarderRig.HostMac) : adjacency.Fail())
                            Rig.Forwarder.FlushNeighbor(adjacency, Rig.Now);
                    }

                    break;
                case 7:
                    Rig.Forwarder.Originate(0, Frame(random).Bytes.AsSpan(), Rig.Now);
                    break;
                case 8:
                    Rig.Forwarder.SendThroughTunnel(_tunnels[random.Next(_tunnels.Length)], Packet(random), Rig.Now);
                    break;
                case 9:
                    Rig.Core.Up = !Rig.Core.Up;
                    break;
                case 10:
                    Rig.CoreDevice.Accepts = random.Next(3) == 0 ? random.Next(2) : int.MaxValue;
                    break;
                case < 16:
                    Rig.Forwarder.Poll(Rig.Now);
                    break;
                default:
                    (byte[] frame, VnetHeader vnet) = Frame(random);
                    Rig.ReceiveOne(random.Next(2) == 0 ? Rig.Site : Rig.Core, frame, vnet);
                    break;
            }
        }

        public void Drain()
        {
            if (_hold is not null) _group.Release(_hold);
            for (int i = 0; i < 200; i++) Rig.Forwarder.Poll(Rig.Now += 50_000_000);
        }

        public (byte[] Bytes, VnetHeader Vnet) Frame(Random random)
        {
            byte[] frame;
            VnetHeader vnet = default;
            if (random.Next(6) == 0)
            {
                (byte[] ip, vnet) = OffloadTests.Tcp(random.Next(2) == 0, random.Next(8000), random.Next(2) == 0);
                frame = Address(random, ip);
            }
            else if (random.Next(12) == 0)
            {
                frame = new byte[random.Next(200)];
                random.NextBytes(frame);
                return (frame, vnet);
            }
            else
            {
                frame = Address(random, Packet(random));
            }

            for (int i = random.Next(4) == 0 ? random.Next(1, 6) : 0; i > 0; i--)
                frame[random.Next(Math.Min(frame.Length, 90))] = (byte)random.Next(256);
            if (random.Next(12) == 0) frame = frame[..random.Next(frame.Length)];
            if (random.Next(12) == 0)
            {
                vnet = new VnetHeader
                {
                    Flags = (byte)random.Next(4), GsoType = (byte)random.Next(8), GsoSize = (ushort)(random.Next(3) * random.Next(3000)),
                    CsumStart = (ushort)random.Next(120),
                    CsumOffset = (ushort)(random.Next(3) == 0 ? random.Next(70) : random.Next(2) == 0 ? 6 : 16),
                };
            }

            return (frame, vnet);
        }

        private byte[] Address(Random random, byte[] ip)
            => ForwarderRig.Ethernet(random.Next(10) == 0 ? MacAddress.Broadcast : random.Next(2) == 0 ? Rig.Site.Mac : Rig.Core.Mac,
                ForwarderRig.ClientMac, ip);

        private byte[] Packet(Random random, int depth = 0)
        {
            bool v6 = random.Next(3) == 0;
            IpAddress from = v6 ? ForwarderRig.Client6 : ForwarderRig.Client4;
            string[] to4 = ["10.1.1.10", "10.1.1.10", "10.2.3.10", "10.2.3.50", "10.77.3.4", "10.78.1.1", "10.79.1.1", "10.255.0.3",
                "8.8.8.8", "127.0.0.1", "224.0.0.1"];
            string[] to6 = ["fd00:1:1::10", "fd00:2:3::10", "fd00:2:3::77", "fd00:ff::3", "2001:db8::1", "ff02::1", "fe80::1"];
            IpAddress to = IpAddress.Parse(v6 ? to6[random.Next(to6.Length)] : to4[random.Next(to4.Length)]);
            byte ttl = (byte)(random.Next(10) == 0 ? random.Next(3) : 64);
            int size = random.Next(4) == 0 ? random.Next(2500) : random.Next(150);
            if (depth < 3 && random.Next(4) == 0)
            {
                bool outer6 = random.Next(4) == 0, udp = random.Next(3) == 0;
                IpAddress peer = outer6 ? ForwarderRig.PeBLoopback6 : ForwarderRig.PeBLoopback4,
                own = outer6 ? ForwarderRig.Loopback6 : ForwarderRig.Loopback4;
                byte[] inner = Packet(random, depth + 1);
                GreHeader gre = new(inner[0] >> 4 == 6 ? EtherType.Ipv6 : EtherType.Ipv4, random.Next(2) == 0,
                    outer6 ? null : (uint)random.Next(1, 3), random.Next(2) == 0 ? 1 : null);
                return Frames.Ip(peer, own, udp ? IpProtocol.Udp : IpProtocol.Gre,
                    udp ? Frames.GreInUdpDatagram(gre, peer, own, inner) : Frames.Gre(gre, inner), ttl);
            }

            byte protocol = new[] { IpProtocol.Udp, IpProtocol.Icmp, IpProtocol.Icmpv6, (byte)200 }[random.Next(4)];
            return Frames.Ip(from, to, protocol, Frames.Bytes(size), ttl, random.Next(2) == 0);
        }

        public void Dispose()
        {
            Rig.Dispose();
            _hold?.Dispose();
        }
    }
}
