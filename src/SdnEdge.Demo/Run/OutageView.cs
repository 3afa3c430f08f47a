using SdnEdge.Demo.Report;
using Spectre.Console;

namespace SdnEdge.Demo.Run;

/// <summary>What the demo of an outage shows at its end: what happened when, what was lost when, the figures and the verdict.</summary>
internal static class OutageView
{
    /// <summary>Shows it.</summary>
    public static void Show(IAnsiConsole console, DemoReport report, DirectoryInfo folder)
    {
        OutageReport outage = report.Outage!;
        console.WriteLine();
        Table events = new Table().Border(TableBorder.Minimal).AddColumn(new TableColumn("ms").RightAligned())
            .AddColumn("from the failure on");
        foreach ((double at, string what) in OutageHtml.Events(report, outage)) events.AddRow($"{at:N1}", Markup.Escape(what));
        console.Write(events);

        Table lost = new Table().Border(TableBorder.Minimal).AddColumn("packets sent");
        foreach (string column in new[] { "sent", "delivered", "lost", "duplicated", "reordered", "longest ms" })
            lost.AddColumn(new TableColumn(column).RightAligned().NoWrap());
        foreach (LedgerRow row in report.Ledger)
        {
            LedgerCounts f = row.Forward;
            lost.AddRow(Markup.Escape(row.Stage), $"{f.Sent:N0}", $"{f.Delivered:N0}",
                f.Lost == 0 ? "[green]0[/]" : $"[yellow]{f.Lost:N0}[/]",
                $"{f.Duplicated:N0}", $"{f.Reordered:N0}", f.MaxDelayMs is { } max ? $"{max:0.0}" : "-");
        }

        console.Write(lost);
        var grid = new Grid().AddColumn().AddColumn();
        Row("records", $"{Count(outage.RecordsAcknowledged)} acknowledged to a client, {Count(outage.RecordsLostAcknowledged)} of them "
            + $"lost, {Count(outage.RecordsLostFlushed)} flushed ones; disk {outage.DiskMode ?? "mode not told"}, the replica "
            + $"{Count(outage.LagBytes)} bytes and {outage.LagMs?.ToString("0.0") ?? "-"} ms behind; RPO "
            + $"{outage.RpoMs?.ToString("0.0") ?? "-"} ms");
        Row("ran twice", outage.DualActive switch { true => "YES", false => "no", null => "not known" });
        Row("hold", $"{report.Hold.PacketsHeld:N0} packets held, {report.Hold.Released:N0} released, {report.Hold.Overflow:N0} dropped");
        Row("tcp", outage.TcpSurvived switch
        {
            true => "the connection went on",
            false => $"the connection broke ({report.Tcp.LastError ?? "no reason"})",
            null => "not known",
        });
        foreach (string line in outage.OldSite) Row("failed site", line);
        foreach (string note in outage.Notes) Row("note", note);
        if (report.Back is { } home)
            Row("the way home", $"{(home.Passed ? "passed" : "NOT PASSED")}; {home.Lost:N0} of {home.Sent:N0} packets lost, "
                + $"{home.Reordered:N0} reordered, stop to run {home.StopToRunMs?.ToString("0.0") ?? "-"} ms");
        Row("left over", report.Residue.Count == 0 ? "nothing" : string.Join(", ", report.Residue));
        console.Write(grid);
        console.WriteLine();
        foreach (string failure in report.Failures) console.MarkupLine($"[red]failed:[/] {Markup.Escape(failure)}");
        string failed = $"{report.Parameters.Server} failed at {report.Parameters.From} ({outage.Failed})";
        console.MarkupLine(report.Passed
            ? $"[green bold]passed:[/] {Markup.Escape(failed)}, answered at {Markup.Escape(report.Parameters.To)} after "
                + $"{outage.FirstReplyMs / 1e3:0.0} s and is home again; {outage.RecordsLostAcknowledged:N0} of "
                + $"{outage.RecordsAcknowledged:N0} records lost"
            : $"[red bold]not passed:[/] {Markup.Escape(failed)}");
        console.MarkupLine($"[grey]report:[/] {Markup.Escape(Path.Combine(folder.FullName, "report.html"))}");

        void Row(string name, string value) => grid.AddRow($"[grey]{name}[/]", Markup.Escape(value));

        static string Count(long? n) => n?.ToString("N0") ?? "not known how many";
    }
}
