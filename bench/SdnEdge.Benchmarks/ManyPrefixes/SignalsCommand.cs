using System.Diagnostics;
using SdnEdge.Benchmarks.Ingress;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;

namespace SdnEdge.Benchmarks.ManyPrefixes;

/// <summary>
/// What the signals of very many prefixes cost the others. Two PEs and an ingress, each a process, with BGP between them: the prefixes are
/// moved to PE_b and back, signal by signal, while each PE's API is asked every few milliseconds. In the way back all are advertised,
/// withdrawn and put out of use as in any later move.
/// </summary>
internal static class SignalsCommand
{
    private const string Usage = "usage: bench signals [--prefixes N] [--moves N] [--every MS] [--program FILE]   (default 100000, 2, 3; "
        + "FILE: another build of sdnedge)";

    // A step's consequences by BGP are not over with its answer.
    private static readonly TimeSpan After = TimeSpan.FromSeconds(1);

    public static int Run(string[] args)
    {
        var numbers = new Dictionary<string, int> { ["--prefixes"] = 100_000, ["--moves"] = 2, ["--every"] = 3 };
        string? program = null;
        for (int i = 0; i < args.Length; i++)
        {
            if (args[i] == "--program" && i + 1 < args.Length) program = args[++i];
            else if (!Words.TakeNumber(numbers, args, ref i))
            {
                Console.Error.WriteLine(Usage);
                return 2;
            }
        }

        program ??= IngressCommand.Program();
        if (program is null)
        {
            Console.Error.WriteLine("bench signals: artifacts/bin/sdnedge is missing; run it as './build.sh bench signals'");
            return 2;
        }

        if (numbers["--prefixes"] > 1 << 22)
        {
            Console.Error.WriteLine("bench signals: the prefixes are hosts of 100.64.0.0/10, of which there are 4194304");
            return 2;
        }

        string[] self = program.EndsWith(".dll", StringComparison.Ordinal) ? ["dotnet", program] : [program];
        return RunAsync(self, numbers["--prefixes"], numbers["--moves"], numbers["--every"]).GetAwaiter().GetResult();
    }

    private static async Task<int> RunAsync(string[] self, int prefixes, int moves, int everyMs)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("sdnedge-bench-");
        RunningLab? lab = null;
        try
        {
            lab = await LabRunner.DeployAsync(ManyIngresses.Write(folder.FullName, "signals", 1),
                new LabOptions { RttMs = 10, Self = self, ReadyTimeout = TimeSpan.FromMinutes(5) }, CancellationToken.None);
            return await MoveAsync(lab, prefixes, moves, everyMs) ? 0 : 1;
        }
        finally
        {
            if (lab is not null) await lab.DestroyAsync();
            folder.Delete(recursive: true);
        }
    }

    private static async Task<bool> MoveAsync(RunningLab lab, int count, int moves, int everyMs)
    {
        string[] names = ["pe-a", "pe-b", "pe3"];
        using PeClient a = Client("pe-a"), b = Client("pe-b");
        PeAsker[] askers = [.. names.Select(n => new PeAsker(Client(n), everyMs))];
        MovingPrefix[] prefixes = [.. Enumerable.Range(0, count).Select(i =>
            new MovingPrefix($"100.{64 + (i >> 16)}.{(i >> 8) & 255}.{i & 255}/32", "dc"))];
        var order = new OrderOptions([new OrderedIngress("pe3", ["10.255.0.3"])]);
        Console.WriteLine($"{count} prefixes; each API is asked {everyMs} ms after its last answer, until {After.TotalSeconds} s after "
            + "the signal's\n");
        Console.WriteLine($"{"move",4} {"signal",-9} {"at",-5} {"answered ms",11}   its API ms: {"p50",6} {"p99",7} {"max",7}   "
            + $"the others' max");
        try
        {
            for (int move = 1; move <= moves; move++)
            {
                (PeClient source, PeClient target) = move % 2 == 1 ? (a, b) : (b, a);
                (int from, int to) = move % 2 == 1 ? (0, 1) : (1, 0);
                string id = $"m{move}";
                SignalRequest prepare(MigrationRole role, int peer) => new(move, role, "default", prefixes, $"10.255.0.{peer + 1}",
                    (uint)(100 + move), Order: order);
                await StepAsync(move, "prepare", from, async () =>
                {
                    Task<SignalReply> one = target.SignalAsync(id, SignalKind.Prepare, prepare(MigrationRole.Target, from));
                    await source.SignalAsync(id, SignalKind.Prepare, prepare(MigrationRole.Source, to));
                    await one;
                });
                Task signal(SignalKind kind, PeClient pe, int at) => StepAsync(move, kind.ToString().ToLowerInvariant(), at,
                    () => pe.SignalAsync(id, kind, new SignalRequest(move, WaitMs: 10_000)));
                await signal(SignalKind.Switch, source, from);
                await signal(SignalKind.Release, target, to);
                await signal(SignalKind.Advertise, target, to);
                await signal(SignalKind.Withdraw, source, from);
                await signal(SignalKind.Teardown, source, from);
                await signal(SignalKind.Teardown, target, to);
            }

            bool sound = true;
            foreach (string name in names)
            {
                using PeClient pe = Client(name);
                foreach (BgpPeerInfo peer in await pe.BgpPeersAsync())
                {
                    if (peer.State == "established") continue;
                    sound = false;
                    Console.WriteLine($"{name}: session with {peer.Address} is {peer.State}");
                }
            }

            return sound;
        }
        finally
        {
            foreach (PeAsker asker in askers) asker.Dispose();
        }

        PeClient Client(string name) => new(new ApiEndpoint(name, lab.ApiSocket(name))) { RequestTimeout = TimeSpan.FromMinutes(3) };

        async Task StepAsync(int move, string what, int at, Func<Task> step)
        {
            foreach (PeAsker asker in askers) asker.Begin();
            long begin = Stopwatch.GetTimestamp();
            await step();
            double ms = Stopwatch.GetElapsedTime(begin).TotalMilliseconds;
            await Task.Delay(After);
            double[][] took = [.. askers.Select(asker => asker.End())];
            string others = string.Join(", ", names.Select((n, i) => (n, i)).Where(x => x.i != at).Select(x => $"{x.n} {took[x.i][^1]:0}"));
            double[] its = took[at];
            Console.WriteLine($"{move,4} {what,-9} {names[at],-5} {ms,11:0.0}               {its[its.Length / 2],6:0.0} "
                + $"{its[its.Length * 99 / 100],7:0.0} {its[^1],7:0.0}   {others}");
        }
    }
}
