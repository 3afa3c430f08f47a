using System.Globalization;
using System.Net;

namespace SdnEdge.Lab.Tests.Moves;

/// <summary>
/// Two customers with the same addresses, with so many stand-in servers each, at two sites; clients of both behind two more PEs:
/// <code>
///   red-c, blue-c            red-d, blue-d           both customers' servers are 10.1.1.101, 10.1.1.102 ... and fd00:1:1::101 ...,
///        |                        |                  their clients 10.2.3.10 and 10.2.4.10
///   pe-c 10.255.0.3          pe-d 10.255.0.4
///        |                        |
///   [ wan: 10 ms on each link, no IPv6 between the PEs ]
///        |                        |
///   pe-a 10.255.0.1          pe-b 10.255.0.2
///        |                        |
///   red-1, blue-1 ... (dc-a) or (dc-b)
/// </code>
/// The keys of the VRFs differ from PE to PE, so that the same number is another customer's elsewhere.
/// </summary>
internal static class VpnFarm
{
    /// <summary>The group when all servers of both customers move as one.</summary>
    public const string Together = "farm";

    /// <summary>The host agent of the last red server's target, if it has one of its own.</summary>
    public const string OtherHost = "host-b2";

    /// <summary>The customers: names of their VRFs, and of their groups where each moves by itself.</summary>
    public static readonly string[] Customers = ["red", "blue"];

    private static readonly (string Name, int Number, int Red, int Blue)[] s_pes =
        [("pe-a", 1, 7, 8), ("pe-b", 2, 8, 7), ("pe-c", 3, 9, 7), ("pe-d", 4, 7, 10)];

    /// <summary>Clients of a customer.</summary>
    public static string[] ClientsOf(string customer) => [$"{customer}-c", $"{customer}-d"];

    /// <summary>Servers of a customer.</summary>
    public static string[] ServersOf(string customer, int count)
        => [.. Enumerable.Range(1, count).Select(n => string.Create(CultureInfo.InvariantCulture, $"{customer}-{n}"))];

    /// <summary>Addresses of the servers of either customer.</summary>
    public static IPAddress[] Addresses(int count)
        => [.. Enumerable.Range(1, count).SelectMany(n => (string[])[V4Of(n), V6Of(n)]).Select(IPAddress.Parse)];

    /// <summary>Writes the topology and its startup-configs into a folder. Returns the topology's path.</summary>
    /// <param name="folder">Where to.</param>
    /// <param name="count">Servers of each customer, 1 to 100.</param>
    /// <param name="together">True: one group of all, whose last red server has a target host of its own. False: a group for each
    /// customer.</param>
    public static string Write(string folder, int count, bool together)
    {
        string topology = Path.Combine(folder, "farm.clab.yml"), files = Path.Combine(folder, "farm");
        Directory.CreateDirectory(files);
        File.WriteAllText(topology, Topology(count, together));
        foreach ((string name, int number, int red, int blue) in s_pes)
            File.WriteAllText(Path.Combine(files, name + ".yaml"), Pe(name, number, red, blue, count));
        string other = ServersOf("red", count)[^1];
        foreach (string host in Hosts(together))
        {
            bool here = host == "host-a";
            IEnumerable<string> servers = Customers.SelectMany(c => ServersOf(c, count))
                .Where(s => here || !together || (s == other) == (host == OtherHost));
            File.WriteAllText(Path.Combine(files, host + ".yaml"), $$"""
                name: {{host}}
                site: {{(here ? "dc-a" : "dc-b")}}
                api: { unix: "${lab.folder}/{{host}}.sock" }
                state: { folder: "${lab.folder}/{{host}}.state" }
                servers:

                """ + string.Concat(servers.Select(s => HostServer(s, here))));
        }

        File.WriteAllText(Path.Combine(files, "mms.yaml"), Manager(count, together, other));
        return topology;
    }

    private static string[] Hosts(bool together) => together ? ["host-a", "host-b", OtherHost] : ["host-a", "host-b"];

    private static string Topology(int count, bool together)
    {
        var nodes = new List<string>(s_pes.Select(p => $"{p.Name}: {{ kind: sdnedge-pe, startup-config: farm/{p.Name}.yaml }}"));
        var links = new List<string>(s_pes.Select(p => $$"""
            { endpoints: ["{{p.Name}}:eth1", "wan:eth{{p.Number}}"], mtu: 1600, vars: { delay: 10ms, rate: 10gbit } }
            """));
        nodes.Add("wan: { kind: sdnedge-wan }");
        nodes.AddRange(((string[])["mms", .. Hosts(together)]).Select(n
            => $"{n}: {{ kind: sdnedge-{(n == "mms" ? "mms" : "host")}, startup-config: farm/{n}.yaml }}"));
        foreach (string customer in Customers)
        {
            string port = customer == "red" ? "eth2" : "eth3";
            foreach (string site in (string[])["a", "b"])
            {
                nodes.Add($"{customer}-dc-{site}: {{ kind: bridge }}");
                links.Add($$"""{ endpoints: ["pe-{{site}}:{{port}}", "{{customer}}-dc-{{site}}:eth1"] }""");
            }

            for (int n = 1; n <= count; n++)
            {
                nodes.Add($$"""
                    {{customer}}-{{n}}:
                          kind: server
                          labels:
                            sdnedge.mac: "{{MacOf(customer, n)}}"
                            sdnedge.addresses: {{V4Of(n)}}/24, {{V6Of(n)}}/64
                            sdnedge.gateways: 10.1.1.1, fd00:1:1::1
                            sdnedge.site: dc-a
                    """);
                foreach (string site in (string[])["a", "b"])
                {
                    string ends = $"\"{customer}-{n}:leg-{site}\", \"{customer}-dc-{site}:eth{n + 1}\"";
                    links.Add($$"""{ endpoints: [{{ends}}], labels: { site: dc-{{site}} } }""");
                }
            }

            foreach ((string pe, int net) in ((string, int)[])[("c", 3), ("d", 4)])
            {
                nodes.Add($$"""
                    {{customer}}-{{pe}}:
                          kind: linux
                          exec:
                            - ip address add 10.2.{{net}}.10/24 dev eth1
                            - ip -6 address add fd00:2:{{net}}::10/64 dev eth1 nodad
                            - ip route add default via 10.2.{{net}}.1
                            - ip -6 route add default via fd00:2:{{net}}::1
                    """);
                links.Add($$"""{ endpoints: ["pe-{{pe}}:{{port}}", "{{customer}}-{{pe}}:eth1"] }""");
            }
        }

        return $"""
            name: farm
            topology:
              nodes:
            {string.Concat(nodes.Select(n => $"    {n}\n"))}
              links:
            {string.Concat(links.Select(l => $"    - {l}\n"))}
            """;
    }

