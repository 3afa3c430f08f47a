namespace SdnEdge.Lab.Probes;

/// <summary>What a packet turned out to be.</summary>
public enum Arrival
{
    /// <summary>First copy, in order.</summary>
    InOrder,
    /// <summary>First copy, but its sequence is lower than the highest seen in its flow (RFC 4737, type-P-reordered).</summary>
    Reordered,
    /// <summary>Seen before.</summary>
    Duplicate,
    /// <summary>A sequence or flow beyond what the tally can hold. A run with such packets is not valid.</summary>
    OutOfRange,
}

/// <summary>
/// Counts of one stream at its receiver, made packet by packet without allocating: received (each sequence once),
/// duplicated (a bitmap), reordered (RFC 4737, by flow, first copies only), largest gap between arrivals, one-way delay,
/// and a series of bins for the picture.
/// </summary>
public sealed class StreamTally
{
    private readonly ulong[] seen;
    private readonly long[] nextExpected;
    private long lastArrivalNs;

    /// <summary>A tally for one stream.</summary>
    /// <param name="stream">The stream's number.</param>
    /// <param name="maxPackets">Highest sequence it can hold, plus one.</param>
    /// <param name="maxFlows">Highest flow, plus one.</param>
    /// <param name="series">Bins for the picture; null = none.</param>
    public StreamTally(byte stream, int maxPackets, int maxFlows, DelaySeries? series)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(maxPackets, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(maxFlows, 1);
        Stream = stream;
        seen = new ulong[(maxPackets + 63) / 64];
        nextExpected = new long[maxFlows];
        Series = series;
    }

    /// <summary>The stream's number.</summary>
    public byte Stream { get; }

    /// <summary>Different packets received.</summary>
    public long Received { get; private set; }

    /// <summary>Further copies of packets received before.</summary>
    public long Duplicated { get; private set; }

    /// <summary>Packets whose sequence was lower than the highest seen in their flow.</summary>
    public long Reordered { get; private set; }

    /// <summary>Packets the tally could not place.</summary>
    public long OutOfRange { get; private set; }

    /// <summary>Flows seen.</summary>
    public int Flows { get; private set; }

    /// <summary>First arrival, CLOCK_MONOTONIC nanoseconds; 0 = none.</summary>
    public long FirstArrivalNs { get; private set; }

    /// <summary>Last arrival.</summary>
    public long LastArrivalNs => lastArrivalNs;

    /// <summary>Longest time between two arrivals of the stream.</summary>
    public long MaxGapNs { get; private set; }

    /// <summary>When the longest gap ended.</summary>
    public long MaxGapEndedNs { get; private set; }

    /// <summary>Shortest one-way delay.</summary>
    public long MinDelayNs { get; private set; } = long.MaxValue;

    /// <summary>Longest one-way delay.</summary>
    public long MaxDelayNs { get; private set; }

    /// <summary>Sum of the one-way delays of the packets received.</summary>
    public long TotalDelayNs { get; private set; }

    /// <summary>Bins for the picture; null = none.</summary>
    public DelaySeries? Series { get; }

    /// <summary>Counts one packet.</summary>
    /// <param name="sequence">Sequence in the stream.</param>
    /// <param name="flow">Flow.</param>
    /// <param name="sendNs">When it was sent.</param>
    /// <param name="arrivalNs">When it arrived.</param>
    public Arrival Add(uint sequence, ushort flow, long sendNs, long arrivalNs)
    {
        // 1. Gap and first/last: any packet of the stream shows that the way is open.
        if (FirstArrivalNs == 0)
        {
            FirstArrivalNs = arrivalNs;
        }
        else if (arrivalNs - lastArrivalNs > MaxGapNs)
        {
            MaxGapNs = arrivalNs - lastArrivalNs;
            MaxGapEndedNs = arrivalNs;
        }

        // IPv4 and IPv6 are read from two sockets, so arrivals may be told a little out of their order in time.
        lastArrivalNs = Math.Max(lastArrivalNs, arrivalNs);

        // 2. Have we a place for it, and did we see it before?
        uint word = sequence >> 6;
        if (word >= (uint)seen.Length || flow >= nextExpected.Length)
        {
            OutOfRange++;
            return Arrival.OutOfRange;
        }

        ulong bit = 1UL << (int)(sequence & 63);
        if ((seen[word] & bit) != 0)
        {
            Duplicated++;
            return Arrival.Duplicate;
        }

        seen[word] |= bit;
        Received++;

        // 3. Delay, of first copies.
        long delay = arrivalNs - sendNs;
        MinDelayNs = Math.Min(MinDelayNs, delay);
        MaxDelayNs = Math.Max(MaxDelayNs, delay);
        TotalDelayNs += delay;
        Series?.Add(sendNs, delay);

        // 4. Order in the flow: NextExp of RFC 4737 section 3.3.
        long expected = nextExpected[flow];
        if (expected == 0)
        {
            Flows++;
        }

        if (sequence + 1L <= expected)
        {
            Reordered++;
            return Arrival.Reordered;
        }

        nextExpected[flow] = sequence + 1L;
        return Arrival.InOrder;
    }
}

/// <summary>
/// Bins of equal width over the send time: how many packets sent in that time arrived, and the shortest and longest delay
/// they had. Beside the sender's own bins this is the loss and delay picture of the run.
/// </summary>
public sealed class DelaySeries
{
    private readonly int[] counts;
    private readonly int[] minMicroseconds;
    private readonly int[] maxMicroseconds;

    /// <summary>A series that starts at <paramref name="originNs"/>.</summary>
    public DelaySeries(long originNs, long binNs, int bins)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(binNs, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(bins, 1);
        OriginNs = originNs;
        BinNs = binNs;
        counts = new int[bins];
        minMicroseconds = new int[bins];
        maxMicroseconds = new int[bins];
    }

    /// <summary>Start of the first bin.</summary>
    public long OriginNs { get; }

    /// <summary>Width of a bin.</summary>
    public long BinNs { get; }

    /// <summary>Bins used so far.</summary>
    public int Used { get; private set; }

    /// <summary>Packets in the bins.</summary>
    public ReadOnlySpan<int> Counts => counts.AsSpan(0, Used);

    /// <summary>Shortest delay in each bin, microseconds.</summary>
    public ReadOnlySpan<int> MinMicroseconds => minMicroseconds.AsSpan(0, Used);

    /// <summary>Longest delay in each bin, microseconds.</summary>
    public ReadOnlySpan<int> MaxMicroseconds => maxMicroseconds.AsSpan(0, Used);

    /// <summary>Counts a packet sent at <paramref name="sendNs"/>; what lies outside the series is left out.</summary>
    public void Add(long sendNs, long delayNs)
    {
        long index = (sendNs - OriginNs) / BinNs;
        if (sendNs < OriginNs || index >= counts.Length)
        {
            return;
        }

        int bin = (int)index;
        int delay = (int)Math.Clamp(delayNs / 1000, int.MinValue, int.MaxValue);
        if (counts[bin]++ == 0)
        {
            minMicroseconds[bin] = delay;
            maxMicroseconds[bin] = delay;
        }
        else
        {
            minMicroseconds[bin] = Math.Min(minMicroseconds[bin], delay);
            maxMicroseconds[bin] = Math.Max(maxMicroseconds[bin], delay);
        }

        Used = Math.Max(Used, bin + 1);
    }
}
