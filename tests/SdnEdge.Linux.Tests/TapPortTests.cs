using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Linux.Tests;

public sealed class TapPortTests
{
    private static readonly TapOptions Quiet = new() { DisableKernelIpv6 = true };

    [RootFact]
    public void A_tap_is_set_up_as_asked()
    {
        Namespaces.RunInNew(() =>
        {
            var mac = MacAddress.Parse("02:00:00:00:01:10");
            using (TapPort tap = TapPort.Open("core", "tap-core", Quiet with { Mtu = 1600, Mac = mac }))
            {
                Assert.Equal("core", tap.Name);
                Assert.Equal("tap-core", tap.Device);
                Assert.Equal(1600, NetDevice.Mtu("tap-core"));
                Assert.Equal(mac, NetDevice.Mac("tap-core"));
                Assert.Equal(10_000, NetDevice.QueueLength("tap-core"));
                Assert.True(tap.Offloads.HasFlag(TapOffloads.Checksum | TapOffloads.Tso4 | TapOffloads.Tso6));
                Assert.Equal(TapOffloads.None, tap.Offloads & ~TapOffloads.All);
                LinuxException error = Assert.Throws<LinuxException>(() => TapPort.Open("again", "tap-core", Quiet));
                Assert.Contains("tap-core", error.Message, StringComparison.Ordinal);
            }

            AssertGone("tap-core");
            using TapPort numbered = TapPort.Open("n", "tap%d", Quiet with { Offloads = TapOffloads.None });
            Assert.Equal("tap0", numbered.Device);
            Assert.Equal(TapOffloads.None, numbered.Offloads);
            return 0;
        });
    }

    [Theory]
    [InlineData("")]
    [InlineData("a name")]
    [InlineData("sixteen-letters-")]
    [InlineData("../tap")]
    public void A_name_no_device_can_have_is_refused(string device) =>
        Assert.Throws<ArgumentException>(() => TapPort.Open("p", device));

    [RootTheory]
    [InlineData(true)]
    [InlineData(false)]
    public void Ten_thousand_frames_wait_without_a_drop(bool batched)
    {
        Namespaces.RunInNew(() =>
        {
            using TapPort tap = TapPort.Open("t", "t0", Quiet with { BatchedCalls = batched });
            using PacketSocket socket = PacketSocket.Open("s", "t0");
            using var batch = new PacketBatch();
            const int frames = 9_984;
            for (int i = 0; i < frames; i += PacketBatch.Capacity)
            {
                batch.Count = 0;
                for (int k = 0; k < PacketBatch.Capacity; k++) batch.TryAdd(Frames.Numbered(i + k));
                Assert.Equal(PacketBatch.Capacity, socket.Transmit(batch.Packets));
            }

            int next = 0;
            while (tap.Receive(batch) > 0)
            {
                foreach (Packet packet in batch.Packets) Assert.Equal(next++, BinaryPrimitives.ReadInt32BigEndian(packet.Span[14..]));
            }

            Assert.Equal(frames, next);
            Assert.Equal(frames, tap.Counters.RxPackets);
            return 0;
        });
    }

    [RootFact]
    public void A_frame_without_headroom_is_sent_all_the_same()
    {
        Namespaces.RunInNew(() =>
        {
            using TapPort tap = TapPort.Open("t", "t0", Quiet);
            using PacketSocket socket = PacketSocket.Open("s", "t0");
            using var batch = new PacketBatch();
            using var got = new PacketBatch();
            for (int i = 0; i < 3; i++)
            {
                batch.TryAdd(Frames.Numbered(i));
                batch[i].Headroom = i * 5;
            }

            byte before = Before(batch);
            Assert.Equal(3, tap.Transmit(batch.Packets));
            Assert.Equal(before, Before(batch));
            Assert.Equal(3, Frames.ReceiveSome(socket, got, 3));
            for (int i = 0; i < 3; i++) Assert.Equal(Frames.Numbered(i), got[i].Span.ToArray());
            return 0;
        });
    }

