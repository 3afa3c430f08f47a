using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Api;
using SdnEdge.Web;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Router.Tests.Pe.TwoPes;
using IPAddress = System.Net.IPAddress;
using IPEndPoint = System.Net.IPEndPoint;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>
/// A reload is applied as a whole or not at all: what cannot be opened leaves all as it was, and the corrected file is applied.
/// </summary>
public sealed class ReloadTests
{
    private const string Base = """
        name: pe-r
        routerId: 10.255.0.1
        as: 65000
        loopbacks: [127.0.0.1]
        host: { device: host0 }
        ports:
          - { name: core, device: c, addresses: [172.16.0.1/24] }
          - { name: site, device: s, addresses: [10.2.3.1/24] }
        static:
          - { prefix: 10.9.0.0/16, via: 172.16.0.2 }

        """;

    private const string BadPort = "  - { name: bad, device: broken, addresses: [10.4.0.1/24] }\n";

    [Fact]
    public async Task A_port_that_cannot_be_opened_changes_nothing_and_the_corrected_file_is_applied()
    {
        await using Rig rig = await Rig.StartAsync(Base);
        LinkedPort site = rig.Opened["s"];

        // Before the faulty port in the file: a static route less, a port less, two ports more, of which the first can be opened.
        string wanted = Base
            .Replace("name: site, device: s, addresses: [10.2.3.1/24]",
                "name: fine, device: f, addresses: [10.3.0.1/24]", StringComparison.Ordinal)
            .Replace("static:", BadPort + "static:", StringComparison.Ordinal)
            .Replace("10.9.0.0/16", "10.8.0.0/16", StringComparison.Ordinal);
        for (int round = 0; round < 2; round++)
        {
            Problem problem = await rig.RefusedAsync(wanted);
            ProblemError error = Assert.Single(problem.Errors!);
            Assert.Equal("ports.bad.device", error.Pointer);
            Assert.Contains("busy", error.Detail, StringComparison.Ordinal);
            Assert.Equal(["core", "host", "site"], await rig.PortsAsync());
            Assert.Equal("via", (await rig.Pe.LookupAsync("default", IpAddress.Parse("10.9.0.1"))).Action);
            Assert.Equal("no-route", (await rig.Pe.LookupAsync("default", IpAddress.Parse("10.8.0.1"))).Action);
            Assert.Equal("connected", (await rig.Pe.LookupAsync("default", IpAddress.Parse("10.2.3.9"))).Action);
            Assert.False(site.IsDisposed);
            Assert.True(rig.Opened["f"].IsDisposed);
        }

        // What is in force is what the PE says that it is: the old file changes nothing.
        Assert.Empty((await rig.ReloadAsync(Base)).Changes);
        IReadOnlyList<string> changes = (await rig.ReloadAsync(wanted.Replace("broken", "b", StringComparison.Ordinal))).Changes;
        Assert.Equal(["- static default 10.9.0.0/16", "- port site", "+ port fine", "+ port bad", "+ static default 10.8.0.0/16"], changes);
        Assert.Equal(["bad", "core", "fine", "host"], await rig.PortsAsync());
        Assert.Equal("connected", (await rig.Pe.LookupAsync("default", IpAddress.Parse("10.4.0.9"))).Action);
        Assert.True(site.IsDisposed);
        Assert.False(rig.Opened["f"].IsDisposed);

        IEnumerable<EventRecord> told = rig.Pe.Events.After(0, out _).Where(e => e is { Kind: "config", Change: "reload-refused" });
        Assert.Equal([true, true], told.Select(e => e.Detail!.Contains("ports.bad.device", StringComparison.Ordinal)));
        Assert.Equal((2, 2, 0), await rig.ReloadsAsync());
    }

    [Fact]
    public async Task All_that_cannot_be_opened_is_told_at_once()
    {
        using var other = new TcpListener(IPAddress.Loopback, 0);
        other.Start();
        int port = ((IPEndPoint)other.LocalEndpoint).Port;
        string wanted = Base.Replace("static:", BadPort + "static:", StringComparison.Ordinal)
            + $"bgp: {{ port: {port}, peers: [{{ address: 172.16.0.2, as: 65000 }}] }}\n";
        await using Rig rig = await Rig.StartAsync(Base + $"bgp: {{ port: {port} }}\n");
        Assert.Equal(["ports.bad.device", "bgp.peers"], (await rig.RefusedAsync(wanted)).Errors!.Select(e => e.Pointer));
        Assert.Empty(await rig.Pe.BgpPeersAsync());
        other.Stop();
        wanted = wanted.Replace("broken", "b", StringComparison.Ordinal);
        Assert.Equal(["+ port bad", "+ bgp peer 172.16.0.2"], (await rig.ReloadAsync(wanted)).Changes);
        Assert.Equal("172.16.0.2", Assert.Single(await rig.Pe.BgpPeersAsync()).Address);
    }

