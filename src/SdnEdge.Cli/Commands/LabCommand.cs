using System.CommandLine;
using System.Diagnostics;
using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Lab.Wan;
using SdnEdge.Linux;
using Spectre.Console;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge lab</c>: networks of namespaces from a topology file, with containerlab's verbs.</summary>
internal static class LabCommand
{
    private static readonly Option<string> StateRoot = new("--state-dir")
    {
        Description = "Folder that holds one folder for each lab: state, configurations, sockets, logs.",
        DefaultValueFactory = _ => LabState.DefaultRoot,
    };

    private static readonly Option<string?> Topology = new("--topo", "-t")
    {
        Description = "Topology file (containerlab's schema), e.g. topologies/figure1.clab.yml.",
    };

    private static readonly Option<string?> Name = new("--name", "-n")
    {
        Description = "Name of the lab; default: the one that runs, or the file's.",
    };

    public static Command Create() => new("lab",
        """
        Runs a network of routers, hosts, sites and a WAN on this machine, each node in its own network namespace.

          sdnedge lab deploy -t topologies/figure1.clab.yml       start the paper's Figure 1
          ip netns exec clab-figure1-client-c ping 10.1.1.10      use any tool inside a node
          sdnedge lab inspect                                     what runs, and the WAN's counters
          sdnedge lab destroy --name figure1                      take all of it away
        """)
    {
        Deploy(), Destroy(), Restart(), Inspect(), Exec(), Graph(), Node(),
    };

    private static Command Deploy()
    {
        var rtt = new Option<double?>("--rtt")
        {
            Description = "Round-trip time between two PEs, milliseconds; shared evenly by the WAN links. Default: as the file says.",
        };
        var reconfigure = new Option<bool>("--reconfigure", "-c") { Description = "Replace a lab of that name that is there." };
        var command = new Command("deploy",
            "Starts the lab of a topology file and returns when all of it works. Ctrl-C takes away what was begun.")
        {
            Topology, Name, rtt, reconfigure, StateRoot,
        };
        command.SetAction((parse, cancel) => GuardAsync(async () =>
        {
            if (parse.GetValue(Topology) is not { } file) return Fail("which topology? Give -t FILE, e.g. -t topologies/figure1.clab.yml.");
            long begin = Monotonic.Now;
            RunningLab lab = await LabRunner.DeployAsync(file, new LabOptions
            {
                Name = parse.GetValue(Name),
                RttMs = parse.GetValue(rtt),
                Reconfigure = parse.GetValue(reconfigure),
                StateRoot = parse.GetValue(StateRoot)!,
                Progress = line => Console.Error.WriteLine(line),
            }, cancel);
            Console.WriteLine($"lab {lab.Name} is ready: {lab.Topology.Nodes.Count} nodes, {lab.Topology.Links.Count} links, "
                + $"{(Monotonic.Now - begin) / 1e9:0.0} s.");
            foreach (LabIngress ingress in lab.Ingresses)
            {
                foreach (LabNode server in lab.Topology.Nodes.Where(n => n.Server is not null))
                    Console.WriteLine($"  try: ip netns exec {lab.NamespaceOf(ingress.Name)} ping {server.Server!.Addresses[0].Address}");
            }

            return 0;
        }));
        return command;
    }

    private static Command Restart()
    {
        var node = new Argument<string>("node") { Description = "The node, as the topology file names it." };
        var command = new Command("restart",
            "Starts what has ended of a node again, with its startup-config as it is now, and waits until the lab works. What runs "
            + "goes on.")
        {
            node, Name, StateRoot,
        };
        command.SetAction((parse, cancel) => GuardAsync(async () =>
        {
            string name = parse.GetValue(node)!;
            IReadOnlyList<string> started = await LabRunner.RestartAsync(Which(parse), name, new LabOptions
            {
                StateRoot = parse.GetValue(StateRoot)!, Progress = line => Console.Error.WriteLine(line),
            }, cancel);
            Console.WriteLine(started.Count == 0 ? $"{name} runs: nothing was to be started."
                : $"{name}: {string.Join(", ", started)} started.");
            return 0;
        }));
        return command;
    }

