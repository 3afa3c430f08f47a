using SdnEdge.Core.Api;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>What keeps a group from being protected, and what the manager's configuration says of it.</summary>
public sealed class ProtectionPlanTests
{
    private static readonly ProtectionRequest s_web = new(
        "web", ProtectionPolicy.Cold, false, [new SiteWatch("dc-a", new WatchedPart(Neighbor: "10.1.1.10"))]);

    [Fact]
    public async Task A_group_that_can_be_moved_can_be_protected_and_then_still_be_moved()
    {
        var lab = new PlanLab();
        (MovePlan? plan, IReadOnlyList<Obstacle> obstacles) = await ProtectionPlan.MakeAsync(lab.Config, lab, lab.State, s_web, "dc-b");
        Assert.Empty(obstacles);
        Assert.Equal(("dc-a", "dc-b", false), (plan!.From, plan.To, plan.Ahead));
        lab.State = ManagerMachine.Step(lab.State, new ProtectionRequested(s_web, plan, "ops"), 1, "2026-12-01T00:00:00.000Z");
        PathMove path = Assert.Single(lab.State.Protections["web"].Plan.Paths);
        Assert.Equal("protect-web-1.1", path.Id);
        Assert.Contains(path.TunnelKey, lab.State.KeysInUse());
        foreach (PlanPe pe in new[] { lab.A, lab.B })
            pe.Migrations.Add(PlanLab.Migration("protect-web-1.1", PeMigrationState.Prepared, 1, "10.1.1.10/32"));
        PlanResult move = await lab.PlanAsync();
        Assert.Empty(move.Info.Obstacles);
        Assert.NotEqual(path.TunnelKey, move.Moves[0].Paths[0].TunnelKey);
    }

    [Fact]
    public async Task All_that_is_in_the_way_is_said_but_for_what_only_time_decides()
    {
        var lab = new PlanLab();
        lab.B.Silent = true;
        (MovePlan? plan, IReadOnlyList<Obstacle> obstacles) = await ProtectionPlan.MakeAsync(
            lab.Config, lab, lab.State, s_web with { Watch = [new SiteWatch("dc-b", new WatchedPart(Carrier: "eth1"))] }, "dc-b");
        Assert.Null(plan);
        Assert.Contains(obstacles, o => o is { Reason: "watch-missing", Where: "dc-a" });
        Assert.Contains(obstacles, o => o is { Where: "pe-b" });
    }

    [Fact]
    public void The_configuration_says_how_a_group_is_protected()
    {
        MmsConfigResult read = MmsConfigLoader.Load(PlanLab.Yaml.Replace("    hold: { maxPackets: 1000 }\n", """
                hold: { maxPackets: 1000 }
                protect:
                  policy: cold
                  automatic: true
                  watch:
                    - { site: dc-a, bfd: 10.1.1.2 }
                    - { site: dc-b, carrier: eth1 }

            """, StringComparison.Ordinal), "/etc/sdnedge/mms.yaml");
        Assert.True(read.Config is not null, string.Join("\n", read.Errors));
        ProtectConfig protect = read.Config.Group("web")!.Protect!;
        Assert.True(protect.Automatic);
        Assert.Equal([("dc-a", "10.1.1.2", null), ("dc-b", null, "eth1")],
            protect.Watch.Select(w => (w.Site, w.Part.Bfd, w.Part.Carrier)));
        Assert.Null(read.Config.Group("db")!.Protect);
    }

    [Theory]
    [InlineData("{ site: dc-a, bfd: 10.1.1.2, carrier: eth1 }", "exactly one of bfd")]
    [InlineData("{ site: dc-a }", "exactly one of bfd")]
    [InlineData("{ site: dc-a, neighbor: web-1 }", "'web-1' is not an IP address")]
    [InlineData("{ site: dc-z, carrier: eth1 }", "there is no site 'dc-z'")]
    public void What_cannot_be_watched_is_refused_with_its_line(string watch, string error)
    {
        MmsConfigResult read = MmsConfigLoader.Load(PlanLab.Yaml.Replace("    hold: { maxPackets: 1000 }\n",
            $"    protect: {{ watch: [ {watch} ] }}\n", StringComparison.Ordinal), "/etc/sdnedge/mms.yaml");
        Assert.Contains(read.Errors, e => $"{e}".Contains(error, StringComparison.Ordinal));
    }
}
