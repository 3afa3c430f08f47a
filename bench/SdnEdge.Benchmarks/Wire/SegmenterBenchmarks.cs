using BenchmarkDotNet.Attributes;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Benchmarks.Wire;

/// <summary>Splitting a TCP superpacket of 64 KB into 45 segments, checksums included, beside copying its bytes once.</summary>
public class SegmenterBenchmarks : IDisposable
{
    private readonly PacketBatch _source = new(), _destination = new();

    /// <summary>Builds the superpacket.</summary>
    [GlobalSetup]
    public void Setup()
    {
        IpAddress a = IpAddress.Parse("192.0.2.1"), b = IpAddress.Parse("198.51.100.2");
        const int payload = 45 * 1428;
        byte[] frame = new byte[EthernetHeader.Size + Ipv4Header.Size + TcpHeader.Size + payload];
        new EthernetHeader(new MacAddress(1), new MacAddress(2), EtherType.Ipv4).Emit(frame);
        new Ipv4Header(a, b, IpProtocol.Tcp).Emit(frame.AsSpan(EthernetHeader.Size), TcpHeader.Size + payload);
        new TcpHeader(1, 2, 3, 4, TcpFlags.Ack, 5).Emit(frame.AsSpan(EthernetHeader.Size + Ipv4Header.Size), a, b);
        _source.Count = 0;
        _source.TryAdd(frame, new VnetHeader { GsoType = VnetHeader.GsoTcpV4, GsoSize = 1428 });
    }

    /// <summary>Ours.</summary>
    [Benchmark]
    public int Split()
    {
        _destination.Count = 0;
        return Segmenter.TryBegin(_source[0], out SegmentJob job) ? job.Fill(_destination) : 0;
    }

    /// <summary>The floor: one copy.</summary>
    [Benchmark(Baseline = true)]
    public bool Copy()
    {
        _destination.Count = 0;
        return _destination.TryAdd(_source[0].Span);
    }

    /// <inheritdoc/>
    [GlobalCleanup]
    public void Dispose()
    {
        _source.Dispose();
        _destination.Dispose();
        GC.SuppressFinalize(this);
    }
}
