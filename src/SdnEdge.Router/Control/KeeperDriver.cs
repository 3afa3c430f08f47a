using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Forwarding;
using SdnEdge.Linux;
using SdnEdge.Router.Keeper;

namespace SdnEdge.Router.Control;

/// <summary>
/// The PE and its keeper (<see cref="PeKeeper"/>): tells it at the end of each round what has changed, and after a crash takes
/// forwarding back from it once BGP has heard all peers and the FIB has followed. Runs on the control loop.
/// </summary>
internal sealed class KeeperDriver(KeeperLink? link, PeState state, SlowPathDriver slowPath, BgpDriver bgp, ControlLoop loop)
{
    private bool _started, _readySaid;

    /// <summary>Everything is configured, and BGP is told its peers.</summary>
    public void Start()
    {
        if (link is null) return;
        _started = true;
        link.Start(
            neighbors => loop.Post(() => TakeBack(neighbors)),
            () => loop.Post(SendAll),
            () => loop.Post(Lost));
        if (link.IsStandby) state.Events.Add(loop.Now, "keeper", state.Config.Name, "standby", "the keeper forwards until BGP has heard its peers");
        else SendAll();
    }

    /// <summary>At the end of a round.</summary>
    public void AfterRound()
    {
        if (link is null || !_started) return;
        if (!state.IsStandby)
        {
            link.Flush(state.Plane);
        }
        else if (!_readySaid && !bgp.IsRestarting)
        {
            _readySaid = true;
            link.Ready();
        }
    }

    public KeeperInfo Info()
    {
        if (link is null) return new KeeperInfo("off", 0, 0, 0, 0, 0, 0, 0, 0, 0);
        KeeperRecord r = link.Record;
        return new KeeperInfo(!link.IsConnected ? "gone" : state.IsStandby ? "forwarding" : "connected",
            link.Records, link.SentBytes, link.QueuedBytes, link.Wholes, link.OutOfSyncs, r.Takeovers, r.Packets, r.Dropped, r.LastReignNs / 1e6);
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
    }

    private void SendAll()
    {
        if (!state.IsStandby) link!.SendAll(state.Plane, state.Config.Loopbacks, state.MirrorPrefixes);
    }

    private void Lost()
    {
        link!.Source.Stop();
        state.Events.Add(loop.Now, "keeper", state.Config.Name, "gone", "a crash of this process will stop forwarding; restart the PE to have a keeper again");
        TakeBack([]);
    }
}
