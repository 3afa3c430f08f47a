using SdnEdge.Core.Config;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>Which of FRR's daemons a node runs, and with what.</summary>
public sealed class FrrSetupTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-frr").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("", "zebra staticd bgpd bfdd")]
    [InlineData("router ospf\n network 10.0.0.0/8 area 0\ninterface eth1\n ipv6 ospf6 area 0", "zebra staticd bgpd bfdd ospfd ospf6d")]
    [InlineData("interface eth1\n ip router isis 1\n!router rip\nrouter bgp 1", "zebra staticd bgpd bfdd isisd")]
    [InlineData("mpls ldp\n router-id 1.1.1.1\nrouter ripng\nvrrpd is no word", "zebra staticd bgpd bfdd ripngd ldpd")]
    public void Without_a_file_of_daemons_what_the_configuration_uses_is_started_beside_those_of_every_lab(string config, string daemons)
        => Assert.Equal(daemons, Names(FrrSetup.Of(Inline(config), _ => true)));

    [Fact]
    public void A_file_of_daemons_says_what_runs_and_with_which_options()
    {
        FrrSetup setup = Bound("""
            # comment
            zebra=yes
            bgpd=no
            ospfd=yes
            ldpd=yes
            staticd=no

            vtysh_enable=yes
            zebra_options="  -s 90000000 --daemon -A 127.0.0.1"
            ospfd_options="  -f /etc/frr/ospfd.conf -A 127.0.0.2"   # where its vty is
            frr_profile="datacenter"
            """, "router ospf\nrouter bgp 65001\n");
        Assert.Empty(setup.Errors);
        Assert.Equal("zebra staticd ospfd ldpd", Names(setup));
        Assert.Equal(["-s", "90000000", "-A", "127.0.0.1"], setup.Daemons[0].Options);
        Assert.Equal(["-A", "127.0.0.1"], setup.Daemons[1].Options);
        Assert.Equal(["-A", "127.0.0.2"], setup.Daemons[2].Options);
        Assert.Contains("has lines for bgpd, which ", Assert.Single(setup.Warnings), StringComparison.Ordinal);
    }

    [Fact]
    public void What_a_file_of_daemons_asks_in_vain_is_told_each_with_its_line()
    {
        FrrSetup setup = Bound("ospfdd=yes\nwhatever\npim6d=yes\nnosuchd=no\nospfd_instances=1,2\n", "", name => name != "pim6d");
        Assert.Equal([1, 2, 3, 5], setup.Errors.Select(e => e.Line));
        foreach ((string says, ConfigError error) in ((string[])["FRR has no daemon 'ospfdd'; did you mean 'ospfd'?",
            "'whatever' is no setting; write ospfd=yes", "this machine's FRR has no pim6d", "one instance"]).Zip(setup.Errors))
        {
            Assert.Contains(says, error.Message, StringComparison.Ordinal);
            Assert.Equal(Path.Combine(_folder, "daemons"), error.File);
        }
    }

    [Fact]
    public void A_machine_without_FRR_is_told_before_anything_is_made()
        => Assert.Contains("node r needs FRR's zebra, staticd, bgpd, bfdd, not there in /usr/lib/frr",
            Assert.Single(FrrSetup.Of(Inline(""), _ => false).Errors).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("frrouting/frr:v7.5.1", true)]
    [InlineData("quay.io/frrouting/frr:10.5.1", true)]
    [InlineData("frr", true)]
    [InlineData("ghcr.io/me/frr-debian@sha256:0123", true)]
    [InlineData("frrouting/topotests", false)]
    [InlineData("me/notfrr:1", false)]
    [InlineData("alpine:frr", false)]
    public void An_image_of_FRR_makes_a_node_of_kind_linux_one_of_FRR(string image, bool isFrr)
    {
        File.WriteAllText(Path.Combine(_folder, "daemons"), "ospfd=yes\n");
        File.WriteAllText(Path.Combine(_folder, "r.conf"), "hostname r\n");
        File.WriteAllText(Path.Combine(_folder, "zebra.conf"), "log stdout\n");
        LabTopology lab = TopologyLoader.Parse($$"""
            name: x
            topology:
              kinds: { linux: { image: "{{image}}" } }
              nodes:
                r:
                  kind: linux
                  binds: [ "daemons:/etc/frr/daemons", "__clabNodeName__.conf:/etc/frr/frr.conf:ro", "zebra.conf:/etc/frr/zebra.conf" ]
            """, Path.Combine(_folder, "lab.clab.yml"));
        LabNode r = lab.Nodes.Single();
        Assert.Equal(isFrr ? NodeKind.Frr : NodeKind.Linux, r.Kind);
        if (!isFrr)
        {
            Assert.Null(r.Frr);
            Assert.Contains(lab.Warnings, w => w.StartsWith("'image' has no effect", StringComparison.Ordinal));
            return;
        }

        Assert.Equal($"this machine's FRR runs in place of the image {image} (r)", Assert.Single(lab.Warnings));
        FrrSetup setup = FrrSetup.Of(r, _ => true);
        Assert.Equal("zebra staticd ospfd", Names(setup));
        Assert.Equal("hostname r\n\n!\nlog stdout\n", setup.Config);
    }

    [Fact]
    public void A_folder_may_be_bound_and_what_is_not_there_is_told()
    {
        Directory.CreateDirectory(Path.Combine(_folder, "r"));
        File.WriteAllText(Path.Combine(_folder, "r", "daemons"), "ripd=yes\n");
        File.WriteAllText(Path.Combine(_folder, "r", "vtysh.conf"), "nothing for a daemon\n");
        LabTopology lab = TopologyLoader.Parse("name: x\ntopology: { nodes: { r: { kind: frr, binds: [\"r:/etc/frr/\"] } } }",
            Path.Combine(_folder, "lab.clab.yml"));
        Assert.Equal(("zebra staticd ripd", ""), (Names(FrrSetup.Of(lab.Nodes[0], _ => true)), FrrSetup.Of(lab.Nodes[0]).Config));
        TopologyException e = Assert.Throws<TopologyException>(() => TopologyLoader.Parse("""
            name: x
            topology:
              nodes:
                r:
                  kind: frr
                  binds:
                    - nowhere:/etc/frr/daemons
                    - nowhere:/etc/frr
            """, Path.Combine(_folder, "lab.clab.yml")));
        Assert.Equal([7, 8], e.Errors.Select(x => x.Line));
        Assert.Contains("binds[0]: there is no file ", e.Message, StringComparison.Ordinal);
        Assert.Contains("binds[1]: there is no folder ", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(3, "ip link", "echo vtyshell", "cat /run/vtysh.log")]
    [InlineData(1, "ip link", "vtysh -c 'show version'", "ip link")]
    [InlineData(0, "sleep 1 && /usr/bin/vtysh -c exit")]
    public void Lines_from_the_first_one_on_that_speaks_to_FRR_wait_for_it(int first, params string[] exec)
        => Assert.Equal(first, FrrNode.FirstVtysh(exec));

    private static LabNode Inline(string config)
        => new("r", NodeKind.Frr, null, [], new Dictionary<string, string>(), new Dictionary<string, string>())
        {
            Inline = new InlineConfig(config, "lab.clab.yml: startup-config of node r"),
        };

    private FrrSetup Bound(string daemons, string config, Func<string, bool>? isInstalled = null)
    {
        string file = Path.Combine(_folder, "daemons"), conf = Path.Combine(_folder, "frr.conf");
        File.WriteAllText(file, daemons);
        File.WriteAllText(conf, config);
        var node = new LabNode("r", NodeKind.Frr, null, [], new Dictionary<string, string>(), new Dictionary<string, string>())
        {
            Frr = new FrrBinds(file, [conf]),
        };
        return FrrSetup.Of(node, isInstalled ?? (_ => true));
    }

    private static string Names(FrrSetup setup) => string.Join(' ', setup.Daemons.Select(d => d.Name));
}
