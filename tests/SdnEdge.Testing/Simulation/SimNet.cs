using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;

namespace SdnEdge.Testing.Simulation;

/// <summary>A TCP connection between two PEs. Each direction is in order; bytes may be late, never lost.</summary>
public sealed class SimConnection(SimPe opener, SimPe acceptor)
{
    /// <summary>Who opened it.</summary>
    public SimPe Opener { get; } = opener;

    /// <summary>Who was asked.</summary>
    public SimPe Acceptor { get; } = acceptor;

    internal bool OpenerGone { get; set; }

    internal bool AcceptorGone { get; set; }

    internal long ToOpenerAt { get; set; }

    internal long ToAcceptorAt { get; set; }
}

/// <summary>A packet for the server on its way.</summary>
/// <param name="Ingress">The PE where it came in.</param>
/// <param name="Sent">When, true time.</param>
/// <param name="Hops">PEs it has passed.</param>
/// <param name="FromTunnel">It came to this PE out of the migration tunnel.</param>
/// <param name="Faults">Number of faults injected when it was sent: it is judged only if there were no others since.</param>
public readonly record struct SimProbe(int Ingress, long Sent, int Hops, bool FromTunnel, int Faults);

/// <summary>The PEs, the provider core between them, and the packets in it.</summary>
public sealed class SimNet
{
    /// <summary>The server's address.</summary>
    public static readonly IpPrefix Server = IpPrefix.Parse("10.1.1.10/32");

    /// <summary>The PEs' loopbacks.</summary>
    public static readonly IpPrefix Loopbacks = IpPrefix.Parse("10.255.0.0/16");

    private const long Retransmission = 200 * SimWorld.Ms;
    private const int MaxHops = 6;

    private readonly long[,] _delay;
    private readonly int _jitterPerMille;
    private readonly int _lossPerMille;

    /// <summary>Makes the PEs, without sessions.</summary>
    /// <param name="world">Time and chance.</param>
    /// <param name="size">Number of PEs.</param>
    /// <param name="maxDelayMs">Longest one-way delay between two PEs, milliseconds.</param>
    /// <param name="jitterPerMille">Most of it added by jitter.</param>
    /// <param name="lossPerMille">Segments of TCP lost, and so late.</param>
    public SimNet(SimWorld world, int size, int maxDelayMs, int jitterPerMille, int lossPerMille)
    {
        World = world;
        Size = size;
        _jitterPerMille = jitterPerMille;
        _lossPerMille = lossPerMille;
        _delay = new long[size, size];
        for (int a = 0; a < size; a++)
        {
            for (int b = a + 1; b < size; b++) _delay[a, b] = _delay[b, a] = world.Between(SimWorld.Ms / 2, maxDelayMs * SimWorld.Ms);
        }

        Pes = new SimPe[size];
        for (int i = 0; i < size; i++)
        {
            Pes[i] = new SimPe(this, i, new SimClock(world.Between(0, 1_000_000_000_000), 1 + ((world.NextDouble() - 0.5) * 0.0004)));
        }
    }

    /// <summary>Time and chance.</summary>
    public SimWorld World { get; }

    /// <summary>Number of PEs.</summary>
    public int Size { get; }

    /// <summary>The PE that reflects the routes of all others (RFC 4456), which have sessions with it only; null: a full mesh.</summary>
    public int? Reflector { get; init; }

    /// <summary>The PEs.</summary>
    public SimPe[] Pes { get; }

    /// <summary>Told of a packet that reached an attachment.</summary>
    public Action<SimProbe, SimPe>? Arrived { get; set; }

    /// <summary>Told of a packet that was dropped.</summary>
    public Action<SimProbe, string> Lost { get; set; } = (_, _) => { };

    /// <summary>Number of the PE with a loopback.</summary>
    public static int IndexOf(IpAddress loopback) => (int)(loopback.V4 & 0xFFFF) - 1;

    /// <summary>Least one-way delay between two PEs, nanoseconds.</summary>
    public long LeastDelay(int from, int to) => from == to ? 0 : _delay[from, to];

    /// <summary>One-way delay of a packet now.</summary>
    public long Delay(int from, int to)
    {
        long least = LeastDelay(from, to);
        return least + World.Between(0, (least * _jitterPerMille / 1000) + 1);
    }

    /// <summary>Cuts the connections between two PEs: both ends see them closed, each in its own time.</summary>
    public void Cut(SimPe a, SimPe b)
    {
        foreach (SimConnection? connection in (SimConnection?[])[a.Incoming(b.Index), b.Incoming(a.Index)])
        {
            if (connection is null) continue;
            Gone(connection, connection.Opener, Delay(a.Index, b.Index));
            Gone(connection, connection.Acceptor, Delay(b.Index, a.Index));
        }
    }

