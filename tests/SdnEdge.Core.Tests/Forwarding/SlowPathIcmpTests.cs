using FsCheck.Xunit;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using Xunit;
using static SdnEdge.Core.Tests.Forwarding.SlowPathBench;

namespace SdnEdge.Core.Tests.Forwarding;

public class SlowPathIcmpTests
{
    private readonly SlowPathBench _b = new();

    [Theory]
    [InlineData("10.2.3.10", "10.1.1.1")]
    [InlineData("10.2.3.10", "10.255.0.1")]
    [InlineData("fd00:2:3::10", "fd00:1:1::1")]
    public void An_echo_request_is_answered_with_its_data_from_the_address_it_was_sent_to(string from, string to)
    {
        (IpAddress a, IpAddress b) = (IpAddress.Parse(from), IpAddress.Parse(to));
        byte[] body = Frames.Bytes(1000);
        Assert.Equal(SlowPathVerdict.Answered, Echo(a, b, body));
        IpPacketView ip = Parse(_b.TakeOriginated(), out IcmpView icmp);
        Assert.Equal((b, a), (ip.Source, ip.Destination));
        Assert.Equal(IcmpHeader.Echo(a.Family, true, 77, 8), icmp.Header);
        Assert.Equal(body, icmp.Body.ToArray());
    }

    /// <summary>Before, the probes of a migration's tunnel into a customer's VRF found no way back.</summary>
    [Theory]
    [InlineData("10.255.0.9", 0)]
    [InlineData("10.2.3.10", 3)]
    public void A_tunnels_probe_is_answered_where_its_ends_are_and_a_customers_echo_in_its_VRF(string source, int vrf)
    {
        using var core = new Core.Fib.Vrf(0, "default");
        using var red = new Core.Fib.Vrf(3, "red");
        IpAddress from = IpAddress.Parse(source);
        var options = new TunnelOptions("mig-m1", Loopback, IpAddress.Parse("10.255.0.9"), 5) { IsRedirect = true };
        var tunnel = new Tunnel(options, red, core, 1);
        byte[] echo = Frames.Ip(from, Loopback, IpProtocol.Icmp,
            Frames.Icmp(IcmpHeader.Echo(IpFamily.V4, false, 77, 8), from, Loopback, Frames.Bytes(40)));
        var info = new PuntInfo { Reason = PuntReason.LocalIcmp, Port = CorePort, Vrf = 3, Tunnel = tunnel };
        Assert.Equal(SlowPathVerdict.Answered, _b.SlowPath.Handle(info, echo, _b.Now, _b.Actions));
        Assert.Equal(vrf, Assert.Single(_b.Take()).Action.Vrf);
    }

    [Fact]
    public void An_echo_from_a_link_local_address_is_answered_on_the_link_it_came_from()
    {
        IpAddress from = IpAddress.Parse("fe80::77");
        Assert.Equal(SlowPathVerdict.Answered, Echo(from, Ipv6Addresses.AllNodes, Frames.Bytes(10)));
        byte[] frame = Assert.Single(_b.TakeFrames(Dc));
        Assert.Equal(HostMac, MacAddress.Read(frame));
        IpPacketView ip = Parse(frame[14..], out _);
        Assert.Equal((Ipv6Addresses.LinkLocal(DcMac), from), (ip.Source, ip.Destination));
    }

