using SdnEdge.Lab.Probes;

namespace SdnEdge.Demo.Report;

/// <summary>
/// All that can be said about one stream, from its sender's log and its receiver's log. Packets are named by their
/// sequence; for each there is when it was sent, when its first copy arrived (0 = never), how many further copies came, and
/// whether the first copy came after a later packet of its flow (RFC 4737). Pure.
/// </summary>
internal sealed class StreamAnalysis
{
    private readonly long[] sendNs;
    private readonly long[] arrivalNs;
    private readonly ushort[] copies;
    private readonly bool[] reordered;
    private readonly ushort[] flows;
    private long[] arrivals = []; // every arrival, copies too, in order of time
    private readonly List<int> order = []; // sequences of first copies, as they arrived

    private StreamAnalysis(int sent)
    {
        sendNs = new long[sent];
        arrivalNs = new long[sent];
        copies = new ushort[sent];
        reordered = new bool[sent];
        flows = new ushort[sent];
    }

    /// <summary>Packets sent.</summary>
    public int Sent => sendNs.Length;

    /// <summary>Different packets that arrived.</summary>
    public long Received { get; private set; }

    /// <summary>Packets sent that never arrived.</summary>
    public long Lost => Sent - Received;

    /// <summary>Further copies.</summary>
    public long Duplicated { get; private set; }

    /// <summary>Packets that came after a later one of their flow.</summary>
    public long Reordered { get; private set; }

    /// <summary>Packets that arrived but were never sent: the two logs are not of one run.</summary>
    public long Unknown { get; private set; }

    /// <summary>Longest time between two arrivals.</summary>
    public long MaxGapNs { get; private set; }

    /// <summary>First packet's send time; 0 = none.</summary>
    public long FirstSentNs => Sent == 0 ? 0 : sendNs[0];

    /// <summary>Last packet's send time; 0 = none.</summary>
    public long LastSentNs => Sent == 0 ? 0 : sendNs[^1];

    /// <summary>Analyses one stream of two logs (which may hold other streams too).</summary>
    public static StreamAnalysis Of(byte stream, ReadOnlySpan<ProbeRecord> sent, ReadOnlySpan<ProbeRecord> received)
    {
        // 1. What was sent. A sender's log is in the order of the sequence, without gaps.
        int count = 0;
        int flows = 0;
        foreach (ref readonly ProbeRecord r in sent)
        {
            if (r.Stream == stream)
            {
                count = Math.Max(count, checked((int)r.Sequence + 1));
                flows = Math.Max(flows, r.Flow + 1);
            }
        }

        var analysis = new StreamAnalysis(count);
        foreach (ref readonly ProbeRecord r in sent)
        {
            if (r.Stream == stream)
            {
                analysis.sendNs[r.Sequence] = r.SendNs;
                analysis.flows[r.Sequence] = r.Flow;
            }
        }

        // 2. What arrived, in the order of arrival.
        var next = new long[Math.Max(flows, 1)];
        var arrivals = new List<long>(count);
        foreach (ref readonly ProbeRecord r in received)
        {
            if (r.Stream == stream)
            {
                arrivals.Add(r.ArrivalNs);
                analysis.Take(r, next);
            }
        }

        // 3. Gaps. IPv4 and IPv6 are read from two sockets, so the log is in order for each flow, not as a whole.
        arrivals.Sort();
        analysis.arrivals = [.. arrivals];
        for (int i = 1; i < arrivals.Count; i++)
        {
            analysis.MaxGapNs = Math.Max(analysis.MaxGapNs, arrivals[i] - arrivals[i - 1]);
        }

        return analysis;
    }

    private void Take(in ProbeRecord r, long[] next)
    {
        if (r.Sequence >= sendNs.Length || r.Flow >= next.Length)
        {
            Unknown++;
        }
        else if (arrivalNs[r.Sequence] != 0)
        {
            Duplicated++;
            copies[r.Sequence]++;
        }
        else
        {
            arrivalNs[r.Sequence] = r.ArrivalNs;
            order.Add((int)r.Sequence);
            Received++;
            if (r.Sequence < next[r.Flow])
            {
                Reordered++;
                reordered[r.Sequence] = true;
            }
            else
            {
                next[r.Flow] = r.Sequence + 1L;
            }
        }
    }

    /// <summary>
    /// Packets that arrived at or after <paramref name="arrivedFromNs"/> behind a later one of their flow that had arrived
    /// before <paramref name="overtakenBeforeNs"/>.
    /// </summary>
    public long ReorderedBy(long overtakenBeforeNs, long arrivedFromNs)
    {
        var next = new Dictionary<ushort, int>();
        long n = 0;
        foreach (int sequence in order)
        {
            if (sequence < next.GetValueOrDefault(flows[sequence]))
            {
                n += arrivalNs[sequence] >= arrivedFromNs ? 1 : 0;
            }
            else if (arrivalNs[sequence] < overtakenBeforeNs)
            {
                next[flows[sequence]] = sequence + 1;
            }
        }

        return n;
    }

    /// <summary>Delays, in order of sending, of the packets sent in [from, to) that arrived.</summary>
    public List<long> Delays(long fromNs, long toNs)
    {
        var delays = new List<long>();
        for (int i = FirstSentAtOrAfter(fromNs); i < sendNs.Length && sendNs[i] < toNs; i++)
        {
            if (arrivalNs[i] != 0)
            {
                delays.Add(arrivalNs[i] - sendNs[i]);
            }
        }

        return delays;
    }

