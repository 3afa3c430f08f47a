using System.Runtime.InteropServices;

namespace SdnEdge.Core.Forwarding;

/// <summary>Frames on their way to one port, in order, not copied: sent by one call.</summary>
internal sealed unsafe class TxVector : IDisposable
{
    private readonly Packet* _packets = (Packet*)NativeMemory.AllocZeroed(PacketBatch.Capacity, (nuint)sizeof(Packet));

    /// <summary>The port; null while its index is free.</summary>
    public PortEntry? Port { get; set; }

    /// <summary>Frames in it.</summary>
    public int Count { get; private set; }

    /// <summary>True when it stands in the list of vectors to flush.</summary>
    public bool IsDirty { get; set; }

    public bool IsFull => Count == PacketBatch.Capacity;

    public ReadOnlySpan<Packet> Packets => new(_packets, Count);

    public void Add(in Packet packet) => _packets[Count++] = packet;

    public void Clear() => Count = 0;

    public void Dispose() => NativeMemory.Free(_packets);
}
