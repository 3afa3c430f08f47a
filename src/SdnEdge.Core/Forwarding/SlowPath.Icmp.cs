using System.Buffers.Binary;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>What an ICMP error is about.</summary>
public enum IcmpErrorKind : byte
{
    /// <summary>No route: network unreachable (RFC 1812 5.2.7.1), no route to destination (RFC 4443 3.1 code 0).</summary>
    NoRoute,
    /// <summary>The last hop does not answer: host unreachable, address unreachable (code 3).</summary>
    HostUnreachable,
    /// <summary>For the router, but nobody listens: port or protocol unreachable; for IPv6 parameter problem where the protocol is
    /// unknown; for TCP a reset.</summary>
    NoListener,
    /// <summary>Larger than the next hop's MTU: fragmentation needed (RFC 1191), packet too big (RFC 4443 3.2).</summary>
    TooBig,
    /// <summary>TTL or hop limit ran out in transit.</summary>
    TimeExceeded,
}

/// <content>
/// ICMP echo and errors.
/// <list type="number">
/// <item>May an error be sent about this packet at all (RFC 1812 4.3.2.7, RFC 4443 2.4 e)?</item>
/// <item>Which address does the router speak with (RFC 1812 4.3.2.4, RFC 4443 2.2)?</item>
/// <item>Is there a token for its class (RFC 1812 4.3.2.8, RFC 4443 2.4 f)?</item>
/// <item>Quote as much of the packet as fits 576 or 1280 bytes (RFC 1812 4.3.2.3, RFC 4443 2.4 c).</item>
/// </list>
/// </content>
public sealed partial class SlowPath
{
    /// <summary>Largest ICMP error over IPv4, bytes of IP packet.</summary>
    public const int MaxErrorV4 = 576;

    /// <summary>Largest ICMP error over IPv6, bytes of IP packet.</summary>
    public const int MaxErrorV6 = Ipv6Header.MinimumMtu;

    private const int LeastMtuV4 = 68; // RFC 791 3.2
    private const byte DefaultTtl = 64;
    private const byte InternetworkControl = 0xC0; // precedence 6 for errors (RFC 1812 4.3.2.5)

    private TokenBucket _unreachables, _tooBigs, _timeExceededs, _pathMtus, _echoes;
    private ushort _identification;

    /// <summary>
    /// Answers an ICMP message to one of the router's addresses: echo requests are replied to, a reported path MTU is passed
    /// on, the rest is ignored (echo replies for the host go its own way).
    /// </summary>
    /// <param name="port">Port it came in on.</param>
    /// <param name="vrf">VRF of the packet.</param>
    /// <param name="frame">The frame.</param>
    /// <param name="l3Offset">Where its IP header starts.</param>
    /// <param name="now">Nanoseconds.</param>
    /// <param name="actions">Where what is to be done is appended.</param>
    public SlowPathVerdict LocalIcmp(int port, int vrf, ReadOnlySpan<byte> frame, int l3Offset, long now, SlowPathActions actions)
    {
        if ((uint)l3Offset > (uint)frame.Length || !IpPacketView.TryParse(frame[l3Offset..], out IpPacketView ip) || !ip.IsIcmp)
            return Tally(SlowPathVerdict.Malformed);
        if (ip.IsFragment) return Tally(SlowPathVerdict.Fragment);
        if (!IcmpView.TryParse(ip.Payload, out IcmpView icmp)) return Tally(SlowPathVerdict.Malformed);
        if (!icmp.ChecksumIsValid(ip.Source, ip.Destination)) return Tally(SlowPathVerdict.BadChecksum);

        bool v4 = ip.Family == IpFamily.V4;
        if (icmp.ReportedMtu(ip.Family) > 0) return Tally(NotePathMtu(ip, icmp, vrf, now, actions));
        if (icmp.Type != (v4 ? Icmpv4Type.EchoRequest : Icmpv6Type.EchoRequest) || icmp.Code != 0) return Tally(SlowPathVerdict.Ignored);

        _ports.TryGetValue(port, out SlowPathPort? ingress);
        if (!IsSingleHost(ip.Source, ingress)) return Tally(SlowPathVerdict.AboutBadSource);
        IpAddress from = ip.Destination;
        if (IsManyHosts(ip.Destination, ingress))
        {
            // To a group of IPv6 the reply comes from a unicast address (RFC 4443 4.2); to an IPv4 one there is none (RFC 1812 4.3.3.6).
            if (v4 || ingress is null) return Tally(SlowPathVerdict.AboutMulticast);
            from = ingress.SourceFor(ip.Source);
            if (from.IsNone) return Tally(SlowPathVerdict.NoSourceAddress);
        }

        if (!_echoes.TryTake(now)) return Tally(SlowPathVerdict.RateLimited);
        Span<byte> message = IcmpPacket(from, ip.Source, ip.TrafficClass, icmp.Bytes.Length, vrf, ingress, frame, actions);
        if (message.IsEmpty) return Tally(SlowPathVerdict.NoSourceAddress);
        icmp.Body.CopyTo(message[IcmpHeader.Size..]);
        IcmpHeader.Echo(ip.Family, reply: true, icmp.Identifier, icmp.SequenceNumber).Emit(message, from, ip.Source);
        return Tally(SlowPathVerdict.Answered);
    }

