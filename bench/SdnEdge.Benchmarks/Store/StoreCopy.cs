using System.Diagnostics;
using System.Globalization;
using SdnEdge.Testing;

namespace SdnEdge.Benchmarks.Store;

/// <summary>
/// <c>bench store copy</c>: the first copy of a volume, and nbdcopy of the same image with four connections of 64 requests each, in turn,
/// over a link of 20 ms round trip, or <c>--rtt</c> (bench/store/delay.c). Every second MiB of the image has random bytes, the others are
/// holes. nbdcopy reads from one <c>nbdkit file</c> and writes to another one; it knows that the other image is empty, and flushes at the
/// end. Both are timed from the first connection over the link until everything is durable at the other end; what came there is compared
/// with the image. The stores' link is encrypted, and they hash what they write; nbdcopy's link is plain.
/// </summary>
internal static class StoreCopy
{
    private const int Mebibyte = 1 << 20;

    public static async Task MeasureAsync(StoreOptions options, string root)
    {
        string image = Path.Combine(root, "image");
        MakeImage(image, options.Mib);
        double data = options.Mib / 2;
        Console.WriteLine($"{options.Repetitions} repetitions, RTT {options.RoundTripMs} ms, {data} of {options.Mib} MiB are data, in "
            + $"{options.Folder}; median (lowest to highest); ratio to nbdcopy; {Figures.Load()}");
        List<Result> ours = [], peers = [];
        for (int repetition = 0; repetition < options.Repetitions; repetition++)
        {
            foreach (bool store in repetition % 2 == 0 ? new[] { true, false } : [false, true])
            {
                string folder = Path.Combine(root, $"{(store ? "store" : "nbdcopy")}-{repetition}");
                Directory.CreateDirectory(folder);
                (store ? ours : peers).Add(store ? await StoreAsync(folder, image, options)
                    : await NbdcopyAsync(folder, image, options));
                Directory.Delete(folder, recursive: true);
            }
        }

        Console.WriteLine($"\n{"",-12}{"seconds",26}{"MiB of data a second",28}{"ratio",8}{"link/data",12}{"CPU s, both servers",22}");
        foreach ((string name, List<Result> list) in new[] { ("first copy", ours), ("nbdcopy", peers) })
        {
            string cpu = string.Create(CultureInfo.InvariantCulture,
                $"{Figures.Median(list.Select(r => r.SourceCpu)):F2} + {Figures.Median(list.Select(r => r.TargetCpu)):F2}");
            double ratio = Figures.Median(list.Zip(peers, (a, b) => b.Seconds / a.Seconds));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{name,-12}{Figures.Spread([.. list.Select(r => r.Seconds)], "F2"),26}"
                + $"{Figures.Spread([.. list.Select(r => data / r.Seconds)]),28}{ratio,8:F2}"
                + $"{Figures.Median(list.Select(r => r.Carried / (data * Mebibyte))),12:F3}{cpu,22}"));
        }

        Console.WriteLine($"\n{Figures.Load()}");
    }

    private static void MakeImage(string path, int mib)
    {
        var random = new Random(1);
        byte[] piece = new byte[Mebibyte];
        using FileStream file = File.Create(path);
        file.SetLength((long)mib * Mebibyte);
        for (int i = 0; i + 1 < mib; i += 2)
        {
            random.NextBytes(piece);
            file.Position = (long)i * Mebibyte;
            file.Write(piece);
        }

        file.Flush(flushToDisk: true);
    }

    // A virtual machine's host may give it free memory only when it is touched, at a tenth of the speed: pages that a file has just had are
    // there already, for both.
    private static void TouchMemory(string folder, int mib)
    {
        string path = Path.Combine(folder, "touched");
        byte[] piece = new byte[Mebibyte];
        using (FileStream file = File.Create(path))
        {
            for (int i = 0; i < mib; i++) file.Write(piece);
        }

        File.Delete(path);
    }

    private static async Task<Result> StoreAsync(string folder, string image, StoreOptions options)
    {
        using StorePair pair = await StorePair.StartAsync(folder, options.Mib, image);
        TouchMemory(folder, options.Mib);
        await pair.OpenLinkAsync(options.RoundTripMs);
        (double ownerBefore, double replicaBefore) = pair.CpuSeconds();
        long end = await pair.WholeAsync();
        (double owner, double replica) = pair.CpuSeconds();
        (long bytes, long begin) = await pair.CarriedAsync();
        Programs.Output("cmp", image, pair.ReplicaImage);
        return new Result(Stopwatch.GetElapsedTime(begin, end).TotalSeconds, bytes, owner - ownerBefore, replica - replicaBefore);
    }

    private static async Task<Result> NbdcopyAsync(string folder, string image, StoreOptions options)
    {
        string source = Path.Combine(folder, "source.nbd"), copy = Path.Combine(folder, "copy"), ready = Path.Combine(folder, "ready");
        using (FileStream file = File.Create(copy)) file.SetLength(new FileInfo(image).Length);
        int port = TestAuthority.FreePort(), link = TestAuthority.FreePort(port);
        Process? from = null, to = null;
        try
        {
            from = Programs.Start("nbdkit", ["--foreground", "--readonly", "--unix", source, "file", image]);
            to = Programs.Start("nbdkit", ["--foreground", "--ipaddr", "127.0.0.1", "--port", $"{port}", "--pidfile", ready, "file", copy]);
            await Programs.HasMadeAsync(from, source);

            // It is written when connections are taken.
            await Programs.HasMadeAsync(to, ready);
            using DelayLink over = await DelayLink.StartAsync(DelayLink.Compile(folder), link, port, options.RoundTripMs);
            TouchMemory(folder, options.Mib);
            (double fromBefore, double toBefore) = (Programs.CpuSeconds(from), Programs.CpuSeconds(to));
            Programs.Output("nbdcopy", "--connections=4", "--requests=64", "--destination-is-zero", "--flush",
                $"nbd+unix:///?socket={source}", $"nbd://127.0.0.1:{link}");
            long end = Stopwatch.GetTimestamp();
            (double fromAfter, double toAfter) = (Programs.CpuSeconds(from), Programs.CpuSeconds(to));
            (long bytes, long begin) = await over.CarriedAsync();
            Programs.Output("cmp", image, copy);
            return new Result(Stopwatch.GetElapsedTime(begin, end).TotalSeconds, bytes, fromAfter - fromBefore, toAfter - toBefore);
        }
        finally
        {
            Programs.End(from);
            Programs.End(to);
        }
    }

    private sealed record Result(double Seconds, long Carried, double SourceCpu, double TargetCpu);
}
