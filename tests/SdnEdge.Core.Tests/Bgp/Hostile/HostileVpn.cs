using SdnEdge.Core.Bgp;
using SdnEdge.Testing.Bgp;
using static SdnEdge.Core.Bgp.BgpFault;
using static SdnEdge.Core.Tests.Bgp.Hostile.HostileCase;
using static SdnEdge.Testing.Bgp.UpdateSketch;
using Code = SdnEdge.Core.Bgp.AttributeCode;

namespace SdnEdge.Core.Tests.Bgp.Hostile;

/// <summary>UPDATE: routes of VPNs, and the tunnels to them.</summary>
internal static class HostileVpn
{
    private const FaultAction Taken = FaultAction.None;
    private const FaultAction Discard = FaultAction.AttributeDiscard;
    private const FaultAction Withdraw = FaultAction.TreatAsWithdraw;
    private const string Hop = "0C 0000000000000000 0AFF0002 00";
    private const string Hop6 = "18 0000000000000000 00000000000000000000FFFF0AFF0002 00";
    private const string Route = "70 000031 0000FDE800000001 0A0101";
    private const string Route6 = "98 000031 0000FDE800000001 FD00000100010000";
    private const string Other = "70 000031 0000FDE800000002 0A0101";

    public static IEnumerable<HostileCase> Routes()
    {
        HostileCase Reset(string clause, string input, BgpFault fault, Func<UpdateSketch, UpdateSketch> change) =>
            Update(clause, input, FaultAction.SessionReset, fault, change) with { Notification = "0309", Data = null };
        HostileCase Wrong(string clause, string input, string hex, string family = "0001 80")
            => Reset(clause, input, MpReachSyntax, u => u.Vpn(hex, family, null));
        HostileCase Good(string clause, string input, string hex, string family = "0001 80")
            => Update(clause, input, Taken, None, u => u.Vpn(hex, family, null));
        HostileCase Unreach(string clause, string input, string hex)
            => Reset(clause, input, MpUnreachSyntax, u => u.Bare().Add(UpdateSketch.Optional, Code.MpUnreach, hex));

        yield return Wrong("7606 7.11", "VPNv4 next hop of 0 bytes", "00 00" + Route);
        yield return Wrong("7606 7.11", "VPNv4 next hop without a distinguisher", "04 0AFF0002 00" + Route);
        yield return Wrong("7606 7.11", "VPNv4 next hop of 24 bytes", Hop6 + Route);
        yield return Wrong("7606 7.11", "VPNv6 next hop of 12 bytes", Hop + Route6, "0002 80");
        yield return Wrong("7606 7.11", "VPNv6 next hop without a distinguisher",
            "10 FD0000FF000000000000000000000002 00" + Route6, "0002 80");
        yield return Wrong("7606 7.11", "VPNv6 next hop of 40 bytes",
            "28 0000000000000000 FD0000FF000000000000000000000002 FE800000000000000000000000000002 00" + Route6, "0002 80");
        yield return Wrong("7606 5.3", "VPNv4 route of 87 bits: no room for label and distinguisher", Hop + "57 000031 0000FDE800000001");
        yield return Wrong("7606 5.3", "VPNv4 route of 121 bits", Hop + "79 000031 0000FDE800000001 0A01010100");
        yield return Wrong("7606 5.3", "VPNv4 route of 0 bits", Hop + "00");
        yield return Wrong("7606 5.3", "VPNv4 route cut off in its label", Hop + "70 0000");
        yield return Wrong("7606 5.3", "VPNv4 route cut off in its distinguisher", Hop + "70 000031 0000FDE8");
        yield return Wrong("7606 5.3", "VPNv4 route cut off in its prefix", Hop + "70 000031 0000FDE800000001 0A01");
        yield return Wrong("7606 5.3", "VPNv6 route of 217 bits",
            Hop6 + "D9 000031 0000FDE800000001 FD00000100010000000000000000001000", "0002 80");
        yield return Wrong("8277 2.2", "two labels: nobody has agreed on more than one", Hop + "88 000030 000031 0000FDE800000001 0A0101");
        yield return Unreach("7606 5.3", "MP_UNREACH with a VPNv4 route of 80 bits", "000180 50 800000 0000FDE8000000");
        yield return Unreach("7606 5.3", "MP_UNREACH with a VPNv6 route cut off", "000280 98 800000 0000FDE800000001 FD");

        yield return Update("4364 4.3.2", "VPNv4 next hop 0.0.0.0", Withdraw, NextHopValue,
            u => u.Vpn("0C 0000000000000000 00000000 00" + Route, tunnel: null));
        yield return Update("4364 4.3.2", "VPNv4 next hop is multicast", Withdraw, NextHopValue,
            u => u.Vpn("0C 0000000000000000 E0000001 00" + Route, tunnel: null));
        yield return Update("4364 4.3.2", "VPNv4 next hop is our own address", Withdraw, NextHopOurs,
            u => u.Vpn("0C 0000000000000000 0AFF0001 00" + Route, tunnel: null));
        yield return Update("4659 3.2.1", "IPv4-mapped VPNv6 next hop is our own address", Withdraw, NextHopOurs,
            u => u.Vpn("18 0000000000000000 00000000000000000000FFFF0AFF0001 00" + Route6, "0002 80", null)) with { NamesNothing = true };
        yield return Update("7606 5.2", "a fault that withdraws beside VPN routes", Withdraw, MedLength,
            u => u.Vpn(tunnel: null).Add(UpdateSketch.Optional, Code.Med, "00"));
        yield return Good("4364 4.2", "distinguisher of an unknown type", Hop + Route + "70 000031 0009FDE800000001 0A0101");
        yield return Good("4364 4.3.2", "next hop with a distinguisher that is not 0", "0C 0000FDE800000001 0AFF0002 00" + Route);
        yield return Good("8277 2.2", "label without the bottom-of-stack bit, which is ignored", Hop + "70 000030 0000FDE800000001 0A0101");
        yield return Good("3032 2.1", "reserved label", Hop + "70 0000F1 0000FDE800000001 0A0101");
        yield return Good("4364 4.3.4", "default route of a VPN", Hop + Route + "58 000031 0000FDE800000001");
        yield return Good("4364 4.3.4", "bits beyond the length", Hop + "6C 000031 0000FDE800000001 0A010F" + Route);
        yield return Good("4659 3.2.1", "VPNv6 routes, one by an IPv4-mapped next hop", Hop6 + Route6 + "58 000031 0000FDE800000001",
            "0002 80") with { NamesNothing = true };
        yield return Good("4659 3.2.1.1", "VPNv6 next hop with a link-local one behind it",
            "30 0000000000000000 FD0000FF000000000000000000000002 0000000000000000 FE800000000000000000000000000002 00" + Route6,
            "0002 80") with { NamesNothing = true };
        yield return Update("4364 4.3.1", "route whose targets no VRF imports: not kept", Taken, None,
            u => u.Mp(Hop + Other, "0001 80")) with { NamesNothing = true };
        yield return Update("8277 2.4", "withdrawal with any label", Taken, None,
            u => u.Bare().Add(UpdateSketch.Optional, Code.MpUnreach,
                "000180 70 800000 0000FDE800000002 0A0101 70 000000 0000FDE800000002 0A0101 70 123456 0000FDE800000002 0A0101"));
    }

