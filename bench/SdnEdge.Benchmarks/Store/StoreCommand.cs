namespace SdnEdge.Benchmarks.Store;

/// <summary>Options of the measurements of the block store.</summary>
/// <param name="Seconds">Of one measurement.</param>
/// <param name="Repetitions">Of each.</param>
/// <param name="Mib">Size of an image.</param>
/// <param name="Folder">Where images and logs are.</param>
/// <param name="Pattern">Only this one, by its number; null = all.</param>
/// <param name="Quick">As short as it can be.</param>
/// <param name="RoundTripMs">Round trip of the link of <c>copy</c>, milliseconds.</param>
/// <param name="Only">Of the servers only this one and the peer that it is compared with; null = all.</param>
internal sealed record StoreOptions(int Seconds, int Repetitions, int Mib, string Folder, int? Pattern, bool Quick,
    int RoundTripMs, string? Only);

/// <summary><c>bench store</c>: each measurement's own class says what it is.</summary>
internal static class StoreCommand
{
    private static readonly (string Name, string What, Func<StoreOptions, string, Task> Is)[] s_measurements =
    [
        ("plain", "a volume with its log, an image without, qemu-nbd and nbdkit: fio by NBD, in turn", StorePlain.MeasureAsync),
        ("log", "the log's append and commit beside a C program that does no more than write and sync", StoreLog.MeasureAsync),
        ("copy", "the first copy of a volume at a round trip of 20 ms beside nbdcopy over the same link", StoreCopy.MeasureAsync),
        ("link", "sync and semantic mode at round trips of 5, 20 and 40 ms beside what they could be", StoreLink.MeasureAsync),
        ("switch", "modes switched under load: errors, the longest I/O, time until in sync", StoreSwitch.MeasureAsync),
        ("sparse", "a volume of 10 TiB and one of 1 GiB: how long opening takes, and the memory it takes", StoreSparse.MeasureAsync),
        ("hostile", "1,000,000 mutated NBD sessions: no crash, no hang, nothing kept", StoreHostile.MeasureAsync),
    ];

    public static int Run(string[] args)
    {
        if (args.Length > 0 && StoreFaultsCommand.Names.Contains(args[0])) return StoreFaultsCommand.Run(args);
        var numbers = new Dictionary<string, int>
        {
            ["--seconds"] = 5, ["--repetitions"] = 5, ["--mib"] = 1024, ["--pattern"] = 0, ["--rtt"] = 20,
        };
        if (args.Contains("--quick")) (numbers["--seconds"], numbers["--repetitions"], numbers["--mib"]) = (1, 2, 256);
        string folder = "/var/tmp";
        bool good = Words.TryFind(s_measurements, args, out Func<StoreOptions, string, Task> measure);
        for (int i = 1; good && i < args.Length; i++)
        {
            if (args[i] is "--quick" or "--pair" or "--image") continue;
            if (args[i] == "--folder" && i + 1 < args.Length) good = Directory.Exists(folder = args[++i]);
            else good = Words.TakeNumber(numbers, args, ref i);
        }

        if (!good)
        {
            Console.Error.WriteLine("usage: bench store NAME [--seconds 5] [--repetitions 5] [--mib 1024] [--pattern N] "
                + "[--folder /var/tmp] [--pair|--image] [--rtt 20] [--quick]");
            Words.List(s_measurements);
            Console.Error.WriteLine("  seconds of a measurement, its repetitions, size of an image, only the Nth pattern (link: the Nth "
                + "round trip, switch: the Nth case), where images and logs are: on the disk that is meant; --pair: only the "
                + "volume and nbdkit, --image: only store serve and nbdkit; --rtt: copy's round trip, ms");
            Console.Error.WriteLine(StoreFaultsCommand.Usage);
            return 2;
        }

        string root = Path.Combine(folder, $"sdnedge-bench-store-{Environment.ProcessId}");
        Directory.CreateDirectory(root);
        try
        {
            int? pattern = numbers["--pattern"] == 0 ? null : numbers["--pattern"];
            string? server = args.Contains("--pair") ? NbdServed.Volume : args.Contains("--image") ? NbdServed.Image : null;
            var options = new StoreOptions(numbers["--seconds"], numbers["--repetitions"], numbers["--mib"], folder, pattern,
                args.Contains("--quick"), numbers["--rtt"], server);
            measure(options, root).GetAwaiter().GetResult();
            return 0;
        }
        catch (Exception e) when (e is InvalidOperationException or IOException or TimeoutException)
        {
            Console.Error.WriteLine($"bench store {args[0]}: {e.Message}");
            return 1;
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }
}
