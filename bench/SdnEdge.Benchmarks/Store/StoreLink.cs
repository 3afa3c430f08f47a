using System.Globalization;
using SdnEdge.Core.Replication;

namespace SdnEdge.Benchmarks.Store;

/// <summary>
/// <c>bench store link</c>: 4 KiB random writes to a volume whose replica is at the end of a link of 5, 20 and 40 ms round trip (a relay
/// in user space), in sync and semantic mode. What a mode could be: QD / (round trip + l), where l is within what nbdkit answers half of
/// the same writes at the same depth, measured in the same run by the same client. A flush every 32nd: sync 32 / (33 round trips), semantic
/// 32 / (one round trip), each with its l.
/// </summary>
internal static class StoreLink
{
    private static readonly (ReplicationMode Mode, int Depth, int FlushEvery)[] s_cases =
    [
        (ReplicationMode.Async, 1, 0), (ReplicationMode.Async, 16, 0), (ReplicationMode.Sync, 1, 0), (ReplicationMode.Sync, 16, 0),
        (ReplicationMode.Sync, 1, 32), (ReplicationMode.Semantic, 1, 32),
    ];

    public static async Task MeasureAsync(StoreOptions options, string root)
    {
        double[] trips = options.Quick ? [5, 20] : [5, 20, 40];
        if (options.Pattern is { } only) trips = [trips[only - 1]];
        using NbdServed nbdkit = await NbdServed.StartAsync(NbdServed.Peer, root, options.Mib);
        using StorePair pair = await StorePair.StartAsync(root, options.Mib);
        Console.WriteLine($"{options.Seconds} s each, {options.Repetitions} repetitions, {options.Mib} MiB in {options.Folder}; "
            + "median (lowest "
            + $"to highest); CPU of both stores; {Figures.Load()}\n\n{"RTT ms",-8}{"mode",-10}{"QD",4}{"flush",7}{"writes a second",26}"
            + $"{"of what it could be",26}{"50 %, ms",10}{"99 %, ms",10}{"flush ms",10}{"link/written",14}{"CPU us a write",22}");
        foreach (double trip in trips)
        {
            await pair.LinkAsync(trip);
            var results = new Dictionary<(ReplicationMode, int, int), List<Result>>();
            for (int repetition = 0; repetition < options.Repetitions; repetition++)
            {
                foreach (var (mode, depth, flushEvery) in s_cases)
                {
                    await pair.ModeAsync(mode);
                    if (!results.TryGetValue((mode, depth, flushEvery), out List<Result>? list))
                        results[(mode, depth, flushEvery)] = list = [];
                    list.Add(await OnceAsync(pair, nbdkit, trip, mode, depth, flushEvery, options));
                }
            }

            foreach (var (mode, depth, flushEvery) in s_cases)
            {
                List<Result> list = results[(mode, depth, flushEvery)];
                string flush = flushEvery == 0 ? "-"
                    : Figures.Median(list.Select(r => r.FlushMs)).ToString("F1", CultureInfo.InvariantCulture);
                string cpu = string.Create(CultureInfo.InvariantCulture,
                    $"{Figures.Median(list.Select(r => r.OwnerCpu)):F0} + {Figures.Median(list.Select(r => r.ReplicaCpu)):F0}");
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"{trip,-8}{mode,-10}{depth,4}{(flushEvery == 0 ? "-" : flushEvery),7}"
                    + $"{Figures.Spread([.. list.Select(r => r.PerSecond)]),26}{Figures.Spread([.. list.Select(r => r.Ratio)], "F2"),26}"
                    + $"{Figures.Median(list.Select(r => r.HalfMs)),10:F2}{Figures.Median(list.Select(r => r.SlowMs)),10:F2}{flush,10}"
                    + $"{Figures.Median(list.Select(r => r.Carried)),14:F3}{cpu,22}"));
            }

            double gain = Figures.Median(results[(ReplicationMode.Semantic, 1, 32)].Zip(results[(ReplicationMode.Sync, 1, 32)],
                (semantic, sync) => semantic.PerSecond / sync.PerSecond));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{trip,-8}semantic over sync at a flush every 32: {gain:F1}"));
        }

        Console.WriteLine($"\n{Figures.Load()}");
    }

    private static async Task<Result> OnceAsync(StorePair pair, NbdServed nbdkit, double trip, ReplicationMode mode, int depth,
        int flushEvery, StoreOptions options)
    {
        // 1. What the machine gives now: the same writes, to nbdkit.
        long size = (long)options.Mib << 20;
        List<Answered> local;
        using (var load = NbdLoad.Connect(nbdkit.Socket, "", size)) local = Run(load, depth, flushEvery, Math.Min(options.Seconds, 2));
        double l = Figures.Median(local.Where(a => !a.IsFlush).Select(a => a.Ms));
        double f = flushEvery == 0 ? 0 : Figures.Median(local.Where(a => a.IsFlush).Select(a => a.Ms));

        // 2. The volume.
        long before = (await pair.CarriedAsync()).Bytes;
        (double ownerCpu, double replicaCpu) = pair.CpuSeconds();
        List<Answered> answered;
        using (var load = NbdLoad.Connect(pair.Socket, StorePair.Volume, size))
        {
            answered = Run(load, depth, flushEvery, options.Seconds);
            if (load.Errors > 0)
                throw new InvalidOperationException($"{mode} at {trip} ms: {load.Errors} requests were answered by errors");
        }

        await pair.InStepAsync();
        (double ownerAfter, double replicaAfter) = pair.CpuSeconds();
        double[] writes = [.. answered.Where(a => !a.IsFlush).Select(a => a.Ms).Order()];
        double perSecond = writes.Length / options.Seconds, couldBe = (mode, flushEvery) switch
        {
            (ReplicationMode.Sync, 0) => depth / (trip + l),
            (ReplicationMode.Sync, _) => flushEvery / ((flushEvery * (trip + l)) + trip + f),
            (ReplicationMode.Semantic, > 0) => flushEvery / ((flushEvery * l) + trip + f),
            _ => Count(local) / (double)Math.Min(options.Seconds, 2) / 1000,
        } * 1000;
        double carried = ((await pair.CarriedAsync()).Bytes - before) / (writes.Length * 4096.0);
        return new Result(perSecond, perSecond / couldBe, writes[writes.Length / 2], writes[writes.Length * 99 / 100],
            flushEvery == 0 ? 0 : Figures.Median(answered.Where(a => a.IsFlush).Select(a => a.Ms)), carried,
            (ownerAfter - ownerCpu) * 1e6 / writes.Length, (replicaAfter - replicaCpu) * 1e6 / writes.Length);
    }

    private static int Count(List<Answered> answered) => answered.Count(a => !a.IsFlush);

    private static List<Answered> Run(NbdLoad load, int depth, int flushEvery, int seconds)
    {
        using var end = new CancellationTokenSource(TimeSpan.FromSeconds(seconds));
        return load.Run(depth, flushEvery, 0, end.Token);
    }

    private sealed record Result(double PerSecond, double Ratio, double HalfMs, double SlowMs, double FlushMs, double Carried,
        double OwnerCpu, double ReplicaCpu);
}
