using SdnEdge.Core.Bgp;
using SdnEdge.Testing.Bgp;
using static SdnEdge.Core.Bgp.BgpFault;
using static SdnEdge.Core.Tests.Bgp.Hostile.HostileCase;
using static SdnEdge.Testing.Bgp.UpdateSketch;
using Code = SdnEdge.Core.Bgp.AttributeCode;

namespace SdnEdge.Core.Tests.Bgp.Hostile;

/// <summary>UPDATE: framing, flags, what is missing, and the attributes of RFC 4271 one by one.</summary>
internal static class HostileUpdates
{
    private const FaultAction Taken = FaultAction.None;
    private const FaultAction Discard = FaultAction.AttributeDiscard;
    private const FaultAction Withdraw = FaultAction.TreatAsWithdraw;
    private const string Three = "03";

    public static IEnumerable<HostileCase> Framing()
    {
        HostileCase Reset(string clause, string input, BgpFault fault, string notification, Func<UpdateSketch, UpdateSketch> change,
            bool echo = false) =>
            Update(clause, input, FaultAction.SessionReset, fault, change) with { Notification = Three + notification,
                Data = echo ? null : "" };

        yield return Reset("7606 3b", "withdrawn length exceeds the message", UpdateLengths, "01", u => u.LengthsOff(60000, 0));
        yield return Reset("7606 3b", "withdrawn length leaves no room for the other", UpdateLengths, "01", u => u.Bare().LengthsOff(1, 0));
        yield return Reset("7606 3b", "attributes length exceeds the message by one", UpdateLengths, "01",
            u => u.Nlri("").LengthsOff(0, 1));
        yield return Reset("7606 3b", "attributes length 65535", UpdateLengths, "01", u => u.Bare().LengthsOff(0, 65535));
        yield return Reset("7606 5.3", "NLRI of 33 bits", NlriSyntax, "0A", u => u.Nlri("21 0A01010100"));
        yield return Reset("7606 5.3", "NLRI of 255 bits", NlriSyntax, "0A", u => u.Nlri("FF 0A010101"));
        yield return Reset("7606 5.3", "NLRI overruns the message", NlriSyntax, "0A", u => u.Nlri("18 0A0101 18 0A01"));
        yield return Reset("7606 5.3", "withdrawn route of 33 bits", WithdrawnSyntax, "0A", u => u.Withdrawn("21 0A01010100"));
        yield return Reset("7606 5.3", "withdrawn routes end inside a prefix", WithdrawnSyntax, "0A", u => u.Withdrawn("18 0A01"));
        yield return Reset("4271 6.3", "unknown well-known attribute", UnknownWellKnown, "02", u => u.Add(WellKnown, 99, "00"), echo: true);
        yield return Reset("4271 6.3", "unknown attribute with no flag at all", UnknownWellKnown, "02", u => u.Add(0, 99, ""), echo: true);
        yield return Reset("4271 6.3", "unknown well-known attribute, extended length", UnknownWellKnown, "02",
            u => u.Add(WellKnown | 0x10, 0, new string('A', 600)), echo: true);
        yield return Reset("7606 3h", "a fault that withdraws, then one that resets", UnknownWellKnown, "02",
            u => u.Add(Optional, Code.Med, "00").Add(WellKnown, 99, "00"), echo: true);

        yield return Update("7606 4", "last attribute overruns the attributes", Withdraw, AttributeLengths,
            u => u.AddRaw("C0 08 08 00000001"));
        yield return Update("7606 4", "one byte is left", Withdraw, AttributeLengths, u => u.AddRaw("C0"));
        yield return Update("7606 4", "two bytes are left", Withdraw, AttributeLengths, u => u.AddRaw("C0 08"));
        yield return Update("7606 4", "three bytes are left where the length takes two", Withdraw, AttributeLengths,
            u => u.AddRaw("D0 08 00"));
        yield return Update("7606 4", "extended length overruns", Withdraw, AttributeLengths, u => u.AddRaw("D0 08 FFFF 00000001"));
        yield return Update("7606 4", "attributes length one short", Withdraw, AttributeLengths,
            u => u.Add(Both, Code.Communities, "00000018").Nlri("0A0101").LengthsOff(0, -1));
        yield return Reset("7606 5.2", "last attribute overruns, and no routes", FaultWithoutNlri, "01",
            u => u.AddRaw("C0 08 08 00000001").Nlri(""));
        yield return Reset("7606 5.2", "a fault that would withdraw, and no routes", FaultWithoutNlri, "01",
            u => u.Add(Optional, Code.Med, "000001").Nlri(""));
        yield return Reset("7606 5.2", "a fault that would withdraw, and withdrawn routes only", FaultWithoutNlri, "01",
            u => u.Change(Code.Origin, "03").Nlri("").Withdrawn("18 0A0109"));
        yield return Reset("7606 5.2", "a fault that would withdraw, and an MP_REACH without routes", FaultWithoutNlri, "01",
            u => u.Change(Code.Origin, "03").Mp("10 FD0000FF000000000000000000000002 00"));
        yield return Update("7606 5.2", "a fault that discards, and no routes", Discard, AtomicAggregateLength,
            u => u.Add(WellKnown, Code.AtomicAggregate, "00").Nlri(""));
        yield return Update("4271 6.3", "a next hop that cannot be used, and no routes", Withdraw, NextHopValue,
            u => u.Change(Code.NextHop, "7F000001").Nlri(""));
        yield return Update("4271 4.3", "attributes, and no routes", Taken, None, u => u.Nlri(""));
        yield return Update("4724 2", "End-of-RIB", Taken, None, u => u.Bare());
        yield return Update("4271 4.3", "host bits set in the NLRI", Taken, None, u => u.Nlri("18 0A0101 17 0A0103 01 FF"));
        yield return Update("4271 4.3", "the same prefix announced twice and withdrawn", Taken, None,
            u => u.Nlri("18 0A0101 18 0A0101").Withdrawn("18 0A0101"));
        yield return Update("7606 5.1", "attributes in any order", Taken, None, u => u.Add(Optional, Code.Med, "00000001").Reversed());
    }

