using SdnEdge.Testing.Bgp.Fuzz;

namespace SdnEdge.Testing.Simulation;

/// <summary>Simulated time: what is to happen, in order, and one source of chance for all of it.</summary>
public sealed class SimWorld(ulong seed)
{
    /// <summary>Nanoseconds in a millisecond.</summary>
    public const long Ms = 1_000_000;

    // By time, and in the order given at one time.
    private readonly PriorityQueue<Action, (long At, long Order)> _queue = new();
    private SplitMix _random = new(seed, 0x51AD);
    private long _order;

    /// <summary>True time, nanoseconds. Nobody in the simulation sees it: each has its own <see cref="SimClock"/>.</summary>
    public long Now { get; private set; }

    /// <summary>Events that have happened.</summary>
    public long Events { get; private set; }

    /// <summary>0 to <paramref name="below"/> - 1.</summary>
    public int Next(int below) => _random.Next(below);

    /// <summary>True in so many of a thousand cases.</summary>
    public bool Chance(int perMille) => _random.Next(1000) < perMille;

    /// <summary>A time between two times.</summary>
    public long Between(long from, long to) => from >= to ? from : _random.Next(from, to);

    /// <summary>0 up to, not including, 1.</summary>
    public double NextDouble() => _random.NextDouble();

    /// <summary>Has something happen at a time, or now when the time is over.</summary>
    public void At(long time, Action what) => _queue.Enqueue(what, (Math.Max(time, Now), _order++));

    /// <summary>Has something happen after a while.</summary>
    public void In(long nanoseconds, Action what) => At(Now + nanoseconds, what);

    /// <summary>Lets the next thing happen. False when nothing is to happen before a time.</summary>
    public bool Step(long until)
    {
        if (!_queue.TryPeek(out Action? what, out (long At, long Order) next) || next.At > until) return false;
        _queue.Dequeue();
        Now = next.At;
        Events++;
        what();
        return true;
    }
}

/// <summary>The monotonic clock of one machine: it starts anywhere and runs a little fast or slow.</summary>
/// <param name="offset">What it shows at true time 0, nanoseconds.</param>
/// <param name="rate">Its seconds in a true second.</param>
public readonly struct SimClock(long offset, double rate)
{
    private readonly long _offset = offset;
    private readonly double _rate = rate;

    /// <summary>What it shows at a true time.</summary>
    public long Local(long time) => _offset + (long)(time * _rate);
}
