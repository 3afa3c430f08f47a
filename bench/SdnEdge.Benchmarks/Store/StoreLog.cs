using System.Diagnostics;
using System.Globalization;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;

namespace SdnEdge.Benchmarks.Store;

/// <summary>
/// <c>bench store log</c>: a volume's log beside the least that one can cost: a C program (bench/store/append.c) that writes a group of
/// records by one pwritev and makes it durable by fdatasync, without checksums. The log appends each record by itself, as it has to. Then
/// the group is made durable in the thread of its client, as a volume's flush for an NBD client that has nothing else to do
/// (<see cref="VolumeLog.CommitHere"/>), or by the log's committer, as for several clients at once. In turn, groups of 1, 16 and 64.
/// </summary>
internal static class StoreLog
{
    private const int Payload = 4096;
    private static readonly int[] s_groups = [1, 16, 64];

    private enum Way
    {
        Here,
        Committer,
        C,
    }

    public static Task MeasureAsync(StoreOptions options, string root)
    {
        string program = Path.Combine(root, "append");
        Programs.Compile("store/append.c", program);
        Way[] ways = Enum.GetValues<Way>();
        var results = new Dictionary<(int Group, Way Way), List<Result>>();
        Console.WriteLine($"{options.Seconds} s each, {options.Repetitions} repetitions, records of {Payload} + 64 bytes in "
            + $"{options.Folder}; median (lowest to highest); ratio to C; {Figures.Load()}");
        for (int repetition = 0; repetition < options.Repetitions; repetition++)
        {
            foreach (int group in s_groups)
            {
                for (int i = 0; i < ways.Length; i++)
                {
                    Way way = ways[(i + repetition) % ways.Length];
                    if (!results.TryGetValue((group, way), out List<Result>? list)) results[(group, way)] = list = [];
                    list.Add(way == Way.C ? Ceiling(program, root, group, options.Seconds)
                        : Ours(root, group, options.Seconds, here: way == Way.Here));
                }
            }
        }

        Console.WriteLine($"\n{"records a commit",-18}{"",-16}{"records a second",32}{"ratio",8}{"50 % within us",16}"
            + $"{"99 % within us",16}");
        foreach (int group in s_groups)
        {
            List<Result> c = results[(group, Way.C)];
            foreach (Way way in ways)
            {
                List<Result> list = results[(group, way)];
                double ratio = Figures.Median(list.Zip(c, (a, b) => a.PerSecond / b.PerSecond));
                string name = way switch { Way.Here => "log", Way.Committer => "log, committer", _ => "C" };
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"{group,-18}{name,-16}{Figures.Spread([.. list.Select(r => r.PerSecond)]),32}{ratio,8:F2}"
                    + $"{Figures.Median(list.Select(r => r.HalfUs)),16:F0}{Figures.Median(list.Select(r => r.SlowUs)),16:F0}"));
            }
        }

        Console.WriteLine($"\n{Figures.Load()}");
        return Task.CompletedTask;
    }

    private static Result Ours(string root, int group, int seconds, bool here)
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
            long count = Run(log, group, payload, here, 0.5, []);
            var took = new List<double>(1 << 16);
            long begin = Stopwatch.GetTimestamp();
            count = Run(log, group, payload, here, seconds, took);
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

    private static long Run(VolumeLog log, int group, byte[] payload, bool here, double seconds, List<double> took)
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

            int error = here ? log.CommitHere(record.Sequence) : log.CommitAsync(record.Sequence).AsTask().GetAwaiter().GetResult();
            if (error != 0) throw new InvalidOperationException($"commit: errno {error}");
            took.Add(Stopwatch.GetElapsedTime(before).TotalMicroseconds);
            log.Release(log.DurableSequence);
        }

        return count;
    }

    private static Result Ceiling(string program, string root, int group, int seconds)
    {
        double[] numbers = [.. Programs.Output(program, root, $"{group}", $"{seconds}").Split(' ')
            .Select(w => double.Parse(w, CultureInfo.InvariantCulture))];
        return new Result(numbers[0], numbers[1], numbers[2]);
    }

    private sealed record Result(double PerSecond, double HalfUs, double SlowUs);
}
