using SdnEdge.Core.Forwarding;

namespace SdnEdge.Linux;

/// <summary>A port that a worker can wait for: readable when frames are there.</summary>
public interface IFdPort : IPort, IDisposable
{
    /// <summary>The descriptor to wait on, readable while frames are there.</summary>
    int Fd { get; }

    /// <summary>True once the device behind the port is gone for good; it will never give or take a frame again.</summary>
    bool IsGone { get; }

    /// <summary>What the port has counted.</summary>
    PortCounters Counters { get; }
}

/// <summary>
/// Counters of a port. The receive side is written by the one worker that receives, the transmit side by any; both may be
/// read at any time. Superpackets count as one packet.
/// </summary>
public sealed class PortCounters
{
    private long _rxPackets;
    private long _rxBytes;
    private long _rxErrors;
    private long _rxTruncated;
    private long _txPackets;
    private long _txBytes;
    private long _txErrors;
    private long _txBusy;

    /// <summary>Frames received.</summary>
    public long RxPackets => Volatile.Read(ref _rxPackets);

    /// <summary>Bytes received, with Ethernet headers.</summary>
    public long RxBytes => Volatile.Read(ref _rxBytes);

    /// <summary>Receive calls the kernel refused for another reason than that nothing is there.</summary>
    public long RxErrors => Volatile.Read(ref _rxErrors);

    /// <summary>Frames longer than a buffer, or shorter than their metadata; not delivered.</summary>
    public long RxTruncated => Volatile.Read(ref _rxTruncated);

    /// <summary>Frames the device took.</summary>
    public long TxPackets => Interlocked.Read(ref _txPackets);

    /// <summary>Bytes the device took, with Ethernet headers.</summary>
    public long TxBytes => Interlocked.Read(ref _txBytes);

    /// <summary>Frames the device refused, <see cref="TxBusy"/> aside.</summary>
    public long TxErrors => Interlocked.Read(ref _txErrors);

    /// <summary>Frames refused because a queue was full (EAGAIN, ENOBUFS).</summary>
    public long TxBusy => Interlocked.Read(ref _txBusy);

    internal void Received(int packets, long bytes)
    {
        Volatile.Write(ref _rxPackets, _rxPackets + packets);
        Volatile.Write(ref _rxBytes, _rxBytes + bytes);
    }

    internal void ReceiveFailed() => Volatile.Write(ref _rxErrors, _rxErrors + 1);

    internal void ReceiveTruncated() => Volatile.Write(ref _rxTruncated, _rxTruncated + 1);

    internal void Transmitted(int packets, long bytes)
    {
        Interlocked.Add(ref _txPackets, packets);
        Interlocked.Add(ref _txBytes, bytes);
    }

    internal void TransmitFailed(int packets) => Interlocked.Add(ref _txErrors, packets);

    internal void TransmitBusy(int packets) => Interlocked.Add(ref _txBusy, packets);
}
