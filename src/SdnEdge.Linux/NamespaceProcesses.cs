using System.Globalization;

namespace SdnEdge.Linux;

/// <summary>The processes of a network namespace, by /proc.</summary>
public static class NamespaceProcesses
{
    /// <summary>The identity of a named namespace as <c>/proc/PID/ns/net</c> shows it, e.g. <c>net:[4026532287]</c>; null when there is
    /// none.</summary>
    public static string? IdOf(string name)
    {
        if (!Namespaces.Exists(name)) return null;
        try
        {
            return Namespaces.Run(name, () => new FileInfo("/proc/thread-self/ns/net").LinkTarget);
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>All that are alive in the namespace with this identity, but this process.</summary>
    public static IReadOnlyList<ProcessStat> In(string id)
    {
        var found = new List<ProcessStat>();
        foreach (string folder in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(folder.AsSpan()), NumberStyles.None, CultureInfo.InvariantCulture, out int pid)) continue;
            if (pid == Environment.ProcessId) continue;
            try
            {
                if (new FileInfo($"{folder}/ns/net").LinkTarget == id && ProcessStat.Read(pid) is { IsAlive: true } stat) found.Add(stat);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It ended while we looked.
            }
        }

        return found;
    }
}
