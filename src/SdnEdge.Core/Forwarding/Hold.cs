using SdnEdge.Core.Api;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>Where a hold is in its life.</summary>
public enum HoldState
{
    /// <summary>Keeps what comes.</summary>
    Armed,
    /// <summary>Sends what it has, oldest first; what comes now queues behind that.</summary>
    Draining,
    /// <summary>Empty; what still comes by an old decision is forwarded at once.</summary>
    Released,
}

/// <summary>Which way held packets leave.</summary>
public enum DrainPath
{
    /// <summary>To the leaf's attached hop: the server is here now.</summary>
    Attached,
    /// <summary>To the leaf's native hop: the move was given up.</summary>
    Native,
    /// <summary>Back through the tunnel by which they came: it was a false alarm.</summary>
    Back,
}

/// <summary>A packet in a hold, as the drainer sees it before it takes it.</summary>
/// <param name="Number">Its number in the hold, from 0.</param>
/// <param name="Destination">Its destination address.</param>
internal readonly record struct HeldPacket(long Number, IpAddress Destination);

/// <summary>
/// The bounded buffer at the egress PE that keeps packets, in order, while the virtual server is between two sites.
/// <list type="number">
/// <item>Armed: workers put packets in (<see cref="Enqueue"/>), as layer 3 packets with their offload state. Caps on bytes,
/// packets and time; what does not fit is dropped by policy and counted.</item>
/// <item>Draining: one worker takes them out, paced, and sends them; what comes meanwhile queues behind.</item>
/// <item>When the last one has been sent, the state becomes Released inside the lock, and the redirect group's decision
/// advances to "deliver" by one store. A worker that still holds the old decision is told to deliver by itself.</item>
/// </list>
/// Guarantees: a packet that went in earlier leaves earlier, and before any packet that is delivered directly; each packet
/// that went in is released, dropped by policy, expired, or still there, and counted as exactly one of these. The lock is
/// held for one copy at most. No clock, no allocation per packet on the managed heap.
/// </summary>
public sealed class Hold : IDisposable
{
    private const int ChunkBytes = 1 << 20;
    private const long NsPerSecond = 1_000_000_000;

    // Where no pace is configured: packets leave so many times as fast as they came, but not slower than the least pace. Who took them
    // before the hold then takes them now, and what comes meanwhile does not wait for long.
    private const double PaceOfArrivals = 5;
    private const double LeastPace = 1000;
    private const long LeastArrivalNs = 10_000_000;

    private readonly Lock _lock = new();
    private readonly PacketRing _ring;
    private readonly HoldOptions _options;
    private readonly long _maxNs;

    // Packets per second while it drains: configured, or found when it begins.
    private double _pace;
    private volatile HoldState _state;
    private DrainPath _path;
    private RedirectGroup? _group;
    private GroupDecision? _from, _to;
    private long _heldTotal, _released, _droppedNewest, _droppedOldest, _expired, _peakBytes, _peakPackets, _firstNs;
    private long _arrivalsSinceTake, _lastTakeNs, _blockedUntilNs;
    private double _credit;
    private bool _disposed;

