using SdnEdge.Core.Config;
using SdnEdge.Lab.Topologies;

namespace SdnEdge.Lab.Running;

/// <summary>Configurations of PEs and of FRR, looked at before anything is made: errors name the user's own files.</summary>
internal static class StartupConfigs
{
    /// <summary>Reads them as the PEs will. Returns each by its node.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="odd">What is no error and yet will surprise: a port whose MTU is not its link's, lines for a daemon that does not
    /// run.</param>
    /// <exception cref="TopologyException">Something in one of them is wrong: all of it, each with its place.</exception>
    public static IReadOnlyDictionary<string, NodeConfig> Check(LabPlan plan, out IReadOnlyList<string> odd)
    {
        var configs = new Dictionary<string, NodeConfig>(StringComparer.Ordinal);
        var errors = new List<ConfigError>();
        var warnings = new List<string>();
        foreach (PlannedNode node in plan.Nodes.Where(n => n.Node.Kind == NodeKind.SdnEdgePe))
        {
            ConfigResult read = NodeConfigLoader.Load(node.Files.Single().Text, node.Node.ConfigName);
            errors.AddRange(read.Errors);
            if (read.Config is not { } config) continue;
            configs.Add(node.Node.Name, config);
            foreach (LabLink link in plan.Topology.LinksOf(node.Node.Name))
            {
                LinkEnd end = link.EndAt(node.Node.Name)!;
                if (config.Ports.FirstOrDefault(p => p.Device == "tap-" + end.Interface) is { } port && port.Mtu != link.Mtu)
                    warnings.Add($"port {port.Name} of {end.Node} has an MTU of {port.Mtu}, its link {end} one of {link.Mtu}: what is "
                        + "larger than the smaller of both is lost there without a word");
            }
        }

        foreach (FrrSetup frr in plan.Nodes.Where(n => n.Node.Kind == NodeKind.Frr).Select(n => FrrSetup.Of(n.Node)))
        {
            errors.AddRange(frr.Errors);
            warnings.AddRange(frr.Warnings);
        }

        odd = warnings;
        return errors.Count == 0 ? configs : throw new TopologyException(errors);
    }
}
