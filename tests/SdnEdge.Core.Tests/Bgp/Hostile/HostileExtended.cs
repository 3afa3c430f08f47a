using SdnEdge.Core.Bgp;
using SdnEdge.Testing.Bgp;
using static SdnEdge.Core.Bgp.BgpFault;
using static SdnEdge.Core.Tests.Bgp.Hostile.HostileCase;
using static SdnEdge.Testing.Bgp.UpdateSketch;
using Code = SdnEdge.Core.Bgp.AttributeCode;

namespace SdnEdge.Core.Tests.Bgp.Hostile;

/// <summary>Messages of more than 4096 octets, where they are agreed on and where not (RFC 8654).</summary>
internal static class HostileExtended
{
    public static IEnumerable<HostileCase> All()
    {
        HostileCase Agreed(HostileCase one) => one with { Extended = true, Input = one.Input + ", agreed on" };
        HostileCase Long(string input, byte type, int length)
            => Message("8654 4", input, FaultAction.SessionReset, HeaderLength, UpdateSketch.Message(type, new byte[length - 19])) with
        {
            Notification = "0102", Data = $"{length:X4}",
        };

        yield return Long("UPDATE of 4097 bytes", 2, 4097);
        yield return Long("UPDATE of 65535 bytes", 2, 65535);
        yield return Long("NOTIFICATION of 4097 bytes", 3, 4097);
        yield return Agreed(Long("OPEN of 4097 bytes", 1, 4097));
        yield return Agreed(Long("KEEPALIVE of 4097 bytes", 4, 4097));
        yield return Agreed(Long("OPEN of 4097 bytes in OpenConfirm", 1, 4097)) with { State = BgpState.OpenConfirm };
        yield return Agreed(Update("8654 4", "UPDATE with 2000 communities", FaultAction.None, None,
            u => u.Add(Both, Code.Communities, Many("0000FDE9", 2000))));
        yield return Agreed(Update("8654 4", "UPDATE with 5000 routes", FaultAction.None, None,
            u => u.Nlri("18 0A0101 18 0A0102" + string.Concat(Enumerable.Repeat("20 0B000001", 5000)))));
        yield return Agreed(Update("8654 4", "UPDATE with 60000 bytes of an attribute that we do not know", FaultAction.None, None,
            u => u.Add(Both, 200, Many("A5", 60000))));
        yield return Agreed(Update("8654 5", "UPDATE with attributes that could not be sent on", FaultAction.TreatAsWithdraw,
            AttributesTooLarge, u => u.Add(Both, 200, Many("A5", 65000))));
        yield return Agreed(Update("8654 5", "UPDATE with an AS_PATH of 2-octet numbers that grows too long", FaultAction.TreatAsWithdraw,
            AttributesTooLarge,
            u => u.Change(Code.AsPath, Many("02 FF " + Many("FDE9", 255), 70)), asSize: 2));
        yield return Agreed(Update("7606 7.8", "UPDATE with 40001 bytes of communities", FaultAction.TreatAsWithdraw, CommunitiesLength,
            u => u.Add(Both, Code.Communities, Many("00", 40001))));
        yield return Agreed(Update("7606 5.3", "UPDATE with a route cut off behind 5000 others", FaultAction.SessionReset, NlriSyntax,
            u => u.Nlri(Many("20 0B000001", 5000) + "20 0B")) with { Notification = "030A" });
    }

    private static string Many(string hex, int times) => string.Concat(Enumerable.Repeat(hex, times));
}
