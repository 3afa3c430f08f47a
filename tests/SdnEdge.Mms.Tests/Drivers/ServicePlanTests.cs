using SdnEdge.Core.Api;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>The plan of a group without state: where it is by the PEs' word, and what stands in the way.</summary>
public sealed class ServicePlanTests
{
    private const string Yaml = """
        name: mms
        pes:
          - { name: pe-a, api: unix:/run/pe-a.sock }
          - { name: pe-b, api: unix:/run/pe-b.sock }
          - { name: pe-c, api: unix:/run/pe-c.sock }
        sites:
          - { name: dc-a }
          - { name: dc-b }
        groups:
          - name: sip
            stateless: true
            ingress: [pe-c]
            servers:
              - name: proxy
                prefixes: [10.1.1.10/32, "fd00:1:1::10/128"]
                at:
                  - { site: dc-a, pe: pe-a, port: dc }
                  - { site: dc-b, pe: pe-b, port: dc }
        """;

    private static readonly string[] s_prefixes = ["10.1.1.10/32", "fd00:1:1::10/128"];

    private readonly PlanLab _lab = new(Yaml);

    [Fact]
    public async Task Its_move_has_no_server_and_no_blackout_and_asks_no_host()
    {
        foreach (PlanHost host in _lab.Hosts.Values) host.Silent = true;
        PlanResult plan = await PlanAsync();
        Assert.Empty(plan.Info.Obstacles);
        Assert.Empty(plan.Info.Warnings);
        Assert.Equal(("dc-a", "dc-b", 0.0), (plan.Info.From, plan.Info.To, plan.Info.PredictedBlackoutMs));
        Assert.Equal(["proxy"], plan.Info.Servers);
        MovePlan move = Assert.Single(plan.Moves);
        Assert.True(move.IsStateless);
        Assert.Equal(["proxy"], move.Services!);
        Assert.Equal(("dc-a", "dc-b", 1L), (move.From, move.To, move.Epoch));
        PathMove path = Assert.Single(move.Paths);
        Assert.Equal(("pe-a", "pe-b"), (path.Source.Pe, path.Target.Pe));
        Assert.Equal(s_prefixes, path.Source.Prefixes.Select(p => p.Prefix));
        Assert.NotNull(path.Order);

        // Nothing is copied: what the switch waits for is there in a moment, or never.
        Assert.Equal(move.Options.StepMs, move.Options.MirrorMs);
    }

    // There the PE's own route is the one that the migration brought, and the configured one at dc-a is out of use.
    [Fact]
    public async Task It_goes_back_from_where_the_last_move_brought_it()
    {
        Route(_lab.A, null);
        Route(_lab.B, "dc");
        PlanResult plan = await PlanAsync("dc-a");
        Assert.Empty(plan.Info.Obstacles);
        MovePlan move = Assert.Single(plan.Moves);
        Assert.Equal(("dc-b", "dc-a", "pe-b", "pe-a"), (move.From, move.To, move.Paths[0].Source.Pe, move.Paths[0].Target.Pe));
        Assert.Equal("already-there", Assert.Single((await PlanAsync()).Info.Obstacles).Reason);
    }

    [Fact]
    public async Task Two_PEs_with_a_route_of_their_own_are_named_and_none_is_an_obstacle_too()
    {
        Route(_lab.B, "dc");
        Obstacle[] twice = [.. (await PlanAsync()).Info.Obstacles];
        Assert.Equal(s_prefixes, twice.Where(o => o.Reason == "routed-twice").Select(o => o.Where).Append(s_prefixes[1]).Distinct());
        Assert.Contains("pe-a and pe-b each have a route of their own to 10.1.1.10/32", twice[0].Detail, StringComparison.Ordinal);

        Route(_lab.A, null);
        Route(_lab.B, null);
        Obstacle none = (await PlanAsync()).Info.Obstacles[0];
        Assert.Equal(("not-routed", "10.1.1.10/32"), (none.Reason, none.Where));
        Assert.Contains("none of pe-a (port dc), pe-b (port dc) has a route of its own", none.Detail, StringComparison.Ordinal);
    }

    // Both instances are hosts of the port's subnet, at both sites: that subnet leads nobody to them.
    [Fact]
    public async Task The_subnet_of_the_port_is_no_route_to_the_service()
    {
        _lab.B.Fib["10.1.1.10"] = new FibInfo("default", "10.1.1.0/24", "forward", null, "dc", null, null);
        Assert.Empty((await PlanAsync()).Info.Obstacles);
    }