    public static IEnumerable<HostileCase> Flags()
    {
        foreach ((string name, byte code, byte flags) in ((string, byte, byte)[])[
            ("ORIGIN flagged optional", Code.Origin, Both), ("ORIGIN flagged non-transitive", Code.Origin, 0),
            ("AS_PATH flagged optional", Code.AsPath, Both),
            ("NEXT_HOP flagged optional non-transitive", Code.NextHop, Optional)])
        {
            yield return Update("7606 3c", name, Withdraw, AttributeFlagBits, u => u.Flags(code, flags));
        }

        foreach ((string name, byte code, byte flags, string value) in ((string, byte, byte, string)[])[
            ("MED flagged well-known", Code.Med, WellKnown, "00000001"), ("MED flagged transitive", Code.Med, Both, "00000001"),
            ("LOCAL_PREF flagged optional", Code.LocalPref, Both, "00000064"),
            ("ORIGINATOR_ID flagged transitive", Code.OriginatorId, Both, "00000007"),
            ("CLUSTER_LIST flagged transitive", Code.ClusterList, Both, "00000007"),
            ("COMMUNITIES flagged non-transitive", Code.Communities, Optional, "00000001"),
            ("COMMUNITIES flagged well-known", Code.Communities, WellKnown, "00000001"),
            ("EXTENDED COMMUNITIES flagged non-transitive", Code.ExtendedCommunities, Optional, "0002FDE800000001"),
            ("LARGE_COMMUNITY flagged well-known", Code.LargeCommunities, WellKnown, "0000FDE80000000100000002")])
        {
            yield return Update("7606 3c", name, Withdraw, AttributeFlagBits, u => u.Without(code).Add(flags, code, value));
        }

        yield return Update("7606 3f", "ATOMIC_AGGREGATE flagged optional", Discard, AggregateFlagBits,
            u => u.Add(Both, Code.AtomicAggregate, ""));
        yield return Update("7606 3f", "AGGREGATOR flagged well-known", Discard, AggregateFlagBits,
            u => u.Add(WellKnown, Code.Aggregator, "0000FDE9 0A000001"));
        yield return Update("4271 4.3", "partial bit on well-known attributes", Taken, None,
            u => u.Flags(Code.Origin, 0x60).Flags(Code.AsPath, 0x60));
        yield return Update("4271 4.3", "partial bit on MED", Taken, None, u => u.Add(0xA0, Code.Med, "00000001"));
        yield return Update("4271 4.3", "unused flag bits set", Taken, None,
            u => u.Flags(Code.Origin, 0x4F).Add(0x8F, Code.Med, "00000001"));
        yield return Update("4271 4.3", "extended length where it is not needed", Taken, None, u => u.Change(Code.Origin, "00", 0x50));
    }

