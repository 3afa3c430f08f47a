using System.Diagnostics;

namespace SdnEdge.Lab.Running;

/// <summary>
/// A node of Debian's FRR. Its daemons start without a configuration, each with its sockets in the node's own folder;
/// vtysh then gives them the startup-config, as one file for all.
/// </summary>
internal static class FrrNode
{
    public static async Task ConfigureAsync(
        PlannedNode node, string folder, Func<(string What, Func<Task<bool>> Condition), Task> until, CancellationToken cancel)
    {
        string name = node.Node.Name, own = Path.Combine(folder, name + ".frr");
        foreach (PlannedProcess daemon in node.Processes)
            await until(($"{daemon.Name} of {name}", () => Task.FromResult(File.Exists(Path.Combine(own, daemon.Name + ".vty")))));

        // vtysh complains on its output, not its error output.
        ProcessStartInfo vtysh = Netns.Command(node.Namespace,
            ["sh", "-c", "exec \"$@\" 1>&2", "sh", "vtysh", "--vty_socket", own, "-f", Path.Combine(folder, name + ".frr.conf")]);
        (int code, string error) = await Netns.RunAsync(vtysh, "", cancel);
        if (code != 0) throw new LabException($"FRR of node {name} does not take {node.Node.StartupConfig}: {error.Trim()}");
    }
}
