using SdnEdge.Lab.Running;

namespace SdnEdge.Benchmarks.Flip;

/// <summary>
/// Two PEs and an ingress PE, 5 ms from one another. In the data centre of PE_a are the server and a host of FRR that answers PE_a's BFD:
/// <code>
/// c3 -- pe3 -- wan -- pe-a -- dc-a -- vs, hv
///                  -- pe-b -- dc-b
/// </code>
/// </summary>
internal static class FlipLab
{
    /// <summary>The server.</summary>
    public const string Server = "10.1.1.10";

    /// <summary>The host whose BFD PE_a watches.</summary>
    public const string Watched = "10.1.1.200";

    public static Task<RunningLab> DeployAsync(string folder, string[] self)
    {
        for (int i = 1; i <= 3; i++) File.WriteAllText(Path.Combine(folder, Name(i) + ".yaml"), Configuration(i));
        File.WriteAllText(Path.Combine(folder, "hv.frr.conf"), $"""
            hostname hv
            bfd
             peer 10.1.1.1 local-address {Watched} interface eth1
              receive-interval 50
              transmit-interval 50
              detect-multiplier 3
            """);
        string file = Path.Combine(folder, "flip.clab.yml");
        File.WriteAllText(file, """
            name: flip
            topology:
              nodes:
                wan: { kind: sdnedge-wan, labels: { sdnedge.seed: "1" } }
                dc-a: { kind: bridge }
                dc-b: { kind: bridge }
                pe-a: { kind: sdnedge-pe, startup-config: pe-a.yaml }
                pe-b: { kind: sdnedge-pe, startup-config: pe-b.yaml }
                pe3: { kind: sdnedge-pe, startup-config: pe3.yaml }
                c3: { kind: linux, exec: ["ip address add 10.2.3.10/24 dev eth1", "ip route add default via 10.2.3.1"] }
                vs: { kind: linux, exec: ["ip address add 10.1.1.10/24 dev eth1", "ip route add default via 10.1.1.1"] }
                hv: { kind: frr, startup-config: hv.frr.conf, exec: ["ip address add 10.1.1.200/24 dev eth1"] }
              links:
                - endpoints: ["pe-a:eth2", "dc-a:eth1"]
                - endpoints: ["pe-b:eth2", "dc-b:eth1"]
                - endpoints: ["vs:eth1", "dc-a:eth2"]
                - endpoints: ["hv:eth1", "dc-a:eth3"]
                - endpoints: ["pe3:eth2", "c3:eth1"]
                - { endpoints: ["pe-a:eth1", "wan:eth1"], mtu: 1600, vars: { delay: 2500us, jitter: 0ms, loss: 0%, rate: 10gbit } }
                - { endpoints: ["pe-b:eth1", "wan:eth2"], mtu: 1600, vars: { delay: 2500us, jitter: 0ms, loss: 0%, rate: 10gbit } }
                - { endpoints: ["pe3:eth1", "wan:eth3"], mtu: 1600, vars: { delay: 2500us, jitter: 0ms, loss: 0%, rate: 10gbit } }
            """);
        return LabRunner.DeployAsync(file, new LabOptions { Self = self, ReadyTimeout = TimeSpan.FromMinutes(5) }, CancellationToken.None);
    }

    private static string Name(int number) => number switch { 1 => "pe-a", 2 => "pe-b", _ => "pe3" };

    private static string Configuration(int number)
    {
        string site = number <= 2
            ? "{ name: dc, device: tap-eth2, mtu: 1500, addresses: [10.1.1.1/24], mac: \"00:00:5e:00:01:01\" }"
            : "{ name: site, device: tap-eth2, mtu: 1500, addresses: [10.2.3.1/24] }";
        string own = number == 1 ? $"\n  - {{ prefix: {Server}/32, port: dc }}" : "";
        string bfd = number == 1 ? $"bfd: {{ sessions: [{{ address: {Watched} }}] }}" : "";
        int[] peers = [.. Enumerable.Range(1, 3).Where(p => p != number)];
        return $$"""
            name: {{Name(number)}}
            routerId: 10.255.0.{{number}}
            as: 65000
            loopbacks: [10.255.0.{{number}}]
            host: { device: host0 }
            ports:
              - { name: core, device: tap-eth1, mtu: 1600, addresses: [172.16.0.{{number}}/24] }
              - {{site}}
            static:
            {{string.Join('\n', peers.Select(p => $"  - {{ prefix: 10.255.0.{p}/32, via: 172.16.0.{p} }}"))}}{{own}}
            bgp:
              peers:
            {{string.Join('\n', peers.Select(p => $"    - {{ address: 10.255.0.{p}, as: 65000 }}"))}}
              advertise: [connected, static]
            {{bfd}}
            """;
    }
}
