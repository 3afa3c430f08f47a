using System.Text.RegularExpressions;
using SdnEdge.Core.Config;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>What deploy will do, as data, before it does anything.</summary>
public sealed partial class LabPlanTests
{
    [Fact]
    public void Figure1_makes_each_namespace_and_link_once_with_indexes_of_their_own()
    {
        LabPlan plan = Plan(TopologyLoader.Load(LabFiles.Figure1));
        string[] lines = plan.RootBatch.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(12, lines.Count(l => l.StartsWith("netns add clab-figure1-", StringComparison.Ordinal)));
        Assert.Equal(12, lines.Count(l => l.StartsWith("link add ", StringComparison.Ordinal)));
        string[] indexes = [.. Index().Matches(plan.RootBatch).Select(m => m.Value)];
        Assert.Equal(24, indexes.Distinct().Count());
        Assert.Equal(plan.RootBatch, Plan(TopologyLoader.Load(LabFiles.Figure1)).RootBatch);
        Assert.Equal("wan", plan.Nodes[0].Node.Name);
        Assert.Equal(["sdnedge", "pe", "--config", "/state/pe-a.yaml"], plan.Nodes.Single(n => n.Node.Name == "pe-a").Processes.Single().Argv);
    }

    [Fact]
    public void Figure1s_router_configurations_are_valid_and_fit_its_links()
    {
        LabTopology lab = TopologyLoader.Load(LabFiles.Figure1);
        foreach (PlannedNode node in Plan(lab).Nodes.Where(n => n.Node.Kind == NodeKind.SdnEdgePe))
        {
            ConfigResult result = NodeConfigLoader.Load(Assert.Single(node.Files).Text, node.Node.StartupConfig!);
            Assert.Empty(result.Errors);
            Assert.Equal(node.Node.Name, result.Config!.Name);
            Assert.Equal($"/state/{node.Node.Name}.sock", result.Config.Api.Unix);
            Assert.Equal($"/state/{node.Node.Name}.state", result.Config.State.Folder);
            Assert.Equal(
                lab.LinksOf(node.Node.Name).Select(l => ("tap-" + l.EndAt(node.Node.Name)!.Interface, l.Mtu)),
                result.Config.Ports.Select(p => (p.Device, p.Mtu)));
        }
    }

    [Theory]
    [InlineData("name: x\napi:\n  unix: /run/a.sock\n", "name: x\napi:\n  unix: /new\n")]
    [InlineData("api:   # comment\n\n  # more\n  tcp: { port: 1 }\n  unix: /run/a.sock # here\nname: x\n", "api:   # comment\n\n  # more\n  tcp: { port: 1 }\n  unix: /new # here\nname: x\n")]
    [InlineData("api: { unix: /run/a.sock, tcp: { port: 1 } }\nname: x", "api: { unix: /new, tcp: { port: 1 } }\nname: x")]
    [InlineData("name: unix\n# unix: no\n", "name: unix\n# unix: no\napi: { unix: /new }\n")]
    public void A_routers_api_socket_is_moved_into_the_labs_folder(string config, string expected)
        => Assert.Equal(expected, LabPlan.WithApiSocket(config, "/new"));

    [Theory]
    [InlineData("name: x\nstate:\n  folder: /var/x # here\n", "name: x\nstate:\n  folder: /new # here\n")]
    [InlineData("state: { folder: /var/x }\nname: x", "state: { folder: /new }\nname: x")]
    [InlineData("name: x\n", "name: x\nstate: { folder: /new }\n")]
    public void A_routers_state_is_kept_in_the_labs_folder(string config, string expected)
        => Assert.Equal(expected, LabPlan.WithStateFolder(config, "/new"));

    [Fact]
    public void An_api_without_a_unix_socket_is_refused()
        => Assert.Contains("without 'unix'", Assert.Throws<LabException>(() => LabPlan.WithApiSocket("api:\n  tcp: { port: 1 }\n", "/new")).Message, StringComparison.Ordinal);

    [Fact]
    public void Plain_ip_lines_go_into_the_batch_until_a_line_needs_a_shell()
    {
        LabTopology lab = TopologyLoader.Parse("""
            name: x
            topology:
              nodes:
                a:
                  kind: linux
                  exec:
                    - ip address add 10.0.0.1/24 dev lo
                    - ip -6 addr add fd00::1/64 dev lo nodad
                    - ip -6 route add default via fd00::2
                    - ip route add 10.1.0.0/16 via $(echo 10.0.0.2)
                    - ip route add 10.2.0.0/16 via 10.0.0.2
            """, "/nowhere/x.yml");
        string script = Assert.Single(Plan(lab).Nodes).Script;
        Assert.Contains("link set lo up\naddress add 10.0.0.1/24 dev lo\naddr add fd00::1/64 dev lo nodad\nroute add default via fd00::2\nEND\n", script, StringComparison.Ordinal);
        Assert.EndsWith("ip route add 10.1.0.0/16 via $(echo 10.0.0.2)\nip route add 10.2.0.0/16 via 10.0.0.2\n", script, StringComparison.Ordinal);
    }

    [Fact]
    public void A_graph_names_every_node_and_link_in_each_format()
    {
        LabTopology lab = TopologyLoader.Load(LabFiles.Figure1);
        foreach (string format in GraphWriter.Formats)
        {
            string graph = GraphWriter.Write(lab, format);
            Assert.All(lab.Nodes, n => Assert.Contains(n.Name, graph, StringComparison.Ordinal));
            Assert.Contains("10 ms", graph, StringComparison.Ordinal);
        }
    }

    private static LabPlan Plan(LabTopology lab) => LabPlan.For(lab, "/state", ["sdnedge"]);

    [GeneratedRegex("index [0-9]+")]
    private static partial Regex Index();
}
