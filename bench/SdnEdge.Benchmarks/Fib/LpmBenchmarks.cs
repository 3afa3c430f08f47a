using BenchmarkDotNet.Attributes;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Benchmarks.Fib;

/// <summary>Lookups in a full table of a million routes, random keys that routes cover; time for one lookup.</summary>
public class LpmLookup : IDisposable
{
    private const int Keys = 1 << 16;
    private const int Batch = 64;
    private readonly LpmTable4 _v4 = new();
    private readonly LpmTable6 _v6 = new();
    private readonly uint[] _leaves = new uint[Batch];
    private uint[] _keys4 = [];
    private UInt128[] _keys6 = [];

    /// <summary>Fills the tables.</summary>
    [GlobalSetup]
    public void Setup()
    {
        IpPrefix[] routes = FullTable.V4();
        LpmInsert.Fill(_v4, routes);
        _keys4 = Array.ConvertAll(FullTable.Covered(routes, Keys), k => (uint)k);
        routes = FullTable.V6();
        LpmInsert.Fill(_v6, routes);
        _keys6 = FullTable.Covered(routes, Keys);
    }

    /// <inheritdoc/>
    [GlobalCleanup]
    public void Dispose()
    {
        _v4.Dispose();
        _v6.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>One address at a time.</summary>
    [Benchmark(OperationsPerInvoke = Keys)]
    public uint V4()
    {
        uint sum = 0;
        foreach (uint key in _keys4) sum += _v4.Lookup(key);
        return sum;
    }

    /// <summary>One address at a time, each known only when the last is found: the latency.</summary>
    [Benchmark(OperationsPerInvoke = Keys)]
    public uint V4Latency()
    {
        uint last = 0;
        foreach (uint key in _keys4) last = _v4.Lookup(key ^ (last >> 31));
        return last;
    }

    /// <summary>A vector of 64.</summary>
    [Benchmark(OperationsPerInvoke = Keys)]
    public uint V4Batch()
    {
        for (int i = 0; i < Keys; i += Batch) _v4.Lookup(_keys4.AsSpan(i, Batch), _leaves);
        return _leaves[0];
    }

    /// <summary>One address at a time.</summary>
    [Benchmark(OperationsPerInvoke = Keys)]
    public uint V6()
    {
        uint sum = 0;
        foreach (UInt128 key in _keys6) sum += _v6.Lookup(key);
        return sum;
    }

    /// <summary>A vector of 64.</summary>
    [Benchmark(OperationsPerInvoke = Keys)]
    public uint V6Batch()
    {
        for (int i = 0; i < Keys; i += Batch) _v6.Lookup(_keys6.AsSpan(i, Batch), _leaves);
        return _leaves[0];
    }
}

/// <summary>Filling an empty table with a million routes in random order, and changing a full one; time for one route.</summary>
[SimpleJob(BenchmarkDotNet.Engines.RunStrategy.Monitoring, warmupCount: 1, iterationCount: 5)]
public class LpmInsert : IDisposable
{
    private IpPrefix[] _v4 = [];
    private IpPrefix[] _v6 = [];
    private LpmTable4 _full = new();

    /// <summary>Makes the routes.</summary>
    [GlobalSetup]
    public void Setup()
    {
        _v4 = FullTable.V4();
        _v6 = FullTable.V6();
        _full.Dispose();
        _full = new LpmTable4();
        Fill(_full, _v4);
    }

    /// <inheritdoc/>
    [GlobalCleanup]
    public void Dispose()
    {
        _full.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>A million IPv4 routes into an empty table.</summary>
    [Benchmark(OperationsPerInvoke = FullTable.Routes)]
    public int V4Fill()
    {
        using var table = new LpmTable4();
        Fill(table, _v4);
        return table.Count;
    }

    /// <summary>A million IPv6 routes into an empty table.</summary>
    [Benchmark(OperationsPerInvoke = FullTable.Routes)]
    public int V6Fill()
    {
        using var table = new LpmTable6();
        Fill(table, _v6);
        return table.Count;
    }

    /// <summary>A hundred thousand routes taken out of a full table and put back.</summary>
    [Benchmark(OperationsPerInvoke = 200_000)]
    public int V4Churn()
    {
        for (int i = 0; i < 100_000; i++) _full.Remove(_v4[i].Address.V4, _v4[i].Length);
        for (int i = 0; i < 100_000; i++) _full.Set(_v4[i].Address.V4, _v4[i].Length, (uint)i + 1);
        _full.Reclaim();
        return _full.Count;
    }

    internal static void Fill(LpmTable4 table, IpPrefix[] routes)
    {
        for (int i = 0; i < routes.Length; i++)
        {
            table.Set(routes[i].Address.V4, routes[i].Length, (uint)i + 1);
            if (i % 4096 == 0) table.Reclaim();
        }

        table.Reclaim();
    }

    internal static void Fill(LpmTable6 table, IpPrefix[] routes)
    {
        for (int i = 0; i < routes.Length; i++)
        {
            table.Set(routes[i].Address.Bits, routes[i].Length, (uint)i + 1);
            if (i % 4096 == 0) table.Reclaim();
        }

        table.Reclaim();
    }
}
