using System.Collections.Concurrent;
using SdnEdge.Core.Forwarding;
using SdnEdge.Linux;

namespace SdnEdge.Testing;

/// <summary>One end of a wire in memory: what one end transmits the other receives, in order, nothing lost.</summary>
public sealed class LinkedPort : IFdPort
{
    private readonly ConcurrentQueue<SentFrame> _incoming = new();
    private readonly EventFd _signal = new();
    private LinkedPort? _other;

    private LinkedPort(string name) => Name = name;

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public bool SegmentsForUs => true;

    /// <inheritdoc/>
    public int Fd => _signal.Fd;

    /// <inheritdoc/>
    public bool IsGone => false;

    /// <inheritdoc/>
    public PortCounters Counters { get; } = new();

    /// <summary>Told about each frame that crosses towards this end; for what a test wants to see or hold up.</summary>
    public Action<SentFrame>? Tap { get; set; }

    /// <summary>Makes both ends.</summary>
    public static (LinkedPort One, LinkedPort Other) Pair(string one, string other)
    {
        LinkedPort a = new(one), b = new(other);
        (a._other, b._other) = (b, a);
        return (a, b);
    }

    /// <summary>Sends a frame from this end.</summary>
    public void Send(ReadOnlySpan<byte> frame) => _other!.Deliver(new SentFrame(frame.ToArray(), default));

    /// <summary>Takes the next frame that arrived at this end; false when there is none.</summary>
    public bool TryTake(out SentFrame frame) => _incoming.TryDequeue(out frame!);

    /// <inheritdoc/>
    public int Receive(PacketBatch batch)
    {
        batch.Count = 0;
        _signal.Drain();
        while (batch.Count < PacketBatch.Capacity && _incoming.TryDequeue(out SentFrame? frame)) batch.TryAdd(frame.Bytes, frame.Vnet);
        if (!_incoming.IsEmpty) _signal.Signal();
        return batch.Count;
    }

    /// <inheritdoc/>
    public int Transmit(ReadOnlySpan<Packet> packets)
    {
        foreach (Packet packet in packets) _other!.Deliver(new SentFrame(packet.Span.ToArray(), packet.Vnet));
        return packets.Length;
    }

    /// <summary>True once the port has been closed.</summary>
    public bool IsDisposed { get; private set; }

    /// <inheritdoc/>
    public void Dispose()
    {
        // The other end may still transmit: the descriptor goes with the process of the test.
        IsDisposed = true;
    }

    private void Deliver(SentFrame frame)
    {
        Tap?.Invoke(frame);
        _incoming.Enqueue(frame);
        _signal.Signal();
    }
}
