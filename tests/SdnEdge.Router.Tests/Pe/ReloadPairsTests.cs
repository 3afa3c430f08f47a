using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Testing;
using SdnEdge.Web;
using Xunit;
using static SdnEdge.Router.Tests.Pe.TwoPes;
using IPAddress = System.Net.IPAddress;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>
/// Pairs of configurations made by chance: one with a fault, which changes nothing, and the corrected one, which is applied whole. What a
/// PE is after a reload is what a PE is that was started with the same file.
/// </summary>
public sealed class ReloadPairsTests
{
    private static readonly ConfigFault[] Faults = Enum.GetValues<ConfigFault>();

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public async Task A_reload_is_applied_whole_or_not_at_all_and_the_corrected_one_is_applied(int seed)
    {
        const int pairs = 250;
        int bgp = FreePort();
        var configs = new RandomConfigs(seed, bgp);
        await using var rig = new Rig();
        await rig.StartAsync(configs.Text(ConfigFault.None));
        string before = await StateAsync(rig.Pe);
        int applied = 1, refused = 0; // the empty change at the end of each round
        var random = new Random(seed);
        for (int i = 0; i < pairs; i++)
        {
            configs.Next();
            ConfigFault fault = Faults[random.Next(Faults.Length)];
            if (fault != ConfigFault.None)
            {
                await Assert.ThrowsAsync<ProblemException>(() => rig.ReloadAsync(configs.Text(fault)));
                refused++;
                Assert.Equal(before, await StateAsync(rig.Pe));
                rig.CheckDevices();
            }

            string good = configs.Text(ConfigFault.None);
            Config(good); // it is good, or the test is wrong
            ReloadReply reply = await rig.ReloadAsync(good);
            applied++;
            before = await StateAsync(rig.Pe);
            Assert.Equal(configs.Devices.Order(), rig.InUse);
            rig.CheckDevices();
            if (i % 10 == 0)
            {
                await using var fresh = new Rig();
                await fresh.StartAsync(good.Replace($"port: {bgp}\n", $"port: {FreePort()}\n", StringComparison.Ordinal));
                string started = await StateAsync(fresh.Pe);
                Assert.True(started == before,
                    $"pair {i}, after {string.Join(", ", reply.Changes)}:\n{before}\nstarted with it:\n{started}\n{good}");
                await rig.ServesAsync(configs.Devices[random.Next(configs.Devices.Count)]);
            }
        }

        Assert.Empty((await rig.ReloadAsync(configs.Text(ConfigFault.None))).Changes);
        Assert.Equal((applied, refused, 0), await rig.ReloadsAsync());
        Assert.Equal(0, rig.Faults);
        Assert.InRange(refused, pairs / 2, pairs);
    }

    [RootFact]
    public async Task The_same_with_devices_of_the_kernel()
    {
        string space = string.Create(CultureInfo.InvariantCulture, $"pairs{Environment.ProcessId}");
        Ip("netns", "add", space);
        try
        {
            // What cannot be opened as a TAP: another kind of device has the name.
            for (int i = 0; i < 3; i++) Ip("-n", space, "link", "add", $"{RandomConfigs.Broken}{i}", "type", "bridge");
            var configs = new RandomConfigs(99);
            string file = configs.Text(ConfigFault.None);
            var options = new PeRouterOptions { ReadConfig = () => NodeConfigLoader.Load(file, "pe.yaml") };
            PeRouter pe = await Namespaces.Run(space, () => PeRouter.StartAsync(Config(file), options));
            await using (pe)
            {
                string before = await StateAsync(pe);
                var random = new Random(99);
                string[] kernel = [.. Taps()];
                Assert.Equal(configs.Devices.Order(), kernel);
                for (int i = 0; i < 60; i++)
                {
                    configs.Next();
                    ConfigFault fault = Faults[random.Next(1, Faults.Length)];
                    file = configs.Text(fault);
                    await Assert.ThrowsAsync<ProblemException>(pe.ReloadAsync);
                    Assert.Equal((before, string.Join(' ', kernel)), (await StateAsync(pe), string.Join(' ', Taps())));
                    file = configs.Text(ConfigFault.None);
                    Config(file);
                    await pe.ReloadAsync();
                    before = await StateAsync(pe);
                    kernel = [.. Taps()];
                    Assert.Equal(configs.Devices.Order(), kernel);
                    foreach (PortInfo port in (await pe.PortsAsync()).Where(p => p.Kind != "host"))
                        Assert.Equal((true, port.Mtu), (port.Up, Namespaces.Run(space, () => NetDevice.Mtu(port.Device))));
                }

                Assert.DoesNotContain(pe.Events.After(0, out _), e => e.Kind == "fault");
            }
        }
        finally
        {
            Ip("netns", "del", space);
        }

        IEnumerable<string> Taps() => Namespaces.Run(space, () => Enumerable.Range(0, 16).Select(i => $"v{i}").Where(NetDevice.Exists)
            .ToArray()).Order();
    }

    private static void Ip(params string[] words)
    {
        using Process process = Process.Start("ip", words);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((System.Net.IPEndPoint)listener.LocalEndpoint).Port;
    }

