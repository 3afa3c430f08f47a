using BenchmarkDotNet.Attributes;
using SdnEdge.Benchmarks.Fib;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Benchmarks.Forwarding;

/// <summary>
/// What one packet costs between two ports that cost nothing, with a million routes. Take "Fill" (copying the frame into the
/// batch, which a device does otherwise) off each figure.
/// </summary>
[MemoryDiagnoser]
public class ForwarderWays : IDisposable
{
    private const int Frames = 4096;

    private static readonly IpAddress s_own = IpAddress.Parse("10.255.0.3"), s_peer = IpAddress.Parse("10.255.0.2"),
        s_client = IpAddress.Parse("10.2.3.10"), s_tunnelled = IpAddress.Parse("10.1.1.10");

    private readonly DataPlane _plane = new(1);
    private readonly PacketBatch _batch = new();
    private readonly byte[][] _scattered = new byte[Frames][];
    private byte[] _plain = [], _large = [], _inner = [], _wrapped = [];
    private Forwarder? _forwarder;
    private Vrf? _vrf;
    private long _now = 1;

    /// <summary>Fills the table and builds the frames.</summary>
    [GlobalSetup]
    public void Setup()
    {
        _vrf = _plane.AddVrf("default");
        PortEntry input = _plane.AddPort(new PortOptions("in", MacAddress.Parse("02:00:00:00:00:01"), 9000), new FreePort("in"), _vrf);
        PortEntry output = _plane.AddPort(new PortOptions("out", MacAddress.Parse("02:00:00:00:00:02"), 1600), new FreePort("out"), _vrf);
        Adjacency next = output.Neighbors.GetOrAdd(IpAddress.Parse("172.16.0.1"))!;
        next.Resolve(MacAddress.Parse("02:00:00:00:0a:01"));
        Tunnel tunnel = _plane.AddTunnel(new TunnelOptions("t", s_own, s_peer, 1), _vrf, _vrf);
        tunnel.Up = true;

        IpPrefix[] routes = FullTable.V4();
        uint leaf = _vrf.AddLeaf(new FibLeaf(new IndirectNextHop(ForwardingDecision.Via(next))));
        foreach (IpPrefix prefix in routes) _vrf.Set(prefix, leaf);
        _vrf.Set(IpPrefix.Parse("0.0.0.0/0"), leaf);
        _vrf.Set(IpPrefix.Host(s_peer), leaf);
        _vrf.Set(IpPrefix.Host(s_own), new FibLeaf(new IndirectNextHop(ForwardingDecision.Local)));
        _vrf.Set(IpPrefix.Host(s_tunnelled), new FibLeaf(new IndirectNextHop(ForwardingDecision.Through(tunnel))));
        _forwarder = new Forwarder(0, _plane, new NoControlLoop());

        IpAddress one = IpAddress.Parse("192.0.2.1");
        UInt128[] keys = FullTable.Covered(routes, Frames);
        for (int i = 0; i < Frames; i++)
        {
            var to = IpAddress.FromV4((uint)keys[i]);
            bool special = to.V4 >> 24 is 0 or 127 or >= 224 || to.V4 >> 16 == 0xA9FE;
            _scattered[i] = Frame(input.Mac, Packet(special ? one : to, 64));
        }

        _plain = Frame(input.Mac, Packet(one, 64));
        _inner = Frame(input.Mac, Packet(s_tunnelled, 64));
        _large = Frame(input.Mac, Packet(s_tunnelled, 1400));
        byte[] inner = Packet(one, 64);
        byte[] outer = new byte[28 + inner.Length];
        inner.CopyTo(outer, 28);
        new GreHeader(EtherType.Ipv4, Key: 1).Emit(outer.AsSpan(20));
        new Ipv4Header(s_peer, s_own, IpProtocol.Gre).Emit(outer, outer.Length - 20);
        _wrapped = Frame(input.Mac, outer);
    }

    /// <inheritdoc/>
    [GlobalCleanup]
    public void Dispose()
    {
        _forwarder?.Dispose();
        _batch.Dispose();
        _vrf?.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>The copy alone.</summary>
    [Benchmark(OperationsPerInvoke = Frames, Baseline = true)]
    public void Fill()
    {
        for (int i = 0; i < Frames; i++)
        {
            if (!_batch.TryAdd(_plain)) _batch.Count = 0;
        }

        _batch.Count = 0;
    }

    /// <summary>Port to port, one destination.</summary>
    [Benchmark(OperationsPerInvoke = Frames)]
    public void Forward() => Run(_plain);

    /// <summary>Port to port, destinations scattered over a million routes.</summary>
    [Benchmark(OperationsPerInvoke = Frames)]
    public void ForwardScattered()
    {
        foreach (byte[] frame in _scattered) Add(frame);
        Flush();
    }

    /// <summary>Into a GRE tunnel with a key.</summary>
    [Benchmark(OperationsPerInvoke = Frames)]
    public void Encapsulate() => Run(_inner);

    /// <summary>Into a GRE tunnel, 1428-byte packets (the copy is what grows).</summary>
    [Benchmark(OperationsPerInvoke = Frames)]
    public void EncapsulateLarge() => Run(_large);

    /// <summary>Out of a GRE tunnel and on.</summary>
    [Benchmark(OperationsPerInvoke = Frames)]
    public void Decapsulate() => Run(_wrapped);

    private void Run(byte[] frame)
    {
        for (int i = 0; i < Frames; i++) Add(frame);
        Flush();
    }

    private void Add(byte[] frame)
    {
        _batch.TryAdd(frame);
        if (_batch.Count == PacketBatch.Capacity) Flush();
    }

    private void Flush() => _forwarder!.Process(_batch, 0, _now += 1000);

    private static byte[] Packet(IpAddress to, int payload)
    {
        byte[] ip = new byte[28 + payload];
        new UdpHeader(1000, 7).Emit(ip.AsSpan(20), s_client, to);
        new Ipv4Header(s_client, to, IpProtocol.Udp).Emit(ip, ip.Length - 20);
        return ip;
    }

    private static byte[] Frame(MacAddress to, byte[] ip)
    {
        byte[] frame = new byte[14 + ip.Length];
        new EthernetHeader(to, MacAddress.Parse("02:00:00:00:03:10"), EtherType.Ipv4).Emit(frame);
        ip.CopyTo(frame, 14);
        return frame;
    }

    private sealed class FreePort(string name) : IPort
    {
        public string Name => name;

        public bool SegmentsForUs => true;

        public int Receive(PacketBatch batch) => 0;

        public int Transmit(ReadOnlySpan<Packet> packets) => packets.Length;
    }

    private sealed class NoControlLoop : IPuntSink
    {
        public bool TryPunt(in PuntInfo info, ReadOnlySpan<byte> frame) => true;
    }
}
