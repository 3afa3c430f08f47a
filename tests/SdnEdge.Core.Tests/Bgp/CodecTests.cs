using FsCheck;
using FsCheck.Xunit;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

public sealed class CodecTests
{
    private const string Marker = "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF";
    private static readonly UpdateContext Internal = new(FourOctetAs: true, External: false, 65000, BgpFamilies.Both);

    [Fact]
    public void OPEN_with_all_our_capabilities_has_these_bytes()
    {
        var open = new OpenMessage(65000, 9, 0x0AFF0001, BgpFamilies.Both, FourOctetAs: true, RouteRefresh: true);
        Equal($"{Marker} 0033 01 04 FDE8 0009 0AFF0001 16 02 14 010400010001 010400020001 0200 41040000FDE8", into => open.Write(into));
    }

    [Fact]
    public void A_four_octet_AS_hides_behind_AS_TRANS_in_the_fixed_part_of_OPEN()
    {
        var open = new OpenMessage(4_200_000_000, 90, 1, BgpFamilies.V4, FourOctetAs: true, RouteRefresh: false);
        Equal($"{Marker} 002B 01 04 5BA0 005A 00000001 0E 02 0C 010400010001 4104FA56EA00", into => open.Write(into));
    }

    [Fact]
    public void KEEPALIVE_NOTIFICATION_ROUTE_REFRESH_and_EndOfRib_have_these_bytes()
    {
        Equal($"{Marker} 0013 04", into => MessageWriter.Keepalive(into));
        Equal($"{Marker} 0017 03 02 01 0004", into => MessageWriter.Notification(into, 2, 1, [0, 4]));
        Equal($"{Marker} 0017 05 0002 00 01", into => MessageWriter.RouteRefresh(into, BgpFamilies.V6));
        Equal($"{Marker} 0017 02 0000 0000", into => UpdateEncoder.EndOfRib(into, IpFamily.V4));
        Equal($"{Marker} 001D 02 0000 0006 800F03000201", into => UpdateEncoder.EndOfRib(into, IpFamily.V6));
    }

    [Fact]
    public void An_IPv4_route_has_these_bytes()
    {
        PathAttributes attributes = Attributes(b => b.Origin(BgpOrigin.Igp).Path().LocalPref(100));
        Equal(
            $"{Marker} 0031 02 0000 0015 40010100 400200 4003040AFF0001 40050400000064 200A01010A",
            into => Announce(into, attributes, "10.255.0.1", "10.1.1.10/32"));
    }

    [Fact]
    public void An_IPv6_route_has_these_bytes_with_MP_REACH_first()
    {
        PathAttributes attributes = Attributes(b => b.Origin(BgpOrigin.Igp).Path().LocalPref(100));
        Equal(
            $"{Marker} 004F 02 0000 0038 900E0026 000201 10 FD0000FF000000000000000000000001 00 80FD000001000100000000000000000010 "
                + $"40010100 400200 40050400000064",
            into => Announce(into, attributes, "fd00:ff::1", "fd00:1:1::10/128"));
    }

    [Fact]
    public void Withdrawals_have_these_bytes()
    {
        Equal($"{Marker} 001C 02 0005 200A01010A 0000", into => Withdraw(into, "10.1.1.10/32"));
        Equal($"{Marker} 002A 02 0000 0013 900F000F 000201 58FD00000100010000000000", into => Withdraw(into, "fd00:1:1::/88"));
    }

    [Fact]
    public void A_peer_with_two_octet_AS_numbers_gets_AS_TRANS_and_AS4_PATH_and_both_are_put_together_again()
    {
        PathAttributes attributes = Attributes(b => b.Origin(BgpOrigin.Igp).Path(65001, 4_200_000_001, 65003)
            .Set(0xC0, AttributeCode.Aggregator, UpdateBytes.Hex("FA56EA01 0A000001")).Communities(1));
        Equal(
            $"{Marker} 005D 02 0000 0042 40010100 40020802 03 FDE9 5BA0 FDEB 4003040AFF0001 C00706 5BA0 0A000001 C00804 00000001 "
            + "C0110E 0203 0000FDE9 FA56EA01 0000FDEB C01208 FA56EA01 0A000001 180A0101",
            into => Announce(into, attributes, "10.255.0.1", "10.1.1.0/24", fourOctetAs: false));
        var message = new byte[4096];
        int length = Announce(message, attributes, "10.255.0.1", "10.1.1.0/24", fourOctetAs: false);
        UpdateMessage back = Decode(message.AsSpan(0, length), new UpdateContext(false, External: true, 65001, BgpFamilies.Both), out _);
        Assert.Equal(FaultAction.None, back.Action);
        Assert.Equal(attributes, back.Attributes);
    }

