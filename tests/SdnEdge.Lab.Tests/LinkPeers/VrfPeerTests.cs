using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests.LinkPeers;

/// <summary>
/// Two customers whose CEs have the same addresses and the same AS, each in a VRF, over two PEs:
/// <code>
///   ce-red  10.7.0.2 -- [ pe-1 ] -- 172.16.0.0/24 -- [ pe-2 ] -- 10.8.0.10 red-host
///   ce-blue 10.7.0.2 --    |                            |     -- 10.9.0.10 blue-host
/// </code>
/// Before, there were no sessions in a VRF, and what came there for the router itself went to the kernel of the default one.
/// </summary>
[Trait("needs", "executable")]
public sealed class VrfPeerTests
{
    [RootFact]
    public async Task Each_of_two_CEs_with_the_same_address_has_its_own_session_and_its_own_VPN()
    {
        await using LabInstance instance = LabInstance.Of($$"""
            name: LABNAME
            topology:
              nodes:
                pe-1: { kind: sdnedge-pe, startup-config: pe-1.yaml }
                pe-2: { kind: sdnedge-pe, startup-config: pe-2.yaml }
            {{Ce("ce-red")}}
            {{Ce("ce-blue")}}
                red-host: { kind: linux, exec: [ip address add 10.8.0.10/24 dev eth1, ip route add default via 10.8.0.1] }
                blue-host: { kind: linux, exec: [ip address add 10.9.0.10/24 dev eth1, ip route add default via 10.9.0.1] }
              links:
                - { endpoints: ["pe-1:eth1", "pe-2:eth1"], mtu: 1600 }
                - { endpoints: ["pe-1:eth2", "ce-red:eth1"] }
                - { endpoints: ["pe-1:eth3", "ce-blue:eth1"] }
                - { endpoints: ["pe-2:eth2", "red-host:eth1"] }
                - { endpoints: ["pe-2:eth3", "blue-host:eth1"] }
            """);
        await File.WriteAllTextAsync(Path.Combine(instance.Root, "pe-1.yaml"), Pe(1, "10.7.0.1/30", "10.7.0.1/30",
            "    - { address: 10.7.0.2, vrf: red, as: 65009, import: all, export: all, password: swordfish, ttlSecurity: 1 }\n"
            + "    - { address: 10.7.0.2, vrf: blue, as: 65009, import: all, export: all, password: swordfish, ttlSecurity: 1 }\n"
            + "    - { address: \"fe80::9%red\", as: 65009, import: all, export: all }\n"));
        await File.WriteAllTextAsync(Path.Combine(instance.Root, "pe-2.yaml"), Pe(2, "10.8.0.1/24", "10.9.0.1/24", ""));
        foreach (string ce in (string[])["ce-red", "ce-blue"])
            await File.WriteAllTextAsync(Path.Combine(instance.Root, $"{ce}.conf"), Bird(ce == "ce-red" ? "10.99.0.0/16" : "10.98.0.0/16"));
        RunningLab lab = await instance.DeployAsync();
        using PeClient pe1 = PeClient.For(Path.Combine(instance.Folder, "pe-1.sock"));
        using PeClient pe2 = PeClient.For(Path.Combine(instance.Folder, "pe-2.sock"));
        foreach (string peer in (string[])["10.7.0.2@red", "10.7.0.2@blue", "fe80::9%red@red"])
            await Patience.UntilAsync(async () => (await pe1.BgpPeersAsync()).Single(p => p.Address == peer).State == "established",
                () => peer);

        // The customer's route at the other PE, with the customer's path, in its own VRF and in no other.
        foreach ((string vrf, string prefix, string other) in ((string, string, string)[])[("red", "10.99.0.0/16", "10.98.0.0/16"),
            ("blue", "10.98.0.0/16", "10.99.0.0/16")])
        {
            await Patience.UntilAsync(
                async () => (await pe2.RoutesAsync(vrf, prefix)).Any(r => r is { Best: true, Source: "bgp", AsPath: "65009" }),
                () => $"{prefix} in {vrf} of pe-2");
            Assert.Empty(await pe2.RoutesAsync(vrf, other));
            Assert.Empty(await pe1.RoutesAsync("default", prefix));
        }

        // And what the other PE has is told to the CE, with our AS in front and without the provider's route targets.
        string table = await Patience.ReadAsync(() => BirdcAsync(instance, lab, "ce-red", "show route 10.8.0.0/24 all protocol a4"),
            t => t.Contains("10.8.0.0/24", StringComparison.Ordinal), "ce-red has the far subnet", Patience.Long);
        Assert.Contains("BGP.as_path: 65000", table, StringComparison.Ordinal);
        Assert.Contains("BGP.next_hop: 10.7.0.1", table, StringComparison.Ordinal);
        Assert.DoesNotContain("ext_community", table, StringComparison.Ordinal);
        Assert.DoesNotContain("10.9.0.0/24", await BirdcAsync(instance, lab, "ce-red", "show route"), StringComparison.Ordinal);

        await PingAsync(lab, "ce-red", "-I 10.99.0.1 10.8.0.10");
        await PingAsync(lab, "ce-blue", "-I 10.98.0.1 10.9.0.10");
        foreach (string ce in (string[])["ce-red", "ce-blue"])
        {
            string said = await LabInstance.RunAsync(lab, ce, "sh", "-c",
                $"socat -u OPEN:/dev/null TCP:10.7.0.1:4444,connect-timeout={(int)Patience.Time.TotalSeconds} 2>&1 || true");
            Assert.Contains("refused", said, StringComparison.Ordinal);
        }

        // A customer goes, with its session and its kernel's side; the other one's session stays.
        string file = Path.Combine(instance.Folder, "pe-1.yaml"), yaml = await File.ReadAllTextAsync(file);
        await File.WriteAllTextAsync(file, string.Join('\n', yaml.Split('\n').Where(l
            => !l.Contains("vrf: blue, as", StringComparison.Ordinal))));
        await LabInstance.RunAsync(lab, "pe-1", "curl", "-sS", "--fail", "--unix-socket", Path.Combine(instance.Folder, "pe-1.sock"), "-X",
            "POST", "http://pe/v1/config/reload");
        Assert.Equal(["10.255.0.2", "10.7.0.2@red", "fe80::9%red@red"],
            (await pe1.BgpPeersAsync()).Select(p => p.Address).Order(StringComparer.Ordinal));
        await Patience.UntilAsync(async () => (await pe1.PortsAsync()).All(p => p.Name != "host@blue"), () => "blue's host port goes");
        Assert.Contains("a4: Received: Peer de-configured", await File.ReadAllTextAsync(Path.Combine(instance.Folder, "ce-blue.log")),
            StringComparison.Ordinal);
        Assert.Equal("established", (await pe1.BgpPeersAsync()).Single(p => p.Address == "10.7.0.2@red").State);
        await Patience.UntilAsync(async () => (await pe2.RoutesAsync("blue", "10.98.0.0/16")).Count == 0,
            () => "blue's route goes at pe-2");
        await lab.DestroyAsync();
        Assert.Empty(instance.Residue());
    }

