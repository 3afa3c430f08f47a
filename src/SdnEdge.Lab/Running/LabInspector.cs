using SdnEdge.Lab.Topologies;
using SdnEdge.Lab.Wan;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Running;

/// <summary>What a running lab looks like now.</summary>
/// <param name="Name">The lab.</param>
/// <param name="TopologyFile">Its topology file.</param>
/// <param name="Ready">False while (or after) a deploy that has not ended.</param>
/// <param name="Nodes">Its nodes.</param>
/// <param name="Wans">Counters of its WAN nodes.</param>
/// <param name="WhyNotReady">How far its deploy is, or that it was interrupted, and what to do; null when it is ready.</param>
public sealed record LabReport(string Name, string TopologyFile, bool Ready, IReadOnlyList<NodeReport> Nodes, IReadOnlyList<WanStats> Wans,
    string? WhyNotReady = null);

/// <summary>One node.</summary>
/// <param name="Name">The node.</param>
/// <param name="Kind">Its kind, as in the topology file; empty for a lab that is not ready.</param>
/// <param name="Namespace">Its namespace.</param>
/// <param name="State">up; made or not made (of a lab that is not ready: its namespace is there, or not yet); gone
/// (no namespace); failed (a process of it has ended); paused (a server).</param>
/// <param name="Site">Where a server is live.</param>
/// <param name="Processes">The processes the lab started there, e.g. <c>pe[1234]</c>.</param>
/// <param name="Socket">Its API or statistics socket.</param>
/// <param name="Log">Its log.</param>
/// <param name="Management">Its address on the management network; null when it is not on one.</param>
public sealed record NodeReport(
    string Name, string Kind, string Namespace, string State, string? Site, IReadOnlyList<string> Processes, string? Socket, string Log,
    string? Management = null);

/// <summary>Looks at labs.</summary>
public static class LabInspector
{
    /// <summary>The lab of that name; null when there is none.</summary>
    public static async Task<LabReport?> InspectAsync(string name, string? stateRoot, CancellationToken cancel)
    {
        string folder = Path.Combine(stateRoot ?? LabState.DefaultRoot, name);
        if (LabState.Read(folder) is not { } state) return null;
        if (!state.Ready) return HalfMade(state, folder);
        LabTopology topology = TopologyLoader.Load(state.TopologyFile) with { Name = name };
        var nodes = new List<NodeReport>();
        var wans = new List<WanStats>();
        foreach (LabNode node in topology.Nodes)
        {
            string ns = topology.NamespaceOf(node.Name), socket = Path.Combine(folder, node.Name + ".sock");
            LabProcess[] processes = [.. state.Processes.Where(p => p.Node == node.Name)];
            string? site = null;
            string condition = !Namespaces.Exists(ns) ? "gone" : processes.Any(p => !p.IsAlive) ? "failed" : "up";
            if (node.Kind == NodeKind.Server && condition != "gone")
            {
                site = await StandInServer.LocateAsync(ns, Sites.Of(topology, node.Name), cancel);
                if (site is null && condition == "up") condition = "paused";
            }

            if (node.Kind == NodeKind.SdnEdgeWan && await WanClient.TryReadAsync(socket, cancel) is { } stats) wans.Add(stats);
            nodes.Add(new NodeReport(node.Name, TopologyLoader.WordOf(node.Kind), ns, condition, site,
                [.. processes.Select(p => $"{p.Name}[{p.ProcessId}]{(p.IsAlive ? "" : " ended")}")],
                File.Exists(socket) ? socket : null, Path.Combine(folder, node.Name + ".log"), node.Management?.Address.ToString()));
        }

        return new LabReport(name, state.TopologyFile, state.Ready, nodes, wans);
    }

    // From what was written down alone: what is in the namespaces may be anything, and the file may have changed.
    private static LabReport HalfMade(LabState state, string folder) => new(state.Name, state.TopologyFile, false,
    [
        .. state.Namespaces.Select(n => new NodeReport(n.Node, "", n.Name, Namespaces.Exists(n.Name) ? "made" : "not made", null,
            [.. state.Processes.Where(p => p.Node == n.Node).Select(p => $"{p.Name}[{p.ProcessId}]{(p.IsAlive ? "" : " ended")}")], null,
            Path.Combine(folder, n.Node + ".log"))),
    ], [], state.WhyNotReady);
}
