using System.Globalization;
using SdnEdge.Benchmarks.Bgp;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Tests;
using SdnEdge.Lab.Tests.Moves;

namespace SdnEdge.Benchmarks.Moves;

/// <summary>
/// Moves back and forth in the Figure 1 lab, with real processes and under traffic: of group <c>vs</c>, then of a group of several servers.
/// Each move must be clean, and what PEs, hosts and manager keep in memory must not grow with the number of moves.
/// </summary>
internal static class MovesCommand
{
    private const int CopyMs = 100, PerSecond = 50;

    public static int Run(string[] args)
    {
        var options = new Dictionary<string, int>
        {
            ["--moves"] = 20, ["--servers"] = 10, ["--warm"] = 4, ["--bound"] = 6144,
        };
        for (int i = 0; i < args.Length; i++)
        {
            if (Words.TakeNumber(options, args, ref i, least: 0)) continue;
            Console.Error.WriteLine($"""
                usage: bench moves [--moves N] [--servers N] [--warm N] [--bound KB]
                  --moves N    so many moves of each group ({options["--moves"]})
                  --servers N  servers of the second group, 1 to 100 ({options["--servers"]})
                  --warm N     memory is compared from after this move on ({options["--warm"]})
                  --bound KB   most that a process's memory (Pss) may grow from then to the last move ({options["--bound"]})
                """);
            return 2;
        }

        return RunAsync(options["--moves"], options["--servers"], options["--warm"], options["--bound"]).GetAwaiter().GetResult();
    }

    private static async Task<int> RunAsync(int moves, int servers, int warm, int boundKb)
    {
        await using MoveRig rig = await MoveRig.StartAsync(LabFiles.Figure1, servers, [Daemon.Executable()]);
        bool clean = true;
        foreach ((string group, int count) in ((string, int)[])[("vs", 1), (GroupLab.Group, servers)])
            clean &= await SeriesAsync(rig, group, count, moves, Math.Min(warm, moves), boundKb);
        Console.WriteLine(clean ? "all moves clean, memory flat" : "NOT all is well");
        return clean ? 0 : 1;
    }

    private static async Task<bool> SeriesAsync(MoveRig rig, string group, int servers, int moves, int warm, int boundKb)
    {
        Console.WriteLine($"{moves} moves of group {group} ({servers} server{(servers == 1 ? "" : "s")}, {2 * servers} prefixes), "
            + $"{PerSecond * 2 * servers} datagrams a second and their echoes, {CopyMs} ms of copying, "
            + "RTT between PEs 40 ms, to the manager 20 ms");
        Console.WriteLine($"  {"move",-7}{"to",-7}{"ended",-11}{"blackout ms",12}{"network ms",12}{"total ms",10}{"sent",8}{"lost",6}"
            + $"{"twice",7}{"reordered",11}{"longest gap ms",16}  verdict");
        using EchoTraffic traffic = await rig.TrafficAsync(group, PerSecond);
        IReadOnlyList<ProcessMemory> before = await ProcessMemory.ReadAsync(rig.Lab, rig.Daemons);
        int clean = 0;
        var results = new List<MoveResult>();
        for (int i = 1; i <= moves; i++)
        {
            MoveResult m = await rig.MoveAsync(group, traffic, CopyMs);
            results.Add(m);
            if (m.Wrong.Count == 0) clean++;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"  {m.Id,-7}{m.To,-7}{m.State,-11}{m.BlackoutMs,12:F1}{m.NetworkMs,12:F1}{m.TotalMs,10:F1}{m.Echo.Sent,8}{m.Echo.Lost,6}"
                + $"{m.Echo.Duplicated,7}{m.Echo.Reordered,11}{m.Echo.LongestGapMs,16:F1}  ")
                + (m.Wrong.Count == 0 ? "clean" : string.Join("; ", m.Wrong)));
            if (i == warm) before = await ProcessMemory.ReadAsync(rig.Lab, rig.Daemons);
        }

        bool flat = ProcessMemory.Compare(before, await ProcessMemory.ReadAsync(rig.Lab, rig.Daemons), warm, moves, boundKb);
        string dark = Median(results, m => m.BlackoutMs).ToString("F1", CultureInfo.InvariantCulture);
        string network = Median(results, m => m.NetworkMs).ToString("F1", CultureInfo.InvariantCulture);
        Console.WriteLine($"{clean} of {moves} clean; blackout median {dark} ms, network steps median {network} ms; "
            + $"memory {(flat ? "flat" : "GROWS")}\n");
        return flat && clean == moves;
    }

    private static double Median(List<MoveResult> results, Func<MoveResult, double> value)
    {
        double[] sorted = [.. results.Select(value).Order()];
        return sorted[sorted.Length / 2];
    }
}
