using SdnEdge.Core.Api;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>Zero bytes of managed memory a packet, on each way; and the meter sees an allocation where there is one.</summary>
public sealed class AllocationTests
{
    private const int Packets = 100_000;

    [Theory]
    [InlineData("forward")]
    [InlineData("forward ipv6")]
    [InlineData("encapsulate")]
    [InlineData("encapsulate in udp")]
    [InlineData("decapsulate")]
    [InlineData("split a superpacket")]
    [InlineData("fragment")]
    [InlineData("drop")]
    public void Costs_no_allocation(string way)
    {
        using Course course = new();
        course.Run(way, 1000); // code is compiled, arenas and locks are there
        long before = course.Handled;
        Assert.Equal(0, course.Measure(way, Packets));
        Assert.Equal(Packets, course.Handled - before);
    }

    [Fact]
    public void Holding_and_releasing_costs_no_allocation()
    {
        using Course course = new();
        course.HoldAndRelease(500);
        long allocated = course.HoldAndRelease(Packets);
        Assert.Equal(0, allocated);
    }

    [Theory]
    [InlineData("forward")]
    [InlineData("encapsulate")]
    public void The_meter_sees_one_allocation_a_batch(string way)
    {
        using Course course = new();
        course.Run(way, 1000);
        course.Sink.Leaks = true;
        Assert.InRange(course.Measure(way, 6400), 100 * 24, 100 * 200);
    }

    /// <summary>Counts what it gets; allocates on demand.</summary>
    private sealed class SinkPort(string name, bool segmentsForUs) : IPort
    {
        private object? _leak;

        public string Name => name;

        public bool SegmentsForUs => segmentsForUs;

        public bool Leaks { get; set; }

        public long Frames { get; private set; }

        public int Receive(PacketBatch batch) => 0;

        public int Transmit(ReadOnlySpan<Packet> packets)
        {
            if (Leaks) _leak = new object();
            GC.KeepAlive(_leak);
            Frames += packets.Length;
            return packets.Length;
        }
    }

    private sealed class NoPunts : IPuntSink
    {
        public bool TryPunt(in PuntInfo info, ReadOnlySpan<byte> frame) => true;
    }

    private sealed class Course : IDisposable
    {
        private readonly PacketBatch _batch = new();
        private readonly DataPlane _plane = new(1);
        private readonly Vrf _vrf;
        private readonly PortEntry _in, _out;
        private readonly Forwarder _forwarder;
        private readonly FibLeaf _server;
        private readonly Dictionary<string, (byte[] Frame, VnetHeader Vnet)> _frames;
        private long _now = 1;

        public Course()
        {
            _vrf = _plane.AddVrf("default");
            Sink = new SinkPort("out", true);
            _in = _plane.AddPort(new PortOptions("in", MacAddress.Parse("02:00:00:00:00:01"), 9000), new SinkPort("in", true), _vrf);
            _out = _plane.AddPort(new PortOptions("out", MacAddress.Parse("02:00:00:00:00:02"), 1600), Sink, _vrf);
            Adjacency next = _out.Neighbors.GetOrAdd(ForwarderRig.PeA4)!;
            next.Resolve(ForwarderRig.PeAMac);
            Tunnel gre = AddTunnel(TunnelTests.Options() with { Key = 1, IsRedirect = true });
            Tunnel udp = AddTunnel(TunnelTests.Options() with { Key = 1, Encapsulation = TunnelEncapsulation.GreInUdp });
            Route("0.0.0.0/0", ForwardingDecision.Via(next));
            Route("::/0", ForwardingDecision.Via(next));
            Route("10.255.0.3/32", ForwardingDecision.Local);
            Route("10.77.0.0/16", ForwardingDecision.Through(gre));
            Route("10.78.0.0/16", ForwardingDecision.Through(udp));
            Route("10.79.0.0/16", ForwardingDecision.Blackhole);
            _server = Route("10.1.1.10/32", ForwardingDecision.Via(next));
            _server.AttachedHop = ForwardingDecision.Via(next);
            _forwarder = new Forwarder(0, _plane, new NoPunts());

            (byte[] super, VnetHeader vnet) = OffloadTests.Tcp(false, 3000);
            IpAddress.Parse("10.77.0.9").Write(super.AsSpan(16));
            super[10] = super[11] = 0;
            System.Buffers.Binary.BinaryPrimitives.WriteUInt16BigEndian(super.AsSpan(10), Checksum.Compute(super.AsSpan(0, 20)));
            _frames = new(StringComparer.Ordinal)
            {
                ["forward"] = (Frame("10.200.0.1", 64), default),
                ["forward ipv6"] = (Wrap(Frames.Ip(ForwarderRig.Client6, ForwarderRig.Server6, 17, Frames.Bytes(64))), default),
                ["encapsulate"] = (Frame("10.77.0.1", 64), default),
                ["encapsulate in udp"] = (Frame("10.78.0.1", 64), default),
                ["decapsulate"] = (Decapsulated("10.200.0.1"), default),
                ["split a superpacket"] = (Wrap(super), vnet),
                ["fragment"] = (Frame("10.200.0.1", 4000), default),
                ["drop"] = (Frame("10.79.0.1", 64), default),
                ["hold"] = (Decapsulated("10.1.1.10"), default),
            };
        }

