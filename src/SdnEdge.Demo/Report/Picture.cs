using System.Globalization;
using System.Text;

namespace SdnEdge.Demo.Report;

/// <summary>
/// The loss and delay picture: the stages on top, below them the subsystems, the copy of a virtual machine's memory and the writes to its
/// disk, then one lane for each stream with the one-way delay of every packet over the time it was sent (shortest to longest in each bin),
/// lost packets in red, the three phases of Figure 1 shaded behind all of it. Pure.
/// </summary>
internal static class Picture
{
    private const double Width = 1100;
    private const double Left = 118;
    private const double Right = 14;
    private const double PlotWidth = Width - Left - Right;
    private const int StageRow = 19;
    private const int LaneHeight = 92;
    private const int ReverseLaneHeight = 58;
    private const int LaneGap = 14;
    private const int Bins = 480;
    private const int CopyHeight = 66;

    // The time from the switch to the direct path is drawn larger where the whole is so many times as long.
    private const int DetailFrom = 4;
    private const long MarginNs = 500_000_000;

    /// <summary>The whole migration.</summary>
    public static string Draw(RunAnalysis run, DemoReport report) => Draw(run, report, null);

    /// <summary>
    /// What is between the switch and the last ingress on the direct path, larger; null where the whole shows it large enough, or it did
    /// not come so far.
    /// </summary>
    public static string? DrawSwitch(RunAnalysis run, DemoReport report)
    {
        MoveFacts move = run.Facts.Move;
        if (move.SwitchSignalNs is not { } from || DirectNs(report, move) is not { } to || move.Stages.Count == 0) return null;
        long whole = move.Stages[^1].EndNs - move.Stages[0].StartNs, margin = Math.Max((to - from) / 5, 1_000_000);
        return whole < DetailFrom * (to - from) ? null : Draw(run, report, (from - margin, to + margin));
    }

    private static string Draw(RunAnalysis run, DemoReport report, (long From, long To)? window)
    {
        MoveFacts move = run.Facts.Move;

        // 1. The time shown: the migration with a margin, within what the probes saw.
        long from = run.OriginNs;
        long to = run.EndNs;
        if (move.Stages.Count > 0)
        {
            from = Math.Max(from, move.Stages[0].StartNs - MarginNs);
            to = Math.Min(to, move.Stages[^1].EndNs + MarginNs);
        }

        if (window is { } part) (from, to) = (Math.Max(part.From, run.OriginNs), Math.Min(part.To, run.EndNs));
        to = Math.Max(to, from + 1_000_000);
        double x(long ns) => Left + (Math.Clamp((ns - from) / (double)(to - from), 0, 1) * PlotWidth);

        // 2. Heights.
        const int header = 40;
        StageMark[] stages = [.. move.Stages.Where(s => window is null || (s.EndNs >= from && s.StartNs <= to))];
        int stagesHeight = stages.Length * StageRow;
        double rowsTop = header + stagesHeight + 10;
        double copyTop = header + stagesHeight + 40 + (report.Storage is null ? 0 : StoragePicture.RowsHeight);
        bool copied = report.Precopy is { Samples.Count: > 0 };
        double disksTop = copyTop + (copied ? (2 * (CopyHeight + LaneGap)) + 26 : 0);
        bool disk = report.Storage is not null;
        double lanesTop = disksTop + (disk ? StoragePicture.WritesHeight + 22 : 0);
        double height = lanesTop + (run.Forward.Count * (LaneHeight + LaneGap)) + (run.Reverse.Count * (ReverseLaneHeight + LaneGap)) + 48;
        double bottom = height - 44;
        var svg = new Svg(Width, height, "Stages of the migration and the one-way delay of every packet, by stream");

        // 3. Phases, behind everything.
        Phases(svg, run, report, x, from, to, header - 14, bottom);
        Stages(svg, stages, run.OriginNs, x, header + 8);

        var storage = new StoragePicture(svg, x, from, to, Left, PlotWidth);
        if (disk)
        {
            storage.Rows(run, report, DirectNs(report, move), rowsTop);
            storage.Writes(run, report, disksTop - 12);
        }

        if (copied) Copy(svg, report.Precopy!, ms => x(run.OriginNs + (long)(ms * 1e6)), copyTop);

        // 4. Lanes with one scale for all, so that they can be compared.
        double top = lanesTop;
        double maxMs = NiceCeiling(report.Ingress.Concat(report.Reverse).Select(s => s.Delay.MaxMs ?? 0).DefaultIfEmpty(1).Max());
        if (run.Forward.Count > 0)
            svg.Text(Left + 4, top - 10, (report.Probe.Echo ? "delay there and back" : "one-way delay")
                + " of every packet by the time it was sent, ms (lost packets: red)", "axis-title");
        foreach (((StreamAnalysis a, StreamReport s), bool isForward) in run.Forward.Zip(report.Ingress).Select(p => (p, true))
            .Concat(run.Reverse.Zip(report.Reverse).Select(p => (p, false))))
        {
            int lane = isForward ? LaneHeight : ReverseLaneHeight;
            Lane(svg, a, s, isForward, report.Probe.Echo, move, x, from, to, top, lane, maxMs);
            top += lane + LaneGap;
        }

        TimeAxis(svg, run.OriginNs, x, from, to, bottom,
            report.Probe.Ran ? "time since the probes began" : "time since the migration began");
        return svg.ToString();
    }

