using System.Text;

namespace SdnEdge.Demo.Report;

/// <summary>
/// <c>report.html</c>: one file without any outside resource. From the top: the verdict, the figures that matter, Figure 1's
/// three phases, the loss and delay picture, then the tables. Pure.
/// </summary>
internal static class HtmlReport
{
    public static string Render(RunAnalysis run, DemoReport report)
    {
        var page = new StringBuilder();
        page.Append("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
            + "content=\"width=device-width, initial-scale=1\">\n")
            .Append("<title>SdnEdge: planned switchover</title>\n<style>\n").Append(HtmlStyle.Css).Append(
                "</style>\n</head>\n<body>\n<main>\n");
        Verdict(page, report);
        Tiles(page, report);
        if (report.Probe.Ran) Phases(page, report);
        page.Append("<section class=\"card picture\">\n<h2>").Append(report.Probe.Ran ? "Stage by stage, packet by packet"
            : "Stage by stage").Append("</h2>\n")
            .Append(Picture.Draw(run, report)).Append("</section>\n");
        if (Picture.DrawSwitch(run, report) is { } detail)
            page.Append("<section class=\"card picture\">\n<h2>From the switch to the direct path</h2>\n").Append(detail)
                .Append("</section>\n");
        if (report.Probe.Ran)
        {
            if (report.Storage is { } storage) StorageHtml.Card(page, storage, report);
            if (report.Back is { } back) StorageHtml.Back(page, back);
            if (report.Script is { } script) BesideScript(page, report, script);
            Streams(page, report);
            Ledger(page, report);
        }

        Details(page, report);
        VolumeReports.Append(page, report.Volumes);
        if (report.Migration is { } migration) Calls(page, migration);
        return page.Append("</main>\n</body>\n</html>\n").ToString();
    }

    private static void Phases(StringBuilder page, DemoReport report)
    {
        page.Append("<section class=\"phases\">\n");
        foreach ((char phase, string title, string text) in new[]
        {
            ('a', "(a) Before", "Every ingress reaches the server through pe-a."),
            ('b', "(b) While it moves", report.Parameters.Hold
                ? "One store at pe-a turns all traffic into the tunnel; pe-b holds it, in order, until the server is there."
                : "One store at pe-a turns all traffic into the tunnel. The hold is disabled: what reaches pe-b before the server does is "
                + "lost."),
            ('c', "(c) After", "pe-b's better route has reached every ingress; the tunnel is gone."),
        })
        {
            page.Append($"<figure class=\"card\"><figcaption><b>{title}</b><span>{Svg.Escape(text)}</span></figcaption>"
                + $"{PhasePicture.Draw(phase, report.Parameters.Hold ? report.Hold.PacketsHeld : null)}</figure>\n");
        }

        page.Append("</section>\n");
    }

    /// <summary>What PEs and hosts were told to do, in order.</summary>
    internal static void Calls(StringBuilder page, MigrationReport migration)
    {
        page.Append("<section class=\"card\">\n<h2>Signals to PEs, orders to hosts</h2>\n<div "
            + "class=\"scroll\"><table>\n<thead><tr><th>to</th><th>signal or order</th><th>about</th><th>sent</th><th>took</th><th>in "
            + "effect</th></tr></thead>\n<tbody>\n");
        foreach (CallReport c in migration.Calls)
        {
            page.Append($"<tr><th>{Svg.Escape(c.To)}</th><td>{Svg.Escape(c.What)}{(c.Repeated ? " (again)" : "")}</td>"
                + $"<td>{Svg.Escape(c.About)}</td>")
                .Append($"{Ms(c.SentMs)}{Ms(c.AnsweredMs - c.SentMs)}{Ms(c.EffectMs)}</tr>\n");
        }

        page.Append("</tbody></table></div>\n<p class=\"foot\">In effect: by the clock of the PE or host; on one machine it is "
            + "everybody's.</p>\n</section>\n");
    }

