using System.Diagnostics;
using SdnEdge.Client;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Topologies;
using SdnEdge.Lab.Wan;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Running;

/// <summary>A lab that runs. Attaching to it and letting go of it change nothing; only <see cref="DestroyAsync"/> ends it.</summary>
public sealed class RunningLab
{
    private readonly string _root;

    internal RunningLab(LabTopology topology, string folder, string root)
    {
        Topology = topology;
        Folder = folder;
        _root = root;
        Ingresses = Sites.Ingresses(topology);
    }

    /// <summary>The lab's name.</summary>
    public string Name => Topology.Name;

    /// <summary>What it was deployed from, with the name and delays given at deploy.</summary>
    public LabTopology Topology { get; }

    /// <summary>Folder with the lab's state, sockets and logs.</summary>
    public string Folder { get; }

    /// <summary>Where traffic comes in: each client and its PE.</summary>
    public IReadOnlyList<LabIngress> Ingresses { get; }

    /// <summary>Finds a lab that runs on this machine.</summary>
    /// <param name="name">The lab's name.</param>
    /// <param name="stateRoot">Where states are kept; null = the default.</param>
    /// <exception cref="LabException">There is no such lab, or its deploy never ended.</exception>
    public static RunningLab Attach(string name, string? stateRoot = null)
    {
        string root = stateRoot ?? LabState.DefaultRoot, folder = Path.Combine(root, name);
        LabState state = LabState.Read(folder) ?? throw new LabException(LabState.All(root) is { Count: > 0 } others
            ? $"no lab {name} runs here; running: {string.Join(", ", others)}."
            : $"no lab {name} runs here; 'sdnedge lab deploy -t topologies/figure1.clab.yml' starts one.");
        if (state.WhyNotReady is { } why) throw new LabException(why + ".");
        LabTopology topology = TopologyLoader.Load(state.TopologyFile) with { Name = name };
        return new RunningLab(state.RttMs is { } rtt ? topology.WithRtt(rtt) : topology, folder, root);
    }

    /// <summary>What the lab has made and started.</summary>
    public LabState State => LabState.Read(Folder) ?? throw new LabException($"lab {Name} is gone.");

    /// <summary>The namespace of a node.</summary>
    public string NamespaceOf(string node) => Topology.NamespaceOf(Known(node).Name);

    /// <summary>The API socket of a node: PE, server host, store or manager; of a WAN node, its statistics socket.</summary>
    public string ApiSocket(string node) => Path.Combine(Folder, Known(node).Name + ".sock");

    /// <summary>The socket of a store where its volumes are, by NBD.</summary>
    public string NbdSocket(string store) => Path.Combine(Folder, Known(store).Name + DaemonFile.NbdSuffix);

    /// <summary>The API socket of the lab's manager; null when it has none.</summary>
    public string? MmsSocket => Topology.Nodes.Any(n => n.Kind == NodeKind.SdnEdgeMms)
        ? string.Join(',', Topology.Nodes.Where(n => n.Kind == NodeKind.SdnEdgeMms).Select(n => ApiSocket(n.Name))) : null;

    /// <summary>The groups that the lab's manager may move; empty when it has no manager.</summary>
    public IReadOnlyList<LabGroup> Groups => Managed.Groups(Topology);

    /// <summary>The lab's server hosts, and where they are.</summary>
    public IReadOnlyList<LabHost> Hosts => Managed.Hosts(Topology);

    /// <summary>The lab's block stores, and where they are.</summary>
    public IReadOnlyList<LabStore> Stores => Managed.Stores(Topology);

    /// <summary>The lab's virtual machines.</summary>
    public IReadOnlyList<LabGuest> Guests => Managed.Guests(Topology);

    /// <summary>A node's address on the management network; null when it is not on one.</summary>
    public IpAddress? ManagementAddress(string node) => Known(node).Management?.Address;

    /// <summary>Where the manager reaches a node's API: <c>https://ADDRESS:8443/</c> on the management network, else
    /// <c>unix:PATH</c>.</summary>
    public string ApiAddress(string node) => DaemonFile.ApiAddress(Known(node), Folder);

