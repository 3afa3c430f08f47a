using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Core.Tests.Forwarding.SlowPathBench;

namespace SdnEdge.Core.Tests.Forwarding;

public class SlowPathArpTests
{
    private readonly SlowPathBench _b = new();

    [Fact]
    public void A_request_for_an_address_of_the_port_is_answered_and_the_asker_learnt()
    {
        Assert.Equal(SlowPathVerdict.Answered, _b.Arp(ArpOperation.Request, HostMac, Host, Gateway));
        List<(SlowPathAction Action, byte[] Bytes)> actions = _b.Take();
        Assert.Equal((SlowPathActionKind.NeighborChanged, Host, HostMac, NeighborState.Stale),
            (actions[0].Action.Kind, actions[0].Action.Address, actions[0].Action.Mac, actions[0].Action.State));
        Assert.True(EthernetView.TryParse(actions[1].Bytes, out EthernetView frame));
        Assert.Equal((HostMac, DcMac, EtherType.Arp), (frame.Destination, frame.Source, frame.Type));
        Assert.True(ArpView.TryParse(frame.Payload, out ArpView arp));
        Assert.Equal(new ArpPacket(ArpOperation.Reply, DcMac, Gateway, HostMac, Host), arp.Packet);
        Assert.Equal(Dc, actions[1].Action.Port);
    }

    [Fact]
    public void A_request_for_an_address_of_another_port_is_not_answered()
    {
        Assert.Equal(SlowPathVerdict.Ignored, _b.Arp(ArpOperation.Request, HostMac, Host, CoreAddress));
        Assert.Empty(_b.Take());
    }

    // A route says that it is on the link: 192.0.2.9/32, port dc. Its answers were not believed, and it stayed unreachable.
    [Fact]
    public void A_neighbour_outside_the_ports_subnets_is_believed_when_it_was_asked_for()
    {
        IpAddress outside = IpAddress.Parse("192.0.2.9");
        Assert.Equal(SlowPathVerdict.Ignored, _b.Arp(ArpOperation.Reply, OtherMac, outside, Gateway));
        _b.SlowPath.Resolve(Dc, outside, _b.Now, _b.Actions);
        _b.Take();
        Assert.Equal(SlowPathVerdict.Noted, _b.Arp(ArpOperation.Reply, OtherMac, outside, Gateway));
        Assert.Equal((OtherMac, NeighborState.Reachable), (_b.Find(outside)!.Value.Mac, _b.StateOf(outside)));
    }

    [Fact]
    public void For_a_host_that_is_elsewhere_the_router_answers_and_learns_who_asked()
    {
        IpAddress asker = IpAddress.Parse("10.1.1.20");
        Assert.Equal(SlowPathVerdict.Ignored, _b.Arp(ArpOperation.Request, OtherMac, asker, Host));
        _b.Elsewhere.Add(Host);
        Assert.Equal(SlowPathVerdict.Answered, _b.Arp(ArpOperation.Request, OtherMac, asker, Host));
        Assert.Equal(OtherMac, _b.Find(asker)!.Value.Mac);
        byte[] frame = Assert.Single(_b.TakeFrames(Dc));
        Assert.True(ArpView.TryParse(frame.AsSpan(14), out ArpView arp));
        Assert.Equal(new ArpPacket(ArpOperation.Reply, DcMac, Host, OtherMac, asker), arp.Packet);

        // Whoever is about to take the address, and the host itself, hears nothing.
        Assert.Equal(SlowPathVerdict.Ignored, _b.Arp(ArpOperation.Request, OtherMac, IpAddress.Parse("0.0.0.0"), Host));
        Assert.Equal(SlowPathVerdict.Ignored, _b.Arp(ArpOperation.Request, HostMac, Host, Host));
        Assert.Empty(_b.TakeFrames(Dc));
    }

