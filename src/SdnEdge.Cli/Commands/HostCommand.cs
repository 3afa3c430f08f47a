using System.CommandLine;
using System.Text.Json;
using SdnEdge.Cli.Commands.Migrate;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Demo.Run;
using SdnEdge.Host;
using SdnEdge.Host.Config;
using Spectre.Console;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge host</c>: the agent of one server host, in the foreground.</summary>
internal static class HostCommand
{
    public static Command Create()
    {
        var config = new Option<string>("--config", "-c")
        {
            Description = "Configuration file (YAML).", HelpName = "FILE",
        };
        var check = new Option<bool>("--check")
        {
            Description = "Read the file, report every error with its line, and end. Needs no rights.",
        };
        var command = new Command("host",
            """
            Runs the agent of one server host in the foreground: the only one that starts, stops and resumes servers there, as the
            migration manager orders it. What it has promised is on disk before it answers, in state.folder of its configuration.

              sdnedge host --config host-a.yaml --check     what is wrong in the file, all of it at once
              sdnedge host --config host-a.yaml             run it; it says "ready" once it takes orders
              sdnedge host start vs --api /run/sdnedge/host-a.sock   start a server that may run here: the first time, or after it died
              sdnedge host show --api /run/sdnedge/host-a.sock       what its servers do
              sdnedge show bfd --api /run/sdnedge/host-a.sock        its BFD sessions, by which PEs notice that it is dead
              kill -TERM PID                                stop; its servers go on as they are

            Starting the agent starts no server, and stopping it stops none: a server that was paused stays so until an order.
            Exit code: 0 stopped, 1 could not run, 2 the file is wrong.
            """)
        {
            config, check, StartServer(), Show(),
        };
        return new Daemon<HostAgentConfig>("host", Read, c => $" at {c.Site}: {c.Servers.Count} server{(c.Servers.Count == 1 ? "" : "s")}",
            c => c.Name, RunAsync).At(command, config, check);

        static DaemonFile<HostAgentConfig> Read(string text, string file)
        {
            HostConfigResult read = HostConfigLoader.Load(text, file);
            return new DaemonFile<HostAgentConfig>(read.Config, read.Errors);
        }
    }

    private static Command StartServer()
    {
        var server = new Argument<string>("server") { Description = "The server.", HelpName = "SERVER" };
        var command = new Command("start",
            """
            Starts a server on the host that may run it: for the first time, after it has died, or where the host has promised to run it and
            was stopped before it did. No right to run changes: a host that does not have it refuses, and so does the source of a migration.

            Exit code: 0 it runs, 1 the agent refused or does not answer.
            """)
        {
            server,
        };
        AgentFlags.AddTo(command);
        command.SetAction((parse, cancel) => AgentFlags.AskAsync("sdnedge host start", parse, async host =>
        {
            string name = parse.GetValue(server)!;
            ServerInfo info = await host.ServerAsync(name, cancel);
            ServerReply reply = await host.OrderAsync(name, ServerOrder.Start, new ServerOrderRequest(info.MayRun ?? info.Epoch, "start"),
                cancel);
            Console.WriteLine($"{name} runs{(reply.Repeated ? " already" : "")}");
        }));
        return command;
    }

    private static Command Show()
    {
        var output = new Option<string>("--output", "-o") { Description = "table or json.", DefaultValueFactory = _ => "table" };
        output.AcceptOnlyFromAmong("table", "json");
        var command = new Command("show", "What the servers of a host do there, and what the host has promised.") { output };
        AgentFlags.AddTo(command);
        command.SetAction((parse, cancel) => AgentFlags.AskAsync("sdnedge host show", parse, async host =>
        {
            IReadOnlyList<ServerInfo> servers = await host.ServersAsync(cancel);
            if (parse.GetValue(output) == "json")
            {
                Console.WriteLine(JsonSerializer.Serialize(servers, ApiJson.Indented.For<IReadOnlyList<ServerInfo>>()));
                return;
            }

            Table table = new Table().Border(TableBorder.Minimal)
                .AddColumns("server", "driver", "state", "phase", "epoch", "may run", "lease", "machine", "fault");
            foreach (ServerInfo s in servers)
            {
                string machine = s.Machine is { } m
                    ? $"{m.Hypervisor} {m.Version}, {m.Accelerator}, {m.Type}, {m.Processors} CPU, {m.MemoryBytes >> 20} MiB" : "";
                string[] cells = [s.Name, s.Driver, HostFsm.Word(s.State), s.Phase ?? "", $"{s.Epoch}", s.MayRun is { } epoch
                    ? $"epoch {epoch}" : "no", Lease(s.Lease), machine, s.Fault ?? ""];
                table.AddRow([.. cells.Select(Markup.Escape)]);
            }

            DemoView.NewConsole().Write(table);
        }));
        return command;
    }

    private static string Lease(ServerLeaseInfo? lease)
        => lease is null ? "" : $"{lease.Group} at {lease.Site}, epoch {lease.Epoch}: "
            + (lease.ValidForMs is { } left ? $"{left} ms" : "none");

    private static async Task RunAsync(HostAgentConfig config, CancellationToken stop)
    {
        await using HostAgent agent = await HostAgent.StartAsync(config, bfdProcess: BfdCommand.Start, watchdog: WatchdogCommand.Start);
        string where = config.Api.Unix is { } socket ? $", API on {socket}" : "";
        Console.WriteLine($"{config.Name}: ready, pid {Environment.ProcessId}{where}");
        foreach (ServerInfo server in agent.Servers())
        {
            if (server.Fault is { } fault) Console.Error.WriteLine($"{config.Name}: server {server.Name}: {fault}");
        }

        await Task.Delay(Timeout.Infinite, stop);
    }
}
