using SdnEdge.Core.Bgp;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>
/// Hostile UPDATEs by clause of RFC 4271, 7606 and the attributes' own RFCs, over iBGP and eBGP. Each case says what is
/// expected and by which fault it is counted.
/// </summary>
public sealed class HostileUpdateTests
{
    private const string O = UpdateBytes.Origin;
    private const string E = UpdateBytes.EmptyPath;
    private const string P = UpdateBytes.Path65001;
    private const string N = UpdateBytes.NextHop;
    private const string L = UpdateBytes.LocalPref;
    private const string Mp6 = "80 0E 26 0002 01 10 FD0000FF000000000000000000000001 00 80 FD000001000100000000000000000010";

    private static readonly Dictionary<string, (string Attributes, string Nlri, string Withdrawn, BgpFault Fault)> Both = new(StringComparer.Ordinal)
    {
        // {M} stands for the mandatory attributes of the kind of session.
        ["7606 4: the last attribute overruns the total length"] = ("{M} C0 08 08 00000001", UpdateBytes.Nlri, "", BgpFault.AttributeLengths),
        ["7606 4: one byte is left"] = ("{M} C0", UpdateBytes.Nlri, "", BgpFault.AttributeLengths),
        ["7606 4: an extended length is cut off"] = ("{M} D0 08 00", UpdateBytes.Nlri, "", BgpFault.AttributeLengths),
        ["7606 3c: ORIGIN flagged optional"] = ("C0 01 01 00 {P}" + N + "{L}", UpdateBytes.Nlri, "", BgpFault.AttributeFlagBits),
        ["7606 3c: MED flagged well-known"] = ("{M} 40 04 04 00000001", UpdateBytes.Nlri, "", BgpFault.AttributeFlagBits),
        ["7606 3c: COMMUNITIES flagged non-transitive"] = ("{M} 80 08 04 00000001", UpdateBytes.Nlri, "", BgpFault.AttributeFlagBits),
        ["7606 3d: ORIGIN is missing"] = ("{P}" + N + "{L}", UpdateBytes.Nlri, "", BgpFault.AttributeMissing),
        ["7606 3d: AS_PATH is missing"] = (O + N + "{L}", UpdateBytes.Nlri, "", BgpFault.AttributeMissing),
        ["7606 3d: NEXT_HOP is missing"] = (O + "{P}{L}", UpdateBytes.Nlri, "", BgpFault.AttributeMissing),
        ["7606 3d: everything is missing"] = ("C0 08 04 00000001", UpdateBytes.Nlri, "", BgpFault.AttributeMissing),
        ["7606 3d: ORIGIN is missing beside MP_REACH"] = ("{P}{L}" + Mp6, "", "", BgpFault.AttributeMissing),
        ["7606 7.1: ORIGIN 3"] = ("40 01 01 03 {P}" + N + "{L}", UpdateBytes.Nlri, "", BgpFault.OriginMalformed),
        ["7606 7.1: ORIGIN empty"] = ("40 01 00 {P}" + N + "{L}", UpdateBytes.Nlri, "", BgpFault.OriginMalformed),
        ["7606 7.1: ORIGIN of two bytes"] = ("40 01 02 0000 {P}" + N + "{L}", UpdateBytes.Nlri, "", BgpFault.OriginMalformed),
        ["7606 7.2: unknown segment type"] = (O + "40 02 06 05 01 0000FDE9" + N + "{L}", UpdateBytes.Nlri, "", BgpFault.AsPathMalformed),
        ["7606 7.2: segment overruns"] = (O + "40 02 06 02 02 0000FDE9" + N + "{L}", UpdateBytes.Nlri, "", BgpFault.AsPathMalformed),
        ["7606 7.2: one byte after the last segment"] = (O + "40 02 07 02 01 0000FDE9 02" + N + "{L}", UpdateBytes.Nlri, "", BgpFault.AsPathMalformed),
        ["7606 7.2: empty segment"] = (O + "40 02 08 02 01 0000FDE9 02 00" + N + "{L}", UpdateBytes.Nlri, "", BgpFault.AsPathMalformed),
        ["7606 7.2: empty set"] = (O + "40 02 08 02 01 0000FDE9 01 00" + N + "{L}", UpdateBytes.Nlri, "", BgpFault.AsPathMalformed),
        ["7607: AS 0 in the path"] = (O + "40 02 0A 02 02 0000FDE9 00000000" + N + "{L}", UpdateBytes.Nlri, "", BgpFault.AsPathMalformed),
        ["5065 5: confederation segment from outside"] = (O + "40 02 06 03 01 0000FDE9" + N + "{L}", UpdateBytes.Nlri, "", BgpFault.AsPathMalformed),
        ["7606 7.3: NEXT_HOP of three bytes"] = (O + "{P} 40 03 03 0AFF00 {L}", UpdateBytes.Nlri, "", BgpFault.NextHopLength),
        ["7606 7.3: NEXT_HOP of sixteen bytes"] = (O + "{P} 40 03 10 FD0000FF000000000000000000000001 {L}", UpdateBytes.Nlri, "", BgpFault.NextHopLength),
        ["4271 6.3: NEXT_HOP 0.0.0.0"] = (O + "{P} 40 03 04 00000000 {L}", UpdateBytes.Nlri, "", BgpFault.NextHopValue),
        ["4271 6.3: NEXT_HOP 127.0.0.1"] = (O + "{P} 40 03 04 7F000001 {L}", UpdateBytes.Nlri, "", BgpFault.NextHopValue),
        ["4271 6.3: NEXT_HOP is multicast"] = (O + "{P} 40 03 04 E0000001 {L}", UpdateBytes.Nlri, "", BgpFault.NextHopValue),
        ["4271 6.3: NEXT_HOP is broadcast"] = (O + "{P} 40 03 04 FFFFFFFF {L}", UpdateBytes.Nlri, "", BgpFault.NextHopValue),
        ["4760 3: IPv6 next hop :: "] = (O + "{P}{L} 80 0E 16 0002 01 10 00000000000000000000000000000000 00 00", "", "", BgpFault.NextHopValue),
        ["7606 7.4: MED of three bytes"] = ("{M} 80 04 03 000001", UpdateBytes.Nlri, "", BgpFault.MedLength),
        ["7606 7.4: MED empty"] = ("{M} 80 04 00", UpdateBytes.Nlri, "", BgpFault.MedLength),
        ["7606 7.6: ATOMIC_AGGREGATE with content"] = ("{M} 40 06 01 00", UpdateBytes.Nlri, "", BgpFault.AtomicAggregateLength),
        ["7606 7.7: AGGREGATOR of six bytes from a four-octet speaker"] = ("{M} C0 07 06 FDE9 0A000001", UpdateBytes.Nlri, "", BgpFault.AggregatorMalformed),
        ["7607: AGGREGATOR with AS 0"] = ("{M} C0 07 08 00000000 0A000001", UpdateBytes.Nlri, "", BgpFault.AggregatorMalformed),
        ["7606 7.8: COMMUNITIES of five bytes"] = ("{M} C0 08 05 0000000100", UpdateBytes.Nlri, "", BgpFault.CommunitiesLength),
        ["7606 7.8: COMMUNITIES empty"] = ("{M} C0 08 00", UpdateBytes.Nlri, "", BgpFault.CommunitiesLength),
        ["7606 7.14: EXTENDED COMMUNITIES of four bytes"] = ("{M} C0 10 04 00000001", UpdateBytes.Nlri, "", BgpFault.ExtendedCommunitiesLength),
        ["8092 5: LARGE_COMMUNITY of eleven bytes"] = ("{M} C0 20 0B 0000000100000001000000", UpdateBytes.Nlri, "", BgpFault.LargeCommunitiesLength),
        ["6793 6: AS4_PATH from a four-octet speaker"] = ("{M} C0 11 06 02 01 0000FDE9", UpdateBytes.Nlri, "", BgpFault.As4PathMalformed),
        ["7606 3g: COMMUNITIES twice"] = ("{M} C0 08 04 00000001 C0 08 04 00000002", UpdateBytes.Nlri, "", BgpFault.AttributeDuplicate),
        ["7606 3g: ORIGIN twice"] = ("{M}" + O, UpdateBytes.Nlri, "", BgpFault.AttributeDuplicate),
        ["7606 3g: MP_REACH twice"] = (O + "{P}{L}" + Mp6 + Mp6, "", "", BgpFault.MpDuplicate),
        ["7606 3g: MP_UNREACH twice"] = ("80 0F 03 0002 01 80 0F 03 0002 01", "", "", BgpFault.MpDuplicate),
        ["7606 5.2: a fault that would withdraw, and no routes"] = ("{M} 80 04 03 000001", "", "", BgpFault.FaultWithoutNlri),
        ["7606 5.3: NLRI of 33 bits"] = ("{M}", "21 0A01010100", "", BgpFault.NlriSyntax),
        ["7606 5.3: NLRI overruns the message"] = ("{M}", "18 0A01", "", BgpFault.NlriSyntax),
        ["7606 5.3: withdrawn route of 255 bits"] = ("{M}", UpdateBytes.Nlri, "FF 0A", BgpFault.WithdrawnSyntax),
        ["7606 5.3: withdrawn routes end inside a prefix"] = ("{M}", UpdateBytes.Nlri, "18 0A01", BgpFault.WithdrawnSyntax),
        ["7606 7.11: MP_REACH of four bytes"] = (O + "{P}{L} 80 0E 04 00020110", "", "", BgpFault.MpReachSyntax),
        ["7606 7.11: MP_REACH empty"] = (O + "{P}{L} 80 0E 00", "", "", BgpFault.MpReachSyntax),
        ["7606 7.11: next hop overruns MP_REACH"] = (O + "{P}{L} 80 0E 06 0002 01 10 FD00", "", "", BgpFault.MpReachSyntax),
        ["7606 7.11: IPv6 next hop of 15 bytes"] = (O + "{P}{L} 80 0E 14 0002 01 0F FD0000FF0000000000000000000000 00", "", "", BgpFault.MpReachSyntax),
        ["7606 7.11: IPv6 NLRI of 129 bits"] = (O + "{P}{L} 80 0E 27 0002 01 10 FD0000FF000000000000000000000001 00 81 FD0000010001000000000000000000100000", "", "", BgpFault.MpReachSyntax),
        ["7606 7.11: IPv6 NLRI is cut off"] = (O + "{P}{L} 80 0E 19 0002 01 10 FD0000FF000000000000000000000001 00 80 FD0000", "", "", BgpFault.MpReachSyntax),
        ["7606 7.12: MP_UNREACH of two bytes"] = ("80 0F 02 0002", "", "", BgpFault.MpUnreachSyntax),
        ["7606 7.12: MP_UNREACH with a route cut off"] = ("80 0F 05 0002 01 80 FD", "", "", BgpFault.MpUnreachSyntax),
        ["4271 6.3: unknown well-known attribute"] = ("{M} 40 63 01 00", UpdateBytes.Nlri, "", BgpFault.UnknownWellKnown),
        ["4760 7: MP_REACH of a family nobody negotiated"] = ("{M} 80 0E 05 0019 41 00 00", UpdateBytes.Nlri, "", BgpFault.FamilyNotNegotiated),
    };

