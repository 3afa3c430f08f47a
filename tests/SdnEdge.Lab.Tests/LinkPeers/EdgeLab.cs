using System.Diagnostics;
using SdnEdge.Client;
using SdnEdge.Lab.Running;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests.LinkPeers;

/// <summary>
/// A PE and a router of another make, with a link for each kind of session, and a host behind the PE:
/// <code>
///   host 10.50.0.10 -- site [ pe ] v4 172.16.1.1, v6 fd00:16:2::1, local fe80::ff:fe00:a003, guarded 172.16.4.1, watched 172.16.5.1, bare
///                                    -- [ ce ] .9 on each, and on bare whatever its kernel gives itself
/// </code>
/// </summary>
internal sealed class EdgeLab : IAsyncDisposable
{
    /// <summary>The password of the guarded session.</summary>
    public const string Secret = "swordfish";

    private readonly LabInstance _instance;
    private readonly RunningLab _lab;

    private EdgeLab(LabInstance instance, RunningLab lab)
    {
        (_instance, _lab) = (instance, lab);
        Pe = PeClient.For(Path.Combine(instance.Folder, "pe.sock"));
    }

    public PeClient Pe { get; }

    /// <summary>Folder of the lab's sockets and logs.</summary>
    public string Folder => _instance.Folder;

    public static async Task<EdgeLab> StartAsync(EdgeRouter make)
    {
        LabInstance instance = LabInstance.Of($$"""
            name: LABNAME
            topology:
              nodes:
                pe: { kind: sdnedge-pe, startup-config: pe.yaml }
                host:
                  kind: linux
                  exec:
                    - ip address add 10.50.0.10/24 dev eth1
                    - ip -6 address add fd00:50::10/64 dev eth1 nodad
                    - ip route add default via 10.50.0.1
                    - ip -6 route add default via fd00:50::1
                ce:
                  {{make.Kind}}
                  exec:
                    - sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
                    - ip address add 10.99.0.1/32 dev lo
                    - ip -6 address add fd00:99::1/128 dev lo
                    - ip address add 172.16.1.9/24 dev eth1
                    - ip -6 address add fd00:16:2::9/64 dev eth2 nodad
                    - ip link set eth3 addrgenmode none
                    - ip -6 address flush dev eth3 scope link
                    - ip -6 address add fe80::9/64 dev eth3 nodad
                    - ip address add 172.16.4.9/24 dev eth4
                    - ip route add 10.255.0.1/32 via 172.16.1.1
                    - ip address add 172.16.5.9/24 dev eth5
            {{string.Concat(make.Exec.Select(line => $"        - '{line}'\n"))}}
              links:
                - { endpoints: ["pe:eth1", "ce:eth1"] }
                - { endpoints: ["pe:eth2", "ce:eth2"] }
                - { endpoints: ["pe:eth3", "ce:eth3"] }
                - { endpoints: ["pe:eth4", "ce:eth4"] }
                - { endpoints: ["pe:eth5", "ce:eth5"] }
                - { endpoints: ["pe:eth6", "host:eth1"] }
                - { endpoints: ["pe:eth7", "ce:eth7"] }
            """);
        try
        {
            string bare = make.Cannot.ContainsKey("by the port alone") ? ""
                : "    - { link: bare, as: external, import: all, export: all }\n";
            await File.WriteAllTextAsync(Path.Combine(instance.Root, "pe.yaml"), """
                name: pe
                routerId: 10.255.0.1
                as: 65000
                loopbacks: [10.255.0.1, "fd00:ff::1"]
                host: { device: host0 }
                ports:
                  - { name: v4, device: tap-eth1, addresses: [172.16.1.1/24] }
                  - { name: v6, device: tap-eth2, addresses: ["fd00:16:2::1/64"] }
                  - { name: local, device: tap-eth3, mac: "02:00:00:00:a0:03" }
                  - { name: guarded, device: tap-eth4, addresses: [172.16.4.1/24] }
                  - { name: watched, device: tap-eth5, addresses: [172.16.5.1/24] }
                  - { name: bare, device: tap-eth7 }
                  - { name: site, device: tap-eth6, addresses: [10.50.0.1/24, "fd00:50::1/64"] }
                bgp:
                  advertise: [connected]
                  peers:
                    - { address: 172.16.1.9, as: 65009, import: all, export: all }
                    - { address: "fd00:16:2::9", as: 65009, import: all, export: all }
                    - { address: "fe80::9%local", as: 65009, import: all, export: all }
                    - { address: 172.16.4.9, as: 65009, import: all, export: all, password: swordfish, ttlSecurity: 1 }
                    - { address: 172.16.5.9, as: 65009, import: all, export: all, bfd: { interval: 500, multiplier: 60 } }

                """ + bare);
            await File.WriteAllTextAsync(Path.Combine(instance.Root, "ce.conf"), make.Configuration);
            await File.WriteAllTextAsync(instance.File,
                (await File.ReadAllTextAsync(instance.File)).Replace("ROOT", instance.Root, StringComparison.Ordinal));
            var lab = new EdgeLab(instance, await instance.DeployAsync());
            await make.StartAsync(lab);
            return lab;
        }
        catch
        {
            await instance.DisposeAsync();
            throw;
        }
    }

