using SdnEdge.Core.Bfd;
using SdnEdge.Core.Config;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Bfd;
using SdnEdge.Router.Control;

namespace SdnEdge.Router;

/// <summary>What the parts of a PE do for one another: each method is a moment, its lines are the steps in their order.</summary>
public sealed partial class PeRouter : IPeSteps
{
    // At the end of each round of the control loop.
    private void AfterRound(long now)
    {
        Publish(now);
        _vpn.Sweep();
        _bgp.Flush();
        _migrationChanges.Tell();
        _keeper.AfterRound(now);
    }

    private void Publish(long now)
    {
        bool changed = false;
        foreach (VrfState vrf in _state.Vrfs.Values)
        {
            vrf.Rib.Converge(now);               // behind the flip of what has failed: the best routes
            ReadOnlySpan<RibChange> changes = vrf.Rib.TakeChanges();
            if (changes.Length == 0) continue;
            changed = true;
            _markers.Note(vrf, changes);         // the decisions that are about to go
            _vpn.RoutesChanging(vrf, changes);   // the tunnels that new next hops name
            vrf.Publisher.Apply(changes);        // the FIB follows
            _markers.Send(now);                  // behind the last packet on each old path
            _slowPath.Stretched.RoutesChanged(vrf, changes);   // who looks on a link for what is elsewhere is answered
            _state.Report(vrf, changes, now);
            _bgp.RoutesChanged(changes, now);    // the peers hear of it when this PE forwards so
        }

        if (changed) _state.WatchNextHops();
    }

    void IPeSteps.Publish(long now) => Publish(now);

    void IPeSteps.Punted(in PuntInfo info, ReadOnlySpan<byte> frame, long now) => _slowPath.Punted(info, frame, now);

    void IPeSteps.MarkerCame(in PuntInfo info, ReadOnlySpan<byte> packet, long now) => _actions.Marker(info, packet, now);

    void IPeSteps.PortGoes(PortEntry port) => _slowPath.Forget(port);

    bool IPeSteps.NextHopWanted(Adjacency neighbor) => _slowPath.Watch(neighbor);

    void IPeSteps.NextHopUnwanted(Adjacency neighbor) => _slowPath.Unwatch(neighbor);

    void IPeSteps.RouterHeard(string port, IpAddress address, long now) => _bgp.RouterHeard(port, address, now);

    void IPeSteps.Reconfigured(string vrf, IpPrefix prefix) => _migrations.Reconfigured(vrf, prefix);

    void IPeSteps.TunnelHealthChanged(string tunnel, bool up) => _migrations.OnTunnelHealth(tunnel, up);

    void IPeSteps.FullyArmed(string group) => _migrations.OnFullyArmed(group);

    void IPeSteps.ReturnEnded(string group, bool inOrder) => _migrations.OnReturnEnded(group, inOrder);

    void IPeSteps.BfdHeard(BfdConfig session, in BfdStatus status, in BfdStatus before)
    {
        _watches.BfdHeard(session, status, before);   // armed backups first: that is one store
        if (status.PathFailedSince(before))
        {
            _bgp.PathDown(session.Vrf, session.Peer, $"BFD session {PeView.Kebab(status.State)}: {PeView.Kebab(status.Diagnostic)}",
                _loop.Now, mayBeRestart: !status.SurvivesControlPlane);
        }

        if (status.State is BfdState.Up or BfdState.AdminDown)
            _bgp.PathUp(session.Vrf, session.Peer, $"BFD session {PeView.Kebab(status.State)}");
    }

    void IPeSteps.BfdGone(BfdConfig session)
    {
        _watches.BfdGone(session);
        _bgp.PathUp(session.Vrf, session.Peer, "BFD session removed");
    }

    void IPeSteps.DevicesChanged() => _watches.DevicesChanged();

    void IPeSteps.WatchChanged() => _migrations.OnWatchChanged();

    void IPeSteps.TakenBack()
    {
        _migrations.Forwards();
        _migrations.OnWatchChanged();
    }
}
