using SdnEdge.Core.Config;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Bfd;
using SdnEdge.Router.Control;
using SdnEdge.Router.Tests.Pe;
using SdnEdge.Testing;
using SdnEdge.Web;

namespace SdnEdge.Router.Tests.Control;

/// <summary>The tables of a PE with two ports, its loop not running: a test does what the loop would.</summary>
internal sealed class PeTables : IPeSteps, IDisposable
{
    public static readonly IpAddress Peer = IpAddress.Parse("10.255.0.2");
    public static readonly RouteOrigin Static = new(RouteSource.Static, "test");

    private readonly ControlLoop _loop = new(TimeProvider.System);

    public PeTables(string more = "")
    {
        NodeConfig config = TwoPes.Config("""
            name: pe
            routerId: 10.255.0.1
            as: 65000
            loopbacks: [10.255.0.1]
            ports:
              - { name: core, device: c, mtu: 1600, addresses: [172.16.0.1/24] }
              - { name: dc, device: d, addresses: [10.1.1.1/24] }
            static:
              - { prefix: 10.255.0.2/32, via: 172.16.0.2 }

            """ + more);
        var devices = new PortDevices(p =>
        {
            (LinkedPort own, LinkedPort peer) = LinkedPort.Pair(p.Name, "peer");
            Wires[p.Name] = peer;
            return own;
        }, null);
        State = new PeState(config, _loop, new EventLog(), devices, this);
        Tunnels = new TunnelKeeper(State, _loop);
        var slowPath = new SlowPathDriver(State, _loop, Tunnels.OnReply, Tunnels.OnPathMtu);
        Actions = new MigrationActions(State, Tunnels, slowPath.Resolve, SetMoved, SetLeaving, SetBackup,
            new MarkerDriver(State, _loop), slowPath.Stretched, new MigrationChanges(), _loop) { AtOnce = true }.Watch();
        foreach (VrfConfig vrf in config.Vrfs) State.AddVrf(vrf);
        foreach (PortConfig port in config.Ports) State.AddPort(port, devices.Open(port));
        foreach (StaticRouteConfig route in config.Static) State.OfferStatic(route);
        State.Publish(0);
        State.Workers.Start();
    }

    public ControlLoop Loop => _loop;

    public PeState State { get; }

    public MigrationActions Actions { get; }

    public TunnelKeeper Tunnels { get; }

    /// <summary>The far ends of the ports.</summary>
    public Dictionary<string, LinkedPort> Wires { get; } = [];

    public LocRib Rib => State.Default.Rib;

    /// <summary>How BGP tells moved prefixes.</summary>
    public Dictionary<IpPrefix, MovedRoute> Moved { get; } = [];

    /// <summary>Prefixes whose servers are about to leave.</summary>
    public HashSet<IpPrefix> Leaving { get; } = [];

    /// <summary>LOCAL_PREF of the prefixes that this PE is a backup for.</summary>
    public Dictionary<IpPrefix, uint> Backups { get; } = [];

    public string Active => Actions.GroupInfo("m")!.Active;

    public void Offer(IpPrefix prefix) => Rib.Offer(Static, prefix, HopSpec.Via(IpAddress.Parse("172.16.0.2"), "core"), null, 0);

    public void Do(params PeCommand[] commands)
    {
        foreach (PeCommand command in commands)
        {
            foreach (CommandPart _ in Actions.Carry(command))
            {
            }
        }
    }

    /// <summary>What is so behind each part, and whether there are more.</summary>
    public List<(T1, T2, bool More)> Watch<T1, T2>(PeCommand command, Func<(T1, T2)> look)
    {
        var seen = new List<(T1, T2, bool)>();
        foreach (CommandPart part in Actions.Carry(command))
        {
            (T1 one, T2 two) = look();
            seen.Add((one, two, part.More));
        }

        return seen;
    }

    public void Publish(long now) => State.Default.Publisher.Apply(Rib.TakeChanges());

    public void Punted(in PuntInfo info, ReadOnlySpan<byte> frame, long now)
    {
    }

    public void MarkerCame(in PuntInfo info, ReadOnlySpan<byte> packet, long now)
    {
    }

    public void PortGoes(PortEntry port)
    {
    }

    public bool NextHopWanted(Adjacency neighbor) => false;

    public void NextHopUnwanted(Adjacency neighbor)
    {
    }

    public void RouterHeard(string port, IpAddress address, long now)
    {
    }

    public void Reconfigured(string vrf, IpPrefix prefix)
    {
    }

    public void TunnelHealthChanged(string tunnel, bool up)
    {
    }

    public void FullyArmed(string group)
    {
    }

    public void ReturnEnded(string group, bool inOrder)
    {
    }

    public void BfdHeard(BfdConfig session, in BfdStatus status, in BfdStatus before)
    {
    }

    public void BfdGone(BfdConfig session)
    {
    }

    public void DevicesChanged()
    {
    }

    public void WatchChanged()
    {
    }

    public void TakenBack()
    {
    }

    public void Dispose()
    {
        _loop.Dispose();
        State.Dispose();
    }

    private void SetLeaving(string vrf, IpPrefix prefix, bool leaving) => _ = leaving ? Leaving.Add(prefix) : Leaving.Remove(prefix);

    private void SetBackup(string vrf, IpPrefix prefix, uint? localPref)
    {
        if (localPref is { } pref) Backups[prefix] = pref;
        else Backups.Remove(prefix);
    }

    private void SetMoved(string vrf, IpPrefix prefix, MovedRoute? moved)
    {
        if (moved is { } value) Moved[prefix] = value;
        else Moved.Remove(prefix);
    }
}
