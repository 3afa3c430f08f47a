using SdnEdge.Core.Api;

namespace SdnEdge.Demo.Report;

/// <summary>What a run yielded of a virtual machine, beside what the probes and the manager say.</summary>
/// <param name="Machine">What it is, as its host says; null = the host did not say.</param>
/// <param name="Copy">The copy of its memory, as the source's host recorded it; null = it did not.</param>
/// <param name="Samples">What it said of itself during the run, in order.</param>
/// <param name="PatternWrong">Words of the pattern in its memory that were not as written, read at the end; null = it did not
/// answer.</param>
/// <param name="PatternWords">Words of the pattern.</param>
/// <param name="ManagerRoundTripMs">Round trip between the manager and the hosts, milliseconds.</param>
/// <param name="Trials">The rates that were tried before it moved.</param>
internal sealed record GuestFacts(
    MachineInfo? Machine, CopyInfo? Copy, IReadOnlyList<GuestSample> Samples, long? PatternWrong, long PatternWords,
    double ManagerRoundTripMs, IReadOnlyList<RateTrial> Trials)
{
    private const long TickNs = 100_000_000, SlackTicks = 10;

    /// <summary>
    /// Whether the counter went on, one and the same: it never went back, it went on after the move from where it had been before, and it
    /// did not run ahead of the time that went by (a tenth and a second of slack: the guest's own clock is not ours). Null: it was not seen
    /// on both sides of the move.
    /// </summary>
    /// <param name="pausedNs">When the guest stood still.</param>
    /// <param name="runningNs">When it ran again.</param>
    public bool? CounterContinuous(long? pausedNs, long? runningNs)
    {
        GuestSample[] before = [.. Samples.Where(s => s.AnsweredNs < pausedNs)], after = [.. Samples.Where(s => s.AskedNs > runningNs)];
        if (before.Length == 0 || after.Length == 0) return null;
        GuestSample first = Samples[0];
        for (int i = 1; i < Samples.Count; i++)
        {
            double most = (1.1 * (Samples[i].AnsweredNs - first.AskedNs) / TickNs) + SlackTicks;
            if (Samples[i].Ticks < Samples[i - 1].Ticks || Samples[i].Ticks - first.Ticks > most) return false;
        }

        return after[^1].Ticks > before[^1].Ticks;
    }

    /// <summary>Datagrams that found the socket of its echo full during the run: it did not keep up.</summary>
    public long Full => FullOf(Samples);

    /// <summary>Datagrams that found the socket of its echo full between the first and the last sample.</summary>
    public static long FullOf(IReadOnlyList<GuestSample> samples) => samples.Count == 0 ? 0 : samples[^1].Full - samples[0].Full;

    /// <summary>Words of its memory that the guest found wrong; null = it never said.</summary>
    public long? BadWords => Samples.Count == 0 ? null : Samples.Max(s => s.BadWords);
}

/// <summary>What the guest said when it was asked. Times: CLOCK_MONOTONIC, nanoseconds.</summary>
/// <param name="AskedNs">When it was asked.</param>
/// <param name="AnsweredNs">When its answer was here.</param>
/// <param name="Ticks">Its counter, ten a second of its own clock.</param>
/// <param name="BadWords">Words of its memory that it had found wrong by then.</param>
/// <param name="Full">Datagrams that by then had found the socket of its echo full.</param>
internal sealed record GuestSample(long AskedNs, long AnsweredNs, long Ticks, long BadWords, long Full = 0);

/// <summary>A rate that was tried on the virtual machine while it stayed where it was.</summary>
/// <param name="PacketsPerSecond">Packets per second, all ingresses together, there and back.</param>
/// <param name="Sent">Packets sent.</param>
/// <param name="Lost">Packets that did not come back.</param>
/// <param name="TcpResets">Connections that broke meanwhile.</param>
/// <param name="BehindMs">How much longer what was sent last was on its way than the fastest packet, milliseconds (median, of the slowest
/// stream): what waits in the machine when it does not keep up, and would be lost later.</param>
internal sealed record RateTrial(long PacketsPerSecond, long Sent, long Lost, int TcpResets, double BehindMs = 0)
{
    private const double MostBehindMs = 150;

    /// <summary>True when nothing was lost, and nothing would have been in a longer trial: the machine keeps up.</summary>
    public bool Clean => Sent > 0 && Lost == 0 && TcpResets == 0 && BehindMs <= MostBehindMs;
}
