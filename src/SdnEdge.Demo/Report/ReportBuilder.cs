using System.Text.Json;
using SdnEdge.Core.Api;

namespace SdnEdge.Demo.Report;

/// <summary>
/// Makes the report of the facts:
///   1. analyse each stream from its two logs,
///   2. find when each ingress took the direct way,
///   3. add up the ledger by stage,
///   4. judge (<see cref="ExitRule"/>).
/// Pure.
/// </summary>
internal static class ReportBuilder
{
    /// <summary>The direct way must be at least this much faster than the tunnel to be told apart by delay alone.</summary>
    private const long DistinctNs = 2_000_000;

    /// <summary>A packet sent this long before the route changed may still meet the new one at the ingress PE.</summary>
    private const long OnTheWayNs = 1_000_000;

    /// <summary>Analyses every stream of the run, forward ones first.</summary>
    public static RunAnalysis Analyse(RunFacts facts)
    {
        StreamAnalysis[] forward = [.. facts.Forward.Select(s => StreamAnalysis.Of(s.Stream, s.Sent, s.Received))];
        StreamAnalysis[] reverse = [.. facts.Reverse.Select(s => StreamAnalysis.Of(s.Stream, s.Sent, s.Received))];
        StreamAnalysis[] all = [.. forward.Concat(reverse).Where(a => a.Sent > 0)];
        IReadOnlyList<StageMark> stages = facts.Move.Stages;
        long origin = all.Length > 0 ? all.Min(a => a.FirstSentNs) : stages.Count > 0 ? stages[0].StartNs : 0;
        long end = all.Length > 0 ? all.Max(a => a.LastSentNs) : stages.Count > 0 ? stages[^1].EndNs : 0;
        return new RunAnalysis(facts, forward, reverse, origin, end);
    }

    /// <summary>The report.</summary>
    public static DemoReport Build(RunAnalysis run)
    {
        RunFacts facts = run.Facts;
        MoveFacts move = facts.Move;
        double ms(long ns) => Math.Round((ns - run.OriginNs) / 1e6, 3);
        var report = new DemoReport
        {
            Scenario = "planned-switchover",
            Passed = false,
            Failures = [],
            Parameters = facts.Parameters with { MeasuredBlackoutMs = Since(move.PausedNs, move.ResumedNs) },
            Probe = new ProbeReport(
                facts.ForwardPacketsPerSecond, facts.ReversePacketsPerSecond,
                facts.Forward.Concat(facts.Reverse).Sum(s => s.Sender?.Flows ?? 0),
                facts.Forward.Select(s => s.Sender?.SizeBytes ?? 0).FirstOrDefault(),
                Math.Round((run.EndNs - run.OriginNs) / 1e9, 3),
                facts.Invalid.Count == 0, facts.Invalid.Count == 0 ? null : string.Join("; ", facts.Invalid), facts.Probed,
                facts.Guest is not null, facts.Guest?.Trials),
            Ingress = [.. facts.Forward.Zip(run.Forward, (s, a) => Forward(s, a, move))],
            Reverse = [.. facts.Reverse.Zip(run.Reverse, (s, a) => Backward(s, a, move))],
            Tcp = facts.Tcp is { } t
                ? new TcpReport(t.Bytes, t.Resets, Math.Round(t.MaxStallMs, 3), t.WrongBytes, t.Retransmits, t.LastError)
                : new TcpReport(0, 0, 0, 0, 0, facts.Probed ? "the TCP probe gave no result" : null),
            Stages = [.. move.Stages.Select(s => new StageReport(s.Name, ms(s.StartNs), ms(s.EndNs)))],
            Switch = new SwitchReport(
                move.Prefixes, move.StoreNs, Since(move.SwitchSignalNs, move.FirstTunnelPacketNs), move.StalePackets, move.StaleAtServerLeg,
                Since(move.SwitchSignalNs, move.SwitchAcknowledgedNs), move.ProvedEmpty),
            Hold = new HoldReport(move.PacketsHeld, move.HoldPeakBytes, move.HoldOverflow, move.HoldPeakPackets, move.HoldReleased),
            Tunnel = new TunnelReport(move.TunnelPackets, move.TunnelTornDown, move.TunnelName,
                JsonNamingPolicy.KebabCaseLower.ConvertName(move.Proof.ToString()),
                Since(facts.Forward.Max(s => s.FibLastAtNs) ?? LastMovedNs(move), move.TornDownNs)),
            Order = new OrderReport(move.Order is not null, move.Order?.Unordered ?? 0,
                [.. (move.Order?.Gates ?? []).Select(g => new GateReport(
                g.Ingress, g.Loopback, JsonNamingPolicy.KebabCaseLower.ConvertName(g.OpenedBy.ToString()),
                Since(move.AdvertisedNs, g.MovedAtNs),
                Since(move.AdvertisedNs, g.MarkerAtNs), Since(move.AdvertisedNs, g.OpenedAtNs), g.PacketsHeldTotal, g.PeakPackets))]),
            Residue = facts.Residue,
            Ledger = Ledger(run),
            Drops = facts.Drops,
            Server = facts.Guest is { } guest ? Server(guest, move) : facts.Probed ? new ServerReport("stand-in") : null,
            Goals = facts.Guest is { } still ? Goals(still, run) : null,
            Precopy = facts.Guest?.Copy is { } copy ? Precopy(copy, ms) : null,
            Storage = StorageBuilder.Build(run),
            Back = facts.Back,
            Script = facts.Script,
            Migration = facts.Migration is { } m ? Migration(m, ms) : null,
            Volumes = facts.Migration is { } told ? VolumeReports.Of(told, ms) : [],
        };
        IReadOnlyList<string> failures =
        [
            .. ExitRule.Judge(report, move.Succeeded ? null : move.Error ?? "the migration did not finish"),
            .. (facts.Migration?.Unproved ?? []).Select(u => "not proved: " + u),
            .. facts.BackFailures.Select(f => "the way back: " + f),
        ];
        return report with { Passed = failures.Count == 0, Failures = failures };
    }

