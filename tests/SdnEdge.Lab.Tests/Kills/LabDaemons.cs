using System.Diagnostics;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Tests.Kills;

/// <summary>
/// The daemons of a lab whose manager moves a server to and fro: their clients, and what happens to them. One that was killed is started
/// again as the lab starts it.
/// </summary>
internal sealed class LabDaemons : IAsyncDisposable
{
    /// <summary>How long a case may take: long enough for a machine on which processes stand still for seconds.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    private readonly IReadOnlyList<string> _program;
    private readonly Dictionary<string, Process> _restarted = [];

    /// <summary>The daemons of a lab.</summary>
    /// <param name="lab">The lab; destroyed with this.</param>
    /// <param name="program">How <c>sdnedge</c> is started.</param>
    public LabDaemons(RunningLab lab, IReadOnlyList<string> program)
    {
        (Lab, _program) = (lab, program);
        Pes = lab.Topology.Nodes.Where(n => n.Kind == NodeKind.SdnEdgePe)
            .ToDictionary(n => n.Name, n => PeClient.ForUnixSocket(lab.ApiSocket(n.Name), n.Name), StringComparer.Ordinal);
        Hosts = lab.Topology.Nodes.Where(n => n.Kind == NodeKind.SdnEdgeHost)
            .ToDictionary(n => n.Name, n => new HostClient(new ApiEndpoint(n.Name, lab.ApiSocket(n.Name))), StringComparer.Ordinal);
        Stores = lab.Stores.ToDictionary(s => s.Node, s => new StoreClient(new ApiEndpoint(s.Node, lab.ApiSocket(s.Node))),
            StringComparer.Ordinal);
        Mms = new MmsClient(new ApiEndpoint("mms", lab.MmsSocket!));
    }

    /// <summary>The lab.</summary>
    public RunningLab Lab { get; }

    /// <summary>The PEs, by node.</summary>
    public IReadOnlyDictionary<string, PeClient> Pes { get; }

    /// <summary>The agents of the server hosts, by node.</summary>
    public IReadOnlyDictionary<string, HostClient> Hosts { get; }

    /// <summary>The block stores, by node.</summary>
    public IReadOnlyDictionary<string, StoreClient> Stores { get; }

    /// <summary>The manager.</summary>
    public MmsClient Mms { get; }

    /// <summary>All of them.</summary>
    public IEnumerable<ApiClient> All => [.. Pes.Values, .. Hosts.Values, .. Stores.Values, Mms];

    /// <summary>
    /// Copies a topology file and its folder. No PE damps moves in the copy, as the server moves more often than anybody's would.
    /// </summary>
    /// <param name="topology">The file.</param>
    /// <param name="folder">Where to.</param>
    /// <param name="edit">Changes to the files of its folder: name and text to text; null = none.</param>
    /// <returns>The copy of the file.</returns>
    public static string CopyUndamped(string topology, string folder, Func<string, string, string>? edit = null)
    {
        string copy = Path.Combine(folder, Path.GetFileName(topology));
        string name = Path.GetFileName(topology)[..^".clab.yml".Length], files = Path.Combine(folder, name);
        File.Copy(topology, copy);
        Directory.CreateDirectory(files);
        foreach (string file in Directory.GetFiles(Path.Combine(Path.GetDirectoryName(topology)!, name)))
        {
            string text = File.ReadAllText(file).Replace("\nbgp:\n", "\nbgp:\n  moveDamping: { moves: 0 }\n", StringComparison.Ordinal);
            if (edit is not null) text = edit(Path.GetFileName(file), text);
            File.WriteAllText(Path.Combine(files, Path.GetFileName(file)), text);
        }

        return copy;
    }

    /// <summary>The process of a node's daemon.</summary>
    public int ProcessOf(string node)
        => _restarted.TryGetValue(node, out Process? later) ? later.Id : Lab.State.Processes.Single(p => p.Node == node).ProcessId;

    /// <summary>Ids of the migrations so far.</summary>
    public async Task<string[]> MigrationsAsync()
        => [.. (await AskAsync("the migrations so far", c => Mms.MigrationsAsync(c))).Select(m => m.Id)];

    /// <summary>Asks for a migration. When the answer is lost with the manager, it may be on record or not: the list says it.</summary>
    public async Task<string> BeginAsync(string group, string to, int copyMs, string[] known)
    {
        string last = "";
        for (var watch = Stopwatch.StartNew(); watch.Elapsed < Patience; await Task.Delay(10))
        {
            try
            {
                if ((await Mms.MigrationsAsync()).FirstOrDefault(m => !known.Contains(m.Id)) is { } begun) return begun.Id;
                return (await Mms.StartAsync(new MigrationCall(group, to, CopyMs: copyMs, QuietMs: 100))).Id;
            }
            catch (Exception e) when (e is ApiUnreachableException or ApiProblemException)
            {
                last = e.Message;
            }
        }

        throw new TimeoutException($"no migration to {to} began in {Patience.TotalSeconds} s: {last}\n{await TellAsync()}");
    }

