using System.Buffers.Binary;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>VPN routes: always in MP_REACH_NLRI and MP_UNREACH_NLRI with SAFI 128.</summary>
public sealed partial class UpdateEncoder
{
    /// <summary>Announces VPN prefixes of one family that share attributes and next hop.</summary>
    /// <param name="into">Room for one message.</param>
    /// <param name="attributes">Attributes; a reflected route's next hop among them goes before <paramref name="nextHop"/>.</param>
    /// <param name="fourOctetAs">Whether the peer speaks 4-octet AS numbers.</param>
    /// <param name="nextHop">Next hop, of either family for IPv6 prefixes.</param>
    /// <param name="routes">Prefixes with their labels; those written are taken off.</param>
    /// <returns>Bytes written; 0 when the attributes leave no room for a prefix.</returns>
    public int AnnounceVpn(Span<byte> into, PathAttributes attributes, bool fourOctetAs, IpAddress nextHop,
        ref ReadOnlySpan<(VpnPrefix Prefix, uint Label)> routes)
    {
        IpFamily family = routes[0].Prefix.Prefix.Family;
        ReadOnlySpan<byte> wire = fourOctetAs ? attributes.Wire : ToTwoOctets(attributes);
        if (!attributes.KeptNextHop.IsNone)
        {
            nextHop = attributes.KeptNextHop;
            wire = WithoutNextHop(wire);
        }

        int hop = VpnNextHop.SizeOf(family);
        int nlri = Measure(routes, into.Length - (BgpLimits.HeaderSize + 4 + wire.Length + 4 + 5 + hop), out int fit);
        if (fit == 0) return 0;
        Span<byte> at = into[(BgpLimits.HeaderSize + 4)..];
        at[0] = AttributeFlags.Optional | AttributeFlags.ExtendedLength;
        at[1] = AttributeCode.MpReach;
        BinaryPrimitives.WriteUInt16BigEndian(at[2..], (ushort)(5 + hop + nlri));
        at[4] = 0;
        at[5] = (byte)family;
        at[6] = BgpFamiliesExtensions.MplsVpn;
        at[7] = (byte)hop;
        VpnNextHop.Write(family, nextHop, at[8..]);
        at[8 + hop] = 0;
        at = at[(9 + hop)..];
        foreach ((VpnPrefix prefix, uint label) in routes[..fit]) at = at[VpnNlriReader.Write(prefix, label, at)..];
        wire.CopyTo(at);
        routes = routes[fit..];
        return Finish(into, 9 + hop + nlri + wire.Length);
    }

    /// <summary>Withdraws VPN prefixes of one family; those written are taken off. Returns the bytes written.</summary>
    public static int WithdrawVpn(Span<byte> into, ref ReadOnlySpan<(VpnPrefix Prefix, uint Label)> routes)
    {
        IpFamily family = routes[0].Prefix.Prefix.Family;
        int nlri = Measure(routes, into.Length - (BgpLimits.HeaderSize + 4 + 4 + 3), out int fit);
        Span<byte> at = into[(BgpLimits.HeaderSize + 4)..];
        at[0] = AttributeFlags.Optional | AttributeFlags.ExtendedLength;
        at[1] = AttributeCode.MpUnreach;
        BinaryPrimitives.WriteUInt16BigEndian(at[2..], (ushort)(3 + nlri));
        at[4] = 0;
        at[5] = (byte)family;
        at[6] = BgpFamiliesExtensions.MplsVpn;
        at = at[7..];
        foreach ((VpnPrefix prefix, _) in routes[..fit]) at = at[VpnNlriReader.Write(prefix, null, at)..];
        routes = routes[fit..];
        return Finish(into, 7 + nlri);
    }

    private static int Finish(Span<byte> into, int attributes)
    {
        BinaryPrimitives.WriteUInt16BigEndian(into[BgpLimits.HeaderSize..], 0);
        BinaryPrimitives.WriteUInt16BigEndian(into[(BgpLimits.HeaderSize + 2)..], (ushort)attributes);
        return MessageWriter.Header(into, BgpMessageType.Update, BgpLimits.HeaderSize + 4 + attributes);
    }

    private static int Measure(ReadOnlySpan<(VpnPrefix Prefix, uint Label)> routes, int room, out int fit)
    {
        int size = 0;
        for (fit = 0; fit < routes.Length; fit++)
        {
            int next = VpnNlriReader.SizeOf(routes[fit].Prefix);
            if (size + next > room) break;
            size += next;
        }

        return size;
    }
}