    [Fact]
    public void Where_a_host_is_reached_is_announced_in_its_place()
    {
        _b.SlowPath.Announce(Dc, Host, null, _b.Actions);
        _b.SlowPath.Announce(Dc, Host, HostMac, _b.Actions);
        ArpPacket[] said = [.. _b.TakeFrames(Dc).Select(f => ArpView.TryParse(f.AsSpan(14), out ArpView arp) ? arp.Packet : default)];
        Assert.Equal([new ArpPacket(ArpOperation.Request, DcMac, Host, default, Host),
            new ArpPacket(ArpOperation.Request, HostMac, Host, default, Host)], said);
    }

    [Fact]
    public void A_probe_is_answered_and_nobody_learnt()
    {
        Assert.Equal(SlowPathVerdict.Answered, _b.Arp(ArpOperation.Request, HostMac, IpAddress.Parse("0.0.0.0"), Gateway));
        Assert.Single(_b.TakeFrames(Dc));
        Assert.Empty(_b.SlowPath.Neighbors);
    }

    [Fact]
    public void A_gratuitous_ARP_moves_a_known_neighbour_and_creates_none()
    {
        Assert.Equal(SlowPathVerdict.Ignored, _b.Arp(ArpOperation.Request, OtherMac, Host, Host));
        Assert.Empty(_b.SlowPath.Neighbors);

        _b.Arp(ArpOperation.Request, HostMac, Host, Gateway);
        _b.Take();
        Assert.Equal(SlowPathVerdict.Noted, _b.Arp(ArpOperation.Request, OtherMac, Host, Host));
        Assert.Equal(OtherMac, _b.Find(Host)!.Value.Mac);
        (SlowPathAction action, _) = Assert.Single(_b.Take());
        Assert.Equal((SlowPathActionKind.NeighborChanged, OtherMac), (action.Kind, action.Mac));
    }

    [Fact]
    public void A_gratuitous_ARP_resolves_a_neighbour_that_is_waited_for_or_has_failed()
    {
        _b.SlowPath.Resolve(Dc, Host, _b.Now, _b.Actions);
        _b.Take();
        _b.Arp(ArpOperation.Reply, HostMac, Host, Host);
        Assert.Equal(HostMac, Assert.Single(_b.Take()).Action.Mac);

        SlowPathBench failed = new();
        failed.SlowPath.Resolve(Dc, Host, failed.Now, failed.Actions);
        while (failed.StateOf(Host) != NeighborState.Failed)
            failed.SlowPath.Poll(failed.Now = failed.SlowPath.NextDeadline, failed.Actions);
        failed.Arp(ArpOperation.Reply, HostMac, Host, Host);
        Assert.Equal((HostMac, NeighborState.Stale), (failed.Find(Host)!.Value.Mac, failed.StateOf(Host)));
    }

    [Theory]
    [InlineData("192.0.2.9")] // not of the subnet
    [InlineData("10.1.1.255")] // its broadcast address
    [InlineData("10.1.1.0")]
    public void A_sender_that_cannot_be_on_the_link_is_not_learnt(string sender)
    {
        _b.Arp(ArpOperation.Request, HostMac, IpAddress.Parse(sender), Gateway);
        Assert.Empty(_b.SlowPath.Neighbors);
    }

    [Fact]
    public void Somebody_with_our_address_is_counted_and_not_learnt()
    {
        Assert.Equal(SlowPathVerdict.AddressConflict, _b.Arp(ArpOperation.Request, HostMac, Gateway, Gateway));
        Assert.Equal(1, _b.SlowPath.Count(SlowPathVerdict.AddressConflict));
        Assert.Empty(_b.Take());
    }

    [Theory]
    [InlineData("ff:ff:ff:ff:ff:ff")]
    [InlineData("01:00:5e:00:00:01")]
    [InlineData("00:00:00:00:00:00")]
    public void A_group_or_zero_hardware_address_is_never_learnt(string mac)
    {
        Assert.Equal(SlowPathVerdict.Malformed, _b.Arp(ArpOperation.Reply, MacAddress.Parse(mac), Host, Gateway));
        Assert.Empty(_b.SlowPath.Neighbors);
    }

