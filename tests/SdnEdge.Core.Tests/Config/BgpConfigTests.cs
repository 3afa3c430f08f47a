using SdnEdge.Core.Bgp;
using SdnEdge.Core.Config;
using Xunit;

namespace SdnEdge.Core.Tests.Config;

/// <summary>The <c>bgp:</c> part: every key, and what is said when one is wrong.</summary>
public sealed class BgpConfigTests
{
    private const string Head = "name: pe-a\nrouterId: 10.255.0.1\nas: 65000\nloopbacks: [10.255.0.1]\nhost: { device: host0 }\n";

    [Fact]
    public void Every_key_of_a_peer_is_read()
    {
        BgpPeerConfig peer = Assert.Single(Good("""
            bgp:
              peers:
                - address: 10.255.0.2
                  as: 65001
                  maxPrefixes: { ipv4: 1000, ipv6: 200, warning: 90, restart: 30 }
                  password: "s3cret, with: signs"
                  ttlSecurity: 2
                  shutdown: "until 6:00"
            """).Peers);
        Assert.Equal(new BgpPrefixLimit(1000, 90, 30), peer.LimitV4);
        Assert.Equal(new BgpPrefixLimit(200, 90, 30), peer.LimitV6);
        Assert.Equal(new BgpPassword("s3cret, with: signs"), peer.Password);
        Assert.Equal(2, peer.TtlSecurity);
        Assert.Equal("until 6:00", peer.Shutdown);
        Assert.Equal(new GracefulRestartConfig(RestartMode.Full, 60, 100, 20),
            Good("bgp:\n  gracefulRestart: { mode: full, restartTime: 60, staleTime: 100, deferral: 20 }\n").GracefulRestart);
        Assert.Equal(5, Assert.Single(Good("bgp:\n  peers:\n    - { address: 10.255.0.2, as: 65001, multihop: 5, shutdown: false }\n").Peers).Multihop);
    }

    [Theory]
    [InlineData("ttlSecurity: 255", "7", "ttlSecurity", "1 to 254")]
    [InlineData("ttlSecurity: 1, multihop: 3", "7", "multihop", "keep ttlSecurity")]
    [InlineData("multihop: 1", "7", "multihop", "2 to 255")]
    [InlineData("password: \"\"", "7", "password", "1 to 80")]
    [InlineData("maxPrefixes: { warning: 50 }", "7", "maxPrefixes", "ipv4: NUMBER")]
    [InlineData("maxPrefixes: { ipv4: 0 }", "7", "maxPrefixes.ipv4", "1 to 100000000")]
    [InlineData("maxPrefixes: { ipv4: 10, warn: 7 }", "7", "maxPrefixes.warn", "")]
    [InlineData("holdTime: 2", "7", "holdTime", "RFC 4271")]
    [InlineData("maxPrefix: 7", "7", "maxPrefix", "did you mean 'maxPrefixes'")]
    public void A_wrong_key_is_reported_with_its_line_and_what_would_be_right(string wrong, string line, string field, string says)
    {
        ConfigResult result = NodeConfigLoader.Load($"{Head}bgp: {{ peers: [\n  {{ address: 10.255.0.2, as: 65001, {wrong} }} ] }}\n", "pe.yaml");
        ConfigError error = Assert.Single(result.Errors);
        Assert.Equal(line, $"{error.Line}");
        Assert.EndsWith(field, error.Field, StringComparison.Ordinal);
        Assert.Contains(says, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_password_does_not_appear_in_any_error_or_difference()
    {
        string secret = new('k', 90);
        ConfigResult result = NodeConfigLoader.Load($"{Head}bgp: {{ peers: [\n  {{ address: 10.255.0.2, as: 65001, password: {secret} }} ] }}\n", "pe.yaml");
        Assert.DoesNotContain("kkk", Assert.Single(result.Errors).ToString(), StringComparison.Ordinal);
        NodeConfig one = NodeConfigLoader.Load($"{Head}bgp: {{ peers: [ {{ address: 10.255.0.2, as: 65001, password: one }} ] }}\n", "pe.yaml").Config!;
        NodeConfig two = NodeConfigLoader.Load($"{Head}bgp: {{ peers: [ {{ address: 10.255.0.2, as: 65001, password: two }} ] }}\n", "pe.yaml").Config!;
        Assert.Equal(["- bgp peer 10.255.0.2", "+ bgp peer 10.255.0.2"], ConfigDiff.Between(one, two).Select(a => a.ToString()));
        Assert.DoesNotContain("two", two.Bgp.Peers[0].ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Multihop_is_for_eBGP_only()
    {
        ConfigResult result = NodeConfigLoader.Load($"{Head}bgp: {{ peers: [\n  {{ address: 10.255.0.2, as: 65000, multihop: 3 }} ] }}\n", "pe.yaml");
        Assert.Contains("iBGP", Assert.Single(result.Errors).Message, StringComparison.Ordinal);
    }

    private static BgpConfig Good(string bgp)
    {
        ConfigResult result = NodeConfigLoader.Load(Head + bgp, "pe.yaml");
        Assert.Equal([], result.Errors.Select(e => e.ToString()));
        return result.Config!.Bgp;
    }
}
