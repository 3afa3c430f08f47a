using System.Globalization;
using SdnEdge.Benchmarks.Bgp;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Tests;
using SdnEdge.Lab.Tests.Moves;

namespace SdnEdge.Benchmarks.DataCentre;

/// <summary>
/// A data centre moves as one: a hundred stand-in servers with a thousand prefixes, in the Figure 1 lab, with real processes and under
/// traffic to every prefix. Together, and one by one with so many at once; there and back.
/// </summary>
internal static class DataCentreCommand
{
    // One by one with so many at once; 0: together.
    private static readonly int[] s_atOnce = [0, 1, 4, 16];

    public static int Run(string[] args)
    {
        var options = new Dictionary<string, int>
        {
            ["--servers"] = 100, ["--prefixes"] = 10, ["--copy"] = 100, ["--rate"] = 1000, ["--only"] = -1,
        };
        for (int i = 0; i < args.Length; i++)
        {
            if (Words.TakeNumber(options, args, ref i, least: 0)) continue;
            Console.Error.WriteLine($"""
                usage: bench datacentre [--servers N] [--prefixes N] [--copy MS] [--rate PPS] [--only N]
                  --servers N   stand-in servers, 1 to 100 ({options["--servers"]})
                  --prefixes N  prefixes of each, 2 to 18: its two addresses, and routed ones behind it ({options["--prefixes"]})
                  --copy MS     how long the last copy of a server's state takes ({options["--copy"]})
                  --rate PPS    datagrams a second to all prefixes together, each of which is answered ({options["--rate"]})
                  --only N      one by one, N at once, there and back; 0: together. Else: {string.Join(", ", s_atOnce.Select(NameOf))}
                """);
            return 2;
        }

        return RunAsync(options).GetAwaiter().GetResult();
    }

    private static async Task<int> RunAsync(Dictionary<string, int> options)
    {
        int servers = options["--servers"], prefixes = options["--prefixes"], copyMs = options["--copy"];
        Console.WriteLine($"{servers} stand-in servers, {servers * prefixes} prefixes; {options["--rate"]} datagrams a second and their "
            + $"echoes; {copyMs} ms of copying; RTT between PEs 40 ms, to the manager 20 ms");
        await using MoveRig rig = await MoveRig.StartAsync(LabFiles.Figure1, servers, [Daemon.Executable()], prefixes - 2);
        using EchoTraffic traffic = await rig.TrafficAsync(GroupLab.Group, options["--rate"] / (double)(servers * prefixes));
        Console.WriteLine($"  {"how",-16}{"to",-7}{"ended",-11}{"plan ms",9}{"whole s",9}{"blackout ms: least",20}{"median",9}{"most",9}"
            + $"{"gap ms: median",16}{"most",8}{"sent",9}{"lost",6}{"twice",7}{"reordered",11}{"at once",9}  verdict");
        bool clean = true;
        int only = options["--only"];
        foreach (int atOnce in only >= 0 ? [only, only] : s_atOnce)
        {
            MoveResult m = await rig.MoveAsync(GroupLab.Group, traffic, copyMs, atOnce == 0 ? null : atOnce);
            clean &= m.Wrong.Count == 0;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"  {NameOf(atOnce),-16}{m.To,-7}{m.State,-11}{m.PlanMs,9:F0}{m.TotalMs / 1000,9:F1}{m.BlackoutsMs[0],20:F0}"
                + $"{Median(m.BlackoutsMs),9:F0}{m.BlackoutMs,9:F0}{Median(m.GapsMs),16:F0}{m.Echo.LongestGapMs,8:F0}{m.Echo.Sent,9}"
                + $"{m.Echo.Lost,6}{m.Echo.Duplicated,7}{m.Echo.Reordered,11}{m.MostAtOnce,9}  ")
                + (m.Wrong.Count == 0 ? "clean" : string.Join("; ", m.Wrong.Take(5))));
        }

        Console.WriteLine(clean ? "all moves clean" : "NOT all is well");
        return clean ? 0 : 1;
    }

    private static string NameOf(int atOnce) => atOnce == 0 ? "together" : $"one by one, {atOnce}";

    private static double Median(IReadOnlyList<double> sorted) => sorted[sorted.Count / 2];
}
