using SdnEdge.Web;
using System.CommandLine;
using System.Diagnostics;
using SdnEdge.Core.Config;
using SdnEdge.Linux;
using SdnEdge.Router;
using SdnEdge.Router.Api;
using SdnEdge.Router.Keeper;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge pe</c>: one provider-edge router, in the foreground.</summary>
internal static class PeCommand
{
    private const int ExitOk = 0, ExitFailed = 1;

    private static readonly TimeSpan s_busyWait = TimeSpan.FromSeconds(5);

    public static Command Create()
    {
        var config = new Option<string>("--config", "-c")
        {
            Description = "Configuration file (YAML).",
            Required = true,
            HelpName = "FILE",
        };
        var check = new Option<bool>("--check")
        {
            Description = "Read the file, report every error with its line, and end. Needs no rights.",
        };
        var restarting = new Option<bool>("--restarting")
        {
            Description = "The PE comes back after a crash: its BGP peers are told so (graceful restart).",
        };
        var keeper = new Option<int?>("--keeper-fd") { Description = "The way to the keeper that starts this process.", Hidden = true };
        var command = new Command("pe",
            """
            Runs a provider-edge router in the foreground: ports, routes, tunnels, BGP and the control API of its configuration file.

              sdnedge pe --config pe-a.yaml --check     what is wrong in the file, all of it at once
              sdnedge pe --config pe-a.yaml             run it; it says "ready" once it forwards
              kill -HUP PID                             read the file again and apply the difference
              kill -TERM PID                            stop
              sdnedge show ports --api /run/sdnedge/pe-a.sock

            With forwarding: { keeper: true } in its file it is two processes: the one started here keeps the devices and
            a copy of the tables, forwards while the other one is started again after a crash, and hands signals on to it.
            It needs root (or CAP_NET_ADMIN) for its TAP devices. Exit code: 0 stopped, 1 could not run, 2 the file is wrong.
            """)
        {
            config, check, restarting, keeper,
        };
        command.SetAction((parse, cancel) => RunAsync(parse.GetValue(config)!, parse.GetValue(check), parse.GetValue(restarting),
            parse.GetValue(keeper), cancel));
        return EndSignals.TakesItsOwn(command);
    }

    private static async Task<int> RunAsync(string file, bool checkOnly, bool restarting, int? keeperDescriptor, CancellationToken cancel)
    {
        ConfigResult result = Read(file);
        if (result.Config is not { } config)
        {
            return DaemonFiles.Tell(file, result.Errors);
        }

        if (checkOnly)
        {
            Console.WriteLine($"{file}: good. {config.Name}: {config.Ports.Count} ports, {config.Vrfs.Count} VRFs, {config.Static.Count} "
                + $"static routes, {config.Tunnels.Count} tunnels, {config.Bgp.Peers.Count} BGP peers.");
            return ExitOk;
        }

        // Signals are taken before anything is started, so that one that comes early still stops cleanly.
        using var reload = new SemaphoreSlim(0);
        using var signals = EndSignals.OfDaemon(cancel, hangUp: () => reload.Release());
        try
        {
            if (config.Forwarding.Keeper && keeperDescriptor is null)
                return await KeepAsync(config, file, restarting, reload, signals.Stop);
            KeeperLink? link = keeperDescriptor is { } descriptor ? KeeperLink.Connect(descriptor) : null;
            await using PeRouter pe = await StartAsync(
                config, new PeRouterOptions { ReadConfig = () => Read(file), Restarting = restarting, Keeper = link,
                    BfdProcess = BfdCommand.Start }, signals.Stop);
            Console.WriteLine($"{config.Name}: ready, pid "
                + $"{Environment.ProcessId}{(config.Api.Unix is { } socket ? $", API on {socket}" : "")}");
            while (true)
            {
                await reload.WaitAsync(signals.Stop);
                await ReloadAsync(pe, file);
            }
        }
        catch (OperationCanceledException) when (signals.Stop.IsCancellationRequested)
        {
            Console.WriteLine($"{config.Name}: stopped");
            return ExitOk;
        }
        catch (Exception e) when (e is IOException or LinuxException or System.Net.Sockets.SocketException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine(
                $"{config.Name}: "
                + $"{e.Message}{(Environment.IsPrivilegedProcess ? "" : " (a PE needs root, or CAP_NET_ADMIN, for its TAP devices)")}");
            return ExitFailed;
        }
    }

    // A PE that was killed a moment ago may hold its devices still: its threads end one after the other.
    private static async Task<PeRouter> StartAsync(NodeConfig config, PeRouterOptions options, CancellationToken stop)
    {
        for (var waited = Stopwatch.StartNew(); ;)
        {
            try
            {
                return await PeRouter.StartAsync(config, options);
            }
            catch (LinuxException e) when (e.IsBusy && options.Keeper is null && waited.Elapsed < s_busyWait)
            {
                await Task.Delay(100, stop);
            }
        }
    }

    // The keeper is the parent: it has the number by which the PE was started, and hands signals on.
    private static async Task<int> KeepAsync(NodeConfig config, string file, bool restarting, SemaphoreSlim reload, CancellationToken stop)
    {
        IReadOnlyList<string> self = Lab.Running.RunningLab.Self;
        bool first = true;
        using var keeper = new PeKeeper(config.Name, Child, new KeeperOptions { Workers = config.Workers, Log = Console.Error.WriteLine });
        Task hangups = Task.Run(async () =>
        {
            while (true)
            {
                await reload.WaitAsync(stop);
                keeper.Signal(ProcessSignal.HangUp);
            }
        }, CancellationToken.None);
        int code = await keeper.RunAsync(stop);
        _ = hangups.ContinueWith(t => _ = t.Exception, TaskScheduler.Default);
        return code;

        ProcessStartInfo Child(int descriptor)
        {
            var start = new ProcessStartInfo(self[0], [.. self.Skip(1), "pe", "--config", file, "--keeper-fd", $"{descriptor}"])
            {
                UseShellExecute = false,
            };
            if (first && restarting) start.ArgumentList.Add("--restarting");
            first = false;
            return start;
        }
    }

    private static async Task ReloadAsync(PeRouter pe, string file)
    {
        try
        {
            IReadOnlyList<string> changes = (await pe.ReloadAsync()).Changes;
            Console.WriteLine(changes.Count == 0 ? $"{file}: no change" : $"{file}: reloaded\n  {string.Join("\n  ", changes)}");
        }
        catch (ProblemException e)
        {
            Console.Error.WriteLine($"{file}: {e.Problem.Detail}");
            foreach (Core.Api.ProblemError error in e.Problem.Errors ?? []) Console.Error.WriteLine($"  {error.Pointer}: {error.Detail}");
        }
        catch (Exception e)
        {
            // Nobody waits for an answer to a signal: whatever went wrong with it is told, and the PE goes on.
            Console.Error.WriteLine($"{file}: the reload failed, and the PE goes on: {e.GetType().Name}: {e.Message}");
        }
    }

    private static ConfigResult Read(string file)
    {
        DaemonFile<NodeConfig> read = DaemonFiles.Read(file, (text, path) =>
        {
            ConfigResult result = NodeConfigLoader.Load(text, path);
            return new DaemonFile<NodeConfig>(result.Config, result.Errors);
        });
        return new ConfigResult(read.Config, read.Errors);
    }
}
