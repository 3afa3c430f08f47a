using System.Diagnostics;
using System.Globalization;
using SdnEdge.Benchmarks.Bgp;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Testing;

namespace SdnEdge.Benchmarks.Store;

/// <summary>Two stores, each a process, with one volume; between them a link of a chosen length (bench/store/delay.c). The first owns the
/// volume, and this process may write it.</summary>
internal sealed class StorePair : IDisposable
{
    public const string Volume = "v";

    private readonly string _folder, _program;
    private readonly TestAuthority _authority = new("bench");
    private readonly List<Process> _stores = [];
    private readonly int _portA, _portB, _portLink;
    private Process? _link;

    private StorePair(string folder)
    {
        _folder = folder;
        _program = Path.Combine(folder, "delay");
        _portA = TestAuthority.FreePort();
        _portB = TestAuthority.FreePort(_portA);
        _portLink = TestAuthority.FreePort(_portB);
        (A, B) = (Client("store-a"), Client("store-b"));
    }

    public StoreClient A { get; }

    public StoreClient B { get; }

    /// <summary>The owner's exports.</summary>
    public string Socket => Path.Combine(_folder, "store-a.nbd");

    public static async Task<StorePair> StartAsync(string folder, int mib)
    {
        StoreTools.Compile("delay.c", Path.Combine(folder, "delay"));
        var pair = new StorePair(folder);
        try
        {
            string authority = pair._authority.WriteAuthority(folder);
            await pair.StartStoreAsync("store-a", pair._portA, "store-b", pair._portLink, owner: true, mib, authority);
            await pair.StartStoreAsync("store-b", pair._portB, "store-a", pair._portA, owner: false, mib, authority);
            var us = Core.Replication.ClientIdentity.Process(Environment.ProcessId, 0);
            await pair.A.OrderAsync(Volume, OwnershipOrderKind.Grant, new VolumeOrderRequest(1, "bench", us));
            return pair;
        }
        catch
        {
            pair.Dispose();
            throw;
        }
    }

    /// <summary>The link is so long from now on; returns when the replica is connected and has everything.</summary>
    public async Task LinkAsync(double roundTripMs, long bytesPerSecond = 0)
    {
        EndLink();
        List<string> words = [$"{_portLink}", $"{_portB}", (roundTripMs * 500).ToString("F0", CultureInfo.InvariantCulture)];
        if (bytesPerSecond > 0) words.Add($"{bytesPerSecond}");
        _link = Start(_program, words);
        if (await _link.StandardOutput.ReadLineAsync() != "ready")
            throw new InvalidOperationException($"the link cannot be made: {await _link.StandardError.ReadToEndAsync()}");
        await InStepAsync();
    }

    /// <summary>The replica has everything that was written.</summary>
    public async Task InStepAsync()
    {
        VolumeReplicationInfo? at = null;
        await Patience.UntilAsync(
            async () =>
            {
                at = (await A.VolumeAsync(Volume)).Replication;
                return at is { Connected: true } && at.ReplicaDurable == at.Last && at.Durable == at.Last;
            },
            () => $"the replica is at {at?.ReplicaDurable} of {at?.Last}, connected: {at?.Connected}");
    }

    public Task<VolumeInfo> ModeAsync(ReplicationMode mode) => A.ModeAsync(Volume, new VolumeModeRequest(1, mode));

    /// <summary>Bytes that the link has carried to the replica, since it has this length.</summary>
    public async Task<long> CarriedAsync()
    {
        StoreTools.Output("kill", ["-USR1", $"{_link!.Id}"]);
        string line = await _link.StandardOutput.ReadLineAsync() ?? throw new InvalidOperationException("the link has ended");
        return long.Parse(line.Split(' ')[0], CultureInfo.InvariantCulture);
    }

    /// <summary>Processor time of both stores so far, seconds.</summary>
    public (double Owner, double Replica) CpuSeconds() => (NbdServed.CpuSeconds(_stores[0]), NbdServed.CpuSeconds(_stores[1]));

    public void Dispose()
    {
        A.Dispose();
        B.Dispose();
        EndLink();
        foreach (Process store in _stores)
        {
            if (!store.HasExited) store.Kill();
            store.WaitForExit();
            store.Dispose();
        }

        _authority.Dispose();
    }

    private void EndLink()
    {
        if (_link is null) return;
        if (!_link.HasExited) _link.Kill();
        _link.WaitForExit();
        _link.Dispose();
        _link = null;
    }

    private StoreClient Client(string store) => new(new ApiEndpoint(store, Path.Combine(_folder, store + ".sock")))
    {
        RequestTimeout = Timeout.InfiniteTimeSpan,
    };

    private async Task StartStoreAsync(string name, int port, string peer, int peerPort, bool owner, int mib, string authority)
    {
        (string certificate, string key) = _authority.Write(_folder, name, forServer: null);
        string path = Path.Combine(_folder, name), config = path + ".yaml";
        await File.WriteAllTextAsync(config, $$"""
            name: {{name}}
            site: dc
            api: { unix: {{path}}.sock }
            state: { folder: {{path}} }
            nbd: { unix: {{path}}.nbd }
            replication:
              listen: "127.0.0.1:{{port}}"
              certificate: {{certificate}}
              key: {{key}}
              clientCa: {{authority}}
              peers: [{ name: {{peer}}, address: "127.0.0.1:{{peerPort}}" }]
            volumes:
              - { name: {{Volume}}, size: {{mib}}MiB, owner: {{(owner ? "true" : "false")}}, replica: {{peer}}, mode: async }

            """);
        Process process = Start(Daemon.Executable(), ["store", "--config", config]);
        _stores.Add(process);
        await Patience.UntilAsync(
            () => process.HasExited
                ? throw new InvalidOperationException($"{name} ended: {process.StandardError.ReadToEnd()}")
                : File.Exists(path + ".sock"),
            () => $"{path}.sock is not there");
        var store = owner ? A : B;
        await Patience.UntilAsync(async () => (await store.NodeAsync()).Ready, () => $"{name} is not ready");
    }

    private static Process Start(string program, IEnumerable<string> words)
    {
        var start = new ProcessStartInfo(program) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string word in words) start.ArgumentList.Add(word);
        return Process.Start(start)!;
    }
}
