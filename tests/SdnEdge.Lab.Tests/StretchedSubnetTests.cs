using SdnEdge.Lab.Running;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>
/// Figure 1 with a host on the subnet of the server at each site, and with a core that is too narrow for the tunnel: what users found.
/// </summary>
[Trait("needs", "executable")]
public sealed class StretchedSubnetTests
{
    private const string GatewayMac = "00:00:5e:00:01:01", ServerMac = "02:00:00:00:01:10";

    private static readonly string[] s_server = ["10.1.1.10", "fd00:1:1::10"];

    // A host of the subnet could not reach the server once it had moved away, and one at the new site could not before.
    [RootFact]
    public async Task Hosts_of_the_subnet_at_both_sites_reach_the_server_wherever_it_is()
    {
        await using var instance = LabInstance.Of("name: LABNAME");
        string topology = Figure1(instance, text => Before(Before(text, "    client-c:\n", """
                near-a:
                  kind: linux
                  exec:
                    - ip address add 10.1.1.20/24 dev eth1
                    - ip -6 address add fd00:1:1::20/64 dev eth1 nodad
                near-b:
                  kind: linux
                  exec:
                    - ip address add 10.1.1.30/24 dev eth1
                    - ip -6 address add fd00:1:1::30/64 dev eth1 nodad

            """), "    # The clients.\n", """
                - endpoints: ["near-a:eth1", "dc-a:eth9"]
                - endpoints: ["near-b:eth1", "dc-b:eth9"]

            """));
        RunningLab lab = await LabRunner.DeployAsync(topology, instance.Options with { Name = instance.Name, RttMs = 20 },
            CancellationToken.None);
        foreach (string node in (string[])["near-a", "near-b"])
        {
            foreach (string address in s_server) await LabInstance.ReachAsync(lab, node, address);
        }

        Pings[] streams = [.. from node in (string[])["near-a", "near-b"] from address in s_server select new Pings(lab, node, address)];
        foreach (Pings stream in streams) await stream.AnswersAsync(5);
        foreach ((string to, string away, string near) in ((string, string, string)[])[("dc-b", "near-a", "near-b"),
            ("dc-a", "near-b", "near-a"), ("dc-b", "near-a", "near-b")])
        {
            (int code, string output, string news) = await MigrateCommandTests.MoveAsync(instance, to, 200);
            Assert.True(code == 0, news + output);
            foreach (Pings stream in streams) await stream.AnswersAsync(20);
            foreach (string address in s_server)
            {
                await KnowsAsync(lab, away, address, GatewayMac);
                await KnowsAsync(lab, near, address, ServerMac);
            }
        }

        // The server looks for them, too: without an answer that it has from before.
        await LabInstance.RunAsync(lab, "vs", "ip", "neigh", "flush", "all");
        foreach (string address in (string[])["10.1.1.20", "fd00:1:1::20", "10.1.1.30", "fd00:1:1::30"])
            await LabInstance.ReachAsync(lab, "vs", address);
        foreach (Pings stream in streams)
        {
            using Pings ended = stream;
            await ended.EndAsync();
        }
    }

    // "Is the target prepared, with the same key?", while a link behind the PE's own took 1500 bytes only.
    [RootFact]
    public async Task A_link_behind_the_first_that_is_too_narrow_is_named_with_its_mtu_and_nothing_is_changed()
    {
        await using var instance = LabInstance.Of("name: LABNAME");
        string topology = Figure1(instance, text => text.Replace("""endpoints: ["pe-b:eth1", "wan:eth2"], mtu: 1600""",
            """endpoints: ["pe-b:eth1", "wan:eth2"], mtu: 1500""", StringComparison.Ordinal));
        RunningLab lab = await LabRunner.DeployAsync(topology, instance.Options with { Name = instance.Name, RttMs = 20 },
            CancellationToken.None);
        (int code, string output, string news) = await MigrateCommandTests.MoveAsync(instance, "dc-b", 200);
        string all = news + output;
        Assert.True(code == 1, all);
        Assert.Contains("the way to 10.255.0.2 carries 1500", all, StringComparison.Ordinal);
        Assert.Contains("give every link of the way 1528 or more", all, StringComparison.Ordinal);
        Assert.DoesNotContain("same key", all, StringComparison.Ordinal);
        Assert.Equal("dc-a", await lab.LocateAsync("vs"));
    }

    private static Task KnowsAsync(RunningLab lab, string node, string address, string mac)
        => Patience.ReadAsync(() => LabInstance.RunAsync(lab, node, "ip", "neigh", "show", address),
            said => said.Contains(mac, StringComparison.OrdinalIgnoreCase), $"{node} finds {address} at {mac}", Patience.Long);

    private static string Figure1(LabInstance instance, Func<string, string> change)
    {
        string source = Path.GetDirectoryName(LabFiles.Figure1)!, files = Path.Combine(instance.Root, "figure1");
        Directory.CreateDirectory(files);
        foreach (string file in Directory.GetFiles(Path.Combine(source, "figure1")))
            File.Copy(file, Path.Combine(files, Path.GetFileName(file)));
        string topology = Path.Combine(instance.Root, "figure1.clab.yml"), before = File.ReadAllText(LabFiles.Figure1);
        string text = change(before);
        Assert.NotEqual(before, text);
        File.WriteAllText(topology, text);
        return topology;
    }

    private static string Before(string text, string mark, string added)
    {
        int at = text.IndexOf(mark, StringComparison.Ordinal);
        Assert.True(at >= 0, $"no '{mark}' in the topology");
        return text.Insert(at, added + "\n");
    }
}
