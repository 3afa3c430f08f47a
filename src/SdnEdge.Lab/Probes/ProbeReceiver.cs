namespace SdnEdge.Lab.Probes;

/// <summary>
/// Takes in numbered packets and counts them, stream by stream:
///   1. wait for packets, take all that are there with the kernel's own arrival times,
///   2. leave out what is not of this run,
///   3. tally (lost is not counted here: it is the sender's count less what is counted here),
///   4. once told to stop, go on until all that was announced is here, or until it has been quiet for a while, or until
///      the bound is reached.
/// Nothing is allocated while it runs.
/// </summary>
public sealed class ProbeReceiver
{
    private const int WaitMilliseconds = 20;

    private readonly uint run;
    private readonly IProbeListener listener;
    private readonly Func<long> clock;
    private readonly RecordLog? log;
    private readonly StreamTally?[] byStream = new StreamTally?[256];
    private readonly List<StreamTally> tallies = [];
    private readonly long[] announced = new long[256];
    private long foreign;
    private volatile bool stop;

    /// <summary>A receiver for the given streams.</summary>
    public ProbeReceiver(uint run, IProbeListener listener, IEnumerable<StreamTally> streams, Func<long> clock, RecordLog? log)
    {
        this.run = run;
        this.listener = listener;
        this.clock = clock;
        this.log = log;
        Array.Fill(announced, -1);
        foreach (StreamTally tally in streams)
        {
            byStream[tally.Stream] = tally;
            tallies.Add(tally);
        }
    }

    /// <summary>Says how many packets a sender has sent in all, so that the receiver need not wait longer than for these.</summary>
    public void Announce(byte stream, long sent) => Volatile.Write(ref announced[stream], sent);

    /// <summary>Begins the end: see step 4. May be called from any thread.</summary>
    public void Stop() => stop = true;

    /// <summary>Receives until stopped and drained.</summary>
    /// <param name="durationNs">Stops by itself after this time; 0 = only when told.</param>
    /// <param name="quietNs">How long nothing may come before the way is taken to be empty.</param>
    /// <param name="boundNs">Longest time to drain.</param>
    public ReceiveResult Run(long durationNs, long quietNs, long boundNs)
    {
        long now = clock();
        long end = durationNs == 0 ? long.MaxValue : now + durationNs;
        long lastArrival = now;
        long stoppedAt = 0;
        while (true)
        {
            int count = listener.Receive(WaitMilliseconds);
            now = clock();
            for (int i = 0; i < count; i++)
            {
                Take(listener.Payload(i), listener.ArrivalNs(i));
            }

            if (count > 0)
            {
                lastArrival = now;
            }

            if (stoppedAt == 0 && (stop || now >= end))
            {
                stoppedAt = now;
            }

            bool quiet = count == 0 && (AllHere() || now - Math.Max(lastArrival, stoppedAt) >= quietNs);
            if (stoppedAt != 0 && (quiet || now - stoppedAt >= boundNs))
            {
                return Result();
            }
        }
    }

    private void Take(ReadOnlySpan<byte> payload, long arrivalNs)
    {
        if (!ProbePayload.TryRead(payload, out ProbePayload probe) || probe.Run != run || byStream[probe.Stream] is not { } tally)
        {
            foreign++;
            return;
        }

        tally.Add(probe.Sequence, probe.Flow, probe.SendNs, arrivalNs);
        log?.Append(new ProbeRecord(probe.SendNs, arrivalNs, probe.Sequence, probe.Flow, probe.Stream, 0));
    }

    private bool AllHere()
    {
        foreach (StreamTally tally in tallies)
        {
            long sent = Volatile.Read(ref announced[tally.Stream]);
            if (sent < 0 || tally.Received < sent)
            {
                return false;
            }
        }

        return tallies.Count > 0;
    }

    private ReceiveResult Result()
    {
        long ownDrops = listener.ReadOwnDrops();
        long outOfRange = tallies.Sum(t => t.OutOfRange);
        long overflow = log?.Overflow ?? 0;
        string? why =
            ownDrops > 0 ? $"the receiver's own socket buffer overflowed: {ownDrops} packets were lost here, not in the network"
            : outOfRange > 0 ? $"{outOfRange} packets had sequence numbers beyond what the receiver was told to expect"
            : overflow > 0 ? $"{overflow} packets found the packet log full"
            : null;
        return new ReceiveResult("received", run, ownDrops, foreign, overflow, why is null, why, [.. tallies.Select(Of)]);
    }

    private static ReceivedStream Of(StreamTally t) => new(
        t.Stream, t.Received, t.Duplicated, t.Reordered, t.OutOfRange, t.Flows, t.FirstArrivalNs, t.LastArrivalNs, t.MaxGapNs,
        t.MaxGapEndedNs, t.Received == 0 ? 0 : t.MinDelayNs, t.MaxDelayNs, t.Received == 0 ? 0 : t.TotalDelayNs / t.Received,
        t.Series is { } s
            ? new SeriesResult(s.OriginNs, s.BinNs, s.Counts.ToArray(), s.MinMicroseconds.ToArray(), s.MaxMicroseconds.ToArray())
            : null);
}
