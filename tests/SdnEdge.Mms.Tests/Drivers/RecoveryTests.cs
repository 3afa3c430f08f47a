using System.Collections.Immutable;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using SdnEdge.Mms.Tests.Machines;
using SdnEdge.Web;
using Xunit;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>
/// A journal that was lost or is an old copy, and what PEs and hosts say: owners and epochs, or nothing at all. The lab is that of
/// <see cref="PlannerTests"/>; group web was moved there before, under epoch 3.
/// </summary>
public sealed class RecoveryTests
{
    private readonly PlanLab _lab = new();

    public RecoveryTests()
    {
        foreach (string server in new[] { "web-1", "web-2" })
        {
            Set("host-a", server, ServerState.Running, 3, mayRun: 3, ran: 3);
            Set("host-b", server, ServerState.Absent, 3, mayRun: null, ran: 2);
        }

        _lab.Set("host-b", "db", s => s with { MayRun = null });
    }

    [Fact]
    public async Task Owners_are_those_that_may_run_and_epochs_keys_and_ids_are_higher_than_any_seen()
    {
        _lab.A.Migrations.Add(PlanLab.Migration("m7.1", PeMigrationState.TornDown, 4, "10.1.1.10/32"));
        _lab.B.Migrations.Add(PlanLab.Migration("other", PeMigrationState.TornDown, 90, "192.0.2.0/24"));
        _lab.B.Tunnels.Add(PlanLab.Tunnel("mig-x", ManagerState.FirstKey + 4));
        _lab.B.Tunnels.Add(PlanLab.Tunnel("configured", 17));
        Recovered found = await AskAsync();
        Assert.Equal(4, found.Groups["web"].Epoch);
        Assert.Equal(new Ownership("dc-a", 3), found.Groups["web"].Owners["web-1"]);
        Assert.Equal(new Ownership("dc-a", 3), found.Groups["web"].Owners["web-2"]);
        Assert.Equal((0, new Ownership("dc-a", 0)), (found.Groups["db"].Epoch, found.Groups["db"].Owners["db"]));
        Assert.Equal((8, ManagerState.FirstKey + 5, "user ops", null), (found.NextMigration, found.NextKey, found.By, found.Stale));

        // Before: nothing may move. After: the next epoch is one that nobody has seen.
        PlanResult before = await _lab.PlanAsync();
        Assert.Contains(before.Info.Obstacles, o => o.Reason == "journal-old" && o.Detail.Contains("sdnedge mms recover"));
        _lab.State = ManagerMachine.Step(ManagerState.Empty, found, 1, "t");
        PlanResult after = await _lab.PlanAsync();
        Assert.Empty(after.Info.Obstacles);
        Assert.Equal((5, "m8"), (after.Moves[0].Epoch, after.Moves[0].Migration));
    }

    // Guards: Silent. Before, an answer of another kind than silence counted as one.
    [Fact]
    public async Task One_party_that_does_not_answer_is_enough_to_recover_nothing_and_each_is_named()
    {
        _lab.Hosts["host-b"].Silent = true;
        _lab.Pes["pe-c"].Silent = true;
        string[] errors = await RefusedAsync();
        Assert.Contains(errors, e => e.StartsWith("host-b ", StringComparison.Ordinal) && e.Contains("may know more"));
        Assert.Contains(errors, e => e.StartsWith("pe-c ", StringComparison.Ordinal));
        _lab.Hosts["host-b"].Silent = _lab.Pes["pe-c"].Silent = false;
        _lab.Hosts["host-b"].Servers.Remove("web-2");
        Assert.StartsWith("host-b there is no server 'web-2'", Assert.Single(await RefusedAsync()), StringComparison.Ordinal);
        Assert.False((await _lab.PlanAsync()).Info.Obstacles.Count == 0);
    }

    [Fact]
    public async Task A_server_that_two_hosts_may_run_has_no_owner_and_both_are_named()
    {
        Set("host-b", "web-1", ServerState.Absent, 5, mayRun: 5, ran: 5);
        string error = Assert.Single(await RefusedAsync());
        Assert.Contains("dc-a (host-a: epoch 3, running)", error, StringComparison.Ordinal);
        Assert.Contains("dc-b (host-b: epoch 5, absent)", error, StringComparison.Ordinal);
    }

