using System.Globalization;
using System.Text;

namespace SdnEdge.Benchmarks.Ingress;

/// <summary>Writes a topology as Figure 1 has it, with any number of ingress PEs. Each has a session with PE_a and PE_b only.</summary>
internal static class ManyIngresses
{
    /// <summary>Most ingress PEs: their loopbacks are 10.255.0.3 to .252.</summary>
    public const int Most = 250;

    /// <summary>Writes the topology and a configuration for each PE, both server hosts and the manager; returns the topology's
    /// file.</summary>
    public static string Write(string folder, string name, int count)
    {
        var nodes = new StringBuilder();
        var links = new StringBuilder();
        for (int i = 1; i <= count + 2; i++)
        {
            string pe = Name(i);
            File.WriteAllText(Path.Combine(folder, pe + ".yaml"), Configuration(i, count));
            Line(nodes, $"    {pe}: {{ kind: sdnedge-pe, startup-config: {pe}.yaml }}");
            Line(links, $"    - {{ endpoints: [\"{pe}:eth1\", \"wan:eth{i}\"], mtu: 1600, vars: {{ delay: 10ms, jitter: 0ms, loss: 0%, "
                + $"rate: 10gbit }} }}");
            if (i <= 2) continue;
            Line(nodes, $"    c{i}: {{ kind: linux, exec: [\"ip address add 10.2.{i}.10/24 dev eth1\", \"ip route add default via "
                + $"10.2.{i}.1\"] }}");
            Line(links, $"    - endpoints: [\"{pe}:eth2\", \"c{i}:eth1\"]");
        }

        foreach (char site in "ab") File.WriteAllText(Path.Combine(folder, $"host-{site}.yaml"), Host(site));
        File.WriteAllText(Path.Combine(folder, "mms.yaml"), Manager(count));
        string file = Path.Combine(folder, name + ".clab.yml");
        File.WriteAllText(file, $$"""
            name: {{name}}
            topology:
              nodes:
                wan: { kind: sdnedge-wan, labels: { sdnedge.seed: "1" } }
                dc-a: { kind: bridge }
                dc-b: { kind: bridge }
                vs:
                  kind: server
                  labels:
                    sdnedge.mac: "02:00:00:00:01:10"
                    sdnedge.addresses: 10.1.1.10/24
                    sdnedge.gateways: 10.1.1.1
                    sdnedge.site: dc-a
                mms: { kind: sdnedge-mms, startup-config: mms.yaml }
                host-a: { kind: sdnedge-host, startup-config: host-a.yaml }
                host-b: { kind: sdnedge-host, startup-config: host-b.yaml }
            {{nodes}}
              links:
                - endpoints: ["{{Name(1)}}:eth2", "dc-a:eth1"]
                - endpoints: ["{{Name(2)}}:eth2", "dc-b:eth1"]
                - endpoints: ["vs:leg-a", "dc-a:eth2"]
                - endpoints: ["vs:leg-b", "dc-b:eth2"]
            {{links}}
            """);
        return file;
    }

    private static string Name(int number) => number switch
    {
        1 => "pe-a",
        2 => "pe-b",
        _ => string.Create(CultureInfo.InvariantCulture, $"pe{number}"),
    };

    private static string Configuration(int number, int count)
    {
        int[] peers = number <= 2 ? [.. Enumerable.Range(1, count + 2).Where(p => p != number)] : [1, 2];
        string site = number <= 2
            ? "{ name: dc, device: tap-eth2, mtu: 1500, addresses: [10.1.1.1/24], mac: \"00:00:5e:00:01:01\" }"
            : $"{{ name: site, device: tap-eth2, mtu: 1500, addresses: [10.2.{number}.1/24] }}";
        string own = number == 1 ? "\n  - { prefix: 10.1.1.10/32, port: dc }" : "";
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
            api: { unix: /run/sdnedge/many/{{Name(number)}}.sock }
            """;
    }

    private static string Host(char site) => $$"""
        name: host-{{site}}
        site: dc-{{site}}
        api: { unix: "${lab.folder}/host-{{site}}.sock" }
        state: { folder: "${lab.folder}/host-{{site}}.state" }
        servers:
          - name: vs
            runs: {{(site == 'a' ? "true" : "false")}}
            standIn: { namespace: "${lab.namespace:vs}", leg: leg-{{site}}, mac: "02:00:00:00:01:10", addresses: [10.1.1.10] }
        """;

    private static string Manager(int count) => $$"""
        name: mms
        journal: "${lab.folder}/mms.db"
        api: { unix: "${lab.folder}/mms.sock" }
        pes:
        {{string.Join('\n', Enumerable.Range(1, count + 2).Select(p => $"  - {{ name: {Name(p)}, api: \"${{lab.api:{Name(p)}}}\" }}"))}}
        hosts:
          - { name: host-a, api: "${lab.api:host-a}" }
          - { name: host-b, api: "${lab.api:host-b}" }
        sites:
          - { name: dc-a, hosts: [host-a] }
          - { name: dc-b, hosts: [host-b] }
        groups:
          - name: vs
            ingress: [{{string.Join(", ", Enumerable.Range(3, count).Select(Name))}}]
            servers:
              - name: vs
                prefixes: [10.1.1.10/32]
                at:
                  - { site: dc-a, host: host-a, pe: pe-a, port: dc }
                  - { site: dc-b, host: host-b, pe: pe-b, port: dc }
        """;

    private static void Line(StringBuilder to, string text) => to.Append(text).Append('\n');
}
