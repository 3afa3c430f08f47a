using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using Xunit;

namespace SdnEdge.Router.Tests.Bgp;

/// <summary>What the kernel does for a session: TCP-MD5 (RFC 2385) and GTSM (RFC 5082).</summary>
public sealed class TransportTests
{
    private static readonly IpPrefix Server4 = IpPrefix.Parse("10.1.1.10/32");

    [Fact]
    public void With_the_same_password_and_GTSM_at_both_ends_the_session_comes_up()
    {
        using var pair = new Pair(s => s with { Password = new BgpPassword("secret"), TtlSecurityHops = 1 });
        pair.A.Do(() => pair.A.Speaker.Advertise(Server4, 100));
        pair.B.Await(() => pair.B.Rib.Best(Server4) is not null, "the route arrives");
        pair.Quiet();
    }

    [Theory]
    [InlineData("secret", "Secret")]
    [InlineData("secret", null)]
    public void With_different_passwords_no_connection_comes_about(string atA, string? atB)
    {
        using var pair = new Pair(s => s with { Password = new BgpPassword(atA) },
            s => s with { Password = atB is null ? null : new BgpPassword(atB) });
        Refused(pair);
    }

    [Fact]
    public void Segments_with_a_lower_TTL_than_GTSM_allows_are_not_taken()
    {
        // Over one machine nothing takes a hop off: TTL 64 looks like 191 hops.
        using var pair = new Pair(s => s with { TtlSecurityHops = 1 }, s => s with { Ttl = 64 });
        Refused(pair);
    }

    [Fact]
    public void A_peer_as_far_away_as_allowed_is_taken()
    {
        using var pair = new Pair(s => s with { TtlSecurityHops = 192 }, s => s with { Ttl = 64 });
        pair.A.Await(() => pair.ToB.State == BgpState.Established, "the session is up");
    }

    [Fact]
    public void A_peer_that_is_removed_and_comes_back_without_password_is_taken_without()
    {
        using var pair = new Pair(s => s with { Password = new BgpPassword("secret") });
        pair.A.Await(() => pair.ToB.State == BgpState.Established, "the session is up");
        foreach ((SpeakerHost host, int other) in ((SpeakerHost, int)[])[(pair.A, 2), (pair.B, 1)])
            host.Do(() => host.Speaker.RemovePeer(TwoSpeakersTests.Address(other), SpeakerHost.Now));
        BgpPeer toB = pair.Join(pair.A, 2, s => s), toA = pair.Join(pair.B, 1, s => s);
        pair.A.Await(() => toB.State == BgpState.Established, "the session is up without password");
        pair.B.Await(() => toA.State == BgpState.Established, "at the other end too");
    }

    /// <summary>Before there was no TCP-AO.</summary>
    [Fact]
    public void With_the_same_TCP_AO_key_the_session_comes_up_and_on_a_kernel_without_it_none_does_unauthenticated()
    {
        var key = new BgpAoKey(1, 2, BgpAoAlgorithm.HmacSha1, new BgpPassword("secret"));
        using var pair = new Pair(s => s with { Ao = key }, s => s with { Ao = key with { SendId = 2, ReceiveId = 1 } });
        if (BgpSocketOptions.HasAo)
        {
            pair.A.Await(() => pair.ToB.State == BgpState.Established, "the session is up");
            pair.Quiet();
            return;
        }

        Refused(pair);
        Assert.Contains(pair.Faults, f => f.StartsWith("the kernel refuses TCP-AO", StringComparison.Ordinal));
    }

    [Fact]
    public void With_TCP_AO_at_one_end_only_no_connection_comes_about()
    {
        var key = new BgpAoKey(1, 1, BgpAoAlgorithm.AesCmac, new BgpPassword("secret"));
        using var pair = new Pair(s => s with { Ao = key }, s => s);
        Refused(pair);
    }

    private static void Refused(Pair pair)
    {
        // Both ends have tried more than once (each attempt is given up after the connect retry time), and no OPEN came through.
        pair.A.Await(() => pair.ToB.LastError is not null || pair.ToB.State is BgpState.Connect or BgpState.OpenSent, "an attempt");
        long until = SpeakerHost.Now + 700_000_000;
        pair.A.Await(() => SpeakerHost.Now > until, "two connect retry times");
        Assert.Equal(0, pair.A.Ask(() => pair.ToB.MessagesIn));
        Assert.Equal(0, pair.A.Ask(() => pair.ToB.Transitions));
        Assert.Equal(0, pair.B.Ask(() => pair.ToA.Transitions));
    }

    private sealed class Pair : IDisposable
    {
        private readonly int _port = TwoSpeakersTests.FreePort();
        private readonly List<string> _faults = [];

        public Pair(Func<BgpPeerSettings, BgpPeerSettings> atA, Func<BgpPeerSettings, BgpPeerSettings>? atB = null)
        {
            A = TwoSpeakersTests.Make(1, _port);
            B = TwoSpeakersTests.Make(2, _port);
            A.Speaker.TransportFault += (_, what) => _faults.Add(what);
            ToB = Join(A, 2, atA);
            ToA = Join(B, 1, atB ?? atA);
        }

        public SpeakerHost A { get; }

        public SpeakerHost B { get; }

        public BgpPeer ToA { get; }

        public BgpPeer ToB { get; }

        public BgpPeer Join(SpeakerHost host, int other, Func<BgpPeerSettings, BgpPeerSettings> with) =>
            host.AddPeer(with(new BgpPeerSettings(TwoSpeakersTests.Address(other), 65000) { Port = _port,
                ConnectRetryMilliseconds = 300 }));

        public IReadOnlyList<string> Faults => A.Ask(() => _faults.ToList());

        public void Quiet() => Assert.Empty(Faults);

        public void Dispose()
        {
            A.Dispose();
            B.Dispose();
        }
    }
}