    private static void Phases(
        Svg svg, RunAnalysis run, DemoReport report, Func<long, double> x, long from, long to, double top, double bottom)
    {
        MoveFacts move = run.Facts.Move;
        if (move.SwitchEffectNs is not { } switched)
        {
            return;
        }

        long direct = DirectNs(report, move) ?? to;
        void phase(long start, long end, string cls, string name)
        {
            double left = x(start);
            double right = x(end);
            svg.Rect(left, top, right - left, bottom - top, cls);
            if (right - left > 60)
            {
                svg.Text((left + right) / 2, top + 13, right - left > 190 ? name : name[..3], "phase-name", "middle");
            }
        }

        phase(from, switched, "phase-a", "(a) server at A");
        phase(switched, direct, "phase-b", "(b) through the tunnel");
        phase(direct, to, "phase-c", "(c) server at B, direct");
        if (move.PausedNs is { } paused && move.ResumedNs is { } resumed)
        {
            svg.Rect(x(paused), top + 20, x(resumed) - x(paused), bottom - top - 20, "blackout",
                $"server at neither site for {(resumed - paused) / 1e6:F0} ms");
            svg.Text(x(paused) + 6, top + 34, x(resumed) - x(paused) > 150 ? "server at neither site" : "", "blackout-name");
        }
    }

    private static long? DirectNs(DemoReport report, MoveFacts move) =>
        move.AdvertisedNs is { } advertised && report.Ingress.Count > 0 && report.Ingress.All(i => i.DirectPathAfterMs is not null)
            ? advertised + (long)(report.Ingress.Max(i => i.DirectPathAfterMs!.Value) * 1e6)
            : null;

    private static void Stages(Svg svg, StageMark[] stages, long origin, Func<long, double> x, double top)
    {
        for (int i = 0; i < stages.Length; i++)
        {
            StageMark stage = stages[i];
            double y = top + (i * StageRow);
            double left = x(stage.StartNs);
            double w = Math.Max(x(stage.EndNs) - left, 2.5);
            string took = $"{(stage.EndNs - stage.StartNs) / 1e6:F1} ms";
            svg.Text(Left - 10, y + 10, stage.Name, "stage-name", "end");
            svg.Rect(left, y + 1, w, StageRow - 7, "stage",
                $"{stage.Name}: {(stage.StartNs - origin) / 1e6:F1} to {(stage.EndNs - origin) / 1e6:F1} ms, {took}", 2);
            bool roomRight = left + w + 70 < Left + PlotWidth;
            svg.Text(roomRight ? left + w + 5 : left - 5, y + 10.5, took, "stage-time", roomRight ? "start" : "end");
        }
    }

