using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>
/// The way of a packet through the router, for one worker.
/// <list type="number">
/// <item>Ingress (Forwarder.Ingress.cs): Ethernet, ARP to the control loop, IPv4 and IPv6 validated (RFC 1812 5.2.2, RFC 8200),
/// offload metadata checked against the frame, martians dropped.</item>
/// <item>Route (Forwarder.Route.cs): longest prefix match, then the redirect group's decision or the leaf's own hop.</item>
/// <item>Local (Forwarder.Local.cs): what is for the router: control loop, host port, or decapsulation.</item>
/// <item>Tunnel (Forwarder.Tunnel.cs): GRE in and out, DSCP, ECN, TTL, MTU; then round again.</item>
/// <item>Oversize (Forwarder.Oversize.cs): fragments, segments, too big.</item>
/// <item>Egress (Forwarder.Egress.cs): TTL, neighbour, Ethernet header, one vector for each port.</item>
/// <item>Hold and neighbour queues (Forwarder.Waiting.cs): in order, drained by <see cref="Poll"/>.</item>
/// </list>
/// Guarantees: no exception, whatever the bytes; no allocation on the managed heap per packet; every packet ends as exactly
/// one of transmitted, dropped with a reason, punted, held or waiting (<see cref="DataPlane.Ledger"/>); frames of one worker
/// to one port leave in the order in which their packets came in.
/// Not thread safe: one worker owns it. Any number of forwarders share a <see cref="DataPlane"/>.
/// </summary>
public sealed unsafe partial class Forwarder : IBatchProcessor, IDisposable
{
    private readonly int _worker;
    private readonly DataPlane _plane;
    private readonly IPuntSink _punt;
    private readonly long* _drops;
    private readonly long* _flow;

    // Frames of our own making. One arena for each stage, because a stage may feed the next: what the control loop or a queue
    // gave; segments of a superpacket; fragments.
    private readonly PacketBatch _source = new(), _segments = new(), _fragments = new();

    private PortEntry?[] _ports = [];
    private TxVector[] _tx = [];
    private int[] _dirty = [];
    private int _dirtyCount;
    private TunnelTable _tunnels;
    private long _now;
    private bool _disposed;