    // The clock is looked at only at odd times: what is due between two looks is done at the later one, and nothing twice.
    [Theory]
    [InlineData(1_000_003)]
    [InlineData(7_777_777)]
    [InlineData(99_999_999)]
    public void An_unresolved_neighbour_is_asked_for_four_times_and_then_fails(long step)
    {
        long start = _b.Now;
        Assert.Equal(SlowPathVerdict.Answered, _b.SlowPath.Resolve(Dc, Host, _b.Now, _b.Actions));
        List<double> asked = [];
        double failedAt = 0;
        for (; _b.Now < start + (4 * Second); _b.Now += step)
        {
            _b.SlowPath.Poll(_b.Now, _b.Actions);
            foreach ((SlowPathAction action, byte[] bytes) in _b.Take())
            {
                double at = (_b.Now - start) / (double)Second;
                if (action.Kind == SlowPathActionKind.SendFrame)
                {
                    asked.Add(at);
                    Assert.True(EthernetView.TryParse(bytes, out EthernetView frame));
                    Assert.Equal(MacAddress.Broadcast, frame.Destination);
                    Assert.True(ArpView.TryParse(frame.Payload, out ArpView arp));
                    Assert.Equal(new ArpPacket(ArpOperation.Request, DcMac, Gateway, default, Host), arp.Packet);
                }
                else if (action.State == NeighborState.Failed)
                {
                    failedAt = at;
                }
            }

            if (failedAt > 0) break;
        }

        double late = 4.0 * step / Second;
        Assert.Equal(4, asked.Count);
        Assert.InRange(asked[1], 0.1, 0.1 + late);
        Assert.InRange(asked[2], 1.1, 1.1 + late);
        Assert.InRange(asked[3], 2.1, 2.1 + late);
        Assert.InRange(failedAt, 3.1, 3.1 + late);
        Assert.Equal(4, _b.SlowPath.SolicitationsSent);
    }

    [Fact]
    public void A_failed_neighbour_is_left_alone_for_a_while_then_forgotten_and_can_be_forced()
    {
        _b.SlowPath.Resolve(Dc, Host, _b.Now, _b.Actions);
        while (_b.StateOf(Host) != NeighborState.Failed) _b.SlowPath.Poll(_b.Now = _b.SlowPath.NextDeadline, _b.Actions);
        _b.Take();
        Assert.Equal(SlowPathVerdict.Ignored, _b.SlowPath.Resolve(Dc, Host, _b.Now + 1, _b.Actions));
        Assert.Empty(_b.Take());
        Assert.Equal(SlowPathVerdict.Answered, _b.SlowPath.Resolve(Dc, Host, _b.Now + 2, _b.Actions, force: true));
        Assert.Single(_b.TakeFrames(Dc));

        while (_b.Find(Host) is not null) _b.SlowPath.Poll(_b.Now = _b.SlowPath.NextDeadline, _b.Actions);
        (SlowPathAction last, _) = _b.Take()[^1];
        Assert.Equal((NeighborState.Incomplete, null), (last.State, last.Mac));
        Assert.Equal(long.MaxValue, _b.SlowPath.NextDeadline);
    }

    [Fact]
    public void A_reply_makes_it_reachable_ageing_probes_it_by_unicast_and_an_answer_keeps_it()
    {
        _b.SlowPath.Resolve(Dc, Host, _b.Now, _b.Actions);
        _b.Arp(ArpOperation.Reply, HostMac, Host, Gateway);
        Assert.Equal(NeighborState.Reachable, _b.StateOf(Host));
        _b.Take();
        for (int round = 0; round < 3; round++)
        {
            long age = _b.SlowPath.NextDeadline - _b.Now;
            Assert.InRange(age, 15 * Second, 45 * Second);
            _b.SlowPath.Poll(_b.Now + age - 1, _b.Actions);
            Assert.Empty(_b.Take());
            _b.SlowPath.Poll(_b.Now += age + 13, _b.Actions);
            byte[] probe = Assert.Single(_b.TakeFrames(Dc));
            Assert.True(EthernetView.TryParse(probe, out EthernetView frame));
            Assert.Equal(HostMac, frame.Destination);
            Assert.Equal(NeighborState.Probe, _b.StateOf(Host));
            _b.Arp(ArpOperation.Reply, HostMac, Host, Gateway);
            Assert.Equal(NeighborState.Reachable, _b.StateOf(Host));
            _b.Take();
        }
    }

