using System.Text;

namespace SdnEdge.Demo.Report;

/// <summary>The disk, and the way back, in the report's page. Pure.</summary>
internal static class StorageHtml
{
    private const int ShownOfHash = 16;

    /// <summary>The figures that matter.</summary>
    public static void Tiles(StorageReport disk, Action<string, string, string, bool?> tile)
    {
        tile(disk.Lost?.ToString("N0") ?? "–", "", $"of {disk.WritesAcknowledged?.ToString("N0") ?? "–"} acknowledged records lost",
            disk.Lost is { } lost ? lost == 0 : null);
        tile(disk.RootEqual switch { true => "equal", false => "differ", null => "–" }, "", "the disks of both sites, read afterwards",
            disk.RootEqual);
        tile(disk.DrainMs is { } drained ? $"{drained:0.0}" : "–", "ms", $"to prove that the replica has everything; it lacked "
            + $"{disk.LagBytesAtSignal?.ToString("N0") ?? "–"} bytes at the signal", null);
        tile(disk.SyncLatencyMs is { } sync ? $"{sync.P50:0.0}" : "–", "ms", $"a synchronous write (p99 "
            + $"{disk.SyncLatencyMs?.P99.ToString("0.0") ?? "–"}; before: {disk.AsyncLatencyMs?.P50.ToString("0.0") ?? "–"})", null);
    }

    /// <summary>What both disks are, and how writes were answered.</summary>
    public static void Card(StringBuilder page, StorageReport disk, DemoReport report)
    {
        page.Append($"<section class=\"card\">\n<h2>The disk: volume {Svg.Escape(disk.Volume)}, {disk.SizeBytes / 1048576.0:N0} MiB</h2>\n"
            + "<div class=\"scroll\"><table>\n<thead><tr><th>read at</th><th>bytes</th><th>records that are to be there</th><th>lost</th>"
            + "<th>damaged</th><th>SHA-256 of all bytes</th></tr></thead>\n<tbody>\n");
        foreach (DiskReport d in disk.Disks)
        {
            page.Append($"<tr><th>{Svg.Escape(d.Site)} ({Svg.Escape(d.Store)})</th>").Append(d.Fault is { } fault
                ? $"<td colspan=\"5\" class=\"bad\">{Svg.Escape(fault)}</td></tr>\n"
                : $"<td>{d.SizeBytes:N0}</td><td>{d.RecordsExpected:N0}</td><td class=\"{(d.Lost == 0 ? "good" : "bad")}\">{d.Lost:N0}</td>"
                    + $"<td class=\"{(d.Damaged == 0 ? "good" : "bad")}\">{d.Damaged:N0}</td>"
                    + $"<td title=\"{d.Sha256}\">{d.Sha256[..Math.Min(ShownOfHash, d.Sha256.Length)]}…</td></tr>\n");
        }

        page.Append("</tbody></table></div>\n<div class=\"scroll\"><table>\n<thead><tr><th>writes are answered</th><th>by</th><th>from, "
            + "ms</th>"
            + "<th>asked for, ms</th><th>proved, ms</th><th>replica lacked then, bytes</th></tr></thead>\n<tbody>\n");
        foreach (ModeReport m in disk.ModeChanges)
        {
            page.Append($"<tr><th>{Svg.Escape(m.Mode)}</th><td>{Svg.Escape(m.Store)}</td><td>{m.AtMs:N0}</td><td>{m.AskedMs:N0}</td>"
                + $"<td>{m.ReachedMs?.ToString("N0") ?? "–"}</td><td>{m.LagBytes:N0}</td></tr>\n");
        }

        page.Append("</tbody></table></div>\n<p class=\"foot\">The server writes numbered records of 4 KiB, each with its checksum and "
            + "each durable "
            + "(fdatasync) before the next, and reads an earlier one back after each: ")
            .Append($"{disk.ReadBack?.ToString("N0") ?? "–"} read back, {disk.ReadBackWrong?.ToString("N0") ?? "–"} wrong, "
                + $"{disk.WriteErrors?.ToString("N0") ?? "–"} requests failed, {disk.WritesAfterMove:N0} written after the move. What is "
                + $"lost, and "
                + $"whether the disks are equal, is read from both disks at the end of the "
                + $"run{(report.Back is null ? "" : ", after the way back")}"
                + ". Latencies are by the server's clock, which stands still while it does.");
        if (disk.Reverse is { } r)
        {
            page.Append(Svg.Escape(r.Connected ? $" After the move {r.From} replicates to {r.To}, "
                + $"{r.LinkedAfterMs?.ToString("0") ?? "–"} ms after the server's start there." : $" After the move {r.To} does not "
                + $"follow {r.From}."));
        }

        page.Append("</p>\n</section>\n");
    }

    /// <summary>The way back.</summary>
    public static void Back(StringBuilder page, BackReport back, string title = "And back")
        => page.Append($"<section class=\"card\">\n<h2>{Svg.Escape(title)}</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>in the same "
            + "run</th><th>sent</th>"
            + "<th>lost</th><th>duplicated</th><th>reordered</th><th>gap, ms</th><th>stop to run, ms</th><th>drained in, "
            + "ms</th></tr></thead>\n"
            + $"<tbody>\n<tr><th><a "
            + $"href=\"{Svg.Escape(back.Report)}\">{(back.Passed ? "passed" : "not passed")}</a></th><td>{back.Sent:N0}</td>"
            + $"<td>{back.Lost:N0}</td><td>{back.Duplicated:N0}</td><td>{back.Reordered:N0}</td>"
            + $"<td>{back.GapMs?.ToString("0") ?? "–"}</td><td>{back.StopToRunMs?.ToString("0") ?? "–"}</td>"
            + $"<td>{back.DrainMs?.ToString("0.0") ?? "–"}</td></tr>\n</tbody></table></div>\n"
            + "</section>\n");
}
