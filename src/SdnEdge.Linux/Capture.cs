using PacketDotNet;
using SdnEdge.Core.Forwarding;
using SharpPcap;
using SharpPcap.LibPcap;

namespace SdnEdge.Linux;

/// <summary>Where copies of a port's frames go. Called on worker threads, whole vectors at a time; it must not throw nor keep the
/// packets.</summary>
public interface ICaptureSink
{
    /// <summary>Takes copies of frames that <paramref name="port"/> received (or transmitted) now.</summary>
    void Capture(string port, bool transmitted, ReadOnlySpan<Core.Forwarding.Packet> packets);
}

/// <summary>
/// Writes frames to a pcap file, as tcpdump and Wireshark read it. Superpackets and partial checksums are written as they
/// pass. Stops, and counts, at a size limit. Any thread.
/// </summary>
public sealed class PcapFileSink : ICaptureSink, IDisposable
{
    private readonly CaptureFileWriterDevice _file;
    private readonly Lock _lock = new();
    private readonly long _maxBytes;
    private long _bytes;
    private long _skipped;
    private long _written;
    private bool _disposed;

    /// <summary>Creates (or replaces) the file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="maxBytes">Frame bytes after which nothing more is written.</param>
    /// <exception cref="IOException">The file cannot be written, or libpcap is not installed.</exception>
    public PcapFileSink(string path, long maxBytes = 1L << 30)
    {
        _maxBytes = maxBytes;
        try
        {
            _file = new CaptureFileWriterDevice(path, FileMode.Create);
            _file.Open(new DeviceConfiguration { LinkLayerType = LinkLayers.Ethernet });
        }
        catch (Exception e) when (e is PcapException or DllNotFoundException or ArgumentException or UnauthorizedAccessException)
        {
            throw new IOException($"cannot write a capture to {path}: {e.Message}", e);
        }
    }

    /// <summary>Frames written.</summary>
    public long Written => Interlocked.Read(ref _written);

    /// <summary>Frames left out because the size limit was reached or the disk refused.</summary>
    public long Skipped => Interlocked.Read(ref _skipped);

    /// <inheritdoc/>
    public void Capture(string port, bool transmitted, ReadOnlySpan<Core.Forwarding.Packet> packets)
    {
        long microseconds = (DateTime.UtcNow - DateTime.UnixEpoch).Ticks / 10;
        var time = new PosixTimeval((ulong)(microseconds / 1_000_000), (ulong)(microseconds % 1_000_000));
        lock (_lock)
        {
            foreach (ref readonly Core.Forwarding.Packet packet in packets)
            {
                if (_disposed || _bytes + packet.Length > _maxBytes)
                {
                    _skipped++;
                    continue;
                }

                try
                {
                    _file.Write(new RawCapture(LinkLayers.Ethernet, time, packet.Span.ToArray()));
                    _bytes += packet.Length;
                    _written++;
                }
                catch (PcapException)
                {
                    _skipped++;
                }
            }
        }
    }

    /// <summary>Completes the file.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            if (_disposed) return;
            _disposed = true;
            _file.Close();
            _file.Dispose();
        }
    }
}

/// <summary>
/// A port that shows what passes it to a sink, when there is one. Without one it costs a load a batch, so every port may be
/// wrapped and captured from at any time.
/// </summary>
public sealed class CapturePort : IFdPort
{
    private readonly IFdPort _port;
    private volatile ICaptureSink? _sink;

    /// <summary>Wraps <paramref name="port"/>, which it then owns.</summary>
    public CapturePort(IFdPort port) => _port = port;

    /// <summary>Who is shown the frames; null for nobody.</summary>
    public ICaptureSink? Sink
    {
        get => _sink;
        set => _sink = value;
    }

    /// <inheritdoc/>
    public string Name => _port.Name;

    /// <inheritdoc/>
    public bool SegmentsForUs => _port.SegmentsForUs;

    /// <inheritdoc/>
    public int Fd => _port.Fd;

    /// <inheritdoc/>
    public bool IsGone => _port.IsGone;

    /// <inheritdoc/>
    public PortCounters Counters => _port.Counters;

    /// <inheritdoc/>
    public int Receive(PacketBatch batch)
    {
        int count = _port.Receive(batch);
        if (count > 0) _sink?.Capture(Name, false, batch.Packets);
        return count;
    }

    /// <inheritdoc/>
    public int Transmit(ReadOnlySpan<Core.Forwarding.Packet> packets)
    {
        _sink?.Capture(Name, true, packets);
        return _port.Transmit(packets);
    }

    /// <inheritdoc/>
    public void Dispose() => _port.Dispose();
}
