using SdnEdge.Core.Bgp;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Config;

/// <summary>Where a peer is, and which address of ours speaks with it. Before, every session started from a loopback, and a link-local
/// peer could not be written.</summary>
public sealed class BgpPeerPlaceTests
{
    private const string Head = """
        name: pe-a
        routerId: 10.255.0.1
        as: 65000
        loopbacks: [10.255.0.1, "fd00:ff::1"]
        host: { device: host0 }
        vrfs: [ { name: default }, { name: red, key: 7 } ]
        ports:
          - { name: core, device: c, addresses: [172.16.0.1/24, "fd00:16::1/64"] }
          - { name: dc, device: d, addresses: [10.1.1.1/24, 169.254.10.1/30] }
          - { name: customer, device: r, vrf: red, addresses: [10.1.1.1/24, 10.7.0.1/30] }

        """;

    [Theory]
    [InlineData("address: 10.255.0.2", "10.255.0.1", null)]
    [InlineData("address: \"fd00:ff::2\"", "fd00:ff::1", null)]
    [InlineData("address: 172.16.0.9", "172.16.0.1", "core")]
    [InlineData("address: \"fd00:16::9\"", "fd00:16::1", "core")]
    [InlineData("address: 169.254.10.2", "169.254.10.1", "dc")]
    [InlineData("address: 172.16.0.9, local: 10.255.0.1, multihop: 2", "10.255.0.1", null)]
    [InlineData("address: 172.16.0.9, local: 172.16.0.1", "172.16.0.1", "core")]
    [InlineData("address: 172.16.0.9, local: core", "172.16.0.1", "core")]
    [InlineData("address: 10.9.0.9, local: dc, multihop: 2", "10.1.1.1", null)]
    [InlineData("address: \"fe80::9%dc\"", "none", "dc")]
    [InlineData("address: \"fe80::9%core\", local: core", "none", "core")]
    [InlineData("address: \"fe80::9%customer\"", "none", "customer")]
    [InlineData("address: 10.7.0.2, vrf: red", "10.7.0.1", "customer")]
    [InlineData("address: 10.1.1.9, vrf: red", "10.1.1.1", "customer")]
    [InlineData("address: 10.1.1.9", "10.1.1.1", "dc")]
    [InlineData("address: 10.66.0.2, vrf: red, local: customer, multihop: 2", "10.1.1.1", null)]
    public void A_session_starts_from_the_link_of_the_peer_else_from_the_loopback_else_from_where_the_file_says(string peer, string local,
        string? port)
    {
        BgpPeerConfig read = Assert.Single(Load(peer).Config!.Bgp.Peers);
        Assert.Equal((local, port), (read.Local.ToString(), read.LinkPort));
        Assert.Equal(peer.Contains("local:", StringComparison.Ordinal) && local != "none", read.LocalOnly);
    }

