using SdnEdge.Core.Bgp;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>What is passed on of odd but right UPDATEs. What is wrong has its own table: <see cref="Hostile.HostileCaseTests"/>.</summary>
public sealed class HostileUpdateTests
{
    private const string O = UpdateBytes.Origin;
    private const string N = UpdateBytes.NextHop;

    [Fact]
    public void Attributes_28_35_and_40_may_hold_anything_and_are_passed_on_as_they_came()
    {
        // Incidents of other speakers: tunnel encapsulation, entropy label, only-to-customer, prefix SID.
        var random = new Random(7);
        foreach (byte code in (byte[])[28, 35, 40, 128, 255])
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
        Assert.Equal(0, new UpdateEncoder()
            .Announce(new byte[4096], update.Attributes, true, Core.Wire.IpAddress.Parse("10.0.0.1"), ref prefixes));
        Assert.NotEqual(0, new UpdateEncoder()
            .Announce(new byte[4096], update.Attributes, false, Core.Wire.IpAddress.Parse("10.0.0.1"), ref prefixes));
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