    // All that a configuration makes, as text: no counters and no times.
    private static async Task<string> StateAsync(PeRouter pe)
    {
        IEnumerable<string> ports = (await pe.PortsAsync()).Select(p =>
            $"port {p.Name} {p.Kind} {p.Device} {p.Vrf} {p.Mac} {p.Mtu} {p.Up} {string.Join(' ', p.Addresses)}");
        IEnumerable<string> vrfs = (await pe.VrfsAsync()).Select(v => $"vrf {v.Name} {v.Key} {v.RoutesV4}");
        IEnumerable<string> routes = (await pe.RoutesAsync(new RouteQuery(null, null))).Select(r =>
            $"route {r.Vrf} {r.Prefix} {r.Source} {r.Best} {r.NextHop} {r.Port}");
        IEnumerable<string> fib = (await pe.FibAsync(new RouteQuery(null, null))).Select(f =>
            $"fib {f.Vrf} {f.Prefix} {f.Action} {f.NextHop} {f.Port}");
        IEnumerable<string> tunnels = (await pe.TunnelsAsync()).Select(t => $"tunnel {t.Name} {t.Local} {t.Remote} {t.Key} {t.Vrf}");
        IEnumerable<string> peers = (await pe.BgpPeersAsync()).Select(p => $"peer {p.Address} {p.PeerAs} {p.Vrf}");
        return string.Join('\n', ports.Concat(vrfs).Concat(routes).Concat(fib).Concat(tunnels).Concat(peers)
            .Order(StringComparer.Ordinal));
    }

    /// <summary>A PE whose ports are wires in memory. A device is open once at most, and some cannot be opened.</summary>
    private sealed class Rig : IAsyncDisposable
    {
        private readonly ConcurrentDictionary<string, (LinkedPort Own, LinkedPort Peer)> _devices = [];
        private string _file = "";

        public PeRouter Pe { get; private set; } = null!;

        public IEnumerable<string> InUse => _devices.Where(d => !d.Value.Own.IsDisposed).Select(d => d.Key).Order();

        public int Faults => Pe.Events.After(0, out _).Count(e => e.Kind == "fault");

        public async Task StartAsync(string yaml)
        {
            _file = yaml;
            Pe = await PeRouter.StartAsync(Config(yaml), new PeRouterOptions
            {
                OpenPort = Open,
                OpenHost = (_, _) => new HostDevice(LinkedPort.Pair("host", "kernel").One, new MacAddress(0x02_0000_0000_01)),
                ReadConfig = () => NodeConfigLoader.Load(_file, "pe.yaml"),
            });
        }

        public Task<ReloadReply> ReloadAsync(string yaml)
        {
            _file = yaml;
            return Pe.ReloadAsync();
        }

        /// <summary>The devices of the ports, and no other, are open.</summary>
        public void CheckDevices()
        {
            string[] ports = [.. Pe.PortsAsync().WaitAsync(Patience.Time).GetAwaiter().GetResult().Where(p => p.Kind != "host")
                .Select(p => p.Device).Order()];
            Assert.Equal(ports, InUse);
        }

        /// <summary>The port of a device answers ARP for its own address.</summary>
        public async Task ServesAsync(string device)
        {
            PortInfo port = (await Pe.PortsAsync()).Single(p => p.Device == device);
            string address = port.Addresses[0].Split('/')[0];
            LinkedPort peer = _devices[device].Peer;
            while (peer.TryTake(out _))
            {
            }

            byte[] request = new byte[42];
            request.AsSpan(0, 6).Fill(0xFF);
            byte[] mac = [2, 0, 0, 0, 0xC, 9];
            mac.CopyTo(request, 6);
            ((byte[])[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]).CopyTo(request, 12);
            mac.CopyTo(request, 22);
            IpAddress.Parse(address[..^1] + "77").Write(request.AsSpan(28));
            IpAddress.Parse(address).Write(request.AsSpan(38));
            peer.Send(request);
            await UntilAsync($"{device} answers ARP", () =>
            {
                while (peer.TryTake(out SentFrame frame))
                {
                    if (frame.Bytes.Length >= 42 && frame.Bytes[12] == 8 && frame.Bytes[13] == 6 && frame.Bytes[21] == 2)
                        return Task.FromResult(true);
                }

                return Task.FromResult(false);
            });
        }

        public async Task<(int Applied, int Refused, int Failed)> ReloadsAsync()
        {
            MetricFamily family = (await Pe.MetricsAsync()).Single(f => f.Name == "sdnedge_config_reloads_total");
            int Of(string result) => (int)family.Samples.Single(s => s.Labels.Contains(("result", result))).Value;
            return (Of("applied"), Of("refused"), Of("failed"));
        }

        public ValueTask DisposeAsync() => Pe.DisposeAsync();

        private LinkedPort Open(PortConfig port)
        {
            bool open = _devices.TryGetValue(port.Device, out (LinkedPort Own, LinkedPort Peer) held) && !held.Own.IsDisposed;
            if (open || port.Device.StartsWith(RandomConfigs.Broken, StringComparison.Ordinal))
                throw new LinuxException($"create or attach to TAP device {port.Device}", 16);
            (LinkedPort own, LinkedPort peer) = LinkedPort.Pair(port.Name, "peer");
            _devices[port.Device] = (own, peer);
            return own;
        }
    }
}
