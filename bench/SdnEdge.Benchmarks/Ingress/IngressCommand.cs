using System.Diagnostics;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;

namespace SdnEdge.Benchmarks.Ingress;

/// <summary>
/// Many ingress PEs, each a process in a namespace of its own, behind an emulated core with a delay: a server is moved to and
/// fro, and each move says when each ingress had the direct path in its FIB (its flush marker carries that time; all run by one
/// clock here), and when the tunnel was gone. No traffic but that of the protocols: what many PEs cost is to be seen.
/// </summary>
internal static class IngressCommand
{
    public static int Run(string[] args)
    {
        int count = 64, moves = 6;
        double rtt = 40;
        for (int i = 0; i < args.Length; i++)
        {
            if (args[i] == "--count" && i + 1 < args.Length && int.TryParse(args[i + 1], out int c)
                && c is >= 1 and <= ManyIngresses.Most) (count, i) = (c, i + 1);
            else if (args[i] == "--moves" && i + 1 < args.Length && int.TryParse(args[i + 1], out int m) && m is >= 1 and <= 1000) (moves,
                i) = (m, i + 1);
            else if (args[i] == "--rtt" && i + 1 < args.Length && double.TryParse(args[i + 1], out double r) && r is >= 0 and <= 1000) (rtt,
                i) = (r, i + 1);
            else
            {
                Console.Error.WriteLine($"usage: bench ingress [--count N] [--moves N] [--rtt MS]   (1 to {ManyIngresses.Most} ingress "
                    + $"PEs, default 64; 6 moves; 40 ms)");
                return 2;
            }
        }

        return RunAsync(count, moves, rtt).GetAwaiter().GetResult();
    }

    private static async Task<int> RunAsync(int count, int moves, double rtt)
    {
        string? self = Program();
        if (self is null)
        {
            Console.Error.WriteLine("bench ingress: artifacts/sdnedge is missing; run it as './build.sh bench ingress'");
            return 2;
        }

        DirectoryInfo folder = Directory.CreateTempSubdirectory("sdnedge-bench-");
        RunningLab? lab = null;
        try
        {
            long begin = Stopwatch.GetTimestamp();
            lab = await LabRunner.DeployAsync(ManyIngresses.Write(folder.FullName, "many", count),
                new LabOptions { RttMs = rtt, Self = [self], ReadyTimeout = TimeSpan.FromMinutes(5) }, CancellationToken.None);
            Console.WriteLine($"{count} ingress PEs and both ends deployed in {Stopwatch.GetElapsedTime(begin).TotalSeconds:0.0} s; "
                + $"one-way delay {rtt / 2} ms\n");
            return await MoveAsync(lab, moves, rtt) ? 0 : 1;
        }
        finally
        {
            if (lab is not null) await lab.DestroyAsync();
            folder.Delete(recursive: true);
        }
    }

    private static async Task<bool> MoveAsync(RunningLab lab, int moves, double rtt)
    {
        bool sound = true;
        Console.WriteLine($"{"move",4}  {"outcome",-9} {"proof",-8} {"by marker",9}  {"moved after advertise, ms: min",30} {"p50",6} "
            + $"{"p99",6} {"max",6}  {"torn down after the last, ms",28}");
        using var mms = new MmsClient(new ApiEndpoint("mms", lab.MmsSocket!)) { RequestTimeout = TimeSpan.FromMinutes(2) };
        string[] sites = ["dc-b", "dc-a"];
        for (int move = 1; move <= moves; move++)
        {
            string id = (await mms.StartAsync(new MigrationCall("vs", sites[(move - 1) % 2], CopyMs: 50))).Id;
            MigrationStatus now;
            while (!(now = await mms.MigrationAsync(id)).Ended) await Task.Delay(100);
            sound &= Print(move, now, lab.Ingresses.Count);
        }

        Console.WriteLine($"\nbound: one-way delay + 20 ms = {(rtt / 2) + 20} ms; torn down: round trip + 100 ms = {rtt + 100} ms");
        return sound;
    }

    private static bool Print(int move, MigrationStatus result, int ingresses)
    {
        MoveStatus only = result.Moves[0];
        PathStatus path = only.Paths[0];
        SignalTime? at(SignalKind kind) => only.Signals.FirstOrDefault(s => s.Pe == path.TargetPe && s.Reply.Signal == kind);
        long advertised = at(SignalKind.Advertise)?.SentNs ?? 0, gone = at(SignalKind.Teardown)?.Reply.AcknowledgedAtNs ?? 0;
        long[] moved = [.. (path.Target?.Order?.Gates ?? []).Where(g
            => path.Ingress.Contains(g.Ingress) && g.MovedAtNs is not null).Select(g => g.MovedAtNs!.Value - advertised).Order()];
        string ms(double share) => moved.Length == 0 ? "-" : $"{moved[(int)Math.Min(moved.Length * share, moved.Length - 1)] / 1e6:0.0}";
        Console.WriteLine($"{move,4}  {result.State,-9} {path.Proof,-8} "
            + $"{$"{path.ProvedByMarker.Count(path.Ingress.Contains)}/{ingresses}",9}  {ms(0),30} {ms(0.5),6} {ms(0.99),6} {ms(1),6}  "
            + $"{(moved.Length == 0 || gone == 0 ? "-" : $"{(gone - advertised - moved[^1]) / 1e6:0.0}"),28}");
        if (result.Failure is { } failure) Console.WriteLine($"      {failure}");
        return result.State == "moved" && path.Proof == TeardownProof.Markers;
    }

    /// <summary>The program as published; null: it is not there.</summary>
    public static string? Program()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string file = Path.Combine(folder.FullName, "artifacts", "bin", "sdnedge");
            if (File.Exists(file)) return file;
        }

        return null;
    }
}
