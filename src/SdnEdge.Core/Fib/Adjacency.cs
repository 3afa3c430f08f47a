using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Fib;

/// <summary>State of a neighbour, as RFC 4861 7.3.2 names them (ARP uses the same).</summary>
public enum NeighborState : byte
{
    /// <summary>No address known yet; packets wait.</summary>
    Incomplete,
    /// <summary>Confirmed not long ago.</summary>
    Reachable,
    /// <summary>Usable, but not confirmed for a while.</summary>
    Stale,
    /// <summary>Stale and in use; a probe follows if nobody confirms it.</summary>
    Delay,
    /// <summary>Being probed.</summary>
    Probe,
    /// <summary>Did not answer; packets to it are dropped.</summary>
    Failed,
    /// <summary>Set by configuration, never probed.</summary>
    Permanent,
}

/// <summary>
/// The Ethernet header that leads to a neighbour, built once. Immutable: published as one reference.
/// </summary>
public sealed class L2Rewrite
{
    /// <summary>Builds the header: destination, source, optional 802.1Q tag. The EtherType is written for each packet.</summary>
    public L2Rewrite(MacAddress destination, MacAddress source, int vlan)
    {
        Destination = destination;
        Span<byte> bytes = stackalloc byte[16];
        destination.Write(bytes);
        source.Write(bytes[6..]);
        First = System.Runtime.InteropServices.MemoryMarshal.Read<ulong>(bytes);
        Second = System.Runtime.InteropServices.MemoryMarshal.Read<uint>(bytes[8..]);
        Vlan = vlan;
        HeaderBytes = vlan == 0 ? 14 : 18;
    }

    /// <summary>MAC address of the neighbour.</summary>
    public MacAddress Destination { get; }

    /// <summary>First eight bytes of the header as they lie in memory.</summary>
    public readonly ulong First;

    /// <summary>The four bytes after them.</summary>
    public readonly uint Second;

    /// <summary>802.1Q VLAN identifier, 0 for none.</summary>
    public readonly int Vlan;

    /// <summary>14, or 18 with a VLAN tag.</summary>
    public readonly int HeaderBytes;
}

/// <summary>
/// A neighbour on a port: the next hop's address, its Ethernet header once known, and the packets that wait for it.
/// <para>Workers read <see cref="Rewrite"/> without waiting. While it is null they queue packets (bounded, in order).
/// <see cref="Resolve"/> does not let newer packets overtake those that wait: it publishes the header only when nothing
/// waits and no worker has some of them in its hands, else it leaves that to the worker that flushes
/// (<see cref="Forwarder.FlushNeighbor"/>).</para>
/// </summary>
public sealed class Adjacency
{
    /// <summary>Most packets that wait for one neighbour.</summary>
    public const int MaxWaitingPackets = 256;

    /// <summary>Most bytes that wait for one neighbour (at least one superpacket always fits).</summary>
    public const int MaxWaitingBytes = 256 << 10;

    /// <summary>Longest time a packet waits: three ARP or ND retransmissions of one second (RFC 4861 10).</summary>
    public const long MaxWaitNs = 3_000_000_000;

    private readonly Lock _lock = new();
    private PacketRing? _waiting;
    private L2Rewrite? _next;
    private volatile L2Rewrite? _rewrite;
    private volatile int _state;
    private long _lastAskedNs = long.MinValue;
    private bool _flushing;

    /// <summary>A neighbour whose MAC address is not known yet.</summary>
    public Adjacency(PortEntry port, IpAddress address) => (Port, Address) = (port, address);

    /// <summary>The port it is on.</summary>
    public PortEntry Port { get; }

    /// <summary>The next hop's IP address.</summary>
    public IpAddress Address { get; }

    /// <summary>The Ethernet header towards it; null while unknown, or while older packets are still to be flushed.</summary>
    public L2Rewrite? Rewrite => _rewrite;

    /// <summary>The MAC address learnt last; null while unknown.</summary>
    public MacAddress? Mac => (_rewrite ?? Volatile.Read(ref _next))?.Destination;

    /// <summary>State kept by whoever runs ARP and ND. The data plane reads only <see cref="NeighborState.Failed"/>.</summary>
    public NeighborState State
    {
        get => (NeighborState)_state;
        set => _state = (int)value;
    }

    /// <summary>Packets that wait now.</summary>
    public int WaitingPackets
    {
        get
        {
            lock (_lock) return _waiting?.Count ?? 0;
        }
    }

