using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Lab.Wan;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>The emulated WAN: its model alone, its ring alone, and a real one between two hosts.</summary>
public sealed partial class LabWanTests
{
    private const long Ms = 1_000_000;

    [Fact]
    public void The_same_seed_loses_the_same_frames_and_another_seed_loses_others()
    {
        var impairment = new Impairment(Loss: 0.1);
        bool[] first = Fates(1), again = Fates(1), other = Fates(2);
        Assert.Equal(first, again);
        Assert.NotEqual(first, other);
        Assert.InRange(first.Count(lost => lost), 850, 1150);

        bool[] Fates(ulong seed)
        {
            var model = new LinkModel(impairment, seed);
            return [.. Enumerable.Range(0, 10_000).Select(i => !model.Admit(i, 100, out _))];
        }
    }

    [Fact]
    public void Jitter_keeps_the_order_by_default_and_its_bounds_always()
    {
        foreach (bool keep in (bool[])[true, false])
        {
            var model = new LinkModel(new Impairment(DelayNs: 10 * Ms, JitterNs: 4 * Ms, KeepOrder: keep), 3);
            long last = 0, passed = 0, least = long.MaxValue, most = 0;
            for (long at = 0; at < 1000 * Ms; at += Ms / 10)
            {
                Assert.True(model.Admit(at, 100, out long due));
                if (due < last) passed++;
                last = due;
                least = Math.Min(least, due - at);
                most = Math.Max(most, due - at);
            }

            Assert.InRange(least, 6 * Ms, 14 * Ms);
            Assert.InRange(most, 13 * Ms, 14 * Ms);
            Assert.Equal(keep, passed == 0);
        }
    }

