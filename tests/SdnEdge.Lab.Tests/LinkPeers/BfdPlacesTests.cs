using System.Globalization;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests.LinkPeers;

/// <summary>
/// BFD where an address alone does not say which link is meant: with link-local peers, and in two VRFs whose CEs have the same address.
/// <code>
///   [ pe ] local  fe80::ff:fe00:a001 --------------- fe80::9 ce (FRR)
///          red    10.7.0.1, fe80::ff:fe00:a002 ----- 10.7.0.2, fe80::9 ce
///          bare (red) ------------------------------ ce, known by its port alone
///          blue   10.7.0.1 ------------------------- 10.7.0.2 ce-blue (BIRD)
/// </code>
/// Before, the file was refused: BFD was of global addresses in the default VRF.
/// </summary>
[Trait("needs", "executable")]
public sealed class BfdPlacesTests
{
    // Found after 10 s: a machine that stands still for less is not what is tried.
    private const string Timers = "{ interval: 500, multiplier: 20 }";

    private static readonly string[] OfFrr = ["fe80::9%local", "10.7.0.2@red", "fe80::9%red@red"];

    [RootFact]
    public async Task BFD_with_link_local_peers_and_in_VRFs_ends_the_sessions_of_its_own_place_and_no_others()
    {
        await using LabInstance instance = LabInstance.Of("""
            name: LABNAME
            topology:
              nodes:
                pe: { kind: sdnedge-pe, startup-config: pe.yaml }
                ce:
                  kind: frr
                  startup-config: ce.conf
                  exec:
                    - ip -6 address flush dev eth1 scope link
                    - ip -6 address add fe80::9/64 dev eth1 nodad
                    - ip address add 10.7.0.2/30 dev eth2
                    - ip -6 address flush dev eth2 scope link
                    - ip -6 address add fe80::9/64 dev eth2 nodad
                ce-blue: { kind: bird, startup-config: ce-blue.conf, exec: [ip address add 10.7.0.2/30 dev eth1] }
              links:
                - { endpoints: ["pe:eth1", "ce:eth1"] }
                - { endpoints: ["pe:eth2", "ce:eth2"] }
                - { endpoints: ["pe:eth3", "ce-blue:eth1"] }
                - { endpoints: ["pe:eth4", "ce:eth3"] }
            """);
        await File.WriteAllTextAsync(Path.Combine(instance.Root, "pe.yaml"), Pe);
        await File.WriteAllTextAsync(Path.Combine(instance.Root, "ce.conf"), Frr);
        await File.WriteAllTextAsync(Path.Combine(instance.Root, "ce-blue.conf"), Bird);
        RunningLab lab = await instance.DeployAsync();
        using PeClient pe = PeClient.For(Path.Combine(instance.Folder, "pe.sock"));
        int bfdd = int.Parse(await File.ReadAllTextAsync(Path.Combine(instance.Folder, "ce.frr", "bfdd.pid")),
            CultureInfo.InvariantCulture);
        await Patience.UntilAsync(async () => (await pe.BgpPeersAsync()).Any(IsBare), Seen);
        string bare = (await pe.BgpPeersAsync()).Single(IsBare).Address;
        string[] ofFrr = [.. OfFrr, bare];
        await UpAsync([.. ofFrr, "10.7.0.2@blue"]);
        BfdSessionInfo[] sessions = [.. (await pe.BfdAsync()).Sessions.Where(s => s.Port != "bare").OrderBy(s => (s.Vrf, s.Peer, s.Port))];
        Assert.Equal(
            [
                ("10.7.0.2", "10.7.0.1", "blue", "blue"), ("fe80::9", "fe80::ff:fe00:a001", "default", "local"),
                ("10.7.0.2", "10.7.0.1", "red", "red"), ("fe80::9", "fe80::ff:fe00:a002", "red", "red"),
            ],
            sessions.Select(s => (s.Peer, s.Local, s.Vrf, s.Port!)));
        Assert.All(sessions, s => Assert.False(s.Multihop));
        string peers = await LabInstance.RunAsync(lab, "ce", "vtysh", "--vty_socket", Path.Combine(instance.Folder, "ce.frr"), "-c",
            "show bfd peers brief");
        Assert.Equal(4, peers.Split('\n').Count(l => l.TrimEnd().EndsWith("up", StringComparison.Ordinal)));
        long blue = (await SessionAsync("10.7.0.2", "blue")).Downs;

        // FRR's BFD stands still and its BGP goes on: what ends the sessions is BFD, in the default VRF and in red. The same address in
        // blue is another router's.
        Signals.Send(bfdd, ProcessSignal.Stop);
        foreach (string name in ofFrr) await EndedAsync(name);
        Assert.Equal(("up", blue), ((await SessionAsync("10.7.0.2", "blue")).State, (await SessionAsync("10.7.0.2", "blue")).Downs));
        BgpPeerInfo other = (await pe.BgpPeersAsync()).Single(p => p.Address == "10.7.0.2@blue");
        Assert.Equal(("established", null), (other.State, other.LastError));
        Signals.Send(bfdd, ProcessSignal.Continue);
        await UpAsync(ofFrr);

        // One that is known by its port alone has two names.
        BgpPeerInfo found = (await pe.BgpPeersAsync()).Single(IsBare);
        Assert.Equal(("established", 65009u, "red"), (found.State, found.PeerAs, found.Vrf));
        Assert.Equal("%bare@red", (await pe.BgpPeerAsync("%bare@red", BgpPeerAction.Refresh)).Peer);
        Assert.Equal("%bare@red", (await pe.BgpPeerAsync(bare, BgpPeerAction.Refresh)).Peer);

        // A packet from further away is not this neighbour's (RFC 5881 5), in a VRF and on a link-local link too.
        long before = await OthersHopsAsync();
        await LabInstance.RunAsync(lab, "ce", "sh", "-c", "head -c 24 /dev/zero | socat -u - UDP:10.7.0.1:3784,ttl=254");
        await LabInstance.RunAsync(lab, "ce", "sh", "-c", "head -c 24 /dev/zero | socat -u - UDP6:[fe80::ff:fe00:a001%eth1]:3784");
        await Patience.UntilAsync(async () => await OthersHopsAsync() == before + 2, () => "both are discarded for their TTL");

        // A link that carries nothing any more.
        await LabInstance.RunAsync(lab, "ce-blue", "ip", "link", "set", "eth1", "down");
        await EndedAsync("10.7.0.2@blue");
        await LabInstance.RunAsync(lab, "ce-blue", "ip", "link", "set", "eth1", "up");
        await UpAsync(["10.7.0.2@blue"]);

        // A customer goes and comes back: its kernel's side is another one then, and so are its sockets.
        string file = Path.Combine(instance.Folder, "pe.yaml"), yaml = await File.ReadAllTextAsync(file);
        await ReloadAsync(string.Join('\n', yaml.Split('\n').Where(l => !l.Contains("vrf: blue, as", StringComparison.Ordinal))));
        Assert.DoesNotContain((await pe.BfdAsync()).Sessions, s => s.Vrf == "blue");
        await Patience.UntilAsync(async () => (await pe.PortsAsync()).All(p => p.Name != "host@blue"), () => "blue's host port goes");
        await ReloadAsync(yaml);
        await UpAsync([.. ofFrr, "10.7.0.2@blue"]);

        // And it goes with its BFD.
        await ReloadAsync(string.Join('\n', yaml.Split('\n').Where(l => !l.Contains("link: bare", StringComparison.Ordinal))));
        Assert.DoesNotContain((await pe.BfdAsync()).Sessions, s => s.Port == "bare");
        Assert.DoesNotContain(await pe.BgpPeersAsync(), IsBare);
        Assert.Equal(4, (await pe.BfdAsync()).Sessions.Count);
        await lab.DestroyAsync();
        Assert.Empty(instance.Residue());

        async Task<BfdSessionInfo> SessionAsync(string peer, string vrf)
            => (await pe.BfdAsync()).Sessions.Single(s => s.Peer == peer && s.Vrf == vrf);

        async Task<long> OthersHopsAsync()
            => (await pe.BfdAsync()).Discards.SingleOrDefault(d => d.Reason == "time-to-live")?.Packets ?? 0;

        async Task ReloadAsync(string text)
        {
            await File.WriteAllTextAsync(file, text);
            await LabInstance.RunAsync(lab, "pe", "curl", "-sS", "--fail", "--unix-socket", Path.Combine(instance.Folder, "pe.sock"), "-X",
                "POST", "http://pe/v1/config/reload");
        }

        Task UpAsync(string[] names) => Patience.UntilAsync(async () =>
        {
            IReadOnlyList<BfdSessionInfo> all = (await pe.BfdAsync()).Sessions;
            IReadOnlyList<BgpPeerInfo> speakers = await pe.BgpPeersAsync();
            return names.All(name => speakers.Single(p => p.Address == name).State == "established"
                && all.Single(s => NameOf(s) == name) is { State: "up", RemoteState: "up" });
        }, Seen);

        Task EndedAsync(string name) => Patience.UntilAsync(async () => (await pe.BgpPeersAsync()).Single(p => p.Address == name).LastError
            ?.Contains("BFD session down: detection-time-expired", StringComparison.Ordinal) == true, Seen);

        string Seen() => string.Join("; ", pe.BgpPeersAsync().GetAwaiter().GetResult().Select(p => $"{p.Address} {p.State} {p.LastError}"))
            + "; BFD: " + string.Join("; ", pe.BfdAsync().GetAwaiter().GetResult().Sessions);
    }