    [Theory]
    [InlineData("address: \"fe80::9\"", "address", "write \"fe80::9%core\"")]
    [InlineData("address: \"fe80::9%cor\"", "address", "did you mean 'core'?")]
    [InlineData("address: \"fe80::9%customer\", vrf: default", "vrf", "in VRF 'red'")]
    [InlineData("address: 10.66.0.2, vrf: red", "address", "in no subnet of a port of VRF 'red'")]
    [InlineData("address: 10.7.0.2, vrf: rde", "vrf", "did you mean 'red'?")]
    [InlineData("address: 10.7.0.2, vrf: red, bfd: { local: 10.255.0.1 }", "bfd.local", "not one of 10.7.0.1")]
    [InlineData("address: 10.66.0.2, vrf: red, local: customer, multihop: 2, bfd: { local: 10.255.0.1 }", "bfd.local",
        "not one of 10.1.1.1, 10.7.0.1; multihop sessions in a VRF start from an address of one of its ports")]
    [InlineData("address: 10.7.0.2, vrf: red, local: 10.255.0.1", "local", "write one of 10.1.1.1, 10.7.0.1")]
    [InlineData("address: \"fe80::9%dc\", local: core", "local", "take it out")]
    [InlineData("address: \"172.16.0.9%core\"", "address", "write 172.16.0.9")]
    [InlineData("address: 172.16.0.9/24", "address", "without the length")]
    [InlineData("address: 172.16.0.1", "address", "this node's own address")]
    [InlineData("address: 10.7.0.2", "address", "add vrf: red")]
    [InlineData("address: 172.16.0.9, local: 172.16.0.2", "local", "write one of 10.255.0.1, 172.16.0.1, 10.1.1.1, 169.254.10.1")]
    [InlineData("address: 172.16.0.9, local: \"fd00:16::1\"", "local", "one family")]
    [InlineData("address: \"fd00:16::9\", local: dc", "local", "has no IPv6 address")]
    [InlineData("address: 172.16.0.9, local: croe", "local", "did you mean 'core'?")]
    [InlineData("address: 172.16.0.9, siteOfOrigin: \"7\"", "siteOfOrigin", "write it as \"65000:7\"")]
    [InlineData("address: 172.16.0.9, allowAsIn: 11", "allowAsIn", "from 0 to 10")]
    [InlineData("link: cro", "link", "there is no port 'cro'; write one of core, dc, customer")]
    [InlineData("link: core, address: 172.16.0.9", "address", "cannot stand beside link")]
    [InlineData("link: core, local: core", "local", "cannot stand beside link")]
    [InlineData("link: core, multihop: 2", "multihop", "cannot stand beside link")]
    [InlineData("link: core, bfd: { multihop: true }", "bfd.multihop", "cannot stand beside link")]
    [InlineData("link: customer, vrf: default", "vrf", "in VRF 'red'")]
    [InlineData("address: 172.16.0.9, advertiseEvery: 10", "advertiseEvery", "known by their link alone")]
    [InlineData("address: \"fe80::9%core\", bfd: { multihop: true }", "bfd.multihop", "link-local, so one hop away")]
    public void A_wrong_place_is_told_with_what_would_be_right(string peer, string field, string says)
    {
        ConfigError error = Assert.Single(Load(peer).Errors);
        Assert.EndsWith("." + field, error.Field, StringComparison.Ordinal);
        Assert.Contains(says, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_same_link_local_address_on_two_ports_is_two_peers_and_on_one_port_twice_an_error()
    {
        NodeConfig config = Load("address: \"fe80::9%core\"", "address: \"fe80::9%dc\"").Config!;
        Assert.Equal(["fe80::9%core", "fe80::9%dc"], config.Bgp.Peers.Select(p => p.Key.ToString()));
        Assert.Contains("already there", Assert.Single(Load("address: \"fe80::9%dc\"", "address: \"fe80::9%dc\"").Errors).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void A_peer_known_by_its_link_alone_has_the_name_of_the_port_and_may_be_of_any_AS_but_ours()
    {
        NodeConfig config = Load("link: core", "link: customer, advertiseEvery: 30").Config!;
        Assert.Equal(["%core", "%customer@red"], config.Bgp.Peers.Select(p => p.Name));
        Assert.All(config.Bgp.Peers, p => Assert.True(p.OnLink && p.Address.IsNone && p.Local.IsNone));
        Assert.Equal([("core", 10), ("customer", 30)], config.Bgp.Peers.Select(p => (p.LinkPort!, p.AdvertiseSeconds)));
        NodeConfig any = OfAs("external").Config!, own = OfAs("internal").Config!;
        Assert.Equal((0u, 65000u), (any.Bgp.Peers[0].As, own.Bgp.Peers[0].As));
        Assert.Equal(["- bgp peer %core", "+ bgp peer %core"], ConfigDiff.Between(any, own).Select(a => a.ToString()));
        Assert.Equal(["link", "link", "as"],
            new[] { Load("link: core", "link: core"), Load("link: core", "address: \"fe80::9%core\""), OfAs("exernal") }
                .Select(r => Assert.Single(r.Errors).Field.Split('.')[^1]));

        static ConfigResult OfAs(string peer)
            => NodeConfigLoader.Load(Text("link: core").Replace("as: 65009", $"as: {peer}", StringComparison.Ordinal), "pe.yaml");
    }

    [Fact]
    public void BFD_with_a_peer_known_by_its_link_alone_is_a_session_when_the_peer_is_known_and_belongs_to_it()
    {
        NodeConfig slow = Load("link: customer, bfd: { interval: 300 }").Config!, fast = Load("link: customer, bfd: {}").Config!;
        BfdConfig? session = slow.Bgp.Peers[0].Bfd;
        Assert.NotNull(session);
        Assert.True(session.Address.IsNone && session.Local.IsLinkLocal);
        Assert.Equal(("red", "customer", 300, false), (session.Vrf, session.Port, session.IntervalMilliseconds, session.Multihop));
        Assert.Empty(slow.BfdSessions);
        Assert.Equal(["- bgp peer %customer@red", "+ bgp peer %customer@red"], ConfigDiff.Between(slow, fast).Select(a => a.ToString()));
    }

    [Fact]
    public void What_is_done_to_the_paths_of_a_CE_is_for_eBGP_but_for_our_own_AS_in_them()
    {
        const string Said = "address: 172.16.0.9, asOverride: true, allowAsIn: 2, removePrivateAs: true, siteOfOrigin: \"10.255.0.1:7\"";
        BgpPeerConfig peer = Load(Said).Config!.Bgp.Peers[0];
        Assert.Equal((true, 2, true, "soo:10.255.0.1:7"), (peer.AsOverride, peer.AllowAsIn, peer.RemovePrivateAs, $"{peer.SiteOfOrigin}"));
        Assert.Equal(["asOverride", "removePrivateAs", "siteOfOrigin"],
            NodeConfigLoader.Load(Text(Said).Replace("as: 65009", "as: 65000", StringComparison.Ordinal), "pe.yaml").Errors
                .Select(e => e.Field.Split('.')[^1]));
    }

    [Fact]
    public void A_VRFs_peers_are_CEs_and_may_have_the_address_of_one_elsewhere()
    {
        NodeConfig config = Load("address: 10.1.1.9, vrf: red", "address: 10.1.1.9").Config!;
        Assert.Equal(["10.1.1.9@red", "10.1.1.9"], config.Bgp.Peers.Select(p => p.Name));
        ConfigResult ours = NodeConfigLoader.Load(
            Text("address: 10.1.1.9, vrf: red").Replace("as: 65009", "as: 65000", StringComparison.Ordinal), "pe.yaml");
        Assert.Contains("CEs of another AS", Assert.Single(ours.Errors).Message, StringComparison.Ordinal);
        Assert.Equal(["- bgp peer 10.1.1.9@red"], ConfigDiff.Between(config, Load("address: 10.1.1.9").Config!).Select(a => a.ToString()));
    }

    [Fact]
    public void A_peer_is_made_anew_when_our_addresses_on_its_link_change_and_only_then()
    {
        NodeConfig one = Load("address: 172.16.0.9", "address: 10.255.0.2").Config!;
        NodeConfig Changed(string from, string to) => NodeConfigLoader.Load(
            Text("address: 172.16.0.9", "address: 10.255.0.2").Replace(from, to, StringComparison.Ordinal), "pe.yaml").Config!;
        Assert.Equal(["- bgp peer 172.16.0.9", "~ port core", "+ bgp peer 172.16.0.9"],
            ConfigDiff.Between(one, Changed("fd00:16::1/64", "fd00:16::2/64")).Select(a => a.ToString()));
        Assert.Equal(["~ port dc"], ConfigDiff.Between(one, Changed("169.254.10.1/30", "169.254.11.1/30")).Select(a => a.ToString()));
    }

    [Theory]
    [InlineData("192.0.2.1", "192.0.2.1", null)]
    [InlineData("fe80::1%core", "fe80::1", "core")]
    public void A_peers_name_is_read_as_it_is_written(string text, string address, string? zone)
    {
        Assert.True(BgpPeerKey.TryParse(text, out BgpPeerKey key));
        Assert.Equal(new BgpPeerKey(IpAddress.Parse(address), zone), key);
        Assert.Equal(text, key.ToString());
        Assert.False(BgpPeerKey.TryParse("fe80::1%", out _));
        Assert.False(BgpPeerKey.TryParse("core", out _));
    }

    private static string Text(params string[] peers)
        => $"{Head}bgp:\n  peers:\n{string.Concat(peers.Select(p => $"    - {{ as: 65009, {p} }}\n"))}";

    private static ConfigResult Load(params string[] peers) => NodeConfigLoader.Load(Text(peers), "pe.yaml");
}
