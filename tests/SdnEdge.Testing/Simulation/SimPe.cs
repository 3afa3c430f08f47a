using SdnEdge.Core.Api;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Testing.Simulation;

/// <summary>What a PE's redirect group makes of packets for the server.</summary>
public enum SimGroup
{
    /// <summary>There is none: the route decides.</summary>
    None,

    /// <summary>Armed: the route decides still.</summary>
    Native,

    /// <summary>Source, switched: into the tunnel.</summary>
    Tunnel,

    /// <summary>Target, armed: what comes out of the tunnel is held.</summary>
    Hold,

    /// <summary>Target, released: to the attachment.</summary>
    Deliver,

    /// <summary>Target, given up: what comes out of the tunnel goes back by the route.</summary>
    Return,
}

/// <summary>
/// A PE: the real BGP engine, routing table and migration machine over simulated connections, with the least of a data plane:
/// one prefix, one group, one tunnel. It sees its own clock only.
/// </summary>
public sealed class SimPe : IBgpWire
{
    private readonly SimNet _net;
    private readonly SimConnection?[,] _connections;
    private readonly RouteOrigin _migrated = new(RouteSource.Migration, "migrated");
    private readonly RouteOrigin _static = new(RouteSource.Static, "static");
    private long _tickAt = long.MaxValue;
    private int _life;
    private long _number;

    internal SimPe(SimNet net, int index, SimClock clock)
    {
        _net = net;
        Index = index;
        Clock = clock;
        Address = IpAddress.FromV4(0x0AFF0000u | (uint)(index + 1));
        _connections = new SimConnection?[net.Size, 2];
        Boot();
    }

    /// <summary>Number of the PE, from 0; also that of its site.</summary>
    public int Index { get; }

    /// <summary>Its loopback.</summary>
    public IpAddress Address { get; }

    /// <summary>Its clock.</summary>
    public SimClock Clock { get; }

    /// <summary>Whether it runs.</summary>
    public bool Up { get; private set; } = true;

    /// <summary>The configuration has the server's route here.</summary>
    public bool Configured { get; set; }

    /// <summary>The speaker; another one after each restart.</summary>
    public BgpEngine Engine { get; private set; } = null!;

    /// <summary>The routes.</summary>
    public LocRib Rib { get; private set; } = null!;

    /// <summary>The migrations.</summary>
    public PeMigrationFsm Migrations { get; private set; } = null!;

    /// <summary>The group.</summary>
    public SimGroup Group { get; private set; }

    /// <summary>The other end of the tunnel; -1: there is none.</summary>
    public int TunnelPeer { get; private set; } = -1;

    /// <summary>Where the route to the server leads: this PE's own index for its attachment, -1 for nowhere.</summary>
    public int Route { get; private set; } = -1;

    /// <summary>Number of the move with which the server's route is told from here; 0: without one, -1: it is not told.</summary>
    public long Told => Up && Engine.Own.ContainsKey(SimNet.Server) ? _number : -1;

    /// <summary>Packets that went into the tunnel.</summary>
    public long TunnelPackets { get; set; }

    /// <summary>Packets held.</summary>
    public List<SimProbe> Held { get; } = [];

    /// <summary>Local time.</summary>
    public long Now => Clock.Local(_net.World.Now);

    /// <summary>Whether the session with another PE, or those over the reflector, are up and all of its routes have come.</summary>
    public bool Knows(int other) => _net.Reflector is not { } reflector || Index == reflector || other == reflector ? Hears(other)
        : Hears(reflector) && _net.Pes[reflector].Hears(other);

    /// <summary>Starts a session with another PE; as a reflector with a client.</summary>
    public void AddPeer(int other, bool passive)
    {
        Engine.AddPeer(new BgpPeerSettings(_net.Pes[other].Address, 65000) { Passive = passive, Families = BgpFamilies.V4, ReflectorClient = Index == _net.Reflector }, Now);
        Round();
    }

    /// <summary>Advertises the server's route as configured.</summary>
    public void Configure(uint localPref)
    {
        Configured = true;
        Rib.Offer(_static, SimNet.Server, HopSpec.Connected("dc"), null, Now);
        Engine.Advertise(SimNet.Server, localPref);
        Round();
    }

