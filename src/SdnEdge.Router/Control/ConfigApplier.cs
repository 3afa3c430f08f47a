using System.Net.Sockets;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Linux;
using SdnEdge.Router.Api;
using SdnEdge.Web;

namespace SdnEdge.Router.Control;

/// <summary>
/// Applies a configuration: at start all of it, later the difference, as a whole or not at all. Runs on the control loop.
/// <list type="number">
/// <item>The difference is computed as data. What takes effect at start only, or takes away what a migration uses, refuses all
/// of it.</item>
/// <item>What can fail is done beside what runs: devices and BGP's listeners are opened, tunnels are compared with those of
/// migrations and VPNs, and every worker passes a batch boundary. Should any of it fail, all is closed again: nothing has
/// changed.</item>
/// <item>The steps are carried out.</item>
/// </list>
/// </summary>
internal sealed class ConfigApplier(
    PeState state, PortDevices devices, TunnelKeeper tunnels, SlowPathDriver slowPath, HostPort host, BgpDriver bgp, VpnDriver vpn,
    BfdDriver bfd,
    ControlLoop loop)
{
    private const string NothingApplied = "nothing was applied; what ran goes on";

    /// <summary>Reloads that were applied, those that changed nothing among them.</summary>
    public long Applied { get; private set; }

    /// <summary>Reloads that were refused: the file is wrong, or something in it cannot be had.</summary>
    public long Refused { get; private set; }

    /// <summary>Reloads that ended in an exception. Always 0 unless there is a bug.</summary>
    public long Failed { get; private set; }

    /// <summary>Applies everything; the state is empty.</summary>
    /// <exception cref="IOException">A device cannot be opened.</exception>
    public void ApplyAll(NodeConfig config)
    {
        foreach (VrfConfig vrf in config.Vrfs) state.AddVrf(vrf);
        foreach (PortConfig port in config.Ports) AddPort(port, devices.Open(port));
        foreach (TunnelConfig tunnel in config.Tunnels) tunnels.Add(tunnel);
        foreach (StaticRouteConfig route in config.Static) state.OfferStatic(route);
        state.Publish(loop.Now);
    }

    /// <summary>Applies the difference between what is in force and a file that was read, or nothing, and tells how that went.</summary>
    /// <exception cref="ProblemException">
    /// The file is wrong, a change needs a restart, takes away what a migration uses, or names what cannot be opened.
    /// </exception>
    public ReloadReply Reload(ConfigResult read)
    {
        ReloadReply reply;
        TimeoutException? stuck;
        try
        {
            if (read.Config is not { } next)
            {
                IEnumerable<ProblemError> errors = read.Errors
                    .Select(e => new ProblemError($"{e.File}:{e.Line}:{e.Column}: {e.Field}", e.Message));
                throw new ProblemException(Problems.BadConfig("the file is wrong; nothing was applied", [.. errors]));
            }

            reply = Apply(next, out stuck);
        }
        catch (ProblemException e)
        {
            Refused++;
            IEnumerable<string> errors = (e.Problem.Errors ?? []).Select(error => $"{error.Pointer}: {error.Detail}");
            Tell("reload-refused", string.Join("; ", errors.Prepend(e.Problem.Detail)));
            throw;
        }
        catch (Exception e)
        {
            Failed++;
            Tell("reload-failed", e.ToString());
            throw;
        }

        Applied++;
        return stuck is null ? reply
            : throw new ProblemException(Problems.Timeout($"applied, but {stuck.Message}; what it may still use is kept, restart the PE"));
    }

    private ReloadReply Apply(NodeConfig next, out TimeoutException? stuck)
    {
        stuck = null;

        // 1. What is to be done, and whether it may be.
        IReadOnlyList<ConfigAction> actions = ConfigDiff.Between(state.Config, next);
        if (actions.Count == 0) return new ReloadReply([], loop.Now);
        var refused = new List<ProblemError>();
        foreach (ConfigAction action in actions)
        {
            if (action is NeedsRestart restart)
                refused.Add(new ProblemError(restart.Field, "takes effect at start only; restart the PE, or put the old value back"));
            if (state.Groups.Count > 0 && action is RemovePort or RemoveVrf)
            {
                string groups = string.Join(", ", state.Groups.Keys);
                refused.Add(new ProblemError(action.ToString(), $"a migration is under way ({groups}); bring it to its end first"));
            }
        }

        if (refused.Count > 0) throw Refusal(refused);

        // 2. What can fail.
        using Opened opened = Open(actions, next);

        // 3. From here on nothing can.
        state.Config = next;
        if (opened.Bgp is { } listening) bgp.Use(listening);
        opened.Commit();
        foreach (ConfigAction action in actions) stuck = Settle(() => Carry(action, opened)) ?? stuck;
        state.Publish(loop.Now);
        host.Settle();
        stuck = Settle(state.Workers.Grace) ?? stuck;
        Tell("reloaded", string.Join("; ", actions));
        return new ReloadReply([.. actions.Select(a => a.ToString())], loop.Now);
    }

    private Opened Open(IReadOnlyList<ConfigAction> actions, NodeConfig next)
    {
        var opened = new Opened(devices);
        var refused = new List<ProblemError>();
        try
        {
            // A port that is made anew, or gives its device to another, has it open: that one is handed over.
            var going = actions.OfType<RemovePort>().ToDictionary(a => a.Port.Device, a => state.Ports[a.Port.Name].Device);
            foreach (AddPort add in actions.OfType<AddPort>())
            {
                bool held = going.TryGetValue(add.Port.Device, out IFdPort? device) && !device.IsGone;
                Try($"ports.{add.Port.Name}.device", () =>
                {
                    IFdPort its = held ? PortDevices.TakeOver(device!, add.Port) : devices.Open(add.Port);
                    opened.Add(add.Port, its, held ? device : null);
                });
            }

            var tunnelsGoing = actions.OfType<RemoveTunnel>().Select(a => a.Tunnel.Name).ToHashSet();
            foreach (AddTunnel add in actions.OfType<AddTunnel>())
            {
                if (tunnels.Conflict(add.Tunnel, tunnelsGoing) is { } why) refused.Add(new ProblemError($"tunnels.{add.Tunnel.Name}", why));
            }

            Try("host", () => host.Prepare(next));
            Try("bgp.peers", () => opened.Bgp = bgp.Open(next));
            Try("workers", state.Workers.Grace);
            return refused.Count == 0 ? opened : throw Refusal(refused);
        }
        catch
        {
            opened.Dispose();
            host.Settle();
            throw;
        }

        void Try(string field, Action open)
        {
            try
            {
                open();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or SocketException or TimeoutException)
            {
                refused.Add(new ProblemError(field, e.Message));
            }
        }
    }

    private static ProblemException Refusal(IReadOnlyList<ProblemError> errors) => new(Problems.BadConfig(NothingApplied, errors));

    // A worker that got stuck meanwhile: what it may still use is kept, and the other steps are done.
    private static TimeoutException? Settle(Action step)
    {
        try
        {
            step();
            return null;
        }
        catch (TimeoutException e)
        {
            return e;
        }
    }

    private void Tell(string change, string detail) => state.Events.Add(loop.Now, "config", state.Config.Name, change, detail);

    private void AddPort(PortConfig port, IFdPort device)
    {
        state.AddPort(port, device);
        slowPath.SetPort(state.Ports[port.Name]);
        host.Attach(port.Name);
    }

    // Router advertisements begin, or end, with a peer that is known by its link alone.
    private void Advertise(BgpPeerConfig peer)
    {
        if (peer.OnLink && state.Port(peer.LinkPort!) is not null) slowPath.SetPort(state.Ports[peer.LinkPort!]);
    }

    private void Carry(ConfigAction action, Opened opened)
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
                host.DetachVrf(a.Vrf.Name);
                vpn.Remove(a.Vrf.Name);
                state.RemoveVrf(a.Vrf.Name);
                break;
            case AddPort a:
                AddPort(a.Port, opened.Devices[a.Port.Name]);
                break;
            case RemovePort a:
                host.Detach(a.Port.Name);
                state.RemovePort(a.Port.Name, keepDevice: opened.IsInUse(state.Ports[a.Port.Name].Device));
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
                host.AttachVrf(a.Peer.Vrf);
                if (a.Peer.LinkPort is { } link) host.Attach(link);
                bgp.AddPeer(a.Peer);
                Advertise(a.Peer);
                break;
            case RemovePeer a:
                bgp.RemovePeer(a.Peer);
                Advertise(a.Peer);
                break;
            case AddBfd a:
                host.AttachVrf(a.Session.Vrf);
                if (a.Session.Port is { } on) host.Attach(on);
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

    /// <summary>What has been opened for a change. Disposing of it closes everything, unless it was committed.</summary>
    private sealed class Opened(PortDevices devices) : IDisposable
    {
        private readonly Dictionary<string, IFdPort> _devices = [];
        private readonly HashSet<IFdPort> _handedOver = [];
        private bool _committed;

        /// <summary>Devices by their new port.</summary>
        public IReadOnlyDictionary<string, IFdPort> Devices => _devices;

        /// <summary>Where BGP listens from now on; null: nothing was opened.</summary>
        public BgpDriver.Opened? Bgp { get; set; }

        /// <summary>True for a device that goes on with another port as it is.</summary>
        public bool IsInUse(IFdPort device) => _handedOver.Contains(device);

        public void Add(PortConfig port, IFdPort device, IFdPort? handedOver)
        {
            _devices.Add(port.Name, device);
            if (ReferenceEquals(device, handedOver)) _handedOver.Add(device);
        }

        public void Commit() => _committed = true;

        public void Dispose()
        {
            if (_committed) return;
            foreach (IFdPort device in _devices.Values)
            {
                if (!_handedOver.Contains(device)) devices.Abandon(device);
            }

            Bgp?.Dispose();
        }
    }
}
