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
        Assert.Equal(new MoveDampingSettings(8, 60, 300),
            Good("bgp:\n  moveDamping: { moves: 8, within: 60, recovery: 300 }\n").MoveDamping);
        Assert.Equal(new MoveDampingSettings(5, 180, 180), Good("bgp:\n  port: 179\n").MoveDamping);
        Assert.Equal(5, Assert.Single(
            Good("bgp:\n  peers:\n    - { address: 10.255.0.2, as: 65001, multihop: 5, shutdown: false }\n").Peers).Multihop);
    }

    [Theory]
    [InlineData("ttlSecurity: 255", "7", "ttlSecurity", "1 to 254")]
    [InlineData("ttlSecurity: 1, multihop: 3", "7", "multihop", "keep ttlSecurity")]
    [InlineData("multihop: 1", "7", "multihop", "2 to 255")]
    [InlineData("password: \"\"", "7", "password", "1 to 80")]
    [InlineData("tcpAo: { secret: x }", "7", "tcpAo.id", "is missing")]
    [InlineData("tcpAo: { id: 256, secret: x }", "7", "tcpAo.id", "0 to 255")]
    [InlineData("tcpAo: { id: 1 }", "7", "tcpAo.secret", "is missing")]
    [InlineData("tcpAo: { id: 1, algorithm: md5, secret: x }", "7", "tcpAo.algorithm", "hmac-sha-1-96, aes-128-cmac-96")]
    [InlineData("tcpAo: { id: 1, secret: x }, password: y", "7", "tcpAo", "keep one")]
    [InlineData("maxPrefixes: { warning: 50 }", "7", "maxPrefixes", "ipv4: NUMBER")]
    [InlineData("maxPrefixes: { ipv4: 0 }", "7", "maxPrefixes.ipv4", "1 to 100000000")]
    [InlineData("maxPrefixes: { ipv4: 10, warn: 7 }", "7", "maxPrefixes.warn", "")]
    [InlineData("holdTime: 2", "7", "holdTime", "RFC 4271")]
    [InlineData("maxPrefix: 7", "7", "maxPrefix", "did you mean 'maxPrefixes'")]
    public void A_wrong_key_is_reported_with_its_line_and_what_would_be_right(string wrong, string line, string field, string says)
    {
        ConfigResult result =
            NodeConfigLoader.Load($"{Head}bgp: {{ peers: [\n  {{ address: 10.255.0.2, as: 65001, {wrong} }} ] }}\n", "pe.yaml");
        ConfigError error = Assert.Single(result.Errors);
        Assert.Equal(line, $"{error.Line}");
        Assert.EndsWith(field, error.Field, StringComparison.Ordinal);
        Assert.Contains(says, error.Message, StringComparison.Ordinal);
    }

    /// <summary>Keys that documents promised or peers need, and the file did not take.</summary>
    [Fact]
    public void TCP_AO_and_next_hops_by_the_default_route_are_read()
    {
        BgpConfig config = Good("bgp:\n  resolveByDefault: true\n  peers:\n"
            + "    - { address: 10.255.0.2, as: 65001, nextHopSelf: true, "
            + "tcpAo: { id: 5, receiveId: 6, algorithm: aes-128-cmac-96, secret: x } }\n"
            + "    - { address: 10.255.0.3, as: 65001, tcpAo: { id: 7, secret: y } }\n");
        Assert.True(config.ResolveByDefault);
        Assert.False(Good("bgp:\n  port: 179\n").ResolveByDefault);
        Assert.True(config.Peers[0].NextHopSelf);
        Assert.Equal(new BgpAoKey(5, 6, BgpAoAlgorithm.AesCmac, new BgpPassword("x")), config.Peers[0].Ao);
        Assert.Equal(new BgpAoKey(7, 7, BgpAoAlgorithm.HmacSha1, new BgpPassword("y")), config.Peers[1].Ao);
        Assert.DoesNotContain("Secret = y", config.Peers[1].ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_password_does_not_appear_in_any_error_or_difference()
    {
        string secret = new('k', 90);
        ConfigResult result =
            NodeConfigLoader.Load($"{Head}bgp: {{ peers: [\n  {{ address: 10.255.0.2, as: 65001, password: {secret} }} ] }}\n", "pe.yaml");
        Assert.DoesNotContain("kkk", Assert.Single(result.Errors).ToString(), StringComparison.Ordinal);
        NodeConfig one = NodeConfigLoader.Load($"{Head}bgp: {{ peers: [ {{ address: 10.255.0.2, as: 65001, password: one }} ] }}\n",
            "pe.yaml").Config!;
        NodeConfig two = NodeConfigLoader.Load($"{Head}bgp: {{ peers: [ {{ address: 10.255.0.2, as: 65001, password: two }} ] }}\n",
            "pe.yaml").Config!;
        Assert.Equal(["- bgp peer 10.255.0.2", "+ bgp peer 10.255.0.2"], ConfigDiff.Between(one, two).Select(a => a.ToString()));
        Assert.DoesNotContain("two", two.Bgp.Peers[0].ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Multihop_is_for_eBGP_only()
    {
        ConfigResult result =
            NodeConfigLoader.Load($"{Head}bgp: {{ peers: [\n  {{ address: 10.255.0.2, as: 65000, multihop: 3 }} ] }}\n", "pe.yaml");
        Assert.Contains("iBGP", Assert.Single(result.Errors).Message, StringComparison.Ordinal);
    }

    private const string Policies = """
        bgp:
          clusterId: 10.255.0.9
          prefixLists:
            - { name: customers, rules: ["permit 10.0.0.0/8 ge 24", "deny 0.0.0.0/0 le 32"] }
          communityLists:
            - { name: gold, communities: ["65000:100", "rt:65000:1"], match: all }
          policies:
            - name: from-x
              terms:
                - { prefixes: customers, communities: gold, localPref: 200, med: 5, add: ["65000:1:2"], remove: [no-export], prepend: 1 }
                - { action: deny }
          peers:
            - { address: 10.255.0.2, as: 65001, import: from-x, export: all, role: customer, strictRole: true }
            - { address: 10.255.0.3, as: 65000, routeReflectorClient: true }
        """;

    [Fact]
    public void Policies_roles_and_reflection_are_read()
    {
        BgpConfig config = Good(Policies);
        BgpPeerConfig peer = config.Peers[0];
        Assert.Equal(0x0AFF0009u, config.ClusterId);
        Assert.Equal("from-x", peer.ImportPolicy!.Name);
        Assert.True(peer.Export);
        Assert.Equal(BgpRole.Customer, peer.Role);
        Assert.True(peer.StrictRole);
        Assert.True(config.Peers[1].ReflectorClient);
        var table = new AttributeTable();
        PathAttributes gold = table.Intern(new AttributeBuilder().Clear().Origin(BgpOrigin.Igp).Path(65001).Communities(0xFDE80064)
            .Set(AttributeFlags.Optional | AttributeFlags.Transitive, AttributeCode.ExtendedCommunities, [0, 2, 0xFD, 0xE8, 0, 0, 0, 1])
            .Build());
        PathAttributes plain =
            table.Intern(new AttributeBuilder().Clear().Origin(BgpOrigin.Igp).Path(65001).Communities(0xFDE80064).Build());
        Assert.Equal(200u, peer.ImportPolicy.Find(Core.Wire.IpPrefix.Parse("10.1.1.10/32"), gold)!.LocalPref);
        Assert.Null(peer.ImportPolicy.Find(Core.Wire.IpPrefix.Parse("10.1.1.10/32"), plain));
        Assert.Null(peer.ImportPolicy.Find(Core.Wire.IpPrefix.Parse("10.1.0.0/16"), gold));
    }

    [Fact]
    public void A_change_of_policy_alone_leaves_the_session_and_the_same_policy_is_no_change()
    {
        NodeConfig one = NodeConfigLoader.Load(Head + Policies, "pe.yaml").Config!;
        NodeConfig two = NodeConfigLoader.Load(Head + Policies.Replace("localPref: 200", "localPref: 300", StringComparison.Ordinal),
            "pe.yaml").Config!;
        Assert.Empty(ConfigDiff.Between(one, NodeConfigLoader.Load(Head + Policies, "pe.yaml").Config!));
        Assert.Equal(["~ bgp peer 10.255.0.2 policy"], ConfigDiff.Between(one, two).Select(a => a.ToString()));
    }

    [Theory]
    [InlineData("ge 24", "ge 7", "7 is no length from 8 to 32")]
    [InlineData("10.0.0.0/8 ge", "10.0.0.1/8 ge", "host bits")]
    [InlineData("\"65000:100\"", "\"65000\"", "is no community")]
    [InlineData("prefixes: customers", "prefixes: custommers", "did you mean 'customers'")]
    [InlineData("communities: gold", "communities: silver", "there are gold")]
    [InlineData("import: from-x", "import: from-y", "did you mean 'from-x'")]
    [InlineData("action: deny", "action: deny, med: 4", "denies the route and changes it")]
    [InlineData("{ action: deny }", "{ leaving: true, action: deny }", "asks for our own routes")]
    [InlineData("name: from-x", "name: all", "is taken")]
    [InlineData("role: customer, ", "", "insists on a role")]
    [InlineData("10.255.0.3, as: 65000", "10.255.0.3, as: 65003", "is for iBGP")]
    [InlineData("10.255.0.2, as: 65001", "10.255.0.2, as: 65000", "is for eBGP")]
    [InlineData("clusterId: 10.255.0.9", "clusterId: \"fd00::1\"", "cannot be a cluster id")]
    public void What_is_wrong_in_a_policy_is_said(string right, string wrong, string says)
    {
        Assert.Contains(right, Policies, StringComparison.Ordinal);
        ConfigResult result = NodeConfigLoader.Load(Head + Policies.Replace(right, wrong, StringComparison.Ordinal), "pe.yaml");
        Assert.Contains(result.Errors, e => e.Message.Contains(says, StringComparison.Ordinal));
    }

    private static BgpConfig Good(string bgp)
    {
        ConfigResult result = NodeConfigLoader.Load(Head + bgp, "pe.yaml");
        Assert.Equal([], result.Errors.Select(e => e.ToString()));
        return result.Config!.Bgp;
    }
}