    [RootTheory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void A_superpacket_crosses_two_taps_whole_both_ways(bool v6, bool udp)
    {
        Namespaces.RunInNew(() =>
        {
            using TapPort a = TapPort.Open("a", "t0", Quiet);
            using TapPort b = TapPort.Open("b", "t1", Quiet);
            if (udp && !a.Offloads.HasFlag(TapOffloads.Uso4 | TapOffloads.Uso6)) return 0;
            Assert.True(NetDevice.TryAddBridge("br0", "t0", "t1"));
            byte[] frame = SegmentationSelfTest.BuildSuperpacket(v6, udp, out VnetHeader vnet);
            foreach ((TapPort from, TapPort to) in new[] { (a, b), (b, a) })
            {
                using var batch = new PacketBatch();
                Assert.True(batch.TryAdd(frame, vnet));
                Assert.Equal(1, from.Transmit(batch.Packets));
                Packet got = NextFrom(to, batch, frame.AsSpan(6, 6).ToArray());
                Assert.Equal(frame, got.Span.ToArray());
                Assert.Equal(vnet.GsoType, got.Vnet.GsoType);
                Assert.Equal(vnet.GsoSize, got.Vnet.GsoSize);
                Assert.Equal(vnet.CsumStart, got.Vnet.CsumStart);
                Assert.Equal(vnet.CsumOffset, got.Vnet.CsumOffset);
                Assert.Equal(VnetHeader.NeedsCsum, got.Vnet.Flags);
                frame = [.. frame[6..12], .. frame[0..6], .. frame[12..]];
            }

            return 0;
        });
    }

    [RootFact]
    public void A_partial_checksum_of_the_kernel_is_told()
    {
        Namespaces.RunInNew(() =>
        {
            using TapPort tap = TapPort.Open("host", "t0", Quiet with { Mac = MacAddress.Parse("02:00:00:00:00:01") });
            HostSetup.AddAddress("t0", "192.0.2.1", 24);
            HostSetup.AddNeighbor("t0", "192.0.2.2", "02:00:00:00:00:02");
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            socket.Connect(IPAddress.Parse("192.0.2.2"), 7);
            socket.Send(new byte[600]);
            using var batch = new PacketBatch();
            Packet frame = NextFrom(tap, batch, [0x02, 0, 0, 0, 0, 1]);
            Assert.Equal(VnetHeader.NeedsCsum, frame.Vnet.Flags);
            Assert.Equal(34, frame.Vnet.CsumStart);
            Assert.Equal(6, frame.Vnet.CsumOffset);
            return 0;
        });
    }

    [RootFact]
    public void Tcp_between_two_kernels_flows_in_superpackets_through_two_ports()
    {
        // Two hosts, each the kernel of a namespace of its own, joined by nothing but this loop.
        using TapPort a = Host("192.0.2.1", "02:00:00:00:00:01", "192.0.2.2", "02:00:00:00:00:02", out Socket client);
        using TapPort b = Host("192.0.2.2", "02:00:00:00:00:02", "192.0.2.1", "02:00:00:00:00:01", out Socket server);
        using var batch = new PacketBatch();
        using var epoll = new Epoll();
        epoll.Add(a.Fd, EpollEvents.In, 1);
        epoll.Add(b.Fd, EpollEvents.In, 2);

        const int bytes = 8 << 20;
        server.Bind(new IPEndPoint(IPAddress.Any, 7777));
        server.Listen();
        Task<int> received = Task.Run(() => ReceiveAll(server));
        Task sending = Task.Run(() =>
        {
            client.Connect(IPAddress.Parse("192.0.2.2"), 7777);
            byte[] data = new byte[bytes];
            for (int i = 0; i < bytes; i++) data[i] = Pattern(i);
            for (int sent = 0; sent < bytes;) sent += client.Send(data.AsSpan(sent));
            client.Shutdown(SocketShutdown.Send);
        });

        int superpackets = 0;
        long deadline = Monotonic.Now + Patience.Nanoseconds;
        while (!received.IsCompleted && Monotonic.Now < deadline)
        {
            epoll.Wait(10_000_000);
            foreach ((TapPort from, TapPort to) in new[] { (a, b), (b, a) })
            {
                if (from.Receive(batch) == 0) continue;
                foreach (Packet packet in batch.Packets) superpackets += packet.IsSuperpacket && packet.Length > 1514 ? 1 : 0;
                Assert.Equal(batch.Count, to.Transmit(batch.Packets));
            }
        }

        Assert.True(received.IsCompleted, "the transfer did not end in time");
        Assert.Equal(bytes, received.GetAwaiter().GetResult());
        sending.GetAwaiter().GetResult();
        Assert.True(superpackets > 50, $"only {superpackets} superpackets came");
        client.Dispose();
        server.Dispose();
    }

    [RootTheory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_batch_of_any_size_goes_out_in_order_whatever_headroom_its_frames_have(bool batched)
    {
        Namespaces.RunInNew(() =>
        {
            using TapPort tap = TapPort.Open("t", "t0", Quiet with { BatchedCalls = batched });
            using PacketSocket socket = PacketSocket.Open("s", "t0");
            using var batch = new PacketBatch();
            using var got = new PacketBatch();
            var random = new Random(3);
            for (int size = 1; size <= PacketBatch.Capacity; size++)
            {
                batch.Count = 0;
                for (int i = 0; i < size; i++)
                {
                    batch.TryAdd(Frames.Numbered((size * 100) + i));
                    if (random.Next(8) == 0) batch[i].Headroom = random.Next(VnetHeader.Size);
                }

                Assert.Equal(size, tap.Transmit(batch.Packets));
                Assert.Equal(size, Frames.ReceiveSome(socket, got, size));
                for (int i = 0; i < size; i++) Assert.Equal(Frames.Numbered((size * 100) + i), got[i].Span.ToArray());
                Assert.Equal(size, socket.Transmit(got.Packets));
                for (int next = 0; next < size;)
                {
                    Assert.NotEqual(0, Frames.ReceiveAny(tap, batch));
                    foreach (Packet packet in batch.Packets) Assert.Equal(Frames.Numbered((size * 100) + next++), packet.Span.ToArray());
                }
            }

            Assert.Equal(tap.Counters.TxBytes, tap.Counters.RxBytes);
            return 0;
        });
    }

    [RootTheory]
    [InlineData(true)]
    [InlineData(false)]
    public void Refused_frames_of_a_large_batch_are_counted_one_by_one(bool batched)
    {
        Namespaces.RunInNew(() =>
        {
            using TapPort tap = TapPort.Open("t", "t0", Quiet with { BatchedCalls = batched });
            using var batch = new PacketBatch();
            for (int i = 0; i < PacketBatch.Capacity; i++)
            {
                batch.TryAdd(Frames.Numbered(i), i % 4 == 0 ? new VnetHeader { GsoType = 77, GsoSize = 5 } : default);
            }

            Assert.Equal(48, tap.Transmit(batch.Packets));
            Assert.Equal(16, tap.Counters.TxErrors);
            NetDevice.SetDown("t0");
            Assert.Equal(0, tap.Transmit(batch.Packets));
            Assert.Equal(16 + 64, tap.Counters.TxErrors);
            tap.Dispose();
            Assert.Equal(0, tap.Transmit(batch.Packets));
            Assert.Equal(0, tap.Receive(batch));
            Assert.True(tap.IsGone);
            return 0;
        });
    }

    [RootFact]
    public void A_closed_port_takes_its_device_along_whatever_threads_have_used_it()
    {
        Namespaces.RunInNew(() =>
        {
            using var batch = new PacketBatch();
            for (int i = 0; i < PacketBatch.Capacity; i++) batch.TryAdd(Frames.Numbered(i));
            for (int round = 0; round < 5; round++)
            {
                using TapPort tap = TapPort.Open("t", "t0", Quiet);
                Assert.Equal(PacketBatch.Capacity, tap.Transmit(batch.Packets));
                var other = new Thread(() => tap.Transmit(batch.Packets));
                other.Start();
                other.Join();
                Assert.Equal(2 * PacketBatch.Capacity, tap.Counters.TxPackets);
                tap.Dispose();
                AssertGone("t0");
            }

            return 0;
        });
    }

    [RootFact]
    public void Lying_offload_metadata_is_refused_by_the_kernel_and_the_rest_of_the_batch_goes_out()
    {
        Namespaces.RunInNew(() =>
        {
            using TapPort tap = TapPort.Open("t", "t0", Quiet);
            using PacketSocket socket = PacketSocket.Open("s", "t0");
            using var batch = new PacketBatch();
            using var got = new PacketBatch();
            Assert.True(batch.TryAdd(Frames.Numbered(1)));
            Assert.True(batch.TryAdd(Frames.Numbered(2),
                new VnetHeader { Flags = VnetHeader.NeedsCsum, CsumStart = 60_000, CsumOffset = 6 }));
            Assert.True(batch.TryAdd(Frames.Numbered(3)));
            Assert.True(batch.TryAdd(Frames.Numbered(4), new VnetHeader { GsoType = 77, GsoSize = 5 }));
            Assert.True(batch.TryAdd(Frames.Numbered(5)));
            Assert.Equal(3, tap.Transmit(batch.Packets));
            Assert.Equal(2, tap.Counters.TxErrors);
            Assert.Equal(3, tap.Counters.TxPackets);
            Assert.Equal(3, Frames.ReceiveSome(socket, got, 3));
            Assert.Equal(Frames.Numbered(5), got[2].Span.ToArray());
            return 0;
        });
    }

    [RootFact]
    public void A_device_that_is_down_refuses_and_works_again_when_up()
    {
        Namespaces.RunInNew(() =>
        {
            using TapPort tap = TapPort.Open("t", "t0", Quiet);
            using var batch = new PacketBatch();
            for (int i = 0; i < 10; i++) batch.TryAdd(Frames.Numbered(i));
            NetDevice.SetDown("t0");
            Assert.Equal(0, tap.Transmit(batch.Packets));
            Assert.Equal(10, tap.Counters.TxErrors);
            Assert.False(tap.IsGone);
            NetDevice.SetUp("t0");
            Assert.Equal(10, tap.Transmit(batch.Packets));
            return 0;
        });
    }

    [RootFact]
    public void A_closed_port_neither_gives_nor_takes()
    {
        Namespaces.RunInNew(() =>
        {
            using var batch = new PacketBatch();
            batch.TryAdd(Frames.Numbered(1));
            TapPort tap = TapPort.Open("t", "t0", Quiet);
            tap.Dispose();
            Assert.Equal(0, tap.Transmit(batch.Packets));
            Assert.Equal(0, tap.Receive(batch));
            Assert.True(tap.IsGone);
            return 0;
        });
    }

    private static TapPort Host(string address, string mac, string peer, string peerMac, out Socket socket)
    {
        (TapPort tap, socket) = Namespaces.RunInNew(() =>
        {
            TapPort port = TapPort.Open("host", "t0", Quiet with { Mac = MacAddress.Parse(mac) });
            HostSetup.AddAddress("t0", address, 24);
            HostSetup.AddNeighbor("t0", peer, peerMac);
            return (port, new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        });
        return tap;
    }

    // The kernel may take a moment to see that nobody has the device open.
    private static void AssertGone(string device)
    {
        Patience.Until(() => !NetDevice.Exists(device), () => $"{device} is still there");
    }

    private static unsafe byte Before(PacketBatch batch) => batch[0].Data[-1];

    private static byte Pattern(int offset) => (byte)((offset * 13) + (offset >> 12));

    /// <summary>How many bytes of the pattern came before the end, or -1 at the first wrong one.</summary>
    private static int ReceiveAll(Socket server)
    {
        using Socket connection = server.Accept();
        byte[] buffer = new byte[65536];
        int total = 0;
        while (true)
        {
            int got = connection.Receive(buffer);
            if (got == 0) return total;
            for (int i = 0; i < got; i++)
            {
                if (buffer[i] != Pattern(total + i)) return -1;
            }

            total += got;
        }
    }

    private static Packet NextFrom(TapPort port, PacketBatch batch, byte[] sourceMac)
    {
        while (true)
        {
            Assert.NotEqual(0, Frames.ReceiveAny(port, batch));
            foreach (Packet packet in batch.Packets)
            {
                if (packet.Span.Slice(6, 6).SequenceEqual(sourceMac)) return packet;
            }
        }
    }
}
