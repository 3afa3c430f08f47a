using SdnEdge.Core.Bgp;
using static SdnEdge.Core.Tests.Bgp.Hostile.HostileCase;
using static SdnEdge.Testing.Bgp.UpdateSketch;

namespace SdnEdge.Core.Tests.Bgp.Hostile;

/// <summary>Headers, OPEN, NOTIFICATION, ROUTE-REFRESH and messages out of turn.</summary>
internal static class HostileMessages
{
    private const string Id = "0AFF0002";

    public static IEnumerable<HostileCase> Headers()
    {
        HostileCase Wrong(string input, BgpFault fault, string notification, string data, byte[] bytes) =>
            Message("4271 6.1", input, FaultAction.SessionReset, fault, bytes) with { Notification = notification, Data = data };

        yield return Wrong("first byte of the marker is 00", BgpFault.HeaderMarker, "0101", "",
            Header(19, 4, marker: "00FFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"));
        yield return Wrong("last bit of the marker is 0", BgpFault.HeaderMarker, "0101", "",
            Header(19, 4, marker: "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFE"));
        yield return Wrong("marker of zeros", BgpFault.HeaderMarker, "0101", "", Header(19, 4, marker: "00000000000000000000000000000000"));
        yield return Wrong("length 0", BgpFault.HeaderLength, "0102", "0000", Header(0, 4));
        yield return Wrong("length 18", BgpFault.HeaderLength, "0102", "0012", Header(18, 4));
        yield return Wrong("UPDATE of 4097 bytes", BgpFault.HeaderLength, "0102", "1001", Header(4097, 2));
        yield return Wrong("UPDATE of 65535 bytes", BgpFault.HeaderLength, "0102", "FFFF", Header(65535, 2));
        yield return Wrong("KEEPALIVE of 20 bytes", BgpFault.HeaderLength, "0102", "0014", Header(20, 4, "00"));
        yield return Wrong("UPDATE of 22 bytes", BgpFault.HeaderLength, "0102", "0016", Header(22, 2, "000000"));
        yield return Wrong("OPEN of 28 bytes", BgpFault.HeaderLength, "0102", "001C", Header(28, 1, "04FDE800090AFF0002"));
        yield return Wrong("NOTIFICATION of 20 bytes", BgpFault.NotificationLength, "0102", "0014", Header(20, 3, "06"));
        yield return Wrong("type 0", BgpFault.HeaderType, "0103", "00", Header(19, 0));
        yield return Wrong("type 6", BgpFault.HeaderType, "0103", "06", Header(19, 6));
        yield return Wrong("type 255", BgpFault.HeaderType, "0103", "FF", Header(19, 255));
    }