    /// <summary>
    /// The neighbour answered (or said a new address). True when packets wait: then a worker must call
    /// <see cref="Forwarder.FlushNeighbor"/>, which sends them before anything newer.
    /// </summary>
    public bool Resolve(MacAddress mac, NeighborState state = NeighborState.Reachable)
    {
        lock (_lock)
        {
            State = state;
            if (_rewrite is { } known)
            {
                if (known.Destination != mac) _rewrite = Port.RewriteTo(mac);
                return false;
            }

            L2Rewrite rewrite = Port.RewriteTo(mac);
            if (_flushing || _waiting is { Count: > 0 })
            {
                // What a flushing worker has taken is not sent yet; it publishes what is known by then.
                Volatile.Write(ref _next, rewrite);
                return _waiting is { Count: > 0 };
            }

            _rewrite = rewrite;
            return false;
        }
    }

    /// <summary>
    /// The neighbour did not answer: it has no address any more. True when packets wait: then a worker must call
    /// <see cref="Forwarder.FlushNeighbor"/>, which drops them.
    /// </summary>
    public bool Fail(NeighborState state = NeighborState.Failed)
    {
        lock (_lock)
        {
            State = state;
            _rewrite = null;
            _lastAskedNs = long.MinValue;
            Volatile.Write(ref _next, null);
            return _waiting is { Count: > 0 };
        }
    }

    internal enum WaitResult
    {
        /// <summary>Queued.</summary>
        Queued,
        /// <summary>Queued as the first.</summary>
        First,
        /// <summary>No room.</summary>
        Full,
        /// <summary>Resolved in between: send it.</summary>
        Resolved,
    }

    // Slow path of a packet (layer 3, no Ethernet header) to a neighbour that had no header when the caller looked.
    internal WaitResult Wait(in Packet packet, long now, out L2Rewrite? rewrite)
    {
        lock (_lock)
        {
            rewrite = _rewrite;
            if (rewrite is not null) return WaitResult.Resolved;
            _waiting ??= new PacketRing(256 << 10, MaxWaitingBytes, MaxWaitingPackets);
            bool first = _waiting.Count == 0;
            return !_waiting.TryPush(packet, now) ? WaitResult.Full : first ? WaitResult.First : WaitResult.Queued;
        }
    }

    // True when the control loop should be asked to resolve it: the first time, and then at most every interval.
    internal bool ShouldAsk(long now, long intervalNs)
    {
        lock (_lock)
        {
            if (_next is not null || _rewrite is not null
                || (_lastAskedNs != long.MinValue && now - _lastAskedNs < intervalNs)) return false;
            _lastAskedNs = now;
            return true;
        }
    }

    internal void ForgetAsking()
    {
        lock (_lock) _lastAskedNs = long.MinValue;
    }

    // One worker flushes at a time, or two could send each other's packets in the wrong order.
    internal bool TryBeginFlush()
    {
        lock (_lock)
        {
            if (_flushing || _next is null) return false;
            _flushing = true;
            return true;
        }
    }

    // Takes up to destination's room of what waits. When nothing waits any more the known header is published, inside the
    // lock, so that no packet can slip in between; the caller must have sent all it took before. Returns 0 at the end.
    internal int TakeWaiting(PacketBatch destination, out L2Rewrite? rewrite)
    {
        lock (_lock)
        {
            rewrite = _next;
            int taken = 0;
            while (rewrite is not null && _waiting is { Count: > 0 } && _waiting.TryPop(destination)) taken++;
            if (taken > 0) return taken;
            _flushing = false;
            if (rewrite is not null)
            {
                _rewrite = rewrite;
                Volatile.Write(ref _next, null);
            }

            if (_waiting is { Count: 0 }) ReleaseMemory();
            return 0;
        }
    }

    // When Poll should look at it again: at once when it is resolved and packets wait, else when the oldest has waited enough.
    internal long NextDeadline
    {
        get
        {
            lock (_lock)
            {
                return _waiting is not { Count: > 0 } ? long.MaxValue : _next is not null && !_flushing ? 0 : _waiting.OldestNs + MaxWaitNs;
            }
        }
    }

    // Drops what waits longer than allowed, or everything once the neighbour has failed. Returns how many; left = how many stay.
    internal int Expire(long now, out int left, out long nextDeadline)
    {
        lock (_lock)
        {
            int dropped = 0;
            bool failed = State == NeighborState.Failed && _next is null;
            while (_waiting is { Count: > 0 } && (failed || now - _waiting.OldestNs >= MaxWaitNs))
            {
                _waiting.Drop();
                dropped++;
            }

            left = _waiting?.Count ?? 0;
            nextDeadline = left == 0 ? long.MaxValue : _waiting!.OldestNs + MaxWaitNs;
            if (left == 0 && dropped > 0 && !_flushing) ReleaseMemory();
            return dropped;
        }
    }

    private void ReleaseMemory()
    {
        _waiting?.Dispose();
        _waiting = null;
    }
}
