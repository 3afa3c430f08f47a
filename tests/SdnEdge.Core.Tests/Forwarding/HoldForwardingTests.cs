using System.Buffers.Binary;
using System.Diagnostics;
using SdnEdge.Core.Api;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>The target PE's side of a move, end to end: hold, release, deliver, in order, with one worker and with several.</summary>
public sealed class HoldForwardingTests
{
    private const long Ms = 1_000_000;

    [Fact]
    public void What_comes_out_of_the_tunnel_is_held_in_order_released_and_then_delivered_directly()
    {
        using Target t = new();
        for (int i = 0; i < 100; i++) t.FromTunnel(i);
        Assert.Equal(0, t.Rig.SiteDevice.SentCount);
        Assert.Equal((100, 100), (t.Hold.Info.PacketsHeldTotal, t.Rig.Plane.Ledger.IntoHold));
        Assert.Equal(0, t.Rig.Plane.Ledger.Imbalance);

        t.Group.Release(t.Hold);
        for (int i = 100; i < 110; i++) t.FromTunnel(i); // behind what is held
        Assert.Equal(0, t.Rig.SiteDevice.SentCount);
        t.PollUntilDone();
        for (int i = 110; i < 120; i++) t.FromTunnel(i);
        for (int i = 120; i < 130; i++) t.FromElsewhere(i);

        Assert.Equal(Enumerable.Range(0, 130), t.Delivered());
        Assert.Equal((HoldState.Released, "deliver"), (t.Hold.State, t.Group.Active.Name));
        Assert.Equal(110, t.Hold.Info.Released);
        Assert.Equal(long.MaxValue, t.Rig.Forwarder.NextDeadline);
        Assert.Equal((0L, 0L), (t.Rig.Plane.Ledger.Imbalance, t.Rig.Plane.DropsTotal));
    }

    [Fact]
    public void Before_the_release_other_packets_go_the_native_way()
    {
        using Target t = new();
        t.FromElsewhere(1);
        Assert.Equal(ForwarderRig.PeBMac, MacAddress.Read(Assert.Single(t.Rig.CoreDevice.Sent()).Bytes));
        Assert.Equal(0, t.Hold.Info.PacketsHeldTotal);
    }

    [Fact]
    public void A_held_packet_is_routed_like_any_other_when_it_leaves()
    {
        using Target t = new();
        byte[] inner = t.Packet(5);
        t.FromTunnel(5);
        t.Group.Release(t.Hold);
        t.PollUntilDone();
        byte[] sent = Assert.Single(t.Rig.SiteDevice.Sent()).Bytes;
        Assert.Equal(TunnelTests.Routed(inner), sent[14..]);
        Assert.Equal(ForwarderRig.HostMac, MacAddress.Read(sent));
    }

    [Fact]
    public void The_release_waits_for_the_server_to_be_resolved_and_asks_for_it()
    {
        using Target t = new(resolved: false);
        for (int i = 0; i < 1000; i++) t.FromTunnel(i);
        t.Group.Release(t.Hold);
        for (int i = 0; i < 50; i++) t.Rig.Forwarder.Poll(t.Rig.Now += Ms);
        Assert.Equal((1000, 0), (t.Hold.Info.PacketsHeldNow, t.Rig.SiteDevice.SentCount));
        Assert.All(t.Rig.Punts.Take(), p => Assert.Equal((PuntReason.NeighborNeeded, t.Server), (p.Info.Reason, p.Info.Adjacency)));
        Assert.InRange(t.Rig.Forwarder.NextDeadline, t.Rig.Now, t.Rig.Now + Ms);

        t.Server.Fail();
        for (int i = 0; i < 10; i++) t.Rig.Forwarder.Poll(t.Rig.Now += Ms);
        Assert.Equal(1000, t.Hold.Info.PacketsHeldNow); // an unanswered ARP costs no held packet

        t.Server.Resolve(ForwarderRig.HostMac);
        t.PollUntilDone();
        Assert.Equal(Enumerable.Range(0, 1000), t.Delivered());
    }

