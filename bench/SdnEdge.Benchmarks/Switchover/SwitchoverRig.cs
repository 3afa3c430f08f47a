using SdnEdge.Benchmarks.Netns;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Worker;

namespace SdnEdge.Benchmarks.Switchover;

/// <summary>
/// A router of one worker: a port that always has frames, half to bystanders and half to members of the groups; a port for
/// the bystanders, one for the groups' native way and one for the tunnel.
/// </summary>
internal sealed class SwitchoverRig : IDisposable
{
    public const int Bystanders = 100_000;

    private const int FramesOfEach = 4096;
    private const double WindowMs = 4;

    private readonly DataPlane _plane = new(1);
    private readonly GeneratorPort _input;
    private readonly SinkPort _bystanders = new("bystanders");
    private readonly SinkPort _native = new("native");
    private readonly SinkPort _core = new("core");
    private readonly RedirectGroup[] _groups;
    private readonly int[] _sizes;
    private readonly ForwardingDecision _intoTunnel;
    private readonly Forwarder _forwarder;
    private readonly PortWorker _worker;
    private readonly PortEntry _from;

    public SwitchoverRig(int[] sizes)
    {
        _sizes = sizes;
        Vrf vrf = _plane.AddVrf("default");
        PortEntry bystanders = AddSink(vrf, _bystanders, 1), native = AddSink(vrf, _native, 2), core = AddSink(vrf, _core, 3);

        IpAddress remote = IpAddress.Parse("10.255.0.2");
        vrf.Set(IpPrefix.Host(remote), new FibLeaf(new IndirectNextHop(Via(core))));
        Tunnel tunnel = _plane.AddTunnel(new TunnelOptions("mig", IpAddress.Parse("10.255.0.1"), remote, 7) { IsRedirect = true }, vrf,
            vrf);
        tunnel.Up = true;
        _intoTunnel = ForwardingDecision.Through(tunnel);

        // The traffic goes to prefixes of /24 and longer, which hardly any other route lies inside; those come first, so that a
        // group of one has one.
        IpPrefix[] routes = RouteSet.Make(sizes.Sum() + Bystanders);
        int first = Array.FindIndex(routes, Bystanders, r => r.Length >= 24);
        (routes[Bystanders], routes[first]) = (routes[first], routes[Bystanders]);
        var frames = new List<byte[]>();
        uint other = vrf.AddLeaf(new FibLeaf(new IndirectNextHop(Via(bystanders))));
        Fill(vrf, routes.AsSpan(0, Bystanders), other);
        frames.Add(RouteSet.Frames(Long(routes[..Bystanders]), FramesOfEach * sizes.Length));
        _groups = new RedirectGroup[sizes.Length];
        int at = Bystanders;
        for (int g = 0; g < sizes.Length; g++)
        {
            _groups[g] = new RedirectGroup("g" + sizes[g], vrf.Name, 1);
            uint leaf = vrf.AddLeaf(new FibLeaf(new IndirectNextHop(Via(native)), _groups[g]));
            IpPrefix[] mine = routes[at..(at + sizes[g])];
            Fill(vrf, mine, leaf);
            at += sizes[g];
            frames.Add(RouteSet.Frames(Long(mine), FramesOfEach, seed: g + 10));
        }

        _input = new GeneratorPort(Interleave(frames));
        _from = _plane.AddPort(new PortOptions("in", RouteSet.RouterMac, 1500) { Addresses =
            [new PortAddress(IpAddress.Parse("192.0.2.1"), 24)] }, _input, vrf);
        _forwarder = new Forwarder(0, _plane, new Refusal());
        _worker = new PortWorker(0, _forwarder);
    }

    /// <summary>What the worker forwards, watched for a while.</summary>
    public double PacketsPerSecond()
    {
        long begin = Monotonic.Now, packets = _from.RxPackets;
        Wait(300);
        return (_from.RxPackets - packets) * 1e9 / (Monotonic.Now - begin);
    }

    public void Start()
    {
        _worker.Attach(_from.Index, _input);
        _worker.Start();
        long packets = _from.RxPackets;
        Wait(500);
        if (_from.RxPackets == packets) throw new InvalidOperationException("the worker does not forward");
        if (_plane.DropsTotal > 0) throw new InvalidOperationException(
            $"the rig drops packets: {string.Join(", ", Enum.GetValues<DropReason>().Where(r => _plane.Drops(r) > 0))}");
    }

