using System.Globalization;

namespace SdnEdge.Benchmarks.Store;

/// <summary>Options of the measurements of the block store.</summary>
/// <param name="Seconds">Of one measurement.</param>
/// <param name="Repetitions">Of each.</param>
/// <param name="Mib">Size of an image.</param>
/// <param name="Folder">Where images and logs are.</param>
/// <param name="Pattern">Only this one, by its number; null = all.</param>
/// <param name="Quick">As short as it can be.</param>
/// <param name="Pair">Of the servers only the volume and the peer that it is compared with.</param>
internal sealed record StoreOptions(int Seconds, int Repetitions, int Mib, string Folder, int? Pattern, bool Quick, bool Pair);

/// <summary><c>bench store</c>: each measurement's own class says what it is.</summary>
internal static class StoreCommand
{
    private static readonly (string Name, string What, Func<StoreOptions, string, Task> Measure)[] s_measurements =
    [
        ("plain", "a volume with its log, an image without, qemu-nbd and nbdkit: fio by NBD, in turn", StorePlain.MeasureAsync),
        ("log", "the log's append and commit beside a C program that does no more than write and sync", StoreLog.MeasureAsync),
        ("link", "sync and semantic mode at round trips of 5, 20 and 40 ms beside what they could be", StoreLink.MeasureAsync),
        ("switch", "modes switched under load: errors, the longest I/O, time until in sync", StoreSwitch.MeasureAsync),
        ("sparse", "a volume of 10 TiB and one of 1 GiB: how long opening takes, and the memory it takes", StoreSparse.MeasureAsync),
        ("hostile", "1,000,000 mutated NBD sessions: no crash, no hang, nothing kept", StoreHostile.MeasureAsync),
    ];

    public static int Run(string[] args)
    {
        if (args.Length > 0 && StoreFaultsCommand.Names.Contains(args[0])) return StoreFaultsCommand.Run(args);
        var numbers = new Dictionary<string, int> { ["--seconds"] = 5, ["--repetitions"] = 5, ["--mib"] = 1024, ["--pattern"] = 0 };
        if (args.Contains("--quick")) (numbers["--seconds"], numbers["--repetitions"], numbers["--mib"]) = (1, 2, 256);
        string folder = "/var/tmp";
        var measure = s_measurements.FirstOrDefault(m => args is [var name, ..] && name == m.Name).Measure;
        bool good = measure is not null;
        for (int i = 1; good && i < args.Length; i++)
        {
            if (args[i] is "--quick" or "--pair") continue;
            good = i + 1 < args.Length;
            if (!good) break;
            if (args[i] == "--folder")
            {
                folder = args[++i];
                good = Directory.Exists(folder);
                continue;
            }

            good = numbers.ContainsKey(args[i]) && int.TryParse(args[i + 1], NumberStyles.None, CultureInfo.InvariantCulture, out int n)
                && n > 0;
            if (good) numbers[args[i]] = int.Parse(args[++i], CultureInfo.InvariantCulture);
        }

        if (!good)
        {
            Console.Error.WriteLine("usage: bench store NAME [--seconds 5] [--repetitions 5] [--mib 1024] [--pattern N] "
                + "[--folder /var/tmp] [--pair] [--quick]");
            foreach ((string name, string what, _) in s_measurements) Console.Error.WriteLine($"  {name,-10} {what}");
            Console.Error.WriteLine("  seconds of a measurement, its repetitions, size of an image, only the Nth pattern (link: the Nth "
                + "round trip, switch: the Nth case), where images and logs are: on the disk that is meant; --pair: only the "
                + "volume and nbdkit");
            Console.Error.WriteLine(StoreFaultsCommand.Usage);
            return 2;
        }

        string root = Path.Combine(folder, $"sdnedge-bench-store-{Environment.ProcessId}");
        Directory.CreateDirectory(root);
        try
        {
            int? pattern = numbers["--pattern"] == 0 ? null : numbers["--pattern"];
            var options = new StoreOptions(numbers["--seconds"], numbers["--repetitions"], numbers["--mib"], folder, pattern,
                args.Contains("--quick"), args.Contains("--pair"));
            measure!(options, root).GetAwaiter().GetResult();
            return 0;
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }
}
