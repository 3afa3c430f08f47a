using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

public class TunnelProbeTests
{
    private const long Ms = 1_000_000;

    [Theory]
    [InlineData("10.255.0.1", "10.255.0.2", 1476)]
    [InlineData("fd00:ff::1", "fd00:ff::2", 1556)]
    [InlineData("fd00:ff::1", "fd00:ff::2", TunnelProbe.LeastBytes)]
    public void A_probe_is_an_echo_request_of_exactly_the_size_of_the_tunnel_with_DF_set(string from, string to, int size)
    {
        TunnelProbe probe = Make(from, to, size);
        Assert.True(probe.Poll(1));
        byte[] packet = probe.Packet.ToArray();
        Assert.Equal(size, packet.Length);
        Assert.True(IpPacketView.TryParse(packet, out IpPacketView ip));
        Assert.Equal((IpAddress.Parse(from), IpAddress.Parse(to)), (ip.Source, ip.Destination));
        Assert.True(IcmpView.TryParse(ip.Payload, out IcmpView icmp) && icmp.ChecksumIsValid(ip.Source, ip.Destination));
        Assert.Equal(IcmpHeader.Echo(ip.Family, false, 0x5DE6, 0), icmp.Header);
        if (ip.Family == IpFamily.V4) Assert.True(Ipv4View.TryParse(packet, out Ipv4View v4) && v4.DontFragment && v4.ChecksumIsValid);
    }

    // The clock moves in odd steps; replies take 7 ms plus a little.
    [Theory]
    [InlineData(1_000_003)]
    [InlineData(13_000_001)]
    [InlineData(99_999_989)]
    public void An_answer_makes_it_up_three_losses_in_a_row_make_it_down(long step)
    {
        TunnelProbe probe = Make("10.255.0.1", "10.255.0.2", 1476);
        Queue<(long At, byte[] Reply)> wire = new();
        long now = 123_456_789;
        bool answering = true;
        void RunUntil(Func<bool> condition, long atMost)
        {
            for (long end = now + atMost; !condition(); now += step)
            {
                Assert.True(now < end, "did not happen in time");
                while (wire.TryPeek(out (long At, byte[] Reply) next) && next.At <= now)
                    Assert.True(probe.OnReply(wire.Dequeue().Reply, now));
                while (probe.NextDeadline <= now)
                {
                    if (probe.Poll(now) && answering) wire.Enqueue((now + (7 * Ms), Reply(probe.Packet)));
                }
            }
        }

        Assert.False(probe.IsUp);
        RunUntil(() => probe.IsUp, 300 * Ms);
        RunUntil(() => probe.Received == 20, 30_000 * Ms);
        Assert.Equal(0, probe.Lost);
        Assert.InRange(probe.LastRttNs, 7 * Ms, (7 * Ms) + step);
        Assert.InRange(probe.SmoothedRttNs, probe.MinRttNs, probe.MaxRttNs);

        answering = false;
        long stopped = now;
        RunUntil(() => !probe.IsUp, 3000 * Ms);
        Assert.InRange(probe.Lost, 3, 9); // and those that looked for what still passes

        // The third unanswered one, sent within 750 ms, times out after 1 s.
        Assert.InRange(now - stopped, 1250 * Ms, (1750 * Ms) + (6 * step));
        Assert.InRange(probe.RecentLoss, 0.1, 0.4);

        answering = true;
        RunUntil(() => probe.IsUp, 300 * Ms);
    }

    [Fact]
    public void Probes_lost_before_the_first_answer_do_not_bring_it_down_when_their_time_is_up()
    {
        // Answers so far apart that the time of more than three lost ones is up between two of them.
        var probe = new TunnelProbe(new TunnelProbeOptions(IpAddress.Parse("10.255.0.1"), IpAddress.Parse("10.255.0.2"), 100, 0x5DE6,
            Tag: 7) { IntervalNs = 700 * Ms });
        long now = 0;
        for (; probe.Sent < 6; now += Ms) probe.Poll(now);   // the other end is not there yet
        Assert.Equal((6, 0), (probe.Sent, probe.Lost));
        Assert.True(probe.OnReply(Reply(probe.Packet), now));
        Assert.True(probe.IsUp);
        for (; now < 3000 * Ms; now += Ms)
        {
            if (probe.Poll(now)) probe.OnReply(Reply(probe.Packet), now + (40 * Ms));
            Assert.True(probe.IsUp, $"down at {now / Ms} ms");
        }

        Assert.Equal(5, probe.Lost);
    }

