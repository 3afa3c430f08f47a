using System.CommandLine;
using System.Runtime.InteropServices;
using SdnEdge.Core.Config;
using SdnEdge.Host;
using SdnEdge.Host.Config;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge host</c>: the agent of one server host, in the foreground.</summary>
internal static class HostCommand
{
    private const int ExitOk = 0, ExitFailed = 1, ExitBadConfig = 2;

    public static Command Create()
    {
        var config = new Option<string>("--config", "-c")
        {
            Description = "Configuration file (YAML).", Required = true, HelpName = "FILE",
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
              kill -TERM PID                                stop; its servers go on as they are

            Starting it starts no server, and stopping it stops none: a server that was paused stays so until an order.
            Exit code: 0 stopped, 1 could not run, 2 the file is wrong.
            """)
        {
            config, check,
        };
        command.SetAction(async (parse, cancel) =>
        {
            // Hands its task back at once, so that a Ctrl-C is waited for.
            await Task.Yield();
            return await RunAsync(parse.GetValue(config)!, parse.GetValue(check), cancel);
        });
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
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        using PosixSignalRegistration term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        try
        {
            await using HostAgent agent = await HostAgent.StartAsync(config);
            string where = config.Api.Unix is { } socket ? $", API on {socket}" : "";
            Console.WriteLine($"{config.Name}: ready, pid {Environment.ProcessId}{where}");
            foreach (Core.Api.ServerInfo server in agent.Servers())
            {
                if (server.Fault is { } fault) Console.Error.WriteLine($"{config.Name}: server {server.Name}: {fault}");
            }

            await Task.Delay(Timeout.Infinite, stop.Token);
            return ExitOk;
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            Console.WriteLine($"{config.Name}: stopped");
            return ExitOk;
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"{config.Name}: {e.Message}");
            return ExitFailed;
        }

        void Stop(PosixSignalContext context)
        {
            context.Cancel = true;
            stop.Cancel();
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
