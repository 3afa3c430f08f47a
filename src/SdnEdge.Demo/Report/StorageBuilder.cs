using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Lab.Disks;

namespace SdnEdge.Demo.Report;

/// <summary>Makes the report's part about the disk. Pure.</summary>
internal static class StorageBuilder
{
    /// <summary>The part; null = the server has no disk of a store.</summary>
    public static StorageReport? Build(RunAnalysis run)
    {
        if (run.Facts.Storage is not { } facts) return null;
        MoveFacts move = run.Facts.Move;
        StorageSide? source = SideAt(facts, run.Facts.Parameters.From), target = SideAt(facts, run.Facts.Parameters.To);
        ModeSpan[] spans = [.. Spans(facts)];
        DiskWrite[] writes = [.. Writes(facts, move)];
        ModeChangeInfo? signal = Signal(source, move, run.OriginNs);
        DrainTimeInfo? drain = source?.Volume?.Drain is { } d && d.ProvedAtNs >= run.OriginNs ? d : null;
        bool read = facts.Disks.Count > 1 && facts.Disks.All(r => r.Fault is null);
        return new StorageReport
        {
            Volume = facts.Volume,
            SizeBytes = facts.Sides.Max(s => s.Volume?.SizeBytes ?? 0),
            ModeChanges = [.. Within(spans, run.OriginNs, run.EndNs).Select(s => new ModeReport(Ms(s.FromNs), s.Store, Word(s.Mode),
                Ms(s.AskedNs), s.ReachedNs is { } reached ? Ms(reached) : null, s.LagBytes))],
            WritesAcknowledged = facts.Last?.Acknowledged,
            WritesAfterMove = move.ResumedNs is { } runs ? writes.Count(w => w.BeganNs > runs) : 0,
            ReadBack = facts.Last?.ReadBack,
            ReadBackWrong = facts.Last?.Bad,
            WriteErrors = facts.Last?.Errors,
            Lost = read ? facts.Disks.Max(r => r.Lost) : null,
            RootEqual = read ? facts.Disks.All(r => r.SizeBytes == facts.Disks[0].SizeBytes && r.Sha256 == facts.Disks[0].Sha256) : null,
            Disks = [.. facts.Disks.Select(r => new DiskReport(r.Store, facts.Sides.FirstOrDefault(s => s.Store == r.Store)?.Site ?? "",
                r.SizeBytes, r.Sha256, r.Expected, r.Lost, r.Damaged, r.FirstLost, r.Fault))],
            LagBytesAtSignal = signal?.LagBytes,
            DrainMs = drain is null ? null : Math.Round((drain.ProvedAtNs - drain.AskedAtNs) / 1e6, 3),
            SyncLatencyMs = Latency(writes, spans, ReplicationMode.Sync, signal?.InForceAtNs, move.PausedNs),
            AsyncLatencyMs = Latency(writes, spans, ReplicationMode.Async, run.OriginNs, signal?.InForceAtNs ?? move.PausedNs),
            Reverse = run.Facts.Direction is { } turned && source is not null && target is not null
                ? new ReverseReport(target.Store, source.Store, turned.LinkedNs is not null,
                    turned.LinkedNs is { } linked && move.ResumedNs is { } since ? Math.Round(Math.Max(linked - since, 0) / 1e6, 3) : null,
                    turned.LagBytes)
                : null,
        };

        double Ms(long ns) => Math.Round((ns - run.OriginNs) / 1e6, 3);
    }

    /// <summary>The writes, those that were told after the server had stood still at their times.</summary>
    public static IEnumerable<DiskWrite> Writes(StorageFacts facts, MoveFacts move) => move is { PausedNs: { } paused,
        ResumedNs: { } resumed }
        ? facts.Writes.Select(w => w.Over(paused, resumed)) : facts.Writes;

    /// <summary>By which mode writes were answered, and from when to when, in order.</summary>
    public static IEnumerable<ModeSpan> Spans(StorageFacts facts)
    {
        ModeSpan[] begun = [.. facts.Sides.SelectMany(s => (s.Volume?.Modes ?? []).Where(m => m.InForceAtNs is not null)
            .Select(m => new ModeSpan(s.Store, m.Mode, m.InForceAtNs!.Value, long.MaxValue, m.AskedAtNs, m.ReachedAtNs, m.LagBytes)))
            .OrderBy(m => m.FromNs)];
        for (int i = 0; i < begun.Length; i++) yield return begun[i] with { ToNs = i + 1 < begun.Length ? begun[i + 1].FromNs
            : long.MaxValue };
    }

    /// <summary>The spans that touch a time.</summary>
    public static IEnumerable<ModeSpan> Within(IEnumerable<ModeSpan> spans, long fromNs, long toNs)
        => spans.Where(s => s.ToNs > fromNs && s.FromNs < toNs);

    private static StorageSide? SideAt(StorageFacts facts, string site) => facts.Sides.FirstOrDefault(s => s.Site == site);

    // The first time in this run that the source's store was told to be synchronous.
    private static ModeChangeInfo? Signal(StorageSide? source, MoveFacts move, long originNs)
        => source?.Volume?.Modes?.FirstOrDefault(m => m.Mode == ReplicationMode.Sync && m.AskedAtNs >= originNs
            && m.AskedAtNs < (move.PausedNs ?? long.MaxValue));

    private static LatencyReport? Latency(DiskWrite[] writes, ModeSpan[] spans, ReplicationMode mode, long? fromNs, long? toNs)
    {
        if (fromNs is not { } from || toNs is not { } to) return null;
        double[] taken = [.. writes.Where(w => w.BeganNs >= from && w.BeganNs < to
            && spans.Any(s => s.Mode == mode && w.BeganNs >= s.FromNs && w.BeganNs < s.ToNs)).Select(w => w.LatencyNs / 1e6).Order()];
        return taken.Length == 0 ? null
            : new LatencyReport(taken.Length, At(0.5), At(0.99), Math.Round(taken[^1], 3));

        double At(double share) => Math.Round(taken[Math.Min((int)Math.Ceiling(share * taken.Length), taken.Length) - 1], 3);
    }

    /// <summary>A mode's name.</summary>
    public static string Word(ReplicationMode mode) => JsonNamingPolicy.KebabCaseLower.ConvertName(mode.ToString());
}

/// <summary>Writes were answered by a store in a mode from a time to another. CLOCK_MONOTONIC nanoseconds.</summary>
internal sealed record ModeSpan(
    string Store, ReplicationMode Mode, long FromNs, long ToNs, long AskedNs, long? ReachedNs, long LagBytes);
