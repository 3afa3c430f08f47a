namespace SdnEdge.Lab.Probes;

/// <summary>One flow's way out: a UDP socket bound to its own source port and connected to the receiver.</summary>
public interface IProbeTransmitter : IDisposable
{
    /// <summary>
    /// Sends <paramref name="count"/> payloads that lie back to back in <paramref name="payloads"/>.
    /// Returns how many the kernel took; fewer than asked means that <see cref="LastError"/> says why.
    /// </summary>
    int Send(ReadOnlySpan<byte> payloads, int payloadSize, int count);

    /// <summary>errno of the last refused packet; 0 = none.</summary>
    int LastError { get; }
}

/// <summary>What came with a received payload.</summary>
/// <param name="Length">Bytes of payload.</param>
/// <param name="ArrivalNs">When the kernel took it in, CLOCK_MONOTONIC nanoseconds.</param>
public readonly record struct ReceivedPayload(int Length, long ArrivalNs);

/// <summary>The receiver's socket.</summary>
public interface IProbeListener : IDisposable
{
    /// <summary>
    /// Waits up to <paramref name="timeoutMilliseconds"/> and takes as many payloads as are there, one each
    /// <paramref name="slotSize"/> bytes of <paramref name="buffer"/>. Returns how many; 0 = none came.
    /// </summary>
    int Receive(Span<byte> buffer, int slotSize, Span<ReceivedPayload> received, int timeoutMilliseconds);

    /// <summary>Packets the kernel dropped because this socket's own buffer was full. Above 0 the run says nothing about the network.</summary>
    long ReadOwnDrops();
}
