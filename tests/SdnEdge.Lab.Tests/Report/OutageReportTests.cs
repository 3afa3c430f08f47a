using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Demo.Report;
using SdnEdge.Lab.Disks;
using Xunit;

namespace SdnEdge.Lab.Tests.Report;

/// <summary>The report of an outage, of facts that are made up: the server dies at <see cref="SyntheticRun.Switch"/>.</summary>
public sealed class OutageReportTests
{
    private const long Ms = SyntheticRun.Ms, Failed = SyntheticRun.Switch - (160 * Ms);
    private static readonly DemoReport s_home = ReportBuilder.Build(ReportBuilder.Analyse(new SyntheticRun().Facts()));

    [Fact]
    public void A_good_outage_keeps_every_promise_and_its_figures_count_from_the_failure()
    {
        DemoReport report = Build();
        Assert.Equal([], report.Failures);
        Assert.True(report.Passed);
        OutageReport outage = report.Outage!;
        Assert.Equal(("outage", "guest", "kill", "async"), (report.Scenario, outage.Failed, outage.Fence, outage.DiskMode));
        Assert.Equal((150, 160, 170, 200, 360), (outage.DetectedMs, outage.FlippedMs, outage.BegunMs, outage.FencedMs, outage.ActivatedMs));
        Assert.Equal((100, 0, 0, 0), (outage.RecordsAcknowledged, outage.RecordsLostAcknowledged, outage.RecordsLostFlushed, outage.RpoMs));
        Assert.Equal((false, false), (outage.DualActive, outage.TcpSurvived));
        Assert.Null(outage.PointAgeMs);
        Assert.Null(outage.SuspectedMs);
        Assert.Equal(["unnoticed", "operator", "fence", "activate", "boot"], report.Stages.Select(s => s.Name));
        Assert.Equal(report.Ingress.Sum(s => s.Sent), report.Ledger.Sum(r => r.Forward.Sent));
        string page = OutageHtml.Render(Analyse(Good()), report);
        Assert.Contains("0 of 100 records lost", page, StringComparison.Ordinal);
        Assert.DoesNotContain("NaN", page, StringComparison.Ordinal);
    }

    /// <summary>Record n was durable 50 ms after record n - 1, record 100 with the failure.</summary>
    [Theory]
    [InlineData(3, 100, 25, null)]
    [InlineData(3, 100, 0, null)]
    [InlineData(99, 4900, 5000, null)]
    [InlineData(99, 4900, 25, "and the replica was")]
    public void What_is_lost_is_to_be_no_older_than_what_the_replica_lacked(int lost, double rpo, double lagMs, string? failure)
    {
        DemoReport report = Build(f =>
        {
            f.Recovered = Recovered(100 - lost, lost);
            f.Owner = Owner(ReplicationMode.Async, lagMs / 1e3);
        });
        Assert.Equal((lost, lost, rpo), (report.Outage!.RecordsLostAcknowledged, report.Outage.RecordsLostFlushed, report.Outage.RpoMs));
        if (failure is null) Assert.Equal([], report.Failures);
        else Assert.Contains(failure, Assert.Single(report.Failures), StringComparison.Ordinal);
    }

    public static TheoryData<string> Promises => [.. s_broken.Keys];

    // Each breaks one promise and nothing else.
    private static readonly Dictionary<string, Action<OutageFacts>> s_broken = new(StringComparer.Ordinal)
    {
        ["twice: the guest sent 3 frames"] = f => f.Twice = 3,
        ["twice: the guest was not heard"] = f => f.Twice = null,
        ["flip: the PE of dc-a"] = f => f.Backup = null,
        ["mode sync"] = f => (f.Recovered, f.Owner) = (Recovered(99, 1), Owner(ReplicationMode.Sync, 0)),
        ["of no moment"] = f => f.Recovered = Recovered(100, 1) with { Gaps = 1 },
        ["had written over 2"] = f => f.Recovered = Recovered(50, 0) with { Hidden = 2 },
        ["was not read"] = f => f.Recovered = null,
        ["is not protected again"] = f => f.ProtectedAgainNs = null,
        ["the failed site: it runs"] = f => f.Wrong.Add("the failed site: it runs"),
    };

    [Theory]
    [MemberData(nameof(Promises))]
    public void A_promise_that_was_not_kept_is_named_alone(string promise)
        => Assert.Contains(promise, Assert.Single(Build(s_broken[promise]).Failures), StringComparison.Ordinal);