    private static void Verdict(StringBuilder page, DemoReport report)
    {
        long sent = report.Ingress.Concat(report.Reverse).Sum(s => s.Sent);
        long lost = report.Ingress.Concat(report.Reverse).Sum(s => s.Lost);
        ParametersReport p = report.Parameters;
        if (!report.Probe.Ran)
        {
            MigrationVerdict(page, report);
            return;
        }

        page.Append("<header>\n<p class=\"kicker\">SdnEdge · planned switchover · ").Append(Svg.Escape(p.Topology)).Append("</p>\n<h1>")
            .Append($"The running server <b>{Svg.Escape(p.Server)}</b> moved from <span class=\"whole\">{Svg.Escape(p.From)}</span> to "
                + $"<span class=\"whole\">{Svg.Escape(p.To)}</span>: ")
            .Append($"<span class=\"{(lost == 0 ? "good" : "bad")}\">{lost:N0} of {sent:N0} packets lost</span>")
            .Append(report.Storage is { } disk
                ? $", <span class=\"{(disk.Lost == 0 ? "good" : "bad")}\">{disk.Lost?.ToString("N0") ?? "–"} of "
                    + $"{disk.WritesAcknowledged:N0} records</span>" : "").Append("</h1>\n")
            .Append($"<p class=\"lede\"><span class=\"badge "
                + $"{(report.Passed ? "pass" : "fail")}\">{(report.Passed ? "passed" : "failed")}</span> ")
            .Append($"{report.Ingress.Count} ingress PEs, {report.Probe.PacketsPerSecond:N0} packets/s towards the server and "
                + (report.Probe.Echo ? "each back, " : $"{report.Probe.ReversePacketsPerSecond:N0} back, "))
            .Append($"{report.Probe.Flows} flows, round trip {p.RoundTripMs:0.#} ms, server at neither site for "
                + $"{p.MeasuredBlackoutMs ?? p.BlackoutMs:0} ms")
            .Append(p.Hold ? "" : ", hold disabled").Append(report.Migration is { } m
                ? Svg.Escape($". Migration {m.Id}, epoch {m.Epoch}, by {m.By}") : "").Append(".</p>\n");
        Failures(page, report);
        page.Append("</header>\n");
    }

    private static void MigrationVerdict(StringBuilder page, DemoReport report)
    {
        ParametersReport p = report.Parameters;
        MigrationReport m = report.Migration!;
        string state = m.State switch
        {
            "moved" => $"moved from {p.From} to {p.To}",
            "as-before" => $"was not moved from {p.From} to {p.To}: it is as before",
            "fenced" => $"was to move from {p.From} to {p.To}: another manager is in charge of it",
            "given-up" => $"was to move from {p.From} to {p.To}: ended without the word of parties that were given up",
            _ => $"is on its way from {p.From} to {p.To}",
        };
        page.Append("<header>\n<p class=\"kicker\">SdnEdge · migration ").Append(Svg.Escape(m.Id)).Append("</p>\n<h1>Group <b>")
            .Append(Svg.Escape(m.Group)).Append("</b> ").Append(Svg.Escape(state)).Append("</h1>\n")
            .Append($"<p class=\"lede\"><span class=\"badge {(report.Passed ? "pass" : "fail")}\">{Svg.Escape(m.State)}</span> ")
            .Append(Svg.Escape($"{p.Server}; {m.Cutover}, epoch {m.Epoch}, asked for by {m.By} at "
                + $"{m.At}{(m.EndedAt is null ? ", not ended" : $", ended {m.EndedAt}")}"))
            .Append(p.MeasuredBlackoutMs is { } blackout ? $"; at neither site for {blackout:0} ms" : "").Append(p.Hold ? ""
                : ", hold disabled")
            .Append(". No probes ran: packets were not counted end to end.</p>\n");
        Failures(page, report);
        page.Append("</header>\n");
    }

    internal static void Failures(StringBuilder page, DemoReport report)
    {
        if (report.Failures.Count > 0)
        {
            page.Append("<ul class=\"failures\">\n");
            foreach (string failure in report.Failures)
            {
                page.Append("<li>").Append(Svg.Escape(failure)).Append("</li>\n");
            }

            page.Append("</ul>\n");
        }
    }

