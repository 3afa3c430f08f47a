using SdnEdge.Core.Bgp;
using SdnEdge.Core.Config;
using Xunit;

namespace SdnEdge.Core.Tests.Config;

public sealed class VpnConfigTests
{
    private const string Good = """
        name: pe-a
        routerId: 10.255.0.1
        as: 65000
        loopbacks: [10.255.0.1]
        host: { device: host0 }
        ports:
          - { name: site, device: tap-eth2, vrf: red, addresses: [10.1.1.1/24] }
        vrfs:
          - { name: red, rd: "65000:7", key: 7, import: ["65000:7", "10.255.0.9:1"], export: ["65000:7"] }
        bgp:
          peers:
            - { address: 10.255.0.2, as: 65000, vpn: true }

        """;

    [Fact]
    public void A_VRF_in_a_VPN_has_a_distinguisher_targets_and_a_key()
    {
        NodeConfig config = Load(Good);
        VrfConfig red = config.Vrfs.Single(v => v.Name == "red");
        Assert.Equal((RouteDistinguisher.Parse("65000:7"), 7u), (red.Rd!.Value, red.Key!.Value));
        Assert.Equal(["rt:65000:7", "rt:10.255.0.9:1"], red.Import.Select(t => t.ToString()));
        Assert.Equal(["rt:65000:7"], red.Export.Select(t => t.ToString()));
        Assert.True(config.Bgp.Peers[0].Vpn);
        Assert.Equal(red, Load(Good).Vrfs.Single(v => v.Name == "red"));
        Assert.NotNull(config.Vrfs.Single(v => v.Name == NodeConfig.DefaultVrf));
    }

    [Theory]
    [InlineData("rd: \"65000:7\"", "rd: \"65000:8\"", "~ vrf red")]
    [InlineData("import: [\"65000:7\", ", "import: [", "~ vrf red")]
    [InlineData("export: [\"65000:7\"]", "export: []", "~ vrf red")]
    [InlineData("key: 7", "key: 8", "! vrfs.red.key")]
    [InlineData("vpn: true", "vpn: false", "- bgp peer 10.255.0.2", "+ bgp peer 10.255.0.2")]
    public void A_change_of_what_a_VPN_is_leaves_the_ports_alone(string before, string after, params string[] actions)
        => Assert.Equal(actions,
            ConfigDiff.Between(Load(Good), Load(Good.Replace(before, after, StringComparison.Ordinal))).Select(a => a.ToString()));

    private static NodeConfig Load(string text)
    {
        ConfigResult result = NodeConfigLoader.Load(text, "pe.yaml");
        Assert.Equal([], result.Errors.Select(e => e.ToString()));
        return result.Config!;
    }
}