    [Fact]
    public void A_neighbour_that_does_not_answer_its_probes_is_asked_for_by_broadcast_and_then_fails()
    {
        _b.Arp(ArpOperation.Reply, HostMac, Host, Gateway);
        _b.Take();
        List<MacAddress> to = [];
        while (_b.Find(Host) is { State: not NeighborState.Failed })
        {
            _b.SlowPath.Poll(_b.Now = _b.SlowPath.NextDeadline, _b.Actions);
            to.AddRange(_b.TakeFrames(Dc).Select(f => MacAddress.Read(f)));
        }

        Assert.Equal([HostMac, HostMac, MacAddress.Broadcast], to);
        Assert.Null(_b.Find(Host)!.Value.Mac);
    }

    [Fact]
    public void A_neighbour_only_heard_of_is_confirmed_after_five_seconds()
    {
        _b.Arp(ArpOperation.Request, HostMac, Host, Gateway);
        _b.Take();
        Assert.Equal(_b.Now + (5 * Second), _b.SlowPath.NextDeadline);
        _b.SlowPath.Poll(_b.Now + (5 * Second), _b.Actions);
        Assert.Equal(HostMac, MacAddress.Read(Assert.Single(_b.TakeFrames(Dc))));
    }

    [Fact]
    public void A_scan_cannot_crowd_out_hosts_that_speak_to_us()
    {
        SlowPathBench b = new(new SlowPathOptions { MaxNeighborsPerPort = 40, MaxIncompletePerPort = 10 });
        for (int i = 20; i < 250; i++) b.SlowPath.Resolve(Dc, IpAddress.FromV4(0x0A010100u + (uint)i), b.Now, b.Actions);
        Assert.Equal(10, b.SlowPath.Neighbors.Count());
        Assert.Equal(220, b.SlowPath.Count(SlowPathVerdict.TableFull));
        while (b.SlowPath.Neighbors.Any()) b.SlowPath.Poll(b.Now = b.SlowPath.NextDeadline, b.Actions);
        b.SlowPath.Resolve(Dc, Host, b.Now, b.Actions);
        b.Arp(ArpOperation.Reply, HostMac, Host, Gateway);
        Assert.Equal(NeighborState.Reachable, b.StateOf(Host));
    }

    [Fact]
    public void Ports_keep_their_neighbours_apart_and_take_them_along()
    {
        IpAddress peer = IpAddress.Parse("172.16.0.2");
        _b.Arp(ArpOperation.Request, HostMac, Host, Gateway);
        _b.Arp(ArpOperation.Request, OtherMac, peer, CoreAddress, CorePort);
        _b.Take();
        _b.SlowPath.RemovePort(Dc, _b.Actions);
        Assert.Equal((Dc, Host), (_b.Actions.Items[0].Port, _b.Actions.Items[0].Address));
        Assert.Equal(peer, Assert.Single(_b.SlowPath.Neighbors).Address);
        Assert.Equal(SlowPathVerdict.UnknownPort, _b.Arp(ArpOperation.Request, HostMac, Host, Gateway));
    }

    [Fact]
    public void A_tagged_port_sends_tagged_frames()
    {
        _b.SlowPath.SetPort(new SlowPathPort(9, 0, DcMac) { Addresses = [(Gateway, 24)], Vlan = 100 }, _b.Actions);
        _b.Arp(ArpOperation.Request, HostMac, Host, Gateway, port: 9);
        Assert.True(EthernetView.TryParse(Assert.Single(_b.TakeFrames(9)), out EthernetView frame));
        Assert.Equal(((ushort)100, EtherType.Arp), (frame.Vlan!.Value, frame.Type));
    }

