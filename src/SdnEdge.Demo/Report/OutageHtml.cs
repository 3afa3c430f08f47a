using System.Text;

namespace SdnEdge.Demo.Report;

/// <summary>
/// <c>report.html</c> of an outage: the verdict, the figures that matter, what was lost when, the loss and delay picture, then the tables.
/// Pure.
/// </summary>
internal static class OutageHtml
{
    /// <summary>The page.</summary>
    public static string Render(RunAnalysis run, DemoReport report)
    {
        OutageReport outage = report.Outage!;
        var page = new StringBuilder();
        page.Append("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
            + "content=\"width=device-width, initial-scale=1\">\n")
            .Append("<title>SdnEdge: outage</title>\n<style>\n").Append(HtmlStyle.Css).Append("</style>\n</head>\n<body>\n<main>\n");
        Verdict(page, report, outage);
        Tiles(page, report, outage);
        page.Append("<section class=\"card picture\">\n<h2>Stage by stage, packet by packet</h2>\n").Append(Picture.Draw(run, report))
            .Append("</section>\n");
        Timeline(page, report, outage);
        Records(page, outage);
        if (report.Back is { } home) StorageHtml.Back(page, home, "Home again, by a planned move");
        HtmlReport.Ledger(page, report);
        HtmlReport.Streams(page, report);
        Details(page, report, outage);
        if (report.Migration is { } failover) HtmlReport.Calls(page, failover);
        return page.Append("</main>\n</body>\n</html>\n").ToString();
    }

    private static void Verdict(StringBuilder page, DemoReport report, OutageReport outage)
    {
        ParametersReport p = report.Parameters;
        string lost = outage.RecordsLostAcknowledged is { } n ? $"{n:N0} of {outage.RecordsAcknowledged:N0} records lost"
            : "how many records are lost is not known";
        page.Append("<header>\n<p class=\"kicker\">SdnEdge · outage · ").Append(Svg.Escape(p.Topology)).Append("</p>\n<h1>")
            .Append($"The {Svg.Escape(Part(outage))} of <b>{Svg.Escape(p.Server)}</b> failed at "
                + $"<span class=\"whole\">{Svg.Escape(p.From)}</span>; ")
            .Append(outage.FirstReplyMs is { } reply
                ? $"it answered at <span class=\"whole\">{Svg.Escape(p.To)}</span> after {reply / 1e3:0.0} s: "
                : $"<span class=\"bad\">no client has its answer at {Svg.Escape(p.To)}</span>: ")
            .Append($"<span class=\"{(outage.RecordsLostAcknowledged == 0 ? "good" : "bad")}\">{Svg.Escape(lost)}</span></h1>\n")
            .Append($"<p class=\"lede\"><span class=\"badge {(report.Passed ? "pass" : "fail")}\">{(report.Passed ? "passed" : "failed")}"
                + "</span> ")
            .Append(Svg.Escape($"Policy {outage.Policy}, begun by {(outage.Automatic ? "the manager" : "an operator")}; fence: "
                + $"{outage.Fence ?? "none"}; disk: {outage.DiskMode ?? "mode not told"}; {report.Ingress.Count} ingress PEs, "
                + $"{report.Probe.PacketsPerSecond:N0} packets/s towards the server and each back, round trip {p.RoundTripMs:0.#} ms"))
            .Append(report.Migration is { } m ? Svg.Escape($". Fail-over {m.Id}, epoch {m.Epoch}, by {m.By}") : "").Append(".</p>\n");
        HtmlReport.Failures(page, report);
        page.Append("</header>\n");
    }

    private static void Tiles(StringBuilder page, DemoReport report, OutageReport outage)
    {
        page.Append("<section class=\"tiles\">\n");
        Time(outage.FlippedMs, $"until {report.Parameters.From}'s PE had switched by itself");
        Time(outage.FencedMs, "until the fence: the server is dead there, for ever");
        Time(outage.ActivatedMs, "until the server was started at the other site");
        Time(outage.FirstReplyMs, "until a client had its first answer");
        Tile(outage.DualActive switch { false => "no", true => "YES", null => "–" }, "", "ran twice",
            outage.DualActive is { } twice ? !twice : null);
        Count(outage.RecordsLostAcknowledged, "records lost that a client had acknowledged");
        Tile(outage.RpoMs is { } rpo ? $"{rpo:0}" : "–", "ms",
            $"RPO measured; the replica was {outage.LagMs?.ToString("0") ?? "–"} ms behind");
        Tile($"{outage.PacketsLost:N0}", "", "packets lost in the outage");
        Tile($"{outage.PacketsHeld:N0}", "", "packets held at the other site's PE");
        Tile(outage.TcpSurvived switch { true => "yes", false => "no", null => "–" }, "", "TCP connection went on");
        Tile(report.Back is { } home ? $"{home.Lost:N0}" : "–", "", "packets lost on the planned way home", report.Back is { Lost: > 0 }
            ? false : null);
        Count(report.Residue.Count, "things left over");
        page.Append("</section>\n");

        void Time(double? ms, string label) => Tile(ms is { } v ? v < 10_000 ? $"{v:0}" : $"{v / 1e3:0.0}" : "–",
            ms >= 10_000 ? "s" : "ms", label, ms is null ? false : null);

        void Count(long? n, string label) => Tile(n?.ToString("N0") ?? "–", "", label, n is null ? null : n == 0);

        void Tile(string value, string unit, string label, bool? good = null) => page.Append(
            $"<div class=\"tile\"><div class=\"value{(good is { } g ? g ? " good" : " bad" : "")}\">{Svg.Escape(value)}"
            + $"<small>{Svg.Escape(unit)}</small></div><div class=\"label\">{Svg.Escape(label)}</div></div>\n");
    }

