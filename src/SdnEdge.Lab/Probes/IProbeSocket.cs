namespace SdnEdge.Lab.Probes;

/// <summary>One flow's way out: a UDP socket with its own source port.</summary>
public interface IProbeTransmitter : IDisposable
{
    /// <summary>
    /// Sends <paramref name="count"/> payloads that lie back to back in <paramref name="payloads"/>, up to the first one the
    /// kernel refuses. Returns how many it took; fewer than asked means that <see cref="LastError"/> says why.
    /// </summary>
    int Send(ReadOnlySpan<byte> payloads, int payloadSize, int count);

    /// <summary>errno of the last refused packet; 0 = none.</summary>
    int LastError { get; }
}

/// <summary>The receiver's sockets.</summary>
public interface IProbeListener : IDisposable
{
    /// <summary>
    /// Waits up to <paramref name="timeoutMilliseconds"/> and takes what is there. Returns how many payloads; 0 = none came.
    /// They are valid until the next call.
    /// </summary>
    int Receive(int timeoutMilliseconds);

    /// <summary>A payload of the last <see cref="Receive"/>.</summary>
    ReadOnlySpan<byte> Payload(int index);

    /// <summary>When the kernel took it in, CLOCK_MONOTONIC nanoseconds.</summary>
    long ArrivalNs(int index);

    /// <summary>
    /// Packets the kernel dropped because these sockets' own buffers were full. Above 0 the run says nothing about the network.
    /// </summary>
    long ReadOwnDrops();
}
