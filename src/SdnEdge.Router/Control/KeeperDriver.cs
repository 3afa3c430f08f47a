using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Forwarding;
using SdnEdge.Linux;
using SdnEdge.Router.Keeper;

namespace SdnEdge.Router.Control;

/// <summary>
/// The PE and its keeper (<see cref="PeKeeper"/>): tells it at the end of each round what has changed, and after a crash takes
/// forwarding back from it once BGP has heard all peers and the FIB has followed: it has as many prefixes as the keeper, or
/// a while has passed, since a peer may say End-of-RIB before it has told its routes (FRR does, by its coalesce time). Runs
/// on the control loop.
/// </summary>
internal sealed class KeeperDriver(KeeperLink? link, PeState state, SlowPathDriver slowPath, BgpDriver bgp, ControlLoop loop) : ITimed
{
    private const int QuietRounds = 3;
    private const long MissingRoutesNs = 5_000_000_000;

    private bool _started;
    private int _quietRounds;
    private long _heardAt;

    public long NextDeadline => _heardAt > 0 && _quietRounds == 0 ? _heardAt + MissingRoutesNs : long.MaxValue;

    // It only has to be a round: the rest is done at its end.
    public void Poll(long now)
    {
    }

    /// <summary>Everything is configured, and BGP is told its peers.</summary>
    public void Start()
    {
        if (link is null) return;
        _started = true;
        link.Start(
            neighbors => loop.Post(() => TakeBack(neighbors)),
            () => loop.Post(SendAll),
            () => loop.Post(Lost));
        if (link.IsStandby)
            state.Events.Add(loop.Now, "keeper", state.Config.Name, "standby", "the keeper forwards until BGP has heard its peers");
        else SendAll();
    }

    /// <summary>At the end of a round.</summary>
    public void AfterRound(long now)
    {
        if (link is null || !_started) return;
        if (!state.IsStandby)
        {
            link.Flush(state.Plane);
        }
        else if (_quietRounds < QuietRounds && !bgp.IsRestarting)
        {
            if (_heardAt == 0) _heardAt = now;
            if (Prefixes < link.Record.Prefixes && now < _heardAt + MissingRoutesNs) return;

            // What one round changes in the core another may carry into VRFs: their tunnels come with the routes.
            if (++_quietRounds == QuietRounds) link.Ready();
            else loop.Post(() => { });
        }
    }

    public KeeperInfo Info()
    {
        if (link is null) return new KeeperInfo("off", 0, 0, 0, 0, 0, 0, 0, 0, 0);
        KeeperRecord r = link.Record;
        return new KeeperInfo(!link.IsConnected ? "gone" : state.IsStandby ? "forwarding" : "connected",
            link.Records, link.SentBytes, link.QueuedBytes, link.Wholes, link.OutOfSyncs, r.Takeovers, r.Packets, r.Dropped,
            r.LastReignNs / 1e6);
    }

    private long Prefixes
    {
        get
        {
            long sum = 0;
            foreach (VrfState vrf in state.Vrfs.Values) sum += vrf.Table.V4.Count + vrf.Table.V6.Count;
            return sum;
        }
    }

    private void TakeBack(IReadOnlyList<KnownNeighbor> neighbors)
    {
        if (!state.IsStandby) return;
        foreach (KnownNeighbor neighbor in neighbors)
        {
            if (state.Port(neighbor.Port) is { } port) slowPath.Inherit(port, neighbor.Address, neighbor.Mac);
        }

        state.Workers.Resume();
        state.WatchNextHops();
        link!.Granted();
        KeeperRecord r = link.Record;
        state.Events.Add(loop.Now, "keeper", state.Config.Name, "taken-back",
            $"{neighbors.Count} neighbours; the keeper forwarded for {r.LastReignNs / 1e6:0} ms, in all {r.Packets} packets");
        SendAll();
        state.Steps.TakenBack();
    }

    private void SendAll()
    {
        if (!state.IsStandby) link!.SendAll(state.Plane, state.Config.Loopbacks, state.MirrorPrefixes);
    }

    private void Lost()
    {
        link!.Source.Stop();
        state.Events.Add(loop.Now, "keeper", state.Config.Name, "gone",
            "a crash of this process will stop forwarding; restart the PE to have a keeper again");
        TakeBack([]);
    }
}
