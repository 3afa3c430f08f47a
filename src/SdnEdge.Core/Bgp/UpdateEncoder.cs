using System.Buffers.Binary;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// Writes UPDATE messages, each filled with as many prefixes as fit. IPv4 goes into the message's own fields, IPv6 and what has an
/// IPv6 next hop into MP_REACH_NLRI and MP_UNREACH_NLRI, which stand first (RFC 7606 5.1). Not thread-safe.
/// </summary>
public sealed partial class UpdateEncoder
{
    // Made when they are used: many speakers have no old peer and reflect nothing.
    private byte[] Scratch => field ??= new byte[2 * BgpLimits.MaxExtended];

    private byte[] Reflected => field ??= new byte[2 * BgpLimits.MaxExtended];

    private byte[] Path => field ??= new byte[BgpLimits.MaxExtended + BgpLimits.MaxMessage];

    /// <summary>
    /// Announces prefixes of one family that share attributes and next hop.
    /// </summary>
    /// <param name="into">Room for one message: as long as it may get, 4096 bytes or up to 65535 (RFC 8654).</param>
    /// <param name="attributes">Attributes.</param>
    /// <param name="fourOctetAs">Whether the peer speaks 4-octet AS numbers.</param>
    /// <param name="nextHop">Next hop, of the family of the prefixes; for IPv4 ones also of IPv6, where the peer takes that (RFC
    /// 8950).</param>
    /// <param name="prefixes">Prefixes of one family; those written are taken off.</param>
    /// <returns>Bytes written; 0 when the attributes leave no room for a prefix, and then nothing can be announced with them.</returns>
    public int Announce(Span<byte> into, PathAttributes attributes, bool fourOctetAs, BgpNextHop nextHop,
        ref ReadOnlySpan<IpPrefix> prefixes)
    {
        IpFamily family = prefixes[0].Family;
        ReadOnlySpan<byte> wire = fourOctetAs ? attributes.Wire : ToTwoOctets(attributes);
        if (!attributes.KeptNextHop.IsNone)
        {
            nextHop = attributes.KeptNextHop;
            wire = WithoutNextHop(wire);
        }

        bool inMp = !nextHop.Address.IsV4;

        // 4 is the header of an MP_REACH_NLRI with extended length, 5 its fixed fields; NEXT_HOP takes 7.
        int fixedSize = BgpLimits.HeaderSize + 4 + wire.Length + (inMp ? 4 + 5 + nextHop.Size : 7);
        int room = Math.Min(into.Length, BgpLimits.MaxExtended) - fixedSize;
        int nlri = Measure(prefixes, room, out int fit);
        if (fit == 0) return 0;

        Span<byte> at = into[(BgpLimits.HeaderSize + 4)..];
        int start = at.Length;
        if (inMp)
        {
            int value = 5 + nextHop.Size + nlri;
            at[0] = AttributeFlags.Optional | AttributeFlags.ExtendedLength;
            at[1] = AttributeCode.MpReach;
            BinaryPrimitives.WriteUInt16BigEndian(at[2..], (ushort)value);
            at[4] = 0;
            at[5] = (byte)family;
            at[6] = 1;
            at[7] = (byte)nextHop.Size;
            nextHop.Write(at[8..]);
            at[8 + nextHop.Size] = 0;
            at = at[(9 + nextHop.Size)..];
            at = at[WritePrefixes(at, prefixes[..fit])..];
        }

        at = at[WriteWithNextHop(at, wire, inMp ? default : nextHop.Address)..];
        int size = start - at.Length;
        BinaryPrimitives.WriteUInt16BigEndian(into[BgpLimits.HeaderSize..], 0);
        BinaryPrimitives.WriteUInt16BigEndian(into[(BgpLimits.HeaderSize + 2)..], (ushort)size);
        if (!inMp) size += WritePrefixes(at, prefixes[..fit]);
        prefixes = prefixes[fit..];
        return MessageWriter.Header(into, BgpMessageType.Update, BgpLimits.HeaderSize + 4 + size);
    }

    /// <summary>Withdraws prefixes of one family; those written are taken off. Returns the bytes written.</summary>
    public int Withdraw(Span<byte> into, ref ReadOnlySpan<IpPrefix> prefixes)
    {
        IpFamily family = prefixes[0].Family;
        Span<byte> body = into[BgpLimits.HeaderSize..];
        int extra = family == IpFamily.V4 ? 0 : 4 + 3;
        int nlri = Measure(prefixes, BgpLimits.MaxMessage - BgpLimits.HeaderSize - 4 - extra, out int fit);
        if (family == IpFamily.V4)
        {
            BinaryPrimitives.WriteUInt16BigEndian(body, (ushort)nlri);
            WritePrefixes(body[2..], prefixes[..fit]);
            BinaryPrimitives.WriteUInt16BigEndian(body[(2 + nlri)..], 0);
        }
        else
        {
            BinaryPrimitives.WriteUInt16BigEndian(body, 0);
            BinaryPrimitives.WriteUInt16BigEndian(body[2..], (ushort)(extra + nlri));
            body[4] = AttributeFlags.Optional | AttributeFlags.ExtendedLength;
            body[5] = AttributeCode.MpUnreach;
            BinaryPrimitives.WriteUInt16BigEndian(body[6..], (ushort)(3 + nlri));
            body[8] = 0;
            body[9] = (byte)family;
            body[10] = 1;
            WritePrefixes(body[11..], prefixes[..fit]);
        }

        prefixes = prefixes[fit..];
        return MessageWriter.Header(into, BgpMessageType.Update, BgpLimits.HeaderSize + 4 + extra + nlri);
    }

    /// <summary>End-of-RIB of a unicast family (RFC 4724 2).</summary>
    public static int EndOfRib(Span<byte> into, IpFamily family) => EndOfRib(into, family.Flag());

