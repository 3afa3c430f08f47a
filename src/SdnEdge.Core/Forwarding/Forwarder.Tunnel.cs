using System.Runtime.CompilerServices;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>
/// Stage 4: GRE (RFC 2784, RFC 2890, RFC 7676) and GRE in UDP (RFC 8086).
/// <code>
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// |C|0|K|S|      Reserved0  | Ver |         Protocol Type         |
/// |      Checksum (if C)          |       Reserved1 (if C)        |
/// |                         Key (if K)                            |
/// |                    Sequence number (if S)                     |
/// </code>
/// </summary>
public sealed unsafe partial class Forwarder
{
    // One redirect tunnel inside one ordinary tunnel; more is a loop.
    private const int MaxDepth = 2;

    // The leaf by which a tunnel's outer packets leave, looked up once a batch.
    private Tunnel? _underlayOf;
    private FibLeaf? _underlayLeaf;

    private void Encapsulate(ref Packet p, ref PacketContext c, Tunnel tunnel)
    {
        TunnelOptions options = tunnel.Options;
        if (c.Depth >= MaxDepth || (c.Redirect is { } redirect && (options.IsRedirect || options.Remote == redirect.Options.Remote)))
        {
            Drop(ref c, DropReason.TunnelLoop);
            return;
        }

        if (!tunnel.Up && !c.Probe)
        {
            Drop(ref c, DropReason.TunnelDown);
            return;
        }

        // 1. The way of the outer packet, and the MTU it leaves.
        FibLeaf? leaf = UnderlayOf(tunnel);
        if (leaf is null)
        {
            DropAndTell(ref p, ref c, DropReason.NoRoute, PuntReason.NoRoute);
            return;
        }

        if (!c.Own && TtlOf(p, c) <= 1)
        {
            DropAndTell(ref p, ref c, DropReason.TtlExpired, PuntReason.TtlExpired);
            return;
        }

        int link = MtuOf(leaf.Hop.Current, 0);
        int mtu = c.Probe ? tunnel.LinkMtu(link) : tunnel.EffectiveMtu(link); // a probe is to find out about the path
        bool inPieces = p.Length > mtu && GoesInPieces(p, c, mtu);
        if (p.Length > mtu && !inPieces && !FitsWhole(ref p, ref c, mtu, null, tunnel)) return;
        if (p.IsSuperpacket)
        {
            Split(ref p, ref c, null, tunnel); // no device segments a packet inside plain GRE
            return;
        }

        // A CE's packet must not come out at another PE as this PE's marker; what the two ends of a redirect tunnel say to one another
        // comes from nobody else.
        if (!c.Own && (options.IsRedirect || (c.From is null && !c.Vrf.IsDefault)) && IsFlushMarker(p, c)
            && ((c.From is null && !c.Vrf.IsDefault) || IsBetweenEnds(p, c)))
        {
            Drop(ref c, DropReason.MarkerForged);
            return;
        }

        // 2. The inner packet is finished: TTL, whole checksum, MSS.
        if (!c.Own) DecrementTtl(ref p, ref c);
        if (options.MssClamp) ClampMss(ref p, ref c, mtu);
        if (!Segmenter.CompleteChecksum(ref p))
        {
            Drop(ref c, DropReason.OffloadInvalid);
            return;
        }

        // 3. The header, from the template.
        if (p.Headroom < tunnel.HeaderBytes + At.VlanHeader)
        {
            Drop(ref c, DropReason.TunnelLoop);
            return;
        }

        byte* inner = p.Data;
        byte innerTos = c.IsV6 ? (byte)(At.Load16(inner) >> 4) : inner[At.V4Tos];
        byte innerTtl = (byte)TtlOf(p, c);
        int innerBytes = p.Length;
        int flow = tunnel.IsUdp ? FlowHash(p, c) : 0;
        bool v6 = c.IsV6;
        p.Prepend(tunnel.HeaderBytes);
        byte* outer = p.Data;
        Unsafe.CopyBlockUnaligned(outer, tunnel.TemplatePointer, (uint)tunnel.HeaderBytes);
        WriteGre(outer, p.Length, tunnel, v6);
        if (tunnel.IsUdp) WriteUdp(outer, p.Length, tunnel, flow);
        WriteOuterIp(outer, p.Length, tunnel, OuterTos(innerTos, options), options.TtlUniform ? innerTtl : options.Ttl);

        PerWorkerCounters counters = tunnel.Counters;
        counters.Add(_worker, Tunnel.TxPacketsField);
        counters.Add(_worker, Tunnel.TxBytesField, innerBytes);
        counters.Set(_worker, Tunnel.LastField, _now);

        // 4. On with the outer packet: the router's own, in the underlay.
        PacketContext outside = new()
        {
            In = c.In, Vrf = tunnel.Underlay, Depth = c.Depth + 1, IsV6 = options.Local.IsV6, Own = true, Quiet = true, Probe = c.Probe,
            L4 = tunnel.OuterIpBytes, Protocol = tunnel.IsUdp ? IpProtocol.Udp : IpProtocol.Gre,
        };
        if (inPieces) FragmentOuter(ref p, ref outside, mtu + tunnel.HeaderBytes, tunnel, leaf);
        else Route(ref p, ref outside, leaf);
    }

