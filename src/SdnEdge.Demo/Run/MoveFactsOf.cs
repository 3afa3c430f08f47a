using SdnEdge.Core.Api;
using SdnEdge.Demo.Report;

namespace SdnEdge.Demo.Run;

/// <summary>Brings what the manager says of a migration into the report's terms. Of several moves and paths: sums, the first begin and the
/// last end.</summary>
internal static class MoveFactsOf
{
    /// <summary>The facts.</summary>
    /// <param name="migration">What the manager says.</param>
    /// <param name="staleAtServerLeg">Packets seen at the server's old leg after it had gone; null = nobody looked.</param>
    public static MoveFacts From(MigrationStatus migration, long? staleAtServerLeg)
    {
        PathStatus[] paths = [.. migration.Moves.SelectMany(m => m.Paths)];
        SignalTime[] signals = [.. migration.Moves.SelectMany(m => m.Signals)];
        SignalTime? first(SignalKind kind) => signals.FirstOrDefault(s => s.Reply.Signal == kind);
        HoldInfo[] holds = [.. paths.Select(p => p.Target?.Hold).OfType<HoldInfo>()];
        RedirectGroupInfo[] groups = [.. paths.Select(p => p.Source?.Group).OfType<RedirectGroupInfo>()];
        OrderInfo[] orders = [.. paths.Where(p => p.Ordered).Select(p => p.Target?.Order).OfType<OrderInfo>()];
        ServerMoveStatus[] servers = [.. migration.Moves.SelectMany(m => m.Servers)];
        bool moved = migration.State == "moved";
        return new MoveFacts
        {
            Stages = [.. migration.Moves.SelectMany((m,
                i) => m.Timeline.Select(s => new StageMark(migration.Moves.Count > 1 ? $"{i + 1}. {s.Stage}" : s.Stage,
                    s.StartNs, s.EndNs)))],
            Succeeded = moved,
            Error = moved ? null : $"{migration.State}{(migration.Failure is null ? "" : ": " + migration.Failure)}",
            Prefixes = paths.Sum(p => p.Prefixes.Count),
            StoreNs = first(SignalKind.Switch)?.Reply.StoreNs,
            SwitchSignalNs = first(SignalKind.Switch)?.SentNs,
            SwitchEffectNs = first(SignalKind.Switch)?.Reply.TookEffectAtNs,
            SwitchAcknowledgedNs = first(SignalKind.Switch)?.Reply.AcknowledgedAtNs,
            ProvedEmpty = ProvedEmpty(signals),
            FirstTunnelPacketNs = groups.Min(g => g.FirstTunnelPacketAtNs),
            PausedNs = servers.Min(s => s.StoppedAtNs),
            ResumedNs = servers.All(s => s.StoppedAtNs is null || s.RunningAtNs is not null) ? servers.Max(s => s.RunningAtNs) : null,
            ReleaseEffectNs = first(SignalKind.Release)?.Reply.TookEffectAtNs,
            AdvertisedNs = first(SignalKind.Advertise)?.Reply.TookEffectAtNs,
            WithdrawNs = first(SignalKind.Withdraw)?.SentNs,
            StalePackets = groups.Sum(g => g.StalePackets),
            StaleAtServerLeg = staleAtServerLeg,
            PacketsHeld = holds.Sum(h => h.PacketsHeldTotal),
            HoldPeakBytes = holds.Sum(h => h.PeakBytes),
            HoldPeakPackets = holds.Sum(h => h.PeakPackets),
            HoldReleased = holds.Sum(h => h.Released),
            HoldOverflow = holds.Sum(h => h.DroppedNewest + h.DroppedOldest + h.Expired),
            TunnelName = paths.Select(p => p.Source?.Tunnel).FirstOrDefault(t => t is not null),
            TunnelPackets = groups.Sum(g => g.TunnelPackets),
            // Moved is said when all parties were inspected: no tunnel is there any more.
            TunnelTornDown = moved,
            TornDownNs = moved ? signals.Where(s => s.Reply.Signal == SignalKind.Teardown)
                .Select(s => (long?)s.Reply.AcknowledgedAtNs).Max() : null,
            Proof = paths.Select(p => p.Proof).DefaultIfEmpty().Max(),
            OrderKeptFor = paths.Where(p => p.Ordered).SelectMany(p => p.ProvedByMarker).ToHashSet(StringComparer.Ordinal),
            Order = orders.Length == 0 ? null
                : new OrderInfo(orders[0].Tag, orders.All(o => o.Proved), [.. orders.SelectMany(o => o.Gates)],
                    orders.Sum(o => o.Unordered), orders.Sum(o => o.StrangeMarkers)),
        };
    }

    // What was not asked proves nothing, and what was not answered neither.
    private static bool? ProvedEmpty(IEnumerable<SignalTime> signals)
    {
        bool?[] said = [.. signals.Where(s => s.Reply.Signal == SignalKind.Switch).Select(s => s.Reply.Empty)];
        return said.Contains(false) ? false : said.Length > 0 && said.All(e => e == true) ? true : null;
    }

    /// <summary>What is said to be left over on a party while a migration has not ended.</summary>
    public static IReadOnlyList<string> Residue(MigrationStatus migration)
        => [.. migration.Waiting.Where(w => w.Reason == "left-over").Select(w => w.Detail ?? w.Step)];
}