    /// <summary>A node's certificate, and the lab's authority: who a client that runs in this node is.</summary>
    /// <exception cref="LabException">The node is not on a management network and has none.</exception>
    public ClientIdentity IdentityOf(string node) => Known(node).Management is null
        ? throw new LabException(
            $"node {node} has no certificate: it is not on a management network; give it the label sdnedge.management.")
        : ClientIdentity.Load(LabCertificates.CertificateOf(Folder, node), LabCertificates.KeyOf(Folder, node),
            LabCertificates.AuthorityOf(Folder));

    /// <summary>
    /// How to start a program inside a node's namespace; redirect its output before starting it, if wanted. The process number is the
    /// program's own.
    /// </summary>
    public ProcessStartInfo Command(string node, IReadOnlyList<string> argv, IReadOnlyDictionary<string, string>? env = null)
    {
        var all = new Dictionary<string, string>(Known(node).Env, StringComparer.Ordinal);
        foreach ((string key, string value) in env ?? new Dictionary<string, string>()) all[key] = value;
        return Netns.Command(NamespaceOf(node), Known(node).Kind == NodeKind.Frr ? FrrNode.Command(argv, Folder, node) : argv, all);
    }

    /// <summary>Starts a program inside a node's namespace. It ends with the lab, if not before.</summary>
    /// <param name="node">The node.</param>
    /// <param name="argv">Program and arguments.</param>
    /// <param name="env">More environment.</param>
    /// <param name="redirect">True: its input, output and error output are the caller's to read and write.</param>
    /// <param name="ahead">True: in a session of its own and before ordinary programs, as the lab's own daemons are.</param>
    public Process Start(string node, IReadOnlyList<string> argv, IReadOnlyDictionary<string, string>? env = null, bool redirect = false,
        bool ahead = false)
    {
        ProcessStartInfo start = Command(node, ahead ? Netns.Ahead(argv) : argv, env);
        start.RedirectStandardInput = start.RedirectStandardOutput = start.RedirectStandardError = redirect;
        return Process.Start(start) ?? throw new LabException($"cannot start {argv[0]} in node {node}.");
    }

    /// <summary>How to start this program again, e.g. for a probe inside a node.</summary>
    public static IReadOnlyList<string> Self => new LabOptions().FindSelf();

    /// <summary>The sites of a server, in the order of its links.</summary>
    public IReadOnlyList<LabSite> SitesOf(string server)
        => Known(server).Kind == NodeKind.Server ? Sites.Of(Topology, server)
            : throw new LabException($"node {server} is no server; servers of lab {Name}: {Names(n => n.Kind == NodeKind.Server)}.");

    /// <summary>The site at which a server is live now; null while it is paused, or at none.</summary>
    public Task<string?> LocateAsync(string server, CancellationToken cancel = default)
        => StandInServer.LocateAsync(NamespaceOf(server), SitesOf(server), cancel);

    /// <summary>The counters of a WAN node; null when it does not answer.</summary>
    public Task<WanStats?> WanAsync(string node, CancellationToken cancel) => WanClient.TryReadAsync(ApiSocket(node), cancel);

    /// <summary>Destroys the lab.</summary>
    /// <param name="keepLogs">Leaves the logs in <see cref="Folder"/>.</param>
    public Task DestroyAsync(bool keepLogs = false) => LabRunner.DestroyAsync(Name, _root, keepLogs);

    /// <summary>What of the lab is still on this machine: namespaces, processes, files. Empty after a destroy.</summary>
    public IReadOnlyList<string> Residue() =>
    [
        .. Topology.Nodes.Select(n => Topology.NamespaceOf(n.Name)).Where(Namespaces.Exists).Select(n => $"namespace {n}"),
        .. (Directory.Exists(Folder) ? Directory.GetFileSystemEntries(Folder) : []).Select(f => $"file {f}"),
    ];

    private LabNode Known(string node)
        => Topology.Find(node) ?? throw new LabException($"lab {Name} has no node {node}; nodes: {Names(_ => true)}.");

    private string Names(Func<LabNode, bool> which) => string.Join(", ", Topology.Nodes.Where(which).Select(n => n.Name));
}