    private static bool IsBare(BgpPeerInfo peer) => peer.Address.StartsWith("fe80::", StringComparison.Ordinal)
        && peer.Address.EndsWith("%bare@red", StringComparison.Ordinal);

    private static string NameOf(BfdSessionInfo session)
        => (session.Peer.StartsWith("fe80", StringComparison.Ordinal) ? $"{session.Peer}%{session.Port}" : session.Peer)
            + (session.Vrf == "default" ? "" : $"@{session.Vrf}");

    private const string Pe = $$"""
        name: pe
        routerId: 10.255.0.1
        as: 65000
        loopbacks: [10.255.0.1]
        host: { device: host0 }
        vrfs:
          - { name: default }
          - { name: red, key: 7, rd: "65000:7", import: ["65000:7"], export: ["65000:7"] }
          - { name: blue, key: 8, rd: "65000:8", import: ["65000:8"], export: ["65000:8"] }
        ports:
          - { name: local, device: tap-eth1, mac: "02:00:00:00:a0:01" }
          - { name: red, device: tap-eth2, vrf: red, addresses: [10.7.0.1/30], mac: "02:00:00:00:a0:02" }
          - { name: blue, device: tap-eth3, vrf: blue, addresses: [10.7.0.1/30], mac: "02:00:00:00:a0:03" }
          - { name: bare, device: tap-eth4, vrf: red }
        bgp:
          peers:
            - { address: "fe80::9%local", as: 65009, import: all, export: all, bfd: {{Timers}} }
            - { address: 10.7.0.2, vrf: red, as: 65009, import: all, export: all, bfd: {{Timers}} }
            - { address: "fe80::9%red", as: 65009, import: all, export: all, bfd: {{Timers}} }
            - { address: 10.7.0.2, vrf: blue, as: 65009, import: all, export: all, bfd: {{Timers}} }
            - { link: bare, as: external, import: all, export: all, bfd: {{Timers}} }
        """;

    private const string Frr = """
        router bgp 65009
         bgp router-id 10.255.0.9
         no bgp ebgp-requires-policy
         neighbor fe80::ff:fe00:a001 remote-as 65000
         neighbor fe80::ff:fe00:a001 interface eth1
         neighbor fe80::ff:fe00:a001 bfd 20 500 500
         neighbor 10.7.0.1 remote-as 65000
         neighbor 10.7.0.1 bfd 20 500 500
         neighbor fe80::ff:fe00:a002 remote-as 65000
         neighbor fe80::ff:fe00:a002 interface eth2
         neighbor fe80::ff:fe00:a002 bfd 20 500 500
         neighbor eth3 interface remote-as external
         neighbor eth3 bfd 20 500 500
        """;

    private const string Bird = """
        log stderr all;
        router id 10.7.0.2;
        protocol device { scan time 1; }
        protocol direct { ipv4; }
        protocol bfd { interface "eth1" { interval 500 ms; multiplier 20; }; }
        protocol bgp a4 { local as 65009; neighbor 10.7.0.1 as 65000; connect delay time 1; bfd on; ipv4 { import all; export none; }; }
        """;
}
