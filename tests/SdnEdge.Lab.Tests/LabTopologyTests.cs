using SdnEdge.Core.Config;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>Topology files: what they mean, and what is said about a wrong one.</summary>
public sealed class LabTopologyTests
{
    [Fact]
    public void Figure1_has_the_nodes_sites_and_ingresses_of_the_paper()
    {
        LabTopology lab = TopologyLoader.Load(LabFiles.Figure1);

        Assert.Equal("figure1", lab.Name);
        Assert.Equal(["pe-a", "pe-b", "pe-c", "pe-d", "pe-e"], lab.Nodes.Where(n => n.Kind == NodeKind.SdnEdgePe).Select(n => n.Name));
        Assert.Equal(
            [new LabSite("dc-a", "leg-a", "pe-a", "eth2", "dc"), new LabSite("dc-b", "leg-b", "pe-b", "eth2", "dc")],
            Sites.Of(lab, "vs"));
        Assert.Equal([("client-c", "pe-c"), ("client-d", "pe-d"), ("client-e", "pe-e")], Sites.Ingresses(lab).Select(i => (i.Name, i.Pe)));
        Assert.Equal(["10.2.3.10/24", "fd00:2:3::10/64"], Sites.Ingresses(lab)[0].Addresses.Select(a => a.ToString()));
        Assert.All(lab.LinksOf("wan"), l => Assert.Equal((1600, 10_000_000L, 10_000_000L), (l.Mtu, l.ToWan!.DelayNs, l.FromWan!.DelayNs)));
    }

    [Fact]
    public void A_round_trip_time_is_shared_by_the_four_link_passages_it_takes()
    {
        LabTopology lab = TopologyLoader.Load(LabFiles.Figure1).WithRtt(150);
        Assert.All(lab.LinksOf("wan"), l => Assert.Equal((37_500_000L, 37_500_000L), (l.ToWan!.DelayNs, l.FromWan!.DelayNs)));
        Assert.Null(lab.LinksOf("vs").First().ToWan);
        Assert.Equal([10_000_000L, 0, 0, 0, 0, 0, 0, 0], lab.LinksOf("mgmt").Select(l => l.ToWan!.DelayNs));
        Assert.Equal(10_000_000L, lab.LinksOf("mms").Single().FromWan!.DelayNs);
    }

    [Fact]
    public void Node_settings_override_kinds_and_kinds_override_defaults()
    {
        LabTopology lab = Parse("""
            name: x
            topology:
              defaults: { kind: linux, env: { A: default, B: default }, exec: [one] }
              kinds:
                linux: { env: { B: kind, C: kind }, exec: [two], image: ignored }
              nodes:
                a: { env: { C: node }, exec: ["three __clabNodeName__"] }
            """);
        LabNode a = lab.Find("a")!;
        Assert.Equal(["one", "two", "three a"], a.Exec);
        Assert.Equal(["A=default", "B=kind", "C=node"], a.Env.Select(e => $"{e.Key}={e.Value}").Order());
    }

    [Fact]
    public void Link_vars_apply_both_ways_and_one_way_when_said()
    {
        LabTopology lab = Parse("""
            name: x
            topology:
              nodes:
                a: { kind: linux }
                w: { kind: sdnedge-wan, labels: { sdnedge.seed: "7" } }
              links:
                - endpoints: ["a:eth1", "w:eth1"]
                  vars: { delay: 2.5ms, jitter: 100us, loss: 0.5%, rate: 10mbit, queue: 256KiB, from-wan: { delay: 1s, order: free } }
            """);
        Assert.Equal(new Impairment(2_500_000, 100_000, 0.005, 10_000_000, 256 << 10), lab.Links[0].ToWan);
        Assert.Equal(new Impairment(1_000_000_000, 100_000, 0.005, 10_000_000, 256 << 10, KeepOrder: false), lab.Links[0].FromWan);
        Assert.Equal(7UL, lab.Find("w")!.Seed);
    }

