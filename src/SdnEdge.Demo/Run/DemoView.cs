using System.Diagnostics;
using SdnEdge.Demo.Report;
using Spectre.Console;

namespace SdnEdge.Demo.Run;

/// <summary>What the demo shows: a line for each step as it happens, then the timeline, the streams and the verdict.</summary>
internal sealed class DemoView(IAnsiConsole console)
{
    private const int PlainWidth = 160;

    private readonly long begin = Stopwatch.GetTimestamp();
    private readonly Lock gate = new();

    /// <summary>The terminal; where there is none, plain wide lines without colours.</summary>
    public static IAnsiConsole NewConsole()
    {
        if (!Console.IsOutputRedirected)
        {
            return AnsiConsole.Console;
        }

        IAnsiConsole plain =
            AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.No, ColorSystem = ColorSystemSupport.NoColors });
        plain.Profile.Width = PlainWidth;
        return plain;
    }

    /// <summary>A step of the run.</summary>
    public void Say(string text) => Line(text, "grey");

    /// <summary>News of the migration: the stage that begins.</summary>
    public void Stage(string stage)
        => Line(stage, stage == "ended" ? "green bold" : stage is "stop" or "hand-over" or "activate" ? "yellow" : "blue");

    private void Line(string text, string style)
    {
        lock (gate)
        {
            console.MarkupLine($"[grey]{Stopwatch.GetElapsedTime(begin).TotalSeconds,7:0.000} s[/]  [{style}]{Markup.Escape(text)}[/]");
        }
    }

    /// <summary>The result of the run.</summary>
    public void Show(DemoReport report, DirectoryInfo folder)
    {
        console.WriteLine();
        ShowStages(report);
        ShowStreams(report);
        ShowFigures(report);
        console.WriteLine();
        if (report.Script is { } script) ShowBeside(report, script);
        foreach (string failure in report.Failures)
        {
            console.MarkupLine($"[red]failed:[/] {Markup.Escape(failure)}");
        }

        long sent = report.Ingress.Concat(report.Reverse).Sum(s => s.Sent);
        long lost = report.Ingress.Concat(report.Reverse).Sum(s => s.Lost);
        console.MarkupLine(report.Passed
            ? $"[green bold]passed:[/] {Markup.Escape(report.Parameters.Server)} moved from {Markup.Escape(report.Parameters.From)} to "
                + $"{Markup.Escape(report.Parameters.To)}{(report.Back is null ? "" : " and back")}; {lost + (report.Back?.Lost ?? 0):N0} "
                + $"of "
                + $"{sent + (report.Back?.Sent ?? 0):N0} packets lost"
                + (report.Storage is { } s ? $", {s.Lost:N0} of {s.WritesAcknowledged:N0} records" : "")
            : $"[red bold]not passed:[/] {lost:N0} of {sent:N0} packets lost");
        console.MarkupLine($"[grey]report:[/] {Markup.Escape(Path.Combine(folder.FullName, "report.html"))}");
    }

    private void ShowStages(DemoReport report)
    {
        if (report.Stages.Count == 0)
        {
            return;
        }

        const int width = 36;
        double from = report.Stages[0].StartMs;
        double span = Math.Max(report.Stages[^1].EndMs - from, 1);
        Table table = new Table().Border(TableBorder.Minimal)
            .AddColumn("stage").AddColumn(new TableColumn("start ms").RightAligned())
            .AddColumn(new TableColumn("took ms").RightAligned()).AddColumn("");
        foreach (StageReport stage in report.Stages)
        {
            int left = (int)((stage.StartMs - from) / span * width);
            int bar = Math.Clamp((int)Math.Round((stage.EndMs - stage.StartMs) / span * width), 1, width - Math.Min(left, width - 1));
            string color = stage.Name is "stop" or "hand-over" or "activate" ? "yellow" : "blue";
            table.AddRow(Markup.Escape(stage.Name), $"{stage.StartMs - from:0.0}", $"{stage.EndMs - stage.StartMs:0.0}",
                $"{new string(' ', left)}[{color}]{new string('█', bar)}[/]");
        }

        console.Write(table);
    }

    private void ShowStreams(DemoReport report)
    {
        // Narrow enough for a usual terminal. Delays by phase of Figure 1; reordered: all, and from the switch through the release.
        Table table = new Table().Border(TableBorder.Minimal).AddColumn(new TableColumn("stream").NoWrap());
        foreach (string column in new[] { "sent", "lost", "dup", "reordered", "gap ms", "delay (a) (b) (c) ms", "max ms", "direct ms" })
        {
            table.AddColumn(new TableColumn(column).RightAligned().NoWrap());
        }

        static string zero(long n) => n == 0 ? "[green]0[/]" : $"[red]{n:N0}[/]";
        static string ms(double? v) => v is { } d ? $"{d:0.0}" : "-";
        foreach ((StreamReport s, string name) in report.Ingress.Select(s => (s, report.Probe.Echo ? $"{s.Client} <>" : $"{s.Client} >"))
            .Concat(report.Reverse.Select(s => (s, $"> {s.Client}"))))
        {
            table.AddRow(
                Markup.Escape(name), $"{s.Sent:N0}", zero(s.Lost), zero(s.Duplicated),
                s.OrderKept ? zero(s.Reordered) : $"{s.Reordered:N0}/{zero(s.ReorderedSwitchToRelease)}",
                $"{s.MaxGapMs:0.0}", $"{ms(s.Delay.BeforeMs)} {ms(s.Delay.TunnelMs)} {ms(s.Delay.DirectMs)}", ms(s.Delay.MaxMs),
                ms(s.DirectPathAfterMs));
        }

        console.Write(table);
        console.MarkupLine("[grey]reordered: where order is not kept by flush markers, in all / from the switch through the release. "
            + "direct: from the advertisement to the first packet on the direct path (back: from the resume)."
            + (report.Probe.Echo ? " <>: there and back; the server sends each packet back, so that what is lost may have been lost on "
                + "either way." : "") + "[/]");
        console.WriteLine();
    }

    private void ShowBeside(DemoReport report, ScriptReport script)
    {
        Table table = new Table().Border(TableBorder.Minimal).AddColumn("the same machine");
        foreach (string column in new[] { "sent", "lost", "reordered", "gap ms", "stop to run ms", "tcp stall ms", "resets", "MiB copied" })
            table.AddColumn(new TableColumn(column).RightAligned().NoWrap());
        foreach (string[] row in Beside.Rows(report, script)) table.AddRow([.. row.Select(Markup.Escape)]);
        console.Write(table);
        if (!script.Valid) console.MarkupLine($"[red]the script's figures are not valid:[/] {Markup.Escape(script.WhyInvalid ?? "")}");
        console.WriteLine();
    }

    private void ShowFigures(DemoReport report)
    {
        SwitchReport s = report.Switch;
        var grid = new Grid().AddColumn().AddColumn();
        void row(string name, string value) => grid.AddRow($"[grey]{name}[/]", Markup.Escape(value));
        row("switch", $"{s.Prefixes} prefixes, store {s.StoreNanoseconds?.ToString("N0") ?? "-"} ns, signal to first packet "
            + $"{s.SignalToFirstMs?.ToString("0.###") ?? "-"} ms, to acknowledgement {s.SignalToAcknowledgedMs?.ToString("0.###") ?? "-"} "
            + $"ms, stale {s.StalePackets} (at the old leg {s.StaleAtServerLeg?.ToString() ?? "-"}); "
            + s.ProvedEmpty switch
            {
                true => "the server answered behind the last packet",
                false => "NOT PROVED: the server did not answer behind the last packet",
                null => "nobody was asked behind the last packet",
            });
        row("hold", $"{report.Hold.PacketsHeld:N0} packets held, peak {report.Hold.PeakPackets:N0} packets, "
            + $"{report.Hold.PeakBytes / 1024.0:N0} KiB; overflow {report.Hold.Overflow:N0}");
        GateReport[] gates = [.. report.Order.Gates.Where(g => g.PacketsKept > 0)];
        row("order", report.Order.Kept
            ? $"{gates.Sum(g => g.PacketsKept):N0} direct packets waited for flush "
                + $"markers{(gates.Length == 0 ? "" : $" (of {string.Join(", ", gates.Select(g => g.Ingress).Distinct())})")}; "
                + $"{report.Order.Unordered:N0} of PEs without them passed"
            : "not kept");
        row("ingress", string.Join(", ",
            report.Ingress.Select(s => $"{s.Name} moved {s.FibAfterMs?.ToString("0.0") ?? "-"} ms after advertise")));
        string end = !report.Tunnel.TornDown ? "not torn down"
            : $"torn down, {report.Tunnel.TornDownAfterMs?.ToString("0.0") ?? "-"} ms after the last ingress moved; proof: "
                + report.Tunnel.Proof;
        row("tunnel", $"{report.Tunnel.Packets:N0} packets; {end}");
        row("tcp", $"{report.Tcp.Bytes:N0} bytes checked, {report.Tcp.Resets} resets, longest stall {report.Tcp.MaxStallMs:0} ms");
        row("left over", report.Residue.Count == 0 ? "nothing" : string.Join(", ", report.Residue));
        row("drops", report.Drops.Count == 0 ? "none"
            : string.Join(", ", report.Drops.Take(8).Select(d => $"{d.Node} {d.What}: {d.Packets:N0}")));
        if (report.Migration is { } m) row("migration", $"{m.Id}, epoch {m.Epoch}, by {m.By}: {m.State}");
        if (report.Server is { Kind: not "stand-in" } vm) Machine(vm);
        if (report.Storage is { } disk) Disk(disk);
        if (report.Back is { } back)
            row("the way back", $"{(back.Passed ? "passed" : "NOT PASSED")}; {back.Lost:N0} of {back.Sent:N0} packets lost, "
                + $"{back.Reordered:N0} "
                + $"reordered, stop to run {back.StopToRunMs?.ToString("0.0") ?? "-"} ms, gap {back.GapMs?.ToString("0.0") ?? "-"} ms");
        row("blackout", $"{report.Parameters.MeasuredBlackoutMs?.ToString("0.0") ?? "-"} ms");
        console.Write(grid);

        void Machine(ServerReport vm)
        {
            row("server", $"{vm.Kind} {vm.Version ?? "(version not told)"}, {vm.Accelerator ?? "accelerator not told"}, "
                + $"{(vm.MemoryBytes is { } memory ? $"{memory >> 20:N0} MiB" : "memory not told")}; "
                + $"counter {Is(vm.CounterContinuous, "went on")}, pattern {Is(vm.PatternIntact, "intact")}, "
                + $"wrong words {vm.BadWords?.ToString("N0") ?? "not told"}");
            row("pre-copy", vm.PrecopyBytes is { } bytes ? $"{bytes / 1048576.0:N1} MiB in {vm.Passes} passes"
                + (report.Precopy is { } p ? $", {(p.EndedMs ?? p.BeganMs) - p.BeganMs:N0} ms" : "") : "not told");
            if (report.Probe.Trials is { Count: > 0 } trials)
                row("at rest", string.Join(", ", trials.Select(t => $"{t.PacketsPerSecond:N0}/s: {t.Lost:N0} of {t.Sent:N0} lost, "
                    + $"{t.BehindMs:N0} ms behind at the end")));
            if (report.Goals is not { } goals) return;
            row("gap", Goal(goals.GapMs, goals.GapBoundMs) + " (stop to run, and a cold start); the longest that a client saw");
            row("stop to run", Goal(goals.StopToRunMs, goals.StopToRunBoundMs) + "; the goal is an idle machine's of 128 MiB");
        }

        void Disk(StorageReport disk)
        {
            row("disk", $"{disk.WritesAcknowledged?.ToString("N0") ?? "-"} records acknowledged, "
                + $"{disk.Lost?.ToString("N0") ?? "not known how many"} "
                + $"lost; the disks of both sites {Is(disk.RootEqual, "are equal")}; {disk.ReadBack?.ToString("N0") ?? "-"} read back, "
                + $"{disk.ReadBackWrong?.ToString("N0") ?? "-"} wrong");
            row("modes", string.Join(", ", disk.ModeChanges.Select(m => $"{m.Mode} at {m.Store} from {m.AtMs:N0} ms")));
            row("writes", $"async {Took(disk.AsyncLatencyMs)}; sync {Took(disk.SyncLatencyMs)}; lag at the signal "
                + $"{disk.LagBytesAtSignal?.ToString("N0") ?? "-"} bytes, drained in {disk.DrainMs?.ToString("0.0") ?? "-"} ms");
            if (disk.Reverse is { } reverse)
                row("direction", reverse.Connected ? $"{reverse.From} to {reverse.To}, {reverse.LinkedAfterMs?.ToString("0") ?? "-"} ms "
                    + $"after the "
                    + $"start; lag {reverse.LagBytes?.ToString("N0") ?? "-"} bytes" : $"{reverse.To} DOES NOT FOLLOW {reverse.From}");
        }

        static string Took(LatencyReport? l) => l is null ? "none" : $"p50 {l.P50:0.0} ms, p99 {l.P99:0.0} ms ({l.Writes:N0})";

        static string Is(bool? so, string what) => so switch { true => what, false => $"NOT {what}", null => "not told" };

        static string Goal(double? ms, double? bound)
            => $"{ms?.ToString("0.0") ?? "-"} ms, goal at most {bound?.ToString("0.0") ?? "-"}{(ms > bound ? ": MISSED" : "")}";
    }
}