    private static void Lane(
        Svg svg, StreamAnalysis a, StreamReport s, bool isForward, bool echo, MoveFacts move, Func<long, double> x, long from, long to,
        double top, int laneHeight, double maxMs)
    {
        double y(double ms) => top + laneHeight - (Math.Clamp(ms / maxMs, 0, 1) * laneHeight);
        svg.Rect(Left, top, PlotWidth, laneHeight, "lane");
        foreach (double tick in new[] { 0, maxMs / 2, maxMs })
        {
            svg.Line(Left, y(tick), Left + PlotWidth, y(tick), "grid");
            svg.Text(Left - 6, y(tick) + (tick == 0 ? 0 : tick == maxMs ? 9 : 4), N(tick), "tick", "end");
        }

        svg.Text(6, top + 13, isForward ? $"{s.Client} {(echo ? "⇄" : "→")}" : $"→ {s.Client}", "lane-name");
        svg.Text(6, top + 28, isForward ? $"by {s.Name}" : "from server", "lane-sub");
        svg.Text(6, top + 45, s.Lost == 0 ? "0 lost" : $"{s.Lost:N0} lost", s.Lost == 0 ? "lane-good" : "lane-bad");
        svg.Text(6, top + 59, $"of {s.Sent:N0}", "lane-sub");

        long bin = Math.Max((to - from) / Bins, 1);
        PictureBin[] bins = a.Bins(from, bin, Bins);
        DelayBand(svg, bins, from, bin, x, y, isForward ? "band" : "band-reverse");
        foreach ((PictureBin b, int i) in bins.Select((b, i) => (b, i)).Where(p => p.b.Lost > 0))
        {
            double h = Math.Max(laneHeight * b.Lost / (double)b.Sent, 3);
            svg.Rect(x(from + (i * bin)), top + laneHeight - h, PlotWidth / Bins, h, "lost", $"{b.Lost} of {b.Sent} packets lost");
        }

        // The moment this ingress took the direct way.
        if (isForward && move.AdvertisedNs is { } advertised && s.DirectPathAfterMs is { } after)
        {
            double at = x(advertised + (long)(after * 1e6));
            svg.Line(at, top, at, top + laneHeight, "direct");
            bool room = at + 180 < Left + PlotWidth;
            svg.Text(room ? at + 4 : at - 4, top + 12, $"direct path {after:F0} ms after advertise", "note", room ? "start" : "end");
        }
    }

    /// <summary>
    /// The copy of the memory in two lanes: what was left of each pass, with the time in which the gate was shut behind it; and the
    /// rates of the copy and of the server's own writing.
    /// </summary>
    private static void Copy(Svg svg, PrecopyReport copy, Func<double, double> x, double top)
    {
        IReadOnlyList<PrecopySample> samples = copy.Samples;
        const double mib = 1048576;
        svg.Text(Left + 4, top - 10, "copy of the memory while the server runs: what is left of a pass, MiB (gate shut: shaded)",
            "axis-title");
        double end = copy.EndedMs ?? samples[^1].AtMs;
        double most = NiceCeiling(samples.Max(s => s.RemainingBytes) / mib);
        double Left1(double value) => top + CopyHeight - (Math.Clamp(value / most, 0, 1) * CopyHeight);
        for (int i = 0; i < samples.Count; i++)
        {
            double until = i + 1 < samples.Count ? samples[i + 1].AtMs : Math.Max(end, samples[i].AtMs);
            if (samples[i].GateShut) svg.Rect(x(samples[i].AtMs), top, x(until) - x(samples[i].AtMs), CopyHeight, "gate", "gate shut");
        }

        Frame(top, most, "memory", $"{copy.CopiedBytes / mib:0.0} MiB", copy.Passes == 1 ? "1 pass" : $"{copy.Passes} passes");
        var area = new StringBuilder();
        Append(area, 'M', x(samples[0].AtMs), Left1(0));
        foreach (PrecopySample s in samples) Append(area, 'L', x(s.AtMs), Left1(s.RemainingBytes / mib));
        Append(area, 'L', x(Math.Max(end, samples[^1].AtMs)), Left1(0));
        svg.Path(area.Append('Z').ToString(), "remaining", "left of the pass");
        foreach ((_, PrecopySample s) in samples.Zip(samples.Skip(1)).Where(p => p.First.Pass != p.Second.Pass))
        {
            svg.Line(x(s.AtMs), top, x(s.AtMs), top + CopyHeight, "pass");
            svg.Text(x(s.AtMs) + 3, top + 11, $"{s.Pass}", "note");
        }

        top += CopyHeight + LaneGap + 18;
        double fastest = NiceCeiling(samples.Max(s => Math.Max(s.BytesPerSecond, s.DirtyBytesPerSecond)) / mib);
        double Rate(double value) => top + CopyHeight - (Math.Clamp(value / fastest, 0, 1) * CopyHeight);
        svg.Text(Left + 4, top - 6, "rate of the copy (line) and of the server's own writing (dashed), MiB/s", "axis-title");
        Frame(top, fastest, "rates", "", "");
        Curve(s => Rate(s.BytesPerSecond / mib), "rate", "copied");
        Curve(s => Rate(s.DirtyBytesPerSecond / mib), "dirty", "written by the server");

        void Curve(Func<PrecopySample, double> y, string cls, string title)
        {
            var d = new StringBuilder();
            for (int i = 0; i < samples.Count; i++) Append(d, i == 0 ? 'M' : 'L', x(samples[i].AtMs), y(samples[i]));
            svg.Path(d.ToString(), cls, title);
        }

        void Frame(double at, double scale, string name, string sub, string more)
        {
            svg.Rect(Left, at, PlotWidth, CopyHeight, "lane");
            foreach (double tick in new[] { 0, scale / 2, scale })
            {
                double y = at + CopyHeight - (tick / scale * CopyHeight);
                svg.Line(Left, y, Left + PlotWidth, y, "grid");
                svg.Text(Left - 6, y + (tick == 0 ? 0 : tick == scale ? 9 : 4), N(tick), "tick", "end");
            }

            svg.Text(6, at + 13, name, "lane-name");
            svg.Text(6, at + 28, sub, "lane-sub");
            svg.Text(6, at + 42, more, "lane-sub");
        }
    }

