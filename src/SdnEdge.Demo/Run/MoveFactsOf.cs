using SdnEdge.Demo.Report;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Mms;

namespace SdnEdge.Demo.Run;

/// <summary>Brings what the migration said into the report's terms.</summary>
internal static class MoveFactsOf
{
    public static MoveFacts From(MoveResult result, long? staleAtServerLeg)
    {
        SignalRecord? switched = result.AtSource(SignalKind.Switch);
        SignalRecord? released = result.AtTarget(SignalKind.Release);
        HoldInfo? hold = result.Target?.Hold;
        RedirectGroupInfo? group = result.Source?.Group;
        bool moved = result.Outcome == MoveOutcome.Moved;
        return new MoveFacts
        {
            Stages = [.. result.Timeline.Select(s => new StageMark(s.Name, s.StartNs, s.EndNs))],
            Succeeded = moved,
            Error = moved ? null : $"{result.Outcome}: {result.Failure}",
            Prefixes = result.Plan.Source.Prefixes.Count,
            StoreNs = switched?.Reply.StoreNs,
            SwitchSignalNs = switched?.SentNs,
            SwitchEffectNs = switched?.Reply.TookEffectAtNs,
            SwitchAcknowledgedNs = switched?.Reply.AcknowledgedAtNs,
            FirstTunnelPacketNs = group?.FirstTunnelPacketAtNs,
            PausedNs = result.PausedNs,
            ResumedNs = result.ResumedNs,
            ReleaseEffectNs = released?.Reply.TookEffectAtNs,
            AdvertiseSignalNs = result.AtTarget(SignalKind.Advertise)?.SentNs,
            WithdrawNs = result.AtSource(SignalKind.Withdraw)?.SentNs,
            StalePackets = group?.StalePackets ?? 0,
            StaleAtServerLeg = staleAtServerLeg,
            PacketsHeld = hold?.PacketsHeldTotal ?? 0,
            HoldPeakBytes = hold?.PeakBytes ?? 0,
            HoldPeakPackets = hold?.PeakPackets ?? 0,
            HoldReleased = hold?.Released ?? 0,
            HoldOverflow = hold is null ? 0 : hold.DroppedNewest + hold.DroppedOldest + hold.Expired,
            TunnelName = result.Source?.Tunnel,
            TunnelPackets = group?.TunnelPackets ?? 0,
            TunnelTornDown = moved && result.TunnelTornDown,
            TornDownNs = result.AtSource(SignalKind.Teardown) is { } a && result.AtTarget(SignalKind.Teardown) is { } b
                ? Math.Max(a.Reply.AcknowledgedAtNs, b.Reply.AcknowledgedAtNs) : null,
            Proof = result.Proof,
            OrderKeptFor = result.ProvedByMarker ?? new HashSet<string>(),
            Order = result.Target?.Order,
        };
    }
}
