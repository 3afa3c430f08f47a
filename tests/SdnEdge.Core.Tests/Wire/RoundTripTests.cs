using FsCheck.Xunit;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Wire;

/// <summary>parse(emit(x)) = x for every format, with checksums that add up.</summary>
public class RoundTripTests
{
    [Property]
    public void Ethernet(ulong to, ulong from, ushort type, ushort? vlan, byte[] payload)
    {
        if (type == EtherType.Vlan) type = EtherType.Ipv4; // a second tag is the payload's business
        EthernetHeader header = new(Mac(to), Mac(from), type, vlan);
        byte[] frame = Frames.Ethernet(type, payload, vlan, Mac(to), Mac(from));
        Assert.True(EthernetView.TryParse(frame, out EthernetView view));
        Assert.Equal(header, view.Header);
        Assert.Equal(payload, view.Payload.ToArray());
    }

    [Property]
    public void Arp(ushort operation, ulong senderMac, uint sender, ulong targetMac, uint target, byte[] padding)
    {
        ArpPacket packet = new((ArpOperation)operation, Mac(senderMac), IpAddress.FromV4(sender), Mac(targetMac), IpAddress.FromV4(target));
        Assert.True(ArpView.TryParse([.. Frames.Arp(packet), .. padding], out ArpView view));
        Assert.Equal(packet, view.Packet);
    }

    [Property]
    public void Ipv4(uint source, uint destination, (byte Protocol, byte Ttl, byte Tos) b, ushort id, (bool Df, bool Mf, ushort Offset) f,
        byte[] options, byte[] payload)
    {
        options = options[..Math.Min(options.Length, Ipv4Header.MaxOptions)];
        Ipv4Header header = new(IpAddress.FromV4(source), IpAddress.FromV4(destination), b.Protocol, b.Ttl, b.Tos, id, f.Df, f.Mf,
            (ushort)(f.Offset & 0x1FFF));
        byte[] packet = Frames.Ip(header, payload, options);
        Assert.True(Ipv4View.TryParse([.. packet, 0xEE, 0xEE], out Ipv4View view));
        Assert.Equal(header, view.Header);
        Assert.True(view.ChecksumIsValid);
        Assert.Equal(payload, view.Payload.ToArray());
        Assert.Equal(options, view.Options[..options.Length].ToArray());
        Assert.Equal(packet, view.Bytes.ToArray());
        Assert.Equal(f.Mf || (f.Offset & 0x1FFF) != 0, view.IsFragment);
    }

    [Property]
    public void Ipv6(ulong s, ulong d, byte next, byte hops, byte trafficClass, uint label, byte[] payload)
    {
        Ipv6Header header = new(V6(s, d), V6(d, s), next, hops, trafficClass, label & 0xFFFFF);
        byte[] packet = Frames.Ip(header, payload);
        Assert.True(Ipv6View.TryParse([.. packet, 0xEE], out Ipv6View view));
        Assert.Equal(header, view.Header);
        Assert.Equal(payload, view.Payload.ToArray());
    }

    [Property]
    public void Ipv6_with_extension_headers(ushort offset, bool more, uint id, byte[] options, byte[] payload)
    {
        options = [.. options.Take(200)];
        Ipv6FragmentHeader fragment = new(IpProtocol.Udp, (ushort)(offset & 0x1FFF), more, id);
        byte[] hop = new byte[Ipv6OptionsHeader.LengthWith(options.Length)];
        Ipv6OptionsHeader.Emit(hop, IpProtocol.DestinationOptions, options);
        byte[] destination = new byte[Ipv6OptionsHeader.LengthWith(options.Length)];
        Ipv6OptionsHeader.Emit(destination, IpProtocol.Fragment, options);
        byte[] f = new byte[8];
        fragment.Emit(f);
        Assert.True(Ipv6FragmentHeader.TryParse(f, out Ipv6FragmentHeader parsed));
        Assert.Equal(fragment, parsed);

        byte[] packet = Frames.Ip(Frames.A6, Frames.B6, IpProtocol.HopByHop, [.. hop, .. destination, .. f, .. payload]);
        Assert.True(IpPacketView.TryParse(packet, out IpPacketView view));
        Assert.Equal(IpProtocol.Udp, view.Protocol);
        Assert.Equal(payload, view.Payload.ToArray());
        Assert.Equal(fragment.Offset != 0, view.IsLaterFragment);
        Assert.Equal(fragment.Offset != 0 || more, view.IsFragment);
    }

    [Property]
    public void Udp(ushort from, ushort to, byte[] payload, bool v6)
    {
        (IpAddress a, IpAddress b) = v6 ? (Frames.A6, Frames.B6) : (Frames.A4, Frames.B4);
        Assert.True(UdpView.TryParse(Frames.Udp(a, b, from, to, payload), out UdpView view));
        Assert.Equal(new UdpHeader(from, to), view.Header);
        Assert.Equal(payload, view.Payload.ToArray());
        Assert.NotEqual(0, view.ChecksumField);
        Assert.True(view.ChecksumIsValid(a, b));
    }

    [Property]
    public void Tcp((ushort From, ushort To) ports, uint sequence, uint acknowledgement, TcpFlags flags, (ushort Window, ushort Urgent) w,
        byte[] options, byte[] payload, bool v6)
    {
        options = options[..Math.Min(options.Length, TcpHeader.MaxOptions)];
        (IpAddress a, IpAddress b) = v6 ? (Frames.A6, Frames.B6) : (Frames.A4, Frames.B4);
        TcpHeader header = new(ports.From, ports.To, sequence, acknowledgement, flags, w.Window, w.Urgent);
        Assert.True(TcpView.TryParse(Frames.Tcp(a, b, header, payload, options), out TcpView view));
        Assert.Equal(header, view.Header);
        Assert.Equal(payload, view.Payload.ToArray());
        Assert.Equal(options, view.Options[..options.Length].ToArray());
        Assert.True(view.ChecksumIsValid(a, b));
    }