        public SinkPort Sink { get; }

        /// <summary>Frames received and dealt with.</summary>
        public long Handled => _plane.Ledger.Imbalance == 0 ? _plane.Ledger.Received : -1;

        public long Measure(string way, int packets)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            Run(way, packets);
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }

        public void Run(string way, int packets)
        {
            (byte[] frame, VnetHeader vnet) = _frames[way];
            for (int i = 0; i < packets;)
            {
                for (; _batch.Count < PacketBatch.Capacity && i < packets; i++) _batch.TryAdd(frame, vnet);
                _forwarder.Process(_batch, _in.Index, _now += 1000);
            }
        }

        /// <summary>Bytes allocated while packets go into a hold and come out again.</summary>
        public long HoldAndRelease(int packets)
        {
            RedirectGroup group = new("g", "default", 1);
            using Hold hold = new("h", _vrf, new HoldOptions(ReleasePacketsPerSecond: 0));
            _plane.AddHold(hold);
            _server.Group = group;
            group.ArmHold(hold);
            long sent = Sink.Frames;
            long allocated = Measure("hold", packets);
            Assert.Equal((packets, sent), ((int)hold.Info.PacketsHeldNow, Sink.Frames));
            group.Release(hold);
            long before = GC.GetAllocatedBytesForCurrentThread();
            while (hold.State != HoldState.Released) _forwarder.Poll(_now += 1_000_000);
            allocated += GC.GetAllocatedBytesForCurrentThread() - before;
            Assert.Equal(packets, Sink.Frames - sent);
            _server.Group = null;
            _plane.RemoveHold(hold);
            return allocated;
        }

        public void Dispose()
        {
            _forwarder.Dispose();
            _batch.Dispose();
            _vrf.Dispose();
        }

        private Tunnel AddTunnel(TunnelOptions options)
        {
            Tunnel tunnel = _plane.AddTunnel(options, _vrf, _vrf);
            tunnel.Up = true;
            return tunnel;
        }

        private FibLeaf Route(string prefix, ForwardingDecision decision)
        {
            FibLeaf leaf = new(new IndirectNextHop(decision));
            _vrf.Set(IpPrefix.Parse(prefix), leaf);
            return leaf;
        }

        private byte[] Wrap(byte[] ip) => ForwarderRig.Ethernet(_in.Mac, ForwarderRig.ClientMac, ip);

        private byte[] Frame(string to, int payload)
            => Wrap(Frames.Ip(ForwarderRig.Client4, IpAddress.Parse(to), 17, Frames.Bytes(payload)));

        private byte[] Decapsulated(string to) => Wrap(Frames.Ip(ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, IpProtocol.Gre,
            Frames.Gre(new GreHeader(EtherType.Ipv4, Key: 1), Frames.Ip(ForwarderRig.Client4, IpAddress.Parse(to), 17, Frames.Bytes(64)))));
    }
}
