using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;
using SdnEdge.Testing.Bgp;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp.Hostile;

/// <summary>What a peer can do with the connection itself: tear, drip, fall silent, flood, and stop reading.</summary>
public sealed class HostileStreamTests
{
    private const long Second = 1_000_000_000;

    private static readonly byte[] Conversation =
    [
        .. UpdateSketch.Message(1, UpdateSketch.Hex("04 FDE8 005A 0AFF0002 10 020E 010400010001 4104 0000FDE8 0200")),
        .. UpdateSketch.Header(19, 4),
        .. new UpdateSketch(false).Build(),
        .. new UpdateSketch(false).Change(AttributeCode.Origin, "03").Nlri("18 0A0102").Build(),
        .. UpdateSketch.Header(19, 4),
        .. new UpdateSketch(false).Nlri("18 0A0103").Build(),
    ];

    [Fact]
    public void A_conversation_torn_at_any_byte_means_the_same()
    {
        for (int cut = 1; cut < Conversation.Length; cut++)
        {
            var session = new RawSession(false);
            session.Connect(BgpState.OpenSent);
            session.Receive(Conversation.AsSpan(0, cut));
            session.Receive(Conversation.AsSpan(cut));
            ExpectTwoRoutes(session);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(7)]
    [InlineData(18)]
    [InlineData(20)]
    public void A_conversation_in_pieces_of_any_size_means_the_same(int size)
    {
        var session = new RawSession(false);
        session.Connect(BgpState.OpenSent);
        for (int at = 0; at < Conversation.Length; at += size)
            session.Receive(Conversation.AsSpan(at, Math.Min(size, Conversation.Length - at)));
        ExpectTwoRoutes(session);
    }

    [Fact]
    public void A_wrong_header_behind_right_messages_costs_no_byte_before_it_and_nothing_behind_it_is_read()
    {
        for (int cut = 0; cut < 19; cut++)
        {
            var session = new RawSession(false);
            session.Connect();
            byte[] right = new UpdateSketch(false).Build(), wrong = UpdateSketch.Header(19, 9);
            session.Receive([.. right, .. wrong.AsSpan(0, cut)]);
            Assert.Equal(2, session.Peer.Origin.Prefixes);
            session.Receive([.. wrong.AsSpan(cut), .. right, .. UpdateSketch.Header(19, 4)]);
            Assert.Equal("010309", Convert.ToHexString(session.Notification!));
            Assert.Equal(0, session.Peer.Origin.Prefixes);
            Assert.Equal(1, session.Closed);

            // The next connection begins with a clean framer.
            session.Connect();
            session.Receive(right);
            Assert.Equal(2, session.Peer.Origin.Prefixes);
        }
    }

    [Fact]
    public void A_peer_that_drips_half_a_message_is_silent_all_the_same()
    {
        var session = new RawSession(false);
        session.Connect();
        byte[] update = new UpdateSketch(false).Build();
        for (int i = 0; i < 50; i++)
        {
            session.Receive(update.AsSpan(i, 1));
            session.Advance(2 * Second);
            if (session.Peer.State != BgpState.Established) break;
        }

        Assert.Equal("0400", Convert.ToHexString(session.Notification!));
        Assert.Equal("hold timer expired", session.Peer.LastError);
    }

    [Theory]
    [InlineData(BgpState.OpenSent, 240)]
    [InlineData(BgpState.OpenConfirm, 90)]
    public void A_half_open_session_ends_by_its_timer_and_makes_room_for_the_next(BgpState state, int seconds)
    {
        var session = new RawSession(false);
        session.Connect(state);
        session.Advance((seconds * Second) - 1);
        Assert.Equal(state, session.Peer.State);
        Assert.Equal(0, session.Closed);
        session.Advance(1);
        Assert.Equal(1, session.Closed);
        Assert.Equal("0400", Convert.ToHexString(session.Notification!));
        session.Connect();
        Assert.Equal(BgpState.Established, session.Peer.State);
    }

    [Fact]
    public void Connections_opened_and_left_one_after_another_replace_each_other_and_never_an_established_one()
    {
        var session = new RawSession(false);
        for (int i = 0; i < 1000; i++)
        {
            Assert.True(session.Engine.Accepts(session.Peer.Settings.Address));
            session.Engine.Connected(session.Peer, ConnectionSide.Incoming, session.Now);
        }

        session.Receive(Conversation);
        ExpectTwoRoutes(session);
        Assert.False(session.Engine.Accepts(session.Peer.Settings.Address));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_peer_that_floods_ROUTE_REFRESH_and_does_not_read_makes_us_queue_no_more_than_the_window(bool enhanced)
    {
        var session = new RawSession(false);
        session.Connect(BgpState.OpenSent);
        session.Receive(UpdateSketch.Message(1,
            UpdateSketch.Hex($"04 FDE8 005A 0AFF0002 12 0210 010400010001 4104 0000FDE8 0200 {(enhanced ? "46" : "FE")}00")));
        session.Receive(UpdateSketch.Header(19, 4));
        session.Turn();
        for (int i = 0; i < 5000; i++) session.Engine.Advertise(new IpPrefix(IpAddress.FromV4(0x0B000000u + (uint)(i << 8)), 24), 100);
        session.Turn();
        session.ToPeer.Clear();
        session.PeerUnsent = 1 << 30;
        byte[] refresh = UpdateSketch.Message(5, UpdateSketch.Hex("00010001"));
        for (int i = 0; i < 10_000; i++)
        {
            session.Receive(refresh);
            if (i % 100 == 0) session.Turn();
        }

        Assert.Equal(enhanced ? 1 : 0, session.ToPeer.Count);
        Assert.Equal(5000, session.Peer.PrefixesWaiting);

        // The send hold time is over (RFC 9687): what waited goes with the session.
        session.Engine.SendHoldTimerExpired(session.Peer, ConnectionSide.Incoming, session.Now);
        Assert.Equal("0800", Convert.ToHexString(session.Notification!));
        Assert.Equal(0, session.Peer.PrefixesWaiting);
        Assert.Equal(1, session.Closed);
    }

    private static void ExpectTwoRoutes(RawSession session)
    {
        Assert.Equal(BgpState.Established, session.Peer.State);
        Assert.Equal(2, session.Peer.Origin.Prefixes);
        Assert.NotNull(session.Rib.Best(IpPrefix.Parse("10.1.1.0/24")));
        Assert.Null(session.Rib.Best(IpPrefix.Parse("10.1.2.0/24")));
        Assert.NotNull(session.Rib.Best(IpPrefix.Parse("10.1.3.0/24")));
        Assert.Equal(BgpFault.OriginMalformed, Assert.Single(session.Peer.Faults.Seen()).Key);
        Assert.Equal(0, session.Closed);
    }
}
