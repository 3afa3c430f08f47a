using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Service;

// What the manager is told: before the first answer against the promise it has that on record.
internal sealed partial class ReplicatedVolume
{
    private readonly HashSet<StaleReport> _reporting = [];
    private string? _reportSaid;

    // A report was answered.
    private sealed record ReportAnswered(StaleReport Report, string? WhyNot);

    private void Report(ulong epoch, ulong generation, ulong? from)
    {
        var report = new StaleReport(Volume.Metadata.Identity, epoch, generation, from, Volume.Metadata.Name);
        if (_around.Report is not { } ask)
        {
            TakeReport(new ReportAnswered(report, "the configuration names no manager (manager: { api: ... })"));
            return;
        }

        // The machine makes it again while the answer is under way.
        if (_reporting.Add(report)) _ = Task.Run(() => AskAsync(ask, report));
    }

    private async Task AskAsync(Func<StaleReport, CancellationToken, Task<string?>> ask, StaleReport report)
    {
        string? why;
        try
        {
            why = await ask(report, _stop.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // Stopping: it is made again after the next start.
            return;
        }

        _inputs.Writer.TryWrite(new ReportAnswered(report, why));
    }

    private void TakeReport(ReportAnswered answer)
    {
        StaleReport report = answer.Report;
        _reporting.Remove(report);
        string what = report.StaleFrom is { } from ? $"the replica is stale from sequence {from} on" : "the replica has everything again";
        if (answer.WhyNot is { } why)
        {
            if (why != _reportSaid) _around.Tell("report", $"{what}: that is not on record at the manager, and is reported again: {why}");
            _reportSaid = why;
            return;
        }

        _reportSaid = null;

        // What was reported under an older epoch is reported anew under this one.
        if (_primary?.Record.Epoch != report.Epoch) return;
        _around.Tell("report", $"{what}: the manager has it on record (epoch {report.Epoch}, report {report.Generation})");
        Take(report.StaleFrom is null ? new InSyncConfirmed(report.Generation) : new StaleConfirmed(report.Generation));
    }
}
