using System.Buffers.Binary;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>What a session has negotiated, as far as decoding an UPDATE depends on it.</summary>
/// <param name="FourOctetAs">AS numbers have four octets (RFC 6793).</param>
/// <param name="External">eBGP.</param>
/// <param name="PeerAs">AS of the peer.</param>
/// <param name="Families">Families negotiated.</param>
/// <param name="OurV4">Our own IPv4 address: no next hop. None: not checked.</param>
/// <param name="OurV6">Our own IPv6 address: no next hop. None: not checked.</param>
public readonly record struct UpdateContext(
    bool FourOctetAs, bool External, uint PeerAs, BgpFamilies Families, IpAddress OurV4 = default, IpAddress OurV6 = default)
{
    /// <summary>Families whose prefixes come with path identifiers (RFC 7911).</summary>
    public BgpFamilies AddPathFamilies { get; init; }

    /// <summary>IPv4 routes may have IPv6 next hops (RFC 8950).</summary>
    public bool ExtendedNextHop { get; init; }

    /// <summary>The peer is a route server: its own AS need not stand first in a path (RFC 7947 2.2.2.1).</summary>
    public bool RouteServer { get; init; }

    /// <summary>The link that the peer is on; null: it is reached by routes.</summary>
    public BgpLink? Link { get; init; }

    /// <summary>Nothing but the link is between us and the peer.</summary>
    public bool OneHop { get; init; }

    internal bool HasPathIds(IpFamily family) => (AddPathFamilies & family.Flag()) != 0;
}

/// <summary>
/// A decoded UPDATE. Spans point into the message. By <see cref="Action"/>: <see cref="FaultAction.SessionReset"/> - nothing
/// else counts; <see cref="FaultAction.TreatAsWithdraw"/> - all routes named, announced ones too, are to be withdrawn and
/// <see cref="Attributes"/> is null; else the routes announced have <see cref="Attributes"/>.
/// </summary>
public ref struct UpdateMessage
{
    /// <summary>The strongest action any fault asks for.</summary>
    public FaultAction Action { get; internal set; }

    /// <summary>The fault behind <see cref="Action"/>.</summary>
    public BgpFault Fault { get; internal set; }

    /// <summary>What the NOTIFICATION of a reset carries: the attribute at fault (RFC 4271 6.3); else empty.</summary>
    public ReadOnlySpan<byte> FaultData { get; internal set; }

    /// <summary>IPv4 routes withdrawn.</summary>
    public ReadOnlySpan<byte> Withdrawn { get; internal set; }

    /// <summary>IPv4 routes announced.</summary>
    public ReadOnlySpan<byte> Nlri { get; internal set; }

    /// <summary>Next hop of <see cref="Nlri"/>.</summary>
    public IpAddress NextHop { get; internal set; }

    /// <summary>Family of MP_REACH_NLRI; 0 when there is none of a negotiated family.</summary>
    public IpFamily MpFamily { get; internal set; }

    /// <summary>Routes in MP_REACH_NLRI.</summary>
    public ReadOnlySpan<byte> MpNlri { get; internal set; }

    /// <summary>Next hop in MP_REACH_NLRI: the global address where there are two.</summary>
    public IpAddress MpNextHop { get; internal set; }

    /// <summary>Family of MP_UNREACH_NLRI; 0 when there is none of a negotiated family.</summary>
    public IpFamily MpWithdrawnFamily { get; internal set; }

    /// <summary>Routes in MP_UNREACH_NLRI.</summary>
    public ReadOnlySpan<byte> MpWithdrawn { get; internal set; }

    /// <summary>Family of the VPN routes announced (SAFI 128); 0 when there are none of a negotiated family.</summary>
    public IpFamily VpnFamily { get; internal set; }

    /// <summary>VPN routes announced.</summary>
    public ReadOnlySpan<byte> VpnNlri { get; internal set; }

    /// <summary>Next hop of <see cref="VpnNlri"/>, of either family.</summary>
    public IpAddress VpnNextHop { get; internal set; }

    /// <summary>Family of the VPN routes withdrawn; 0 when there are none of a negotiated family.</summary>
    public IpFamily VpnWithdrawnFamily { get; internal set; }

    /// <summary>VPN routes withdrawn.</summary>
    public ReadOnlySpan<byte> VpnWithdrawn { get; internal set; }

    /// <summary>The family of VPNs whose end this message marks; 0 when it marks none.</summary>
    public IpFamily VpnEndOfRib { get; internal set; }

    /// <summary>Attributes of the routes announced; null when none are, or when they are treated as withdrawn.</summary>
    public PathAttributes? Attributes { get; internal set; }

    /// <summary>The family whose end this message marks (RFC 4724 2); 0 when it is no End-of-RIB.</summary>
    public IpFamily EndOfRib { get; internal set; }
}

