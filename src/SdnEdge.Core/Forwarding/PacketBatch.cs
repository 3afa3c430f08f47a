using System.Runtime.InteropServices;

namespace SdnEdge.Core.Forwarding;

/// <summary>
/// One frame: a window into native memory with headroom before it. A value that points; it never owns. Valid until the
/// batch it came from is filled again.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct Packet
{
    /// <summary>First byte of the frame (the Ethernet destination).</summary>
    public byte* Data;

    /// <summary>Bytes of the frame.</summary>
    public int Length;

    /// <summary>Bytes before <see cref="Data"/> that may be overwritten (headers are prepended there).</summary>
    public int Headroom;

    /// <summary>Offload state of the frame.</summary>
    public VnetHeader Vnet;

    /// <summary>The frame as a span.</summary>
    public readonly Span<byte> Span => new(Data, Length);

    /// <summary>True when the frame stands for several segments.</summary>
    public readonly bool IsSuperpacket => Vnet.GsoType != VnetHeader.GsoNone;

    /// <summary>Moves the start of the frame by <paramref name="bytes"/> towards the front (negative: strips).</summary>
    public void Prepend(int bytes)
    {
        Data -= bytes;
        Length += bytes;
        Headroom -= bytes;
    }
}

/// <summary>
/// A vector of frames in one native arena, filled by <see cref="IPort.Receive"/> and consumed before it is filled again.
/// Not thread safe: one worker owns it.
/// </summary>
public sealed unsafe class PacketBatch : IDisposable
{
    /// <summary>Frames in a batch.</summary>
    public const int Capacity = 64;

    /// <summary>Room before each received frame: outer Ethernet + IPv6 + UDP + GRE with all options, and to spare.</summary>
    public const int HeadroomBytes = 128;

    /// <summary>Largest frame: a 64 KiB superpacket with its Ethernet and VLAN headers.</summary>
    public const int MaxFrameBytes = 65536 + 64;

    // Not a multiple of 4096, so that the first lines of the frames do not all fall into the same cache set.
    private const int Stride = HeadroomBytes + MaxFrameBytes + 64 + (5 * 64);

    private readonly byte* _arena;
    private readonly Packet* _packets;
    private bool _disposed;

    /// <summary>Allocates the arena (about 4.2 MiB of address space; only touched pages cost memory).</summary>
    public PacketBatch()
    {
        _arena = (byte*)NativeMemory.AlignedAlloc(Stride * (nuint)Capacity, 4096);
        _packets = (Packet*)NativeMemory.AllocZeroed((nuint)Capacity, (nuint)sizeof(Packet));
    }

    /// <summary>Number of frames in the batch.</summary>
    public int Count { get; set; }

    /// <summary>The frame at <paramref name="index"/>, 0 to Capacity-1.</summary>
    public ref Packet this[int index] => ref _packets[index];

    /// <summary>The frames that are in the batch.</summary>
    public Span<Packet> Packets => new(_packets, Count);

    /// <summary>The buffer of slot <paramref name="index"/> where a port places a frame, after the headroom.</summary>
    public byte* FrameBuffer(int index) => _arena + ((nint)index * Stride) + HeadroomBytes;

    /// <summary>Makes slot <paramref name="index"/> an ordinary frame of <paramref name="length"/> bytes at its buffer.</summary>
    public ref Packet Reset(int index, int length)
    {
        ref Packet packet = ref _packets[index];
        packet.Data = FrameBuffer(index);
        packet.Length = length;
        packet.Headroom = HeadroomBytes;
        packet.Vnet = default;
        return ref packet;
    }

    /// <summary>Copies a frame in as the next of the batch; false when the batch is full or the frame too long.</summary>
    public bool TryAdd(ReadOnlySpan<byte> frame, VnetHeader vnet = default)
    {
        if (Count == Capacity || frame.Length > MaxFrameBytes) return false;
        ref Packet packet = ref Reset(Count++, frame.Length);
        frame.CopyTo(packet.Span);
        packet.Vnet = vnet;
        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        NativeMemory.AlignedFree(_arena);
        NativeMemory.Free(_packets);
    }
}
