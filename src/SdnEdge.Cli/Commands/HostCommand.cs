using System.CommandLine;
using System.Text.Json;
using SdnEdge.Cli.Commands.Migrate;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Migration;
using SdnEdge.Demo.Run;
using SdnEdge.Host;
using SdnEdge.Host.Config;
using Spectre.Console;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge host</c>: the agent of one server host, in the foreground.</summary>
internal static class HostCommand
{
    private const int ExitOk = 0, ExitFailed = 1, ExitBadConfig = 2;

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
              kill -TERM PID                                stop; its servers go on as they are

            Starting the agent starts no server, and stopping it stops none: a server that was paused stays so until an order.
            Exit code: 0 stopped, 1 could not run, 2 the file is wrong.
            """)
        {
            config, check, StartServer(), Show(),
        };
        command.SetAction(async (parse, cancel) =>
        {
            // Hands its task back at once, so that a Ctrl-C is waited for.
            await Task.Yield();
            if (parse.GetValue(config) is { } file) return await RunAsync(file, parse.GetValue(check), cancel);
            Console.Error.WriteLine("sdnedge host: --config FILE is missing; 'sdnedge host --help' has an example.");
            return ExitBadConfig;
        });
        return command;
    }

    private static Command StartServer()
    {
        var server = new Argument<string>("server") { Description = "The server.", HelpName = "SERVER" };
        var command = new Command("start",
            """
            Starts a server on the host that may run it: for the first time, or after it has died. No right to run changes: a host that does
            not have it refuses, and so does one where a migration has the server in its hands.

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
                .AddColumns("server", "driver", "state", "phase", "epoch", "may run", "machine", "fault");
            foreach (ServerInfo s in servers)
            {
                string machine = s.Machine is { } m
                    ? $"{m.Hypervisor} {m.Version}, {m.Accelerator}, {m.Type}, {m.Processors} CPU, {m.MemoryBytes >> 20} MiB" : "";
                string[] cells = [s.Name, s.Driver, HostFsm.Word(s.State), s.Phase ?? "", $"{s.Epoch}", s.MayRun is { } epoch
                    ? $"epoch {epoch}" : "no", machine, s.Fault ?? ""];
                table.AddRow([.. cells.Select(Markup.Escape)]);
            }

            DemoView.NewConsole().Write(table);
        }));
        return command;
    }

    private static async Task<int> RunAsync(string file, bool checkOnly, CancellationToken cancel)
    {
        HostConfigResult result = Read(file);
        if (result.Config is not { } config)
        {
            foreach (ConfigError error in result.Errors) Console.Error.WriteLine(error);
            Console.Error.WriteLine($"{file}: {result.Errors.Count} error{(result.Errors.Count == 1 ? "" : "s")}; nothing was started.");
            return ExitBadConfig;
        }

        if (checkOnly)
        {
            string count = config.Servers.Count == 1 ? "1 server" : $"{config.Servers.Count} servers";
            Console.WriteLine($"{file}: good. {config.Name} at {config.Site}: {count}.");
            return ExitOk;
        }

        // Signals are taken before anything is started, so that one that comes early still stops cleanly.
        using var signals = new DaemonSignals(cancel);
        try
        {
            await using HostAgent agent = await HostAgent.StartAsync(config);
            string where = config.Api.Unix is { } socket ? $", API on {socket}" : "";
            Console.WriteLine($"{config.Name}: ready, pid {Environment.ProcessId}{where}");
            foreach (Core.Api.ServerInfo server in agent.Servers())
            {
                if (server.Fault is { } fault) Console.Error.WriteLine($"{config.Name}: server {server.Name}: {fault}");
            }

            await Task.Delay(Timeout.Infinite, signals.Stop);
            return ExitOk;
        }
        catch (OperationCanceledException) when (signals.Stop.IsCancellationRequested)
        {
            Console.WriteLine($"{config.Name}: stopped");
            return ExitOk;
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"{config.Name}: {e.Message}");
            return ExitFailed;
        }
    }

    private static HostConfigResult Read(string file)
    {
        try
        {
            return HostConfigLoader.Load(File.ReadAllText(file), file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return new HostConfigResult(null, [new ConfigError(file, 1, 1, "", $"cannot be read: {e.Message}")]);
        }
    }
}