    /// <summary>Sends an ICMP error about a packet, if it may be sent.</summary>
    /// <param name="kind">What was wrong.</param>
    /// <param name="port">Port the packet came in on.</param>
    /// <param name="vrf">VRF of the packet.</param>
    /// <param name="frame">The frame; it may be cut short behind what an error quotes.</param>
    /// <param name="l3Offset">Where its IP header starts.</param>
    /// <param name="mtu">TooBig: the largest IP packet that fits.</param>
    /// <param name="now">Nanoseconds.</param>
    /// <param name="actions">Where the error is appended.</param>
    public SlowPathVerdict Error(
        IcmpErrorKind kind, int port, int vrf, ReadOnlySpan<byte> frame, int l3Offset, int mtu, long now, SlowPathActions actions)
    {
        if ((uint)l3Offset > (uint)frame.Length || !IpPacketView.TryParseQuoted(frame[l3Offset..], out IpPacketView ip))
            return Tally(SlowPathVerdict.Malformed);
        _ports.TryGetValue(port, out SlowPathPort? ingress);

        // 1. May it be sent?
        if (WhyNot(kind, ip, ingress, frame, l3Offset) is { } refused) return Tally(refused);

        // 2. Who speaks?
        IpAddress from = kind == IcmpErrorKind.NoListener && !IsManyHosts(ip.Destination, ingress) ? ip.Destination
            : Speaker(ip.Source, vrf, ingress);
        if (from.IsNone) return Tally(SlowPathVerdict.NoSourceAddress);

        if (kind == IcmpErrorKind.NoListener && ip is { Protocol: IpProtocol.Tcp, IsFragment: false })
            return Tally(Refuse(ip, vrf, ingress, frame, now, actions));

        // 3. Not too often.
        ref TokenBucket bucket = ref _unreachables;
        if (kind == IcmpErrorKind.TooBig) bucket = ref _tooBigs;
        else if (kind == IcmpErrorKind.TimeExceeded) bucket = ref _timeExceededs;
        if (!bucket.TryTake(now)) return Tally(SlowPathVerdict.RateLimited);

        // 4. Quote and send.
        bool v4 = ip.Family == IpFamily.V4;
        int room = (v4 ? MaxErrorV4 - Ipv4Header.Size : MaxErrorV6 - Ipv6Header.Size) - IcmpHeader.Size;
        ReadOnlySpan<byte> quote = ip.Bytes[..Math.Min(ip.Bytes.Length, room)];
        Span<byte> message = IcmpPacket(from, ip.Source, InternetworkControl, IcmpHeader.Size + quote.Length, vrf, ingress, frame, actions);
        if (message.IsEmpty) return Tally(SlowPathVerdict.NoSourceAddress);
        quote.CopyTo(message[IcmpHeader.Size..]);
        HeaderOf(kind, ip, mtu).Emit(message, from, ip.Source);
        return Tally(SlowPathVerdict.Answered);
    }

