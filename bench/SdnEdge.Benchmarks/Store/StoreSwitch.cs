using System.Diagnostics;
using System.Globalization;
using SdnEdge.Core.Replication;

namespace SdnEdge.Benchmarks.Store;

/// <summary>
/// <c>bench store switch</c>: a volume that is written all the while, by a client with a fixed rate of writes, is switched from async to
/// sync and back, again and again. Of each switch: what was answered by an error, the longest I/O that was open at any time from the order
/// until a round trip after its answer, and how long the order took.
/// </summary>
internal static class StoreSwitch
{
    private static readonly (double Trip, int Depth, int Rate)[] s_cases = [(5, 1, 150), (5, 16, 1500), (20, 16, 400), (40, 16, 250)];

    public static async Task MeasureAsync(StoreOptions options, string root)
    {
        int switches = options.Quick ? 10 : Math.Max(10, options.Seconds * options.Repetitions);
        using StorePair pair = await StorePair.StartAsync(root, options.Mib);
        Console.WriteLine($"{switches} switches each way, {options.Mib} MiB in {options.Folder}; {Figures.Load()}\n\n{"RTT ms",-8}{"QD",4}"
            + $"{"offered/s",11}{"way",16}{"errors",8}{"longest I/O ms: median, 99 %, most",38}{"goal ms",10}"
            + $"{"order ms: median, most",26}");
        foreach ((double trip, int depth, int rate) in options.Pattern is { } one ? [s_cases[one - 1]]
            : s_cases.Take(options.Quick ? 3 : s_cases.Length))
        {
            await pair.LinkAsync(trip);
            await pair.ModeAsync(ReplicationMode.Async);
            using var load = NbdLoad.Connect(pair.Socket, StorePair.Volume, (long)options.Mib << 20);
            using var end = new CancellationTokenSource();
            Task<List<Answered>> running = Task.Factory.StartNew(() => load.Run(depth, 0, rate, end.Token), CancellationToken.None,
                TaskCreationOptions.LongRunning, TaskScheduler.Default);
            var windows = new List<(ReplicationMode Mode, long From, long To, double Ms)>();
            for (int i = 0; i < 2 * switches; i++)
            {
                // Between two switches: time enough for what the one before has left.
                await Task.Delay(TimeSpan.FromMilliseconds(100 + (2 * trip)));
                ReplicationMode mode = i % 2 == 0 ? ReplicationMode.Sync : ReplicationMode.Async;
                long from = Stopwatch.GetTimestamp();
                await pair.ModeAsync(mode);
                double ms = Stopwatch.GetElapsedTime(from).TotalMilliseconds;
                windows.Add((mode, from, Stopwatch.GetTimestamp() + (long)(trip / 1000 * Stopwatch.Frequency), ms));
            }

            await Task.Delay(TimeSpan.FromMilliseconds(100 + (2 * trip)));
            await end.CancelAsync();
            List<Answered> answered = await running;
            foreach (ReplicationMode mode in new[] { ReplicationMode.Sync, ReplicationMode.Async })
            {
                double[] longest = [.. windows.Where(w => w.Mode == mode).Select(w => answered
                    .Where(a => a.At >= w.From && Begun(a) <= w.To)
                    .Select(a => a.Ms).DefaultIfEmpty().Max()).Order()];
                double[] orders = [.. windows.Where(w => w.Mode == mode).Select(w => w.Ms).Order()];
                string way = mode == ReplicationMode.Sync ? "async to sync" : "sync to async";
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"{trip,-8}{depth,4}{rate,11}{way,16}{load.Errors,8}"
                    + $"{$"{longest[longest.Length / 2]:F1}, {longest[longest.Length * 99 / 100]:F1}, {longest[^1]:F1}",38}"
                    + $"{(1.5 * trip) + 20,10:F0}{$"{orders[orders.Length / 2]:F1}, {orders[^1]:F1}",26}"));
            }
        }

        Console.WriteLine($"\n{Figures.Load()}");
    }

    private static long Begun(Answered a) => a.At - (long)(a.Ms / 1000 * Stopwatch.Frequency);
}
