using System.Buffers.Binary;
using SdnEdge.Core.Forwarding;
using SdnEdge.Testing;

namespace SdnEdge.Router.Tests.Worker;

/// <summary>Keeps what a worker hands over.</summary>
internal sealed class RecordingProcessor : IBatchProcessor
{
    private readonly Lock _lock = new();
    private readonly List<(int Port, int Number)> _seen = [];
    private long _deadline = long.MaxValue;
    private int _frames;
    private int _polls;
    private int _calls;

    /// <summary>Puts each frame of this port back in, so that it always has more.</summary>
    public (int Id, ChannelPort Port)? KeepBusy { get; set; }

    /// <summary>The call of <see cref="Process"/>, from 0, that throws.</summary>
    public int FaultAt { get; init; } = -1;

    public int Frames => Volatile.Read(ref _frames);

    public int Polls => Volatile.Read(ref _polls);

    public long PolledAt { get; private set; }

    public long NextDeadline
    {
        get => Volatile.Read(ref _deadline);
        set => Volatile.Write(ref _deadline, value);
    }

    public int[] Numbers(int port)
    {
        lock (_lock) return [.. _seen.Where(s => s.Port == port).Select(s => s.Number)];
    }

    public void Process(PacketBatch batch, int port, long now)
    {
        if (_calls++ == FaultAt) throw new InvalidOperationException("as the test wants");
        foreach (Packet packet in batch.Packets)
        {
            if (KeepBusy is { } busy && busy.Id == port) busy.Port.Put(packet.Span);
            else lock (_lock) _seen.Add((port, BinaryPrimitives.ReadInt32BigEndian(packet.Span)));
        }

        Volatile.Write(ref _frames, _frames + batch.Count);
    }

    public void Poll(long now)
    {
        PolledAt = now;
        NextDeadline = long.MaxValue;
        Volatile.Write(ref _polls, _polls + 1);
    }
}
