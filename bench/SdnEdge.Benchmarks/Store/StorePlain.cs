using System.Globalization;

namespace SdnEdge.Benchmarks.Store;

/// <summary>
/// <c>bench store plain</c>: fio's NBD client against one server after the other, by unix sockets, an image of 1 GiB each, full of random
/// bytes: <c>sdnedge store serve</c> (the image as it is), a volume of <c>sdnedge store</c> (with its log), <c>qemu-nbd</c> and
/// <c>nbdkit file</c>. A repetition has every pattern at every server, and begins with another server than the one before. Between two
/// measurements the volume's log is applied, so that its backlog disturbs nobody; that work counts as the volume's. Everything that is read
/// is in the page cache.
/// </summary>
internal static class StorePlain
{
    private static readonly FioPattern[] s_patterns =
    [
        new("4 KiB random write, 1 at a time", "randwrite", "4k", 1), new("4 KiB random write, 16 at a time", "randwrite", "4k", 16),
        new("4 KiB random write, 1 at a time, each flushed", "randwrite", "4k", 1, 1),
        new("4 KiB random write, 1 at a time, every 32nd flushed", "randwrite", "4k", 1, 32),
        new("64 KiB write in sequence, 4 at a time", "write", "64k", 4), new("4 KiB random read, 16 at a time", "randread", "4k", 16),
        new("4 KiB 70 % random read, 30 % write, 8 at a time", "randrw", "4k", 8),
        new("4 KiB random write, 8 at a time", "randwrite", "4k", 8), new("4 KiB random read, 1 at a time", "randread", "4k", 1),
        new("4 KiB random read, 8 at a time", "randread", "4k", 8), new("64 KiB write in sequence, 1 at a time", "write", "64k", 1),
        new("64 KiB read in sequence, 1 at a time", "read", "64k", 1),
    ];

    public static async Task MeasureAsync(StoreOptions options, string root)
    {
        FioPattern[] patterns = options.Pattern is { } one ? [s_patterns[one - 1]] : s_patterns;
        List<NbdServed> servers = [];
        try
        {
            foreach (string kind in NbdServed.Kinds.Where(k => options.Only is null || k == options.Only || k == NbdServed.Peer))
                servers.Add(await NbdServed.StartAsync(kind, root, options.Mib));
            var results = new Dictionary<(FioPattern, NbdServed), List<FioResult>>();
            Console.WriteLine($"{options.Seconds} s each, {options.Repetitions} repetitions, images of {options.Mib} MiB in "
                + $"{options.Folder}; median (lowest to highest); ratio to {servers[^1].Kind}; {Figures.Load()}");
            for (int repetition = 0; repetition < options.Repetitions; repetition++)
            {
                foreach (FioPattern pattern in patterns)
                {
                    for (int i = 0; i < servers.Count; i++)
                    {
                        NbdServed server = servers[(i + repetition) % servers.Count];
                        if (!results.TryGetValue((pattern, server), out List<FioResult>? list)) results[(pattern, server)] = list = [];
                        list.Add(await Fio.RunAsync(server, pattern, options.Seconds, options.Mib, repetition, root));
                    }
                }
            }

            foreach (FioPattern pattern in patterns) Print(pattern, servers, server => results[(pattern, server)]);
            Console.WriteLine($"\n{Figures.Load()}");
        }
        finally
        {
            foreach (NbdServed server in servers) server.Dispose();
        }
    }

    private static void Print(FioPattern pattern, List<NbdServed> servers, Func<NbdServed, List<FioResult>> of)
    {
        Console.WriteLine($"\n{pattern.What}\n  {"",-14}{"I/O a second",32}{"ratio",8}{"50 % within ms",16}{"99 % within ms",16}"
            + $"{"CPU us an I/O",15}{"ratio",8}");
        List<FioResult> peer = of(servers[^1]);
        foreach (NbdServed server in servers)
        {
            List<FioResult> list = of(server);

            // Each repetition's ratio is of figures that were taken one after the other.
            double ratio = Figures.Median(list.Zip(peer, (a, b) => a.PerSecond / b.PerSecond));
            double cpu = Figures.Median(list.Select(r => r.CpuMicroseconds));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"  {server.Kind,-14}{Figures.Spread([.. list.Select(r => r.PerSecond)]),32}{ratio,8:F2}"
                + $"{Figures.Median(list.Select(r => r.HalfMs)),16:F3}{Figures.Median(list.Select(r => r.SlowMs)),16:F2}{cpu,15:F1}"
                + $"{cpu / Figures.Median(peer.Select(r => r.CpuMicroseconds)),8:F2}"));
        }
    }
}
