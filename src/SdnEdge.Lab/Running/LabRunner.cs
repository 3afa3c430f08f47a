using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using SdnEdge.Core.Config;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Running;

/// <summary>
/// Deploys and destroys labs. Deploy: 1 read and check the topology and the PEs' configurations; 2 refuse what cannot work; 3 write down
/// what will be
/// made; 4 make certificates, and namespaces and links in one batch; 5 set up each node and start its processes, stage by stage;
/// 6 wait until each is ready; hosts that are ready start their virtual machines, which are waited for.
/// Whatever goes wrong after 3, and a cancelled deploy too, is undone. Destroy works from what was written down.
/// </summary>
public static class LabRunner
{
    // What is given to 'ip -batch'. A file: its name says to whom an ip belongs that outlives its deploy.
    private const string BatchFile = "links.batch";

    /// <summary>Deploys a topology file and waits until the lab is ready.</summary>
    /// <param name="topologyFile">The file.</param>
    /// <param name="options">How; null for the defaults.</param>
    /// <param name="cancel">Cancels the deploy; what was made is taken away.</param>
    /// <exception cref="TopologyException">The file is wrong.</exception>
    /// <exception cref="LabException">The lab cannot be deployed; nothing is left of it.</exception>
    public static async Task<RunningLab> DeployAsync(string topologyFile, LabOptions? options, CancellationToken cancel)
    {
        options ??= new LabOptions();
        LabTopology lab = TopologyLoader.Load(topologyFile);
        if (options.Name is { } name)
            lab = TopologyLoader.WhyNoName(name) is { } no ? throw new LabException($"--name: {no}.") : lab with { Name = name };
        if (options.RttMs is { } rtt)
            lab = rtt is >= 0 and <= 60_000 ? lab.WithRtt(rtt)
                : throw new LabException($"a round-trip time of {rtt} ms cannot be; give 0 to 60000.");
        if (LabOptions.WhyNot is { } lacking) throw new LabException(lacking);

        string folder = options.Folder(lab.Name);
        LabPlan plan = LabPlan.For(lab, folder, options.FindSelf());
        IReadOnlyDictionary<string, NodeConfig> pes = StartupConfigs.Check(plan, out IReadOnlyList<string> odd);
        foreach (string warning in lab.Warnings.Concat(odd)) options.Progress?.Invoke("warning: " + warning);
        using FileStream claim = Claim(options.StateRoot, lab.Name);
        await MakeWayAsync(lab, folder, options, cancel);

        Directory.CreateDirectory(folder);
        var state = new LabState(lab.Name, lab.File, options.RttMs, Ready: false,
            [.. lab.Nodes.Select(n => new LabNamespace(n.Name, lab.NamespaceOf(n.Name), null))], [],
            new LabProcess("", "deploy", Environment.ProcessId, ProcessStat.Read(Environment.ProcessId)?.StartTicks ?? 0));
        state.Write(folder);
        try
        {
            LabCertificates.Write(lab, folder);
            options.Progress?.Invoke($"making {lab.Nodes.Count} namespaces and {lab.Links.Count} links");
            string batch = Path.Combine(folder, BatchFile);
            await WriteAsync(batch, plan.RootBatch, cancel);
            await Netns.BatchFileAsync(batch, cancel);
            state = state with { Namespaces = [.. state.Namespaces.Select(n => n with { Id = Netns.IdOf(n.Name) })] };
            state.Write(folder);

            options.Progress?.Invoke("starting the nodes");
            var started = new ConcurrentQueue<(PlannedNode Node, LabProcess Record, Process Process)>();
            var writing = new Lock();
            foreach (IGrouping<int, PlannedNode> stage in plan.Nodes.GroupBy(n => LabPlan.StageOf(n.Node.Kind)))
                await Parallel.ForEachAsync(stage, new ParallelOptions { MaxDegreeOfParallelism = 4, CancellationToken = cancel },
                    StartAsync);

            await Readiness.WaitAsync(plan, pes, folder, [.. started], options, cancel);
            state = state with { Ready = true };
            state.Write(folder);
            return new RunningLab(lab, folder, options.StateRoot);

            async ValueTask StartAsync(PlannedNode node, CancellationToken stop)
            {
                if (await SetUpAsync(node, folder, stop) is { Length: > 0 } failed)
                    options.Progress?.Invoke($"warning: exec of node {node.Node.Name} failed: {failed}");
                foreach (PlannedProcess planned in node.Processes)
                {
                    (LabProcess record, Process process) = Launch(node, planned);
                    started.Enqueue((node, record, process));
                    lock (writing)
                    {
                        state = state with { Processes = [.. state.Processes, record] };
                        state.Write(folder);
                    }

                    await ServesAsync(planned, process, options, stop);
                }
            }
        }
        catch (Exception e)
        {
            // The reason and the logs' last words first: destroy takes the logs away.
            string tails = e is OperationCanceledException ? "" : Readiness.LogTails(lab, folder);
            await TakeDownAsync(state, folder, keepLogs: false);
            if (e is LabException) throw new LabException(e.Message + tails);
            throw;
        }
    }