    private static SlowPathVerdict? WhyNot(IcmpErrorKind kind, in IpPacketView ip, SlowPathPort? ingress, ReadOnlySpan<byte> frame,
        int l3Offset)
    {
        bool v4 = ip.Family == IpFamily.V4;
        if (ip.IsLaterFragment && v4) return SlowPathVerdict.AboutLaterFragment;
        if (ip.IsIcmp)
        {
            // A part without its ICMP header might be of an error; then none is sent.
            if (ip.IsLaterFragment || ip.Payload.IsEmpty) return SlowPathVerdict.AboutIcmpError;
            byte type = ip.Payload[0];
            if (v4 ? Icmpv4Type.IsError(type) : Icmpv6Type.IsError(type)
                || type == Icmpv6Type.Redirect) return SlowPathVerdict.AboutIcmpError;
        }

        if (!IsSingleHost(ip.Source, ingress)) return SlowPathVerdict.AboutBadSource;

        // Path MTU discovery must work for IPv6 multicast too (RFC 4443 2.4 e.3).
        if (!v4 && kind == IcmpErrorKind.TooBig) return null;
        if (IsManyHosts(ip.Destination, ingress)) return SlowPathVerdict.AboutMulticast;
        bool hasEthernet = l3Offset >= EthernetHeader.Size;
        return hasEthernet && MacAddress.Read(frame).IsMulticast ? SlowPathVerdict.AboutMulticast : null;
    }

    private static IcmpHeader HeaderOf(IcmpErrorKind kind, in IpPacketView ip, int mtu)
    {
        bool v4 = ip.Family == IpFamily.V4;
        switch (kind)
        {
            case IcmpErrorKind.TooBig:
                // Below the least MTU of its family a host would ignore it.
                return IcmpHeader.TooBig(ip.Family, Math.Max(mtu, v4 ? LeastMtuV4 : Ipv6Header.MinimumMtu));
            case IcmpErrorKind.TimeExceeded:
                return IcmpHeader.TimeExceeded(ip.Family);
            case IcmpErrorKind.NoListener when ip.Protocol is IpProtocol.Udp or IpProtocol.Tcp:
                return v4 ? new(Icmpv4Type.Unreachable, Icmpv4Type.Port) : new(Icmpv6Type.Unreachable, Icmpv6Type.Port);
            case IcmpErrorKind.NoListener when v4:
                return new(Icmpv4Type.Unreachable, Icmpv4Type.Protocol);
            case IcmpErrorKind.NoListener:
                return new(Icmpv6Type.ParameterProblem, 1, (uint)NextHeaderOffset(ip.Bytes)); // unrecognised next header (RFC 4443 3.4)
            case IcmpErrorKind.HostUnreachable:
                return v4 ? new(Icmpv4Type.Unreachable, Icmpv4Type.Host) : new(Icmpv6Type.Unreachable, Icmpv6Type.Address);
            default:
                return v4 ? new(Icmpv4Type.Unreachable, Icmpv4Type.Network) : new(Icmpv6Type.Unreachable, Icmpv6Type.NoRoute);
        }
    }

    // Offset of the octet that names the upper layer: what the pointer of a parameter problem points at.
    private static int NextHeaderOffset(ReadOnlySpan<byte> packet)
    {
        int offset = 6;
        if (!Ipv6View.TryParseQuoted(packet, out Ipv6View view)) return offset;
        Ipv6ExtensionWalk walk = new(view);
        int before = walk.Rest.Length;
        while (walk.MoveNext())
        {
            offset = packet.Length - before;
            before = walk.Rest.Length;
        }

        return offset;
    }

    // Writes the IP header of a message of ours, to be routed, or sent on the ingress link when the peer is link-local (a FIB does
    // not know which link that is). Returns where the message goes; empty when it cannot be sent.
    private Span<byte> IcmpPacket(
        IpAddress from, IpAddress to, byte trafficClass, int length, int vrf, SlowPathPort? ingress, ReadOnlySpan<byte> frame,
            SlowPathActions actions)
        => OwnPacket(from, to, to.IsV4 ? IpProtocol.Icmp : IpProtocol.Icmpv6, trafficClass, length, vrf, ingress, frame, actions);