    private static void Tiles(StringBuilder page, DemoReport report)
    {
        IEnumerable<StreamReport> all = report.Ingress.Concat(report.Reverse);
        void tile(string value, string unit, string label, bool? good = null) => page.Append(
            $"<div class=\"tile\"><div class=\"value{(good is { } g ? g ? " good" : " bad" : "")}\">{Svg.Escape(value)}"
            + $"<small>{Svg.Escape(unit)}</small></div><div class=\"label\">{Svg.Escape(label)}</div></div>\n");
        page.Append("<section class=\"tiles\">\n");
        if (report.Probe.Ran) EndToEnd();
        tile($"{report.Switch.StalePackets:N0}", "", "stale packets after the switch", report.Switch.StalePackets == 0);
        tile(report.Switch.StoreNanoseconds is { } store ? $"{store:N0}" : "–", "ns",
            $"to switch {report.Switch.Prefixes} prefix{(report.Switch.Prefixes == 1 ? "" : "es")} (one store)");
        tile(report.Switch.SignalToFirstMs is { } first ? $"{first:0.##}" : "–", "ms", "signal to first packet in the tunnel");
        if (report.Goals is { } goals) Goals(goals);
        if (report.Storage is { } disk) StorageHtml.Tiles(disk, tile);
        tile($"{report.Hold.PacketsHeld:N0}", "", $"packets held at the target PE (peak {report.Hold.PeakBytes / 1024.0:N0} KiB)");
        if (report.Probe.Ran) Ways();
        else
        {
            tile($"{report.Hold.Overflow:N0}", "", "packets dropped by the hold", report.Hold.Overflow == 0);
            tile(report.Parameters.MeasuredBlackoutMs is { } still ? $"{still:0}" : "–", "ms", "server at neither site");
        }

        page.Append("</section>\n");

        void Goals(GoalsReport goals)
        {
            tile(goals.GapMs is { } gap ? $"{gap:0}" : "–", "ms", $"nothing seen by a client, at most {goals.GapBoundMs:0} wanted",
                goals.GapMs > goals.GapBoundMs ? false : null);
            tile(goals.StopToRunMs is { } still ? $"{still:0}" : "–", "ms",
                $"from stop to run, at most {goals.StopToRunBoundMs:0} wanted",
                goals.StopToRunMs > goals.StopToRunBoundMs ? false : null);
            tile(report.Precopy is { } copy ? $"{copy.CopiedBytes / 1048576.0:0.0}" : "–", "MiB",
                report.Precopy is { } p ? $"of memory copied in {p.Passes} passes while it ran"
                    : "of memory copied: its host has no record");
            bool? same = report.Server is { CounterContinuous: { } counter, PatternIntact: { } pattern } ? counter && pattern : null;
            tile(same switch { true => "intact", false => "damaged", null => "–" }, "", "its memory, after the move", same);
        }

        void EndToEnd()
        {
            long duplicated = all.Sum(s => s.Duplicated);
            long early = all.Sum(s => s.ReorderedSwitchToRelease);
            tile($"{duplicated:N0}", "", "packets duplicated", duplicated == 0);
            tile($"{early:N0}", "", "reordered from switch through release", early == 0);
        }

        void Ways()
        {
            double? slowest = report.Ingress.Any(i => i.DirectPathAfterMs is null) ? null : report.Ingress.Max(i => i.DirectPathAfterMs);
            tile(slowest is { } d ? $"{d:0.#}" : "–", "ms", "advertise to last ingress direct", slowest is null ? false : null);
            tile($"{report.Tcp.MaxStallMs:0}", "ms", $"longest TCP stall, {report.Tcp.Resets} resets", report.Tcp.Resets == 0 ? null
                : false);
        }
    }

    internal static void Streams(StringBuilder page, DemoReport report)
    {
        page.Append("<section class=\"card\">\n<h2>Each stream, as its receiver saw it</h2>\n<div "
            + "class=\"scroll\"><table>\n<thead><tr><th>stream</th><th>sent</th><th>received</th><th>lost</th>")
            .Append("<th>duplicated</th><th>reordered</th><th>of these switch…release</th><th>longest gap</th><th>delay "
                + "before</th><th>tunnel</th><th>direct</th><th>longest</th><th>direct path after</th></tr></thead>\n<tbody>\n");
        foreach ((StreamReport s, bool isForward) in report.Ingress.Select(s => (s, true)).Concat(report.Reverse.Select(s => (s, false))))
        {
            string way = isForward ? $"{Svg.Escape(s.Client)} → server{(report.Probe.Echo ? " → back" : "")}"
                : $"server → {Svg.Escape(s.Client)}";
            page.Append($"<tr><th>{way}</th>"
                + $"<td>{s.Sent:N0}</td><td>{s.Received:N0}</td>{Zero(s.Lost)}{Zero(s.Duplicated)}")
                .Append($"{(s.OrderKept ? Zero(s.Reordered) : $"<td>{s.Reordered:N0}</td>")}{Zero(s.ReorderedSwitchToRelease)}"
                    + $"<td>{s.MaxGapMs:0.0} ms</td>{Ms(s.Delay.BeforeMs)}{Ms(s.Delay.TunnelMs)}{Ms(s.Delay.DirectMs)}"
                    + $"{Ms(s.Delay.MaxMs)}{Ms(s.DirectPathAfterMs)}</tr>\n");
        }

        page.Append("</tbody></table></div>\n<p class=\"foot\">Lost = the sender's own count of packets the kernel took, less the "
            + "different packets the receiver saw. ")
            .Append("Reordered by RFC 4737, in each flow; from the switch through the release: overtaken before any packet could have "
                + "come ")
            .Append("by the direct path. Direct path: towards the server from the advertisement, from the server from its resume.")
            .Append(report.Probe.Echo ? " The server sends each packet back: delays are there and back, and what is lost may have been "
                + "lost on either way." : "").Append("</p>\n")
            .Append("</section>\n");
    }

