using System.Globalization;
using System.Net;

namespace SdnEdge.Lab.Tests.Moves;

/// <summary>
/// Figure 1 with a second group beside <c>vs</c>: so many stand-in servers at the same two sites, each a namespace with processes of its
/// own. A server has an IPv4 and an IPv6 address, each a prefix, and may have routed IPv4 prefixes behind it: /28s, all addresses of which
/// it answers for. No PE damps moves in it, as the groups move more often than anybody's would.
/// </summary>
internal static class GroupLab
{
    /// <summary>Name of the second group.</summary>
    public const string Group = "farm";

    /// <summary>Writes the topology and its startup-configs into a folder. Returns the topology's path.</summary>
    /// <param name="figure1">The topology file of Figure 1.</param>
    /// <param name="folder">Where to.</param>
    /// <param name="servers">Servers of the second group, 0 to 100; 0: there is none.</param>
    /// <param name="routed">Routed prefixes behind each of them, 0 to 16.</param>
    public static string Write(string figure1, string folder, int servers, int routed = 0)
    {
        int[] behind = [.. Enumerable.Range(0, routed)];
        int[] all = [.. Enumerable.Range(1, servers)];
        string topology = Path.Combine(folder, Path.GetFileName(figure1)), files = Path.Combine(folder, "figure1");
        string text = Before(File.ReadAllText(figure1), "    # The manager at a third place", all, n => $$"""
                {{NameOf(n)}}:
                  kind: server
                  labels:
                    sdnedge.mac: "{{MacOf(n)}}"
                    sdnedge.addresses: {{V4Of(n)}}/24, {{V6Of(n)}}/64
                    sdnedge.gateways: 10.1.1.1, fd00:1:1::1
                    sdnedge.site: dc-a

            """ + (routed == 0 ? "" : "      exec:\n")
            + string.Concat(behind.Select(k => $"        - ip address add {RoutedOf(n, k)} dev lo\n")));
        text = Before(text, "    # The clients.", all, n => $"""
                - endpoints: ["{NameOf(n)}:leg-a", "dc-a:eth{n + 2}"]
                - endpoints: ["{NameOf(n)}:leg-b", "dc-b:eth{n + 2}"]

            """);
        Directory.CreateDirectory(files);
        File.WriteAllText(topology, text);
        foreach (string file in Directory.GetFiles(Path.Combine(Path.GetDirectoryName(figure1)!, "figure1")))
        {
            string name = Path.GetFileName(file), config = File.ReadAllText(file);
            config = name switch
            {
                "pe-a.yaml" => Before(config, "tunnels: []", all, n => $$"""
                      - { prefix: {{V4Of(n)}}/32, port: dc }
                      - { prefix: "{{V6Of(n)}}/128", port: dc }

                    """ + string.Concat(behind.Select(k => $"  - {{ prefix: {RoutedOf(n, k)}, via: {V4Of(n)} }}\n"))),
                "host-a.yaml" => config + string.Concat(all.Select(n => HostServer(n, runs: true, "leg-a"))),
                "host-b.yaml" => config + string.Concat(all.Select(n => HostServer(n, runs: false, "leg-b"))),
                "mms.yaml" when servers > 0 => config + $"  - name: {Group}\n    ingress: [pe-c, pe-d, pe-e]\n    servers:\n"
                    + string.Concat(all.Select(n => $$"""
                              - name: {{NameOf(n)}}
                                prefixes: [{{V4Of(n)}}/32, "{{V6Of(n)}}/128"{{string.Concat(behind.Select(k => $", {RoutedOf(n, k)}"))}}]
                                at:
                                  - { site: dc-a, host: host-a, pe: pe-a, port: dc{{(routed == 0 ? "" : $", nextHop: {V4Of(n)}")}} }
                                  - { site: dc-b, host: host-b, pe: pe-b, port: dc{{(routed == 0 ? "" : $", nextHop: {V4Of(n)}")}} }

                        """)) + $"limits: {{ servers: {Math.Max(32, servers)} }}\n",
                _ => config,
            };
            if (name.StartsWith("pe-", StringComparison.Ordinal))
                config = Before(config, "  peers:", [0], _ => "  moveDamping: { moves: 0 }\n");
            File.WriteAllText(Path.Combine(files, name), config);
        }

        return topology;
    }

    /// <summary>An address of each prefix of a server of the second group, from 1.</summary>
    public static IEnumerable<IPAddress> AddressesOf(int number, int routed) => Enumerable.Range(0, routed)
        .Select(k => IPAddress.Parse(RoutedOf(number, k).Split('/')[0]))
        .Select(a => new IPAddress([.. a.GetAddressBytes()[..3], (byte)(a.GetAddressBytes()[3] + 5)]))
        .Prepend(IPAddress.Parse(V6Of(number))).Prepend(IPAddress.Parse(V4Of(number)));

    /// <summary>Name of a server of the second group, from 1.</summary>
    public static string NameOf(int number) => string.Create(CultureInfo.InvariantCulture, $"s{number}");

    private static string V4Of(int number) => string.Create(CultureInfo.InvariantCulture, $"10.1.1.{100 + number}");

    private static string RoutedOf(int number, int k) => string.Create(CultureInfo.InvariantCulture, $"10.64.{number}.{16 * k}/28");

    private static string V6Of(int number) => string.Create(CultureInfo.InvariantCulture, $"fd00:1:1::{100 + number}");

    private static string MacOf(int number) => string.Create(CultureInfo.InvariantCulture, $"02:00:00:00:02:{number:x2}");

    private static string HostServer(int n, bool runs, string leg) => $$"""
          - name: {{NameOf(n)}}
            runs: {{(runs ? "true" : "false")}}
            standIn:
              namespace: "${lab.namespace:{{NameOf(n)}}}"
              leg: {{leg}}
              mac: "{{MacOf(n)}}"
              addresses: [{{V4Of(n)}}, "{{V6Of(n)}}"]

        """;

    private static string Before(string text, string line, int[] all, Func<int, string> insert)
    {
        int at = text.IndexOf(line, StringComparison.Ordinal);
        if (at < 0) throw new InvalidOperationException($"Figure 1's files have no '{line}' any more, before which servers are added");
        return text.Insert(at, string.Concat(all.Select(insert)));
    }
}