    /// <summary>What one PE does with a packet: -1 for a drop, its own index for its attachment, -2 to hold it, else the next PE.</summary>
    public static (int To, bool Tunnel, string Why) Decide(SimPe pe, bool fromTunnel)
    {
        if (!pe.Up) return (-1, false, "the PE is down");
        if (fromTunnel && pe.TunnelPeer < 0) return (-1, false, "it does not accept the tunnel");
        switch (pe.Group)
        {
            case SimGroup.Deliver: return (pe.Index, false, "");
            case SimGroup.Hold when fromTunnel: return (-2, false, "");
            case SimGroup.Tunnel when !fromTunnel: return (pe.TunnelPeer, true, "");
        }

        if (pe.Route < 0) return (-1, false, "no route");
        return fromTunnel && pe.Route == pe.TunnelPeer && pe.Group != SimGroup.Return ? (-1, false, "it would go back where the tunnel comes from") : (pe.Route, false, "");
    }

    /// <summary>A packet is at a PE: it goes on its way.</summary>
    public void Forward(SimProbe probe, SimPe at)
    {
        (int to, bool tunnel, string why) = Decide(at, probe.FromTunnel);
        if (to == -1)
        {
            Lost(probe, $"at {at.Index}: {why}");
        }
        else if (to == -2)
        {
            at.Held.Add(probe);
        }
        else if (to == at.Index)
        {
            Arrived?.Invoke(probe, at);
        }
        else if (probe.Hops == MaxHops)
        {
            Lost(probe, "a loop");
        }
        else
        {
            if (tunnel) at.TunnelPackets++;
            World.At(World.Now + Delay(at.Index, to), Pes[to], probe with { Hops = probe.Hops + 1, FromTunnel = tunnel });
        }
    }

    internal void Open(SimConnection connection)
    {
        (SimPe opener, SimPe acceptor) = (connection.Opener, connection.Acceptor);
        World.In(Late(opener.Index, acceptor.Index), () =>
        {
            if (connection.OpenerGone) return;
            if (!acceptor.Up || !acceptor.Engine.Accepts(opener.Address))
            {
                connection.AcceptorGone = true;
                Gone(connection, opener, Delay(acceptor.Index, opener.Index));
                return;
            }

            if (acceptor.Incoming(opener.Index) is { } older) Leave(older, acceptor);
            long back = World.Now + Delay(acceptor.Index, opener.Index);
            connection.ToOpenerAt = back;
            World.At(back, () =>
            {
                if (!connection.OpenerGone) opener.Connected(acceptor.Index, ConnectionSide.Outgoing, connection);
            });
            acceptor.Connected(opener.Index, ConnectionSide.Incoming, connection);
        });
    }

    internal void Send(SimConnection connection, SimPe from, byte[] bytes)
    {
        bool toAcceptor = from == connection.Opener;
        SimPe to = toAcceptor ? connection.Acceptor : connection.Opener;
        long at = World.Now + Late(from.Index, to.Index);
        if (toAcceptor) at = connection.ToAcceptorAt = Math.Max(at, connection.ToAcceptorAt);
        else at = connection.ToOpenerAt = Math.Max(at, connection.ToOpenerAt);
        World.At(at, () =>
        {
            if (toAcceptor ? !connection.AcceptorGone : !connection.OpenerGone)
            {
                to.Received(from.Index, toAcceptor ? ConnectionSide.Incoming : ConnectionSide.Outgoing, connection, bytes);
            }
        });
    }

    /// <summary>One end closes; the other end sees it behind what was sent.</summary>
    internal void Leave(SimConnection connection, SimPe by)
    {
        bool opener = by == connection.Opener;
        if (opener) connection.OpenerGone = true;
        else connection.AcceptorGone = true;
        SimPe other = opener ? connection.Acceptor : connection.Opener;
        long at = Math.Max(World.Now + Delay(by.Index, other.Index), opener ? connection.ToAcceptorAt : connection.ToOpenerAt);
        Gone(connection, other, at - World.Now);
    }

    private void Gone(SimConnection connection, SimPe end, long after) => World.In(after, () =>
    {
        bool opener = end == connection.Opener;
        if (opener ? connection.OpenerGone : connection.AcceptorGone) return;
        if (opener) connection.OpenerGone = true;
        else connection.AcceptorGone = true;
        end.Disconnected((opener ? connection.Acceptor : connection.Opener).Index, opener ? ConnectionSide.Outgoing : ConnectionSide.Incoming, connection);
    });

    /// <summary>Delay of a TCP segment: a lost one comes when it is sent again.</summary>
    private long Late(int from, int to)
    {
        long delay = Delay(from, to);
        for (long wait = Retransmission; World.Chance(_lossPerMille) && wait < 2_000 * SimWorld.Ms; wait *= 2) delay += wait;
        return delay;
    }
}
