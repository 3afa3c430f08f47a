using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Router.Tests.Pe.TwoPes;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>A whole move over the API of two PEs in this process, under traffic.</summary>
public sealed class MoveTests
{
    private static readonly MacAddress Gateway = MacAddress.Parse("02:00:00:00:a0:03");
    private static readonly IpAddress Server = IpAddress.Parse("10.1.1.10");

    [Fact]
    public async Task A_move_under_traffic_loses_nothing_keeps_order_and_leaves_nothing_over()
    {
        await using TwoPes two = await StartAsync();
        using var traffic = new Traffic(two);
        await traffic.RunAsync(200);
        await traffic.ArrivesAsync(two); // nothing waits for ARP any more

        SignalReply[] prepared = await Task.WhenAll(
            SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target)),
                SignalAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source)));
        Assert.All(prepared, r => Assert.Equal(PeMigrationState.Prepared, r.State));
        MigrationInfo source = await GetAsync<MigrationInfo>(two.ApiA, "v1/migrations/m1");
        Assert.True(source.TunnelUp);
        await traffic.RunAsync(200);

        SignalReply switched = await SignalAsync(two.ApiA, SignalKind.Switch);
        Assert.True(switched.StoreNs is >= 0 && switched.AcknowledgedAtNs >= switched.TookEffectAtNs);
        Assert.True(switched.Empty);
        traffic.PauseServer();
        await traffic.RunAsync(500);
        await UntilAsync("the blackout's packets are held", async ()
            => (await GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m1")).Hold!.PacketsHeldNow >= 500);

        traffic.ResumeServerAtB();
        SignalReply released = await SignalAsync(two.ApiB, SignalKind.Release);
        Assert.Equal(PeMigrationState.Released, released.State);
        await traffic.RunAsync(300);
        await SignalAsync(two.ApiB, SignalKind.Advertise, new SignalRequest(1, LocalPref: 200));
        await traffic.RunAsync(100);
        await SignalAsync(two.ApiA, SignalKind.Withdraw);
        await traffic.RunAsync(100);
        await UntilAsync("the hold drains", async ()
            => (await GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m1")).Hold!.State == "released");
        RedirectGroupInfo group = Assert.Single(await GetAsync<RedirectGroupInfo[]>(two.ApiA, "v1/groups"));
        Assert.Equal(0, group.StalePackets);
        Assert.True(group.TunnelPackets > 0 && group.FirstTunnelPacketAtNs is not null);
        await SignalAsync(two.ApiA, SignalKind.Teardown);
        await SignalAsync(two.ApiB, SignalKind.Teardown);
        await traffic.RunAsync(200);

        await traffic.ArrivesAsync(two);
        Assert.Equal(Enumerable.Range(0, (int)traffic.Sent).Select(i => (long)i), traffic.Received);
        Assert.Equal(0, traffic.Missed);
        foreach (HttpClient api in (HttpClient[])[two.ApiA, two.ApiB])
        {
            Assert.Empty(await GetAsync<TunnelInfo[]>(api, "v1/tunnels"));
            Assert.Empty(await GetAsync<RedirectGroupInfo[]>(api, "v1/groups"));
            Assert.DoesNotContain("sdnedge_hold_packets{", await api.GetStringAsync("metrics"), StringComparison.Ordinal);
            Assert.Contains("sdnedge_control_faults_total 0", await api.GetStringAsync("metrics"), StringComparison.Ordinal);
        }

        // Figure 1(c): pe-a has no route of its own to the server any more, pe-b has.
        Assert.Equal("via", (await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=10.1.1.10")).Action);
        Assert.Equal("connected", (await GetAsync<FibInfo>(two.ApiB, "v1/fib/lookup?address=10.1.1.10")).Action);
        Assert.Contains(await GetAsync<RouteInfo[]>(two.ApiB, "v1/routes?prefix=10.1.1.10/32"), r => r.Source == "migration" && r.Best);
    }

    /// <summary>
    /// Where the source's way to an ingress is longer, the first packets of the servers wait at the target: until the release says that it
    /// is long enough, else for the whole difference from the first one on. No timer of the test decides which.
    /// </summary>
    [Theory]
    [InlineData(SignalChecks.MaxKeepBackMs, 0, true)]
    [InlineData(1, SignalChecks.MaxKeepBackMs, false)]
    public async Task What_the_servers_send_first_waits_at_the_target_and_stays_in_order(int keepBackMs, int leftAtRelease, bool release)
    {
        await using TwoPes two = await StartAsync();
        using var server = new TestHost(two.ServerAtB, "10.1.1.10", "02:00:00:00:01:10");
        using var client = new TestHost(two.Client, "10.2.3.10", "02:00:00:00:0c:10");
        await SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target) with { KeepBackMs = keepBackMs });
        await SignalAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source));
        await SignalAsync(two.ApiA, SignalKind.Switch);
        for (int i = 0; i < 50; i++) server.Send(MacAddress.Parse("00:00:5e:00:01:01"), IpAddress.Parse("10.2.3.10"), i);
        if (release) await SignalAsync(two.ApiB, SignalKind.Release, new SignalRequest(1, KeepBackMs: leftAtRelease));
        await UntilAsync("what was kept back arrives", () => Task.FromResult(client.Received.Length == 50));
        for (int i = 50; i < 60; i++) server.Send(MacAddress.Parse("00:00:5e:00:01:01"), IpAddress.Parse("10.2.3.10"), i);
        await UntilAsync("the rest arrives", () => Task.FromResult(client.Received.Length == 60));
        Assert.Equal(Enumerable.Range(0, 60).Select(i => (long)i), client.Received);
        EventRecord told = Assert.Single(two.B.Events.After(0, out _), e => e.Change == "kept-back");
        Assert.StartsWith("50 packets", told.Detail, StringComparison.Ordinal);
    }

    /// <summary>A server that boots: the hold is released, and the direct packets are in their gates, long before it answers. A teardown
    /// that waits for the hold waits for the gates behind it, too.</summary>
    [Fact]
    public async Task A_server_that_answers_late_gets_what_was_held_then_what_the_gates_kept_then_what_came_behind_them()
    {
        await using TwoPes two = await StartAsync();
        using var traffic = new Traffic(two);
        await traffic.RunAsync(50);
        await traffic.ArrivesAsync(two);
        var order = new OrderOptions([]);
        await SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target) with { Order = order });
        await SignalAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source) with { Order = order });
        await SignalAsync(two.ApiA, SignalKind.Switch);
        traffic.PauseServer();
        await traffic.RunAsync(200);
        await SignalAsync(two.ApiB, SignalKind.Release);
        await SignalAsync(two.ApiB, SignalKind.Advertise, new SignalRequest(1, LocalPref: 200));
        await SignalAsync(two.ApiA, SignalKind.Withdraw);
        await SignalAsync(two.ApiA, SignalKind.Teardown);
        await traffic.RunAsync(500);
        await UntilAsync("the gates keep direct packets", async () => (await GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m1"))
            .Order!.Gates.Sum(g => g.PacketsHeldNow) >= 500);

        Task<SignalReply> teardown = SignalAsync(two.ApiB, SignalKind.Teardown, new SignalRequest(1, WaitMs: 10_000));
        traffic.ResumeServerAtB();
        do await traffic.RunAsync(50); while (!teardown.IsCompleted);
        await teardown;
        await traffic.ArrivesAsync(two);
        Assert.Equal(Enumerable.Range(0, (int)traffic.Sent).Select(i => (long)i), traffic.Received);
    }

    [Fact]
    public async Task With_the_hold_disabled_the_same_move_loses_the_blackout()
    {
        await using TwoPes two = await StartAsync();
        using var traffic = new Traffic(two);
        await traffic.RunAsync(50);
        await traffic.ArrivesAsync(two);
        await SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target, hold: new HoldOptions(Disabled: true)));
        await SignalAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source));
        await SignalAsync(two.ApiA, SignalKind.Switch);
        traffic.PauseServer();
        long before = await FromTunnelAsync();
        await traffic.RunAsync(1000);

        // What pe-b has not come to before the server is there is not lost.
        await UntilAsync("the blackout's packets are through", async () => await FromTunnelAsync() >= before + 1000);
        traffic.ResumeServerAtB();
        await SignalAsync(two.ApiB, SignalKind.Release);
        long afterRelease = traffic.Sent;
        await traffic.RunAsync(300);
        await UntilAsync("the server at B hears", async () =>
        {
            await traffic.RunAsync(1);
            return traffic.Received.Any(n => n >= afterRelease);
        });

        // A few may wait for ARP; most of the blackout is gone for good.
        Assert.True(traffic.Received.Count() < traffic.Sent - 500, $"sent {traffic.Sent}, received {traffic.Received.Count()}");

        async Task<long> FromTunnelAsync() => (await GetAsync<TunnelInfo[]>(two.ApiB, "v1/tunnels")).Sum(t => t.RxPackets);
    }

    [Fact]
    public async Task An_abort_after_the_switch_brings_everything_back_and_what_was_held_returns()
    {
        await using TwoPes two = await StartAsync();
        using var traffic = new Traffic(two);
        await traffic.RunAsync(50);
        await traffic.ArrivesAsync(two);
        await Task.WhenAll(
            SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target)),
                SignalAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source)));
        await SignalAsync(two.ApiA, SignalKind.Switch);
        await traffic.RunAsync(200);

        // B takes its tunnel away once its hold is empty: a manager waits until nothing is on the way.
        await UntilAsync("all is held", async ()
            => (await GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m1")).Hold!.PacketsHeldNow >= 200);
        await SignalAsync(two.ApiA, SignalKind.Abort);
        await SignalAsync(two.ApiB, SignalKind.Abort);
        await traffic.RunAsync(100);
        await traffic.ArrivesAsync(two);
        Assert.Equal(traffic.Sent, traffic.Received.Distinct().Count());
        await UntilAsync("nothing is left over at B", async () => (await GetAsync<RedirectGroupInfo[]>(two.ApiB, "v1/groups")).Length == 0
            && (await GetAsync<TunnelInfo[]>(two.ApiB, "v1/tunnels")).Length == 0);
        Assert.Empty(await GetAsync<RedirectGroupInfo[]>(two.ApiA, "v1/groups"));
        Assert.Empty(await GetAsync<TunnelInfo[]>(two.ApiA, "v1/tunnels"));
        Assert.Equal("connected", (await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=10.1.1.10")).Action);
    }

    [Fact]
    public async Task A_redirect_goes_on_when_the_answers_to_its_probes_no_longer_find_their_way_back()
    {
        await using TwoPes two = await StartAsync();
        using var traffic = new Traffic(two);
        await traffic.RunAsync(50);
        await traffic.ArrivesAsync(two);
        await Task.WhenAll(
            SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target)),
                SignalAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source)));
        await SignalAsync(two.ApiA, SignalKind.Switch);
        traffic.PauseServer();

        string file = await File.ReadAllTextAsync(two.ConfigFileB), broken =
            file.Replace("10.255.0.1/32, via: 172.16.0.1", "10.255.0.1/32, discard: true", StringComparison.Ordinal);
        Assert.NotEqual(file, broken);
        await File.WriteAllTextAsync(two.ConfigFileB, broken);
        using (HttpResponseMessage reload = await two.ApiB.PostAsync("v1/config/reload", null)) Assert.True(reload.IsSuccessStatusCode);
        await UntilAsync("pe-a sees its probes fail", async () => !Assert.Single(await GetAsync<TunnelInfo[]>(two.ApiA, "v1/tunnels")).Up);
        await traffic.RunAsync(200);
        await UntilAsync("all is held", async ()
            => (await GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m1")).Hold!.PacketsHeldNow >= 200);

        traffic.ResumeServerAtB();
        await SignalAsync(two.ApiB, SignalKind.Release);
        await traffic.ArrivesAsync(two);
        Assert.Equal(Enumerable.Range(0, (int)traffic.Sent).Select(i => (long)i), traffic.Received);
    }
}
