using System.Collections.Immutable;
using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Drivers;

/// <content>Whether routers will follow: reflectors, providers, damping, what is left at PEs.</content>
public sealed partial class PlannerTests
{
    // ReflectorTests.A_reflector_with_a_route_of_its_own_hides_a_clients_better_one shows why. Each other session may bring the route.
    [Theory]
    [InlineData(true, "")]
    [InlineData(false, "fd00:ff::2")]             // the target itself
    [InlineData(false, "10.255.0.9")]             // nobody knows what that is: it may be a reflector
    [InlineData(true, "10.255.0.4")]              // a PE that is known and reflects to nobody
    [InlineData(false, "10.255.0.4 reflects")]
    [InlineData(true, "10.255.0.9 down")]
    [InlineData(true, "10.255.0.9 of another AS")]
    [InlineData(false, "without the source")]     // not of the source's making
    public async Task Source_that_reflects_hides_the_targets_route(bool hidden, string other)
    {
        var lab = new PlanLab(PlanLab.Yaml.Replace("ingress: [pe-a, pe-c]", "ingress: [pe-a, pe-c, pe-d]", StringComparison.Ordinal)
            .Replace("  - { name: pe-c, api: unix:/run/pe-c.sock }",
                "  - { name: pe-c, api: unix:/run/pe-c.sock }\n  - { name: pe-d, api: unix:/run/pe-d.sock }", StringComparison.Ordinal));
        lab.Pes["pe-d"] = new PlanPe { Node = lab.Pes["pe-c"].Node with { Name = "pe-d", RouterId = "10.255.0.4",
            Loopbacks = ["10.255.0.4"] } };
        lab.Pes["pe-d"].Peers.AddRange([PlanLab.Peer("10.255.0.2"), PlanLab.Peer("10.255.0.3", client: other.EndsWith("reflects"))]);
        lab.A.Peers.AddRange([PlanLab.Peer("10.255.0.2", client: true), PlanLab.Peer("10.255.0.3", client: true)]);
        if (other != "without the source") lab.Pes["pe-c"].Peers.Add(PlanLab.Peer("10.255.0.1"));
        else lab.Pes["pe-c"].Peers.Add(PlanLab.Peer("10.255.0.4"));
        if (other.Contains('.') || other.Contains(':'))
        {
            lab.Pes["pe-c"].Peers.Add(PlanLab.Peer(
                other.Split(' ')[0], state: other.EndsWith("down") ? "idle" : "established",
                peerAs: other.EndsWith("AS") ? 65001u : 65000u));
        }

        IReadOnlyList<Obstacle> obstacles = (await lab.PlanAsync()).Info.Obstacles;
        if (!hidden) Assert.Empty(obstacles);
        else Assert.Contains("give pe-c a BGP session with pe-b", Only(await lab.PlanAsync(), "no-direct-path", "pe-c").Detail);
    }

    /// <summary>A provider that is told nothing keeps the old path until the source withdraws it.</summary>
    [Theory]
    [InlineData("told as before", true)]
    [InlineData("told who leaves", false)]
    [InlineData("an older version", false)]
    [InlineData("told nothing", false)]
    [InlineData("down", false)]
    [InlineData("our AS", false)]
    public async Task A_provider_that_is_not_told_who_leaves_is_named(string what, bool warned)
    {
        var lab = new PlanLab();
        (string state, uint peerAs) = (what == "down" ? "idle" : "established", what == "our AS" ? 65000u : 64900u);
        lab.A.Peers.Add(PlanLab.Peer("172.17.1.2", state: state, peerAs: peerAs) with
        {
            PrefixesSent = what == "told nothing" ? 0 : 3,
            TellsLeaving = what == "an older version" ? null : what == "told who leaves",
        });
        Assert.Equal(warned, (await lab.PlanAsync()).Info.Warnings.Any(
            w => w.Contains("pe-a tells 172.17.1.2 (AS 64900) its routes unchanged") && w.Contains("leaving: true")));
    }

    [Fact]
    public Task Prefix_whose_moves_an_ingress_does_not_follow()
    {
        _lab.Pes["pe-c"].Damped.Add(new DampedInfo("10.1.1.12/32", 5, 10, 41.2, 1));
        return FindsAsync("damped", "10.1.1.12/32", ["pe-c", "42 s"]);
    }

