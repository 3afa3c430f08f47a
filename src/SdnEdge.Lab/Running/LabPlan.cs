using System.Text;
using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Topologies;
using SdnEdge.Lab.Wan;

namespace SdnEdge.Lab.Running;

/// <summary>A long-running process of a node.</summary>
/// <param name="Node">The node.</param>
/// <param name="Name">What it is, for messages: <c>pe</c>, <c>host</c>, <c>mms</c>, <c>store</c>, <c>wan</c>, <c>echo</c>, <c>zebra</c> and
/// FRR's other daemons, <c>bird</c>.</param>
/// <param name="Argv">Program and arguments.</param>
/// <param name="Serves">A file that is there when it serves, for which the next process of the node waits; null: nothing waits.</param>
internal sealed record PlannedProcess(string Node, string Name, IReadOnlyList<string> Argv, string? Serves = null);

/// <summary>What deploy does for one node.</summary>
/// <param name="Node">The node.</param>
/// <param name="Namespace">Its namespace.</param>
/// <param name="Log">Its log file.</param>
/// <param name="Script">Shell script run inside the namespace once the links are there. On its error output it says which lines of
/// <c>exec</c> failed; nothing else there but why it failed itself.</param>
/// <param name="Files">Files written to the state folder first: path and text.</param>
/// <param name="Processes">Processes started after the script, in order.</param>
internal sealed record PlannedNode(
    LabNode Node, string Namespace, string Log, string Script, IReadOnlyList<(string Path, string Text)> Files,
    IReadOnlyList<PlannedProcess> Processes);

/// <summary>
/// All that deploy will do, as data: the same topology gives the same plan. Namespaces and links in one batch of <c>ip</c>,
/// then for each node one script inside its namespace, so that a deploy costs a few dozen processes.
/// </summary>
/// <param name="Topology">What is deployed.</param>
/// <param name="RootBatch">Lines for <c>ip -batch</c>, outside: namespaces, and links between them.</param>
/// <param name="Nodes">The nodes, WAN nodes first, as others wait for them; then by <see cref="StageOf"/>.</param>
internal sealed record LabPlan(LabTopology Topology, string RootBatch, IReadOnlyList<PlannedNode> Nodes)
{
    // Long enough for what a PE leaves unread while another process has its core: a second and a half at 20 kpps.
    private const int TapQueueLength = 32768;

    // Interface indexes are unique across the lab. Else both ends of a veth pair can have the same index in their two
    // namespaces, and the kernel then takes up to a second to notice the carrier.
    private const int FirstIndex = 1000;

    /// <summary>Makes the plan.</summary>
    /// <param name="lab">What to deploy.</param>
    /// <param name="folder">State folder: configurations, sockets and logs go there.</param>
    /// <param name="self">How to start this program: the executable, or dotnet and its assembly.</param>
    public static LabPlan For(LabTopology lab, string folder, IReadOnlyList<string> self)
    {
        var batch = new StringBuilder();
        foreach (LabNode node in lab.Nodes) batch.Append($"netns add {lab.NamespaceOf(node.Name)}\n");
        int index = FirstIndex;
        foreach (LabLink link in lab.Links)
        {
            batch.Append($"link add name {link.A.Interface} index {index++} mtu {link.Mtu} netns {lab.NamespaceOf(link.A.Node)} ");
            batch.Append($"type veth peer name {link.B.Interface} index {index++} mtu {link.Mtu} netns {lab.NamespaceOf(link.B.Node)}\n");
        }

        IEnumerable<PlannedNode> nodes = lab.Nodes
            .OrderBy(n => StageOf(n.Kind))
            .ThenBy(n => n.Kind switch { NodeKind.SdnEdgeWan => 0, NodeKind.SdnEdgePe => 1, NodeKind.Server => 2, _ => 3 })
            .Select(n => PlanNode(lab, n, folder, self));
        return new LabPlan(lab, batch.ToString(), [.. nodes]);
    }

    /// <summary>
    /// When a node is started: a stage begins when the one before it is set up. An agent looks after servers that are there and asks its
    /// site's store, the manager asks agents and PEs.
    /// </summary>
    public static int StageOf(NodeKind kind) => kind switch { NodeKind.SdnEdgeHost => 1, NodeKind.SdnEdgeMms => 2, _ => 0 };