    /// <summary>End-of-RIB of one family (RFC 4724 2).</summary>
    public static int EndOfRib(Span<byte> into, BgpFamilies family)
    {
        Span<byte> body = into[BgpLimits.HeaderSize..];
        body[..4].Clear();
        if (family == BgpFamilies.V4) return MessageWriter.Header(into, BgpMessageType.Update, BgpLimits.HeaderSize + 4);
        ReadOnlySpan<byte> unreach = [AttributeFlags.Optional, AttributeCode.MpUnreach, 3, 0, (byte)family.Ip(), family.Safi()];
        body[3] = (byte)unreach.Length;
        unreach.CopyTo(body[4..]);
        return MessageWriter.Header(into, BgpMessageType.Update, BgpLimits.HeaderSize + 4 + unreach.Length);
    }

    private static int Measure(ReadOnlySpan<IpPrefix> prefixes, int room, out int fit)
    {
        int size = 0;
        for (fit = 0; fit < prefixes.Length; fit++)
        {
            int next = NlriReader.SizeOf(prefixes[fit]);
            if (size + next > room) break;
            size += next;
        }

        return size;
    }

    private static int WritePrefixes(Span<byte> into, ReadOnlySpan<IpPrefix> prefixes)
    {
        int at = 0;
        foreach (IpPrefix prefix in prefixes) at += NlriReader.Write(prefix, into[at..]);
        return at;
    }

    /// <summary>Copies the attributes, with NEXT_HOP at its place by type code where one is given.</summary>
    private static int WriteWithNextHop(Span<byte> into, ReadOnlySpan<byte> wire, IpAddress nextHop)
    {
        if (nextHop.IsNone)
        {
            wire.CopyTo(into);
            return wire.Length;
        }

        int before = 0;
        var reader = new AttributeReader(wire);
        while (reader.MoveNext() && reader.Current.Code < AttributeCode.NextHop) before = wire.Length - reader.Rest.Length;
        wire[..before].CopyTo(into);
        into[before] = AttributeFlags.Transitive;
        into[before + 1] = AttributeCode.NextHop;
        into[before + 2] = 4;
        nextHop.Write(into[(before + 3)..]);
        wire[before..].CopyTo(into[(before + 7)..]);
        return wire.Length + 7;
    }

    /// <summary>A route that keeps its next hop carries it in its attributes; here it goes to its place by family.</summary>
    private ReadOnlySpan<byte> WithoutNextHop(ReadOnlySpan<byte> wire)
    {
        int at = 0;
        foreach (RawAttribute attribute in new AttributeReader(wire))
        {
            if (attribute.Code != AttributeCode.NextHop) at += AttributeBuilder.WriteAttribute(Reflected.AsSpan(at), attribute.Flags,
                attribute.Code, attribute.Value);
        }

        return Reflected.AsSpan(0, at);
    }

    /// <summary>The form for a peer with two-octet AS numbers (RFC 6793 4.2.2): AS_TRANS, and AS4_PATH and AS4_AGGREGATOR where something
    /// is lost.</summary>
    private ReadOnlySpan<byte> ToTwoOctets(PathAttributes attributes)
    {
        const byte OptionalTransitive = AttributeFlags.Optional | AttributeFlags.Transitive;
        int at = 0;
        ReadOnlySpan<byte> path = default, aggregator = default;
        Span<byte> narrow = stackalloc byte[6];
        bool as4Done = false;
        foreach (RawAttribute attribute in new AttributeReader(attributes.Wire))
        {
            if (attribute.Code > AttributeCode.As4Path && !as4Done)
            {
                at += WriteAs4(Scratch.AsSpan(at), path, aggregator);
                as4Done = true;
            }

            if (attribute.Code == AttributeCode.AsPath)
            {
                path = attribute.Value;
                int length = AsPath.Convert(path, 4, 2, Path);
                at += AttributeBuilder.WriteAttribute(Scratch.AsSpan(at), attribute.Flags, attribute.Code, Path.AsSpan(0, length));
            }
            else if (attribute.Code == AttributeCode.Aggregator && attribute.Value.Length == 8)
            {
                aggregator = attribute.Value;
                uint number = AsPath.ReadAs(aggregator, 0, 4);
                BinaryPrimitives.WriteUInt16BigEndian(narrow, number > ushort.MaxValue ? BgpLimits.AsTrans : (ushort)number);
                aggregator[4..].CopyTo(narrow[2..]);
                at += AttributeBuilder.WriteAttribute(Scratch.AsSpan(at), attribute.Flags, attribute.Code, narrow);
            }
            else
            {
                at += AttributeBuilder.WriteAttribute(Scratch.AsSpan(at), attribute.Flags, attribute.Code, attribute.Value);
            }
        }

        if (!as4Done) at += WriteAs4(Scratch.AsSpan(at), path, aggregator);
        return Scratch.AsSpan(0, at);

        int WriteAs4(Span<byte> into, ReadOnlySpan<byte> path4, ReadOnlySpan<byte> aggregator4)
        {
            int size = 0;
            if (AsPath.NeedsFourOctets(path4))
            {
                // Confederation segments do not go into AS4_PATH.
                int length = AsPath.WithoutConfederations(path4, Path);
                size += AttributeBuilder.WriteAttribute(into, OptionalTransitive, AttributeCode.As4Path, Path.AsSpan(0, length));
            }

            if (aggregator4.Length == 8 && AsPath.ReadAs(aggregator4, 0, 4) > ushort.MaxValue)
            {
                size += AttributeBuilder.WriteAttribute(into[size..], OptionalTransitive, AttributeCode.As4Aggregator, aggregator4);
            }

            return size;
        }
    }
}
