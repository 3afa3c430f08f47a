using System.Diagnostics;
using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

internal static unsafe partial class Libc
{
    public const int CLOCK_BOOTTIME = 7;

    [LibraryImport(Library, EntryPoint = "clock_gettime", SetLastError = true)]
    public static partial int GetClock(int clock, TimeSpec* time);
}

/// <summary>
/// CLOCK_BOOTTIME in nanoseconds, the same in every process of a machine. Unlike <see cref="Monotonic"/> it goes on while the machine
/// sleeps: for what must have run out when it wakes.
/// </summary>
public static unsafe class BootTime
{
    /// <summary>The time.</summary>
    public static long Now
    {
        get
        {
            Libc.TimeSpec time;
            return Libc.GetClock(Libc.CLOCK_BOOTTIME, &time) == 0 ? (time.Seconds * 1_000_000_000L) + time.Nanoseconds
                : throw LinuxException.Last("read CLOCK_BOOTTIME");
        }
    }
}

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