    public static IEnumerable<HostileCase> Tunnels()
    {
        foreach ((string what, string value) in ((string, string)[])[
            ("empty", ""), ("one byte", "FF"), ("a TLV cut off", "0002 0012 0104 00000007"),
            ("a sub-TLV that overruns its TLV", "0002 0006 0105 00000007"),
            ("a sub-TLV without a length", "0002 0007 0104 00000007 06"),
            ("a long sub-TLV with half a length", "0002 0008 0104 00000007 8000"),
            ("bytes behind the last TLV", Tunnel + "0002"), ("lengths that lie", "0001FFFF 05FF FFFFFFFF"),
            ("3000 bytes of noise", string.Concat(Enumerable.Repeat("A5FF00", 1000)))])
        {
            yield return Update("9012 13", what, Withdraw, TunnelEncapsulationMalformed,
                u => u.Add(Both, Code.TunnelEncapsulation, value)) with { On = On.Internal };
            yield return Update("9012 11", what, Discard, TunnelEncapsulationExternal,
                u => u.Add(Both, Code.TunnelEncapsulation, value)) with { On = On.External };
        }

        yield return Update("9012 13", "on VPN routes, malformed", Withdraw, TunnelEncapsulationMalformed,
            u => u.Vpn(tunnel: "0002 0012 0104")) with { On = On.Internal };
        yield return Update("9012 13", "not flagged transitive", Withdraw, TunnelEncapsulationMalformed,
            u => u.Add(UpdateSketch.Optional, Code.TunnelEncapsulation, Tunnel)) with { On = On.Internal };
        yield return Update("9012 13", "flagged well-known", Withdraw, TunnelEncapsulationMalformed,
            u => u.Add(WellKnown, Code.TunnelEncapsulation, Tunnel)) with { On = On.Internal };
        yield return Update("9012 13", "malformed, in a message that announces nothing", Withdraw, TunnelEncapsulationMalformed,
            u => u.Bare().Add(Both, Code.TunnelEncapsulation, "FF")) with { On = On.Internal };
        yield return Update("9012 11", "right in every way", Discard, TunnelEncapsulationExternal,
            u => u.Add(Both, Code.TunnelEncapsulation, Tunnel)) with { On = On.External };
        foreach ((string what, string value) in ((string, string)[])[
            ("right in every way", Tunnel), ("a tunnel type that is not known", "00FF 0002 0100"),
            ("a sub-TLV that is not known", "0002 000D 0104 00000007 7F00 800002FFFF"),
            ("GRE without an endpoint", "0002 0006 0104 00000007"),
            ("an endpoint of a family that is not known", "0002 0012 0104 00000007 060A 00000000 0009 0AFF0002"),
            ("two tunnels", Tunnel + Tunnel), ("a key of two octets", "0002 0010 0102 0007 060A 00000000 0001 0AFF0002"),
            ("a tunnel with nothing in it", "0002 0000")])
        {
            yield return Update("9012 3, 13", what, Taken, None,
                u => u.Add(Both, Code.TunnelEncapsulation, value)) with { On = On.Internal };
            yield return Update("9012 3, 13", $"on VPN routes, {what}", Taken, None, u => u.Vpn(tunnel: value)) with { On = On.Internal };
        }
    }
}