    // Where no probes ran, the flush markers say when each ingress had moved.
    private static long? LastMovedNs(MoveFacts move) => (move.Order?.Gates ?? []).Max(g => g.MovedAtNs);

    private static ServerReport Server(GuestFacts guest, MoveFacts move) => new(
        guest.Machine?.Hypervisor ?? "qemu", guest.Machine?.Version, guest.Machine?.Accelerator, guest.Machine?.MemoryBytes,
        guest.Copy?.CopiedBytes, guest.Copy?.Pass, Since(move.PausedNs, move.ResumedNs),
        guest.CounterContinuous(move.PausedNs, move.ResumedNs),
        guest.PatternWrong is { } wrong ? wrong == 0 && guest.PatternWords > 0 : null, guest.BadWords);

    /// <summary>What a cold start of the emulation costs: its translated code is not moved (docs/qemu.md).</summary>
    private const double ColdTcgMs = 120, ColdKvmMs = 20, OwnMs = 60;

    private static GoalsReport Goals(GuestFacts guest, RunAnalysis run)
    {
        MoveFacts move = run.Facts.Move;
        double? still = Since(move.PausedNs, move.ResumedNs);
        double? gap = move.SwitchEffectNs is { } from && move.ReleaseEffectNs is { } to && run.Forward.Any(a => a.Received > 1)
            ? Math.Round(run.Forward.Max(a => a.LongestGapNs(from, to)) / 1e6, 3) : null;
        return new GoalsReport(gap, still + (guest.Machine?.Accelerator == "kvm" ? ColdKvmMs : ColdTcgMs), still,
            run.Facts.Parameters.RoundTripMs + (2 * guest.ManagerRoundTripMs) + OwnMs);
    }

