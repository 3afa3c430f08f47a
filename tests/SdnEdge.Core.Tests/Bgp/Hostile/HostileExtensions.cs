using SdnEdge.Core.Bgp;
using SdnEdge.Testing.Bgp;
using static SdnEdge.Core.Bgp.BgpFault;
using static SdnEdge.Core.Tests.Bgp.Hostile.HostileCase;
using static SdnEdge.Testing.Bgp.UpdateSketch;
using Code = SdnEdge.Core.Bgp.AttributeCode;

namespace SdnEdge.Core.Tests.Bgp.Hostile;

/// <summary>UPDATE: multiprotocol, 4-octet AS numbers, reflection, communities, and attributes we do not know.</summary>
internal static class HostileExtensions
{
    private const FaultAction Taken = FaultAction.None;
    private const FaultAction Discard = FaultAction.AttributeDiscard;
    private const FaultAction Withdraw = FaultAction.TreatAsWithdraw;
    private const string Hop = "10 FD0000FF000000000000000000000002 00";
    private const string Host = "80 FD000001000100000000000000000010";

    public static IEnumerable<HostileCase> Multiprotocol()
    {
        HostileCase Reset(string clause, string input, BgpFault fault, Func<UpdateSketch, UpdateSketch> change, bool echo = true) =>
            Update(clause, input, FaultAction.SessionReset, fault, change) with { Notification = echo ? "0309" : "0301",
                Data = echo ? null : "" };

        yield return Reset("7606 5.3", "MP_REACH empty", MpReachSyntax, u => u.Mp("", ""));
        yield return Reset("7606 5.3", "MP_REACH of four bytes", MpReachSyntax, u => u.Mp("10"));
        yield return Reset("7606 5.3", "MP_REACH flagged transitive", MpReachSyntax, u => u.Mp(flags: Both));
        yield return Reset("7606 5.3", "MP_REACH flagged well-known", MpReachSyntax, u => u.Mp(flags: WellKnown));
        yield return Reset("7606 7.11", "next hop overruns MP_REACH", MpReachSyntax, u => u.Mp("10 FD00"));
        yield return Reset("7606 7.11", "next hop leaves no room for the reserved byte", MpReachSyntax,
            u => u.Mp("10 FD0000FF000000000000000000000002"));
        yield return Reset("7606 7.11", "IPv6 next hop of 0 bytes", MpReachSyntax, u => u.Mp("00 00" + Host));
        yield return Reset("7606 7.11", "IPv6 next hop of 4 bytes", MpReachSyntax, u => u.Mp("04 0AFF0002 00" + Host));
        yield return Reset("7606 7.11", "IPv6 next hop of 15 bytes", MpReachSyntax,
            u => u.Mp("0F FD0000FF0000000000000000000000 00" + Host));
        yield return Reset("7606 7.11", "IPv6 next hop of 24 bytes", MpReachSyntax,
            u => u.Mp("18 0000000000000000 FD0000FF000000000000000000000002 00" + Host));
        yield return Reset("7606 7.11", "IPv4 next hop of 5 bytes", MpReachSyntax, u => u.Mp("05 0AFF000200 00 18 0A0101", "0001 01"));
        yield return Reset("7606 5.3", "IPv6 NLRI of 129 bits", MpReachSyntax, u => u.Mp(Hop + "81 FD0000010001000000000000000000100000"));
        yield return Reset("7606 5.3", "IPv6 NLRI is cut off", MpReachSyntax, u => u.Mp(Hop + "80 FD0000"));
        yield return Reset("7606 5.3", "IPv4 NLRI of 33 bits in MP_REACH", MpReachSyntax,
            u => u.Mp("04 0AFF0002 00 21 0A01010100", "0001 01"));
        yield return Reset("7606 5.3", "MP_UNREACH empty", MpUnreachSyntax, u => u.Bare().Add(Optional, Code.MpUnreach, ""));
        yield return Reset("7606 5.3", "MP_UNREACH of two bytes", MpUnreachSyntax, u => u.Bare().Add(Optional, Code.MpUnreach, "0002"));
        yield return Reset("7606 5.3", "MP_UNREACH flagged transitive", MpUnreachSyntax,
            u => u.Bare().Add(Both, Code.MpUnreach, "000201" + Host));
        yield return Reset("7606 5.3", "MP_UNREACH with a route cut off", MpUnreachSyntax,
            u => u.Bare().Add(Optional, Code.MpUnreach, "000201 80 FD"));
        yield return Reset("7606 5.3", "MP_UNREACH with a route of 129 bits", MpUnreachSyntax,
            u => u.Bare().Add(Optional, Code.MpUnreach, "000201 81 " + new string('0', 34)));
        yield return Reset("7606 3g", "MP_REACH twice", MpDuplicate, u => u.Mp().Twice(Code.MpReach), echo: false);
        yield return Reset("7606 3g", "MP_UNREACH twice", MpDuplicate,
            u => u.Bare().Add(Optional, Code.MpUnreach, "000201").Twice(Code.MpUnreach), echo: false);

        yield return Update("4760 5", "MP_REACH of a family nobody negotiated", Discard, FamilyNotNegotiated,
            u => u.Add(Optional, Code.MpReach, "0019 41 00 00"));
        yield return Update("4760 5", "MP_UNREACH of a family nobody negotiated", Discard, FamilyNotNegotiated,
            u => u.Bare().Add(Optional, Code.MpUnreach, "4004 47 00112233"));
        yield return Update("4760 3", "IPv6 next hop ::", Withdraw, NextHopValue,
            u => u.Mp("10 00000000000000000000000000000000 00" + Host));
        yield return Update("4760 3", "IPv6 next hop ::1", Withdraw, NextHopValue,
            u => u.Mp("10 00000000000000000000000000000001 00" + Host));
        yield return Update("4760 3", "IPv6 next hop is multicast", Withdraw, NextHopValue,
            u => u.Mp("10 FF020000000000000000000000000001 00" + Host));
        yield return Update("4760 3", "IPv6 next hop is our own address", Withdraw, NextHopOurs,
            u => u.Mp("10 FD0000FF000000000000000000000001 00" + Host));
        yield return Update("7606 5.2", "a fault that withdraws beside MP_REACH", Withdraw, MedLength,
            u => u.Mp().Add(Optional, Code.Med, "00"));
        yield return Update("2545 3", "IPv6 next hop with a link-local one behind it", Taken, None,
            u => u.Mp("20 FD0000FF000000000000000000000002 FE800000000000000000000000000002 00" + Host));
        yield return Update("4760 3", "reserved byte of MP_REACH is not 0", Taken, None,
            u => u.Mp("10 FD0000FF000000000000000000000002 FF" + Host));
        yield return Update("4760 3", "MP_REACH is the last attribute", Taken, None, u => u.Mp().Add(Optional, Code.Med, "00000001"));
        yield return Update("4760 3", "IPv4 routes in MP_REACH", Taken, None, u => u.Mp("04 0AFF0002 00 18 0A0101 18 0A0102", "0001 01"));
        yield return Update("7606 5.1", "both kinds of IPv4 routes, MP_REACH and MP_UNREACH in one message", Taken, None,
            u => u.Add(Optional, Code.MpReach, "0002 01" + Hop + Host)
                .Add(Optional, Code.MpUnreach, "000201 80 FD000001000100000000000000000099").Withdrawn("18 0A0107"));
    }