    [Fact]
    public void Echoes_that_must_not_be_answered()
    {
        Assert.Equal(SlowPathVerdict.AboutMulticast, Echo(Host, IpAddress.Parse("10.1.1.255"), []));
        Assert.Equal(SlowPathVerdict.AboutMulticast, Echo(Host, IpAddress.Parse("224.0.0.1"), []));
        Assert.Equal(SlowPathVerdict.AboutBadSource, Echo(IpAddress.Parse("10.1.1.255"), Gateway, []));
        Assert.Equal(SlowPathVerdict.AboutBadSource, Echo(IpAddress.Parse("224.0.0.5"), Gateway, []));
        Assert.Equal(SlowPathVerdict.AboutBadSource, Echo(IpAddress.Parse("::"), Gateway6, []));
        byte[] reply = Frames.Ip(ClientHost, Gateway, IpProtocol.Icmp,
            Frames.Icmp(IcmpHeader.Echo(IpFamily.V4, true, 1, 1), ClientHost, Gateway, []));
        Assert.Equal(SlowPathVerdict.Ignored, Local(reply));
        byte[] fragment = Frames.Ip(new Ipv4Header(ClientHost, Gateway, IpProtocol.Icmp, MoreFragments: true),
            Frames.Icmp(IcmpHeader.Echo(IpFamily.V4, false, 1, 1), ClientHost, Gateway, Frames.Bytes(8)));
        Assert.Equal(SlowPathVerdict.Fragment, Local(fragment));
        byte[] damaged = Frames.Ip(ClientHost, Gateway, IpProtocol.Icmp,
            Frames.Icmp(IcmpHeader.Echo(IpFamily.V4, false, 1, 1), ClientHost, Gateway, Frames.Bytes(8)));
        damaged[^1] ^= 1;
        Assert.Equal(SlowPathVerdict.BadChecksum, Local(damaged));
        Assert.Empty(_b.Take());
    }

    public static TheoryData<IcmpErrorKind, bool, byte, byte, uint> Errors => new()
    {
        { IcmpErrorKind.NoRoute, false, 3, 0, 0 },
        { IcmpErrorKind.NoRoute, true, 1, 0, 0 },
        { IcmpErrorKind.HostUnreachable, false, 3, 1, 0 },
        { IcmpErrorKind.HostUnreachable, true, 1, 3, 0 },
        { IcmpErrorKind.TooBig, false, 3, 4, 1476 },
        { IcmpErrorKind.TooBig, true, 2, 0, 1476 },
        { IcmpErrorKind.TimeExceeded, false, 11, 0, 0 },
        { IcmpErrorKind.TimeExceeded, true, 3, 0, 0 },
        { IcmpErrorKind.NoListener, false, 3, 3, 0 },
        { IcmpErrorKind.NoListener, true, 1, 4, 0 },
    };

    [Theory]
    [MemberData(nameof(Errors))]
    public void Each_error_has_its_type_and_code_quotes_the_packet_and_comes_from_the_ingress_port(IcmpErrorKind kind, bool v6, byte type,
        byte code, uint rest)
    {
        byte[] packet = Udp(v6, 100);
        Assert.Equal(SlowPathVerdict.Answered, _b.Error(kind, packet, mtu: 1476));
        IpPacketView ip = Parse(_b.TakeOriginated(), out IcmpView icmp);
        Assert.Equal(new IcmpHeader(type, code, rest), icmp.Header);
        Assert.Equal(packet, icmp.Body.ToArray());
        Assert.Equal(v6 ? Host6 : Host, ip.Destination);
        IpAddress own = kind == IcmpErrorKind.NoListener ? (v6 ? Client6 : ClientHost) : (v6 ? Gateway6 : Gateway);
        Assert.Equal(own, ip.Source);
        Assert.Equal(0xC0, ip.TrafficClass);
    }

    [Theory]
    [InlineData(false, 576)]
    [InlineData(true, 1280)]
    public void An_error_quotes_as_much_as_fits(bool v6, int size)
    {
        _b.Error(IcmpErrorKind.TooBig, Udp(v6, 3000), 1400);
        byte[] error = _b.TakeOriginated();
        Assert.Equal(size, error.Length);
        Parse(error, out IcmpView icmp);
        Assert.Equal(Udp(v6, 3000)[..icmp.Body.Length], icmp.Body.ToArray());
    }

