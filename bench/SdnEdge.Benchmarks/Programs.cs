using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using SdnEdge.Testing;

namespace SdnEdge.Benchmarks;

/// <summary>Programs that a measurement starts, and ends by their ids.</summary>
internal static class Programs
{
    // Of proc(5): clock ticks a second of utime and stime.
    private const double TicksPerSecond = 100;

    // nbdkit asks to be ended with its parent (PR_SET_PDEATHSIG, prctl(2)). The kernel takes the thread that started it for that, and a
    // thread of the pool ends when it has been idle for a while. So all that runs on is started by one thread, which stays.
    private static readonly BlockingCollection<Action> s_starts = Starter();

    /// <summary>A program whose output and errors are for its starter.</summary>
    public static ProcessStartInfo Describe(string program, IEnumerable<string> words)
        => new(program, words) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true };

    /// <summary>Starts a program that runs until <see cref="End"/>.</summary>
    public static Process Start(string program, IEnumerable<string> words)
    {
        ProcessStartInfo start = Describe(program, words);
        var started = new TaskCompletionSource<Process>(TaskCreationOptions.RunContinuationsAsynchronously);
        s_starts.Add(() =>
        {
            try
            {
                started.SetResult(Process.Start(start)!);
            }
            catch (Exception e)
            {
                started.SetException(e);
            }
        });
        return started.Task.GetAwaiter().GetResult();
    }

    /// <summary>Runs a program to its end and returns what it printed.</summary>
    /// <exception cref="InvalidOperationException">It failed; what it wrote is in the message.</exception>
    public static string Output(string program, params IEnumerable<string> words) => Output(Describe(program, words));

    /// <inheritdoc cref="Output(string, IEnumerable{string})"/>
    public static string Output(ProcessStartInfo start)
    {
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? output.Trim() : throw new InvalidOperationException(
            $"{start.FileName} {string.Join(' ', start.ArgumentList)}: {errors.Result.Trim()} (exit code {process.ExitCode})");
    }

    /// <summary>Ends a program, unless it has ended by itself, and waits until it has.</summary>
    public static void End(Process? process)
    {
        if (process is null) return;
        if (!process.HasExited) process.Kill();
        process.WaitForExit();
        process.Dispose();
    }

    /// <summary>Completes when a program has made a file, as its socket.</summary>
    /// <exception cref="InvalidOperationException">It ended before.</exception>
    public static Task HasMadeAsync(Process process, string file) => Patience.UntilAsync(
        () =>
        {
            ThrowIfEnded(process);
            return File.Exists(file);
        },
        () => $"{file} is not there");

    /// <summary>Processor time of a program so far, seconds.</summary>
    /// <exception cref="InvalidOperationException">It has ended; how, and what it wrote, is in the message.</exception>
    public static double CpuSeconds(Process process)
    {
        string text;
        try
        {
            text = File.ReadAllText($"/proc/{process.Id}/stat");
        }
        catch (IOException)
        {
            // There is no such process any more.
            process.WaitForExit();
            ThrowIfEnded(process);
            throw;
        }

        string[] fields = text[(text.LastIndexOf(')') + 2)..].Split(' ');
        return fields[11..13].Sum(f => long.Parse(f, CultureInfo.InvariantCulture)) / TicksPerSecond;
    }

    /// <summary>A program that was to run on does.</summary>
    /// <exception cref="InvalidOperationException">It has ended; how, and what it wrote, is in the message.</exception>
    public static void ThrowIfEnded(Process process)
    {
        if (!process.HasExited) return;

        // The shell's way: 128 and the signal's number.
        string how = process.ExitCode > 128 ? $"by signal {process.ExitCode - 128}" : $"with exit code {process.ExitCode}";
        string wrote = process.StandardError.ReadToEnd().Trim();
        throw new InvalidOperationException($"{Path.GetFileName(process.StartInfo.FileName)} (process {process.Id}) has ended {how}"
            + (wrote.Length > 0 ? $": {wrote}" : "; it wrote nothing"));
    }

    private static BlockingCollection<Action> Starter()
    {
        var starts = new BlockingCollection<Action>();
        new Thread(() =>
        {
            foreach (Action start in starts.GetConsumingEnumerable()) start();
        }) { IsBackground = true, Name = "starts programs" }.Start();
        return starts;
    }

    /// <summary>Compiles a C source of a folder of bench/.</summary>
    /// <param name="source">Its path below bench/.</param>
    /// <param name="program">The program.</param>
    public static void Compile(string source, string program)
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "bench", source))) folder = Path.GetDirectoryName(folder);
        if (folder is null) throw new FileNotFoundException($"bench/{source} is in no folder above {AppContext.BaseDirectory}");
        Output("gcc", "-O2", "-o", program, Path.Combine(folder, "bench", source), "-lpthread");
    }
}