    /// <summary>Starts what has ended of a node again, with its startup-config as it is now. Returns the processes' names.</summary>
    /// <param name="name">The lab's name.</param>
    /// <param name="node">The node.</param>
    /// <param name="options">Where states are kept, and how long it may take.</param>
    /// <param name="cancel">Cancels the waiting; what was started stays.</param>
    /// <exception cref="TopologyException">A file is wrong.</exception>
    /// <exception cref="LabException">There is no such lab or node, or it does not become ready.</exception>
    public static async Task<IReadOnlyList<string>> RestartAsync(string name, string node, LabOptions options, CancellationToken cancel)
    {
        string folder = options.Folder(name);
        if (LabState.Read(folder) is null) throw new LabException($"there is no lab {name}.");
        using FileStream claim = Claim(options.StateRoot, name);
        LabState state = LabState.Read(folder) ?? throw new LabException($"there is no lab {name}.");
        if (state.WhyNotReady is { } why) throw new LabException(why + ".");
        LabTopology lab = TopologyLoader.Load(state.TopologyFile) with { Name = name };
        if (state.RttMs is { } rtt) lab = lab.WithRtt(rtt);
        if (lab.Find(node) is null)
            throw new LabException($"lab {name} has no node '{node}'; nodes are {string.Join(", ", lab.Nodes.Select(n => n.Name))}.");
        LabPlan plan = LabPlan.For(lab, folder, options.FindSelf());
        IReadOnlyDictionary<string, NodeConfig> pes = StartupConfigs.Check(plan, out _);
        PlannedNode planned = plan.Nodes.Single(n => n.Node.Name == node);
        foreach ((string path, string text) in planned.Files) await WriteAsync(path, text, cancel);
        var started = new List<(PlannedNode, LabProcess, Process)>();
        foreach (PlannedProcess process in planned.Processes)
        {
            LabProcess? before = state.Processes.LastOrDefault(p => p.Node == node && p.Name == process.Name);
            if (before?.IsAlive == true) continue;
            (LabProcess record, Process again) = Launch(planned, process);
            started.Add((planned, record, again));
            state = state with { Processes = [.. state.Processes.Where(p => p != before), record] };
            state.Write(folder);
            await ServesAsync(process, again, options, cancel);
        }

        if (started.Count > 0)
            await Readiness.WaitAsync(plan with { Nodes = [planned] }, pes, folder, started, options with { StartGuests = false }, cancel);
        return [.. started.Select(s => s.Item2.Name)];
    }

    /// <summary>Destroys a lab, running or half made.</summary>
    /// <param name="name">The lab's name.</param>
    /// <param name="stateRoot">Where states are kept; null = the default.</param>
    /// <param name="keepLogs">Leaves the logs in the lab's folder.</param>
    /// <returns>False when there is no such lab.</returns>
    public static async Task<bool> DestroyAsync(string name, string? stateRoot = null, bool keepLogs = false)
    {
        string root = stateRoot ?? LabState.DefaultRoot, folder = Path.Combine(root, name);
        if (!Directory.Exists(folder) && !File.Exists(LockOf(root, name))) return false;
        using FileStream claim = Claim(root, name);
        if (LabState.Read(folder) is not { } state) return LabState.DeleteBegun(folder);
        await TakeDownAsync(state, folder, keepLogs);
        return true;
    }

    // What ended instead, or takes too long, is told by whoever waits until all are ready.
    private static async Task ServesAsync(PlannedProcess planned, Process process, LabOptions options, CancellationToken cancel)
    {
        if (planned.Serves is { } file)
            await Netns.UntilAsync(() => File.Exists(file) || process.HasExited, options.ReadyTimeout, cancel);
    }

    private static (LabProcess Record, Process Process) Launch(PlannedNode node, PlannedProcess planned)
    {
        Process process = Netns.StartDaemon(node.Namespace, planned.Argv, node.Node.Env, node.Log);
        return (new LabProcess(node.Node.Name, planned.Name, process.Id, ProcessStat.Read(process.Id)?.StartTicks ?? 0), process);
    }

    private static async Task MakeWayAsync(LabTopology lab, string folder, LabOptions options, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        if (LabState.Read(folder) is { } old)
        {
            if (!options.Reconfigure)
            {
                throw new LabException(old.Ready
                    ? $"lab {lab.Name} is running already; 'sdnedge lab destroy --name {lab.Name}' ends it, 'deploy --reconfigure' "
                        + $"replaces it."
                    : $"an interrupted deploy of lab {lab.Name} is still there; 'sdnedge lab destroy --name {lab.Name}' takes it away, "
                        + $"'deploy --reconfigure' replaces it.");
            }

            options.Progress?.Invoke($"taking down the lab {lab.Name} that is there");
            await TakeDownAsync(old, folder, keepLogs: false);
        }

        string[] strangers = [.. lab.Nodes.Select(n => lab.NamespaceOf(n.Name)).Where(Namespaces.Exists)];
        if (strangers.Length > 0)
        {
            throw new LabException(
                $"these namespaces exist, and no lab of {options.StateRoot} made them: {string.Join(", ", strangers)}. " +
                $"If nobody needs them: {string.Join("; ", strangers.Select(s => $"ip netns del {s}"))}.");
        }
    }