    private static PrecopyReport Precopy(CopyInfo copy, Func<long, double> ms) => new(
        ms(copy.BeganAtNs), copy.EndedAtNs is { } ended ? ms(ended) : null, copy.Completed, copy.CopiedBytes, copy.WireBytes, copy.Pass,
        [.. copy.Samples.Select(s => new PrecopySample(ms(s.AtNs), s.Pass, s.RemainingBytes, s.CopiedBytes, Math.Round(s.BytesPerSecond),
            Math.Round(s.DirtyBytesPerSecond), s.GateShut))]);

    private static MigrationReport Migration(MigrationStatus m, Func<long, double> ms)
    {
        IEnumerable<CallReport> signals = m.Moves.SelectMany(x => x.Signals).Select(s => new CallReport(
            s.Pe, JsonNamingPolicy.KebabCaseLower.ConvertName(s.Reply.Signal.ToString()), s.Reply.Migration, ms(s.SentNs), ms(s.AnsweredNs),
                ms(s.Reply.TookEffectAtNs), s.Reply.Repeated));
        IEnumerable<CallReport> orders = m.Moves.SelectMany(x => x.Orders).Select(o => new CallReport(
            o.Host, JsonNamingPolicy.KebabCaseLower.ConvertName(o.Reply.Order.ToString()), o.Reply.Server, ms(o.SentNs), ms(o.AnsweredNs),
                ms(o.Reply.TookEffectAtNs), o.Reply.Repeated));
        return new MigrationReport(
            m.Id, m.Group, m.Epoch, m.By, m.At, m.EndedAt, m.State, m.Failure, m.Cutover,
                [.. signals.Concat(orders).OrderBy(c => c.SentMs)]);
    }

    private static StreamReport Forward(StreamFacts s, StreamAnalysis a, MoveFacts move)
    {
        long? direct = DirectAtNs(s, a, move);
        return Common(s, a, move) with
        {
            DirectPathAfterMs = Since(move.AdvertisedNs, direct),
            FibAfterMs = Since(move.AdvertisedNs, s.FibLastAtNs),
        };
    }

    private static StreamReport Backward(StreamFacts s, StreamAnalysis a, MoveFacts move) => Common(s, a, move) with
    {
        DirectPathAfterMs = Since(move.ResumedNs, move.ResumedNs is { } resumed ? a.FirstArrivalSentAfter(resumed) : null),
    };

    private static StreamReport Common(StreamFacts s, StreamAnalysis a, MoveFacts move) => new()
    {
        Name = s.Pe,
        Client = s.Client,
        Sent = a.Sent,
        Received = a.Received,
        Lost = a.Lost,
        Duplicated = a.Duplicated,
        Reordered = a.Reordered,
        ReorderedSwitchToRelease = a.ReorderedBy(NoneDirectBeforeNs(s, a), move.SwitchEffectNs ?? long.MinValue),
        OrderKept = move.OrderKeptFor.Contains(s.Pe),
        MaxGapMs = Math.Round(a.MaxGapNs / 1e6, 3),
        DirectPathAfterMs = null,
        FibAfterMs = null,
        SendErrors = s.Sender?.Errors ?? 0,
        Delay = Delays(a, move),
    };

    /// <summary>
    /// No packet that arrived before this came by the direct path: it left the ingress after the route was there, and needs at
    /// least the shortest delay seen. What was overtaken earlier was overtaken on its own way.
    /// </summary>
    private static long NoneDirectBeforeNs(StreamFacts s, StreamAnalysis a)
    {
        List<long> delays = a.Delays(long.MinValue, long.MaxValue);
        return s.FibFirstAtNs is { } installed && delays.Count > 0 ? installed + Math.Max(delays.Min() - OnTheWayNs, 0) : long.MaxValue;
    }

