using SdnEdge.Core.Api;
using Xunit;
using static SdnEdge.Router.Tests.Pe.TwoPes;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>Signals over the API: idempotent, fenced by the epoch, refused in the wrong state with what would be right.</summary>
public sealed class SignalTests
{
    [Fact]
    public async Task Each_signal_repeated_says_so_and_gives_the_time_of_the_first()
    {
        await using TwoPes two = await StartAsync();
        await BothAsync(two);
        foreach ((HttpClient api, SignalKind kind, PeMigrationState state) in new[]
        {
            (two.ApiA, SignalKind.Switch, PeMigrationState.Switched), (two.ApiB, SignalKind.Release, PeMigrationState.Released),
            (two.ApiB, SignalKind.Advertise, PeMigrationState.Advertised), (two.ApiA, SignalKind.Withdraw, PeMigrationState.Withdrawn),
        })
        {
            SignalReply first = await SignalAsync(api, kind);
            SignalReply again = await SignalAsync(api, kind);
            Assert.False(first.Repeated);
            Assert.True(again.Repeated);
            Assert.Equal((state, first.TookEffectAtNs, 1L), (again.State, again.TookEffectAtNs, again.Epoch));
        }

        SignalReply prepared = await SignalAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source));
        Assert.True(prepared.Repeated);
        await UntilAsync("the hold drains", async ()
            => (await GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m1")).Hold!.State == "released");
        await SignalAsync(two.ApiA, SignalKind.Teardown);
        Assert.True((await SignalAsync(two.ApiA, SignalKind.Teardown)).Repeated);
    }

    [Fact]
    public async Task A_signal_with_an_old_epoch_is_refused()
    {
        await using TwoPes two = await StartAsync();
        await BothAsync(two, epoch: 5);
        Problem problem = await ProblemAsync(PostAsync(two.ApiA, SignalKind.Switch, new SignalRequest(4)), 409);
        Assert.Equal("/problems/stale-epoch", problem.Type);
        Assert.Contains("5", problem.Detail, StringComparison.Ordinal);
        Assert.Equal("native", Assert.Single(await GetAsync<RedirectGroupInfo[]>(two.ApiA, "v1/groups")).Active);
        Assert.Equal(PeMigrationState.Switched, (await SignalAsync(two.ApiA, SignalKind.Switch, new SignalRequest(5))).State);
    }

    /// <summary>A server that does not answer may still be sent packets that are on the way: the switch is done and says so.</summary>
    [Fact]
    public async Task A_switch_says_when_the_server_did_not_answer_behind_the_last_packet()
    {
        await using TwoPes two = await StartAsync();
        using var server = new TestHost(two.ServerAtA, "10.1.1.10", "02:00:00:00:00:10");
        using var client = new TestHost(two.Client, "10.2.3.10", "02:00:00:00:00:30");
        client.Send(Core.Wire.MacAddress.Parse("02:00:00:00:a0:03"), Core.Wire.IpAddress.Parse("10.1.1.10"), 1);
        await UntilAsync("the server is heard", () => Task.FromResult(server.Received.Length == 1));
        await BothAsync(two);
        server.Live = false;
        SignalReply switched = await SignalAsync(two.ApiA, SignalKind.Switch);
        Assert.Equal((PeMigrationState.Switched, (bool?)false), (switched.State, switched.Empty));
        Assert.Equal(false, (await SignalAsync(two.ApiA, SignalKind.Switch)).Empty);
        await SignalAsync(two.ApiA, SignalKind.Abort, new SignalRequest(2));

        // Nobody has ever sent it anything: nothing can be on the way.
        await using TwoPes silent = await StartAsync();
        await BothAsync(silent);
        Assert.Null((await SignalAsync(silent.ApiA, SignalKind.Switch)).Empty);
    }

    [Fact]
    public async Task A_signal_that_may_wait_is_carried_out_after_the_one_before_it_whichever_comes_first()
    {
        await using TwoPes two = await StartAsync();
        await BothAsync(two);
        Task<SignalReply> advertised = SignalAsync(two.ApiB, SignalKind.Advertise, new SignalRequest(1, WaitMs: SignalChecks.MaxWaitMs));
        Task<SignalReply> tornDown = SignalAsync(two.ApiA, SignalKind.Teardown, new SignalRequest(1, WaitMs: SignalChecks.MaxWaitMs));
        SignalReply released = await SignalAsync(two.ApiB, SignalKind.Release);
        await SignalAsync(two.ApiA, SignalKind.Switch);
        Assert.False(tornDown.IsCompleted);
        await SignalAsync(two.ApiA, SignalKind.Withdraw);
        Assert.Equal(PeMigrationState.Advertised, (await advertised).State);
        Assert.True((await advertised).TookEffectAtNs >= released.TookEffectAtNs);
        Assert.Equal(PeMigrationState.TornDown, (await tornDown).State);

        // What can never come is refused at once, and what does not come when its time is over.
        await ProblemAsync(PostAsync(two.ApiB, SignalKind.Release, new SignalRequest(1, WaitMs: SignalChecks.MaxWaitMs), "m2"), 404);
        await ProblemAsync(PostAsync(two.ApiB, SignalKind.Abort, new SignalRequest(2, WaitMs: SignalChecks.MaxWaitMs)), 409);
        var tooLong = new SignalRequest(2, WaitMs: SignalChecks.MaxWaitMs + 1);
        Problem bad = await ProblemAsync(PostAsync(two.ApiB, SignalKind.Teardown, tooLong), 400);
        Assert.Equal("/waitMs", Assert.Single(bad.Errors!).Pointer);
        await using TwoPes early = await StartAsync();
        await BothAsync(early);
        await ProblemAsync(PostAsync(early.ApiB, SignalKind.Advertise, new SignalRequest(1, WaitMs: 20)), 409);
    }

    [Fact]
    public async Task Who_asks_for_a_change_is_answered_when_there_is_one()
    {
        await using TwoPes two = await StartAsync();
        await BothAsync(two);
        MigrationInfo known = await GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m1");
        Task<MigrationInfo> changed = GetAsync<MigrationInfo>(two.ApiB, $"v1/migrations/m1?after={known.Change}&waitMs=10000");
        MigrationInfo same = await GetAsync<MigrationInfo>(two.ApiB, $"v1/migrations/m1?after={known.Change}&waitMs=1");
        Assert.Equal((known.Change, PeMigrationState.Prepared), (same.Change, same.State));
        await SignalAsync(two.ApiB, SignalKind.Release);
        MigrationInfo after = await changed;
        Assert.NotEqual(known.Change, after.Change);
        Assert.Equal(PeMigrationState.Released, after.State);
        await ProblemAsync(two.ApiB.GetAsync("v1/migrations/m1?after=1"), 400);
        await ProblemAsync(two.ApiB.GetAsync("v1/migrations/m1?after=1&waitMs=0"), 400);
        await ProblemAsync(two.ApiB.GetAsync("v1/migrations/m2?after=1&waitMs=10000"), 404);
    }

    [Fact]
    public async Task A_signal_the_state_does_not_allow_is_refused_and_says_what_would_be()
    {
        await using TwoPes two = await StartAsync();
        Problem unknown = await ProblemAsync(PostAsync(two.ApiA, SignalKind.Switch), 404);
        Assert.Contains("prepare", unknown.Detail, StringComparison.Ordinal);
        await BothAsync(two);
        Problem early = await ProblemAsync(PostAsync(two.ApiA, SignalKind.Withdraw), 409);
        Assert.Equal("/problems/wrong-state", early.Type);
        Assert.Contains("switch", early.Detail, StringComparison.Ordinal);
        Problem wrongRole = await ProblemAsync(PostAsync(two.ApiA, SignalKind.Release), 409);
        Assert.Contains("target", wrongRole.Detail, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("10.1.1.0/25, via: 172.16.0.2", false)]        // pe-b has it
    [InlineData("10.1.1.0/25, discard: true", true)]           // an aggregate that is there to be advertised
    [InlineData("10.9.0.0/16, via: 172.16.0.2", true)]         // what is left is the subnet of the port it left
    public async Task A_source_without_another_route_keeps_its_tunnel(string route, bool kept)
    {
        await using TwoPes two = await StartAsync(edit: a => a.Replace("10.1.1.0/25, via: 172.16.0.2", route, StringComparison.Ordinal));
        await BothAsync(two);
        await SignalAsync(two.ApiA, SignalKind.Switch);
        await SignalAsync(two.ApiA, SignalKind.Withdraw);
        if (kept)
        {
            Problem problem = await ProblemAsync(PostAsync(two.ApiA, SignalKind.Teardown), 409);
            Assert.Equal("/problems/no-other-route", problem.Type);
            Assert.Contains("10.1.1.10/32", problem.Detail, StringComparison.Ordinal);
            Assert.Equal("tunnel", Assert.Single(await GetAsync<RedirectGroupInfo[]>(two.ApiA, "v1/groups")).Active);
            Assert.Equal(["/force"], (await ProblemAsync(PostAsync(two.ApiA, SignalKind.Withdraw, new SignalRequest(1, Force: true)),
                400)).Errors!.Select(e => e.Pointer));
        }

        Assert.Equal(PeMigrationState.TornDown,
            (await SignalAsync(two.ApiA, SignalKind.Teardown, new SignalRequest(1, Force: kept))).State);
        Assert.Empty(await GetAsync<TunnelInfo[]>(two.ApiA, "v1/tunnels"));
    }

    [Fact]
    public async Task A_prepare_that_lacks_things_is_told_all_of_them_at_once()
    {
        await using TwoPes two = await StartAsync();
        Problem empty = await ProblemAsync(PostAsync(two.ApiA, SignalKind.Prepare, new SignalRequest(0)), 400);
        Assert.Equal(["/epoch", "/role", "/tunnelKey", "/peer", "/prefixes"], empty.Errors!.Select(e => e.Pointer));
        var request = new SignalRequest(1, MigrationRole.Source, "blue", [new MovingPrefix("10.1.1.10/32", "cd")], "10.255.0.1", 7);
        Problem names = await ProblemAsync(PostAsync(two.ApiA, SignalKind.Prepare, request), 400);
        Assert.Equal(["/vrf", "/peer", "/prefixes/0/port"], names.Errors!.Select(e => e.Pointer));
        Assert.Contains("dc", names.Errors![2].Detail, StringComparison.Ordinal);
        Assert.Empty(await GetAsync<MigrationInfo[]>(two.ApiA, "v1/migrations"));
        Assert.Empty(await GetAsync<TunnelInfo[]>(two.ApiA, "v1/tunnels"));
    }

    [Fact]
    public async Task A_prepare_whose_tunnel_does_not_carry_full_packets_is_undone_and_says_why()
    {
        await using TwoPes two = await StartAsync(coreMtu: 1500);
        await SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target));
        Problem problem = await ProblemAsync(PostAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source)), 504);
        Assert.Contains("MTU", problem.Detail, StringComparison.Ordinal);
        Assert.Empty(await GetAsync<TunnelInfo[]>(two.ApiA, "v1/tunnels"));
        Assert.Empty(await GetAsync<RedirectGroupInfo[]>(two.ApiA, "v1/groups"));
    }

    [Fact]
    public async Task An_abort_ends_a_prepare_that_still_waits()
    {
        await using TwoPes two = await StartAsync();
        Task<HttpResponseMessage> waiting = PostAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source));
        await UntilAsync("prepare is under way", async () => (await GetAsync<MigrationInfo[]>(two.ApiA, "v1/migrations")).Length == 1);
        SignalReply aborted = await SignalAsync(two.ApiA, SignalKind.Abort);
        Assert.Equal(PeMigrationState.Aborted, aborted.State);
        await ProblemAsync(waiting, 409);
        Assert.Empty(await GetAsync<TunnelInfo[]>(two.ApiA, "v1/tunnels"));
        Assert.Empty(await GetAsync<RedirectGroupInfo[]>(two.ApiA, "v1/groups"));
    }

    [Fact]
    public async Task A_second_move_of_the_same_server_works_after_the_first()
    {
        await using TwoPes two = await StartAsync();
        for (int move = 1; move <= 3; move++)
        {
            string id = $"m{move}";
            await Task.WhenAll(
                SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target, move, key: (uint)move), id),
                SignalAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source, move, key: (uint)move), id));
            await SignalAsync(two.ApiA, SignalKind.Switch, new SignalRequest(move), id);
            await SignalAsync(two.ApiA, SignalKind.Abort, new SignalRequest(move), id);
            await SignalAsync(two.ApiB, SignalKind.Abort, new SignalRequest(move), id);
            await UntilAsync("B is clean", async () => (await GetAsync<RedirectGroupInfo[]>(two.ApiB, "v1/groups")).Length == 0);
        }

        Assert.Equal(3, (await GetAsync<MigrationInfo[]>(two.ApiA, "v1/migrations")).Length);
    }

    [Fact]
    public async Task Signals_for_after_the_flush_markers_are_carried_out_when_those_have_come_whoever_sends_them_when()
    {
        await using TwoPes two = await StartAsync();
        var order = new OrderOptions([]);
        var atTheEnd = new SignalRequest(1, WaitMs: SignalChecks.MaxWaitMs, AfterMarkers: true);
        await BothAsync(two, order: order);
        Task<SignalReply> targetDown = SignalAsync(two.ApiB, SignalKind.Teardown, atTheEnd);
        Task<MigrationInfo> settled = GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m1?until=settled&waitMs=10000");
        Task<MigrationInfo> gone = GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m1?until=gone&waitMs=10000");
        await SignalAsync(two.ApiA, SignalKind.Switch);
        await SignalAsync(two.ApiB, SignalKind.Release);
        await SignalAsync(two.ApiB, SignalKind.Advertise);
        Assert.False(targetDown.IsCompleted || settled.IsCompleted || gone.IsCompleted);

        // No ingress PE is waited for: the source's own marker, which it sends as it tears down, is the last.
        Task<SignalReply> sourceDown = SignalAsync(two.ApiA, SignalKind.Teardown, atTheEnd);
        await SignalAsync(two.ApiA, SignalKind.Withdraw, atTheEnd);
        Assert.Equal(PeMigrationState.TornDown, (await sourceDown).State);
        SignalReply down = await targetDown;
        Assert.True(down is { State: PeMigrationState.TornDown, Order.Proved: true });
        Assert.True((await settled).Is(MigrationCondition.Settled));
        Assert.Equal([], (await gone).LeftOver!);
    }

    [Fact]
    public async Task What_keeps_no_order_has_no_flush_markers_to_wait_for()
    {
        await using TwoPes two = await StartAsync();
        await BothAsync(two);
        await SignalAsync(two.ApiA, SignalKind.Switch);
        Problem problem = await ProblemAsync(
            PostAsync(two.ApiA, SignalKind.Withdraw, new SignalRequest(1, WaitMs: 20, AfterMarkers: true)), 409);
        Assert.Equal("/problems/markers-missing", problem.Type);
        Assert.Contains("no order is kept", problem.Detail, StringComparison.Ordinal);
        problem = await ProblemAsync(PostAsync(two.ApiB, SignalKind.Release, new SignalRequest(1, AfterMarkers: true)), 400);
        Assert.Equal("/afterMarkers", Assert.Single(problem.Errors!).Pointer);
    }

    // The target sees that the server runs before the manager can be told.
    [Fact]
    public async Task A_release_for_when_the_servers_answer_is_carried_out_when_they_do_and_never_before()
    {
        await using TwoPes two = await StartAsync();
        using var server = new TestHost(two.ServerAtB, "10.1.1.10", "02:00:00:00:00:10", live: false);
        await BothAsync(two);
        Problem problem = await ProblemAsync(
            PostAsync(two.ApiB, SignalKind.Release, new SignalRequest(1, WaitMs: 30, AfterServers: true)), 409);
        Assert.Equal("/problems/servers-silent", problem.Type);
        Assert.Contains("no answer has come from 10.1.1.10 on port dc", problem.Detail, StringComparison.Ordinal);
        Task<SignalReply> release = SignalAsync(
            two.ApiB, SignalKind.Release, new SignalRequest(1, WaitMs: SignalChecks.MaxWaitMs, AfterServers: true));
        int asked = server.Asked;
        await UntilAsync("the server has been asked", () => Task.FromResult(server.Asked > asked + 2));
        Assert.False(release.IsCompleted);
        server.Live = true;
        Assert.Equal(PeMigrationState.Released, (await release).State);
        problem = await ProblemAsync(PostAsync(two.ApiA, SignalKind.Switch, new SignalRequest(1, AfterServers: true)), 400);
        Assert.Equal("/afterServers", Assert.Single(problem.Errors!).Pointer);
    }

    // A service without state runs at both sites: whether it does is asked before anything is switched, and changes nothing.
    [Fact]
    public async Task Who_asks_whether_the_servers_answer_is_told_who_is_silent_and_at_once_when_nobody_is()
    {
        const string Ask = "v1/migrations/m1?until=servers-answer&waitMs=";
        await using TwoPes two = await StartAsync();
        using var server = new TestHost(two.ServerAtB, "10.1.1.10", "02:00:00:00:00:10", live: false);
        await BothAsync(two);
        MigrationInfo silent = await GetAsync<MigrationInfo>(two.ApiB, Ask + "30");
        Assert.Equal((PeMigrationState.Prepared, "no answer has come from 10.1.1.10 on port dc"), (silent.State, silent.Silent));
        Assert.False(silent.Is(MigrationCondition.ServersAnswer));
        Task<MigrationInfo> answers = GetAsync<MigrationInfo>(two.ApiB, Ask + SignalChecks.MaxWaitMs);
        int asked = server.Asked;
        await UntilAsync("the server has been asked", () => Task.FromResult(server.Asked > asked + 2));
        Assert.False(answers.IsCompleted);
        server.Live = true;
        Assert.Equal("", (await answers).Silent);

        // The source has nobody to ask, and who asks for something else is told nothing of it.
        Assert.Null((await GetAsync<MigrationInfo>(two.ApiA, Ask + "1")).Silent);
        Assert.Null((await GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m1")).Silent);
    }

    // Whoever knows better, the manager, is not kept waiting by a release that waits.
    [Fact]
    public async Task A_release_that_waits_for_the_servers_gives_way_to_one_that_does_not()
    {
        await using TwoPes two = await StartAsync();
        await BothAsync(two);
        Task<SignalReply> waits = SignalAsync(
            two.ApiB, SignalKind.Release, new SignalRequest(1, WaitMs: SignalChecks.MaxWaitMs, AfterServers: true));
        Assert.Equal(PeMigrationState.Released, (await SignalAsync(two.ApiB, SignalKind.Release)).State);
        Assert.True((await waits).Repeated);
    }

    [Fact]
    public async Task Who_asks_for_a_condition_is_answered_when_it_is_so_or_the_time_is_over()
    {
        await using TwoPes two = await StartAsync();
        Task<MigrationInfo> up = GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m1?until=tunnel-up&waitMs=10000");
        await ProblemAsync(two.ApiB.GetAsync("v1/migrations/m1?until=tunnel-up&waitMs=1"), 404);
        await BothAsync(two);
        Assert.True((await up).TunnelUp);
        Assert.Equal(PeMigrationState.Prepared,
            (await GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m1?until=gone&waitMs=1")).State);
        Problem wrong = await ProblemAsync(two.ApiB.GetAsync("v1/migrations/m1?until=never&after=1&waitMs=0"), 400);
        Assert.Equal(["until", "after", "waitMs"], wrong.Errors!.Select(e => e.Pointer));
        Assert.Contains("tunnel-up, hold-empty, direct, settled, gone", wrong.Errors![0].Detail, StringComparison.Ordinal);
        await ProblemAsync(two.ApiB.GetAsync("v1/migrations/m1?until=gone"), 400);
    }

    private static Task BothAsync(TwoPes two, long epoch = 1, OrderOptions? order = null) => Task.WhenAll(
        SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target, epoch) with { Order = order }),
        SignalAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source, epoch) with { Order = order }));
}
