using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using Xunit;
using static SdnEdge.Core.Tests.Forwarding.SlowPathBench;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>TCP to an address of the router where no kernel listens. Before, an ICMP error was sent, which a connection survives.</summary>
public sealed class SlowPathTcpTests
{
    private readonly SlowPathBench _b = new();

    [Theory]
    [InlineData("10.1.1.10", "10.1.1.1")]
    [InlineData("10.2.3.10", "10.255.0.1")]
    [InlineData("fd00:1:1::10", "fd00:1:1::1")]
    public void A_closed_port_answers_a_SYN_with_a_reset_that_acknowledges_it(string from, string to)
    {
        (IpAddress a, IpAddress b) = (IpAddress.Parse(from), IpAddress.Parse(to));
        Assert.Equal(SlowPathVerdict.Answered, Refuse(a, b, new TcpHeader(4000, 179, 0xFFFF_FFFF, 0, TcpFlags.Syn, 1000)));
        Assert.Equal(new TcpHeader(179, 4000, 0, 0, TcpFlags.Rst | TcpFlags.Ack, 0), Read(_b.TakeOriginated(), b, a));
    }

    [Fact]
    public void A_segment_that_acknowledges_is_answered_with_a_reset_of_the_number_it_awaits()
    {
        Assert.Equal(SlowPathVerdict.Answered,
            Refuse(Host, Gateway, new TcpHeader(4000, 179, 5, 77, TcpFlags.Ack | TcpFlags.Psh, 1000), Frames.Bytes(30)));
        Assert.Equal(new TcpHeader(179, 4000, 77, 0, TcpFlags.Rst, 0), Read(_b.TakeOriginated(), Gateway, Host));
    }

    [Fact]
    public void Data_and_FIN_count_also_where_the_notice_was_cut()
    {
        byte[] packet = Segment(Host, Gateway, new TcpHeader(4000, 179, 100, 0, TcpFlags.Fin, 1000), Frames.Bytes(1400));
        Assert.Equal(SlowPathVerdict.Answered, _b.Error(IcmpErrorKind.NoListener, packet[..1280]));
        Assert.Equal(100u + 1400 + 1, Read(_b.TakeOriginated(), Gateway, Host).Acknowledgement);
    }

    [Fact]
    public void A_reset_and_a_damaged_segment_are_answered_with_nothing()
    {
        Assert.Equal(SlowPathVerdict.Ignored, Refuse(Host, Gateway, new TcpHeader(4000, 179, 1, 0, TcpFlags.Rst, 0)));
        byte[] damaged = Segment(Host, Gateway, new TcpHeader(4000, 179, 1, 0, TcpFlags.Syn, 0), []);
        damaged[^1] ^= 1;
        Assert.Equal(SlowPathVerdict.BadChecksum, _b.Error(IcmpErrorKind.NoListener, damaged));
        Assert.Equal(SlowPathVerdict.Malformed,
            _b.Error(IcmpErrorKind.NoListener, Frames.Ip(Host, Gateway, IpProtocol.Tcp, Frames.Bytes(19))));
        Assert.Empty(_b.Take());
    }

    [Fact]
    public void A_link_local_host_is_answered_on_its_link()
    {
        (IpAddress from, IpAddress to) = (IpAddress.Parse("fe80::77"), Ipv6Addresses.LinkLocal(DcMac));
        Assert.Equal(SlowPathVerdict.Answered, Refuse(from, to, new TcpHeader(4000, 179, 9, 0, TcpFlags.Syn, 0)));
        byte[] frame = Assert.Single(_b.TakeFrames(Dc));
        Assert.Equal(HostMac, MacAddress.Read(frame));
        Assert.Equal(10u, Read(frame[14..], to, from).Acknowledgement);
    }

    [Fact]
    public void Resets_are_no_more_than_other_errors_in_a_second()
    {
        int answered = 0;
        for (int i = 0; i < 200; i++)
        {
            if (Refuse(Host, Gateway, new TcpHeader((ushort)i, 179, 1, 0, TcpFlags.Syn, 0)) == SlowPathVerdict.Answered) answered++;
        }

        Assert.Equal(100, answered);
    }

    private SlowPathVerdict Refuse(IpAddress from, IpAddress to, TcpHeader header, byte[]? payload = null)
        => _b.Error(IcmpErrorKind.NoListener, Segment(from, to, header, payload ?? []));

    private static byte[] Segment(IpAddress from, IpAddress to, TcpHeader header, byte[] payload)
        => Frames.Ip(from, to, IpProtocol.Tcp, Frames.Tcp(from, to, header, payload));

    private static TcpHeader Read(byte[] packet, IpAddress from, IpAddress to)
    {
        Assert.True(IpPacketView.TryParse(packet, out IpPacketView ip));
        Assert.Equal((from, to), (ip.Source, ip.Destination));
        Assert.True(TcpView.TryParse(ip.Payload, out TcpView tcp));
        Assert.True(tcp.ChecksumIsValid(from, to));
        return tcp.Header;
    }
}
