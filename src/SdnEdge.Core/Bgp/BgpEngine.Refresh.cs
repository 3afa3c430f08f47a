namespace SdnEdge.Core.Bgp;

/// <summary>
/// Route refresh (RFC 2918), enhanced (RFC 7313), in both directions, and End-of-RIB.
/// A peer asks: 1. BoRR, 2. all of the family again behind what waits, 3. EoRR when nothing waits. While the first sending
/// goes on it is answered after its End-of-RIB. A peer answers: 1. BoRR: its routes are marked, 2. what comes again loses
/// its mark, 3. EoRR, or too long a wait: what is still marked goes.
/// </summary>
public sealed partial class BgpEngine
{
    // RFC 7313 4.1 wants a bound for a peer that begins and does not end.
    private const long RefreshLimit = 360_000_000_000;

    /// <summary>Asks a peer to send all its routes again, e.g. after a change of import policy.</summary>
    /// <param name="peer">The peer.</param>
    /// <param name="families">Families asked for; those not negotiated are left out.</param>
    /// <returns>Families asked for; none when the session is down or the peer does not know route refresh.</returns>
    public BgpFamilies RequestRefresh(BgpPeer peer, BgpFamilies families = BgpFamilies.All)
    {
        if (peer.Negotiated is not { RouteRefresh: true } agreed) return BgpFamilies.None;
        families &= agreed.Families;
        foreach (BgpFamilies family in families.List()) Send(peer, peer.Fsm.EstablishedSide, MessageWriter.RouteRefresh(_message, family));
        return families;
    }

    private void HandleRefresh(BgpPeer peer, ConnectionSide side, ReadOnlySpan<byte> body, long now)
    {
        // | AFI (2) | subtype (1) | SAFI (1) |
        BgpFamilies family = BgpFamiliesExtensions.FromCodes(body[0], body[1], body[3]);
        if (family == BgpFamilies.None || (peer.Negotiated!.Families & family) == 0)
        {
            peer.Faults.Add(BgpFault.RouteRefreshFamily);
            return;
        }

        // Subtypes not agreed on, and unknown ones, are ignored (RFC 7313 5): a mark is no request.
        bool enhanced = peer.Negotiated.EnhancedRefresh;
        var kind = (RefreshKind)body[2];
        if (kind > RefreshKind.End || (kind != RefreshKind.Request && !enhanced))
        {
            peer.Faults.Add(BgpFault.RouteRefreshFamily);
            return;
        }

        switch (kind)
        {
            case RefreshKind.Request when ((peer.EndOfRibDue | peer.EndOfRefreshDue) & family) != 0:
                // One after the other: a peer that only asks and never reads must not fill our queue with marks.
                peer.RefreshLater |= family;
                break;
            case RefreshKind.Request:
                SendAgain(peer, side, family, enhanced);
                break;
            case RefreshKind.Begin when (peer.StaleFamilies & family) != 0:
                // Its first sending after a restart is not over: End-of-RIB will sweep.
                break;
            case RefreshKind.Begin:
                MarkStale(peer, family);
                peer.RefreshUnderWay |= family;
                peer.RefreshUntil = now + RefreshLimit;
                break;
            case RefreshKind.End when (peer.RefreshUnderWay & family) != 0:
                EndRefresh(peer, family, now);
                break;
            default:
                break;
        }
    }

    private void SendAgain(BgpPeer peer, ConnectionSide side, BgpFamilies family, bool enhanced)
    {
        if (enhanced)
        {
            Send(peer, side, MessageWriter.RouteRefresh(_message, family, RefreshKind.Begin));
            peer.EndOfRefreshDue |= family;
        }

        Resend(peer, family);
        peer.Dirty = true;
    }

    /// <summary>Nothing waits any more: End-of-RIB, and the ends of refreshes, go out. True when a refresh put off till now has
    /// begun.</summary>
    private bool SendEnds(BgpPeer peer)
    {
        ConnectionSide side = peer.Fsm.EstablishedSide;
        foreach (BgpFamilies family in peer.EndOfRibDue.List()) Send(peer, side, UpdateEncoder.EndOfRib(_message, family));
        peer.EndOfRibDue = BgpFamilies.None;
        foreach (BgpFamilies family in peer.EndOfRefreshDue.List()) Send(peer, side,
            MessageWriter.RouteRefresh(_message, family, RefreshKind.End));
        peer.EndOfRefreshDue = BgpFamilies.None;
        BgpFamilies later = peer.RefreshLater;
        peer.RefreshLater = BgpFamilies.None;
        foreach (BgpFamilies family in later.List()) SendAgain(peer, side, family, peer.Negotiated!.EnhancedRefresh);
        return later != BgpFamilies.None;
    }

    private void EndRefresh(BgpPeer peer, BgpFamilies family, long now)
    {
        peer.RefreshUnderWay &= ~family;
        if (peer.RefreshUnderWay == BgpFamilies.None) peer.RefreshUntil = long.MaxValue;
        WithdrawStale(peer, family, now);
    }

    private void EndRefreshes(BgpPeer peer, long now)
    {
        Warned?.Invoke(peer, "a refresh has not ended in time; routes not sent again are withdrawn");
        foreach (BgpFamilies family in peer.RefreshUnderWay.List()) EndRefresh(peer, family, now);
        peer.RefreshUntil = long.MaxValue;
    }

    private static void ClearRefreshes(BgpPeer peer)
    {
        peer.EndOfRefreshDue = peer.RefreshLater = peer.RefreshUnderWay = BgpFamilies.None;
        peer.RefreshUntil = long.MaxValue;
    }
}