    // IPv6 takes for granted that 1280 bytes pass: no host makes smaller packets. Where a tunnel leaves less, its outer packets are
    // fragmented (RFC 2473 7.1).
    private static bool GoesInPieces(in Packet p, in PacketContext c, int mtu)
        => c.IsV6 && !c.Probe && mtu < Ipv6Header.MinimumMtu && (p.IsSuperpacket ? SegmentBytes(p) : p.Length) <= Ipv6Header.MinimumMtu;

    private FibLeaf? UnderlayOf(Tunnel tunnel)
    {
        if (ReferenceEquals(_underlayOf, tunnel)) return _underlayLeaf;
        _underlayLeaf = tunnel.Underlay.Lookup(tunnel.Options.Remote);
        _underlayOf = tunnel;
        return _underlayLeaf;
    }

    // The MTU of the way a decision takes; a tunnel in a tunnel leaves what the outer one leaves.
    private int MtuOf(ForwardingDecision decision, int depth)
    {
        if (decision.Port is { } port) return port.Mtu;
        if (decision.Tunnel is { } tunnel && depth < MaxDepth && tunnel.Underlay.Lookup(tunnel.Options.Remote) is { } leaf)
            return tunnel.EffectiveMtu(MtuOf(leaf.Hop.Current, depth + 1));
        return int.MaxValue / 2;
    }

    // RFC 6040 4.1 (normal or compatibility mode) and RFC 2983.
    private static byte OuterTos(byte inner, TunnelOptions options)
    {
        int dscp = options.Dscp == DscpModel.Pipe ? options.PipeDscp : inner >> 2;
        return (byte)((dscp << 2) | (options.Ecn ? inner & 3 : 0));
    }

    private static void WriteGre(byte* outer, int length, Tunnel tunnel, bool v6)
    {
        byte* gre = outer + tunnel.GreOffset;
        At.Store16(gre + 2, v6 ? EtherType.Ipv6 : EtherType.Ipv4);
        if (tunnel.Options.Sequence) At.Store32(outer + tunnel.SequenceOffset, tunnel.NextSequence());
        if (tunnel.Options.Checksum)
            At.Store16(gre + 4, Checksum.Compute(new ReadOnlySpan<byte>(gre, length - tunnel.GreOffset)));
    }

    // RFC 8086 3.1: the source port carries the flow's entropy; 6: the checksum.
    private static void WriteUdp(byte* outer, int length, Tunnel tunnel, int flow)
    {
        byte* udp = outer + tunnel.OuterIpBytes;
        int udpBytes = length - tunnel.OuterIpBytes;
        At.Store16(udp, 0xC000 | (flow & 0x3FFF));
        At.Store16(udp + 4, udpBytes);
        if (!tunnel.Options.UdpChecksum) return;
        uint pseudo = Checksum.Pseudo(tunnel.Options.Local, tunnel.Options.Remote, IpProtocol.Udp, udpBytes);
        At.Store16(udp + 6, Checksum.FinishUdp(Checksum.Sum(new ReadOnlySpan<byte>(udp, udpBytes), pseudo)));
    }

    private static void WriteOuterIp(byte* outer, int length, Tunnel tunnel, byte tos, byte ttl)
    {
        if (tunnel.Options.Local.IsV4)
        {
            outer[At.V4Tos] = tos;
            outer[At.V4Ttl] = ttl;
            At.Store16(outer + At.V4Total, length);
            At.FillChecksum(outer, At.V4Header);
        }
        else
        {
            At.Store16(outer, 0x6000 | (tos << 4));
            outer[At.V6Hops] = ttl;
            At.Store16(outer + At.V6Payload, length - At.V6Header);
        }
    }