    /// <summary>Watches the bystanders for a while, in the middle of which a group is switched; -1 = nothing is.</summary>
    public Trial Try(int group)
    {
        RedirectGroup? g = group < 0 ? null : _groups[group];
        g?.Arm(_intoTunnel);
        _bystanders.Reset();
        long begin = Monotonic.Now, before = _bystanders.Packets;
        Wait(WindowMs / 2);

        // Touched once, as the signal's checks do it: the store is to be timed, not the cache misses of a thread that slept.
        _ = g?.Active;
        _ = Monotonic.Now;
        long signal = 0, start = Monotonic.Now;
        g?.Switch();
        long stored = Monotonic.Now, store = stored - start;
        if (g is not null)
        {
            GracePeriod.Wait([_worker]);
            g.MarkAcknowledged();
            signal = Monotonic.Now - start;
        }

        Wait(WindowMs / 2);
        double rate = (_bystanders.Packets - before) * 1e9 / (Monotonic.Now - begin);
        long gap = _bystanders.LongestGapNs;
        if (g is null) return new Trial(0, store, 0, gap / 1e3, rate, 0, 0); // store: two readings of the clock

        // FirstTunnelPacketAtNs is the earliest of all switches of the group; this switch's is the active decision's. A packet
        // has the time of its batch's begin, so that of the batch in which the store fell lies before it.
        long first = Math.Max(stored, g.Active.FirstPacketAtNs ?? stored);
        long stale = g.StalePackets;
        g.SwitchBack();
        GracePeriod.Wait([_worker]);
        g.MarkAcknowledged();
        return new Trial(_sizes[group], store, signal / 1e3, gap / 1e3, rate, (first - stored) / 1e3, stale);
    }

    public void Dispose()
    {
        _worker.Dispose();
        _forwarder.Dispose();
        _input.Dispose();
        foreach (Vrf? vrf in _plane.Vrfs) vrf?.Dispose();
    }

    private static void Wait(double milliseconds)
    {
        // Asleep for most of it: the worker may need this core.
        long until = Monotonic.Now + (long)(milliseconds * 1e6);
        while (Monotonic.Now < until) Thread.Sleep(TimeSpan.FromMilliseconds(1));
    }

    private static IpPrefix[] Long(IpPrefix[] routes) => [.. routes.Where(r => r.Length >= 24)];

    private static void Fill(Vrf vrf, ReadOnlySpan<IpPrefix> routes, uint leaf)
    {
        foreach (IpPrefix route in routes) vrf.Set(route, leaf);
        vrf.V4.Reclaim();
    }

    // Bystander, member of a group, bystander, member of the next group ...
    private static byte[] Interleave(List<byte[]> sets)
    {
        const int Size = RouteSet.FrameBytes;
        int groups = sets.Count - 1;
        byte[] all = new byte[2 * FramesOfEach * groups * Size];
        for (int i = 0; i < FramesOfEach * groups; i++)
        {
            sets[0].AsSpan(i * Size, Size).CopyTo(all.AsSpan(2 * i * Size));
            sets[1 + (i % groups)].AsSpan(i / groups * Size, Size).CopyTo(all.AsSpan(((2 * i) + 1) * Size));
        }

        return all;
    }

    private static ForwardingDecision Via(PortEntry port)
    {
        Adjacency neighbor = port.Neighbors.GetOrAdd(IpAddress.FromV4(port.Addresses[0].Address.V4 + 1))!;
        neighbor.Resolve(new MacAddress(0x0200_0000_0030UL + (ulong)port.Index));
        return ForwardingDecision.Via(neighbor);
    }

    private PortEntry AddSink(Vrf vrf, SinkPort sink, uint number) => _plane.AddPort(
        new PortOptions(sink.Name, new MacAddress(0x0200_0000_0020UL + number), 1600) { Addresses =
            [new PortAddress(IpAddress.FromV4(0xAC10_0001 + (number << 8)), 24)] }, sink, vrf);

    private sealed class Refusal : IPuntSink
    {
        public bool TryPunt(in PuntInfo info, ReadOnlySpan<byte> frame) => false;
    }
}