/// <summary>
/// Decodes UPDATE (RFC 4271 4.3, RFC 4760) with the error handling of RFC 7606, alike for iBGP and eBGP.
/// <code>
/// | withdrawn length (2) | withdrawn routes | attributes length (2) | attributes | NLRI |
/// attribute: | flags (1) | code (1) | length (1, or 2 with the extended-length flag) | value |
/// </code>
/// 1. Frame the three parts. 2. Walk the attributes, each checked for itself; the strongest action wins.
/// 3. Check that what is mandatory is there. 4. Give the attributes their canonical form and intern them.
/// No input makes it throw. Not thread-safe; decoders of one table share its scratch space.
/// </summary>
public sealed class UpdateDecoder(AttributeTable table, BgpFaultCounters counters)
{
    private readonly AttributeBuilder _builder = table.Builder;
    private readonly bool[] _seen = new bool[256];

    private byte[] Path => table.Path;

    /// <summary>Decodes the body of an UPDATE: at least four bytes, what follows the header.</summary>
    public UpdateMessage Decode(ReadOnlySpan<byte> body, scoped in UpdateContext context)
    {
        var update = default(UpdateMessage);

        // 1. The three parts.
        int withdrawn = body.Length < 4 ? int.MaxValue : BinaryPrimitives.ReadUInt16BigEndian(body);
        if (withdrawn > body.Length - 4) return Reset(BgpFault.UpdateLengths);
        int attributes = BinaryPrimitives.ReadUInt16BigEndian(body[(2 + withdrawn)..]);
        if (attributes > body.Length - 4 - withdrawn) return Reset(BgpFault.UpdateLengths);
        update.Withdrawn = body.Slice(2, withdrawn);
        update.Nlri = body[(4 + withdrawn + attributes)..];
        if (!NlriReader.IsWellFormed(update.Withdrawn, IpFamily.V4,
            context.HasPathIds(IpFamily.V4))) return Reset(BgpFault.WithdrawnSyntax);
        if (!NlriReader.IsWellFormed(update.Nlri, IpFamily.V4, context.HasPathIds(IpFamily.V4))) return Reset(BgpFault.NlriSyntax);
        if ((context.Families & BgpFamilies.V4) == 0 && (update.Withdrawn.Length > 0 || update.Nlri.Length > 0))
        {
            Note(ref update, BgpFault.FamilyNotNegotiated);
            update.Withdrawn = default;
            update.Nlri = default;
        }

        if (body.Length == 4)
        {
            update.EndOfRib = IpFamily.V4;
            return update;
        }

        // 2. The attributes.
        _builder.Clear();
        Array.Clear(_seen);
        var reader = new AttributeReader(body.Slice(4 + withdrawn, attributes));
        int count = 0;
        bool announcesMp = false, broken = false;
        ReadOnlySpan<byte> rest = reader.Rest;
        while (reader.MoveNext())
        {
            RawAttribute attribute = reader.Current;
            ReadOnlySpan<byte> whole = rest[..^reader.Rest.Length];
            rest = reader.Rest;
            count++;
            BgpFault fault = _seen[attribute.Code] ? Duplicate(attribute.Code) : Read(ref update, attribute, context, ref announcesMp);
            _seen[attribute.Code] = true;
            Note(ref update, fault);
            broken |= IsBroken(fault);
            if (update.Action != FaultAction.SessionReset) continue;
            if (fault != BgpFault.MpDuplicate) update.FaultData = whole;
            return update;
        }

        if (reader.Rest.Length > 0)
        {
            Note(ref update, BgpFault.AttributeLengths);
            broken = true;
        }

        // 3. What must be there.
        bool announces = update.Nlri.Length > 0 || update.MpNlri.Length > 0 || update.VpnNlri.Length > 0;
        if (announces) CheckMandatory(ref update, context);
        if (update.Action == FaultAction.TreatAsWithdraw)
        {
            // Nothing was announced that could be withdrawn: perhaps the routes themselves were lost (RFC 7606 5.2).
            return announces || announcesMp || !broken ? update : Reset(BgpFault.FaultWithoutNlri);
        }

        if (!announces)
        {
            if (count == 1 && update.MpWithdrawnFamily != 0 && update.MpWithdrawn.IsEmpty && update.Withdrawn.IsEmpty) update.EndOfRib =
                update.MpWithdrawnFamily;
            if (count == 1 && update.VpnWithdrawnFamily != 0 && update.VpnWithdrawn.IsEmpty
                && update.Withdrawn.IsEmpty) update.VpnEndOfRib = update.VpnWithdrawnFamily;
            return update;
        }

        // 4. Canonical form.
        ReadOnlySpan<byte> wire = MergeAs4(context) ? _builder.Build() : default;
        if (wire.IsEmpty || wire.Length > BgpLimits.MaxAttributes)
        {
            Note(ref update, BgpFault.AttributesTooLarge);
            return update;
        }

        update.Attributes = table.Intern(wire);
        return update;
    }