    [Fact]
    public void A_port_that_answers_for_all_answers_anybodys_request_but_not_a_probe()
    {
        _b.SlowPath.SetPort(new SlowPathPort(9, 0, DcMac) { AnswersForAll = true }, _b.Actions);
        Assert.Equal(SlowPathVerdict.Answered, _b.Arp(ArpOperation.Request, HostMac, Loopback, ClientHost, port: 9));
        Assert.Single(_b.TakeFrames(9));
        Assert.Equal(SlowPathVerdict.Ignored, _b.Arp(ArpOperation.Request, HostMac, IpAddress.Parse("0.0.0.0"), ClientHost, port: 9));
        Assert.Equal(SlowPathVerdict.Ignored, _b.Arp(ArpOperation.Request, HostMac, ClientHost, ClientHost, port: 9));
    }

    [Fact]
    public void Announcing_tells_the_link_of_every_address()
    {
        _b.SlowPath.Announce(Dc, _b.Actions);
        List<byte[]> frames = _b.TakeFrames(Dc);
        Assert.Equal(2, frames.Count);
        Assert.True(EthernetView.TryParse(frames[0], out EthernetView first) && ArpView.TryParse(first.Payload, out ArpView arp)
            && arp.Packet == new ArpPacket(ArpOperation.Request, DcMac, Gateway, default, Gateway)
                && first.Destination == MacAddress.Broadcast);
        Assert.Equal(MacAddress.Parse("33:33:00:00:00:01"), MacAddress.Read(frames[1]));
    }

    // A server is about to arrive: nobody answers for a minute, then it announces itself.
    [Fact]
    public void A_watched_neighbour_is_asked_for_once_a_second_never_fails_and_is_known_the_moment_it_speaks_up()
    {
        long start = _b.Now;
        _b.SlowPath.Watch(Dc, Host, _b.Now, _b.Actions);
        for (; _b.Now < start + (60 * Second); _b.Now += 33_333_331) _b.SlowPath.Poll(_b.Now, _b.Actions);
        List<(SlowPathAction Action, byte[] Bytes)> actions = _b.Take();
        Assert.All(actions, a => Assert.Equal(SlowPathActionKind.SendFrame, a.Action.Kind));
        Assert.InRange(actions.Count, 58, 62);

        _b.Arp(ArpOperation.Request, HostMac, Host, Host);
        (SlowPathAction known, _) = Assert.Single(_b.Take());
        Assert.Equal((HostMac, NeighborState.Stale), (known.Mac, known.State));

        // It leaves again without a word: its probes are not answered, and it is waited for anew.
        while (_b.StateOf(Host) != NeighborState.Incomplete) _b.SlowPath.Poll(_b.Now = _b.SlowPath.NextDeadline, _b.Actions);
        Assert.Equal((NeighborState.Incomplete, null), (_b.Take()[^1].Action.State, _b.Find(Host)!.Value.Mac));
        _b.SlowPath.Unwatch(Dc, Host);
        while (_b.Find(Host) is not null) _b.SlowPath.Poll(_b.Now = _b.SlowPath.NextDeadline, _b.Actions);
        Assert.Equal(long.MaxValue, _b.SlowPath.NextDeadline);
    }

    [Fact]
    public void Watching_a_neighbour_that_has_failed_starts_anew()
    {
        _b.SlowPath.Resolve(Dc, Host, _b.Now, _b.Actions);
        while (_b.StateOf(Host) != NeighborState.Failed) _b.SlowPath.Poll(_b.Now = _b.SlowPath.NextDeadline, _b.Actions);
        _b.Take();
        Assert.Equal(SlowPathVerdict.Answered, _b.SlowPath.Watch(Dc, Host, _b.Now, _b.Actions));
        Assert.Single(_b.TakeFrames(Dc));
    }