    [Fact]
    public void A_packet_that_was_cut_for_the_control_loop_is_quoted_as_far_as_it_goes()
    {
        byte[] packet = Udp(false, 3000)[..200];
        Assert.Equal(SlowPathVerdict.Answered, _b.Error(IcmpErrorKind.TimeExceeded, packet));
        Parse(_b.TakeOriginated(), out IcmpView icmp);
        Assert.Equal(packet, icmp.Body.ToArray());
    }

    [Fact]
    public void An_MTU_below_what_every_link_carries_is_not_reported()
    {
        _b.Error(IcmpErrorKind.TooBig, Udp(true, 1400), 1000);
        Parse(_b.TakeOriginated(), out IcmpView icmp);
        Assert.Equal(1280, icmp.ReportedMtu(IpFamily.V6));
    }

    [Fact]
    public void A_packet_for_a_protocol_nobody_speaks()
    {
        _b.Error(IcmpErrorKind.NoListener, Frames.Ip(Host, Gateway, 99, Frames.Bytes(10)));
        Parse(_b.TakeOriginated(), out IcmpView v4);
        Assert.Equal(new IcmpHeader(Icmpv4Type.Unreachable, Icmpv4Type.Protocol), v4.Header);

        byte[] options = new byte[8];
        Ipv6OptionsHeader.Emit(options, 99, []);
        _b.Error(IcmpErrorKind.NoListener, Frames.Ip(Host6, Gateway6, IpProtocol.DestinationOptions, [.. options, 1, 2, 3]));
        Parse(_b.TakeOriginated(), out IcmpView v6);
        Assert.Equal(new IcmpHeader(Icmpv6Type.ParameterProblem, 1, 40), v6.Header); // points at the option header's next header
    }

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(11)]
    [InlineData(12)]
    public void No_error_about_an_ICMP_error(byte type)
    {
        byte[] error = Frames.Ip(Host, ClientHost, IpProtocol.Icmp, Frames.Icmp(new IcmpHeader(type, 0), Host, ClientHost, Udp(false, 20)));
        Assert.Equal(SlowPathVerdict.AboutIcmpError, _b.Error(IcmpErrorKind.TimeExceeded, error));
        Assert.Empty(_b.Take());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(100)]
    [InlineData(137)]
    public void No_error_about_an_ICMPv6_error_or_redirect(byte type)
    {
        byte[] error = Frames.Ip(Host6, Client6, IpProtocol.Icmpv6, Frames.Icmp(new IcmpHeader(type, 0), Host6, Client6, Udp(true, 20)));
        Assert.Equal(SlowPathVerdict.AboutIcmpError, _b.Error(IcmpErrorKind.TimeExceeded, error));
        Assert.Equal(SlowPathVerdict.AboutIcmpError, _b.Error(IcmpErrorKind.TooBig, error));
    }

    [Fact]
    public void An_error_about_an_echo_is_sent()
    {
        byte[] echo = Frames.Ip(Host, ClientHost, IpProtocol.Icmp,
            Frames.Icmp(IcmpHeader.Echo(IpFamily.V4, false, 1, 2), Host, ClientHost, []));
        Assert.Equal(SlowPathVerdict.Answered, _b.Error(IcmpErrorKind.TimeExceeded, echo));
    }

    [Fact]
    public void No_error_about_later_fragments_of_IPv4_and_about_the_first_there_is()
    {
        byte[] later = Frames.Ip(new Ipv4Header(Host, ClientHost, IpProtocol.Udp, FragmentOffset: 5), Frames.Bytes(99));
        Assert.Equal(SlowPathVerdict.AboutLaterFragment, _b.Error(IcmpErrorKind.TimeExceeded, later));
        byte[] first = Frames.Ip(new Ipv4Header(Host, ClientHost, IpProtocol.Udp, MoreFragments: true), Frames.Bytes(96));
        Assert.Equal(SlowPathVerdict.Answered, _b.Error(IcmpErrorKind.TimeExceeded, first));
    }

    [Theory]
    [InlineData("0.0.0.0")]
    [InlineData("0.1.2.3")]
    [InlineData("127.0.0.1")]
    [InlineData("224.0.0.1")]
    [InlineData("240.0.0.1")]
    [InlineData("255.255.255.255")]
    [InlineData("10.1.1.255")]
    [InlineData("::")]
    [InlineData("::1")]
    [InlineData("ff02::1")]
    public void No_error_to_a_source_that_is_no_single_host(string source)
    {
        IpAddress from = IpAddress.Parse(source), to = from.IsV4 ? ClientHost : Client6;
        byte[] packet = Frames.Ip(from, to, IpProtocol.Udp, Frames.Bytes(20));
        Assert.Equal(SlowPathVerdict.AboutBadSource, _b.Error(IcmpErrorKind.NoRoute, packet));
        Assert.Empty(_b.Take());
    }

    [Theory]
    [InlineData("224.0.0.9")]
    [InlineData("255.255.255.255")]
    [InlineData("10.1.1.255")]
    [InlineData("ff02::9")]
    public void No_error_about_multicast_and_broadcast(string destination)
    {
        IpAddress to = IpAddress.Parse(destination), from = to.IsV4 ? Host : Host6;
        byte[] packet = Frames.Ip(from, to, IpProtocol.Udp, Frames.Bytes(20));
        Assert.Equal(SlowPathVerdict.AboutMulticast, _b.Error(IcmpErrorKind.TimeExceeded, packet));
    }

    [Fact]
    public void No_error_about_a_frame_that_was_sent_to_all_on_the_link()
        => Assert.Equal(SlowPathVerdict.AboutMulticast, _b.Error(IcmpErrorKind.NoRoute, Udp(false, 9), to: MacAddress.Broadcast));

    [Fact]
    public void Packet_too_big_is_sent_about_IPv6_multicast()
    {
        byte[] packet = Frames.Ip(Host6, IpAddress.Parse("ff0e::9"), IpProtocol.Udp, Frames.Bytes(1500));
        Assert.Equal(SlowPathVerdict.Answered, _b.Error(IcmpErrorKind.TooBig, packet, 1400, to: MacAddress.Parse("33:33:00:00:00:09")));
        Assert.Equal(Gateway6, Parse(_b.TakeOriginated(), out _).Source);
    }

    [Fact]
    public void Without_an_address_on_the_port_a_loopback_speaks_and_without_any_nobody()
    {
        _b.SlowPath.SetPort(new SlowPathPort(8, 0, OtherMac), _b.Actions);
        Assert.Equal(SlowPathVerdict.Answered, _b.Error(IcmpErrorKind.NoRoute, Udp(false, 9), port: 8));
        Assert.Equal(Loopback, Parse(_b.TakeOriginated(), out _).Source);
        _b.SlowPath.SetLoopbacks(0, []);
        Assert.Equal(SlowPathVerdict.NoSourceAddress, _b.Error(IcmpErrorKind.NoRoute, Udp(false, 9), port: 8));
        Assert.Empty(_b.Take());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(999_983)]
    [InlineData(3_141_592)]
    public void Errors_of_a_class_come_at_most_at_their_rate_and_classes_do_not_starve_one_another(long step)
    {
        SlowPathBench b = new(new SlowPathOptions { ErrorsPerSecond = 50, ErrorBurst = 10 });
        long start = b.Now;
        long calls = Math.Max(2000, 4 * Second / step);
        if (step == 1) calls = 2000;
        int sent = 0;
        for (int i = 0; i < calls; i++, b.Now += step)
        {
            if (b.Error(IcmpErrorKind.TimeExceeded, Udp(false, 9)) == SlowPathVerdict.Answered) sent++;
            b.Actions.Clear();
        }

        double seconds = (b.Now - step - start) / (double)Second;
        Assert.InRange(sent, (int)(10 + (50 * seconds)) - 1, (int)(10 + (50 * seconds)) + 1);
        Assert.Equal(calls - sent, b.SlowPath.Count(SlowPathVerdict.RateLimited));
        Assert.Equal(SlowPathVerdict.Answered, b.Error(IcmpErrorKind.TooBig, Udp(false, 9), 1400));
    }

    [Fact]
    public void A_reported_path_MTU_is_passed_on()
    {
        byte[] ours = Frames.Ip(Loopback, IpAddress.Parse("10.255.0.2"), IpProtocol.Gre, Frames.Bytes(1500));
        byte[] error = Frames.Ip(IpAddress.Parse("172.16.0.9"), Loopback, IpProtocol.Icmp,
            Frames.Icmp(IcmpHeader.TooBig(IpFamily.V4, 1450), IpAddress.Parse("172.16.0.9"), Loopback, ours[..60]));
        Assert.Equal(SlowPathVerdict.Noted, Local(error));
        (SlowPathAction action, _) = Assert.Single(_b.Take());
        Assert.Equal((SlowPathActionKind.PathMtu, IpAddress.Parse("10.255.0.2"), 1450), (action.Kind, action.Address, action.Mtu));
        Assert.Equal((Loopback, IpAddress.Parse("172.16.0.9"), false), (action.Source, action.SaidBy, action.IsUdp));
    }

    // The eight bytes behind the IP header that every router quotes (RFC 792) have the key.
    [Fact]
    public void The_key_of_the_packet_is_read_from_the_least_quote()
    {
        IpAddress router = IpAddress.Parse("172.16.0.9"), peer = IpAddress.Parse("10.255.0.2");
        byte[] ours = Frames.Ip(Loopback, peer, IpProtocol.Gre, Frames.Gre(new GreHeader(EtherType.Ipv4, Key: 77), Frames.Bytes(1500)));
        Assert.Equal(SlowPathVerdict.Noted, Local(Frames.Ip(router, Loopback, IpProtocol.Icmp,
            Frames.Icmp(IcmpHeader.TooBig(IpFamily.V4, 1400), router, Loopback, ours[..28]))));
        Assert.Equal(77u, Assert.Single(_b.Take()).Action.Key);
    }

    [Fact]
    public void A_packet_that_is_said_to_be_too_big_must_be_bigger_than_what_is_said_to_fit()
    {
        IpAddress router = IpAddress.Parse("172.16.0.9");
        byte[] ours = Frames.Ip(Loopback, IpAddress.Parse("10.255.0.2"), IpProtocol.Gre, Frames.Bytes(1300));
        Assert.Equal(SlowPathVerdict.Malformed, Local(Frames.Ip(router, Loopback, IpProtocol.Icmp,
            Frames.Icmp(IcmpHeader.TooBig(IpFamily.V4, 1320), router, Loopback, ours[..60]))));
        Assert.Empty(_b.Take());
    }

    [Fact]
    public void A_reported_path_MTU_about_a_packet_we_did_not_send_is_not_believed_and_one_too_small_is_raised()
    {
        IpAddress router = IpAddress.Parse("172.16.0.9"), peer = IpAddress.Parse("10.255.0.2");
        byte[] Report(IpAddress quotedSource, int mtu) => Frames.Ip(router, Loopback, IpProtocol.Icmp,
            Frames.Icmp(IcmpHeader.TooBig(IpFamily.V4, mtu), router, Loopback,
                Frames.Ip(quotedSource, peer, IpProtocol.Gre, Frames.Bytes(1480))));
        Assert.Equal(SlowPathVerdict.Malformed, Local(Report(Host, 1400)));
        Assert.Empty(_b.Take());
        Assert.Equal(SlowPathVerdict.Noted, Local(Report(Loopback, 10)));
        Assert.Equal(68, Assert.Single(_b.Take()).Action.Mtu);
    }

    // Two routers that answer one another's errors would never stop.
    [Property(MaxTest = 1000)]
    public void An_error_is_always_sound_never_too_long_and_never_begets_an_error(int which, byte kind, int cut,
        (ushort At, byte Value)[] changes)
    {
        IReadOnlyList<byte[]> sound = Frames.OneOfEach();
        byte[] frame = [.. sound[(int)((uint)which % sound.Count)]];
        foreach ((ushort at, byte value) in changes) frame[14 + (at % Math.Min(frame.Length - 14, 60))] = value;
        SlowPathBench b = new();
        SlowPathVerdict verdict =
            b.SlowPath.Error((IcmpErrorKind)(kind % 5), Dc, 0, frame.AsSpan(0, frame.Length - (int)((uint)cut % 20)), 14, 1400,
                b.Now, b.Actions);
        List<(SlowPathAction Action, byte[] Bytes)> actions = b.Take();
        Assert.Equal(verdict == SlowPathVerdict.Answered ? 1 : 0, actions.Count);
        if (actions.Count == 0) return;
        byte[] error = actions[0].Action.Kind == SlowPathActionKind.Originate ? actions[0].Bytes : actions[0].Bytes[14..];
        Assert.True(IpPacketView.TryParse(error, out IpPacketView ip));
        if (ip.Protocol == IpProtocol.Tcp)
        {
            // A closed port's reset (SlowPathTcpTests).
            Assert.Equal(IcmpErrorKind.NoListener, (IcmpErrorKind)(kind % 5));
            Assert.True(TcpView.TryParse(ip.Payload, out TcpView tcp) && tcp.ChecksumIsValid(ip.Source, ip.Destination)
                && (tcp.Flags & TcpFlags.Rst) != 0);
            Assert.NotEqual(SlowPathVerdict.Answered, b.Error(IcmpErrorKind.NoListener, error));
            return;
        }

        ip = Parse(error, out IcmpView icmp);
        Assert.InRange(error.Length, 28, ip.Family == IpFamily.V4 ? 576 : 1280);
        Assert.True(ip.Family == IpFamily.V4 ? Icmpv4Type.IsError(icmp.Type) : Icmpv6Type.IsError(icmp.Type));
        Assert.False(ip.Destination.IsMulticast || ip.Source.IsMulticast || ip.Source.Bits == 0 || ip.Destination.Bits == 0);
        for (int again = 0; again < 5; again++) Assert.NotEqual(SlowPathVerdict.Answered, b.Error((IcmpErrorKind)again, error, 1400));
    }

    private static byte[] Udp(bool v6, int payload) => v6
        ? Frames.Ip(Host6, Client6, IpProtocol.Udp, Frames.Udp(Host6, Client6, 1, 2, Frames.Bytes(payload)))
        : Frames.Ip(Host, ClientHost, IpProtocol.Udp, Frames.Udp(Host, ClientHost, 1, 2, Frames.Bytes(payload)));

    private SlowPathVerdict Echo(IpAddress from, IpAddress to, byte[] body)
        => Local(Frames.Ip(from, to, from.IsV4 ? IpProtocol.Icmp : IpProtocol.Icmpv6,
            Frames.Icmp(IcmpHeader.Echo(from.Family, false, 77, 8), from, to, body)));

    private SlowPathVerdict Local(byte[] packet)
        => _b.SlowPath.LocalIcmp(Dc, 0, Frames.Ethernet(EtherType.Ipv4, packet, from: HostMac), 14, _b.Now, _b.Actions);

    private static IpPacketView Parse(byte[] packet, out IcmpView icmp)
    {
        Assert.True(IpPacketView.TryParse(packet, out IpPacketView ip));
        if (ip.Family == IpFamily.V4) Assert.True(Ipv4View.TryParse(packet, out Ipv4View v4) && v4.ChecksumIsValid);
        Assert.True(ip.IsIcmp);
        Assert.True(IcmpView.TryParse(ip.Payload, out icmp) && icmp.ChecksumIsValid(ip.Source, ip.Destination));
        return ip;
    }
}