    private static void BesideScript(StringBuilder page, DemoReport report, ScriptReport script)
    {
        page.Append("<section class=\"card\">\n<h2>Beside it: the same machine moved by a script</h2>\n<div class=\"scroll\"><table>\n"
            + "<thead><tr><th>moved by</th><th>sent</th><th>lost</th><th>reordered</th><th>longest gap, ms</th><th>stop to run, ms</th>"
            + "<th>longest TCP stall, ms</th><th>resets</th><th>MiB copied</th></tr></thead>\n<tbody>\n");
        foreach (string[] row in Beside.Rows(report, script))
            page.Append($"<tr><th>{Svg.Escape(row[0])}</th>")
                .AppendJoin("", row.Skip(1).Select(c => $"<td>{Svg.Escape(c)}</td>")).Append("</tr>\n");
        page.Append("</tbody></table></div>\n<p class=\"foot\">The script: plain migrate from host to host, QEMU's announcements (RARP, "
            + "gratuitous ARP), then the machine's static routes from one PE to the other; what is sent to it meanwhile is lost. Its stop "
            + "to run and its bytes are QEMU's own account.").Append(script.Valid ? "" : Svg.Escape($" NOT VALID: {script.WhyInvalid}"))
            .Append("</p>\n</section>\n");
    }

    internal static void Ledger(StringBuilder page, DemoReport report)
    {
        page.Append("<section class=\"card\">\n<h2>Packet ledger: what became of the packets sent in each stage</h2>\n<div "
            + "class=\"scroll\"><table>\n<thead><tr><th>stage</th><th>from</th><th>took</th>")
            .Append("<th>sent</th><th>delivered</th><th>held</th><th>lost</th><th>duplicated</th><th>reordered</th><th>delay, "
                + "median</th><th>longest</th><th class=\"sep\">back: sent</th><th>lost</th><th>reordered</th></tr></thead>\n<tbody>\n");
        foreach (LedgerRow row in report.Ledger)
        {
            StageReport? stage = report.Stages.FirstOrDefault(s => s.Name == row.Stage);
            LedgerCounts f = row.Forward;
            LedgerCounts r = row.Reverse;
            page.Append($"<tr><th>{Svg.Escape(row.Stage)}</th>{Ms(stage?.StartMs)}{Ms(stage?.EndMs - stage?.StartMs)}"
                + $"<td>{f.Sent:N0}</td><td>{f.Delivered:N0}</td><td>{f.Held:N0}</td>"
                + $"{Zero(f.Lost)}{Zero(f.Duplicated)}<td>{f.Reordered:N0}</td>")
                .Append($"{Ms(f.MedianDelayMs)}{Ms(f.MaxDelayMs)}<td "
                    + $"class=\"sep\">{r.Sent:N0}</td>{Zero(r.Lost)}<td>{r.Reordered:N0}</td></tr>\n");
        }

        page.Append("</tbody></table></div>\n</section>\n");
    }

