using System.Diagnostics;
using System.Globalization;
using SdnEdge.Testing.Bgp.Fuzz;

namespace SdnEdge.Benchmarks.Hostile;

/// <summary>The long run of the BGP fuzzer, and the replay of one of its cases.</summary>
internal static class FuzzCommand
{
    private const string Usage =
        """
        usage: bench fuzz [--cases N] [--seed S] [--case M] [--bytes "external|internal 4|2 STATE HEX..."]
          --cases N   so many cases (1000000), numbers 0 to N-1
          --seed S    seed (1)
          --case M    only this case, told in full
          --bytes C   only this case, as a failure prints it
        """;

    public static int Run(string[] args)
    {
        long cases = 1_000_000, only = -1;
        int seed = 1;
        FuzzCase? given = null;
        for (int i = 0; i < args.Length; i += 2)
        {
            if (i + 1 == args.Length || !Take(args[i], args[i + 1]))
            {
                Console.Error.WriteLine($"bench fuzz: cannot make sense of '{args[i]}'\n{Usage}");
                return 2;
            }
        }

        string? folder = FuzzCorpus.Folder();
        if (folder is null) Console.Error.WriteLine(
            "bench fuzz: no pcaps/ above the executable, so only messages made here are mutated; --case numbers mean others");
        var source = new FuzzSource(folder is null ? FuzzCorpus.Made() : FuzzCorpus.WithCaptured(folder), seed);
        var runner = new FuzzRunner();
        if (given is not null || only >= 0) return Tell(runner, given ?? source.Make(only), given is null ? $"--seed {seed} --case {only}"
            : "--bytes") ? 0 : 1;

        long started = Stopwatch.GetTimestamp(), settled = 0, told = started;
        long slowest = 0, slowestCase = 0, failures = 0;
        for (long n = 0; n < cases; n++)
        {
            long before = Stopwatch.GetTimestamp();
            FuzzCase one = source.Make(n);
            if (runner.Run(one) is not null)
            {
                Tell(runner, one, $"--seed {seed} --case {n}");
                if (++failures == 10) break;
            }

            long after = Stopwatch.GetTimestamp();
            if (after - before > slowest) (slowest, slowestCase) = (after - before, n);
            if (n == cases / 10) settled = Settled();
            if (Stopwatch.GetElapsedTime(told, after).TotalSeconds < 10) continue;
            told = after;
            Console.WriteLine($"{n,12} cases, {n / Stopwatch.GetElapsedTime(started, after).TotalSeconds,8:0} a second, {runner.Resets} "
                + $"resets, {failures} failures");
        }

        double seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        long grown = Settled() - settled;
        (long taken, long withdrawn, long toldOn) = runner.Updates;
        Console.WriteLine($"seed {seed}: {runner.Cases} cases in {seconds:0.0} s, {runner.Cases / seconds:0} a second");
        Console.WriteLine($"UPDATEs taken {taken}, treated as withdrawn {withdrawn}, sessions reset {runner.Resets}, routes told on "
            + $"{toldOn}");
        Console.WriteLine($"slowest case {slowest * 1000.0 / Stopwatch.Frequency:0.0} ms (--case {slowestCase}), memory grown by "
            + $"{grown / 1024} KiB over the last nine tenths");
        Console.WriteLine(failures == 0 ? "no failure" : $"{failures} failures");
        return failures == 0 && grown < 64 << 20 ? 0 : 1;

        bool Take(string name, string value)
        {
            try
            {
                switch (name)
                {
                    case "--cases": return long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out cases);
                    case "--seed": return int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out seed);
                    case "--case": return long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out only);
                    case "--bytes":
                        given = FuzzCase.Parse(value);
                        return true;
                    default: return false;
                }
            }
            catch (FormatException)
            {
                return false;
            }
        }
    }

    private static bool Tell(FuzzRunner runner, FuzzCase one, string how)
    {
        string? wrong = runner.Run(one);
        Console.WriteLine($"{how}: {wrong ?? "right"}\n  {one}");
        if (wrong is null) return true;
        FuzzCase small = runner.Shrink(one);
        Console.WriteLine($"  smaller: {runner.Run(small)}\n  --bytes \"{small}\"");
        return false;
    }

    private static long Settled()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return GC.GetTotalMemory(forceFullCollection: true);
    }
}