    /// <summary>Makes the forwarder of a worker.</summary>
    /// <param name="worker">0 to workers-1 of the data plane; each number once.</param>
    /// <param name="plane">The shared tables.</param>
    /// <param name="punt">The way to the control loop.</param>
    public Forwarder(int worker, DataPlane plane, IPuntSink punt)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)worker, (uint)plane.Workers, nameof(worker));
        (_worker, _plane, _punt) = (worker, plane, punt);
        _drops = plane.DropCounters.Row(worker);
        _flow = plane.Flow.Row(worker);
        _tunnels = plane.TunnelTable;
    }

    /// <summary>
    /// Forwards the frames of a batch that came in on a port, in order, and empties the batch. When it returns all that is to
    /// be sent now has been handed to the ports.
    /// </summary>
    public void Process(PacketBatch batch, int port, long now)
    {
        Begin(now);
        Span<Packet> packets = batch.Packets;
        _flow[(int)FlowField.Received] += packets.Length;
        if ((uint)port >= (uint)_ports.Length || _ports[port] is not { } entry)
        {
            _drops[(int)DropReason.PortDown] += packets.Length;
        }
        else
        {
            Prefetch(packets, entry);
            long bytes = 0;
            foreach (ref Packet packet in packets)
            {
                bytes += packet.Length;
                FromWire(ref packet, entry);
            }

            entry.Counters.Add(_worker, PortEntry.RxPacketsField, packets.Length);
            entry.Counters.Add(_worker, PortEntry.RxBytesField, bytes);
        }

        FlushTx();
        batch.Count = 0;
    }

    /// <summary>Sends a frame made by the control loop as it is.</summary>
    public void Transmit(int port, ReadOnlySpan<byte> frame, VnetHeader vnet = default)
    {
        Begin(0);
        _flow[(int)FlowField.Originated]++;
        PacketContext c = new() { Quiet = true };
        if ((uint)port >= (uint)_ports.Length || _ports[port] is not { } entry) Drop(ref c, DropReason.PortDown);
        else if (!_source.TryAdd(frame, vnet)) Drop(ref c, DropReason.TooBig);
        else Enqueue(ref c, ref _source[0], entry);
        FlushTx();
    }

    /// <summary>Routes an IP packet made by the control loop: no TTL decrement, no error to its sender.</summary>
    /// <param name="vrf">Index of the VRF.</param>
    /// <param name="ipPacket">The packet, from its IP header, checksums complete.</param>
    /// <param name="now">Nanoseconds.</param>
    public void Originate(int vrf, ReadOnlySpan<byte> ipPacket, long now)
    {
        Begin(now);
        _flow[(int)FlowField.Originated]++;
        PacketContext c = new() { Own = true, Quiet = true };
        if ((uint)vrf >= (uint)_plane.Vrfs.Count || _plane.Vrfs[vrf] is not { } table) Drop(ref c, DropReason.NoRoute);
        else if (!_source.TryAdd(ipPacket)) Drop(ref c, DropReason.TooBig);
        else
        {
            c.Vrf = table;
            Input(ref _source[0], ref c);
        }

        FlushTx();
    }

    /// <summary>Sends an IP packet made by the control loop through a tunnel, also when the tunnel is down: probes.</summary>
    public void SendThroughTunnel(Tunnel tunnel, ReadOnlySpan<byte> ipPacket, long now)
    {
        Begin(now);
        _flow[(int)FlowField.Originated]++;
        PacketContext c = new() { Own = true, Quiet = true, Probe = true, Vrf = tunnel.Vrf };
        if (!_source.TryAdd(ipPacket)) Drop(ref c, DropReason.TooBig);
        else if (ipPacket.Length < At.V4Header || (ipPacket[0] >> 4 == 6 && ipPacket.Length < At.V6Header)) Drop(ref c,
            DropReason.IpTruncated);
        else
        {
            c.IsV6 = ipPacket[0] >> 4 == 6;
            Encapsulate(ref _source[0], ref c, tunnel);
        }

        FlushTx();
    }

    /// <summary>Sends an IP packet of the router's own to a next hop, whatever the FIB says of its destination: flush markers, down the old
    /// path.</summary>
    public void SendVia(Adjacency adjacency, ReadOnlySpan<byte> ipPacket, long now)
    {
        Begin(now);
        _flow[(int)FlowField.Originated]++;
        PacketContext c = new() { Own = true, Quiet = true };
        if (!_source.TryAdd(ipPacket)) Drop(ref c, DropReason.TooBig);
        else
        {
            c.IsV6 = ipPacket[0] >> 4 == 6;
            ToNeighbor(ref _source[0], ref c, adjacency);
        }

        FlushTx();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        _source.Dispose();
        _segments.Dispose();
        _fragments.Dispose();
        foreach (TxVector vector in _tx) vector.Dispose();
    }

    // What travels with a packet from stage to stage.
    private struct PacketContext
    {
        public PortEntry? In;     // ingress port; null when the control loop or a queue gave it
        public Vrf Vrf;           // VRF of the current IP header
        public Tunnel? From;      // the tunnel it came out of last
        public Tunnel? Redirect;  // the redirect tunnel it came out of
        public int Stripped;      // bytes taken off before the current IP header
        public int Depth;         // GRE headers taken off or put on
        public int L4;            // offset of the transport header once known
        public byte Protocol;     // and its protocol
        public bool IsV6;
        public bool Fragment;     // it is a fragment
        public bool Own;          // the router's own: no TTL decrement
        public bool Quiet;        // nobody to tell about errors
        public bool Probe;        // may enter a tunnel that is down
        public bool LinkBroadcast; // came by link-layer multicast or broadcast
        public bool LocalOnly;    // link-local source: must not be forwarded
    }

    // Takes the shared tables as they are for this batch.
    private void Begin(long now)
    {
        if (now != 0) _now = now;
        _source.Count = _segments.Count = _fragments.Count = 0;
        _tunnels = _plane.TunnelTable;
        _underlayOf = null;
        PortEntry?[] ports = _plane.PortArray;
        if (!ReferenceEquals(ports, _ports)) TakePorts(ports);
    }

    private void TakePorts(PortEntry?[] ports)
    {
        int known = _tx.Length;
        if (ports.Length > known)
        {
            Array.Resize(ref _tx, ports.Length);
            Array.Resize(ref _dirty, ports.Length);
            for (int i = known; i < ports.Length; i++) _tx[i] = new TxVector();
        }

        for (int i = 0; i < _tx.Length; i++) _tx[i].Port = i < ports.Length ? ports[i] : null;
        _ports = ports;
    }

    private void Drop(ref PacketContext c, DropReason reason)
    {
        _drops[(int)reason]++;
        c.In?.Counters.Add(_worker, PortEntry.DropsField);
    }

    // Hands the packet itself to the control loop.
    private void PuntConsumed(ref Packet p, ref PacketContext c, PuntReason reason)
    {
        if (p.IsSuperpacket || !Segmenter.CompleteChecksum(ref p))
        {
            Drop(ref c, DropReason.OffloadInvalid);
            return;
        }

        PuntInfo info = new()
        {
            Reason = reason, Port = c.In?.Index ?? -1, Vrf = c.Vrf?.Index ?? 0, L3Offset = c.Stripped, Tunnel = c.From, AtNs = _now,
        };
        if (_punt.TryPunt(info, new ReadOnlySpan<byte>(p.Data - c.Stripped, p.Length + c.Stripped))) _flow[(int)FlowField.Punted]++;
        else Drop(ref c, DropReason.PuntQueueFull);
    }

    // Drops the packet and shows the control loop what an ICMP error would quote (at most 1280 bytes of it, RFC 4443 2.4).
    private void DropAndTell(ref Packet p, ref PacketContext c, DropReason reason, PuntReason punt, int mtu = 0)
    {
        Drop(ref c, reason);
        if (!c.Quiet) Tell(ref p, ref c, punt, mtu);
    }

    private void Tell(ref Packet p, ref PacketContext c, PuntReason punt, int mtu = 0)
    {
        PuntInfo info = new()
        {
            Reason = punt, Port = c.In?.Index ?? -1, Vrf = c.Vrf.Index, L3Offset = c.Stripped, Mtu = mtu, Tunnel = c.From, AtNs = _now,
        };
        bool taken = _punt.TryPunt(info, new ReadOnlySpan<byte>(p.Data - c.Stripped, c.Stripped + Math.Min(p.Length, 1280)));
        _flow[(int)(taken ? FlowField.Notices : FlowField.NoticesLost)]++;
    }

    private bool AskFor(Adjacency adjacency, ReadOnlySpan<byte> frame, int vrf)
    {
        PuntInfo info = new() { Reason = PuntReason.NeighborNeeded, Port = adjacency.Port.Index, Vrf = vrf, Adjacency = adjacency, AtNs =
            _now };
        bool taken = _punt.TryPunt(info, frame);
        _flow[(int)(taken ? FlowField.Notices : FlowField.NoticesLost)]++;
        return taken;
    }
}