    public static IEnumerable<HostileCase> MissingOrTwice()
    {
        foreach ((string name, byte code) in ((string, byte)[])[("ORIGIN", Code.Origin), ("AS_PATH", Code.AsPath),
            ("NEXT_HOP", Code.NextHop)])
        {
            yield return Update("7606 3d", $"{name} is missing", Withdraw, AttributeMissing, u => u.Without(code));
        }

        yield return Update("7606 3d", "LOCAL_PREF is missing", Withdraw, AttributeMissing,
            u => u.Without(Code.LocalPref)) with { On = On.Internal };
        yield return Update("7606 3d", "everything is missing", Withdraw, AttributeMissing, u => u.Bare().Nlri("18 0A0101 18 0A0102"));
        yield return Update("7606 3d", "ORIGIN is missing beside MP_REACH", Withdraw, AttributeMissing, u => u.Mp().Without(Code.Origin));
        yield return Update("4760 3", "NEXT_HOP is missing beside MP_REACH", Taken, None, u => u.Mp());
        yield return Update("4760 3", "NEXT_HOP besides MP_REACH is of no account", Taken, None,
            u => u.Mp().Add(WellKnown, Code.NextHop, "0AFF0002"));
        yield return Update("7606 3g", "ORIGIN twice", Discard, AttributeDuplicate, u => u.Twice(Code.Origin));
        yield return Update("7606 3g", "AS_PATH twice, the second one wrong", Discard, AttributeDuplicate,
            u => u.Add(WellKnown, Code.AsPath, "07"));
        yield return Update("7606 3g", "COMMUNITIES twice", Discard, AttributeDuplicate,
            u => u.Add(Both, Code.Communities, "00000001").Twice(Code.Communities));
        yield return Update("7606 3g", "unknown attribute twice", Discard, AttributeDuplicate, u => u.Add(Both, 200, "01").Twice(200));
    }

