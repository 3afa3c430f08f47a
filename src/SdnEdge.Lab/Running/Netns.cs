using System.Diagnostics;
using System.Globalization;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Running;

/// <summary>Something in the lab could not be done: what, where, and what would help.</summary>
public sealed class LabException(string message) : Exception(message);

/// <summary>Processes and namespaces, by the <c>ip</c> command and /proc.</summary>
internal static class Netns
{
    /// <summary>
    /// How to start a program inside a namespace: <c>ip netns exec</c> becomes the program, so the process number is its own.
    /// </summary>
    public static ProcessStartInfo Command(string ns, IReadOnlyList<string> argv, IReadOnlyDictionary<string, string>? env = null)
    {
        var start = new ProcessStartInfo("ip") { UseShellExecute = false };
        foreach (string word in (IEnumerable<string>)["netns", "exec", ns, .. argv]) start.ArgumentList.Add(word);
        foreach ((string key, string value) in env ?? new Dictionary<string, string>()) start.Environment[key] = value;
        return start;
    }

    /// <summary>
    /// Shell text that gives the shell, and what it becomes, more of the processors: a router or a probe that has to wait behind
    /// a compiler measures the compiler. Sessions are weighed against each other first where the kernel groups them (sched(7),
    /// autogroup). Where it may not, all goes on as it is.
    /// </summary>
    private const string RaisePriority = "{ echo -15 >/proc/self/autogroup; renice -n -10 -p $$ >/dev/null; } 2>/dev/null || :; ";

    /// <summary>A command that runs <paramref name="argv"/> as a session of its own, before ordinary programs.</summary>
    public static IReadOnlyList<string> Ahead(IReadOnlyList<string> argv)
        => ["setsid", "sh", "-c", RaisePriority + "exec \"$@\"", "sh", .. argv];

    /// <summary>Starts a daemon in a namespace: a session of its own, nothing on its input, all output into a log.</summary>
    public static Process StartDaemon(string ns, IReadOnlyList<string> argv, IReadOnlyDictionary<string, string> env, string log)
    {
        var start = new ProcessStartInfo("setsid") { UseShellExecute = false };
        string[] words = ["ip", "netns", "exec", ns, "sh", "-c",
            "log=$1; shift; " + RaisePriority + "exec \"$@\" >>\"$log\" 2>&1 </dev/null", "sh", log, .. argv];
        foreach (string word in words) start.ArgumentList.Add(word);
        foreach ((string key, string value) in env) start.Environment[key] = value;
        return Process.Start(start) ?? throw new LabException($"cannot start {argv[0]}.");
    }

    /// <summary>Runs lines of <c>ip -batch</c>; an error names the line.</summary>
    public static async Task BatchAsync(string lines, bool force, CancellationToken cancel)
    {
        (int code, string error) =
            await RunAsync(new ProcessStartInfo("ip") { ArgumentList = { force ? "-force" : "-batch", force ? "-batch" : "-",
                force ? "-" : "" } }, lines, cancel);
        if (code != 0 && !force) throw new LabException($"ip -batch failed: {error.Trim()}");
    }

    /// <summary>Runs a file of lines of <c>ip -batch</c>; an error names the line.</summary>
    public static async Task BatchFileAsync(string file, CancellationToken cancel)
    {
        (int code, string error) = await RunAsync(new ProcessStartInfo("ip") { ArgumentList = { "-batch", file } }, "", cancel);
        if (code != 0) throw new LabException($"ip -batch failed: {error.Trim()}");
    }

