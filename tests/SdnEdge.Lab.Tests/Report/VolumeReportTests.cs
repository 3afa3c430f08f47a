using System.Text.Json;
using System.Text.Json.Nodes;
using SdnEdge.Core.Api;
using SdnEdge.Demo.Report;
using Xunit;

namespace SdnEdge.Lab.Tests.Report;

/// <summary>The volumes in the report of a migration.</summary>
public sealed class VolumeReportTests
{
    private const long Ms = 1_000_000, Begin = 5_000 * Ms;

    [Fact]
    public void Each_volume_is_there_with_its_times_in_order_and_how_long_its_writes_waited_for_the_other_site()
    {
        MigrationStatus migration = SyntheticMigration.Of("moved");
        var volume = new VolumeMoveStatus("vs", "vs-<disk>", Begin + (60 * Ms), Begin + (90 * Ms), 2.5, 4711, Begin + (205 * Ms),
            Begin + (480 * Ms), Begin + (600 * Ms), null, 141);
        migration = migration with { Moves = [migration.Moves[0] with { Volumes = [volume] }] };
        RunAnalysis run = ReportBuilder.Analyse(MigrationReports.Facts(migration));
        DemoReport report = ReportBuilder.Build(run);
        VolumeReport told = Assert.Single(report.Volumes);
        Assert.True(told.SyncAskedMs < told.InSyncMs && told.InSyncMs < told.SealedMs && told.SealedMs < told.GrantedMs, $"{told}");
        Assert.Equal((141.0, 2.5, 4711ul), (told.SyncExposureMs!.Value, told.DrainMs!.Value, told.SealedAt!.Value));

        // The drain, from stop to run, and two seconds.
        Assert.Equal(2.5 + 300 + 2_000, told.SyncExposureBoundMs!.Value);
        JsonNode json = JsonNode.Parse(JsonSerializer.Serialize(report, DemoReport.Json))!;
        Assert.Equal(141.0, (double)json["volumes"]![0]!["syncExposureMs"]!);
        string page = HtmlReport.Render(run, report);
        Assert.Contains("<h2>Volumes</h2>", page, StringComparison.Ordinal);
        Assert.Contains("vs-&lt;disk&gt;", page, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_volumes_there_is_no_table()
    {
        RunAnalysis run = ReportBuilder.Analyse(MigrationReports.Facts(SyntheticMigration.Of("moved")));
        DemoReport report = ReportBuilder.Build(run);
        Assert.Empty(report.Volumes);
        Assert.DoesNotContain("<h2>Volumes</h2>", HtmlReport.Render(run, report), StringComparison.Ordinal);
    }
}