    public static IEnumerable<HostileCase> FourOctetAs()
    {
        HostileCase Old(string clause, string input, FaultAction does, BgpFault fault, string path, string as4, string expected) =>
            Update(clause, input, does, fault, u => u.Change(Code.AsPath, path).Add(Both, Code.As4Path, as4),
                asSize: 2) with { Path = expected };
        const string Two = "02 02 FDE9 5BA0";

        yield return Old("6793 4.2.3", "AS4_PATH shorter than AS_PATH: the front is kept", Taken, None, Two, "02 01 FA56EA01",
            "65001 4200000001");
        yield return Old("6793 4.2.3", "AS4_PATH longer than AS_PATH is ignored", Taken, None, Two,
            "02 03 FA56EA00 FA56EA01 FA56EA02", "65001 23456");
        yield return Old("6793 4.2.3", "a set counts one", Taken, None, "02 01 FDE9 01 02 FDEA FDEB", "01 02 FA56EA00 FA56EA01",
            "65001 {4200000000,4200000001}");
        yield return Old("6793 6", "AS4_PATH empty", Discard, As4PathMalformed, Two, "", "65001 23456");
        yield return Old("6793 6", "AS4_PATH of five bytes", Discard, As4PathMalformed, Two, "02 01 0000FD", "65001 23456");
        yield return Old("6793 6", "AS4_PATH with a segment of no numbers", Discard, As4PathMalformed, Two,
            "02 00 02 01 FA56EA01", "65001 23456");
        yield return Old("6793 6", "AS4_PATH with an unknown segment", Discard, As4PathMalformed, Two, "07 01 FA56EA01", "65001 23456");
        yield return Old("7607", "AS4_PATH with AS 0", Discard, As4PathMalformed, Two, "02 01 00000000", "65001 23456");
        yield return Old("6793 6", "confederation segments are left out of AS4_PATH", Discard, As4PathConfederation, Two,
            "03 01 0000FDEC 02 01 FA56EA01", "65001 4200000001");
        yield return Old("6793 6", "AS4_PATH of confederation segments only", Discard, As4PathConfederation, Two,
            "04 01 0000FDEC", "65001 23456");
        yield return Update("6793 6", "AS4_PATH from a 4-octet speaker", Discard, As4PathMalformed,
            u => u.Add(Both, Code.As4Path, "02 01 0000FDE9"));
        yield return Update("6793 6", "AS4_AGGREGATOR from a 4-octet speaker", Discard, AggregatorMalformed,
            u => u.Add(Both, Code.As4Aggregator, "0000FDE9 0A000001"));
        yield return Update("6793 6", "AS4_AGGREGATOR of six bytes", Discard, AggregatorMalformed,
            u => u.Add(Both, Code.As4Aggregator, "FDE9 0A000001"), asSize: 2);
        yield return Update("6793 4.2.3", "AS4_PATH counts for nothing beside an AGGREGATOR that is not AS_TRANS", Taken, None,
            u => u.Change(Code.AsPath, Two).Add(Both, Code.Aggregator, "FDE9 0A000001").Add(Both, Code.As4Aggregator, "FA56EA01 0A000001")
                .Add(Both, Code.As4Path, "02 01 FA56EA01"), asSize: 2) with
        { Path = "65001 23456" };
        yield return Update("4271 9.1.2", "AS_PATH of 1785 2-octet numbers", Taken, None,
            u => u.Change(Code.AsPath, string.Concat(Enumerable.Repeat("02 FF " + string.Concat(Enumerable.Repeat("FDE9", 255)), 7))),
            asSize: 2);
    }

