using System.Diagnostics;
using System.Globalization;
using SdnEdge.Benchmarks.Bgp;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Testing;

namespace SdnEdge.Benchmarks.Store;

/// <summary>An image that a process serves by NBD.</summary>
internal sealed class NbdServed : IDisposable
{
    // Of proc(5): clock ticks a second of utime and stime.
    private const double TicksPerSecond = 100;

    private readonly Process _process;
    private readonly StoreClient? _store;

    private NbdServed(string kind, string uri, Process process, StoreClient? store)
        => (Kind, Uri, _process, _store) = (kind, uri, process, store);

    /// <summary>What can be started; the last one is the peer that the others are compared with.</summary>
    public static IReadOnlyList<string> Kinds { get; } = ["store serve", "store volume", "qemu-nbd", "nbdkit file"];

    public string Kind { get; }

    /// <summary>Where clients find it.</summary>
    public string Uri { get; }

    /// <summary>Its socket.</summary>
    public string Socket => Uri[(Uri.IndexOf('=', StringComparison.Ordinal) + 1)..];

    /// <summary>Makes an image in a folder and serves it.</summary>
    public static async Task<NbdServed> StartAsync(string kind, string folder, int mib)
    {
        string name = kind.Replace(' ', '-'), image = Path.Combine(folder, name + ".img"), socket = Path.Combine(folder, name + ".nbd");
        var random = new Random(1);
        byte[] piece = new byte[1 << 20];
        using (FileStream file = File.Create(image))
        {
            for (int i = 0; i < mib; i++)
            {
                random.NextBytes(piece);
                file.Write(piece);
            }

            file.Flush(flushToDisk: true);
        }

        string api = Path.Combine(folder, name + ".sock"), config = Path.Combine(folder, name + ".yaml");
        if (kind == "store volume")
        {
            await File.WriteAllTextAsync(config,
                $"name: bench\nsite: dc-a\napi: {{ unix: {api} }}\nstate: {{ folder: {folder}/state }}\nnbd: {{ unix: {socket} }}\n");
        }

        Process process = Start(kind switch
        {
            "store serve" => [Daemon.Executable(), "store", "serve", image, "--unix", socket],
            "store volume" => [Daemon.Executable(), "store", "--config", config],
            "qemu-nbd" => ["qemu-nbd", "--socket", socket, "--format", "raw", "--persistent", "--shared", "8", image],
            _ => ["nbdkit", "--foreground", "--unix", socket, "file", image],
        });
        StoreClient? store = null;
        try
        {
            await ThereAsync(process, kind == "store volume" ? api : socket);
            if (kind == "store volume")
            {
                store = new StoreClient(new ApiEndpoint("bench", api)) { RequestTimeout = Timeout.InfiniteTimeSpan };
                await store.CreateAsync(new VolumeRequest("v", 0, Image: image));
            }

            return new NbdServed(kind, $"nbd+unix:///{(store is null ? "" : "v")}?socket={socket}", process, store);
        }
        catch
        {
            store?.Dispose();
            process.Kill();
            process.Dispose();
            throw;
        }
    }

    /// <summary>Processor time of the server so far, seconds.</summary>
    public double CpuSeconds() => CpuSeconds(_process);

    /// <summary>Processor time of a process so far, seconds.</summary>
    public static double CpuSeconds(Process process)
    {
        string text = File.ReadAllText($"/proc/{process.Id}/stat");
        string[] fields = text[(text.LastIndexOf(')') + 2)..].Split(' ');
        return fields[11..13].Sum(f => long.Parse(f, CultureInfo.InvariantCulture)) / TicksPerSecond;
    }

    /// <summary>Completes when it has nothing left to do: a volume's log is in its image.</summary>
    public async Task QuietAsync()
    {
        if (_store is null) return;
        (double applied, double last) = (0, 0);
        await Patience.UntilAsync(
            async () =>
            {
                string[] lines = (await _store.TextAsync("metrics")).Split('\n');
                (applied, last) = (Value(lines, "sdnedge_store_applied_sequence{"), Value(lines, "sdnedge_store_log_durable_sequence{"));
                return applied >= last && last >= Value(lines, "sdnedge_store_log_last_sequence{");
            },
            () => $"the log is applied up to {applied}, and has {last}");
    }

    /// <summary>Runs a program to its end.</summary>
    /// <exception cref="InvalidOperationException">It failed; what it wrote is in the message.</exception>
    public static async Task ToolAsync(string program, IEnumerable<string> words)
    {
        using Process process = Start([program, .. words]);
        Task<string> errors = process.StandardError.ReadToEndAsync(), output = process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        if (process.ExitCode != 0) throw new InvalidOperationException($"{program}: exit {process.ExitCode}: {await errors}{await output}");
    }

    public void Dispose()
    {
        _store?.Dispose();
        if (!_process.HasExited) _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
    }

    private static double Value(string[] lines, string name)
    {
        string line = lines.Single(l => l.StartsWith(name, StringComparison.Ordinal));
        return double.Parse(line.AsSpan(line.LastIndexOf(' ') + 1), CultureInfo.InvariantCulture);
    }

    private static Task ThereAsync(Process process, string socket) => Patience.UntilAsync(
        () => process.HasExited
            ? throw new InvalidOperationException($"{process.StartInfo.FileName} ended: {process.StandardError.ReadToEnd()}")
            : File.Exists(socket),
        () => $"{socket} is not there");

    private static Process Start(IReadOnlyList<string> words)
    {
        var start = new ProcessStartInfo(words[0]) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string word in words.Skip(1)) start.ArgumentList.Add(word);
        return Process.Start(start)!;
    }
}