    [Fact]
    public void The_drain_is_paced()
    {
        using Target t = new(new HoldOptions(ReleasePacketsPerSecond: 10_000));
        for (int i = 0; i < 2000; i++) t.FromTunnel(i);
        t.Group.Release(t.Hold);
        for (int ms = 0; ms < 50; ms++) t.Rig.Forwarder.Poll(t.Rig.Now += Ms);
        Assert.InRange(t.Rig.SiteDevice.SentCount, 490, 532);
        t.PollUntilDone();
        Assert.Equal(Enumerable.Range(0, 2000), t.Delivered());
    }

    [Fact]
    public void Overflow_and_expiry_are_drops_of_their_own()
    {
        using Target t = new(new HoldOptions(MaxPackets: 10, MaxMilliseconds: 20, Overflow: HoldOverflowPolicy.DropOldest));
        for (int i = 0; i < 15; i++) t.FromTunnel(i);
        Assert.Equal(5, t.Rig.Plane.Drops(DropReason.HoldOverflow));
        Assert.Equal(t.Rig.Now + (20 * Ms), t.Rig.Forwarder.NextDeadline);
        t.Rig.Forwarder.Poll(t.Rig.Now += 20 * Ms);
        Assert.Equal((10, 10), (t.Rig.Plane.Drops(DropReason.HoldExpired), t.Hold.Info.Expired));
        Assert.Equal(0, t.Rig.Plane.Ledger.Imbalance);
    }

    [Fact]
    public void Giving_up_sends_everything_home_in_order()
    {
        using Target t = new();
        for (int i = 0; i < 20; i++) t.FromTunnel(i);
        t.Hold.BeginRelease(DrainPath.Native);
        t.PollUntilDone();
        for (int i = 20; i < 30; i++) t.FromTunnel(i);
        Assert.Equal(Enumerable.Range(0, 30), Target.Numbers(t.Rig.CoreDevice.Sent().Select(f => f.Bytes)));
        Assert.Equal((0, 0L), (t.Rig.SiteDevice.SentCount, t.Rig.Plane.DropsTotal));

        t.Group.SwitchBack();
        t.FromTunnel(30); // the guard stands again: this would be a loop
        Assert.Equal(1, t.Rig.Plane.Drops(DropReason.TunnelLoop));
    }

    [Fact]
    public void Two_servers_of_one_group_leave_by_their_own_hops()
    {
        using Target t = new();
        IpAddress second = IpAddress.Parse("10.1.1.11");
        Adjacency other = t.Rig.Resolve(t.Rig.Core, IpAddress.Parse("172.16.0.99"), ForwarderRig.ClientMac);
        FibLeaf leaf = t.Rig.Route("10.1.1.11/32", ForwardingDecision.Via(t.Rig.PeB, ForwarderRig.PeBLoopback4), t.Group);
        leaf.AttachedHop = ForwardingDecision.Via(other);
        t.FromTunnel(1);
        t.FromTunnel(2, second);
        t.Group.Release(t.Hold);
        t.PollUntilDone();
        Assert.Equal([1], t.Delivered());
        Assert.Equal([2], Target.Numbers(t.Rig.CoreDevice.Sent().Select(f => f.Bytes)));
    }