    /// <summary>What the manager says of migrations that are not <paramref name="known"/>: stages and outcomes, as they happen.</summary>
    /// <exception cref="TimeoutException">The case has not come to its end.</exception>
    public async IAsyncEnumerable<EventRecord> StagesAsync(string[] known, string wanted)
    {
        using var patience = new CancellationTokenSource(Patience);
        await using IAsyncEnumerator<EventRecord> events = Mms.EventsAsync(0, patience.Token).GetAsyncEnumerator(CancellationToken.None);
        while (true)
        {
            bool more;
            try
            {
                more = await events.MoveNextAsync();
            }
            catch (OperationCanceledException)
            {
                more = false;
            }

            if (!more)
                throw new TimeoutException($"the migration did not come to {wanted} in {Patience.TotalSeconds} s\n{await TellAsync()}");
            if (events.Current.Kind == "migration" && !known.Contains(events.Current.Subject)) yield return events.Current;
        }
    }

    /// <summary>Kills a daemon by SIGKILL, and starts it again when it is dead. Returns when it is ready.</summary>
    public async Task KillAsync(string node)
    {
        int process = ProcessOf(node);
        Signals.Send(process, ProcessSignal.Kill);
        for (var watch = Stopwatch.StartNew(); !IsGone(process); await Task.Delay(1))
        {
            if (watch.Elapsed > Patience) throw new TimeoutException($"{node} (process {process}) does not end");
        }

        _restarted.GetValueOrDefault(node)?.Dispose();
        string command = node == "mms" ? "mms" : Hosts.ContainsKey(node) ? "host" : Stores.ContainsKey(node) ? "store" : "pe";

        // As the lab starts it: a session of its own, its output behind what is in its log already.
        string[] argv =
        [
            "sh", "-c", "log=$1; shift; exec \"$@\" >>\"$log\" 2>&1 </dev/null", "sh", Path.Combine(Lab.Folder, node + ".log"),
            .. _program, command, "--config", Path.Combine(Lab.Folder, node + ".yaml"),
        ];
        _restarted[node] = Lab.Start(node, argv, ahead: true);
        await (command switch
        {
            "mms" => (Task)UntilAsync("the manager to take migrations", c => Mms.NodeAsync(c), n => n.Ready),
            "host" => UntilAsync($"{node} to take orders", c => Hosts[node].NodeAsync(c), n => n.Ready),
            "store" => UntilAsync($"{node} to serve its volumes", c => Stores[node].NodeAsync(c), n => n.Ready),
            _ => UntilAsync($"{node} to forward", c => Pes[node].NodeAsync(c), n => n.Ready),
        });
    }

    /// <summary>
    /// Cuts a node off from the manager: until that says that it does not reach it, or undoes the migration because of that, or needs it
    /// no more; or until the migration has come to a stage without it.
    /// </summary>
    public async Task CutOffAsync(string node, string migration, string? until)
    {
        await IpAsync(node, "link", "set", "mgmt0", "down");
        try
        {
            await UntilAsync($"the manager to miss {node}", c => Mms.MigrationAsync(migration, c),
                m => m.Ended || (until is null ? m.Waiting.Any(w => w.Reason == "peer-unreachable") : m.Stage == until));
        }
        finally
        {
            await IpAsync(node, "link", "set", "mgmt0", "up");
        }
    }

    /// <summary>Runs <c>ip</c> in a node.</summary>
    public async Task IpAsync(string node, params string[] arguments)
    {
        using Process ip = Process.Start(new ProcessStartInfo("ip", ["-n", Lab.NamespaceOf(node), .. arguments]))!;
        await ip.WaitForExitAsync();
        if (ip.ExitCode != 0) throw new InvalidOperationException($"ip {string.Join(' ', arguments)} in {node} failed");
    }

    /// <summary>All BGP sessions are up, and all routes are there.</summary>
    public async Task BgpIsUpAsync()
    {
        foreach ((string name, PeClient pe) in Pes)
        {
            await UntilAsync($"{name}'s BGP sessions", c => pe.BgpPeersAsync(c),
                peers => peers.All(p => string.Equals(p.State, "established", StringComparison.OrdinalIgnoreCase) && p.Loaded != false));
        }
    }

