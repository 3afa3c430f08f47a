using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests.LinkPeers;

/// <summary>
/// eBGP with a CE on connected addresses: a PE as it runs, and a router of another make with nothing but the neighbour's address and AS.
/// Before, such a session timed out: only loopbacks listened, and a connection to a link's address was neither answered nor refused.
/// </summary>
[Trait("needs", "executable")]
public sealed class LinkMatrixTests
{
    private const string Ours4 = "10.50.0.0/24", Ours6 = "fd00:50::/64", Theirs4 = "10.99.0.0/16", Theirs6 = "fd00:99::/48";
    private const string LinkLocal = "fe80::ff:fe00:a003";

    [RootFact]
    public Task FRR_on_a_link_does_what_the_matrix_says() => MatrixAsync(new FrrEdge());

    [RootFact]
    public Task BIRD_on_a_link_does_what_the_matrix_says() => MatrixAsync(new BirdEdge());

    [RootFact]
    public Task GoBGP_on_a_link_does_what_the_matrix_says() => MatrixAsync(new GobgpEdge());

    private static async Task MatrixAsync(EdgeRouter make)
    {
        await using EdgeLab lab = await EdgeLab.StartAsync(make);
        Dictionary<string, string> cells = [];
        await AskAsync("IPv4", () => RouteAsync("172.16.1.9", Theirs4, "172.16.1.9", "v4", Ours4, "172.16.1.1"));
        await AskAsync("IPv6", () => RouteAsync("fd00:16:2::9", Theirs6, "fd00:16:2::9", "v6", Ours6, "fd00:16:2::1"));
        await AskAsync("link-local", () => RouteAsync("fe80::9%local", Theirs6, "fe80::9", "local", Ours6, LinkLocal));
        await AskAsync("IPv4 by IPv6", () => RouteAsync("fe80::9%local", Theirs4, "fe80::9", "local", Ours4, LinkLocal));
        await AskAsync("by the port alone", async () =>
        {
            string own = (await lab.RunAsync("ce", "sh", "-c",
                "ip -6 -o address show dev eth7 scope link | grep -o 'fe80[0-9a-f:]*'")).Trim();
            string ours = Ipv6Addresses.LinkLocal(
                MacAddress.Parse((await lab.Pe.PortsAsync()).Single(p => p.Name == "bare").Mac)).ToString();
            await lab.UntilAsync($"{own}%bare is found", async () => (await lab.Pe.BgpPeersAsync()).Any(p => p.Address == $"{own}%bare"));
            await RouteAsync($"{own}%bare", Theirs4, own, "bare", Ours4, ours);
            Assert.Equal(65009u, (await lab.Pe.BgpPeersAsync()).Single(p => p.Address == $"{own}%bare").PeerAs);

            // Its name in commands is the port's as well as the router's.
            BgpPeerReply reply = await lab.Pe.BgpPeerAsync("%bare", BgpPeerAction.Refresh);
            Assert.Equal("%bare", reply.Peer);
        });
        await AskAsync("GTSM and MD5", () => RouteAsync("172.16.4.9", Theirs4, "172.16.4.9", "guarded", Ours4, "172.16.4.1"));
        await AskAsync("BFD", async () =>
        {
            await lab.UntilAsync("BFD is up over one hop", async () => (await lab.Pe.BfdAsync()).Sessions
                is [{ Peer: "172.16.5.9", Local: "172.16.5.1", Multihop: false, State: "up", RemoteState: "up" }]);
            await RouteAsync("172.16.5.9", Theirs4, "172.16.5.9", "watched", Ours4, "172.16.5.1");
        });
        await AskAsync("forwards", async () =>
        {
            await lab.PingAsync("ce", "-I", "10.99.0.1", "10.50.0.10");
            await lab.PingAsync("ce", "-I", "fd00:99::1", "fd00:50::10");
        });
        await AskAsync("closed port", async () =>
        {
            foreach (string address in (string[])["172.16.1.1", "10.255.0.1", "[fd00:16:2::1]", $"[{LinkLocal}%eth3]"])
            {
                string said = await lab.ConnectAsync("ce", address, 4444);
                Assert.True(said.Contains("refused", StringComparison.Ordinal), $"{address}: {said}");
            }

            // By the data plane: a kernel that has the address must not answer ARP for it on the bridge that the port's TAP is in.
            PortInfo port = (await lab.Pe.PortsAsync()).Single(p => p.Name == "v4");
            Assert.Contains($"lladdr {port.Mac} ", await lab.RunAsync("ce", "ip", "neigh", "show", "172.16.1.1"), StringComparison.Ordinal);
            Assert.Equal("1", (await lab.RunAsync("pe", "cat", "/proc/sys/net/ipv4/conf/all/arp_ignore")).Trim());
        });

        string row = LinkMatrix.Row(make.Name, cells);
        if (LinkMatrix.Updates) LinkMatrix.Write(make.Name, row);
        Assert.Equal(LinkMatrix.Documented(make.Name), row);

        async Task AskAsync(string feature, Func<Task> ask)
        {
            cells[feature] = make.Cannot.GetValueOrDefault(feature) is { } why ? $"peer cannot ({why})" : "yes";
            if (!make.Cannot.ContainsKey(feature)) await ask();
        }

        // Up, with the peer's route here by the right next hop, and ours there.
        async Task RouteAsync(string peer, string theirs, string hop, string port, string ours, string ourHop)
        {
            await lab.UntilAsync($"{peer} is up", async () => (await lab.Pe.BgpPeersAsync()).Single(p => p.Address == peer).State
                == "established");
            await lab.UntilAsync($"{theirs} of {peer} is here", async () =>
            {
                RouteInfo? route = (await lab.Pe.RoutesAsync(null, theirs)).FirstOrDefault(r => r.Peer == peer);
                return route is not null && (route.NextHop, route.Port, route.AsPath) == (hop, port, "65009");
            });
            await lab.UntilAsync($"{ours} by {ourHop} is there", async () =>
                (await make.NextHopsAsync(lab, ours)).Contains(ourHop));
            Assert.Empty((await lab.Pe.BgpPeersAsync()).Single(p => p.Address == peer).Faults);
        }
    }
}
