using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>What ends a session on purpose: limits, the operator, a path that is down.</summary>
public sealed class SessionControlTests
{
    private readonly SimNetwork _net = new();
    private readonly List<string> _warned = [];

    [Fact]
    public void A_peer_that_tells_too_many_prefixes_is_warned_about_then_dropped_and_comes_back_after_the_rest()
    {
        SimSpeaker a = _net.Add(1), b = _net.Add(2);
        BgpPeer toB = a.Peer(b, with: s => s with { LimitV4 = new BgpPrefixLimit(10, WarnPercent: 80, RestartSeconds: 30) });
        BgpPeer toA = b.Peer(a);
        a.Engine.Warned += (_, what) => _warned.Add(what);
        for (int i = 0; i < 10; i++) b.Engine.Advertise(IpPrefix.Parse($"20.0.{i}.0/24"), 100);
        for (int i = 0; i < 50; i++) b.Engine.Advertise(IpPrefix.Parse($"fd00:{i:x}::/32"), 100);
        _net.Settle();
        Assert.Equal(60, toB.Origin.Prefixes);
        Assert.Equal("8 IPv4 prefixes, 80 % of the limit of 10", Assert.Single(_warned));

        b.Engine.Advertise(IpPrefix.Parse("20.1.0.0/24"), 100);
        _net.Settle();
        Assert.Equal(BgpState.Idle, toB.State);
        Assert.Equal(0, toB.Origin.Prefixes);
        Assert.Equal("more than 10 IPv4 prefixes; starts again in 30 s", toB.LastError);
        Assert.Equal("received cease: maximum number of prefixes reached (6/1)", toA.LastError);

        _net.Advance(29_000 * SimNetwork.Millisecond);
        Assert.Equal(BgpState.Idle, toB.State);
        Assert.NotEqual(BgpState.Established, toA.State);
        b.Engine.Withdraw(IpPrefix.Parse("20.1.0.0/24"));
        _net.Advance(130_000 * SimNetwork.Millisecond);
        Assert.Equal(BgpState.Established, toB.State);
        Assert.Equal(60, toB.Origin.Prefixes);
    }

    [Fact]
    public void Without_a_restart_time_the_session_waits_for_the_operator()
    {
        SimSpeaker a = _net.Add(1), b = _net.Add(2);
        BgpPeer toB = a.Peer(b, with: s => s with { LimitV6 = new BgpPrefixLimit(1) });
        b.Peer(a);
        b.Engine.Advertise(IpPrefix.Parse("fd00:1::/32"), 100);
        b.Engine.Advertise(IpPrefix.Parse("fd00:2::/32"), 100);
        _net.Settle();
        _net.Advance(300_000 * SimNetwork.Millisecond);
        Assert.Equal(BgpState.Idle, toB.State);
        Assert.Equal(1, toB.Transitions);
        Assert.Contains("waits for a reset by the operator", toB.LastError, StringComparison.Ordinal);

        b.Engine.Withdraw(IpPrefix.Parse("fd00:2::/32"));
        a.Engine.Restart(toB, null, _net.Now);
        _net.Advance(130_000 * SimNetwork.Millisecond);
        Assert.Equal(BgpState.Established, toB.State);
    }

    [Fact]
    public void Routes_that_policy_denies_do_not_count()
    {
        SimSpeaker a = _net.Add(1), b = _net.Add(2);
        var only = new PrefixList([new PrefixRule(IpPrefix.Parse("10.0.0.0/8"), 8, 32)]);
        BgpPeer toB = a.Peer(b, with: s => s with { LimitV4 = new BgpPrefixLimit(1), Import = only });
        b.Peer(a);
        for (int i = 0; i < 20; i++) b.Engine.Advertise(IpPrefix.Parse($"20.0.{i}.0/24"), 100);
        b.Engine.Advertise(IpPrefix.Parse("10.0.0.0/24"), 100);
        _net.Settle();
        Assert.Equal(BgpState.Established, toB.State);
        Assert.Equal(1, toB.Origin.Prefixes);
    }

