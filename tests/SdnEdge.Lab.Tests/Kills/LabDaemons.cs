using System.Diagnostics;
using System.Globalization;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Demo.Run;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;
using SdnEdge.Testing;

namespace SdnEdge.Lab.Tests.Kills;

/// <summary>
/// The daemons of a lab whose manager moves a server to and fro: their clients, and what happens to them. One that was killed is started
/// again as the lab starts it.
/// </summary>
internal sealed class LabDaemons : IAsyncDisposable
{
    private static int s_labs;

    private readonly IReadOnlyList<string> _program;
    private readonly Dictionary<string, Process> _restarted = [];

    private LabDaemons(RunningLab lab, IReadOnlyList<string> program, string folder)
    {
        (Lab, _program, Folder) = (lab, program, folder);
        AppDomain.CurrentDomain.ProcessExit += OnProcessExit;
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

    /// <summary>Where all of its files are.</summary>
    public string Folder { get; }

    /// <summary>The PEs, by node.</summary>
    public IReadOnlyDictionary<string, PeClient> Pes { get; }

    /// <summary>The agents of the server hosts, by node.</summary>
    public IReadOnlyDictionary<string, HostClient> Hosts { get; }

    /// <summary>The block stores, by node.</summary>
    public IReadOnlyDictionary<string, StoreClient> Stores { get; }

    /// <summary>The manager.</summary>
    public MmsClient Mms { get; }

    /// <summary>The nodes of the managers; of several one leads.</summary>
    public IReadOnlyList<string> Managers
        => [.. Lab.Topology.Nodes.Where(n => n.Kind == NodeKind.SdnEdgeMms).Select(n => n.Name)];

    /// <summary>All of them.</summary>
    public IEnumerable<ApiClient> All => [.. Pes.Values, .. Hosts.Values, .. Stores.Values, Mms];

    /// <summary>
    /// Deploys a copy of a lab. No PE damps moves in it, as the server moves more often than anybody's would.
    /// </summary>
    /// <param name="topology">The topology file; it and its folder are copied.</param>
    /// <param name="tag">What the lab's name begins with.</param>
    /// <param name="program">How <c>sdnedge</c> is started; null: found by itself.</param>
    /// <param name="rttMs">The round-trip time of its WAN; null = as the topology says.</param>
    /// <param name="edit">Changes to the files of its folder: folder of the copy, name and text to text; null = none.</param>
    public static async Task<LabDaemons> StartAsync(string topology, string tag, IReadOnlyList<string>? program = null, int? rttMs = null,
        Func<string, string, string, string>? edit = null)
    {
        string folder = Directory.CreateTempSubdirectory("sdnedge-lab-").FullName;
        try
        {
            program ??= RunningLab.Self;
            var options = new LabOptions
            {
                Name = string.Create(CultureInfo.InvariantCulture, $"{tag}{Environment.ProcessId}-{Interlocked.Increment(ref s_labs)}"),
                StateRoot = Path.Combine(folder, "labs"), RttMs = rttMs, ReadyTimeout = Patience.Long, Self = program,
            };
            string copy = CopyUndamped(topology, folder, edit);
            return new LabDaemons(await LabRunner.DeployAsync(copy, options, CancellationToken.None), program, folder);
        }
        catch
        {
            Directory.Delete(folder, recursive: true);
            throw;
        }
    }

    private static string CopyUndamped(string topology, string folder, Func<string, string, string, string>? edit)
    {
        string copy = Path.Combine(folder, Path.GetFileName(topology));
        File.Copy(topology, copy);

        // Its own folder, and those of others of which it uses files.
        string said = File.ReadAllText(topology);
        foreach (string from in Directory.GetDirectories(Path.GetDirectoryName(topology)!))
        {
            string name = Path.GetFileName(from), files = Path.Combine(folder, name);
            if (!said.Contains($": {name}/", StringComparison.Ordinal)) continue;
            Directory.CreateDirectory(files);
            foreach (string file in Directory.GetFiles(from))
            {
                string text = File.ReadAllText(file).Replace("\nbgp:\n", "\nbgp:\n  moveDamping: { moves: 0 }\n", StringComparison.Ordinal);
                if (edit is not null) text = edit(folder, Path.GetFileName(file), text);
                File.WriteAllText(Path.Combine(files, Path.GetFileName(file)), text);
            }
        }

        return copy;
    }

    /// <summary>The process of a node's daemon.</summary>
    public int ProcessOf(string node)
        => _restarted.TryGetValue(node, out Process? later) ? later.Id
            : Lab.State.Processes.Single(p => p.Node == node && p.Name != "etcd").ProcessId;

    /// <summary>Ids of the migrations so far.</summary>
    public async Task<string[]> MigrationsAsync()
        => [.. (await AskAsync("the migrations so far", c => Mms.MigrationsAsync(c))).Select(m => m.Id)];

    /// <summary>Asks for a migration. When the answer is lost with the manager, it may be on record or not: the list says it.</summary>
    public Task<string> BeginAsync(string group, string to, int copyMs, string[] known) => AskAsync($"a migration to {to} to begin",
        async c => (await Mms.MigrationsAsync(c)).FirstOrDefault(m => !known.Contains(m.Id))?.Id
            ?? (await Mms.StartAsync(new MigrationCall(group, to, CopyMs: copyMs, QuietMs: 100), c)).Id);

    /// <summary>
    /// Waits for the first event, a stage or an outcome of a migration that is not <paramref name="known"/>, at which something is due.
    /// </summary>
    /// <exception cref="TimeoutException">The migration has not come to <paramref name="wanted"/>.</exception>
    public async Task<EventRecord> StageAsync(string[] known, string wanted, Predicate<EventRecord> due)
    {
        EventRecord? found = null;
        using var patience = new CancellationTokenSource(Patience.Long);
        return await Patience.BecomesAsync(async () => (found = await FirstAsync()) is not null, Patience.Long) ? found!
            : throw new TimeoutException($"the migration did not come to {wanted} in {Patience.Long.TotalSeconds} s\n{await TellAsync()}");

        // Null: no manager leads, or the one that did does not any more. The next leader has only what happens from then on.
        async Task<EventRecord?> FirstAsync()
        {
            try
            {
                await foreach (EventRecord e in Mms.EventsAsync(0, patience.Token))
                {
                    if (e.Kind == "migration" && !known.Contains(e.Subject) && due(e)) return e;
                }
            }
            catch (Exception e) when (e is ApiUnreachableException or ApiProblemException or IOException or OperationCanceledException)
            {
            }

            return null;
        }
    }

    /// <summary>Kills a daemon by SIGKILL, and starts it again when it is dead. Returns when it is ready.</summary>
    public async Task KillAsync(string node)
    {
        await EndAsync(node);
        await BeginAgainAsync(node);
    }

    /// <summary>Kills a daemon by SIGKILL. Returns when it is dead.</summary>
    public async Task EndAsync(string node)
    {
        int process = ProcessOf(node);
        Signals.Send(process, ProcessSignal.Kill);
        await Patience.UntilAsync(() => IsGone(process), () => $"{node} (process {process}) does not end", Patience.Long);
    }

    /// <summary>Starts a daemon again that is dead. Returns when it is ready.</summary>
    public async Task BeginAgainAsync(string node)
    {
        _restarted.GetValueOrDefault(node)?.Dispose();
        string command = Managers.Contains(node) ? "mms" : Hosts.ContainsKey(node) ? "host" : Stores.ContainsKey(node) ? "store" : "pe";

        // As the lab starts it: a session of its own, its output behind what is in its log already.
        string[] argv =
        [
            "sh", "-c", "log=$1; shift; exec \"$@\" >>\"$log\" 2>&1 </dev/null", "sh", Path.Combine(Lab.Folder, node + ".log"),
            .. _program, command, "--config", Path.Combine(Lab.Folder, node + ".yaml"),
        ];
        _restarted[node] = Lab.Start(node, argv, ahead: true);
        await (command switch
        {
            "mms" => (Task)UntilAsync($"{node} to take migrations or to stand by", c => ManagerAsync(node, c),
                n => n.Ready || n is { Role: "standby", Leader: not null }),
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
        await LinkAsync("down");
        try
        {
            await UntilAsync($"the manager to miss {node}", c => Mms.MigrationAsync(migration, c),
                m => m.Ended || (until is null ? m.Waiting.Any(w => w.Reason == "peer-unreachable") : m.Stage == until));
        }
        finally
        {
            await LinkAsync("up");
        }

        Task LinkAsync(string state) => LabInstance.RunAsync(Lab, node, "ip", "link", "set", "mgmt0", state);
    }

    /// <summary>The manager that leads.</summary>
    public async Task<string> LeaderAsync()
    {
        if (Managers is [string only]) return only;
        string? leads = null;
        await UntilAsync("a manager to lead", async c =>
        {
            foreach (string node in Managers)
            {
                if (await ManagerAsync(node, c) is { Role: "leader" }) leads = node;
            }

            return leads;
        }, _ => leads is not null);
        return leads!;
    }

    /// <summary>Waits until another manager leads. Returns which.</summary>
    public async Task<string> NextLeaderAsync(string before)
    {
        string[] others = [.. Managers.Where(m => m != before)];
        MmsNodeInfo[] all = await UntilAsync($"another manager than {before} to lead",
            async c => await Task.WhenAll(others.Select(o => ManagerAsync(o, c))), all => all.Any(n => n.Role == "leader"));
        return all.First(n => n.Role == "leader").Name;
    }

    /// <summary>
    /// Has a manager that leads stand still, or cuts it and its member of etcd off, until another one leads; then it goes on. Returns when
    /// it has seen that it leads no more.
    /// </summary>
    public async Task TakeOverAsync(string node, bool freeze)
    {
        int process = ProcessOf(node);
        long? term = (await ManagerAsync(node, CancellationToken.None)).Term;
        if (freeze) Signals.Send(process, ProcessSignal.Stop);
        else await LabInstance.RunAsync(Lab, node, "ip", "link", "set", "mgmt0", "down");
        try
        {
            await NextLeaderAsync(node);
        }
        finally
        {
            if (freeze) Signals.Send(process, ProcessSignal.Continue);
            else await LabInstance.RunAsync(Lab, node, "ip", "link", "set", "mgmt0", "up");
        }

        // It may lead again, by a later term.
        await UntilAsync($"{node} to stand by", c => ManagerAsync(node, c),
            n => n is { Role: "standby", Leader: not null } || n.Term > term);
    }

    /// <summary>Processes of the members of etcd that are not beside the manager that leads: without them etcd has no majority.</summary>
    public async Task<int[]> MembersBesideLeaderAsync()
    {
        string leader = await LeaderAsync();
        return [.. Lab.State.Processes.Where(p => p.Name == "etcd" && p.Node != leader).Select(p => p.ProcessId)];
    }

    /// <summary>
    /// Has members of etcd stand still until no manager leads, and while <paramref name="meanwhile"/> looks at what goes on without them.
    /// </summary>
    public async Task<T> WithoutMajorityAsync<T>(int[] members, Func<Task<T>> meanwhile)
    {
        foreach (int member in members) Signals.Send(member, ProcessSignal.Stop);
        try
        {
            await UntilAsync("no manager to lead", async c => await Task.WhenAll(Managers.Select(m => ManagerAsync(m, c))),
                all => all.All(n => n is { Role: "standby", Leader: null, Fault: not null }));
            return await meanwhile();
        }
        finally
        {
            foreach (int member in members) Signals.Send(member, ProcessSignal.Continue);
        }
    }

    /// <summary>Whether the packets of a moving server go to its target and wait there: switched at its source, not released.</summary>
    public async Task<bool> IsHeldAsync()
    {
        var asked = Pes.Values.Select(p => AskAsync($"migrations of {p.Name}", c => p.MigrationsAsync(c)));
        MigrationInfo[] all = [.. (await Task.WhenAll(asked)).SelectMany(m => m)];
        return all.Any(m => m.State == PeMigrationState.Switched
            && all.Any(other => other.Id == m.Id && other.State == PeMigrationState.Prepared));
    }

    /// <summary>What a manager says of itself.</summary>
    public async Task<MmsNodeInfo> ManagerAsync(string node, CancellationToken cancel)
    {
        using var one = new MmsClient(new ApiEndpoint(node, Lab.ApiSocket(node)));
        return await one.NodeAsync(cancel);
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
        long start = Stopwatch.GetTimestamp();
        try
        {
            await LabInstance.ReachAsync(Lab, client, address);
        }
        catch (TimeoutException e)
        {
            throw new TimeoutException($"{e.Message}\n{await TellAsync()}", e);
        }

        return Stopwatch.GetElapsedTime(start).TotalMilliseconds;
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

    /// <summary>
    /// The last migration as the manager has it, where packets were dropped, and what the nodes have logged: for the message of a failed
    /// assertion.
    /// </summary>
    public async Task<string> TellAsync()
    {
        var lines = new List<string>();
        try
        {
            if ((await Mms.MigrationsAsync()) is [.., var last]) lines.Add(Summary(last));
            DropCount drops = await DropCount.TakeAsync(Lab, Pes, CancellationToken.None);
            lines.Add($"dropped: {string.Join(", ", drops.Since(new DropCount()))}");
        }
        catch (Exception e) when (e is ApiUnreachableException or ApiProblemException)
        {
            lines.Add(e.Message);
        }

        foreach (string node in (string[])[.. Managers, "host-a", "host-b", "store-a", "store-b", "pe-a", "pe-b"])
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
        T answer = default!;
        if (await Patience.BecomesAsync(IsSoAsync, Patience.Long)) return answer;
        throw new TimeoutException($"waited {Patience.Long.TotalSeconds} s in vain for {what}: {last}\n{await TellAsync()}");

        async Task<bool> IsSoAsync()
        {
            try
            {
                answer = await ask(CancellationToken.None);
                last = answer is MigrationStatus status ? Summary(status) : $"{answer}";
                return condition(answer);
            }
            catch (Exception e) when (e is ApiUnreachableException or ApiProblemException)
            {
                last = e.Message;
                return false;
            }
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        AppDomain.CurrentDomain.ProcessExit -= OnProcessExit;
        foreach (ApiClient client in All) client.Dispose();
        await Lab.DestroyAsync();
        foreach (Process process in _restarted.Values) process.Dispose();
        Directory.Delete(Folder, recursive: true);
    }

    // Nothing of it outlives whoever has made it, who may be ended in the middle.
    private void OnProcessExit(object? sender, EventArgs e) => DisposeAsync().AsTask().GetAwaiter().GetResult();

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
