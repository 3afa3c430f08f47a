using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Router.Tests.Pe.TwoPes;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>A PE comes back as it was, in whatever state of a migration it ended. Its packets are looked at, and its answers.</summary>
public sealed class RestartTests
{
    private static readonly MacAddress Gateway = MacAddress.Parse("02:00:00:00:a0:03");
    private static readonly IpAddress Server = IpAddress.Parse("10.1.1.10");

    [Fact]
    public async Task A_move_in_which_each_pe_is_restarted_after_each_signal_comes_to_its_end()
    {
        await using TwoPes two = await StartAsync();
        using var hosts = new Hosts(two);
        await hosts.ArrivesAsync("the server at A", hosts.AtA);
        string life = (await GetAsync<NodeInfo>(two.ApiA, "v1/node")).Incarnation!;

        await SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target));
        await SignalAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source));
        await BothAgainAsync(PeMigrationState.Prepared, PeMigrationState.Prepared);
        Assert.NotEqual(life, (await GetAsync<NodeInfo>(two.ApiA, "v1/node")).Incarnation);
        Assert.Equal("good", (await GetAsync<NodeInfo>(two.ApiA, "v1/node")).StateFile!.State);
        Assert.True((await SignalAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source))).Repeated);
        Assert.True((await SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target))).Repeated);
        await hosts.ArrivesAsync("the server at A", hosts.AtA);
        await UntilAsync("the tunnel is probed again", async () => (await GetAsync<MigrationInfo>(two.ApiA, "v1/migrations/m1")).TunnelUp);

        Assert.False((await SignalAsync(two.ApiA, SignalKind.Switch)).Repeated);
        hosts.AtA.Live = false;
        await two.RestartAAsync();
        Assert.Equal("tunnel", Assert.Single(await GetAsync<RedirectGroupInfo[]>(two.ApiA, "v1/groups")).Active);
        Assert.True((await SignalAsync(two.ApiA, SignalKind.Switch)).Repeated);
        await HeldAsync();
        await two.RestartBAsync();
        await HeldAsync();

        hosts.AtB.Live = true;
        Assert.False((await SignalAsync(two.ApiB, SignalKind.Release)).Repeated);
        await BothAgainAsync(PeMigrationState.Switched, PeMigrationState.Released);
        Assert.True((await SignalAsync(two.ApiB, SignalKind.Release)).Repeated);
        await hosts.ArrivesAsync("the server at B", hosts.AtB);

        Assert.False((await SignalAsync(two.ApiB, SignalKind.Advertise, new SignalRequest(1, LocalPref: 250))).Repeated);
        await BothAgainAsync(PeMigrationState.Switched, PeMigrationState.Advertised);
        Assert.Equal("/problems/conflict",
            (await ProblemAsync(PostAsync(two.ApiB, SignalKind.Advertise, new SignalRequest(1, LocalPref: 251)), 409)).Type);
        await HasRouteAsync();
        await hosts.ArrivesAsync("the server at B", hosts.AtB);

        Assert.False((await SignalAsync(two.ApiA, SignalKind.Withdraw)).Repeated);
        await BothAgainAsync(PeMigrationState.Withdrawn, PeMigrationState.Advertised);
        await hosts.ArrivesAsync("the server at B", hosts.AtB);

        // The hold of the life before is gone, and nothing is waited for.
        await SignalAsync(two.ApiA, SignalKind.Teardown);
        await SignalAsync(two.ApiB, SignalKind.Teardown);
        await BothAgainAsync(PeMigrationState.TornDown, PeMigrationState.TornDown);
        foreach (HttpClient api in (HttpClient[])[two.ApiA, two.ApiB])
        {
            Assert.True((await SignalAsync(api, SignalKind.Teardown)).Repeated);
            Assert.Empty(await GetAsync<TunnelInfo[]>(api, "v1/tunnels"));
            Assert.Empty(await GetAsync<RedirectGroupInfo[]>(api, "v1/groups"));
            Assert.Contains("sdnedge_control_faults_total 0", await api.GetStringAsync("metrics"), StringComparison.Ordinal);
        }

        await HasRouteAsync();
        Assert.Equal("via", (await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=10.1.1.10")).Action);
        await hosts.ArrivesAsync("the server at B", hosts.AtB);
        Assert.Equal(0, hosts.AtA.Missed);

        async Task BothAgainAsync(PeMigrationState a, PeMigrationState b)
        {
            await two.RestartAAsync();
            await two.RestartBAsync();
            Assert.Equal((a, b),
                ((await GetAsync<MigrationInfo>(two.ApiA, "v1/migrations/m1")).State,
                    (await GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m1")).State));
        }

        Task HeldAsync() => UntilAsync("packets are held at B", async () =>
        {
            hosts.Send();
            return (await GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m1")).Hold!.PacketsHeldNow > 0;
        });

        async Task HasRouteAsync()
            => Assert.Contains(await GetAsync<RouteInfo[]>(two.ApiB, "v1/routes?prefix=10.1.1.10/32"),
                r => r.Source == "migration" && r.Best);
    }

    [Fact]
    public async Task An_abort_fences_its_epoch_over_a_restart()
    {
        await using TwoPes two = await StartAsync();
        using var hosts = new Hosts(two);
        await SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target, 5));
        await SignalAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source, 5));
        await SignalAsync(two.ApiA, SignalKind.Switch, new SignalRequest(5));
        await two.RestartAAsync();
        Assert.Equal(PeMigrationState.Aborted, (await SignalAsync(two.ApiA, SignalKind.Abort, new SignalRequest(6))).State);
        await SignalAsync(two.ApiB, SignalKind.Abort, new SignalRequest(6));
        await SignalAsync(two.ApiA, SignalKind.Abort,
            new SignalRequest(6, MigrationRole.Source, "default", [new("10.9.9.9/32", "")]), "never-heard");
        await two.RestartAAsync();
        await two.RestartBAsync();
        foreach ((HttpClient api, SignalKind kind, SignalRequest request) in new[]
        {
            (two.ApiA, SignalKind.Switch, new SignalRequest(5)), (two.ApiB, SignalKind.Release, new SignalRequest(5)),
            (two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source, 5)),
            (two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target, 5)),
        })
        {
            Assert.Equal("/problems/stale-epoch", (await ProblemAsync(PostAsync(api, kind, request), 409)).Type);
        }

        Assert.Equal("/problems/stale-epoch",
            (await ProblemAsync(PostAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source, 5, prefix: "10.9.9.9/32"), "m9"),
                409)).Type);
        Assert.True((await SignalAsync(two.ApiA, SignalKind.Abort, new SignalRequest(6))).Repeated);
        Assert.Empty(await GetAsync<RedirectGroupInfo[]>(two.ApiA, "v1/groups"));
        await hosts.ArrivesAsync("the server at A", hosts.AtA);
    }

    [Fact]
    public async Task A_refusal_that_raised_the_epoch_is_remembered_too()
    {
        await using TwoPes two = await StartAsync();
        await SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target, 5));
        await ProblemAsync(PostAsync(two.ApiB, SignalKind.Teardown, new SignalRequest(8)), 409);
        await two.RestartBAsync();
        Assert.Equal("/problems/stale-epoch",
            (await ProblemAsync(PostAsync(two.ApiB, SignalKind.Release, new SignalRequest(7)), 409)).Type);
    }

    [Fact]
    public async Task A_state_file_that_cannot_be_used_is_said_and_no_signal_is_taken()
    {
        await using TwoPes two = await StartAsync();
        using var hosts = new Hosts(two);
        await SignalAsync(two.ApiA, SignalKind.Abort, new SignalRequest(5), "m0");
        string file = Path.Combine(two.StateA, "migrations");
        byte[] good = await File.ReadAllBytesAsync(file);
        foreach (byte[] bad in (byte[][])[[], good[..^3], [.. good[..^3], 0, 0, 0], [.. "sdnedge-pe-state 2 0\n"u8, .. good]])
        {
            await two.RestartAAsync(() => File.WriteAllBytes(file, bad));
            foreach (Task<HttpResponseMessage> asked in (Task<HttpResponseMessage>[])[PostAsync(two.ApiA, SignalKind.Prepare,
                Prepare(MigrationRole.Source)), PostAsync(two.ApiA, SignalKind.Abort), two.ApiA.GetAsync("v1/migrations")])
                Assert.Contains(file, (await ProblemAsync(asked, 503)).Detail, StringComparison.Ordinal);
            StateFileInfo info = (await GetAsync<NodeInfo>(two.ApiA, "v1/node")).StateFile!;
            Assert.Equal(("unreadable", file), (info.State, info.Path));
            Assert.Contains("restart", info.Detail, StringComparison.Ordinal);
            Assert.Contains(two.A.Events.After(0, out _), e => e.Change == "state-file-unusable"
                && e.Detail!.Contains(file, StringComparison.Ordinal));
            Assert.Equal(bad, await File.ReadAllBytesAsync(file));
            await hosts.ArrivesAsync("the server at A, by the configuration", hosts.AtA);
        }

        await two.RestartAAsync(() => File.WriteAllBytes(file, good));
        Assert.True((await SignalAsync(two.ApiA, SignalKind.Abort, new SignalRequest(5), "m0")).Repeated);
    }

    [Fact]
    public async Task What_names_a_port_that_the_configuration_has_no_more_is_said_and_can_be_ended()
    {
        await using TwoPes two =
            await StartAsync(edit: a => a.Replace("  - { name: site,",
                "  - { name: old, device: o, addresses: [10.7.7.1/24] }\n  - { name: site,", StringComparison.Ordinal));
        await SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target));
        await SignalAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source) with { Prefixes = [new("10.7.7.7/32", "old")] });
        await two.RestartAAsync(() => File.WriteAllText(two.ConfigFileA,
            File.ReadAllText(two.ConfigFileA)
            .Replace("  - { name: old, device: o, addresses: [10.7.7.1/24] }\n", "", StringComparison.Ordinal)));
        Assert.Contains("put that back", (await ProblemAsync(PostAsync(two.ApiA, SignalKind.Switch), 409)).Detail,
            StringComparison.Ordinal);
        await SignalAsync(two.ApiA, SignalKind.Abort);
        Assert.Empty(await GetAsync<TunnelInfo[]>(two.ApiA, "v1/tunnels"));
        Assert.Empty(await GetAsync<RedirectGroupInfo[]>(two.ApiA, "v1/groups"));
    }

    [RootFact]
    public async Task On_a_full_disk_a_signal_is_refused_and_nothing_is_done()
    {
        await using TwoPes two = await StartAsync();
        Directory.CreateDirectory(two.StateA);
        await RunAsync("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", two.StateA);
        try
        {
            string filler = Path.Combine(two.StateA, "filler");
            await SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target));
            Fill(filler);
            Problem problem = await ProblemAsync(PostAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source)), 507);
            Assert.Equal("/problems/not-kept", problem.Type);
            Assert.Contains(two.StateA, problem.Detail, StringComparison.Ordinal);
            Assert.Empty(await GetAsync<MigrationInfo[]>(two.ApiA, "v1/migrations"));
            Assert.Empty(await GetAsync<TunnelInfo[]>(two.ApiA, "v1/tunnels"));
            Assert.Equal("unwritable", (await GetAsync<NodeInfo>(two.ApiA, "v1/node")).StateFile!.State);
            File.Delete(filler);
            Assert.False((await SignalAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source))).Repeated);

            Fill(filler);
            await ProblemAsync(PostAsync(two.ApiA, SignalKind.Switch), 507);
            Assert.Equal(PeMigrationState.Prepared, (await GetAsync<MigrationInfo>(two.ApiA, "v1/migrations/m1")).State);
            Assert.Equal("native", Assert.Single(await GetAsync<RedirectGroupInfo[]>(two.ApiA, "v1/groups")).Active);

            // A higher epoch that could not be kept is not answered as if it had been.
            await ProblemAsync(PostAsync(two.ApiA, SignalKind.Withdraw, new SignalRequest(2)), 507);
            File.Delete(filler);
            Assert.False((await SignalAsync(two.ApiA, SignalKind.Switch, new SignalRequest(2))).Repeated);
            await two.RestartAAsync();
            Assert.Equal(PeMigrationState.Switched, (await GetAsync<MigrationInfo>(two.ApiA, "v1/migrations/m1")).State);
            await SignalAsync(two.ApiA, SignalKind.Abort, new SignalRequest(3));
        }
        finally
        {
            await two.StopAAsync();
            await RunAsync("umount", two.StateA);
        }
    }

    private static void Fill(string file)
    {
        using var stream = new FileStream(file, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        byte[] page = new byte[4096];
        try
        {
            while (true) stream.Write(page);
        }
        catch (IOException)
        {
            // Full.
        }
    }

    private static async Task RunAsync(params string[] argv)
    {
        using System.Diagnostics.Process process = System.Diagnostics.Process.Start(argv[0], argv[1..]);
        await process.WaitForExitAsync();
        Assert.Equal(0, process.ExitCode);
    }

    private sealed class Hosts : IDisposable
    {
        private readonly TestHost _client;
        private long _next;

        public Hosts(TwoPes two)
        {
            _client = new TestHost(two.Client, "10.2.3.10", "02:00:00:00:0c:10");
            AtA = new TestHost(two.ServerAtA, "10.1.1.10", "02:00:00:00:01:10");
            AtB = new TestHost(two.ServerAtB, "10.1.1.10", "02:00:00:00:01:10", live: false);
        }

        public TestHost AtA { get; }

        public TestHost AtB { get; }

        public void Send() => _client.Send(Gateway, Server, _next++);

        /// <summary>A packet sent from now on arrives. The first ones may be lost: a router that was restarted asks for its neighbours
        /// first.</summary>
        public async Task ArrivesAsync(string where, TestHost host)
        {
            long from = _next;
            await UntilAsync($"a packet arrives at {where}", () =>
            {
                Send();
                return Task.FromResult(host.Received.Any(n => n >= from));
            });
        }

        public void Dispose()
        {
            _client.Dispose();
            AtA.Dispose();
            AtB.Dispose();
        }
    }
}
