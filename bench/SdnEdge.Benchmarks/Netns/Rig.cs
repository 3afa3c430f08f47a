using System.Diagnostics;

namespace SdnEdge.Benchmarks.Netns;

/// <summary>
/// A namespace of its own with everything that runs in it. Disposing ends each process by its id and removes the
/// namespace and the working directory.
/// </summary>
internal sealed class Rig : IDisposable
{
    private readonly List<Process> _processes = [];

    public Rig()
    {
        Namespace = $"sdnbench-{Environment.ProcessId}";
        Folder = Directory.CreateTempSubdirectory("sdnbench-").FullName;
        Command("ip", ["netns", "add", Namespace]);
        Inside("ip", "link", "set", "lo", "up");
    }

    public string Namespace { get; }

    public string Folder { get; }

    /// <summary>Variables for every process inside.</summary>
    public Dictionary<string, string> Variables { get; } = [];

    /// <summary>Runs a command inside to its end; throws with its words when it fails. Returns its output.</summary>
    public string Inside(string program, params string[] arguments) =>
        Command("ip", ["netns", "exec", Namespace, program, .. arguments]);

    /// <summary>Runs a command outside, where other namespaces can be made, to its end; throws with its words when it fails.</summary>
    public string Outside(string program, params string[] arguments) => Command(program, arguments);

    /// <summary>Starts a process inside, on a core (null: any), that lives until the rig is disposed of.</summary>
    public Process Start(int? core, string program, params string[] arguments)
    {
        ProcessStartInfo start = Describe("taskset", ["-c", core is { } one ? $"{one}" : $"0-{Environment.ProcessorCount - 1}", "ip",
            "netns", "exec", Namespace, program, .. arguments]);
        start.RedirectStandardInput = true;
        Process process = Process.Start(start)!;
        _processes.Add(process);
        process.ErrorDataReceived += (_, line) =>
        {
            if (!string.IsNullOrWhiteSpace(line.Data)) Console.Error.WriteLine($"{Path.GetFileName(program)}: {line.Data}");
        };
        process.BeginErrorReadLine();
        return process;
    }

    /// <summary>Reads lines until one is <paramref name="word"/>; throws when the process ends before.</summary>
    public static void Expect(Process process, string word)
    {
        while (process.StandardOutput.ReadLine() is { } line)
        {
            if (line == word) return;
        }

        throw new InvalidOperationException($"{process.StartInfo.ArgumentList[^1]}: the process ended before it was {word}");
    }

    /// <summary>Sends a signal (STOP, CONT) to a process that was started here.</summary>
    public static void Signal(Process process, string signal)
    {
        using var kill = Process.Start(new ProcessStartInfo("kill", [$"-{signal}", $"{process.Id}"]) { UseShellExecute = false })!;
        kill.WaitForExit();
    }

    /// <summary>Compiles a C source, a path below bench/, into the rig's folder and returns the program's path.</summary>
    public string Compile(string source)
    {
        string program = Path.Combine(Folder, Path.GetFileNameWithoutExtension(source));
        Programs.Compile(source, program);
        return program;
    }

    /// <summary>Nanoseconds of processor time that each thread of a process has used.</summary>
    public static Dictionary<string, long> CpuNanoseconds(Process process)
    {
        var times = new Dictionary<string, long>();
        foreach (string task in Directory.GetDirectories($"/proc/{process.Id}/task"))
        {
            try
            {
                times[Path.GetFileName(task)] = long.Parse(File.ReadAllText(task + "/schedstat").Split(' ')[0]);
            }
            catch (IOException)
            {
                // A thread that ended meanwhile.
            }
        }

        return times;
    }

    public void Dispose()
    {
        foreach (Process process in Enumerable.Reverse(_processes))
        {
            try
            {
                if (!process.HasExited) process.Kill();
                process.WaitForExit(5000);
            }
            catch (InvalidOperationException)
            {
                // Ended by itself.
            }

            process.Dispose();
        }

        try
        {
            Command("ip", ["netns", "del", Namespace]);
            Directory.Delete(Folder, recursive: true);
        }
        catch (Exception e) when (e is InvalidOperationException or IOException)
        {
            Console.Error.WriteLine($"could not clean up: {e.Message}");
        }
    }

    private string Command(string program, string[] arguments) => Programs.Output(Describe(program, arguments));

    private ProcessStartInfo Describe(string program, string[] arguments)
    {
        ProcessStartInfo start = Programs.Describe(program, arguments);
        foreach ((string name, string value) in Variables) start.Environment[name] = value;
        return start;
    }
}