    private static BgpFault Duplicate(byte code) =>
        code is AttributeCode.MpReach or AttributeCode.MpUnreach ? BgpFault.MpDuplicate : BgpFault.AttributeDuplicate;

    private BgpFault Read(ref UpdateMessage update, RawAttribute attribute, scoped in UpdateContext context, ref bool announcesMp)
    {
        ReadOnlySpan<byte> value = attribute.Value;
        int expected = ExpectedFlags(attribute.Code);
        if (expected < 0) return Unknown(attribute);

        // RFC 9012 11: not let in over eBGP, whatever is in it.
        if (attribute.Code == AttributeCode.TunnelEncapsulation && context.External) return BgpFault.TunnelEncapsulationExternal;

        bool flags = (attribute.Flags & (AttributeFlags.Optional | AttributeFlags.Transitive)) == expected;
        if (!flags)
        {
            // Wrong flags are among what makes the routes in these two incorrect, readable or not: 3 c yields to 5.3 (RFC 7606 3 j).
            return attribute.Code switch
            {
                AttributeCode.MpReach => BgpFault.MpReachSyntax,
                AttributeCode.MpUnreach => BgpFault.MpUnreachSyntax,
                AttributeCode.AtomicAggregate or AttributeCode.Aggregator => BgpFault.AggregateFlagBits,
                AttributeCode.TunnelEncapsulation => BgpFault.TunnelEncapsulationMalformed,
                _ => BgpFault.AttributeFlagBits,
            };
        }

        BgpFault fault = Check(attribute.Code, value, context);
        if (fault != BgpFault.None) return fault;
        switch (attribute.Code)
        {
            case AttributeCode.MpReach:
                return ReadMpReach(ref update, value, context, ref announcesMp);
            case AttributeCode.MpUnreach:
                return ReadMpUnreach(ref update, value, context);
            case AttributeCode.NextHop:
                update.NextHop = IpAddress.Read(IpFamily.V4, value);
                return CheckHop(update.NextHop, context);
            case AttributeCode.As4Path:
                int kept = AsPath.WithoutConfederations(value, Path);
                if (kept > 0) _builder.Set(Kept(attribute.Flags, expected), attribute.Code, Path.AsSpan(0, kept));
                return kept == value.Length ? BgpFault.None : BgpFault.As4PathConfederation;
            case AttributeCode.AsPath when !context.FourOctetAs:
                _builder.Set(AttributeFlags.Transitive, attribute.Code, value);
                return BgpFault.None;
            case AttributeCode.Aggregator when !context.FourOctetAs:
                Span<byte> wide = stackalloc byte[8];
                wide.Clear();
                value[..2].CopyTo(wide[2..]);
                value[2..].CopyTo(wide[4..]);
                _builder.Set(Kept(attribute.Flags, expected), attribute.Code, wide);
                return BgpFault.None;
            default:
                _builder.Set(Kept(attribute.Flags, expected), attribute.Code, value);
                return BgpFault.None;
        }
    }

    /// <summary>Flags to keep: partial means something on optional transitive attributes only.</summary>
    private static byte Kept(byte flags, int expected) => expected == (AttributeFlags.Optional | AttributeFlags.Transitive)
        ? (byte)(expected | (flags & AttributeFlags.Partial))
        : (byte)expected;

