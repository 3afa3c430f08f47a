using SdnEdge.Lab.Running;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>Nodes of FRR for real: its daemons beside zebra and bgpd, files of its image, and configurations in the topology.</summary>
[Trait("needs", "executable")]
public sealed class LabFrrTests
{
    // Static routes and BFD were taken without a word, and without effect.
    [RootFact]
    public async Task Static_routes_and_BFD_of_a_configuration_have_their_effect()
    {
        await using var instance = LabInstance.Of("""
            name: LABNAME
            topology:
              nodes:
                r:
                  kind: frr
                  startup-config: |
                    ip route 203.0.113.0/24 192.0.2.2
                    router bgp 65009
                     neighbor 192.0.2.2 remote-as 65000
                     neighbor 192.0.2.2 bfd
                  exec:
                    - ip address add 192.0.2.1/24 dev eth1
                    - vtysh -c 'configure terminal' -c 'ip route 198.51.100.0/24 192.0.2.2'
                    - vtysh -c 'configure terminal' -c 'nonsense'
                h: { kind: linux, exec: [ip address add 192.0.2.2/24 dev eth1] }
              links:
                - endpoints: ["r:eth1", "h:eth1"]
            """);
        var told = new List<string>();
        RunningLab lab = await instance.DeployAsync(instance.Options with { Progress = line => { lock (told) told.Add(line); } });
        Assert.Equal(["zebra", "staticd", "bgpd", "bfdd"], lab.State.Processes.Select(p => p.Name));
        await Patience.ReadAsync(() => LabInstance.RunAsync(lab, "r", "ip", "route"),
            table => table.Contains("203.0.113.0/24", StringComparison.Ordinal)
                && table.Contains("198.51.100.0/24", StringComparison.Ordinal),
            "the kernel has both static routes", Patience.Long);
        await Patience.ReadAsync(() => LabInstance.RunAsync(lab, "r", "vtysh", "-c", "show bfd peers"),
            peers => peers.Contains("peer 192.0.2.2", StringComparison.Ordinal), "bfdd has the session that bgpd asks for", Patience.Long);
        Assert.Contains("nonsense", Assert.Single(told, t => t.StartsWith("warning:", StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.All(Directory.GetFiles(instance.Folder, "r.*").Where(f => !f.EndsWith(".log", StringComparison.Ordinal)),
            f => Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(f)));
        await lab.DestroyAsync();
        Assert.Empty(instance.Residue());
    }

    // As containerlab's example frr01: FRR's image, its file of daemons and its configuration bound.
    [RootFact]
    public async Task Routers_of_FRRs_image_speak_OSPF_by_their_file_of_daemons_and_hosts_reach_each_other_through_them()
    {
        await using var instance = LabInstance.Of("""
            name: LABNAME
            topology:
              groups:
                routers: { kind: linux, image: "quay.io/frrouting/frr:10.5.1", binds: ["daemons:/etc/frr/daemons"] }
              nodes:
                r1: { group: routers, binds: ["r1.conf:/etc/frr/frr.conf"] }
                r2: { group: routers, binds: ["r2.conf:/etc/frr/frr.conf"] }
                h1: { kind: linux, exec: [ip address add 192.168.1.2/24 dev eth1, ip route add default via 192.168.1.1] }
                h2: { kind: linux, exec: [ip address add 192.168.2.2/24 dev eth1, ip route add default via 192.168.2.1] }
              links:
                - endpoints: ["r1:eth1", "r2:eth1"]
                - endpoints: ["r1:eth2", "h1:eth1"]
                - endpoints: ["r2:eth2", "h2:eth1"]
            """);
        await File.WriteAllTextAsync(Path.Combine(instance.Root, "daemons"),
            "zebra=yes\nospfd=yes\nbgpd=no\nldpd=yes\nospfd_options=\" --daemon -A 127.0.0.1\"\n");
        foreach (int i in (int[])[1, 2])
        {
            await File.WriteAllTextAsync(Path.Combine(instance.Root, $"r{i}.conf"), $"""
                interface eth1
                 ip address 10.0.0.{i}/30
                 ip ospf network point-to-point
                 ip ospf hello-interval 1
                 ip ospf dead-interval 4
                interface eth2
                 ip address 192.168.{i}.1/24
                router ospf
                 network 10.0.0.0/8 area 0
                 network 192.168.0.0/16 area 0
                """);
        }

        RunningLab lab = await instance.DeployAsync();
        Assert.Equal(["ldpd", "ospfd", "staticd", "zebra"], lab.State.Processes.Where(p => p.Node == "r1").Select(p => p.Name).Order());
        await Patience.ReadAsync(() => LabInstance.RunAsync(lab, "r1", "ip", "route"),
            table => table.Contains("192.168.2.0/24", StringComparison.Ordinal), "r1 has the other router's network", Patience.Long);
        await LabInstance.ReachAsync(lab, "h1", "192.168.2.2");
        await lab.DestroyAsync();
        Assert.Empty(instance.Residue());
    }
}