    public static IEnumerable<HostileCase> Communities()
    {
        foreach ((string clause, string name, byte code, string value, BgpFault fault) in ((string, string, byte, string, BgpFault)[])[
            ("7606 7.8", "COMMUNITIES empty", Code.Communities, "", CommunitiesLength),
            ("7606 7.8", "COMMUNITIES of five bytes", Code.Communities, "0000000100", CommunitiesLength),
            ("7606 7.14", "EXTENDED COMMUNITIES empty", Code.ExtendedCommunities, "", ExtendedCommunitiesLength),
            ("7606 7.14", "EXTENDED COMMUNITIES of four bytes", Code.ExtendedCommunities, "00000001", ExtendedCommunitiesLength),
            ("7606 7.15", "IPv6 EXTENDED COMMUNITIES of eight bytes", Code.Ipv6ExtendedCommunities, "0002FDE800000001",
                Ipv6ExtendedCommunitiesLength),
            ("8092 5", "LARGE_COMMUNITY empty", Code.LargeCommunities, "", LargeCommunitiesLength),
            ("8092 5", "LARGE_COMMUNITY of eleven bytes", Code.LargeCommunities, "0000000100000001000000", LargeCommunitiesLength)])
        {
            yield return Update(clause, name, Withdraw, fault, u => u.Add(Both, code, value));
        }

        yield return Update("4360 2", "EXTENDED COMMUNITIES of unknown types", Taken, None,
            u => u.Add(Both, Code.ExtendedCommunities, "FFFFFFFFFFFFFFFF 0000000000000000"));
        yield return Update("1997", "800 communities", Taken, None,
            u => u.Add(Both, Code.Communities, string.Concat(Enumerable.Repeat("0000FDE9", 800))));
        yield return Update("7606 7.9", "ORIGINATOR_ID of three bytes", Withdraw, OriginatorIdLength,
            u => u.Add(Optional, Code.OriginatorId, "000001")) with { On = On.Internal };
        yield return Update("7606 7.10", "CLUSTER_LIST of six bytes", Withdraw, ClusterListLength,
            u => u.Add(Optional, Code.ClusterList, "000000010000")) with { On = On.Internal };
        yield return Update("7606 7.10", "CLUSTER_LIST empty", Withdraw, ClusterListLength,
            u => u.Add(Optional, Code.ClusterList, "")) with { On = On.Internal };
        yield return Update("7606 7.9", "ORIGINATOR_ID over eBGP", Discard, ReflectionExternal,
            u => u.Add(Optional, Code.OriginatorId, "000001")) with { On = On.External };
        yield return Update("7606 7.10", "CLUSTER_LIST over eBGP", Discard, ReflectionExternal,
            u => u.Add(Optional, Code.ClusterList, "")) with { On = On.External };
    }

    public static IEnumerable<HostileCase> Unknown()
    {
        foreach ((string name, byte code) in ((string, byte)[])[
            ("PMSI tunnel (6514)", 22), ("traffic engineering (5543)", 24), ("entropy label (7447)", 28), ("prefix SID (8669)", 40),
            ("attribute set (6368)", 128), ("reserved", 255)])
        {
            foreach ((string what, string value) in ((string, string)[])[("empty", ""), ("one byte", "FF"),
                ("lengths that lie", "0001FFFF 05FF FFFFFFFF"), ("3000 bytes", string.Concat(Enumerable.Repeat("A5FF00", 1000)))])
            {
                yield return Update("4271 9", $"{code}, {name}: {what}", Taken, None, u => u.Add(Both, code, value));
            }
        }

        yield return Update("4271 9", "unknown optional non-transitive attribute", Taken, None, u => u.Add(Optional, 200, "0102"));
        yield return Update("4271 9", "200 unknown attributes", Taken, None, u =>
        {
            for (int code = 50; code < 250; code++) u.Add(Both, (byte)code, "00");
            return u;
        });
    }
}
