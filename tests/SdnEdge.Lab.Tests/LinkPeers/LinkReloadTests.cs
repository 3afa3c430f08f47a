using SdnEdge.Core.Api;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests.LinkPeers;

/// <summary>What the kernel has of a PE's addresses follows the configuration.</summary>
[Trait("needs", "executable")]
public sealed class LinkReloadTests
{
    [RootFact]
    public async Task The_kernel_has_the_addresses_of_ports_and_a_device_for_each_link_with_a_link_local_peer_as_the_file_says()
    {
        await using EdgeLab lab = await EdgeLab.StartAsync(new BirdEdge());
        string[] loopbacks = ["10.255.0.1/32", "fd00:ff::1/128"];
        string[] ports = ["172.16.1.1/32", "fd00:16:2::1/128", "172.16.4.1/32", "172.16.5.1/32", "10.50.0.1/32", "fd00:50::1/128"];
        await AddressesAsync(lab, [.. loopbacks, .. ports]);
        Assert.Contains("fe80::ff:fe00:a003/64", await lab.RunAsync("pe", "ip", "-6", "-o", "address", "show", "dev", "host0.local"),
            StringComparison.Ordinal);
        long before = await UptimeOfAsync(lab, "172.16.4.9");

        // The link-local peer goes with its device, another port gets one more address; who is not concerned stays.
        string file = await lab.ConfigAsync();
        string changed = file
            .Replace("    - { address: \"fe80::9%local\", as: 65009, import: all, export: all }\n", "", StringComparison.Ordinal)
            .Replace("[172.16.5.1/24]", "[172.16.5.1/24, 172.16.50.1/24]", StringComparison.Ordinal)
            .Replace("[10.50.0.1/24, ", "[", StringComparison.Ordinal);
        await lab.ReloadAsync(changed);
        Assert.Contains("172.16.50.1/32", await AddressesAsync(lab));
        await AddressesAsync(lab, [.. loopbacks, .. ports.Where(p => p != "10.50.0.1/32"), "172.16.50.1/32"]);
        await lab.UntilAsync("the link's device goes",
            async () => !(await lab.RunAsync("pe", "ip", "-o", "link", "show")).Contains("host0.local", StringComparison.Ordinal));
        Assert.DoesNotContain(await lab.Pe.PortsAsync(), p => p.Name == "host%local");
        Assert.Contains("ll: Received: Peer de-configured", await File.ReadAllTextAsync(Path.Combine(lab.Folder, "ce.log")),
            StringComparison.Ordinal);
        Assert.True(await UptimeOfAsync(lab, "172.16.4.9") >= before, "the session on a link that did not change went down");
        Assert.Contains("refused", await lab.ConnectAsync("ce", "172.16.5.1", 4444), StringComparison.Ordinal);

        // A reload that is refused leaves all as it was.
        string? why = await lab.RefusedAsync(changed.Replace("tap-eth6", "no-such/device", StringComparison.Ordinal)
            .Replace("172.16.50.1/24", "172.16.51.1/24", StringComparison.Ordinal));
        Assert.NotNull(why);
        await AddressesAsync(lab, [.. loopbacks, .. ports.Where(p => p != "10.50.0.1/32"), "172.16.50.1/32"]);

        // And back: the session on the new device comes up.
        await lab.ReloadAsync(file);
        await AddressesAsync(lab, [.. loopbacks, .. ports]);
        await lab.UntilAsync("the link-local peer is up again",
            async () => (await lab.Pe.BgpPeersAsync()).Single(p => p.Address == "fe80::9%local").State == "established");
        Assert.Equal(6, (await lab.Pe.BgpPeersAsync()).Count);
    }

    private static async Task<long> UptimeOfAsync(EdgeLab lab, string peer)
    {
        BgpPeerInfo info = (await lab.Pe.BgpPeersAsync()).Single(p => p.Address == peer);
        Assert.Equal("established", info.State);
        return info.UptimeSeconds;
    }

    // What is needed is there before the reload is answered; what is not goes a little later.
    private static async Task AddressesAsync(EdgeLab lab, string[] expected)
    {
        string all = string.Join(' ', Sorted(expected));
        await lab.UntilAsync($"the kernel has {all}", async () => string.Join(' ', await AddressesAsync(lab)) == all);
        Assert.Equal(Sorted(expected), await RulesAsync(lab));
    }

    private static string[] Sorted(IEnumerable<string> addresses) => [.. addresses.Order(StringComparer.Ordinal)];

    private static async Task<string[]> AddressesAsync(EdgeLab lab)
        => Sorted((await lab.RunAsync("pe", "ip", "-o", "address", "show", "dev", "host0", "scope", "global")).Split('\n')
            .Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Where(w => w.Length > 3).Select(w => w[3]));

    private static async Task<string[]> RulesAsync(EdgeLab lab)
        => Sorted((await lab.RunAsync("pe", "sh", "-c", "ip rule show; ip -6 rule show")).Split('\n').Where(l => l.Contains("4754"))
            .Select(l => l.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[2])
            .Select(a => a + (a.Contains(':', StringComparison.Ordinal) ? "/128" : "/32")));
}
