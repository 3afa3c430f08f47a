using System.Diagnostics;
using System.Globalization;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;

namespace SdnEdge.Benchmarks.Store;

/// <summary>
/// <c>bench store log</c>: a volume's log beside the least that one can cost: a C program (bench/store/append.c) that writes a group of
/// records by one pwritev and makes it durable by fdatasync, without checksums. The log appends each record by itself, as it has to, and
/// its committer makes the group durable, as for a volume's flush. In turn, groups of 1, 16 and 64.
/// </summary>
internal static class StoreLog
{
    private const int Payload = 4096;
    private static readonly int[] s_groups = [1, 16, 64];

    public static Task MeasureAsync(StoreOptions options, string root)
    {
        string program = Path.Combine(root, "append");
        StoreTools.Compile("append.c", program);
        var results = new Dictionary<(int Group, bool Ours), List<Result>>();
        Console.WriteLine($"{options.Seconds} s each, {options.Repetitions} repetitions, records of {Payload} + 64 bytes in "
            + $"{options.Folder}; "
            + $"median (lowest to highest); {Figures.Load()}");
        for (int repetition = 0; repetition < options.Repetitions; repetition++)
        {
            foreach (int group in s_groups)
            {
                foreach (bool ours in repetition % 2 == 0 ? new[] { true, false } : [false, true])
                {
                    if (!results.TryGetValue((group, ours), out List<Result>? list)) results[(group, ours)] = list = [];
                    list.Add(ours ? Ours(root, group, options.Seconds) : Ceiling(program, root, group, options.Seconds));
                }
            }
        }

        Console.WriteLine($"\n{"records a commit",-18}{"",-8}{"records a second",32}{"ratio",8}{"50 % within us",16}{"99 % within us",16}");
        foreach (int group in s_groups)
        {
            List<Result> c = results[(group, false)];
            foreach (bool ours in new[] { true, false })
            {
                List<Result> list = results[(group, ours)];
                double ratio = Figures.Median(list.Zip(c, (a, b) => a.PerSecond / b.PerSecond));
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"{group,-18}{(ours ? "log" : "C"),-8}{Figures.Spread([.. list.Select(r => r.PerSecond)]),32}{ratio,8:F2}"
                    + $"{Figures.Median(list.Select(r => r.HalfUs)),16:F0}{Figures.Median(list.Select(r => r.SlowUs)),16:F0}"));
            }
        }

        Console.WriteLine($"\n{Figures.Load()}");
        return Task.CompletedTask;
    }

    private static Result Ours(string root, int group, int seconds)
    {
        string folder = Path.Combine(root, "log-" + Guid.NewGuid().ToString("N"));
        Directory.CreateDirectory(folder);
        VolumeLog log = VolumeLog.Create(new DiskFolder(folder), new VolumeLogOptions(), Guid.NewGuid(), 1, out int error)
            ?? throw new InvalidOperationException($"the log cannot be made: errno {error}");
        try
        {
            byte[] payload = new byte[Payload];
            new Random(1).NextBytes(payload);

            // The segments ahead are made, and the code is compiled, before it counts.
            long count = Run(log, group, payload, 0.5, []);
            var took = new List<double>(1 << 16);
            long begin = Stopwatch.GetTimestamp();
            count = Run(log, group, payload, seconds, took);
            double per = count / Stopwatch.GetElapsedTime(begin).TotalSeconds;
            took.Sort();
            return new Result(per, took[took.Count / 2], took[took.Count * 99 / 100]);
        }
        finally
        {
            log.Dispose();
            Directory.Delete(folder, recursive: true);
        }
    }

    private static long Run(VolumeLog log, int group, byte[] payload, double seconds, List<double> took)
    {
        long begin = Stopwatch.GetTimestamp(), count = 0;
        while (Stopwatch.GetElapsedTime(begin).TotalSeconds < seconds)
        {
            long before = Stopwatch.GetTimestamp();
            LogRecord record = default;
            for (int i = 0; i < group;)
            {
                AppendStatus status = log.Append(LogRecordKind.Write, count % 1024 * Payload, Payload, payload, out record, out _);
                if (status == AppendStatus.Appended) (i, count) = (i + 1, count + 1);
                else if (status == AppendStatus.NoRoom) Thread.Yield();
                else throw new InvalidOperationException($"append: {status}, errno {log.LastError}");
            }

            // A thread that waits as an NBD connection does; the answer comes by the committer.
            ValueTask<int> durable = log.CommitAsync(record.Sequence);
            int error = durable.IsCompleted ? durable.Result : durable.AsTask().GetAwaiter().GetResult();
            if (error != 0) throw new InvalidOperationException($"commit: errno {error}");
            took.Add(Stopwatch.GetElapsedTime(before).TotalMicroseconds);
            log.Release(log.DurableSequence);
        }

        return count;
    }

    private static Result Ceiling(string program, string root, int group, int seconds)
    {
        double[] numbers = [.. StoreTools.Output(program, [root, $"{group}", $"{seconds}"]).Split(' ')
            .Select(w => double.Parse(w, CultureInfo.InvariantCulture))];
        return new Result(numbers[0], numbers[1], numbers[2]);
    }

    private sealed record Result(double PerSecond, double HalfUs, double SlowUs);
}

/// <summary>Programs in C that the measurements of the store need; their source is in bench/store.</summary>
internal static class StoreTools
{
    public static void Compile(string source, string program)
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "bench", "store", source))) folder = Path.GetDirectoryName(folder);
        if (folder is null) throw new FileNotFoundException($"bench/store/{source} is in no folder above {AppContext.BaseDirectory}");
        Output("gcc", ["-O2", "-o", program, Path.Combine(folder, "bench", "store", source), "-lpthread"]);
    }

    /// <summary>Runs a program to its end and returns what it printed.</summary>
    public static string Output(string program, IEnumerable<string> words)
    {
        var start = new ProcessStartInfo(program) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string word in words) start.ArgumentList.Add(word);
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? output.Trim()
            : throw new InvalidOperationException($"{program}: exit {process.ExitCode}: {errors.Result}");
    }
}