    /// <summary>A closed outline along the longest delays forth and the shortest back, one for each run of bins with packets.</summary>
    private static void DelayBand(Svg svg, PictureBin[] bins, long from, long bin, Func<long, double> x, Func<double, double> y, string cls)
    {
        int i = 0;
        while (i < bins.Length)
        {
            if (bins[i].Sent == bins[i].Lost)
            {
                i++;
                continue;
            }

            int end = i;
            while (end < bins.Length && bins[end].Sent > bins[end].Lost)
            {
                end++;
            }

            var d = new StringBuilder();
            for (int j = i; j < end; j++)
            {
                Append(d, j == i ? 'M' : 'L', x(from + (j * bin)), y(bins[j].MaxDelayNs / 1e6) - 0.6);
                Append(d, 'L', x(from + ((j + 1) * bin)), y(bins[j].MaxDelayNs / 1e6) - 0.6);
            }

            for (int j = end - 1; j >= i; j--)
            {
                Append(d, 'L', x(from + ((j + 1) * bin)), y(bins[j].MinDelayNs / 1e6) + 0.6);
                Append(d, 'L', x(from + (j * bin)), y(bins[j].MinDelayNs / 1e6) + 0.6);
            }

            svg.Path(d.Append('Z').ToString(), cls);
            i = end;
        }
    }

    private static void TimeAxis(Svg svg, long origin, Func<long, double> x, long from, long to, double bottom, string title)
    {
        double step = NiceStep((to - from) / 1e9 / 8);
        for (double t = Math.Ceiling((from - origin) / 1e9 / step) * step; t <= (to - origin) / 1e9; t += step)
        {
            double at = x(origin + (long)(t * 1e9));
            svg.Line(at, bottom, at, bottom + 5, "axis");
            svg.Text(at, bottom + 18, $"{t:0.##} s", "tick", "middle");
        }

        svg.Line(Left, bottom, Left + PlotWidth, bottom, "axis");
        svg.Text(Left + PlotWidth, bottom + 36, title, "axis-title", "end");
    }

    private static void Append(StringBuilder d, char command, double px, double py) =>
        d.Append(command).Append(Svg.N(px)).Append(' ').Append(Svg.N(py));

    private static double NiceStep(double raw)
    {
        double power = Math.Pow(10, Math.Floor(Math.Log10(Math.Max(raw, 1e-6))));
        return power * new[] { 1, 2, 5, 10 }.First(m => m * power >= raw);
    }

    /// <summary>A round number at or a little above the largest delay.</summary>
    internal static double NiceCeiling(double value)
    {
        double step = NiceStep(Math.Max(value, 1) / 5);
        return Math.Ceiling(value * 1.02 / step) * step;
    }

    internal static string N(double v) => v.ToString("0.#", CultureInfo.InvariantCulture);
}
