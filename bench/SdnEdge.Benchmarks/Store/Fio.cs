using System.Globalization;
using System.Text.Json;

namespace SdnEdge.Benchmarks.Store;

/// <summary>What fio does to an export.</summary>
/// <param name="What">For people.</param>
/// <param name="Direction">fio's --rw.</param>
/// <param name="Block">Bytes of a request, fio's --bs.</param>
/// <param name="Depth">Requests at a time.</param>
/// <param name="FlushEvery">A flush after so many writes; 0 = none.</param>
internal sealed record FioPattern(string What, string Direction, string Block, int Depth, int FlushEvery = 0);

/// <summary>What fio measured.</summary>
/// <param name="PerSecond">Reads and writes a second.</param>
/// <param name="HalfMs">Half of them were answered within, milliseconds.</param>
/// <param name="SlowMs">99 % of them were answered within.</param>
/// <param name="CpuMicroseconds">Processor time of the server for each.</param>
internal sealed record FioResult(double PerSecond, double HalfMs, double SlowMs, double CpuMicroseconds);

/// <summary>fio's NBD client.</summary>
internal static class Fio
{
    /// <summary>Runs it once. What the server has to do afterwards counts as its processor time.</summary>
    /// <exception cref="InvalidOperationException">It failed, an I/O did, or there was none.</exception>
    public static async Task<FioResult> RunAsync(NbdServed server, FioPattern pattern, int seconds, int mib, int seed, string folder)
    {
        string output = Path.Combine(folder, "fio.json");
        double before = server.CpuSeconds();
        List<string> words =
        [
            "--name=store", "--ioengine=nbd", $"--uri={server.Uri}", $"--rw={pattern.Direction}", $"--bs={pattern.Block}",
            $"--iodepth={pattern.Depth}", $"--size={mib}m", "--time_based", $"--runtime={seconds}", $"--randseed={seed + 1}",
            "--norandommap", "--output-format=json", $"--output={output}",
        ];
        if (pattern.FlushEvery > 0) words.Add($"--fsync={pattern.FlushEvery}");
        if (pattern.Direction == "randrw") words.Add("--rwmixread=70");
        try
        {
            Programs.Output("fio", words);
        }
        catch (InvalidOperationException)
        {
            // What fio says of a server that has ended is less than how it has.
            server.ThrowIfEnded();
            throw;
        }

        await server.QuietAsync();
        double cpu = server.CpuSeconds() - before;
        using JsonDocument document = JsonDocument.Parse(await File.ReadAllBytesAsync(output));
        JsonElement job = document.RootElement.GetProperty("jobs")[0];
        int error = job.GetProperty("error").GetInt32();
        if (error != 0) throw new InvalidOperationException($"fio at {server.Kind}: error {error}");
        JsonElement[] ways = [.. new[] { "read", "write" }.Select(job.GetProperty).Where(w => w.GetProperty("total_ios").GetInt64() > 0)];
        long count = ways.Sum(w => w.GetProperty("total_ios").GetInt64());
        if (count == 0) throw new InvalidOperationException($"fio at {server.Kind}: no I/O in {seconds} s of {pattern.What}");
        return new FioResult(ways.Sum(w => w.GetProperty("iops").GetDouble()), ways.Max(w => Percentile(w, "50.000000")),
            ways.Max(w => Percentile(w, "99.000000")), cpu * 1e6 / count);
    }

    private static double Percentile(JsonElement way, string percentile)
        => way.GetProperty("clat_ns").GetProperty("percentile").GetProperty(percentile).GetDouble() / 1e6;
}

/// <summary>Numbers of a table.</summary>
internal static class Figures
{
    public static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length % 2 == 1 ? sorted[sorted.Length / 2] : (sorted[(sorted.Length / 2) - 1] + sorted[sorted.Length / 2]) / 2;
    }

    /// <summary>Median, lowest and highest.</summary>
    public static string Spread(IReadOnlyCollection<double> values, string format = "F0")
    {
        string Of(double value) => value.ToString(format, CultureInfo.InvariantCulture);
        return $"{Of(Median(values))} ({Of(values.Min())} to {Of(values.Max())})";
    }

    /// <summary>The share of the processors that were busy in the last minute, as the kernel's load average has it.</summary>
    public static string Load() => "load of the machine " + File.ReadAllText("/proc/loadavg").Split(' ')[0];
}
