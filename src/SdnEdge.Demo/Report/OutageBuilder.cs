using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Probes;

namespace SdnEdge.Demo.Report;

/// <summary>
/// Makes the report of an outage of its facts:
///   1. the streams in two parts: what was sent before the way home began, and what after it,
///   2. of the first the report, its stages from the failure to the first answer,
///   3. the figures of the outage, and the verdict (<see cref="OutageRule"/>).
/// Pure.
/// </summary>
internal static class OutageBuilder
{
    /// <summary>The packets of a stream that were sent before a time, or those from it on, numbered from 0.</summary>
    public static StreamFacts Part(StreamFacts stream, long atNs, bool after)
    {
        ProbeRecord[] mine = [.. stream.Sent.Where(r => r.Stream == stream.Stream)];
        uint begin = (uint)mine.LongCount(r => r.SendNs < atNs);
        Func<ProbeRecord, bool> belongs = r => r.Stream == stream.Stream && (r.Sequence >= begin) == after;
        Func<ProbeRecord, ProbeRecord> numbered = r => after ? r with { Sequence = r.Sequence - begin } : r;
        return stream with
        {
            Sent = [.. mine.Where(belongs).Select(numbered)],
            Received = [.. stream.Received.Where(belongs).Select(numbered)],
        };
    }

    /// <summary>What the fail-over says, with the outage's own stages: each packet was sent in one of them.</summary>
    public static MoveFacts Move(MoveFacts move, OutageFacts facts, long? firstReplyNs)
    {
        var stages = new List<StageMark>();
        long from = facts.FailedNs;
        Until("unnoticed", facts.Backup?.AcknowledgedAtNs);
        Until(facts.Automatic ? "waits" : "operator", facts.BegunNs);
        Until("fence", FencedNs(facts));
        Until("activate", ActivatedNs(facts));
        Until("boot", firstReplyNs);
        return move with
        {
            Stages = stages,
            SwitchSignalNs = facts.Backup?.NoticedAtNs,
            SwitchEffectNs = facts.Backup?.FlippedAtNs,
            SwitchAcknowledgedNs = facts.Backup?.AcknowledgedAtNs,
            StoreNs = null,
            PausedNs = facts.FailedNs == 0 ? null : facts.FailedNs,
            ResumedNs = ActivatedNs(facts),
        };

        void Until(string name, long? to)
        {
            if (to is not { } end || from == 0 || end < from) return;
            stages.Add(new StageMark(name, from, end));
            from = end;
        }
    }

    /// <summary>When the source's host had it on disk that its servers are dead.</summary>
    public static long? FencedNs(OutageFacts facts) => (facts.Failover?.Moves ?? []).SelectMany(m => m.Orders)
        .Where(o => o.Reply.Order == ServerOrder.Fence).Max(o => (long?)o.Reply.TookEffectAtNs);

    /// <summary>When the server ran at the other site.</summary>
    public static long? ActivatedNs(OutageFacts facts)
        => (facts.Failover?.Moves ?? []).SelectMany(m => m.Orders).Where(o => o.Reply.Order == ServerOrder.Activate)
            .Max(o => (long?)o.Reply.TookEffectAtNs);

    /// <summary>When a client had the first answer of the server at the other site.</summary>
    public static long? FirstReplyNs(OutageFacts facts, IEnumerable<StreamFacts> streams) => ActivatedNs(facts) is not { } running ? null
        : streams.SelectMany(s => s.Received).Where(r => r.ArrivalNs > running).Min(r => (long?)r.ArrivalNs);

    /// <summary>The report.</summary>
    /// <param name="run">The run up to the way home.</param>
    /// <param name="facts">The outage.</param>
    /// <param name="home">The report of the way home; null = it was not made.</param>
    public static DemoReport Build(RunAnalysis run, OutageFacts facts, DemoReport? home)
    {
        DemoReport report = ReportBuilder.Build(run);
        long? firstReply = FirstReplyNs(facts, run.Facts.Forward);
        RecoveredRecords? disk = facts.Recovered;
        long? lost = disk is null or { Hidden: > 0 } ? null : disk.Lost;
        report = report with
        {
            Scenario = "outage",
            Outage = new OutageReport
            {
                Failed = facts.Failed,
                Policy = facts.Policy,
                Automatic = facts.Automatic,
                DetectedMs = Since(facts.Backup?.NoticedAtNs),
                FlippedMs = Since(facts.Backup?.AcknowledgedAtNs),
                BegunMs = Since(facts.BegunNs),
                SuspectedMs = Since(facts.SuspectedNs),
                AgentStartedMs = Since(facts.AgentStartedNs),
                Fence = FencedNs(facts) is null ? null : "kill",
                FencedMs = Since(FencedNs(facts)),
                ActivatedMs = Since(ActivatedNs(facts)),
                FirstReplyMs = Since(firstReply),
                RpoMs = RpoMs(facts),
                PointAgeMs = null,   // cold is started from the replica as it is, from no point in time
                PacketsLost = report.Ingress.Sum(s => s.Lost),
                PacketsHeld = report.Hold.PacketsHeld,
                RecordsLostAcknowledged = lost,
                RecordsLostFlushed = lost,
                DualActive = facts.Twice is { } frames ? frames > 0 : null,
                TcpSurvived = facts.TcpSurvived,
                DiskMode = facts.Owner?.Replication is { } r ? Word(r.InForce) : null,
                LagBytes = facts.Owner?.Replication?.Lag.Bytes,
                LagMs = facts.Owner?.Replication is { } lag ? Math.Round(lag.Lag.Seconds * 1e3, 3) : null,
                RecordsAcknowledged = facts.First?.Acknowledged,
                RecordsThrough = disk?.Last,
                RecordGaps = disk?.Gaps,
                OldSite = facts.OldSite,
                ProtectedAgainMs = Since(facts.ProtectedAgainNs),
                FalseAlarms = facts.FalseAlarms,
                Notes = facts.Notes,
            },
        };
        IReadOnlyList<string> failures = OutageRule.Judge(report, facts, home);
        return report with { Passed = failures.Count == 0, Failures = failures };

        double? Since(long? ns) => ns is { } at && facts.FailedNs > 0 ? Math.Round((at - facts.FailedNs) / 1e6, 3) : null;
    }

    /// <summary>
    /// How old, at the failure, the oldest record was that was acknowledged and is lost, by when the guest had its flush acknowledged.
    /// Null: not known. A record of which that was not told is as old as the one before it at most.
    /// </summary>
    private static double? RpoMs(OutageFacts facts)
    {
        if (facts.Recovered is not { Hidden: 0 } disk || facts.First is not { } first) return null;
        if (disk.FirstLost is not { } lost) return 0;
        long? durable = null;
        for (long number = lost; number > 0 && durable is null; number--) durable = first.DurableAtNs(number);
        return durable is { } at ? Math.Round(Math.Max(facts.FailedNs - at, 0) / 1e6, 3) : null;
    }

    private static string Word<T>(T value) where T : struct, Enum => JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());
}
