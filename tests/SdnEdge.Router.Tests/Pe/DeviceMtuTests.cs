using System.Diagnostics;
using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Linux;
using SdnEdge.Testing;
using SdnEdge.Web;
using Xunit;
using static SdnEdge.Router.Tests.Pe.TwoPes;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>A port's device has the port's MTU: at start, after a reload, and when somebody else has changed it.</summary>
public sealed class DeviceMtuTests
{
    [RootFact]
    public async Task A_device_whose_mtu_somebody_else_changes_has_its_ports_again_and_that_is_told()
    {
        string space = string.Create(CultureInfo.InvariantCulture, $"mtu{Environment.ProcessId}");
        Ip("netns", "add", space);
        try
        {
            string file = """
                name: pe-m
                routerId: 10.255.0.1
                as: 65000
                loopbacks: [10.255.0.1]
                ports:
                  - { name: core, device: c, mtu: 1600, addresses: [172.16.0.1/24] }
                  - { name: site, device: s, addresses: [10.2.3.1/24] }
                """;
            var options = new PeRouterOptions { ReadConfig = () => NodeConfigLoader.Load(file, "pe.yaml") };
            PeRouter pe = await Namespaces.Run(space, () => PeRouter.StartAsync(Config(file), options));
            await using (pe)
            {
                Assert.Equal((1600, 0), await MtuAsync("c", "core"));
                Ip("-n", space, "link", "set", "c", "mtu", "1300");
                await UntilAsync("it has the port's again", async () => await MtuAsync("c", "core") == (1600, 1));
                Ip("-n", space, "link", "set", "c", "mtu", "9000");
                await UntilAsync("and after another time", async () => await MtuAsync("c", "core") == (1600, 2));
                Assert.Equal(["1300", "9000"], Told("mtu-restored").Select(e => e.Detail!.Split("MTU of ")[1].Split(' ')[0]));
                Assert.Equal((1500, 0), await MtuAsync("s", "site"));

                // The configuration's own change is none of somebody else's, and what follows is held to the new value.
                file = file.Replace("1600", "1700", StringComparison.Ordinal);
                await pe.ReloadAsync();
                Assert.Equal((1700, 2), await MtuAsync("c", "core"));
                Ip("-n", space, "link", "set", "c", "mtu", "1600");
                await UntilAsync("it has the new one again", async () => await MtuAsync("c", "core") == (1700, 3));
                MetricFamily family = (await pe.MetricsAsync()).Single(f => f.Name == "sdnedge_port_mtu_changes_total");
                Assert.Equal([("core", 3.0), ("site", 0.0)],
                    family.Samples.Select(s => (s.Labels.Single(l => l.Name == "port").Value, s.Value)).Order());

                // A device that is away, or another's, is nothing to the PE.
                Ip("-n", space, "link", "add", "other", "mtu", "1400", "type", "bridge");
                Ip("-n", space, "link", "set", "s", "down");
                Ip("-n", space, "link", "set", "s", "name", "renamed");
                Ip("-n", space, "link", "set", "c", "mtu", "1500");
                await UntilAsync("the other port's is put right", async () => await MtuAsync("c", "core") == (1700, 4));
                Assert.Empty(Told("mtu-differs"));
                Assert.DoesNotContain(pe.Events.After(0, out _), e => e.Kind == "fault");

                async Task<(int Device, long Changes)> MtuAsync(string device, string port)
                {
                    PortInfo info = (await pe.PortsAsync()).Single(p => p.Name == port);
                    return (Namespaces.Run(space, () => NetDevice.Mtu(device)), info.DeviceMtu is null ? info.MtuChanges : -1);
                }

                IEnumerable<EventRecord> Told(string change)
                    => pe.Events.After(0, out _).Where(e => e.Kind == "port" && e.Change == change);
            }
        }
        finally
        {
            Ip("netns", "del", space);
        }
    }

    private static void Ip(params string[] words)
    {
        using Process process = Process.Start("ip", words);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }
}