    /// <summary>Pings until the first answer. Returns after how many milliseconds it came.</summary>
    public async Task<double> AnswersAsync(string client, string address)
    {
        for (var watch = Stopwatch.StartNew(); watch.Elapsed < Patience;)
        {
            using Process ping = Lab.Start(client, ["ping", "-q", "-c", "1", "-W", "1", address], redirect: true);
            await ping.StandardOutput.ReadToEndAsync();
            await ping.WaitForExitAsync();
            if (ping.ExitCode == 0) return watch.Elapsed.TotalMilliseconds;

            // 1: no answer; 2: no route yet. Else there is no ping.
            if (ping.ExitCode > 2) throw new InvalidOperationException($"ping at {client} ended with {ping.ExitCode}");
        }

        throw new TimeoutException($"{client} got no answer from {address} in {Patience.TotalSeconds} s\n{await TellAsync()}");
    }

    /// <summary>What the PEs still have of a migration. Empty = nothing.</summary>
    public async Task<IReadOnlyList<string>> LeftOverAsync()
    {
        var left = new List<string>();
        foreach ((string name, PeClient pe) in Pes)
        {
            left.AddRange((await AskAsync($"tunnels of {name}", c => pe.TunnelsAsync(c))).Select(t => $"{name} still has tunnel {t.Name}"));
            left.AddRange((await AskAsync($"groups of {name}", c => pe.GroupsAsync(c)))
                .Select(g => $"{name} still has group {g.Name} ({g.Active})"));
            left.AddRange((await AskAsync($"migrations of {name}", c => pe.MigrationsAsync(c)))
                .Where(m => m.State is not (PeMigrationState.TornDown or PeMigrationState.Aborted or PeMigrationState.Idle))
                .Select(m => $"{name} still has migration {m.Id} ({m.State})"));
        }

        return left;
    }

    /// <summary>What the nodes have logged, and the last migration as the manager has it: for the message of a failed assertion.</summary>
    public async Task<string> TellAsync()
    {
        var lines = new List<string>();
        try
        {
            if ((await Mms.MigrationsAsync()) is [.., var last]) lines.Add(Summary(last));
        }
        catch (Exception e) when (e is ApiUnreachableException or ApiProblemException)
        {
            lines.Add(e.Message);
        }

        foreach (string node in (string[])["mms", "host-a", "host-b", "store-a", "store-b", "pe-a", "pe-b"])
        {
            string log = Path.Combine(Lab.Folder, node + ".log");
            if (File.Exists(log)) lines.Add($"{node}.log:\n  {string.Join("\n  ", (await File.ReadAllLinesAsync(log)).TakeLast(8))}");
        }

        return string.Join('\n', lines);
    }

    /// <summary>An answer, from a party that may be on its way up, or not be ready for it yet.</summary>
    public Task<T> AskAsync<T>(string what, Func<CancellationToken, Task<T>> ask) => UntilAsync(what, ask, _ => true);

    /// <summary>Asks again until the answer is so.</summary>
    public async Task<T> UntilAsync<T>(string what, Func<CancellationToken, Task<T>> ask, Func<T, bool> condition)
    {
        string last = "no answer";
        for (var watch = Stopwatch.StartNew(); watch.Elapsed < Patience; await Task.Delay(10))
        {
            try
            {
                T answer = await ask(CancellationToken.None);
                if (condition(answer)) return answer;
                last = answer is MigrationStatus status ? Summary(status) : $"{answer}";
            }
            catch (Exception e) when (e is ApiUnreachableException or ApiProblemException)
            {
                last = e.Message;
            }
        }

        throw new TimeoutException($"waited {Patience.TotalSeconds} s in vain for {what}: {last}\n{await TellAsync()}");
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        foreach (ApiClient client in All) client.Dispose();
        await Lab.DestroyAsync();
        foreach (Process process in _restarted.Values) process.Dispose();
    }

    // The first thread can be a zombie while others still hold devices, locks and sockets.
    private static bool IsGone(int process)
    {
        if (ProcessStat.Read(process) is { IsAlive: true }) return false;
        try
        {
            return Directory.GetDirectories($"/proc/{process}/task").Length <= 1;
        }
        catch (IOException)
        {
            return true;
        }
    }

    private static string Summary(MigrationStatus m) => $"""
        migration {m.Id} {m.From} -> {m.To}: {m.State}, {m.Stage}, epoch {m.Epoch}, failure: {m.Failure ?? "none"}
          waits: {string.Join("\n         ", m.Waiting.Select(w => $"{w.Step}: {w.Reason} {w.Detail}"))}
          stages: {string.Join(", ", m.Moves.SelectMany(x => x.Timeline).Select(t => $"{t.Stage} {(t.EndNs - t.StartNs) / 1_000_000} ms"))}
        """;
}
