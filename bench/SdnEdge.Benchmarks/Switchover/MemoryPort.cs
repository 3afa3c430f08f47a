using SdnEdge.Benchmarks.Netns;
using SdnEdge.Core.Forwarding;
using SdnEdge.Linux;

namespace SdnEdge.Benchmarks.Switchover;

/// <summary>A port that always has frames: a ring of prepared ones, again and again, as fast as they are taken.</summary>
internal sealed unsafe class GeneratorPort : IFdPort
{
    private readonly byte[] _frames;
    private readonly EventFd _always = new();
    private int _next;

    public GeneratorPort(byte[] frames)
    {
        _frames = frames;
        _always.Signal();
    }

    public string Name => "generator";

    public bool SegmentsForUs => false;

    public int Fd => _always.Fd;

    public bool IsGone => false;

    public PortCounters Counters { get; } = new();

    public int Receive(PacketBatch batch)
    {
        for (int i = 0; i < PacketBatch.Capacity; i++)
        {
            ref Packet packet = ref batch.Reset(i, RouteSet.FrameBytes);
            _frames.AsSpan(_next, RouteSet.FrameBytes).CopyTo(packet.Span);
            _next += RouteSet.FrameBytes;
            if (_next == _frames.Length) _next = 0;
        }

        return batch.Count = PacketBatch.Capacity;
    }

    public int Transmit(ReadOnlySpan<Packet> packets) => packets.Length;

    public void Dispose() => _always.Dispose();
}

/// <summary>A port that swallows frames, counts them and keeps the longest time between two vectors of them.</summary>
internal sealed class SinkPort(string name) : IPort
{
    private long _packets;
    private long _last;
    private long _longest;
    private int _reset;

    public string Name => name;

    public bool SegmentsForUs => true;

    public long Packets => Volatile.Read(ref _packets);

    /// <summary>Longest gap since <see cref="Reset"/>, nanoseconds.</summary>
    public long LongestGapNs => Volatile.Read(ref _longest);

    /// <summary>Forgets the longest gap, with the next vector.</summary>
    public void Reset() => Volatile.Write(ref _reset, 1);

    public int Receive(PacketBatch batch) => 0;

    // One worker transmits in this benchmark, so plain fields do.
    public int Transmit(ReadOnlySpan<Packet> packets)
    {
        long now = Monotonic.Now;
        if (_reset != 0)
        {
            _longest = 0;
            Volatile.Write(ref _reset, 0);
        }
        else if (now - _last > _longest)
        {
            Volatile.Write(ref _longest, now - _last);
        }

        _last = now;
        Volatile.Write(ref _packets, _packets + packets.Length);
        return packets.Length;
    }
}