    [Fact]
    public void Without_a_fail_over_nothing_is_invented()
    {
        DemoReport report = Build(f => (f.Failover, f.BegunNs, f.Recovered, f.Twice) = (null, null, null, null));
        OutageReport outage = report.Outage!;
        Assert.Null(outage.Fence);
        Assert.Null(outage.ActivatedMs);
        Assert.Null(outage.FirstReplyMs);
        Assert.Null(outage.RecordsLostAcknowledged);
        Assert.Null(outage.RpoMs);
        Assert.Null(outage.DualActive);
        Assert.False(report.Passed);
    }

    [Fact]
    public void The_parts_of_a_stream_before_and_after_a_time_are_each_numbered_from_0()
    {
        StreamFacts all = new SyntheticRun { FateOf = n => n is 10 or 4000 ? SyntheticRun.Fate.Lost : SyntheticRun.Fate.Arrives }
            .Facts().Forward[1];
        long at = SyntheticRun.Origin + (3000 * Ms);
        StreamAnalysis[] parts = [.. new[] { false, true }.Select(after => OutageBuilder.Part(all, at, after))
            .Select(s => StreamAnalysis.Of(s.Stream, s.Sent, s.Received))];
        Assert.Equal((3000, 1, 0), (parts[0].Sent, parts[0].Lost, parts[0].Unknown));
        Assert.Equal((2000, 1, 0), (parts[1].Sent, parts[1].Lost, parts[1].Unknown));
        Assert.Equal(at, parts[1].FirstSentNs);
    }

    private static DemoReport Build(Action<OutageFacts>? edit = null)
    {
        OutageFacts facts = Good();
        edit?.Invoke(facts);
        return OutageBuilder.Build(Analyse(facts), facts, s_home);
    }

    private static RunAnalysis Analyse(OutageFacts facts)
    {
        RunFacts run = new SyntheticRun().Facts() with { Reverse = [] };
        return ReportBuilder.Analyse(run with
        {
            Move = OutageBuilder.Move(run.Move, facts, OutageBuilder.FirstReplyNs(facts, run.Forward)),
        });
    }

    private static OutageFacts Good()
    {
        var first = new BootLog(1);
        first.Take(new DiskWord(1, 100, 99, 0, 0, false,
            [.. Enumerable.Range(1, 100).Select(n => new DiskWrite(n, Failed - ((101 - n) * 50 * Ms), 50 * Ms, Failed))]), 1);
        return new OutageFacts
        {
            Failed = "guest", Policy = "cold", From = "dc-a", To = "dc-b", FailedNs = Failed, BegunNs = Failed + (170 * Ms),
            Backup = new BackupInfo([], 1, 0, 0, Failed + (150 * Ms), Failed + (160 * Ms), Failed + (160 * Ms), null, null),
            Failover = Failover(), Owner = Owner(ReplicationMode.Async, 0.03), First = first, Recovered = Recovered(100, 0), Twice = 0,
            HomeNs = SyntheticRun.End, ProtectedAgainNs = SyntheticRun.End + Ms, TcpSurvived = false,
        };
    }

    private static MigrationStatus Failover()
    {
        MigrationStatus moved = SyntheticMigration.Of("moved");
        OrderTime Order(string host, ServerOrder order, ServerState state, long afterMs) => new(host, Failed, Failed + (afterMs * Ms),
            new ServerReply("vs", order, 2, state, false, Failed + (afterMs * Ms)));
        return moved with
        {
            Moves =
            [
                .. moved.Moves.Select(m => m with
                {
                    Orders = [Order("host-a", ServerOrder.Fence, ServerState.Absent, 200),
                        Order("host-b", ServerOrder.Activate, ServerState.Running, 360)],
                }),
            ],
        };
    }

    private static RecoveredRecords Recovered(long last, long lost)
        => new("store-b", 100, last, lost, lost == 0 ? null : 101 - lost, 0, 0, 5, 0);

    private static VolumeInfo Owner(ReplicationMode mode, double lagSeconds) => new(
        "vs-disk", Guid.Empty, 64 << 20, OwnerRole.Owner, 1, 1, null, 0, 0, null,
        new VolumeReplicationInfo(mode, mode, null, default, false, true, new LagInfo(4096, lagSeconds, 0, 0, default), 1, 1, 1, 1, 40, 0,
            0, null, []), null, []);
}