    // Each thread is a worker that forwards its own flow, before, during and after the release; worker 0 drains as well.
    [Theory]
    [InlineData(1, 0)]
    [InlineData(2, 200_000)]
    [InlineData(3, 0)]
    [InlineData(4, 2_000_000)]
    public void With_several_workers_each_flow_keeps_its_order_and_loses_nothing(int workers, int pace)
    {
        const int PerFlow = 6000;
        // Real time, and a time cap that a loaded machine cannot reach: an expired packet would not be one out of order.
        using Target t = new(new HoldOptions(MaxMilliseconds: 600_000, ReleasePacketsPerSecond: pace), workers: workers);
        using Barrier start = new(workers + 1);
        int running = workers;

        Thread[] threads = [.. Enumerable.Range(0, workers).Select(worker => new Thread(() =>
        {
            using PacketBatch batch = new();
            Forwarder forwarder = t.Rig.Forwarders[worker];
            start.SignalAndWait();
            for (int i = 0; i < PerFlow;)
            {
                for (; batch.Count < 16 && i < PerFlow; i++) batch.TryAdd(t.Wrapped((worker << 16) | i, ForwarderRig.Server4));
                forwarder.Process(batch, t.Rig.Core.Index, Now());
                if (worker == 0) forwarder.Poll(Now());
            }

            Interlocked.Decrement(ref running);
            while (worker == 0 && (t.Hold.State != HoldState.Released || Volatile.Read(ref running) > 0)) forwarder.Poll(Now());
        }))];
        foreach (Thread thread in threads) thread.Start();
        start.SignalAndWait();
        SpinWait.SpinUntil(() => t.Hold.Info.PacketsHeldTotal > 500 * workers, 30_000);
        t.Group.Release(t.Hold);
        foreach (Thread thread in threads) Assert.True(thread.Join(60_000));

        foreach (IGrouping<int, int> flow in t.Delivered().GroupBy(n => n >> 16))
            Assert.Equal(Enumerable.Range(0, PerFlow), flow.Select(n => n & 0xFFFF));
        Assert.Equal((workers * PerFlow, 0L, 0L), ((int)t.Rig.Site.TxPackets, t.Rig.Plane.DropsTotal, t.Rig.Plane.Ledger.Imbalance));
        Assert.True(t.Hold.Info.PacketsHeldTotal > 500);
        Assert.Equal("deliver", t.Group.Active.Name);

        static long Now() => (long)(Stopwatch.GetTimestamp() * (1e9 / Stopwatch.Frequency));
    }

    // Two workers fill a hold that is too small, so that the oldest packet is dropped all the time, while worker 0 drains it. Where
    // a packet must leave follows from its number: that is the oracle.
    [Fact]
    public void With_several_workers_no_packet_leaves_by_the_way_of_another()
    {
        const int Servers = 32, Workers = 3, Rounds = 200, Capacity = 32, PerRound = 400;
        using Target t = new(workers: Workers);
        for (uint i = 0; i < Servers; i++)
        {
            Adjacency own = t.Rig.Resolve(t.Rig.Site, IpAddress.FromV4(0x0A020340 + i), new MacAddress(0x02_0000_0000_00UL + i));
            FibLeaf leaf = t.Rig.Route($"10.1.2.{i}/32", ForwardingDecision.Via(t.Rig.PeB, ForwarderRig.PeBLoopback4), t.Group);
            leaf.AttachedHop = ForwardingDecision.Via(own);
        }

        long evicted = 0;
        for (int round = 0; round < Rounds; round++)
        {
            using Hold hold = new("h", t.Rig.Vrf, new HoldOptions(
                MaxPackets: Capacity, MaxMilliseconds: 600_000, Overflow: HoldOverflowPolicy.DropOldest, ReleasePacketsPerSecond: 0));
            t.Rig.Plane.AddHold(hold);
            t.Group.ArmHold(hold);
            for (int i = 0; i < Capacity; i++) t.FromTunnel(i, To(i));
            using Barrier start = new(Workers);
            Thread[] threads = [.. Enumerable.Range(0, Workers).Select(worker => new Thread(() =>
            {
                using PacketBatch batch = new();
                Forwarder forwarder = t.Rig.Forwarders[worker];
                byte[][] frames = [.. Enumerable.Range(worker << 24, worker == 0 ? 0 : PerRound).Select(n => t.Wrapped(n, To(n)))];
                start.SignalAndWait();
                if (worker == 0)
                {
                    t.Group.Release(hold);
                    while (hold.State != HoldState.Released) forwarder.Poll(1);
                    return;
                }

                for (int next = 0; next < frames.Length;)
                {
                    batch.Count = 0;
                    while (batch.Count < 16 && next < frames.Length) batch.TryAdd(frames[next++]);
                    forwarder.Process(batch, t.Rig.Core.Index, 1);
                }
            }))];
            foreach (Thread thread in threads) thread.Start();
            foreach (Thread thread in threads) Assert.True(thread.Join(60_000));
            t.Rig.Plane.RemoveHold(hold);
            evicted += hold.Info.DroppedOldest;
            foreach (byte[] frame in t.Rig.SiteDevice.Sent().Select(f => f.Bytes))
            {
                int number = BinaryPrimitives.ReadInt32BigEndian(frame.AsSpan(34));
                Assert.Equal(new MacAddress(0x02_0000_0000_00UL + (ulong)(number % Servers)), MacAddress.Read(frame));
            }
        }

        Assert.True(evicted > 0, "no packet was dropped while the hold was drained: nothing was tried");
        Assert.Equal(0, t.Rig.Plane.Ledger.Imbalance);

        static IpAddress To(int number) => IpAddress.FromV4(0x0A010200 + (uint)(number % Servers));
    }

