using System.Buffers.Binary;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>Superpackets and partial checksums: passed whole where possible, taken apart where not, never believed.</summary>
public sealed class OffloadTests
{
    private const int Mss = 1000;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_superpacket_is_routed_whole(bool v6)
    {
        using ForwarderRig rig = new();
        (byte[] ip, VnetHeader vnet) = Tcp(v6, 10_000);
        vnet.HdrLen = 9999; // a hint that nobody may trust
        rig.ReceiveOne(rig.Site, rig.FromClient(ip), vnet);
        TestFrame sent = Assert.Single(rig.CoreDevice.Sent());
        Assert.Equal(TunnelTests.Routed(ip), sent.Bytes[14..]);
        Assert.Equal(vnet with { HdrLen = 0 }, sent.Vnet);
        Assert.Equal(0, rig.Plane.Ledger.Imbalance);
    }

    [Fact]
    public void Offsets_follow_the_ethernet_header_that_is_put_on()
    {
        using ForwarderRig rig = new();
        (byte[] ip, VnetHeader vnet) = Tcp(false, 5000);
        PortEntry vlan = rig.Plane.AddPort(new PortOptions("core.7", rig.Core.Mac, 1500) { Vlan = 7, Parent = rig.Core },
            rig.CoreDevice, rig.Vrf);
        rig.Route("10.1.1.10/32", ForwardingDecision.Via(rig.Resolve(vlan, ForwarderRig.PeA4, ForwarderRig.PeAMac)));
        rig.ReceiveOne(rig.Site, rig.FromClient(ip), vnet);
        TestFrame sent = Assert.Single(rig.CoreDevice.Sent());
        Assert.Equal(vnet.CsumStart + 4, sent.Vnet.CsumStart);
        Assert.True(EthernetView.TryParse(sent.Bytes, out EthernetView view));
        Assert.Equal((7, EtherType.Ipv4), ((int)view.Vlan!, view.Type));

        // And back in by the same VLAN.
        byte[] reply = Frames.Ethernet(EtherType.Ipv4,
            Frames.Ip(ForwarderRig.Server4, ForwarderRig.Client4, 17, Frames.Bytes(20)), 7, rig.Core.Mac);
        rig.Receive(rig.Core, reply);
        Assert.Equal(1, rig.SiteDevice.SentCount);
        Assert.Equal(1, vlan.RxPackets);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_device_that_cannot_segment_gets_whole_segments(bool v6)
    {
        using ForwarderRig rig = new(segmentsForUs: false);
        (byte[] ip, VnetHeader vnet) = Tcp(v6, 150_000 % 60_000);
        rig.ReceiveOne(rig.Site, rig.FromClient(ip), vnet);
        AssertSegments(rig.CoreDevice.Sent().Select(f => (f.Bytes[14..], f.Vnet)), ip, v6);
        Assert.Equal(0, rig.Plane.Ledger.Imbalance);
    }

    [Fact]
    public void A_device_that_cannot_complete_checksums_gets_whole_ones()
    {
        using ForwarderRig rig = new(segmentsForUs: false);
        (byte[] ip, VnetHeader vnet) = Tcp(false, 100);
        vnet.GsoType = 0;
        rig.ReceiveOne(rig.Site, rig.FromClient(ip), vnet);
        TestFrame sent = Assert.Single(rig.CoreDevice.Sent());
        Assert.Equal(default, sent.Vnet);
        Assert.True(TcpView.TryParse(sent.Bytes.AsSpan(34), out TcpView tcp)
            && tcp.ChecksumIsValid(ForwarderRig.Client4, ForwarderRig.Server4));
    }

    [Theory]
    [InlineData(false, TunnelEncapsulation.Gre)]
    [InlineData(true, TunnelEncapsulation.Gre)]
    [InlineData(false, TunnelEncapsulation.GreInUdp)]
    public void Into_a_tunnel_goes_each_segment_with_whole_checksums(bool v6, TunnelEncapsulation kind)
    {
        using ForwarderRig rig = new();
        Tunnel tunnel = rig.Plane.AddTunnel(TunnelTests.Options() with { Key = 1, Encapsulation = kind }, rig.Vrf, rig.Vrf);
        tunnel.Up = true;
        rig.Route(v6 ? "fd00:1:1::10/128" : "10.1.1.10/32", ForwardingDecision.Through(tunnel));
        (byte[] ip, VnetHeader vnet) = Tcp(v6, 64_000);
        rig.ReceiveOne(rig.Site, rig.FromClient(ip), vnet);
        AssertSegments(rig.CoreDevice.Sent().Select(f => (f.Bytes[(14 + tunnel.HeaderBytes)..], f.Vnet)), ip, v6);
        Assert.Equal(64, tunnel.TxPackets);
        Assert.Equal(0, rig.Plane.Ledger.Imbalance);
    }

    [Fact]
    public void A_superpacket_whose_segments_are_too_big_is_told_and_without_df_fragmented()
    {
        using ForwarderRig rig = new(coreMtu: 900);
        (byte[] ip, VnetHeader vnet) = Tcp(false, 5000, df: true);
        rig.ReceiveOne(rig.Site, rig.FromClient(ip), vnet);
        Assert.Equal((PuntReason.TooBig, 900), (rig.Punts.Take().Single().Info.Reason, (int)900));
        (ip, vnet) = Tcp(false, 5000);
        rig.ReceiveOne(rig.Site, rig.FromClient(ip), vnet);
        byte[][] pieces = [.. rig.CoreDevice.Sent().Select(f => f.Bytes[14..])];
        Assert.Equal(10, pieces.Length); // five segments, two fragments each
        List<(byte[], VnetHeader)> segments = [.. pieces.Chunk(2).Select(pair => (FragmentTests.Reassemble(pair), default(VnetHeader)))];
        AssertSegments(segments, ip, false);
        Assert.Equal(0, rig.Plane.Ledger.Imbalance);
    }

    [Fact]
    public void A_superpacket_that_came_wrapped_passes_whole_with_its_offsets_shifted()
    {
        using ForwarderRig rig = new();
        rig.Plane.AddTunnel(TunnelTests.Options() with { Key = 1, Encapsulation = TunnelEncapsulation.GreInUdp }, rig.Vrf, rig.Vrf);
        (byte[] ip, VnetHeader vnet) = Tcp(false, 9000);
        byte[] wrapped = Frames.Ip(ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, IpProtocol.Udp,
            Frames.GreInUdpDatagram(new GreHeader(EtherType.Ipv4, Key: 1), ForwarderRig.PeBLoopback4, ForwarderRig.Loopback4, ip));
        vnet.CsumStart += 20 + 8 + 8;
        rig.ReceiveOne(rig.Core, rig.FromPeA(wrapped), vnet);
        TestFrame sent = Assert.Single(rig.CoreDevice.Sent());
        Assert.Equal((TunnelTests.Routed(ip).Length, 34, VnetHeader.GsoTcpV4),
            (sent.Bytes.Length - 14, sent.Vnet.CsumStart, sent.Vnet.GsoType));
        Assert.Equal(TunnelTests.Routed(ip), sent.Bytes[14..]);
    }

    public static TheoryData<string> Lies() =>
    [
        "csum_start before the ip header", "csum_start inside the ip header", "csum_start beyond the frame", "csum_start at the payload",
        "csum_offset of udp", "csum_offset beyond the frame", "no needs_csum", "gso_size 0", "gso_size 1", "tcpv6 on ipv4", "udp on tcp",
        "ufo", "an unknown type", "data offset 0", "data offset beyond the frame", "a fragment", "an icmp superpacket",
        "a truncated tcp header",
        "an arp superpacket",
    ];

    [Theory]
    [MemberData(nameof(Lies))]
    public void A_superpacket_with_lying_headers_is_dropped(string lie)
    {
        foreach (bool software in new[] { false, true })
        {
            using ForwarderRig rig = new(segmentsForUs: !software);
            (byte[] ip, VnetHeader v) = Tcp(false, 5000);
            switch (lie)
            {
                case "csum_start before the ip header": v.CsumStart = 13; break;
                case "csum_start inside the ip header": v.CsumStart = 20; break;
                case "csum_start beyond the frame": v.CsumStart = 60_000; break;
                case "csum_start at the payload": v.CsumStart += 20; break;
                case "csum_offset of udp": v.CsumOffset = 6; break;
                case "csum_offset beyond the frame": v.CsumOffset = 60_000; break;
                case "no needs_csum": v.Flags = 0; break;
                case "gso_size 0": v.GsoSize = 0; break;
                case "gso_size 1": v.GsoSize = 1; break;
                case "tcpv6 on ipv4": v.GsoType = VnetHeader.GsoTcpV6; break;
                case "udp on tcp": v.GsoType = VnetHeader.GsoUdpL4; break;
                case "ufo": v.GsoType = VnetHeader.GsoUdp; break;
                case "an unknown type": v.GsoType = 0x2A; break;
                case "data offset 0": ip[32] = 0; break;
                case "data offset beyond the frame": (ip, v) = Tcp(false, 10); ip[32] = 0xF0; v.GsoSize = 5; break;
                case "a fragment": Header(ip, h => h with { MoreFragments = true }); break;
                case "an icmp superpacket": Header(ip, h => h with { Protocol = IpProtocol.Icmp }); break;
                case "a truncated tcp header": ip = ip[..30]; Header(ip, h => h); break;
            }

            byte[] frame = lie == "an arp superpacket" ? Frames.Ethernet(EtherType.Arp, ip, to: rig.Site.Mac) : rig.FromClient(ip);
            rig.ReceiveOne(rig.Site, frame, v);
            Assert.Equal((1, 1), (rig.Plane.Drops(DropReason.OffloadInvalid), rig.Plane.DropsTotal));
            Assert.Equal((0, 0L), (rig.CoreDevice.SentCount, rig.Plane.Ledger.Imbalance));
        }
    }

    [Fact]
    public void A_superpacket_of_one_segment_becomes_an_ordinary_frame()
    {
        using ForwarderRig rig = new();
        (byte[] ip, VnetHeader vnet) = Tcp(false, 500);
        rig.ReceiveOne(rig.Site, rig.FromClient(ip), vnet);
        Assert.Equal(VnetHeader.GsoNone, Assert.Single(rig.CoreDevice.Sent()).Vnet.GsoType);
    }

    // A superpacket as the kernel hands it over: TCP checksum = pseudo header only.
    internal static (byte[] Ip, VnetHeader Vnet) Tcp(bool v6, int payload, bool df = false)
    {
        IpAddress from = v6 ? ForwarderRig.Client6 : ForwarderRig.Client4, to = v6 ? ForwarderRig.Server6 : ForwarderRig.Server4;
        byte[] segment = Frames.Tcp(from, to, new TcpHeader(5000, 7, 1_000_000, 2, TcpFlags.Ack | TcpFlags.Psh, 512),
            [.. Enumerable.Range(0, payload).Select(i => (byte)(i * 7))]);
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(16), (ushort)Checksum.Pseudo(from, to, IpProtocol.Tcp, segment.Length));
        return (Frames.Ip(from, to, IpProtocol.Tcp, segment, df: df), new VnetHeader
        {
            Flags = VnetHeader.NeedsCsum, GsoType = v6 ? VnetHeader.GsoTcpV6 : VnetHeader.GsoTcpV4, GsoSize = Mss,
            CsumStart = (ushort)(14 + (v6 ? 40 : 20)), CsumOffset = 16,
        });
    }

