using SdnEdge.Testing.Bgp.Fuzz;

namespace SdnEdge.Testing.Simulation;

/// <summary>Simulated time: what is to happen, in order, and one source of chance for all of it.</summary>
public sealed class SimWorld(ulong seed)
{
    /// <summary>Nanoseconds in a millisecond.</summary>
    public const long Ms = 1_000_000;

    private readonly EventQueue _queue = new();
    private SplitMix _random = new(seed, 0x51AD);

    /// <summary>True time, nanoseconds. Nobody in the simulation sees it: each has its own <see cref="SimClock"/>.</summary>
    public long Now { get; private set; }

    /// <summary>Events that have happened.</summary>
    public long Events { get; private set; }

    /// <summary>
    /// Something that decides where packets go may have changed. Whoever looks at all of it again sets it back: of a thousand
    /// events of a run most only carry a packet on.
    /// </summary>
    public bool Changed { get; set; } = true;

    /// <summary>0 to <paramref name="below"/> - 1.</summary>
    public int Next(int below) => _random.Next(below);

    /// <summary>True in so many of a thousand cases.</summary>
    public bool Chance(int perMille) => _random.Next(1000) < perMille;

    /// <summary>A time between two times.</summary>
    public long Between(long from, long to) => from >= to ? from : _random.Next(from, to);

    /// <summary>0 up to, not including, 1.</summary>
    public double NextDouble() => _random.NextDouble();

    /// <summary>Has something happen at a time, or now when the time is over.</summary>
    public void At(long time, Action what) => _queue.Add(Math.Max(time, Now)) = new EventQueue.Event { What = what };

    /// <summary>Has a packet come to a PE at a time: the same as <see cref="At"/>, without an object for it.</summary>
    internal void At(long time, SimPe pe, in SimProbe probe) => _queue.Add(Math.Max(time, Now)) = new EventQueue.Event { Pe = pe, Probe = probe };

    /// <summary>Has something happen after a while.</summary>
    public void In(long nanoseconds, Action what) => At(Now + nanoseconds, what);

    /// <summary>Lets the next thing happen. False when nothing is to happen before a time.</summary>
    public bool Step(long until)
    {
        if (_queue.NextAt > until) return false;
        Now = _queue.NextAt;
        EventQueue.Event next = _queue.Take();
        Events++;
        if (next.What is { } what) what();
        else next.Pe!.Arrive(next.Probe);
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

    /// <summary>The first true time at which it shows this or more.</summary>
    public long True(long local)
    {
        if (local == long.MaxValue) return long.MaxValue;
        long time = (long)((local - _offset) / _rate);
        while (Local(time) < local) time++;
        return time;
    }
}
