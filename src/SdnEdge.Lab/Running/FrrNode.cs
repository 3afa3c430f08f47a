using System.Diagnostics;
using System.Text.RegularExpressions;

namespace SdnEdge.Lab.Running;

/// <summary>
/// A node of Debian's FRR. Its daemons (<see cref="FrrSetup"/>) start without a configuration, each with its sockets in the node's own
/// folder; vtysh then gives them the startup-config, as one file for all. Lines of <c>exec</c> from the first one on that speaks to FRR
/// (<c>vtysh</c>) are run after that, as in a container, which is there when its lines are run.
/// </summary>
internal static partial class FrrNode
{
    /// <summary>Folder with the sockets of a node's FRR.</summary>
    public static string FolderOf(string folder, string node) => Path.Combine(folder, node + ".frr");

    /// <summary>The script of the lines of <c>exec</c> that are run when FRR has its configuration.</summary>
    public static string LaterOf(string folder, string node) => Path.Combine(folder, node + ".later");

    /// <summary>Which line of <c>exec</c> is the first that needs FRR; their number when none does.</summary>
    public static int FirstVtysh(IReadOnlyList<string> exec)
    {
        int first = 0;
        while (first < exec.Count && !Vtysh().IsMatch(exec[first])) first++;
        return first;
    }

    /// <summary>A program and its arguments, as they are run in a node of FRR: vtysh speaks to this node's daemons.</summary>
    public static IReadOnlyList<string> Command(IReadOnlyList<string> argv, string folder, string node)
        => argv is ["vtysh", ..] ? ["vtysh", "--vty_socket", FolderOf(folder, node), .. argv.Skip(1)] : argv;

    /// <summary>Configures it. Returns which lines of <c>exec</c> failed, empty when none did.</summary>
    public static async Task<string> ConfigureAsync(
        PlannedNode node, string folder, Func<(string What, Func<Task<bool>> Condition), Task> until, CancellationToken cancel)
    {
        string name = node.Node.Name, own = FolderOf(folder, name), later = LaterOf(folder, name);
        foreach (PlannedProcess daemon in node.Processes)
            await until(($"{daemon.Name} of {name}", () => Task.FromResult(File.Exists(Path.Combine(own, daemon.Name + ".vty")))));

        // vtysh complains on its output, not its error output.
        ProcessStartInfo vtysh = Netns.Command(node.Namespace,
            ["sh", "-c", "exec \"$@\" 1>&2", "sh", "vtysh", "--vty_socket", own, "-f", Path.Combine(folder, name + ".frr.conf")]);
        (int code, string error) = await Netns.RunAsync(vtysh, "", cancel);
        if (code != 0)
            throw new LabException($"FRR of node {name} does not take {(node.Node.HasConfig ? node.Node.ConfigName
                : string.Join(", ", node.Node.Frr?.Configs ?? []))}: {error.Trim()}");
        if (!File.Exists(later)) return "";
        (_, string failed) = await Netns.RunAsync(Netns.Command(node.Namespace, ["sh", later], node.Node.Env), "", cancel);
        return failed.Trim().Replace("\n", "; ", StringComparison.Ordinal);
    }

    [GeneratedRegex(@"(^|[\s;&|(/])vtysh(\s|$)", RegexOptions.ExplicitCapture)]
    private static partial Regex Vtysh();
}