    // Addresses, protocol and ports of the inner packet, mixed. The same flow always gets the same value.
    private static int FlowHash(in Packet p, in PacketContext c)
    {
        byte* ip = p.Data;
        ulong mixed;
        byte protocol;
        int l4;
        bool ports;
        if (c.IsV6)
        {
            mixed = At.Load64(ip + 8) ^ (At.Load64(ip + 16) * 3) ^ (At.Load64(ip + 24) * 5) ^ (At.Load64(ip + 32) * 7);
            (protocol, l4, ports) = (ip[At.V6Next], At.V6Header, true);
        }
        else
        {
            mixed = At.Load64(ip + At.V4Source);
            (protocol, l4) = (ip[At.V4Protocol], (ip[0] & 0xF) * 4);
            ports = (At.Load16(ip + At.V4Fragment) & (At.V4Mf | At.V4OffsetMask)) == 0;
        }

        mixed ^= (ulong)protocol << 56;
        if (ports && protocol is IpProtocol.Tcp or IpProtocol.Udp && l4 + 4 <= p.Length) mixed ^= (ulong)At.Load32(ip + l4) << 13;
        return (int)((mixed * 0x9E37_79B9_7F4A_7C15) >> 48);
    }

    // p.Data is the outer IP header, c.L4 the offset of GRE or UDP behind it.
    private void Decapsulate(ref Packet p, ref PacketContext c, bool udp)
    {
        if (c.Depth >= MaxDepth)
        {
            Drop(ref c, DropReason.TunnelLoop);
            return;
        }

        if (p.IsSuperpacket && p.Vnet.CsumStart == c.L4)
        {
            Split(ref p, ref c, null, null); // several outer packets in one frame
            return;
        }

        // 1. UDP, where used.
        int at = c.L4;
        if (udp)
        {
            if (!UdpFits(ref p, ref c))
            {
                Drop(ref c, DropReason.GreInvalid);
                return;
            }

            at += 8;
        }

        // 2. GRE: version 0, room for its options, checksum; of the reserved bits those that must be zero (RFC 2784 2.3).
        if (at + 4 > p.Length)
        {
            Drop(ref c, DropReason.GreInvalid);
            return;
        }

        byte* gre = p.Data + at;
        int flags = At.Load16(gre);
        int type = At.Load16(gre + 2);
        int header = 4 + ((flags & GreView.C) != 0 ? 4 : 0) + ((flags & GreView.K) != 0 ? 4 : 0) + ((flags & GreView.S) != 0 ? 4 : 0);
        if ((flags & GreView.MustBeZero) != 0 || at + header > p.Length || ((flags & GreView.C) != 0 && !GreChecksumHolds(ref p, at)))
        {
            Drop(ref c, DropReason.GreInvalid);
            return;
        }

        // 3. Only from a configured peer, with its key.
        int option = at + 4 + ((flags & GreView.C) != 0 ? 4 : 0);
        bool hasKey = (flags & GreView.K) != 0;
        Tunnel? tunnel = FindTunnel(p, c, hasKey, hasKey ? At.Load32(p.Data + option) : 0, udp);
        if (tunnel is null)
        {
            Drop(ref c, DropReason.TunnelUnknownPeer);
            return;
        }

        if (type is not (EtherType.Ipv4 or EtherType.Ipv6))
        {
            Drop(ref c, DropReason.GrePayload);
            return;
        }

        // 4. Strip; what the outer header says about congestion and class goes inwards.
        byte outerTos = c.IsV6 ? (byte)(At.Load16(p.Data) >> 4) : p.Data[At.V4Tos];
        byte outerTtl = (byte)TtlOf(p, c);
        int strip = at + header;
        if (p.Vnet.Flags != 0)
        {
            if (p.Vnet.CsumStart < strip) p.Vnet = default; // it was the outer checksum
            else p.Vnet.CsumStart -= (ushort)strip;
        }

        p.Prepend(-strip);
        c.Stripped += strip;
        c.Depth++;
        c.Vrf = tunnel.Vrf;
        c.From = tunnel;
        c.Own = c.LocalOnly = c.Quiet = false;
        c.IsV6 = type == EtherType.Ipv6;
        if (tunnel.Options.IsRedirect) c.Redirect = tunnel;

        PerWorkerCounters counters = tunnel.Counters;
        counters.Add(_worker, Tunnel.RxPacketsField);
        counters.Add(_worker, Tunnel.RxBytesField, p.Length);
        counters.Set(_worker, Tunnel.LastField, _now);

        if (p.Length >= (c.IsV6 ? At.V6Header : At.V4Header) && !Inwards(ref p, ref c, tunnel.Options, outerTos, outerTtl)) return;
        if (tunnel.Options.MssClamp && c.In is { } port) ClampMss(ref p, ref c, tunnel.EffectiveMtu(port.Mtu));

        // 5. Round again with the inner packet.
        if (c.IsV6) Input6(ref p, ref c);
        else Input4(ref p, ref c);
    }

