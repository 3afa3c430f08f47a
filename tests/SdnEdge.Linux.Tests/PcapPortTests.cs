using SdnEdge.Core.Forwarding;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Linux.Tests;

public sealed class PcapPortTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-pcap-").FullName;

    [Fact]
    public void What_was_recorded_is_replayed_frame_for_frame()
    {
        string file = Path.Combine(_folder, "a.pcap");
        using var batch = new PacketBatch();
        using (PcapPort record = PcapPort.Open("r", null, file))
        {
            Assert.True(record.IsAtEnd);
            for (int i = 0; i < 150; i++)
            {
                batch.Count = 0;
                Assert.True(batch.TryAdd(Frames.Numbered(i)));
                Assert.Equal(1, record.Transmit(batch.Packets));
            }
        }

        using PcapPort replay = PcapPort.Open("p", file, null);
        int next = 0;
        while (Frames.ReceiveAny(replay, batch) > 0)
        {
            foreach (Packet packet in batch.Packets) Assert.Equal(Frames.Numbered(next++), packet.Span.ToArray());
            if (next == 150) break;
        }

        Assert.Equal(150, next);
        Assert.Equal(0, replay.Receive(batch));
        Assert.True(replay.IsAtEnd);
        Assert.Null(replay.Problem);
        Assert.Equal(0, replay.Transmit([batch.Reset(0, 60)]));
        Assert.Equal(1, replay.Counters.TxErrors);
    }

    [Fact]
    public void A_file_that_breaks_off_gives_what_is_whole_and_says_so()
    {
        string file = Path.Combine(_folder, "a.pcap");
        using var batch = new PacketBatch();
        for (int i = 0; i < 10; i++) batch.TryAdd(Frames.Numbered(i));
        using (PcapPort record = PcapPort.Open("r", null, file)) record.Transmit(batch.Packets);
        byte[] bytes = File.ReadAllBytes(file);
        File.WriteAllBytes(file, bytes[..^20]);

        using PcapPort replay = PcapPort.Open("p", file, null);
        Assert.Equal(9, replay.Receive(batch));
        Assert.Equal(0, replay.Receive(batch));
        Assert.True(replay.IsAtEnd);
        Assert.NotNull(replay.Problem);
    }

    [Fact]
    public void What_is_no_capture_is_refused_with_the_files_name()
    {
        string file = Path.Combine(_folder, "not-a-capture");
        File.WriteAllText(file, "plain text, and more of it than a header has");
        Assert.Contains("not-a-capture", Assert.ThrowsAny<IOException>(() => PcapPort.Open("p", file, null)).Message,
            StringComparison.Ordinal);
        Assert.Contains("nowhere", Assert.ThrowsAny<IOException>(() => PcapPort.Open("p", Path.Combine(_folder, "nowhere"), null)).Message,
            StringComparison.Ordinal);
        Assert.ThrowsAny<IOException>(() => PcapPort.Open("p", null, Path.Combine(_folder, "no", "such", "folder")));
    }

    [Fact]
    public void A_capture_shows_both_directions_while_it_is_on_and_stops_at_its_limit()
    {
        string file = Path.Combine(_folder, "a.pcap");
        using var inner = new ChannelPort("a");
        using var port = new CapturePort(inner);
        using var batch = new PacketBatch();
        inner.Put(Frames.Numbered(0));
        Assert.Equal(1, port.Receive(batch));
        using (var sink = new PcapFileSink(file, Frames.Numbered(1).Length + Frames.Numbered(2).Length))
        {
            port.Sink = sink;
            inner.Put(Frames.Numbered(1));
            Assert.Equal(1, port.Receive(batch));
            batch.Count = 0;
            batch.TryAdd(Frames.Numbered(2));
            batch.TryAdd(Frames.Numbered(3));
            Assert.Equal(2, port.Transmit(batch.Packets));
            port.Sink = null;
            Assert.Equal(2, port.Transmit(batch.Packets));
            Assert.Equal(2, sink.Written);
            Assert.Equal(1, sink.Skipped);
        }

        Assert.Equal(4, inner.Sent);
        using PcapPort replay = PcapPort.Open("p", file, null);
        Assert.Equal(2, replay.Receive(batch));
        Assert.Equal(Frames.Numbered(1), batch[0].Span.ToArray());
        Assert.Equal(Frames.Numbered(2), batch[1].Span.ToArray());
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
