using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;
using SdnEdge.Testing.Bgp;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>Messages of more than 4096 octets (RFC 8654).</summary>
public sealed class ExtendedMessageTests
{
    private static readonly IpPrefix Site = IpPrefix.Parse("10.1.1.0/24");

    [Fact]
    public void A_route_that_needs_an_extended_message_is_sent_on_in_one_where_the_other_end_takes_it()
    {
        var session = new RawSession(external: true, extended: true, observerExtended: true);
        session.Connect();
        session.Receive(Large(2000));
        session.Turn();
        Assert.Equal(2000 * 4, session.Rib.Best(Site)!.Value.Attributes!.Find(AttributeCode.Communities).Length);
        byte[] told = Assert.Single(session.ToObserver, m => m.Length > BgpLimits.MaxMessage);
        Assert.InRange(told.Length, 8000, 8200);
        Assert.Equal((2, 0L), (session.Observer.PrefixesSent, session.Observer.TooLarge));
        UpdateMessage update = new UpdateDecoder(new AttributeTable(), new BgpFaultCounters())
            .Decode(told.AsSpan(19), new UpdateContext(true, true, RawSession.OurAs, BgpFamilies.Both));
        Assert.Equal(2000 * 4, update.Attributes!.Find(AttributeCode.Communities).Length);
    }

    [Fact]
    public void Where_the_other_end_does_not_it_is_not_told_and_what_was_told_before_is_taken_back()
    {
        var session = new RawSession(external: true, extended: true);
        session.Connect();
        session.Receive(new UpdateSketch(external: true).Build());
        session.Turn();
        Assert.Equal(2, session.Observer.PrefixesSent);
        session.Receive(Large(2000));
        session.Turn();
        Assert.NotNull(session.Rib.Best(Site));
        Assert.Equal((0, 2L), (session.Observer.PrefixesSent, session.Observer.TooLarge));
        Assert.DoesNotContain(session.ToObserver, m => m.Length > BgpLimits.MaxMessage);
        Assert.Equal("0008 180A0101180A0102 0000".Replace(" ", "", StringComparison.Ordinal),
            Convert.ToHexString(session.ToObserver[^1].AsSpan(19)));
    }

    [Fact]
    public void As_long_as_attributes_leave_room_messages_stay_short()
    {
        var session = new RawSession(external: true, extended: true, observerExtended: true);
        session.Connect();
        session.Receive(new UpdateSketch(external: true)
            .Nlri(string.Concat(Enumerable.Range(0, 5000).Select(i => $"20 0B00{i:X4}"))).Build());
        session.Turn();
        Assert.Equal(5000, session.Observer.PrefixesSent);
        Assert.All(session.ToObserver, m => Assert.InRange(m.Length, 19, BgpLimits.MaxMessage));
    }

    [Fact]
    public void What_one_connection_agreed_on_does_not_hold_for_the_next()
    {
        var framer = new MessageFramer { Extended = true };
        byte[] message = Large(2000);
        for (int cut = 1; cut < message.Length; cut += 997)
        {
            ReadOnlySpan<byte> first = message.AsSpan(0, cut), rest = message.AsSpan(cut);
            Assert.False(framer.TryNext(ref first, out _, out BgpFault none));
            Assert.Equal(BgpFault.None, none);
            Assert.True(framer.TryNext(ref rest, out ReadOnlySpan<byte> whole, out _));
            Assert.True(whole.SequenceEqual(message));
        }

        framer.Clear();
        ReadOnlySpan<byte> again = message;
        Assert.False(framer.TryNext(ref again, out _, out BgpFault fault));
        Assert.Equal(BgpFault.HeaderLength, fault);
    }

    [Fact]
    public void It_is_agreed_on_when_both_offer_it()
    {
        var net = new SimNetwork();
        SimSpeaker a = net.Add(1), b = net.Add(2), c = net.Add(3);
        BgpPeer toB = a.Peer(b), toC = a.Peer(c);
        b.Peer(a);
        BgpPeer fromC = c.Peer(a, with: s => s with { ExtendedMessages = false });
        net.Settle();
        Assert.True(toB.Negotiated!.ExtendedMessages);
        Assert.False(toC.Negotiated!.ExtendedMessages);
        Assert.False(fromC.Negotiated!.ExtendedMessages);
        Assert.Contains("extended-message", toB.ToInfo(0).Capabilities);
    }

    private static byte[] Large(int communities) => new UpdateSketch(external: true)
        .Add(UpdateSketch.Both, AttributeCode.Communities, string.Concat(Enumerable.Range(0, communities).Select(i => $"FDE9{i:X4}")))
        .Build();
}
