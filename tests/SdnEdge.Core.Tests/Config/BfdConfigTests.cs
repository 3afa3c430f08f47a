using SdnEdge.Core.Bfd;
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

    [Fact]
    public void A_link_local_peer_is_watched_from_its_ports_own_address_and_a_CE_from_its_VRF()
    {
        const string Vrfs = """
            name: pe-a
            routerId: 10.255.0.1
            as: 65000
            loopbacks: [10.255.0.1]
            host: { device: host0 }
            vrfs: [ { name: default }, { name: red, key: 7 }, { name: blue, key: 8 } ]
            ports:
              - { name: core, device: c, mac: "02:00:00:00:a0:01" }
              - { name: dc, device: d, mac: "02:00:00:00:a0:01" }
              - { name: red, device: r, vrf: red, addresses: [10.7.0.1/30, 10.7.1.1/30], mac: "02:00:00:00:a0:02" }
              - { name: blue, device: b, vrf: blue, addresses: [10.7.0.1/30] }
            bgp:
              peers:
                - { address: "fe80::9%core", as: 65009, bfd: {} }
                - { address: "fe80::9%dc", as: 65009, bfd: {} }
                - { address: 10.7.0.2, vrf: red, as: 65009, bfd: {} }
                - { address: 10.7.0.2, vrf: blue, as: 65009, bfd: {} }
                - { address: 10.66.0.2, vrf: red, local: 10.7.1.1, multihop: 2, as: 65009, bfd: {} }
            bfd:
              sessions:
                - { address: "fe80::9%red" }
                - { address: 10.7.1.2, vrf: red }
            """;
        NodeConfig config = Load(Vrfs);
        Assert.Equal(
            [
                "10.66.0.2@red from 10.7.1.1, multihop", "10.7.0.2@blue from 10.7.0.1", "10.7.0.2@red from 10.7.0.1",
                "10.7.1.2@red from 10.7.1.1", "fe80::9%core from fe80::ff:fe00:a001", "fe80::9%dc from fe80::ff:fe00:a001",
                "fe80::9%red@red from fe80::ff:fe00:a002",
            ],
            config.BfdSessions.Select(s => s.Title).Order(StringComparer.Ordinal));
        Assert.Equal(7, config.BfdSessions.Select(s => s.Key).Distinct().Count());
        Assert.Equal(1, config.BfdSessions.Count(s => s.Key.Place == BfdPlace.Of("red", "red")));

        // Another MAC address is another address of ours, so another session.
        Assert.Equal(["- bfd fe80::9%dc from fe80::ff:fe00:a001", "+ bfd fe80::9%dc from fe80::ff:fe00:a003"],
            ConfigDiff.Between(config, Load(Vrfs.Replace("d, mac: \"02:00:00:00:a0:01\"", "d, mac: \"02:00:00:00:a0:03\"",
                StringComparison.Ordinal))).Select(a => a.ToString()).Where(a => a.Contains("bfd", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("address: \"fe80::9\"", "address", "write \"fe80::9%dc\"")]
    [InlineData("address: \"fe80::9%cd\"", "address", "there is no port 'cd'; did you mean 'dc'?")]
    [InlineData("address: \"fe80::9%dc\", vrf: red", "vrf", "in VRF 'default'")]
    [InlineData("address: \"fe80::9%dc\", multihop: true", "multihop", "link-local, so one hop away")]
    [InlineData("address: \"fe80::x%dc\"", "address", "not an IP address")]
    [InlineData("address: \"10.1.1.20%dc\"", "address", "write 10.1.1.20")]
    [InlineData("address: 10.7.0.2, vrf: rde", "vrf", "there is no VRF 'rde'; declare it under vrfs; did you mean 'red'?")]
    [InlineData("address: 10.7.0.2, vrf: red", "multihop", "no port of VRF red has an address of the family of 10.7.0.2")]
    [InlineData("address: 10.7.0.2, vrf: red, multihop: false", "multihop", "no port of VRF red has a subnet with 10.7.0.2")]
    public void A_wrong_place_is_told_with_what_would_be_right(string session, string field, string says)
    {
        string text = Good.Replace("address: 10.1.1.20", session, StringComparison.Ordinal)
            .Replace("host: {", "vrfs: [ { name: default }, { name: red, key: 7 } ]\nhost: {", StringComparison.Ordinal);
        ConfigError error = Assert.Single(NodeConfigLoader.Load(text, "test.yaml").Errors);
        Assert.EndsWith("sessions[0]." + field, error.Field, StringComparison.Ordinal);
        Assert.Contains(says, error.Message, StringComparison.Ordinal);
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