    // Guards: Owner's three errors. A host that forgot what it promised says that it promised nothing.
    [Theory]
    [InlineData(ServerState.Running, 3, "runs there without the right to")]
    [InlineData(ServerState.Unknown, 3, "cannot say what it does there")]
    [InlineData(ServerState.Absent, 0, "the record is damaged; what host-b has promised of it is not known")]
    public async Task A_host_whose_word_cannot_be_the_whole_truth_is_not_believed(ServerState state, long epoch, string why)
    {
        Set("host-b", "web-1", state, epoch, mayRun: null, ran: 0, fault: "the record is damaged");
        Assert.Contains(why, Assert.Single(await RefusedAsync()), StringComparison.Ordinal);
    }

    // A migration half way, at each point of it: who owns the server is known, or nothing is recovered.
    [Fact]
    public async Task Before_the_stop_the_source_owns_it_and_what_is_left_over_keeps_it_from_being_moved()
    {
        foreach (string server in new[] { "web-1", "web-2" })
        {
            Set("host-a", server, ServerState.Running, 5, mayRun: 3, ran: 3, "m4");
            Set("host-b", server, ServerState.Incoming, 5, mayRun: null, ran: 2, "m4");
        }

        _lab.A.Migrations.Add(PlanLab.Migration("m4.1", PeMigrationState.Switched, 5, "10.1.1.10/32"));
        Recovered found = await AskAsync();
        GroupState web = found.Groups["web"];
        Assert.Equal((5, new Ownership("dc-a", 3), 5), (web.Epoch, web.Owners["web-1"], found.NextMigration));
        _lab.State = ManagerMachine.Step(ManagerState.Empty, found, 1, "t");
        string[] reasons = [.. (await _lab.PlanAsync()).Info.Obstacles.Select(o => o.Reason)];
        Assert.Contains("prefix-elsewhere", reasons);
        Assert.Contains("server-fault", reasons);
    }

    [Fact]
    public async Task Between_stop_and_start_nobody_owns_it_and_the_problem_names_the_commands_that_help()
    {
        HalfWay();
        string error = Assert.Single(await RefusedAsync());
        Assert.Contains("migration m4 is half way", error, StringComparison.Ordinal);
        Assert.Contains("m4.1 at pe-a (source, switched)", error, StringComparison.Ordinal);
        Assert.Contains("sdnedge mms recover --settle web-1=dc-a, or sdnedge mms recover --settle web-1=dc-b.", error,
            StringComparison.Ordinal);
        Assert.NotEmpty((await _lab.PlanAsync()).Info.Obstacles);
    }

