using System.Collections.Immutable;
using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>What a planner finds. Each obstacle is said with what would be right; all are said at once.</summary>
public sealed partial class PlannerTests
{
    private readonly PlanLab _lab = new();

    [Fact]
    public async Task Plan_without_obstacles_is_the_move()
    {
        PlanResult plan = await _lab.PlanAsync();

        Assert.Empty(plan.Info.Obstacles);
        Assert.Empty(plan.Info.Warnings);
        Assert.Equal(("web", "dc-a", "dc-b", "together", 3), (plan.Info.Group, plan.Info.From, plan.Info.To, plan.Info.Cutover,
            plan.Info.Prefixes));
        Assert.Equal(["web-1", "web-2"], plan.Info.Servers);

        // Two hosts 20 ms away, and 20 ms to stop and start; the hold has a round trip to each PE more.
        Assert.Equal(60, plan.Info.PredictedBlackoutMs);
        Assert.Equal(new HoldPrediction("pe-a > pe-b", 1000, 80, 1000), Assert.Single(plan.Info.Holds));
        var options = new MoveOptions(new HoldOptions(MaxPackets: 1000));
        MovingPrefix[] there = [new("10.1.1.10/32", "dc", "10.1.1.2"), new("fd00:1:1::10/128", "dc"), new("10.1.1.12/32", "dc")];
        AssertSame(
            new MovePlan("m1", 1, "dc-a", "dc-b", [new ServerMove("web-1", "host-a", "host-b"), new ServerMove("web-2", "host-a",
                "host-b")],
            [
                new PathMove(
                    "m1.1", "default",
                    new PathEnd("pe-a", "10.255.0.1", ["10.255.0.1", "fd00:ff::1"], [.. there.Select(p => p with { NextHop = null })]),
                    new PathEnd("pe-b", "10.255.0.2", ["10.255.0.2", "fd00:ff::2"], there),
                    ["pe-c"], 0x4000_0000, 200, null, options.Hold,
                    new OrderOptions([new OrderedIngress("pe-a", ["10.255.0.1", "fd00:ff::1"]), new OrderedIngress("pe-c", ["10.255.0.3",
                        "fd00:ff::3"])])),

            // Of a hold that is filled in a second a prediction may take 800 ms, of which the orders take 60 and two round trips 20.
            ], options with { StopMs = 3_000, StopByHold = true, MaxBlackoutMs = 720 }, Ahead: true),
            Assert.Single(plan.Moves));
        Assert.Equal(new MigrationRequest("web", "dc-b", Cutover.Together, options), plan.Request);
    }

    /// <summary>What the servers send from their new place must not overtake what they sent from the old one.</summary>
    [Theory]
    [InlineData(120.0, 10.0, true, 55)]
    [InlineData(120.2, 10.0, true, 56)]
    [InlineData(10.0, 120.0, true, 0)]    // the new way is the longer one
    [InlineData(11.9, 10.0, true, 0)]     // no more than round trips differ by themselves
    [InlineData(9_000.0, 10.0, true, 1000)]
    [InlineData(120.0, null, true, 0)]    // not known
    [InlineData(120.0, 10.0, false, 0)]   // order is not wanted
    public async Task Keeps_back_what_the_servers_send_by_half_of_what_the_old_round_trip_is_longer(
        double from, double? to, bool order, int keepBack)
    {
        (_lab.A.RoundTrips["10.255.0.3"], _lab.B.RoundTrips["10.255.0.3"]) = (from, to);

        // No ingress of the group.
        (_lab.A.RoundTrips["192.0.2.1"], _lab.B.RoundTrips["192.0.2.1"]) = (500, 1);
        PlanResult plan = await _lab.PlanAsync(with: c => c with { KeepOrder = order });
        Assert.Equal(keepBack, plan.Moves[0].Paths[0].KeepBackMs);
    }