    [RootFact]
    public async Task A_session_in_a_VRF_comes_back_through_the_keeper()
    {
        await using LabInstance instance = LabInstance.Of($$"""
            name: LABNAME
            topology:
              nodes:
                pe-1: { kind: sdnedge-pe, startup-config: pe-1.yaml }
            {{Ce("ce-red")}}
              links:
                - { endpoints: ["pe-1:eth2", "ce-red:eth1"] }
            """);
        string yaml = Pe(1, "10.7.0.1/30", "", "");
        string[] without = ["name: blue", "name: core", "prefix:", "static:", "as: 65000, vpn"];
        yaml = string.Join('\n', yaml.Split('\n').Where(l => !without.Any(w => l.Contains(w, StringComparison.Ordinal))))
            + "    - { address: 10.7.0.2, vrf: red, as: 65009, import: all, export: all, password: swordfish, ttlSecurity: 1 }\n"
            + "    - { address: \"fe80::9%red\", as: 65009, import: all, export: all }\nforwarding: { keeper: true }\n";
        await File.WriteAllTextAsync(Path.Combine(instance.Root, "pe-1.yaml"), yaml);
        await File.WriteAllTextAsync(Path.Combine(instance.Root, "ce-red.conf"), Bird("10.99.0.0/16"));
        RunningLab lab = await instance.DeployAsync();
        using PeClient pe = PeClient.For(Path.Combine(instance.Folder, "pe-1.sock"));
        await UpAsync(_ => true);
        int first = (await pe.NodeAsync()).ProcessId;
        Signals.Send(first, ProcessSignal.Kill);
        await UpAsync(process => process != first);
        await Patience.UntilAsync(async () => await AskAsync(async () => await pe.KeeperAsync() is { State: "connected", Takeovers: 1 }),
            () => "the PE forwards again");
        Assert.Equal(["host", "host%red", "host@red", "red"], (await pe.PortsAsync()).Select(p => p.Name).Order(StringComparer.Ordinal));
        await lab.DestroyAsync();
        Assert.Empty(instance.Residue());

        Task UpAsync(Func<int, bool> process) => Patience.UntilAsync(() => AskAsync(async () => process((await pe.NodeAsync()).ProcessId)
            && (await pe.BgpPeersAsync()).All(p => p.State == "established")
            && (await pe.RoutesAsync("red", "10.99.0.0/16")).Count(r => !r.Stale) == 2), () => "both sessions are up");

        async Task<bool> AskAsync(Func<Task<bool>> ask)
        {
            try
            {
                return await ask();
            }
            catch (Exception e) when (e is ApiUnreachableException or ApiProblemException or HttpRequestException or IOException)
            {
                return false;
            }
        }
    }