    [Theory]
    [InlineData("dc-a", false)]
    [InlineData("dc-b", true)]
    public async Task What_is_half_way_is_settled_by_a_migration_that_asks_all_hosts_before_it_grants_an_epoch_that_nobody_saw(
        string site, bool atTarget)
    {
        HalfWay();
        Recovered found = await SettleAsync(("web-1", site));
        SettledMove settled = Assert.Single(found.Settled!);
        Assert.Equal(("web", "m4", 6, "dc-a", "dc-b"),
            (settled.Group, settled.Move.Migration, settled.Move.Epoch, settled.Move.From, settled.Move.To));
        Assert.Equal([new ServerMove("web-1", "host-a", "host-b")], settled.Move.Servers);
        Assert.Equal(atTarget, settled.Move.Settle!.AtTarget);
        Assert.Equal(
            [.. from host in (string[])["host-a", "host-b"] from epoch in (long[])[5, 6]
                select new SettleAsk(host, "web-1", ServerOrder.Void, epoch)], settled.Move.Settle.Asks);
        PathMove path = Assert.Single(settled.Move.Paths);
        Assert.Equal(("m4.1", "pe-a", "pe-b", 77u, 200u), (path.Id, path.Source.Pe, path.Target.Pe, path.TunnelKey, path.LocalPref));
        Assert.Equal(["10.1.1.10/32", "fd00:1:1::10/128"], path.Source.Prefixes.Select(p => p.Prefix));
        Assert.Null(path.Order);

        // On record: a migration of its own, the server has no owner yet, and the other one has.
        _lab.State = ManagerMachine.Step(ManagerState.Empty, found, 1, "t");
        MigrationState migration = _lab.State.Migrations["m5"];
        Assert.Equal((MoveStage.Settle, 6, false), (migration.Current.Stage, migration.Current.Epoch, migration.Current.TargetOwns));
        GroupState web = _lab.State.GroupOf("web");
        Assert.Equal((6, false, new Ownership("dc-a", 3), 6),
            (web.Epoch, web.Owners.ContainsKey("web-1"), web.Owners["web-2"], _lab.State.NextMigration));
        foreach (SettleAsk ask in settled.Move.Settle.Asks)
        {
            var reply = new ServerReply(ask.Server, ask.Order, ask.Epoch, ServerState.Paused, false, 1, EpochVerdict.Void);
            string key = new SendOrder(ask.Host, ask.Server, ask.Order, new ServerOrderRequest(ask.Epoch, "m4")).Key;
            _lab.State = ManagerMachine.Step(_lab.State, new MoveHappened("m5", new OrderDone(key, reply, 1)), 2, "t");
        }

        MoveState granted = _lab.State.Migrations["m5"].Current;
        Assert.Equal((atTarget ? MoveStage.Activate : MoveStage.ResumeSource, 7), (granted.Stage, granted.Epoch));
        Assert.Equal(new Ownership(site, 7), _lab.State.GroupOf("web").Owners["web-1"]);
        var order = MoveMachine.Open(granted).OfType<SendOrder>().First();
        Assert.Equal(atTarget ? ("host-b", ServerOrder.Activate, 7, "m4") : ("host-a", ServerOrder.Resume, 7, "m4"),
            (order.Host, order.Order, order.Request.Epoch, order.Request.Migration));
    }

    // Guards: each refusal of Settling. Nothing is settled by halves.
    [Fact]
    public async Task Only_what_is_in_doubt_is_settled_and_only_where_it_can_run()
    {
        string[] none = await RefusedAsync([("web-1", "dc-a"), ("web-9", "dc-a")]);
        Assert.Equal(["web-1 it is not in doubt: dc-a owns it under epoch 3; to have it elsewhere, move it",
            "web-9 there is no server 'web-9'; --settle takes SERVER=SITE"], none.Order(StringComparer.Ordinal));
        HalfWay();
        Assert.Contains("cannot live at 'dc-c'; its sites are dc-a, dc-b", await OneAsync("dc-c"), StringComparison.Ordinal);

        // Handed over for good: only forward.
        HalfWay(source: "handed-over", undoable: false);
        Assert.Contains("host-a has handed it over, which cannot be undone", await OneAsync("dc-a"), StringComparison.Ordinal);
        Assert.NotNull((await SettleAsync(("web-1", "dc-b"))).Settled);

        // Not handed over, or not wholly: only back.
        HalfWay(source: "stopped", undoable: false);
        Assert.Contains("host-a has not handed it over (stopped)", await OneAsync("dc-b"), StringComparison.Ordinal);
        HalfWay(source: "stopping");
        Assert.Contains("host-a has not handed it over (stopping)", await OneAsync("dc-b"), StringComparison.Ordinal);
        Assert.NotNull((await SettleAsync(("web-1", "dc-a"))).Settled);

        // The hosts could go on, and the network could not.
        HalfWay();
        _lab.B.Migrations.Clear();
        Assert.Contains("pe-b is not prepared for it", await OneAsync("dc-b"), StringComparison.Ordinal);

        // It has gone back, or was never there: packets would go to dc-a (docs/model, SETTLED_WITHOUT_NETWORK).
        HalfWay();
        foreach (PlanPe pe in new[] { _lab.A, _lab.B }) pe.Migrations[0] = pe.Migrations[0] with { State = PeMigrationState.Aborted };
        Assert.Contains("pe-a is not switched for it, so the network cannot go on to dc-b", await OneAsync("dc-b"),
            StringComparison.Ordinal);
        Assert.Empty(Assert.Single((await SettleAsync(("web-1", "dc-a"))).Settled!).Move.Paths);

        // Nor can the server go back: it runs without the network rather than nowhere.
        HalfWay(source: "handed-over", undoable: false);
        foreach (PlanPe pe in new[] { _lab.A, _lab.B }) pe.Migrations.Clear();
        Assert.Empty(Assert.Single((await SettleAsync(("web-1", "dc-b"))).Settled!).Move.Paths);

        // Nobody has anything of it.
        HalfWay();
        foreach (string host in new[] { "host-a", "host-b" })
            Set(host, "web-1", ServerState.Absent, 5, mayRun: null, ran: 3, phase: "away");
        string error = await OneAsync("dc-a");
        Assert.Contains("host-a has nothing of it that could run (away)", error, StringComparison.Ordinal);
        Assert.Contains("it can be settled at none of its sites", Assert.Single(await RefusedAsync()), StringComparison.Ordinal);
    }

