using System.Text.Json;
using SdnEdge.Core.Api;

namespace SdnEdge.Demo.Report;

/// <summary>All that a run with an outage yielded.</summary>
/// <param name="Facts">The outage.</param>
/// <param name="Residue">What is left over of it, and of the lab.</param>
/// <param name="Outage">The probes up to the way home.</param>
/// <param name="Home">The probes of the way home; null = it was not made.</param>
internal sealed record OutageResult(OutageFacts Facts, List<string> Residue, RunFacts Outage, RunFacts? Home);

/// <summary>Writes report.html and report.json of an outage, and of the way home in a folder of its own.</summary>
internal static class OutageReports
{
    /// <summary>Writes them.</summary>
    /// <param name="result">The run.</param>
    /// <param name="folder">Where to.</param>
    /// <param name="home">Name of the folder of the way home.</param>
    public static DemoReport Write(OutageResult result, DirectoryInfo folder, string home)
    {
        DemoReport? back = result.Home is null ? null : MigrationReports.Write(result.Home, folder.CreateSubdirectory(home));
        RunFacts facts = result.Outage with
        {
            Residue = result.Residue,
            Back = back is null ? null : MigrationReports.Back(back, $"{home}/report.html"),
        };
        RunAnalysis run = ReportBuilder.Analyse(facts);
        DemoReport report = OutageBuilder.Build(run, result.Facts, back);
        folder.Create();
        File.WriteAllText(Path.Combine(folder.FullName, "report.json"),
            JsonSerializer.Serialize(report, DemoReport.Json.For<DemoReport>()) + "\n");
        File.WriteAllText(Path.Combine(folder.FullName, "report.html"), OutageHtml.Render(run, report));
        return report;
    }
}