    // Files may have passwords: nobody else reads them.
    private static async Task WriteAsync(string path, string text, CancellationToken cancel)
    {
        await using var to = new StreamWriter(path, new FileStreamOptions
        {
            Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        });
        await to.WriteAsync(text.AsMemory(), cancel);
    }

    // Returns what of exec failed; that takes no lab away. The script is a file: a shell that reads it from its input loses what is left of
    // it in its buffer when the input is turned elsewhere.
    private static async Task<string> SetUpAsync(PlannedNode node, string folder, CancellationToken cancel)
    {
        string file = Path.Combine(folder, node.Node.Name + ".setup");
        foreach ((string path, string text) in node.Files.Append((file, node.Script))) await WriteAsync(path, text, cancel);
        ProcessStartInfo script = Netns.Command(node.Namespace, ["sh", file], node.Node.Env);
        (int code, string error) = await Netns.RunAsync(script, "", cancel);
        if (code != 0) throw new LabException($"node {node.Node.Name} could not be set up (exit code {code}). {error.Trim()}");
        return error.Trim().Replace("\n", "; ", StringComparison.Ordinal);
    }

    private static string LockOf(string root, string lab) => Path.Combine(root, lab + ".lock");

    // One deploy or destroy of a lab at a time; the kernel lets go of the claim when its holder ends, however it ends.
    private static FileStream Claim(string root, string lab)
    {
        Directory.CreateDirectory(root);
        try
        {
            return new FileStream(LockOf(root, lab), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1,
                FileOptions.DeleteOnClose);
        }
        catch (IOException)
        {
            throw new LabException($"another deploy or destroy of lab {lab} is at work; wait until it has ended.");
        }
    }

    /// <summary>
    /// 1 end what a killed deploy left making namespaces and entering them; then the processes the lab started, if they are still the same,
    /// and whatever else lives in its namespaces (a namespace lives as long as a process in it);
    /// 2 delete the namespaces, if they are still the same; 3 delete the files.
    /// </summary>
    private static async Task TakeDownAsync(LabState state, string folder, bool keepLogs)
    {
        string[] names = [.. state.Namespaces.Select(n => n.Name)];
        if (!state.Ready && !await Netns.EndMakersAsync(Path.Combine(folder, BatchFile), names))
            throw new LabException($"what the deploy of lab {state.Name} started does not end; try again.");
        LabNamespace[] ours =
            [.. state.Namespaces.Where(n => Namespaces.Exists(n.Name) && (n.Id is null || Netns.IdOf(n.Name) is not { } id || id == n.Id))];
        HashSet<string> ids = [.. ours.Select(n => n.Id ?? Netns.IdOf(n.Name)).OfType<string>()];
        await EndAsync(ProcessSignal.Terminate, TimeSpan.FromSeconds(1));
        await KillAsync();
        if (ours.Length > 0)
            await Netns.BatchAsync(string.Concat(ours.Select(n => $"netns del {n.Name}\n")), force: true, CancellationToken.None);
        await KillAsync();   // who entered between the look and the deletion
        LabNamespace[] left = [.. ours.Where(n => Namespaces.Exists(n.Name))];
        if (left.Length > 0)
            throw new LabException(
                $"these namespaces of lab {state.Name} cannot be deleted: {string.Join(", ", left.Select(n => n.Name))}.");

        LabState.Delete(folder, keepLogs);

        async Task KillAsync()
        {
            if (!await EndAsync(ProcessSignal.Kill, TimeSpan.FromSeconds(30)))
                throw new LabException(
                    $"some processes of lab {state.Name} do not end: "
                    + $"{string.Join(", ", Living().Select(p => p.ProcessId.ToString(CultureInfo.InvariantCulture)))}.");
        }

        IEnumerable<ProcessStat> Living() => Netns.ProcessesIn(ids)
            .Concat(state.Processes.Where(p => p.IsAlive).Select(p => ProcessStat.Read(p.ProcessId)).OfType<ProcessStat>())
            .DistinctBy(p => p.ProcessId);

        async Task<bool> EndAsync(ProcessSignal signal, TimeSpan limit)
        {
            var told = new HashSet<int>();
            return await Netns.UntilAsync(() =>
            {
                bool any = false;
                foreach (ProcessStat process in Living())
                {
                    any = true;
                    if (!told.Add(process.ProcessId)) continue;
                    Signals.Send(process.ProcessId, signal);

                    // A paused server hears nothing.
                    if (signal != ProcessSignal.Kill) Signals.Send(process.ProcessId, ProcessSignal.Continue);
                }

                return !any;
            }, limit, CancellationToken.None);
        }
    }
}
