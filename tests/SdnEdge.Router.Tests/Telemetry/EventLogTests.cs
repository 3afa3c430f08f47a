using System.Diagnostics.Metrics;
using SdnEdge.Web;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Telemetry;

public sealed class EventLogTests
{
    [Fact]
    public void A_reader_gets_what_came_after_its_place()
    {
        var log = new EventLog();
        for (int i = 1; i <= 5; i++) log.Add(i, "route", $"10.0.{i}.0/24", "installed");
        Assert.Equal([4, 5], log.After(3, out long missed).Select(e => e.Sequence));
        Assert.Equal(0, missed);
        Assert.Empty(log.After(5, out _));
    }

    [Fact]
    public void A_reader_that_is_too_slow_learns_how_many_it_missed()
    {
        var log = new EventLog();
        for (int i = 0; i < EventLog.Capacity + 100; i++) log.Add(i, "port", "p", "up");
        IReadOnlyList<SdnEdge.Core.Api.EventRecord> rest = log.After(10, out long missed);
        Assert.Equal(90, missed);
        Assert.Equal(EventLog.Capacity, rest.Count);
        Assert.Equal(EventLog.Capacity + 100, rest[^1].Sequence);
    }

    [Fact]
    public void A_place_this_log_never_gave_reads_from_the_oldest()
    {
        var log = new EventLog();
        log.Add(1, "port", "p", "up");
        Assert.Single(log.After(77, out long missed));
        Assert.Equal(0, missed);
    }

    [Fact]
    public async Task A_waiting_reader_is_woken_by_the_next_event()
    {
        var log = new EventLog();
        Task waiting = log.WaitAsync(0, CancellationToken.None);
        Assert.False(waiting.IsCompleted);
        log.Add(1, "port", "p", "up");
        await waiting.WaitAsync(Patience.Time);
        Assert.True(log.WaitAsync(0, CancellationToken.None).IsCompleted);
    }

    [Fact]
    public void The_text_escapes_what_would_end_a_label()
    {
        string text = PrometheusText.Write(
            [new MetricFamily("x_total", "a\nb", MetricKind.Counter, [new MetricSample(1.5, ("l", "a\"b\\c\nd"))])]);
        Assert.Equal("# HELP x_total a\\nb\n# TYPE x_total counter\nx_total{l=\"a\\\"b\\\\c\\nd\"} 1.5\n", text);
    }

    [Fact]
    public void A_listener_of_the_meter_sees_the_same_values_as_the_text()
    {
        var families = new[]
        {
            new MetricFamily("x_total", "X.", MetricKind.Counter,
                [new MetricSample(7, ("port", "core")), new MetricSample(9, ("port", "dc"))]),
        };
        using var bridge = new MeterBridge(() => families);
        var seen = new List<(string Name, double Value, string? Port)>();
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, l) =>
            {
                if (instrument.Meter.Name == MeterBridge.MeterName && instrument.Name == "x_total") l.EnableMeasurementEvents(instrument);
            },
        };
        listener.SetMeasurementEventCallback<double>((instrument, value, tags,
            _) => seen.Add((instrument.Name, value, tags[0].Value as string)));
        listener.Start();
        listener.RecordObservableInstruments();
        Assert.Equal([("x_total", 7, "core"), ("x_total", 9, "dc")], seen);
    }
}