    private static string Pe(string name, int number, int red, int blue, int count)
    {
        bool isSite = number <= 2;
        var others = s_pes.Where(p => p.Name != name).Select(p => p.Number).ToArray();
        string addresses = isSite ? """addresses: [10.1.1.1/24, "fd00:1:1::1/64"], mac: "00:00:5e:00:01:01" """
            : $"""addresses: [10.2.{number}.1/24, "fd00:2:{number}::1/64"] """;
        string servers = number != 1 ? "" : string.Concat(Customers.SelectMany(c => Enumerable.Range(1, count).Select(n => $$"""
              - { prefix: {{V4Of(n)}}/32, port: {{c}}, vrf: {{c}} }
              - { prefix: "{{V6Of(n)}}/128", port: {{c}}, vrf: {{c}} }

            """)));
        return $$"""
            name: {{name}}
            routerId: 10.255.0.{{number}}
            as: 65000
            loopbacks: [10.255.0.{{number}}{{(number == 3 ? ", \"fd00:ff::3\"" : "")}}]
            host: { device: host0 }
            ports:
              - { name: core, device: tap-eth1, mtu: 1600, addresses: [172.16.0.{{number}}/24] }
              - { name: red, device: tap-eth2, vrf: red, {{addresses}} }
              - { name: blue, device: tap-eth3, vrf: blue, {{addresses}} }
            vrfs:
              - { name: red, rd: "10.255.0.{{number}}:1", key: {{red}}, import: ["65000:1"], export: ["65000:1"] }
              - { name: blue, rd: "10.255.0.{{number}}:2", key: {{blue}}, import: ["65000:2"], export: ["65000:2"] }
            static:
            {{string.Concat(others.Select(o => $"  - {{ prefix: 10.255.0.{o}/32, via: 172.16.0.{o} }}\n"))}}{{servers}}
            bgp:
              peers:
            {{string.Concat(others.Select(o => $"    - {{ address: 10.255.0.{o}, as: 65000, vpn: true }}\n"))}}
            api: { unix: /run/sdnedge/farm/{{name}}.sock }
            """;
    }

    private static string Manager(int count, bool together, string other)
    {
        string group(string name, IEnumerable<string> customers) => $"  - name: {name}\n    ingress: [pe-c, pe-d]\n    servers:\n"
            + string.Concat(customers.SelectMany(c => ServersOf(c, count).Select((s, i) => $$"""
                      - name: {{s}}
                        vrf: {{c}}
                        prefixes: [{{V4Of(i + 1)}}/32, "{{V6Of(i + 1)}}/128"]
                        at:
                          - { site: dc-a, host: host-a, pe: pe-a, port: {{c}} }
                          - { site: dc-b, host: {{(together && s == other ? OtherHost : "host-b")}}, pe: pe-b, port: {{c}} }

                """)));
        return $$"""
            name: mms
            journal: "${lab.folder}/mms.db"
            api: { unix: "${lab.folder}/mms.sock" }
            pes:
            {{string.Concat(s_pes.Select(p => $"  - {{ name: {p.Name}, api: \"${{lab.api:{p.Name}}}\" }}\n"))}}
            hosts:
            {{string.Concat(Hosts(together).Select(h => $"  - {{ name: {h}, api: \"${{lab.api:{h}}}\" }}\n"))}}
            sites:
              - { name: dc-a, hosts: [host-a] }
              - { name: dc-b, hosts: [{{string.Join(", ", Hosts(together).Skip(1))}}] }
            groups:

            """ + (together ? group(Together, Customers) : string.Concat(Customers.Select(c => group(c, [c]))));
    }

    private static string HostServer(string server, bool runs)
    {
        string customer = server[..server.IndexOf('-', StringComparison.Ordinal)];
        int n = int.Parse(server[(customer.Length + 1)..], CultureInfo.InvariantCulture);
        return $$"""
              - name: {{server}}
                runs: {{(runs ? "true" : "false")}}
                standIn:
                  namespace: "${lab.namespace:{{server}}}"
                  leg: leg-{{(runs ? "a" : "b")}}
                  mac: "{{MacOf(customer, n)}}"
                  addresses: [{{V4Of(n)}}, "{{V6Of(n)}}"]

            """;
    }

    private static string V4Of(int number) => string.Create(CultureInfo.InvariantCulture, $"10.1.1.{100 + number}");

    private static string V6Of(int number) => string.Create(CultureInfo.InvariantCulture, $"fd00:1:1::{100 + number}");

    private static string MacOf(string customer, int number)
        => string.Create(CultureInfo.InvariantCulture, $"02:00:00:00:{(customer == "red" ? 3 : 4):x2}:{number:x2}");
}
