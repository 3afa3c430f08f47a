using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Benchmarks.Bfd;

/// <summary>
/// What a busy control plane does to the process it is in: a RIB of a million routes in which one after the other changes its
/// attributes, and a full collection of all generations each second.
/// </summary>
internal sealed class Churn : IDisposable
{
    private const int Attributes = 30_000, PrefixesATurn = 1000;
    private static readonly long CollectEvery = 1_000_000_000;

    private readonly LocRib _rib = new("default");
    private readonly AttributeTable _table = new();
    private readonly AttributeBuilder _builder = new();
    private readonly RouteOrigin _peer = new(IpAddress.Parse("10.0.0.1"), 65001, external: true) { PeerRouterId = 1 };
    private readonly Thread[] _threads;
    private readonly int _routes;
    private volatile bool _stop;

    public Churn(int routes)
    {
        _routes = routes;
        _rib.Offer(new RouteOrigin(RouteSource.Connected, "connected"), IpPrefix.Parse("10.0.0.0/8"), HopSpec.Connected("core"), null, 0);
        for (int i = 0; i < routes; i++) Offer(i, 0);
        Settle();
        _threads = [new Thread(Change) { IsBackground = true, Name = "churn" },
            new Thread(Collect) { IsBackground = true, Name = "collect" }];
        foreach (Thread thread in _threads) thread.Start();
    }

    public long Changed { get; private set; }

    public List<double> PausesMs { get; } = [];

    /// <summary>Of each pause: what the collector computed, and for how long its thread waited for a core meanwhile.</summary>
    public List<(double Computed, double Waited)> Shares { get; } = [];

    public void Dispose()
    {
        _stop = true;
        foreach (Thread thread in _threads) thread.Join();
    }

    private void Change()
    {
        for (int round = 1, i = 0; !_stop; i += PrefixesATurn)
        {
            if (i >= _routes) (i, round) = (0, round + 1);
            for (int k = 0; k < PrefixesATurn; k++) Offer(i + k, round);
            Changed += PrefixesATurn;
            Settle();
        }
    }

    private void Collect()
    {
        long next = Environment.TickCount64 + (CollectEvery / 1_000_000);
        while (!_stop)
        {
            Thread.Sleep((int)Math.Max(1, next - Environment.TickCount64));
            TimeSpan before = GC.GetTotalPauseDuration();
            (double computed, double waited) = Scheduled();
            GC.Collect(2, GCCollectionMode.Forced, blocking: true);
            (double computedThen, double waitedThen) = Scheduled();
            PausesMs.Add((GC.GetTotalPauseDuration() - before).TotalMilliseconds);
            Shares.Add((computedThen - computed, waitedThen - waited));
            next = Environment.TickCount64 + (CollectEvery / 1_000_000);
        }
    }

    /// <summary>Time this thread had a core, and time it waited for one, in ms (proc(5), schedstat).</summary>
    private static (double Computed, double Waited) Scheduled()
    {
        string[] words = File.ReadAllText("/proc/thread-self/schedstat").Split(' ');
        return (long.Parse(words[0], System.Globalization.CultureInfo.InvariantCulture) / 1e6,
            long.Parse(words[1], System.Globalization.CultureInfo.InvariantCulture) / 1e6);
    }

    private void Offer(int i, int round)
    {
        uint set = (uint)((i + (round * 7)) % Attributes);
        PathAttributes attributes = _table.Intern(_builder.Clear().Origin(BgpOrigin.Igp).Path(65001, 64000 + (set % 900), 60000
            + (set / 900), (uint)round).Communities(set + 1).Build());
        _rib.Offer(_peer, new IpPrefix(IpAddress.FromV4((20u << 24) + ((uint)i << 8)), 24), HopSpec.Via(IpAddress.Parse("10.0.0.1")),
            attributes, i);
    }

    private void Settle() => _rib.TakeChanges();
}
