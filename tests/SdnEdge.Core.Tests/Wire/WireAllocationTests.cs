using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Wire;

/// <summary>Views, emitters, checksums and the segmenter allocate nothing; the control shows that the measure sees an allocation.</summary>
public class WireAllocationTests
{
    [Fact]
    public void Reading_every_format_allocates_nothing()
    {
        IReadOnlyList<byte[]> frames = Frames.OneOfEach();
        int sink = 0;
        Assert.Equal(0, Allocated(() =>
        {
            for (int i = 0; i < frames.Count; i++) sink += Read(frames[i]);
        }));
        Assert.NotEqual(0, sink);
    }

    [Fact]
    public void Splitting_a_superpacket_allocates_nothing()
    {
        using PacketBatch source = new(), destination = new();
        byte[] super = Frames.Ethernet(EtherType.Ipv4, Frames.Ip(Frames.A4, Frames.B4, IpProtocol.Tcp,
            Frames.Tcp(Frames.A4, Frames.B4, new TcpHeader(1, 2, 3, 4, TcpFlags.Ack, 5), new byte[30_000])));
        source.TryAdd(super, new VnetHeader { GsoType = VnetHeader.GsoTcpV4, GsoSize = 1448 });
        Assert.Equal(0, Allocated(() =>
        {
            destination.Count = 0;
            if (Segmenter.TryBegin(source[0], out SegmentJob job)) job.Fill(destination);
        }));
        Assert.Equal(21, destination.Count);
    }

    [Fact]
    public void Answering_an_ARP_request_or_an_echo_and_sending_an_error_allocate_nothing_once_warm()
    {
        SlowPath slow = new(new SlowPathOptions { ErrorsPerSecond = int.MaxValue, EchoesPerSecond = int.MaxValue });
        SlowPathActions actions = new();
        slow.SetPort(new SlowPathPort(0, 0, Frames.MacB) { Addresses = [(Frames.B4, 24)] }, actions);
        byte[] arp = Frames.Ethernet(EtherType.Arp,
            Frames.Arp(new ArpPacket(ArpOperation.Request, Frames.MacA, Frames.A4, default, Frames.B4)));
        byte[] echo = Frames.Ethernet(EtherType.Ipv4, Frames.Ip(Frames.A4, Frames.B4, IpProtocol.Icmp,
            Frames.Icmp(IcmpHeader.Echo(IpFamily.V4, false, 1, 2), Frames.A4, Frames.B4, Frames.Bytes(500))));
        long now = 0;
        Assert.Equal(0, Allocated(() =>
        {
            now += 1_000_000_000;
            slow.Arp(0, arp, 14, now, actions);
            slow.LocalIcmp(0, 0, echo, 14, now, actions);
            slow.Error(IcmpErrorKind.TimeExceeded, 0, 0, echo, 14, 0, now, actions);
            actions.Clear();
        }));
        Assert.True(slow.Count(SlowPathVerdict.Answered) >= 3000);
    }

    [Fact]
    public void The_measure_sees_an_allocation()
    {
        object? kept = null;
        Assert.True(Allocated(() => kept = new byte[10]) >= 1000 * 10);
        Assert.NotNull(kept);
    }

    private static long Allocated(Action action)
    {
        for (int i = 0; i < 10; i++) action();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++) action();
        return GC.GetAllocatedBytesForCurrentThread() - before;
    }

    private static int Read(ReadOnlySpan<byte> frame)
    {
        if (!EthernetView.TryParse(frame, out EthernetView ethernet)) return 0;
        int sink = (int)ethernet.Source.Value + ethernet.Header.Length;
        if (ArpView.TryParse(ethernet.Payload, out ArpView arp)) sink += (int)arp.Packet.Sender.V4;
        if (!IpPacketView.TryParse(ethernet.Payload, out IpPacketView ip)) return sink;
        sink += (int)FlowHash.Of(ip.Bytes) + (int)ip.PseudoSum;
        if (Ipv4View.TryParse(ip.Bytes, out Ipv4View v4))
        {
            sink += v4.ChecksumIsValid ? v4.Header.Ttl : 0;
            for (Ipv4OptionWalk walk = new(v4.Options); walk.MoveNext();) sink += walk.Type;
        }

        if (UdpView.TryParse(ip.Payload, out UdpView udp))
            sink += udp.Header.DestinationPort + (udp.ChecksumIsValid(ip.Source, ip.Destination) ? 1 : 0);
        if (TcpView.TryParse(ip.Payload, out TcpView tcp)) sink += tcp.Header.Window + (tcp.MaximumSegmentSize ?? 0);
        if (GreView.TryParse(ip.Payload, out GreView gre)) sink += (int)(gre.Header.Key ?? 0) + (gre.ChecksumIsValid ? 1 : 0);
        if (IcmpView.TryParse(ip.Payload, out IcmpView icmp))
            sink += icmp.Header.Type + (icmp.ChecksumIsValid(ip.Source, ip.Destination) ? 1 : 0);
        if (NdpView.TryParse(ip.Payload, out NdpView nd)) sink += (int)nd.Neighbor.Flags + nd.Router.LifetimeSeconds;
        Span<byte> to = stackalloc byte[64];
        sink += new EthernetHeader(Frames.MacA, Frames.MacB, EtherType.Ipv4, 5)
            .Emit(to) + new GreHeader(EtherType.Ipv4, true, 5, 6).Emit(to);
        return sink + new Ipv4Header(Frames.A4, Frames.B4, 1).Emit(to, 44) + new UdpHeader(1, 2).Emit(to, Frames.A6, Frames.B6);
    }
}