    [Property]
    public void Icmp(byte type, byte code, uint rest, byte[] body, bool v6)
    {
        (IpAddress a, IpAddress b) = v6 ? (Frames.A6, Frames.B6) : (Frames.A4, Frames.B4);
        IcmpHeader header = new(type, code, rest);
        Assert.True(IcmpView.TryParse(Frames.Icmp(header, a, b, body), out IcmpView view));
        Assert.Equal(header, view.Header);
        Assert.Equal(body, view.Body.ToArray());
        Assert.True(view.ChecksumIsValid(a, b));
    }

    [Property]
    public void Icmp_echo_and_too_big(ushort id, ushort sequence, ushort mtu, bool reply, bool v6)
    {
        IpFamily family = v6 ? IpFamily.V6 : IpFamily.V4;
        (IpAddress a, IpAddress b) = v6 ? (Frames.A6, Frames.B6) : (Frames.A4, Frames.B4);
        Assert.True(IcmpView.TryParse(Frames.Icmp(IcmpHeader.Echo(family, reply, id, sequence), a, b, []), out IcmpView echo));
        Assert.Equal((id, sequence, 0), (echo.Identifier, echo.SequenceNumber, echo.ReportedMtu(family)));
        Assert.True(IcmpView.TryParse(Frames.Icmp(IcmpHeader.TooBig(family, mtu), a, b, []), out IcmpView tooBig));
        Assert.Equal(mtu, tooBig.ReportedMtu(family));
    }

    [Property]
    public void Neighbour_discovery(byte which, ulong target, ulong destination, ulong? linkLayer, byte flags)
    {
        byte type = (which % 3) switch { 0 => Icmpv6Type.NeighborSolicitation, 1 => Icmpv6Type.NeighborAdvertisement,
            _ => Icmpv6Type.Redirect };
        NeighborMessage message = new(type, V6(0xFE80_0000_0000_0000, target), linkLayer is { } l ? Mac(l) : null,
            type == Icmpv6Type.NeighborAdvertisement ? (NeighborFlags)((uint)flags << 29) : NeighborFlags.None,
            type == Icmpv6Type.Redirect ? V6(target, destination) : default);
        byte[] icmp = Frames.Neighbor(message, Frames.A6, Frames.B6);
        Assert.True(NdpView.TryParse(icmp, out NdpView view));
        Assert.Equal(message, view.Neighbor);
        Assert.True(IcmpView.TryParse(icmp, out IcmpView outer) && outer.ChecksumIsValid(Frames.A6, Frames.B6));
    }

    [Property]
    public void Router_advertisement(byte hopLimit, bool managed, bool other, ushort lifetime, uint reachable, uint retrans,
        uint mtu, ulong mac)
    {
        RouterAdvertisement message = new(hopLimit, managed, other, lifetime, reachable, retrans);
        byte[] icmp = new byte[RouterAdvertisement.Size + 16];
        int at = RouterAdvertisement.Size;
        at += NdpOption.EmitMtu(icmp.AsSpan(at), mtu);
        NdpOption.EmitLinkLayer(icmp.AsSpan(at), NdpOption.SourceLinkLayer, Mac(mac));
        message.Emit(icmp, Frames.A6, Ipv6Addresses.AllNodes);
        Assert.True(NdpView.TryParse(icmp, out NdpView view));
        Assert.Equal(message, view.Router);
        Assert.Equal(Mac(mac), view.SourceLinkLayer);
        Assert.True(view.TryFindOption(NdpOption.Mtu, out ReadOnlySpan<byte> option));
        Assert.Equal(mtu, System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(option[4..]));
    }

    [Property]
    public void Gre(ushort protocol, bool checksum, uint? key, uint? sequence, byte[] payload)
    {
        GreHeader header = new(protocol, checksum, key, sequence);
        byte[] packet = Frames.Gre(header, payload);
        Assert.True(GreView.TryParse(packet, out GreView view));
        Assert.Equal(header, view.Header);
        Assert.Equal(header.Length, view.HeaderLength);
        Assert.Equal(payload, view.Payload.ToArray());
        Assert.True(view.ChecksumIsValid);
        if (!checksum) return;
        packet[^1] ^= 0x10;
        Assert.True(GreView.TryParse(packet, out view));
        Assert.False(view.ChecksumIsValid);
    }

    [Property]
    public void Gre_in_UDP(uint? key, byte[] payload, bool checksum, bool v6)
    {
        (IpAddress a, IpAddress b) = v6 ? (Frames.A6, Frames.B6) : (Frames.A4, Frames.B4);
        GreHeader header = new(EtherType.Ipv4, Key: key);
        Assert.True(UdpView.TryParse(Frames.GreInUdpDatagram(header, a, b, payload, checksum), out UdpView udp));
        Assert.True(udp.SourcePort >= GreInUdp.FirstSourcePort);
        Assert.Equal(checksum || !v6, udp.ChecksumIsValid(a, b));
        Assert.True(GreInUdp.TryParse(udp, out GreView gre));
        Assert.Equal(header, gre.Header);
        Assert.Equal(payload, gre.Payload.ToArray());
    }

    private static MacAddress Mac(ulong value) => new(value & 0xFFFF_FFFF_FFFF);

    private static IpAddress V6(ulong high, ulong low) => IpAddress.FromV6(new UInt128(high, low));
}
