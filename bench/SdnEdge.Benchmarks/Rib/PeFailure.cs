using BenchmarkDotNet.Attributes;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Control;
using SdnEdge.Testing;

namespace SdnEdge.Benchmarks.Rib;

/// <summary>
/// An ingress PE with two ways to each prefix gives one PE up: the time until the last prefix goes by its backup. <see cref="Flip"/> is the
/// store for the pair of next hops, <see cref="Converge"/> what BGP does behind it, and did alone before.
/// </summary>
public class PeFailure : IFibNames, IDisposable
{
    private static readonly IpAddress One = IpAddress.Parse("10.255.0.1"), Two = IpAddress.Parse("10.255.0.2");

    private LocRib _rib = null!;
    private Vrf _vrf = null!;
    private FibPublisher _publisher = null!;
    private PortEntry _core = null!;
    private FibLeaf _last = null!;
    private IpPrefix _lastPrefix;

    /// <summary>How many prefixes both PEs advertise.</summary>
    [Params(1, 100_000)]
    public int Prefixes { get; set; }

    /// <summary>Fills the tables.</summary>
    [GlobalSetup]
    public void Setup()
    {
        var plane = new DataPlane(1);
        _rib = new LocRib("default");
        _vrf = plane.AddVrf("default");
        _core = plane.AddPort(new PortOptions("core", MacAddress.Parse("02:00:00:00:00:01"), 1500), LinkedPort.Pair("core", "x").One, _vrf);
        _publisher = new FibPublisher(_vrf, this);
        var connected = new RouteOrigin(RouteSource.Connected, "connected");
        _rib.Offer(connected, IpPrefix.Parse("10.255.0.0/24"), HopSpec.Connected("core"), null, 0);
        var builder = new AttributeBuilder();
        var table = new AttributeTable();
        foreach ((IpAddress pe, uint localPref) in ((IpAddress, uint)[])[(One, 200), (Two, 50)])
        {
            var origin = new RouteOrigin(pe, 65000, external: false);
            PathAttributes attributes = table.Intern(builder.Clear().Origin(BgpOrigin.Igp).Path().LocalPref(localPref).Build());
            for (int i = 0; i < Prefixes; i++)
                _rib.Offer(origin, _lastPrefix = new IpPrefix(IpAddress.FromV4(0x64400000u + (uint)i), 32), HopSpec.Via(pe), attributes, 0);
        }

        _publisher.Apply(_rib.TakeChanges());
        _last = _publisher.LeafOf(_lastPrefix)!;
    }

    /// <inheritdoc/>
    [GlobalCleanup]
    public void Dispose()
    {
        _vrf.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>The mark, set and taken back: what is measured is one of them.</summary>
    [Benchmark(OperationsPerInvoke = 2)]
    public bool Flip() => Mark(true) && Mark(false);

    /// <summary>The mark, and BGP behind it; there and back.</summary>
    [Benchmark(OperationsPerInvoke = 2)]
    public bool Converge()
    {
        Behind(true);
        bool there = _publisher.LeafOf(_lastPrefix)!.Hop.Current.Adjacency!.Address == Two;
        Behind(false);
        return there;
    }

    PortEntry? IFibNames.Port(string name) => _core;

    Tunnel? IFibNames.Tunnel(string name) => null;

    RedirectGroup? IFibNames.Group(string name) => null;

    // True when the last prefix goes the other way.
    private bool Mark(bool failed)
    {
        _publisher.Flip(_rib.SetFailed(HopKind.Via, One, failed));
        _rib.TakeChanges();
        return _last.Hop.Current.Adjacency!.Address == (failed ? Two : One);
    }

    private void Behind(bool failed)
    {
        _publisher.Flip(_rib.SetFailed(HopKind.Via, One, failed));
        _rib.Converge(0);
        _publisher.Apply(_rib.TakeChanges());
        _publisher.Reclaim();
    }
}