    /// <summary>Before, the CEs took each other's routes for loops, unless they allowed their own AS.</summary>
    [RootFact]
    public async Task Two_sites_of_one_AS_reach_each_other_by_AS_override_and_a_site_with_two_links_is_not_told_its_own_routes()
    {
        await using LabInstance instance = LabInstance.Of($$"""
            name: LABNAME
            topology:
              nodes:
                pe-1: { kind: sdnedge-pe, startup-config: pe-1.yaml }
                pe-2: { kind: sdnedge-pe, startup-config: pe-2.yaml }
            {{Ce("ce-red")}}
            {{Ce("ce-blue")}}
              links:
                - { endpoints: ["pe-1:eth1", "pe-2:eth1"], mtu: 1600 }
                - { endpoints: ["pe-1:eth2", "ce-red:eth1"] }
                - { endpoints: ["pe-2:eth2", "ce-blue:eth1"] }
            """);
        foreach (int pe in (int[])[1, 2])
        {
            string text = Pe(pe, "10.7.0.1/30", "", "    - { address: 10.7.0.2, vrf: red, as: 65009, import: all, export: all, "
                + "password: swordfish, ttlSecurity: 1, asOverride: true }\n");
            await File.WriteAllTextAsync(Path.Combine(instance.Root, $"pe-{pe}.yaml"),
                string.Join('\n', text.Split('\n').Where(l => !l.Contains("name: blue", StringComparison.Ordinal))));
        }

        await File.WriteAllTextAsync(Path.Combine(instance.Root, "ce-red.conf"), Bird("10.99.0.0/16"));
        await File.WriteAllTextAsync(Path.Combine(instance.Root, "ce-blue.conf"), Bird("10.98.0.0/16"));
        RunningLab lab = await instance.DeployAsync();
        using PeClient pe2 = PeClient.For(Path.Combine(instance.Folder, "pe-2.sock"));
        string table = await Patience.ReadAsync(() => BirdcAsync(instance, lab, "ce-blue", "show route 10.99.0.0/16 all protocol a4"),
            t => t.Contains("10.99.0.0/16", StringComparison.Ordinal), "ce-blue has the route of the other site", Patience.Long);
        Assert.Contains("BGP.as_path: 65000 65000", table, StringComparison.Ordinal);
        await PingAsync(lab, "ce-red", "-I 10.99.0.1 10.98.0.1");

        // Both are one site: what it told is a route of the VRF at both PEs, and not told to it.
        foreach (int pe in (int[])[1, 2])
        {
            string file = Path.Combine(instance.Folder, $"pe-{pe}.yaml");
            await File.WriteAllTextAsync(file, (await File.ReadAllTextAsync(file)).Replace("asOverride: true",
                "asOverride: true, siteOfOrigin: \"65000:1\"", StringComparison.Ordinal));
            await LabInstance.RunAsync(lab, $"pe-{pe}", "curl", "-sS", "--fail", "--unix-socket",
                Path.Combine(instance.Folder, $"pe-{pe}.sock"), "-X", "POST", "http://pe/v1/config/reload");
        }

        await Patience.UntilAsync(async () => (await pe2.RoutesAsync("red", "10.99.0.0/16")).Any(r => r is { Best: true, AsPath: "65009" }
            && r.Communities?.Contains("soo:65000:1") == true), () => "pe-2 has the route with its site");
        table = await Patience.ReadAsync(() => BirdcAsync(instance, lab, "ce-blue", "show route protocol a4"),
            t => t.Contains("10.7.0.0/30", StringComparison.Ordinal), "ce-blue is told what its site did not tell", Patience.Long);
        Assert.DoesNotContain("10.99.0.0/16", table, StringComparison.Ordinal);
    }

