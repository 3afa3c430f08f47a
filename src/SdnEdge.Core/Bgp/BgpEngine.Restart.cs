using SdnEdge.Core.Rib;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// Graceful restart (RFC 4724, RFC 8538).
/// A peer restarts: 1. its session ends gracefully: routes of the families it named stay and are marked stale, others go;
/// 2. it is not back within its restart time: they go; 3. it is back: families whose forwarding it did not keep go at once,
/// the others lose their mark route by route; 4. End-of-RIB, or too long a wait: what is still marked goes. A second restart
/// in between takes what the first one left.
/// We restart: OPEN says so, and nothing is told before End-of-RIB has come from every peer that restarts not itself, or the
/// deferral time is over. Routes are used for forwarding as they come: there is nothing older to keep in the tables.
/// </summary>
public sealed partial class BgpEngine
{
    private const long Second = 1_000_000_000;

    private long _deferUntil = long.MaxValue;

    private readonly HashSet<NextHop> _hopsGone = [];

    /// <summary>True from a start with <see cref="BgpSpeakerSettings.Restarting"/> until all peers have been heard: nothing is told
    /// meanwhile.</summary>
    public bool IsRestarting { get; private set; }

    private GracefulRestart? RestartCapability(BgpPeer peer)
    {
        if (peer.Settings.Restart == RestartMode.Off) return null;
        BgpFamilies families = peer.Settings.Restart == RestartMode.Full ? peer.Settings.Families : BgpFamilies.None;

        // A session that ended without a restart of ours has cost no forwarding.
        BgpFamilies kept = IsRestarting ? families & _settings.ForwardingKept : families;
        return new GracefulRestart(families == BgpFamilies.None ? 0 : _settings.RestartSeconds, families, kept, IsRestarting,
            Notification: true);
    }

    private void KeepStale(BgpPeer peer, long now)
    {
        GracefulRestart restart = peer.LastRestart;
        peer.GracefulEnds++;
        foreach (BgpFamilies family in BgpFamilies.All.List())
        {
            if ((restart.Families & family) == 0)
            {
                WithdrawAll(peer, family, now);
                continue;
            }

            if ((peer.StaleFamilies & family) != 0) WithdrawStale(peer, family, now);
            MarkStale(peer, family);
        }

        peer.StaleFamilies = restart.Families;
        peer.StaleUntil = now + (restart.TimeSeconds * Second);
    }

    // A stale route rests on the peer's forwarding having gone on. When its next hop is lost meanwhile, that is refuted, and the
    // next hop's return says nothing of the peer: the route goes for good (RFC 4724 4.2 leaves it to us).
    private void HopGone(NextHop hop)
    {
        foreach (BgpPeer peer in _peers.Values)
        {
            if (!IsAway(peer)) continue;
            _hopsGone.Add(hop);
            return;
        }
    }

    private void DropUnreachableStale(long now)
    {
        if (_hopsGone.Count == 0) return;
        foreach (NextHop hop in _hopsGone.ToArray())
        {
            foreach (BgpPeer peer in _peers.Values)
            {
                if (!hop.Resolved.IsUsable && IsAway(peer)) _rib.WithdrawStale(peer.Origin, hop, now);
            }
        }

        _hopsGone.Clear();
    }

    private static bool IsAway(BgpPeer peer) => peer.StaleFamilies != BgpFamilies.None && peer.State != BgpState.Established;

    /// <summary>Takes the routes of a peer whose session is down for good; <paramref name="all"/>: also when none are marked.</summary>
    private void DropStale(BgpPeer peer, long now, bool all = false)
    {
        bool stale = peer.StaleFamilies != BgpFamilies.None && peer.State != BgpState.Established;
        if (!all && !stale) return;
        peer.StaleFamilies = BgpFamilies.None;
        peer.StaleUntil = long.MaxValue;
        _rib.WithdrawAll(peer.Origin, now);
        foreach (BgpFamilies family in BgpFamilies.Vpn.List()) WithdrawAll(peer, family, now);
        peer.ClearPaths();
    }

    private void ReturnFromRestart(BgpPeer peer, long now)
    {
        Negotiated agreed = peer.Fsm.Negotiated!;
        peer.LastRestart = agreed.PeerRestart ?? default;
        BgpFamilies kept = peer.LastRestart.Families & peer.LastRestart.Kept & agreed.Families;
        foreach (BgpFamilies family in (peer.StaleFamilies & ~kept).List()) SweepStale(peer, family, now);
        peer.StaleUntil = peer.StaleFamilies == BgpFamilies.None ? long.MaxValue : now + (_settings.StaleSeconds * Second);
    }

    private void TakeEndOfRib(BgpPeer peer, BgpFamilies family, long now)
    {
        peer.EndOfRibReceived |= family;
        if ((peer.StaleFamilies & family) != 0) SweepStale(peer, family, now);
        CheckDeferral(now);
    }

    private void StaleTimeout(BgpPeer peer, long now)
    {
        Warned?.Invoke(peer, peer.State == BgpState.Established
            ? "End-of-RIB has not come in time; routes from before the restart are withdrawn"
            : "not back within its restart time; its routes are withdrawn");
        if (peer.State != BgpState.Established) TellFailed(peer, failed: true, "not back within its restart time");
        foreach (BgpFamilies family in peer.StaleFamilies.List()) SweepStale(peer, family, now);
    }

    private void SweepStale(BgpPeer peer, BgpFamilies family, long now)
    {
        WithdrawStale(peer, family, now);
        peer.StaleFamilies &= ~family;
        if (peer.StaleFamilies == BgpFamilies.None) peer.StaleUntil = long.MaxValue;
    }

    private void CheckDeferral(long now)
    {
        if (!IsRestarting) return;
        if (now < _deferUntil)
        {
            foreach (BgpPeer peer in _peers.Values)
            {
                if (IsAwaited(peer)) return;
            }
        }

        IsRestarting = false;
        _deferUntil = long.MaxValue;
    }

    private static bool IsAwaited(BgpPeer peer)
    {
        if (peer.Settings.Shutdown) return false;
        if (peer.Negotiated is not { } agreed) return true;
        return agreed.PeerRestart is { Restarted: false } && (agreed.Families & ~peer.EndOfRibReceived) != 0;
    }
}
