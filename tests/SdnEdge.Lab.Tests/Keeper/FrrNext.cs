using System.Diagnostics;
using System.Text.Json;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Tests.Keeper;

/// <summary>FRR (zebra and bgpd) in pe-n's place: the kernel forwards there, by what zebra puts into its table.</summary>
internal sealed class FrrNext : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-keeper-frr-").FullName;
    private readonly List<Process> _processes = [];

    /// <summary>Starts it and waits until it has the route to the hosts behind pe-k.</summary>
    public async Task StartAsync(KeeperRig rig)
    {
        string ns = rig.Space("n");
        foreach (string line in (string[])["address add 172.16.0.2/24 dev wire-b", "address add 10.2.0.1/24 dev wire-c",
            "address add 10.255.0.2/32 dev lo", "route add 10.255.0.1/32 via 172.16.0.1"])
            await KeeperRig.RunAsync("ip", ["-n", ns, .. line.Split(' ')]);
        Namespaces.Run(ns, () => File.WriteAllText("/proc/sys/net/ipv4/ip_forward", "1"));
        foreach (string empty in (string[])["zebra.conf", "vtysh.conf"]) await File.WriteAllTextAsync(At(empty), "");
        await File.WriteAllTextAsync(At("bgpd.conf"), """
            router bgp 65000
             bgp router-id 10.255.0.2
             no bgp network import-check
             neighbor 10.255.0.1 remote-as 65000
             neighbor 10.255.0.1 update-source 10.255.0.2
             neighbor 10.255.0.1 timers connect 1
             address-family ipv4 unicast
              network 10.2.0.0/24
             exit-address-family
            """);
        await KeeperRig.RunAsync("chown", "-R", "frr:frr", _folder);
        string[] common = ["--vty_socket", _folder, "-z", At("zserv.api"), "-u", "frr", "-g", "frr"];
        Start(ns, "/usr/lib/frr/zebra", "-f", At("zebra.conf"), "-i", At("zebra.pid"), common);
        await rig.UntilAsync("zebra is up", _ => Task.FromResult(File.Exists(At("zserv.api"))));
        Start(ns, "/usr/lib/frr/bgpd", "-f", At("bgpd.conf"), "-i", At("bgpd.pid"), common);
        await rig.UntilAsync("FRR has the route to ha", _ => Task.FromResult(Route("10.1.0.0/24").IsThere));
        await rig.UntilAsync("pe-k has the route to hb",
            async pe => (await pe.FibLookupAsync(null, "10.2.0.10", default)).Prefix == "10.2.0.0/24");
    }

    /// <summary>Whether bgpd has a route, has it marked stale, and in which second it was told of it last.</summary>
    public (bool IsThere, bool IsStale, long ToldAt) Route(string prefix)
    {
        using Process vtysh =
            Process.Start(new ProcessStartInfo("vtysh",
                ["--vty_socket", _folder, "--config_dir", _folder, "-d", "bgpd", "-c", $"show bgp ipv4 unicast {prefix} json"])
        {
            UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true,
        })!;
        string text = vtysh.StandardOutput.ReadToEnd();
        vtysh.WaitForExit();
        if (vtysh.ExitCode != 0) throw new IOException($"vtysh: exit code {vtysh.ExitCode}: {text}");
        try
        {
            using JsonDocument document = JsonDocument.Parse(text);
            if (!document.RootElement.TryGetProperty("paths", out JsonElement paths) || paths.GetArrayLength() == 0) return default;
            return (true, paths[0].TryGetProperty("stale", out JsonElement stale) && stale.GetBoolean(),
                paths[0].GetProperty("lastUpdate").GetProperty("epoch").GetInt64());
        }
        catch (JsonException)
        {
            return default;
        }
    }

    public void Dispose()
    {
        foreach (Process process in Enumerable.Reverse(_processes))
        {
            if (!process.HasExited) process.Kill();
            process.WaitForExit();
            process.Dispose();
        }

        Directory.Delete(_folder, recursive: true);
    }

    private string At(string file) => Path.Combine(_folder, file);

    private void Start(string ns, string program, string flag, string file, string pidFlag, string pidFile, string[] common) =>
        _processes.Add(Process.Start(new ProcessStartInfo("ip",
            ["netns", "exec", ns, program, flag, file, pidFlag, pidFile, .. common]) { UseShellExecute = false })!);
}
