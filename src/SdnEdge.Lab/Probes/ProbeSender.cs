namespace SdnEdge.Lab.Probes;

/// <summary>One stream of a sender: where it goes and by which sockets.</summary>
/// <param name="Stream">Stream number.</param>
/// <param name="Flows">A socket for each flow.</param>
public sealed record SendStream(byte Stream, IReadOnlyList<IProbeTransmitter> Flows);

/// <summary>
/// Sends numbered packets at a rate over many flows until told to stop:
///   1. ask the schedule how many are due,
///   2. deal them out to the flows in turn, several of one flow in one call when it is late,
///   3. a sequence number is used up only by a packet the kernel took,
///   4. sleep to the next millisecond.
/// Nothing is allocated while it runs.
/// </summary>
public sealed class ProbeSender
{
    /// <summary>Most packets in one call to the kernel.</summary>
    public const int MaxBurst = 64;

    private const int TickMilliseconds = 1;

    private readonly uint run;
    private readonly int size;
    private readonly StreamState[] streams;
    private readonly Lane[] lanes;
    private readonly byte[] buffer;
    private readonly Func<long> clock;
    private readonly RecordLog? log;
    private readonly long packetsPerSecond;
    private int nextLane;
    private volatile bool stop;

    /// <summary>A sender.</summary>
    /// <param name="run">Run identifier.</param>
    /// <param name="packetsPerSecond">All streams together.</param>
    /// <param name="sizeBytes">UDP payload, <see cref="ProbePayload.MinSize"/> .. <see cref="ProbePayload.MaxSize"/>.</param>
    /// <param name="streams">At least one, each with at least one flow.</param>
    /// <param name="clock">CLOCK_MONOTONIC nanoseconds.</param>
    /// <param name="log">Where each packet sent is noted; null = nowhere.</param>
    public ProbeSender(
        uint run, long packetsPerSecond, int sizeBytes, IReadOnlyList<SendStream> streams, Func<long> clock, RecordLog? log)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(sizeBytes, ProbePayload.MinSize);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(sizeBytes, ProbePayload.MaxSize);
        ArgumentOutOfRangeException.ThrowIfZero(streams.Count);
        this.run = run;
        this.packetsPerSecond = packetsPerSecond;
        size = sizeBytes;
        this.clock = clock;
        this.log = log;
        this.streams = [.. streams.Select(s => new StreamState { Stream = s.Stream, Flows = s.Flows.Count })];

        // One lane a flow, streams interleaved, so that in any short time each stream gets its share.
        int flows = streams.Max(s => s.Flows.Count);
        var order = new List<Lane>();
        for (int flow = 0; flow < flows; flow++)
        {
            for (int s = 0; s < streams.Count; s++)
            {
                if (flow < streams[s].Flows.Count)
                {
                    order.Add(new Lane { State = this.streams[s], Flow = (ushort)flow, Socket = streams[s].Flows[flow] });
                }
            }
        }

        lanes = [.. order];
        buffer = new byte[MaxBurst * size];
        for (int i = 0; i < MaxBurst; i++)
        {
            ProbePayload.Prepare(buffer.AsSpan(i * size, size));
        }
    }

    /// <summary>Where each packet sent is noted; null = nowhere.</summary>
    public RecordLog? Log => log;

    /// <summary>Makes <see cref="Run"/> return after the tick at hand. May be called from any thread.</summary>
    public void Stop() => stop = true;

    /// <summary>Sends until <see cref="Stop"/> or until <paramref name="durationNs"/> has gone by.</summary>
    /// <param name="durationNs">0 = until stopped.</param>
    /// <param name="maxCatchUpNs">A longer standstill is not made up for.</param>
    public SendResult Run(long durationNs, long maxCatchUpNs)
    {
        long started = clock();
        long end = durationNs == 0 ? long.MaxValue : started + durationNs;
        var schedule = new SendSchedule(packetsPerSecond, started, maxCatchUpNs);
        long now = started;
        while (!stop)
        {
            SendDue(schedule.TakeDue(now));
            if (now >= end) break;
            Thread.Sleep(TickMilliseconds); // a little longer than asked; the schedule makes it good
            now = Math.Min(clock(), end);   // what was due by the end is sent, however late the last tick is
        }

        return new SendResult(
            "sent", run, packetsPerSecond, started, now, schedule.SkippedNs, schedule.Skips,
            [.. streams.Select(s => new SentStream(s.Stream, s.Sent, s.Errors, s.LastError, s.Flows, size))]);
    }

    /// <summary>Sends <paramref name="due"/> packets now, dealt out to the flows in turn.</summary>
    public void SendDue(long due)
    {
        // A long backlog goes out in runs of one flow, a usual tick one by one.
        while (due > 0)
        {
            int burst = (int)Math.Clamp(due / lanes.Length, 1, MaxBurst);
            SendBurst(lanes[nextLane], burst);
            nextLane = nextLane + 1 == lanes.Length ? 0 : nextLane + 1;
            due -= burst;
        }
    }

    private void SendBurst(Lane lane, int count)
    {
        StreamState stream = lane.State;
        long now = clock();
        for (int i = 0; i < count; i++)
        {
            new ProbePayload
            {
                Stream = stream.Stream,
                Flow = lane.Flow,
                Sequence = (uint)(stream.Sent + i),
                FlowSequence = (uint)(lane.Sent + i),
                SendNs = now,
                Run = run,
            }.Write(buffer.AsSpan(i * size, size));
        }

        int taken = lane.Socket.Send(buffer.AsSpan(0, count * size), size, count);
        if (taken < count)
        {
            // What was refused is lost to the schedule, not to the count: the next packet takes its number.
            stream.Errors += count - taken;
            stream.LastError = lane.Socket.LastError;
        }

        if (log is not null)
        {
            for (int i = 0; i < taken; i++)
            {
                log.Append(new ProbeRecord(now, 0, (uint)(stream.Sent + i), lane.Flow, stream.Stream, 0));
            }
        }

        stream.Sent += taken;
        lane.Sent += taken;
    }

    private sealed class StreamState
    {
        public byte Stream;
        public int Flows;
        public long Sent;
        public long Errors;
        public int LastError;
    }

    private sealed class Lane
    {
        public required StreamState State;
        public required IProbeTransmitter Socket;
        public ushort Flow;
        public long Sent;
    }
}