    [Fact]
    public void Unknown_optional_transitive_attributes_are_kept_and_marked_partial_and_non_transitive_ones_are_not()
    {
        byte[] body = UpdateBytes.Body(UpdateBytes.Mandatory(false) + "C0 1C 03 010203" + "80 1D 02 0405" + "D0 63 0001 09");
        UpdateMessage update = new UpdateDecoder(new AttributeTable(), new BgpFaultCounters()).Decode(body, Internal);
        Assert.Equal(FaultAction.None, update.Action);
        Assert.Equal("40010100 400200 40050400000064 E01C03010203 E0630109".Replace(" ", string.Empty, StringComparison.Ordinal),
            Convert.ToHexString(update.Attributes!.Wire));
    }

    [Fact]
    public void Attributes_that_differ_only_in_order_and_length_form_are_one_set()
    {
        var decoder = new UpdateDecoder(new AttributeTable(), new BgpFaultCounters());
        PathAttributes a = decoder.Decode(UpdateBytes.Body(UpdateBytes.Mandatory(false)), Internal).Attributes!;
        PathAttributes b = decoder.Decode(UpdateBytes.Body("50 05 0004 00000064" + "50 02 0000" + UpdateBytes.NextHop + UpdateBytes.Origin),
            Internal).Attributes!;
        Assert.Same(a, b);
    }

    [Property(MaxTest = 300)]
    public void UPDATE_read_back_is_what_was_written(byte origin, uint[] path, uint? localPref, uint? med, uint[] communities,
        byte[] unknown, uint[] prefixes, bool v6, bool fourOctetAs)
    {
        uint[] numbers = [.. path.Take(300).Select(a => Math.Max(a, 1))];
        PathAttributes attributes = Attributes(b =>
        {
            b.Origin((BgpOrigin)(origin % 3)).Path(numbers).LocalPref(localPref ?? 0);
            if (med is { } m) b.Med(m);
            if (communities.Length > 0) b.Communities(communities.AsSpan(0, Math.Min(communities.Length, 200)));
            if (unknown.Length > 0) b.Set(0xE0, 99, unknown);
        });
        IpPrefix[] sent = [.. prefixes.Append(7u).Select((p, i) => v6
            ? new IpPrefix(IpAddress.FromV6((UInt128)p << 70), (int)(p % 129))
                : new IpPrefix(IpAddress.FromV4(p * 2654435761), (int)(p % 33))).Distinct()];
        IpAddress nextHop = IpAddress.Parse(v6 ? "fd00:ff::1" : "10.255.0.1");

        var got = new List<IpPrefix>();
        var encoder = new UpdateEncoder();
        var counters = new BgpFaultCounters();
        var decoder = new UpdateDecoder(new AttributeTable(), counters);
        ReadOnlySpan<IpPrefix> rest = sent;
        var message = new byte[BgpLimits.MaxMessage];
        while (rest.Length > 0)
        {
            int length = encoder.Announce(message, attributes, fourOctetAs, nextHop, ref rest);
            Assert.InRange(length, 23, 4096);
            Assert.Equal(BgpFault.None, MessageFramer.CheckHeader(message, out int framed));
            Assert.Equal(length, framed);
            UpdateMessage update = decoder.Decode(message.AsSpan(19, length - 19), Internal with { FourOctetAs = fourOctetAs });
            Assert.Equal(FaultAction.None, update.Action);
            Assert.Equal(attributes, update.Attributes);
            Assert.Equal(nextHop, v6 ? update.MpNextHop : update.NextHop);
            foreach (IpPrefix prefix in new NlriReader(v6 ? update.MpNlri : update.Nlri, v6 ? IpFamily.V6 : IpFamily.V4)) got.Add(prefix);
        }

        Assert.Equal(sent, got);
        Assert.Empty(counters.Seen());
    }