    private static PlannedNode PlanNode(LabTopology lab, LabNode node, string folder, IReadOnlyList<string> self)
    {
        string log = Path.Combine(folder, node.Name + ".log");
        (string Interface, int Mtu)[] ends = [.. lab.LinksOf(node.Name).Select(l => (l.EndAt(node.Name)!.Interface, l.Mtu))];
        var files = new List<(string, string)>();
        var processes = new List<PlannedProcess>();
        var sysctl = new StringBuilder();
        var ip = new StringBuilder("link set lo up\n");
        var later = new StringBuilder();
        Kernel("ipv4/conf/all/rp_filter", "0");
        Kernel("ipv4/conf/default/rp_filter", "0");
        Kernel("ipv6/conf/default/accept_dad", "0");
        Kernel("ipv6/conf/default/accept_ra", "0");
        switch (node.Kind)
        {
            case NodeKind.SdnEdgePe: PlanPe(); break;
            case NodeKind.SdnEdgeWan: PlanWan(); break;
            case NodeKind.Server: PlanServer(); break;
            case NodeKind.Bridge: PlanBridge(); break;
            case NodeKind.Frr: PlanHost(); PlanFrr(); break;
            case NodeKind.Bird: PlanHost(); PlanBird(); break;
            case NodeKind.SdnEdgeHost: PlanHost(); PlanDaemon("host"); break;
            case NodeKind.SdnEdgeMms: PlanHost(); PlanEtcd(); PlanDaemon("mms"); break;
            case NodeKind.SdnEdgeStore: PlanHost(); PlanDaemon("store"); break;
            default: PlanHost(); PlanEtcd(); break;
        }

        if (node.Management is { } management)
            ip.Append($"address add {management} dev {LabTopology.ManagementInterface}{(management.Address.IsV6 ? " nodad" : "")}\n");

        foreach ((string key, string value) in node.Sysctls) sysctl.Append($"echo {Quote(value)} >{key.Replace('.', '/')}\n");
        foreach (LabLink link in lab.LinksOf(node.Name))
        {
            if (link.EndAt(node.Name) is { Mac: { } mac } end) ip.Append($"link set {end.Interface} address {mac}\n");
        }

        string script = $"set -e\nexec 3>&2 >>{Quote(log)} 2>&1 </dev/null\ncd /proc/sys/net\n{sysctl}ip -batch - <<'END'\n{ip}END\ncd "
            + $"/\n{later}{Exec(node.Kind == NodeKind.Frr ? [.. node.Exec.Take(FrrNode.FirstVtysh(node.Exec))] : node.Exec)}";
        return new PlannedNode(node, lab.NamespaceOf(node.Name), log, script, files, processes);

        void Kernel(string key, string value) => sysctl.Append($"echo {value} >{key}\n");

        void NoIpv6(params ReadOnlySpan<string> devices)
        {
            foreach (string device in devices) Kernel($"ipv6/conf/{device}/disable_ipv6", "1");
        }

        void PlanHost()
        {
            foreach ((string name, _) in ends) PlanHostInterface(name);
        }

        void PlanHostInterface(string name)
        {
            Kernel($"ipv4/conf/{name}/rp_filter", "0");
            Kernel($"ipv6/conf/{name}/accept_dad", "0");
            Kernel($"ipv6/conf/{name}/accept_ra", "0");
            ip.Append($"link set {name} up\n");
        }

        // eth1 (to the neighbour) - br-eth1 - tap-eth1 (the PE's port). A bridge of two ports that neither learns nor speaks.
        // mgmt0 belongs to the namespace's kernel, which serves the PE's API there.
        void PlanPe()
        {
            NoIpv6("default");
            foreach ((string name, int mtu) in ends)
            {
                if (name == LabTopology.ManagementInterface)
                {
                    PlanHostInterface(name);
                    continue;
                }

                NoIpv6(name);
                ip.Append($"tuntap add dev tap-{name} mode tap vnet_hdr\n");
                ip.Append($"link add br-{name} type bridge stp_state 0 ageing_time 0 mcast_snooping 0\n");
                ip.Append($"link set tap-{name} txqueuelen {TapQueueLength} mtu {mtu} master br-{name} up\n");
                ip.Append($"link set {name} master br-{name} up\n");
                ip.Append($"link set br-{name} mtu {mtu} up\n");
            }

            later.Append("echo 0 >/proc/sys/net/ipv6/conf/default/disable_ipv6\n");
            PlanDaemon("pe");
        }

        // One of our daemons, with a configuration that fits the lab.
        void PlanDaemon(string command)
        {
            string config = Path.Combine(folder, node.Name + ".yaml");
            files.Add((config, new DaemonFile(lab, node, folder).Text()));
            processes.Add(new PlannedProcess(node.Name, command, [.. self, command, "--config", config]));
        }

        void PlanEtcd()
        {
            if (node.HasEtcd) processes.Add(new PlannedProcess(node.Name, "etcd", EtcdMember.Command(lab, node, folder)));
        }

        void PlanWan()
        {
            foreach ((string name, _) in ends)
            {
                NoIpv6(name);
                ip.Append($"link set {name} up\n");
            }

            string config = Path.Combine(folder, node.Name + ".json");
            files.Add((config, JsonSerializer.Serialize(
                new WanConfig(node.Name, node.Seed, Path.Combine(folder, node.Name + ".sock"),
                    [.. lab.LinksOf(node.Name)
                        .Select(l => new WanLinkConfig(l.EndAt(node.Name)!.Interface, l.FarEnd(node.Name).Node, l.ToWan!, l.FromWan!))]),
                LabJson.Indented.For<WanConfig>())));
            processes.Add(new PlannedProcess(node.Name, "wan", [.. self, "lab", "node", "wan", "--config", config]));
        }

        void PlanBridge()
        {
            NoIpv6("default");
            ip.Append("link add br0 type bridge stp_state 0 mcast_snooping 0\n");
            foreach ((string name, _) in ends)
            {
                NoIpv6(name);
                ip.Append($"link set {name} master br0 up\n");
            }

            ip.Append("link set br0 up\n");
        }

        // eth0 is a bridge that keeps addresses, routes and neighbours wherever the server lives; stub0 keeps its carrier.
        // A leg is live when it is a port of eth0. All legs stay up, so no carrier ever changes at the sites; a leg that is
        // not live neither answers ARP nor has IPv6.
        void PlanServer()
        {
            ServerSpec server = node.Server!;
            string home = server.HomeSite is null ? ends[0].Interface : Sites.Of(lab, node.Name).First(s => s.Name == server.HomeSite).Leg;
            NoIpv6("default");
            foreach ((string name, _) in ends)
            {
                NoIpv6(name);
                ip.Append($"link set {name} arp off up\n");
            }

            ip.Append("link add stub0 type veth peer name stub1\nlink set stub1 up\n");
            ip.Append($"link add eth0 type bridge stp_state 0 mcast_snooping 0\nlink set eth0 address {server.Mac}\n");
            ip.Append("link set stub0 master eth0 up\nlink set stub0 type bridge_slave learning off flood off mcast_flood off bcast_flood "
                + "off\n");
            ip.Append($"link set {home} master eth0\n");
            // While the server is between two sites the kernel, which a paused guest would not have, asks for its gateway in
            // vain: let it ask long enough.
            later.Append("echo 0 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6\n");
            later.Append("echo 60 >/proc/sys/net/ipv4/neigh/eth0/ucast_solicit\necho 60 >/proc/sys/net/ipv6/neigh/eth0/ucast_solicit\n");
            later.Append("ip -batch - <<'END'\nlink set eth0 up\n");
            foreach (InterfaceAddress address in server.Addresses)
                later.Append($"address add {address} dev eth0{(address.Address.IsV6 ? " nodad" : "")}\n");
            foreach (IpAddress gateway in server.Gateways) later.Append($"route add default via {gateway} dev eth0\n");
            later.Append("END\n");
            processes.Add(new PlannedProcess(node.Name, "echo", [.. self, "lab", "node", "echo"]));
        }

        void PlanFrr()
        {
            string own = FrrNode.FolderOf(folder, node.Name);
            FrrSetup frr = FrrSetup.Of(node);
            Kernel("ipv4/ip_forward", "1");   // as in a container, and what a router is for; FRR's 'no ip forwarding' ends it
            Kernel("ipv6/conf/all/forwarding", "1");
            later.Append($"install -d -o frr -g frrvty {Quote(own)}\n");   // the daemons are that user, whatever starts them
            files.Add((Path.Combine(folder, node.Name + ".frr.conf"), frr.Config));
            int first = FrrNode.FirstVtysh(node.Exec);
            if (first < node.Exec.Count)
            {
                files.Add((FrrNode.LaterOf(folder, node.Name), $"exec 3>&2 >>{Quote(log)} 2>&1 </dev/null\ncd /\nvtysh() {{ command vtysh "
                    + $"--vty_socket {Quote(own)} \"$@\"; }}\n{Exec([.. node.Exec.Skip(first)])}"));
            }

            foreach (FrrDaemon daemon in frr.Daemons)
            {
                // Its own sockets, which are the machine's otherwise.
                string[] control = daemon.Name switch
                {
                    "bfdd" => ["--bfdctl", $"{own}/bfdd.sock"],
                    "ldpd" => ["--ctl_socket", own],   // a folder
                    _ => [],
                };
                // Without its zebra a daemon asks for it again after 10 s only.
                processes.Add(new PlannedProcess(node.Name, daemon.Name,
                    [$"{FrrSetup.Folder}/{daemon.Name}", "-f", "/dev/null", "-z", $"{own}/zserv.api", "-i", $"{own}/{daemon.Name}.pid",
                     "--vty_socket", own, .. control, "--log", "stdout", .. daemon.Options],
                    daemon.Name == "zebra" ? $"{own}/zserv.api" : null));
            }
        }

        // A file is read where it is: what it includes lies beside it.
        void PlanBird()
        {
            string config = node.StartupConfig ?? Path.Combine(folder, node.Name + ".bird.conf");
            if (node.Inline is { } inline) files.Add((config, inline.Text));
            processes.Add(new PlannedProcess(node.Name, "bird",
                ["/usr/sbin/bird", "-f", "-c", config, "-s", Path.Combine(folder, node.Name + ".ctl"), "-P",
                    Path.Combine(folder, node.Name + ".pid")]));
        }
    }

    // Each line by itself: one that fails is told, and the next one is run all the same, as containerlab does. Not in a batch of ip, which
    // ends at the first line that it cannot read. What a line leaves running must not hold the script's error output: it is read to its
    // end.
    private static string Exec(IReadOnlyList<string> lines) => lines.Count == 0 ? "" : "set +e\n"
        + string.Concat(lines.Select(l => $"(\n{l}\n) 3>&- || echo {Quote(l)}': exit code '$? >&3\n")) + "exit 0\n";

    private static string Quote(string text) => "'" + text.Replace("'", "'\\''", StringComparison.Ordinal) + "'";
}
