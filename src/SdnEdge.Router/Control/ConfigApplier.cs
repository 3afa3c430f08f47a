using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Router.Api;
using SdnEdge.Web;

namespace SdnEdge.Router.Control;

/// <summary>Applies a configuration: at start all of it, later the difference. Runs on the control loop.</summary>
internal sealed class ConfigApplier(PeState state, TunnelKeeper tunnels, SlowPathDriver slowPath, BgpDriver bgp, VpnDriver vpn, BfdDriver bfd, ControlLoop loop)
{
    /// <summary>Applies everything; the state is empty.</summary>
    public void ApplyAll(NodeConfig config)
    {
        foreach (VrfConfig vrf in config.Vrfs) Carry(new AddVrf(vrf));
        foreach (PortConfig port in config.Ports) Carry(new AddPort(port));
        foreach (TunnelConfig tunnel in config.Tunnels) Carry(new AddTunnel(tunnel));
        foreach (StaticRouteConfig route in config.Static) Carry(new AddStatic(route));
        state.Publish(loop.Now);
    }

    /// <summary>Applies the difference between what is in force and <paramref name="next"/>, or nothing.</summary>
    /// <exception cref="ProblemException">A change needs a restart, or takes away what a migration uses.</exception>
    public ReloadReply Apply(NodeConfig next)
    {
        IReadOnlyList<ConfigAction> actions = ConfigDiff.Between(state.Config, next);
        var refused = new List<ProblemError>();
        foreach (ConfigAction action in actions)
        {
            if (action is NeedsRestart restart) refused.Add(new ProblemError(restart.Field, "takes effect at start only; restart the PE, or put the old value back"));
            if (state.Groups.Count > 0 && action is RemovePort or RemoveVrf) refused.Add(new ProblemError(action.ToString(), $"a migration is under way ({string.Join(", ", state.Groups.Keys)}); bring it to its end first"));
        }

        if (refused.Count > 0) throw new ProblemException(Problems.BadConfig("nothing was applied", refused));
        state.Config = next;
        foreach (ConfigAction action in actions) Carry(action);
        state.Publish(loop.Now);
        state.Workers.Grace();
        if (actions.Count > 0) state.Events.Add(loop.Now, "config", next.Name, "reloaded", string.Join("; ", actions));
        return new ReloadReply([.. actions.Select(a => a.ToString())], loop.Now);
    }

    private void Carry(ConfigAction action)
    {
        switch (action)
        {
            case AddVrf a:
                state.AddVrf(a.Vrf);
                vpn.Set(a.Vrf);
                break;
            case ChangeVrf a:
                state.ChangeVrf(a.Vrf);
                vpn.Set(a.Vrf);
                break;
            case RemoveVrf a:
                vpn.Remove(a.Vrf.Name);
                state.RemoveVrf(a.Vrf.Name);
                break;
            case AddPort a:
                state.AddPort(a.Port);
                slowPath.SetPort(state.Ports[a.Port.Name]);
                break;
            case RemovePort a:
                state.RemovePort(a.Port.Name);
                break;
            case ChangePort a:
                state.ChangePort(a.Old, a.New);
                slowPath.SetPort(state.Ports[a.New.Name]);
                break;
            case AddTunnel a:
                tunnels.Add(a.Tunnel);
                break;
            case RemoveTunnel a:
                tunnels.Remove(a.Tunnel.Name);
                break;
            case AddStatic a:
                state.OfferStatic(a.Route);
                break;
            case RemoveStatic a:
                state.WithdrawStatic(a.Route);
                break;
            case AddPeer a:
                bgp.AddPeer(a.Peer);
                break;
            case RemovePeer a:
                bgp.RemovePeer(a.Peer.Address);
                break;
            case AddBfd a:
                bfd.Add(a.Session);
                break;
            case RemoveBfd a:
                bfd.Remove(a.Session);
                break;
            case ChangeBfd a:
                bfd.Change(a.Session);
                break;
            case ChangePeerPolicy a:
                bgp.SetPolicy(a.Peer);
                break;
            case ChangeAdvertise a:
                bgp.SetExport(a.Bgp);
                break;
        }
    }
}
