using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Config;

public sealed class NodeConfigTests
{
    internal const string Good = """
        name: pe-a
        routerId: 10.255.0.1
        as: 65000
        loopbacks: [10.255.0.1, "fd00:ff::1"]
        workers: 2
        host: { device: host0 }
        ports:
          - { name: core, device: tap-eth1, mtu: 1600, addresses: [172.16.0.1/24, "fd00:16::1/64"] }
          - { name: dc,   device: tap-eth2, mtu: 1500, addresses: [10.1.1.1/24, "fd00:1:1::1/64"], mac: "00:00:5e:00:01:01" }
        vrfs:
          - { name: default }
          - { name: red, key: 0x10 }
        static:
          - { prefix: 10.255.0.2/32, via: 172.16.0.2 }
          - { prefix: 10.1.1.10/32, port: dc }
          - { prefix: "fd00:9::/48", via: "fe80::9", port: core }
          - { prefix: 10.9.0.0/16, tunnel: to-b }
          - { prefix: 10.8.0.0/16, discard: true }
        tunnels:
          - { name: to-b, remote: 10.255.0.2, key: 42, encapsulation: gre-in-udp, ttl: 64, dscp: pipe, ecn: compatibility,
              mssClamp: true, checksum: true, sequence: no, mtu: 1400 }
        bgp:
          peers:
            - { address: 10.255.0.2, as: 65000, holdTime: 9, passive: true }
          advertise: [connected, static]
          localPref: 100
        api:
          unix: /run/sdnedge/figure1/pe-a.sock
          tcp: { listen: "[fd00:ff::1]:8443", certificate: /etc/a.crt, key: /etc/a.key, clientCa: /etc/ca.crt }
        telemetry: { otlp: "http://192.0.2.9:4317" }
        """;

    [Fact]
    public void A_good_file_is_read_field_by_field()
    {
        NodeConfig config = Load(Good);
        Assert.Equal("pe-a", config.Name);
        Assert.Equal(65000u, config.As);
        Assert.Equal([IpAddress.Parse("10.255.0.1"), IpAddress.Parse("fd00:ff::1")], config.Loopbacks);
        Assert.Equal(2, config.Workers);
        Assert.Equal(new HostConfig("host0"), config.Host);
        Assert.Equal(1600, config.Ports[0].Mtu);
        Assert.Null(config.Ports[0].Mac);
        Assert.Equal(MacAddress.Parse("00:00:5e:00:01:01"), config.Ports[1].Mac);
        Assert.Equal("10.1.1.1/24", config.Ports[1].Addresses[0].ToString());
        Assert.Equal(16u, config.Vrfs.Single(v => v.Name == "red").Key);
        Assert.Equal(new StaticRouteConfig("default", IpPrefix.Parse("10.1.1.10/32"), null, "dc", null, false), config.Static[1]);
        TunnelConfig tunnel = Assert.Single(config.Tunnels);
        Assert.Equal(new TunnelConfig("to-b", IpAddress.Parse("10.255.0.1"), IpAddress.Parse("10.255.0.2"))
        {
            Key = 42, Encapsulation = TunnelEncapsulation.GreInUdp, Ttl = 64, Dscp = DscpMode.Pipe, Ecn = EcnMode.Compatibility,
            MssClamp = true, Checksum = true, Mtu = 1400,
        }, tunnel);
        Assert.Equal(new BgpPeerConfig(IpAddress.Parse("10.255.0.2"), 65000, 9, true) { Local = IpAddress.Parse("10.255.0.1") },
            Assert.Single(config.Bgp.Peers));
        Assert.Equal(AdvertiseSources.Connected | AdvertiseSources.Static, config.Bgp.Advertise);
        Assert.Equal(new ApiTcpConfig(IpAddress.Parse("fd00:ff::1"), 8443, "/etc/a.crt", "/etc/a.key", "/etc/ca.crt"), config.Api.Tcp);
        Assert.Equal(4317, config.Telemetry.Otlp!.Port);
    }

    [Fact]
    public void The_smallest_file_has_the_default_vrf_and_one_worker()
    {
        NodeConfig config = Load("name: pe-a\nrouterId: 10.255.0.1\nas: 1\nloopbacks: [10.255.0.1]\n");
        Assert.Equal("default", Assert.Single(config.Vrfs).Name);
        Assert.Equal(1, config.Workers);
        Assert.Null(config.Host);
    }

    [Fact]
    public void An_alias_stands_for_its_anchor()
    {
        NodeConfig config = Load("name: pe-a\nrouterId: &id 10.255.0.1\nas: 1\nloopbacks: [*id]\n");
        Assert.Equal(IpAddress.Parse("10.255.0.1"), Assert.Single(config.Loopbacks));
    }

    [Fact]
    public void The_same_file_twice_makes_no_difference() => Assert.Empty(ConfigDiff.Between(Load(Good), Load(Good)));

    [Fact]
    public void A_difference_takes_away_what_depends_first_and_adds_it_last()
    {
        string next = Good
            .Replace("prefix: 10.255.0.2/32, via: 172.16.0.2", "prefix: 10.255.0.2/32, via: 172.16.0.3", StringComparison.Ordinal)
            .Replace("  - { prefix: 10.8.0.0/16, discard: true }", "  - { prefix: 10.7.0.0/16, discard: true }", StringComparison.Ordinal)
            .Replace("key: 42", "key: 43", StringComparison.Ordinal)
            .Replace("holdTime: 9", "holdTime: 12", StringComparison.Ordinal)
            .Replace("mtu: 1600", "mtu: 1700", StringComparison.Ordinal)
            .Replace("device: tap-eth2", "device: tap-eth9", StringComparison.Ordinal)
            .Replace("localPref: 100", "localPref: 120", StringComparison.Ordinal);
        Assert.Equal(
            [
                "- bgp peer 10.255.0.2", "- static default 10.8.0.0/16", "- static default 10.1.1.10/32", "- static default 10.9.0.0/16",
                "- tunnel to-b", "- port dc",
                "+ port dc", "~ port core", "+ tunnel to-b", "+ static default 10.7.0.0/16", "+ static default 10.255.0.2/32",
                "+ static default 10.1.1.10/32", "+ static default 10.9.0.0/16", "+ bgp peer 10.255.0.2", "~ bgp advertise",
            ],
            ConfigDiff.Between(Load(Good), Load(next)).Select(a => a.ToString()));
    }

    [Fact]
    public void What_needs_a_restart_says_so()
    {
        string next = Good.Replace("as: 65000\nloop", "as: 65001\nloop", StringComparison.Ordinal)
            .Replace("workers: 2", "workers: 3", StringComparison.Ordinal);
        Assert.Equal(["! as", "! workers"], ConfigDiff.Between(Load(Good), Load(next)).Select(a => a.ToString()));
    }

    private static NodeConfig Load(string text)
    {
        ConfigResult result = NodeConfigLoader.Load(text, "test.yaml");
        Assert.Equal([], result.Errors.Select(e => e.ToString()));
        return result.Config!;
    }
}
