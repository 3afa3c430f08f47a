using BenchmarkDotNet.Attributes;
using SdnEdge.Core.Wire;

namespace SdnEdge.Benchmarks.Wire;

/// <summary>The Internet checksum beside the loop of RFC 1071: what earns the vector path its place.</summary>
public class ChecksumBenchmarks
{
    private byte[] _bytes = [];

    /// <summary>Bytes summed: a header, a frame, a superpacket.</summary>
    [Params(20, 1500, 65000)]
    public int Length { get; set; }

    /// <summary>Fills the bytes.</summary>
    [GlobalSetup]
    public void Setup()
    {
        _bytes = new byte[Length];
        new Random(1).NextBytes(_bytes);
    }

    /// <summary>Ours.</summary>
    [Benchmark]
    public uint Fast() => Checksum.Sum(_bytes);

    /// <summary>One 16-bit word after the other.</summary>
    [Benchmark(Baseline = true)]
    public uint WordByWord()
    {
        uint sum = 0;
        ReadOnlySpan<byte> bytes = _bytes;
        for (int i = 0; i + 1 < bytes.Length; i += 2) sum += (uint)((bytes[i] << 8) | bytes[i + 1]);
        return Checksum.Fold(sum);
    }
}