    [Fact]
    public async Task Prefixes_of_one_service_at_two_sites_are_a_split()
    {
        _lab.A.Fib.Remove("fd00:1:1::10");
        _lab.B.Fib["fd00:1:1::10"] = new FibInfo("default", "fd00:1:1::10/128", "forward", null, "dc", null, null);
        Obstacle split = Assert.Single((await PlanAsync()).Info.Obstacles);
        Assert.Equal("group-split", split.Reason);
        Assert.Contains("10.1.1.10/32 is led to dc-a and fd00:1:1::10/128 to dc-b", split.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_PE_that_is_silent_is_an_obstacle_and_not_a_place_without_a_route()
    {
        _lab.B.Silent = true;
        Obstacle silent = Assert.Single((await PlanAsync()).Info.Obstacles);
        Assert.Equal(("peer-unreachable", "pe-b"), (silent.Reason, silent.Where));
    }

    [Fact]
    public async Task Of_a_prefix_that_nobody_can_be_asked_for_the_plan_says_so()
    {
        var lab = new PlanLab(Yaml.Replace("10.1.1.10/32, ", "10.1.7.0/24, ", StringComparison.Ordinal));
        lab.A.Fib["10.1.7.0"] = new FibInfo("default", "10.1.7.0/24", "forward", "10.1.1.9", "dc", null, null);
        PlanResult plan = await lab.PlanAsync("sip");
        Assert.Contains("nobody at pe-b can be asked whether proxy answers for 10.1.7.0/24", Assert.Single(plan.Info.Warnings),
            StringComparison.Ordinal);
    }

    // A migration of it that nobody leads any more can go either way: an instance runs behind both.
    [Fact]
    public async Task What_is_left_of_a_lost_migration_is_said_with_the_signals_that_end_it()
    {
        _lab.A.Migrations.Add(PlanLab.Migration("x1", PeMigrationState.Switched, 0, "10.1.1.10/32"));
        Obstacle left = Assert.Single((await PlanAsync()).Info.Obstacles);
        Assert.Equal("prefix-elsewhere", left.Reason);
        Assert.Contains("proxy runs behind both, so take it back", left.Detail, StringComparison.Ordinal);
        Assert.Contains("migrate signal abort x1", left.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void A_host_in_a_group_without_state_is_an_error_with_its_reason()
    {
        string yaml = Yaml.Replace("sites:", "hosts: [ { name: host-a, api: unix:/run/host-a.sock } ]\nsites:", StringComparison.Ordinal)
            .Replace("{ site: dc-a, pe:", "{ site: dc-a, host: host-a, pe:", StringComparison.Ordinal);
        string error = Assert.Single(MmsConfigLoader.Load(yaml, "mms.yaml").Errors).ToString();
        Assert.Contains("groups[0].servers[0].at[0].host", error, StringComparison.Ordinal);
        Assert.Contains("has no place in a group with stateless: true", error, StringComparison.Ordinal);

        // Without the word the host is needed.
        string stateful = Yaml.Replace("    stateless: true\n", "", StringComparison.Ordinal);
        Assert.Contains(MmsConfigLoader.Load(stateful, "mms.yaml").Errors, e => e.ToString().Contains("host", StringComparison.Ordinal));
    }

    // No host can say who owns it: a journal that was lost gets its epoch from the PEs, and the next plan asks them where it is.
    [Fact]
    public async Task A_lost_journal_is_rebuilt_without_hosts()
    {
        _lab.A.Migrations.Add(PlanLab.Migration("m7.1", PeMigrationState.TornDown, 4, "10.1.1.10/32"));
        Assert.Contains((await PlanAsync()).Info.Obstacles, o => o.Reason == "journal-old");
        Recovered found = await Recovery.AskAsync(
            _lab.Config, _lab, _lab.State, "user ops", new Dictionary<string, string>(), default);
        Assert.Equal((4L, 8L), (found.Groups["sip"].Epoch, found.NextMigration));
        _lab.State = ManagerMachine.Step(ManagerState.Empty, found, 1, "t");
        PlanResult plan = await PlanAsync();
        Assert.Empty(plan.Info.Obstacles);
        Assert.Equal((5L, "m8"), (plan.Moves[0].Epoch, plan.Moves[0].Migration));
    }

    private Task<PlanResult> PlanAsync(string to = "dc-b") => _lab.PlanAsync("sip", to);

    private static void Route(PlanPe pe, string? port)
    {
        foreach (string prefix in s_prefixes)
        {
            string address = prefix[..prefix.IndexOf('/', StringComparison.Ordinal)];
            if (port is null) pe.Fib.Remove(address);
            else pe.Fib[address] = new FibInfo("default", prefix, "forward", null, port, null, null);
        }
    }
}
