using System.Net;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Lab.Tests.Kills;
using SdnEdge.Lab.Tests.Moves;
using SdnEdge.Testing;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Lab.Tests;

/// <summary>Servers of two customers with the same addresses move, each in its VRF (<see cref="VpnFarm"/>).</summary>
[Trait("needs", "executable")]
public sealed class VpnMoveTests(ITestOutputHelper output) : IDisposable
{
    // So long a gate waits for its marker: longer than a busy machine stands still. No gate opens by that in a run that is right.
    private const int BoundMs = 60_000;

    private const int ControlMoves = 20;

    // Loopbacks of pe-a, whose routes are the better ones while all else is equal, and of pe-b.
    private const string SiteA = "10.255.0.1", SiteB = "10.255.0.2";

    // From a migration's begin to its window, in which a fault is made.
    private static readonly TimeSpan s_toWindow = TimeSpan.FromSeconds(10);

    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-farm-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [RootFact]
    public async Task Two_customers_move_at_once_there_and_back_and_flush_markers_keep_the_order_of_each()
    {
        await using LabDaemons lab = await StartAsync(count: 1, together: false);
        using Traffic traffic = await Traffic.StartAsync(lab, count: 1, TimeSpan.FromMilliseconds(5), output);
        foreach (string to in (string[])["dc-b", "dc-a"])
        {
            MigrationStatus[] moves = await Task.WhenAll(VpnFarm.Customers.Select(c => MoveAsync(lab, Call(c, to))));
            Assert.All(moves, IsMovedInOrder);
            await traffic.IsWholeAsync();
            await ArePlacedAsync(lab, 1, to);
        }

        // The control: without markers what comes by the direct path, which is 20 ms shorter, overtakes. Not in every move: where nothing
        // is sent just then, nothing can.
        long overtaken = 0;
        for (int i = 0; i < ControlMoves && overtaken == 0; i++)
        {
            MigrationStatus unordered = await MoveAsync(lab, Call("red", i % 2 == 0 ? "dc-b" : "dc-a") with { KeepOrder = false });
            Assert.True(unordered.State == "moved", unordered.Failure);
            overtaken = await traffic.OvertakenAsync("red");
            output.WriteLine($"without markers {overtaken} answers were overtaken");
        }

        Assert.True(overtaken > 0);
        await traffic.EndAsync();
    }

    [RootFact]
    public async Task An_ingress_accepts_packets_from_a_PE_whose_routes_come_last_and_are_not_the_best()
    {
        await using LabDaemons lab = await StartAsync(count: 1, together: false);
        PeClient ingress = lab.Pes["pe-d"];
        foreach (string site in (string[])[SiteA, SiteB]) await ingress.BgpPeerAsync(site, BgpPeerAction.Shutdown);
        await lab.UntilAsync("pe-d to know neither site", c => ingress.TunnelsAsync(c),
            all => all.All(t => t.Remote is not (SiteA or SiteB)));
        foreach (string site in (string[])[SiteA, SiteB])
        {
            await ingress.BgpPeerAsync(site, BgpPeerAction.Reset);
            await AcceptsAsync(lab, "pe-d", site);
        }
    }