    private BgpFault Unknown(RawAttribute attribute)
    {
        if ((attribute.Flags & AttributeFlags.Optional) == 0) return BgpFault.UnknownWellKnown;
        if ((attribute.Flags & AttributeFlags.Transitive) == 0) return BgpFault.None;

        // Its content is never looked at, whatever it is: we only pass it on, marked partial (RFC 4271 5).
        _builder.Set(AttributeFlags.Optional | AttributeFlags.Transitive | AttributeFlags.Partial, attribute.Code, attribute.Value);
        return BgpFault.None;
    }

    private static int ExpectedFlags(byte code) => code switch
    {
        AttributeCode.Origin or AttributeCode.AsPath or AttributeCode.NextHop or AttributeCode.LocalPref
            or AttributeCode.AtomicAggregate => AttributeFlags.Transitive,
        AttributeCode.Med or AttributeCode.OriginatorId or AttributeCode.ClusterList or AttributeCode.MpReach
            or AttributeCode.MpUnreach => AttributeFlags.Optional,
        AttributeCode.Aggregator or AttributeCode.Communities or AttributeCode.ExtendedCommunities or AttributeCode.As4Path
            or AttributeCode.As4Aggregator or AttributeCode.Ipv6ExtendedCommunities or AttributeCode.LargeCommunities
            or AttributeCode.TunnelEncapsulation => AttributeFlags.Optional | AttributeFlags.Transitive,
        _ => -1,
    };

    /// <summary>Checks one attribute of a known type for itself. A fault that discards leaves the attribute out.</summary>
    private static BgpFault Check(byte code, ReadOnlySpan<byte> value, scoped in UpdateContext context)
    {
        int asSize = context.FourOctetAs ? 4 : 2;
        return code switch
        {
            AttributeCode.Origin => value is [<= (byte)BgpOrigin.Incomplete] ? BgpFault.None : BgpFault.OriginMalformed,
            AttributeCode.AsPath => CheckPath(value, asSize, context),
            AttributeCode.NextHop => value.Length == 4 ? BgpFault.None : BgpFault.NextHopLength,
            AttributeCode.Med => value.Length == 4 ? BgpFault.None : BgpFault.MedLength,
            AttributeCode.LocalPref => context.External ? BgpFault.LocalPrefExternal
                : value.Length == 4 ? BgpFault.None : BgpFault.LocalPrefLength,
            AttributeCode.AtomicAggregate => value.IsEmpty ? BgpFault.None : BgpFault.AtomicAggregateLength,
            AttributeCode.Aggregator => value.Length == 4 + asSize && AsPath.ReadAs(value, 0, asSize) != 0 ? BgpFault.None
                : BgpFault.AggregatorMalformed,
            AttributeCode.As4Aggregator => value.Length == 8 && AsPath.ReadAs(value, 0, 4) != 0 && !context.FourOctetAs
                ? BgpFault.None : BgpFault.AggregatorMalformed,
            AttributeCode.Communities => IsMultiple(value, 4) ? BgpFault.None : BgpFault.CommunitiesLength,
            AttributeCode.ExtendedCommunities => IsMultiple(value, 8) ? BgpFault.None : BgpFault.ExtendedCommunitiesLength,
            AttributeCode.Ipv6ExtendedCommunities => IsMultiple(value, 20) ? BgpFault.None : BgpFault.Ipv6ExtendedCommunitiesLength,
            AttributeCode.LargeCommunities => IsMultiple(value, 12) ? BgpFault.None : BgpFault.LargeCommunitiesLength,
            AttributeCode.OriginatorId => context.External ? BgpFault.ReflectionExternal
                : value.Length == 4 ? BgpFault.None : BgpFault.OriginatorIdLength,
            AttributeCode.ClusterList => context.External ? BgpFault.ReflectionExternal
                : IsMultiple(value, 4) ? BgpFault.None : BgpFault.ClusterListLength,
            AttributeCode.As4Path => !context.FourOctetAs && !value.IsEmpty && AsPath.IsWellFormed(value, 4, confederation: true)
                ? BgpFault.None : BgpFault.As4PathMalformed,
            AttributeCode.TunnelEncapsulation => GreTunnelRoute.IsWellFormed(value) ? BgpFault.None : BgpFault.TunnelEncapsulationMalformed,
            _ => BgpFault.None,
        };
    }

