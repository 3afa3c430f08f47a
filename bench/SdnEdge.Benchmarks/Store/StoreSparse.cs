using System.Diagnostics;
using System.Globalization;
using SdnEdge.Benchmarks.Bgp;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Linux;
using SdnEdge.Testing;

namespace SdnEdge.Benchmarks.Store;

/// <summary>
/// <c>bench store sparse</c>: stores with one volume of 1 GiB, one of 10 TiB, and four of 10 TiB. Each is made, written to at random places
/// all over, stopped, opened again, written to, killed, and opened again with what its log has. Shown are the times from the start of the
/// process until all volumes are served, and the most memory of the process.
/// </summary>
internal static class StoreSparse
{
    private const long Gibibyte = 1L << 30;

    public static async Task MeasureAsync(StoreOptions options, string root)
    {
        Console.WriteLine($"{options.Seconds} s of random writes in between, {options.Repetitions} repetitions, in "
            + $"{options.Folder}; median "
            + $"(lowest to highest); {Figures.Load()}\n\n{"volumes",-14}{"made, ms",24}{"opened, ms",24}{"after a kill, ms",24}"
            + $"{"written",12}{"most memory, MiB",20}{"on disk, MiB",14}");
        foreach ((int count, long gibibytes) in new[] { (1, 1L), (1, 10240L), (4, 10240L) })
        {
            List<Result> results = [];
            for (int i = 0; i < options.Repetitions; i++)
            {
                string folder = Path.Combine(root, $"{count}x{gibibytes}-{i}");
                Directory.CreateDirectory(folder);
                results.Add(await OnceAsync(folder, count, gibibytes, options.Seconds));
                Directory.Delete(folder, recursive: true);
            }

            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{$"{count} x {(gibibytes < 1024 ? $"{gibibytes} GiB" : $"{gibibytes / 1024} TiB")}",-14}"
                + $"{Figures.Spread([.. results.Select(r => r.MadeMs)]),24}{Figures.Spread([.. results.Select(r => r.OpenedMs)]),24}"
                + $"{Figures.Spread([.. results.Select(r => r.AfterKillMs)]),24}{Figures.Median(results.Select(r => r.Written)),12:F0}"
                + $"{Figures.Spread([.. results.Select(r => r.MemoryMib)]),20}{Figures.Median(results.Select(r => r.DiskMib)),14:F0}"));
        }
    }

    private static async Task<Result> OnceAsync(string folder, int count, long gibibytes, int seconds)
    {
        string config = Path.Combine(folder, "store.yaml");
        await File.WriteAllTextAsync(config, $$"""
            name: bench
            site: dc
            api: { unix: {{folder}}/api.sock }
            state: { folder: {{folder}}/state }
            nbd: { unix: {{folder}}/nbd.sock }
            volumes:
            {{string.Concat(Enumerable.Range(0, count).Select(i => $"  - {{ name: v{i}, size: {gibibytes}GiB }}\n"))}}
            """);
        long written = 0;
        double memory = 0;
        double made = await RunAsync(kill: false), opened = await RunAsync(kill: true), afterKill = await RunAsync(kill: false);
        long disk = long.Parse(Programs.Output("du", "-s", "--block-size=1", folder).Split('\t')[0], CultureInfo.InvariantCulture);
        return new Result(made, opened, afterKill, written, memory, disk / (double)(1 << 20));

        async Task<double> RunAsync(bool kill)
        {
            long begin = Stopwatch.GetTimestamp();
            Process process = Programs.Start(Daemon.Executable(), ["store", "--config", config]);
            try
            {
                // Its first line says that everything is served.
                string? line = await process.StandardOutput.ReadLineAsync();
                double ms = Stopwatch.GetElapsedTime(begin).TotalMilliseconds;
                if (line?.Contains("ready", StringComparison.Ordinal) != true)
                    throw new InvalidOperationException($"the store says {line}, {await process.StandardError.ReadToEndAsync()}");
                using var client = new StoreClient(new ApiEndpoint("bench", Path.Combine(folder, "api.sock")));
                await Patience.UntilAsync(async () => (await client.NodeAsync()).Ready, () => "the store is not ready");
                ms = Math.Max(ms, Stopwatch.GetElapsedTime(begin).TotalMilliseconds);
                foreach (int i in Enumerable.Range(0, count))
                {
                    using var load = NbdLoad.Connect(Path.Combine(folder, "nbd.sock"), $"v{i}", gibibytes * Gibibyte);
                    using var end = new CancellationTokenSource(TimeSpan.FromSeconds(seconds / (double)count));
                    written += load.Run(16, 1000, 0, end.Token).Count(a => !a.IsFlush);
                    if (load.Errors > 0) throw new InvalidOperationException($"{load.Errors} writes failed");
                }

                memory = Math.Max(memory, Daemon.PeakMegabytes(process) * 1e6 / (1 << 20));
                Signals.Send(process.Id, kill ? ProcessSignal.Kill : ProcessSignal.Terminate);
                await process.WaitForExitAsync();
                return ms;
            }
            finally
            {
                Programs.End(process);
            }
        }
    }

    private sealed record Result(double MadeMs, double OpenedMs, double AfterKillMs, double Written, double MemoryMib, double DiskMib);
}
