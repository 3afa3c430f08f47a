using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>Packets that wait for ARP or ND.</summary>
public sealed class NeighborWaitTests : IDisposable
{
    private static readonly IpAddress s_server = IpAddress.Parse("10.2.3.99");
    private readonly ForwarderRig _rig = new();

    public void Dispose() => _rig.Dispose();

    [Fact]
    public void The_first_packet_asks_for_the_neighbour_and_all_leave_in_order_once_it_is_known()
    {
        for (ushort i = 0; i < 100; i++) Send(i);
        Adjacency adjacency = _rig.Site.Neighbors.Find(s_server)!;
        Punted punt = Assert.Single(_rig.Punts.Take());
        Assert.Equal((PuntReason.NeighborNeeded, adjacency, _rig.Site.Index), (punt.Info.Reason, punt.Info.Adjacency, punt.Info.Port));
        Assert.Equal((100, 0), (adjacency.WaitingPackets, _rig.SiteDevice.SentCount));

        Assert.True(adjacency.Resolve(ForwarderRig.HostMac));
        Send(100); // newer: must not overtake
        Assert.Null(adjacency.Rewrite);
        _rig.Forwarder.FlushNeighbor(adjacency, _rig.Now);
        Send(101);
        Assert.Equal(Enumerable.Range(0, 102), Sent());
        Assert.Equal(ForwarderRig.HostMac, adjacency.Rewrite!.Destination);
        Assert.Equal((0L, 0L), (_rig.Plane.Ledger.Imbalance, _rig.Plane.DropsTotal));
    }

    [Fact]
    public void Polling_flushes_too()
    {
        Send(1);
        Assert.Equal(_rig.Now + Adjacency.MaxWaitNs, _rig.Forwarder.NextDeadline);
        _rig.Site.Neighbors.Find(s_server)!.Resolve(ForwarderRig.HostMac);
        Assert.Equal(0, _rig.Forwarder.NextDeadline);
        _rig.Forwarder.Poll(_rig.Now);
        Assert.Equal([1], Sent());
        Assert.Equal(long.MaxValue, _rig.Forwarder.NextDeadline);
    }

    [Fact]
    public void The_queue_is_bounded_and_what_does_not_fit_is_counted()
    {
        for (int i = 0; i < Adjacency.MaxWaitingPackets + 10; i++) Send((ushort)i);
        Assert.Equal(10, _rig.Plane.Drops(DropReason.NeighborQueueFull));
        Assert.Equal(0, _rig.Plane.Ledger.Imbalance);
    }

    [Fact]
    public void Who_does_not_answer_in_time_costs_the_waiting_packets()
    {
        Send(1);
        _rig.Now += 1_500_000_000;
        Send(2);
        _rig.Forwarder.Poll(_rig.Now += 1_500_000_000);
        Assert.Equal(1, _rig.Plane.Drops(DropReason.NeighborUnresolved));
        Adjacency adjacency = _rig.Site.Neighbors.Find(s_server)!;
        Assert.True(adjacency.Fail());
        _rig.Forwarder.FlushNeighbor(adjacency, _rig.Now);
        Assert.Equal(2, _rig.Plane.Drops(DropReason.NeighborUnresolved));
        Assert.Equal(0, _rig.Plane.Ledger.Imbalance);
    }

    [Fact]
    public void A_failed_neighbour_drops_tells_the_sender_and_is_asked_for_again_once_a_second()
    {
        Send(1);
        Adjacency adjacency = _rig.Site.Neighbors.Find(s_server)!;
        adjacency.Fail();
        _rig.Forwarder.FlushNeighbor(adjacency, _rig.Now);
        _rig.Punts.Take();
        for (ushort i = 0; i < 5; i++) Send(i);
        Assert.Equal(6, _rig.Plane.Drops(DropReason.NeighborUnresolved));
        List<Punted> punts = _rig.Punts.Take();
        Assert.Equal((5, 1),
            (punts.Count(p => p.Info.Reason == PuntReason.Unreachable), punts.Count(p => p.Info.Reason == PuntReason.NeighborNeeded)));
        _rig.Now += 1_000_000_000;
        Send(9);
        Assert.Contains(_rig.Punts.Take(), p => p.Info.Reason == PuntReason.NeighborNeeded);
    }

    [Fact]
    public void A_question_that_was_lost_is_asked_again()
    {
        _rig.Punts.Room = 0;
        Send(1);
        _rig.Punts.Room = 10;
        Send(2);
        Assert.Equal(PuntReason.NeighborNeeded, Assert.Single(_rig.Punts.Take()).Info.Reason);
    }

    [Fact]
    public void A_new_mac_address_is_used_at_once()
    {
        Send(1);
        Adjacency adjacency = _rig.Site.Neighbors.Find(s_server)!;
        adjacency.Resolve(ForwarderRig.HostMac);
        _rig.Forwarder.FlushNeighbor(adjacency, _rig.Now);
        Assert.False(adjacency.Resolve(ForwarderRig.PeAMac));
        Send(2);
        Assert.Equal([ForwarderRig.HostMac, ForwarderRig.PeAMac], _rig.SiteDevice.Sent().Select(f => MacAddress.Read(f.Bytes)));
    }

