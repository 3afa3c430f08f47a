using System.Diagnostics;
using System.Globalization;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Tests.Kills;

/// <summary>
/// The Figure 1 lab, whose server moves to and fro while one party after the other is killed, or cut off from the manager. Each case ends
/// with an inspection that does not rest on what the manager says: the server's namespace, the PEs, the host agents, and a client's ping.
/// </summary>
internal sealed class KillRig : IAsyncDisposable
{
    /// <summary>How long a case may take: long enough for a machine on which processes stand still for seconds.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    private const string Client = "client-c", Server = "vs", Address = "10.1.1.10";

    private static int s_rigs;

    private readonly string _folder;
    private readonly IReadOnlyList<string> _program;
    private readonly Dictionary<string, Process> _restarted = [];
    private readonly Dictionary<string, PeClient> _pes = [];
    private readonly Dictionary<string, HostClient> _hosts = [];
    private readonly MmsClient _mms;
    private readonly LegWatch _legs;

    private KillRig(RunningLab lab, string folder, IReadOnlyList<string> program)
    {
        (Lab, _folder, _program) = (lab, folder, program);
        foreach (string pe in (string[])["pe-a", "pe-b", "pe-c", "pe-d", "pe-e"]) _pes[pe] = PeClient.ForUnixSocket(lab.ApiSocket(pe), pe);
        foreach (LabHost host in lab.Hosts) _hosts[host.Node] = new HostClient(new ApiEndpoint(host.Node, lab.ApiSocket(host.Node)));
        _mms = new MmsClient(new ApiEndpoint("mms", lab.MmsSocket!));
        _legs = new LegWatch(lab, Server, _hosts);
    }

    // The first use of each kind of request takes long on a busy machine, and the first case waits for none of it.
    private async Task WarmUpAsync()
    {
        await AskAsync("the manager's migrations", c => _mms.MigrationsAsync(c));
        await AbortAsync("none");
        using var enough = new CancellationTokenSource(TimeSpan.FromMilliseconds(200));   // the stream has no end of its own
        try
        {
            await foreach (EventRecord e in _mms.EventsAsync(0, enough.Token)) _ = new KillCase(Party.Manager, "mirror").IsDue(e.Change);
        }
        catch (OperationCanceledException)
        {
        }

        await AnswersAsync();
    }

    /// <summary>The lab.</summary>
    public RunningLab Lab { get; }

    /// <summary>Deploys the lab. No PE damps moves in it, as the server moves more often than anybody's would.</summary>
    /// <param name="topology">The topology file of Figure 1; it and its folder are copied.</param>
    /// <param name="program">How <c>sdnedge</c> is started; null: found by itself.</param>
    public static async Task<KillRig> StartAsync(string topology, IReadOnlyList<string>? program = null)
    {
        string folder = Directory.CreateTempSubdirectory("sdnedge-kills-").FullName;
        try
        {
            string copy = Path.Combine(folder, Path.GetFileName(topology)), files = Path.Combine(folder, "figure1");
            File.Copy(topology, copy);
            Directory.CreateDirectory(files);
            foreach (string file in Directory.GetFiles(Path.Combine(Path.GetDirectoryName(topology)!, "figure1")))
            {
                string text = await File.ReadAllTextAsync(file);
                text = text.Replace("\nbgp:\n", "\nbgp:\n  moveDamping: { moves: 0 }\n", StringComparison.Ordinal);
                await File.WriteAllTextAsync(Path.Combine(files, Path.GetFileName(file)), text);
            }

            program ??= RunningLab.Self;
            string name = string.Create(CultureInfo.InvariantCulture, $"kl{Environment.ProcessId}-{Interlocked.Increment(ref s_rigs)}");
            string states = Path.Combine(folder, "labs");
            var options = new LabOptions { Name = name, StateRoot = states, RttMs = 20, ReadyTimeout = Patience, Self = program };
            RunningLab lab = await LabRunner.DeployAsync(copy, options, CancellationToken.None);
            var rig = new KillRig(lab, folder, program);
            await rig.WarmUpAsync();
            return rig;
        }
        catch
        {
            Directory.Delete(folder, recursive: true);
            throw;
        }
    }

