using System.Globalization;
using System.Text.Json;

namespace SdnEdge.Benchmarks.Store;

/// <summary>
/// <c>bench store plain</c>: fio's NBD client against one server after the other, by unix sockets, an image of 1 GiB each, full of random
/// bytes: <c>sdnedge store serve</c> (the image as it is), a volume of <c>sdnedge store</c> (with its log) and <c>nbdkit file</c>. A
/// repetition has every pattern at every server, and begins with another server than the one before. Between two measurements the volume's
/// log is applied, so that its backlog disturbs nobody; that work counts as the volume's. Everything that is read is in the page cache.
/// </summary>
internal static class StoreCommand
{
    private static readonly Pattern[] s_patterns =
    [
        new("4 KiB random write, 1 at a time", "randwrite", "4k", 1, 0), new("4 KiB random write, 16 at a time", "randwrite", "4k", 16, 0),
        new("4 KiB random write, 1 at a time, each flushed", "randwrite", "4k", 1, 1),
        new("4 KiB random write, 16 at a time, every 32nd flushed", "randwrite", "4k", 16, 32),
        new("64 KiB write in sequence, 4 at a time", "write", "64k", 4, 0), new("4 KiB random read, 16 at a time", "randread", "4k", 16, 0),
    ];

    public static int Run(string[] args)
    {
        if (args.Length > 0 && StoreFaultsCommand.Names.Contains(args[0])) return StoreFaultsCommand.Run(args);
        var options = new Dictionary<string, int> { ["--seconds"] = 5, ["--repetitions"] = 5, ["--mib"] = 1024 };
        string folder = "/var/tmp";
        bool good = args is ["plain", ..];
        for (int i = 1; good && i < args.Length; i += 2)
        {
            if (i + 1 < args.Length && args[i] == "--folder")
            {
                folder = args[i + 1];
                good = Directory.Exists(folder);
            }
            else
            {
                int n = 0;
                good = i + 1 < args.Length && options.ContainsKey(args[i])
                    && int.TryParse(args[i + 1], NumberStyles.None, CultureInfo.InvariantCulture, out n) && n > 0;
                if (good) options[args[i]] = n;
            }
        }

        if (!good)
        {
            Console.Error.WriteLine("usage: bench store plain [--seconds 5] [--repetitions 5] [--mib 1024] [--folder /var/tmp]");
            Console.Error.WriteLine("  seconds of a measurement, its repetitions, size of an image, and where images and log are: on the "
                + "disk that is meant");
            Console.Error.WriteLine(StoreFaultsCommand.Usage);
            return 2;
        }

        MeasureAsync(options["--seconds"], options["--repetitions"], options["--mib"], folder).GetAwaiter().GetResult();
        return 0;
    }

    private static async Task MeasureAsync(int seconds, int repetitions, int mib, string folder)
    {
        string root = Path.Combine(folder, $"sdnedge-bench-store-{Environment.ProcessId}");
        Directory.CreateDirectory(root);
        List<NbdServed> servers = [];
        try
        {
            foreach (string kind in NbdServed.Kinds) servers.Add(await NbdServed.StartAsync(kind, root, mib));
            var results = new Dictionary<(Pattern, NbdServed), List<Result>>();
            Console.WriteLine($"{seconds} s each, {repetitions} repetitions, images of {mib} MiB in {folder}; median (lowest to highest); "
                + $"ratio to {servers[^1].Kind}");
            for (int repetition = 0; repetition < repetitions; repetition++)
            {
                foreach (Pattern pattern in s_patterns)
                {
                    for (int i = 0; i < servers.Count; i++)
                    {
                        NbdServed server = servers[(i + repetition) % servers.Count];
                        if (!results.TryGetValue((pattern, server), out List<Result>? list)) results[(pattern, server)] = list = [];
                        list.Add(await OnceAsync(server, pattern, seconds, mib, repetition, root));
                    }
                }
            }

            foreach (Pattern pattern in s_patterns)
            {
                Console.WriteLine($"\n{pattern.What}\n  {"",-14}{"I/O a second",32}{"ratio",8}{"99 % within ms",16}{"CPU us an I/O",15}");
                double peer = Median(results[(pattern, servers[^1])].Select(r => r.PerSecond));
                foreach (NbdServed server in servers)
                {
                    List<Result> list = results[(pattern, server)];
                    double middle = Median(list.Select(r => r.PerSecond));
                    string spread = string.Create(CultureInfo.InvariantCulture,
                        $"{middle:F0} ({list.Min(r => r.PerSecond):F0} to {list.Max(r => r.PerSecond):F0})");
                    Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                        $"  {server.Kind,-14}{spread,32}{middle / peer,8:F2}{Median(list.Select(r => r.SlowMs)),16:F2}"
                        + $"{Median(list.Select(r => r.CpuMicroseconds)),15:F1}"));
                }
            }
        }
        finally
        {
            foreach (NbdServed server in servers) server.Dispose();
            Directory.Delete(root, recursive: true);
        }
    }

    private static async Task<Result> OnceAsync(NbdServed server, Pattern pattern, int seconds, int mib, int seed, string root)
    {
        string output = Path.Combine(root, "fio.json");
        double before = server.CpuSeconds();
        List<string> words =
        [
            "--name=plain", "--ioengine=nbd", $"--uri={server.Uri}", $"--rw={pattern.Direction}", $"--bs={pattern.Block}",
            $"--iodepth={pattern.Depth}", $"--size={mib}m", "--time_based", $"--runtime={seconds}", $"--randseed={seed + 1}",
            "--output-format=json", $"--output={output}",
        ];
        if (pattern.FlushEvery > 0) words.Add($"--fsync={pattern.FlushEvery}");
        await NbdServed.ToolAsync("fio", words);
        await server.QuietAsync();
        double cpu = server.CpuSeconds() - before;
        using JsonDocument document = JsonDocument.Parse(await File.ReadAllBytesAsync(output));
        JsonElement job = document.RootElement.GetProperty("jobs")[0];
        int error = job.GetProperty("error").GetInt32();
        if (error != 0) throw new InvalidOperationException($"fio at {server.Kind}: error {error}");
        JsonElement way = job.GetProperty(pattern.Direction == "randread" ? "read" : "write");
        long count = way.GetProperty("total_ios").GetInt64();
        if (count == 0) throw new InvalidOperationException($"fio at {server.Kind}: no I/O in {seconds} s of {pattern.What}");
        double slow = way.GetProperty("clat_ns").GetProperty("percentile").GetProperty("99.000000").GetDouble() / 1e6;
        return new Result(way.GetProperty("iops").GetDouble(), slow, cpu * 1e6 / count);
    }

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length % 2 == 1 ? sorted[sorted.Length / 2] : (sorted[(sorted.Length / 2) - 1] + sorted[sorted.Length / 2]) / 2;
    }

    private sealed record Pattern(string What, string Direction, string Block, int Depth, int FlushEvery);

    private sealed record Result(double PerSecond, double SlowMs, double CpuMicroseconds);
}
