using System.Diagnostics;
using System.Globalization;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests.Leases;

/// <summary>A witness and a host with one server, a process that only sleeps: all real processes.</summary>
internal sealed class LeasedSite : IAsyncDisposable
{
    public const string Group = "web", Site = "dc-a", Server = "vs";

    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-lease-").FullName;
    private readonly string _witness, _host;

    /// <summary>Makes it; nothing is started yet.</summary>
    /// <param name="ttlMs">How long a lease is good for, milliseconds.</param>
    /// <param name="knowsWitness">Whether the host's file names the witness.</param>
    public LeasedSite(int ttlMs, bool knowsWitness = true)
    {
        (_witness, _host) = (Path.Combine(_folder, "witness.yaml"), Path.Combine(_folder, "host.yaml"));
        File.WriteAllText(_witness, string.Create(CultureInfo.InvariantCulture, $$"""
            name: witness
            api: { unix: {{_folder}}/witness.sock }
            state: { folder: {{_folder}}/witness }
            leases: { ttlMs: {{ttlMs}} }
            """));
        string script = Path.Combine(_folder, "vs");
        File.WriteAllText(script, $$"""
            #!/bin/sh
            pid=$(cat {{_folder}}/pid 2>/dev/null)
            alive() { [ -n "$pid" ] && [ -e /proc/$pid/status ] && ! grep -q '^State:.[ZX]' /proc/$pid/status; }
            case $1 in
            look) if alive; then echo '{"state":"running"}'; else echo '{"state":"absent"}'; fi ;;
            resume|activate)
                alive && exit 0
                setsid sleep 100000 >/dev/null 2>&1 </dev/null &
                echo $! >{{_folder}}/pid.new
                mv {{_folder}}/pid.new {{_folder}}/pid ;;
            kill) if alive; then kill -9 $pid; while alive; do :; done; fi ;;
            esac
            """);
        File.SetUnixFileMode(script, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        string[] steps = ["look", "prepare", "stop", "activate", "resume", "cancel", "kill"];
        File.WriteAllText(_host, $$"""
            name: host-a
            site: dc-a
            api: { unix: {{_folder}}/host.sock }
            state: { folder: {{State}} }
            {{(knowsWitness ? $"witness: {{ name: witness, api: \"unix:{_folder}/witness.sock\" }}" : "")}}
            servers:
              - name: {{Server}}
                runs: true
                exec: { undoable: true, {{string.Join(", ", steps.Select(s => $"{s}: {{ run: [{script}, {s}] }}"))}} }
            """);
        Host = new HostClient(new ApiEndpoint("host-a", Path.Combine(_folder, "host.sock")));
        Witness = new WitnessClient(new ApiEndpoint("witness", Path.Combine(_folder, "witness.sock")));
    }

    public HostClient Host { get; }

    public WitnessClient Witness { get; }

    public Process? HostProcess { get; private set; }

    public Process? WitnessProcess { get; private set; }

    private string State => Path.Combine(_folder, "state");

    /// <summary>The server's process; null = it does not run.</summary>
    public int? ServerProcess
    {
        get
        {
            string file = Path.Combine(_folder, "pid");
            return File.Exists(file) && int.TryParse(File.ReadAllText(file), CultureInfo.InvariantCulture, out int pid)
                && ProcessStat.Read(pid) is { IsAlive: true } ? pid : null;
        }
    }

    /// <summary>The watchdog's; null = there is none.</summary>
    public int? Watchdog => Watchdogs is [var only] ? only : null;

    private int[] Watchdogs => [.. Directory.EnumerateDirectories("/proc").Select(Path.GetFileName)
        .Where(n => int.TryParse(n, CultureInfo.InvariantCulture, out _)).Select(n => int.Parse(n!, CultureInfo.InvariantCulture))
        .Where(IsWatchdog)];

    public async Task StartWitnessAsync() => WitnessProcess = await StartAsync("witness", _witness);

    public async Task StartHostAsync() => HostProcess = await StartAsync("host", _host);

    public async Task KillHostAsync()
    {
        HostProcess!.Kill();
        await HostProcess.WaitForExitAsync();
        HostProcess.Dispose();
        HostProcess = null;
    }

    public async Task KillWitnessAsync()
    {
        WitnessProcess!.Kill();
        await WitnessProcess.WaitForExitAsync();
        WitnessProcess.Dispose();
        WitnessProcess = null;
    }

    /// <summary>All of it, with the server running under a lease of epoch 1. Returns the server's process.</summary>
    public async Task<int> RunAsync()
    {
        await StartWitnessAsync();
        await StartHostAsync();
        await Witness.OpenAsync(Group, Site, new LeaseOpenCall(1));
        ServerInfo bound = await Host.LeaseAsync(Server, new ServerLeaseCall(Group, Site, 1));
        Assert.Equal((Group, Site, 1L), (bound.Lease!.Group, bound.Lease.Site, bound.Lease.Epoch));
        Assert.NotNull(bound.Lease.ValidForMs);
        await StartServerAsync();
        return ServerProcess!.Value;
    }

    public async Task StartServerAsync()
    {
        await Host.OrderAsync(Server, ServerOrder.Start, new ServerOrderRequest(0, "start"));
        Assert.NotNull(ServerProcess);
    }

    /// <summary>Waits until the server's process is gone.</summary>
    public Task GoneAsync() => Patience.UntilAsync(() => ServerProcess is null, () => "the server runs still");

    /// <summary>Waits until so many more leases were granted.</summary>
    public async Task GrantedAsync(int more)
    {
        long before = await GrantsAsync();
        await Patience.UntilAsync(async () => await GrantsAsync() >= before + more, () => $"no {more} more leases are granted",
            Patience.Long);
    }

    /// <summary>Waits for a watchdog that is not this one.</summary>
    public async Task<int> OtherWatchdogAsync(int? than)
    {
        await Patience.UntilAsync(() => Watchdog is { } now && now != than, () => "there is no other watchdog");
        return Watchdog!.Value;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (Process? process in (Process?[])[HostProcess, WitnessProcess])
        {
            if (process is null) continue;
            process.Kill();
            await process.WaitForExitAsync();
            process.Dispose();
        }

        foreach (int watchdog in Watchdogs) Signals.Send(watchdog, ProcessSignal.Kill);
        await Patience.UntilAsync(() => Watchdogs.Length == 0, () => "a watchdog is left");
        if (ServerProcess is { } server) Signals.Send(server, ProcessSignal.Kill);
        Host.Dispose();
        Witness.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private async Task<long> GrantsAsync()
    {
        string line = (await Witness.TextAsync("metrics")).Split('\n')
            .Single(l => l.StartsWith("sdnedge_witness_grants_total ", StringComparison.Ordinal));
        return (long)double.Parse(line.Split(' ')[1], CultureInfo.InvariantCulture);
    }

    private bool IsWatchdog(int process)
    {
        try
        {
            string[] words = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{process}/cmdline")).Split('\0');
            return words.Contains(State) && words.Contains("watchdog") && !words[0].EndsWith("/sh", StringComparison.Ordinal)
                && ProcessStat.Read(process) is { IsAlive: true };
        }
        catch (IOException)
        {
            return false;
        }
    }

    private static async Task<Process> StartAsync(string command, string config)
    {
        IReadOnlyList<string> self = RunningLab.Self;
        var start = new ProcessStartInfo(self[0], [.. self.Skip(1), command, "--config", config])
        {
            UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true,
        };
        Process process = Process.Start(start)!;
        string? line = await process.StandardOutput.ReadLineAsync().WaitAsync(Patience.Time);
        Assert.True(line?.Contains(": ready", StringComparison.Ordinal) == true, line ?? await process.StandardError.ReadToEndAsync());
        return process;
    }
}
