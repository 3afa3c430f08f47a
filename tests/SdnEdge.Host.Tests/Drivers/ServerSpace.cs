using System.Diagnostics;
using System.Globalization;
using SdnEdge.Core.Wire;
using SdnEdge.Host.Config;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests.Drivers;

/// <summary>A namespace as the lab makes one for a server: bridge eth0, stub0, legs leg-a (live) and leg-b, and a process in it.</summary>
internal sealed class ServerSpace : IDisposable
{
    private static int s_count;
    private readonly Process _process;

    public ServerSpace()
    {
        Name = string.Create(CultureInfo.InvariantCulture, $"hosttest-{Environment.ProcessId}-{Interlocked.Increment(ref s_count)}");
        Ip("netns", "add", Name);
        Ip("-n", Name, "link", "add", "eth0", "type", "bridge", "stp_state", "0", "mcast_snooping", "0");
        Ip("-n", Name, "link", "add", "stub0", "type", "veth", "peer", "name", "stub1");
        foreach (string leg in (string[])["leg-a", "leg-b"])
        {
            Ip("-n", Name, "link", "add", leg, "type", "veth", "peer", "name", "site" + leg[3..]);
            Ip("-n", Name, "link", "set", "site" + leg[3..], "up");
            Ip("-n", Name, "link", "set", leg, "up");
        }

        Ip("-n", Name, "link", "set", "stub0", "master", "eth0", "up");
        Ip("-n", Name, "link", "set", "leg-a", "master", "eth0");
        Ip("-n", Name, "link", "set", "eth0", "up");
        _process = Process.Start("ip", ["netns", "exec", Name, "sleep", "100000"]);
        Patience.Until(() => Processes.Count > 0, () => "the server's process does not start");
    }

    public string Name { get; }

    public IReadOnlyList<ProcessStat> Processes => NamespaceProcesses.In(NamespaceProcesses.IdOf(Name)!);

    public bool Frozen => Processes.All(p => p.IsStopped);

    public StandInConfig Config(string leg)
        => new(Name, leg, MacAddress.Parse("02:00:00:00:01:10"), [IpAddress.Parse("10.1.1.10"), IpAddress.Parse("fd00:1:1::10")]);

    public bool IsIn(string leg) => Namespaces.Run(Name, () => NetDevice.IsPortOf(leg, "eth0"));

    public void Dispose()
    {
        _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
        Ip("netns", "del", Name);
    }

    private static void Ip(params string[] words)
    {
        using Process process = Process.Start("ip", words);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }
}
