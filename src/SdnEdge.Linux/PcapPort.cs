using PacketDotNet;
using SdnEdge.Core.Forwarding;
using SharpPcap;
using SharpPcap.LibPcap;

namespace SdnEdge.Linux;

/// <summary>
/// A capture file as a port: its frames are received, as fast as they are taken, and what is transmitted goes to another
/// file. For replay and tests. Frames that the capture cut, or that are longer than a buffer, are counted and left out.
/// </summary>
public sealed class PcapPort : IFdPort
{
    private readonly CaptureFileReaderDevice? _reader;
    private readonly PcapFileSink? _writer;
    private readonly EventFd _more = new();
    private bool _ended;
    private bool _disposed;

    private PcapPort(string name, CaptureFileReaderDevice? reader, PcapFileSink? writer)
    {
        Name = name;
        _reader = reader;
        _writer = writer;
        if (reader is not null) _more.Signal();
        else _ended = true;
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <summary>False: a file should show what a wire would.</summary>
    public bool SegmentsForUs => false;

    /// <summary>Readable until the file's end.</summary>
    public int Fd => _more.Fd;

    /// <inheritdoc/>
    public bool IsGone => _disposed;

    /// <summary>True when the file has been read to its end (or to where it is broken).</summary>
    public bool IsAtEnd => Volatile.Read(ref _ended);

    /// <summary>What is wrong with the file replayed, when it broke off; else null.</summary>
    public string? Problem { get; private set; }

    /// <inheritdoc/>
    public PortCounters Counters { get; } = new();

    /// <summary>Opens the files.</summary>
    /// <param name="name">The port's name.</param>
    /// <param name="replay">pcap or pcapng file of Ethernet frames to receive; null for none.</param>
    /// <param name="record">pcap file to make of what is transmitted; null for none.</param>
    /// <exception cref="IOException">A file cannot be opened, is no capture, or holds another link layer.</exception>
    public static PcapPort Open(string name, string? replay, string? record)
    {
        CaptureFileReaderDevice? reader = null;
        if (replay is not null)
        {
            if (!File.Exists(replay)) throw new FileNotFoundException($"there is no capture file {replay}", replay);
            try
            {
                reader = new CaptureFileReaderDevice(replay);
                reader.Open();
            }
            catch (Exception e) when (e is PcapException or DllNotFoundException)
            {
                throw new IOException($"cannot read {replay} as a capture: {e.Message}", e);
            }

            if (reader.LinkType != LinkLayers.Ethernet)
            {
                LinkLayers other = reader.LinkType;
                reader.Dispose();
                throw new IOException($"{replay} holds frames of link layer {other}; only Ethernet can be replayed");
            }
        }

        return new PcapPort(name, reader, record is null ? null : new PcapFileSink(record, long.MaxValue));
    }

    /// <inheritdoc/>
    public int Receive(PacketBatch batch)
    {
        batch.Count = 0;
        long bytes = 0;
        while (!_ended && batch.Count < PacketBatch.Capacity)
        {
            GetPacketStatus status;
            PacketCapture capture;
            try
            {
                status = _reader!.GetNextPacket(out capture);
            }
            catch (PcapException e)
            {
                End(e.Message);
                break;
            }

            if (status != GetPacketStatus.PacketRead)
            {
                End(status == GetPacketStatus.Error ? _reader.LastError : null);
                break;
            }

            // A frame of which the capture kept only the beginning is not what was on the wire.
            if (capture.Header is PcapHeader header && header.CaptureLength < header.PacketLength) Counters.ReceiveTruncated();
            else if (batch.TryAdd(capture.Data)) bytes += capture.Data.Length;
            else Counters.ReceiveTruncated();
        }

        if (batch.Count > 0) Counters.Received(batch.Count, bytes);
        return batch.Count;
    }

    /// <inheritdoc/>
    public int Transmit(ReadOnlySpan<Core.Forwarding.Packet> packets)
    {
        if (_writer is null || _disposed)
        {
            Counters.TransmitFailed(packets.Length);
            return 0;
        }

        _writer.Capture(Name, true, packets);
        long bytes = 0;
        foreach (ref readonly Core.Forwarding.Packet packet in packets) bytes += packet.Length;
        Counters.Transmitted(packets.Length, bytes);
        return packets.Length;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        _reader?.Dispose();
        _writer?.Dispose();
        _more.Dispose();
    }

    private void End(string? problem)
    {
        Problem = problem;
        if (problem is not null) Counters.ReceiveFailed();
        _more.Drain();
        Volatile.Write(ref _ended, true);
    }
}