    private static Command Destroy()
    {
        var all = new Option<bool>("--all", "-a") { Description = "Every lab on this machine." };
        var cleanup = new Option<bool>("--cleanup", "-c")
        {
            Description = "Accepted for containerlab's habit: destroy always takes the lab's folder away too.",
        };
        var keep = new Option<bool>("--keep-logs") { Description = "Leaves the nodes' logs in the lab's folder." };
        var command = new Command("destroy", "Ends a lab: its processes, namespaces and files, also after a crash. Touches nothing else.")
        {
            Topology, Name, all, cleanup, keep, StateRoot,
        };
        command.SetAction((parse, _) => GuardAsync(async () =>
        {
            string root = parse.GetValue(StateRoot)!;
            string[] names = parse.GetValue(all) ? [.. LabState.All(root)] : [Which(parse)];
            if (names.Length == 0) Console.WriteLine("no lab is running.");
            bool found = true;
            foreach (string name in names)
            {
                bool there = await LabRunner.DestroyAsync(name, root, parse.GetValue(keep));
                found &= there;
                Console.WriteLine(there ? $"lab {name} is gone." : $"there is no lab {name}.");
            }

            return found ? 0 : 1;
        }));
        return command;
    }

    private static Command Inspect()
    {
        var output = new Option<string>("--output", "-o") { Description = "table or json.", DefaultValueFactory = _ => "table" };
        output.AcceptOnlyFromAmong("table", "json");
        var command = new Command("inspect",
            "Shows running labs: nodes and their state, where servers live, and what the WAN delayed, lost and dropped.")
        {
            Topology, Name, output, StateRoot,
        };
        command.SetAction((parse, cancel) => GuardAsync(async () =>
        {
            string root = parse.GetValue(StateRoot)!;
            bool one = parse.GetValue(Name) is not null || parse.GetValue(Topology) is not null;
            var reports = new List<LabReport>();
            foreach (string name in one ? [Which(parse)] : LabState.All(root))
            {
                if (await LabInspector.InspectAsync(name, root, cancel) is { } report) reports.Add(report);
                else return Fail($"there is no lab {name}.");
            }

            if (parse.GetValue(output) == "json")
                Console.WriteLine(JsonSerializer.Serialize(reports, LabJson.Indented.For<List<LabReport>>()));
            else if (reports.Count == 0) Console.WriteLine("no lab is running.");
            foreach (LabReport report in parse.GetValue(output) == "json" ? [] : reports) Print(report);
            return 0;
        }));
        return command;
    }

    private static void Print(LabReport report)
    {
        AnsiConsole.WriteLine($"lab {report.Name} ({report.TopologyFile}){(report.WhyNotReady is { } why ? $": {why}." : "")}");
        Table nodes = new Table().AddColumns("node", "kind", "state", "site", "management", "namespace", "processes");
        foreach (NodeReport node in report.Nodes)
            nodes.AddRow(new[] { node.Name, node.Kind, node.State, node.Site ?? "", node.Management ?? "", node.Namespace,
                string.Join(", ", node.Processes) }.Select(Markup.Escape).ToArray());
        AnsiConsole.Write(nodes);
        foreach (WanStats wan in report.Wans)
        {
            Table links = new Table().Title(Markup.Escape($"{wan.Name}: {wan.Addresses} addresses learned, {wan.Flooded} frames flooded"))
                .AddColumns("link", "way", "frames", "bytes", "sent", "lost", "queue full", "refused", "not read", "peak bytes", "late us");
            foreach (WanLinkStats link in wan.Links)
            {
                Row(link, "in", link.ToWan, link.KernelDrops);
                Row(link, "out", link.FromWan, 0);
            }

            AnsiConsole.Write(links);

            void Row(WanLinkStats link, string way, WanDirectionStats d, long unread) => links.AddRow(
                Markup.Escape(link.Peer), way, $"{d.Frames}", $"{d.Bytes}", $"{d.Sent}", $"{d.Lost}", $"{d.QueueFull}", $"{d.Refused}",
                $"{unread}", $"{d.PeakBytes}",
                way == "out" ? $"{d.LateMicroseconds:0.0}" : "");
        }
    }

