using SdnEdge.Lab.Running;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>Nodes that run what Debian ships.</summary>
[Trait("needs", "executable")]
public sealed class LabRoutersTests
{
    [RootFact]
    public async Task Frr_and_bird_speak_bgp_inside_the_lab_and_leave_nothing()
    {
        await using var instance = LabInstance.Of("""
            name: LABNAME
            topology:
              nodes:
                f: { kind: frr, startup-config: frr.conf, exec: [ip address add 10.9.0.1/24 dev eth1] }
                b: { kind: bird, startup-config: bird.conf, exec: [ip address add 10.9.0.2/24 dev eth1] }
              links:
                - endpoints: ["f:eth1", "b:eth1"]
            """);
        await File.WriteAllTextAsync(Path.Combine(instance.Root, "frr.conf"), """
            router bgp 65001
             bgp router-id 10.9.0.1
             no bgp ebgp-requires-policy
             no bgp network import-check
             neighbor 10.9.0.2 remote-as 65002
             neighbor 10.9.0.2 timers connect 1
             address-family ipv4 unicast
              network 10.99.0.0/16
            """);
        await File.WriteAllTextAsync(Path.Combine(instance.Root, "bird.conf"), """
            log stderr all;
            router id 10.9.0.2;
            protocol device {}
            protocol static { ipv4; route 10.77.0.0/16 blackhole; }
            protocol kernel { ipv4 { export all; }; }
            protocol bgp frr {
              local 10.9.0.2 as 65002;
              neighbor 10.9.0.1 as 65001;
              connect delay time 1;
              ipv4 { import all; export all; };
            }
            """);
        RunningLab lab = await instance.DeployAsync();

        // Each kernel has what the other's daemon announced: zebra and BIRD both put it there.
        (string, string)[] expected = [("f", "10.77.0.0/16"), ("b", "10.99.0.0/16")];
        foreach ((string node, string prefix) in expected)
        {
            // A bgpd that came up before its zebra asks for it again after 10 s only.
            await Patience.ReadAsync(() => LabInstance.RunAsync(lab, node, "ip", "route", "show", "proto", node == "f" ? "bgp" : "bird"),
                table => table.Contains(prefix, StringComparison.Ordinal), $"{node} has {prefix}", Patience.Long);
        }

        await lab.DestroyAsync();
        Assert.Empty(instance.Residue());
    }

    [RootFact]
    public async Task A_configuration_frr_does_not_understand_is_told_in_its_own_words()
    {
        await using var instance = LabInstance.Of("""
            name: LABNAME
            topology:
              nodes: { f: { kind: frr, startup-config: frr.conf } }
            """);
        await File.WriteAllTextAsync(Path.Combine(instance.Root, "frr.conf"), "router bgp 65001\n neighbour 10.9.0.2 remote-as 65002\n");
        LabException e = await Assert.ThrowsAsync<LabException>(() => instance.DeployAsync());
        Assert.Contains("neighbour", e.Message, StringComparison.Ordinal);
        Assert.Empty(instance.Residue());
    }
}