    [Fact]
    public async Task Machine_takes_the_plan_as_it_is()
    {
        PlanResult plan = await _lab.PlanAsync();
        ManagerState state = ManagerMachine.Step(_lab.State, new MigrationRequested("m1", plan.Request!, plan.Moves, "me"), 1,
            "2026-11-28T12:00:00Z");
        AssertSame(plan.Moves[0], state.Migrations["m1"].Current.Plan);
    }

    [Fact]
    public async Task One_by_one_is_a_move_a_server_in_the_order_of_the_configuration()
    {
        _lab.A.Tunnels.Add(PlanLab.Tunnel("t", 0x4000_0000));
        _lab.B.Tunnels.Add(PlanLab.Tunnel("u", 0x4000_0002));
        PlanResult plan = await _lab.PlanAsync(with: c => c with { Cutover = "one-by-one" });

        Assert.Equal(["web-1", "web-2"], plan.Moves.Select(m => Assert.Single(m.Servers).Name));
        Assert.Equal(["m1.1", "m1.2"], plan.Moves.Select(m => Assert.Single(m.Paths).Id));
        Assert.Equal([0x4000_0001u, 0x4000_0003u], plan.Moves.Select(m => m.Paths[0].TunnelKey));
        Assert.Equal(["10.1.1.12/32"], plan.Moves[1].Paths[0].Source.Prefixes.Select(p => p.Prefix));
        Assert.Equal(Cutover.OneByOne, plan.Request!.Cutover);
    }

    // Guards: Planner's atOnce, by the call and by the group.
    [Fact]
    public async Task So_many_at_once_as_the_call_says_or_else_the_group()
    {
        var lab = new PlanLab(PlanLab.Yaml.Replace("  - name: web\n", "  - name: web\n    atOnce: 4\n", StringComparison.Ordinal));
        Assert.Null((await lab.PlanAsync()).Request!.AtOnce);
        Assert.Equal(4, (await lab.PlanAsync(with: c => c with { Cutover = "one-by-one" })).Request!.AtOnce);
        Assert.Equal(2, (await lab.PlanAsync(with: c => c with { Cutover = "one-by-one", AtOnce = 2 })).Request!.AtOnce);

        // One at a time is what a journal of an earlier version says with nothing.
        Assert.Null((await lab.PlanAsync(with: c => c with { Cutover = "one-by-one", AtOnce = 1 })).Request!.AtOnce);
    }

    // Guards: CopyShares. What is accepted has an effect, or a warning says that it has none.
    [Fact]
    public async Task A_bandwidth_that_limits_nothing_is_told()
    {
        PlanResult plan = await _lab.PlanAsync(with: c => c with { Bandwidth = 500 });
        Assert.Contains(plan.Info.Warnings, w => w.StartsWith("the bandwidth of 500 Mbit/s limits nothing here", StringComparison.Ordinal));
        Assert.All(plan.Moves[0].Servers, s => Assert.Null(s.CopyBytesPerSecond));
    }

    [Fact]
    public async Task Local_pref_is_higher_than_any_that_is_told_and_starts_anew_at_the_top_of_its_range()
    {
        _lab.B.Routes[0] = _lab.B.Routes[0] with { LocalPref = 700 };
        PlanResult plan = await _lab.PlanAsync();
        Assert.Equal((800u, null), (plan.Moves[0].Paths[0].LocalPref, plan.Moves[0].Paths[0].SourceLocalPref));

        _lab.B.Routes[0] = _lab.B.Routes[0] with { LocalPref = 1100 };
        plan = await _lab.PlanAsync();
        Assert.Equal((300u, 200u), (plan.Moves[0].Paths[0].LocalPref, plan.Moves[0].Paths[0].SourceLocalPref));
    }