    /// <summary>Makes an armed, empty hold.</summary>
    /// <param name="name">Name, usually the migration's id.</param>
    /// <param name="vrf">VRF in which held packets are looked up again when they leave.</param>
    /// <param name="options">Caps, policy and pace.</param>
    /// <param name="drainWorker">The worker that drains it (0 to workers-1).</param>
    public Hold(string name, Vrf vrf, HoldOptions options, int drainWorker = 0)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MaxBytes, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MaxPackets, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MaxMilliseconds, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(options.ReleasePacketsPerSecond ?? 0, nameof(options.ReleasePacketsPerSecond));
        (Name, Vrf, _options, DrainWorker) = (name, vrf, options, drainWorker);
        _maxNs = options.MaxMilliseconds * 1_000_000L;
        _ring = new PacketRing(ChunkBytes, options.MaxBytes, options.MaxPackets);
    }

    /// <summary>Name of the hold.</summary>
    public string Name { get; }

    /// <summary>VRF of the held packets.</summary>
    public Vrf Vrf { get; }

    /// <summary>The worker whose <see cref="Forwarder.Poll"/> drains it.</summary>
    public int DrainWorker { get; }

    /// <summary>State now.</summary>
    public HoldState State => _state;

    /// <summary>Which way packets leave once it is draining or released.</summary>
    public DrainPath Path => _path;

    /// <summary>The decision by which packets leave on <see cref="DrainPath.Back"/>; null before <see cref="BeginReturn"/>.</summary>
    public ForwardingDecision? WayBack { get; private set; }

    /// <summary>Counters, all taken at one moment.</summary>
    public HoldInfo Info
    {
        get
        {
            lock (_lock)
            {
                return new HoldInfo(WordOf(_state), _heldTotal, _ring.Count, _ring.Bytes, _peakBytes, _peakPackets,
                    _released, _droppedNewest, _droppedOldest, _expired) { FirstAtNs = _heldTotal == 0 ? null : _firstNs };
            }
        }
    }

    /// <summary>When the oldest packet in it came; null when it is empty.</summary>
    public long? OldestNs
    {
        get
        {
            lock (_lock) return _ring.Count == 0 ? null : _ring.OldestNs;
        }
    }

    /// <summary>What became of a packet offered to the hold.</summary>
    public enum Result
    {
        /// <summary>It is kept.</summary>
        Held,
        /// <summary>It was dropped (drop-newest, or larger than the hold).</summary>
        Overflow,
        /// <summary>The hold is released: the caller forwards the packet itself, by <see cref="Path"/>.</summary>
        Deliver,
    }

    /// <summary>
    /// Offers a packet (Data at its IP header). <paramref name="evicted"/> and <paramref name="expired"/> say how many older
    /// packets went away for it, so that the caller can count them as drops.
    /// </summary>
    public Result Enqueue(in Packet packet, long now, out int evicted, out int expired)
    {
        evicted = 0;
        lock (_lock)
        {
            expired = 0;
            if (_state == HoldState.Released) return Result.Deliver;
            if (_disposed || packet.Length > _options.MaxBytes)
            {
                _droppedNewest++;
                return Result.Overflow;
            }

            if (!_ring.HasRoomFor(packet.Length))
            {
                expired = ExpireOld(now);
                if (_options.Overflow == HoldOverflowPolicy.DropOldest)
                {
                    while (!_ring.HasRoomFor(packet.Length))
                    {
                        _ring.Drop();
                        _droppedOldest++;
                        evicted++;
                    }
                }
            }

            if (!_ring.TryPush(packet, now))
            {
                _droppedNewest++;
                return Result.Overflow;
            }

            if (_heldTotal++ == 0) _firstNs = now;
            _arrivalsSinceTake++;
            if (_ring.Bytes > _peakBytes) _peakBytes = _ring.Bytes;
            if (_ring.Count > _peakPackets) _peakPackets = _ring.Count;
            return Result.Held;
        }
    }

    /// <summary>Starts to drain. Repeating it changes nothing but the path.</summary>
    public void BeginRelease(DrainPath path)
    {
        lock (_lock)
        {
            _path = path;
            if (_state == HoldState.Released) _group?.Advance(_from!, _to!);
            if (_state != HoldState.Armed) return;
            _state = HoldState.Draining;
            _arrivalsSinceTake = 0;
        }
    }

    /// <summary>Starts to drain by a decision of its own: back through a tunnel. Once it drains that stays so.</summary>
    public void BeginReturn(ForwardingDecision back)
    {
        lock (_lock)
        {
            if (_state != HoldState.Armed) return;
            WayBack = back;
            BeginRelease(DrainPath.Back);
        }
    }

    /// <summary>Drops what is older than the time cap. Returns how many packets.</summary>
    public int Expire(long now)
    {
        lock (_lock) return ExpireOld(now);
    }

    /// <summary>Gives the native memory back; what is still held is lost, uncounted. No worker may still have a decision that names
    /// it.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            if (_disposed) return;
            _disposed = true;
            _ring.Dispose();
        }
    }

    // The group's decision that is in force while draining, and its successor.
    internal void WhenDrained(RedirectGroup group, GroupDecision from, GroupDecision to)
    {
        lock (_lock) (_group, _from, _to) = (group, from, to);
    }

    // How many packets the pace allows now: its rate plus whatever arrived since the last time, so that the hold empties at that rate
    // whatever the load.
    internal int Budget(long now)
    {
        lock (_lock)
        {
            if (_state != HoldState.Draining) return 0;
            if (_options.ReleasePacketsPerSecond == 0) return int.MaxValue;
            if (_lastTakeNs != 0)
            {
                double earned = (now - _lastTakeNs) * _pace / NsPerSecond;
                // At most 10 ms worth at once: a late worker must not flood the server's queue.
                _credit = Math.Min(_credit + Math.Max(0, earned), Math.Max(64, _pace / 100));
            }
            else
            {
                _pace = _options.ReleasePacketsPerSecond ?? Math.Max(LeastPace,
                    PaceOfArrivals * _heldTotal * NsPerSecond / Math.Max(LeastArrivalNs, now - _firstNs));
                _credit = 32;
            }

            _lastTakeNs = now;
            _credit += _arrivalsSinceTake;
            _arrivalsSinceTake = 0;
            return (int)_credit;
        }
    }

    // The oldest packet; false when there is none.
    internal bool TryPeek(out HeldPacket oldest)
    {
        lock (_lock) return Look(out oldest);
    }

    // Takes the packet that was looked at, and looks at the one behind it, in one step: another worker may have dropped the oldest
    // in between (overflow, expiry), and a packet must not leave by the way of another. False: it is gone; next is the oldest now.
    internal bool TryTake(in HeldPacket looked, PacketBatch into, out HeldPacket? next)
    {
        lock (_lock)
        {
            bool taken = _state == HoldState.Draining && _ring.Left == looked.Number && _ring.TryPop(into);
            if (taken)
            {
                _released++;
                _credit -= 1;
                _blockedUntilNs = 0;
            }

            next = Look(out HeldPacket oldest) ? oldest : null;
            return taken;
        }
    }

    // The drainer cannot send the oldest packet yet (its next hop is not resolved).
    internal void Block(long untilNs)
    {
        lock (_lock) _blockedUntilNs = untilNs;
    }

    // The drainer has transmitted all it took. If nothing came meanwhile the hold is done, and the group goes on to deliver:
    // inside the lock, so that whoever comes later finds Released.
    internal bool TryFinish()
    {
        lock (_lock)
        {
            if (_state != HoldState.Draining || _ring.Count > 0) return false;
            _state = HoldState.Released;
            _group?.Advance(_from!, _to!);
            return true;
        }
    }

    internal long NextDeadline
    {
        get
        {
            lock (_lock)
            {
                switch (_state)
                {
                    case HoldState.Armed:
                        return _ring.Count == 0 ? long.MaxValue : _ring.OldestNs + _maxNs;
                    case HoldState.Draining:
                        if (_blockedUntilNs != 0) return _blockedUntilNs;
                        if (_options.ReleasePacketsPerSecond == 0 || _credit >= 1 || _ring.Count == 0 || _lastTakeNs == 0) return 0;
                        return _lastTakeNs + (long)(Math.Min(_ring.Count, 32) * NsPerSecond / _pace);
                    default:
                        return long.MaxValue;
                }
            }
        }
    }

    // The API's words.
    private static string WordOf(HoldState state) => state switch
    {
        HoldState.Armed => "armed",
        HoldState.Draining => "releasing",
        _ => "released",
    };

    private bool Look(out HeldPacket oldest)
    {
        oldest = default;
        if (_state != HoldState.Draining || _ring.Count == 0) return false;
        ReadOnlySpan<byte> ip = _ring.Oldest;
        oldest = new HeldPacket(_ring.Left, ip[0] >> 4 == 4 ? IpAddress.Read(IpFamily.V4, ip[16..20])
            : IpAddress.Read(IpFamily.V6, ip[24..40]));
        return true;
    }

    private int ExpireOld(long now)
    {
        int count = 0;
        while (_ring.Count > 0 && now - _ring.OldestNs >= _maxNs)
        {
            _ring.Drop();
            count++;
        }

        _expired += count;
        return count;
    }
}