    /// <summary>
    /// Send time of the first packet sent at or after <paramref name="fromNs"/> whose delay is at most
    /// <paramref name="delayNs"/>; null = none.
    /// </summary>
    public long? FirstFasterThan(long fromNs, long delayNs)
    {
        for (int i = FirstSentAtOrAfter(fromNs); i < sendNs.Length; i++)
        {
            if (arrivalNs[i] != 0 && arrivalNs[i] - sendNs[i] <= delayNs)
            {
                return sendNs[i];
            }
        }

        return null;
    }

    /// <summary>First arrival of a packet sent at or after <paramref name="fromNs"/>; null = none.</summary>
    public long? FirstArrivalSentAfter(long fromNs)
    {
        long best = long.MaxValue;
        for (int i = FirstSentAtOrAfter(fromNs); i < sendNs.Length; i++)
        {
            if (arrivalNs[i] != 0)
            {
                best = Math.Min(best, arrivalNs[i]);
            }
        }

        return best == long.MaxValue ? null : best;
    }

    /// <summary>Longest time between two arrivals of which some lies within [from, to]; 0 = there are no two.</summary>
    public long LongestGapNs(long fromNs, long toNs)
    {
        long longest = 0;
        for (int i = 1; i < arrivals.Length; i++)
        {
            if (arrivals[i] >= fromNs && arrivals[i - 1] <= toNs) longest = Math.Max(longest, arrivals[i] - arrivals[i - 1]);
        }

        return longest;
    }

    /// <summary>How much longer the packets sent in the last <paramref name="lastNs"/> took (median) than the fastest of all; 0 = there are
    /// none.</summary>
    public long BehindNs(long lastNs)
    {
        List<long> last = Delays(LastSentNs - lastNs, long.MaxValue);
        if (last.Count == 0) return 0;
        last.Sort();
        return last[last.Count / 2] - Delays(long.MinValue, long.MaxValue).Min();
    }

    /// <summary>Adds this stream's packets to a ledger: each to the stage in force when it was sent.</summary>
    /// <param name="ledger">One tally for each stage.</param>
    /// <param name="startsNs">Start of each stage but the first, rising: stage 0 lies before all of them.</param>
    /// <param name="isHeld">Whether a delivered packet was held, from send and arrival time.</param>
    public void AddTo(LedgerTally[] ledger, ReadOnlySpan<long> startsNs, Func<long, long, bool> isHeld)
    {
        int stage = 0;
        for (int i = 0; i < sendNs.Length; i++)
        {
            while (stage < startsNs.Length && sendNs[i] >= startsNs[stage])
            {
                stage++;
            }

            LedgerTally row = ledger[stage];
            row.Sent++;
            if (arrivalNs[i] == 0)
            {
                row.Lost++;
                continue;
            }

            row.Delivered++;
            row.Duplicated += copies[i];
            row.Reordered += reordered[i] ? 1 : 0;
            row.Held += isHeld(sendNs[i], arrivalNs[i]) ? 1 : 0;
            row.Delays.Add(arrivalNs[i] - sendNs[i]);
        }
    }

    /// <summary>Bins over the send time for the picture.</summary>
    public PictureBin[] Bins(long originNs, long binNs, int count)
    {
        var bins = new PictureBin[count];
        for (int i = 0; i < sendNs.Length; i++)
        {
            long index = (sendNs[i] - originNs) / binNs;
            if (sendNs[i] < originNs || index >= count)
            {
                continue;
            }

            ref PictureBin bin = ref bins[index];
            bin.Sent++;
            if (arrivalNs[i] == 0)
            {
                bin.Lost++;
                continue;
            }

            long delay = arrivalNs[i] - sendNs[i];
            bool first = bin.Sent - bin.Lost == 1;
            bin.MinDelayNs = first ? delay : Math.Min(bin.MinDelayNs, delay);
            bin.MaxDelayNs = first ? delay : Math.Max(bin.MaxDelayNs, delay);
            bin.Reordered += reordered[i] ? 1 : 0;
        }

        return bins;
    }

    private int FirstSentAtOrAfter(long ns)
    {
        int low = 0;
        int high = sendNs.Length;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            if (sendNs[middle] < ns)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }
}

/// <summary>One bin of the picture.</summary>
internal struct PictureBin
{
    public int Sent;
    public int Lost;
    public int Reordered;
    public long MinDelayNs;
    public long MaxDelayNs;
}

/// <summary>A ledger row while it is being added up.</summary>
internal sealed class LedgerTally
{
    public long Sent { get; set; }
    public long Delivered { get; set; }
    public long Held { get; set; }
    public long Lost { get; set; }
    public long Duplicated { get; set; }
    public long Reordered { get; set; }
    public List<long> Delays { get; } = [];

    public LedgerCounts ToCounts()
    {
        Delays.Sort();
        double? at(int i) => Delays.Count == 0 ? null : Math.Round(Delays[i] / 1e6, 3);
        return new(Sent, Delivered, Held, Lost, Duplicated, Reordered, at(0), at(Delays.Count / 2), at(Delays.Count - 1));
    }
}