    [Fact]
    public void Being_confirmed_a_hundred_thousand_times_costs_no_memory()
    {
        for (int i = 0; i < 1000; i++, _b.Now += 7) _b.Arp(ArpOperation.Reply, HostMac, Host, Gateway);
        _b.Actions.Clear();
        byte[] frame = Frames.Ethernet(EtherType.Arp, Frames.Arp(new ArpPacket(ArpOperation.Reply, HostMac, Host, DcMac, Gateway)));
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100_000; i++, _b.Now += 7) _b.SlowPath.Arp(Dc, frame, 14, _b.Now, _b.Actions);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.InRange(_b.SlowPath.NextDeadline, _b.Now + (15 * Second) - 7, _b.Now + (45 * Second));
    }

    [Fact]
    public void Handle_gives_each_punt_to_the_part_that_answers_it()
    {
        byte[] packet = Frames.Ip(Host, ClientHost, IpProtocol.Udp, Frames.Udp(Host, ClientHost, 1, 2, Frames.Bytes(30)));
        byte[] frame = Frames.Ethernet(EtherType.Ipv4, packet, to: DcMac, from: HostMac);
        (PuntReason Reason, byte Type, byte Code)[] errors =
            [(PuntReason.TtlExpired, 11, 0), (PuntReason.TooBig, 3, 4), (PuntReason.NoRoute, 3, 0), (PuntReason.Unreachable, 3, 1),
                (PuntReason.NoListener, 3, 3)];
        foreach ((PuntReason reason, byte type, byte code) in errors)
        {
            PuntInfo info = new() { Reason = reason, Port = Dc, L3Offset = 14, Mtu = 1400 };
            Assert.Equal(SlowPathVerdict.Answered, _b.SlowPath.Handle(info, frame, _b.Now, _b.Actions));
            Assert.True(IpPacketView.TryParse(_b.TakeOriginated(), out IpPacketView ip) && IcmpView.TryParse(ip.Payload, out IcmpView icmp)
                && (icmp.Type, icmp.Code) == (type, code));
        }

        byte[] arp = Frames.Ethernet(EtherType.Arp, Frames.Arp(new ArpPacket(ArpOperation.Request, HostMac, Host, default, Gateway)));
        Assert.Equal(SlowPathVerdict.Answered,
            _b.SlowPath.Handle(new PuntInfo { Reason = PuntReason.Arp, Port = Dc, L3Offset = 14 }, arp, _b.Now, _b.Actions));

        DataPlane plane = new(1);
        PortEntry port = plane.AddPort(new PortOptions("dc", DcMac, 1500) { Addresses = [new PortAddress(Gateway, 24)] },
            new MemoryPort("dc"), plane.AddVrf("default"));
        SlowPath slow = new();
        slow.SetPort(SlowPathPort.From(port), _b.Actions);
        _b.Actions.Clear();
        PuntInfo needed = new() { Reason = PuntReason.NeighborNeeded, Port = port.Index, Adjacency = port.Neighbors.GetOrAdd(Host) };
        Assert.Equal(SlowPathVerdict.Answered, slow.Handle(needed, frame, _b.Now, _b.Actions));
        Assert.Single(_b.TakeFrames(port.Index));
        Tunnel tunnel = new(new TunnelOptions("t", Loopback, ClientHost), port.Vrf, port.Vrf, 1);
        PuntInfo inside = new() { Reason = PuntReason.Nd, Port = Dc, L3Offset = 14, Tunnel = tunnel };
        Assert.Equal(SlowPathVerdict.BadHopLimit, _b.SlowPath.Handle(inside, frame, _b.Now, _b.Actions));
        Assert.Equal(SlowPathVerdict.Ignored,
            slow.Handle(new PuntInfo { Reason = PuntReason.TunnelProbeReply }, frame, _b.Now, _b.Actions));
    }

    [Fact]
    public void Arbitrary_bytes_never_throw()
    {
        Random random = new(7);
        for (int i = 0; i < 20_000; i++)
        {
            byte[] frame = new byte[random.Next(80)];
            random.NextBytes(frame);
            int l3 = random.Next(-2, 90);
            _b.SlowPath.Arp(Dc, frame, l3, _b.Now, _b.Actions);
            _b.SlowPath.NeighborDiscovery(Dc, frame, l3, _b.Now, _b.Actions);
            _b.SlowPath.LocalIcmp(Dc, 0, frame, l3, _b.Now, _b.Actions);
            _b.SlowPath.Error((IcmpErrorKind)(i % 5), Dc, 0, frame, l3, random.Next(), _b.Now, _b.Actions);
            _b.Actions.Clear();
        }

        Assert.True(_b.SlowPath.Count(SlowPathVerdict.Malformed) > 70_000);
    }
}
