namespace SdnEdge.Standstill;

/// <summary>One freeze, as the seed chose it.</summary>
/// <param name="GapNs">Time from the freeze before to this one, in ns.</param>
/// <param name="LengthNs">How long it lasts, in ns.</param>
/// <param name="Whole">True: all threads of a process. False: one thread.</param>
/// <param name="Process">Which of the processes there are, oldest first: 0 is the first, just below 1 the last.</param>
/// <param name="Thread">Which of its threads, in the same way.</param>
public readonly record struct Freeze(long GapNs, long LengthNs, bool Whole, double Process, double Thread);

/// <summary>
/// What is frozen, when and for how long: 20 to 30 freezes a second, most of them 5 to 60 ms long, one in 25 0.4 to 2 s. The same seed
/// gives the same freezes. Which process is the n-th oldest then, and what it is doing, is the machine's to say.
/// </summary>
public sealed class FreezePlan(int seed)
{
    private const double MillisecondNs = 1e6;
    private readonly Random _random = new(seed);

    /// <summary>The next freeze.</summary>
    public Freeze Next()
    {
        // Each choice draws the same number of times, so that none shifts those behind it.
        double gap = Between(1000 / 30.0, 1000 / 20.0);
        bool isLong = _random.Next(25) == 0;
        double length = isLong ? Between(400, 2000) : Between(5, 60);
        return new Freeze((long)(gap * MillisecondNs), (long)(length * MillisecondNs), _random.Next(2) == 0, _random.NextDouble(),
            _random.NextDouble());
    }

    private double Between(double least, double most) => least + (_random.NextDouble() * (most - least));
}
