using System.Collections.Concurrent;
using SdnEdge.Core.Forwarding;

namespace SdnEdge.Testing;

/// <summary>A frame as it went through a port, copied.</summary>
/// <param name="Bytes">The frame from its Ethernet destination.</param>
/// <param name="Vnet">Offload state it had.</param>
public sealed record TestFrame(byte[] Bytes, VnetHeader Vnet = default);

/// <summary>
/// A port in memory without a file descriptor (as ChannelPort has), for tests of the forwarder alone: a test puts frames in with
/// <see cref="Inject"/> and reads what was sent from <see cref="Sent"/>, in
/// order. Copies, so it allocates; any thread may use it.
/// </summary>
public sealed class MemoryPort(string name, bool segmentsForUs = true) : IPort
{
    private readonly ConcurrentQueue<TestFrame> _received = new();
    private readonly ConcurrentQueue<TestFrame> _sent = new();

    /// <inheritdoc/>
    public string Name => name;

    /// <inheritdoc/>
    public bool SegmentsForUs => segmentsForUs;

    /// <summary>How many frames the device takes from each call of Transmit; the rest of the call is refused.</summary>
    public int Accepts { get; set; } = int.MaxValue;

    /// <summary>Frames sent and not yet taken.</summary>
    public int SentCount => _sent.Count;

    /// <summary>Puts a frame on the wire towards the router.</summary>
    public void Inject(byte[] frame, VnetHeader vnet = default) => _received.Enqueue(new TestFrame(frame, vnet));

    /// <summary>The next frame that was sent; null when there is none.</summary>
    public TestFrame? TakeSent() => _sent.TryDequeue(out TestFrame? frame) ? frame : null;

    /// <summary>All frames sent since the last call, in order.</summary>
    public IReadOnlyList<TestFrame> Sent()
    {
        List<TestFrame> frames = [];
        while (_sent.TryDequeue(out TestFrame? frame)) frames.Add(frame);
        return frames;
    }

    /// <inheritdoc/>
    public int Receive(PacketBatch batch)
    {
        batch.Count = 0;
        while (batch.Count < PacketBatch.Capacity && _received.TryDequeue(out TestFrame? frame)) batch.TryAdd(frame.Bytes, frame.Vnet);
        return batch.Count;
    }

    /// <inheritdoc/>
    public int Transmit(ReadOnlySpan<Packet> packets)
    {
        int taken = Math.Min(packets.Length, Accepts);
        foreach (ref readonly Packet packet in packets[..taken]) _sent.Enqueue(new TestFrame(packet.Span.ToArray(), packet.Vnet));
        return taken;
    }
}