    public static TheoryData<string, bool> Cases()
    {
        var data = new TheoryData<string, bool>();
        foreach (string name in Both.Keys)
        {
            data.Add(name, false);
            data.Add(name, true);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void By_clause(string name, bool external)
    {
        (string attributes, string nlri, string withdrawn, BgpFault fault) = Both[name];
        attributes = attributes.Replace("{M}", UpdateBytes.Mandatory(external), StringComparison.Ordinal)
            .Replace("{P}", external ? P : E, StringComparison.Ordinal).Replace("{L}", external ? "" : L, StringComparison.Ordinal);
        Expect(UpdateBytes.Body(attributes, nlri, withdrawn), external, fault);
    }

    [Fact]
    public void Lengths_that_lie_about_the_three_parts_reset_the_session()
    {
        foreach (string body in (string[])["0001 0000", "FFFF 0000", "0000 0001", "0000 FFFF 40", "0002 18 0000", "00", "000000"])
        {
            Expect(UpdateBytes.Hex(body), external: false, BgpFault.UpdateLengths);
        }
    }

    [Fact]
    public void LOCAL_PREF_is_checked_over_iBGP_and_dropped_over_eBGP()
    {
        Expect(UpdateBytes.Body(O + E + N + "40 05 03 000064"), external: false, BgpFault.LocalPrefLength);
        Expect(UpdateBytes.Body(O + E + N), external: false, BgpFault.AttributeMissing);
        UpdateMessage update = Expect(UpdateBytes.Body(O + P + N + "40 05 04 00000064"), external: true, BgpFault.LocalPrefExternal);
        Assert.Null(update.Attributes!.LocalPref);
        Expect(UpdateBytes.Body(O + P + N + "40 05 01 00"), external: true, BgpFault.LocalPrefExternal);
    }

    [Fact]
    public void ORIGINATOR_ID_and_CLUSTER_LIST_are_checked_over_iBGP_and_dropped_over_eBGP()
    {
        Expect(UpdateBytes.Body(UpdateBytes.Mandatory(false) + "80 09 03 000001"), external: false, BgpFault.OriginatorIdLength);
        Expect(UpdateBytes.Body(UpdateBytes.Mandatory(false) + "80 0A 06 000000010000"), external: false, BgpFault.ClusterListLength);
        Expect(UpdateBytes.Body(UpdateBytes.Mandatory(false) + "80 0A 00"), external: false, BgpFault.ClusterListLength);
        foreach (string attribute in (string[])["80 09 03 000001", "80 09 04 00000001", "80 0A 06 000000010000", "80 0A 00"])
        {
            UpdateMessage update = Expect(UpdateBytes.Body(UpdateBytes.Mandatory(true) + attribute), external: true, BgpFault.ReflectionExternal);
            Assert.False(update.Attributes!.Has(AttributeCode.OriginatorId) || update.Attributes.Has(AttributeCode.ClusterList));
        }
    }

    [Fact]
    public void Over_eBGP_the_path_must_begin_with_the_AS_of_the_peer()
    {
        Expect(UpdateBytes.Body(O + E + N), external: true, BgpFault.AsPathFirst);
        Expect(UpdateBytes.Body(O + "40 02 06 02 01 0000FDEA" + N), external: true, BgpFault.AsPathFirst);
        Expect(UpdateBytes.Body(O + "40 02 06 01 01 0000FDE9" + N), external: true, BgpFault.AsPathFirst);
    }

    [Fact]
    public void Attributes_23_28_35_and_40_may_hold_anything_and_are_passed_on_as_they_came()
    {
        // Incidents of other speakers: tunnel encapsulation, entropy label, only-to-customer, prefix SID.
        var random = new Random(7);
        foreach (byte code in (byte[])[23, 28, 35, 40, 128, 255])
        {
            for (int i = 0; i < 200; i++)
            {
                byte[] value = new byte[random.Next(0, 200)];
                random.NextBytes(value);
                string attribute = $"C0{code:X2}{value.Length:X2}{Convert.ToHexString(value)}";
                UpdateMessage update = Expect(UpdateBytes.Body(UpdateBytes.Mandatory(true) + attribute), external: true, BgpFault.None);
                Assert.True(update.Attributes!.Find(code).SequenceEqual(value));
            }
        }
    }

    [Fact]
    public void A_path_of_more_than_2000_numbers_is_counted_right_and_never_sent_on_in_a_message_too_long()
    {
        // 900 numbers fill most of a message; 2-octet numbers may be twice as many and grow by conversion.
        string segments = string.Concat(Enumerable.Repeat("02 FF " + string.Concat(Enumerable.Repeat("FDE9 ", 255)), 7));
        string path = $"50 02 {7 * (2 + (255 * 2)):X4} {segments}";
        var counters = new BgpFaultCounters();
        var context = new UpdateContext(FourOctetAs: false, External: true, 65001, BgpFamilies.Both);
        UpdateMessage update = new UpdateDecoder(new AttributeTable(), counters).Decode(UpdateBytes.Body(O + path + N), context);
        Assert.Equal(FaultAction.None, update.Action);
        Assert.Equal(7 * 255, update.Attributes!.AsPathLength);

        ReadOnlySpan<Core.Wire.IpPrefix> prefixes = [Core.Wire.IpPrefix.Parse("10.1.1.0/24")];
        Assert.Equal(0, new UpdateEncoder().Announce(new byte[4096], update.Attributes, true, Core.Wire.IpAddress.Parse("10.0.0.1"), ref prefixes));
        Assert.NotEqual(0, new UpdateEncoder().Announce(new byte[4096], update.Attributes, false, Core.Wire.IpAddress.Parse("10.0.0.1"), ref prefixes));
    }

    [Fact]
    public void AS4_PATH_of_any_bad_shape_is_dropped_and_a_longer_one_than_AS_PATH_is_ignored()
    {
        var context = new UpdateContext(FourOctetAs: false, External: true, 65001, BgpFamilies.Both);
        foreach ((string as4, string expected, BgpFault fault) in ((string, string, BgpFault)[])[
            ("C0 11 06 02 01 0000FDEA", "65001 65002", BgpFault.None),
            ("C0 11 0A 02 02 FA56EA00 FA56EA01", "4200000000 4200000001", BgpFault.None),
            ("C0 11 0E 02 03 FA56EA00 FA56EA01 FA56EA02", "65001 23456", BgpFault.None),
            ("C0 11 00", "65001 23456", BgpFault.As4PathMalformed),
            ("C0 11 05 02 01 0000FD", "65001 23456", BgpFault.As4PathMalformed),
            ("C0 11 06 07 01 0000FDEA", "65001 23456", BgpFault.As4PathMalformed),
            ("C0 11 0C 03 01 0000FDEA 02 01 FA56EA01", "65001 4200000001", BgpFault.As4PathConfederation),
            ("C0 11 06 03 01 0000FDEA", "65001 23456", BgpFault.As4PathConfederation)])
        {
            var counters = new BgpFaultCounters();
            UpdateMessage update = new UpdateDecoder(new AttributeTable(), counters).Decode(
                UpdateBytes.Body(O + "40 02 06 02 02 FDE9 5BA0" + N + as4), context);
            Assert.True(update.Action <= FaultAction.AttributeDiscard);
            Assert.Equal(fault, update.Fault);
            Assert.Equal(expected, update.Attributes!.AsPathText());
            Assert.False(update.Attributes.Has(AttributeCode.As4Path));
        }
    }

    private static UpdateMessage Expect(byte[] body, bool external, BgpFault fault)
    {
        var counters = new BgpFaultCounters();
        var context = new UpdateContext(FourOctetAs: true, external, external ? 65001u : 65000u, BgpFamilies.Both);
        UpdateMessage update = new UpdateDecoder(new AttributeTable(), counters).Decode(body, context);
        Assert.Equal(fault, update.Fault);
        Assert.Equal(BgpFaults.ActionOf(fault), update.Action);
        if (fault != BgpFault.None) Assert.Equal(1, counters[fault]);
        Assert.Equal(update.Action >= FaultAction.TreatAsWithdraw, update.Attributes is null);
        return update;
    }
}