    /// <summary>PE b before the move: the server's prefix is native towards PE B of the rig (the source), its port is "site".</summary>
    private sealed class Target : IDisposable
    {
        public Target(HoldOptions? options = null, bool resolved = true, int workers = 1)
        {
            Rig = new ForwarderRig(workers: workers);
            Tunnel = Rig.Plane.AddTunnel(TunnelTests.Options() with { Key = 5, IsRedirect = true }, Rig.Vrf, Rig.Vrf);
            Group = new RedirectGroup("m1", "default", workers);
            Hold = new Hold("m1", Rig.Vrf, options ?? new HoldOptions());
            Rig.Plane.AddHold(Hold);
            Server = Rig.Site.Neighbors.GetOrAdd(ForwarderRig.Server4)!;
            if (resolved) Server.Resolve(ForwarderRig.HostMac);
            FibLeaf leaf = Rig.Route("10.1.1.10/32", ForwardingDecision.Via(Rig.PeB, ForwarderRig.PeBLoopback4), Group);
            leaf.AttachedHop = ForwardingDecision.Connected(Rig.Site);
            Group.ArmHold(Hold);
        }

        public ForwarderRig Rig { get; }

        public Tunnel Tunnel { get; }

        public RedirectGroup Group { get; }

        public Hold Hold { get; }

        public Adjacency Server { get; }

        public void FromTunnel(int number, IpAddress? to = null) => Rig.Receive(Rig.Core, Wrapped(number, to ?? ForwarderRig.Server4));

        public void FromElsewhere(int number) => Rig.Receive(Rig.Core, Rig.FromPeA(Packet(number)));

        public byte[] Wrapped(int number, IpAddress to) => Rig.FromPeA(Frames.Ip(
            ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, IpProtocol.Gre,
            Frames.Gre(new GreHeader(EtherType.Ipv4, Key: 5), Packet(number, to))));

        public byte[] Packet(int number, IpAddress? to = null)
        {
            byte[] payload = new byte[20 + (number % 50)];
            BinaryPrimitives.WriteInt32BigEndian(payload, number);
            return Frames.Ip(ForwarderRig.Client4, to ?? ForwarderRig.Server4, 253, payload);
        }

        public void PollUntilDone()
        {
            for (int i = 0; i < 10_000 && Hold.State != HoldState.Released; i++) Rig.Forwarder.Poll(Rig.Now += Ms / 2);
            Assert.Equal(HoldState.Released, Hold.State);
        }

        public int[] Delivered() => Numbers(Rig.SiteDevice.Sent().Select(f => f.Bytes));

        public static int[] Numbers(IEnumerable<byte[]> frames)
            => [.. frames.Select(f => BinaryPrimitives.ReadInt32BigEndian(f.AsSpan(34)))];

        public void Dispose()
        {
            Rig.Dispose();
            Hold.Dispose();
        }
    }
}
