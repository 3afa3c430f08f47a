namespace SdnEdge.Lab.Probes;

/// <summary>
/// How many packets are due now, so that the count follows the rate exactly whatever the timer's jitter: a late tick sends
/// what is missing. Time in which the process stood still (stopped by a signal, as a migrating server is) is no time at all,
/// as it is none for a frozen guest's clock: nothing is caught up after it.
/// Pure: the caller brings the time.
/// </summary>
public sealed class SendSchedule
{
    private readonly long packetsPerSecond;
    private readonly long maxCatchUpNs;
    private long originNs;
    private long lastNs;
    private long issued;

    /// <summary>A schedule that starts at <paramref name="startNs"/>.</summary>
    /// <param name="packetsPerSecond">1 .. 10 000 000.</param>
    /// <param name="startNs">CLOCK_MONOTONIC nanoseconds.</param>
    /// <param name="maxCatchUpNs">A gap between two calls longer than this counts as standing still.</param>
    public SendSchedule(long packetsPerSecond, long startNs, long maxCatchUpNs)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(packetsPerSecond, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(packetsPerSecond, 10_000_000);
        ArgumentOutOfRangeException.ThrowIfLessThan(maxCatchUpNs, 1);
        this.packetsPerSecond = packetsPerSecond;
        this.maxCatchUpNs = maxCatchUpNs;
        originNs = startNs;
        lastNs = startNs;
    }

    /// <summary>Nanoseconds left out because the process stood still.</summary>
    public long SkippedNs { get; private set; }

    /// <summary>How often it stood still.</summary>
    public int Skips { get; private set; }

    /// <summary>Packets due at <paramref name="now"/> that were not given out before. They count as given out.</summary>
    public long TakeDue(long now)
    {
        long gap = now - lastNs;
        if (gap > maxCatchUpNs)
        {
            originNs += gap;
            SkippedNs += gap;
            Skips++;
        }

        lastNs = now;
        long total = (long)((Int128)(now - originNs) * packetsPerSecond / 1_000_000_000);
        long due = total - issued;
        if (due <= 0)
        {
            return 0;
        }

        issued = total;
        return due;
    }
}
