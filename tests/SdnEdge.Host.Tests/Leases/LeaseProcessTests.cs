using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Leases;
using SdnEdge.Host.Config;
using SdnEdge.Host.Leases;
using SdnEdge.Host.Qemu;
using SdnEdge.Host.Tests.Drivers;
using SdnEdge.Linux;
using SdnEdge.Testing;
using SdnEdge.Witness.Config;
using Xunit;
using static SdnEdge.Host.Tests.Leases.LeasedSite;

namespace SdnEdge.Host.Tests.Leases;

/// <summary>
/// Leases with real processes: whichever of agent, watchdog and witness stands still or dies, no server outlives its lease, and none dies
/// that has one.
/// </summary>
[Trait("needs", "executable")]
public sealed class LeaseProcessTests
{
    // Where it has to run out, and where it must not: longer than any machine stands still.
    private const int ShortMs = 3_000, LongMs = 60_000;

    [RootFact]
    public async Task A_server_whose_lease_is_revoked_is_killed_and_started_by_order_and_under_a_new_epoch_only()
    {
        await using var site = new LeasedSite(ShortMs);
        await site.RunAsync();
        LeaseInfo open = await site.Witness.LeaseAsync(Group, Site);
        Assert.Equal((1L, false, "host-a"), (open.Epoch, open.Revoked, open.Parties.Single().Name));
        LeaseInfo revoked = await site.Witness.RevokeAsync(Group, Site, new LeaseRevokeCall(1));
        Assert.True(revoked.Revoked);
        await site.GoneAsync();
        await Patience.ReadAsync(() => site.Witness.LeaseAsync(Group, Site), l => l.RunsOutInMs == 0, "it runs out");
        ServerInfo seen = await Patience.ReadAsync(() => site.Host.ServerAsync(Server), s => s.State == ServerState.Absent, "it is seen");
        Assert.Null(seen.Lease!.ValidForMs);

        // Not by itself, not by an order, not by an agent that is started.
        await RefusedAsync(ApiProblems.NoLease, () => site.StartServerAsync());
        await site.KillHostAsync();
        await site.StartHostAsync();
        await RefusedAsync(ApiProblems.NoLease, () => site.StartServerAsync());
        Assert.Null(site.ServerProcess);
        await RefusedAsync(ApiProblems.LeaseRevoked, () => site.Witness.RenewAsync(Group, Site, new LeaseRenewCall("host-a", 1)));
        await RefusedAsync("/problems/stale-epoch", () => site.Witness.OpenAsync(Group, Site, new LeaseOpenCall(1)));
        await RefusedAsync(ApiProblems.NoLease, () => site.Host.LeaseAsync(Server, new ServerLeaseCall(Group, Site, 2)));

        await site.Witness.OpenAsync(Group, Site, new LeaseOpenCall(2));
        Assert.Equal(2, (await site.Host.LeaseAsync(Server, new ServerLeaseCall(Group, Site, 2))).Lease!.Epoch);
        await site.StartServerAsync();
        await RefusedAsync("/problems/stale-epoch", () => site.Host.LeaseAsync(Server, new ServerLeaseCall(Group, Site, 1)));
    }

    [RootFact]
    public async Task Told_to_run_under_a_higher_epoch_than_its_lease_has_it_is_bound_no_more_and_runs()
    {
        await using var site = new LeasedSite(ShortMs);
        await site.RunAsync();
        await site.Witness.RevokeAsync(Group, Site, new LeaseRevokeCall(1));
        await site.GoneAsync();
        await Patience.ReadAsync(() => site.Host.ServerAsync(Server), s => s.State == ServerState.Absent, "it is seen");

        // A fail-over that was called off: the manager has decided anew where the group is.
        ServerReply reply = await site.Host.OrderAsync(Server, ServerOrder.Resume, new ServerOrderRequest(2, "m1", Cold: true));
        Assert.Equal(ServerState.Running, reply.State);
        Assert.Null((await site.Host.ServerAsync(Server)).Lease);

        // Also in the next life of the agent, and whatever is told late.
        await site.KillHostAsync();
        await site.StartHostAsync();
        Assert.Null((await site.Host.ServerAsync(Server)).Lease);
        Assert.NotNull(site.ServerProcess);
    }

    [RootFact]
    public async Task A_server_is_killed_when_the_witness_stands_still()
    {
        await using var site = new LeasedSite(ShortMs);
        await site.RunAsync();
        Signals.Send(site.WitnessProcess!.Id, ProcessSignal.Stop);
        await site.GoneAsync();
        Signals.Send(site.WitnessProcess.Id, ProcessSignal.Continue);

        // It was not revoked: by an order it is started again.
        await Patience.ReadAsync(() => site.Host.ServerAsync(Server), s => s is { State: ServerState.Absent, Lease.ValidForMs: not null },
            "it has a lease again");
        await site.StartServerAsync();
    }