    [RootFact]
    public async Task Ten_servers_of_two_customers_move_as_one_or_not_at_all()
    {
        const int Count = 5;
        await using LabDaemons lab = await StartAsync(Count, together: true);
        using Traffic traffic = await Traffic.StartAsync(lab, Count, TimeSpan.FromMilliseconds(50), output);

        // One of the ten is refused by the target host: its leg there is not to be found any more.
        await FailAsync("blue-3", () => LabInstance.RunAsync(lab.Lab, "blue-3", "ip", "link", "set", "leg-b", "name", "lost"),
            () => LabInstance.RunAsync(lab.Lab, "blue-3", "ip", "link", "set", "lost", "name", "leg-b"));

        // The target host of one of the ten dies.
        await FailAsync(VpnFarm.OtherHost, () => lab.EndAsync(VpnFarm.OtherHost), () => lab.BeginAgainAsync(VpnFarm.OtherHost));

        foreach (string to in (string[])["dc-b", "dc-a"])
        {
            MigrationStatus moved = await MoveAsync(lab, Call(VpnFarm.Together, to));
            IsMovedInOrder(moved);
            Assert.Equal(2 * Count, moved.Moves[0].Servers.Count);
            Assert.Equal([("blue", 2 * Count), ("red", 2 * Count)],
                moved.Moves[0].Paths.Select(p => (p.Vrf, p.Prefixes.Count)).Order());
            await traffic.IsWholeAsync();
            await ArePlacedAsync(lab, Count, to);
        }

        await traffic.EndAsync();

        // A migration of all to the other site, in which something happens before the first order. Nothing is stopped or switched; what
        // has failed is mended afterwards, since it has to say that nothing is left there.
        async Task FailAsync(string because, Func<Task> fault, Func<Task> mend)
        {
            DateTimeOffset open = DateTimeOffset.UtcNow + s_toWindow;
            string id = (await lab.Mms.StartAsync(Call(VpnFarm.Together, "dc-b") with
            {
                Window = new WindowCall(open, open + Patience.Long + Patience.Long, LeadMs: 0),
            })).Id;
            await fault();
            string stage = (await lab.Mms.MigrationAsync(id)).Stage;
            Assert.True(stage == "await-window", $"the fault came too late for this test: {stage}");
            await lab.UntilAsync($"migration {id} to be undone", c => lab.Mms.MigrationAsync(id, c),
                m => m.Ended || m.Stage == "inspect-undo");
            foreach (string server in VpnFarm.Customers.SelectMany(c => VpnFarm.ServersOf(c, Count)))
                Assert.Equal((server, "dc-a"), (server, await lab.Lab.LocateAsync(server)));
            await traffic.IsWholeAsync();
            await mend();
            MigrationStatus end = await MoveRig.EndedAsync(lab.Mms, id);
            output.WriteLine($"{id}: {end.State}: {end.Failure}");
            Assert.Equal("as-before", end.State);
            Assert.Contains(because, end.Failure, StringComparison.Ordinal);
            Assert.All(end.Moves[0].Servers, s => Assert.Equal((null, null), (s.StoppedAtNs, s.RunningAtNs)));
            Assert.DoesNotContain(end.Moves[0].Signals,
                s => s.Reply.Signal is SignalKind.Switch or SignalKind.Release or SignalKind.Advertise or SignalKind.Withdraw);
            await traffic.IsWholeAsync();
            await ArePlacedAsync(lab, Count, "dc-a");
        }
    }

    private static MigrationCall Call(string group, string to) => new(group, to, CopyMs: 100, QuietMs: 100, OrderBoundMs: BoundMs);

    private async Task<LabDaemons> StartAsync(int count, bool together)
    {
        LabDaemons lab = await LabDaemons.StartAsync(VpnFarm.Write(_folder, count, together), "vf",
            edit: (folder, _, text) => text.Replace("/run/sdnedge/farm", folder, StringComparison.Ordinal));

        foreach (string ingress in (string[])["pe-c", "pe-d"]) await AcceptsAsync(lab, ingress, SiteA, SiteB);
        return lab;
    }

    // Both sites advertise the servers' subnets, and an ingress uses the route of one. It must accept packets from the other site, too: a
    // server that has moved there answers before the ingress has the new route.
    private static Task AcceptsAsync(LabDaemons lab, string ingress, params string[] from) => lab.UntilAsync(
        $"{ingress} to accept packets from {string.Join(" and ", from)}", c => lab.Pes[ingress].TunnelsAsync(c),
        tunnels => VpnFarm.Customers.All(v => from.All(r => tunnels.Any(t => (t.Vrf, t.Remote) == (v, r)))));

    private static async Task<MigrationStatus> MoveAsync(LabDaemons lab, MigrationCall call)
    {
        lab.Mms.RequestTimeout = TimeSpan.FromSeconds(60);
        return await MoveRig.EndedAsync(lab.Mms, (await lab.Mms.StartAsync(call)).Id);
    }

    private static void IsMovedInOrder(MigrationStatus move)
    {
        Assert.True(move.State == "moved", move.Failure);
        foreach (PathStatus path in move.Moves[0].Paths)
        {
            Assert.Equal((true, TeardownProof.Markers), (path.Ordered, path.Proof));
            Assert.Equal(["pe-c", "pe-d"], path.ProvedByMarker.Where(p => p is "pe-c" or "pe-d").Order());
            OrderInfo order = path.Target!.Order!;
            Assert.Equal((0L, 0L), (order.Unordered, order.StrangeMarkers));
            OrderGateInfo[] ingress = [.. order.Gates.Where(g => g.Ingress is "pe-c" or "pe-d")];
            Assert.Equal(4, ingress.Length);   // of each PE one for each family
            Assert.All(ingress, g => Assert.Equal((GateOpening.Marker, g.Expected, 0L), (g.OpenedBy, g.Moved, g.Dropped)));
            Assert.All(order.Gates, g => Assert.NotEqual(GateOpening.Bound, g.OpenedBy));
        }
    }