    [Fact]
    public void A_new_mac_address_during_a_flush_is_published_behind_what_was_taken_and_stays()
    {
        Adjacency adjacency = new(_rig.Site, s_server);
        using PacketBatch one = new(), taken = new();
        one.TryAdd(Packet(s_server, 1));
        Assert.Equal(Adjacency.WaitResult.First, adjacency.Wait(one[0], 1, out _));
        adjacency.Resolve(ForwarderRig.HostMac);
        Assert.True(adjacency.TryBeginFlush());
        Assert.Equal(1, adjacency.TakeWaiting(taken, out _));

        // The worker has the packet in its hands; the neighbour says another address.
        Assert.False(adjacency.Resolve(ForwarderRig.PeAMac));
        Assert.Null(adjacency.Rewrite);
        Assert.Equal(ForwarderRig.PeAMac, adjacency.Mac);
        Assert.Equal(Adjacency.WaitResult.First, adjacency.Wait(one[0], 2, out _));
        Assert.False(adjacency.TryBeginFlush());

        taken.Count = 0;
        Assert.Equal(1, adjacency.TakeWaiting(taken, out L2Rewrite? rewrite));
        Assert.Equal(ForwarderRig.PeAMac, rewrite!.Destination);
        taken.Count = 0;
        Assert.Equal(0, adjacency.TakeWaiting(taken, out _));
        Assert.Equal(ForwarderRig.PeAMac, adjacency.Rewrite!.Destination);
    }

    [Fact]
    public void A_neighbour_that_fails_during_a_flush_stays_unknown_and_the_next_answer_counts()
    {
        Adjacency adjacency = new(_rig.Site, s_server);
        using PacketBatch one = new(), taken = new();
        one.TryAdd(Packet(s_server, 1));
        adjacency.Wait(one[0], 1, out _);
        adjacency.Resolve(ForwarderRig.HostMac);
        Assert.True(adjacency.TryBeginFlush());
        Assert.Equal(1, adjacency.TakeWaiting(taken, out _));
        Assert.False(adjacency.Fail(NeighborState.Incomplete));
        taken.Count = 0;
        Assert.Equal(0, adjacency.TakeWaiting(taken, out _));
        Assert.Null(adjacency.Mac);
        Assert.False(adjacency.Resolve(ForwarderRig.PeBMac));
        Assert.Equal(ForwarderRig.PeBMac, adjacency.Rewrite!.Destination);
    }

    [Fact]
    public void Several_workers_and_a_control_loop_keep_the_order_of_each_flow()
    {
        const int PerFlow = 60, Rounds = 40;
        using ForwarderRig rig = new(workers: 3);
        for (int round = 0; round < Rounds; round++)
        {
            IpAddress server = IpAddress.FromV4(0x0A020300u + 100 + (uint)round);
            using Barrier start = new(4);
            Thread[] threads = [.. Enumerable.Range(0, 3).Select(worker => new Thread(() =>
            {
                using PacketBatch batch = new();
                start.SignalAndWait();
                for (int i = 0; i < PerFlow; i++)
                {
                    batch.TryAdd(rig.FromPeA(Packet(server, (ushort)((worker * 1000) + i))));
                    rig.Forwarders[worker].Process(batch, rig.Core.Index, 1);
                }
            }))];
            foreach (Thread thread in threads) thread.Start();
            start.SignalAndWait();
            Adjacency adjacency = rig.Site.Neighbors.GetOrAdd(server)!;
            Thread.Yield();
            adjacency.Resolve(ForwarderRig.HostMac);
            foreach (Thread thread in threads) thread.Join();
            for (int worker = 0; worker < 3; worker++) rig.Forwarders[worker].Poll(2);
            int[] sent = [.. rig.SiteDevice.Sent().Select(f => (f.Bytes[18] << 8) | f.Bytes[19])];
            Assert.Equal(3 * PerFlow, sent.Length);
            foreach (IGrouping<int, int> flow in sent.GroupBy(n => n / 1000))
                Assert.Equal(Enumerable.Range(0, PerFlow), flow.Select(n => n % 1000));
        }

        Assert.Equal((0L, 0L), (rig.Plane.Ledger.Imbalance, rig.Plane.DropsTotal));
    }

    [Fact]
    public void The_table_is_bounded()
    {
        NeighborTable table = _rig.Site.Neighbors;
        for (uint i = 0; table.Count < NeighborTable.MaxEntries; i++) Assert.NotNull(table.GetOrAdd(IpAddress.FromV4(0x0A030000 + i)));
        Send(1);
        Assert.Equal(1, _rig.Plane.Drops(DropReason.NeighborQueueFull));
        foreach (Adjacency adjacency in table.Snapshot().Where(a => a.Address.V4 >= 0x0A030000)) table.Remove(adjacency);
        Assert.NotNull(table.Find(ForwarderRig.Client4));
        Assert.Null(table.Find(IpAddress.FromV4(0x0A030001)));
        Send(1);
        Assert.NotNull(table.Find(s_server));
    }

    private void Send(ushort id) => _rig.Receive(_rig.Core, _rig.FromPeA(Packet(s_server, id)));

    private static byte[] Packet(IpAddress to, ushort id)
        => Frames.Ip(new Ipv4Header(ForwarderRig.Server4, to, IpProtocol.Udp, Identification: id), Frames.Bytes(20));

    private int[] Sent() => [.. _rig.SiteDevice.Sent().Select(f => (f.Bytes[18] << 8) | f.Bytes[19])];
}