    /// <summary>The process dies: connections end, everything it knew is gone.</summary>
    public void Crash()
    {
        Up = false;
        _net.World.Changed = true;
        _life++;
        for (int other = 0; other < _net.Size; other++)
        {
            for (int side = 0; side < 2; side++)
            {
                if (_connections[other, side] is { } connection) _net.Leave(connection, this);
                _connections[other, side] = null;
            }
        }

        foreach (SimProbe probe in Held) _net.Lost(probe, $"held at {Index}, which crashed");
        Held.Clear();
    }

    /// <summary>It starts again, from its configuration.</summary>
    public void Restart(Action<SimPe> configure)
    {
        Up = true;
        _net.World.Changed = true;
        Boot();
        configure(this);
    }

    /// <summary>A signal of the MMS.</summary>
    public PeStep Signal(string id, SignalKind kind, SignalRequest request)
    {
        PeStep step = Migrations.Signal(id, kind, request, Now,
            new PeFacts(Unrouted: Rib.Best(SimNet.Server) is null ? SimNet.Server : null));
        Carry(id, step);
        if (step is { Refusal: null, Repeated: false, Underway: false, Migration: { } after })
            Migrations.Result(id, new Executed(kind, new SignalReply(id, kind, after.State, after.Epoch, Repeated: false, Now, Now)), Now);
        Round();
        return step;
    }

    /// <summary>The session's connection is there; what the engine makes of it.</summary>
    internal void Connected(int other, ConnectionSide side, SimConnection connection)
    {
        _connections[other, (int)side] = connection;
        if (Engine.Find(_net.Pes[other].Address) is not { } peer) return;
        Engine.Connected(peer, side, Now);
        Round();
    }

    internal void Disconnected(int other, ConnectionSide side, SimConnection connection)
    {
        if (_connections[other, (int)side] != connection) return;
        _connections[other, (int)side] = null;
        if (Engine.Find(_net.Pes[other].Address) is not { } peer) return;
        Engine.Disconnected(peer, side, Now);
        Round();
    }

    internal void Received(int other, ConnectionSide side, SimConnection connection, byte[] bytes)
    {
        if (_connections[other, (int)side] != connection) return;
        if (Engine.Find(_net.Pes[other].Address) is not { } peer) return;
        Engine.Received(peer, side, bytes, Now);
        Round();
    }

    /// <summary>A packet comes in, from the core or out of the tunnel.</summary>
    internal void Arrive(in SimProbe probe) => _net.Forward(probe, this);

    private bool Hears(int other) => Up && Engine.Find(_net.Pes[other].Address) is { State: BgpState.Established } peer && (peer.EndOfRibReceived & BgpFamilies.V4) != 0;

    internal SimConnection? Incoming(int other) => _connections[other, (int)ConnectionSide.Incoming];

    void IBgpWire.Connect(BgpPeer peer)
    {
        int other = SimNet.IndexOf(peer.Settings.Address);
        var connection = new SimConnection(this, _net.Pes[other]);
        _connections[other, (int)ConnectionSide.Outgoing] = connection;
        _net.Open(connection);
    }

    void IBgpWire.Send(BgpPeer peer, ConnectionSide side, ReadOnlySpan<byte> bytes)
    {
        if (_connections[SimNet.IndexOf(peer.Settings.Address), (int)side] is { } connection) _net.Send(connection, this, bytes.ToArray());
    }

    void IBgpWire.Close(BgpPeer peer, ConnectionSide side)
    {
        int other = SimNet.IndexOf(peer.Settings.Address);
        if (_connections[other, (int)side] is not { } connection) return;
        _connections[other, (int)side] = null;
        _net.Leave(connection, this);
    }

    long IBgpWire.Unsent(BgpPeer peer, ConnectionSide side) => 0;

    private void Boot()
    {
        Rib = new LocRib("default");
        Engine = new BgpEngine(new BgpSpeakerSettings(65000, 0x0AFF0000u | (uint)(Index + 1), Address, default, Seed: _net.World.Next(int.MaxValue)), Rib, this);
        Migrations = new PeMigrationFsm();
        Group = SimGroup.None;
        TunnelPeer = -1;
        Route = -1;
        _number = 0;
        _tickAt = long.MaxValue;
        Rib.Offer(new RouteOrigin(RouteSource.Connected, "core"), SimNet.Loopbacks, HopSpec.Connected("core"), null, Now);
    }