    private Tunnel? FindTunnel(in Packet p, in PacketContext c, bool hasKey, uint key, bool udp)
    {
        Tunnel? tunnel = c.IsV6
            ? _tunnels.Find(At.Address6(p.Data + At.V6Destination), At.Address6(p.Data + At.V6Source), hasKey, key, udp)
            : _tunnels.Find(IpAddress.FromV4(At.Load32(p.Data + At.V4Destination)), IpAddress.FromV4(At.Load32(p.Data + At.V4Source)),
                hasKey, key, udp);
        return tunnel is not null && ReferenceEquals(tunnel.Underlay, c.Vrf) ? tunnel : null;
    }

    // RFC 768, RFC 8086 6: the length must fit; a checksum that is there must hold; none is allowed.
    private static bool UdpFits(ref Packet p, ref PacketContext c)
    {
        byte* udp = p.Data + c.L4;
        int length = At.Load16(udp + 4);
        if (length < 12 || length > p.Length - c.L4) return false;
        p.Length = c.L4 + length;
        if (p.Vnet.Flags != 0 && p.Vnet.CsumStart != c.L4) return p.Vnet.CsumStart + p.Vnet.CsumOffset + 2 <= p.Length;
        if (p.Vnet.Flags != 0 || At.Load16(udp + 6) == 0) return true; // completed by the device, were it to leave this machine
        ReadOnlySpan<byte> bytes = new(udp, length);
        uint pseudo = c.IsV6
            ? Checksum.PseudoV6(new ReadOnlySpan<byte>(p.Data + At.V6Source, 32), IpProtocol.Udp, length)
            : Checksum.PseudoV4(At.Load32(p.Data + At.V4Source), At.Load32(p.Data + At.V4Destination), IpProtocol.Udp, length);
        return Checksum.IsValid(bytes, pseudo);
    }

    private static bool GreChecksumHolds(ref Packet p, int at)
        => !p.IsSuperpacket && Segmenter.CompleteChecksum(ref p) && Checksum.IsValid(new ReadOnlySpan<byte>(p.Data + at, p.Length - at));

    // ECN as RFC 6040 4.2 combines it, DSCP and TTL in their uniform models. False when the packet is dropped.
    private bool Inwards(ref Packet p, ref PacketContext c, TunnelOptions options, byte outerTos, byte outerTtl)
    {
        byte* ip = p.Data;
        int tos = c.IsV6 ? (byte)(At.Load16(ip) >> 4) : ip[At.V4Tos];
        int dscp = options.Dscp == DscpModel.Uniform ? outerTos & 0xFC : tos & 0xFC;
        int ecn = CombineEcn(tos & 3, outerTos & 3);
        if (ecn < 0)
        {
            Drop(ref c, DropReason.EcnInvalid);
            return false;
        }

        int next = dscp | ecn;
        int ttl = TtlOf(p, c);
        int nextTtl = options.TtlUniform && outerTtl < ttl ? outerTtl : ttl;
        if (next == tos && nextTtl == ttl) return true;
        if (c.IsV6)
        {
            At.Store16(ip, (At.Load16(ip) & 0xF00F) | (next << 4));
            ip[At.V6Hops] = (byte)nextTtl;
        }
        else
        {
            // Adapted, so that an inner header that was wrong stays wrong.
            ushort checksum = At.Load16(ip + At.V4Checksum);
            checksum = Checksum.Update(checksum, At.Load16(ip), (ushort)((ip[0] << 8) | next));
            checksum = Checksum.Update(checksum, At.Load16(ip + At.V4Ttl), (ushort)((nextTtl << 8) | ip[At.V4Protocol]));
            ip[At.V4Tos] = (byte)next;
            ip[At.V4Ttl] = (byte)nextTtl;
            At.Store16(ip + At.V4Checksum, checksum);
        }

        return true;
    }

    // RFC 6040 figure 4; Not-ECT 0, ECT(1) 1, ECT(0) 2, CE 3. -1: drop.
    private static int CombineEcn(int inner, int outer) => (inner, outer) switch
    {
        (0, 3) => -1,
        (0, _) => 0,
        (3, _) or (_, 3) => 3,
        (2, 1) => 1,
        _ => inner,
    };
}