    public static IEnumerable<HostileCase> Rfc4271()
    {
        foreach ((string name, string value) in ((string, string)[])[("3", "03"), ("255", "FF"), ("empty", ""), ("of two bytes", "0000")])
        {
            yield return Update("7606 7.1", $"ORIGIN {name}", Withdraw, OriginMalformed, u => u.Change(Code.Origin, value));
        }

        foreach ((string name, string value) in ((string, string)[])[
            ("unknown segment type 5", "05 01 0000FDE9"), ("unknown segment type 0", "00 01 0000FDE9"),
            ("segment overruns", "02 02 0000FDE9"),
            ("segment of 255 numbers in six bytes", "02 FF 0000FDE9"), ("one byte after the last segment", "02 01 0000FDE9 02"),
            ("one byte only", "02"),
            ("empty sequence", "02 01 0000FDE9 02 00"), ("empty set", "02 01 0000FDE9 01 00"), ("only an empty sequence", "02 00")])
        {
            yield return Update("7606 7.2", $"AS_PATH: {name}", Withdraw, AsPathMalformed, u => u.Change(Code.AsPath, value));
        }

        yield return Update("7607", "AS 0 in AS_PATH", Withdraw, AsPathMalformed, u => u.Change(Code.AsPath, "02 02 0000FDE9 00000000"));
        yield return Update("5065 5", "confederation sequence from outside", Withdraw, AsPathMalformed,
            u => u.Change(Code.AsPath, "03 01 0000FDE9"));
        yield return Update("5065 5", "confederation set behind a sequence", Withdraw, AsPathMalformed,
            u => u.Change(Code.AsPath, "02 01 0000FDE9 04 01 0000FDEA"));
        yield return Update("4271 6.3", "AS_PATH does not begin with the peer's AS", Withdraw, AsPathFirst,
            u => u.Change(Code.AsPath, "02 01 0000FDEA")) with { On = On.External };
        yield return Update("4271 6.3", "AS_PATH begins with a set", Withdraw, AsPathFirst,
            u => u.Change(Code.AsPath, "01 01 0000FDE9")) with { On = On.External };
        yield return Update("4271 6.3", "AS_PATH is empty over eBGP", Withdraw, AsPathFirst,
            u => u.Change(Code.AsPath, "")) with { On = On.External };
        yield return Update("4271 4.3", "AS_PATH with a set behind a sequence", Taken, None,
            u => u.Change(Code.AsPath, "02 01 0000FDE9 01 02 0000FDEB 0000FDEA"));
        yield return Update("4271 4.3", "AS_PATH of 900 numbers in four segments", Taken, None, u => u.Change(Code.AsPath, Numbers(900)));

        foreach ((string name, string value) in ((string, string)[])[("empty", ""), ("of three bytes", "0AFF00"),
            ("of five bytes", "0AFF000200"), ("of sixteen bytes", "FD0000FF000000000000000000000002")])
        {
            yield return Update("7606 7.3", $"NEXT_HOP {name}", Withdraw, NextHopLength, u => u.Change(Code.NextHop, value));
        }

        foreach ((string name, string value) in ((string, string)[])[("0.0.0.0", "00000000"), ("127.0.0.1", "7F000001"),
            ("multicast", "E0000001"), ("broadcast", "FFFFFFFF")])
        {
            yield return Update("4271 6.3", $"NEXT_HOP is {name}", Withdraw, NextHopValue, u => u.Change(Code.NextHop, value));
        }

        yield return Update("4271 5.1.3", "NEXT_HOP is our own address", Withdraw, NextHopOurs, u => u.Change(Code.NextHop, "0AFF0001"));
        yield return Update("7606 7.4", "MED of three bytes", Withdraw, MedLength, u => u.Add(Optional, Code.Med, "000001"));
        yield return Update("7606 7.4", "MED empty", Withdraw, MedLength, u => u.Add(Optional, Code.Med, ""));
        yield return Update("7606 7.4", "MED of eight bytes", Withdraw, MedLength, u => u.Add(Optional, Code.Med, "0000000000000001"));
        yield return Update("7606 7.5", "LOCAL_PREF of three bytes", Withdraw, LocalPrefLength,
            u => u.Change(Code.LocalPref, "000064")) with { On = On.Internal };
        yield return Update("7606 7.5", "LOCAL_PREF empty", Withdraw, LocalPrefLength,
            u => u.Change(Code.LocalPref, "")) with { On = On.Internal };
        yield return Update("7606 7.5", "LOCAL_PREF over eBGP", Discard, LocalPrefExternal,
            u => u.Add(WellKnown, Code.LocalPref, "00000064")) with { On = On.External };
        yield return Update("7606 7.5", "LOCAL_PREF of one byte over eBGP", Discard, LocalPrefExternal,
            u => u.Add(WellKnown, Code.LocalPref, "00")) with { On = On.External };
        yield return Update("7606 7.6", "ATOMIC_AGGREGATE with content", Discard, AtomicAggregateLength,
            u => u.Add(WellKnown, Code.AtomicAggregate, "00"));
        yield return Update("7606 7.7", "AGGREGATOR of six bytes from a 4-octet speaker", Discard, AggregatorMalformed,
            u => u.Add(Both, Code.Aggregator, "FDE9 0A000001"));
        yield return Update("7606 7.7", "AGGREGATOR of eight bytes from a 2-octet speaker", Discard, AggregatorMalformed,
            u => u.Add(Both, Code.Aggregator, "0000FDE9 0A000001"), asSize: 2);
        yield return Update("7606 7.7", "AGGREGATOR empty", Discard, AggregatorMalformed, u => u.Add(Both, Code.Aggregator, ""));
        yield return Update("7607", "AGGREGATOR with AS 0", Discard, AggregatorMalformed,
            u => u.Add(Both, Code.Aggregator, "00000000 0A000001"));
    }

    private static string Numbers(int count)
    {
        var text = new System.Text.StringBuilder();
        for (; count > 0; count -= 255)
        {
            int n = Math.Min(count, 255);
            text.Append(System.Globalization.CultureInfo.InvariantCulture, $"02{n:X2}").Insert(text.Length, "0000FDE9", n);
        }

        return text.ToString();
    }
}
