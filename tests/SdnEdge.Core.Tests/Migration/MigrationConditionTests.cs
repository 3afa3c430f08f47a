using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using Xunit;

namespace SdnEdge.Core.Tests.Migration;

/// <summary>When a migration on a PE is as somebody waits for it to be.</summary>
public class MigrationConditionTests
{
    private static readonly OrderGateInfo Ingress = Gate("pe-c", "10.255.0.3"), Source = Gate("pe-a", "10.255.0.1");

    // The source's own gate opens when its end of the tunnel is torn down: who waits for the ingress PEs does not wait for it.
    [Theory]
    [InlineData(false, false, false, false)]
    [InlineData(true, false, true, false)]
    [InlineData(false, true, false, false)]
    [InlineData(true, true, true, true)]
    public void Markers_of_the_ingress_PEs_make_it_direct_and_with_those_of_the_source_settled(
        bool ofIngress, bool ofSource, bool direct, bool settled)
    {
        MigrationInfo at = With(Ingress with { Proved = ofIngress }, Source with { Proved = ofSource });
        Assert.Equal((direct, settled), (at.Is(MigrationCondition.Direct), at.Is(MigrationCondition.Settled)));
    }

    [Fact]
    public void It_is_settled_when_what_was_held_is_delivered_too_and_nobody_without_markers_sent_anything()
    {
        MigrationInfo settled = With(Ingress with { Proved = true }, Source with { Proved = true });
        Assert.Null(settled.WhyNotSettled());
        Assert.Contains("the hold still has 3", (settled with { Hold = Hold(3) }).WhyNotSettled());
        Assert.Null((settled with { Hold = Hold(0) }).WhyNotSettled());
        Assert.Contains("packets of pe-c", With(Ingress with { Proved = true, PacketsHeldNow = 1 }).WhyNotSettled());
        Assert.Contains("send no flush markers", With(Gate("10.9.9.9", "10.9.9.9") with { SendsMarkers = false, PacketsHeldTotal = 1 })
            .WhyNotSettled());
        Assert.Contains("send no flush markers", (settled with { Order = settled.Order! with { Unordered = 1 } }).WhyNotSettled());
        Assert.Contains("copies", (settled with { Order = settled.Order! with { Proved = false } }).WhyNotSettled());
        Assert.Contains("pe-c, pe-a have not", With(Ingress, Source).WhyNotSettled());
        Assert.Contains("no order", (settled with { Order = null }).WhyNotSettled());
        Assert.False((settled with { Order = null }).Is(MigrationCondition.Direct));
    }

    [Fact]
    public void It_is_gone_when_it_is_over_and_the_tables_have_nothing_of_it()
    {
        MigrationInfo over = With() with { State = PeMigrationState.TornDown, LeftOver = [] };
        Assert.True(over.Is(MigrationCondition.Gone));
        Assert.True((over with { State = PeMigrationState.Aborted }).Is(MigrationCondition.Gone));
        Assert.False((over with { LeftOver = ["tunnel mig-m1"] }).Is(MigrationCondition.Gone));
        Assert.False((over with { LeftOver = null }).Is(MigrationCondition.Gone));
        Assert.False((over with { State = PeMigrationState.Advertised }).Is(MigrationCondition.Gone));
    }

    [Fact]
    public void A_hold_is_empty_when_it_was_released_and_has_nothing_or_is_not_there()
    {
        Assert.False((With() with { Hold = Hold(0), State = PeMigrationState.Prepared }).Is(MigrationCondition.HoldEmpty));
        Assert.True(With().Is(MigrationCondition.HoldEmpty));
        Assert.True((With() with { Hold = Hold(0) }).Is(MigrationCondition.HoldEmpty));
        Assert.False((With() with { Hold = Hold(1) }).Is(MigrationCondition.HoldEmpty));
        Assert.True(With().Is(MigrationCondition.TunnelUp));
        Assert.False((With() with { TunnelUp = false }).Is(MigrationCondition.TunnelUp));
    }

    // Not to have been asked is no answer of the servers.
    [Fact]
    public void Servers_answer_when_they_were_asked_and_none_is_silent()
    {
        Assert.False(With().Is(MigrationCondition.ServersAnswer));
        Assert.False((With() with { Silent = "no answer has come from 10.1.1.10 on port dc" }).Is(MigrationCondition.ServersAnswer));
        Assert.True((With() with { Silent = "" }).Is(MigrationCondition.ServersAnswer));
    }

    [Fact]
    public void Who_waits_for_a_condition_waits_for_one_that_is_not_known_and_who_waits_for_a_change_does_not()
    {
        MigrationInfo known = With() with { Change = 5 };
        var until = new MigrationWait(TimeSpan.FromSeconds(1), Until: MigrationCondition.TunnelUp);
        Assert.Equal((false, false, true), (until.IsOver(null), until.IsOver(known with { TunnelUp = false }), until.IsOver(known)));
        var after = new MigrationWait(TimeSpan.FromSeconds(1), After: 5);
        Assert.Equal((true, false, true), (after.IsOver(null), after.IsOver(known), after.IsOver(known with { Change = 6 })));
        Assert.True(new MigrationWait().IsOver(known));
    }

    private static OrderGateInfo Gate(string ingress, string loopback)
        => new(ingress, loopback, true, GateOpening.Closed, 1, 0, false, null, null, null, 0, 0, 0, 0);

    private static HoldInfo Hold(long now) => new("draining", now, now, 0, 0, 0, 0, 0, 0, 0);

    private static MigrationInfo With(params OrderGateInfo[] gates) => new(
        "m1", MigrationRole.Target, PeMigrationState.Advertised, 1, "default", [], "10.255.0.1", "mig-m1", true, null, null,
        new OrderInfo(7, gates.All(g => g.Proved || !g.SendsMarkers), gates, 0, 0));
}