    [Fact]
    public void A_single_loss_leaves_it_up()
    {
        TunnelProbe probe = Make("10.255.0.1", "10.255.0.2", 100);
        long now = 0;
        for (int i = 0; i < 30; i++)
        {
            now = Math.Max(now, probe.NextDeadline);
            if (probe.Poll(now) && probe.Sent % 5 != 0) probe.OnReply(Reply(probe.Packet), now + (2 * Ms));
        }

        Assert.True(probe.IsUp);
        Assert.True(probe.Lost >= 3);
    }

    [Fact]
    public void Late_and_repeated_answers_are_told_apart_and_do_not_bring_it_up()
    {
        TunnelProbe probe = Make("10.255.0.1", "10.255.0.2", 100);
        Assert.True(probe.Poll(0));
        byte[] reply = Reply(probe.Packet);
        probe.Poll(1500 * Ms);
        Assert.Equal(1, probe.Lost);
        Assert.True(probe.OnReply(reply, 1501 * Ms));
        Assert.Equal((1, 0, false), (probe.Late, probe.Received, probe.IsUp));

        reply = Reply(probe.Packet);
        Assert.True(probe.OnReply(reply, 1510 * Ms));
        Assert.True(probe.OnReply(reply, 1511 * Ms));
        Assert.Equal((1, 1, true), (probe.Duplicates, probe.Received, probe.IsUp));
    }

    [Fact]
    public void Answers_that_are_not_of_this_probe_are_refused()
    {
        TunnelProbe probe = Make("10.255.0.1", "10.255.0.2", 200);
        TunnelProbe other = new(new TunnelProbeOptions(IpAddress.Parse("10.255.0.1"), IpAddress.Parse("10.255.0.2"), 200, 0x5DE6, Tag: 8));
        TunnelProbe smaller = Make("10.255.0.1", "10.255.0.2", 199);
        TunnelProbe elsewhere = Make("10.255.0.1", "10.255.0.3", 200);
        TunnelProbe earlier = Make("10.255.0.1", "10.255.0.2", 200);
        probe.Poll(5);
        other.Poll(5);
        smaller.Poll(5);
        elsewhere.Poll(5);
        earlier.Poll(4);
        Assert.False(probe.OnReply(Reply(other.Packet), 6)); // another tunnel's
        Assert.False(probe.OnReply(Reply(smaller.Packet), 6)); // cut on the way
        Assert.False(probe.OnReply(Reply(elsewhere.Packet), 6));
        Assert.False(probe.OnReply(Reply(earlier.Packet), 6)); // of a run before a restart
        Assert.False(probe.OnReply(probe.Packet, 6)); // the request itself
        byte[] damaged = Reply(probe.Packet);
        damaged[^1] ^= 1;
        Assert.False(probe.OnReply(damaged, 6));
        for (int cut = 0; cut < 200; cut++) Assert.False(probe.OnReply(Reply(probe.Packet).AsSpan(0, cut), 6));
        Assert.False(probe.IsUp);
        Assert.True(probe.OnReply(Reply(probe.Packet), 6));
    }

    [Fact]
    public void Options_that_make_no_sense_are_refused_with_a_reason()
    {
        Assert.Contains("28", Assert.Throws<ArgumentException>(() => Make("10.0.0.1", "10.0.0.2", 28)).Message, StringComparison.Ordinal);
        Assert.Contains("family", Assert.Throws<ArgumentException>(() => Make("10.0.0.1", "fd00::2", 1000)).Message,
            StringComparison.Ordinal);
    }

    private static TunnelProbe Make(string from, string to, int size)
        => new(new TunnelProbeOptions(IpAddress.Parse(from), IpAddress.Parse(to), size, 0x5DE6, Tag: 7));

    // What the peer's slow path answers.
    internal static byte[] Reply(ReadOnlySpan<byte> request)
    {
        Assert.True(IpPacketView.TryParse(request, out IpPacketView ip));
        SlowPath peer = new();
        SlowPathActions actions = new();
        Assert.Equal(SlowPathVerdict.Answered, peer.LocalIcmp(-1, 0, request, 0, 0, actions));
        return actions.Bytes(actions.Items[0]).ToArray();
    }
}