    [Fact]
    public async Task A_tunnel_like_that_of_a_migration_is_refused_with_the_whole_reload()
    {
        await using TwoPes two = await StartAsync();
        await SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target, key: 77));
        await SignalAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source, key: 77));
        string good = File.ReadAllText(two.ConfigFileA);
        const string Tunnel = "tunnels:\n  - { name: t, local: 10.255.0.1, remote: 10.255.0.2, key: 77 }\n";
        const string Route = "\n  - { prefix: 10.9.0.0/16, discard: true }";
        string wanted = good.Replace("static:", Tunnel + "static:" + Route, StringComparison.Ordinal);
        File.WriteAllText(two.ConfigFileA, wanted);
        Problem problem = await ProblemAsync(two.ApiA.PostAsync("v1/config/reload", null), 422);
        Assert.Equal("tunnels.t", Assert.Single(problem.Errors!).Pointer);
        Assert.Equal("no-route", (await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=10.9.0.1")).Action);
        File.WriteAllText(two.ConfigFileA, wanted.Replace("key: 77", "key: 78", StringComparison.Ordinal));
        ReloadReply reply = await ReadAsync<ReloadReply>(two.ApiA.PostAsync("v1/config/reload", null));
        Assert.Equal(["+ tunnel t", "+ static default 10.9.0.0/16"], reply.Changes);
    }

    [Fact]
    public async Task A_stuck_worker_refuses_the_reload_before_anything_is_changed()
    {
        await using Rig rig = await Rig.StartAsync(Base);
        using var entered = new ManualResetEventSlim();
        using var go = new ManualResetEventSlim();
        rig.Peers["s"].Tap = _ =>
        {
            entered.Set();
            go.Wait();
        };
        string wanted = Base.Replace("10.9.0.0/16", "10.8.0.0/16", StringComparison.Ordinal);
        try
        {
            // An ARP request for the PE's own address: the worker that transmits the answer gets stuck.
            rig.Peers["s"].Send(ArpRequest("10.2.3.9", "10.2.3.1"));
            Assert.True(entered.Wait(Patience.Time));
            Assert.Equal("workers", Assert.Single((await rig.RefusedAsync(wanted)).Errors!).Pointer);
            Assert.Equal("via", (await rig.Pe.LookupAsync("default", IpAddress.Parse("10.9.0.1"))).Action);
        }
        finally
        {
            rig.Peers["s"].Tap = null;
            go.Set();
        }

        Assert.Equal(2, (await rig.ReloadAsync(wanted)).Changes.Count);
    }

    [RootFact]
    public async Task A_device_that_stays_is_handed_to_its_new_port_and_is_never_closed()
    {
        using var space = new Space();
        string yaml = Base.Replace("host: { device: host0 }\n", "", StringComparison.Ordinal);
        string file = yaml;
        var options = new PeRouterOptions { ReadConfig = () => NodeConfigLoader.Load(file, "pe.yaml") };
        PeRouter pe = await Namespaces.Run(space.Name, () => PeRouter.StartAsync(Config(yaml), options));
        await using (pe)
        {
            (int c, int s) = Namespaces.Run(space.Name, () => (NetDevice.Index("c"), NetDevice.Index("s")));

            // Renamed, given another MAC address, and both devices swapped: three ways to make a port anew.
            string[] files =
            [
                yaml.Replace("name: site", "name: office", StringComparison.Ordinal),
                yaml.Replace("device: s,", "device: s, mtu: 1400, mac: \"02:00:00:00:00:77\",", StringComparison.Ordinal),
                yaml.Replace("device: s,", "device: X,", StringComparison.Ordinal)
                    .Replace("device: c,", "device: s,", StringComparison.Ordinal)
                    .Replace("device: X,", "device: c,", StringComparison.Ordinal),
                yaml,
            ];
            foreach (string next in files)
            {
                // A port that cannot be opened leaves the devices where they are.
                string bad = BadPort.Replace("broken", "lo", StringComparison.Ordinal);
                file = next.Replace("static:", bad + "static:", StringComparison.Ordinal);
                ProblemException refused = await Assert.ThrowsAsync<ProblemException>(pe.ReloadAsync);
                Assert.Equal("ports.bad.device", Assert.Single(refused.Problem.Errors!).Pointer);
                file = next;
                Assert.NotEmpty((await pe.ReloadAsync()).Changes);
                Assert.Equal((c, s), Namespaces.Run(space.Name, () => (NetDevice.Index("c"), NetDevice.Index("s"))));
                Assert.All(await pe.PortsAsync(), p => Assert.True(p.Up));
                int mtu = next.Contains("1400", StringComparison.Ordinal) ? 1400 : 1500;
                Assert.Equal(mtu, Namespaces.Run(space.Name, () => NetDevice.Mtu("s")));
            }
        }

        Assert.False(Namespaces.Run(space.Name, () => NetDevice.Exists("s")));
    }

    private static byte[] ArpRequest(string from, string to)
    {
        byte[] frame = new byte[42];
        frame.AsSpan(0, 6).Fill(0xFF);
        byte[] mac = [2, 0, 0, 0, 0xC, 9];
        mac.CopyTo(frame, 6);
        ((byte[])[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]).CopyTo(frame, 12);
        mac.CopyTo(frame, 22);
        IpAddress.Parse(from).Write(frame.AsSpan(28));
        IpAddress.Parse(to).Write(frame.AsSpan(38));
        return frame;
    }

    /// <summary>A network namespace of this test's own.</summary>
    private sealed class Space : IDisposable
    {
        public Space() => Assert.Equal(0, Ip("add"));

        public string Name { get; } = string.Create(CultureInfo.InvariantCulture, $"reload{Environment.ProcessId}");

        public void Dispose() => Ip("del");

        private int Ip(string verb)
        {
            using Process process = Process.Start("ip", ["netns", verb, Name]);
            process.WaitForExit();
            return process.ExitCode;
        }
    }

    /// <summary>A PE whose ports are wires in memory; the device "broken" cannot be opened.</summary>
    private sealed class Rig : IAsyncDisposable
    {
        private string _file = "";

        public PeRouter Pe { get; private set; } = null!;

        /// <summary>The PE's end, by device.</summary>
        public Dictionary<string, LinkedPort> Opened { get; } = [];

        /// <summary>The other end, by device.</summary>
        public Dictionary<string, LinkedPort> Peers { get; } = [];

        public static async Task<Rig> StartAsync(string yaml)
        {
            var rig = new Rig();
            rig.Pe = await PeRouter.StartAsync(Config(yaml), new PeRouterOptions
            {
                OpenPort = rig.Open,
                OpenHost = (_, _) => new HostDevice(LinkedPort.Pair("host", "kernel").One, new MacAddress(0x02_0000_0000_01)),
                ReadConfig = () => NodeConfigLoader.Load(rig._file, "pe.yaml"),
            });
            return rig;
        }

        public Task<ReloadReply> ReloadAsync(string yaml)
        {
            _file = yaml;
            return Pe.ReloadAsync();
        }

        public async Task<Problem> RefusedAsync(string yaml)
            => (await Assert.ThrowsAsync<ProblemException>(() => ReloadAsync(yaml))).Problem;

        public async Task<string[]> PortsAsync() => [.. (await Pe.PortsAsync()).Select(p => p.Name).Order(StringComparer.Ordinal)];

        public async Task<(double Applied, double Refused, double Failed)> ReloadsAsync()
        {
            MetricFamily family = (await Pe.MetricsAsync()).Single(f => f.Name == "sdnedge_config_reloads_total");
            double Of(string result) => family.Samples.Single(s => s.Labels.Contains(("result", result))).Value;
            return (Of("applied"), Of("refused"), Of("failed"));
        }

        public ValueTask DisposeAsync() => Pe.DisposeAsync();

        private LinkedPort Open(PortConfig port)
        {
            if (port.Device == "broken") throw new LinuxException($"create or attach to TAP device {port.Device}", 16);
            (Opened[port.Device], Peers[port.Device]) = LinkedPort.Pair(port.Name, "peer");
            return Opened[port.Device];
        }
    }
}