    public static IEnumerable<HostileCase> Opens()
    {
        HostileCase Wrong(string clause, string input, BgpFault fault, string notification, string body, string data = "") =>
            Message(clause, input, FaultAction.SessionReset, fault, Message(1, Hex(body))) with { Notification = notification, Data = data,
                State = BgpState.OpenSent, On = On.Internal };
        HostileCase Right(string clause, string input, string body) =>
            Message(clause, input, FaultAction.None, BgpFault.None, Message(1, Hex(body))) with { State = BgpState.OpenSent,
                On = On.Internal };

        yield return Wrong("4271 6.2", "version 3", BgpFault.OpenVersion, "0201", $"03 FDE8 0009 {Id} 00", "0004");
        yield return Wrong("4271 6.2", "version 5", BgpFault.OpenVersion, "0201", $"05 FDE8 0009 {Id} 00", "0004");
        yield return Wrong("7607", "AS 0", BgpFault.OpenPeerAs, "0202", $"04 0000 0009 {Id} 00");
        yield return Wrong("4271 6.2", "AS of somebody else", BgpFault.OpenPeerAs, "0202", $"04 FDE9 0009 {Id} 00");
        yield return Wrong("6793 4.1", "4-octet AS 0", BgpFault.OpenPeerAs, "0202", $"04 FDE8 0009 {Id} 08 0206 4104 00000000");
        yield return Wrong("6793 4.1", "4-octet AS of somebody else", BgpFault.OpenPeerAs, "0202",
            $"04 FDE8 0009 {Id} 08 0206 4104 0000FDE9");
        yield return Wrong("4271 6.2", "hold time 1", BgpFault.OpenHoldTime, "0206", $"04 FDE8 0001 {Id} 00");
        yield return Wrong("4271 6.2", "hold time 2", BgpFault.OpenHoldTime, "0206", $"04 FDE8 0002 {Id} 00");
        yield return Wrong("6286 2.2", "identifier 0", BgpFault.OpenIdentifier, "0203", "04 FDE8 0009 00000000 00");
        yield return Wrong("6286 2.2", "our own identifier, in our AS", BgpFault.OpenIdentifier, "0203", "04 FDE8 0009 0AFF0001 00");
        yield return Wrong("4271 6.2", "parameters shorter than their length", BgpFault.OpenMalformed, "0200", $"04 FDE8 0009 {Id} 01");
        yield return Wrong("4271 6.2", "length 255 and no parameters", BgpFault.OpenMalformed, "0200", $"04 FDE8 0009 {Id} FF");
        yield return Wrong("4271 6.2", "a byte behind the parameters", BgpFault.OpenMalformed, "0200", $"04 FDE8 0009 {Id} 00 00");
        yield return Wrong("4271 6.2", "half a parameter", BgpFault.OpenMalformed, "0200", $"04 FDE8 0009 {Id} 01 02");
        yield return Wrong("4271 6.2", "parameter overruns", BgpFault.OpenMalformed, "0200", $"04 FDE8 0009 {Id} 02 0201");
        yield return Wrong("4271 6.2", "authentication parameter", BgpFault.OpenParameter, "0204", $"04 FDE8 0009 {Id} 04 0102 0000");
        yield return Wrong("4271 6.2", "parameter 99", BgpFault.OpenParameter, "0204", $"04 FDE8 0009 {Id} 02 6300");
        yield return Wrong("5492 4", "capability without length", BgpFault.OpenMalformed, "0200", $"04 FDE8 0009 {Id} 03 0201 41");
        yield return Wrong("5492 4", "capability overruns its parameter", BgpFault.OpenMalformed, "0200",
            $"04 FDE8 0009 {Id} 04 0202 4104");
        yield return Wrong("5492 4", "4-octet AS capability of three bytes", BgpFault.OpenMalformed, "0200",
            $"04 FDE8 0009 {Id} 07 0205 4103 00FDE8");
        yield return Wrong("5492 4", "multiprotocol capability of three bytes", BgpFault.OpenMalformed, "0200",
            $"04 FDE8 0009 {Id} 07 0205 0103 000101");
        // The AS field of two octets was not looked at where the capability was there.
        yield return Wrong("7607 2", "AS 0 beside a good 4-octet AS", BgpFault.OpenPeerAs, "0202",
            $"04 0000 0009 {Id} 08 0206 4104 0000FDE8");

        // The NOTIFICATION did not say which capabilities were missed.
        yield return Wrong("5492 5", "no family in common", BgpFault.OpenCapability, "0207", $"04 FDE8 0009 {Id} 08 0206 0104 00190041",
            "010400010001010400020001010400010080010400020080");
        yield return Wrong("9072 2", "extended form, longer than the message", BgpFault.OpenMalformed, "0200",
            $"04 FDE8 0009 {Id} FF FF0005 020001 41");
        yield return Wrong("9072 2", "extended form, parameter overruns", BgpFault.OpenMalformed, "0200",
            $"04 FDE8 0009 {Id} FF FF0004 020002 41");
        yield return Wrong("9072 2", "extended form, its own length cut off", BgpFault.OpenMalformed, "0200", $"04 FDE8 0009 {Id} 02 FF00");
        yield return Wrong("9072 2", "parameter 255 inside the extended form", BgpFault.OpenParameter, "0204",
            $"04 FDE8 0009 {Id} FF FF0003 FF0000");

        yield return Right("4271 4.2", "no parameters", $"04 FDE8 0009 {Id} 00");
        yield return Right("4271 4.2", "hold time 0", $"04 FDE8 0000 {Id} 00");
        yield return Right("5492 4", "empty capabilities", $"04 FDE8 0009 {Id} 02 0200");
        yield return Right("5492 4", "a capability a parameter, one of them twice", $"04 FDE8 0009 {Id} 0C 0202 0200 0202 0200 0202 4600");
        yield return Right("5492 4", "unknown capability", $"04 FDE8 0009 {Id} 05 0203 FE01 00");
        yield return Right("4760 8", "a known and an unknown family", $"04 FDE8 0009 {Id} 0E 020C 010400010001 010400190041");
        yield return Right("6793 4.1", "AS_TRANS with the true AS in the capability", $"04 5BA0 0009 {Id} 08 0206 4104 0000FDE8");
        yield return Right("9072 2", "extended form", $"04 FDE8 0009 {Id} FF FF0009 020006 41040000FDE8");
        yield return Right("9072 2", "extended form behind a length that is not 255", $"04 FDE8 0009 {Id} 01 FF0009 020006 41040000FDE8");
        yield return Right("9072 2", "extended form with more than 255 bytes",
            $"04 FDE8 0009 {Id} FF FF0134 020128 {string.Concat(Enumerable.Repeat("FE05 0000000000", 42))} FE00 020006 41040000FDE8");
    }

