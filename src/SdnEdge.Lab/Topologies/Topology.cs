using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;

namespace SdnEdge.Lab.Topologies;

/// <summary>What runs in a node's namespace.</summary>
public enum NodeKind
{
    /// <summary>A SdnEdge PE router: <c>sdnedge pe</c> with one TAP for each link.</summary>
    SdnEdgePe,

    /// <summary>The emulated provider core: a learning switch whose links have delay, jitter, loss and rate.</summary>
    SdnEdgeWan,

    /// <summary>A host or router made of what the kernel has; <c>exec</c> lines configure it.</summary>
    Linux,

    /// <summary>A virtual server: one namespace with a leg in each site, one leg live at a time.</summary>
    Server,

    /// <summary>Debian's FRR with the startup-config: the daemons that it needs, or those of a file <c>daemons</c>.</summary>
    Frr,

    /// <summary>Debian's BIRD 2 with the startup-config.</summary>
    Bird,

    /// <summary>A learning switch of the kernel: a site's data-centre network.</summary>
    Bridge,

    /// <summary>The agent of a server host: <c>sdnedge host</c> with the startup-config.</summary>
    SdnEdgeHost,

    /// <summary>The migration manager: <c>sdnedge mms</c> with the startup-config.</summary>
    SdnEdgeMms,

    /// <summary>The block store of a site: <c>sdnedge store</c> with the startup-config.</summary>
    SdnEdgeStore,
}

/// <summary>A node of the topology, with defaults and kinds merged in.</summary>
/// <param name="Name">Name, unique in the topology.</param>
/// <param name="Kind">What runs there.</param>
/// <param name="StartupConfig">Full path of the configuration; null where the kind needs none, or where it stands in the topology
/// (<see cref="Inline"/>).</param>
/// <param name="Exec">Commands run in the namespace once its links are there, in order: defaults, kind, node.</param>
/// <param name="Env">Environment of everything the lab starts in this node.</param>
/// <param name="Labels">Labels; those that begin with <c>sdnedge.</c> mean something here.</param>
public sealed record LabNode(
    string Name, NodeKind Kind, string? StartupConfig, IReadOnlyList<string> Exec, IReadOnlyDictionary<string, string> Env,
    IReadOnlyDictionary<string, string> Labels)
{
    /// <summary>What a server is, from its labels; null for other kinds.</summary>
    public ServerSpec? Server { get; init; }

    /// <summary>The configuration, where the topology file holds it; null: it is in <see cref="StartupConfig"/>, or there
    /// is none.</summary>
    public InlineConfig? Inline { get; init; }

    /// <summary>What an FRR node is given as files of its image; null: nothing.</summary>
    public FrrBinds? Frr { get; init; }

    /// <summary>True when it has a configuration, in a file or in the topology.</summary>
    public bool HasConfig => StartupConfig is not null || Inline is not null;

    /// <summary>What messages call the configuration: its path, or its place in the topology.</summary>
    public string ConfigName => StartupConfig ?? Inline?.Name ?? "";

    /// <summary>The text of the configuration as it is now; empty where there is none.</summary>
    public string ReadConfig() => Inline?.Text ?? (StartupConfig is null ? "" : File.ReadAllText(StartupConfig));

    /// <summary>Settings of the namespace's kernel below <c>net.</c>, by name: <c>net.ipv4.ip_forward</c>.</summary>
    public IReadOnlyDictionary<string, string> Sysctls { get; init; } = new Dictionary<string, string>();

    /// <summary>Seed of a WAN node's randomness (label <c>sdnedge.seed</c>, default 1).</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>
    /// Address of its interface <see cref="LabTopology.ManagementInterface"/> (label <c>sdnedge.management</c>); null = it is not on a
    /// management network. A node that has one gets a certificate for it.
    /// </summary>
    public InterfaceAddress? Management { get; init; }

    /// <summary>True when a member of the lab's etcd runs there (label <c>sdnedge.etcd: member</c>), on the management network.</summary>
    public bool HasEtcd { get; init; }
}

/// <summary>Files that a topology binds into an FRR image, at <c>/etc/frr</c>.</summary>
/// <param name="Daemons">Full path of the file <c>daemons</c>, which says what runs; null = none is bound.</param>
/// <param name="Configs">Full paths of configurations, in the order in which they are read: <c>frr.conf</c>, and those of single
/// daemons.</param>
public sealed record FrrBinds(string? Daemons, IReadOnlyList<string> Configs);

/// <summary>A configuration that stands in the topology: a <c>startup-config</c> of several lines.</summary>
/// <param name="Text">The text.</param>
/// <param name="Name">What messages call it; lines are counted from its own first one.</param>
public sealed record InlineConfig(string Text, string Name);

/// <summary>What the stand-in server is.</summary>
/// <param name="Mac">MAC address of its <c>eth0</c> (label <c>sdnedge.mac</c>).</param>
/// <param name="Addresses">Interface addresses, e.g. 10.1.1.10/24 (label <c>sdnedge.addresses</c>, separated by commas).</param>
/// <param name="Gateways">Default gateways, at most one of each family (label <c>sdnedge.gateways</c>).</param>
/// <param name="HomeSite">Site it starts at (label <c>sdnedge.site</c>; default: that of the first leg).</param>
public sealed record ServerSpec(
    MacAddress Mac, IReadOnlyList<InterfaceAddress> Addresses, IReadOnlyList<IpAddress> Gateways, string? HomeSite);