    // Each server is live at a site, and its hosts say so; and no PE has anything of a migration any more.
    private static async Task ArePlacedAsync(LabDaemons lab, int count, string site)
    {
        Dictionary<string, ServerState> states = [];
        foreach (string host in lab.Hosts.Keys)
        {
            string at = lab.Lab.Hosts.Single(h => h.Node == host).Site;
            foreach (ServerInfo server in await lab.Hosts[host].ServersAsync()) states[$"{server.Name} at {at}"] = server.State;
        }

        foreach (string server in VpnFarm.Customers.SelectMany(c => VpnFarm.ServersOf(c, count)))
        {
            Assert.Equal((server, site), (server, await lab.Lab.LocateAsync(server)));
            foreach (string at in (string[])["dc-a", "dc-b"])
            {
                ServerState wanted = at == site ? ServerState.Running : ServerState.Absent;
                Assert.Equal((server, at, wanted), (server, at, states[$"{server} at {at}"]));
            }
        }

        Assert.DoesNotContain(await lab.LeftOverAsync(), l => !l.Contains("tunnel vpn-", StringComparison.Ordinal));
    }

    /// <summary>Traffic of each customer's clients with its servers, which have the same addresses as the other's.</summary>
    private sealed class Traffic : IDisposable
    {
        private readonly LabDaemons _lab;
        private readonly int _count;
        private readonly ITestOutputHelper _output;
        private readonly List<(string Client, string Customer, EchoTraffic Stream)> _streams = [];
        private readonly Dictionary<string, long> _before = [];

        private Traffic(LabDaemons lab, int count, ITestOutputHelper output) => (_lab, _count, _output) = (lab, count, output);

        public static async Task<Traffic> StartAsync(LabDaemons lab, int count, TimeSpan interval, ITestOutputHelper output)
        {
            var traffic = new Traffic(lab, count, output);
            foreach (string customer in VpnFarm.Customers)
            {
                traffic._before[customer] = await traffic.ReceivedAsync(customer);
                foreach (string client in VpnFarm.ClientsOf(customer))
                {
                    IPAddress[] addresses = VpnFarm.Addresses(count);
                    foreach (IPAddress address in addresses) await LabInstance.ReachAsync(lab.Lab, client, address.ToString());
                    traffic._streams.Add((client, customer, EchoTraffic.Start(lab.Lab, client, addresses, interval)));
                }
            }

            await traffic.IsWholeAsync();
            return traffic;
        }

        /// <summary>What was sent since the last look is answered, once, and in order.</summary>
        public async Task IsWholeAsync()
        {
            foreach ((string client, _, EchoTraffic stream) in _streams)
            {
                IReadOnlyList<EchoCount> each = await stream.SettleEachAsync();
                EchoCount count = EchoTraffic.Sum(each);
                _output.WriteLine($"{client}: {count}");
                Assert.NotEqual(0, count.Sent);
                if ((count.Lost, count.Duplicated, count.Reordered) != default)
                    Assert.Fail($"{client}: {string.Join('\n', each)}\n{await _lab.TellAsync()}");
            }
        }

        /// <summary>How many answers of a customer came late since the last look; none is lost all the same.</summary>
        public async Task<long> OvertakenAsync(string customer)
        {
            long overtaken = 0;
            foreach ((_, _, EchoTraffic stream) in _streams.Where(s => s.Customer == customer))
            {
                EchoCount count = await stream.SettleAsync();
                Assert.Equal((0L, 0L), (count.Lost, count.Duplicated));
                overtaken += count.Reordered;
            }

            return overtaken;
        }

        /// <summary>No more is sent; each customer's servers have received what its clients sent, to the packet.</summary>
        public async Task EndAsync()
        {
            Dispose();
            foreach (string customer in VpnFarm.Customers)
            {
                long sent = _streams.Where(s => s.Customer == customer).Sum(s => s.Stream.Sent), before = _before[customer];
                long received = await Patience.ReadAsync(() => ReceivedAsync(customer), now => now - before >= sent,
                    $"{customer}'s servers have all {sent} datagrams", Patience.Long) - before;
                _output.WriteLine($"{customer}: {sent} sent, {received} received");
                Assert.Equal(sent, received);
            }
        }

        public void Dispose()
        {
            foreach ((_, _, EchoTraffic stream) in _streams) stream.Dispose();
        }

        private async Task<long> ReceivedAsync(string customer)
        {
            long all = 0;
            foreach (string server in VpnFarm.ServersOf(customer, _count)) all += await LabInstance.ReceivedAsync(_lab.Lab, server);
            return all;
        }
    }
}
