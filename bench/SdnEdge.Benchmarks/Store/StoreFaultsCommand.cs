using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using SdnEdge.Core.Tests.Replication.Simulation;
using SdnEdge.Storage.Tests.Faults;

namespace SdnEdge.Benchmarks.Store;

/// <summary>The long runs of what may happen to a pair of stores: kills and power cuts at any operation of a disk under load (the stores'
/// code with crashing disks, in this process), and the seeded simulation of their decisions with manager, guest and partitions.</summary>
internal static class StoreFaultsCommand
{
    public const string Usage =
        """
        usage: bench store kills|powercuts [--count N] [--seed S] [--parallel P]
          a pair of stores under load, in all modes; one of them, or both, ends in the middle of an operation of its disk, 8 times a seed
          --count N     so many ends (10000)
          --seed S      first seed (1); a failure names its seed
          --parallel P  so many pairs at a time (8)
        usage: bench store simulate [--count N] [--seed S]
          two stores, manager, guest; messages lost, late and doubled, links cut, everybody crashed
          --count N     so many runs (100000)
        """;

    private const int Lives = 8;
    private const long SimulatedMilliseconds = 4_000;

    public static readonly string[] Names = ["kills", "powercuts", "simulate"];

    public static int Run(string[] args)
    {
        string what = args[0];
        var options = new Dictionary<string, int>
        {
            ["--count"] = what == "simulate" ? 100_000 : 10_000, ["--seed"] = 1, ["--parallel"] = 8,
        };
        for (int i = 1; i < args.Length; i++)
        {
            if (Words.TakeNumber(options, args, ref i)) continue;
            Console.Error.WriteLine($"bench store {what}: cannot make sense of '{args[i]}'\n{Usage}");
            return 2;
        }

        return what == "simulate" ? Simulate(options["--count"], options["--seed"])
            : PairsAsync(what == "powercuts", options["--count"], options["--seed"], options["--parallel"]).GetAwaiter().GetResult();
    }

    private static async Task<int> PairsAsync(bool power, int count, int first, int parallel)
    {
        long started = Stopwatch.GetTimestamp();
        var gate = new Lock();
        PairCounts sum = PairCounts.None;
        int next = first - 1, seeds = 0;
        ConcurrentBag<string> failed = [];
        await Task.WhenAll(Enumerable.Range(0, parallel).Select(_ => Task.Run(OneAfterTheOtherAsync)));
        double seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{seeds} seeds from {first} in {seconds:0} s: {sum}"));
        foreach (string what in failed) Console.WriteLine(what);
        Console.WriteLine(failed.IsEmpty ? "nothing that was promised is lost, every copy is a prefix, every pair agrees"
            : $"{failed.Count} failures");
        return failed.IsEmpty ? 0 : 1;

        async Task OneAfterTheOtherAsync()
        {
            while (true)
            {
                lock (gate)
                {
                    if (sum.Ends >= count || failed.Count >= 5) return;
                }

                int seed = Interlocked.Increment(ref next);
                try
                {
                    PairCounts got = await PairRun.GoAsync(seed, Lives, power);
                    lock (gate)
                    {
                        sum += got;
                        if (++seeds % 200 != 0) continue;
                        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                            $"{sum.Ends,8} ends, {sum.Ends / Stopwatch.GetElapsedTime(started).TotalSeconds:0} a second"));
                    }
                }
                catch (InvalidOperationException e)
                {
                    failed.Add(e.Message);
                }
            }
        }
    }

    private static int Simulate(int count, int first)
    {
        long started = Stopwatch.GetTimestamp(), events = 0, done = 0;
        var counts = new ConcurrentDictionary<string, int>();
        ConcurrentBag<string> failed = [];
        Parallel.For(0, count, (n, loop) =>
        {
            var world = new World((ulong)(first + n));
            world.Run(SimulatedMilliseconds);
            Interlocked.Add(ref events, world.Events);
            foreach ((string what, int times) in world.Counts) counts.AddOrUpdate(what, times, (_, had) => had + times);
            if (Interlocked.Increment(ref done) % 10_000 == 0) Console.WriteLine($"{done,10} runs");
            if (world.Wrong is null) return;
            failed.Add($"--seed {first + n} --count 1: {world.Wrong}");
            if (failed.Count >= 5) loop.Stop();
        });
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{done} runs from seed {first} in {Stopwatch.GetElapsedTime(started).TotalSeconds:0} s, {events} events"));
        Console.WriteLine(string.Join(", ", counts.OrderBy(c => c.Key, StringComparer.Ordinal).Select(c => $"{c.Key} {c.Value}")));
        foreach (string what in failed) Console.WriteLine(what);
        Console.WriteLine(failed.IsEmpty ? "0 writes acknowledged by two owners, 0 lost" : $"{failed.Count} failures");
        return failed.IsEmpty ? 0 : 1;
    }
}