    /// <summary>The control loop was given something to do: the rest of its round.</summary>
    private void Round()
    {
        _net.World.Changed = true;
        ReadOnlySpan<RibChange> changes = Rib.TakeChanges();
        if (changes.Length > 0)
        {
            Engine.RibChanged(changes);
            RouteView? best = Rib.Best(SimNet.Server);
            Route = best is not { } route ? -1 : route.Origin.Source == RouteSource.Bgp ? SimNet.IndexOf(route.Hop.Spec.Address) : Index;
        }

        Engine.Flush();
        long due = Clock.True(Engine.NextDeadline);
        if (due >= _tickAt) return;
        _tickAt = due;
        int life = _life;
        _net.World.At(due, () => Tick(due, life));
    }

    private void Tick(long due, int life)
    {
        if (life != _life || due != _tickAt) return;
        _tickAt = long.MaxValue;
        Engine.Tick(Now);
        Round();
    }

    private void Carry(string id, PeStep step)
    {
        _net.World.Changed = true;
        foreach (PeCommand command in step.Commands)
        {
            switch (command)
            {
                case CreateTunnel c:
                    TunnelPeer = SimNet.IndexOf(c.Peer);
                    Probe(id, _life);
                    break;
                case ArmGroup:
                    Group = SimGroup.Native;
                    break;
                case ArmHold:
                    Group = SimGroup.Hold;
                    break;
                case TellWith c:
                    Engine.Advertise(SimNet.Server, c.LocalPref, move: Math.Max(_number, 0));
                    break;
                case SwitchToTunnel:
                    Group = SimGroup.Tunnel;
                    break;
                case SwitchBack:
                    Group = SimGroup.Native;
                    break;
                case ReleaseHold:
                    Group = SimGroup.Deliver;
                    Drain(id);
                    break;
                case ReturnHold:
                    Group = SimGroup.Return;
                    Drain(id);
                    break;
                case AdvertisePrefixes c:
                    _number = c.Move;
                    Rib.Offer(_migrated, SimNet.Server, HopSpec.Connected("dc"), null, Now);
                    Engine.Advertise(SimNet.Server, c.LocalPref, move: _number);
                    break;
                case WithdrawPrefixes:
                    Rib.Withdraw(_static, SimNet.Server, Now);
                    Rib.Withdraw(_migrated, SimNet.Server, Now);
                    Engine.Withdraw(SimNet.Server);
                    _number = 0;
                    break;
                case RestorePrefixes:
                    if (Configured) Rib.Offer(_static, SimNet.Server, HopSpec.Connected("dc"), null, Now);
                    break;
                case FlushTunnel:
                    // No order is asked for here: nobody waits for the marker.
                    break;
                case RemoveGroup:
                    Group = SimGroup.None;
                    break;
                case RemoveTunnel:
                    TunnelPeer = -1;
                    break;
                default:
                    throw new InvalidOperationException($"unknown command {command}");
            }
        }
    }

    /// <summary>The tunnel is up when the other end answers; asked again until then.</summary>
    private void Probe(string id, int life)
    {
        if (life != _life || TunnelPeer < 0) return;
        SimPe far = _net.Pes[TunnelPeer];
        long there = _net.Delay(Index, TunnelPeer);
        _net.World.In(there, () =>
        {
            if (!far.Up || far.TunnelPeer != Index) return;
            _net.World.In(_net.Delay(far.Index, Index), () =>
            {
                if (life == _life) Carry(id, Migrations.Result(id, new TunnelHealth(true), Now));
            });
        });
        if (Migrations.Find(id) is { TunnelUp: false, Finished: false }) _net.World.In(100 * SimWorld.Ms, () => Probe(id, life));
    }

    private void Drain(string id)
    {
        foreach (SimProbe probe in Held) _net.Forward(probe with { FromTunnel = false }, this);
        Held.Clear();
        int life = _life;
        _net.World.In(_net.World.Between(0, 20 * SimWorld.Ms), () =>
        {
            if (life != _life) return;
            Carry(id, Migrations.Result(id, new HoldDrained(), Now));
            Round();
        });
    }
}
