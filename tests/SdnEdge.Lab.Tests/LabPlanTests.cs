using System.Text.RegularExpressions;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Mms.Config;
using SdnEdge.Storage.Config;
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
        Assert.Equal(16, lines.Count(l => l.StartsWith("netns add clab-figure1-", StringComparison.Ordinal)));
        Assert.Equal(20, lines.Count(l => l.StartsWith("link add ", StringComparison.Ordinal)));
        string[] indexes = [.. Index().Matches(plan.RootBatch).Select(m => m.Value)];
        Assert.Equal(40, indexes.Distinct().Count());
        Assert.Equal(plan.RootBatch, Plan(TopologyLoader.Load(LabFiles.Figure1)).RootBatch);
        Assert.Equal(["wan", "mgmt"], plan.Nodes.Take(2).Select(n => n.Node.Name));
        Assert.Equal(["host-a", "host-b", "mms"], plan.Nodes.TakeLast(3).Select(n => n.Node.Name));
        Assert.Equal(["sdnedge", "mms", "--config", "/state/mms.yaml"], plan.Nodes[^1].Processes.Single().Argv);
        Assert.Equal(["sdnedge", "host", "--config", "/state/host-a.yaml"], plan.Nodes[^3].Processes.Single().Argv);
        Assert.Equal(["sdnedge", "pe", "--config", "/state/pe-a.yaml"],
            plan.Nodes.Single(n => n.Node.Name == "pe-a").Processes.Single().Argv);
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
            string own = $"/state/{node.Node.Name}";
            Assert.Equal(new ApiTcpConfig(node.Node.Management!.Value.Address, 8443, own + ".crt", own + ".key", "/state/ca.crt"),
                result.Config.Api.Tcp);
            Assert.Equal(new AccessRule("mms", null, ApiRole.Migrate), Assert.Single(result.Config.Api.Access));
            Assert.Equal($"/state/{node.Node.Name}.state", result.Config.State.Folder);
            Assert.Equal(
                lab.LinksOf(node.Node.Name).Where(l => !l.IsManagement).Select(l => ("tap-" + l.EndAt(node.Node.Name)!.Interface, l.Mtu)),
                result.Config.Ports.Select(p => (p.Device, p.Mtu)));
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void The_managers_configuration_is_valid_and_fits_the_lab(bool figure1)
    {
        LabTopology lab = TopologyLoader.Load(figure1 ? LabFiles.Figure1 : LabFiles.ProviderFrr);
        MmsConfigResult result = MmsConfigLoader.Load(TextOf(lab, "mms"), "/state/mms.yaml");
        Assert.Empty(result.Errors);
        MmsConfig config = result.Config!;
        Assert.Equal(("mms", "/state/mms.db", "/state/mms.sock"), (config.Name, config.Journal, config.Api.Unix));
        Assert.Equal(new IdentityConfig("/state/mms.crt", "/state/mms.key", "/state/ca.crt"), config.Identity);
        Assert.Equal((IpAddress.Parse("10.254.0.100"), 8443), (config.Api.Tcp!.Address, config.Api.Tcp.Port));
        Assert.Empty(config.Api.Access);
        foreach (DaemonConfig daemon in config.Pes.Concat(config.Hosts))
            Assert.Equal($"https://{lab.Find(daemon.Name)!.Management!.Value.Address}:8443/", daemon.Api);
        Assert.Equal(lab.Nodes.Where(n => n.Kind == NodeKind.SdnEdgePe).Select(n => n.Name), config.Pes.Select(p => p.Name));
        ServerConfig vs = Assert.Single(Assert.Single(config.Groups).Servers);
        Assert.Equal(lab.Find("vs")!.Server!.Addresses.Select(a => IpPrefix.Host(a.Address)), vs.Prefixes);
        Assert.Equal(Sites.Of(lab, "vs").Select(s => $"{s.Name} {s.Pe} {s.PePort}"),
            vs.At.Select(p => $"{p.Site.Name} {p.Pe.Name} {p.Port}"));
        IEnumerable<string> ours = Sites.Ingresses(lab).Select(i => i.Pe).Where(pe => lab.Find(pe)!.Kind == NodeKind.SdnEdgePe);
        Assert.Equal(ours, config.Groups[0].Ingress.Select(p => p.Name));
        Assert.Equal(!figure1, config.Groups[0].OtherIngress);
        Assert.Equal(new LabGroup("vs", ["vs"]).Servers, Assert.Single(Managed.Groups(lab)).Servers);
        Assert.Equal(["host-a dc-a vs", "host-b dc-b vs"], Managed.Hosts(lab).Select(h => $"{h.Node} {h.Site} {Assert.Single(h.Servers)}"));
        Assert.Equal(config.Sites.Select(s => (s.Name, Assert.Single(s.Hosts).Name)), Managed.Hosts(lab).Select(h => (h.Site, h.Node)));
    }

    [Fact]
    public void The_hosts_configurations_name_the_servers_namespace_and_legs()
    {
        LabTopology lab = TopologyLoader.Load(LabFiles.Figure1);
        foreach (LabSite site in Sites.Of(lab, "vs"))
        {
            LabHost host = Managed.Hosts(lab).Single(h => h.Site == site.Name);
            var errors = new ConfigErrors("host.yaml");
            var root = new MapReader(Assert.IsType<YamlMap>(YamlTree.Parse(TextOf(lab, host.Node), errors)), "", errors);
            ApiConfig api = ApiConfigReader.Read(root);
            Assert.Equal(($"/state/{host.Node}.sock", lab.Find(host.Node)!.Management!.Value.Address), (api.Unix, api.Tcp!.Address));
            Assert.Equal(new AccessRule("mms", null, ApiRole.Migrate), Assert.Single(api.Access));
            Assert.Equal($"/state/{host.Node}.state", root.Map("state")!.Text("folder"));
            MapReader server = Assert.Single(root.Maps("servers")), standIn = server.Map("standIn")!;
            ServerSpec vs = lab.Find("vs")!.Server!;
            Assert.Equal(vs.HomeSite == site.Name, server.Flag("runs", false));
            Assert.Equal(("clab-figure1-vs", site.Leg), (standIn.Text("namespace"), standIn.Text("leg")));
            Assert.Equal(vs.Mac.ToString(), standIn.Text("mac"));
            Assert.Equal(vs.Addresses.Select(a => a.Address), standIn.Texts("addresses").Select(a => IpAddress.Parse(a.Item.Text)));
            Assert.Empty(errors.List);
        }
    }

    [Fact]
    public void The_stores_of_figure1_with_a_guest_are_valid_replicate_each_other_and_are_there_before_the_hosts_that_use_them()
    {
        LabTopology lab = TopologyLoader.Load(LabFiles.Figure1Qemu);
        PlannedNode[] nodes = [.. Plan(lab).Nodes];
        Assert.Equal([new LabStoreText("store-a", "dc-a", "vs-disk"), new LabStoreText("store-b", "dc-b", "vs-disk")],
            Managed.Stores(lab).Select(s => new LabStoreText(s.Node, s.Site, Assert.Single(s.Volumes))));
        StoreConfig[] stores = [.. Managed.Stores(lab).Select(s => StoreOf(s.Node))];
        foreach ((StoreConfig one, StoreConfig other) in stores.Zip(stores.Reverse()))
        {
            PlannedNode node = nodes.Single(n => n.Node.Name == one.Name);
            Assert.Equal(["sdnedge", "store", "--config", $"/state/{one.Name}.yaml"], Assert.Single(node.Processes).Argv);
            Assert.True(LabPlan.StageOf(NodeKind.SdnEdgeStore) < LabPlan.StageOf(NodeKind.SdnEdgeHost));
            Assert.Equal(($"/state/{one.Name}.nbd", $"/state/{one.Name}.state", $"/state/{one.Name}.sock"),
                (one.Exports.Unix, one.StateFolder, one.Api.Unix));
            Assert.Equal(lab.Find(one.Name)!.Management!.Value.Address, one.Api.Tcp!.Address);
            VolumeConfig volume = Assert.Single(one.Volumes);
            Assert.Equal(("vs-disk", other.Name, one.Name == "store-a", other.Volumes[0].Size),
                (volume.Name, volume.Replica, volume.Owner, volume.Size));
            Assert.Contains($"address add {one.Replication!.Listen.Address}/24 dev eth1\n", node.Script, StringComparison.Ordinal);
            ApiTcpConfig listen = other.Replication!.Listen;
            Assert.Equal(new StorePeer(other.Name, listen.Address, listen.Port), Assert.Single(one.Replication.Peers));
        }

        // QEMU at each site has the disk of that site's store, and its agent moves it.
        foreach (LabHost host in Managed.Hosts(lab))
        {
            string store = Managed.Stores(lab).Single(s => s.Site == host.Site).Node;
            var errors = new ConfigErrors("host.yaml");
            var root = new MapReader(Assert.IsType<YamlMap>(YamlTree.Parse(TextOf(lab, host.Node), errors)), "", errors);
            MapReader at = root.Map("store")!, qemu = Assert.Single(root.Maps("servers")).Map("qemu")!;
            Assert.Equal(($"/state/{store}.sock", $"/state/{store}.nbd"), (at.Text("api"), at.Text("nbd")));
            Assert.Contains(qemu.Texts("run"), a => a.Item.Text.Contains($"server.path=/state/{store}.nbd,export=vs-disk,",
                StringComparison.Ordinal));
        }

        Assert.Equal(["vs-disk"], Assert.Single(Managed.Guests(lab)).Volumes);

        StoreConfig StoreOf(string node)
        {
            StoreConfigResult result = StoreConfigLoader.Load(TextOf(lab, node), $"/state/{node}.yaml");
            Assert.Empty(result.Errors);
            return result.Config!;
        }
    }

    private sealed record LabStoreText(string Node, string Site, string Volume);

    [Fact]
    public void The_management_interface_of_a_router_is_a_plain_device_with_an_address()
    {
        LabTopology lab = TopologyLoader.Load(LabFiles.Figure1);
        string script = Plan(lab).Nodes.Single(n => n.Node.Name == "pe-a").Script;
        Assert.Contains("link set mgmt0 up\n", script, StringComparison.Ordinal);
        Assert.Contains("address add 10.254.0.1/24 dev mgmt0\n", script, StringComparison.Ordinal);
        Assert.DoesNotContain("tap-mgmt0", script, StringComparison.Ordinal);
        Assert.DoesNotContain("br-mgmt0", script, StringComparison.Ordinal);
        Assert.DoesNotContain("mgmt0/disable_ipv6", script, StringComparison.Ordinal);
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

    private static string TextOf(LabTopology lab, string node)
        => Assert.Single(Plan(lab).Nodes.Single(n => n.Node.Name == node).Files).Text;

    private static LabPlan Plan(LabTopology lab) => LabPlan.For(lab, "/state", ["sdnedge"]);

    [GeneratedRegex("index [0-9]+")]
    private static partial Regex Index();
}
