using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Config;

/// <summary>BFD in the configuration: what is said, what follows, what changes.</summary>
public sealed class BfdConfigTests
{
    private const string Good = """
        name: pe-a
        routerId: 10.255.0.1
        as: 65000
        loopbacks: [10.255.0.1, "fd00:ff::1"]
        host: { device: host0 }
        ports:
          - { name: dc, device: tap-eth2, addresses: [10.1.1.1/24] }
        bgp:
          peers:
            - { address: 10.255.0.2, as: 65000, bfd: {} }
            - { address: "fd00:ff::2", as: 65000, bfd: { interval: 10, multiplier: 5 } }
            - { address: 10.255.0.3, as: 65000 }
        bfd:
          sessions:
            - { address: 10.1.1.20, interval: 300, shutdown: true }
        """;

    [Fact]
    public void A_peer_on_a_link_is_one_hop_away_from_the_ports_address_others_are_many_from_a_loopback()
    {
        BfdConfig[] sessions = [.. Load(Good).BfdSessions.OrderBy(s => s.Address)];
        Assert.Equal(
            [
                new BfdConfig(IpAddress.Parse("10.1.1.20"), IpAddress.Parse("10.1.1.1"), Multihop: false, 300, 3, Shutdown: true),
                new BfdConfig(IpAddress.Parse("10.255.0.2"), IpAddress.Parse("10.255.0.1"), Multihop: true, 50, 3),
                new BfdConfig(IpAddress.Parse("fd00:ff::2"), IpAddress.Parse("fd00:ff::1"), Multihop: true, 10, 5),
            ],
            sessions);
    }

    [Theory]
    [InlineData("bfd: {} }", "bfd: { interval: 20 } }", "~ bfd 10.255.0.2 from 10.255.0.1, multihop")]
    [InlineData(", bfd: {} }", " }", "- bfd 10.255.0.2 from 10.255.0.1, multihop")]
    [InlineData("{ address: 10.255.0.3, as: 65000 }", "{ address: 10.255.0.3, as: 65000, bfd: {} }",
        "+ bfd 10.255.0.3 from 10.255.0.1, multihop")]
    [InlineData(", shutdown: true", "", "~ bfd 10.1.1.20 from 10.1.1.1")]
    public void A_change_of_BFD_leaves_the_BGP_session_alone(string before, string after, string change)
        => Assert.Equal([change],
            ConfigDiff.Between(Load(Good), Load(Good.Replace(before, after, StringComparison.Ordinal))).Select(a => a.ToString()));

    private static NodeConfig Load(string text)
    {
        ConfigResult result = NodeConfigLoader.Load(text, "test.yaml");
        Assert.Equal([], result.Errors.Select(e => e.ToString()));
        return result.Config!;
    }
}