    [Property(MaxTest = 300)]
    public void OPEN_read_back_is_what_was_written(uint autonomousSystem, ushort holdTime, uint id, byte families, bool refresh)
    {
        var open = new OpenMessage(
            Math.Max(autonomousSystem, 1), holdTime is 1 or 2 ? (ushort)3 : holdTime, Math.Max(id, 1), (BgpFamilies)(1 + (families % 3)),
            FourOctetAs: true, refresh);
        var message = new byte[128];
        int length = open.Write(message);
        Assert.Equal(BgpFault.None, OpenMessage.Parse(message.AsSpan(19, length - 19), out OpenMessage? back));
        Assert.Equal(open with { CapabilityCodes = back!.CapabilityCodes }, back);
    }

    [Property(MaxTest = 1000)]
    public void No_bytes_crash_the_decoders(byte[] bytes, bool external, bool fourOctetAs)
    {
        OpenMessage.Parse(bytes, out _);
        new UpdateDecoder(new AttributeTable(), new BgpFaultCounters())
            .Decode(bytes, new UpdateContext(fourOctetAs, external, 65001, BgpFamilies.Both));
        ReadOnlySpan<byte> rest = bytes;
        var framer = new MessageFramer();
        while (framer.TryNext(ref rest, out _, out _))
        {
        }
    }

    [Property(MaxTest = 200)]
    public void Messages_come_out_whole_however_TCP_cuts_the_stream(byte[] cuts, PositiveInt count)
    {
        var stream = new List<byte>();
        var expected = new List<byte[]>();
        for (int i = 0; i < (count.Get % 20) + 1; i++)
        {
            byte[] message = UpdateBytes.Message(i % 3 == 0 ? BgpMessageType.Keepalive : BgpMessageType.Update,
                i % 3 == 0 ? [] : new byte[4 + (i * 97)]);
            expected.Add(message);
            stream.AddRange(message);
        }

        var framer = new MessageFramer();
        var got = new List<byte[]>();
        int at = 0, cut = 0;
        while (at < stream.Count)
        {
            int size = Math.Min(1 + (cuts.Length == 0 ? 4095 : cuts[cut++ % cuts.Length] * 3), stream.Count - at);
            ReadOnlySpan<byte> piece = stream.GetRange(at, size).ToArray();
            at += size;
            while (framer.TryNext(ref piece, out ReadOnlySpan<byte> message, out BgpFault fault))
            {
                Assert.Equal(BgpFault.None, fault);
                got.Add(message.ToArray());
            }

            Assert.True(piece.IsEmpty);
        }

        Assert.Equal(expected, got);
        Assert.False(framer.HasTorn);
    }

    private static UpdateMessage Decode(ReadOnlySpan<byte> message, UpdateContext context, out BgpFaultCounters counters)
    {
        counters = new BgpFaultCounters();
        return new UpdateDecoder(new AttributeTable(), counters).Decode(message[19..], context);
    }

    private static PathAttributes Attributes(Action<AttributeBuilder> fill)
    {
        var builder = new AttributeBuilder().Clear();
        fill(builder);
        return new AttributeTable().Intern(builder.Build());
    }

    private static int Announce(Span<byte> into, PathAttributes attributes, string nextHop, string prefix, bool fourOctetAs = true)
    {
        ReadOnlySpan<IpPrefix> prefixes = [IpPrefix.Parse(prefix)];
        return new UpdateEncoder().Announce(into, attributes, fourOctetAs, IpAddress.Parse(nextHop), ref prefixes);
    }

    private static int Withdraw(Span<byte> into, string prefix)
    {
        ReadOnlySpan<IpPrefix> prefixes = [IpPrefix.Parse(prefix)];
        return new UpdateEncoder().Withdraw(into, ref prefixes);
    }

    private delegate int Write(Span<byte> into);

    private static void Equal(string hex, Write write)
    {
        var message = new byte[4096];
        int length = write(message);
        Assert.Equal(Convert.ToHexString(UpdateBytes.Hex(hex)), Convert.ToHexString(message.AsSpan(0, length)));
    }
}