    public static IEnumerable<HostileCase> Others()
    {
        foreach ((string input, string body) in ((string, string)[])[
            ("cease", "0602"), ("subcode 0", "0600"), ("unknown code and subcode", "FFFF"),
            ("a shutdown message longer than it says", "0602 FF 68656C6C6F"),
            ("an empty shutdown message", "0602 00"), ("a shutdown message that is no UTF-8", "0602 03 C0C0C0"),
            ("4000 bytes of data", "0909" + new string('0', 8000))])
        {
            yield return Message("4271 4.5", $"NOTIFICATION: {input}", FaultAction.SessionReset, BgpFault.None, Message(3, Hex(body)));
        }

        HostileCase Refresh(string clause, string input, string body) =>
            Message(clause, $"ROUTE-REFRESH: {input}", FaultAction.AttributeDiscard, BgpFault.RouteRefreshFamily, Message(5, Hex(body)));
        yield return Refresh("2918 4", "a family nobody negotiated", "00190041");
        yield return Refresh("2918 4", "a family of all ones", "FFFFFFFF");
        yield return Refresh("7313 5", "a subtype that does not exist", "00010301");
        foreach ((string input, string body) in ((string, string)[])[("three bytes", "000100"),
            ("five bytes", "0001000100"), ("empty", "")])
        {
            byte[] message = Message(5, Hex(body));
            yield return Message("7313 5", $"ROUTE-REFRESH: {input}", FaultAction.SessionReset, BgpFault.RouteRefreshLength, message) with
            { Notification = "0701", Data = Convert.ToHexString(message) };
        }

        HostileCase OutOfTurn(BgpState state, string input, string subcode, byte[] message) =>
            Message("6608 3", $"{input} in {state}", FaultAction.SessionReset, BgpFault.UnexpectedMessage, message) with
            { State = state, Notification = "05" + subcode, Data = message[18].ToString("X2") };
        byte[] open = Message(1, Hex($"04 FDE8 0009 {Id} 00")), update = Message(2, Hex("00000000")), keepalive = Header(19, 4),
        refresh = Message(5, Hex("00010001"));
        yield return OutOfTurn(BgpState.OpenSent, "KEEPALIVE", "01", keepalive);
        yield return OutOfTurn(BgpState.OpenSent, "UPDATE", "01", update);
        yield return OutOfTurn(BgpState.OpenSent, "ROUTE-REFRESH", "01", refresh);
        yield return OutOfTurn(BgpState.OpenConfirm, "OPEN", "02", open);
        yield return OutOfTurn(BgpState.OpenConfirm, "UPDATE", "02", update);
        yield return OutOfTurn(BgpState.OpenConfirm, "ROUTE-REFRESH", "02", refresh);
        yield return OutOfTurn(BgpState.Established, "OPEN", "03", open);
    }
}
