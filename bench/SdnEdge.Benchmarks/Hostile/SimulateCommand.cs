using System.Diagnostics;
using System.Globalization;
using SdnEdge.Mms.Model;
using SdnEdge.Testing.Simulation.Handover;

namespace SdnEdge.Benchmarks.Hostile;

/// <summary>The long run of the simulation of the hand-over, and the replay of one run.</summary>
internal static class SimulateCommand
{
    private const string Usage =
        """
        usage: bench simulate [--runs N] [--seed S]
          The decision code of manager, PEs and hosts, all of them killed at times.
          --runs N   so many runs (100000), with seeds S, S+1, ...
          --seed S   first seed (1); a failure is replayed by --seed SEED --runs 1
        """;

    public static int Run(string[] args)
    {
        long runs = 100_000, seed = 1;
        for (int i = 0; i < args.Length; i += 2)
        {
            bool right = i + 1 < args.Length && args[i] switch
            {
                "--runs" => long.TryParse(args[i + 1], NumberStyles.None, CultureInfo.InvariantCulture, out runs),
                "--seed" => long.TryParse(args[i + 1], NumberStyles.None, CultureInfo.InvariantCulture, out seed),
                _ => false,
            };
            if (right) continue;
            Console.Error.WriteLine($"bench simulate: cannot make sense of '{args[i]}'\n{Usage}");
            return 2;
        }

        long started = Stopwatch.GetTimestamp();
        long failures = 0, events = 0, done = 0;
        var outcomes = new long[Enum.GetValues<MigrationOutcome>().Length];
        Parallel.For(0, runs, (n, loop) =>
        {
            HandoverResult result = HandoverSimulation.Run((ulong)(seed + n), trace: runs == 1);
            Interlocked.Add(ref events, result.Events);
            foreach (MigrationOutcome outcome in result.Outcomes) Interlocked.Increment(ref outcomes[(int)outcome]);
            long so = Interlocked.Increment(ref done);
            foreach (string line in result.Trace) Console.WriteLine(line);
            if (runs == 1 || result.Wrong is not null) Console.WriteLine($"--seed {seed + n}: {result.Wrong ?? "all invariants held"}");
            if (so % 20_000 == 0)
                Console.WriteLine($"{so,12} runs, {so / Stopwatch.GetElapsedTime(started).TotalSeconds,8:0} a second, "
                    + $"{Interlocked.Read(ref failures)} failures");
            if (result.Wrong is not null && Interlocked.Increment(ref failures) == 10) loop.Stop();
        });

        double seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        Console.WriteLine($"{done} runs from seed {seed} in {seconds:0.0} s, {done / seconds:0} a second, "
            + $"{events / Math.Max(1, done)} events a run");
        IEnumerable<MigrationOutcome> seen = Enum.GetValues<MigrationOutcome>().Where(o => outcomes[(int)o] > 0);
        Console.WriteLine($"migrations: {string.Join(", ", seen.Select(o => $"{outcomes[(int)o]} {o}"))}");
        Console.WriteLine(failures == 0 ? "no failure" : $"{failures} failures");
        return failures == 0 ? 0 : 1;
    }
}