    private static void Timeline(StringBuilder page, DemoReport report, OutageReport outage)
    {
        page.Append("<section class=\"card\">\n<h2>From the failure on</h2>\n<table class=\"facts\">\n<tbody>\n");
        foreach ((double at, string what) in Events(report, outage))
            page.Append($"<tr><th>{at:N1} ms</th><td>{Svg.Escape(what)}</td></tr>\n");
        page.Append("</tbody></table>\n");
        foreach (string note in outage.Notes) page.Append("<p class=\"foot\">").Append(Svg.Escape(note)).Append("</p>\n");
        page.Append("</section>\n");
    }

    /// <summary>What happened when, from the failure on, in order.</summary>
    public static IReadOnlyList<(double AtMs, string What)> Events(DemoReport report, OutageReport outage)
    {
        ParametersReport p = report.Parameters;
        (double? At, string What)[] all =
        [
            (0, $"the {Part(outage)} is killed at {p.From}"),
            (outage.DetectedMs, $"the PE of {p.From} notices"),
            (outage.FlippedMs, $"it sends into the tunnel, the PE of {p.To} holds"),
            (outage.BegunMs, $"the fail-over is on record, begun by {(outage.Automatic ? "the manager" : "the operator")}"),
            (outage.SuspectedMs, "suspected: a host has not said that its server is dead; nothing is started"),
            (outage.AgentStartedMs, "the killed agent takes orders again: the demo has started it"),
            (outage.FencedMs, $"fence ({outage.Fence}): the host has it on disk that its server is dead and never runs the new epoch"),
            (outage.ActivatedMs, $"the server is started at {p.To} from its replica"),
            (outage.FirstReplyMs, "a client has its first answer"),
            (outage.ProtectedAgainMs, $"moved home to {p.From} as planned, and protected again"),
        ];
        return [.. all.Where(e => e.At is not null).Select(e => (e.At!.Value, e.What)).OrderBy(e => e.Value)];
    }

    private static void Records(StringBuilder page, OutageReport outage)
    {
        page.Append("<section class=\"card\">\n<h2>What was lost of the disk</h2>\n<table class=\"facts\">\n<tbody>\n");
        Row("acknowledged to a client before the failure", Count(outage.RecordsAcknowledged));
        Row("the last one on the disk from which it came up", Count(outage.RecordsThrough));
        Row("acknowledged to a client, and lost", Count(outage.RecordsLostAcknowledged));
        Row($"flushed and acknowledged, and lost (disk: {outage.DiskMode ?? "mode not told"})", Count(outage.RecordsLostFlushed));
        Row("lost although a later one is there", Count(outage.RecordGaps));
        Row("the replica's lag when it failed", outage.LagBytes is { } bytes ? $"{bytes:N0} bytes, {outage.LagMs:0.0} ms" : "not told");
        page.Append("</tbody></table>\n<p class=\"foot\">The server writes numbered records of 4 KiB, each durable (fdatasync) before it "
            + "tells a client of it: what was told was flushed. What is lost is read from the disk from which it came up, before it went "
            + "on to write. The store of the failed site lives on where only the guest or its host fails; it then hands over what the "
            + "replica lacks.</p>\n</section>\n");

        void Row(string name, string value) => page.Append($"<tr><th>{Svg.Escape(name)}</th><td>{Svg.Escape(value)}</td></tr>\n");

        static string Count(long? n) => n?.ToString("N0") ?? "not known";
    }

    private static void Details(StringBuilder page, DemoReport report, OutageReport outage)
    {
        page.Append("<section class=\"card\">\n<h2>The failed site, and what is left</h2>\n<table class=\"facts\">\n<tbody>\n");
        foreach (string line in outage.OldSite) Row("the failed site", line);
        Row("hold", $"{report.Hold.PacketsHeld:N0} packets held, {report.Hold.PeakPackets:N0} at once; {report.Hold.Released:N0} released, "
            + $"{report.Hold.Overflow:N0} dropped");
        Row("tunnel", $"{report.Tunnel.Packets:N0} packets; {(report.Tunnel.TornDown ? "torn down" : "NOT torn down")}");
        Row("TCP", $"{report.Tcp.Bytes:N0} bytes echoed and checked, {report.Tcp.Resets} connections broken"
            + (report.Tcp.LastError is { } error ? $" ({error})" : ""));
        Row("false alarms before the failure", $"{outage.FalseAlarms}");
        Row("left over", report.Residue.Count == 0 ? "nothing" : string.Join(", ", report.Residue));
        Row("dropped in the lab, by its own counters", report.Drops.Count == 0 ? "nothing"
            : string.Join("; ", report.Drops.Take(12).Select(d => $"{d.Node}: {d.What} {d.Packets:N0}")));
        Row("probes", report.Probe.Valid ? $"valid: no receiver lost a packet itself; {report.Probe.Seconds:0.0} s up to the way home"
            : $"NOT VALID: {report.Probe.WhyInvalid}");
        page.Append("</tbody></table>\n</section>\n");

        void Row(string name, string value) => page.Append($"<tr><th>{Svg.Escape(name)}</th><td>{Svg.Escape(value)}</td></tr>\n");
    }

    private static string Part(OutageReport outage) => outage.Failed == "host" ? "host" : "virtual machine";
}
