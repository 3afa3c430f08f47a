using SdnEdge.Lab.Disks;

namespace SdnEdge.Demo.Report;

/// <summary>
/// The disk in the report's picture: server, storage and network in one timeline of three rows, and below it how long each write took, over
/// the time it began, on bands for the mode by which writes were answered. Pure.
/// </summary>
/// <param name="svg">The picture.</param>
/// <param name="x">From a time to its place.</param>
/// <param name="from">The first time shown.</param>
/// <param name="to">The last.</param>
/// <param name="left">Where the lanes begin.</param>
/// <param name="width">How wide they are.</param>
internal sealed class StoragePicture(Svg svg, Func<long, double> x, long from, long to, double left, double width)
{
    private const int Row = 24, Bar = 18, LaneHeight = 92, Title = 22, Gap = 14;
    private const double LetterWidth = 6.3, Dot = 1.5;

    /// <summary>How high the three rows are.</summary>
    public const double RowsHeight = Title + (3 * Row) + Gap;

    /// <summary>How high the writes are.</summary>
    public const double WritesHeight = Title + LaneHeight + Gap;

    /// <summary>Draws the three subsystems.</summary>
    public void Rows(RunAnalysis run, DemoReport report, long? directNs, double top)
    {
        MoveFacts move = run.Facts.Move;
        ParametersReport p = run.Facts.Parameters;
        svg.Text(left + 4, top + 12, "the three subsystems", "axis-title");
        top += Title;
        long paused = move.PausedNs ?? to, resumed = move.ResumedNs ?? to;

        // 1. The server.
        Name(top, "server", "lane-name");
        Span(top, from, paused, "at-source", $"runs at {p.From}");
        Span(top, paused, resumed, "still", "stands still");
        Span(top, resumed, to, "at-target", $"runs at {p.To}");
        if (report.Precopy is { } copy)
        {
            long began = run.OriginNs + (long)(copy.BeganMs * 1e6), ended = copy.EndedMs is { } end ? run.OriginNs + (long)(end * 1e6) : to;
            svg.Rect(x(began), top + Bar - 4, x(ended) - x(began), 4, "copying", "its memory is copied");
        }

        // 2. Its disk.
        top += Row;
        Name(top, "storage", "lane-name");
        foreach (ModeSpan span in StorageBuilder.Within(Modes(run), from, to))
        {
            string mode = StorageBuilder.Word(span.Mode);
            Span(top, Math.Max(span.FromNs, from), Math.Min(span.ToNs, to), "mode-" + mode, $"{mode}, {span.Store}");
        }

        // 3. The way to it.
        top += Row;
        Name(top, "network", "lane-name");
        long switched = move.SwitchEffectNs ?? to, released = move.ReleaseEffectNs ?? to, direct = directNs ?? to;
        Span(top, from, switched, "at-source", $"by the PE of {p.From}");
        Span(top, switched, Math.Min(released, direct), "still", p.Hold ? "tunnel, held" : "tunnel");
        Span(top, Math.Min(released, direct), direct, "tunnelled", "tunnel");
        Span(top, direct, to, "at-target", $"by the PE of {p.To}");
    }

    /// <summary>Draws the writes.</summary>
    public void Writes(RunAnalysis run, DemoReport report, double top)
    {
        if (run.Facts.Storage is not { } facts) return;
        svg.Text(left + 4, top + 12, "latency of every write by the time it began, ms (on the mode by which it was answered)",
            "axis-title");
        top += Title;
        foreach (ModeSpan span in StorageBuilder.Within(Modes(run), from, to))
        {
            double begin = x(Math.Max(span.FromNs, from)), end = x(Math.Min(span.ToNs, to));
            string mode = StorageBuilder.Word(span.Mode);
            svg.Rect(begin, top, end - begin, LaneHeight, "mode-" + mode, $"{mode} at {span.Store}");
            if (end - begin > Wide(mode)) svg.Text(begin + 5, top + 13, mode, "note");
        }

        DiskWrite[] shown = [.. StorageBuilder.Writes(facts, run.Facts.Move).Where(w => w.BeganNs >= from && w.BeganNs <= to)];
        double most = Picture.NiceCeiling(shown.Select(w => w.LatencyNs / 1e6).DefaultIfEmpty(1).Max());
        foreach (double tick in new[] { 0, most / 2, most })
        {
            double y = Y(tick);
            svg.Line(left, y, left + width, y, "grid");
            svg.Text(left - 6, y + (tick == 0 ? 0 : tick == most ? 9 : 4), Picture.N(tick), "tick", "end");
        }

        foreach (DiskWrite write in shown) svg.Circle(x(write.BeganNs), Y(write.LatencyNs / 1e6), Dot, "write");
        Name(top, "writes", "lane-name");
        svg.Text(6, top + 28, "each durable", "lane-sub");
        StorageReport storage = report.Storage!;
        svg.Text(6, top + 45, storage.Lost is { } lost ? $"{lost:N0} lost" : "not read", storage.Lost == 0 ? "lane-good" : "lane-bad");
        svg.Text(6, top + 59, $"of {storage.WritesAcknowledged:N0}", "lane-sub");

        double Y(double ms) => top + LaneHeight - (Math.Clamp(ms / most, 0, 1) * LaneHeight);
    }

    private static ModeSpan[] Modes(RunAnalysis run) => run.Facts.Storage is { } facts ? [.. StorageBuilder.Spans(facts)] : [];

    private void Name(double top, string text, string cls) => svg.Text(6, top + 13, text, cls);

    private void Span(double top, long begin, long end, string cls, string text)
    {
        (begin, end) = (Math.Max(begin, from), Math.Min(end, to));
        if (end <= begin) return;
        double at = x(begin), wide = x(end) - at;
        svg.Rect(at, top, Math.Max(wide, 1.5), Bar, "span " + cls, $"{text}: {(end - begin) / 1e6:F1} ms");
        if (wide > Wide(text)) svg.Text(at + 5, top + 13, text, "span-name");
    }

    private static double Wide(string text) => (text.Length * LetterWidth) + 8;
}