    private static BgpFault CheckPath(ReadOnlySpan<byte> value, int asSize, in UpdateContext context)
    {
        // No confederations: their segments from a peer that is in none are malformed (RFC 5065 5).
        if (!AsPath.IsWellFormed(value, asSize, confederation: false)) return BgpFault.AsPathMalformed;
        if (!context.External || context.RouteServer) return BgpFault.None;
        uint expected = asSize == 2 && context.PeerAs > ushort.MaxValue ? BgpLimits.AsTrans : context.PeerAs;
        bool begins = value.Length > 0 && value[0] == AsSegment.Sequence && AsPath.ReadAs(value[2..], 0, asSize) == expected;
        return begins ? BgpFault.None : BgpFault.AsPathFirst;
    }

    private BgpFault ReadMpReach(ref UpdateMessage update, ReadOnlySpan<byte> value, scoped in UpdateContext context, ref bool announcesMp)
    {
        // | AFI (2) | SAFI (1) | next hop length (1) | next hop | reserved (1) | NLRI |
        if (value.Length < 5 || value.Length < 5 + value[3]) return BgpFault.MpReachSyntax;
        IpFamily family = FamilyOf(value, context.Families);
        announcesMp = value.Length > 5 + value[3];
        if (value[2] == BgpFamiliesExtensions.MplsVpn) return ReadVpnReach(ref update, value, context);
        if (family == 0) return BgpFault.FamilyNotNegotiated;
        int size = value[3];
        bool fits = (family == IpFamily.V4 && size == 4) || (size is 16 or 32 && (family == IpFamily.V6 || context.ExtendedNextHop));
        ReadOnlySpan<byte> nlri = value[(5 + size)..];
        if (!fits || !NlriReader.IsWellFormed(nlri, family, context.HasPathIds(family))) return BgpFault.MpReachSyntax;
        update.MpFamily = family;
        update.MpNlri = nlri;
        update.MpNextHop = IpAddress.Read(size == 4 ? IpFamily.V4 : IpFamily.V6, value[4..]);

        // A speaker that has no global address writes none, or its link-local one, in that place (RFC 2545 3 leaves it open).
        if (size == 32 && update.MpNextHop.Bits == 0) update.MpNextHop = IpAddress.Read(IpFamily.V6, value[20..]);
        return CheckHop(update.MpNextHop, context);
    }

    private static BgpFault ReadMpUnreach(ref UpdateMessage update, ReadOnlySpan<byte> value, scoped in UpdateContext context)
    {
        // | AFI (2) | SAFI (1) | withdrawn routes |
        if (value.Length < 3) return BgpFault.MpUnreachSyntax;
        if (value[2] == BgpFamiliesExtensions.MplsVpn) return ReadVpnUnreach(ref update, value, context);
        IpFamily family = FamilyOf(value, context.Families);
        if (family == 0) return BgpFault.FamilyNotNegotiated;
        if (!NlriReader.IsWellFormed(value[3..], family, context.HasPathIds(family))) return BgpFault.MpUnreachSyntax;
        update.MpWithdrawnFamily = family;
        update.MpWithdrawn = value[3..];
        return BgpFault.None;
    }

    private static BgpFault ReadVpnReach(ref UpdateMessage update, ReadOnlySpan<byte> value, scoped in UpdateContext context)
    {
        BgpFamilies family = BgpFamiliesExtensions.FromCodes(value[0], value[1], value[2]) & context.Families;
        if (family == BgpFamilies.None) return BgpFault.FamilyNotNegotiated;
        ReadOnlySpan<byte> nlri = value[(5 + value[3])..];
        if (!VpnNextHop.TryRead(family.Ip(), value.Slice(4, value[3]), out IpAddress hop)
            || !VpnNlriReader.IsWellFormed(nlri, family.Ip())) return BgpFault.MpReachSyntax;
        update.VpnFamily = family.Ip();
        update.VpnNlri = nlri;
        update.VpnNextHop = hop;
        return CheckHop(hop, context);
    }

    private static BgpFault ReadVpnUnreach(ref UpdateMessage update, ReadOnlySpan<byte> value, scoped in UpdateContext context)
    {
        BgpFamilies family = BgpFamiliesExtensions.FromCodes(value[0], value[1], value[2]) & context.Families;
        if (family == BgpFamilies.None) return BgpFault.FamilyNotNegotiated;
        if (!VpnNlriReader.IsWellFormed(value[3..], family.Ip())) return BgpFault.MpUnreachSyntax;
        update.VpnWithdrawnFamily = family.Ip();
        update.VpnWithdrawn = value[3..];
        return BgpFault.None;
    }

