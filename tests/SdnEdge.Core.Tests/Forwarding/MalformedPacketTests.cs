using System.Buffers.Binary;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>Each kind of broken frame by name: it is dropped, for its own reason, and nothing else happens.</summary>
public sealed class MalformedPacketTests : IDisposable
{
    private readonly ForwarderRig _rig = new();

    public void Dispose() => _rig.Dispose();

    public static TheoryData<string, DropReason> Cases() => new()
    {
        { "a frame shorter than its ethernet header", DropReason.FrameTruncated },
        { "an empty frame", DropReason.FrameTruncated },
        { "a frame for another mac", DropReason.NotForUs },
        { "an unknown ethertype", DropReason.UnknownEtherType },
        { "a vlan that is not configured", DropReason.UnknownEtherType },
        { "a truncated vlan tag", DropReason.FrameTruncated },
        { "ipv4 shorter than its header", DropReason.IpTruncated },
        { "ipv4 with version 5", DropReason.IpHeaderInvalid },
        { "ipv4 with ihl 4", DropReason.IpHeaderInvalid },
        { "ipv4 with ihl beyond the frame", DropReason.IpTruncated },
        { "ipv4 with a total length below its header", DropReason.IpHeaderInvalid },
        { "ipv4 with a total length beyond the frame", DropReason.IpTruncated },
        { "ipv4 with a bad checksum", DropReason.IpChecksum },
        { "ipv4 with ttl 0", DropReason.TtlExpired },
        { "ipv4 with ttl 1", DropReason.TtlExpired },
        { "ipv4 from 127.0.0.1", DropReason.Martian },
        { "ipv4 from 0.0.0.0", DropReason.Martian },
        { "ipv4 from 224.0.0.5", DropReason.Martian },
        { "ipv4 from 255.255.255.255", DropReason.Martian },
        { "ipv4 from 169.254.1.1", DropReason.Martian },
        { "ipv4 to 127.0.0.1", DropReason.Martian },
        { "ipv4 to 0.1.2.3", DropReason.Martian },
        { "ipv4 to 240.0.0.1", DropReason.Martian },
        { "ipv4 to 224.0.0.1", DropReason.NotForwardedMulticast },
        { "ipv4 to 255.255.255.255", DropReason.NotForwardedMulticast },
        { "ipv4 to the subnet broadcast", DropReason.NotForwardedMulticast },
        { "ipv4 unicast in a broadcast frame", DropReason.NotForwardedMulticast },
        { "ipv6 shorter than its header", DropReason.IpTruncated },
        { "ipv6 with version 4", DropReason.IpHeaderInvalid },
        { "ipv6 with a payload length beyond the frame", DropReason.IpTruncated },
        { "ipv6 with hop limit 0", DropReason.TtlExpired },
        { "ipv6 with hop limit 1", DropReason.TtlExpired },
        { "ipv6 from ::1", DropReason.Martian },
        { "ipv6 from ::", DropReason.Martian },
        { "ipv6 from ff02::1", DropReason.Martian },
        { "ipv6 from fe80::1", DropReason.Martian },
        { "ipv6 to ::1", DropReason.Martian },
        { "ipv6 to ::ffff:10.0.0.1", DropReason.Martian },
        { "ipv6 to fe80::1234", DropReason.Martian },
        { "ipv6 to ff0e::1", DropReason.NotForwardedMulticast },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Is_dropped_for_its_own_reason(string name, DropReason reason)
    {
        byte[] frame = Frame(name);
        _rig.Receive(_rig.Site, frame);
        Assert.Equal(1, _rig.Plane.Drops(reason));
        Assert.Equal(1, _rig.Plane.DropsTotal);
        Assert.Equal(1, _rig.Site.Drops);
        Assert.Equal(0, _rig.CoreDevice.SentCount + _rig.SiteDevice.SentCount);
        Assert.Equal(0, _rig.Plane.Ledger.Imbalance);
    }

    [Fact]
    public void A_valid_frame_beside_them_is_forwarded()
    {
        foreach (string name in Cases().Select(c => (string)c[0]))
            _rig.Receive(_rig.Site, Frame(name), _rig.FromClient(RoutingTests.Udp4()));
        Assert.Equal(Cases().Count, _rig.CoreDevice.SentCount);
    }

    private byte[] Frame(string name)
    {
        byte[] v4 = _rig.FromClient(RoutingTests.Udp4());
        byte[] v6 = _rig.FromClient(Frames.Ip(ForwarderRig.Client6, ForwarderRig.Server6, IpProtocol.Udp, Frames.Bytes(20)));
        switch (name)
        {
            case "a frame shorter than its ethernet header": return v4[..13];
            case "an empty frame": return [];
            case "a frame for another mac": return ForwarderRig.Ethernet(ForwarderRig.PeBMac, ForwarderRig.ClientMac, v4[14..]);
            case "an unknown ethertype": return Frames.Ethernet(0x88CC, Frames.Bytes(40), to: _rig.Site.Mac);
            case "a vlan that is not configured": return Frames.Ethernet(EtherType.Ipv4, v4[14..], vlan: 7, to: _rig.Site.Mac);
            case "a truncated vlan tag": return Frames.Ethernet(EtherType.Vlan, Frames.Bytes(3), to: _rig.Site.Mac);
            case "ipv4 shorter than its header": return v4[..(14 + 19)];
            case "ipv4 with version 5": return With(v4, 14, 0x55);
            case "ipv4 with ihl 4": return With(v4, 14, 0x44);
            case "ipv4 with ihl beyond the frame": return With(v4[..(14 + 24)], 14, 0x4F);
            case "ipv4 with a total length below its header": return Sum(With(With(v4, 16, 0), 17, 19));
            case "ipv4 with a total length beyond the frame": return Sum(With(v4, 17, (byte)(v4.Length - 13)));
            case "ipv4 with a bad checksum": return With(v4, 24, (byte)(v4[24] ^ 1));
            case "ipv4 with ttl 0": return Sum(With(v4, 22, 0));
            case "ipv4 with ttl 1": return Sum(With(v4, 22, 1));
            case "ipv4 to the subnet broadcast": return Addresses(v4, "10.2.3.10", "172.16.0.255");
            case "ipv4 unicast in a broadcast frame": return ForwarderRig.Ethernet(MacAddress.Broadcast, ForwarderRig.ClientMac, v4[14..]);
            case "ipv6 shorter than its header": return v6[..(14 + 39)];
            case "ipv6 with version 4": return With(v6, 14, 0x40);
            case "ipv6 with a payload length beyond the frame": return With(v6, 19, 21);
            case "ipv6 with hop limit 0": return With(v6, 21, 0);
            case "ipv6 with hop limit 1": return With(v6, 21, 1);
        }

        string[] words = name.Split(' ');
        bool isV4 = words[0] == "ipv4";
        string client = isV4 ? "10.2.3.10" : "fd00:2:3::10", server = isV4 ? "10.1.1.10" : "fd00:1:1::10";
        return words[1] == "from" ? Addresses(isV4 ? v4 : v6, words[2], server) : Addresses(isV4 ? v4 : v6, client, words[2]);
    }

    private static byte[] Addresses(byte[] frame, string source, string destination)
    {
        byte[] next = [.. frame];
        bool v4 = next[14] >> 4 == 4;
        IpAddress.Parse(source).Write(next.AsSpan(v4 ? 26 : 22));
        IpAddress.Parse(destination).Write(next.AsSpan(v4 ? 30 : 38));
        return v4 ? Sum(next) : next;
    }

    private static byte[] With(byte[] frame, int at, byte value)
    {
        byte[] next = [.. frame];
        next[at] = value;
        return next;
    }

    private static byte[] Sum(byte[] frame)
    {
        frame[24] = frame[25] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(24), Checksum.Compute(frame.AsSpan(14, 20)));
        return frame;
    }
}