    [Fact]
    public void A_shutdown_tells_the_other_operator_why_and_lasts_until_the_reset()
    {
        SimSpeaker a = _net.Add(1), b = _net.Add(2);
        BgpPeer toB = a.Peer(b), toA = b.Peer(a);
        _net.Settle();
        a.Engine.Shutdown(toB, "Wartung bis 6:00 – Grüße", _net.Now);
        _net.Settle();
        Assert.Equal("received cease: administrative shutdown (6/2): \"Wartung bis 6:00 – Grüße\"", toA.LastError);
        _net.Advance(60_000 * SimNetwork.Millisecond);
        Assert.Equal(BgpState.Idle, toB.State);

        a.Engine.Restart(toB, null, _net.Now);
        _net.Advance(10_000 * SimNetwork.Millisecond);
        Assert.Equal(BgpState.Established, toB.State);
        a.Engine.Restart(toB, "again", _net.Now);
        _net.Settle();
        Assert.Equal("received cease: administrative reset (6/4): \"again\"", toA.LastError);
        _net.Advance(10_000 * SimNetwork.Millisecond);
        Assert.Equal(3, toB.Transitions);
        Assert.Equal(BgpState.Established, toB.State);
    }

    [Fact]
    public void A_peer_configured_as_shut_down_is_left_alone()
    {
        SimSpeaker a = _net.Add(1), b = _net.Add(2);
        BgpPeer toB = a.Peer(b, with: s => s with { Shutdown = true });
        b.Peer(a);
        _net.Advance(20_000 * SimNetwork.Millisecond);
        Assert.Equal(BgpState.Idle, toB.State);
        Assert.Equal(0, toB.MessagesIn);
    }

    [Fact]
    public void A_path_that_is_down_takes_the_session_and_its_routes_at_once_and_connecting_goes_on()
    {
        SimSpeaker a = _net.Add(1), b = _net.Add(2);
        BgpPeer toB = a.Peer(b), toA = b.Peer(a);
        b.Engine.Advertise(IpPrefix.Parse("20.0.0.0/8"), 100);
        _net.Settle();
        Assert.True(a.Engine.PathDown(b.Address, "BFD: control detection time expired", _net.Now));
        Assert.Null(a.BestVia("20.0.0.0/8"));
        Assert.Equal("BFD: control detection time expired", toB.LastError);
        _net.Settle();
        Assert.Equal("received cease: BFD down (6/10)", toA.LastError);
        _net.Advance(5_000 * SimNetwork.Millisecond);
        Assert.Equal(b.Address, a.BestVia("20.0.0.0/8"));
        Assert.False(a.Engine.PathDown(SimNetwork.Address(77), "BFD", _net.Now));
    }

    [Fact]
    public void A_removed_peer_is_told_so()
    {
        SimSpeaker a = _net.Add(1), b = _net.Add(2);
        a.Peer(b);
        BgpPeer toA = b.Peer(a);
        _net.Settle();
        a.Engine.RemovePeer(b.Address, _net.Now);
        Assert.Null(a.Engine.Find(b.Address));
        _net.Settle();
        Assert.Equal("received cease: peer de-configured (6/3)", toA.LastError);
    }

    [Theory]
    [InlineData("", null)]
    [InlineData("00", null)]
    [InlineData("05 61 62", null)]
    [InlineData("02 C3 28", null)]
    [InlineData("03 61 1B 63", "a c")]
    [InlineData("02 61 62 FF", "ab")]
    public void A_shutdown_text_is_shown_only_when_it_is_whole_and_valid_and_never_with_control_characters(string hex, string? text)
    {
        Assert.Equal(text, ShutdownText.Read(Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal))));
    }

    [Fact]
    public void A_text_too_long_is_cut_between_two_characters()
    {
        byte[] data = ShutdownText.Write(new string('x', 254) + "ü");
        Assert.Equal(254, data[0]);
        Assert.Equal(255, data.Length);
        Assert.Equal(new string('x', 254), ShutdownText.Read(data));
        Assert.Empty(ShutdownText.Write(null));
    }

    [Fact]
    public void A_password_never_shows_itself()
    {
        var settings = new BgpPeerSettings(SimNetwork.Address(1), 65000) { Password = new BgpPassword("hunter2") };
        Assert.DoesNotContain("hunter2", settings.ToString(), StringComparison.Ordinal);
        Assert.Contains("(secret)", settings.ToString(), StringComparison.Ordinal);
        Assert.Equal(new BgpPassword("hunter2"), settings.Password);
        Assert.NotEqual(new BgpPassword("hunter3"), settings.Password);
        Assert.Throws<ArgumentException>(() => new BgpPassword(new string('x', 81)));
    }
}
