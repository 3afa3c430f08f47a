using System.Diagnostics;
using SdnEdge.Host.Config;
using SdnEdge.Host.Drivers;
using SdnEdge.Host.Qemu;
using SdnEdge.Linux;

namespace SdnEdge.Host.Leases;

/// <summary>
/// Kills one server whose lease has run out, without its agent: from what is on this machine, whatever the agent was doing with it. It is
/// asked again and again for as long as there is no lease, since what an agent had begun to start may come up later.
/// </summary>
internal sealed class ServerKiller(string server, KillWay way)
{
    // What takes long is not begun anew at every look: a search through all processes; a command, or what works on the kernel's tables, the
    // seldomer the longer it goes on.
    private const long SearchNs = 500_000_000, FirstPauseNs = 500_000_000, LongestPauseNs = 5_000_000_000;

    private readonly QemuProcess? _qemu = way.Qemu is { } folder ? new QemuProcess(folder) : null;
    private Task _running = Task.CompletedTask;
    private long _next, _pause = FirstPauseNs;

    /// <summary>How a driver's server is killed.</summary>
    /// <param name="driver">How it is driven.</param>
    /// <param name="folder">The folder of its process, where it is one of QEMU.</param>
    public static KillWay WayOf(ServerDriverConfig driver, string folder) => driver switch
    {
        QemuConfig => new KillWay(Qemu: folder),
        StandInConfig standIn => new KillWay(StandIn: new StandInKill(standIn.Namespace, standIn.Leg)),
        ExecConfig exec => new KillWay(Exec: new ExecKill(exec.Kill.Run, (int)exec.Kill.Deadline.TotalMilliseconds)),
        _ => throw new InvalidOperationException($"no way to kill {driver}"),
    };

    /// <summary>Kills what there is of it. Does not wait, and does not fail. Returns how many processes, or what stands for them, were
    /// killed or began to be.</summary>
    public int Kill()
    {
        try
        {
            bool due = Monotonic.Now >= _next;
            if (_qemu is not null)
            {
                if (due) _next = Monotonic.Now + SearchNs;
                return _qemu.KillNow(search: due);
            }

            if (!_running.IsCompleted || !due) return 0;
            _next = Monotonic.Now + _pause;
            _pause = Math.Min(2 * _pause, LongestPauseNs);
            _running = Task.Run(SlowlyAsync);
            return 1;
        }
        catch (Exception e) when (e is IOException or LinuxException or UnauthorizedAccessException)
        {
            return 0;
        }
    }

    /// <summary>It has a lease: the next time it is killed at once.</summary>
    public void Rest() => (_next, _pause) = (0, FirstPauseNs);

    private async Task SlowlyAsync()
    {
        try
        {
            if (way.StandIn is { } standIn)
            {
                await using var driver = new StandInDriver(server, new StandInConfig(standIn.Namespace, standIn.Leg, default, []));
                await driver.KillAsync(new DriverContext(server), CancellationToken.None);
            }
            else if (way.Exec is { } exec)
            {
                await RunAsync(exec);
            }
        }
        catch (Exception e) when (e is DriverException or IOException or LinuxException or System.ComponentModel.Win32Exception
            or InvalidOperationException)
        {
            // It is tried again.
        }
    }

    // Not behind the commands of the agent, which may hang: the lock that keeps those apart is left alone.
    private async Task RunAsync(ExecKill exec)
    {
        var start = new ProcessStartInfo("setsid", exec.Run) { UseShellExecute = false, RedirectStandardInput = true };
        using Process process = Process.Start(start) ?? throw new IOException($"{exec.Run[0]} did not start");
        await process.StandardInput.WriteLineAsync(System.Text.Json.JsonSerializer.Serialize(new ExecInput("kill", server, 0, "", null),
            ExecTypes.Default.ExecInput));
        process.StandardInput.Close();
        using var deadline = new CancellationTokenSource(exec.DeadlineMs);
        try
        {
            await process.WaitForExitAsync(deadline.Token);
        }
        catch (OperationCanceledException)
        {
            if (!Signals.SendToGroup(process.Id, ProcessSignal.Kill)) process.Kill();
        }
    }
}
