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

    /// <summary>All that are alive in the namespace with this identity, but this process. They are looked for after the call has begun; who
    /// asks while somebody else looks shares the next look with all who do: it goes through every process of the machine.</summary>
    /// <param name="id">The namespace's identity.</param>
    /// <param name="age">Which processes there are may be known from a look that ended so long ago at most; what they do is read now.
    /// Zero: as above.</param>
    public static IReadOnlyList<ProcessStat> In(string id, TimeSpan age = default)
    {
        Look mine;
        lock (s_door)
        {
            bool fresh = s_last is { EndedNs: var ended } && Monotonic.Now - ended <= (long)age.TotalNanoseconds;
            mine = age > TimeSpan.Zero && fresh ? s_last! : s_next ??= new Look();
        }

        var found = new List<ProcessStat>();
        foreach (int pid in mine.In(id))
        {
            if (ProcessStat.Read(pid) is { IsAlive: true } stat) found.Add(stat);
        }

        return found;
    }

    private static readonly Lock s_door = new(), s_looking = new();

    // The look that has not begun, and the one that ended last.
    private static Look? s_next, s_last;

    private sealed class Look
    {
        private ILookup<string, int>? _seen;

        public long EndedNs { get; private set; }

        public IEnumerable<int> In(string id)
        {
            lock (s_looking)
            {
                if (_seen is null)
                {
                    lock (s_door) s_next = null;
                    _seen = All().ToLookup(p => p.Namespace, p => p.Id, StringComparer.Ordinal);
                    lock (s_door) (EndedNs, s_last) = (Monotonic.Now, this);
                }

                return _seen[id];
            }
        }

        private static IEnumerable<(int Id, string Namespace)> All()
        {
            foreach (string folder in Directory.EnumerateDirectories("/proc"))
            {
                if (!int.TryParse(Path.GetFileName(folder.AsSpan()), NumberStyles.None, CultureInfo.InvariantCulture, out int pid)
                    || pid == Environment.ProcessId) continue;
                string? id = null;
                try
                {
                    id = new FileInfo($"{folder}/ns/net").LinkTarget;
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    // It ended while we looked.
                }

                if (id is not null) yield return (pid, id);
            }
        }
    }
}
