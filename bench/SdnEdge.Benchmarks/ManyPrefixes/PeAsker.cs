using System.Diagnostics;
using SdnEdge.Client;

namespace SdnEdge.Benchmarks.ManyPrefixes;

/// <summary>Asks a PE's API again and again, from a thread of its own, and keeps how long each answer took.</summary>
internal sealed class PeAsker : IDisposable
{
    private readonly PeClient _pe;
    private readonly int _everyMs;
    private readonly Lock _lock = new();
    private readonly Thread _thread;
    private List<double> _took = [];
    private volatile bool _stop;

    /// <summary>Begins to ask.</summary>
    /// <param name="pe">The PE; disposed of with this.</param>
    /// <param name="everyMs">Time between an answer and the next question, milliseconds.</param>
    public PeAsker(PeClient pe, int everyMs)
    {
        (_pe, _everyMs) = (pe, everyMs);
        _thread = new Thread(Run) { IsBackground = true, Name = "asks a PE" };
        _thread.Start();
    }

    /// <summary>What was asked before does not count.</summary>
    public void Begin()
    {
        lock (_lock) _took = [];
    }

    /// <summary>How long the answers since <see cref="Begin"/> took, milliseconds, in order.</summary>
    public double[] End()
    {
        lock (_lock) return [.. _took.Order()];
    }

    public void Dispose()
    {
        _stop = true;
        _thread.Join();
        _pe.Dispose();
    }

    private void Run()
    {
        while (!_stop)
        {
            long begin = Stopwatch.GetTimestamp();
            _pe.NodeAsync().GetAwaiter().GetResult();
            double ms = Stopwatch.GetElapsedTime(begin).TotalMilliseconds;
            lock (_lock) _took.Add(ms);
            Thread.Sleep(_everyMs);
        }
    }
}
