using System.Diagnostics;
using SdnEdge.Benchmarks.Netns;

namespace SdnEdge.Benchmarks.Bgp;

/// <summary>A router under test: how it is configured and started, and the process whose memory counts.</summary>
internal sealed record Daemon(string Name, string Address, Func<Rig, IReadOnlyList<(string Address, uint As)>, Process> Start)
{
    public const uint OwnAs = 65000;
    public const string Link = "172.16.0.1", Loopback = "10.255.0.1";

    public static readonly IReadOnlyList<Daemon> All =
    [
        new("SdnEdge", Loopback, StartSdnEdge), new("FRR", Link, StartFrr), new("BIRD", Link, StartBird), new("GoBGP", Link, StartGoBgp),
    ];

    /// <summary>Peak of the process's memory, MB.</summary>
    public static double PeakMegabytes(Process process)
    {
        string line = File.ReadLines($"/proc/{process.Id}/status").First(l => l.StartsWith("VmHWM:", StringComparison.Ordinal));
        return double.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]) * 1024 / 1e6;
    }

    // The real daemon: its packets pass its own data plane, a TAP behind a bridge, where the others use the kernel's link.
    private static Process StartSdnEdge(Rig rig, IReadOnlyList<(string Address, uint As)> peers)
    {
        string file = Path.Combine(rig.Folder, "pe.yaml");
        File.WriteAllText(file, $$"""
            name: dut
            routerId: {{Loopback}}
            as: {{OwnAs}}
            loopbacks: [{{Loopback}}]
            host: { device: host0 }
            ports:
              - { name: core, device: tap-eth1, addresses: [{{Link}}/24] }
            bgp:
              peers:
            {{string.Join('\n', peers.Select(p => $"    - {{ address: {p.Address}, as: {p.As}, passive: true, import: all, export: all }}"))}}
            """);
        foreach (string line in (string[])["tuntap add dev tap-eth1 mode tap vnet_hdr",
            "link add br-eth1 type bridge stp_state 0 ageing_time 0 mcast_snooping 0",
            "link set tap-eth1 txqueuelen 4096 master br-eth1 up", "link set eth1 master br-eth1", "link set br-eth1 up"])
            rig.Outside("ip", ["-n", rig.Namespace, .. line.Split(' ')]);
        return rig.Start(null, Executable(), "pe", "--config", file);
    }

    // As fast as it can be set: by default it waits for up to a second with what it has to tell.
    private static Process StartFrr(Rig rig, IReadOnlyList<(string Address, uint As)> peers)
    {
        string file = Path.Combine(rig.Folder, "bgpd.conf");
        File.WriteAllText(file, $"""
            router bgp {OwnAs}
             bgp router-id {Link}
             no bgp ebgp-requires-policy
             no bgp network import-check
             coalesce-time 0
            {string.Join('\n', peers.SelectMany(p => new[] { $"remote-as {p.As}", "passive", "advertisement-interval 0" },
                (p, says) => $" neighbor {p.Address} {says}"))}
            """);
        GiveAddress(rig);
        rig.Outside("chown", "-R", "frr:frr", rig.Folder);
        return rig.Start(null, "/usr/lib/frr/bgpd", "-f", file, "-i", Path.Combine(rig.Folder, "bgpd.pid"), "-Z", "-l", Link,
            "--vty_socket", rig.Folder, "-u", "frr", "-g", "frr");
    }

    private static Process StartBird(Rig rig, IReadOnlyList<(string Address, uint As)> peers)
    {
        GiveAddress(rig);
        string file = Path.Combine(rig.Folder, "bird.conf");
        File.WriteAllText(file, $$"""
            router id {{Link}};
            protocol device { }
            protocol direct { ipv4; }
            {{string.Join('\n', peers.Select((p, i) => $"protocol bgp p{i} {{ local {Link} as {OwnAs}; neighbor {p.Address} as {p.As}; passive; ipv4 {{ import all; export where source = RTS_BGP; }}; }}"))}}
            """);
        return rig.Start(null, "/usr/sbin/bird", "-f", "-c", file, "-s", Path.Combine(rig.Folder, "bird.ctl"), "-P",
            Path.Combine(rig.Folder, "bird.pid"));
    }

    private static Process StartGoBgp(Rig rig, IReadOnlyList<(string Address, uint As)> peers)
    {
        GiveAddress(rig);
        string file = Path.Combine(rig.Folder, "gobgpd.toml");
        File.WriteAllText(file, $"""
            [global.config]
              as = {OwnAs}
              router-id = "{Link}"
            {string.Join('\n', peers.Select(p => $"[[neighbors]]\n[neighbors.config]\n neighbor-address = \"{p.Address}\"\n peer-as = {p.As}\n[neighbors.transport.config]\n passive-mode = true"))}
            """);
        return rig.Start(null, "/usr/bin/gobgpd", "-f", file, "--api-hosts", "127.0.0.1:50051", "--log-level", "error");
    }

    private static void GiveAddress(Rig rig) => rig.Outside("ip", "-n", rig.Namespace, "address", "add", Link + "/24", "dev", "eth1");

    // What is delivered: compiled ahead of time by ./build.sh. SDNEDGE_BIN names another one, to compare two.
    internal static string Executable()
    {
        string published = Environment.GetEnvironmentVariable("SDNEDGE_BIN") ?? Path.Combine(Root(), "artifacts/bin/sdnedge");
        return File.Exists(published) ? published
            : throw new InvalidOperationException($"there is no {published}: ./build.sh bench bgp makes it");
    }

    private static string Root()
    {
        DirectoryInfo? at = new(AppContext.BaseDirectory);
        while (at is not null && !File.Exists(Path.Combine(at.FullName, "SdnEdge.sln"))) at = at.Parent;
        return at?.FullName ?? throw new InvalidOperationException("run the benchmark from its source tree");
    }
}
