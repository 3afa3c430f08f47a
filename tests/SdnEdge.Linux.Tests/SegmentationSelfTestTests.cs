using SdnEdge.Core.Forwarding;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Linux.Tests;

public sealed class SegmentationSelfTestTests
{
    [RootFact]
    public void The_kernel_cuts_what_it_says_it_cuts()
    {
        SegmentationSelfTest result = SegmentationSelfTest.Run();
        Assert.True(result.Passed, result.Problem);
        Assert.Null(result.Problem);
    }

    [Fact]
    public void A_wrong_segment_is_found_out()
    {
        byte[] whole = SegmentationSelfTest.BuildSuperpacket(v6: false, udp: false, out VnetHeader vnet);
        using var source = new PacketBatch();
        using var segments = new PacketBatch();
        Assert.True(source.TryAdd(whole, vnet));
        Assert.True(Segmenter.TryBegin(in source[0], out SegmentJob job));
        job.Fill(segments);
        Assert.Equal(4, segments.Count);

        int offset = 0;
        foreach (Packet segment in segments.Packets)
        {
            Assert.Null(SegmentationSelfTest.CheckSegment(segment.Span, false, false, offset, out int length));
            Assert.NotNull(SegmentationSelfTest.CheckSegment(segment.Span, false, false, offset + 1, out _));
            byte[] broken = segment.Span.ToArray();
            for (int i = 14; i < broken.Length; i++)
            {
                // Fields no checksum or comparison covers do not exist after the Ethernet header.
                broken[i] ^= 0x40;
                Assert.NotNull(SegmentationSelfTest.CheckSegment(broken, false, false, offset, out _));
                broken[i] ^= 0x40;
            }

            offset += length;
        }

        Assert.NotNull(SegmentationSelfTest.CheckSegment(whole, false, false, 0, out _));
    }
}