    [RootFact]
    public async Task A_frozen_agent_costs_no_server_its_lease_and_leaves_none_running_without()
    {
        await using var site = new LeasedSite(ShortMs);
        int server = await site.RunAsync();
        Signals.Send(site.HostProcess!.Id, ProcessSignal.Stop);
        await site.GrantedAsync(7);
        Signals.Send(site.HostProcess.Id, ProcessSignal.Continue);
        Assert.NotNull((await site.Host.ServerAsync(Server)).Lease);
        await site.GrantedAsync(2);
        Assert.Equal(server, site.ServerProcess);

        Signals.Send(site.HostProcess.Id, ProcessSignal.Stop);
        await site.Witness.RevokeAsync(Group, Site, new LeaseRevokeCall(1));
        await site.GoneAsync();
        Signals.Send(site.HostProcess.Id, ProcessSignal.Continue);
        await Patience.ReadAsync(() => site.Host.ServerAsync(Server), s => s.State == ServerState.Absent, "it is seen");
    }

    [RootFact]
    public async Task The_watchdog_of_a_dead_agent_goes_on_and_the_next_agent_finds_it()
    {
        await using var site = new LeasedSite(ShortMs);
        int server = await site.RunAsync();
        int? watchdog = site.Watchdog;
        await site.KillHostAsync();
        await site.GrantedAsync(7);
        Assert.Equal(server, site.ServerProcess);
        await site.StartHostAsync();
        await Patience.ReadAsync(() => site.Host.ServerAsync(Server), s => s.Lease is { ValidForMs: not null }, "it knows the lease");
        Assert.Equal((server, watchdog), (site.ServerProcess, site.Watchdog));
        await site.KillHostAsync();
        await site.Witness.RevokeAsync(Group, Site, new LeaseRevokeCall(1));
        await site.GoneAsync();
    }

    [RootTheory]
    [InlineData(ProcessSignal.Kill)]
    [InlineData(ProcessSignal.Stop)]
    public async Task A_watchdog_that_is_dead_or_stands_still_is_replaced_and_the_server_lives(ProcessSignal signal)
    {
        await using var site = new LeasedSite(LongMs);
        int server = await site.RunAsync();
        int first = site.Watchdog!.Value;
        Signals.Send(first, signal);
        int second = await site.OtherWatchdogAsync(first);
        await site.GrantedAsync(1);
        Assert.Equal((server, second), (site.ServerProcess, site.Watchdog));
        Assert.NotNull((await site.Host.ServerAsync(Server)).Lease!.ValidForMs);
    }

    [RootFact]
    public async Task Without_a_watchdog_an_agent_renews_once_and_else_kills()
    {
        await using var site = new LeasedSite(LongMs);
        int server = await site.RunAsync();
        await KillBothAsync();
        await site.StartHostAsync();
        await site.OtherWatchdogAsync(null);
        await Patience.ReadAsync(() => site.Host.ServerAsync(Server), s => s.Lease is { ValidForMs: not null }, "it has a lease");
        Assert.Equal(server, site.ServerProcess);

        await KillBothAsync();
        await site.KillWitnessAsync();
        await site.StartHostAsync();
        await site.GoneAsync();

        async Task KillBothAsync()
        {
            await site.KillHostAsync();
            Signals.Send(site.Watchdog!.Value, ProcessSignal.Kill);
            await Patience.UntilAsync(() => site.Watchdog is null, () => "the watchdog does not end");
        }
    }

    [RootFact]
    public async Task A_server_that_is_bound_no_more_needs_no_lease_and_its_watchdog_ends()
    {
        await using var site = new LeasedSite(ShortMs);
        int server = await site.RunAsync();
        Assert.Null((await site.Host.LeaseAsync(Server, new ServerLeaseCall(null, null, 1))).Lease);
        await Patience.UntilAsync(() => site.Watchdog is null, () => "the watchdog goes on");
        await site.Witness.RevokeAsync(Group, Site, new LeaseRevokeCall(1));
        await Patience.ReadAsync(() => site.Witness.LeaseAsync(Group, Site), l => l.RunsOutInMs == 0, "it runs out");
        Assert.Equal(server, site.ServerProcess);
    }

    [RootFact]
    public async Task A_witness_that_is_started_again_knows_what_it_has_revoked_and_says_that_it_may_have_granted()
    {
        await using var site = new LeasedSite(LongMs);
        await site.StartWitnessAsync();
        await site.Witness.OpenAsync(Group, Site, new LeaseOpenCall(1));
        await site.Witness.RenewAsync(Group, Site, new LeaseRenewCall("host-a", 1));
        await site.Witness.RevokeAsync(Group, Site, new LeaseRevokeCall(1));
        await site.KillWitnessAsync();
        await site.StartWitnessAsync();
        LeaseInfo info = Assert.Single(await site.Witness.LeasesAsync());
        Assert.Equal((1L, true), (info.Epoch, info.Revoked));
        Assert.InRange(info.RunsOutInMs, 1, LongMs * 2);
        Assert.Empty(info.Parties);
        await RefusedAsync(ApiProblems.LeaseRevoked, () => site.Witness.RenewAsync(Group, Site, new LeaseRenewCall("host-a", 1)));
    }

