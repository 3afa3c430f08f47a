using SdnEdge.Demo.Report;
using Xunit;

namespace SdnEdge.Lab.Tests.Report;

public sealed class ExitRuleTests
{
    private static readonly DemoReport Good = ReportBuilder.Build(ReportBuilder.Analyse(new SyntheticRun().Facts()));

    [Fact]
    public void A_good_report_has_no_failed_condition() => Assert.Empty(ExitRule.Judge(Good, null));

    public static TheoryData<string> Conditions => [.. Breaks.Keys];

    /// <summary>Each breaks one condition and nothing else.</summary>
    private static readonly Dictionary<string, Func<DemoReport, DemoReport>> Breaks = new(StringComparer.Ordinal)
    {
        ["packets lost"] = r => r with { Ingress = [r.Ingress[0], r.Ingress[1] with { Lost = 1 }, r.Ingress[2]] },
        ["packets duplicated"] = r => r with { Ingress = [r.Ingress[0] with { Duplicated = 1 }] },
        ["server to client-d: 1 of"] = r => r with { Reverse = [r.Reverse[0], r.Reverse[1] with { Lost = 1 }, r.Reverse[2]] },
        ["reordered from the switch"] = r => r with { Ingress = [r.Ingress[0] with { ReorderedSwitchToRelease = 1 }] },
        ["client-c to server: 1 packets reordered"] = r => r with { Ingress = [r.Ingress[0] with { Reordered = 1, OrderKept = true }] },
        ["server to client-c: 1 packets reordered"] = r => r with { Reverse = [r.Reverse[0] with { Reordered = 1, OrderKept = true }] },
        ["nothing was sent"] = r => r with { Reverse = [r.Reverse[0] with { Sent = 0 }] },
        ["never took the direct path"] = r => r with { Ingress = [r.Ingress[0] with { DirectPathAfterMs = null }] },
        ["went the old way"] = r => r with { Switch = r.Switch with { StalePackets = 1 } },
        ["old leg"] = r => r with { Switch = r.Switch with { StaleAtServerLeg = 1 } },
        ["dropped by a cap"] = r => r with { Hold = r.Hold with { Overflow = 1 } },
        ["tcp: 1 resets"] = r => r with { Tcp = r.Tcp with { Resets = 1 } },
        ["came back wrong"] = r => r with { Tcp = r.Tcp with { WrongBytes = 1 } },
        ["nothing was transferred"] = r => r with { Tcp = r.Tcp with { Bytes = 0 } },
        ["not torn down"] = r => r with { Tunnel = r.Tunnel with { TornDown = false } },
        ["left over: pe-a tunnel mig-1"] = r => r with { Residue = ["pe-a tunnel mig-1"] },
        ["no ingress was probed"] = r => r with { Ingress = [] },
        ["probe not valid"] = r => r with { Probe = r.Probe with { Valid = false, WhyInvalid = "its buffer overflowed" } },
    };

    [Theory]
    [MemberData(nameof(Conditions))]
    public void One_broken_condition_fails_the_run_and_is_named_alone(string condition)
    {
        string failure = Assert.Single(ExitRule.Judge(Breaks[condition](Good), null));
        Assert.Contains(condition, failure, StringComparison.Ordinal);
    }

    [Fact]
    public void What_the_migration_said_fails_the_run() =>
        Assert.Equal(["migration: pe-b refused release"], ExitRule.Judge(Good, "pe-b refused release"));

    [Fact]
    public void Reordering_at_the_step_to_the_direct_path_is_counted_and_allowed_for_an_ingress_without_flush_markers() =>
        Assert.Empty(ExitRule.Judge(Good with { Ingress = [.. Good.Ingress.Select(i => i with { Reordered = 40 })] }, null));
}