    /// <summary>Moves the server to its other site, with a fault on the way, and inspects everything at the end.</summary>
    public async Task<KillResult> RunAsync(KillCase what)
    {
        string from = _legs.Site ?? throw new InvalidOperationException("before the case the server must be live at one site");
        string to = _legs.Other(from);
        string node = NodeOf(what.Party, from, to);
        _legs.Begin();
        using var pings = new PingStream(Lab, Client, Address);
        string[] known = [.. (await AskAsync("the migrations so far", c => _mms.MigrationsAsync(c))).Select(m => m.Id)];
        var watch = Stopwatch.StartNew();
        Task<(string Hit, bool? Aborted)> strike = StrikeAsync(what, node, known);
        string id = await BeginAsync(to, what.CopyMs, known);
        (string hit, bool? aborted) = await strike;
        MigrationStatus status = await UntilAsync($"migration {id} to end", c => _mms.MigrationAsync(id, c), m => m.Ended);
        double ms = watch.Elapsed.TotalMilliseconds;
        await BgpIsUpAsync(what);
        double answeredMs = await AnswersAsync();
        (int Sent, int Lost) lost = await pings.EndAsync();
        List<string> wrong = await InspectAsync(what, hit, aborted, status, from, to);
        return new KillResult(what, node, hit, aborted, status.State, ms, _legs.DarkMs, answeredMs, lost, wrong);
    }