    [Fact]
    public async Task One_silent_party_is_enough_to_settle_nothing()
    {
        HalfWay();
        _lab.Pes["pe-c"].Silent = true;
        Assert.Contains("may know more", Assert.Single(await RefusedAsync([("web-1", "dc-a")])), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Servers_that_share_a_path_are_settled_at_one_site()
    {
        HalfWay();
        foreach (PlanPe pe in new[] { _lab.A, _lab.B })
            pe.Migrations[0] = pe.Migrations[0] with { Prefixes = [new("10.1.1.10/32", "dc"), new("10.1.1.12/32", "dc")] };

        // web-2 has not been stopped: it is part of what is undone, and keeps web-1 from going on.
        SettledMove settled = Assert.Single((await SettleAsync(("web-1", "dc-a"))).Settled!);
        Assert.Equal(["web-1", "web-2"], settled.Move.Servers.Select(s => s.Name));
        Assert.Contains("shares a migration with web-2, which dc-a owns under epoch 3: settle it at dc-a, too", await OneAsync("dc-b"),
            StringComparison.Ordinal);
        Set("host-a", "web-2", ServerState.Paused, 5, mayRun: null, ran: 3, "m4", phase: "stopped");
        Set("host-b", "web-2", ServerState.Incoming, 5, mayRun: null, ran: 2, "m4", phase: "incoming");
        Assert.Contains("name one site for both", Assert.Single(await RefusedAsync([("web-1", "dc-a"), ("web-2", "dc-b")])),
            StringComparison.Ordinal);
        string missing = Assert.Single(await RefusedAsync([("web-1", "dc-a")]));
        Assert.Contains("web-2 no host may run it", missing, StringComparison.Ordinal);
    }

    // An order of it may still be on its way to a host (docs/model, ONLY_HOSTS_EPOCH_IS_VOIDED).
    [Fact]
    public async Task What_only_PEs_have_seen_is_closed_at_the_hosts_too()
    {
        HalfWay();
        _lab.A.Migrations[0] = PlanLab.Migration("m4.1", PeMigrationState.Switched, 7, "10.1.1.10/32");
        SettledMove settled = Assert.Single((await SettleAsync(("web-1", "dc-a"))).Settled!);
        Assert.Equal(8, settled.Move.Epoch);
        Assert.Equal(
            [.. from host in (string[])["host-a", "host-b"] from epoch in (long[])[5, 6, 7, 8]
                select new SettleAsk(host, "web-1", ServerOrder.Void, epoch)], settled.Move.Settle!.Asks);
    }

    [Fact]
    public async Task Of_two_rights_the_one_that_is_not_used_is_taken_away_first()
    {
        Set("host-b", "web-1", ServerState.Absent, 5, mayRun: 5, ran: 5, phase: "running");
        SettledMove settled = Assert.Single((await SettleAsync(("web-1", "dc-a"))).Settled!);
        Assert.Equal(
            [new SettleAsk("host-a", "web-1", ServerOrder.Void, 5), new SettleAsk("host-a", "web-1", ServerOrder.Void, 6),
                new SettleAsk("host-b", "web-1", ServerOrder.Retire, 6)], settled.Move.Settle!.Asks);
        Assert.Empty(settled.Move.Paths);
        Assert.False(settled.Move.Settle.AtTarget);
        Assert.Contains("it runs at dc-a (host-a): stop it there first", await OneAsync("dc-b"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task After_the_start_the_target_owns_it_although_the_source_keeps_a_copy()
    {
        foreach (string server in new[] { "web-1", "web-2" })
        {
            Set("host-a", server, ServerState.Paused, 5, mayRun: null, ran: 3, "m4");
            Set("host-b", server, ServerState.Running, 5, mayRun: 5, ran: 5, "m4");
        }

        Assert.Equal(new Ownership("dc-b", 5), (await AskAsync()).Groups["web"].Owners["web-1"]);
    }

    // Guards: the end of Owner. An old state folder of a host must not overwrite a good journal.
    [Fact]
    public async Task A_journal_that_knows_more_than_all_parties_is_not_overwritten()
    {
        _lab.State = Owning("dc-b", 9);
        string[] errors = await RefusedAsync();
        Assert.Equal(2, errors.Length);
        Assert.All(errors, e => Assert.Contains("the journal knows more than they do", e, StringComparison.Ordinal));

        // The same owner: what is higher stays.
        _lab.State = Owning("dc-a", 9);
        ManagerState after = ManagerMachine.Step(_lab.State, await AskAsync(), 1, "t");
        Assert.Equal((9, new Ownership("dc-a", 3)), (after.GroupOf("web").Epoch, after.GroupOf("web").Owners["web-1"]));
    }

    // Guards: `moved` in Owner: hosts whose state was lost say that nobody may run it.
    [Fact]
    public async Task A_server_that_the_journal_has_and_no_host_may_run_is_not_forgotten()
    {
        _lab.State = Owning("dc-a", 3);
        foreach (string host in new[] { "host-a", "host-b" }) Set(host, "web-1", ServerState.Absent, 0, mayRun: null, ran: 0);
        Assert.Contains("no host may run it", Assert.Single(await RefusedAsync()), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_migration_that_runs_by_the_journal_goes_on_unless_the_parties_know_of_later_things()
    {
        PlanResult plan = await PlannedAsync();
        _lab.State = ManagerMachine.Step(
            _lab.State, new MigrationRequested(plan.Moves[0].Migration, plan.Request!, plan.Moves, "user ops"), 1, "t");
        string id = plan.Moves[0].Migration;
        Assert.Equal(4, _lab.State.GroupOf("web").Epoch);
        Recovered found = await AskAsync();
        Assert.Equal(["db"], found.Groups.Keys);
        Assert.Null(found.Stale);
        ManagerState after = ManagerMachine.Step(_lab.State, found, 2, "t");
        Assert.Null(after.Migrations[id].Outcome);

        // It ran at the target under that very epoch, and by the journal it was never granted it: the journal is old.
        foreach (string server in new[] { "web-1", "web-2" })
        {
            Set("host-a", server, ServerState.Absent, 4, mayRun: null, ran: 3);
            Set("host-b", server, ServerState.Running, 4, mayRun: 4, ran: 4);
        }

        found = await AskAsync();
        Assert.Equal([id], found.Stale!);
        after = ManagerMachine.Step(_lab.State, found, 3, "t");
        Assert.Equal(MigrationOutcome.Fenced, after.Migrations[id].Outcome);
        Assert.Contains("older than what PEs and hosts know", after.Migrations[id].Failure, StringComparison.Ordinal);
        Assert.Equal(new Ownership("dc-b", 4), after.GroupOf("web").Owners["web-2"]);
    }

    // Guards: the first lines of ManagerMachine.Recover: found and recorded are not one moment.
    [Fact]
    public async Task What_was_found_before_a_migration_began_changes_nothing_any_more()
    {
        Recovered found = await AskAsync();
        PlanResult plan = await PlannedAsync();
        ManagerState running = ManagerMachine.Step(
            _lab.State, new MigrationRequested(plan.Moves[0].Migration, plan.Request!, plan.Moves, "user ops"), 1, "t");
        Assert.Same(running, ManagerMachine.Step(running, found, 2, "t"));
    }

    [Fact]
    public async Task An_epoch_at_the_end_of_the_range_is_refused_and_so_are_ids_that_nobody_gave()
    {
        _lab.A.Migrations.Add(PlanLab.Migration($"m{long.MaxValue}.1", PeMigrationState.TornDown, 4, "192.0.2.0/24"));
        Assert.Equal(1, (await AskAsync()).NextMigration);
        _lab.A.Migrations.Add(PlanLab.Migration("x", PeMigrationState.TornDown, long.MaxValue, "10.1.1.12/32"));
        Assert.Contains($"epoch {long.MaxValue} was seen", Assert.Single(await RefusedAsync()), StringComparison.Ordinal);
    }

    private static ManagerState Owning(string site, long epoch)
    {
        var owner = new Ownership(site, epoch);
        return ManagerState.Empty with
        {
            Groups = ImmutableSortedDictionary<string, GroupState>.Empty.Add("web", new GroupState(
                epoch, ImmutableSortedDictionary<string, Ownership>.Empty.Add("web-1", owner).Add("web-2", owner))),
        };
    }

    // The journal of a manager that has recovered, and a plan for web.
    private async Task<PlanResult> PlannedAsync()
    {
        _lab.State = ManagerMachine.Step(ManagerState.Empty, await AskAsync(), 1, "t");
        PlanResult plan = await _lab.PlanAsync();
        Assert.Empty(plan.Info.Obstacles);
        return plan;
    }

    private void Set(
        string host, string server, ServerState state, long epoch, long? mayRun, long ran, string? migration = null, string? fault = null,
        string? phase = null)
        => _lab.Set(host, server, s => s with
        {
            State = state, Epoch = epoch, MayRun = mayRun, RanEpoch = ran, Migration = migration, Fault = fault, Phase = phase,
        });

    // web-1 was stopped at host-a, and not started at host-b.
    private void HalfWay(string source = "stopped", bool undoable = true)
    {
        Set("host-a", "web-1", ServerState.Paused, 5, mayRun: null, ran: 3, "m4", phase: source);
        Set("host-b", "web-1", ServerState.Incoming, 5, mayRun: null, ran: 2, "m4", phase: "incoming");
        _lab.Set("host-a", "web-1", s => s with { Undoable = undoable });
        _lab.A.Migrations.Clear();
        _lab.B.Migrations.Clear();
        _lab.A.Tunnels.Clear();
        MigrationInfo path = PlanLab.Migration("m4.1", PeMigrationState.Switched, 5, "10.1.1.10/32");
        _lab.A.Migrations.Add(path);
        _lab.B.Migrations.Add(path with { Role = MigrationRole.Target, State = PeMigrationState.Prepared });
        _lab.A.Tunnels.Add(PlanLab.Tunnel("mig-m4.1", 77));
    }

    private Task<Recovered> AskAsync() => AskAsync([]);

    private Task<Recovered> AskAsync(Dictionary<string, string> settle)
        => Recovery.AskAsync(_lab.Config, _lab, _lab.State, "user ops", settle, default);

    private Task<Recovered> SettleAsync(params (string Server, string Site)[] settle)
        => AskAsync(settle.ToDictionary(s => s.Server, s => s.Site));

    private async Task<string> OneAsync(string site) => Assert.Single(await RefusedAsync([("web-1", site)]));

    private Task<string[]> RefusedAsync() => RefusedAsync([]);

    private async Task<string[]> RefusedAsync((string Server, string Site)[] settle)
    {
        ProblemException e = await Assert.ThrowsAsync<ProblemException>(() => SettleAsync(settle));
        Assert.Equal(409, e.Problem.Status);
        Assert.Contains("nothing was recovered, and nothing moves", e.Problem.Detail, StringComparison.Ordinal);
        return [.. e.Problem.Errors!.Select(x => $"{x.Pointer} {x.Detail}")];
    }
}