    [RootFact]
    public async Task A_host_that_knows_no_witness_binds_nothing()
    {
        await using var site = new LeasedSite(LongMs, knowsWitness: false);
        await site.StartHostAsync();
        await RefusedAsync(ApiProblems.NoLease, () => site.Host.LeaseAsync(Server, new ServerLeaseCall(Group, Site, 1)));
        await RefusedAsync("/problems/bad-request", () => site.Host.LeaseAsync(Server, new ServerLeaseCall(Group, null, 0)));
        Assert.Null((await site.Host.ServerAsync(Server)).Lease);
    }

    [Fact]
    public async Task A_QEMU_is_killed_also_when_nobody_has_come_to_write_down_which_process_it_is()
    {
        string folder = Path.Combine(Directory.CreateTempSubdirectory("sdnedge-lease-").FullName, "run");
        try
        {
            var process = new QemuProcess(folder);
            process.Start(["/bin/sh", "-c", "exec sleep 3600", "fake"], expected: false);
            Assert.Equal(1, process.KillNow(search: false));
            await process.KillAsync(default);
            process.Start(["/bin/sh", "-c", "while :; do sleep 1; done", "fake"], expected: false);
            File.Delete(Path.Combine(folder, "process"));
            Assert.Equal(0, process.KillNow(search: false));
            Assert.Equal(1, process.KillNow(search: true));
            await Patience.UntilAsync(() => process.KillNow(search: true) == 0, () => "it runs still");
        }
        finally
        {
            Directory.Delete(Path.GetDirectoryName(folder)!, recursive: true);
        }
    }

    [RootFact]
    public async Task A_stand_in_is_frozen_and_taken_off_its_bridge()
    {
        using var space = new ServerSpace();
        var killer = new ServerKiller("vs", ServerKiller.WayOf(space.Config("leg-a"), ""));
        Assert.Equal(1, killer.Kill());
        await Patience.UntilAsync(() => space.Frozen && !space.IsIn("leg-a"), () => "it runs still");
    }

    [Fact]
    public async Task An_agent_does_not_start_with_a_binding_that_it_cannot_read_or_keep()
    {
        string folder = Directory.CreateTempSubdirectory("sdnedge-lease-").FullName;
        try
        {
            var config = new HostAgentConfig("host-a", "dc-a", new ApiConfig(Path.Combine(folder, "api.sock")), folder,
                [new ServerConfig(Server, false, new StandInConfig("none", "leg-a", default, []))]);
            using (RecordStore store = RecordStore.Open(folder))
                store.Write(new LeaseBinding { Server = Server, Group = Group, Site = Site, Epoch = 1 });
            IOException e = await Assert.ThrowsAsync<IOException>(() => HostAgent.StartAsync(config));
            Assert.Contains("names no witness", e.Message, StringComparison.Ordinal);
            string file = Path.Combine(folder, "vs.lease.json");
            await File.WriteAllTextAsync(file, (await File.ReadAllTextAsync(file)).Replace("web", "wed", StringComparison.Ordinal));
            e = await Assert.ThrowsAsync<IOException>(() => HostAgent.StartAsync(config));
            Assert.Contains("its checksum is wrong", e.Message, StringComparison.Ordinal);
            File.Delete(file);
            await using HostAgent agent = await HostAgent.StartAsync(config);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void Every_error_in_a_witness_file_is_told_with_its_line()
    {
        WitnessConfigResult good = WitnessConfigLoader.Load(
            "name: w\napi: { unix: /run/w.sock }\nstate: { folder: /var/lib/w }\nleases: { ttlMs: 5000, driftPpm: 200 }\n", "w.yaml");
        Assert.Empty(good.Errors);
        Assert.Equal(new LeaseRules(5_000, 200, 500), good.Config!.Rules);
        WitnessConfigResult bad = WitnessConfigLoader.Load(
            "name: w\nstate: { folder: w }\nleases: { ttlMs: 5, drift: 1 }\nlease: {}\n", "w.yaml");
        Assert.Null(bad.Config);
        Assert.Equal(["api", "lease", "leases.drift", "leases.ttlMs", "state.folder"],
            bad.Errors.Select(e => e.Field).Order(StringComparer.Ordinal));
    }

    private static async Task RefusedAsync(string type, Func<Task> call)
        => Assert.Equal(type, (await Assert.ThrowsAsync<ApiProblemException>(call)).Problem.Type);
}