    private static void Details(StringBuilder page, DemoReport report)
    {
        void row(string name, string value) => page.Append($"<tr><th>{Svg.Escape(name)}</th><td>{Svg.Escape(value)}</td></tr>\n");
        page.Append("<section class=\"card\">\n<h2>Switch, hold, tunnel, order</h2>\n<table class=\"facts\">\n<tbody>\n");
        row("signal acknowledged by every worker", report.Switch.SignalToAcknowledgedMs is { } ack ? $"{ack:0.###} ms after it was sent"
            : "–");
        row("nothing left on the way to the server", report.Switch.ProvedEmpty switch
        {
            true => "proved: it answered behind the last packet",
            false => "not proved: it did not answer in time",
            null => "nobody was asked",
        });
        if (report.Server is { Kind: not "stand-in" } vm) Machine(vm);
        if (report.Probe.Ran) row("packets at the server's old leg after it had gone", report.Switch.StaleAtServerLeg is { } leg
            ? $"{leg:N0}" : "not counted");
        row("held, most at once", $"{report.Hold.PeakPackets:N0} packets, {report.Hold.PeakBytes:N0} bytes; {report.Hold.Released:N0} "
            + $"released, {report.Hold.Overflow:N0} dropped");
        row("through the tunnel", $"{report.Tunnel.Packets:N0} packets; "
            + (report.Tunnel.TornDown
                ? $"torn down, {report.Tunnel.TornDownAfterMs?.ToString("0.0") ?? "–"} ms after the last ingress moved; "
                + $"proof: {report.Tunnel.Proof}" : "NOT torn down"));
        foreach (GateReport g in report.Order.Gates.Where(g => g.OpenedAfterMs is not null || g.PacketsKept > 0))
            row($"gate of {Svg.Escape(g.Ingress)} ({Svg.Escape(g.Loopback)})",
                $"moved {g.MovedAfterMs?.ToString("0.0") ?? "–"} ms after advertise, marker after "
                + $"{g.MarkerAfterMs?.ToString("0.0") ?? "–"} ms, open after {g.OpenedAfterMs?.ToString("0.0") ?? "–"} ms by {g.OpenedBy}; "
                + $"{g.PacketsKept:N0} packets kept, {g.Peak:N0} at once");
        row("packets of PEs without a gate", $"{report.Order.Unordered:N0}");
        if (report.Probe.Ran) row("TCP",
            $"{report.Tcp.Bytes:N0} bytes sent, echoed and checked; {report.Tcp.Retransmits:N0} segments sent again by the kernel; "
            + $"{report.Tcp.WrongBytes:N0} wrong");
        row("left over", report.Residue.Count == 0 ? "nothing" : string.Join(", ", report.Residue));
        if (report.Probe.Ran) row("dropped in the lab, by its own counters", report.Drops.Count == 0 ? "nothing"
            : string.Join("; ", report.Drops.Take(12).Select(d => $"{d.Node}: {d.What} {d.Packets:N0}")));
        row("probes", !report.Probe.Ran ? "none ran" : report.Probe.Valid
            ? $"valid: no receiver lost a packet itself; {report.Probe.Seconds:0.0} s" : $"NOT VALID: {report.Probe.WhyInvalid}");
        page.Append("</tbody></table>\n</section>\n");

        void Machine(ServerReport vm)
        {
            row("server", $"{vm.Kind} {vm.Version ?? "(version not told)"}, {vm.Accelerator switch
            {
                "tcg" => "emulated (tcg)",
                { } name => name,
                null => "accelerator not told",
            }}, {(vm.MemoryBytes is { } memory ? $"{memory >> 20:N0} MiB" : "memory not told")}");
            row("its counter over the move", Is(vm.CounterContinuous, "went on"));
            row("memory written once, read after the move", Is(vm.PatternIntact, "intact"));
            row("memory written again and again", vm.BadWords is { } bad ? $"{bad:N0} words wrong" : "not told");
            row("copied while it ran, and the rest", vm.PrecopyBytes is { } bytes
                ? $"{bytes:N0} bytes in {vm.Passes} passes" + (report.Precopy is { } p ? $"; {p.WireBytes:N0} bytes over the network" : "")
                : "not told");
            if (report.Probe.Trials is { Count: > 0 } trials)
                row("at rest, before the move", string.Join("; ",
                    trials.Select(t => $"{t.PacketsPerSecond:N0} packets/s: {t.Lost:N0} of {t.Sent:N0} lost, "
                        + $"{t.BehindMs:N0} ms behind at the end")));
            if (report.Goals is not { } goals) return;
            row("longest time in which a client saw nothing", Goal(goals.GapMs, goals.GapBoundMs)
                + " (stop to run, and what a cold start costs: translated code is not moved)");
            row("from stop to run", Goal(goals.StopToRunMs, goals.StopToRunBoundMs) + " (one round trip between the sites, two to the "
                + "manager, 60 ms; for an idle machine of 128 MiB)");
        }

        static string Is(bool? so, string what) => so switch { true => what, false => $"NOT {what}", null => "not told" };

        static string Goal(double? ms, double? bound)
            => $"{ms?.ToString("0.0") ?? "–"} ms; goal at most {bound?.ToString("0.0") ?? "–"} ms{(ms > bound ? ", MISSED" : "")}";
    }

    private static string Zero(long n) => n == 0 ? "<td class=\"good\">0</td>" : $"<td class=\"bad\">{n:N0}</td>";

    private static string Ms(double? ms) => ms is { } v ? $"<td>{v:0.0} ms</td>" : "<td class=\"none\">–</td>";
}