    private static void Header(byte[] ip, Func<Ipv4Header, Ipv4Header> change)
    {
        Ipv4Header header = new(ForwarderRig.Client4, ForwarderRig.Server4, IpProtocol.Tcp);
        change(header).Emit(ip, ip.Length - 20);
    }

    private static void AssertSegments(IEnumerable<(byte[] Ip, VnetHeader Vnet)> segments, byte[] superpacket, bool v6)
    {
        int l4 = v6 ? 40 : 20;
        List<byte> payload = [];
        uint sequence = 1_000_000;
        foreach ((byte[] ip, VnetHeader vnet) in segments)
        {
            Assert.Equal(default, vnet);
            Assert.Equal(superpacket[v6 ? 7 : 8] - 1, ip[v6 ? 7 : 8]);
            if (!v6) Assert.True(Ipv4View.TryParse(ip, out Ipv4View view) && view.ChecksumIsValid);
            Assert.True(TcpView.TryParse(ip.AsSpan(l4), out TcpView tcp));
            Assert.True(tcp.ChecksumIsValid(v6 ? ForwarderRig.Client6 : ForwarderRig.Client4,
                v6 ? ForwarderRig.Server6 : ForwarderRig.Server4));
            Assert.Equal(sequence, tcp.Sequence);
            sequence += (uint)tcp.Payload.Length;
            payload.AddRange(tcp.Payload);
        }

        Assert.Equal(superpacket[(l4 + 20)..], payload);
    }
}