    [Fact]
    public void Frames_wait_for_a_line_of_limited_rate()
    {
        var model = new LinkModel(new Impairment(DelayNs: Ms, RateBitsPerSecond: 8_000_000), 1);
        long[] dues = [.. Enumerable.Range(0, 3).Select(_ => model.Admit(0, 1000, out long due) ? due : -1)];
        Assert.Equal([2 * Ms, 3 * Ms, 4 * Ms], dues);
        Assert.True(model.Admit(100 * Ms, 1000, out long later));
        Assert.Equal(102 * Ms, later);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public unsafe void A_delay_line_gives_every_frame_back_whole_in_due_order_and_counts_what_does_not_fit(bool keepOrder)
    {
        // Sizes that never fill the ring evenly, so that it wraps at every possible place; a queue model beside it knows the truth.
        var impairment = new Impairment(DelayNs: 5 * Ms, JitterNs: 3 * Ms, QueueBytes: 1 << 17, KeepOrder: keepOrder);
        using var line = new DelayLine(impairment, 9);
        using var batch = new PacketBatch();
        var model = new LinkModel(impairment, 9);
        var expected = new PriorityQueue<(int Number, int Length), (long Due, int Number)>();
        var packets = new Packet[PacketBatch.Capacity];
        long[] dues = new long[PacketBatch.Capacity];
        var random = new Random(1);
        int number = 0, full = 0, got = 0;
        for (long now = 0; now < 2000 * Ms; now += random.Next(1, (int)Ms))
        {
            for (int n = random.Next(0, 6); n > 0; n--)
            {
                batch.Count = 0;
                byte[] frame = new byte[random.Next(14, random.Next(4) == 0 ? 20_000 : 1600)];
                Array.Fill(frame, (byte)number);
                Assert.True(batch.TryAdd(frame, new VnetHeader { GsoSize = (ushort)number }));
                long before = line.QueueFull;
                line.Enter(batch[0], now);
                if (line.QueueFull > before) full++;
                else if (model.Admit(now, frame.Length, out long due)) expected.Enqueue((number, frame.Length), (due, number));
                number++;
            }

            int count;
            while ((count = line.Take(now, packets, dues)) > 0)
            {
                for (int i = 0; i < count; i++)
                {
                    Assert.True(expected.TryDequeue(out (int Number, int Length) frame, out (long Due, int Number) due));
                    Assert.True(due.Due <= now);
                    Assert.Equal((due.Due, frame.Length, (ushort)frame.Number), (dues[i], packets[i].Length, packets[i].Vnet.GsoSize));
                    Assert.False(packets[i].Span.ContainsAnyExcept((byte)frame.Number));
                    got++;
                }

                line.Release();
            }

            Assert.False(expected.TryPeek(out _, out (long Due, int) next) && next.Due <= now, "a due frame stayed");
            Assert.Equal(expected.Count == 0 ? long.MaxValue : next.Due, line.NextDue);
        }

        Assert.True(full > 0 && got > 1000, $"{full} did not fit, {got} came through");
        Assert.Equal(full, line.QueueFull);
        Assert.InRange(line.PeakBytes, 1 << 16, 1 << 17);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_frame_that_passes_a_delay_line_allocates_nothing(bool keepOrder)
    {
        using var line = new DelayLine(new Impairment(DelayNs: Ms, JitterNs: Ms / 2, Loss: 0.01, RateBitsPerSecond: 1_000_000_000,
            KeepOrder: keepOrder), 1);
        using var batch = new PacketBatch();
        var packets = new Packet[PacketBatch.Capacity];
        long[] dues = new long[PacketBatch.Capacity];
        Assert.True(batch.TryAdd(new byte[1000]));
        long passed = Pass(2000);
        long before = GC.GetAllocatedBytesForCurrentThread();
        passed += Pass(100_000);
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.Equal(0, allocated);
        Assert.True(passed > 90_000);

        // The measure can see an allocation.
        before = GC.GetAllocatedBytesForCurrentThread();
        GC.KeepAlive(new byte[100]);
        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before >= 100);

        long Pass(int frames)
        {
            long sum = 0;
            for (int i = 0; i < frames; i++)
            {
                line.Enter(batch[0], i * 10_000L);
                int count;
                while ((count = line.Take(i * 10_000L, packets, dues)) > 0)
                {
                    sum += count;
                    line.Release();
                }
            }

            return sum;
        }
    }

    [Fact]
    public void An_address_table_follows_a_station_and_stays_bounded()
    {
        var table = new MacTable();
        var station = MacAddress.Parse("02:00:00:00:01:10");
        Assert.Equal(-1, table.Lookup(station));
        table.Learn(station, 1);
        table.Learn(station, 2);
        Assert.Equal(2, table.Lookup(station));
        table.Learn(MacAddress.Broadcast, 1);
        Assert.Equal(-1, table.Lookup(MacAddress.Broadcast));
        for (ulong i = 1; i < 100_000; i++) table.Learn(new MacAddress(0x0600_0000_0000 + i), 3);
        Assert.True(table.Count < 16_384);
        Assert.Equal(2, table.Lookup(station));
    }

    [RootFact]
    [Trait("needs", "executable")]
    public async Task Two_hosts_see_the_round_trip_time_asked_for_lose_nothing_and_keep_order()
    {
        await using var instance = LabInstance.Of(Hosts("delay: 1ms, jitter: 1ms"));
        RunningLab lab = await instance.DeployAsync(instance.Options with { RttMs = 20 });
        WanStats start = (await lab.WanAsync("w", CancellationToken.None))!;
        await LabInstance.ReachAsync(lab, "a", "10.9.0.2");
        string ping = await LabInstance.PingAsync(lab, "a", 20, "-i", "0.05", "10.9.0.2");
        Assert.Equal(Enumerable.Range(1, 20), LabInstance.Answered(ping).Take(20));
        double least = double.Parse(PingTimes().Match(ping).Groups["min"].Value, CultureInfo.InvariantCulture);
        Assert.InRange(least, 16, 36);   // 4 passages of 5 ms, each up to 1 ms of jitter, and a busy machine: less than two passages late

        // Each reply in its turn: jitter of 1 ms, requests 0.2 ms apart. Never more of them than ping's socket has room for: after a
        // standstill of the WAN they come all at once.
        const int Flood = 100;
        for (int round = 0; round < 5; round++)
        {
            string flood = await LabInstance.PingAsync(lab, "a", Flood, "-i", "0.0002", "10.9.0.2");
            Assert.Equal(Enumerable.Range(1, Flood), LabInstance.Answered(flood).Take(Flood));
        }

        AssertNothingLost((await lab.WanAsync("w", CancellationToken.None))!, start);
    }

    [RootFact]
    [Trait("needs", "executable")]
    public async Task A_lossy_link_loses_its_share_and_counts_it()
    {
        await using var instance = LabInstance.Of(Hosts("delay: 0ms, from-wan: { loss: 30% }"));
        RunningLab lab = await instance.DeployAsync();

        // Neighbours first: an ARP request that is lost holds up all pings behind it. Then so many that the share is known well.
        const int Pings = 1000;
        await LabInstance.ReachAsync(lab, "a", "10.9.0.2");
        WanDirectionStats before = await ToBAsync();
        await LabInstance.RunAsync(lab, "a", "sh", "-c", $"ping -c {Pings} -i 0.002 -W 1 10.9.0.2 || true");

        // The WAN may be behind, and its counters are read one after the other while it works.
        WanDirectionStats toB = await Patience.ReadAsync(ToBAsync,
            s => s.Frames - before.Frames >= Pings && s.Frames == s.Lost + s.Sent + s.Refused,
            $"{before.Frames} frames and {Pings} more have come and are accounted for", Patience.Long);
        Assert.InRange(toB.Lost, toB.Frames * 20 / 100, toB.Frames * 40 / 100);
        Assert.Equal(before.Refused, toB.Refused);

        async Task<WanDirectionStats> ToBAsync() => (await lab.WanAsync("w", CancellationToken.None))!.Links[1].FromWan;
    }

    [RootFact]
    [Trait("needs", "executable")]
    public async Task Superpackets_cross_whole_and_a_tcp_stream_is_unhurt()
    {
        const int Port = 5201, Timeout = 60_000;
        await using var instance = LabInstance.Of(Hosts("delay: 2ms"));
        RunningLab lab = await instance.DeployAsync();
        await LabInstance.ReachAsync(lab, "a", "10.9.0.2");
        using Socket listener = Namespaces.Run(lab.NamespaceOf("b"), NewSocket), sender = Namespaces.Run(lab.NamespaceOf("a"), NewSocket);
        listener.Bind(new IPEndPoint(IPAddress.Any, Port));
        listener.Listen();
        await sender.ConnectAsync(new IPEndPoint(IPAddress.Parse("10.9.0.2"), Port));
        using Socket receiver = await listener.AcceptAsync();
        receiver.ReceiveTimeout = Timeout;
        byte[] said = new byte[20_000_000], heard = new byte[said.Length + 1];
        new Random(1).NextBytes(said);
        Task sending = Task.Run(() =>
        {
            for (int sent = 0; sent < said.Length;) sent += sender.Send(said.AsSpan(sent));
            sender.Shutdown(SocketShutdown.Send);
        });
        int got = 0;
        for (int n; (n = receiver.Receive(heard.AsSpan(got))) > 0;) got += n;
        await sending;
        Assert.True(said.AsSpan().SequenceEqual(heard.AsSpan(0, got)), $"{got} bytes came, not all of them as they were sent");
        WanStats wan = (await lab.WanAsync("w", CancellationToken.None))!;
        AssertNothingLost(wan, since: null);
        WanDirectionStats sent = wan.Links[0].ToWan;
        Assert.True(sent.Bytes / sent.Frames > 3000, $"{sent.Bytes} bytes in {sent.Frames} frames: larger than the MTU on average");

        // Never more on its way than a line has room for.
        static Socket NewSocket() => new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)
        {
            SendTimeout = Timeout,
            SendBufferSize = 4 << 20,
        };
    }

    // While a lab comes up, a link whose far end is not there yet refuses what is flooded to it: that counts only from the start on.
    private static void AssertNothingLost(WanStats now, WanStats? since)
    {
        foreach ((int i, WanLinkStats link) in now.Links.Index())
        {
            Assert.Equal((0, 0, 0, 0, 0),
                (link.ToWan.Lost, link.ToWan.QueueFull, link.FromWan.Lost, link.FromWan.QueueFull, link.KernelDrops));
            if (since is not null) Assert.Equal(since.Links[i].FromWan.Refused, link.FromWan.Refused);
        }
    }

    private static string Hosts(string vars) => $$"""
        name: LABNAME
        topology:
          nodes:
            a: { kind: linux, exec: [ip address add 10.9.0.1/24 dev eth1] }
            b: { kind: linux, exec: [ip address add 10.9.0.2/24 dev eth1] }
            w: { kind: sdnedge-wan }
          links:
            - { endpoints: ["a:eth1", "w:eth1"], mtu: 1600, vars: { {{vars}} } }
            - { endpoints: ["b:eth1", "w:eth2"], mtu: 1600, vars: { {{vars}} } }
        """;

    [GeneratedRegex("= (?<min>[0-9.]+)/")]
    private static partial Regex PingTimes();
}