    private static Task<string> BirdcAsync(LabInstance instance, RunningLab lab, string ce, string command)
        => LabInstance.RunAsync(lab, ce, "birdc", "-s", Path.Combine(instance.Folder, $"{ce}.ctl"), command);

    private static Task PingAsync(RunningLab lab, string node, string arguments) => Patience.ReadAsync(
        () => LabInstance.RunAsync(lab, node, "sh", "-c", $"ping -c 1 -W 1 {arguments} || true"),
        said => said.Contains(" 0% packet loss", StringComparison.Ordinal), $"{node} pings {arguments}", Patience.Long);

    private static string Ce(string name) => $$"""
                {{name}}:
                  kind: bird
                  startup-config: {{name}}.conf
                  exec:
                    - sysctl -q -w net.ipv4.ip_forward=1
                    - ip address add {{(name == "ce-red" ? "10.99.0.1" : "10.98.0.1")}}/32 dev lo
                    - ip address add 10.7.0.2/30 dev eth1
                    - ip -6 address flush dev eth1 scope link
                    - ip -6 address add fe80::9/64 dev eth1 nodad
            """;

    private static string Bird(string own) => $$"""
        log stderr all;
        router id 10.7.0.2;
        protocol device { scan time 1; }
        protocol direct { ipv4; interface "eth*"; }
        protocol kernel { ipv4 { export where source = RTS_BGP; }; }
        protocol static own4 { ipv4; route {{own}} unreachable; }
        filter own { if source = RTS_STATIC then accept; reject; }
        protocol bgp a4 {
          local as 65009; neighbor 10.7.0.1 as 65000; connect delay time 1; password "swordfish"; ttl security on;
          ipv4 { import all; export filter own; };
        }
        protocol bgp ll {
          local as 65009; neighbor fe80::ff:fe00:a007%eth1 as 65000; connect delay time 1;
          ipv4 { import all; export filter own; extended next hop on; };
        }
        """;

    private static string Pe(int self, string red, string blue, string peers) => $$"""
        name: pe-{{self}}
        routerId: 10.255.0.{{self}}
        as: 65000
        loopbacks: [10.255.0.{{self}}]
        host: { device: host0 }
        vrfs:
          - { name: default }
          - { name: red, key: 7, rd: "65000:7", import: ["65000:7"], export: ["65000:7"] }
          - { name: blue, key: 8, rd: "65000:8", import: ["65000:8"], export: ["65000:8"] }
        ports:
          - { name: core, device: tap-eth1, mtu: 1600, addresses: [172.16.0.{{self}}/24] }
          - { name: red, device: tap-eth2, vrf: red, addresses: [{{red}}], mac: "02:00:00:00:a0:07" }
          - { name: blue, device: tap-eth3, vrf: blue, addresses: [{{blue}}] }
        static:
          - { prefix: 10.255.0.{{3 - self}}/32, via: 172.16.0.{{3 - self}} }
        bgp:
          advertise: [connected]
          peers:
            - { address: 10.255.0.{{3 - self}}, as: 65000, vpn: true }
        {{peers}}
        """;
}