    [Fact]
    public async Task Order_is_kept_in_a_customers_VRF_as_in_the_default_one()
    {
        PlanResult plan = await _lab.PlanAsync("db");
        Assert.Empty(plan.Info.Obstacles);
        Assert.Empty(plan.Info.Warnings);
        PathMove path = plan.Moves[0].Paths[0];
        Assert.Equal(["pe-a", "pe-c"], path.Order!.Ingress.Select(i => i.Name));
        Assert.Equal(["10.255.0.3", "fd00:ff::3"], path.Order.Ingress[1].Loopbacks);
        Assert.Equal(["pe-c"], path.Ingress);
    }

    [Fact]
    public async Task A_PE_without_the_VRF_is_no_ingress_of_it_and_is_not_waited_for()
    {
        _lab.Pes["pe-c"].Vrfs.RemoveAt(1);
        PathMove path = (await _lab.PlanAsync("db")).Moves[0].Paths[0];
        Assert.Equal(["pe-a"], path.Order!.Ingress.Select(i => i.Name));
        Assert.Empty(path.Ingress);
        Assert.False(path.OtherIngress);
    }

    [Fact]
    public async Task No_hold_and_no_order_are_warnings()
    {
        PlanResult plan = await _lab.PlanAsync(with: c => c with { Hold = new HoldOptions(Disabled: true) });
        Assert.Null(plan.Moves[0].Paths[0].Order);
        Assert.Empty(plan.Info.Holds);
        Assert.Contains("no hold", Assert.Single(plan.Info.Warnings), StringComparison.Ordinal);

        plan = await _lab.PlanAsync(with: c => c with { KeepOrder = false });
        Assert.Null(plan.Moves[0].Paths[0].Order);
        Assert.Contains("keepOrder", Assert.Single(plan.Info.Warnings), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Silent_ingress_is_a_warning_and_is_not_waited_for()
    {
        _lab.Pes["pe-c"].Silent = true;
        PlanResult plan = await _lab.PlanAsync();
        PathMove path = plan.Moves[0].Paths[0];
        Assert.Empty(path.Ingress);
        Assert.True(path.OtherIngress);
        Assert.Equal(["pe-a"], path.Order!.Ingress.Select(i => i.Name));
        Assert.Contains("pe-c", Assert.Single(plan.Info.Warnings), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Hand_over_that_cannot_be_undone_is_a_warning()
    {
        _lab.Set("host-a", "web-2", s => s with { Undoable = false });
        PlanResult plan = await _lab.PlanAsync();
        Assert.Equal([true, false], plan.Moves[0].Servers.Select(s => s.Undoable));
        Assert.Contains("web-2", Assert.Single(plan.Info.Warnings), StringComparison.Ordinal);
        Assert.Equal(80, plan.Info.PredictedBlackoutMs);
    }

    [Fact]
    public Task Unknown_group() => FindsAsync("group-unknown", "wep", ["web, db"], group: "wep");

    [Fact]
    public Task Unknown_site() => FindsAsync("site-unknown", "dc-x", ["dc-a, dc-b"], to: "dc-x");

    [Fact]
    public async Task Site_where_a_server_has_no_place()
    {
        PlanResult plan = await _lab.PlanAsync(to: "dc-c");
        Assert.Equal([("site-unknown", "web-1"), ("site-unknown", "web-2")], plan.Info.Obstacles.Select(o => (o.Reason, o.Where)));
    }

    [Fact]
    public async Task Unknown_cutover()
    {
        PlanResult plan = await _lab.PlanAsync(with: c => c with { Cutover = "all" });
        Assert.Contains("together, one-by-one", Only(plan, "cutover-unknown", "all").Detail, StringComparison.Ordinal);
    }

    [Fact]
    public Task Server_that_the_target_host_does_not_know()
    {
        _lab.Hosts["host-b"].Servers.Remove("web-2");
        return FindsAsync("server-unknown", "web-2", ["host-b does not know web-2"]);
    }

    [Fact]
    public Task Group_that_is_there_already() => FindsAsync("already-there", "web", ["web-1, web-2", "dc-a"], to: "dc-a");

    [Fact]
    public Task Group_whose_servers_are_at_different_sites()
    {
        _lab.Set("host-a", "web-2", s => s with { State = ServerState.Absent });
        _lab.Set("host-b", "web-2", s => s with { State = ServerState.Running });
        return FindsAsync("group-split", "web", ["web-1 at dc-a", "web-2 at dc-b"]);
    }

    [Fact]
    public Task Server_that_runs_nowhere()
    {
        _lab.Set("host-a", "web-1", s => s with { State = ServerState.Paused });
        return FindsAsync("not-running", "web-1", ["host-a says paused", "host-b says absent"]);
    }

    [Fact]
    public Task Server_that_runs_twice()
    {
        _lab.Set("host-b", "web-1", s => s with { State = ServerState.Running });
        return FindsAsync("running-twice", "web-1", ["dc-a (host-a)", "dc-b (host-b)"]);
    }

    [Fact]
    public async Task Group_that_is_on_its_way()
    {
        await StartAsync("web");
        _lab.Set("host-a", "web-1", s => s with { State = ServerState.Paused });
        await FindsAsync("busy", "web", ["m1", "dc-b", "prepare-target", "wait for its end: 'sdnedge migrate watch m1'"]);

        // The one that runs is at work: who is refused must not be told to end it.
        Assert.DoesNotContain("abort", (await _lab.PlanAsync()).Info.Obstacles[0].Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Too_many_migrations_or_servers()
    {
        await StartAsync("db");
        _lab.State = _lab.State with
        {
            Migrations = _lab.State.Migrations.SetItem("m9", _lab.State.Migrations["m1"] with { Id = "m9",
                Request = new MigrationRequest("mail", "dc-b") }),
        };
        await FindsAsync("limit", "migrations", ["m1, m9", "limits.migrations is 2"]);

        var small = new PlanLab(PlanLab.Yaml.Replace("servers: 5", "servers: 1", StringComparison.Ordinal));
        Assert.Contains("limits.servers is 1; raise it to 2 or more in the manager's file, or move one-by-one",
            Only(await small.PlanAsync(), "limit", "servers").Detail, StringComparison.Ordinal);
        Assert.Contains("or have at most 1 on the way at once (atOnce: 1)", Only(await small.PlanAsync(with: c => c with
        {
            Cutover = "one-by-one", AtOnce = 9,
        }), "limit", "servers").Detail, StringComparison.Ordinal);
        Assert.Empty((await small.PlanAsync(with: c => c with { Cutover = "one-by-one" })).Info.Obstacles);
    }

    [Theory]
    [InlineData("pe-a")]
    [InlineData("pe-b")]
    public Task Silent_PE(string pe)
    {
        _lab.Pes[pe].Silent = true;
        return FindsAsync("peer-unreachable", pe, [$"cannot reach {pe}"]);
    }

    [Theory]
    [InlineData("host-a")]
    [InlineData("host-b")]
    public Task Silent_host(string host)
    {
        _lab.Hosts[host].Silent = true;
        return FindsAsync("peer-unreachable", host, [$"cannot reach {host}"]);
    }

    [Fact]
    public Task PE_that_does_not_forward_yet()
    {
        _lab.B.Node = _lab.B.Node with { Ready = false };
        return FindsAsync("pe-not-ready", "pe-b", ["does not forward"]);
    }

    [Fact]
    public Task Host_that_takes_no_orders()
    {
        _lab.Hosts["host-b"].Node = _lab.Hosts["host-b"].Node with { Ready = false, Fault = "its disk is full" };
        return FindsAsync("host-not-ready", "host-b", ["its disk is full"]);
    }

    [Fact]
    public Task Server_with_a_fault()
    {
        _lab.Set("host-b", "web-1", s => s with { Fault = "no namespace vs-b" });
        return FindsAsync("server-fault", "web-1 at host-b", ["no namespace vs-b"]);
    }

    [Fact]
    public Task Something_of_the_server_is_left_at_the_target()
    {
        _lab.Set("host-b", "web-1", s => s with { State = ServerState.Incoming, Migration = "m7" });
        return FindsAsync("server-fault", "web-1 at host-b", ["incoming", "m7"]);
    }

    [Fact]
    public Task Host_that_has_seen_more_than_the_journal()
    {
        _lab.Set("host-b", "web-1", s => s with { Epoch = 6 });
        return FindsAsync("journal-old", "web-1 at host-b", ["epoch 6", "knows 0", "sdnedge mms recover"]);
    }

    [Fact]
    public Task Server_that_is_not_where_the_journal_has_it()
    {
        ImmutableSortedDictionary<string, Ownership> owners = ImmutableSortedDictionary<string, Ownership>.Empty.Add("web-1",
            new Ownership("dc-b", 4));
        _lab.State = _lab.State with { Groups = _lab.State.Groups.Add("web", new GroupState(4, owners)) };
        return FindsAsync("journal-old", "web-1 at host-a", ["dc-b owns it under epoch 4", "sdnedge mms recover"]);
    }

    [Fact]
    public Task PE_that_has_seen_more_than_the_journal()
    {
        _lab.A.Migrations.Add(PlanLab.Migration("x7.1", PeMigrationState.TornDown, 9, "10.1.1.10/32"));
        return FindsAsync("journal-old", "pe-a x7.1", ["epoch 9", "knows 0", "sdnedge mms recover"]);
    }

    [Fact]
    public Task PE_that_knows_the_migration_that_would_be_next()
    {
        _lab.B.Migrations.Add(PlanLab.Migration("m1.1", PeMigrationState.TornDown, 0, "10.77.0.1/32"));
        return FindsAsync("journal-old", "pe-b m1.1", ["next one is m1", "sdnedge mms recover"]);
    }

    [Fact]
    public Task Prefix_that_is_part_of_another_migration()
    {
        _lab.B.Migrations.Add(PlanLab.Migration("x7.1", PeMigrationState.Prepared, 0, "10.1.1.8/29"));
        return FindsAsync("prefix-elsewhere", "10.1.1.10/32, 10.1.1.12/32", ["x7.1 at pe-b", "prepared", "not of this manager"]);
    }

    private const string A = "unix:/run/pe-a.sock --epoch 7", B = "unix:/run/pe-b.sock --epoch 7";

    // The way of an end by hand is where the server runs; nothing is named that would lead its traffic elsewhere.
    [Theory]
    [InlineData("switched", "prepared", "host-a", $"behind pe-a|abort x7.1 --api {A}|abort x7.1 --api {B}")]
    [InlineData("prepared", null, "host-a", $"behind pe-a|abort x7.1 --api {A}")]
    [InlineData("switched", "prepared", "host-b",
        $"behind pe-b|release x7.1 --api {B}|advertise x7.1 --api {B}|withdraw x7.1 --api {A}|teardown x7.1 --api {A}|teardown x7.1 "
        + $"--api {B}")]
    [InlineData("switched", "released", "host-b",
        $"behind pe-b|advertise x7.1 --api {B}|withdraw x7.1 --api {A}|teardown x7.1 --api {A}|teardown x7.1 --api {B}")]
    [InlineData("withdrawn", "torn-down", "host-b", $"behind pe-b|teardown x7.1 --api {A}")]
    [InlineData("switched", "prepared", null, "see first where its servers run|release and advertise there, then withdraw")]
    [InlineData("switched", "released", "host-a", "they run behind pe-a: see to that first")]
    public async Task What_is_left_of_a_migration_is_ended_by_commands_that_fit_where_its_server_runs(
        string source, string? target, string? runs, string words)
    {
        _lab.State = _lab.State with
        {
            Groups = _lab.State.Groups.SetItem("web", GroupState.Fresh with { Epoch = 7 }),
        };
        foreach (string host in new[] { "host-a", "host-b" })
            _lab.Set(host, "web-2", s => s with { State = host == runs ? ServerState.Running : ServerState.Absent });
        MigrationInfo left = PlanLab.Migration("x7.1", State(source), 7, "10.1.1.12/32");
        _lab.A.Migrations.Add(left);
        if (target is not null)
            _lab.B.Migrations.Add(left with { Role = MigrationRole.Target, State = State(target), Peer = "10.255.0.1" });
        string[] told = [.. (await _lab.PlanAsync(to: runs == "host-b" ? "dc-a" : "dc-b")).Info.Obstacles
            .Where(o => o.Reason == "prefix-elsewhere").Select(o => o.Detail)];
        Assert.Equal(source is "torn-down" || target is null or "torn-down" ? 1 : 2, told.Length);
        foreach (string detail in told)
        {
            int from = 0;
            foreach (string word in words.Split('|'))
            {
                int at = detail.IndexOf(word, from, StringComparison.Ordinal);
                Assert.True(at >= 0, $"'{word}' is not in its place in: {detail}");
                from = at + word.Length;
            }

            Assert.Equal(words.Split("x7.1").Length, detail[(detail.IndexOf('(') + 1)..].Split("x7.1").Length);
            Assert.StartsWith("it is part of migration x7.1", detail, StringComparison.Ordinal);
            Assert.Contains("if it is at work, wait for its end", detail, StringComparison.Ordinal);
        }

        static PeMigrationState State(string word) => Enum.GetValues<PeMigrationState>().Single(s => Words.Of(s) == word);
    }

    [Fact]
    public async Task What_another_migration_of_this_manager_works_on_is_waited_for()
    {
        await StartAsync("db");
        _lab.A.Migrations.Add(PlanLab.Migration("m1.1", PeMigrationState.Switched, 0, "10.1.1.12/32"));
        await FindsAsync("prefix-elsewhere", "10.1.1.12/32", ["of group db, and at work", "'sdnedge migrate watch m1'"]);
        Assert.DoesNotContain("signal", (await _lab.PlanAsync()).Info.Obstacles[0].Detail, StringComparison.Ordinal);
    }

    [Fact]
    public Task Prefix_that_is_not_attached_at_the_source()
    {
        _lab.A.Fib["10.1.1.12"] = new FibInfo("default", "10.1.1.0/24", "forward", "172.16.0.3", "core", null, null);
        return FindsAsync("not-routed", "10.1.1.12/32", ["by port dc", "to 172.16.0.3 by core"]);
    }

    [Fact]
    public Task Prefixes_of_a_server_with_the_same_fault_are_one_obstacle()
    {
        foreach (string address in (string[])["10.1.1.10", "fd00:1:1::10"])
            _lab.A.Fib[address] = new FibInfo("default", "10.1.0.0/16", "forward", null, "core", null, null);
        return FindsAsync("not-routed", "10.1.1.10/32, fd00:1:1::10/128", ["by port dc, where web-1 is: it goes by core"]);
    }

    [Theory]
    [InlineData("pe-a")]
    [InlineData("pe-b")]
    public Task Unknown_port(string pe)
    {
        _lab.Pes[pe].Ports.RemoveAll(p => p.Name == "dc");
        return FindsAsync("port-unknown", $"{pe} dc", ["it has core, dc.7"], count: 2);
    }

    [Fact]
    public Task Port_of_another_VRF()
    {
        _lab.B.Ports[1] = _lab.B.Ports[1] with { Vrf = "blue" };
        return FindsAsync("port-unknown", "pe-b dc", ["in VRF blue"], count: 2);
    }

    [Fact]
    public Task Port_that_is_down()
    {
        _lab.B.Ports[1] = _lab.B.Ports[1] with { Up = false };
        return FindsAsync("port-down", "pe-b dc", ["bring it up"], count: 2);
    }

    [Fact]
    public Task Unknown_VRF()
    {
        _lab.B.Vrfs.RemoveAt(1);
        return FindsAsync("vrf-unknown", "pe-b blue", ["it has default"], group: "db");
    }

    [Theory]
    [InlineData("pe-a", "10.255.0.2", "pe-a > pe-b")]
    [InlineData("pe-b", "10.255.0.1", "pe-b > pe-a")]
    public Task No_way_between_the_PEs(string pe, string loopback, string where)
    {
        _lab.Pes[pe].Fib.Remove(loopback);
        return FindsAsync("no-path", where, [loopback]);
    }

    [Theory]
    [InlineData("pe-a", "pe-a > pe-b")]
    [InlineData("pe-b", "pe-b > pe-a")]
    public Task Way_between_the_PEs_is_too_narrow(string pe, string where)
    {
        _lab.Pes[pe].Ports[0] = _lab.Pes[pe].Ports[0] with { Mtu = 1527 };
        return FindsAsync("mtu-too-small", where, ["MTU 1527", "1499 bytes", "takes 1500", "MTU of 1528"]);
    }

    [Fact]
    public async Task All_obstacles_at_once()
    {
        _lab.Hosts["host-b"].Silent = true;
        _lab.B.Ports[1] = _lab.B.Ports[1] with { Up = false };
        _lab.A.Fib.Remove("10.255.0.2");
        _lab.A.Fib.Remove("10.1.1.10");
        _lab.A.PacketsPerSecond = 1_000_000;
        _lab.B.Ports[0] = _lab.B.Ports[0] with { Mtu = 1500 };
        _lab.A.Migrations.Add(PlanLab.Migration("x7.1", PeMigrationState.Switched, 3, "10.1.1.12/32"));
        _lab.Pes["pe-c"].Damped.Add(new DampedInfo("10.1.1.10/32", 5, 10, 41, 1));
        PlanResult plan = await _lab.PlanAsync();

        string[] reasons = ["damped", "hold-too-small", "journal-old", "mtu-too-small", "no-path", "not-routed", "peer-unreachable",
            "port-down", "prefix-elsewhere"];
        Assert.Equal(reasons, plan.Info.Obstacles.Select(o => o.Reason).Distinct().Order(StringComparer.Ordinal));
        Assert.Empty(plan.Moves);
        Assert.Null(plan.Request);
    }

    [Fact]
    public async Task Planning_twice_is_planning_once()
    {
        ManagerState before = _lab.State;
        PlanResult first = await _lab.PlanAsync(), second = await _lab.PlanAsync();
        AssertSame(first.Moves[0], second.Moves[0]);
        Assert.Same(before, _lab.State);
    }

    private static void AssertSame(MovePlan expected, MovePlan actual)
        => Assert.Equal(JsonSerializer.Serialize(expected, MmsJson.Indented), JsonSerializer.Serialize(actual, MmsJson.Indented));

    private static Obstacle Only(PlanResult plan, string reason, string where)
    {
        Assert.All(plan.Info.Obstacles, o => Assert.Equal((reason, where), (o.Reason, o.Where)));
        Assert.Empty(plan.Moves);
        Assert.Null(plan.Request);
        return plan.Info.Obstacles[0];
    }

    private async Task StartAsync(string group)
    {
        PlanResult plan = await _lab.PlanAsync(group);
        Assert.Empty(plan.Info.Obstacles);
        _lab.State = ManagerMachine.Step(_lab.State, new MigrationRequested("m1", plan.Request!, plan.Moves, "me"), 1,
            "2026-11-28T12:00:00Z");
    }

    // That is found and nothing else.
    private async Task FindsAsync(string reason, string where, string[] words, string group = "web", string to = "dc-b", int count = 1)
    {
        PlanResult plan = await _lab.PlanAsync(group, to);
        Assert.Equal(Enumerable.Repeat((reason, where), count), plan.Info.Obstacles.Select(o => (o.Reason, o.Where)));
        Assert.All(words, w => Assert.Contains(w, plan.Info.Obstacles[0].Detail, StringComparison.Ordinal));
        Assert.Empty(plan.Moves);
        Assert.Null(plan.Request);
    }
}