    private static Command Exec()
    {
        var node = new Option<string>("--node") { Description = "The node.", Required = true };
        var words = new Argument<string[]>("command") { Description = "Program and arguments, after --." };
        var command = new Command("exec", "Runs a program inside a node: sdnedge lab exec --node client-c -- ping -c 3 10.1.1.10")
        {
            Topology, Name, node, words, StateRoot,
        };
        command.SetAction((parse, cancel) => GuardAsync(async () =>
        {
            RunningLab lab = RunningLab.Attach(Which(parse), parse.GetValue(StateRoot));
            if (!Environment.IsPrivilegedProcess) return Fail("only root can enter a node; run this with sudo.");
            if (parse.GetValue(words) is not { Length: > 0 } argv)
                return Fail("which program? Give it after --, e.g. -- ping -c 3 10.1.1.10.");
            using Process process = lab.Start(parse.GetValue(node)!, argv);
            try
            {
                await process.WaitForExitAsync(cancel);
            }
            catch (OperationCanceledException)
            {
                // At a terminal it has had the signal, too, and may be about to end as it should.
                if (await EndsAsync(process, TimeSpan.FromSeconds(5))) return process.ExitCode;
                process.Kill(entireProcessTree: true);
                await process.WaitForExitAsync(CancellationToken.None);
            }

            return process.ExitCode;
        }));
        return command;
    }

    private static async Task<bool> EndsAsync(Process process, TimeSpan within)
    {
        if (!process.HasExited) Signals.Send(process.Id, ProcessSignal.Terminate);
        using var limit = new CancellationTokenSource(within);
        try
        {
            await process.WaitForExitAsync(limit.Token);
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    private static Command Graph()
    {
        var format = new Option<string>("--format", "-f")
        {
            Description = $"{string.Join(", ", GraphWriter.Formats)}.",
            DefaultValueFactory = _ => GraphWriter.Formats[0],
        };
        format.AcceptOnlyFromAmong(GraphWriter.Formats);
        var command = new Command("graph", "Draws a topology: text for people, mermaid for web pages, dot for Graphviz.")
        {
            Topology, Name, format, StateRoot,
        };
        command.SetAction((parse, _) => GuardAsync(() =>
        {
            LabTopology lab = parse.GetValue(Topology) is { } file ? TopologyLoader.Load(file)
                : RunningLab.Attach(Which(parse), parse.GetValue(StateRoot)).Topology;
            Console.Write(GraphWriter.Write(lab, parse.GetValue(format)!));
            return Task.FromResult(0);
        }));
        return command;
    }

    // What deploy starts inside the nodes.
    private static Command Node()
    {
        var config = new Option<string>("--config") { Description = "Configuration written by deploy.", Required = true };
        var wan = new Command("wan", "The emulated provider core.") { config };
        wan.SetAction((parse, cancel) => GuardAsync(async () =>
        {
            WanConfig read = JsonSerializer.Deserialize(await File.ReadAllTextAsync(parse.GetValue(config)!, cancel),
                LabJson.Options.For<WanConfig>())!;
            using var node = new WanNode(read);
            Task stats = node.ServeStatsAsync(cancel);
            await Task.Factory.StartNew(() => node.Run(cancel), cancel, TaskCreationOptions.LongRunning, TaskScheduler.Default);
            await stats;
            return 0;
        }));
        var echo = new Command("echo", "The virtual server's echo service.");
        echo.SetAction((_, cancel) => GuardAsync(async () =>
        {
            await EchoServer.RunAsync(cancel);
            return 0;
        }));
        return new Command("node", "Runs inside a node; started by deploy.") { wan, echo }.Hide();
    }

    private static Command Hide(this Command command)
    {
        command.Hidden = true;
        return command;
    }

    // The lab meant: --name, the file's, or the only one there is.
    private static string Which(ParseResult parse)
    {
        if (parse.GetValue(Name) is { } name) return name;
        if (parse.GetValue(Topology) is { } file) return TopologyLoader.Load(file).Name;
        IReadOnlyList<string> all = LabState.All(parse.GetValue(StateRoot)!);
        return all.Count == 1 ? all[0] : throw new LabException(all.Count == 0
            ? "no lab is running; 'sdnedge lab deploy -t topologies/figure1.clab.yml' starts one."
            : $"which lab? Give --name; running: {string.Join(", ", all)}.");
    }

    private static async Task<int> GuardAsync(Func<Task<int>> action)
    {
        try
        {
            return await action();
        }
        catch (TopologyException e)
        {
            Console.Error.WriteLine(e.Message);
            return 2;
        }
        catch (Exception e) when (e is LabException or LinuxException or IOException)
        {
            return Fail(e.Message);
        }
        catch (UnauthorizedAccessException e)
        {
            return Fail(Environment.IsPrivilegedProcess ? e.Message : "a lab belongs to root; run this with sudo.");
        }
        catch (OperationCanceledException)
        {
            return Fail("stopped; what was begun is taken away.");
        }
    }

    private static int Fail(string message)
    {
        Console.Error.WriteLine($"sdnedge lab: {message}");
        return 1;
    }
}
