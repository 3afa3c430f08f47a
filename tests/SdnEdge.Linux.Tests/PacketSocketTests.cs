using SdnEdge.Core.Forwarding;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Linux.Tests;

public sealed class PacketSocketTests
{
    [RootFact]
    public void What_is_written_to_a_tap_comes_out_of_a_packet_socket_and_back()
    {
        Namespaces.RunInNew(() =>
        {
            using TapPort tap = TapPort.Open("t", "t0", new TapOptions { DisableKernelIpv6 = true });
            using PacketSocket socket = PacketSocket.Open("s", "t0", new PacketSocketOptions { Timestamps = true });
            using var batch = new PacketBatch();
            using var got = new PacketBatch();
            for (int i = 0; i < PacketBatch.Capacity; i++) Assert.True(batch.TryAdd(Frames.Numbered(i)));

            long before = Monotonic.Now;
            Assert.Equal(PacketBatch.Capacity, tap.Transmit(batch.Packets));
            Assert.Equal(PacketBatch.Capacity, Frames.ReceiveSome(socket, got, PacketBatch.Capacity));
            long after = Monotonic.Now;
            for (int i = 0; i < got.Count; i++)
            {
                Assert.Equal(Frames.Numbered(i), got[i].Span.ToArray());
                Assert.InRange(socket.Timestamps[i], before - 100_000, after + 100_000);
            }

            Assert.Equal(PacketBatch.Capacity, socket.Transmit(got.Packets));
            Assert.Equal(PacketBatch.Capacity, Frames.ReceiveSome(tap, batch, PacketBatch.Capacity));
            for (int i = 0; i < batch.Count; i++) Assert.Equal(Frames.Numbered(i), batch[i].Span.ToArray());
            Assert.Equal(0, socket.KernelDrops);
            Assert.Equal(0, tap.Receive(batch));
            Assert.Equal(0, tap.Counters.RxErrors);
            return 0;
        });
    }

    [RootFact]
    public void A_vlan_tag_survives_the_packet_socket()
    {
        Namespaces.RunInNew(() =>
        {
            using TapPort tap = TapPort.Open("t", "t0", new TapOptions { DisableKernelIpv6 = true });
            using PacketSocket socket = PacketSocket.Open("s", "t0");
            using var batch = new PacketBatch();
            byte[] frame = Frames.Numbered(7);
            byte[] tagged = [.. frame[..12], 0x81, 0x00, 0x60, 0x2a, .. frame[12..]];
            Assert.True(batch.TryAdd(tagged));
            Assert.Equal(1, tap.Transmit(batch.Packets));
            Assert.Equal(1, Frames.ReceiveSome(socket, batch, 1));
            Assert.Equal(tagged, batch[0].Span.ToArray());
            return 0;
        });
    }

    [RootFact]
    public void A_missing_device_is_named_in_the_error()
    {
        LinuxException error = Assert.Throws<LinuxException>(() => PacketSocket.Open("s", "nosuchdev0"));
        Assert.Contains("nosuchdev0", error.Message, StringComparison.Ordinal);
    }
}
