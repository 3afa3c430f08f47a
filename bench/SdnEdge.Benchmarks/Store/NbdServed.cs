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
    /// <summary>Our server of an image as it is.</summary>
    public const string Image = "store serve";

    /// <summary>Our store, a volume with its log.</summary>
    public const string Volume = "store volume";

    /// <summary>QEMU's server.</summary>
    public const string Qemu = "qemu-nbd";

    /// <summary>What the others are compared with.</summary>
    public const string Peer = "nbdkit file";

    private readonly Process _process;
    private readonly StoreClient? _store;

    private NbdServed(string kind, string uri, Process process, StoreClient? store)
        => (Kind, Uri, _process, _store) = (kind, uri, process, store);

    /// <summary>What can be started; the last one is the peer that the others are compared with.</summary>
    public static IReadOnlyList<string> Kinds { get; } = [Image, Volume, Qemu, Peer];

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
        if (kind == Volume)
        {
            await File.WriteAllTextAsync(config,
                $"name: bench\nsite: dc-a\napi: {{ unix: {api} }}\nstate: {{ folder: {folder}/state }}\nnbd: {{ unix: {socket} }}\n");
        }

        string[] words = kind switch
        {
            Image => [Daemon.Executable(), "store", "serve", image, "--unix", socket],
            Volume => [Daemon.Executable(), "store", "--config", config],
            Qemu => ["qemu-nbd", "--socket", socket, "--format", "raw", "--persistent", "--shared", "8", image],
            _ => ["nbdkit", "--foreground", "--unix", socket, "file", image],
        };
        Process process = Programs.Start(words[0], words[1..]);
        StoreClient? store = null;
        try
        {
            await Programs.HasMadeAsync(process, kind == Volume ? api : socket);
            if (kind == Volume)
            {
                store = new StoreClient(new ApiEndpoint("bench", api)) { RequestTimeout = Timeout.InfiniteTimeSpan };
                await store.CreateAsync(new VolumeRequest("v", 0, Image: image));
            }

            return new NbdServed(kind, $"nbd+unix:///{(store is null ? "" : "v")}?socket={socket}", process, store);
        }
        catch
        {
            store?.Dispose();
            Programs.End(process);
            throw;
        }
    }

    /// <summary>Processor time of the server so far, seconds.</summary>
    public double CpuSeconds() => Programs.CpuSeconds(_process);

    /// <summary>It has not ended.</summary>
    /// <exception cref="InvalidOperationException">It has; how, and what it wrote, is in the message.</exception>
    public void ThrowIfEnded() => Programs.ThrowIfEnded(_process);

    /// <summary>Completes when it has nothing left to do: a volume's log is in its image.</summary>
    public async Task QuietAsync()
    {
        if (_store is null) return;
        (double applied, double last) = (0, 0);
        await Patience.UntilAsync(
            async () =>
            {
                ThrowIfEnded();
                string[] lines = (await _store.TextAsync("metrics")).Split('\n');
                (applied, last) = (Value(lines, "sdnedge_store_applied_sequence{"), Value(lines, "sdnedge_store_log_durable_sequence{"));
                return applied >= last && last >= Value(lines, "sdnedge_store_log_last_sequence{");
            },
            () => $"the log is applied up to {applied}, and has {last}");
    }

    public void Dispose()
    {
        _store?.Dispose();
        Programs.End(_process);
    }

    private static double Value(string[] lines, string name)
    {
        string line = lines.Single(l => l.StartsWith(name, StringComparison.Ordinal));
        return double.Parse(line.AsSpan(line.LastIndexOf(' ') + 1), CultureInfo.InvariantCulture);
    }
}
