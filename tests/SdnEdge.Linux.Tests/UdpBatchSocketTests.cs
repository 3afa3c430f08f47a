using System.Buffers.Binary;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Linux.Tests;

public sealed class UdpBatchSocketTests
{
    [Theory]
    [InlineData("127.0.0.1")]
    [InlineData("::1")]
    public void A_batch_arrives_in_order_with_its_source_and_time_of_arrival(string loopback)
    {
        IpAddress address = IpAddress.Parse(loopback);
        using UdpBatchSocket a = UdpBatchSocket.Open(new UdpEndpoint(address, 0));
        using UdpBatchSocket b = UdpBatchSocket.Open(new UdpEndpoint(address, 0));
        long before = Monotonic.Now;
        byte[] payload = new byte[100];
        for (int i = 0; i < 200; i++)
        {
            BinaryPrimitives.WriteInt32BigEndian(payload, i);
            Assert.True(a.Queue(payload.AsSpan(0, 4 + (i % 90)), b.Local));
        }

        a.Flush();
        int next = 0;
        long last = before - 100_000;
        while (next < 200)
        {
            Assert.True(Comes(b), $"{next} of 200 datagrams came");
            foreach (UdpDatagram datagram in b.Receive())
            {
                Assert.Equal(next, BinaryPrimitives.ReadInt32BigEndian(datagram.Payload));
                Assert.Equal(4 + (next % 90), datagram.Length);
                Assert.Equal(a.Local, datagram.Source);
                Assert.InRange(datagram.ReceivedAt, last - 100_000, Monotonic.Now + 100_000);
                last = datagram.ReceivedAt;
                next++;
            }
        }

        Assert.Equal(0, a.SendErrors);
        Assert.Equal(0, b.KernelDrops);
    }

    [Fact]
    public void What_the_kernel_drops_is_counted()
    {
        IpAddress address = IpAddress.Parse("127.0.0.1");
        using UdpBatchSocket a = UdpBatchSocket.Open(new UdpEndpoint(address, 0));
        using UdpBatchSocket b = UdpBatchSocket.Open(new UdpEndpoint(address, 0), new UdpBatchOptions { ReceiveBufferBytes = 20_000 });
        long sent = 0, received = 0, deadline = Monotonic.Now + Patience.Nanoseconds;

        // A flood until the kernel has told of a drop; then one by one, since the count comes with a datagram that is queued after
        // the drops. The kernel may bring datagrams later than it takes them.
        do
        {
            int more = b.KernelDrops == 0 ? 500 : 1;
            for (int i = 0; i < more; i++) Assert.True(a.Queue(new byte[1000], b.Local));
            a.Flush();
            sent += more;
            Assert.True(Comes(b));
            received += Drain(b);
            Assert.True(received + b.KernelDrops <= sent, $"{received} came and {b.KernelDrops} were dropped of {sent}");
            Assert.True(Monotonic.Now < deadline, $"{received} came and {b.KernelDrops} were dropped of {sent}");
        }
        while (b.KernelDrops == 0 || received + b.KernelDrops < sent);
        Assert.Equal(0, a.SendErrors);
    }

    [Fact]
    public void A_datagram_longer_than_the_buffers_is_counted_and_left_out()
    {
        IpAddress address = IpAddress.Parse("127.0.0.1");
        using UdpBatchSocket a = UdpBatchSocket.Open(new UdpEndpoint(address, 0));
        using UdpBatchSocket b = UdpBatchSocket.Open(new UdpEndpoint(address, 0), new UdpBatchOptions { MaxPayloadBytes = 100 });
        Assert.True(a.Queue(new byte[101], b.Local));
        Assert.Equal(1, a.Flush());
        Assert.True(Comes(b));
        Assert.Equal(0, b.Receive().Length);
        Assert.Equal(1, b.Truncated);
        Assert.False(b.Queue(new byte[101], a.Local));
    }

    // A signal ends a wait early.
    private static bool Comes(UdpBatchSocket socket)
    {
        long deadline = Monotonic.Now + Patience.Nanoseconds;
        for (long left = Patience.Nanoseconds; left > 0; left = deadline - Monotonic.Now)
        {
            if (socket.Wait(left)) return true;
        }

        return false;
    }

    private static int Drain(UdpBatchSocket socket)
    {
        int count = 0;
        while (true)
        {
            int got = socket.Receive().Length;
            if (got == 0) return count;
            count += got;
        }
    }
}