    /// <summary>What the nodes have logged, and the migrations as the manager has them: for the message of a failed assertion.</summary>
    public async Task<string> TellAsync()
    {
        var lines = new List<string>();
        try
        {
            MigrationStatus last = (await _mms.MigrationsAsync())[^1];
            lines.Add(Summary(last));
        }
        catch (Exception e) when (e is ApiUnreachableException or ApiProblemException)
        {
            lines.Add(e.Message);
        }

        foreach (string node in (string[])["mms", "host-a", "host-b", "pe-a", "pe-b"])
        {
            string log = Path.Combine(Lab.Folder, node + ".log");
            if (File.Exists(log)) lines.Add($"{node}.log:\n  {string.Join("\n  ", (await File.ReadAllLinesAsync(log)).TakeLast(8))}");
        }

        return string.Join('\n', lines);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _legs.DisposeAsync();
        _mms.Dispose();
        foreach (PeClient pe in _pes.Values) pe.Dispose();
        foreach (HostClient host in _hosts.Values) host.Dispose();
        await Lab.DestroyAsync();
        foreach (Process process in _restarted.Values) process.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private string NodeOf(Party party, string from, string to) => party switch
    {
        Party.Manager => "mms",
        Party.SourcePe => PeOf(from),
        Party.TargetPe => PeOf(to),
        Party.SourceHost => HostOf(from),
        _ => HostOf(to),
    };

    private string PeOf(string site) => Lab.SitesOf(Server).First(s => s.Name == site).Pe!;

    private string HostOf(string site) => Lab.Hosts.First(h => h.Site == site).Node;

    // Asks for a migration. When the answer is lost with the manager, the migration may be on record or not: the list says it.
    private async Task<string> BeginAsync(string to, int copyMs, string[] known)
    {
        string last = "";
        for (var watch = Stopwatch.StartNew(); watch.Elapsed < Patience; await Task.Delay(10))
        {
            try
            {
                if ((await _mms.MigrationsAsync()).FirstOrDefault(m => !known.Contains(m.Id)) is { } begun) return begun.Id;
                return (await _mms.StartAsync(new MigrationCall("vs", to, CopyMs: copyMs, QuietMs: 100))).Id;
            }
            catch (Exception e) when (e is ApiUnreachableException or ApiProblemException)
            {
                last = e.Message;
            }
        }

        throw new TimeoutException($"no migration to {to} began in {Patience.TotalSeconds} s: {last}\n{await TellAsync()}");
    }

    // Waits for the case's stage by the manager's events, and does there what the case says. Returns the stage that it was.
    private async Task<(string Hit, bool? Aborted)> StrikeAsync(KillCase what, string node, string[] known)
    {
        Task<bool?>? abort = null;
        using var patience = new CancellationTokenSource(Patience);
        try
        {
            await foreach (EventRecord e in _mms.EventsAsync(0, patience.Token))
            {
                if (e.Kind != "migration" || known.Contains(e.Subject)) continue;
                if (abort is null && what.IsAbortDue(e.Change)) abort = AbortAsync(e.Subject);
                if ((what.AbortAt is not null && abort is null) || !what.IsDue(e.Change)) continue;
                if (what.AfterMs > 0) await Task.Delay(what.AfterMs, patience.Token);
                if (what.Fault == Fault.Kill) await KillAsync(node);
                else await CutOffAsync(node, e.Subject, what.Until);
                return (e.Change, abort is null ? null : await abort);
            }
        }
        catch (OperationCanceledException)
        {
            // Said below.
        }

        throw new TimeoutException($"the migration did not come to {what.Stage} in {Patience.TotalSeconds} s\n{await TellAsync()}");
    }

    // Whether the manager took it. Null: the answer was lost with it; how the migration ends shows what is on record.
    private async Task<bool?> AbortAsync(string migration)
    {
        try
        {
            await _mms.AbortAsync(migration, "a test");
            return true;
        }
        catch (ApiProblemException)
        {
            return false;
        }
        catch (ApiUnreachableException)
        {
            return null;
        }
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

    private async Task KillAsync(string node)
    {
        Process? later = _restarted.GetValueOrDefault(node);
        int process = later?.Id ?? Lab.State.Processes.Single(p => p.Node == node).ProcessId;
        Signals.Send(process, ProcessSignal.Kill);
        for (var watch = Stopwatch.StartNew(); !IsGone(process); await Task.Delay(1))
        {
            if (watch.Elapsed > Patience) throw new TimeoutException($"{node} (process {process}) does not end");
        }

        later?.Dispose();
        string command = node == "mms" ? "mms" : _hosts.ContainsKey(node) ? "host" : "pe";

        // As the lab starts it: a session of its own, its output behind what is in its log already.
        string[] argv =
        [
            "sh", "-c", "log=$1; shift; exec \"$@\" >>\"$log\" 2>&1 </dev/null", "sh", Path.Combine(Lab.Folder, node + ".log"),
            .. _program, command, "--config", Path.Combine(Lab.Folder, node + ".yaml"),
        ];
        _restarted[node] = Lab.Start(node, argv, ahead: true);
        await (command switch
        {
            "mms" => (Task)UntilAsync("the manager to take migrations", c => _mms.NodeAsync(c), n => n.Ready),
            "host" => UntilAsync($"{node} to take orders", c => _hosts[node].NodeAsync(c), n => n.Ready),
            _ => UntilAsync($"{node} to forward", c => _pes[node].NodeAsync(c), n => n.Ready),
        });
    }

    // Until the manager says that it does not reach the party, or undoes the migration because of that, or needs it no more; or until the
    // migration has come to the case's stage without it.
    private async Task CutOffAsync(string node, string migration, string? until)
    {
        await LinkAsync("down");
        try
        {
            await UntilAsync($"the manager to miss {node}", c => _mms.MigrationAsync(migration, c),
                m => m.Ended || (until is null ? m.Waiting.Any(w => w.Reason == "peer-unreachable") : m.Stage == until));
        }
        finally
        {
            await LinkAsync("up");
        }

        async Task LinkAsync(string way)
        {
            using Process ip = Process.Start(new ProcessStartInfo("ip", ["-n", Lab.NamespaceOf(node), "link", "set", "mgmt0", way]))!;
            await ip.WaitForExitAsync();
            if (ip.ExitCode != 0) throw new InvalidOperationException($"mgmt0 of {node} cannot be set {way}");
        }
    }

    // A PE that was killed has its sessions again before the next case begins.
    private async Task BgpIsUpAsync(KillCase what)
    {
        if (what.Fault != Fault.Kill || what.Party is not (Party.SourcePe or Party.TargetPe)) return;
        foreach ((string name, PeClient pe) in _pes)
        {
            await UntilAsync($"{name}'s BGP sessions", c => pe.BgpPeersAsync(c),
                peers => peers.All(p => string.Equals(p.State, "established", StringComparison.OrdinalIgnoreCase) && p.Loaded != false));
        }
    }

    private async Task<double> AnswersAsync()
    {
        for (var watch = Stopwatch.StartNew(); watch.Elapsed < Patience;)
        {
            using Process ping = Lab.Start(Client, ["ping", "-q", "-c", "1", "-W", "1", Address], redirect: true);
            await ping.StandardOutput.ReadToEndAsync();
            await ping.WaitForExitAsync();
            if (ping.ExitCode == 0) return watch.Elapsed.TotalMilliseconds;
        }

        throw new TimeoutException($"{Client} got no answer from {Address} in {Patience.TotalSeconds} s");
    }

    private async Task<List<string>> InspectAsync(KillCase what, string hit, bool? aborted, MigrationStatus status, string from, string to)
    {
        var wrong = new List<string>();
        string[] stages = [.. status.Moves.SelectMany(m => m.Timeline).Select(t => t.Stage)];
        bool voided = stages.Contains("void"), pivoted = stages.Contains("hand-over") || stages.Contains("activate");
        if (status.State is not ("moved" or "as-before")) wrong.Add($"it ended {status.State}: {status.Failure}");
        if (aborted == true && status.State != "as-before" && !voided) wrong.Add($"the abort was taken, and it ended {status.State}");
        if (what.AbortAt is null && KillCase.AfterPivot.Contains(hit) && status.State != "moved" && !voided)
            wrong.Add($"after the pivot it ended {status.State}: {status.Failure}");
        if (what.Until is not null && status.State != "as-before")
            wrong.Add($"it was cut off until {what.Until}, and ended {status.State}");
        if (status.State == "as-before" && pivoted && !voided)
            wrong.Add("it was undone after the pivot, and the target was not asked to void the epoch");

        string home = status.State == "moved" ? to : from, away = home == to ? from : to;
        if (_legs.Site != home) wrong.Add($"{status.State}, and the server is live at {_legs.Site ?? "no site"}, not at {home}");
        wrong.AddRange(_legs.Stopped().Select(p => $"process {p.ProcessId} of the server stands still"));
        wrong.AddRange(_legs.Seen);

        // The host agents, each asked itself.
        ServerInfo here = await ServerAsync(home), there = await ServerAsync(away);
        if (here is not { State: ServerState.Running } || here.MayRun is null) wrong.Add($"at {home}: {here}");
        if (there is not { State: ServerState.Absent, MayRun: null }) wrong.Add($"at {away}: {there}");
        if (here.MayRun != status.Epoch) wrong.Add($"the epoch in force is {status.Epoch}, and the server runs under {here.MayRun}");
        foreach (string site in (string[])[from, to])
        {
            HostClient host = _hosts[HostOf(site)];
            long epoch = (await ServerAsync(site)).Epoch;
            if (status.State == "moved" && epoch != status.Epoch) wrong.Add($"{host.Name} has epoch {epoch}, not {status.Epoch}");
            if (epoch > 1)
            {
                await RefusesAsync($"{host.Name} an order of epoch {epoch - 1}",
                    c => host.OrderAsync(Server, ServerOrder.Resume, new ServerOrderRequest(epoch - 1, status.Id), c));
            }
        }

        foreach (string site in (string[])[from, to])
        {
            PeClient pe = _pes[PeOf(site)];
            IReadOnlyList<TunnelInfo> tunnels = await AskAsync($"tunnels of {pe.Name}", c => pe.TunnelsAsync(c));
            wrong.AddRange(tunnels.Select(t => $"{pe.Name} still has tunnel {t.Name}"));
            IReadOnlyList<RedirectGroupInfo> groups = await AskAsync($"groups of {pe.Name}", c => pe.GroupsAsync(c));
            wrong.AddRange(groups.Select(g => $"{pe.Name} still has group {g.Name} ({g.Active})"));
            IReadOnlyList<MigrationInfo> migrations = await AskAsync($"migrations of {pe.Name}", c => pe.MigrationsAsync(c));
            wrong.AddRange(migrations
                .Where(m => m.State is not (PeMigrationState.TornDown or PeMigrationState.Aborted or PeMigrationState.Idle))
                .Select(m => $"{pe.Name} still has migration {m.Id} ({m.State})"));
            foreach (string path in status.Moves.SelectMany(m => m.Paths).Select(p => p.Id))
            {
                if (migrations.FirstOrDefault(m => m.Id == path) is not { } known)
                {
                    if (status.State == "moved") wrong.Add($"{pe.Name} does not know migration {path}");
                    continue;
                }

                if (known.Epoch <= 1) continue;
                SignalKind late = site == from ? SignalKind.Switch : SignalKind.Release;
                var old = new SignalRequest(known.Epoch - 1);
                await RefusesAsync($"{pe.Name} a signal of epoch {old.Epoch}", c => pe.SignalAsync(path, late, old, c));
            }
        }

        return wrong;

        Task<ServerInfo> ServerAsync(string site) => AskAsync($"what {HostOf(site)} has", c => _hosts[HostOf(site)].ServerAsync(Server, c));

        async Task RefusesAsync<T>(string whom, Func<CancellationToken, Task<T>> ask)
        {
            try
            {
                await ask(CancellationToken.None);
                wrong.Add($"{whom}: accepted");
            }
            catch (ApiProblemException e)
            {
                if (e.Problem.Type != "/problems/stale-epoch") wrong.Add($"{whom}: {e.Problem.Type}: {e.Problem.Detail}");
            }
        }
    }

    private static string Summary(MigrationStatus m) => $"""
        migration {m.Id} {m.From} -> {m.To}: {m.State}, {m.Stage}, epoch {m.Epoch}, failure: {m.Failure ?? "none"}
          waits: {string.Join("\n         ", m.Waiting.Select(w => $"{w.Step}: {w.Reason} {w.Detail}"))}
          stages: {string.Join(", ", m.Moves.SelectMany(x => x.Timeline).Select(t => $"{t.Stage} {(t.EndNs - t.StartNs) / 1_000_000} ms"))}
        """;

    // An answer, from a party that may be on its way up, or not be ready for it yet.
    private Task<T> AskAsync<T>(string what, Func<CancellationToken, Task<T>> ask) => UntilAsync(what, ask, _ => true);

    private async Task<T> UntilAsync<T>(string what, Func<CancellationToken, Task<T>> ask, Func<T, bool> condition)
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
}
