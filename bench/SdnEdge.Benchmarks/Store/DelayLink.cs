using System.Diagnostics;
using System.Globalization;

namespace SdnEdge.Benchmarks.Store;

/// <summary>A link between two sites, in user space (bench/store/delay.c): connections to one port of this machine go on to another, and
/// every byte comes late.</summary>
internal sealed class DelayLink : IDisposable
{
    private readonly Process _process;

    private DelayLink(Process process) => _process = process;

    /// <summary>Compiles the program into a folder.</summary>
    /// <returns>Its path.</returns>
    public static string Compile(string folder)
    {
        string program = Path.Combine(folder, "delay");
        Programs.Compile("store/delay.c", program);
        return program;
    }

    /// <summary>Makes a link; it can be connected to when this has returned.</summary>
    /// <param name="program">The program.</param>
    /// <param name="listen">Port to connect to.</param>
    /// <param name="connect">Port where the connections go on to.</param>
    /// <param name="roundTripMs">Round trip, milliseconds.</param>
    /// <param name="bytesPerSecond">What it carries each way; 0 = as much as it can.</param>
    public static async Task<DelayLink> StartAsync(string program, int listen, int connect, double roundTripMs, long bytesPerSecond = 0)
    {
        List<string> words = [$"{listen}", $"{connect}", (roundTripMs * 500).ToString("F0", CultureInfo.InvariantCulture)];
        if (bytesPerSecond > 0) words.Add($"{bytesPerSecond}");
        var link = new DelayLink(Programs.Start(program, words));
        if (await link._process.StandardOutput.ReadLineAsync() == "ready") return link;
        string why = await link._process.StandardError.ReadToEndAsync();
        link.Dispose();
        throw new InvalidOperationException($"the link cannot be made: {why}");
    }

    /// <summary>What it has carried towards the port that connections go on to, and when the first of them came, as a timestamp of
    /// <see cref="Stopwatch"/>; 0 = none did.</summary>
    public async Task<(long Bytes, long ConnectedAt)> CarriedAsync()
    {
        Programs.Output("kill", "-USR1", $"{_process.Id}");
        string line = await _process.StandardOutput.ReadLineAsync() ?? throw new InvalidOperationException("the link has ended");
        long[] numbers = [.. line.Split(' ').Select(w => long.Parse(w, CultureInfo.InvariantCulture))];
        return (numbers[0], numbers[2] / (1_000_000_000 / Stopwatch.Frequency));
    }

    public void Dispose() => Programs.End(_process);
}
