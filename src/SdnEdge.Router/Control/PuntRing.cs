using System.Runtime.InteropServices;
using SdnEdge.Core.Forwarding;

namespace SdnEdge.Router.Control;

/// <summary>
/// Punted packets on their way from one worker to the control loop: a bounded ring, its memory allocated once. One worker
/// puts in, the loop takes out, neither waits for the other. A full ring refuses; the worker counts that.
/// <para>The second half of the ring takes only what the router must not miss (ARP, ND, neighbours needed, ICMP for itself),
/// so that a flood of packets that earn an ICMP error cannot keep ARP out.</para>
/// </summary>
public sealed unsafe class PuntRing : IPuntSink, IWorkSource, IDisposable
{
    /// <summary>Packets that fit.</summary>
    public const int Capacity = 512;

    /// <summary>Longest frame taken: a jumbo frame with outer headers.</summary>
    public const int MaxFrameBytes = 9728;

    private const int BatchARound = 128;

    private readonly byte* _frames = (byte*)NativeMemory.AlignedAlloc((nuint)Capacity * MaxFrameBytes, 4096);
    private readonly PuntInfo[] _infos = new PuntInfo[Capacity];
    private readonly int[] _lengths = new int[Capacity];
    private readonly Action _wake;
    private readonly PuntHandler _handle;
    private long _head;
    private long _tail;
    private bool _disposed;

    /// <summary>What the loop does with a packet. The frame is valid during the call only.</summary>
    public delegate void PuntHandler(in PuntInfo info, ReadOnlySpan<byte> frame, long now);

    /// <summary>Makes a ring.</summary>
    /// <param name="wake">Wakes the control loop; must not allocate nor wait.</param>
    /// <param name="handle">Called on the loop's thread for each packet, in order.</param>
    public PuntRing(Action wake, PuntHandler handle) => (_wake, _handle) = (wake, handle);

    /// <inheritdoc/>
    public bool HasWork => Volatile.Read(ref _tail) != Volatile.Read(ref _head);

    /// <inheritdoc/>
    public bool TryPunt(in PuntInfo info, ReadOnlySpan<byte> frame)
    {
        long tail = _tail;
        long used = tail - Volatile.Read(ref _head);
        if (used == Capacity || frame.Length > MaxFrameBytes) return false;
        if (used >= Capacity / 2 && !info.IsConsumed && info.Reason != PuntReason.NeighborNeeded) return false;
        int slot = (int)(tail % Capacity);
        _infos[slot] = info;
        _lengths[slot] = frame.Length;
        frame.CopyTo(new Span<byte>(_frames + ((nint)slot * MaxFrameBytes), MaxFrameBytes));
        Volatile.Write(ref _tail, tail + 1);
        _wake();
        return true;
    }

    /// <inheritdoc/>
    public void Drain(long now)
    {
        for (int i = 0; i < BatchARound && HasWork; i++)
        {
            int slot = (int)(_head % Capacity);
            try
            {
                _handle(_infos[slot], new ReadOnlySpan<byte>(_frames + ((nint)slot * MaxFrameBytes), _lengths[slot]), now);
            }
            finally
            {
                _infos[slot] = default;
                Volatile.Write(ref _head, _head + 1);
            }
        }
    }

    /// <summary>Gives the memory back. The worker must have ended.</summary>
    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        NativeMemory.AlignedFree(_frames);
    }
}
