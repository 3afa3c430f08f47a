using System.Globalization;
using SdnEdge.Linux;

namespace SdnEdge.Benchmarks.Bfd;

/// <summary>
/// A process of its own that sees when the machine stands still: on each core a thread before all ordinary ones wakes every
/// millisecond, allocates nothing and notes each time it woke 10 ms late or more. A line on its input is answered with what
/// was noted since the last one; the end of its input ends it.
/// </summary>
internal static class WitnessCommand
{
    private const long NotedNs = 10_000_000;

    public static int Run(string[] args)
    {
        var noted = new List<Standstill>(1024);
        for (int i = 0; i < Environment.ProcessorCount; i++)
        {
            int core = i;
            new Thread(() => Watch(core, noted)) { IsBackground = true, Name = $"witness-{core}" }.Start();
        }

        Console.WriteLine("ready");
        while (Console.ReadLine() is not null)
        {
            lock (noted)
            {
                Console.WriteLine(string.Join(' ', noted));
                noted.Clear();
            }
        }

        return 0;
    }

    private static void Watch(int core, List<Standstill> noted)
    {
        Affinity.Pin(core);
        Urgency.Raise();
        for (long last = Monotonic.Now; ;)
        {
            Thread.Sleep(1);
            long now = Monotonic.Now;
            if (now - last >= NotedNs)
            {
                lock (noted) noted.Add(new Standstill(core, last, now));
            }

            last = now;
        }
    }
}

/// <summary>A core ran nobody from one time (CLOCK_MONOTONIC nanoseconds) to another.</summary>
internal readonly record struct Standstill(int Core, long FromNs, long ToNs)
{
    public double Ms => (ToNs - FromNs) / 1e6;

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Core}:{FromNs}:{ToNs}");

    public static Standstill Parse(string text)
    {
        long[] parts = [.. text.Split(':').Select(p => long.Parse(p, CultureInfo.InvariantCulture))];
        return new Standstill((int)parts[0], parts[1], parts[2]);
    }
}
