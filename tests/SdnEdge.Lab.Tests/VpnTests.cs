using System.Diagnostics;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Mms;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>Two customers with the same addresses over two PEs and a route reflector of FRR (topologies/vpn.clab.yml).</summary>
[Trait("needs", "executable")]
public sealed class VpnTests
{
    [RootFact]
    public async Task Each_of_two_customers_with_the_same_addresses_reaches_its_own_server_and_only_that()
    {
        string folder = Path.GetDirectoryName(LabFiles.Vpn)!;
        await using var instance =
            LabInstance.Of((await File.ReadAllTextAsync(LabFiles.Vpn)).Replace("name: vpn\n", "name: LABNAME\n", StringComparison.Ordinal));
        Directory.CreateDirectory(Path.Combine(instance.Root, "vpn"));
        foreach (string file in Directory.GetFiles(Path.Combine(folder, "vpn")))
        {
            string text = await File.ReadAllTextAsync(file);

            // What a session does that hears nothing for 9 s is not tried here: a busy machine may stand still for so long.
            await File.WriteAllTextAsync(Path.Combine(instance.Root, "vpn", Path.GetFileName(file)),
                text.Replace("/run/sdnedge/vpn", instance.Folder, StringComparison.Ordinal)
                .Replace("holdTime: 9 ", "holdTime: 180 ", StringComparison.Ordinal)
                .Replace("timers 3 9\n", "timers 60 180\n", StringComparison.Ordinal));
        }

        RunningLab lab = await instance.DeployAsync();
        using LabAccount account = await LabAccount.OpenAsync(lab);
        foreach (string customer in (string[])["red", "blue"])
        {
            using Process server =
                lab.Start($"{customer}-server",
                    ["socat", "TCP6-LISTEN:7,fork,reuseaddr,ipv6only=0", $"SYSTEM:echo {customer}"], redirect: true);
            try
            {
                foreach (string address in (string[])["10.1.1.10", "[fd00:1:1::10]"])
                {
                    Assert.Equal(customer, await UntilAsync(async () =>
                        (await LabInstance.RunAsync(lab, $"{customer}-client", "sh", "-c",
                            $"socat -T 2 - TCP:{address}:7,connect-timeout=2 || true")).Trim(), said => said.Length > 0));
                }

                // Full size, not to be fragmented: the core has room for the tunnel's header.
                await account.PingAsync($"{customer}-client", 3, "-i", "0.05", "-M", "do", "-s", "1472", "10.1.1.10");
            }
            finally
            {
                server.Kill(entireProcessTree: true);
            }
        }

        // By the keys that the far end has told, through the reflector: key 8 is blue at pe-1 and red at pe-2.
        using (PeClient pe1 = PeClient.For(Path.Combine(instance.Folder, "pe-1.sock")))
        using (PeClient pe2 = PeClient.For(Path.Combine(instance.Folder, "pe-2.sock")))
        {
            Assert.Equal("tunnel:vpn-10.255.0.1-7", await PortOfAsync(pe2, "red", "10.1.1.0/24"));
            Assert.Equal("tunnel:vpn-10.255.0.1-8", await PortOfAsync(pe2, "blue", "10.1.1.0/24"));
            Assert.Equal("tunnel:vpn-10.255.0.2-8", await PortOfAsync(pe1, "red", "10.2.1.0/24"));
            Assert.Equal("tunnel:vpn-10.255.0.2-9", await PortOfAsync(pe1, "blue", "fd00:2:1::/64"));
            BgpPeerInfo reflector = Assert.Single(await pe1.BgpPeersAsync());
            Assert.Equal(["ipv4", "vpnv4", "vpnv6"], reflector.Families);

            // FRR reflects a route also to where it came from.
            Assert.DoesNotContain(reflector.Faults, f => f.Fault != "next-hop-ours");

            // A customer leaves pe-1: its routes go at pe-2, and so do tunnels that nothing uses any more.
            string file = Path.Combine(instance.Folder, "pe-1.yaml");
            string yaml = await File.ReadAllTextAsync(file);
            await File.WriteAllTextAsync(file,
                yaml.Replace("import: [\"65000:2\"], export: [\"65000:2\"]", "import: [], export: []", StringComparison.Ordinal));
            await LabInstance.RunAsync(lab, "pe-1", "curl", "-sS", "--fail", "--unix-socket", Path.Combine(instance.Folder, "pe-1.sock"),
                "-X", "POST", "http://pe/v1/config/reload");
            Assert.Equal(["vpn-10.255.0.1-7", "vpn-10.255.0.1-8"],
                await UntilAsync(async () => (await pe2.TunnelsAsync()).Select(t => t.Name).Order().ToArray(), names => names.Length == 2));
            Assert.DoesNotContain(await pe2.RoutesAsync("blue", "10.1.1.0/24"), r => r.Source == "bgp");
            Assert.Contains(await pe2.RoutesAsync("red", "10.1.1.0/24"), r => r.Source == "bgp");
            await File.WriteAllTextAsync(file, yaml);
            await LabInstance.RunAsync(lab, "pe-1", "curl", "-sS", "--fail", "--unix-socket", Path.Combine(instance.Folder, "pe-1.sock"),
                "-X", "POST", "http://pe/v1/config/reload");
            Assert.Equal("tunnel:vpn-10.255.0.1-8",
                await UntilAsync(() => PortOfAsync(pe2, "blue", "10.1.1.0/24"), port => port is not null));
            Assert.Equal("tunnel:vpn-10.255.0.2-9",
                await UntilAsync(() => PortOfAsync(pe1, "blue", "10.2.1.0/24"), port => port is not null));
        }

        // Routes come back at one PE before the other: an answer says that both ways are there.
        await LabInstance.ReachAsync(lab, "blue-client", "10.1.1.10");
        await account.PingAsync("blue-client", 2, "-i", "0.05", "10.1.1.10");
        await lab.DestroyAsync();
        Assert.Empty(instance.Residue());
    }

    private static async Task<string?> PortOfAsync(PeClient pe, string vrf, string prefix) =>
        (await pe.RoutesAsync(vrf, prefix)).FirstOrDefault(r => r.Best && r.Source == "bgp")?.Port;

    private static Task<T> UntilAsync<T>(Func<Task<T>> read, Func<T, bool> right)
        => Patience.ReadAsync(read, right, "the customers' routes are as they should be", Patience.Long);
}