    /// <summary>
    /// When the ingress's first packet took the direct way: not before the first direct route was in its FIB, and told by the
    /// delay, for no packet can come through the tunnel faster than the tunnel is. Where both ways are equally long, the FIB's
    /// own time stands in.
    /// </summary>
    private static long? DirectAtNs(StreamFacts s, StreamAnalysis a, MoveFacts move)
    {
        if (move.AdvertisedNs is not { } advertised || s.FibFirstAtNs is not { } installed)
        {
            return null;
        }

        long from = Math.Max(advertised, installed);
        return TunnelDelayNs(a, move) is { } tunnel && DirectDelayNs(a, move) is { } direct && tunnel - direct >= DistinctNs
            ? a.FirstFasterThan(from - OnTheWayNs, direct + ((tunnel - direct) / 2))
            : from;
    }

    private static DelayReport Delays(StreamAnalysis a, MoveFacts move)
    {
        double? toMs(long? ns) => ns is { } v ? Math.Round(v / 1e6, 3) : null;
        List<long> all = a.Delays(long.MinValue, long.MaxValue);
        return new DelayReport(
            toMs(Median(a.Delays(long.MinValue, move.SwitchSignalNs ?? long.MaxValue))),
            toMs(TunnelDelayNs(a, move)), toMs(DirectDelayNs(a, move)), all.Count == 0 ? null : toMs(all.Max()));
    }

    /// <summary>Shortest delay after the switch and up to the advertisement: held packets only had longer ones.</summary>
    internal static long? TunnelDelayNs(StreamAnalysis a, MoveFacts move)
    {
        if (move.SwitchAcknowledgedNs is not { } from || move.AdvertisedNs is not { } to)
        {
            return null;
        }

        List<long> delays = a.Delays(from, to);
        return delays.Count == 0 ? null : delays.Min();
    }

    private static long? DirectDelayNs(StreamAnalysis a, MoveFacts move) =>
        move.WithdrawNs is { } from ? Median(a.Delays(from, long.MaxValue)) : null;

    private static IReadOnlyList<LedgerRow> Ledger(RunAnalysis run)
    {
        MoveFacts move = run.Facts.Move;
        long[] starts = [.. move.Stages.Select(s => s.StartNs), .. move.Stages.TakeLast(1).Select(s => s.EndNs)];
        string[] names = ["before", .. move.Stages.Select(s => s.Name), .. move.Stages.Count > 0 ? ["after"] : Array.Empty<string>()];
        LedgerTally[] forward = [.. names.Select(_ => new LedgerTally())];
        LedgerTally[] reverse = [.. names.Select(_ => new LedgerTally())];
        foreach (StreamAnalysis a in run.Forward)
        {
            // Held: it would have been at PE_b's server before the release, had it not been kept.
            long release = move.ReleaseEffectNs ?? long.MaxValue;
            // Where the server sends packets back, half of the round trip on the direct path is the way back.
            long? way = TunnelDelayNs(a, move) - (run.Facts.Guest is null ? 0 : (DirectDelayNs(a, move) ?? 0) / 2);
            bool held(long send, long arrival) => run.Facts.Parameters.Hold && way is { } w && arrival >= release
                && send >= (move.SwitchEffectNs ?? long.MaxValue) && send + w < release;
            a.AddTo(forward, starts, held);
        }

        foreach (StreamAnalysis a in run.Reverse)
        {
            a.AddTo(reverse, starts, static (_, _) => false);
        }

        return [.. names.Select((name, i) => new LedgerRow(name, forward[i].ToCounts(), reverse[i].ToCounts()))];
    }

    private static long? Median(List<long> values)
    {
        if (values.Count == 0)
        {
            return null;
        }

        values.Sort();
        return values[values.Count / 2];
    }

    private static double? Since(long? from, long? to) => from is { } f && to is { } t ? Math.Round((t - f) / 1e6, 3) : null;
}

/// <summary>The facts and every stream's analysis. <see cref="OriginNs"/>: the first packet of all; time 0 of the report.</summary>
internal sealed record RunAnalysis(
    RunFacts Facts, IReadOnlyList<StreamAnalysis> Forward, IReadOnlyList<StreamAnalysis> Reverse, long OriginNs, long EndNs);