    public Task UntilAsync(string what, Func<Task<bool>> condition) => Patience.UntilAsync(condition, () => $"{what}; {Seen()}");

    /// <summary>Runs a program to its end; returns what it printed.</summary>
    public Task<string> RunAsync(string node, params string[] argv) => LabInstance.RunAsync(_lab, node, argv);

    /// <summary>Starts a program that ends with the lab.</summary>
    public Process Start(string node, params string[] argv) => _lab.Start(node, argv);

    /// <summary>The PE's configuration as it runs.</summary>
    public Task<string> ConfigAsync() => File.ReadAllTextAsync(ConfigFile);

    /// <summary>Has the PE take another configuration.</summary>
    public async Task ReloadAsync(string config) => Assert.Null(await RefusedAsync(config));

    /// <summary>Has the PE take another configuration; returns why it does not, null when it does.</summary>
    public async Task<string?> RefusedAsync(string config)
    {
        await File.WriteAllTextAsync(ConfigFile, config);
        string said = await RunAsync("pe", "sh", "-c",
            $"curl -sS -w '%{{http_code}}' --unix-socket {Folder}/pe.sock -X POST http://pe/v1/config/reload");
        return said.EndsWith("200", StringComparison.Ordinal) ? null : said;
    }

    private string ConfigFile => Path.Combine(Folder, "pe.yaml");

    /// <summary>Pings until there is an answer.</summary>
    public Task PingAsync(string node, params string[] arguments) => Patience.ReadAsync(
        () => RunAsync(node, "sh", "-c", $"ping -c 1 -W 1 {string.Join(' ', arguments)} || true"),
        said => said.Contains(" 0% packet loss", StringComparison.Ordinal), $"{node} pings {string.Join(' ', arguments)}", Patience.Long);

    /// <summary>Connects by TCP; returns what was said of it.</summary>
    public Task<string> ConnectAsync(string node, string address, int port) => RunAsync(node, "sh", "-c",
        $"socat -u OPEN:/dev/null TCP:{address}:{port},connect-timeout={(int)Patience.Time.TotalSeconds} 2>&1 && echo connected || true");

    public async ValueTask DisposeAsync()
    {
        Pe.Dispose();
        await _instance.DisposeAsync();
    }

    private string Seen()
    {
        try
        {
            return string.Join("; ", Pe.BgpPeersAsync().GetAwaiter().GetResult().Select(p => $"{p.Address} {p.State} {p.LastError}"));
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            return e.Message;
        }
    }
}
