using System.Collections.Concurrent;
using SdnEdge.Core.Forwarding;
using SdnEdge.Linux;

namespace SdnEdge.Testing;

/// <summary>A frame and its offload metadata, by value.</summary>
public sealed record SentFrame(byte[] Bytes, VnetHeader Vnet);

/// <summary>A port in memory: a test puts frames in that the router receives and takes out what the router transmitted.</summary>
public sealed class ChannelPort : IFdPort
{
    private readonly ConcurrentQueue<SentFrame> _incoming = new();
    private readonly BlockingCollection<SentFrame> _outgoing = [];
    private readonly EventFd _signal = new();
    private volatile bool _gone;

    /// <summary>Makes a port.</summary>
    public ChannelPort(string name, bool segmentsForUs = true)
    {
        Name = name;
        SegmentsForUs = segmentsForUs;
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public bool SegmentsForUs { get; }

    /// <inheritdoc/>
    public int Fd => _signal.Fd;

    /// <summary>Set by a test to play a device that has gone.</summary>
    public bool IsGone
    {
        get => _gone;
        set => _gone = value;
    }

    /// <summary>How many frames <see cref="Transmit"/> takes in each call; the rest are refused.</summary>
    public int TransmitLimit { get; set; } = int.MaxValue;

    /// <inheritdoc/>
    public PortCounters Counters { get; } = new();

    /// <summary>Frames put in and not received yet.</summary>
    public int Waiting => _incoming.Count;

    /// <summary>Frames transmitted and not taken out yet.</summary>
    public int Sent => _outgoing.Count;

    /// <summary>Puts a frame in as if it had arrived.</summary>
    public void Put(ReadOnlySpan<byte> frame, VnetHeader vnet = default)
    {
        _incoming.Enqueue(new SentFrame(frame.ToArray(), vnet));
        _signal.Signal();
    }

    /// <summary>Makes the descriptor readable without a frame, as that of a removed device is.</summary>
    public void SignalOnly() => _signal.Signal();

    /// <summary>
    /// Takes out the next frame transmitted; null when none comes within <paramref name="timeout"/> (<see cref="Patience"/> when not
    /// given).
    /// </summary>
    public SentFrame? Take(TimeSpan? timeout = null) =>
        _outgoing.TryTake(out SentFrame? frame, timeout ?? Patience.Time) ? frame : null;

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
        int taken = Math.Min(packets.Length, TransmitLimit);
        foreach (Packet packet in packets[..taken]) _outgoing.Add(new SentFrame(packet.Span.ToArray(), packet.Vnet));
        return taken;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        IsGone = true;
        _signal.Dispose();
        _outgoing.Dispose();
    }
}
