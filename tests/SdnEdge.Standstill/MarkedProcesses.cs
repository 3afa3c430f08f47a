using System.Globalization;
using System.Text;
using SdnEdge.Linux;

namespace SdnEdge.Standstill;

/// <summary>
/// The processes of a run: those that were started with a variable in their environment, and all that they started. The variable
/// finds daemons in a session of their own too, whose parent has ended; a process once found stays one of the run, whatever
/// becomes of its environment and its parent.
/// </summary>
public sealed class MarkedProcesses
{
    private readonly byte[] _mark;
    private Dictionary<int, ProcessStat> _found = [];

    /// <summary>Looks for nothing yet.</summary>
    /// <param name="mark"><c>NAME=VALUE</c>. The value must be this run's alone.</param>
    public MarkedProcesses(string mark)
    {
        if (mark.IndexOf('=', StringComparison.Ordinal) < 1) throw new ArgumentException($"a mark is NAME=VALUE, not '{mark}'",
            nameof(mark));
        _mark = Encoding.UTF8.GetBytes(mark + "\0");
    }

    /// <summary>Those that run now, oldest first. Never this process itself.</summary>
    public IReadOnlyList<ProcessStat> Find()
    {
        var all = new Dictionary<int, ProcessStat>();
        foreach (string folder in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(folder.AsSpan()), NumberStyles.None, CultureInfo.InvariantCulture, out int pid)) continue;
            if (pid != Environment.ProcessId && ProcessStat.Read(pid) is { IsAlive: true } stat) all[pid] = stat;
        }

        var found = new Dictionary<int, ProcessStat>();
        foreach (ProcessStat process in all.Values)
        {
            bool known = _found.TryGetValue(process.ProcessId, out ProcessStat before) && before.StartTicks == process.StartTicks;
            if (known || HasMark(process.ProcessId)) found[process.ProcessId] = process;
        }

        // Children and their children: a child may have a lower number than its parent, so until there are no more.
        for (int before = -1; before != found.Count;)
        {
            before = found.Count;
            foreach (ProcessStat process in all.Values)
            {
                if (found.ContainsKey(process.ParentId)) found.TryAdd(process.ProcessId, process);
            }
        }

        _found = found;
        return [.. found.Values.OrderBy(p => p.StartTicks).ThenBy(p => p.ProcessId)];
    }

    private bool HasMark(int pid)
    {
        try
        {
            // Variables follow each other, each with a 0 at its end (proc(5)).
            ReadOnlySpan<byte> environment = File.ReadAllBytes(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/environ"));
            for (int at; (at = environment.IndexOf(_mark)) >= 0; environment = environment[(at + 1)..])
            {
                if (at == 0 || environment[at - 1] == 0) return true;
            }

            return false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;   // it ended while we looked, or is another user's
        }
    }
}
