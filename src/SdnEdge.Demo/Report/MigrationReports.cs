using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Demo.Run;

namespace SdnEdge.Demo.Report;

/// <summary>The report of a migration from what the manager says alone: no probes ran, so it counts no packets end to end.</summary>
internal static class MigrationReports
{
    /// <summary>The facts that a manager's word makes.</summary>
    public static RunFacts Facts(MigrationStatus migration) => new()
    {
        Parameters = new ParametersReport(
            "", string.Join(", ", migration.Moves.SelectMany(m => m.Servers).Select(s => s.Name).Distinct()), migration.From,
            migration.To, 0, 0, null,
            migration.Moves.SelectMany(m => m.Paths).All(p => p.Hold is not { Disabled: true })),
        ForwardPacketsPerSecond = 0,
        ReversePacketsPerSecond = 0,
        Forward = [],
        Reverse = [],
        Tcp = null,
        Move = MoveFactsOf.From(migration, null),
        Residue = MoveFactsOf.Residue(migration),
        Invalid = [],
        Migration = migration,
        Probed = false,
    };

    /// <summary>A way back in short.</summary>
    /// <param name="back">Its report.</param>
    /// <param name="at">Where that is.</param>
    public static BackReport Back(DemoReport back, string at) => new(
        back.Passed, back.Ingress.Sum(s => s.Sent), back.Ingress.Sum(s => s.Lost), back.Ingress.Sum(s => s.Duplicated),
        back.Ingress.Sum(s => s.Reordered), back.Goals?.GapMs, back.Goals?.StopToRunMs, back.Storage?.DrainMs,
        back.Storage?.LagBytesAtSignal, at);

    /// <summary>Writes report.html and report.json of a migration.</summary>
    public static DemoReport Write(MigrationStatus migration, DirectoryInfo folder) => Write(Facts(migration), folder);

    /// <summary>Writes report.html and report.json of a run.</summary>
    public static DemoReport Write(RunFacts facts, DirectoryInfo folder)
    {
        RunAnalysis run = ReportBuilder.Analyse(facts);
        DemoReport report = ReportBuilder.Build(run);
        folder.Create();
        File.WriteAllText(Path.Combine(folder.FullName, "report.json"),
            JsonSerializer.Serialize(report, DemoReport.Json.For<DemoReport>()) + "\n");
        File.WriteAllText(Path.Combine(folder.FullName, "report.html"), HtmlReport.Render(run, report));
        return report;
    }
}