    private Span<byte> OwnPacket(
        IpAddress from, IpAddress to, byte protocol, byte trafficClass, int length, int vrf, SlowPathPort? ingress,
            ReadOnlySpan<byte> frame, SlowPathActions actions)
    {
        int header = to.IsV4 ? Ipv4Header.Size : Ipv6Header.Size;
        Span<byte> packet;
        if (to.IsV6 && to.IsLinkLocal)
        {
            if (ingress is null || frame.Length < EthernetHeader.Size) return default;
            packet = Frame(ingress, MacAddress.Read(frame[6..]), EtherType.Ipv6, header + length, actions);
        }
        else
        {
            packet = actions.Originate(vrf, header + length);
        }

        if (to.IsV4) new Ipv4Header(from, to, protocol, DefaultTtl, trafficClass, _identification++).Emit(packet, length);
        else new Ipv6Header(from, to, protocol, DefaultTtl, trafficClass).Emit(packet, length);
        return packet[header..];
    }

    // The address of the ingress port, best of the sender's subnet; else a loopback of the VRF; for a link-local sender the
    // link-local address, for others never one (it would not pass the next router).
    private IpAddress Speaker(IpAddress sender, int vrf, SlowPathPort? ingress)
    {
        if (ingress is not null && ingress.Vrf == vrf)
        {
            IpAddress own = ingress.SourceFor(sender);
            if (!own.IsNone) return own;
        }

        if (!_fallback.TryGetValue(vrf, out List<IpAddress>? loopbacks)) return default;
        foreach (IpAddress address in loopbacks)
        {
            if (address.Family == sender.Family) return address;
        }

        return default;
    }

    // Believed only when it quotes a packet of the address it was sent to (RFC 5927 4), one that is larger than what is said to fit, and
    // not below what every link carries. Whether the packet was one of ours, its tunnel knows.
    private SlowPathVerdict NotePathMtu(in IpPacketView ip, IcmpView icmp, int vrf, long now, SlowPathActions actions)
    {
        bool v4 = ip.Family == IpFamily.V4;
        int mtu = Math.Max(icmp.ReportedMtu(ip.Family), v4 ? LeastMtuV4 : Ipv6Header.MinimumMtu);
        if (!IpPacketView.TryParseQuoted(icmp.Body, out IpPacketView quoted) || quoted.Source != ip.Destination
            || QuotedBytes(icmp.Body, v4) <= mtu) return SlowPathVerdict.Malformed;
        if (!_pathMtus.TryTake(now)) return SlowPathVerdict.RateLimited;
        bool udp = quoted.Protocol == IpProtocol.Udp;
        actions.PathMtu(vrf, quoted.Source, quoted.Destination, mtu, ip.Source, udp, udp ? null : QuotedKey(quoted.Payload));
        return SlowPathVerdict.Noted;
    }

    // What the quoted packet's own header says of its length: the quote may be cut short.
    private static int QuotedBytes(ReadOnlySpan<byte> quote, bool v4)
        => v4 ? BinaryPrimitives.ReadUInt16BigEndian(quote[2..]) : Ipv6Header.Size + BinaryPrimitives.ReadUInt16BigEndian(quote[4..]);

    // A quote of the eight bytes that RFC 792 asks for has the key, where there is no checksum before it. Null: not there.
    private static uint? QuotedKey(ReadOnlySpan<byte> gre)
    {
        if (gre.Length < GreHeader.Size) return null;
        int flags = BinaryPrimitives.ReadUInt16BigEndian(gre);
        int at = GreHeader.Size + ((flags & GreView.C) != 0 ? 4 : 0);
        return (flags & GreView.K) == 0 || gre.Length < at + 4 ? null : BinaryPrimitives.ReadUInt32BigEndian(gre[at..]);
    }

    // RFC 1812 4.3.2.7 and 5.3.7, RFC 4443 2.4 e.6: unspecified, loopback, multicast, broadcast, class E.
    private static bool IsSingleHost(IpAddress source, SlowPathPort? ingress)
    {
        if (source.IsV6) return !source.IsMulticast && (source.High != 0 || source.Low > 1);
        return (source.V4 >> 24) is not (0 or 127 or >= 224) && !(ingress?.IsDirectedBroadcast(source) ?? false);
    }

    private static bool IsManyHosts(IpAddress destination, SlowPathPort? ingress)
        => destination.IsMulticast || (destination.IsV4
            && (destination.V4 == uint.MaxValue || (ingress?.IsDirectedBroadcast(destination) ?? false)));
}