/// <summary>An address on an interface, host bits kept.</summary>
public readonly record struct InterfaceAddress(IpAddress Address, int Length)
{
    /// <summary>Text as <c>address/length</c>.</summary>
    public override string ToString() => $"{Address}/{Length}";
}

/// <summary>One end of a link.</summary>
/// <param name="Node">Node name.</param>
/// <param name="Interface">Interface name in that node.</param>
public sealed record LinkEnd(string Node, string Interface)
{
    /// <summary>MAC address that it is given; null: the kernel's choice.</summary>
    public MacAddress? Mac { get; init; }

    /// <summary>Text as <c>node:interface</c>.</summary>
    public override string ToString() => $"{Node}:{Interface}";
}

/// <summary>A link between two interfaces.</summary>
/// <param name="A">First end.</param>
/// <param name="B">Second end.</param>
/// <param name="Mtu">MTU of both ends, bytes.</param>
/// <param name="ToWan">What frames meet on the way into the WAN node; null when neither end is one.</param>
/// <param name="FromWan">The same, on the way out of it.</param>
/// <param name="Labels">Labels.</param>
public sealed record LabLink(
    LinkEnd A, LinkEnd B, int Mtu, Impairment? ToWan, Impairment? FromWan, IReadOnlyDictionary<string, string> Labels)
{
    /// <summary>The end at a node, or null.</summary>
    public LinkEnd? EndAt(string node) => A.Node == node ? A : B.Node == node ? B : null;

    /// <summary>The end that is not at this node.</summary>
    public LinkEnd FarEnd(string node) => A.Node == node ? B : A;

    /// <summary>True for a link of a management network: one of its ends is called <see cref="LabTopology.ManagementInterface"/>.</summary>
    public bool IsManagement => A.Interface == LabTopology.ManagementInterface || B.Interface == LabTopology.ManagementInterface;
}

/// <summary>What one direction of a WAN link does to frames.</summary>
/// <param name="DelayNs">Time each frame takes, nanoseconds.</param>
/// <param name="JitterNs">The delay varies evenly by up to this much either way, nanoseconds.</param>
/// <param name="Loss">Share of frames lost, 0 to 1.</param>
/// <param name="RateBitsPerSecond">Line rate; 0 = no limit.</param>
/// <param name="QueueBytes">Most bytes on the way or waiting; what does not fit is dropped and counted.</param>
/// <param name="KeepOrder">True: jitter never lets a frame pass another.</param>
public sealed record Impairment(
    long DelayNs = 0, long JitterNs = 0, double Loss = 0, long RateBitsPerSecond = 0, int QueueBytes = Impairment.DefaultQueueBytes,
    bool KeepOrder = true)
{
    /// <summary>16 MiB: 37 ms at 3.5 Gbit/s.</summary>
    public const int DefaultQueueBytes = 16 << 20;
}

/// <summary>A lab: what its file says, checked.</summary>
/// <param name="Name">Lab name; namespaces are called <c>clab-NAME-NODE</c>.</param>
/// <param name="File">Full path of the file.</param>
/// <param name="Nodes">Nodes in the file's order.</param>
/// <param name="Links">Links in the file's order.</param>
public sealed record LabTopology(string Name, string File, IReadOnlyList<LabNode> Nodes, IReadOnlyList<LabLink> Links)
{
    /// <summary>What the file says without effect in a lab of namespaces, for people.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <summary>
    /// What a node calls its interface to a management network, by which APIs are reached: a plain device in the node's namespace. Even at
    /// a PE it is no port of the router.
    /// </summary>
    public const string ManagementInterface = "mgmt0";

    /// <summary>The node of that name, or null.</summary>
    public LabNode? Find(string node) => Nodes.FirstOrDefault(n => n.Name == node);

    /// <summary>The links of a node, in the file's order.</summary>
    public IEnumerable<LabLink> LinksOf(string node) => Links.Where(l => l.EndAt(node) is not null);

    /// <summary>The namespace of a node.</summary>
    public string NamespaceOf(string node) => $"clab-{Name}-{node}";

    /// <summary>
    /// The same lab with another round-trip time between PEs: a packet passes two WAN links on its way and two on its way back,
    /// so each direction of each link gets a quarter. Management links keep their delay.
    /// </summary>
    public LabTopology WithRtt(double milliseconds)
    {
        long delay = (long)(milliseconds * 1e6 / 4);
        return this with
        {
            Links = [.. Links.Select(l => l.ToWan is null || l.IsManagement ? l : l with
            {
                ToWan = l.ToWan with { DelayNs = delay },
                FromWan = l.FromWan! with { DelayNs = delay },
            })],
        };
    }
}

/// <summary>A topology file cannot be used: all that is wrong with it, at once.</summary>
public sealed class TopologyException : Exception
{
    /// <summary>Errors in it, by place.</summary>
    public TopologyException(IReadOnlyList<ConfigError> errors)
        : base(string.Join(Environment.NewLine, errors)) => Errors = errors;

    /// <summary>It cannot be read at all.</summary>
    public TopologyException(string message)
        : base(message) => Errors = [];

    /// <summary>The errors, by place in the file; empty when it could not be read.</summary>
    public IReadOnlyList<ConfigError> Errors { get; }
}