    [Fact]
    public async Task Prefix_that_an_ingress_would_not_follow_once_more()
    {
        PlanResult first = await _lab.PlanAsync("web", with: c => c with { Cutover = "one-by-one" });
        PlanResult plan = first with { Moves = [first.Moves[1]] };

        // The first one that a PE hears of is no move; five are followed.
        for (int i = 1; i <= 6; i++)
        {
            Assert.Empty((await _lab.PlanAsync()).Info.Obstacles);
            _lab.State = _lab.State with { Migrations = _lab.State.Migrations.Add($"x{i}", PlanLab.Told(plan, $"x{i}",
                _lab.Now - TimeSpan.FromSeconds(100 - i))) };
        }

        await FindsAsync("damped", "10.1.1.12/32", ["5 moves", "within 180 s", "82 s"]);
        _lab.Now += TimeSpan.FromSeconds(82);
        Assert.Empty((await _lab.PlanAsync()).Info.Obstacles);
        _lab.Now -= TimeSpan.FromSeconds(82);
        _lab.Pes["pe-c"].Node = _lab.Pes["pe-c"].Node with { MoveDamping = new MoveDampingInfo(0, 180) };
        Assert.Empty((await _lab.PlanAsync()).Info.Obstacles);
    }

    // Routers of other makes say nothing of what they damp: that is told before it begins.
    [Fact]
    public async Task Prefix_that_flaps_is_warned_of_where_clients_come_by_PEs_of_other_makes()
    {
        var lab = new PlanLab(PlanLab.Yaml.Replace("ingress: [pe-a, pe-c]", "ingress: [pe-a, pe-c]\n    otherIngress: true",
            StringComparison.Ordinal));
        PlanResult plan = await lab.PlanAsync();
        for (int i = 1; i <= 3; i++)
        {
            Assert.DoesNotContain((await lab.PlanAsync()).Info.Warnings, w => w.Contains("damps", StringComparison.Ordinal));
            lab.State = lab.State with { Migrations = lab.State.Migrations.Add($"x{i}", PlanLab.Told(plan, $"x{i}",
                lab.Now - TimeSpan.FromSeconds(100 - i))) };
        }

        PlanInfo info = (await lab.PlanAsync()).Info;
        Assert.Empty(info.Obstacles);
        Assert.Contains(info.Warnings, w => w.StartsWith("10.1.1.12/32 moved 3 times within 15 minutes", StringComparison.Ordinal)
            && w.Contains("'bgp dampening'", StringComparison.Ordinal));
        lab.Now += TimeSpan.FromMinutes(15);
        Assert.DoesNotContain((await lab.PlanAsync()).Info.Warnings, w => w.Contains("damps", StringComparison.Ordinal));
    }

    // Guards: DampingChecks' rows. What ended a while ago is moves all the same.
    [Fact]
    public async Task Moves_of_migrations_that_are_kept_as_rows_count_too()
    {
        PlanResult plan = await _lab.PlanAsync("web");
        for (int i = 1; i <= 6; i++)
        {
            Assert.Empty((await _lab.PlanAsync()).Info.Obstacles);
            string at = (_lab.Now - TimeSpan.FromSeconds(100 - i)).ToString("O");
            var row = new EndedMigration(
                $"x{i}", plan.Request!, "me", null, at, at, MigrationOutcome.Moved, "dc-a", MoveStage.Ended, i, null, false, null,
                ["10.1.1.12/32"]);
            _lab.State = _lab.State with { Ended = _lab.State.Ended.Add(row.Id, row) };
        }

        await FindsAsync("damped", "10.1.1.12/32", ["5 moves", "within 180 s", "82 s"]);
    }

    [Fact]
    public async Task Prefix_in_a_path_that_a_migration_kept_as_a_row_has_left_at_a_PE()
    {
        PlanResult plan = await _lab.PlanAsync("web");
        var row = new EndedMigration(
            "x7", plan.Request!, "me", null, "", "", MigrationOutcome.GivenUp, "dc-a", MoveStage.Ended, 3, null, false, null, []);
        _lab.State = _lab.State with { Ended = _lab.State.Ended.Add(row.Id, row) };
        _lab.A.Migrations.Add(PlanLab.Migration("x7.1", PeMigrationState.Switched, 0, "10.1.1.12/32"));
        await FindsAsync("prefix-elsewhere", "10.1.1.12/32", ["x7.1", "of group web"]);
    }

    [Fact]
    public Task Local_pref_without_room()
    {
        _lab.B.Routes[0] = _lab.B.Routes[0] with { LocalPref = uint.MaxValue, NextHop = "10.255.0.3", Peer = "10.255.0.3" };
        return FindsAsync("local-pref-exhausted", "pe-a > pe-b", ["4294967295"]);
    }
}
