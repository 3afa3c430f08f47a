using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;
using SdnEdge.Benchmarks.Fib;
using SdnEdge.Core.Fib;

namespace SdnEdge.Benchmarks;

/// <summary>The BenchmarkDotNet benchmarks, and what a full table weighs.</summary>
internal static class MicroCommand
{
    public static int Run(string[] args)
    {
        // In this process: the tables are native memory that a child process would only fill again.
        IConfig config = DefaultConfig.Instance.AddJob(Job.ShortRun.WithToolchain(InProcessEmitToolchain.Instance).AsDefault());
        BenchmarkSwitcher.FromAssembly(typeof(MicroCommand).Assembly).Run(args.Length == 0 ? ["--filter", "*"] : args, config);

        using var v4 = new LpmTable4();
        LpmInsert.Fill(v4, FullTable.V4());
        using var v6 = new LpmTable6();
        LpmInsert.Fill(v6, FullTable.V6());
        Console.WriteLine($"{"table",-6} {"routes",9} {"lookup MiB",11} {"rules MiB",10} {"bytes a route",14}");
        Print("IPv4", v4);
        Print("IPv6", v6);
        return 0;
    }

    private static void Print(string name, LpmTable table) => Console.WriteLine(
        $"{name,-6} {table.Count,9} {table.LookupBytes / 1048576.0,11:0.0} {table.RuleBytes / 1048576.0,10:0.0} "
        + $"{(double)table.LookupBytes / table.Count,14:0.0}");
}
