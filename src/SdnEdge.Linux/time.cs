using System.Diagnostics;

namespace SdnEdge.Linux;

/// <summary>
/// The one clock of the system: CLOCK_MONOTONIC in nanoseconds, the same in every process of a machine. What the kernel
/// stamps packets with (CLOCK_REALTIME) is brought onto it by <see cref="FromRealtime"/>.
/// </summary>
public static class Monotonic
{
    private const long UnixEpochTicks = 621_355_968_000_000_000;

    private static readonly long NanosecondsPerTick = CheckedScale();

    /// <summary>Nanoseconds of CLOCK_MONOTONIC.</summary>
    public static long Now => Stopwatch.GetTimestamp() * NanosecondsPerTick;

    /// <summary>
    /// Brings a CLOCK_REALTIME time stamp (ns since 1970) onto this clock, by <paramref name="offset"/> from
    /// <see cref="RealtimeOffset"/>.
    /// </summary>
    public static long FromRealtime(long realtime, long offset) => realtime - offset;

    /// <summary>CLOCK_REALTIME less CLOCK_MONOTONIC now, in ns; the best of a few readings. Ask again when the wall clock may have been
    /// set.</summary>
    public static long RealtimeOffset()
    {
        long best = 0, narrowest = long.MaxValue;
        for (int i = 0; i < 5; i++)
        {
            long before = Now;
            long wall = (DateTime.UtcNow.Ticks - UnixEpochTicks) * 100;
            long after = Now;
            if (after - before >= narrowest) continue;
            narrowest = after - before;
            best = wall - (before + (narrowest / 2));
        }

        return best;
    }

    private static long CheckedScale() =>
        1_000_000_000 % Stopwatch.Frequency == 0
            ? 1_000_000_000 / Stopwatch.Frequency
            : throw new PlatformNotSupportedException(
                $"the monotonic clock ticks {Stopwatch.Frequency} times a second; 1 GHz or a divisor is needed");
}
