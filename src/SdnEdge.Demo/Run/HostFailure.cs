using System.Diagnostics;
using SdnEdge.Client;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;

namespace SdnEdge.Demo.Run;

/// <summary>Has parts of a server host of the lab fail without a farewell, and starts its agent again.</summary>
internal sealed class HostFailure(RunningLab lab, string host) : IDisposable
{
    private readonly string _namespace = NamespaceProcesses.IdOf(lab.NamespaceOf(host))
        ?? throw new LabException($"host {host} has no namespace.");
    private Process? _agent;

    /// <summary>The processes of QEMU that run a guest here. One without a machine is asked by the agent what QEMU can do.</summary>
    public IReadOnlyList<int> Guests() => [.. NamespaceProcesses.In(_namespace).Select(p => p.ProcessId).Where(IsGuest)];

    /// <summary>Kills the guest, and with it the agent where that is asked for, by SIGKILL. Returns when that was,
    /// CLOCK_MONOTONIC.</summary>
    /// <exception cref="LabException">There is not one guest.</exception>
    public long Kill(bool agent)
    {
        if (Guests() is not [var guest]) throw new LabException($"at {host} is not one process of QEMU that could fail.");
        LabProcess? daemon = agent ? lab.State.Processes.Single(p => p.Node == host) : null;
        long now = Monotonic.Now;
        Signals.Send(guest, ProcessSignal.Kill);
        if (daemon is not null) Signals.Send(daemon.ProcessId, ProcessSignal.Kill);
        return now;
    }

    /// <summary>Starts the agent again as the lab starts it. Returns when it takes orders.</summary>
    public async Task StartAgentAsync(CancellationToken cancel)
    {
        _agent = lab.Start(host,
        [
            "sh", "-c", "log=$1; shift; exec \"$@\" >>\"$log\" 2>&1 </dev/null", "sh", Path.Combine(lab.Folder, host + ".log"),
            .. RunningLab.Self, "host", "--config", Path.Combine(lab.Folder, host + ".yaml"),
        ], ahead: true);
        using var client = new HostClient(new ApiEndpoint(host, lab.ApiSocket(host)));
        await Looks.UntilAsync($"the agent of {host} to take orders", client.NodeAsync, n => n.Ready, cancel);
    }

    /// <inheritdoc/>
    public void Dispose() => _agent?.Dispose();

    private static bool IsGuest(int process)
    {
        try
        {
            string command = File.ReadAllText($"/proc/{process}/cmdline");
            return command.Split('\0')[0].Contains("qemu-system", StringComparison.Ordinal)
                && !command.Contains("\0-machine\0none\0", StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return false;
        }
    }
}