    [Fact]
    public void The_extended_form_of_a_link_is_read()
    {
        LabTopology lab = Parse("""
            name: x
            topology:
              nodes: { a: { kind: linux }, b: { kind: linux } }
              links:
                - type: veth
                  endpoints:
                    - { node: a, interface: eth1 }
                    - { node: b, interface: eth9 }
            """);
        Assert.Equal((new LinkEnd("a", "eth1"), new LinkEnd("b", "eth9"), 1500), (lab.Links[0].A, lab.Links[0].B, lab.Links[0].Mtu));
    }

    [Fact]
    public void All_errors_are_told_at_once_each_with_its_line()
    {
        TopologyException e = Assert.Throws<TopologyException>(() => Parse("""
            name: bad name
            topology:
              nodes:
                a: { kind: router }
                b: { kind: sdnedge-pe }
                c: { kind: linux, exce: [ls] }
                s: { kind: server, labels: { sdnedge.mac: "01:00:00:00:00:01" } }
              links:
                - endpoints: ["a:eth1", "zz:eth1"]
                - endpoints: ["a:eth1", "b:an-interface-name"]
                - endpoints: ["c:eth1"]
                - endpoints: ["c:eth2", "a:eth2"]
                  mtu: 68
                  vars: { delay: 10ms }
            """));
        Assert.Equal([1, 4, 5, 6, 7, 7, 7, 9, 10, 10, 11, 13, 14], e.Errors.Select(x => x.Line));
        string text = e.Message;
        foreach (string part in (string[])["lab.yml:1:7: name: 'bad name' cannot name a namespace",
            "lab.yml:4:16: topology.nodes.a.kind: there is no kind 'router'; write one of sdnedge-pe",
            "topology.nodes.c.exce: is not a known field; did you mean 'exec'?", "needs 'startup-config'",
            "topology.nodes.s.labels.sdnedge.mac: '01:00:00:00:00:01' is no unicast MAC", "sdnedge.addresses",
            "topology.links[0].endpoints[1]: there is no node 'zz'; nodes are a, b, c, s", "taken by the link in line 9",
            "at most 11 characters", "two ends", "'68' is not a whole number from 1280", "kind sdnedge-wan at one end"])
            Assert.Contains(part, text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("delay: 10", "with its unit")]
    [InlineData("delay: -1ms", "from 0 to 60s")]
    [InlineData("loss: 0.1", "share with its sign")]
    [InlineData("loss: 101%", "0% to 100%")]
    [InlineData("rate: fast", "rate with its unit")]
    [InlineData("queue: 10KiB", "128KiB")]
    [InlineData("speed: 1", "known here: delay")]
    public void A_wrong_var_is_told_with_what_would_be_right(string var, string says)
    {
        TopologyException e = Assert.Throws<TopologyException>(() => Parse($$"""
            name: x
            topology:
              nodes: { a: { kind: linux }, w: { kind: sdnedge-wan } }
              links:
                - { endpoints: ["a:eth1", "w:eth1"], vars: { {{var}} } }
            """));
        ConfigError error = Assert.Single(e.Errors);
        Assert.Equal(5, error.Line);
        Assert.Contains(says, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_management_address_and_its_interface_belong_together()
    {
        TopologyException e = Assert.Throws<TopologyException>(() => Parse("""
            name: x
            topology:
              nodes:
                a: { kind: linux, labels: { sdnedge.management: 10.254.0.1 } }
                b: { kind: linux, labels: { sdnedge.management: 10.254.0.2/24 } }
                w: { kind: sdnedge-wan, labels: { sdnedge.management: 10.254.0.3/24 } }
                h: { kind: sdnedge-host }
                c: { kind: linux, labels: { sdnedge.management: 10.254.0.2/24 } }
              links:
                - endpoints: ["a:mgmt0", "w:eth1"]
                - endpoints: ["h:mgmt0", "w:eth2"]
                - endpoints: ["c:mgmt0", "w:eth3"]
            """));
        Assert.Equal([4, 5, 6, 7, 7, 8], e.Errors.Select(x => x.Line));
        foreach (string part in (string[])["topology.nodes.a.labels.sdnedge.management: '10.254.0.1' is no address with a length",
            "no interface mgmt0",
            "no API; take the label away", "topology.nodes.h: is of kind 'sdnedge-host' and needs 'startup-config'", "no address for it",
            "management address of node 'b'"])
            Assert.Contains(part, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void All_that_a_store_lacks_is_told_at_once()
    {
        TopologyException e = Assert.Throws<TopologyException>(() => Parse("""
            name: x
            topology:
              nodes:
                a: { kind: sdnedge-store }
                b: { kind: sdnedge-store, startup-config: no-such-file.yaml }
                c: { kind: sdnedge-stores }
                w: { kind: sdnedge-wan }
              links:
                - endpoints: ["a:mgmt0", "w:eth1"]
            """));
        Assert.Equal([4, 4, 5, 6], e.Errors.Select(x => x.Line));
        foreach (string part in (string[])["topology.nodes.a: is of kind 'sdnedge-store' and needs 'startup-config'",
            "topology.nodes.a: has an interface mgmt0 and no address for it", "topology.nodes.b.startup-config: there is no file",
            "sdnedge-stores"])
            Assert.Contains(part, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Nodes_and_links_may_have_what_they_share_merged_in()
    {
        LabTopology lab = Parse("""
            name: x
            topology:
              nodes:
                a: &host
                  kind: linux
                  env: &env { A: one, B: one }
                  exec: [first]
                b:
                  <<: *host
                  env: { <<: *env, B: two }
                c: { exec: [own], <<: [*host] }
              links:
                - &link { endpoints: ["a:eth1", "b:eth1"], mtu: 9000 }
                - { <<: *link, endpoints: ["b:eth2", "c:eth1"] }
            """);
        Assert.All(lab.Nodes, n => Assert.Equal(NodeKind.Linux, n.Kind));
        Assert.Equal(["A=one", "B=two"], lab.Find("b")!.Env.Select(e => $"{e.Key}={e.Value}").Order());
        Assert.Equal(["first"], lab.Find("b")!.Exec);
        Assert.Equal(["own"], lab.Find("c")!.Exec);
        Assert.Equal([("a:eth1", 9000), ("b:eth2", 9000)], lab.Links.Select(l => (l.A.ToString(), l.Mtu)));
    }

    [Fact]
    public void A_configuration_may_stand_in_the_topology_for_the_kinds_that_have_one()
    {
        LabTopology lab = Parse("""
            name: x
            topology:
              nodes:
                pe: { kind: sdnedge-pe, startup-config: "name: pe\nas: none\n" }
                b:
                  kind: bird
                  startup-config: |
                    router id 10.9.0.2;
                h: { kind: linux, startup-config: no-such-file }
            """);
        Assert.Equal("router id 10.9.0.2;\n", lab.Find("b")!.ReadConfig());
        Assert.Equal("'startup-config' has no effect in a lab of namespaces (h)", Assert.Single(lab.Warnings));
        LabPlan plan = LabPlan.For(lab, "/state", ["sdnedge"]);
        PlannedNode bird = plan.Nodes.Single(n => n.Node.Name == "b");
        Assert.Equal(("/state/b.bird.conf", "router id 10.9.0.2;\n"), Assert.Single(bird.Files));
        Assert.Contains("/state/b.bird.conf", bird.Processes.Single().Argv);
        TopologyException e = Assert.Throws<TopologyException>(() => StartupConfigs.Check(plan, out _));
        Assert.Contains("/nowhere/lab.yml: startup-config of node pe:2:5: as: ", e.Message, StringComparison.Ordinal);
        e = Assert.Throws<TopologyException>(() => Parse("""
            name: x
            topology: { nodes: { f: { kind: frr, startup-config: "https://example.net/frr.conf" } } }
            """));
        Assert.Contains("is an address on the net", Assert.Single(e.Errors).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Kinds_of_images_and_machines_are_refused_in_one_sentence_that_names_them_and_their_nodes()
    {
        TopologyException e = Assert.Throws<TopologyException>(() => Parse("""
            name: x
            topology:
              kinds:
                nokia_srlinux: { type: ixr-d2l, image: ghcr.io/nokia/srlinux }
              nodes:
                leaf1: { kind: nokia_srlinux, startup-config: leaf1.cfg }
                leaf2: { kind: nokia_srlinux }
                x: { kind: host }
                client1: { kind: linux }
              links:
                - endpoints: ["leaf1:e1-1", "client1:eth1"]
                - endpoints: ["leaf1:e1/2", "x:eth1"]
            """));
        ConfigError error = Assert.Single(e.Errors);
        Assert.Equal((6, "topology.nodes.leaf1"), (error.Line, error.Field));
        Assert.StartsWith("kinds 'nokia_srlinux' (leaf1, leaf2), 'host' (x) cannot be deployed: ", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_containerlab_knows_and_has_no_effect_here_is_accepted_and_links_out_of_the_lab_are_refused()
    {
        LabTopology lab = Parse("""
            name: x
            debug: true
            topology:
              nodes: { a: { kind: linux, hostname: a, env-files: [f], cap-add: [NET_ADMIN] }, b: { kind: linux } }
              links:
                - { endpoints: ["a:eth1", "b:eth1"], ipv4: [10.0.0.1/24, 10.0.0.2/24] }
                - { type: veth-stitch, endpoints: [ { node: a, interface: eth2, ipv6: "fd00::1/64" }, { node: b, interface: eth2 } ] }
            """);
        Assert.Equal(2, lab.Links.Count);
        Assert.Equal(["'cap-add'", "'debug'", "'env-files'", "'hostname'", "'ipv4'", "'ipv6'"],
            lab.Warnings.Select(w => w[..w.IndexOf(' ', StringComparison.Ordinal)]).Order(StringComparer.Ordinal));
        TopologyException e = Assert.Throws<TopologyException>(() => Parse("""
            name: x
            topology:
              nodes: { a: { kind: linux } }
              links:
                - endpoints: ["a:eth1", "host:a-eth1"]
                - { type: host, endpoint: { node: a, interface: eth2 }, host-interface: x }
            """));
        Assert.Equal([5, 6], e.Errors.Select(x => x.Line));
        Assert.Contains("'host:a-eth1' leads out of the lab", e.Errors[0].Message, StringComparison.Ordinal);
        Assert.Contains("'host' is not there; a lab of namespaces has veth links only", e.Errors[1].Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("name: x\n{{ if .big }}\ntopology: 1\n{{ end }}", 2)]
    [InlineData("name: x\ntopology:\n  nodes: { a: { kind: \"{{ .kind }}\" } }", 3)]
    public void A_template_is_told_as_one_and_not_as_what_is_wrong_with_it(string text, int line)
    {
        ConfigError error = Assert.Single(Assert.Throws<TopologyException>(() => Parse(text)).Errors);
        Assert.Equal(line, error.Line);
        Assert.Contains("a template of Go's", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Braces_of_a_command_are_no_template()
        => Assert.Equal("docker inspect -f '{{.State}}' x", Parse("""
            name: x
            topology: { nodes: { a: { kind: linux, exec: ["docker inspect -f '{{.State}}' x"] } } }
            """).Nodes[0].Exec[0]);

    [Theory]
    [InlineData("")]
    [InlineData("just a text")]
    [InlineData("name: [")]
    [InlineData("name: x\ntopology: { nodes: [a, b], links: { } }")]
    [InlineData("name: { }\ntopology: 5")]
    [InlineData("? [a]\n: b")]
    public void No_text_does_worse_than_a_topology_exception(string text)
        => Assert.NotEmpty(Assert.Throws<TopologyException>(() => Parse(text)).Errors);

    private static LabTopology Parse(string text) => TopologyLoader.Parse(text, "/nowhere/lab.yml");
}