    private static IpFamily FamilyOf(ReadOnlySpan<byte> value, BgpFamilies negotiated) =>
        (value[0], value[1], value[2]) switch
        {
            (0, 1, 1) when (negotiated & BgpFamilies.V4) != 0 => IpFamily.V4,
            (0, 2, 1) when (negotiated & BgpFamilies.V6) != 0 => IpFamily.V6,
            _ => 0,
        };

    private void CheckMandatory(ref UpdateMessage update, in UpdateContext context)
    {
        // An attribute that was seen but is malformed is not missing: it has its own fault.
        bool complete = _seen[AttributeCode.Origin] && _seen[AttributeCode.AsPath]
            && (update.Nlri.IsEmpty || _seen[AttributeCode.NextHop])
            && (context.External || _seen[AttributeCode.LocalPref]);
        if (!complete) Note(ref update, BgpFault.AttributeMissing);
    }

    /// <summary>Makes four-octet attributes of what a peer with two-octet AS numbers sent (RFC 6793 4.2.3). False: the path grows too long
    /// for that.</summary>
    private bool MergeAs4(in UpdateContext context)
    {
        if (context.FourOctetAs) return true;
        if (_builder.Get(AttributeCode.AsPath).Length
            + _builder.Get(AttributeCode.As4Path).Length > BgpLimits.MaxAttributes / 2) return false;
        ReadOnlySpan<byte> aggregator = _builder.Get(AttributeCode.Aggregator);
        bool ignoreAs4 = aggregator.Length == 8 && _builder.Has(AttributeCode.As4Aggregator)
            && AsPath.ReadAs(aggregator, 0, 4) != BgpLimits.AsTrans;
        if (_builder.Has(AttributeCode.As4Aggregator))
        {
            if (!ignoreAs4 && aggregator.Length == 8)
            {
                _builder.Set(AttributeFlags.Optional | AttributeFlags.Transitive, AttributeCode.Aggregator,
                    _builder.Get(AttributeCode.As4Aggregator));
            }

            _builder.Remove(AttributeCode.As4Aggregator);
        }

        int length = AsPath.Merge(_builder.Get(AttributeCode.AsPath), ignoreAs4 ? default : _builder.Get(AttributeCode.As4Path), Path);
        _builder.Set(AttributeFlags.Transitive, AttributeCode.AsPath, Path.AsSpan(0, length)).Remove(AttributeCode.As4Path);
        return true;
    }

    private static bool IsMultiple(ReadOnlySpan<byte> value, int of) => value.Length > 0 && value.Length % of == 0;

    private static BgpFault CheckHop(IpAddress hop, in UpdateContext context)
    {
        if (!IsHost(hop)) return BgpFault.NextHopValue;
        IpAddress ours = hop.IsV4 ? context.OurV4 : context.OurV6;
        if ((!ours.IsNone && hop == ours) || context.Link?.Owns(hop) == true) return BgpFault.NextHopOurs;

        // Without a link nobody knows which one is meant.
        if (hop is { IsV6: true, IsLinkLocal: true }) return context.Link is null ? BgpFault.NextHopValue : BgpFault.None;
        return context is { External: true, OneHop: true, Link: { } link } && !link.Covers(hop) ? BgpFault.NextHopOffLink : BgpFault.None;
    }

    /// <summary>Whether a fault makes one doubt what the message says. A next hop that parses but cannot be used, or a tunnel that makes no
    /// sense, does not: it costs its routes only (RFC 4271 6.3, RFC 9012 13).</summary>
    private static bool IsBroken(BgpFault fault)
        => fault is not (BgpFault.NextHopValue or BgpFault.NextHopOurs or BgpFault.NextHopOffLink or BgpFault.TunnelEncapsulationMalformed)
        && BgpFaults.ActionOf(fault) == FaultAction.TreatAsWithdraw;

    internal static bool IsHost(IpAddress address) => address.IsV4
        ? address.V4 >> 24 is not (0 or 127) and not >= 224
        : address.Bits > 1 && !address.IsMulticast;

    private UpdateMessage Reset(BgpFault fault)
    {
        counters.Add(fault);
        return new UpdateMessage { Action = FaultAction.SessionReset, Fault = fault };
    }

    private void Note(ref UpdateMessage update, BgpFault fault)
    {
        if (fault == BgpFault.None) return;
        counters.Add(fault);
        FaultAction action = BgpFaults.ActionOf(fault);
        if (action <= update.Action) return;
        update.Action = action;
        update.Fault = fault;
    }
}