    /// <summary>
    /// Ends what a deploy that was killed has left on its way: the <c>ip</c> that reads <paramref name="batchFile"/>, and any that is about
    /// to enter one of the namespaces. What is inside already is found by its namespace. Returns false when some does not end.
    /// </summary>
    public static Task<bool> EndMakersAsync(string batchFile, IReadOnlyList<string> namespaces)
    {
        return UntilAsync(() =>
        {
            ProcessStat[] left = [.. Makers()];
            foreach (ProcessStat process in left) Signals.Send(process.ProcessId, ProcessSignal.Kill);
            return left.Length == 0;
        }, TimeSpan.FromSeconds(30), CancellationToken.None);

        IEnumerable<ProcessStat> Makers()
        {
            foreach (string folder in Directory.EnumerateDirectories("/proc"))
            {
                if (!int.TryParse(Path.GetFileName(folder.AsSpan()), NumberStyles.None, CultureInfo.InvariantCulture, out int pid)
                    || pid == Environment.ProcessId || !IsMaker(folder) || ProcessStat.Read(pid) is not { IsAlive: true } stat) continue;
                yield return stat;
            }
        }

        bool IsMaker(string folder)
        {
            string[] words;
            try
            {
                words = File.ReadAllText(folder + "/cmdline").Split('\0');
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return false;   // it ended while we looked
            }

            // ip -batch FILE; ip netns exec NAMESPACE ..., also behind setsid.
            words[0] = Path.GetFileName(words[0]);
            if (words is ["setsid", ..]) words = words[1..];
            return words is ["ip", "-batch", { } file, ..] ? file == batchFile
                : words is ["ip", "netns", "exec", { } ns, ..] && namespaces.Contains(ns);
        }
    }

    /// <summary>Runs a command to its end, with text on its input. Returns its exit code and what it wrote to its error output.</summary>
    public static async Task<(int Code, string Error)> RunAsync(ProcessStartInfo start, string input, CancellationToken cancel)
    {
        start.UseShellExecute = false;
        start.RedirectStandardInput = true;
        start.RedirectStandardError = true;
        for (int i = start.ArgumentList.Count - 1; i >= 0; i--)
        {
            if (start.ArgumentList[i].Length == 0) start.ArgumentList.RemoveAt(i);
        }

        using Process process = Process.Start(start) ?? throw new LabException($"cannot start {start.FileName}.");
        try
        {
            await process.StandardInput.WriteAsync(input.AsMemory(), cancel);
            process.StandardInput.Close();
            string error = await process.StandardError.ReadToEndAsync(cancel);
            await process.WaitForExitAsync(cancel);
            return (process.ExitCode, error);
        }
        catch (OperationCanceledException)
        {
            // It would go on making what is being taken back.
            process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync(CancellationToken.None);
            throw;
        }
    }

    /// <summary>The kernel's name of a namespace, <c>net:[inode]</c>; null when there is none of that name.</summary>
    public static string? IdOf(string ns)
    {
        if (!Namespaces.Exists(ns)) return null;
        try
        {
            return Namespaces.Run(ns, () => new FileInfo("/proc/thread-self/ns/net").LinkTarget);
        }
        catch (LinuxException)
        {
            return null;   // a name left behind by an interrupted 'ip netns add': a file, but no namespace
        }
    }

    /// <summary>The processes in any of these namespaces (<c>net:[inode]</c>).</summary>
    public static List<ProcessStat> ProcessesIn(IReadOnlySet<string> ids)
    {
        var found = new List<ProcessStat>();
        foreach (string folder in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(folder.AsSpan()), NumberStyles.None, CultureInfo.InvariantCulture, out int pid)
                || pid == Environment.ProcessId) continue;
            try
            {
                if (new FileInfo($"{folder}/ns/net").LinkTarget is { } id && ids.Contains(id)
                    && ProcessStat.Read(pid) is { IsAlive: true } stat) found.Add(stat);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It ended while we looked.
            }
        }

        return found;
    }

    /// <summary>Waits until a condition holds: 10 times in quick succession, then every 10 ms, and once when the time is over.</summary>
    /// <returns>False when it did not in time.</returns>
    public static async Task<bool> UntilAsync(Func<bool> condition, TimeSpan limit, CancellationToken cancel)
    {
        long end = Monotonic.Now + (long)(limit.TotalMilliseconds * 1e6);
        for (int round = 0; ; round++)
        {
            bool late = Monotonic.Now > end;
            if (condition()) return true;
            if (late) return false;
            await Task.Delay(round < 10 ? 1 : 10, cancel);
        }
    }
}
